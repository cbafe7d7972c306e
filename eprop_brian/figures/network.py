"""Diagram of a network: its populations, projections, readouts and learning signals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import cycle

from brian2.units import ms
from matplotlib.figure import Figure

from eprop_brian.balanced.spec import BalancedNetwork
from eprop_brian.figures.diagram import (
    EXCITATORY,
    INHIBITORY,
    SIGNAL,
    SYNAPSES,
    Arrow,
    Box,
    Frame,
    draw_diagram,
)
from eprop_brian.figures.style import COLOURS, styled
from eprop_brian.network.delays import longest
from eprop_brian.network.graph import Connection, InputGroup, ReadoutGroup, SignalConnection
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.spec import Network

__all__ = ["network_diagram"]

_INPUT_COLOUR, _READOUT_COLOUR = "#777777", "#333333"


@styled()
def network_diagram(network: Network | BalancedNetwork, title: str = "") -> Figure:
    """Draw a network as its description has it.

    From left to right: inputs, populations by how many projections a spike passes on its way, and
    the readouts of each. Solid arrows are projections, with the names of their weights; orange is
    excitatory, blue with a bar at its end inhibitory. Dashed arrows are learning signals, with
    the kind of feedback. Groups that have all of their connections in common share a frame.
    Of a balanced network: signal, neurons, estimate, and what the slow synapses see.

    Parameters
    ----------
    network : Network or BalancedNetwork
    title : str

    Returns
    -------
    Figure
        As large as what it shows.
    """
    if isinstance(network, BalancedNetwork):
        return draw_diagram(*_of_balanced(network), title)
    resolved = network.resolved
    groups = _groups(resolved)
    columns = _columns(resolved)
    members: dict[tuple[object, ...], list[str]] = {}
    for name in groups:
        members.setdefault((columns[name], _ends(resolved, name)), []).append(name)
    frame_of = {name: number for number, names in enumerate(members.values()) for name in names}
    frames = [
        Frame(tuple(groups[name] for name in names), columns[names[0]])
        for names in members.values()
    ]
    lines: dict[tuple[int, int, str], list[str]] = {}
    for link, kind, text in _links(resolved):
        pairs = {
            (frame_of[source], frame_of[target]): None
            for source in link.sources
            for target in link.targets
        }
        for pair in pairs:
            lines.setdefault((*pair, kind), []).extend(text)
    arrows = [Arrow(*ends, tuple(text)) for ends, text in lines.items()]
    return draw_diagram(frames, arrows, title)


def _groups(network: Resolved) -> dict[str, Box]:
    """A box for every group, in the order in which a column has them."""
    boxes = {
        group.name: Box(group.name, _of_inputs(group), _INPUT_COLOUR) for group in network.inputs
    }
    for population, colour in zip(network.populations, cycle(COLOURS), strict=False):
        kind = "" if population.name.startswith(population.neuron.name) else population.neuron.name
        text = f"{population.size} {kind or 'neurons'}"
        if population.learned:
            text += f", learn {', '.join(population.learned)}"
        boxes[population.name] = Box(population.name, text, colour)
    for readout in network.readouts:
        boxes[readout.name] = Box(readout.name, _of_readout(readout, network), _READOUT_COLOUR)
    return boxes


def _of_inputs(group: InputGroup) -> str:
    many = "s" * (group.size != 1)
    return f"{group.size} constant{many}" if group.constant else f"{group.size} input{many}"


def _of_readout(readout: ReadoutGroup, network: Resolved) -> str:
    agent = network.agent
    if agent is not None and readout.name == agent.policy:
        return f"actor: {readout.size} output{'s' * (readout.size != 1)}"
    if agent is not None and readout.name == agent.value:
        return "critic: 1 output"
    return f"{readout.size} output{'s' * (readout.size != 1)}"


def _columns(network: Resolved) -> dict[str, int]:
    """The column of every group: inputs have 0, what they project to 1, and so on."""
    columns = {group.name: 0 for group in network.inputs}
    # A bias reaches layers of any depth.
    reaching = {group.name for group in network.inputs if not group.constant}
    while reached := {
        target: 1 + min(columns[source] for source in c.sources if source in reaching)
        for c in network.connections
        if not c.to_readout and any(source in reaching for source in c.sources)
        for target in c.targets
        if target not in columns
    }:
        columns |= reached
        reaching |= reached.keys()
    # What no input reaches, such as a population that fires of itself.
    columns |= {p.name: 1 for p in network.populations if p.name not in columns}
    for readout in network.readouts:
        sources = [
            columns[source]
            for c in network.connections
            if readout.name in c.targets
            for source in c.sources
        ]
        columns[readout.name] = 1 + max(sources, default=max(columns.values()))
    return columns


def _ends(network: Resolved, name: str) -> frozenset[object]:
    """What a group's connections are, but for their names: groups that agree share a frame."""
    ends: set[object] = {name in network.slices, name in network.input_slices}
    for link, kind, _ in _links(network):
        if name in link.sources:
            ends.add(("to", kind, *link.targets))
        if name in link.targets:
            ends.add(("from", kind, *link.sources))
    return frozenset(ends)


def _links(
    network: Resolved,
) -> Iterator[tuple[Connection | SignalConnection, str, tuple[str, ...]]]:
    """All connections and learning signals, with their kind and the text of their arrow."""
    kinds: Mapping[float, str] = {1.0: EXCITATORY, -1.0: INHIBITORY, 0.0: SYNAPSES}
    for c in network.connections:
        yield c, kinds[c.sign], tuple(_of_projection(c, network))
    for signal in network.signals:
        feedback = signal.feedback
        facts = [signal.name, feedback.weights]
        facts += ["learns"] * signal.learns + ["diffuses"] * (signal.diffusion is not None)
        yield signal, SIGNAL, (", ".join(facts),)


def _of_projection(c: Connection, network: Resolved) -> Iterator[str]:
    """The lines of a projection's arrow: its name, then what is not as usual."""
    yield f"{c.name} ({c.receptor})" if c.receptor else c.name
    facts = []
    if c.shared is not None:
        facts.append(f"shared {' x '.join(map(str, c.weight_shape))}")
    elif c.n_synapses < c.n_possible:
        facts.append(f"{100 * c.n_synapses / c.n_possible:.2g} %")
    if c.n_connected is not None:
        facts.append("rewired")
    if c.reads:
        facts.append(f"reads {c.reads}")
    if c.transmission is not None:
        facts.append(c.transmission.map.synapse.name or "dynamic")
    if c.learned_delay is not None:
        facts.append("delays learn")
    elif c.spread:
        most = longest(c.delay_steps) * float(network.dt / ms)
        facts.append(f"delay{' to' if c.delay_each else ''} {most:g} ms")
    if not c.plastic:
        facts.append("fixed")
    if facts:
        yield ", ".join(facts)


def _of_balanced(network: BalancedNetwork) -> tuple[list[Frame], list[Arrow]]:
    """Frames and arrows of a balanced network."""
    k = f"{network.n_dimensions} dimension{'s' * (network.n_dimensions != 1)}"
    dendrites = network.basis_weights is not None
    seen = Box(
        "dendrites" if dendrites else "filtered spikes",
        f"{network.n_basis}: tanh(M r + θ)" if dendrites else f"{network.n_basis}: r",
        COLOURS[2],
    )
    frames = [
        Frame((Box("signal x", k, _INPUT_COLOUR),), 0),
        Frame((Box("neurons", f"{network.n} potentials v", COLOURS[0]),), 1),
        Frame((seen,), 1),
        Frame((Box("estimate D r", k, _READOUT_COLOUR),), 2),
    ]
    learning = {
        name: f"{symbol}{', learns' * (name in network.learns)}"
        for name, symbol in (("fast", "W_f, fast"), ("slow", "W_s, slow"))
    }
    arrows = [
        Arrow(0, 1, SYNAPSES, ("Dᵀ c",)),
        Arrow(1, 1, INHIBITORY, (learning["fast"],)),
        Arrow(1, 2, SYNAPSES, ("r",)),
        Arrow(2, 1, SYNAPSES, (learning["slow"],)),
        Arrow(1, 3, SYNAPSES, ("D",)),
    ]
    if network.learns:
        arrows.append(Arrow(3, 1, SIGNAL, ("error feedback, k Dᵀ (x - D r)",)))
    return frames, arrows
