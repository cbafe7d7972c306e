"""The synapses of a network on the active device: what every projection keeps, and where.

They are `NeuronGroup` objects of the groups of a network (`eprop_brian.network.groups`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from brian2 import NeuronGroup
from scipy.sparse import csc_array

from eprop_brian.base.indices import index_type
from eprop_brian.base.sparse import block
from eprop_brian.network.built import state_variable
from eprop_brian.network.graph import Connection, SignalConnection
from eprop_brian.network.learned_delays import DELAY, RANGE, LearnedDelay, slope_names
from eprop_brian.network.probes import TRACE_SIZE
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.sharing import SharedWeights
from eprop_brian.symbolic.names import free_name
from eprop_brian.symbolic.programs import parameter_sums

if TYPE_CHECKING:
    from eprop_brian.network.groups import NetworkGroups

__all__ = ["make_diffusions", "make_emissions", "make_projections", "synaptic_variables"]


def make_projections(
    groups: NetworkGroups,
) -> tuple[list[BuiltProjection[Connection]], list[BuiltProjection[SignalConnection]]]:
    """The projections of all connections, and of all learning signals if there is learning."""
    connections, signals = groups.network.connections, groups.network.signals
    projections = [
        _projection(groups, c, source, target)
        for c in connections
        for source in c.sources
        for target in c.targets
    ]
    feedback = [
        _feedback(groups, s, source, target)
        for s in signals
        if groups.learning and not s.emitted
        for source in s.sources
        for target in s.targets
    ]
    return projections, feedback


def make_diffusions(groups: NetworkGroups) -> list[BuiltProjection[SignalConnection]]:
    """The parts of the matrices by which learning signals spread."""
    return [
        _diffusion(groups, s, s.diffusion, source, target)
        for s in groups.network.signals
        if groups.learning and s.diffusion is not None
        for source in s.targets
        for target in s.targets
    ]


def make_emissions(groups: NetworkGroups) -> list[BuiltProjection[SignalConnection]]:
    """The parts of the matrices by which populations emit learning signals."""
    return [
        _feedback(groups, s, source, target)
        for s in groups.network.signals
        if groups.learning and s.emitted
        for source in s.sources
        for target in s.targets
    ]


def _ends(
    groups: NetworkGroups,
    connection: Connection | SignalConnection,
    source: str,
    target: str,
    *,
    spreads: bool = False,
) -> dict[str, Any]:
    """Which part of a connection a projection is: fields of `BuiltProjection`."""
    sources = connection.targets if spreads else connection.sources
    columns, rows = sources[source], connection.targets[target]
    n_post = rows.stop - rows.start
    return {
        "name": free_name(f"{source}{'_spreads' * spreads}_to_{target}", groups.groups),
        "source": source,
        "target": target,
        "n_pre": columns.stop - columns.start,
        "n_post": n_post,
        # Readouts have no padding.
        "width": groups.layout.width(n_post) if target in groups.systems else n_post,
        "source_slice": columns,
        "target_slice": rows,
    }


def _projection(
    groups: NetworkGroups, connection: Connection, source: str, target: str
) -> BuiltProjection[Connection]:
    """The part of a connection between two groups."""
    ends = _ends(groups, connection, source, target)
    name, n_pre = ends["name"], ends["n_pre"]
    rows = post = None
    size = n_pre * ends["width"]
    if connection.adjacency is not None:
        rows, post, size = _sparse(groups, connection.adjacency, ends)
    variables = synaptic_variables(groups, connection, target)
    shared_group = None
    if groups.learning and connection.plastic and connection.shared is not None:
        shared_group = _shared_weights(groups, name, connection, connection.shared)
    if post is not None:
        variables.append("post")
    if connection.delay_each:
        variables.append("delay")
    pre_group = None
    if groups.online and (connection.plastic or connection.learned_delay):
        presynaptic: tuple[str, ...] = ()
        if connection.plastic:
            presynaptic, _ = groups.trace_variables(target, connection.receptor)
        kept = ["pre", *presynaptic]
        counters = ["since", "skipped", "updates"] if groups.network.continuous else []
        pre_group = groups.group(f"{name}_pre", n_pre, dict.fromkeys([*kept, *counters], "1"))
        groups.store(f"{name}_pre_window", groups.pre_rows(connection) * n_pre, kept)
    return BuiltProjection(
        connection=connection,
        autapses=connection.autapses or source != target,
        group=_synapses(groups, name, size, variables),
        pre_group=pre_group,
        shared_group=shared_group,
        rows=rows,
        post=post,
        **ends,
    )


def synaptic_variables(groups: NetworkGroups, connection: Connection, target: str) -> list[str]:
    """Variables of a synapse onto a group but those that say where it leads, and how late."""
    variables = ["w"]
    if groups.network.weight_function(connection, target) is not None:
        variables.append("w_effective")
    if groups.learning and connection.plastic:
        variables += _learning_variables(groups, connection, target)
    if groups.learning and connection.learned_delay:
        variables += _delay_variables(groups, connection, connection.learned_delay, target)
    if groups.online and connection.plastic:
        _, synaptic = groups.trace_variables(target, connection.receptor)
        variables += synaptic
        if "filtered_trace" in synaptic and groups.capacity.ranks_traces:
            variables.append(TRACE_SIZE)
    return variables


def _learning_variables(groups: NetworkGroups, connection: Connection, target: str) -> list[str]:
    """Variables of a synapse onto a group besides its weight, with either gradient program."""
    variables = ["gradient"]
    if connection.shared is None:
        variables += _states(groups, connection)
    if not groups.network.continuous:
        variables += ["gradient_sum", "gradient_total"]
    if groups.rate_per_batch and target in groups.systems:
        variables += ["batch_trace_sum", "batch_trace_total"]
    return variables


def _states(groups: NetworkGroups, connection: Connection) -> list[str]:
    return [state_variable(x) for x in groups.network.optimizer_of(connection).states]


def _shared_weights(
    groups: NetworkGroups, name: str, connection: Connection, shared: SharedWeights
) -> NeuronGroup:
    """The weights that synapses share, and how they are mixed, both ways."""
    variables = ["w", "gathered", "gradient", *_states(groups, connection)]
    for way, matrix in (("spread", shared.mixing), ("gather", shared.gathering)):
        groups.store(f"{name}_{way}_rows", matrix.shape[0] + 1, ["first"], index_type(matrix.nnz))
        groups.store(f"{name}_{way}_index", matrix.nnz, ["index"], index_type(matrix.shape[1]))
        groups.store(f"{name}_{way}_factor", matrix.nnz, ["factor"])
    return groups.group(f"{name}_shared", shared.n_weights, dict.fromkeys(variables, "1"))


def _delay_variables(
    groups: NetworkGroups, c: Connection, learned: LearnedDelay, target: str
) -> list[str]:
    """Variables of a synapse whose delay learns."""
    traces = []
    if groups.online:
        traces = [f"drive_{DELAY}", *groups.delay(target, c.receptor).variables]
    sums = parameter_sums(DELAY, groups.network.rate_averaging)
    states = [state_variable(state) for state in groups.network.optimizer.states]
    return [
        *(DELAY, f"scaled_{DELAY}", f"gradient_{DELAY}", *sums, *sums.values()),
        *(f"{state}_{DELAY}" for state in states),
        *(*RANGE, *slope_names(learned).values(), *traces),
    ]


def _feedback(
    groups: NetworkGroups, signal: SignalConnection, source: str, target: str
) -> BuiltProjection[SignalConnection]:
    """The part of a learning signal between two groups."""
    ends = _ends(groups, signal, source, target)
    variables = ["B", *["transmitted"] * (groups.online and not signal.emitted)]
    if signal.delay_steps is not None:
        variables.append("delay")
    size = ends["n_pre"] * ends["width"]
    group = _synapses(groups, ends["name"], size, variables)
    return BuiltProjection(connection=signal, autapses=True, group=group, **ends)


def _diffusion(
    groups: NetworkGroups, signal: SignalConnection, matrix: csc_array, source: str, target: str
) -> BuiltProjection[SignalConnection]:
    """The part of a learning signal that spreads from one of its targets to another."""
    ends = _ends(groups, signal, source, target, spreads=True)
    rows, post, size = _sparse(groups, matrix, ends)
    group = _synapses(groups, ends["name"], size, ["K", "post"])
    return BuiltProjection(
        connection=signal, autapses=True, group=group, rows=rows, post=post, **ends
    )


def _sparse(
    groups: NetworkGroups, matrix: csc_array, ends: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, int]:
    """`rows` and `post` of a sparse projection, and the size of its arrays."""
    part = block(matrix, ends["target_slice"], ends["source_slice"])
    groups.store(f"{ends['name']}_rows", ends["n_pre"] + 1, ["first"], index_type(part.nnz))
    return part.indptr, part.indices, max(1, part.nnz)


def _synapses(groups: NetworkGroups, name: str, size: int, variables: Iterable[str]) -> NeuronGroup:
    kinds = {"post": "integer", "delay": "integer", **dict.fromkeys(RANGE, "1 (shared)")}
    types = {v: kinds.get(v, "1") for v in variables}
    return groups.group(name, size, types)
