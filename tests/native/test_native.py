"""Plain C++: it compiles without warnings, and draws what Python draws."""

import os
import resource
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import eprop_brian.native
from eprop_brian import ALIF, LIF, Network
from eprop_brian.base.random import (
    integers,
    neuron_normals,
    normals,
    permutation,
    rng_for,
    uniforms,
    words,
)
from eprop_brian.devices.cpp import generate
from eprop_brian.network.build import build
from eprop_brian.network.built import Capacity

NATIVE = Path(eprop_brian.native.__file__).parent
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-std=c++17", "-O1"]
SOURCES = ("access.cpp", "calls.cpp", "inference.cpp", "threads.cpp", "driver/train.cpp")
HEADERS = sorted(str(path.relative_to(NATIVE)) for path in NATIVE.rglob("*.h"))
#: What a generated header holds that `inference.cpp` needs.
TRIAL_H = """
namespace eprop_brian { namespace trial {
typedef float Real;
const int n_steps = 3, n_inputs = 2, n_outputs = 2, n_recurrent = 4;
const int input_groups[] = {2};
struct Readout { const char* name; int size, window, every; };
const Readout readouts[] = {{"readout", 2, 2, 1}};
const bool analog = false;
const bool has_lengths = true;
struct Population { const char* name; int size; bool reverse_time; };
const Population populations[] = {{"lif", 4, false}};
struct Given { const char *name, *type, *shape; unsigned sum; };
const Given given[] = {{"lif.v", "<f4", "(4,)", 3u}};
} }
"""
SEEDS = [(0, "train", 0), (2**40 + 3, "validation 10", 2**40), (7, "pattern", None)]


def compile_(*arguments, compiler="g++") -> None:
    done = subprocess.run(
        [compiler, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("header", HEADERS)
def test_each_header_compiles_by_itself_without_warnings(header, tmp_path):
    # Included twice: the second time must change nothing.
    (tmp_path / "alone.cpp").write_text(f'#include "{header}"\n#include "{header}"\n')
    compile_(*WARNINGS, "-fsyntax-only", f"-I{NATIVE}", tmp_path / "alone.cpp")


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_each_source_compiles_without_warnings(source, tmp_path):
    (tmp_path / "trial.h").write_text(TRIAL_H)
    compile_(*WARNINGS, f"-I{tmp_path}", "-c", NATIVE / source, "-o", tmp_path / "object.o")


@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["factored", "online"])
def test_a_generated_step_compiles_without_warnings(gradient, tmp_path):
    """But for variables that a loop offers to every block, and not every block uses."""
    network = Network.standard(3, 2, [(LIF, 4), (ALIF, 3)], gradient=gradient, c_reg=1.0)
    generate(network, Capacity(10, 1, 1, 1, 2), build=build).write(tmp_path)
    flags = [*WARNINGS, "-std=c++11", "-Wno-unused-variable", "-fsyntax-only"]
    compile_(*flags, tmp_path / "program.cpp")


#: Fast mathematics as in a program's step must change no bit.
FLAGS = {
    "careful": ["-std=c++17", "-O2", "-ffp-contract=off"],
    "fast": ["-std=c++17", "-O3", "-ffast-math", "-fno-finite-math-only", "-march=native"],
}


@pytest.fixture(scope="module", params=[(c, f) for c in ("g++", "clang++") for f in FLAGS], ids=str)
def draw(request, tmp_path_factory):
    compiler, flags = request.param
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    program = tmp_path_factory.mktemp("philox") / "program"
    source = Path(__file__).parent / "philox.cpp"
    flags = [*WARNINGS, *FLAGS[flags], f"-I{NATIVE}"]
    compile_(*flags, source, "-o", program, compiler=compiler)

    def draw(seed, stream, index, kind, count, dtype=float):
        arguments = [seed, stream, -1 if index is None else index, kind, count]
        done = subprocess.run(
            [program, *map(str, arguments)], check=True, capture_output=True, text=True
        )
        return np.array(done.stdout.split(), dtype=dtype)

    return draw


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "stream", "index"), SEEDS)
def test_random_numbers_are_those_of_python(draw, seed, stream, index):
    def rng():
        return rng_for(seed, stream, index)

    where = (seed, stream, index)
    np.testing.assert_array_equal(draw(*where, "words", 1001, np.uint64), words(rng(), 1001))
    np.testing.assert_array_equal(draw(*where, "uniforms", 999), uniforms(rng(), 999))
    np.testing.assert_array_equal(draw(*where, "integers", 999), integers(rng(), 7, 999))
    np.testing.assert_array_equal(draw(*where, "permutation", 99), permutation(rng(), 99))
    for count in (60_000, 7):
        np.testing.assert_array_equal(draw(*where, "normals", count), normals(rng(), count))
    i = np.arange(5000)
    expected = neuron_normals(seed, i, 3 * i, 4_000_000_000, 2)
    np.testing.assert_array_equal(draw(*where, "neurons", 5000), expected)


@pytest.mark.slow
def test_threads_that_cannot_be_started_are_done_without(tmp_path):
    """Each wants room for its stack, usually 8 MB."""
    program, source = tmp_path / "threads", Path(__file__).with_name("threads.cpp")
    flags = [*FLAGS["careful"], "-pthread", f"-I{NATIVE}"]
    compile_(*WARNINGS, *flags, source, NATIVE / "threads.cpp", "-o", program)

    def lines_with(asked: int, most_bytes: int) -> list[str]:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_STACK, (2**23, 2**23))
            resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))

        environment = {**os.environ, "EPROP_BRIAN_THREADS": str(asked)}
        done = subprocess.run(
            [program], env=environment, preexec_fn=limit, check=True, capture_output=True, text=True
        )
        return done.stdout.splitlines()

    for asked, most_bytes in ((3, 10**9), (200, 10**8)):
        number, visits = lines_with(asked, most_bytes)
        assert int(number) == asked if asked == 3 else 1 < int(number) < 20
        assert visits.split() == ["3"] * 1000


@pytest.mark.slow
@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
def test_tiles_add_rows_in_their_order_and_list_spikes(flags, tmp_path):
    program = tmp_path / "tiles"
    source = Path(__file__).parent / "tiles.cpp"
    compile_(*WARNINGS, *flags, f"-I{NATIVE}", source, "-o", program)
    done = subprocess.run([program], check=True, capture_output=True, text=True)
    sums, lists = (np.array(line.split(), dtype=float) for line in done.stdout.splitlines())
    expected = []
    for dtype, width in ((np.float64, 8), (np.float64, 136), (np.float32, 48), (np.float32, 3)):
        total, i = np.zeros(width, dtype), np.arange(width).astype(dtype)
        for row in (3, 0, 6, 5, 2, 1, 4):
            total += dtype(0.1) * (dtype(row**3) + i)
        expected += [total.astype(np.float64)]
    np.testing.assert_array_equal(sums, np.concatenate(expected))
    spiking = [[*range(2, n - 1, 7), n - 1] for n in (150, 67)]
    np.testing.assert_array_equal(lists, [x for found in spiking for n in found for x in (n, 1)])
