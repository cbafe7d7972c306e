"""History of e-prop training, one row per iteration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from eprop_brian.base.history import Rows, column

__all__ = ["History"]


@dataclass
class History(Rows):
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
