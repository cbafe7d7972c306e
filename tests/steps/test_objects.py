"""Brian2 objects of a network: as Brian2's own, without what nobody asks of them."""

import traceback

import brian2.core.base
import pytest
from brian2 import Clock, NeuronGroup, ms

from eprop_brian.steps.objects import StepClock, equations, of_the_package


def test_a_clock_is_one_of_brian2():
    clock, same = StepClock(dt=0.5 * ms, name="a_clock"), Clock(dt=0.5 * ms, name="other_clock")
    assert repr(clock) == repr(same).replace("other_clock", "a_clock")
    clock.dt = 2 * ms
    assert (clock.dt, float(clock.dt_)) == (2 * ms, 0.002)


def test_groups_share_equations_of_the_same_text():
    groups = [NeuronGroup(n, equations("x : 1\ny : 1 (shared)")) for n in (2, 3)]
    assert groups[0].user_equations is groups[1].user_equations
    groups[0].x = 1
    assert [list(group.x[:]) for group in groups] == [[1, 1], [0, 0, 0]]


def test_only_objects_of_the_package_go_without_lines():
    with of_the_package():
        assert "NeuronGroup(1" not in NeuronGroup(1, "x : 1")._full_creation_stack
    assert "NeuronGroup(1" in NeuronGroup(1, "x : 1")._full_creation_stack


def test_lines_come_back_after_an_error():
    with pytest.raises(ZeroDivisionError), of_the_package():
        _ = 1 / 0
    assert brian2.core.base.traceback is traceback
