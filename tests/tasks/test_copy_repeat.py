"""Layout and levels of copy and repeat."""

import numpy as np
import pytest

from eprop_brian.tasks import CopyRepeat, get_task
from eprop_brian.tasks.copy_repeat import Level

ARGUMENTS = (1, "train", 0, 50)


def test_a_trial_is_as_it_is_drawn():
    task = CopyRepeat(n_bits=2, length=2, repeats=3)
    assert (task.n_steps, task.n_inputs, task.n_outputs, task.learning_window) == (11, 4, 3, 7)
    trials, patterns = task.trials(*ARGUMENTS), task.patterns(*ARGUMENTS)
    for x, target, pattern in zip(trials.inputs, trials.targets, patterns, strict=True):
        shown = np.zeros((11, 4))
        shown[0, 2] = 1
        shown[1:3, :2] = pattern
        shown[3, 3] = 0.3
        np.testing.assert_array_equal(x, shown)
        wanted = np.zeros((11, 3))
        for repeat in range(3):
            wanted[4 + 2 * repeat : 6 + 2 * repeat, :2] = pattern
        wanted[10, 2] = 1
        np.testing.assert_array_equal(target, wanted)
    assert 0.4 < patterns.mean() < 0.6


def test_trials_follow_from_their_arguments():
    task = CopyRepeat(length=3)
    first, again = task.trials(*ARGUMENTS), task.trials(*ARGUMENTS)
    np.testing.assert_array_equal(first.inputs, again.inputs)
    assert np.any(first.inputs != task.trials(1, "train", 1, 50).inputs)
    assert task.errors(np.zeros((50, 9)), first) is None


def test_the_curriculum_lengthens_what_is_shorter():
    level, levels = Level(), []
    for _ in range(6):
        levels.append((*level, level.n_steps))
        level = level.next()
    assert levels == [(1, 1, 5), (2, 1, 7), (2, 2, 9), (3, 2, 12), (3, 3, 15), (4, 3, 19)]


@pytest.mark.parametrize("setting", ["n_bits", "length", "repeats"])
def test_settings_are_checked(setting):
    with pytest.raises(ValueError, match=setting):
        get_task("copy-repeat", **{setting: 0})
