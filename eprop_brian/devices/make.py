"""Making the program of a network on a device, by the names of device and float type."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from eprop_brian.base.suggestions import unknown
from eprop_brian.devices.choices import DEVICES, DTYPES
from eprop_brian.devices.cpp import CppProgram
from eprop_brian.devices.cuda import CudaProgram
from eprop_brian.devices.program import Build, Program
from eprop_brian.devices.runtime import RuntimeProgram

__all__ = ["make_program"]

_PROGRAMS = dict(zip(DEVICES, (CppProgram, CudaProgram, RuntimeProgram), strict=True))


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
    return partial(_PROGRAMS[device], dtype=np.dtype(dtype).type, build=build, **options)
