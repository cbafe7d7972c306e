"""From the tables of a file to a network: what names of neurons, files and options mean.

Reading has two steps. `normalised` puts what stands in other files in its place, neurons as tables
and arrays, and gives every part its name; the tables then say everything. `network_of` makes the
network that they describe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from brian2.units import Quantity
from scipy.sparse import csc_array, issparse, load_npz

from eprop_brian.base.files import read_array, read_arrays
from eprop_brian.base.suggestions import unknown
from eprop_brian.equations import OPTIMIZERS, READOUTS, Neuron, Optimizer, get_neuron
from eprop_brian.equations.environment import Environment
from eprop_brian.equations.losses import Loss
from eprop_brian.equations.readouts import EMITTED, LEAKY, ReadoutFilter
from eprop_brian.network.agent import policy_loss
from eprop_brian.network.feedback import as_feedback
from eprop_brian.network.parts import Agent, Part, part_name
from eprop_brian.network.sharing import SHARING, Sharing
from eprop_brian.network.spec import Network
from eprop_brian.runs.graph_settings import PARTS
from eprop_brian.runs.neuron_settings import with_shared
from eprop_brian.runs.settings import Tables, as_quantity, entry_name
from eprop_brian.symbolic.errors import named
from eprop_brian.symbolic.neuron_file import neuron_of, neuron_tables, read_neuron
from eprop_brian.symbolic.parameters import parse_quantity
from eprop_brian.symbolic.synapse_file import read_synapse, synapse_from_table, synapse_to_table
from eprop_brian.tasks import EpisodicTask, Task
from eprop_brian.tasks.families import TaskFamily

__all__ = [
    "load",
    "network_of",
    "neuron_from_table",
    "neuron_to_table",
    "normalised",
    "optimizer_of",
    "read_neuron_table",
    "read_synapse_table",
]

T = TypeVar("T", Loss, Optimizer, ReadoutFilter, Sharing)

_ARRAY_FILES = (".npy", ".npz")
#: What `scipy.sparse.save_npz` writes.
_SCIPY = {"data", "indices", "indptr", "shape", "format"}
#: Options of a network that are equations, not quantities.
_EQUATIONS = ("voltage_cost",)


def normalised(tables: Tables, folder: Path) -> dict[str, Any]:
    """Tables that say everything: with names, neurons and arrays.

    Parameters
    ----------
    tables : mapping
        Of a file, their keys checked (`eprop_brian.runs.settings.check_tables`).
    folder : Path
        Where the files are that the tables name.

    Raises
    ------
    ValueError
        If a part lacks what it needs, or a file that it names is missing or damaged.
    """
    result: dict[str, Any] = {}
    for table, values in tables.items():
        if table not in PARTS:
            result[table] = dict(values)
            continue
        result[table] = []
        for number, entries in enumerate(values, 1):
            with named(entry_name(table, number, entries)):
                result[table].append(_normalised_part(table, dict(entries), folder))
    return result


def _normalised_part(table: str, entries: dict[str, Any], folder: Path) -> dict[str, Any]:
    for field in fields(PARTS[table]):
        needed = field.default is MISSING and field.default_factory is MISSING
        if needed and field.name not in entries and (field.name != "size" or table == "population"):
            raise ValueError(f"'{field.name}' is missing")
    if table == "population":
        parameters = entries.pop("parameters", {})
        entries["neuron"] = read_neuron_table(entries["neuron"], parameters, folder)
    if table == "projection" and "synapse" in entries:
        entries["synapse"] = read_synapse_table(entries["synapse"], folder)
    name = entries.get("name") or _default_name(table, entries)
    for key in ("optimizer", "filter"):
        if isinstance(entries.get(key), str):
            entries[key] = {"name": entries[key]}
    others = {key: value for key, value in entries.items() if key != "name"}
    loaded = {key: load(value, folder, f"{name}.{key}") for key, value in others.items()}
    return {"name": name, **loaded}


def _default_name(table: str, entries: Mapping[str, Any]) -> str:
    if table in ("inputs", "readout", "agent"):
        return {f.name: f.default for f in fields(PARTS[table])}["name"]  # type: ignore[return-value]
    if table == "population":
        return str(entries["neuron"]["name"])
    part: Any = PARTS[table]
    return part_name(part(entries["source"], entries["target"]))


# Neurons.


def read_neuron_table(
    neuron: str | Mapping[str, Any], parameters: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """The table of a neuron that is named, described or in a file, with other parameters.

    Raises
    ------
    ValueError
        If there is no such neuron, or it has no such parameter or one with another unit.
    """
    if isinstance(neuron, Mapping):
        chosen = neuron_from_table(neuron)
    elif not isinstance(neuron, str):
        raise ValueError(f"neuron = {neuron!r} must be a name, a file .toml or a table")
    else:
        chosen = read_neuron(folder / neuron) if neuron.endswith(".toml") else get_neuron(neuron)
    if not isinstance(parameters, Mapping):
        raise ValueError(f"parameters = {parameters!r} must be a table, e.g. {{tau_m = '20 ms'}}")
    changed = chosen.with_parameters(**parameters)
    shared = with_shared(chosen, parameters)
    for key, value in parameters.items():
        if key in chosen.parameters and shared.parameters[key] != changed.parameters[key]:
            raise ValueError(
                f"{key} = {value!r} has another unit than {chosen.parameters[key]!r}, the value in "
                f"neuron '{chosen.name}'"
            )
    return neuron_to_table(changed)


def neuron_to_table(neuron: Neuron) -> dict[str, Any]:
    """A neuron as one table, with the tables of a neuron file below it."""
    tables = neuron_tables(neuron)
    own = {k: list(v) if isinstance(v, tuple) else v for k, v in tables.pop("neuron").items()}
    return {**own, **tables}


def neuron_from_table(table: Mapping[str, Any]) -> Neuron:
    """The neuron of such a table."""
    below = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    own = {key: value for key, value in table.items() if key not in below}
    return neuron_of({"neuron": own, **below})


def read_synapse_table(synapse: str | Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The table of a synapse that is described or in a file.

    Raises
    ------
    ValueError
        If it is neither, or cannot be read.
    """
    if isinstance(synapse, Mapping):
        return synapse_to_table(synapse_from_table(synapse))
    if not isinstance(synapse, str) or not synapse.endswith(".toml"):
        raise ValueError(f"synapse = {synapse!r} must be a file .toml or a table")
    return synapse_to_table(read_synapse(folder / synapse))


# Arrays.


def load(value: Any, folder: Path, key: str) -> Any:
    """A value, with the arrays in place of files that it names.

    Parameters
    ----------
    value : object
        Of a key; a text that ends in ``.npy`` or ``.npz``, alone, in a list or in a table of shared
        weights, names a file.
    folder : Path
    key : str
        What the array is called in a file that has several.

    Raises
    ------
    ValueError
        If the file is missing or damaged, or has no such array.
    """
    if isinstance(value, list):
        return [load(item, folder, key) for item in value]
    if isinstance(value, Mapping) and value.get("name") in SHARING:
        return {name: load(item, folder, key) for name, item in value.items()}
    if not isinstance(value, str) or not value.endswith(_ARRAY_FILES):
        return value
    path = folder / value
    if value.endswith(".npy"):
        return read_array(path)
    arrays = read_arrays(path)
    if arrays.keys() >= _SCIPY:
        return csc_array(load_npz(path))
    if key in arrays:
        return arrays[key]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise ValueError(f"{path}: {unknown('array', key, arrays)}")


# From tables to a network.


def network_of(tables: Tables, task: Task | TaskFamily | None = None) -> Network:
    """The network that normalised tables describe.

    Parameters
    ----------
    tables : mapping
    task : Task or TaskFamily, optional
        Says the sizes, the loss and the time step that are left out.

    Raises
    ------
    ValueError, EquationError
        If the network cannot work.
    """
    chosen = {table: [dict(entries) for entries in tables.get(table, [])] for table in PARTS}
    if task is not None:
        if isinstance(task, EpisodicTask):
            _fill_agent(chosen, task.environment)
        inputs = [entries for entries in chosen["inputs"] if not entries.get("constant")]
        _fill_size(inputs, task.n_inputs, "inputs", task)
        _fill_size(chosen["readout"], task.n_outputs, "outputs", task)
        if len(chosen["readout"]) == 1:
            chosen["readout"][0].setdefault("loss", task.loss)
    parts = []
    for table, several in chosen.items():
        for number, entries in enumerate(several, 1):
            with named(entry_name(table, number, entries)):
                parts.append(_part(table, entries))
    options = {
        key: value if key in _EQUATIONS else as_quantity(value, f"network.{key}")
        for key, value in tables.get("network", {}).items()
    }
    if task is not None:
        options.setdefault("dt", task.dt)
    with named("[optimizer]"):
        options["optimizer"] = optimizer_of(tables.get("optimizer", {}))
    return Network(parts, **options)


def _fill_agent(tables: Mapping[str, list[dict[str, Any]]], environment: Environment) -> None:
    """Give actors the usual loss, and them and critics their sizes, where they are left out."""
    for number, entries in enumerate(tables["agent"], 1):
        with named(entry_name("agent", number, entries)):
            agent = Agent(**entries)
            for readout in tables["readout"]:
                if readout["name"] in agent.policies:
                    readout.setdefault("loss", policy_loss(agent, environment))
                    readout.setdefault("size", environment.action_outputs)
                elif readout["name"] in agent.values:
                    readout.setdefault("size", 1)


def _fill_size(
    groups: list[dict[str, Any]], total: int, what: str, task: Task | TaskFamily
) -> None:
    """Give the only group without a size what the others leave of the task's."""
    without = [entries for entries in groups if "size" not in entries]
    if len(without) == 1:
        left = total - sum(e["size"] for e in groups if "size" in e)
        if left <= 0:
            raise ValueError(
                f"'{without[0]['name']}' has no size, and the others leave none of the {total} "
                f"{what} of task '{task.name}'"
            )
        without[0]["size"] = left


def _part(table: str, entries: dict[str, Any]) -> Part:
    if "size" in {f.name for f in fields(PARTS[table])} and "size" not in entries:
        raise ValueError(
            "'size' is missing: one group alone may leave it out, to have what a task leaves"
        )
    if table == "population":
        entries["neuron"] = neuron_from_table(entries["neuron"])
    if table == "projection" and "optimizer" in entries:
        entries["optimizer"] = optimizer_of(entries["optimizer"])
    if table == "projection" and "synapse" in entries:
        entries["synapse"] = synapse_from_table(entries["synapse"])
    if table == "projection" and isinstance(entries.get("connectivity"), Mapping):
        entries["connectivity"] = _sharing(entries["connectivity"])
    if table == "readout":
        entries["filter"] = _filter(entries.get("filter", {}))
        if isinstance(entries.get("loss"), Mapping):
            entries["loss"] = _made(Loss, entries["loss"])
    if table == "learning_signal":
        entries["feedback"] = _feedback(entries)
        if "filter" in entries:
            entries["filter"] = _filter(entries["filter"], EMITTED)
    names = {f.name for f in fields(PARTS[table])}
    part: Any = PARTS[table]
    return part(**{key: _with_unit(value) for key, value in entries.items() if key in names})  # type: ignore[no-any-return]


def _with_unit(value: Any) -> Any:
    """An array of times from a pair of numbers and their unit; other values stay as they are."""
    if not isinstance(value, list) or len(value) != 2:
        return value
    numbers, unit = value
    if not isinstance(numbers, np.ndarray | csc_array) or not isinstance(unit, str):
        return value
    scale = parse_quantity(f"1 {unit}", "unit")
    return (numbers, scale) if issparse(numbers) else Quantity(numbers * scale)


def optimizer_of(table: Mapping[str, Any]) -> Optimizer:
    """The optimizer that a table describes: the library's with other parameters, or one's own.

    Raises
    ------
    ValueError
        If there is no optimizer or parameter of that name.
    """
    if not isinstance(table, Mapping):
        raise ValueError(f"optimizer = {table!r} must be a table, e.g. {{name = 'adam'}}")
    options = dict(table)
    name = options.pop("name", "adam")
    if "schedule" in options:
        options["schedule"] = str(options["schedule"])
    if "update" in options:
        states = tuple(options.pop("states", ()))
        return _made(Optimizer, {"name": name, "states": states, **options})
    if name not in OPTIMIZERS:
        raise ValueError(unknown("optimizer", name, OPTIMIZERS))
    library = OPTIMIZERS[name]
    schedule = options.pop("schedule", library.schedule)
    return replace(library.with_parameters(**options), schedule=schedule)


def _sharing(table: Mapping[str, Any]) -> Sharing:
    """The weights that a projection's synapses share."""
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}
    name = str(options.pop("name", ""))
    if name not in SHARING:
        raise ValueError(unknown("kind of shared weights", name, SHARING, "connectivity"))
    return _made(SHARING[name], options)


def _filter(table: Mapping[str, Any], default: ReadoutFilter = LEAKY) -> ReadoutFilter:
    if not isinstance(table, Mapping):
        raise ValueError(f"filter = {table!r} must be a table, e.g. {{tau_out = '20 ms'}}")
    options = dict(table)
    if "update" in options:
        return _made(ReadoutFilter, {"name": "own", **options})
    name = options.pop("name", default.name)
    if name not in READOUTS:
        raise ValueError(unknown("readout filter", name, READOUTS))
    trace: dict[str, Any] = {
        key: str(options.pop(key)) for key in ("trace_gain", "trace_decay") if key in options
    }
    return replace(READOUTS[name].with_parameters(**options), **trace)


def _feedback(entries: Mapping[str, Any]) -> Any:
    """What a learning signal sends, as a network takes it."""
    given = entries.get("feedback", "symmetric")
    own = {f.name for f in fields(PARTS["learning_signal"])}
    options = {key: _with_unit(value) for key, value in entries.items() if key not in own}
    if not options:
        return given
    feedback = as_feedback(given)
    if "update" in options or "parameters" in options:
        # The numbers of the kind's own rule mean nothing to another.
        feedback = replace(feedback, parameters=dict(options.pop("parameters", {})))
    return feedback.with_options(**options)


def _made(cls: type[T], table: Mapping[str, Any]) -> T:
    """An object of a class from a table of its fields."""
    names = [field.name for field in fields(cls)]
    for key in table:
        if key not in names:
            raise ValueError(unknown("key", key, names, cls.__name__))
    needed = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in needed if name not in table]
    if missing:
        raise ValueError(f"{cls.__name__} lacks '{missing[0]}'")
    return cls(**table)
