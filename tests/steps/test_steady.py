"""Constants that no step changes are declared before the first step, others within each."""

import pytest
from brian2 import Clock, ms

from eprop_brian.steps.blocks import StepCode, Store, View
from eprop_brian.steps.nodes import Each, Int, Once, Put
from eprop_brian.steps.schedule import Schedule
from eprop_brian.steps.steady import steady_constants

#: Blocks as C++: what is the same for all elements.
CONSTANTS = {
    "decay": ["const double cells_alpha = _alpha[0];", "const double _lio_1 = 1.0/cells_alpha;"],
    "grow": ["const double cells_alpha = _alpha[0];"],
    "aged": ["const double cells_alpha = _alpha[0];", "const double _lio_1 = _now*cells_alpha;"],
    "change": ["double cells_alpha = _alpha[0];", "cells_alpha = 2;", "_alpha[0] = cells_alpha;"],
}


@pytest.fixture
def code():
    clock = Clock(dt=1 * ms, name="test_clock")
    cells = Store(8, {"v": float}, "cells", clock)
    cells.variables.add_array("alpha", size=1, dtype=float, scalar=True)
    own, code = View(cells, "_neuron"), StepCode()
    code.block("decay", ["v = v/alpha"], own)
    code.block("grow", ["v = v*alpha"], own)
    code.block("aged", ["v = v*alpha*_now"], own)
    code.block("change", ["alpha = 2"], own)
    return code


def steady(code, step, update=()):
    phases = {"step": step, "update": update}
    return {*steady_constants(CONSTANTS, code, Schedule("", None, phases))}


def test_constants_that_only_steps_read_are_declared_before_them(code):
    nodes = [Each("decay", 8), Each("grow", 8)]
    assert steady(code, nodes) == {"decay", "grow"}
    found = steady_constants(CONSTANTS, code, Schedule("", None, {"step": nodes}))
    assert found["decay"] == CONSTANTS["decay"]


@pytest.mark.parametrize(
    ("step", "update", "expected"),
    [
        ([Each("decay", 8), Once("change")], [], set()),
        ([Each("decay", 8), Put("cells_alpha", "0", "2")], [], set()),
        ([Each("decay", 8), Int("_place", "{cells_alpha} > 1")], [], set()),
        ([Each("decay", 8), Each("grow", 8)], [Each("grow", 8)], {"decay"}),
        ([Each("decay", 8)], [Once("change")], {"decay"}),
        ([Each("aged", 8), Each("grow", 8)], [], {"grow"}),
    ],
    ids=["a block", "a node", "a text", "another phase", "between trials", "the step's number"],
)
def test_what_may_change_during_a_trial_is_read_in_every_step(code, step, update, expected):
    assert steady(code, step, update) == expected
