"""Spikes are packed into words of 32 neurons, the first neuron in the lowest bit."""

import numpy as np
import pytest

from eprop_brian.training.trial_data import pack_spikes


@pytest.mark.parametrize("n", [1, 8, 31, 32, 40, 64, 100, 128, 136])
def test_a_bit_of_a_word_is_the_spike_of_a_neuron(n):
    spikes = np.random.default_rng(n).random((3, 5, n)) < 0.3
    words = pack_spikes(spikes)
    assert words.shape == (3, 5, -(-n // 32)) and words.dtype == np.int32
    bits = words.astype(np.uint32)[..., np.newaxis] >> np.arange(32, dtype=np.uint32) & 1
    unpacked = bits.reshape(3, 5, -1)
    assert np.array_equal(unpacked[..., :n], spikes) and not np.any(unpacked[..., n:])


def test_columns_of_a_larger_array_are_packed_alone():
    spikes = np.random.default_rng(1).random((2, 4, 80)) < 0.3
    assert np.array_equal(pack_spikes(spikes[..., 40:]), pack_spikes(spikes[..., 40:].copy()))
