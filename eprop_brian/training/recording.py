"""Records a trial: any quantity of chosen neurons and synapses, on any device.

The network runs with its `online` gradient program, which keeps the traces of every synapse in
every step, and probes copy what is to be recorded (`eprop_brian.network.probes`). All values come
from the network's equations, except for the threshold and the outputs, which are computed here from
what was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np

from eprop_brian.base.sparse import Matrix
from eprop_brian.base.suggestions import unknown
from eprop_brian.network.built import Capacity
from eprop_brian.network.probes import TRACE_SIZE
from eprop_brian.network.program import make_program
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.base import Task, hand_out
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.assembling import Assembly
from eprop_brian.training.labelled import errors_as_data
from eprop_brian.training.probing import Probing
from eprop_brian.training.quantities import Recordable, chosen_quantities, membrane_of
from eprop_brian.training.recorded import (
    Member,
    Recorded,
    RecordedPopulation,
    RecordedReadout,
    Recording,
)
from eprop_brian.training.session import Session
from eprop_brian.training.traces import TracedSynapse, check_synapses, largest_synapses

__all__ = ["Recording", "TracedSynapse", "not_recordable", "record", "record_outputs"]


def record(
    network: Network | Resolved,
    task_or_trials: Task | Trials,
    weights: Mapping[str, Matrix],
    *,
    quantities: Iterable[str] | None = None,
    neurons: Mapping[str, Sequence[int] | None] | None = None,
    synapses: int | Sequence[TracedSynapse] = 4,
    seed: int = 0,
    stream: str = "test",
    index: int = 0,
    learning_window: int | None = None,
    learning: bool = False,
    device: str = "runtime",
    dtype: str = "float64",
) -> Recording:
    """Run one trial and record it. The weights that are passed are not changed.

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
    quantities : iterable of str, optional
        What to record, by name: states (``"v"``), ``"psi"``, components of the eligibility vector
        (``"eps_a"``), and so on; ``"lif.v"`` is that of one population. A name that does not exist
        raises an error that lists all. Default: see `Recording`.
    neurons : mapping of str to sequence of int, optional
        Populations to record, with the indices of their neurons; None for all neurons of one.
        Default: all populations.
    synapses : int or sequence of TracedSynapse
        Synapses to trace, or their number. A number selects, from each population in turn, the
        neurons whose filtered traces are largest (sum of absolute values over the trial) among
        those recorded, and for each of them its largest input synapse and its largest recurrent
        synapse. The trial then runs twice.
    seed, stream, index
        They select the trial.
    learning_window : int, optional
        Steps at the end of the trial in which the error counts; default: the task's, or with
        `Trials` the whole trial.
    learning : bool
        Whether weights change while they are recorded (``"w"``), for networks in continuous
        operation. Traces of the last steps, whose learning signal comes after the trial, are NaN;
        with a cut-off they stand still where they are cut off.
    device : {"runtime", "cpp", "cuda"}
        Where the trial runs; ``runtime`` needs no compiler, the others compile for seconds and
        then run long trials of large networks faster.
    dtype : {"float64", "float32"}

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        If network and trials do not fit together, or there is no such quantity, neuron, synapse,
        trial or window.
    """
    network = as_resolved(network)
    refusal = not_recordable(network)
    if refusal:
        raise ValueError(refusal)
    chosen = chosen_quantities(network, quantities)
    _check_learning(network, chosen, learning)
    trials, window = _trials(network, task_or_trials, seed, stream, index, learning_window)
    check_synapses(network, synapses)
    for name, found in chosen.items():
        if trials.environment is None and any(q.of_episodes for q in found):
            raise ValueError(
                f"'{name}' is of episodes, but these trials have no environment: leave it away"
            )
    whole, shown = network, trials
    if any(readout.loss.of_labels for readout in network.readouts):
        network, trials, shown = errors_as_data(network, trials, weights, window, device, dtype)
    if not learning:
        network = replace(network, gradient="online", updates="batch", trace_cutoff_steps=None)
    indices = _chosen_neurons(network, neurons)
    chosen = {name: _of_chosen(name, found, indices) for name, found in chosen.items()}
    wanted = [q for found in chosen.values() for q in found]
    if not any(q.kind == "synapses" for q in wanted):
        synapses = ()
    probing = Probing(network, wanted, indices, synapses)
    n_ranked = synapses if isinstance(synapses, int) else 0
    trained = bool(network.keys.trained)

    def program(resolved: Resolved, capacity: Capacity):
        probed = replace(capacity, probes=probing.probes, ranks_traces=n_ranked > 0)
        return make_program(device, dtype)(resolved, probed)

    session = Session(network, program, trials, window, dict(weights), learning=trained)
    try:
        if n_ranked:
            start = session.state()
            _run(session, trials, learning)
            probing.choose(_largest(session, n_ranked, indices))
            session.restore(start)
        session.program.set(probing.places(session.program.built))
        _run(session, trials, learning)
        assembly = Assembly(whole, probing, session, shown, weights)
        recorded = {name: assembly.quantity(name, found) for name, found in chosen.items()}
    finally:
        session.close()
    return _recording(whole, trials, window, recorded, tuple(probing.synapses))


def record_outputs(
    network: Network | Resolved,
    task_or_trials: Task | Trials,
    weights: Mapping[str, Matrix],
    *,
    seed: int = 0,
    stream: str = "test",
    index: int = 0,
    learning_window: int | None = None,
    device: str = "runtime",
    dtype: str = "float64",
) -> Recording:
    """Run one trial and record its inputs, spikes and outputs, which any network has.

    Unlike `record` it takes networks in both directions of time, and readouts of frames, whose
    outputs are those of the frame in all of its steps.

    Parameters
    ----------
    network, task_or_trials, weights, seed, stream, index, learning_window, device, dtype
        As for `record`.

    Returns
    -------
    Recording
        With ``inputs``, ``spikes``, ``y``, ``output`` and ``target``.

    Raises
    ------
    ValueError
        If network and trials do not fit together, or there is no such trial or window.
    """
    from scipy.special import softmax  # which takes a while to import

    network = as_resolved(network)
    trials, window = _trials(network, task_or_trials, seed, stream, index, learning_window)
    with closing(
        Session(network, make_program(device, dtype), trials, window, dict(weights), learning=False)
    ) as session:
        session.run(trials, 1, learning=False)
        spikes, y = session.spikes(), session.readouts()
    n_steps, every = len(y), network.frame_steps
    y = y[np.arange(n_steps) // every * every + every - 1]
    output = y.copy()
    for readout in network.readouts:
        if readout.loss.signal == "p":
            columns = network.output_slices[readout.name]
            output[:, columns] = softmax(y[:, columns], axis=1)
    target = np.broadcast_to(trials.targets[trials.target[0]], y.shape)
    recorded = {
        name: _recorded(name, kind, values, slices)
        for name, kind, values, slices in (
            ("inputs", "inputs", trials.inputs[trials.pattern[0]], network.input_slices),
            ("spikes", "neurons", spikes, network.slices),
            ("y", "outputs", y, network.output_slices),
            ("output", "outputs", output, network.output_slices),
            ("target", "outputs", target, network.output_slices),
        )
    }
    return _recording(network, trials, window, recorded)


def _recorded(name: str, kind: str, values: np.ndarray, slices: Mapping[str, slice]) -> Recorded:
    """A quantity without unit of all members of the parts that have these columns."""
    parts = sorted(slices.items(), key=lambda part: part[1].start)
    members = tuple(Member(part, i) for part, s in parts for i in range(s.stop - s.start))
    return Recorded(name, kind, values.copy(), members, ("1",) * len(members))


def _recording(
    network: Resolved,
    trials: Trials,
    window: int,
    recorded: Mapping[str, Recorded],
    synapses: tuple[TracedSynapse, ...] = (),
) -> Recording:
    """What was recorded of a trial, with what a reader must know of trial and network."""
    n_steps, dt = trials.inputs.shape[1], float(network.dt) * 1e3
    readouts = network.readouts
    return Recording(
        time=np.arange(n_steps) * dt,
        dt=dt,
        counts=np.arange(n_steps) >= n_steps - max(r.window(window) for r in readouts)
        if trials.periods is None
        else trials.periods[trials.target[0]] > 0,
        populations=tuple(
            RecordedPopulation(p.name, p.size, membrane_of(p) or None) for p in network.populations
        ),
        readouts=tuple(
            RecordedReadout(
                r.name,
                network.output_slices[r.name],
                r.loss.softmax,
                n_steps - r.window(window) if trials.periods is None else 0,
            )
            for r in readouts
        ),
        synapses=synapses,
        quantities=recorded,
    )


def not_recordable(network: Resolved) -> str:
    """Why no trial of a network can be recorded step by step; ``""`` if it can."""
    why, instead = "", "Session(..., learning=False).readouts() has its outputs"
    if network.reversed:
        why = f"population '{min(network.reversed)}' has reverse_time"
        instead = f"Session.spikes has its spikes, and {instead}"
    elif network.frame_steps > 1:
        steps = f"a step every {network.frame_steps} of the network"
        why = f"readout '{network.readouts[0].name}' takes {steps}"
    if not why:
        return ""
    return f"{why}, so the traces of the trial cannot be recorded step by step: {instead}"


def _check_learning(
    network: Resolved, chosen: Mapping[str, Sequence[Recordable]], learning: bool
) -> None:
    """Raise ValueError unless weights are recorded where and only where they may change."""
    if learning and not network.continuous:
        raise ValueError(
            "learning=True is for continuous operation (updates = 'step' or 'spike'). With updates "
            "at the end of a batch, Trainer.train(..., weights=WeightRecorder(...)) records weights"
        )
    if not learning and any(q.variable == "w" for found in chosen.values() for q in found):
        raise ValueError("'w' does not change in this trial: record it with learning=True")


def _run(session: Session, trials: Trials, learning: bool) -> None:
    """Run the trial; without `learning` no update follows."""
    if learning:
        session.run(trials, 1)
    else:
        session.shares([session.data(trials)], 1, learning=session.capacity.learning)


def _largest(
    session: Session, n_synapses: int, neurons: Mapping[str, list[int]]
) -> list[TracedSynapse]:
    """The synapses of the largest traces in the trial that ran, onto the neurons recorded."""
    built = session.program.built
    sizes = {
        p.name: session.program.get(built.key(p.name, TRACE_SIZE))
        for p in built.plastic
        if not p.connection.to_readout
    }
    return largest_synapses(built, sizes, n_synapses, neurons)


def _chosen_neurons(
    network: Resolved, neurons: Mapping[str, Sequence[int] | None] | None
) -> dict[str, list[int]]:
    """Indices of the neurons to record, by population."""
    sizes = {p.name: p.size for p in network.populations}
    if neurons is None:
        neurons = dict.fromkeys(sizes)
    for name, indices in neurons.items():
        if name not in sizes:
            raise ValueError(unknown("population", name, sizes, "neurons"))
        for i in indices or ():
            if not 0 <= i < sizes[name]:
                raise ValueError(
                    f"neurons: '{name}' has neurons 0 to {sizes[name] - 1}, there is no {i}"
                )
    chosen = {
        name: range(size) if neurons[name] is None else neurons[name] or ()
        for name, size in sizes.items()
        if name in neurons
    }
    return {name: [*map(int, indices)] for name, indices in chosen.items() if len(indices)}


def _of_chosen(
    name: str, found: Sequence[Recordable], neurons: Mapping[str, list[int]]
) -> list[Recordable]:
    """A quantity of the populations whose neurons are recorded; those of no neurons stay."""
    left = [q for q in found if q.part in neurons or q.kind not in ("neurons", "pairs")]
    if not left:
        parts = ", ".join(q.part for q in found)
        raise ValueError(f"'{name}' is of {parts}, of which `neurons` has none")
    return left


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
        if trials.lengths is not None:
            trials = trials.alone(0)
        longest = min(task_or_trials.learning_window, trials.inputs.shape[1])
        window = longest if learning_window is None else learning_window
    else:
        if not 0 <= index < task_or_trials.n_trials:
            raise ValueError(f"index must be 0 to {task_or_trials.n_trials - 1}, not {index}")
        trials = task_or_trials.part(slice(index, index + 1))
        if trials.lengths is not None:
            trials = trials.alone(0)
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
