"""One frozen spike pattern and one sum of sines per seed."""

import numpy as np
import pytest
from brian2 import DimensionMismatchError, Hz, ms

from eprop_brian.base.random import rng_for
from eprop_brian.tasks import PatternGeneration
from eprop_brian.tasks.pattern_generation import superimposed_sines


def test_defaults():
    task = PatternGeneration()
    trials = task.trials(1, "train", 0, 3)
    assert trials.inputs.shape == (1, 1000, 100)
    assert trials.targets.shape == (1, 1000, 1)
    assert trials.pattern.tolist() == trials.target.tolist() == [0, 0, 0]
    assert task.learning_window == task.n_steps == 1000
    assert task.loss == "squared_error"
    assert task.error_threshold is None


def test_everything_depends_on_the_seed_alone():
    task = PatternGeneration()
    trials = task.trials(1, "train", 0, 1)
    same = PatternGeneration().trials(1, "validation", 7, 4)
    other = task.trials(2, "train", 0, 1)
    assert np.array_equal(trials.inputs, same.inputs)
    assert np.array_equal(trials.targets, same.targets)
    assert not np.array_equal(trials.inputs, other.inputs)
    assert not np.array_equal(trials.targets, other.targets)


def test_frozen_arrays_cannot_be_changed():
    trials = PatternGeneration().trials(1, "train", 0, 1)
    with pytest.raises(ValueError, match="read-only"):
        trials.inputs[0, 1, 0] = True
    with pytest.raises(ValueError, match="read-only"):
        trials.targets[0, 1, 0] = 0.0


def test_target_does_not_depend_on_the_inputs():
    targets = PatternGeneration().trials(1, "train", 0, 1).targets
    fewer_inputs = PatternGeneration(n_inputs=5).trials(1, "train", 0, 1).targets
    assert np.array_equal(targets, fewer_inputs)


def test_input_rate():
    spikes = PatternGeneration(n_inputs=2000).trials(3, "train", 0, 1).inputs[0]
    assert not spikes[0].any()
    assert spikes[1:].mean() == pytest.approx(0.05, rel=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_target_starts_at_zero_and_reaches_one(seed):
    target = PatternGeneration(n_outputs=3).trials(seed, "train", 0, 1).targets[0]
    assert np.all(target[0] == 0)
    assert np.abs(target).max(axis=0) == pytest.approx(1.0)


def test_target_is_a_sum_of_sines_of_the_given_periods():
    # Over 1000 steps these periods are whole cycles: all other frequencies are absent.
    target = superimposed_sines(rng_for(1, "target"), [1000, 500, 250, 200], 1000, 1)
    spectrum = np.abs(np.fft.rfft(target[:, 0])) / 500
    cycles = [1, 2, 4, 5]
    amplitude = spectrum[cycles]
    assert amplitude.max() / amplitude.min() < 4.0  # drawn between 0.5 and 2
    spectrum[[0, *cycles]] = 0
    assert spectrum.max() < 1e-12


def test_periods_are_times_not_steps():
    fine = PatternGeneration(dt=0.5 * ms, n_steps=2000).trials(1, "train", 0, 1).targets[0]
    coarse = PatternGeneration().trials(1, "train", 0, 1).targets[0]
    scale = fine[2] / coarse[1]  # the finer grid may find a slightly higher peak
    assert fine[::2] == pytest.approx(coarse * scale, abs=1e-12)
    assert scale == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"periods": (1000, 500)}, DimensionMismatchError, "periods must be given in units such"),
        ({"periods": (10 * Hz,)}, DimensionMismatchError, "periods"),
        ({"periods": 500 * ms}, ValueError, "periods must be a sequence"),
        ({"periods": ()}, ValueError, "periods must be a sequence"),
        ({"periods": (1 * ms,)}, ValueError, "at least two steps"),
        ({"spike_probability": 1.5}, ValueError, "spike_probability must lie between 0 and 1"),
        ({"n_steps": 1}, ValueError, "n_steps must be at least 2"),
        ({"n_inputs": 0}, ValueError, "n_inputs must be at least 1"),
        ({"dt": 1}, DimensionMismatchError, "dt must be given in units such as ms"),
    ],
)
def test_invalid_settings(settings, error, message):
    with pytest.raises(error, match=message):
        PatternGeneration(**settings)


def test_invalid_number_of_trials():
    with pytest.raises(ValueError, match="n_trials must be at least 1"):
        PatternGeneration().trials(1, "train", 0, 0)
