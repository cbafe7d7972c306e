"""Delays: from times to steps, one for all connections or one for each."""

from __future__ import annotations

from typing import Any

import numpy as np
from brian2.units import Quantity, second
from brian2.units.fundamentalunits import DimensionMismatchError, have_same_dimensions
from scipy.sparse import csc_array

from eprop_brian.network.sparse import Matrix, taken, values_of, with_values
from eprop_brian.symbolic.parameters import parse_quantity

__all__ = ["check_fits_trial", "delay_steps", "longest"]


def delay_steps(
    what: str,
    given: Any,
    dt: Quantity,
    least: int,
    shape: tuple[int, int],
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
        One delay for all connections; an array of `shape`, one each; or, with `rng`, the shortest
        and the longest of delays that are drawn uniformly.
    dt : Quantity
    least : int
        The shortest there can be, in steps.
    shape : (int, int)
    rng : numpy.random.Generator, optional
    connected : csc_array of bool, optional
        The connections that there are; default: all of `shape`.
    autapses : bool
        Whether the diagonal counts.

    Returns
    -------
    int, array of int of shape `shape`, or csc_array of int structured as `connected`

    Raises
    ------
    ValueError
        If it is no time, no whole number of steps, too short or of another shape.
    """
    if isinstance(given, str):
        given = parse_quantity(given, what)
    elif isinstance(given, list | tuple):
        given = _joined(what, given)
    if not have_same_dimensions(given, second):
        raise ValueError(f"{what} must be a time, for example 3*ms; got {given!r}")
    exact = np.asarray(given, dtype=float) / float(dt)
    if not np.all(np.isfinite(exact)):
        raise ValueError(f"{what} must be finite")
    steps = np.rint(exact)
    if np.any(np.abs(steps - exact) > 1e-6 * np.maximum(1, steps)):
        raise ValueError(f"{what} must be whole time steps of {dt}, not {given!r}")
    steps = steps.astype(np.int32)
    if rng is not None and steps.shape == (2,):
        size = shape if connected is None else connected.nnz
        low, high = int(steps.min()), int(steps.max())
        drawn = rng.integers(low, high + 1, size=size, dtype=np.int32)
        result = drawn if connected is None else with_values(connected, drawn)
        lowest = low
    elif steps.ndim == 0:
        result = lowest = int(steps)
    elif steps.shape == shape:
        if not autapses:
            np.fill_diagonal(steps, np.maximum(steps.diagonal(), least))
        result = steps if connected is None else taken(steps, connected)
        lowest = values_of(result).min(initial=np.iinfo(np.int32).max)
    else:
        pair = ", a pair (shortest, longest)" if rng is not None else ""
        raise ValueError(
            f"{what} must be one time{pair} or an array of shape {shape}, not {steps.shape}"
        )
    if lowest < least:
        shortest = f"at least {least} time step{'s' * (least != 1)}" if least else "not negative"
        raise ValueError(f"{what} must be {shortest} (dt = {dt}), not {given!r}")
    return result


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


def check_fits_trial(what: str, steps: Any, n_steps: int) -> None:
    """Raise ValueError if a delay is so long that nothing arrives within a trial."""
    if steps is not None and longest(steps) >= n_steps:
        raise ValueError(
            f"{what} of {longest(steps)} steps is longer than the trial of {n_steps} steps: "
            "nothing would arrive"
        )
