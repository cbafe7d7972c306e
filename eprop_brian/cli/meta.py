"""What the command does with networks that learn to learn by one update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from eprop_brian.cli.errors import conclude
from eprop_brian.cli.options import EvaluationChoices, RunChoices, refuse
from eprop_brian.cli.output import say, say_figures
from eprop_brian.devices import Program
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.meta import RESULTS, TEST, adaptation_of, save_adaptation
from eprop_brian.runs.run import CHECKPOINT, INITIAL, Run, read_weights
from eprop_brian.training.adaptation import AdaptationTest

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

_ONE_UPDATE = "is for networks that learn to learn, whose gradient is a second derivative"
REFUSED: Mapping[str, str] = {
    "doctor": "holds a network that learns to learn, which the command cannot examine",
    "compare": "is for networks that learn to learn, which have one way of learning",
    "gradcheck": _ONE_UPDATE,
    "export": "holds a network that learns to learn: its training runs in JAX",
    "record": "holds a network that learns to learn, whose test is recorded in test.npz",
    "export-nir": "holds a network that learns to learn, for which NIR has no learning signal",
}
UNUSED = frozenset(
    {"teacher", "kill", "noise", "neuron", "feedback", "updates", "workers", "scheduler"}
    | {"validate_every", "patience"}
)
WHY_UNUSED = "does not apply to networks that learn to learn, whose settings are changed with --set"

NOTHING_LEFT = "the training is complete: the network is tested again"
FOR_THE_REST = "eprop-brian train --resume {folder}"


def configure(task: str, choices: RunChoices) -> RunConfig:
    """See `eprop_brian.cli.models.Model`."""
    return RunConfig.from_recipe(
        choices.recipe or task,
        run=choices.values("iterations", "batch_size", "seed", "device", "dtype"),
        network=choices.values("gradient"),
        settings=choices.settings,
    )


def compiled_program(config: RunConfig) -> Program:
    """See `eprop_brian.cli.models.Model`."""
    raise click.UsageError("learning to learn runs in JAX: there is no program to compile")


def report(run: Run, formats: Sequence[str], *, trained: bool) -> None:
    """See `eprop_brian.cli.models.Model`; the network is tested, which its folder keeps."""
    test = _tested(run.folder, run.config)
    save_adaptation(run.folder, test)
    say_figures(run, formats)
    say(f"wrote {run.folder}/{CHECKPOINT}, {run.folder}/{TEST}, {run.folder}/{RESULTS}")
    _show(test, run.config)


def evaluate(folder: Path, choices: RunChoices, evaluation: EvaluationChoices) -> None:
    """Test a trained network on other tasks; the last line is the error after one update."""
    refuse(evaluation.chosen(without=("batches", "batch_size")), WHY_UNUSED)
    batches, batch_size = evaluation.batches, evaluation.batch_size
    config = RunConfig.read(folder)
    n_tasks = None
    if batches is not None or batch_size is not None:
        n_tasks = (batches or 1) * (batch_size or config.meta["n_test"])
    _show(_tested(folder, config, device=choices.device, n_tasks=n_tasks, seed=2), config)


def _tested(
    folder: Path,
    config: RunConfig,
    device: str | None = None,
    n_tasks: int | None = None,
    seed: int = 1,
) -> AdaptationTest:
    network = config.make_network()
    (weights, _), (drawn, _) = (
        read_weights(Path(folder) / name, network) for name in (CHECKPOINT, INITIAL)
    )
    return adaptation_of(config, weights, drawn, device=device, n_tasks=n_tasks, seed=seed)


def _show(test: AdaptationTest, config: RunConfig) -> None:
    """Print what a test showed."""
    say(f"{len(test.before)} unseen tasks, {config.make_task().measure}:")
    lines = {
        "before the update": test.before,
        "after one update": test.after,
        "learning signals dealt out to other neurons": test.shuffled,
        "learning signals for another task": test.other,
        f"ordinary e-prop at its best rate, {test.rate_adapted:.3g}": test.errors_adapted,
        f"the same from the weights drawn, {test.rate_drawn:.3g}": test.errors_drawn,
    }
    width = max(map(len, lines))
    for name, errors in lines.items():
        say(f"  {name:<{width}}  {errors.mean():.4f}")
    conclude(f"error {test.after.mean():.6g}, {100 * test.ratio:.1f} % of that before the update")
