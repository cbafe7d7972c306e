"""Learned parameters: values of the neurons themselves that learn, one per neuron."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from brian2.units import second
from brian2.units.fundamentalunits import Dimension

from eprop_brian.base.checks import is_number
from eprop_brian.symbolic.parameters import displayed_unit, resolve_parameters
from eprop_brian.symbolic.step_map import StepMap

__all__ = ["Learned", "LearnedRange", "as_learned", "learned_range"]


@dataclass(frozen=True)
class Learned:
    """How a parameter of the neurons learns.

    The optimizer changes the value relative to its scale, the mean of its absolute values at the
    start, so that one learning rate fits parameters of any unit.

    Parameters
    ----------
    minimum, maximum : number, Quantity or str, optional
        Bounds, with the parameter's unit. A time is bounded below by one time step by default.
    eta : float, optional
        Learning rate of the relative value; default: the optimizer's.
    """

    minimum: Any = None
    maximum: Any = None
    eta: float | None = None


@dataclass(frozen=True)
class LearnedRange:
    """A learned parameter of a population, in SI units.

    Attributes
    ----------
    scale : float
        What the value is divided by.
    minimum, maximum : float
    eta : float or None
    """

    scale: float
    minimum: float
    maximum: float
    eta: float | None

    def values(self, name: str, eta: float = 0.0) -> dict[str, float]:
        """What an update of the variable `name` reads; `eta` is the optimizer's."""
        return {
            f"eta_{name}": eta if self.eta is None else self.eta,
            f"scale_{name}": self.scale,
            f"minimum_{name}": self.minimum / self.scale,
            f"maximum_{name}": self.maximum / self.scale,
        }


def as_learned(name: str, given: Any) -> Learned:
    """A `Learned`, or a mapping with its fields."""
    if isinstance(given, Learned):
        return given
    known = [f.name for f in fields(Learned)]
    if not isinstance(given, Mapping) or any(key not in known for key in given):
        raise ValueError(
            f"learned parameter '{name}' takes {', '.join(known)}, for example "
            f"{{minimum = '5 ms', maximum = '50 ms'}}; got {given!r}"
        )
    return Learned(**given)


def learned_range(
    name: str, learned: Learned, step: StepMap, dimension: Dimension, dt: float
) -> LearnedRange:
    """Resolve bounds and scale for a neuron.

    Raises
    ------
    ValueError
        If a bound has another unit, or the bounds do not hold the value at the start.
    """
    value = np.asarray(step.parameters[name], dtype=float)
    lower = dt if dimension is second.dim else -np.inf
    bounds = {"minimum": lower, "maximum": np.inf}
    for bound in bounds:
        given = getattr(learned, bound)
        if given is None:
            continue
        where = f"learned parameter '{name}', {bound}"
        values, dimensions = resolve_parameters({bound: given}, where)
        if dimensions[bound] is not dimension or np.ndim(values[bound]):
            raise ValueError(
                f"{where} must be one value in {displayed_unit(dimension)}, not {given!r}"
            )
        bounds[bound] = float(values[bound])
        if bounds[bound] < lower:
            raise ValueError(f"{where} must be at least one time step, {lower:g} s, not {given!r}")
    if not np.all((bounds["minimum"] <= value) & (value <= bounds["maximum"])):
        raise ValueError(
            f"learned parameter '{name}' of neuron '{step.neuron.name}' starts at {value}, outside "
            f"its bounds {bounds['minimum']:g} to {bounds['maximum']:g} (SI units)"
        )
    eta = learned.eta
    if eta is not None and not (is_number(eta) and np.isfinite(eta) and eta >= 0):
        raise ValueError(f"eta of learned parameter '{name}' must be a number from 0 on: {eta!r}")
    scale = float(np.mean(np.abs(value))) or 1.0
    return LearnedRange(scale, bounds["minimum"], bounds["maximum"], eta)
