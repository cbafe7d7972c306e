"""Blocks of values that follow from neurons: what is read of them, what their synapses hand on."""

from __future__ import annotations

from eprop_brian.network.groups import reading_group
from eprop_brian.network.step.parts import ValuesPart
from eprop_brian.network.step.writing import Writer
from eprop_brian.steps.blocks import View
from eprop_brian.steps.spiking import Inputs
from eprop_brian.symbolic.names import SYNAPSE, own, owned, substituted
from eprop_brian.symbolic.readings import Reading
from eprop_brian.symbolic.transmission import Transmission

__all__ = ["write_reading", "write_transmissions"]


def write_reading(writer: Writer, name: str, reading: Reading) -> ValuesPart:
    """Write how a value is read of the neurons of a population after each step."""
    values = reading_group(name, reading.number)
    own_view = View(writer.groups.groups[values], "_neuron", {"value_read": "z"})
    writer.block(values, "reset", ["value_read = 0"], own_view)
    statements = [f"value_read = {reading.value.code}"]
    return _write_values(writer, name, values, statements, own_view, "value_read")


def write_transmissions(writer: Writer, name: str, *, inputs: bool) -> tuple[ValuesPart, ...]:
    """Write what synapses hand on of the spikes of a source, in the step of the spikes."""
    return tuple(
        _write_transmission(writer, name, values, transmission, inputs=inputs)
        for values, transmission in writer.groups.transmissions[name].items()
    )


def _write_transmission(
    writer: Writer, name: str, values: str, transmission: Transmission, *, inputs: bool
) -> ValuesPart:
    step = transmission.map
    names = owned([*step.states, *step.parameters], SYNAPSE)
    variables = {
        "value_sent": "z",
        **{form: form for form in names.values()},
        **{f"{own(s, SYNAPSE)}_initial": f"{own(s, SYNAPSE)}_initial" for s in step.states},
    }
    own_view = View(writer.groups.groups[values], "_neuron", variables)
    if not writer.network.continuous:
        reset = [f"{names[state]} = {names[state]}_initial" for state in step.states]
        writer.block(values, "reset", ["value_sent = 0", *reset], own_view)
    statements = [substituted(line, names) for line in transmission.statements(inputs=inputs)]
    return _write_values(writer, name, values, statements, own_view, "value_sent")


def _write_values(
    writer: Writer, name: str, values: str, statements: list[str], own_view: View, value: str
) -> ValuesPart:
    """Write a step of some values, which the factored program keeps."""
    groups, views, inputs = writer.groups, [own_view], None
    size = int(own_view.group.N)
    if groups.learning and not groups.online:
        history = groups.groups[f"{values}_history"]
        statements = [*statements, f"stored = {value}"]
        views.append(View(history, "_history", {"stored": "x"}))
        inputs = Inputs(writer.array(history.name, "x", "_value"), "", True, size, 0)
    writer.block(values, "read", statements, *views, writer.own(name))
    return ValuesPart(writer.spikes(values, size), inputs)
