"""The commit of the repository that a folder lies in, read from git's files; git itself never runs.

Settings of a repository can make git start programs, and the folder may be anybody's.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["commit_of"]

_COMMIT = re.compile(r"[0-9a-f]{40,64}")


def commit_of(folder: Path) -> str:
    """Return the commit that is checked out where a folder lies; ``""`` outside of a repository."""
    folder = Path(folder).resolve()
    for place in (folder, *folder.parents):
        git = _git_folder(place / ".git")
        if git is not None:
            return _head(git)
    return ""


def _git_folder(path: Path) -> Path | None:
    """The folder with git's files; of a worktree, a file says where it is."""
    if path.is_dir():
        return path
    named = _read(path).partition("gitdir: ")[2]
    return (path.parent / named) if named else None


def _head(git: Path) -> str:
    head = _read(git / "HEAD")
    name = head.partition("ref: ")[2]
    if not name:
        return head if _COMMIT.fullmatch(head) else ""
    # Of a worktree, branches stand with those of the repository.
    shared = git / (_read(git / "commondir") or ".")
    for place in (git, shared):
        commit = _read(place / name)
        if _COMMIT.fullmatch(commit):
            return commit
    for line in _read(shared / "packed-refs").splitlines():
        commit, _, packed = line.partition(" ")
        if packed == name and _COMMIT.fullmatch(commit):
            return commit
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
