"""The command `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from eprop_brian.base.locks import claimed
from eprop_brian.cli.errors import interruptible, plain_errors, refuse
from eprop_brian.cli.folders import hold, new_run
from eprop_brian.cli.models import balanced_config, is_balanced, run_config
from eprop_brian.cli.options import (
    BALANCED_OPTIONS,
    FEEDBACK_OPTION,
    GRADIENT_OPTION,
    RUN_OPTIONS,
    SEED_OPTION,
    UPDATES_OPTION,
    options,
)
from eprop_brian.devices import COMPILED, ProcessProgram, Program
from eprop_brian.tasks import TASKS
from eprop_brian.tasks.dynamics import BALANCED, DYNAMICS

__all__ = ["train_command"]

#: Why options of a run mean nothing with --no-run.
_NOTHING_WRITTEN = "cannot be given with --no-run, which compiles a program and begins no run"


@click.command("train")
@click.argument("task", required=False)
@options(*RUN_OPTIONS[:3], FEEDBACK_OPTION, GRADIENT_OPTION, UPDATES_OPTION)
@options(*RUN_OPTIONS[3:5], SEED_OPTION, RUN_OPTIONS[5])
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the run (new)."
)
@click.option(
    "--resume",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Continue the run in this folder; only --iterations and where it runs can be given too.",
)
@options(*RUN_OPTIONS[6:])
@click.option("--no-figures", is_flag=True, help="Write no figures at the end.")
@click.option(
    "--no-run",
    is_flag=True,
    help="Compile the program only, and say where it is: with --device cuda it takes no GPU.",
)
@options(*BALANCED_OPTIONS)
@plain_errors
def train_command(
    task: str | None,
    iterations: int | None,
    batch_size: int | None,
    neuron: str | None,
    feedback: str | None,
    gradient: str | None,
    updates: str | None,
    device: str | None,
    dtype: str | None,
    seed: int | None,
    settings: tuple[str, ...],
    out: Path | None,
    resume: Path | None,
    workers: int | None,
    scheduler: str | None,
    no_figures: bool,
    no_run: bool,
    teacher: str | None,
    kill: float | None,
    noise: float | None,
) -> None:
    """Train a network on TASK; the last line printed is the final loss (and error).

    Of a balanced network (tasks balanced-...) it is the error of a test, NMSE.
    """
    balanced = {"--teacher": teacher, "--kill": kill, "--noise": noise}
    if task is not None and task.startswith(BALANCED):
        refuse(
            {
                "--iterations": iterations,
                "--batch-size": batch_size,
                "--neuron": neuron,
                "--feedback": feedback,
                "--gradient": gradient,
                "--updates": updates,
                "--resume": resume,
                "--workers": workers,
                "--scheduler": scheduler,
            },
            "is no option of a balanced network; its settings are changed with --set",
        )
        config = balanced_config(task, settings, teacher, kill, noise, device, dtype, seed)
        if no_run:
            from eprop_brian.balanced.experiment import Experiment

            refuse({"--out": out}, _NOTHING_WRITTEN)
            _show_program(Experiment(config).simulation.program)
            return
        _train_balanced(config, hold(new_run(out, task)), not no_figures)
        return
    refuse(balanced, f"is an option of balanced networks only: {', '.join(DYNAMICS)}")
    # Imported here: listing tasks or deriving a neuron should not wait for it.
    from eprop_brian.runs.run import Run

    if workers is not None and scheduler is not None:
        raise click.UsageError("a scheduler has workers of its own: give --workers or --scheduler")
    if no_run:
        given = {"--out": out, "--resume": resume, "--workers": workers, "--scheduler": scheduler}
        refuse(given, _NOTHING_WRITTEN)
    if resume is not None:
        if is_balanced(resume):
            raise click.UsageError(
                f"{resume} holds a balanced network, whose training is not resumed: train it anew"
            )
        fixed = {
            "TASK": task,
            "--batch-size": batch_size,
            "--neuron": neuron,
            "--feedback": feedback,
            "--gradient": gradient,
            "--updates": updates,
            "--dtype": dtype,
            "--seed": seed,
            "--set": settings or None,
            "--out": out,
        }
        given = [name for name, value in fixed.items() if value is not None]
        if given:
            raise click.UsageError(f"{given[0]} cannot be changed when a run is resumed")
        hold(claimed(resume))
        run = Run.open(resume, device=device, workers=workers, scheduler=scheduler)
        click.echo(f"resuming {resume} at iteration {run.trainer.iteration}")
        if run.trainer.iteration >= (iterations or run.config.run["iterations"]):
            click.echo("nothing to do: give a larger --iterations to go on")
    else:
        if task is None:
            raise click.UsageError(f"name a task: {', '.join((*TASKS, *DYNAMICS))}")
        config = run_config(
            task,
            neuron,
            settings,
            feedback,
            gradient,
            updates,
            iterations=iterations,
            batch_size=batch_size,
            seed=seed,
            device=device,
            dtype=dtype,
        )
        config.refuse_unused_scale(settings)
        if no_run:
            if config.network["gradient"] == "bptt":
                raise click.UsageError("gradient bptt runs in JAX: there is no program to compile")
            _show_program(config.make_trainer(workers=1).session.program)
            return
        folder = hold(new_run(out, task))
        if config.run["device"] in COMPILED and config.network["gradient"] != "bptt":
            click.echo("building the program (a few seconds for a new network) ...")
        run = Run.start(config, folder, workers=workers, scheduler=scheduler)
        click.echo(f"training in {folder}")
    _train(run, iterations)
    interruptible(lambda: _report(run, figures=not no_figures), lambda: _trained(run))


def _report(run: Any, figures: bool) -> None:
    """Draw a run whose training has ended, and print what came of it."""
    trainer = run.trainer
    if trainer.solved:
        found = trainer.confirmation
        examples = "" if found.n_examples is None else f" of {found.n_examples} other examples"
        click.echo(
            f"solved at iteration {trainer.iteration}, confirmed by an error of {found.error:.4f} "
            f"on {found.n_trials} other trials{examples}"
        )
    if figures:
        from eprop_brian.figures.run import plot_run

        for path in plot_run(run.folder):
            click.echo(f"wrote {path}")
    click.echo(f"wrote {run.folder}/history.csv, {run.folder}/checkpoint.npz")
    if trainer.task.loss == "squared_error":
        click.echo(f"loss {trainer.history.loss[-1]:.6g}")
    else:
        # Not the tests that ended training, which were chosen for being low.
        click.echo(str(trainer.evaluate()))


def _trained(run: Any) -> str:
    """What is said when a command is interrupted after training."""
    return (
        f"interrupted after training; the checkpoint of iteration {run.saved_iteration} is saved. "
        f"For what is missing:\n  eprop-brian plot {run.folder}\n"
        f"  eprop-brian evaluate {run.folder}"
    )


def _show_program(program: Program) -> None:
    """Say where a compiled program is."""
    if not isinstance(program, ProcessProgram):
        raise click.UsageError("device runtime compiles nothing: --no-run is for cpp and cuda")
    click.echo(f"{'compiled' if program.compiled else 'found'} {program.folder / 'main'}")


def _train_balanced(config: Any, folder: Path, figures: bool) -> None:
    from eprop_brian.cli import balanced as command

    interruptible(
        lambda: command.train(config, folder, click.echo, figures=figures),
        lambda: (
            f"interrupted; {folder} is complete but for figures"
            if (folder / "config.toml").exists()
            else "interrupted; nothing was written"
        ),
    )


def _train(run: Any, iterations: int | None) -> None:
    """Train; when interrupted say where the checkpoint is and how to go on."""
    interruptible(
        lambda: run.train(iterations),
        lambda: (
            f"interrupted; checkpoint of iteration {run.saved_iteration} saved. "
            f"Resume with:\n  eprop-brian train --resume {run.folder}"
            if run.is_there
            else f"interrupted; nothing is saved: {run.folder} was deleted or moved meanwhile"
        ),
    )
