"""Initial weights, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eprop_brian.base.random import normals, rng_for, uniforms
from eprop_brian.base.sparse import Matrix, with_values
from eprop_brian.network.feedback import initial_feedback
from eprop_brian.network.graph import Connection
from eprop_brian.network.rewiring import Rewiring, connect

if TYPE_CHECKING:
    from eprop_brian.network.resolved import Resolved

__all__ = ["InitialDraw", "initial_draw", "initial_weights"]


@dataclass(frozen=True)
class InitialDraw:
    """Numbers of which initial weights are made.

    Attributes
    ----------
    uniform : bool
        Uniform between -`limit` and `limit`, or else standard normal over `divisor`.
    divisor, limit : float
    factor : float
        What either is multiplied by.
    """

    uniform: bool
    divisor: float
    limit: float
    factor: float

    def values(self, rng: np.random.Generator, size: Any) -> np.ndarray:
        """Draw so many values."""
        if self.uniform:
            return (-self.limit + 2 * self.limit * uniforms(rng, size)) * self.factor
        return normals(rng, size) / self.divisor * self.factor


def initial_draw(connection: Connection) -> InitialDraw:
    """How the initial weights of a connection are drawn."""
    factor = 1.0
    if connection.adjacency is not None:
        n_synapses = max(1, connection.adjacency.nnz)
        factor = float(np.sqrt(connection.n_possible / n_synapses))
    n_post, n_pre = connection.shape
    return InitialDraw(
        uniform=connection.glorot,
        divisor=float(np.sqrt(n_pre)),
        limit=float(np.sqrt(6 / (n_pre + n_post))),
        factor=factor,
    )


def initial_weights(network: Resolved, seed: int) -> dict[str, Matrix]:
    """Draw the weights of connections and learning signals, and take those of the neurons.

    Parameters
    ----------
    network : Resolved
    seed : int

    Returns
    -------
    dict
        See `Network.initial_weights`.
    """
    rng = rng_for(seed, "weights")
    weights: dict[str, Matrix] = {}
    for connection in network.connections:
        weights[connection.name] = _drawn(connection, network.rewiring, rng)
    for signal in network.signals:
        weights[signal.name] = initial_feedback(
            signal.feedback, signal.shape, weights.get(signal.follows), rng
        )
    for key, parameter in network.keys.learned.items():
        value = parameter.population.system.step.parameters[parameter.name]
        size = parameter.population.size
        weights[key] = np.array(np.broadcast_to(np.asarray(value, dtype=float), size))
    return weights


def _drawn(connection: Connection, rewiring: Rewiring | None, rng: np.random.Generator) -> Matrix:
    adjacency, draw = connection.adjacency, initial_draw(connection)
    if adjacency is not None:
        return with_values(adjacency, draw.values(rng, adjacency.nnz))
    values = draw.values(rng, connection.shape)
    if connection.signs is not None and rewiring is not None:
        return _initially_connected(connection, connection.signs, rewiring, values, rng)
    if not connection.autapses:
        np.fill_diagonal(values, 0.0)
    return values


def _initially_connected(
    connection: Connection,
    signs: np.ndarray,
    rewiring: Rewiring,
    values: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Weights of a matrix that is rewired: with its signs, 0 where there is no synapse."""
    none = np.zeros(values.shape, dtype=bool)
    n_connected = connection.n_connected or 1
    connected = connect(rng, none, n_connected, autapses=connection.autapses)
    size = np.abs(values) * np.sqrt(connection.n_possible / connected.sum())
    if rewiring.dale:
        # Few inhibitory neurons balance many excitatory ones.
        excitatory = rewiring.excitatory
        size = np.where(signs < 0, size * excitatory / (1 - excitatory), size)
    return np.where(connected, signs * size, 0.0)
