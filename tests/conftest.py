"""Settings and fixtures that all tests share.

A test that takes `device` runs on every device, by name: ``cuda`` by emulation, its threads in
shuffled order. A compiled device makes the test a slow one. The mark ``devices`` says less:
``@pytest.mark.devices("runtime", "cpp", slow=())`` runs a test, or one case of it, on these two
only, quickly on both. ``--devices cpp,cuda`` chooses instead of the marks: every test of `device`
then runs on just these.

Most tests compile with a g++ that optimises little: compiling is most of what they cost. Those that
`users_compiler` is for have the flags of a user's program: recorded runs, what trains for long, and
two programs that must agree to the bit. A compiler that ``$CXX`` names compiles all of them.
"""

import gc
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

# First, before a test imports Brian2: no file of the working folder is evaluated.
from eprop_brian.devices import COMPILED, DEVICES

import brian2.core.network  # isort: skip

pytest.register_assert_rewrite("support")


#: Kills of a command in the short form of tests/robustness.
_FEW_KILLS = 2
#: A g++ that optimises little.
_QUICK = Path(__file__).parent / "support" / "quick_g++"
#: What has XLA compile in half the time; its loops run once or a few times.
_ALWAYS_KNOWN = ("--xla_backend_optimization_level=0", "--xla_cpu_multi_thread_eigen=false")
_OF_SOME_VERSIONS = (
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_llvm_disable_expensive_passes=true",
)


def pytest_addoption(parser):
    parser.addoption(
        "--devices",
        type=lambda text: text.split(","),
        metavar="NAMES",
        help="devices of all tests that run on one, like cpp,cuda; default: what each test says",
    )
    parser.addoption(
        "--damaged-files",
        type=int,
        default=300,
        metavar="N",
        help="files with mistakes that tests/robustness reads, like 10000; default: %(default)s",
    )

    parser.addoption(
        "--kills",
        type=int,
        default=0,
        metavar="N",
        help="how often tests/robustness kills each sort of training, and all other commands too "
        "(default: a few times, and not all)",
    )
    parser.addoption(
        "--table",
        type=Path,
        metavar="FILE.md",
        help="where tests/robustness writes the table of what it counted",
    )


def pytest_configure(config):
    """Keep compiled networks from one run of the tests to the next, for all workers together.

    And bytecode: without it every process that a test starts compiles all that it imports.
    """
    if "CXX" not in os.environ and _is_gcc("g++"):
        os.environ["CXX"] = str(_QUICK)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.setdefault(
        "EPROP_BRIAN_CACHE", str(config.rootpath / ".pytest_cache" / "eprop_brian")
    )
    _make_jax_compile_little(config.rootpath / ".pytest_cache" / "jax")
    # Brian2 collects garbage before each run, and so does JAX then. With all that tests have loaded
    # this takes longer than most of their runs do.
    brian2.core.network.gc = SimpleNamespace(collect=lambda: 0)
    # JAX does more at each collection of garbage than Python, and there are many small ones.
    gc.set_threshold(50_000, 20, 20)
    # No power cut follows a test, so it does not wait for the disk.
    os.fsync = lambda handle: None
    unknown = {*(config.getoption("devices") or ())} - {*DEVICES}
    if unknown:
        raise pytest.UsageError(f"unknown device {', '.join(unknown)}; there are {[*DEVICES]}")


def _make_jax_compile_little(cache):
    """Let JAX optimise little what it compiles, and keep it, as tests compile the same again.

    A folder for each worker: what another one is still writing cannot be read.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache / worker)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    # Workers have it from the process that starts them.
    if "XLA_FLAGS" not in os.environ:
        os.environ["XLA_FLAGS"] = " ".join(_flags_of_xla())


def _flags_of_xla():
    """The flags that the installed version takes: an unknown one ends the process."""
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    for known in ((*_ALWAYS_KNOWN, *_OF_SOME_VERSIONS), _ALWAYS_KNOWN):
        environment = os.environ | {"XLA_FLAGS": " ".join(known)}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        if done.returncode == 0:
            return known
    return ()


def _is_gcc(compiler):
    """Whether a compiler knows the flags of GCC; on macOS it is Clang that is called g++."""
    try:
        done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return "Free Software Foundation" in done.stdout


def pytest_generate_tests(metafunc):
    if "device" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("devices")
        names = metafunc.config.getoption("devices") or (mark and mark.args) or DEVICES
        metafunc.parametrize("device", names, indirect=True)


def _device_of(item):
    return item.callspec.params.get("device") if hasattr(item, "callspec") else None


def pytest_itemcollected(item):
    device, mark = _device_of(item), item.get_closest_marker("devices")
    slow = mark.kwargs.get("slow", COMPILED) if mark else COMPILED
    if device in slow:
        item.add_marker("slow")


def pytest_collection_modifyitems(config, items):
    """Leave out the devices that the mark of a case does not name."""
    if config.getoption("devices"):
        return
    marks = [(item, item.get_closest_marker("devices")) for item in items]
    left_out = [
        item for item, mark in marks if mark and mark.args and _device_of(item) not in mark.args
    ]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture
def users_compiler(monkeypatch):
    """Programs of a test are compiled as those of a user are."""
    if os.environ.get("CXX") == str(_QUICK):
        monkeypatch.delenv("CXX")


@pytest.fixture
def n_kills(request):
    """How often a command is killed; a test with the mark ``long_form`` is left out without."""
    kills = request.config.getoption("kills")
    if not kills and request.node.get_closest_marker("long_form"):
        pytest.skip("a part of the long form: --kills N")
    return kills or _FEW_KILLS


@pytest.fixture
def answered_signals():
    """Let signals do what they do in a terminal, here and in processes that a test starts.

    Whoever runs the tests may ignore them: ``nohup`` does, and a shell for a job with ``&``.
    """
    answers = {signal.SIGINT: signal.default_int_handler}
    answers |= dict.fromkeys((signal.SIGTERM, signal.SIGHUP), signal.SIG_DFL)
    before = {number: signal.signal(number, answer) for number, answer in answers.items()}
    yield
    for number, answer in before.items():
        signal.signal(number, answer)


@pytest.fixture
def device(request, monkeypatch):
    """Name of a device, for `make_program`, a `Session` or a `Trainer`."""
    if request.param == "cuda":
        if find_spec("brian2cuda") is None:
            pytest.skip("Brian2CUDA is not installed (it needs Python 3.12)")
        monkeypatch.setenv("EPROP_BRIAN_CUDA_EMULATED", "1")
        monkeypatch.setenv("EPROP_BRIAN_EMULATED_ORDER", "shuffled")
    return request.param
