"""Spiking neurons written as equations, trained with e-prop.

A neuron is equation strings. The toolkit differentiates them, derives the eligibility traces of
e-prop for that neuron, builds the network that learns as Brian2 objects, and compiles it to C++.
"""

from importlib.metadata import version

from eprop_brian._libraries import import_libraries

import_libraries()  # before anything else imports Brian2 or Matplotlib

# ruff: noqa: E402
from eprop_brian.equations import (
    ADAM,
    ADAPTIVE,
    ALIF,
    BROADCAST,
    GRADIENT_DESCENT,
    LEAKY,
    LIF,
    RANDOM,
    SYMMETRIC,
    LearningSignal,
    Loss,
    Neuron,
    Optimizer,
    Readout,
    get_neuron,
    surrogate,
)
from eprop_brian.network.learned import Learned
from eprop_brian.network.spec import Network
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.tasks import Task, Trials, get_task
from eprop_brian.training.trainer import Evaluation, Trainer, TrainingError

__all__ = [
    "ADAM",
    "ADAPTIVE",
    "ALIF",
    "BROADCAST",
    "GRADIENT_DESCENT",
    "LEAKY",
    "LIF",
    "RANDOM",
    "SYMMETRIC",
    "EquationError",
    "Evaluation",
    "Learned",
    "LearningSignal",
    "Loss",
    "Network",
    "Neuron",
    "Optimizer",
    "Readout",
    "Task",
    "Trainer",
    "TrainingError",
    "Trials",
    "__version__",
    "get_neuron",
    "get_task",
    "surrogate",
]

__version__ = version("eprop_brian")
