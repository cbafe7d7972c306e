"""Runs of networks that a recipe describes part by part."""

import numpy as np
import pytest

from eprop_brian import RunConfig, read_network
from eprop_brian.base.files import read_arrays
from eprop_brian.runs.config import CONFIG
from eprop_brian.runs.graph_writing import ARRAYS
from support.command import call
from support.parts import MATRICES, RECIPE, configure


def network_of(config):
    return config.make_network(config.make_task())


def part(config, name):
    return next(p for p in network_of(config).parts if p.name == name)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("parts") / "layers.toml"
    path.write_text(RECIPE)
    return path


def test_the_command_trains_a_recipe_and_resumes_it_bit_for_bit(recipe, tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    # With learned delays: the figures, too, need all that is in a checkpoint.
    delays = ("--set", "projection.w_first_second.learned_delay={longest = '6 ms'}")
    call("train", "--recipe", recipe, *delays, "--device", "runtime", "--out", whole)
    shown = ("learning_curve", "trial_before", "trial_after", "weights", "trajectory")
    assert {path.stem for path in whole.glob("*.png")} == {*shown}
    start = ("train", "--recipe", recipe, *delays, "--device", "runtime", "--iterations", 2)
    call(*start, "--out", halves, "--no-figures")
    call("train", "--resume", halves, "--iterations", 6, "--no-figures")
    first, second = (read_arrays(folder / "checkpoint.npz") for folder in (whole, halves))
    assert first.keys() == second.keys() >= {*MATRICES, "delay.w_first_second"}
    for name, values in first.items():
        np.testing.assert_array_equal(getattr(values, "data", values), second[name].data)
    # The folder's settings are a recipe, and a network's file.
    again = RunConfig.from_recipe(whole / CONFIG)
    assert again == RunConfig.read(whole)
    assert read_network(whole / CONFIG, again.make_task()).shapes == network_of(again).shapes


def test_a_configuration_with_arrays_comes_back_from_its_files(tmp_path):
    np.save(tmp_path / "who.npy", np.eye(9, 35, dtype=bool))
    text = RECIPE.replace("connectivity = 0.7", f'connectivity = "{tmp_path / "who.npy"}"')
    config = configure(text=text)
    config.write(tmp_path / "run")
    assert (tmp_path / "run" / ARRAYS).exists()
    read = RunConfig.read(tmp_path / "run")
    assert read == config != configure() and config.is_of(tmp_path / "run")
    assert network_of(read).adjacency["into"].nnz == 9


def test_settings_name_parts_and_their_fields():
    config = configure(
        "projection.loop.connectivity=0.3",
        "projection.into.optimizer.name=gradient_descent",
        "projection.into.optimizer.eta=0.5",
        "population.first.size=8",
        "population.second.parameters.tau_a=300 ms",
        "readout.filter.tau_out=50 ms",
        "learning_signal.B_guided.scale=2",
        "projection.scale=0.5",
        "neuron.tau_m=25 ms",
    )
    network = network_of(config)
    assert network.shapes["into"] == (8, 35)
    assert network.adjacency["loop"].nnz == round(0.3 * 7 * 6)
    assert part(config, "into").optimizer.parameters["eta"] == 0.5
    assert {part(config, name).filter.parameters["tau_out"] for name in "xy"} == {"50 ms"}
    assert part(config, "B_guided").feedback.scale == 2
    assert {p.scale for p in network.parts if hasattr(p, "connectivity")} == {0.5}
    first, second = (p.system.step.parameters for p in network.populations)
    assert first["tau_m"] == second["tau_m"] == 0.025 and second["tau_a"] == 0.3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("projection.lop.scale=2", "unknown part or key 'lop' (did you mean 'loop'?)"),
        ("projection.loop.scal=2", "unknown key 'scal' (did you mean 'scale'?)"),
        ("projection.loop=2", "write projection.loop.KEY=VALUE"),
        ("projection.loop.learn=maybe", "projection.learn = 'maybe' must be true or false"),
        ("population.first.parameters.tau_n=1 ms", "unknown parameter 'tau_n'"),
        ("populaton.first.size=2", "unknown table 'populaton' (did you mean 'population'?)"),
        ("size.first=2", "unknown table 'size'"),
        ("neuron.tau_n=1 ms", "unknown parameter 'tau_n'"),
        ("population.first.neuron=lyf", "unknown neuron 'lyf'"),
        ("readout.x.size.small=1", "size = 1 is no table"),
        ("projection.loop.delay=no.npy", "no.npy: no such file"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(setting, message):
    with pytest.raises(ValueError) as refused:
        configure(setting)
    assert str(refused.value).startswith(f"--set {setting}: ") and message in str(refused.value)


def test_feedback_is_chosen_for_all_signals():
    kinds = {
        s.feedback.weights for s in network_of(configure(feedback="broadcast")).resolved.signals
    }
    assert kinds == {"broadcast"}
    # A scale or a decay of the recipe means nothing to another kind.
    assert "decay" not in str(configure(feedback="random").files()[CONFIG])
    with pytest.raises(ValueError, match="'B_guided': symmetric weights are those of the one"):
        network_of(configure(feedback="symmetric"))


def test_methods_change_the_signals_that_can_follow_them():
    config = configure()
    others = [method for method in config.model.methods if method != "readouts"]
    assert [*config.model.methods_of(config)] == others
    with pytest.warns(UserWarning, match="'B_guided' has none: it keeps its own"):
        symmetric = network_of(config.with_method("symmetric"))
    kinds = {s.name: s.feedback.weights for s in symmetric.resolved.signals}
    assert kinds.pop("B_guided") == "random" and {*kinds.values()} == {"symmetric"}
    bptt = config.with_method("bptt")
    assert not network_of(bptt).resolved.signals and bptt.network["gradient"] == "bptt"
    assert network_of(configure(network={"gradient": "bptt"})).gradient == "bptt"
    none = configure().with_tables({"learning_signal": config.learning_signal[1:2]})
    assert "symmetric" not in none.model.methods_of(none)
    with pytest.raises(ValueError, match="and 'B_guided' has none"):
        none.with_method("symmetric")


def test_another_neuron_takes_the_place_of_all():
    config = configure(neuron="lif")
    assert [p.neuron.name for p in network_of(config).populations] == ["lif", "lif"]
    with pytest.raises(ValueError, match="unknown neuron 'lyf'"):
        configure(neuron="lyf")
