"""What Ctrl-C, a polite kill and a closed terminal do: raise, but not in the middle of saving."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

__all__ = ["raising_interrupts", "uninterrupted"]

#: Signals that ask a process to end.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def raising_interrupts() -> Iterator[None]:
    """Let all signals that ask the process to end raise KeyboardInterrupt, as Ctrl-C does.

    Brian2's own answer to Ctrl-C, which ends a simulation as if it were done, is off meanwhile.
    """

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with _handled(interrupt):
        yield


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off signals that ask the process to end until a block is done, or has failed."""
    with (
        contextlib.ExitStack() as waiting,
        _handled(lambda number, _: waiting.callback(signal.raise_signal, number)),
    ):
        yield


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Handle the signals that are not ignored; they come to the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}
    active = True

    def answer(number: int, frame: FrameType | None) -> None:
        if active:
            handler(number, frame)
            return
        # A signal that came while handlers were put back: this one may have stayed.
        signal.signal(number, before[number])
        signal.raise_signal(number)

    try:
        for kind in _SIGNALS:
            present = signal.getsignal(kind)
            # None: not Python's to change. An ignored one stays so (nohup).
            if present is not None and present is not signal.SIG_IGN:
                before[kind] = present
                signal.signal(kind, answer)
        yield
    finally:
        active = False
        for number, previous in before.items():
            signal.signal(number, previous)
