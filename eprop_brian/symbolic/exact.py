"""Exact solutions of linear equations: Brian2's, and that of two states which act on each other.

Of such a pair Brian2's solver simplifies the closed form, which may take hours; nothing about the
size of the equations tells when. The solution of a pair is short, and is written down here.
"""

from __future__ import annotations

from collections.abc import Iterable

import sympy
from brian2.equations.equations import Equations, SingleEquation
from brian2.stateupdaters.base import StateUpdateMethod, UnsupportedEquationsException
from brian2.stateupdaters.exact import get_linear_system

from eprop_brian.symbolic.bounds import coupled, longest_row, read_states
from eprop_brian.symbolic.expressions import expression_text
from eprop_brian.symbolic.names import free_name, substituted

__all__ = ["exact_update"]


def exact_update(equations: Equations) -> str:
    """The statements of a step of linear equations, as Brian2's state updaters write them.

    Raises
    ------
    Exception
        Brian2's own types, if the equations have no exact solution.
    """
    # Brian2 lets sympy parse the states' names, some of which mean something else there.
    taken = {*equations.names, *equations.identifiers}
    safe = {state: free_name(f"{state}_state", taken) for state in _taken_by_sympy(equations)}
    equations = equations.substitute(**safe)
    reads = read_states(equations)
    pairs = [group for group in coupled(reads) if longest_row({s: reads[s] for s in group}) is None]
    others = set(reads).difference(*pairs)
    code = [_pair(_part(equations, pair)) for pair in pairs]
    if others or not code:
        rest = _part(equations, others) if code else equations
        code.append(str(StateUpdateMethod.stateupdaters["exact"](rest)))
    back = {new: state for state, new in safe.items()}
    return substituted("\n".join(code), back | {f"_{new}": f"_{x}" for new, x in back.items()})


def _taken_by_sympy(equations: Equations) -> list[str]:
    """States that have the name of a function or constant of sympy, as S, beta and oo."""

    def free(name: str) -> bool:
        try:
            return sympy.sympify(name) == sympy.Symbol(name)
        except (sympy.SympifyError, SyntaxError, TypeError, AttributeError):
            return False

    return [state for state in equations.diff_eq_names if not free(state)]


def _part(equations: Equations, states: Iterable[str]) -> Equations:
    """The differential equations of some states, with their subexpressions written out."""
    written = dict(equations.get_substituted_expressions())
    return Equations(
        [
            SingleEquation(eq.type, eq.varname, eq.dim, eq.var_type, written[name], eq.flags)
            for name, eq in equations.items()
            if name in states
        ]
    )


def _pair(equations: Equations) -> str:
    """Two states that act on each other, ``dh/dt = M h + B``.

    With the mean s of the rates M has, and half their distance r, ``exp(M*dt)`` is
    ``exp(s*dt)*(cosh(r*dt) + sinh(r*dt)/r*(M - s))``.
    """
    names, matrix, constants = get_linear_system(equations, {})
    dt = sympy.Symbol("dt", real=True, positive=True)
    mean = (matrix[0, 0] + matrix[1, 1]) / 2
    half = (matrix[0, 0] - matrix[1, 1]) / 2
    square = half**2 + matrix[0, 1] * matrix[1, 0]
    parameters = {s: sympy.Dummy(real=True, nonzero=True) for s in square.free_symbols}
    if square.xreplace(parameters).is_nonpositive:
        raise UnsupportedEquationsException("The solution of the linear system has complex values")
    label = "_".join(names)
    r, even, odd = (
        sympy.Symbol(f"__{part}_{label}", real=True) for part in ("root", "even", "odd")
    )
    slow, fast = (sympy.exp(dt * (mean + sign * r)) for sign in (1, -1))
    rest = _rest(matrix, constants)
    apart = [sympy.Symbol(name, real=True) - x for name, x in zip(names, rest, strict=True)]
    grown = [
        (even + sign * odd * half) * apart[k] + odd * matrix[k, 1 - k] * apart[1 - k]
        for k, sign in enumerate((1, -1))
    ]
    statements = [
        (r, sympy.sqrt(square)),
        (even, (slow + fast) / 2),
        (odd, (slow - fast) / (2 * r)),
    ]
    statements += [(f"_{name}", x + new) for name, x, new in zip(names, rest, grown, strict=True)]
    code = [f"{name} = {expression_text(sympy.sympify(x))}" for name, x in statements]
    return "\n".join([*code, *(f"{name} = _{name}" for name in names)])


def _rest(matrix: sympy.Matrix, constants: sympy.Matrix) -> list[sympy.Expr]:
    """The values at which the states stay, ``-B/M``."""
    if constants.is_zero_matrix:
        return [sympy.S.Zero, sympy.S.Zero]
    determinant = matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]
    if sympy.expand(determinant) == 0:
        raise UnsupportedEquationsException("The states have no value at which they stay")
    return [
        (matrix[0, 1] * constants[1] - matrix[1, 1] * constants[0]) / determinant,
        (matrix[1, 0] * constants[0] - matrix[0, 0] * constants[1]) / determinant,
    ]
