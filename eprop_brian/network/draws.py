"""Initial weights, drawn from a seed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eprop_brian.base.checks import check_real
from eprop_brian.base.memory import check_memory
from eprop_brian.base.random import normals, rng_for, uniforms
from eprop_brian.base.sparse import Matrix, dense, fit, values_of, with_values
from eprop_brian.network.feedback import initial_feedback
from eprop_brian.network.graph import Connection
from eprop_brian.network.rewiring import Rewiring, connect

if TYPE_CHECKING:
    from eprop_brian.network.resolved import Resolved

__all__ = ["InitialDraw", "initial_draws", "initial_weights"]

#: Of all weights, that there are at least: those that are kept, and those of a program.
_COPIES = 2


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
    sign : float
        1.0 or -1.0: the sign of all; 0.0: they have either.
    """

    uniform: bool
    divisor: float
    limit: float
    factor: float
    sign: float = 0.0

    @property
    def mean_size(self) -> float:
        """Expected absolute value."""
        mean = self.limit / 2 if self.uniform else np.sqrt(2 / np.pi) / self.divisor
        return float(mean * self.factor)

    def values(self, rng: np.random.Generator, size: Any) -> np.ndarray:
        """Draw so many values."""
        # In place: there may be more of them than memory has room for twice.
        if self.uniform:
            values = uniforms(rng, size)
            values *= 2 * self.limit
            values -= self.limit
        else:
            values = normals(rng, size)
            values /= self.divisor
        values *= self.factor
        return self.sign * np.abs(values) if self.sign else values


def initial_draws(connections: Iterable[Connection]) -> dict[str, InitialDraw]:
    r"""How the initial weights of connections are drawn.

    Balanced weights are scaled so that excitation and inhibition of a target cancel on average if
    all sources fire at equal rates. With :math:`S_c = K_c \langle|w|\rangle_c` for a connection c
    with a sign, where :math:`K_c` is the mean number of its synapses onto a neuron (n_pre times the
    connectivity) and :math:`\langle|w|\rangle_c` the expected absolute weight (of given weights
    their mean), the factor of the balanced inhibitory ones is

    .. math:: \frac{\sum_{exc} S_c - \sum_{inh, given} S_c}{\sum_{inh, balanced} S_c}

    over all connections onto the target. Balanced excitatory ones have the factor 1; only where no
    inhibition of the target is balanced, it is theirs, with excitation and inhibition exchanged.
    The scales of connections that are not balanced count; the scale of one that is multiplies the
    factor, so that 1.2 makes inhibition stronger by a fifth.
    Inputs count as sources; connections without a sign cancel on their own. The factor depends on
    neither the drawn numbers nor the order of connections.

    Raises
    ------
    ValueError
        If weights cannot be balanced, or given ones have another shape or sign.
    """
    connections = list(connections)
    for c in connections:
        _check_weights(c)
    draws = {c.name: _draw(c) for c in connections}
    totals = {c.name: _total_size(c, draws[c.name]) for c in connections if c.sign}
    factors = {c.name: _balance(c, connections, totals) if c.balanced else 1.0 for c in connections}
    return {
        c.name: replace(draws[c.name], factor=draws[c.name].factor * factors[c.name] * c.scale)
        for c in connections
    }


def _total_size(connection: Connection, draw: InitialDraw) -> float:
    """Expected sum of the absolute weights onto a neuron, before they are scaled."""
    n_post = connection.shape[0]
    if connection.weights is not None:
        weights = connection.matrix(connection.weights)
        return float(np.sum(np.abs(values_of(weights))) / n_post)
    if connection.shared is not None:
        return float(connection.shared.mixing.sum()) / n_post * draw.mean_size
    return connection.n_synapses / n_post * draw.mean_size


def _balance(
    connection: Connection, connections: Iterable[Connection], totals: dict[str, float]
) -> float:
    """The factor of a balanced connection."""
    factors = set()
    for target in connection.targets:
        onto = [c for c in connections if c.sign and target in c.targets]
        same = [c for c in onto if c.sign == connection.sign]
        other = [c for c in onto if c.sign != connection.sign]
        if connection.sign > 0 and any(c.balanced for c in other):
            factors.add(1.0)
            continue
        # Rounded sums must not depend on the order of connections.
        fixed = math.fsum(totals[c.name] * c.scale for c in same if not c.balanced)
        missing = math.fsum(totals[c.name] * c.scale for c in other) - fixed
        scaled = math.fsum(totals[c.name] for c in same if c.balanced)
        if not missing > 0 or not scaled > 0:
            raise ValueError(
                f"the weights of '{connection.name}' cannot be balanced: nothing is left onto "
                f"'{target}' that they could cancel; give another projection onto it the opposite "
                "sign, or smaller weights to those of the same sign"
            )
        factors.add(missing / scaled)
    if len(factors) > 1:
        raise ValueError(
            f"the targets of '{connection.name}' need different factors to be balanced: give each "
            "a projection of its own"
        )
    return factors.pop()


def _draw(connection: Connection) -> InitialDraw:
    """How the initial weights of a connection are drawn, before they are scaled."""
    factor = 1.0
    n_post: float
    n_pre: float
    n_post, n_pre = connection.shape
    if connection.shared is not None:
        n_post, n_pre = connection.shared.fan_out, connection.shared.fan_in
    elif connection.adjacency is not None:
        n_synapses = max(1, connection.adjacency.nnz)
        factor = math.sqrt(connection.n_possible / n_synapses)
    return InitialDraw(
        uniform=connection.glorot,
        divisor=math.sqrt(n_pre),
        limit=math.sqrt(6 / (n_pre + n_post)),
        factor=factor,
        sign=connection.sign,
    )


def _check_weights(connection: Connection) -> None:
    """Check the scale of initial weights, and those that are given."""
    name, weights = connection.name, connection.weights
    check_real(f"scale of '{name}'", connection.scale, 0.0 if connection.sign else -np.inf)
    if connection.balanced and not connection.sign:
        raise ValueError(f"the weights of '{name}' can only be balanced with a sign")
    if weights is None:
        return
    if np.shape(weights) != connection.weight_shape:
        axes = "" if connection.shared else " [post, pre]"
        raise ValueError(
            f"the weights of '{name}' must have shape {connection.weight_shape}{axes}, not "
            f"{np.shape(weights)}"
        )
    if connection.balanced or connection.glorot:
        raise ValueError(f"the weights of '{name}' are given: they are not drawn")
    if connection.signs is not None:
        raise ValueError(
            f"the weights of '{name}' are given, but it is rewired, which draws where they are: "
            "leave one of them away"
        )
    if connection.adjacency is not None and connection.shared is None:
        fit(f"the weights of '{name}'", weights, connection.adjacency)
    values = values_of(weights)
    if not np.all(np.isfinite(values)):
        raise ValueError(f"the weights of '{name}' must be finite")
    if np.any(values * connection.sign < 0):
        kind = "excitatory" if connection.sign > 0 else "inhibitory"
        raise ValueError(f"the weights of '{name}' are {kind}, but some have the other sign")
    if not connection.autapses and np.any(weights.diagonal()):
        raise ValueError(f"the weights of '{name}' must have a zero diagonal: no autapses")


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
    check_memory(
        {
            f"the {c.shape[0]} x {c.shape[1]} weights of {c.name}": _COPIES * 8 * c.n_synapses
            for c in network.connections
        },
        lambda share: (
            f"{share:.0%} of these synapses would fit: fewer neurons, or less connectivity"
        ),
    )
    rng = rng_for(seed, "weights")
    weights: dict[str, Matrix] = {}
    draws = initial_draws(network.connections)
    for connection in network.connections:
        draw = draws[connection.name]
        weights[connection.name] = _drawn(connection, draw, network.rewiring, rng)
    for signal in network.signals:
        followed = None
        if signal.follows:
            followed = network.keys.connections[signal.follows].matrix(weights[signal.follows])
        weights[signal.name] = initial_feedback(signal.feedback, signal.shape, followed, rng)
    for key, parameter in network.keys.learned.items():
        value = parameter.population.system.step.parameters[parameter.name]
        size = parameter.population.size
        weights[key] = np.array(np.broadcast_to(np.asarray(value, dtype=float), size))
    for key, connection in network.keys.delays.items():
        weights[key] = _initial_delays(connection)
    return weights


def _initial_delays(connection: Connection) -> Matrix:
    """The delays in steps that a connection starts with, structured as its weights."""
    steps, adjacency = values_of(connection.delay_steps), connection.adjacency
    if adjacency is None:
        return np.broadcast_to(steps, connection.shape).astype(float)
    return with_values(adjacency, np.broadcast_to(steps, adjacency.nnz).astype(float))


def _drawn(
    connection: Connection,
    draw: InitialDraw,
    rewiring: Rewiring | None,
    rng: np.random.Generator,
) -> Matrix:
    # Weights that synapses share are no matrix of pairs.
    adjacency = None if connection.shared else connection.adjacency
    weights = connection.weights
    if weights is not None:
        whole = dense(weights) if adjacency is None else fit(connection.name, weights, adjacency)
        return whole * connection.scale
    if adjacency is not None:
        return with_values(adjacency, draw.values(rng, adjacency.nnz))
    values = draw.values(rng, connection.weight_shape)
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
