"""Plain C++ and CUDA: what compiled programs are made of besides the steps that are generated.

A generated step includes ``arrays.h`` and what it needs, on a GPU ``device.h``, which without nvcc
takes ``cuda_emulation.h``. ``program.h`` is the interface: a compiled network as a few functions,
which ``access.cpp`` (on a GPU ``access.cu``) defines. Above it are ``calls.cpp``, the process that
Python talks to, ``inference.cpp`` and, for exported projects, the library ``driver/eprop.h`` and
the program ``driver/train.cpp``. ``philox.h`` draws the random numbers of
`eprop_brian.base.random`.

Files that depend on a network are generated beside these. Every source compiles without warnings,
and every header does so alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["copy_native"]

_FOLDER = Path(__file__).parent


def copy_native(names: Iterable[str], target: Path) -> None:
    """Copy files and folders, by their names here, into a project."""
    for name in names:
        source = _FOLDER / name
        paths = sorted(path for path in source.iterdir()) if source.is_dir() else [source]
        for path in paths:
            copy = target / path.relative_to(_FOLDER)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
