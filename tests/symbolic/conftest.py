"""Neurons of all kinds that the derivation has to handle, beside the library's own."""

from functools import cache

import pytest

from eprop_brian.equations import LEAKY, NEURONS, Neuron
from eprop_brian.symbolic.eligibility import derive
from eprop_brian.symbolic.programs import readout_program
from eprop_brian.symbolic.step_map import step_map

LIF_BRIAN2 = Neuron(
    name="lif_brian2",
    model="dv/dt = -v/tau_m : 1",
    on_pre="v += w",
    reset="v -= v_th",
    threshold="v > v_th",
    surrogate="0.3/v_th*clip(1 - abs(v - v_th)/v_th, 0, 1)",
    refractory="5 ms",
    parameters={"tau_m": "20 ms", "v_th": 0.6},
)

#: Current-based synapse, spike-triggered adaptation `a`, and `b`, which the membrane drives.
CUBA = Neuron(
    name="cuba",
    model="""
    dv/dt = (I_syn - v)/tau_m : 1
    dI_syn/dt = -I_syn/tau_s : 1
    da/dt = -a/tau_a : 1
    db/dt = (v - b)/tau_b : 1
    theta = v_th + beta*a + gamma*b : 1
    """,
    method="exponential_euler",
    on_pre="I_syn += w",
    reset="v -= v_th; a += 1",
    threshold="v > theta",
    surrogate="1/(1 + abs(v - theta))**2",
    parameters={
        "tau_m": "20 ms",
        "tau_s": "5 ms",
        "tau_a": "200 ms",
        "tau_b": "100 ms",
        "v_th": 1,
        "beta": 0.1,
        "gamma": 0.2,
    },
)

IZHIKEVICH = Neuron(
    name="own_izhikevich",
    update="""
    v = (1 - z)*(v + h*(0.04*v**2 + 5*v + 140 - u + I)) - 65*z
    u = u + h*0.02*(0.2*v - u) + 8*z
    """,
    threshold="v >= 30",
    surrogate="0.1*exp(-abs(v - 30)/20)",
    parameters={"h": 0.5},
    initial={"v": "-65", "u": "-13"},
)

ADEX = Neuron(
    name="own_adex",
    model="""
    dv/dt = (g_l*(E_l - v) + g_l*D_t*exp((v - V_t)/D_t) - w_a + I_syn)/C : volt
    dw_a/dt = (k_a*(v - E_l) - w_a)/tau_w : amp
    dI_syn/dt = -I_syn/tau_s : amp
    """,
    method="euler",
    on_pre="I_syn += w",
    reset="v = V_r; w_a += k_b",
    threshold="v > V_t + 5*D_t",
    surrogate="0.3/D_t/(1 + abs(v - V_t)/D_t)**2",
    parameters={
        "g_l": "30 nS",
        "E_l": "-70 mV",
        "D_t": "2 mV",
        "V_t": "-50 mV",
        "C": "281 pF",
        "k_a": "4 nS",
        "k_b": "80 pA",
        "tau_w": "144 ms",
        "tau_s": "5 ms",
        "V_r": "-60 mV",
    },
    initial={"v": "E_l"},
)

#: A membrane that stands still while refractory, with input that its own value scales.
CLAMPED = Neuron(
    name="clamped",
    model="dv/dt = -v/tau_m : 1 (unless refractory)\ndg_e/dt = -g_e/tau_s : 1",
    on_pre="g_e += w; v += 0.1*w*(E_e - v)",
    method="exponential_euler",
    reset="v = 0",
    threshold="v > v_th - 0.5*g_e",
    surrogate="1/(1 + abs(v - v_th))**2",
    refractory="2 ms",
    parameters={"tau_m": "20 ms", "tau_s": "5 ms", "v_th": 0.5, "E_e": 2},
)

OWN = {n.name: n for n in (LIF_BRIAN2, CUBA, IZHIKEVICH, ADEX, CLAMPED)}


def pytest_generate_tests(metafunc):
    """Run a test that asks for `any_neuron` with every neuron there is."""
    if "any_neuron" in metafunc.fixturenames:
        neurons = NEURONS | OWN
        metafunc.parametrize("any_neuron", neurons.values(), ids=neurons.keys())


@cache
def _system(name):
    return derive(step_map((NEURONS | OWN)[name]))


@pytest.fixture
def any_system(any_neuron):
    """The derived system of `any_neuron`."""
    return _system(any_neuron.name)


@pytest.fixture
def lif_brian2():
    return LIF_BRIAN2


@pytest.fixture
def cuba():
    return CUBA


@pytest.fixture
def izhikevich():
    return IZHIKEVICH


@pytest.fixture
def adex():
    return ADEX


@pytest.fixture
def clamped():
    return CLAMPED


@pytest.fixture(scope="session")
def leaky():
    return readout_program(LEAKY)
