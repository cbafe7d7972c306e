"""Networks that a file describes part by part and that learn tasks by e-prop.

The whole network stands in ``config.toml``, so that a run does not change when the library does:
neurons with their equations. The arrays stand in ``arrays.npz`` beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eprop_brian.base.checks import is_identifier
from eprop_brian.base.printable import warn
from eprop_brian.base.suggestions import unknown
from eprop_brian.equations import Neuron
from eprop_brian.equations.learning_signals import FEEDBACKS
from eprop_brian.network.feedback import as_feedback
from eprop_brian.network.parts import names_of
from eprop_brian.network.spec import Network
from eprop_brian.runs.eprop_settings import PARAMETERS
from eprop_brian.runs.graph_reading import (
    load,
    network_of,
    neuron_from_table,
    neuron_to_table,
    normalised,
    read_neuron_table,
    read_synapse_table,
)
from eprop_brian.runs.graph_settings import GRAPH_SCHEMA, PARTS
from eprop_brian.runs.learning import READOUTS_ONLY, LearningModel
from eprop_brian.runs.neuron_settings import with_setting
from eprop_brian.runs.settings import Tables, entry_name
from eprop_brian.runs.tasks import check_task, named_parts
from eprop_brian.tasks import Task

if TYPE_CHECKING:
    from eprop_brian.runs.config import RunConfig

__all__ = ["GRAPH"]

#: Numbers of the library's rules for feedback weights.
_OF_KINDS = {name for kind in FEEDBACKS.values() for name in kind.parameters}


class _Graph(LearningModel):
    """See `eprop_brian.runs.models.Model`."""

    schema = GRAPH_SCHEMA
    parameters = PARAMETERS
    example = "projection.w_first_second.eta=1e-3 or neuron.tau_m='30 ms'"
    feedback = ("learning_signal", "feedback")

    def check(self, config: RunConfig) -> None:
        """Raise ValueError for an unknown task, and names that can name no array."""
        check_task(config)
        self.check_names(config)

    def check_names(self, config: RunConfig) -> None:
        """Raise ValueError for names that are not identifiers: they name arrays."""
        for table in PARTS:
            for number, entries in enumerate(config.tables[table], 1):
                if not is_identifier(entries["name"]):
                    raise ValueError(
                        f"{entry_name(table, number, entries)}: a name is letters, digits and _, "
                        "starting with a letter"
                    )

    def begin(
        self, tables: Tables, replacements: Mapping[str, str | None], folder: Path
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Take the neurons and arrays that a recipe names, or another neuron for all."""
        if replacements["teacher"] is not None:
            raise ValueError("a teacher is for balanced networks; this task has its own targets")
        given = {name: values for name, values in tables.items() if name != "neuron"}
        if replacements["neuron"] is not None:
            # Parameters belong to the neuron that is replaced.
            other = read_neuron_table(replacements["neuron"], {}, Path())
            given["population"] = [
                {k: v for k, v in entries.items() if k != "parameters"} | {"neuron": other}
                for entries in given.get("population", [])
            ]
        ours = normalised(given, folder)
        ours["network"] = {"gradient": "factored", **ours.get("network", {})}
        for key, value in tables.get("neuron", {}).items():
            ours["population"] = _with_neuron_setting(ours, key, value, "[neuron]")
        return ours, named_parts(ours)

    def reconsidered(self, base: RunConfig, chosen: RunConfig) -> RunConfig:
        """Drop a recipe's learning signals if BPTT is chosen, which has no use for them."""
        if chosen.network["gradient"] != "bptt" or base.network["gradient"] == "bptt":
            return base
        return base.with_tables({"learning_signal": []})

    def with_value(self, config: RunConfig, table: str, key: str, value: Any) -> RunConfig:
        """Replace a setting; of parts, that of one, ``name.field``, or of all, ``field``."""
        if table in PARTS:
            return config.with_tables({table: _with_field(config.tables, table, key, value)})
        return super().with_value(config, table, key, value)

    def with_parameter(self, config: RunConfig, key: str, value: Any, where: str) -> RunConfig:
        """Replace a parameter of all neurons that have it, or what they detach."""
        changed = _with_neuron_setting(config.tables, key, value, where)
        return config.with_tables({"population": changed})

    def with_method(self, config: RunConfig, method: str) -> RunConfig:
        """Learn by a kind of feedback where it can be had, by BPTT, or by the readouts alone.

        The kind is that of all learning signals that can have it.

        Raises
        ------
        ValueError
            If none can.
        """
        if method == "bptt":
            # It runs in JAX, wherever the others run.
            elsewhere = config.with_tables({"learning_signal": []}).with_values("run", device="cpp")
            return elsewhere.with_values("network", gradient=method)
        if method == READOUTS_ONLY:
            return _readouts_alone(config)
        signals = config.tables["learning_signal"]
        able = [_can_follow(config.tables, signal, method) for signal in signals]
        if not any(able):
            raise ValueError(_cannot(method, [signal["name"] for signal in signals]))
        if not all(able):
            unable = [s["name"] for s, can in zip(signals, able, strict=True) if not can]
            keep = "they keep their" if len(unable) > 1 else "it keeps its"
            warn(f"{_cannot(method, unable)}: {keep} own feedback", stacklevel=2)
        changed = [
            _with_feedback(signal, method) if can else signal
            for signal, can in zip(signals, able, strict=True)
        ]
        if config.network["gradient"] == "bptt":
            config = config.with_values("network", gradient="factored")
        return config.with_tables({"learning_signal": changed})

    def read_parts(self, folder: Path, tables: Tables) -> tuple[Tables, dict[str, Any]]:
        """Read the arrays, and the files of the task."""
        return super().read_parts(folder, normalised(tables, folder))

    def make_network(self, config: RunConfig, task: Task) -> Network:
        """Make the network for a task."""
        return network_of(config.tables, task)

    def refuse_unused(self, config: RunConfig, settings: Sequence[str]) -> None:
        """Raise nothing: a network refuses what a part cannot use."""

    def methods_of(self, config: RunConfig) -> tuple[str, ...]:
        """Give those compared by default that at least one learning signal can follow."""
        signals = config.tables["learning_signal"]
        return tuple(
            method
            for method in self.usual_methods(config, self.methods)
            if method not in FEEDBACKS
            or any(_can_follow(config.tables, s, method) for s in signals)
        )


def _readouts_alone(config: RunConfig) -> RunConfig:
    """Return a copy in which no projection learns but those to readouts."""
    readouts = {entries["name"] for entries in config.tables["readout"]}
    projections = [
        entries if readouts & {*names_of(entries["target"])} else {**entries, "learn": False}
        for entries in config.tables["projection"]
    ]
    if config.network["gradient"] == "bptt":
        config = config.with_values("network", gradient="factored")
    return config.with_tables({"projection": projections, "learning_signal": []})


def _with_neuron_setting(tables: Tables, key: str, value: Any, where: str) -> list[dict[str, Any]]:
    """Populations with a parameter replaced in all neurons that have it."""
    neurons: dict[str, Neuron] = {
        str(number): neuron_from_table(entries["neuron"])
        for number, entries in enumerate(tables["population"])
    }
    changed = with_setting(neurons, key, value, where)
    return [
        {**entries, "neuron": neuron_to_table(neuron)}
        for entries, neuron in zip(tables["population"], changed.values(), strict=True)
    ]


def _with_field(tables: Tables, table: str, key: str, value: Any) -> list[dict[str, Any]]:
    """The parts of a kind with a field replaced, of the one that `key` names or of all."""
    parts, settings = tables[table], GRAPH_SCHEMA[table].settings
    first, _, rest = key.partition(".")
    names = [entries["name"] for entries in parts]
    chosen = names
    if first in names:
        if not rest:
            raise ValueError(f"write {table}.{first}.KEY=VALUE, where KEY is {', '.join(settings)}")
        chosen, key = [first], rest
    elif first not in settings:
        raise ValueError(unknown("part or key", first, [*names, *settings]))
    path = key.split(".")
    if path[0] not in settings:
        raise ValueError(unknown("key", path[0], settings))
    if len(path) == 1:
        settings[path[0]].check(f"{table}.{path[0]}", value)
    if not parts:
        raise ValueError(f"the network has no [[{table}]]")
    if table == "population" and path[0] == "parameters":
        if len(path) != 2:
            raise ValueError(f"write {table}.NAME.parameters.PARAMETER=VALUE")
        of_chosen = [entries for entries in parts if entries["name"] in chosen]
        changed = _with_neuron_setting({table: of_chosen}, path[1], value, table)
        by_name = {entries["name"]: entries for entries in changed}
        return [by_name.get(entries["name"], entries) for entries in parts]
    return [
        _replaced(table, entries, path, value) if entries["name"] in chosen else entries
        for entries in parts
    ]


def _replaced(table: str, entries: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    """The table of a part with one value replaced, also of a table in it."""
    if path == ["feedback"]:
        return _with_feedback(entries, load(value, Path(), "feedback"))
    if (table, *path) == ("population", "neuron"):
        return {**entries, "neuron": read_neuron_table(value, {}, Path())}
    if (table, path[0]) == ("projection", "synapse"):
        if len(path) == 1:
            return {**entries, "synapse": read_synapse_table(value, Path())}
        if path[1] in entries.get("synapse", {}).get("parameters", {}):
            path = ["synapse", "parameters", *path[1:]]
    if path == ["optimizer"] and isinstance(value, str):
        value = {"name": value}
    if path[-1] == "name" and path[:-1] in (["optimizer"], ["filter"]):
        return {**entries, path[0]: {"name": value}}
    return _inserted(entries, path, load(value, Path(), f"{entries['name']}.{path[0]}"))


def _inserted(table: Mapping[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    if len(path) == 1:
        return {**table, path[0]: value}
    below = table.get(path[0], {})
    if not isinstance(below, Mapping):
        raise ValueError(f"{path[0]} = {below!r} is no table, so it has no '{path[1]}'")
    return {**table, path[0]: _inserted(below, path[1:], value)}


# Feedback.


def _with_feedback(signal: Mapping[str, Any], feedback: Any) -> dict[str, Any]:
    """A learning signal with other feedback, without options that this has no use for."""
    kind = as_feedback(feedback)
    unused = _OF_KINDS - {*kind.parameters}
    if kind.weights in ("symmetric", "given"):
        unused |= {"scale"}
    if kind.weights == "symmetric" or kind.update:
        unused |= {"update", "parameters"}
    return {**{k: v for k, v in signal.items() if k not in unused}, "feedback": feedback}


def _can_follow(tables: Tables, signal: Mapping[str, Any], method: str) -> bool:
    """Whether a learning signal can have feedback of a kind."""
    kind = FEEDBACKS.get(method)
    if kind is None or (kind.weights != "symmetric" and not kind.update):
        return True
    leading = [
        projection
        for projection in tables["projection"]
        if names_of(projection["source"]) == names_of(signal["target"])
        and names_of(projection["target"]) == names_of(signal["source"])
    ]
    return len(leading) == 1


def _cannot(method: str, names: Sequence[str]) -> str:
    listed = ", ".join(f"'{name}'" for name in names) or "no learning signal"
    have = "have" if len(names) > 1 else "has"
    return (
        f"{method} feedback needs one projection from the target of a learning signal to "
        f"its readout, and {listed} {have} none"
    )


#: The model.
GRAPH = _Graph()
