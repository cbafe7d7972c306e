"""From a `Network` to Brian2 objects and one fused step.

Every array of the network belongs to a Brian2 `NeuronGroup` (neurons, synapses) or to a `Store`
(trials, histories, lists of spikes), so that monitors, `state(...)` and a standalone program's
arguments work on all of them. What happens in a time step is a set of blocks
(`eprop_brian.steps.blocks`) that one code object runs, in the order of a schedule
(`eprop_brian.network.step`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate

import numpy as np
from brian2 import Network as Brian2Network

from eprop_brian.network.built import NEVER, BuiltNetwork, Capacity
from eprop_brian.network.checks import check_precision
from eprop_brian.network.choices import PROGRAMS
from eprop_brian.network.directions import mirrored_inputs
from eprop_brian.network.episodes import Acting
from eprop_brian.network.groups import NetworkGroups
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.network.step.carried import carried_arrays
from eprop_brian.network.step.connections import write_projection
from eprop_brian.network.step.emission import write_emission
from eprop_brian.network.step.episodes import write_environment
from eprop_brian.network.step.neurons import write_population
from eprop_brian.network.step.parts import InputPart, NetworkParts, Rules
from eprop_brian.network.step.probes import write_probes
from eprop_brian.network.step.readouts import (
    write_diffusion,
    write_learning_signal,
    write_readout,
)
from eprop_brian.network.step.schedule import network_schedule
from eprop_brian.network.step.values import write_transmissions
from eprop_brian.network.step.writing import Writer
from eprop_brian.steps.layout import STAGES, Layout
from eprop_brian.steps.objects import of_the_package
from eprop_brian.steps.runner import StepRunner
from eprop_brian.steps.spiking import Inputs

__all__ = ["build"]


@of_the_package()
def build(
    network: Network | Resolved,
    capacity: Capacity,
    codeobj_class: type,
    dtype: type = np.float64,
    layout: Layout | None = None,
) -> BuiltNetwork:
    """Make the Brian2 objects of a network for the active device.

    Parameters
    ----------
    network : Network or Resolved
    capacity : Capacity
    codeobj_class : type
        Code object class whose templates include ``step``.
    dtype : type
        Float type of all state.
    layout : Layout, optional

    Raises
    ------
    ValueError
        If the network is too large for one program, or needs more digits than `dtype` has.
    """
    network = as_resolved(network)
    check_precision(network, capacity.n_steps, dtype)
    if capacity.learning and network.gradient not in PROGRAMS:
        raise ValueError(
            f"gradient = '{network.gradient}' cannot be compiled; devices run "
            f"{' or '.join(PROGRAMS)}. Use a Trainer, which runs it in JAX"
        )
    layout = layout or Layout()
    groups = NetworkGroups(network, capacity, dtype, layout)
    writer = Writer(groups, _signals(network))
    parts = _write_parts(writer)
    seconds = writer.array("profile", "seconds") if layout.profile else ""
    runner = StepRunner(
        groups.control,
        writer.code,
        network_schedule(parts, writer.code, capacity.n_trials, seconds),
        codeobj_class,
        "float" if dtype == np.float32 else "double",
    )
    return BuiltNetwork(
        network=network,
        capacity=capacity,
        brian2_network=Brian2Network([*groups.groups.values(), runner], name="network_"),
        groups=groups.groups,
        projections=groups.projections,
        feedback=groups.feedback,
        diffusions=groups.diffusions,
        emissions=groups.emissions,
        probes=groups.probes,
        transmissions={k: t for known in groups.transmissions.values() for k, t in known.items()},
        acting=groups.acting,
        carried=carried_arrays(groups),
    )


def _signals(network: Resolved) -> dict[str, str]:
    """Which equation of its error each readout sends, the same to all populations."""
    equations = {readout.name: "error" for readout in network.readouts}
    sent = {s.source: s.feedback.signal for s in network.signals if not s.emitted}
    return {**equations, **sent}


def _write_parts(writer: Writer) -> NetworkParts:
    """Write the blocks of all parts."""
    network, groups = writer.network, writer.groups
    control = [*groups.control_integers, *["k"] * groups.learning]
    parts = NetworkParts(
        _rules(writer),
        {name: writer.array("control", name) for name in control},
        writer.array("trials_results", "spike_count", "_neuron"),
        inputs=tuple(_inputs(writer)),
        populations=tuple(write_population(writer, p) for p in network.populations),
        projections=tuple(write_projection(writer, p) for p in groups.projections),
        readouts=tuple(write_readout(writer, readout) for readout in network.readouts),
        signals=tuple(write_learning_signal(writer, f) for f in groups.feedback),
        diffusions=tuple(write_diffusion(writer, d) for d in groups.diffusions),
        emissions=tuple(write_emission(writer, e) for e in groups.emissions),
        acting=write_environment(writer) if groups.acting is not None else None,
    )
    return replace(parts, probes=tuple(write_probes(writer, parts.projections)))


def _inputs(writer: Writer) -> Iterator[InputPart]:
    """The input groups; the data of those that have any stand beside one another in a step."""
    analog = writer.groups.capacity.analog
    for group in writer.network.inputs:
        if group.constant:
            writer.block(group.name, "spike", ["z = 1"], writer.own(group.name))
            # Arrays of inputs have no padding.
            spikes = replace(writer.spikes(group.name, group.size), width=group.size)
            yield InputPart(spikes, None, write_transmissions(writer, group.name, inputs=True))
    if writer.groups.acting is not None:
        yield from _coded_inputs(writer, writer.groups.acting)
        return
    data = writer.array("input_data", "x" if analog else "words", "_neuron")
    pattern = writer.array("trials", "pattern", "_neuron")
    # Every group begins with a new word.
    driven = [group for group in writer.network.inputs if not group.constant]
    sizes = [g.size if analog else -(-g.size // 32) for g in driven]
    for group, before in zip(driven, accumulate(sizes, initial=0), strict=False):
        n_steps = writer.groups.capacity.n_steps
        inputs = Inputs(data, pattern, analog, sum(sizes), before, n_steps)
        values = write_transmissions(writer, group.name, inputs=True)
        yield InputPart(writer.spikes(group.name, group.size), inputs, values)
        if group in writer.groups.mirrored:
            spikes = writer.spikes(mirrored_inputs(group.name), group.size)
            yield InputPart(spikes, replace(inputs, mirrored=True))


def _coded_inputs(writer: Writer, acting: Acting) -> Iterator[InputPart]:
    """The input groups that sense an environment."""
    for group in writer.network.inputs:
        if group.constant:
            continue
        spikes = replace(writer.spikes(group.name, group.size), width=group.size)
        values = write_transmissions(writer, group.name, inputs=True)
        data = None
        if acting.map.analog:
            history, array = f"{group.name}_history", ""
            if history in writer.groups.groups:
                array = writer.array(history, "x", "_value")
            data = Inputs(array, "", True, group.size, 0)
        yield InputPart(spikes, data, values, coded=True)


def _rules(writer: Writer) -> Rules:
    """How a network learns, and what it keeps for it."""
    network, groups = writer.network, writer.groups
    clipped = network.clip_norm is not None and groups.learning
    return Rules(
        n_steps=groups.capacity.n_steps,
        learning=groups.learning,
        online=groups.online,
        continuous=network.continuous,
        updates=network.updates,
        cutoff=network.trace_cutoff_steps,
        never=NEVER,
        steps_per_pass=groups.steps_per_pass,
        window_rows=groups.window_rows,
        later_rows=groups.later_rows,
        late_rows=groups.late_rows,
        signal_rows=groups.signal_rows,
        history_rows=groups.history_rows,
        lag=groups.lag,
        clip_norm=writer.array("control", "clip_norm") if clipped else "",
        clip_factor=writer.array("control", "clip_factor") if clipped else "",
        stages=STAGES if groups.layout.profile else (),
        noise={half: writer.array("trials", half, "_trial") for half in groups.noise},
        sample_rows=groups.sample_rows,
        steps_of_trial=writer.array(groups.steps_group, "n_steps") if groups.steps_group else "",
        lengths=writer.array("trials", "length", "_trial") if groups.capacity.has_lengths else "",
        external=groups.acting.steps if groups.acting and groups.acting.environment.external else 0,
        bidirectional=bool(network.reversed),
        step_of_target=groups.periods or bool(network.reads_advantage),
        of_labels=any(groups.is_labelled(readout) for readout in network.readouts),
    )
