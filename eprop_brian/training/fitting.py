"""Checks weights and stored states against a network, and copies them in its own format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from brian2.units import Quantity
from brian2.units.fundamentalunits import have_same_dimensions

from eprop_brian.base.sparse import (
    Matrix,
    dense,
    fit,
    is_sparse,
    same_structure,
    values_of,
    with_values,
)
from eprop_brian.network.keys import LearnedParameter
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.weight_functions import check_values

__all__ = [
    "check_delays",
    "fitted_weights",
    "stored_array",
    "stored_matrix",
    "stored_weights",
    "zeros",
]

_OTHER_SYNAPSES = (
    "the saved state's '{}' has other synapses than this network: its connectivity was different"
)


def fitted_weights(network: Resolved, weights: Mapping[str, Any]) -> dict[str, Matrix]:
    """Copies of weights, dense or with the network's synapses.

    Parameters
    ----------
    network : Resolved
    weights : mapping
        As `Network.initial_weights` gives them; any may be dense or sparse.

    Raises
    ------
    ValueError
        If one is missing, unknown, not finite, or does not fit.
    """
    shapes = network.keys.shapes()
    unknown = sorted({*weights} - {*shapes})
    if unknown:
        raise ValueError(f"the network has no weights '{unknown[0]}'; it has {', '.join(shapes)}")
    for name, shape in shapes.items():
        _check_numbers(name, weights.get(name), shape)
    _check_signs(network, weights)
    for name, parameter in network.keys.learned.items():
        _check_bounds(parameter, np.asarray(weights[name]))
    fitted: dict[str, Matrix] = {}
    for name in shapes:
        adjacency = network.adjacency.get(name)
        value = weights[name]
        fitted[name] = dense(value) if adjacency is None else fit(name, value, adjacency)
    for c in network.connections:
        if not c.autapses and np.any(fitted[c.name].diagonal()):
            raise ValueError(f"{c.name} must have a zero diagonal: there are no autapses")
        check_values(network, c, fitted[c.name])
    check_delays(network, fitted)
    return fitted


def stored_weights(network: Resolved, state: Mapping[str, Matrix]) -> dict[str, Matrix]:
    """The weights of a stored state, whose other arrays `SessionState.restore` takes.

    Raises
    ------
    ValueError
        If one is missing or does not fit.
    """
    return {
        name: stored_matrix(state, name, zeros(network, name)) for name in network.keys.shapes()
    }


def stored_matrix(state: Mapping[str, Matrix], name: str, current: Matrix) -> Matrix:
    """Copy the matrix of a stored state that replaces the current one.

    Raises
    ------
    ValueError
        If it is missing, of another shape, or has other synapses.
    """
    if name not in state or np.shape(state[name]) != current.shape:
        raise ValueError(
            f"the saved state has no '{name}' of shape {current.shape} that this network needs"
        )
    stored = state[name]
    if not is_sparse(current):
        if is_sparse(stored):
            raise ValueError(_OTHER_SYNAPSES.format(name))
        return dense(stored)
    if not is_sparse(stored) or not same_structure(stored, current):
        raise ValueError(_OTHER_SYNAPSES.format(name))
    return with_values(current, np.array(stored.data, dtype=float))


def stored_array(state: Mapping[str, Matrix], name: str, current: np.ndarray) -> np.ndarray:
    """Copy the array of a stored state that replaces the current one.

    Raises
    ------
    ValueError
        If it is missing or of another shape.
    """
    if name not in state or np.shape(state[name]) != current.shape:
        raise ValueError(f"the saved state has no '{name}' of shape {current.shape}")
    return np.array(state[name], dtype=current.dtype)


def zeros(network: Resolved, name: str) -> Matrix:
    """Zeros shaped as a weight matrix or a learned parameter."""
    adjacency = network.adjacency.get(name)
    if adjacency is None:
        return np.zeros(network.keys.shapes()[name])
    return with_values(adjacency, np.zeros(adjacency.nnz))


def _check_numbers(name: str, value: Any, shape: tuple[int, ...]) -> None:
    if value is None or np.shape(value) != shape:
        got = "nothing" if value is None else np.shape(value)
        raise ValueError(f"the weights need '{name}' of shape {shape}, not {got}")
    if isinstance(value, Quantity) and not have_same_dimensions(value, 1):
        raise ValueError(f"'{name}' of the weights must be plain numbers (SI), without unit")
    if not np.all(np.isfinite(values_of(value))):
        raise ValueError(f"'{name}' of the weights must be finite")


def _check_signs(network: Resolved, weights: Mapping[str, Any]) -> None:
    """Check signs, and numbers of synapses of the connections that are rewired."""
    for c in network.connections:
        if c.sign and np.any(values_of(weights[c.name]) * c.sign < 0):
            kind = "excitatory" if c.sign > 0 else "inhibitory"
            raise ValueError(f"'{c.name}' of the weights is {kind}, but some have the other sign")
        if c.signs is None:
            continue
        values = dense(weights[c.name])
        if np.any(c.signs * values < 0):
            raise ValueError(f"'{c.name}' of the weights has other signs than network.signs")
        n_synapses = np.count_nonzero(values)
        if n_synapses > (c.n_connected or 0):
            raise ValueError(
                f"'{c.name}' of the weights has {n_synapses} synapses (weights other than 0), "
                f"rewiring keeps {c.n_connected}"
            )


def check_delays(network: Resolved, weights: Mapping[str, Matrix]) -> None:
    """Check learned delays, which select rows of what is on its way.

    Raises
    ------
    ValueError
        If one is shorter or longer than a spike's way can be.
    """
    for key, connection in network.keys.delays.items():
        least, longest = connection.least_delay, connection.least_delay + connection.spread
        steps = values_of(weights[key])
        slack = 1e-6 * longest  # of rounding, in single precision too
        if not np.all((steps >= least - slack) & (steps <= longest)):
            raise ValueError(
                f"'{key}' of the weights must lie between {least} and {longest} steps, not "
                f"{np.min(steps):g} to {np.max(steps):g}"
            )


def _check_bounds(parameter: LearnedParameter, value: np.ndarray) -> None:
    bounds = parameter.population.learned[parameter.name]
    slack = 1e-6 * bounds.scale  # of rounding, in single precision too
    if np.any((value < bounds.minimum - slack) | (value > bounds.maximum + slack)):
        raise ValueError(
            f"'{parameter.key}' of the weights must lie between {bounds.minimum:g} and "
            f"{bounds.maximum:g} (SI units), not {value}"
        )
