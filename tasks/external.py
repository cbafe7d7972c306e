"""Tasks in environments of gymnasium, which run outside the program that a network runs in.

The program runs until the network has chosen an action, hands it out, and goes on with the
observation that follows: `ExternalTask.player` gives a copy of the environment that answers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
from brian2.units import Quantity, ms
from numpy.typing import NDArray

from eprop_brian.base.checks import (
    check_choice,
    check_count,
    check_probability,
    check_real,
    is_finite,
)
from eprop_brian.base.random import integers, rng_for, uniforms
from eprop_brian.equations.environment import Environment
from eprop_brian.tasks.datasets import DataError, import_library
from eprop_brian.tasks.episodes import EpisodicTask
from eprop_brian.tasks.observation_codes import CODINGS, observation_codes
from eprop_brian.tasks.player import EnvironmentFailed, Player
from eprop_brian.tasks.spaces import Actions, Observations, read_actions, read_observations, shown

__all__ = ["ExternalTask"]

#: Random episodes from which ranges of observations are taken, at most.
_MOST_RANDOM = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class ExternalTask(EpisodicTask):
    """Base class: act in an environment of gymnasium.

    Parameters
    ----------
    coding : {"population", "latency", "analog"}
        How inputs sense observations (`eprop_brian.tasks.observation_codes`).
    n_cells : int
        Inputs for each number of an observation (10); one with analog coding.
    peak : float
        With population coding, probability of a spike in a step at an input's centre (0.5).
    low, high : sequence of float
        Ranges of the components of an observation, in their order. Without them those of its space
        and, where this has none, the smallest and largest values in episodes of random actions.
    random_episodes : int
        How many such episodes (20; at most 1000), always the same.
    actions : sequence of int
        Of discrete actions, those that the network has, as the environment numbers them; none: all.
    reward_scale : float
        Factor of all rewards, and so of returns (1). A network's value has to reach the returns:
        0.02 brings those of CartPole, 1 for each of 500 actions, to 10.
    most_actions : int, optional
        An episode is cut off after so many. Default: the environment's own limit.
    goes_on : bool
        Whether an episode that is cut off so goes on in the next trial that is learned from, at the
        same place of a batch (false). Trials then are pieces of long episodes, which a network
        learns from if what comes after a piece counts: with ``bootstrap`` of its agent. The network
        begins each piece anew, and a run that is resumed begins new episodes.
    action_every : Quantity
        Time from one action to the next (5 ms).
    dt : Quantity
        Length of a time step, 1 ms by default.

    Attributes
    ----------
    observations : Observations
    possible_actions : Actions
    """

    coding: str = "population"
    n_cells: int = 10
    peak: float = 0.5
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    random_episodes: int = 20
    actions: tuple[int, ...] = ()
    reward_scale: float = 1.0
    most_actions: int | None = None
    goes_on: bool = False
    action_every: Quantity = field(default_factory=lambda: 5 * ms)

    @property
    @abstractmethod
    def title(self) -> str:
        """What messages call the environment."""

    @property
    def published_actions(self) -> tuple[int, ...]:
        """What a network has without `actions`; none: all."""
        return ()

    @abstractmethod
    def _made(self, gymnasium: ModuleType, render: bool) -> Any:
        """Make a copy of the environment, which draws itself if `render`."""

    def make(self, *, render: bool = False) -> Any:
        """Make a copy of the environment.

        Parameters
        ----------
        render : bool
            Whether its ``render`` is to give pictures.

        Returns
        -------
        gymnasium.Env

        Raises
        ------
        DataError
            If a library is not installed.
        TypeError, ValueError
            If there is no such environment, or what is made is none.
        EnvironmentFailed
            If it raises.
        """
        gymnasium = import_library("gymnasium", "gymnasium", "gymnasium")
        try:
            environment = self._made(gymnasium, render)
        except (DataError, EnvironmentFailed):
            raise
        except gymnasium.error.Error as error:
            raise ValueError(f"gymnasium cannot make '{self.title}': {error}") from None
        except Exception as error:
            raise EnvironmentFailed(
                f"environment '{self.title}' when it was made: it raised "
                f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(environment, gymnasium.Env):
            raise TypeError(f"{self.title} makes {shown(environment)}, which is no gymnasium.Env")
        return environment

    def __post_init__(self) -> None:
        check_choice("coding", self.coding, CODINGS)
        check_count("n_cells", self.n_cells, minimum=2)
        check_probability("peak", self.peak)
        if check_count("random_episodes", self.random_episodes) > _MOST_RANDOM:
            raise ValueError(
                f"random_episodes must be at most {_MOST_RANDOM}, which show the ranges of "
                f"observations well enough, got {self.random_episodes}: give `low` and `high` to "
                "set them yourself"
            )
        check_real("reward_scale", self.reward_scale)
        if self.reward_scale <= 0:
            raise ValueError(f"reward_scale must be positive, got {self.reward_scale}")
        if self.most_actions is not None:
            check_count("most_actions", self.most_actions)
        n = len(self.observations)
        for name in ("low", "high"):
            bounds = getattr(self, name)
            numbers = isinstance(bounds, Sequence | np.ndarray) and all(map(is_finite, bounds))
            if not numbers or len(bounds) not in (0, n):
                raise ValueError(
                    f"{name} must have a finite number for each of the {n} components of an "
                    f"observation of {self.title}, got {getattr(self, name)!r}"
                )
        super().__post_init__()

    @property
    def observations(self) -> Observations:
        """What comes from the environment."""
        return self._given[0]

    @property
    def possible_actions(self) -> Actions:
        """What the network can do."""
        return self._given[1]

    @property
    def solved_return(self) -> float | None:
        """Mean return of 100 episodes with which the environment counts as solved, scaled."""
        threshold = self._given[2]
        return None if threshold is None else threshold * self.reward_scale

    @cached_property
    def longest_episode(self) -> int:
        """Most actions of an episode.

        Raises
        ------
        ValueError
            If neither the environment nor `most_actions` says.
        """
        limit = self.most_actions or self._given[3]
        if limit is None:
            raise ValueError(
                f"{self.title} does not say after how many actions an episode ends at last: set "
                "most_actions"
            )
        return limit

    @cached_property
    def _given(self) -> tuple[Observations, Actions, float | None, int | None]:
        """What a copy of the environment says of itself."""
        environment = self.make()
        try:
            spec = environment.spec
            return (
                read_observations(environment.observation_space),
                read_actions(environment.action_space, self.actions or self.published_actions),
                None if spec is None else spec.reward_threshold,
                None if spec is None else spec.max_episode_steps,
            )
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.title}: {error}") from None
        finally:
            environment.close()

    @cached_property
    def environment(self) -> Environment:
        """What inputs of the network sense of the environment, and how many actions it takes."""
        low, high = self.ranges
        return Environment(
            name=self.title,
            model="",
            external=self.player,
            codes=observation_codes(
                self.observations,
                low,
                high,
                coding=self.coding,
                n_cells=self.n_cells,
                peak=self.peak,
                action_every=self.action_every,
            ),
            n_actions=self.possible_actions.n_actions,
            action_size=self.possible_actions.action_size,
            most_actions=self.longest_episode,
            action_every=self.action_every,
            source=self.source,
        )

    def player(self, *, render: bool = False) -> Player:
        """Make a copy of the environment to play in, which a ``with`` block closes.

        Parameters
        ----------
        render : bool
            Whether it can draw itself (`Player.render`).

        Raises
        ------
        EnvironmentFailed
            If it cannot be made.
        """
        return Player(
            self.title,
            self.make(render=render),
            self.observations,
            self.possible_actions,
            self.longest_episode,
            self.reward_scale,
            self.goes_on,
        )

    @cached_property
    def ranges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ranges of the components of observations, from the smallest to the largest value.

        Returns
        -------
        low, high : float array, shape (n_components,)

        Raises
        ------
        ValueError
            If a range is empty.
        """
        space = self.observations
        low = np.asarray(self.low if len(self.low) else space.low, dtype=float)
        high = np.asarray(self.high if len(self.high) else space.high, dtype=float)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            seen = self._random_observations()
            low = np.where(np.isfinite(low), low, seen.min(axis=0))
            high = np.where(np.isfinite(high), high, seen.max(axis=0))
        if not (len(self.low) or len(self.high)):
            high = np.where(low == high, low + 1, high)  # of what never changes
        empty = (low >= high) & (space.classes == 0)
        if empty.any():
            k = int(empty.argmax())
            raise ValueError(
                f"component {k} of an observation of {self.title} has no range: its low is "
                f"{low[k]:g} and its high {high[k]:g}"
            )
        return low, high

    def _random_observations(self) -> NDArray[np.float64]:
        """Observations in episodes of random actions, shape (n_observations, n_components)."""
        rng = rng_for(0, "random actions")
        possible = self.possible_actions
        seen = []
        with self.player() as player:
            for episode in range(self.random_episodes):
                seen.append(player.reset(seed=episode))
                over = False
                while not over:
                    action = (
                        integers(rng, possible.n_actions, ())
                        if possible.n_actions
                        else 2 * uniforms(rng, possible.action_size) - 1
                    )
                    step = player.step(action)
                    seen.append(step.observation)
                    over = step.terminated or step.truncated
        return np.array(seen)
