"""Recurrent networks that learn tasks by e-prop: their settings, and what follows from them.

Beside ``config.toml`` stand the neurons as neuron files, ``neuron-<name>.toml``, so that a run does
not change when the library does, and a feedback matrix as ``feedback.npy``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eprop_brian.base.checks import is_identifier
from eprop_brian.base.files import read_array
from eprop_brian.equations import LEAKY, OPTIMIZERS, Optimizer, get_neuron
from eprop_brian.equations.learning_signals import FEEDBACKS, Feedback
from eprop_brian.network.feedback import as_feedback, unused_scale
from eprop_brian.network.parts import Agent
from eprop_brian.network.spec import Network
from eprop_brian.network.standard import MATRICES
from eprop_brian.runs.eprop_settings import EQUATIONS, FEEDBACK, PARAMETERS, READOUT_TRACE, SCHEMA
from eprop_brian.runs.learning import READOUTS_ONLY, LearningModel
from eprop_brian.runs.neuron_settings import (
    detached,
    neurons_of_recipe,
    with_setting,
    with_shared,
)
from eprop_brian.runs.settings import Tables, as_quantity
from eprop_brian.runs.tasks import check_task, named_parts, with_parts
from eprop_brian.symbolic.neuron_file import read_neuron, write_neuron
from eprop_brian.tasks import EpisodicTask, Task

if TYPE_CHECKING:
    from eprop_brian.runs.config import RunConfig

__all__ = ["EPROP", "learning_signal", "optimizer_of"]

_W_IN, _W_REC, _ = MATRICES
#: What ``network.feedback`` is called where its weights stand in a file.
_GIVEN, _FEEDBACK_FILE = "given", "feedback.npy"


class _Eprop(LearningModel):
    """See `eprop_brian.runs.models.Model`."""

    schema = SCHEMA
    parameters = PARAMETERS
    example = "optimizer.eta=1e-3 or neuron.tau_m='30 ms'"
    feedback = ("network", "feedback")

    def check(self, config: RunConfig) -> None:
        """Raise ValueError for an unknown task, and names of neurons that can name no file."""
        check_task(config)
        for name in config.size:
            if not is_identifier(name):
                raise ValueError(
                    f"[size] names a neuron {name!r}: a name is letters, digits and _, starting "
                    "with a letter"
                )

    def begin(
        self, tables: Tables, replacements: Mapping[str, str | None], folder: Path
    ) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        """Take the library's neurons with the recipe's parameters, or another in their place."""
        if replacements["teacher"] is not None:
            raise ValueError("a teacher is for balanced networks; this task has its own targets")
        ours = {name: dict(values) for name, values in tables.items() if name != "neuron"}
        size, parameters = ours.get("size", {}), tables.get("neuron", {})
        neuron = replacements["neuron"]
        if neuron is None:
            neurons = neurons_of_recipe(size, parameters)
        elif neuron.endswith(".toml"):
            chosen = read_neuron(Path(neuron))
            neurons = {chosen.name: chosen}
        else:
            chosen = with_shared(get_neuron(neuron), parameters)
            neurons = {chosen.name: chosen}
        if "detach" in parameters:
            neurons = detached(neurons, parameters["detach"], "[neuron]")
        if neuron is not None:
            ours["size"] = {name: sum(size.values()) for name in neurons}
        ours["network"] = {"gradient": "factored", **ours.get("network", {})}
        feedback, matrix = _feedback(ours["network"].get("feedback"))
        if matrix is not None:
            ours["network"]["feedback"] = feedback
        parts = {"neurons": neurons, "feedback_matrix": matrix, **named_parts(tables)}
        return ours, parts

    def reconsidered(self, base: RunConfig, chosen: RunConfig) -> RunConfig:
        """Drop a recipe's learning signal if BPTT is chosen, which has no use for one."""
        return _without_feedback(base) if chosen.network["gradient"] == "bptt" else base

    def with_value(self, config: RunConfig, table: str, key: str, value: Any) -> RunConfig:
        """Replace a setting; a file of feedback is read too."""
        if (table, key) == ("network", "feedback"):
            value, matrix = _feedback(value)
            config = with_parts(config, feedback_matrix=matrix)
        return super().with_value(config, table, key, value)

    def with_parameter(self, config: RunConfig, key: str, value: Any, where: str) -> RunConfig:
        """Replace a parameter of all neurons that have it, or what they detach."""
        return with_parts(config, neurons=with_setting(config.neurons, key, value, where))

    def with_method(self, config: RunConfig, method: str) -> RunConfig:
        """Learn by a kind of feedback, by ``"bptt"``, or let the readouts learn alone."""
        if method == READOUTS_ONLY:
            network = {**_without_feedback(config).network, "fixed": [_W_IN, _W_REC]}
            if network["gradient"] == "bptt":
                network["gradient"] = "factored"
            return _without_feedback(config).with_tables({"network": network})
        if method == "bptt":
            # It runs in JAX, wherever the others run.
            elsewhere = _without_feedback(config).with_values("run", device="cpp")
            return elsewhere.with_values("network", gradient=method)
        # A number of one kind's update rule means nothing to the others.
        others = {f"feedback_{name}" for kind in FEEDBACKS.values() for name in kind.parameters}
        others -= {f"feedback_{name}" for name in FEEDBACKS[method].parameters}
        network = {key: value for key, value in config.network.items() if key not in others}
        if network["gradient"] == "bptt":
            network["gradient"] = "factored"
        config = replace(config, tables={**config.tables, "network": network})
        return self.with_value(config, "network", "feedback", method)

    def part_files(self, config: RunConfig) -> dict[str, Any]:
        """Give the neuron files, the feedback matrix, and the files of the task."""
        matrix = config.feedback_matrix
        arrays = {} if matrix is None else {_FEEDBACK_FILE: matrix}
        texts = {f"neuron-{name}.toml": write_neuron(n) for name, n in config.neurons.items()}
        return {**arrays, **texts, **super().part_files(config)}

    def read_parts(self, folder: Path, tables: Tables) -> tuple[Tables, dict[str, Any]]:
        """Read the neuron files, the feedback matrix, and the files of the task."""
        names = [name for name in tables["size"] if is_identifier(name)]
        neurons = {name: read_neuron(folder / f"neuron-{name}.toml") for name in names}
        matrix = None
        if tables["network"].get("feedback") == _GIVEN:
            matrix = read_array(folder / _FEEDBACK_FILE)
        tables, parts = super().read_parts(folder, tables)
        return tables, {"neurons": neurons, "feedback_matrix": matrix, **parts}

    def make_network(self, config: RunConfig, task: Task) -> Network:
        """Make the network for a task."""
        readout_settings = dict(config.readout)
        trace: dict[str, Any] = {
            name: str(readout_settings.pop(name, "")) for name in READOUT_TRACE
        }
        readout = replace(LEAKY.with_parameters(**readout_settings), **trace)
        options = {
            key: value if key in EQUATIONS else as_quantity(value, f"network.{key}")
            for key, value in config.network.items()
            if key not in FEEDBACK
        }
        if isinstance(task, EpisodicTask):
            options |= _acting(config)
        elif config.tables.get("agent"):
            raise ValueError(
                f"[agent] {next(iter(config.agent))}: task '{task.name}' has no environment that a "
                "network acts in"
            )
        return Network.for_task(
            task,
            [(config.neurons[name], n) for name, n in config.size.items() if n],
            readout=readout,
            feedback=learning_signal(config),
            optimizer=optimizer_of(config),
            **options,
        )

    def refuse_unused(self, config: RunConfig, settings: Sequence[str]) -> None:
        """Raise ValueError if a ``network.feedback_scale`` among settings changes nothing.

        A recipe's is silent: it is there for other kinds of feedback.
        """
        is_set = any(s.partition("=")[0].strip() == "network.feedback_scale" for s in settings)
        if is_set and (problem := unused_scale(learning_signal(config))):
            raise ValueError(problem)

    def methods_of(self, config: RunConfig) -> tuple[str, ...]:
        """Give the methods that are compared by default, which go with all settings."""
        return self.usual_methods(config, self.methods)


def learning_signal(config: RunConfig) -> Feedback:
    """Make the learning-signal connection that a configuration describes."""
    kind = config.network.get("feedback", "symmetric")
    feedback = as_feedback(kind if kind != _GIVEN else config.feedback_matrix)
    options = {
        key.removeprefix("feedback_"): config.network[key]
        if key in EQUATIONS
        else as_quantity(config.network[key], f"network.{key}")
        for key in FEEDBACK
        if key in config.network and key != "feedback"
    }
    if unused_scale(feedback):
        # A recipe's is for the kinds that have one.
        options.pop("scale", None)
    return feedback.with_options(**options)


def _acting(config: RunConfig) -> dict[str, Any]:
    """Give the options of a network that acts."""
    if "loss" in config.network:
        raise ValueError(
            f"network.loss: task '{config.run['task']}' has an actor and a critic, whose losses "
            "are given; a recipe that describes its network part by part can have others"
        )
    values = dict(config.agent)
    own = {f.name: values.pop(f.name) for f in fields(Agent) if f.name in values}
    return {"agent": Agent(**own), **values}


def optimizer_of(config: RunConfig) -> Optimizer:
    """Make the optimizer that a configuration describes."""
    settings = {k: v for k, v in config.optimizer.items() if k not in ("name", "schedule")}
    optimizer = OPTIMIZERS[config.optimizer["name"]].with_parameters(**settings)
    return replace(optimizer, schedule=str(config.optimizer.get("schedule", optimizer.schedule)))


def _feedback(value: Any) -> tuple[Any, np.ndarray | None]:
    """Read what ``network.feedback`` says: its value in a file, and the matrix if it is one."""
    if value is None:
        return None, None
    matrix = read_array(Path(value)) if str(value).endswith(".npy") else None
    # An unknown kind, or a wrong equation, is refused here.
    as_feedback(value if matrix is None else matrix)
    return (value if matrix is None else _GIVEN), matrix


def _without_feedback(config: RunConfig) -> RunConfig:
    """Return a copy without anything about the learning signal."""
    network = {key: value for key, value in config.network.items() if key not in FEEDBACK}
    config = replace(config, tables={**config.tables, "network": network})
    return with_parts(config, feedback_matrix=None)


#: The model.
EPROP = _Eprop()
