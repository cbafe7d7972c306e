"""The C++ device: build cache, compiler errors, leaving Brian2 as it was."""

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from brian2 import NeuronGroup, ms, run
from brian2.devices.device import RuntimeDevice, get_device

from eprop_brian import ALIF, LIF, Network, Neuron
from eprop_brian.devices import (
    CompilerMissingError,
    SimulationError,
    cpp,
)
from eprop_brian.devices.cpp import generate
from eprop_brian.network.build import build
from eprop_brian.network.built import Capacity
from eprop_brian.network.program import make_program

NETWORK = Network.standard(2, 1, [(LIF, 3)])
CAPACITY = Capacity(n_steps=10, n_patterns=1, n_targets=1, target_steps=1, n_trials=2)


make_cpp = make_program("cpp")


def test_an_unchanged_network_is_not_compiled_again(tmp_path, monkeypatch):
    monkeypatch.setenv("EPROP_BRIAN_CACHE", str(tmp_path))
    first, second = (make_cpp(NETWORK, CAPACITY) for _ in range(2))
    assert first.compiled
    assert not second.compiled
    assert first.folder == second.folder
    shared = {path.parent for path in tmp_path.glob("*/calls.o")}
    assert len(shared) == 1
    # Those of its blocks that no test before it had translated.
    blocks = {path.parent for path in tmp_path.glob("*/blocks.json")}
    assert len(blocks) <= 1
    assert {*tmp_path.iterdir()} == {first.folder, *shared, *blocks}


def test_parameters_do_not_need_another_program():
    other = NETWORK.with_part("lif", neuron=LIF.with_parameters(tau_m=15 * ms)).with_options(
        c_reg=2.0
    )
    assert make_cpp(NETWORK, CAPACITY).folder == make_cpp(other, CAPACITY).folder


@pytest.mark.parametrize("method", ["euler", "exponential_euler"])
def test_units_may_stand_in_an_equation(method):
    neuron = Neuron(
        name="leaky",
        model="dv/dt = -v/(30*ms) : 1",
        on_pre="v += w",
        reset="v -= 0.1",
        threshold="v >= 0.1",
        surrogate="3*clip(1 - abs(v - 0.1)/0.1, 0, 1)",
        method=method,
    )
    potentials = []
    for device in (make_cpp, make_program("runtime")):
        program = device(Network.standard(2, 1, [(neuron, 3)]), CAPACITY)
        counts = {f"control.{name}": np.ones(1) for name in ("n_trials", "batch_size")}
        start = {"leaky.v_initial": np.array([0.03])}
        program.run({**program.built.parameter_arrays(), **start, **counts})
        potentials.append(program.get("leaky.v"))
    np.testing.assert_allclose(*potentials, rtol=1e-14)
    assert 0.0 < potentials[0][0] < 0.025


def test_another_float_type_is_another_program():
    assert (
        make_cpp(NETWORK, CAPACITY).folder
        != make_program("cpp", "float32")(NETWORK, CAPACITY).folder
    )


def test_brian2_is_left_as_it_was():
    make_cpp(NETWORK, CAPACITY)
    assert isinstance(get_device(), RuntimeDevice)
    group = NeuronGroup(1, "dv/dt = -v/(10*ms) : 1", method="exact")
    group.v = 1
    run(1 * ms)
    assert 0 < group.v[0] < 1


def test_without_a_compiler_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setattr(cpp.shutil, "which", lambda name: None)
    with pytest.raises(CompilerMissingError) as error:
        make_cpp(NETWORK, CAPACITY)
    for expected in ("g++", "make", "apt-get install", "--device runtime"):
        assert expected in str(error.value)


def test_a_failing_program_is_reported():
    program = make_cpp(NETWORK, CAPACITY)
    with pytest.raises(SimulationError, match="nonsense"):
        program._types["control.nonsense"] = np.float64
        program.run({"control.nonsense": np.zeros(1)})


def test_a_killed_process_is_reported_and_the_next_call_starts_another():
    program = make_cpp(NETWORK, CAPACITY)
    program.run({"control.c_reg": np.array([2.0])})
    program._process.kill()
    with pytest.raises(SimulationError, match="status -9"):
        program.run({})
    with pytest.raises(SimulationError, match="has not run"):
        program.get("control.c_reg")
    program.run({"control.c_reg": np.array([3.0])})
    assert program.get("control.c_reg") == 3.0


def test_no_process_is_left():
    program = make_cpp(NETWORK, CAPACITY)
    program.run({})
    process = program._process
    assert process.poll() is None
    program.close()
    assert process.poll() is not None
    program.run({})
    process = program._process
    del program
    assert process.poll() is not None


def test_the_program_ends_with_the_process_that_started_it():
    code = (
        "import os\n"
        "import numpy as np\n"
        "from eprop_brian import LIF, Network\n"
        "from eprop_brian.network.built import Capacity\n"
        "from eprop_brian.network.program import make_program\n"
        "network = Network.standard(2, 1, [(LIF, 3)])\n"
        "program = make_program('cpp')(network, Capacity(10, 1, 1, 1, 2))\n"
        "program.run({})\n"
        "print(program._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    deadline = time.monotonic() + 60
    while Path(f"/proc/{done.stdout.strip()}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_values_of_another_size_are_refused():
    with pytest.raises(SimulationError, match="another size"):
        make_cpp(NETWORK, CAPACITY).run({"lif.v": np.zeros(2)})


@pytest.mark.parametrize(
    "network",
    [
        NETWORK,
        Network.standard(2, 2, [(LIF, 3), (ALIF, 2)], loss="softmax_cross_entropy"),
        Network.standard(
            2, 1, [(ALIF, 20)], gradient="online", connectivity={"w_rec": 0.2}, c_reg=1.0
        ),
    ],
)
def test_a_float32_program_computes_in_float32(network):
    program = make_program("cpp", "float32")(network, CAPACITY)
    source = (program.folder / "program.cpp").read_text()
    step = source[source.index("//// start of a call") :]
    assert "double" not in step
    assert not re.search(r"(?<![\w.])\d+\.\d*(e-?\d+)?(?![\dfe])", step)


def test_a_project_is_the_program_and_nothing_else_of_brian2():
    names = sorted(path.name for path in make_cpp(NETWORK, CAPACITY).folder.iterdir())
    native = ["access.cpp", "arrays.h", "calls.cpp", "program.h", "running.h", "tiles.h"]
    threads = ["threads.cpp", "threads.h"]
    assert names == sorted([*native, *threads, "checksums", "main", "makefile", "program.cpp"])


@pytest.mark.parametrize(("profile", "large"), [(False, set()), (True, {"chrono"})])
def test_a_program_reads_large_headers_where_it_uses_them(profile, large):
    source = generate(NETWORK, CAPACITY, profile=profile, build=build).generated["program.cpp"]
    included = {*re.findall("#include <(.*)>", source)}
    assert included >= {"cmath", "cstring", *large}
    assert bool(included & {"algorithm", "chrono", "vector"}) == bool(large)


def test_a_build_that_fails_leaves_nothing_in_the_cache(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("EPROP_BRIAN_CACHE", str(cache))
    compiler = tmp_path / "broken-compiler"
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho broken >&2\nexit 1\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(SimulationError, match="compiler failed"):
        make_cpp(NETWORK, CAPACITY)
    assert not any(cache.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#!/bin/sh\necho no licence >&2\nexit 3\n", r"ended with status 3 and said: no licence"),
        ("#!/nowhere/sh\n", r"cannot be run: No such file"),
    ],
)
def test_a_compiler_that_does_not_work_is_named(tmp_path, monkeypatch, text, message):
    compiler = tmp_path / "g++"
    compiler.write_text(text)
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(CompilerMissingError, match=message) as error:
        make_cpp(NETWORK, CAPACITY)
    assert str(error.value).startswith(f"the compiler {compiler} does not work")


@pytest.mark.parametrize(
    "line",
    ['printf("%g", x);', "using namespace std; vector<double> v(3);", "std::vector<double> v;"],
)
def test_functions_of_a_user_find_the_headers_that_they_may_use(line):
    assert "#include <vector>" in cpp._headers(line)
    assert "#include <cstdio>" in cpp._headers(line)
