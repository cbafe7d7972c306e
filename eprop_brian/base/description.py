"""Descriptions for people: a title and a table, as text and as HTML for notebooks."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from typing import Any, ClassVar

from eprop_brian.base.printable import printable

__all__ = ["Described", "Description", "assignments", "short_text"]


@dataclass(frozen=True)
class Description:
    """A table of what an object consists of.

    Attributes
    ----------
    title : str
    rows : sequence of (str, str)
        Label and text of each row. A text may have several lines; rows without text are left out.
    """

    title: str
    rows: Sequence[tuple[str, str]]

    @property
    def text(self) -> str:
        """Plain text: the title, underlined, and a row or more for each label.

        It acts on no terminal, whatever the object has from a file.
        """
        width = max((len(label) for label, text in self.rows if text), default=0)
        lines = [self.title, "-" * len(self.title)]
        for label, text in self.rows:
            for number, line in enumerate(text.splitlines()):
                lines.append(f"{'' if number else label:<{width}}  {line}".rstrip())
        return printable("\n".join(lines))

    @property
    def html(self) -> str:
        """A table with the title as its caption."""
        left = 'style="text-align: left; vertical-align: top"'
        wrapped = 'style="margin: 0; background: none; white-space: pre-wrap"'
        rows = "".join(
            f"<tr><th {left}>{escape(label)}</th>"
            f"<td {left}><pre {wrapped}>{escape(text)}</pre></td></tr>"
            for label, text in self.rows
            if text
        )
        return f"<table><caption><b>{escape(self.title)}</b></caption>{rows}</table>"


class Described:
    """What has a description: `print` writes it as text, and a notebook shows it as a table.

    What has formulas too is shown as Markdown, which notebooks typeset, with the table below.

    Attributes
    ----------
    picture : str
        ``module:function`` that draws it for notebooks, in front of the table; ``""`` if nothing
        does. Named, not imported: what draws an object knows the object, not the reverse.
    formulas : str
        ``module:function`` that writes formulas of it in Markdown, or ``""``.
    """

    picture: ClassVar[str] = ""
    formulas: ClassVar[str] = ""

    def description(self) -> Description:
        """What it consists of."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.description().text

    def _repr_html_(self) -> str | None:
        # Notebooks prefer HTML to Markdown.
        if self.formulas:
            return None
        return f"{_drawn(self, self.picture)}{self.description().html}"

    def _repr_markdown_(self) -> str | None:
        if not self.formulas:
            return None
        written = _made(self, self.formulas)
        return "\n\n".join([*([] if written is None else [written]), self.description().html])


def _made(thing: Described, path: str) -> Any:
    """What the function at ``module:function`` makes of an object; None if there is nothing."""
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)(thing)
    except ValueError:  # an empty history, for example, or equations with a mistake
        return None


def _drawn(thing: Described, path: str) -> str:
    """The figure that a function draws of an object as HTML; ``""`` if there is nothing to draw."""
    if not path:
        return ""
    from matplotlib import pyplot as plt

    figure = _made(thing, path)
    if figure is None:
        return ""
    file = io.BytesIO()
    figure.savefig(file, format="svg")
    plt.close(figure)
    title = escape(thing.description().title)
    data = base64.b64encode(file.getvalue()).decode()
    # Of its own, so that names within it are no names of the page; on white, as all figures.
    return (
        f'<img alt="{title}" style="max-width: 100%; background: white" '
        f'src="data:image/svg+xml;base64,{data}"/>'
    )


def assignments(values: Mapping[str, Any]) -> str:
    """Names with their values, one a line."""
    return "\n".join(f"{name} = {short_text(value)}" for name, value in values.items())


def short_text(value: Any) -> str:
    """A value as text; of one value per neuron, the first three."""
    if isinstance(value, str) or not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0:
        return str(value)
    items = [str(item) for item in value[:3]]
    return f"{', '.join(items)}{', ...' if len(value) > 3 else ''} ({len(value)} neurons)"
