"""Settings of recurrent networks that learn by e-prop 3: within windows, with a synthesiser."""

from __future__ import annotations

from eprop_brian.devices import DTYPES
from eprop_brian.runs.eprop_settings import PARAMETERS, TASK
from eprop_brian.runs.eprop_settings import SCHEMA as EPROP_SCHEMA
from eprop_brian.runs.settings import Schema, Setting, Table, model_setting
from eprop_brian.tasks import CopyRepeat
from eprop_brian.training.jax_session import SYNTHESISERS

__all__ = ["LSTM", "LSTM_OPTIONS", "PARAMETERS", "SCHEMA"]

#: What units of an LSTM are called where other networks name their neurons.
LSTM = "lstm"
#: Options of a network that mean something to an LSTM.
LSTM_OPTIONS = ("clip_norm",)
#: Options of a network that learns by e-prop which mean the same here.
_OPTIONS = (
    *("readout_weights", "weight_scale", "connectivity", "learned", "fixed"),
    *("average_gradient", "c_reg", "f_target", "rate_averaging", "c_v", "voltage_cost", "c_l2"),
    *("clip_value", "clip_norm"),
)

SCHEMA: Schema = {
    "run": Table(
        "What is run.",
        {
            "model": model_setting("synthetic"),
            "task": Setting("value", "name of the task", choices=(CopyRepeat.name,)),
            "iterations": Setting("count", "updates, in all", default=1000, least=1),
            "batch_size": Setting("count", "trials per update", default=32, least=1),
            "seed": Setting("count", "of weights and trials", default=1, least=0),
            "device": Setting("text", "where it runs: `jax`", default="jax", choices=("jax",)),
            "dtype": Setting("value", "type of all state", default="float32", choices=DTYPES),
        },
    ),
    "task": TASK,
    "curriculum": Table(
        "When a level is solved.",
        {
            "threshold": Setting(
                "number",
                "loss of a batch, in bits for each output and step that counts",
                default=0.15,
            ),
        },
    ),
    "windows": Table(
        "Windows, and what crosses them.",
        {
            "window": Setting("count", "steps of a window; 0: the whole trial", default=4, least=0),
            "synthesiser": Setting(
                "text",
                "what says the derivative of later losses at a window's end: `off`, nothing; "
                "`linear` or `hidden`, a map that learns it; `oracle`, backpropagation",
                default="linear",
                choices=SYNTHESISERS,
            ),
            "n_hidden": Setting("count", "units of its hidden layer", default=100, least=1),
            "memory": Setting("count", "updates that it remembers", default=30, least=1),
            "shifted": Setting(
                "switch",
                "the first window of an update has a random number of steps, 1 to `window`",
                default=False,
            ),
        },
    ),
    "size": Table(
        f"Neurons of each kind, in this order; or `{LSTM}` alone, the units of an LSTM.",
        further=EPROP_SCHEMA["size"].further,
        further_doc="by the neuron's name, how many there are",
    ),
    "network": Table(
        "Options of the network. An LSTM has `clip_norm` alone.",
        {name: EPROP_SCHEMA["network"].settings[name] for name in _OPTIONS},
    ),
    "readout": Table(
        "The readout; not of an LSTM.",
        {name: EPROP_SCHEMA["readout"].settings[name] for name in ("tau_out", "kappa", "zeta_out")},
    ),
    "optimizer": EPROP_SCHEMA["optimizer"],
}
