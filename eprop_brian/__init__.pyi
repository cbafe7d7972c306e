from eprop_brian import plot
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
    Code,
    Environment,
    Feedback,
    Loss,
    Neuron,
    Optimizer,
    ReadoutFilter,
    Synapse,
    get_neuron,
    surrogate,
)
from eprop_brian.network.learned import Learned
from eprop_brian.network.parts import (
    Agent,
    Inputs,
    LearningSignal,
    Population,
    Projection,
    Readout,
)
from eprop_brian.network.sharing import AveragePooling, Convolution, PerChannel
from eprop_brian.network.spec import Network
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.network_file import read_network, write_network
from eprop_brian.runs.recipes import get_recipe
from eprop_brian.runs.run import Run
from eprop_brian.symbolic.derivation import Derivation, derive
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.tasks import ArrayTask, Task, Trials, get_task
from eprop_brian.training.callbacks import BestWeights, Callback, EarlyStopping
from eprop_brian.training.diagnosis import TrainingError
from eprop_brian.training.evaluation import Evaluation
from eprop_brian.training.recorded import Recording
from eprop_brian.training.recording import record
from eprop_brian.training.traces import TracedSynapse
from eprop_brian.training.trainer import Trainer
from eprop_brian.training.weight_recording import WeightRecorder

__all__ = [
    "ADAM",
    "ADAPTIVE",
    "ALIF",
    "Agent",
    "ArrayTask",
    "AveragePooling",
    "BROADCAST",
    "BestWeights",
    "Callback",
    "GRADIENT_DESCENT",
    "LEAKY",
    "LIF",
    "RANDOM",
    "SYMMETRIC",
    "Code",
    "Convolution",
    "Derivation",
    "Environment",
    "EarlyStopping",
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
    "PerChannel",
    "Population",
    "Projection",
    "Readout",
    "ReadoutFilter",
    "Recording",
    "Run",
    "RunConfig",
    "Synapse",
    "Task",
    "TracedSynapse",
    "Trainer",
    "TrainingError",
    "Trials",
    "WeightRecorder",
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

__version__: str
