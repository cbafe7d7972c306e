"""Sequences of labels: by brute force, and as trials."""

import itertools

import numpy as np

from eprop_brian.tasks.trials import Trials


def said(path, blank) -> list[int]:
    """The labels that a way through the frames shows."""
    return [k for k, _ in itertools.groupby(path) if k != blank]


def by_brute_force(p, labels) -> tuple[float, np.ndarray]:
    """Probability of labels, and of every frame's outputs given them: over all ways there are."""
    n_frames, n_outputs = p.shape
    total, given = 0.0, np.zeros(p.shape)
    for path in itertools.product(range(n_outputs), repeat=n_frames):
        if said(path, n_outputs - 1) == [*labels]:
            own = np.prod(p[np.arange(n_frames), path])
            total += own
            given[np.arange(n_frames), path] += own
    return total, given / total


def softmax(y) -> np.ndarray:
    """Of the last axis."""
    p = np.exp(y - y.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def labelled_trials(seed=0, analog=False) -> Trials:
    """Three trials of 40 steps and 6 inputs, whose frames of 4 steps end sooner or later.

    Their labels, of three kinds: two alike, a single one, none.
    """
    rng = np.random.default_rng(seed)
    inputs = rng.random((3, 40, 6)) < 0.3
    periods = np.zeros((3, 40), int)
    for row, n_frames in enumerate((8, 6, 7)):
        periods[row, 2 : 2 + 4 * n_frames] = np.repeat(np.arange(1, n_frames + 1), 4)
    each = np.arange(3)
    return Trials(
        inputs=inputs * rng.normal(size=inputs.shape) if analog else inputs,
        targets=np.zeros((3, 1, 4)),
        pattern=each,
        target=each,
        periods=periods,
        n_answers=9,
        labels=[[0, 0, 2], [1, -1, -1], [-1, -1, -1]],
    )
