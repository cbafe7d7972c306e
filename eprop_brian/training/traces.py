"""Selects synapses of a recorded trial and records their traces in every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest

import numpy as np

from eprop_brian.network.built import BuiltNetwork
from eprop_brian.network.graph import Connection
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.resolved import Resolved
from eprop_brian.steps.blocks import stored_name

__all__ = ["TracedSynapse", "Traces", "check_synapses"]


@dataclass(frozen=True)
class TracedSynapse:
    """A synapse whose traces were recorded.

    Attributes
    ----------
    source : str
        ``"inputs"`` or a population.
    pre : int
        Index of the neuron within the source.
    target : str
        A population.
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


def check_synapses(network: Resolved, synapses: int | Sequence[TracedSynapse]) -> None:
    """Raise ValueError for a negative number of synapses, or one that the network lacks."""
    if isinstance(synapses, int):
        if synapses < 0:
            raise ValueError(f"synapses must be at least 0, not {synapses}")
        return
    targets = {p.name: p.size for p in network.populations}
    sources = {**{group.name: group.size for group in network.inputs}, **targets}
    for synapse in synapses:
        exists = 0 <= synapse.pre < sources.get(synapse.source, 0)
        exists &= 0 <= synapse.post < targets.get(synapse.target, 0)
        exists &= not exists or _is_connected(network, synapse)
        if not exists or (synapse.source, synapse.pre) == (synapse.target, synapse.post):
            raise ValueError(f"the network has no synapse '{synapse}'")


def _is_connected(network: Resolved, synapse: TracedSynapse) -> bool:
    """Whether a connection has this synapse; ValueError if it does not learn."""
    for c in network.connections:
        ends = synapse.source in c.sources and synapse.target in c.targets
        if ends and synapse.receptor == c.receptor:
            post = c.targets[synapse.target].start + synapse.post
            pre = c.sources[synapse.source].start + synapse.pre
            if c.adjacency is None or bool(c.adjacency[post, pre]):
                if not c.plastic:
                    raise ValueError(f"synapse '{synapse}' does not learn: it has no trace")
                return True
    return False


class Traces:
    """Records the traces of some synapses, which are named or selected after `n_ranking` steps.

    All traces of a trial would be (n_steps, n_synapses) per projection, too many to keep, and only
    a first run of the trial shows which are worth keeping.
    """

    def __init__(
        self, built: BuiltNetwork, n_ranking: int, synapses: int | Sequence[TracedSynapse]
    ) -> None:
        self.projections = {p.name: p for p in built.plastic if not p.connection.to_readout}
        self.populations = {p.name: p.size for p in built.network.populations}
        self.n_ranking = n_ranking
        self.n_synapses = synapses if isinstance(synapses, int) else len(synapses)
        self.synapses = [] if isinstance(synapses, int) else list(synapses)
        self.sums = {name: np.zeros(int(p.group.N)) for name, p in self.projections.items()}
        self.step = 0
        self.values: list[list[list[float]]] = []

    def observe(self) -> None:
        """Called at the end of every step."""
        if self.step < self.n_ranking:
            for name, projection in self.projections.items():
                self.sums[name] += np.abs(_trace(projection, "filtered_trace"))
        else:
            if self.step == self.n_ranking and not self.synapses:
                self.synapses = self._largest()
            self.values.append(
                [
                    [self._value(synapse, variable) for synapse in self.synapses]
                    for variable in ("eligibility_trace", "filtered_trace")
                ]
            )
        self.step += 1

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Eligibility traces and filtered traces, each (n_steps, n_synapses)."""
        values = np.array(self.values, dtype=float)
        return values[:, 0], values[:, 1]

    def _value(self, synapse: TracedSynapse, variable: str) -> float:
        ends = synapse.source, synapse.target, synapse.receptor
        projection = next(
            p
            for p in self.projections.values()
            if (p.source, p.target, p.connection.receptor) == ends
        )
        return _trace(projection, variable)[projection.place(synapse.pre, synapse.post)]

    def _largest(self) -> list[TracedSynapse]:
        """`n_synapses` synapses, from each population in turn; among equals the first."""
        by_population = (self._largest_of(name) for name in self.populations)
        neurons = (n for turn in zip_longest(*by_population) for n in turn if n is not None)
        return list(islice((synapse for neuron in neurons for synapse in neuron), self.n_synapses))

    def _largest_of(self, population: str) -> list[list[TracedSynapse]]:
        """The largest input and recurrent synapse of every neuron, largest neurons first."""
        projections = [p for p in self.projections.values() if p.target == population]
        n_post = self.populations[population]
        synapses: list[list[TracedSynapse]] = [[] for _ in range(n_post)]
        total = np.zeros(len(synapses))
        for kind in ("input", "recurrent"):
            parts = [p for p in projections if p.connection.kind == kind]
            largest = np.full(len(synapses), -1.0)
            source, pre = np.zeros((2, len(synapses)), dtype=int)
            for number, part in enumerate(parts):
                sizes, senders = _largest_into(part, self.sums[part.name])
                larger = sizes > largest
                largest[larger], pre[larger], source[larger] = (
                    sizes[larger],
                    senders[larger],
                    number,
                )
            for post in np.flatnonzero(largest >= 0):
                part = parts[source[post]]
                ends = part.source, int(pre[post]), population, int(post)
                synapses[post].append(TracedSynapse(*ends, part.connection.receptor))
            total += np.maximum(largest, 0)
        return [synapses[post] for post in np.argsort(-total, kind="stable")]


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


def _trace(projection: BuiltProjection[Connection], variable: str) -> np.ndarray:
    """A synaptic variable of the running network, as it is stored."""
    return projection.group.variables[stored_name(projection.group, variable)].get_value()
