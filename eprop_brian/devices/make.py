"""Making the program of a network on a device, by the names of device and float type."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np

from eprop_brian.base import plugins
from eprop_brian.base.suggestions import unknown
from eprop_brian.devices.choices import AVAILABLE, DEVICES, DTYPES
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

    Packages offer devices by entry points of the group ``eprop_brian.devices``
    (`eprop_brian.base.plugins`): a class that is called as `RuntimeProgram` is and meets the
    Protocol `Program`.

    Raises
    ------
    ValueError
        If there is no such device or type.
    PluginError
        If a package offers the device, but it cannot be imported.
    """
    program = _PROGRAMS[device] if device in DEVICES else _offered(device)
    if dtype not in DTYPES:
        raise ValueError(unknown("dtype", dtype, DTYPES))
    return partial(program, dtype=np.dtype(dtype).type, build=build, **options)


def _offered(device: str) -> Callable[..., Program]:
    """What makes the programs of a device that an installed package offers."""
    if device not in plugins.plugins(plugins.DEVICES):
        raise ValueError(unknown("device", device, AVAILABLE))
    program = plugins.load_plugin(plugins.DEVICES, device)
    if not callable(program):
        what = f"a class that meets the Protocol Program, not {program!r}"
        raise plugins.wrong_plugin(plugins.DEVICES, device, what)
    return cast(Callable[..., Program], program)
