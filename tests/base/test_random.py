"""Random numbers: the words of Philox, and what is made of them."""

import numpy as np
import pytest

from eprop_brian.base import random
from eprop_brian.base.random import integers, normals, permutation, rng_for, uniforms, words

ONES = 2**64 - 1
#: Counter, key and words of philox4x64-10, from Random123 (kat_vectors).
PUBLISHED = [
    (
        [0, 0, 0, 0],
        [0, 0],
        [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B],
    ),
    (
        [ONES] * 4,
        [ONES] * 2,
        [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0],
    ),
    (
        [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89],
        [0x452821E638D01377, 0xBE5466CF34E90C6C],
        [0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6],
    ),
]


def philox(counter, key):
    """Philox4x64-10 as its paper writes it, in Python's whole numbers."""
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * counter[0], 0xCA5A826395121157 * counter[2]
        counter = [
            second >> 64 ^ counter[1] ^ key[0],
            second & ONES,
            first >> 64 ^ counter[3] ^ key[1],
            first & ONES,
        ]
        key = [(key[0] + 0x9E3779B97F4A7C15) & ONES, (key[1] + 0xBB67AE8584CAA73B) & ONES]
    return counter


@pytest.mark.parametrize(("counter", "key", "expected"), PUBLISHED)
def test_philox_is_the_published_one(counter, key, expected):
    assert philox(counter, key) == expected


def test_words_are_those_of_seed_stream_and_index():
    crc32 = 0x5C66E4A3  # of "train"
    seed = 2**70 + 5
    expected = [word for n in range(1, 6) for word in philox([n, 0, 8, 2**6], [5, crc32])]
    assert words(rng_for(seed, "train", 7), 20).tolist() == expected
    expected = [word for n in range(1, 6) for word in philox([n, 0, 0, 2**6], [5, crc32])]
    assert words(rng_for(seed, "train"), 20).tolist() == expected


def test_shapes_take_the_same_words():
    whole = words(rng_for(1, "x"), 24)
    rng = rng_for(1, "x")
    parts = [words(rng, 5), words(rng, (3, 2, 2)).ravel(), words(rng, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert uniforms(rng_for(1, "x"), (2, 3)).shape == (2, 3)
    np.testing.assert_array_equal(normals(rng_for(1, "x"), 5), normals(rng_for(1, "x"), 6)[:5])


def test_uniform_numbers_are_the_upper_bits():
    drawn = uniforms(rng_for(3, "x"), 1000)
    expected = [(int(word) >> 11) / 2**53 for word in words(rng_for(3, "x"), 1000)]
    assert drawn.tolist() == expected
    assert random.as_uniforms(np.array([0, ONES], dtype=np.uint64)).tolist() == [0, 1 - 2**-53]


@pytest.mark.parametrize("n", [1, 2, 7, 2**32 - 1])
def test_whole_numbers_stay_below_n(n, monkeypatch):
    ends = np.array([0, ONES], dtype=np.uint64)
    monkeypatch.setattr(random, "words", lambda rng, size: ends)
    assert integers(rng_for(1, "x"), n, 2).tolist() == [0, n - 1]


def test_distributions():
    """Chi-square of 20 cells, and moments, within four standard deviations."""
    count = 200_000
    rng = rng_for(11, "distributions")
    cells = np.bincount(integers(rng, 20, count), minlength=20)
    chi_square = np.sum((cells - count / 20) ** 2) / (count / 20)
    assert abs(chi_square - 19) < 4 * np.sqrt(2 * 19)
    z = normals(rng, count)
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(z**power) - expected) < 4 * np.sqrt(variance / count)
    assert abs(np.mean(z[::2] * z[1::2])) < 4 / np.sqrt(count / 2)
    # The tail beyond 3, which is 0.0027 of all.
    assert abs(np.mean(np.abs(z) > 3) - 0.0026998) < 4 * np.sqrt(0.0027 / count)


def test_permutations_are_equally_likely():
    rng = rng_for(2, "x")
    drawn = [tuple(permutation(rng, 3).tolist()) for _ in range(6000)]
    orders, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(orders) == 6
    assert np.sum((counts - 1000) ** 2) / 1000 < 5 + 4 * np.sqrt(2 * 5)
    assert sorted(permutation(rng, 50)) == list(range(50))


def test_functions_are_right_to_the_last_digits():
    x = np.concatenate([uniforms(rng_for(1, "x"), 10_000) + 2**-53, [2**-53, 0.5, 1.0]])
    np.testing.assert_allclose(random.logarithm(x), np.log(x), rtol=5e-16, atol=0)
    turns = np.concatenate([x, [0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1 - 2**-53]])
    cosine, sine = random.cosine_and_sine(turns)
    np.testing.assert_allclose(cosine, np.cos(2 * np.pi * turns), rtol=0, atol=1e-15)
    np.testing.assert_allclose(sine, np.sin(2 * np.pi * turns), rtol=0, atol=1e-15)


def test_too_large_seeds_and_words_of_32_bits_are_refused():
    with pytest.raises(ValueError, match=r"seed must be below 2\^128"):
        rng_for(2**128, "train")
    with pytest.raises(ValueError, match=r"index must be below 2\^63"):
        rng_for(1, "train", 2**63)
    with pytest.raises(TypeError, match="MT19937"):
        words(np.random.Generator(np.random.MT19937(1)), 3)
