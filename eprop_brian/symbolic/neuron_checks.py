"""Checks of a neuron: its fields, surrogate, initial values and refractory time."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import sympy
from brian2.units import Quantity, second
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension
from brian2.utils.stringtools import get_identifiers

from eprop_brian.base.checks import is_identifier
from eprop_brian.equations.neuron import Neuron
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import (
    dimensions_of,
    parse_expression,
    symbol,
)
from eprop_brian.symbolic.names import input_name
from eprop_brian.symbolic.parameters import UNITS, displayed_unit, resolve_parameters
from eprop_brian.symbolic.refractory import is_condition, is_plain_time
from eprop_brian.symbolic.spike_condition import SpikeCondition, chance_of

__all__ = [
    "check_refractory",
    "check_refractory_surrogate",
    "check_surrogate",
    "check_texts",
    "check_times",
    "refuse_shadowed_units",
    "units_in",
    "written_style",
]

#: Fields of a neuron that are equations, conditions or names.
_TEXTS = (
    *("update", "model", "method", "reset", "threshold", "surrogate"),
    *("refractory", "refractory_surrogate"),
)
_MAPPINGS = ("parameters", "constants", "timed_arrays", "initial")
#: Functions whose derivative is zero or missing: harmless to evaluate, useless as a surrogate.
_STEP_FUNCTIONS = frozenset(
    {"int", "floor", "ceil", "sign", "timestep", "rand", "randn", "poisson"}
)


def check_texts(neuron: Neuron, where: str) -> None:
    """Check that names are identifiers, that equations are strings, and values mappings."""
    if not isinstance(neuron.name, str) or not is_identifier(neuron.name):
        raise EquationError(
            where, f"name = {neuron.name}", "must be letters, digits and _, starting with a letter"
        )
    for part in _TEXTS:
        value = getattr(neuron, part)
        if part == "refractory" and isinstance(value, Quantity | np.ndarray):
            raise EquationError(
                where,
                f"refractory = {value!r}",
                "has a value per neuron: make it a parameter, and name that here",
            )
        if not isinstance(value, str):
            raise EquationError(
                where, f"{part} = {getattr(neuron, part)!r}", "must be a string, empty for none"
            )
    if not isinstance(neuron.on_pre, str | Mapping):
        raise EquationError(
            where, f"on_pre = {neuron.on_pre!r}", "must be a string, or a mapping of receptors"
        )
    for part in _MAPPINGS:
        value = getattr(neuron, part)
        if not isinstance(value, Mapping):
            raise EquationError(where, f"{part} = {value!r}", "must be a mapping from names")
    if isinstance(neuron.detach, str):
        line = f"detach = {neuron.detach!r}"
        raise EquationError(where, line, f"must be a list of states, e.g. [{neuron.detach!r}]")
    _check_receptors(neuron, where)
    for name, expression in neuron.constants.items():
        if not isinstance(expression, str):
            line = f"{name} = {expression!r}"
            raise EquationError(f"{where}, constants", line, "must be a string, an expression")


def check_times(
    values: Mapping[str, np.ndarray | float], dimensions: Mapping[str, Dimension], where: str
) -> None:
    """Check that parameters that are time constants are positive."""
    for name, value in values.items():
        is_time = name.startswith("tau") and dimensions[name] is second.dim
        if is_time and np.any(np.asarray(value) <= 0):
            raise EquationError(
                f"{where}, parameters", f"{name} = {value} s", "a time constant must be positive"
            )


def _check_receptors(neuron: Neuron, where: str) -> None:
    """Check that receptors have names, each its own, and statements that are strings."""
    if isinstance(neuron.receptors, str):
        raise EquationError(
            where,
            f"receptors = {neuron.receptors!r}",
            f"must be a list of names, e.g. [{neuron.receptors!r}]",
        )
    named = [*neuron.receptors]
    if not isinstance(neuron.on_pre, str):
        if not neuron.on_pre:
            raise EquationError(where, "on_pre = {}", "names no receptor")
        named += neuron.on_pre
    for name in named:
        if not isinstance(name, str) or not is_identifier(name):
            raise EquationError(
                f"{where}, {'receptors' if neuron.receptors else 'on_pre'}",
                str(name) or "(empty)",
                "a receptor's name must be letters, digits and _, starting with a letter",
            )
        if named.count(name) > 1:
            raise EquationError(f"{where}, receptors", name, "is named twice")
    for name, code in neuron.on_pre_by_receptor.items():
        if not isinstance(code, str):
            raise EquationError(f"{where}, on_pre", f"{name} = {code!r}", "must be a string")


def written_style(neuron: Neuron, where: str) -> str:
    """The style in which a neuron is written: ``"update"`` or ``"model"``."""
    styles = [part for part in ("update", "model") if getattr(neuron, part).strip()]
    if len(styles) != 1:
        raise EquationError(
            where,
            styles[-1] if styles else "update / model",
            f"has {'both' if styles else 'neither'}: give either `update` (one statement per "
            "state) or `model` (differential equations)",
        )
    return styles[0]


def units_in(neuron: Neuron) -> dict[str, Quantity]:
    """Units that the equations name (``10*ms``), as parameters, without the neuron's own names."""
    refractory = neuron.refractory.strip()
    text = "\n".join(
        (neuron.update, neuron.model, neuron.reset, neuron.threshold)
        # Units of a plain time are read with it: the program counts it in steps.
        + (() if is_plain_time(refractory, neuron.parameters) else (refractory,))
        + (
            *neuron.on_pre_by_receptor.values(),
            neuron.surrogate,
            neuron.refractory_surrogate,
            *neuron.constants.values(),
            *(value for value in neuron.initial.values() if isinstance(value, str)),
        )
    )
    named = get_identifiers(text) - {*neuron.constants, *_updated(neuron)}
    return {name: UNITS[name] for name in sorted(named) if name in UNITS}


def _updated(neuron: Neuron) -> list[str]:
    """States of the update style."""
    return re.findall(r"^\s*(\w+)\s*[-+*/]?=", neuron.update.replace(";", "\n"), re.MULTILINE)


def refuse_shadowed_units(neuron: Neuron, where: str) -> None:
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


def check_surrogate(
    neuron: Neuron,
    states: Sequence[str],
    known: Mapping[str, Dimension],
    condition: SpikeCondition,
    where: str,
    uniform: Collection[str],
) -> None:
    """Check that the surrogate is a slope of the spike condition.

    That of a spike which has a probability, by one of the `uniform` random numbers, may be the same
    wherever a neuron is.
    """
    where, text = f"{where}, surrogate", neuron.surrogate.strip()
    _check_slope(text, known, neuron, condition, where)
    compared = condition.margin.free_symbols & {symbol(state) for state in states}
    follows = parse_expression(text, where).free_symbols & compared
    if not follows and chance_of(condition.margin, uniform) is None:
        raise EquationError(
            where,
            text,
            "does not depend on the states of the threshold, so it cannot be their slope",
        )


def _check_slope(
    text: str,
    known: Mapping[str, Dimension],
    neuron: Neuron,
    condition: SpikeCondition,
    where: str,
) -> None:
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
    signals = [*map(input_name, neuron.receptor_names), "z"]
    if used & {*signals} - {*known}:
        raise EquationError(
            where,
            text,
            f"must be an expression of the states, without {' and '.join(signals)}",
        )
    found = dimensions_of(text, known, where)
    wanted = DIMENSIONLESS / dimensions_of(condition.left, known, where)
    # Zero fits every unit.
    if found is not wanted and parse_expression(text, where) != 0:
        raise EquationError(
            where,
            text,
            f"has unit {displayed_unit(found)}; dz/dv needs {displayed_unit(wanted)} (one over the "
            "threshold's)",
        )


def check_refractory_surrogate(
    neuron: Neuron, known: Mapping[str, Dimension], condition: SpikeCondition, where: str
) -> None:
    """Check the surrogate of refractory steps."""
    where = f"{where}, refractory_surrogate"
    text = neuron.refractory_surrogate.strip()
    if not text:
        raise EquationError(where, "(empty)", "dz/dv while refractory is needed, e.g. `0`")
    _check_slope(text, known, neuron, condition, where)
    if parse_expression(text, where) != 0 and not neuron.refractory.strip():
        raise EquationError(where, text, "is never used: the neuron has no `refractory` time")


def check_refractory(
    neuron: Neuron,
    dimensions: Mapping[str, Dimension],
    value: Callable[[sympy.Expr], np.ndarray | float],
    where: str,
) -> None:
    """Check a refractory time that is counted in steps; `value` gives that of an expression."""
    where, text = f"{where}, refractory", neuron.refractory.strip()
    if not text:
        return
    if not is_plain_time(text, ()):
        if text.isidentifier() and text not in dimensions:
            raise EquationError(
                where, text, "is not a parameter; name one or give a time, e.g. `5 ms`"
            )
        if is_condition(text, where):
            raise EquationError(
                where,
                text,
                "is a condition, which belongs to `model`; in `update` give a time, or write what "
                "it does into the statements",
            )
        dimension = dimensions_of(text, {**dimensions, "dt": second.dim}, where)
        time = value(parse_expression(text, where))
    else:
        values, dims = resolve_parameters({"refractory": text}, where)
        time, dimension = values["refractory"], dims["refractory"]
    if dimension is not second.dim:
        raise EquationError(where, text, "must be a time, e.g. `5 ms`")
    if np.any(np.asarray(time) < 0):
        raise EquationError(where, text, "must not be negative")
