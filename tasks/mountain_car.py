"""MountainCar: drive a car with a weak engine out of a valley."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from eprop_brian.equations.environment import Environment
from eprop_brian.equations.environments import MOUNTAIN_CAR
from eprop_brian.tasks.episodes import EpisodicTask

__all__ = ["MountainCar"]


@dataclass(frozen=True, kw_only=True, eq=False)
class MountainCar(EpisodicTask):
    """Drive a car out of a valley that it must rock in, as its engine is too weak.

    The car is that of gymnasium's MountainCar-v0: every action costs 1. Position and velocity are
    sensed by 10 inputs each, with Gaussian tuning curves.

    Parameters
    ----------
    cost_per_step : float
        Cost of every action, 1 by default. Smaller ones keep the returns, which the network's value
        has to reach, small.
    dt : Quantity
        Length of a time step, 1 ms by default.
    """

    name: ClassVar[str] = "mountain-car"
    description: ClassVar[str] = "drive a car with a weak engine out of a valley"
    source: ClassVar[str] = MOUNTAIN_CAR.source

    cost_per_step: float = 1.0

    @cached_property
    def environment(self) -> Environment:
        """See `eprop_brian.equations.environments.MOUNTAIN_CAR`."""
        return MOUNTAIN_CAR.with_parameters(cost_per_step=self.cost_per_step)

    @property
    def solved_return(self) -> float:
        """Of 110 actions."""
        return -110 * self.cost_per_step
