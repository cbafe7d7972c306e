"""Nodes of spikes and synapses: lists of spikes, what they deliver, traces, updates of rows.

Each language goes through spikes and synapses in its own way: C++ takes several rows of a
matrix at a time, CUDA shares the synapses out among threads, NumPy has arrays of indices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eprop_brian.steps.nodes import Node

__all__ = [
    "SPIKES_AT_ONCE",
    "Arrive",
    "DelayTraces",
    "Deliver",
    "Follow",
    "Forget",
    "Hear",
    "Inputs",
    "ListSpikes",
    "Passes",
    "ReadInputs",
    "RowUpdate",
    "Signal",
    "SortSpikes",
    "Spikes",
    "StartSpikes",
    "Synapses",
    "TimesOfSpikes",
    "Traces",
    "UpdateRows",
    "mirrored",
    "plus",
]

#: Spikes whose rows of synapses a compiled loop goes through together.
SPIKES_AT_ONCE = 4


@dataclass(frozen=True)
class Spikes:
    """The spikes of a source, listed step after step.

    Attributes
    ----------
    name : str
    n, width : int
        Neurons, without and with padding.
    z, neuron, first, spikespace : str
        Arrays: who spikes in this step; the list of a trial; where the spikes of a step begin in
        it, from the step before the first on; the list of a step, as Brian2 has it.
    """

    name: str
    n: int
    width: int
    z: str
    neuron: str
    first: str
    spikespace: str


@dataclass(frozen=True)
class Synapses:
    """How the synapses of a projection are stored, by presynaptic neuron.

    Attributes
    ----------
    n_pre, n_post, width, size : int
        `width` is `n_post` with padding, `size` that of the projection's arrays.
    post, first : str or None
        Arrays of a sparse projection: the postsynaptic neuron of each synapse, and where the
        synapses of each presynaptic neuron begin.
    extra : int, str or None
        Steps, or the array of them, by which delays exceed the least, if any do.
    feedback_width : int or None
        Width of the matrix of the opposite direction, if updates read it.
    """

    n_pre: int
    n_post: int
    width: int
    size: int
    post: str | None = None
    first: str | None = None
    extra: int | str | None = None
    feedback_width: int | None = None

    @property
    def sparse(self) -> bool:
        """Whether not all pairs are connected."""
        return self.first is not None

    @property
    def n(self) -> int:
        """Largest number of synapses, without padding."""
        return self.size if self.sparse else self.n_pre * self.n_post


def mirrored(step: str) -> str:
    """The step of a trial that is as far from its end as another one is from its beginning."""
    return f"(_T - 1 - {step})"


def plus(n: int) -> str:
    """What adds a number to an index: nothing for 0."""
    return f" + {n}" if n else ""


@dataclass(frozen=True)
class Inputs:
    """Where the inputs of a trial stand.

    Attributes
    ----------
    data, pattern : str
        Arrays: what is put in, and which row of it a trial has; ``""`` if each has its own array.
    analog : bool
        Whether it is values, or else spikes as bits, 32 neurons a word.
    row : int
        Numbers that all inputs have in a step.
    before : int
        Those of a step that are other inputs', which come first.
    n_steps : int
        Steps of a pattern; a trial may have fewer.
    mirrored : bool
        Whether the last step of the trial is put in first.
    """

    data: str
    pattern: str
    analog: bool
    row: int
    before: int
    n_steps: int = 0
    mirrored: bool = False

    def step(self, step: str) -> str:
        """The step of the trial whose data are put in at a step."""
        return mirrored(step) if self.mirrored else step


@dataclass(frozen=True)
class TimesOfSpikes(Node):
    """Makes room for the times at which each neuron of a source spikes, for `SortSpikes`."""

    spikes: Spikes


@dataclass(frozen=True)
class StartSpikes(Node):
    """Begins the list of a trial.

    Attributes
    ----------
    spikes : Spikes
    carried : bool
        Whether spikes of the step before are still on their way.
    by_neuron : bool
        Whether `SortSpikes` follows.
    analog : bool
        As for `ListSpikes`.
    """

    spikes: Spikes
    carried: bool
    by_neuron: bool
    analog: bool = False

    def sets(self) -> tuple[str, ...]:
        """See `Node.sets`."""
        return (self.spikes.neuron, self.spikes.first)


@dataclass(frozen=True)
class ReadInputs(Node):
    """Lists the inputs of a step.

    Attributes
    ----------
    spikes : Spikes
    inputs : Inputs
    kept : bool
        Whether the array ``z`` is read too.
    by_neuron : bool
        Whether `SortSpikes` follows.
    """

    spikes: Spikes
    inputs: Inputs
    kept: bool
    by_neuron: bool

    def sets(self) -> tuple[str, ...]:
        """See `Node.sets`."""
        return (self.spikes.z, self.spikes.neuron, self.spikes.first)


@dataclass(frozen=True)
class ListSpikes(Node):
    """Lists the neurons that spike in a step.

    Attributes
    ----------
    spikes : Spikes
    count : str
        Array in which the spikes of each are counted; ``""``: they are not.
    by_neuron : bool
        Whether `SortSpikes` follows.
    analog : bool
        Whether ``z`` is a value, and those are listed for whom it is not 0.
    """

    spikes: Spikes
    count: str
    by_neuron: bool
    analog: bool = False

    def sets(self) -> tuple[str, ...]:
        """See `Node.sets`."""
        return (*[self.count] * bool(self.count), self.spikes.neuron, self.spikes.first)


@dataclass(frozen=True)
class SortSpikes(Node):
    """Sorts the spikes of a trial by neuron, for `Accumulate`."""

    sources: Sequence[Spikes]


@dataclass(frozen=True)
class Forget(Node):
    """Marks all neurons of a source as silent in this trial so far."""

    spikes: Spikes


@dataclass(frozen=True)
class Hear(Node):
    """Marks the neurons that spike in this step as having spiked in this trial."""

    spikes: Spikes


@dataclass(frozen=True)
class Deliver(Node):
    """Delivers the spikes of a source that arrive in this step.

    Attributes
    ----------
    block, several : str
        For one spike and, if there is such a block, for several together.
    synapses : Synapses
    source : Spikes
    delay : int
        Steps since the spikes.
    analog : bool
        Whether the block reads the size of what arrives.
    later_rows : int
        Steps ahead for which what arrives later is kept.
    adds : tuple of str or None
        Arrays of what a spike adds to and of what it adds, if that is all that it does.
    step : str
        The step that the source is at, from which `delay` counts.
    """

    block: str
    several: str | None
    synapses: Synapses
    source: Spikes
    delay: int
    analog: bool
    later_rows: int
    adds: tuple[str, str] | None = None
    step: str = "_step"


@dataclass(frozen=True)
class RowUpdate(Node):
    """An update of the synapses of ``_pre``, in continuous operation.

    Attributes
    ----------
    block : str
    synapses : Synapses
    updates : str
        Array that counts the updates.
    before, after : sequence of str
        Arrays whose element of a neuron's synapse onto itself must be 0.
    """

    block: str
    synapses: Synapses
    updates: str
    before: Sequence[str]
    after: Sequence[str]

    def sets(self) -> tuple[str, ...]:
        """See `Node.sets`."""
        return (self.updates, *self.before, *self.after)


@dataclass(frozen=True)
class Arrive(Node):
    """Prepares synapses for spikes that arrive, in continuous operation.

    Attributes
    ----------
    synapses, source, delay
        As for `Deliver`.
    since, never
        Array of the steps since the last spike, and its value where there was none.
    skipped, decay, cutoff : str, str, int or None
        With a cut-off of the traces: how many steps were skipped, and the block that makes up for
        them.
    update : RowUpdate or None
    """

    synapses: Synapses
    source: Spikes
    delay: int
    since: str
    never: float
    skipped: str
    decay: str | None
    cutoff: int | None
    update: RowUpdate | None

    def sets(self) -> tuple[str, ...]:
        """See `Node.sets`."""
        return (self.skipped,)


@dataclass(frozen=True)
class UpdateRows(Node):
    """An update of the synapses of all neurons whose last spike is less than `limit` steps ago."""

    update: RowUpdate
    since: str
    limit: float


@dataclass(frozen=True)
class Signal(Node):
    """The learning signal from readouts, or from neurons from which it spreads.

    Attributes
    ----------
    block : str
    synapses : Synapses
        From the readouts or neurons to the neurons.
    row : str
        Of the history of errors, or 0.
    delay : str or None
        Array of the steps by which each connection is late.
    first_output : int
        Readouts before it are left out.
    """

    block: str
    synapses: Synapses
    row: str
    delay: str | None
    first_output: int = 0


@dataclass(frozen=True)
class Traces(Node):
    """Advances the traces of synapses whose presynaptic neuron has spiked, from step ``_from`` on.

    Attributes
    ----------
    block : str
    steps : int
        That the block does on end.
    synapses : Synapses
    source : Spikes
    window_rows, pre_rows : int
        Steps for which the variables of either side are kept.
    since, limit
        In continuous operation: array of the steps since a spike, and with how many the synapses
        of a neuron are left alone.
    cut_off : bool
        Whether `limit` cuts off traces, which then must stay as they are.
    """

    block: str
    steps: int
    synapses: Synapses
    source: Spikes
    window_rows: int
    pre_rows: int
    since: str | None = None
    limit: float = 0
    cut_off: bool = False


@dataclass(frozen=True)
class DelayTraces(Node):
    """Advances the traces of learned delays, of synapses whose presynaptic neuron has spiked.

    Attributes
    ----------
    block : str
    lagged : mapping of int to str
        Blocks that run before it, each with the presynaptic variables of the step whose spikes
        arrive so many steps before this one; none are of a step that is still to come.
    steps : int
        That are done on end, from step ``_from`` on.
    synapses, source, window_rows, pre_rows
        As for `Traces`.
    """

    block: str
    lagged: Mapping[int, str]
    steps: int
    synapses: Synapses
    source: Spikes
    window_rows: int
    pre_rows: int


@dataclass(frozen=True)
class Passes(Node):
    """Passes over the synapses for the steps from ``_traced`` to ``_known``.

    As many at a time as `several` does, if there are such nodes; what is left at the end of a trial
    one by one. NumPy makes one pass for each step, from ``_first_known`` on.

    Attributes
    ----------
    steps : int
    several, single : sequence of Node
        Traces of so many steps and of one, and what is recorded of them.
    """

    steps: int
    several: Sequence[Node]
    single: Sequence[Node]


@dataclass(frozen=True)
class Follow(Node):
    """Sets feedback weights to those of a readout, and to 0 where it has no synapse.

    Attributes
    ----------
    feedback : str
        Array of the weights.
    size, width : int
        Of it and of its rows.
    weights : str
        Array of the readout's.
    synapses : Synapses
        The readout's.
    """

    feedback: str
    size: int
    width: int
    weights: str
    synapses: Synapses

    def sets(self) -> tuple[str, ...]:
        """See `Node.sets`."""
        return (self.feedback,)
