"""The parts of a network that a step goes through, as lists with names.

A part has a name. Its blocks are called ``what_of_name`` (see `block_name`); an option that is not
in use has no block, and the schedule leaves it out.
"""

from __future__ import annotations

from dataclasses import dataclass

from eprop_brian.steps.spiking import Follow, Inputs, Spikes, Synapses

__all__ = [
    "DiffusionPart",
    "InputPart",
    "LearningSignalPart",
    "NetworkParts",
    "PopulationPart",
    "ProjectionPart",
    "ReadingPart",
    "ReadoutPart",
    "Rules",
    "block_name",
]


def block_name(part: str, what: str) -> str:
    """The name of a part's block."""
    return f"{what}_of_{part}"


@dataclass(frozen=True)
class InputPart:
    """A source whose spikes, or values, come from data, or that spikes in every step.

    Attributes
    ----------
    spikes : Spikes
    inputs : Inputs or None
        Where its data stand; None: it spikes in every step.
    """

    spikes: Spikes
    inputs: Inputs | None


@dataclass(frozen=True)
class ReadingPart:
    """A source of the values that are read of a population's neurons, in every step.

    Attributes
    ----------
    spikes : Spikes
    inputs : Inputs or None
        Where the values of a trial are kept.
    """

    spikes: Spikes
    inputs: Inputs | None


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
    readings : tuple of ReadingPart
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
        Array in which a learning signal that diffuses is kept for the backward pass.
    """

    spikes: Spikes
    spike_count: str
    later: tuple[str, ...] = ()
    readings: tuple[ReadingPart, ...] = ()
    window_signals: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    tile: int = 0
    signals: tuple[str, ...] = ()
    fused: tuple[tuple[str, int], ...] = ()
    heard: str = ""

    @property
    def name(self) -> str:
        """The name of its group."""
        return self.spikes.name


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
    since, updates, skipped : str
        Arrays of continuous operation.
    lags : tuple of int
        Steps before and after an arrival that the gradient of a learned delay reads; none if delays
        do not learn.
    """

    name: str
    source: str
    target: str
    synapses: Synapses
    delay: int
    analog: bool
    plastic: bool = False
    pre_rows: int = 0
    pre_window: tuple[str, ...] = ()
    gradient: str | None = None
    sums: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    since: str = ""
    updates: str = ""
    skipped: str = ""
    lags: tuple[int, ...] = ()

    @property
    def learns(self) -> bool:
        """Whether weights or delays learn."""
        return self.plastic or bool(self.lags)


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
        Arrays of the history that the loss writes: errors and signals.
    earlier : str or None
        Array of the signals of before a call.
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
    """

    name: str
    n: int
    before: int
    n_outputs: int
    errors: tuple[str, ...]
    earlier: str | None
    target: str
    output: str
    target_steps: int
    period: str | None
    n_answers: int
    window_start: str


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
    """

    name: str
    readout: str
    population: str
    synapses: Synapses
    signal: str
    delay: str | None
    follow: Follow | None


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
class Rules:
    """How a network learns, and what it keeps for it.

    Attributes
    ----------
    n_steps : int
        Of a trial.
    learning, online, continuous : bool
    updates : str
        ``"batch"``, ``"step"`` or ``"spike"``.
    cutoff : int or None
        Steps after which traces are cut off.
    never : float
        Steps since the last spike of a neuron that has not spiked.
    steps_per_pass : int
        Steps that a pass over the synapses does.
    window_rows, later_rows, late_rows, signal_rows : int
        Steps kept: of what traces read; ahead, of what arrives later; of results after a trial; of
        errors before it.
    lag : int
        Steps by which readouts see spikes late.
    clip_norm, clip_factor : str
        Arrays, if the norm of gradients is clipped.
    stages : tuple of str
        Parts of a trial whose time is measured.
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
    lag: int
    clip_norm: str = ""
    clip_factor: str = ""
    stages: tuple[str, ...] = ()

    @property
    def by_trial(self) -> bool:
        """Whether trials add to sums of which updates are made."""
        return self.learning and not self.continuous

    @property
    def factored(self) -> bool:
        """Whether gradients come from a backward pass."""
        return self.learning and not self.online


@dataclass(frozen=True)
class NetworkParts:
    """All parts of a network.

    Attributes
    ----------
    rules : Rules
    control : dict of str to str
        Arrays of the numbers that steer a call.
    spike_count : str
        Array of the spikes of every trial.
    inputs, populations, projections, readouts, signals, diffusions : tuple
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
        """Inputs, populations and what is read of these, by name."""
        spikes = [*(i.spikes for i in self.inputs), *(p.spikes for p in self.populations)]
        spikes += [reading.spikes for reading in self._readings]
        return {one.name: one for one in spikes}

    @property
    def _readings(self) -> list[ReadingPart]:
        return [reading for part in self.populations for reading in part.readings]

    def readout(self, name: str) -> ReadoutPart:
        """A readout by its name."""
        return next(part for part in self.readouts if part.name == name)

    def is_input(self, name: str) -> bool:
        """Whether a source is an input."""
        return any(part.spikes.name == name for part in self.inputs)

    def data_of(self, projection: ProjectionPart) -> Inputs | None:
        """Where the values stand that a projection hands on, if it does."""
        parts = {part.spikes.name: part.inputs for part in self.inputs}
        parts |= {part.spikes.name: part.inputs for part in self._readings}
        return parts[projection.source] if projection.analog else None
