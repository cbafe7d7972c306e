"""Blocks of readouts, and of the learning signals that they send."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from eprop_brian.equations.learning_signals import DIFFUSION, LEARNING_SIGNAL, TRANSMITTED
from eprop_brian.equations.losses import Loss
from eprop_brian.network.episodes import REWARD_ERROR
from eprop_brian.network.graph import ReadoutGroup, SignalConnection
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.step.episodes import advantage_view
from eprop_brian.network.step.labels import without_labels, write_labels
from eprop_brian.network.step.parts import (
    DiffusionPart,
    LearningSignalPart,
    ReadoutPart,
    coupling_block,
)
from eprop_brian.network.step.writing import Writer
from eprop_brian.steps.blocks import View
from eprop_brian.steps.spiking import Follow
from eprop_brian.symbolic.losses import ErrorPart
from eprop_brian.symbolic.names import substituted
from eprop_brian.symbolic.programs import direct_name

__all__ = [
    "LARGEST_INVERSE_P",
    "least_inverse_p",
    "write_diffusion",
    "write_learning_signal",
    "write_readout",
]

#: Largest 1/p of a softmax probability: keeps log(p) finite in float32 too.
LARGEST_INVERSE_P = "1e30"


def write_readout(writer: Writer, readout: ReadoutGroup) -> ReadoutPart:
    """Write the blocks of readouts."""
    groups, name = writer.groups, readout.name
    history, own = groups.groups[f"{name}_history"], writer.own(name)
    learning = groups.learning
    _write_advance(writer, readout)
    labels = write_labels(writer, readout) if groups.is_labelled(readout) else None
    if labels is None:
        _write_loss(writer, readout)
    variables = ["error", *["signal"] * learning, "loss_sum"]
    variables += groups.direct_variables(name)
    variables += ["entropy"] * (groups.acting is not None and groups.acting.agent.policy == name)
    if groups.tagging is not None and groups.acting is not None:
        variables += [REWARD_ERROR] * (groups.acting.agent.value == name)
    if not writer.network.continuous:
        variables += ["I", "y"]
    writer.block(name, "reset", [f"{v} = 0" for v in variables], own)
    writer.block(name, "outcome", ["loss = loss_sum"], writer.own("outcomes", "_record"), own)
    if learning:
        _write_learning(writer, name, readout.every)
    capacity, errors = groups.capacity, ["error", "signal"] if learning else []
    errors += [direct_name("signal")] if groups.direct_variables(name) else []
    return ReadoutPart(
        name,
        readout.size,
        writer.network.output_slices[name].start,
        writer.network.n_outputs,
        tuple(writer.code.array(history, variable) for variable in errors),
        writer.array("earlier_history", "signal") if "earlier_history" in groups.groups else None,
        writer.code.array(history, "filtered_signal") if learning and not groups.online else "",
        "" if groups.acting else writer.array("trials", "target", "_neuron"),
        writer.array("answers", "output"),
        capacity.target_steps,
        writer.array("period_data", "period") if groups.periods else None,
        max(1, capacity.n_answers),
        _window_start(writer, readout),
        labels,
        readout.every,
    )


def _window_start(writer: Writer, readout: ReadoutGroup) -> str:
    """The first step of a trial in which the error counts."""
    if readout.window_steps is not None:
        return str(writer.groups.capacity.n_steps - readout.window_steps)
    return f"{{{writer.array('control', 'window_start')}}}[0]"


def _write_advance(writer: Writer, readout: ReadoutGroup) -> None:
    name = readout.name
    update = [writer.of_readout(name, readout.readout.update), "I = 0", "softmax_sum = 0"]
    views = []
    if not writer.groups.learning:
        record = View(writer.groups.groups[f"{name}_history"], "_history", {"record": "y"})
        update.append("record = y")
        views.append(record)
        if readout.every > 1:
            writer.block(name, "hold", ["record = y"], record, writer.own(name))
    writer.block(name, "advance", update, *views, writer.own(name), writer.control)


def _write_loss(writer: Writer, readout: ReadoutGroup) -> None:
    """The loss of a step and its error."""
    groups, loss, name = writer.groups, readout.loss, readout.name
    loss = without_labels(loss) if loss.of_labels else loss
    own, post = writer.own(name), writer.own(name, "_post")
    pre, y = own.group, "y"
    if groups.acting is None:
        sample = [writer.own("target_data", "_sample")]
        if loss.reads_advantage:
            sample.append(writer.own("advantage_data", "_target_step"))
    else:
        # Their answers before the action that is scored, or chosen.
        y = "answered"
        taught = groups.groups[groups.acting.agent.teacher(name)]
        sample = [
            View(pre, "_neuron", {"y": y}),
            View(taught, "_neuron", {"y_target": "y_target"}),
            advantage_view(writer),
        ]
        post = View(pre, "_post", {**{x: x for x in ("softmax_sum", "coupled")}, "y": y})
    if loss.softmax:
        others = View(pre, "_pre", {"y_other": y})
        summed = ["softmax_sum = softmax_sum + exp(y_other - y)"]
        writer.block(name, "softmax", summed, others, post)
        least = least_inverse_p(loss, groups.dtype)
        probability = [f"p = 1/clip(softmax_sum, {least}, {LARGEST_INVERSE_P})"]
        writer.block(name, "probability", probability, own)
    if loss.coupling:
        _write_coupling(writer, name, "loss", loss.coupling, sample)
        others = View(pre, "_pre", {"coupling_other": "coupling"})
        writer.block(name, "coupled", ["coupled = coupled + coupling_other"], others, post)
    if groups.tagging is not None:
        _write_parts_of_error(writer, name, groups.tagging.errors[name], sample)
    statements = [
        f"error = {writer.of_readout(name, loss.error)}",
        f"loss_sum = loss_sum + {writer.of_readout(name, loss.loss)}",
        f"output = output + {loss.signal}",
    ]
    views = [*sample, View(groups.groups["answers"], "_answered", {"output": "output"})]
    if groups.acting is not None and groups.acting.window > 1:
        # Every step of an answer has the same part in it.
        statements.append(f"error = error/{groups.acting.window}")
    if groups.learning:
        statements += [
            f"signal = {writer.of_readout(name, writer.signals[name])}",
            "stored_error = error",
            "stored_signal = signal",
        ]
        stored = {"stored_error": "error", "stored_signal": "signal"}
        views.append(View(groups.groups[f"{name}_history"], "_history", stored))
    writer.block(name, "loss", statements, *views, own, writer.control)
    if groups.learning and groups.acting is not None and groups.acting.window > 1:
        shared = ["stored_error = error", "stored_signal = signal"]
        writer.block(name, "share", shared, views[-1], own)
    if groups.periods or groups.tagging is not None:
        silent = ["error = 0", *["signal = 0"] * groups.learning]
        silent += [f"{variable} = 0" for variable in groups.direct_variables(name)]
        writer.block(name, "silent", silent, own)


def _write_coupling(
    writer: Writer, name: str, what: str, coupling: str, sample: Iterable[View]
) -> None:
    """Write what outputs share for their loss, or for a part of their error."""
    statements = [f"coupling = {writer.of_readout(name, coupling)}", "coupled = 0"]
    writer.block(name, coupling_block(what), statements, *sample, writer.own(name), writer.control)


def _write_parts_of_error(
    writer: Writer, name: str, errors: tuple[ErrorPart, ErrorPart], sample: Sequence[View]
) -> None:
    """Write what is sent at an action: what rewards will multiply, and what they will not."""
    history, sent = writer.groups.groups[f"{name}_history"], writer.signals[name]
    rewarded, direct = errors
    parts = [("rewarded", rewarded, "error", "signal")]
    if not direct.is_zero:
        parts.append(("direct", direct, direct_name("error"), direct_name("signal")))
    for what, part, error, signal in parts:
        if part.coupling:
            _write_coupling(writer, name, what, part.coupling, sample)
        statements = [
            f"{error} = {writer.of_readout(name, part.error)}",
            f"stored_signal = {writer.of_readout(name, substituted(sent, {'error': error}))}",
        ]
        stored = View(history, "_history", {"stored_signal": signal})
        own = writer.own(name)
        writer.block(name, what, statements, *sample, stored, own, writer.control)


def least_inverse_p(loss: Loss, dtype: type) -> str:
    """The least 1/p of a softmax probability."""
    return repr(float(1 + np.finfo(dtype).eps)) if loss.open_at_one else "1"


def _write_learning(writer: Writer, name: str, every: int) -> None:
    """What traces read of the readouts, and the errors' way backwards."""
    if writer.groups.online:
        writer.window(name)
        return
    filtered, own = ("filtered_error", "filtered_signal"), writer.own(name)
    writer.block(name, "zero", [f"{variable} = 0" for variable in filtered], own)
    stored = {
        **{variable: variable for variable in ("error", "signal")},
        **{f"stored_{variable}": variable for variable in filtered},
    }
    history = View(writer.groups.groups[f"{name}_history"], "_history", stored)
    kept = [f"stored_{x} = {x}" for x in filtered]
    filters = writer.groups.readout_programs[name].backward
    writer.block(name, "backward", [*filters, *kept], history, own)
    if every > 1:
        writer.block(name, "backward_between", kept, history, own)


def write_learning_signal(
    writer: Writer, f: BuiltProjection[SignalConnection]
) -> LearningSignalPart:
    """Write the blocks of the learning signal that a population hears from a readout."""
    groups, signal = writer.groups, f.connection
    target, history = groups.groups[f.target], groups.groups[f"{f.source}_history"]
    statements = [LEARNING_SIGNAL]
    if groups.online:
        statements = [
            f"transmitted = {TRANSMITTED}",
            LEARNING_SIGNAL.replace(TRANSMITTED, "transmitted"),
        ]
    heard = groups.signal_of(f)
    names = {"L": heard, "signal": "signal"}
    if not groups.online and not groups.filtered_where_it_arrives(f.target):
        names = {"L": f"{heard}_filtered", "signal": "filtered_signal"}
    writer.block(
        f.name,
        "deliver",
        statements,
        writer.own(f.name, "_synapse"),
        View(target, "_post", {"L": names["L"]}),
        View(history, "_sent", {"signal": names["signal"]}),
    )
    direct = ""
    if groups.direct_variables(f.source):
        direct = direct_name(heard)
        writer.block(
            f.name,
            "deliver_direct",
            [LEARNING_SIGNAL],
            writer.own(f.name, "_synapse"),
            View(target, "_post", {"L": direct}),
            View(history, "_sent", {"signal": direct_name("signal")}),
        )
    follow = None
    if signal.symmetric:
        mirrored = next(
            p
            for p in groups.projections
            if p.matrix == signal.follows and (p.source, p.target) == (f.target, f.source)
        )
        follow = Follow(
            writer.array(f.name, "B", "_neuron"),
            int(f.group.N),
            f.width,
            writer.array(mirrored.name, "w", "_neuron"),
            writer.synapses(mirrored),
        )
    return LearningSignalPart(
        f.name,
        f.source,
        f.target,
        writer.synapses(f),
        writer.array(f.target, heard, "_neuron"),
        writer.array(f.name, "delay", "_synapse") if signal.delay_steps is not None else None,
        follow,
        writer.array(f.target, direct, "_neuron") if direct else "",
    )


def write_diffusion(writer: Writer, d: BuiltProjection[SignalConnection]) -> DiffusionPart:
    """Write the blocks of a learning signal that spreads from one population to another."""
    groups = writer.groups.groups
    writer.block(
        d.name,
        "deliver",
        [DIFFUSION],
        writer.own(d.name, "_synapse"),
        View(groups[d.target], "_post", {"L": "L"}),
        View(groups[d.source], "_sent", {"L_before": "L_before"}),
    )
    return DiffusionPart(d.name, d.connection.source, d.target, writer.synapses(d))
