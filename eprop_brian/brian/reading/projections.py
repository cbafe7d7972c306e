"""The pairs that Brian2's `Synapses` connect, with their weights and delays, as projections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from brian2 import NeuronGroup, Synapses
from brian2.units import Quantity, second
from scipy.sparse import csc_array

from eprop_brian.brian.reading.dynamics import synapse_of
from eprop_brian.brian.reading.receptors import Receptor
from eprop_brian.brian.reading.wires import Wires
from eprop_brian.network.parts import Projection
from eprop_brian.symbolic.expressions import split_statements

__all__ = ["acting_autapses", "projection_of"]


def projection_of(
    source: Any, wires: Wires, receptor: Receptor, dt: Quantity, namespace: Mapping[str, Any]
) -> Projection:
    """Synapses as a projection, without those that connect a neuron to itself.

    A spike without delay acts in Brian2 after the step in which it comes, which is here the next
    step of recurrent neurons. The spikes of inputs are shifted instead (`inputs_from_brian2`).
    """
    kept = ~wires.autapses
    pre, post, order = wires.pre[kept], wires.post[kept], wires.order[kept]
    firsts = np.searchsorted(pre, np.arange(wires.shape[1] + 1))

    def matrix(values: np.ndarray) -> csc_array:
        return csc_array((values[order], post, firsts), shape=wires.shape)

    weights = matrix(receptor.weights[source.name])
    n_possible = wires.shape[0] * wires.shape[1]
    full = len(pre) == n_possible - wires.shape[0] * (wires.source == wires.target)
    least = int(wires.recurrent)
    steps = wires.steps + least
    delay: Any = None
    if len(steps) > 1 and np.any(steps != steps[0]):
        delays = matrix(steps)
        # The diagonal is none of the synapses.
        delay = np.maximum(delays.toarray(), least) * dt if full else (delays, dt)
    elif steps[0] != least:
        delay = int(steps[0]) * dt
    return Projection(
        wires.source,
        wires.target,
        source.name if isinstance(source, Synapses) else f"w_{source.name}",
        receptor=receptor.name,
        weights=weights.toarray() if full else weights,
        delay=delay,
        synapse=synapse_of(receptor.effects[source.name], receptor, wires, namespace),
    )


def acting_autapses(
    source: Any, wires: Wires, receptor: Receptor, group: NeuronGroup, dt: Quantity
) -> np.ndarray | None:
    """The weights by which neurons act on themselves, one for each; None if none does.

    Brian2's synapses leave a state alone that is clamped while the neuron is refractory, which it
    is right after its spike.

    Raises
    ------
    ValueError
        If they act later than right after the spike.
    """
    own = wires.autapses
    if not np.any(own):
        return None
    if receptor.effects[source.name].spike:
        raise ValueError(
            f"Synapses '{source.name}' connect neurons to themselves and move by themselves, which "
            "has no counterpart: connect(condition='i != j')"
        )
    refractory = group._refractory
    clamped = {
        eq.varname
        for eq in group.user_equations.values()
        if "unless refractory" in eq.flags and refractory is not False
    }
    late = np.broadcast_to(wires.steps, len(wires.order))[wires.order[own]]
    changed = {name for name, _ in split_statements(receptor.on_pre, "on_pre")}
    if changed <= clamped:
        until = float(refractory) / float(dt) if isinstance(refractory, Quantity) else 0
        if np.all(late == 0) or np.max(late) < int(until + 1e-6):
            return None
    if changed & clamped or np.any(late):
        raise ValueError(
            f"Synapses '{source.name}' connect {np.count_nonzero(own)} neurons to themselves, "
            f"neuron {wires.pre[own][0]} first: what such a synapse does after "
            f"{int(np.max(late)) * float(dt) * second} has no counterpart; leave them away, "
            "connect(condition='i != j')"
        )
    weights = np.zeros(len(group))
    weights[wires.pre[own]] = receptor.weights[source.name][wires.order[own]]
    return weights
