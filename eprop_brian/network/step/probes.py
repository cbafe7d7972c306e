"""Where a step records what, and the blocks that rank synapses by their traces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from eprop_brian.network.graph import Connection
from eprop_brian.network.groups import later_name
from eprop_brian.network.probes import TRACE_SIZE, Probe, places_of, projection_of
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.step.parts import ProbePart, ProjectionPart
from eprop_brian.network.step.writing import Writer
from eprop_brian.steps.blocks import View
from eprop_brian.symbolic.names import SYNAPSE, is_own

__all__ = ["write_probes"]


def write_probes(writer: Writer, projections: Iterable[ProjectionPart]) -> Iterator[ProbePart]:
    """Register what the probes read, and write the blocks that rank synapses."""
    groups, parts = writer.groups, {part.name: part for part in projections}
    if groups.capacity.ranks_traces:
        _write_ranks(writer)
    for probe, store in groups.probes.items():
        places, moment = places_of(store), "end"
        projection = projection_of(probe, [*groups.projections, *groups.feedback])
        group = projection.name if projection else probe.of
        if projection and group in parts:
            moment, value = _of_synapses(writer, probe, projection, parts[group], places)
        else:
            place = f"{{{writer.array(places, 'place')}}}[_i]"
            value = f"{{{writer.array(group, probe.variable)}}}[{place}]"
            inputs = groups.input_variables(group) if group in groups.systems else ()
            if probe.variable in inputs:
                moment, value = "entering", value + _late(writer, probe, place)
        yield ProbePart(moment, group, writer.array(store, "x"), value, probe.n)


def _write_ranks(writer: Writer) -> None:
    """Write how the sizes of traces are summed up."""
    for p in writer.groups.projections:
        if p.connection.plastic and not p.connection.to_readout:
            own = View(p.group, "_synapse")
            added = [f"{TRACE_SIZE} = {TRACE_SIZE} + abs(filtered_trace)"]
            writer.block(p.name, "rank", added, own)
            writer.block(p.name, "unrank", [f"{TRACE_SIZE} = 0"], own)


def _late(writer: Writer, probe: Probe, place: str) -> str:
    """What arrives at neurons besides, because it was under way."""
    groups, rows = writer.groups, writer.groups.later_rows
    if not rows:
        return ""
    width = groups.layout.width(int(groups.groups[probe.of].N))
    late = writer.array(f"{probe.of}_later", later_name(probe.variable))
    return f" + {{{late}}}[_now % {rows}*{width} + {place}]"


def _of_synapses(
    writer: Writer,
    probe: Probe,
    p: BuiltProjection[Connection],
    part: ProjectionPart,
    places: str,
) -> tuple[str, str]:
    """When something of synapses is recorded, and what."""
    groups, name, synapses = writer.groups, probe.variable, part.synapses
    presynaptic, synaptic = groups.trace_variables(part.target, p.connection.receptor)
    place, pre = (f"{{{writer.array(places, end)}}}[_i]" for end in ("place", "pre"))
    if is_own(name, SYNAPSE):
        # The synapses of a presynaptic neuron share their states.
        return "end", f"{{{writer.array(groups.sender(p), name)}}}[{pre}]"
    if name not in presynaptic:
        value = f"{{{writer.array(part.name, name)}}}[{place}]"
        return "traces" if name in synaptic else "end", value
    # Kept on the presynaptic neuron; a synapse reads it as many steps later as its spikes arrive.
    late: int | str = synapses.extra or 0
    if isinstance(late, str):
        late = f"{{{late}}}[{place}]"
    kept = writer.array(f"{part.name}_pre_window", name)
    row = f"(_from + {part.pre_rows} - {late}) % {part.pre_rows}"
    return "traces", f"{{{kept}}}[{row}*{synapses.n_pre} + {pre}]"
