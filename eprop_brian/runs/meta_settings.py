"""Settings of networks that learn to learn families of tasks by one update."""

from __future__ import annotations

from brian2.units import Hz

from eprop_brian.devices import DEVICES, DTYPES
from eprop_brian.equations import OPTIMIZERS
from eprop_brian.runs.eprop_settings import parameters_of
from eprop_brian.runs.graph_settings import GRAPH_SCHEMA, PARTS
from eprop_brian.runs.settings import Schema, Setting, Table, Tables, model_setting
from eprop_brian.tasks.few_shot import FAMILIES

__all__ = ["META_SCHEMA"]


def _task_settings(tables: Tables) -> dict[str, Setting]:
    name = tables.get("run", {}).get("task")
    if not isinstance(name, str) or name not in FAMILIES:
        return {}
    return parameters_of(FAMILIES[name])


def _outer_settings(tables: Tables) -> dict[str, Setting]:
    """The parameters of the optimizer that trains the weights a task begins with."""
    name = tables.get("meta", {}).get("optimizer", "adam")
    parameters = OPTIMIZERS[name].parameters if isinstance(name, str) and name in OPTIMIZERS else {}
    return {key: Setting("value", f"of the optimizer `{name}`") for key in parameters}


META_SCHEMA: Schema = {
    "run": Table(
        "What is run, and where.",
        {
            "model": model_setting("meta"),
            "task": Setting("value", "name of the family of tasks", choices=FAMILIES),
            "iterations": Setting("count", "iterations, in all", default=1000, least=1),
            "batch_size": Setting("count", "tasks of an iteration", default=16, least=1),
            "seed": Setting("count", "of weights and tasks", default=1, least=0),
            "device": Setting(
                "value", "where the trained network is tested", default="cpp", choices=DEVICES
            ),
            "dtype": Setting(
                "value", "float type of the training, in JAX", default="float32", choices=DTYPES
            ),
        },
    ),
    "task": Table(
        "Settings of the family.",
        further=_task_settings,
        further_doc="settings of the [family](learned_signals.md#families-of-tasks) that is named",
    ),
    **{name: GRAPH_SCHEMA[name] for name in (*PARTS, "network")},
    "optimizer": GRAPH_SCHEMA["optimizer"],
    "meta": Table(
        "How the weights are trained that a task begins with, and those that emit.",
        {
            "optimizer": Setting("value", "the rule", default="adam", choices=OPTIMIZERS),
            "schedule": Setting(
                "value", "factor of the learning rate, an expression of the iteration"
            ),
            "clip_norm": Setting(
                "number", "largest norm of the gradient; 0: it is not clipped", default=1.0, least=0
            ),
            "rate_cost": Setting(
                "number", "factor of the rate regulariser of all neurons", default=0.5, least=0
            ),
            "f_target": Setting(
                "quantity", "its rate, of neurons that reach a readout", default="20 Hz", unit=Hz
            ),
            "f_emitting": Setting(
                "quantity",
                "its rate, of neurons that do nothing but emit",
                default="10 Hz",
                unit=Hz,
            ),
            "fixed": Setting("value", "list of weights that stay as they are drawn"),
            "n_test": Setting(
                "count", "unseen tasks by which the network is tested", default=64, least=2
            ),
        },
        further=_outer_settings,
        further_doc="parameters of the [optimizer](training.md#optimizers) that is named",
    ),
}
