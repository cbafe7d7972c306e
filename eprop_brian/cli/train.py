"""The command `train`."""

from __future__ import annotations

from pathlib import Path

import click

from eprop_brian.base.locks import claimed
from eprop_brian.cli.errors import plain_errors
from eprop_brian.cli.folders import hold, new_run
from eprop_brian.cli.models import (
    all_tasks,
    check_supported,
    model_of_run,
    model_of_task,
    refuse_unused,
)
from eprop_brian.cli.options import (
    FOLDER,
    RunChoices,
    TaskName,
    new_folder_option,
    refuse,
    run_options,
)
from eprop_brian.devices import ProcessProgram, Program

__all__ = ["train_command"]

#: What can change when a run is resumed: fields of `RunChoices`.
_RESUMABLE = ("iterations", "device", "workers", "scheduler")
_NOTHING_WRITTEN = "cannot be given with --no-run, which compiles a program and begins no run"


@click.command("train")
@click.argument("task", required=False, type=TaskName("train"), metavar="TASK")
@run_options()
@new_folder_option("Folder of the run (new; default: runs/TASK).")
@click.option(
    "--resume",
    type=FOLDER,
    help="Continue the run in this folder; only --iterations and where it runs can be given too.",
)
@click.option("--no-figures", is_flag=True, help="Write no figures at the end.")
@click.option(
    "--no-run",
    is_flag=True,
    help="Compile the program only, and say where it is: with --device cuda it takes no GPU.",
)
@plain_errors
def train_command(
    task: str | None,
    choices: RunChoices,
    out: Path | None,
    resume: Path | None,
    no_figures: bool,
    no_run: bool,
) -> None:
    """Train a network on TASK; the last line printed is the final loss (and error).

    For a balanced network (tasks balanced-...) the last line is the error of a test, NMSE.
    """
    written = ["--out"] * (out is not None) + ["--resume"] * (resume is not None)
    if no_run:
        where = [f"--{name}" for name, value in choices.place.items() if value is not None]
        refuse([*written, *where], _NOTHING_WRITTEN)
    if resume is not None:
        new = ["TASK"] * (task is not None) + choices.chosen(without=_RESUMABLE)
        new += ["--out"] * (out is not None)
        refuse(new, "cannot be changed when a run is resumed")
        model = model_of_run(resume)
        check_supported("train --resume", model, resume)
        hold(claimed(resume))
        model.resume(resume, choices, figures=not no_figures)
        return
    if task is None:
        raise click.UsageError(f"name a task: {', '.join(all_tasks())}")
    model = model_of_task(task)
    refuse_unused(model, choices)
    config = model.configure(task, choices)
    if no_run:
        _show_program(model.compiled_program(config))
        return
    model.train(config, hold(new_run(out, task)), choices, figures=not no_figures)


def _show_program(program: Program) -> None:
    """Say where a compiled program is."""
    if not isinstance(program, ProcessProgram):
        raise click.UsageError("device runtime compiles nothing: --no-run is for cpp and cuda")
    click.echo(f"{'compiled' if program.compiled else 'found'} {program.folder / 'main'}")
