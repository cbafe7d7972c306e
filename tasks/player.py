"""An environment of gymnasium as a network plays it, with all that comes from it checked.

An environment is somebody else's program. Whatever it does wrong ends in `EnvironmentFailed`, which
says in a sentence what came, in which step, and what was expected; the environment is closed then.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eprop_brian.tasks.spaces import Actions, Observations, shown

__all__ = ["EnvironmentFailed", "Player", "Step"]

#: Environments may hand their seed to a program that knows 32-bit integers only.
_SEEDS = 2**31


class EnvironmentFailed(RuntimeError):
    """An environment raised, or what came from it or went to it is not what its spaces say."""


class Step(NamedTuple):
    """What follows an action.

    Attributes
    ----------
    observation : float array, shape (n_components,)
    reward : float
    terminated : bool
        Whether the episode has come to its own end.
    truncated : bool
        Whether it is broken off, by the environment or after the most actions that are allowed.
    """

    observation: NDArray[np.float64]
    reward: float
    terminated: bool
    truncated: bool


class Player:
    """One copy of an environment, to be used in a ``with`` block, which closes it.

    Parameters
    ----------
    name : str
        What messages call the environment.
    environment : gymnasium.Env
        Nobody else's.
    observations : Observations
    actions : Actions
    most_actions : int
        An episode is truncated after so many.
    reward_scale : float
        Factor of all rewards.
    goes_on : bool
        Whether episodes of a batch that is learned from are to go on where those before them were
        truncated after the most actions (`go_on`).

    Attributes
    ----------
    goes_on : bool
    """

    def __init__(
        self,
        name: str,
        environment: Any,
        observations: Observations,
        actions: Actions,
        most_actions: int,
        reward_scale: float = 1.0,
        goes_on: bool = False,
    ) -> None:
        self._name = name
        self._observations, self._actions = observations, actions
        self._most_actions, self._reward_scale = most_actions, reward_scale
        self.goes_on = goes_on
        # None before the first episode and after the end of one.
        self._n_actions: int | None = None
        # What there was to observe when the last episode was truncated after the most actions.
        self._last: NDArray[np.float64] | None = None
        self._where = ""
        self._environment: Any = environment

    def __enter__(self) -> Player:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the environment; what is closed stays so.

        Raises
        ------
        EnvironmentFailed
            If the environment raises meanwhile.
        """
        environment, self._environment = self._environment, None
        self._n_actions, self._where = None, "when it was closed"
        if environment is not None:
            self._asked("", environment.close)

    def reset(self, seed: int) -> NDArray[np.float64]:
        """Begin an episode.

        Parameters
        ----------
        seed : int
            Not negative, such as the trial's noise key: with the same one and the same actions
            the episode is the same, whatever this copy has played before.

        Returns
        -------
        observation : float array, shape (n_components,)

        Raises
        ------
        EnvironmentFailed
            If the environment raises, or returns anything but an observation of its space and
            a dictionary.
        """
        self._where, self._last = "at reset", None
        answer = self._asked("", self._opened().reset, seed=int(seed) % _SEEDS)
        if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict)):
            self._fail(f"it returned {shown(answer)}, expected an observation and a dictionary")
        self._n_actions = 0
        return self._vector(answer[0])

    def go_on(self, seed: int) -> NDArray[np.float64]:
        """Go on with an episode that was truncated after the most actions; else begin one.

        Parameters
        ----------
        seed : int
            As for `reset`, of an episode that begins.

        Returns
        -------
        observation : float array, shape (n_components,)
        """
        if self._last is None:
            return self.reset(seed)
        observation, self._last, self._n_actions = self._last, None, 0
        return observation

    def step(self, action: ArrayLike) -> Step:
        """Take an action.

        Parameters
        ----------
        action : int, or float array of shape (action_size,)
            As `Actions.converted` takes it.

        Raises
        ------
        EnvironmentFailed
            If there is no such action, the environment raises, or what it returns is not an
            observation of its space, a finite reward, two truth values and a dictionary.
        RuntimeError
            If no episode has begun, or it has ended.
        """
        environment = self._opened()
        if self._n_actions is None:
            raise RuntimeError("there is no episode to go on with: call reset first")
        self._n_actions += 1
        self._where = f"in step {self._n_actions} of an episode"
        try:
            converted = self._actions.converted(action)
        except ValueError as error:
            self._fail(str(error))
        answer = self._asked(f" on the action {shown(converted)}", environment.step, converted)
        if not isinstance(answer, tuple) or len(answer) != 5:
            length = len(answer) if isinstance(answer, tuple) else shown(answer)
            values = f"{length} values" if isinstance(answer, tuple) else length
            self._fail(
                f"it returned {values}, expected five: observation, reward, terminated, "
                "truncated and a dictionary"
            )
        observation, reward, *ends, _ = answer
        for what, end in zip(("terminated", "truncated"), ends, strict=True):
            if not isinstance(end, bool | np.bool_):
                self._fail(f"{what} is {shown(end)}, expected true or false")
        terminated, truncated = map(bool, ends)
        vector, is_last = self._vector(observation), self._n_actions >= self._most_actions
        if is_last and not (terminated or truncated):
            self._last = vector
        if is_last or terminated or truncated:
            self._n_actions = None
        return Step(vector, self._reward(reward), terminated, truncated or is_last)

    def render(self) -> NDArray[np.uint8]:
        """Draw the environment as it is, if it was made for that.

        Returns
        -------
        picture : uint8 array, shape (height, width, 3)
        """
        picture = self._asked(" while it was drawn", self._opened().render)
        if not isinstance(picture, np.ndarray) or picture.ndim != 3 or picture.shape[2] != 3:
            self._fail(f"it drew {shown(picture)}, expected a picture (height, width, 3)")
        return picture.astype(np.uint8, copy=False)

    def _opened(self) -> Any:
        if self._environment is None:
            raise RuntimeError(f"the environment '{self._name}' is closed")
        return self._environment

    def _asked(self, meanwhile: str, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            return call(*args, **options)
        except Exception as error:
            text = " ".join(str(error).split())
            self._fail(f"it raised {type(error).__name__}{meanwhile}: {text}", error)

    def _vector(self, observation: Any) -> NDArray[np.float64]:
        try:
            return self._observations.vector(observation)
        except ValueError as error:
            self._fail(str(error))

    def _reward(self, reward: Any) -> float:
        number = np.asarray(reward)
        if number.shape or number.dtype.kind not in "biuf" or not math.isfinite(number):
            self._fail(f"the reward is {shown(reward)}, expected one finite number")
        return float(number) * self._reward_scale

    def _fail(self, what: str, cause: Exception | None = None) -> NoReturn:
        failure = EnvironmentFailed(f"environment '{self._name}' {self._where}: {what}")
        environment, self._environment = self._environment, None
        if environment is not None:
            # What failed first is what is told.
            with contextlib.suppress(Exception):
                environment.close()
        raise failure from cause
