"""Units of what follows from a neuron's equations: of its input, its surrogate and its traces."""

from __future__ import annotations

from collections.abc import Mapping

import sympy
from brian2.units import second
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension, get_dimensions

from eprop_brian.symbolic.eligibility import EligibilitySystem
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import dimensions_of, symbol
from eprop_brian.symbolic.functions import WHERE
from eprop_brian.symbolic.names import BEFORE
from eprop_brian.symbolic.parameters import parse_quantity, unit_name
from eprop_brian.symbolic.step_map import StepMap

__all__ = ["TraceUnits", "trace_units"]


class TraceUnits:
    """SI units of a neuron's quantities, as Brian2 writes them.

    ``"1"`` is no unit, ``"unknown"`` one that the equations do not tell.

    Attributes
    ----------
    states : mapping of str to str
    inputs : mapping of str to str
        By receptor: of what arrives there, and so of the weights of the synapses onto it.
    surrogate : str
        Of dz/dv, the inverse unit of the threshold.
    """

    def __init__(
        self,
        states: Mapping[str, Dimension],
        inputs: Mapping[str, Dimension | None],
        threshold: Dimension | None,
    ) -> None:
        self._states, self._inputs = dict(states), dict(inputs)
        self.states = {state: unit_name(unit) for state, unit in states.items()}
        self.inputs = {receptor: _ratio(unit, DIMENSIONLESS) for receptor, unit in inputs.items()}
        self.surrogate = _ratio(DIMENSIONLESS, threshold)

    def component(self, state: str, receptor: str = "") -> str:
        """Unit of a component of the eligibility vector, d(state)/dw."""
        return _ratio(self._states[state], self._inputs[receptor])

    def trace(self, receptor: str = "") -> str:
        """Unit of the eligibility trace, dz/dw."""
        return _ratio(DIMENSIONLESS, self._inputs[receptor])


def _ratio(above: Dimension | None, below: Dimension | None) -> str:
    """Name of the SI unit of a ratio; ``1/volt`` where its inverse alone has a name."""
    if above is None or below is None:
        return "unknown"
    name, inverse = unit_name(above / below), unit_name(below / above)
    return f"1/{inverse}" if inverse.isidentifier() and not name.isidentifier() else name


def trace_units(system: EligibilitySystem) -> TraceUnits:
    """Units of a derived system."""
    known = _dimensions(system.step)
    states = {state: known[state] for state in system.step.states}
    arriving = system.step.signals.inputs
    inputs = {receptor: _input(name, system.step, known) for receptor, name in arriving.items()}
    return TraceUnits(states, inputs, _found(system.step.margin, known))


def _dimensions(step: StepMap) -> dict[str, Dimension]:
    """Of everything that the statements of a step read."""
    where = f"neuron '{step.neuron.name}'"
    flags = (step.signals.spike, step.signals.detached, "not_refractory", BEFORE)
    states = {
        state: get_dimensions(parse_quantity(f"1 {unit}", where))
        for state, unit in step.units.items()
    }
    exogenous = {quantity.name: quantity.dim for quantity in step.exogenous}
    known = {**step.dimensions, **exogenous, **states, "dt": second.dim}
    return known | dict.fromkeys(flags, DIMENSIONLESS)


def _input(arriving: str, step: StepMap, known: Mapping[str, Dimension]) -> Dimension | None:
    """Of an input: what it changes in a statement has the unit of the one by the other."""
    for name, expression in step.statements:
        slope = expression.diff(symbol(arriving)) if expression.has(symbol(arriving)) else 0
        # A slope that reads the input itself, whose unit is not known yet, tells nothing.
        unit = _found(slope, known) if slope != 0 and name in known else None
        if unit is not None:
            return known[name] / unit
    return None


def _found(expression: sympy.Expr, known: Mapping[str, Dimension]) -> Dimension | None:
    """Dimensions of an expression, None if it reads something unknown."""
    try:
        return dimensions_of(_plain(expression), known, "")
    except EquationError:
        return None


def _plain(expression: sympy.Expr) -> str:
    """An expression with one branch of every choice, which both have the same unit."""
    choices = expression.replace(
        lambda part: isinstance(part, sympy.Function) and str(part.func) == WHERE,
        lambda part: part.args[2] if part.args[1] == 0 else part.args[1],
    )
    return str(choices)
