"""A neuron in Brian2 style is the neuron that Brian2 simulates, step for step.

Every case is run by Brian2's own `NeuronGroup` and `Synapses`, and by the package: every spike is
equal, and the membrane to rounding.
"""

from dataclasses import dataclass

import brian2
import numpy as np
import pytest
from brian2 import ms

from eprop_brian import Neuron, get_neuron
from eprop_brian.training.recording import record
from support.stock import Drive, group_of, in_brian2, network_of, weights_of
from support.trials import trials_of

N_STEPS, N_INPUTS, SIZE = 200, 10, 3
#: Largest deviation of a membrane relative to its largest value.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Case:
    """A neuron, and what brings it about its threshold.

    Attributes
    ----------
    neuron : Neuron
    weight : float
        Standard deviation of input weights. Their mean is a third of it.
    recurrent : float
        Of recurrent weights, relative to it.
    """

    neuron: Neuron
    weight: float
    recurrent: float = 0.3


def lif(name, /, **changes):
    """A leaky integrate-and-fire neuron with an instantaneous input, changed."""
    plain = {
        "model": "dv/dt = -v/tau : 1",
        "on_pre": "v += w",
        "reset": "v = 0",
        "threshold": "v > 1",
        "surrogate": "0.3*clip(1 - abs(v - 1), 0, 1)",
        "parameters": {"tau": 20 * ms},
    }
    return Neuron(name=name, **{**plain, **changes})


def cuba(name, /, **changes):
    """The same with a current, units and a resting potential."""
    plain = {
        "model": """
        dv/dt = (E_L - v + R*I_syn)/tau : volt (unless refractory)
        dI_syn/dt = -I_syn/(5*ms) : amp
        """,
        "on_pre": "I_syn += w*nA",
        "reset": "v = E_L",
        "threshold": "v > -50*mV",
        "surrogate": "0.3/(20*mV)*clip(1 - abs(v + 50*mV)/(20*mV), 0, 1)",
        "parameters": {"tau": "20 ms", "E_L": "-70 mV", "R": "100 Mohm"},
        "initial": {"v": "E_L"},
    }
    return Neuron(name=name, **{**plain, **changes})


CLAMPED = "dv/dt = -v/tau : 1 (unless refractory)"
ADAPTIVE = """
dv/dt = -v/tau : 1 (unless refractory)
da/dt = -a/(100*ms) : 1
theta = 1 + a : 1{flag}
"""
EIF = """
dv/dt = (E_L - v + D*exp((v - V_T)/D))/tau + I_syn/C : volt
dI_syn/dt = -I_syn/(5*ms) : amp
"""


def eif(name, slope, /, **changes):
    """An exponential integrate-and-fire neuron, whose membrane takes off in one Euler step."""
    plain = {
        "model": EIF,
        "method": "euler",
        "on_pre": "I_syn += w*nA",
        "reset": "v = E_L",
        "threshold": "v > 0*mV",
        "surrogate": "0.3/(20*mV)*clip(1 - abs(v - V_T)/(20*mV), 0, 1)",
        "parameters": {
            "tau": "20 ms",
            "E_L": "-70 mV",
            "V_T": "-50 mV",
            "D": slope,
            "C": "200 pF",
        },
        "initial": {"v": "E_L"},
    }
    return Neuron(name=name, **{**plain, **changes})


def _methods():
    for method in ("exact", "exponential_euler", "euler", "rk2", "rk4", "heun"):
        yield Case(cuba(f"cuba_{method}", method=method, refractory="2 ms"), 1.5)
    # Two states that act on each other, which are not solved by Brian2 here.
    pair = "dv/dt = (x - v)/tau : 1\ndx/dt = (0.3*v + 0.1 - x)/(30*ms) : 1"
    changes = {"model": pair, "method": "exact", "on_pre": "x += w", "refractory": "3 ms"}
    yield Case(lif("pair", **changes), 4.0)


def _refractory_times():
    # In steps of 1 ms: what is no whole number of them, less than one, and none at all.
    for tenths in (0, 4, 10, 25, 26, 35, 49, 50):
        time = f"{tenths / 10} ms"
        yield Case(lif(f"delta_{tenths}", model=CLAMPED, refractory=time), 0.9)
        yield Case(lif(f"free_{tenths}", refractory=time), 0.9)


def _flags():
    both = """
    dv/dt = (x - v)/tau : 1 (unless refractory)
    dx/dt = -x/(5*ms) : 1 (unless refractory)
    """
    yield Case(lif("clamped", model=CLAMPED, refractory="5 ms"), 0.9)
    yield Case(lif("clamped_no_time", model=CLAMPED), 0.9)
    # While one is held, the other sees it standing still.
    coupled = """
    dv/dt = (x - v)/tau : 1 (unless refractory)
    dx/dt = (0.3*v + 0.1 - x)/(30*ms) : 1
    """
    for method in ("exact", "rk2", "exponential_euler"):
        neuron = lif(f"coupled_{method}", model=coupled, method=method, refractory="3 ms")
        yield Case(neuron, 0.9)
    yield Case(lif("both", model=both, on_pre="x += w", refractory="5 ms"), 4.0)
    yield Case(lif("two_enter", model=both, on_pre="x += w; v += 0.2*w", refractory="5 ms"), 2.0)
    yield Case(
        lif(
            "one_clamped",
            model="dv/dt = (x - v)/tau : 1 (unless refractory)\ndx/dt = -x/(5*ms) : 1",
            on_pre="x += w; v += 0.2*w",
            refractory="5 ms",
        ),
        2.0,
    )
    yield Case(
        lif(
            "each_its_time",
            model=CLAMPED,
            refractory="t_ref",
            parameters={"tau": 20 * ms, "t_ref": [0, 2.6, 5] * ms},
        ),
        0.9,
    )
    for kind, flag in {"plain": "", "kept": " (constant over dt)"}.items():
        model = ADAPTIVE.format(flag=flag)
        adaptive = lif(
            f"theta_{kind}",
            model=model,
            refractory="2 ms",
            threshold="v > theta",
            reset="v = 0; a += 0.5*theta",
            on_pre="v += w*theta",
            surrogate="0.3*clip(1 - abs(v - theta), 0, 1)",
            method="euler",
        )
        yield Case(adaptive, 0.9)
        driven = f"dv/dt = (0.2*leak - v)/tau : 1\nleak = v**2 : 1{flag}"
        yield Case(lif(f"drive_{kind}", model=driven, method="rk2"), 0.9)
    # What is kept, by way of a subexpression that is not.
    above = "dv/dt = (0.3 - v)/tau : 1\nkept = v*0.5 : 1 (constant over dt)\nabove = kept*2 : 1"
    for name, change in {
        "reset": {"reset": "v = 0.5*above"},
        "entry": {"on_pre": "v += w*(1 + above)"},
        "threshold": {"threshold": "v > 1 + 0.3*above"},
    }.items():
        yield Case(lif(f"kept_{name}", model=above, method="euler", **change), 1.2)
    shared = "dv/dt = (rest - v)/tau : 1\nrest = rest_0/2 : 1 (shared)"
    parameters = {"tau": 20 * ms, "rest_0": 0.4}
    yield Case(lif("shared", model=shared, parameters=parameters), 0.9)


def _resets():
    two = "dv/dt = -v/tau : 1\ndu/dt = -u/(50*ms) : 1"
    for name, reset in {
        "subtract": "v -= 1",
        "halve": "v *= 0.5",
        "mirror": "v = -0.3*v",
        "carry_over": "u += 0.1*v; v = 0",
        "after": "v = 0.2; u = u + v",
        "swap": "v = 0.1*u; u = v + 0.2",
        "none": "",
    }.items():
        yield Case(lif(f"reset_{name}", model=two, reset=reset), 0.9)


def _steep():
    # The membrane is 1e13 V at a spike, and infinite.
    yield Case(eif("eif", "2 mV"), 1.2)
    yield Case(
        eif("eif_held", "2 mV", model=EIF.replace(": volt", ": volt (unless refractory)")), 1.2
    )
    yield Case(eif("eif_infinite", "0.05 mV"), 1.2)
    yield Case(eif("eif_late", "0.05 mV", refractory="3 ms"), 1.2)


def _library():
    weights = {"lif_exp": 2.0, "lif_alpha": 2.0, "lif_cond": 1.5, "adex": 1.5, "glif": 1.5}
    for name, weight in weights.items():
        yield Case(get_neuron(name), weight)


CASES = [*_methods(), *_refractory_times(), *_flags(), *_resets(), *_steep(), *_library()]
IDS = [case.neuron.name for case in CASES]


def drive_of(case, number):
    inputs = np.random.default_rng(1).random((N_STEPS, N_INPUTS)) < 0.06
    inputs[0] = False
    rng = np.random.default_rng([2, number])
    w_in = case.weight * (rng.standard_normal((SIZE, N_INPUTS)) + 1 / 3)
    w_rec = case.recurrent * case.weight * rng.standard_normal((SIZE, SIZE))
    np.fill_diagonal(w_rec, 0)
    return Drive(inputs, {"": w_in}, {"": w_rec})


def in_the_package(neuron, drive):
    """Spikes and membrane, as a network of its own."""
    network = network_of(neuron, drive)
    trials = trials_of(drive.inputs[None], np.zeros((1, N_STEPS, 1)))
    recording = record(network, trials, weights_of(network, drive), synapses=0)
    return recording.spikes, recording.v


@pytest.mark.parametrize("number", range(len(CASES)), ids=IDS)
def test_neuron_is_brian2s(number, monkeypatch):
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    case = CASES[number]
    drive = drive_of(case, number)
    with np.errstate(all="ignore"):
        group = group_of(case.neuron, SIZE)
        z, states = in_brian2(group, case.neuron.on_pre, drive, ["v"])
        found_z, found_v = in_the_package(case.neuron, drive)
    v = states["v"]
    assert 5 <= z.sum() < SIZE * N_STEPS, "the case says nothing"
    np.testing.assert_array_equal(found_z, z)
    # Infinite where Brian2's is.
    finite = np.isfinite(v)
    np.testing.assert_array_equal(found_v[~finite], v[~finite])
    np.testing.assert_allclose(found_v[finite], v[finite], rtol=TOLERANCE, atol=TOLERANCE)
