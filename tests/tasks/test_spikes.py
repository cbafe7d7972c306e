"""The spike generator has exactly the statistics of independent Bernoulli draws."""

import numpy as np
import pytest

from eprop_brian.tasks.spikes import poisson_spikes, spike_positions


def assert_rate(n_spikes, p, n_draws):
    """The count is within five standard deviations of the binomial mean."""
    assert np.all(np.abs(n_spikes - n_draws * p) <= 5 * np.sqrt(n_draws * p * (1 - p)))


@pytest.mark.parametrize("p", [0.001, 0.04, 0.5, 0.97])
def test_rate(p):
    spikes = poisson_spikes(np.random.default_rng(1), np.full((200, 20), p), 50)
    assert spikes.shape == (50, 200, 20)
    assert spikes.dtype == bool
    assert_rate(spikes.sum(), p, spikes.size)


def test_each_bin_has_its_own_probability():
    p = np.random.default_rng(2).uniform(0, 0.3, size=(30, 4))
    spikes = poisson_spikes(np.random.default_rng(3), p, 5000)
    assert_rate(spikes.sum(axis=0), p, 5000)


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["trials", "steps", "inputs"])
def test_neighbouring_bins_are_independent(axis):
    p = 0.2
    spikes = poisson_spikes(np.random.default_rng(4), np.full((100, 30), p), 200)
    length = spikes.shape[axis]
    earlier = spikes.take(range(length - 1), axis)
    later = spikes.take(range(1, length), axis)
    assert_rate(np.sum(earlier & later), p * p, earlier.size)


def test_gaps_are_geometric():
    p = 0.1
    _, step, _ = spike_positions(np.random.default_rng(5), np.full((300_000, 1), p))
    gaps = np.diff(step)
    for g in range(1, 6):
        assert_rate(np.sum(gaps == g), p * (1 - p) ** (g - 1), gaps.size)


def test_number_of_spikes_is_binomial():
    p = np.tile([0.3, 0.05], (20, 1))
    counts = poisson_spikes(np.random.default_rng(6), p, 20_000).sum(axis=(1, 2))
    assert counts.var() == pytest.approx(np.sum(p * (1 - p)), rel=0.05)


def test_probabilities_zero_and_one():
    p = np.zeros((50, 3))
    p[10:20, 1] = 1.0
    with np.errstate(all="raise"):
        spikes = poisson_spikes(np.random.default_rng(7), p, 4)
    assert np.array_equal(spikes, np.broadcast_to(p == 1.0, (4, 50, 3)))
    assert not poisson_spikes(np.random.default_rng(7), np.zeros((50, 3)), 4).any()


def test_last_bins_can_fire():
    p = np.zeros((5, 2))
    p[-1, -1] = 0.5
    spikes = poisson_spikes(np.random.default_rng(8), p, 1000)
    assert_rate(spikes[:, -1, -1].sum(), 0.5, 1000)
    assert spikes.sum() == spikes[:, -1, -1].sum()


@pytest.mark.parametrize("p", [1e-12, 5e-324])
def test_tiny_probability(p):
    with np.errstate(all="raise", under="ignore"):
        assert not poisson_spikes(np.random.default_rng(9), np.full((100, 3), p), 10).any()


def test_positions_and_array_agree():
    p = np.random.default_rng(10).uniform(0, 0.1, size=(500, 7))
    spikes = poisson_spikes(np.random.default_rng(11), p, 60)
    positions = spike_positions(np.random.default_rng(11), p, 60)
    assert np.array_equal(positions, np.nonzero(spikes))


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan])
def test_not_a_probability(bad):
    with pytest.raises(ValueError, match="between 0 and 1"):
        poisson_spikes(np.random.default_rng(0), [[0.1, bad]])


def test_wrong_shape():
    with pytest.raises(ValueError, match=r"\(n_steps, n_inputs\), got \(3,\)"):
        poisson_spikes(np.random.default_rng(0), [0.1, 0.1, 0.1])
