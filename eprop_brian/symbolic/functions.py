"""Functions of equations that Brian2 does not have."""

from __future__ import annotations

import numpy as np
import sympy
from brian2.core.functions import Function

__all__ = ["FUNCTIONS", "WHERE", "where"]

#: Name of the function that chooses between two values.
WHERE = "where"


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


#: As Brian2 knows them, by name. The code object classes add what they make of them.
FUNCTIONS = {
    WHERE: Function(np.where, arg_units=[1, None, None], return_unit=lambda _, a, b: a),
}
