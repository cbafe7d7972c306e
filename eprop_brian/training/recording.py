"""Recording: one trial with everything that takes part in learning, as arrays.

The network runs on the ``runtime`` device with its `online` gradient program, whose traces stand on
the synapses for every step, and Brian2 monitors read it at the end of each step. All values are
those of the network's own equations; only the threshold's value is worked out here, from the spike
condition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, zip_longest

import numpy as np
from brian2 import NetworkOperation, NeuronGroup, StateMonitor
from brian2.codegen.runtime.numpy_rt import NumpyCodeObject

from eprop_brian.base.sparse import Matrix
from eprop_brian.devices import make_program
from eprop_brian.network.blocks import stored_name
from eprop_brian.network.built import BuiltNetwork, Projection
from eprop_brian.network.spec import Network, Population
from eprop_brian.symbolic.expressions import evaluate, symbol
from eprop_brian.symbolic.names import own
from eprop_brian.tasks.base import Task, Trials, hand_out
from eprop_brian.training.session import Session

__all__ = ["RecordedPopulation", "Recording", "TracedSynapse", "record"]


@dataclass(frozen=True)
class RecordedPopulation:
    """Where a population's neurons stand in the arrays of a `Recording`.

    Attributes
    ----------
    name : str
    neurons : slice
        Its columns in arrays of shape (n_steps, n_recurrent).
    membrane : str or None
        The state on the left of its threshold; None if there is more than one state or none.
    unit : str
        SI unit of that state, ``"1"`` if it has none.
    """

    name: str
    neurons: slice
    membrane: str | None
    unit: str


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
    """

    source: str
    pre: int
    target: str
    post: int

    @property
    def projection(self) -> str:
        """Name of the projection it belongs to."""
        return f"{self.source}_to_{self.target}"

    def __str__(self) -> str:
        source = "input" if self.source == "inputs" else self.source
        return f"{source} {self.pre} → {self.target} {self.post}"


@dataclass(frozen=True, eq=False)
class Recording:
    """One trial of a network. Columns of recurrent neurons are in the order of the populations.

    Attributes
    ----------
    time : float array, shape (n_steps,)
        Start of every step in ms.
    dt : float
        Length of a step in ms.
    counts : bool array, shape (n_steps,)
        Steps in which the error counts: the learning window, or the periods of the trial.
    populations : tuple of RecordedPopulation
    softmax : bool
        Whether `output` is the softmax of the readouts.
    inputs : bool or float array, shape (n_steps, n_inputs)
        Spikes, or analog values. Both act in their own step.
    spikes : bool array, shape (n_steps, n_recurrent)
        Acts on recurrent neurons in the step after, on the readouts in its own.
    v : float array, shape (n_steps, n_recurrent), or None
        The membrane: the state on the left of the threshold, in its SI unit, as the spike condition
        sees it (before the reset). None if the left side is not a single state in every population.
    threshold : float array, shape (n_steps, n_recurrent), or None
        The right side of the spike condition, in the unit of `v`.
    psi : float array, shape (n_steps, n_recurrent)
        Surrogate derivative dz/dv, in the inverse unit of `v`; while refractory the neuron's
        ``refractory_surrogate``.
    learning_signal : float array, shape (n_steps, n_recurrent)
        L = sum_k B_jk signal_k, dimensionless, with the signals that have arrived.
    y : float array, shape (n_steps, n_outputs)
        Readouts, dimensionless.
    output : float array, shape (n_steps, n_outputs)
        What the task scores: the softmax of the readouts, or the readouts themselves.
    target : float array, shape (n_steps, n_outputs)
        What the output should be.
    error : float array, shape (n_steps, n_outputs)
        dE/dy, dimensionless; 0 outside the learning window.
    synapses : tuple of TracedSynapse
    eligibility_trace : float array, shape (n_steps, n_synapses)
        dz/dw along the neuron's own past, in the inverse unit of the weight.
    filtered_trace : float array, shape (n_steps, n_synapses)
        The same filtered as the readout filters spikes.
    transmitted : float array, shape (n_steps, n_recurrent, n_outputs), or None
        B_jk signal_k as it arrives at each neuron, if it was asked for.
    """

    time: np.ndarray
    dt: float
    counts: np.ndarray
    populations: tuple[RecordedPopulation, ...]
    softmax: bool
    inputs: np.ndarray
    spikes: np.ndarray
    v: np.ndarray | None
    threshold: np.ndarray | None
    psi: np.ndarray
    learning_signal: np.ndarray
    y: np.ndarray
    output: np.ndarray
    target: np.ndarray
    error: np.ndarray
    synapses: tuple[TracedSynapse, ...]
    eligibility_trace: np.ndarray
    filtered_trace: np.ndarray
    transmitted: np.ndarray | None = None

    @property
    def n_steps(self) -> int:
        """Steps of the trial."""
        return len(self.time)

    def column(self, population: str, neuron: int) -> int:
        """Column of a population's neuron in the arrays.

        Raises
        ------
        ValueError
            If there is no such population.
        """
        for recorded in self.populations:
            if recorded.name == population:
                return recorded.neurons.start + neuron
        names = ", ".join(p.name for p in self.populations)
        raise ValueError(f"there is no population '{population}'; there are {names}")


def record(
    network: Network,
    task_or_trials: Task | Trials,
    weights: Mapping[str, Matrix],
    *,
    seed: int = 0,
    stream: str = "test",
    index: int = 0,
    learning_window: int | None = None,
    synapses: int | Sequence[TracedSynapse] = 4,
    transmitted: bool = False,
) -> Recording:
    """Run one trial and record it. The weights are not changed.

    A network in continuous operation is recorded in a trial of its own, which starts at rest.

    Parameters
    ----------
    network : Network
        Whatever its gradient program, it is recorded with `online`, which has the same traces.
    task_or_trials : Task or Trials
        A task, whose first trial of `seed`, `stream` and `index` is taken, or trials, of which
        number `index` is taken.
    weights : mapping
        As `Network.initial_weights` gives them.
    seed, stream, index
        Which trial.
    learning_window : int, optional
        Steps at the end of the trial in which the error counts; default: the task's, or with
        `Trials` the whole trial.
    synapses : int or sequence of TracedSynapse
        How many synapses to trace, or which. A number chooses, in turn from each population, the
        neurons whose filtered traces are largest (sum of absolute values over the trial), and of
        each its largest input synapse and its largest recurrent synapse. Choosing runs the trial
        twice.
    transmitted : bool
        Whether to record what each learning-signal connection transmits.

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        If network and trials do not fit together, or there is no such trial, synapse or window.
    """
    trials, window = _trials(network, task_or_trials, seed, stream, index, learning_window)
    _check_synapses(network, synapses)
    n_runs = 2 if isinstance(synapses, int) and synapses else 1
    repeated = replace(
        trials,
        pattern=np.repeat(trials.pattern, n_runs),
        target=np.repeat(trials.target, n_runs),
    )
    network = network.with_options(gradient="online", updates="batch", trace_cutoff=None)
    session = Session(network, make_program("runtime"), repeated, window, dict(weights))
    built, n_steps = session.program.built, session.n_steps
    traces = _Traces(built, n_steps * (n_runs - 1), synapses)
    signal = network.loss.signal
    variables = {p.name: ["psi", "L", *map(own, _threshold_states(p))] for p in network.populations}
    variables["readout"] = ["y", "error", *({signal} - {"y"})]
    monitors = {name: _monitor(built.groups[name], names) for name, names in variables.items()}
    observer = NetworkOperation(
        traces.observe, clock=built.groups["control"].clock, when="end", name="trace_recorder"
    )
    connections = built.feedback if transmitted else []
    monitors |= {f.name: _monitor(f.group, ["transmitted"]) for f in connections}
    built.brian2_network.add(*monitors.values(), observer)
    session.run(repeated, n_runs)

    def recorded(group: str, variable: str) -> np.ndarray:
        recorded_as = stored_name(built.groups[group], variable)
        return np.array(getattr(monitors[group], f"{recorded_as}_").T[-n_steps:])

    def joined(variable: str) -> np.ndarray:
        return np.concatenate([recorded(p.name, variable) for p in network.populations], axis=1)

    populations = _recorded_populations(network)
    v = threshold = None
    if all(p.membrane for p in populations):
        v = np.concatenate([recorded(p.name, own(p.membrane)) for p in populations], axis=1)
        threshold = np.concatenate(
            [_threshold(p, recorded, network, weights) for p in network.populations], 1
        )
    dt = float(network.dt) * 1e3
    target = trials.targets[trials.target[0]]
    eligibility_trace, filtered_trace = traces.arrays()
    return Recording(
        time=np.arange(n_steps) * dt,
        dt=dt,
        counts=np.arange(n_steps) >= n_steps - window
        if trials.periods is None
        else trials.periods[trials.target[0]] > 0,
        populations=populations,
        softmax=network.loss.softmax,
        inputs=trials.inputs[trials.pattern[0]].copy(),
        spikes=session.spikes(),
        v=v,
        threshold=threshold,
        psi=joined("psi"),
        learning_signal=joined("L"),
        y=recorded("readout", "y"),
        output=recorded("readout", signal),
        target=np.array(np.broadcast_to(target, (n_steps, network.n_outputs))),
        error=recorded("readout", "error"),
        synapses=tuple(traces.synapses),
        eligibility_trace=eligibility_trace,
        filtered_trace=filtered_trace,
        transmitted=np.concatenate(
            [
                np.stack([f.by_pair(step).T for step in recorded(f.name, "transmitted")])
                for f in connections
            ],
            axis=1,
        )
        if connections
        else None,
    )


def _trials(
    network: Network,
    task_or_trials: Task | Trials,
    seed: int,
    stream: str,
    index: int,
    learning_window: int | None,
) -> tuple[Trials, int]:
    """The one trial to record and its learning window."""
    if isinstance(task_or_trials, Task):
        trials = hand_out(task_or_trials, seed, stream, index, 1)
        window = task_or_trials.learning_window if learning_window is None else learning_window
    else:
        given = task_or_trials
        if not 0 <= index < given.n_trials:
            raise ValueError(f"index must be 0 to {given.n_trials - 1}, not {index}")
        trials = given.part(slice(index, index + 1))
        window = given.inputs.shape[1] if learning_window is None else learning_window
    sizes = trials.inputs.shape[2], trials.targets.shape[2]
    if sizes != (network.n_inputs, network.n_outputs):
        raise ValueError(
            f"the trials have {sizes[0]} inputs and {sizes[1]} outputs, the network "
            f"{network.n_inputs} and {network.n_outputs}"
        )
    if not 1 <= window <= trials.inputs.shape[1]:
        raise ValueError(
            f"learning_window must be 1 to {trials.inputs.shape[1]} steps, not {window}"
        )
    return trials, window


def _check_synapses(network: Network, synapses: int | Sequence[TracedSynapse]) -> None:
    if isinstance(synapses, int):
        if synapses < 0:
            raise ValueError(f"synapses must be at least 0, not {synapses}")
        return
    targets = {p.name: p.size for p in network.populations}
    sources = {"inputs": network.n_inputs, **targets}
    for synapse in synapses:
        exists = 0 <= synapse.pre < sources.get(synapse.source, 0)
        exists &= 0 <= synapse.post < targets.get(synapse.target, 0)
        exists &= not exists or _is_connected(network, synapse)
        if not exists or (synapse.source, synapse.pre) == (synapse.target, synapse.post):
            raise ValueError(f"the network has no synapse '{synapse}'")


def _is_connected(network: Network, synapse: TracedSynapse) -> bool:
    """Whether a sparse network has this synapse."""
    first = {name: columns.start for name, columns in network.slices.items()}
    matrix = "w_rec" if synapse.source in first else "w_in"
    adjacency = network.adjacency.get(matrix)
    post, pre = first[synapse.target] + synapse.post, first.get(synapse.source, 0) + synapse.pre
    return adjacency is None or bool(adjacency[post, pre])


def _monitor(group: NeuronGroup, variables: list[str]) -> StateMonitor:
    """Record variables of all members at the end of every step, after the network's step."""
    names = [stored_name(group, variable) for variable in variables]
    return StateMonitor(group, names, record=True, when="end", codeobj_class=NumpyCodeObject)


def _recorded_populations(network: Network) -> tuple[RecordedPopulation, ...]:
    populations = []
    for population in network.populations:
        membrane = _membrane_state(population)
        populations.append(
            RecordedPopulation(
                name=population.name,
                neurons=network.slices[population.name],
                membrane=membrane,
                unit=population.system.step.units[membrane] if membrane else "1",
            )
        )
    return tuple(populations)


def _membrane_state(population: Population) -> str | None:
    """The left side of the threshold if it is a single state."""
    step = population.system.step
    left = step.threshold.partition(">")[0].strip()
    return left if left in step.states else None


def _threshold_states(population: Population) -> list[str]:
    """States that the spike condition reads."""
    step = population.system.step
    read = {s.name for s in step.margin.free_symbols}
    return [state for state in step.states if state in read]


def _threshold(
    population: Population,
    recorded: Callable[[str, str], np.ndarray],
    network: Network,
    weights: Mapping[str, Matrix],
) -> np.ndarray:
    """The right side of the spike condition, shape (n_steps, size)."""
    step, dt = population.system.step, float(network.dt)
    states = {s: recorded(population.name, own(s)) for s in _threshold_states(population)}
    membrane = _membrane_state(population)
    right = symbol(membrane) - step.margin
    where = f"neuron '{population.neuron.name}', threshold"
    learned = {name: weights[f"{population.name}.{name}"] for name in population.learned}
    threshold = evaluate(right, {**step.values(dt, learned), "dt": dt, **states}, where)
    return np.broadcast_to(threshold, states[membrane].shape)


class _Traces:
    """Follows the traces of some synapses, given or chosen after `n_ranking` steps.

    All traces of a trial would be (n_steps, n_synapses) per projection, too many to keep, and
    which are worth keeping is known only after a trial.
    """

    def __init__(
        self, built: BuiltNetwork, n_ranking: int, synapses: int | Sequence[TracedSynapse]
    ) -> None:
        self.projections = {p.name: p for p in built.projections if p.matrix != "w_out"}
        self.populations = [p.name for p in built.network.populations]
        self.n_ranking = n_ranking
        self.wanted = synapses if isinstance(synapses, int) else len(synapses)
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
        projection = self.projections[synapse.projection]
        return _trace(projection, variable)[projection.place(synapse.pre, synapse.post)]

    def _largest(self) -> list[TracedSynapse]:
        """The wanted number of synapses, in turn from each population; the first of equals."""
        by_population = (self._largest_of(name) for name in self.populations)
        neurons = (n for turn in zip_longest(*by_population) for n in turn if n is not None)
        return list(islice((synapse for neuron in neurons for synapse in neuron), self.wanted))

    def _largest_of(self, population: str) -> list[list[TracedSynapse]]:
        """Of every neuron its largest input and recurrent synapse, largest neurons first."""
        projections = [p for p in self.projections.values() if p.target == population]
        found: list[list[TracedSynapse]] = [[] for _ in range(projections[0].n_post)]
        total = np.zeros(len(found))
        for matrix in ("w_in", "w_rec"):
            parts = [p for p in projections if p.matrix == matrix]
            largest = np.full(len(found), -1.0)
            source, pre = np.zeros((2, len(found)), dtype=int)
            for number, part in enumerate(parts):
                sizes, senders = _largest_into(part, self.sums[part.name])
                larger = sizes > largest
                largest[larger], pre[larger], source[larger] = (
                    sizes[larger],
                    senders[larger],
                    number,
                )
            for post in np.flatnonzero(largest >= 0):
                name = parts[source[post]].source
                found[post].append(TracedSynapse(name, int(pre[post]), population, int(post)))
            total += np.maximum(largest, 0)
        return [found[post] for post in np.argsort(-total, kind="stable")]


def _largest_into(projection: Projection, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
    values = values[: len(projection.post)]
    # By neuron, largest first: the first of every neuron counts.
    order = np.lexsort((projection.pre, -values, projection.post))
    posts, first = np.unique(projection.post[order], return_index=True)
    largest, senders = np.full(projection.n_post, -1.0), np.zeros(projection.n_post, dtype=int)
    largest[posts], senders[posts] = values[order[first]], projection.pre[order[first]]
    return largest, senders


def _trace(projection: Projection, variable: str) -> np.ndarray:
    """A synaptic variable of the running network, as it is stored."""
    return projection.group.variables[stored_name(projection.group, variable)].get_value()
