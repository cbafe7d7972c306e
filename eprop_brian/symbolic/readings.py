"""What is read of a neuron's states: by readouts in the place of spikes, by a regulariser.

A readout that reads ``s(h)`` of a neuron gets ``s(h[t])`` in the place of the spike z[t] in every
step. The learning signal that answers it meets the eligibility vector itself, where that of spikes
meets the eligibility trace: ``ds/dh . eps`` stands in the place of ``c . eps``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import sympy

from eprop_brian.symbolic.coefficients import Coefficient
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import (
    parse_expression,
    require_known,
    symbol,
)
from eprop_brian.symbolic.step_map import StepMap

__all__ = ["Reading", "signal_name", "state_cost", "state_expression"]


def signal_name(number: int) -> str:
    """The learning signal that answers a reading, ``L`` for spikes, which have number 0."""
    return f"L_reading_{number}" if number else "L"


@dataclass(frozen=True)
class Reading:
    """An expression of a neuron's states that readouts sum in the place of its spikes.

    Attributes
    ----------
    number : int
        From 1 on.
    text : str
        As it is given.
    value : Coefficient
    gradient : dict of str to Coefficient
        d(value)/dh.
    """

    number: int
    text: str
    value: Coefficient
    gradient: dict[str, Coefficient]

    @property
    def signal(self) -> str:
        """The learning signal that answers it."""
        return signal_name(self.number)

    def within(self, components: Collection[str]) -> Reading:
        """The same without the entries of other states, and those that are 0."""
        kept = {k: c for k, c in self.gradient.items() if k in components and not c.is_zero}
        return replace(self, gradient=kept)


def state_cost(step: StepMap, cost: str) -> sympy.Expr:
    """The voltage regulariser's cost as an expression of the states, 0 without one.

    Raises
    ------
    EquationError
        As for `state_expression`.
    """
    if not cost.strip():
        return sympy.S.Zero
    return state_expression(step, cost, f"neuron '{step.neuron.name}', voltage_cost")


def state_expression(step: StepMap, text: str, where: str) -> sympy.Expr:
    """An expression of a neuron's states, parameters and constants, and of ``margin``.

    Raises
    ------
    EquationError
        If it names something unknown, or cannot be differentiated by a state.
    """
    parsed = parse_expression(text, where)
    known = [*step.states, *step.parameters, *step.constants, "margin"]
    require_known(sorted(s.name for s in parsed.free_symbols), known, where, text)
    parsed = parsed.subs(symbol("margin"), step.margin)
    if not parsed.free_symbols & {symbol(state) for state in step.states}:
        raise EquationError(where, text, "does not depend on any state of the neuron")
    return parsed
