"""Synapses with dynamics: what the synapses of a projection hand on to its targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from eprop_brian.equations.synapse import Synapse
from eprop_brian.network.graph import Group, PopulationGroup, ReadoutGroup
from eprop_brian.network.parts import Projection
from eprop_brian.symbolic.errors import named
from eprop_brian.symbolic.synapse_map import synapse_map
from eprop_brian.symbolic.transmission import Arrival, Transmission, transmission

if TYPE_CHECKING:
    from eprop_brian.network.resolved import Resolved

__all__ = ["check_transmissions", "check_transmitted", "transmission_of"]


def transmission_of(
    where: str, part: Projection, sources: Sequence[Group], targets: Sequence[Group], receptor: str
) -> Transmission | None:
    """What the synapses of a projection hand on, None if that is a spike's weight.

    Raises
    ------
    ValueError, EquationError
        If its synapse is none, or does not fit its sources and targets.
    """
    if part.synapse is None:
        return None
    if not isinstance(part.synapse, Synapse):
        raise ValueError(f"{where}: synapse is a Synapse, not {part.synapse!r}")
    if part.reads:
        raise ValueError(
            f"{where}: its synapse hands on what spikes bring, and reads = '{part.reads}' takes "
            "their place: leave one of them away"
        )
    to_readout = isinstance(targets[0], ReadoutGroup)
    if to_readout and any(isinstance(group, PopulationGroup) for group in sources):
        raise ValueError(
            f"{where} leads to a readout, whose learning signal answers spikes of size 1: what a "
            "synapse makes of them would have to be in the signal, too. Let its synapse lead to "
            "neurons, or leave it away"
        )
    for group in targets:
        if isinstance(group, PopulationGroup) and group.neuron.on_pre_order == "sequential":
            raise ValueError(
                f"{where}: spikes reach '{group.name}' one after the other "
                "(on_pre_order = 'sequential'), of which a sum of functions of the weights takes "
                "account; with a synapse these would be functions of the amounts too: leave its "
                "synapse or the order away"
            )
    with named(where):
        step = synapse_map(part.synapse)
        for name, value in step.parameters.items():
            sizes = {group.size for group in sources} if len(sources) == 1 else set()
            if np.ndim(value) and {np.size(value)} != sizes:
                raise ValueError(
                    f"synapse '{part.synapse.name}': {name} has {np.size(value)} values; it has "
                    "one, or one for each neuron of a single source"
                )
        results = [transmission(step, _arrival(group, receptor)) for group in targets]
        for result in results[1:]:
            if not result.hands_on_as(results[0]):
                raise ValueError(
                    f"its synapse brings other amounts to '{targets[0].name}' than to the others: "
                    "give each a projection of its own"
                )
        if to_readout and results[0].weight is not None:
            raise ValueError(
                f"synapse '{part.synapse.name}' hands a function of the weight on to a readout, "
                "which sums weights: let it be proportional to w"
            )
    return results[0]


def check_transmissions(network: Resolved) -> None:
    """Refuse synapses whose variables have no values in steps of the network's length.

    Raises
    ------
    EquationError
    """
    for c in network.connections:
        if c.transmission is not None:
            with named(f"projection '{c.name}'"):
                c.transmission.map.check_step(float(network.dt))


def check_transmitted(network: Resolved, analog: bool) -> None:
    """Refuse analog inputs to synapses that are driven by spikes.

    Raises
    ------
    ValueError
    """
    for c in network.connections if analog else ():
        if c.transmission is not None and c.sources.keys() & network.input_slices.keys():
            name = c.transmission.map.synapse.name
            raise ValueError(
                f"projection '{c.name}': its synapse '{name}' is driven by spikes, and the inputs "
                "are analog values: leave it away, or give it spikes"
            )


def _arrival(group: Group, receptor: str) -> Arrival:
    """Where the spikes of a projection arrive."""
    if isinstance(group, PopulationGroup):
        return Arrival.at_neuron(group.name, group.system.step, receptor)
    return Arrival.at_sum(group.name, "I")
