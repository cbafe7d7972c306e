"""Equations: strings, symbols, default parameters and sources. No numerics live here."""

from eprop_brian.equations.learning_signals import (
    ADAPTIVE,
    BROADCAST,
    FEEDBACKS,
    RANDOM,
    SYMMETRIC,
    LearningSignal,
)
from eprop_brian.equations.losses import LOSSES, Loss
from eprop_brian.equations.neurons import ALIF, LIF, NEURONS, Neuron, get_neuron
from eprop_brian.equations.optimizers import ADAM, GRADIENT_DESCENT, OPTIMIZERS, Optimizer
from eprop_brian.equations.readouts import LEAKY, READOUTS, Readout
from eprop_brian.equations.surrogates import SURROGATES, surrogate

__all__ = [
    "ADAM",
    "ADAPTIVE",
    "ALIF",
    "BROADCAST",
    "FEEDBACKS",
    "GRADIENT_DESCENT",
    "LEAKY",
    "LIF",
    "LOSSES",
    "NEURONS",
    "OPTIMIZERS",
    "RANDOM",
    "READOUTS",
    "SURROGATES",
    "SYMMETRIC",
    "LearningSignal",
    "Loss",
    "Neuron",
    "Optimizer",
    "Readout",
    "get_neuron",
    "surrogate",
]
