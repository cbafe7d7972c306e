"""The cache of compiled programs, and of other things that take long to make.

Each stands in a folder that is called after a hash of what it is made of. Beside the files of such
a build stands a list of their sizes and hashes. A build that is not what was put there (cut short,
replaced, not executable any more) is made anew. Where nothing can be kept, programs live in a
temporary folder as long as the process. Builds that were not used for longest go when all together
are larger than the limit.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from eprop_brian.base.files import read_arrays, write_arrays, write_text
from eprop_brian.base.locks import locked
from eprop_brian.base.printable import warn
from eprop_brian.base.progress import announce
from eprop_brian.base.temporary import temporary_folder

__all__ = [
    "CacheError",
    "cache_folder",
    "cache_limit",
    "cached",
    "cached_arrays",
    "clear_cache",
    "kept_builds",
]

#: What moves the cache, and what limits it, in megabytes.
_FOLDER, _LIMIT = "EPROP_BRIAN_CACHE", "EPROP_BRIAN_CACHE_MB"
_DEFAULT_LIMIT_MB = 2000
_MB = 10**6
#: The list of sizes and hashes in the folder of a build.
_CHECKSUMS = "checksums"
#: The file in which `cached_arrays` keeps arrays.
_ARRAYS = "arrays.npz"
#: Seconds for which a build is not removed after it was used: its program may be started again.
_IN_USE = 24 * 3600
#: Names of what the cache makes: builds, and builds that were never finished.
_BUILD, _UNFINISHED = re.compile(r"[0-9a-f]{32}"), re.compile(r"\.building_.*")


class CacheError(RuntimeError):
    """What was made cannot be kept."""


def cache_folder() -> Path:
    """Folder of the compiled programs: ``$EPROP_BRIAN_CACHE``, else below the user's cache."""
    given = os.environ.get(_FOLDER)
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path(os.path.expanduser("~")) / ".cache"
    return Path(base) / "eprop_brian"


def cache_limit() -> int:
    """Bytes that all builds together may have: ``$EPROP_BRIAN_CACHE_MB`` megabytes, else 2000.

    Raises
    ------
    ValueError
        If the variable is not a whole number.
    """
    text = os.environ.get(_LIMIT) or str(_DEFAULT_LIMIT_MB)
    if not re.fullmatch(r"\d{1,12}", text):
        raise ValueError(f"{_LIMIT} must be a whole number of megabytes, not '{text}'")
    return int(text) * _MB


def kept_builds() -> dict[Path, int]:
    """The builds of the cache and their sizes in bytes, the one that was used last at the end."""
    with contextlib.suppress(OSError):
        folders = [path for path in cache_folder().iterdir() if _BUILD.fullmatch(path.name)]
        return {path: _size_of_build(path) for path in sorted(folders, key=_last_use)}
    return {}


@functools.cache
def _size_of_build(folder: Path) -> int:
    """Bytes of a build. It stays as it is: a process that makes many measures each once."""
    return _size(folder)


def clear_cache() -> int:
    """Remove all builds; return how many bytes that freed."""
    folder, freed = cache_folder(), 0
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # nothing was kept
        for path in [*folder.iterdir()]:
            if _BUILD.fullmatch(path.name) or _UNFINISHED.fullmatch(path.name):
                freed += _size(path)
                shutil.rmtree(path)
    return freed


def cached(
    name: str,
    make: Callable[[], Path],
    announcement: str = "building the program (a few seconds for a new network) ...",
) -> tuple[Path, bool]:
    """The folder of a build, which is made unless it is there.

    Parameters
    ----------
    name : str
        32 hexadecimal digits.
    make : callable
        Gives a folder with the finished build, which is copied.
    announcement : str
        What is said before it is made.

    Returns
    -------
    folder : Path
    made : bool
        False if it was there, as it had been made.

    Raises
    ------
    CacheError
        If it cannot be kept, as on a full disk; the message names the cache and what moves it.
    """
    if _is_sound(folder := cache_folder() / name):
        with contextlib.suppress(OSError):  # a cache that others keep up can only be read
            os.utime(folder)
        return folder, False
    parent = _usable_folder(cache_folder())
    folder = parent / name
    try:
        # Another process may be making the same: it is waited for.
        with locked(parent / f".{name}.lock"):
            made = not _is_sound(folder)
            if made:
                announce(announcement)
                _install(make(), folder)
                _remove_oldest(folder)
    except OSError as error:
        # Which hidden file could not be written says nothing to a user.
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        raise CacheError(
            f"nothing can be kept in {parent}, the cache of compiled programs: "
            f"{cause.strerror or error}. Make room there, or name another folder in ${_FOLDER}"
        ) from error
    return folder, made


def cached_arrays(
    name: str, make: Callable[[], dict[str, np.ndarray]], announcement: str
) -> dict[str, np.ndarray]:
    """Arrays that are made unless they are there.

    Parameters
    ----------
    name : str
        32 hexadecimal digits.
    make : callable
        Gives the arrays by name.
    announcement : str
        What is said before they are made.
    """
    made: dict[str, np.ndarray] = {}
    with temporary_folder("eprop_brian_arrays_") as folder:

        def make_folder() -> Path:
            made.update(make())
            write_arrays(folder / _ARRAYS, made)
            return folder

        try:
            kept, _ = cached(name, make_folder, announcement)
        except CacheError:
            if made:  # they serve without being kept
                return made
            raise
    # Another process may have made room meanwhile.
    with contextlib.suppress(ValueError):
        made = made or read_arrays(kept / _ARRAYS)
    return made or make()


@functools.cache
def _usable_folder(folder: Path) -> Path:
    """The folder itself if programs can be written there and run, else a temporary one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        # Of all systems only Linux says where programs cannot be run.
        if not os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
            return folder
        reason = "programs cannot be run there"
    except OSError as error:
        reason = error.strerror or str(error)
    temporary = Path(tempfile.mkdtemp(prefix="eprop_brian_cache_"))
    atexit.register(_remove_own, temporary, os.getpid())
    warn(
        f"compiled programs cannot be kept in {folder} ({reason}): they stand in {temporary} until "
        f"this process ends. Another folder may be named in ${_FOLDER}",
        stacklevel=2,
    )
    return temporary


def _remove_own(folder: Path, process_id: int) -> None:
    """Remove a temporary folder of this process, not that of the one that it was forked from."""
    if os.getpid() == process_id:
        shutil.rmtree(folder, ignore_errors=True)


def _install(source: Path, target: Path) -> None:
    """Copy a finished build into the cache under its final name, in one step."""
    with temporary_folder(".building_", target.parent) as staging:
        try:
            shutil.copytree(source, staging, dirs_exist_ok=True)
            write_text(staging / _CHECKSUMS, "\n".join(_checksums(staging)))
            if target.exists():  # a damaged one, or one that somebody cleaned up in part
                shutil.rmtree(target)
            staging.rename(target)
        except OSError:
            # Where there are no locks another process may have been first; its build is the same.
            if not _is_sound(target):
                raise


def _checksums(folder: Path) -> list[str]:
    """A line for each file of a build: its size, hash, whether it can be run, and its name."""
    lines = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name != _CHECKSUMS:
            data, runs = path.read_bytes(), "x" if os.access(path, os.X_OK) else "-"
            lines.append(f"{len(data)} {hashlib.sha256(data).hexdigest()} {runs} {name}")
    return lines


def _is_sound(folder: Path) -> bool:
    """Whether a build is there and as it was made."""
    try:
        listed = {*(folder / _CHECKSUMS).read_text().splitlines()}
        return bool(listed) and listed <= {*_checksums(folder)}
    except (OSError, UnicodeDecodeError):
        return False


def _remove_oldest(newest: Path) -> None:
    """Remove builds that were not used for longest until all fit into the limit."""
    builds = kept_builds()
    excess = sum(builds.values()) - cache_limit()
    for folder, size in builds.items():
        if excess <= 0 or folder == newest or time.time() - _last_use(folder) < _IN_USE:
            return
        shutil.rmtree(folder, ignore_errors=True)
        excess -= size


def _last_use(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:  # another process has removed it
        return 0.0


def _size(folder: Path) -> int:
    """Bytes of all files."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total
