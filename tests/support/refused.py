"""Scripts of Brian2's examples that the package refuses, cut down to the objects at fault."""

from collections.abc import Callable
from typing import Any, NamedTuple

import brian2
import numpy as np
from brian2 import Hz, NeuronGroup, Synapses, TimedArray, cm, ms, mV, second, uF, umetre

from eprop_brian import Neuron, derive

__all__ = ["REFUSED", "Refused", "reason_of"]

# These objects are made to be refused, not to be run.
brian2.BrianLogger.suppress_name("unused_brian_object")


class Refused(NamedTuple):
    """A model that is refused.

    Attributes
    ----------
    source : str
    reason : str
        What the error says, for the most part.
    objects : callable
        Makes its group, its synapses if it has any, and fields that no group has.
    """

    source: str
    reason: str
    objects: Callable[[], tuple[NeuronGroup, Synapses | None, dict[str, Any]]]

    def derive(self) -> None:
        """Read the objects and derive a rule, which raises."""
        group, synapses, fields = self.objects()
        derive(Neuron.from_brian2(group, synapses, namespace={}, **fields))


def reason_of(error: ValueError) -> str:
    """What an error says, in one line and without what it quotes."""
    return " ".join(getattr(error, "problem", str(error)).split())


def _reliability():
    names = {"tau_input": 5 * ms, "tau": 10 * ms, "sigma": 0.015}
    inputs = NeuronGroup(1, "dx/dt = -x / tau_input + (2 /tau_input)**.5 * xi : 1", namespace=names)
    group = NeuronGroup(
        4,
        """
        dx/dt = (0.9 + .5 * I - x) / tau + sigma * (2 / tau)**.5 * xi : 1
        I : 1 (linked)
        """,
        threshold="x > 1",
        reset="x = 0",
        refractory=5 * ms,
        method="euler",
        namespace=names,
        name="neurons",
    )
    group.I = brian2.linked_var(inputs, "x")
    return group, None, {"on_pre": "x += w"}


def _ears():
    names = {
        "sound": TimedArray(10 * np.random.default_rng(1).random(100), dt=0.1 * ms),
        "tau_ear": 1 * ms,
        "sigma_ear": 0.1,
        "angular_speed": 2 * np.pi / second,
    }
    group = NeuronGroup(
        2,
        """
        dx/dt = (sound(t-delay)-x)/tau_ear+sigma_ear*(2./tau_ear)**.5*xi : 1 (unless refractory)
        delay = distance*sin(theta) : second
        distance : second # distance to the centre of the head in time units
        dtheta/dt = angular_speed : radian
        """,
        threshold="x>1",
        reset="x = 0",
        refractory=2.5 * ms,
        method="euler",
        namespace=names,
        name="neurons",
    )
    group.distance = [-0.33, 0.33] * ms
    return group, None, {"on_pre": "x += w"}


def _noisy_izhikevich():
    group = NeuronGroup(
        4,
        """
        dv/dt = (0.04*v**2 + 5*v + 140 - u + I + I_noise )/ms : 1
        du/dt = (a*(b*v - u))/ms  : 1
        I : 1
        I_noise : 1
        a : 1
        b : 1
        c : 1
        d : 1
        """,
        threshold="v>=30",
        reset="v=c; u+=d",
        method="euler",
        namespace={},
        name="neurons",
    )
    group.run_regularly("I_noise = 5*randn()", dt=1 * ms)
    return group, None, {"on_pre": "v += w"}


def _rate_neuron():
    group = NeuronGroup(
        4,
        """
        F = F_max/(1+exp(beta*(epsilon-u))) : 1
        du/dt = (-u + R*(I_E - I_I))/tau_u : 1
        I_E : 1
        I_I : 1
        """,
        method="euler",
        namespace={"F_max": 100, "beta": 0.03, "epsilon": 120, "R": 0.012, "tau_u": 1 * ms},
        name="neurons",
    )
    return group, None, {"on_pre": "u += w"}


def _squid_axon():
    morphology = brian2.Cylinder(length=10 * cm, diameter=2 * 238 * umetre, n=10, type="axon")
    group = brian2.SpatialNeuron(
        morphology,
        "Im = 0.3*msiemens/cm**2 * (10.6*mV-v) : amp/meter**2",
        Cm=1 * uF / cm**2,
        Ri=35.4 * brian2.ohm * cm,
        method="exponential_euler",
        name="neurons",
    )
    return group, None, {"on_pre": "v += w*mV"}


def _gap_junctions():
    group = NeuronGroup(
        4,
        """
        dv/dt = (v0 - v + Igap) / tau : 1
        Igap : 1 # gap junction current
        """,
        threshold="v > 1",
        reset="v = 0",
        method="exact",
        namespace={"v0": 1.05, "tau": 10 * ms},
        name="neurons",
    )
    model = """
    w : 1 # gap junction conductance
    Igap_post = w * (v_pre - v_post) : 1 (summed)
    """
    return group, _connected(Synapses(group, group, model, name="synapses")), {}


def _graded_synapse():
    group = NeuronGroup(
        2,
        """
        dvm/dt = (gl*(El-vm) + gSyn*s_in*(-vm))/C : volt
        s_in  : 1
        ds/dt = 0.5 * (1 + tanh(0.1*vm/mV)) * (1-s)/tau_r - s/tau_d : 1
        """,
        threshold="vm > -20*mV",
        refractory=2 * ms,
        method="exponential_euler",
        namespace={
            "gl": 0.1 * brian2.msiemens,
            "El": -67 * mV,
            "gSyn": 1 * brian2.msiemens,
            "C": 1 * uF,
            "tau_r": 0.2 * ms,
            "tau_d": 2 * ms,
        },
        name="neurons",
    )
    model = """
    w : 1
    s_in_post = w*s_pre : 1 (summed)
    """
    return group, _connected(Synapses(group, group, model, name="synapses")), {}


def _plasticity():
    names = {
        "taum": 10 * ms,
        "taupre": 20 * ms,
        "Ee": 0 * mV,
        "vt": -54 * mV,
        "vr": -60 * mV,
        "El": -74 * mV,
        "taue": 5 * ms,
        "gmax": 0.01,
        "dApre": 1e-4,
        "dApost": -1.05e-4,
    }
    inputs = brian2.PoissonGroup(4, rates=15 * Hz)
    group = NeuronGroup(
        1,
        """
        dv/dt = (ge * (Ee-v) + El - v) / taum : volt
        dge/dt = -ge / taue : 1
        """,
        threshold="v>vt",
        reset="v = vr",
        method="euler",
        namespace=names,
        name="neurons",
    )
    synapses = Synapses(
        inputs,
        group,
        """
        w : 1
        dApre/dt = -Apre / taupre : 1 (event-driven)
        dApost/dt = -Apost / taupre : 1 (event-driven)
        """,
        on_pre="ge += w\nApre += dApre\nw = clip(w + Apost, 0, gmax)",
        on_post="Apost += dApost\nw = clip(w + Apre, 0, gmax)",
        namespace=names,
        name="synapses",
    )
    return group, _connected(synapses), {}


def _connected(synapses: Synapses) -> Synapses:
    synapses.connect()
    return synapses


#: By name.
REFUSED = {
    "reliability": Refused("examples/reliability.py", "linked to another group", _reliability),
    "jeffress_ears": Refused(
        "examples/synapses/jeffress.py, the ears", "where the state 'theta' says", _ears
    ),
    "izhikevich_2003_noise": Refused(
        "examples/frompapers/Izhikevich_2003.py, with its noise",
        "has run_regularly",
        _noisy_izhikevich,
    ),
    "tetzlaff_2015": Refused(
        "examples/frompapers/Tetzlaff_2015.py, a rate neuron", "no threshold", _rate_neuron
    ),
    "hodgkin_huxley_1952": Refused(
        "examples/compartmental/hodgkin_huxley_1952.py", "not from SpatialNeuron", _squid_axon
    ),
    "gapjunctions": Refused(
        "examples/synapses/gapjunctions.py", "neurons hear spikes alone", _gap_junctions
    ),
    "continuous_interaction": Refused(
        "examples/synapses/continuous_interaction.py, its synapse",
        "neurons hear spikes alone",
        _graded_synapse,
    ),
    "stdp": Refused("examples/synapses/STDP.py", "react to postsynaptic spikes", _plasticity),
}
