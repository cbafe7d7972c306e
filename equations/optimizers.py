"""Optimizers as equation strings, applied to every weight at the end of a batch.

``w`` is the weight, ``g`` the gradient averaged over the batch's trials, ``k`` the number of the
update, counted from 1. Every optimizer ends with the weight clipped to ``[w_min, w_max]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

__all__ = ["ADAM", "GRADIENT_DESCENT", "OPTIMIZERS", "Optimizer"]


@dataclass(frozen=True)
class Optimizer:
    """An update rule for a weight.

    Parameters
    ----------
    name : str
    update : str
        Statements for the optimizer's states and for ``w``, one per line, run in order.
    states : tuple of str
        Names of the per-weight states, zero before the first update.
    parameters : mapping of str to float
        Dimensionless parameters; ``eta`` is the learning rate.
    source : str
    """

    name: str
    update: str
    states: tuple[str, ...] = ()
    parameters: Mapping[str, float] = field(default_factory=dict)
    source: str = ""

    def with_parameters(self, **values: float) -> Optimizer:
        """Return a copy with some parameters replaced (ValueError for an unknown name)."""
        unknown = [name for name in values if name not in self.parameters]
        if unknown:
            raise ValueError(
                f"optimizer '{self.name}' has no parameter '{unknown[0]}'; "
                f"it has {', '.join(self.parameters)}"
            )
        return replace(self, parameters={**self.parameters, **values})


_BOUNDS = {"w_min": -100.0, "w_max": 100.0}

GRADIENT_DESCENT = Optimizer(
    name="gradient_descent",
    update="w = clip(w - eta*g, w_min, w_max)",
    parameters={"eta": 1e-4, **_BOUNDS},
)

ADAM = Optimizer(
    name="adam",
    update=(
        "m = beta_1*m + (1 - beta_1)*g\n"
        "s = beta_2*s + (1 - beta_2)*g**2\n"
        "w = clip(w - eta*sqrt(1 - beta_2**k)/(1 - beta_1**k)*m/(sqrt(s) + epsilon), w_min, w_max)"
    ),
    states=("m", "s"),
    parameters={"eta": 5e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, **_BOUNDS},
    source="Kingma & Ba 2015 in TensorFlow's form (epsilon added to the uncorrected root)",
)

OPTIMIZERS: dict[str, Optimizer] = {o.name: o for o in (GRADIENT_DESCENT, ADAM)}
