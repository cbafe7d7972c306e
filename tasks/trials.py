"""Trials: inputs and targets of a batch, checked when they are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eprop_brian.base.checks import check_count, check_rows
from eprop_brian.base.converted import Converted

__all__ = ["Trials", "join_trials"]


def _as_inputs(value: ArrayLike, _: Trials) -> NDArray[Any]:
    inputs = np.asarray(value)
    if inputs.dtype.kind not in "bf":
        raise ValueError(
            f"inputs must be a bool array (spikes) or a float array (analog), got {inputs.dtype}"
        )
    if inputs.ndim != 3 or inputs.size == 0:
        raise ValueError(
            "inputs must have the shape (n_patterns, n_steps, n_inputs), none of them 0, "
            f"got {inputs.shape}"
        )
    if inputs.dtype == bool:
        return inputs
    inputs = inputs.astype(float, copy=False)
    if not np.isfinite(inputs).all():
        raise ValueError("inputs must be finite, found NaN or infinity")
    return inputs


def _as_targets(value: ArrayLike, trials: Trials) -> NDArray[np.float64]:
    targets = np.asarray(value, dtype=float)
    if targets.ndim != 3 or targets.size == 0:
        raise ValueError(
            "targets must have the shape (n_targets, n_steps, n_outputs), none of them 0, "
            f"got {targets.shape}"
        )
    n_steps = trials.inputs.shape[1]
    if targets.shape[1] not in (1, n_steps):
        raise ValueError(
            f"targets have {targets.shape[1]} steps; expected {n_steps} as in inputs, "
            "or 1 for targets that are constant over the trial"
        )
    if not np.isfinite(targets).all():
        raise ValueError("targets must be finite, found NaN or infinity")
    return targets


def _as_pattern(value: ArrayLike, trials: Trials) -> NDArray[np.intp]:
    return check_rows("pattern", value, "inputs", len(trials.inputs))


def _as_target(value: ArrayLike, trials: Trials) -> NDArray[np.intp]:
    return check_rows("target", value, "targets", len(trials.targets))


def _as_periods(value: ArrayLike | None, trials: Trials) -> NDArray[np.int32] | None:
    if value is None:
        return None
    periods, shape = np.asarray(value), (len(trials.targets), trials.inputs.shape[1])
    if periods.shape != shape or not np.issubdtype(periods.dtype, np.integer):
        raise ValueError(
            f"periods must be integers of shape (n_targets, n_steps) = {shape}, got "
            f"{periods.dtype} {periods.shape}"
        )
    if periods.min() < 0 or not (periods > 0).any(axis=1).all():
        raise ValueError("periods must be 0 or greater, and every target needs a step that counts")
    return periods.astype(np.int32)


def _as_n_answers(value: int | None, trials: Trials) -> int:
    if trials.periods is None:
        if value:
            raise ValueError(f"n_answers is {value}, but there are no periods")
        return 0
    most = int(trials.periods.max())
    n_answers = most if value is None else check_count("n_answers", value)
    if most > n_answers:
        raise ValueError(f"periods go up to {most}, but n_answers is {n_answers}")
    return n_answers


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

    inputs: Converted[NDArray[np.bool_] | NDArray[np.float64]] = Converted(_as_inputs)
    targets: Converted[NDArray[np.float64]] = Converted(_as_targets)
    pattern: Converted[NDArray[np.intp]] = Converted(_as_pattern)
    target: Converted[NDArray[np.intp]] = Converted(_as_target)
    periods: Converted[NDArray[np.int32] | None] = Converted(_as_periods, None)
    n_answers: Converted[int] = Converted(_as_n_answers, None)

    def __post_init__(self) -> None:
        if len(self.pattern) != len(self.target):
            raise ValueError(
                f"pattern and target must name the same trials, got {len(self.pattern)} and "
                f"{len(self.target)} entries"
            )

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


def join_trials(parts: Sequence[Trials]) -> Trials:
    """Join trials; patterns and targets shared by several parts are stored once."""
    first = parts[0]
    if any(part.n_answers != first.n_answers for part in parts):
        raise ValueError("trials with different numbers of answers cannot be joined")
    pattern_parts, pattern = _stored_once(parts, "inputs", "pattern")
    target_parts, target = _stored_once(parts, "targets", "target")
    periods = [part.periods for part in target_parts if part.periods is not None]
    return Trials(
        inputs=_joined([part.inputs for part in pattern_parts]),
        targets=_joined([part.targets for part in target_parts]),
        pattern=pattern,
        target=target,
        periods=_joined(periods) if periods else None,
        n_answers=first.n_answers,
    )


def _stored_once(
    parts: Sequence[Trials], stored: str, index: str
) -> tuple[list[Trials], np.ndarray]:
    """Parts with an array of their own, and where the trials find their rows in all of them."""
    beginnings: dict[tuple[int, int], int] = {}
    owners, indices, n_rows = [], [], 0
    for part in parts:
        array = getattr(part, stored)
        # Equal targets may count in different steps.
        key = id(array), id(part.periods) if stored == "targets" else 0
        if key not in beginnings:
            beginnings[key] = n_rows
            owners.append(part)
            n_rows += len(array)
        indices.append(getattr(part, index) + beginnings[key])
    return owners, np.concatenate(indices)


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
