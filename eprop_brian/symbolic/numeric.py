"""The value of an expression, computed by walking it.

`sympy.lambdify` writes and compiles a function first, which takes far longer than one evaluation of
an expression of thousands of operations. Parts that are equal are computed once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import mpmath
import numpy as np
import sympy

from eprop_brian.symbolic.functions import IN_NUMPY

__all__ = ["IN_MPMATH", "value_in_numpy", "value_of"]

_COMPARISONS = {
    sympy.StrictGreaterThan: operator.gt,
    sympy.GreaterThan: operator.ge,
    sympy.StrictLessThan: operator.lt,
    sympy.LessThan: operator.le,
    sympy.Equality: operator.eq,
    sympy.Unequality: operator.ne,
}
#: What NumPy calls sympy's functions, where that differs.
_NUMPY_NAMES = {"acos": "arccos", "asin": "arcsin", "atan": "arctan", "Abs": "abs"}
_NUMPY_NAMES |= {"ceiling": "ceil", "Mod": "mod", "Detached": "asarray"}
_NUMPY_NAMES |= {"Not": "logical_not"}
#: Conditions that are joined, by what joins two of them.
_JOINED = {sympy.And: np.logical_and, sympy.Or: np.logical_or}
#: Largest argument with which mpmath computes: it works out every digit, however many there are.
_LARGEST = 1e5


def _limited(function: Callable[..., Any]) -> Callable[..., Any]:
    def compute(*arguments):
        if any(abs(x) > _LARGEST for x in arguments):
            raise OverflowError("too many digits")
        return function(*arguments)

    return compute


_IN_MPMATH: dict[str, Callable[..., Any]] = {
    **{name: getattr(mpmath, name) for name in ("acos", "asin", "atan", "cos", "cosh", "exp")},
    **{name: getattr(mpmath, name) for name in ("expm1", "log", "log10", "log1p")},
    **{name: getattr(mpmath, name) for name in ("sin", "sinh", "tan", "tanh")},
    "Detached": lambda x: x,
    "exprel": lambda x: mpmath.expm1(x) / x,
    "_exprel_slope": lambda x: 1 / (1 - mpmath.exp(-x)) - 1 / x,
    "_power_log": lambda x, a: x**a * mpmath.log(x),
    "power": lambda x, a: x**a,
}
#: Analytic functions with any number of digits, by sympy's names.
IN_MPMATH = {name: _limited(function) for name, function in _IN_MPMATH.items()}


def _numpy_function(name: str) -> Callable[..., Any]:
    return IN_NUMPY[name] if name in IN_NUMPY else getattr(np, _NUMPY_NAMES.get(name, name))


def value_in_numpy(
    expression: sympy.Basic, values: Mapping[str, Any], known: dict[sympy.Basic, Any]
) -> Any:
    """Value of an expression in double precision; `known` keeps the values of its parts."""
    with np.errstate(all="ignore"):
        return value_of(expression, values, known, _numpy_function, np.float64)


def value_of(
    expression: sympy.Basic,
    values: Mapping[str, Any],
    known: dict[sympy.Basic, Any],
    function: Callable[[str], Callable[..., Any]],
    number: Callable[[Any], Any],
) -> Any:
    """Value of an expression.

    Parameters
    ----------
    expression : sympy.Basic
    values : mapping of str to number or array
        Of its symbols.
    known : dict
        Values of parts, which are added here.
    function : callable
        Gives the function for sympy's name of it, or raises any error if there is none.
    number : callable
        Makes a number of a Python float or a string of digits.
    """
    value = known.get(expression)
    if value is not None:
        return value
    if expression.is_Symbol:
        result = values[expression.name]
    elif expression.is_Rational:
        result = number(expression.p) / number(expression.q)
    elif expression.is_number and not expression.args:
        result = number(float(expression))
    else:
        parts = [value_of(x, values, known, function, number) for x in expression.args]
        if expression.is_Add:
            result = reduce(operator.add, parts)
        elif expression.is_Mul:
            result = reduce(operator.mul, parts)
        elif expression.is_Pow:
            result = function("power")(*parts)
        elif expression.func in _JOINED:
            result = reduce(_JOINED[expression.func], parts)
        elif expression.func in _COMPARISONS:
            result = _COMPARISONS[expression.func](*parts)
        else:
            result = function(expression.func.__name__)(*parts)
    known[expression] = result
    return result
