"""What a model declares besides its equations: parameters and conditions.

Brian2's models may name parameters with their unit, ``I : amp``, and conditions, ``up = v > v_T :
boolean``. Parameters get their values from ``parameters``; one that the reset or a presynaptic
spike assigns is a state without an equation. Conditions are written out where they are named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from brian2.equations.equations import (
    BOOLEAN,
    DIFFERENTIAL_EQUATION,
    INTEGER,
    PARAMETER,
    Equations,
    SingleEquation,
)
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension
from brian2.utils.stringtools import get_identifiers

from eprop_brian.equations.brian_arguments import equation_text, text_of
from eprop_brian.equations.neuron import Neuron
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import split_statements
from eprop_brian.symbolic.model_text import parse_model, set_by_spikes
from eprop_brian.symbolic.names import substituted
from eprop_brian.symbolic.parameters import displayed_unit, unit_name

__all__ = ["Declarations", "check_parameter", "check_unit", "declarations"]

#: A line without an equation, or one that is no float.
_DECLARES = re.compile(r"^[^=#\n]*\w\s*:|:\s*(?:boolean|integer)\b", re.MULTILINE)
_FLAGS = ("constant", "shared")


@dataclass(frozen=True)
class Declarations:
    """A neuron whose model holds equations alone, and what it has declared.

    Attributes
    ----------
    neuron : Neuron
        With conditions written out. Of the declared parameters its model has the assigned ones.
    parameters : mapping of str to Dimension
        All declared parameters with their units.
    shared : frozenset of str
        Those that all neurons have in common.
    assigned : tuple of str
        Those that are states, since the reset or a spike changes them.
    """

    neuron: Neuron
    parameters: Mapping[str, Dimension] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()
    assigned: tuple[str, ...] = ()

    def check_values(
        self,
        values: Mapping[str, np.ndarray | float],
        dimensions: Mapping[str, Dimension],
        where: str,
    ) -> None:
        """Check that every declared parameter has a value in its unit, or begins with one.

        Parameters
        ----------
        values : mapping of str to float or array
        dimensions : mapping of str to Dimension
            Of these.
        where : str
            Named in errors.

        Raises
        ------
        EquationError
        """
        for name, dimension in self.parameters.items():
            line = f"{name} : {unit_name(dimension)}"
            if name in set_by_spikes(self.neuron):
                continue
            starts = name in self.assigned and name in self.neuron.initial
            if starts and name in self.neuron.parameters:
                raise EquationError(
                    f"{where}, initial",
                    f"{name} = {self.neuron.initial[name]}",
                    f"'{name}' has a value in `parameters`, too: give it one of them",
                )
            if starts:
                continue
            if name not in self.neuron.parameters:
                raise EquationError(
                    f"{where}, model",
                    line,
                    f"'{name}' has no value: give it one in `parameters` (in Brian2 it would be 0, "
                    "which is rarely meant)",
                )
            assigned = f"{name} = {self.neuron.parameters[name]}"
            check_unit(assigned, values[name], dimensions[name], dimension, where)
            if name in self.shared and np.ndim(values[name]):
                raise EquationError(
                    f"{where}, parameters",
                    assigned,
                    "has a value for each neuron, and is declared as one for all (shared)",
                )


def check_unit(
    assigned: str,
    value: np.ndarray | float,
    dimension: Dimension,
    declared: Dimension,
    where: str,
) -> None:
    """Raise EquationError unless a parameter's value has the unit that is declared; 0 needs none.

    `assigned` is the line that gives the value, and `where` whose parameter it is.
    """
    without = dimension is DIMENSIONLESS and not np.any(value)
    if dimension is not declared and not without:
        raise EquationError(
            f"{where}, parameters",
            assigned,
            f"has unit {displayed_unit(dimension)} where {displayed_unit(declared)} is declared",
        )


def declarations(neuron: Neuron, where: str) -> Declarations:
    """Read what the model of a neuron declares.

    Raises
    ------
    EquationError
        If a flag or type has no meaning here.
    """
    if not _DECLARES.search(neuron.model):
        return Declarations(neuron)
    where = f"{where}, model"
    equations = parse_model(neuron.model, where)
    conditions, declared, rest = {}, {}, []
    for equation in equations.values():
        if equation.type == PARAMETER:
            check_parameter(equation, where)
            declared[equation.varname] = equation
        elif equation.var_type == BOOLEAN and equation.type != DIFFERENTIAL_EQUATION:
            if equation.flags:
                raise EquationError(where, equation_text(equation), "a condition has no flags here")
            conditions[equation.varname] = str(equation.expr)
        else:
            rest.append(equation)
    changed = _assigned(neuron, where)
    assigned = tuple(name for name in declared if name in changed)
    kept = [SingleEquation(PARAMETER, name, declared[name].dim) for name in assigned]
    plain = replace(neuron, model=text_of(Equations([*rest, *kept])))
    return Declarations(
        _written_out(plain, conditions),
        {name: equation.dim for name, equation in declared.items()},
        frozenset(name for name, equation in declared.items() if "shared" in equation.flags),
        assigned,
    )


def check_parameter(equation: SingleEquation, where: str) -> None:
    """Raise EquationError for a declared parameter whose type or flag has no meaning here."""
    if equation.var_type == BOOLEAN:
        raise EquationError(
            where, equation_text(equation), "is true or false: declare a number, and compare it"
        )
    if equation.var_type == INTEGER and equation.dim is not DIMENSIONLESS:
        raise EquationError(where, equation_text(equation), "is an integer with a unit")
    for flag in equation.flags:
        if flag not in _FLAGS:
            raise EquationError(
                where,
                equation_text(equation),
                f"the flag '{flag}' has no meaning here; the flags of a parameter are "
                f"{', '.join(_FLAGS)}",
            )


def _assigned(neuron: Neuron, where: str) -> set[str]:
    """What the reset and presynaptic spikes assign."""
    codes = (neuron.reset, *neuron.on_pre_by_receptor.values())
    statements = [s for code in codes for s in split_statements(code, where)]
    return {name.removesuffix("_post") for name, _ in statements}


def _written_out(neuron: Neuron, conditions: Mapping[str, str]) -> Neuron:
    """The neuron with its conditions in the place of their names."""
    texts = {name: _whole(name, conditions) for name in conditions}
    if not texts:
        return neuron
    written = {name: f"({text})" for name, text in texts.items()}

    def within(code: str) -> str:
        return substituted(code, written)

    on_pre = {r: within(code) for r, code in neuron.on_pre_by_receptor.items()}
    return replace(
        neuron,
        model=within(neuron.model),
        reset=within(neuron.reset),
        threshold=within(neuron.threshold),
        surrogate=within(neuron.surrogate),
        refractory=within(neuron.refractory),
        on_pre=on_pre[""] if isinstance(neuron.on_pre, str) else on_pre,
    )


def _whole(name: str, conditions: Mapping[str, str]) -> str:
    """A condition with the conditions in it written out: Brian2 refuses circles."""
    text = conditions[name]
    named = get_identifiers(text) & conditions.keys()
    return substituted(text, {other: f"({_whole(other, conditions)})" for other in named})
