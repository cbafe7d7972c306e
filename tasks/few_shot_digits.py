"""Few-shot classification: tell apart classes of images of which one example each was shown.

The images are handwritten digits that ship with scikit-learn (`eprop_brian.tasks.digits`), each
turned by 0, 90, 180 and 270 degrees: a digit in one orientation is a class, which makes 40. In a
task some of them are drawn and numbered at random. The support is one image of each; who teaches
hears, beside the image, the number of its class. The queries are other images of these classes. A
pixel is put in as its intensity less the mean of its image, since what all digits share says
nothing about a class.

Digits of the stream ``"test"`` are never part of a task of another stream, in no orientation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import numpy as np
from brian2.units import Quantity, ms
from numpy.typing import NDArray

from eprop_brian.base.checks import check_positive, check_real, whole_steps
from eprop_brian.base.random import rng_for
from eprop_brian.tasks.datasets import import_library
from eprop_brian.tasks.families import TaskBatch, TaskFamily
from eprop_brian.tasks.trials import Trials

__all__ = ["FewShotDigits"]

_N_DIGITS, _N_TURNS, _N_PIXELS = 10, 4, 64
_BRIGHTEST = 16.0


@dataclass(frozen=True, kw_only=True, eq=False)
class FewShotDigits(TaskFamily):
    """Tell apart classes of turned digits after one example of each.

    Parameters
    ----------
    n_ways : int
        Classes of a task (5).
    n_shots : int
        Examples of each to learn from (1).
    n_queries : int
        Images of each by which a task is tested (2).
    held_out : int
        The last digits, which are for the stream ``"test"`` alone, in all orientations (3).
    intensity : float
        Factor of the pixels' values, which are put in in every step (1).
    duration : Quantity
        Length of a trial (40 ms).
    answer_duration : Quantity
        Last part of a trial, in which the answer counts (10 ms).
    dt : Quantity
        Length of a time step, 1 ms by default.

    Raises
    ------
    DataError
        If scikit-learn is not installed.
    ValueError
        If there are fewer classes than a task has, or a setting is out of range.
    """

    name: ClassVar[str] = "few-shot-digits"
    description: ClassVar[str] = "tell apart turned digits after one example of each"
    source: ClassVar[str] = (
        "our own, on the images of Alpaydin and Kaynak 1998, Optical recognition of handwritten "
        "digits, UCI Machine Learning Repository, doi:10.24432/C50P49, as they ship with "
        "scikit-learn"
    )
    loss: ClassVar[str] = "softmax_cross_entropy"
    measure: ClassVar[str] = "fraction of wrong answers"

    n_ways: int = 5
    n_shots: int = 1
    n_queries: int = 2
    held_out: int = 3
    intensity: float = 1.0
    duration: Quantity = field(default_factory=lambda: 40 * ms)
    answer_duration: Quantity = field(default_factory=lambda: 10 * ms)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_ways", "n_shots", "n_queries", "held_out"):
            check_positive(name, getattr(self, name))
        check_real("intensity", self.intensity, minimum=0)
        fewest = _N_TURNS * min(self.held_out, _N_DIGITS - self.held_out)
        if not 2 <= self.n_ways <= fewest:
            raise ValueError(
                f"n_ways must be from 2 to {fewest}, the fewest classes of a stream with "
                f"held_out = {self.held_out}, not {self.n_ways}"
            )
        if self.learning_window > self.n_steps:
            raise ValueError("answer_duration is longer than the trial, duration")
        _classes()  # raises now if the library is missing

    @property
    def n_inputs(self) -> int:
        """Pixels, then the number of the class."""
        return _N_PIXELS + self.n_ways

    @property
    def n_teaching(self) -> int:
        """The number of the class, one input for each."""
        return self.n_ways

    @property
    def n_outputs(self) -> int:
        """An output for each class of a task."""
        return self.n_ways

    @property
    def n_steps(self) -> int:
        """Steps of a trial."""
        return whole_steps("duration", self.duration, self.dt)

    @property
    def learning_window(self) -> int:
        """Steps in which the answer counts."""
        return whole_steps("answer_duration", self.answer_duration, self.dt)

    @property
    def n_support(self) -> int:
        """All examples of a task."""
        return self.n_ways * self.n_shots

    @property
    def n_query(self) -> int:
        """All images by which a task is tested."""
        return self.n_ways * self.n_queries

    def draw(self, seed: int, stream: str, index: int, n_tasks: int) -> TaskBatch:
        """Draw classes and images, in any order; in queries nobody says what the class is."""
        rng = rng_for(seed, f"{self.name} {stream}", index)
        first = _N_TURNS * (_N_DIGITS - self.held_out)
        names = np.arange(first, _N_TURNS * _N_DIGITS) if stream == "test" else np.arange(first)
        images = _classes()
        shown: dict[str, list[NDArray[Any]]] = {"support": [], "query": []}
        numbers: dict[str, list[NDArray[Any]]] = {"support": [], "query": []}
        for _ in range(n_tasks):
            own: dict[str, list[NDArray[Any]]] = {"support": [], "query": []}
            for name in rng.permutation(names)[: self.n_ways]:
                rows = rng.permutation(len(images[name]))[: self.n_shots + self.n_queries]
                own["support"].append(images[name][rows[: self.n_shots]])
                own["query"].append(images[name][rows[self.n_shots :]])
            for part, of_classes in own.items():
                order = rng.permutation(len(of_classes) * len(of_classes[0]))
                shown[part].append(np.concatenate(of_classes)[order])
                numbers[part].append(order // len(of_classes[0]))
        support, query = (
            self._trials(np.concatenate(shown[part]), np.concatenate(numbers[part]), labelled)
            for part, labelled in (("support", True), ("query", False))
        )
        return TaskBatch(support, query, n_tasks)

    def _trials(
        self, images: NDArray[np.float64], number: NDArray[np.intp], labelled: bool
    ) -> Trials:
        """Trials of images, shape (n_trials, 64), and the numbers of their classes."""
        one_hot = np.eye(self.n_ways)
        pixels = self.intensity * images
        values = np.concatenate([pixels, labelled * one_hot[number]], axis=1)
        inputs = np.repeat(values[:, np.newaxis], self.n_steps, axis=1)
        return Trials(inputs, one_hot[:, np.newaxis], np.arange(len(inputs)), number)

    def errors(self, outputs: NDArray[np.float64], query: Trials) -> NDArray[np.float64]:
        """Return 1 where the answer is wrong, else 0; see `TaskFamily.errors`."""
        answers = outputs[:, -self.learning_window :].mean(axis=1).argmax(axis=1)
        return (answers != query.classes(self.learning_window)[:, 0]).astype(float)


@cache
def _classes() -> list[NDArray[Any]]:
    """Images of every class, turned, (n_images, 64); the orientations of a digit in a row."""
    data = import_library("sklearn.datasets", "scikit-learn").load_digits()
    images = data.images / _BRIGHTEST
    images = images - images.mean(axis=(1, 2), keepdims=True)
    return [
        np.rot90(images[data.target == digit], turns, axes=(1, 2)).reshape(-1, _N_PIXELS)
        for digit in range(_N_DIGITS)
        for turns in range(_N_TURNS)
    ]
