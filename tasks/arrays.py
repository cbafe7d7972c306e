"""Your own data: inputs and targets as arrays, or in a file ``.npz``.

::

    task = ArrayTask(inputs=spikes, targets=classes, answer=50 * ms)

Streams show the parts of the data as those of all data sets do (`eprop_brian.tasks.datasets`): what
is held out to validate, to confirm a validation, and to test, is never learned from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from brian2.units import Quantity
from numpy.typing import ArrayLike, NDArray

from eprop_brian.base.checks import whole_steps
from eprop_brian.base.files import read_numbers
from eprop_brian.base.suggestions import unknown
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.datasets import DataError, Part, examples_in_order, part_of, shuffled
from eprop_brian.tasks.trials import Trials

__all__ = ["ArrayTask"]

#: Arrays of a file: of the trials to learn from, and of others that are kept apart.
_OWN = ("inputs", "targets")
_NAMES = (*_OWN, *(f"{part}_{name}" for part in ("validation", "test") for name in _OWN))
Pair = tuple[ArrayLike, ArrayLike]


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayTask(Task):
    """Learn from arrays of your own.

    By its name and the file's: ``arrays:my_data.npz``. The file has the arrays `inputs` and
    `targets`, and may have ``validation_inputs``, ``validation_targets``, ``test_inputs`` and
    ``test_targets``.

    Parameters
    ----------
    file : str
        A file ``.npz``, in place of the arrays.
    answer : Quantity, optional
        Last part of a trial, in which the error counts. Default: the whole trial.
    validation_fraction, test_fraction : float
        Shares of the trials that are held out, unless the arrays say which. Half of the first
        validates, the other half confirms a validation. With 0, or where there is one trial alone,
        the trials to learn from are shown.
    solved_at : float, optional
        The task counts as solved when the fraction of wrong trials is below it.
    class_names : sequence of str, optional
        Names of the classes, in order. Evaluations then count which class was taken for which, and
        figures of a run show it (``confusion_trials``).
    dt : Quantity
        Length of a time step, 1 ms by default.
    inputs : array, shape (n_trials, n_steps, n_inputs), optional
        Bool: spikes. Float: analog values.
    targets : array, optional
        Whole numbers of shape (n_trials,): the class of each trial, from 0 on. Floats of shape
        (n_trials, n_steps, n_outputs), or (n_trials, 1, n_outputs) where they are constant: signals
        that the readouts follow.
    validation, test : pair of arrays, optional
        Inputs and targets of trials that are held out.
    kept : mapping of str to array, optional
        All arrays by their names in a file, as `arrays` returns them.

    Attributes
    ----------
    arrays : dict of str to array

    Raises
    ------
    DataError
        If the file is missing, is damaged or lacks an array.
    ValueError
        If arrays have other shapes or types, or do not fit each other, or names are too few, come
        twice, or are given where there are no classes.
    """

    name: ClassVar[str] = "arrays"
    description: ClassVar[str] = "learn from inputs and targets of your own, arrays in a file .npz"
    source: ClassVar[str] = "your own data"
    argument: ClassVar[str] = "file"
    fixed_examples: ClassVar[bool] = True

    file: str = ""
    answer: Quantity | None = None
    validation_fraction: float = 0.2
    test_fraction: float = 0.2
    solved_at: float | None = None
    class_names: Sequence[str] = ()  # type: ignore[misc]
    inputs: InitVar[ArrayLike | None] = None
    targets: InitVar[ArrayLike | None] = None
    validation: InitVar[Pair | None] = None
    test: InitVar[Pair | None] = None
    kept: InitVar[Mapping[str, Any] | None] = None

    def __post_init__(
        self,
        inputs: ArrayLike | None,
        targets: ArrayLike | None,
        validation: Pair | None,
        test: Pair | None,
        kept: Mapping[str, Any] | None,
    ) -> None:
        arrays = dict(kept or {})
        pairs = {"": (inputs, targets), "validation_": validation, "test_": test}
        for part, pair in pairs.items():
            for name, array in zip(_OWN, pair or (None, None), strict=True):
                if array is not None:
                    arrays[f"{part}{name}"] = np.asarray(array)
        if arrays and self.file and kept is None:
            raise ValueError("file and arrays exclude each other: the file has the arrays")
        if arrays:
            self.__dict__["arrays"] = _checked(arrays, "")
        for name in ("validation_fraction", "test_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 to less than 1, not {getattr(self, name)}")
        if isinstance(self.class_names, str):
            raise ValueError(f"class_names must be a list of names, not '{self.class_names}'")
        object.__setattr__(self, "class_names", tuple(self.class_names))
        if self.class_names:
            self._check_class_names()
        super().__post_init__()
        self.n_examples("train")  # raises where too few trials are left to learn from

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the file holds, read once."""
        if not self.file:
            raise DataError(
                "the task 'arrays' needs the setting file, an .npz with the arrays 'inputs' and "
                "'targets': arrays:my_data.npz"
            )
        path = Path(self.file).expanduser()
        try:
            arrays = read_numbers(path)
            return _checked({k: np.asarray(v) for k, v in arrays.items()}, f"{path}: ")
        except ValueError as error:
            raise DataError(str(error)) from None

    @cached_property
    def n_steps(self) -> int:
        """Length of a trial in steps."""
        return int(self.arrays["inputs"].shape[1])

    @cached_property
    def n_inputs(self) -> int:
        """Number of inputs."""
        return int(self.arrays["inputs"].shape[2])

    @cached_property
    def n_outputs(self) -> int:
        """Number of classes, or of target signals."""
        if self._has_classes:
            return len(self.class_names) or self._n_classes
        return int(self.arrays["targets"].shape[2])

    @cached_property
    def learning_window(self) -> int:
        """The part in which the error counts, in steps."""
        return self.n_steps if self.answer is None else whole_steps("answer", self.answer, self.dt)

    @cached_property
    def loss(self) -> str:  # type: ignore[override]
        """That of classes, or of signals that are followed."""
        return "softmax_cross_entropy" if self._has_classes else "squared_error"

    @property
    def error_threshold(self) -> float | None:  # type: ignore[override]
        """See `Task.error_threshold`."""
        return self.solved_at

    @property
    def _has_classes(self) -> bool:
        return self.arrays["targets"].ndim == 1

    @property
    def _n_classes(self) -> int:
        """Number of classes that the targets have."""
        return 1 + max(int(self.arrays[n].max()) for n in self.arrays if n.endswith("targets"))

    def _check_class_names(self) -> None:
        """Raise ValueError unless the classes can have these names."""
        if not self._has_classes:
            raise ValueError("class_names are names of classes, but the targets are signals")
        if len(self.class_names) < self._n_classes:
            raise ValueError(
                f"class_names has {len(self.class_names)} names, but the targets have "
                f"{self._n_classes} classes"
            )
        for name in self.class_names:
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"class_names must be names, not {name!r}")
            if self.class_names.count(name) > 1:
                raise ValueError(f"class_names has the name '{name}' twice")

    def confusions(self, outputs: ArrayLike, trials: Trials) -> dict[str, NDArray[np.int64]]:
        """Count how often each class was taken for which, where classes have names.

        See `Task.confusions`.
        """
        if not self.class_names:
            return {}
        n, right = self.n_outputs, trials.classes(self.learning_window)[:, 0]
        answers = np.asarray(outputs).reshape(len(right), n).argmax(axis=1)
        return {"trials": np.bincount(right * n + answers, minlength=n * n).reshape(n, n)}

    @cached_property
    def _rows(self) -> dict[Part, tuple[str, NDArray[np.intp]]]:
        """Of each part, the beginning of its arrays' names, and their rows."""
        n = len(self.arrays["inputs"])
        order, everything = shuffled(n), np.arange(n)
        shares = {"validation": self.validation_fraction, "test": self.test_fraction}
        held: dict[str, NDArray[np.intp]] = {}
        for name, share in shares.items():
            if f"{name}_inputs" in self.arrays or n == 1 or not share:
                continue
            # Two parts come of what is held out to validate.
            size = max(2 if name == "validation" else 1, round(share * n))
            held[name], order = order[:size], order[size:]
        if not len(order):
            raise ValueError(
                f"of {n} trials none is left to learn from: set validation_fraction and "
                "test_fraction to 0, or give more trials"
            )
        rows: dict[Part, tuple[str, NDArray[np.intp]]] = {"train": ("", order)}
        for name in shares:
            where = f"{name}_"
            if f"{name}_inputs" in self.arrays:
                of_part = np.arange(len(self.arrays[f"{name}_inputs"]))
            else:
                where, of_part = "", held.get(name, everything)
            if name == "test":
                rows["test"] = where, of_part
                continue
            half = len(of_part) // 2
            is_split = half and (where or name in held)
            rows["validation"] = where, of_part[:half] if is_split else of_part
            rows["confirmation"] = where, of_part[half:] if is_split else of_part
        return rows

    def n_examples(self, stream: str) -> int:
        """Return how many trials there are in the part that belongs to the stream."""
        return len(self._rows[part_of(stream)][1])

    @cached_property
    def _classes(self) -> NDArray[np.float64]:
        return np.eye(self.n_outputs)[:, np.newaxis, :]

    def trials(self, seed: int, stream: str, index: int, n_trials: int) -> Trials:
        """Show trials of the part that belongs to the stream, each before any comes again.

        See `Task.trials`.
        """
        where, of_part = self._rows[part_of(stream)]
        rows = of_part[examples_in_order(seed, stream, index, n_trials, len(of_part))]
        inputs, targets = (self.arrays[f"{where}{name}"] for name in _OWN)
        # One trial alone is shared by all batches, as the pattern of a frozen task is.
        pattern = rows if len(inputs) == 1 else np.arange(n_trials)
        shown = inputs if len(inputs) == 1 else inputs[rows]
        target = pattern
        if self._has_classes:
            target, targets = targets[rows], self._classes
        elif len(targets) > 1:
            targets = targets[rows]
        return Trials(inputs=shown, targets=targets, pattern=pattern, target=target)


def _checked(arrays: dict[str, NDArray[Any]], where: str) -> dict[str, NDArray[Any]]:
    """Check names, shapes and types of arrays; numbers become floats, but for classes."""
    for name in arrays:
        if name not in _NAMES:
            raise ValueError(unknown("array", name, _NAMES, where.rstrip(": ")))
    for name in _OWN:
        if name not in arrays:
            raise ValueError(f"{where}the array '{name}' is missing")
    checked = {}
    for name, array in arrays.items():
        check = _inputs if name.endswith("inputs") else _targets
        checked[name] = check(f"{where}{name}", array)
    for part in ("", "validation_", "test_"):
        if f"{part}inputs" not in checked and f"{part}targets" not in checked:
            continue
        for name in _OWN:
            if f"{part}{name}" not in checked:
                raise ValueError(f"{where}the array '{part}{name}' is missing")
        _check_pair(where, part, checked)
    return checked


def _inputs(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in "bf":
        raise ValueError(
            f"{name} must be bool (spikes) or float (analog values), not {array.dtype}: write "
            ".astype(bool) or .astype(float)"
        )
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(
            f"{name} must have the shape (n_trials, n_steps, n_inputs), none of them 0, not "
            f"{array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, found NaN or infinity")
    return array if array.dtype == bool else array.astype(float, copy=False)


def _targets(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind in "iu" and array.ndim == 1 and len(array):
        if array.min() < 0:
            raise ValueError(f"{name} must be classes from 0 on, not {array.min()}")
        return array.astype(np.intp, copy=False)
    if array.dtype.kind != "f" or array.ndim != 3 or 0 in array.shape:
        raise ValueError(
            f"{name} must be whole numbers of shape (n_trials,), the class of each trial, or "
            "floats of shape (n_trials, n_steps or 1, n_outputs), signals to follow; not "
            f"{array.dtype} of shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, found NaN or infinity")
    return array.astype(float, copy=False)


def _check_pair(where: str, part: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Check that inputs and targets of a part fit each other, and the trials to learn from."""
    inputs, targets = (arrays[f"{part}{name}"] for name in _OWN)
    if len(inputs) != len(targets):
        raise ValueError(
            f"{where}{part}inputs has {len(inputs)} trials, {part}targets {len(targets)}"
        )
    if targets.ndim == 3 and targets.shape[1] not in (1, inputs.shape[1]):
        raise ValueError(
            f"{where}{part}targets has {targets.shape[1]} steps; expected {inputs.shape[1]} as in "
            f"{part}inputs, or 1 for targets that are constant over a trial"
        )
    for name, own in zip(_OWN, (inputs, targets), strict=True):
        first = arrays[name]
        same = own.ndim == first.ndim and own.dtype == first.dtype
        if not same or (own.ndim == 3 and own.shape[1:] != first.shape[1:]):
            raise ValueError(
                f"{where}{part}{name} is {own.dtype} with trials of shape {own.shape[1:]}, {name} "
                f"{first.dtype} of {first.shape[1:]}: both must be the same"
            )
