"""Evidence accumulation: count cues on two sides, remember the count, answer much later.

A trial is a row of cues, each on the left or on the right, a delay, and a recall period in which
the network must say which side had more cues::

    | pause | cue 1 | pause | cue 2 | ... | pause | cue n |      delay      | recall |

The inputs are four groups of Poisson neurons (`eprop_brian.tasks.cues`): left, right, recall,
background.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from brian2.units import Quantity, ms
from numpy.typing import NDArray

from eprop_brian.base.checks import check_count, check_probability, whole_steps
from eprop_brian.base.random import integers, rng_for, uniforms
from eprop_brian.tasks.cues import CueTask

__all__ = ["EvidenceAccumulation"]


@dataclass(frozen=True, kw_only=True, eq=False)
class EvidenceAccumulation(CueTask):
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
        per trial, left or right with equal probability. The target is the side with most cues,
        favoured or not.
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
    error_threshold: ClassVar[float | None] = 0.07

    n_cues: int = 7
    pause_duration: Quantity = field(default_factory=lambda: 50 * ms)
    delay: Quantity = field(default_factory=lambda: 1050 * ms)
    p_favoured: float = 0.7

    def __post_init__(self) -> None:
        check_count("n_cues", self.n_cues)
        if self.n_cues % 2 == 0:
            raise ValueError(f"n_cues must be odd, or a trial can end in a tie, got {self.n_cues}")
        check_probability("p_favoured", self.p_favoured)
        super().__post_init__()

    @cached_property
    def n_steps(self) -> int:
        """Length of a trial in steps, 2250 by default."""
        delay = whole_steps("delay", self.delay, self.dt, minimum=0)
        return self.n_cues * (self._pause_steps + self.cue_steps) + delay + self.learning_window

    @property
    def cue_starts(self) -> list[int]:
        """First step of each cue, in order."""
        length = self._pause_steps + self.cue_steps
        return [n * length + self._pause_steps for n in range(self.n_cues)]

    def cue_sides(self, seed: int, stream: str, index: int, n_trials: int) -> NDArray[np.intp]:
        """Return on which side each cue of `trials` with the same arguments is.

        Returns
        -------
        sides : int array, shape (n_trials, n_cues)
            0 for left, 1 for right.
        """
        return self.draw_cues(rng_for(seed, stream, index), check_count("n_trials", n_trials))

    def draw_cues(self, rng: np.random.Generator, n_trials: int) -> NDArray[np.intp]:
        """Draw the favoured side of each trial, then the side of each cue."""
        favoured = integers(rng, 2, (n_trials, 1))
        with_favoured = uniforms(rng, (n_trials, self.n_cues)) < self.p_favoured
        return np.where(with_favoured, favoured, 1 - favoured)

    def classes(self, cues: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the side with most cues."""
        return (cues.sum(axis=1) > self.n_cues // 2).astype(np.intp)

    @cached_property
    def _pause_steps(self) -> int:
        return whole_steps("pause_duration", self.pause_duration, self.dt, minimum=0)
