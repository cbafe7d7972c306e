"""What Brian2 users pass to a `NeuronGroup`, brought to the form in which a `Neuron` keeps it.

Brian2 takes `Equations` or a string, a quantity or a string, None or False where there is nothing,
and a namespace. A `Neuron` keeps strings, and one mapping of parameters. What has no counterpart
stays as it is, and is refused by name where the neuron is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from brian2 import Equations
from brian2.stateupdaters.base import StateUpdateMethod
from brian2.units import allunits, second, stdunits
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension, Quantity, Unit, get_unit
from brian2.utils.stringtools import get_identifiers

__all__ = [
    "equation_text",
    "expression_of",
    "names_used",
    "number_text",
    "text_of",
    "time_of",
    "unit_in_equations",
    "unit_text",
]

#: A number with a unit behind it, as parameters are written: "-70 mV".
_NUMBER_AND_UNIT = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s+([A-Za-z_].*)")

#: Names of the units that all others are products of, by Brian2's names of the dimensions.
_BASE_UNITS = {
    **{"length": "metre", "mass": "kilogram", "time": "second", "current": "amp"},
    **{"temperature": "kelvin", "substance": "mole", "luminosity": "candle"},
}
#: Units of time, by name.
_TIMES = {
    name: unit
    for module in (allunits, stdunits)
    for name, unit in vars(module).items()
    if isinstance(unit, Unit) and unit.dim is second.dim
}
#: Brian2's short names of units, "mV", by the long ones, "mvolt".
_SHORT = {repr(unit): name for name, unit in vars(stdunits).items() if isinstance(unit, Unit)}


def text_of(value: Any) -> Any:
    """Equations, a quantity, a method or nothing (None, False) as the string that says the same.

    Parameters
    ----------
    value : Any
        Anything else is returned as it is.
    """
    if value is None or value is False:
        return ""
    if isinstance(value, Equations):
        return "\n".join(equation_text(equation) for equation in value.values())
    if isinstance(value, Quantity) and not value.shape:
        return number_text(value)
    if isinstance(value, StateUpdateMethod):
        names = (name for name, m in StateUpdateMethod.stateupdaters.items() if m is value)
        return next(names, value)
    return value


def expression_of(value: Any) -> Any:
    """A number, a quantity or a string such as ``"-70 mV"`` as an expression.

    Parameters
    ----------
    value : Any
        Anything else, an array among it, is returned as it is.
    """
    if isinstance(value, str):
        match = _NUMBER_AND_UNIT.fullmatch(value)
        if match is None:
            return value
        unit = match.group(2).strip()
        return f"{match.group(1)}*{unit if unit.isidentifier() else f'({unit})'}"
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return number_text(value)
    return text_of(value)


def number_text(value: Any) -> str:
    """A number or quantity as an expression without spaces, exact to the last digit."""
    quantity = Quantity(value)
    if quantity.dim is DIMENSIONLESS:
        return _digits(float(quantity))
    for unit in (quantity.get_best_unit(), get_unit(quantity.dim)):
        number = float(np.asarray(quantity) / np.asarray(unit))
        if float(number * np.asarray(unit)) == float(np.asarray(quantity)):
            break
    return f"{_digits(number)}*{unit_text(unit)}"


def time_of(name: str, value: Any) -> Quantity:
    """A time, of a quantity or a string such as ``"5 ms"``.

    Raises
    ------
    ValueError
        If it is none, or not positive; `name` begins the message.
    """
    match = _NUMBER_AND_UNIT.fullmatch(value) if isinstance(value, str) else None
    if match is not None and match.group(2).strip() in _TIMES:
        value = float(match.group(1)) * _TIMES[match.group(2).strip()]
    if not isinstance(value, Quantity) or value.dim is not second.dim or value.shape:
        raise ValueError(f"{name} must be a time, for example 5*ms or '5 ms', not {value!r}")
    if not 0 < float(value) < float("inf"):
        raise ValueError(f"{name} must be positive and finite, not {value}")
    return value


def unit_in_equations(dimensions: Dimension) -> str:
    """The SI unit of some dimensions as equations write it, without parentheses."""
    name = "1" if dimensions is DIMENSIONLESS else repr(get_unit(dimensions))
    if "(" not in name:
        return name
    powers = {unit: dimensions.get_dimension(kind) for kind, unit in _BASE_UNITS.items()}
    return "*".join(f"{unit}**{power:g}" for unit, power in powers.items() if power)


def unit_text(unit: Unit) -> str:
    """A unit as a factor in an expression, by its short name: ``"mV"``."""
    name = _SHORT.get(repr(unit), repr(unit).replace(" ", ""))
    return name if name.isidentifier() else f"({name})"


def _digits(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def equation_text(equation: Any) -> str:
    """An equation as Brian2 reads it, which its own `str` is not."""
    unit = unit_in_equations(equation.dim)
    kind = unit if equation.var_type == "float" else equation.var_type
    flags = f" ({', '.join(equation.flags)})" if equation.flags else ""
    if equation.expr is None:
        return f"{equation.varname} : {kind}{flags}"
    differential = equation.type == "differential equation"
    left = f"d{equation.varname}/dt" if differential else equation.varname
    return f"{left} = {equation.expr} : {kind}{flags}"


def names_used(namespace: Mapping[str, Any], texts: Iterable[Any]) -> dict[str, Any]:
    """The entries of a namespace that equations name; others may be there, as in Brian2.

    Units are there in any case.
    """
    names = set().union(*(get_identifiers(text) for text in texts if isinstance(text, str)))
    return {k: v for k, v in namespace.items() if k in names and not isinstance(v, Unit)}
