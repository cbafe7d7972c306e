"""Nodes that run after a trial: the backward pass, sums over trials, updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eprop_brian.steps.nodes import Node
from eprop_brian.steps.spiking import Inputs, Signal, Spikes, Synapses, mirrored

__all__ = [
    "WHOLE_TRIAL",
    "Accumulate",
    "Again",
    "AllSynapses",
    "Backward",
    "ClipNorm",
    "Combine",
    "Filter",
    "Fused",
    "Steps",
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
    between : str or None
        Block for the steps of the network in which the readout takes none, if there are such.
    condition : str
        That a step is one of the readout's.
    """

    block: str
    zero: str
    n: int
    row: str
    between: str | None = None
    condition: str = ""


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
class Steps:
    """Steps of a trial of which there is a history at a time, and its results.

    Attributes
    ----------
    first, end : str
        Where they begin, and what comes after the last.
    """

    first: str = "0"
    end: str = "_T"

    @property
    def partial(self) -> bool:
        """Whether these may be fewer than all steps of a trial."""
        return self != WHOLE_TRIAL

    def row(self, step: str) -> str:
        """The row of a step in what is kept of them."""
        return f"({step} - {self.first})" if self.partial else step


WHOLE_TRIAL = Steps()


@dataclass(frozen=True)
class Again(Node):
    """Runs steps of a trial again, for their history.

    What the neurons begin with must have been set. The frame defines ``_again``, which is 1 then.

    Attributes
    ----------
    steps : Steps
    body : sequence of Node
        A step, the one of phase ``step``.
    """

    steps: Steps
    body: Sequence[Node]


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
    steps : Steps
        In which spikes arrive.
    mirrored : bool
        Whether the source goes through a trial in the other direction than the results, where a
        spike arrives at once.
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
    steps: Steps = WHOLE_TRIAL
    mirrored: bool = False

    def arrival(self, step: str) -> str:
        """The step of the results, but for delays, that a spike of a step meets."""
        return mirrored(step) if self.mirrored else step

    @property
    def blocks(self) -> tuple[str, ...]:
        """All blocks for one spike."""
        return (*([self.block] if self.block else []), *self.lagged.values())


@dataclass(frozen=True)
class Backward(Node):
    """Goes backwards in time inside each neuron, and then over its presynaptic spikes.

    Attributes
    ----------
    block : str
        For a neuron and step ``_t``.
    zero : str or None
        What happens before; None if it has happened.
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
    steps : Steps
        That it goes through.
    """

    block: str
    zero: str | None
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
    steps: Steps = WHOLE_TRIAL

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
class Combine(Node):
    """Sets `n` elements of an array to sums of elements of another one, each times a factor.

    Attributes
    ----------
    array : str
    n : int
    source : str
    first, index, factor : str
        Arrays: where the terms of each element begin, and where the last end; the element of
        `source` in each term, and its factor.
    """

    array: str
    n: int
    source: str
    first: str
    index: str
    factor: str

    def sets(self) -> tuple[str, ...]:
        """See `Node.sets`."""
        return (self.array,)


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
