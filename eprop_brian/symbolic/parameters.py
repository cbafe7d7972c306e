"""Parameters: from numbers, quantities and strings with units to floats in SI units.

Strings are parsed, never evaluated: a number, optionally followed by a product of Brian2 units.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import numpy as np
from brian2.units import allunits, stdunits
from brian2.units.fundamentalunits import (
    DIMENSIONLESS,
    Dimension,
    DimensionMismatchError,
    Quantity,
    get_dimensions,
    get_unit,
    get_unit_for_display,
)

from eprop_brian.base.checks import is_number
from eprop_brian.base.suggestions import did_you_mean
from eprop_brian.symbolic.errors import EquationError

__all__ = ["UNITS", "displayed_unit", "parse_quantity", "resolve_parameters", "unit_name"]

#: All units of Brian2, by name.
UNITS: dict[str, Quantity] = {
    name: unit
    for module in (allunits, stdunits)
    for name, unit in vars(module).items()
    if isinstance(unit, Quantity)
}


def unit_name(dimensions: Dimension) -> str:
    """Name of the SI unit of some dimensions, ``"1"`` for none."""
    return "1" if dimensions is DIMENSIONLESS else repr(get_unit(dimensions))


def displayed_unit(dimensions: Dimension) -> str:
    """The same in a message, as Brian2 names it: ``"V"``."""
    return "1" if dimensions is DIMENSIONLESS else str(get_unit_for_display(dimensions))


def parse_quantity(text: str, where: str) -> Quantity | float:
    """Read ``"20 ms"``, ``"-70*mV"``, ``"1e-3"`` or ``"3 mV/ms"``.

    Parameters
    ----------
    text : str
    where : str
        Named in the error.

    Raises
    ------
    EquationError
        If the text is not a number with an optional product of unit names.
    """
    problem = "is not a number with a unit; write for example 20 ms, -70 mV or 0.5"
    amount, _, unit = text.strip().partition(" ")
    source = f"{amount} * ({unit})" if unit.strip() else amount

    def value(node: ast.AST) -> Any:
        if isinstance(node, ast.Constant):
            number = node.value
            if isinstance(number, int | float) and not isinstance(number, bool):
                return float(number)
        if isinstance(node, ast.Name):
            if node.id not in UNITS:
                hint = did_you_mean(node.id, UNITS)
                raise EquationError(where, text, f"'{node.id}' is not a unit of Brian2{hint}")
            return UNITS[node.id]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -value(node.operand)
        if isinstance(node, ast.BinOp):
            left, right = value(node.left), value(node.right)
            if isinstance(node.op, ast.Mult):
                return left * right
            if isinstance(node.op, ast.Div) and np.all(np.asarray(right) != 0):
                return left / right
            # Half powers: noise has the unit of a root of a time.
            if isinstance(node.op, ast.Pow) and is_number(right) and 2 * right in range(-18, 19):
                return left ** (int(right) if right == int(right) else right)
        raise EquationError(where, text, problem)

    try:
        return value(ast.parse(source, mode="eval").body)
    except EquationError:
        raise
    except (SyntaxError, ValueError, TypeError, ArithmeticError, MemoryError, RecursionError):
        raise EquationError(where, text, problem) from None


def resolve_parameters(
    parameters: Mapping[str, Any], where: str
) -> tuple[dict[str, np.ndarray | float], dict[str, Dimension]]:
    """Turn parameters into SI floats (or float arrays) and their dimensions.

    Raises
    ------
    EquationError
        If a value is not a number, not finite, or a string that cannot be read.
    """
    values: dict[str, np.ndarray | float] = {}
    dimensions: dict[str, Dimension] = {}
    for name, parameter in parameters.items():
        line = f"{name} = {parameter}"
        if callable(parameter):
            raise EquationError(
                f"{where}, {name}",
                name,
                "is a function: equations may call Brian2's functions only, so write it out",
            )
        quantity = _quantity(parameter, f"{where}, {name}")
        try:
            value = np.asarray(quantity, dtype=float)
        except (TypeError, ValueError, OverflowError):
            raise EquationError(where, line, "is not a number") from None
        if not np.all(np.isfinite(value)):
            raise EquationError(where, line, "must be finite")
        if value.ndim > 1 or not value.size:
            raise EquationError(
                where, line, f"must be a number or one value per neuron, not shape {value.shape}"
            )
        values[name] = value if value.ndim else float(value)
        dimensions[name] = get_dimensions(quantity)
    return values, dimensions


def _quantity(value: Any, where: str) -> Any:
    """Read a string, or a list with units; anything else stays as it is."""
    if isinstance(value, str):
        return parse_quantity(value, where)
    with_units = (str, Quantity)
    if isinstance(value, list | tuple) and any(isinstance(item, with_units) for item in value):
        items = [_quantity(item, where) for item in value]
        try:
            return Quantity(items)
        except (DimensionMismatchError, TypeError, ValueError):
            raise EquationError(where, str(value), "must have one unit for all values") from None
    return value
