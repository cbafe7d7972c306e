"""How well a balanced network does: decoding, learned dynamics, balance, robustness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = [
    "Currents",
    "FixedPoint",
    "LimitCycle",
    "balance",
    "cv_isi",
    "fixed_points",
    "limit_cycle",
    "lobe_switches",
    "lyapunov_exponent",
    "mean_rate",
    "nmse",
    "ping_pong",
    "relative_performance",
]

#: Steps within which a spike is answered at once.
_AT_ONCE = 2
#: A vector field, (..., K) to (..., K).
Field = Callable[[np.ndarray], np.ndarray]


def nmse(x: np.ndarray, estimate: np.ndarray) -> float:
    """Normalised mean squared error: that of the estimate over the variance of x.

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


def cv_isi(times: np.ndarray, neurons: np.ndarray, n: int, least: int = 5) -> np.ndarray:
    """Coefficient of variation of every neuron's inter-spike intervals.

    Parameters
    ----------
    times : array of shape (n_spikes,)
    neurons : array of int of shape (n_spikes,)
    n : int
        Number of neurons.
    least : int
        Spikes that a neuron must have.

    Returns
    -------
    ndarray of shape (n,)
        NaN where a neuron has fewer. 1 is a Poisson process, 0 a clock.
    """
    found = np.full(n, np.nan)
    for neuron in range(n):
        own = np.sort(times[neurons == neuron])
        if len(own) >= least:
            intervals = np.diff(own)
            found[neuron] = np.std(intervals) / np.mean(intervals)
    return found


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


@dataclass(frozen=True)
class Currents:
    """Excitation and inhibition that a neuron receives.

    Attributes
    ----------
    t : ndarray of shape (n,)
        In s.
    excitation, inhibition : ndarray of shape (n,)
        Sums of all positive and of all negative inputs, in 1/s; the second is negative.
    """

    t: np.ndarray
    excitation: np.ndarray
    inhibition: np.ndarray


def balance(currents: Currents) -> tuple[float, float]:
    """How excitation and inhibition cancel.

    Returns
    -------
    float
        Correlation of excitation with minus inhibition: 1 is tight balance.
    float
        Mean of the net input's size over mean of the total input's: 0 is exact cancellation.
    """
    e, i = currents.excitation, currents.inhibition
    total = np.mean(e - i)
    cancelled = float(np.mean(np.abs(e + i)) / total) if total > 0 else float("nan")
    if np.std(e) == 0 or np.std(i) == 0:
        return float("nan"), cancelled
    return float(np.corrcoef(e, -i)[0, 1]), cancelled


# --- attractors -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class FixedPoint:
    """A zero of a vector field.

    Attributes
    ----------
    x : ndarray of shape (K,)
    stable : bool
        Whether all eigenvalues of the field's derivative have a negative real part.
    """

    x: np.ndarray
    stable: bool


def fixed_points(field: Field, starts: np.ndarray, tolerance: float = 1e-3) -> list[FixedPoint]:
    """Zeros of a vector field that are found from some starting points.

    Parameters
    ----------
    field : callable
    starts : array of shape (n, K)
        Zeros outside their range, widened by a tenth, are dropped.
    tolerance : float
        Distance within which two zeros are the same.

    Returns
    -------
    list of FixedPoint
        Ordered by their coordinates.
    """
    from scipy.optimize import root  # which takes a while to import

    starts = np.asarray(starts, dtype=float)
    low, high = starts.min(axis=0), starts.max(axis=0)
    margin = 0.1 * (high - low) + tolerance
    found: list[FixedPoint] = []
    for start in starts:
        result = root(field, start)
        x = np.asarray(result.x)
        outside = np.any((x < low - margin) | (x > high + margin))
        if not result.success or outside or any(_near(x, p.x, tolerance) for p in found):
            continue
        stable = bool(np.all(np.linalg.eigvals(_derivative(field, x)).real < 0))
        found.append(FixedPoint(x, stable))
    return sorted(found, key=lambda point: tuple(point.x))


def _near(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    return bool(np.linalg.norm(a - b) < tolerance)


def _derivative(field: Field, x: np.ndarray) -> np.ndarray:
    """Central differences, (K, K)."""
    step = 1e-5 * np.eye(len(x))
    return ((field(x + step) - field(x - step)) / 2e-5).T


@dataclass(frozen=True)
class LimitCycle:
    """A periodic motion.

    Attributes
    ----------
    period : float
        Median time between upward crossings of the mean of the first dimension, in s.
    amplitude : ndarray of shape (K,)
        Half the range of each dimension, median over cycles.
    cycles : int
        How many whole cycles there are. Without one the others are NaN.
    """

    period: float
    amplitude: np.ndarray
    cycles: int


def limit_cycle(t: np.ndarray, x: np.ndarray) -> LimitCycle:
    """Period and amplitude of a motion.

    Parameters
    ----------
    t : array of shape (n,)
    x : array of shape (n, K)
        Crossings count with hysteresis: after a tenth of the range below the mean.
    """
    first = x[:, 0] - np.mean(x[:, 0])
    band = 0.1 * np.ptp(first)
    crossings, below = [], False
    for index, value in enumerate(first):
        if value < -band:
            below = True
        elif value >= 0 and below:
            crossings.append(index)
            below = False
    cycles = len(crossings) - 1
    if cycles < 1 or band == 0:
        return LimitCycle(float("nan"), np.full(x.shape[1], np.nan), 0)
    ranges = [np.ptp(x[a:b], axis=0) / 2 for a, b in zip(crossings, crossings[1:], strict=False)]
    period = float(np.median(np.diff(t[crossings])))
    return LimitCycle(period, np.median(ranges, axis=0), cycles)


def lyapunov_exponent(
    field: Field, x: np.ndarray, duration: float = 50.0, dt: float = 0.005
) -> float:
    """Largest Lyapunov exponent of a vector field, in 1/s.

    The growth of a small difference, rescaled after every step (Benettin et al. 1980, Meccanica
    15:9), along a path that begins after a fifth of `duration`.

    Parameters
    ----------
    field : callable
    x : array of shape (K,)
    duration, dt : float
        In s.

    Returns
    -------
    float
        NaN if the path leaves to infinity.
    """
    size = 1e-7
    pair = np.stack([x, x + size * np.eye(len(x))[0]])
    steps, skipped, growth = round(duration / dt), round(0.2 * duration / dt), 0.0
    for step in range(steps + skipped):
        pair = _rk4(field, pair, dt)
        difference = pair[1] - pair[0]
        distance = np.linalg.norm(difference)
        if not np.isfinite(distance) or distance == 0:
            return float("nan")
        if step >= skipped:
            growth += np.log(distance / size)
        pair[1] = pair[0] + difference * (size / distance)
    return float(growth / (steps * dt))


def _rk4(field: Field, x: np.ndarray, dt: float) -> np.ndarray:
    k1 = field(x)
    k2 = field(x + dt / 2 * k1)
    k3 = field(x + dt / 2 * k2)
    k4 = field(x + dt * k3)
    return x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def lobe_switches(t: np.ndarray, x: np.ndarray) -> float:
    """How often a motion goes from one side of 0 to the other in its first dimension, per s.

    Parameters
    ----------
    t : array of shape (n,)
    x : array of shape (n, K)
        A side is reached at a third of the standard deviation.
    """
    first = x[:, 0]
    side = np.sign(first) * (np.abs(first) > np.std(first) / 3)
    side = side[side != 0]
    if len(t) < 2:
        return float("nan")
    return float(np.count_nonzero(np.diff(side)) / (t[-1] - t[0]))


# --- robustness -----------------------------------------------------------------------------------


def relative_performance(
    error: np.ndarray | float, reference: np.ndarray | float, dead: np.ndarray | float
) -> np.ndarray:
    """Performance of a perturbed network: 1 as the unperturbed one, 0 as one that is silent.

    (dead - error)/(dead - reference), as in Calaim et al. 2022 (eLife 11:e73276).

    Parameters
    ----------
    error, reference, dead : array or float
        Mean distance of signal and estimate: perturbed, unperturbed, and a silent network.

    Returns
    -------
    ndarray
        NaN if the unperturbed network is no better than a silent one.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(dead > reference, (dead - error) / np.subtract(dead, reference), np.nan)
