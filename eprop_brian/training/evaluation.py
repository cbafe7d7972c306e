"""Evaluation: fresh trials without learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from eprop_brian.equations.losses import LOSSES
from eprop_brian.network.exogenous import draws
from eprop_brian.network.resolved import Resolved
from eprop_brian.tasks.base import Task, hand_out
from eprop_brian.tasks.episodes import EpisodicTask
from eprop_brian.tasks.labels import label_errors
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
    "error_weights",
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
        Fraction of wrong trials (see `wrong_answers`), or the label error rate; NaN where the task
        defines none.
    rate_hz : float
    n_trials : int
    n_examples : int or None
        Different examples of a data set among the trials; None where every trial is drawn anew.
    returns : Returns or None
        Of episodes in an environment.
    confusions : dict of str to int array, shape (n_outputs, n_outputs)
        How often each class was taken for which (`Task.confusions`): of speech, frames and
        utterances.
    of_labels : bool
        Whether `error` is the label error rate: insertions, deletions and substitutions of labels,
        over the number of labels.
    """

    loss: float
    error: float
    rate_hz: float
    n_trials: int
    n_examples: int | None = None
    returns: Returns | None = None
    confusions: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    of_labels: bool = False

    def accuracy(self, kind: str) -> float:
        """Fraction of a kind of `confusions`, such as "frames", that was right."""
        counts = self.confusions[kind]
        return float(np.trace(counts) / counts.sum())

    @property
    def error_interval(self) -> tuple[float, float]:
        """Interval that holds the error on all trials with 95 % confidence (Wilson's).

        Of a data set with fewer examples than trials, an example counts once. A label error rate,
        which may exceed 1, has no such interval: NaN.
        """
        if self.of_labels:
            return float("nan"), float("nan")
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
        right = "".join(f" {kind} {self.accuracy(kind):.4f}" for kind in self.confusions)
        if np.isnan(self.error):
            return f"loss {self.loss:.6g}{right}"
        what = "label error rate" if self.of_labels else "error"
        return f"loss {self.loss:.6g} {what} {self.error:.4f}{right}"


def evaluate(
    session: LearningSession,
    task: Task,
    seed: int,
    *,
    n_batches: int | None = None,
    batch_size: int | None = None,
    stream: str,
    dtype: str,
    greedy: bool = True,
    beam_width: int = 1,
) -> Evaluation:
    """See `Trainer.evaluate`; `seed` is that of the trials, `dtype` the session's."""
    of_labels = LOSSES[task.loss].of_labels
    if beam_width != 1 and not of_labels:
        raise ValueError(
            f"a beam searches for labels, and task '{task.name}' has none: leave it away"
        )
    losses, errors, weights, rates, episodes = [], [], [], [], []
    confusions: dict[str, np.ndarray] = {}
    n_examples = task.n_examples(stream)
    previous: Trials | None = None
    most, noisy = session.most_trials, draws(session.resolved.populations)
    # To see an example again says something only where its noise differs.
    is_once = n_batches is None or task.fixed_examples and not noisy
    usual_batches, usual_size = evaluation_size(task)
    batch_size = usual_size if batch_size is None else batch_size
    for index in range(usual_batches if n_batches is None else n_batches):
        size = batch_size
        if is_once and n_examples is not None:
            size = min(size, n_examples - index * batch_size)
            if size < 1:
                break
        batch = hand_out(task, seed, stream, index, batch_size)
        if batch.n_trials > size:
            batch = batch.part(slice(size))
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
            wrong = wrong_answers(task, session.resolved, outcome.output, part, beam_width)
            errors.append(np.full(part.n_trials, np.nan) if wrong is None else wrong)
            weights.append(error_weights(part))
            if len(session.resolved.readouts) == 1:
                for kind, counts in task.confusions(outcome.output, part).items():
                    confusions[kind] = confusions.get(kind, 0) + counts
    loss = np.concatenate(losses)
    return Evaluation(
        loss=float(loss.mean()),
        error=float(np.average(np.concatenate(errors), weights=np.concatenate(weights))),
        rate_hz=float(np.concatenate(rates).mean()),
        n_trials=len(loss),
        n_examples=None if n_examples is None else min(n_examples, len(loss)),
        returns=_returns(Episodes.joined(episodes), greedy) if episodes else None,
        confusions=confusions,
        of_labels=of_labels,
    )


def evaluation_size(task: Task) -> tuple[int, int]:
    """Batches of an evaluation of a task, and trials in each, if its examples suffice."""
    if isinstance(task, EpisodicTask):
        return 1, EPISODES
    return VALIDATION_BATCHES, VALIDATION_BATCH_SIZE


def _returns(episodes: Episodes, greedy: bool) -> Returns:
    returns = episodes.returns
    return Returns(
        float(returns.mean()), float(returns.std()), float(episodes.lengths.mean()), greedy
    )


def wrong_answers(
    task: Task, network: Resolved, outputs: np.ndarray, trials: Trials, beam_width: int = 1
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
    beam_width : int
        Of the search for labels, see `eprop_brian.tasks.labels.label_errors`.

    Returns
    -------
    array, shape (n_trials,), or None
        The fraction of answers that are wrong, over all readouts that are judged; None where the
        task defines no errors. A mean over trials weighs them by `error_weights`.
    """
    (first, *others), judged = network.readouts, []
    alone = not others and first.window_steps is None
    scored = LOSSES[task.loss]
    if not scored.softmax or alone and beam_width == 1:
        return task.errors(outputs, trials)
    for readout in network.readouts:
        if not readout.loss.softmax or readout.loss.of_labels != scored.of_labels:
            continue
        columns, targets = network.output_slices[readout.name], trials.targets
        if readout.window_steps is not None:
            # The same class in the steps of the readout's window as in those of the task's.
            targets = targets[:, -readout.window_steps :].mean(axis=1, keepdims=True)
        own = replace(trials, targets=targets[..., columns])
        if beam_width == 1:
            wrong = task.errors(outputs[..., columns], own)
        else:
            wrong = label_errors(outputs[..., columns], own, beam_width)
        if wrong is None:
            return None
        judged.append(wrong)
    return np.mean(judged, axis=0)


def error_weights(trials: Trials) -> np.ndarray:
    """What the error of each trial counts in a mean, shape (n_trials,): its labels, or else 1."""
    return np.maximum(trials.label_counts, 1)


def confirmation_batches(task: Task, stream: str) -> int:
    """Number of batches that confirm a validation.

    For a data set they show every example at most once, since repeating an example adds little, but
    they are at least as many as the validation had.
    """
    n_examples = task.n_examples(stream)
    if n_examples is None:
        return CONFIRMATION_BATCHES
    once = -(-n_examples // VALIDATION_BATCH_SIZE)
    return min(CONFIRMATION_BATCHES, max(VALIDATION_BATCHES, once))
