"""Playing an environment of gymnasium: what crosses is checked, and episodes repeat."""

import contextlib

import numpy as np
import pytest

from eprop_brian.tasks.player import EnvironmentFailed, Player
from eprop_brian.tasks.spaces import read_actions, read_observations

gymnasium = pytest.importorskip("gymnasium")
Box, Discrete = gymnasium.spaces.Box, gymnasium.spaces.Discrete
MOST_ACTIONS = 20


class Counter(gymnasium.Env):
    """Counts its steps; what it returns at reset and in its second step can be replaced."""

    observation_space = Box(-1, 1, (2,))
    action_space = Discrete(3, start=5)

    def __init__(self, *, at_reset=None, at_step=None, at_close=None):
        self.at_reset, self.at_step, self.at_close = at_reset, at_step, at_close
        self.n_closed = self.n_resets = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n, self.n_resets = 0, self.n_resets + 1
        usual = self.np_random.random(2).astype(np.float32), {}
        return usual if self.at_reset is None else self.at_reset(*usual)

    def step(self, action):
        self.n, self.action = self.n + 1, action
        usual = np.zeros(2, np.float32), 1.0, False, False, {}
        return usual if self.at_step is None or self.n < 2 else self.at_step(*usual)

    def close(self):
        self.n_closed += 1
        if self.at_close:
            self.at_close()


def raises(error):
    def call(*_):
        raise error

    return call


def player_of(environment):
    return Player(
        "Counter-v0",
        environment,
        read_observations(environment.observation_space),
        read_actions(environment.action_space),
        MOST_ACTIONS,
    )


def with_reward(reward):
    return lambda o, r, *rest: (o, reward, *rest)


def with_observation(observation):
    return lambda o, *rest: (observation, *rest)


STEP = r"environment 'Counter-v0' in step 2 of an episode: "
RESET = r"environment 'Counter-v0' at reset: "
WRONG_STEPS = {
    "observation of another size": (
        with_observation(np.zeros(3)),
        r"the observation has the shape \(3,\), expected \(2,\)",
    ),
    "NaN in the observation": (
        with_observation(np.array([0, np.nan])),
        "component 1 of the observation is nan, expected a finite number",
    ),
    "infinite observation": (
        with_observation([-np.inf, 0]),
        "component 0 of the observation is -inf, expected a finite number",
    ),
    "no observation": (with_observation(None), r"is None, expected numbers of shape \(2,\)"),
    "text": (with_observation(["a", "b"]), r"is \['a', 'b'\], expected numbers"),
    "rows of different lengths": (with_observation([[1], [1, 2]]), r"is \[\[1\], \[1, 2\]\], exp"),
    "NaN reward": (with_reward(np.nan), "the reward is nan, expected one finite number"),
    "reward of a vector": (with_reward(np.ones(2)), r"the reward is array\(\[1., 1.\]\), expected"),
    "no reward": (with_reward(None), "the reward is None, expected one finite number"),
    "four values, as the old Gym": (
        lambda o, r, done, _, info: (o, r, done, info),
        "it returned 4 values, expected five: observation, reward, terminated, truncated",
    ),
    "nothing": (lambda *_: None, "it returned None, expected five"),
    "an end that is no truth value": (
        lambda o, r, *_: (o, r, None, False, {}),
        "terminated is None, expected true or false",
    ),
    "an environment that raises": (
        raises(ZeroDivisionError("division by zero")),
        "it raised ZeroDivisionError on the action 6: division by zero",
    ),
}
WRONG_RESETS = {
    "observation alone, as the old Gym": (
        lambda o, _: o,
        r"it returned array\(.*\), expected an observation and a dictionary",
    ),
    "observation of another size": (
        lambda o, info: (np.zeros((2, 1)), info),
        r"the observation has the shape \(2, 1\), expected \(2,\)",
    ),
    "an environment that raises": (
        raises(OSError("the\nlights are out")),
        "it raised OSError: the lights are out",
    ),
}


@pytest.mark.parametrize(("at_step", "message"), WRONG_STEPS.values(), ids=WRONG_STEPS)
def test_a_wrong_step_ends_in_a_sentence_and_closes_the_environment(at_step, message):
    environment = Counter(at_step=at_step)
    player = player_of(environment)
    player.reset(seed=1)
    player.step(0)
    with pytest.raises(EnvironmentFailed, match=f"^{STEP}.*{message}") as failure:
        player.step(1)
    assert "\n" not in str(failure.value)
    assert environment.n_closed == 1
    with pytest.raises(RuntimeError, match="'Counter-v0' is closed"):
        player.step(1)
    player.close()
    assert environment.n_closed == 1


@pytest.mark.parametrize(("at_reset", "message"), WRONG_RESETS.values(), ids=WRONG_RESETS)
def test_a_wrong_reset_ends_in_a_sentence_and_closes_the_environment(at_reset, message):
    environment = Counter(at_reset=at_reset)
    with pytest.raises(EnvironmentFailed, match=f"^{RESET}.*{message}"):
        player_of(environment).reset(seed=1)
    assert environment.n_closed == 1


@pytest.mark.parametrize("action", [3, -1, 1.0, None, [1], True], ids=repr)
def test_an_action_that_does_not_exist(action):
    environment = Counter()
    player = player_of(environment)
    player.reset(seed=1)
    with pytest.raises(EnvironmentFailed, match=r"step 1 .*: there is no action .* from 0 to 2$"):
        player.step(action)
    assert environment.n_closed == 1


def test_an_environment_without_one_of_its_actions():
    class Without(Counter):
        def step(self, action):
            assert action != 7, "what is 7?"
            return super().step(action)

    with player_of(Without()) as player:
        player.reset(seed=1)
        player.step(1)
        with pytest.raises(EnvironmentFailed, match="AssertionError on the action 7: what is 7"):
            player.step(2)


def test_closed_on_all_ways_out():
    environment = Counter()
    with player_of(environment) as player:
        player.reset(seed=1)
    assert environment.n_closed == 1

    environment = Counter()
    with contextlib.suppress(KeyboardInterrupt), player_of(environment):
        raise KeyboardInterrupt
    assert environment.n_closed == 1

    # What goes wrong while it is closed does not hide why it was closed.
    environment = Counter(at_step=with_reward(np.nan), at_close=raises(OSError("stuck")))
    with pytest.raises(EnvironmentFailed, match="the reward is nan"), player_of(environment) as p:
        p.reset(seed=1)
        p.step(0)
        p.step(0)
    with (
        pytest.raises(EnvironmentFailed, match="when it was closed: it raised OSError: stuck"),
        player_of(Counter(at_close=raises(OSError("stuck")))),
    ):
        pass


def test_an_interrupt_of_the_environment_is_no_failure():
    environment = Counter(at_step=raises(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt), player_of(environment) as player:
        player.reset(seed=1)
        player.step(0)
        player.step(0)
    assert environment.n_closed == 1


def test_an_episode_has_a_beginning_and_an_end():
    with player_of(Counter(at_step=lambda o, r, *_: (o, r, np.True_, False, {}))) as player:
        with pytest.raises(RuntimeError, match="call reset first"):
            player.step(0)
        player.reset(seed=1)
        assert player.step(0)[1:] == (1.0, False, False)
        assert player.step(0)[1:] == (1.0, True, False)
        with pytest.raises(RuntimeError, match="call reset first"):
            player.step(0)


def test_cut_off_after_the_most_actions():
    with player_of(Counter()) as player:
        player.reset(seed=1)
        ends = [player.step(0)[2:] for _ in range(MOST_ACTIONS)]
    assert ends == [(False, False)] * (MOST_ACTIONS - 1) + [(False, True)]


def test_what_was_cut_off_goes_on():
    environment = Counter()
    with player_of(environment) as player:
        first = player.go_on(seed=1)  # there is nothing yet to go on with
        *_, last = [player.step(0) for _ in range(MOST_ACTIONS)]
        assert last.truncated
        resets = environment.n_resets
        assert np.array_equal(player.go_on(seed=2), last.observation)
        assert environment.n_resets == resets
        # An episode that is left before its end, or is over, does not go on.
        player.step(0)
        assert not np.array_equal(player.go_on(seed=2), first)
        assert environment.n_resets == resets + 1
        for _ in range(MOST_ACTIONS):
            player.step(0)
        assert np.array_equal(player.reset(seed=1), first)
        assert environment.n_resets == resets + 2


def test_what_the_environment_has_ended_does_not_go_on():
    environment = Counter(at_step=lambda o, r, *_: (o, r, False, np.True_, {}))
    with player_of(environment) as player:
        first = player.go_on(seed=1)
        player.step(0)
        assert player.step(0).truncated
        assert np.array_equal(player.go_on(seed=1), first)


def test_a_seed_of_64_bits_repeats_an_episode_whatever_was_played_before():
    seed = 2**63 + 12345
    with player_of(Counter()) as player, player_of(Counter()) as other:
        first = player.reset(seed)
        player.step(1)
        different = player.reset(seed + 1)
        assert np.array_equal(player.reset(seed), first)
        assert np.array_equal(other.reset(seed), first)
        assert not np.array_equal(different, first)


def test_actions_are_the_environments():
    environment = Counter()
    with player_of(environment) as player:
        player.reset(seed=1)
        for action, expected in ((0, 5), (np.int64(1), 6), (np.array(2), 7)):
            player.step(action)
            assert environment.action == expected
            assert type(environment.action) is int
