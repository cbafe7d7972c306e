"""The ``runtime`` device: Brian2 in this very process, for looking inside and as the reference."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from brian2.devices.device import RuntimeDevice, all_devices, get_device, set_device

from eprop_brian.devices.codeobjects import NumpyStepCodeObject
from eprop_brian.devices.program import Program
from eprop_brian.network.build import build
from eprop_brian.network.built import Capacity
from eprop_brian.network.spec import Network

__all__ = ["RuntimeProgram"]


class RuntimeProgram(Program):
    """A network run by Brian2's NumPy target.

    Parameters
    ----------
    network : Network
    capacity : Capacity
    dtype : type
        Float type of all state.
    build : callable
        What makes Brian2 objects of `network`, see `Program`.
    """

    def __init__(
        self,
        network: Network,
        capacity: Capacity,
        dtype: type = np.float64,
        build: Callable[..., Any] = build,
    ) -> None:
        if not isinstance(get_device(), RuntimeDevice):
            set_device(all_devices["runtime"])
        self.built = build(network, capacity, NumpyStepCodeObject, dtype)
        # As its first run would: Brian2 warns of every object that goes without having run.
        for part in self.built.brian2_network.objects:
            part._network = self.built.brian2_network.id

    def set(self, arrays: Mapping[str, np.ndarray]) -> None:
        """See `Program.set`."""
        for key, values in arrays.items():
            self._array(key)[:] = values

    def run(self, arrays: Mapping[str, np.ndarray]) -> None:
        """See `Program.run`."""
        self.set({**arrays, **self.built.first})
        duration = self.built.call_steps * self.built.network.dt
        with _uncollected():
            self.built.brian2_network.run(duration, namespace={})

    def get(self, key: str) -> np.ndarray:
        """See `Program.get`."""
        return self._array(key).copy()

    def _array(self, key: str) -> np.ndarray:
        group, variable = key.split(".")
        return self.built.groups[group].variables[variable].get_value()


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Put aside what there is: Brian2 collects garbage before each run, which may take longer."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
