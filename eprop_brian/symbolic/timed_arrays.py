"""Timed arrays: signals given as values at equal distances of time, as Brian2's `TimedArray`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from brian2.units import second
from brian2.units.fundamentalunits import (
    Dimension,
    DimensionMismatchError,
    Quantity,
    get_dimensions,
)

from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.parameters import parse_quantity, unit_name

__all__ = ["TimedValues", "resolve_timed_arrays", "writable_timed_array"]

_KEYS = ("values", "dt", "unit")
_EXAMPLE = '{ values = [0, 1, 0.5], dt = "10 ms", unit = "nA" }'


@dataclass(frozen=True, eq=False)
class TimedValues:
    """A timed array in SI units.

    Attributes
    ----------
    values : array of float, shape (n,) or (n, n_columns)
    dt : float
        Time from one value to the next in s. A value holds until the next one comes; the first
        holds before, the last one after.
    dim : Dimension
        Of the values.
    """

    values: np.ndarray
    dt: float
    dim: Dimension

    def rows(self, times: np.ndarray, step: float) -> np.ndarray:
        """The numbers of the values at some times, for steps of `step` seconds.

        Times within a small fraction of a step before a value count as its time, as in Brian2: a
        step's time is a product that is rounded.
        """
        finer = max(int(2 ** np.ceil(np.log2(8 / step * self.dt))), 1)
        rows = (np.round(times / (self.dt / finer)) / finer).astype(int)
        return np.clip(rows, 0, len(self.values) - 1)

    def holds_for(self, step: float) -> bool:
        """Whether the value never changes within a step of `step` seconds."""
        ratio = self.dt / step
        return ratio > 1 - 1e-9 and abs(ratio - np.rint(ratio)) < 1e-9 * ratio


def resolve_timed_arrays(arrays: Mapping[str, Any], where: str) -> dict[str, TimedValues]:
    """Read timed arrays as a neuron has them: ``values``, ``dt`` and, if need be, their ``unit``.

    Raises
    ------
    EquationError
        If one has other keys, or values that are no numbers or have another shape.
    """
    return {name: _resolved(name, array, f"{where}, {name}") for name, array in arrays.items()}


def _resolved(name: str, array: Any, where: str) -> TimedValues:
    if not isinstance(array, Mapping) or not {"values", "dt"} <= {*array} <= {*_KEYS}:
        raise EquationError(where, name, f"must be a Brian2 TimedArray, or a table {_EXAMPLE}")
    step = _quantity(array["dt"], f"{where}, dt")
    if get_dimensions(step) is not second.dim or np.ndim(step) or not float(step) > 0:
        raise EquationError(where, f"dt = {array['dt']}", "must be a time above 0, e.g. `1 ms`")
    unit = _quantity(f"1 {array['unit']}", f"{where}, unit") if array.get("unit") else 1.0
    given = array["values"]
    try:
        numbers = given if isinstance(given, Quantity) else np.asarray(given, dtype=float)
        quantities = numbers * unit
        values = np.asarray(quantities, dtype=float)
    except (TypeError, ValueError, DimensionMismatchError):
        raise EquationError(
            where, name, f"has values that are no numbers: write {_EXAMPLE}"
        ) from None
    if values.ndim not in (1, 2) or not values.size:
        raise EquationError(
            where,
            name,
            "must have a value for each time, or a row of them for each time, not shape "
            f"{values.shape}",
        )
    if not np.all(np.isfinite(values)):
        raise EquationError(where, name, "must have finite values, found NaN or infinity")
    return TimedValues(values, float(step), get_dimensions(quantities))


def _quantity(value: Any, where: str) -> Any:
    return parse_quantity(value, where) if isinstance(value, str) else value


def writable_timed_array(name: str, array: Any, where: str) -> dict[str, Any]:
    """A timed array as TOML holds it, in SI units."""
    resolved = _resolved(name, array, where)
    unit = unit_name(resolved.dim)
    return {
        "values": resolved.values.tolist(),
        "dt": f"{resolved.dt!r} second",
        **({} if unit == "1" else {"unit": unit}),
    }
