"""Optimizers as equation strings, applied to every weight at the end of a batch.

``w`` is the weight, ``g`` the gradient averaged over the batch's trials, ``k`` the number of the
update, counted from 1. Every optimizer here ends with the weight clipped to ``[w_min, w_max]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from eprop_brian.equations.parametrised import Parametrised

__all__ = [
    "ADAM",
    "ADAMW",
    "ADAM_CORRECTED",
    "GRADIENT_DESCENT",
    "MOMENTUM",
    "OPTIMIZERS",
    "RMSPROP",
    "Optimizer",
]


@dataclass(frozen=True)
class Optimizer(Parametrised):
    """An update rule for a weight.

    Parameters
    ----------
    name : str
    update : str
        Statements for the optimizer's states and for ``w``, one per line, run in order. Names that
        begin with an underscore are intermediate values.
    states : tuple of str
        Names of the per-weight states, zero before the first update.
    parameters : mapping of str to float
        Dimensionless parameters; ``eta`` is the learning rate.
    schedule : str
        Learning-rate schedule: what ``eta`` is multiplied by in update ``k``, an expression of
        ``k`` and the parameters, for example ``"0.5**floor((k - 1)/500)"``.
    source : str
    """

    kind: ClassVar[str] = "optimizer"

    name: str
    update: str
    states: tuple[str, ...] = ()
    parameters: Mapping[str, float] = field(default_factory=dict)
    schedule: str = "1"
    source: str = ""


_BOUNDS = {"w_min": -100.0, "w_max": 100.0}

GRADIENT_DESCENT = Optimizer(
    name="gradient_descent",
    update="w = clip(w - eta*g, w_min, w_max)",
    parameters={"eta": 1e-4, **_BOUNDS},
)

MOMENTUM = Optimizer(
    name="momentum",
    update="m = momentum*m + g\nw = clip(w - eta*m, w_min, w_max)",
    states=("m",),
    parameters={"eta": 1e-4, "momentum": 0.9, **_BOUNDS},
    source="Polyak 1964, the heavy ball",
)

RMSPROP = Optimizer(
    name="rmsprop",
    update=(
        "s = beta_2*s + (1 - beta_2)*g**2\nw = clip(w - eta*g/(sqrt(s) + epsilon), w_min, w_max)"
    ),
    states=("s",),
    parameters={"eta": 1e-3, "beta_2": 0.9, "epsilon": 1e-8, **_BOUNDS},
    source="Tieleman & Hinton 2012, lecture 6e",
)

_MOMENTS = "m = beta_1*m + (1 - beta_1)*g\ns = beta_2*s + (1 - beta_2)*g**2\n"
_ADAM_PARAMETERS = {"eta": 5e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}

ADAM = Optimizer(
    name="adam",
    update=(
        f"{_MOMENTS}"
        "w = clip(w - eta*sqrt(1 - beta_2**k)/(1 - beta_1**k)*m/(sqrt(s) + epsilon), w_min, w_max)"
    ),
    states=("m", "s"),
    parameters={**_ADAM_PARAMETERS, **_BOUNDS},
    source="Kingma & Ba 2015 in TensorFlow's form (epsilon added to the uncorrected root)",
)

_CORRECTED = "m/(1 - beta_1**k)/(sqrt(s/(1 - beta_2**k)) + epsilon)"

ADAM_CORRECTED = Optimizer(
    name="adam_corrected",
    update=f"{_MOMENTS}w = clip(w - eta*{_CORRECTED}, w_min, w_max)",
    states=("m", "s"),
    parameters={**_ADAM_PARAMETERS, **_BOUNDS},
    source="Kingma & Ba 2015, algorithm 1 (epsilon added to the corrected root)",
)

ADAMW = Optimizer(
    name="adamw",
    update=f"{_MOMENTS}w = clip(w - eta*({_CORRECTED} + weight_decay*w), w_min, w_max)",
    states=("m", "s"),
    parameters={**_ADAM_PARAMETERS, "weight_decay": 0.01, **_BOUNDS},
    source="Loshchilov & Hutter 2019, with the decay times the learning rate as in PyTorch",
)

#: The library's optimizers by name.
OPTIMIZERS: dict[str, Optimizer] = {
    o.name: o for o in (GRADIENT_DESCENT, MOMENTUM, RMSPROP, ADAM, ADAM_CORRECTED, ADAMW)
}
