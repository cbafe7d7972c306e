r"""Random numbers that are the same on every machine, in every version of NumPy and in C++.

All are made of the words of a counter-based generator, Philox4x64-10 (Salmon et al. 2011,
"Parallel random numbers: as easy as 1, 2, 3"), a stream that NumPy promises to keep; the ways in
which a ``numpy.random.Generator`` makes normal or whole numbers of it may change. The formulas
below have additions, multiplications, divisions and square roots alone, which every processor
rounds in the same way. ``eprop_brian/native/philox.h`` has them in C++, bit for bit.

A word :math:`w` of 64 bits gives

- a uniform number, :math:`u = \lfloor w / 2^{11} \rfloor 2^{-53}`, from 0 to below 1;
- a whole number below :math:`n`, :math:`\lfloor u n \rfloor`;
- with a second word, two normal numbers (Box & Muller 1958): the cosine and the sine of
  :math:`2 \pi u_2`, times :math:`\sqrt{-2 \ln(1 - u_1)}`;
- with :math:`n - 1` others, a permutation: the order of the words.

A draw of a neuron's equations is no part of a sequence: it is a function of the key of its trial,
of the step, the neuron and what is drawn (`neuron_words`). In whatever order such numbers are made,
and on whatever device, they are the same.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eprop_brian.base.checks import check_count
from eprop_brian.base.pieces import in_pieces

__all__ = [
    "integers",
    "neuron_normals",
    "neuron_uniforms",
    "neuron_words",
    "normals",
    "permutation",
    "rng_for",
    "uniforms",
    "words",
]

Shape = int | tuple[int, ...]

#: Terms of the series: the first that is left out is below half of the last digit.
_LOGARITHM = [1 / (2 * k + 1) for k in range(11)]
_SINE = [(-1) ** k / math.factorial(2 * k + 1) for k in range(9)]
_COSINE = [(-1) ** k / math.factorial(2 * k) for k in range(10)]
_LN_2 = 0.6931471805599453
_HALF_PI = 1.5707963267948966
_SQRT_HALF = 0.7071067811865476
#: Of Philox4x64: rounds, factors, and what is added to the key in every round.
_ROUNDS = 10
_FACTORS = (np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157))
_ADDED = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B))
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def rng_for(seed: int, stream: str, index: int | None = None) -> np.random.Generator:
    """Return the random generator that belongs to (seed, stream, index).

    Philox has a key of two words and a counter of four. The key is the lower 64 bits of the seed
    and the CRC-32 of the stream's name; the third word of the counter is 0 or, with an index, one
    more than it, and the fourth the upper 64 bits of the seed.

    Parameters
    ----------
    seed : int
        Seed of the whole run, from 0 to below 2^128.
    stream : str
        What is drawn: "train", "validation", "test", or the name of something frozen.
    index : int, optional
        Iteration or batch number, from 0 to below 2^63. None for what stays frozen during a run.

    Returns
    -------
    numpy.random.Generator
        Always in the same fresh state for the same arguments, on every machine. What the functions
        of this module draw from it stays the same in every version of NumPy; what the generator's
        own methods draw, NumPy may change.
    """
    if not isinstance(stream, str) or not stream:
        raise ValueError(f"stream must be a name such as 'train', got {stream!r}")
    seed = check_count("seed", seed, minimum=0)
    third = 0 if index is None else check_count("index", index, minimum=0) + 1
    for name, number, bits in (("seed", seed, 128), ("index", index or 0, 63)):
        if number >= 2**bits:
            raise ValueError(f"{name} must be below 2^{bits}, got {number}")
    high, low = divmod(seed, 2**64)
    # Not hash(): Python salts the hash of a string anew in every process.
    key = low + (zlib.crc32(stream.encode()) << 64)
    return np.random.Generator(np.random.Philox(key=key, counter=(third << 128) + (high << 192)))


def words(rng: np.random.Generator, size: Shape) -> NDArray[np.uint64]:
    """Draw words of 64 bits.

    Raises
    ------
    TypeError
        If the generator makes words of 32 bits.
    """
    if isinstance(rng.bit_generator, np.random.MT19937):
        raise TypeError("MT19937 makes words of 32 bits; take numpy.random.Philox or PCG64")
    drawn: NDArray[np.uint64] = rng.bit_generator.random_raw(math.prod(np.atleast_1d(size)))
    return drawn.reshape(size)


def as_uniforms(drawn: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Uniform numbers of words: their upper 53 bits."""
    upper: NDArray[np.uint64] = drawn >> np.uint64(11)
    numbers = upper.astype(float)
    numbers *= 2.0**-53
    return numbers


def uniforms(rng: np.random.Generator, size: Shape) -> NDArray[np.float64]:
    """Draw numbers from 0 to below 1, a word each."""
    return as_uniforms(words(rng, size))


def integers(rng: np.random.Generator, n: int, size: Shape) -> NDArray[np.intp]:
    """Draw whole numbers from 0 to below `n`, which is at most 2^32, a word each."""
    return (uniforms(rng, size) * n).astype(np.intp)


def permutation(rng: np.random.Generator, n: int) -> NDArray[np.intp]:
    """Draw an order of the numbers from 0 to below `n`, a word each."""
    return np.argsort(words(rng, n), kind="stable")


def normals(rng: np.random.Generator, size: Shape) -> NDArray[np.float64]:
    """Draw normal numbers of mean 0 and variance 1, two words for two of them."""
    count = math.prod(np.atleast_1d(size))
    pairs = uniforms(rng, ((count + 1) // 2, 2))

    def make_normal(some: slice) -> None:
        pairs[some, 0], pairs[some, 1] = _two_normals(pairs[some, 0], pairs[some, 1])

    in_pieces(make_normal, len(pairs))
    return pairs.reshape(-1)[:count].reshape(size)


def _two_normals(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two normal numbers of two uniform ones."""
    radius = np.sqrt(-2.0 * logarithm(1.0 - first))
    cosine, sine = cosine_and_sine(second)
    return cosine * radius, sine * radius


def neuron_words(
    key: ArrayLike, step: ArrayLike, neuron: ArrayLike, population: int, number: ArrayLike
) -> tuple[NDArray[np.uint64], ...]:
    """The four words of a draw of a neuron in a step; arguments may be arrays.

    They are the block of Philox whose key is that of the trial, and 0, and whose counter is (step,
    neuron, number, population).

    Parameters
    ----------
    key : int
        Of the trial, of 64 bits.
    step : int
        Since the start of the trial or, without trials, of everything.
    neuron : int
    population : int
        A number of 32 bits that stands for the population.
    number : int
        Which of the draws of a step it is.
    """
    counter = [np.asarray(x, dtype=np.uint64) for x in (step, neuron, number, population)]
    keys = [np.asarray(key, dtype=np.uint64), np.zeros((), dtype=np.uint64)]
    with np.errstate(over="ignore"):
        for _ in range(_ROUNDS):
            high, low = _product(_FACTORS[0], counter[0])
            other_high, other_low = _product(_FACTORS[1], counter[2])
            counter = [
                other_high ^ counter[1] ^ keys[0],
                other_low,
                high ^ counter[3] ^ keys[1],
                low,
            ]
            keys = [key + added for key, added in zip(keys, _ADDED, strict=True)]
    return tuple(np.broadcast_arrays(*counter))


def _product(factor: np.uint64, x: NDArray[np.uint64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The upper and the lower word of a product of two words."""
    a, b = factor >> _HALF, factor & _LOW
    c, d = x >> _HALF, x & _LOW
    middle = a * d + (b * d >> _HALF)
    upper = a * c + (middle >> _HALF) + ((b * c + (middle & _LOW)) >> _HALF)
    return upper, factor * x


def neuron_uniforms(
    key: ArrayLike, step: ArrayLike, neuron: ArrayLike, population: int, number: ArrayLike
) -> NDArray[np.float64]:
    """A number from 0 to below 1 for a neuron in a step; arguments as for `neuron_words`."""
    return as_uniforms(neuron_words(key, step, neuron, population, number)[0])


def neuron_normals(
    key: ArrayLike, step: ArrayLike, neuron: ArrayLike, population: int, number: ArrayLike
) -> NDArray[np.float64]:
    """A normal number for a neuron in a step; arguments as for `neuron_words`."""
    first, second, _, _ = neuron_words(key, step, neuron, population, number)
    return _two_normals(as_uniforms(first), as_uniforms(second))[0]


def logarithm(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm of positive numbers, by the series of atanh."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < _SQRT_HALF
    mantissa = np.where(low, 2.0 * mantissa, mantissa)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    return (exponent - low) * _LN_2 + 2.0 * s * _polynomial(_LOGARITHM, s * s)


def cosine_and_sine(turns: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosine and sine of angles of 0 to 1 turns, by their series within an eighth of a turn."""
    quarters = np.floor(4.0 * turns + 0.5)
    x = (4.0 * turns - quarters) * _HALF_PI
    square = x * x
    sine, cosine = x * _polynomial(_SINE, square), _polynomial(_COSINE, square)
    quarter = quarters.astype(int) % 4
    return (
        np.choose(quarter, [cosine, -sine, -cosine, sine]),
        np.choose(quarter, [sine, cosine, -sine, -cosine]),
    )


def _polynomial(coefficients: list[float], x: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = result * x + coefficient
    return result
