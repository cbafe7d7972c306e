"""Reading TOML, and writing it, which the standard library does not."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["read_toml", "toml_array", "toml_table", "toml_value"]

#: Whole numbers of TOML have 64 bits; seeds are without sign. Larger ones are no floats either.
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1


def read_toml(text: str) -> dict[str, Any]:
    """Read a document.

    Raises
    ------
    ValueError
        If it is none (`tomllib.TOMLDecodeError`), is nested too deep, or holds a whole number of
        more than 64 bits.
    """
    try:
        document = tomllib.loads(text)
        _check_numbers(document)
    except RecursionError:
        raise ValueError("tables or arrays are nested too deep") from None
    return document


def _check_numbers(value: Any) -> None:
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list):
        for item in value:
            _check_numbers(item)
    elif isinstance(value, int) and not _SMALLEST <= value <= _LARGEST:
        raise ValueError(f"a whole number has {value.bit_length()} bits, at most 64 are possible")


def toml_table(name: str, values: Mapping[str, Any]) -> str:
    """A table with its values, one per line."""
    lines = [f"[{name}]", *(f"{_key(key)} = {toml_value(item)}" for key, item in values.items())]
    return "\n".join(lines) + "\n"


def toml_array(name: str, tables: Sequence[Mapping[str, Any]]) -> str:
    """An array of tables; a mapping in one of them that would not fit in a line is a sub-table."""
    return "\n".join(_with_subtables(f"[[{name}]]", name, values) for values in tables)


def _with_subtables(header: str, name: str, values: Mapping[str, Any]) -> str:
    below = {key: value for key, value in values.items() if _is_long(value)}
    lines = [f"{_key(k)} = {toml_value(v)}" for k, v in values.items() if k not in below]
    paths = {key: f"{name}.{_key(key)}" for key in below}
    tables = [_with_subtables(f"[{paths[key]}]", paths[key], below[key]) for key in below]
    return "\n".join(["\n".join([header, *lines]) + "\n", *tables])


def _is_long(value: Any) -> bool:
    """Whether a value is a mapping with text of several lines or with another mapping."""
    return isinstance(value, Mapping) and any(
        isinstance(item, Mapping) or (isinstance(item, str) and "\n" in item)
        for item in value.values()
    )


def toml_value(value: Any) -> str:
    """A string, boolean, number, or list or mapping of these as TOML.

    Raises
    ------
    TypeError
        For anything else.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(k)} = {toml_value(v)}' for k, v in value.items())}}}"
    raise TypeError(f"{value!r} cannot be written as TOML")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _basic_string(name)


def _string(text: str) -> str:
    literal = "'''" not in text and not text.endswith("'")
    if "\n" in text and literal and all(c.isprintable() or c in "\n\t" for c in text):
        return f"'''\n{text}'''"
    return _basic_string(text)


def _basic_string(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL, which JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
