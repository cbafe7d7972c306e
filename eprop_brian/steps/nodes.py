"""Nodes of a schedule: loops over blocks, and what stands between them.

A schedule is a list of nodes. The statements of a block are Brian2's; a node says over which
elements they run. A printer writes the schedule in the language of a device.

Conditions, indices and values are expressions that are valid in C++, CUDA and Python, of the
integers that the frame around a step defines (``_step``, ``_clock``) and of loop indices. An array
stands in braces: ``{neurons_v}[_pre]``.

Nodes of spikes and synapses are in `eprop_brian.steps.spiking`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = [
    "Choose",
    "Column",
    "Copy",
    "Count",
    "Counter",
    "Each",
    "Fill",
    "Fire",
    "For",
    "ForFired",
    "If",
    "Int",
    "Lap",
    "Let",
    "Node",
    "Noise",
    "Once",
    "Pairs",
    "Put",
    "Record",
    "Row",
    "Show",
    "Stop",
    "Sums",
    "Sync",
]


class Node:
    """Something that happens in a step."""

    def sets(self) -> tuple[str, ...]:
        """Arrays that the node itself writes, apart from what its blocks do."""
        return ()


@dataclass(frozen=True)
class Each(Node):
    """Runs a block for all values of an index from 0 to `n`, in any order.

    Attributes
    ----------
    block : str
    n : int
    rows : mapping of str to str
        Where rows of other arrays begin, by the index that the block has for their element of the
        same number.
    padded : int, optional
        Elements with padding, over which a loop of vectors may run too; default: `n`.
    index : str
    """

    block: str
    n: int
    rows: Mapping[str, str] = field(default_factory=dict)
    padded: int | None = None
    index: str = "_neuron"


@dataclass(frozen=True)
class Show(Node):
    """Runs a block for each of `n` neurons on devices whose neurons can be read between two steps.

    `rows` is as for `Each`.
    """

    block: str
    n: int
    rows: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Once(Node):
    """Runs a block for one element, of the given value of each index."""

    block: str
    indices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sums(Node):
    """Runs a block for all pairs of `n_pre` by `n_post`.

    What belongs to ``_post`` gathers what comes from every ``_pre``, in the order of ``_pre``.
    """

    block: str
    n_pre: int
    n_post: int


@dataclass(frozen=True)
class Pairs(Node):
    """Runs a block for all pairs of `n` elements, as `Sums` does for large matrices."""

    block: str
    n: int


@dataclass(frozen=True)
class Row(Node):
    """Runs a block for the `n_post` synapses of ``_pre``; `rows` as for `Each`."""

    block: str
    n_post: int
    rows: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Column(Node):
    """Runs a block for the synapses of ``_pre`` in a matrix whose rows are `n` neurons.

    Attributes
    ----------
    block : str
    n : int
    width : int
        Of a row.
    """

    block: str
    n: int
    width: int


@dataclass(frozen=True)
class Stop(Node):
    """Makes this step the last of its trial where a condition holds."""

    condition: str


@dataclass(frozen=True)
class Let(Node):
    """Names the present value of an element of an array."""

    name: str
    array: str
    index: str


@dataclass(frozen=True)
class Put(Node):
    """Sets an element of an array."""

    array: str
    index: str
    value: str

    def sets(self) -> tuple[str, ...]:
        """See `Node.sets`. An array with a row for every trial does not belong to one trial."""
        return () if self.index.startswith("_trial") else (self.array,)


@dataclass(frozen=True)
class Int(Node):
    """Names an integer."""

    name: str
    value: str


@dataclass(frozen=True)
class Choose(Node):
    """Names an integer that is one of two."""

    name: str
    condition: str
    then: str
    otherwise: str


@dataclass(frozen=True)
class Counter(Node):
    """Names an integer that is 0 at first and changes."""

    name: str


@dataclass(frozen=True)
class Fill(Node):
    """Sets `n` elements of an array to 0, from `at` on."""

    array: str
    n: str
    at: str = "0"

    def sets(self) -> tuple[str, ...]:
        """See `Node.sets`."""
        return (self.array,)


@dataclass(frozen=True)
class Copy(Node):
    """Copies `n` elements of `source`, from `begin` on, into an array, from `at` on."""

    array: str
    at: str
    source: str
    begin: str
    n: int

    def sets(self) -> tuple[str, ...]:
        """See `Node.sets`."""
        return (self.array,)


@dataclass(frozen=True)
class Record(Node):
    """Sets `n` elements of an array, from `at` on, to what is to be recorded.

    Attributes
    ----------
    array, at : str
    value : str
        Expression of ``_i``, the number of the element.
    n : int
    """

    array: str
    at: str
    value: str
    n: int

    def sets(self) -> tuple[str, ...]:
        """See `Node.sets`."""
        return (self.array,)


@dataclass(frozen=True)
class Count(Node):
    """Adds 1 to one of the frame's counters."""

    name: str


@dataclass(frozen=True)
class If(Node):
    """Runs one list of nodes or the other."""

    condition: str
    then: Sequence[Node]
    otherwise: Sequence[Node] = ()


@dataclass(frozen=True)
class For(Node):
    """Runs nodes for all values of an index from `first` to before `end`, in their order."""

    index: str
    first: str
    end: str
    body: Sequence[Node]


@dataclass(frozen=True)
class Lap(Node):
    """Adds the time since the last lap to a stage, by its number."""

    stage: int


@dataclass(frozen=True)
class Fire(Node):
    """Finds the neurons that spike, for `ForFired` to go through.

    Attributes
    ----------
    candidates : str
        Array with a number for each of `n` neurons.
    n : int
    one : str
        Condition: the neuron of the largest number spikes, if that is above 0; else all above 0.
    into, at : str
        Array that lists them, and the place from where on there is room for `n`.
    """

    candidates: str
    n: int
    one: str
    into: str
    at: str

    def sets(self) -> tuple[str, ...]:
        """See `Node.sets`."""
        return (self.into,)


@dataclass(frozen=True)
class ForFired(Node):
    """Runs nodes for every neuron ``_pre`` that spikes, one after the other."""

    body: Sequence[Node]


@dataclass(frozen=True)
class Noise(Node):
    """Fills an array of `n` with normal numbers, a hash of seed, time and place everywhere."""

    array: str
    n: int
    seed: str
    time: str


@dataclass(frozen=True)
class Sync(Node):
    """A barrier: all threads see below it what any of them wrote above it."""
