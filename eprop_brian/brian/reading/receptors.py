"""The receptors of a neuron, from what presynaptic spikes do to it.

Synapses whose effects differ by a number share a receptor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from brian2 import NeuronGroup, PoissonInput, Synapses
from brian2.units.fundamentalunits import (
    DIMENSIONLESS,
    Dimension,
    Quantity,
    Unit,
    get_dimensions,
)

from eprop_brian.brian.reading.effects import Effect, effect_of, evaluated, pathway_of
from eprop_brian.equations.brian_arguments import unit_text
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import expression_text, symbol
from eprop_brian.symbolic.parameters import UNITS

__all__ = ["Receptor", "receptors_of"]


@dataclass(frozen=True, eq=False)
class Receptor:
    """An input of a neuron that some synapses share.

    Attributes
    ----------
    name : str
        ``""`` for the only one.
    on_pre : str
        What a spike of weight ``w`` does.
    added : mapping of str to str
        What a spike adds, by state.
    effects : mapping of str to Effect
        By the name of the synapses.
    weights : mapping of str to array
        Weights without unit, likewise.
    constants : mapping of str to Any
        Values of the names in `on_pre`.
    sequential : bool
        Whether what a spike does depends on what others of the same step have changed.
    """

    name: str
    on_pre: str
    added: Mapping[str, str]
    effects: Mapping[str, Effect]
    weights: Mapping[str, np.ndarray]
    constants: Mapping[str, Any]
    sequential: bool


def receptors_of(
    group: NeuronGroup, synapses: Any, namespace: Mapping[str, Any]
) -> dict[str, Receptor]:
    """The receptors of a group's neurons, by name.

    Parameters
    ----------
    group : NeuronGroup
    synapses : Synapses or PoissonInput, iterable of them, or mapping of names to either
        A mapping names the receptors; otherwise they have the names of the first of their synapses.
    namespace : mapping of str to Any

    Raises
    ------
    ValueError
        If synapses do something that a `Neuron` cannot say.
    """
    if isinstance(synapses, Mapping):
        effects = {
            name: [effect_of(group, x, namespace) for x in _listed(some)]
            for name, some in synapses.items()
        }
        for name, some in effects.items():
            kinds = _alike(some)
            if len(kinds) > 1:
                first, second = kinds[0][0].source.name, kinds[1][0].source.name
                raise ValueError(
                    f"'{first}' and '{second}' cannot share the receptor '{name}': what their "
                    "spikes do differs by more than a number"
                )
        return {name: _receptor(name, some) for name, some in effects.items()}
    kinds = _alike(sorted((effect_of(group, x, namespace) for x in _listed(synapses)), key=_order))
    if not kinds:
        raise ValueError(f"no synapses lead to '{group.name}': give `on_pre` instead")
    if len(kinds) == 1:
        return {"": _receptor("", kinds[0])}
    return {some[0].source.name: _receptor(some[0].source.name, some) for some in kinds}


def _listed(synapses: Any) -> list[Any]:
    return [synapses] if isinstance(synapses, Synapses | PoissonInput) else [*synapses]


def _order(effect: Effect) -> tuple[int, str]:
    """Brian2's order of what happens in a slot."""
    source = effect.source
    runner = pathway_of(source) if isinstance(source, Synapses) else source
    return runner.order, runner.name


def _alike(effects: Iterable[Effect]) -> list[list[Effect]]:
    """Effects by kinds: those of a kind differ by a number."""
    kinds: list[list[Effect]] = []
    for effect in effects:
        for kind in kinds:
            if _ratio(effect, kind[0]) is not None:
                kind.append(effect)
                break
        else:
            kinds.append([effect])
    return kinds


def _ratio(effect: Effect, other: Effect) -> Quantity | None:
    """What an effect of weight 1 is of another one, None unless that is a number."""
    kinds = [({*x.slopes}, x.function, x.summed) for x in (effect, other)]
    if kinds[0] != kinds[1]:
        return None
    ratios = [sympy.cancel(slope / other.slopes[x]) for x, slope in effect.slopes.items()]
    values = {**UNITS, **other.constants, **effect.constants}
    same = all(
        name not in effect.constants or values[name] == value
        for name, value in other.constants.items()
    )
    known = {s.name for s in ratios[0].free_symbols} <= {*values}
    if not same or not known or any(sympy.cancel(x - ratios[0]) != 0 for x in ratios):
        return None
    try:
        ratio = evaluated(ratios[0], values, (), "on_pre")
    except EquationError:  # one of them is 0
        return None
    linear = effect.function.is_Symbol or ratio == 1
    return ratio if linear and ratio != 0 else None


def _receptor(name: str, effects: Sequence[Effect]) -> Receptor:
    """A receptor that effects of one kind share."""
    first = next((effect for effect in effects if effect.varies), effects[0])
    weights = {x.source.name: x.weights * _ratio(x, first) for x in effects}
    unit = _unit_of(np.concatenate([*weights.values()]), get_dimensions(first.weights))
    weight = expression_text(first.function)
    lines, added = [], {}
    for state, slope in first.slopes.items():
        sign, slope = ("-", -slope) if slope.could_extract_minus_sign() else ("+", slope)
        factors = [weight, *([unit_text(unit)] if unit is not None else [])]
        if slope != 1:
            text = expression_text(slope)
            factors.append(f"({text})" if slope.is_Add else text)
        target = "w_post" if state == "w" else state
        product = "*".join(factors)
        added[state] = product if sign == "+" else f"-{product}"
        change = f"= {added[state]}" if first.summed else f"{sign}= {product}"
        lines.append(f"{target} {change}")
    scale = 1.0 if unit is None else float(unit)
    entered = {symbol("w_post" if state == "w" else state) for state in first.slopes}
    return Receptor(
        name=name,
        on_pre="\n".join(lines),
        added=added,
        effects={effect.source.name: effect for effect in effects},
        weights={key: np.asarray(value) / scale for key, value in weights.items()},
        constants={k: v for effect in effects for k, v in effect.constants.items()},
        sequential=any(slope.free_symbols & entered for slope in first.slopes.values()),
    )


def _unit_of(weights: np.ndarray, dim: Dimension) -> Unit | None:
    """The unit in which weights are numbers of a handy size; None if they have none."""
    if dim is DIMENSIONLESS:
        return None
    size = float(np.mean(np.abs(weights))) if len(weights) else 1.0
    return Quantity(size or 1.0, dim=dim).get_best_unit()
