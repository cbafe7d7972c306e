"""Training by a curriculum: from short trials of copy-repeat to as long ones as are solved."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from eprop_brian.base.checks import check_count, check_positive
from eprop_brian.base.description import Described, Description
from eprop_brian.base.history import Rows, column
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.progress import progress_bar
from eprop_brian.tasks.base import hand_out
from eprop_brian.tasks.copy_repeat import CopyRepeat, Level
from eprop_brian.training.diagnosis import TrainingError

if TYPE_CHECKING:
    # It needs JAX, which is optional.
    from eprop_brian.training.windowed_session import WindowedSession

__all__ = ["CurriculumHistory", "CurriculumTrainer"]

#: Names in a saved state: of the level, and how those of weights begin that solved the last one.
_LEVEL, _SOLVED = "level", "solved."


@dataclass
class CurriculumHistory(Rows, Described):
    """Loss, length, rate and time of every iteration.

    Attributes
    ----------
    loss : list of float
        Mean cross-entropy of the batch before its update, in bits for each output and step that
        counts.
    trial_length, solved_length : list of float
        Steps of a trial of this iteration, and of the longest level that is solved after it, 0
        before the first one.
    unexplained : list of float
        The synthesiser's mean squared error, over the mean square of what it learns; NaN without
        one, and in trials of one window.
    rate_hz : list of float
        Mean firing rate; NaN of units that do not spike.
    seconds : list of float
        Processor time of the iteration, compilation included.
    """

    numbered: ClassVar[str] = "iteration"
    picture: ClassVar[str] = "eprop_brian.figures.learning:plot_learning_curve"

    loss: list[float] = column()
    trial_length: list[float] = column("{:.0f}")
    solved_length: list[float] = column("{:.0f}")
    unexplained: list[float] = column("{:.6g}", optional=True)
    rate_hz: list[float] = column("{:.6g}", optional=True)
    seconds: list[float] = column("{:.6g}", incidental=True)

    def description(self) -> Description:
        """Last values, for `print` and notebooks."""
        if not len(self):
            return Description("History of 0 iterations", [])
        rows = [
            ("loss (bits)", f"{self.loss[-1]:.4g} last"),
            ("solved length (steps)", f"{self.solved_length[-1]:.0f}"),
            ("time (s)", f"{sum(self.seconds):.3g}"),
        ]
        return Description(f"History of {len(self)} iterations", rows)

    def __repr__(self) -> str:
        solved = f": solved length {self.solved_length[-1]:.0f}" if len(self) else ""
        return f"<history of {len(self)} iterations{solved}>"


class CurriculumTrainer:
    """A recurrent network that learns copy-repeat, level after level.

    Parameters
    ----------
    session : WindowedSession
    task : CopyRepeat
        The first level, and how many bits a vector has.
    batch_size : int
    seed : int
        Of the trials.
    threshold : float
        A level is solved when a batch's loss is below it, in bits.

    Attributes
    ----------
    history : CurriculumHistory
    level : Level
        What is learned now.
    solved_length : int
        Steps of a trial of the last level that was solved; 0 before the first.
    solved_weights : mapping
        With which it was; before, those of the start. What learns a level forgets shorter ones.
    """

    def __init__(
        self,
        session: WindowedSession,
        task: CopyRepeat,
        *,
        batch_size: int = 32,
        seed: int = 0,
        threshold: float = 0.15,
    ) -> None:
        check_positive("batch_size", batch_size)
        check_count("seed", seed, minimum=0)
        if not threshold > 0:
            raise ValueError(f"the threshold must be a positive number of bits, not {threshold!r}")
        # A batch for which there is no memory is refused here, before a run has its folder.
        hand_out(task, seed, "train", 0, batch_size)
        self.session, self.task = session, task
        self.batch_size, self.seed, self.threshold = int(batch_size), int(seed), float(threshold)
        self.history = CurriculumHistory()
        self.level, self.solved_length = task.level, 0
        self.solved_weights = session.learned.weights

    @property
    def iteration(self) -> int:
        """Iterations done."""
        return self.session.learned.n_updates

    @property
    def solved_level(self) -> Level:
        """The last level that was solved; the first one before."""
        level = self.task.level
        while level.next().n_steps <= self.solved_length:
            level = level.next()
        return level

    def at(self, level: Level) -> CopyRepeat:
        """The task at a level."""
        return replace(self.task, length=level.length, repeats=level.repeats)

    def state(self) -> dict[str, np.ndarray]:
        """Copies of everything that training changes, the history apart."""
        level = np.array([*self.level, self.solved_length])
        solved = {_SOLVED + n: np.array(w, float) for n, w in self.solved_weights.items()}
        return {**self.session.state(), **solved, _LEVEL: level}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned.

        Raises
        ------
        ValueError
            If an array is missing or does not fit.
        """
        level = np.asarray(state.get(_LEVEL, []))
        if level.shape != (3,) or not np.all(level == np.floor(level)) or np.any(level[:2] < 1):
            raise ValueError(f"the saved state's '{_LEVEL}' is {level}, not a level")
        weights = {n: np.asarray(state.get(_SOLVED + n, np.nan)) for n in self.solved_weights}
        for name, value in self.solved_weights.items():
            if weights[name].shape != np.shape(value):
                raise ValueError(f"the saved state has no '{_SOLVED}{name}' of shape {value.shape}")
        self.session.restore(state)
        self.solved_weights = self.session.in_dtype(weights)
        length, repeats, solved = (int(x) for x in level)
        self.level, self.solved_length = Level(length, repeats), solved

    def train(
        self,
        iterations: int,
        *,
        progress: bool = True,
        after_call: Callable[[CurriculumTrainer], None] | None = None,
    ) -> CurriculumHistory:
        """Train until `iterations` iterations are done in all.

        Parameters
        ----------
        iterations : int
            Total number, those done before included.
        progress : bool
            Show a progress bar with loss and length.
        after_call : callable, optional
            Called with the trainer after every iteration, e.g. to save a checkpoint.

        Raises
        ------
        TrainingError
            If the loss is no longer finite; the state is that before the iteration.
        """
        bar = progress_bar(iterations, self.iteration, "it", shown=progress)
        with bar:
            for iteration in range(self.iteration, iterations):
                self._iterate(iteration)
                bar.set_postfix_str(
                    f"loss {self.history.loss[-1]:.3g} bits, solved length {self.solved_length}",
                    refresh=False,
                )
                bar.update()
                if after_call is not None:
                    after_call(self)
        return self.history

    def take_back(self) -> None:
        """Do nothing: an iteration that has not ended has changed nothing here."""

    def close(self) -> None:
        """Do nothing: everything ran in this process."""

    def go_back_to_solved(self) -> None:
        """Take the weights with which the last level was solved, to test or to record them."""
        self.session.learned = self.session.learned._replace(weights=self.solved_weights)

    def evaluate(self, level: Level, n_batches: int = 8, stream: str = "test") -> float:
        """Mean loss of fresh trials of a level, in bits.

        Parameters
        ----------
        level : Level
        n_batches : int
            Batches of the training's size.
        stream : str
        """
        task = self.at(level)
        losses = []
        for index in range(n_batches):
            trials = hand_out(task, self.seed, stream, index, self.batch_size)
            losses.append(self.session.run(trials, task.learning_window, learning=False).loss)
        return float(np.mean(losses)) / math.log(2)

    def _iterate(self, iteration: int) -> None:
        """An iteration: one batch, one update, and perhaps the next level."""
        began = time.process_time()
        task = self.at(self.level)
        trials = hand_out(task, self.seed, "train", iteration, self.batch_size)
        learned, outcome = self.session.after(trials, task.learning_window)
        bits = outcome.loss / math.log(2)
        if not math.isfinite(bits):
            raise TrainingError(
                f"iteration {iteration + 1}: the loss is no longer finite; a smaller "
                "learning rate (optimizer.eta) or clip_norm may help"
            )
        with uninterrupted():
            if bits < self.threshold:
                # The loss is that before the update.
                self.solved_length, self.solved_weights = task.n_steps, self.session.learned.weights
                self.level = self.level.next()
            self.session.learned = learned
            self.history.append(
                loss=bits,
                trial_length=task.n_steps,
                solved_length=self.solved_length,
                unexplained=outcome.unexplained,
                rate_hz=outcome.rate_hz,
                seconds=time.process_time() - began,
            )
