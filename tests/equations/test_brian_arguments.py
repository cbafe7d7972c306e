"""A `Neuron` takes what Brian2's `NeuronGroup` takes, and means the same by it."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import Equations, Quantity, euler, ms, mV, nS, pF, second, volt

from eprop_brian import Neuron
from eprop_brian.equations.brian_arguments import number_text
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.neuron_file import neuron_of, neuron_tables
from eprop_brian.symbolic.parameters import parse_quantity
from eprop_brian.symbolic.step_map import step_map

MODEL = """
dv/dt = (E_L - v + g*(E_e - v)/g_L)/tau : volt (unless refractory)
dg/dt = -g/tau_s : siemens
theta = v_th : volt
"""
TEXTS = Neuron(
    name="own",
    model=MODEL,
    method="euler",
    on_pre="g += w*nS",
    threshold="v > theta",
    reset="",
    refractory="5 ms",
    surrogate="0.03/mV*clip(1 - abs(v - theta)/(10*mV), 0, 1)",
    parameters={
        **{"tau": "20 ms", "tau_s": "5 ms", "g_L": "10 nS"},
        **{"E_L": "-70 mV", "E_e": "0 mV", "v_th": "-50 mV"},
    },
    constants={"half": "0.5"},
    initial={"v": "-70*mV", "g": "1.5*nS"},
)
NAMESPACE = {
    **{"tau": 20 * ms, "tau_s": 5 * ms, "g_L": 10 * nS, "E_L": -70 * mV, "E_e": 0 * mV},
    **{"v_th": -50 * mV, "unused": 3 * pF, "function": np.exp, "mV": mV},
}
OBJECTS = Neuron(
    name="own",
    model=Equations(MODEL),
    method=euler,
    on_pre="g += w*nS",
    threshold="v > theta",
    reset=None,
    refractory=5 * ms,
    surrogate=TEXTS.surrogate,
    namespace=NAMESPACE,
    constants={"half": 0.5},
    initial={"v": -70 * mV, "g": "1.5 nS"},
)


def test_objects_mean_what_strings_mean():
    texts, objects = step_map(TEXTS), step_map(OBJECTS)
    assert objects.code == texts.code
    assert objects.units == texts.units
    assert objects.values(1e-4) == texts.values(1e-4)
    assert objects.initial_values(1e-4) == texts.initial_values(1e-4)
    assert objects.refractory_steps(1e-4) == texts.refractory_steps(1e-4) == 50


def test_objects_go_to_a_file_and_back():
    assert step_map(neuron_of(neuron_tables(OBJECTS))).code == step_map(TEXTS).code


@pytest.mark.parametrize("nothing", [None, False, ""])
def test_nothing_is_nothing(nothing):
    neuron = replace(TEXTS, refractory=nothing, model=MODEL.replace("(unless refractory)", ""))
    assert step_map(neuron).refractory_steps(1e-4) == 0


def test_parameters_come_before_the_namespace():
    neuron = replace(OBJECTS, parameters={**OBJECTS.parameters, "v_th": -40 * mV})
    assert neuron.parameters["v_th"] == -40 * mV
    own = Neuron(
        name="own", model="dv/dt = -v/tau : 1", on_pre="v += w", threshold="v > 1",
        surrogate="1/(1 + abs(v - 1))**2", parameters={"tau": 1 * ms}, namespace={"tau": 2 * ms},
    )  # fmt: skip
    assert own.parameters == {"tau": 1 * ms}


@pytest.mark.parametrize(
    "quantity",
    [0.1 * 3 * mV, 1e-3 / 3 * second, -65.3 * mV / ms, 3.3e-21 * volt, 0.2 * volt / second**0.5, 7],
)
def test_numbers_are_kept_to_the_last_digit(quantity):
    read = Quantity(parse_quantity(number_text(quantity), "here"))
    assert read.dim == Quantity(quantity).dim
    assert float(read / Quantity(1, dim=read.dim)) == float(
        Quantity(quantity) / Quantity(1, dim=read.dim)
    )


WRONG = {
    "a time of the wrong kind": ({"refractory": 5 * mV}, "must be a time"),
    "a time for each": ({"refractory": [1, 2] * ms}, "has a value per neuron: make it a parameter"),
    "a function": (
        {"namespace": {"f": np.sin}, "model": MODEL + "x = f(1) : 1"},
        "is a function: equations may call Brian2's functions only",
    ),
    "a number as a condition": ({"threshold": 3}, "threshold = 3"),
    "an initial value of the wrong unit": ({"initial": {"v": 3 * ms}}, "s where V"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_what_does_not_fit_is_refused_by_name(case):
    changes, problem = WRONG[case]
    with pytest.raises(EquationError, match=problem):
        step_map(replace(OBJECTS, **changes))


def test_a_namespace_that_is_none_is_named():
    with pytest.raises(ValueError, match="namespace is a mapping from names, not"):
        replace(TEXTS, namespace=[1])
