"""Training: protocol, resuming, stopping, errors."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms

from eprop_brian import (
    ALIF,
    GRADIENT_DESCENT,
    LEAKY,
    LIF,
    Network,
    Neuron,
    Trainer,
    TrainingError,
    get_task,
)
from eprop_brian.tasks import Digits, PatternGeneration, Task, Trials
from eprop_brian.tasks.trials import join_trials
from eprop_brian.training.evaluation import confirmation_batches


class SideTask(Task):
    """Two groups of inputs; the one that fires names the class."""

    name, description, loss, error_threshold = "side", "", "softmax_cross_entropy", 0.07
    n_steps, n_inputs, n_outputs, learning_window = 40, 10, 2, 20

    def trials(self, seed, stream, index, n_trials):
        rng = np.random.default_rng([seed, len(stream), sum(map(ord, stream)), index])
        label = rng.integers(2, size=n_trials)
        spikes = rng.random((n_trials, self.n_steps, self.n_inputs)) < 0.02
        for trial, side in enumerate(label):
            cue = rng.random((self.n_steps, 5)) < 0.3
            spikes[trial, :, 5 * side : 5 * side + 5] |= cue
        return Trials(
            inputs=spikes,
            targets=np.eye(2)[:, None, :],
            pattern=np.arange(n_trials),
            target=label,
        )


def pattern_network(n_inputs=20, n_outputs=1, **options) -> Network:
    lif = LIF.with_parameters(tau_m=30 * ms, v_th=0.03, t_ref=0 * ms, zeta="1 - alpha")
    return Network.standard(
        n_inputs,
        n_outputs,
        [(lif, 10)],
        readout=LEAKY.with_parameters(tau_out=30 * ms, zeta_out="1 - kappa"),
        optimizer=GRADIENT_DESCENT.with_parameters(eta=5e-3),
        **options,
    )


def pattern_task() -> PatternGeneration:
    return PatternGeneration(n_steps=100, n_inputs=20, periods=(100 * ms, 50 * ms))


def side_network(**options) -> Network:
    return Network.standard(
        10, 2, [(LIF, 4), (ALIF, 4)], loss="softmax_cross_entropy", c_reg=1.0, **options
    )


@pytest.mark.parametrize(
    ("gradient", "rate_averaging"), [("factored", "batch"), ("online", "trial")]
)
def test_compiled_code_and_runtime_agree(gradient, rate_averaging):
    # Weights after three updates of two trials, to the 1e-9 that all devices owe each other.
    network = side_network(gradient=gradient, rate_averaging=rate_averaging)
    trainers = [Trainer(network, SideTask(), batch_size=2, device=d) for d in ("cpp", "runtime")]
    for trainer in trainers:
        trainer.train(3, progress=False)
    for name, weights in trainers[0].session.weights.items():
        np.testing.assert_allclose(
            weights, trainers[1].session.weights[name], rtol=1e-9, atol=1e-12, err_msg=name
        )
    np.testing.assert_allclose(trainers[0].history.loss, trainers[1].history.loss, rtol=1e-12)


def test_both_gradient_programs_train_alike_with_a_batch_regulariser():
    gradients = {}
    for gradient in ("factored", "online"):
        network = side_network(gradient=gradient, rate_averaging="batch")
        trainer = Trainer(network, SideTask(), batch_size=4, device="runtime")
        trainer.train(1, progress=False)
        gradients[gradient] = trainer.session.gradient()
    for name, value in gradients["factored"].items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(value, gradients["online"][name], rtol=0, atol=1e-12 * scale)


def test_a_neuron_may_name_its_parameters_like_the_optimizers_states():
    # Adam keeps m and s per synapse; the traces must read the neuron's m and s.
    neuron = Neuron(
        name="named",
        update="v = s*v + m*I - z\na = s*a + z",
        threshold="v >= 1 + 0.1*a",
        surrogate="0.3*exp(-abs(v - 1))",
        parameters={"m": 0.9, "s": 0.95},
    )
    weights = []
    for gradient in ("factored", "online"):
        network = Network.standard(
            10, 2, [(neuron, 5)], loss="softmax_cross_entropy", gradient=gradient
        )
        trainer = Trainer(network, SideTask(), batch_size=2, device="runtime")
        trainer.train(3, progress=False)
        weights.append(trainer.session.weights["w_in"])
    np.testing.assert_allclose(*weights, rtol=1e-9)


def test_batch_regulariser_is_the_trial_regulariser_for_a_batch_of_one():
    weights = []
    for averaging in ("trial", "batch"):
        trainer = Trainer(side_network(rate_averaging=averaging), SideTask(), device="runtime")
        trainer.train(2, progress=False)
        weights.append(trainer.session.weights["w_rec"])
    np.testing.assert_allclose(*weights, rtol=1e-12, atol=1e-15)


def test_training_lowers_the_loss_and_interruptions_leave_no_trace():
    whole = Trainer(pattern_network(), pattern_task(), seed=3)
    whole.train(130, progress=False)
    assert whole.history.loss[-1] < 0.7 * whole.history.loss[0]

    first = Trainer(pattern_network(), pattern_task(), seed=3)
    first.train(37, progress=False)
    state, history = first.session.state(), first.history
    second = Trainer(pattern_network(), pattern_task(), seed=3)
    second.session.restore(state)
    second.history = history
    second.train(130, progress=False)
    assert second.history.loss == whole.history.loss
    for name, value in whole.session.state().items():
        np.testing.assert_array_equal(value, second.session.state()[name], err_msg=name)


def test_a_solved_task_stops_training():
    trainer = Trainer(side_network(), SideTask(), batch_size=16, seed=1)
    trainer.train(400, progress=False)
    assert trainer.solved
    assert trainer.iteration < 400
    assert trainer.iteration % 10 == 0
    assert trainer.validation.error < 0.07
    assert trainer.validation.n_trials == 512
    assert trainer.confirmation.error < 0.07
    assert trainer.confirmation.n_trials == 4096


def test_other_examples_of_a_data_set_confirm(monkeypatch):
    """Each of the 64 as often as a validation shows its own, and no image of the one in the other.

    Nothing is drawn in analog code: on the same images a validation would confirm itself.
    """
    task = Digits(coding="analog")
    network = Network.standard(64, 10, [(LIF, 3)], loss=task.loss)
    trainer = Trainer(network, task, batch_size=1, workers=1)
    monkeypatch.setattr(Digits, "error_threshold", 2.0)
    trainer.train(20, progress=False)
    assert trainer.solved and trainer.iteration == 20
    assert trainer.validation.n_examples == trainer.confirmation.n_examples == 64
    assert trainer.validation.n_trials == trainer.confirmation.n_trials == 512
    shown, confirming = (
        {row.tobytes() for row in task.trials(0, stream, 0, 512).inputs[:, 0]}
        for stream in ("validation 20", "validation 20 again")
    )
    assert len(shown) == len(confirming) == 64 and not shown & confirming
    trainer.close()


class DataSet(SideTask):
    """As many examples as it is told."""

    name, size = "data-set", 0

    def n_examples(self, stream):
        return self.size


@pytest.mark.parametrize(("size", "batches"), [(64, 8), (1000, 16), (10**5, 64)])
def test_what_confirms_shows_each_example_about_once(size, batches, monkeypatch):
    monkeypatch.setattr(DataSet, "size", size)
    assert confirmation_batches(DataSet(), "validation 10 again") == batches


class LuckyTask(SideTask):
    """Its validations are low from the start; what confirms them is so from iteration 40 on."""

    name = "lucky"
    streams: list

    def trials(self, seed, stream, index, n_trials):
        found = super().trials(seed, stream, index, n_trials)
        if stream != "train":
            self.streams.append(stream)
        wrong = stream.endswith("again") and int(stream.split()[1]) < 40
        return replace(found, target=1 - found.target) if wrong else found


def test_a_lucky_validation_does_not_stop_training():
    task = LuckyTask()
    object.__setattr__(task, "streams", [])
    trainer = Trainer(side_network(), task, batch_size=64, seed=1)
    trainer.train(60, progress=False)
    confirmed = sorted({int(s.split()[1]) for s in task.streams if s.endswith("again")})
    assert confirmed[0] < 40 <= trainer.iteration == confirmed[-1] and trainer.solved
    # Trials of their own: no spike train of one set is in the other.
    validation, confirmation = (
        task.trials(1, stream, 0, 64).inputs for stream in ("validation 40", "validation 40 again")
    )
    assert not np.any(np.all(validation[:, None] == confirmation, axis=(2, 3)))
    trainer.close()


def test_evaluation_does_not_learn():
    trainer = Trainer(side_network(), SideTask(), device="runtime", batch_size=4)
    before = trainer.session.state()
    result = trainer.evaluate(n_batches=1, batch_size=5)
    assert result.n_trials == 5
    for name, value in before.items():
        np.testing.assert_array_equal(value, trainer.session.state()[name])


def test_symmetric_feedback_follows_the_readout():
    trainer = Trainer(pattern_network(feedback="symmetric"), pattern_task(), device="runtime")
    trainer.train(2, progress=False)
    np.testing.assert_array_equal(trainer.session.weights["B"], trainer.session.weights["w_out"].T)


def test_autapses_stay_away():
    trainer = Trainer(side_network(), SideTask(), device="runtime", batch_size=2)
    trainer.train(2, progress=False)
    assert np.all(np.diag(trainer.session.weights["w_rec"]) == 0)
    assert np.any(trainer.session.weights["w_rec"] != 0)


def test_a_diverging_run_keeps_the_last_good_weights():
    network = pattern_network()
    wild = network.optimizer.with_parameters(eta=1e300, w_min=-1e308, w_max=1e308)
    trainer = Trainer(network.with_options(optimizer=wild), pattern_task(), device="runtime")
    before = trainer.session.state()
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match="smaller learning rate"):
        trainer.train(20, progress=False)
    for name, value in before.items():
        np.testing.assert_array_equal(value, trainer.session.state()[name])


def test_shared_patterns_are_stored_once():
    task = pattern_task()
    joined = join_trials([task.trials(0, "train", i, 1) for i in range(5)])
    assert joined.n_trials == 5
    assert len(joined.inputs) == len(joined.targets) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_inputs": 7}, "n_inputs = 7"),
        ({"loss": "softmax_cross_entropy", "n_outputs": 2}, "n_outputs = 2"),
        ({"dt": 0.5 * ms}, "dt"),
    ],
)
def test_a_network_that_does_not_fit_the_task_is_refused(change, message):
    network = pattern_network(**change)
    with pytest.raises(ValueError, match=message):
        Trainer(network, pattern_task(), device="runtime")


@pytest.mark.parametrize("options", [{"device": "gpu"}, {"dtype": "float16"}, {"batch_size": 0}])
def test_unknown_options_are_refused(options):
    with pytest.raises(ValueError, match="There are: |positive"):
        Trainer(pattern_network(), pattern_task(), **options)


@pytest.mark.slow
def test_float32_learns_the_same():
    losses = []
    for dtype in ("float64", "float32"):
        trainer = Trainer(pattern_network(), pattern_task(), seed=3, dtype=dtype)
        losses.append(trainer.train(20, progress=False).loss)
    # Before a spike flips, single precision follows double to about its rounding.
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


@pytest.mark.slow
def test_pattern_generation_from_the_recipe_is_learned():
    from eprop_brian.runs.config import RunConfig

    trainer = RunConfig.from_recipe("pattern-generation").make_trainer()
    trainer.train(2000, progress=False)
    assert trainer.history.loss[-1] < 4


def test_get_task_makes_the_published_settings():
    assert get_task("evidence-accumulation").n_steps == 2250


def test_alignment_is_the_cosine_and_has_a_sign():
    trainer = Trainer(pattern_network(feedback="random"), pattern_task(), device="runtime")
    b = trainer.session.weights["B"]
    for factor, cosine in ((1.0, 1.0), (-2.0, -1.0)):
        trainer.session.weights["w_out"] = factor * b.T
        assert trainer.alignment() == pytest.approx(cosine, abs=1e-12)
    trainer.session.weights["w_out"] = np.zeros_like(b.T)
    assert np.isnan(trainer.alignment())


def test_joined_trials_keep_their_periods():
    """Also where parts share the targets and differ in the steps that count."""
    targets = np.eye(2)[:, np.newaxis, :]
    spikes = np.ones((1, 4, 3), dtype=bool)
    rows = [[[0, 1, 0, 0], [1, 1, 0, 0]], [[0, 0, 2, 1], [0, 0, 1, 0]]]
    parts = [
        Trials(
            inputs=spikes,
            targets=targets,
            pattern=np.zeros(2, int),
            target=np.arange(2),
            periods=np.array(periods),
            n_answers=2,
        )
        for periods in rows
    ]
    joined = join_trials(parts)
    np.testing.assert_array_equal(joined.periods[joined.target], np.concatenate(rows))
    assert len(joined.inputs) == 1


def test_what_is_no_task_or_no_network_is_refused():
    network, environment = pattern_network(), get_task("cartpole").environment
    for task, said in (
        (environment, "environment 'cartpole' is what a task plays in: write `class Play"),
        ("cartpole", r"must be a Task, not 'cartpole': get_task\('cartpole'\) makes one"),
        (3, "must be a Task, not 3"),
    ):
        with pytest.raises(TypeError, match=said):
            Trainer(network, task, device="runtime")
    with pytest.raises(TypeError, match="must be a Network, not 'lif'"):
        Trainer("lif", pattern_task(), device="runtime")
