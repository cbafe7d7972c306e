"""Devices: where a network runs.

``cpp`` compiles it to one binary (default), ``cuda`` to one for a GPU, ``runtime`` runs it in this
process with NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from eprop_brian.base.suggestions import unknown
from eprop_brian.devices.cpp import CppProgram
from eprop_brian.devices.cuda import CudaProgram
from eprop_brian.devices.process import ProcessProgram
from eprop_brian.devices.program import Build, Program, ProgramKilledError, SimulationError
from eprop_brian.devices.project import CompilerMissingError
from eprop_brian.devices.runtime import RuntimeProgram

__all__ = [
    "COMPILED",
    "DEVICES",
    "DTYPES",
    "Build",
    "CompilerMissingError",
    "CppProgram",
    "CudaProgram",
    "ProcessProgram",
    "Program",
    "ProgramKilledError",
    "RuntimeProgram",
    "SimulationError",
    "make_program",
]

DEVICES: dict[str, type[CppProgram] | type[CudaProgram] | type[RuntimeProgram]] = {
    "cpp": CppProgram,
    "cuda": CudaProgram,
    "runtime": RuntimeProgram,
}
#: Devices whose programs are compiled, which takes a few seconds.
COMPILED = tuple(name for name, kind in DEVICES.items() if issubclass(kind, ProcessProgram))
DTYPES: dict[str, type] = {"float64": np.float64, "float32": np.float32}


def make_program(
    device: str, dtype: str = "float64", *, build: Build, **options: Any
) -> Callable[..., Program]:
    """Return ``f(network, capacity) -> Program`` for a device, a float type and its options.

    `build` makes the Brian2 objects of such a network.

    Raises
    ------
    ValueError
        If there is no such device or type.
    """
    if device not in DEVICES:
        raise ValueError(unknown("device", device, DEVICES))
    if dtype not in DTYPES:
        raise ValueError(unknown("dtype", dtype, DTYPES))
    return partial(DEVICES[device], dtype=DTYPES[dtype], build=build, **options)
