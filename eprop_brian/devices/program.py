"""A network on a device, which can be run again and again.

A `Program` is called with arrays and returns arrays, all keyed ``"group.variable"``. A call resets
the states and sums that it makes; of the rest it needs everything from the caller.

A device depends on no model. The caller passes a `Build` function, which makes the Brian2 objects
of a network, `Built`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from brian2.core.network import Network as Brian2Network

__all__ = ["Build", "Built", "Program", "ProgramKilledError", "SimulationError"]


class SimulationError(RuntimeError):
    """A compiled program failed while it ran."""


class ProgramKilledError(SimulationError):
    """A compiled program was ended by a signal: another try may work."""


class Built(Protocol):
    """Brian2 objects that a device runs.

    Attributes
    ----------
    network : object
        What they are built from; ``dt`` is its time step.
    brian2_network : Network
        With one object that runs the step (`eprop_brian.steps.runner.StepRunner`).
    groups : mapping of str to Brian2 objects
        All that have arrays.
    kept : collection of str
        Arrays that only updates change, which programs of the same network may share.
    exchanged : collection of str
        Other large arrays that are set or read in many a call.
    first : mapping of str to array
        What a call sets before it runs.
    call_steps : int
        Steps of Brian2's clock in a call.
    """

    @property
    def network(self) -> Any: ...

    @property
    def brian2_network(self) -> Brian2Network: ...

    @property
    def groups(self) -> Mapping[str, Any]: ...

    @property
    def kept(self) -> Collection[str]: ...

    @property
    def exchanged(self) -> Collection[str]: ...

    @property
    def first(self) -> Mapping[str, np.ndarray]: ...

    @property
    def call_steps(self) -> int: ...


class Build(Protocol):
    """Makes Brian2 objects: ``build(network, capacity, codeobj_class, dtype, layout)``."""

    def __call__(
        self, network: Any, capacity: Any, codeobj_class: type, dtype: type, layout: Any = None, /
    ) -> Built: ...


class Program(Protocol):
    """A network built for a device.

    Attributes
    ----------
    built : Built
        What the caller's `Build` function returned.
    side_by_side : bool
        Whether the trials of a call run at the same time. Else a call may also begin at a later
        trial, ``control.trial``.
    keeps_arrays : bool
        Whether the arrays that `Built.kept` names stay as they are when the program is killed in a
        call without updates.
    """

    built: Any
    side_by_side: ClassVar[bool] = False
    keeps_arrays: ClassVar[bool] = False

    def started(self) -> int:
        """Start the program unless it runs; return how often that was done.

        A program that was started once more has lost its arrays, but those that it keeps.
        """
        ...

    def set(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set arrays, ``"group.variable"`` to values of the variable's full size."""

    def run(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set arrays and run the first ``control.n_trials`` trials; with 0 of them, make an update.

        Parameters
        ----------
        arrays : mapping
            ``"group.variable"`` to values of the variable's full size.
        """

    def close(self) -> None:
        """Let go of what runs outside this process."""

    def get(self, key: str) -> np.ndarray:
        """Values of ``"group.variable"`` after the last run, shape (size,)."""
        ...

    def view(self, key: str) -> np.ndarray:
        """The present values without a copy, if the program shares them; not to be changed."""
        return self.get(key)

    def get_all(self, keys: Iterable[str]) -> dict[str, np.ndarray]:
        """Several arrays at once, as `get` gives them."""
        return {key: self.get(key) for key in keys}
