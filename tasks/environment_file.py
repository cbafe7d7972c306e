"""An environment of the user's, from a file of equations."""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from functools import cached_property
from typing import ClassVar

from eprop_brian.equations.environment import Environment
from eprop_brian.tasks.episodes import EpisodicTask

__all__ = ["EnvironmentFile"]


@dataclass(frozen=True, kw_only=True, eq=False)
class EnvironmentFile(EpisodicTask):
    """Act in an environment that a file describes (`eprop_brian.symbolic.environment_file`).

    By its name and the file's: ``environment:my_environment.toml``.

    Parameters
    ----------
    file : str
        An environment file, TOML.
    solved_at : float, optional
        The task counts as solved when the mean return of 100 episodes reaches it.
    dt : Quantity
        Length of a time step, 1 ms by default.
    kept : Environment, optional
        What was read from the file earlier, whatever it is now.

    Raises
    ------
    EquationError
        For anything that is wrong with the file, with its line.
    ValueError
        If no file is named.
    """

    name: ClassVar[str] = "environment"
    description: ClassVar[str] = "act in an environment of your own, written as equations in a file"
    argument: ClassVar[str] = "file"

    file: str = ""
    solved_at: float | None = None
    kept: InitVar[Environment | None] = None

    def __post_init__(self, kept: Environment | None) -> None:
        if kept is not None:
            self.__dict__["environment"] = kept
        super().__post_init__()

    @cached_property
    def environment(self) -> Environment:
        """What the file describes, read once."""
        # Reading equations is for those who call the task, not for all who import tasks.
        from eprop_brian.symbolic.environment_file import read_environment

        if not self.file:
            raise ValueError(
                "the task 'environment' needs the setting file, an environment file: "
                "environment:my_environment.toml"
            )
        return read_environment(self.file)

    @property
    def source(self) -> str:  # type: ignore[override]
        """Where the equations come from, as the file says."""
        return self.environment.source

    @property
    def solved_return(self) -> float | None:
        """See `EpisodicTask.solved_return`."""
        return self.solved_at
