"""How large a program becomes: checked before any of its arrays is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eprop_brian.base.memory import check_memory, physical_memory
from eprop_brian.network.graph import Connection
from eprop_brian.network.synapses import synaptic_variables

if TYPE_CHECKING:
    from eprop_brian.network.groups import NetworkGroups

__all__ = ["check_sizes", "needed_bytes"]

#: Room for spikes is taken as they come: those of more than a tenth of all steps are no sparse
#: activity.
_ACTIVE_STEPS = 0.1
#: Bytes of a number that Python keeps: of a weight, or a state of an optimizer.
_IN_PYTHON = 8
#: Bytes that say where a synapse leads, in the program and in Python.
_INDEX = 4


@dataclass(frozen=True)
class _Need:
    """What some arrays need.

    Attributes
    ----------
    what : str
    numbers : int
        Elements of the largest of them.
    bytes : int
        Of all together.
    """

    what: str
    numbers: int
    bytes: int


def check_sizes(groups: NetworkGroups) -> None:
    """Check that there is memory for the large arrays of a network, before they are made.

    Raises
    ------
    ValueError
        It says how many bytes are needed for what, and what would fit; or that an array has more
        elements than the device counts (`Layout.most_numbers`).
    """
    needs = _needs(groups, groups.history_rows)
    most = groups.layout.most_numbers
    for need in needs:
        if most is not None and need.numbers >= most:
            raise ValueError(
                f"{need.what} are too many for one program on this device: {need.numbers} numbers, "
                f"at most {most - 1}. Take device 'cpp', or fewer of them"
            )
    check_memory(
        {need.what: need.bytes for need in needs},
        lambda share: f"{share:.0%} of them would fit: take fewer neurons, or shorter trials",
    )


def needed_bytes(groups: NetworkGroups, rows: int) -> int:
    """Bytes that a network needs with a history of so many steps at a time."""
    return sum(need.bytes for need in _needs(groups, rows))


def _needs(groups: NetworkGroups, rows: int) -> list[_Need]:
    needs = [*_of_neurons(groups, rows), *_of_trials(groups)]
    for c in groups.network.connections:
        needs += _of_synapses(groups, c)
    return needs


def _of_neurons(groups: NetworkGroups, rows: int) -> Iterator[_Need]:
    """Histories of populations, and lists of the spikes of all that spike."""
    network, steps, float_bytes = groups.network, groups.capacity.n_steps, _float_bytes(groups)
    for population in network.populations:
        width = groups.layout.width(population.size)
        kept = results = states = 0
        later = groups.later_rows * len(groups.input_variables(population.name))
        if groups.learning and not groups.online:
            program = groups.factored(population)
            kept = len(program.history) + groups.keeps_signal(population.name)
            results = groups.tile(population, rows) * (rows + groups.late_rows)
            results *= len(program.results)
            if rows < steps:
                n_segments = -(-steps // rows)
                states = len(groups.state_variables(population.name)) * n_segments
                later *= 1 + n_segments
        history = kept * rows * np.dtype(groups.history_dtype).itemsize
        n_bytes = history * width + (results + (states + later) * width) * float_bytes
        yield _Need(f"{population.size} neurons x {steps} steps", width * rows, n_bytes)
    sizes = {source.name: source.size for source in network.inputs}
    sizes |= {population.name: population.size for population in network.populations}
    for name, size in sizes.items():
        n_spikes = size * (steps + 1)
        listed = n_spikes * np.dtype(np.int32).itemsize
        if listed <= physical_memory():  # else not even room for them can be had
            listed = round(_ACTIVE_STEPS * listed)
        yield _Need(f"spikes of {size} {name} in {steps} steps", n_spikes, listed)


def _of_trials(groups: NetworkGroups) -> Iterator[_Need]:
    """Inputs, targets, and what is recorded."""
    network, capacity, float_bytes = groups.network, groups.capacity, _float_bytes(groups)
    if capacity.analog and capacity.environment is None:
        n_values = capacity.n_patterns * network.n_inputs * capacity.n_steps
        what = f"{capacity.n_patterns} patterns of {network.n_inputs} analog inputs"
        yield _Need(what, n_values, n_values * float_bytes)
    n_samples = capacity.n_targets * capacity.target_steps * network.n_outputs
    what = f"{capacity.n_targets} targets of {capacity.target_steps} steps"
    yield _Need(what, n_samples, n_samples * float_bytes)
    for probe in capacity.probes:
        n_values = probe.n * capacity.n_steps
        what = f"{probe.n} recorded values of {probe.of} x {capacity.n_steps} steps"
        yield _Need(what, n_values, n_values * float_bytes)


def _of_synapses(groups: NetworkGroups, connection: Connection) -> Iterator[_Need]:
    """Weights, gradients with traces, and states of an optimizer."""
    if connection.shared is not None:
        return
    name, adjacency, float_bytes = connection.name, connection.adjacency, _float_bytes(groups)
    n_post, n_pre = connection.shape
    # As if sparse synapses were spread evenly.
    density = 1.0 if adjacency is None else adjacency.nnz / (n_post * n_pre)
    stored, floats = {}, 0
    for target, rows in connection.targets.items():
        width = rows.stop - rows.start
        if adjacency is None and target in groups.systems:
            width = groups.layout.width(width)
        stored[target] = round(density * width * n_pre)
        floats += stored[target] * len(synaptic_variables(groups, connection, target))
    n_stored, n_states = sum(stored.values()), 0
    if groups.learning and connection.plastic:
        n_states = len(groups.network.optimizer_of(connection).states)
    in_both = (float_bytes + _IN_PYTHON) * n_stored
    weights = in_both if adjacency is None else in_both + 2 * _INDEX * n_stored
    pairs = f"{n_pre} x {n_post}" if adjacency is None else f"{connection.n_synapses}"
    largest_source = max(columns.stop - columns.start for columns in connection.sources.values())
    largest = round(max(stored.values()) * largest_source / n_pre)
    yield _Need(f"the weights of {pairs} synapses of {name}", largest, weights)
    rest = (floats - (1 + n_states) * n_stored) * float_bytes
    yield _Need(f"the gradients of {name}", largest, rest)
    yield _Need(f"the optimizer's states of {name}", largest, n_states * in_both)


def _float_bytes(groups: NetworkGroups) -> int:
    return int(np.dtype(groups.dtype).itemsize)
