"""Batches of a task that hands out fewer trials than it is asked for, as at the end of an epoch."""

from dataclasses import replace

import numpy as np
import pytest

from eprop_brian import LIF, Network, Trainer
from eprop_brian.network.program import make_program
from eprop_brian.tasks.base import Task, hand_out
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.recording import record
from eprop_brian.training.session import Session

BATCH_SIZE, N_EXAMPLES = 4, 10
#: Trials of the batches of an epoch.
EPOCH = (4, 4, 2)


class EpochTask(Task):
    """Ten examples, batch by batch; the last of an epoch has what is left."""

    name, description, loss, error_threshold = "epochs", "", "softmax_cross_entropy", None
    n_steps, n_inputs, n_outputs, learning_window = 20, 6, 3, 10

    def trials(self, seed, stream, index, n_trials):
        first = index % -(-N_EXAMPLES // n_trials) * n_trials
        return examples(seed, stream)[first : first + n_trials]


def examples(seed: int, stream: str) -> "Examples":
    rng = np.random.default_rng([seed, len(stream)])
    inputs = rng.random((N_EXAMPLES, EpochTask.n_steps, EpochTask.n_inputs)) < 0.3
    return Examples(inputs, rng.integers(3, size=N_EXAMPLES))


class Examples:
    def __init__(self, inputs, classes):
        self.inputs, self.classes = inputs, classes

    def __getitem__(self, which: slice) -> Trials:
        inputs = self.inputs[which]
        each = np.arange(len(inputs))
        targets = np.eye(3)[:, np.newaxis]
        return Trials(inputs=inputs, targets=targets, pattern=each, target=self.classes[which])


def network(**options) -> Network:
    chosen = {"loss": "softmax_cross_entropy", "c_reg": 2.0} | options
    return Network.standard(EpochTask.n_inputs, 3, [(LIF.with_parameters(v_th=0.3), 5)], **chosen)


def one_by_one(net: Network, n_iterations: int):
    """Every batch in a call of its own: weights at the end, losses and rates of the batches."""
    example = EpochTask().trials(1, "train", 0, BATCH_SIZE)
    weights = net.initial_weights(1)
    session = Session(net, make_program("runtime"), example, EpochTask.learning_window, weights)
    found = []
    for i in range(n_iterations):
        batch = EpochTask().trials(1, "train", i, BATCH_SIZE)
        assert batch.n_trials == EPOCH[i % 3]
        outcome = session.run(batch, batch.n_trials)
        found.append((outcome.loss.mean(), outcome.rate.mean()))
    return session, np.array(found).T


def assert_one_by_one(trainer: Trainer, n_iterations: int) -> None:
    trainer.train(n_iterations, progress=False)
    session, (loss, rate) = one_by_one(trainer.network, n_iterations)
    assert trainer.iteration == trainer.session.n_updates == n_iterations
    np.testing.assert_allclose(trainer.history.loss, loss, rtol=1e-12)
    np.testing.assert_allclose(trainer.history.rate_hz, rate, rtol=1e-12)
    assert np.flatnonzero(np.isfinite(trainer.history.alignment)).tolist() == [n_iterations - 1]
    for name, value in session.weights.items():
        found = trainer.session.weights[name]
        np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-12, err_msg=name)
    trainer.close()


@pytest.mark.parametrize("averaging", ["trial", "batch"])
@pytest.mark.parametrize("where", [{"device": "runtime"}, {"workers": 1}, {"workers": 2}], ids=str)
def test_a_smaller_last_batch_is_a_batch(where, averaging):
    net = network(rate_averaging=averaging)
    trainer = Trainer(net, EpochTask(), batch_size=BATCH_SIZE, seed=1, **where)
    assert_one_by_one(trainer, 8)


def test_an_update_divides_by_the_trials_that_there_are():
    """The gradient of a batch of 2 of 4 is the mean of those of its trials."""
    net = network()
    trainer = Trainer(net, EpochTask(), batch_size=BATCH_SIZE, seed=1, device="runtime")
    trainer.train(2, progress=False)
    before = trainer.session.state()
    trainer.train(3, progress=False)
    found = trainer.session.gradient()
    last = EpochTask().trials(1, "train", 2, BATCH_SIZE)
    single = []
    for i in range(2):
        trainer.session.restore(before)
        trainer.session.run(last.part(slice(i, i + 1)), 1)
        single.append(trainer.session.gradient())
    for name, value in found.items():
        mean = (single[0][name] + single[1][name]) / 2
        np.testing.assert_allclose(value, mean, rtol=1e-10, atol=1e-15)


def test_backpropagation_takes_smaller_batches():
    pytest.importorskip("jax")
    trainer = Trainer(network(gradient="bptt", feedback="symmetric"), EpochTask(), batch_size=4)
    trainer.train(6, progress=False)
    other = Trainer(trainer.network, EpochTask(), batch_size=4)
    for i in range(6):
        batch = EpochTask().trials(0, "train", i, 4)
        loss = other.session.run(batch, batch.n_trials).loss.mean()
        assert trainer.history.loss[i] == pytest.approx(loss, rel=1e-12)
    for name, value in other.session.weights.items():
        np.testing.assert_allclose(trainer.session.weights[name], value, rtol=1e-10, atol=1e-14)


def test_the_first_batch_may_be_the_smallest():
    class Growing(EpochTask):
        def trials(self, seed, stream, index, n_trials):
            return examples(seed, stream)[: min(index + 1, n_trials)]

    trainer = Trainer(network(), Growing(), batch_size=700, device="runtime")
    trainer.train(3, progress=False)
    assert trainer.session.n_updates == 3


def test_an_evaluation_is_the_mean_over_the_trials_that_there_are():
    trainer = Trainer(network(), EpochTask(), batch_size=BATCH_SIZE, seed=1, device="runtime")
    found = trainer.evaluate(n_batches=3, batch_size=BATCH_SIZE)
    trials = examples(1, "test")[0:10]
    losses = [
        trainer.session.run(trials.part(slice(i, i + 1)), 1, learning=False).loss for i in range(10)
    ]
    assert found.n_trials == 10
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-12)


def test_interruptions_leave_no_trace():
    whole = Trainer(network(), EpochTask(), batch_size=BATCH_SIZE, seed=1, device="runtime")
    whole.train(9, progress=False)
    first = Trainer(network(), EpochTask(), batch_size=BATCH_SIZE, seed=1, device="runtime")
    for iterations in (2, 3, 7, 9):
        first.train(iterations, progress=False)
    assert first.history.loss == whole.history.loss
    np.testing.assert_array_equal(first.session.weights["w_in"], whole.session.weights["w_in"])


class Wrong(EpochTask):
    """Goes wrong in batch 3 of the stream that `where` names."""

    name, where, answer = "wrong", "train", None

    def trials(self, seed, stream, index, n_trials):
        if stream == self.where and index == 2:
            return self.answer(n_trials)
        return examples(seed, stream)[0:n_trials]


def too_many(n_trials):
    return examples(0, "train")[0 : n_trials + 1]


def none_left(n_trials):
    return examples(0, "train")[0:0]


def nothing(n_trials):
    return None


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (too_many, ValueError, "asked for 4 trials of {} and handed out 5; it must hand out as"),
        (none_left, ValueError, "asked for 4 trials of {} and failed: .*none of them 0"),
        (nothing, TypeError, "asked for 4 trials of {} and handed out NoneType, which is not"),
    ],
)
@pytest.mark.parametrize("stream", ["train", "test"])
def test_anything_else_is_an_error_with_iteration_asked_and_given(answer, error, message, stream):
    task = type("Case", (Wrong,), {"where": stream, "answer": staticmethod(answer)})()
    what = {"train": "iteration 3", "test": "batch 3 of the stream 'test'"}[stream]
    with pytest.raises(error, match=message.format(what)):
        trainer = Trainer(network(), task, batch_size=4, device="runtime")
        trainer.evaluate(3, 4)


def test_an_error_in_a_later_call_keeps_what_was_learned():
    """The trials of the second call are made during the first, of ten iterations."""

    class Later(EpochTask):
        def trials(self, seed, stream, index, n_trials):
            return None if index == 12 else examples(seed, stream)[:2]

    trainer = Trainer(network(), Later(), batch_size=64, device="runtime")
    message = "asked for 64 trials of iteration 13 and handed out NoneType"
    with pytest.raises(TypeError, match=message):
        trainer.train(20, progress=False)
    assert trainer.iteration == trainer.session.n_updates == 10


def test_continuous_operation_and_recordings_need_their_one_trial():
    task = type("Case", (Wrong,), {"answer": staticmethod(too_many)})()
    continuous = network(updates="step", gradient="online", c_reg=0.0)
    with pytest.raises(ValueError, match="asked for 1 trial of iteration 3 and handed out 2"):
        Trainer(continuous, task, device="runtime")
    with pytest.raises(ValueError, match="asked for 1 trial of iteration 3 and handed out 2"):
        record(network(), task, network().initial_weights(0), stream="train", index=2)


def test_other_errors_of_a_task_stay_what_they_are():
    class Missing(ValueError):
        pass

    def fail(n_trials):
        raise Missing("no such file")

    task = type("Case", (Wrong,), {"answer": staticmethod(fail)})()
    with pytest.raises(Missing, match="^no such file$"):
        hand_out(task, 0, "train", 2, 4)


def test_targets_and_periods_of_short_batches_fit_too():
    class OfTheirOwn(EpochTask):
        def trials(self, seed, stream, index, n_trials):
            found = super().trials(seed, stream, index, n_trials)
            rows = np.arange(found.n_trials)
            periods = np.tile(np.repeat([0, 1, 2, 0], 5), (found.n_trials, 1))
            return replace(
                found,
                targets=found.targets[found.target],
                target=rows,
                periods=periods,
                n_answers=2,
            )

    trainer = Trainer(network(), OfTheirOwn(), batch_size=BATCH_SIZE, device="runtime")
    trainer.train(7, progress=False)
    assert trainer.session.n_updates == 7 and np.all(np.isfinite(trainer.history.loss))


class Varying(EpochTask):
    """Batches that show 1 to 4 different examples, the first and the last only one."""

    def trials(self, seed, stream, index, n_trials):
        n_patterns = 2 if index == 1 else 1 if index in (0, 99) else n_trials
        batch = examples(seed, stream)[0:n_trials]
        return replace(
            batch, inputs=batch.inputs[:n_patterns], pattern=np.arange(n_trials) % n_patterns
        )


def test_batches_of_varying_numbers_of_patterns_fit_a_run_and_its_continuation():
    arguments = {"batch_size": BATCH_SIZE, "seed": 1, "device": "runtime"}
    whole = Trainer(network(), Varying(), **arguments)
    first = Trainer(network(), Varying(), **arguments)
    first.train(7, progress=False)
    rest = Trainer(network(), Varying(), **arguments, state=first.session.state())
    rest.history = first.history
    for trainer in (whole, rest):
        trainer.train(100, progress=False)
    assert rest.history.loss == whole.history.loss
    for name, value in whole.session.state().items():
        np.testing.assert_array_equal(rest.session.state()[name], value, err_msg=name)


def test_empty_weights_are_not_taken_for_none():
    with pytest.raises(ValueError, match="the weights need 'w_in'"):
        Trainer(network(), EpochTask(), batch_size=BATCH_SIZE, weights={}, device="runtime")
