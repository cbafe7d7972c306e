"""Populations: the neurons of a network, each kind derived, checked and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from brian2.units import Quantity, second

from eprop_brian.base.checks import check_positive
from eprop_brian.equations.neuron import Neuron
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.network.learned import Learned, LearnedRange, learned_range
from eprop_brian.symbolic.eligibility import derive, state_cost
from eprop_brian.symbolic.parameters import resolve_parameters
from eprop_brian.symbolic.scope import neuron_names
from eprop_brian.symbolic.step_map import StepMap, step_map

__all__ = ["make_populations"]

#: Names that groups of a built network have, and other objects of its Brian2 network.
_GENERATED = frozenset(
    ("control", "inputs", "input_data", "target_data", "trials", "outcomes", "answers")
    + ("period_data", "readout", "profile", "step_runner", "step_clock", "network_")
    + ("trace_recorder",)
    # Whose quantities would be stored as arrays of those are.
    + ("input", "target", "period")
)
#: How the names of groups end that belong to another.
_GENERATED_ENDINGS = (
    *("_history", "_results", "_window", "_later", "_rows", "_spikes", "_offsets", "_pre"),
    *("_thresholder", "_resetter"),
)
#: What stands between the ends of a projection in its name.
_GENERATED_MIDDLE = "_to_"


def make_populations(
    neurons: Sequence[tuple[Neuron, int]],
    learned: Mapping[str, Learned],
    dt: Quantity,
    c_v: float,
    voltage_cost: str,
) -> tuple[PopulationGroup, ...]:
    """Derive the populations of a network.

    Parameters
    ----------
    neurons : sequence of (Neuron, int)
    learned : mapping of str to Learned
        Parameters that learn, of all neurons that have them.
    dt : Quantity
    c_v : float
        Strength of the voltage regulariser; its cost is derived where this is not 0.
    voltage_cost : str

    Raises
    ------
    ValueError, EquationError
        If a neuron, its number or a name cannot work.
    """
    populations: list[PopulationGroup] = []
    arrays: set[str] = set()
    for neuron, size in neurons:
        if not isinstance(neuron, Neuron):
            raise ValueError(
                f"neurons are pairs of a Neuron and a number, not of {neuron!r}; "
                "get_neuron('lif') is one of the library's"
            )
        check_positive(f"the number of {neuron.name} neurons", size)
        ranges = _learned_ranges(neuron, learned, neurons, dt)
        cost = voltage_cost if c_v else ""
        system = derive(step_map(neuron), learned=tuple(ranges), cost=cost)
        system.check_finite(float(dt))
        state_cost(system.step, voltage_cost)  # checked even where c_v is 0
        _check_parameters(system.step, int(size))
        _check_name(neuron.name)
        quantities = [*neuron_names(system.step)]
        name = _free_name(neuron.name, quantities, [p.name for p in populations], arrays)
        arrays |= {f"{name}_{x}" for x in quantities}
        populations.append(PopulationGroup(name, neuron, int(size), system, ranges))
    return tuple(populations)


def _check_parameters(step: StepMap, size: int) -> None:
    """Check the time constants, and the parameters that have a value per neuron."""
    neuron = step.neuron
    times = resolve_parameters(neuron.parameters, f"neuron '{neuron.name}'")[1]
    for name, value in step.parameters.items():
        if name.startswith("tau") and times.get(name) is second.dim and np.any(value <= 0):
            raise ValueError(
                f"neuron '{neuron.name}': {name} = {value} s; a time constant must be positive"
            )
        if np.ndim(value) and np.shape(value) != (size,):
            raise ValueError(
                f"neuron '{neuron.name}': {name} has {np.size(value)} values, there "
                f"are {size} neurons"
            )


def _check_name(name: str) -> None:
    if name in _GENERATED or name.endswith(_GENERATED_ENDINGS) or _GENERATED_MIDDLE in name:
        raise ValueError(
            f"a neuron cannot be called '{name}': a group of the network has or may have this name"
        )


def _free_name(name: str, quantities: Sequence[str], taken: Sequence[str], arrays: set[str]) -> str:
    """A name that no other population has; nor may any array of theirs have one name."""
    free, number = name, len(taken)
    # Group "a" with "b_c" and group "a_b" with "c" would share an array.
    while free in taken or not arrays.isdisjoint(f"{free}_{x}" for x in quantities):
        free, number = f"{name}_{number + 1}", number + 1
    return free


def _learned_ranges(
    neuron: Neuron,
    learned: Mapping[str, Learned],
    neurons: Sequence[tuple[Neuron, int]],
    dt: Quantity,
) -> dict[str, LearnedRange]:
    """Bounds and scales of the parameters of a neuron that learn."""
    for name in learned:
        if not any(name in kind.parameters for kind, _ in neurons):
            valid_names = sorted({key for kind, _ in neurons for key in kind.parameters})
            raise ValueError(
                f"no neuron has the parameter '{name}' to learn; there are {', '.join(valid_names)}"
            )
    names = [name for name in learned if name in neuron.parameters]
    if not names:
        return {}
    step = step_map(neuron)
    where = f"neuron '{neuron.name}', parameters"
    dimensions = resolve_parameters(neuron.parameters, where)[1]
    return {
        name: learned_range(name, learned[name], step, dimensions[name], float(dt))
        for name in names
    }
