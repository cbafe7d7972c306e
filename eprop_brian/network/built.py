"""A built network: its sizes, its projections, and how arrays go into and out of it.

`eprop_brian.network.build` makes one; a session fills it and reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from brian2 import Network as Brian2Network
from brian2 import NeuronGroup
from brian2.utils.stringtools import get_identifiers

from eprop_brian.base.sparse import Matrix, with_values
from eprop_brian.equations.environment import Environment
from eprop_brian.equations.optimizers import Optimizer
from eprop_brian.network.episodes import Acting, environment_parameters
from eprop_brian.network.exogenous import (
    needs_index,
    sample_group,
    sample_rows,
    sampled,
    samples_of,
)
from eprop_brian.network.graph import Connection, PopulationGroup, SignalConnection, SignalFilter
from eprop_brian.network.keys import OptimizerState
from eprop_brian.network.learned_delays import DELAY, rounded
from eprop_brian.network.optimization import update_statements
from eprop_brian.network.probes import Probe
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.resolved import Resolved
from eprop_brian.steps.blocks import Store, stored_name
from eprop_brian.symbolic.names import OPTIMIZER, READOUT, SYNAPSE, own, owned, substituted
from eprop_brian.symbolic.programs import VOLTAGE_SCALE, parameter_sums
from eprop_brian.symbolic.scope import neuron_names, scoped
from eprop_brian.symbolic.transmission import Transmission

__all__ = [
    "NEVER",
    "SHARE",
    "BuiltNetwork",
    "Capacity",
    "dependent_constants",
    "emission_names",
    "emission_values",
    "neuron_values",
    "optimizer_names",
    "optimizer_statements",
    "regularization",
    "state_variable",
]

#: Value of `since` for a neuron that has not spiked yet.
NEVER = 1e9

#: Trials whose gradients are summed before the sum enters the batch's. Shares of a
#: fixed size make results bit-identical, whether one process runs a batch or several.
SHARE = 8


@dataclass(frozen=True)
class Capacity:
    """Sizes that a built network reserves for its data.

    Attributes
    ----------
    n_steps : int
        Steps of a trial.
    n_patterns, n_targets : int
        Rows of inputs and targets held at once.
    target_steps : int
        Steps of a target: `n_steps`, or 1 if it is constant over the trial.
    n_trials : int
        Trials of one call.
    n_answers : int
        Most periods of a trial that are scored one by one; 0 where the learning window is the last
        steps of every trial.
    most_labels : int
        Most labels of a trial; 0 where trials have none.
    analog : bool
        Whether inputs are values rather than spikes.
    learning : bool
        Whether the program can learn. One that cannot runs trials and nothing else: it has no
        traces, histories, gradients, feedback weights and states of an optimizer.
    environment : Environment or None
        In which trials are episodes; `n_steps` then are those of the longest.
    probes : tuple of Probe
        What is recorded of every step; a trial's is there until the next begins.
    ranks_traces : bool
        Whether the size of every synapse's filtered trace is summed up over a trial.
    has_lengths : bool
        Whether trials have lengths of their own, up to `n_steps`.
    """

    n_steps: int
    n_patterns: int
    n_targets: int
    target_steps: int
    n_trials: int
    n_answers: int = 0
    most_labels: int = 0
    analog: bool = False
    learning: bool = True
    environment: Environment | None = None
    probes: tuple[Probe, ...] = ()
    ranks_traces: bool = False
    has_lengths: bool = False


def regularization(network: Resolved) -> tuple[str, ...]:
    """Numbers that an update reads for the options of regularisation and clipping in use."""
    return (
        *((VOLTAGE_SCALE,) if network.c_v else ()),
        *(("c_l2",) if network.c_l2 else ()),
        *(("clip_value",) if network.clip_value is not None else ()),
        *(("clip_norm", "clip_factor") if network.clip_norm is not None else ()),
    )


def state_variable(state: str) -> str:
    """The variable that holds an optimizer's state, as the statements call it."""
    return own(state, OPTIMIZER)


def optimizer_names(network: Resolved, optimizer: Optimizer) -> dict[str, str]:
    """States and parameters of an optimizer as the statements call them.

    The numbers of all optimizers stand side by side: those of the first have its names alone, those
    of the others a number behind, which no user's name can have.
    """
    number = network.optimizers.index(optimizer)
    parameters = owned(optimizer.parameters, OPTIMIZER)
    if number:
        parameters = {name: f"{form}_{number + 1}" for name, form in parameters.items()}
    return {**{state: state_variable(state) for state in optimizer.states}, **parameters}


def optimizer_statements(network: Resolved, optimizer: Optimizer) -> list[str]:
    """The statements of an update."""
    names = optimizer_names(network, optimizer)
    return [substituted(line, names) for line in update_statements(optimizer)]


def dependent_constants(population: PopulationGroup) -> list[str]:
    """Constants of a population that change with its learned parameters, in order."""
    changing = set(population.learned)
    for name, expression in population.system.step.constants.items():
        if get_identifiers(expression) & changing:
            changing.add(name)
    return [name for name in population.system.step.constants if name in changing]


def neuron_values(
    population: PopulationGroup, dt: float, learning: bool = True
) -> dict[str, np.ndarray | float]:
    """What a population's equations read besides its states, in SI units.

    By the names that its statements have.

    Without `learning`, not what only an update of learned parameters reads.
    """
    step = population.system.step
    names = neuron_names(step)
    # Brian2 supplies the units that the equations name.
    values = {names[name]: v for name, v in step.values(dt).items() if name in names}
    values["refractory_steps"] = step.refractory_steps(dt)
    if needs_index(population):
        values["index"] = np.arange(float(population.size))
    learned = scoped(population.system).learned
    slopes = [s for parameter in learned.values() for s in parameter.slopes]
    computed = [names[name] for name in dependent_constants(population)]
    for name in (*learned, *computed, *(slopes if learning else [])):
        # The program computes those that follow from others.
        values[name] = np.broadcast_to(values.get(name, 0.0), population.size)
    for name, bounds in ((own(n), b) for n, b in population.learned.items()) if learning else ():
        values |= bounds.values(name)
    initial = step.initial_values(dt)
    return {**values, **{f"{names[s]}_initial": v for s, v in initial.items()}}


def emission_names(own_filter: SignalFilter) -> dict[str, str]:
    """Parameters and constants of an emitted signal's filter, as the statements call them."""
    return owned([*own_filter.values], READOUT)


def emission_values(own_filter: SignalFilter) -> dict[str, Any]:
    """Their SI values, by the names that they have in the statements."""
    names = emission_names(own_filter)
    return {names[name]: value for name, value in own_filter.values.items()}


@dataclass
class BuiltNetwork:
    """Brian2 objects of a network.

    Attributes
    ----------
    network : Resolved
    capacity : Capacity
    brian2_network : brian2.Network
        Holds every object; add monitors here before the first run.
    groups : dict of str to NeuronGroup or Store
        ``inputs``, ``readout``, each population by its name and each projection as
        ``source_to_target`` are a `NeuronGroup`; trials, histories and lists of spikes a `Store`.
    projections : list of BuiltProjection
        Those of the connections.
    feedback : list of BuiltProjection
        Learning-signal connections, readouts to each population; their weight is ``B``.
    diffusions : list of BuiltProjection
        Between populations, of learning signals that diffuse; their weight is ``K``.
    emissions : list of BuiltProjection
        From populations that emit learning signals; their weight is ``B``.
    probes : dict of Probe to str
        The stores of what is recorded of every step.
    transmissions : dict of str to Transmission
        What synapses hand on of spikes, by the group that has the amounts.
    acting : Acting or None
        How the network acts, if trials are episodes of an environment.
    carried : dict of str to float
        Where weights change within trials, arrays that go from one call to the next, keyed
        ``"group.variable"``, and their value at the start.
    """

    network: Resolved
    capacity: Capacity
    brian2_network: Brian2Network
    groups: dict[str, NeuronGroup | Store]
    projections: list[BuiltProjection[Connection]]
    feedback: list[BuiltProjection[SignalConnection]]
    diffusions: list[BuiltProjection[SignalConnection]]
    emissions: list[BuiltProjection[SignalConnection]]
    probes: dict[Probe, str] = field(default_factory=dict)
    transmissions: dict[str, Transmission] = field(default_factory=dict)
    acting: Acting | None = None
    carried: dict[str, float] = field(default_factory=dict)

    #: What a call begins with, unless it is told otherwise.
    first: ClassVar[Mapping[str, np.ndarray]] = {
        "control.trial": np.zeros(1),
        "control.step": np.zeros(1),
    }

    @cached_property
    def plastic(self) -> list[BuiltProjection[Connection]]:
        """The projections that learn."""
        return [p for p in self.projections if p.connection.plastic]

    @property
    def call_steps(self) -> int:
        """Steps of a call with the present number of trials, on a device in this process."""
        control, environment = self.groups["control"].variables, self.capacity.environment
        if environment is not None and environment.external:
            return self.capacity.n_steps // environment.most_actions
        first, end = (int(control[name].get_value()[0]) for name in ("trial", "n_trials"))
        # Without trials there is a single step, which makes the update.
        return (end - first) * self.capacity.n_steps or 1

    def parameter_arrays(self) -> dict[str, np.ndarray]:
        """Values of all parameters, keyed ``"group.variable"``: what to set before a run."""
        network, learning = self.network, self.capacity.learning
        values: dict[str, Any] = {
            **(self._learning_parameters() if learning else {}),
            **{
                self.key(readout.name, own(name, READOUT)): value
                for readout in network.readouts
                for name, value in readout.values.items()
            },
        }
        for population in network.populations:
            read = neuron_values(population, float(network.dt), learning)
            for name, bounds in population.learned.items() if learning else ():
                if bounds.eta is None and "eta" in network.optimizer.parameters:
                    read[f"eta_{own(name)}"] = network.optimizer.parameters["eta"]
            values |= {self.key(population.name, k): v for k, v in read.items()}
            values |= self._timed_arrays(population)
        if self.acting is not None:
            for (group, name), value in environment_parameters(self.acting, network).items():
                values[self.key(group, name)] = value
        for group, transmission in self.transmissions.items():
            step, initial = transmission.map, self._initial_of_synapses(transmission)
            for name, value in step.parameters.items():
                values[self.key(group, own(name, SYNAPSE))] = value
            size = self.groups[group].variables["z"].size
            for form, value in initial.items():
                values[self.key(group, f"{form}_initial")] = np.broadcast_to(value, size)
        several: list[BuiltProjection[Any]] = [*self.projections, *self.diffusions]
        for p in (p for p in several if p.sparse):
            values[self.key(f"{p.name}_rows", "first")] = p.rows
            _, post = p.compressed
            # A projection without synapses keeps one that belongs to no row.
            values[self.key(p.name, "post")] = post if len(post) else np.zeros(1)
        for p in self.projections:
            values |= self._mixing(p)
        for d in self.diffusions:
            if d.connection.diffusion is not None:
                values[self.key(d.name, "K")] = d.stored(d.connection.diffusion)
        for projection in self.projections:
            delays, learned = projection.connection.delay_steps, projection.connection.learned_delay
            if learned and learning:
                bounds = learned.bounds(projection.connection.least_delay)
                eta = network.optimizer.parameters.get("eta", 0.0)
                for name, value in bounds.values(DELAY, eta).items():
                    values[self.key(projection.name, name)] = value
            elif np.ndim(delays) and not learned:
                extra = projection.stored(delays) - projection.connection.least_delay
                # Padding has no delay.
                values[self.key(projection.name, "delay")] = np.maximum(extra, 0)
        for e in self.emissions:
            if e.connection.filter is not None:
                for name, value in emission_values(e.connection.filter).items():
                    values[self.key(e.target, name)] = value
        for f in self.feedback:
            if f.connection.delay_steps is not None:
                extra = f.stored(f.connection.delay_steps - 1)
                values[self.key(f.name, "delay")] = np.maximum(extra, 0)
        return {key: np.atleast_1d(value) for key, value in values.items()}

    def _mixing(self, p: BuiltProjection[Connection]) -> dict[str, np.ndarray]:
        """How the weights that a projection's synapses share are mixed."""
        shared, arrays = p.connection.shared, {}
        if shared is None or p.shared_group is None:
            return {}
        for way, matrix in (("spread", shared.mixing), ("gather", shared.gathering)):
            arrays[self.key(f"{p.name}_{way}_rows", "first")] = matrix.indptr
            arrays[self.key(f"{p.name}_{way}_index", "index")] = matrix.indices
            arrays[self.key(f"{p.name}_{way}_factor", "factor")] = matrix.data
        return arrays

    def _timed_arrays(self, population: PopulationGroup) -> dict[str, np.ndarray]:
        """What a population reads of timed arrays, a row for each step; padding gets 0."""
        tables = {}
        n_rows = sample_rows(self.network, self.capacity.n_steps)
        for sample in samples_of(population):
            values = sampled(sample, population, n_rows, float(self.network.dt))
            group = sample_group(population.name, sample)
            rows = np.zeros((n_rows, int(self.groups[group].N) // n_rows))
            rows[:, : population.size if sample.several else 1] = values.reshape(n_rows, -1)
            tables[self.key(group, sample.stored)] = rows.ravel()
        return tables

    def _learning_parameters(self) -> dict[str, float]:
        """Numbers that learning reads."""
        network = self.network
        return {
            "control.c_reg": network.c_reg,
            "control.f_target": float(network.f_target),
            "control.n_steps": self.capacity.n_steps,
            "control.kappa_reg": network.kappa_reg,
            **{f"control.{k}": v for k, v in self._regularization().items()},
            **{
                self.key("control", optimizer_names(network, optimizer)[k]): v
                for optimizer in network.optimizers
                for k, v in optimizer.parameters.items()
            },
        }

    def _regularization(self) -> dict[str, float]:
        network = self.network
        values: dict[str, Any] = {
            VOLTAGE_SCALE: network.c_v / (1 if network.continuous else self.capacity.n_steps),
            "c_l2": network.c_l2,
            "clip_value": network.clip_value,
            "clip_norm": network.clip_norm,
            # Computed in every update.
            "clip_factor": 1.0,
        }
        return {name: values[name] for name in regularization(network)}

    def initial_state(self) -> dict[str, np.ndarray]:
        """What `carried` has for the first call, keyed ``"group.variable"``."""
        state = {}
        for key, value in self.carried.items():
            group, variable = key.split(".")
            size = self.groups[group].variables[variable].size
            state[key] = np.full(size, value)
        for population in self.network.populations:
            initial = population.system.step.initial_values(float(self.network.dt))
            for name, of_start in initial.items():
                if self.network.continuous:
                    state[self.key(population.name, own(name))][:] = of_start
        for group, transmission in self.transmissions.items():
            for form, of_start in self._initial_of_synapses(transmission).items():
                if self.network.continuous:
                    state[self.key(group, form)][:] = of_start
        return state

    def _initial_of_synapses(self, transmission: Transmission) -> dict[str, np.ndarray | float]:
        """What the variables of synapses begin with, by their names in the statements."""
        initial = transmission.map.initial_values(float(self.network.dt))
        return {own(name, SYNAPSE): value for name, value in initial.items()}

    def key(self, group: str, variable: str) -> str:
        """``"group.variable"`` of a variable that the statements call so."""
        return f"{group}.{stored_name(self.groups[group], variable)}"

    def parameter_array(self, name: str, variable: str = "") -> str:
        """Key of a learned parameter ``"population.parameter"``, or of a `variable` for it.

        That is ``"gradient"``, ``"eta"`` or an optimizer's state (`state_variable`).
        """
        parameter = self.network.keys.learned[name]
        if not variable:
            return name
        return self.key(parameter.population.name, f"{variable}_{own(parameter.name)}")

    def synaptic_arrays(self, variable: str, matrices: Mapping[str, Matrix]) -> dict:
        """Split matrices [post, pre], by key, into the projections' arrays of a variable.

        See `matrix` for what is the variable of learned delays. Without learning, a program knows
        the whole steps alone.
        """
        arrays = {}
        for key, matrix in matrices.items():
            name, stored = self._stored_as(key, variable)
            for p in self._parts.get(name, ()):
                if p.shared_group is not None:
                    arrays[self.key(p.shared_group.name, stored)] = np.ravel(matrix)
                elif p.connection.shared is not None:
                    arrays[self.key(p.name, stored)] = p.stored(p.connection.matrix(matrix))
                elif self.capacity.learning or key == name:
                    arrays[self.key(p.name, stored)] = p.stored(matrix)
                else:
                    steps = rounded(p.stored(matrix)) - p.connection.least_delay
                    # Padding has no delay.
                    arrays[self.key(p.name, "delay")] = np.maximum(steps, 0)
        return arrays

    def synaptic_keys(self, key: str, variable: str) -> dict[str, str]:
        """Keys of the arrays that `matrix` assembles, by projection."""
        name, stored = self._stored_as(key, variable)
        return {p.name: self.key(p.learner.name, stored) for p in self._parts[name]}

    def _stored_as(self, key: str, variable: str) -> tuple[str, str]:
        """The connection whose synapses have what a key names, and their name for a variable."""
        delayed = self.network.keys.delays.get(key)
        if delayed is None:
            return key, variable
        return delayed.name, DELAY if variable == "w" else f"{variable}_{DELAY}"

    def feedback_arrays(self, name: str, weights: Matrix) -> dict[str, np.ndarray]:
        """Split the weights of a learning signal, [post, output], into the connections' arrays."""
        return {self.key(f.name, "B"): f.stored(weights) for f in self._feedback_of(name)}

    def feedback_keys(self, name: str) -> list[str]:
        """Keys of the arrays that `feedback_matrix` assembles."""
        return [self.key(f.name, "B") for f in self._feedback_of(name)]

    def feedback_matrix(self, name: str, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Assemble the weights of a learning signal, [post, output]."""
        matrix = np.zeros(self.network.keys.signals[name].shape)
        for f in self._feedback_of(name):
            matrix[f.target_slice, f.source_slice] = f.by_pair(values[self.key(f.name, "B")]).T
        return matrix

    def _feedback_of(self, name: str) -> list[BuiltProjection[SignalConnection]]:
        return [f for f in (*self.feedback, *self.emissions) if f.matrix == name]

    @cached_property
    def read_by_workers(self) -> frozenset[str]:
        """The arrays of weights, learned delays and learned parameters.

        Feedback weights that follow others are not among them: every program computes its own.
        """
        keys, learning = self.network.keys, self.capacity.learning
        owners = [*keys.connections, *(keys.delays if learning else ())]
        arrays = [x for key in owners for x in self.synaptic_keys(key, "w").values()]
        for signal in self.network.signals if learning else ():
            arrays += [] if signal.symmetric else self.feedback_keys(signal.name)
        return frozenset([*arrays, *keys.learned])

    @cached_property
    def kept(self) -> frozenset[str]:
        """Arrays that only updates change: weights, and the states of optimizers.

        So is what one call hands on to the next, where weights change within trials.
        """
        states = self.network.keys.optimizer.values() if self.capacity.learning else ()
        of_states = [key for state in states for key in self.state_keys(state)]
        return frozenset([*self.read_by_workers, *of_states, *self.carried])

    def state_keys(self, state: OptimizerState) -> list[str]:
        """Keys of the arrays that hold an optimizer's state of weights or a learned parameter."""
        variable = state_variable(state.name)
        if state.owner in self.network.keys.learned:
            return [self.parameter_array(state.owner, variable)]
        return [*self.synaptic_keys(state.owner, variable).values()]

    @cached_property
    def exchanged(self) -> frozenset[str]:
        """Other arrays that go in and out of calls: sums over trials."""
        return frozenset([*self.sums, *self.sums.values()])

    @property
    def sums(self) -> dict[str, str]:
        """Sums over trials that an update reads, and what they are summed up in over shares."""
        rates = self.network.rate_averaging
        names = {"gradient_sum": "gradient_total", "batch_trace_sum": "batch_trace_total"}
        sums = {
            self.key(p.name, name): self.key(p.name, total)
            for p in self.projections
            for name, total in names.items()
            if stored_name(p.group, name) in p.group.variables
        }
        for p in self.projections:
            if p.connection.learned_delay:
                of_delays = parameter_sums(DELAY, rates).items()
                sums.update((self.key(p.name, x), self.key(p.name, t)) for x, t in of_delays)
        if self.network.rate_averaging == "batch":
            counts = [self.key(p.name, "batch_spike_count") for p in self.network.populations]
            sums.update({count: count for count in counts})
        for population in self.network.populations:
            for parameter in population.learned:
                of_parameter = parameter_sums(own(parameter), rates).items()
                sums.update(
                    (self.key(population.name, x), self.key(population.name, t))
                    for x, t in of_parameter
                )
        return sums

    def matrix(self, name: str, variable: str, values: Mapping[str, np.ndarray]) -> Matrix:
        """Assemble a synaptic variable into one matrix [post, pre].

        Parameters
        ----------
        name : str
            Name of the connection, or key of its learned delays.
        variable : str
            ``"w"`` (the value itself, of delays too), ``"gradient"`` or an optimizer's state
            (`state_variable`).
        values : mapping
            The projections' arrays, keyed ``"group.variable"``.

        Returns
        -------
        array, or csc_array if the matrix is sparse; weights that synapses share in their own shape
        """
        name, variable = self._stored_as(name, variable)
        parts = [(p, values[self.key(p.learner.name, variable)]) for p in self._parts[name]]
        connection = self.network.keys.connections[name]
        if connection.shared is not None:
            ((_, stored),) = parts
            return np.array(stored, float).reshape(connection.weight_shape)
        adjacency = connection.adjacency
        if adjacency is None:
            result = np.zeros(connection.shape)
            for p, stored in parts:
                result[p.target_slice, p.source_slice] = p.by_pair(stored).T
            return result
        data = np.zeros(adjacency.nnz)
        for p, stored in parts:
            data[self._places[p.name]] = stored[: p.n_synapses]
        return with_values(adjacency, data)

    @cached_property
    def _parts(self) -> dict[str, list[BuiltProjection[Connection]]]:
        """The projections of each connection."""
        parts: dict[str, list[BuiltProjection[Connection]]] = {}
        for p in self.projections:
            parts.setdefault(p.matrix, []).append(p)
        return parts

    @cached_property
    def _places(self) -> dict[str, Any]:
        """Where the synapses of each sparse projection stand in their matrix's data vector."""
        places: dict[str, Any] = {}
        for p in self.projections:
            matrix = self.network.adjacency.get(p.matrix)
            if matrix is not None and p.n_synapses == matrix.nnz:
                places[p.name] = slice(None)
            elif matrix is not None:
                numbered = with_values(matrix, np.arange(matrix.nnz, dtype=matrix.indices.dtype))
                places[p.name] = numbered[p.target_slice, p.source_slice].data
        return places
