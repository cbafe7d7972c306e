"""What arrives through a synapse, as an amount to a factor of its weight.

A synapse of weight w hands on ``e(w)*a_i[t]``: the amount a_i is the same for all synapses of the
presynaptic neuron i, and e(w) is mostly w itself. As no variable of the synapse depends on w or on
the postsynaptic neuron, amounts are to the trace what spikes are otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import sympy
from brian2.units.fundamentalunits import DIMENSIONLESS
from brian2.utils.stringtools import get_identifiers

from eprop_brian.symbolic.derivatives import derivative
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import (
    dimensions_of,
    expression_text,
    parse_expression,
    split_statements,
    symbol,
)
from eprop_brian.symbolic.functions import WHERE
from eprop_brian.symbolic.names import input_name, substituted
from eprop_brian.symbolic.parameters import UNITS, displayed_unit
from eprop_brian.symbolic.step_map import StepMap
from eprop_brian.symbolic.styles import Statement
from eprop_brian.symbolic.synapse_map import AMOUNT, SynapseMap
from eprop_brian.symbolic.weights import WEIGHT, WeightFunction

__all__ = ["Arrival", "Transmission", "transmission"]


@dataclass(frozen=True)
class Entry:
    """What a presynaptic spike does to a variable.

    Attributes
    ----------
    variable : str
    added : sympy.Expr
        What it adds for a weight w. The neuron's own names end with ``_post``.
    """

    variable: str
    added: sympy.Expr


@dataclass(frozen=True)
class Arrival:
    """Where spikes arrive: a receptor of a neuron, or the sum of a readout.

    Attributes
    ----------
    what : str
        Named in errors.
    entries : tuple of Entry
        What a spike does, by the neuron's own equations.
    subexpressions : dict of Symbol to sympy.Expr
        Of the neuron, in the same names as entries.
    """

    what: str
    entries: tuple[Entry, ...]
    subexpressions: dict[sympy.Basic, sympy.Basic]

    @staticmethod
    def at_neuron(name: str, step: StepMap, receptor: str) -> Arrival:
        """A receptor of the neurons of a population."""
        if not step.on_pre:
            return Arrival.at_sum(name, input_name(receptor))
        where = f"neuron '{step.neuron.name}', on_pre"
        code = split_statements(step.on_pre[receptor], where)
        written: dict[sympy.Basic, sympy.Basic] = {
            symbol(f"{name}_post"): _of_neuron(parse_expression(text, where), ())
            for name, text in step.subexpressions.items()
        }
        entries = [_entry(name, expression, (), {}, where) for name, expression in code]
        return Arrival(f"'{name}'", tuple(entries), written)

    @staticmethod
    def at_sum(name: str, variable: str) -> Arrival:
        """Whatever reads the sum of the weights."""
        return Arrival(f"'{name}'", (Entry(variable, WEIGHT),), {})


@dataclass(frozen=True, eq=False)
class Transmission:
    """A synapse at an input of a neuron: what it hands on.

    Attributes
    ----------
    map : SynapseMap
    spike : tuple of (str, str)
        Statements of a spike in order, with `AMOUNT` among them unless `value` is not empty.
    value : str
        What is handed on in every step, ``""`` if it is an amount for each spike.
    weight : WeightFunction or None
        e(w): what the amount is multiplied by, where it is not what the neuron has itself.
    """

    map: SynapseMap
    spike: tuple[Statement, ...]
    value: str
    weight: WeightFunction | None

    def hands_on_as(self, other: Transmission) -> bool:
        """Whether both hand on the same amounts, so that they need only be computed once."""
        same = self.map.synapse is other.map.synapse
        return same and (self.spike, self.value) == (other.spike, other.value)

    @property
    def units(self) -> dict[str, float]:
        """Units that its statements name, with their values."""
        several = [*self.map.clocked, *self.map.driven, *self.spike, ("", self.value)]
        named = {name for _, text in several for name in get_identifiers(text)}
        known = self.map.own
        return {name: float(UNITS[name]) for name in sorted(named - known) if name in UNITS}

    def statements(self, *, inputs: bool) -> list[str]:
        """A step on the presynaptic neuron, which spikes where ``z`` is 1; sets ``value_sent``.

        Clock-driven variables move before a spike of the same step and event-driven ones after
        it, as in Brian2. A spike of `inputs` in a step acts in that step, which is one of the step
        before in Brian2.
        """
        clocked, driven = (
            [f"{name} = {x}" for name, x in code] for code in (self.map.clocked, self.map.driven)
        )
        spike = self._spike()
        return [*spike, *clocked, *driven] if inputs else [*clocked, *spike, *driven]

    def _spike(self) -> list[str]:
        """What a spike does, where there is one."""
        new = {name: f"_spiked_{name}" for name in (*self.map.states, *self.map.temporaries)}
        lines: list[str] = []
        seen: dict[str, str] = {}
        for name, expression in self.spike:
            computed = substituted(expression, seen)
            if name == AMOUNT:
                lines.append(f"value_sent = {WHERE}(z, {computed}, 0)")
                continue
            lines.append(f"{new[name]} = {computed}")
            seen[name] = new[name]
        states = ((name, x) for name, x in seen.items() if name in self.map.states)
        lines += [f"{state} = {WHERE}(z, {x}, {state})" for state, x in states]
        return [*lines, f"value_sent = {self.value}"] if self.value else lines


def _entry(
    name: str,
    expression: str,
    synaptic: Collection[str],
    subexpressions: Mapping[sympy.Basic, sympy.Basic],
    where: str,
) -> Entry:
    """What a statement for the postsynaptic neuron adds."""
    variable = name.removesuffix("_post")
    before = symbol(f"{variable}_post")
    parsed = _of_neuron(parse_expression(expression, where), synaptic).xreplace(subexpressions)
    # What is set, not changed, is the sum of what arrives in a step.
    return Entry(variable, parsed - before if parsed.has(before) else parsed)


def _of_neuron(parsed: sympy.Expr, synaptic: Collection[str]) -> sympy.Expr:
    """The expression with ``_post`` at the end of the neuron's names: those that are no others."""
    names: dict[sympy.Basic, sympy.Basic] = {
        s: symbol(f"{s.name}_post")
        for s in parsed.free_symbols
        if s != WEIGHT and s.name not in synaptic and not s.name.endswith("_post")
    }
    return parsed.xreplace(names)


def transmission(step: SynapseMap, arrival: Arrival) -> Transmission:
    """What a synapse hands on to where its spikes arrive.

    Raises
    ------
    EquationError
        If the synapse's effect is not that of the neuron's own ``on_pre`` times an amount.
    """
    entries, what = arrival.entries, arrival.what
    where = f"synapse '{step.synapse.name}', on_pre"
    synaptic = step.own
    spike: list[Statement] = []
    sent = [(name, x) for name, x in step.on_pre if name not in synaptic]
    if step.summed:
        if sent:
            raise EquationError(
                where,
                f"{sent[0][0]} = {sent[0][1]}",
                "changes the postsynaptic neuron, which gets a summed variable already: two "
                "effects need a projection each",
            )
        ((name, expression),) = step.summed
        variable = f"{name.removesuffix('_post')}_post"
        sent = [(name, f"{variable} + {expression}")]
    if [name.removesuffix("_post") for name, _ in sent] != [e.variable for e in entries]:
        changed = ", ".join(name for name, _ in sent) or "nothing of the neuron"
        needed = ", ".join(f"{entry.variable}_post" for entry in entries)
        raise EquationError(
            where,
            step.synapse.on_pre,
            f"changes {changed}, where a spike changes {needed} of {what}",
        )
    ratios = [
        _ratio(
            _entry(name, x, synaptic, arrival.subexpressions, where),
            entry,
            step,
            what,
            f"{name} = {x}",
        )
        for (name, x), entry in zip(sent, entries, strict=True)
    ]
    weight, amount = ratios[0]
    # Of a plain weight, as the neuron's own effect is.
    function = None if weight is None else WeightFunction(weight)
    if step.summed:
        return Transmission(step, step.on_pre, expression_text(amount), function)
    # A statement reads what those above it have changed: all entries must be of the same amount.
    values = {symbol(state): symbol(state) for state in step.states}
    amounts, number = [], 0
    for name, expression in step.on_pre:
        if name in synaptic:
            parsed = parse_expression(expression, where)
            values[symbol(name)] = parsed.xreplace(values)
            spike.append((name, expression))
            continue
        if not number:
            spike.append((AMOUNT, expression_text(amount)))
        amounts.append((ratios[number][0], ratios[number][1].xreplace(values)))
        number += 1
    for other in amounts[1:]:
        if sympy.simplify(other[1] - amounts[0][1]) != 0 or other[0] != amounts[0][0]:
            raise EquationError(
                where,
                step.synapse.on_pre,
                f"brings {what} several amounts, for which a synapse needs a trace each: give each "
                "a receptor and a projection of its own",
            )
    return Transmission(step, tuple(spike), "", function)


def _ratio(
    sent: Entry, entry: Entry, step: SynapseMap, what: str, line: str
) -> tuple[sympy.Expr | None, sympy.Expr]:
    """A function of the weight and an amount, which make the neuron's own effect the synapse's."""
    where = f"synapse '{step.synapse.name}', on_pre"
    effect = sympy.cancel(sympy.factor(sent.added) / sympy.factor(entry.added))
    weight: sympy.Expr | None = None
    if effect.has(WEIGHT):
        # A function of the weight that is not the neuron's own.
        weight, effect = _weight_factor(effect * _weight_factor(entry.added)[0])
    names = {s.name for s in effect.free_symbols}
    units = {name for name in names if name.removesuffix("_post") in UNITS}
    foreign = sorted(names - step.own - units)
    if foreign:
        raise EquationError(
            where,
            line,
            f"is not what a spike does to {what}, `{_own_effect(entry)}`, times an amount of the "
            f"synapse: there is '{foreign[0].removesuffix('_post')}' besides",
        )
    _check_unit(effect, entry, step, what, line)
    if weight is not None and derivative(weight, WEIGHT) == 0:
        raise EquationError(
            where,
            line,
            "has no slope by the weight: write w times an amount, and give synapses that need not "
            "learn the weight 1",
        )
    if weight is not None and weight.free_symbols - {WEIGHT}:
        raise EquationError(
            where,
            line,
            "must be a function of the weight times an amount without it: only then do all "
            "synapses of a presynaptic neuron share the amount",
        )
    return weight, _plain(effect)


def _check_unit(amount: sympy.Expr, entry: Entry, step: SynapseMap, what: str, line: str) -> None:
    """Check that an amount has no unit, so that a spike brings what the neuron's own effect does.

    What reads the sum of the weights says nothing about their unit.
    """
    if entry.added == WEIGHT:
        return
    where = f"synapse '{step.synapse.name}', on_pre"
    text = expression_text(_plain(amount))
    units = {name: UNITS[name].dim for name in get_identifiers(text) & UNITS.keys()}
    found = dimensions_of(text, {**units, **step.dimensions}, where)
    if found is not DIMENSIONLESS:
        raise EquationError(
            where,
            line,
            f"differs in its unit, by {displayed_unit(found)}, from what a spike does to {what}, "
            f"`{_own_effect(entry)}`: weights are numbers, so write the same unit",
        )


def _own_effect(entry: Entry) -> str:
    """What a spike does by the neuron's own equations, as people read it."""
    names = {s: symbol(s.name.removesuffix("_post")) for s in entry.added.free_symbols}
    return f"{entry.variable} += {expression_text(entry.added.xreplace(names))}"


def _plain(amount: sympy.Expr) -> sympy.Expr:
    """An amount in which units are not called those of the neuron."""
    units = {s for s in amount.free_symbols if s.name.removesuffix("_post") in UNITS}
    return amount.xreplace({s: symbol(s.name.removesuffix("_post")) for s in units})


def _weight_factor(added: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
    """The factors with and without the weight."""
    without, factor = sympy.factor(added).as_independent(WEIGHT, as_Add=False)
    return factor, without
