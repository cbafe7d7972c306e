"""Reaching: move a hand to a place that was shown before a delay, by the reward alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from brian2.units import Quantity, cmeter, meter, ms

from eprop_brian.base.checks import check_quantity, whole_steps
from eprop_brian.equations.environment import Environment
from eprop_brian.equations.environments import REACHING_SOURCE, reaching
from eprop_brian.tasks.episodes import EpisodicTask

__all__ = ["Reaching"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reaching(EpisodicTask):
    """Move the hand of an arm with two joints to a target that is no longer shown.

    The target is on a circle around the hand. It is shown, then hidden; after a delay a go signal
    comes, and the two actions are velocities of the joints. What they do before is ignored. The
    reward of an action is minus the distance between hand and target, in lengths of the arm.

    Parameters
    ----------
    cue_duration : Quantity
        How long the target is shown (200 ms).
    delay : Quantity
        Time from then to the go signal (200 ms).
    movement_duration : Quantity
        Time for the movement (400 ms).
    action_interval : Quantity
        Time from one action to the next (20 ms); the others are multiples of it.
    distance : Quantity
        From the hand's first place to the target (25 cm, of an arm of 1 m).
    dt : Quantity
        Length of a time step, 1 ms by default.

    Raises
    ------
    brian2.DimensionMismatchError
        If a duration is not a time, or the distance not a length.
    ValueError
        If a duration is not a whole number of actions, or the target out of reach.
    """

    name: ClassVar[str] = "reaching"
    description: ClassVar[str] = "move a hand to a target that was shown before a delay"
    source: ClassVar[str] = REACHING_SOURCE

    cue_duration: Quantity = field(default_factory=lambda: 200 * ms)
    delay: Quantity = field(default_factory=lambda: 200 * ms)
    movement_duration: Quantity = field(default_factory=lambda: 400 * ms)
    action_interval: Quantity = field(default_factory=lambda: 20 * ms)
    distance: Quantity = field(default_factory=lambda: 25 * cmeter)

    def __post_init__(self) -> None:
        whole_steps("action_interval", self.action_interval, self.dt)
        for name in ("cue_duration", "delay", "movement_duration"):
            minimum = 0 if name == "delay" else 1
            try:
                whole_steps(name, getattr(self, name), self.action_interval, minimum=minimum)
            except ValueError:
                raise ValueError(
                    f"{name} must be a whole number of actions, one every {self.action_interval}, "
                    f"got {getattr(self, name)}"
                ) from None
        if not 0 < check_quantity("distance", self.distance, meter) <= 0.25:
            raise ValueError(
                f"distance must be positive and at most 25 cm, within the arm's reach in every "
                f"direction, got {self.distance}"
            )
        super().__post_init__()

    @cached_property
    def environment(self) -> Environment:
        """The arm and its target."""
        return reaching(
            cue=self.cue_duration,
            delay=self.delay,
            movement=self.movement_duration,
            action_every=self.action_interval,
            distance=self.distance,
            dt=self.dt,
        )
