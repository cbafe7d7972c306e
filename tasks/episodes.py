"""Tasks that are episodes in an environment: the network's outputs act, and are rewarded."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from eprop_brian.base.checks import check_count, whole_steps
from eprop_brian.equations.environment import Environment
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.trials import Trials, noise_keys

__all__ = ["EpisodicTask"]


@dataclass(frozen=True, kw_only=True, eq=False)
class EpisodicTask(Task):
    """Base class: act in an environment so that the sum of the rewards, the return, is large.

    Nothing is drawn beforehand: the environment runs with the network, and an episode's random
    numbers follow from the key of its noise.

    Parameters
    ----------
    dt : Quantity
        Length of a time step, 1 ms by default.

    Attributes
    ----------
    environment : Environment
        The same object every time it is asked for.
    solved_return : float or None
        The task counts as solved when the mean return of 100 episodes reaches it.
    """

    #: Of the value; what the outputs before it learn is the policy's.
    loss: ClassVar[str] = "squared_error"

    @property
    @abstractmethod
    def environment(self) -> Environment:
        """What the network acts in."""

    @property
    def solved_return(self) -> float | None:
        """Mean return of 100 episodes with which the task counts as solved."""
        return None

    @property
    def steps_per_action(self) -> int:
        """Steps from one action to the next."""
        return whole_steps("action_every", self.environment.action_every, self.dt)

    @property
    def n_steps(self) -> int:
        """Most steps of an episode."""
        return self.environment.most_actions * self.steps_per_action

    @property
    def n_inputs(self) -> int:
        """Number of inputs, those of all codes."""
        return self.environment.n_inputs

    @property
    def n_outputs(self) -> int:
        """Number of outputs that choose the action, and the value behind them."""
        return self.environment.action_outputs + 1

    @property
    def learning_window(self) -> int:
        """All steps of an episode."""
        return self.n_steps

    def trials(self, seed: int, stream: str, index: int, n_trials: int) -> Trials:
        """Return episodes. See `Task.trials` and `Trials.episodes`."""
        keys = noise_keys(seed, stream, index, check_count("n_trials", n_trials))
        return Trials.episodes(self.environment, self.dt, keys)
