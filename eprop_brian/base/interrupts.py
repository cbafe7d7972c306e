"""What Ctrl-C, a polite kill and a closed terminal do: raise, but not in the middle of saving.

The command `eprop-brian` answers them from its first import to its last line, see
`answer_as_command`.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

__all__ = [
    "COMMAND",
    "INTERRUPTED",
    "answer_as_command",
    "begun_without_interrupts",
    "end_without_libraries",
    "let_interrupts_through",
    "raising_interrupts",
    "uninterrupted",
]

#: Name of the command, as its process has it.
COMMAND = "eprop-brian"
#: Exit status of a command that was interrupted: what shells report of Ctrl-C.
INTERRUPTED = 130
#: Signals that ask a process to end.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds after which a signal is sent again whose KeyboardInterrupt nobody could catch.
_AGAIN = 0.05


def answer_as_command() -> bool:
    """Let a signal end the process of the command with one line, while nothing has begun.

    Called before the imports, which take seconds. Other programs that import the package keep
    their own handlers. Processes that the command starts for jobs leave signals to it.

    Returns
    -------
    bool
        Whether this is a process of the command.
    """
    if not _is_command():
        return False
    _open_standard_streams()
    # A process of a pool imports this before it knows its parent.
    is_job = multiprocessing.current_process().name != "MainProcess"
    for number in _changeable():
        signal.signal(number, _leave_to_the_command if is_job else _end)
    return True


def _open_standard_streams() -> None:
    """Have the first three descriptors open: a file that took a closed one's would be written to.

    Programs that the command starts, such as a compiler, write their errors there.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)


def end_without_libraries() -> None:
    """Let the process of the command end as interrupted once all blocks are left, and no later.

    What libraries do while Python ends they do not expect in the middle of their work: threads of
    JAX that are still computing end the process by a segmentation fault.
    """
    if _is_command():
        # The last to be registered is the first to be called.
        atexit.register(_leave)


def _leave() -> None:
    # Every process of a pool calls it likewise.
    multiprocessing.util._exit_function()  # type: ignore[attr-defined]
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(INTERRUPTED)


def _is_command() -> bool:
    folder, name = os.path.split(sys.argv[0])
    # While ``python -m`` imports the package, the name of the program is "-m".
    as_module = name == "-m" and "eprop_brian" in sys.orig_argv
    as_module |= (os.path.basename(folder), name) == ("eprop_brian", "__main__.py")
    return (name == COMMAND or as_module) and _in_main_thread()


def _end(*_: Any) -> None:
    with contextlib.suppress(OSError):
        os.write(2, b"\ninterrupted\n")
    os._exit(INTERRUPTED)


def _leave_to_the_command(*_: Any) -> None:
    """Do nothing: the command ends the jobs of its processes (`eprop_brian.runs.processes`)."""


@contextlib.contextmanager
def raising_interrupts(*, to_the_end: bool = False) -> Iterator[Callable[[], None]]:
    """Let all signals that ask the process to end raise KeyboardInterrupt, as Ctrl-C does.

    Brian2's own answer to Ctrl-C, which ends a simulation as if it were done, is off meanwhile.
    A KeyboardInterrupt that falls into code whose exceptions Python drops, such as ``__del__``,
    is raised once more.

    Parameters
    ----------
    to_the_end : bool
        Whether nothing follows the block in the process of the command, where signals then change
        nothing any more.

    Yields
    ------
    callable
        When it has been called, signals change nothing until the end of the block.
    """
    raising = True

    def interrupt(*_: Any) -> None:
        if raising:
            raise KeyboardInterrupt

    def conclude() -> None:
        nonlocal raising
        raising = False

    with _handled(interrupt, to_the_end), _raised_again():
        yield conclude


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off signals that ask the process to end until a block is done, or has failed."""
    with (
        contextlib.ExitStack() as waiting,
        _handled(lambda number, _: waiting.callback(signal.raise_signal, number)),
    ):
        yield


@contextlib.contextmanager
def begun_without_interrupts() -> Iterator[None]:
    """Have processes that are started in a block begin with signals that wait.

    They come when the process has said how it answers them, by `let_interrupts_through`: in its
    first imports Python itself would answer, by a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_interrupts_through() -> None:
    """Let the signals come that have waited since this process began."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


@contextlib.contextmanager
def _handled(
    handler: Callable[[int, FrameType | None], object], to_the_end: bool = False
) -> Iterator[None]:
    """Handle the signals that are not ignored; they come to the main thread alone."""
    if not _in_main_thread():
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
        for kind in _changeable():
            before[kind] = signal.getsignal(kind)
            if to_the_end and before[kind] is _end:
                # Python itself puts back handlers that are its own while it ends, but not this.
                before[kind] = signal.SIG_IGN
            signal.signal(kind, answer)
        yield
    finally:
        active = False
        for number, previous in before.items():
            signal.signal(number, previous)


@contextlib.contextmanager
def _raised_again() -> Iterator[None]:
    """Send a signal again if Python has dropped the KeyboardInterrupt that it raised.

    It comes before the block is left, and not to what follows.
    """
    before, timers = sys.unraisablehook, list[threading.Timer]()

    def hook(dropped: Any) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            # Later, or it would be dropped again; to the main thread, which may have to be woken.
            for number in _changeable()[:1]:
                to_main = (threading.main_thread().ident, number)
                timer = threading.Timer(_AGAIN, signal.pthread_kill, to_main)
                timer.daemon = True
                timers.append(timer)
                timer.start()
        else:
            before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        is_due = any(not timer.finished.is_set() for timer in timers)
        for timer in timers:
            timer.cancel()
            timer.join()
        if is_due:
            signal.raise_signal(_changeable()[0])


def _changeable() -> list[signal.Signals]:
    """Signals that this process may answer: an ignored one stays so (nohup, a job with ``&``)."""
    # None: a handler that is not Python's.
    return [n for n in _SIGNALS if signal.getsignal(n) not in (None, signal.SIG_IGN)]


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
