"""Equation files in TOML: reading them, and locating mistakes in them."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from brian2.units.fundamentalunits import DIMENSIONLESS

from eprop_brian.base.checks import is_finite, is_identifier
from eprop_brian.base.suggestions import unknown
from eprop_brian.base.toml import read_toml
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.parameters import resolve_parameters, unit_name

__all__ = [
    "all_strings",
    "check_keys",
    "check_names",
    "equation_file",
    "is_parameter",
    "writable",
]

#: What an error may quote and say, to stay within one screen.
_MAX_LINES, _MAX_WIDTH, _MAX_PROBLEM = 6, 100, 800


@contextlib.contextmanager
def equation_file(path: str | Path, kind: str) -> Iterator[dict[str, Any]]:
    """Give the tables of a file; an `EquationError` in the block gets the line's number.

    Parameters
    ----------
    path : str or Path
        A TOML file.
    kind : str
        What it holds, which is also the name of its main table.

    Raises
    ------
    EquationError
        If the file cannot be read, and whatever the block raises.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
        document = read_toml(text)
    except OSError as error:
        raise EquationError(f"{kind} file", str(path), f"{error.strerror or error}") from None
    except UnicodeDecodeError:
        raise EquationError(f"{kind} file", str(path), "is not a text file in UTF-8") from None
    except ValueError as error:  # among them tomllib.TOMLDecodeError
        raise _unreadable(path, text, error) from None
    try:
        yield document
    except EquationError as error:
        raise _located(path, text, error, kind) from None


def check_keys(keys: Iterable[str], valid: Iterable[str], kind: str, where: str) -> None:
    """Raise an `EquationError` for the first key that is not valid, naming those that are."""
    valid = tuple(valid)
    for key in keys:
        if key not in valid:
            raise EquationError(where, key, unknown(kind, key, valid))


def check_names(names: Iterable[str], where: str) -> None:
    """Raise an `EquationError` for the first name that is not an identifier."""
    for name in names:
        if not is_identifier(name):
            raise EquationError(
                where, name, "must be letters, digits and _, starting with a letter"
            )


def is_parameter(value: Any) -> bool:
    """Whether a value from a file can be a parameter: a number, a string, or a list of these."""
    if isinstance(value, list):
        return all(is_parameter(item) and not isinstance(item, list) for item in value)
    if isinstance(value, int):
        return is_finite(value)
    return isinstance(value, float | str)


def writable(name: str, value: Any, where: str) -> Any:
    """A parameter as TOML can hold it: quantities become strings in SI units."""
    if isinstance(value, str) or (isinstance(value, list | tuple) and all_strings(value)):
        return value
    values, dimensions = resolve_parameters({name: value}, where)
    numbers = np.asarray(values[name]).tolist()
    if dimensions[name] is DIMENSIONLESS:
        return numbers
    unit = unit_name(dimensions[name])
    if isinstance(numbers, list):
        return [f"{number!r} {unit}" for number in numbers]
    return f"{numbers!r} {unit}"


def all_strings(items: Iterable[Any]) -> bool:
    """Whether all items are strings."""
    return all(isinstance(item, str) for item in items)


# --- where an error is in the file ---------------------------------------------------------------


def _unreadable(path: Path, text: str, error: Exception) -> EquationError:
    position = re.search(r"\(at line (\d+), column \d+\)", str(error))
    number = int(position.group(1)) if position else None
    line = text.split("\n")[number - 1] if number else str(path)
    reason = str(error).partition(" (at ")[0]
    problem = f"is not readable as TOML: {reason}. Text needs quotes; text of several lines '''"
    return EquationError(_place(path, number), _short(line), problem)


def _located(path: Path, text: str, error: EquationError, main: str) -> EquationError:
    number = _find_line(text, error, main)
    where = f"{_place(path, number)}, {_short(error.where)}"
    return EquationError(where, _short(error.line), error.problem[:_MAX_PROBLEM])


def _place(path: Path, number: int | None) -> str:
    return f"{path.name}, line {number}" if number else path.name


def _short(quoted: str) -> str:
    lines = quoted.splitlines()[: _MAX_LINES + 1]
    cut = [line if len(line) <= _MAX_WIDTH else f"{line[:_MAX_WIDTH]} ..." for line in lines]
    return "\n    ".join(cut if len(cut) <= _MAX_LINES else [*cut[:_MAX_LINES], "..."])


def _find_line(text: str, error: EquationError, main: str) -> int | None:
    """Number of the line that `error` quotes, searched first in the place that the error names."""
    lines = text.split("\n")
    entries = list(_entries(lines))
    parts = [*error.where.split(", ")[1:], "", ""]
    # Where the error speaks of: a key of a table, a table or key of the main one, or the file.
    named = [span for table, key, span in entries if [table, key] == parts[:2]]
    spans = named or [
        span
        for table, key, span in entries
        if parts[0] == table or (table == main and parts[0] == key)
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
        yield partial(_holds, text)
    # `v += w` is quoted as `v = v + (w)`.
    name, _, expression = squeezed.partition("=")
    augmented = re.fullmatch(rf"{re.escape(name)}([-+*/])\((.*)\)", expression)
    if augmented:
        yield partial(_holds, f"{name}{augmented.group(1)}={augmented.group(2)}")


def _holds(squeezed: str, line: str) -> bool:
    """Whether a line has a text, apart from spaces and quotation marks."""
    return squeezed in _squeeze(line)


def _squeeze(line: str) -> str:
    return re.sub(r"[\s\"']", "", line)


def _entries(lines: list[str]) -> Iterator[tuple[str, str, range]]:
    """Table, key and lines of every entry of a TOML text.

    The second of the tables ``[[codes]]``, with what is below it, is called ``code 2``.
    """
    table, key, start, closing = "", "", 0, ""
    counts: Counter[str] = Counter()
    for number, line in enumerate(lines):
        if closing:
            closing = "" if closing in line else closing
            continue
        header = re.match(r"\s*\[\s*([\w-]+)\s*\]", line)
        element = re.match(r"\s*\[\[\s*([\w-]+?)s\s*\]\]", line)
        entry = re.match(r"\s*[\"']?([\w-]+)[\"']?\s*=\s*(\"\"\"|''')?", line)
        if header or element or entry:
            if key:
                yield table, key, range(start, number)
            if element:
                counts[element.group(1)] += 1
                table = f"{element.group(1)} {counts[element.group(1)]}"
            table = header.group(1) if header else table
            key, start = entry.group(1) if entry else "", number
            if entry and entry.group(2) and entry.group(2) not in line[entry.end() :]:
                closing = entry.group(2)
    if key:
        yield table, key, range(start, len(lines))
