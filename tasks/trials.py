"""Trials: inputs and targets of a batch, checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from brian2.units import Quantity
from numpy.typing import ArrayLike, NDArray

from eprop_brian.base.checks import check_count, check_rows, whole_steps
from eprop_brian.base.converted import Converted
from eprop_brian.base.random import rng_for, words
from eprop_brian.equations.environment import Environment

__all__ = ["NO_LABEL", "Trials", "join_trials", "noise_keys"]

#: Arrays that have a row for each target.
_OF_TARGETS = ("targets", "periods", "advantage", "labels")
#: What stands in `Trials.labels` from the end of a sequence on.
NO_LABEL = -1


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


def _as_advantage(value: ArrayLike | None, trials: Trials) -> NDArray[np.float64] | None:
    if value is None:
        return None
    advantage = np.asarray(value, dtype=float)
    shape = (len(trials.targets), trials.inputs.shape[1])
    if advantage.shape != shape:
        raise ValueError(
            f"advantage must have the shape (n_targets, n_steps) = {shape}, got {advantage.shape}"
        )
    if not np.isfinite(advantage).all():
        raise ValueError("advantage must be finite, found NaN or infinity")
    return advantage


def _as_labels(value: ArrayLike | None, trials: Trials) -> NDArray[np.int32] | None:
    if value is None:
        return None
    labels = np.asarray(value)
    n_targets = len(trials.targets)
    is_matrix = labels.ndim == 2 and len(labels) == n_targets and labels.shape[1] > 0
    if not is_matrix or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be integers of shape ({n_targets} targets, most_labels), got "
            f"{labels.dtype} {labels.shape}"
        )
    if trials.periods is None:
        raise ValueError(
            "labels are of frames: give periods, which say what frame each step is part of"
        )
    present = labels >= 0
    if (labels < NO_LABEL).any() or (present[:, 1:] & ~present[:, :-1]).any():
        raise ValueError(
            f"labels must be 0 or greater, and {NO_LABEL} from the end of a sequence on"
        )
    _check_frames(labels, trials)
    return labels.astype(np.int32)


def _check_frames(labels: NDArray[Any], trials: Trials) -> None:
    """Raise ValueError if a trial lacks a frame, or has too few for its labels."""
    periods = trials.periods
    assert periods is not None  # checked before
    n_frames = periods.max(axis=1)
    present = np.zeros((len(periods), int(n_frames.max()) + 1), dtype=bool)
    present[np.arange(len(periods))[:, np.newaxis], periods] = True
    for row in np.flatnonzero(present[:, 1:].sum(axis=1) < n_frames):
        frame = int(np.argmin(present[row, 1:])) + 1
        raise ValueError(f"{_owner(row, trials)} has labels, but no step of its frame {frame}")
    n_labels = (labels >= 0).sum(axis=1)
    repeats = ((labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] >= 0)).sum(axis=1)
    for row in np.flatnonzero(n_labels + repeats > n_frames):
        between = ""
        if repeats[row]:
            needed = n_labels[row] + repeats[row]
            between = f", which take {needed} frames as equal ones need one between,"
        raise ValueError(
            f"{_owner(row, trials)} has {n_labels[row]} labels{between} but only {n_frames[row]} "
            "frames to show them in"
        )


def _owner(row: int, trials: Trials) -> str:
    """The first trial that has a target, or the target itself if none has it; from 1 on."""
    trial = np.flatnonzero(trials.target == row)
    return f"trial {trial[0] + 1}" if len(trial) else f"target {row + 1}"


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


def _as_noise(value: ArrayLike | None, trials: Trials) -> NDArray[np.uint64] | None:
    if value is None:
        return None
    noise = np.asarray(value)
    if noise.dtype.kind == "f":
        keys = np.array(value, dtype=object)
        if all(isinstance(key, int) for key in keys.flat):
            # NumPy makes floats of whole numbers on both sides of 2^63.
            wrapped = [key % 2**64 for key in keys.flat]
            noise = np.array(wrapped, dtype=np.uint64).reshape(keys.shape)
    if noise.shape != (trials.n_trials,) or noise.dtype.kind not in "iu":
        raise ValueError(
            "noise must be whole numbers of 64 bits, of shape (n_trials,) = "
            f"({trials.n_trials},), got {noise.dtype} {noise.shape}"
        )
    return noise.astype(np.uint64)


def _as_lengths(value: ArrayLike | None, trials: Trials) -> NDArray[np.int32] | None:
    if value is None:
        return None
    lengths, n_steps = np.asarray(value), trials.inputs.shape[1]
    if lengths.shape != (trials.n_trials,) or lengths.dtype.kind not in "iu":
        raise ValueError(
            f"lengths must be whole numbers of steps, of shape (n_trials,) = ({trials.n_trials},), "
            f"got {lengths.dtype} {lengths.shape}"
        )
    if not lengths.size or lengths.min() < 1 or lengths.max() > n_steps:
        raise ValueError(f"lengths must be from 1 to {n_steps} steps, as many as inputs have")
    if trials.environment is not None:
        raise ValueError("episodes end when their environment says so: leave lengths away")
    if trials.periods is not None:
        after = np.arange(n_steps) >= lengths[:, np.newaxis]
        if np.any(after & (trials.periods[trials.target] > 0)):
            raise ValueError("periods count steps after the end of a trial: they must be 0 there")
    return lengths.astype(np.int32)


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
    noise : int array, shape (n_trials,), optional
        Key of the random numbers that neurons draw in each trial, of 64 bits: with the same key
        they are the same. Default: keys that differ among the trials of a batch and are the same
        for every batch. Trials of a task get keys that follow from seed, stream and index
        (`eprop_brian.tasks.base.hand_out`).
    environment : Environment, optional
        What the trials are episodes in (`Trials.episodes`): inputs and targets are zeros then, and
        follow from what the network does.
    advantage : float array, shape (n_targets, n_steps), optional
        What losses read as ``advantage`` in each step, in those that count. It must be there if a
        loss of the network reads it.
    labels : int array, shape (n_targets, most_labels), optional
        The labels that a trial shows, in their order, for a loss of labels (``"ctc"``), whose
        targets mean nothing; -1 from the end of a sequence on. Periods are frames then: 1, 2, ...,
        none left out. `most_labels` is the same for all trials of a task.
    lengths : int array, shape (n_trials,), optional
        Steps of each trial, if they differ: it ends after so many, and nothing of inputs and
        targets after that is read. The learning window is then the last steps of each, or all of a
        trial that is shorter. Default: all have `n_steps`.

    Raises
    ------
    ValueError
        If a shape, a type or an index does not fit, an input, a target or an advantage is not
        finite, or there are more labels than frames to show them (equal labels one after the other
        need a frame between).
    """

    inputs: Converted[NDArray[np.bool_] | NDArray[np.float64]] = Converted(_as_inputs)
    targets: Converted[NDArray[np.float64]] = Converted(_as_targets)
    pattern: Converted[NDArray[np.intp]] = Converted(_as_pattern)
    target: Converted[NDArray[np.intp]] = Converted(_as_target)
    periods: Converted[NDArray[np.int32] | None] = Converted(_as_periods, None)
    n_answers: Converted[int] = Converted(_as_n_answers, None)
    noise: Converted[NDArray[np.uint64] | None] = Converted(_as_noise, None)
    environment: Environment | None = None
    advantage: Converted[NDArray[np.float64] | None] = Converted(_as_advantage, None)
    labels: Converted[NDArray[np.int32] | None] = Converted(_as_labels, None)
    lengths: Converted[NDArray[np.int32] | None] = Converted(_as_lengths, None)

    def __post_init__(self) -> None:
        if len(self.pattern) != len(self.target):
            raise ValueError(
                f"pattern and target must name the same trials, got {len(self.pattern)} and "
                f"{len(self.target)} entries"
            )

    @staticmethod
    def episodes(environment: Environment, dt: Quantity, noise_keys: ArrayLike) -> Trials:
        """Episodes in an environment, one for each key of their noise.

        Parameters
        ----------
        environment : Environment
        dt : Quantity
            Length of a step of the network.
        noise_keys : int array, shape (n_trials,)
            An episode follows from its key, but for what the network does.

        Returns
        -------
        Trials
            Of the longest length that an episode can have. The inputs, shape (1, n_steps,
            n_inputs), and the targets, shape (1, 1, action_outputs + 1), are zeros that take no
            memory; the last output is the value.

        Raises
        ------
        ValueError
            If the time between two actions is not a whole number of steps.
        """
        every = whole_steps("action_every", environment.action_every, dt)
        shape = (1, environment.most_actions * every, environment.n_inputs)
        zero = np.zeros((), dtype=float if environment.analog else bool)
        rows = np.zeros(len(np.asarray(noise_keys)), dtype=np.intp)
        return Trials(
            inputs=np.broadcast_to(zero, shape),
            targets=np.broadcast_to(np.zeros(()), (1, 1, environment.action_outputs + 1)),
            pattern=rows,
            target=rows,
            noise=noise_keys,
            environment=environment,
        )

    @property
    def n_trials(self) -> int:
        """Number of trials in the batch."""
        return len(self.pattern)

    @property
    def most_labels(self) -> int:
        """Most labels that a trial of the task has; 0 without `labels`."""
        return 0 if self.labels is None else self.labels.shape[1]

    @property
    def steps(self) -> NDArray[np.int64]:
        """How many steps each trial has."""
        if self.lengths is None:
            return np.full(self.n_trials, self.inputs.shape[1])
        return self.lengths.astype(np.int64)

    @property
    def noise_keys(self) -> NDArray[np.uint64]:
        """Keys of the noise of all trials: `noise`, or else the default."""
        return noise_keys(0, "trials", 0, self.n_trials) if self.noise is None else self.noise

    @property
    def analog(self) -> bool:
        """Whether inputs are values rather than spikes."""
        return self.inputs.dtype != bool

    def with_noise(self, noise: ArrayLike) -> Trials:
        """Return the same trials with other keys of their noise, which share all arrays."""
        trials = copy(self)
        # Nothing else is converted and checked again, which takes time for large inputs.
        vars(trials)["noise"] = _as_noise(noise, self)
        return trials

    @property
    def of_targets(self) -> dict[str, Any]:
        """The arrays that have a row for each target, by their names; those that there are."""
        arrays = {name: getattr(self, name) for name in _OF_TARGETS}
        return {name: array for name, array in arrays.items() if array is not None}

    def shares_targets(self, other: Trials) -> bool:
        """Return whether all that belongs to targets is the same arrays in other trials."""
        return _places(self.of_targets) == _places(other.of_targets)

    def part(self, which: slice) -> Trials:
        """Return some of the trials, with only the patterns and targets that they use."""
        if self.environment is not None:
            return self._more_episodes(self.noise_keys[which])
        patterns, pattern = np.unique(self.pattern[which], return_inverse=True)
        targets, target = np.unique(self.target[which], return_inverse=True)
        return Trials(
            inputs=self.inputs[patterns],
            pattern=pattern,
            target=target,
            **{name: array[targets] for name, array in self.of_targets.items()},
            n_answers=self.n_answers,
            noise=self.noise_keys[which],
            lengths=None if self.lengths is None else self.lengths[which],
        )

    def alone(self, number: int) -> Trials:
        """Return one of the trials, whose arrays have as many steps as itself."""
        trial = self.part(slice(number, number + 1))
        if trial.lengths is None:
            return trial
        (n_steps,) = trial.lengths
        constant = trial.targets.shape[1] == 1
        cut = {
            name: array if name == "targets" and constant else array[:, :n_steps]
            for name, array in trial.of_targets.items()
        }
        return replace(trial, inputs=trial.inputs[:, :n_steps], **cut, lengths=None)

    def _more_episodes(self, noise: NDArray[np.uint64]) -> Trials:
        """Episodes in the same environment, with other keys: zeros stay without memory."""
        rows = np.zeros(len(noise), dtype=np.intp)
        return replace(self, pattern=rows, target=rows, noise=noise)

    @property
    def label_counts(self) -> NDArray[np.intp]:
        """Labels of each trial, shape (n_trials,); 0 without `labels`."""
        if self.labels is None:
            return np.zeros(self.n_trials, dtype=np.intp)
        return (self.labels >= 0).sum(axis=1)[self.target]

    def counted(self, learning_window: int, every: int = 1) -> NDArray[np.int64]:
        """Return how many steps count for each answer, shape (n_trials, n_answers or 1).

        Those of readouts that take a step `every` so many, at the last of these.
        """
        if self.periods is None:
            steps = np.minimum(self.steps, learning_window)[:, np.newaxis]
            return -(-steps // every)
        return self._in_answer()[:, :, every - 1 :: every].sum(axis=2)[self.target]

    def classes(self, learning_window: int) -> NDArray[np.intp]:
        """Return the right class of each answer, shape (n_trials, n_answers or 1).

        The largest of the targets, averaged over the steps that count for the answer. What stands
        where an answer has no steps means nothing.
        """
        if self.periods is None and self.lengths is not None:
            in_window = self.in_window(learning_window)[:, np.newaxis].astype(float)
            shape = (len(self.targets), self.inputs.shape[1], self.targets.shape[2])
            targets = np.broadcast_to(self.targets, shape)[self.target]
            return (in_window @ targets).argmax(axis=2)
        if self.periods is None:
            mean = self.targets[:, -learning_window:].mean(axis=1)[:, np.newaxis]
        else:
            shape = (*self.periods.shape, self.targets.shape[2])
            mean = self._in_answer().astype(float) @ np.broadcast_to(self.targets, shape)
        return mean.argmax(axis=2)[self.target]

    def in_window(self, learning_window: int) -> NDArray[np.bool_]:
        """Return which steps are in the learning window of each trial, (n_trials, n_steps)."""
        before_end = self.steps[:, np.newaxis] - np.arange(self.inputs.shape[1])
        return (before_end > 0) & (before_end <= learning_window)

    def _in_answer(self) -> NDArray[np.bool_]:
        """Return which steps count for which answer, shape (n_targets, n_answers, n_steps)."""
        assert self.periods is not None and self.n_answers is not None  # there are several answers
        answers = np.arange(1, self.n_answers + 1)
        return self.periods[:, np.newaxis, :] == answers[:, np.newaxis]


def noise_keys(seed: int, stream: str, index: int, n_trials: int) -> NDArray[np.uint64]:
    """The keys of the noise of a batch of trials (`Trials`)."""
    return words(rng_for(seed, f"noise of {stream}", index), n_trials)


def _places(arrays: Mapping[str, NDArray[Any]]) -> tuple[tuple[str, int], ...]:
    return tuple((name, id(array)) for name, array in arrays.items())


def join_trials(parts: Sequence[Trials]) -> Trials:
    """Join trials; patterns and targets shared by several parts are stored once.

    Raises
    ------
    ValueError
        If they differ in the number of answers, or are episodes in different environments.
        If some have advantages or labels and others have not, or their numbers of answers or the
        widths of their labels differ.
    """
    first = parts[0]
    if any(part.environment is not first.environment for part in parts):
        raise ValueError(
            "episodes in different environments cannot be joined: a task has one environment, the "
            "same object every time (a class attribute, or a cached_property)"
        )
    if first.environment is not None:
        return first._more_episodes(_joined([part.noise_keys for part in parts]))
    if any(part.n_answers != first.n_answers for part in parts):
        raise ValueError("trials with different numbers of answers cannot be joined")
    if len({part.advantage is None for part in parts}) > 1:
        raise ValueError("trials with and without advantages cannot be joined")
    if len({part.labels is None or part.most_labels for part in parts}) > 1:
        raise ValueError(
            "trials with and without labels, or with rows of labels of different lengths, cannot "
            "be joined"
        )
    inputs, pattern = _stored_once([{"inputs": part.inputs} for part in parts])
    targets, target = _stored_once([part.of_targets for part in parts])
    return Trials(
        **inputs,
        **targets,
        pattern=_joined([part.pattern + k for part, k in zip(parts, pattern, strict=True)]),
        target=_joined([part.target + k for part, k in zip(parts, target, strict=True)]),
        n_answers=first.n_answers,
        noise=_joined([part.noise_keys for part in parts]),
        lengths=_joined_lengths(parts),
    )


def _joined_lengths(parts: Sequence[Trials]) -> NDArray[np.int64] | None:
    """The lengths of all trials, if some have lengths of their own."""
    if all(part.lengths is None for part in parts):
        return None
    return _joined([part.steps for part in parts])


def _stored_once(
    parts: Sequence[Mapping[str, NDArray[Any]]],
) -> tuple[dict[str, Any], list[int]]:
    """Arrays of all parts, the same ones once, and the row at which those of each part begin."""
    beginnings: dict[tuple[tuple[str, int], ...], int] = {}
    owners, rows, n_rows = [], [], 0
    for part in parts:
        # Equal targets may count in different steps.
        key = _places(part)
        if key not in beginnings:
            beginnings[key] = n_rows
            owners.append(part)
            n_rows += len(next(iter(part.values())))
        rows.append(beginnings[key])
    return {name: _joined([part[name] for part in owners]) for name in owners[0]}, rows


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
