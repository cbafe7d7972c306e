"""Probes: what a program records of every step of a trial, on any device.

A probe is a number of elements of one variable. The program copies them into a row of an array in
every step, and the array is read as any other result. Which elements these are is data, so that
one program records any of them. A program without probes has no trace of all this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eprop_brian.symbolic.names import free_name

if TYPE_CHECKING:
    from eprop_brian.network.built import BuiltNetwork
    from eprop_brian.network.groups import NetworkGroups
    from eprop_brian.network.projection import BuiltProjection

__all__ = ["TRACE_SIZE", "Probe", "make_probes", "places_of", "probed_places", "projection_of"]

#: The variable of a synapse in which sizes of its filtered trace are summed up.
TRACE_SIZE = "trace_size"


@dataclass(frozen=True)
class Probe:
    """Elements of a variable that a program records in every step.

    Attributes
    ----------
    of : str
        A population or a readout; of synapses, the connection or the learning signal.
    variable : str
        As the statements call it.
    n : int
        Number of elements.
    ends : (str, str) or None
        Source and target of the synapses: which part of the connection it is.
    """

    of: str
    variable: str
    n: int
    ends: tuple[str, str] | None = None


def make_probes(groups: NetworkGroups) -> dict[Probe, str]:
    """Make the stores of the probes; returns their names.

    What is recorded of a probe is ``x`` of its store, and ``place`` of the store ``NAME_places``
    says of which elements; for synapses ``pre`` is their presynaptic neurons besides.
    """
    names = {}
    for number, probe in enumerate(groups.capacity.probes):
        names[probe] = name = free_name(f"probe_{number}", groups.groups)
        groups.store(name, groups.capacity.n_steps * probe.n, ["x"])
        groups.store(places_of(name), probe.n, ["place", "pre"], np.int32)
    return names


def places_of(name: str) -> str:
    """The store that says which elements a probe records."""
    return f"{name}_places"


def projection_of(
    probe: Probe, projections: Iterable[BuiltProjection[Any]]
) -> BuiltProjection[Any] | None:
    """The part of a connection that a probe is of, if it is of synapses."""
    ends = (probe.of, *(probe.ends or ()))
    return next((p for p in projections if (p.matrix, p.source, p.target) == ends), None)


def probed_places(
    built: BuiltNetwork, elements: Mapping[Probe, Sequence[int | tuple[int, int]]]
) -> dict[str, np.ndarray]:
    """Arrays that tell a program which elements its probes record.

    Parameters
    ----------
    built : BuiltNetwork
    elements : mapping
        For each probe at most `Probe.n` indices of neurons or outputs, or pairs (pre, post) of
        synapses. Where there are fewer, the last ones record what stands at the first place.
    """
    arrays: dict[str, np.ndarray] = {}
    for probe, chosen in elements.items():
        projection = projection_of(probe, [*built.projections, *built.feedback])
        place, pre = np.zeros((2, probe.n), dtype=np.int32)
        for number, element in enumerate(chosen):
            if isinstance(element, int):
                place[number] = element
            elif projection is not None:
                pre[number] = element[0]
                place[number] = projection.place(*element)
        store = places_of(built.probes[probe])
        arrays |= {built.key(store, "place"): place, built.key(store, "pre"): pre}
    return arrays
