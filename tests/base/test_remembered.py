"""Results that are remembered by what the arguments hold."""

import numpy as np
import pytest

from eprop_brian.base.printable import warn
from eprop_brian.base.remembered import remembered


@pytest.fixture
def calls():
    return []


@pytest.fixture
def total(calls):
    """A function that notes its calls, and remembers two results."""

    @remembered(2, lambda: calls.count("changed"))
    def total(values, message=""):
        calls.append(message)
        if message:
            warn(message)
        return sum(values)

    return total


def test_the_same_content_is_worked_out_once(total, calls):
    assert total(np.arange(3)) == total(np.arange(3)) == 3
    assert calls == [""]


def test_what_is_changed_later_is_another_argument(total):
    values = [1, 2]
    assert total(values) == 3
    values.append(3)
    assert total(values) == 6


def test_a_result_holds_nothing_that_the_caller_changes_later():
    held = remembered(2, lambda: 0)(lambda values: values)
    values = np.zeros(2)
    held(values)
    values += 1
    np.testing.assert_array_equal(held(np.zeros(2)), 0)


def test_the_last_results_are_kept(total, calls):
    for values in ([1], [2], [3], [3], [1]):
        assert total(values) == values[0]
    assert len(calls) == 4


def test_another_circumstance_is_another_result(total, calls):
    total([1])
    calls.append("changed")
    total([1])
    assert calls == ["", "changed", ""]


def test_what_cannot_be_pickled_or_is_large_is_worked_out_anew(total, calls):
    for values in ([1] * 10**6, (x for x in [1])):
        del calls[:]
        total(values)
        total(values)
        assert len(calls) == 2


def test_what_fails_to_be_pickled_in_its_own_way_is_worked_out(total):
    class Odd(list):
        def __reduce_ex__(self, protocol):
            raise ValueError("not me")

    assert total(Odd([1, 2])) == 3


def test_a_warning_comes_each_time_also_through_another_that_remembers(total):
    outer = remembered(2, lambda: 0)(total)
    for _ in range(2):
        with pytest.warns(UserWarning, match="beware"):
            assert outer([1], "beware") == 1
