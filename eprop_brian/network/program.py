"""Networks on devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eprop_brian import devices
from eprop_brian.devices import Program
from eprop_brian.network.build import build
from eprop_brian.network.built import Capacity
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.spec import Network

__all__ = ["make_program"]


def make_program(device: str, dtype: str = "float64", **options: Any) -> Callable[..., Program]:
    """Return ``f(network, capacity) -> Program`` for a `Network` and a `Capacity`.

    The arguments, and the errors raised, are those of `eprop_brian.devices.make_program`; besides,
    ``f`` raises `ValueError` if the device cannot take turns with an environment outside of it.
    """
    make = devices.make_program(device, dtype, build=build, **options)

    def program(network: Network | Resolved, capacity: Capacity) -> Program:
        environment = capacity.environment
        if device == "cuda" and environment is not None and environment.external:
            raise ValueError(
                f"environment '{environment.name}' is outside of the program, which on device "
                "'cuda' does not stop for it: take device 'cpp' or 'runtime'"
            )
        return make(network, capacity)

    return program
