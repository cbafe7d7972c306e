"""Projections with their traces, and learning signals, as synapses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from brian2.utils.stringtools import get_identifiers

from eprop_brian.base.sparse import Matrix, dense, ends, is_sparse
from eprop_brian.brian.context import Context, guarded, in_si_units, renamed
from eprop_brian.brian.parts import (
    Code,
    NetworkPart,
    Pathway,
    Summed,
    SynapsesPart,
    WeightBlock,
)
from eprop_brian.brian.sources import Source, endings, lagged_lines
from eprop_brian.equations.learning_signals import TRANSMITTED
from eprop_brian.equations.regularizers import L2
from eprop_brian.network.built import state_variable
from eprop_brian.network.graph import Connection, SignalConnection
from eprop_brian.network.optimization import CLIPPED
from eprop_brian.network.step.connections import weight_change
from eprop_brian.symbolic.names import input_name, owned, substituted
from eprop_brian.symbolic.programs import OnlineProgram, online_program

__all__ = ["describe_projection", "describe_signal", "prepare_projection"]

#: What a synapse calls the spike that arrives at it in this step.
ARRIVED = "arrived"
#: What the variables of a synapse are that learns.
MEANINGS = {
    "eligibility_trace": "dz/dw of the neuron, through its own past",
    "filtered_trace": "the same, filtered as the readout filters spikes",
    "signal_sum": "gradient of the error in this trial",
    "trace_sum": "sum over this trial, for the rate regulariser",
    "gradient": "of the newest update",
    "gradient_sum": "over the trials of this batch",
}
#: The steps by which a value arrives later than with the least delay.
LATE = "extra_delay"


@dataclass
class Projected:
    """The part of a connection between two groups, while it is described.

    Attributes
    ----------
    part : SynapsesPart
    connection : Connection
    source, target : Source
    names : dict of str to str
        Names of the synapses' own variables.
    sent : str
        The variable of the source whose spikes or values it hands on.
    received : str
        The variable of the target in which values are summed up; ``""`` where spikes arrive.
    reads : dict of str to str
        What its traces read of the source, by the names in the statements.
    """

    part: SynapsesPart
    connection: Connection
    source: Source
    target: Source
    names: dict[str, str] = field(default_factory=dict)
    sent: str = ""
    received: str = ""
    reads: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, values: np.ndarray | None = None, comment: str = "") -> str:
        """Add a variable of the synapses."""
        comment = comment or MEANINGS.get(name, "")
        self.names[name] = self.part.variable(name, values=values, comment=comment)
        return self.names[name]

    @property
    def ends(self) -> tuple[slice, slice]:
        """Its rows and columns in the matrix."""
        c = self.connection
        return c.targets[self.target.part.name], c.sources[self.source.part.name]

    def stored(self, matrix: Matrix) -> np.ndarray:
        """The values of a matrix [post, pre] in the order of the synapses."""
        rows, columns = self.ends
        block: Any = matrix[rows, columns]
        if is_sparse(block):
            # Structured as the adjacency, of which the pairs are.
            return block.data.astype(float)
        if self.part.connect == "pairs":
            pre, post = self.part.pairs
            return np.asarray(block[post, pre], dtype=float).ravel()
        by_pair = np.asarray(dense(block), dtype=float).T
        if self.part.connect == "others":
            return by_pair[~np.eye(len(by_pair), dtype=bool)]
        return by_pair.ravel()

    @property
    def extra_delay(self) -> int | np.ndarray:
        """Steps by which spikes arrive later than with the least delay, one for all or one each."""
        c = self.connection
        if c.to_readout or not c.spread:
            return 0
        if c.delay_each:
            return self.stored(c.delay_steps).astype(int) - c.least_delay
        return int(c.delay_steps) - c.least_delay

    @property
    def notes_arrivals(self) -> bool:
        """Whether synapses note by themselves which spikes arrive."""
        return not self.received and bool(np.any(self.extra_delay))

    def input_of(self, context: Context) -> str:
        """What a target's input is called in the statements."""
        c = self.connection
        return "I" if c.to_readout else input_name(context.receptor(c))

    def value(self, steps: int) -> str:
        """What arrives in a step, as an expression of what the source has kept.

        Parameters
        ----------
        steps : int
            Since then, in which the source has sent something newer.
        """
        extra = self.extra_delay
        kept = {k: f"{self.source.before(self.sent, int(k) + steps)}_pre" for k in np.unique(extra)}
        if len(kept) == 1:
            return next(iter(kept.values()))
        late = self.names.get(LATE) or self.add(LATE, values=np.asarray(extra))
        return "(" + " + ".join(f"int({late} == {int(k)})*{x}" for k, x in kept.items()) + ")"

    def written(self, context: Context, lines: Iterable[str], **more: str) -> list[str]:
        """Lines in the names of the synapses, which get the constants that they read."""
        lines = list(lines)
        after = {k: f"{v}_post" for k, v in self.target.names.items()}
        known = {**after, **self.names, **more}
        values = {**self.target.values, **context.constants}
        comments = {**self.target.comments, **context.comments}
        numbers = {k: v for k, v in values.items() if k not in known}
        return renamed(lines, {**known, **self.part.constants_in(lines, numbers, comments)})


def prepare_projection(
    context: Context, connection: Connection, source: Source, target: Source
) -> Projected | None:
    """What the groups at both ends of a projection keep for it; None if it has no synapses.

    All projections are prepared before one is described: where synapses sum something up, Brian2
    wants no variable of theirs to be called like one of the neurons.
    """
    name = connection.name
    if len(connection.sources) * len(connection.targets) > 1:
        name = f"{name}_{source.part.name}_{target.part.name}"
    part = SynapsesPart(name, source=source.part.name, target=target.part.name)
    part.comment = [f"{part.source} to {part.target}"]
    p = Projected(part, connection, source, target)
    rows, columns = p.ends
    if connection.adjacency is not None:
        post, pre = ends(connection.adjacency[rows, columns])
        part.connect, part.pairs = "pairs", (pre, post)
        if not len(pre):
            return None
    elif part.source == part.target:
        part.connect = "others"
    p.sent = _sent(context, p)
    if context.is_analog(connection, part.source):
        p.received = target.add(f"{target.names[p.input_of(context)]}_{part.source}")
    if connection.plastic and connection.to_readout:
        lines = list(context.readout_programs[target.part.name].pre_trace)
        filtered = _filtered(p, lines, context.network.readout_delay)
        p.reads["eps_y"] = f"{filtered}_pre"
    elif connection.plastic:
        program = _program(context, p)
        values = {**target.values, **context.constants}
        comments = {**target.comments, **context.comments}
        before = source.presynaptic_traces(
            program.pre, program.pre_variables, values, comments, p.sent
        )
        p.reads |= {name: f"{variable}_pre" for name, variable in before.items()}
        if "pre" in get_identifiers("\n".join(program.synapse)) and not p.notes_arrivals:
            # The step has been done by then, in which a population has sent something new.
            p.reads["pre"] = p.value(0 if source.is_input else 1)
    return p


def describe_projection(context: Context, network: NetworkPart, p: Projected) -> None:
    """A projection with what it delivers and learns."""
    part, connection = p.part, p.connection
    # Synapses take a name that they do not have themselves for one of their target.
    part.taken |= {*p.target.part.variables, *p.source.part.variables}
    rows, columns = p.ends
    weights = connection.matrix(context.state.weights[connection.name])
    weight = p.add("w", values=p.stored(weights))
    network.weights.append(
        WeightBlock(connection.name, part.name, weight, rows.start, columns.start)
    )
    _deliver(context, p, len(network.synapses))
    network.synapses[part.name] = part
    if connection.to_readout and not connection.from_inputs:
        for signal in context.signals_along(connection, part.source):
            _signal_back(context, network, p, signal)
    if connection.plastic:
        (_learn_readout if connection.to_readout else _learn)(context, p)


def _sent(context: Context, p: Projected) -> str:
    """The variable of the source whose spikes or values a projection hands on."""
    c, source = p.connection, p.source
    if c.reads:
        number = context.systems[source.part.name].number_of(c.reads)
        return source.names[f"reading_{number}"]
    if c.transmission is not None:
        return source.transmitted(c.transmission, float(context.network.dt))
    return source.spike


def _weight(context: Context, p: Projected) -> tuple[str, str]:
    """What a spike brings of a weight, and the slope of that, ``""`` for 1."""
    function = context.network.weight_function(p.connection, p.target.part.name)
    if function is None:
        return "w", ""
    names = owned(function.names)
    value, slope = (function.code(x, names) for x in (function.expression, function.slope))
    return f"({value})", f"({slope})*"


def _deliver(context: Context, p: Projected, order: int) -> None:
    """What a spike, or a value, does to the target."""
    c, part = p.connection, p.part
    weight, _ = _weight(context, p)
    late = not c.to_readout or context.network.readout_delay
    when = "before_groups" if c.from_inputs else "arrivals" if late else "synapses"
    if p.received:
        (expression,) = p.written(context, [f"{weight}*value"], value=p.value(0))
        part.summed.append(Summed(f"{p.received}_post", expression, when, order))
        return
    summed = f"{p.target.names[p.input_of(context)]}_post"
    lines, delay = [f"{summed} += {weight}"], p.extra_delay
    if np.any(delay):
        steps = p.stored(c.delay_steps) if c.delay_each else int(c.delay_steps)
        longest = p.add("delay_steps", values=np.asarray(steps)) if c.delay_each else str(steps)
        # A spike of the trial before is not to arrive any more.
        in_time = f"int(t_in_timesteps % n_steps >= {longest})"
        lines = [f"{summed} += {weight}*{in_time}"]
        if c.plastic:
            p.add(ARRIVED, comment="whether a spike arrives in this step")
            lines.append(f"{p.names[ARRIVED]} = {in_time}")
    part.on_pre = Pathway(p.written(context, lines), when, order, delay)


def _program(context: Context, p: Projected) -> OnlineProgram:
    system = context.on_synapses(p.connection, p.target.part.name)
    receptor = context.receptor(p.connection)
    return online_program(system, context.filter, context.averaging, receptor)


def _learn(context: Context, p: Projected) -> None:
    """Traces of synapses onto neurons."""
    program = _program(context, p)
    for variable in program.synapse_variables:
        p.add(variable)
    lines = lagged_lines(program.synapse, context.network.readout_delay)
    arrived = {"pre": p.names[ARRIVED]} if p.notes_arrivals else {}
    lines = p.written(context, lines, **p.reads, **arrived)
    if ARRIVED in p.names:
        lines.append(f"{p.names[ARRIVED]} = 0")
    checked = not (in_si_units(lines) or p.target.si_units)
    p.part.codes.append(Code(lines, "traces", comment="eligibility traces", has_units=checked))
    sums = [*_variables(program.gradient)]
    ends_with = [*program.gradient, *(f"{v} = 0" for v in program.synapse_variables)]
    _update(context, p, sums, ends_with)


def _learn_readout(context: Context, p: Projected) -> None:
    """The gradient of weights to a readout."""
    p.add("signal_sum")
    lines = p.written(context, ["signal_sum = signal_sum + error*eps_y"], **p.reads)
    p.part.codes.append(Code(lines, "traces", comment="what a step adds to the gradient"))
    gradient = ["gradient_sum = gradient_sum + signal_sum"]
    _update(context, p, ["gradient_sum"], [*gradient, "signal_sum = 0"])


def _filtered(p: Projected, lines: list[str], lag: int) -> str:
    """The presynaptic spikes or values as the readout filters them."""
    source, name = p.source, "eps_y"
    read = get_identifiers("\n".join(lines))
    numbers = {k: v for k, v in p.target.values.items() if k in read}
    key = (tuple(lines), tuple(sorted(numbers.items())), lag, p.sent)
    if key not in source.presynaptic:
        constants = source.part.constants_in(lines, numbers, p.target.comments)
        variable = source.part.variable(name, comment="as the readout filters what it gets")
        source.begin.append(f"{variable} = 0")
        written = renamed(lines, {**constants, name: variable, "pre": p.sent})
        # What a population sends arrives in its own step, or in the next.
        late = lag and not source.is_input
        (source.first if late else source.last).extend(written)
        source.presynaptic[key] = {name: variable}
    return source.presynaptic[key][name]


def _variables(statements: Iterable[str]) -> list[str]:
    return [line.split(" = ")[0] for line in statements]


def _update(context: Context, p: Projected, sums: list[str], trial: list[str]) -> None:
    """What the end of a trial adds to the gradient, and the update at the end of a batch."""
    network, c, part = context.network, p.connection, p.part
    for name in ("gradient", *sums):
        p.add(name)
    optimizer = network.optimizer_of(c)
    for state in optimizer.states:
        p.add(state_variable(state))
    summed = "gradient_sum"
    if "batch_trace_sum" in sums:
        summed = "(gradient_sum + rate_factor*batch_trace_sum)"
    scale = "gradient_scale*" if context.state.gradient_scale != 1 else ""
    mean = "/batch_size" if context.batch_size > 1 else ""
    l2 = f" + {L2}" if network.c_l2 else ""
    _, slope = _weight(context, p)
    batch = [f"gradient = {slope}{scale}{summed}{mean}{l2}"]
    if network.clip_value is not None:
        batch.append(CLIPPED)
    batch += [f"{name} = 0" for name in sums]
    along = context.signals_along(c, part.source)
    learning = next((s.feedback for s in along if s.learns), None)
    change = weight_change(network, c, learning)
    change = [substituted(line, {"g": "gradient"}) for line in change]
    kept = ["w", "B", *map(state_variable, optimizer.states)]
    batch = guarded([*batch, *change], kept)
    lines = (p.written(context, trial), p.written(context, batch))
    part.codes += endings(context, *lines, 1, True)


# --- learning signals -----------------------------------------------------------------------------


def _transmitted(
    context: Context,
    part: SynapsesPart,
    signal: SignalConnection,
    readout: Source,
    side: str,
    weight: str,
    delay: np.ndarray | None,
) -> str:
    """What arrives of a readout's signal in this step: of an earlier one, if it is delayed."""
    sent = readout.names.get("signal", readout.names["error"])
    if delay is None:
        return substituted(TRANSMITTED, {"B": weight, "signal": f"{sent}_{side}"})
    late = part.variable("signal_delay", values=delay, comment="steps, at least 1")
    terms = [f"int({late} == 1)*{sent}_{side}"]
    terms += [
        f"int({late} == {k + 1})*{readout.names[f'signal_{k}']}_{side}"
        for k in range(1, int(delay.max()))
    ]
    return substituted(TRANSMITTED, {"B": weight, "signal": f"({' + '.join(terms)})"})


def _hear(
    context: Context,
    part: SynapsesPart,
    signal: SignalConnection,
    readout: Source,
    target: Source,
    sides: tuple[str, str],
    weight: str,
    delay: np.ndarray | None,
) -> None:
    """Sum a learning signal in a population that learns, alone or as a part of several.

    `sides` are those of the synapses on which readout and population are.
    """
    population, (sends, hears) = target.part.name, sides
    if not context.learns(population):
        return
    expression = _transmitted(context, part, signal, readout, sends, weight, delay)
    heard = context.signal_of(signal, population)
    variable = target.names[heard]
    if len(context.signals_to(population, heard)) > 1:
        comment = "a part of its learning signal"
        variable = target.part.variable(f"{heard}_{signal.source}", comment=comment)
    part.summed.append(Summed(f"{variable}_{hears}", expression, "signals"))
    target.hears.setdefault(heard, []).append(variable)


def _signal_back(
    context: Context, network: NetworkPart, p: Projected, signal: SignalConnection
) -> None:
    """A learning signal that comes back through the synapses of a projection."""
    weight = p.names["w"]
    rows, columns = signal.targets[p.source.part.name], signal.sources[signal.source]
    if signal.learns:
        weight = p.add("B", values=_block(p, context.state.weights[signal.name], rows, columns))
    network.weights.append(
        WeightBlock(signal.name, p.part.name, weight, rows.start, columns.start, True)
    )
    delay = None
    if signal.delay_steps is not None:
        delay = _block(p, signal.delay_steps, rows, columns)
    _hear(context, p.part, signal, p.target, p.source, ("post", "pre"), weight, delay)


def _block(p: Projected, matrix: Matrix, rows: slice, columns: slice) -> np.ndarray:
    """Values of a matrix [neuron, output] in the order of the synapses to the readout."""
    block: Any = dense(matrix[rows, columns])
    if p.part.connect == "pairs":
        pre, post = p.part.pairs
        return np.asarray(block[pre, post], dtype=float)
    return np.asarray(block, dtype=float).ravel()


def describe_signal(
    context: Context,
    network: NetworkPart,
    signal: SignalConnection,
    readout: Source,
    target: Source,
) -> None:
    """A learning signal with weights of its own."""
    population = target.part.name
    name = signal.name if len(signal.targets) == 1 else f"{signal.name}_{population}"
    part = SynapsesPart(name, source=signal.source, target=population)
    part.comment = [f"learning signal, {signal.source} to {population}"]
    part.taken |= {*target.part.variables, *readout.part.variables}
    rows, columns = signal.targets[population], signal.sources[signal.source]
    weights: Any = context.state.weights[signal.name]
    values = np.asarray(dense(weights)[rows, columns], dtype=float).T.ravel()
    weight = part.variable("B", values=values)
    delay = None
    if signal.delay_steps is not None:
        delay = np.asarray(signal.delay_steps[rows, columns], dtype=float).T.ravel()
    _hear(context, part, signal, readout, target, ("pre", "post"), weight, delay)
    network.weights.append(WeightBlock(signal.name, name, weight, rows.start, columns.start))
    network.synapses[name] = part
