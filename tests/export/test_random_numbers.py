"""The exported program's random numbers are NumPy's."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

import eprop_brian.export
from eprop_brian.base.files import write_arrays
from eprop_brian.export.ziggurat import ziggurat_tables
from eprop_brian.tasks.base import rng_for

DRIVER = Path(eprop_brian.export.__file__).parent / "templates" / "driver"
#: Of one and of two words of 32 bits, in every place.
SEEDS = [(0, 0, "train"), (1, 5, "test"), (2**32 - 1, 2**32, "validation 10"), (2**40 + 3, 7, "x")]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random")
    write_arrays(folder / "ziggurat.npz", ziggurat_tables())
    source = Path(__file__).parent / "random_numbers.cpp"
    command = ["g++", "-std=c++17", "-O2", "-ffp-contract=off", f"-I{DRIVER}", str(source)]
    subprocess.run([*command, "-o", str(folder / "program")], check=True)

    def draw(seed, index, stream, kind, count):
        arguments = [folder / "ziggurat.npz", seed, index, stream, kind, count]
        found = subprocess.run(
            [str(folder / "program"), *map(str, arguments)],
            check=True,
            capture_output=True,
            text=True,
        )
        return np.array(found.stdout.split(), dtype=float)

    return draw


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "index", "stream"), SEEDS)
def test_numbers_are_numpys(program, seed, index, stream):
    # Enough for the tails, which one in some thousands reaches.
    rng = rng_for(seed, stream, index)
    np.testing.assert_array_equal(
        program(seed, index, stream, "normal", 60_000), rng.standard_normal(60_000)
    )
    rng = rng_for(seed, stream, index)
    np.testing.assert_array_equal(
        program(seed, index, stream, "exponential", 60_000), rng.standard_exponential(60_000)
    )
    rng = rng_for(seed, stream, index)
    expected = [x for _ in range(500) for x in (rng.integers(7), rng.random())]
    np.testing.assert_array_equal(program(seed, index, stream, "integers", 500), expected)


@pytest.mark.slow
def test_many_seeds(program):
    for seed in range(100):
        rng = rng_for(seed, "train", seed)
        np.testing.assert_array_equal(
            program(seed, seed, "train", "normal", 50), rng.standard_normal(50)
        )
