"""Temporary files and folders that a killed process does not leave for ever.

They are named after the process that makes them. What a process of this machine left that is gone,
the next one removes that makes something temporary in the same folder.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from eprop_brian.base.interrupts import uninterrupted

__all__ = ["remove_remains", "temporary_file", "temporary_folder"]

#: What a file system says where no more can be written.
_FULL = (errno.ENOSPC, errno.EDQUOT)
#: In a name: the machine, and the process on it.
_OWNER = re.compile(r"~([0-9a-f]{8})-([0-9]+)~")


@contextlib.contextmanager
def temporary_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """Make a folder, and remove it at the end of the block.

    Parameters
    ----------
    prefix : str
        The beginning of its name.
    parent : Path, optional
        Where to make it; default: where the system's temporary files are, which an error names if
        that is full.
    """
    with contextlib.ExitStack() as stack:
        if parent is None:
            parent = Path(tempfile.gettempdir())
            stack.enter_context(_naming_if_full(parent))
        remove_remains(parent, prefix)
        # No signal comes between making it and knowing that it is to be removed.
        with uninterrupted():
            folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix + _owner()))
            stack.callback(_remove, folder)
        yield folder


@contextlib.contextmanager
def temporary_file(prefix: str, suffix: str, parent: Path) -> Iterator[Path]:
    """Make an empty file, and remove it at the end of the block if it is still there."""
    remove_remains(parent, prefix)
    with contextlib.ExitStack() as stack:
        with uninterrupted():
            handle, name = tempfile.mkstemp(dir=parent, prefix=prefix + _owner(), suffix=suffix)
            stack.callback(_remove, Path(name))
            os.close(handle)
        yield Path(name)


@contextlib.contextmanager
def _naming_if_full(folder: Path) -> Iterator[None]:
    """Have the error of a disk that is full name the folder, and the variable that moves it."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise type(error)(
            f"nothing more can be written to {folder}, where temporary files are kept: "
            f"{error.strerror}. Make room there, or name another folder in $TMPDIR"
        ) from error


def remove_remains(parent: Path, prefix: str) -> None:
    """Remove what processes of this machine that are gone left in a folder, with such a name."""
    machine = _machine()
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            owner = _OWNER.match(entry.name, len(prefix)) if entry.name.startswith(prefix) else None
            if owner and owner[1] == machine and not _is_running(int(owner[2])):
                _remove(Path(entry.path))


def _owner() -> str:
    return f"~{_machine()}-{os.getpid()}~"


@functools.cache
def _machine() -> str:
    """What the number of a process belongs to: a machine, and a container on it."""
    try:
        container = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        container = 0
    return hashlib.sha256(f"{socket.gethostname()} {container}".encode()).hexdigest()[:8]


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _remove(path: Path) -> None:
    """Remove a file or folder that may be gone; a signal waits until that is done."""
    with uninterrupted(), contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
