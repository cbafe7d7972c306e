"""Text as a terminal may show it, and as it can be pasted into one."""

from __future__ import annotations

import re
import shlex
import warnings
from pathlib import Path

__all__ = ["pasteable", "printable", "uncoloured", "warn"]

#: What begins and ends a colour, as libraries write it.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def pasteable(path: str | Path) -> str:
    """A path as an argument of a command that a shell reads, whatever characters are in it."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def printable(text: str) -> str:
    """The text with a question mark for everything that would act on a terminal.

    Line feeds stay; a tab becomes a space.
    """
    return "".join(c if c.isprintable() or c == "\n" else " " if c == "\t" else "?" for c in text)


def uncoloured(text: str) -> str:
    """What a library says, without its colours."""
    return _COLOUR.sub("", text)


def warn(message: str, stacklevel: int = 1) -> None:
    """Warn as `warnings.warn` does, of the caller of this function at `stacklevel` 1."""
    warnings.warn(printable(message), stacklevel=stacklevel + 1)
