"""Refractoriness of the Brian2 style: a time, or a condition under which a neuron stays refractory.

A time that is the same in every step is counted in steps. Everything else is worked out in each
step where Brian2's state updater does it, after what a spike of the step before has done and before
the states move:

- a time that depends on states, on the time or on random numbers is compared with the time since
  the last spike, which is a state, ``lastspike``;
- under a condition a neuron that has spiked stays refractory until the condition does not hold.

Whether a neuron is refractory changes by jumps alone, and so does the time of its last spike: no
gradient passes through them.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import sympy
from brian2.units import second
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension
from brian2.utils.stringtools import get_identifiers

from eprop_brian.equations.neuron import Neuron
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import (
    Detached,
    dimensions_of,
    expression_text,
    parse_expression,
    symbol,
)
from eprop_brian.symbolic.names import BEFORE, Signals, substituted
from eprop_brian.symbolic.parameters import UNITS, displayed_unit, parse_quantity

__all__ = [
    "ACTIVE",
    "LAST_SPIKE",
    "LONG_AGO",
    "active_text",
    "as_seen",
    "is_condition",
    "is_plain_time",
    "last_spike_statements",
    "refractory_names",
    "refractory_statements",
]

#: What the statements of a step call it that a neuron may spike.
ACTIVE = "not_refractory"
#: The time of the last spike, and that of neurons without one in seconds, as in Brian2.
LAST_SPIKE, LONG_AGO = "lastspike", -1e4


def as_seen(neuron: Neuron) -> Neuron:
    """A neuron whose reset and synapses name refractoriness as they see it.

    What a spike does is done in the step after it, where Brian2 has done it before the step ends:
    the neuron that spikes is refractory then, and of others it holds what held in that step.
    """
    if not (neuron.model.strip() and neuron.refractory.strip()):
        return neuron
    seen = {ACTIVE: BEFORE, f"{ACTIVE}_post": BEFORE}
    on_pre = {r: substituted(code, seen) for r, code in neuron.on_pre_by_receptor.items()}
    return replace(
        neuron,
        reset=substituted(neuron.reset, {ACTIVE: "0"}),
        on_pre=on_pre[""] if isinstance(neuron.on_pre, str) else on_pre,
    )


def refractory_names(neuron: Neuron) -> dict[str, Dimension]:
    """What equations read of spikes and refractoriness, with its units."""
    texts = (neuron.model, neuron.reset, neuron.threshold, neuron.surrogate, neuron.refractory)
    named = get_identifiers("\n".join([*texts, *neuron.on_pre_by_receptor.values()]))
    known = {LAST_SPIKE: second.dim}
    if neuron.refractory.strip():
        known |= dict.fromkeys((ACTIVE, BEFORE), DIMENSIONLESS)
    return {name: unit for name, unit in known.items() if name in named or f"{name}_post" in named}


def is_plain_time(text: str, parameters: Collection[str]) -> bool:
    """Whether a refractory time is a number with a unit or the name of a parameter."""
    if text in parameters:
        return True
    if not get_identifiers(text) <= UNITS.keys():
        return False
    try:
        parse_quantity(text, "")
    except EquationError:
        return False
    return True


def refractory_statements(
    neuron: Neuron,
    known: Mapping[str, Dimension],
    parameters: Collection[str],
    varying: Collection[str],
    spike: str,
    where: str,
) -> list[tuple[str, str]]:
    """The statement that says whether a neuron may spike; none where steps are counted.

    Parameters
    ----------
    neuron : Neuron
    known : mapping of str to Dimension
        Of everything that an equation may name.
    parameters : collection of str
    varying : collection of str
        What changes from step to step.
    spike : str
        What the neuron's own spike is called.
    where : str
        Named in errors.

    Raises
    ------
    EquationError
        If it is neither a time nor a condition.
    """
    where, text = f"{where}, refractory", neuron.refractory.strip()
    if not text or is_plain_time(text, parameters):
        return []
    if text.isidentifier() and text not in known:
        raise EquationError(
            where,
            text,
            "is not a parameter; name one or give a time, e.g. `5 ms`, or a condition, e.g. "
            "`v > v_T`",
        )
    if is_condition(text, where):
        seen = {**known, ACTIVE: DIMENSIONLESS}
        dimensions_of(f"int({text})", seen, where)
        return [(ACTIVE, f"int({ACTIVE}*(1 - {spike}) > 0.5 or not ({text}))")]
    found = dimensions_of(text, known, where)
    if found is not second.dim:
        raise EquationError(
            where,
            text,
            f"has unit {displayed_unit(found)}: it must be a time, e.g. `5 ms`, or a condition, "
            "e.g. `v > v_T`",
        )
    if not get_identifiers(text) & {*varying}:
        return []
    return [(ACTIVE, f"int(timestep(t - {LAST_SPIKE}, dt) >= timestep({text}, dt))")]


def last_spike_statements(
    statements: Iterable[tuple[str, str]], codes: Iterable[str], spike: str
) -> list[tuple[str, str]]:
    """The statement of the time of the last spike, where statements or other code read it.

    In it ``t`` is that of the step before.
    """
    named = get_identifiers("\n".join([*codes, *(text for _, text in statements)]))
    if LAST_SPIKE not in named:
        return []
    return [(LAST_SPIKE, f"where(detached({spike}), t, {LAST_SPIKE})")]


def active_text(
    statements: Sequence[tuple[str, sympy.Expr]], active: str, signals: Signals, where: str
) -> str:
    """Whether a neuron may spike, as an expression of the values at the step before.

    Parameters
    ----------
    statements : sequence of (str, sympy.Expr)
        Those of the step that come first.
    active : str
        The expression in the values that they give.
    signals : Signals
    where : str
        Named in errors.
    """
    new: dict[sympy.Basic, sympy.Expr] = {}
    for name, expression in statements:
        new[symbol(name)] = expression.xreplace(new)
    composed = parse_expression(active, where).xreplace(new)
    composed = composed.xreplace({symbol(signals.detached): symbol(signals.spike)})
    return expression_text(composed.replace(Detached, lambda value: value))


def is_condition(text: str, where: str) -> bool:
    """Whether a text is a comparison or made of such."""
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise EquationError(
            where, text, "cannot be read: write a time, e.g. `5 ms`, or a condition, e.g. `v > v_T`"
        ) from None
    negated = isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not)
    return negated or isinstance(tree, ast.Compare | ast.BoolOp)
