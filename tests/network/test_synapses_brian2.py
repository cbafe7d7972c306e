"""Synapses with dynamics are the synapses that Brian2 simulates, spike for spike.

Every case is run by Brian2's own `Synapses` with the same equations, and by the package.
"""

from dataclasses import dataclass, replace

import brian2
import numpy as np
import pytest
from brian2 import Quantity, ms

from eprop_brian import Inputs, LearningSignal, Network, Neuron, Population, Projection, Readout
from eprop_brian.equations.synapse import Synapse
from eprop_brian.network.program import make_program
from eprop_brian.symbolic.parameters import resolve_parameters
from eprop_brian.training.session import Session
from support.devices import on_devices
from support.trials import trials_of

N_STEPS, N_INPUTS, SIZE = 250, 12, 5


@dataclass(frozen=True, eq=False)
class Case:
    """Synapses from the inputs, and among the neurons, each onto a receptor.

    Attributes
    ----------
    entering, among : Synapse or None
        None: they have a weight and nothing else.
    neuron : Neuron
    weight : float
        Of the inputs.
    delay : int
        Steps by which spikes are late.
    receptors : tuple of str
    """

    entering: Synapse | None
    among: Synapse | None
    neuron: Neuron
    weight: float
    delay: int = 0
    receptors: tuple[str, str] = ("", "")


def lif(name, /, **changes):
    plain = {
        "model": "dv/dt = (g - v)/tau : 1\ndg/dt = -g/(5*ms) : 1",
        "on_pre": "g += w",
        "reset": "v = 0",
        "threshold": "v > 1",
        "surrogate": "0.3*clip(1 - abs(v - 1), 0, 1)",
        "refractory": "2 ms",
        "parameters": {"tau": 20 * ms},
    }
    return Neuron(name=name, **{**plain, **changes})


DEPRESSING = Synapse(
    model="w : 1\ndx/dt = (1 - x)/tau_d : 1 (event-driven)",
    on_pre="g_post += w*U*x\nx -= U*x",
    parameters={"tau_d": 150 * ms, "U": 0.5},
    initial={"x": "1"},
    name="depressing",
)
TSODYKS_MARKRAM = Synapse(
    model="""
    w : 1
    dx/dt = (1 - x)/tau_d : 1 (event-driven)
    du/dt = -u/tau_f : 1 (event-driven)
    """,
    on_pre="u += U*(1 - u); g_post += w*u*x; x -= u*x",
    parameters={"tau_d": "50 ms", "tau_f": "500 ms", "U": 0.1},
    initial={"x": "1"},
    name="facilitating",
)
#: The same variables, moved in every step, from values away from rest.
CLOCKED = Synapse(
    model="dx/dt = (1 - x)/tau_d : 1 (clock-driven)\ndu/dt = (U - u)/tau_f : 1 (clock-driven)",
    on_pre="u += U*(1 - u)\ng += w*u*x\nx *= 1 - u",
    parameters={"tau_d": "80 ms", "tau_f": "200 ms", "U": 0.3},
    initial={"x": "0.2", "u": "U/2"},
    name="clocked",
)
#: A conductance that saturates, in every step the sum of w*s.
GATED = Synapse(
    model="""
    s_tot_post = w*s : 1 (summed)
    ds/dt = -s/tau_s + alpha*x*(1 - s) : 1 (clock-driven)
    dx/dt = -x/(2*ms) : 1 (clock-driven)
    w : 1
    """,
    on_pre="x += 1",
    method="euler",
    parameters={"tau_s": "50 ms", "alpha": "0.5/ms"},
    name="gated",
)
#: The same with units in the neuron, which has a receptor of either kind.
REVERSAL = lif(
    "reversal",
    model="""
    dv/dt = (E_L - v + (g + s_tot*unblocked)*(E_e - v))/tau : volt
    unblocked = 1/(1 + exp(-(v + 50*mV)/(20*mV))) : 1
    dg/dt = -g/(5*ms) : 1
    s_tot : 1
    """,
    on_pre={"fast": "g += w", "slow": "s_tot = w"},
    threshold="v > -50*mV",
    reset="v = E_L",
    method="euler",
    parameters={"tau": "20 ms", "E_L": "-70 mV", "E_e": "0 mV"},
    initial={"v": "E_L"},
    surrogate="0.3/(20*mV)*clip(1 - abs(v + 50*mV)/(20*mV), 0, 1)",
)
FAST = replace(DEPRESSING, on_pre="g_post += w*U*x\nx -= U*x")
#: Spikes move the membrane by a part of the way to where they lead it.
JUMPS = lif(
    "jumps",
    model="dv/dt = -v/tau : 1",
    on_pre={"up": "v += w*(2 - v)", "down": "v += 0.5*w*(E_i - v)"},
    on_pre_order="sequential",
    parameters={"tau": "20 ms", "E_i": -0.5},
)
CASES = {
    "short-term depression": Case(DEPRESSING, DEPRESSING, lif("lif"), 40.0),
    "facilitation": Case(TSODYKS_MARKRAM, DEPRESSING, lif("lif"), 30.0),
    "delayed": Case(TSODYKS_MARKRAM, TSODYKS_MARKRAM, lif("lif"), 24.0, delay=3),
    "clock-driven": Case(CLOCKED, CLOCKED, lif("lif"), 40.0),
    "a function of the weight": Case(
        None, DEPRESSING, lif("lif", on_pre="g += clip(w, 0, 2.5)"), 20.0
    ),
    "another function of the weight": Case(
        replace(DEPRESSING, on_pre="g_post += abs(w)*U*x; x -= U*x"), None, lif("lif"), 40.0
    ),
    "saturating conductance": Case(GATED, FAST, REVERSAL, 2.0, receptors=("slow", "fast"), delay=1),
    "one after the other": Case(None, None, JUMPS, 1.0, receptors=("up", "down")),
}
COMPILED = ("facilitation",)


def data_of(case):
    rng = np.random.default_rng(4)
    x = rng.random((N_STEPS, N_INPUTS)) < 0.08
    # Brian2 has no synapses' slot before its first step.
    x[0] = False
    w_in = case.weight * (rng.random((SIZE, N_INPUTS)) - 0.2) / 4
    w_rec = case.weight * rng.normal(size=(SIZE, SIZE)) / 3
    np.fill_diagonal(w_rec, 0)
    return x, w_in, w_rec


def quantities(parameters):
    values, dimensions = resolve_parameters(parameters, "test")
    return {name: Quantity(value, dim=dimensions[name]) for name, value in values.items()}


def in_brian2(case):
    """Spikes (n_steps, SIZE) by Brian2 itself."""
    x, *weights = data_of(case)
    neuron = case.neuron
    group = brian2.NeuronGroup(
        SIZE,
        neuron.model,
        method=neuron.method,
        threshold=neuron.threshold,
        reset=neuron.reset,
        refractory=2 * ms,
        namespace=quantities(neuron.parameters),
        dt=1 * ms,
    )
    for name, value in neuron.initial.items():
        setattr(group, name, value)
    steps, neurons = np.nonzero(x)
    # In the package an input acts in its own step: in Brian2 from the slot of synapses before it.
    source = brian2.SpikeGeneratorGroup(N_INPUTS, neurons, (steps - 1) * ms, dt=1 * ms)
    pathways = []
    pairs = zip((source, group), (case.entering, case.among), weights, strict=True)
    for (origin, synapse, w), receptor in zip(pairs, case.receptors, strict=True):
        if synapse is None:
            synapse = Synapse("", neuron.on_pre_by_receptor[receptor], parameters=neuron.parameters)
        model = synapse.model if "w : 1" in synapse.model else f"{synapse.model}\nw : 1"
        pathway = brian2.Synapses(
            origin,
            group,
            model,
            on_pre=synapse.on_pre,
            method=synapse.method,
            namespace=quantities(synapse.parameters),
            delay=case.delay * ms,
            dt=1 * ms,
        )
        # Receptors in the order of the neuron; Brian2 goes by names.
        pathway.pre.order = len(pathways)
        pathway.connect()
        pathway.w = w.T.ravel()
        for name, value in synapse.initial.items():
            setattr(pathway, name, value)
        pathways.append(pathway)
    spikes = brian2.SpikeMonitor(group)
    brian2.Network(group, source, *pathways, spikes).run(N_STEPS * ms, namespace={})
    z = np.zeros((N_STEPS, SIZE), dtype=bool)
    z[np.rint(spikes.t / ms).astype(int), spikes.i] = True
    return z


def in_the_package(case, device):
    """The same, as a network of its own."""
    x, w_in, w_rec = data_of(case)
    entering, among = case.receptors
    network = Network(
        [
            Inputs(N_INPUTS),
            Population(case.neuron, SIZE, "cells"),
            Readout(1),
            Projection(
                "inputs",
                "cells",
                "w_in",
                weights=w_in,
                synapse=case.entering,
                delay=case.delay * ms,
                receptor=entering,
                learn=False,
            ),
            Projection(
                "cells",
                "cells",
                "w_rec",
                weights=w_rec,
                synapse=case.among,
                # What Brian2 calls no delay is the least there is between neurons: one step.
                delay=(case.delay + 1) * ms,
                receptor=among,
                learn=False,
            ),
            Projection("cells", "readout", "w_out"),
            LearningSignal("readout", "cells"),
        ],
        dt=1 * ms,
    )
    trials = trials_of(x[None], np.zeros((1, 1, 1)))
    session = Session(network, make_program(device), trials, N_STEPS, network.initial_weights(0))
    session.run(trials, 1, learning=False)
    spikes = session.spikes()
    session.close()
    return spikes


@pytest.mark.parametrize("name", on_devices(CASES, COMPILED))
def test_spikes_are_brian2s(name, device, monkeypatch):
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    z, found = in_brian2(CASES[name]), in_the_package(CASES[name], device)
    assert 30 <= z.sum() < SIZE * N_STEPS / 3, "the case says nothing"
    assert found.shape == z.shape and np.sum(found != z) == 0


def test_summed_spikes_are_not_brian2s(monkeypatch):
    """The option is needed: without it several spikes of a step act on the same membrane."""
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    case = CASES["one after the other"]
    with pytest.warns(UserWarning, match="on_pre_order = 'sequential'"):
        summed = replace(case, neuron=replace(case.neuron, on_pre_order="summed"))
        found = in_the_package(summed, "runtime")
    assert np.sum(found != in_brian2(case)) > 20
