from eprop_brian.equations.environment import Code, Environment
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
from eprop_brian.equations.synapse import Synapse

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
    "Code",
    "Environment",
    "Feedback",
    "Loss",
    "Neuron",
    "Optimizer",
    "ReadoutFilter",
    "Synapse",
    "get_neuron",
    "surrogate",
]
