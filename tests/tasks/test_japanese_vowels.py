"""Real speech of nine speakers: what is read, and what counts as right."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest

from eprop_brian.tasks import get_task
from eprop_brian.tasks.datasets import DataError
from eprop_brian.tasks.japanese_vowels import read_series

needs_aeon = pytest.mark.skipif(find_spec("aeon") is None, reason="needs aeon")


@needs_aeon
def test_data():
    task = get_task("japanese-vowels")
    assert "aeon" not in sys.modules
    parts = task.utterances
    assert [len(parts[p]) for p in ("train", "validation", "confirmation", "test")] == [
        243,
        13,
        14,
        370,
    ]
    frames = [len(u.features) for members in parts.values() for u in members]
    assert (min(frames), max(frames)) == (7, 29)
    assert task.classes == [*"123456789"]
    assert (task.n_steps, task.n_inputs) == (145, 24)
    trials = task.trials(1, "test", 0, 370)
    assert sorted(trials.lengths) == sorted(5 * len(u.features) for u in parts["test"])
    assert not trials.inputs[np.arange(145) >= trials.lengths[:, np.newaxis]].any()
    first = parts["test"][0]
    assert first.features.shape == (len(first.labels), 12)
    np.testing.assert_allclose(first.features[:2, 0], [1.303905, 1.288280], atol=1)


@needs_aeon
def test_a_linear_discriminant_gets_what_was_measured():
    """The yardstick of the documentation: .906 of frames, .949 of utterances by their votes."""
    discriminant = pytest.importorskip("sklearn.discriminant_analysis")
    task = get_task("japanese-vowels")
    parts = task.utterances
    others = ("train", "validation", "confirmation")
    learned = [task.normalised(u) for part in others for u in parts[part]]
    z, classes = (np.concatenate(column) for column in zip(*learned, strict=True))
    model = discriminant.LinearDiscriminantAnalysis().fit(z, classes)
    tested = [task.normalised(u) for u in parts["test"]]
    answers = [model.predict(z) for z, _ in tested]
    frames = np.mean(np.concatenate(answers) == np.concatenate([c for _, c in tested]))
    votes = [np.bincount(a).argmax() == c[0] for a, (_, c) in zip(answers, tested, strict=True)]
    assert frames == pytest.approx(0.906, abs=0.002)
    assert np.mean(votes) == pytest.approx(0.949, abs=0.004)


@needs_aeon
def test_frames_and_utterances_are_counted_by_hand():
    task = get_task("japanese-vowels")
    trials = task.trials(1, "test", 0, 20)
    rng = np.random.default_rng(0)
    outputs = rng.dirichlet(np.ones(9), (20, 29))
    present = trials.counted(task.learning_window) > 0
    outputs[~present] = np.nan
    frames, utterances = np.zeros((9, 9), int), np.zeros((9, 9), int)
    for k in range(20):
        n = present[k].sum()
        (right,) = {trials.classes(task.learning_window)[k, j] for j in range(n)}
        for output in outputs[k, :n]:
            frames[right, output.argmax()] += 1
        utterances[right, outputs[k, :n].sum(axis=0).argmax()] += 1
    counts = task.confusions(outputs, trials)
    np.testing.assert_array_equal(counts["frames"], frames)
    np.testing.assert_array_equal(counts["utterances"], utterances)
    whole = get_task("japanese-vowels", answer="utterance")
    trials = whole.trials(1, "test", 0, 20)
    assert trials.n_answers == 1
    mean = np.nanmean(outputs, axis=1)[:, np.newaxis]
    counts = whole.confusions(mean, trials)
    assert [*counts] == ["utterances"]
    np.testing.assert_array_equal(counts["utterances"], utterances)


@needs_aeon
def test_noise_is_in_training_alone_and_utterances_may_have_their_own_scale():
    plain, noisy = (get_task("japanese-vowels", coding="analog", feature_noise=x) for x in (0, 0.5))
    for stream, deviation in (("train", 0.5), ("test", 0.0)):
        difference = noisy.trials(1, stream, 0, 30).inputs - plain.trials(1, stream, 0, 30).inputs
        shown = plain.trials(1, stream, 0, 30).periods[:, ::5] > 0
        assert difference[:, ::5][shown].std() == pytest.approx(deviation, rel=0.05)
    own = get_task("japanese-vowels", normalisation="utterance")
    z, _ = own.normalised(own.utterances["test"][0])
    np.testing.assert_allclose([z.mean(axis=0), z.std(axis=0)], [[0] * 12, [1] * 12], atol=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@data\n1,2:3,4,5:a\n", "line 2: expected features of equal length and a class"),
        ("1,x:3,4:a\n", "line 1: expected features"),
        ("1,2:3,4:\n", "line 1: expected features"),
        ("1,nan:3,4:a\n", "line 1: expected features"),
        ("# nothing\n", "holds no series"),
    ],
)
def test_damaged_series_are_named(tmp_path, text, message):
    (tmp_path / "a.ts").write_text(text)
    with pytest.raises(DataError, match=message):
        read_series(tmp_path / "a.ts")


def test_an_utterance_is_no_sequence_of_labels():
    with pytest.raises(ValueError, match="answer must be one of frames, utterance, got 'labels'"):
        get_task("japanese-vowels", answer="labels")


def test_missing_folder():
    with pytest.raises(DataError, match="path = nowhere is not a folder"):
        get_task("japanese-vowels", path="nowhere")
