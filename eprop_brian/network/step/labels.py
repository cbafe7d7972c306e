"""Readouts whose loss is that of a sequence of labels: what frames show, and their errors."""

from __future__ import annotations

from dataclasses import replace

from eprop_brian.equations.losses import Loss
from eprop_brian.network.graph import ReadoutGroup
from eprop_brian.network.labels import LABELS, FrameStores
from eprop_brian.network.step.parts import LabelsPart, ReadoutPart
from eprop_brian.network.step.running import Running
from eprop_brian.network.step.writing import Writer
from eprop_brian.steps.blocks import View
from eprop_brian.steps.labels import LabelProbabilities
from eprop_brian.steps.nodes import For, If, Int, Node, Put, Sync

__all__ = ["collect", "compare", "without_labels", "write_labels"]


def without_labels(loss: Loss) -> Loss:
    """What is left of a loss of labels in a program whose trials have none: its outputs."""
    return replace(loss, loss="0", error="0")


def write_labels(writer: Writer, readout: ReadoutGroup) -> LabelsPart:
    """Write the blocks of a readout that is compared with labels."""
    groups, name, loss = writer.groups, readout.name, readout.loss
    stores, own = FrameStores.of(name), writer.own(name)
    answers = View(groups.groups["answers"], "_answered", {"output": "output"})
    writer.block(name, "collect", ["output = output + y"], answers, own)
    value = f"loss_sum = loss_sum + {writer.of_readout(name, loss.loss)}"
    writer.block(name, "likelihood", [value], own, writer.control)
    if groups.learning:
        writer.block(
            name,
            "frame_error",
            [
                # Every step of a frame has the same part in it.
                f"error = ({writer.of_readout(name, loss.error)})/frame_steps",
                f"signal = {writer.of_readout(name, writer.signals[name])}",
                "stored_error = error",
                "stored_signal = signal",
            ],
            writer.own(stores.frames, "_in_frame"),
            writer.own(stores.durations, "_frame"),
            View(
                groups.groups[f"{name}_history"],
                "_history",
                {"stored_error": "error", "stored_signal": "signal"},
            ),
            own,
            writer.control,
        )
    y, p, y_target = (writer.array(stores.frames, x, "_in_frame") for x in ("y", "p", "y_target"))
    return LabelsPart(
        labels=writer.array(LABELS, "label_number", "_neuron"),
        most=groups.capacity.most_labels,
        frame_steps=writer.array(stores.durations, "frame_steps", "_frame"),
        y=y,
        p=p,
        y_target=y_target,
        log_likelihood=writer.array(name, "log_likelihood", "_neuron"),
        room=writer.array(stores.ways, "log_probability", "_neuron"),
    )


def collect(running: Running, r: ReadoutPart, frame: str, answer: str) -> list[Node]:
    """What a step adds to its frame, an expression of its number, whose outputs are at `answer`."""
    assert r.labels is not None  # its loss is one of labels
    steps = r.labels.frame_steps
    counted = Put(steps, frame, f"{{{steps}}}[{frame}] + 1")
    return [*running.outputs(r, "collect", answered=answer), counted]


def compare(running: Running, r: ReadoutPart, number: int) -> list[Node]:
    """What a trial has shown is compared with its labels at its end; `number` is the readout's."""
    rules, labels = running.rules, r.labels
    if labels is None or r.period is None:
        return []
    first_step = f"_target_row_{number}*{rules.n_steps}"
    probabilities = LabelProbabilities(
        n=r.n,
        labels=labels.labels,
        at_labels=f"_target_row_{number}*{labels.most}",
        most_labels=labels.most,
        most_frames=r.n_answers,
        sums=r.output,
        at_sums=f"_answers_{number}",
        row=r.n_outputs,
        frame_steps=labels.frame_steps,
        y=labels.y,
        p=labels.p,
        y_target=labels.y_target,
        log_likelihood=labels.log_likelihood,
        room=labels.room,
    )
    row = f"(_t + {rules.signal_rows})*{r.n}"
    error = running.outputs(r, "frame_error", in_frame=f"_frame*{r.n}", history=row)
    of_step = [
        Int("_frame", f"{{{r.period}}}[{first_step} + _t] - 1"),
        If("_frame >= 0", error),
    ]
    learning = [If("_learning", [For("_t", "0", "_T", of_step)])] if error else []
    return [Sync(), probabilities, Sync(), *running.outputs(r, "likelihood"), *learning, Sync()]
