"""Handwriting: write a word with a pen whose coordinates are two readouts.

The word is "eprop" in joined letters, a trajectory of our own: each letter is a row of points that
the pen passes, joined by one cubic spline and sampled at equal distances along the line.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from eprop_brian.base.checks import check_count
from eprop_brian.tasks.frozen import FrozenInputTask

__all__ = ["Handwriting", "pen_trajectory"]

#: Points that the pen passes in each letter (x from the letter's left edge, y from the base line,
#: in heights of a small letter), and how far right of it the next letter begins.
_Letter = tuple[tuple[tuple[float, float], ...], float]
_E: _Letter = (
    ((0.02, 0.12), (0.38, 0.4), (0.66, 0.78), (0.5, 1.0), (0.27, 0.8), (0.2, 0.42))
    + ((0.38, 0.06), (0.7, 0.06)),
    0.92,
)
_P: _Letter = (
    ((0.3, 0.95), (0.27, 0.3), (0.2, -0.5), (0.05, -1.05), (0.0, -0.85), (0.14, -0.4))
    + ((0.34, 0.35), (0.52, 0.86), (0.78, 0.97), (0.97, 0.6), (0.86, 0.16), (0.6, -0.02))
    + ((0.4, 0.1), (0.52, 0.26), (0.8, 0.14), (1.04, 0.14)),
    1.14,
)
_R: _Letter = (
    ((0.06, 0.4), (0.28, 1.0), (0.42, 0.9), (0.72, 0.86), (0.7, 0.45), (0.8, 0.07), (1.02, 0.12)),
    1.12,
)
_O: _Letter = (
    ((0.12, 0.48), (0.5, 0.95), (0.22, 0.78), (0.12, 0.4), (0.36, 0.02), (0.72, 0.22))
    + ((0.78, 0.66), (0.58, 0.94), (0.5, 0.8), (0.7, 0.7), (0.98, 0.78)),
    1.02,
)
_WORD = (_E, _P, _R, _O, _P)
#: Width of the word in units of the readouts.
_WIDTH = 2.0


@cache
def pen_trajectory(n_points: int) -> NDArray[np.float64]:
    """Return the word as points that the pen passes at equal distances, in its true proportions.

    Parameters
    ----------
    n_points : int
        At least 2.

    Returns
    -------
    points : float array, shape (n_points, 2), read-only
        Coordinates x and y. The pen starts at the origin; the word is 2 wide.
    """
    corners: list[tuple[float, float]] = []
    left = 0.0
    for letter, advance in _WORD:
        corners += [(left + x, y) for x, y in letter]
        left += advance
    passed = np.array(corners)
    # Centripetal: through points at unequal distances a spline in another parameter overshoots.
    parameter = np.cumsum(np.sqrt(np.linalg.norm(np.diff(passed, axis=0), axis=1)))
    # Imported here: it takes longer than all other modules of tasks.
    from scipy.interpolate import CubicSpline

    line = CubicSpline(np.insert(parameter, 0, 0.0), passed)
    dense = line(np.linspace(0.0, parameter[-1], 20_000))
    length = np.insert(np.cumsum(np.linalg.norm(np.diff(dense, axis=0), axis=1)), 0, 0.0)
    at = np.linspace(0.0, length[-1], n_points)
    points = np.stack([np.interp(at, length, coordinate) for coordinate in dense.T], axis=1)
    points -= points[0]
    points *= _WIDTH / np.ptp(dense[:, 0])
    points.flags.writeable = False
    return points


@dataclass(frozen=True, kw_only=True, eq=False)
class Handwriting(FrozenInputTask):
    """Write a word while a frozen Poisson pattern comes in.

    Number of points and timing are those of NEST's example; the word is our own.

    Parameters
    ----------
    n_points : int
        Points of the trajectory, at least 2.
    steps_per_point : int
        Steps from one point to the next, between which the target is interpolated.
    n_inputs : int
        Number of input neurons.
    spike_probability : float
        Probability of an input spike per neuron and step, in all steps but the first.
    dt : Quantity
        Length of a time step, 1 ms by default.

    Raises
    ------
    brian2.DimensionMismatchError
        If `dt` is not a time.
    TypeError, ValueError
        If a setting is out of range.

    Notes
    -----
    The spikes depend on the seed alone, the target on nothing.
    """

    name: ClassVar[str] = "handwriting"
    description: ClassVar[str] = "write a word while a frozen spike pattern comes in"
    source: ClassVar[str] = (
        "timing of NEST 3.10, example eprop_supervised_regression_handwriting_bsshslm_2020, after "
        "Bellec et al. 2020, Nat. Commun. 11:3625, doi:10.1038/s41467-020-17236-y; the "
        "trajectory is our own"
    )
    n_outputs: ClassVar[int] = 2

    n_points: int = 228
    steps_per_point: int = 8

    def __post_init__(self) -> None:
        check_count("n_points", self.n_points, minimum=2)
        check_count("steps_per_point", self.steps_per_point)
        super().__post_init__()

    @property
    def n_steps(self) -> int:
        """Length of a trial in steps, 1824 by default."""
        return self.n_points * self.steps_per_point

    def target_signals(self, seed: int) -> NDArray[np.float64]:
        """Return the coordinates of the pen, shape (n_steps, 2)."""
        points = pen_trajectory(self.n_points)
        # The pen stays at the last point for the steps after it.
        at = np.arange(self.n_steps) / self.steps_per_point
        return np.stack([np.interp(at, np.arange(len(points)), axis) for axis in points.T], axis=1)
