"""Parameters: from numbers, quantities and strings with units to floats in SI units.

Strings are parsed, never evaluated: a number, optionally followed by a product of Brian2 units.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import sympy
from brian2.parsing.sympytools import str_to_sympy
from brian2.units import allunits, stdunits
from brian2.units.fundamentalunits import (
    DIMENSIONLESS,
    Dimension,
    Quantity,
    get_dimensions,
    get_unit,
)

from eprop_brian.symbolic.errors import EquationError

__all__ = ["evaluate", "parse_quantity", "resolve_parameters", "unit_name"]

_UNITS: dict[str, Quantity] = {
    name: unit
    for module in (allunits, stdunits)
    for name, unit in vars(module).items()
    if isinstance(unit, Quantity)
}


def unit_name(dimensions: Dimension) -> str:
    """Name of the SI unit of some dimensions, ``"1"`` for none."""
    return "1" if dimensions is DIMENSIONLESS else repr(get_unit(dimensions))


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
    number, _, unit = text.strip().partition(" ")
    source = f"{number} * ({unit})" if unit.strip() else number
    try:
        tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError):
        raise EquationError(where, text, problem) from None

    def value(node: ast.AST) -> Any:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return node.value
        if isinstance(node, ast.Name):
            if node.id not in _UNITS:
                raise EquationError(where, text, f"'{node.id}' is not a unit that Brian2 knows")
            return _UNITS[node.id]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -value(node.operand)
        if isinstance(node, ast.BinOp):
            left, right = value(node.left), value(node.right)
            if isinstance(node.op, ast.Mult):
                return left * right
            if isinstance(node.op, ast.Div) and np.all(np.asarray(right) != 0):
                return left / right
            if isinstance(node.op, ast.Pow) and isinstance(right, int) and abs(right) <= 9:
                return left**right
        raise EquationError(where, text, problem)

    return value(tree)


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
    for name, given in parameters.items():
        line = f"{name} = {given}"
        quantity = parse_quantity(given, f"{where}, {name}") if isinstance(given, str) else given
        try:
            value = np.asarray(quantity, dtype=float)
        except (TypeError, ValueError):
            raise EquationError(where, line, "is not a number") from None
        if not np.all(np.isfinite(value)):
            raise EquationError(where, line, "must be finite")
        if value.ndim > 1:
            raise EquationError(
                where, line, f"must be a number or one value per neuron, not shape {value.shape}"
            )
        values[name] = value if value.ndim else float(value)
        dimensions[name] = get_dimensions(quantity)
    return values, dimensions


def evaluate(
    expression: str, values: Mapping[str, np.ndarray | float], where: str
) -> np.ndarray | float:
    """Evaluate an expression of parameters with the arithmetic of NumPy.

    The text is parsed by Brian2 into a sympy expression; it is never run as Python.

    Raises
    ------
    EquationError
        If it names something unknown or does not give a finite number.
    """
    parsed = parse_expression(expression, where)
    names = sorted(symbol.name for symbol in parsed.free_symbols)
    require_known(names, values, where, expression)
    symbols = sorted(parsed.free_symbols, key=lambda symbol: symbol.name)
    with np.errstate(all="ignore"):
        result = np.asarray(
            sympy.lambdify(symbols, parsed, "numpy")(*(values[name] for name in names)), dtype=float
        )
    if not np.all(np.isfinite(result)):
        given = ", ".join(f"{name} = {values[name]}" for name in names)
        raise EquationError(where, expression, f"is not finite with {given}")
    return result if result.ndim else float(result)


def parse_expression(expression: str, where: str) -> sympy.Expr:
    """Parse an expression, with a clear error for what Brian2 cannot read."""
    try:
        return sympy.sympify(str_to_sympy(expression))
    except Exception as error:  # Brian2 raises several types for syntax it refuses
        reason = str(error).splitlines()[0]
        raise EquationError(where, expression, f"cannot be read: {reason}") from None


def require_known(names: Iterable[str], known: Iterable[str], where: str, line: str) -> None:
    """Raise an `EquationError` that names the first undefined symbol and those that exist."""
    known = sorted(known)
    for name in names:
        if name not in known:
            raise EquationError(
                where, line, f"'{name}' is not defined. Defined here: {', '.join(known)}"
            )
