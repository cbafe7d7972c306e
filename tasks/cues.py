"""Cues of two kinds, then an answer: what tasks of working memory share.

The inputs are four groups of Poisson neurons, in this order: one for each kind of cue (fires while
such a cue is shown), recall (fires during the recall period at the end of a trial, in which the
network must answer), background (always).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from brian2.units import Hz, Quantity, ms
from numpy.typing import NDArray

from eprop_brian.base.checks import check_count, check_rate, whole_steps
from eprop_brian.base.random import rng_for
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.spikes import SpikeBins, spike_bins, spike_positions
from eprop_brian.tasks.trials import Trials

__all__ = ["CueTask"]


@dataclass(frozen=True, kw_only=True, eq=False)
class CueTask(Task):
    """Base class: see cues of two kinds, then say which of two classes the trial has.

    Parameters
    ----------
    cue_duration : Quantity
        Length of a cue.
    recall_duration : Quantity
        Length of the recall period, in which the error counts.
    cue_rate, recall_rate, background_rate : Quantity
        Firing rate of an input while its group is active.
    group_size : int
        Number of inputs in each of the four groups.
    dt : Quantity
        Length of a time step, 1 ms by default.

    Notes
    -----
    Step 0 holds no spikes: they reach nobody in the reference simulators.
    """

    loss: ClassVar[str] = "softmax_cross_entropy"
    n_outputs: ClassVar[int] = 2

    cue_duration: Quantity = field(default_factory=lambda: 100 * ms)
    recall_duration: Quantity = field(default_factory=lambda: 150 * ms)
    cue_rate: Quantity = field(default_factory=lambda: 40 * Hz)
    recall_rate: Quantity = field(default_factory=lambda: 40 * Hz)
    background_rate: Quantity = field(default_factory=lambda: 10 * Hz)
    group_size: int = 10

    def __post_init__(self) -> None:
        check_count("group_size", self.group_size)
        super().__post_init__()
        for name in ("cue_rate", "recall_rate", "background_rate"):
            check_rate(name, getattr(self, name), self.dt)

    @property
    @abstractmethod
    def cue_starts(self) -> list[int]:
        """First step of each cue, in order."""

    @abstractmethod
    def draw_cues(self, rng: np.random.Generator, n_trials: int) -> NDArray[np.intp]:
        """Draw the kind of each cue, 0 or 1, shape (n_trials, n_cues)."""

    @abstractmethod
    def classes(self, cues: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the class, 0 or 1, of trials with such cues, shape (n_trials,)."""

    @property
    def n_inputs(self) -> int:
        """Four groups of inputs: one for each kind of cue, recall, background."""
        return 4 * self.group_size

    @cached_property
    def learning_window(self) -> int:
        """The recall period, in steps."""
        return whole_steps("recall_duration", self.recall_duration, self.dt)

    @cached_property
    def cue_steps(self) -> int:
        """Length of a cue, in steps."""
        return whole_steps("cue_duration", self.cue_duration, self.dt)

    def trials(self, seed: int, stream: str, index: int, n_trials: int) -> Trials:
        """Draw trials, each with its own spikes.

        See `Task.trials`. `inputs` has the shape (n_trials, n_steps, n_inputs) and `targets`
        holds the two one-hot classes, shape (2, 1, 2).
        """
        rng = rng_for(seed, stream, index)
        cues = self.draw_cues(rng, check_count("n_trials", n_trials))

        # Drawn as if all cues were of kind 0; those of kind 1 then change group.
        trial, step, input_ = spike_positions(rng, self._spike_bins, n_trials)
        is_cue = np.flatnonzero(input_ < self.group_size)
        cue = np.searchsorted(self.cue_starts, step[is_cue], side="right") - 1
        input_[is_cue] += self.group_size * cues[trial[is_cue], cue]
        spikes = np.zeros((n_trials, self.n_steps, self.n_inputs), dtype=bool)
        spikes[trial, step, input_] = True

        return Trials(
            inputs=spikes,
            targets=np.eye(2)[:, np.newaxis, :],
            pattern=np.arange(n_trials),
            target=self.classes(cues),
        )

    @cached_property
    def _spike_bins(self) -> SpikeBins:
        return spike_bins(self.spike_probability())

    def spike_probability(self) -> NDArray[np.float64]:
        """Return the spike probability per step if all cues are of kind 0.

        Shape (n_steps, n_inputs); the group of kind 1 is silent.
        """
        cue, _, recall, background = np.arange(self.n_inputs).reshape(4, self.group_size)
        cue_probability = check_rate("cue_rate", self.cue_rate, self.dt)
        probability = np.zeros((self.n_steps, self.n_inputs))
        for start in self.cue_starts:
            probability[start : start + self.cue_steps, cue] = cue_probability
        probability[-self.learning_window :, recall] = check_rate(
            "recall_rate", self.recall_rate, self.dt
        )
        probability[:, background] = check_rate("background_rate", self.background_rate, self.dt)
        probability[0] = 0.0
        return probability
