"""Folders that a command writes to."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from eprop_brian.base.locks import claimed
from eprop_brian.base.printable import pasteable

__all__ = ["hold", "new_folder", "new_run"]


def hold(claim: contextlib.AbstractContextManager[Any]) -> Any:
    """Enter a context until the command ends."""
    return click.get_current_context().with_resource(claim)


@contextlib.contextmanager
def new_run(out: Path | None, task: str) -> Iterator[Path]:
    """Claim the folder of a new run: `out`, or the first one of its task that is not there.

    Raises
    ------
    ValueError
        If there is a run in `out`.
    """
    with contextlib.ExitStack() as stack:
        for folder in [out] if out else _folders(task):
            with contextlib.suppress(FileExistsError):
                stack.enter_context(claimed(folder, new=out is None))
                break
        if out is not None and (out / "config.toml").exists():
            raise ValueError(
                f"{out} already holds a run: go on with it by eprop-brian train --resume "
                f"{pasteable(out)}, name another folder, or leave --out away for a new one"
            )
        yield folder


@contextlib.contextmanager
def new_folder(task: str) -> Iterator[Path]:
    """Make the first folder of a task that is not there; it does not stay if it stays empty."""
    for folder in _folders(task):
        try:
            folder.parent.mkdir(exist_ok=True)
        except FileExistsError:
            raise ValueError(f"cannot write to {folder}: {folder.parent} is not a folder") from None
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            break
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _folders(task: str) -> Iterator[Path]:
    """``runs/<task>``, ``runs/<task>-2`` and so on; an argument's : and / become -."""
    task = re.sub(r"[:/]+", "-", task)
    names = itertools.chain([task], (f"{task}-{n}" for n in itertools.count(2)))
    return (Path("runs") / name for name in names)
