r"""Lemniscate: draw a figure of eight.

A frozen spike pattern comes in, and two readouts, the coordinates of a pen, must follow

.. math::

    x^*(t) = \sin(2 \pi t / T), \qquad y^*(t) = \sin(4 \pi t / T)

where :math:`T` is the length of the trial.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from eprop_brian.tasks.frozen import FrozenInputTask

__all__ = ["Lemniscate"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lemniscate(FrozenInputTask):
    """Draw a figure of eight while a frozen Poisson pattern comes in.

    The defaults are those of NEST's example.

    Parameters
    ----------
    n_steps : int
        Length of a trial in steps: the time of one round.
    n_inputs : int
        Number of input neurons.
    spike_probability : float
        Probability of an input spike per neuron and step, in all steps but the first.
    dt : Quantity
        Length of a time step, 1 ms by default.

    Raises
    ------
    brian2.DimensionMismatchError
        If `dt` is not a time.
    TypeError, ValueError
        If a setting is out of range.

    Notes
    -----
    The spikes depend on the seed alone, the target on nothing.
    """

    name: ClassVar[str] = "lemniscate"
    description: ClassVar[str] = "draw a figure of eight while a frozen spike pattern comes in"
    source: ClassVar[str] = (
        "NEST 3.10, example eprop_supervised_regression_lemniscate_bsshslm_2020, after Bellec et "
        "al. 2020, Nat. Commun. 11:3625, doi:10.1038/s41467-020-17236-y"
    )
    n_outputs: ClassVar[int] = 2

    n_steps: int = 1258

    def target_signals(self, seed: int) -> NDArray[np.float64]:
        """Return the coordinates of the pen, shape (n_steps, 2)."""
        angle = 2 * np.pi * np.arange(self.n_steps) / self.n_steps
        return np.stack([np.sin(angle), np.sin(2 * angle)], axis=1)
