r"""Pattern generation: turn a frozen spike pattern into a smooth output signal.

Every trial presents the same input spikes, and the readout must follow

.. math::

    s(t) = \sum_m A_m \sin(2 \pi t / P_m + \varphi_m), \qquad
    y^*(t) = \frac{s(t) - s(0)}{\max_t |s(t) - s(0)|}

with amplitudes :math:`A_m \sim U(0.5, 2)` and phases :math:`\varphi_m \sim U(0, 2\pi)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from brian2.units import Quantity, ms
from numpy.typing import ArrayLike, NDArray

from eprop_brian.base.checks import check_count, check_quantity
from eprop_brian.base.random import rng_for, uniforms
from eprop_brian.tasks.frozen import FrozenInputTask

__all__ = ["PatternGeneration", "superimposed_sines"]


def superimposed_sines(
    rng: np.random.Generator, periods: ArrayLike, n_steps: int, n_outputs: int
) -> NDArray[np.float64]:
    """Draw signals that start at 0 and whose largest absolute value is 1.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws amplitudes, then phases.
    periods : array of float, shape (n_sines,)
        Periods in steps.
    n_steps, n_outputs : int
        Length and number of the signals.

    Returns
    -------
    signals : float array, shape (n_steps, n_outputs)
    """
    periods = np.asarray(periods, dtype=float)
    shape = (len(periods), n_outputs)
    amplitude = 0.5 + 1.5 * uniforms(rng, shape)
    phase = 2 * np.pi * uniforms(rng, shape)
    angle = 2 * np.pi * np.arange(n_steps)[:, np.newaxis] / periods  # (n_steps, n_sines)
    signals = np.sum(amplitude * np.sin(angle[:, :, np.newaxis] + phase), axis=1)
    signals -= signals[0]
    return signals / np.abs(signals).max(axis=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class PatternGeneration(FrozenInputTask):
    """Follow a sum of sines while a frozen Poisson pattern comes in.

    The defaults are those of the authors' TensorFlow code and of the example in NEST.

    Parameters
    ----------
    n_steps : int
        Length of a trial in steps.
    n_inputs : int
        Number of input neurons.
    n_outputs : int
        Number of readouts, each with its own target.
    periods : sequence of Quantity
        Periods of the superimposed sines, at least two steps each.
    spike_probability : float
        Probability of an input spike per neuron and step, in all steps but the first (a spike
        there reaches nobody in the reference simulators).
    dt : Quantity
        Length of a time step, 1 ms by default.

    Raises
    ------
    brian2.DimensionMismatchError
        If `periods` or `dt` are not times.
    TypeError, ValueError
        If a setting is out of range.

    Notes
    -----
    Pattern and target depend on the seed alone: all streams and indices give the same trial.
    """

    name: ClassVar[str] = "pattern-generation"
    description: ClassVar[str] = "turn a frozen spike pattern into a sum of sines"
    source: ClassVar[str] = (
        "Bellec et al. 2020, A solution to the learning dilemma for recurrent networks of spiking "
        "neurons, Nat. Commun. 11:3625, doi:10.1038/s41467-020-17236-y"
    )

    n_steps: int = 1000
    n_outputs: int = 1
    periods: tuple[Quantity, ...] = (1000 * ms, 500 * ms, 333 * ms, 200 * ms)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("n_steps", self.n_steps, minimum=2)  # one step has only the value 0
        if np.size(self.periods) == 0 or np.ndim(self.periods) != 1:
            raise ValueError("periods must be a sequence of times, such as (500*ms, 200*ms)")
        if min(self.periods_in_steps) < 2:  # faster sines cannot be sampled
            raise ValueError(f"periods must be at least two steps of dt = {self.dt!s} long")

    def target_signals(self, seed: int) -> NDArray[np.float64]:
        """Return the sums of sines of `seed`, shape (n_steps, n_outputs)."""
        # A stream of its own: another number of inputs leaves the target as it is.
        rng = rng_for(seed, "target")
        return superimposed_sines(rng, self.periods_in_steps, self.n_steps, self.n_outputs)

    @cached_property
    def periods_in_steps(self) -> list[float]:
        """Periods of the sines in steps."""
        dt = check_quantity("dt", self.dt, ms)
        return [check_quantity("periods", period, ms) / dt for period in self.periods]
