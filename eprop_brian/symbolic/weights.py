"""Functions of the weight: what a synapse adds where that is not proportional to its weight.

A spike through a synapse of weight w adds ``f(w)*S`` to a state, ``clip(w, 0, w_max)*S`` for
example. The input of a step is then the sum of f(w_i), every derivation stays what it is with
f(w_i) in the place of w_i, and the gradient by a weight is that by f(w) times f'(w).

Brian2 applies the spikes of a step one after the other. Where a state moves towards E by a part of
the way that is proportional to the weight, as by ``v += w*(E - v)``, spikes through several
synapses lead it to ``E + (v - E)*(1 - w_1)*(1 - w_2)*...`` in whatever order. That is ``E + (v -
E)*exp(sum of f(w_i))`` with ``f(w) = log(1 - w)``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from brian2.core.functions import DEFAULT_FUNCTIONS

from eprop_brian.base.printable import warn
from eprop_brian.base.suggestions import unknown
from eprop_brian.equations.neuron import Neuron
from eprop_brian.symbolic.derivatives import derivative, tidied, vanishes
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import (
    expression_text,
    in_numpy,
    symbol,
)
from eprop_brian.symbolic.names import substituted
from eprop_brian.symbolic.pieces import STEPS

__all__ = ["WEIGHT", "Effects", "WeightFunction", "check_order"]

#: The weight of a synapse.
WEIGHT = symbol("w")
#: What consists of pieces, whose second derivative may vanish where it is not proportional.
_PIECES = (sympy.Abs, sympy.Mod, *map(sympy.Function, ("clip", *STEPS)))


@dataclass(frozen=True)
class WeightFunction:
    """A function of the weight.

    Attributes
    ----------
    expression : sympy.Expr
        Of ``w`` and of parameters and constants of the postsynaptic neuron, whose names end with
        ``_post``.
    """

    expression: sympy.Expr

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters and constants that it reads, without ``_post``."""
        symbols = self.expression.free_symbols - {WEIGHT}
        return tuple(sorted(s.name.removesuffix("_post") for s in symbols))

    @property
    def slope(self) -> sympy.Expr:
        """Its derivative."""
        return derivative(self.expression, WEIGHT)

    def code(self, expression: sympy.Expr, names: Mapping[str, str]) -> str:
        """The function or its slope as a string, with names for those that it reads."""
        given = {f"{name}_post": names[name] for name in self.names}
        return substituted(expression_text(expression), given)

    def text(self, expression: sympy.Expr) -> str:
        """The function or its slope as people read it."""
        return self.code(expression, {name: name for name in self.names})

    def values(self, weights: Any, of_neurons: Mapping[str, Any]) -> np.ndarray:
        """Its values; those of the neurons have the weights' shape, or a column's."""
        names = (WEIGHT.name, *(f"{name}_post" for name in self.names))
        given = (weights, *(of_neurons[name] for name in self.names))
        with np.errstate(all="ignore"):
            (result,) = in_numpy(names, (self.expression,))(*map(np.asarray, given))
        return np.asarray(result, dtype=float)


class Effects:
    """What presynaptic spikes do at a receptor, summed over the spikes of a step.

    Parameters
    ----------
    weight : Symbol
        The weight in a statement; the sum over the spikes in what `summed` returns.
    fixed : iterable of str
        Parameters and constants.
    entered : collection of Symbol
        All states that the receptor's statements change.
    sequential : bool
        Whether spikes come one after the other, or all at once.

    Attributes
    ----------
    function : WeightFunction or None
        What is summed, if it is not the weights.
    """

    def __init__(
        self,
        weight: sympy.Symbol,
        fixed: Iterable[str],
        entered: Collection[sympy.Symbol],
        sequential: bool,
    ) -> None:
        self._weight, self._fixed = weight, {symbol(name) for name in fixed}
        self._entered, self._sequential = entered, sequential
        self._summed: sympy.Expr | None = None

    @property
    def function(self) -> WeightFunction | None:
        if self._summed is None or self._summed == self._weight:
            return None
        names: dict[sympy.Basic, sympy.Basic] = {s: symbol(f"{s.name}_post") for s in self._fixed}
        return WeightFunction(self._summed.xreplace({**names, self._weight: WEIGHT}))

    def summed(self, new: sympy.Expr, state: sympy.Symbol, where: str, line: str) -> sympy.Expr:
        """The new value of a state from the sum over the spikes.

        Parameters
        ----------
        new : sympy.Expr
            Its new value by a spike.
        state : Symbol
        where, line : str
            Named in errors.

        Raises
        ------
        EquationError
            If what a spike changes is no function of the weight times something else, or no sum
            over the spikes of a step says what they do together.
        """
        function, slope = self._factors(new, state, where, line)
        changed = sorted(slope.free_symbols & {*self._entered}, key=str)
        if changed and not self._sequential:
            warn(
                f"{where}: `{line}` multiplies the weight by something with "
                f"'{changed[0]}', which a presynaptic spike changes. Where several spikes of a "
                "step reach a neuron, they are summed first; Brian2 applies them one by one, as "
                "on_pre_order = 'sequential' does",
                stacklevel=2,
            )
        elif changed:
            part, towards = self._in_sequence(slope, state, where, line)
            function = DEFAULT_FUNCTIONS["log1p"].sympy_func(-part * function)
            new = towards + (state - towards) * sympy.exp(self._weight)
        elif function != self._weight:
            new = state + slope * self._weight
        if self._summed is None:
            self._summed = function
        if function == self._summed:
            return new
        ratio = sympy.cancel(function / self._summed)
        if ratio.has(self._weight) or changed:
            raise EquationError(
                where,
                line,
                f"sums {_shown(function, self._weight)} over the spikes of a step, and another "
                f"statement {_shown(self._summed, self._weight)}: give each a receptor and "
                "projections of its own",
            )
        return state + slope * ratio * self._weight

    def _factors(
        self, new: sympy.Expr, state: sympy.Symbol, where: str, line: str
    ) -> tuple[sympy.Expr, sympy.Expr]:
        """A function of the weight, and what a spike adds divided by it."""
        weight = self._weight
        added, slope = new.subs(weight, 0) - state, derivative(new, weight)
        pieces = any(part.has(weight) for part in new.atoms(*_PIECES))
        flat = not slope.has(weight) or not pieces and vanishes(derivative(slope, weight))
        if vanishes(added) and flat and not vanishes(slope):
            return weight, slope
        factor, function = sympy.factor(new - state).as_independent(weight, as_Add=False)
        if function.free_symbols - {weight, *self._fixed} or not function.has(weight):
            raise EquationError(
                where,
                line,
                "must add something proportional to the weight, e.g. `v += w`, or to a function "
                "of the weight and of parameters, e.g. `v += clip(w, 0, w_max)`: the inputs of a "
                "step are summed",
            )
        if derivative(function, weight) == 0:
            raise EquationError(where, line, "changes with the weight by jumps alone")
        return function, factor

    def _in_sequence(
        self, slope: sympy.Expr, state: sympy.Symbol, where: str, line: str
    ) -> tuple[sympy.Expr, sympy.Expr]:
        """By which part of the way, times the function of the weight, and where a spike leads."""
        part = tidied(-derivative(slope, state))
        towards = tidied(sympy.cancel(state + slope / part)) if part != 0 else slope
        if part == 0 or part.free_symbols - self._fixed or towards.free_symbols & {*self._entered}:
            raise EquationError(
                where,
                line,
                "has no closed form for spikes that come one after the other: they must move "
                f"`{state}` by a part of the way that depends on the weight and on parameters "
                f"alone, as `{state} += w*(E - {state})` does; or take on_pre_order = 'summed'",
            )
        return part, towards


def check_order(neuron: Neuron, where: str) -> bool:
    """Whether spikes of a step come one after the other, rather than summed.

    Raises
    ------
    EquationError
        If it is neither.
    """
    if neuron.on_pre_order not in ("summed", "sequential"):
        raise EquationError(
            where,
            f"on_pre_order = {neuron.on_pre_order}",
            unknown("order", str(neuron.on_pre_order), ("summed", "sequential")),
        )
    return neuron.on_pre_order == "sequential"


def _shown(function: sympy.Expr, weight: sympy.Symbol) -> str:
    return f"`{expression_text(function.xreplace({weight: WEIGHT}))}`"
