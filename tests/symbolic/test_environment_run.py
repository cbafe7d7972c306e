"""Environments run in NumPy: those of gymnasium equal gymnasium's, step for step."""

import numpy as np
import pytest

from eprop_brian.equations.environment import Code, Environment
from eprop_brian.equations.environments import ACROBOT, CARTPOLE, MOUNTAIN_CAR
from eprop_brian.symbolic.environment_run import EnvironmentRun, drawn_by

# How to act so that episodes last, or end as they should, by the states.
SKILLED = {
    "CartPole-v1": lambda s: int(s["angle"] + 0.5 * s["angular_velocity"] > 0),
    "Acrobot-v1": lambda s: 2 * int(s["velocity_2"] >= 0),
    "MountainCar-v0": lambda s: 2 * int(s["velocity"] >= 0),
}


def observed(name, states):
    """The states as gymnasium observes them."""
    if name != "Acrobot-v1":
        return [*states.values()]
    first, second, *velocities = states.values()
    return [np.cos(first), np.sin(first), np.cos(second), np.sin(second), *velocities]


def episode(environment, name, seed, skilled):
    """Run an episode in both; the length and how it ended."""
    gymnasium = pytest.importorskip("gymnasium")
    rng = np.random.default_rng(seed)
    theirs, ours = gymnasium.make(name), EnvironmentRun(environment, drawn_by(rng))
    theirs.reset(seed=seed)
    ours.states = dict(zip(ours.states, map(float, theirs.unwrapped.state), strict=True))
    while True:
        action = SKILLED[name](ours.states) if skilled else int(rng.integers(environment.n_actions))
        observation, reward, terminated, truncated, _ = theirs.step(action)
        assert ours.act(action) == (reward, terminated)
        state = [*map(float, theirs.unwrapped.state)]
        np.testing.assert_allclose([*ours.states.values()], state, rtol=0, atol=1e-12)
        single = np.asarray(observed(name, ours.states), dtype=np.float32)
        np.testing.assert_array_equal(single, observation)
        assert truncated == (ours.n_actions >= environment.most_actions)
        if terminated or truncated:
            return ours.n_actions, bool(terminated)


@pytest.mark.parametrize(
    ("environment", "name"),
    [(CARTPOLE, "CartPole-v1"), (ACROBOT, "Acrobot-v1"), (MOUNTAIN_CAR, "MountainCar-v0")],
    ids=["cartpole", "acrobot", "mountain-car"],
)
def test_steps_are_those_of_gymnasium(environment, name):
    ended = [episode(environment, name, seed, skilled=seed > 0) for seed in range(2)]
    done = {over for _, over in ended}
    # One of the two is cut off, and one reaches its end.
    assert done == {False, True}
    assert max(length for length, _ in ended) == environment.most_actions


@pytest.mark.parametrize(
    ("environment", "low", "high"),
    [
        (CARTPOLE, [-0.05] * 4, [0.05] * 4),
        (ACROBOT, [-0.1] * 4, [0.1] * 4),
        (MOUNTAIN_CAR, [-0.6, 0], [-0.4, 0]),
    ],
    ids=["cartpole", "acrobot", "mountain-car"],
)
def test_episodes_begin_as_those_of_gymnasium(environment, low, high):
    run = EnvironmentRun(environment, drawn_by(np.random.default_rng(0)))
    begun = []
    for _ in range(200):
        run.begin()
        begun.append([*run.states.values()])
    width = np.subtract(high, low)
    assert np.all(begun >= np.array(low)) and np.all(begun <= np.array(high))
    np.testing.assert_allclose(np.mean(begun, axis=0), np.add(low, width / 2), atol=0.08 * 0.2)
    # Of a uniform distribution, within four of its standard errors.
    np.testing.assert_allclose(np.std(begun, axis=0), width / 12**0.5, rtol=0.2)


def test_a_function_of_every_kind():
    """Values of expressions, against Python's."""
    environment = Environment(
        name="all",
        model="x : 1\ny : 1",
        initial={"x": 1.7, "y": "-0.3"},
        step="""
            z = where(int(x > 1 and not y > 0), 5 % 3, 7)
            x = exp(y)*sqrt(x)/3 + z**2 - n
            y = clip(x, -1, 1) + int(-2.5) + floor(-2.5)*int(x <= 0 or y >= -1)
        """,
        reward="sign(y)*abs(y) + pi - e",
        done="x == y or y != y",
        codes=[Code(1, value="x")],
        action_size=1,
        most_actions=3,
    )
    run = EnvironmentRun(environment, drawn_by(np.random.default_rng(0)))
    reward, done = run.act(0.0)
    x = np.exp(-0.3) * np.sqrt(1.7) / 3 + 4
    y = 1 - 2 - 3
    assert run.states == pytest.approx({"x": x, "y": y}, rel=1e-15)
    assert reward == pytest.approx(y + np.pi - np.e, rel=1e-15)
    assert not done
    run.act(0.0)
    # The second action has the number 1.
    assert run.states["x"] == pytest.approx(np.exp(y) * np.sqrt(x) / 3 + 4 - 1, rel=1e-15)
