"""Brian2 and Matplotlib, imported in such a way that no file of the working folder is run.

Brian2 evaluates a file ``brian_preferences`` of the working folder as Python while it is imported,
and Matplotlib evaluates parts of a ``matplotlibrc`` there. The working folder may be one that
somebody else has filled. So where one of these files is, both are imported with this package's
folder as the working folder, which all threads of the process see meanwhile.
Their files in the user's home are read as ever, and so is the one that ``$MATPLOTLIBRC`` names.
Where a program has imported either library by itself, that is done, and nothing is changed.

In a process of the command Brian2 is imported without what it does not need for the command, which
is more than half of the time that it takes: Pyplot, whose names it offers beside its own, Cython,
pytest, what NumPy has for tests and for Fortran, and the rest of setuptools where Python has a
distutils of its own.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["guard_imports"]


#: What is evaluated in a working folder.
_EVALUATED = ("brian_preferences", "matplotlibrc")
#: What the command leaves out of Brian2.
_LEFT_OUT = ("pylab", "matplotlib", "Cython", "pytest")
#: The module of SciPy that takes all names of NumPy, as Brian2 does, and what neither then uses.
_OF_SCIPY = "scipy._lib.array_api_compat.numpy"
_OF_NUMPY = ("f2py", "testing")
_Context = Callable[[], contextlib.AbstractContextManager[None]]


def guard_imports(*, for_command: bool = False) -> None:
    """Guard the imports of Brian2 and Matplotlib that are still to come.

    Parameters
    ----------
    for_command : bool
        Whether this is a process of the command. Brian2 then leaves the answer to Ctrl-C as it is,
        takes no warnings into its log, leaves out what the command does not use, and writes no log
        of this process, and no copy of its script, into the folder of temporary files.
    """
    sys.meta_path.insert(0, _Guard(for_command))


class _Guard:
    """Finds the guarded libraries where they are, and has them executed with care."""

    def __init__(self, for_command: bool) -> None:
        self._for_command = for_command

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        contexts = self._contexts(name)
        if not contexts:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next(filter(None, found), None)
        loader: Any = spec and spec.loader
        if loader is not None:
            # Of this loader alone, which stays what it is for whoever asks for its source.
            loader.exec_module = functools.partial(_execute, loader.exec_module, contexts)
        return spec

    def _contexts(self, name: str) -> list[_Context]:
        """What a module is executed in; none for one that is not guarded."""
        if name == "matplotlib":
            return [_elsewhere]
        if name == _OF_SCIPY and self._for_command:
            return [_without_modules_of_numpy]
        if name != "brian2":
            return []
        guards: list[_Context] = [_elsewhere, _away_from_main_thread]
        if not self._for_command:
            return [*guards, _still_ignoring]
        guards += [_keeping_answer, _keeping_warnings, _without_unused]
        return [*guards, _without_modules_of_numpy, _logs_removed]


def _execute(
    execute: Callable[[ModuleType], None],
    contexts: Sequence[_Context],
    module: ModuleType,
) -> None:
    with contextlib.ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context())
        execute(module)


@contextlib.contextmanager
def _logs_removed() -> Iterator[None]:
    """Remove the files that Brian2 opens; of a killed process the next one removes them."""
    import logging
    import tempfile

    from eprop_brian.base.temporary import temporary_folder

    before = tempfile.tempdir
    with temporary_folder("eprop_brian_") as folder:
        tempfile.tempdir = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before
        from brian2.utils.logger import BrianLogger

        handler, logger = BrianLogger.file_handler, logging.getLogger("brian2")
        if handler is not None:
            logger.removeHandler(handler)
            handler.close()
        if BrianLogger.console_handler is not None:
            # What the file alone would have, several lines about every object, is not made.
            logger.setLevel(BrianLogger.console_handler.level)
        BrianLogger.file_handler = BrianLogger.tmp_log = BrianLogger.tmp_script = None


@contextlib.contextmanager
def _without_unused() -> Iterator[None]:
    """Let libraries that are not used seem not to be installed."""
    finders = [*sys.meta_path]
    before = {name: sys.modules.pop(name) for name in _LEFT_OUT if name in sys.modules}
    # What is None there cannot be imported.
    sys.modules.update(dict.fromkeys(_LEFT_OUT))  # type: ignore[arg-type]
    if sys.version_info < (3, 12):  # with a distutils that setuptools would take the place of
        sys.meta_path[:] = [f for f in finders if type(f).__module__ != "_distutils_hack"]
    try:
        yield
    finally:
        sys.meta_path[:] = finders
        for name in _LEFT_OUT:
            del sys.modules[name]
        sys.modules.update(before)
        if sys.version_info < (3, 12):  # or setuptools would warn of it when it is imported
            for name in [name for name in sys.modules if name.partition(".")[0] == "distutils"]:
                del sys.modules[name]


@contextlib.contextmanager
def _without_modules_of_numpy() -> Iterator[None]:
    """Have others in the place of modules that NumPy imports when it is asked for all names."""
    import numpy

    names = vars(numpy)
    others = {name: ModuleType(f"numpy.{name}") for name in _OF_NUMPY if name not in names}
    names.update(others)
    try:
        yield
    finally:
        for name, other in others.items():
            if names.get(name) is other:
                del names[name]


@contextlib.contextmanager
def _keeping_answer() -> Iterator[None]:
    """Put back the answer to Ctrl-C."""
    if not _in_main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        with _still_ignoring():
            yield
    finally:
        if before is not None:  # that of a program that Python is a part of
            signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _keeping_warnings() -> Iterator[None]:
    """Leave warnings to the command, which shows them as sentences."""
    import logging

    try:
        yield
    finally:
        logging.captureWarnings(False)


@contextlib.contextmanager
def _still_ignoring() -> Iterator[None]:
    """Go on ignoring Ctrl-C in a process that does, as one in the background.

    Brian2's handler would call the one before, and fail. So a Ctrl-C waits until it is gone.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN or not _in_main_thread():
        yield
        return
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextlib.contextmanager
def _away_from_main_thread() -> Iterator[None]:
    """Let Brian2 be imported in any thread: only the main one may set an answer to Ctrl-C."""
    if _in_main_thread():
        yield
        return
    change = signal.signal

    def change_in_main_thread(number: int, handler: Any) -> Any:
        return change(number, handler) if _in_main_thread() else signal.getsignal(number)

    signal.signal = change_in_main_thread  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = change


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """Make this package's folder the working folder where a file of it would be evaluated.

    Relative places on ``sys.path`` stay valid.
    """
    # Where files of the working folder may not be looked at, nor can these be read.
    if not any(os.path.exists(name) for name in _EVALUATED):
        yield
        return
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
