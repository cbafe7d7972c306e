"""A `Network` read from the objects of a Brian2 script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import brian2
from brian2 import NeuronGroup, PoissonGroup, PoissonInput, SpikeGeneratorGroup, Subgroup, Synapses
from brian2.core.namespace import get_local_namespace
from brian2.units import Quantity, second

from eprop_brian.base.suggestions import unknown
from eprop_brian.brian.reading.effects import place_of, size_of
from eprop_brian.brian.reading.neurons import check_group, neuron_with_receptors
from eprop_brian.brian.reading.projections import acting_autapses, projection_of
from eprop_brian.brian.reading.receptors import Receptor, receptors_of
from eprop_brian.brian.reading.wires import wires_of
from eprop_brian.equations.learning_signals import Feedback
from eprop_brian.equations.losses import Loss
from eprop_brian.equations.readouts import LEAKY, ReadoutFilter
from eprop_brian.network.parts import Inputs, LearningSignal, Part, Population, Projection, Readout

if TYPE_CHECKING:
    from eprop_brian.network.spec import Network

__all__ = ["Objects", "network_from_brian2", "objects_of"]

#: Objects that only record.
_MONITORS = (
    brian2.SpikeMonitor,
    brian2.EventMonitor,
    brian2.StateMonitor,
    brian2.PopulationRateMonitor,
)
#: What happens in a step of Brian2, in its order.
_SCHEDULE = ("start", "groups", "thresholds", "synapses", "resets", "end")
#: What to do in the place of objects that have no counterpart.
_INSTEAD = {
    "NetworkOperation": "write what it does as part of the equations",
    "SpatialNeuron": "write its compartments as states of one neuron",
}


@dataclass(frozen=True)
class Objects:
    """The objects of a Brian2 network, by kind.

    Attributes
    ----------
    groups : dict of str to NeuronGroup
    sources : list of SpikeGeneratorGroup, PoissonGroup and PoissonInput
        What is input here.
    synapses : list of Synapses
    dt : Quantity
    """

    groups: dict[str, NeuronGroup]
    sources: list[Any]
    synapses: list[Synapses]
    dt: Quantity


def objects_of(network: Any) -> Objects:
    """Sort the objects of a Brian2 network; monitors are left away.

    Parameters
    ----------
    network : brian2.Network or iterable of Brian2's objects

    Raises
    ------
    ValueError
        If an object has no counterpart or is not active, they do not all have the same time step,
        or the steps of a network have another order than Brian2's own.
    """
    is_network = isinstance(network, brian2.Network)
    objects = network.objects if is_network else network
    if isinstance(objects, set | frozenset):  # as `collect()` returns them
        objects = sorted(objects, key=lambda x: x.name)
    if not isinstance(objects, Iterable) or isinstance(objects, str):
        raise ValueError(
            f"a network is read from a brian2.Network or from objects, not {network!r}"
        )
    _check_schedule(network if is_network else brian2.magic_network)
    groups: dict[str, NeuronGroup] = {}
    sources, synapses, steps = [], [], {}
    for x in objects:
        if isinstance(x, (*_MONITORS, Subgroup)):
            continue
        _check_active(x)
        if type(x) is NeuronGroup:
            groups[x.name] = x
        elif isinstance(x, SpikeGeneratorGroup | PoissonGroup | PoissonInput):
            sources.append(x)
        elif isinstance(x, Synapses):
            synapses.append(x)
        else:
            kind = type(x).__name__
            instead = _INSTEAD.get(kind, "leave it away")
            raise ValueError(
                f"{kind} '{getattr(x, 'name', x)}' has no counterpart in a network here: {instead}"
            )
        steps[x.name] = float(x.clock.dt_)
    if not groups:
        raise ValueError("there is no NeuronGroup among the objects to be read")
    if len({*steps.values()}) > 1:
        name, other = min(steps, key=steps.__getitem__), max(steps, key=steps.__getitem__)
        raise ValueError(
            f"'{name}' and '{other}' have the time steps {steps[name] * second} and "
            f"{steps[other] * second}: a network here has one"
        )
    return Objects(groups, sources, synapses, next(iter(steps.values())) * second)


def _check_schedule(network: Any) -> None:
    """Raise ValueError for another order of what happens in a step than Brian2's own."""
    if [*network.schedule] != [*_SCHEDULE]:
        raise ValueError(
            f"the network has the schedule {', '.join(network.schedule)}; it is read with Brian2's "
            f"own alone, {', '.join(_SCHEDULE)}"
        )


def _check_active(x: Any) -> None:
    """Raise ValueError for an object that does not run, as a whole or in part."""
    for part in (x, *getattr(x, "contained_objects", ())):
        if not getattr(part, "active", True):
            owner = f", a part of '{x.name}'," if part is not x else ""
            raise ValueError(
                f"'{part.name}'{owner} is not active, so Brian2 would not run it: leave it away, "
                "or set active = True"
            )


def network_from_brian2(
    network: Any,
    n_outputs: int | None = None,
    parts: Sequence[Part] = (),
    *,
    readout: ReadoutFilter = LEAKY,
    loss: Loss | str = "squared_error",
    feedback: str | Feedback | Any = "symmetric",
    neurons: Mapping[str, Mapping[str, Any]] | None = None,
    receptors: Mapping[str, Any] | None = None,
    namespace: Mapping[str, Any] | None = None,
    level: int = 0,
    **options: Any,
) -> Network:
    """The network of a Brian2 script; see `Network.from_brian2`.

    Parameters
    ----------
    network : brian2.Network or iterable of Brian2's objects
    n_outputs : int, optional
    parts : sequence of parts
    readout : ReadoutFilter
    loss : Loss or str
    feedback : str, array or Feedback
    neurons : mapping of str to mapping
    receptors : mapping of str to Synapses or iterable of them
    namespace : mapping, optional
    level : int
        Frames between the user's and this function's.
    **options
    """
    from eprop_brian.network.spec import Network

    names = get_local_namespace(level + 1) if namespace is None else namespace
    objects = objects_of(network)
    fields = neurons or {}
    for name in fields:
        if name not in objects.groups:
            raise ValueError(unknown("NeuronGroup", name, objects.groups, "neurons"))
    arrivals = _arrivals(objects)
    read: list[Part] = [Inputs(size_of(source), source.name) for source in objects.sources]
    groups = {x.name: x for x in (*objects.groups.values(), *objects.sources)}
    for name, group in objects.groups.items():
        check_group(group)
        by_name = _receptors(group, arrivals[name], receptors or {}, names)
        projections, autapses = [], {}
        for receptor in by_name.values():
            for x in arrivals[name]:
                if x.name in receptor.weights:
                    wires = wires_of(x, groups, objects.dt)
                    projections.append(projection_of(x, wires, receptor, objects.dt, names))
                    own = acting_autapses(x, wires, receptor, group, objects.dt)
                    if own is not None:
                        autapses[x.name] = receptor, own
        neuron = neuron_with_receptors(group, by_name, names, autapses, **fields.get(name, {}))
        read += [Population(neuron, len(group), name), *projections]
    if n_outputs is not None:
        populations = [*objects.groups]
        read += [
            Readout(n_outputs, filter=readout, loss=loss),
            Projection(populations, "readout", "w_out"),
            LearningSignal("readout", populations, feedback, "B"),
        ]
    return Network([*read, *parts], **{"dt": objects.dt, **options})


def _arrivals(objects: Objects) -> dict[str, list[Any]]:
    """What leads to every group: synapses, and Poisson inputs."""
    arrivals: dict[str, list[Any]] = {name: [] for name in objects.groups}
    known = {*objects.groups, *(x.name for x in objects.sources)}
    for x in (*objects.synapses, *(s for s in objects.sources if isinstance(s, PoissonInput))):
        ends = [x._group] if isinstance(x, PoissonInput) else [x.source, x.target]
        for end in ends:
            if isinstance(end, Synapses):
                raise ValueError(
                    f"'{x.name}' connects the synapses '{end.name}', which has no counterpart: "
                    "only neurons and sources of spikes are connected"
                )
            if place_of(end)[0] not in known:
                raise ValueError(
                    f"'{x.name}' is connected with '{place_of(end)[0]}', which is not among the "
                    "objects to be read: add it"
                )
        target = place_of(ends[-1])[0]
        if target not in arrivals:
            raise ValueError(f"'{x.name}' leads to '{target}', which is no NeuronGroup")
        arrivals[target].append(x)
    return arrivals


def _receptors(
    group: NeuronGroup,
    arrivals: Sequence[Any],
    receptors: Mapping[str, Any],
    namespace: Mapping[str, Any],
) -> dict[str, Receptor]:
    """The receptors of a group, with the user's names where there are such."""
    if not arrivals:
        return {}
    named = {
        name: [x for x in ([some] if hasattr(some, "name") else some) if x in arrivals]
        for name, some in receptors.items()
    }
    named = {name: some for name, some in named.items() if some}
    if not named:
        return receptors_of(group, arrivals, namespace)
    missing = [x.name for x in arrivals if not any(x in some for some in named.values())]
    if missing:
        raise ValueError(
            f"`receptors` names some of what leads to '{group.name}', but not '{missing[0]}'"
        )
    return receptors_of(group, named, namespace)
