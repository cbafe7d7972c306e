"""Spiking neurons written as equations, trained with e-prop.

A neuron is equation strings. The toolkit differentiates them, derives the eligibility traces of
e-prop for that neuron, builds the network that learns as Brian2 objects, and compiles it to C++.
"""

from importlib.metadata import version

from eprop_brian.equations import (
    ADAM,
    ALIF,
    GRADIENT_DESCENT,
    LEAKY,
    LIF,
    Loss,
    Neuron,
    Optimizer,
    Readout,
    surrogate,
)
from eprop_brian.network.spec import Network
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.tasks import Task, Trials, get_task
from eprop_brian.training.trainer import Evaluation, Trainer, TrainingError

__all__ = [
    "ADAM",
    "ALIF",
    "GRADIENT_DESCENT",
    "LEAKY",
    "LIF",
    "EquationError",
    "Evaluation",
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
    "get_task",
    "surrogate",
]

__version__ = version("eprop_brian")
