"""Progress bars, which are never worth a training, and announcements of what takes a while."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["TERMINAL", "announce", "announced", "progress_bar"]

#: Who hears of announcements.
_listeners: list[Callable[[str], object]] = []


@contextlib.contextmanager
def announced(listener: Callable[[str], object]) -> Iterator[None]:
    """Have a listener hear, within a block, what takes a while when it begins; each text once."""
    heard = set()

    def once(text: str) -> None:
        if text not in heard:
            heard.add(text)
            listener(text)

    _listeners.append(once)
    try:
        yield
    finally:
        _listeners.remove(once)


def announce(text: str) -> None:
    """Say, to whoever listens, that something begins that takes a while."""
    for listener in [*_listeners]:
        listener(text)


class _Terminal(io.TextIOBase):
    """The standard error, where what cannot be written is left out: it may be closed or full."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
            if text.endswith("\n"):  # the end of a bar, before other lines
                sys.stderr.flush()
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()

    def fileno(self) -> int:
        return sys.stderr.fileno()

    def isatty(self) -> bool:
        return sys.stderr.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(sys.stderr, "encoding", None) or "ascii"


#: Where all bars are written; what is written beside them clears those of this file.
TERMINAL = _Terminal()


def progress_bar(total: int, done: int, unit: str, *, shown: bool, **options: Any) -> tqdm:
    """Make a bar on the standard error, or in a notebook one of its widgets.

    Parameters
    ----------
    total, done : int
        Steps of all the work, and those that are done before.
    unit : str
        What a step is called.
    shown : bool
        Whether to show it; it is not where there is no standard error, or nothing is left to do.
    **options
        Of `tqdm.tqdm`.
    """
    # Imported here: the help of the command should not wait for it.
    from tqdm import tqdm

    shown = shown and done < total and sys.stderr is not None
    where: dict[str, Any] = {"disable": not shown, "file": TERMINAL}
    kind: type[tqdm] = tqdm
    if shown and _widgets_are_drawn():
        from tqdm.notebook import tqdm as notebook_bar

        # A width of its own makes it as wide as the notebook.
        kind, where = notebook_bar, {"ncols": "100%"}
    return kind(total=total, initial=done, unit=unit, **where, **options)


def _widgets_are_drawn() -> bool:
    """Whether this is a notebook with ipywidgets, without which tqdm writes a bar of text."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    is_notebook = shell is not None and "IPKernelApp" in shell.config
    return is_notebook and find_spec("ipywidgets") is not None
