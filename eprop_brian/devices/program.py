"""What a device hands back: a network that can be run again and again.

A `Program` is called with arrays and returns arrays, all keyed ``"group.variable"``. Nothing
carries over from one call to the next but what the caller passes back in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from eprop_brian.network.build import BuiltNetwork

__all__ = ["Program", "SimulationError"]


class SimulationError(RuntimeError):
    """A compiled program failed while it ran."""


class Program(ABC):
    """A network built for a device.

    Attributes
    ----------
    built : BuiltNetwork
    """

    built: BuiltNetwork

    @abstractmethod
    def run(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set arrays and run ``control.n_trials`` trials.

        Parameters
        ----------
        arrays : mapping
            ``"group.variable"`` to values of the variable's full size (or one value for all).
            Everything not given starts at 0.
        """

    @abstractmethod
    def get(self, key: str) -> np.ndarray:
        """Values of ``"group.variable"`` after the last run, shape (size,)."""
