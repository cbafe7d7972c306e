"""Exogenous quantities in the blocks of a population, and in a step."""

from __future__ import annotations

import numpy as np

from eprop_brian.network.exogenous import (
    largest_uniform,
    population_number,
    sample_group,
    samples_of,
)
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.network.step.parts import Rules
from eprop_brian.network.step.writing import Writer
from eprop_brian.steps.blocks import View
from eprop_brian.steps.nodes import Choose, Int, Node
from eprop_brian.symbolic.exogenous import Draw, Place, Time

__all__ = ["draw", "exogenous_statements", "moment", "sample_views", "trial_noise"]


def draw(kind: str, owner: str, number: int, dtype: type, step: str, index: str) -> str:
    """An expression that draws a random number.

    Parameters
    ----------
    kind : {"uniform", "normal"}
    owner : str
        Name of the population, or of what else draws it.
    number : int
        Of the draw among those of its owner.
    dtype : type
        Float type of the program.
    step, index : str
        Expressions of the step, and of the neuron's number.
    """
    place = f"_noise_low, _noise_high, {step}, {index}, {population_number(owner)}"
    value = f"_neuron_{kind}({place}, {number})"
    if kind == "uniform" and dtype is not np.float64:
        # A rounded number may be 1, of which log(1 - rand()) is infinite.
        value = f"clip({value}, 0, {largest_uniform(dtype)!r})"
    return value


def exogenous_statements(population: PopulationGroup, dtype: type) -> list[str]:
    """Statements that compute times, numbers of neurons and what is drawn, for a float type."""
    statements = []
    for quantity in population.system.step.exogenous:
        value = ""
        if isinstance(quantity, Time):
            value = "(_now - 1)*dt" if quantity.steps_ago else "_now*dt"
        elif isinstance(quantity, Draw):
            value = draw(quantity.kind, population.name, quantity.number, dtype, "_now", "index")
        elif isinstance(quantity, Place) and not quantity.several:
            value = repr(float(population.size))
        if value:
            statements.append(f"{quantity.stored} = {value}")
    return statements


def sample_views(writer: Writer, population: PopulationGroup) -> list[View]:
    """What a population reads of timed arrays."""
    views = {}
    for sample in samples_of(population):
        group = sample_group(population.name, sample)
        views[group] = writer.own(group, "_sampled" if sample.several else "_moment")
    return list(views.values())


def trial_noise(rules: Rules) -> list[Node]:
    """Name the halves of the key of a trial's noise."""
    return [Int(f"_{name}", f"{{{array}}}[_trial]") for name, array in rules.noise.items()]


def moment(rules: Rules) -> list[Node]:
    """Name the row of what timed arrays have in a step: the last holds from then on."""
    if not rules.sample_rows:
        return []
    last = rules.sample_rows - 1
    return [Choose("_moment", f"_now < {last}", "_now", str(last))]
