"""Derivatives that can be evaluated wherever they are finite, at a cost that is bounded.

The derivative that sympy writes is exact, and yet often 0/0 or inf/inf: of ``c**n`` it is
``n*c**n/c``, which is not a number at c = 0. Here powers of one base are written as one power, and
what else overflows or divides by zero on the way to a finite value is put into another form.

Nothing here calls `sympy.simplify`, which may take minutes without end. What shortens an expression
is tried where it takes milliseconds.
"""

from __future__ import annotations

import random
from functools import lru_cache

import mpmath
import sympy
from brian2.core.functions import exprel

from eprop_brian.symbolic.bounds import expanded_terms
from eprop_brian.symbolic.functions import ExprelSlope, PowerLog
from eprop_brian.symbolic.numeric import IN_MPMATH, value_of
from eprop_brian.symbolic.pieces import in_pieces, whole
from eprop_brian.symbolic.singular import with_quotients, without_quotients

__all__ = ["derivative", "tidied", "vanishes"]

#: Most terms that an expression is multiplied out to, to see whether it becomes shorter.
_MOST_TERMS = 60
#: Operations of an expression that is worth shortening: nobody reads a larger one.
_MOST_SHORTENED = 200
#: Digits and points of the test for zero, and its bound relative to the largest term.
_DIGITS, _POINTS, _NOTHING = 40, 3, 1e-14


class _Power(sympy.Function):
    """A power whose exponent is not a number."""

    nargs = 2

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        base, exponent = self.args
        if argindex == 1:
            return exponent * sympy.Pow(base, exponent - 1)
        return PowerLog(base, exponent)


class _Exprel(sympy.Function):
    """Brian2's ``exprel``, whose derivative is 0/0 at 0."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return self * ExprelSlope(self.args[0])


class _Absolute(sympy.Function):
    """An absolute value of something that sympy does not know to be real."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sympy.sign(self.args[0])


@lru_cache(maxsize=4096)
def derivative(expression: sympy.Expr, variable: sympy.Symbol) -> sympy.Expr:
    """The derivative in a form that is finite wherever the derivative is, as far as is known.

    Parameters
    ----------
    expression : sympy.Expr
    variable : sympy.Symbol
    """
    if variable not in expression.free_symbols:
        return sympy.S.Zero
    return _stable(sympy.diff(_prepared(expression), variable))


@lru_cache(maxsize=1024)
def _prepared(expression: sympy.Expr) -> sympy.Expr:
    """The expression with functions whose derivatives are stable in place of some of its own."""
    prepared = without_quotients(in_pieces(expression))
    prepared = prepared.replace(_is_root_of_power, _as_one_power)
    prepared = prepared.replace(_is_root_of_open_power, _as_power_of_size)
    prepared = prepared.replace(exprel, _Exprel).replace(sympy.Abs, _Absolute)
    return prepared.replace(_has_open_exponent, lambda power: _Power(*power.args))


def _has_open_exponent(node: sympy.Basic) -> bool:
    return node.is_Pow and not node.exp.is_number


def _is_root_of_power(node: sympy.Basic) -> bool:
    """Whether a node is, for example, ``sqrt(x**3)``: never of a negative x."""
    return (
        node.is_Pow
        and node.base.is_Pow
        and node.base.exp.is_integer is True
        and node.base.exp.is_odd is True
        and node.exp.is_number
        and node.exp.is_integer is not True
    )


def _as_one_power(node: sympy.Pow) -> sympy.Expr:
    return sympy.Pow(node.base.base, node.base.exp * node.exp)


def _is_root_of_open_power(node: sympy.Basic) -> bool:
    """Whether a node is, for example, ``sqrt(x**n)``."""
    return (
        node.is_Pow
        and node.base.is_Pow
        and node.base.base.is_number is not True
        and node.base.exp.is_number is not True
        and node.exp.is_number
        and node.exp.is_integer is not True
    )


def _as_power_of_size(node: sympy.Pow) -> sympy.Expr:
    """The same wherever the node has a value: ``sqrt(x**n)`` of a negative x if n is even."""
    return sympy.Pow(_Absolute(node.base.base), node.base.exp * node.exp)


def _stable(slope: sympy.Expr) -> sympy.Expr:
    slope = with_quotients(slope.replace(_Power, sympy.Pow).replace(_Exprel, exprel))
    slope = whole(slope.replace(_Absolute, sympy.Abs))
    return slope.replace(lambda node: node.is_Mul, _merged)


def _merged(product: sympy.Mul) -> sympy.Expr:
    """A product with one power of each base, and without quotients that overflow."""
    coefficient, factors = product.as_coeff_mul()
    powers: dict[sympy.Expr, sympy.Expr] = {}
    for factor in factors:
        base, exponent = factor.as_base_exp()
        powers[base] = powers.get(base, sympy.S.Zero) + exponent
    _merge_signs(powers)
    _merge_hyperbolic(powers)
    _merge_logistic(powers)
    _merge_hill(powers)
    if len(powers) == len(factors) and all(f.as_base_exp() in powers.items() for f in factors):
        return product
    return sympy.Mul(coefficient, *(sympy.Pow(base, n) for base, n in powers.items()))


def _merge_signs(powers: dict[sympy.Expr, sympy.Expr]) -> None:
    """``x**n*abs(x)**m*sign(x)**k`` as one power, and a sign where one is left."""
    for base in [b.args[0] for b in powers if isinstance(b, sympy.Abs)]:
        size, sign = sympy.Abs(base), sympy.sign(base)
        own, signs = powers.get(base, sympy.S.Zero), powers.get(sign, sympy.S.Zero)
        if own.is_integer is not True or signs.is_integer is not True or own + signs == 0:
            continue
        exponent, odd = powers.pop(size) + own, (own + signs) % 2
        powers.pop(base, None)
        powers.pop(sign, None)
        if exponent.is_integer is True and exponent % 2 == odd:
            powers[base] = exponent
        else:
            powers[size] = exponent
            if odd:
                powers[sign] = sympy.S.One


def _merge_hyperbolic(powers: dict[sympy.Expr, sympy.Expr]) -> None:
    """``sinh(x)/cosh(x)`` as ``tanh(x)``."""
    for sine in [b for b in powers if isinstance(b, sympy.sinh)]:
        cosine, tangent = sympy.cosh(sine.args[0]), sympy.tanh(sine.args[0])
        above, below = powers[sine], -powers.get(cosine, sympy.S.Zero)
        if not (above.is_number and below.is_number and above > 0 and below > 0):
            continue
        n = min(above, below)
        powers[sine], powers[cosine] = above - n, n - below
        powers[tangent] = powers.get(tangent, sympy.S.Zero) + n


def _merge_logistic(powers: dict[sympy.Expr, sympy.Expr]) -> None:
    """``exp(u)/(a + b*exp(u))`` as ``1/(a*exp(-u) + b)``, whose exponential may overflow."""
    for below in [b for b, n in powers.items() if b.is_Add and n.is_number and n.is_negative]:
        exponentials = (term.as_independent(sympy.exp)[1] for term in below.args)
        for grown in [e.args[0] for e in exponentials if isinstance(e, sympy.exp)]:
            divided = sympy.Add(*(_divided(term, grown) for term in below.args))
            while powers[below] <= -1 and _holds(powers.get(sympy.E, sympy.S.Zero), grown):
                powers[sympy.E] -= grown
                powers[below] += 1
                powers[divided] = powers.get(divided, sympy.S.Zero) - 1


def _merge_hill(powers: dict[sympy.Expr, sympy.Expr]) -> None:
    """``(K/c)**n/(a + b*(K/c)**n)`` as ``1/(a*(c/K)**n + b)``, which has a value at c = 0."""
    for below in [b for b, n in powers.items() if b.is_Add and n.is_integer and n.is_negative]:
        poles = [pole for term in below.args if (pole := _pole(term)) is not None]
        if len(poles) != 1:
            continue
        (power, base, exponent) = poles[0]
        n, above = powers.pop(below), powers.pop(power.base, sympy.S.Zero)
        finite = sympy.Add(
            *(
                term / power if term.has(power) else term * sympy.Pow(base, exponent)
                for term in below.args
            )
        )
        turned = above if power.base == base else -above
        turned += powers.pop(base, sympy.S.Zero) if power.base != base else 0
        powers[finite] = powers.get(finite, sympy.S.Zero) + n
        turned -= exponent * n
        for factor in sympy.Mul.make_args(base) if base.is_Mul else ():
            # 1/c is (c/K)**-1/K.
            if factor.is_Symbol and powers.get(factor, sympy.S.Zero).is_negative:
                k = powers.pop(factor)
                turned += k
                for other, by in (base / factor).as_powers_dict().items():
                    powers[other] = powers.get(other, sympy.S.Zero) - k * by
        powers[base] = turned


def _pole(term: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr, sympy.Expr] | None:
    """A power in a term that is infinite where a variable is 0, ``base**-exponent``."""
    for factor in sympy.Mul.make_args(term):
        if not factor.is_Pow or factor.exp.is_number or factor.base.is_number:
            continue
        if factor.exp.could_extract_minus_sign():
            return factor, factor.base, -factor.exp
        if factor.base.is_Mul and any(x.is_Pow and x.exp == -1 for x in factor.base.args):
            return factor, 1 / factor.base, factor.exp
    return None


def _holds(exponent: sympy.Expr, part: sympy.Expr) -> bool:
    """Whether an exponent has the terms of `part`, once or several times."""
    found = exponent.as_coefficients_dict()
    terms = part.as_coefficients_dict()
    return all(term in found and found[term] / n >= 1 for term, n in terms.items())


def _divided(term: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
    """``term*exp(-exponent)`` with one exponential."""
    rest, exponentials = term.as_independent(sympy.exp)
    total = -exponent
    for factor in sympy.Mul.make_args(exponentials):
        if isinstance(factor, sympy.exp):
            total += factor.args[0]
        else:
            rest *= factor
    return rest * sympy.exp(total)


@lru_cache(maxsize=4096)
def tidied(expression: sympy.Expr) -> sympy.Expr:
    """An equal expression, shorter where that costs little."""
    if vanishes(expression):
        return sympy.S.Zero
    if sympy.count_ops(expression) > _MOST_SHORTENED:
        return expression
    forms = [expression, sympy.factor_terms(expression)]
    if expression.is_Mul:
        forms.append(_with_sign_inside(expression))
    if expanded_terms(expression) <= _MOST_TERMS:
        forms.append(sympy.expand(expression, power_base=False, power_exp=False, log=False))
    # exp(-x) must not become a quotient of exp(x), which overflows.
    forms = [form for form in forms if form.atoms(sympy.exp) <= expression.atoms(sympy.exp)]
    return min(forms, key=lambda form: (len(form.free_symbols), sympy.count_ops(form)))


def _with_sign_inside(product: sympy.Mul) -> sympy.Expr:
    """``-a*(1 - x)`` as ``a*(x - 1)``."""
    coefficient, factors = product.as_coeff_mul()
    for factor in factors:
        if coefficient.is_negative and factor.is_Add:
            others = (other for other in factors if other is not factor)
            return sympy.Mul(-coefficient, *others, -factor)
    return product


@lru_cache(maxsize=4096)
def vanishes(expression: sympy.Expr) -> bool:
    """Whether an expression is 0 whatever its symbols are.

    It is computed at a few points, which takes no longer than the expression is long. Functions
    that have pieces, such as abs, may be zero at these and not elsewhere: they can have any value.
    """
    if expression.is_Mul:
        return any(vanishes(factor) for factor in expression.args)
    if not expression.is_Add:
        return expression == 0
    names = sorted(symbol.name for symbol in expression.free_symbols)
    pieces = [
        node
        for node in sympy.preorder_traversal(expression)
        if isinstance(node, sympy.Function) and node.func.__name__ not in IN_MPMATH
    ]
    generator = random.Random(0)
    try:
        with mpmath.workdps(_DIGITS):
            for _ in range(_POINTS):
                point = {name: mpmath.mpf(generator.uniform(0.2, 1.7)) for name in names}
                known = {node: mpmath.mpf(generator.uniform(0.2, 1.7)) for node in pieces}
                terms = [
                    value_of(term, point, known, IN_MPMATH.__getitem__, mpmath.mpf)
                    for term in expression.args
                ]
                if abs(mpmath.fsum(terms)) > _NOTHING * max(abs(term) for term in terms):
                    return False
    except (ArithmeticError, LookupError, TypeError, ValueError):
        # Functions that have no value here are no reason to call it 0.
        return False
    return True
