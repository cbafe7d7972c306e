"""Evaluation: fresh trials without learning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eprop_brian.tasks.base import Task, hand_out
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.diagnosis import Diagnosis, TrainingError, explain_evaluation
from eprop_brian.training.state import LearningSession

__all__ = [
    "CONFIRMATION_BATCHES",
    "VALIDATION_BATCHES",
    "VALIDATION_BATCH_SIZE",
    "Evaluation",
    "confirmation_batches",
    "evaluate",
]

#: Size of a validation: fresh batches of so many trials.
VALIDATION_BATCHES, VALIDATION_BATCH_SIZE = 8, 64
#: Batches of such trials on which a validation below the criterion is confirmed. It was chosen for
#: being low among many: that takes trials of its own, and enough of them not to be lucky again.
CONFIRMATION_BATCHES = 8 * VALIDATION_BATCHES


@dataclass(frozen=True)
class Evaluation:
    """Result of fresh trials without learning.

    Attributes
    ----------
    loss : float
        Mean over the trials.
    error : float
        Fraction of wrong trials; NaN where the task defines none.
    rate_hz : float
    n_trials : int
    n_examples : int or None
        Different examples that the trials of a data set show; None where each is drawn anew.
    """

    loss: float
    error: float
    rate_hz: float
    n_trials: int
    n_examples: int | None = None

    def __str__(self) -> str:
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
) -> Evaluation:
    """See `Trainer.evaluate`; `seed` is that of the trials, `dtype` the session's."""
    losses, errors, rates = [], [], []
    previous: Trials | None = None
    most = session.most_trials
    for index in range(n_batches):
        batch = hand_out(task, seed, stream, index, batch_size)
        if len(batch.inputs) == len(batch.targets) == 1:
            if previous is not None and batch.inputs is previous.inputs:
                break  # a frozen pattern: every further trial would be the same
            previous = batch
            batch = batch.part(slice(1))
        for first in range(0, batch.n_trials, most):
            part = batch.part(slice(first, first + most))
            outcome = session.run(part, part.n_trials, learning=False, check_states=True)
            is_good = np.isfinite(outcome.loss) & outcome.is_number
            if not np.all(is_good):
                found = Diagnosis(session, part, session.state(), dtype)
                when = f"batch {index + 1} of the stream '{stream}'"
                raise TrainingError(explain_evaluation(found, is_good, when))
            losses.append(outcome.loss)
            rates.append(outcome.rate)
            wrong = task.errors(outcome.output, part)
            errors.append(np.full(part.n_trials, np.nan) if wrong is None else wrong)
    loss = np.concatenate(losses)
    n_examples = task.n_examples(stream)
    return Evaluation(
        loss=float(loss.mean()),
        error=float(np.concatenate(errors).mean()),
        rate_hz=float(np.concatenate(rates).mean()),
        n_trials=len(loss),
        n_examples=None if n_examples is None else min(n_examples, len(loss)),
    )


def confirmation_batches(task: Task, stream: str) -> int:
    """Batches that confirm a validation; of a data set no more than what shows all of it once.

    But as many as validate at least: the same example again says little more.
    """
    n_examples = task.n_examples(stream)
    if n_examples is None:
        return CONFIRMATION_BATCHES
    once = -(-n_examples // VALIDATION_BATCH_SIZE)
    return min(CONFIRMATION_BATCHES, max(VALIDATION_BATCHES, once))
