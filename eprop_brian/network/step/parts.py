"""The parts of a network that a step goes through, as lists with names.

A part has a name. Its blocks are called ``what_of_name`` (see `block_name`); an option that is not
in use has no block, and the schedule leaves it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from eprop_brian.steps.gradients import Combine
from eprop_brian.steps.spiking import Follow, Inputs, Spikes, Synapses

__all__ = [
    "ActingPart",
    "CodePart",
    "DiffusionPart",
    "EmissionPart",
    "InputPart",
    "LabelsPart",
    "LearningSignalPart",
    "NetworkParts",
    "PopulationPart",
    "ProbePart",
    "ProjectionPart",
    "ReadoutPart",
    "Rules",
    "SegmentStates",
    "SharedPart",
    "ValuesPart",
    "block_name",
    "coupling_block",
]


def block_name(part: str, what: str) -> str:
    """The name of a part's block."""
    return f"{what}_of_{part}"


def coupling_block(what: str) -> str:
    """The block of what outputs share for their loss, or for a part of their error."""
    return "couple" if what == "loss" else f"couple_{what}"


@dataclass(frozen=True)
class ValuesPart:
    """A source of values that follow from neurons: what is read of them, or what synapses hand on.

    Attributes
    ----------
    spikes : Spikes
    inputs : Inputs or None
        Where the values of a trial are kept.
    """

    spikes: Spikes
    inputs: Inputs | None


@dataclass(frozen=True)
class InputPart:
    """A source whose spikes, or values, come from data, or that spikes in every step.

    Attributes
    ----------
    spikes : Spikes
    inputs : Inputs or None
        Where its data stand; None: it spikes in every step.
    values : tuple of ValuesPart
    coded : bool
        Whether they sense an environment; `inputs` then are values that the program keeps itself.
    """

    spikes: Spikes
    inputs: Inputs | None
    values: tuple[ValuesPart, ...] = ()
    coded: bool = False


@dataclass(frozen=True)
class SegmentStates:
    """An array of `n` numbers, and one that has it at the beginning of every segment."""

    array: str
    segments: str
    n: int


@dataclass(frozen=True)
class PopulationPart:
    """Neurons.

    Attributes
    ----------
    spikes : Spikes
    spike_count : str
        Array.
    later : tuple of str
        Arrays of what arrives later, one for each receptor.
    values : tuple of ValuesPart
    window_signals : tuple of str
        Arrays of the learning signals that are kept for the traces.
    results : tuple of str
        Arrays of what the backward pass computes.
    tile : int
        Neurons that have a place in the results.
    signals : tuple of str
        Arrays in which the backward pass sums learning signals.
    fused : tuple of (str, int)
        Readouts and numbers of outputs whose signal it reads directly.
    heard : str
        Array in which a learning signal that diffuses or is emitted is kept for the backward
        pass.
    sampled : bool
        Whether they read timed arrays that have a value for each of them.
    kept : tuple of SegmentStates
        The state at the beginning of every segment of a trial, if steps run again.
    reverse_time : bool
        Whether they go through a trial from its last step to its first.
    """

    spikes: Spikes
    spike_count: str
    later: tuple[str, ...] = ()
    values: tuple[ValuesPart, ...] = ()
    window_signals: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    tile: int = 0
    signals: tuple[str, ...] = ()
    fused: tuple[tuple[str, int], ...] = ()
    heard: str = ""
    sampled: bool = False
    kept: tuple[SegmentStates, ...] = ()
    reverse_time: bool = False

    @property
    def name(self) -> str:
        """The name of its group."""
        return self.spikes.name


@dataclass(frozen=True)
class SharedPart:
    """Weights that synapses share.

    Attributes
    ----------
    weights : Synapses
        The weights as an update goes through them.
    spread : Combine
        Of which the weights of synapses are made.
    gather : Combine
        What adds up the gradients of synapses.
    """

    weights: Synapses
    spread: Combine
    gather: Combine


@dataclass(frozen=True)
class ProjectionPart:
    """Synapses from a source to a population or a readout.

    Attributes
    ----------
    name, source, target : str
    synapses : Synapses
    delay : int
        Steps between a spike and its arrival, at least. With 0 and a population as the source it
        arrives after the neurons have been updated.
    analog : bool
        Whether values arrive: analog inputs, or what is read of neurons.
    adds : tuple of str or None
        As for `eprop_brian.steps.spiking.Deliver`.
    plastic : bool
        Whether they learn.
    pre_rows : int
        Steps for which the presynaptic variables that traces read are kept.
    pre_window : tuple of str
        Arrays of these variables, which are 0 at the start of a trial.
    gradient : str or None
        Array of the gradients, if their norm is clipped.
    sums, weights : tuple of str
        Arrays whose element of a neuron's synapse onto itself must be 0 before an update, and after
        it.
    effective : tuple of str
        The same of the effective weights that follow from these.
    signal_sums : tuple of str
        The same of what an update in mid-trial is made of.
    since, updates, skipped : str
        Arrays of continuous operation.
    lags : tuple of int
        Steps before and after an arrival that the gradient of a learned delay reads; none if delays
        do not learn.
    shared : SharedPart or None
        The weights that its synapses share, if they learn.
    """

    name: str
    source: str
    target: str
    synapses: Synapses
    delay: int
    analog: bool
    adds: tuple[str, str] | None = None
    plastic: bool = False
    pre_rows: int = 0
    pre_window: tuple[str, ...] = ()
    gradient: str | None = None
    sums: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    signal_sums: tuple[str, ...] = ()
    since: str = ""
    updates: str = ""
    skipped: str = ""
    lags: tuple[int, ...] = ()
    shared: SharedPart | None = None

    @property
    def learns(self) -> bool:
        """Whether weights or delays learn."""
        return self.plastic or bool(self.lags)


@dataclass(frozen=True)
class LabelsPart:
    """How what a readout shows in the frames of a trial is compared with labels.

    Attributes
    ----------
    labels : str
        Array.
    most : int
        Labels of a trial.
    frame_steps, y, p, y_target, log_likelihood, room : str
        Arrays, see `eprop_brian.steps.labels.LabelProbabilities`.
    """

    labels: str
    most: int
    frame_steps: str
    y: str
    p: str
    y_target: str
    log_likelihood: str
    room: str


@dataclass(frozen=True)
class ReadoutPart:
    """Readouts with a loss of their own.

    Attributes
    ----------
    name : str
    n : int
    before : int
        Outputs of other readouts, which come first in the arrays of all outputs.
    n_outputs : int
        Outputs of all readouts.
    errors : tuple of str
        Arrays of the history that the loss writes: errors, signals and those that are direct.
    earlier : str or None
        Array of the signals of before a call.
    filtered : str
        Array of the history that has signals filtered backwards in time; ``""`` without.
    target, output : str
        Arrays: which target a trial has; where outputs are summed up.
    target_steps : int
        Steps of a target: all, or 1 if it is constant.
    period : str or None
        Array of the answer that each step of a target counts for, if there are periods.
    n_answers : int
        Most answers of a trial.
    window_start : str
        Expression of the first step that counts, without periods.
    labels : LabelsPart or None
        The labels with which it is compared at a trial's end, if its loss is theirs.
    every : int
        Steps of the network in which they take one.
    """

    name: str
    n: int
    before: int
    n_outputs: int
    errors: tuple[str, ...]
    earlier: str | None
    filtered: str
    target: str
    output: str
    target_steps: int
    period: str | None
    n_answers: int
    window_start: str
    labels: LabelsPart | None = None
    every: int = 1

    def at_its_steps(self, step: str) -> str:
        """Condition that a step of the network is one of theirs."""
        return f"({step} + 1) % {self.every} == 0"


@dataclass(frozen=True)
class LearningSignalPart:
    """The learning signal of a population from a readout.

    Attributes
    ----------
    name, readout, population : str
    synapses : Synapses
    signal : str
        Array of the population in which signals are summed.
    delay : str or None
        Array of the steps by which each connection is late.
    follow : Follow or None
        How the weights follow those of the readout.
    direct : str
        Array of the population in which the part is summed that no reward is multiplied by.
    """

    name: str
    readout: str
    population: str
    synapses: Synapses
    signal: str
    delay: str | None
    follow: Follow | None
    direct: str = ""


@dataclass(frozen=True)
class DiffusionPart:
    """How the learning signal from a readout spreads to a population, from one or itself.

    Attributes
    ----------
    name, readout, target : str
    synapses : Synapses
    """

    name: str
    readout: str
    target: str
    synapses: Synapses


@dataclass(frozen=True)
class EmissionPart:
    """The learning signal that a population emits to another.

    Attributes
    ----------
    name, source, target : str
    synapses : Synapses
    """

    name: str
    source: str
    target: str
    synapses: Synapses


@dataclass(frozen=True)
class ProbePart:
    """What is recorded of every step.

    Attributes
    ----------
    moment : str
        When in a step: ``"entering"``, when all has arrived at a population; ``"traces"``, after
        those of the step; ``"end"``.
    part : str
        What it is of, by the name of its group.
    array : str
        Into which it is copied.
    value : str
        Expression of ``_i``, the number of the element.
    n : int
        Elements of a step.
    """

    moment: str
    part: str
    array: str
    value: str
    n: int


@dataclass(frozen=True)
class CodePart:
    """Inputs that sense an environment.

    Attributes
    ----------
    name : str
    inputs : str
        The group of inputs that they belong to.
    n, before : int
        How many they are, and how many inputs of the group come first.
    """

    name: str
    inputs: str
    n: int
    before: int


@dataclass(frozen=True)
class ActingPart:
    """An environment, and the actions in it.

    Attributes
    ----------
    policy, value : str
        The readouts that choose actions, and that predict what follows.
    steps, window : int
        Steps from one action to the next; those before an action over which readouts are averaged.
    discrete, bootstrap : bool
        Whether there are actions to choose from; whether an episode that is cut off goes on in what
        the critic predicts.
    codes : tuple of CodePart
    actions : tuple of str
        Arrays: the action, or each of its components.
    n_action, n_scored, done, over : str
        Arrays: the number of an action; how many are learned from; whether the environment has come
        to an end, and whether the episode has.
    candidates, choice, chosen, kept : str
        Arrays of the policy: what decides; the output that was chosen; its target, and those of all
        actions.
    """

    policy: str
    value: str
    steps: int
    window: int
    discrete: bool
    bootstrap: bool
    codes: tuple[CodePart, ...]
    actions: tuple[str, ...]
    n_action: str
    n_scored: str
    done: str
    over: str
    candidates: str
    choice: str
    chosen: str
    kept: str


@dataclass(frozen=True)
class Rules:
    """How a network learns, and what it keeps for it.

    Attributes
    ----------
    n_steps : int
        Of a trial.
    learning, online, continuous : bool
    updates : str
        ``"batch"``, ``"action"``, ``"step"`` or ``"spike"``.
    cutoff : int or None
        Steps after which traces are cut off.
    never : float
        Steps since the last spike of a neuron that has not spiked.
    steps_per_pass : int
        Steps that a pass over the synapses does.
    window_rows, later_rows, late_rows, signal_rows, history_rows : int
        Steps kept: of what traces read; ahead, of what arrives later; of results after a trial; of
        errors before it; of what the backward pass reads of neurons, at a time.
    lag : int
        Steps by which readouts see spikes late.
    clip_norm, clip_factor : str
        Arrays, if the norm of gradients is clipped.
    stages : tuple of str
        Parts of a trial whose time is measured.
    noise : mapping of str to str
        Arrays of the halves of trials' keys, by half, if neurons draw random numbers.
    sample_rows : int
        Steps of which it is stored what timed arrays have; 0 without any.
    steps_of_trial : str
        Array of the steps that a trial has had, if not all have the same number.
    lengths : str
        Array of the steps of every trial, if they are known before; else an environment says when a
        trial is over.
    external : int
        Steps after which a call ends, for an environment outside of the program to go on; 0 if it
        is inside.
    bidirectional : bool
        Whether populations go through a trial in both directions, and readouts see it afterwards.
    step_of_target : bool
        Whether targets have something of every step that all outputs read: an answer, an advantage.
    of_labels : bool
        Whether what is shown is compared with labels at a trial's end.
    """

    n_steps: int
    learning: bool
    online: bool
    continuous: bool
    updates: str
    cutoff: int | None
    never: float
    steps_per_pass: int
    window_rows: int
    later_rows: int
    late_rows: int
    signal_rows: int
    history_rows: int
    lag: int
    clip_norm: str = ""
    clip_factor: str = ""
    stages: tuple[str, ...] = ()
    noise: Mapping[str, str] = field(default_factory=dict)
    sample_rows: int = 0
    steps_of_trial: str = ""
    lengths: str = ""
    external: int = 0
    bidirectional: bool = False
    step_of_target: bool = False
    of_labels: bool = False

    @property
    def by_trial(self) -> bool:
        """Whether trials add to sums of which updates are made."""
        return self.learning and not self.continuous

    @property
    def factored(self) -> bool:
        """Whether gradients come from a backward pass."""
        return self.learning and not self.online

    @property
    def in_segments(self) -> bool:
        """Whether the backward pass runs the steps of a segment again, to have their history."""
        return self.factored and self.history_rows < self.n_steps


@dataclass(frozen=True)
class NetworkParts:
    """All parts of a network.

    Attributes
    ----------
    rules : Rules
    control : dict of str to str
        Arrays of the numbers that steer a call.
    spike_count : str
        Array of the spikes of every trial, of one population after the other.
    inputs, populations, projections, readouts, signals, diffusions, emissions, probes : tuple
    acting : ActingPart or None
        An environment, if trials are episodes of one.
    """

    rules: Rules
    control: dict[str, str]
    spike_count: str
    inputs: tuple[InputPart, ...]
    populations: tuple[PopulationPart, ...]
    projections: tuple[ProjectionPart, ...]
    readouts: tuple[ReadoutPart, ...]
    signals: tuple[LearningSignalPart, ...]
    diffusions: tuple[DiffusionPart, ...]
    emissions: tuple[EmissionPart, ...]
    probes: tuple[ProbePart, ...] = ()
    acting: ActingPart | None = None

    @property
    def plastic(self) -> tuple[ProjectionPart, ...]:
        """The projections whose weights learn."""
        return tuple(part for part in self.projections if part.plastic)

    @property
    def learning(self) -> tuple[ProjectionPart, ...]:
        """The projections whose weights or delays learn."""
        return tuple(part for part in self.projections if part.learns)

    @property
    def sources(self) -> dict[str, Spikes]:
        """Inputs, populations and the values that follow from these, by name."""
        spikes = [*(i.spikes for i in self.inputs), *(p.spikes for p in self.populations)]
        spikes += [values.spikes for values in self.values]
        return {one.name: one for one in spikes}

    @property
    def values(self) -> list[ValuesPart]:
        """The sources of values that follow from populations and from inputs."""
        parts: list[PopulationPart | InputPart] = [*self.populations, *self.inputs]
        return [values for part in parts for values in part.values]

    def readout(self, name: str) -> ReadoutPart:
        """A readout by its name."""
        return next(part for part in self.readouts if part.name == name)

    def is_mirrored(self, projection: ProjectionPart) -> bool:
        """Whether a readout hears a population that goes through a trial in reverse."""
        names = {part.name for part in self.populations if part.reverse_time}
        return projection.source in names and projection.target not in names

    def is_input(self, name: str) -> bool:
        """Whether a source is an input, or values that follow from one."""
        return any(
            name in (part.spikes.name, *(values.spikes.name for values in part.values))
            for part in self.inputs
        )

    def is_value(self, name: str) -> bool:
        """Whether a source is of values that follow from neurons."""
        return any(values.spikes.name == name for values in self.values)

    def data_of(self, projection: ProjectionPart) -> Inputs | None:
        """Where the values stand that a projection hands on, if it does."""
        parts = {part.spikes.name: part.inputs for part in self.inputs}
        parts |= {values.spikes.name: values.inputs for values in self.values}
        return parts[projection.source] if projection.analog else None
