"""What follows from what is given: a network as lists of named groups and connections.

`Network` makes one when it is constructed (`eprop_brian.network.resolve`); sessions and devices
read nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from brian2.units import Quantity
from scipy.sparse import csc_array

from eprop_brian.base.sparse import Matrix
from eprop_brian.equations.optimizers import Optimizer
from eprop_brian.network.agent import check_agent
from eprop_brian.network.delays import longest
from eprop_brian.network.directions import check_directions
from eprop_brian.network.draws import initial_draws, initial_weights
from eprop_brian.network.emission import check_emissions
from eprop_brian.network.filters import trace_filter
from eprop_brian.network.frames import check_frames
from eprop_brian.network.graph import (
    Connection,
    InputGroup,
    PopulationGroup,
    ReadoutGroup,
    SignalConnection,
    spans,
)
from eprop_brian.network.history import check_history
from eprop_brian.network.keys import WeightKeys
from eprop_brian.network.labels import check_labels
from eprop_brian.network.learned_delays import check_learned_delay
from eprop_brian.network.optimization import bounds
from eprop_brian.network.parts import Agent
from eprop_brian.network.rewiring import Rewiring
from eprop_brian.network.transmissions import check_transmissions
from eprop_brian.network.weight_functions import check_weight_functions
from eprop_brian.symbolic.weights import WeightFunction

if TYPE_CHECKING:
    from eprop_brian.network.spec import Network

#: Values of `Network.updates` for which there are no trials.
CONTINUOUS = ("step", "spike")

__all__ = ["CONTINUOUS", "Resolved", "as_resolved"]


@dataclass(frozen=True, eq=False)
class Resolved:
    """A network with everything that follows from what was given.

    Attributes
    ----------
    inputs : tuple of InputGroup
    populations : tuple of PopulationGroup
    readouts : tuple of ReadoutGroup
    connections : tuple of Connection
        In the order in which their weights are drawn and their spikes delivered.
    signals : tuple of SignalConnection
        The learning signals.
    agent : Agent or None
        How it acts, if it does.
    optimizer, gradient, updates, c_reg, f_target, kappa_reg, c_v, voltage_cost, c_l2
        As for `Network`.
    clip_value, clip_norm, average_gradient, dt, history_steps, history_dtype
        As for `Network`.
    rate_averaging : str
        As for `Network`; ``"moving"`` in continuous operation.
    trace_cutoff_steps : int or None
    rewiring : Rewiring or None

    Raises
    ------
    ValueError
        If two parts have one name, groups are connected in a way that cannot run, or weights cannot
        begin or learn as they should.
    """

    inputs: tuple[InputGroup, ...]
    populations: tuple[PopulationGroup, ...]
    readouts: tuple[ReadoutGroup, ...]
    connections: tuple[Connection, ...]
    signals: tuple[SignalConnection, ...]
    agent: Agent | None
    optimizer: Optimizer
    gradient: str
    updates: str
    rate_averaging: str
    trace_cutoff_steps: int | None
    rewiring: Rewiring | None
    c_reg: float
    f_target: Quantity
    kappa_reg: float
    c_v: float
    voltage_cost: str
    c_l2: float
    clip_value: float | None
    clip_norm: float | None
    average_gradient: bool
    dt: Quantity
    history_steps: int | None
    history_dtype: str | None

    def __post_init__(self) -> None:
        _check_names(self)
        for connection in self.connections:
            _check_connection(connection, self)
            _check_receptor(connection, self)
            _check_learning(connection, self.optimizer)
            check_learned_delay(connection, self)
            _check_shared(connection, self)
        initial_draws(self.connections)
        for signal in self.signals:
            _check_signal(signal, self)
        _check_one_signal_each(self.signals)
        _check_sent(self.signals)
        _check_readout_delays(self.connections)
        _check_diffusion(self)
        check_emissions(self)
        _check_reads(self)
        check_weight_functions(self)
        check_transmissions(self)
        _check_windows(self)
        check_history(self)
        check_labels(self)
        check_directions(self)
        check_frames(self)
        if self.agent is not None:
            check_agent(self.agent, self)
        elif self.updates == "action":
            raise ValueError(
                "updates = 'action' changes weights at the actions of an agent: add "
                "Agent(policy=<readout>, value=<readout>), or choose updates = 'batch'"
            )
        if len(self.readouts) > 1:
            _check_readouts(self)

    @cached_property
    def continuous(self) -> bool:
        """Whether the network runs on without trials and resets."""
        return self.updates in CONTINUOUS

    @cached_property
    def n_inputs(self) -> int:
        """Number of inputs that a task drives."""
        return sum(group.size for group in self.inputs if not group.constant)

    @cached_property
    def n_recurrent(self) -> int:
        """Number of recurrent neurons."""
        return sum(population.size for population in self.populations)

    @cached_property
    def n_outputs(self) -> int:
        """Number of outputs of all readouts."""
        return sum(readout.size for readout in self.readouts)

    @cached_property
    def input_slices(self) -> dict[str, slice]:
        """Where each input group stands among the inputs that a task drives, by name."""
        return spans(group for group in self.inputs if not group.constant)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each population stands among the recurrent neurons, by name."""
        return spans(self.populations)

    @cached_property
    def output_slices(self) -> dict[str, slice]:
        """Where each readout stands among the outputs and targets, by name."""
        return spans(self.readouts)

    @cached_property
    def reads_advantage(self) -> str:
        """The first readout whose loss reads the trials' advantage; ``""`` if none does."""
        return next((r.name for r in self.readouts if r.loss.reads_advantage), "")

    @property
    def readout_delays(self) -> dict[str, int]:
        """Steps from a population's spike to each readout that it reaches."""
        return {
            name: c.readout_delay
            for c in self.connections
            if c.to_readout and not c.from_inputs
            for name in c.targets
        }

    @cached_property
    def readout_delay(self) -> int:
        """Steps from a population's spike to the readouts, the same for all."""
        return max(self.readout_delays.values(), default=0)

    @cached_property
    def frame_steps(self) -> int:
        """Steps of the network in which readouts take one, the same for all."""
        return max(readout.every for readout in self.readouts)

    @cached_property
    def reversed(self) -> frozenset[str]:
        """The populations that go through a trial from its last step to its first."""
        return frozenset(p.name for p in self.populations if p.reverse_time)

    @cached_property
    def keys(self) -> WeightKeys:
        """Keys of all that learning changes."""
        return WeightKeys(self.connections, self.signals, self.populations, self.optimizer)

    @cached_property
    def optimizers(self) -> tuple[Optimizer, ...]:
        """The network's optimizer, then the other ones that connections have; each once."""
        optimizers = [self.optimizer]
        for c in self.keys.plastic:
            if c.optimizer is not None and c.optimizer not in optimizers:
                optimizers.append(c.optimizer)
        return tuple(optimizers)

    def reads(self, population: str, readout: str) -> str:
        """What a readout reads of a population; ``""`` for spikes, and where it hears nothing."""
        between = (c for c in self.connections if population in c.sources and readout in c.targets)
        return next((c.reads for c in between), "")

    def weight_function(self, connection: Connection, target: str) -> WeightFunction | None:
        """What a spike brings a target of a connection's weights, None if it is the weights."""
        transmission = connection.transmission
        if transmission is not None and transmission.weight is not None:
            return transmission.weight
        for population in self.populations:
            if population.name == target:
                return population.system.step.weight_functions.get(connection.receptor)
        return None

    def optimizer_of(self, connection: Connection) -> Optimizer:
        """The optimizer that changes the weights of a connection."""
        return connection.optimizer or self.optimizer

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of weights and feedback weights, (n_post, n_pre) unless shared, by name."""
        shapes = self.keys.shapes()
        return {name: shapes[name] for name in self.keys.matrices}

    @cached_property
    def adjacency(self) -> dict[str, csc_array]:
        """The adjacency matrices [post, pre] of sparse weights and learned delays, by key."""
        matrices = {**self.keys.connections, **self.keys.delays}
        return {
            key: c.adjacency
            for key, c in matrices.items()
            if c.adjacency is not None and c.shared is None
        }

    @property
    def delay_steps(self) -> dict[str, int | Matrix]:
        """Delays of the connections in steps, by name."""
        return {c.name: c.delay_steps for c in self.connections}

    @property
    def signs(self) -> dict[str, np.ndarray]:
        """Signs of all pairs of the connections that are rewired, by name."""
        return {c.name: c.signs for c in self.connections if c.signs is not None}

    def initial_weights(self, seed: int) -> dict[str, Matrix]:
        """Draw initial weights, see `Network.initial_weights`."""
        return initial_weights(self, seed)


def as_resolved(network: Network | Resolved) -> Resolved:
    """A resolved network, or what follows from a given one."""
    return network if isinstance(network, Resolved) else network.resolved


def _check_readouts(network: Resolved) -> None:
    """Refuse readouts that need eligibility traces of their own."""
    dt = float(network.dt)
    filters = {trace_filter(r.readout, r.values, dt) for r in network.readouts}
    if len(filters) > 1 or len({*network.readout_delays.values()}) > 1:
        raise ValueError(
            "all readouts must filter eligibility traces in the same way and see spikes in the "
            "same step: give them the same time constant and delay"
        )


def _check_windows(network: Resolved) -> None:
    """Refuse windows that are no numbers of steps, or that an average of gradients cannot have."""
    for readout in network.readouts:
        if readout.window_steps is None:
            continue
        if readout.window_steps < 1:
            raise ValueError(
                f"the window of readout '{readout.name}' must be at least one step, not "
                f"{readout.window_steps}"
            )
        if network.average_gradient:
            raise ValueError(
                f"average_gradient divides by the steps of the task's learning window, but readout "
                f"'{readout.name}' has a window of its own: leave average_gradient off, and give "
                f"its loss the weight 1/{readout.window_steps}"
            )


def _check_reads(network: Resolved) -> None:
    """Refuse two ways of reading that one learning signal would answer, and what runs on."""
    for c in network.connections:
        if c.reads and network.continuous:
            raise ValueError(
                f"projection '{c.name}' reads '{c.reads}' in every step, which continuous "
                "operation cannot have, as it learns spike by spike: it needs updates = 'batch'"
            )
        for source in c.sources if c.to_readout and not c.from_inputs else ():
            (readout,) = c.targets
            if c.reads != network.reads(source, readout):
                raise ValueError(
                    f"readout '{readout}' reads '{source}' in two ways, but a learning signal "
                    f"answers one: let '{c.name}' lead to a readout of its own"
                )


def _check_names(network: Resolved) -> None:
    """Refuse two parts with the same name."""
    groups = [
        *(group.name for group in network.inputs),
        *(population.name for population in network.populations),
        *(readout.name for readout in network.readouts),
    ]
    names = [*groups, *(c.name for c in network.connections), *(s.name for s in network.signals)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two parts of the network are called '{twice[0]}'")


def _check_groups(what: str, spans_: Mapping[str, slice], groups: Mapping[str, Any]) -> None:
    """Refuse groups that do not exist or have another size."""
    for name, where in spans_.items():
        if name not in groups:
            raise ValueError(f"{what}: there is no group '{name}'; there are {', '.join(groups)}")
        if where.stop - where.start != groups[name].size:
            raise ValueError(
                f"{what}: '{name}' has {groups[name].size} members, not {where.stop - where.start}"
            )


def _check_connection(connection: Connection, network: Resolved) -> None:
    what = f"projection '{connection.name}'"
    populations = {p.name: p for p in network.populations}
    readouts = {r.name: r for r in network.readouts}
    inputs = {g.name: g for g in network.inputs}
    _check_groups(f"{what}, sources", connection.sources, {**inputs, **populations})
    if connection.to_readout and connection.from_inputs and longest(connection.delay_steps):
        raise ValueError(
            f"{what} is delayed, but what inputs send to a readout acts in its own step: leave its "
            "delay at 0"
        )
    if connection.sources.keys() & inputs.keys() and connection.sources.keys() & populations.keys():
        raise ValueError(
            f"{what} has inputs and populations as sources, whose spikes act in different steps: "
            "connect each by its own"
        )
    targets: Mapping[str, Any] = readouts if connection.to_readout else populations
    _check_groups(f"{what}, targets", connection.targets, targets)
    if connection.to_readout and len(connection.targets) > 1:
        raise ValueError(f"{what} has several readouts as targets: connect each by its own")
    if connection.autapses and connection.sources.keys() & connection.targets.keys():
        raise ValueError(
            f"{what} must connect the same groups in the same order, or different ones: only then "
            "is it clear which pairs are autapses"
        )


def _check_receptor(connection: Connection, network: Resolved) -> None:
    """Refuse a connection that does not drive a receptor of all its targets."""
    what, receptor = f"projection '{connection.name}'", connection.receptor
    populations = {p.name: p for p in network.populations}
    for name in connection.targets:
        receptors: tuple[str, ...] = ("",)
        if not connection.to_readout:
            receptors = populations[name].neuron.receptor_names
        if receptor in receptors:
            continue
        has = ", ".join(receptors) or "a single input without a name"
        if receptor:
            raise ValueError(f"{what} drives receptor {receptor!r} of '{name}', which has {has}")
        raise ValueError(f"{what} must say which receptor of '{name}' it drives: {has}")


def _check_learning(connection: Connection, optimizer: Optimizer) -> None:
    """Refuse what would not keep a sign, and optimizers and signs beside those of rewiring."""
    what = f"projection '{connection.name}'"
    if connection.signs is not None and (connection.sign or connection.optimizer is not None):
        raise ValueError(
            f"{what} is rewired, which has signs of its own and the network's optimizer: leave its "
            "sign, optimizer, learning rate and bounds away"
        )
    if connection.signs is not None and not connection.plastic:
        raise ValueError(f"{what} is rewired, but does not learn: rewiring follows learning")
    if not connection.plastic or not connection.sign:
        return
    low, high = bounds(connection.optimizer or optimizer)
    if (low if connection.sign > 0 else -high) < 0:
        raise ValueError(
            f"{what} has a sign that its optimizer does not keep: it clips weights to "
            f"[{low:g}, {high:g}]"
        )


def _check_shared(connection: Connection, network: Resolved) -> None:
    """Refuse shared weights that would change synapse by synapse."""
    if connection.shared is not None and connection.plastic and network.updates != "batch":
        raise ValueError(
            f"projection '{connection.name}' shares weights, which learn at the end of a batch: "
            "set updates = 'batch', or learn = False"
        )


def _check_one_signal_each(signals: Iterable[SignalConnection]) -> None:
    """Refuse two learning signals from one readout to one population."""
    names: dict[tuple[str, str], str] = {}
    for signal in signals:
        for target in signal.targets:
            other = names.setdefault((signal.source, target), signal.name)
            if other != signal.name:
                raise ValueError(
                    f"learning signals '{other}' and '{signal.name}' both lead from "
                    f"'{signal.source}' to '{target}': add their weights up in one"
                )


def _check_sent(signals: Iterable[SignalConnection]) -> None:
    """Refuse two equations of what one readout sends."""
    equations: dict[str, str] = {}
    for signal in signals:
        if signal.emitted:
            continue
        equation = signal.feedback.signal
        if equations.setdefault(signal.source, equation) != equation:
            raise ValueError(
                f"readout '{signal.source}' cannot send both '{equations[signal.source]}' and "
                f"'{equation}': give its learning signals the same equation"
            )


def _check_readout_delays(connections: Iterable[Connection]) -> None:
    """Refuse a readout that sees spikes of one step in several."""
    first: dict[str, Connection] = {}
    for c in connections:
        if not c.to_readout or c.from_inputs:
            continue
        for name in c.targets:
            other = first.setdefault(name, c)
            if other.readout_delay != c.readout_delay:
                raise ValueError(
                    f"projections '{other.name}' and '{c.name}' lead to readout '{name}' with "
                    "different delays: give them the same"
                )


def _check_diffusion(network: Resolved) -> None:
    """Refuse signals that diffuse beside others, or without a trial's start."""
    for signal in network.signals:
        if signal.diffusion is None:
            continue
        what = f"learning signal '{signal.name}' diffuses"
        if network.continuous:
            raise ValueError(
                f"{what}, which needs trials that it starts with: set updates = 'batch', or leave "
                "its diffusion away"
            )
        for target in signal.targets:
            if reads := network.reads(target, signal.source):
                raise ValueError(
                    f"{what}, but its readout reads '{reads}' of '{target}' and not its spikes: "
                    "leave the diffusion away"
                )
        for other in network.signals:
            both = sorted(signal.targets.keys() & other.targets.keys())
            if other is not signal and both:
                raise ValueError(
                    f"{what}, so '{both[0]}' can have no other learning signal: leave "
                    f"'{other.name}' away, or the diffusion"
                )


def _check_signal(signal: SignalConnection, network: Resolved) -> None:
    what = f"learning signal '{signal.name}'"
    populations = {p.name: p for p in network.populations}
    sources = network.populations if signal.emitted else network.readouts
    _check_groups(f"{what}, sources", signal.sources, {group.name: group for group in sources})
    _check_groups(f"{what}, targets", signal.targets, populations)
    if not signal.follows:
        if signal.symmetric or signal.learns:
            kind = "symmetric" if signal.symmetric else "changing"
            raise ValueError(
                f"{what} has {kind} weights, which follow a connection from its targets to its "
                "readout: connect them, or choose random, broadcast or given weights"
            )
        return
    followed = {c.name: c for c in network.connections}.get(signal.follows)
    if signal.learns and followed is not None and not followed.plastic:
        raise ValueError(
            f"{what} changes with the weights of '{signal.follows}', which does not learn: choose "
            "random, broadcast or given weights"
        )
    if followed is None or (
        [*followed.sources.items()] != [*signal.targets.items()]
        or [*followed.targets] != [*signal.sources]
    ):
        raise ValueError(
            f"{what} must follow a connection from its targets to its readout; '{signal.follows}' "
            "does not lead there"
        )
