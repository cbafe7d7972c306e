"""Codes of an environment outside of the program, which sense components of an observation."""

import re

import numpy as np
import pytest

from eprop_brian.equations.environment import Code, Environment
from eprop_brian.symbolic.environment import OBSERVATION, environment_map
from eprop_brian.symbolic.errors import EquationError


def outside(**changed):
    code = {"size": 2, "value": "observation/scale", "parameters": {"scale": 3}, "senses": [1, 0]}
    code |= {key: changed.pop(key) for key in list(changed) if key in (*code, "spike")}
    environment = {"model": "", "external": object, "codes": [Code(**code)]}
    return Environment(name="world", most_actions=9, n_actions=2, **{**environment, **changed})


def test_statement():
    (code,) = environment_map(outside()).codes
    assert code.section.statements == (f"z = {OBSERVATION}/c5_scale",)
    assert code.parameters == {"c5_scale": 3}
    assert np.array_equal(code.senses, [1, 0])


def test_an_environment_inside_has_no_observation():
    (code,) = environment_map(
        outside(model="x : 1", external=None, value="x", parameters={}, senses=None)
    ).codes
    assert code.senses is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": "x : 1"}, "model = x : 1\n`model` is not for an environment that runs outside"),
        ({"senses": None}, "senses = None\nmust say which component of the observation each input"),
        ({"senses": [0]}, "senses = .0.\nmust be 2 whole numbers from 0 on, one for each input"),
        ({"senses": [0.5, 1]}, "must be 2 whole numbers"),
        ({"senses": [-1, 1]}, "must be 2 whole numbers"),
        ({"external": None}, "names components of an observation, which only an environment outs"),
        ({"parameters": {"observation": 1}}, "observation\nis a reserved name"),
        (
            {"model": "x : 1", "external": None, "senses": None, "parameters": {}},
            "'observation' is not defined",
        ),
    ],
)
def test_mistakes(changed, message):
    with pytest.raises(EquationError) as error:
        environment_map(outside(**{"value": "observation", **changed}))
    text = "\n".join(line.strip() for line in str(error.value).splitlines())
    assert re.search(message, text), text
