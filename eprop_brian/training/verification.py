"""Replay a recorded run of another simulator and compare, update by update."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eprop_brian.devices import make_program
from eprop_brian.tasks.base import Trials
from eprop_brian.training.reference import ReferenceCase
from eprop_brian.training.session import MATRICES, Session

__all__ = ["Verification", "verify"]

#: Allowed relative deviation of a loss, and of a weight relative to the largest change so far.
TOLERANCE = 1e-9
#: Allowed deviation of a weight where the recording lost a term of the gradient.
LOST_TERM_TOLERANCE = 3e-6


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
        What deviates more than it may; empty if the case holds.
    """

    differing_spikes: int
    loss_deviation: float
    weight_deviations: dict[int, float]
    failures: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the case holds."""
        return not self.failures

    def __str__(self) -> str:
        weights = "  ".join(f"{k}: {d:.1e}" for k, d in self.weight_deviations.items())
        return (
            f"differing spikes {self.differing_spikes}  loss deviation {self.loss_deviation:.1e}  "
            f"weight deviation after update {weights or '(none recorded)'}  "
            + ("ok" if self.ok else "FAILED: " + "; ".join(self.failures))
        )


def verify(case: ReferenceCase, device: str = "cpp", dtype: str = "float64") -> Verification:
    """Replay a reference case.

    Parameters
    ----------
    case : ReferenceCase
    device : {"cpp", "runtime"}
    dtype : {"float64", "float32"}
    """
    session = Session(
        case.network,
        make_program(device, dtype),
        _iteration(case, 0),
        case.learning_window,
        case.initial_weights,
    )
    differing, loss_deviation = 0, 0.0
    deviations: dict[int, float] = {}
    failures: list[str] = []
    for k in range(case.n_iterations):
        trials = _iteration(case, k)
        for i in range(case.batch_size):
            session.run(trials.part(slice(i, i + 1)), 1, learning=False)
            differing += int(np.sum(session.spikes() != case.spikes[k * case.batch_size + i]))
        outcome = session.run(trials, case.batch_size)
        deviation = abs(outcome.loss.mean() - case.losses[k]) / abs(case.losses[k])
        if not deviation <= TOLERANCE:
            failures.append(f"loss of iteration {k + 1} by {deviation:.1e}")
        loss_deviation = max(loss_deviation, deviation)
        if k + 1 in case.weights:
            deviations[k + 1] = 0.0
            for name in MATRICES:
                recorded = case.weights[k + 1][name]
                change = np.max(np.abs(recorded - case.initial_weights[name]))
                difference = np.max(np.abs(session.weights[name] - recorded))
                scale = change if change > 0 else 1.0
                deviations[k + 1] = max(deviations[k + 1], difference / scale)
                allowed = TOLERANCE * scale if case.exact_weights else LOST_TERM_TOLERANCE
                if not difference <= allowed:
                    failures.append(f"{name} after update {k + 1} by {difference / scale:.1e}")
    if differing:
        failures.insert(0, f"{differing} spikes")
    return Verification(differing, float(loss_deviation), deviations, tuple(failures))


def _iteration(case: ReferenceCase, k: int) -> Trials:
    return case.trials.part(slice(k * case.batch_size, (k + 1) * case.batch_size))
