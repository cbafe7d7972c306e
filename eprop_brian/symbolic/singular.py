"""Quotients that are 0/0 at a point, as rates of channels are: ``x/(exp(x) - 1)``.

Near the point the derivative of such a quotient is the difference of two numbers that are almost
equal and very large. Here the quotient is a function whose derivative is computed without them.
"""

from __future__ import annotations

import sympy
from brian2.core.functions import exprel

from eprop_brian.symbolic.functions import ExprelSlope

__all__ = ["with_quotients", "without_quotients"]


class _Quotient(sympy.Function):
    """``x/(exp(x) - 1)``."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return -self * ExprelSlope(self.args[0])


def without_quotients(expression: sympy.Expr) -> sympy.Expr:
    """The expression with functions in place of quotients that are 0/0 at a point."""
    return expression.replace(lambda node: node.is_Mul, _smooth)


def with_quotients(expression: sympy.Expr) -> sympy.Expr:
    """The same back again."""
    return expression.replace(_Quotient, lambda x: 1 / exprel(x))


def _smooth(product: sympy.Mul) -> sympy.Expr:
    for below in product.args:
        zero = _zero(below)
        if zero is None:
            continue
        factor, x = zero
        for above in product.args:
            ratio = _ratio(above, x) if above is not below else None
            if ratio is not None:
                others = (f for f in product.args if f is not below and f is not above)
                return sympy.Mul(factor, ratio, _Quotient(x), *others)
    return product


def _zero(node: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr] | None:
    """The c and x with which a node is ``c/(exp(x) - 1)``."""
    if not (node.is_Pow and node.exp == -1 and node.base.is_Add and len(node.base.args) == 2):
        return None
    constant, term = node.base.as_coeff_Add()
    number, grown = term.as_coeff_Mul()
    exponent = _exponent(grown)
    if exponent is None or constant == 0 or not (number / constant).is_negative:
        return None
    return -1 / constant, exponent + sympy.log(-number / constant)


def _exponent(node: sympy.Expr) -> sympy.Expr | None:
    """The x with which a node is ``exp(x)``."""
    parts = sympy.Mul.make_args(node)
    if not all(isinstance(part, sympy.exp) for part in parts):
        return None
    return sympy.Add(*(part.args[0] for part in parts))


def _ratio(above: sympy.Expr, x: sympy.Expr) -> sympy.Expr | None:
    """The factor by which one expression is another, if both are linear in a name."""
    for name in sorted(above.free_symbols & x.free_symbols, key=str):
        slopes = sympy.diff(above, name), sympy.diff(x, name)
        if any(name in slope.free_symbols or slope == 0 for slope in slopes):
            continue
        ratio = slopes[0] / slopes[1]
        if _is_nothing(above - ratio * x):
            return ratio
    return None


def _is_nothing(difference: sympy.Expr) -> bool:
    """Whether a difference is 0 but for the rounding of its numbers."""
    terms = sympy.Add.make_args(sympy.expand(difference))
    return all(abs(float(term.as_coeff_Mul()[0])) < 1e-12 for term in terms)
