"""Dynamical systems as tasks: what a balanced network is to represent and to imitate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from eprop_brian.base.converted import Converted
from eprop_brian.base.suggestions import unknown
from eprop_brian.equations.teachers import (
    BISTABLE,
    LORENZ,
    PENDULUM,
    TWO_JOINT_ARM,
    VAN_DER_POL,
    Teacher,
    linear_teacher,
)

__all__ = ["DYNAMICS", "Dynamics", "get_dynamics"]


def _as_region(value: tuple[float, ...], dynamics: Dynamics) -> tuple[float, ...]:
    return value or (1.0,) * dynamics.teacher.model.count("/dt")


@dataclass(frozen=True)
class Dynamics:
    """A dynamical system dx/dt = f(x) + c and the input that drives it.

    Parameters
    ----------
    name : str
    description : str
    teacher : Teacher
    input_std : float
        Standard deviation of every dimension of c, in 1/s: white noise, filtered twice.
    input_tau : float
        Time constant of the filters, in s.
    region : tuple of float
        Half the size of the box around 0 in which the system is to be learned, one number per
        dimension; default 1.
    """

    name: str
    description: str
    teacher: Teacher
    input_std: float = 0.0
    input_tau: float = 0.1
    region: Converted[tuple[float, ...]] = Converted(_as_region, ())

    def __post_init__(self) -> None:
        for name in ("input_std", "input_tau"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a finite number, 0 or more, not {value}")

    def with_input(self, std: float | None = None, tau: float | None = None) -> Dynamics:
        """Return a copy with another input."""
        return replace(
            self,
            input_std=self.input_std if std is None else std,
            input_tau=self.input_tau if tau is None else tau,
        )

    def inputs(self, n_steps: int, n_dimensions: int, dt: float, seed: int) -> np.ndarray:
        """Draw an input.

        Parameters
        ----------
        n_steps, n_dimensions : int
        dt : float
            Time step in s.
        seed : int
            The same seed gives the same input.

        Returns
        -------
        ndarray of shape (n_steps, n_dimensions)
            c in 1/s.
        """
        if self.input_std == 0:
            return np.zeros((n_steps, n_dimensions))
        return self.input_std * _filtered_noise(n_steps, n_dimensions, self.input_tau, dt, seed)

    def places(self, n_steps: int, dt: float, tau: float, reach: float, seed: int) -> np.ndarray:
        """Draw a path through the region that visits all of it evenly.

        Parameters
        ----------
        n_steps : int
        dt : float
            Time step in s.
        tau : float
            Time constant of the path in s.
        reach : float
            Size of what is visited, relative to the region.
        seed : int

        Returns
        -------
        ndarray of shape (n_steps, K)
        """
        # Imported here, as below: SciPy takes a while, and other tasks do without.
        from scipy.special import erf

        size = reach * np.asarray(self.region)
        noise = _filtered_noise(n_steps, len(size), tau, dt, seed)
        return size * erf(noise / np.sqrt(2))


def _filtered_noise(
    n_steps: int, n_dimensions: int, tau: float, dt: float, seed: int
) -> np.ndarray:
    """White noise through two equal low-pass filters, of variance 1."""
    from scipy.signal import lfilter

    # From before the start, so that it is stationary from the first step on.
    before = round(10 * tau / dt)
    filtered = np.random.default_rng([seed, 1]).standard_normal((before + n_steps, n_dimensions))
    decay = np.exp(-dt / tau) if tau else 0.0
    for _ in range(2):
        filtered = lfilter([1 - decay], [1, -decay], filtered, axis=0)
    # Variance of white noise after both filters.
    q = decay**2
    variance = (1 - decay) ** 4 * (1 + q) / (1 - q) ** 3
    return filtered[before:] / np.sqrt(variance)


#: Decay rate of the autoencoder in 1/s, the default one of filtered spikes.
_LEAK = 20.0

#: Tasks of balanced networks by their command-line name.
DYNAMICS: Mapping[str, Dynamics] = {
    task.name: task
    for task in (
        Dynamics(
            "balanced-autoencoder",
            "represent two leaky integrated inputs; weights in closed form",
            linear_teacher([[-_LEAK, 0.0], [0.0, -_LEAK]], name="autoencoder"),
            input_std=20.0,
        ),
        Dynamics(
            "balanced-integrator",
            "integrate an input without leak; weights in closed form",
            linear_teacher([[0.0]], name="integrator"),
            input_std=1.5,
        ),
        Dynamics(
            "balanced-oscillator",
            "follow a damped oscillator driven by noise; weights in closed form",
            linear_teacher([[-0.5, 6.0], [-6.0, -0.5]], name="oscillator"),
            input_std=1.5,
        ),
        Dynamics(
            "balanced-sustained-oscillator",
            "go on oscillating without input; weights in closed form",
            linear_teacher([[0.0, 6.0], [-6.0, 0.0]], [0.8, 0.0], name="sustained-oscillator"),
        ),
        Dynamics(
            "balanced-linear",
            "learn the slow weights of the oscillator by the linear rule",
            linear_teacher([[-0.5, 6.0], [-6.0, -0.5]], name="oscillator"),
            input_std=1.5,
        ),
        Dynamics(
            "balanced-fast",
            "learn the fast weights of the autoencoder, from no balance at all",
            linear_teacher([[-_LEAK, 0.0], [0.0, -_LEAK]], name="autoencoder"),
            input_std=20.0,
        ),
        Dynamics(
            "balanced-bistable",
            "learn a system with two stable fixed points",
            BISTABLE,
            input_std=6.0,
            input_tau=0.2,
            region=(1.5, 1.0),
        ),
        Dynamics(
            "balanced-van-der-pol",
            "learn a limit cycle, Van der Pol's",
            VAN_DER_POL,
            region=(1.4, 1.4),
        ),
        Dynamics(
            "balanced-lorenz",
            "learn a chaotic attractor, Lorenz'",
            LORENZ,
            region=(1.0, 1.3, 1.2),
        ),
        Dynamics(
            "balanced-pendulum",
            "learn a damped pendulum that is pushed",
            PENDULUM,
            input_std=0.5,
        ),
        Dynamics(
            "balanced-arm",
            "learn an arm of two joints, held by springs and pushed",
            TWO_JOINT_ARM,
            input_std=1.0,
            region=(0.7, 0.7, 0.7, 0.7),
        ),
    )
}


def get_dynamics(name: str) -> Dynamics:
    """A task of balanced networks by its name (ValueError, naming those there are)."""
    if name not in DYNAMICS:
        raise ValueError(unknown("task", name, DYNAMICS))
    return DYNAMICS[name]
