"""Spiking neurons written as equations, trained with e-prop.

A neuron is equation strings. The toolkit differentiates them, derives the eligibility traces of
e-prop for that neuron, builds the network that learns as Brian2 objects, and compiles it to C++.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

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
    Feedback,
    Loss,
    Neuron,
    Optimizer,
    ReadoutFilter,
    get_neuron,
    surrogate,
)
from eprop_brian.network.learned import Learned
from eprop_brian.network.parts import Inputs, LearningSignal, Population, Projection, Readout
from eprop_brian.network.spec import Network
from eprop_brian.symbolic.derivation import Derivation, derive
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.tasks import Task, Trials, get_task
from eprop_brian.training.diagnosis import TrainingError
from eprop_brian.training.evaluation import Evaluation
from eprop_brian.training.trainer import Trainer

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
    "Derivation",
    "EquationError",
    "Evaluation",
    "Learned",
    "Feedback",
    "Inputs",
    "LearningSignal",
    "Loss",
    "Network",
    "Neuron",
    "Optimizer",
    "Population",
    "Projection",
    "Readout",
    "ReadoutFilter",
    "Run",
    "RunConfig",
    "Task",
    "Trainer",
    "TrainingError",
    "Trials",
    "__version__",
    "derive",
    "get_neuron",
    "get_recipe",
    "get_task",
    "plot",
    "read_network",
    "record",
    "surrogate",
    "write_network",
]

__version__ = version("eprop_brian")
#: What is imported when it is first asked for, by module.
_LATER = {
    "Run": "eprop_brian.runs.run",
    "RunConfig": "eprop_brian.runs.config",
    "get_recipe": "eprop_brian.runs.recipes",
    "read_network": "eprop_brian.runs.network_file",
    "record": "eprop_brian.training.recording",
    "write_network": "eprop_brian.runs.network_file",
}


def __getattr__(name: str) -> Any:
    if name == "plot":
        return import_module("eprop_brian.plot")
    if name not in _LATER:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
