"""How well a balanced network does."""

from __future__ import annotations

import numpy as np

__all__ = ["mean_rate", "nmse", "ping_pong"]

#: Steps within which a spike is answered at once.
_AT_ONCE = 2


def nmse(x: np.ndarray, estimate: np.ndarray) -> float:
    """Normalised mean squared error: mean |x - estimate|^2 over the variance of x.

    Parameters
    ----------
    x, estimate : array of shape (n, K)
        Both sums are over all dimensions.

    Returns
    -------
    float
        NaN where x does not vary.
    """
    x, estimate = np.asarray(x, dtype=float), np.asarray(estimate, dtype=float)
    variance = np.sum(np.var(x, axis=0))
    error = np.mean(np.sum((x - estimate) ** 2, axis=1))
    return float(error / variance) if variance > 0 else float("nan")


def mean_rate(n_spikes: int, n: int, duration: float) -> float:
    """Mean rate of `n` neurons over `duration` s, in Hz."""
    return n_spikes / (n * duration)


def ping_pong(neurons: np.ndarray, steps: np.ndarray, decoder: np.ndarray, delay: int = 0) -> float:
    """Share of the spikes that a neuron of the opposite direction answers at once.

    An answer comes within 2 steps, beyond the delay of fast synapses in steps. Without ping-pong
    such pairs are chance: what is undone at once should not have been done.

    Parameters
    ----------
    neurons, steps : array of int of shape (n_spikes,)
        In order of time.
    decoder : array of shape (K, N)
    delay : int
    """
    if len(neurons) < 2:
        return 0.0
    answered = np.zeros(len(neurons), dtype=bool)
    first = np.searchsorted(steps, steps + delay, side="right")
    last = np.searchsorted(steps, steps + delay + _AT_ONCE, side="right")
    for offset in range(int(np.max(last - first, initial=0))):
        other = first + offset
        inside = other < last
        pairs = np.sum(decoder[:, neurons[inside]] * decoder[:, neurons[other[inside]]], axis=0)
        answered[inside] |= pairs < 0
    return float(np.mean(answered))
