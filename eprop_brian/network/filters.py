"""Values of the filter that a readout, or a learning signal that a population emits, has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from brian2.units import Quantity, second

from eprop_brian.equations.readouts import ReadoutFilter
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import evaluate
from eprop_brian.symbolic.parameters import resolve_parameters
from eprop_brian.symbolic.programs import readout_program

__all__ = ["filter_values", "trace_filter"]


def filter_values(readout: ReadoutFilter, dt: Quantity) -> dict[str, Any]:
    """SI values of a filter's parameters and constants.

    Raises
    ------
    EquationError
        If a time constant is no time, or not positive.
    """
    where = f"readout '{readout.name}'"
    values, dimensions = resolve_parameters(readout.parameters, f"{where}, parameters")
    for name, value in values.items():
        if name.startswith("tau") and dimensions[name] is not second.dim:
            raise EquationError(where, f"{name} = {value}", "must be a time, e.g. `20 ms`")
        if name.startswith("tau") and not np.all(np.asarray(value) > 0):
            raise EquationError(where, f"{name} = {value}", "must be positive")
    for name, expression in readout.constants.items():
        scope = {**values, "dt": float(dt)}
        values[name] = evaluate(expression, scope, f"{where}, constant {name}")
    return values


def trace_filter(
    readout: ReadoutFilter, values: Mapping[str, Any], dt: float
) -> tuple[float, float]:
    """Decay and gain of eligibility traces that are filtered as a filter says.

    Parameters
    ----------
    readout : ReadoutFilter
    values : mapping of str to number
        As `filter_values` gives them.
    dt : float
        In seconds.
    """
    scope, where = {**values, "dt": dt}, f"readout '{readout.name}'"
    program = readout_program(readout)
    return (
        float(evaluate(program.trace_decay.expression, scope, where)),
        float(evaluate(program.trace_gain.expression, scope, where)),
    )
