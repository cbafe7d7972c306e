"""Folders that one process alone writes to.

A lock belongs to the process that holds it and ends with it, however it ends: none is left behind
by a process that was killed. Reading needs no lock, as every file is replaced as a whole.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

__all__ = ["LOCK", "claimed", "locked"]

#: The file that is locked in a folder; exported programs lock it too.
LOCK = ".lock"
#: What a file system says that has no locks. There, nothing is kept from other processes.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
#: How often a folder is made again that other processes remove.
_ATTEMPTS = 1000
#: Folders that this process has claimed: how often, and by which open file.
_counts: Counter[Path] = Counter()
_handles: dict[Path, int] = {}
_changing = threading.Lock()


@contextlib.contextmanager
def claimed(folder: Path, *, new: bool = False) -> Iterator[None]:
    """Make a folder if it is not there, and keep other processes from writing to it.

    A process may claim a folder again that it has claimed, if it is still there. Folders that were
    made for this and are empty at the end are removed.

    Parameters
    ----------
    folder : Path
    new : bool
        Whether the folder must not be there before.

    Raises
    ------
    FileExistsError
        If it must not be there, and is.
    ValueError
        If another process has claimed it, it cannot be written, or it was claimed and is gone.
    """
    folder = Path(folder)
    made: list[Path] = []
    try:
        with _changing:
            key = folder.resolve()
            if new or not _counts[key]:
                _handles[key] = _take(folder, new, made)
            elif not _is_of(_handles[key], key / LOCK):
                _take_again(key)
            _counts[key] += 1
        try:
            yield
        finally:
            with _changing:
                _counts[key] -= 1
                if not _counts[key]:
                    _give_back(key / LOCK, _handles.pop(key))
    finally:
        for path in reversed(made):
            with contextlib.suppress(OSError):  # something is in it
                path.rmdir()


def _take(folder: Path, new: bool, made: list[Path]) -> int:
    """Make a folder and lock it; says which folders were made."""
    attempt = 0
    while True:
        attempt += 1
        try:
            _make(folder, new, made)
            return _lock(folder / LOCK, wait=False)
        except FileNotFoundError as error:
            # Another process made the folder, and has removed it; or none can be made, as in /proc.
            if attempt == _ATTEMPTS:
                raise ValueError(f"cannot write to {folder}: {error.strerror}") from None
        except BlockingIOError:
            raise ValueError(
                f"another process is writing to {folder}: wait until it has ended, or choose "
                "another folder"
            ) from None
        except OSError as error:
            if new and isinstance(error, FileExistsError):
                raise
            raise ValueError(f"cannot write to {folder}: {error.strerror}") from None


def _take_again(folder: Path) -> None:
    """Lock a claimed folder whose lock somebody has deleted, if it is still there itself."""
    if not folder.is_dir():
        raise ValueError(
            f"{folder} is gone: it was deleted or moved while this process was writing to it"
        )
    handle = _take(folder, False, [])
    os.close(_handles[folder])
    _handles[folder] = handle


def _make(folder: Path, new: bool, made: list[Path]) -> None:
    for path in (*reversed(folder.parents), folder):
        must_be_new = new and path == folder and path not in made
        if path.is_dir() and not must_be_new:
            continue
        try:
            path.mkdir()
            made.append(path)
        except FileExistsError:
            if must_be_new:
                raise
            if not path.is_dir():
                # No FileExistsError, which has the caller choose another name for the folder.
                raise NotADirectoryError(errno.ENOTDIR, f"{path} is not a folder") from None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, once no other process or thread holds it.

    Parameters
    ----------
    path : Path
        Of the file, in a folder that is there.
    """
    handle = _lock(path, wait=True)
    try:
        yield
    finally:
        _give_back(path, handle)


def _lock(path: Path, wait: bool) -> int:
    """Open and lock a file; BlockingIOError if it is locked and there is no waiting."""
    while True:
        # A link would make a file somewhere else.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # Who held it before has removed it, unless the file is still this one.
            if _is_of(handle, path):
                return handle
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return handle
            os.close(handle)
            raise
        os.close(handle)


def _give_back(path: Path, handle: int) -> None:
    # In a folder that took the place of this one, it may be another process's.
    with contextlib.suppress(OSError):
        if _is_of(handle, path):
            path.unlink()
    os.close(handle)


def _is_of(handle: int, path: Path) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
