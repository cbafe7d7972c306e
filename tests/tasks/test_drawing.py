"""Lemniscate and handwriting: a frozen pattern comes in, a pen draws a line."""

import numpy as np
import pytest
from brian2 import DimensionMismatchError, ms

from eprop_brian.tasks import Handwriting, Lemniscate
from eprop_brian.tasks.handwriting import pen_trajectory


@pytest.mark.parametrize(("task", "n_steps"), [(Lemniscate(), 1258), (Handwriting(), 1824)])
def test_defaults(task, n_steps):
    trials = task.trials(1, "train", 0, 3)
    assert trials.inputs.shape == (1, n_steps, 100)
    assert trials.targets.shape == (1, n_steps, 2)
    assert trials.pattern.tolist() == trials.target.tolist() == [0, 0, 0]
    assert task.learning_window == task.n_steps == n_steps
    assert task.loss == "squared_error"
    assert not trials.inputs[0, 0].any()
    assert trials.inputs[0, 1:].mean() == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize("kind", [Lemniscate, Handwriting])
def test_spikes_depend_on_the_seed_alone_and_the_target_on_nothing(kind):
    trials = kind().trials(1, "train", 0, 1)
    same, other = kind().trials(1, "test", 7, 2), kind().trials(2, "train", 0, 1)
    assert np.array_equal(trials.inputs, same.inputs)
    assert not np.array_equal(trials.inputs, other.inputs)
    assert np.array_equal(trials.targets, other.targets)


def test_lemniscate_is_a_closed_figure_of_eight():
    x, y = Lemniscate(n_steps=1000).trials(1, "train", 0, 1).targets[0].T
    assert (x[0], y[0]) == (0.0, 0.0)
    # The curve's own equation, whatever the speed: y = 2 x sqrt(1 - x^2) up to the sign.
    assert y**2 == pytest.approx(4 * x**2 * (1 - x**2), abs=1e-12)
    assert (x.argmax(), y.argmax()) == (250, 125)
    # One more step closes it: as far from the start as the second step is.
    assert np.hypot(x[-1], y[-1]) == pytest.approx(np.hypot(x[1], y[1]))


def test_pen_starts_at_the_origin_and_moves_steadily():
    points = pen_trajectory(228)
    assert points.shape == (228, 2)
    assert points[0].tolist() == [0.0, 0.0]
    assert np.ptp(points[:, 0]) == pytest.approx(2, abs=0.01)
    # A chord is shorter than the line, and most where the line turns.
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert steps.max() < 1.01 * np.median(steps)
    assert np.percentile(steps, 10) > 0.98 * np.median(steps)


def test_more_points_are_the_same_word():
    assert pen_trajectory(455)[::2] == pytest.approx(pen_trajectory(228), abs=1e-3)


def test_target_is_interpolated_between_the_points():
    task = Handwriting(n_points=5, steps_per_point=4)
    target, points = task.target_signals(0), pen_trajectory(5)
    assert task.n_steps == len(target) == 20
    assert target[::4] == pytest.approx(points)
    assert target[2] == pytest.approx((points[0] + points[1]) / 2)
    assert np.all(target[16:] == points[4])


def test_points_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        pen_trajectory(228)[0, 0] = 1.0


@pytest.mark.parametrize(
    ("kind", "settings", "error", "message"),
    [
        (Lemniscate, {"n_steps": 0}, ValueError, "n_steps must be at least 1"),
        (Lemniscate, {"spike_probability": 2}, ValueError, "spike_probability must lie between"),
        (Lemniscate, {"dt": 1}, DimensionMismatchError, "dt must be given in units such as ms"),
        (Handwriting, {"n_points": 1}, ValueError, "n_points must be at least 2"),
        (Handwriting, {"n_points": 10.0}, TypeError, "n_points must be an integer"),
        (Handwriting, {"steps_per_point": 0}, ValueError, "steps_per_point must be at least 1"),
        (Handwriting, {"n_inputs": 0}, ValueError, "n_inputs must be at least 1"),
        (Handwriting, {"dt": -1 * ms}, ValueError, "dt must be positive"),
    ],
)
def test_invalid_settings(kind, settings, error, message):
    with pytest.raises(error, match=message):
        kind(**settings)
