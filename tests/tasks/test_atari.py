"""Games of the Atari 2600: small gray pictures, clipped rewards, actions that last."""

import numpy as np
import pytest

from eprop_brian.symbolic.environment import environment_map
from eprop_brian.tasks.atari import Atari

pytest.importorskip("cv2")
ale_py = pytest.importorskip("ale_py")
gymnasium = pytest.importorskip("gymnasium")


@pytest.fixture(scope="module")
def pong():
    return Atari()


def play(task, seed, actions):
    with task.player() as player:
        pictures, steps = [player.reset(seed)], []
        for action in actions:
            steps.append(player.step(action))
            pictures.append(steps[-1].observation)
    return np.array(pictures), [step[1:] for step in steps]


def test_an_input_for_each_pixel(pong):
    environment = pong.environment
    (code,) = environment_map(environment).codes
    assert (pong.n_inputs, pong.n_outputs, environment.n_actions) == (84 * 84, 4, 3)
    assert pong.possible_actions.chosen == (0, 3, 4)
    assert pong.n_steps == 1000 * 5
    assert np.array_equal(code.senses, np.arange(84 * 84))
    # Between -255 and 255 as -1 to 1: from black to white 0 to 1.
    assert environment.codes[0].value == "(2*(observation) - low - high)/(high - low)"
    assert set(environment.codes[0].parameters["high"]) == {255.0}


def mean_of_area(pixels, n):
    """Matrix that takes the mean of equal parts of a row of pixels."""
    edges = np.linspace(0, pixels, n + 1)[:, np.newaxis]
    covered = np.clip(edges, np.arange(pixels), np.arange(1, pixels + 1))
    return np.diff(covered, axis=0) * n / pixels


def test_pictures_are_means_of_areas(pong):
    with gymnasium.make("ALE/Pong-v5", frameskip=1, obs_type="grayscale") as reference:
        reference.reset(seed=3)
        noops = reference.unwrapped.np_random.integers(1, 31)
        for _ in range(noops):
            frame, *_ = reference.step(0)
    picture = play(pong, 3, [])[0].reshape(84, 84)
    expected = mean_of_area(210, 84) @ frame @ mean_of_area(160, 84).T
    # Rounded to whole numbers.
    assert np.abs(picture - expected).max() <= 0.51
    assert picture.max() > 200


def test_episodes_repeat_whatever_was_played_before(pong):
    actions = np.arange(40) % 3
    first = play(pong, 5, actions)
    with pong.player() as player:
        player.reset(seed=6)
        for _ in range(10):
            player.step(2)
        again = [player.reset(seed=5), *(player.step(action).observation for action in actions)]
    assert np.array_equal(first[0], again)
    assert not np.array_equal(first[0], play(pong, 6, actions)[0])


def test_a_point_that_is_lost(pong):
    """Without a move, the opponent scores: -1, after a while."""
    _, steps = play(pong, 1, [0] * 100)
    rewards = np.array([reward for reward, *_ in steps])
    assert set(rewards) == {-1.0, 0.0}


@pytest.mark.parametrize("clipped", [True, False])
def test_rewards_are_clipped(clipped):
    """An invader is worth 5 points or more."""
    actions = np.random.default_rng(1).integers(6, size=130)
    _, steps = play(Atari(game="SpaceInvaders", clipped=clipped), 1, actions)
    assert {reward for reward, *_ in steps} == ({0, 1} if clipped else {0, 5, 10, 15, 20})


def test_a_game_that_the_published_network_did_not_play_has_all_actions():
    assert Atari(game="FishingDerby").environment.n_actions == 18


def test_an_episode_is_cut_off():
    _, steps = play(Atari(most_actions=7), 1, [0] * 7)
    assert [ends for _, *ends in steps] == [[False, False]] * 6 + [[False, True]]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"game": "Pog"}, ValueError, "gymnasium cannot make 'ALE/Pog-v5'"),
        ({"frame_skip": 0}, ValueError, "frame_skip must be at least 1"),
        ({"actions": (0, 6)}, ValueError, r"ALE/Pong-v5: actions names 6: .* are 0 to 5"),
    ],
)
def test_wrong_settings(settings, error, message):
    with pytest.raises(error, match=message):
        Atari(**settings)


def test_libraries_are_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(ValueError, match=r"opencv-python-headless.*eprop_brian\[atari\]"):
        Atari()
