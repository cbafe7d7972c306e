"""Scripts of Brian2's users, read: the objects that Brian2 runs, and the same spikes by both.

Each is a script of Brian2's examples with fewer neurons, and with a `SpikeGeneratorGroup` where the
script draws spikes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import brian2
import numpy as np
import pytest
from brian2 import (
    Equations,
    NeuronGroup,
    SpikeGeneratorGroup,
    SpikeMonitor,
    Synapses,
    cm,
    ms,
    msiemens,
    mV,
    nS,
    siemens,
    ufarad,
    umetre,
)

from eprop_brian import Inputs, Network, Projection, Trials
from eprop_brian.brian import inputs_from_brian2
from eprop_brian.network.program import make_program
from eprop_brian.training.session import Session

N_STEPS = 300
DT = 0.1 * ms


@dataclass
class Script:
    """The objects of a script, and what `Network.from_brian2` is told besides.

    Attributes
    ----------
    objects : list
    namespace : dict
        The script's variables.
    options : dict
    """

    objects: list[Any]
    namespace: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)


def generator(seed: int, size: int, rate: float) -> SpikeGeneratorGroup:
    """Random spikes of some neurons, `rate` of them in a step."""
    rng = np.random.default_rng(seed)
    steps, neurons = np.nonzero(rng.random((N_STEPS, size)) < rate)
    return SpikeGeneratorGroup(size, neurons, steps * DT, dt=DT, name="drive")


def cuba() -> Script:
    """CUBA.py: two currents; some neurons are connected to themselves."""
    taum, taue, taui = 20 * ms, 5 * ms, 10 * ms
    Vt, Vr, El = -50 * mV, -60 * mV, -49 * mV
    eqs = """
    dv/dt  = (ge+gi-(v-El))/taum : volt (unless refractory)
    dge/dt = -ge/taue : volt
    dgi/dt = -gi/taui : volt
    """
    P = NeuronGroup(
        60, eqs, threshold="v>Vt", reset="v = Vr", refractory=5 * ms, method="exact", name="P"
    )
    P.v = "Vr + rand() * (Vt - Vr)"
    we = (60 * 0.27 / 10) * mV
    wi = (-20 * 4.5 / 10) * mV
    Ce = Synapses(P, P, on_pre="ge += we", name="Ce")
    Ci = Synapses(P, P, on_pre="gi += wi", name="Ci")
    Ce.connect("i<48", p=0.2)
    Ci.connect("i>=48", p=0.2)
    drive = generator(1, 10, 0.02)
    S = Synapses(drive, P, on_pre="ge += 4*mV", name="S", delay=0.3 * ms)
    S.connect(p=0.5)
    return Script([P, Ce, Ci, drive, S], locals())


def cobahh() -> Script:
    """COBAHH.py: Hodgkin-Huxley neurons, conductances, subgroups, no reset."""
    area = 20000 * umetre**2
    Cm = (1 * ufarad * cm**-2) * area
    gl = (5e-5 * siemens * cm**-2) * area
    El, EK, ENa, VT = -60 * mV, -90 * mV, 50 * mV, -63 * mV
    g_na = (100 * msiemens * cm**-2) * area
    g_kd = (30 * msiemens * cm**-2) * area
    taue, taui, Ee, Ei = 5 * ms, 10 * ms, 0 * mV, -80 * mV
    we, wi = 6 * nS, 67 * nS
    eqs = Equations("""
    dv/dt = (gl*(El-v)+ge*(Ee-v)+gi*(Ei-v)-
             g_na*(m*m*m)*h*(v-ENa)-
             g_kd*(n*n*n*n)*(v-EK))/Cm : volt
    dm/dt = alpha_m*(1-m)-beta_m*m : 1
    dn/dt = alpha_n*(1-n)-beta_n*n : 1
    dh/dt = alpha_h*(1-h)-beta_h*h : 1
    dge/dt = -ge*(1./taue) : siemens
    dgi/dt = -gi*(1./taui) : siemens
    alpha_m = 0.32*(mV**-1)*4*mV/exprel((13*mV-v+VT)/(4*mV))/ms : Hz
    beta_m = 0.28*(mV**-1)*5*mV/exprel((v-VT-40*mV)/(5*mV))/ms : Hz
    alpha_h = 0.128*exp((17*mV-v+VT)/(18*mV))/ms : Hz
    beta_h = 4./(1+exp((40*mV-v+VT)/(5*mV)))/ms : Hz
    alpha_n = 0.032*(mV**-1)*5*mV/exprel((15*mV-v+VT)/(5*mV))/ms : Hz
    beta_n = .5*exp((10*mV-v+VT)/(40*mV))/ms : Hz
    """)
    P = NeuronGroup(
        80, eqs, threshold="v>-20*mV", refractory=3 * ms, method="exponential_euler", name="P"
    )
    Ce = Synapses(P[:64], P, on_pre="ge+=we", name="Ce")
    Ci = Synapses(P[64:], P, on_pre="gi+=wi", name="Ci")
    Ce.connect(p=0.4)
    Ci.connect(p=0.1)
    P.v = "El + (randn() * 5 - 5)*mV"
    P.ge = "(randn() * 1.5 + 4) * 10.*nS"
    P.gi = "(randn() * 12 + 20) * 10.*nS"
    bump = "0.01/mV*clip(1 - abs(v + 20*mV)/(30*mV), 0, 1)"
    options = {
        "neurons": {"P": {"surrogate": bump}},
        "receptors": {"exc": Ce, "inh": Ci},
        "parts": [Inputs(2), Projection("inputs", "P", receptor="exc")],
    }
    return Script([P, Ce, Ci], locals(), options)


def if_curve() -> Script:
    """IF_curve_LIF.py: a parameter of each neuron, and no synapses."""
    n, tau = 50, 2 * ms
    eqs = """
    dv/dt = (v0 - v) / tau : volt (unless refractory)
    v0 : volt
    """
    group = NeuronGroup(
        n,
        eqs,
        threshold="v > 10*mV",
        reset="v = 0*mV",
        refractory=1 * ms,
        method="exact",
        name="group",
    )
    group.v = 0 * mV
    group.v0 = "20*mV * i / (n-1)"
    neuron = {
        "surrogate": "0.3/(10*mV)*clip(1 - abs(v - 10*mV)/(10*mV), 0, 1)",
        "on_pre": "v += w*mV",
    }
    parts = [Inputs(2), Projection("inputs", "group")]
    return Script([group], locals(), {"neurons": {"group": neuron}, "parts": parts})


def brunel() -> Script:
    """Brunel_2000.py: synapses that differ by a number, onto one receptor."""
    g, J, D = 5, 1.5 * mV, 1.5 * ms
    tau, theta, V_r, tau_rp = 20 * ms, 20 * mV, 10 * mV, 2 * ms
    neurons = NeuronGroup(
        50,
        "dv/dt = -v/tau : volt (unless refractory)",
        threshold="v > theta",
        reset="v = V_r",
        refractory=tau_rp,
        method="exact",
        name="neurons",
    )
    neurons.v = "rand()*theta"
    exc = Synapses(neurons[:40], target=neurons, on_pre="v += J", delay=D, name="exc")
    inh = Synapses(neurons[40:], target=neurons, on_pre="v += -g*J", delay=D, name="inh")
    exc.connect(p=0.1)
    inh.connect(p=0.1)
    drive = generator(2, 40, 0.02)
    ext = Synapses(drive, neurons, on_pre="v += J", name="ext")
    ext.connect(p=0.3)
    bump = "0.3/theta*clip(1 - abs(v - theta)/theta, 0, 1)"
    options = {"neurons": {"neurons": {"surrogate": bump}}}
    return Script([neurons, exc, inh, drive, ext], locals(), options)


def izhikevich() -> Script:
    """Izhikevich_2003.py: four parameters of each neuron, a matrix of weights, drawn delays."""
    eqs = """dv/dt = (0.04*v**2 + 5*v + 140 - u + I)/ms : 1
             du/dt = (a*(b*v - u))/ms  : 1
             dI/dt = -I/tau_I : 1
             a : 1
             b : 1
             c : 1
             d : 1
             tau_I : second (shared)
           """
    N = NeuronGroup(40, eqs, threshold="v>=30", reset="v=c; u+=d", method="euler", name="N")
    rng = np.random.default_rng(5)
    re, ri = rng.random(30), rng.random(10)
    N.v = -65
    N.tau_I = 3 * ms
    N_exc, N_inh = N[:30], N[30:]
    N_exc.a, N_exc.b, N_exc.c, N_exc.d = 0.02, 0.2, -65 + 15 * re**2, 8 - 6 * re**2
    N_inh.a, N_inh.b, N_inh.c, N_inh.d = 0.02 + 0.08 * ri, 0.25 - 0.05 * ri, -65, 2
    N.u = "b*v"
    S = Synapses(N, N, "w : 1", on_pre="I += w", name="S")
    S.connect("i != j")
    S.w = np.where(np.asarray(S.i) < 30, 0.5, -1.0) * rng.random(len(S)) * 10
    S.delay = "rand()*ms"
    drive = generator(4, 20, 0.05)
    thalamus = Synapses(drive, N, on_pre="I += 8", name="thalamus")
    thalamus.connect(p=0.2)
    return Script([N, S, drive, thalamus], locals())


def layers() -> Script:
    """adaptive_threshold.py in two layers with conductances, and weights from distances."""
    tau, tau_g, width = 10 * ms, 3 * ms, 4.0
    E_e = 60 * mV
    eqs = """
    dv/dt = (-v + g*(E_e - v)/(10*nS))/tau : volt
    dg/dt = -g/tau_g : siemens
    dvt/dt = (10*mV-vt)/(15*ms) : volt
    """
    reset = """
    v = 0*mV
    vt += 3*mV
    """
    first, second = (
        NeuronGroup(size, eqs, reset=reset, threshold="v>vt", method="rk2", name=name)
        for name, size in (("first", 20), ("second", 12))
    )
    first.vt = second.vt = 10 * mV
    drive = generator(6, 20, 0.04)
    S_in = Synapses(drive, first, "w : siemens", on_pre="g_post += w", name="S_in")
    S_in.connect(p=0.4)
    S_in.w = "(4 + 4*rand())*nS"
    S = Synapses(
        first,
        second,
        "strength : 1\ndistance : 1\nw = strength*exp(-distance/width) : 1",
        on_pre="g += w*nS",
        name="S",
    )
    S.connect()
    S.strength = "3 + 3*rand()"
    S.distance = "abs(i - j)"
    S.delay = "0.1*ms*int(distance/3)"
    bump = {"surrogate": "0.03/mV*clip(1 - abs(v - vt)/(10*mV), 0, 1)"}
    options = {"neurons": {"first": bump, "second": bump}}
    return Script([first, second, S_in, S, drive], locals(), options)


def depressing() -> Script:
    """Depressing synapses as in Tsodyks_Pawelzik_Markram_1998.py, recurrent and from inputs."""
    tau, tau_rec, tau_facil, U = 20 * ms, 50 * ms, 100 * ms, 0.4
    eqs = """
    dv/dt = (g - v)/tau : volt (unless refractory)
    dg/dt = -g/(3*ms) : volt
    """
    P = NeuronGroup(
        30,
        eqs,
        threshold="v > 10*mV",
        reset="v = 0*mV",
        refractory=1 * ms,
        method="exact",
        name="P",
    )
    model = """
    w : volt
    level : 1
    dx/dt = (level - x)/tau_rec : 1 (event-driven)
    du/dt = -u/tau_facil : 1 (event-driven)
    """
    on_pre = """
    u += U*(1 - u)
    g_post += w*u*x
    x -= u*x
    """
    S = Synapses(P, P, model, on_pre=on_pre, name="S")
    S.connect("i != j", p=0.5)
    S.w = "8*rand()*mV"
    S.level = "0.5 + i*0.5/30"
    S.x = "level"
    drive = generator(7, 20, 0.05)
    entering = Synapses(
        drive,
        P[5:],
        "dx/dt = (1 - x)/tau_rec : 1 (clock-driven)",
        on_pre="g_post += 20*mV*x; x *= 1 - U",
        method="euler",
        name="entering",
        delay=0.4 * ms,
    )
    entering.connect(p=0.5)
    entering.x = 1
    return Script([P, S, drive, entering], locals())


def conductances() -> Script:
    """Spikes that move the membrane by part of the way, with bounded weights."""
    tau, E_e, w_max = 20 * ms, 60 * mV, 0.02
    P = NeuronGroup(
        30,
        "dv/dt = -v/tau : volt",
        threshold="v > 10*mV",
        reset="v = 0*mV",
        method="exact",
        name="P",
    )
    S = Synapses(P, P, "w : 1", on_pre="v += clip(w, 0, w_max)*(E_e - v)", name="S")
    S.connect("i != j", p=0.5)
    S.w = "0.02*randn()"
    drive = generator(8, 20, 0.05)
    entering = Synapses(
        drive, P, "w : 1", on_pre="v += clip(w, 0, w_max)*(E_e - v)", name="entering"
    )
    entering.connect(p=0.5)
    entering.w = "0.03*rand()"
    return Script([P, S, drive, entering], locals())


def gated() -> Script:
    """A saturating conductance, summed in every step, and weights that decay at spikes' times."""
    tau, tau_s, E_e, alpha = 10 * ms, 20 * ms, 60 * mV, 0.5 / ms
    eqs = """
    dv/dt = (s_tot*(E_e - v)/nS - v)/tau : volt
    s_tot : siemens
    """
    P = NeuronGroup(30, eqs, threshold="v > 10*mV", reset="v = 0*mV", method="euler", name="P")
    model = """
    s_tot_post = g_max*s : siemens (summed)
    ds/dt = -s/tau_s + alpha*x*(1 - s) : 1 (clock-driven)
    dx/dt = -x/(2*ms) : 1 (clock-driven)
    g_max : siemens
    """
    S = Synapses(P, P, model, on_pre="x += 1", method="euler", name="S")
    S.connect("i != j", p=0.5)
    S.g_max = "0.02*rand()*nS"
    drive = generator(9, 20, 0.05)
    entering = Synapses(
        drive,
        P,
        "dw/dt = (1 - w)/(30*ms) : 1 (event-driven)",
        on_pre="v += w*4*mV; w *= 0.5",
        name="entering",
    )
    entering.connect(p=0.5)
    entering.w = 1
    return Script([P, S, drive, entering], locals())


SCRIPTS = [cuba, if_curve, brunel, izhikevich, layers, depressing, conductances, gated]
SCRIPTS.append(pytest.param(cobahh, marks=pytest.mark.slow))


@pytest.fixture(autouse=True)
def numpy_in_brian2(monkeypatch):
    """Nothing to compile."""
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    brian2.defaultclock.dt = DT


def spikes_in_brian2(script: Script, slices: dict[str, slice]) -> np.ndarray:
    """The spikes of all groups, lined up as in the network."""
    monitors = {x.name: SpikeMonitor(x) for x in script.objects if x.name in slices}
    network = brian2.Network(*script.objects, *monitors.values())
    network.run(N_STEPS * DT, namespace=script.namespace)
    z = np.zeros((N_STEPS, max(span.stop for span in slices.values())), dtype=bool)
    for name, monitor in monitors.items():
        z[np.rint(monitor.t / DT).astype(int), slices[name].start + monitor.i] = True
    return z


def trials_of(network: Network, script: Script) -> Trials:
    """The script's inputs, and a target that its readout can learn."""
    inputs = np.zeros((1, N_STEPS, network.n_inputs), dtype=bool)
    if any(isinstance(x, SpikeGeneratorGroup) for x in script.objects):
        inputs = inputs_from_brian2(script.objects, N_STEPS)
    phase = np.linspace(0, 2 * np.pi, N_STEPS)
    return Trials(inputs=inputs, targets=np.sin(phase)[None, :, None], pattern=[0], target=[0])


@pytest.mark.parametrize("write", SCRIPTS, ids=lambda write: write.__name__)
def test_a_script_has_brian2s_spikes_and_learns(write: Callable[[], Script]):
    brian2.seed(3)
    script = write()
    network = Network.from_brian2(script.objects, 1, namespace=script.namespace, **script.options)
    trials = trials_of(network, script)
    weights = network.initial_weights(1)
    session = Session(network, make_program("runtime"), trials, N_STEPS, weights)
    session.run(trials, 1, learning=False)
    spikes = session.spikes()
    losses = [float(session.run(trials, 1).loss[0]) for _ in range(4)]
    session.close()
    # Only now does Brian2 run what was read.
    expected = spikes_in_brian2(script, network.slices)
    assert 30 < expected.sum() < 0.2 * expected.size
    assert np.array_equal(spikes, expected)
    assert losses[-1] < losses[0]
