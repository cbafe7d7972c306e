"""What crosses between a network and an environment of gymnasium, read from its spaces.

An observation, however nested, is a vector to the network: the components of ``Box`` spaces as
numbers, those of ``Discrete``, ``MultiDiscrete`` and ``MultiBinary`` spaces as numbers of classes
from 0 on; of ``Dict`` and ``Tuple`` spaces one part after the other. An action is a number from 0
on, or a vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eprop_brian.tasks.datasets import import_library

__all__ = ["Actions", "Observations", "read_actions", "read_observations", "shown"]

#: Where a bound begins to mean that there is none: older environments write the largest float32.
_UNBOUNDED = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class _Part:
    """A space within an observation that is no ``Dict`` or ``Tuple``.

    Attributes
    ----------
    keys : tuple
        Where it is in the observation.
    shape : tuple of int
    low, high : float array, shape (n_components,)
    classes : int array, shape (n_components,)
        How many classes there are, of which `low` is the first; 0 for a number.
    """

    keys: tuple[Any, ...]
    shape: tuple[int, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    classes: NDArray[np.intp]

    def vector(self, observation: Any) -> NDArray[np.float64]:
        """Take the part's components from an observation (ValueError if they do not fit)."""
        value, place = observation, _place(self.keys)
        for depth, key in enumerate(self.keys):
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                above = _place(self.keys[:depth])
                raise ValueError(f"{above} has no {key!r}: it is {shown(value)}") from None
        try:
            array = np.asarray(value)
        except ValueError:  # rows of different lengths
            array = np.array(None)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{place} is {shown(value)}, expected numbers of shape {self.shape}")
        if array.shape != self.shape:
            raise ValueError(f"{place} has the shape {array.shape}, expected {self.shape}")
        vector = array.astype(float).reshape(-1)
        self._check(vector, ~np.isfinite(vector))
        if not self.classes.any():
            return vector
        classes = self.classes > 0
        outside = (vector < self.low) | (vector > self.high) | (np.rint(vector) != vector)
        self._check(vector, classes & outside)
        return np.where(classes, vector - self.low, vector)

    def _check(self, vector: NDArray[np.float64], wrong: NDArray[np.bool_]) -> None:
        """Raise ValueError if a component is wrong."""
        if not wrong.any():
            return
        k, place = wrong.argmax(), _place(self.keys)
        which = f"component {k} of {place}" if self.shape else place
        expected = "a finite number"
        if self.classes[k]:
            expected = f"a whole number from {self.low[k]:g} to {self.high[k]:g}"
        raise ValueError(f"{which} is {vector[k]:g}, expected {expected}")


def _place(keys: tuple[Any, ...]) -> str:
    return "the observation" + "".join(f"[{key!r}]" for key in keys)


@dataclass(frozen=True, eq=False)
class Observations:
    """The components of an environment's observations.

    Attributes
    ----------
    parts : sequence
    low, high : float array, shape (n_components,)
        Their bounds; infinite where there are none.
    classes : int array, shape (n_components,)
        How many classes a component has, counted from 0; 0 for a number.
    """

    parts: Sequence[_Part]

    @cached_property
    def low(self) -> NDArray[np.float64]:
        return np.concatenate([part.low for part in self.parts])

    @cached_property
    def high(self) -> NDArray[np.float64]:
        return np.concatenate([part.high for part in self.parts])

    @cached_property
    def classes(self) -> NDArray[np.intp]:
        return np.concatenate([part.classes for part in self.parts])

    def __len__(self) -> int:
        return sum(part.low.size for part in self.parts)

    def vector(self, observation: Any) -> NDArray[np.float64]:
        """Make an observation a vector, shape (n_components,).

        Raises
        ------
        ValueError
            If it has another structure or shape, or a component is not finite or no class; the
            message says what came and what was expected.
        """
        return np.concatenate([part.vector(observation) for part in self.parts])


def read_observations(space: Any) -> Observations:
    """Read the space of an environment's observations.

    Raises
    ------
    TypeError
        If part of it is a space without numbers, such as ``Text``.
    """
    return Observations(tuple(_parts(space, ())))


def _parts(space: Any, keys: tuple[Any, ...]) -> Iterator[_Part]:
    spaces = import_library("gymnasium.spaces", "gymnasium", "gymnasium")
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            yield from _parts(part, (*keys, key))
        return
    if isinstance(space, spaces.Tuple):
        for number, part in enumerate(space.spaces):
            yield from _parts(part, (*keys, number))
        return
    if isinstance(space, spaces.Box):
        low, high, classes = _bounds(space.low), _bounds(space.high), np.array(0)
    elif isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        low, classes = np.asarray(space.start, dtype=float), _n_classes(space)
        high = low + classes - 1
    elif isinstance(space, spaces.MultiBinary):
        low, high, classes = np.array(0.0), np.array(1.0), np.array(2)
    else:
        raise TypeError(
            f"{_place(keys)} is of the space {space}: a network senses Box, Discrete, "
            "MultiDiscrete and MultiBinary spaces, and Dict and Tuple spaces of these"
        )
    low, high, classes = (np.broadcast_to(x, space.shape).reshape(-1) for x in (low, high, classes))
    yield _Part(keys, tuple(space.shape), low, high, classes)


def _n_classes(space: Any) -> NDArray[np.intp]:
    return np.asarray(space.n if hasattr(space, "n") else space.nvec).astype(np.intp)


def _bounds(bounds: ArrayLike) -> NDArray[np.float64]:
    bounds = np.asarray(bounds, dtype=float)
    return np.where(np.abs(bounds) >= _UNBOUNDED, np.copysign(np.inf, bounds), bounds)


@dataclass(frozen=True, eq=False)
class Actions:
    """What a network can do in an environment.

    Attributes
    ----------
    chosen : tuple of int
        The environment's names for the actions 0, 1, ... of the network; empty if they are vectors.
    low, high : float array
        Bounds of a vector, in the shape that the environment expects; infinite where there are
        none.
    dtype : numpy.dtype
        Of a vector.
    """

    chosen: tuple[int, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    dtype: np.dtype[Any]

    @property
    def n_actions(self) -> int:
        """Number of discrete actions; 0 if an action is a vector."""
        return len(self.chosen)

    @property
    def action_size(self) -> int:
        """Length of an action's vector; 0 if actions are discrete."""
        return 0 if self.chosen else self.low.size

    def converted(self, action: ArrayLike) -> Any:
        """Make the network's action one of the environment.

        A vector's component from -1 to 1 is scaled to its bounds, and clipped to them; without
        both bounds it stays as it is, but for the clipping.

        Parameters
        ----------
        action : int, or array of float of shape (action_size,)

        Raises
        ------
        ValueError
            If there is no such action, or it is not finite.
        """
        if self.chosen:
            number = np.asarray(action)
            if number.shape or number.dtype.kind not in "iu" or not 0 <= number < self.n_actions:
                raise ValueError(
                    f"there is no action {shown(action)}, expected a whole number from 0 to "
                    f"{self.n_actions - 1}"
                )
            return self.chosen[int(number)]
        vector = np.atleast_1d(np.asarray(action, dtype=float))
        if vector.shape != (self.action_size,):
            raise ValueError(
                f"the action has the shape {vector.shape}, expected ({self.action_size},)"
            )
        if not np.isfinite(vector).all():
            raise ValueError(f"the action is {shown(action)}, expected finite numbers")
        vector = vector.reshape(self.low.shape)
        bounded = np.isfinite(self.low) & np.isfinite(self.high)
        low, high = np.where(bounded, self.low, -1.0), np.where(bounded, self.high, 1.0)
        scaled = low + (vector + 1) / 2 * (high - low)
        return np.clip(scaled, self.low, self.high).astype(self.dtype)


def read_actions(space: Any, chosen: Sequence[int] = ()) -> Actions:
    """Read the space of an environment's actions.

    Parameters
    ----------
    space : gymnasium.Space
        ``Discrete`` or ``Box``.
    chosen : sequence of int
        Of a ``Discrete`` space, the actions that the network has, as the environment numbers
        them; none: all.

    Raises
    ------
    TypeError
        If it is another space.
    ValueError
        If an action that is chosen does not exist, or comes twice.
    """
    spaces = import_library("gymnasium.spaces", "gymnasium", "gymnasium")
    if isinstance(space, spaces.Discrete):
        first, last = int(space.start), int(space.start + space.n - 1)
        numbers = tuple(chosen) or tuple(range(first, last + 1))
        for number in numbers:
            if not isinstance(number, int) or not first <= number <= last:
                raise ValueError(
                    f"actions names {number!r}: those of this environment are {first} to {last}"
                )
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"actions names an action twice: {list(numbers)}")
        return Actions(numbers, np.empty(0), np.empty(0), np.dtype(float))
    if isinstance(space, spaces.Box) and space.dtype.kind == "f":
        if chosen:
            raise ValueError(f"actions is for discrete actions; here they are {space}")
        return Actions((), _bounds(space.low), _bounds(space.high), space.dtype)
    raise TypeError(
        f"the actions are of the space {space}: a network chooses one of a Discrete space, or a "
        "vector of numbers of a Box"
    )


def shown(value: Any) -> str:
    """A value in a message: in one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
