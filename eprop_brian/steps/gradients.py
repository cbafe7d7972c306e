"""Nodes that run after a trial: the backward pass, sums over trials, updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eprop_brian.steps.nodes import Node
from eprop_brian.steps.spiking import Inputs, Signal, Spikes, Synapses

__all__ = [
    "Accumulate",
    "AllSynapses",
    "Backward",
    "ClipNorm",
    "Filter",
    "Fused",
]


@dataclass(frozen=True)
class Filter(Node):
    """Filters errors backwards in time.

    Attributes
    ----------
    block, zero : str
        For a readout and step ``_t``, and what happens before.
    n : int
    row : str
        Where the history of step ``_t`` begins.
    """

    block: str
    zero: str
    n: int
    row: str


@dataclass(frozen=True)
class Fused:
    """An output whose learning signal the backward pass computes without storing it.

    Attributes
    ----------
    number : int
        Among the readout's outputs.
    n_outputs : int
        Of the readout.
    row : str
        Of the history of errors, at step ``_t``.
    """

    number: int
    n_outputs: int
    row: str


@dataclass(frozen=True)
class Accumulate(Node):
    """Adds to the gradients of synapses what every presynaptic spike contributes.

    Attributes
    ----------
    block, several : str or None
        For one spike and, if there is such a block, for several together.
    synapses, source, delay
        As for `Deliver`.
    first_row, width : int
        Row of the results of the first step, and size of a row.
    inputs : Inputs or None
        Where the sizes of analog inputs stand.
    lagged : mapping of int to str
        Blocks for results so many steps after the spike arrives; none is read from before the step
        in which it could arrive at the earliest.
    """

    block: str | None
    several: str | None
    synapses: Synapses
    source: Spikes
    delay: int
    first_row: int
    width: int
    inputs: Inputs | None
    lagged: Mapping[int, str] = field(default_factory=dict)

    @property
    def blocks(self) -> tuple[str, ...]:
        """All blocks for one spike."""
        return (*([self.block] if self.block else []), *self.lagged.values())


@dataclass(frozen=True)
class Backward(Node):
    """Goes backwards in time inside each neuron, and then over its presynaptic spikes.

    Attributes
    ----------
    block, zero : str
        For a neuron and step ``_t``, and what happens before.
    n, width, tile : int
        Neurons, with padding, and how many of them have a place in the results.
    results : sequence of str
        Arrays of results.
    late_rows : int
        Rows of the results after the end of a trial, which are 0.
    lag : int
        Steps by which the signal is later than the neuron's spike.
    sums : sequence of str
        Arrays in which `signals` are summed, if there are any.
    signals : sequence of Signal
    fused : sequence of Fused
    then : sequence of Node
        Nodes that use the results.
    """

    block: str
    zero: str
    n: int
    width: int
    tile: int
    results: Sequence[str]
    late_rows: int
    lag: int
    sums: Sequence[str]
    signals: Sequence[Signal]
    fused: Sequence[Fused]
    then: Sequence[Node]

    def sets(self) -> tuple[str, ...]:
        """See `Node.sets`."""
        return (*self.sums, *self.results)


@dataclass(frozen=True)
class AllSynapses(Node):
    """Runs a block for all synapses.

    Attributes
    ----------
    block : str
    synapses : Synapses
    before, after : sequence of str
        As for `RowUpdate`.
    """

    block: str
    synapses: Synapses
    before: Sequence[str] = ()
    after: Sequence[str] = ()

    def sets(self) -> tuple[str, ...]:
        """See `Node.sets`."""
        return (*self.before, *self.after)


@dataclass(frozen=True)
class ClipNorm(Node):
    """Computes the factor by which gradients are scaled to a largest norm.

    Attributes
    ----------
    gradients : sequence of (AllSynapses, str)
        What computes them, and the arrays in which they are then.
    most, factor : str
        Arrays of a number.
    """

    gradients: Sequence[tuple[AllSynapses, str]]
    most: str
    factor: str

    def sets(self) -> tuple[str, ...]:
        """See `Node.sets`."""
        return (self.factor,)
