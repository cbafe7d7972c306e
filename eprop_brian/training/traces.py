"""Synapses whose traces are recorded: named, or those with the largest traces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest

import numpy as np

from eprop_brian.base.sparse import block, ends
from eprop_brian.base.suggestions import unknown
from eprop_brian.network.built import BuiltNetwork
from eprop_brian.network.graph import Connection
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network

__all__ = [
    "TracedSynapse",
    "check_synapses",
    "connection_of",
    "largest_synapses",
    "synapses_of",
]


@dataclass(frozen=True)
class TracedSynapse:
    """A synapse of which something is recorded.

    Attributes
    ----------
    source : str
        ``"inputs"`` or a population.
    pre : int
        Index of the neuron within the source.
    target : str
        A population; where weights are recorded, also a readout.
    post : int
        Index of the neuron within the target.
    receptor : str
        Receptor of the target, if it has several.
    """

    source: str
    pre: int
    target: str
    post: int
    receptor: str = ""

    def __str__(self) -> str:
        source = "input" if self.source == "inputs" else self.source
        at = f", {self.receptor}" if self.receptor else ""
        return f"{source} {self.pre} → {self.target} {self.post}{at}"


def check_synapses(
    network: Resolved, synapses: int | Sequence[TracedSynapse], *, readouts: bool = False
) -> None:
    """Raise ValueError for a negative number of synapses, or one that the network lacks.

    Those onto readouts count only with `readouts`.
    """
    if isinstance(synapses, int):
        if synapses < 0:
            raise ValueError(f"synapses must be at least 0, not {synapses}")
        return
    targets = {p.name: p.size for p in network.populations}
    sources = {**{group.name: group.size for group in network.inputs}, **targets}
    if readouts:
        targets |= {readout.name: readout.size for readout in network.readouts}
    for synapse in synapses:
        exists = 0 <= synapse.pre < sources.get(synapse.source, 0)
        exists &= 0 <= synapse.post < targets.get(synapse.target, 0)
        exists &= not exists or connection_of(network, synapse) is not None
        if not exists or (synapse.source, synapse.pre) == (synapse.target, synapse.post):
            raise ValueError(f"the network has no synapse '{synapse}'")


def connection_of(network: Resolved, synapse: TracedSynapse) -> Connection | None:
    """The connection that has a synapse, if there is one; ValueError if it does not learn."""
    for c in network.connections:
        ends = synapse.source in c.sources and synapse.target in c.targets
        if ends and synapse.receptor == c.receptor:
            post = c.targets[synapse.target].start + synapse.post
            pre = c.sources[synapse.source].start + synapse.pre
            if c.adjacency is None or bool(c.adjacency[post, pre]):
                if not c.plastic:
                    raise ValueError(f"synapse '{synapse}' does not learn: it has no trace")
                return c
    return None


def synapses_of(network: Network | Resolved, connection: str) -> list[TracedSynapse]:
    """All synapses of a connection, by the key of its weights, presynaptic neuron by neuron.

    Raises
    ------
    ValueError
        If there is no such connection.
    """
    resolved = as_resolved(network)
    connections = resolved.keys.connections
    if connection not in connections:
        raise ValueError(unknown("connection", connection, connections))
    c = connections[connection]
    return [
        TracedSynapse(source, pre, target, post, c.receptor)
        for source, columns in c.sources.items()
        for target, rows in c.targets.items()
        for pre, post in _pairs(c, rows, columns)
    ]


def _pairs(c: Connection, rows: slice, columns: slice) -> Iterator[tuple[int, int]]:
    """Pre- and postsynaptic neuron of all synapses of a block."""
    if c.adjacency is not None:
        pairs = reversed(ends(block(c.adjacency, rows, columns)))
        for pre, post in zip(*(side.tolist() for side in pairs), strict=True):
            yield pre, post
        return
    for pre in range(columns.stop - columns.start):
        for post in range(rows.stop - rows.start):
            if c.autapses or columns.start + pre != rows.start + post:
                yield pre, post


def largest_synapses(
    built: BuiltNetwork,
    sizes: Mapping[str, np.ndarray],
    n_synapses: int,
    neurons: Mapping[str, Sequence[int]],
) -> list[TracedSynapse]:
    """The synapses with the largest traces, from each population in turn; among equals the first.

    Parameters
    ----------
    built : BuiltNetwork
    sizes : mapping of str to array
        Size of the trace of every synapse as it is stored, by projection.
    n_synapses : int
    neurons : mapping of str to sequence of int
        Those neurons, by population, onto which they may lead.
    """
    chosen = {name: {*indices} for name, indices in neurons.items()}
    by_population = [
        [found for post, found in _largest_of(built, sizes, name, size) if post in chosen[name]]
        for name, size in ((p.name, p.size) for p in built.network.populations)
        if name in chosen
    ]
    turns = (of_neuron for turn in zip_longest(*by_population) for of_neuron in turn if of_neuron)
    return list(islice((synapse for of_neuron in turns for synapse in of_neuron), n_synapses))


def _largest_of(
    built: BuiltNetwork, sizes: Mapping[str, np.ndarray], population: str, n_post: int
) -> list[tuple[int, list[TracedSynapse]]]:
    """Every neuron with its largest input and recurrent synapse, largest neurons first."""
    projections = [p for p in built.plastic if p.target == population]
    synapses: list[list[TracedSynapse]] = [[] for _ in range(n_post)]
    total = np.zeros(len(synapses))
    for kind in ("input", "recurrent"):
        parts = [p for p in projections if p.connection.kind == kind]
        largest = np.full(len(synapses), -1.0)
        source, pre = np.zeros((2, len(synapses)), dtype=int)
        for number, part in enumerate(parts):
            size, senders = _largest_into(part, sizes[part.name])
            larger = size > largest
            largest[larger], pre[larger], source[larger] = size[larger], senders[larger], number
        for post in np.flatnonzero(largest >= 0):
            part = parts[source[post]]
            ends = part.source, int(pre[post]), population, int(post)
            synapses[post].append(TracedSynapse(*ends, part.connection.receptor))
        total += np.maximum(largest, 0)
    return [(int(post), synapses[post]) for post in np.argsort(-total, kind="stable")]


def _largest_into(
    projection: BuiltProjection[Connection], values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The largest of the stored values onto each neuron, below 0 if it has no synapse.

    Returns
    -------
    float array, shape (n_post,)
    int array, shape (n_post,)
        The presynaptic neuron, the first of equals.
    """
    if not projection.sparse:
        pairs = projection.by_pair(values).copy()
        if not projection.autapses:
            np.fill_diagonal(pairs, -1.0)
        return pairs.max(axis=0), pairs.argmax(axis=0)
    values = values[: projection.n_synapses]
    pre, post = projection.ends
    # By neuron, largest first: the first of every neuron counts.
    order = np.lexsort((pre, -values, post))
    posts, first = np.unique(post[order], return_index=True)
    largest, senders = np.full(projection.n_post, -1.0), np.zeros(projection.n_post, dtype=int)
    largest[posts], senders[posts] = values[order[first]], pre[order[first]]
    return largest, senders
