"""A small network that acts in a small environment, described by a file."""

import numpy as np

from eprop_brian import RunConfig
from eprop_brian.equations.environment import Code, Environment
from eprop_brian.symbolic.environment import environment_map
from eprop_brian.symbolic.environment_file import write_environment

#: Action 1 goes to the right, where the rewards are; the walk is over at its ends. One program runs
#: all that differ in their parameters.
WALK = Environment(
    name="walk",
    model="x : 1",
    codes=[Code(8, spike="rand() < 0.5 + 0.1*x*(i - 3.5)/3.5")],
    n_actions=2,
    most_actions=6,
    initial={"x": "rand() - 0.5"},
    step="x += 0.5*(2*action - 1) + 0.1*randn()",
    reward="gain*x + offset + cost*log(limit - x)",
    done="abs(x) > end",
    parameters={"gain": 1.0, "offset": 0.0, "cost": 0.0, "limit": 1000.0, "end": 2.0},
    action_every="3 ms",
)
BATCH_SIZE = 8


def configure(folder, *settings, environment=WALK, **run):
    """A run of the recipe for environments of one's own, in which `environment` stands."""
    path = folder / f"{environment.name}.toml"
    path.write_text(write_environment(environment))
    return RunConfig.from_recipe(
        "environment",
        run={"batch_size": BATCH_SIZE, "device": "cpp", "iterations": 20, **run},
        settings=[
            *(f"task.file={path}", "size.lif=6", "neuron.v_th=0.3", "optimizer.eta=0.02"),
            *settings,
        ],
    )


def assert_same_environment(first, second):
    """Two environments have the same statements and values."""
    one, other = environment_map(first), environment_map(second)
    assert (one.states, one.initial, one.step) == (other.states, other.initial, other.step)
    assert one.parameters == other.parameters
    for mine, theirs in zip(one.codes, other.codes, strict=True):
        assert (mine.size, mine.section) == (theirs.size, theirs.section)
        assert {*mine.parameters} == {*theirs.parameters}
        for name, value in mine.parameters.items():
            np.testing.assert_array_equal(value, theirs.parameters[name])
