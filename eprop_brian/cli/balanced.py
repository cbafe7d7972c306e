"""What the command does with balanced networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from eprop_brian.balanced.attractors import Attractors
from eprop_brian.balanced.experiment import Experiment, Outcome
from eprop_brian.balanced.simulation import Recording
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.cli.errors import conclude
from eprop_brian.cli.options import EvaluationChoices, RunChoices, refuse
from eprop_brian.cli.output import say, say_figures
from eprop_brian.devices import Program
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import Run

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

REFUSED: Mapping[str, str] = {
    "doctor": "is a balanced network, whose test and figures show how well it decodes",
    "gradcheck": "is a balanced network, which does not learn by e-prop",
    "export": (
        "is a balanced network, which cannot be exported: Python measures and changes it between "
        "calls"
    ),
    "record": "holds a balanced network, whose test is recorded in test.npz",
    "export-nir": "holds a balanced network, for which NIR has no nodes",
}
UNUSED = frozenset(
    {
        *("iterations", "batch_size", "neuron", "feedback", "gradient", "updates"),
        *("workers", "scheduler", "validate_every", "patience"),
    }
)
WHY_UNUSED = "does not apply to balanced networks, whose settings are changed with --set"

NOTHING_LEFT = "the training is complete: the network is tested again"
FOR_THE_REST = "eprop-brian train --resume {folder}"


def configure(task: str, choices: RunChoices) -> RunConfig:
    """See `eprop_brian.cli.models.Model`."""
    return RunConfig.from_recipe(
        choices.recipe or task,
        teacher=choices.teacher,
        run=choices.values("device", "dtype", "seed"),
        test=choices.values("kill", "noise"),
        settings=choices.settings,
    )


def compiled_program(config: RunConfig) -> Program:
    """See `eprop_brian.cli.models.Model`."""
    return config.make_trainer().simulation.program


def report(run: Run, formats: Sequence[str], *, trained: bool) -> None:
    """See `eprop_brian.cli.models.Model`; the network is tested, which its folder keeps."""
    experiment, folder = run.trainer, run.folder
    if len(experiment.history):
        last = {name: values[-1] for name, values in experiment.history.columns.items()}
        say(
            f"trained for {last['seconds']:g} s: decoding NMSE {last['nmse']:.3g}, "
            f"vector-field NMSE {last['field_nmse']:.3g}, mean rate {last['rate']:.1f} Hz"
        )
    try:
        outcome, recording = experiment.test()
        pair = experiment.attractors(recording)
    finally:
        experiment.close()
    with uninterrupted():
        experiment.save_test(folder, outcome, recording, pair)
    _show(experiment, outcome, recording, pair)
    say_figures(run, formats)
    say(f"wrote {folder}/checkpoint.npz, {folder}/test.npz, {folder}/results.toml")
    conclude(f"NMSE {outcome.nmse:.6g}")


def _show(
    experiment: Experiment,
    outcome: Outcome,
    recording: Recording,
    pair: tuple[Attractors, Attractors] | None,
) -> None:
    """Print what a test showed."""
    network = experiment.network
    killed = f", {outcome.killed} of {network.n} neurons killed" if outcome.killed else ""
    say(
        f"test of {recording.duration:g} s with k = 0{killed}: mean rate {outcome.rate:.1f} Hz, "
        f"CV of intervals {outcome.cv:.2f}"
    )
    if np.isfinite(outcome.path_field_nmse):
        trained = experiment.points is not None
        where = f"{outcome.field_nmse:.4g} where training has been, " * trained
        say(f"vector-field NMSE {where}{outcome.path_field_nmse:.4g} along the path of the test")
    matrix = experiment.effective_matrix()
    if matrix is not None:
        rows = "; ".join(", ".join(f"{value:.3g}" for value in row) for row in matrix)
        say(f"(D D^T)^-1 D Ws D^+ = [{rows}] 1/s")
    if pair is None:
        return
    for name, statistics in zip(("teacher", "network"), pair, strict=True):
        for line in statistics.lines():
            say(f"{name}: {line}")


def evaluate(folder: Path, choices: RunChoices, evaluation: EvaluationChoices) -> None:
    """Test a saved network on an input that it has not seen; the last line is ``NMSE VALUE``."""
    refuse(evaluation.chosen(), WHY_UNUSED)
    experiment = Run.open(folder, device=choices.device).trainer
    try:
        outcome, recording = experiment.test(**choices.values("kill", "noise"), seed=1)
        _show(experiment, outcome, recording, experiment.attractors(recording))
        conclude(f"NMSE {outcome.nmse:.6g}")
    finally:
        experiment.close()
