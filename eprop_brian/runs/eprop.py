"""Recurrent networks that learn tasks by e-prop: their settings, and what follows from them.

Beside ``config.toml`` stand the neurons as neuron files, ``neuron-<name>.toml``, so that a run does
not change when the library does, and a feedback matrix as ``feedback.npy``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eprop_brian.base.checks import is_identifier
from eprop_brian.base.files import read_array
from eprop_brian.base.history import mean_of_last
from eprop_brian.base.sparse import Matrix
from eprop_brian.base.suggestions import unknown
from eprop_brian.equations import LEAKY, NEURONS, OPTIMIZERS, Neuron, Optimizer, get_neuron
from eprop_brian.equations.learning_signals import FEEDBACKS, Feedback
from eprop_brian.network.feedback import as_learning_signal, unused_scale
from eprop_brian.network.spec import Network
from eprop_brian.runs.eprop_settings import EQUATIONS, FEEDBACK, PARAMETERS, READOUT_TRACE, SCHEMA
from eprop_brian.runs.settings import Tables
from eprop_brian.symbolic.neuron_file import read_neuron, write_neuron
from eprop_brian.symbolic.parameters import parse_quantity, resolve_parameters
from eprop_brian.symbolic.step_map import step_map
from eprop_brian.tasks import TASKS, Task, get_task
from eprop_brian.training.diagnosis import TrainingError
from eprop_brian.training.history import History
from eprop_brian.training.jax_session import require_jax
from eprop_brian.training.requirements import check_fit
from eprop_brian.training.trainer import Trainer

if TYPE_CHECKING:
    from eprop_brian.runs.config import RunConfig

__all__ = ["EPROP", "METHODS", "learning_signal"]

#: Ways to learn that can be compared: e-prop with each kind of feedback, and the yardstick.
METHODS = (*FEEDBACKS, "bptt")
#: What ``network.feedback`` is called where its weights stand in a file.
_GIVEN, _FEEDBACK_FILE = "given", "feedback.npy"


class _Eprop:
    """See `eprop_brian.runs.models.Model`."""

    name = "eprop"
    tasks: Mapping[str, str] = {name: task.description for name, task in TASKS.items()}
    schema = SCHEMA
    parameters = PARAMETERS
    needed = (
        *(("run", key) for key in ("task", "iterations", "batch_size", "seed", "device", "dtype")),
        ("optimizer", "name"),
    )
    example = "optimizer.eta=1e-3 or neuron.tau_m='30 ms'"
    unit = "iteration"
    spec = Network
    history = History
    methods = METHODS
    curves = ("loss", "error")
    failures = (TrainingError,)
    tested_tables: tuple[str, ...] = ()

    def check(self, config: RunConfig) -> None:
        """Raise ValueError for names of neurons that are not identifiers: they name files."""
        for name in config.size:
            if not is_identifier(name):
                raise ValueError(
                    f"[size] names a neuron {name!r}: a name is letters, digits and _, starting "
                    "with a letter"
                )

    def begin(
        self, tables: Tables, replacements: Mapping[str, str | None]
    ) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        """Take the library's neurons with the recipe's parameters, or another in their place."""
        if replacements["teacher"] is not None:
            raise ValueError("a teacher is for balanced networks; this task has its own targets")
        ours = {name: dict(values) for name, values in tables.items() if name != "neuron"}
        size, parameters = ours.get("size", {}), tables.get("neuron", {})
        neuron = replacements["neuron"]
        if neuron is None:
            neurons = _neurons_of_recipe(size, parameters)
        elif neuron.endswith(".toml"):
            chosen = read_neuron(Path(neuron))
            neurons = {chosen.name: chosen}
        else:
            chosen = _with_shared(get_neuron(neuron), parameters)
            neurons = {chosen.name: chosen}
        if "detach" in parameters:
            neurons = _detached(neurons, parameters["detach"], "[neuron]")
        if neuron is not None:
            ours["size"] = {name: sum(size.values()) for name in neurons}
        ours["network"] = {"gradient": "factored", **ours.get("network", {})}
        feedback, matrix = _feedback(ours["network"].get("feedback"))
        if matrix is not None:
            ours["network"]["feedback"] = feedback
        return ours, {"neurons": neurons, "feedback_matrix": matrix}

    def reconsidered(self, base: RunConfig, chosen: RunConfig) -> RunConfig:
        """Drop a recipe's learning signal if BPTT is chosen, which has no use for one."""
        return _without_feedback(base) if chosen.network["gradient"] == "bptt" else base

    def with_value(self, config: RunConfig, table: str, key: str, value: Any) -> RunConfig:
        """Replace a setting; another optimizer resets the others', a feedback file is read."""
        parts = dict(config.parts)
        values = {**config.tables[table], key: value}
        if (table, key) == ("optimizer", "name"):
            values = {"name": value}
        if (table, key) == ("network", "feedback"):
            values["feedback"], parts["feedback_matrix"] = _feedback(value)
        return replace(config, tables={**config.tables, table: values}, parts=parts)

    def with_parameter(self, config: RunConfig, key: str, value: Any, where: str) -> RunConfig:
        """Replace a parameter of all neurons that have it, or what they detach."""
        neurons = config.neurons
        if key == "detach":
            return _with_parts(config, neurons=_detached(neurons, value, where))
        if not any(key in {*n.parameters, *n.constants} for n in neurons.values()):
            names = [*_parameter_names(neurons), "detach"]
            raise ValueError(unknown("parameter", key, names, where))
        changed = {
            name: n.with_parameters(**{key: value}) if key in {*n.parameters, *n.constants} else n
            for name, n in neurons.items()
        }
        return _with_parts(config, neurons=changed)

    def with_method(self, config: RunConfig, method: str) -> RunConfig:
        """Learn by a kind of feedback, or by ``"bptt"``."""
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
        """Give the neuron files, and the feedback matrix."""
        matrix = config.feedback_matrix
        arrays = {} if matrix is None else {_FEEDBACK_FILE: matrix}
        texts = {f"neuron-{name}.toml": write_neuron(n) for name, n in config.neurons.items()}
        return {**arrays, **texts}

    def read_parts(self, folder: Path, tables: Tables) -> dict[str, Any]:
        """Read the neuron files, and the feedback matrix."""
        names = [name for name in tables["size"] if is_identifier(name)]
        neurons = {name: read_neuron(folder / f"neuron-{name}.toml") for name in names}
        matrix = None
        if tables["network"].get("feedback") == _GIVEN:
            matrix = read_array(folder / _FEEDBACK_FILE)
        return {"neurons": neurons, "feedback_matrix": matrix}

    def make_task(self, config: RunConfig) -> Task:
        """Make the task with its settings."""
        # A path such as ./data is text, though it begins like a number.
        text = {f.name for f in fields(TASKS[config.run["task"]]) if f.type == "str"}
        settings = {
            key: str(value) if key in text else _quantity(value, f"task.{key}")
            for key, value in config.tables["task"].items()
        }
        return get_task(config.run["task"], **settings)

    def make_network(self, config: RunConfig, task: Task) -> Network:
        """Make the network for a task."""
        readout_settings = dict(config.readout)
        trace: dict[str, Any] = {
            name: str(readout_settings.pop(name, "")) for name in READOUT_TRACE
        }
        readout = replace(LEAKY.with_parameters(**readout_settings), **trace)
        options = {
            key: value if key in EQUATIONS else _quantity(value, f"network.{key}")
            for key, value in config.network.items()
            if key not in FEEDBACK
        }
        loss = options.pop("loss", task.loss)
        return Network.standard(
            n_inputs=task.n_inputs,
            n_outputs=task.n_outputs,
            neurons=[(config.neurons[name], n) for name, n in config.size.items() if n],
            readout=readout,
            loss=loss,
            feedback=learning_signal(config),
            optimizer=_optimizer(config),
            dt=task.dt,
            **options,
        )

    def make_trainer(
        self,
        config: RunConfig,
        device: str,
        workers: int | None,
        scheduler: str | None,
        state: Mapping[str, Any] | None,
        source: Path,
    ) -> Trainer:
        """Make the trainer, at its start or in a stored state."""
        task = self.make_task(config)
        trainer = Trainer(
            self.make_network(config, task),
            task,
            batch_size=config.run["batch_size"],
            seed=config.run["seed"],
            device=device,
            dtype=config.run["dtype"],
            workers=workers,
            scheduler=scheduler,
            state=state,
        )
        if state is not None and not trainer.session.is_finite():
            raise ValueError(f"{source}: numbers are not finite")
        return trainer

    def refuse_unused(self, config: RunConfig, settings: Sequence[str]) -> None:
        """Raise ValueError if a ``network.feedback_scale`` among settings changes nothing.

        A recipe's is silent: it is there for other kinds of feedback.
        """
        is_set = any(s.partition("=")[0].strip() == "network.feedback_scale" for s in settings)
        if is_set and (problem := unused_scale(learning_signal(config))):
            raise ValueError(problem)

    def methods_of(self, config: RunConfig) -> tuple[str, ...]:
        """Give all methods, which go with all settings."""
        return self.methods

    def measures(self, config: RunConfig, names: Sequence[str]) -> dict[str, str]:
        """Give the means of the last 10 iterations, and iterations until the task was solved."""
        return {
            "loss": "loss",
            "error": "fraction of wrong trials",
            "iterations": "iterations until solved",
            "rate_hz": "firing rate (Hz)",
        }

    def beside(
        self, results: Mapping[str, float], reference: Mapping[str, float]
    ) -> Mapping[str, float]:
        """Return the results: none is relative to another run."""
        return results

    def check_trainable(self, config: RunConfig) -> None:
        """Raise ValueError, before anything is trained, for what cannot be."""
        task = self.make_task(config)
        check_fit(self.make_network(config, task), task)
        if config.network["gradient"] == "bptt":
            require_jax()

    def length(self, config: RunConfig) -> int:
        """Give the iterations of the training."""
        return int(config.run["iterations"])

    def with_length(self, config: RunConfig, iterations: int) -> RunConfig:
        """Return a copy of another length."""
        return config.with_values("run", iterations=iterations)

    def state(self, trainer: Trainer) -> dict[str, Matrix]:
        """Give weights and the optimizer's state."""
        return trainer.session.state()

    def train(
        self, trainer: Trainer, iterations: int, progress: bool, after_call: Callable[[Any], None]
    ) -> None:
        """Train to so many iterations in all, or until the task is solved."""
        trainer.train(iterations, progress=progress, after_call=after_call)

    def results(self, trainer: Trainer, folder: Path) -> dict[str, float]:
        """Give iterations until the task was solved, and the means of the last 10 iterations."""
        columns = trainer.history.columns
        last = {name: mean_of_last(columns[name]) for name in ("loss", "error", "rate_hz")}
        return {"iterations": float(trainer.iteration) if trainer.solved else np.inf, **last}

    def figures(self, folder: Path, formats: Sequence[str]) -> list[Path]:
        """Draw learning curve, a trial before and after, and weights."""
        from eprop_brian.figures.eprop import plot_eprop_run

        return plot_eprop_run(folder, formats=formats)


def learning_signal(config: RunConfig) -> Feedback:
    """Make the learning-signal connection that a configuration describes."""
    kind = config.network.get("feedback", "symmetric")
    feedback = as_learning_signal(kind if kind != _GIVEN else config.feedback_matrix)
    options = {
        key.removeprefix("feedback_"): config.network[key]
        if key in EQUATIONS
        else _quantity(config.network[key], f"network.{key}")
        for key in FEEDBACK
        if key in config.network and key != "feedback"
    }
    if unused_scale(feedback):
        # A recipe's is for the kinds that have one.
        options.pop("scale", None)
    return feedback.with_options(**options)


def _optimizer(config: RunConfig) -> Optimizer:
    settings = {k: v for k, v in config.optimizer.items() if k not in ("name", "schedule")}
    optimizer = OPTIMIZERS[config.optimizer["name"]].with_parameters(**settings)
    return replace(optimizer, schedule=str(config.optimizer.get("schedule", optimizer.schedule)))


def _with_parts(config: RunConfig, **parts: Any) -> RunConfig:
    return replace(config, parts={**config.parts, **parts})


def _feedback(value: Any) -> tuple[Any, np.ndarray | None]:
    """Read what ``network.feedback`` says: its value in a file, and the matrix if it is one."""
    if value is None:
        return None, None
    matrix = read_array(Path(value)) if str(value).endswith(".npy") else None
    # An unknown kind, or a wrong equation, is refused here.
    as_learning_signal(value if matrix is None else matrix)
    return (value if matrix is None else _GIVEN), matrix


def _without_feedback(config: RunConfig) -> RunConfig:
    """Return a copy without anything about the learning signal."""
    network = {key: value for key, value in config.network.items() if key not in FEEDBACK}
    config = replace(config, tables={**config.tables, "network": network})
    return _with_parts(config, feedback_matrix=None)


def _detached(neurons: Mapping[str, Neuron], value: Any, where: str) -> dict[str, Neuron]:
    """Return neurons that detach the states in `value`, each those that it has."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(
            f"{where}: write a list of states, for example neuron.detach='[\"v\"]', or "
            "neuron.detach=[] to differentiate through the reset too"
        )
    states = {name: step_map(neuron).states for name, neuron in neurons.items()}
    names = sorted({state for of_neuron in states.values() for state in of_neuron})
    for state in value:
        if state not in names:
            raise ValueError(unknown("state", state, names, where))
    return {
        name: replace(neuron, detach=tuple(s for s in value if s in states[name]))
        for name, neuron in neurons.items()
    }


def _neurons_of_recipe(size: Iterable[str], parameters: Mapping[str, Any]) -> dict[str, Neuron]:
    """Return the library's neurons with a recipe's parameters, each with those that it has."""
    try:
        library = {name: get_neuron(name) for name in size}
    except ValueError as error:
        raise ValueError(f"[size]: {error}") from None
    neurons = {name: _with_shared(neuron, parameters) for name, neuron in library.items()}
    for key, value in parameters.items():
        having = [n for n in library.values() if key in {*n.parameters, *n.constants}]
        # A recipe may have parameters of neurons that --neuron puts in place of its own.
        if not having and key not in {"detach", *_parameter_names(NEURONS)}:
            names = [*_parameter_names(library), "detach"]
            raise ValueError(unknown("parameter", key, names, "[neuron]"))
        if having and not any(_value_of(neurons[n.name], key) == value for n in having):
            raise ValueError(
                f"[neuron]: {key} = {value!r} has another unit than {_value_of(having[0], key)!r}, "
                f"the value in the library's neuron '{having[0].name}'"
            )
    return neurons


def _parameter_names(neurons: Mapping[str, Neuron]) -> list[str]:
    return sorted({name for n in neurons.values() for name in (*n.parameters, *n.constants)})


def _value_of(neuron: Neuron, key: str) -> Any:
    """Return the value of a parameter, or the expression of a constant."""
    return neuron.parameters.get(key, neuron.constants.get(key))


def _with_shared(neuron: Neuron, settings: Mapping[str, Any]) -> Neuron:
    """Apply those settings that the neuron has, with the same unit if it is a parameter."""
    _, units = resolve_parameters(neuron.parameters, f"neuron '{neuron.name}', parameters")
    parameters = {k: v for k, v in settings.items() if k in units}
    _, given_units = resolve_parameters(parameters, "recipe, neuron")
    # A threshold without a unit means nothing to a membrane in volt.
    shared = {k for k, unit in given_units.items() if unit is units[k]} | {*neuron.constants}
    return neuron.with_parameters(**{k: v for k, v in settings.items() if k in shared})


def _quantity(value: Any, where: str) -> Any:
    """Read text that begins with a number as a quantity; other values stay as they are."""
    if isinstance(value, str) and value[:1] in "+-.0123456789" and value:
        return parse_quantity(value, where)
    if isinstance(value, list):
        return tuple(_quantity(item, where) for item in value)
    return value


#: The model.
EPROP = _Eprop()
