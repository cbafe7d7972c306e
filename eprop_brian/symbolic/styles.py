"""Styles: both ways of writing a neuron, each brought to statements of a step in order."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from brian2.equations.equations import (
    DIFFERENTIAL_EQUATION,
    EQUATIONS,
    FLOAT,
    PARAMETER,
    SUBEXPRESSION,
    Equations,
    SingleEquation,
    extract_constant_subexpressions,
)
from brian2.stateupdaters.base import StateUpdateMethod
from brian2.units import second
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension
from brian2.utils.stringtools import get_identifiers
from pyparsing import ParseException

from eprop_brian.base.suggestions import did_you_mean, unknown
from eprop_brian.equations.neuron import Neuron
from eprop_brian.symbolic.bounds import EXACT, check_solvable, check_unit, check_written_out
from eprop_brian.symbolic.derivatives import derivative, tidied, vanishes
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.exact import exact_update
from eprop_brian.symbolic.expressions import (
    attached,
    expression_text,
    parse_expression,
    require_dimensions,
    require_known,
    scaled,
    split_statements,
    symbol,
    total,
)
from eprop_brian.symbolic.functions import WHERE
from eprop_brian.symbolic.names import BEFORE, Signals, input_name, substituted

__all__ = [
    "NEURON_FLAGS",
    "NO_FLAGS",
    "Statement",
    "check_shared",
    "model_statements",
    "read_model",
    "update_statements",
    "without_subexpressions",
]

#: A name and the expression that is assigned to it.
Statement = tuple[str, str]
#: Flags of Brian2's equations of neurons, and of dynamics that have neither spikes nor neurons.
NEURON_FLAGS: Mapping[str, tuple[str, ...]] = {
    DIFFERENTIAL_EQUATION: ("unless refractory",),
    SUBEXPRESSION: ("shared", "constant over dt"),
}
NO_FLAGS: Mapping[str, tuple[str, ...]] = {DIFFERENTIAL_EQUATION: (), SUBEXPRESSION: ()}
#: Results of `_state_update`, by method and equations.
_state_updates: dict[tuple[str, str], str] = {}


def update_statements(
    neuron: Neuron, dimensions: Mapping[str, Dimension], where: str
) -> tuple[list[Statement], dict[str, Dimension]]:
    """Statements of a step of the update style, and the dimensions of its states: none.

    Raises
    ------
    EquationError
        If a line is not a statement, a state has two, or units do not fit.
    """
    where = f"{where}, update"
    inputs = [input_name(receptor) for receptor in neuron.receptor_names]
    if not isinstance(neuron.on_pre, str):
        raise EquationError(
            where,
            "; ".join(neuron.on_pre.values()),
            "`on_pre` belongs to `model`; in `update` name the `receptors` and write "
            f"{' and '.join(inputs)} instead",
        )
    for option, code in {"reset": neuron.reset, "on_pre": neuron.on_pre}.items():
        if code.strip():
            raise EquationError(
                where, code, f"`{option}` belongs to `model`; in `update` write z and I instead"
            )
    statements = split_statements(neuron.update, where)
    states = [name for name, _ in statements]
    for state in states:
        if states.count(state) > 1:
            raise EquationError(where, neuron.update, f"'{state}' has more than one statement")
    # States of the update style carry no units, so neither do the parameters in their statements.
    units = dict.fromkeys(states, DIMENSIONLESS)
    read = dict.fromkeys((*inputs, "z", "not_refractory"), DIMENSIONLESS)
    known = {**dimensions, **units, **read, "dt": second.dim}
    for name, expression in statements:
        parse_expression(expression, where, detached=True)
        line = f"{name} = {expression}"
        require_dimensions(attached(expression), DIMENSIONLESS, known, where, line, detached=True)
    return statements, units


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
    _check_bounds(model, where)
    try:
        equations = Equations(model)
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
    known = {**dimensions, **{eq.varname: eq.dim for eq in equations.values()}}
    for eq in equations.values():
        if eq.type == PARAMETER:
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
        require_dimensions(str(eq.expr), unit, known, where, line)
    return equations


def _check_flags(eq: SingleEquation, allowed: tuple[str, ...], where: str) -> None:
    for flag in eq.flags or ():
        if flag in allowed:
            continue
        hint = did_you_mean(flag, allowed)
        there = f"; the flags of a {eq.type} are {', '.join(allowed)}" if allowed else ""
        raise EquationError(where, str(eq), f"has an unknown flag '{flag}'{hint}{there}")


def check_shared(equations: Equations, parameters: Mapping[str, Any], where: str) -> None:
    """Check that a shared equation reads shared values only."""
    several = {name for name, value in parameters.items() if np.ndim(value)}
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
            parse_expression(expression, where)
            expressions[name] = expression
    check_written_out(expressions, where)


def without_subexpressions(neuron: Neuron, equations: Equations) -> Neuron:
    """Write the model's subexpressions out where they are used outside the model.

    What is constant over a time step is kept from its start, so it stands for itself.
    """
    moving, _ = extract_constant_subexpressions(equations)
    written_out = {name: f"({expression})" for name, expression in _substituted(moving).items()}
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
    )


def _substituted(equations: Equations) -> dict[str, str]:
    """Subexpressions as expressions of states and parameters."""
    return {
        name: str(expression)
        for name, expression in equations.get_substituted_expressions(include_subexpressions=True)
        if equations[name].type == SUBEXPRESSION
    }


def _state_update(method: str, equations: Equations) -> str:
    """Brian2's statements for a step, kept: solving the same equations again takes seconds."""
    key = method, str(equations)
    if key not in _state_updates:
        update = exact_update if method in EXACT else StateUpdateMethod.stateupdaters[method]
        _state_updates[key] = str(update(equations))
    return _state_updates[key]


def model_statements(
    neuron: Neuron,
    equations: Equations,
    dimensions: Mapping[str, Dimension],
    signals: Signals,
    where: str,
) -> tuple[list[Statement], dict[str, Dimension]]:
    """Statements of a step of the Brian2 style, and the dimensions of its states.

    Parameters
    ----------
    neuron : Neuron
        Without subexpressions outside its model (`without_subexpressions`).
    equations : Equations
        Of its model (`read_model`).
    dimensions : mapping of str to Dimension
        Of parameters and constants.
    signals : Signals
    where : str
        Named in errors.

    Raises
    ------
    EquationError
        If the method cannot integrate the model, or a statement does not fit.
    """
    written_out = _substituted(equations)
    units = {eq.varname: eq.dim for eq in equations.values() if eq.type == DIFFERENTIAL_EQUATION}
    equations, constant = extract_constant_subexpressions(equations)
    clamped = {eq.varname for eq in equations.values() if "unless refractory" in (eq.flags or ())}
    if not neuron.refractory.strip():
        clamped = set()
    kept = {eq.varname: eq.dim for eq in constant.values()}
    known = {**dimensions, **units, **kept}
    moving = _moving_statements(neuron, equations, clamped, where)
    statements = []
    for receptor, on_pre in neuron.on_pre_by_receptor.items():
        at = f"{where}, on_pre, {receptor}" if receptor else f"{where}, on_pre"
        arriving = signals.inputs[receptor]
        statements += _entering_statements(on_pre, units, known, clamped, arriving, at)
    statements += _reset_statements(neuron, units, kept, known, signals, where)
    statements += [(name, written_out[name]) for name in kept]
    return statements + moving, {**units, **kept}


def _entering_statements(
    on_pre: str,
    units: Mapping[str, Dimension],
    known: Mapping[str, Dimension],
    clamped: set[str],
    arriving: str,
    where: str,
) -> list[Statement]:
    """What the weighted input `arriving` does: `on_pre`, applied to the sum of the spikes."""
    entry = split_statements(on_pre, where)
    if not entry:
        place, _, missing = where.rpartition(", ")
        raise EquationError(
            place, missing, "is missing: write the effect of a presynaptic spike, e.g. `v += w`"
        )
    # As at a synapse: w is the weight, and a name with _post the neuron's own.
    meanings = {"w": arriving, **{f"{name}_post": name for name in known}}
    weight = symbol(arriving)
    entered = {symbol(name.removesuffix("_post")) for name, _ in entry}
    statements = []
    for name, expression in entry:
        line = f"{name} = {expression}"
        state = name.removesuffix("_post")
        if name == "w":
            raise EquationError(where, line, "w is the weight here; the neuron's own w is w_post")
        require_known([state], units, where, line)
        # The weight has the unit that makes the statement fit: Brian2 leaves it to the synapse too.
        read = {s.name for s in parse_expression(expression, where).free_symbols}
        others = sorted(meanings.get(s, s) for s in read - {"w"})
        require_known(others, known, where, line)
        parsed = parse_expression(substituted(expression, meanings), where)
        added, slope = parsed.subs(weight, 0) - symbol(state), derivative(parsed, weight)
        if not vanishes(added) or vanishes(slope) or not vanishes(derivative(slope, weight)):
            raise EquationError(
                where,
                line,
                "must add something proportional to the weight, e.g. `v += w`: the inputs of a "
                "step are summed",
            )
        if changed := sorted(slope.free_symbols & entered, key=str):
            warnings.warn(
                f"{where}: `{line}` multiplies the weight by something with "
                f"'{changed[0]}', which a presynaptic spike changes. Where several spikes of a "
                "step reach a neuron, they are summed first; Brian2 applies them one by one",
                stacklevel=2,
            )
        entering = expression_text(parsed)
        if state in clamped:
            # Brian2's synapses leave it alone where the neuron spikes or is refractory.
            entering = f"{WHERE}({BEFORE}, {entering}, {state})"
        statements.append((state, entering))
    return statements


def _reset_statements(
    neuron: Neuron,
    units: Mapping[str, Dimension],
    kept: Mapping[str, Dimension],
    known: Mapping[str, Dimension],
    signals: Signals,
    where: str,
) -> list[Statement]:
    """What the neuron's own spike of the step before does."""
    moving = {symbol(state) for state in (*units, *kept)}
    statements = []
    for name, expression in split_statements(neuron.reset, f"{where}, reset"):
        line = f"{name} = {expression}"
        require_known([name], units, f"{where}, reset", line)
        require_dimensions(expression, units[name], known, f"{where}, reset", line)
        new = parse_expression(expression, f"{where}, reset")
        change = tidied(new - symbol(name))
        if change.free_symbols & moving:
            # However large the membrane was.
            changed = f"{WHERE}({signals.spike}, {expression_text(new)}, {name})"
        else:
            changed = total(name, scaled(change, signals.spike))
        statements.append((name, changed))
    return statements


def _moving_statements(
    neuron: Neuron, equations: Equations, clamped: set[str], where: str
) -> list[Statement]:
    """What Brian2's state updater does in a step, with `clamped` states held while refractory."""
    where = f"{where}, model"
    # Of Brian2's, "independent" is deprecated for "exact", and searches nonlinear ones for hours.
    methods = [
        m for m in StateUpdateMethod.stateupdaters if not m.startswith("gsl") and m != "independent"
    ]
    if neuron.method not in methods:
        raise EquationError(
            where.removesuffix(", model"),
            f"method = {neuron.method}",
            unknown("method", neuron.method, methods),
        )
    check_solvable(neuron.method, equations, where)
    try:
        updater = _state_update(neuron.method, equations)
    except Exception as error:  # the updaters raise their own types
        reason = str(error).strip().splitlines()[0]
        raise EquationError(
            where, neuron.model, f"method '{neuron.method}' cannot integrate it: {reason}"
        ) from None
    statements: list[Statement] = []
    held = {name: name for name in clamped}
    if _drives_others(equations, clamped):
        # Brian2 solves the equations with slopes of 0 while refractory: the others see that too.
        standing = _with_parameters(equations, clamped)
        check_solvable(neuron.method, standing, where)
        solution = split_statements(_state_update(neuron.method, standing), where)
        names = {name: f"_held_{name.strip('_')}" for name, _ in solution}
        temporary = {name: new for name, new in names.items() if name.startswith("_")}
        statements += [(names[name], substituted(x, temporary)) for name, x in solution]
        held = {name: new for name, new in names.items() if not name.startswith("_")} | held
    for name, expression in split_statements(updater, where):
        if name in held:
            expression = f"{WHERE}(not_refractory, {expression}, {held[name]})"
        statements.append((name, expression))
    return statements


def _drives_others(equations: Equations, clamped: set[str]) -> bool:
    """Whether a state that moves while the neuron is refractory reads one that is held."""
    return any(
        name not in clamped and get_identifiers(str(expression)) & clamped
        for name, expression in equations.get_substituted_expressions()
    )


def _with_parameters(equations: Equations, names: set[str]) -> Equations:
    """The equations with some states as parameters."""
    return Equations(
        [
            SingleEquation(PARAMETER, eq.varname, eq.dim) if eq.varname in names else eq
            for eq in equations.ordered
        ]
    )
