"""Settings of a run by name: what a recipe and ``--set`` do to the neurons."""

from dataclasses import replace

import pytest

from eprop_brian.equations import NEURONS, get_neuron
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.training.config import RunConfig

TASK = "pattern-generation"


@pytest.mark.parametrize(
    ("text", "detach"), [("[]", ()), ('["v"]', ("v",)), ('["v", "a"]', ("v", "a"))]
)
def test_detached_states_can_be_set(text, detach, tmp_path):
    config = RunConfig.from_recipe(TASK, neuron="alif", settings=[f"neuron.detach={text}"])
    assert config.neurons["alif"].detach == detach
    config.write(tmp_path)
    assert RunConfig.read(tmp_path).neurons["alif"].detach == detach


def test_each_neuron_detaches_the_states_that_it_has():
    config = RunConfig.from_recipe("evidence-accumulation", settings=['neuron.detach=["v", "a"]'])
    assert {name: n.detach for name, n in config.neurons.items()} == {
        "lif": ("v",),
        "alif": ("v", "a"),
    }


@pytest.mark.parametrize("text", ["v", "true", "[1]", "'v'"])
def test_detach_is_a_list_of_states(text):
    with pytest.raises(ValueError, match=r"write a list of states, .*neuron\.detach=\[\] to"):
        RunConfig.from_recipe(TASK, settings=[f"neuron.detach={text}"])


def test_unknown_states_cannot_be_detached():
    with pytest.raises(ValueError, match=r"unknown 'u'.* There are: v$"):
        RunConfig.from_recipe(TASK, settings=['neuron.detach=["u"]'])


def test_detach_is_among_the_keys_of_a_neuron():
    with pytest.raises(ValueError, match="Did you mean 'detach'"):
        RunConfig.from_recipe(TASK, settings=["neuron.detatch=[]"])


def test_recipe_sets_parameters_of_the_same_unit_only():
    mine = RunConfig.from_recipe(TASK, neuron="lif_exp").neurons["lif_exp"].parameters
    assert mine["tau_m"] == "30 ms"
    assert mine["v_th"] == get_neuron("lif_exp").parameters["v_th"] == "-50 mV"
    with pytest.raises(EquationError):
        config = RunConfig.from_recipe(TASK, neuron="lif_exp", settings=["neuron.v_th=0.03"])
        config.make_network(config.make_task())


@pytest.mark.parametrize("name", NEURONS)
def test_every_library_neuron_makes_a_network(name):
    config = RunConfig.from_recipe(TASK, neuron=name)
    network = config.make_network(config.make_task())
    assert network.neurons == ((config.neurons[name], 100),)
    assert replace(config.neurons[name], parameters={}, constants={}) == replace(
        NEURONS[name], parameters={}, constants={}
    )
