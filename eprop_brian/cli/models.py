"""What the command does with each model: the one place where it tells them apart.

A model of `eprop_brian.runs.models.MODELS` has a module of this package with its name, which has
what `Model` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import click

from eprop_brian.base import plugins
from eprop_brian.cli.options import EvaluationChoices, RunChoices, refuse
from eprop_brian.recipes import recipe_names

if TYPE_CHECKING:
    from eprop_brian.devices import Program
    from eprop_brian.runs.config import RunConfig
    from eprop_brian.runs.run import Run

__all__ = [
    "Model",
    "all_tasks",
    "check_supported",
    "model_of_run",
    "model_of_task",
    "refuse_unused",
    "task_of",
]


class Model(Protocol):
    """What the command does with the runs of a model.

    Attributes
    ----------
    REFUSED : mapping of str to str
        Commands that the model cannot do, with the end of a message that begins with a task or a
        folder.
    UNUSED : frozenset of str
        Fields of `RunChoices` that mean nothing to the model.
    WHY_UNUSED : str
        The end of a message that begins with the option.
    NOTHING_LEFT : str
        Said when a run is resumed whose training is complete.
    FOR_THE_REST : str
        Commands that do what is missing after training in a folder, ``{folder}``.
    """

    REFUSED: Mapping[str, str]
    UNUSED: frozenset[str]
    WHY_UNUSED: str
    NOTHING_LEFT: str
    FOR_THE_REST: str

    def configure(self, task: str, choices: RunChoices) -> RunConfig:
        """Make the configuration of a new run."""

    def compiled_program(self, config: RunConfig) -> Program:
        """Compile the program of a run."""

    def report(self, run: Run, formats: Sequence[str], *, trained: bool) -> None:
        """Print the result of a run whose training has ended.

        What this command has `trained`, and what a test shows, is drawn in these formats, and the
        files are named; where nothing was left to do, nothing is written.
        """

    def evaluate(self, folder: Path, choices: RunChoices, evaluation: EvaluationChoices) -> None:
        """Test the network in a folder, and report."""


def all_tasks() -> dict[str, str]:
    """Names and descriptions of the tasks of all models, and of other networks that learn them."""
    # Imported when needed: the help should not wait for it.
    from eprop_brian.runs.models import MODELS
    from eprop_brian.runs.recipes import OTHER_NETWORKS

    tasks = {name: text for model in MODELS.values() for name, text in model.tasks.items()}
    offered = {
        name: f"of the package {point.dist.name}" if point.dist else "of an installed package"
        for name, point in plugins.plugins(plugins.TASKS).items()
    }
    known = {**tasks, **OTHER_NETWORKS}
    return {**known, **{name: text for name, text in offered.items() if name not in known}}


def task_of(task: str | None, choices: RunChoices) -> str:
    """Name the task of a command: the one given, or that of the recipe in a file.

    Raises
    ------
    click.UsageError
        If there is neither, or they differ.
    """
    if choices.recipe is None:
        if task is None:
            raise click.UsageError(f"name a task: {', '.join(recipe_names())}")
        return task
    from eprop_brian.runs.recipes import get_recipe

    of_recipe = get_recipe(choices.recipe).task
    if task not in (None, of_recipe):
        kind = "run" if choices.recipe.is_dir() else "recipe"
        raise click.UsageError(f"the {kind} in {choices.recipe} is for {of_recipe}, not for {task}")
    return of_recipe


def model_of_task(task: str | Path) -> Model:
    """The model that a recipe is for: that of a task or with another name, or in a file."""
    from eprop_brian.runs.config import model_of
    from eprop_brian.runs.recipes import get_recipe

    recipe = get_recipe(task)
    return _model(model_of(recipe.tables["run"], recipe.path))


def model_of_run(folder: Path) -> Model:
    """The model whose run is in a folder."""
    from eprop_brian.runs.config import model_of_folder

    return _model(model_of_folder(folder))


def check_supported(command: str, model: Model, subject: str | Path) -> None:
    """Raise if a model cannot do what a command does.

    Parameters
    ----------
    command : str
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
    return cast(Model, import_module(f"eprop_brian.cli.{name}"))
