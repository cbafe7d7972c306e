"""Memory that programs share: where arrays stand, and what serves where a system has no memfd."""

import os

import numpy as np
import pytest

from eprop_brian import LIF, Network
from eprop_brian.devices.sharing import KEPT, OWN, SharedMemory, arrange
from eprop_brian.network.built import Capacity
from eprop_brian.network.program import make_program

DOUBLE, INT = np.dtype(np.float64), np.dtype(np.int32)
#: More than two large pages.
LARGE = 2**20


def test_arrays_stand_apart_and_large_ones_at_large_pages():
    arrays = {
        "a.w": (DOUBLE, 3),
        "a.sum": (DOUBLE, LARGE),
        "a.history": (DOUBLE, LARGE),
        "a.n": (INT, 5),
        "b.w": (DOUBLE, LARGE),
    }
    plan = arrange(arrays, kept={"a.w", "b.w"}, exchanged={"a.sum"})
    assert {*plan.places} == {*arrays} - {"a.history"}
    ends = [0, 0]
    for key, place in plan.places.items():
        assert (place.dtype, place.size) == arrays[key]
        assert place.stretch == (KEPT if key.endswith(".w") else OWN)
        assert place.offset % (2**21 if place.size == LARGE else 64) == 0
        assert place.offset >= ends[place.stretch]
        ends[place.stretch] = place.offset + place.size * place.dtype.itemsize
    assert all(end <= size for end, size in zip(ends, plan.sizes, strict=True))


@pytest.mark.parametrize("has_memfd", [True, False])
def test_shared_memory_has_no_name_and_begins_with_zeros(monkeypatch, tmp_path, has_memfd):
    if not has_memfd:
        monkeypatch.delattr(os, "memfd_create", raising=False)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (place,) = arrange({"a.w": (INT, 7)}, set(), set()).places.values()
    memory = SharedMemory(4096)
    memory.array(place)[:] = 3
    assert not any(tmp_path.iterdir())
    os.fstat(memory.descriptor)
    descriptor = memory.descriptor
    np.testing.assert_array_equal(memory.array(place), 3)
    del memory
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(descriptor)


def test_a_program_runs_in_a_file_where_there_is_no_memfd(monkeypatch):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    network = Network.standard(2, 1, [(LIF, 3)])
    program = make_program("cpp")(network, Capacity(10, 1, 1, 1, 2))
    program.run({})
    program.set({"lif.v": np.full(program.view("lif.v").size, 2.0)})
    np.testing.assert_array_equal(program.get("lif.v"), 2.0)
    program.close()
