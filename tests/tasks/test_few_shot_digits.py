"""The family of turned digits: classes, labels, what is held out."""

import numpy as np
import pytest
from brian2 import ms

from eprop_brian.tasks.few_shot_digits import FewShotDigits

pytest.importorskip("sklearn")


def digit_of(images):
    """The digit of each image, and its turn, by the images that ship with scikit-learn."""
    from sklearn.datasets import load_digits

    data = load_digits()
    known = {}
    for turns in range(4):
        plain = data.images / 16
        centred = plain - plain.mean(axis=(1, 2), keepdims=True)
        turned = np.rot90(centred, turns, axes=(1, 2)).reshape(-1, 64)
        known |= {
            row.tobytes(): (int(d), turns) for row, d in zip(turned, data.target, strict=True)
        }
    return [known[np.ascontiguousarray(image).tobytes()] for image in images]


def test_a_task_has_one_example_of_each_class():
    family = FewShotDigits(n_queries=3)
    batch = family.draw(1, "train", 0, 4)
    support, query = batch.support, batch.query
    assert support.inputs.shape == (4 * 5, 40, 64 + 5) and query.inputs.shape == (60, 40, 69)
    labels = support.classes(10)[:, 0].reshape(4, 5)
    np.testing.assert_array_equal(np.sort(labels), np.tile(np.arange(5), (4, 1)))
    assert len({tuple(order) for order in labels}) > 1
    np.testing.assert_array_equal(support.inputs[:, 0, 64:], np.eye(5)[labels.ravel()])
    assert not np.any(query.inputs[:, :, 64:])
    assert np.all(support.inputs == support.inputs[:, :1])
    for task in range(4):
        part = batch.part(slice(task, task + 1))
        shown = part.support.inputs[part.support.pattern][:, 0, :64]
        asked = part.query.inputs[part.query.pattern][:, 0, :64]
        numbers = dict(zip(digit_of(shown), labels[task], strict=True))
        assert len(numbers) == 5
        answers = part.query.classes(10)[:, 0]
        assert [numbers[c] for c in digit_of(asked)] == [*answers]
        np.testing.assert_array_equal(np.bincount(answers), 3)
        assert not {x.tobytes() for x in shown} & {x.tobytes() for x in asked}


def test_digits_of_the_test_are_in_no_other_task():
    family = FewShotDigits()
    seen = {}
    for stream in ("train", "test"):
        support = family.draw(1, stream, 0, 30).support
        seen[stream] = {digit for digit, _ in digit_of(support.inputs[:, 0, :64])}
    assert seen == {"train": {0, 1, 2, 3, 4, 5, 6}, "test": {7, 8, 9}}


def test_answers_are_those_of_the_last_steps():
    family = FewShotDigits()
    query = family.draw(1, "test", 0, 1).query
    outputs = np.zeros((10, 40, 5))
    outputs[:, :30] = 9.0 * np.eye(5)[0]
    right = query.classes(family.learning_window)[:, 0]
    outputs[np.arange(10), 35, right] = 1.0
    assert not np.any(family.errors(outputs, query))
    outputs[3, 35] = np.roll(outputs[3, 35], 1)
    np.testing.assert_array_equal(family.errors(outputs, query), np.arange(10) == 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_ways": 13}, "n_ways must be from 2 to 12"),
        ({"n_ways": 1}, "n_ways must be from 2"),
        ({"n_shots": 0}, "n_shots"),
        ({"answer_duration": 50 * ms}, "answer_duration is longer"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        FewShotDigits(**settings)
