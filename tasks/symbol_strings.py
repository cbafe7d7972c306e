"""Symbol strings: say which symbols came, in their order, without being told when.

In every trial a few groups of inputs are active one after the other, for a time and after a pause
that are drawn anew. The network shows in every frame of a few steps one of the symbols or none, and
is taught by the string alone (connectionist temporal classification, the loss ``"ctc"``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from brian2.units import Hz, Quantity, ms
from numpy.typing import NDArray

from eprop_brian.base.checks import check_count, check_rate, whole_steps
from eprop_brian.base.random import integers, rng_for, uniforms
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.trials import NO_LABEL, Trials

__all__ = ["SymbolStrings"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SymbolStrings(Task):
    """Say which symbols were shown, in their order.

    Parameters
    ----------
    n_symbols : int
        Kinds of symbols (4), each with a group of inputs of its own.
    most_symbols : int
        Longest string (4); every length from 1 on is equally likely.
    frame_duration : Quantity
        Length of a frame (5 ms).
    most_frames : int
        Longest time that a symbol is shown, in frames (6); half as long at least.
    most_pause : int
        Longest pause before a symbol, in frames (3); one frame at least.
    symbol_rate, background_rate : Quantity
        Firing rate of an input while its group is active, and else (100 and 5 Hz).
    group_size : int
        Number of inputs in a group (8).
    dt : Quantity
        Length of a time step, 1 ms by default.

    Raises
    ------
    brian2.DimensionMismatchError
        If a duration is not a time or a rate not a frequency.
    TypeError, ValueError
        If a setting is out of range, or a frame is not a whole number of steps.

    Notes
    -----
    A trial is as long as the longest string with the longest pauses, and two frames more. Outputs
    are the symbols and, last, none of them. Step 0 holds no spikes: they reach nobody in the
    reference simulators.
    """

    name: ClassVar[str] = "symbol-strings"
    description: ClassVar[str] = "say which symbols came, in their order but not when"
    source: ClassVar[str] = (
        "our own; the loss is that of Graves et al. 2006, Connectionist temporal classification: "
        "labelling unsegmented sequence data with recurrent neural networks, ICML"
    )
    loss: ClassVar[str] = "ctc"
    error_threshold: ClassVar[float | None] = 0.03

    n_symbols: int = 4
    most_symbols: int = 4
    frame_duration: Quantity = field(default_factory=lambda: 5 * ms)
    most_frames: int = 6
    most_pause: int = 3
    symbol_rate: Quantity = field(default_factory=lambda: 100 * Hz)
    background_rate: Quantity = field(default_factory=lambda: 5 * Hz)
    group_size: int = 8

    def __post_init__(self) -> None:
        for name in ("n_symbols", "most_symbols", "most_pause", "group_size"):
            check_count(name, getattr(self, name))
        check_count("most_frames", self.most_frames, minimum=2)
        super().__post_init__()
        for name in ("symbol_rate", "background_rate"):
            check_rate(name, getattr(self, name), self.dt)

    @cached_property
    def frame_steps(self) -> int:
        """Length of a frame in steps."""
        return whole_steps("frame_duration", self.frame_duration, self.dt)

    @property
    def n_frames(self) -> int:
        """Frames of a trial, 38 by default."""
        return self.most_symbols * (self.most_frames + self.most_pause) + 2

    @property
    def n_steps(self) -> int:
        """Length of a trial in steps, 190 by default."""
        return self.n_frames * self.frame_steps

    @property
    def n_inputs(self) -> int:
        """A group for each symbol."""
        return self.n_symbols * self.group_size

    @property
    def n_outputs(self) -> int:
        """The symbols and, last, none of them."""
        return self.n_symbols + 1

    @property
    def learning_window(self) -> int:
        """The whole trial; every step belongs to a frame."""
        return self.n_steps

    def trials(self, seed: int, stream: str, index: int, n_trials: int) -> Trials:
        """Draw trials, each with its own spikes.

        See `Task.trials`. `inputs` has the shape (n_trials, n_steps, n_inputs), `targets` are zeros
        that take no memory, and `labels` are the strings, shape (n_trials, most_symbols).
        """
        check_count("n_trials", n_trials)
        rng = rng_for(seed, stream, index)
        labels, shown = self._draw_strings(rng, n_trials)
        rates = [float(rate * self.dt) for rate in (self.background_rate, self.symbol_rate)]
        active = np.repeat(shown, self.group_size, axis=2).repeat(self.frame_steps, axis=1)
        spikes = uniforms(rng, active.shape) < np.where(active, rates[1], rates[0])
        spikes[:, 0] = False
        each, frames = np.arange(n_trials), np.arange(1, self.n_frames + 1)
        periods = np.broadcast_to(np.repeat(frames, self.frame_steps), (n_trials, self.n_steps))
        return Trials(
            inputs=spikes,
            targets=np.broadcast_to(np.zeros(()), (n_trials, 1, self.n_outputs)),
            pattern=each,
            target=each,
            periods=periods,
            labels=labels,
        )

    def _draw_strings(
        self, rng: np.random.Generator, n_trials: int
    ) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The strings, and which symbol is shown when, shape (n_trials, n_frames, n_symbols)."""
        shape = (n_trials, self.most_symbols)
        lengths = 1 + integers(rng, self.most_symbols, n_trials)
        symbols = integers(rng, self.n_symbols, shape)
        least = (self.most_frames + 1) // 2
        durations = least + integers(rng, self.most_frames - least + 1, shape)
        pauses = 1 + integers(rng, self.most_pause, shape)
        present = np.arange(self.most_symbols) < lengths[:, np.newaxis]
        ends = np.cumsum(pauses + durations, axis=1)
        frames = np.arange(self.n_frames)[:, np.newaxis]
        begun = frames >= (ends - durations)[:, np.newaxis]
        showing = begun & (frames < ends[:, np.newaxis]) & present[:, np.newaxis]
        of_symbol = symbols[..., np.newaxis] == np.arange(self.n_symbols)
        shown = showing.astype(int) @ of_symbol.astype(int) > 0
        return np.where(present, symbols, NO_LABEL), shown
