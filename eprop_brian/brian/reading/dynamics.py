"""Brian2's `Synapses` that move by themselves, such as short-term plasticity, as a `Synapse`.

A `Synapse` has the same variables for all synapses of a presynaptic neuron, and Brian2 has some for
each: they must be equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from brian2 import Synapses
from brian2.equations.equations import DIFFERENTIAL_EQUATION, PARAMETER
from brian2.units.fundamentalunits import DIMENSIONLESS, Quantity
from brian2.utils.stringtools import get_identifiers

from eprop_brian.brian.reading.effects import Effect, equations_of, subexpressions_of
from eprop_brian.brian.reading.namespaces import external_values, method_of, values_of
from eprop_brian.brian.reading.receptors import Receptor
from eprop_brian.brian.reading.wires import Wires
from eprop_brian.equations.brian_arguments import number_text
from eprop_brian.equations.synapse import Synapse
from eprop_brian.symbolic.names import free_name, substituted
from eprop_brian.symbolic.parameters import unit_name

__all__ = ["synapse_of"]


def synapse_of(
    effect: Effect, receptor: Receptor, wires: Wires, namespace: Mapping[str, Any]
) -> Synapse | None:
    """The dynamics of some synapses, None if they have a weight and nothing else.

    Parameters
    ----------
    effect : Effect
    receptor : Receptor
        The one that they drive.
    wires : Wires
    namespace : mapping of str to Any

    Raises
    ------
    ValueError
        If synapses of a presynaptic neuron differ in more than their weights, or were run.
    """
    if not effect.spike:
        return None
    source: Synapses = effect.source
    if source.event_driven is not None and np.any(values_of(source, "lastupdate")):
        raise ValueError(
            f"Synapses '{source.name}' have event-driven variables, whose values are those at the "
            "last spike: read them before they are run, or after restore()"
        )
    equations, subexpressions = equations_of(source), subexpressions_of(source)
    moving = {x: eq for x, eq in equations.items() if eq.type == DIFFERENTIAL_EQUATION}
    slopes = {x: substituted(str(eq.expr), subexpressions) for x, eq in moving.items()}
    event = source.event_driven or {}
    # What a `Synapse` calls w is the weight.
    renamed = {"w": free_name("w_own", source.variables)} if "w" in moving else {}
    model = [
        f"d{renamed.get(x, x)}/dt = {substituted(slopes[x], renamed)} : {unit_name(eq.dim)} "
        f"({'event-driven' if x in event else 'clock-driven'})"
        for x, eq in moving.items()
    ]
    lines = []
    for name, text in effect.spike:
        text, state = substituted(text, renamed), name.removesuffix("_post")
        if name in moving:
            lines.append(f"{renamed.get(name, name)} = {text}")
        elif effect.summed:
            unit = unit_name(source.target.variables[state].dim)
            model.append(f"{name} = ({receptor.added[state]})*({text}) : {unit} (summed)")
        else:
            lines.append(f"{name} = {name} + ({receptor.added[state]})*({text})")
    texts = [*slopes.values(), *(text for _, text in effect.spike)]
    named = set().union(*map(get_identifiers, texts))
    external = external_values(source, {x for x in named if x not in source.variables}, namespace)
    parameters: dict[str, Any] = {**external}
    for name in sorted(named & {*equations}):
        if equations[name].type == PARAMETER:
            parameters[name] = _of_source(source, name, wires)
    initial = {}
    for name in moving:
        value = _of_source(source, name, wires)
        if np.ndim(value):
            start = free_name(f"{name}_start", [*source.variables, *parameters])
            parameters[start], initial[renamed.get(name, name)] = value, start
        elif value != 0:
            initial[renamed.get(name, name)] = number_text(value)
    clocked = source.state_updater
    return Synapse(
        model="\n".join(model),
        on_pre="\n".join(lines),
        method="exact" if clocked is None else method_of(source, clocked.method_choice, external),
        parameters=parameters,
        initial=initial,
        name=source.name,
    )


def _of_source(synapses: Synapses, name: str, wires: Wires) -> Any:
    """The values of a variable: one, or one for each presynaptic neuron."""
    variable = synapses.variables[name]
    values = np.ravel(values_of(synapses, name)).astype(float)
    if np.all(values == values[0]):
        values = values[0]
    else:
        each, values = values[wires.order], np.full(wires.shape[1], values[0])
        values[wires.pre] = each
        if np.any(values[wires.pre] != each):
            raise ValueError(
                f"Synapses '{synapses.name}': '{name}' differs between synapses of one presynaptic "
                "neuron, all of which have the same variables here besides their weights"
            )
    if variable.dim is DIMENSIONLESS:
        return values if np.ndim(values) else float(values)
    return Quantity(values, dim=variable.dim)
