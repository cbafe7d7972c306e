r"""Long short-term memory: the yardstick for what spiking neurons keep.

.. math::

    (i, f, o, g) &= W_{in} x[t] + W_{rec} m[t-1] + b \\
    c[t] &= \sigma(f + 1)\, c[t-1] + \sigma(i) \tanh(g) \\
    m[t] &= \sigma(o) \tanh(c[t]), \qquad y[t] = W_{out} m[t] + b_{out}

(Hochreiter & Schmidhuber 1997, Neural Comput. 9:1735, with the forget gates of Gers et al. 2000,
Neural Comput. 12:2451). The cell c is the state that stays within a unit, and whose eligibility
traces cross windows; m is what others, and the unit's own gates, receive.
"""

from __future__ import annotations

from dataclasses import dataclass

from eprop_brian.base.checks import check_positive
from eprop_brian.equations.losses import LOSSES
from eprop_brian.equations.optimizers import Optimizer
from eprop_brian.network.optimization import check_optimizer

__all__ = ["FORGET", "Lstm"]

#: Added to the forget gates, so that cells keep what they have from the start.
FORGET = 1.0


@dataclass(frozen=True)
class Lstm:
    """One layer of LSTM units with linear readouts.

    Parameters
    ----------
    n_inputs, n_units, n_outputs : int
    loss : str
        A key of `eprop_brian.equations.losses.LOSSES`, without softmax.
    optimizer : Optimizer
    clip_norm : float, optional
        Largest norm of a gradient; default: none.

    Raises
    ------
    ValueError, EquationError
        If a size is no positive number, the loss needs a softmax or the optimizer cannot work.
    """

    n_inputs: int
    n_units: int
    n_outputs: int
    loss: str
    optimizer: Optimizer
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        for name in ("n_inputs", "n_units", "n_outputs"):
            check_positive(name, getattr(self, name))
        if LOSSES[self.loss].softmax:
            raise ValueError(f"an LSTM has no softmax, which the loss {self.loss} needs")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be positive, not {self.clip_norm!r}")
        check_optimizer(self.optimizer)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of weights and biases by name; gates come in the order i, f, o, g."""
        n, n_gates = self.n_units, 4 * self.n_units
        return {
            "w_in": (n_gates, self.n_inputs),
            "w_rec": (n_gates, n),
            "bias": (n_gates,),
            "w_out": (self.n_outputs, n),
            "bias_out": (self.n_outputs,),
        }
