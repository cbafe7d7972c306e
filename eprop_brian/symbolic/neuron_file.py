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

``model`` (Brian2 differential equations, with ``method``, ``reset`` and ``on_pre``) may stand in
place of ``update``. Nothing in a file is ever run: expressions are parsed, and the whole neuron is
derived once while it is read, so that a mistake is reported with its line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from brian2.units.fundamentalunits import DIMENSIONLESS

from eprop_brian.equations.neuron import Neuron
from eprop_brian.symbolic.eligibility import derive
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.parameters import resolve_parameters, unit_name
from eprop_brian.symbolic.step_map import step_map
from eprop_brian.symbolic.toml import toml_table

__all__ = ["read_neuron", "write_neuron"]

_TABLES = ("parameters", "constants", "initial")
_LISTS = ("detach",)
#: Keys of [neuron] in the order in which they are written.
_KEYS = (
    "name",
    *("source", "update", "model", "method", "on_pre", "reset"),
    *("threshold", "surrogate", "refractory", "refractory_surrogate", "detach"),
)
_DEFAULTS = {f.name: f.default for f in fields(Neuron)}
_EXAMPLE = '[neuron]\nname = "my_neuron"'
#: What an error may quote and say, to stay within one screen.
_MAX_LINES, _MAX_WIDTH, _MAX_PROBLEM = 6, 100, 800


def read_neuron(path: str | Path) -> Neuron:
    """Read a neuron file and check the neuron by deriving its learning rule.

    Parameters
    ----------
    path : str or Path
        A TOML file with the table ``[neuron]`` and, as needed, ``[parameters]``, ``[constants]``
        and ``[initial]``; the fields are those of `eprop_brian.equations.neuron.Neuron`.

    Raises
    ------
    EquationError
        For anything that is wrong with the file, quoting the line and, where it can be found, its
        number.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
        document = tomllib.loads(text)
    except OSError as error:
        raise EquationError("neuron file", str(path), f"{error.strerror or error}") from None
    except UnicodeDecodeError:
        raise EquationError("neuron file", str(path), "is not a text file in UTF-8") from None
    except (ValueError, RecursionError) as error:  # among them tomllib.TOMLDecodeError
        raise _unreadable(path, text, error) from None
    try:
        neuron = _neuron(document)
        derive(step_map(neuron))
    except EquationError as error:
        raise _located(path, text, error) from None
    return neuron


def write_neuron(neuron: Neuron) -> str:
    """Write a neuron as the text of a neuron file, which `read_neuron` reads back.

    Raises
    ------
    EquationError
        If a parameter is not a number, a quantity, a string or one of these per neuron.
    """
    where = f"neuron '{neuron.name}', parameters"
    given = {key: getattr(neuron, key) for key in _KEYS}
    shown = {"method"} if neuron.model.strip() else set()
    given = {k: v for k, v in given.items() if v != _DEFAULTS[k] or k in shown}
    tables = {
        "neuron": given,
        "parameters": {k: _writable(k, v, where) for k, v in neuron.parameters.items()},
        "constants": {k: str(v) for k, v in neuron.constants.items()},
        "initial": {k: str(v) for k, v in neuron.initial.items()},
    }
    return "\n".join(toml_table(name, values) for name, values in tables.items() if values)


# --- reading -------------------------------------------------------------------------------------


def _neuron(document: dict[str, Any]) -> Neuron:
    _check_keys(document, ("neuron", *_TABLES), "table", "neuron file")
    for table, content in document.items():
        if not isinstance(content, dict):
            raise EquationError("neuron file", table, f"must be a table: [{table}]")
    if "neuron" not in document:
        raise EquationError("neuron file", "[neuron]", f"is missing; begin with\n{_EXAMPLE}")
    given = document["neuron"]
    if "name" not in given:
        raise EquationError("neuron file", "[neuron]", f"has no name; begin with\n{_EXAMPLE}")
    where = f"neuron '{given['name']}'"
    _check_keys(given, _KEYS, "key of [neuron]", where)
    for key, value in given.items():
        if key in _LISTS:
            ok = isinstance(value, list) and _all_strings(value)
            wanted = 'a list of strings, e.g. ["v"]'
        else:
            ok, wanted = isinstance(value, str), "a string; put it in quotes"
        if not ok:
            raise EquationError(f"{where}, {key}", f"{key} = {value}", f"must be {wanted}")
    tables = {table: document.get(table, {}) for table in _TABLES}
    for name, value in tables["parameters"].items():
        if not _is_parameter(value):
            raise EquationError(
                f"{where}, parameters, {name}",
                f"{name} = {value}",
                'must be a number, a string with a unit ("20 ms") or a list of these',
            )
    for table in ("constants", "initial"):
        for name, value in tables[table].items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                tables[table] = {**tables[table], name: repr(value)}
            elif not isinstance(value, str):
                raise EquationError(
                    f"{where}, {table}, {name}", f"{name} = {value}", "must be an expression string"
                )
    optional = {key: value for key, value in given.items() if key not in _LISTS}
    for key in ("threshold", "surrogate"):
        optional.setdefault(key, "")
    detach = tuple(given["detach"]) if "detach" in given else None
    return Neuron(**optional, detach=detach, **tables)


def _is_parameter(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_parameter(item) and not isinstance(item, list) for item in value)
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def _check_keys(given: Iterable[str], valid: Iterable[str], kind: str, where: str) -> None:
    valid = tuple(valid)
    for key in given:
        if key not in valid:
            close = get_close_matches(key, valid, n=1)
            hint = f" (did you mean '{close[0]}'?)" if close else ""
            raise EquationError(
                where, key, f"unknown {kind} '{key}'{hint}. Valid are: {', '.join(valid)}"
            )


# --- where an error is in the file ---------------------------------------------------------------


def _unreadable(path: Path, text: str, error: Exception) -> EquationError:
    position = re.search(r"\(at line (\d+), column \d+\)", str(error))
    number = int(position.group(1)) if position else None
    line = text.split("\n")[number - 1] if number else str(path)
    reason = str(error).partition(" (at ")[0]
    problem = f"is not readable as TOML: {reason}. Text needs quotes; text of several lines '''"
    return EquationError(_place(path, number), _short(line), problem)


def _located(path: Path, text: str, error: EquationError) -> EquationError:
    number = _find_line(text, error)
    where = f"{_place(path, number)}, {_short(error.where)}"
    return EquationError(where, _short(error.line), error.problem[:_MAX_PROBLEM])


def _place(path: Path, number: int | None) -> str:
    return f"{path.name}, line {number}" if number else path.name


def _short(quoted: str) -> str:
    # Control characters would act on the terminal.
    lines = [re.sub(r"[^ -~\w]", "?", line) for line in quoted.splitlines()[: _MAX_LINES + 1]]
    cut = [line if len(line) <= _MAX_WIDTH else f"{line[:_MAX_WIDTH]} ..." for line in lines]
    return "\n    ".join(cut if len(cut) <= _MAX_LINES else [*cut[:_MAX_LINES], "..."])


def _find_line(text: str, error: EquationError) -> int | None:
    """Number of the line that `error` quotes, searched first where the error says it is."""
    lines = text.split("\n")
    entries = list(_entries(lines))
    parts = [*error.where.split(", ")[1:], "", ""]
    # Where the error speaks of: a key of a table, a table or key of [neuron], or the whole file.
    named = [span for table, key, span in entries if [table, key] == parts[:2]]
    spans = named or [
        span
        for table, key, span in entries
        if parts[0] == table or (table == "neuron" and parts[0] == key)
    ]
    for matches in _forms(error.line):
        for span in spans or [range(len(lines))]:
            for number in span:
                if matches(lines[number]):
                    return number + 1
    return spans[0].start + 1 if spans else None


def _forms(quoted: str) -> Iterator[Callable[[str], Any]]:
    """Tests of a file's line against quoted text, the strictest first."""
    first = quoted.strip().split("\n")[0]
    if first.isidentifier():
        yield re.compile(rf"^\s*\[?\s*(d\s*)?{first}\s*(/\s*dt\s*)?([-+*/]?=|\])").search
        yield re.compile(rf"\b{first}\b").search
        return
    squeezed = _squeeze(first)
    # Several statements may stand in several lines: the first one is looked for then.
    for text in (squeezed, squeezed.partition(";")[0]):
        yield lambda line, text=text: text in _squeeze(line)
    # `v += w` is quoted as `v = v + (w)`.
    name, _, expression = squeezed.partition("=")
    augmented = re.fullmatch(rf"{re.escape(name)}([-+*/])\((.*)\)", expression)
    if augmented:
        written = f"{name}{augmented.group(1)}={augmented.group(2)}"
        yield lambda line: written in _squeeze(line)


def _squeeze(line: str) -> str:
    return re.sub(r"[\s\"']", "", line)


def _entries(lines: list[str]) -> Iterator[tuple[str, str, range]]:
    """Table, key and lines of every entry of a TOML text."""
    table, key, start, closing = "", "", 0, ""
    for number, line in enumerate(lines):
        if closing:
            closing = "" if closing in line else closing
            continue
        header = re.match(r"\s*\[\s*([\w-]+)\s*\]", line)
        entry = re.match(r"\s*[\"']?([\w-]+)[\"']?\s*=\s*(\"\"\"|''')?", line)
        if header or entry:
            if key:
                yield table, key, range(start, number)
            table = header.group(1) if header else table
            key, start = entry.group(1) if entry else "", number
            if entry and entry.group(2) and entry.group(2) not in line[entry.end() :]:
                closing = entry.group(2)
    if key:
        yield table, key, range(start, len(lines))


# --- writing -------------------------------------------------------------------------------------


def _writable(name: str, value: Any, where: str) -> Any:
    """A parameter as TOML can hold it: quantities become strings in SI units."""
    if isinstance(value, str) or (isinstance(value, list | tuple) and _all_strings(value)):
        return value
    values, dimensions = resolve_parameters({name: value}, where)
    numbers = np.asarray(values[name]).tolist()
    if dimensions[name] is DIMENSIONLESS:
        return numbers
    unit = unit_name(dimensions[name])
    if isinstance(numbers, list):
        return [f"{number!r} {unit}" for number in numbers]
    return f"{numbers!r} {unit}"


def _all_strings(items: Iterable[Any]) -> bool:
    return all(isinstance(item, str) for item in items)
