"""Evidence accumulation: count cues on two sides, remember the count, answer much later.

A trial is a row of cues, each on the left or on the right, a delay, and a recall period in which
the network must say which side had more cues::

    | pause | cue 1 | pause | cue 2 | ... | pause | cue n |      delay      | recall |

The inputs are four groups of Poisson neurons, in this order: left (fires during cues on the
left), right (during cues on the right), recall (during the recall period), background (always).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from brian2.units import Hz, Quantity, ms, second
from numpy.typing import NDArray

from eprop_brian.tasks.base import Task, Trials, rng_for
from eprop_brian.tasks.checks import check_count, check_probability, check_quantity, whole_steps
from eprop_brian.tasks.spikes import spike_positions

__all__ = ["EvidenceAccumulation"]


@dataclass(frozen=True, kw_only=True, eq=False)
class EvidenceAccumulation(Task):
    """Say which of two sides had more cues, after a delay.

    The defaults are those of the authors' TensorFlow code.

    Parameters
    ----------
    n_cues : int
        Number of cues, odd so that no trial is a tie.
    cue_duration, pause_duration : Quantity
        Length of a cue (100 ms) and of the pause before each cue (50 ms).
    delay : Quantity
        Time between the last cue and the recall period (1050 ms).
    recall_duration : Quantity
        Length of the recall period (150 ms), in which the error counts.
    cue_rate, recall_rate, background_rate : Quantity
        Firing rate of an input while its group is active (40, 40 and 10 Hz).
    group_size : int
        Number of inputs in each of the four groups.
    p_favoured : float
        Probability that a cue is on the side that the trial favours; the favoured side is drawn
        per trial, left or right alike. The target is the side with most cues, favoured or not.
    dt : Quantity
        Length of a time step, 1 ms by default.

    Raises
    ------
    brian2.DimensionMismatchError
        If a duration is not a time or a rate not a frequency.
    TypeError, ValueError
        If a setting is out of range, or a duration not a whole number of steps.

    Notes
    -----
    Class 0 is left, class 1 is right. Step 0 holds no spikes: they reach nobody in the reference
    simulators.
    """

    name: ClassVar[str] = "evidence-accumulation"
    description: ClassVar[str] = "say, after a delay, on which side there were more cues"
    source: ClassVar[str] = (
        "Bellec et al. 2020, A solution to the learning dilemma for recurrent networks of spiking "
        "neurons, Nat. Commun. 11:3625, doi:10.1038/s41467-020-17236-y"
    )
    loss: ClassVar[str] = "softmax_cross_entropy"
    error_threshold: ClassVar[float | None] = 0.07
    n_outputs: ClassVar[int] = 2

    n_cues: int = 7
    cue_duration: Quantity = field(default_factory=lambda: 100 * ms)
    pause_duration: Quantity = field(default_factory=lambda: 50 * ms)
    delay: Quantity = field(default_factory=lambda: 1050 * ms)
    recall_duration: Quantity = field(default_factory=lambda: 150 * ms)
    cue_rate: Quantity = field(default_factory=lambda: 40 * Hz)
    recall_rate: Quantity = field(default_factory=lambda: 40 * Hz)
    background_rate: Quantity = field(default_factory=lambda: 10 * Hz)
    group_size: int = 10
    p_favoured: float = 0.7

    def __post_init__(self) -> None:
        check_count("n_cues", self.n_cues)
        if self.n_cues % 2 == 0:
            raise ValueError(f"n_cues must be odd, or a trial can end in a tie, got {self.n_cues}")
        check_count("group_size", self.group_size)
        check_probability("p_favoured", self.p_favoured)
        super().__post_init__()
        self._spike_probability()  # refuses rates that do not fit dt

    @cached_property
    def n_steps(self) -> int:
        """Length of a trial in steps, 2250 by default."""
        delay = whole_steps("delay", self.delay, self.dt, minimum=0)
        return self.n_cues * sum(self._pause_and_cue_steps) + delay + self.learning_window

    @property
    def n_inputs(self) -> int:
        """Four groups of inputs: left, right, recall, background."""
        return 4 * self.group_size

    @cached_property
    def learning_window(self) -> int:
        """The recall period, in steps."""
        return whole_steps("recall_duration", self.recall_duration, self.dt)

    def cue_sides(self, seed: int, stream: str, index: int, n_trials: int) -> NDArray[np.intp]:
        """Return on which side each cue of `trials` with the same arguments is.

        Returns
        -------
        sides : int array, shape (n_trials, n_cues)
            0 for left, 1 for right.
        """
        return self._draw_sides(rng_for(seed, stream, index), n_trials)

    def trials(self, seed: int, stream: str, index: int, n_trials: int) -> Trials:
        """Draw trials, each with its own spikes.

        See `Task.trials`. `spikes` has the shape (n_trials, n_steps, n_inputs) and `targets`
        holds the two one-hot classes, shape (2, 1, 2).
        """
        rng = rng_for(seed, stream, index)
        sides = self._draw_sides(rng, n_trials)

        # Drawn with the cues of all trials on the left; those on the right then change group.
        trial, step, input_ = spike_positions(rng, self._spike_probability(), n_trials)
        is_cue = np.flatnonzero(input_ < self.group_size)
        cue = step[is_cue] // sum(self._pause_and_cue_steps)
        input_[is_cue] += self.group_size * sides[trial[is_cue], cue]
        spikes = np.zeros((n_trials, self.n_steps, self.n_inputs), dtype=bool)
        spikes[trial, step, input_] = True

        return Trials(
            spikes=spikes,
            targets=np.eye(2)[:, np.newaxis, :],
            pattern=np.arange(n_trials),
            target=(sides.sum(axis=1) > self.n_cues // 2).astype(np.intp),
        )

    def _draw_sides(self, rng: np.random.Generator, n_trials: int) -> NDArray[np.intp]:
        check_count("n_trials", n_trials)
        favoured = rng.integers(2, size=(n_trials, 1))
        with_favoured = rng.random((n_trials, self.n_cues)) < self.p_favoured
        return np.where(with_favoured, favoured, 1 - favoured)

    def _spike_probability(self) -> NDArray[np.float64]:
        """Return the spike probability per step with all cues on the left.

        Shape (n_steps, n_inputs); the right group is silent.
        """
        left, _, recall, background = np.arange(self.n_inputs).reshape(4, self.group_size)
        pause_steps, cue_steps = self._pause_and_cue_steps
        cue_probability = self._per_step("cue_rate")
        probability = np.zeros((self.n_steps, self.n_inputs))
        for n in range(self.n_cues):
            stop = (n + 1) * (pause_steps + cue_steps)
            probability[stop - cue_steps : stop, left] = cue_probability
        probability[-self.learning_window :, recall] = self._per_step("recall_rate")
        probability[:, background] = self._per_step("background_rate")
        probability[0] = 0.0
        return probability

    @cached_property
    def _pause_and_cue_steps(self) -> tuple[int, int]:
        pause = whole_steps("pause_duration", self.pause_duration, self.dt, minimum=0)
        return pause, whole_steps("cue_duration", self.cue_duration, self.dt)

    def _per_step(self, name: str) -> float:
        rate = check_quantity(name, getattr(self, name), Hz)
        return check_probability(f"{name} * dt", rate * float(self.dt / second))
