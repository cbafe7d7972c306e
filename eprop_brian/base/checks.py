"""Checks of settings, each raising at construction with the setting's name in the message."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from brian2.units import Hz, Quantity, Unit, ms, second
from brian2.units.fundamentalunits import (
    Dimension,
    DimensionMismatchError,
    get_dimensions,
)
from numpy.typing import ArrayLike, NDArray

from eprop_brian.base.suggestions import unknown

__all__ = [
    "check_choice",
    "check_count",
    "check_identifier",
    "check_positive",
    "check_positive_quantity",
    "check_probability",
    "check_quantity",
    "check_rate",
    "check_real",
    "check_rows",
    "is_finite",
    "is_identifier",
    "is_number",
    "whole_steps",
]


def is_number(value: Any) -> bool:
    """Whether a value is a real number without unit; true and false are not."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Whether a value is a real number without unit, and finite as a float."""
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def is_identifier(name: str) -> bool:
    """Whether a name can be one of a file, of a Brian2 object and in C++."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is not None


def check_identifier(name: Any, what: str) -> None:
    """Raise ValueError unless `name` is an identifier; `what` is called so, such as a readout."""
    if not isinstance(name, str) or not is_identifier(name):
        raise ValueError(
            f"a {what} cannot be called {name!r}: a name is letters, digits and _, starting with "
            "a letter"
        )


def check_real(name: str, value: Any, minimum: float = -np.inf) -> None:
    """Raise ValueError unless `value` is a finite number that is at least `minimum`."""
    if not is_finite(value):
        raise ValueError(f"{name} must be a finite number without unit, not {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, not {value}")


def check_positive(name: str, value: Any) -> None:
    """Raise ValueError unless `value` is a positive whole number."""
    if not is_finite(value) or int(value) != value or value < 1:
        raise ValueError(f"{name} must be a positive whole number, not {value!r}")


def check_positive_quantity(name: str, value: Any, unit: Quantity, example: str) -> None:
    """Raise ValueError unless `value` is positive, finite and in a unit such as `unit`."""
    if _dimensions(name, value, unit) is not unit.dim:
        raise ValueError(f"{name} needs a unit of {unit!r}, for example {example}; got {value!r}")
    if np.ndim(value) or not 0 < float(value) < np.inf:
        raise ValueError(f"{name} must be positive and finite, not {value}")


def _dimensions(name: str, value: Any, unit: Quantity) -> Dimension:
    """The dimensions of `value`; raise TypeError unless it is a number or a quantity."""
    if is_number(value) or isinstance(value, np.ndarray):
        return get_dimensions(value)
    raise TypeError(f"{name} must be a quantity in units such as {unit!s}, not {value!r}")


def check_choice(name: str, value: Any, allowed: Iterable[str]) -> None:
    """Raise ValueError unless `value` is one of the `allowed`."""
    # One after the other: a list of a file cannot be looked up, and what packages offer comes last.
    if not any(value == choice for choice in allowed):
        raise ValueError(unknown(name, value, allowed))


def check_count(name: str, value: int, minimum: int = 1) -> int:
    """Return `value` as an int that is at least `minimum`.

    Raises
    ------
    TypeError
        If `value` is not an integer (``True`` and ``10.0`` are not).
    ValueError
        If it is below `minimum`.
    """
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if count < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {count}")
    return count


def check_probability(name: str, value: float) -> float:
    """Return `value` as a float; raise ValueError unless it lies in [0, 1]."""
    if not (is_finite(value) and 0 <= value <= 1):
        raise ValueError(f"{name} must lie between 0 and 1, got {value!r}")
    return float(value)


def check_quantity(name: str, value: Quantity, unit: Unit) -> float:
    """Return the scalar quantity `value` as a plain float, in multiples of `unit`.

    Raises
    ------
    TypeError
        If `value` is neither a quantity nor a number.
    brian2.DimensionMismatchError
        If `value` is not in units compatible with `unit`.
    ValueError
        If it is not one finite number.
    """
    dimensions = _dimensions(name, value, unit)
    if dimensions is not unit.dim:
        raise DimensionMismatchError(f"{name} must be given in units such as {unit!s}", dimensions)
    plain = np.asarray(value / unit)
    if plain.ndim or not np.isfinite(plain):
        raise ValueError(f"{name} must be one finite quantity, got {value!s}")
    return float(plain)


def check_rate(name: str, rate: Quantity, dt: Quantity) -> float:
    """Return the spike probability per step of a firing rate; raise unless it lies in [0, 1]."""
    seconds_per_step = check_quantity("dt", dt, second)
    return check_probability(f"{name} * dt", check_quantity(name, rate, Hz) * seconds_per_step)


def whole_steps(name: str, duration: Quantity, dt: Quantity, minimum: int = 1) -> int:
    """Return how many steps of `dt` make up `duration`.

    Raises
    ------
    ValueError
        If `duration` is not a whole number of steps, or fewer than `minimum`.
    """
    milliseconds, step = check_quantity(name, duration, ms), check_quantity("dt", dt, ms)
    if not step > 0:
        raise ValueError(f"dt must be positive, not {dt!s}")
    exact = milliseconds / step
    if not math.isfinite(exact):
        raise ValueError(f"{name} = {duration!s} has too many steps of dt = {dt!s}")
    n_steps = round(exact)
    # Rounding silently would change a task's timing; 1e-6 forgives 0.1*ms in binary.
    if abs(exact - n_steps) > 1e-6:
        raise ValueError(f"{name} = {duration!s} is not a whole number of steps of dt = {dt!s}")
    if n_steps < minimum:
        raise ValueError(f"{name} must last at least {minimum} steps, got {n_steps}")
    return n_steps


def check_rows(name: str, rows: ArrayLike, array: str, n_rows: int) -> NDArray[np.intp]:
    """Return a vector of row numbers of an array that has `n_rows`.

    Raises
    ------
    ValueError
        If it is empty, not a vector of integers, or names a row that does not exist.
    """
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
