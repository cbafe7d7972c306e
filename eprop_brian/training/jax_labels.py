"""Probabilities of sequences of labels in JAX, which differentiates them.

Forwards alone, where the devices go forwards and backwards: the derivative is JAX's.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["label_scores"]

#: Stands for the logarithm of 0: differences of infinities have no derivative.
_NOTHING = -1e30


def label_scores(
    y: jax.Array, periods: jax.Array, labels: jax.Array, n_frames: int
) -> tuple[jax.Array, jax.Array]:
    """Compare what trials show with their labels, see `eprop_brian.equations.losses.CTC`.

    Parameters
    ----------
    y : array, shape (n_steps, n_trials, n_outputs)
        The last output is the blank.
    periods : array of int, shape (n_steps, n_trials)
        The frame of each step, from 1 on; 0 for none.
    labels : array of int, shape (n_trials, most_labels)
        -1 behind the last.
    n_frames : int
        Most frames of a trial.

    Returns
    -------
    log_likelihood : array, shape (n_trials,)
    outputs : array, shape (n_trials, n_frames, n_outputs)
        Sums of the probabilities over the steps of each frame.
    """
    in_frame = (periods[..., np.newaxis] == np.arange(1, n_frames + 1)).astype(y.dtype)
    steps = in_frame.sum(axis=0)[..., np.newaxis]
    # Steps of no frame may hold infinities, which a factor of 0 would turn into NaN.
    counted = jnp.where(periods[..., np.newaxis] > 0, y, 0)
    mean = jnp.einsum("tnf,tnk->nfk", in_frame, counted) / jnp.maximum(steps, 1)
    log_p = jax.nn.log_softmax(mean, axis=2)
    blank = y.shape[2] - 1
    n_labels = (labels >= 0).sum(axis=1)
    shown = jnp.where(labels >= 0, labels, blank)
    n_trials, most = labels.shape
    positions = jnp.full((n_trials, 2 * most + 1), blank).at[:, 1::2].set(shown)
    # Where the blank before a position may be left out.
    skips = jnp.zeros(positions.shape, bool).at[:, 3::2].set(labels[:, 1:] != labels[:, :-1])
    of_positions = jnp.take_along_axis(log_p, positions[:, np.newaxis], axis=2)
    starts = jnp.arange(positions.shape[1]) < 2
    exists = steps[..., 0] > 0

    def step(before: jax.Array, of_frame: tuple[jax.Array, jax.Array]):
        log_shown, is_frame = of_frame
        one = jnp.pad(before, ((0, 0), (1, 0)), constant_values=_NOTHING)[:, :-1]
        two = jnp.pad(before, ((0, 0), (2, 0)), constant_values=_NOTHING)[:, :-2]
        ways = jnp.stack([before, one, jnp.where(skips, two, _NOTHING)])
        now = jnp.maximum(jax.nn.logsumexp(ways, axis=0) + log_shown, _NOTHING)
        return jnp.where(is_frame[:, np.newaxis], now, before), None

    first = jnp.where(starts, of_positions[:, 0], _NOTHING)
    frames = jnp.swapaxes(of_positions[:, 1:], 0, 1), jnp.swapaxes(exists[:, 1:], 0, 1)
    last, _ = jax.lax.scan(step, first, frames)
    ends = 2 * n_labels[:, np.newaxis] - np.arange(2)
    ways = jnp.take_along_axis(last, jnp.maximum(ends, 0), axis=1)
    ways = jnp.where(ends >= 0, ways, _NOTHING)
    return jax.nn.logsumexp(ways, axis=1), jnp.exp(log_p) * steps
