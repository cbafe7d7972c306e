"""History of e-prop training, one row per iteration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eprop_brian.base.description import Described, Description
from eprop_brian.base.history import Rows, column

__all__ = ["History"]


@dataclass
class History(Rows, Described):
    """Loss, error, rate and time of every iteration, and how well the feedback is aligned.

    Attributes
    ----------
    loss : list of float
        Mean loss of the batch before its update.
    error : list of float
        Fraction of wrong trials in the batch; NaN where the task defines no error.
    rate_hz : list of float
        Mean firing rate of the recurrent neurons.
    seconds : list of float
        Wall time of the iteration (of a call of several iterations, their mean).
    alignment : list of float
        Cosine of the angle between the feedback weights B and the transposed readout weights after
        the last iteration of a call; NaN within one.
    """

    numbered: ClassVar[str] = "iteration"

    loss: list[float] = column()
    error: list[float] = column(optional=True)
    rate_hz: list[float] = column("{:.6g}")
    seconds: list[float] = column("{:.6g}")
    alignment: list[float] = column(optional=True)

    def description(self) -> Description:
        """First, last and lowest values, for `print` and notebooks."""
        columns = self.arrays()
        alignment = columns["alignment"][np.isfinite(columns["alignment"])]
        rows = [
            ("loss", _course(columns["loss"])),
            ("wrong trials (%)", _course(100 * columns["error"])),
            ("firing rate (Hz)", _course(columns["rate_hz"])),
            ("alignment of the feedback", f"{alignment[-1]:.3f}" if len(alignment) else ""),
            ("time (s)", f"{columns['seconds'].sum():.3g}" if len(self) else ""),
        ]
        iterations = "1 iteration" if len(self) == 1 else f"{len(self)} iterations"
        return Description(f"History of {iterations}", rows)

    def __repr__(self) -> str:
        course = f": loss {self.loss[0]:.4g} to {self.loss[-1]:.4g}" if self.loss else ""
        return f"<history of {len(self)} iterations{course}>"


def _course(values: np.ndarray) -> str:
    """First, last and lowest of some values; nothing where none is defined."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return ""
    return f"{finite[0]:.4g} first, {finite[-1]:.4g} last, {np.min(finite):.4g} lowest"
