"""Checks of functions of the weight: which weights there can be, and where a function has none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from eprop_brian.base.sparse import Matrix, is_sparse
from eprop_brian.network.graph import Connection, PopulationGroup
from eprop_brian.network.optimization import bounds
from eprop_brian.symbolic.weights import WeightFunction

if TYPE_CHECKING:
    from eprop_brian.network.resolved import Resolved

__all__ = ["check_values", "check_weight_functions"]

#: What stands for a bound that there is not.
_FAR = 1e3


def check_weight_functions(network: Resolved) -> None:
    """Refuse what a function of the weight cannot have.

    Raises
    ------
    ValueError
        If it reads a learned parameter, or learning could lead a weight to where it has no value;
        if a weight of 0 is no synapse, and it is not 0 there.
    """
    for c in network.connections:
        for population, function in _functions(network, c):
            where = f"projection '{c.name}' sums {_text(function)} of its weights at "
            where += f"'{population.name}'"
            if learned := sorted({*function.names} & population.learned.keys()):
                raise ValueError(
                    f"{where}, and '{learned[0]}' in it learns, which would need a trace of every "
                    "synapse: let one of them stay as it is"
                )
            values = population.system.step.values(float(network.dt))
            if c.signs is not None and np.any(function.values(0.0, values) != 0):
                raise ValueError(
                    f"{where}, which is not 0 for a weight of 0; rewiring takes that for no synapse"
                )
            ends = bounds(network.optimizer_of(c)) if c.plastic else ()
            for name, end in zip(("minimum", "maximum"), ends, strict=False):
                at = function.values(np.clip(end, -_FAR, _FAR), values)
                if np.any(np.isnan(at)) or np.any(np.isinf(at)) and np.isfinite(end):
                    raise ValueError(
                        f"{where}, which is no number for all weights: give it a {name} within "
                        "those that have one"
                    )


def check_values(network: Resolved, c: Connection, weights: Matrix) -> None:
    """Refuse weights of which a function has no value.

    Raises
    ------
    ValueError
    """
    for population, function in _functions(network, c):
        block: Any = c.matrix(weights)[c.targets[population.name]]
        post = block.indices if is_sparse(block) else np.arange(len(block))[:, np.newaxis]
        values = population.system.step.values(float(network.dt))
        of_neurons = {k: np.asarray(v)[post] if np.ndim(v) else v for k, v in values.items()}
        each = block.data if is_sparse(block) else block
        if not np.all(np.isfinite(function.values(each, of_neurons))):
            raise ValueError(
                f"'{c.name}' of the weights: {_text(function)}, which '{population.name}' sums, is "
                "no number for some of them"
            )


def _functions(
    network: Resolved, c: Connection
) -> Iterator[tuple[PopulationGroup, WeightFunction]]:
    for population in network.populations:
        if population.name in c.targets:
            function = network.weight_function(c, population.name)
            if function is not None:
                yield population, function


def _text(function: WeightFunction) -> str:
    return function.text(function.expression)
