"""Networks on devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eprop_brian import devices
from eprop_brian.devices import Program
from eprop_brian.network.build import build

__all__ = ["make_program"]


def make_program(device: str, dtype: str = "float64", **options: Any) -> Callable[..., Program]:
    """Return ``f(network, capacity) -> Program`` for a `Network` and a `Capacity`.

    The arguments, and the errors raised, are those of `eprop_brian.devices.make_program`.
    """
    return devices.make_program(device, dtype, build=build, **options)
