"""Efficient balanced networks: every spike lowers the error of what the network represents.

A network of N neurons represents a signal x (K dimensions) by the estimate D r, where r are its
filtered spikes and D (K x N) is a fixed decoder. Its membrane potentials stand for the error seen
along each neuron's decoding vector, and a neuron fires when a spike of its own makes it smaller.

Sources: Boerlin, Machens, Denève 2013 (PLoS Comput. Biol. 9:e1003258), the closed form; Bourdoukan
and Denève 2015 (NIPS 28), the linear learning rule; Alemi, Machens, Deneve, Slotine 2018 (AAAI,
arXiv 1705.08026), the rule for arbitrary dynamics; Brendel et al. 2020 (PLoS Comput. Biol.
16:e1007692), learning of the fast weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "BASES",
    "CANDIDATE",
    "ERROR",
    "ESTIMATE",
    "FAST_LEARNING",
    "FEEDBACKS",
    "FEEDFORWARD",
    "FILTERED_SPIKES",
    "INPUT",
    "MEMBRANE",
    "PROJECTED_ERROR",
    "QUANTITIES",
    "SLOW",
    "SLOW_LEARNING",
    "SPIKE",
    "Basis",
]

#: Of every neuron. `feedforward` is D^T c, `slow` is Ws psi, `projected_error` is D^T error;
#: `sigma` is the standard deviation that noise alone would give the potential.
MEMBRANE = """
dv/dt = -lambda_v*v + feedforward + slow + {feedback} + sigma*sqrt(2*lambda_v)*xi : 1
"""
#: The error feedback. Published is the first; there a potential, which holds the error already,
#: grows at the rate k - lambda_v, and the network fires against itself unless k is at most
#: lambda_v. The second feeds back what the potential does not hold yet, and allows any gain.
FEEDBACKS = {"published": "k*projected_error", "corrected": "k*(projected_error - v)"}
#: Input of a step; `pull` drives an exploring teacher to wherever ``given/pull`` is.
INPUT = "c = given - pull*x"
#: Of every neuron; a spike adds 1.
FILTERED_SPIKES = "dr/dt = -lambda_r*r : 1"
#: Of every dimension; a spike of neuron i adds column i of D: it is D r at all times.
ESTIMATE = "destimate/dt = -lambda_r*estimate : 1"
ERROR = "error = x - estimate"

#: Sums over dimensions, and over dendrites, that reach a neuron.
FEEDFORWARD = "feedforward = feedforward + D*c"
PROJECTED_ERROR = "projected_error = projected_error + D*error"
SLOW = "slow = slow + w_slow*psi"

#: What is furthest above threshold fires; a neuron that is refractory does not.
CANDIDATE = "candidate = v - threshold - never*int(refractory_counter > 0.5)"
#: What a spike does to the other neurons, and to its own.
SPIKE = "v = v - w_fast"

#: Of every slow synapse, in every step: local, postsynaptic error times presynaptic dendrite.
SLOW_LEARNING = "w_slow = w_slow + dt*eta*projected_error*psi"
#: Of every fast synapse from a neuron that spikes, before its reset. Its fixed point is the mean
#: potential that a spike meets, times 2: D^T D, and 2 T on the diagonal (the best ones without the
#: linear cost nu).
FAST_LEARNING = "w_fast = w_fast + eta_fast*(2*v - w_fast)"


@dataclass(frozen=True)
class Basis:
    """What the slow synapses see of the network's activity.

    Attributes
    ----------
    name : str
    model : str
        Differential equations of a dendrite, or nothing if it is the neuron's own filtered spikes.
        A spike of neuron i adds M[:, i] to `u`: it is M r at all times.
    psi : str
        The dendrite's output, an expression of its states and parameters.
    """

    name: str
    model: str
    psi: str


#: Presynaptic terms of the slow synapses, by name.
BASES: Mapping[str, Basis] = {
    "linear": Basis("linear", "", "r"),
    "tanh": Basis("tanh", "du/dt = -lambda_r*u : 1", "tanh(u + theta)"),
}

#: Where each quantity of the learning rules is found: what makes a rule local can be read off.
QUANTITIES: Mapping[str, Mapping[str, str]] = {
    "postsynaptic": {
        "projected_error": "error along the neuron's decoding vector, fed back to it",
        "v": "membrane potential",
    },
    "presynaptic": {
        "psi": "output of the dendritic branch (tanh basis), or filtered spikes (linear)",
        "r": "filtered spikes",
    },
    "synapse": {"w_slow": "slow weight", "w_fast": "fast weight"},
    "constants": {"dt": "time step", "eta": "learning rate", "eta_fast": "learning rate"},
}
