"""The CUDA device: its kernels, run on the CPU by emulation, compute what the C++ device does."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from brian2 import ms
from brian2.core.preferences import prefs
from brian2.devices.device import RuntimeDevice, get_device
from scipy.sparse import issparse

from eprop_brian import ALIF, LIF, Network, Neuron
from eprop_brian.devices import (
    CompilerMissingError,
    SimulationError,
    cuda,
    project,
    report,
)
from eprop_brian.network.build import build
from eprop_brian.network.built import Capacity
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.runs.config import RunConfig
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.session import Session
from eprop_brian.training.workers import ParallelSession
from support.trials import DELAYED

needs_brian2cuda = pytest.mark.skipif(
    find_spec("brian2cuda") is None, reason="Brian2CUDA is not installed (it needs Python 3.12)"
)
needs_nvcc = pytest.mark.skipif(cuda.find_nvcc() is None, reason="there is no nvcc")
NETWORK = Network.standard(2, 1, [(LIF, 3)])
CAPACITY = Capacity(n_steps=10, n_patterns=1, n_targets=1, target_steps=1, n_trials=2)
N_IN, N_STEPS = 5, 40
#: More neurons than a warp has threads, and than the threads that the tests give a block.
NEURONS = [(LIF, 37), (ALIF, 6)]
SPARSE = {
    "connectivity": {"w_in": 0.5, "w_rec": 0.4, "w_out": 0.7},
    "delays": {"w_rec": ("1 ms", "4 ms")},
    "rate_averaging": "batch",
    "learned": {"tau_m": Learned()},
    "clip_value": 0.01,
    "c_l2": 0.1,
}
UNITS = Neuron(
    name="leaky",
    model="dv/dt = -v/(20*ms) : 1",
    on_pre="v += w",
    reset="v -= 0.6",
    threshold="v >= 0.6",
    surrogate="clip(1 - abs(v - 0.6)/0.6, 0, 1)",
    method="exponential_euler",
)
MANY_OUTPUTS = {"n_out": 11, "feedback": "random", "clip_norm": 0.01, "c_v": 0.5}
CLASSES = {"n_out": 3, "loss": "softmax_cross_entropy", "window": 15, "feedback": "adaptive"}


def trials(n_out, n_trials, kind):
    rng = np.random.default_rng(7)
    inputs = rng.random((n_trials, N_STEPS, N_IN)) < 0.3
    targets = rng.random((3, N_STEPS, n_out))
    periods = None
    if kind == "classes":
        targets = np.eye(n_out)[rng.integers(n_out, size=3)][:, np.newaxis]
    if kind == "analog":
        inputs = inputs * rng.normal(1, 0.3, inputs.shape)
        periods = np.repeat([[0, 1, 2, 0]], N_STEPS // 4, axis=1).repeat(3, axis=0)
    return Trials(
        inputs=inputs,
        targets=targets,
        pattern=rng.permutation(n_trials),
        target=rng.integers(3, size=n_trials),
        periods=periods,
    )


def run(
    device,
    neurons=NEURONS,
    *,
    n_out=2,
    n_trials=6,
    batch_size=3,
    window=N_STEPS,
    kind="",
    dtype="float64",
    calls=2,
    **options,
):
    """Everything that comes out of some updates: results, gradients, weights, spikes."""
    network = Network.standard(N_IN, n_out, neurons, c_reg=3.0, **options)
    weights = network.initial_weights(4)
    weights["w_in"] *= 3
    weights["w_rec"] *= 3
    data = trials(n_out, n_trials, "classes" if network.resolved.readouts[0].loss.softmax else kind)
    emulated = {"emulated": True} if device == "cuda" else {}
    session = Session(network, make_program(device, dtype, **emulated), data, window, weights)
    for _ in range(calls):
        outcome = session.run(data, batch_size)
    assert outcome.rate.min() > 20
    found = {
        **{f"gradient {name}": value for name, value in session.gradient().items()},
        **session.state(),
        **{name: getattr(outcome, name) for name in ("loss", "output", "rate")},
        "spikes": session.spikes(),
    }
    if options.get("updates") == "spike":
        session.apply_pending()
        found |= {f"applied {name}": value for name, value in session.state().items()}
    # What padding holds means nothing.
    found = {name: value for name, value in found.items() if "carried." not in name}
    evaluated = session.run(data, n_trials, learning=False)
    found["evaluated"] = evaluated.loss
    session.close()
    return found


def assert_equal(found, expected, tolerance=1e-11):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        given, wanted = (
            (x.toarray() if issparse(x) else np.asarray(x)).astype(float)
            for x in (found[name], value)
        )
        scale = np.nanmax(np.abs(wanted), initial=0)
        np.testing.assert_allclose(given, wanted, rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of so few threads that each has several neurons, and some have none."""
    monkeypatch.setattr(cuda, "_THREADS", (32, 32))


@needs_brian2cuda
@pytest.mark.parametrize("copies", ["1", "3", "8", "100"])
@pytest.mark.parametrize("gradient", ["factored", "online"])
def test_a_batch_in_waves_and_shares(gradient, copies, small_blocks, monkeypatch):
    monkeypatch.setenv("EPROP_BRIAN_CUDA_COPIES", copies)
    options = {"gradient": gradient, "n_trials": 40, "batch_size": 20, "calls": 1}
    assert_equal(run("cuda", **options), run("cpp", **options))


def run_in_every_order(monkeypatch, **options):
    """What the emulated device computes, once it is the same in whatever order threads run."""
    found = run("cuda", **options)
    for order in ("descending", "shuffled"):
        monkeypatch.setenv("EPROP_BRIAN_EMULATED_ORDER", order)
        assert_equal(run("cuda", **options), found, tolerance=0)
    return found


@needs_brian2cuda
@pytest.mark.parametrize("gradient", ["factored", "online"])
def test_the_order_of_threads_changes_nothing(gradient, small_blocks, monkeypatch):
    run_in_every_order(monkeypatch, gradient=gradient, n_trials=40, batch_size=20, calls=1)


@needs_brian2cuda
@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["factored", "online"])
@pytest.mark.parametrize(
    "options",
    [
        DELAYED,
        {**SPARSE, "n_trials": 20, "batch_size": 10},
        {"connectivity": {"w_rec": 0.4}},
        {"connectivity": {"w_in": 0.4}},
        MANY_OUTPUTS,
        CLASSES,
        {"kind": "analog"},
        {"neurons": [(UNITS, 40)]},
    ],
    ids=[
        "delayed",
        "sparse",
        "sparse after dense",
        "dense after sparse",
        "many outputs",
        "classes",
        "analog",
        "units in equations",
    ],
)
def test_every_option_computes_what_the_cpp_device_does(
    options, gradient, small_blocks, monkeypatch
):
    monkeypatch.setenv("EPROP_BRIAN_CUDA_COPIES", "4")
    options = {"gradient": gradient, **options}
    assert_equal(run_in_every_order(monkeypatch, **options), run("cpp", **options))


@needs_brian2cuda
@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"updates": "step", "feedback": "symmetric"},
        {"updates": "spike", "trace_cutoff": 30 * ms, "feedback": "symmetric"},
        {
            "updates": "spike",
            "delays": DELAYED["delays"],
            "feedback": DELAYED["feedback"],
            "connectivity": {"w_rec": 0.4},
        },
    ],
    ids=["step", "spike", "delayed"],
)
def test_continuous_operation(options, small_blocks, monkeypatch):
    options = {
        "gradient": "online",
        "rate_averaging": "moving",
        "n_trials": 2,
        "batch_size": 1,
        **options,
    }
    assert_equal(run_in_every_order(monkeypatch, **options), run("cpp", **options))


@needs_brian2cuda
@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["factored", "online"])
@pytest.mark.parametrize(
    ("task", "settings"),
    [
        (
            "evidence-accumulation",
            ("size.lif=10", "size.alif=10", "task.n_cues=1", "task.delay=20 ms"),
        ),
        ("pattern-generation", ("size.lif=20", "task.n_steps=200")),
    ],
)
def test_published_tasks(task, settings, gradient, small_blocks, monkeypatch):
    monkeypatch.setenv("EPROP_BRIAN_CUDA_EMULATED", "1")
    monkeypatch.setenv("EPROP_BRIAN_CUDA_COPIES", "4")
    found = []
    for device in ("cuda", "cpp"):
        config = RunConfig.from_recipe(
            task,
            run={"batch_size": 10, "device": device},
            network={"gradient": gradient},
            settings=settings,
        )
        trainer = config.make_trainer(workers=1)
        trainer.train(2, progress=False)
        found.append({**trainer.session.state(), "loss": trainer.history.loss})
        trainer.close()
    assert_equal(*found)


@needs_brian2cuda
@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["factored", "online"])
def test_single_precision(gradient, small_blocks):
    options = {"gradient": gradient, "dtype": "float32", "calls": 1, "batch_size": 6}
    found = run("cuda", **options)
    assert_equal(found, run("cpp", **options), tolerance=1e-4)
    with pytest.raises(AssertionError):
        assert_equal(found, run("cpp", **{**options, "dtype": "float64"}), tolerance=1e-9)


@needs_brian2cuda
def test_a_single_precision_program_computes_in_single_precision():
    project = cuda.generate(NETWORK, CAPACITY, np.float32, build=build)
    source = project.generated["program.cu"]
    trial = source[source.index("//// start of a trial") : source.index("//// end of a trial")]
    assert "double" not in trial


@needs_brian2cuda
def test_brian2_is_left_as_it_was():
    before = prefs.core.default_float_dtype
    cuda.generate(NETWORK, CAPACITY, np.float32, build=build)
    assert isinstance(get_device(), RuntimeDevice)
    assert prefs.core.default_float_dtype == before


@needs_brian2cuda
@pytest.mark.slow
def test_a_profile_measures_the_stages(small_blocks):
    program = cuda.CudaProgram(NETWORK, CAPACITY, profile=True, build=build, emulated=True)
    control = {"n_trials": 2, "batch_size": 2, "learning": 1, "updating": 1}
    program.run({f"control.{name}": np.array([value]) for name, value in control.items()})
    seconds = program.stage_seconds()
    assert all(seconds[stage] > 0 for stage in ("neurons", "backward", "accumulate", "rest"))


def test_workers_are_refused():
    with pytest.raises(ValueError, match="takes no workers"):
        ParallelSession(
            NETWORK,
            trials(1, 2, ""),
            N_STEPS,
            NETWORK.initial_weights(1),
            device="cuda",
            dtype="float64",
            workers=2,
            scheduler=None,
        )


def test_without_brian2cuda_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompilerMissingError, match=r"pip install 'eprop_brian\[cuda\]'"):
        cuda.CudaProgram(NETWORK, CAPACITY, build=build, emulated=True)


def test_without_nvcc_the_message_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(cuda, "find_nvcc", lambda: None)
    with pytest.raises(CompilerMissingError, match="CUDA_HOME"):
        cuda.CudaProgram(NETWORK, CAPACITY, build=build)


def test_the_architecture_is_asked_for_found_or_assumed(monkeypatch):
    monkeypatch.delenv("EPROP_BRIAN_CUDA_ARCH", raising=False)
    monkeypatch.setattr(cuda, "gpus", lambda: [("NVIDIA A100", "8.0")])
    assert cuda.architecture() == "sm_80"
    monkeypatch.setattr(cuda, "gpus", list)
    assert cuda.architecture() == "sm_90"
    monkeypatch.setenv("EPROP_BRIAN_CUDA_ARCH", "sm_120")
    assert cuda.architecture() == "sm_120"
    monkeypatch.setenv("EPROP_BRIAN_CUDA_ARCH", "hopper")
    with pytest.raises(ValueError, match="like sm_90"):
        cuda.architecture()


def test_a_gpu_is_what_nvidia_smi_tells_the_capability_of(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf 'NVIDIA H100, 9.0\\nOld, [N/A]\\nNone, 12.\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert cuda.gpus() == [("NVIDIA H100", "9.0")]


@pytest.mark.parametrize(("value", "emulated"), [("", False), ("0", False), ("1", True)])
def test_emulation_is_asked_for(monkeypatch, value, emulated):
    monkeypatch.setenv("EPROP_BRIAN_CUDA_EMULATED", value)
    assert cuda.emulation_asked_for() == emulated


def test_a_cache_of_cuda_programs_can_be_carried_to_another_processor(monkeypatch, tmp_path):
    def digests():
        return [project.digest(tmp_path, sys.executable, native=native) for native in (True, False)]

    native, portable = digests()
    monkeypatch.setattr(project, "_processor", lambda: "another")
    assert digests()[0] != native
    assert digests()[1] == portable


def test_a_toolkit_is_found_where_it_is_said_to_be_or_the_newest_one(monkeypatch, tmp_path):
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(cuda.shutil, "which", lambda name: None)
    monkeypatch.setattr(cuda, "_TOOLKITS", tmp_path)
    assert cuda.find_nvcc() is None
    for version in ("9.2", "13.0", "12.4"):
        folder = tmp_path / f"cuda-{version}" / "bin"
        folder.mkdir(parents=True)
        (folder / "nvcc").touch()
    assert cuda.find_nvcc() == str(tmp_path / "cuda-13.0/bin/nvcc")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda-12.4"))
    assert cuda.find_nvcc() == str(tmp_path / "cuda-12.4/bin/nvcc")


@pytest.mark.parametrize("missing", [True, False])
def test_the_report_says_what_is_missing(monkeypatch, missing):
    monkeypatch.setattr(report, "gpus", list)
    if missing:
        monkeypatch.setattr(report, "find_nvcc", lambda: None)
    lines = report.report()
    assert [line.partition(":")[0] for line in lines[:3]] == ["runtime", "cpp", "cuda"]
    assert ("nvcc" in lines[2]) == (missing or cuda.find_nvcc() is None)


@needs_brian2cuda
@needs_nvcc
@pytest.mark.slow
def test_nvcc_compiles_a_program_which_says_that_there_is_no_gpu(tmp_path, monkeypatch):
    if cuda.gpus():
        pytest.skip("there is a GPU")
    monkeypatch.setenv("EPROP_BRIAN_CACHE", str(tmp_path))
    program = make_program("cuda")(NETWORK, CAPACITY)
    assert program.compiled
    assert (Path(program.folder) / "main").exists()
    with pytest.raises(SimulationError, match="needs a GPU to run"):
        program.run({})
