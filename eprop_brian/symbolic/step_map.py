"""Step map: both ways of writing a neuron, brought to one form.

A `StepMap` holds the statements of one time step as they will run and, composed from those very
statements, the map h[t] = M(h[t-1], z[t-1], I_1[t], I_2[t], ...) of the inputs of all receptors,
which `eprop_brian.symbolic.eligibility` differentiates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy
from brian2.core.functions import timestep
from brian2.units import second

from eprop_brian.equations.neuron import Neuron
from eprop_brian.equations.readouts import ReadoutFilter
from eprop_brian.symbolic.bounds import check_step, step_nesting, step_operations
from eprop_brian.symbolic.derivatives import derivative, tidied
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import (
    UNDIFFERENTIABLE,
    attached,
    dimensions_of,
    evaluate,
    parse_expression,
    refuse_steps,
    require_known,
    split_statements,
    symbol,
)
from eprop_brian.symbolic.functions import WHERE
from eprop_brian.symbolic.names import BEFORE, Signals, input_name, refuse_reserved
from eprop_brian.symbolic.neuron_checks import (
    check_initial,
    check_refractory,
    check_refractory_surrogate,
    check_surrogate,
    check_texts,
    margin_of,
    refuse_shadowed_units,
    units_in,
    written_style,
)
from eprop_brian.symbolic.parameters import resolve_parameters, unit_name
from eprop_brian.symbolic.styles import (
    check_shared,
    model_statements,
    read_model,
    update_statements,
    without_subexpressions,
)

__all__ = ["StepMap", "readout_map", "step_map"]

#: Names that a readout's equations, losses and learning signals read as something of the network's.
_READOUT_MEANINGS = ("I", "y", "p", "y_target", "error", "coupled")
#: Seconds, where a sign or a size must be known and the time step is not.
_TYPICAL_DT = 1e-3
#: Most steps towards the threshold, which takes one where it is linear.
_NEWTON_STEPS = 30


@dataclass(frozen=True)
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
    composed : dict of str to sympy.Expr
        New value of each state as an expression of the values at the step before, the inputs, ``z``
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
        What the inputs, ``z`` and ``z_detached`` are called in this neuron.
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
        silent = dict.fromkeys((*self.signals.inputs.values(), self.signals.spike), 0.0)
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
    check_texts(neuron, where)
    style = written_style(neuron, where)
    values = {**units_in(neuron), **neuron.parameters}
    parameters, dimensions = resolve_parameters(values, f"{where}, parameters")
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
    written = neuron
    if style == "update":
        statements, units = update_statements(neuron, dimensions, where)
        signals = Signals.beside([*dimensions, *units], receptors)
    else:
        equations = read_model(neuron.model, dimensions, f"{where}, model")
        check_shared(equations, parameters, where)
        written = without_subexpressions(neuron, equations)
        signals = Signals.beside([*dimensions, *equations], receptors)
        statements, units = model_statements(written, equations, dimensions, signals, where)
    states = tuple(units)
    refuse_reserved(states, where, meanings)
    clash = [state for state in states if state in dimensions]
    if clash:
        raise EquationError(where, clash[0], "is both a state and a parameter")
    check_initial(neuron, units, {**dimensions, "dt": second.dim}, where)

    known = {**dimensions, **units, "dt": second.dim}
    margin = margin_of(written, states, known, where)
    moving = {symbol(state) for state in states}
    refuse_steps(margin, moving, written.threshold, f"{where}, threshold")
    check_surrogate(written, states, known, margin, where)
    check_refractory_surrogate(written, known, where)
    check_refractory(neuron, parameters, dimensions, where)
    detached = neuron.detach
    if detached is None:
        reached = _reached(statements, signals.inputs.values())
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
    """States whose own statement reads an input, and the membrane."""
    inputs = {symbol(name) for name in signals.inputs.values()}
    entered = {
        name
        for name, expression in statements
        if inputs & parse_expression(expression, name, detached=True).free_symbols
    }
    return tuple(state for state in states if state in entered or state in membrane)


def _compose(statements, states, detached, signals: Signals, where: str) -> dict[str, sympy.Expr]:
    """New states as expressions of the old ones, the inputs, ``z`` and ``z_detached``."""
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
    arriving = signals.inputs.values()
    moving = {symbol(name) for name in (*states, *arriving, signals.spike, signals.detached)}
    for part, line in lines.items():
        if any(environment[k].has(part) for k in states):
            refuse_steps(part, moving, line, where)
    return {state: environment[state] for state in states}
