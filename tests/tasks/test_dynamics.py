"""Dynamical systems as tasks: their inputs, the paths that explore them, their regions."""

import numpy as np
import pytest

from eprop_brian.symbolic.teacher import teacher_map
from eprop_brian.tasks.dynamics import DYNAMICS, get_dynamics

DT = 1e-3
OSCILLATOR = DYNAMICS["balanced-oscillator"]
BISTABLE = DYNAMICS["balanced-bistable"]


@pytest.mark.parametrize("task", DYNAMICS.values(), ids=lambda task: task.name)
def test_every_task_is_whole(task):
    found = teacher_map(task.teacher)
    assert get_dynamics(task.name) is task
    assert len(task.region) == len(found.states)
    assert np.all(np.isfinite(found.field(found.initial)))
    # Without input and at rest nothing would ever be represented.
    assert task.input_std or np.any(found.initial) or task.name == "balanced-integrator"
    # In a list with the other tasks', which are phrases too.
    assert task.description[0].islower() and not task.description.endswith(".")


def test_an_unknown_task_is_named_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'balanced-lorenz'"):
        get_dynamics("balanced-lorentz")


def test_inputs_depend_on_the_seed_alone():
    first, same, other = (OSCILLATOR.inputs(500, 2, DT, seed) for seed in (1, 1, 2))
    assert first.shape == (500, 2)
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_inputs_are_white_noise_through_two_equal_filters():
    c = OSCILLATOR.with_input(3.0, 0.02).inputs(200_000, 2, DT, 1)
    assert np.std(c, axis=0) == pytest.approx([3, 3], rel=0.05)
    assert np.mean(c, axis=0) == pytest.approx([0, 0], abs=0.15)
    assert np.corrcoef(c.T)[0, 1] == pytest.approx(0, abs=0.05)
    # The correlation of such noise is (1 + lag/tau) exp(-lag/tau).
    for lag in (0.01, 0.02, 0.06):
        shift = round(lag / DT)
        found = np.mean(c[shift:] * c[:-shift]) / np.mean(c**2)
        assert found == pytest.approx((1 + lag / 0.02) * np.exp(-lag / 0.02), abs=0.04)


def test_inputs_are_stationary_from_the_first_step_on():
    first = [OSCILLATOR.inputs(1, 2, DT, seed) for seed in range(400)]
    assert np.std(first) == pytest.approx(OSCILLATOR.input_std, rel=0.1)


def test_no_filter_is_white_noise_and_no_strength_is_silence():
    c = OSCILLATOR.with_input(2.0, 0.0).inputs(50_000, 1, DT, 1)
    assert np.std(c) == pytest.approx(2, rel=0.02)
    assert abs(np.mean(c[1:] * c[:-1])) < 0.05
    assert not OSCILLATOR.with_input(0.0).inputs(10, 2, DT, 1).any()


def test_a_path_visits_all_of_the_region_alike():
    path = BISTABLE.places(150_000, DT, 0.02, 1.2, 1)
    size = 1.2 * np.array(BISTABLE.region)
    assert np.all(np.abs(path) <= size)
    for dimension, reach in zip(path.T, size, strict=True):
        share = np.histogram(dimension, bins=8, range=(-reach, reach))[0] / len(dimension)
        assert share == pytest.approx(np.full(8, 1 / 8), abs=0.015)


@pytest.mark.parametrize(("std", "tau"), [(-1, 0.1), (np.nan, 0.1), (1, -0.1), (1, np.inf)])
def test_an_input_that_is_none(std, tau):
    with pytest.raises(ValueError, match="must be a finite number, 0 or more"):
        OSCILLATOR.with_input(std, tau)
