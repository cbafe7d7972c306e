"""Optimizers: checked, and written as the statements of an update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from brian2.utils.stringtools import word_substitute

from eprop_brian.base.checks import check_choice, check_real
from eprop_brian.equations.optimizers import Optimizer
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import evaluate, parse_expression, require_known
from eprop_brian.symbolic.names import refuse_reserved

__all__ = [
    "CLIPPED",
    "SIGNS",
    "bounds",
    "check_optimizer",
    "check_range",
    "check_sign",
    "learning_rate",
    "projection_optimizer",
    "update_statements",
]

#: Signs that all weights of a projection may have, and their factor; 0.0: either.
SIGNS = {"": 0.0, "excitatory": 1.0, "inhibitory": -1.0}
#: The root of what is negative is no number, which no bounds of later updates turn into one. The
#: limit is what single precision has, in which infinity would be no literal.
_NO_NUMBER = "w = where(int(abs(g) < 3.4e38), w, sqrt(1e38 - abs(g)))"
#: The gradient within the bounds of ``clip_value``; one that is not finite stays what it is, for
#: the statement above to find it.
CLIPPED = (
    "gradient = where(int(abs(gradient) < 3.4e38), "
    "clip(gradient, -clip_value, clip_value), gradient)"
)
#: Options of a projection that stand for a parameter of its optimizer.
_OPTIONS = {"eta": "eta", "minimum": "w_min", "maximum": "w_max"}


def check_optimizer(optimizer: Optimizer) -> None:
    """Check an optimizer's equations.

    Raises
    ------
    EquationError
        If a statement or the schedule cannot be read or names something unknown, or the schedule
        becomes negative or no number.
    ValueError
        If a parameter is no number, ``eta`` is negative, or ``w_min`` is above ``w_max``.
    """
    where = f"optimizer '{optimizer.name}'"
    refuse_reserved([*optimizer.states, *optimizer.parameters], where, ("w", "g", "k"))
    known = {"w", "g", "k", *optimizer.states, *optimizer.parameters}
    for line in _lines(optimizer):
        name, equals, expression = (part.strip() for part in line.partition("="))
        if not equals or not (name in ("w", *optimizer.states) or name.startswith("_")):
            states = ", ".join(("w", *optimizer.states))
            raise EquationError(
                f"{where}, update",
                line,
                f"must be a statement for one of {states}, or for an intermediate value whose "
                "name begins with _",
            )
        _require_known(f"{where}, update", expression, known)
        known.add(name)
    if "w" not in {line.partition("=")[0].strip() for line in _lines(optimizer)}:
        raise EquationError(f"{where}, update", optimizer.update, "has no statement for w")
    _require_known(f"{where}, schedule", optimizer.schedule, {"k", *optimizer.parameters})
    for k in (1, 2, 10, 100, 1000, 10_000, 100_000):
        factor = evaluate(
            optimizer.schedule, {**optimizer.parameters, "k": float(k)}, f"{where}, schedule"
        )
        if factor < 0:
            raise EquationError(
                f"{where}, schedule",
                optimizer.schedule,
                f"is {factor:g} in update {k}: a learning rate cannot be negative",
            )
    if _is_scheduled(optimizer) and "eta" not in optimizer.parameters:
        raise EquationError(
            f"{where}, schedule", optimizer.schedule, "multiplies eta, which this optimizer has not"
        )
    for name, value in optimizer.parameters.items():
        check_real(f"optimizer parameter {name}", value, minimum=0 if name == "eta" else -np.inf)
    low, high = bounds(optimizer)
    if low > high:
        raise ValueError(f"w_min = {low} is above w_max = {high}")


def check_range(optimizer: Optimizer, dtype: type) -> None:
    """Raise ValueError if a parameter of an optimizer is beyond the numbers of a float type."""
    most = float(np.finfo(dtype).max)
    for name, value in optimizer.parameters.items():
        if np.isfinite(value) and abs(value) > most:
            raise ValueError(
                f"optimizer parameter {name} = {value:g} is beyond {np.dtype(dtype).name}, whose "
                f"numbers reach {most:.2g}: take a smaller one"
            )


def bounds(optimizer: Optimizer) -> tuple[float, float]:
    """Between which values an optimizer keeps a weight."""
    parameters = optimizer.parameters
    return parameters.get("w_min", -np.inf), parameters.get("w_max", np.inf)


def check_sign(name: str, sign: Any) -> None:
    """Raise ValueError unless weights of the projection `name` can have this sign."""
    if sign != "":
        check_choice(f"sign of '{name}'", sign, tuple(filter(None, SIGNS)))


def projection_optimizer(
    name: str, optimizer: Optimizer, options: Mapping[str, Any], sign: str = ""
) -> Optimizer:
    """The optimizer of a projection: one with its learning rate, its bounds and its sign.

    Dale's law is a bound: what an update would carry past 0 is clipped to 0, and a weight of 0 can
    grow again.

    Parameters
    ----------
    name : str
        Of the projection, for errors.
    optimizer : Optimizer
        Its own, or the network's.
    options : mapping of str to float or None
        ``eta``, ``minimum`` and ``maximum``, which take the place of the optimizer's ``eta``,
        ``w_min`` and ``w_max``; None or absent: the optimizer's.
    sign : {"", "excitatory", "inhibitory"}
        Excitatory weights are at least 0, inhibitory ones at most.

    Raises
    ------
    ValueError
        If the optimizer has no parameter for an option, or no weight lies between the bounds.
    EquationError
        If the optimizer cannot work.
    """
    check_sign(name, sign)
    changed = {}
    for option, parameter in _OPTIONS.items():
        value = options.get(option)
        if value is None:
            continue
        check_real(f"{option} of '{name}'", value, minimum=0 if option == "eta" else -np.inf)
        _require_parameter(name, option, optimizer, parameter)
        changed[parameter] = float(value)
    low, high = bounds(optimizer)
    low, high = changed.get("w_min", low), changed.get("w_max", high)
    if sign:
        _require_parameter(name, f"sign = '{sign}'", optimizer, "w_min")
        _require_parameter(name, f"sign = '{sign}'", optimizer, "w_max")
        within = {"w_min": max(low, 0.0)} if SIGNS[sign] > 0 else {"w_max": min(high, 0.0)}
        changed |= within
        low, high = within.get("w_min", low), within.get("w_max", high)
    if low > high:
        kind = f" {sign}" if sign else ""
        raise ValueError(f"no{kind} weight of '{name}' lies between {low:g} and {high:g}")
    result = optimizer.with_parameters(**changed) if changed else optimizer
    check_optimizer(result)
    return result


def _require_parameter(name: str, option: str, optimizer: Optimizer, parameter: str) -> None:
    if parameter not in optimizer.parameters:
        raise ValueError(
            f"'{name}' has {option}, but its optimizer '{optimizer.name}' has no parameter "
            f"{parameter} for it: add {parameter} to the optimizer's equations, or choose another"
        )


def update_statements(optimizer: Optimizer) -> list[str]:
    """The statements of an update, with the schedule in them.

    After a gradient that is not finite, or beyond single precision, the weight is no number, which
    ends training: bounds would make it a weight like any other.
    """
    lines = [*_lines(optimizer), _NO_NUMBER]
    if not _is_scheduled(optimizer):
        return lines
    return [word_substitute(line, {"eta": f"(eta*({optimizer.schedule}))"}) for line in lines]


def learning_rate(optimizer: Optimizer, k: int) -> float:
    """The learning rate ``eta`` of update `k`, with the schedule."""
    where = f"optimizer '{optimizer.name}', schedule"
    values = {**optimizer.parameters, "k": float(k)}
    return optimizer.parameters["eta"] * float(evaluate(optimizer.schedule, values, where))


def _lines(optimizer: Optimizer) -> list[str]:
    return [line.strip() for line in optimizer.update.split("\n") if line.strip()]


def _is_scheduled(optimizer: Optimizer) -> bool:
    return optimizer.schedule.strip() != "1"


def _require_known(where: str, text: str, known: set[str]) -> None:
    expression = parse_expression(text, where)
    require_known(sorted(s.name for s in expression.free_symbols), known, where, text)
