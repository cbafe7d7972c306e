"""The Brian2 groups of a network: every array that its step reads or writes has an owner here.

Neurons and synapses are `NeuronGroup`; trials, histories and lists of spikes a `Store`. What
happens with them is `eprop_brian.network.build`'s.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from brian2 import Clock, NeuronGroup

from eprop_brian.network.built import (
    Capacity,
    neuron_values,
    optimizer_names,
    regularization,
    state_variable,
)
from eprop_brian.network.graph import Connection, PopulationGroup, ReadoutGroup, SignalConnection
from eprop_brian.network.learned_delays import DELAY
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.synapses import make_diffusions, make_projections
from eprop_brian.steps.blocks import Store, keep_names, name_variables
from eprop_brian.steps.layout import STAGES, Layout
from eprop_brian.symbolic.names import (
    READOUT,
    input_name,
    is_own,
    owned,
    shown,
)
from eprop_brian.symbolic.parameters import UNITS
from eprop_brian.symbolic.programs import (
    FactoredProgram,
    OnlineProgram,
    ParameterProgram,
    delay_program,
    factored_program,
    online_program,
    parameter_program,
    parameter_sums,
    readout_program,
)
from eprop_brian.symbolic.readings import signal_name
from eprop_brian.symbolic.scope import neuron_names, scoped, scoped_receptor

__all__ = ["NetworkGroups", "later_name", "reading_group"]


def later_name(arriving: str) -> str:
    """The variable of an input that arrives in later steps."""
    return f"{arriving}_later"


def reading_group(population: str, number: int) -> str:
    """The group of the values that are read of a population's neurons."""
    return f"{population}_{number}_reading"


class NetworkGroups:
    """Groups of a network on the active device.

    Attributes
    ----------
    groups : dict of str to NeuronGroup or Store
    learning : bool
        Whether the program can learn, or only runs trials.
    projections, feedback : list of BuiltProjection
        Those of the connections and of the learning signals.
    diffusions : list of BuiltProjection
        Of learning signals that diffuse, from each of their targets to each.
    lag : int
        Steps by which traces wait for their learning signal: the delay of the readouts.
    window_rows : int
        Steps for which the online program keeps the variables that traces read.
    later_rows : int
        Steps ahead for which delayed input is kept; 0 without delays.
    late_rows : int
        Steps after a trial's end from which the sums over presynaptic spikes read.
    signal_rows : int
        Steps before a trial's first of which the readouts' signals are kept.
    """

    def __init__(self, network: Resolved, capacity: Capacity, dtype: type, layout: Layout) -> None:
        self.network = network
        self.capacity = capacity
        self.dtype = dtype
        self.layout = layout
        self.clock = Clock(dt=network.dt, name="step_clock")
        self.groups: dict[str, NeuronGroup | Store] = {}
        self.learning = capacity.learning
        self.online = self.learning and network.gradient == "online"
        self.rate_per_batch = self.learning and network.rate_averaging == "batch"
        self.moving_rate = self.learning and network.rate_averaging == "moving"
        #: Derivations and names of users as they are in the statements.
        self.systems = {p.name: scoped(p.system) for p in network.populations}
        self.readout_names = {r.name: owned([*r.values], READOUT) for r in network.readouts}
        self.readout_programs = {
            r.name: readout_program(r.readout, self.readout_names[r.name]) for r in network.readouts
        }
        #: Filter of the traces, the same for all readouts.
        self.readout_program = next(iter(self.readout_programs.values()))
        #: Arrays of the neurons that have users' names, which no other array can have.
        self.taken = {
            f"{p.name}_{name}" for p in network.populations for name in neuron_names(p.system.step)
        }
        #: Numbers of the options of regularisation and clipping that are in use.
        self.regularization = regularization(network)
        self.lag = network.readout_delay
        # Weights that change in every step are read in every step.
        self.steps_per_pass = 1 if network.continuous else layout.steps_per_pass
        self.window_rows = self._rows(self.lag)
        spread = max((_spread(c) for c in network.connections), default=0)
        self.later_rows = spread + 1 if spread else 0
        lags = [c.learned_delay.lags[-1] for c in network.connections if c.learned_delay]
        # Delayed spikes of the last steps arrive after the end, where results are 0.
        self.late_rows = max(0, self.later_rows - 1) + max(lags, default=0)
        delays = [int(s.delay_steps.max()) for s in network.signals if s.delay_steps is not None]
        self.signal_rows = max(delays) - 1 if self.learning and delays else 0
        self._make_neurons()
        self.projections, self.feedback = make_projections(self)
        self.diffusions = make_diffusions(self)

    def _rows(self, waiting: int) -> int:
        """Rows that a pass over the synapses needs if it waits so many steps, in whole passes."""
        steps = self.steps_per_pass
        return -(-(steps + waiting) // steps) * steps

    def pre_rows(self, c: Connection) -> int:
        """Steps for which the presynaptic variables that traces read are kept."""
        reach = c.learned_delay.lags[-1] if c.learned_delay else 0
        return self._rows(self.lag + _spread(c) + reach)

    def is_delayed(self, p: BuiltProjection[Connection]) -> bool:
        """Whether some spikes arrive later than with the least delay."""
        return _spread(p.connection) > 0

    def is_analog(self, p: BuiltProjection[Connection]) -> bool:
        """Whether values arrive, by which a weight is multiplied: analog inputs, or readings."""
        inputs = self.capacity.analog and p.source in self.network.input_slices
        return inputs or bool(p.connection.reads)

    def sender(self, p: BuiltProjection[Connection]) -> str:
        """The group whose spikes, or values, a projection hands on."""
        reads = p.connection.reads
        if not reads:
            return p.source
        return reading_group(p.source, self.systems[p.source].number_of(reads))

    def group(
        self, name: str, size: int, variables: dict[str, str], *, spiking: bool = False
    ) -> NeuronGroup:
        """A NeuronGroup with the given variables ("1", "1 (shared)", "integer (shared)"...)."""
        taken = self.taken - {f"{name}_{shown(x)}" for x in variables if is_own(x)}
        names = name_variables(name, variables, taken)
        model = "\n".join(
            f"{names[variable]} : {unit}"
            for variable, unit in variables.items()
            if _fits_equations(names[variable])
        )
        self.groups[name] = group = NeuronGroup(
            size,
            model,
            name=name,
            clock=self.clock,
            dtype=self.dtype,
            namespace={},
            **({"threshold": f"{names['z']} > 0", "reset": ""} if spiking else {}),
        )
        for variable, unit in variables.items():
            if not _fits_equations(names[variable]):
                shared = "shared" in unit
                group.variables.add_array(
                    names[variable], size=1 if shared else size, dtype=self.dtype, scalar=shared
                )
        keep_names(group, names)
        return group

    def store(
        self, name: str, size: int, variables: Iterable[str], dtype: type | None = None
    ) -> None:
        """A store with the given variables, of the network's float type or another."""
        types = dict.fromkeys(variables, dtype or self.dtype)
        self.groups[name] = Store(size, types, name, self.clock, self.taken)

    def _make_neurons(self) -> None:
        network, capacity = self.network, self.capacity
        self.control_integers = (
            *("step", "trial", "n_trials"),
            *(("batch_size", "learning", "updating") if self.learning else ()),
            *("window_start", "clock"),
        )
        numbers = [
            *("k", "gradient_scale", "n_steps", "c_reg", "f_target", "kappa_reg"),
            *self.regularization,
            *(optimizer_names(network, o)[x] for o in network.optimizers for x in o.parameters),
        ]
        self.control = self.group(
            "control",
            1,
            {
                **dict.fromkeys(self.control_integers, "integer (shared)"),
                **dict.fromkeys(numbers if self.learning else [], "1 (shared)"),
            },
        )
        if self.layout.profile:
            self.store("profile", len(STAGES), ["seconds"])
        for inputs in network.inputs:
            self._spiking_group(inputs.name, inputs.size, {})
        self.periods = capacity.n_answers > 0
        n_samples = capacity.n_targets * capacity.target_steps * network.n_outputs
        n_rows = capacity.n_patterns * capacity.n_steps
        if capacity.analog:
            self.store("input_data", n_rows * network.n_inputs, ["x"])
        else:
            n_words = sum(-(-inputs.size // 32) for inputs in network.inputs if not inputs.constant)
            self.store("input_data", n_rows * n_words, ["words"], np.int32)
        self.store("target_data", n_samples, ["y_target"])
        self.store("trials", capacity.n_trials, ["pattern", "target", "spike_count"], np.int32)
        n_outcomes = capacity.n_trials * network.n_outputs
        self.store("outcomes", n_outcomes, ["loss"])
        self.store("answers", n_outcomes * max(1, capacity.n_answers), ["output"])
        if self.periods:
            n_periods = capacity.n_targets * capacity.n_steps
            self.store("period_data", n_periods, ["period"], np.int32)
        for population in network.populations:
            self._make_population(population)
        for readout in network.readouts:
            self._make_readout(readout)
        if self.learning and network.continuous and self.signal_rows:
            # Of the last steps of a call, for the next: as many whatever the steps of a call.
            self.store("earlier_history", self.signal_rows * network.n_outputs, ["signal"])

    def _make_readout(self, readout: ReadoutGroup) -> None:
        """A group of readouts, with the history of its errors and signals."""
        name, size, steps = readout.name, readout.size, self.capacity.n_steps
        variables = ["I", "y", "softmax_sum", "p", "error", *["signal"] * self.learning, "loss_sum"]
        variables += ["coupling", "coupled"] if readout.loss.coupling else []
        variables += ["filtered_error", "filtered_signal"] if self.learning else []
        parameters = dict.fromkeys(self.readout_names[name].values(), "1 (shared)")
        self.group(name, size, {**dict.fromkeys(variables, "1"), **parameters})
        if not self.learning:
            self.store(f"{name}_history", steps * size, ["y"])
            return
        if self.online:
            self._window_group(name, size)
        # Delayed signals reach back before the trial; delayed readouts reach past its end.
        n_errors = (self.signal_rows + steps + self.lag) * size
        variables = ["error", "signal", "filtered_error", "filtered_signal"]
        self.store(f"{name}_history", n_errors, variables)

    def _spiking_group(self, name: str, size: int, variables: dict[str, str]) -> NeuronGroup:
        group = self.group(name, size, {"z": "1", **variables}, spiking=True)
        # The step itself fills the spike space; monitors read it like any NeuronGroup's.
        group.thresholder["spike"].active = False
        group.resetter["spike"].active = False
        steps = self.capacity.n_steps
        # One step more: the last of before the trial comes first.
        self.store(f"{name}_spikes", size * (steps + 1), ["neuron"], np.int32)
        self.store(f"{name}_offsets", steps + 2, ["first"], np.int32)
        return group

    def _make_population(self, population: PopulationGroup) -> None:
        system, size = self.systems[population.name], population.size
        step = system.step
        program = self.factored(population) if self.learning and not self.online else None
        inputs = self.input_variables(population.name)
        neuron_variables = [*inputs, "refractory_counter", "spike_count"]
        if self.learning:
            neuron_variables = [
                *(*inputs, "L", "psi", "refractory_counter", "spike_count"),
                *("batch_spike_count", "rate_factor", "L_filtered"),
                *(x for r in system.readings for x in (r.signal, f"{r.signal}_filtered")),
                *(["moving_rate"] if self.moving_rate else []),
                *(["L_before"] if self.diffuses(population.name) else []),
                *(program.variables if program else ()),
                *(*system.varying(after=False), *system.varying(after=True)),
                *self._learned_variables(population),
            ]
        values = neuron_values(population, float(self.network.dt), self.learning)
        self._spiking_group(
            population.name,
            size,
            {
                **step.units,
                **dict.fromkeys(neuron_variables, "1"),
                **{k: "1" if np.ndim(v) else "1 (shared)" for k, v in values.items()},
            },
        )
        steps, width = self.capacity.n_steps, self.layout.width(size)
        if self.later_rows:
            later = [later_name(name) for name in inputs]
            self.store(f"{population.name}_later", self.later_rows * width, later)
        if self.online:
            self._window_group(population.name, width)
        if program:
            results = self.tile(population) * (steps + self.late_rows)
            kept = [*program.history, *["L"] * self.diffuses(population.name)]
            self.store(f"{population.name}_history", width * steps, kept)
            self.store(f"{population.name}_results", results, program.results)
        for reading in system.readings:
            source = reading_group(population.name, reading.number)
            self._spiking_group(source, size, {})
            if program:
                self.store(f"{source}_history", size * steps, ["x"])

    def _learned_variables(self, population: PopulationGroup) -> list[str]:
        """Per neuron, for each of its learned parameters."""
        network, variables = self.network, []
        states = [state_variable(state) for state in network.optimizer.states]
        for name in self.systems[population.name].learned:
            sums = parameter_sums(name, network.rate_averaging)
            variables += [f"scaled_{name}", f"gradient_{name}", *sums, *sums.values()]
            variables += [f"{state}_{name}" for state in states]
            if self.online:
                variables += self.parameter(population, name).variables
        return variables

    def _window_group(self, target: str, width: int) -> None:
        self.store(f"{target}_window", self.window_rows * width, self.signals(target))

    def signals(self, target: str) -> tuple[str, ...]:
        """Postsynaptic variables that the traces of a synapse read in every step."""
        if target not in self.systems:
            return ("error",)
        system = self.systems[target]
        rate = ("rate_factor",) if self.moving_rate else ()
        signals = self.signal_names(target)
        return ("psi", *signals, *rate, *system.varying(after=False), *system.varying(after=True))

    def signal_names(self, population: str) -> list[str]:
        """The learning signals of a population, that of its spikes first."""
        readings = self.systems[population].readings
        return [signal_name(number) for number in range(len(readings) + 1)]

    def signal_of(self, f: BuiltProjection[SignalConnection]) -> str:
        """The learning signal of a population that a readout's error enters.

        It is that of what the readout reads of the population.
        """
        reads = self.network.reads(f.target, f.source)
        return signal_name(self.systems[f.target].number_of(reads))

    def tile(self, population: PopulationGroup) -> int:
        """Neurons of a population that the backward pass takes at a time."""
        width, lanes = self.layout.width(population.size), self.layout.lanes
        results = self.capacity.n_steps * np.dtype(self.dtype).itemsize
        # The synapses of a compressed row may go anywhere.
        connections = self.network.connections
        sparse = any(c.adjacency is not None for c in connections if not c.to_readout)
        if self.layout.tile_bytes is None or sparse:
            return width
        # At least four vectors: fewer are slower than a tile that outgrows the cache.
        return min(width, max(4, self.layout.tile_bytes // (results * lanes)) * lanes)

    def signals_are_delayed(self, population: str) -> bool:
        """Whether a learning signal reaches a population later than the next step."""
        return any(
            f.target == population and f.connection.delay_steps is not None for f in self.feedback
        )

    def diffuses(self, population: str) -> bool:
        """Whether the learning signal of a population diffuses."""
        signals = (s for s in self.network.signals if s.diffusion is not None)
        return self.learning and any(population in s.targets for s in signals)

    def filtered_where_it_arrives(self, population: str) -> bool:
        """Whether the backward pass filters a learning signal, rather than the readouts' errors."""
        return self.signals_are_delayed(population) or self.diffuses(population)

    def signal_that_learns(
        self, p: BuiltProjection[Connection]
    ) -> BuiltProjection[SignalConnection] | None:
        """The learning signal whose weights change with those of a projection, if there is one."""
        for f in self.feedback:
            if (
                f.connection.learns
                and f.connection.follows == p.matrix
                and (f.source, f.target) == (p.target, p.source)
            ):
                return f
        return None

    def input_variables(self, target: str) -> list[str]:
        """Variables of a population that spikes add to, one for each receptor."""
        return [input_name(receptor) for receptor in self.systems[target].drive]

    def trace_variables(
        self, target: str, receptor: str
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Variables of the traces of a receptor, on the presynaptic neuron and on the synapse."""
        if target not in self.systems:
            return ("eps_y",), ("signal_sum",)
        program = self.online_of(target, receptor)
        return program.pre_variables, program.synapse_variables

    def online_of(self, target: str, receptor: str) -> OnlineProgram:
        """The forward program of the synapses onto a population's receptor."""
        return online_program(
            self.systems[target],
            self.readout_program,
            self.network.rate_averaging,
            scoped_receptor(receptor),
        )

    def delay(self, target: str, receptor: str) -> ParameterProgram:
        """The forward program of the delays of synapses onto a population's receptor."""
        return delay_program(
            self.systems[target],
            DELAY,
            self.readout_program,
            self.network.rate_averaging,
            scoped_receptor(receptor),
        )

    def factored(self, population: PopulationGroup) -> FactoredProgram:
        """The backward program of a population."""
        return factored_program(
            self.systems[population.name], self.readout_program, self.network.rate_averaging
        )

    def parameter(self, population: PopulationGroup, name: str) -> ParameterProgram:
        """The forward program of a learned parameter."""
        system, averaging = self.systems[population.name], self.network.rate_averaging
        return parameter_program(system, system.learned[name], self.readout_program, averaging)


def _fits_equations(name: str) -> bool:
    """Whether Brian2 takes a variable of this name from the equations of a group."""
    return name not in UNITS and not name.endswith(("_pre", "_post"))


def _spread(c: Connection) -> int:
    """Steps by which delays onto neurons vary; a readout's delay is that of all its spikes."""
    return 0 if c.to_readout else c.spread
