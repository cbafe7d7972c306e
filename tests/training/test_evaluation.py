"""What loss and error mean in a network with several readouts."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from eprop_brian import LIF, Network
from eprop_brian.tasks import Task, Trials, rng_for
from eprop_brian.training.evaluation import wrong_answers
from eprop_brian.training.trainer import Trainer
from support.graphs import two_readouts

N_CLASSES, N_CURVES, N_STEPS = 3, 2, 30


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassAndCurve(Task):
    """A class to name, and two values to follow that are larger than any probability."""

    name = "class-and-curve"
    n_steps = N_STEPS
    n_inputs = 6
    n_outputs = N_CLASSES + N_CURVES
    learning_window = 20
    loss = "softmax_cross_entropy"
    error_threshold = 0.3

    def trials(self, seed, stream, index, n_trials):
        rng = rng_for(seed, stream, index)
        curves = np.full((N_CLASSES, N_STEPS, N_CURVES), 5.0)
        labels = np.tile(np.eye(N_CLASSES)[:, np.newaxis], (1, N_STEPS, 1))
        return Trials(
            inputs=rng.random((n_trials, N_STEPS, 6)) < 0.3,
            targets=np.concatenate([labels, curves], axis=2),
            pattern=np.arange(n_trials),
            target=rng.integers(N_CLASSES, size=n_trials),
        )


def make_network(**options):
    network = Network.standard(6, N_CLASSES + N_CURVES, [(LIF, 8)], **options).resolved
    return two_readouts(network, sizes=(N_CLASSES, N_CURVES))


def test_classes_are_judged_by_the_readout_that_has_them():
    task, network = ClassAndCurve(), make_network()
    trials = task.trials(1, "test", 0, 4)
    outputs = np.concatenate([np.eye(N_CLASSES)[trials.target], np.full((4, N_CURVES), 9.0)], 1)
    outputs[0, :N_CLASSES] = np.roll(outputs[0, :N_CLASSES], 1)
    np.testing.assert_array_equal(wrong_answers(task, network, outputs, trials), [1, 0, 0, 0])
    # Among all outputs a curve would be the largest, and the answer that is wanted.
    np.testing.assert_array_equal(task.errors(outputs, trials), [0, 0, 0, 0])


def test_two_readouts_with_classes_count_alike():
    task = ClassAndCurve()
    network = two_readouts(
        Network.standard(6, 5, [(LIF, 8)]).resolved,
        losses=("softmax_cross_entropy", "softmax_cross_entropy"),
        sizes=(N_CLASSES, N_CURVES),
    )
    trials = task.trials(1, "test", 0, 2)
    outputs = np.concatenate([np.eye(N_CLASSES)[trials.target], [[2.0, 1.0], [1.0, 2.0]]], axis=1)
    np.testing.assert_array_equal(wrong_answers(task, network, outputs, trials), [0, 0.5])


def test_a_readout_is_judged_in_its_own_window():
    """The class changes in mid-trial: it is another one in the last steps than before."""
    task, network = ClassAndCurve(), make_network()
    trials = task.trials(1, "test", 0, 2)
    targets = trials.targets.copy()
    targets[:, -5:, :N_CLASSES] = np.roll(targets[:, -5:, :N_CLASSES], 1, axis=2)
    trials = replace(trials, targets=targets)
    late = np.concatenate([targets[trials.target, -1, :N_CLASSES], np.zeros((2, N_CURVES))], axis=1)
    first, second = network.readouts
    windowed = replace(network, readouts=(replace(first, window_steps=4), second))
    np.testing.assert_array_equal(wrong_answers(task, windowed, late, trials), [0, 0])
    np.testing.assert_array_equal(wrong_answers(task, network, late, trials), [1, 1])


@pytest.mark.parametrize("gradient", ["factored", "bptt"])
def test_history_and_evaluation_report_both_readouts(gradient):
    """The loss of both, the error of the classes, on the trials that were run."""
    task, network = ClassAndCurve(), make_network(gradient=gradient)
    device = {} if gradient == "bptt" else {"device": "runtime"}
    trainer = Trainer(network, task, batch_size=4, seed=2, **device)
    trials = task.trials(2, "train", 0, 4)
    before = trainer.session.run(trials, 4, learning=False)
    trainer.train(1, progress=False)
    answers = before.output[:, :N_CLASSES].argmax(axis=1)
    wrong = np.mean(answers != trials.target)
    assert trainer.history.loss[0] == pytest.approx(before.loss.mean(), rel=1e-12)
    assert trainer.history.error[0] == wrong
    found = trainer.evaluate(1, 8, "others")
    trials = task.trials(2, "others", 0, 8)
    after = trainer.session.run(trials, 8, learning=False)
    assert found.loss == pytest.approx(after.loss.mean(), rel=1e-12)
    assert found.error == np.mean(after.output[:, :N_CLASSES].argmax(axis=1) != trials.target)
    trainer.close()
