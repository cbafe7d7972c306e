r"""One-shot learning of an arm's movement: repeat a path that was shown once.

The arm has two joints and moves in a plane. A network puts out the angular velocities
:math:`\omega_k` of the joints; a clock is all that it hears. Angles and the hand's place follow,

.. math::
    \phi_k[t] = \phi_k[t - 1] + \delta\, \omega_k[t], \qquad
    x = \tfrac12 (\cos\phi_0 + \cos\theta), \quad y = \tfrac12 (\sin\phi_0 + \sin\theta),

with :math:`\theta = \phi_0 + \phi_1` (``angles = "relative"``: the second joint is bent by
:math:`\phi_1`) or :math:`\theta = \phi_1` (``"absolute"``, the form of 2019). Every task is another
path: angular velocities that are Brownian motions, smoothed and clipped. Who teaches the network
sees, beside the clock, where the hand should be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from brian2.units import Quantity, ms
from numpy.typing import NDArray

from eprop_brian.base.checks import check_choice, check_positive, check_real, whole_steps
from eprop_brian.base.random import normals, rng_for
from eprop_brian.tasks.families import TaskBatch, TaskFamily
from eprop_brian.tasks.trials import Trials

__all__ = ["ANGLES", "CODES", "OneShotArm"]

ANGLES = ("relative", "absolute")
CODES = ("population", "binary")
_BITS = 16
#: Angles that a trial begins with.
_START = (0.0, np.pi / 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class OneShotArm(TaskFamily):
    """Repeat a movement of an arm that was shown once.

    Parameters
    ----------
    duration : Quantity
        Length of a trial (249 ms).
    angles : {"relative", "absolute"}
        Whether the second angle counts from the first link, or from the horizontal.
    clock_groups, clock_size : int
        Groups of clock inputs, active one after the other, and inputs of a group (5 and 1).
    clock_interval : Quantity
        Time from one spike of an active clock input to the next (10 ms).
    code : {"population", "binary"}
        How each coordinate of the hand's target is coded in every step: by values of Gaussian
        tuning curves, or by 16 inputs that spike where its binary number has a 1.
    n_code : int
        Tuning curves of a coordinate, evenly from -1 to 1 and as wide as their distance (16).
    speed : float
        :math:`\\delta`, seconds of movement of a step (0.01).
    spread : float
        Standard deviation that Brownian motion gains in a second of movement, in rad/s (1).
    smoothing : int
        Steps of the Hann window that smooths it (120).
    position_cost : float
        Factor of the cost of the hand's place, :math:`\\frac{1}{2}` of the mean square over steps
        and coordinates (1).
    dt : Quantity
        Length of a time step, 1 ms by default.

    Raises
    ------
    ValueError
        If a setting is out of range, or a duration not a whole number of steps.
    """

    name: ClassVar[str] = "one-shot-arm"
    description: ClassVar[str] = "repeat a movement of an arm that was shown once"
    source: ClassVar[str] = (
        "Ortner et al. 2025, arXiv 2405.05141; with absolute angles Bellec et al. 2019, arXiv "
        "1901.09049"
    )
    measure: ClassVar[str] = "distance of the hand from its target, in lengths of the arm"
    n_outputs: ClassVar[int] = 2  # type: ignore[misc]

    duration: Quantity = field(default_factory=lambda: 249 * ms)
    angles: str = "relative"
    clock_groups: int = 5
    clock_size: int = 1
    clock_interval: Quantity = field(default_factory=lambda: 10 * ms)
    code: str = "population"
    n_code: int = 16
    speed: float = 0.01
    spread: float = 1.0
    smoothing: int = 120
    position_cost: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("angles", self.angles, ANGLES)
        check_choice("code", self.code, CODES)
        for name in ("clock_groups", "clock_size", "smoothing"):
            check_positive(name, getattr(self, name))
        for name in ("speed", "spread", "position_cost"):
            check_real(name, getattr(self, name), minimum=0)
        if not isinstance(self.n_code, int) or self.n_code < 2:
            raise ValueError(f"n_code must be a whole number, at least 2, not {self.n_code!r}")
        if self.n_steps < self.clock_groups:
            raise ValueError(
                f"{self.n_steps} steps are too few for {self.clock_groups} clock groups"
            )
        whole_steps("clock_interval", self.clock_interval, self.dt)

    @property
    def n_clock(self) -> int:
        """Inputs of the clock."""
        return self.clock_groups * self.clock_size

    @property
    def n_teaching(self) -> int:
        """The code of the hand's target."""
        return 2 * (_BITS if self.code == "binary" else self.n_code)

    @property
    def n_inputs(self) -> int:
        """The clock, then the code of the target."""
        return self.n_clock + self.n_teaching

    @property
    def n_steps(self) -> int:
        """Steps of a trial."""
        return whole_steps("duration", self.duration, self.dt)

    def draw(self, seed: int, stream: str, index: int, n_tasks: int) -> TaskBatch:
        """Draw movements; support and query are the same trial, before and after the update."""
        velocities = self._velocities(rng_for(seed, f"{self.name} {stream}", index), n_tasks)
        code = self._code(self.positions(velocities))
        clock = np.broadcast_to(self._clock(), (n_tasks, *self._clock().shape))
        inputs = np.concatenate([clock.astype(code.dtype), code], axis=2)
        each = np.arange(n_tasks)
        trials = Trials(inputs, velocities, pattern=each, target=each)
        return TaskBatch(trials, trials, n_tasks)

    def positions(self, velocities: Any, library: Any = np) -> Any:
        """Places of the hand, shape (n_trials, n_steps, 2), for velocities of the same shape."""
        start = library.asarray(_START, velocities.dtype)
        phi = start + self.speed * library.cumsum(velocities, axis=1)
        second = phi.sum(axis=2) if self.angles == "relative" else phi[..., 1]
        x = (library.cos(phi[..., 0]) + library.cos(second)) / 2
        y = (library.sin(phi[..., 0]) + library.sin(second)) / 2
        return library.stack([x, y], axis=-1)

    def outcome_cost(self, outputs: Any, targets: Any, library: Any = np) -> Any:
        """Half the mean square of the hand's deviation; see `TaskFamily.outcome_cost`."""
        places, right = (self.positions(v, library) for v in (outputs, targets))
        return self.position_cost / 2 * library.mean((places - right) ** 2, axis=(1, 2))

    def errors(self, outputs: NDArray[np.float64], query: Trials) -> NDArray[np.float64]:
        """Return the mean distance of the hand from its target; see `TaskFamily.errors`."""
        right = self.positions(query.targets[query.target])
        return np.linalg.norm(self.positions(outputs) - right, axis=2).mean(axis=1)

    def _velocities(self, rng: np.random.Generator, n_tasks: int) -> NDArray[np.float64]:
        """Brownian motions, smoothed and clipped, (n_tasks, n_steps, 2)."""
        n = self.n_steps + self.smoothing - 1
        steps = self.spread * np.sqrt(self.speed) * normals(rng, (n_tasks, 2, n))
        window = np.hanning(self.smoothing + 2)[1:-1]
        window /= window.sum()
        brownian = np.cumsum(steps, axis=2)
        smooth = np.lib.stride_tricks.sliding_window_view(brownian, self.smoothing, axis=2) @ window
        return np.clip(smooth, -np.pi, np.pi).swapaxes(1, 2)

    def _clock(self) -> NDArray[np.bool_]:
        """Spikes of the clock, (n_steps, n_clock)."""
        every = whole_steps("clock_interval", self.clock_interval, self.dt)
        steps = np.arange(self.n_steps)
        # The last group has what is left of a trial that they do not share evenly.
        length = -(-self.n_steps // self.clock_groups)
        active = (steps // length)[:, np.newaxis] == np.arange(self.clock_groups)
        spikes = active & (steps % length % every == 0)[:, np.newaxis]
        return np.repeat(spikes, self.clock_size, axis=1)

    def _code(self, places: NDArray[np.float64]) -> NDArray[Any]:
        """What codes for places, (n_tasks, n_steps, n_code of both coordinates)."""
        if self.code == "binary":
            number = np.rint((places + 1) / 2 * (2**_BITS - 1)).astype(np.int64)
            bits = number[..., np.newaxis] >> np.arange(_BITS) & 1
            return bits.reshape(*places.shape[:2], -1).astype(bool)
        centres = np.linspace(-1, 1, self.n_code)
        width = centres[1] - centres[0]
        tuned = np.exp(-(((places[..., np.newaxis] - centres) / width) ** 2) / 2)
        return tuned.reshape(*places.shape[:2], -1)
