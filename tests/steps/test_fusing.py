"""Neighbouring loops become one where no iteration needs what another wrote."""

import pytest
from brian2 import Clock, ms

from eprop_brian.steps.blocks import StepCode, Store, View
from eprop_brian.steps.fusing import fused
from eprop_brian.steps.nodes import Each, Sync


@pytest.fixture
def code():
    clock = Clock(dt=1 * ms, name="test_clock")
    neurons = Store(8, {"v": float, "u": float}, "cells", clock)
    kept = Store(16, {"v_kept": float}, "kept", clock)
    number = Store(1, {"x": float}, "number", clock)
    own, code = View(neurons, "_neuron"), StepCode()
    code.block("move", ["v = v + u"], own)
    code.block("follow", ["u = v"], own)
    code.block("keep", ["v_kept = v"], View(kept, "_window"), own)
    code.block("sum", ["x = x + v"], View(number, "0"), own)
    code.block("read", ["u = x"], View(number, "0"), own)
    code.block("recall", ["v = v_kept"], View(kept, "_window"), own)
    return code


def groups(code, *nodes):
    return [len(group) for group in fused(nodes, code.blocks, code.variables)]


def test_blocks_that_use_the_loops_own_elements_are_one_loop(code):
    keep = Each("keep", 8, {"_window": "_row*8"})
    assert groups(code, Each("move", 8), Each("follow", 8), keep) == [3]
    assert groups(code, keep, Each("recall", 8, {"_window": "_row*8"})) == [2]


@pytest.mark.parametrize(
    "nodes",
    [
        [Each("move", 8), Sync(), Each("follow", 8)],
        [Each("move", 8), Each("follow", 7)],
        [Each("move", 8), Each("follow", 8, padded=16)],
        [Each("sum", 8), Each("read", 8)],
        [Each("keep", 8, {"_window": "0"}), Each("recall", 8, {"_window": "8"})],
    ],
    ids=["barrier", "size", "padding", "one number for all", "another row"],
)
def test_what_another_iteration_wrote_keeps_loops_apart(code, nodes):
    assert groups(code, *nodes) == [1] * len(nodes)
