"""Eligibility system: the derivative of a step map with respect to the weights.

For a synapse from i to j the eligibility vector follows, exactly (Bellec et al. 2020, eqs. 13-14),

    eps[t] = A[t] eps[t-1] + u[t] e[t-1] + b_r[t] pre_i[t]        e[t] = c[t] . eps[t]

with A = dM/dh at constant spike, u = dM/dz through the neuron's own spike (zero where detached),
b_r = dM/dI_r for the receptor r that the synapse drives, and c = dz/dh = psi * d(margin)/dh.
``A + u c^T`` is the paper's dh[t]/dh[t-1]; writing the neuron's own spike as the eligibility trace
of the step before keeps every coefficient at one time. Receptors differ in b_r alone. All
coefficients belong to the postsynaptic neuron, so each component of eps is placed where it needs to
be: on the presynaptic neuron if its coefficients are the same constants for all postsynaptic
neurons, else on the synapse.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import sympy
from brian2.parsing.sympytools import str_to_sympy
from brian2.utils.stringtools import get_identifiers

from eprop_brian.symbolic.chain import ChainRule
from eprop_brian.symbolic.coefficients import (
    Coefficient,
    LearnedParameter,
    Limits,
)
from eprop_brian.symbolic.derivatives import derivative, tidied
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.exogenous import Sample
from eprop_brian.symbolic.expressions import (
    Detached,
    evaluate,
    expression_text,
    parse_expression,
    require_known,
    symbol,
)
from eprop_brian.symbolic.names import BEFORE, free_name
from eprop_brian.symbolic.numeric import value_in_numpy
from eprop_brian.symbolic.pieces import has_steps
from eprop_brian.symbolic.readings import Reading, state_cost, state_expression
from eprop_brian.symbolic.step_map import StepMap

__all__ = ["EligibilitySystem", "derive"]

_LEFTOVERS = (sympy.Derivative, sympy.Subs, sympy.DiracDelta)


# Compared by identity, as the step map that it is derived from.
@dataclass(frozen=True, eq=False)
class EligibilitySystem:
    """The derived eligibility system of a neuron.

    Attributes
    ----------
    step : StepMap
    components : tuple of str
        States whose eligibility is neither zero nor unused, in the neuron's order.
    transition : dict of (str, str) to Coefficient
        A: ``transition[k, l]`` takes component l of the step before to component k.
    spike_path : dict of str to Coefficient
        u: weight of the eligibility trace of the step before.
    drive : dict of str to dict of str to Coefficient
        b_r: weight of the presynaptic spike, by receptor and component; the key of a receptor
        without a name is ``""``.
    spike_gradient : dict of str to Coefficient
        c without its factor psi: d(margin)/dh.
    placement : dict of str to dict of str to str
        By receptor, ``"pre"`` or ``"synapse"`` for every component that its synapses have.
    learned : dict of str to LearnedParameter
        The neuron's own parameters that learn, by name.
    cost_gradient : dict of str to Coefficient
        d(cost)/dh of the voltage regulariser's cost; empty without one.
    readings : tuple of Reading
        What readouts sum in the place of spikes.
    slopes : tuple of tuple of Coefficient
        Where the step is differentiated statement by statement (`ChainRule`): what is computed
        right before each of its statements, in order, for coefficients of the map. Else empty.
    """

    step: StepMap
    components: tuple[str, ...]
    transition: dict[tuple[str, str], Coefficient]
    spike_path: dict[str, Coefficient]
    drive: dict[str, dict[str, Coefficient]]
    spike_gradient: dict[str, Coefficient]
    placement: dict[str, dict[str, str]]
    learned: dict[str, LearnedParameter] = field(default_factory=dict)
    cost_gradient: dict[str, Coefficient] = field(default_factory=dict)
    readings: tuple[Reading, ...] = ()
    slopes: tuple[tuple[Coefficient, ...], ...] = ()

    def number_of(self, reads: str) -> int:
        """The number of a reading by its text; 0 are the spikes, whose text is ``""``."""
        return {"": 0, **{r.text: r.number for r in self.readings}}[reads]

    def varying(self, *, after: bool) -> dict[str, sympy.Expr]:
        """Coefficients that change in time, by name.

        Parameters
        ----------
        after : bool
            True: those of the new state (c, d(cost)/dh, d(reading)/dh). False: those of the step's
            map (A, u, b), which are evaluated before the states are overwritten.
        """
        return {c.name: c.expression for c in self.entries(after=after) if c.name}

    def code_after(self, limits: Limits) -> list[str]:
        """Statements of the coefficients of the new state, finite where a state overflows."""
        return self._code(self.entries(after=True), limits)

    def step_code(self, limits: Limits) -> list[str]:
        """Statements of a step, with those of the coefficients of its map, finite likewise."""
        entries = self.entries(after=False)
        if not self.slopes:
            return [*self._code(entries, limits), *self.step.code]
        computed = {slope.name for slopes in self.slopes for slope in slopes}
        last = [c for c in entries if {s.name for s in c.expression.free_symbols} & computed]
        first = [c for c in entries if c not in last]
        lines = self._code(first, limits)
        for slopes, line in zip(self.slopes, self.step.code, strict=True):
            lines += [f"{slope.name} = {slope.bounded_code(limits)}" for slope in slopes]
            lines.append(line)
        return lines + self._code(last, limits)

    def _code(self, entries: Iterable[Coefficient], limits: Limits) -> list[str]:
        varying, states = (c for c in entries if c.name), self.step.states
        return list(dict.fromkeys(f"{c.name} = {c.code_within(limits, states)}" for c in varying))

    def entries(self, *, after: bool) -> list[Coefficient]:
        """Coefficients of the new state, or of the step's map; see `varying`."""
        if after:
            entries = [*self.spike_gradient.values(), *self.cost_gradient.values()]
            for reading in self.readings:
                entries += reading.gradient.values()
            for parameter in self.learned.values():
                entries += [parameter.spike_gradient, parameter.cost_gradient]
                entries += parameter.readings
            return entries
        entries = [*self.transition.values(), *self.spike_path.values()]
        for drive in self.drive.values():
            entries += drive.values()
        for parameter in self.learned.values():
            entries += parameter.drive.values()
        return entries

    def check_finite(self, dt: float) -> None:
        """Check that a step from the initial values gives numbers, and so do its derivatives.

        Raises
        ------
        EquationError
            If they do not. It names the state and the expression.
        """
        before, after = self.step.first_step(dt)
        slopes: dict[str, np.ndarray | float] = {}
        for parameter in self.learned.values():
            for name, slope in parameter.slopes.items():
                where = f"neuron '{self.step.neuron.name}'"
                slopes[name] = evaluate(slope, {**before, **slopes}, where)
        values = {**before, **slopes}
        self._check_slopes(self._slopes(after=False), values | self._slopes_on_the_way(values))
        self._check_slopes(self._slopes(after=True), {**after, **slopes})

    def _slopes_on_the_way(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of `slopes` in a step."""
        values, found = dict(values), {}
        for slopes, line in zip(self.slopes, self.step.code, strict=bool(self.slopes)):
            name, text = line.split(" = ", 1)
            for slope in slopes:
                key = name.strip("_"), slope.name
                self._check_slopes({key: slope.expression}, values)
                found[slope.name] = _value(slope.expression, values)
                values[slope.name] = found[slope.name]
            where = f"neuron '{self.step.neuron.name}', {name}"
            values[name] = evaluate(text, values, where, detached=True)
        return found

    def _slopes(self, *, after: bool) -> dict[tuple[str, str], sympy.Expr]:
        """Entries by numerator and denominator of the derivative, of the step or the new state."""
        learned = self.learned.items()
        if after:
            entries = {("the threshold", k): c for k, c in self.spike_gradient.items()}
            entries |= {("the voltage cost", k): c for k, c in self.cost_gradient.items()}
            for reading in self.readings:
                entries |= {(f"'{reading.text}'", k): c for k, c in reading.gradient.items()}
            entries |= {("the threshold", name): p.spike_gradient for name, p in learned}
            entries |= {("the voltage cost", name): p.cost_gradient for name, p in learned}
        else:
            entries = dict(self.transition)
            entries |= {(k, "the neuron's own spike"): c for k, c in self.spike_path.items()}
            for receptor, drive in self.drive.items():
                entries |= {(k, _input(receptor)): c for k, c in drive.items()}
            entries |= {(k, name): c for name, p in learned for k, c in p.drive.items()}
        return {key: entry.expression for key, entry in entries.items()}

    def _check_slopes(
        self,
        slopes: Mapping[tuple[str, str], sympy.Expr],
        values: Mapping[str, np.ndarray | float],
    ) -> None:
        for (above, below), slope in slopes.items():
            value = _value(slope, values)
            if np.all(np.isfinite(value)):
                continue
            names = sorted(s.name for s in slope.free_symbols)
            point = ", ".join(f"{name} = {values[name]}" for name in names)
            raise EquationError(
                f"neuron '{self.step.neuron.name}', derivative of {above} by {below}",
                expression_text(slope),
                f"is not finite at the start, with {point}: no gradient can pass. Start from other "
                "values, or write the equation so that it has a finite slope there",
            )

    def dh_dh(self, k: str, level: str) -> sympy.Expr:
        """The paper's dh_k[t]/dh_level[t-1], with ``psi`` standing for psi[t-1]."""
        return (
            self.transition[k, level].expression
            + self.spike_path[k].expression
            * symbol(self.step.signals.psi)
            * self.spike_gradient[level].expression
        )


def _value(slope: sympy.Expr, values: Mapping[str, Any]) -> Any:
    # NumPy's scalars divide by zero to inf, where Python's raise.
    exact = {s.name: np.float64(values[s.name]) for s in slope.free_symbols}
    return value_in_numpy(slope, exact, {})


def derive(
    step: StepMap, learned: Collection[str] = (), cost: str = "", reads: Sequence[str] = ()
) -> EligibilitySystem:
    """Differentiate a step map.

    Parameters
    ----------
    step : StepMap
    learned : collection of str
        Parameters of the neuron that learn. What depends on them, or on parameters given as one
        value per neuron, cannot live on the presynaptic neuron.
    cost : str
        Cost of the voltage regulariser: an expression of the neuron's states, parameters and
        constants, and of ``margin``, the left minus the right side of its spike condition.
    reads : sequence of str
        What readouts sum in the place of spikes: expressions of the same names, each once.

    Raises
    ------
    EquationError
        If a state's equation has no derivative that can be evaluated, a parameter cannot learn, or
        no weight reaches what is read.
    """
    states = step.states
    h = {state: symbol(state) for state in states}
    spike, inputs = symbol(step.signals.spike), map(symbol, step.signals.inputs.values())
    moving = {*h.values(), *inputs, spike, symbol("not_refractory"), symbol(BEFORE)}
    moving |= {symbol(quantity.name) for quantity in step.exogenous if quantity.varies}
    per_neuron = {*learned} | {
        name for name, value in step.parameters.items() if getattr(value, "ndim", 0)
    }
    per_neuron |= {quantity.name for quantity in step.exogenous if quantity.several}
    # A constant computed from per-neuron parameters is per neuron itself.
    for name, expression in step.constants.items():
        if {s.name for s in str_to_sympy(expression).free_symbols} & per_neuron:
            per_neuron.add(name)
    heterogeneous = {symbol(name) for name in per_neuron}

    def cleaned(of: str, expression: sympy.Expr) -> sympy.Expr:
        """A derivative of a state, of the threshold or of the cost, whose text `of` quotes."""
        if expression == 0:
            return expression
        expression = expression.xreplace({symbol(step.signals.detached): spike})
        if expression.has(Detached):
            expression = expression.replace(Detached, lambda value: value)
        expression = tidied(expression)
        if expression.has(*_LEFTOVERS):
            line = next((line for line in step.code if line.startswith(f"{of} ")), of)
            raise EquationError(
                f"neuron '{step.neuron.name}'", line, "has no derivative that can be evaluated"
            )
        return expression

    rule = None if step.composed else ChainRule(step, moving, cleaned)

    def slopes_by(
        source: sympy.Symbol, direct: Callable[[sympy.Expr], sympy.Expr] | None = None
    ) -> dict[str, sympy.Expr]:
        """Derivatives of the new states; `direct` as for `ChainRule.by`."""
        if rule:
            slopes = rule.by(source, direct).items()
            return {k: x if x.free_symbols & rule.moving else tidied(x) for k, x in slopes}
        slope = direct or (lambda expression: derivative(expression, source))
        return {k: cleaned(k, slope(step.composed[k])) for k in states}

    def coefficient(expression: sympy.Expr, name: str) -> Coefficient:
        varies = expression.free_symbols & (rule.moving if rule else moving)
        return Coefficient(expression, name if varies else "")

    def entry(of: str, expression: sympy.Expr, name: str) -> Coefficient:
        return coefficient(cleaned(of, expression), name)

    by_state = {m: slopes_by(h[m]) for m in states}
    transition = {(k, m): coefficient(by_state[m][k], f"A_{k}_{m}") for k in states for m in states}
    spike_path = {k: coefficient(x, f"u_{k}") for k, x in slopes_by(spike).items()}
    drive = {}
    for receptor, name in step.signals.inputs.items():
        arriving, end = slopes_by(symbol(name)), f"_{receptor}" if receptor else ""
        drive[receptor] = {k: coefficient(x, f"b_{k}{end}") for k, x in arriving.items()}
    gradient = {k: entry(step.threshold, derivative(step.margin, h[k]), f"c_{k}") for k in states}

    penalty = state_cost(step, cost)
    cost_gradient = {k: entry(cost, derivative(penalty, h[k]), f"r_{k}") for k in states}
    if penalty != 0 and all(slope.is_zero for slope in cost_gradient.values()):
        raise EquationError(
            f"neuron '{step.neuron.name}', voltage_cost",
            cost,
            "has a slope of 0 everywhere, so it moves no weight: write one that rises with a state",
        )
    where = f"neuron '{step.neuron.name}', reads"
    values = [state_expression(step, text, where) for text in reads]
    for text, value in zip(reads, values, strict=True):
        _check_read(step, text, value, where)
    readings = [
        Reading(
            number,
            text,
            Coefficient(value),
            {k: entry(text, derivative(value, h[k]), f"s{number}_{k}") for k in states},
        )
        for number, (text, value) in enumerate(zip(reads, values, strict=True), start=1)
    ]
    parameters = {
        name: _learned(step, name, penalty, values, entry, slopes_by, coefficient)
        for name in learned
    }
    seen = {k for k in states if not (gradient[k].is_zero and cost_gradient[k].is_zero)}
    seen |= {k for reading in readings for k in states if not reading.gradient[k].is_zero}

    def relevant(*sources: Mapping[str, Coefficient]) -> tuple[str, ...]:
        return _relevant(states, transition, spike_path, sources, gradient, seen)

    placement = {}
    for receptor, own in drive.items():
        components = relevant(own)
        if not components:
            raise EquationError(
                f"neuron '{step.neuron.name}'",
                "; ".join(step.code),
                f"{_input(receptor)} never reaches the threshold, so no weight can be learned",
            )
        placement[receptor] = _placement(components, transition, spike_path, own, heterogeneous)
    reached = {k for components in placement.values() for k in components}
    for reading in readings:
        if all(reading.gradient[k].is_zero for k in reached):
            raise EquationError(
                where,
                reading.text,
                "no weight reaches what is read, so nothing can be learned from it: read a state "
                "that follows from the neuron's inputs or spikes",
            )
    components = relevant(*drive.values(), *(p.drive for p in parameters.values()))
    keep = set(components)
    system = EligibilitySystem(
        step=step,
        components=components,
        transition={key: c for key, c in transition.items() if keep.issuperset(key)},
        spike_path={k: c for k, c in spike_path.items() if k in keep},
        drive={r: {k: c for k, c in own.items() if k in keep} for r, own in drive.items()},
        spike_gradient={k: c for k, c in gradient.items() if k in keep},
        placement=placement,
        learned={
            name: replace(p, drive={k: c for k, c in p.drive.items() if k in keep})
            for name, p in parameters.items()
        },
        cost_gradient={k: c for k, c in cost_gradient.items() if k in keep and not c.is_zero},
        readings=tuple(reading.within(keep) for reading in readings),
    )
    return (
        system if rule is None else replace(system, slopes=rule.needed(system.entries(after=False)))
    )


def _learned(
    step: StepMap,
    name: str,
    penalty: sympy.Expr,
    readings: Sequence[sympy.Expr],
    entry: Callable[[str, sympy.Expr, str], Coefficient],
    slopes_by: Callable[..., dict[str, sympy.Expr]],
    coefficient: Callable[[sympy.Expr, str], Coefficient],
) -> LearnedParameter:
    """Differentiate a step by a parameter, directly and through the constants."""
    where = f"neuron '{step.neuron.name}', learned"
    require_known([name], sorted({*step.neuron.parameters}), where, name)
    if name == step.neuron.refractory.strip():
        raise EquationError(where, name, "is the refractory time, whose effect has no derivative")
    theta = symbol(name)
    _check_smooth(step, name, where)
    initial = {state: text for state, text in step.initial.items() if isinstance(text, str)}
    taken = {*step.states, *step.parameters, *step.constants}
    slopes: dict[str, str] = {}
    through: dict[sympy.Symbol, sympy.Expr] = {}

    def total_derivative(expression: sympy.Expr) -> sympy.Expr:
        return derivative(expression, theta) + sum(
            derivative(expression, constant) * by for constant, by in through.items()
        )

    for constant, text in step.constants.items():
        expression = parse_expression(text, where)
        slope = tidied(total_derivative(expression))
        if slope != 0:
            slope_name = free_name(f"slope_{constant}_{name}", {*taken, *slopes})
            slopes[slope_name] = expression_text(slope)
            through[symbol(constant)] = symbol(slope_name)
    for state, text in initial.items():
        if str_to_sympy(text).free_symbols & {theta, *through}:
            raise EquationError(
                where, f"{state} = {text}", f"starts from '{name}', so '{name}' cannot learn"
            )

    parameter = LearnedParameter(
        name=name,
        drive={
            k: coefficient(x, f"b_{k}_{name}")
            for k, x in slopes_by(theta, total_derivative).items()
        },
        spike_gradient=entry(step.threshold, total_derivative(step.margin), f"c_{name}"),
        slopes=slopes,
        constants=tuple(constant.name for constant in through),
        cost_gradient=entry(step.states[0], total_derivative(penalty), f"r_{name}"),
        readings=tuple(
            entry(step.states[0], total_derivative(value), f"s{number}_{name}")
            for number, value in enumerate(readings, start=1)
        ),
    )
    if parameter.spike_gradient.is_zero and all(c.is_zero for c in parameter.drive.values()):
        raise EquationError(where, name, "acts on no state and no threshold, so it cannot learn")
    return parameter


def _check_read(step: StepMap, text: str, value: sympy.Expr, where: str) -> None:
    """Check that a reading follows from states, and not from what a step reads besides."""
    for quantity in step.exogenous:
        if symbol(quantity.name) in value.free_symbols:
            raise EquationError(
                where,
                text,
                f"is a distance from a threshold that reads {quantity.call}, which readouts cannot "
                "see: read a state",
            )


def _check_smooth(step: StepMap, parameter: str, where: str) -> None:
    """Check that the step has a derivative by a parameter."""
    lines = [f"{name} = {text}" for name, text in step.constants.items()]
    lines += [*step.code, f"_threshold = {expression_text(step.margin)}"]
    depending = {symbol(parameter)}
    for line in lines:
        name, text = line.split(" = ", 1)
        parsed = parse_expression(text, where, detached=True)
        if steps := has_steps(parsed, depending):
            raise EquationError(
                where,
                step.threshold if name == "_threshold" else line,
                f"'{steps}' has no slope, so '{parameter}' cannot learn through it",
            )
        if parsed.free_symbols & depending:
            depending.add(symbol(name))
    for sample in (q for q in step.exogenous if isinstance(q, Sample)):
        if get_identifiers(f"{sample.time} {sample.column}") & {s.name for s in depending}:
            raise EquationError(
                where,
                sample.call,
                f"is a value of a table, which has no slope, so '{parameter}' cannot learn "
                "through it",
            )


def _relevant(states, transition, spike_path, sources, gradient, seen) -> tuple[str, ...]:
    """States that a weight (or learned parameter) reaches and that reach the spike or a cost.

    Directly or through others; `sources` are what enters the states, `seen` the states that spike
    or cost read.
    """
    observed = set(seen)
    reached = {k for k in states if any(not source[k].is_zero for source in sources)}
    while True:
        more_observed = {
            m for m in states for k in observed if not transition[k, m].is_zero
        } | observed
        more_reached = {
            k for k in states for m in reached if not transition[k, m].is_zero
        } | reached
        if more_reached & more_observed & {k for k in states if not gradient[k].is_zero}:
            # A trace exists, and it feeds every state that sees the neuron's own spike.
            more_reached |= {k for k in states if not spike_path[k].is_zero}
        if (more_observed, more_reached) == (observed, reached):
            return tuple(k for k in states if k in observed & reached)
        observed, reached = more_observed, more_reached


def _input(receptor: str) -> str:
    """A receptor's input in errors."""
    return f"the input of receptor '{receptor}'" if receptor else "the input I"


def _placement(components, transition, spike_path, drive, heterogeneous) -> dict[str, str]:
    def shared(coefficient: Coefficient) -> bool:
        return not coefficient.name and not coefficient.expression.free_symbols & heterogeneous

    pre = {
        k
        for k in components
        if spike_path[k].is_zero
        and shared(drive[k])
        and all(shared(transition[k, m]) for m in components)
    }
    while True:
        fewer = {k for k in pre if all(transition[k, m].is_zero or m in pre for m in components)}
        if fewer == pre:
            return {k: "pre" if k in pre else "synapse" for k in components}
        pre = fewer
