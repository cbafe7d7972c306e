"""Brian2 and Matplotlib, imported in such a way that no file of the working folder is run.

Brian2 evaluates a file ``brian_preferences`` of the working folder as Python while it is imported,
and Matplotlib evaluates parts of a ``matplotlibrc`` there. The working folder may be one that
somebody else has filled. So where one of these files is, both are imported with this package's
folder as the working folder, which all threads of the process see meanwhile.
Their files in the user's home are read as ever, and so is the one that ``$MATPLOTLIBRC`` names.
Where a program has imported either library by itself, that is done, and nothing is changed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

__all__ = ["import_libraries"]


#: What is evaluated in a working folder.
_EVALUATED = ("brian_preferences", "matplotlibrc")


def import_libraries() -> None:
    """Import Brian2, and Matplotlib with it."""
    handler = signal.getsignal(signal.SIGINT)
    # Where files of the working folder may not be looked at, nor can these be read.
    evaluated = any(os.path.exists(name) for name in _EVALUATED)
    with _elsewhere() if evaluated else contextlib.nullcontext():
        import brian2  # noqa: F401
        import matplotlib  # noqa: F401 - Brian2 can do without, and then does not import it
    in_main_thread = threading.current_thread() is threading.main_thread()
    if handler is signal.SIG_IGN and in_main_thread:
        # Of a process in the background. Brian2's handler would call it, and fail.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """Make this package's folder the working folder; relative places on sys.path stay valid."""
    before = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))
    try:
        places = list(sys.path)
        sys.path[:] = [os.path.abspath(place) for place in places]
        absolute = list(sys.path)
        os.chdir(Path(__file__).parent)
        try:
            yield
        finally:
            os.fchdir(before)
            # Unless a library has changed it.
            if sys.path == absolute:
                sys.path[:] = places
    finally:
        os.close(before)
