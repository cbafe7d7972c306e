"""The library's neurons and readouts as data."""

import pytest

from eprop_brian.equations import ALIF, LEAKY, LIF, NEURONS, READOUTS, get_neuron


def test_neurons_by_name():
    assert get_neuron("alif") is ALIF
    assert {"lif", "alif"} <= NEURONS.keys()
    assert all(name == neuron.name for name, neuron in NEURONS.items())
    assert READOUTS["leaky"] is LEAKY


def test_unknown_neuron_names_the_library():
    with pytest.raises(ValueError, match=r"unknown neuron 'lff'.*lif, alif.*\.toml"):
        get_neuron("lff")


@pytest.mark.parametrize("item", [LIF, LEAKY], ids=["neuron", "readout"])
def test_parameters_and_constants_can_be_replaced(item):
    parameter, constant = next(iter(item.parameters)), next(iter(item.constants))
    changed = item.with_parameters(**{parameter: "7 ms", constant: 0.5})
    assert changed.parameters[parameter] == "7 ms"
    assert changed.constants[constant] == "0.5"
    assert item.parameters[parameter] == "20 ms"
    with pytest.raises(ValueError, match=f"has no parameter 'nothing'; it has {parameter}"):
        item.with_parameters(nothing=1)
