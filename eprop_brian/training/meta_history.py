"""History of learning to learn, one row an iteration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from eprop_brian.base.history import Rows, column

__all__ = ["MetaHistory"]


@dataclass
class MetaHistory(Rows):
    """What happened in every iteration.

    Attributes
    ----------
    loss : list of float
        Mean over tasks of the loss of their queries after the update, without regulariser.
    error : list of float
        Mean error of the queries after the update, as the family measures it.
    gradient : list of float
        Norm of the gradient, before it is clipped.
    rate_hz : list of float
        Mean rate of all neurons in the support.
    seconds : list of float
    """

    numbered: ClassVar[str] = "iteration"

    loss: list[float] = column()
    error: list[float] = column()
    gradient: list[float] = column("{:.6g}")
    rate_hz: list[float] = column("{:.6g}")
    seconds: list[float] = column("{:.6g}", incidental=True)
