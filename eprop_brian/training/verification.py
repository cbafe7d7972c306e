"""Replay a recorded run of another simulator and compare, update by update.

A run in continuous operation is compared at the end of every period of its target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eprop_brian.training.reference import ReferenceCase
from eprop_brian.training.replay import replay

__all__ = ["Verification", "verify"]

#: Allowed relative deviation of a loss, and of a weight relative to the largest change so far.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Verification:
    """Deviations of a replay from the recording.

    Attributes
    ----------
    differing_spikes : int
        Over all trials.
    loss_deviation : float
        Largest relative deviation of a loss.
    weight_deviations : dict of int to float
        After some number of updates: largest deviation of a weight relative to the largest change
        of its matrix since the start.
    failures : tuple of str
        Deviations beyond the tolerance; empty if the case holds.
    tolerance : float
        Largest allowed deviation of losses and weights, as above. No spike may differ.
    rules : tuple of str
        Rules of the recording simulator that the replay followed and networks here do not.
    """

    differing_spikes: int
    loss_deviation: float
    weight_deviations: dict[int, float]
    failures: tuple[str, ...]
    tolerance: float
    rules: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the case holds."""
        return not self.failures

    def __str__(self) -> str:
        weights = "  ".join(f"{k}: {d:.1e}" for k, d in self.weight_deviations.items())
        held = f"no spike differs, losses and weights within {self.tolerance:.0e}"
        held += "".join(f"; by NEST's rule, {rule}" for rule in self.rules)
        return (
            f"differing spikes {self.differing_spikes}  loss deviation {self.loss_deviation:.1e}  "
            f"weight deviation after update {weights or '(none recorded)'}  (tolerance: {held})  "
            + ("ok" if self.ok else "FAILED: " + "; ".join(self.failures))
        )


def verify(case: ReferenceCase, device: str = "cpp", dtype: str = "float64") -> Verification:
    """Replay a reference case.

    Parameters
    ----------
    case : ReferenceCase
    device : {"cpp", "cuda", "runtime"}
    dtype : {"float64", "float32"}
    """
    replayed = replay(case, device, dtype)
    differing, loss_deviation = 0, 0.0
    deviations: dict[int, float] = {}
    failures: list[str] = []
    for k in range(case.n_iterations):
        n_different, loss = replayed.iteration(k)
        differing += n_different
        # A period without learning has a loss of 0.
        deviation = abs(loss - case.losses[k]) / (abs(case.losses[k]) or 1.0)
        if not deviation <= TOLERANCE:
            failures.append(f"loss of iteration {k + 1} by {deviation:.1e}")
        loss_deviation = max(loss_deviation, deviation)
        if k + 1 in case.weights:
            deviations[k + 1] = 0.0
            weights = replayed.weights()
            for name in case.network.resolved.keys.connections:
                recorded = case.weights[k + 1][name]
                change = np.max(np.abs(recorded - case.initial_weights[name]))
                difference = np.max(np.abs(weights[name] - recorded))
                scale = change if change > 0 else 1.0
                deviations[k + 1] = max(deviations[k + 1], difference / scale)
                if not difference <= TOLERANCE * scale:
                    failures.append(f"{name} after update {k + 1} by {difference / scale:.1e}")
    if differing:
        failures.insert(0, f"{differing} spikes")
    replayed.close()
    return Verification(
        *(differing, float(loss_deviation), deviations, tuple(failures), TOLERANCE, replayed.rules)
    )
