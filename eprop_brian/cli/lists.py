"""Commands that say what there is: tasks, recipes, settings, neurons."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from eprop_brian.cli.errors import conclude, plain_errors
from eprop_brian.cli.models import all_tasks, model_of_task, refuse_unused, task_of
from eprop_brian.cli.options import RunChoices, TaskName, optional_file_option, run_options
from eprop_brian.cli.output import say_result
from eprop_brian.recipes import recipe_names

__all__ = [
    "neurons_command",
    "recipe_command",
    "recipes_command",
    "settings_command",
    "tasks_command",
]

#: Columns of a text that goes to no terminal, and the most that are used of one.
_WIDTH, _WIDEST = 100, 120


def _say_table(rows: dict[str, str]) -> None:
    """Write names and what they are, one line each."""
    width = max(map(len, rows))
    for name, text in rows.items():
        say_result(f"{name:<{width}}  {text}")


@click.command("tasks")
@plain_errors
def tasks_command() -> None:
    """List the tasks, one line each."""
    _say_table(all_tasks())


@click.command("neurons")
@plain_errors
def neurons_command() -> None:
    """List the neurons of the library and where they were published.

    Every name can stand after --neuron, and eprop-brian derive NAME prints its learning rule.
    """
    from eprop_brian.equations.neurons import NEURONS, PUBLISHED

    _say_table({name: neuron.source for name, neuron in {**NEURONS, **PUBLISHED}.items()})


@click.command("recipes")
@plain_errors
def recipes_command() -> None:
    """List the recipes and where their settings come from, one line each.

    eprop-brian recipe NAME prints one of them, or copies it to a file.
    """
    from eprop_brian.runs.recipes import get_recipe

    _say_table({name: get_recipe(name).comment for name in recipe_names()})


@click.command("recipe")
@click.argument("task", type=TaskName(), metavar="TASK")
@optional_file_option("Copy it to this new file instead of printing it.")
@plain_errors
def recipe_command(task: str, out: Path | None) -> None:
    """Print the recipe of TASK: a file to copy, change and train with --recipe."""
    from eprop_brian.base.files import write_text
    from eprop_brian.base.printable import pasteable
    from eprop_brian.runs.recipes import get_recipe

    text = str(get_recipe(task))
    if out is None:
        say_result(text.rstrip("\n"))
        return
    if out.suffix != ".toml":
        raise click.UsageError(f"--out {out}: the file of a recipe ends in .toml")
    if out.exists():
        raise ValueError(f"{out} exists already: name another file, or remove it")
    write_text(out, text)
    conclude(f"wrote {out}; train with: eprop-brian train --recipe {pasteable(out)}")


@click.command("settings")
@click.argument("task", required=False, type=TaskName(), metavar="TASK")
@run_options(without=("workers", "scheduler"))
@plain_errors
def settings_command(task: str | None, choices: RunChoices) -> None:
    """List what TASK is trained with: every setting, its value and what it means.

    With the options of train, as they would change it. A setting is changed with --set
    TABLE.KEY=VALUE.
    """
    task = task_of(task, choices)
    from eprop_brian.runs.explained import explain

    model = model_of_task(choices.recipe or task)
    refuse_unused(model, choices)
    config = model.configure(task, choices)
    config.refuse_unused(choices.settings)
    columns = shutil.get_terminal_size((_WIDTH, 0)).columns
    say_result(explain(config, min(columns, _WIDEST)))
