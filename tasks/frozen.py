"""Frozen input, fixed target signal: what tasks that teach the readout one trajectory share.

Every trial of a seed presents the same Poisson spikes, which serve the network as a clock, and the
readouts must follow the same signals.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from eprop_brian.base.checks import check_count, check_probability
from eprop_brian.base.random import rng_for
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.spikes import poisson_spikes
from eprop_brian.tasks.trials import Trials

__all__ = ["FrozenInputTask"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenInputTask(Task):
    """Base class: follow `target_signals` while a frozen Poisson pattern comes in.

    Parameters
    ----------
    n_inputs : int
        Number of input neurons.
    spike_probability : float
        Probability of an input spike per neuron and step, in all steps but the first (a spike
        there reaches nobody in the reference simulators).
    dt : Quantity
        Length of a time step, 1 ms by default.

    Notes
    -----
    Pattern and target depend on the seed alone: all streams and indices give the same trial.
    """

    loss: ClassVar[str] = "squared_error"

    n_inputs: int = 100
    spike_probability: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        check_probability("spike_probability", self.spike_probability)

    @property
    def learning_window(self) -> int:
        """The whole trial."""
        return self.n_steps

    def probability(self) -> NDArray[np.float64]:
        """Return the spike probability per step, shape (n_steps, n_inputs)."""
        probability = np.full((self.n_steps, self.n_inputs), self.spike_probability)
        probability[0] = 0.0
        return probability

    @abstractmethod
    def target_signals(self, seed: int) -> NDArray[np.float64]:
        """Return what the readouts must follow, shape (n_steps, n_outputs)."""

    def trials(self, seed: int, stream: str, index: int, n_trials: int) -> Trials:
        """Return `n_trials` times the one trial that belongs to `seed`.

        See `Task.trials`. `inputs` has the shape (1, n_steps, n_inputs) and `targets` the shape
        (1, n_steps, n_outputs).
        """
        check_count("n_trials", n_trials)
        spikes, targets = _frozen_trial(self, seed)
        only_row = np.zeros(n_trials, dtype=np.intp)
        return Trials(spikes, targets, pattern=only_row, target=only_row)


# Kept, because drawing the same trial anew in every iteration would slow down training.
@lru_cache(maxsize=4)
def _frozen_trial(
    task: FrozenInputTask, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return inputs and targets of the one trial of `task` and `seed`, read-only."""
    spikes = poisson_spikes(rng_for(seed, "pattern"), task.probability())
    targets = task.target_signals(seed)[np.newaxis]
    spikes.flags.writeable = False
    targets.flags.writeable = False
    return spikes, targets
