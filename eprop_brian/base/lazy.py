"""Packages whose names are imported when they are first used.

Importing Brian2 and sympy takes a second or more, and the help of a command needs neither. What a
package offers stands in its stub, ``__init__.pyi``, as ordinary imports: type checkers and editors
read it, and so does `lazy_names`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    file : str
        Its ``__file__``; the stub stands beside it.
    """
    modules: dict[str, str] = {}
    offered: list[str] = []
    for line in ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8")).body:
        if isinstance(line, ast.ImportFrom):
            modules |= {alias.name: str(line.module) for alias in line.names}
        elif isinstance(line, ast.Assign):  # of __all__
            offered = ast.literal_eval(line.value)

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        if modules[name] == package:  # one of its own modules
            return import_module(f"{package}.{name}")
        value = getattr(import_module(modules[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *offered})

    return get, names, offered
