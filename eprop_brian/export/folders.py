"""Folders of projects and runs, which appear only when they are complete."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from eprop_brian.base.files import store
from eprop_brian.base.temporary import temporary_folder

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
    with contextlib.ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            beside = stack.enter_context(temporary_folder(f".{folder.name}_", folder.parent))
            beside.chmod(0o755)
        except OSError as error:
            raise ValueError(f"cannot write to {folder}: {error.strerror}") from None
        yield beside
        try:
            for path in beside.rglob("*"):
                store(path)
            beside.replace(folder)
            store(folder.parent)
        except OSError as error:
            # Another process may have written it meanwhile.
            raise ValueError(f"cannot write to {folder}: {error.strerror}") from None
