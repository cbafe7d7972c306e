"""What the command does with balanced networks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from eprop_brian.balanced.attractors import Attractors
from eprop_brian.balanced.config import BalancedConfig
from eprop_brian.balanced.experiment import Experiment, Outcome
from eprop_brian.balanced.simulation import Recording
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.locks import claimed
from eprop_brian.cli.errors import interruptible
from eprop_brian.cli.options import RunChoices, refuse
from eprop_brian.devices import COMPILED, Program
from eprop_brian.figures.balanced import plot_experiment
from eprop_brian.runs.learners import BalancedLearner

__all__ = [
    "LEARNER",
    "REFUSED",
    "UNUSED",
    "WHY_UNUSED",
    "compiled_program",
    "configure",
    "draw",
    "evaluate",
    "resume",
    "train",
]

_NOT_BY_EPROP = "is a balanced network, which does not learn by e-prop"
_NOT_RESUMED = "holds a balanced network, whose training cannot be resumed: train it anew"
REFUSED: Mapping[str, str] = {
    "compare": _NOT_BY_EPROP,
    "gradcheck": _NOT_BY_EPROP,
    "export": (
        "is a balanced network, which cannot be exported: Python measures and changes it between "
        "calls"
    ),
    "export-nir": "holds a balanced network, for which NIR has no nodes",
    "train --resume": _NOT_RESUMED,
}
#: ``test.noise`` as a multiple of the neurons' median threshold.
_OF_THRESHOLD = re.compile(r"\s*test\.noise\s*=\s*['\"]?\s*(\d*\.?\d+)\s*threshold\s*['\"]?\s*$")
LEARNER = BalancedLearner()
UNUSED = frozenset(
    {
        *("iterations", "batch_size", "neuron", "feedback", "gradient", "updates"),
        *("workers", "scheduler"),
    }
)
WHY_UNUSED = "does not apply to balanced networks, whose settings are changed with --set"


def configure(task: str, choices: RunChoices) -> BalancedConfig:
    """See `eprop_brian.cli.models.Model`; ``test.noise`` can be ``"0.5 threshold"``."""
    relative = [match for text in choices.settings if (match := _OF_THRESHOLD.match(text))]
    config = BalancedConfig.from_recipe(
        task,
        teacher=choices.teacher,
        run=choices.values("device", "dtype", "seed"),
        test=choices.values("kill", "noise"),
        settings=[text for text in choices.settings if not _OF_THRESHOLD.match(text)],
    )
    if not relative:
        return config
    # The threshold follows from all other settings.
    threshold = float(np.median(config.make_network().threshold))
    return config.with_values("test", {"noise": float(relative[-1][1]) * threshold})


def compiled_program(config: BalancedConfig) -> Program:
    """See `eprop_brian.cli.models.Model`."""
    return Experiment(config).simulation.program


def train(config: BalancedConfig, folder: Path, choices: RunChoices, *, figures: bool) -> None:
    """See `eprop_brian.cli.models.Model`; the folder is written at the end, all at once."""

    def stopped() -> str:
        if (folder / "config.toml").exists():
            return f"interrupted; {folder} is complete but for figures"
        return "interrupted; nothing was written"

    with interruptible(stopped), claimed(folder):
        if (folder / "config.toml").exists():
            raise ValueError(f"{folder} already holds a run; choose another folder")
        config.make_network()
        if config.run["device"] in COMPILED:
            click.echo("building the program (a few seconds for a new network) ...")
        experiment = Experiment(config)
        try:
            _train(experiment, folder, figures)
        finally:
            experiment.close()


def _train(experiment: Experiment, folder: Path, figures: bool) -> None:
    if experiment.network.learns and experiment.config.training["duration"]:
        with tqdm(unit="part", leave=False) as bar:

            def show(_: int, parts: int) -> None:
                bar.total = parts
                bar.update()

            experiment.train(show)
        last = {name: values[-1] for name, values in experiment.history.columns.items()}
        click.echo(
            f"trained for {last['seconds']:g} s: decoding NMSE {last['nmse']:.3g}, "
            f"vector-field NMSE {last['field_nmse']:.3g}, mean rate {last['rate']:.1f} Hz"
        )
    outcome, recording = experiment.test()
    pair = experiment.attractors(recording)
    with uninterrupted():
        experiment.save(folder, outcome, recording, pair)
    _report(experiment, outcome, recording, pair)
    if figures:
        for path in draw(folder):
            click.echo(f"wrote {path}")
    click.echo(f"wrote {folder}/weights.npz, {folder}/test.npz, {folder}/results.toml")
    click.echo(f"NMSE {outcome.nmse:.6g}")


def resume(folder: Path, choices: RunChoices, *, figures: bool) -> None:
    """See `eprop_brian.cli.models.Model`."""
    raise ValueError(f"{folder} {_NOT_RESUMED}")


def _report(
    experiment: Experiment,
    outcome: Outcome,
    recording: Recording,
    pair: tuple[Attractors, Attractors] | None,
) -> None:
    """Print what a test showed."""
    network = experiment.network
    killed = f", {outcome.killed} of {network.n} neurons killed" if outcome.killed else ""
    click.echo(
        f"test of {recording.duration:g} s with k = 0{killed}: mean rate {outcome.rate:.1f} Hz, "
        f"CV of intervals {outcome.cv:.2f}"
    )
    if np.isfinite(outcome.path_field_nmse):
        trained = experiment.points is not None
        where = f"{outcome.field_nmse:.4g} where training has been, " * trained
        click.echo(
            f"vector-field NMSE {where}{outcome.path_field_nmse:.4g} along the path of the test"
        )
    matrix = experiment.effective_matrix()
    if matrix is not None:
        rows = "; ".join(", ".join(f"{value:.3g}" for value in row) for row in matrix)
        click.echo(f"(D D^T)^-1 D Ws D^+ = [{rows}] 1/s")
    if pair is None:
        return
    for name, statistics in zip(("teacher", "network"), pair, strict=True):
        for line in statistics.lines():
            click.echo(f"{name}: {line}")


def evaluate(
    folder: Path, choices: RunChoices, batches: int | None, batch_size: int | None
) -> None:
    """Test a saved network on an input that it has not seen; the last line is ``NMSE VALUE``."""
    sizes = {"--batches": batches, "--batch-size": batch_size}
    refuse([name for name, size in sizes.items() if size is not None], WHY_UNUSED)
    experiment = Experiment.open(folder, choices.device)
    try:
        outcome, recording = experiment.test(**choices.values("kill", "noise"), seed=1)
        _report(experiment, outcome, recording, experiment.attractors(recording))
        click.echo(f"NMSE {outcome.nmse:.6g}")
    finally:
        experiment.close()


def draw(folder: Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """See `eprop_brian.cli.models.Model`."""
    return plot_experiment(folder, formats=formats)
