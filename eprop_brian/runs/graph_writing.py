"""From a network to the tables of a file, the inverse of `eprop_brian.runs.graph_reading`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from typing import Any

import numpy as np
from brian2.units.fundamentalunits import Quantity
from scipy.sparse import csc_array, issparse

from eprop_brian.base.sparse import Matrix
from eprop_brian.equations import OPTIMIZERS, READOUTS, Neuron, Optimizer
from eprop_brian.equations.learning_signals import FEEDBACKS, Feedback
from eprop_brian.equations.losses import LOSSES, Loss
from eprop_brian.equations.readouts import EMITTED, LEAKY, ReadoutFilter
from eprop_brian.equations.synapse import Synapse
from eprop_brian.network.parts import LearningSignal, Part, part_name
from eprop_brian.network.sharing import SHARING
from eprop_brian.network.spec import Network
from eprop_brian.runs.graph_reading import neuron_to_table
from eprop_brian.runs.graph_settings import PARTS
from eprop_brian.symbolic.equation_file import writable
from eprop_brian.symbolic.parameters import unit_name
from eprop_brian.symbolic.synapse_file import synapse_to_table

__all__ = ["ARRAYS", "tables_of", "without_arrays"]

#: The file of the arrays of a run's network, beside ``config.toml``.
ARRAYS = "arrays.npz"


def tables_of(network: Network) -> dict[str, Any]:
    """The tables that describe a network: normalised ones, of which `network_of` makes it again."""
    tables: dict[str, Any] = {table: [] for table in PARTS}
    for part in network.parts:
        table = next(name for name, kind in PARTS.items() if isinstance(part, kind))
        tables[table].append(_entries(part))
    options = {}
    for field in fields(network):
        value = getattr(network, field.name)
        if field.name not in ("parts", "optimizer") and not _is_default(field, value):
            options[field.name] = _encoded(value, field.name)
    options["dt"] = _encoded(network.dt, "dt")
    tables["network"] = options
    tables["optimizer"] = _optimizer(network.optimizer)
    return tables


def _entries(part: Part) -> dict[str, Any]:
    entries: dict[str, Any] = {"name": part_name(part)}
    for field in fields(part):
        value = getattr(part, field.name)
        if field.name == "name" or _is_default(field, value):
            continue
        if isinstance(value, Feedback):
            entries.update(_feedback(value))
        elif isinstance(value, ReadoutFilter):
            usual = EMITTED if isinstance(part, LearningSignal) else LEAKY
            entries[field.name] = _filter(value, usual)
        else:
            entries[field.name] = _encoded(value, f"{entries['name']}, {field.name}")
    return entries


def _is_default(field: Field[Any], value: Any) -> bool:
    default = field.default
    if field.default_factory is not MISSING:
        default = field.default_factory()
    if default is MISSING or type(value) is not type(default):
        return False
    return bool(np.all(value == default))


def _encoded(value: Any, where: str) -> Any:
    """A field's value as TOML has it; arrays stay."""
    if isinstance(value, Neuron):
        return neuron_to_table(value)
    if isinstance(value, Synapse):
        return synapse_to_table(value)
    if isinstance(value, Optimizer):
        return _optimizer(value)
    if isinstance(value, Loss) and LOSSES.get(value.name) == value:
        return value.name
    if isinstance(value, Quantity):
        return _quantities(value, where)
    if issparse(value):
        return csc_array(value)
    if isinstance(value, np.ndarray) and value.ndim:
        return np.asarray(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.item()
    if is_dataclass(value) and not isinstance(value, type):
        given = {f.name: getattr(value, f.name) for f in fields(value)}
        kinds = [name for name, kind in SHARING.items() if isinstance(value, kind)]
        value = {"name": kinds[0], **given} if kinds else given
    if isinstance(value, Mapping):
        return {k: _encoded(v, where) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        if len(value) == 2 and issparse(value[0]):
            return [csc_array(value[0] * float(value[1])), unit_name(value[1].dim)]
        return [_encoded(item, where) for item in value]
    return value


def _quantities(value: Quantity, where: str) -> Any:
    """A quantity as text, several as a list of texts, a matrix as one of numbers and their unit."""
    if value.ndim < 2:
        return writable("value", value, where)
    return [np.array(value, dtype=float), unit_name(value.dim)]


def _optimizer(optimizer: Optimizer) -> dict[str, Any]:
    library = OPTIMIZERS.get(optimizer.name)
    parameters = dict(optimizer.parameters)
    if library is None or optimizer != replace(
        library, parameters=optimizer.parameters, schedule=optimizer.schedule
    ):
        return _encoded({f.name: getattr(optimizer, f.name) for f in fields(optimizer)}, "")
    schedule = {} if optimizer.schedule == library.schedule else {"schedule": optimizer.schedule}
    return {"name": optimizer.name, **schedule, **_encoded(parameters, "optimizer")}


def _filter(readout: ReadoutFilter, usual: ReadoutFilter) -> dict[str, Any]:
    """A filter; what it has of the library's, and the name of the usual one, are left out."""
    where = f"readout '{readout.name}'"
    library = READOUTS.get(readout.name)
    values = {**readout.parameters, **readout.constants}
    encoded = {key: writable(key, value, where) for key, value in values.items()}
    traces = {key: getattr(readout, key) for key in ("trace_gain", "trace_decay")}
    if library is None or readout != replace(
        library, parameters=readout.parameters, constants=readout.constants, **traces
    ):
        return {
            "name": readout.name,
            "update": readout.update,
            "parameters": {key: encoded[key] for key in readout.parameters},
            "constants": dict(readout.constants),
            **{key: text for key, text in traces.items() if text},
            "source": readout.source,
        }
    name = {} if library is usual else {"name": library.name}
    changed = {key: text for key, text in traces.items() if text != getattr(library, key)}
    return {**name, **encoded, **changed}


def _feedback(feedback: Feedback) -> dict[str, Any]:
    """A learning signal's ``feedback`` and the options beside it."""
    kinds = [
        name
        for name, kind in FEEDBACKS.items()
        if (kind.weights, kind.update, kind.parameters.keys())
        == (feedback.weights, feedback.update, feedback.parameters.keys())
    ]
    base = Feedback(weights=feedback.weights)
    options: dict[str, Any] = {}
    if kinds:
        base = FEEDBACKS[kinds[0]]
        options = {k: v for k, v in feedback.parameters.items() if v != base.parameters[k]}
    elif feedback.update or feedback.parameters:
        options = {"update": feedback.update, "parameters": dict(feedback.parameters)}
    given = np.asarray(feedback.matrix, float) if feedback.weights == "given" else None
    for name in ("scale", "signal"):
        value = getattr(feedback, name)
        if value != getattr(base, name):
            options[name] = value
    for name in ("delay", "diffusion"):
        if getattr(feedback, name) is not None:
            options[name] = getattr(feedback, name)
    kind: Any = kinds[0] if kinds else feedback.weights
    return _encoded({"feedback": kind if given is None else given, **options}, "feedback")


# Arrays.


def without_arrays(
    several: Sequence[Mapping[str, Any]], file: str, arrays: dict[str, Matrix]
) -> list[dict[str, Any]]:
    """Tables that name a file in place of each array, which is added to `arrays`.

    Parameters
    ----------
    several : sequence of mapping
        Normalised tables.
    file : str
        The name of the file.
    arrays : dict
        Of that file; gets the arrays by ``"<name>.<key>"``.
    """
    result = []
    for entries in several:
        plain: dict[str, Any] = {}
        for key, value in entries.items():
            items = value if isinstance(value, list) else [value]
            if isinstance(value, Mapping):
                items = [*value.values()]
            named = [file if _is_array(item) else item for item in items]
            for item in filter(_is_array, items):
                arrays[f"{entries['name']}.{key}"] = item
            if isinstance(value, Mapping):
                plain[key] = dict(zip(value, named, strict=True))
            else:
                plain[key] = named if isinstance(value, list) else named[0]
        result.append(plain)
    return result


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or issparse(value)
