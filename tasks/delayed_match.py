"""Delayed match to sample: say whether two cues, one long after the other, were the same.

::

    | fixation | sample | delay | test | recall |

The inputs are four groups of Poisson neurons (`eprop_brian.tasks.cues`): cue A, cue B, recall,
background.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from brian2.units import Hz, Quantity, ms
from numpy.typing import NDArray

from eprop_brian.base.checks import whole_steps
from eprop_brian.base.random import integers
from eprop_brian.tasks.cues import CueTask

__all__ = ["DelayedMatch"]


@dataclass(frozen=True, kw_only=True, eq=False)
class DelayedMatch(CueTask):
    """Say whether the test cue is the sample cue of long before.

    The timing is that of re-implementations of e-prop; groups and rates are those of evidence
    accumulation, but for stronger cues.

    Parameters
    ----------
    fixation_duration : Quantity
        Time before the sample (50 ms).
    cue_duration : Quantity
        Length of sample and test (150 ms).
    delay : Quantity
        Time between sample and test (700 ms).
    recall_duration : Quantity
        Length of the recall period (150 ms), in which the error counts.
    cue_rate, recall_rate, background_rate : Quantity
        Firing rate of an input while its group is active (100, 40 and 10 Hz).
    group_size : int
        Number of inputs in each of the four groups.
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
    Class 1 is a match, class 0 is not. Sample and test are drawn independently, A or B with equal
    probability. Step 0 holds no spikes: the reference simulators do not deliver them.
    """

    name: ClassVar[str] = "delayed-match"
    description: ClassVar[str] = "say whether two cues, one long after the other, were the same"
    source: ClassVar[str] = (
        "Miller, Erickson and Desimone 1996, Neural mechanisms of visual working memory in "
        "prefrontal cortex of the macaque, J. Neurosci. 16:5154 (the paradigm); timing of "
        "re-implementations of e-prop"
    )
    error_threshold: ClassVar[float | None] = 0.02

    fixation_duration: Quantity = field(default_factory=lambda: 50 * ms)
    cue_duration: Quantity = field(default_factory=lambda: 150 * ms)
    cue_rate: Quantity = field(default_factory=lambda: 100 * Hz)
    delay: Quantity = field(default_factory=lambda: 700 * ms)

    @cached_property
    def n_steps(self) -> int:
        """Length of a trial in steps, 1200 by default."""
        return self.cue_starts[1] + self.cue_steps + self.learning_window

    @cached_property
    def cue_starts(self) -> list[int]:
        """First step of sample and test."""
        sample = whole_steps("fixation_duration", self.fixation_duration, self.dt, minimum=0)
        delay = whole_steps("delay", self.delay, self.dt, minimum=0)
        return [sample, sample + self.cue_steps + delay]

    def draw_cues(self, rng: np.random.Generator, n_trials: int) -> NDArray[np.intp]:
        """Draw sample and test, 0 for A and 1 for B."""
        return integers(rng, 2, (n_trials, 2))

    def classes(self, cues: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return 1 where both cues are the same, else 0."""
        return (cues[:, 0] == cues[:, 1]).astype(np.intp)
