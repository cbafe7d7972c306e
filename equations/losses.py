"""Losses as equation strings, with the error they send back.

Per readout ``k`` and step ``t``. ``y`` is the readout, ``y_target`` its target, ``p`` the softmax
probability ``exp(y_k)/sum_l exp(y_l)``. ``error`` is dE/dy_k; that it is the derivative of the
summed ``loss`` is tested symbolically, whatever the targets are: those of a cross-entropy need not
sum to 1 (class weights), and its error is then not ``p - y_target``. For a loss of your own,
`eprop_brian.symbolic.losses` derives the error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

__all__ = ["LOSSES", "SOFTMAX_CROSS_ENTROPY", "SQUARED_ERROR", "Loss", "weighted"]


@dataclass(frozen=True)
class Loss:
    """A loss: its value and its derivative by the readout, per readout and step.

    Parameters
    ----------
    name : str
    loss : str
        Contribution of one readout and step to E.
    error : str
        dE/dy of that readout and step.
    signal : str
        What the network reports as its output: ``"y"`` or ``"p"``.
    softmax : bool
        Whether the expressions use ``p``, which couples the readouts.
    mean_over_readouts, mean_over_window : bool
        How the reported loss of a trial is averaged. The gradient is not affected.
    coupling : str
        An expression that is summed over all readouts; ``error`` reads the sum as ``coupled``.
        ``""``: there is none.
    open_at_one : bool
        Whether ``error`` has no value at ``p = 1``, which rounding reaches: ``p`` then stays below.
    """

    name: str
    loss: str
    error: str
    signal: str
    softmax: bool
    mean_over_readouts: bool
    mean_over_window: bool
    coupling: str = ""
    open_at_one: bool = False


SQUARED_ERROR = Loss(
    name="squared_error",
    loss="(y - y_target)**2/2",
    error="y - y_target",
    signal="y",
    softmax=False,
    mean_over_readouts=True,
    mean_over_window=False,
)

SOFTMAX_CROSS_ENTROPY = Loss(
    name="softmax_cross_entropy",
    loss="-y_target*log(p)",
    error="p*coupled - y_target",
    signal="p",
    softmax=True,
    mean_over_readouts=False,
    mean_over_window=True,
    coupling="y_target",
)


def weighted(loss: Loss, weight: float) -> Loss:
    """A loss times a number: its part in the loss of a network with several readouts.

    Its value, its error and what is reported of it are multiplied. What its outputs share
    (`Loss.coupling`) stays as it is, since the error that reads it is multiplied as a whole.

    Parameters
    ----------
    loss : Loss
    weight : float
        Positive.

    Raises
    ------
    ValueError
        If the weight is not a positive number.
    """
    if not (math.isfinite(weight) and weight > 0):
        raise ValueError(f"the weight of a loss must be a positive number, not {weight!r}")
    if weight == 1:
        return loss
    factor = repr(float(weight))
    return replace(loss, loss=f"{factor}*({loss.loss})", error=f"{factor}*({loss.error})")


LOSSES: dict[str, Loss] = {loss.name: loss for loss in (SQUARED_ERROR, SOFTMAX_CROSS_ENTROPY)}
