"""Real images in two codings, and which of them each stream may show."""

import sys

import numpy as np
import pytest
from brian2 import DimensionMismatchError, Hz, ms

from eprop_brian.tasks import Digits
from eprop_brian.tasks.datasets import DataError, part_of
from eprop_brian.tasks.digits import CODINGS, _digits

PARTS = ("train", "validation", "confirmation", "test")


def test_defaults():
    task = Digits()
    trials = task.trials(1, "train", 0, 5)
    assert (task.n_steps, task.n_inputs, task.n_outputs, task.learning_window) == (40, 64, 10, 10)
    assert task.loss == "softmax_cross_entropy"
    assert trials.inputs.shape == (5, 40, 64)
    assert np.array_equal(trials.targets[:, 0], np.eye(10))
    assert not trials.inputs[:, 0].any()


def test_every_image_is_in_one_part():
    images = {part: {tuple(image) for image in Digits().images(part)} for part in PARTS}
    assert [len(images[part]) for part in PARTS] == [1157, 64, 64, 512]
    assert len(set().union(*images.values())) == 1797
    for part in PARTS:  # all digits, none of them rare
        counts = np.bincount(Digits().labels(part), minlength=10)
        assert counts.min() > counts.sum() / 40


def test_streams_show_their_own_part():
    assert part_of("train") == "train"
    assert part_of("validation 310") == part_of("validation") == "validation"
    assert part_of("validation 310 again") == "confirmation"
    assert part_of("test") == part_of("anything else") == "test"


@pytest.mark.parametrize(
    ("stream", "n"),
    [("train", 1157), ("validation 10", 64), ("validation 10 again", 64), ("test", 512)],
)
def test_every_image_comes_once_before_any_comes_again(stream, n):
    task = Digits()
    assert task.n_examples(stream) == n
    rows = np.concatenate([task.rows(1, stream, index, 64) for index in range(n // 64 + 1)])
    assert sorted(rows[:n]) == list(range(n))
    # Another order in the next round, for another seed and in another stream.
    again = np.concatenate([task.rows(1, stream, index, n) for index in range(2)])
    assert np.array_equal(again[: len(rows)], rows)
    assert not np.array_equal(again[:n], again[n:])
    assert not np.array_equal(task.rows(2, stream, 0, n), again[:n])
    assert not np.array_equal(task.rows(1, stream + "x", 0, 128), again[:128])


def test_targets_are_the_digits_shown():
    task = Digits()
    trials, rows = task.trials(3, "test", 2, 20), task.rows(3, "test", 2, 20)
    assert np.array_equal(trials.target, task.labels("test")[rows])


def test_poisson_rates_are_the_intensities():
    task = Digits(duration=2000 * ms, answer_duration=1 * ms)
    spikes = task.trials(1, "test", 0, 10).inputs[:, 1:]
    p = 0.5 * task.images("test")[task.rows(1, "test", 0, 10)]
    assert np.all(np.abs(spikes.mean(axis=1) - p) <= 5 * np.sqrt(p * (1 - p) / 1999))


def test_latency_is_the_darkness():
    task = Digits(coding="latency", jitter=0 * ms)
    spikes = task.trials(1, "test", 0, 10).inputs
    images = task.images("test")[task.rows(1, "test", 0, 10)]
    assert np.array_equal(spikes.sum(axis=1), images >= 0.15)  # once or never
    step = spikes.argmax(axis=1)
    assert np.all(step[images == 1] == 1)
    assert step.max() < 30  # all is seen before the answer
    seen = images[images >= 0.15]
    assert np.array_equal(step[images >= 0.15], np.rint(1 + (1 - seen) / 0.85 * 28))
    # The same whenever the image comes.
    rows = np.array([7, 7])
    first, second = task.inputs("test", rows, np.random.default_rng(1))
    assert np.array_equal(first, second)


def test_analog_inputs_are_the_intensities():
    task = Digits(coding="analog")
    trials = task.trials(1, "test", 0, 10)
    assert trials.analog
    images = task.images("test")[task.rows(1, "test", 0, 10)]
    assert np.array_equal(trials.inputs, np.repeat(images[:, np.newaxis], 40, axis=1))


def test_jitter_moves_spikes_within_what_is_seen():
    exact, jittered = (
        Digits(coding="latency", jitter=jitter).trials(1, "test", 0, 100).inputs
        for jitter in (0 * ms, 2 * ms)
    )
    assert np.array_equal(exact.sum(axis=1), jittered.sum(axis=1))
    assert not jittered[:, 0].any() and not jittered[:, 30:].any()
    inner = exact[:, 8:22].any(axis=1)  # far from the ends, which cut the noise off
    moved = jittered.argmax(axis=1)[inner] - exact.argmax(axis=1)[inner]
    assert abs(moved.mean()) < 0.2
    assert moved.std() == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("coding", CODINGS)
def test_trials_depend_on_their_arguments_alone(coding):
    task = Digits(coding=coding)
    first = task.trials(1, "train", 3, 8)
    task.trials(1, "train", 4, 8)
    again = Digits(coding=coding).trials(1, "train", 3, 8)
    assert np.array_equal(first.inputs, again.inputs)
    assert np.array_equal(first.target, again.target)
    for other in ((2, "train", 3), (1, "test", 3), (1, "train", 4)):
        assert not np.array_equal(first.inputs, task.trials(*other, 8).inputs)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"coding": "rate"}, ValueError, "coding must be one of poisson, latency, analog, got"),
        ({"max_rate": 2000 * Hz}, ValueError, r"max_rate \* dt must lie between 0 and 1"),
        ({"max_rate": 200}, DimensionMismatchError, "max_rate must be given in units such as Hz"),
        ({"duration": 100}, DimensionMismatchError, "duration must be given in units such as ms"),
        ({"faintest": 1.0}, ValueError, "faintest must lie between 0 and 1, got 1.0"),
        ({"jitter": -1 * ms}, ValueError, "jitter must not be negative"),
        ({"jitter": 3}, DimensionMismatchError, "jitter must be given in units such as ms"),
        ({"answer_duration": 200 * ms}, ValueError, "is longer than the trial"),
        (
            {"coding": "latency", "answer_duration": 39 * ms},
            ValueError,
            "latency coding needs at least two steps before the answer",
        ),
    ],
)
def test_invalid_settings(settings, error, message):
    with pytest.raises(error, match=message):
        Digits(**settings)


def test_missing_library_is_named(monkeypatch):
    _digits.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match=r"needs scikit-learn, .* pip install scikit-learn, or all"):
        Digits()
