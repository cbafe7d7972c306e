"""Settings as data: what a table of ``config.toml`` may hold, how it is checked and what it means.

A model has a schema, tables by name; a table has settings by key. The same schema checks what a
user sets and what a file says, fills in defaults, and is printed in the documentation.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brian2.units.fundamentalunits import Quantity, have_same_dimensions

from eprop_brian.base.checks import check_choice, is_number
from eprop_brian.base.suggestions import unknown
from eprop_brian.symbolic.parameters import parse_quantity

__all__ = [
    "Schema",
    "Setting",
    "Table",
    "Tables",
    "check_tables",
    "read_tables",
    "read_value",
    "with_defaults",
]

#: Settings by table and key, as a file has them.
Tables = Mapping[str, Mapping[str, Any]]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(_is_finite(v) and v > 0 for v in value)


#: Kinds of values: how one is recognised, and what it is called.
_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "switch": (lambda value: isinstance(value, bool), "true or false"),
    "count": (_is_count, "a whole number"),
    "number": (_is_finite, "a finite number"),
    "text": (lambda value: isinstance(value, str), "text"),
    "numbers": (_is_list, "a list of positive numbers"),
    "quantity": (
        lambda value: isinstance(value, str),
        "a number with a unit, e.g. '0.1 ms' or '20 Hz'",
    ),
    # What only the object that it is meant for can judge.
    "value": (lambda value: True, ""),
}


@dataclass(frozen=True)
class Setting:
    """One setting.

    Parameters
    ----------
    kind : str
        ``"switch"``, ``"count"``, ``"number"``, ``"text"``, ``"numbers"``, ``"quantity"``, or
        ``"value"``, which is checked by the object that it is passed to.
    doc : str
        One line.
    default : object, optional
        Value where neither a recipe nor a user sets one; None: it is left out.
    least, most : float
        Bounds of a number.
    choices : iterable of str, optional
        The texts that are allowed.
    unit : Quantity, optional
        Unit of a quantity.
    shown : str, optional
        The default in the documentation, if it is not `default`.
    """

    kind: str
    doc: str
    default: Any = None
    least: float = -math.inf
    most: float = math.inf
    choices: Iterable[str] | None = None
    unit: Quantity | None = None
    shown: str = ""

    @property
    def shown_default(self) -> str:
        """The default as the documentation shows it; empty if there is none."""
        text = self.shown or ("" if self.default is None else str(self.default))
        return f"`{text}`" if text else ""

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError, naming the setting, for a value of another kind or out of bounds."""
        table, _, key = name.partition(".")
        if self.choices is not None:
            check_choice(table if key == "name" else key, value, self.choices)
        fits, description = _KINDS[self.kind]
        if not fits(value):
            raise ValueError(f"{name} = {value!r} must be {description}")
        if self.kind in ("count", "number") and not self.least <= value <= self.most:
            if self.most == math.inf:
                raise ValueError(f"{name} must be at least {self.least}, not {value}")
            raise ValueError(f"{name} must be {self.least} to {self.most}, not {value}")
        if self.unit is None:
            return
        if not have_same_dimensions(parse_quantity(value, name), self.unit):
            raise ValueError(
                f"{name} = {value!r} has the wrong unit: write a quantity in {self.unit!r}"
            )


@dataclass(frozen=True)
class Table:
    """A table of settings.

    Parameters
    ----------
    doc : str
        One sentence.
    settings : mapping of str to Setting
        Those that are there whatever the other settings are.
    further : callable, optional
        Gives the settings that follow from others, such as the parameters of the optimizer that is
        named, from all tables.
    further_doc : str
        What `further` gives, for the documentation.
    """

    doc: str
    settings: Mapping[str, Setting] = field(default_factory=dict)
    further: Callable[[Tables], Mapping[str, Setting]] | None = None
    further_doc: str = ""

    def all_settings(self, tables: Tables) -> Mapping[str, Setting]:
        """Settings by key, those that follow from other tables included."""
        further = {} if self.further is None else self.further(tables)
        return {**self.settings, **further}


#: The tables of a model by name.
Schema = Mapping[str, Table]


def with_defaults(schema: Schema, tables: Tables) -> dict[str, dict[str, Any]]:
    """Tables in the schema's order, with the default of every setting that is left out."""
    filled: dict[str, dict[str, Any]] = {}
    for name, table in schema.items():
        defaults = {key: s.default for key, s in table.settings.items() if s.default is not None}
        filled[name] = {**defaults, **tables.get(name, {})}
    return filled


def check_tables(schema: Schema, tables: Tables, where: str = "") -> None:
    """Check all settings.

    Parameters
    ----------
    schema : Schema
    tables : mapping of str to mapping
    where : str, optional
        File that messages name.

    Raises
    ------
    ValueError
        For an unknown table or key, a value of the wrong kind or unit, or one out of bounds.
    """
    begin = f"{where}: " if where else ""
    for name, values in tables.items():
        if name not in schema:
            raise ValueError(unknown("table", name, schema, where))
        settings = schema[name].all_settings(tables)
        for key, value in values.items():
            if key not in settings:
                raise ValueError(unknown("key", key, settings, f"{begin}[{name}]"))
            try:
                settings[key].check(f"{name}.{key}", value)
            except ValueError as error:
                raise ValueError(f"{begin}{error}") from None


def read_tables(path: Path) -> dict[str, dict[str, Any]]:
    """Read the tables of a file.

    Raises
    ------
    ValueError
        If the file is missing, is not TOML, or has values outside its tables.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    for name, values in tables.items():
        if not isinstance(values, dict):
            raise ValueError(f"{path}: {name} stands outside of the tables, such as [run]")
    return tables


def read_value(text: str) -> Any:
    """Read a TOML value, or the bare text (``30 ms`` and ``adam`` need no quotes)."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
