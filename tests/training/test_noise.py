"""Noise in training: the same whoever computes a trial, and after a break; new in every trial."""

from pathlib import Path

import numpy as np
import pytest
from brian2 import ms

from eprop_brian import Neuron, Trials
from eprop_brian.network.built import SHARE
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import Run
from eprop_brian.symbolic.neuron_file import write_neuron
from eprop_brian.tasks import get_task
from eprop_brian.tasks.base import hand_out
from eprop_brian.tasks.trials import join_trials
from eprop_brian.training.recording import record
from support.arrays import assert_same_state
from support.programs import SMALL_CUES, SMALL_PATTERN

NOISY = Neuron(
    name="noisy",
    model="dv/dt = (0.6 - v)/tau + 0.25*xi/tau**.5 : 1",
    method="euler",
    on_pre="v += w",
    threshold="v > 1 + 0.1*randn()",
    reset="v -= 1 + 0.1*rand()",
    parameters={"tau": 20 * ms},
)
#: Not a whole number of shares.
BATCH_SIZE = 2 * SHARE + 4
TASKS = {"evidence-accumulation": SMALL_CUES, "pattern-generation": SMALL_PATTERN}


@pytest.fixture
def config(tmp_path):
    path = Path(tmp_path) / "noisy.toml"
    path.write_text(write_neuron(NOISY))

    def config(task: str = "evidence-accumulation", **run) -> RunConfig:
        own = [setting for setting in TASKS[task] if not setting.startswith("size")]
        options = {"batch_size": BATCH_SIZE, "seed": 3, **run}
        settings = [*own, "size.noisy=7"]
        return RunConfig.from_recipe(task, neuron=str(path), run=options, settings=settings)

    return config


def test_any_number_of_workers_draws_the_same(config):
    results = []
    for workers in (1, 3):
        trainer = config().make_trainer(workers=workers)
        trainer.train(3, progress=False)
        results.append((trainer.session.state(), trainer.history, trainer.evaluate(2, BATCH_SIZE)))
        trainer.close()
    (alone, history, evaluation), (state, others, again) = results
    assert_same_state(state, alone)
    assert others.loss == history.loss
    assert again == evaluation


def test_a_resumed_run_draws_what_an_unbroken_one_does(config, tmp_path):
    chosen = config(device="runtime", batch_size=2)
    unbroken = Run.start(chosen, tmp_path / "unbroken")
    unbroken.train(4, progress=False)
    Run.start(chosen, tmp_path / "broken").train(2, progress=False)
    resumed = Run.open(tmp_path / "broken")
    resumed.train(4, progress=False)
    assert_same_state(resumed.trainer.session.state(), unbroken.trainer.session.state())
    assert resumed.trainer.history.loss == unbroken.trainer.history.loss


def test_a_frozen_trial_is_evaluated_with_several_noises(config):
    trainer = config("pattern-generation", device="runtime", batch_size=1).make_trainer()
    evaluation = trainer.evaluate(3, 2)
    assert evaluation.n_trials == 6
    losses = [
        trainer.session.run(hand_out(trainer.task, 3, "test", i, 1), 1, learning=False).loss[0]
        for i in range(3)
    ]
    assert len({*losses}) == 3


def test_a_trial_is_recorded_with_its_own_noise(config):
    trainer = config(device="runtime", batch_size=2).make_trainer()
    weights = trainer.session.weights
    trials = hand_out(trainer.task, 3, "test", 4, 2)
    for index in range(2):
        trainer.session.run(trials.part(slice(index, index + 1)), 1, learning=False)
        recording = record(trainer.network, trials, weights, index=index, synapses=0)
        np.testing.assert_array_equal(recording.spikes, trainer.session.spikes())
    recording = record(trainer.network, trainer.task, weights, seed=3, index=4, synapses=0)
    trainer.session.run(hand_out(trainer.task, 3, "test", 4, 1), 1, learning=False)
    np.testing.assert_array_equal(recording.spikes, trainer.session.spikes())


def test_keys_stay_with_their_trials():
    task = get_task("evidence-accumulation")
    trials = hand_out(task, 1, "train", 2, 6)
    assert len({*trials.noise_keys}) == 6
    parts = [trials.part(slice(4, 6)), trials.part(slice(1))]
    joined = join_trials(parts)
    np.testing.assert_array_equal(joined.noise_keys, trials.noise_keys[[4, 5, 0]])
    others = [hand_out(task, *which, 6) for which in ((2, "train", 2), (1, "test", 2))]
    for other in (*others, hand_out(task, 1, "train", 3, 6)):
        assert not {*other.noise_keys} & {*trials.noise_keys}
    # Without keys, those of a batch differ, and a part keeps them.
    plain = task.trials(1, "train", 2, 6)
    assert plain.noise is None and len({*plain.noise_keys}) == 6
    np.testing.assert_array_equal(plain.part(slice(2, 4)).noise_keys, plain.noise_keys[2:4])


def test_a_task_may_give_keys_of_its_own():
    class Repeated(type(get_task("evidence-accumulation"))):
        def trials(self, seed, stream, index, n_trials):
            return super().trials(seed, stream, index, n_trials).with_noise([7] * n_trials)

    assert {*hand_out(Repeated(), 1, "train", 0, 3).noise_keys} == {7}
    shape = np.zeros((1, 5, 2), bool), np.zeros((1, 1, 1)), [0, 0], [0, 0]
    assert Trials(*shape, noise=[2**63 + 5, 7]).noise_keys.tolist() == [2**63 + 5, 7]
    for wrong in ([1], [1.0, 2.0], [2**64, 1], []):
        with pytest.raises(ValueError, match=r"of 64 bits, of shape \(n_trials,\) = \(2,\)"):
            Trials(*shape, noise=wrong)
