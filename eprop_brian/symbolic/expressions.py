"""Expressions: strings to sympy and back, their values and their dimensions.

Strings are parsed, never run: names, numbers, operators and Brian2's functions.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, reduce

import numpy as np
import sympy
from brian2.core.functions import DEFAULT_CONSTANTS, DEFAULT_FUNCTIONS, Function
from brian2.parsing.expressions import parse_expression_dimensions
from brian2.parsing.sympytools import CustomSympyPrinter, str_to_sympy
from brian2.units.fundamentalunits import Dimension, DimensionMismatchError

from eprop_brian.base.suggestions import did_you_mean
from eprop_brian.symbolic.bounds import check_length, check_nesting, check_numbers, check_terms
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.functions import IN_NUMPY, OFFERED, WHERE
from eprop_brian.symbolic.names import substituted
from eprop_brian.symbolic.parameters import displayed_unit

__all__ = [
    "DETACHED",
    "UNDIFFERENTIABLE",
    "Detached",
    "attached",
    "dimensions_of",
    "evaluate",
    "expression_text",
    "for_lambdify",
    "in_numpy",
    "parse_expression",
    "refuse_steps",
    "require_dimensions",
    "require_known",
    "scaled",
    "split_statements",
    "symbol",
    "total",
]

#: Name of the function that stops a derivative.
DETACHED = "detached"
_STATEMENT = re.compile(r"^(?P<name>[A-Za-z_]\w*)\s*(?P<operator>[-+*/]?=)(?!=)\s*(?P<expr>.+)$")
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
#: Functions that a state's equation cannot have: sympy's name, and the name they are written by.
UNDIFFERENTIABLE = {
    "int_": "int",
    "floor": "floor",
    "ceiling": "ceil",
    "sign": "sign",
    "timestep": "timestep",
    "clip": "clip",
    "Mod": "%",
}


class Detached(sympy.Function):
    """Its argument, taken for constant where it is differentiated."""

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sympy.S.Zero


def symbol(name: str) -> sympy.Symbol:
    """The sympy symbol that Brian2's parser uses for `name`."""
    return str_to_sympy(name)


def scaled(expression: sympy.Expr, factor: str, names: Mapping[str, str] | None = None) -> str:
    """The product of an expression and a name as a string, ``""`` if it is zero.

    With `names`, the expression's names are replaced.
    """
    if expression == 0:
        return ""
    if expression.could_extract_minus_sign():
        return f"-{scaled(-expression, factor, names)}"
    if expression == 1:
        return factor
    text = substituted(expression_text(expression), names or {})
    return f"({text})*{factor}" if expression.is_Add else f"{text}*{factor}"


def total(*terms: str) -> str:
    """Sum of the terms that are not empty, as an expression string."""
    return " + ".join(term for term in terms if term).replace("+ -", "- ") or "0"


def split_statements(code: str, where: str) -> list[tuple[str, str]]:
    """Split code into (name, expression), writing ``v += w`` as ``v = v + (w)``."""
    statements = []
    for line in re.split(r"[\n;]", re.sub("#.*", "", code)):
        line = line.strip()
        if not line:
            continue
        match = _STATEMENT.match(line)
        if match is None:
            raise EquationError(where, line, "is not a statement of the form `name = expression`")
        name, operator, expression = match.group("name", "operator", "expr")
        if operator != "=":
            expression = f"{name} {operator[0]} ({expression})"
        statements.append((name, expression))
    return statements


def parse_expression(expression: str, where: str, *, detached: bool = False) -> sympy.Expr:
    """Parse an expression of names, numbers, operators and Brian2's functions.

    Nothing in the text is run. With `detached` it is a statement's, which nothing multiplies out:
    ``detached(x)`` is a function too, see `Detached`, and so is ``where(condition, a, b)``.

    Raises
    ------
    EquationError
        For any other syntax, a random function, a condition in place of a number.
    """
    check_length(expression, where)
    try:
        return _parsed(expression, detached, tuple(DEFAULT_FUNCTIONS.items()))
    except EquationError as error:
        raise EquationError(where, error.line, error.problem) from None


# Networks of the same neurons ask again, and so does whoever derives, checks or evaluates.
@lru_cache(maxsize=4096)
def _parsed(
    expression: str, detached: bool, _functions: tuple[tuple[str, Function], ...]
) -> sympy.Expr:
    """What `parse_expression` returns, given the functions that Brian2 knows."""
    where = ""  # says whoever asked
    try:
        _check_syntax(ast.parse(expression.strip(), mode="eval"), expression, where, detached)
        parsed = sympy.sympify(str_to_sympy(expression))
        if not detached:
            check_terms(parsed, expression, where)
    except EquationError:
        raise
    except Exception as error:  # the parsers raise several types for what they refuse
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EquationError(where, expression, f"cannot be read: {reason}") from None
    if not isinstance(parsed, sympy.Expr):
        raise EquationError(where, expression, "is a condition where a number is needed")
    if parsed.has(sympy.zoo, sympy.nan):
        raise EquationError(where, expression, "divides by 0")
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
                instead = "a fixed value is needed here"
                if called not in ("rand", "randn"):
                    instead = "it is not drawn: write rand() or randn()"
                raise EquationError(where, expression, f"'{called}' is random, and {instead}")
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
    """Check that the condition of ``where`` is a name or ``int(a > b)``."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == DETACHED and len(node.args) == 1:
        node = node.args[0]
    if not (isinstance(node, ast.Name) or _is_indicator(node)):
        raise EquationError(
            where,
            expression,
            f"the condition of where is `{ast.unparse(node)}`; it must be the name of something "
            "that is 0 or 1, for example z or not_refractory, or int(v > x)",
        )


def _is_indicator(node: ast.expr) -> bool:
    """Whether a node is ``int(condition)``."""
    if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "int"):
        return False
    (inside,) = node.args
    negated = isinstance(inside, ast.UnaryOp) and isinstance(inside.op, ast.Not)
    return negated or isinstance(inside, ast.Compare | ast.BoolOp)


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


def refuse_steps(expression: sympy.Expr, moving: set[sympy.Symbol], line: str, where: str) -> None:
    """Raise for a function that has no derivative, unless it is one of parameters alone."""
    for part in expression.atoms(sympy.Function):
        if str(part.func) in UNDIFFERENTIABLE and part.free_symbols & moving:
            name = UNDIFFERENTIABLE[str(part.func)]
            raise EquationError(where, line, f"'{name}' cannot be differentiated")


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
        (result,) = in_numpy(names, (parsed,))(
            *(np.asarray(values[n], dtype=float)[()] for n in names)
        )
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
    exact = [for_lambdify(expression) for expression in expressions]
    # With names of its own: an equation's may be Python's keywords.
    return sympy.lambdify(symbols, exact, [IN_NUMPY, "numpy"], dummify=True)


def for_lambdify(expression: sympy.Basic) -> sympy.Basic:
    """The same expression in a form of which `sympy.lambdify` makes the same function.

    It would write 15 digits of every number, not 17, and take conditions that ``and`` joins for
    rows of one array, which they are not where one is of a parameter and one of neurons.
    """
    numbers = {number: sympy.Float(float(number), 17) for number in expression.atoms(sympy.Float)}
    return _one_by_one(expression.xreplace(numbers))


def _one_by_one(expression: sympy.Basic) -> sympy.Basic:
    """The expression with functions of two conditions in the place of ``and`` and ``or``."""
    if not expression.has(sympy.And, sympy.Or):
        return expression
    parts = [_one_by_one(part) for part in expression.args]
    for joined, name in ((sympy.And, "both"), (sympy.Or, "either")):
        if isinstance(expression, joined):
            return reduce(sympy.Function(name), parts)
    return expression.func(*parts)


class _Named:
    """A variable as Brian2's dimension parser needs it."""

    is_boolean = False
    is_integer = False
    scalar = True

    def __init__(self, dim: Dimension) -> None:
        self.dim = dim


def dimensions_of(
    expression: str, known: Mapping[str, Dimension], where: str, *, detached: bool = False
) -> Dimension:
    """Dimensions of an expression; undefined symbols and unit mismatches raise `EquationError`."""
    parsed = parse_expression(expression, where, detached=detached)
    require_known(sorted(s.name for s in parsed.free_symbols), known, where, expression)
    variables = {name: _Named(dim) for name, dim in known.items()}
    variables = {**DEFAULT_CONSTANTS, **DEFAULT_FUNCTIONS, **variables}
    try:
        return parse_expression_dimensions(expression, variables)
    except (DimensionMismatchError, SyntaxError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise EquationError(where, expression, f"units do not fit: {reason}") from None


def require_dimensions(
    expression: str,
    wanted: Dimension,
    known: Mapping[str, Dimension],
    where: str,
    line: str,
    *,
    detached: bool = False,
) -> None:
    found = dimensions_of(expression, known, where, detached=detached)
    if found is not wanted:
        raise EquationError(
            where,
            line,
            f"has unit {displayed_unit(found)} where {displayed_unit(wanted)} is needed",
        )
