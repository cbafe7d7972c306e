"""Models of the Brian2 style as equations: read, with names, units and flags checked."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import replace

from brian2.equations.equations import (
    BOOLEAN,
    DIFFERENTIAL_EQUATION,
    EQUATIONS,
    FLOAT,
    PARAMETER,
    SUBEXPRESSION,
    Equations,
    SingleEquation,
    extract_constant_subexpressions,
)
from brian2.units import second
from brian2.units.fundamentalunits import Dimension
from brian2.utils.stringtools import get_identifiers
from pyparsing import ParseException

from eprop_brian.base.suggestions import did_you_mean
from eprop_brian.equations.neuron import Neuron
from eprop_brian.symbolic.bounds import (
    check_unit,
    check_written_out,
)
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import (
    parse_expression,
    require_dimensions,
    split_statements,
)
from eprop_brian.symbolic.names import substituted

__all__ = [
    "NEURON_FLAGS",
    "NO_FLAGS",
    "check_shared",
    "moving_subexpressions",
    "parse_model",
    "read_model",
    "set_by_spikes",
    "without_subexpressions",
    "written_out_of",
]

#: Flags of Brian2's equations of neurons, and of dynamics that have neither spikes nor neurons.
NEURON_FLAGS: Mapping[str, tuple[str, ...]] = {
    DIFFERENTIAL_EQUATION: ("unless refractory",),
    SUBEXPRESSION: ("shared", "constant over dt"),
    # Only states without an equation are left of them (`declarations`).
    PARAMETER: (),
}
NO_FLAGS: Mapping[str, tuple[str, ...]] = {DIFFERENTIAL_EQUATION: (), SUBEXPRESSION: ()}


def parse_model(model: str, where: str) -> Equations:
    """Equations as Brian2 reads them, with bounds on what it works out for them.

    Raises
    ------
    EquationError
        If a line cannot be read.
    """
    _check_bounds(model, where)
    try:
        return Equations(model)
    except Exception as error:  # Brian2 raises several types for malformed equations
        reason = str(error).strip().splitlines()[-1]
        position = re.search(r" *\(at char \d+\), \(line:(\d+), col:\d+\)", reason)
        if position is None:
            raise EquationError(where, model, f"cannot be read: {reason}") from None
        raise EquationError(
            where,
            model.splitlines()[int(position.group(1)) - 1],
            "cannot be read; write one equation a line with its unit, e.g. `dv/dt = -v/tau_m : 1`",
        ) from None


def read_model(
    model: str,
    dimensions: Mapping[str, Dimension],
    where: str,
    flags: Mapping[str, tuple[str, ...]] = NEURON_FLAGS,
) -> Equations:
    """The equations of a model, with their units and symbols checked.

    Parameters
    ----------
    model : str
        Brian2 equations: differential ones and subexpressions.
    dimensions : mapping of str to Dimension
        Of the parameters.
    where : str
        Named in the error.
    flags : mapping
        Flags that an equation may have, by its type.

    Raises
    ------
    EquationError
        If a line cannot be read, names something undefined or an unknown flag, or its unit does not
        fit.
    """
    equations = parse_model(model, where)
    known = {**dimensions, **{eq.varname: eq.dim for eq in equations.values()}, "dt": second.dim}
    for eq in equations.values():
        if eq.type not in flags:
            raise EquationError(
                where, str(eq), "parameters belong in [parameters], with their value"
            )
        if eq.var_type != FLOAT:
            raise EquationError(where, str(eq), "has the type integer or boolean; write a unit")
        _check_flags(eq, flags[eq.type], where)
        if eq.type == DIFFERENTIAL_EQUATION:
            line = f"d{eq.varname}/dt = {eq.expr}"
            unit = eq.dim / second.dim
        elif eq.type == SUBEXPRESSION:
            line, unit = f"{eq.varname} = {eq.expr}", eq.dim
        else:
            continue
        require_dimensions(str(eq.expr), unit, known, where, line)
    return equations


def set_by_spikes(neuron: Neuron) -> set[str]:
    """What the spikes of a step set to their sum, as a summed variable of Brian2's synapses.

    Its statement is ``s = w``: what it was before does not matter.
    """
    return {
        name.removesuffix("_post")
        for on_pre in neuron.on_pre_by_receptor.values()
        for name, expression in split_statements(on_pre, f"neuron '{neuron.name}', on_pre")
        if not get_identifiers(expression) & {name, f"{name.removesuffix('_post')}_post"}
    }


def _check_flags(eq: SingleEquation, allowed: tuple[str, ...], where: str) -> None:
    for flag in eq.flags or ():
        if flag in allowed:
            continue
        hint = did_you_mean(flag, allowed)
        there = f"; the flags of a {eq.type} are {', '.join(allowed)}" if allowed else ""
        raise EquationError(where, str(eq), f"has an unknown flag '{flag}'{hint}{there}")


def check_shared(equations: Equations, differing: Collection[str], where: str) -> None:
    """Check that a shared equation reads shared values only, none that differ among neurons."""
    several = {*differing}
    several |= {eq.varname for eq in equations.values() if "shared" not in (eq.flags or ())}
    for eq in equations.values():
        if "shared" in (eq.flags or ()):
            names = sorted(eq.identifiers & several)
            if names:
                raise EquationError(
                    f"{where}, model",
                    str(eq),
                    f"is one value for all neurons (shared), and '{names[0]}' has one for each",
                )


def _check_bounds(model: str, where: str) -> None:
    """Check everything in a model that Brian2 works out while reading it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            parsed = EQUATIONS.parseString(model, parseAll=True)
    except ParseException:
        return  # Brian2's error has the position
    expressions = {}
    for equation in parsed:
        name, expression = equation["identifier"], equation.get("expression", "").strip()
        left = f"d{name}/dt" if equation.getName() == DIFFERENTIAL_EQUATION else name
        line = f"{left} = {expression} : {equation['unit']}" if expression else name
        check_unit(equation["unit"], line, where)
        if expression:
            condition = equation["unit"].strip() == BOOLEAN
            parse_expression(f"int({expression})" if condition else expression, where)
            expressions[name] = expression
    check_written_out(expressions, where)


def without_subexpressions(neuron: Neuron, equations: Equations) -> Neuron:
    """Write the model's subexpressions out where they are used outside the model.

    What is constant over a time step is kept from its start, so it stands for itself.
    """
    written_out = moving_subexpressions(equations)
    at_start = {name: f"({expression})" for name, expression in written_out_of(equations).items()}
    # Where a spike enters, w is its weight: the neuron's own goes by its second name there.
    entering = {name: substituted(x, {"w": "w_post"}) for name, x in written_out.items()}
    entering |= {f"{name}_post": x for name, x in entering.items()}
    entering.pop("w", None)
    on_pre = {r: substituted(code, entering) for r, code in neuron.on_pre_by_receptor.items()}
    return replace(
        neuron,
        on_pre=on_pre if neuron.receptor_names != ("",) else on_pre[""],
        threshold=substituted(neuron.threshold, written_out),
        surrogate=substituted(neuron.surrogate, written_out),
        refractory_surrogate=substituted(neuron.refractory_surrogate, written_out),
        reset=substituted(neuron.reset, written_out),
        refractory=substituted(neuron.refractory, written_out),
        initial={
            state: substituted(value, at_start) if isinstance(value, str) else value
            for state, value in neuron.initial.items()
        },
    )


def moving_subexpressions(equations: Equations) -> dict[str, str]:
    """Subexpressions, written out, of which no value is kept over a time step."""
    moving, _ = extract_constant_subexpressions(equations)
    return {name: f"({expression})" for name, expression in written_out_of(moving).items()}


def written_out_of(equations: Equations) -> dict[str, str]:
    """Subexpressions as expressions of states and parameters."""
    return {
        name: str(expression)
        for name, expression in equations.get_substituted_expressions(include_subexpressions=True)
        if equations[name].type == SUBEXPRESSION
    }
