"""The family of an arm's movements: kinematics, velocities, clock and code."""

import numpy as np
import pytest
from brian2 import ms

from eprop_brian.tasks.few_shot import FAMILIES, get_family
from eprop_brian.tasks.one_shot_arm import OneShotArm


@pytest.mark.parametrize("angles", ["relative", "absolute"])
def test_the_hand_follows_from_the_velocities(angles):
    family = OneShotArm(angles=angles)
    omega = np.random.default_rng(1).normal(size=(2, 30, 2))
    for trial, places in enumerate(family.positions(omega)):
        phi = np.array([0.0, np.pi / 2])
        for step, place in enumerate(places):
            phi = phi + 0.01 * omega[trial, step]
            second = phi[0] + phi[1] if angles == "relative" else phi[1]
            expected = [np.cos(phi[0]) + np.cos(second), np.sin(phi[0]) + np.sin(second)]
            np.testing.assert_allclose(place, np.array(expected) / 2, rtol=1e-12, atol=1e-14)


def test_velocities_are_smooth_brownian_motions():
    """Over longer than the window increments have the variance of a Brownian motion.

    Of two means with the weights w over windows that do not overlap, the difference has the
    variance of a step times the steps between them less sum_kl w_k w_l |k - l|.
    """
    targets = OneShotArm(duration=600 * ms).draw(3, "train", 0, 400).query.targets
    assert targets.shape == (400, 600, 2) and np.abs(targets).max() == np.pi
    assert np.abs(np.diff(targets, axis=1)).max() < 0.1  # a step of the motion itself: 0.1 rad/s
    window = np.hanning(122)[1:-1] / np.hanning(122)[1:-1].sum()
    place = np.arange(120)
    lost = window @ np.abs(place[:, np.newaxis] - place) @ window
    # None of these reaches a bound.
    small = OneShotArm(duration=600 * ms, spread=0.01).draw(3, "train", 0, 400).query.targets
    increments = small[:, 450] - small[:, 150]
    assert increments.var() == pytest.approx(0.01**2 * 0.01 * (300 - lost), rel=0.15)


def test_the_clock_is_active_in_turn():
    inputs = OneShotArm().draw(1, "train", 0, 2).support.inputs
    clock = inputs[0, :, :5]
    assert inputs.dtype == float and set(np.unique(clock)) == {0.0, 1.0}
    for group in range(5):
        steps = np.flatnonzero(clock[:, group])
        np.testing.assert_array_equal(steps, np.arange(50 * group, 50 * (group + 1), 10))
    np.testing.assert_array_equal(inputs[0, :, :5], inputs[1, :, :5])
    pairs = OneShotArm(duration=500 * ms, clock_size=2).draw(1, "train", 0, 1).support.inputs
    np.testing.assert_array_equal(pairs[0, :, 0:10:2], pairs[0, :, 1:10:2])
    assert pairs[0, :, :10].sum() == 2 * 50


def test_codes_say_where_the_hand_should_be():
    family = OneShotArm()
    batch = family.draw(1, "train", 0, 2)
    places = family.positions(batch.support.targets)
    code = batch.support.inputs[:, :, 5:].reshape(2, 249, 2, 16)
    centres = np.linspace(-1, 1, 16)
    np.testing.assert_allclose(centres[code.argmax(axis=3)], places, atol=1 / 15 + 1e-9)
    binary = OneShotArm(code="binary").draw(1, "train", 0, 2).support.inputs
    assert binary.dtype == bool
    bits = binary[:, :, 5:].reshape(2, 249, 2, 16)
    decoded = (bits * 2.0 ** np.arange(16)).sum(axis=3) / (2**16 - 1) * 2 - 1
    np.testing.assert_allclose(decoded, places, atol=2 / 2**16)


def test_batches_follow_from_seed_stream_and_index():
    family = get_family("one-shot-arm")
    first = family.draw(1, "train", 0, 3).query.targets
    np.testing.assert_array_equal(family.draw(1, "train", 0, 3).query.targets, first)
    for other in ((2, "train", 0), (1, "test", 0), (1, "train", 1)):
        assert np.abs(family.draw(*other, 3).query.targets - first).max() > 0.1
    part = family.draw(1, "train", 0, 3).part(slice(1, 2))
    np.testing.assert_array_equal(part.query.targets[part.query.target], first[1:2])


def test_errors_and_costs_are_of_the_hand():
    family = OneShotArm(position_cost=3.0)
    query = family.draw(1, "test", 0, 2).query
    right = query.targets[query.target]
    assert not np.any(family.errors(right, query)) and not np.any(family.outcome_cost(right, right))
    still = np.zeros_like(right)
    away = family.positions(still) - family.positions(right)
    np.testing.assert_allclose(
        family.errors(still, query), np.sqrt((away**2).sum(axis=2)).mean(axis=1)
    )
    np.testing.assert_allclose(family.outcome_cost(still, right), 1.5 * (away**2).mean(axis=(1, 2)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"angles": "both"}, "angles"),
        ({"code": "letters"}, "code"),
        ({"n_code": 1}, "n_code must be a whole number, at least 2"),
        ({"duration": 3 * ms}, "3 steps are too few for 5 clock groups"),
        ({"smoothing": 0}, "smoothing"),
        ({"spread": -1.0}, "spread"),
        ({"steps": 3}, "unknown setting 'steps'"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        get_family("one-shot-arm", **settings)


def test_a_family_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="unknown family of tasks 'one-shot-leg'"):
        get_family("one-shot-leg")
    assert list(FAMILIES) == ["one-shot-arm", "few-shot-digits"]
