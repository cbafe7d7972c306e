"""Step map: both ways of writing a neuron, brought to one form.

A `StepMap` holds the statements of one time step as they will run and, composed from those very
statements, the map h[t] = M(h[t-1], z[t-1], I[t]) that `eprop_brian.symbolic.eligibility`
differentiates.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import sympy
from brian2.core.functions import DEFAULT_CONSTANTS, DEFAULT_FUNCTIONS, timestep
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
from brian2.parsing.expressions import parse_expression_dimensions
from brian2.parsing.sympytools import str_to_sympy
from brian2.stateupdaters.base import StateUpdateMethod
from brian2.units import Quantity, second
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension, DimensionMismatchError
from brian2.utils.stringtools import get_identifiers
from pyparsing import ParseException

from eprop_brian.base.checks import is_identifier
from eprop_brian.base.suggestions import did_you_mean, unknown
from eprop_brian.equations.neuron import Neuron
from eprop_brian.equations.readouts import Readout
from eprop_brian.symbolic.bounds import (
    EXACT,
    check_solvable,
    check_step,
    check_unit,
    check_written_out,
    step_nesting,
    step_operations,
)
from eprop_brian.symbolic.derivatives import derivative, tidied, vanishes
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.exact import exact_update
from eprop_brian.symbolic.functions import WHERE
from eprop_brian.symbolic.names import BEFORE, Signals, refuse_reserved, substituted
from eprop_brian.symbolic.parameters import (
    UNITS,
    attached,
    evaluate,
    expression_text,
    parse_expression,
    require_known,
    resolve_parameters,
    unit_name,
)

__all__ = [
    "StepMap",
    "read_model",
    "readout_map",
    "scaled",
    "split_statements",
    "step_map",
    "symbol",
    "total",
]

#: Flags of Brian2's equations of neurons, and of dynamics that have neither spikes nor neurons.
NEURON_FLAGS: Mapping[str, tuple[str, ...]] = {
    DIFFERENTIAL_EQUATION: ("unless refractory",),
    SUBEXPRESSION: ("shared", "constant over dt"),
}
NO_FLAGS: Mapping[str, tuple[str, ...]] = {DIFFERENTIAL_EQUATION: (), SUBEXPRESSION: ()}
_COMPARISON = re.compile(r"^(?P<left>[^<>=!]+)(?P<operator>>=|>)(?P<right>[^<>=!]+)$")
_STATEMENT = re.compile(r"^(?P<name>[A-Za-z_]\w*)\s*(?P<operator>[-+*/]?=)(?!=)\s*(?P<expr>.+)$")
#: Names that the equations of each style read as something of the network's.
_MEANINGS: dict[str, tuple[str, ...]] = {"update": ("I", "z"), "model": ()}
#: Names that a readout's equations, losses and learning signals read as something of the network's.
_READOUT_MEANINGS = ("I", "y", "p", "y_target", "error", "coupled")
#: Fields of a neuron that are equations, conditions or names.
_TEXTS = (
    *("update", "model", "method", "reset", "on_pre", "threshold", "surrogate"),
    *("refractory", "refractory_surrogate"),
)
#: Seconds, where a sign or a size must be known and the time step is not.
_TYPICAL_DT = 1e-3
#: Most steps towards the threshold, which takes one where it is linear.
_NEWTON_STEPS = 30
#: Results of `_state_update`, by method and equations.
_state_updates: dict[tuple[str, str], str] = {}
#: Functions whose derivative is zero or missing: harmless to evaluate, useless as a surrogate.
_STEP_FUNCTIONS = frozenset(
    {"int", "floor", "ceil", "sign", "timestep", "rand", "randn", "poisson"}
)
#: The same in a state's equation, by sympy's name, with the name they are written by.
UNDIFFERENTIABLE = {
    "int_": "int",
    "floor": "floor",
    "ceiling": "ceil",
    "sign": "sign",
    "timestep": "timestep",
    "clip": "clip",
    "Mod": "%",
}


def symbol(name: str) -> sympy.Symbol:
    """The sympy symbol that Brian2's parser uses for `name`."""
    return str_to_sympy(name)


def scaled(expression: sympy.Expr, factor: str, names: Mapping[str, str] | None = None) -> str:
    """The product of an expression and a name as a string, ``""`` if it is zero.

    With `names`, the expression's names are replaced.
    """
    if expression == 0:
        return ""
    if expression.could_extract_minus_sign():
        return f"-{scaled(-expression, factor, names)}"
    if expression == 1:
        return factor
    text = substituted(expression_text(expression), names or {})
    return f"({text})*{factor}" if expression.is_Add else f"{text}*{factor}"


def total(*terms: str) -> str:
    """Sum of the terms that are not empty, as an expression string."""
    return " + ".join(term for term in terms if term).replace("+ -", "- ") or "0"


@dataclass(frozen=True)
class StepMap:
    """One time step of a neuron, as statements and as a map.

    Attributes
    ----------
    neuron : Neuron
    states : tuple of str
    code : tuple of str
        Statements that run, in order. They read ``I``, ``z``, ``not_refractory`` and
        `eprop_brian.symbolic.names.BEFORE`; a neuron with an ``I`` or ``z`` of its own has
        `signals` by other names.
    composed : dict of str to sympy.Expr
        New value of each state as an expression of the values at the step before, ``I``, ``z``
        and ``z_detached`` (the same spike, where its path is not differentiated).
    margin : sympy.Expr
        Left minus right side of the threshold; the surrogate is dz/dmargin.
    threshold, surrogate, refractory_surrogate : str
    detached : tuple of str
    parameters : dict of str to float or array
        SI values of the parameters, and of the units that the equations name.
    constants : dict of str to str
        Derived quantities, as expressions of the parameters and ``dt``.
    units : dict of str to str
        Unit of every state, as Brian2 writes it.
    signals : Signals
        What ``I``, ``z`` and ``z_detached`` are called in this neuron.
    """

    neuron: Neuron
    states: tuple[str, ...]
    code: tuple[str, ...]
    composed: dict[str, sympy.Expr]
    margin: sympy.Expr
    threshold: str
    surrogate: str
    refractory_surrogate: str
    detached: tuple[str, ...]
    parameters: dict[str, np.ndarray | float]
    constants: dict[str, str]
    units: dict[str, str] = field(default_factory=dict)
    signals: Signals = Signals()

    @property
    def psi(self) -> str:
        """The pseudo-derivative of a step, refractory or not, as an expression string."""
        return f"{WHERE}(not_refractory, {self.surrogate}, {self.refractory_surrogate})"

    def values(
        self, dt: float, changed: Mapping[str, np.ndarray | float] | None = None
    ) -> dict[str, np.ndarray | float]:
        """SI values of parameters and derived constants for a time step of `dt` seconds.

        `changed` parameters replace the neuron's own.
        """
        values = {**self.parameters, **(changed or {})}
        for name, expression in self.constants.items():
            where = f"neuron '{self.neuron.name}', constant {name}"
            values[name] = evaluate(expression, {**values, "dt": dt}, where)
        return values

    @property
    def at_rest(self) -> dict[str, float]:
        """What a step reads besides states and parameters, where nothing arrives or has spiked."""
        silent = dict.fromkeys((self.signals.input, self.signals.spike), 0.0)
        return silent | dict.fromkeys(("not_refractory", BEFORE), 1.0)

    def initial_values(self, dt: float) -> dict[str, np.ndarray | float]:
        """SI value of every state at the start of a trial."""
        values = {**self.values(dt), "dt": dt}
        where = f"neuron '{self.neuron.name}', initial"
        return {
            state: evaluate(str(self.neuron.initial.get(state, "0")), values, where)
            for state in self.states
        }

    def first_step(self, dt: float) -> tuple[dict[str, Any], dict[str, Any]]:
        """Values of all names before and after a step from the initial values, without input.

        Raises
        ------
        EquationError
            If a value is no number: two time constants that are equal, for example, where an exact
            solution divides by their difference.
        """
        before = {**self.values(dt), **self.initial_values(dt), "dt": dt, **self.at_rest}
        after = dict(before)
        for line in self.code:
            name, expression = line.split(" = ", 1)
            where = f"neuron '{self.neuron.name}', {name}"
            after[name] = evaluate(expression, after, where, detached=True)
        return before, after

    def refractory_steps(self, dt: float) -> np.ndarray | int:
        """Refractory time in steps: the smallest inter-spike interval, if it is any.

        In Brian2 style as Brian2 counts, ``timestep(t_ref, dt)``, which leaves out what is less
        than a step; in update style ``round(t_ref/dt)``.
        """
        text = self.neuron.refractory.strip()
        if not text:
            return 0
        where = f"neuron '{self.neuron.name}', refractory"
        if text in self.parameters:
            time = self.parameters[text]
        else:
            time = resolve_parameters({"refractory": text}, where)[0]["refractory"]
        if self.neuron.model.strip():
            return np.asarray(timestep(np.asarray(time, dtype=float), dt)).astype(int)[()]
        return np.rint(np.asarray(time) / dt).astype(int)[()]


def step_map(neuron: Neuron) -> StepMap:
    """Bring a neuron to its step map, checking names and units.

    Raises
    ------
    EquationError
        For an undefined symbol, a reserved or repeated name, a wrong unit, a missing or unusable
        spike condition, a surrogate that has no slope, or an equation that cannot be
        differentiated; the message quotes the line.
    """
    where = f"neuron '{neuron.name}'"
    if not is_identifier(neuron.name):
        raise EquationError(
            where, f"name = {neuron.name}", "must be letters, digits and _, starting with a letter"
        )
    for part in _TEXTS:
        if not isinstance(getattr(neuron, part), str):
            raise EquationError(
                where, f"{part} = {getattr(neuron, part)!r}", "must be a string, empty for none"
            )
    for name, expression in neuron.constants.items():
        if not isinstance(expression, str):
            line = f"{name} = {expression!r}"
            raise EquationError(f"{where}, constants", line, "must be a string, an expression")
    given = [part for part in ("update", "model") if getattr(neuron, part).strip()]
    if len(given) != 1:
        raise EquationError(
            where,
            given[-1] if given else "update / model",
            f"has {'both' if given else 'neither'}: give either `update` (one statement per state) "
            "or `model` (differential equations)",
        )
    style = given[0]
    given = {**_units_in(neuron), **neuron.parameters}
    parameters, dimensions = resolve_parameters(given, f"{where}, parameters")
    refuse_reserved([*neuron.parameters, *neuron.constants], where, _MEANINGS[style])
    _refuse_shadowed_units(neuron, where)
    for name, expression in neuron.constants.items():
        dimensions[name] = _dimensions(
            expression, {**dimensions, "dt": second.dim}, f"{where}, constants"
        )
    written = neuron
    if style == "update":
        statements, units = _update_style(neuron, dimensions, where)
        signals = Signals.beside([*dimensions, *units])
    else:
        equations = read_model(neuron.model, dimensions, f"{where}, model")
        _check_shared(equations, parameters, where)
        written = _without_subexpressions(neuron, equations)
        signals = Signals.beside([*dimensions, *equations])
        statements, units = _brian2_style(written, equations, dimensions, signals, where)
    states = tuple(units)
    refuse_reserved(states, where, _MEANINGS[style])
    clash = [state for state in states if state in dimensions]
    if clash:
        raise EquationError(where, clash[0], "is both a state and a parameter")
    _check_initial(neuron, units, {**dimensions, "dt": second.dim}, where)

    known = {**dimensions, **units, "dt": second.dim}
    margin = _margin(written, states, known, where)
    moving = {symbol(state) for state in states}
    _refuse_steps(margin, moving, written.threshold, f"{where}, threshold")
    _check_surrogate(written, states, known, margin, where)
    _check_refractory_surrogate(written, known, where)
    _check_refractory(neuron, parameters, dimensions, where)
    detached = neuron.detach
    if detached is None:
        reached = _reached(statements, signals.input)
        reached_states = [state for state in states if state in reached]
        membrane = _membrane(written, margin, states, reached_states, parameters, where)
        detached = _default_detached(statements, states, membrane, signals)
    for state in detached:
        require_known([state], states, f"{where}, detach", str(list(detached)))
    return StepMap(
        neuron=neuron,
        states=states,
        code=tuple(f"{name} = {attached(expression)}" for name, expression in statements),
        composed=_compose(statements, states, detached, signals, where),
        margin=margin,
        threshold=written.threshold,
        surrogate=written.surrogate,
        refractory_surrogate=written.refractory_surrogate,
        detached=tuple(detached),
        parameters=parameters,
        constants=dict(neuron.constants),
        units={state: unit_name(unit) for state, unit in units.items()},
        signals=signals,
    )


def readout_map(readout: Readout) -> tuple[sympy.Expr, sympy.Expr]:
    """Return dy[t]/dy[t-1] and dy[t]/dI[t] of a readout, which must not depend on y or I.

    Raises
    ------
    EquationError
        If the readout is not linear or is not a single statement for ``y``.
    """
    where = f"readout '{readout.name}'"
    statements = split_statements(readout.update, where)
    if len(statements) != 1 or statements[0][0] != "y":
        raise EquationError(where, readout.update, "must be one statement for y")
    refuse_reserved([*readout.parameters, *readout.constants], where, _READOUT_MEANINGS)
    expression = parse_expression(statements[0][1], where)
    known = [*readout.parameters, *readout.constants, "y", "I", "dt"]
    require_known(sorted(s.name for s in expression.free_symbols), known, where, readout.update)
    y, current = symbol("y"), symbol("I")
    slopes = tuple(tidied(derivative(expression, name)) for name in (y, current))
    if any(slope.has(y, current) for slope in slopes):
        raise EquationError(where, readout.update, "must be linear in y and I")
    return slopes


def split_statements(code: str, where: str) -> list[tuple[str, str]]:
    """Split code into (name, expression), writing ``v += w`` as ``v = v + (w)``."""
    found = []
    for line in re.split(r"[\n;]", re.sub("#.*", "", code)):
        line = line.strip()
        if not line:
            continue
        match = _STATEMENT.match(line)
        if match is None:
            raise EquationError(where, line, "is not a statement of the form `name = expression`")
        name, operator, expression = match.group("name", "operator", "expr")
        if operator != "=":
            expression = f"{name} {operator[0]} ({expression})"
        found.append((name, expression))
    return found


def _units_in(neuron: Neuron) -> dict[str, Quantity]:
    """Units that the equations name (``10*ms``), as parameters; the neuron's own names are none."""
    text = "\n".join(
        (neuron.update, neuron.model, neuron.reset, neuron.on_pre, neuron.threshold)
        + (
            neuron.surrogate,
            neuron.refractory_surrogate,
            *neuron.constants.values(),
            *map(str, neuron.initial.values()),
        )
    )
    named = get_identifiers(text) - {*neuron.constants, *_updated(neuron)}
    return {name: UNITS[name] for name in sorted(named) if name in UNITS}


def _updated(neuron: Neuron) -> list[str]:
    """States of the update style."""
    return re.findall(r"^\s*(\w+)\s*[-+*/]?=", neuron.update.replace(";", "\n"), re.MULTILINE)


def _refuse_shadowed_units(neuron: Neuron, where: str) -> None:
    """Raise if a value is given in a unit whose name means something else in the equations."""
    names = {*neuron.parameters, *neuron.constants, *_updated(neuron)} & UNITS.keys()
    values = dict(neuron.parameters)
    if neuron.refractory.strip() not in neuron.parameters:
        values["refractory"] = neuron.refractory
    for name, value in values.items():
        texts = value if isinstance(value, list | tuple) else [value]
        units = set().union(*(get_identifiers(x) for x in texts if isinstance(x, str)))
        if shadowed := sorted(units & names - {name}):
            raise EquationError(
                where,
                f"{name} = {value}",
                f"is in the unit '{shadowed[0]}', which is also a name of this neuron: rename that",
            )


class _Named:
    """What Brian2's dimension parser asks of a variable."""

    is_boolean = False
    is_integer = False
    scalar = True

    def __init__(self, dim: Dimension) -> None:
        self.dim = dim


def _dimensions(
    expression: str, known: Mapping[str, Dimension], where: str, *, detached: bool = False
) -> Dimension:
    """Dimensions of an expression; undefined symbols and unit mismatches raise `EquationError`."""
    parsed = parse_expression(expression, where, detached=detached)
    require_known(sorted(s.name for s in parsed.free_symbols), known, where, expression)
    variables = {name: _Named(dim) for name, dim in known.items()}
    variables = {**DEFAULT_CONSTANTS, **DEFAULT_FUNCTIONS, **variables}
    try:
        return parse_expression_dimensions(expression, variables)
    except (DimensionMismatchError, SyntaxError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise EquationError(where, expression, f"units do not fit: {reason}") from None


def _require_dimensions(
    expression: str,
    wanted: Dimension,
    known: Mapping[str, Dimension],
    where: str,
    line: str,
    *,
    detached: bool = False,
) -> None:
    found = _dimensions(expression, known, where, detached=detached)
    if found is not wanted:
        raise EquationError(
            where, line, f"has unit {unit_name(found)} where {unit_name(wanted)} is needed"
        )


def _update_style(neuron: Neuron, dimensions, where: str):
    where = f"{where}, update"
    for option in ("reset", "on_pre"):
        if getattr(neuron, option).strip():
            raise EquationError(
                where,
                getattr(neuron, option),
                f"`{option}` belongs to `model`; in `update` write z and I instead",
            )
    statements = split_statements(neuron.update, where)
    states = [name for name, _ in statements]
    for state in states:
        if states.count(state) > 1:
            raise EquationError(where, neuron.update, f"'{state}' has more than one statement")
    # States of the update style carry no units, so neither do the parameters in their statements.
    units = dict.fromkeys(states, DIMENSIONLESS)
    read = dict.fromkeys(("I", "z", "not_refractory"), DIMENSIONLESS)
    known = {**dimensions, **units, **read, "dt": second.dim}
    for name, expression in statements:
        parse_expression(expression, where, detached=True)
        line = f"{name} = {expression}"
        _require_dimensions(attached(expression), DIMENSIONLESS, known, where, line, detached=True)
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
            wanted = eq.dim / second.dim
        elif eq.type == SUBEXPRESSION:
            line, wanted = f"{eq.varname} = {eq.expr}", eq.dim
        _require_dimensions(str(eq.expr), wanted, known, where, line)
    return equations


def _check_flags(eq: SingleEquation, allowed: tuple[str, ...], where: str) -> None:
    for flag in eq.flags or ():
        if flag in allowed:
            continue
        hint = did_you_mean(flag, allowed)
        there = f"; the flags of a {eq.type} are {', '.join(allowed)}" if allowed else ""
        raise EquationError(where, str(eq), f"has an unknown flag '{flag}'{hint}{there}")


def _check_shared(equations: Equations, parameters, where: str) -> None:
    """Check that what is one value for all neurons is made of such values."""
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
        return  # Brian2 says where
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


def _without_subexpressions(neuron: Neuron, equations: Equations) -> Neuron:
    """Write the model's subexpressions out where they are used outside the model.

    What is constant over a time step is kept from its start, so it stands for itself.
    """
    moving, _ = extract_constant_subexpressions(equations)
    written_out = {name: f"({expression})" for name, expression in _substituted(moving).items()}
    # Where a spike enters, w is its weight: the neuron's own goes by its second name there.
    entering = {name: substituted(x, {"w": "w_post"}) for name, x in written_out.items()}
    entering |= {f"{name}_post": x for name, x in entering.items()}
    entering.pop("w", None)
    return replace(
        neuron,
        on_pre=substituted(neuron.on_pre, entering),
        **{
            part: substituted(getattr(neuron, part), written_out)
            for part in ("threshold", "surrogate", "refractory_surrogate", "reset")
        },
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


def _brian2_style(neuron: Neuron, equations: Equations, dimensions, signals: Signals, where: str):
    written_out = _substituted(equations)
    units = {eq.varname: eq.dim for eq in equations.values() if eq.type == DIFFERENTIAL_EQUATION}
    equations, constant = extract_constant_subexpressions(equations)
    clamped = {eq.varname for eq in equations.values() if "unless refractory" in (eq.flags or ())}
    if not neuron.refractory.strip():
        clamped = set()
    kept = {eq.varname: eq.dim for eq in constant.values()}
    known = {**dimensions, **units, **kept}
    # Of Brian2's, "independent" is deprecated for "exact", and searches nonlinear ones for hours.
    methods = [
        m for m in StateUpdateMethod.stateupdaters if not m.startswith("gsl") and m != "independent"
    ]
    if neuron.method not in methods:
        raise EquationError(
            where, f"method = {neuron.method}", unknown("method", neuron.method, methods)
        )
    check_solvable(neuron.method, equations, f"{where}, model")
    try:
        updater = _state_update(neuron.method, equations)
    except Exception as error:  # the updaters raise their own types
        reason = str(error).strip().splitlines()[0]
        raise EquationError(
            f"{where}, model",
            neuron.model,
            f"method '{neuron.method}' cannot integrate it: {reason}",
        ) from None

    entry = split_statements(neuron.on_pre, f"{where}, on_pre")
    if not entry:
        raise EquationError(
            where, "on_pre", "says how a presynaptic spike of weight w enters, e.g. `v += w`"
        )
    # As at a synapse: w is the weight, and a name with _post the neuron's own.
    arriving = {"w": signals.input, **{f"{own}_post": own for own in known}}
    weight = symbol(signals.input)
    on_pre_states = {name.removesuffix("_post") for name, _ in entry}
    statements = []
    for name, expression in entry:
        line = f"{name} = {expression}"
        state = name.removesuffix("_post")
        if name == "w":
            raise EquationError(
                f"{where}, on_pre", line, "w is the weight here; the neuron's own w is w_post"
            )
        require_known([state], units, f"{where}, on_pre", line)
        # The weight has the unit that makes the statement fit: Brian2 leaves it to the synapse too.
        read = {s.name for s in parse_expression(expression, f"{where}, on_pre").free_symbols}
        others = sorted(arriving.get(s, s) for s in read - {"w"})
        require_known(others, known, f"{where}, on_pre", line)
        parsed = parse_expression(substituted(expression, arriving), f"{where}, on_pre")
        added, slope = parsed.subs(weight, 0) - symbol(state), derivative(parsed, weight)
        if not vanishes(added) or vanishes(slope) or not vanishes(derivative(slope, weight)):
            raise EquationError(
                f"{where}, on_pre",
                line,
                "must add something proportional to the weight, e.g. `v += w`: the inputs of a "
                "step are summed",
            )
        changed = sorted(slope.free_symbols & {symbol(name) for name in on_pre_states}, key=str)
        if changed:
            warnings.warn(
                f"neuron '{neuron.name}', on_pre: `{line}` multiplies the weight by something with "
                f"'{changed[0]}', which a presynaptic spike changes. Where several spikes of a "
                "step reach a neuron, they are summed first; Brian2 applies them one by one",
                stacklevel=2,
            )
        entering = expression_text(parsed)
        if state in clamped:
            # Brian2's synapses leave it alone where the neuron spikes or is refractory.
            entering = f"{WHERE}({BEFORE}, {entering}, {state})"
        statements.append((state, entering))
    for name, expression in split_statements(neuron.reset, f"{where}, reset"):
        line = f"{name} = {expression}"
        require_known([name], units, f"{where}, reset", line)
        _require_dimensions(expression, units[name], known, f"{where}, reset", line)
        new = parse_expression(expression, f"{where}, reset")
        change = tidied(new - symbol(name))
        if change.free_symbols & {symbol(state) for state in (*units, *kept)}:
            # However large the membrane was.
            changed = f"{WHERE}({signals.spike}, {expression_text(new)}, {name})"
        else:
            changed = total(name, scaled(change, signals.spike))
        statements.append((name, changed))
    statements += [(name, written_out[name]) for name in kept]
    moving = split_statements(updater, f"{where}, model")
    held: dict[str, str] = {}
    if _drives_others(equations, clamped):
        # Brian2 solves the equations with slopes of 0 while refractory: the others see that too.
        standing = _with_parameters(equations, clamped)
        check_solvable(neuron.method, standing, f"{where}, model")
        solution = split_statements(_state_update(neuron.method, standing), f"{where}, model")
        names = {name: f"_held_{name.strip('_')}" for name, _ in solution}
        temporary = {name: new for name, new in names.items() if name.startswith("_")}
        statements += [(names[name], substituted(x, temporary)) for name, x in solution]
        held = {name: new for name, new in names.items() if not name.startswith("_")}
    held |= {name: name for name in clamped}
    for name, expression in moving:
        if name in held:
            expression = f"{WHERE}(not_refractory, {expression}, {held[name]})"
        statements.append((name, expression))
    return statements, {**units, **kept}


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


def _margin(neuron: Neuron, states, known, where: str) -> sympy.Expr:
    """The left minus the right side of the threshold."""
    where = f"{where}, threshold"
    if not neuron.threshold.strip():
        raise EquationError(where, "(empty)", "a spike condition is needed, e.g. `v >= v_th`")
    match = _COMPARISON.match(neuron.threshold.strip())
    if match is None:
        raise EquationError(
            where, neuron.threshold, "must be one comparison with > or >=, e.g. `v >= v_th`"
        )
    left, right = match.group("left").strip(), match.group("right").strip()
    wanted = _dimensions(left, known, where)
    _require_dimensions(right, wanted, known, where, neuron.threshold)
    margin = parse_expression(left, where) - parse_expression(right, where)
    if not margin.free_symbols & {symbol(state) for state in states}:
        raise EquationError(where, neuron.threshold, "does not depend on any state")
    return margin


def _check_surrogate(neuron: Neuron, states, known, margin: sympy.Expr, where: str) -> None:
    where = f"{where}, surrogate"
    text = neuron.surrogate.strip()
    if not text:
        raise EquationError(
            where, "(empty)", "dz/dv is needed, e.g. `0.3/v_th*clip(1 - abs(v - v_th)/v_th, 0, 1)`"
        )
    _check_slope(text, known, neuron.threshold, where)
    compared = margin.free_symbols & {symbol(state) for state in states}
    if not parse_expression(text, where).free_symbols & compared:
        raise EquationError(
            where, text, "does not depend on the states of the threshold; its slope says nothing"
        )


def _check_slope(text: str, known, threshold: str, where: str) -> None:
    """Check that an expression can stand for dz/dv."""
    used = set(re.findall(r"[A-Za-z_]\w*", text))
    steps = sorted(used & _STEP_FUNCTIONS)
    if steps or re.search(r"[<>]|==|\b(and|or|not)\b", text):
        culprit = f"'{steps[0]}'" if steps else "a comparison"
        raise EquationError(
            where,
            text,
            f"uses {culprit}: a step has no slope for the gradient to follow. Use a bump around "
            "the threshold made of clip, abs, exp or powers",
        )
    if used & {"I", "z"} - {*known}:
        raise EquationError(where, text, "must be an expression of the states, without I and z")
    found = _dimensions(text, known, where)
    wanted = DIMENSIONLESS / _dimensions(threshold.split(">")[0], known, where)
    # Zero fits every unit.
    if found is not wanted and parse_expression(text, where) != 0:
        raise EquationError(
            where,
            text,
            f"has unit {unit_name(found)}; dz/dv needs {unit_name(wanted)} (one over the "
            "threshold's)",
        )


def _check_refractory_surrogate(neuron: Neuron, known, where: str) -> None:
    where = f"{where}, refractory_surrogate"
    text = neuron.refractory_surrogate.strip()
    if not text:
        raise EquationError(where, "(empty)", "dz/dv while refractory is needed, e.g. `0`")
    _check_slope(text, known, neuron.threshold, where)
    if parse_expression(text, where) != 0 and not neuron.refractory.strip():
        raise EquationError(where, text, "is never used: the neuron has no `refractory` time")


def _check_initial(neuron: Neuron, units, known, where: str) -> None:
    where = f"{where}, initial"
    for state, value in neuron.initial.items():
        line = f"{state} = {value}"
        require_known([state], units, where, line)
        try:
            # Zero fits every unit.
            if parse_expression(str(value), where) != 0:
                _require_dimensions(str(value), units[state], known, where, line)
        except EquationError as error:
            raise EquationError(
                where,
                line,
                f"{error.problem}\nAn initial value is an expression, e.g. `E_l` or `-70*mV`",
            ) from None


def _check_refractory(neuron: Neuron, parameters, dimensions, where: str) -> None:
    text = neuron.refractory.strip()
    if not text:
        return
    if text in parameters:
        value, found = parameters[text], dimensions[text]
    elif text.isidentifier():
        raise EquationError(
            f"{where}, refractory", text, "is no parameter; name one or give a time, e.g. `5 ms`"
        )
    else:
        values, dims = resolve_parameters({"refractory": text}, where)
        value, found = values["refractory"], dims["refractory"]
    if found is not second.dim:
        raise EquationError(f"{where}, refractory", text, "must be a time, e.g. `5 ms`")
    if np.any(np.asarray(value) < 0):
        raise EquationError(f"{where}, refractory", text, "must not be negative")


def _reached(statements, arriving: str) -> set[str]:
    """What the input of a step or of earlier steps reaches without a spike."""
    reads: dict[str, set[str]] = {}
    for name, expression in statements:
        symbols = parse_expression(expression, name, detached=True).free_symbols
        reads.setdefault(name, set()).update(s.name for s in symbols)
    reached: set[str] = set()
    while True:
        more = {name for name, used in reads.items() if used & {arriving, *reached}}
        if more <= reached:
            return reached
        reached |= more


def _membrane(
    neuron: Neuron, margin: sympy.Expr, states, reached: list[str], parameters, where: str
) -> list[str]:
    """Of the states that the input reaches, those that bring a spike about by rising.

    Not those that hold it off, as an adapted threshold does. However the condition is written: at
    the threshold itself, where equal conditions have slopes of one sign.
    """
    slopes = {state: sympy.diff(margin, symbol(state)) for state in reached}
    slopes = {state: slope for state, slope in slopes.items() if slope != 0}
    values = {**parameters, "dt": _TYPICAL_DT}
    try:
        for name, expression in neuron.constants.items():
            values[name] = evaluate(expression, values, where)
        for state in states:
            values[state] = evaluate(str(neuron.initial.get(state, "0")), values, where)
        values |= _at_threshold(margin, slopes, values, where)
        signs = {state: evaluate(slope, values, where) for state, slope in slopes.items()}
    except EquationError:  # It has no value at the start of a trial.
        return [*slopes]
    return [state for state, sign in signs.items() if np.any(np.asarray(sign) >= 0)]


def _at_threshold(margin: sympy.Expr, slopes, values, where: str) -> dict[str, Any]:
    """A state's value at which the margin is 0, by Newton's method; none if it finds none."""
    for state, slope in slopes.items():
        value = np.asarray(values[state], dtype=float)
        try:
            for _ in range(_NEWTON_STEPS):
                at = {**values, state: value}
                step = evaluate(margin, at, where) / evaluate(slope, at, where)
                value = value - np.asarray(step)
                if np.all(np.abs(step) <= 1e-12 * np.abs(value)):
                    return {state: value}
        except (EquationError, ZeroDivisionError):
            continue
    return {}


def _default_detached(statements, states, membrane: list[str], signals: Signals) -> tuple[str, ...]:
    """States whose own statement reads the input, and the membrane."""
    entered = {
        name
        for name, expression in statements
        if symbol(signals.input) in parse_expression(expression, name, detached=True).free_symbols
    }
    return tuple(state for state in states if state in entered or state in membrane)


def _refuse_steps(expression: sympy.Expr, moving: set[sympy.Symbol], line: str, where: str) -> None:
    """Raise for a function that has no derivative, unless it is one of parameters alone."""
    for part in expression.atoms(sympy.Function):
        if str(part.func) in UNDIFFERENTIABLE and part.free_symbols & moving:
            name = UNDIFFERENTIABLE[str(part.func)]
            raise EquationError(where, line, f"'{name}' cannot be differentiated")


def _compose(statements, states, detached, signals: Signals, where: str) -> dict[str, sympy.Expr]:
    """New states as expressions of the old ones, ``I``, ``z`` and ``z_detached``."""
    environment = {state: symbol(state) for state in states}
    sizes: dict[sympy.Symbol, int] = {}
    depths: dict[sympy.Symbol, int] = {}
    lines: dict[sympy.Basic, str] = {}
    for name, expression in statements:
        parsed = parse_expression(expression, where, detached=True)
        if name in detached:
            parsed = parsed.subs(symbol(signals.spike), symbol(signals.detached))
        operations = step_operations(parsed, sizes)
        nesting = step_nesting(parsed, depths)
        check_step(operations, nesting, f"{name} = {expression}", where)
        sizes[symbol(name)], depths[symbol(name)] = operations, nesting
        environment[name] = parsed.xreplace({symbol(n): x for n, x in environment.items()})
        for part in environment[name].atoms(sympy.Function):
            if str(part.func) in UNDIFFERENTIABLE:
                lines.setdefault(part, f"{name} = {expression}")
    moving = {symbol(name) for name in (*states, signals.input, signals.spike, signals.detached)}
    for part, line in lines.items():
        if any(environment[k].has(part) for k in states):
            _refuse_steps(part, moving, line, where)
    return {state: environment[state] for state in states}
