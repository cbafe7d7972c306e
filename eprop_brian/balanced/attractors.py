"""Attractors of a learned system and of its teacher, which a pointwise error does not compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from eprop_brian.balanced.field import NetworkField
from eprop_brian.balanced.metrics import (
    FixedPoint,
    LimitCycle,
    fixed_points,
    limit_cycle,
    lobe_switches,
    lyapunov_exponent,
)
from eprop_brian.balanced.simulation import Recording
from eprop_brian.balanced.spec import BalancedNetwork

__all__ = ["Attractors", "attractors"]

#: Starting points of the search for fixed points.
_STARTS = 60
#: Fixed points that are no longer counted one by one.
_MANY = 12
#: Dimensions from which on a system can be chaotic.
_CHAOS = 3


@dataclass(frozen=True)
class Attractors:
    """Statistics of a vector field and of its motion.

    Attributes
    ----------
    fixed_points : list of FixedPoint
        In the region that was visited.
    cycle : LimitCycle
        Of the motion in the recording.
    switches : float
        Changes of side in the first dimension per s, in the recording.
    lyapunov : float
        Largest Lyapunov exponent in 1/s; NaN with fewer than three dimensions.
    """

    fixed_points: list[FixedPoint]
    cycle: LimitCycle
    switches: float
    lyapunov: float

    def table(self) -> dict[str, Any]:
        """Return the values as a TOML table has them."""
        return {
            "fixed_points": [point.x.tolist() for point in self.fixed_points],
            "stable": [point.stable for point in self.fixed_points],
            "cycles": self.cycle.cycles,
            "period": self.cycle.period,
            "amplitude": self.cycle.amplitude.tolist(),
            "switches": self.switches,
            "lyapunov": self.lyapunov,
        }

    def lines(self) -> list[str]:
        """One line for each kind of statistic."""
        points = [
            f"({', '.join(f'{round(value, 4) + 0.0:.3g}' for value in point.x)}) "
            f"{'stable' if point.stable else 'unstable'}"
            for point in self.fixed_points
        ]
        if len(points) > _MANY:
            points = ["many: whole lines or planes stand still"]
        lines = [f"fixed points: {'; '.join(points) or 'none'}"]
        if self.cycle.cycles:
            amplitude = ", ".join(f"{value:.3g}" for value in self.cycle.amplitude)
            lines.append(
                f"cycles: {self.cycle.cycles}, period {self.cycle.period:.3g} s, "
                f"amplitude ({amplitude})"
            )
        lines.append(f"changes of side: {self.switches:.2g}/s")
        if np.isfinite(self.lyapunov):
            lines.append(f"largest Lyapunov exponent: {self.lyapunov:.3g}/s")
        return lines


def attractors(
    network: BalancedNetwork,
    slow_weights: np.ndarray,
    points: np.ndarray,
    recording: Recording,
    killed: np.ndarray | None = None,
) -> tuple[Attractors, Attractors]:
    """Statistics of the teacher and of the network, in this order.

    Parameters
    ----------
    network : BalancedNetwork
    slow_weights : array of shape (N, n_basis)
    points : array of shape (n, K)
        States that were visited: where fixed points are looked for, and where paths begin.
    recording : Recording
        A test.
    killed : array of bool of shape (N,), optional

    Raises
    ------
    ValueError
        If the network has no vector field, see `NetworkField`.
    """
    starts = points[:: max(1, len(points) // _STARTS)]
    network_field = NetworkField(network, slow_weights, killed)
    return (
        _attractors(network.teacher_map.field, starts, recording.t, recording.x),
        _attractors(network_field, starts, recording.t, recording.estimate),
    )


def _attractors(
    field: Callable[[np.ndarray], np.ndarray], starts: np.ndarray, t: np.ndarray, motion: np.ndarray
) -> Attractors:
    exponent = float("nan")
    if motion.shape[1] >= _CHAOS:
        with np.errstate(over="ignore", invalid="ignore"):
            exponent = lyapunov_exponent(field, motion[-1])
    return Attractors(
        fixed_points(field, starts),
        limit_cycle(t, _smoothed(motion)),
        lobe_switches(t, motion),
        exponent,
    )


def _smoothed(x: np.ndarray, width: int = 20) -> np.ndarray:
    """Running mean, so that the jumps of single spikes do not count as crossings."""
    kernel = np.ones(min(width, len(x))) / min(width, len(x))
    return np.stack([np.convolve(column, kernel, mode="same") for column in x.T], axis=1)
