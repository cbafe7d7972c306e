"""Classification of stored examples: what tasks on a data set share.

Which examples a trial may show depends on its stream: "train" shows those that are there to learn
from, a stream whose name begins with "validation" others that were held out of these, and every
other stream the test examples. A choice made by validation thus never sees the test examples, and
what confirms a validation ("validation 10 again") shows examples that no validation does.

The examples of a stream come in an order shuffled by the seed, each once before any comes again:
with 360 of them, a test of 6 batches of 60 trials shows each exactly once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

import numpy as np
from brian2.units import Quantity
from numpy.typing import NDArray

from eprop_brian.base.checks import check_count, whole_steps
from eprop_brian.base.random import permutation, rng_for
from eprop_brian.tasks.base import Task, is_confirmation
from eprop_brian.tasks.trials import Trials

__all__ = [
    "DataError",
    "DatasetTask",
    "Part",
    "data_folder",
    "examples_in_order",
    "files_of_halves",
    "held_out",
    "import_library",
    "part_of",
    "read_bytes",
    "shuffled",
]

Part = Literal["train", "validation", "confirmation", "test"]


class DataError(ValueError):
    """The data of a task, or the library that reads it, is missing or damaged."""


def import_library(name: str, install: str, extra: str = "datasets") -> ModuleType:
    """Import an optional library.

    Parameters
    ----------
    name : str
        Module to import, such as "sklearn.datasets".
    install : str
        Its name for ``pip install``.
    extra : str
        The package's extra that has it.

    Raises
    ------
    DataError
        If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise DataError(
            f"this task needs {install}, which is not installed: pip install {install}, or all "
            f'that such tasks can need with pip install "eprop_brian[{extra}]"'
        ) from None


def data_folder(task: str, path: str, holds: str, source: str) -> Path:
    """Return the folder that a task's setting `path` names.

    Parameters
    ----------
    task, path : str
    holds : str
        What must be in it.
    source : str
        Where to get it.

    Raises
    ------
    DataError
        If no folder is named or it does not exist; the message says what it should hold and where
        to get it.
    """
    expected = f"a folder with {holds} (get it from {source})"
    if not path:
        raise DataError(
            f"{task} brings no data along: set its path to {expected}; with the command, "
            "--set task.path=FOLDER"
        )
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise DataError(f"{task}: path = {path} is not a folder; it must be {expected}")
    return folder


def files_of_halves(task: str, path: str, suffix: str, holds: str, source: str) -> list[list[Path]]:
    """Return the files below the folders ``train`` and ``test`` (or in capitals) of a data set.

    Parameters
    ----------
    task, path, holds, source
        As for `data_folder`.
    suffix : str
        Of the files, such as ".wav"; ".WAV" is found too.

    Raises
    ------
    DataError
        If the folder or one of the halves is missing or has no such file.
    """
    folder, halves = data_folder(task, path, holds, source), []
    for half in ("train", "test"):
        places = [folder / half, folder / half.upper()]
        patterns = [f"*{suffix}", f"*{suffix.upper()}"]
        # As a set: where case does not matter, both names are the same folder.
        files = {f.resolve() for place in places for name in patterns for f in place.rglob(name)}
        if not files:
            raise DataError(
                f"{task}: there are no {suffix} files in {folder / half}; path must be a folder "
                f"with {holds} (get it from {source})"
            )
        halves.append(sorted(files))
    return halves


def read_bytes(path: Path) -> bytes:
    """Read a file of a data set.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def held_out(task: str, examples: Sequence[Any]) -> dict[Part, list[Any]]:
    """Split the examples to learn from: a tenth of them validates, and confirms, half each."""
    if len(examples) < 3:
        raise DataError(
            f"{task} needs at least three examples for training, one of them for validation and "
            "one to confirm it"
        )
    order = shuffled(len(examples))
    n = max(2, -(-len(examples) // 10))
    places: dict[Part, NDArray[np.intp]] = {
        "train": order[n:],
        "validation": order[: n // 2],
        "confirmation": order[n // 2 : n],
    }
    return {part: [examples[k] for k in which] for part, which in places.items()}


def part_of(stream: str) -> Part:
    """Return which part of a data set a stream of trials shows."""
    if stream.startswith("validation"):
        return "confirmation" if is_confirmation(stream) else "validation"
    return "train" if stream == "train" else "test"


def shuffled(n: int) -> NDArray[np.intp]:
    """Return the numbers below `n` in an order that is always the same.

    For splitting a data set: an example is in the same part whatever the seed of a run.
    """
    return permutation(rng_for(0, "split"), n)


def examples_in_order(
    seed: int, stream: str, index: int, n_trials: int, n_examples: int
) -> NDArray[np.intp]:
    """Return which examples a batch of trials shows, below `n_examples`, shape (n_trials,)."""
    first = check_count("index", index, minimum=0) * check_count("n_trials", n_trials)
    at = np.arange(first, first + n_trials)
    rounds, which = np.unique(at // n_examples, return_inverse=True)
    orders = [permutation(rng_for(seed, f"{stream}: order", int(n)), n_examples) for n in rounds]
    return np.array(orders)[which, at % n_examples]


@dataclass(frozen=True, kw_only=True, eq=False)
class DatasetTask(Task):
    """Base class: say which class an example of a data set has.

    Parameters
    ----------
    duration : Quantity
        Length of a trial.
    answer_duration : Quantity
        Last part of a trial, in which the error counts.
    dt : Quantity
        Length of a time step, 1 ms by default.
    """

    loss: ClassVar[str] = "softmax_cross_entropy"

    duration: Quantity
    answer_duration: Quantity

    @cached_property
    def n_steps(self) -> int:
        """Length of a trial in steps."""
        return whole_steps("duration", self.duration, self.dt)

    @cached_property
    def learning_window(self) -> int:
        """The part in which the error counts, in steps."""
        return whole_steps("answer_duration", self.answer_duration, self.dt)

    @abstractmethod
    def labels(self, part: Part) -> NDArray[np.intp]:
        """Return the class of each example of a part, shape (n_examples,)."""

    @abstractmethod
    def inputs(
        self, part: Part, rows: NDArray[np.intp], rng: np.random.Generator
    ) -> NDArray[np.bool_] | NDArray[np.float64]:
        """Return examples of a part as inputs of `Trials`, shape (n_rows, n_steps, n_inputs)."""

    def n_examples(self, stream: str) -> int:
        """Return how many examples there are in the part that belongs to the stream."""
        return len(self.labels(part_of(stream)))

    def rows(self, seed: int, stream: str, index: int, n_trials: int) -> NDArray[np.intp]:
        """Return which examples of their part `trials` with the same arguments shows.

        Returns
        -------
        rows : int array, shape (n_trials,)
        """
        return examples_in_order(seed, stream, index, n_trials, self.n_examples(stream))

    def trials(self, seed: int, stream: str, index: int, n_trials: int) -> Trials:
        """Show examples of the part that belongs to the stream.

        See `Task.trials`. `inputs` has the shape (n_trials, n_steps, n_inputs) and `targets`
        holds the one-hot classes, shape (n_outputs, 1, n_outputs).
        """
        part = part_of(stream)
        rows = self.rows(seed, stream, index, n_trials)
        return Trials(
            inputs=self.inputs(part, rows, rng_for(seed, stream, index)),
            targets=np.eye(self.n_outputs)[:, np.newaxis, :],
            pattern=np.arange(n_trials),
            target=self.labels(part)[rows],
        )
