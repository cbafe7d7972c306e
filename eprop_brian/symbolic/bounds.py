"""Bounds on the work of reading equations.

Parsers compute with the numbers that they find, sympy multiplies out, subexpressions are written
where they are used: a line of text can ask for gigabytes, or for hours. What would is refused here,
before anything computes with it.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import sympy
from brian2.utils.stringtools import get_identifiers

from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.functions import IN_NUMPY

__all__ = [
    "EXACT",
    "check_length",
    "check_nesting",
    "check_numbers",
    "check_solvable",
    "check_statement",
    "check_terms",
    "check_unit",
    "check_written_out",
    "coupled",
    "expanded_terms",
    "is_short",
    "longest_row",
    "read_states",
    "step_nesting",
    "step_operations",
]

#: Most characters of an expression.
_LONGEST = 20_000
#: Most terms of an expression that is multiplied out, as Brian2's state updaters do.
_MOST_TERMS = 5000
#: Most operations of a statement, with those of the subexpressions in it written out.
_MOST_OPERATIONS = 3000
#: Most operations of a state's new value that is differentiated as one expression of the step
#: before, with those of the statements before it written out.
_MOST_COMPOSED = 80
#: Largest exponent of a number, and of a unit.
_LARGEST_POWER, _LARGEST_UNIT_POWER = 100, 9
#: Most functions and powers within each other: Brian2 works out the unit of an argument up to four
#: times at each level, and a derivative grows with their square. In a line, and in a whole step.
_MOST_NESTED, _MOST_NESTED_IN_STEP = 8, 12
#: Most states that are solved for exactly: in a row, and where each of them acts on one other.
_MOST_IN_ROW, _MOST_PARALLEL = 4, 8
#: Methods that solve exactly: two names of one.
EXACT = ("exact", "linear")


# --- text ----------------------------------------------------------------------------------------


def check_length(expression: str, where: str) -> None:
    """Check that an expression is not too long to be parsed."""
    if len(expression) > _LONGEST:
        raise EquationError(
            where,
            f"{expression[:80]} ...",
            f"has {len(expression)} characters, at most {_LONGEST} are read",
        )


def check_numbers(tree: ast.Expression, expression: str, where: str) -> None:
    """Check that arithmetic on numbers gives a number, and quickly."""
    for node in ast.walk(tree):
        if _is_huge_power(node):
            raise EquationError(
                where, expression, f"`{ast.unparse(node)}` is a power of numbers: write its value"
            )
    _number_of(tree.body, expression, where)


def _is_huge_power(node: ast.AST) -> bool:
    """Whether a power of bare numbers is more than one base to one small literal exponent."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)):
        return False
    inside = list(ast.walk(node))
    if any(isinstance(part, ast.Name) for part in inside):
        return False
    exponent = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
    value = exponent.value if isinstance(exponent, ast.Constant) else None
    plain = isinstance(value, int | float) and abs(value) <= _LARGEST_POWER
    return not plain or sum(isinstance(part, ast.Pow) for part in inside) > 1


_OPERATIONS: dict[type[ast.operator], Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
    ast.Pow: np.power,
}


def _number_of(node: ast.AST, expression: str, where: str) -> float | None:
    """Value of a part that has no names, None of one that has; raises if it is not finite.

    In double precision, where exp(exp(50)) is infinite: sympy would work out its digits.
    """
    if isinstance(node, ast.Name):
        return None
    if isinstance(node, ast.Constant):
        if not isinstance(node.value, int | float):
            return None
        return _finite(float(node.value), node, expression, where)
    inside = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
    parts = [_number_of(part, expression, where) for part in inside if isinstance(part, ast.expr)]
    numbers = [np.float64(part) for part in parts if part is not None]
    named = len(numbers) < len(parts)
    if named or not parts or isinstance(node, ast.Compare | ast.BoolOp):
        return None
    with np.errstate(all="ignore"):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            function = IN_NUMPY.get(name, getattr(np, name, None))
            # A function of its own meaning here, as `detached`, does not compute.
            value = numbers[0] if function is None else function(*numbers)
        elif isinstance(node, ast.BinOp):
            value = _OPERATIONS[type(node.op)](*numbers)
        else:
            value = -numbers[0]
    return _finite(float(value), node, expression, where)


def _finite(value: float, node: ast.AST, expression: str, where: str) -> float:
    if not math.isfinite(value):
        # Python reads 1e400 as infinity, which would be written as 1e309.
        written = ast.get_source_segment(expression.strip(), node) or ast.unparse(node)
        raise EquationError(where, expression, f"`{written}` is not a finite number")
    return value


def check_nesting(tree: ast.Expression, expression: str, where: str) -> None:
    """Check that functions and powers are not too deep within each other."""
    # A loop, since trees too deep for Python's recursion arrive here too.
    left: list[tuple[ast.AST, int]] = [(tree, 0)]
    while left:
        node, depth = left.pop()
        power = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)
        depth += isinstance(node, ast.Call) or power
        if depth > _MOST_NESTED:
            raise EquationError(
                where,
                expression,
                f"has more than {_MOST_NESTED} functions and powers within each other: too many to "
                "work with",
            )
        left += [(child, depth) for child in ast.iter_child_nodes(node)]


def check_unit(unit: str, line: str, where: str) -> None:
    """Check that a unit is a product of names and their small powers, which Brian2 evaluates."""
    reason = "is not a unit: write names, * and /, and powers such as metre**2"
    try:
        tree = ast.parse(unit.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise EquationError(where, line, f"'{unit.strip()[:80]}' {reason}") from None
    for node in ast.walk(tree):
        if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)):
            continue
        exponent = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
        if isinstance(node.left, ast.Constant):
            raise EquationError(where, line, "has a power of numbers in its unit")
        value = exponent.value if isinstance(exponent, ast.Constant) else None
        small = isinstance(value, int | float) and value <= _LARGEST_UNIT_POWER
        if not (small and isinstance(node.left, ast.Name)):
            raise EquationError(where, line, f"'{unit.strip()[:80]}' {reason}")


def check_written_out(expressions: Mapping[str, str], where: str) -> None:
    """Check that equations stay short where each one is written out in those that name it."""
    sizes: dict[str, int] = {}

    def size(name: str, within: tuple[str, ...]) -> int:
        if name in within:  # a circle, which Brian2 reports
            return 0
        if name not in sizes:
            names = re.findall(r"[A-Za-z_]\w*", expressions[name])
            used = (n for n in names if n in expressions and n != name)
            sizes[name] = len(names) + sum(size(n, (*within, name)) for n in used)
            if sizes[name] > _MOST_OPERATIONS:
                raise EquationError(
                    where,
                    f"{name} = {expressions[name]}",
                    f"has more than {_MOST_OPERATIONS} names once the subexpressions in it are "
                    "written out: too many to work with",
                )
        return sizes[name]

    for name in expressions:
        size(name, ())


# --- sympy ---------------------------------------------------------------------------------------


def expanded_terms(expression: sympy.Basic) -> int:
    """Terms of an expression once it is multiplied out, at most."""
    if expression.is_Add:
        return sum(expanded_terms(term) for term in expression.args)
    if expression.is_Mul:
        return math.prod(expanded_terms(factor) for factor in expression.args)
    if expression.is_Pow and expression.exp.is_Integer and abs(expression.exp.p) > 1:
        n, k = expanded_terms(expression.base), abs(expression.exp.p)
        return math.comb(n + k - 1, k) if 1 < n <= _MOST_TERMS else n
    return max((expanded_terms(part) for part in expression.args), default=1)


def check_terms(parsed: sympy.Basic, expression: str, where: str) -> None:
    """Check that an expression can be multiplied out."""
    if expanded_terms(parsed) > _MOST_TERMS:
        raise EquationError(
            where,
            expression,
            f"has more than {_MOST_TERMS} terms when it is multiplied out: too many to work with",
        )


def step_operations(parsed: sympy.Expr, sizes: Mapping[sympy.Symbol, int]) -> int:
    """Operations of an expression in which symbols are replaced by expressions of these sizes."""
    own = int(sympy.count_ops(parsed))
    return own + sum(sizes.get(node, 0) for node in sympy.preorder_traversal(parsed))


def step_nesting(parsed: sympy.Basic, depths: Mapping[sympy.Symbol, int]) -> int:
    """Functions, powers and quotients within each other, with symbols that hold such themselves."""
    known: dict[sympy.Basic, int] = {}
    for node in sympy.postorder_traversal(parsed):
        own = node.is_Function or (node.is_Pow and not node.exp.is_positive)
        inner = max((known[part] for part in node.args), default=depths.get(node, 0))
        known[node] = inner + bool(own)
    return known[parsed]


def is_short(operations: int, nesting: int) -> bool:
    """Whether a state's new value is differentiated as one expression of the step before."""
    return operations <= _MOST_COMPOSED and nesting <= _MOST_NESTED_IN_STEP


def check_statement(parsed: sympy.Expr, line: str, where: str) -> None:
    """Check that a statement can be differentiated by what it reads."""
    operations, nesting = step_operations(parsed, {}), step_nesting(parsed, {})
    if nesting > _MOST_NESTED_IN_STEP:
        problem = f"has {nesting} functions within each other, more than {_MOST_NESTED_IN_STEP}"
    elif operations > _MOST_OPERATIONS:
        problem = f"takes {operations} operations, more than {_MOST_OPERATIONS}"
    else:
        return
    raise EquationError(
        where,
        line if len(line) < _LONGEST / 10 else f"{line[:80]} ...",
        f"{problem}: too many to differentiate. Write it shorter, or in `update` as several "
        "statements",
    )


def check_solvable(method: str, equations: Any, where: str) -> None:
    """Check that equations are not too many to be solved for exactly, which may take hours.

    Parameters
    ----------
    method : str
    equations : brian2 Equations
    where : str

    Raises
    ------
    EquationError
    """
    if method not in EXACT:
        return
    reads = read_states(equations)
    for group in coupled(reads):
        row = longest_row({state: reads[state] for state in group})
        most = 2 if row is None else _MOST_IN_ROW if row > 2 else _MOST_PARALLEL
        if len(group) > most:
            how = "that act on each other" + (" in a loop" if row is None else "")
            raise EquationError(
                where,
                f"method = {method}",
                f"the exact solution of {len(group)} states {how} ({', '.join(sorted(group))}) "
                "takes too long to find: choose exponential_euler, euler or rk2",
            )


def read_states(equations: Any) -> dict[str, set[str]]:
    """The other states that each state's equation reads."""
    states = set(equations.diff_eq_names)
    return {
        state: get_identifiers(str(expression)) & states - {state}
        for state, expression in equations.get_substituted_expressions()
        if state in states
    }


def coupled(reads: Mapping[str, set[str]]) -> Iterable[set[str]]:
    """States that act on each other, directly or through others."""
    groups: list[set[str]] = []
    for state, others in reads.items():
        joined = {state, *others}
        apart = [group for group in groups if not group & joined]
        joined = joined.union(*(group for group in groups if group & joined))
        groups = [*apart, joined]
    return groups


def longest_row(reads: Mapping[str, set[str]]) -> int | None:
    """States in the longest row in which each acts on the next, None if there is a loop."""
    left, length = dict(reads), 0
    while left:
        first = {state for state, others in left.items() if not others & left.keys()}
        if not first:
            return None
        left = {state: others for state, others in left.items() if state not in first}
        length += 1
    return length
