"""Delays: from times to steps, one for all connections or one for each."""

from __future__ import annotations

from typing import Any

import numpy as np
from brian2.units import Quantity, second
from brian2.units.fundamentalunits import DimensionMismatchError, have_same_dimensions

from eprop_brian.symbolic.parameters import parse_quantity

__all__ = ["check_fits_trial", "delay_steps"]


def delay_steps(
    what: str,
    given: Any,
    dt: Quantity,
    least: int,
    shape: tuple[int, int],
    rng: np.random.Generator | None = None,
) -> int | np.ndarray:
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

    Returns
    -------
    int or array of int, shape `shape`

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
    if np.any(steps < least):
        shortest = f"at least {least} time step{'s' * (least != 1)}" if least else "not negative"
        raise ValueError(f"{what} must be {shortest} (dt = {dt}), not {given!r}")
    steps = steps.astype(np.int32)
    if steps.ndim == 0:
        return int(steps)
    if rng is not None and steps.shape == (2,):
        return rng.integers(steps.min(), steps.max() + 1, size=shape, dtype=np.int32)
    if steps.shape != shape:
        drawn = ", a pair (shortest, longest)" if rng is not None else ""
        raise ValueError(
            f"{what} must be one time{drawn} or an array of shape {shape}, not {steps.shape}"
        )
    return steps


def _joined(what: str, given: Any) -> Quantity:
    """A list of times as one quantity."""
    times = [parse_quantity(time, what) if isinstance(time, str) else time for time in given]
    try:
        return Quantity(times)
    except (DimensionMismatchError, TypeError, ValueError):
        raise ValueError(f"{what} must be times, for example 3*ms; got {given!r}") from None


def check_fits_trial(what: str, steps: Any, n_steps: int) -> None:
    """Raise ValueError if a delay is so long that nothing arrives within a trial."""
    longest = 0 if steps is None else int(np.max(steps))
    if longest >= n_steps:
        raise ValueError(
            f"{what} of {longest} steps is longer than the trial of {n_steps} steps: "
            "nothing would arrive"
        )
