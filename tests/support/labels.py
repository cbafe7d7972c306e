"""Sequences of labels: by brute force, as trials, and a task of them."""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eprop_brian.base.random import rng_for
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.spikes import poisson_spikes
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Strings(Task):
    """One to three of three symbols, each shown by a group of inputs of its own for a while."""

    name: ClassVar[str] = "strings"
    loss: ClassVar[str] = "ctc"
    n_outputs: ClassVar[int] = 4
    n_inputs: ClassVar[int] = 12
    n_frames: int = 20
    frame_steps: int = 4

    @property
    def n_steps(self):
        return self.n_frames * self.frame_steps

    @property
    def learning_window(self):
        return self.n_steps

    def trials(self, seed, stream, index, n_trials):
        rng = rng_for(seed, stream, index)
        labels = np.full((n_trials, 3), -1)
        rates = np.full((n_trials, self.n_frames, self.n_inputs), 0.02)
        for row in range(n_trials):
            count = int(rng.integers(1, 4))
            labels[row, :count] = rng.integers(3, size=count)
            first = 0
            for symbol in labels[row, :count]:
                first += int(rng.integers(1, 3))
                last = first + int(rng.integers(2, 5))
                rates[row, first:last, 4 * symbol : 4 * symbol + 4] = 0.5
                first = last
        p = np.repeat(rates, self.frame_steps, axis=1)
        each = np.arange(n_trials)
        return Trials(
            inputs=np.stack([poisson_spikes(rng, own)[0] for own in p]),
            targets=np.zeros((1, 1, 4)).repeat(n_trials, axis=0),
            pattern=each,
            target=each,
            periods=np.tile(
                np.repeat(np.arange(1, self.n_frames + 1), self.frame_steps), (n_trials, 1)
            ),
            labels=labels,
        )
