"""What is said of a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from eprop_brian.base.printable import printable

__all__ = ["did_you_mean", "unknown"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint in brackets at the closest of the known names; ``""`` if none is close."""
    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def unknown(what: str, name: str, known: Iterable[str], where: str = "") -> str:
    """The message for an unknown name: which it may have meant, and which there are.

    Parameters
    ----------
    what : str
        What it should be a name of, ``"task"``.
    name : str
    known : iterable of str
        All names, in the order in which they are listed.
    where : str, optional
        Where the name stands.
    """
    known = list(known)
    hint = did_you_mean(str(name), known)  # a file may have anything in the place of a name
    begin = f"{where}: " if where else ""
    shown = printable(str(name))
    return f"{begin}unknown {what} '{shown}'{hint}. There are: {', '.join(known) or 'none'}"
