"""A small network that is described part by part, with several parts of every kind."""

import tomllib
from pathlib import Path

from eprop_brian import RunConfig
from eprop_brian.runs.recipes import Recipe

#: Two layers and two readouts, of spikes and of a membrane; the first layer has a signal of one
#: that does not hear it.
RECIPE = """# Written for tests, our own.

[run]
model = "eprop"
task = "lemniscate"
iterations = 6

[task]
n_inputs = 50
n_steps = 60

[[inputs]]
name = "left"
size = 35

[[inputs]]
name = "right"

[[population]]
name = "first"
neuron = "lif"
size = 9
parameters = {v_th = 0.4}

[[population]]
name = "second"
neuron = "alif"
size = 7
parameters = {v_th = 0.4}

[[projection]]
name = "into"
source = "left"
target = "first"
connectivity = 0.7

[[projection]]
source = "right"
target = ["first", "second"]

[[projection]]
source = "first"
target = "second"
connectivity = 0.5
delay = ["1 ms", "4 ms"]

[[projection]]
name = "loop"
source = "second"
target = "second"
weights = "glorot"

[[projection]]
source = ["first", "second"]
target = "y"
connectivity = 0.6

[[projection]]
source = "second"
target = "x"
reads = "v"

[[readout]]
name = "x"
size = 1

[[readout]]
name = "y"
size = 1
loss = "log(cosh(y - y_target))"

[[learning_signal]]
source = "x"
target = "second"

[[learning_signal]]
name = "B_guided"
source = "x"
target = "first"
feedback = "random"
scale = 0.5

[[learning_signal]]
source = "y"
target = ["first", "second"]
feedback = "adaptive"
decay = 0.01

[network]
c_reg = 1.0

[optimizer]
eta = 0.01
"""
#: Its matrices, by name.
MATRICES = (
    *("into", "w_right_first_second", "w_first_second", "loop"),
    *("w_first_second_y", "w_second_x"),
)


def configure(*settings: str, text: str = RECIPE, **options) -> RunConfig:
    """The run of a recipe, with other settings."""
    recipe = Recipe(Path("parts.toml"), tomllib.loads(text))
    return RunConfig.from_recipe(recipe, settings=settings, **options)
