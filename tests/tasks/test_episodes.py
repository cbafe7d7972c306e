"""Tasks that are episodes: what they hand out, and the library's environments behind them."""

import math

import numpy as np
import pytest
from brian2 import cm, ms

from eprop_brian.equations.environments import CARTPOLE
from eprop_brian.symbolic.environment import environment_map
from eprop_brian.symbolic.environment_run import EnvironmentRun, drawn_by
from eprop_brian.tasks import TASKS, EpisodicTask, Trials, get_task
from eprop_brian.tasks.base import hand_out
from eprop_brian.tasks.trials import join_trials
from support.libraries import skip_without_libraries

EPISODIC = [name for name, task in TASKS.items() if issubclass(task, EpisodicTask)]
EPISODIC.remove("environment")  # its environment is in a file


def run_of(task, seed=0):
    return EnvironmentRun(task.environment, drawn_by(np.random.default_rng(seed)))


def sensed(run, task):
    """Input spikes of an episode in which nobody acts, shape (n_steps, n_inputs)."""
    every = task.steps_per_action
    steps = range(task.n_steps)
    return np.array([run.sense(k * 1e-3, k % every * 1e-3, 1e-3) for k in steps])


@pytest.mark.parametrize("name", EPISODIC)
def test_environment_is_read_and_fits_the_task(name):
    skip_without_libraries(name)
    task = get_task(name)
    mapped = environment_map(task.environment)
    assert sum(code.size for code in mapped.codes) == task.n_inputs
    assert task.n_outputs == task.environment.action_outputs + 1
    assert task.n_steps == task.learning_window
    assert task.environment is task.environment


def test_trials_are_episodes_that_take_no_memory():
    task = get_task("cartpole")
    trials = hand_out(task, seed=1, stream="train", index=3, n_trials=5)
    assert trials.environment is task.environment
    assert trials.inputs.shape == (1, 2500, 40) and trials.inputs.dtype == bool
    assert trials.targets.shape == (1, 1, 3)
    assert trials.inputs.strides == (0, 0, 0)
    assert not trials.inputs.any() and not trials.targets.any()
    assert len({*trials.noise_keys}) == 5
    again = hand_out(task, seed=1, stream="train", index=3, n_trials=5)
    assert again.noise_keys.tolist() == trials.noise_keys.tolist()


def test_parts_of_episodes_and_parts_that_are_joined():
    task = get_task("t-maze")
    trials = task.trials(1, "train", 0, 5)
    parts = [trials.part(slice(0, 2)), trials.part(slice(2, 5))]
    assert [part.n_trials for part in parts] == [2, 3]
    joined = join_trials(parts)
    for part in (*parts, joined):
        assert part.environment is task.environment
        assert part.inputs.strides == (0, 0, 0)
    assert joined.noise_keys.tolist() == trials.noise_keys.tolist()


def test_episodes_in_different_environments_are_not_joined():
    parts = [get_task(name).trials(1, "train", 0, 2) for name in ("cartpole", "t-maze")]
    with pytest.raises(ValueError, match="episodes in different environments cannot be joined"):
        join_trials(parts)


def test_actions_are_whole_steps_apart():
    with pytest.raises(ValueError, match="action_every"):
        Trials.episodes(CARTPOLE, 3 * ms, [1, 2])


def test_cartpole_inputs_are_a_population_code():
    task = get_task("cartpole")
    run = run_of(task)
    run.states = dict.fromkeys(run.states, 0.0)
    rate = np.mean([run.sense(0.0, 0.0, 1e-3) for _ in range(2000)], axis=0).reshape(4, 10)
    # One sigma from tuning curve to tuning curve, and 0 in the middle between two.
    wanted = 0.5 * np.exp(-((np.arange(10) - 4.5) ** 2) / 2)
    np.testing.assert_allclose(rate, np.tile(wanted, (4, 1)), atol=4 * np.sqrt(0.24 / 2000))


def test_cartpole_reward_can_be_small():
    task = get_task("cartpole", reward_per_step=0.02)
    assert run_of(task).act(1) == (0.02, False)
    assert task.solved_return == pytest.approx(9.5, rel=1e-15)
    assert get_task("cartpole").solved_return == 475


def test_t_maze_shows_its_cue_then_rewards_the_choice():
    task = get_task("t-maze", cue_rate=1000 / (1000 * ms), recall_rate=1000 / (1000 * ms))
    sides = []
    for seed in range(12):
        run = run_of(task, seed)
        side = int(run.states["cue_0"])
        sides.append(side)
        spikes = sensed(run, task)
        cue = spikes[:, 10 * side : 10 * side + 10]
        # 50 ms pause, 100 ms cue, 500 ms delay, 150 ms recall: at 1 spike a step.
        assert np.flatnonzero(cue.all(axis=1)).tolist() == [*range(50, 150)]
        assert not spikes[:, 10 * (1 - side) : 10 * (1 - side) + 10].any()
        assert np.flatnonzero(spikes[:, 20:30].any(axis=1)).tolist() == [*range(650, 800)]
        assert spikes[:, 30:].mean() == pytest.approx(0.01, abs=0.005)
        assert run.act(side) == (1.0, True)
        run.begin()
        assert run.act(1 - run.states["cue_0"]) == (0.0, True)
    assert {*sides} == {0, 1}


def test_t_maze_rewards_the_side_of_most_cues():
    task = get_task("t-maze", n_cues=3, delay=100 * ms)
    assert task.n_steps == 3 * 150 + 100 + 150
    run = run_of(task)
    for sides in ((1, 1, 0), (0, 1, 0)):
        run.begin()
        run.states |= {f"cue_{k}": float(side) for k, side in enumerate(sides)}
        assert run.act(int(sum(sides) > 1)) == (1.0, True)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"n_cues": 2}, "n_cues must be odd"),
        ({"p_favoured": 1.5}, "p_favoured must lie between 0 and 1"),
        ({"delay": 0.5 * ms}, "delay"),
        ({"cue_rate": 2000 / (1000 * ms)}, "cue_rate"),
    ],
)
def test_t_maze_refuses(settings, problem):
    with pytest.raises(ValueError, match=problem):
        get_task("t-maze", **settings)


def test_reaching_moves_only_after_the_go_signal():
    task = get_task("reaching")
    run = run_of(task)
    start = dict(run.states)
    spikes = sensed(run, task)
    target, go = spikes[:, :40], spikes[:, 60:]
    assert target[:200].any() and not target[200:].any()
    assert go[400:].any() and not go[:400].any()
    for _ in range(20):
        assert run.act([1.0, -1.0]) == (0.0, False)
    assert run.states == start
    reward, done = run.act([0.5, -3.0])
    # 5 rad/s for 20 ms; the second action is beyond the fastest.
    assert run.states["shoulder"] == pytest.approx(start["shoulder"] + 0.05, rel=1e-14)
    assert run.states["elbow"] == pytest.approx(start["elbow"] - 0.1, rel=1e-14)
    assert not done
    shoulder, elbow = run.states["shoulder"], run.states["elbow"]
    hand = 0.5 * np.exp(1j * shoulder) + 0.5 * np.exp(1j * (shoulder + elbow))
    away = abs(hand - run.states["target_x"] - 1j * run.states["target_y"])
    assert reward == pytest.approx(-away, rel=1e-12)
    ends = [run.act([0.0, 0.0])[1] for _ in range(19)]
    assert ends == [False] * 18 + [True]
    assert run.n_actions == task.environment.most_actions == 40


def test_reaching_begins_a_distance_away_from_the_target():
    task = get_task("reaching", distance=20 * cm)
    first = 0.5 * np.exp(1j * math.pi / 6) + 0.5 * np.exp(1j * math.pi * 2 / 3)
    places = []
    for seed in range(10):
        states = run_of(task, seed).states
        places.append(states["target_x"] + 1j * states["target_y"] - first)
    np.testing.assert_allclose(np.abs(places), 0.2, rtol=1e-12)
    assert np.std(np.angle(places)) > 1


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"delay": 30 * ms}, "delay must be a whole number of actions, one every 20. ms"),
        ({"movement_duration": 0 * ms}, "movement_duration must be a whole number of actions"),
        ({"distance": 60 * cm}, "distance must be positive and at most 25 cm"),
    ],
)
def test_reaching_refuses(settings, problem):
    with pytest.raises(ValueError, match=problem):
        get_task("reaching", **settings)
