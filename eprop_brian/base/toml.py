"""Writing TOML, which the standard library only reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["toml_array", "toml_table", "toml_value"]


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
