"""CartPole: keep a pole upright on a cart by pushing the cart to the left or to the right."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from eprop_brian.equations.environment import Environment
from eprop_brian.equations.environments import CARTPOLE
from eprop_brian.tasks.episodes import EpisodicTask

__all__ = ["CartPole"]


@dataclass(frozen=True, kw_only=True, eq=False)
class CartPole(EpisodicTask):
    """Keep a pole upright on a cart that is pushed left or right.

    The cart and its limits are those of gymnasium's CartPole-v1. Its four quantities are sensed by
    10 inputs each, with Gaussian tuning curves.

    Parameters
    ----------
    reward_per_step : float
        Reward for every action, 1 by default. Smaller ones keep the returns, which the network's
        value has to reach, small.
    dt : Quantity
        Length of a time step, 1 ms by default.
    """

    name: ClassVar[str] = "cartpole"
    description: ClassVar[str] = "keep a pole upright on a cart, by pushes to the left or right"
    source: ClassVar[str] = CARTPOLE.source

    reward_per_step: float = 1.0

    @cached_property
    def environment(self) -> Environment:
        """The cart and its pole."""
        return CARTPOLE.with_parameters(reward_per_step=self.reward_per_step)

    @property
    def solved_return(self) -> float:
        """Of 475 of the 500 actions that an episode has at most."""
        return 475 * self.reward_per_step
