"""Configuration of a run: everything that determines its result, as a TOML file.

Tables: ``run``, ``task``, ``size`` (neurons of each kind, in order), ``network``, ``readout``,
``optimizer``. The neurons themselves stand beside it as neuron files, ``neuron-<name>.toml``, so
that a run does not change when the library does, and a given feedback matrix as ``feedback.npy``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from eprop_brian.base.checks import check_choice, check_count, is_identifier, is_number
from eprop_brian.base.files import read_array, write_array, write_text
from eprop_brian.base.settings import read_tables, read_value
from eprop_brian.base.sparse import Matrix
from eprop_brian.base.suggestions import unknown
from eprop_brian.base.toml import toml_table
from eprop_brian.devices import DEVICES, DTYPES
from eprop_brian.equations import LEAKY, OPTIMIZERS, Neuron, Optimizer, get_neuron
from eprop_brian.equations.learning_signals import FEEDBACKS, LearningSignal
from eprop_brian.network.feedback import as_learning_signal, unused_scale
from eprop_brian.network.spec import Network
from eprop_brian.symbolic.neuron_file import read_neuron, write_neuron
from eprop_brian.symbolic.parameters import parse_quantity, resolve_parameters
from eprop_brian.symbolic.step_map import step_map
from eprop_brian.tasks import TASKS, Task, get_task
from eprop_brian.training.recipes import get_recipe
from eprop_brian.training.trainer import Trainer

__all__ = ["METHODS", "RunConfig"]

#: Ways to learn that can be compared: e-prop with each kind of feedback, and the yardstick.
METHODS = (*FEEDBACKS, "bptt")

_READOUT_TRACE = ("trace_gain", "trace_decay")
#: Keys that a table of a file must have.
_NEEDED = {
    "run": ("task", "iterations", "batch_size", "seed", "device", "dtype"),
    "optimizer": ("name",),
}
#: Options of the learning signal: by key in the table ``network``.
_FEEDBACK_OPTIONS = {
    f"feedback_{name}": name for name in ("scale", "signal", "delay", "decay", "update")
}
_NETWORK_OPTIONS = [
    "feedback",
    *_FEEDBACK_OPTIONS,
    "readout_weights",
    "gradient",
    "updates",
    "trace_cutoff",
    "c_reg",
    "f_target",
    "rate_averaging",
    "kappa_reg",
    "c_v",
    "voltage_cost",
    "c_l2",
    "clip_value",
    "clip_norm",
    "loss",
    "average_gradient",
    "connectivity",
    "connectivity_seed",
    "delays",
    "learned",
    "rewiring",
]
#: Options that are equations, not quantities.
_EQUATIONS = ("loss", "voltage_cost")
#: They are numbered by 32-bit integers.
_MOST_NEURONS = 2**31 - 1
#: What ``network.feedback`` is called where its weights stand in a file.
_GIVEN, _FEEDBACK_FILE = "given", "feedback.npy"


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run.

    Attributes
    ----------
    run : dict
        ``task``, ``iterations``, ``batch_size``, ``seed``, ``device``, ``dtype``.
    task, network, readout, optimizer : dict
        Settings of each; quantities as strings with units.
    size : dict of str to int
        Neurons of each kind, in order.
    neurons : dict of str to Neuron
    feedback_matrix : array or None
        Weights B, shape (n_recurrent, n_outputs), if ``network["feedback"]`` is ``"given"``.
    """

    run: dict[str, Any]
    task: dict[str, Any]
    size: dict[str, int]
    network: dict[str, Any]
    readout: dict[str, Any]
    optimizer: dict[str, Any]
    neurons: dict[str, Neuron] = field(repr=False)
    feedback_matrix: np.ndarray | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_run(self.run)
        _check_size(self.size)

    @classmethod
    def from_recipe(
        cls,
        task: str,
        *,
        neuron: str | None = None,
        run: Mapping[str, Any] | None = None,
        network: Mapping[str, Any] | None = None,
        settings: Iterable[str] = (),
    ) -> RunConfig:
        """Take a task's recipe and replace settings.

        Parameters
        ----------
        task : str
        neuron : str, optional
            A library neuron or a neuron file that takes the place of all recurrent neurons.
        run, network : mapping, optional
            Options given by name; those that are None keep the recipe's value.
        settings : iterable of str
            ``"table.key=value"`` with the tables task, size, neuron, network, readout, optimizer.
            ``neuron.detach`` is the list of states whose path through the neuron's own spike is not
            differentiated (`eprop_brian.equations.neuron.Neuron`).

        Raises
        ------
        ValueError, EquationError
            For a name that does not exist or a value that does not fit.
        """
        if task not in TASKS:
            get_task(task)  # raises, naming the tasks there are
        recipe = get_recipe(task)
        size = dict(recipe.size)
        if neuron is None:
            neurons = {name: _with_known(get_neuron(name), recipe.neuron) for name in size}
        else:
            chosen = _choose_neuron(neuron, recipe.neuron)
            size = {chosen.name: sum(size.values())}
            neurons = {chosen.name: chosen}
        config = cls(
            run={
                "task": task,
                "iterations": recipe.iterations,
                "batch_size": recipe.batch_size,
                "seed": 1,
                "device": "cpp",
                "dtype": "float64",
                **{k: v for k, v in (run or {}).items() if v is not None},
            },
            task={},
            size=size,
            network={"gradient": "factored", **recipe.network},
            readout=dict(recipe.readout),
            optimizer={"name": recipe.optimizer, **recipe.optimizer_settings},
            neurons=neurons,
        )
        settings = tuple(settings)
        chosen = config._with_options(network or {}, settings)
        if chosen.network["gradient"] == "bptt":
            # It has no use for the recipe's learning signal. One that was asked for is refused.
            return config._without_feedback()._with_options(network or {}, settings)
        return chosen

    def with_method(self, method: str) -> RunConfig:
        """Return a copy that learns by another method: a kind of feedback, or ``"bptt"``.

        Parameters
        ----------
        method : str
            One of `METHODS`.

        Raises
        ------
        ValueError
            If there is no such method.
        """
        if method not in METHODS:
            raise ValueError(unknown("method", method, METHODS))
        if method == "bptt":
            # It runs in JAX, wherever the others run.
            elsewhere = replace(self._without_feedback(), run={**self.run, "device": "cpp"})
            return elsewhere._with_network_option("gradient", method)
        # A number of one kind's update rule means nothing to the others.
        others = {f"feedback_{name}" for kind in FEEDBACKS.values() for name in kind.parameters}
        others -= {f"feedback_{name}" for name in FEEDBACKS[method].parameters}
        network = {key: value for key, value in self.network.items() if key not in others}
        if network["gradient"] == "bptt":
            network["gradient"] = "factored"
        return replace(self, network=network)._with_network_option("feedback", method)

    def _with_options(self, network: Mapping[str, Any], settings: Iterable[str]) -> RunConfig:
        """Return a copy with options of the network, and ``table.key=value`` settings."""
        config = self
        for key, value in network.items():
            if value is not None:
                config = config._with_network_option(key, value)
        for setting in settings:
            config = config.with_setting(setting)
        return config

    def _without_feedback(self) -> RunConfig:
        """Return a copy without anything said about the learning signal."""
        about = {"feedback", *_FEEDBACK_OPTIONS}
        network = {key: value for key, value in self.network.items() if key not in about}
        return replace(self, network=network, feedback_matrix=None)

    def with_setting(self, setting: str) -> RunConfig:
        """Return a copy with one ``table.key=value`` replaced."""
        path, equals, text = setting.partition("=")
        table, dot, key = path.strip().partition(".")
        if not equals or not dot:
            raise ValueError(
                f"--set {setting}: write TABLE.KEY=VALUE, for example optimizer.eta=1e-3 or "
                "neuron.tau_m='30 ms'"
            )
        value = read_value(text.strip())
        if (table, key) == ("neuron", "detach"):
            return self._with_detach(setting, value)
        if table == "neuron":
            having = [
                name for name, n in self.neurons.items() if key in {*n.parameters, *n.constants}
            ]
            if not having:
                neurons = self.neurons.values()
                known = sorted({k for n in neurons for k in (*n.parameters, *n.constants)})
                raise ValueError(unknown("parameter", key, [*known, "detach"], f"--set {setting}"))
            neurons = {
                name: n.with_parameters(**{key: value}) if name in having else n
                for name, n in self.neurons.items()
            }
            return replace(self, neurons=neurons)
        known = {
            "task": [f.name for f in fields(TASKS[self.run["task"]])],
            "size": list(self.size),
            "network": _NETWORK_OPTIONS,
            "readout": [*LEAKY.parameters, *LEAKY.constants, *_READOUT_TRACE],
            "optimizer": ["name", "schedule", *OPTIMIZERS[self._optimizer_name()].parameters],
        }
        if table not in known:
            raise ValueError(unknown("table", table, [*known, "neuron"], f"--set {setting}"))
        if key not in known[table]:
            raise ValueError(unknown("key", key, known[table], f"--set {setting}"))
        if (table, key) == ("optimizer", "name"):
            # Settings of another optimizer would mean something else.
            return replace(self, optimizer={"name": value})
        if table == "network":
            return self._with_network_option(key, value)
        return replace(self, **{table: {**getattr(self, table), key: value}})

    def _with_network_option(self, key: str, value: Any) -> RunConfig:
        """Return a copy with one option of the network; a file of feedback weights is read."""
        matrix = self.feedback_matrix
        if key == "feedback":
            matrix = None
            if str(value).endswith(".npy"):
                value, matrix = _GIVEN, read_array(Path(value))
            # An unknown kind, or an equation that is none, is said here.
            as_learning_signal(value if matrix is None else matrix)
        return replace(self, network={**self.network, key: value}, feedback_matrix=matrix)

    def _with_detach(self, setting: str, value: Any) -> RunConfig:
        """Return a copy whose neurons detach the states in `value`, each those that it has."""
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise ValueError(
                f"--set {setting}: write a list of states, for example neuron.detach='[\"v\"]', or "
                "neuron.detach=[] to differentiate through the reset too"
            )
        states = {name: step_map(neuron).states for name, neuron in self.neurons.items()}
        for state in value:
            if not any(state in own for own in states.values()):
                known = sorted({s for own in states.values() for s in own})
                raise ValueError(unknown("state", state, known, f"--set {setting}"))
        neurons = {
            name: replace(neuron, detach=tuple(s for s in value if s in states[name]))
            for name, neuron in self.neurons.items()
        }
        return replace(self, neurons=neurons)

    def _optimizer_name(self) -> str:
        name = self.optimizer["name"]
        check_choice("optimizer", name, OPTIMIZERS)
        return name

    def make_task(self) -> Task:
        """The task with its settings."""
        # A path such as ./data is text, though it begins like a number.
        text = {f.name for f in fields(TASKS[self.run["task"]]) if f.type == "str"}
        settings = {
            key: str(value) if key in text else _quantity(value, f"task.{key}")
            for key, value in self.task.items()
        }
        return get_task(self.run["task"], **settings)

    def make_network(self, task: Task) -> Network:
        """The network for a task."""
        readout_settings = dict(self.readout)
        trace = {name: str(readout_settings.pop(name, "")) for name in _READOUT_TRACE}
        readout = replace(LEAKY.with_parameters(**readout_settings), **trace)
        options = {
            key: value if key in _EQUATIONS else _quantity(value, f"network.{key}")
            for key, value in self.network.items()
            if key != "feedback" and key not in _FEEDBACK_OPTIONS
        }
        loss = options.pop("loss", task.loss)
        return Network(
            n_inputs=task.n_inputs,
            n_outputs=task.n_outputs,
            neurons=[(self.neurons[name], n) for name, n in self.size.items() if n],
            readout=readout,
            loss=loss,
            feedback=self._learning_signal(),
            optimizer=self._make_optimizer(),
            dt=task.dt,
            **options,
        )

    def _make_optimizer(self) -> Optimizer:
        settings = {k: v for k, v in self.optimizer.items() if k not in ("name", "schedule")}
        optimizer = OPTIMIZERS[self._optimizer_name()].with_parameters(**settings)
        return replace(optimizer, schedule=str(self.optimizer.get("schedule", optimizer.schedule)))

    def _learning_signal(self) -> LearningSignal:
        kind = self.network.get("feedback", "symmetric")
        feedback = as_learning_signal(kind if kind != _GIVEN else self.feedback_matrix)
        options = {
            # Equations are no quantities, even if they begin with a number.
            name: self.network[key]
            if name in ("signal", "update")
            else _quantity(self.network[key], f"network.{key}")
            for key, name in _FEEDBACK_OPTIONS.items()
            if key in self.network
        }
        if unused_scale(feedback):
            # A recipe's is for the kinds that have one.
            options.pop("scale", None)
        return feedback.with_options(**options)

    def refuse_unused_scale(self, settings: Iterable[str]) -> None:
        """Raise ValueError if a ``network.feedback_scale`` among settings changes nothing.

        A recipe's is silent: it is there for other kinds of feedback.
        """
        given = any(s.partition("=")[0].strip() == "network.feedback_scale" for s in settings)
        if given and (problem := unused_scale(self._learning_signal())):
            raise ValueError(problem)

    def make_trainer(
        self,
        device: str | None = None,
        workers: int | None = None,
        scheduler: str | None = None,
        state: Mapping[str, Matrix] | None = None,
    ) -> Trainer:
        """The trainer of this run, at its start or in a stored state; the rest as for `Trainer`."""
        task = self.make_task()
        return Trainer(
            self.make_network(task),
            task,
            batch_size=self.run["batch_size"],
            seed=self.run["seed"],
            device=device or self.run["device"],
            dtype=self.run["dtype"],
            workers=workers,
            scheduler=scheduler,
            state=state,
        )

    def write(self, folder: Path) -> None:
        """Write ``config.toml`` and the neuron files."""
        if self.feedback_matrix is not None:
            write_array(folder / _FEEDBACK_FILE, self.feedback_matrix)
        for name, text in self._texts().items():
            write_text(folder / name, text)

    def is_of(self, folder: Path) -> bool:
        """Whether the run in a folder is this one, perhaps of another length or elsewhere.

        Raises
        ------
        ValueError
            If the folder holds no run or its configuration is damaged.
        """
        here = ("iterations", "device")
        other = RunConfig.read(folder)
        other = replace(other, run={**other.run, **{key: self.run[key] for key in here}})
        return other._texts() == self._texts() and np.array_equal(
            other.feedback_matrix, self.feedback_matrix
        )

    def _texts(self) -> dict[str, str]:
        """Files of the run, ``config.toml`` last."""
        names = ("run", "task", "size", "network", "readout", "optimizer")
        tables = [toml_table(name, getattr(self, name)) for name in names]
        return {
            **{f"neuron-{name}.toml": write_neuron(n) for name, n in self.neurons.items()},
            "config.toml": "\n".join(tables),
        }

    @classmethod
    def read(cls, folder: Path) -> RunConfig:
        """Read what `write` wrote.

        Raises
        ------
        ValueError
            If the folder holds no run or its configuration is damaged.
        """
        needed = [f.name for f in fields(cls) if f.name not in ("neurons", "feedback_matrix")]
        keys = {name: _NEEDED.get(name, ()) for name in needed}
        tables = read_tables(folder, keys)
        path = Path(folder) / "config.toml"
        try:
            _check_run(tables["run"])
            _check_size(tables["size"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None
        neurons = {
            name: read_neuron(Path(folder) / f"neuron-{name}.toml") for name in tables["size"]
        }
        matrix = None
        if tables["network"].get("feedback") == _GIVEN:
            matrix = read_array(Path(folder) / _FEEDBACK_FILE)
        return cls(
            **{name: tables[name] for name in needed}, neurons=neurons, feedback_matrix=matrix
        )


def _check_run(run: Mapping[str, Any]) -> None:
    """Raise TypeError or ValueError, naming the setting, for what a run cannot be told."""
    check_choice("task", run["task"], TASKS)
    for name, minimum in (("iterations", 1), ("batch_size", 1), ("seed", 0)):
        check_count(name, run[name], minimum)
    check_choice("device", run["device"], DEVICES)
    check_choice("dtype", run["dtype"], DTYPES)


def _check_size(size: Mapping[str, Any]) -> None:
    """Raise ValueError for names of neurons that are no identifiers, and for too many of them.

    The names become names of files.
    """
    for name, n in size.items():
        if not is_identifier(name):
            raise ValueError(
                f"[size] names a neuron {name!r}: a name is letters, digits and _, starting with a "
                "letter"
            )
        if is_number(n) and n > _MOST_NEURONS:
            raise ValueError(f"[size] {name} = {n}: there can be {_MOST_NEURONS} at most")


def _choose_neuron(neuron: str, settings: Mapping[str, Any]) -> Neuron:
    if neuron.endswith(".toml"):
        return read_neuron(Path(neuron))
    return _with_known(get_neuron(neuron), settings)


def _with_known(neuron: Neuron, settings: Mapping[str, Any]) -> Neuron:
    """Apply those settings that the neuron has, with the same unit if it is a parameter."""
    _, units = resolve_parameters(neuron.parameters, f"neuron '{neuron.name}', parameters")
    parameters = {k: v for k, v in settings.items() if k in units}
    _, given = resolve_parameters(parameters, "recipe, neuron")
    # A threshold without a unit means nothing to a membrane in volt.
    known = {k for k, unit in given.items() if unit is units[k]} | {*neuron.constants}
    return neuron.with_parameters(**{k: v for k, v in settings.items() if k in known})


def _quantity(value: Any, where: str) -> Any:
    """Strings that begin with a number are quantities, other values stay as they are."""
    if isinstance(value, str) and value[:1] in "+-.0123456789" and value:
        return parse_quantity(value, where)
    if isinstance(value, list):
        return tuple(_quantity(item, where) for item in value)
    return value
