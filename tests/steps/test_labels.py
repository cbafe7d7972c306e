"""Probabilities of labels against all ways to show them, finite differences and Optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from eprop_brian.steps.numpy_labels import label_probabilities
from eprop_brian.training.jax_labels import label_scores
from support.labels import by_brute_force, softmax

CASES = [
    (1, []),
    (1, [0]),
    (2, [0, 1]),
    (3, [0, 0]),
    (4, [1]),
    (5, [0, 1, 1]),
    (6, [0, 1, 0]),
    (6, [1, 1, 1]),
    (6, []),
]


def probabilities(y, labels):
    """Of frames of one step each."""
    return label_probabilities(np.ones(len(y), int), np.array([*labels, -1]), y)


@pytest.mark.parametrize(("n_frames", "labels"), CASES)
def test_probabilities_are_those_of_all_ways_together(n_frames, labels):
    y = 2 * np.random.default_rng(n_frames).normal(size=(n_frames, 3))
    total, given = by_brute_force(softmax(y), labels)
    _, p, y_target, log_likelihood = probabilities(y, labels)
    np.testing.assert_allclose(log_likelihood, np.log(total), rtol=1e-12)
    np.testing.assert_allclose(y_target, given, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(p, softmax(y), rtol=1e-14)


@pytest.mark.parametrize(("n_frames", "labels"), CASES)
def test_the_error_is_the_difference_quotient(n_frames, labels):
    y, step = np.random.default_rng(n_frames).normal(size=(n_frames, 3)), 1e-6
    _, p, y_target, _ = probabilities(y, labels)
    for place in np.ndindex(y.shape):
        moved = np.zeros(y.shape)
        moved[place] = step
        loss = [-probabilities(y + sign * moved, labels)[-1] for sign in (1, -1)]
        quotient = (loss[0] - loss[1]) / (2 * step)
        np.testing.assert_allclose((p - y_target)[place], quotient, rtol=1e-7, atol=1e-9)


@pytest.fixture(scope="module")
def batch():
    """Outputs of 4 trials, their frames, and their labels."""
    rng = np.random.default_rng(3)
    y = 3 * rng.normal(size=(4, 30, 6))
    labels = np.array([[0, 1, 1, 4, 2], [3, 3, -1, -1, -1], [2, -1, -1, -1, -1], [-1] * 5])
    return y, np.array([30, 17, 4, 9]), labels


def test_loss_and_error_are_those_of_optax(batch):
    y, n_frames, labels = batch
    with jax.enable_x64(True):
        absent = (np.arange(30) >= n_frames[:, np.newaxis]).astype(float)

        def loss(y):
            padding = (labels < 0).astype(float)
            # A label that stands for padding must not be the blank.
            known = np.where(labels < 0, 0, labels)
            each = optax.ctc_loss(y, absent, known, padding, blank_id=5, log_epsilon=-1e30)
            return each.sum(), each

        expected, each = jax.grad(loss, has_aux=True)(jnp.asarray(y))
    for k, n in enumerate(n_frames):
        _, p, y_target, log_likelihood = probabilities(y[k, :n], labels[k])
        np.testing.assert_allclose(-log_likelihood, each[k], rtol=1e-10)
        np.testing.assert_allclose(p - y_target, expected[k, :n], atol=1e-10)


def test_jax_has_the_same_loss_and_error(batch):
    """Frames of two steps each, the second of which shows nothing of its own."""
    y, n_frames, labels = batch
    frames = np.repeat(np.arange(1, 31), 2)
    periods = np.where(frames <= n_frames[:, np.newaxis], frames, 0)
    with jax.enable_x64(True):

        def scores(y):
            steps = jnp.repeat(jnp.swapaxes(y, 0, 1), 2, axis=0)
            log_likelihood, outputs = label_scores(steps, periods.T, labels, 32)
            return -log_likelihood.sum(), (log_likelihood, outputs)

        expected, (log_likelihood, outputs) = jax.grad(scores, has_aux=True)(jnp.asarray(y))
    for k, n in enumerate(n_frames):
        _, p, y_target, own = probabilities(y[k, :n], labels[k])
        np.testing.assert_allclose(own, log_likelihood[k], rtol=1e-12)
        np.testing.assert_allclose(p - y_target, expected[k, :n], atol=1e-12)
        np.testing.assert_allclose(2 * p, outputs[k, :n], rtol=1e-12)
        assert not np.any(outputs[k, n:])


def test_long_sequences_do_not_underflow():
    y = 20 * np.random.default_rng(0).normal(size=(500, 10))
    labels = np.random.default_rng(1).integers(9, size=120)
    _, p, y_target, log_likelihood = probabilities(y, labels)
    assert log_likelihood < np.log(np.finfo(float).tiny)
    np.testing.assert_allclose(y_target.sum(axis=1), 1, rtol=1e-9)
    assert np.isfinite(p).all()
    # Far more is certain than what a float can tell from 1.
    assert (y_target > 0.99).any() and (y_target < 1e-3).any()
