"""Delays: from times to steps, one for all connections or one for each."""

from __future__ import annotations

from typing import Any

import numpy as np
from brian2.units import Quantity, second
from brian2.units.fundamentalunits import DimensionMismatchError, have_same_dimensions
from scipy.sparse import csc_array, issparse

from eprop_brian.base.sparse import Matrix, fit, taken, values_of, with_values
from eprop_brian.symbolic.parameters import parse_quantity

__all__ = ["check_fits", "delay_steps", "longest"]

#: Longest delay in steps: what arrives later is kept in arrays that long.
_LONGEST = 10**6


def delay_steps(
    what: str,
    given: Any,
    dt: Quantity,
    least: int,
    shape: tuple[int, ...],
    rng: np.random.Generator | None = None,
    *,
    connected: csc_array | None = None,
    autapses: bool = True,
) -> int | Matrix:
    """Whole steps of a delay.

    Parameters
    ----------
    what : str
        Its name in errors.
    given : Quantity, str, array of Quantity, or pair of them
        One delay for all connections; an array of `shape`, one each, or a pair of a `scipy.sparse`
        matrix of numbers and their unit; or, with `rng`, the shortest and the longest of delays
        that are drawn uniformly.
    dt : Quantity
    least : int
        The shortest there can be, in steps.
    shape : tuple of int
    rng : numpy.random.Generator, optional
    connected : csc_array of bool, optional
        The connections that exist; default: all of `shape`.
    autapses : bool
        Whether the diagonal counts.

    Returns
    -------
    int, array of int of shape `shape`, or csc_array of int structured as `connected`

    Raises
    ------
    ValueError
        If it is not a time or not a whole number of steps, is too short or has another shape.
    """
    sparse, unit = _sparse_pair(what, given)
    if sparse is not None and sparse.shape == shape and connected is not None:
        stored = fit(what, sparse, connected)
        steps = _whole_steps(what, stored.data * unit, dt)
        return _at_least(what, with_values(connected, steps), least, dt)
    if sparse is not None:
        given = sparse.toarray() * unit
    elif isinstance(given, str):
        given = parse_quantity(given, what)
    elif isinstance(given, list | tuple):
        given = _joined(what, given)
    steps = _whole_steps(what, given, dt)
    if rng is not None and steps.shape == (2,):
        size = shape if connected is None else connected.nnz
        low, high = int(steps.min()), int(steps.max())
        _at_least(what, low, least, dt)
        drawn = rng.integers(low, high + 1, size=size, dtype=np.int32)
        return drawn if connected is None else with_values(connected, drawn)
    if steps.ndim == 0:
        return _at_least(what, int(steps), least, dt)
    if steps.shape != shape:
        pair = ", a pair (shortest, longest)" if rng is not None else ""
        raise ValueError(
            f"{what} must be one time{pair} or an array of shape {shape}, not {steps.shape}"
        )
    if not autapses:
        np.fill_diagonal(steps, np.maximum(steps.diagonal(), least))
    return _at_least(what, steps if connected is None else taken(steps, connected), least, dt)


def _sparse_pair(what: str, given: Any) -> tuple[csc_array | None, Any]:
    """A sparse matrix of numbers and their unit, if that is what is given."""
    pair = given if isinstance(given, list | tuple) else (given,)
    if not any(map(issparse, pair)):
        return None, None
    if len(pair) != 2 or not issparse(pair[0]) or not isinstance(pair[1], Quantity):
        raise ValueError(f"{what} as a sparse matrix needs its unit: (matrix, ms)")
    return csc_array(pair[0]), pair[1]


def _whole_steps(what: str, given: Any, dt: Quantity) -> np.ndarray:
    """Times as whole steps."""
    if given is None or not have_same_dimensions(given, second):
        raise ValueError(f"{what} must be a time, for example 3*ms; got {given!r}")
    exact = np.asarray(given, dtype=float) / float(dt)
    if not np.all(np.isfinite(exact)):
        raise ValueError(f"{what} must be finite")
    if np.any(exact > _LONGEST):
        raise ValueError(f"{what} of {np.max(exact):.3g} steps is too long: at most {_LONGEST}")
    steps = np.rint(exact)
    if np.any(np.abs(steps - exact) > 1e-6 * np.maximum(1, steps)):
        raise ValueError(f"{what} must be whole time steps of {dt}, not {given!r}")
    return steps.astype(np.int32)


def _at_least(what: str, steps: int | Matrix, least: int, dt: Quantity) -> int | Matrix:
    """Steps, if none is shorter than there can be."""
    shortest = int(np.min(values_of(steps), initial=np.iinfo(np.int32).max))
    if shortest < least:
        wanted = f"at least {least} time step{'s' * (least != 1)}" if least else "not negative"
        raise ValueError(f"{what} must be {wanted} (dt = {dt}), not {shortest * dt}")
    return steps


def longest(steps: int | Matrix) -> int:
    """The longest of some delays."""
    return int(np.max(values_of(steps), initial=0))


def _joined(what: str, given: Any) -> Quantity:
    """A list of times as one quantity."""
    times = [parse_quantity(time, what) if isinstance(time, str) else time for time in given]
    try:
        return Quantity(times)
    except (DimensionMismatchError, TypeError, ValueError):
        raise ValueError(f"{what} must be times, for example 3*ms; got {given!r}") from None


def check_fits(what: str, steps: Any, most: int, where: str) -> None:
    """Raise ValueError if a delay is so long that nothing arrives any more.

    Parameters
    ----------
    what : str
        Its name in errors.
    steps : int, array or csc_array of int, or None
    most : int
        The longest with which something arrives.
    where : str
        What it is longer than.
    """
    if steps is not None and longest(steps) > most:
        raise ValueError(
            f"{what} of {longest(steps)} steps is too long for {where}: with more than {most} "
            "nothing would arrive"
        )
