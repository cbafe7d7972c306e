"""Settings of networks that act, in a recipe's table `[agent]` and part by part."""

import tomllib

import numpy as np
import pytest

from eprop_brian import RunConfig
from eprop_brian.equations.environments import CARTPOLE
from eprop_brian.network.parts import Agent
from eprop_brian.runs.config import CONFIG
from eprop_brian.runs.network_file import read_network, write_network
from eprop_brian.symbolic.environment_file import write_environment
from eprop_brian.tasks import get_task
from support.acting import WALK

#: Those that are compared by default.
METHODS = ("symmetric", "random", "adaptive", "readouts", "bptt")
#: The recipe of cartpole part by part.
PARTS = """
[run]
task = "cartpole"
batch_size = 8

[task]
reward_per_step = 0.02

[[inputs]]

[[population]]
neuron = "lif"
size = 64
parameters = {tau_m = "5 ms", v_th = 0.6, t_ref = "2 ms"}

[[readout]]
name = "policy"
filter = {tau_out = "5 ms", zeta_out = "1 - kappa"}
loss = "-advantage*y_target*log(p) + 0.005*p*log(p)"

[[readout]]
name = "value"
filter = {tau_out = "5 ms", zeta_out = "1 - kappa"}

[[projection]]
source = "inputs"
target = "lif"
name = "w_in"
scale = 0.6

[[projection]]
source = "lif"
target = "lif"
name = "w_rec"
scale = 0.5

[[projection]]
source = "lif"
target = "policy"
name = "w_policy"
scale = 0.3

[[projection]]
source = "lif"
target = "value"
name = "w_value"
scale = 0.3

[[learning_signal]]
source = "policy"
target = "lif"
name = "B_policy"

[[learning_signal]]
source = "value"
target = "lif"
name = "B_value"

[[agent]]
discount = 0.99

[network]
c_reg = 20.0
f_target = "50 Hz"

[optimizer]
name = "adam"
eta = 0.003
"""


def configure(*settings):
    return RunConfig.from_recipe("cartpole", settings=settings)


def test_settings_of_an_agent_reach_the_network(tmp_path):
    config = configure(
        *("agent.discount=0.9", "agent.trace_decay=0.8", "agent.bootstrap=true"),
        *("agent.entropy=0.25", "agent.value_weight=0.5", "network.weight_scale={w_in = 3.0}"),
        "network.fixed=['w_rec']",
    )
    network = config.make_network()
    assert network.resolved.agent == Agent(discount=0.9, trace_decay=0.8, bootstrap=True)
    policy, value = network.resolved.readouts
    assert "0.25" in policy.loss.loss and value.loss.loss.startswith("0.5*")
    assert [c.scale for c in network.resolved.connections] == [3.0, 1.0, 1.0, 1.0]
    assert [c.plastic for c in network.resolved.connections] == [True, False, True, True]
    config.write(tmp_path)
    assert RunConfig.read(tmp_path) == config


def test_continuous_actions_have_a_noise_and_no_bonus():
    reaching = RunConfig.from_recipe("reaching", settings=["agent.noise=0.5"])
    assert reaching.make_network().resolved.agent.noise == 0.5
    other = RunConfig.from_recipe("reaching", settings=["agent.entropy=0.1"])
    with pytest.raises(ValueError, match="entropy = 0.1 has no effect on continuous actions"):
        other.make_network()


def test_the_scale_multiplies_initial_weights():
    once, twice = (
        configure(f"network.weight_scale={{w_policy = {scale}}}").make_network().initial_weights(4)
        for scale in (1.0, 2.5)
    )
    np.testing.assert_allclose(twice["w_policy"], 2.5 * once["w_policy"], rtol=1e-15)
    np.testing.assert_array_equal(twice["w_rec"], once["w_rec"])


@pytest.mark.parametrize(
    ("task", "setting", "message"),
    [
        ("digits", "agent.discount=0.9", r"\[agent\] discount: task 'digits' has no environment"),
        ("cartpole", "network.loss=squared_error", "network.loss: task 'cartpole' has an actor"),
        ("cartpole", "network.fixed=w_in", r"fixed is a list of weight matrices, .*got 'w_in'"),
        (
            "cartpole",
            "network.fixed=['w_out']",
            "unknown weight matrix in fixed 'w_out'. There are: w_in, w_rec, w_pol",
        ),
        ("digits", "network.weight_scale={w = 2.0}", "unknown weight matrix in weight_scale 'w'"),
        ("digits", "network.weight_scale=2.0", "weight_scale names weight matrices, e.g."),
        ("cartpole", "agent.discount=1.5", "discount of the agent must be from 0 to 1, not 1.5"),
    ],
)
def test_what_does_not_fit_is_refused(task, setting, message):
    with pytest.raises(ValueError, match=message):
        RunConfig.from_recipe(task, settings=[setting]).make_network()


def test_a_setting_of_the_agent_has_its_kind():
    with pytest.raises(ValueError, match="agent.bootstrap = 3 must be true or false"):
        configure("agent.bootstrap=3")
    with pytest.raises(ValueError, match="unknown key 'gamma'"):
        configure("agent.gamma=0.9")


def test_other_runs_have_no_such_table():
    assert "agent" not in tomllib.loads(RunConfig.from_recipe("digits").files()[CONFIG])
    assert "agent" in tomllib.loads(configure().files()[CONFIG])


def test_a_network_part_by_part_is_that_of_the_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(PARTS)
    config = RunConfig.from_recipe(path)
    same = configure("agent.entropy=0.005", "agent.trace_decay=1.0")
    network, usual = config.make_network(), same.make_network()
    mine, theirs = network.initial_weights(2), usual.initial_weights(2)
    assert mine.keys() == theirs.keys()
    for name, weights in theirs.items():
        np.testing.assert_array_equal(mine[name], weights, err_msg=name)
    for ours, other in zip(network.resolved.readouts, usual.resolved.readouts, strict=True):
        assert (ours.size, ours.loss.loss, ours.loss.error) == (
            other.size,
            other.loss.loss,
            other.loss.error,
        )
    assert network.resolved.agent == usual.resolved.agent
    config.write(tmp_path)
    assert RunConfig.read(tmp_path) == config
    changed = RunConfig.from_recipe(path, settings=["agent.discount=0.5"])
    assert changed.make_network().resolved.agent.discount == 0.5


def test_the_actor_has_the_usual_loss_if_none_is_given(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(PARTS.replace('loss = "-advantage*y_target*log(p) + 0.005*p*log(p)"\n', ""))
    policy, _ = RunConfig.from_recipe(path).make_network().resolved.readouts
    assert policy.loss.loss == "-advantage*y_target*log(p)"


def test_network_files_have_an_agent(tmp_path):
    network = configure("agent.trace_decay=0.7").make_network()
    write_network(tmp_path / "network.toml", network)
    again = read_network(tmp_path / "network.toml")
    assert again.resolved.agent == Agent(discount=0.99, trace_decay=0.7)
    assert again.parts[-1] == network.parts[-1]


def test_methods_of_networks_that_act():
    config = configure()
    assert config.model.methods_of(config) == METHODS
    assert config.model.curves(config) == ("loss", "return")
    alone = config.with_method("readouts").make_network()
    learning = {c.name for c in alone.resolved.connections if c.plastic}
    assert learning == {"w_policy", "w_value"}
    random = config.with_method("random").make_network()
    assert {s.feedback.weights for s in random.resolved.signals} == {"random"}
    digits = RunConfig.from_recipe("digits")
    assert "readouts" not in digits.model.methods_of(digits)
    assert digits.with_method("readouts").make_network().resolved.keys.trained == ("w_out",)


def test_the_readouts_learn_alone_part_by_part(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(PARTS)
    config = RunConfig.from_recipe(path)
    assert config.model.methods_of(config) == METHODS
    alone = config.with_method("readouts").make_network()
    assert {c.name for c in alone.resolved.connections if c.plastic} == {"w_policy", "w_value"}


def test_the_network_of_a_task_takes_the_environment_of_the_task():
    task = get_task("cartpole", reward_per_step=0.5)
    assert task.environment.parameters["reward_per_step"] == 0.5
    assert CARTPOLE.parameters["reward_per_step"] == 1.0
    assert task.solved_return == 237.5


def test_an_environment_file_is_the_argument_of_its_task(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(write_environment(WALK))
    config = RunConfig.from_recipe(f"environment:{path}")
    assert config.run["task"] == "environment"
    assert config.make_task().environment.name == "walk"
