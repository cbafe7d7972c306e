"""Environments of gymnasium as tasks: what follows from their spaces, and how they are played."""

import pickle

import numpy as np
import pytest
from brian2 import ms

from eprop_brian.symbolic.environment import OBSERVATION, environment_map
from eprop_brian.tasks.gymnasium_task import GymnasiumTask
from eprop_brian.tasks.player import EnvironmentFailed

gymnasium = pytest.importorskip("gymnasium")
spaces = gymnasium.spaces


def play(task, seed, n_actions, choose):
    """Vectors, rewards and ends of the beginning of an episode."""
    with task.player() as player:
        observations, steps = [player.reset(seed)], []
        for n in range(n_actions):
            steps.append(player.step(choose(n)))
            observations.append(steps[-1].observation)
            if steps[-1].terminated or steps[-1].truncated:
                break
    return np.array(observations), [step[1:] for step in steps]


CASES = {
    # id: inputs, outputs (with the value), discrete actions, action size, most actions, solved at
    "CartPole-v1": (40, 3, 2, 0, 500, 475),
    "Acrobot-v1": (60, 4, 3, 0, 500, -100),
    "MountainCarContinuous-v0": (20, 2, 0, 1, 999, 90),
    "Pendulum-v1": (30, 2, 0, 1, 200, None),
    "FrozenLake-v1": (16, 5, 4, 0, 100, 0.7),
}


@pytest.mark.parametrize("name", CASES)
def test_what_follows_from_the_spaces(name):
    task = GymnasiumTask(name, random_episodes=2)
    environment = task.environment
    assert (
        task.n_inputs,
        task.n_outputs,
        environment.n_actions,
        environment.action_size,
        environment.most_actions,
        task.solved_return,
    ) == CASES[name]
    assert task.n_steps == 5 * environment.most_actions
    assert environment.name == name
    assert environment_map(environment).states == ()


def test_more_random_episodes_than_show_anything_are_refused():
    with pytest.raises(ValueError, match="random_episodes must be at most 1000, .* got 1001: give"):
        GymnasiumTask("CartPole-v1", random_episodes=1001)


@pytest.mark.parametrize("name", CASES)
def test_an_episode_is_that_of_gymnasium(name):
    """The same seed and actions give the same observations, rewards and ends."""
    task = GymnasiumTask(name, random_episodes=1)
    discrete = bool(task.environment.n_actions)
    choose = (lambda n: n % 2) if discrete else (lambda n: np.array([np.sin(n)]))
    observations, steps = play(task, 7, 300, choose)
    with gymnasium.make(name) as reference:
        space = reference.observation_space
        values = [reference.reset(seed=7)[0]]
        for n, step in enumerate(steps):
            high = None if discrete else reference.action_space.high
            action = choose(n) if discrete else (choose(n) * high).astype(np.float32)
            value, *expected, _ = reference.step(action)
            assert step == tuple(expected)
            values.append(value)
    if isinstance(space, spaces.Discrete):
        values = [[value] for value in values]
    assert np.array_equal(observations, np.array(values, dtype=float))
    assert len(steps) > 1


def test_episodes_repeat_whatever_was_played_before():
    task = GymnasiumTask("FrozenLake-v1")
    first = play(task, 2**64 - 1, 100, lambda n: n % 4)
    again = play(pickle.loads(pickle.dumps(task)), 2**64 - 1, 100, lambda n: n % 4)
    assert np.array_equal(first[0], again[0])
    assert first[1] == again[1]


def test_rewards_are_scaled():
    task = GymnasiumTask("CartPole-v1", reward_scale=0.02)
    assert task.solved_return == pytest.approx(9.5, rel=1e-12)
    _, steps = play(task, 7, 3, lambda n: n % 2)
    assert [reward for reward, *_ in steps] == [0.02] * 3


def test_options_and_a_longer_episode():
    task = GymnasiumTask("FrozenLake-v1", options={"is_slippery": False}, most_actions=300)
    observations, _ = play(task, 1, 4, lambda n: [1, 1, 2, 2][n])
    assert observations.tolist() == [[0], [4], [8], [9], [10]]
    # Left of the start is a wall: nothing ends the episode but its length.
    _, steps = play(task, 1, 1000, lambda n: 0)
    assert len(steps) == 300
    assert steps[-1] == (0.0, False, True)


def sensed(task, observation, t_action=0.0, draw=0.0):
    """What inputs do in a step, by the statement that a program runs."""
    values = []
    for code in environment_map(task.environment).codes:
        names = {
            **code.parameters,
            OBSERVATION: np.asarray(observation)[code.senses],
            "index": np.arange(code.size),
            "time_of_action": t_action,
            "dt": 0.001,
            "_draw_0": draw,
            "clip": np.clip,
            "exp": np.exp,
            "rand": None,
            "timestep": lambda t, dt: np.floor(t / dt + 1e-3),
            "int": lambda x: np.asarray(x).astype(int),
            "logical_and": np.logical_and,
        }
        statement = code.section.statements[-1].partition(" = ")[2].replace(" and ", ")*(")
        values.append(np.broadcast_to(eval(f"({statement})", names), code.size))
    return np.concatenate(values)


class Mixed(gymnasium.Env):
    """A dictionary of a class, and of numbers with and without bounds."""

    observation_space = spaces.Dict(
        {
            "kind": spaces.Discrete(3, start=1),
            "place": spaces.Box(np.float32([0, -np.inf]), np.float32([4, np.inf])),
        }
    )
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n = 0
        return self._observed(), {}

    def step(self, action):
        self.n += 1
        return self._observed(), float(action), self.n == 3, False, {}

    def _observed(self):
        return {"kind": 1 + self.n % 3, "place": np.float32([2, self.n])}


def test_population_code():
    task = GymnasiumTask(Mixed, most_actions=10, n_cells=5, peak=0.4)
    assert [code.size for code in task.environment.codes] == [10, 3]
    low, high = task.ranges
    # The range without bounds is that of random episodes.
    assert (low[1:].tolist(), high[1:].tolist()) == ([0, 0], [4, 3])
    # Centres of the first number: 0, 1, 2, 3, 4; of the second, clipped to 3: 0, .75, 1.5, ...
    d = np.array([3, 2, 1, 0, 1, 4, 3, 2, 1, 0])
    probability = [*0.4 * np.exp(-(d**2) / 2), 0, 0, 0.4]
    for draw in (0.01, 0.1, 0.3, 0.399, 0.401):
        spikes = sensed(task, [2, 3.0, 17.0], draw=draw)
        assert spikes.tolist() == (draw < np.array(probability)).tolist()


def test_latency_code():
    task = GymnasiumTask(Mixed, most_actions=10, n_cells=5, coding="latency")
    spikes = np.array([sensed(task, [2, 3.0, 3.0], t_action=k / 1000) for k in range(5)])
    # After 5 ms times 1 - exp(-d^2/2), in the step that has begun by then.
    d = np.array([3, 2, 1, 0, 1, 4, 3, 2, 1, 0])
    late = np.floor(5 * (1 - np.exp(-(d**2) / 2)) + 1e-3).astype(int)
    expected = np.zeros((5, 10))
    expected[late[late < 5], np.flatnonzero(late < 5)] = 1
    assert np.array_equal(spikes[:, :10], expected)
    assert spikes[:, 10:].tolist() == [[0, 0, 1], *[[0, 0, 0]] * 4]


def test_analog_code():
    task = GymnasiumTask(Mixed, most_actions=10, coding="analog", low=(0, -2, -8), high=(9, 4, 2))
    assert sensed(task, [1, 3.0, -4.0]).tolist() == [0.75, -0.5, 0, 1, 0]


def test_objects_are_copied():
    environment = Mixed()
    environment.reset()
    task = GymnasiumTask(environment, most_actions=10)
    assert task.environment.name == "Mixed"
    with task.player() as one, task.player() as other:
        one.reset(seed=1)
        other.reset(seed=1)
        one.step(0)
        assert one.step(1).observation.tolist() == [2, 2, 2]
        assert other.step(1).observation.tolist() == [1, 2, 1]
    assert environment.n == 0


def test_an_object_that_gymnasium_has_made():
    with gymnasium.make("CartPole-v1", max_episode_steps=30) as environment:
        task = GymnasiumTask(environment)
        assert (task.title, task.environment.most_actions) == ("CartPole-v1", 30)
        observations, _ = play(task, 7, 20, lambda n: n % 2)
    expected, _ = play(GymnasiumTask("CartPole-v1"), 7, 20, lambda n: n % 2)
    assert np.array_equal(observations, expected)


def test_a_picture():
    pytest.importorskip("pygame")
    with GymnasiumTask("CartPole-v1").player(render=True) as player:
        player.reset(seed=1)
        picture = player.render()
    assert picture.shape == (400, 600, 3)
    assert picture.dtype == np.uint8
    assert 0 < (picture < 255).mean() < 0.2


def test_environments_are_closed(monkeypatch):
    class Counted(Mixed):
        n_open = 0

        def __init__(self):
            Counted.n_open += 1

        def close(self):
            Counted.n_open -= 1

    task = GymnasiumTask(Counted, most_actions=10)
    with task.player():
        assert Counted.n_open == 1
    assert Counted.n_open == 0


class Text(Mixed):
    observation_space = spaces.Text(5)


class Broken(Mixed):
    def step(self, action):
        raise ArithmeticError("too far")


class Uncopied(Mixed):
    def __deepcopy__(self, memo):
        raise TypeError("cannot pickle a socket")


def nothing():
    return "nothing"


def fails():
    raise FileNotFoundError("no such level")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"env": "CartPol-v1"}, ValueError, r"gymnasium cannot make 'CartPol-v1': .*`CartPole`"),
        ({"env": "CartPole-v9"}, ValueError, "cannot make 'CartPole-v9': .*version"),
        ({"env": "nowhere:X-v0"}, EnvironmentFailed, "'nowhere:X-v0' .*made: .*ModuleNotFound"),
        ({"options": {"size": 3}}, EnvironmentFailed, "'CartPole-v1' .*made: .*TypeError.*'size'"),
        ({"env": "ALE/Pong-v5"}, ValueError, "task atari: atari:Pong$"),
        ({"env": Mixed, "options": {"a": 1}}, ValueError, "options are for an environment that is"),
        ({"env": nothing}, TypeError, "^nothing makes 'nothing', which is no gymnasium.Env"),
        ({"env": fails}, EnvironmentFailed, "'fails' .*made: it raised FileNotFoundError: no such"),
        ({"env": 3}, TypeError, "env must be an id, an environment or a function, not 3"),
        ({"env": Text}, TypeError, r"^Text: the observation is of the space Text"),
        ({"env": Mixed}, ValueError, "^Mixed does not say after how many .*: set most_actions"),
        ({"env": Broken, "most_actions": 9}, EnvironmentFailed, "'Broken' in step 1 .*too far"),
        ({"env": Uncopied()}, EnvironmentFailed, "'Uncopied' cannot .*a socket.*function"),
        ({"coding": "rate"}, ValueError, "unknown coding 'rate'"),
        ({"reward_scale": 0}, ValueError, "reward_scale must be positive, got 0"),
        ({"n_cells": 1}, ValueError, "n_cells must be at least 2"),
        ({"n_cells": 2**40}, ValueError, r"\d inputs for each .* 281 TB.* would fit \(n_cells"),
        ({"high": "abcd"}, ValueError, "high must have a finite number for each .*, got 'abcd'"),
        ({"low": (0, 1)}, ValueError, "low must have a finite number for each of the 4 components"),
        ({"low": (5,) * 4}, ValueError, "component 0 .* no range: its low is 5 .*4.8"),
        ({"actions": (0, 2)}, ValueError, "^CartPole-v1: actions names 2: .* are 0 to 1"),
        ({"action_every": 0.5 * ms}, ValueError, "action_every = .* not a whole number of steps"),
    ],
)  # fmt: skip
def test_wrong_settings(settings, error, message):
    with pytest.raises(error, match=message):
        GymnasiumTask(**settings)
