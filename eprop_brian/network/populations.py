"""Populations: the neurons of a network, each kind derived, checked and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from brian2.core.functions import DEFAULT_FUNCTIONS
from brian2.stateupdaters.base import StateUpdateMethod
from brian2.units import Quantity

from eprop_brian.base.checks import check_identifier, check_positive
from eprop_brian.base.remembered import remembered
from eprop_brian.equations.neuron import Neuron
from eprop_brian.network.exogenous import check_timed_arrays
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.network.learned import LearnedRange, as_learned, learned_range
from eprop_brian.network.parts import Population
from eprop_brian.symbolic.eligibility import EligibilitySystem, derive
from eprop_brian.symbolic.errors import named
from eprop_brian.symbolic.per_neuron import Members
from eprop_brian.symbolic.readings import state_cost
from eprop_brian.symbolic.scope import neuron_names
from eprop_brian.symbolic.step_map import StepMap, step_map

__all__ = ["check_group_name", "make_populations", "population_names"]

#: Names that groups of a built network have, and other objects of its Brian2 network.
_GENERATED = frozenset(
    ("control", "input_data", "target_data", "trials", "trial", "outcomes", "answers")
    + ("period_data", "advantage_data", "label_data", "earlier_history", "profile", "step_runner")
    + ("step_clock", "network_", "trace_recorder")
    # Whose quantities would be stored as arrays of those are.
    + ("input", "target", "period", "advantage", "label_number")
    # Of an environment (`eprop_brian.network.episodes`).
    + ("environment", "episodes", "entropies")
)
#: How the names of groups end that belong to another.
_GENERATED_ENDINGS = (
    *("_history", "_results", "_window", "_later", "_rows", "_spikes", "_offsets", "_pre"),
    *("_reading", "_samples", "_synapse", "_thresholder", "_resetter", "_actions", "_mirrored"),
    *("_frames", "_durations", "_ways"),
)
#: Neurons of the largest population whose derivation is remembered.
_REMEMBERED = 10_000
#: How the names of other groups of an environment begin.
_GENERATED_BEGINNING = "environment_"
#: What stands between the ends of a projection in its name.
_GENERATED_MIDDLE = "_to_"


def make_populations(
    parts: Sequence[Population],
    dt: Quantity,
    c_v: float,
    voltage_cost: str,
    reads: Mapping[str, Sequence[str]],
    seed: int = 0,
) -> tuple[PopulationGroup, ...]:
    """Derive the populations of a network.

    Parameters
    ----------
    parts : sequence of Population
    dt : Quantity
    c_v : float
        Strength of the voltage regulariser; its cost is derived where this is not 0.
    voltage_cost : str
    reads : mapping of str to sequence of str
        What readouts sum in the place of spikes, by population.
    seed : int
        Of the values that are drawn for each neuron.

    Raises
    ------
    ValueError, EquationError
        If a neuron, its number or a name cannot work.
    """
    populations: list[PopulationGroup] = []
    arrays: dict[str, str] = {}
    for part in parts:
        neuron, size = part.neuron, part.size
        if not isinstance(neuron, Neuron):
            raise ValueError(
                f"a Population has a Neuron, not {neuron!r}; get_neuron('lif') is one of the "
                "library's"
            )
        name = part.name or neuron.name
        check_positive(f"the size of population '{name}'", size)
        check_group_name(name, "population")
        _check_sizes(neuron, int(size))
        # Large ones hold much, and deriving is little of what they take.
        few = size <= _REMEMBERED
        step = (_step_map if few else step_map)(neuron, Members(int(size), seed, name))
        ranges = _learned_ranges(part, step, name, dt)
        cost = voltage_cost if c_v else ""
        read = tuple(reads.get(name, ()))
        system = (_derive if few else derive)(step, tuple(ranges), cost, read)
        (_check_finite if few else EligibilitySystem.check_finite)(system, float(dt))
        state_cost(system.step, voltage_cost)  # checked even where c_v is 0
        for quantity in neuron_names(system.step):
            # Group "a" with "b_c" and group "a_b" with "c" would share an array.
            other = arrays.setdefault(f"{name}_{quantity}", name)
            if other != name:
                raise ValueError(
                    f"populations '{other}' and '{name}' would both have an array called "
                    f"'{name}_{quantity}': choose another name for one of them"
                )
        if not isinstance(part.reverse_time, bool):
            raise ValueError(
                f"population '{name}': reverse_time is true or false, not {part.reverse_time!r}"
            )
        population = PopulationGroup(name, neuron, int(size), system, ranges, part.reverse_time)
        check_timed_arrays(population, float(dt))
        populations.append(population)
    return tuple(populations)


def _known() -> tuple[tuple[str, object], ...]:
    """Functions and methods that the equations of neurons can name: a user may add to them."""
    return (*DEFAULT_FUNCTIONS.items(), *StateUpdateMethod.stateupdaters.items())


# Networks of the same neurons are often made one after the other.
_step_map = remembered(128, _known)(step_map)
_derive = lru_cache(maxsize=128)(derive)
_check_finite = lru_cache(maxsize=128)(EligibilitySystem.check_finite)


def population_names(neurons: Sequence[Neuron]) -> list[str]:
    """Names for populations of some neurons: the neurons' own, numbered where one comes again."""
    names: list[str] = []
    arrays: set[str] = set()
    for neuron in neurons:
        quantities = neuron_names(_step_map(neuron))
        name, number = neuron.name, len(names)
        while name in names or not arrays.isdisjoint(f"{name}_{x}" for x in quantities):
            name, number = f"{neuron.name}_{number + 1}", number + 1
        arrays |= {f"{name}_{x}" for x in quantities}
        names.append(name)
    return names


def _check_sizes(neuron: Neuron, size: int) -> None:
    """Check that there is a value for every neuron where there are several."""
    for name, value in (*neuron.parameters.items(), *neuron.initial.items()):
        if np.ndim(value) == 1 and len(value) != size:
            raise ValueError(
                f"neuron '{neuron.name}': {name} has {len(value)} values, there are {size} neurons"
            )


def check_group_name(name: str, what: str) -> None:
    """Raise ValueError for a name that a group of a built network cannot have.

    Parameters
    ----------
    name : str
    what : str
        What is called so: ``"population"``, ``"readout"``.
    """
    check_identifier(name, what)
    if (
        name in _GENERATED
        or name.startswith(_GENERATED_BEGINNING)
        or name.endswith(_GENERATED_ENDINGS)
        or _GENERATED_MIDDLE in name
    ):
        raise ValueError(
            f"a {what} cannot be called '{name}': a group of the network has or may have this name"
        )


def _learned_ranges(
    part: Population, step: StepMap, name: str, dt: Quantity
) -> dict[str, LearnedRange]:
    """Bounds and scales of the parameters of a population that learn."""
    neuron = part.neuron
    if not isinstance(part.learned, Mapping):
        raise ValueError(
            f"population '{name}': learned names parameters of its neuron, e.g. "
            f"{{tau_m = {{minimum = '5 ms'}}}}; got {part.learned!r}"
        )
    for parameter in part.learned:
        if parameter not in neuron.parameters:
            raise ValueError(
                f"population '{name}': its neuron has no parameter '{parameter}' to learn; there "
                f"are {', '.join(sorted(neuron.parameters))}"
            )
        if parameter not in step.parameters:
            raise ValueError(
                f"population '{name}': '{parameter}' cannot learn: a spike changes it, so it is a "
                "state"
            )
    with named(f"population '{name}'"):
        return {
            x: learned_range(x, as_learned(x, options), step, step.dimensions[x], float(dt))
            for x, options in part.learned.items()
        }
