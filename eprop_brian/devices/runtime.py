"""The ``runtime`` device: Brian2 in this very process, for looking inside and as the reference."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from brian2.core.network import Network as Brian2Network
from brian2.core.preferences import prefs
from brian2.devices.device import RuntimeDevice, all_devices, get_device, set_device

from eprop_brian.devices.codeobjects import NumpyStepCodeObject
from eprop_brian.devices.program import Build, Program, SimulationError
from eprop_brian.devices.project import step_runner

__all__ = ["RuntimeProgram"]


class RuntimeProgram(Program):
    """A network run by Brian2's NumPy target.

    Parameters
    ----------
    network, capacity : object
        What `build` takes.
    dtype : type
        Float type of all state.
    build : Build
        What makes Brian2 objects of `network`.
    """

    keeps_arrays = True

    def __init__(
        self, network: Any, capacity: Any, dtype: type = np.float64, *, build: Build
    ) -> None:
        if not isinstance(get_device(), RuntimeDevice):
            set_device(all_devices["runtime"])
        self.built = build(network, capacity, NumpyStepCodeObject, dtype)
        # As its first run would: Brian2 warns of every object that goes without having run.
        for part in self.built.brian2_network.objects:
            part._network = self.built.brian2_network.id

    def started(self) -> int:
        """See `Program.started`: it runs in this process."""
        return 1

    def set(self, arrays: Mapping[str, np.ndarray]) -> None:
        """See `Program.set`."""
        for key, values in arrays.items():
            self._array(key)[:] = values

    def run(self, arrays: Mapping[str, np.ndarray]) -> None:
        """See `Program.run`.

        Raises
        ------
        SimulationError
            If something calls Brian2's ``stop()``: a call that ends early has no result.
        """
        self.set({**self.built.first, **arrays})
        network, steps = self.built.brian2_network, self.built.call_steps
        timestep = step_runner(self.built).clock.variables["timestep"].get_value()
        end = timestep[0] + steps
        with _uncollected(), _interrupts_raised():
            network.run(steps * self.built.network.dt, namespace={})
        if timestep[0] < end:
            raise SimulationError(
                f"Brian2 stopped the network {end - timestep[0]} steps before the end of a call of "
                f"{steps}: nothing may call stop() meanwhile"
            )

    def get(self, key: str) -> np.ndarray:
        """See `Program.get`."""
        return self._array(key).copy()

    def view(self, key: str) -> np.ndarray:
        """See `Program.view`; what is written there is set."""
        return self._array(key)

    def _array(self, key: str) -> np.ndarray:
        group, variable = key.split(".")
        return self.built.groups[group].variables[variable].get_value()


@contextlib.contextmanager
def _interrupts_raised() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt. Brian2 would end the run early, as if it were done."""
    before = prefs.core.stop_on_keyboard_interrupt
    prefs.core.stop_on_keyboard_interrupt = False
    try:
        yield
    finally:
        prefs.core.stop_on_keyboard_interrupt = before
        # Brian2 leaves it set after an exception, and then takes the next Ctrl-C for one in a run.
        Brian2Network._globally_running = False


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Put aside what there is: Brian2 collects garbage before each run, which may take longer."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
