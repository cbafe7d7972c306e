"""Probabilities of sequences of labels in NumPy; ``ctc.h`` has the same in C++ and CUDA."""

from __future__ import annotations

import numpy as np

__all__ = ["label_probabilities"]


def label_probabilities(
    frame_steps: np.ndarray, labels: np.ndarray, sums: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Compute what `eprop_brian.steps.labels.LabelProbabilities` does.

    Parameters
    ----------
    frame_steps : array of int, shape (most_frames,)
        Steps of each frame, 0 behind the last.
    labels : array of int, shape (most_labels,)
        -1 behind the last.
    sums : array, shape (most_frames, n_outputs)
        Sums of the outputs over the steps of each frame.

    Returns
    -------
    y, p, y_target : array, shape (n_frames, n_outputs)
    log_likelihood : float
    """
    n_frames = int((frame_steps > 0).sum())
    y = sums[:n_frames] / frame_steps[:n_frames, np.newaxis].astype(sums.dtype)
    log_p = y.astype(float)
    with np.errstate(invalid="ignore"):  # outputs that are not finite
        log_p = log_p - log_p.max(axis=1, keepdims=True)
        log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    blank = log_p.shape[1] - 1
    labels = labels[labels >= 0]
    output = np.full(2 * len(labels) + 1, blank)
    output[1::2] = labels
    # Where the blank before a position may be left out.
    skips = np.zeros(len(output), dtype=bool)
    skips[3::2] = labels[1:] != labels[:-1]
    shown = log_p[:, output]
    forward = _forward(shown, skips)
    # The same from behind: a position that a skip reaches from there is the one that it leaves.
    behind = np.append(skips[2:], [False, False][: len(skips)])[::-1]
    backward = _forward(shown[::-1, ::-1], behind)[::-1, ::-1] - shown
    log_likelihood = float(np.logaddexp.reduce(forward[-1, -2:]))
    with np.errstate(invalid="ignore"):
        given = np.exp(forward + backward - log_likelihood)
    y_target = given @ (output[:, np.newaxis] == np.arange(blank + 1))
    return y, np.exp(log_p), y_target, log_likelihood


def _forward(shown: np.ndarray, skips: np.ndarray) -> np.ndarray:
    """Logarithms of the probabilities of all ways to each position, what it shows included."""
    ways = np.full(shown.shape, -np.inf)
    ways[0, :2] = shown[0, :2]
    for frame in range(1, len(shown)):
        before = ways[frame - 1]
        one = np.append(-np.inf, before[:-1])
        two = np.append([-np.inf, -np.inf], before[:-2])[: len(before)]
        reached = np.logaddexp(np.logaddexp(before, one), np.where(skips, two, -np.inf))
        ways[frame] = reached + shown[frame]
    return ways
