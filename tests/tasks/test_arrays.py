"""Tasks of arrays: what each stream shows, and what does not fit."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms

from eprop_brian import LIF, Network, RunConfig, Trainer
from eprop_brian.tasks import ArrayTask, get_task
from eprop_brian.tasks.datasets import DataError
from support.data_sets import write_arrays

STREAMS = ("train", "validation 10", "validation 10 again", "test")
RNG = np.random.default_rng(0)
SPIKES = RNG.random((20, 8, 3)) < 0.3
CLASSES = np.arange(20) % 4
SIGNALS = RNG.normal(size=(20, 8, 2))


def shown(task, stream):
    """Numbers of the trials that a stream shows, found by their targets."""
    n = task.n_examples(stream)
    trials = task.trials(1, stream, 0, n)
    return sorted(int(np.flatnonzero((x == SPIKES).all(axis=(1, 2)))[0]) for x in trials.inputs)


def test_parts_are_apart_and_together_everything():
    task = ArrayTask(inputs=SPIKES, targets=CLASSES)
    parts = [shown(task, stream) for stream in STREAMS]
    assert [len(part) for part in parts] == [12, 2, 2, 4]
    assert sorted(sum(parts, [])) == list(range(20))
    trials = task.trials(3, "train", 0, 5)
    rows = [int(np.flatnonzero((x == SPIKES).all(axis=(1, 2)))[0]) for x in trials.inputs]
    np.testing.assert_array_equal(trials.target, CLASSES[rows])
    assert (task.n_outputs, task.loss) == (4, "softmax_cross_entropy")


def test_signals_and_an_answer():
    task = ArrayTask(inputs=SPIKES.astype(float), targets=SIGNALS, answer=3 * ms)
    trials = task.trials(1, "train", 0, 4)
    assert trials.analog and (task.learning_window, task.loss) == (3, "squared_error")
    for x, y in zip(trials.inputs, trials.targets, strict=True):
        k = int(np.flatnonzero((x == SPIKES).all(axis=(1, 2)))[0])
        np.testing.assert_array_equal(y, SIGNALS[k])


def test_held_out_trials_can_be_given():
    task = ArrayTask(
        inputs=SPIKES[:10],
        targets=CLASSES[:10],
        validation=(SPIKES[10:14], CLASSES[10:14]),
        test=(SPIKES[14:], CLASSES[14:]),
    )
    parts = [shown(task, stream) for stream in STREAMS]
    assert parts == [[*range(10)], [10, 11], [12, 13], [*range(14, 20)]]


def test_one_trial_is_shown_everywhere_and_stored_once():
    task = ArrayTask(inputs=SPIKES[:1], targets=SIGNALS[:1])
    first, second = (task.trials(1, stream, 0, 3) for stream in ("train", "test"))
    assert first.inputs is second.inputs and first.n_trials == 3


def test_examples_that_never_change_are_shown_once():
    """However many batches there are to be, unless neurons are noisy."""
    many = np.repeat(SPIKES, 20, axis=0), np.repeat(CLASSES, 20)
    task = ArrayTask(inputs=many[0], targets=many[1])
    n_test, n_validation = task.n_examples("test"), task.n_examples("validation 10")
    assert 64 < n_test < 128 and n_validation < 64
    network = Network.for_task(task, [(LIF, 3)])
    trainer = Trainer(network, task, batch_size=2, device="runtime")
    assert trainer.evaluate().n_trials == trainer.evaluate(8).n_trials == n_test
    assert trainer.evaluate(1).n_trials == 64
    trainer.train(1, validate_every=1, progress=False)
    assert trainer.validation.n_trials == trainer.validation.n_examples == n_validation
    noisy = replace(LIF, update=LIF.update + " + 0.01*randn()")
    assert "randn" in noisy.update
    trainer = Trainer(Network.for_task(task, [(noisy, 3)]), task, device="runtime")
    assert (trainer.evaluate().n_trials, trainer.evaluate(3).n_trials) == (n_test, 192)


def test_a_file(tmp_path):
    task = get_task("arrays", file=str(write_arrays(tmp_path)))
    assert (task.n_inputs, task.n_outputs, task.n_steps) == (6, 3, 20)
    with pytest.raises(DataError, match="none.npz: no such file"):
        get_task("arrays", file=str(tmp_path / "none.npz"))
    with pytest.raises(DataError, match="needs the setting file"):
        get_task("arrays")
    np.savez(tmp_path / "pickled.npz", inputs=np.array([None]), targets=CLASSES)
    with pytest.raises(DataError, match="not an .npz of plain arrays"):
        get_task("arrays", file=str(tmp_path / "pickled.npz"))


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"inputs": SPIKES}, "the array 'targets' is missing"),
        ({"inputs": SPIKES.astype(int), "targets": CLASSES}, "must be bool .spikes. or float"),
        (
            {"inputs": SPIKES[0], "targets": CLASSES},
            r"must have the shape \(n_trials, n_steps, n_inputs\)",
        ),
        ({"inputs": np.where(SPIKES, np.nan, 0), "targets": CLASSES}, "inputs must be finite"),
        ({"inputs": SPIKES[1:], "targets": CLASSES}, "inputs has 19 trials, targets 20"),
        ({"inputs": SPIKES, "targets": CLASSES - 1}, "classes from 0 on, not -1"),
        ({"inputs": SPIKES, "targets": SIGNALS[..., 0]}, "the class of each trial, or floats"),
        ({"inputs": SPIKES, "targets": SIGNALS[:, 1:]}, "targets has 7 steps; expected 8"),
        ({"inputs": SPIKES, "targets": CLASSES, "test": (SPIKES, SIGNALS)}, "must be the same"),
        ({"inputs": SPIKES[:2], "targets": CLASSES[:2]}, "none is left to learn from"),
        ({"inputs": SPIKES, "targets": CLASSES, "test_fraction": 1.0}, "to less than 1"),
        ({"inputs": SPIKES, "targets": CLASSES, "file": "x.npz"}, "exclude each other"),
        ({"kept": {"input": SPIKES}}, "did you mean 'inputs'"),
    ],
)
def test_what_does_not_fit_is_named(arrays, says):
    with pytest.raises(ValueError, match=says):
        ArrayTask(**arrays)


def test_classes_have_names():
    names = ["one", "2", "three", "four", "never"]
    task = ArrayTask(inputs=SPIKES, targets=CLASSES, class_names=names)
    assert task.class_names == tuple(names) and task.n_outputs == 5
    trials = task.trials(1, "train", 0, 12)
    right = trials.classes(task.learning_window)[:, 0]
    outputs = np.eye(5)[np.where(right == 1, 4, right)]  # the second is taken for the last
    counts = task.confusions(outputs, trials)["trials"]
    expected = np.diag(np.bincount(right, minlength=5))
    assert expected[1, 1] > 0
    expected[1, 4], expected[1, 1] = expected[1, 1], 0
    np.testing.assert_array_equal(counts, expected)
    assert not ArrayTask(inputs=SPIKES, targets=CLASSES).confusions(outputs[:, :4], trials)
    kept = RunConfig.of(Network.for_task(task, [(LIF, 3)]), task).make_task()
    assert kept.class_names == tuple(names)  # "2" is a name, not a number


@pytest.mark.parametrize(
    ("targets", "names", "message"),
    [
        (CLASSES, "abc", "must be a list of names, not 'abc'"),
        (CLASSES, ["a", "b"], "has 2 names, but the targets have 4 classes"),
        (CLASSES, ["a", "b", "a", "c"], "has the name 'a' twice"),
        (CLASSES, ["a", "b", "c", " "], "must be names, not ' '"),
        (SIGNALS, ["a"], "the targets are signals"),
    ],
)
def test_names_that_classes_cannot_have(targets, names, message):
    with pytest.raises(ValueError, match=f"class_names .*{message}"):
        ArrayTask(inputs=SPIKES, targets=targets, class_names=names)
