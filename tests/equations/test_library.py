"""The library's neurons and readouts as data."""

import re

import pytest
import sympy

from eprop_brian.equations import ALIF, LEAKY, LIF, NEURONS, READOUTS, get_neuron
from eprop_brian.symbolic.parameters import evaluate
from eprop_brian.symbolic.step_map import step_map, symbol


def test_neurons_by_name():
    assert get_neuron("alif") is ALIF
    leaky = "lif alif lif_hard_reset alif_hard_reset stdp_lif stdp_alif lif_exp lif_alpha lif_cond"
    assert list(NEURONS) == [*leaky.split(), "adex", "izhikevich", "glif"]
    assert all(name == neuron.name for name, neuron in NEURONS.items())
    assert READOUTS["leaky"] is LEAKY


def test_unknown_neuron_names_the_library():
    with pytest.raises(ValueError, match=r"unknown neuron 'lff'.*lif, alif.*\.toml"):
        get_neuron("lff")


@pytest.mark.parametrize("neuron", NEURONS.values(), ids=NEURONS)
def test_a_neuron_says_where_it_comes_from_and_how_its_input_is_scaled(neuron):
    assert re.search(r"\b(19|20)\d\d\b", neuron.source)
    scales = {"zeta", "i_0", "g_0"} & {*neuron.parameters, *neuron.constants}
    assert len(scales) == 1
    assert neuron.on_pre or f"{scales.pop()}*I" in neuron.update


@pytest.mark.parametrize("neuron", NEURONS.values(), ids=NEURONS)
def test_a_neuron_rests_below_its_threshold(neuron):
    step = step_map(neuron)
    values = {**step.values(1e-3), **step.initial_values(1e-3), "dt": 1e-3}
    still = {"I": 0.0, "z": 0.0, "z_detached": 0.0, "not_refractory": 1.0}
    numbers = {symbol(k): v for k, v in {**values, **still}.items() if k not in step.states}
    states = [symbol(state) for state in step.states]
    own = [{"Detached": lambda x: x}, "numpy"]
    advance = [sympy.lambdify(states, x.subs(numbers), own) for x in step.composed.values()]
    h = [values[state] for state in step.states]
    for _ in range(200):
        h = [f(*h) for f in advance]
    values.update(zip(step.states, h, strict=True))
    assert evaluate(str(step.margin), values, "margin") < 0


@pytest.mark.parametrize("item", [LIF, LEAKY], ids=["neuron", "readout"])
def test_parameters_and_constants_can_be_replaced(item):
    parameter, constant = next(iter(item.parameters)), next(iter(item.constants))
    changed = item.with_parameters(**{parameter: "7 ms", constant: 0.5})
    assert changed.parameters[parameter] == "7 ms"
    assert changed.constants[constant] == "0.5"
    assert item.parameters[parameter] == "20 ms"
    with pytest.raises(ValueError, match=f"has no parameter 'nothing'; it has {parameter}"):
        item.with_parameters(nothing=1)
