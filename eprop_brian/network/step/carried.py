"""What is handed on from one call to the next where weights change within trials, and its start."""

from __future__ import annotations

from collections.abc import Iterable

from eprop_brian.network.built import NEVER
from eprop_brian.network.groups import NetworkGroups
from eprop_brian.steps.blocks import stored_name
from eprop_brian.symbolic.names import SYNAPSE, owned

__all__ = ["carried_arrays"]


def carried_arrays(groups: NetworkGroups) -> dict[str, float]:
    """Values at the start, by ``"group.variable"``.

    All of continuous operation but the states of the neurons, which start from values of their own.
    """
    network = groups.network
    if not network.continuous:
        # With updates within trials, how many there have been.
        return _keys(groups, "control", ["k"] * (groups.learning and network.updates == "action"))
    carried = _keys(groups, "control", ["clock"])
    for readout in groups.network.readouts:
        carried |= _keys(groups, readout.name, ["y"])
    for name in groups.systems:
        carried |= _keys(groups, name, groups.state_variables(name))
        if groups.later_rows:
            carried |= _whole(groups, f"{name}_later")
    for known in groups.transmissions.values():
        for name, transmission in known.items():
            states = owned(transmission.map.states, SYNAPSE).values()
            carried |= _keys(groups, name, ("z", *states))
    return {**carried, **_learning(groups)} if groups.learning else carried


def _learning(groups: NetworkGroups) -> dict[str, float]:
    """The same for what only learning uses."""
    carried = _keys(groups, "control", ["k"])
    for readout in groups.network.readouts:
        carried |= _whole(groups, f"{readout.name}_window")
    if "earlier_history" in groups.groups:
        carried |= _whole(groups, "earlier_history")
    for population in groups.network.populations:
        carried |= _whole(groups, f"{population.name}_window")
    for p in (p for p in groups.projections if p.connection.plastic):
        presynaptic, synaptic = groups.trace_variables(p.target, p.connection.receptor)
        carried |= _whole(groups, f"{p.name}_pre_window")
        carried |= _keys(groups, f"{p.name}_pre", (*presynaptic, "updates"))
        carried |= {key: NEVER for key in _keys(groups, f"{p.name}_pre", ["since"])}
        carried |= _keys(groups, p.name, synaptic)
    return carried


def _whole(groups: NetworkGroups, store: str) -> dict[str, float]:
    """All arrays of a store, which are 0 at the start."""
    return _keys(groups, store, groups.groups[store].names)


def _keys(groups: NetworkGroups, group: str, variables: Iterable[str]) -> dict[str, float]:
    """Variables of a group, which are 0 at the start."""
    return {f"{group}.{stored_name(groups.groups[group], name)}": 0.0 for name in variables}
