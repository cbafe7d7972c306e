"""Functions that Brian2 does not have, in sympy and in NumPy. Every device has a form of them.

A reset chooses a value; ``where`` does, which statements of the update style may name.

A derivative is often 0/0 or inf/inf where the function itself is smooth. The other two are computed
without such quotients, and equations never name them.
"""

from __future__ import annotations

import numpy as np
import sympy
from brian2.core.functions import DEFAULT_FUNCTIONS, Function

__all__ = [
    "IN_NUMPY",
    "OFFERED",
    "SLOPE_SERIES",
    "SLOPE_SERIES_BELOW",
    "WHERE",
    "ExprelSlope",
    "PowerLog",
    "int_",
    "where",
]

#: Name of the function that chooses between two values.
WHERE = "where"
_RANDOM = frozenset({"rand", "randn", "poisson"})
#: Functions that an equation may name: Brian2's, without those that modules of this package add.
OFFERED = tuple(
    sorted(name for name in DEFAULT_FUNCTIONS if name not in _RANDOM and not name.startswith("_"))
)
#: ``ExprelSlope`` is a polynomial in x where x is smaller than this: 1/2 + x/12 - x**3/720 + ...
SLOPE_SERIES_BELOW = 0.5
#: Its coefficients of x, x**3, x**5 and so on: B_2k/(2k)!, with Bernoulli's numbers.
SLOPE_SERIES = tuple(float(sympy.bernoulli(k) / sympy.factorial(k)) for k in range(2, 20, 2))


class where(sympy.Function):  # the name by which sympy prints it
    """``where(condition, a, b)``: a where the condition is 1, b where it is 0.

    A sum such as ``b + (a - b)*condition`` has the same value on paper. In floating point it loses
    the digits of `a` where `b` is large, and is not a number where `b` is infinite.
    """

    nargs = 3

    @classmethod
    def eval(cls, condition, a, b):
        if condition.is_number:
            return b if condition == 0 else a
        if a == b:
            return a
        if a.is_number and b.is_number and a.is_finite and b.is_finite:
            return b + (a - b) * condition
        return None

    def _eval_derivative(self, s):
        condition, a, b = self.args
        # Chosen, not multiplied: where one side is infinite, so may be its derivative.
        chosen = where(condition, sympy.diff(a, s), sympy.diff(b, s))
        return sympy.diff(condition, s) * (a - b) + chosen

    def _eval_is_real(self):
        return True


class int_(sympy.Function):  # the name by which Brian2 prints it
    """``int(x)``, of a number or a condition. What sympy makes of the name need not commute."""

    nargs = 1
    is_commutative = True

    def _eval_is_real(self):
        return True


class ExprelSlope(sympy.Function):
    """Logarithmic derivative of ``exprel``: ``exprel'(x)/exprel(x)``, between 0 and 1.

    It is ``1/(1 - exp(-x)) - 1/x``, and 1/2 at 0.
    """

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        (x,) = self.args
        grown = 1 / (1 - sympy.exp(-x))
        return grown * (1 - grown) + 1 / x**2

    def _eval_is_extended_real(self) -> bool | None:
        return self.args[0].is_extended_real


class PowerLog(sympy.Function):
    """``x**a*log(x)``, the derivative of ``x**a`` by a: 0 where x is 0 and a is positive."""

    nargs = 2

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        x, a = self.args
        if argindex == 1:
            return x ** (a - 1) + a * PowerLog(x, a - 1)
        return PowerLog(x, a) * sympy.log(x)


# What strings call them: the names can be no user's.
ExprelSlope.__name__, PowerLog.__name__ = "_exprel_slope", "_power_log"


def _as_float(x) -> np.ndarray:
    x = np.asarray(x)
    return x if x.dtype.kind == "f" else x.astype(float)


def _exprel(x):
    """(exp(x) - 1)/x, and 1 at 0."""
    x = _as_float(x)
    safe = np.where(x == 0, x.dtype.type(1), x)
    with np.errstate(over="ignore"):
        return np.where(x == 0, safe, np.expm1(safe) / safe)


def _exprel_slope(x):
    """See `ExprelSlope`."""
    x = _as_float(x)
    small = np.abs(x) < SLOPE_SERIES_BELOW
    near = np.where(small, x, x.dtype.type(0))
    far = np.where(small, x.dtype.type(1), x)
    series = np.zeros_like(near)
    for coefficient in reversed(SLOPE_SERIES):
        series = series * near**2 + coefficient
    with np.errstate(over="ignore"):
        closed = -1 / np.expm1(-far) - 1 / far
    return np.where(small, 0.5 + near * series, closed)


def _power_log(x, a):
    """See `PowerLog`."""
    x, a = _as_float(x), _as_float(a)
    # The logarithm of 1 is the 0 that is wanted.
    safe = np.where((x == 0) & (a > 0), x.dtype.type(1), x)
    return safe**a * np.log(safe)


#: Functions that NumPy does not have under this name, or computes with Brian2's units.
IN_NUMPY = {
    "expm1": np.expm1,
    "log1p": np.log1p,
    "exprel": _exprel,
    "timestep": DEFAULT_FUNCTIONS["timestep"].pyfunc,
    "int_": np.trunc,
    "both": np.logical_and,
    "either": np.logical_or,
    "_exprel_slope": _exprel_slope,
    "_power_log": _power_log,
}

DEFAULT_FUNCTIONS["int"].sympy_func = int_
DEFAULT_FUNCTIONS[WHERE] = Function(
    np.where, sympy_func=where, arg_units=[1, None, None], return_unit=lambda _, a, b: a
)
for _name, _sympy, _arguments in (
    ("_exprel_slope", ExprelSlope, 1),
    ("_power_log", PowerLog, 2),
):
    DEFAULT_FUNCTIONS[_name] = Function(
        IN_NUMPY[_name], sympy_func=_sympy, arg_units=[1] * _arguments, return_unit=1
    )
