"""Readouts, their losses and what they report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eprop_brian.brian.context import Context
from eprop_brian.brian.parts import (
    Code,
    GroupPart,
    NetworkPart,
    Outcome,
    Summed,
    SynapsesPart,
)
from eprop_brian.brian.sources import Source, written
from eprop_brian.network.graph import ReadoutGroup
from eprop_brian.network.step.readouts import LARGEST_INVERSE_P, least_inverse_p
from eprop_brian.symbolic.names import READOUT, own, substituted
from eprop_brian.tasks.trials import Trials

__all__ = ["describe_readout", "finish_readout"]

#: The time at which an array has what belongs to a step of the trial's target.
_PLACE = "(target_of_trial(trial*dt)*n_steps + step)*dt"


def describe_readout(context: Context, network: NetworkPart, readout: ReadoutGroup) -> Source:
    """A readout with its variables; `finish_readout` adds what happens in a step."""
    part = GroupPart(readout.name, size=readout.size)
    loss, names = readout.loss, context.readout_names[readout.name]
    part.comment = [readout.readout.update.strip(), f"scored by {loss.loss}"]
    source = Source(part, entering="")
    source.values = {**context.constants, **{names[k]: v for k, v in readout.values.items()}}
    source.comments = {own(k, READOUT): text for k, text in readout.readout.constants.items()}
    # What statements compute on the way.
    part.taken |= {"y_target", "advantage", "counts", "trial", "step", "row", "period"}
    for variable in ("y", "I", "error", "loss_sum"):
        source.add(variable)
    source.add("signal") if context.sent(readout) != "error" else None
    for variable in ("softmax_sum", "p") if loss.softmax else ():
        source.add(variable)
    for variable in ("coupling", "coupled") if loss.coupling else ():
        source.add(variable)
    n_answers = max(1, context.state.capacity.n_answers)
    for number in range(1, n_answers + 1):
        source.add(f"output_sum_{number}")
    # A signal that comes later waits in a row of variables.
    for steps in range(1, context.longest_signal(readout) + 1):
        source.add(f"signal_{steps}")
    network.groups[readout.name] = part
    return source


def finish_readout(
    context: Context,
    network: NetworkPart,
    readout: ReadoutGroup,
    source: Source,
    trials: Trials,
    arriving: Sequence[str],
) -> None:
    """Add the step of a readout.

    Parameters
    ----------
    context : Context
    network : NetworkPart
    readout : ReadoutGroup
    source : Source
    trials : Trials
    arriving : sequence of str
        Variables that synapses sum up in every step, beside what spikes add to ``I``.
    """
    part, loss, names = source.part, readout.loss, context.readout_names[readout.name]
    target, target_row = _timed_targets(context, network, readout, source, trials)
    where = [
        "trial = t_in_timesteps // n_steps",
        "step = t_in_timesteps % n_steps",
        f"row = {target_row}",
        f"y_target = {target}",
        *_advantage(network, readout, source, trials),
    ]
    counts = _counts(context, readout, source, trials, network)
    factor = "counts*" if counts else ""

    def counted(text: str) -> str:
        return f"{factor}({substituted(text, names)})" if factor else substituted(text, names)

    inputs = " + ".join(["I", *arriving])
    inputs = f"({inputs})" if arriving else inputs
    advance = [substituted(readout.readout.update.strip(), {**names, "I": inputs}), "I = 0"]
    late = context.longest_signal(readout)
    sent = "error" if context.sent(readout) == "error" else "signal"
    kept = ["signal_1 = " + sent] * bool(late)
    shifted = [f"signal_{k} = signal_{k - 1}" for k in range(late, 1, -1)] + kept
    scoring = [
        *shifted,
        f"error = {counted(loss.error)}",
        f"loss_sum = loss_sum + {counted(loss.loss)}",
        *_answers(context, loss.signal, factor),
    ]
    if sent == "signal":
        scoring.append(f"signal = {counted(context.sent(readout))}")
    wanted = [*where, *counts]
    codes: list[tuple[str, int, list[str], str]] = []
    if not (loss.softmax or loss.coupling):
        codes.append(("readouts", 0, [*advance, *wanted, *scoring], "a step, its error and loss"))
    else:
        codes.append(("readouts", 0, advance, "a step"))
        shared = _shared(network, source, readout)
        probability = []
        if loss.softmax:
            least = least_inverse_p(loss, float)
            probability = [f"p = 1/clip(softmax_sum, {least}, {LARGEST_INVERSE_P})"]
        if loss.coupling:
            coupling = f"coupling = {substituted(loss.coupling, names)}"
            lines = [*where, *probability, coupling]
            codes.append(("errors", 1, lines, "what the outputs share"))
            probability = []
        codes.append(("errors", 3, [*wanted, *probability, *scoring], "error and loss of a step"))
        network.synapses[shared.name] = shared
    part.codes.append(Code(source.begin, "trials", 0, "trial", "a trial begins"))
    for when, order, lines, comment in codes:
        part.codes.append(Code(written(source, lines), when, order, comment=comment))
    _report(context, network, readout, source, trials)


def _timed_targets(
    context: Context,
    network: NetworkPart,
    readout: ReadoutGroup,
    source: Source,
    trials: Trials,
) -> tuple[str, str]:
    """How the target of a step is read, and the row of the targets that it stands in."""
    name, columns = f"{readout.name}_targets", context.network.output_slices[readout.name]
    network.timed[name] = trials.targets[:, :, columns].reshape(-1, readout.size)
    source.part.functions |= {name: name, "target_of_trial": "target_of_trial"}
    whole = trials.targets.shape[1] > 1
    row = "target_of_trial(trial*dt)" + ("*n_steps + step" if whole else "")
    return f"{name}(row*dt, i)", row


def _advantage(
    network: NetworkPart, readout: ReadoutGroup, source: Source, trials: Trials
) -> list[str]:
    """Lines that read the advantage of a step; none where the loss does not."""
    if not readout.loss.reads_advantage or trials.advantage is None:
        return []
    network.timed["advantages"] = trials.advantage.reshape(-1)
    source.part.functions["advantages"] = "advantages"
    return [f"advantage = advantages({_PLACE})"]


def _counts(
    context: Context,
    readout: ReadoutGroup,
    source: Source,
    trials: Trials,
    network: NetworkPart,
) -> list[str]:
    """Lines that say whether the error of a step counts; none where it always does."""
    if trials.periods is not None:
        network.timed["periods"] = trials.periods.reshape(-1).astype(float)
        source.part.functions["periods"] = "periods"
        return [f"period = periods({_PLACE})", "counts = int(period > 0)"]
    first = context.n_steps - readout.window(context.state.learning_window)
    return [f"counts = int(step >= {first})"] if first else []


def _answers(context: Context, output: str, factor: str) -> list[str]:
    """Sums of the output over the steps of each answer."""
    n_answers = context.state.capacity.n_answers
    if n_answers < 2:
        return [f"output_sum_1 = output_sum_1 + {factor}{output}"]
    return [
        f"output_sum_{k} = output_sum_{k} + int(period == {k})*{output}"
        for k in range(1, n_answers + 1)
    ]


def _shared(network: NetworkPart, source: Source, readout: ReadoutGroup) -> SynapsesPart:
    """The sums over all outputs that each of them reads."""
    names, loss = source.names, readout.loss
    part = SynapsesPart(f"{readout.name}_shared", source=readout.name, target=readout.name)
    part.comment = ["every output reads all of them"]
    if loss.softmax:
        others = f"exp({names['y']}_pre - {names['y']}_post)"
        part.summed.append(Summed(f"{names['softmax_sum']}_post", others, "errors", 0))
    if loss.coupling:
        others = f"{names['coupling']}_pre"
        part.summed.append(Summed(f"{names['coupled']}_post", others, "errors", 2))
    return part


def _report(
    context: Context,
    network: NetworkPart,
    readout: ReadoutGroup,
    source: Source,
    trials: Trials,
) -> None:
    """What is recorded at the end of a trial."""
    counted = trials.counted(context.state.learning_window)
    if readout.window_steps is not None:
        counted = np.full_like(counted, readout.window_steps)
    loss = readout.loss
    network.outcomes.append(
        Outcome(
            readout.name,
            source.names["loss_sum"],
            tuple(source.names[f"output_sum_{k}"] for k in range(1, counted.shape[1] + 1)),
            loss.mean_over_readouts,
            counted.sum(axis=1) if loss.mean_over_window else np.ones(len(counted), dtype=int),
            counted,
        )
    )
