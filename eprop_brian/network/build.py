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
from eprop_brian.network.checks import PROGRAMS
from eprop_brian.network.groups import NetworkGroups
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.network.step.carried import carried_arrays
from eprop_brian.network.step.connections import write_projection
from eprop_brian.network.step.neurons import write_population
from eprop_brian.network.step.parts import InputPart, NetworkParts, Rules
from eprop_brian.network.step.readouts import (
    write_diffusion,
    write_learning_signal,
    write_readout,
)
from eprop_brian.network.step.schedule import network_schedule
from eprop_brian.network.step.writing import Writer
from eprop_brian.steps.layout import STAGES, Layout
from eprop_brian.steps.runner import StepRunner
from eprop_brian.steps.spiking import Inputs

__all__ = ["build"]


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
        If the network is too large for one program.
    """
    network = as_resolved(network)
    if capacity.learning and network.gradient not in PROGRAMS:
        raise ValueError(
            f"gradient = '{network.gradient}' cannot be compiled; devices run "
            f"{' or '.join(PROGRAMS)}. Use a Trainer, which runs it in JAX"
        )
    layout = layout or Layout()
    _check_sizes(network, capacity, layout)
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
        carried=carried_arrays(groups) if network.continuous else {},
    )


def _check_sizes(network: Resolved, capacity: Capacity, layout: Layout) -> None:
    """Compiled loops index arrays with 32 bits."""
    width, steps = max(layout.width(p.size) for p in network.populations), capacity.n_steps
    sizes = {
        f"{width} neurons x {steps} steps": width * steps,
        f"{network.n_inputs} inputs x {steps} steps": network.n_inputs * steps,
        f"{capacity.n_targets} targets of {capacity.target_steps} steps": capacity.n_targets
        * capacity.target_steps
        * network.n_outputs,
    }
    if capacity.analog:
        n_values = capacity.n_patterns * network.n_inputs * steps
        sizes[f"{capacity.n_patterns} patterns of {network.n_inputs} analog inputs"] = n_values
    for c in network.connections:
        n_pre = c.shape[1]
        if c.adjacency is not None:
            sizes[f"the synapses of {c.name}"] = c.adjacency.nnz
        else:
            sizes[f"{n_pre} x {width} synapses"] = n_pre * width
    for what, size in sizes.items():
        if size >= 2**31:
            raise ValueError(f"{what} are too many for one program: {size} numbers, at most 2^31")


def _signals(network: Resolved) -> dict[str, str]:
    """Which equation of its error each readout sends, the same to all populations."""
    equations = {readout.name: "error" for readout in network.readouts}
    return {**equations, **{s.source: s.feedback.signal for s in network.signals}}


def _write_parts(writer: Writer) -> NetworkParts:
    """Write the blocks of all parts."""
    network, groups = writer.network, writer.groups
    control = [*groups.control_integers, *["k"] * groups.learning]
    return NetworkParts(
        _rules(writer),
        {name: writer.array("control", name) for name in control},
        writer.array("trials", "spike_count", "_neuron"),
        inputs=tuple(_inputs(writer)),
        populations=tuple(write_population(writer, p) for p in network.populations),
        projections=tuple(write_projection(writer, p) for p in groups.projections),
        readouts=tuple(write_readout(writer, readout) for readout in network.readouts),
        signals=tuple(write_learning_signal(writer, f) for f in groups.feedback),
        diffusions=tuple(write_diffusion(writer, d) for d in groups.diffusions),
    )


def _inputs(writer: Writer) -> Iterator[InputPart]:
    """The input groups; the data of those that have any stand beside one another in a step."""
    analog = writer.groups.capacity.analog
    for group in writer.network.inputs:
        if group.constant:
            writer.block(group.name, "spike", ["z = 1"], writer.own(group.name))
            # Arrays of inputs have no padding.
            spikes = replace(writer.spikes(group.name, group.size), width=group.size)
            yield InputPart(spikes, None)
    data = writer.array("input_data", "x" if analog else "words", "_neuron")
    pattern = writer.array("trials", "pattern", "_neuron")
    # Every group begins with a new word.
    driven = [group for group in writer.network.inputs if not group.constant]
    sizes = [g.size if analog else -(-g.size // 32) for g in driven]
    for group, before in zip(driven, accumulate(sizes, initial=0), strict=False):
        inputs = Inputs(data, pattern, analog, sum(sizes), before)
        yield InputPart(writer.spikes(group.name, group.size), inputs)


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
        lag=groups.lag,
        clip_norm=writer.array("control", "clip_norm") if clipped else "",
        clip_factor=writer.array("control", "clip_factor") if clipped else "",
        stages=STAGES if groups.layout.profile else (),
    )
