"""Labels of trials: what can be shown, what frames say, and how far that is from right."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from eprop_brian.tasks.labels import beam_labels, edit_distance, greedy_labels, label_errors
from eprop_brian.tasks.symbol_strings import SymbolStrings
from eprop_brian.tasks.trials import Trials, join_trials
from support.labels import labelled_trials, said, softmax


def one_hot(path, n_outputs=4):
    return np.eye(n_outputs)[list(path)]


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ([0, 0, 3, 1, 3, 1], [0, 1, 1]),
        ([3, 3, 3], []),
        ([2, 2, 2], [2]),
        ([3, 0, 1, 0, 3], [0, 1, 0]),
        ([], []),
    ],
)
def test_frames_say_labels(path, labels):
    p = one_hot(path).reshape(len(path), 4)
    assert greedy_labels(p) == labels
    assert beam_labels(p) == labels


def test_frames_whose_outputs_are_equal_show_no_label():
    assert greedy_labels(np.full((3, 4), 0.25)) == []
    p = np.array([[0.4, 0.4, 0.2], [0.4, 0.2, 0.4], [0.2, 0.4, 0.4]])
    assert greedy_labels(p) == [0]


def test_a_beam_sums_over_ways_where_the_best_path_does_not():
    # The best path is blank, blank with probability .36; the label has .64 by its three ways.
    p = np.array([[0.4, 0.6], [0.4, 0.6]])
    assert greedy_labels(p) == []
    assert beam_labels(p) == [0]


@pytest.mark.parametrize("seed", range(6))
def test_a_wide_beam_finds_the_most_probable_labels(seed):
    rng = np.random.default_rng(seed)
    p = softmax(2 * rng.normal(size=(5, 3)))
    of_labels = {}
    for path in itertools.product(range(3), repeat=5):
        labels = tuple(said(path, 2))
        own = np.prod(p[np.arange(5), path])
        of_labels[labels] = of_labels.get(labels, 0) + own
    assert tuple(beam_labels(p, 100)) == max(of_labels, key=of_labels.get)


def test_a_beam_does_not_underflow():
    p = np.tile([[0.001, 0.002, 0.997]], (500, 1))
    p[200] = [0.9, 0.05, 0.05]
    assert beam_labels(p, 4) == [0]


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [
        ([1, 2, 3], [1, 2, 3], 0),
        ([], [1, 2], 2),
        ([1, 2], [], 2),
        ([], [], 0),
        ([1, 2, 3], [1, 3], 1),
        ([1, 2, 3], [4, 2, 5, 3], 2),
        # "kitten" and "sitting".
        ([*b"kitten"], [*b"sitting"], 3),
        ([*b"intention"], [*b"execution"], 5),
    ],
)
def test_edit_distances(first, second, distance):
    assert edit_distance(first, second) == distance
    assert edit_distance(second, first) == distance


def test_errors_are_edits_over_labels():
    trials = labelled_trials()
    outputs = np.full((3, 9, 4), np.nan)
    # One of [0, 0, 2] is missing; 1 is replaced by 0 and more; nothing to show, but something is.
    outputs[0, :8] = one_hot([0, 0, 3, 3, 3, 2, 3, 3])
    outputs[1, :6] = one_hot([0, 3, 0, 3, 2, 2])
    outputs[2, :7] = one_hot([3, 3, 1, 1, 3, 2, 3])
    for width in (1, 5):
        errors = label_errors(outputs, trials, width)
        np.testing.assert_allclose(errors, [1 / 3, 3.0, 2.0])
    assert trials.label_counts.tolist() == [3, 1, 0]
    np.testing.assert_array_equal(SymbolStrings(n_symbols=3).errors(outputs, trials), errors)
    outputs[0, 2] = np.nan
    with pytest.raises(ValueError, match="outputs contain NaN"):
        label_errors(outputs, trials)
    with pytest.raises(ValueError, match=r"shape \(n_trials, n_frames, n_outputs\) = \(3, 9, 4\)"):
        label_errors(outputs[:, :8], trials)
    with pytest.raises(ValueError, match="have no labels"):
        label_errors(outputs, replace(trials, labels=None))


def with_labels(labels, n_frames=3, **more):
    periods = np.repeat(np.arange(1, n_frames + 1), 2)[np.newaxis]
    arrays = {"periods": np.repeat(periods, len(labels), axis=0), "labels": labels} | more
    each = np.zeros(1, int)
    inputs = np.zeros((1, 2 * n_frames, 2), bool)
    return Trials(inputs, np.zeros((len(labels), 1, 3)), each, each + len(labels) - 1, **arrays)


@pytest.mark.parametrize(
    ("labels", "more", "message"),
    [
        ([[0, 1, 0, 1]], {}, "trial 1 has 4 labels but only 3 frames to show them in"),
        (
            [[0, -1], [1, 1]],
            {"n_frames": 2},
            "trial 1 has 2 labels, which take 3 frames as equal ones need one between, but only 2",
        ),
        ([[1, 1], [0, -1]], {"n_frames": 2}, "target 1 has 2 labels, which take 3 frames"),
        ([[-1, 0]], {}, "0 or greater, and -1 from the end of a sequence on"),
        ([[-2]], {}, "0 or greater, and -1 from"),
        ([[0.5]], {}, r"integers of shape \(1 targets, most_labels\), got float64 \(1, 1\)"),
        ([[]], {}, r"integers of shape \(1 targets, most_labels\)"),
        ([0], {}, r"integers of shape"),
        ([[0]], {"periods": None}, "labels are of frames: give periods"),
        (
            [[0]],
            {"periods": [[1, 1, 3, 3, 3, 3]]},
            "trial 1 has labels, but no step of its frame 2",
        ),
    ],
)
def test_labels_that_cannot_be_shown_are_refused(labels, more, message):
    with pytest.raises(ValueError, match=message):
        with_labels(labels, **more)


def test_labels_go_with_their_targets():
    trials = labelled_trials()
    assert (trials.most_labels, trials.of_targets["labels"].tolist()[0]) == (3, [0, 0, 2])
    part = trials.part(slice(1, 2))
    assert part.labels.tolist() == [[1, -1, -1]]
    joined = join_trials([part, trials])
    np.testing.assert_array_equal(joined.labels[joined.target], trials.labels[[1, 0, 1, 2]])
    for others in (replace(trials, labels=None), replace(trials, labels=trials.labels[:, :1] * 0)):
        with pytest.raises(ValueError, match="with and without labels, or with rows of labels"):
            join_trials([trials, others])
    # As many frames as labels are enough, where none comes twice in a row.
    assert with_labels([[0, 1, 0]]).label_counts.tolist() == [3]
