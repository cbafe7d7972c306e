"""Equations: strings, symbols, default parameters and sources. No numerics live here."""

from eprop_brian.equations.learning_signals import (
    ADAPTIVE,
    BROADCAST,
    FEEDBACKS,
    RANDOM,
    SYMMETRIC,
    Feedback,
)
from eprop_brian.equations.losses import LOSSES, Loss
from eprop_brian.equations.neuron import Neuron
from eprop_brian.equations.neurons import ALIF, LIF, NEURONS, get_neuron
from eprop_brian.equations.optimizers import (
    ADAM,
    ADAM_CORRECTED,
    ADAMW,
    GRADIENT_DESCENT,
    MOMENTUM,
    OPTIMIZERS,
    RMSPROP,
    Optimizer,
)
from eprop_brian.equations.readouts import LEAKY, READOUTS, ReadoutFilter
from eprop_brian.equations.surrogates import SURROGATES, surrogate

__all__ = [
    "ADAM",
    "ADAMW",
    "ADAM_CORRECTED",
    "ADAPTIVE",
    "ALIF",
    "BROADCAST",
    "FEEDBACKS",
    "GRADIENT_DESCENT",
    "LEAKY",
    "LIF",
    "LOSSES",
    "MOMENTUM",
    "NEURONS",
    "OPTIMIZERS",
    "RANDOM",
    "READOUTS",
    "RMSPROP",
    "SURROGATES",
    "SYMMETRIC",
    "Feedback",
    "Loss",
    "Neuron",
    "Optimizer",
    "ReadoutFilter",
    "get_neuron",
    "surrogate",
]
