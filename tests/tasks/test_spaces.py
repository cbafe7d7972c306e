"""Observations as vectors, and actions of a network as those of an environment."""

import re

import numpy as np
import pytest

from eprop_brian.tasks.spaces import read_actions, read_observations

spaces = pytest.importorskip("gymnasium").spaces

NESTED = spaces.Dict(
    {
        "arm": spaces.Tuple((spaces.Box(-1, 3, (2, 2)), spaces.Discrete(4, start=-1))),
        "lights": spaces.MultiBinary(3),
        "dials": spaces.MultiDiscrete([2, 5], start=[0, 10]),
        "speed": spaces.Box(-np.inf, np.inf, ()),
    }
)


def nested(**changed):
    return {
        "arm": (np.array([[0, 1], [2, 3]]), 1),
        "lights": [0, 1, 1],
        "dials": np.array([1, 14]),
        "speed": 7.5,
        **changed,
    }


def test_a_nested_observation_is_a_vector():
    observations = read_observations(NESTED)
    # A dictionary's parts come in the order of their keys, as in gymnasium.
    assert list(NESTED.spaces) == ["arm", "dials", "lights", "speed"]
    expected = [0, 1, 2, 3, 2, 1, 4, 0, 1, 1, 7.5]
    assert observations.vector(nested()).tolist() == expected
    assert len(observations) == len(expected)
    assert observations.classes.tolist() == [0, 0, 0, 0, 4, 2, 5, 2, 2, 2, 0]
    assert observations.low.tolist() == [-1] * 4 + [-1, 0, 10, 0, 0, 0, -np.inf]
    assert observations.high.tolist() == [3] * 4 + [2, 1, 14, 1, 1, 1, np.inf]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"arm": (np.zeros((2, 2)),)}, "the observation['arm'] has no 1: it is (array("),
        (
            {"arm": (np.zeros(4), 0)},
            "the observation['arm'][0] has the shape (4,), expected (2, 2)",
        ),
        (
            {"arm": (np.zeros((2, 2)), 3)},
            "the observation['arm'][1] is 3, expected a whole number from -1 to 2",
        ),
        (
            {"lights": [0, 1, 0.5]},
            "component 2 of the observation['lights'] is 0.5, expected a whole number from 0 to 1",
        ),
        (
            {"dials": [1, 15]},
            "component 1 of the observation['dials'] is 15, expected a whole number from 10 to 14",
        ),
        ({"speed": np.nan}, "the observation['speed'] is nan, expected a finite number"),
        ({"speed": "fast"}, "the observation['speed'] is 'fast', expected numbers of shape ()"),
    ],
)
def test_what_does_not_fit_is_named(changed, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        read_observations(NESTED).vector(nested(**changed))


def test_a_missing_part_is_named():
    observation = nested()
    del observation["speed"]
    with pytest.raises(ValueError, match=r"^the observation has no 'speed': it is \{'arm'"):
        read_observations(NESTED).vector(observation)


def test_the_largest_float32_is_no_bound():
    largest = np.finfo(np.float32).max
    observations = read_observations(
        spaces.Box(np.float32([-largest, 0]), np.float32([1, largest]))
    )
    assert observations.low.tolist() == [-np.inf, 0]
    assert observations.high.tolist() == [1, np.inf]


def test_a_space_without_numbers_is_refused():
    space = spaces.Dict({"words": spaces.Text(5)})
    with pytest.raises(TypeError, match=r"^the observation\['words'\] is of the space Text.*Box"):
        read_observations(space)


def test_chosen_actions():
    actions = read_actions(spaces.Discrete(6), (0, 3, 4))
    assert (actions.n_actions, actions.action_size) == (3, 0)
    assert [actions.converted(k) for k in range(3)] == [0, 3, 4]
    with pytest.raises(ValueError, match="there is no action 3, expected .* from 0 to 2"):
        actions.converted(3)


@pytest.mark.parametrize(
    ("space", "chosen", "message"),
    [
        (spaces.Discrete(3, start=1), (0, 1), "actions names 0: those of this .* are 1 to 3"),
        (spaces.Discrete(3), (1, 1), r"actions names an action twice: \[1, 1\]"),
        (spaces.Box(-1, 1, (2,)), (0, 1), "actions is for discrete actions"),
    ],
)
def test_wrong_choices_of_actions(space, chosen, message):
    with pytest.raises(ValueError, match=message):
        read_actions(space, chosen)


@pytest.mark.parametrize("space", [spaces.MultiBinary(2), spaces.Box(0, 9, (2,), np.int64)])
def test_other_actions_are_refused(space):
    with pytest.raises(TypeError, match="a network chooses one of a Discrete space, or a vector"):
        read_actions(space)


def test_vectors_are_scaled_and_clipped_to_their_bounds():
    low, high = np.float32([[-2, 0, -np.inf, 0.5]]), np.float32([[2, 10, np.inf, np.inf]])
    actions = read_actions(spaces.Box(low, high))
    assert (actions.n_actions, actions.action_size) == (0, 4)
    converted = actions.converted([0.5, -3.0, 7.0, -1.0])
    assert converted.dtype == np.float32
    assert converted.tolist() == [[1.0, 0.0, 7.0, 0.5]]


def test_a_vector_of_one_may_be_a_number():
    actions = read_actions(spaces.Box(-2, 2, (1,)))
    assert actions.converted(-0.25).tolist() == actions.converted([-0.25]).tolist() == [-0.5]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([0.0], r"the action has the shape \(1,\), expected \(2,\)"),
        ([0.0, np.nan], r"the action is \[0.0, nan\], expected finite numbers"),
    ],
)
def test_wrong_vectors(action, message):
    with pytest.raises(ValueError, match=message):
        read_actions(spaces.Box(-1, 1, (2,))).converted(action)
