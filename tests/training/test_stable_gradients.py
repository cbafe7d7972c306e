"""Gradients are those of automatic differentiation where a state makes their formula 0/0."""

import numpy as np
import pytest
from brian2 import ms

from eprop_brian import Network, Neuron
from eprop_brian.equations import GRADIENT_DESCENT
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.session import Session
from support.arrays import deviation
from support.by_hand import gradient_of

#: An after-hyperpolarisation gated by calcium c, which is 0 until the first spike.
HILL = Neuron(
    name="hill",
    update="""
    v = alpha*v + (1 - alpha)*I - v_th*z - v_th*g_ahp*c**n_h/(c**n_h + K**n_h)
    c = rho*c + 0.2*z
    """,
    threshold="v >= v_th",
    surrogate="gamma/v_th*clip(1 - abs(v - v_th)/v_th, 0, 1)",
    parameters={
        **{"tau_m": "20 ms", "tau_c": "80 ms", "v_th": 0.03},
        **{"gamma": 0.3, "g_ahp": 0.3, "n_h": 2.0, "K": 0.5},
    },
    constants={"alpha": "exp(-dt/tau_m)", "rho": "exp(-dt/tau_c)"},
    detach=(),
)
#: Starts where the argument of exprel in a_m is 0.
HODGKIN_HUXLEY = Neuron(
    name="hh",
    model="""
    dv/dt = (g_l*(E_l - v) + I_syn - g_na*m**3*h*(v - E_na) - g_k*n**4*(v - E_k))/C_m : volt
    dm/dt = a_m*(1 - m) - b_m*m : 1
    dn/dt = a_n*(1 - n) - b_n*n : 1
    dh/dt = a_h*(1 - h) - b_h*h : 1
    dI_syn/dt = -I_syn/tau_s : amp
    a_m = 0.32*4/exprel((13*mV - v + V_T)/(4*mV))/ms : Hz
    b_m = 0.28*5/exprel((v - V_T - 40*mV)/(5*mV))/ms : Hz
    a_n = 0.032*5/exprel((15*mV - v + V_T)/(5*mV))/ms : Hz
    b_n = 0.5*exp((10*mV - v + V_T)/(40*mV))/ms : Hz
    a_h = 0.128*exp((17*mV - v + V_T)/(18*mV))/ms : Hz
    b_h = 4/(1 + exp((40*mV - v + V_T)/(5*mV)))/ms : Hz
    """,
    method="exponential_euler",
    on_pre="I_syn += i_0*w",
    threshold="v > -20*mV",
    refractory="3 ms",
    surrogate="0.3/(20*mV)*clip(1 - abs(v + 20*mV)/(20*mV), 0, 1)",
    parameters={
        **{"C_m": "200 pF", "g_l": "10 nS", "E_l": "-65 mV", "E_na": "50 mV", "E_k": "-90 mV"},
        **{"g_na": "20 uS", "g_k": "6 uS", "V_T": "-63 mV", "tau_s": "5 ms", "i_0": "300 pA"},
    },
    initial={"v": "13*mV + V_T", "h": "1"},
    detach=(),
)


@pytest.mark.parametrize(
    ("neuron", "dt", "scale", "n_steps", "learned", "programs"),
    [
        (HILL, 1 * ms, 0.3, 60, ("n_h", "K"), ("factored", "online")),
        pytest.param(
            *(HODGKIN_HUXLEY, 0.1 * ms, 3.0, 150, (), ("factored", "online")),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["hill", "hodgkin_huxley"],
)
def test_gradient_is_that_of_jax(neuron, dt, scale, n_steps, learned, programs):
    rng = np.random.default_rng(1)
    network = Network.standard(
        *(5, 2, [(neuron, 4)]),
        dt=dt,
        optimizer=GRADIENT_DESCENT,
        connectivity={"w_rec": 0.0},
        learned={name: Learned() for name in learned},
    )
    trials = Trials(
        inputs=rng.random((2, n_steps, 5)) < 0.2,
        targets=rng.normal(size=(2, n_steps, 2)),
        pattern=np.arange(2),
        target=np.arange(2),
    )
    weights = network.initial_weights(2)
    weights["w_in"] = scale * np.abs(weights["w_in"])
    bptt = BpttSession(network.with_options(gradient="bptt"), trials, n_steps, weights)
    bptt.run(trials, 2)
    expected = gradient_of(bptt)
    for program in programs:
        own = network.with_options(gradient=program)
        session = Session(own, make_program("runtime"), trials, n_steps, weights)
        session.run(trials, 2)
        assert session.spikes().sum() > 5
        found = gradient_of(session)
        found.pop("w_rec")
        assert deviation(found, expected) <= 1e-12
