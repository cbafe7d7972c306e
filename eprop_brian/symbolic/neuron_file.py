"""Neuron files: a neuron written in TOML.

::

    [neuron]
    name = "lif"
    update = '''
    v = alpha*v + I - v_th*z
    '''
    threshold = "v >= v_th"
    surrogate = "0.3/v_th*clip(1 - abs(v - v_th)/v_th, 0, 1)"
    refractory = "t_ref"          # or a time, "5 ms"

    [parameters]
    tau_m = "20 ms"               # a number, a string with a unit, or a list: one value per neuron
    v_th = 0.6
    t_ref = "5 ms"

    [constants]                   # expressions of the parameters and dt
    alpha = "exp(-dt/tau_m)"

    [timed_arrays]                # signals, which the equations read as stim(t)
    stim = { values = [0, 1, 0.5], dt = "10 ms", unit = "nA" }

``model`` (Brian2 differential equations, with ``method``, ``reset`` and ``on_pre``) may stand in
place of ``update``. A neuron with several receptors has a table ``[on_pre]`` in place of the key::

    [on_pre]
    ampa = "g_ampa += w"
    gaba = "g_gaba += w"

Nothing in a file is ever run: expressions are parsed, and the whole neuron is
derived once while it is read, so that a mistake is reported with its line.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from eprop_brian.base.toml import toml_table
from eprop_brian.equations.neuron import Neuron
from eprop_brian.symbolic.eligibility import derive
from eprop_brian.symbolic.equation_file import (
    all_strings,
    check_keys,
    check_names,
    equation_file,
    is_parameter,
    writable,
)
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.step_map import TYPICAL_DT, step_map
from eprop_brian.symbolic.timed_arrays import writable_timed_array

__all__ = ["neuron_of", "neuron_tables", "read_neuron", "write_neuron"]

_TABLES = ("parameters", "constants", "timed_arrays", "initial")
#: The table of a neuron with several receptors, which is the key ``on_pre`` of others.
_ON_PRE = "on_pre"
_LISTS = ("receptors", "detach")
#: Keys of [neuron] in the order in which they are written.
_KEYS = (
    "name",
    *("source", "update", "receptors", "model", "method", "on_pre", "on_pre_order", "reset"),
    *("threshold", "surrogate", "refractory", "refractory_surrogate", "detach"),
)
_DEFAULTS = {f.name: f.default for f in fields(Neuron)}
_EXAMPLE = '[neuron]\nname = "my_neuron"'


def read_neuron(path: str | Path) -> Neuron:
    """Read a neuron file and check the neuron by deriving its learning rule.

    Parameters
    ----------
    path : str or Path
        A TOML file with the table ``[neuron]`` and, as needed, ``[on_pre]``, ``[parameters]``,
        ``[constants]``, ``[timed_arrays]`` and ``[initial]``; the fields are those of
        `eprop_brian.equations.neuron.Neuron`.

    Raises
    ------
    EquationError
        For anything that is wrong with the file, quoting the line and, where it can be found, its
        number.
    """
    with equation_file(path, "neuron") as document:
        neuron = neuron_of(document)
        derive(step_map(neuron)).check_finite(TYPICAL_DT)
    return neuron


def write_neuron(neuron: Neuron) -> str:
    """Write a neuron as the text of a neuron file, which `read_neuron` reads back.

    Raises
    ------
    EquationError
        If a parameter is not a number, a quantity, a string or one of these per neuron.
    """
    return "\n".join(toml_table(name, values) for name, values in neuron_tables(neuron).items())


def neuron_tables(neuron: Neuron) -> dict[str, dict[str, Any]]:
    """The tables of a neuron's file that have entries.

    Raises
    ------
    EquationError
        As `write_neuron`.
    """
    where, initial = (f"neuron '{neuron.name}', {x}" for x in ("parameters", "initial"))
    options = {key: getattr(neuron, key) for key in _KEYS}
    always = {"method"} if neuron.model.strip() else set()
    options = {k: v for k, v in options.items() if v != _DEFAULTS[k] or k in always}
    by_receptor = {} if isinstance(neuron.on_pre, str) else options.pop(_ON_PRE)
    tables = {
        "neuron": options,
        _ON_PRE: by_receptor,
        "parameters": {k: writable(k, v, where) for k, v in neuron.parameters.items()},
        "constants": {k: str(v) for k, v in neuron.constants.items()},
        "timed_arrays": {
            k: writable_timed_array(k, v, f"neuron '{neuron.name}', timed_arrays")
            for k, v in neuron.timed_arrays.items()
        },
        "initial": {k: writable(k, v, initial) for k, v in neuron.initial.items()},
    }
    return {name: values for name, values in tables.items() if values}


def neuron_of(document: dict[str, Any]) -> Neuron:
    """The neuron that the tables of a file describe, not derived yet.

    Raises
    ------
    EquationError
        For an unknown table or key, and a value that is no text or no parameter.
    """
    check_keys(document, ("neuron", _ON_PRE, *_TABLES), "table", "neuron file")
    for table, content in document.items():
        if not isinstance(content, dict):
            raise EquationError("neuron file", table, f"must be a table: [{table}]")
    if "neuron" not in document:
        raise EquationError("neuron file", "[neuron]", f"is missing; begin with\n{_EXAMPLE}")
    entries = document["neuron"]
    if "name" not in entries:
        raise EquationError("neuron file", "[neuron]", f"has no name; begin with\n{_EXAMPLE}")
    where = f"neuron '{entries['name']}'"
    check_keys(entries, _KEYS, "key of [neuron]", where)
    for key, value in entries.items():
        if key in _LISTS:
            ok = isinstance(value, list) and all_strings(value)
            expected = 'a list of strings, e.g. ["v"]'
        else:
            ok, expected = isinstance(value, str), "a string; put it in quotes"
        if not ok:
            raise EquationError(f"{where}, {key}", f"{key} = {value}", f"must be {expected}")
    tables = {table: document.get(table, {}) for table in _TABLES}
    for table, names in tables.items():
        check_names(names, f"{where}, {table}")
    if _ON_PRE in document:
        if _ON_PRE in entries:
            raise EquationError(
                f"{where}, {_ON_PRE}",
                f"{_ON_PRE} = {entries[_ON_PRE]}",
                "is a key of [neuron] and a table besides; write one of them",
            )
        tables[_ON_PRE] = document[_ON_PRE]
    for name, value in tables["parameters"].items():
        if not is_parameter(value):
            raise EquationError(
                f"{where}, parameters, {name}",
                f"{name} = {value}",
                'must be a number, a string with a unit ("20 ms") or a list of these',
            )
    for table in ("constants", "initial"):
        for name, value in tables[table].items():
            several = table == "initial" and isinstance(value, list)
            if not is_parameter(value) or (isinstance(value, list) and not several):
                raise EquationError(
                    f"{where}, {table}, {name}", f"{name} = {value}", "must be an expression string"
                )
    optional = {key: value for key, value in entries.items() if key not in _LISTS}
    for key in ("threshold", "surrogate"):
        optional.setdefault(key, "")
    lists: dict[str, Any] = {key: tuple(entries[key]) for key in _LISTS if key in entries}
    return Neuron(**optional, **lists, **tables)
