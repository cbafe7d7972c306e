"""The command `train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eprop_brian.base.locks import claimed
from eprop_brian.base.printable import pasteable
from eprop_brian.base.progress import announced
from eprop_brian.cli.errors import interruptible, plain_errors
from eprop_brian.cli.folders import hold, new_run
from eprop_brian.cli.models import Model, model_of_run, model_of_task, refuse_unused, task_of
from eprop_brian.cli.options import (
    FOLDER,
    RunChoices,
    TaskName,
    format_option,
    new_folder_option,
    refuse,
    run_options,
)
from eprop_brian.cli.output import say

if TYPE_CHECKING:
    from eprop_brian.devices import Program
    from eprop_brian.runs.run import Run

__all__ = ["train_command"]

#: What can change when a run is resumed: fields of `RunChoices`.
_RESUMABLE = ("iterations", "device", "workers", "scheduler")
_NOTHING_WRITTEN = "cannot be given with --no-run, which compiles a program and begins no run"


@click.command("train")
@click.argument("task", required=False, type=TaskName(), metavar="TASK")
@run_options()
@new_folder_option("Folder of the run (new; default: runs/TASK).")
@click.option(
    "--resume",
    type=FOLDER,
    help="Continue the run in this folder; only --iterations and where it runs can be given too.",
)
@format_option
@click.option(
    "--log",
    "logs",
    multiple=True,
    type=click.Choice(["tensorboard", "wandb"]),
    help="Write the course of the training for TensorBoard, or for Weights & Biases, into a folder "
    "of that name in the run's. May be given several times.",
)
@click.option(
    "--checkpoint-every",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Seconds between checkpoints, at least (default: 5).",
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
    formats: tuple[str, ...],
    logs: tuple[str, ...],
    checkpoint_every: float | None,
    no_figures: bool,
    no_run: bool,
) -> None:
    """Train a network on TASK; the last line printed is the final loss (and error).

    For a balanced network (tasks balanced-...) the last line is the error of a test, NMSE.
    """
    drawn = () if no_figures else formats
    written = ["--out"] * (out is not None) + ["--resume"] * (resume is not None)
    if no_run:
        where = [f"--{name}" for name, value in choices.place.items() if value is not None]
        where += ["--log"] * bool(logs) + ["--checkpoint-every"] * (checkpoint_every is not None)
        refuse([*written, *where], _NOTHING_WRITTEN)
    if resume is None:
        task = task_of(task, choices)
    # Imported here: the help and a mistyped task should not wait for it.
    from eprop_brian.runs.run import Run

    if resume is not None:
        new = ["TASK"] * (task is not None) + choices.chosen(without=_RESUMABLE)
        new += ["--out"] * (out is not None)
        refuse(new, "cannot be changed when a run is resumed")
        model = model_of_run(resume)
        refuse_unused(model, choices)
        # A folder that can only be read will do while there is nothing to save.
        can_be_written = os.access(resume, os.W_OK)
        if can_be_written:
            hold(claimed(resume))
        with announced(say):
            run = Run.open(resume, device=choices.device, **choices.place)
        say(f"resuming {resume} at {run.config.model.unit} {run.trainer.iteration}")
        length = choices.iterations or run.config.model.length(run.config)
        if run.trainer.iteration >= length:
            say(model.NOTHING_LEFT)
        elif not can_be_written:
            hold(claimed(resume))
        _train(run, model, choices.iterations, drawn, logs, checkpoint_every)
        return
    assert task is not None  # as above
    model = model_of_task(choices.recipe or task)
    refuse_unused(model, choices)
    config = model.configure(task, choices)
    config.refuse_unused(choices.settings)
    if no_run:
        _show_program(model.compiled_program(config))
        return
    folder = hold(new_run(out, task))
    with announced(say):
        run = Run.start(config, folder, **choices.place)
    say(f"training in {folder}")
    _train(run, model, None, drawn, logs, checkpoint_every)


def _train(
    run: Run,
    model: Model,
    iterations: int | None,
    formats: tuple[str, ...],
    logs: tuple[str, ...],
    checkpoint_every: float | None,
) -> None:
    """Train and report; when interrupted, say what is saved and how to go on."""
    callbacks = []
    if logs:
        from eprop_brian.training.loggers import make_logger

        callbacks = [make_logger(name, run.folder) for name in logs]
    unit = run.config.model.unit

    def stopped() -> str:
        if not run.is_there:
            return f"interrupted; nothing is saved: {run.folder} was deleted or moved meanwhile"
        return (
            f"interrupted; checkpoint of {unit} {run.saved_iteration} saved. Resume with:\n"
            f"  eprop-brian train --resume {pasteable(run.folder)}"
        )

    def stopped_after_training() -> str:
        rest = model.FOR_THE_REST.format(folder=pasteable(run.folder))
        return (
            f"interrupted after training; the checkpoint of {unit} {run.saved_iteration} is "
            f"saved. For what is missing:\n  {rest}"
        )

    options: dict[str, Any] = {}
    if checkpoint_every is not None:
        options["checkpoint_every"] = checkpoint_every
    before = run.trainer.iteration
    with interruptible(stopped):
        run.train(iterations, callbacks=callbacks, **options)
    with interruptible(stopped_after_training):
        model.report(run, formats, trained=run.trainer.iteration > before)


def _show_program(program: Program) -> None:
    """Say where a compiled program is."""
    from eprop_brian.devices import ProcessProgram

    if not isinstance(program, ProcessProgram):
        raise click.UsageError("device runtime compiles nothing: --no-run is for cpp and cuda")
    say(f"{'compiled' if program.compiled else 'found'} {program.folder / 'main'}")
