"""T-maze: remember cues on two sides, then choose one; the reward says whether it was right.

A trial is laid out as one of evidence accumulation (`eprop_brian.tasks.evidence_accumulation`).
Nothing tells the network the right side but the reward of its choice at the end, which is 1 or 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from brian2.units import Hz, Quantity, ms

from eprop_brian.base.checks import check_count, check_probability, check_rate, whole_steps
from eprop_brian.equations.environment import Environment
from eprop_brian.equations.environments import T_MAZE_SOURCE, t_maze
from eprop_brian.tasks.episodes import EpisodicTask

__all__ = ["TMaze"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TMaze(EpisodicTask):
    """Choose the side on which there were more cues, after a delay, by the reward alone.

    Parameters
    ----------
    n_cues : int
        Number of cues, odd so that no trial is a tie; 1 by default.
    cue_duration, pause_duration : Quantity
        Length of a cue (100 ms) and of the pause before each cue (50 ms).
    delay : Quantity
        Time between the last cue and the recall period (500 ms).
    recall_duration : Quantity
        Length of the recall period (150 ms), over which outputs are averaged for the choice.
    cue_rate, recall_rate, background_rate : Quantity
        Firing rate of an input while its group is active (40, 40 and 10 Hz).
    group_size : int
        Number of inputs in each of the four groups: left, right, recall, background.
    p_favoured : float
        Probability that a cue is on the side that the trial favours, 0.7; the favoured side is left
        or right with equal probability.
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
    Action 0 is left, action 1 is right.
    """

    name: ClassVar[str] = "t-maze"
    description: ClassVar[str] = "choose the side of the cues after a delay, by the reward alone"
    source: ClassVar[str] = T_MAZE_SOURCE
    solved_return: ClassVar[float] = 0.9

    n_cues: int = 1
    cue_duration: Quantity = field(default_factory=lambda: 100 * ms)
    pause_duration: Quantity = field(default_factory=lambda: 50 * ms)
    delay: Quantity = field(default_factory=lambda: 500 * ms)
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
        for name, minimum in (
            *(("cue_duration", 1), ("recall_duration", 1)),
            *(("pause_duration", 0), ("delay", 0)),
        ):
            whole_steps(name, getattr(self, name), self.dt, minimum=minimum)
        for name in ("cue_rate", "recall_rate", "background_rate"):
            check_rate(name, getattr(self, name), self.dt)
        super().__post_init__()

    @cached_property
    def environment(self) -> Environment:
        """The cues and the choice."""
        return t_maze(
            n_cues=self.n_cues,
            cue=self.cue_duration,
            pause=self.pause_duration,
            delay=self.delay,
            recall=self.recall_duration,
            cue_rate=self.cue_rate,
            recall_rate=self.recall_rate,
            background_rate=self.background_rate,
            p_favoured=self.p_favoured,
            group_size=self.group_size,
            dt=self.dt,
        )
