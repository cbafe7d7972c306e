"""What a task is: inputs, targets and timing, and nothing about learning.

A task hands out `Trials`. Its settings are fixed at construction, and what it hands out depends
only on the seed, the stream ("train", "validation", "test", ...) and the index (the iteration or
batch number): not on what was asked before, nor on which process asks.

Your own task is a subclass. Attributes that never change can stay plain class attributes; draw
all randomness from `rng_for`:

>>> import numpy as np
>>> from eprop_brian.tasks.base import Task, Trials, rng_for
>>> from eprop_brian.tasks.spikes import poisson_spikes
>>> class WhichIsFaster(Task):
...     '''Two inputs, one fires faster: say which.'''
...
...     name = "which-is-faster"
...     description = "two Poisson inputs; the class is the faster one"
...     n_steps = 200
...     n_inputs = 2
...     n_outputs = 2
...     learning_window = 50
...     loss = "softmax_cross_entropy"
...
...     def trials(self, seed, stream, index, n_trials):
...         rng = rng_for(seed, stream, index)
...         probability = np.array([[0.08, 0.02], [0.02, 0.08]])  # (class, input), per step
...         spikes = [poisson_spikes(rng, np.tile(p, (self.n_steps, 1)))[0] for p in probability]
...         faster = rng.integers(2, size=n_trials)
...         return Trials(
...             inputs=np.array(spikes),  # one frozen pattern per class
...             targets=np.eye(2)[:, np.newaxis, :],  # one-hot, constant over the trial
...             pattern=faster,
...             target=faster,
...         )
>>> trials = WhichIsFaster().trials(seed=1, stream="train", index=0, n_trials=4)
>>> trials.inputs.shape, trials.targets.shape, trials.n_trials
((2, 200, 2), (2, 1, 2), 4)

For settings that a user may choose, make it a dataclass, as `PatternGeneration` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from brian2.units import Quantity, ms
from numpy.typing import ArrayLike, NDArray

from eprop_brian.base.checks import check_count, check_quantity
from eprop_brian.base.random import rng_for

__all__ = [
    "LOSSES",
    "Task",
    "Trials",
    "confirmation_of",
    "hand_out",
    "is_confirmation",
    "rng_for",
]

#: The losses a task may name: 1/2 sum (y - y*)^2, and -sum pi* log softmax(y).
LOSSES = ("squared_error", "softmax_cross_entropy")


@dataclass(frozen=True, eq=False)
class Trials:
    """A batch of trials. What several trials share is stored once.

    Attributes
    ----------
    inputs : bool or float array, shape (n_patterns, n_steps, n_inputs)
        Bool: input spikes. Float: analog inputs, dimensionless; a value x takes the place of a
        spike, which counts 1, so that neuron j receives ``sum_i w_in[j, i] x_i[t]``. Both act on
        the network in their own step t.
    targets : float array, shape (n_targets, n_steps, n_outputs)
        Target signals, or shape (n_targets, 1, n_outputs) when constant over the trial.
    pattern : int array, shape (n_trials,)
        Which row of `inputs` each trial uses.
    target : int array, shape (n_trials,)
        Which row of `targets` each trial uses.
    periods : int array, shape (n_targets, n_steps), optional
        Where not just the last steps of a trial count: 0 where a target's error does not count,
        1, 2, ... where it does, and the output is averaged into that answer. The learning window
        then means nothing.
    n_answers : int, optional
        Most answers that any trial of the task has; default: as many as there are here. 0 without
        `periods`.

    Raises
    ------
    ValueError
        If a shape, a type or an index does not fit, or an input or a target is not finite.
    """

    inputs: NDArray[np.bool_] | NDArray[np.float64]
    targets: NDArray[np.float64]
    pattern: NDArray[np.intp]
    target: NDArray[np.intp]
    periods: NDArray[np.int32] | None = None
    n_answers: int | None = None

    def __post_init__(self) -> None:
        inputs = np.asarray(self.inputs)
        if inputs.dtype.kind not in "bf":
            raise ValueError(
                "inputs must be a bool array (spikes) or a float array (analog), got "
                f"{inputs.dtype}"
            )
        if inputs.ndim != 3 or inputs.size == 0:
            raise ValueError(
                "inputs must have the shape (n_patterns, n_steps, n_inputs), none of them 0, "
                f"got {inputs.shape}"
            )
        if inputs.dtype != bool:
            inputs = inputs.astype(float, copy=False)
            if not np.isfinite(inputs).all():
                raise ValueError("inputs must be finite, found NaN or infinity")
        targets = np.asarray(self.targets, dtype=float)
        if targets.ndim != 3 or targets.size == 0:
            raise ValueError(
                "targets must have the shape (n_targets, n_steps, n_outputs), none of them 0, "
                f"got {targets.shape}"
            )
        n_steps = inputs.shape[1]
        if targets.shape[1] not in (1, n_steps):
            raise ValueError(
                f"targets have {targets.shape[1]} steps; expected {n_steps} as in inputs, "
                "or 1 for targets that are constant over the trial"
            )
        if not np.isfinite(targets).all():
            raise ValueError("targets must be finite, found NaN or infinity")
        periods, n_answers = self._checked_periods(len(targets), n_steps)
        pattern = _row_indices("pattern", self.pattern, "inputs", len(inputs))
        target = _row_indices("target", self.target, "targets", len(targets))
        if len(pattern) != len(target):
            raise ValueError(
                f"pattern and target must name the same trials, got {len(pattern)} and "
                f"{len(target)} entries"
            )
        for name, value in (
            ("inputs", inputs),
            ("targets", targets),
            ("pattern", pattern),
            ("target", target),
            ("periods", periods),
            ("n_answers", n_answers),
        ):
            object.__setattr__(self, name, value)

    def _checked_periods(
        self, n_targets: int, n_steps: int
    ) -> tuple[NDArray[np.int32] | None, int]:
        if self.periods is None:
            if self.n_answers:
                raise ValueError(f"n_answers is {self.n_answers}, but no periods are given")
            return None, 0
        periods = np.asarray(self.periods)
        if periods.shape != (n_targets, n_steps) or not np.issubdtype(periods.dtype, np.integer):
            raise ValueError(
                "periods must be integers of shape (n_targets, n_steps) = "
                f"{(n_targets, n_steps)}, got {periods.dtype} {periods.shape}"
            )
        most = int(periods.max())
        if periods.min() < 0 or not (periods > 0).any(axis=1).all():
            raise ValueError(
                "periods must be 0 or greater, and every target needs a step that counts"
            )
        n_answers = most if self.n_answers is None else check_count("n_answers", self.n_answers)
        if most > n_answers:
            raise ValueError(f"periods go up to {most}, but n_answers is {n_answers}")
        return periods.astype(np.int32), n_answers

    @property
    def n_trials(self) -> int:
        """Number of trials in the batch."""
        return len(self.pattern)

    @property
    def analog(self) -> bool:
        """Whether inputs are values rather than spikes."""
        return self.inputs.dtype != bool

    def part(self, which: slice) -> Trials:
        """Return some of the trials, with only the patterns and targets that they use."""
        patterns, pattern = np.unique(self.pattern[which], return_inverse=True)
        targets, target = np.unique(self.target[which], return_inverse=True)
        return Trials(
            inputs=self.inputs[patterns],
            targets=self.targets[targets],
            pattern=pattern,
            target=target,
            periods=None if self.periods is None else self.periods[targets],
            n_answers=self.n_answers,
        )

    def counted(self, learning_window: int) -> NDArray[np.int64]:
        """Return how many steps count for each answer, shape (n_trials, n_answers or 1)."""
        if self.periods is None:
            return np.full((self.n_trials, 1), learning_window)
        return self._in_answer().sum(axis=2)[self.target]

    def classes(self, learning_window: int) -> NDArray[np.intp]:
        """Return the right class of each answer, shape (n_trials, n_answers or 1).

        The largest of the targets, averaged over the steps that count for the answer. What stands
        where an answer has no steps means nothing.
        """
        if self.periods is None:
            mean = self.targets[:, -learning_window:].mean(axis=1)[:, np.newaxis]
        else:
            shape = (*self.periods.shape, self.targets.shape[2])
            mean = self._in_answer().astype(float) @ np.broadcast_to(self.targets, shape)
        return mean.argmax(axis=2)[self.target]

    def _in_answer(self) -> NDArray[np.bool_]:
        """Return which steps count for which answer, shape (n_targets, n_answers, n_steps)."""
        assert self.periods is not None and self.n_answers is not None  # there are several answers
        answers = np.arange(1, self.n_answers + 1)
        return self.periods[:, np.newaxis, :] == answers[:, np.newaxis]


def _row_indices(name: str, rows: ArrayLike, array: str, n_rows: int) -> NDArray[np.intp]:
    rows = np.asarray(rows)
    if rows.ndim != 1 or rows.size == 0:
        raise ValueError(
            f"{name} must have the shape (n_trials,), with at least one trial, got {rows.shape}"
        )
    if not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(f"{name} must hold integers, got {rows.dtype}")
    if rows.min() < 0 or rows.max() >= n_rows:
        raise ValueError(
            f"{name} must hold rows of {array}, 0 to {n_rows - 1}, got {rows.min()} to {rows.max()}"
        )
    return rows.astype(np.intp)


@dataclass(frozen=True, kw_only=True, eq=False)
class Task(ABC):
    """Base class of all tasks; the module's text shows how to write one.

    Parameters
    ----------
    dt : Quantity
        Length of a time step, 1 ms by default.

    Attributes
    ----------
    name : str
        Name on the command line, such as "pattern-generation".
    description : str
        One line that says what the network must do.
    source : str
        Where the task and its default settings come from.
    n_steps, n_inputs, n_outputs : int
        Length of a trial in steps, number of inputs and of readout neurons.
    learning_window : int
        Number of steps at the end of a trial in which the error counts.
    loss : str
        One of `LOSSES`. "softmax_cross_entropy" means classification, with one-hot targets, or
        such multiplied by class weights.
    error_threshold : float or None
        The task counts as solved when the error on validation trials is below it.

    Raises
    ------
    brian2.DimensionMismatchError
        If a setting has the wrong units.
    TypeError, ValueError
        If an attribute is missing or out of range.
    """

    name: ClassVar[str]
    description: ClassVar[str] = ""
    source: ClassVar[str] = ""
    loss: ClassVar[str]
    error_threshold: ClassVar[float | None] = None

    dt: Quantity = field(default_factory=lambda: 1 * ms)

    # Abstract properties, so that a subclass may make each of them a plain class attribute,
    # a setting (dataclass field) or a property derived from its settings.
    @property
    @abstractmethod
    def n_steps(self) -> int:
        """Length of a trial in steps."""

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """Number of inputs."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Number of readout neurons."""

    @property
    @abstractmethod
    def learning_window(self) -> int:
        """Number of steps at the end of a trial in which the error counts."""

    def n_examples(self, stream: str) -> int | None:
        """Return how many different examples the trials of a stream can show.

        None, as by default, for a task that draws every trial anew.
        """
        return None

    @abstractmethod
    def trials(self, seed: int, stream: str, index: int, n_trials: int) -> Trials:
        """Draw a batch of trials: a function of its arguments alone.

        Parameters
        ----------
        seed : int
            Seed of the run. What is frozen during a run depends on it only.
        stream : str
            "train", "validation", "test" or any other name; streams are independent.
        index : int
            Iteration or batch number within the stream.
        n_trials : int
            Number of trials. A batch at the end of an epoch may have fewer, at least one.
        """

    def __post_init__(self) -> None:
        for attribute in ("name", "loss"):
            if not hasattr(self, attribute):
                raise TypeError(f"{type(self).__name__} must define the attribute {attribute!r}")
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")
        if check_quantity("dt", self.dt, ms) <= 0:
            raise ValueError(f"dt must be positive, got {self.dt!s}")
        for attribute in ("n_steps", "n_inputs", "n_outputs", "learning_window"):
            check_count(attribute, getattr(self, attribute))
        if self.learning_window > self.n_steps:
            raise ValueError(
                f"learning_window ({self.learning_window} steps) is longer than the trial "
                f"({self.n_steps} steps)"
            )

    def errors(self, outputs: ArrayLike, trials: Trials) -> NDArray[np.float64] | None:
        """Return which trials were answered wrongly.

        Parameters
        ----------
        outputs : array of float, shape (n_trials, n_outputs) or (n_trials, n_answers, n_outputs)
            Readout signal (the softmax probability) averaged over the steps that count; NaN for
            an answer that a trial does not have.
        trials : Trials
            The trials that gave these outputs.

        Returns
        -------
        errors : float array, shape (n_trials,), or None
            1 where the largest output is not the target class, else 0; the first of equal
            outputs is the answer. Of several answers, the fraction that is wrong. None for
            regression tasks, whose measure is the loss.

        Raises
        ------
        ValueError
            If `outputs` has another shape or contains NaN where there is an answer.
        """
        if self.loss == "squared_error":
            return None
        outputs = np.asarray(outputs, dtype=float)
        answers = (trials.n_answers,) if trials.n_answers else ()
        expected = (trials.n_trials, *answers, trials.targets.shape[2])
        if outputs.shape != expected:
            axes = "(n_trials, n_answers, n_outputs)" if answers else "(n_trials, n_outputs)"
            raise ValueError(
                f"outputs must have the shape {axes} = {expected}, got {outputs.shape}"
            )
        given = trials.counted(self.learning_window) > 0
        outputs = outputs.reshape(*given.shape, -1)
        if np.isnan(outputs[given]).any():  # argmax would pick the NaN as the answer
            raise ValueError("outputs contain NaN")
        wrong = outputs.argmax(axis=2) != trials.classes(self.learning_window)
        return (wrong & given).sum(axis=1) / given.sum(axis=1)


_AGAIN = " again"


def confirmation_of(stream: str) -> str:
    """Return the stream whose trials confirm what those of a validation say."""
    return stream + _AGAIN


def is_confirmation(stream: str) -> bool:
    """Return whether a stream is one that `confirmation_of` returns."""
    return stream.endswith(_AGAIN)


def hand_out(task: Task, seed: int, stream: str, index: int, n_trials: int) -> Trials:
    """Ask a task for trials: what it hands out is as many, or fewer where its examples end.

    Parameters
    ----------
    task : Task
    seed, stream, index, n_trials
        As for `Task.trials`.

    Raises
    ------
    TypeError
        If it hands out something else than `Trials`.
    ValueError
        If it hands out more than were asked for, or fails to hand out any.
    """
    number = index + 1
    what = (
        f"iteration {number}" if stream == "train" else f"batch {number} of the stream '{stream}'"
    )
    asked = f"{n_trials} {'trial' if n_trials == 1 else 'trials'}"
    where = f"task '{task.name}' was asked for {asked} of {what}"
    try:
        found = task.trials(seed, stream, index, n_trials)
    except ValueError as error:
        if type(error) is not ValueError:
            raise  # data that are not there say so themselves
        raise ValueError(f"{where} and failed: {error}") from error
    if not isinstance(found, Trials):
        raise TypeError(f"{where} and handed out {type(found).__name__}, which is not Trials")
    if found.n_trials > n_trials:
        raise ValueError(
            f"{where} and handed out {found.n_trials}; it must hand out as many, or fewer where "
            "its examples end"
        )
    return found
