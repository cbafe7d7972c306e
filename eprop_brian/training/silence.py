"""A network in which no neuron fires: whether it can learn, and how near a neuron is to a spike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eprop_brian.base.sparse import Matrix, values_of
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.network.resolved import Resolved
from eprop_brian.symbolic.expressions import evaluate
from eprop_brian.training.rerun import (
    Diagnosis,
    Observer,
    largest_weight,
    learning_rates,
    network_of,
    observe,
)

__all__ = ["Silence", "largest_change", "silence"]


@dataclass(frozen=True)
class Silence:
    """Findings about one trial in which no neuron fires.

    Attributes
    ----------
    is_dead : bool
        Whether no neuron fires and the surrogate is 0 in every step.
    nearest : str
        Margin by which each population misses its spike condition.
    largest_weight : float
    eta : str
        The learning rates.
    """

    is_dead: bool
    nearest: str
    largest_weight: float
    eta: str

    def text(self, last_spike: int, change: float) -> str:
        """Explain why nothing is learned, and what helps.

        Parameters
        ----------
        last_spike : int
            Last iteration in which a neuron fired; 0 if none ever did.
        change : float
            As `largest_change` returns it.
        """
        if self.is_dead:
            why = (
                "the surrogate is 0 in every step (psi = 0) of the trial that was checked, so that "
                "none of its gradient reaches a weight"
            )
        else:
            how = " by more than rounding" if change else ""
            why = f"no weight changes{how}: the surrogate is all but 0, or no error arrives"
        if last_spike:
            advice = (
                f"The largest weight is {self.largest_weight:.3g}: if learning has silenced the "
                f"network, try a smaller learning rate (now {self.eta})"
            )
        else:
            advice = (
                "Scale the input weights up, lower the threshold, or choose a surrogate that is "
                "wide enough"
            )
        return (
            f"{why}. In this trial the left side of the spike condition minus the right is at most "
            f"{self.nearest}. {advice}"
        )


def silence(batch: Diagnosis) -> Silence:
    """Rerun the first trial of a batch in which no neuron fires."""
    watch = _SilenceWatch(network_of(batch))
    observe(batch, 0, watch, learning=False)
    return Silence(
        not watch.alive,
        watch.text(),
        largest_weight(batch),
        learning_rates(batch.session.resolved),
    )


def largest_change(before: Mapping[str, Matrix], after: Mapping[str, Matrix]) -> float:
    """Largest change of a weight, relative to the largest weight of its matrix."""
    changes = [0.0]
    for name, value in after.items():
        new, old = values_of(value), values_of(before[name])
        changes.append(
            np.max(np.abs(new - old), initial=0)
            / max(np.max(np.abs(old), initial=0), np.finfo(float).tiny)
        )
    return float(max(changes))


class _SilenceWatch(Observer):
    """Finds whether a trial has a spike or a surrogate other than 0, and its largest margin."""

    def __init__(self, network: Resolved) -> None:
        super().__init__(network)
        self.alive = False
        self.nearest = {p.name: -np.inf for p in network.populations}

    def observe(self) -> None:
        for population in self.network.populations:
            psi, z = (self.value(population.name, name) for name in ("psi", "z"))
            self.alive |= bool(np.any(psi != 0) or np.any(z != 0))
            margin = np.max(self._margin(population))
            self.nearest[population.name] = max(self.nearest[population.name], margin)

    def _margin(self, population: PopulationGroup) -> np.ndarray:
        """Left minus right side of the spike condition."""
        step, dt = population.system.step, float(self.network.dt)
        states = {state: self.value(population.name, state) for state in step.states}
        learned = {name: self.value(population.name, name) for name in population.learned}
        values = {**step.values(dt, learned), "dt": dt, **step.at_rest, **states}
        return np.asarray(evaluate(step.margin, values, "threshold"))

    def text(self) -> str:
        """The largest margin of each population, with its spike condition."""
        return ", ".join(
            f"{margin:.3g} in '{name}' ({self._condition(name)})"
            for name, margin in self.nearest.items()
        )

    def _condition(self, name: str) -> str:
        return next(p.system.step.threshold for p in self.network.populations if p.name == name)
