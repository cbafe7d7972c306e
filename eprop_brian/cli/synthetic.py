"""What the command does with networks that learn by e-prop 3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from eprop_brian.cli.errors import conclude
from eprop_brian.cli.options import EvaluationChoices, RunChoices, refuse
from eprop_brian.cli.output import say, say_figures
from eprop_brian.devices import Program
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import Run
from eprop_brian.tasks.copy_repeat import Level

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

_IN_JAX = "learns by e-prop 3, which runs in JAX: there is no program to export"
REFUSED: Mapping[str, str] = {
    "doctor": "learns by e-prop 3, which the command cannot examine",
    "gradcheck": (
        "learns by e-prop 3: compare --methods e-prop,off,oracle,bptt trains with each gradient"
    ),
    "export": _IN_JAX,
    "record": "learns by e-prop 3: its figures show a trial before and after training",
    "export-nir": _IN_JAX,
}
UNUSED = frozenset(
    {"feedback", "gradient", "updates", "device", "workers", "scheduler"}
    | {"teacher", "kill", "noise", "validate_every", "patience"}
)
WHY_UNUSED = "does not apply to e-prop 3, whose settings are changed with --set"

NOTHING_LEFT = "nothing to do: give a larger --iterations to go on"
FOR_THE_REST = "eprop-brian plot {folder}\n  eprop-brian evaluate {folder}"


def configure(task: str, choices: RunChoices) -> RunConfig:
    """See `eprop_brian.cli.models.Model`."""
    return RunConfig.from_recipe(
        choices.recipe or task,
        neuron=choices.neuron,
        run=choices.values("iterations", "batch_size", "seed", "dtype"),
        settings=choices.settings,
    )


def compiled_program(config: RunConfig) -> Program:
    """See `eprop_brian.cli.models.Model`."""
    raise click.UsageError("e-prop 3 runs in JAX: there is no program to compile")


def report(run: Run, formats: Sequence[str], *, trained: bool) -> None:
    """See `eprop_brian.cli.models.Model`."""
    trainer = run.trainer
    if trained:
        say_figures(run, formats)
        say(f"wrote {run.folder}/history.csv, {run.folder}/checkpoint.npz")
    say(f"next level: {_described(trainer.level)}; loss {trainer.history.loss[-1]:.4g} bits")
    conclude(f"solved length {trainer.solved_length}")


def evaluate(folder: Path, choices: RunChoices, evaluation: EvaluationChoices) -> None:
    """Test the last level that was solved on fresh trials, with the weights that solved it."""
    refuse(evaluation.chosen(without=("batches",)), WHY_UNUSED)
    trainer = Run.open(folder).trainer
    trainer.go_back_to_solved()
    level = trainer.solved_level
    loss = trainer.evaluate(level, 8 if evaluation.batches is None else evaluation.batches)
    say(_described(level))
    conclude(f"loss {loss:.6g} bits")


def _described(level: Level) -> str:
    """A level in words."""
    vectors = "1 vector" if level.length == 1 else f"{level.length} vectors"
    times = "once" if level.repeats == 1 else f"{level.repeats} times"
    return f"a pattern of {vectors}, given {times}, in {level.n_steps} steps"
