"""The settings of a run as text for people: each with its value and what it means."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from eprop_brian.base.toml import toml_value
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.settings import Setting

__all__ = ["explain", "without_links"]

#: Columns of an assignment up to which its meaning stands beside it.
_BESIDE = 36
#: Characters of a value.
_LONGEST = 90


def without_links(text: str) -> str:
    """A text of the documentation without its links and marks of code."""
    return re.sub(r"\[([^][]+)\]\([^()]+\)", r"\1", text).replace("`", "")


def explain(config: RunConfig, width: int = 100) -> str:
    """List every setting of a run, also those that have no value, with what it means.

    Parameters
    ----------
    config : RunConfig
    width : int
        Columns of the text.
    """
    lines: list[str] = []
    for name, table in config.model.schema.items():
        head = f"[[{name}]]" if table.many else f"[{name}]"
        entries = config.tables[name] if table.many else [config.tables[name]]
        settings = table.all_settings(config.tables)
        if not settings or not (entries or table.settings):
            continue
        lines += _wrapped(head, without_links(table.doc), width, indent="    ")
        if not entries:
            lines.append("    (none)")
        for values in entries:
            # Parts that come several times show what they have; the rest is in the documentation.
            shown = {key: s for key, s in settings.items() if key in values or not table.many}
            lines += _entry(shown, values, width)
            lines.append("")
    return "\n".join(lines).rstrip("\n")


def _entry(settings: Mapping[str, Setting], values: Mapping[str, Any], width: int) -> Iterator[str]:
    for key, setting in settings.items():
        default = f"(default {setting.shown})" if setting.shown else "(not set)"
        value = _short(values[key]) if key in values else default
        yield from _wrapped(f"  {key} = {value}", without_links(setting.meaning), width)


def _short(value: Any) -> str:
    """A value as a file has it; of a neuron with its equations the name, of an array the shape."""
    if isinstance(value, Mapping) and "name" in value:
        return f'"{value["name"]}"'
    if hasattr(value, "shape"):
        return f"array of shape {value.shape}"
    text = " ".join(toml_value(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."


def _wrapped(text: str, meaning: str, width: int, indent: str = "") -> list[str]:
    """A text, and its meaning beside it or below."""
    indent = indent or " " * (_BESIDE + 2)
    wrapped = textwrap.wrap(meaning, max(30, width - len(indent)))
    if not wrapped:
        return [text]
    if len(text) <= _BESIDE and len(indent) > _BESIDE:
        return [f"{text:<{len(indent)}}{wrapped[0]}", *(indent + line for line in wrapped[1:])]
    return [text, *(indent + line for line in wrapped)]
