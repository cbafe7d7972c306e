"""Parameters: from numbers, quantities and strings with units to floats in SI units.

Strings are parsed, never evaluated: a number, optionally followed by a product of Brian2 units.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from brian2.core.functions import DEFAULT_CONSTANTS, DEFAULT_FUNCTIONS
from brian2.parsing.sympytools import CustomSympyPrinter, str_to_sympy
from brian2.units import allunits, stdunits
from brian2.units.fundamentalunits import (
    DIMENSIONLESS,
    Dimension,
    DimensionMismatchError,
    Quantity,
    get_dimensions,
    get_unit,
)

from eprop_brian.base.suggestions import did_you_mean
from eprop_brian.symbolic.bounds import check_length, check_nesting, check_numbers, check_terms
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.functions import IN_NUMPY, OFFERED, WHERE

__all__ = [
    "DETACHED",
    "UNITS",
    "Detached",
    "attached",
    "evaluate",
    "expression_text",
    "in_numpy",
    "parse_expression",
    "parse_quantity",
    "require_known",
    "resolve_parameters",
    "unit_name",
    "with_all_digits",
]

#: Name of the function that stops a derivative.
DETACHED = "detached"

#: Every unit that Brian2 knows, by name.
UNITS: dict[str, Quantity] = {
    name: unit
    for module in (allunits, stdunits)
    for name, unit in vars(module).items()
    if isinstance(unit, Quantity)
}
#: What an expression may be made of; anything else is refused before it reaches another parser.
_SYNTAX = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.BoolOp,
    ast.Call,
    ast.Name,
    ast.Constant,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
    ast.boolop,
    ast.expr_context,
)
#: Brian2 reads sqrt as an unknown function, which has no derivative.
_SQRT = sympy.Function("sqrt")


class Detached(sympy.Function):
    """Its argument, taken for constant where it is differentiated."""

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sympy.S.Zero


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

    def value(node: ast.AST) -> Any:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            return float(node.value)
        if isinstance(node, ast.Name):
            if node.id not in UNITS:
                hint = did_you_mean(node.id, UNITS)
                raise EquationError(
                    where, text, f"'{node.id}' is not a unit that Brian2 knows{hint}"
                )
            return UNITS[node.id]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -value(node.operand)
        if isinstance(node, ast.BinOp):
            left, right = value(node.left), value(node.right)
            if isinstance(node.op, ast.Mult):
                return left * right
            if isinstance(node.op, ast.Div) and np.all(np.asarray(right) != 0):
                return left / right
            if isinstance(node.op, ast.Pow) and right in range(-9, 10):
                return left ** int(right)
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
    for name, given in parameters.items():
        line = f"{name} = {given}"
        quantity = _quantity(given, f"{where}, {name}")
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


def _quantity(given: Any, where: str) -> Any:
    """Read a string, or a list with units; anything else stays as it is."""
    if isinstance(given, str):
        return parse_quantity(given, where)
    with_units = (str, Quantity)
    if isinstance(given, list | tuple) and any(isinstance(item, with_units) for item in given):
        items = [_quantity(item, where) for item in given]
        try:
            return Quantity(items)
        except (DimensionMismatchError, TypeError, ValueError):
            raise EquationError(where, str(given), "must have one unit for all values") from None
    return given


def evaluate(
    expression: str | sympy.Expr,
    values: Mapping[str, np.ndarray | float],
    where: str,
    *,
    detached: bool = False,
) -> np.ndarray | float:
    """Evaluate an expression of parameters with the arithmetic of NumPy.

    A text is parsed by Brian2 into a sympy expression; it is never run as Python. `detached` as for
    `parse_expression`.

    Raises
    ------
    EquationError
        If it names something unknown or does not give a finite number.
    """
    if isinstance(expression, str):
        parsed, line = parse_expression(expression, where, detached=detached), expression
    else:
        parsed, line = expression, expression_text(expression)
    names = tuple(sorted(symbol.name for symbol in parsed.free_symbols))
    require_known(names, values, where, line)
    with np.errstate(all="ignore"):
        # NumPy's scalars divide by zero to inf, where Python's raise.
        (result,) = in_numpy(names, (parsed,))(*(np.float64(values[n]) for n in names))
    result = np.asarray(result, dtype=float)
    if not np.all(np.isfinite(result)):
        given = ", ".join(f"{name} = {values[name]}" for name in names)
        raise EquationError(where, line, "is not finite" + (f" with {given}" if given else ""))
    return result if result.ndim else float(result)


# Networks of the same neurons ask again.
@lru_cache(maxsize=1024)
def in_numpy(names: tuple[str, ...], expressions: tuple[sympy.Expr, ...]) -> Callable[..., list]:
    """A function of NumPy that computes expressions from the values of `names`, in this order."""
    symbols = [str_to_sympy(name) for name in names]
    exact = [with_all_digits(expression) for expression in expressions]
    # With names of its own: an equation's may be Python's keywords.
    return sympy.lambdify(symbols, exact, [IN_NUMPY, "numpy"], dummify=True)


def with_all_digits(expression: sympy.Basic) -> sympy.Basic:
    """The same expression, of which `sympy.lambdify` writes 17 digits of every number, not 15."""
    numbers = {number: sympy.Float(float(number), 17) for number in expression.atoms(sympy.Float)}
    return expression.xreplace(numbers)


class _Printer(CustomSympyPrinter):
    """Brian2's printer, which would write numbers with 15 digits and sympy's names."""

    def _print_Float(self, number: sympy.Float) -> str:
        return repr(float(number))

    def _print_Function(self, function: sympy.Function) -> str:
        name = _NAMES.get(function.func)
        if name is None:
            return super()._print_Function(function)
        return f"{name}({self.stringify(function.args, ', ')})"

    def _print_Symbolic(self, constant: sympy.Basic) -> str:
        return _CONSTANTS[constant]

    _print_Exp1 = _print_Infinity = _print_NegativeInfinity = _print_Symbolic


#: What Brian2 calls functions and constants that sympy calls otherwise.
_NAMES = {
    function.sympy_func: name
    for name, function in DEFAULT_FUNCTIONS.items()
    if isinstance(function.sympy_func, sympy.FunctionClass)
}
_CONSTANTS = {constant.sympy_obj: name for name, constant in DEFAULT_CONSTANTS.items()}
_PRINTER = _Printer()


@lru_cache(maxsize=4096)
def expression_text(expression: sympy.Expr) -> str:
    """An expression as a string that Brian2 reads, with all digits of its numbers."""
    return _PRINTER.doprint(expression)


def parse_expression(expression: str, where: str, *, detached: bool = False) -> sympy.Expr:
    """Parse an expression of names, numbers, operators and Brian2's functions.

    Nothing in the text is run. With `detached`, ``detached(x)`` is a function too, see `Detached`,
    and so is ``where(condition, a, b)``.

    Raises
    ------
    EquationError
        For any other syntax, a random function, a condition in place of a number.
    """
    check_length(expression, where)
    try:
        _check_syntax(ast.parse(expression.strip(), mode="eval"), expression, where, detached)
        parsed = sympy.sympify(str_to_sympy(expression))
        check_terms(parsed, expression, where)
    except EquationError:
        raise
    except Exception as error:  # the parsers raise several types for what they refuse
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EquationError(where, expression, f"cannot be read: {reason}") from None
    if not isinstance(parsed, sympy.Expr):
        raise EquationError(where, expression, "is a condition where a number is needed")
    return parsed.replace(_SQRT, sympy.sqrt).replace(sympy.Function(DETACHED), Detached)


def _check_syntax(tree: ast.Expression, expression: str, where: str, detached: bool) -> None:
    check_nesting(tree, expression, where)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if detached and (called, len(node.args)) == (DETACHED, 1):
                continue
            if detached and (called, len(node.args)) == (WHERE, 3):
                _check_condition(node.args[0], expression, where)
                continue
            if called not in DEFAULT_FUNCTIONS or called == WHERE:
                hint = did_you_mean(called, OFFERED)
                raise EquationError(
                    where,
                    expression,
                    f"'{called}' is not a function here{hint}. Functions: {', '.join(OFFERED)}",
                )
            if not DEFAULT_FUNCTIONS[called].stateless:
                raise EquationError(
                    where, expression, f"'{called}' is random, so it has no derivative"
                )
        number = type(node.value) in (int, float) if isinstance(node, ast.Constant) else True
        if not isinstance(node, _SYNTAX) or not number:
            raise EquationError(
                where,
                expression,
                f"`{ast.unparse(node)}` is not allowed: write names, numbers, + - * / ** and "
                "Brian2's functions",
            )
    check_numbers(tree, expression, where)


def _check_condition(node: ast.expr, expression: str, where: str) -> None:
    """Check that the condition of ``where`` is a name."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == DETACHED and len(node.args) == 1:
        node = node.args[0]
    if not isinstance(node, ast.Name):
        raise EquationError(
            where,
            expression,
            f"the condition of where is `{ast.unparse(node)}`; it must be the name of something "
            "that is 0 or 1, for example z or not_refractory",
        )


def attached(expression: str) -> str:
    """The expression as it is computed: what stands in ``detached(...)``, without it."""
    if DETACHED not in expression:
        return expression
    return ast.unparse(_Attach().visit(ast.parse(expression.strip(), mode="eval")))


class _Attach(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        return node.args[0] if ast.unparse(node.func) == DETACHED else node


def require_known(names: Iterable[str], known: Iterable[str], where: str, line: str) -> None:
    """Raise an `EquationError` that names the first undefined symbol and those that exist."""
    known = sorted(known)
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise EquationError(
                where, line, f"'{name}' is not defined{hint}. Defined here: {', '.join(known)}"
            )
