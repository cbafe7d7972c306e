"""Weights that synapses share: spread to the synapses, and gradients gathered from them."""

from __future__ import annotations

from eprop_brian.network.graph import Connection
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.step.parts import ProjectionPart, SharedPart, block_name
from eprop_brian.network.step.running import Running
from eprop_brian.network.step.writing import Writer
from eprop_brian.steps.gradients import AllSynapses, Combine
from eprop_brian.steps.nodes import Node, Sync
from eprop_brian.steps.spiking import Synapses

__all__ = ["gather_gradients", "spread_weights", "trained", "write_shared"]


def write_shared(writer: Writer, p: BuiltProjection[Connection]) -> SharedPart | None:
    """What is shared by the synapses of a projection that learns."""
    shared = p.connection.shared
    if shared is None or p.shared_group is None:
        return None

    def combine(way: str, array: str, n: int, source: str) -> Combine:
        first = writer.array(f"{p.name}_{way}_rows", "first", "_neuron")
        index = writer.array(f"{p.name}_{way}_index", "index", "_synapse")
        factor = writer.array(f"{p.name}_{way}_factor", "factor", "_synapse")
        return Combine(array, n, source, first, index, factor)

    own, learner = (
        {x: writer.code.array(group, x, "_synapse") for x in ("w", "gradient")}
        for group in (p.group, p.shared_group)
    )
    gathered = writer.code.array(p.shared_group, "gathered", "_synapse")
    n = shared.n_weights
    return SharedPart(
        # As the synapses of a single presynaptic neuron.
        Synapses(1, n, n, n),
        combine("spread", own["w"], p.n_synapses, learner["w"]),
        combine("gather", gathered, n, own["gradient"]),
    )


def trained(p: ProjectionPart) -> Synapses:
    """The weights that an update changes: of all synapses, or those that they share."""
    return p.synapses if p.shared is None else p.shared.weights


def spread_weights(running: Running) -> list[Node]:
    """Give synapses the weights that they share."""
    nodes: list[Node] = [p.shared.spread for p in running.parts.projections if p.shared]
    return [*nodes, Sync()] if nodes else []


def gather_gradients(running: Running) -> list[Node]:
    """Add up the gradients of the synapses that share a weight."""
    sharing = [p for p in running.parts.projections if p.shared]
    nodes: list[Node] = [
        AllSynapses(block_name(p.name, "own_gradient"), p.synapses) for p in sharing
    ]
    gathered: list[Node] = [p.shared.gather for p in sharing if p.shared]
    return [*nodes, Sync(), *gathered, Sync()] if nodes else []
