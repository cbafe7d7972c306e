"""Folders of projects and runs, which appear only when they are complete."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["new_project"]


@contextlib.contextmanager
def new_project(folder: Path) -> Iterator[Path]:
    """Yield a folder beside `folder`, and rename it to `folder` on success.

    Raises
    ------
    ValueError
        If `folder` is not empty or cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not an empty folder; choose another")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}_"))
    except OSError as error:
        raise ValueError(f"cannot write to {folder}: {error.strerror}") from None
    try:
        beside.chmod(0o755)
        yield beside
        try:
            beside.replace(folder)
        except OSError as error:
            # Another process may have written it meanwhile.
            raise ValueError(f"cannot write to {folder}: {error.strerror}") from None
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
