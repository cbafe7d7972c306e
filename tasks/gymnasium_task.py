"""Any environment of gymnasium, by its id or as an object: act for a large return.

On the command line ``gymnasium:CartPole-v1`` names the environment CartPole-v1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar

from eprop_brian.tasks.datasets import import_library
from eprop_brian.tasks.external import ExternalTask
from eprop_brian.tasks.player import EnvironmentFailed

__all__ = ["GymnasiumTask"]


@dataclass(frozen=True, kw_only=True, eq=False)
class GymnasiumTask(ExternalTask):
    """Act in an environment of gymnasium.

    Parameters
    ----------
    env : str, gymnasium.Env or callable
        Its id, "CartPole-v1" by default, or "module:id" where a module registers it; an
        environment, which is copied; or a function without arguments that makes one.
    options : mapping
        What an environment that is named gets besides, such as ``{"is_slippery": False}``.

    Further settings are those of `eprop_brian.tasks.external.ExternalTask`.

    Raises
    ------
    DataError
        If gymnasium is not installed.
    TypeError, ValueError
        If there is no such environment, its spaces are not for a network, or a setting does not
        fit it.
    EnvironmentFailed
        If it cannot be made, or episodes of random actions, which show its ranges, fail.

    Examples
    --------
    >>> from eprop_brian.tasks.gymnasium_task import GymnasiumTask
    >>> task = GymnasiumTask("Acrobot-v1", coding="analog")
    >>> task.n_inputs, task.n_outputs
    (6, 4)
    >>> with task.player() as player:
    ...     observation = player.reset(seed=1)
    ...     step = player.step(2)
    >>> observation.shape, step.reward
    ((6,), -1.0)
    """

    name: ClassVar[str] = "gymnasium"
    description: ClassVar[str] = "act in an environment of gymnasium: gymnasium:CartPole-v1"
    source: ClassVar[str] = "Towers et al. 2024, arXiv:2407.17032"
    argument: ClassVar[str] = "env"

    env: str | Any = field(default="CartPole-v1", kw_only=False)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The environment's id, or the name of its class or of what makes it."""
        if isinstance(self.env, str):
            return self.env
        spec = getattr(self.env, "spec", None)
        if spec is not None:
            return str(spec.id)
        named = self.env if callable(self.env) else type(self.env.unwrapped)
        return getattr(named, "__name__", type(named).__name__)

    def __post_init__(self) -> None:
        base = import_library("gymnasium", "gymnasium", "gymnasium").Env
        if not isinstance(self.env, str | base) and not callable(self.env):
            raise TypeError(f"env must be an id, an environment or a function, not {self.env!r}")
        if not isinstance(self.env, str) and self.options:
            raise ValueError("options are for an environment that is named, not for an object")
        if isinstance(self.env, str) and (game := re.search(r"\bALE/(\w+)", self.env)):
            raise ValueError(
                f"the pictures of {self.env} are made small for a network by the task atari: "
                f"atari:{game[1]}"
            )
        super().__post_init__()

    def _made(self, gymnasium: ModuleType, render: bool) -> Any:
        if isinstance(self.env, str):
            options = {"disable_env_checker": True, **self.options}  # `Player` checks
            if render:
                options["render_mode"] = "rgb_array"
            if self.most_actions is not None and not self.goes_on:
                options["max_episode_steps"] = self.most_actions
            return gymnasium.make(self.env, **options)
        if not isinstance(self.env, gymnasium.Env):
            return self.env()
        try:
            return deepcopy(self.env)
        except Exception as error:
            raise EnvironmentFailed(
                f"environment '{self.title}' cannot be copied ({error}): give a function that "
                "makes one"
            ) from error
