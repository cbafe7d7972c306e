"""The library's neurons and readouts as data."""

import re

import pytest
import sympy

from eprop_brian.equations import (
    ADAPTIVE,
    ALIF,
    LEAKY,
    LIF,
    NEURONS,
    RANDOM,
    READOUTS,
    get_neuron,
)
from eprop_brian.equations.teachers import Teacher
from eprop_brian.symbolic.expressions import evaluate, symbol
from eprop_brian.symbolic.parameters import resolve_parameters
from eprop_brian.symbolic.step_map import step_map


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


#: Parameters in SI units as the sources print them.
CITED = {
    # Brette and Gerstner 2005, table 1
    "adex": {
        **{"C": 281e-12, "g_L": 30e-9, "E_L": -70.6e-3, "V_T": -50.4e-3, "Delta_T": 2e-3},
        **{"tau_w": 0.144, "a": 4e-9, "b": 0.0805e-9},
    },
    # Izhikevich 2003, regular spiking
    "izhikevich": {"a": 0.02, "b": 0.2, "v_c": -65.0, "d": 8.0, "v_peak": 30.0},
    # NEST 3.10, glif_psc
    "glif": {
        **{"C": 58.72e-12, "g_L": 9.43e-9, "E_L": -78.85e-3, "v_th": -51.68e-3, "t_ref": 3.75e-3},
        **{"k_1": 3.0, "k_2": 100.0, "a_1": -9.18e-12, "a_2": -198.94e-12},
    },
}


@pytest.mark.parametrize("name", CITED)
def test_parameters_are_those_of_the_source(name):
    parameters = resolve_parameters(get_neuron(name).parameters, name)[0]
    for parameter, value in CITED[name].items():
        assert parameters[parameter] == pytest.approx(value, rel=1e-12), parameter


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
    with pytest.raises(ValueError, match=f"unknown parameter 'nothing'. There are: {parameter}"):
        item.with_parameters(nothing=1)


def test_a_learning_signal_has_other_options_and_parameters():
    signal = ADAPTIVE.with_options(decay=0.5, scale=2.0, delay="3 ms")
    assert (signal.parameters, signal.scale, signal.delay) == ({"decay": 0.5}, 2.0, "3 ms")
    assert signal.update == ADAPTIVE.update and ADAPTIVE.parameters["decay"] == 1e-3
    assert RANDOM.with_options(weights="given", matrix=[[1.0]]).matrix == [[1.0]]
    message = r"learning signal: unknown option 'decy' \(did you mean 'decay'\?\)"
    with pytest.raises(ValueError, match=message):
        ADAPTIVE.with_options(decy=0.5)


def test_an_unknown_parameter_of_equations_without_any():
    silent = Teacher(name="still", model="dx/dt = 0*Hz : 1")
    with pytest.raises(ValueError, match="teacher 'still': unknown parameter 'a'. There are: none"):
        silent.with_parameters(a=1)
