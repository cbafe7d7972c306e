"""Initial values: what states are at the start of a trial.

They are numbers, one value for each neuron, or expressions of parameters, constants, ``dt``, ``i``,
``N``, ``rand()``, ``randn()``, and of the states whose values stand above them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
from brian2.units import second
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension

from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import (
    evaluate,
    parse_expression,
    require_dimensions,
    require_known,
)
from eprop_brian.symbolic.parameters import displayed_unit, resolve_parameters
from eprop_brian.symbolic.per_neuron import Members

__all__ = ["Initial", "read_initial", "start_values"]

#: Initial values by state: expressions, and values in SI units.
Initial: TypeAlias = "dict[str, str | np.ndarray | float]"


def read_initial(
    initial: Mapping[str, Any],
    units: Mapping[str, Dimension],
    known: Mapping[str, Dimension],
    members: Members,
    where: str,
) -> Initial:
    """Check that initial values have the units of their states, and bring them to one form.

    Parameters
    ----------
    initial : mapping
    units : mapping of str to Dimension
        Of the states.
    known : mapping of str to Dimension
        Of parameters and constants.
    members : Members
    where : str
        Named in errors.

    Raises
    ------
    EquationError
    """
    where = f"{where}, initial"
    read: Initial = {}
    known = {**known, "dt": second.dim}
    for state, value in initial.items():
        line = f"{state} = {value}"
        require_known([state], units, where, line)
        if not isinstance(value, str):
            values, dimensions = resolve_parameters({state: value}, where)
            if dimensions[state] is not units[state] and np.any(values[state]):
                found, wanted = map(displayed_unit, (dimensions[state], units[state]))
                raise EquationError(where, line, f"has unit {found} where {wanted} is needed")
            read[state] = values[state]
            continue
        text, drawn = members.drawn(value, state)
        own = dict.fromkeys(drawn, DIMENSIONLESS)
        try:
            # Zero fits every unit.
            if parse_expression(text, where) != 0:
                scope = {**known, **own, **{above: units[above] for above in read}}
                require_dimensions(text, units[state], scope, where, line)
            read[state] = value
        except EquationError as error:
            raise EquationError(
                where,
                line,
                f"{error.problem}\nAn initial value is an expression, e.g. `E_l` or `-70*mV`",
            ) from None
    return read


def start_values(
    initial: Initial,
    states: Iterable[str],
    values: Mapping[str, np.ndarray | float],
    members: Members,
    where: str,
) -> dict[str, np.ndarray | float]:
    """SI value of every state at the start of a trial.

    Parameters
    ----------
    initial : mapping
        As `read_initial` gives it.
    states : iterable of str
    values : mapping of str to float or array
        Of parameters, constants and ``dt``.
    members : Members
    where : str
        Named in errors.
    """
    start: dict[str, np.ndarray | float] = {}
    for state, value in initial.items():
        if isinstance(value, str):
            text, own = members.drawn(value, f"initial {state}")
            value = evaluate(text, {**values, **start, **own}, f"{where}, initial")
        start[state] = value
    return {state: start.get(state, 0.0) for state in states}
