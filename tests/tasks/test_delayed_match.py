"""Timing, groups and classes of delayed match to sample."""

import numpy as np
import pytest
from brian2 import DimensionMismatchError, Hz, ms

from eprop_brian.tasks import DelayedMatch

A, B, RECALL, BACKGROUND = (slice(10 * k, 10 * k + 10) for k in range(4))
SAMPLE, TEST, RECALL_PERIOD = slice(50, 200), slice(900, 1050), slice(1050, 1200)


@pytest.fixture(scope="module")
def trials():
    return DelayedMatch().trials(1, "train", 0, 400)


def is_b(spikes, period):
    """Whether the cue in a period is B, shape (n_trials,); it is A or B in every trial."""
    a, b = (spikes[:, period, group].any(axis=(1, 2)) for group in (A, B))
    assert np.all(a != b)
    return b


def test_defaults(trials):
    task = DelayedMatch()
    assert (task.n_steps, task.n_inputs, task.n_outputs) == (1200, 40, 2)
    assert task.cue_starts == [50, 900]
    assert task.learning_window == 150
    assert task.loss == "softmax_cross_entropy"
    assert trials.inputs.shape == (400, 1200, 40)
    assert trials.targets.tolist() == [[[1.0, 0.0]], [[0.0, 1.0]]]


def test_class_says_whether_the_cues_are_the_same(trials):
    sample, test = is_b(trials.inputs, SAMPLE), is_b(trials.inputs, TEST)
    assert np.array_equal(trials.target == 1, sample == test)
    # Neither cue alone tells the class.
    for cue in (sample, test):
        assert cue.mean() == pytest.approx(0.5, abs=0.1)
        assert trials.target[cue].mean() == pytest.approx(0.5, abs=0.15)


def test_groups_are_silent_outside_their_periods(trials):
    spikes = trials.inputs.copy()
    spikes[:, SAMPLE] = spikes[:, TEST] = False
    assert not spikes[:, :, :20].any()
    assert not trials.inputs[:, :1050, RECALL].any()
    assert not trials.inputs[:, 0].any()


def test_rates(trials):
    spikes = trials.inputs
    for cue in (SAMPLE, TEST):
        assert spikes[:, cue, :20].mean() == pytest.approx(0.1 / 2, rel=0.03)
    assert spikes[:, RECALL_PERIOD, RECALL].mean() == pytest.approx(0.04, rel=0.03)
    assert spikes[:, 1:, BACKGROUND].mean() == pytest.approx(0.01, rel=0.03)


def test_trials_depend_on_their_arguments_alone():
    task = DelayedMatch()
    first = task.trials(1, "train", 3, 8)
    task.trials(1, "train", 4, 8)
    again = DelayedMatch().trials(1, "train", 3, 8)
    assert np.array_equal(first.inputs, again.inputs)
    assert np.array_equal(first.target, again.target)
    for other in ((2, "train", 3), (1, "test", 3), (1, "train", 4)):
        assert not np.array_equal(first.inputs, task.trials(*other, 8).inputs)


def test_settings_change_the_timing():
    task = DelayedMatch(
        fixation_duration=0 * ms,
        cue_duration=10 * ms,
        delay=5 * ms,
        recall_duration=20 * ms,
        dt=0.5 * ms,
        cue_rate=2000 * Hz,
        background_rate=0 * Hz,
        group_size=1,
    )
    assert (task.n_steps, task.n_inputs, task.learning_window) == (90, 4, 40)
    cues = task.trials(1, "train", 0, 4).inputs[:, :, :2].any(axis=2)
    expected = np.zeros(90, dtype=bool)
    expected[1:20] = expected[30:50] = True
    assert np.array_equal(cues, np.tile(expected, (4, 1)))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"fixation_duration": 50}, DimensionMismatchError, "fixation_duration must be given in"),
        ({"delay": 10.5 * ms}, ValueError, "delay = 10.5 ms is not a whole number of steps"),
        ({"cue_duration": 0 * ms}, ValueError, "cue_duration must last at least 1 steps"),
        ({"cue_rate": 2000 * Hz}, ValueError, r"cue_rate \* dt must lie between 0 and 1"),
        ({"recall_rate": 40}, DimensionMismatchError, "recall_rate must be given in units such as"),
        ({"group_size": 0}, ValueError, "group_size must be at least 1"),
    ],
)
def test_invalid_settings(settings, error, message):
    with pytest.raises(error, match=message):
        DelayedMatch(**settings)
