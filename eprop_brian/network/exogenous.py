"""Values of exogenous quantities: of neurons, steps and trials, the same on every device.

A program computes times and draws random numbers itself; what timed arrays have, it gets as a table
of steps. JAX gets all of it as arrays (`exogenous_values`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from eprop_brian.base.random import neuron_normals, neuron_uniforms
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.exogenous import Draw, Place, Sample, Time
from eprop_brian.symbolic.expressions import evaluate

if TYPE_CHECKING:
    from eprop_brian.network.resolved import Resolved

__all__ = [
    "NOISE",
    "check_timed_arrays",
    "constant_values",
    "draws",
    "exogenous_values",
    "largest_uniform",
    "needs_index",
    "population_number",
    "sample_group",
    "sample_rows",
    "sampled",
    "samples_of",
    "steps_sampled",
]

#: Variables of a trial that hold the halves of the key of its noise.
NOISE = ("noise_low", "noise_high")
_DRAWN = {"normal": neuron_normals, "uniform": neuron_uniforms}


def population_number(name: str) -> int:
    """What a population is in its draws: the same whatever others a network has."""
    return zlib.crc32(name.encode())


def draws(populations: Iterable[PopulationGroup]) -> bool:
    """Whether any population draws random numbers."""
    return any(isinstance(q, Draw) for p in populations for q in p.system.step.exogenous)


def largest_uniform(dtype: type) -> float:
    """The largest number of a float type below 1, to which a uniform number might be rounded up."""
    return float(np.nextafter(dtype(1), dtype(0)))


def samples_of(population: PopulationGroup) -> list[Sample]:
    """What a population reads of timed arrays."""
    return [q for q in population.system.step.exogenous if isinstance(q, Sample)]


def needs_index(population: PopulationGroup) -> bool:
    """Whether a population's statements read the numbers of its neurons."""
    exogenous = population.system.step.exogenous
    return any(isinstance(q, Draw) or (isinstance(q, Place) and q.several) for q in exogenous)


def sample_group(population: str, sample: Sample) -> str:
    """The store of what timed arrays have for each neuron of a population, or for all of them."""
    return f"{population}_samples" if sample.several else f"{population}_shared_samples"


def sample_rows(network: Resolved, n_steps: int) -> int:
    """Steps of which it is stored what timed arrays have, for trials of `n_steps`."""
    if not network.continuous:
        return n_steps
    return max(steps_sampled(p, float(network.dt)) for p in network.populations)


def check_timed_arrays(population: PopulationGroup, dt: float) -> None:
    """Check that timed arrays have a value for every neuron, and hold where they must.

    Raises
    ------
    EquationError
    """
    where = f"neuron '{population.neuron.name}', timed_arrays"
    for sample in samples_of(population):
        if sample.constant and not sample.values.holds_for(dt):
            raise EquationError(
                where,
                f"dt = {sample.values.dt:g} s",
                f"is not a whole number of steps of {dt:g} s, so {sample.call} changes within a "
                "step and method = exact cannot integrate it: choose exponential_euler, euler or "
                "rk2",
            )
        sampled(sample, population, 1, dt)


def sampled(sample: Sample, population: PopulationGroup, n_steps: int, dt: float) -> np.ndarray:
    """What a sample has in every step, (n_steps,), or (n_steps, size) if neurons differ."""
    size, where = population.size, f"neuron '{population.neuron.name}', {sample.call}"
    t = (np.arange(n_steps) - sample.steps_ago) * dt
    known = {**population.system.step.values(dt), **places(population), "dt": dt}
    known["t"] = t[:, np.newaxis] if sample.several else t
    rows = sample.values.rows(np.asarray(evaluate(sample.time, known, where)), dt)
    values = sample.values.values
    if sample.column:
        columns = np.broadcast_to(evaluate(sample.column, known, where), size)
        n_columns = values.shape[1]
        if np.any((columns < 0) | (columns >= n_columns) | (columns != np.floor(columns))):
            raise EquationError(
                where,
                sample.call,
                f"needs a column for each of {size} neurons, from 0 to {n_columns - 1}",
            )
        return values[rows, columns.astype(int)]
    shape = (n_steps, size) if sample.several else (n_steps,)
    return np.broadcast_to(values[rows], shape)


def steps_sampled(population: PopulationGroup, dt: float) -> int:
    """Steps after which the timed arrays of a population change no more.

    Raises
    ------
    EquationError
        If an array is not read in its order, so that it never comes to its end.
    """
    longest = 1
    for sample in samples_of(population):
        last = int(np.ceil(len(sample.values.values) * sample.values.dt / dt)) + 2
        step = population.system.step
        where = f"neuron '{population.neuron.name}', {sample.call}"
        for end in (last, 2 * last):
            known = {**step.values(dt), **places(population), "dt": dt, "t": end * dt}
            rows = sample.values.rows(np.asarray(evaluate(sample.time, known, where)), dt)
            if np.any(rows < len(sample.values.values) - 1):
                raise EquationError(
                    where,
                    sample.call,
                    "is never over; without trials a timed array is read at `t`, and keeps its "
                    "last value",
                )
        longest = max(longest, last + 1)
    return longest


def places(population: PopulationGroup) -> dict[str, np.ndarray | float]:
    """The numbers of the neurons, ``i``, and how many there are, ``N``."""
    return {"i": np.arange(float(population.size)), "N": float(population.size)}


def exogenous_values(
    population: PopulationGroup,
    keys: np.ndarray,
    n_steps: int,
    dt: float,
    dtype: type = np.float64,
) -> dict[str, np.ndarray]:
    """Values of everything exogenous that changes from step to step, by name.

    Parameters
    ----------
    population : PopulationGroup
    keys : array of uint64, shape (n_trials,)
        Of the trials' noise.
    n_steps : int
    dt : float
        In s.
    dtype : type
        Float type of the values.

    Returns
    -------
    dict of str to array
        With axes that can be broadcast to (n_steps, n_trials, size).
    """
    steps = np.arange(n_steps)
    values = {}
    for quantity in population.system.step.exogenous:
        if isinstance(quantity, Time):
            values[quantity.name] = ((steps - quantity.steps_ago) * dt)[:, None, None]
        elif isinstance(quantity, Draw):
            values[quantity.name] = _DRAWN[quantity.kind](
                keys[:, None],
                steps[:, None, None],
                np.arange(population.size),
                population_number(population.name),
                quantity.number,
            )
            if quantity.kind == "uniform":
                values[quantity.name] = np.minimum(values[quantity.name], largest_uniform(dtype))
        elif isinstance(quantity, Sample):
            of_steps = sampled(quantity, population, n_steps, dt)
            values[quantity.name] = of_steps.reshape(n_steps, 1, -1)
    return {name: value.astype(dtype) for name, value in values.items()}


def constant_values(population: PopulationGroup) -> Mapping[str, np.ndarray | float]:
    """Values of what a population's equations read of its neurons' numbers."""
    named = {q.name for q in population.system.step.exogenous if isinstance(q, Place)}
    return {name: value for name, value in places(population).items() if name in named}
