"""Synapse files: the dynamics of synapses written in TOML.

::

    [synapse]
    name = "depressing"
    model = "dx/dt = (1 - x)/tau_d : 1 (event-driven)"
    on_pre = "I_post += w*U*x; x -= U*x"

    [parameters]
    tau_d = "200 ms"              # a number, a string with a unit, or a list: one per neuron
    U = 0.5

    [initial]                     # expressions of the parameters
    x = "1"

Nothing in a file is ever run: expressions are parsed, and the synapse is brought to its statements
while it is read, so that a mistake is reported with its line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from eprop_brian.base.toml import toml_table
from eprop_brian.equations.synapse import Synapse
from eprop_brian.symbolic.equation_file import (
    check_keys,
    check_names,
    equation_file,
    is_parameter,
    writable,
)
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.synapse_map import synapse_map

__all__ = ["read_synapse", "synapse_from_table", "synapse_to_table", "write_synapse"]

_TABLES = ("parameters", "initial")
#: Keys of [synapse] in the order in which they are written.
_KEYS = ("name", "source", "model", "method", "on_pre")
_DEFAULTS = {f.name: f.default for f in fields(Synapse)}


def read_synapse(path: str | Path) -> Synapse:
    """Read a synapse file and check the synapse.

    Parameters
    ----------
    path : str or Path
        A TOML file with the table ``[synapse]`` and, as needed, ``[parameters]`` and ``[initial]``;
        the fields are those of `eprop_brian.equations.synapse.Synapse`.

    Raises
    ------
    EquationError
        For anything that is wrong with the file, quoting the line and, where it can be found, its
        number.
    """
    with equation_file(path, "synapse") as document:
        check_keys(document, ("synapse", *_TABLES), "table", "synapse file")
        own = document.get("synapse")
        if not isinstance(own, dict):
            raise EquationError("synapse file", "[synapse]", "is missing, the table of a synapse")
        below = {table: document[table] for table in _TABLES if table in document}
        synapse = synapse_from_table({**own, **below})
        synapse_map(synapse)
    return synapse


def write_synapse(synapse: Synapse) -> str:
    """Write a synapse as the text of a synapse file, which `read_synapse` reads back.

    Raises
    ------
    EquationError
        If a parameter is not a number, a quantity, a string or one of these per neuron.
    """
    table = synapse_to_table(synapse)
    below = {name: table.pop(name) for name in _TABLES if name in table}
    tables = {"synapse": table, **below}
    return "\n".join(toml_table(name, values) for name, values in tables.items())


def synapse_to_table(synapse: Synapse) -> dict[str, Any]:
    """A synapse as one table, with the tables of a synapse file below it."""
    where = f"synapse '{synapse.name}', parameters"
    own = {key: getattr(synapse, key) for key in _KEYS}
    below = {
        "parameters": {k: writable(k, v, where) for k, v in synapse.parameters.items()},
        "initial": {k: str(v) for k, v in synapse.initial.items()},
    }
    return {
        **{key: value for key, value in own.items() if value != _DEFAULTS[key]},
        **{name: values for name, values in below.items() if values},
    }


def synapse_from_table(table: Mapping[str, Any]) -> Synapse:
    """The synapse of such a table.

    Raises
    ------
    EquationError
        For an unknown key, and a value that is no text or no parameter.
    """
    where = f"synapse '{table.get('name', _DEFAULTS['name'])}'"
    check_keys(table, (*_KEYS, *_TABLES), "key of [synapse]", where)
    for key in _KEYS:
        if not isinstance(table.get(key, ""), str):
            line = f"{key} = {table[key]}"
            raise EquationError(f"{where}, {key}", line, "must be a string; put it in quotes")
    for key in ("model", "on_pre"):
        if key not in table:
            raise EquationError(where, key, "is missing")
    below = {name: table.get(name, {}) for name in _TABLES}
    for name, values in below.items():
        if not isinstance(values, Mapping):
            raise EquationError(f"{where}, {name}", f"{name} = {values}", "must be a table")
        check_names(values, f"{where}, {name}")
    for name, value in below["parameters"].items():
        if not is_parameter(value):
            raise EquationError(
                f"{where}, parameters, {name}",
                f"{name} = {value}",
                'must be a number, a string with a unit ("20 ms") or a list of these',
            )
    initial = {name: str(value) for name, value in below["initial"].items()}
    own: dict[str, Any] = {key: table[key] for key in _KEYS if key in table}
    return Synapse(**own, parameters=below["parameters"], initial=initial)
