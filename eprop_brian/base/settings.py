"""Settings of a run: ``table.key=value`` from a user, and tables from ``config.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["read_tables", "read_value"]


def read_tables(folder: Path, needed: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """Read the tables of a run's ``config.toml``.

    Parameters
    ----------
    folder : Path
    needed : mapping of str to iterable of str
        Tables that must be there, and keys that each must have.

    Raises
    ------
    ValueError
        If there is no such file, or it is damaged.
    """
    path = Path(folder) / "config.toml"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no run: there is no {path.name} in it") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    for table in needed:
        if not isinstance(tables.get(table), dict):
            raise ValueError(f"{path}: the table [{table}] is missing")
    for table, keys in needed.items():
        lacking = [key for key in keys if key not in tables[table]]
        if lacking:
            raise ValueError(f"{path}: [{table}] lacks '{lacking[0]}'")
    return tables


def read_value(text: str) -> Any:
    """A TOML value, or the bare text (``30 ms`` and ``adam`` need no quotes)."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
