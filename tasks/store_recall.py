"""Store and recall: keep one bit of a stream until it is asked for.

A trial is a row of periods. In each a value is shown, 0 or 1 at random; in some with it the command
to store it. Later comes the command to recall, shown alone, upon which the network must answer the
stored value::

    | value | value, store | value | value | recall | value | value, store | ...

The inputs are four groups of Poisson neurons, in this order: value 0, value 1, store, recall.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from brian2.units import Hz, Quantity, ms
from numpy.typing import NDArray

from eprop_brian.base.checks import check_count, check_rate, is_finite, whole_steps
from eprop_brian.base.random import integers, rng_for, uniforms
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.spikes import SpikeBins, spike_bins, spike_positions
from eprop_brian.tasks.trials import Trials

__all__ = ["NOTHING", "RECALL", "STORE", "StoreRecall"]

#: The command of a period.
NOTHING, STORE, RECALL = 0, 1, 2


@dataclass(frozen=True, kw_only=True, eq=False)
class StoreRecall(Task):
    """Say the value that was shown when the last store command came, each time it is recalled.

    Timing, rate and sizes are those of the authors' TensorFlow code.

    Parameters
    ----------
    n_symbols : int
        Periods of a trial, at least 2.
    symbol_duration : Quantity
        Length of a period (200 ms).
    mean_delay : float
        Periods from a store to its recall and from a recall to the next store, on average of a
        geometric distribution, from 1 to `n_symbols`; a trial may end before.
    input_rate : Quantity
        Firing rate of an input while its group is active (50 Hz).
    group_size : int
        Number of inputs in each of the four groups.
    dt : Quantity
        Length of a time step, 1 ms by default.

    Raises
    ------
    brian2.DimensionMismatchError
        If the duration is not a time or the rate not a frequency.
    TypeError, ValueError
        If a setting is out of range, or the duration not a whole number of steps.

    Notes
    -----
    The error counts during recalls alone, each of which is an answer. Trials without any are drawn
    anew. Step 0 holds no spikes: they reach nobody in the reference simulators.
    """

    name: ClassVar[str] = "store-recall"
    description: ClassVar[str] = "keep one bit of a stream until it is asked for"
    source: ClassVar[str] = (
        "TensorFlow code of Bellec et al. 2019, Biologically inspired alternatives to "
        "backpropagation through time for learning in recurrent neural nets, arXiv:1901.09049"
    )
    loss: ClassVar[str] = "softmax_cross_entropy"
    error_threshold: ClassVar[float | None] = 0.05
    n_outputs: ClassVar[int] = 2

    n_symbols: int = 12
    symbol_duration: Quantity = field(default_factory=lambda: 200 * ms)
    mean_delay: float = 6.0
    input_rate: Quantity = field(default_factory=lambda: 50 * Hz)
    group_size: int = 25

    def __post_init__(self) -> None:
        check_count("n_symbols", self.n_symbols, minimum=2)
        check_count("group_size", self.group_size)
        # Of longer delays few trials would have a recall.
        if not (is_finite(self.mean_delay) and 1 <= self.mean_delay <= self.n_symbols):
            raise ValueError(
                f"mean_delay must lie between 1 period and n_symbols = {self.n_symbols}, "
                f"got {self.mean_delay!r}"
            )
        super().__post_init__()
        check_rate("input_rate", self.input_rate, self.dt)

    @cached_property
    def symbol_steps(self) -> int:
        """Length of a period in steps."""
        return whole_steps("symbol_duration", self.symbol_duration, self.dt)

    @property
    def n_steps(self) -> int:
        """Length of a trial in steps, 2400 by default."""
        return self.n_symbols * self.symbol_steps

    @property
    def n_inputs(self) -> int:
        """Four groups of inputs: value 0, value 1, store, recall."""
        return 4 * self.group_size

    @property
    def learning_window(self) -> int:
        """The whole trial; `Trials.periods` marks the steps that count."""
        return self.n_steps

    def symbols(
        self, seed: int, stream: str, index: int, n_trials: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return what `trials` with the same arguments shows.

        Returns
        -------
        values : int array, shape (n_trials, n_symbols)
            0 or 1; not shown in the periods of recall.
        commands : int array, shape (n_trials, n_symbols)
            `NOTHING`, `STORE` or `RECALL`.
        """
        return self._draw_symbols(rng_for(seed, stream, index), n_trials)

    def trials(self, seed: int, stream: str, index: int, n_trials: int) -> Trials:
        """Draw trials, each with its own spikes.

        See `Task.trials`. `inputs` has the shape (n_trials, n_steps, n_inputs), `targets` is
        one-hot during recalls and 0 elsewhere, shape (n_trials, n_steps, 2), and `periods` numbers
        the recalls of each trial from 1.
        """
        rng = rng_for(seed, stream, index)
        values, commands = self._draw_symbols(rng, n_trials)
        recalls = commands == RECALL

        stored = np.zeros_like(values)
        for period in range(1, self.n_symbols):
            now = commands[:, period - 1] == STORE
            stored[:, period] = np.where(now, values[:, period - 1], stored[:, period - 1])
        targets = np.eye(2)[stored] * recalls[:, :, np.newaxis]
        answers = np.cumsum(recalls, axis=1) * recalls
        return Trials(
            inputs=self._spikes(rng, values, commands),
            targets=np.repeat(targets, self.symbol_steps, axis=1),
            pattern=np.arange(n_trials),
            target=np.arange(n_trials),
            periods=np.repeat(answers, self.symbol_steps, axis=1),
            n_answers=self.n_symbols // 2,
        )

    def _draw_symbols(
        self, rng: np.random.Generator, n_trials: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        check_count("n_trials", n_trials)
        values = integers(rng, 2, (n_trials, self.n_symbols))
        commanded = np.zeros((n_trials, self.n_symbols), dtype=bool)
        lacking = np.arange(n_trials)
        while len(lacking):  # a store and a recall, at least
            commanded[lacking] = uniforms(rng, (len(lacking), self.n_symbols)) < 1 / self.mean_delay
            lacking = lacking[commanded[lacking].sum(axis=1) < 2]
        # Stores and recalls take turns.
        turn = np.where(np.cumsum(commanded, axis=1) % 2, STORE, RECALL)
        return values, np.where(commanded, turn, NOTHING)

    @cached_property
    def _spike_bins(self) -> SpikeBins:
        """Where spikes are if all values are 0 and a store comes in every period."""
        probability = np.zeros((self.n_steps, self.n_inputs))
        drawn = np.arange(self.n_inputs) // self.group_size % 2 == 0
        probability[1:, drawn] = check_rate("input_rate", self.input_rate, self.dt)
        return spike_bins(probability)

    def _spikes(
        self, rng: np.random.Generator, values: NDArray[np.intp], commands: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        shape = (len(values), self.n_steps, self.n_inputs)
        # Drawn as if all values were 0 and a store came in every period; then spikes change group.
        trial, step, input_ = spike_positions(rng, self._spike_bins, len(values))
        period = step // self.symbol_steps
        value, command = values[trial, period], commands[trial, period]
        is_value = input_ < self.group_size
        input_ += self.group_size * np.where(is_value, value, command == RECALL)
        kept = np.where(is_value, command != RECALL, command != NOTHING)
        spikes = np.zeros(shape, dtype=bool)
        spikes[trial[kept], step[kept], input_[kept]] = True
        return spikes
