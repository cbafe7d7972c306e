r"""Frame-wise classification: what tasks share whose trials are utterances, frame by frame.

Each feature, with its mean and standard deviation taken out (:math:`z`; by default those over all
utterances for training), becomes, by the setting `coding`,

- ``"spikes"``: two input neurons, one for values above the mean, one for those below. In every step
  each adds :math:`\min(|z|/3, 1)` to a sum while the value is on its side, and fires when the sum
  passes the next whole number: three standard deviations away from the mean an input fires in every
  step, and nothing is left to chance;
- ``"analog"``: one input with the value :math:`z` in every step of the frame, as in the published
  network.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eprop_brian.base.checks import check_count, check_real
from eprop_brian.base.random import integers, normals, rng_for
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.datasets import DataError, Part, examples_in_order, part_of
from eprop_brian.tasks.phones import UNCOUNTED
from eprop_brian.tasks.trials import NO_LABEL, Trials

__all__ = ["ANSWERS", "CODINGS", "NORMALISATIONS", "FrameTask", "Utterance", "spike_code"]

CODINGS = ("spikes", "analog")
#: What the answer is: each frame of its own, the utterance, or the sequence of its labels.
ANSWERS = ("frames", "utterance", "labels")
#: Whose mean and standard deviation are taken out.
NORMALISATIONS = ("training", "utterance")
#: Standard deviations from the mean at which an input fires in every step.
_FULL_SCALE = 3.0


def spike_code(z: ArrayLike, steps_per_frame: int) -> NDArray[np.bool_]:
    """Turn normalised features into spikes, as the module's text describes.

    Parameters
    ----------
    z : array of float, shape (n_frames, n_features)
    steps_per_frame : int

    Returns
    -------
    spikes : bool array, shape (n_frames * steps_per_frame, 2 * n_features)
        First the inputs for values above the mean, then those for values below.
    """
    z = np.asarray(z, dtype=float)
    drive = np.clip(np.concatenate([z, -z], axis=1) / _FULL_SCALE, 0.0, 1.0)
    # From a half: a constant drive then fires in the middle of its intervals.
    total = 0.5 + np.cumsum(np.repeat(drive, steps_per_frame, axis=0), axis=0)
    return np.diff(np.floor(total), axis=0, prepend=0.0) > 0


@dataclass(frozen=True)
class Utterance:
    """An utterance that was read.

    Attributes
    ----------
    name : str
        What errors call it.
    features : float array, shape (n_frames, n_features)
    labels : sequence of str, length n_frames
        The class of each frame; `eprop_brian.tasks.phones.UNCOUNTED` where none counts.
    """

    name: str
    features: NDArray[np.floating[Any]] = field(repr=False)
    labels: Sequence[str] = field(repr=False)


class _LossOfAnswer:
    """CTC where the answer of a task is a sequence of labels, else (and of the class) softmax."""

    def __get__(self, task: FrameTask | None, _: type) -> str:
        return "ctc" if task is not None and task.answer == "labels" else "softmax_cross_entropy"


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameTask(Task):
    """Base class: say for every frame of an utterance, or once for all, what it is.

    Parameters
    ----------
    coding : {"spikes", "analog"}
        How features become inputs, as the module's text describes.
    n_frames : int
        Frames of a trial; of longer utterances, as many in a row from a place drawn at random.
    steps_per_frame : int
        Time steps for which a frame is shown.
    feature_noise : float
        Standard deviation of normal noise on the normalised features, in training alone: small data
        sets are then learned by heart less.
    normalisation : {"training", "utterance"}
        Whose mean and standard deviation are taken out of each feature: those of all utterances for
        training, or the utterance's own, which leaves less of the voice in them.
    dt : Quantity
        Length of a time step, 1 ms by default.

    Notes
    -----
    A trial ends with its utterance (`Trials.lengths`). Where the answer is a sequence of labels,
    none may be cut: labels would be those of frames that are not shown. The classes are the labels
    of the utterances for training, in alphabetical order, and `n_inputs` is the number of features,
    or twice that with spikes.
    """

    #: What the answer can be.
    answers: ClassVar[tuple[str, ...]] = ANSWERS
    loss: ClassVar[str] = _LossOfAnswer()  # type: ignore[assignment]

    coding: str = "spikes"
    n_frames: int = 100
    steps_per_frame: int = 5
    feature_noise: float = 0.0
    normalisation: str = "training"

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("coding", self.coding, CODINGS),
            ("answer", self.answer, self.answers),
            ("normalisation", self.normalisation, NORMALISATIONS),
        ):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        check_count("n_frames", self.n_frames)
        check_count("steps_per_frame", self.steps_per_frame)
        check_real("feature_noise", self.feature_noise, minimum=0)
        super().__post_init__()

    @property
    @abstractmethod
    def utterances(self) -> Mapping[Part, Sequence[Any]]:
        """The utterances of each part: what `read` takes."""

    @abstractmethod
    def read(self, utterance: Any) -> Utterance:
        """Read one of the `utterances`."""

    @property
    def answer(self) -> str:
        """One of `ANSWERS`: what the answer is."""
        return "frames"

    @property
    def one_class(self) -> bool:
        """Whether all frames of an utterance have the same class, which is the utterance's."""
        return False

    @property
    def n_steps(self) -> int:
        """Length of a trial in steps."""
        return self.n_frames * self.steps_per_frame

    @property
    def learning_window(self) -> int:
        """The whole trial; `Trials.periods` marks the steps that count."""
        return self.n_steps

    @property
    def n_inputs(self) -> int:
        """One input for each feature, two with spikes."""
        return len(self._training[1]) * (1 if self.coding == "analog" else 2)

    @property
    def n_outputs(self) -> int:
        """One readout for each class; for sequences of labels, and last the blank."""
        return len(self.classes) + (self.answer == "labels")

    @property
    def classes(self) -> list[str]:
        """The labels of the utterances for training, in alphabetical order."""
        return self._training[0]

    @property
    def class_names(self) -> Sequence[str]:  # type: ignore[override]
        """See `Task.class_names`."""
        return self.classes

    def n_examples(self, stream: str) -> int:
        """Return how many utterances there are in the part that belongs to the stream."""
        return len(self.utterances[part_of(stream)])

    def trials(self, seed: int, stream: str, index: int, n_trials: int) -> Trials:
        """Show utterances, or parts of them, of the part that belongs to the stream.

        See `Task.trials`. `inputs` has the shape (n_trials, n_steps, n_inputs), `targets` holds the
        one-hot class of each trial's frames, shape (n_trials, n_steps, n_outputs), and `periods`
        numbers the frames from 1; where the utterance is the answer, it is 1 in all of them. Where
        its labels are, they are classes one after the other, frames of the same class one label.
        """
        utterances = self.utterances[part_of(stream)]
        which = examples_in_order(seed, stream, index, n_trials, len(utterances))
        rng = rng_for(seed, stream, index)
        analog = self.coding == "analog"
        inputs = np.zeros((n_trials, self.n_steps, self.n_inputs), dtype=float if analog else bool)
        targets = np.zeros((n_trials, self.n_steps, self.n_outputs))
        periods = np.zeros((n_trials, self.n_steps), dtype=np.int32)
        lengths = np.zeros(n_trials, dtype=np.int32)
        of_labels = self.answer == "labels"
        labels = np.full((n_trials, self._most_labels), NO_LABEL) if of_labels else None
        for trial, utterance in enumerate(which):
            z, classes = self.normalised(self.read(utterances[utterance]))
            first = int(integers(rng, max(1, len(z) - self.n_frames + 1), 1)[0])
            if np.all(classes[first : first + self.n_frames] < 0):  # at least one has to count
                first = int(np.argmax(classes >= 0))
            frames = slice(first, first + self.n_frames)
            z, classes = z[frames], classes[frames]
            if stream == "train" and self.feature_noise:
                z = z + self.feature_noise * normals(rng, z.shape)
            frame = np.repeat(np.arange(len(z)), self.steps_per_frame)
            lengths[trial] = len(frame)
            inputs[trial, : len(frame)] = (
                z[frame] if analog else spike_code(z, self.steps_per_frame)
            )
            (counted,) = np.nonzero(classes[frame] >= 0)
            targets[trial, counted, classes[frame[counted]]] = 1.0
            if labels is not None:
                sequence = _sequence(classes)
                labels[trial, : len(sequence)] = sequence
                periods[trial, : len(frame)] = 1 + frame
            else:
                periods[trial, counted] = 1 + frame[counted] if self.answer == "frames" else 1
        return Trials(
            inputs=inputs,
            targets=targets,
            pattern=np.arange(n_trials),
            target=np.arange(n_trials),
            periods=periods,
            n_answers=1 if self.answer == "utterance" else self.n_frames,
            labels=labels,
            lengths=lengths,
        )

    def normalised(self, utterance: Utterance) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return normalised features and classes of an utterance.

        Returns
        -------
        z : float array, shape (n_frames, n_features)
        classes : int array, shape (n_frames,)
            Index among `classes`; -1 in frames that do not count.

        Raises
        ------
        DataError
            If it has another number of features than others, a class that no utterance for
            training has, or no frame that counts.
        """
        classes, mean, deviation = self._training
        _check(utterance, mean)
        number = {label: k for k, label in enumerate(classes)} | {UNCOUNTED: -1}
        unseen = sorted(set(utterance.labels) - set(number))
        if unseen:
            raise DataError(
                f"{utterance.name}: {unseen[0]!r} is the class of no frame for training"
            )
        if self.normalisation == "utterance":
            mean = utterance.features.mean(axis=0, dtype=float)
            deviation = _nonzero(utterance.features.std(axis=0, dtype=float))
        z = (utterance.features - mean) / deviation
        return z, np.array([number[label] for label in utterance.labels], dtype=np.intp)

    def confusions(self, outputs: ArrayLike, trials: Trials) -> dict[str, NDArray[np.int64]]:
        """Count how often each class was taken for which, in frames and in utterances.

        See `Task.confusions`. An utterance of one class is taken for the class whose posteriors,
        summed over its frames, are largest.
        """
        if self.answer == "labels":
            return {}
        present = trials.counted(self.learning_window) > 0
        outputs = np.asarray(outputs, dtype=float).reshape(*present.shape, -1)
        classes, counts = trials.classes(self.learning_window), {}
        if self.answer == "frames":
            answers = outputs.argmax(axis=2)
            counts["frames"] = self._counted(classes[present], answers[present])
        if self.one_class:
            total = np.where(present[..., np.newaxis], outputs, 0.0).sum(axis=1)
            right = np.take_along_axis(classes, present.argmax(axis=1)[:, np.newaxis], axis=1)
            counts["utterances"] = self._counted(right[:, 0], total.argmax(axis=1))
        return counts

    def _counted(self, right: NDArray[np.intp], answers: NDArray[np.intp]) -> NDArray[np.int64]:
        n = self.n_outputs
        return np.bincount(right * n + answers, minlength=n * n).reshape(n, n)

    @cached_property
    def _most_labels(self) -> int:
        """Most labels of any utterance, all of which fit into a trial."""
        everything = [u for members in self.utterances.values() for u in members]
        classes = [self.normalised(self.read(u))[1] for u in everything]
        longest = max(map(len, classes))
        if longest > self.n_frames:
            raise ValueError(
                f"{self.name}: n_frames must be {longest} or greater, as many as the longest "
                f"utterance has, where answer = 'labels', got {self.n_frames}"
            )
        return max(len(_sequence(one)) for one in classes)

    @cached_property
    def _training(self) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]]:
        """Classes of the frames for training, and mean and standard deviation of each feature."""
        labels: set[str] = set()
        count, total, squares = 0, np.zeros(()), np.zeros(())
        for part, utterances in self.utterances.items():
            if part == "test":
                continue
            for utterance in map(self.read, utterances):
                _check(utterance, total)
                labels.update(utterance.labels)
                count += len(utterance.features)
                total = total + utterance.features.sum(axis=0, dtype=float)
                squares = squares + np.square(utterance.features, dtype=float).sum(axis=0)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
        return sorted(labels - {UNCOUNTED}), mean, _nonzero(deviation)


def _nonzero(deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where it is 0: a constant feature carries no information, and nothing is divided by 0."""
    return np.where(deviation > 0, deviation, 1.0)


def _sequence(classes: NDArray[np.intp]) -> NDArray[np.intp]:
    """The classes of frames one after the other, those that last once; -1 stands between."""
    begins = np.diff(classes, prepend=-1) != 0
    return classes[begins & (classes >= 0)]


def _check(utterance: Utterance, others: NDArray[np.float64]) -> None:
    """Raise DataError for other features than there are elsewhere (0-d: none so far), or none."""
    n_features = utterance.features.shape[1]
    if others.ndim and n_features != len(others):
        raise DataError(f"{utterance.name} has {n_features} features a frame, others {len(others)}")
    if not {*utterance.labels} - {UNCOUNTED}:
        raise DataError(f"{utterance.name} is empty: it has no frame that counts")
