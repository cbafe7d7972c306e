"""Time, random numbers and timed arrays that a population reads, as timed arrays of Brian2.

What neurons draw is a table here: the numbers of the package, a row for every step of every trial.
"""

from __future__ import annotations

import numpy as np

from eprop_brian.brian.context import Context
from eprop_brian.brian.parts import GroupPart, NetworkPart
from eprop_brian.network.exogenous import exogenous_values
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.symbolic.exogenous import Draw, Exogenous, Place, Time
from eprop_brian.tasks.trials import Trials

__all__ = ["describe_exogenous"]


def describe_exogenous(
    context: Context,
    network: NetworkPart,
    part: GroupPart,
    population: PopulationGroup,
    trials: Trials,
) -> tuple[dict[str, str], list[str]]:
    """What a population's statements read besides its states.

    Returns
    -------
    dict of str to str
        What the group calls it, by its name in the statements.
    list of str
        Lines that compute it, in the names of the group.
    """
    quantities = population.system.step.exogenous
    if not quantities:
        return {}, []
    dt = float(context.network.dt)
    values = exogenous_values(population, trials.noise_keys, context.n_steps, dt)
    part.constants["n_steps"] = context.n_steps
    names: dict[str, str] = {}
    lines = ["step = t_in_timesteps % n_steps"]
    for quantity in quantities:
        names[quantity.stored] = part.free(quantity.stored)
        part.taken.add(names[quantity.stored])
    for quantity in quantities:
        value = _formula(quantity, population)
        if not value:
            table = values[quantity.name]
            value = f"{population.name}_{quantity.stored}"
            part.functions[value] = value
            if isinstance(quantity, Draw):
                # Of one trial after the other, and of the step after the last.
                rows = table.swapaxes(0, 1).reshape(-1, population.size)
                table = np.append(rows, np.full((1, population.size), quantity.at_rest), axis=0)
                row = "t_in_timesteps*dt"
            else:
                row, table = "step*dt", table[:, 0] if quantity.several else table[:, 0, 0]
            network.timed[value] = table
            value += f"({row}, i)" if quantity.several else f"({row})"
        lines.append(f"{names[quantity.stored]} = {value}")
    return names, lines


def _formula(quantity: Exogenous, population: PopulationGroup) -> str:
    """What a time or a neuron's number is computed by; nothing for what stands in a table."""
    if isinstance(quantity, Time):
        return f"(step - {quantity.steps_ago})*dt"
    if isinstance(quantity, Place):
        return "1.0*i" if quantity.several else repr(float(population.size))
    return ""
