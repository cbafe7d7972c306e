"""What a run was made with: versions of libraries, and the commit of the user's own code.

It stands in ``versions.toml`` of the run's folder and changes nothing: results of other versions
may differ in rounding, or because something was mended.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from eprop_brian.base.files import write_text
from eprop_brian.base.repository import commit_of
from eprop_brian.base.toml import toml_table
from eprop_brian.runs.settings import read_tables

__all__ = ["VERSIONS", "changed_versions", "versions", "write_versions"]

VERSIONS = "versions.toml"
_PACKAGES = ("eprop_brian", "brian2", "numpy", "scipy", "sympy", "jax")


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that results depend on; of those installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_versions(folder: Path) -> None:
    """Write ``versions.toml``: versions, the machine's kind, and the working folder's commit."""
    tables: Mapping[str, Mapping[str, Any]] = {
        "versions": versions(),
        "machine": {"system": platform.system(), "processor": platform.machine()},
    }
    commit = commit_of(Path.cwd())
    if commit:
        tables = {**tables, "repository": {"commit": commit}}
    text = "\n".join(toml_table(name, values) for name, values in tables.items())
    write_text(Path(folder) / VERSIONS, text)


def changed_versions(folder: Path) -> dict[str, tuple[str, str]]:
    """Versions that a run was made with and that are others now, each with the present one.

    Nothing of runs without the file, as earlier versions made them.
    """
    path = Path(folder) / VERSIONS
    if not path.exists():
        return {}
    then, now = read_tables(path).get("versions", {}), versions()
    if not isinstance(then, dict):
        raise ValueError(f"{path}: [versions] must be one table")
    return {k: (str(v), now.get(k, "none")) for k, v in then.items() if v != now.get(k, "none")}
