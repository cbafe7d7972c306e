"""The Brian2 groups of a network: every array that its step reads or writes has an owner here.

Neurons and synapses are `NeuronGroup`; trials, histories and lists of spikes a `Store`. What
happens with them is `eprop_brian.network.build`'s.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from brian2 import NeuronGroup

from eprop_brian.base.indices import index_type
from eprop_brian.network.built import (
    Capacity,
    emission_names,
    emission_values,
    neuron_values,
    optimizer_names,
    regularization,
    state_variable,
)
from eprop_brian.network.directions import mirrored_inputs
from eprop_brian.network.episodes import (
    ENVIRONMENT,
    Acting,
    acting,
    make_environment,
    readout_variables,
)
from eprop_brian.network.exogenous import NOISE, draws, sample_group, sample_rows, samples_of
from eprop_brian.network.graph import (
    Connection,
    InputGroup,
    PopulationGroup,
    ReadoutGroup,
    SignalConnection,
)
from eprop_brian.network.history import history_rows
from eprop_brian.network.labels import LABELS, make_frames
from eprop_brian.network.learned_delays import DELAY
from eprop_brian.network.probes import Probe, make_probes
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.sizes import check_sizes, needed_bytes
from eprop_brian.network.synapses import make_diffusions, make_emissions, make_projections
from eprop_brian.network.tagging import Tagging
from eprop_brian.steps.blocks import Store, keep_names, name_variables
from eprop_brian.steps.layout import STAGES, Layout
from eprop_brian.steps.objects import StepClock, equations
from eprop_brian.symbolic.names import (
    READOUT,
    SYNAPSE,
    input_name,
    is_own,
    own,
    owned,
    shown,
)
from eprop_brian.symbolic.parameters import UNITS
from eprop_brian.symbolic.programs import (
    FactoredProgram,
    OnlineProgram,
    ParameterProgram,
    ReadoutProgram,
    Tags,
    delay_program,
    direct_name,
    factored_program,
    online_program,
    parameter_program,
    parameter_sums,
    readout_program,
)
from eprop_brian.symbolic.readings import signal_name
from eprop_brian.symbolic.scope import neuron_names, scoped, scoped_receptor
from eprop_brian.symbolic.transmission import Transmission
from eprop_brian.symbolic.weights import WeightFunction

__all__ = ["NetworkGroups", "later_name", "reading_group"]

#: The group that says how many steps a trial has that is no episode.
OF_TRIAL = "trial"

#: Rows that a tile of the backward pass may go through for one synapse that it finds.
_ROWS_PER_SYNAPSE = 8
#: Vectors of a tile of the backward pass, at least.
_LEAST_VECTORS = 4


def later_name(arriving: str) -> str:
    """The variable of an input that arrives in later steps."""
    return f"{arriving}_later"


def reading_group(population: str, number: int) -> str:
    """The group of the values that are read of a population's neurons."""
    return f"{population}_{number}_reading"


def _transmissions(network: Resolved) -> dict[str, dict[str, Transmission]]:
    """What synapses hand on of the spikes of each source, by the name of its group."""
    names = [*(i.name for i in network.inputs), *(p.name for p in network.populations)]
    result: dict[str, dict[str, Transmission]] = {name: {} for name in names}
    for c in network.connections:
        if (transmission := c.transmission) is None:
            continue
        for source in c.sources:
            known = result[source]
            if not any(transmission.hands_on_as(other) for other in known.values()):
                known[f"{source}_{len(known) + 1}_synapse"] = transmission
    return result


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
    emissions : list of BuiltProjection
        Of learning signals that populations emit, from each of them to each target.
    probes : dict of Probe to str
        The stores of what is recorded.
    transmissions : dict of str to dict of str to Transmission
        What synapses hand on of the spikes of each source, by the group that has the amounts.
    history_rows : int
        Steps of which the history for the backward pass is kept at a time.
    history_dtype : type
        Of its numbers.
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
    noise : tuple of str
        Halves of the keys of trials' noise, if neurons draw random numbers.
    sample_rows : int
        Steps of which it is stored what timed arrays have; 0 without any.
    acting : Acting or None
        How the network acts, if trials are episodes of an environment.
    tagging : Tagging or None
        How learning signals wait in tags for rewards, if they do.
    """

    def __init__(self, network: Resolved, capacity: Capacity, dtype: type, layout: Layout) -> None:
        self.network = network
        self.capacity = capacity
        self.dtype = dtype
        self.layout = layout
        self.clock = StepClock(dt=network.dt, name="step_clock")
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
        #: Learning signals that populations emit, by target, and the filters that they have there.
        self.emitted = {
            target: signal.filter
            for signal in network.signals
            if self.learning and signal.filter is not None
            for target in signal.targets
        }
        self._emission_programs = {
            target: readout_program(own.readout, emission_names(own))
            for target, own in self.emitted.items()
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
        # Weights that change in every step are read in every step, as traces are that are recorded;
        # rewards find the tags of the step before.
        acts = capacity.environment is not None
        one_by_one = network.continuous or capacity.probes or acts
        self.steps_per_pass = 1 if one_by_one else layout.steps_per_pass
        self.window_rows = self._rows(self.lag)
        spread = max((_spread(c) for c in network.connections), default=0)
        self.later_rows = spread + 1 if spread else 0
        lags = [c.learned_delay.lags[-1] for c in network.connections if c.learned_delay]
        # Delayed spikes of the last steps arrive after the end, where results are 0.
        self.late_rows = max(0, self.later_rows - 1) + max(lags, default=0)
        delays = [int(s.delay_steps.max()) for s in network.signals if s.delay_steps is not None]
        self.signal_rows = max(delays) - 1 if self.learning and delays else 0
        self.transmissions = _transmissions(network)
        is_drawn = draws(network.populations) or capacity.environment is not None
        self.noise = NOISE if is_drawn else ()
        sampled = any(samples_of(p) for p in network.populations)
        self.sample_rows = sample_rows(network, capacity.n_steps) if sampled else 0
        #: How the network acts, if trials are episodes of an environment.
        self.acting: Acting | None = None
        if capacity.environment is not None:
            self.acting = acting(network, capacity.environment, capacity.n_steps)
        #: How learning signals wait in tags for rewards, if they do.
        self.tagging: Tagging | None = None
        if self.acting is not None and self.online:
            self.tagging = Tagging(network, self.systems)
        self.history_dtype: type = np.float32 if network.history_dtype else dtype
        self.history_rows = capacity.n_steps
        if self.learning and not self.online:
            self.history_rows = history_rows(
                network, capacity.n_steps, layout.recompute, lambda rows: needed_bytes(self, rows)
            )
        check_sizes(self)
        self._make_neurons()
        self.projections, self.feedback = make_projections(self)
        self.diffusions = make_diffusions(self)
        self.emissions = make_emissions(self)
        self.probes: dict[Probe, str] = make_probes(self)

    @property
    def steps_group(self) -> str:
        """The group that says how many steps a trial had; ``""`` if all have the same number."""
        if self.acting is not None:
            return ENVIRONMENT
        return OF_TRIAL if self.capacity.has_lengths else ""

    @property
    def mirrored(self) -> list[InputGroup]:
        """The inputs that drive populations in reverse time, whose order then counts."""
        reversed_ = self.network.reversed
        driving = {
            name for c in self.network.connections if {*c.targets} & reversed_ for name in c.sources
        }
        return [i for i in self.network.inputs if i.name in driving and not i.constant]

    def is_mirrored(self, p: BuiltProjection[Connection]) -> bool:
        """Whether inputs reach a population from the last step of a trial on."""
        return p.target in self.network.reversed and p.source in self.network.input_slices

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
        """Whether values arrive, by which a weight is multiplied.

        These are analog inputs, what is read of neurons, and what synapses hand on.
        """
        inputs = self.capacity.analog and p.source in self.network.input_slices
        return inputs or bool(p.connection.reads or p.connection.transmission)

    def weight_function(self, p: BuiltProjection[Connection]) -> WeightFunction | None:
        """What a spike brings of a weight, None if it is the weight itself."""
        return self.network.weight_function(p.connection, p.target)

    def sender(self, p: BuiltProjection[Connection]) -> str:
        """The group whose spikes, or values, a projection hands on."""
        reads, transmission = p.connection.reads, p.connection.transmission
        if reads:
            return reading_group(p.source, self.systems[p.source].number_of(reads))
        if transmission is None:
            return mirrored_inputs(p.source) if self.is_mirrored(p) else p.source
        known = self.transmissions[p.source].items()
        return next(name for name, one in known if transmission.hands_on_as(one))

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
            equations(model),
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
            *["greedy"] * (self.acting is not None),
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
            self._make_transmissions(inputs.name, inputs.size)
        for inputs in self.mirrored:
            self._spiking_group(mirrored_inputs(inputs.name), inputs.size, {})
        self.periods = capacity.n_answers > 0
        if self.acting is None:
            self._make_data()
        of_trials = ["pattern", "target", *self.noise, *["length"] * capacity.has_lengths]
        self.store("trials", capacity.n_trials, of_trials, np.int32)
        if capacity.has_lengths:
            self.store(OF_TRIAL, 1, ["n_steps"])
        n_counts = capacity.n_trials * len(network.populations)
        self.store("trials_results", n_counts, ["spike_count"], np.int32)
        n_outcomes = capacity.n_trials * network.n_outputs
        self.store("outcomes", n_outcomes, ["loss"])
        self.store("answers", n_outcomes * max(1, capacity.n_answers), ["output"])
        # One value of all outputs for each step of a target.
        n_rows = capacity.n_targets * capacity.n_steps
        if self.periods:
            self.store("period_data", n_rows, ["period"], np.int32)
        if network.reads_advantage and self.acting is None:
            self.store("advantage_data", n_rows, ["advantage"])
        if any(self.is_labelled(readout) for readout in network.readouts):
            n_labels = capacity.n_targets * capacity.most_labels
            self.store(LABELS, n_labels, ["label_number"], np.int32)
        for population in network.populations:
            self._make_population(population)
        for readout in network.readouts:
            self._make_readout(readout)
        if self.acting is not None:
            make_environment(self)
        if self.learning and network.continuous and self.signal_rows:
            # Of the last steps of a call, for the next: as many whatever the steps of a call.
            self.store("earlier_history", self.signal_rows * network.n_outputs, ["signal"])

    def _make_data(self) -> None:
        """Stores of the inputs and targets of trials."""
        network, capacity = self.network, self.capacity
        n_samples = capacity.n_targets * capacity.target_steps * network.n_outputs
        n_rows = capacity.n_patterns * capacity.n_steps
        if capacity.analog:
            self.store("input_data", n_rows * network.n_inputs, ["x"])
        else:
            n_words = sum(-(-inputs.size // 32) for inputs in network.inputs if not inputs.constant)
            self.store("input_data", n_rows * n_words, ["words"], np.int32)
        self.store("target_data", n_samples, ["y_target"])

    def _make_readout(self, readout: ReadoutGroup) -> None:
        """A group of readouts, with the history of its errors and signals."""
        name, size, steps = readout.name, readout.size, self.capacity.n_steps
        variables = ["I", "y", "softmax_sum", "p", "error", *["signal"] * self.learning, "loss_sum"]
        variables += ["coupling", "coupled"] if readout.loss.coupling else []
        variables += ["filtered_error", "filtered_signal"] if self.learning else []
        variables += readout_variables(self, name)
        if self.is_labelled(readout):
            variables.append("log_likelihood")
            make_frames(self, readout)
        direct = self.direct_variables(name)
        variables += direct
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
        variables += [direct_name("signal")] if direct else []
        self.store(f"{name}_history", n_errors, variables)

    def is_labelled(self, readout: ReadoutGroup) -> bool:
        """Whether what a readout shows is compared with labels."""
        return readout.loss.of_labels and self.capacity.most_labels > 0

    def _spiking_group(self, name: str, size: int, variables: dict[str, str]) -> NeuronGroup:
        group = self.group(name, size, {"z": "1", **variables}, spiking=True)
        # The step itself fills the spike space; monitors read it like any NeuronGroup's.
        group.thresholder["spike"].active = False
        group.resetter["spike"].active = False
        steps = self.capacity.n_steps
        # One step more: the last of before the trial comes first.
        n_spikes = size * (steps + 1)
        self.store(f"{name}_spikes", n_spikes, ["neuron"], np.int32)
        self.store(f"{name}_offsets", steps + 2, ["first"], index_type(n_spikes))
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
                *self.direct_variables(population.name),
                *(["moving_rate"] if self.moving_rate else []),
                *(["L_before"] if self.diffuses(population.name) else []),
                *(["emitted"] if population.name in self.emitted else []),
                *(program.variables if program else ()),
                *(*system.varying(after=False), *system.varying(after=True)),
                *self._learned_variables(population),
            ]
        values = neuron_values(population, float(self.network.dt), self.learning)
        if population.name in self.emitted:
            values |= emission_values(self.emitted[population.name])
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
        n_segments = -(-steps // self.history_rows)
        if self.later_rows:
            later, n_later = [later_name(name) for name in inputs], self.later_rows * width
            self.store(f"{population.name}_later", n_later, later)
            if n_segments > 1:
                self.store(f"{population.name}_later_segments", n_segments * n_later, later)
        if self.online:
            self._window_group(population.name, width)
        if program:
            rows = self.history_rows
            results = self.tile(population, rows) * (rows + self.late_rows)
            kept = [*program.history, *["L"] * self.keeps_signal(population.name)]
            self.store(f"{population.name}_history", width * rows, kept, self.history_dtype)
            if n_segments > 1:
                states = self.state_variables(population.name)
                self.store(f"{population.name}_segments", n_segments * size, states)
            self.store(f"{population.name}_results", results, program.results)
        for sample in samples_of(population):
            # Several of a kind share a store.
            group, row = sample_group(population.name, sample), width if sample.several else 1
            names = [s.stored for s in samples_of(population) if s.several == sample.several]
            if group not in self.groups:
                self.store(group, row * self.sample_rows, names)
        for reading in system.readings:
            self._values_group(reading_group(population.name, reading.number), size, {})
        self._make_transmissions(population.name, size)

    def state_variables(self, population: str) -> list[str]:
        """What a step of a population reads of the step before."""
        states = self.systems[population].step.states
        return [*states, "z", "refractory_counter", *["moving_rate"] * self.moving_rate]

    def _make_transmissions(self, source: str, size: int) -> None:
        """Groups of what synapses hand on of the spikes of a source."""
        for name, transmission in self.transmissions[source].items():
            step = transmission.map
            states = [own(state, SYNAPSE) for state in step.states]
            variables = {x: "1" for state in states for x in (state, f"{state}_initial")}
            for parameter, value in step.parameters.items():
                variables[own(parameter, SYNAPSE)] = "1" if np.ndim(value) else "1 (shared)"
            self._values_group(name, size, variables)

    def _values_group(self, name: str, size: int, variables: dict[str, str]) -> None:
        """A group of values that follow from neurons; a backward pass reads those of a trial."""
        self._spiking_group(name, size, variables)
        if self.learning and not self.online:
            self.store(f"{name}_history", size * self.capacity.n_steps, ["x"])

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
            return ("error", *self.direct_variables(target))
        system = self.systems[target]
        rate = ("rate_factor",) if self.moving_rate else ()
        signals = (*self.signal_names(target), *self.direct_variables(target))
        return ("psi", *signals, *rate, *system.varying(after=False), *system.varying(after=True))

    def direct_variables(self, target: str) -> list[str]:
        """What a target's traces meet at once, while all else waits in tags for rewards."""
        return [] if self.tagging is None else self.tagging.direct_variables(target)

    def tags(self, target: str) -> Tags | None:
        """How the learning signals of a population, or errors of a readout, wait for rewards."""
        return None if self.tagging is None else self.tagging.tags(target)

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

    def tile(self, population: PopulationGroup, rows: int) -> int:
        """Neurons of a population that the backward pass takes at a time, through `rows` steps."""
        width, lanes = self.layout.width(population.size), self.layout.lanes
        results = rows * np.dtype(self.dtype).itemsize
        if self.layout.tile_bytes is None:
            return width
        # With fewer vectors it is slower than where it outgrows the cache.
        most = max(_LEAST_VECTORS, self.layout.tile_bytes // (results * lanes))
        # For every tile the rows of all presynaptic neurons are gone through.
        least = max((_least_tile(c) for c in self.network.connections), default=0)
        vectors = width // lanes
        n_tiles = -(-vectors // max(most, -(-least // lanes)))
        return -(-vectors // n_tiles) * lanes

    def signals_are_delayed(self, population: str) -> bool:
        """Whether a learning signal reaches a population later than the next step."""
        return any(
            f.target == population and f.connection.delay_steps is not None for f in self.feedback
        )

    def diffuses(self, population: str) -> bool:
        """Whether the learning signal of a population diffuses."""
        signals = (s for s in self.network.signals if s.diffusion is not None)
        return self.learning and any(population in s.targets for s in signals)

    def keeps_signal(self, population: str) -> bool:
        """Whether the learning signal of every step is kept for a backward pass.

        Others are computed anew of the errors, which are fewer.
        """
        return self.diffuses(population) or population in self.emitted

    def filtered_where_it_arrives(self, population: str) -> bool:
        """Whether the backward pass filters a learning signal, rather than the readouts' errors."""
        return self.signals_are_delayed(population) or self.keeps_signal(population)

    def trace_filter(self, population: str) -> ReadoutProgram:
        """The filter of eligibility traces: that of what is emitted to them, or of the readouts."""
        return self._emission_programs.get(population, self.readout_program)

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
            return ("eps_y",), ("signal_sum", *["tag"] * (self.tagging is not None))
        program = self.online_of(target, receptor)
        return program.pre_variables, program.synapse_variables

    def online_of(self, target: str, receptor: str) -> OnlineProgram:
        """The forward program of the synapses onto a population's receptor."""
        return online_program(
            self.systems[target],
            self.trace_filter(target),
            self.network.rate_averaging,
            scoped_receptor(receptor),
            self.tags(target),
        )

    def delay(self, target: str, receptor: str) -> ParameterProgram:
        """The forward program of the delays of synapses onto a population's receptor."""
        return delay_program(
            self.systems[target],
            DELAY,
            self.trace_filter(target),
            self.network.rate_averaging,
            scoped_receptor(receptor),
            self.tags(target),
        )

    def factored(self, population: PopulationGroup) -> FactoredProgram:
        """The backward program of a population."""
        return factored_program(
            self.systems[population.name],
            self.trace_filter(population.name),
            self.network.rate_averaging,
        )

    def parameter(self, population: PopulationGroup, name: str) -> ParameterProgram:
        """The forward program of a learned parameter."""
        system, averaging = self.systems[population.name], self.network.rate_averaging
        learned, tags = system.learned[name], self.tags(population.name)
        trace_filter = self.trace_filter(population.name)
        return parameter_program(system, learned, trace_filter, averaging, tags)


def _fits_equations(name: str) -> bool:
    """Whether Brian2 takes a variable of this name from the equations of a group."""
    return name not in UNITS and not name.endswith(("_pre", "_post"))


def _least_tile(c: Connection) -> int:
    """Neurons onto which a sparse row has synapses enough to be worth a look."""
    if c.adjacency is None or c.to_readout:
        return 0
    n_post, n_pre = c.shape
    return min(n_post, n_post * n_pre // (_ROWS_PER_SYNAPSE * max(1, c.adjacency.nnz)))


def _spread(c: Connection) -> int:
    """Steps by which delays onto neurons vary; a readout's delay is that of all its spikes."""
    return 0 if c.to_readout else c.spread
