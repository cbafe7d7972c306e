"""Learning signals that populations emit: their blocks, and the nodes of a step."""

from __future__ import annotations

from eprop_brian.equations.learning_signals import EMISSION
from eprop_brian.network.built import emission_names
from eprop_brian.network.graph import SignalConnection
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.step.parts import EmissionPart, block_name
from eprop_brian.network.step.running import Running
from eprop_brian.network.step.writing import Writer
from eprop_brian.steps.blocks import View, repeat
from eprop_brian.steps.nodes import Node, Sync
from eprop_brian.steps.spiking import SPIKES_AT_ONCE, Deliver
from eprop_brian.symbolic.names import substituted

__all__ = ["emit", "write_emission", "write_emitted"]


def write_emitted(writer: Writer, population: str) -> None:
    """Write the filter of what is emitted to a population."""
    own = writer.groups.emitted[population]
    names = {**emission_names(own), "y": "L", "I": "emitted"}
    statements = [substituted(own.readout.update, names), "emitted = 0"]
    writer.block(population, "emit", statements, writer.own(population), writer.control)


def write_emission(writer: Writer, e: BuiltProjection[SignalConnection]) -> EmissionPart:
    """Write what a spike of a population that emits brings to another."""
    own, target = View(e.group, "_synapse"), writer.own(e.target, "_post")
    writer.block(e.name, "deliver", [EMISSION], target, own)
    lines, several = repeat([EMISSION], SPIKES_AT_ONCE, (e.group, "_synapse", ("B",)))
    writer.block(e.name, "deliver_several", lines, *several, target)
    return EmissionPart(e.name, e.source, e.target, writer.synapses(e))


def emit(running: Running) -> list[Node]:
    """The learning signals of a step, from the spikes of the same step."""
    parts = running.parts
    if not parts.emissions:
        return []
    nodes: list[Node] = [
        Deliver(
            block_name(e.name, "deliver"),
            block_name(e.name, "deliver_several"),
            e.synapses,
            parts.sources[e.source],
            0,
            False,
            0,
        )
        for e in parts.emissions
    ]
    nodes.append(Sync())
    targets = {e.target for e in parts.emissions}
    for p in (p for p in parts.populations if p.name in targets):
        nodes += running.neurons(p, "emit")
        nodes += running.kept_signal(p)
    return nodes
