"""Dynamical systems as tasks: what a balanced network is to represent and to imitate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
from scipy.signal import lfilter

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
    """

    name: str
    description: str
    teacher: Teacher
    input_std: float = 0.0
    input_tau: float = 0.1

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
        # From before the start, so that it is stationary from the first step on.
        before = round(10 * self.input_tau / dt)
        noise = np.random.default_rng([seed, 1]).standard_normal((before + n_steps, n_dimensions))
        decay = np.exp(-dt / self.input_tau) if self.input_tau else 0.0
        filtered = noise
        for _ in range(2):
            filtered = lfilter([1 - decay], [1, -decay], filtered, axis=0)
        # Variance of white noise after both filters.
        q = decay**2
        variance = (1 - decay) ** 4 * (1 + q) / (1 - q) ** 3
        return self.input_std * filtered[before:] / np.sqrt(variance)


#: Decay rate of the autoencoder in 1/s, the default one of filtered spikes.
_LEAK = 20.0

#: Tasks of balanced networks by their command-line name.
DYNAMICS: Mapping[str, Dynamics] = {
    task.name: task
    for task in (
        Dynamics(
            "balanced-autoencoder",
            "Closed form: two inputs, leaky integrated, are represented.",
            linear_teacher([[-_LEAK, 0.0], [0.0, -_LEAK]], name="autoencoder"),
            input_std=20.0,
        ),
        Dynamics(
            "balanced-integrator",
            "Closed form: an input is integrated without leak.",
            linear_teacher([[0.0]], name="integrator"),
            input_std=0.5,
        ),
        Dynamics(
            "balanced-oscillator",
            "Closed form: a damped oscillator driven by filtered noise.",
            linear_teacher([[-0.5, 6.0], [-6.0, -0.5]], name="oscillator"),
            input_std=1.5,
        ),
        Dynamics(
            "balanced-sustained-oscillator",
            "Closed form: an undamped oscillator runs on by itself.",
            linear_teacher([[0.0, 6.0], [-6.0, 0.0]], [0.8, 0.0], name="sustained-oscillator"),
        ),
        Dynamics(
            "balanced-linear",
            "Slow weights of the oscillator learned by the linear rule.",
            linear_teacher([[-0.5, 6.0], [-6.0, -0.5]], name="oscillator"),
            input_std=1.5,
        ),
        Dynamics(
            "balanced-fast",
            "Fast weights of the autoencoder learned from a start that is not balanced.",
            linear_teacher([[-_LEAK, 0.0], [0.0, -_LEAK]], name="autoencoder"),
            input_std=20.0,
        ),
        Dynamics(
            "balanced-bistable",
            "A system with two stable fixed points is learned.",
            BISTABLE,
            input_std=2.0,
            input_tau=0.2,
        ),
        Dynamics(
            "balanced-van-der-pol",
            "A limit cycle is learned.",
            VAN_DER_POL,
            input_std=1.0,
        ),
        Dynamics("balanced-lorenz", "A chaotic attractor is learned.", LORENZ),
        Dynamics(
            "balanced-pendulum",
            "A damped pendulum that is pushed is learned.",
            PENDULUM,
            input_std=1.5,
        ),
        Dynamics(
            "balanced-arm",
            "An arm of two joints in a plane, held by springs and pushed, is learned.",
            TWO_JOINT_ARM,
            input_std=1.0,
        ),
    )
}


def get_dynamics(name: str) -> Dynamics:
    """A task of balanced networks by its name (ValueError, naming those there are)."""
    if name not in DYNAMICS:
        close = get_close_matches(name, DYNAMICS, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise ValueError(f"unknown task '{name}'.{hint} There are: {', '.join(DYNAMICS)}")
    return DYNAMICS[name]
