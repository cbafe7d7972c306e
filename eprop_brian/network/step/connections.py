"""Blocks of projections: what spikes deliver, gradients, updates."""

from __future__ import annotations

from brian2.groups.group import Group

from eprop_brian.equations.learning_signals import Feedback
from eprop_brian.equations.regularizers import L2
from eprop_brian.network.built import optimizer_names, optimizer_statements
from eprop_brian.network.graph import Connection
from eprop_brian.network.groups import later_name
from eprop_brian.network.learned_delays import DELAY
from eprop_brian.network.optimization import CLIPPED
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.step.delays import write_lagged_sums, write_learned_delays
from eprop_brian.network.step.eligibility import write_traces
from eprop_brian.network.step.parts import ProjectionPart
from eprop_brian.network.step.sharing import write_shared
from eprop_brian.network.step.weights import (
    effective_weight,
    slope_of_weight,
    write_effective_weight,
)
from eprop_brian.network.step.writing import Writer, views
from eprop_brian.steps.blocks import View, repeat
from eprop_brian.steps.spiking import SPIKES_AT_ONCE
from eprop_brian.symbolic.names import input_name, substituted
from eprop_brian.symbolic.programs import lambda_name, parameter_sums
from eprop_brian.symbolic.scope import scoped_receptor

__all__ = ["weight_change", "write_projection"]


def write_projection(writer: Writer, p: BuiltProjection[Connection]) -> ProjectionPart:
    """Write the blocks of a projection."""
    groups, connection = writer.groups, p.connection
    to_readout = connection.to_readout
    analog = groups.is_analog(p)
    adds = _write_deliver(writer, p, analog)
    # Of a dense projection onto itself, what must stay 0, before an update and after it.
    itself = not p.autapses and not p.sparse
    refreshed = write_effective_weight(writer, p)
    effective: tuple[str, ...] = ()
    if itself and refreshed[0]:
        effective = (writer.code.array(p.group, effective_weight(writer, p), "_synapse"),)
    extra: int | str | None = None
    if groups.is_delayed(p):
        if connection.delay_each:
            extra = writer.code.array(p.group, "delay", "_synapse")
        else:
            extra = int(connection.delay_steps) - connection.least_delay
    # A recurrent spike acts in the next step at the earliest, an input spike in its own.
    delay, sender = connection.least_delay, groups.sender(p)
    if to_readout and not connection.from_inputs:
        delay = groups.lag
    learned = connection.learned_delay
    if not groups.learning or not (connection.plastic or learned):
        synapses = writer.synapses(p, extra)
        return ProjectionPart(
            p.name, sender, p.target, synapses, delay, analog, adds, effective=effective
        )
    sums = _write_sums(writer, p, to_readout)
    follows = False
    if connection.plastic:
        follows = _write_update(writer, p, to_readout, sums, refreshed)
    if learned:
        write_learned_delays(writer, p, learned)
    if groups.online:
        write_traces(writer, p, to_readout)
    else:
        _write_accumulate(writer, p, to_readout)
    pre_window: tuple[str, ...] = ()
    counters = {}
    if groups.online and groups.is_delayed(p):
        window = groups.groups[f"{p.name}_pre_window"]
        pre_window = tuple(writer.code.array(window, name, "0") for name in window.names)
    if writer.network.continuous:
        names = ("since", "updates", "skipped")
        counters = {name: writer.code.array(p.pre_group, name, "_pre") for name in names}
    clipped = writer.network.clip_norm is not None and connection.plastic
    return ProjectionPart(
        p.name,
        sender,
        p.target,
        writer.synapses(p, extra, groups.layout.width(p.n_pre) if follows else None),
        delay,
        analog,
        adds,
        plastic=connection.plastic,
        pre_rows=groups.pre_rows(connection),
        pre_window=pre_window,
        gradient=writer.code.array(p.learner, "gradient", "_synapse") if clipped else None,
        sums=tuple(writer.code.array(p.group, x, "_synapse") for x in sums if itself),
        weights=(writer.code.array(p.group, "w", "_synapse"), *effective) if itself else (),
        signal_sums=(writer.code.array(p.group, "signal_sum", "_synapse"),)
        if itself and writer.network.updates == "action"
        else (),
        effective=effective,
        lags=tuple(learned.lags) if learned else (),
        shared=write_shared(writer, p),
        **counters,
    )


def _write_deliver(
    writer: Writer, p: BuiltProjection[Connection], analog: bool
) -> tuple[str, str] | None:
    """What a spike brings; returns the arrays, if it adds a number of the synapse at once."""
    groups, own = writer.groups, View(p.group, "_synapse")
    input_of = input_name(scoped_receptor(p.connection.receptor))
    weight = effective_weight(writer, p)
    arriving, values = weight, []
    if analog:
        arriving, values = f"{weight}*z", [(groups.groups[groups.sender(p)], "_pre", ("z",))]
    if groups.is_delayed(p):
        input_of = later_name(input_of)
        deliver = [f"{input_of} = {input_of} + {arriving}"]
        later = writer.own(f"{p.target}_later", "_later")
        writer.block(p.name, "deliver", deliver, *views(values), later, own)
        return None
    post, deliver = writer.own(p.target, "_post"), [f"{input_of} = {input_of} + {arriving}"]
    writer.block(p.name, "deliver", deliver, *views(values), post, own)
    lines, several = repeat(deliver, SPIKES_AT_ONCE, (p.group, "_synapse", (weight,)), *values)
    writer.block(p.name, "deliver_several", lines, *several, post)
    if analog:
        return None
    return writer.array(p.target, input_of, "_post"), writer.code.array(p.group, weight, "_synapse")


def _write_sums(writer: Writer, p: BuiltProjection[Connection], to_readout: bool) -> list[str]:
    """How sums over the trials of a batch begin and are folded; returns those of the weights."""
    connection, own = p.connection, View(p.group, "_synapse")
    if writer.network.continuous:
        return ["signal_sum"]
    totals = {"gradient_total": "gradient_sum"} if connection.plastic else {}
    if connection.plastic and _has_rate_term(writer, to_readout):
        totals["batch_trace_total"] = "batch_trace_sum"
    sums = sorted({*totals, *totals.values()})
    if connection.learned_delay:
        of_delays = parameter_sums(DELAY, writer.network.rate_averaging)
        totals |= {total: x for x, total in of_delays.items()}
    cleared = [f"{name} = 0" for name in sorted({*totals, *totals.values()})]
    writer.block(p.name, "zero_sums", cleared, own)
    folded = [line for t, x in totals.items() for line in (f"{t} = {t} + {x}", f"{x} = 0")]
    writer.block(p.name, "fold", folded, own)
    return sums


def _write_update(
    writer: Writer,
    p: BuiltProjection[Connection],
    to_readout: bool,
    sums: list[str],
    refreshed: tuple[list[str], list[View]],
) -> bool:
    """The update of a weight from sums; returns whether it changes feedback weights too.

    `refreshed` says how the effective weight follows the new one, and what it reads.
    """
    groups, network, own = writer.groups, writer.network, View(p.learner, "_synapse")
    read = [View(p.learner, "_synapse", {"g": "gradient"}), own]
    l2 = f" + {L2}" if network.c_l2 else ""
    slope, read_by_slope = slope_of_weight(writer, p)
    read += read_by_slope
    if network.continuous:
        gradient = [f"gradient = {slope}gradient_scale*signal_sum{l2}", "signal_sum = 0"]
        if network.updates == "spike":
            # All synapses of a presynaptic neuron have had the same number of updates.
            read.append(View(p.pre_group, "_pre", {"k": "updates"}))
    else:
        summed = "(gradient_total + gradient_sum)"
        if _has_rate_term(writer, to_readout):
            summed = f"({summed} + rate_factor*(batch_trace_total + batch_trace_sum))"
            read.append(View(groups.groups[p.target], "_post", {"rate_factor": "rate_factor"}))
        cleared = [f"{name} = 0" for name in sums]
        if p.shared_group is not None:
            # What synapses add to the weights that they share; these are spread afterwards.
            of_synapse, view = f"gradient = {slope}{summed}", View(p.group, "_synapse")
            writer.block(p.name, "own_gradient", [of_synapse, *cleared], *read[2:], view)
            slope, summed, cleared, refreshed = "", "gathered", [], ([], [])
        gradient = [f"gradient = {slope}gradient_scale*{summed}/batch_size{l2}", *cleared]
    clipped = [] if network.clip_value is None else [CLIPPED]
    gradient += clipped
    if network.clip_norm is not None:
        # The norm is known when all gradients are.
        writer.block(p.name, "measure", gradient, *read, writer.control)
        gradient = ["gradient = clip_factor*gradient"]
    signal = groups.signal_that_learns(p)
    if signal is not None:
        read.append(View(signal.group, "_feedback", {"B": "B"}))
    change = weight_change(network, p.connection, signal.connection.feedback if signal else None)
    optimized = [*gradient, *change, *refreshed[0]]
    writer.block(p.name, "optimize", optimized, *read, writer.control)
    if network.updates == "action":
        at_once = [f"gradient = {slope}gradient_scale*signal_sum{l2}", "signal_sum = 0", *clipped]
        optimized = [*at_once, *change, *refreshed[0]]
        writer.block(p.name, "optimize_at_action", optimized, *read, writer.control)
    return signal is not None


def weight_change(
    network: Resolved, connection: Connection, feedback: Feedback | None
) -> list[str]:
    """What an update does to a weight, and to the weights of feedback that learns with it."""
    optimizer = network.optimizer_of(connection)
    statements = optimizer_statements(network, optimizer)
    if feedback is None:
        return statements
    numbers = {k: f"({float(v)!r})" for k, v in feedback.parameters.items()}
    statements = [
        "w_before = w",
        *statements,
        "increment = w - w_before",
        *(substituted(x, numbers) for x in feedback.update.strip().split("\n")),
    ]
    if connection.sign:
        # The rule of the feedback may change the weight too.
        names = optimizer_names(network, optimizer)
        statements.append(f"w = clip(w, {names['w_min']}, {names['w_max']})")
    return statements


def _has_rate_term(writer: Writer, to_readout: bool) -> bool:
    """Whether the regulariser's part of the gradient waits for the end of the batch."""
    return writer.groups.rate_per_batch and not to_readout


def _write_accumulate(writer: Writer, p: BuiltProjection[Connection], to_readout: bool) -> None:
    """Sums over presynaptic spikes."""
    groups, own = writer.groups, View(p.group, "_synapse")
    post, sides = writer.own(p.target, "_post"), _results(writer, p, to_readout)
    analog, learned = groups.is_analog(p), p.connection.learned_delay
    factor = "x*" if analog else ""
    if learned:
        write_lagged_sums(writer, p, learned, sides)
    if not p.connection.plastic:
        return
    if to_readout:
        gain = groups.readout_programs[p.target].gain.times("filtered_error")
        added_up = f"{factor}({gain})" if analog else gain
        statements = [f"gradient_sum = gradient_sum + {added_up}"]
    else:
        receptor = scoped_receptor(p.connection.receptor)
        added = {lambda_name(receptor): "gradient_sum"}
        if _has_rate_term(writer, to_readout):
            added[lambda_name(receptor, of_traces=True)] = "batch_trace_sum"
        statements = [f"{x} = {x} + {factor}{n}" for n, x in added.items()]
    shared = (own, post, writer.control)
    writer.block(p.name, "accumulate", statements, *views(sides), *shared)
    if learned:
        # The steps around each arrival are read spike by spike.
        return
    lines, several = repeat(statements, SPIKES_AT_ONCE, *sides)
    writer.block(p.name, "accumulate_several", lines, *several, *shared)


def _results(
    writer: Writer, p: BuiltProjection[Connection], to_readout: bool
) -> list[tuple[Group, str, list[str]]]:
    """What sums over presynaptic spikes read."""
    groups = writer.groups
    if to_readout:
        names = ["filtered_error"]
        sides = [(groups.groups[f"{p.target}_history"], "_tile", names)]
    else:
        receptor = scoped_receptor(p.connection.receptor)
        names = [lambda_name(receptor)]
        if _has_rate_term(writer, to_readout):
            names.append(lambda_name(receptor, of_traces=True))
        sides = [(groups.groups[f"{p.target}_results"], "_tile", names)]
    if groups.is_analog(p):
        sender = groups.sender(p)
        given = p.source in writer.network.input_slices and not p.connection.transmission
        given = given and groups.acting is None
        data = "input_data" if given else f"{sender}_history"
        sides.append((groups.groups[data], "_value", ["x"]))
    return sides
