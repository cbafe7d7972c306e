"""What a device hands back: a network that can be run again and again.

A `Program` is called with arrays and returns arrays, all keyed ``"group.variable"``. A call resets
the states and sums that it makes; of the rest it needs everything from the caller.

Which network a device runs is its `build` function's: ``build(network, capacity, codeobj_class,
dtype, layout)`` returns an object like `eprop_brian.network.built.BuiltNetwork`, of which a device
needs ``brian2_network``, ``groups``, ``first`` and ``call_steps``; of the network, ``dt``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np

from eprop_brian.network.built import BuiltNetwork

__all__ = ["Program", "ProgramKilledError", "SimulationError"]


class SimulationError(RuntimeError):
    """A compiled program failed while it ran."""


class ProgramKilledError(SimulationError):
    """A compiled program was ended by a signal: another try may work."""


class Program(ABC):
    """A network built for a device.

    Attributes
    ----------
    built : BuiltNetwork
    side_by_side : bool
        Whether the trials of a call run at the same time. Else a call may also begin at a later
        trial, ``control.trial``.
    """

    built: BuiltNetwork
    side_by_side: ClassVar[bool] = False

    @abstractmethod
    def set(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set arrays, ``"group.variable"`` to values of the variable's full size."""

    @abstractmethod
    def run(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set arrays and run the first ``control.n_trials`` trials; with 0 of them, make an update.

        Parameters
        ----------
        arrays : mapping
            ``"group.variable"`` to values of the variable's full size.
        """

    def close(self) -> None:  # noqa: B027 - most devices hold nothing
        """Let go of what runs outside this process."""

    @abstractmethod
    def get(self, key: str) -> np.ndarray:
        """Values of ``"group.variable"`` after the last run, shape (size,)."""

    def get_all(self, keys: Iterable[str]) -> dict[str, np.ndarray]:
        """Several arrays at once, as `get` gives them."""
        return {key: self.get(key) for key in keys}
