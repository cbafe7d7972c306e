"""Text as a terminal may show it, and as it can be pasted into one."""

from __future__ import annotations

import contextlib
import re
import shlex
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

__all__ = ["noting_warnings", "pasteable", "printable", "uncoloured", "warn"]

#: What notes every message of `warn`, if something does.
_notes: ContextVar[list[str] | None] = ContextVar("notes", default=None)

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
    if (notes := _notes.get()) is not None:
        notes.append(message)
    warnings.warn(printable(message), stacklevel=stacklevel + 1)


@contextlib.contextmanager
def noting_warnings() -> Iterator[list[str]]:
    """Give a list that holds, at the end of the block, what `warn` said in it."""
    said: list[str] = []
    outer = _notes.get()
    token = _notes.set(said)
    try:
        yield said
    finally:
        _notes.reset(token)
        if outer is not None:
            outer += said
