"""Losses as equation strings, with the error they send back.

Per readout ``k`` and step ``t``. ``y`` is the readout, ``y_target`` its target, ``p`` the softmax
probability ``exp(y_k)/sum_l exp(y_l)``, ``advantage`` a number that all readouts have in common:
how much better the step turned out than expected. ``error`` is dE/dy_k; that it is the derivative
of the summed ``loss`` is tested symbolically, whatever the targets are: those of a cross-entropy
need not sum to 1 (class weights), and its error is then not ``p - y_target``. For a loss of your
own, `eprop_brian.symbolic.losses` derives the error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from brian2.utils.stringtools import get_identifiers

__all__ = [
    "CTC",
    "LOSSES",
    "MODULATOR",
    "SIGMOID_CROSS_ENTROPY",
    "SOFTMAX_CROSS_ENTROPY",
    "SQUARED_ERROR",
    "Loss",
    "gaussian_policy",
    "policy_gradient",
    "weighted",
]


@dataclass(frozen=True)
class Loss:
    """A loss: its value and its derivative by the readout, per readout and step.

    Parameters
    ----------
    name : str
    loss : str
        Contribution of one readout and step to E; ``"0"`` for an error that belongs to no loss.
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
    of_labels : bool
        Whether it is the loss of a whole sequence of labels, which becomes known at a trial's end:
        see `CTC`.
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
    of_labels: bool = False

    @property
    def is_modulator(self) -> bool:
        """Whether the error is given rather than the derivative of a loss."""
        return self.loss == "0"

    @property
    def reads_advantage(self) -> bool:
        """Whether an expression reads ``advantage``, which trials must then have."""
        return any(
            "advantage" in get_identifiers(text) for text in (self.loss, self.error, self.coupling)
        )


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

#: Each output is the logit of a bit of its own: ``-y_target*log(q) - (1 - y_target)*log(1 - q)``
#: with ``q = 1/(1 + exp(-y))``, written so that no exponential overflows early.
SIGMOID_CROSS_ENTROPY = Loss(
    name="sigmoid_cross_entropy",
    loss="log(2*cosh(y/2)) + (1/2 - y_target)*y",
    error="tanh(y/2)/2 + 1/2 - y_target",
    signal="y",
    softmax=False,
    mean_over_readouts=True,
    mean_over_window=True,
)

#: The third factor in general (Gerstner et al. 2018, Front. Neural Circuits 12:53): a signal m[t]
#: of the task's, one for each output, is sent in the place of an error.
MODULATOR = Loss(
    name="modulator",
    loss="0",
    error="y_target",
    signal="y",
    softmax=False,
    mean_over_readouts=True,
    mean_over_window=False,
)

#: Connectionist temporal classification (Graves et al. 2006, ICML): which labels come in which
#: order, but not when. Each period of a trial is a frame, in which the network shows one of the
#: labels or, by its last output, none (the blank). ``p`` is the softmax of the outputs' mean over
#: the frame, ``log_likelihood`` the logarithm of the probability that the frames show the labels,
#: summed over all ways to spread them, and ``y_target`` the probability that this frame shows this
#: output, given that they do. Both follow at the end of a trial from probabilities forwards and
#: backwards in time. The error of a frame is divided among its steps.
CTC = Loss(
    name="ctc",
    loss="-log_likelihood",
    error="p - y_target",
    signal="p",
    softmax=True,
    mean_over_readouts=False,
    mean_over_window=False,
    of_labels=True,
)


def policy_gradient(entropy: float = 0.005) -> str:
    """The loss equation of a policy that chooses among actions (Bellec et al. 2020, eqs. 30-37).

    ``-advantage*log(p)`` of the action that was chosen, which ``y_target`` names as a one-hot
    vector, and a bonus for a policy that stays undecided. Its error is
    ``(p - y_target)*advantage + entropy*p*(log(p) + H)`` with ``H = -sum p log(p)``.

    Parameters
    ----------
    entropy : float
        Weight of the entropy bonus, 0 or greater.

    Returns
    -------
    str
        What `Readout(loss=...)` takes.

    Raises
    ------
    ValueError
        If the weight is negative or no number.
    """
    if not (math.isfinite(entropy) and entropy >= 0):
        raise ValueError(f"the weight of the entropy must be 0 or greater, not {entropy!r}")
    bonus = f" + {float(entropy)!r}*p*log(p)" if entropy else ""
    return f"-advantage*y_target*log(p){bonus}"


def gaussian_policy(deviation: float) -> str:
    """The loss equation of a policy whose actions are drawn around its outputs.

    Minus the logarithm of a normal distribution's density, without its constant, times the
    advantage (Williams 1992, Machine Learning 8:229). ``y_target`` is the action that was taken.
    The entropy of such a policy does not depend on its outputs, so there is no bonus.

    Parameters
    ----------
    deviation : float
        Standard deviation of the actions, positive.

    Returns
    -------
    str
        What `Readout(loss=...)` takes.

    Raises
    ------
    ValueError
        If the deviation is not a positive number.
    """
    if not (math.isfinite(deviation) and deviation > 0):
        raise ValueError(f"the deviation of actions must be a positive number, not {deviation!r}")
    return f"advantage*(y_target - y)**2/(2*{float(deviation)!r}**2)"


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
    value = loss.loss if loss.is_modulator else f"{factor}*({loss.loss})"
    return replace(loss, loss=value, error=f"{factor}*({loss.error})")


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (SQUARED_ERROR, SOFTMAX_CROSS_ENTROPY, SIGMOID_CROSS_ENTROPY, MODULATOR, CTC)
}
