"""Measures of balanced networks against closed forms and trains made by hand."""

import numpy as np
import pytest

from eprop_brian.balanced.metrics import (
    Currents,
    balance,
    cv_isi,
    fixed_points,
    limit_cycle,
    lobe_switches,
    lyapunov_exponent,
    mean_rate,
    nmse,
    ping_pong,
    relative_performance,
)
from eprop_brian.equations.teachers import BISTABLE, LORENZ
from eprop_brian.symbolic.teacher import teacher_map


def test_nmse_is_the_error_over_the_variance_of_all_dimensions():
    x = np.array([[0.0, 0.0], [2.0, 4.0]])
    # Variances 1 and 4; errors 1 + 0 and 0 + 9, their mean 5.
    assert nmse(x, x + np.array([[1.0, 0.0], [0.0, 3.0]])) == pytest.approx(5 / 5)
    assert nmse(x, x) == 0
    assert nmse(x, np.broadcast_to(x.mean(axis=0), x.shape)) == pytest.approx(1)
    assert np.isnan(nmse(np.ones((3, 2)), np.zeros((3, 2))))


def test_mean_rate():
    assert mean_rate(300, 100, 2.0) == 1.5


def test_cv_of_clocks_and_of_poisson_processes():
    clock = np.arange(200) * 0.01
    assert cv_isi(clock, np.zeros(200, dtype=int), 1) == pytest.approx([0], abs=1e-9)
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.exponential(0.1, (5, 4000)), axis=1)
    neurons = np.repeat(np.arange(5), 4000)
    order = rng.permutation(20_000)
    assert cv_isi(times.ravel()[order], neurons[order], 5) == pytest.approx(np.ones(5), abs=0.1)


def test_cv_is_that_of_each_neuron_with_enough_spikes():
    # Intervals 1, 3, 1, 3: mean 2, deviation 1. The other neuron has too few.
    times = np.array([0.0, 1.0, 4.0, 5.0, 8.0, 0.0, 7.0, 7.1, 9.0])
    neurons = np.array([0] * 5 + [1] * 4)
    assert cv_isi(times, neurons, 3) == pytest.approx([0.5, np.nan, np.nan], nan_ok=True)
    assert cv_isi(times, neurons, 2, least=4)[1] == pytest.approx(np.std([7, 0.1, 1.9]) / 3)


DECODER = np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize(
    ("neurons", "steps", "delay", "expected"),
    [
        ([0, 1, 0, 1], [0, 1, 2, 3], 0, 3 / 4),
        ([0, 1, 0, 1], [0, 10, 20, 30], 0, 0.0),
        # Orthogonal and equal directions are no answers, whatever comes between.
        ([0, 2, 0], [0, 1, 2], 0, 0.0),
        ([0, 2, 1], [0, 1, 2], 0, 1 / 3),
        # Two steps are at once, three are not.
        ([0, 1], [0, 2], 0, 1 / 2),
        ([0, 1], [0, 3], 0, 0.0),
        # What comes before the delay is over cannot be an answer.
        ([0, 1], [0, 2], 10, 0.0),
        ([0, 1], [0, 10], 10, 0.0),
        ([0, 1], [0, 11], 10, 1 / 2),
        ([0, 1], [0, 12], 10, 1 / 2),
        ([0, 1], [0, 0], 0, 0.0),
        ([0], [0], 0, 0.0),
    ],
)
def test_ping_pong(neurons, steps, delay, expected):
    assert ping_pong(np.array(neurons), np.array(steps), DECODER, delay) == pytest.approx(expected)


def test_balance():
    t = np.arange(1000) * 1e-3
    wave = 2 + np.sin(20 * t)
    tight, cancelled = balance(Currents(t, wave, -wave))
    assert (tight, cancelled) == (pytest.approx(1), 0)
    _, half = balance(Currents(t, wave, -wave / 3))
    assert half == pytest.approx((1 - 1 / 3) / (1 + 1 / 3))
    assert balance(Currents(t, wave, wave - 4))[0] == pytest.approx(-1)
    assert np.isnan(balance(Currents(t, wave, -np.ones(1000)))[0])


def test_relative_performance():
    assert relative_performance(0.1, 0.1, 2.0) == 1
    assert relative_performance(2.0, 0.1, 2.0) == 0
    assert relative_performance(0.575, 0.1, 2.0) == pytest.approx(0.75)


# --- attractors -----------------------------------------------------------------------------------


def test_fixed_points_of_the_bistable_teacher():
    field = teacher_map(BISTABLE.with_parameters(x_fixed=0.8)).field
    starts = np.random.default_rng(1).uniform(-1.2, 1.2, (60, 2))
    found = fixed_points(field, starts)
    assert [point.stable for point in found] == [True, False, True]
    expected = np.array([[-0.8, 0], [0, 0], [0.8, 0]])
    assert np.array([point.x for point in found]) == pytest.approx(expected, abs=1e-6)


def test_fixed_points_outside_the_starts_do_not_count():
    field = teacher_map(BISTABLE).field
    found = fixed_points(field, np.random.default_rng(1).uniform(-0.5, 0.5, (60, 2)))
    assert [point.x.tolist() for point in found] == [pytest.approx([0, 0], abs=1e-6)]


def test_a_focus_is_stable_by_its_real_part():
    matrix = np.array([[-0.1, 6.0], [-6.0, -0.1]])
    for sign, stable in ((1, True), (-1, False)):
        (point,) = fixed_points(lambda x, s=sign: s * x @ matrix.T, np.array([[1.0, 1], [-1, -1]]))
        assert point.stable is stable


def test_limit_cycle_of_a_sine():
    t = np.arange(5000) * 1e-3
    x = np.stack([1.5 + 0.7 * np.sin(2 * np.pi * t / 0.4), 0.2 * np.cos(2 * np.pi * t / 0.4)], 1)
    rng = np.random.default_rng(1)
    for noise in (0.0, 0.02):
        found = limit_cycle(t, x + noise * rng.normal(size=x.shape))
        assert found.cycles == pytest.approx(12, abs=1)
        assert found.period == pytest.approx(0.4, abs=0.01)
        assert found.amplitude == pytest.approx([0.7, 0.2], abs=4 * noise + 1e-3)


@pytest.mark.parametrize("x", [np.ones(100), np.linspace(0, 1, 100)])
def test_what_does_not_return_has_no_period(x):
    found = limit_cycle(np.arange(100.0), x[:, None])
    assert found.cycles == 0
    assert np.isnan(found.period)
    assert np.isnan(found.amplitude).all()


def test_lyapunov_exponent_of_linear_systems():
    for matrix, largest in (
        (np.diag([-1.0, -3.0]), -1.0),
        (np.array([[-0.5, 6.0], [-6.0, -0.5]]), -0.5),
        (np.diag([0.4, -2.0]), 0.4),
    ):
        found = lyapunov_exponent(lambda x, m=matrix: x @ m.T, np.array([1.0, 0.5]), 20.0)
        assert found == pytest.approx(largest, abs=0.03)


def test_lyapunov_exponent_of_lorenz():
    """.906, Sprott 2003 (Chaos and Time-Series Analysis)."""
    found = teacher_map(LORENZ)
    assert lyapunov_exponent(found.field, found.initial, 150.0, 0.01) == pytest.approx(
        0.906, rel=0.1
    )


def test_a_path_to_infinity_has_no_exponent():
    with np.errstate(all="ignore"):
        assert np.isnan(lyapunov_exponent(lambda x: x**3, np.array([1.0, 1.0]), 5.0))


def test_lobe_switches():
    t = np.linspace(0, 10, 10_001)
    # 3 cycles a second are 6 changes of side.
    x = np.stack([np.sin(2 * np.pi * 3 * t + 0.1), t], axis=1)
    assert lobe_switches(t, x) == pytest.approx(6, abs=0.2)
    # What only touches 0 does not reach the other side.
    assert lobe_switches(t, np.abs(x) - 0.01) == 0
