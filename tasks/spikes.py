r"""Bernoulli spike trains: the discrete-time form of a Poisson process.

In every step an input fires with a probability ``p = rate * dt``, independently of everything else.
Drawing one random number for each (trial, step, input) would take a good part of the time of a
simulation. Few of those bins hold a spike, so the spikes are found directly:

1. the gaps between the successes of a Bernoulli process with the largest probability :math:`p_m`
   are geometric, :math:`P(g) = (1 - p_m)^g p_m`. A word of 64 random bits gives a gap, or means
   that the next 1023 bins have no success, by Walker's alias method: its lowest 10 bits choose
   one of 1024 columns, its upper 53 bits one of the two outcomes that share this column;
2. a candidate in a bin of probability :math:`p` is kept with probability :math:`p / p_m`, by a
   second word. Where all bins have the same probability there are no second words.

Probabilities are exact to :math:`2^{-53}`: the spikes have the distribution of
``rng.random(shape) < p``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eprop_brian.base.random import words

__all__ = ["SpikeBins", "poisson_spikes", "spike_bins", "spike_positions"]

#: Outcomes of a word: so many bins without a spike before one with a spike; the last outcome is
#: that many without, and no spike.
_OUTCOMES = 1024
_NONE = _OUTCOMES - 1
#: Bits of a word below the 53 that make a uniform number.
_LOWER_BITS = np.uint64(11)
# Gaps drawn at a time. The temporary arrays then stay in the cache and, at 64 kB, in memory that
# the process already has: fresh pages would cost more than the arithmetic.
_CHUNK = 8192


def poisson_spikes(
    rng: np.random.Generator, probability: ArrayLike, n_trials: int = 1
) -> NDArray[np.bool_]:
    """Draw independent spike trains for `n_trials` trials.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness; it is advanced.
    probability : array of float, shape (n_steps, n_inputs)
        Spike probability per step (rate times dt), the same in every trial.
    n_trials : int
        Number of trials to draw.

    Returns
    -------
    spikes : bool array, shape (n_trials, n_steps, n_inputs)

    Raises
    ------
    ValueError
        If `probability` is not a 2-D array of numbers in [0, 1].
    """
    places = spike_bins(probability)
    spikes = np.zeros((n_trials, *places.shape), dtype=bool)
    flat = spikes.reshape(-1)
    for positions in _flat_positions(rng, places, n_trials):
        flat[positions] = True
    return spikes


def spike_positions(
    rng: np.random.Generator, probability: ArrayLike | SpikeBins, n_trials: int = 1
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Like `poisson_spikes`, but return where the spikes are.

    For tasks that move spikes about (to another input group, say) before storing them. What
    `spike_bins` returns may take the place of `probability`, which saves time where the same
    probabilities are drawn from again and again.

    Returns
    -------
    trial, step, input : int arrays, shape (n_spikes,)
        In the order of the flattened (trial, step, input) array.
    """
    places = probability if isinstance(probability, SpikeBins) else spike_bins(probability)
    chunks = [np.empty(0, dtype=np.intp), *_flat_positions(rng, places, n_trials)]
    trial, step, input_ = np.unravel_index(np.concatenate(chunks), (n_trials, *places.shape))
    return trial, step, input_


@dataclass(frozen=True, eq=False)
class SpikeBins:
    """Where spikes are looked for, and how.

    Attributes
    ----------
    shape : tuple of int
        (n_steps, n_inputs).
    bins : int array, shape (n_bins,)
        Places in the flattened (step, input) array. Bins that never fire are left out of the
        process, so silent periods cost nothing.
    kept_fraction : float array, shape (n_bins,)
        Fraction of the candidates in each bin that become spikes.
    threshold : uint64 array, shape (1024,)
        Upper 53 bits of a word are the gap of their own column below it.
    alias : int array, shape (1024,)
        The other outcome of each column.
    mean_step : float
        Mean number of bins that a word leads on.
    """

    shape: tuple[int, ...]
    bins: NDArray[np.intp]
    kept_fraction: NDArray[np.float64]
    threshold: NDArray[np.uint64]
    alias: NDArray[np.intp]
    mean_step: float


def spike_bins(probability: ArrayLike) -> SpikeBins:
    """Return where spikes of such probabilities, shape (n_steps, n_inputs), are looked for.

    Raises
    ------
    ValueError
        If `probability` is not a 2-D array of numbers in [0, 1].
    """
    probability = _checked(probability)
    bins = np.flatnonzero(probability)
    p = probability.reshape(-1)[bins]
    p_max = float(p.max(initial=0.0))
    # Without bins there is nothing to draw: any probability will do.
    return SpikeBins(probability.shape, bins, p / (p_max or 1.0), *_aliases(p_max or 1.0))


@lru_cache(maxsize=64)
def _aliases(p: float) -> tuple[NDArray[np.uint64], NDArray[np.intp], float]:
    """Thresholds and aliases of the gaps of probability `p` (Vose 1991), and the mean step."""
    # Products, not powers: they are rounded in the same way everywhere.
    unsuccessful = np.cumprod([1.0, *[1.0 - p] * _NONE])
    left = np.append(unsuccessful[:-1] * p, unsuccessful[-1]) * _OUTCOMES
    threshold, alias = np.ones(_OUTCOMES), np.arange(_OUTCOMES)
    small, large = (list(np.flatnonzero(which)) for which in (left < 1.0, left >= 1.0))
    while small and large:
        column, other = small.pop(), large[-1]
        threshold[column], alias[column] = left[column], other
        left[other] -= 1.0 - left[column]
        if left[other] < 1.0:
            small.append(large.pop())
    mean_step = float(unsuccessful[:-1].sum())
    return np.rint(threshold * 2.0**53).astype(np.uint64), alias, mean_step


def _checked(probability: ArrayLike) -> NDArray[np.float64]:
    probability = np.asarray(probability, dtype=float)
    if probability.ndim != 2:
        raise ValueError(
            f"probability must have the shape (n_steps, n_inputs), got {probability.shape}"
        )
    if not np.all((probability >= 0) & (probability <= 1)):  # also refuses NaN
        raise ValueError("spike probabilities (rate * dt) must lie between 0 and 1")
    return probability


def _flat_positions(
    rng: np.random.Generator, places: SpikeBins, n_trials: int
) -> Iterator[NDArray[np.intp]]:
    """Yield the spikes' positions in the flattened (trial, step, input) array, in order."""
    bins, size = places.bins, math.prod(places.shape)
    thinned = bool(np.any(places.kept_fraction < 1.0))
    # A uniform number of 53 bits is below the fraction where these bits are below it times 2^53.
    kept_below = np.ceil(places.kept_fraction * 2.0**53).astype(np.uint64)
    n_draws = n_trials * bins.size
    last = -1
    while last < n_draws - 1:
        n = min(_CHUNK, int(1.05 * (n_draws - 1 - last) / places.mean_step) + 20)
        drawn = words(rng, (n, 2 if thinned else 1))
        outcome = _outcomes(places, drawn[:, 0])
        reached = np.minimum(outcome + 1, _NONE)
        reached[0] += last
        np.cumsum(reached, out=reached)
        last = int(reached[-1])
        inside = np.searchsorted(reached, n_draws)
        candidates = reached[:inside]
        trial = candidates // bins.size
        nth_bin = candidates - trial * bins.size
        kept = outcome[:inside] < _NONE
        if thinned:
            kept &= (drawn[:inside, 1] >> _LOWER_BITS) < kept_below[nth_bin]
        yield (trial * size + bins[nth_bin])[kept]


def _outcomes(places: SpikeBins, drawn: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return the number of bins that each word skips, `_NONE` if it holds no spike."""
    column = (drawn & np.uint64(_NONE)).astype(np.intp)
    below = (drawn >> _LOWER_BITS) < places.threshold[column]
    return np.where(below, column, places.alias[column])
