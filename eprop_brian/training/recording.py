"""Records one trial with everything that takes part in learning, as arrays.

The network runs on the ``runtime`` device with its `online` gradient program, which keeps the
traces of every synapse in every step, and Brian2 monitors read it at the end of each step. All
values come from the network's equations, except for the threshold, which is computed here from the
spike condition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from brian2 import NetworkOperation, NeuronGroup, StateMonitor
from brian2.codegen.runtime.numpy_rt import NumpyCodeObject
from scipy.special import softmax

from eprop_brian.base.sparse import Matrix
from eprop_brian.network.built import BuiltNetwork
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.network.program import make_program
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.steps.blocks import stored_name
from eprop_brian.symbolic.expressions import evaluate, symbol
from eprop_brian.symbolic.names import own
from eprop_brian.tasks.base import Task, hand_out
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.session import Session
from eprop_brian.training.traces import TracedSynapse, Traces, check_synapses

__all__ = ["RecordedPopulation", "RecordedReadout", "Recording", "TracedSynapse", "record"]


@dataclass(frozen=True)
class RecordedPopulation:
    """Position of a population's neurons in the arrays of a `Recording`.

    Attributes
    ----------
    name : str
    neurons : slice
        Its columns in arrays of shape (n_steps, n_recurrent).
    membrane : str or None
        The state on the left of its threshold; None if the left side is not a single state.
    unit : str
        SI unit of that state, ``"1"`` if it is dimensionless.
    """

    name: str
    neurons: slice
    membrane: str | None
    unit: str


@dataclass(frozen=True)
class RecordedReadout:
    """Position of a readout's outputs in the arrays of a `Recording`.

    Attributes
    ----------
    name : str
    outputs : slice
        Its columns in arrays of shape (n_steps, n_outputs).
    softmax : bool
        Whether its output is the softmax.
    first : int
        The first step in which its error may count.
    """

    name: str
    outputs: slice
    softmax: bool
    first: int = 0


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
        Steps in which the error of any readout counts: the learning window or the longest of the
        readouts' own, or the periods of the trial.
    populations : tuple of RecordedPopulation
    readouts : tuple of RecordedReadout
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
        L = sum_k B_jk signal_k, dimensionless, with the signals that have arrived, of the readouts
        that do not read a state of the neuron.
    y : float array, shape (n_steps, n_outputs)
        Readouts, dimensionless.
    output : float array, shape (n_steps, n_outputs)
        What the task scores: of each readout the softmax, or the outputs themselves.
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
        B_jk signal_k as it arrives at each neuron; None unless requested.
    """

    time: np.ndarray
    dt: float
    counts: np.ndarray
    populations: tuple[RecordedPopulation, ...]
    readouts: tuple[RecordedReadout, ...]
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
    def softmax(self) -> bool:
        """Whether all of `output` is the softmax of the readouts."""
        return all(readout.softmax for readout in self.readouts)

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
        raise ValueError(f"the recording has no population '{population}'; it has {names}")


def record(
    network: Network | Resolved,
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

    A network in continuous operation is recorded in a separate trial, which starts at rest.

    Parameters
    ----------
    network : Network or Resolved
        It is recorded with the gradient program `online`, which has the same traces as any other.
    task_or_trials : Task or Trials
        A task, whose first trial of `seed`, `stream` and `index` is recorded, or trials, of which
        number `index` is recorded.
    weights : mapping
        As `Network.initial_weights` gives them.
    seed, stream, index
        They select the trial.
    learning_window : int, optional
        Steps at the end of the trial in which the error counts; default: the task's, or with
        `Trials` the whole trial.
    synapses : int or sequence of TracedSynapse
        Synapses to trace, or their number. A number selects, from each population in turn, the
        neurons whose filtered traces are largest (sum of absolute values over the trial), and for
        each of them its largest input synapse and its largest recurrent synapse. The trial then
        runs twice.
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
    network = as_resolved(network)
    trials, window = _trials(network, task_or_trials, seed, stream, index, learning_window)
    check_synapses(network, synapses)
    n_runs = 2 if isinstance(synapses, int) and synapses else 1
    repeated = replace(
        trials,
        pattern=np.repeat(trials.pattern, n_runs),
        target=np.repeat(trials.target, n_runs),
    )
    network = replace(network, gradient="online", updates="batch", trace_cutoff_steps=None)
    session = Session(network, make_program("runtime"), repeated, window, dict(weights))
    built, n_steps = session.program.built, session.n_steps
    traces = Traces(built, n_steps * (n_runs - 1), synapses)
    monitors = _Monitors(built, n_steps, transmitted)
    observer = NetworkOperation(
        traces.observe, clock=built.groups["control"].clock, when="end", name="trace_recorder"
    )
    built.brian2_network.add(*monitors.by_group.values(), observer)
    session.run(repeated, n_runs)
    populations, readouts = _recorded_populations(network), network.readouts
    v = threshold = None
    if all(p.membrane for p in populations):
        v = monitors.joined({p.name: own(p.membrane) for p in populations if p.membrane})
        threshold = np.concatenate(
            [_threshold(p, monitors.recorded, network, weights) for p in network.populations], 1
        )
    dt = float(network.dt) * 1e3
    y = monitors.joined({r.name: "y" for r in readouts})
    target = trials.targets[trials.target[0]]
    eligibility_trace, filtered_trace = traces.arrays()
    return Recording(
        time=np.arange(n_steps) * dt,
        dt=dt,
        counts=np.arange(n_steps) >= n_steps - max(r.window(window) for r in readouts)
        if trials.periods is None
        else trials.periods[trials.target[0]] > 0,
        populations=populations,
        readouts=tuple(
            RecordedReadout(
                r.name,
                network.output_slices[r.name],
                r.loss.softmax,
                n_steps - r.window(window) if trials.periods is None else 0,
            )
            for r in readouts
        ),
        inputs=trials.inputs[trials.pattern[0]].copy(),
        spikes=session.spikes(),
        v=v,
        threshold=threshold,
        psi=monitors.joined({p.name: "psi" for p in populations}),
        learning_signal=monitors.joined({p.name: "L" for p in populations}),
        y=y,
        output=_outputs(network, y),
        target=np.array(np.broadcast_to(target, (n_steps, network.n_outputs))),
        error=monitors.joined({r.name: "error" for r in readouts}),
        synapses=tuple(traces.synapses),
        eligibility_trace=eligibility_trace,
        filtered_trace=filtered_trace,
        transmitted=monitors.transmitted() if transmitted else None,
    )


def _outputs(network: Resolved, y: np.ndarray) -> np.ndarray:
    """Outputs of all readouts in every step; a program has probabilities only where they count."""
    output = y.copy()
    for readout in network.readouts:
        if readout.loss.signal == "p":
            own = network.output_slices[readout.name]
            output[:, own] = softmax(y[:, own], axis=1)
    return output


class _Monitors:
    """Brian2 monitors of a built network, which read it at the end of every step.

    Parameters
    ----------
    built : BuiltNetwork
    n_steps : int
        Number of the last steps, which are recorded.
    transmitted : bool
        Whether to record learning-signal connections.
    """

    def __init__(self, built: BuiltNetwork, n_steps: int, transmitted: bool) -> None:
        self._built, self._n_steps = built, n_steps
        network = built.network
        variables = {
            **{p.name: ["psi", "L", *map(own, _threshold_states(p))] for p in network.populations},
            **{r.name: ["y", "error"] for r in network.readouts},
        }
        self.by_group = {
            name: _monitor(built.groups[name], names) for name, names in variables.items()
        }
        if transmitted:
            self.by_group |= {f.name: _monitor(f.group, ["transmitted"]) for f in built.feedback}

    def recorded(self, group: str, variable: str) -> np.ndarray:
        """A variable of a group in every step, (n_steps, size)."""
        name = stored_name(self._built.groups[group], variable)
        return np.array(getattr(self.by_group[group], f"{name}_").T[-self._n_steps :])

    def joined(self, variables: Mapping[str, str]) -> np.ndarray:
        """A variable of several groups, side by side."""
        return np.concatenate([self.recorded(*item) for item in variables.items()], axis=1)

    def transmitted(self) -> np.ndarray:
        """Signals at each neuron from each output, (n_steps, n_recurrent, n_outputs)."""
        network = self._built.network
        values = np.zeros((self._n_steps, network.n_recurrent, network.n_outputs))
        for f in self._built.feedback:
            steps = [f.by_pair(step).T for step in self.recorded(f.name, "transmitted")]
            values[:, network.slices[f.target], network.output_slices[f.source]] += np.stack(steps)
        return values


def _trials(
    network: Resolved,
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
        if not 0 <= index < task_or_trials.n_trials:
            raise ValueError(f"index must be 0 to {task_or_trials.n_trials - 1}, not {index}")
        trials = task_or_trials.part(slice(index, index + 1))
        window = trials.inputs.shape[1] if learning_window is None else learning_window
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


def _monitor(group: NeuronGroup, variables: list[str]) -> StateMonitor:
    """Record variables of all members at the end of every step, after the network's step."""
    names = [stored_name(group, variable) for variable in variables]
    return StateMonitor(group, names, record=True, when="end", codeobj_class=NumpyCodeObject)


def _recorded_populations(network: Resolved) -> tuple[RecordedPopulation, ...]:
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


def _membrane_state(population: PopulationGroup) -> str | None:
    """The left side of the threshold if it is a single state."""
    step = population.system.step
    left = step.threshold.partition(">")[0].strip()
    return left if left in step.states else None


def _threshold_states(population: PopulationGroup) -> list[str]:
    """States that the spike condition reads."""
    step = population.system.step
    read = {s.name for s in step.margin.free_symbols}
    return [state for state in step.states if state in read]


def _threshold(
    population: PopulationGroup,
    recorded: Callable[[str, str], np.ndarray],
    network: Resolved,
    weights: Mapping[str, Matrix],
) -> np.ndarray:
    """The right side of the spike condition, shape (n_steps, size)."""
    step, dt = population.system.step, float(network.dt)
    states = {s: recorded(population.name, own(s)) for s in _threshold_states(population)}
    membrane = _membrane_state(population)
    if membrane is None:
        raise ValueError(
            f"the threshold of '{population.name}' does not compare a single state: "
            f"{step.threshold}"
        )
    right = symbol(membrane) - step.margin
    where = f"neuron '{population.neuron.name}', threshold"
    learned = {name: weights[f"{population.name}.{name}"] for name in population.learned}
    threshold = evaluate(right, {**step.values(dt, learned), "dt": dt, **states}, where)
    return np.broadcast_to(threshold, states[membrane].shape)
