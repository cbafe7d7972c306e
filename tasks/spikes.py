r"""Bernoulli spike trains: the discrete-time form of a Poisson process.

In every step an input fires with a probability ``p = rate * dt``, independently of everything else.
Drawing one random number for each (trial, step, input) would take a good part of the time of a
simulation. Few of those bins hold a spike, so the spikes are found directly:

1. the gaps between the successes of a Bernoulli process with the largest probability :math:`p_m`
   are geometric, :math:`P(g) = (1 - p_m)^{g-1} p_m`, and are drawn as
   :math:`g = 1 + \lfloor E / -\ln(1 - p_m) \rfloor` from an exponential variable :math:`E`;
2. a candidate in a bin of probability :math:`p` is kept with probability :math:`p / p_m`.

Both steps are exact; the result has the distribution of ``rng.random(shape) < p``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["poisson_spikes", "spike_bins", "spike_positions"]

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
    probability = _checked(probability)
    spikes = np.zeros((n_trials, *probability.shape), dtype=bool)
    flat = spikes.reshape(-1)
    for positions in _flat_positions(rng, probability, n_trials):
        flat[positions] = True
    return spikes


def spike_positions(
    rng: np.random.Generator, probability: ArrayLike, n_trials: int = 1
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Like `poisson_spikes`, but return where the spikes are.

    For tasks that move spikes about (to another input group, say) before storing them.

    Returns
    -------
    trial, step, input : int arrays, shape (n_spikes,)
        In the order of the flattened (trial, step, input) array.
    """
    probability = _checked(probability)
    chunks = [np.empty(0, dtype=np.intp), *_flat_positions(rng, probability, n_trials)]
    return np.unravel_index(np.concatenate(chunks), (n_trials, *probability.shape))


def spike_bins(
    probability: NDArray[np.float64],
) -> tuple[NDArray[np.intp], NDArray[np.float64], float]:
    """Return where spikes are looked for, and how.

    Parameters
    ----------
    probability : array of float, shape (n_steps, n_inputs)

    Returns
    -------
    bins : int array, shape (n_bins,)
        Places in the flattened (step, input) array. Bins that never fire are left out of the
        process, so silent periods cost nothing.
    kept_fraction : float array, shape (n_bins,)
        Fraction of the candidates in each bin that become spikes.
    scale : float
        Mean of the exponential variable that a gap between candidates is made of.
    """
    bins = np.flatnonzero(probability)
    p = probability.reshape(-1)[bins]
    p_max = p.max(initial=0.0)
    # p_max = 1 gives -1/-inf = 0, every gap is 1; a tiny p_max infinite gaps, capped when drawn.
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return bins, p / p_max, float(-1 / np.log1p(-p_max))


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
    rng: np.random.Generator, probability: NDArray[np.float64], n_trials: int
) -> Iterator[NDArray[np.intp]]:
    """Yield the spikes' positions in the flattened (trial, step, input) array, in order."""
    bins, kept_fraction, scale = spike_bins(probability)
    if bins.size == 0:
        return
    n_draws = n_trials * bins.size
    last = -1.0
    while last < n_draws - 1:
        gaps = rng.standard_exponential(_CHUNK)
        gaps *= scale
        np.minimum(gaps, n_draws, out=gaps)
        np.floor(gaps, out=gaps)
        gaps += 1
        gaps[0] += last
        reached = np.cumsum(gaps, out=gaps)  # whole numbers far below 2^53: exact
        last = reached[-1]
        candidates = reached[: np.searchsorted(reached, n_draws)].astype(np.intp)
        trial = candidates // bins.size
        nth_bin = candidates - trial * bins.size
        kept = rng.random(candidates.size) < kept_fraction[nth_bin]
        yield (trial * probability.size + bins[nth_bin])[kept]
