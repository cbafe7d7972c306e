"""Which model learns a task, or has learned in a folder, and what the command does with it.

This is the one place where the command tells models apart. A model is a module of this package
that has what `Model` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import click

from eprop_brian.cli.options import RunChoices, refuse
from eprop_brian.devices import Program
from eprop_brian.tasks import TASKS
from eprop_brian.tasks.dynamics import DYNAMICS

if TYPE_CHECKING:
    from eprop_brian.runs.sweep import Learner

__all__ = [
    "Model",
    "all_tasks",
    "check_supported",
    "model_of_run",
    "model_of_task",
    "refuse_unused",
]

#: A file that only the folder of a balanced network has.
_TEACHER_FILE = "teacher.toml"


class Model(Protocol):
    """What the command does with the runs of a model.

    Attributes
    ----------
    REFUSED : mapping of str to str
        Commands and ``"train --resume"`` that the model cannot do, with the end of a message that
        begins with a task or a folder.
    UNUSED : frozenset of str
        Fields of `RunChoices` that mean nothing to the model.
    WHY_UNUSED : str
        The end of a message that begins with the option.
    LEARNER : Learner
        How runs of a sweep are trained and judged.
    """

    REFUSED: Mapping[str, str]
    UNUSED: frozenset[str]
    WHY_UNUSED: str
    LEARNER: Learner

    def configure(self, task: str, choices: RunChoices) -> Any:
        """The configuration of a new run."""

    def compiled_program(self, config: Any) -> Program:
        """The program of a run, compiled."""

    def train(self, config: Any, folder: Path, choices: RunChoices, *, figures: bool) -> None:
        """Train in a new folder, and report."""

    def resume(self, folder: Path, choices: RunChoices, *, figures: bool) -> None:
        """Go on with the run in a folder, and report."""

    def evaluate(
        self, folder: Path, choices: RunChoices, batches: int | None, batch_size: int | None
    ) -> None:
        """Test the network in a folder, and report."""

    def draw(self, folder: Path, formats: Iterable[str]) -> list[Path]:
        """Draw the run in a folder; returns the files written."""


def all_tasks() -> dict[str, str]:
    """Names and descriptions of the tasks of all models."""
    return {name: task.description for name, task in (*TASKS.items(), *DYNAMICS.items())}


def model_of_task(task: str) -> Model:
    """The model that learns a task."""
    return _model("balanced" if task in DYNAMICS else "eprop")


def model_of_run(folder: Path) -> Model:
    """The model whose run is in a folder."""
    return _model("balanced" if (Path(folder) / _TEACHER_FILE).exists() else "eprop")


def check_supported(command: str, model: Model, subject: str | Path) -> None:
    """Raise if a model cannot do what a command does.

    Parameters
    ----------
    command : str
        A command or ``"train --resume"``.
    model : Model
    subject : str or Path
        The task or folder that the user named.
    """
    if command in model.REFUSED:
        raise click.UsageError(f"{subject} {model.REFUSED[command]}")


def refuse_unused(model: Model, choices: RunChoices) -> None:
    """Raise for the first option that the user gave and that means nothing to a model."""
    used = {name for name in RunChoices.__dataclass_fields__ if name not in model.UNUSED}
    refuse(choices.chosen(without=used), model.WHY_UNUSED)


def _model(name: str) -> Model:
    # Imported when needed: listing tasks or deriving a neuron should not wait for it.
    return cast(Model, import_module(f"eprop_brian.cli.{name}"))
