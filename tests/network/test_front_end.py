"""Neurons with conditions, pieces, declarations and all kinds of refractoriness are Brian2's.

Every spike is equal, and the gradient is the derivative of the code that Brian2 generates.
"""

from dataclasses import dataclass, replace

import brian2
import numpy as np
import pytest

from eprop_brian import Network, Neuron
from eprop_brian.equations import GRADIENT_DESCENT
from eprop_brian.network.program import make_program
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.neuron_file import read_neuron, write_neuron
from eprop_brian.symbolic.step_map import step_map
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.session import Session
from support.arrays import deviation
from support.by_hand import gradient_of
from support.published import Row, compare
from support.trials import trials_of

TOLERANCE = 1e-9

LIF = Neuron(
    name="own",
    model="dv/dt = (E_L - v + 5*mV)/tau : volt (unless refractory)\nda/dt = -a/(30*ms) : 1",
    method="euler",
    threshold="v > v_th",
    reset="v = E_L; a += 1",
    on_pre="v += w*mV",
    surrogate="0.3/(10*mV)*clip(1 - abs(v - v_th)/(10*mV), 0, 1)",
    parameters={"tau": "20 ms", "E_L": "-70 mV", "v_th": "-60 mV", "t_ref": "3 ms"},
    initial={"v": "E_L"},
)
ACTIVATED = {
    # A gate that opens on the upstroke and closes slowly, as a condition for spikes has it.
    "model": """
    dv/dt = (E_L - v + 5*mV - 30*mV*h)/tau : volt
    dm/dt = (clip((v - E_L)/(8*mV), 0, 1) - m)/(2*ms) : 1
    dh/dt = (2*int(m > 0.5) - h)/(5*ms) : 1
    """,
    "threshold": "m > 0.6",
    "refractory": "m > 0.5",
    "reset": "",
    "surrogate": "0.3*exp(-abs(m - 0.5))",
}
FREE = LIF.model.replace(" (unless refractory)", "")
CASES = {
    "condition": {"refractory": "v > -61*mV", "reset": "v -= 8*mV; a += 1", "model": FREE},
    "condition_held": {"refractory": "v > -66*mV and a > 0.8"},
    "condition_of_another": {"refractory": "a > 0.9"},
    "condition_of_two": {"refractory": "a > 0.9 and v < v_th", "model": FREE},
    "condition_kept": {
        "refractory": "high > 0.9",
        "model": LIF.model + "\nhigh = a : 1 (constant over dt)",
    },
    "steps_since": {"refractory": "timestep(t - lastspike, dt) <= 4"},
    "time_since": {"refractory": "(t - lastspike) < 3.5*ms"},
    "time_of_parameters": {"refractory": "2*t_ref"},
    # In a unit that nothing else is written in.
    "time_of_parameters_in_units": {"refractory": "2*t_ref + 1000*us"},
    "time_of_a_state": {"refractory": "3000*us*(1 + a)"},
    "time_of_a_subexpression": {
        "refractory": "rest",
        "model": LIF.model + "\nrest = t_ref*(1 + clip(a, 0, 2)) : second",
    },
    "not_refractory_in_model": {
        "refractory": "4 ms",
        "model": "dv/dt = (E_L - v + 5*mV)/tau*int(not_refractory) : volt\nda/dt = -a/(30*ms) : 1",
    },
    "not_refractory_by_condition": {
        "refractory": "a > 0.9",
        "model": "dv/dt = (E_L - v + 5*mV)/tau*int(not_refractory) : volt\nda/dt = -a/(30*ms) : 1",
    },
    "not_refractory_in_reset": {
        "refractory": "4 ms",
        "reset": "v = E_L + 1*mV*int(not_refractory); a += 1",
    },
    "not_refractory_at_synapse": {
        "refractory": "4 ms",
        "model": FREE,
        "on_pre": "v += w*mV*int(not_refractory_post)",
    },
    "lastspike_in_model": {
        "refractory": "2 ms",
        "model": """
        dv/dt = (E_L - v + 5*mV*exp(-(t - lastspike)/(9*ms)))/tau : volt
        da/dt = -a/(30*ms) : 1
        """,
    },
    "lastspike_in_threshold": {
        "refractory": "1 ms",
        "threshold": "v > v_th and t - lastspike > 5*ms",
    },
    "lastspike_in_reset": {
        "refractory": "1 ms",
        "reset": "v = E_L - 1*mV*int(t - lastspike > 0.5*ms); a += 1",
    },
    "lastspike_at_synapse": {
        "refractory": "1 ms",
        "on_pre": "v += w*mV*int(t - lastspike_post > 4.5*ms)",
    },
    "activated": ACTIVATED,
    "conjunction": {"threshold": "v > v_th and a < 1.5", "refractory": "1 ms"},
    "turned": {"threshold": "v_th < v", "refractory": "1 ms"},
    "pieces": {
        "model": """
        dv/dt = (E_L - v + 5*mV*sign(2 - a) + 2*mV*floor(a) - gap*int(up))/tau : volt
        da/dt = -clip(a, 0.2, inf)/(30*ms) : 1
        gap = abs(v - E_L) % (7*mV) : volt
        up = v > -64*mV and not a > 2 : boolean
        """,
        "threshold": "v - v_th > 0*mV",
        "reset": "v = clip(v - 12*mV, E_L, v_th); a += int(v > -69.5*mV)",
    },
    "declared": {
        "model": FREE + "\nE_L : volt (constant)\njump : 1\ncount : 1",
        "reset": "v = E_L; a += jump; count += 1; jump *= 0.9",
        "parameters": {
            **LIF.parameters,
            "E_L": "-70*mV + i*mV",
            "jump": 1.5,
            "count": 0,
        },
        "threshold": "v > v_th + 0.1*mV*count",
    },
}


@dataclass(frozen=True)
class OwnRow(Row):
    """A neuron of this file and its drive."""

    neuron: Neuron = LIF

    @property
    def written(self):
        return self.neuron

    def read(self, group):
        return self.neuron


@pytest.mark.parametrize("name", CASES)
def test_neuron_is_brian2s_and_its_gradient_that_of_brian2s_code(name, monkeypatch):
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    neuron = replace(LIF, **CASES[name])
    row = OwnRow(name, {"": (2.0, 4.0)}, dt=1, n_steps=200, p=0.06, neuron=neuron)
    found = compare(row)
    assert 15 < found.n_spikes < row.size * row.n_steps / 2, "the case says nothing"
    assert found.differing == 0
    assert max(found.deviations.values()) <= TOLERANCE


def test_devices_do_the_same(device, monkeypatch):
    """All at once: a condition, the last spike, pieces, declarations, a switched surrogate."""
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    neuron = replace(
        LIF,
        model="""
        dv/dt = (E_L - v + drive - gap*int(up))/tau : volt (unless refractory)
        da/dt = -clip(a, 0.2, inf)/(10*ms)*int(not (v > -60*mV and a > 2)) : 1
        gap = abs(v - E_L) % (7*mV) : volt
        up = v > -64*mV : boolean
        E_L : volt (constant)
        jump : 1
        drive = 5*mV*exp(-(t - lastspike)/(9*ms)) : volt
        """,
        threshold="v > v_th and t - lastspike > 2.5*ms",
        reset="v = E_L; a += jump; jump *= 0.9",
        refractory="a > 0.8",
        parameters={**LIF.parameters, "E_L": "-70*mV + i*0.3*mV", "jump": "1 + 0.1*i"},
    )
    row = OwnRow("all", {"": (2.0, 4.0)}, dt=1, n_steps=200, p=0.06, neuron=neuron)
    found = compare(row, device)
    assert 15 < found.n_spikes < row.size * row.n_steps / 2, "the case says nothing"
    assert found.differing == 0
    assert max(found.deviations.values()) <= TOLERANCE


def test_backpropagation_through_time_sees_the_same_neuron():
    """Without recurrent synapses both gradients are the derivative of the neurons' own steps."""
    rng = np.random.default_rng(3)
    trials = trials_of(rng.random((2, 60, 5)) < 0.2, rng.normal(size=(2, 60, 2)))
    for name in ("condition_held", "time_of_a_state", "lastspike_in_threshold", "pieces"):
        neuron = replace(LIF, **CASES[name], detach=())
        network = Network.standard(
            5,
            2,
            [(neuron, 4)],
            optimizer=GRADIENT_DESCENT,
            connectivity={"w_rec": 0.0},
            gradient="factored",
        )
        weights = network.initial_weights(1)
        weights["w_in"] = rng.normal(3.0, 4.0, size=(4, 5))
        ours = Session(network, make_program("runtime"), trials, 60, weights)
        theirs = BpttSession(network.with_options(gradient="bptt"), trials, 60, weights)
        for session in (ours, theirs):
            session.run(trials, 2)
        assert 15 < ours.spikes().sum() < 120, "the case says nothing"
        np.testing.assert_array_equal(ours.spikes(), theirs.spikes())
        found, expected = gradient_of(ours), gradient_of(theirs)
        assert deviation({"w_in": found["w_in"]}, {"w_in": expected["w_in"]}) <= TOLERANCE
        ours.close()


WRONG = {
    "another unit": ({"refractory": "2*v_th"}, "has unit V: it must be a time|must be a time"),
    "a state of another unit": ({"refractory": "a + 1"}, "has unit 1: it must be a time"),
    "an unknown name": ({"refractory": "t_rest"}, "is not a parameter; name one or give a time"),
    "an unknown state": ({"refractory": "u > 0.5"}, "'u' is not defined"),
    "no expression": ({"refractory": "v > "}, "cannot be read: write a time"),
    "negative": ({"refractory": "-t_ref"}, "must not be negative"),
    "sides that do not fit": ({"refractory": "v > 3*ms"}, "units do not fit"),
    "no refractoriness": (
        {"model": FREE.replace("/tau :", "/tau*int(not_refractory) :")},
        "'not_refractory' is not defined",
    ),
    "update style": (
        {
            **{"model": "", "on_pre": "", "reset": "", "method": "exact", "initial": {}},
            **{"update": "v = 0.9*v + I", "threshold": "v > 1", "surrogate": ""},
            "refractory": "v > 0.5",
        },
        "belongs to `model`",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_refractoriness_is_named(case):
    changes, problem = WRONG[case]
    with pytest.raises(EquationError, match=problem):
        step_map(replace(LIF, **changes))


def test_the_time_since_a_spike_needs_its_digits():
    """In float32, times after 8000 steps and more differ by a step from what they are."""
    neuron = replace(LIF, **CASES["time_of_a_state"])
    plain = replace(LIF, refractory="3 ms")

    def session_of(neuron, n_steps, dtype, **options):
        network = Network.standard(3, 1, [(neuron, 2)], **options)
        trials = trials_of(np.zeros((1, n_steps, 3), dtype=bool), np.zeros((1, n_steps, 1)))
        weights = network.initial_weights(1)
        if network.gradient == "bptt":
            return BpttSession(network, trials, 10, weights, dtype)
        return Session(network, make_program("runtime", dtype), trials, 10, weights)

    for options in ({}, {"gradient": "bptt"}):
        with pytest.raises(
            ValueError, match="population 'own' reads the time since its last spike"
        ):
            session_of(neuron, 9000, "float32", **options)
    with pytest.raises(ValueError, match="to a step without trials"):
        session_of(neuron, 50, "float32", updates="step", gradient="online")
    for accepted in ((neuron, 50, "float32"), (plain, 9000, "float32"), (neuron, 9000, "float64")):
        session_of(*accepted).close()


@pytest.mark.parametrize("name", CASES)
def test_files_hold_the_neuron(name, tmp_path):
    neuron = replace(LIF, **CASES[name])
    path = tmp_path / "own.toml"
    path.write_text(write_neuron(neuron))
    found, expected = step_map(read_neuron(path)), step_map(neuron)
    assert (found.code, found.active) == (expected.code, expected.active)
    assert (found.threshold, found.surrogate) == (expected.threshold, expected.surrogate)
    values = found.initial_values(1e-3), expected.initial_values(1e-3)
    for state, value in values[1].items():
        np.testing.assert_array_equal(values[0][state], value)
