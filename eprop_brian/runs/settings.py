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

from eprop_brian.base.checks import check_choice, is_finite
from eprop_brian.base.suggestions import unknown
from eprop_brian.base.toml import read_toml
from eprop_brian.symbolic.parameters import parse_quantity

__all__ = [
    "Schema",
    "Setting",
    "Table",
    "Tables",
    "as_quantity",
    "check_tables",
    "entry_name",
    "listed",
    "model_setting",
    "read_results",
    "read_tables",
    "read_value",
    "with_defaults",
]

#: Settings by table and key, as a file has them; of a table that may come several times, a list.
Tables = Mapping[str, Any]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_names(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(is_finite(v) and v > 0 for v in value)


#: Kinds of values: how one is recognised, and what it is called.
_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "switch": (lambda value: isinstance(value, bool), "true or false"),
    "count": (_is_count, "a whole number"),
    "number": (is_finite, "a finite number"),
    "text": (lambda value: isinstance(value, str), "text"),
    "names": (_is_names, "a name or a list of names"),
    "numbers": (_is_list, "a list of positive numbers"),
    "quantity": (
        lambda value: isinstance(value, str),
        "a number with a unit, e.g. '0.1 ms' or '20 Hz'",
    ),
    # What only the object that it is meant for can judge.
    "value": (lambda value: True, ""),
}


#: Texts that a line of documentation lists, at most.
_MOST_LISTED = 8


def listed(choices: Iterable[str]) -> str:
    """The texts that are allowed, as the end of a line; empty if there is no choice, or a wide one.

    Examples
    --------
    >>> listed(["trial", "batch", "moving"])
    ' (`trial`, `batch` or `moving`)'
    """
    *others, last = [f"`{choice}`" for choice in choices] or [""]
    return f" ({', '.join(others)} or {last})" if 0 < len(others) < _MOST_LISTED else ""


@dataclass(frozen=True)
class Setting:
    """One setting.

    Parameters
    ----------
    kind : str
        ``"switch"``, ``"count"``, ``"number"``, ``"text"``, ``"names"``, ``"numbers"``,
        ``"quantity"``, or ``"value"``, which is checked by the object that it is passed to.
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
    def meaning(self) -> str:
        """What it is, with the texts that are allowed, unless there are too many for a line."""
        return self.doc + listed(self.choices or ())

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


def model_setting(name: str) -> Setting:
    """The setting ``run.model`` of a model."""
    doc = "kind of network and of learning, from which all other tables follow"
    return Setting("text", doc, default=name, choices=(name,))


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
    many : bool
        Whether a file may have it several times, ``[[table]]``.
    optional : bool
        Whether a file of all settings leaves it away where none of its settings has a value.
    """

    doc: str
    settings: Mapping[str, Setting] = field(default_factory=dict)
    further: Callable[[Tables], Mapping[str, Setting]] | None = None
    further_doc: str = ""
    many: bool = False
    optional: bool = False

    def all_settings(self, tables: Tables) -> Mapping[str, Setting]:
        """Settings by key, those that follow from other tables included."""
        further = {} if self.further is None else self.further(tables)
        return {**self.settings, **further}


#: The tables of a model by name.
Schema = Mapping[str, Table]


def with_defaults(schema: Schema, tables: Tables) -> dict[str, Any]:
    """Tables in the schema's order, with the default of every setting that is left out."""
    filled: dict[str, Any] = {}
    for name, table in schema.items():
        if table.many:
            filled[name] = list(tables.get(name, []))
            continue
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
        if schema[name].many is not isinstance(values, list):
            right, wrong = (f"[[{name}]]", f"[{name}]")[:: 1 if schema[name].many else -1]
            raise ValueError(f"{begin}write {right}, not {wrong}")
        settings = schema[name].all_settings(tables)
        for number, entries in enumerate(values if schema[name].many else [values], 1):
            place = entry_name(name, number, entries) if schema[name].many else f"[{name}]"
            for key, value in entries.items():
                if key not in settings:
                    raise ValueError(unknown("key", key, settings, f"{begin}{place}"))
                try:
                    settings[key].check(f"{name}.{key}", value)
                except ValueError as error:
                    if schema[name].many:
                        error = ValueError(f"{place}: {error}")
                    raise ValueError(f"{begin}{error}") from None


def entry_name(table: str, number: int, entries: Mapping[str, Any]) -> str:
    """What errors call one of several tables of a name: by its number in the file, and its name."""
    name = entries.get("name")
    return f"[[{table}]] {number}" + (f" {name!r}" if name and isinstance(name, str) else "")


def read_tables(path: Path) -> dict[str, Any]:
    """Read the tables of a file.

    Raises
    ------
    ValueError
        If the file is missing, is not TOML, or has values outside its tables.
    """
    try:
        tables = read_toml(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise ValueError(f"{path}: {reason}") from None
    except ValueError as error:  # among them tomllib.TOMLDecodeError
        raise ValueError(f"{path}: is not readable as TOML: {error}") from None
    for name, values in tables.items():
        several = isinstance(values, list) and all(isinstance(item, dict) for item in values)
        if not isinstance(values, dict) and not (several and values):
            raise ValueError(f"{path}: {name} stands outside of the tables, such as [run]")
    return tables


def read_results(path: Path) -> dict[str, float]:
    """Read what a test has shown: the table ``[results]``, numbers by name.

    Raises
    ------
    ValueError
        As `read_tables`, or if there is no such table of numbers.
    """
    results = read_tables(path).get("results")
    if not isinstance(results, dict) or not all(
        isinstance(value, float) or is_finite(value) for value in results.values()
    ):
        raise ValueError(
            f"{path} lacks the table [results] of numbers: delete the file and test the run again, "
            "with `eprop-brian train --resume`"
        )
    return {name: float(value) for name, value in results.items()}


def read_value(text: str) -> Any:
    """Read a TOML value, or the bare text (``30 ms`` and ``adam`` need no quotes)."""
    try:
        return read_toml(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    except ValueError as error:
        raise ValueError(f"{text[:40]} ... is not readable as a value: {error}") from None


def as_quantity(value: Any, where: str) -> Any:
    """Read text that begins with a number as a quantity; other values stay as they are."""
    if isinstance(value, str) and value[:1] in "+-.0123456789" and value:
        return parse_quantity(value, where)
    if isinstance(value, list):
        return tuple(as_quantity(item, where) for item in value)
    return value
