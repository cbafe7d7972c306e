"""What comes of trials with things that are broken, counted."""

from __future__ import annotations

import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from brian2 import DimensionMismatchError

import eprop_brian
from eprop_brian import equations, tasks

__all__ = ["COLUMNS", "COUNTS", "outcome", "table"]

#: What may come of a trial: it went well, or was refused in words; of the rest there must be none.
COLUMNS = ("clean", "recovered", "lost", "executed", "tracebacks")
#: Trials by what was tried and what came of it, of this session of tests.
COUNTS: dict[str, Counter] = {}
#: The package's own modules.
_OWN = tuple(str(Path(x.__file__).resolve().parent) for x in (eprop_brian, equations, tasks))


def outcome(work: Callable[[], object]) -> tuple[str, str]:
    """What comes of reading something, ``"clean"``, ``"recovered"`` or ``"tracebacks"``, and why.

    It is recovered if it is refused by a `raise` of this package, with a message that acts on no
    terminal: an error that arises anywhere else was not foreseen, nor a warning that does.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
        for warning in caught:
            if "gymnasium" in Path(warning.filename).parts:
                continue  # it colours all that it says; the command shows that without colours
            if not _acts_on_nothing(text := str(warning.message)):
                return "tracebacks", f"{warning.filename}:{warning.lineno}: warns {text!r}"
    except (ValueError, TypeError, OSError, DimensionMismatchError) as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = str(error)
        foreseen = place.filename.startswith(_OWN) and (place.line or "").startswith("raise")
        if foreseen and _acts_on_nothing(said):
            return "recovered", said
        return "tracebacks", f"{place.filename}:{place.lineno}: {type(error).__name__}: {said!r}"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return "tracebacks", f"{place.filename}:{place.lineno}: {type(error).__name__}: {error!r}"
    return "clean", ""


def _acts_on_nothing(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


def table() -> str:
    """The counts as a table of the documentation."""
    rows = [
        f"| {what} | {sum(counts.values())} | {' | '.join(str(counts[c]) for c in COLUMNS)} |"
        for what, counts in COUNTS.items()
    ]
    head = f"| what | tried | {' | '.join(COLUMNS)} |"
    return "\n".join([head, "|---" * (2 + len(COLUMNS)) + "|", *rows])
