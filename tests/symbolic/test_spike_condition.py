"""Spike conditions of all forms, and the surrogate that neurons have by default."""

from dataclasses import replace

import pytest
from brian2 import ms, mV

from eprop_brian import LIF, Neuron, derive
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.step_map import step_map

NEURON = Neuron(
    name="own",
    model="dv/dt = (E_L - v)/tau : volt\ndw/dt = -w/tau : 1\ntheta = v_th + 2*mV*w : volt",
    on_pre="v += w*mV",
    threshold="v > v_th",
    reset="v = E_L; w += 1",
    parameters={"tau": 20 * ms, "v_th": -50 * mV, "E_L": -70 * mV},
    initial={"v": "E_L"},
)
PLAIN = "dv/dt = (E_L - v)/tau : volt\ndw/dt = -w/tau : 1"
FORMS = {
    "v > v_th": ("v > v_th", ""),
    "v >= v_th": ("v >= v_th", ""),
    "v_th < v": ("v > v_th", ""),
    "v_th <= v": ("v >= v_th", ""),
    "not v <= v_th": ("v > v_th", ""),
    "v - v_th > 0*mV": ("v - v_th > 0*mV", ""),
    "v > v_th and not_refractory": ("v > v_th", ""),
    "(v > v_th and w < 3)": ("v > v_th and 3 > w", "3 > w"),
    "w < 3 and v > v_th and E_L < v_th": (
        "v > v_th and 3 > w and v_th > E_L",
        "3 > w and v_th > E_L",
    ),
}


@pytest.mark.parametrize("threshold", FORMS)
def test_every_form_has_the_margin_of_what_weights_reach(threshold):
    step = step_map(replace(NEURON, threshold=threshold))
    text, others = FORMS[threshold]
    assert step.threshold == text
    assert str(step.margin).replace("1.0*", "") in ("v - v_th", "-v_th + v")
    surrogate = step_map(NEURON).surrogate
    assert step.surrogate == (f"({surrogate})*int({others})" if others else surrogate)


WRONG = {
    "": "a spike condition is needed",
    "v": "must be a comparison with >, >=, < or <=",
    "v > v_th and w": "joined by `and`; `w` is none",
    "v == v_th": "must be a comparison",
    "E_L < v < v_th": "must be a comparison",
    "v > v_th or w < 3": "`or` is not possible: a spike has one surrogate",
    "v > v_th and v < 0*mV": r"both `v > v_th` and `0\*mV > v`(.|\n)*\*int\(0\*mV > v\) > 0\*volt`",
    "v > w": "has unit 1 where V is needed",
    "v_th > E_L": "does not depend on any state",
    "v >": "cannot be read",
}


@pytest.mark.parametrize("threshold", WRONG)
def test_other_conditions_are_refused(threshold):
    with pytest.raises(EquationError, match=WRONG[threshold]):
        step_map(replace(NEURON, threshold=threshold))


@pytest.mark.parametrize(
    ("neuron", "surrogate"),
    [
        (replace(LIF, surrogate=""), "0.3/0.6*clip(1 - abs(v - v_th)/0.6, 0, 1)"),
        (NEURON, "0.3/(20*mV)*clip(1 - abs(v - v_th)/(20*mV), 0, 1)"),
        (
            replace(NEURON, threshold="v > theta", initial={"v": "E_L", "w": "1.5"}),
            "0.3/(23*mV)*clip(1 - abs(-2*mV*w + v - v_th)/(23*mV), 0, 1)",
        ),
        # The mean of the neurons.
        (
            replace(NEURON, parameters={**NEURON.parameters, "v_th": [-50, -44] * mV}),
            "0.3/(23*mV)*clip(1 - abs(v - v_th)/(23*mV), 0, 1)",
        ),
    ],
    ids=["lif", "units", "subexpression", "mean"],
)
def test_default_surrogate_is_as_wide_as_the_threshold_is_away(neuron, surrogate):
    found = step_map(neuron)
    assert found.surrogate == surrogate
    text = str(derive(neuron))
    assert f"psi = {surrogate}" in text
    assert "The surrogate is the default: piecewise linear" in " ".join(text.split())
    assert "The surrogate is the default" not in str(derive(LIF))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"initial": {"v": "v_th"}}, "the neuron starts there: give a surrogate"),
        ({"threshold": "v > v_th/w"}, "has no value(.|\n)*give a surrogate"),
        (
            {
                "parameters": {**NEURON.parameters, "mV": 3},
                "model": PLAIN,
                "on_pre": "v += w*v_th",
            },
            "is a unit",
        ),
    ],
)
def test_no_default_surrogate(changes, problem):
    with pytest.raises(EquationError, match=problem):
        step_map(replace(NEURON, **changes))
