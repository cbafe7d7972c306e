"""Networks that act in an environment are trained, tested, stopped and resumed."""

import math

import numpy as np
import pytest
from brian2 import ms

from eprop_brian import LIF, Network, Run, Trainer, TrainingError, get_task
from eprop_brian.network.built import SHARE
from eprop_brian.network.parts import Agent
from eprop_brian.runs.run import CHECKPOINT, HISTORY
from eprop_brian.tasks import EnvironmentFailed
from eprop_brian.training.history import History
from support.acting import WALK, configure
from support.arrays import assert_same_state

#: Columns that only episodes have.
OF_EPISODES = ["return", "length", "entropy", "value_error"]


def trained(config, iterations, **options):
    made = config.make_trainer(**options)
    made.train(iterations, progress=False)
    return made


# --- history --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def acted(tmp_path_factory):
    """A trainer after 200 iterations."""
    return trained(configure(tmp_path_factory.mktemp("acted")), 200)


def test_the_history_has_what_came_of_episodes(acted):
    columns = acted.history.arrays()
    assert list(columns)[-4:] == OF_EPISODES
    assert np.all((columns["length"] >= 1) & (columns["length"] <= WALK.most_actions))
    assert np.all(np.abs(columns["return"]) <= 2.6 * columns["length"])
    assert np.all((columns["entropy"] > 0) & (columns["entropy"] <= math.log(2) + 1e-12))
    assert np.all(columns["value_error"] > 0)
    # Nothing of an episode is silence: the rate is that of the steps until its end.
    assert 50 < columns["rate_hz"].mean() < 340


def test_a_file_has_these_columns_for_episodes_alone(acted, tmp_path):
    acted.history.write(tmp_path / HISTORY)
    again = History.read(tmp_path / HISTORY)
    assert again.returns == acted.history.returns
    np.testing.assert_allclose(again.length, acted.history.length, rtol=1e-5)
    others = History()
    others.append(0.5, 0.25, 10.0, 0.1)
    others.write(tmp_path / "others.csv")
    first = (tmp_path / "others.csv").read_text().splitlines()[0]
    assert first == "iteration,loss,error,rate_hz,seconds,alignment"
    assert np.isnan(History.read(tmp_path / "others.csv").returns).all()
    assert len(acted.history.truncated(3).returns) == 3


def test_the_recent_return_is_that_of_the_last_hundred_episodes():
    history = History()
    for value in [100.0, *range(13)]:
        history.append(loss=0.0, **{"return": value})
    # 12 batches of 8 count as a whole, and half of the one before them.
    expected = (8 * sum(range(1, 13)) + 4 * 0.0) / 100
    mean, n_episodes = history.recent_return(8)
    assert n_episodes == 100
    assert mean == pytest.approx(expected, abs=1e-12)
    assert history.recent_return(50) == (11.5, 100)
    assert history.recent_return(2) == (pytest.approx((100 + sum(range(13))) / 14), 28)
    assert History().recent_return(8)[1] == 0


def test_learning_by_reward_raises_the_return(acted):
    first, last = np.mean(acted.history.returns[:5]), np.mean(acted.history.returns[-5:])
    assert first < 1 and last > 5


# --- tests of fresh episodes ----------------------------------------------------------------------


def test_fresh_episodes_are_greedy_or_sampled(acted):
    greedy, sampled = acted.evaluate(), acted.evaluate(greedy=False)
    assert greedy.n_trials == sampled.n_trials == 100
    assert greedy.returns.greedy and not sampled.returns.greedy
    # Episodes that differ from each other, though all have the same, empty, data.
    assert greedy.returns.deviation > 0
    assert greedy.returns.mean > sampled.returns.mean
    assert acted.evaluate().returns == greedy.returns
    assert acted.evaluate(stream="other").returns != greedy.returns
    mean, deviation = greedy.returns.mean, greedy.returns.deviation
    assert str(greedy) == (f"return {mean:.6g} (standard deviation {deviation:.4g}, 100 episodes)")


def test_the_mean_and_the_deviation_are_those_of_the_episodes(acted):
    trials = acted.task.trials(acted.seed, "test", 0, 40)
    episodes = acted.session.run(trials, 40, learning=False, greedy=True).episodes
    returns = acted.evaluate(1, 40).returns
    assert returns.mean == pytest.approx(episodes.returns.mean(), abs=1e-12)
    assert returns.deviation == pytest.approx(episodes.returns.std(), abs=1e-12)
    assert returns.length == pytest.approx(episodes.lengths.mean(), abs=1e-12)


@pytest.mark.parametrize(("solved_at", "ends"), [(6, True), (6.001, False)])
def test_training_ends_when_a_hundred_episodes_and_fresh_ones_reach_the_return(
    solved_at, ends, tmp_path
):
    # A reward of 1 for each of 6 actions.
    environment = WALK.with_parameters(gain=0.0, offset=1.0, end=100.0)
    config = configure(tmp_path, f"task.solved_at={solved_at}", environment=environment)
    trainer = trained(config, 30)
    assert trainer.solved is ends
    # 13 iterations have more than 100 episodes, and one in ten is looked at.
    assert trainer.iteration == (20 if ends else 30)
    assert (trainer.confirmation is not None) is ends


# --- stopping and resuming ------------------------------------------------------------------------


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    config = configure(tmp_path)
    whole, stopped = (Run.start(config, tmp_path / name) for name in ("whole", "stopped"))
    whole.train(progress=False)
    stopped.train(10, progress=False)
    again = Run.open(tmp_path / "stopped")
    assert again.trainer.iteration == 10
    again.train(20, progress=False)
    once, twice = (run.trainer for run in (whole, again))
    assert_same_state(twice.session.state(), once.session.state())
    assert twice.history.returns == once.history.returns
    assert twice.history.loss == once.history.loss
    for run in (whole, stopped, again):
        run.trainer.close()


@pytest.mark.slow
def test_any_number_of_workers_plays_the_same_episodes(tmp_path):
    config = configure(tmp_path, batch_size=2 * SHARE + 4)
    alone, *others = (trained(config, 10, workers=n) for n in (1, 2, 3))
    for other in others:
        assert_same_state(other.session.state(), alone.session.state())
        assert other.history.returns == alone.history.returns
        assert other.evaluate().returns == alone.evaluate().returns
    for trainer in (alone, *others):
        trainer.close()


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_reward_that_is_no_number_is_named_and_the_checkpoint_stays(tmp_path):
    # It is finite as long as the walk does not go far to the right, which it has to learn.
    environment = WALK.with_parameters(limit=3.3, end=100.0)
    config = configure(tmp_path, environment=environment, iterations=200)
    run = Run.start(config, tmp_path / "run")
    with pytest.raises(TrainingError) as failed:
        run.train(progress=False)
    assert str(failed.value).startswith("the reward of environment 'walk' is no longer finite at")
    assert ", where x = 3." in str(failed.value)
    assert f"\n    reward = {WALK.reward}\n" in str(failed.value)
    done = run.trainer.iteration
    assert done > 0 and done % 10 == 0
    again = Run.open(tmp_path / "run")
    assert again.trainer.iteration == done
    assert again.trainer.session.is_finite() and np.isfinite(again.trainer.history.returns).all()
    assert int(np.load(tmp_path / "run" / CHECKPOINT)["n_updates"]) == done


def test_an_environment_that_fails_leaves_the_last_good_call(tmp_path):
    gymnasium = pytest.importorskip("gymnasium")
    steps = []

    class Breaks(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (2,))
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.n = 0
            return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

        def step(self, action):
            self.n += 1
            steps.append(action)
            if len(steps) > 130:
                raise OSError("the cable is loose")
            observation = self.np_random.uniform(-1, 1, 2).astype(np.float32)
            return observation, 1.0, self.n == 3, False, {}

    task = get_task("gymnasium", env=Breaks, most_actions=5, action_every=2 * ms)
    steps.clear()
    network = Network.for_task(task, [(LIF, 5)], agent=Agent(discount=0.9))
    trainer = Trainer(network, task, batch_size=2, seed=1, device="runtime")
    trainer.train(10, progress=False)
    before = trainer.session.state()
    assert len(steps) == 60
    with pytest.raises(EnvironmentFailed, match="raised OSError on the action .: the cable is loo"):
        trainer.train(40, progress=False)
    # An iteration is a call of its own, and takes 6 steps.
    assert trainer.iteration == 21
    with pytest.raises(AssertionError):
        assert_same_state(trainer.session.state(), before)
    trainer.close()


def test_a_network_and_a_task_that_do_not_act_together_are_refused(tmp_path):
    walk = configure(tmp_path).make_task()
    acts = Network.for_task(walk, [(LIF, 4)])
    digits = get_task("digits")
    with pytest.raises(ValueError, match="the network has no Agent"):
        Trainer(Network.standard(walk.n_inputs, walk.n_outputs, [(LIF, 4)]), walk)
    with pytest.raises(ValueError, match="task 'digits' has no environment to act in"):
        Trainer(acts, digits)


@pytest.mark.slow
def test_every_worker_has_a_copy_of_an_environment_outside_of_the_program():
    pytest.importorskip("gymnasium")
    task = get_task("gymnasium:CartPole-v1", most_actions=30, action_every=2 * ms)
    network = Network.for_task(task, [(LIF.with_parameters(v_th=0.2), 5)])
    results = []
    for workers in (1, 2):
        trainer = Trainer(network, task, batch_size=SHARE + 4, seed=2, workers=workers)
        trainer.train(2, progress=False)
        results.append((trainer.session.state(), trainer.history.returns))
        trainer.close()
    assert_same_state(results[1][0], results[0][0])
    assert results[1][1] == results[0][1]


def test_a_network_that_is_silent_in_an_environment_is_named(tmp_path):
    config = configure(tmp_path, "network.weight_scale={w_in = 0.0}", "network.c_reg=0.0")
    trainer = config.make_trainer()
    with pytest.raises(TrainingError, match="no neuron fires in any trial of iterations 1 to 10, "):
        trainer.train(20, progress=False)
    trainer.close()
