"""Evaluation: fresh trials without learning."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from eprop_brian.equations.losses import LOSSES
from eprop_brian.network.exogenous import draws
from eprop_brian.network.resolved import Resolved
from eprop_brian.tasks.base import Task, hand_out
from eprop_brian.tasks.episodes import EpisodicTask
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.diagnosis import TrainingError, explain_evaluation
from eprop_brian.training.history import EPISODES
from eprop_brian.training.rerun import Diagnosis
from eprop_brian.training.state import Episodes, LearningSession

__all__ = [
    "CONFIRMATION_BATCHES",
    "VALIDATION_BATCHES",
    "VALIDATION_BATCH_SIZE",
    "Evaluation",
    "Returns",
    "confirmation_batches",
    "evaluate",
    "evaluation_size",
    "wrong_answers",
]

#: Number of fresh batches of a validation, and trials in each.
VALIDATION_BATCHES, VALIDATION_BATCH_SIZE = 8, 64
#: Batches that confirm a validation below the criterion. That validation was the lowest of many, so
#: confirming it takes other trials, and enough of them that luck does not repeat.
CONFIRMATION_BATCHES = 8 * VALIDATION_BATCHES
#: Of the standard normal distribution, 97.5 %.
_QUANTILE = 1.959964


@dataclass(frozen=True)
class Returns:
    """Returns of fresh episodes, each the sum of an episode's rewards.

    Attributes
    ----------
    mean, deviation : float
        Mean and standard deviation over the episodes.
    length : float
        Mean number of actions.
    greedy : bool
        Whether the best action was taken each time rather than one at random.
    """

    mean: float
    deviation: float
    length: float
    greedy: bool


@dataclass(frozen=True)
class Evaluation:
    """Result of fresh trials without learning.

    Attributes
    ----------
    loss : float
        Mean over the trials. Of several readouts, the weighted sum of their losses.
    error : float
        Fraction of wrong trials (see `wrong_answers`); NaN where the task defines none.
    rate_hz : float
    n_trials : int
    n_examples : int or None
        Different examples of a data set among the trials; None where every trial is drawn anew.
    returns : Returns or None
        Of episodes in an environment.
    """

    loss: float
    error: float
    rate_hz: float
    n_trials: int
    n_examples: int | None = None
    returns: Returns | None = None

    @property
    def error_interval(self) -> tuple[float, float]:
        """Interval that holds the error on all trials with 95 % confidence (Wilson's).

        Of a data set with fewer examples than trials, an example counts once.
        """
        n = self.n_trials if self.n_examples is None else self.n_examples
        share = _QUANTILE**2 / n
        middle = (self.error + share / 2) / (1 + share)
        half = _QUANTILE / (1 + share) * np.sqrt(self.error * (1 - self.error) / n + share / 4 / n)
        return float(max(0, middle - half)), float(min(1, middle + half))

    def __str__(self) -> str:
        if self.returns is not None:
            mean, deviation = self.returns.mean, self.returns.deviation
            return (
                f"return {mean:.6g} (standard deviation {deviation:.4g}, {self.n_trials} episodes)"
            )
        error = "" if np.isnan(self.error) else f" error {self.error:.4f}"
        return f"loss {self.loss:.6g}{error}"


def evaluate(
    session: LearningSession,
    task: Task,
    seed: int,
    *,
    n_batches: int,
    batch_size: int,
    stream: str,
    dtype: str,
    greedy: bool = True,
) -> Evaluation:
    """See `Trainer.evaluate`; `seed` is that of the trials, `dtype` the session's."""
    losses, errors, rates, episodes = [], [], [], []
    previous: Trials | None = None
    most, noisy = session.most_trials, draws(session.resolved.populations)
    for index in range(n_batches):
        batch = hand_out(task, seed, stream, index, batch_size)
        frozen = len(batch.inputs) == len(batch.targets) == 1 and batch.environment is None
        if frozen and not noisy:
            if previous is not None and batch.inputs is previous.inputs:
                break  # a frozen pattern: every further trial would be the same
            previous = batch
            batch = batch.part(slice(1))
        for first in range(0, batch.n_trials, most):
            part = batch.part(slice(first, first + most))
            outcome = session.run(
                part, part.n_trials, learning=False, check_states=True, greedy=greedy
            )
            is_good = np.isfinite(outcome.loss) & outcome.is_number
            if outcome.episodes is not None:
                is_good &= np.isfinite(outcome.episodes.returns)
                episodes.append(outcome.episodes)
            if not np.all(is_good):
                diagnosis = Diagnosis(session, part, session.state(), dtype, greedy)
                when = f"batch {index + 1} of the stream '{stream}'"
                raise TrainingError(explain_evaluation(diagnosis, is_good, when))
            losses.append(outcome.loss)
            rates.append(outcome.rate)
            wrong = wrong_answers(task, session.resolved, outcome.output, part)
            errors.append(np.full(part.n_trials, np.nan) if wrong is None else wrong)
    loss = np.concatenate(losses)
    n_examples = task.n_examples(stream)
    return Evaluation(
        loss=float(loss.mean()),
        error=float(np.concatenate(errors).mean()),
        rate_hz=float(np.concatenate(rates).mean()),
        n_trials=len(loss),
        n_examples=None if n_examples is None else min(n_examples, len(loss)),
        returns=_returns(Episodes.joined(episodes), greedy) if episodes else None,
    )


def evaluation_size(task: Task, stream: str = "test") -> tuple[int, int]:
    """Batches of an evaluation of a task, and trials in each.

    Examples that never change are shown once, if there are fewer of them than there would be
    trials.
    """
    if isinstance(task, EpisodicTask):
        return 1, EPISODES
    n_examples = task.n_examples(stream) if task.fixed_examples else None
    if n_examples is not None and n_examples < VALIDATION_BATCHES * VALIDATION_BATCH_SIZE:
        n_batches = -(-n_examples // VALIDATION_BATCH_SIZE)
        return n_batches, -(-n_examples // n_batches)
    return VALIDATION_BATCHES, VALIDATION_BATCH_SIZE


def _returns(episodes: Episodes, greedy: bool) -> Returns:
    returns = episodes.returns
    return Returns(
        float(returns.mean()), float(returns.std()), float(episodes.lengths.mean()), greedy
    )


def wrong_answers(
    task: Task, network: Resolved, outputs: np.ndarray, trials: Trials
) -> np.ndarray | None:
    """Judge the outputs of trials.

    A task with classes judges each readout that has a loss of probabilities by itself: the
    readout's outputs against its own columns of the targets, in the steps that count for it. The
    others have no classes.

    Parameters
    ----------
    task : Task
    network : Resolved
    outputs : array
        As in `Outcome.output`.
    trials : Trials

    Returns
    -------
    array, shape (n_trials,), or None
        The fraction of answers that are wrong, over all readouts that are judged; None where the
        task defines no errors.
    """
    (first, *others), judged = network.readouts, []
    alone = not others and first.window_steps is None
    if alone or not LOSSES[task.loss].softmax:
        return task.errors(outputs, trials)
    for readout in network.readouts:
        if not readout.loss.softmax:
            continue
        columns, targets = network.output_slices[readout.name], trials.targets
        if readout.window_steps is not None:
            # The same class in the steps of the readout's window as in those of the task's.
            targets = targets[:, -readout.window_steps :].mean(axis=1, keepdims=True)
        own = replace(trials, targets=targets[..., columns])
        wrong = task.errors(outputs[..., columns], own)
        if wrong is None:
            return None
        judged.append(wrong)
    return np.mean(judged, axis=0)


def confirmation_batches(task: Task, stream: str) -> int:
    """Number of batches that confirm a validation.

    For a data set they show every example at most once, since repeating an example adds little, but
    they are at least as many as the validation had.
    """
    n_examples = task.n_examples(stream)
    if n_examples is None:
        return CONFIRMATION_BATCHES
    if task.fixed_examples:
        return min(CONFIRMATION_BATCHES, -(-n_examples // evaluation_size(task, stream)[1]))
    once = -(-n_examples // VALIDATION_BATCH_SIZE)
    return min(CONFIRMATION_BATCHES, max(VALIDATION_BATCHES, once))
