"""The vector field that a network has in its slow weights, and the currents that it makes.

While the potentials stay small, D s = c + (D D^T)^-1 D Ws psi: the estimate moves as
dxhat/dt = (D D^T)^-1 D Ws psi - lambda_r xhat + c, which is to be f(xhat) + c.
"""

from __future__ import annotations

import numpy as np

from eprop_brian.balanced.metrics import Currents, nmse
from eprop_brian.balanced.simulation import Recording
from eprop_brian.balanced.spec import BalancedNetwork

__all__ = [
    "NetworkField",
    "currents",
    "effective_matrix",
    "field_nmse",
    "filtered_spikes",
]

#: What M may differ from G D, relatively.
_TOLERANCE = 1e-9


class NetworkField:
    """The vector field of the neurons that are alive.

    Parameters
    ----------
    network : BalancedNetwork
    slow_weights : array of shape (N, n_basis)
    killed : array of bool of shape (N,), optional
        Their decoding vectors and slow currents are left out.

    Raises
    ------
    ValueError
        If dendrites see more of r than the estimate D r (M is not G D), so that psi is not a
        function of the estimate; or if fewer than K neurons are alive.
    """

    def __init__(
        self,
        network: BalancedNetwork,
        slow_weights: np.ndarray,
        killed: np.ndarray | None = None,
    ) -> None:
        self.network = network
        alive = np.ones(network.n, dtype=bool) if killed is None else ~killed
        decoder = network.decoder[:, alive]
        if np.linalg.matrix_rank(decoder) < network.n_dimensions:
            raise ValueError(
                f"{decoder.shape[1]} neurons do not span {network.n_dimensions} dimensions: their "
                "slow currents do not define a vector field of the estimate"
            )
        gram = decoder @ decoder.T
        self._readout = np.linalg.solve(gram, decoder @ slow_weights[alive])
        basis = network.basis_weights
        if basis is not None:
            self._from_estimate = basis @ np.linalg.pinv(network.decoder)
            rest = basis - self._from_estimate @ network.decoder
            if np.linalg.norm(rest) > _TOLERANCE * np.linalg.norm(basis):
                raise ValueError(
                    "the dendrites see more than the estimate (basis_weights is not G @ decoder), "
                    "so the slow currents do not define a vector field of it"
                )
        else:
            # The least r with this estimate.
            self._from_estimate = decoder.T @ np.linalg.inv(gram)
            self._readout = np.linalg.solve(gram, decoder @ slow_weights[np.ix_(alive, alive)])

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The field at some points, (..., K) to (..., K), in 1/s."""
        network, x = self.network, np.asarray(x, dtype=float)
        psi = x @ self._from_estimate.T
        if network.basis_offset is not None:
            psi = np.tanh(psi + network.basis_offset)
        return psi @ self._readout.T - float(network.lambda_r) * x


def field_nmse(
    network: BalancedNetwork,
    slow_weights: np.ndarray,
    points: np.ndarray,
    killed: np.ndarray | None = None,
) -> float:
    """Normalised mean squared error of the network's vector field.

    Parameters
    ----------
    network : BalancedNetwork
    slow_weights : array of shape (N, n_basis)
    points : array of shape (n, K)
        Where to compare it with the teacher's: what the teacher visited.
    killed : array of bool of shape (N,), optional
    """
    network_field = NetworkField(network, slow_weights, killed)
    return nmse(network.teacher_map.field(points), network_field(points))


def effective_matrix(network: BalancedNetwork, slow_weights: np.ndarray) -> np.ndarray:
    """What slow weights of the linear basis do to the signal: (D D^T)^-1 D Ws D^+.

    Returns
    -------
    ndarray of shape (K, K)
        In 1/s; of the closed form, A + lambda_r I.

    Raises
    ------
    ValueError
        If there are fewer than K neurons.
    """
    d = network.decoder
    if np.linalg.matrix_rank(d) < network.n_dimensions:
        raise ValueError(f"{network.n} neurons do not span {network.n_dimensions} dimensions")
    return np.linalg.solve(d @ d.T, d @ slow_weights @ np.linalg.pinv(d))


def filtered_spikes(recording: Recording, network: BalancedNetwork, t: np.ndarray) -> np.ndarray:
    """Filtered spikes r of all neurons.

    Parameters
    ----------
    recording : Recording
    network : BalancedNetwork
    t : array of shape (n,)
        In order.

    Returns
    -------
    ndarray of shape (n, N)
    """
    dt = float(network.dt)
    # In whole steps, and with the decay of a step, it is what the simulation has.
    decay = 1 - float(network.lambda_r) * dt
    at = np.round((t - recording.t_start) / dt).astype(int)
    # A spike of a step is in r from the next step on.
    jumps = np.round((recording.spike_times - recording.t_start) / dt).astype(int) + 1
    ends = np.searchsorted(jumps, at, side="right")
    r, now, first = recording.r_start.copy(), 0, 0
    out = np.empty((len(t), network.n))
    for row, (step, last) in enumerate(zip(at, ends, strict=True)):
        r *= decay ** (step - now)
        np.add.at(r, recording.spike_neurons[first:last], decay ** (step - jumps[first:last]))
        out[row], now, first = r, step, last
    return out


def currents(
    recording: Recording,
    network: BalancedNetwork,
    slow_weights: np.ndarray,
    fast_weights: np.ndarray,
    inputs: np.ndarray,
    neuron: int,
    tau: float = 0.005,
) -> Currents:
    """Excitation and inhibition of a neuron, from a recording.

    Parameters
    ----------
    recording : Recording
    network : BalancedNetwork
    slow_weights, fast_weights : array
    inputs : array of shape (n_steps, K)
        c of the recording.
    neuron : int
    tau : float
        Time constant in s with which fast inputs, which are pulses, are smoothed.

    Returns
    -------
    Currents
        Every synapse counts by its sign: those of slow and fast weights, and of each dimension of
        the input. The neuron's own reset is not counted.
    """
    t, dt = recording.t, float(network.dt)
    psi = filtered_spikes(recording, network, t)
    if network.basis_weights is not None and network.basis_offset is not None:
        psi = np.tanh(psi @ network.basis_weights.T + network.basis_offset)
    rows = np.clip(np.round((t - recording.t_start) / dt).astype(int), 0, len(inputs) - 1)
    parts = [psi * slow_weights[neuron], inputs[rows] * network.decoder[:, neuron]]
    smoothed = np.zeros((len(t), network.n))
    step = np.searchsorted(t, recording.spike_times)
    inside = step < len(t)
    np.add.at(smoothed, (step[inside], recording.spike_neurons[inside]), 1.0)
    decay = np.exp(-np.median(np.diff(t)) / tau) if len(t) > 1 else 0.0
    for row in range(1, len(t)):
        smoothed[row] += decay * smoothed[row - 1]
    fast = -fast_weights[neuron].copy()
    fast[neuron] = 0.0
    parts.append(smoothed * (fast / tau))
    inputs_by_synapse = np.concatenate(parts, axis=1)
    excitation = np.sum(np.maximum(inputs_by_synapse, 0), axis=1)
    return Currents(t, excitation, np.sum(np.minimum(inputs_by_synapse, 0), axis=1))
