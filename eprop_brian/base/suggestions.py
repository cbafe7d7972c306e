"""What is said of a name that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from eprop_brian.base.printable import printable

__all__ = ["did_you_mean", "unknown"]


#: How alike a name and a part of a known one are at least.
_PART_CUTOFF = 0.75
_SHORTEST_PART = 4


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint in brackets at the closest of the known names; ``""`` if none is close.

    A name may also be close to one of the parts between hyphens, underscores and dots.
    """
    known = list(known)
    close = get_close_matches(name, known, n=1)
    if not close:
        # Of several names with the same part the first counts.
        parts = {part: whole for whole in reversed(known) for part in re.split(r"[-_.]", whole)}
        long = [part for part in parts if len(part) >= _SHORTEST_PART]
        close = [parts[part] for part in get_close_matches(name, long, 1, _PART_CUTOFF)]
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
