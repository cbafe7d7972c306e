"""What the command does with networks that learn by e-prop, or by backpropagation through time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from eprop_brian.cli.errors import interruptible
from eprop_brian.cli.options import RunChoices
from eprop_brian.devices import COMPILED, Program
from eprop_brian.runs.learners import EpropLearner
from eprop_brian.tasks.dynamics import DYNAMICS
from eprop_brian.training.config import RunConfig
from eprop_brian.training.run import Run
from eprop_brian.training.trainer import VALIDATION_BATCH_SIZE, VALIDATION_BATCHES

__all__ = [
    "LEARNER",
    "REFUSED",
    "UNUSED",
    "WHY_UNUSED",
    "compiled_program",
    "configure",
    "configure_any_feedback",
    "draw",
    "evaluate",
    "resume",
    "train",
]

REFUSED: Mapping[str, str] = {}
LEARNER = EpropLearner()
UNUSED = frozenset({"teacher", "kill", "noise"})
WHY_UNUSED = f"applies to balanced networks only: {', '.join(DYNAMICS)}"


def configure(task: str, choices: RunChoices) -> RunConfig:
    """See `eprop_brian.cli.models.Model`; a feedback scale that changes nothing is refused."""
    config = configure_any_feedback(task, choices)
    config.refuse_unused_scale(choices.settings)
    return config


def configure_any_feedback(task: str, choices: RunChoices) -> RunConfig:
    """The configuration of a run whose kind of feedback may still change."""
    return RunConfig.from_recipe(
        task,
        neuron=choices.neuron,
        run=choices.values("iterations", "batch_size", "seed", "device", "dtype"),
        network=choices.values("feedback", "gradient", "updates"),
        settings=choices.settings,
    )


def compiled_program(config: RunConfig) -> Program:
    """See `eprop_brian.cli.models.Model`."""
    if config.network["gradient"] == "bptt":
        raise click.UsageError("gradient bptt runs in JAX: there is no program to compile")
    return config.make_trainer(workers=1).session.program


def train(config: RunConfig, folder: Path, choices: RunChoices, *, figures: bool) -> None:
    """See `eprop_brian.cli.models.Model`."""
    if config.run["device"] in COMPILED and config.network["gradient"] != "bptt":
        click.echo("building the program (a few seconds for a new network) ...")
    run = Run.start(config, folder, **choices.place)
    click.echo(f"training in {folder}")
    _train(run, None, figures)


def resume(folder: Path, choices: RunChoices, *, figures: bool) -> None:
    """See `eprop_brian.cli.models.Model`."""
    run = Run.open(folder, device=choices.device, **choices.place)
    click.echo(f"resuming {folder} at iteration {run.trainer.iteration}")
    if run.trainer.iteration >= (choices.iterations or run.config.run["iterations"]):
        click.echo("nothing to do: give a larger --iterations to go on")
    _train(run, choices.iterations, figures)


def _train(run: Run, iterations: int | None, figures: bool) -> None:
    """Train and report; when interrupted, say what is saved and how to go on."""

    def stopped() -> str:
        if not run.is_there:
            return f"interrupted; nothing is saved: {run.folder} was deleted or moved meanwhile"
        return (
            f"interrupted; checkpoint of iteration {run.saved_iteration} saved. Resume with:\n"
            f"  eprop-brian train --resume {run.folder}"
        )

    def stopped_after_training() -> str:
        return (
            f"interrupted after training; the checkpoint of iteration {run.saved_iteration} is "
            f"saved. For what is missing:\n  eprop-brian plot {run.folder}\n"
            f"  eprop-brian evaluate {run.folder}"
        )

    with interruptible(stopped):
        run.train(iterations)
    with interruptible(stopped_after_training):
        _report(run, figures)


def _report(run: Run, figures: bool) -> None:
    """Draw a run whose training has ended, and print its result."""
    trainer = run.trainer
    if trainer.solved and trainer.confirmation is not None:
        test = trainer.confirmation
        examples = "" if test.n_examples is None else f" of {test.n_examples} other examples"
        click.echo(
            f"solved at iteration {trainer.iteration}, confirmed by an error of {test.error:.4f} "
            f"on {test.n_trials} other trials{examples}"
        )
    if figures:
        for path in draw(run.folder):
            click.echo(f"wrote {path}")
    click.echo(f"wrote {run.folder}/history.csv, {run.folder}/checkpoint.npz")
    if trainer.task.loss == "squared_error":
        click.echo(f"loss {trainer.history.loss[-1]:.6g}")
    else:
        # Not the tests that ended training, which were chosen for being low.
        click.echo(str(trainer.evaluate()))


def evaluate(
    folder: Path, choices: RunChoices, batches: int | None, batch_size: int | None
) -> None:
    """See `eprop_brian.cli.models.Model`."""
    trainer = Run.open(folder, device=choices.device).trainer
    result = trainer.evaluate(batches or VALIDATION_BATCHES, batch_size or VALIDATION_BATCH_SIZE)
    if result.rate_hz == 0:
        click.echo("no neuron fires in any of these trials", err=True)
    click.echo(
        f"{result.n_trials} fresh trial{'s' * (result.n_trials > 1)} at iteration "
        f"{trainer.iteration}, mean rate {result.rate_hz:.1f} Hz"
    )
    click.echo(str(result))


def draw(folder: Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """See `eprop_brian.cli.models.Model`."""
    from eprop_brian.figures.run import plot_run

    return plot_run(folder, formats=formats)
