"""Step map: both ways of writing a neuron, brought to one form.

A `StepMap` holds the statements of one time step as they will run and, composed from those very
statements, the map h[t] = M(h[t-1], z[t-1], I_1[t], I_2[t], ...) of the inputs of all receptors,
which `eprop_brian.symbolic.eligibility` differentiates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import sympy
from brian2.core.functions import timestep
from brian2.units import second
from brian2.units.fundamentalunits import Dimension
from brian2.utils.stringtools import get_identifiers

from eprop_brian.equations.brian_arguments import unit_in_equations
from eprop_brian.equations.neuron import Neuron
from eprop_brian.equations.readouts import ReadoutFilter
from eprop_brian.symbolic.bounds import (
    check_statement,
    is_short,
    step_nesting,
    step_operations,
)
from eprop_brian.symbolic.declarations import declarations
from eprop_brian.symbolic.derivatives import derivative, tidied
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.exogenous import Exogenous, uniform_draws
from eprop_brian.symbolic.exogenous_reader import Reader, check_samples, noise_in
from eprop_brian.symbolic.expressions import (
    attached,
    dimensions_of,
    evaluate,
    parse_expression,
    require_known,
    split_statements,
    symbol,
)
from eprop_brian.symbolic.functions import WHERE
from eprop_brian.symbolic.initial import Initial, read_initial, start_values
from eprop_brian.symbolic.model_text import (
    check_shared,
    moving_subexpressions,
    read_model,
    without_subexpressions,
)
from eprop_brian.symbolic.names import BEFORE, Signals, input_name, refuse_reserved
from eprop_brian.symbolic.neuron_checks import (
    check_refractory,
    check_refractory_surrogate,
    check_surrogate,
    check_texts,
    check_times,
    refuse_shadowed_units,
    units_in,
    written_style,
)
from eprop_brian.symbolic.parameters import UNITS, resolve_parameters
from eprop_brian.symbolic.per_neuron import Members, example_of, resolve_values
from eprop_brian.symbolic.refractory import (
    ACTIVE,
    LAST_SPIKE,
    LONG_AGO,
    active_text,
    as_seen,
    is_plain_time,
    refractory_names,
)
from eprop_brian.symbolic.spike_condition import default_surrogate, spike_condition
from eprop_brian.symbolic.styles import model_statements, update_statements
from eprop_brian.symbolic.timed_arrays import resolve_timed_arrays
from eprop_brian.symbolic.weights import WeightFunction

__all__ = ["TYPICAL_DT", "StepMap", "readout_map", "step_map"]

#: Names that a readout's equations, losses and learning signals read as something of the network's.
_READOUT_MEANINGS = ("I", "y", "p", "y_target", "advantage", "error", "coupled")
#: Seconds, where a sign or a size must be known and the time step is not.
TYPICAL_DT = 1e-3
#: Most steps towards the threshold, which takes one where it is linear.
_NEWTON_STEPS = 30


# Compared by identity, so that the system derived from it can be found again.
@dataclass(frozen=True, eq=False)
class StepMap:
    """One time step of a neuron, as statements and as a map.

    Attributes
    ----------
    neuron : Neuron
    states : tuple of str
    code : tuple of str
        Statements that run, in order. They read ``I`` (or ``I_ampa``, ``I_gaba``: one for each
        receptor), ``z``, ``not_refractory`` and `eprop_brian.symbolic.names.BEFORE`; a neuron with
        an ``I`` or ``z`` of its own has `signals` by other names.
    statements : tuple of (str, sympy.Expr)
        The same, as expressions that are differentiated: they read ``z_detached`` (the same spike)
        where its path is not.
    composed : dict of str to sympy.Expr
        New value of each state as an expression of the values at the step before, the inputs, ``z``
        and ``z_detached``. Empty where one would be long: such a step is read from `statements`.
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
        What the inputs, ``z`` and ``z_detached`` are called in this neuron.
    weight_functions : dict of str to WeightFunction
        What the input of a receptor sums of the weights, where it is not the weights themselves.
    on_pre : dict of str to str
        Brian2 style: the effect of a spike at every receptor, without subexpressions.
    subexpressions : dict of str to str
        Brian2 style: those of the model, as expressions of states and parameters.
    exogenous : tuple of Exogenous
        What the statements read of time, random numbers and timed arrays.
    refractory : str
        The refractory time that is counted in steps, without subexpressions.
    active : str
        Whether the neuron may spike, in values at the step before, if it is not counted.
    initial : dict of str to str, float or array
        Values at the start of a trial: expressions, or in SI units.
    dimensions : dict of str to Dimension
        Of the parameters and constants.
    members : Members
        The neurons that values per neuron are for.
    """

    neuron: Neuron
    states: tuple[str, ...]
    code: tuple[str, ...]
    statements: tuple[tuple[str, sympy.Expr], ...]
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
    weight_functions: dict[str, WeightFunction] = field(default_factory=dict)
    on_pre: dict[str, str] = field(default_factory=dict)
    subexpressions: dict[str, str] = field(default_factory=dict)
    exogenous: tuple[Exogenous, ...] = ()
    refractory: str = ""
    active: str = ""
    initial: Initial = field(default_factory=dict)
    dimensions: dict[str, Dimension] = field(default_factory=dict)
    members: Members = Members(2)

    @property
    def expressions(self) -> list[sympy.Expr]:
        """All new states, or where these would be long all statements."""
        return [*self.composed.values()] or [expression for _, expression in self.statements]

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
        silent = dict.fromkeys((*self.signals.inputs.values(), self.signals.spike), 0.0)
        return {
            **silent,
            **dict.fromkeys(("not_refractory", BEFORE), 1.0),
            **{quantity.name: quantity.at_rest for quantity in self.exogenous},
        }

    def initial_values(self, dt: float) -> dict[str, np.ndarray | float]:
        """SI value of every state at the start of a trial."""
        values = {**self.values(dt), "dt": dt}
        where = f"neuron '{self.neuron.name}'"
        return start_values(self.initial, self.states, values, self.members, where)

    def first_step(self, dt: float) -> tuple[dict[str, Any], dict[str, Any]]:
        """Values of all names before and after a step from the initial values, without input.

        Raises
        ------
        EquationError
            If a value is not a number: for two equal time constants, for example, where an exact
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
        """Refractory time in steps: the smallest inter-spike interval; 0 if there is none.

        In Brian2 style as Brian2 counts, ``timestep(t_ref, dt)``, which cuts
        it to whole steps; in update style ``round(t_ref/dt)``.
        """
        text = self.refractory.strip()
        if not text or self.active:
            return 0
        where = f"neuron '{self.neuron.name}', refractory"
        if is_plain_time(text, ()):
            time = resolve_parameters({"refractory": text}, where)[0]["refractory"]
        else:
            time = evaluate(text, {**self.values(dt), "dt": dt}, where)
        if self.neuron.model.strip():
            return np.asarray(timestep(np.asarray(time, dtype=float), dt)).astype(int)[()]
        return np.rint(np.asarray(time) / dt).astype(int)[()]


def step_map(neuron: Neuron, members: Members | None = None) -> StepMap:
    """Bring a neuron to its step map, checking names and units.

    Parameters
    ----------
    neuron : Neuron
    members : Members, optional
        The neurons that its values are for, where they differ. Default: `example_of` its values.

    Raises
    ------
    EquationError
        For an undefined symbol, a reserved or repeated name, a wrong unit, a missing or unusable
        spike condition, a surrogate that has no slope, or an equation that cannot be
        differentiated; the message quotes the line.
    """
    where = f"neuron '{neuron.name}'"
    check_texts(neuron, where)
    style = written_style(neuron, where)
    values = {**units_in(neuron), **neuron.parameters}
    members = members or example_of([*neuron.parameters.values(), *neuron.initial.values()])
    parameters, dimensions = resolve_values(values, f"{where}, parameters", members)
    check_times({name: parameters[name] for name in neuron.parameters}, dimensions, where)
    if style == "model" and neuron.receptors:
        raise EquationError(
            where,
            f"receptors = {', '.join(neuron.receptors)}",
            "`receptors` belongs to `update`; in `model` give every receptor its `on_pre`",
        )
    receptors = neuron.receptor_names
    # What the equations read as something of the network's.
    meanings = [*map(input_name, receptors), "z"] if style == "update" else []
    refuse_reserved([*neuron.parameters, *neuron.constants], where, meanings)
    refuse_shadowed_units(neuron, where)
    for name, expression in neuron.constants.items():
        dimensions[name] = dimensions_of(
            expression, {**dimensions, "dt": second.dim}, f"{where}, constants"
        )
    functions: dict[str, WeightFunction] = {}
    subexpressions: dict[str, str] = {}
    arrays = resolve_timed_arrays(neuron.timed_arrays, f"{where}, timed_arrays")
    refuse_reserved(arrays, where, meanings)
    several = [name for name, value in parameters.items() if np.ndim(value)]
    reader = Reader(neuron, arrays, several, where)
    declared = declarations(reader.neuron(as_seen(neuron)), where)
    declared.check_values(parameters, dimensions, where)
    dimensions = {n: dim for n, dim in dimensions.items() if n not in declared.assigned}
    written = declared.neuron
    if style == "update":
        statements, units = update_statements(written, {**dimensions, **reader.dimensions}, where)
        signals = Signals.beside([*dimensions, *units], receptors)
    else:
        read = {**dimensions, **reader.dimensions, **refractory_names(written)}
        noise = noise_in(written.model)
        equations = read_model(written.model, {**read, **noise}, f"{where}, model")
        check_shared(equations, reader.differing, where)
        subexpressions = moving_subexpressions(equations)
        written = without_subexpressions(written, equations)
        signals = Signals.beside([*read, *equations], receptors)
        reader.reserve([*signals.inputs.values(), signals.spike, signals.detached, signals.psi])
        statements, units, functions = model_statements(
            written, equations, reader, read, signals, where
        )
    written, statements, exogenous = reader.renumbered(written, statements)
    first, active = _active_of(statements)
    statements = [line for line in statements if line[0] != ACTIVE]
    states = tuple(units)
    refuse_reserved([state for state in states if state != LAST_SPIKE], where, meanings)
    clash = [state for state in states if state in dimensions]
    if clash:
        raise EquationError(where, clash[0], "is both a state and a parameter")
    initial = read_initial(written.initial, units, dimensions, members, where)
    initial |= {n: parameters.pop(n) for n in declared.assigned if n in parameters}
    initial |= {LAST_SPIKE: LONG_AGO} if LAST_SPIKE in units else {}
    check_samples(exogenous, {**dimensions, "dt": second.dim}, units, where)
    known = {**dimensions, **{q.name: q.dim for q in exogenous}, **units, "dt": second.dim}
    reached = _reached(statements, signals.inputs.values())
    condition = spike_condition(written, states, reached, known, where)
    uniform = uniform_draws(exogenous)
    at_rest = {q.name: q.at_rest for q in exogenous}
    start = _Start(neuron, states, initial, {**parameters, **at_rest}, members, where)
    if written.surrogate.strip():
        check_surrogate(written, states, known, condition, where, uniform)
    else:
        own = default_surrogate(condition, uniform, known, start.value, where)
        written = replace(written, surrogate=own)
        parameters |= {name: float(UNITS[name]) for name in get_identifiers(own) & UNITS.keys()}
    check_refractory_surrogate(written, known, condition, where)
    if not active:
        check_refractory(written, dimensions, start.value, where)
    detached = neuron.detach
    if detached is None:
        reached_states = [state for state in states if state in reached]
        membrane = _membrane(condition.margin, reached_states, start, where)
        detached = _default_detached(statements, states, membrane, signals)
    for state in detached:
        require_known([state], states, f"{where}, detach", str(list(detached)))
    parsed = _parsed(statements, detached, signals, where)
    return StepMap(
        neuron=neuron,
        states=states,
        code=tuple(f"{name} = {attached(expression)}" for name, expression in statements),
        statements=parsed,
        composed=_compose(parsed, states),
        margin=condition.margin,
        threshold=condition.text,
        surrogate=condition.counted(written.surrogate),
        refractory_surrogate=written.refractory_surrogate,
        detached=tuple(detached),
        parameters=parameters,
        constants=dict(neuron.constants),
        units={state: unit_in_equations(unit) for state, unit in units.items()},
        signals=signals,
        weight_functions=functions,
        on_pre={} if style == "update" else dict(written.on_pre_by_receptor),
        subexpressions=subexpressions,
        exogenous=exogenous,
        refractory=written.refractory,
        active=active_text(parsed[:first], active, signals, where) if active else "",
        initial=initial,
        dimensions=dimensions,
        members=members,
    )


def readout_map(readout: ReadoutFilter) -> tuple[sympy.Expr, sympy.Expr]:
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


def _active_of(statements) -> tuple[int, str]:
    """How many statements come before the one that says whether a neuron may spike, and this one.

    Its text is ``""`` if there is none.
    """
    for number, (name, text) in enumerate(statements):
        if name == ACTIVE:
            return number, text
    return 0, ""


def _reached(statements, arriving: Iterable[str]) -> set[str]:
    """What the inputs of a step or of earlier steps reach without a spike."""
    reads: dict[str, set[str]] = {}
    for name, expression in statements:
        symbols = parse_expression(expression, name, detached=True).free_symbols
        reads.setdefault(name, set()).update(s.name for s in symbols)
    reached: set[str] = set()
    while True:
        more = {name for name, used in reads.items() if used & {*arriving, *reached}}
        if more <= reached:
            return reached
        reached |= more


class _Start:
    """Values at the start of a trial, for what a step map has to know of them."""

    def __init__(
        self, neuron: Neuron, states, initial: Initial, parameters, members: Members, where: str
    ) -> None:
        self.neuron, self.states, self.initial = neuron, states, initial
        self.parameters, self.members, self.where = parameters, members, where

    @cached_property
    def values(self) -> dict[str, Any]:
        """Of parameters, constants and states.

        Raises
        ------
        EquationError
            If one of them has none.
        """
        values = {**self.parameters, "dt": TYPICAL_DT}
        for name, expression in self.neuron.constants.items():
            values[name] = evaluate(expression, values, self.where)
        start = start_values(self.initial, self.states, values, self.members, self.where)
        return values | start

    def value(self, expression: sympy.Expr) -> np.ndarray | float:
        """Of an expression of these."""
        return evaluate(expression, self.values, self.where)


def _membrane(margin: sympy.Expr, reached: list[str], start: _Start, where: str) -> list[str]:
    """Of the states that the input reaches, those that bring a spike about by rising.

    Not those that hold it off, as an adapted threshold does. However the condition is written: at
    the threshold itself, where equal conditions have slopes of one sign.
    """
    slopes = {state: derivative(margin, symbol(state)) for state in reached}
    slopes = {state: slope for state, slope in slopes.items() if slope != 0}
    try:
        values = start.values | _at_threshold(margin, slopes, start.values, where)
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
    """States whose own statement reads an input, and the membrane."""
    inputs = {symbol(name) for name in signals.inputs.values()}
    entered = {
        name
        for name, expression in statements
        if inputs & parse_expression(expression, name, detached=True).free_symbols
    }
    return tuple(state for state in states if state in entered or state in membrane)


def _parsed(
    statements, detached, signals: Signals, where: str
) -> tuple[tuple[str, sympy.Expr], ...]:
    """The statements as expressions, each short enough to be differentiated."""
    spike, unseen = symbol(signals.spike), symbol(signals.detached)
    parsed = []
    for name, text in statements:
        expression, line = parse_expression(text, where, detached=True), f"{name} = {text}"
        if name in detached:
            expression = expression.subs(spike, unseen)
        check_statement(expression, line, where)
        parsed.append((name, expression))
    return tuple(parsed)


def _compose(statements, states) -> dict[str, sympy.Expr]:
    """New values of all states as expressions of the old ones; none where one would be long."""
    new = {symbol(state): symbol(state) for state in states}
    sizes: dict[sympy.Symbol, int] = {}
    depths: dict[sympy.Symbol, int] = {}
    for name, expression in statements:
        target = symbol(name)
        operations, nesting = step_operations(expression, sizes), step_nesting(expression, depths)
        if not is_short(operations, nesting):
            return {}
        sizes[target], depths[target] = operations, nesting
        new[target] = expression.xreplace(new)
    return {state: new[symbol(state)] for state in states}
