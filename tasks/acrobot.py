"""Acrobot: swing the lower of two links up by a torque at the joint between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from eprop_brian.equations.environment import Environment
from eprop_brian.equations.environments import ACROBOT
from eprop_brian.tasks.episodes import EpisodicTask

__all__ = ["Acrobot"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Acrobot(EpisodicTask):
    """Swing the end of two links above a line, by a torque at the joint between them.

    The links are those of gymnasium's Acrobot-v1: every action but the last costs 1. What its
    observations have is sensed by 10 inputs each, with Gaussian tuning curves.

    Parameters
    ----------
    cost_per_step : float
        Cost of every action, 1 by default. Smaller ones keep the returns, which the network's value
        has to reach, small.
    dt : Quantity
        Length of a time step, 1 ms by default.
    """

    name: ClassVar[str] = "acrobot"
    description: ClassVar[str] = "swing two links up by a torque at the joint between them"
    source: ClassVar[str] = ACROBOT.source

    cost_per_step: float = 1.0

    @cached_property
    def environment(self) -> Environment:
        """See `eprop_brian.equations.environments.ACROBOT`."""
        return ACROBOT.with_parameters(cost_per_step=self.cost_per_step)

    @property
    def solved_return(self) -> float:
        """Of 100 actions."""
        return -100 * self.cost_per_step
