"""From a `Network` to Brian2 objects and one fused step.

Every array of the network belongs to a Brian2 `NeuronGroup` (neurons, synapses) or to a `Store`
(trials, histories, lists of spikes), so that monitors, `state(...)` and a standalone program's
arguments work on all of them. What happens in a time step is a set of blocks
(`eprop_brian.network.blocks`) that one code object runs, in the order of a schedule
(`eprop_brian.network.step`).
"""

from __future__ import annotations

import numpy as np
from brian2 import Network as Brian2Network

from eprop_brian.network.built import NEVER, STAGES, BuiltNetwork, Capacity, Layout
from eprop_brian.network.groups import NetworkGroups
from eprop_brian.network.runner import StepRunner
from eprop_brian.network.spec import PROGRAMS, Network
from eprop_brian.network.step.carried import carried_arrays
from eprop_brian.network.step.connections import write_projection
from eprop_brian.network.step.neurons import write_population
from eprop_brian.network.step.parts import InputPart, NetworkParts, Rules
from eprop_brian.network.step.readouts import write_learning_signal, write_readout
from eprop_brian.network.step.schedule import network_schedule
from eprop_brian.network.step.writing import ReadoutGroups, Writer
from eprop_brian.steps.spiking import (
    Inputs,
)

__all__ = ["build"]


def build(
    network: Network,
    capacity: Capacity,
    codeobj_class: type,
    dtype: type = np.float64,
    layout: Layout | None = None,
) -> BuiltNetwork:
    """Make the Brian2 objects of a network for the active device.

    Parameters
    ----------
    network : Network
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
    if capacity.learning and network.gradient not in PROGRAMS:
        raise ValueError(
            f"gradient = '{network.gradient}' is no program of a device, which has "
            f"{' and '.join(PROGRAMS)}; a Trainer runs it"
        )
    layout = layout or Layout()
    _check_sizes(network, capacity, layout)
    groups = NetworkGroups(network, capacity, dtype, layout)
    writer = Writer(groups, {"inputs": "input_data"}, _readouts(groups))
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
        carried=carried_arrays(writer) if network.continuous else {},
    )


def _check_sizes(network: Network, capacity: Capacity, layout: Layout) -> None:
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
    for name, (_, n_pre) in network.shapes.items():
        if name in network.adjacency:
            sizes[f"the synapses of {name}"] = network.adjacency[name].nnz
        elif name != "B":
            sizes[f"{n_pre} x {width} synapses"] = n_pre * width
    for what, size in sizes.items():
        if size >= 2**31:
            raise ValueError(f"{what} are too many for one program: {size} numbers, at most 2^31")


def _readouts(groups: NetworkGroups) -> list[ReadoutGroups]:
    """The readouts of a network, each with a loss of its own."""
    network = groups.network
    return [
        ReadoutGroups(
            "readout",
            network.n_outputs,
            network.loss,
            network.feedback.signal,
            "target_data",
            "outcomes",
            "answers",
            "period_data" if groups.periods else None,
            "earlier_history" if "earlier_history" in groups.groups else None,
            ("trials", "target"),
            ("control", "window_start"),
        )
    ]


def _write_parts(writer: Writer) -> NetworkParts:
    """Write the blocks of all parts."""
    network, groups = writer.network, writer.groups
    outputs = {readout.name: readout.n for readout in writer.readouts}
    control = [*groups.control_integers, *["k"] * groups.learning]
    return NetworkParts(
        _rules(writer),
        {name: writer.array("control", name) for name in control},
        writer.array("trials", "spike_count", "_neuron"),
        inputs=tuple(_input(writer, name, network.n_inputs) for name in writer.inputs),
        populations=tuple(
            write_population(
                writer,
                population,
                {
                    f.source: outputs[f.source]
                    for f in groups.feedback
                    if f.target == population.name
                },
            )
            for population in network.populations
        ),
        projections=tuple(
            write_projection(writer, p, to_readout=p.target in outputs) for p in groups.projections
        ),
        readouts=tuple(write_readout(writer, readout) for readout in writer.readouts),
        signals=tuple(
            write_learning_signal(writer, f, groups.projections) for f in groups.feedback
        ),
    )


def _input(writer: Writer, name: str, size: int) -> InputPart:
    analog = writer.groups.capacity.analog
    data = writer.array(writer.inputs[name], "x" if analog else "words", "_neuron")
    pattern = writer.array("trials", "pattern", "_neuron")
    return InputPart(writer.spikes(name, size), Inputs(data, pattern, analog))


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
        signal_rows=groups.signal_rows,
        lag=groups.lag,
        clip_norm=writer.array("control", "clip_norm") if clipped else "",
        clip_factor=writer.array("control", "clip_factor") if clipped else "",
        stages=STAGES if groups.layout.profile else (),
    )
