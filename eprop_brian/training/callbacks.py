"""Callbacks: what is done after every iteration and every validation while a `Trainer` trains.

::

    class Print(Callback):
        def on_validation(self, trainer, iteration, evaluation):
            print(iteration, evaluation)


    trainer.train(1000, validate_every=50, callbacks=[Print(), EarlyStopping(patience=5)])
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eprop_brian.base.checks import check_count
from eprop_brian.base.files import write_arrays
from eprop_brian.base.sparse import Matrix
from eprop_brian.training.history import History

if TYPE_CHECKING:
    from eprop_brian.training.evaluation import Evaluation
    from eprop_brian.training.trainer import Trainer

__all__ = ["BestWeights", "Callback", "EarlyStopping", "best_validation"]


class Callback:
    """Base class, which does nothing. Override what is of interest.

    An exception that a method raises ends the training; what was trained is kept.
    """

    def on_start(self, trainer: Trainer) -> None:
        """Called when training begins or goes on."""

    def on_iteration(self, trainer: Trainer, iteration: int, values: Mapping[str, float]) -> None:
        """Called for every iteration, once the call of the program that made it has ended.

        Parameters
        ----------
        trainer : Trainer
            In its state after the last iteration of the call.
        iteration : int
            From 1 on.
        values : mapping of str to float
            The row of ``history.csv``, without columns that are undefined.
        """

    def on_validation(self, trainer: Trainer, iteration: int, evaluation: Evaluation) -> None:
        """Called after every validation; ``trainer.stop(reason)`` ends the training.

        Parameters
        ----------
        trainer : Trainer
        iteration : int
            Iterations done.
        evaluation : Evaluation
            Of fresh trials (of a data set, of examples that are held out).
        """

    def on_end(self, trainer: Trainer) -> None:
        """Called when training ends, however it ends."""


def best_validation(history: History) -> tuple[int, int]:
    """Find the best validation of a history.

    The best one has the highest return in an environment, else the lowest error, of equal ones the
    lowest loss.

    Returns
    -------
    iteration : int
        After which it was made; 0 if there was none.
    later : int
        Validations since then.
    """
    columns = (-np.array(history.validation_return), history.validation_error)
    scores = np.array([*columns, history.validation_loss])
    made = np.flatnonzero(np.isfinite(scores).any(axis=0))
    if not len(made):
        return 0, 0
    scores = np.where(np.isnan(scores[:, made]), 0, scores[:, made])
    best = int(np.lexsort(scores[::-1])[0])
    return int(made[best]) + 1, len(made) - 1 - best


class EarlyStopping(Callback):
    """Ends the training when validations no longer improve.

    It looks at the history alone, so that a training which was interrupted ends where it would have
    ended.

    Parameters
    ----------
    patience : int
        Validations in a row that may be no better than the best one (`best_validation`).
    """

    def __init__(self, patience: int) -> None:
        self.patience = check_count("patience", patience)

    def on_start(self, trainer: Trainer) -> None:
        """Stop at once where the patience had come to its end before."""
        self._judge(trainer)

    def on_validation(self, trainer: Trainer, iteration: int, evaluation: Evaluation) -> None:
        """Stop if there was no better validation for too long."""
        self._judge(trainer)

    def _judge(self, trainer: Trainer) -> None:
        iteration, later = best_validation(trainer.history)
        if iteration and later >= self.patience:
            trainer.stop(f"no better validation than that of iteration {iteration}")


class BestWeights(Callback):
    """Keeps the state with the best validation.

    Parameters
    ----------
    path : Path, optional
        A file ``.npz`` that gets it too.

    Attributes
    ----------
    iteration : int
        Of the state; 0 before the first validation.
    state : dict of str to array, or None
        As ``trainer.session.state()`` gives it: ``trainer.session.restore(best.state)`` goes back.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.iteration = 0
        self.state: Mapping[str, Matrix] | None = None

    def on_validation(self, trainer: Trainer, iteration: int, evaluation: Evaluation) -> None:
        """Keep the state if this validation is the best one."""
        best, _ = best_validation(trainer.history)
        if best != iteration:
            return
        self.iteration, self.state = iteration, trainer.session.state()
        if self.path is not None:
            write_arrays(self.path, self.state)
