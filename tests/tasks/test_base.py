"""Trials are checked where they are made; a task's attributes when it is constructed."""

import doctest
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from brian2 import DimensionMismatchError, Hz, ms

from eprop_brian.base.checks import (
    check_count,
    check_positive_quantity,
    check_probability,
    whole_steps,
)
from eprop_brian.base.random import rng_for, words
from eprop_brian.tasks import base
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.trials import Trials


def make_trials(**changes):
    arrays = {
        "inputs": np.zeros((2, 10, 3), dtype=bool),
        "targets": np.eye(2)[:, np.newaxis, :],
        "pattern": np.array([0, 1, 1, 0]),
        "target": np.array([0, 1, 0, 1]),
    }
    return Trials(**(arrays | changes))


class Classification(Task):
    name = "classification"
    n_steps = 10
    n_inputs = 3
    n_outputs = 2
    learning_window = 4
    loss = "softmax_cross_entropy"

    def trials(self, seed, stream, index, n_trials):
        return make_trials()


def test_example_of_the_documentation():
    result = doctest.testmod(base)
    assert result.attempted > 0
    assert result.failed == 0


def test_n_trials():
    assert make_trials().n_trials == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": np.zeros((2, 10, 3), int)}, r"bool array .spikes. or a float.*got int64"),
        ({"inputs": np.full((2, 10, 3), np.nan)}, "inputs must be finite"),
        ({"inputs": np.full((2, 10, 3), np.inf)}, "inputs must be finite"),
        ({"inputs": np.zeros((10, 3))}, r"n_inputs\).*got \(10, 3\)"),
        ({"inputs": np.zeros((10, 3), dtype=bool)}, r"n_inputs\).*got \(10, 3\)"),
        ({"inputs": np.zeros((2, 10, 0), dtype=bool)}, r"none of them 0.*got \(2, 10, 0\)"),
        ({"targets": np.eye(2)}, r"targets must have the shape.*got \(2, 2\)"),
        ({"targets": np.zeros((2, 9, 2))}, "targets have 9 steps; expected 10"),
        ({"targets": np.full((2, 1, 2), np.nan)}, "targets must be finite"),
        ({"pattern": np.array([0, 1, 2, 0])}, "rows of inputs, 0 to 1, got 0 to 2"),
        ({"target": np.array([0, -1, 0, 0])}, "rows of targets, 0 to 1, got -1 to 0"),
        ({"pattern": np.array([0.0, 1.0, 1.0, 0.0])}, "pattern must hold integers"),
        ({"pattern": np.array([], dtype=int)}, "at least one trial"),
        ({"target": np.array([0, 1])}, "got 4 and 2 entries"),
    ],
)
def test_invalid_trials(changes, message):
    with pytest.raises(ValueError, match=message):
        make_trials(**changes)


def test_floats_are_analog_inputs():
    assert not make_trials().analog
    analog = make_trials(inputs=np.full((2, 10, 3), 0.5, dtype=np.float32))
    assert analog.analog and analog.part(slice(2)).analog
    assert analog.inputs.dtype == float


def test_generator_depends_on_each_argument_only():
    def first(*arguments):
        return rng_for(*arguments).integers(2**62)

    assert first(1, "train", 0) == first(1, "train", 0)
    others = [(2, "train", 0), (1, "test", 0), (1, "train", 1), (1, "train")]
    assert len({first(1, "train", 0), *(first(*other) for other in others)}) == 5


def test_generator_is_the_same_everywhere():
    # A changed number would silently change every result that was published with a seed.
    assert words(rng_for(1, "train", 0), 1) == 17954312326839863858


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1, "train", 0), ValueError, "seed must be at least 0"),
        ((1.5, "train", 0), TypeError, "seed must be an integer"),
        ((1, "train", -1), ValueError, "index must be at least 0"),
        ((1, "", 0), ValueError, "stream must be a name"),
    ],
)
def test_invalid_generator_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        rng_for(*arguments)


def test_errors_of_classification():
    outputs = [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]]
    errors = Classification().errors(outputs, make_trials())
    assert errors.tolist() == [0.0, 0.0, 1.0, 1.0]


def test_target_class_is_read_in_the_learning_window():
    targets = np.zeros((1, 10, 2))
    targets[0, :6, 0] = 1.0
    targets[0, 6:, 1] = 1.0
    trials = make_trials(targets=targets, target=np.zeros(4, dtype=int))
    errors = Classification().errors(np.tile([0.0, 1.0], (4, 1)), trials)
    assert not errors.any()


def test_errors_of_regression():
    class Regression(Classification):
        loss = "squared_error"

    assert Regression().errors(np.zeros((4, 2)), make_trials()) is None


def test_errors_checks_outputs():
    with pytest.raises(ValueError, match=r"= \(4, 2\), got \(2, 4\)"):
        Classification().errors(np.zeros((2, 4)), make_trials())
    with pytest.raises(ValueError, match="NaN"):
        Classification().errors(np.full((4, 2), np.nan), make_trials())


@pytest.mark.parametrize(
    ("attribute", "value", "error", "message"),
    [
        ("loss", "mse", ValueError, "squared_error, softmax_cross_entropy, .*, got 'mse'"),
        ("n_inputs", 0, ValueError, "n_inputs must be at least 1"),
        ("n_steps", 10.0, TypeError, "n_steps must be an integer"),
        ("learning_window", 11, ValueError, "longer than the trial"),
    ],
)
def test_invalid_attributes(attribute, value, error, message):
    task = type("Changed", (Classification,), {attribute: value})
    with pytest.raises(error, match=message):
        task()


def test_missing_attributes():
    class Nameless(Task):
        n_steps = n_inputs = n_outputs = learning_window = 1
        loss = "squared_error"
        trials = Classification.trials

    with pytest.raises(TypeError, match="must define the attribute 'name'"):
        Nameless()
    with pytest.raises(TypeError, match="abstract"):
        type("Unfinished", (Task,), {"name": "unfinished", "loss": "squared_error"})()


def test_time_step():
    assert Classification().dt == 1 * ms
    assert Classification(dt=0.5 * ms).dt == 0.5 * ms
    with pytest.raises(DimensionMismatchError, match="dt must be given in units such as ms"):
        Classification(dt=1)
    with pytest.raises(DimensionMismatchError):
        Classification(dt=1 * Hz)
    with pytest.raises(ValueError, match="dt must be positive"):
        Classification(dt=0 * ms)
    with pytest.raises(ValueError, match="one finite quantity"):
        Classification(dt=[1, 2] * ms)


def test_settings_are_immutable():
    with pytest.raises(FrozenInstanceError):
        Classification().dt = 2 * ms


def test_whole_steps():
    assert whole_steps("delay", 1050 * ms, 0.1 * ms) == 10500
    with pytest.raises(ValueError, match="not a whole number of steps"):
        whole_steps("delay", 10.5 * ms, 1 * ms)
    with pytest.raises(ValueError, match="at least 1 steps, got 0"):
        whole_steps("delay", 0 * ms, 1 * ms)


@pytest.mark.parametrize(
    ("check", "arguments", "error", "message"),
    [
        (whole_steps, ("delay", "abc", 1 * ms), TypeError, "^delay must be a quantity in units"),
        (whole_steps, ("delay", [], 1 * ms), TypeError, r"such as ms, not \[\]$"),
        (whole_steps, ("delay", True, 1 * ms), TypeError, "not True$"),
        (whole_steps, ("delay", 3, 1 * ms), DimensionMismatchError, "^delay must be given in"),
        (whole_steps, ("delay", 3 * ms, 0 * ms), ValueError, "^dt must be positive, not 0"),
        (whole_steps, ("delay", 1e200 * ms, 1e-150 * ms), ValueError, "too many steps of dt"),
        (check_probability, ("p", "abc"), ValueError, "^p must lie between 0 and 1, got 'abc'"),
        (check_probability, ("p", 5 * ms), ValueError, "^p must lie between 0 and 1, got 5"),
        (check_positive_quantity, ("tau", "a", ms, "5 ms"), TypeError, "^tau must be a quantity"),
        (check_positive_quantity, ("tau", 0 * ms, ms, "5 ms"), ValueError, "^tau must be positive"),
        (check_positive_quantity, ("tau", [1, 2] * ms, ms, "5 ms"), ValueError, "must be positive"),
    ],
)
def test_values_that_are_none_of_a_setting_name_it(check, arguments, error, message):
    with pytest.raises(error, match=message):
        check(*arguments)


def test_bool_is_not_a_count():
    with pytest.raises(TypeError, match="n_cues must be an integer, got True"):
        check_count("n_cues", True)
