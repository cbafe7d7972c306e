"""Functions that consist of pieces, and their derivatives: each is that of the piece.

``clip(x, a, b)`` has the slope of x from bound to bound, both included, and outside that of the
bound. ``int``, ``floor``, ``ceil``, ``sign`` and ``timestep`` have none anywhere, conditions among
them (``int(v > x)``): where they jump, nothing is put in the place of a derivative, as the spike
alone has a surrogate. ``x % y`` has the slope of ``x - y*floor(x/y)``.
"""

from __future__ import annotations

import sympy

from eprop_brian.symbolic.functions import int_, where

__all__ = ["STEPS", "has_steps", "in_pieces", "indicator", "whole"]

#: Functions without a slope: sympy's name, and the name that they are written by.
STEPS = {
    "int_": "int",
    "floor": "floor",
    "ceiling": "ceil",
    "sign": "sign",
    "timestep": "timestep",
}
_CLIP = sympy.Function("clip")


class _Flat(sympy.Function):
    """Something that changes by jumps alone."""

    nargs = 1

    def _eval_derivative(self, s: sympy.Symbol) -> sympy.Expr:
        return sympy.S.Zero


class _Clip(sympy.Function):
    """``clip``, whose derivative is that of one of its arguments."""

    nargs = 3

    def _eval_derivative(self, s: sympy.Symbol) -> sympy.Expr:
        x, low, high = self.args
        inside = indicator(sympy.And(low <= x, x <= high))
        # Where bounds do not move, which is nearly always, no more is to be said.
        below, above = low.diff(s), high.diff(s)
        outside = below if below == above else where(indicator(x < low), below, above)
        return where(inside, x.diff(s), outside)


class _Remainder(sympy.Function):
    """``x % y``."""

    nargs = 2

    def _eval_derivative(self, s: sympy.Symbol) -> sympy.Expr:
        x, y = self.args
        return x.diff(s) - y.diff(s) * _Flat(sympy.floor(x / y))


def indicator(condition: sympy.Basic) -> sympy.Expr:
    """1 where a condition holds, else 0, as an expression."""
    if condition in (sympy.true, sympy.false):
        return sympy.Integer(condition == sympy.true)
    return int_(condition)


def has_steps(expression: sympy.Basic, depending: set[sympy.Symbol]) -> str:
    """The name of a function without a slope of some symbols; ``""`` if there is none."""
    for part in expression.atoms(sympy.Function):
        if str(part.func) in STEPS and part.free_symbols & depending:
            return STEPS[str(part.func)]
    return ""


def in_pieces(expression: sympy.Expr) -> sympy.Expr:
    """The expression with functions that can be differentiated in place of those of pieces."""
    expression = expression.replace(_is_step, _Flat)
    expression = expression.replace(sympy.Mod, _Remainder)
    return expression.replace(_CLIP, _Clip)


def whole(expression: sympy.Expr) -> sympy.Expr:
    """What `in_pieces` has made, in the functions of before."""
    expression = expression.replace(_Clip, _CLIP).replace(_Remainder, sympy.Mod)
    return expression.replace(_Flat, lambda step: step)


def _is_step(node: sympy.Basic) -> bool:
    return isinstance(node, sympy.Function) and str(node.func) in STEPS
