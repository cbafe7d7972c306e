"""Coefficients of an eligibility system: derivatives of a step, as expressions and as strings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import sympy
from brian2.core.functions import exprel

from eprop_brian.symbolic.expressions import expression_text, scaled
from eprop_brian.symbolic.names import substituted

__all__ = ["LIMITS", "Coefficient", "LearnedParameter", "Limits", "eps_name"]


def eps_name(state: str) -> str:
    """Name of a component of the eligibility vector."""
    return f"eps_{state}"


@dataclass(frozen=True)
class Limits:
    """Where numbers of a type are cut so that results do not overflow.

    Attributes
    ----------
    state, exponent : str
        Largest state, and largest argument of an exponential.
    """

    state: str
    exponent: str


#: Functions that overflow.
_GROWING = (sympy.exp, sympy.cosh, sympy.sinh, exprel)
#: By the bytes of a float.
LIMITS = {4: Limits("1e18", "80.0"), 8: Limits("1e100", "650.0")}


@dataclass(frozen=True)
class Coefficient:
    """An entry of A, u, b or c.

    Attributes
    ----------
    expression : sympy.Expr
    name : str
        Variable that holds the entry in each step if it varies in time; ``""`` if it does not.
    names : mapping of str to str
        Names in strings, for those names of the expression that differ.
    """

    expression: sympy.Expr
    name: str = ""
    names: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_zero(self) -> bool:
        return self.expression == 0

    @property
    def code(self) -> str:
        """The expression as a string."""
        return substituted(expression_text(self.expression), self.names)

    def code_within(self, limits: Limits, states: Collection[str]) -> str:
        """The same, finite where one of the states overflows, as a membrane on its upstroke.

        The reset stops what such a state does, by factors 0, and 0 times infinity is not a number.
        """
        symbols = self.expression.free_symbols
        moving = {s for s in symbols if self.names.get(s.name, s.name) in states}
        parts = self.expression.atoms(sympy.Function, sympy.Pow)
        if not any(part.free_symbols & moving for part in parts):
            return self.code

        def limited(x: sympy.Expr, limit: str) -> sympy.Expr:
            return sympy.Function("clip")(x, -sympy.Symbol(limit), sympy.Symbol(limit))

        finite = self.expression.replace(
            lambda part: isinstance(part, sympy.exp) and part.free_symbols & moving,
            lambda part: sympy.exp(limited(part.args[0], limits.exponent)),
        )
        finite = finite.xreplace({s: limited(s, limits.state) for s in moving})
        return substituted(expression_text(finite), self.names)

    def bounded_code(self, limits: Limits) -> str:
        """The same between the limits of a state, for what is multiplied by others of its kind."""
        low, high = -sympy.Symbol(limits.state), sympy.Symbol(limits.state)
        finite = self.expression.replace(
            lambda part: isinstance(part, _GROWING),
            lambda part: sympy.Function("clip")(part, low, high),
        )
        code = substituted(expression_text(finite), self.names)
        return f"clip({code}, {low}, {high})"

    def __str__(self) -> str:
        return self.name or self.code

    def times(self, factor: str) -> str:
        """The product with `factor` as an expression string, ``""`` if it is zero."""
        if self.name:
            return f"{self.name}*{factor}"
        return scaled(self.expression, factor, self.names)


@dataclass(frozen=True)
class LearnedParameter:
    """The effect of a neuron's learned parameter in a step: the source of its eligibility.

    Attributes
    ----------
    name : str
    drive : dict of str to Coefficient
        dM/dparameter, through the constants that are computed from it too.
    spike_gradient : Coefficient
        d(margin)/dparameter.
    slopes : dict of str to str
        Derivatives of constants by the parameter that the coefficients use: name to expression.
    constants : tuple of str
        Those constants, in the order of `slopes`.
    cost_gradient : Coefficient
        d(cost)/dparameter at constant states.
    readings : tuple of Coefficient
        The same of every reading of the neuron.
    """

    name: str
    drive: dict[str, Coefficient]
    spike_gradient: Coefficient
    slopes: dict[str, str]
    constants: tuple[str, ...] = ()
    cost_gradient: Coefficient = Coefficient(sympy.S.Zero)
    readings: tuple[Coefficient, ...] = ()
