"""What presynaptic spikes do in Brian2's `Synapses`, as weights times what a weight of 1 does.

A statement such as ``ge_post += w`` or ``v += w*exp(-d/width)*(E - v)`` is the product of two: of
what differs from synapse to synapse, which is the weight here, and of what is the postsynaptic
neuron's. Where nothing differs (``ge += 1.62*mV``) the weight is 1. Of what moves by itself, as in
``ge_post += w*u*x``, there is a third factor, the amount that a spike brings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from brian2 import NeuronGroup, PoissonInput, Subgroup, Synapses
from brian2.equations.equations import DIFFERENTIAL_EQUATION, SUBEXPRESSION, SingleEquation
from brian2.synapses.synapses import SynapticPathway
from brian2.units.fundamentalunits import DIMENSIONLESS, Quantity, get_dimensions
from brian2.utils.stringtools import get_identifiers

from eprop_brian.brian.reading.namespaces import external_values, values_of
from eprop_brian.equations.brian_arguments import number_text
from eprop_brian.symbolic.expressions import (
    dimensions_of,
    evaluate,
    expression_text,
    parse_expression,
    split_statements,
    symbol,
)
from eprop_brian.symbolic.names import substituted
from eprop_brian.symbolic.parameters import UNITS

__all__ = [
    "Effect",
    "check_synapses",
    "effect_of",
    "equations_of",
    "evaluated",
    "pathway_of",
    "place_of",
    "size_of",
    "subexpressions_of",
]

#: How a variable of the synapses is called here, beside the names of the neuron.
_SYNAPTIC = "synaptic_{}"


@dataclass(frozen=True, eq=False)
class Effect:
    """What a spike does through some synapses.

    Attributes
    ----------
    source : Synapses or PoissonInput
    slopes : mapping of str to sympy.Expr
        What a weight of 1 adds, by state. The neuron's own ``w`` is called ``w_post``.
    function : sympy.Expr
        Of ``w``: what `slopes` are multiplied by. Mostly it is ``w`` itself.
    weights : Quantity, shape (n_synapses,)
    constants : mapping of str to Any
        Values of the names in `slopes` that are no variables of the neuron.
    varies : bool
        Whether the weights are values of the synapses; otherwise all are 1.
    spike : sequence of (str, str)
        Statements of synapses that move by themselves: those for their own variables, and by the
        names of states with ``_post`` the amounts that a spike brings.
    summed : bool
        Whether it is what the neuron has in every step, a summed variable, and no change at spikes.
    """

    source: Any
    slopes: Mapping[str, sympy.Expr]
    function: sympy.Expr
    weights: Quantity
    constants: Mapping[str, Any]
    varies: bool
    spike: Sequence[tuple[str, str]] = ()
    summed: bool = False


def place_of(group: Any) -> tuple[str, int]:
    """The name of the whole group that a group is or belongs to, and where it starts there."""
    if isinstance(group, Subgroup):
        return group.source.name, group.start
    return group.name, 0


# --- one object -----------------------------------------------------------------------------------


def effect_of(group: NeuronGroup, source: Any, namespace: Mapping[str, Any]) -> Effect:
    """What a spike does to the neurons of a group through some synapses.

    Parameters
    ----------
    group : NeuronGroup
        Their target, or the group that has it as a part.
    source : Synapses or PoissonInput
    namespace : mapping of str to Any

    Raises
    ------
    ValueError
        If it is not a weight times something of the postsynaptic neuron.
    """
    if isinstance(source, PoissonInput):
        return _effect_of_poisson_input(group, source, namespace)
    if not isinstance(source, Synapses):
        raise ValueError(f"`synapses` are Synapses of Brian2, not {source!r}")
    if place_of(source.target)[0] != group.name:
        raise ValueError(
            f"Synapses '{source.name}' lead to '{place_of(source.target)[0]}', not to "
            f"'{group.name}'"
        )
    check_synapses(source)
    where = f"Synapses '{source.name}', on_pre"
    own = subexpressions_of(source)
    statements = [
        (name, substituted(text, own))
        for name, text in split_statements(pathway_of(source).code, where)
    ]
    for name, updater in source.summed_updaters.items():
        # As if it changed the variable, which is 0 before every step.
        text = substituted(str(updater.expression), own)
        statements.append((name, f"{name} + ({text})"))
    return _effect(group, source, statements, namespace, where)


def equations_of(synapses: Synapses) -> dict[str, SingleEquation]:
    """All equations of synapses, those that are driven by events among them."""
    return {**synapses.equations, **(synapses.event_driven or {})}


def subexpressions_of(synapses: Synapses) -> dict[str, str]:
    """The subexpressions of synapses, written out."""
    equations = [eq for eq in equations_of(synapses).values() if eq.type == SUBEXPRESSION]
    own = {eq.varname: f"({eq.expr})" for eq in equations}
    for _ in own:
        own = {name: substituted(text, own) for name, text in own.items()}
    return own


def _effect_of_poisson_input(
    group: NeuronGroup, source: PoissonInput, namespace: Mapping[str, Any]
) -> Effect:
    where = f"PoissonInput '{source.name}'"
    state, weight = source.target_var, source.weight
    text = f"({weight})" if isinstance(weight, str) else number_text(weight)
    return _effect(group, source, [(state, f"{state} + {text}")], namespace, where)


def _effect(
    group: NeuronGroup,
    source: Any,
    statements: Sequence[tuple[str, str]],
    namespace: Mapping[str, Any],
    where: str,
) -> Effect:
    """The product of weights and of what is the neuron's, from statements of a spike."""
    names = _names_in(group, source, statements, where)
    owner = source if isinstance(source, Synapses) else group
    external = external_values(owner, names.external, namespace)
    quantities = {_SYNAPTIC.format(x): _quantity(source, x) for x in names.synaptic}
    meanings = {x: _SYNAPTIC.format(x) for x in names.synaptic} | names.neuron
    if "w" in external:
        # What a script calls w is the weight, even where it is the same for all synapses.
        meanings["w"] = _SYNAPTIC.format("w")
        quantities[meanings["w"]] = external.pop("w")
    varying = {symbol(name) for name in quantities}
    moving = {symbol(_SYNAPTIC.format(x)) for x in names.moving}
    back = {_SYNAPTIC.format(x): x for x in names.synaptic}
    factor, slopes, spike = sympy.S.One, dict[str, sympy.Expr](), []
    for name, text in statements:
        if name in names.moving:
            spike.append((name, text))
            continue
        state = name.removesuffix("_post")
        added = parse_expression(substituted(text, meanings), where) - symbol(names.neuron[name])
        slope, product = sympy.factor_terms(added).as_independent(*varying, as_Add=False)
        product, amount = product.as_independent(*moving, as_Add=False)
        factor = factor if slopes else product
        slope *= sympy.cancel(product / factor)
        of_neuron = {symbol(x) for x in names.neuron.values()}
        read = product.free_symbols | amount.free_symbols
        if slope.free_symbols & varying or read & of_neuron or state in slopes:
            raise ValueError(
                f"{where}: `{name} = {text}` is not a sum of '{state}' and one product of the "
                "synapse's weight and something of the postsynaptic neuron, with the same weight "
                "in all statements, such as `ge += w*nS`"
            )
        slopes[state] = slope
        spike.append((f"{state}_post", substituted(expression_text(amount), back)))
    quantities |= {**UNITS, **external}
    factor, function = _function_of_weight(factor, quantities, varying, where)
    used = {s.name for x in (function, *slopes.values()) for s in x.free_symbols}
    return Effect(
        source=source,
        slopes=slopes,
        function=function,
        weights=evaluated(factor, quantities, size_of(source), where),
        constants={name: value for name, value in external.items() if name in used},
        varies=bool(factor.free_symbols),
        spike=spike if names.moving else (),
        summed=isinstance(source, Synapses) and bool(source.summed_updaters),
    )


def _function_of_weight(
    factor: sympy.Expr, quantities: Mapping[str, Any], varying: set[sympy.Symbol], where: str
) -> tuple[sympy.Expr, sympy.Expr]:
    """What the weight is, and a function of it, ``w`` unless the user's w enters by another one."""
    weight = symbol(_SYNAPTIC.format("w"))
    if not factor.diff(weight).has(weight):
        return factor, symbol("w")
    function = factor.xreplace({weight: symbol("w")})
    if get_dimensions(quantities[weight.name]) is not DIMENSIONLESS:
        raise ValueError(
            f"{where}: a function of the weight needs one without unit: declare `w : 1`, and "
            "multiply by the unit"
        )
    others = sorted(x.name for x in function.free_symbols & varying)
    if others:
        raise ValueError(
            f"{where}: the effect is a function of the weight w and of "
            f"'{others[0].removeprefix(_SYNAPTIC.format(''))}', which differs from synapse to "
            "synapse: only a function of w and of parameters can be read"
        )
    return weight, function


@dataclass(frozen=True)
class _Names:
    """Whose the names in statements are.

    Attributes
    ----------
    synaptic : set of str
        Variables of the synapses.
    moving : set of str
        Those of them that differential equations move.
    neuron : dict of str to str
        Variables of the postsynaptic neuron, with what its `Neuron` calls them in ``on_pre``.
    external : set of str
    """

    synaptic: set[str]
    moving: set[str]
    neuron: dict[str, str]
    external: set[str]


def _names_in(
    group: NeuronGroup, source: Any, statements: Sequence[tuple[str, str]], where: str
) -> _Names:
    equations = equations_of(source) if isinstance(source, Synapses) else {}
    own = {*equations}
    moving = {x for x, eq in equations.items() if eq.type == DIFFERENTIAL_EQUATION}
    names = _Names(set(), moving, {}, set())
    for name, text in statements:
        line = f"{name} = {text}"
        if name in moving:
            continue
        if name in own:
            raise ValueError(
                f"{where}: `{line}` changes '{name}', which has no differential equation: give it "
                f"one, such as d{name}/dt = -{name}/tau : 1 (event-driven), or leave it constant"
            )
        if name.removesuffix("_post") not in group.variables:
            whose = f"a variable of '{group.name}', which is postsynaptic"
            raise ValueError(f"{where}: `{line}` changes '{name}', which is not {whose}")
        for used in {name, *get_identifiers(text)}:
            if used in own:
                names.synaptic.add(used)
            elif used.removesuffix("_post") in group.equations.names:
                base = used.removesuffix("_post")
                names.neuron[used] = "w_post" if base == "w" else base
            elif isinstance(source, Synapses) and used in source.variables:
                raise ValueError(
                    f"{where}: `{line}` reads '{used}', which is neither a variable of the synapse "
                    "nor one in the equations of the postsynaptic neuron"
                )
            else:
                names.external.add(used)
    return names


def _quantity(source: Synapses, name: str) -> Any:
    """The values of a variable of synapses, with their unit."""
    return Quantity(values_of(source, name), dim=source.variables[name].dim)


def size_of(source: Any) -> int:
    """Number of synapses, inputs or neurons."""
    return len(source._group if isinstance(source, PoissonInput) else source)


def evaluated(
    factor: sympy.Expr, quantities: Mapping[str, Any], size: int | tuple[()], where: str
) -> Quantity:
    """The value of a factor for all synapses, with its unit."""
    used = [s.name for s in factor.free_symbols]
    values = {name: np.asarray(quantities[name], dtype=float) for name in used}
    dimensions = {name: get_dimensions(quantities[name]) for name in used}
    numbers = np.broadcast_to(evaluate(factor, values, where), size)
    return Quantity(numbers, dim=dimensions_of(expression_text(factor), dimensions, where))


def pathway_of(synapses: Synapses) -> SynapticPathway:
    """What happens at a presynaptic spike."""
    return next(pathway for pathway in synapses._pathways if pathway.prepost == "pre")


def check_synapses(synapses: Synapses) -> None:
    """Raise ValueError for synapses that do more than to hand on something at spikes."""
    where = f"Synapses '{synapses.name}'"
    summed = [*synapses.summed_updaters]
    if len(summed) > 1 or any(name.endswith("_pre") for name in summed):
        raise ValueError(
            f"{where} sum '{summed[0]}' in every step; they may sum one variable, of the "
            "postsynaptic neurons: make Synapses of their own for others"
        )
    pathways = {x.objname: x for x in synapses._pathways}
    after = [name for name, x in pathways.items() if x.prepost == "post"]
    if after:
        raise ValueError(
            f"{where} react to postsynaptic spikes ('{after[0]}'): weights learn by e-prop here; "
            "leave on_post away"
        )
    if len(pathways) != 1:
        raise ValueError(
            f"{where} have {len(pathways)} pathways of presynaptic spikes; one is read: neurons "
            "hear spikes alone, and several effects are Synapses of their own"
        )
    pathway = pathway_of(synapses)
    if pathway.event != "spike" or pathway.when != "synapses":
        raise ValueError(
            f"{where} act at the event '{pathway.event}' in the slot '{pathway.when}'; they are "
            "read at a 'spike' in 'synapses' alone"
        )
    known = [pathway, synapses.state_updater, *synapses.summed_updaters.values()]
    for runner in synapses.contained_objects:
        if runner not in known:
            raise ValueError(
                f"{where} have '{runner.name}', which has no counterpart: their variables must "
                "keep their values"
            )
    if not len(values_of(synapses, "_synaptic_pre")):
        raise ValueError(f"{where} connect nothing: call connect() before they are read")
