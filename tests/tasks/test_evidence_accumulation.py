"""Cues fire where and when they should, and the target is the side with most of them."""

import numpy as np
import pytest
from brian2 import DimensionMismatchError, Hz, ms

from eprop_brian.tasks import EvidenceAccumulation

LEFT, RIGHT, RECALL, BACKGROUND = (slice(10 * n, 10 * n + 10) for n in range(4))


@pytest.fixture(scope="module")
def trials():
    return EvidenceAccumulation().trials(1, "train", 0, 400)


@pytest.fixture(scope="module")
def sides():
    return EvidenceAccumulation().cue_sides(1, "train", 0, 400)


def in_cues(spikes):
    """Steps of the cues, shape (n_trials, n_cues, 100, n_inputs)."""
    return spikes[:, :1050].reshape(len(spikes), 7, 150, -1)[:, :, 50:]


def test_defaults(trials):
    task = EvidenceAccumulation()
    assert (task.n_steps, task.n_inputs, task.n_outputs) == (2250, 40, 2)
    assert task.learning_window == 150
    assert task.loss == "softmax_cross_entropy"
    assert task.error_threshold == 0.07
    assert trials.inputs.shape == (400, 2250, 40)
    assert trials.targets.tolist() == [[[1.0, 0.0]], [[0.0, 1.0]]]
    assert trials.pattern.tolist() == list(range(400))


def test_sides_can_be_read_from_the_spikes(trials, sides):
    cues = in_cues(trials.inputs)
    left = cues[..., LEFT].sum(axis=(2, 3))
    right = cues[..., RIGHT].sum(axis=(2, 3))
    assert np.array_equal(right > left, sides == 1)
    assert np.all(np.minimum(left, right) == 0)


def test_target_is_the_majority_of_the_cues(trials, sides):
    right_has_most = np.count_nonzero(sides == 1, axis=1) > np.count_nonzero(sides == 0, axis=1)
    assert np.array_equal(trials.target == 1, right_has_most)


def test_groups_are_silent_outside_their_periods(trials):
    outside = trials.inputs[:, :1050, :20].reshape(400, 7, 150, 20)[:, :, :50]
    assert not outside.any()
    assert not trials.inputs[:, 1050:, :20].any()
    assert not trials.inputs[:, :2100, RECALL].any()


def test_no_spikes_in_the_first_step():
    task = EvidenceAccumulation(
        pause_duration=0 * ms, cue_rate=1000 * Hz, background_rate=1000 * Hz
    )
    spikes = task.trials(1, "train", 0, 5).inputs
    assert not spikes[:, 0].any()
    assert spikes[:, 1, BACKGROUND].all()
    assert np.all(spikes[:, 1, :20].sum(axis=1) == 10)


def test_rates(trials):
    spikes = trials.inputs
    assert in_cues(spikes)[..., :20].mean() == pytest.approx(0.04 / 2, rel=0.02)
    assert spikes[:, 2100:, RECALL].mean() == pytest.approx(0.04, rel=0.03)
    assert spikes[:, 1:, BACKGROUND].mean() == pytest.approx(0.01, rel=0.02)


def test_side_probabilities():
    sides = EvidenceAccumulation().cue_sides(1, "train", 0, 20_000)
    assert sides.mean() == pytest.approx(0.5, abs=0.01)
    # Two cues of a trial agree with probability .7^2 + .3^2, or .5 if they were independent.
    assert np.mean(sides[:, 0] == sides[:, 6]) == pytest.approx(0.58, abs=0.02)
    assert np.mean(sides[:, 0] == sides[:, 1]) == pytest.approx(0.58, abs=0.02)


def test_certain_side():
    sides = EvidenceAccumulation(p_favoured=1).cue_sides(1, "train", 0, 100)
    assert np.all(sides == sides[:, :1])
    assert 0 < sides[:, 0].mean() < 1


def test_same_arguments_same_trials():
    task = EvidenceAccumulation()
    first = task.trials(1, "train", 3, 8)
    task.trials(1, "train", 4, 8)
    again = EvidenceAccumulation().trials(1, "train", 3, 8)
    assert np.array_equal(first.inputs, again.inputs)
    assert np.array_equal(first.target, again.target)


@pytest.mark.parametrize("changed", [(2, "train", 3), (1, "test", 3), (1, "train", 4)])
def test_other_arguments_other_trials(changed):
    task = EvidenceAccumulation()
    assert not np.array_equal(task.trials(1, "train", 3, 8).inputs, task.trials(*changed, 8).inputs)


def test_settings_change_the_timing():
    task = EvidenceAccumulation(
        n_cues=3,
        cue_duration=20 * ms,
        pause_duration=5 * ms,
        delay=0 * ms,
        recall_duration=10 * ms,
        group_size=2,
        dt=0.5 * ms,
        cue_rate=2000 * Hz,
        recall_rate=2000 * Hz,
        background_rate=0 * Hz,
    )
    assert (task.n_steps, task.n_inputs, task.learning_window) == (170, 8, 20)
    spikes = task.trials(1, "train", 0, 4).inputs
    cue = np.tile(np.arange(50) >= 10, 3)
    expected = np.concatenate([cue, np.zeros(20, dtype=bool)])
    assert np.array_equal(spikes[:, :, :4].any(axis=2), np.tile(expected, (4, 1)))
    assert np.all(spikes[:, 150:, 4:6])
    assert not spikes[:, :150, 4:].any()
    assert not spikes[:, :, 6:].any()


def test_errors(trials):
    outputs = np.tile([0.4, 0.6], (400, 1))
    errors = EvidenceAccumulation().errors(outputs, trials)
    assert np.array_equal(errors, trials.target == 0)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n_cues": 6}, ValueError, "n_cues must be odd"),
        ({"n_cues": 0}, ValueError, "n_cues must be at least 1"),
        ({"group_size": 0}, ValueError, "group_size must be at least 1"),
        ({"p_favoured": 1.2}, ValueError, "p_favoured must lie between 0 and 1"),
        ({"cue_rate": 2000 * Hz}, ValueError, r"cue_rate \* dt must lie between 0 and 1"),
        ({"background_rate": -1 * Hz}, ValueError, "background_rate"),
        ({"recall_rate": 40}, DimensionMismatchError, "recall_rate must be given in units such as"),
        ({"delay": 1050}, DimensionMismatchError, "delay must be given in units such as ms"),
        ({"delay": 10.5 * ms}, ValueError, "delay = 10.5 ms is not a whole number of steps"),
        ({"recall_duration": 0 * ms}, ValueError, "recall_duration must last at least 1 steps"),
        ({"dt": 1 * Hz}, DimensionMismatchError, "dt must be given in units such as ms"),
    ],
)
def test_invalid_settings(settings, error, message):
    with pytest.raises(error, match=message):
        EvidenceAccumulation(**settings)


def test_invalid_number_of_trials():
    with pytest.raises(ValueError, match="n_trials must be at least 1"):
        EvidenceAccumulation().trials(1, "train", 0, 0)
