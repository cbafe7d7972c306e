"""The script of plain Brian2: in a process of its own, on Brian2's devices."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from eprop_brian.brian import export_script
from eprop_brian.network.program import make_program
from eprop_brian.training.reference import load_case
from eprop_brian.training.session import Session
from support.arrays import all_dense, deviation
from support.command import call

TOLERANCE = 1e-12
REFERENCE = Path(__file__).parents[1] / "reference"
#: Recorded runs of NEST: LIF and ALIF neurons, classification and regression, Adam, batches of two,
#: a late readout, a hard reset, regularised rates.
RECORDED = (
    *("alif_classification_gd", "lif_regression_adam_batch2_avg", "lif_regression_gd_freg"),
    *("lif_regression_gd_window", "trials_09"),
)
#: Those that are compiled, too: an adaptive neuron with softmax, and batches of two with Adam.
COMPILED = RECORDED[:2]
#: What most of the sources of a script include, half a second of compiling each time.
HEADERS = ("algorithm", "climits", "cmath", "ctime", "fstream", "iostream", "map", "random", "set")


@pytest.fixture(scope="module")
def quick_flags(tmp_path_factory):
    """Flags of g++ that take a quarter of the time for the same numbers: a precompiled header."""
    header, flags = tmp_path_factory.mktemp("headers") / "standard.h", ("-O0", "-std=c++17")
    header.write_text("".join(f"#include <{name}>\n" for name in HEADERS))
    subprocess.run(["g++", *flags, "-x", "c++-header", str(header)], check=True)
    # In one word, as Brian2 asks the compiler about each.
    return f"{[*flags, f'-include{header}']}"


def script_of(name, folder):
    """A recorded run, and its script."""
    case, out = load_case(REFERENCE / f"{name}.npz"), folder / "script.py"
    export_script(
        case.network,
        case.trials,
        out,
        batch_size=case.batch_size,
        learning_window=case.learning_window,
        weights=case.initial_weights,
    )
    return case, out


def run_script(out, *arguments):
    """Run a script in another folder, where nothing of the package can be imported by chance."""
    command = [sys.executable, str(out), *arguments]
    done = subprocess.run(command, cwd=out.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def assert_learned(case, results, device):
    """The results of a script are what a device learns, and what was recorded."""
    session = Session(
        case.network, make_program(device), case.trials, case.learning_window, case.initial_weights
    )
    outcome = session.run(case.trials, case.batch_size)
    after = all_dense(session.weights)
    session.close()
    np.testing.assert_allclose(results["losses"], outcome.loss, rtol=TOLERANCE)
    assert deviation({key: results[key] for key in after}, after) <= TOLERANCE
    dt = float(case.network.dt)
    fired = np.zeros(case.spikes.shape, dtype=bool).reshape(-1, case.spikes.shape[2])
    for name, columns in case.network.slices.items():
        steps = np.rint(results[f"{name}.spikes.t"] / dt).astype(int)
        fired[steps, columns.start + results[f"{name}.spikes.i"]] = True
    np.testing.assert_array_equal(fired.reshape(case.spikes.shape), case.spikes)


@pytest.mark.parametrize("name", RECORDED)
def test_script_learns_what_was_recorded(name, tmp_path):
    case, out = script_of(name, tmp_path)
    text = out.read_text(encoding="utf-8")
    assert "eprop_brian" not in text.replace("(eprop_brian ", "")
    run_script(out)
    assert_learned(case, np.load(tmp_path / "script_results.npz"), "runtime")


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_script_learns_what_was_recorded(name, quick_flags, tmp_path):
    case, out = script_of(name, tmp_path)
    text, flags = out.read_text(encoding="utf-8"), '["-w", "-O3", "-std=c++17"]'
    assert text.count(flags) == 1
    out.write_text(text.replace(flags, quick_flags), encoding="utf-8")
    run_script(out, "cpp_standalone")
    assert_learned(case, np.load(tmp_path / "script_results.npz"), "cpp")


def test_script_takes_monitors(tmp_path):
    """A user's line where the script says so."""
    _, out = script_of("unit_1_1_1_gd", tmp_path)
    text = out.read_text(encoding="utf-8")
    place = "# Add monitors of your own here"
    assert text.count(place) == 1
    mine = (
        "from brian2 import StateMonitor\n"
        "mine = StateMonitor(w_in, 'eligibility_trace', record=True)\n"
        "network.add(mine)\n"
    )
    text = text.replace(place, mine + place)
    out.write_text(text + "\nprint('traces', mine.eligibility_trace.max())\n", encoding="utf-8")
    traces = run_script(out).split("traces ")[1]
    assert float(traces) > 0


@pytest.mark.skipif(find_spec("brian2cuda") is None, reason="Brian2CUDA is not installed")
def test_script_generates_cuda(tmp_path):
    _, out = script_of("alif_classification_gd", tmp_path)
    run_script(out, "cuda_standalone", "--generate")
    generated = tmp_path / "script_cuda_standalone"
    assert "main.cu" in {path.name for path in generated.iterdir()}
    sources = [path.read_text() for path in (generated / "code_objects").glob("*traces*.cu")]
    assert len(sources) > 4 and all("eligibility_trace" in x or "eps_y" in x for x in sources)


def test_command_writes_a_script(tmp_path):
    out = tmp_path / "pattern.py"
    settings = ("--set", "task.n_steps=100", "--set", "task.n_inputs=6")
    output = call("export", "pattern-generation", "--device", "brian2", "--out", out, *settings)
    assert f"python {out}" in output
    printed = run_script(out)
    assert printed.startswith("1 trials, loss ")
    again = call("export", "pattern-generation", "--device", "brian2", "--out", out, code=1)
    assert "pattern.py exists: name another script" in again


@pytest.mark.parametrize(
    ("option", "message", "code"),
    [
        (("--iterations", "5"), "--trial-iterations says how many batches", 2),
        (("--dtype", "float32"), "computes in float64", 1),
    ],
)
def test_command_refuses_what_a_script_has_not(option, message, code, tmp_path):
    out = tmp_path / "script.py"
    command = ("export", "pattern-generation", "--device", "brian2", "--out", out)
    assert message in call(*command, *option, code=code)
    assert not out.exists()


def test_script_has_any_name_and_knows_its_options(tmp_path):
    case, out = load_case(REFERENCE / "unit_1_1_1_gd.npz"), tmp_path / 'my "own\\n".py'
    export_script(case.network, case.trials, out)
    command = [sys.executable, str(out), "cpp"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "invalid choice: 'cpp' (choose from" in done.stderr.replace("\n", " ")
    run_script(out)
    assert out.with_name(f"{out.stem}_results.npz").exists()


def test_script_has_its_ending(tmp_path):
    case = load_case(REFERENCE / "unit_1_1_1_gd.npz")
    with pytest.raises(ValueError, match=r"a script ends in \.py, not 'script'"):
        export_script(case.network, case.trials, tmp_path / "script")


@pytest.mark.parametrize("name", ["script.py", "script.npz"])
def test_a_file_that_there_is_stays(name, tmp_path):
    case = load_case(REFERENCE / "unit_1_1_1_gd.npz")
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=f"{name} exists: name another script"):
        export_script(case.network, case.trials, tmp_path / "script.py")
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"
