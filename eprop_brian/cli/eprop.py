"""What the command does with networks that learn by e-prop, or by backpropagation through time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from eprop_brian.cli.options import RunChoices
from eprop_brian.devices import Program
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import Run
from eprop_brian.tasks.dynamics import DYNAMICS
from eprop_brian.training.evaluation import VALIDATION_BATCH_SIZE, VALIDATION_BATCHES

__all__ = [
    "FOR_THE_REST",
    "NOTHING_LEFT",
    "REFUSED",
    "UNUSED",
    "WHY_UNUSED",
    "compiled_program",
    "configure",
    "evaluate",
    "report",
]

REFUSED: Mapping[str, str] = {}
UNUSED = frozenset({"teacher", "kill", "noise"})
WHY_UNUSED = f"applies to balanced networks only: {', '.join(DYNAMICS)}"

NOTHING_LEFT = "nothing to do: give a larger --iterations to go on"
FOR_THE_REST = "eprop-brian plot {folder}\n  eprop-brian evaluate {folder}"


def configure(task: str, choices: RunChoices) -> RunConfig:
    """See `eprop_brian.cli.models.Model`."""
    return RunConfig.from_recipe(
        choices.recipe or task,
        neuron=choices.neuron,
        feedback=choices.feedback,
        run=choices.values("iterations", "batch_size", "seed", "device", "dtype"),
        network=choices.values("gradient", "updates"),
        settings=choices.settings,
    )


def compiled_program(config: RunConfig) -> Program:
    """See `eprop_brian.cli.models.Model`."""
    if config.network["gradient"] == "bptt":
        raise click.UsageError("gradient bptt runs in JAX: there is no program to compile")
    return config.make_trainer(workers=1).session.program


def report(run: Run, figures: bool) -> None:
    """See `eprop_brian.cli.models.Model`."""
    trainer = run.trainer
    if trainer.solved and trainer.confirmation is not None:
        test = trainer.confirmation
        examples = "" if test.n_examples is None else f" of {test.n_examples} other examples"
        click.echo(
            f"solved at iteration {trainer.iteration}, confirmed by an error of {test.error:.4f} "
            f"on {test.n_trials} other trials{examples}"
        )
    if figures:
        for path in run.config.model.figures(run.folder, ("png",)):
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
