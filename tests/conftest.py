"""Settings and fixtures that all tests share.

A test that takes `device` runs on every device, by name: ``cuda`` by emulation, its threads in
shuffled order. A compiled device makes the test a slow one. The mark ``devices`` says less:
``@pytest.mark.devices("runtime", "cpp", slow=())`` runs a test, or one case of it, on these two
only, quickly on both. ``--devices cpp,cuda`` chooses instead of the marks: every test of `device`
then runs on just these.
"""

import os
from importlib.util import find_spec

import pytest

# First, before a test imports Brian2: no file of the working folder is evaluated.
from eprop_brian.devices import COMPILED, DEVICES

pytest.register_assert_rewrite("support")


def pytest_addoption(parser):
    parser.addoption(
        "--devices",
        type=lambda text: text.split(","),
        metavar="NAMES",
        help="devices of all tests that run on one, like cpp,cuda; default: what each test says",
    )


def pytest_configure(config):
    """Keep compiled networks from one run of the tests to the next, for all workers together."""
    os.environ.setdefault(
        "EPROP_BRIAN_CACHE", str(config.rootpath / ".pytest_cache" / "eprop_brian")
    )
    unknown = {*(config.getoption("devices") or ())} - {*DEVICES}
    if unknown:
        raise pytest.UsageError(f"unknown device {', '.join(unknown)}; there are {[*DEVICES]}")


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
def device(request, monkeypatch):
    """Name of a device, for `make_program`, a `Session` or a `Trainer`."""
    if request.param == "cuda":
        if find_spec("brian2cuda") is None:
            pytest.skip("Brian2CUDA is not installed (it needs Python 3.12)")
        monkeypatch.setenv("EPROP_BRIAN_CUDA_EMULATED", "1")
        monkeypatch.setenv("EPROP_BRIAN_EMULATED_ORDER", "shuffled")
    return request.param
