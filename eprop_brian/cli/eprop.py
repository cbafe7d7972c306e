"""What the command does with networks that learn by e-prop, or by backpropagation through time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np

from eprop_brian.cli.errors import conclude
from eprop_brian.cli.options import EvaluationChoices, RunChoices
from eprop_brian.cli.output import say, say_figures
from eprop_brian.devices import Program
from eprop_brian.equations.losses import LOSSES
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import BEST, Run
from eprop_brian.tasks import EpisodicTask, Task
from eprop_brian.tasks.dynamics import DYNAMICS
from eprop_brian.training.evaluation import Evaluation

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
        run=choices.values(
            *("iterations", "batch_size", "seed", "device", "dtype", "validate_every", "patience")
        ),
        network=choices.values("gradient", "updates"),
        settings=choices.settings,
    )


def compiled_program(config: RunConfig) -> Program:
    """See `eprop_brian.cli.models.Model`."""
    if config.network["gradient"] == "bptt":
        raise click.UsageError("gradient bptt runs in JAX: there is no program to compile")
    return config.make_trainer(workers=1).session.program


def report(run: Run, formats: Sequence[str], *, trained: bool) -> None:
    """See `eprop_brian.cli.models.Model`."""
    trainer = run.trainer
    if not trained and (trainer.solved or trainer.stopped):
        say("nothing to do: this training has ended")
    test = trainer.confirmation
    if trainer.solved and test is not None and test.returns is not None:
        say(
            f"solved at iteration {trainer.iteration}, confirmed by a return of "
            f"{test.returns.mean:.6g} in {test.n_trials} fresh episodes"
        )
    elif trainer.solved and test is not None:
        examples = "" if test.n_examples is None else f" of {test.n_examples} other examples"
        say(
            f"solved at iteration {trainer.iteration}, confirmed by an error of {test.error:.4f} "
            f"on {test.n_trials} other trials{examples}"
        )
    if trainer.stopped:
        say(f"stopped at iteration {trainer.iteration}: {trainer.stopped}")
    if trained:
        say_figures(run, formats)
        best = f", {run.folder}/{BEST}" if run.has_best else ""
        say(f"wrote {run.folder}/history.csv, {run.folder}/checkpoint.npz{best}")
    if run.has_best:
        say(f"the weights of iteration {run.go_to_best()}, which validated best, on fresh trials:")
        _conclude_evaluation(trainer.evaluate(), trainer.task)
        return
    if isinstance(trainer.task, EpisodicTask):
        solved_return = trainer.task.solved_return
        if not trainer.solved and solved_return is not None:
            say(f"not solved: a mean return of {solved_return:g} counts as solved")
        mean, n_episodes = trainer.history.recent_return(trainer.batch_size)
        conclude(f"return {mean:.6g} (mean of the last {n_episodes} episodes)")
    elif not LOSSES[trainer.task.loss].softmax:
        conclude(f"loss {trainer.history.loss[-1]:.6g}")
    else:
        # Not the tests that ended training, which were chosen for being low.
        _conclude_evaluation(trainer.evaluate(), trainer.task)


def _conclude_evaluation(result: Evaluation, task: Task) -> None:
    """Print an evaluation, with how far it may be from the truth, and what the criterion is."""
    threshold = task.error_threshold
    criterion = "" if threshold is None else f"; below {threshold:g} counts as solved"
    if result.of_labels:
        # Labels of one trial depend on each other: their error rate has no such interval.
        say(f"a label error rate of {result.error:.4f} on {result.n_trials} trials{criterion}")
    elif not np.isnan(result.error):
        least, most = result.error_interval
        say(
            f"an error of {result.error:.4f} on {result.n_trials} trials: with other trials, "
            f"{least:.4f} to {most:.4f} (95 %){criterion}"
        )
    conclude(str(result))


def evaluate(folder: Path, choices: RunChoices, evaluation: EvaluationChoices) -> None:
    """See `eprop_brian.cli.models.Model`."""
    run = Run.open(folder, device=choices.device)
    trainer = run.trainer
    acts = isinstance(trainer.task, EpisodicTask)
    if evaluation.sampled and not acts:
        raise click.UsageError(
            f"--sampled is for networks that act in an environment, and task '{trainer.task.name}' "
            "has none"
        )
    if evaluation.beam is not None and not LOSSES[trainer.task.loss].of_labels:
        raise click.UsageError(
            f"--beam is for tasks with labels, and task '{trainer.task.name}' has none"
        )
    iteration = run.go_to_best() if evaluation.best else trainer.iteration
    result = trainer.evaluate(
        evaluation.batches,
        evaluation.batch_size,
        greedy=not evaluation.sampled,
        beam_width=evaluation.beam or 1,
    )
    if result.rate_hz == 0:
        say("no neuron fires in any of these trials", err=True)
    kind, how = "trial", ""
    if result.returns is not None:
        chosen = "the best action" if result.returns.greedy else "actions drawn from the policy"
        kind, how = "episode", f", {chosen}, mean length {result.returns.length:.4g} actions"
    say(
        f"{result.n_trials} fresh {kind}{'s' * (result.n_trials > 1)} at iteration "
        f"{iteration}, mean rate {result.rate_hz:.1f} Hz{how}"
    )
    _conclude_evaluation(result, trainer.task)
