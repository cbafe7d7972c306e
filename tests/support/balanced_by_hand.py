"""A balanced network by hand, in plain NumPy: what every device must reproduce spike for spike.

Written from the equations of the papers (Boerlin, Machens, Deneve 2013; Alemi et al. 2018) and the
order of a step; it shares nothing with the package but the values of parameters. Neurons are rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Result:
    """Spikes as (step, neuron), states before every step, weights after the last."""

    spikes: list[tuple[int, int]]
    x: np.ndarray
    estimate: np.ndarray
    v: np.ndarray
    r: np.ndarray
    slow: np.ndarray
    fast: np.ndarray


def constant(value: float) -> Callable[[float], float]:
    """A gain or rate that stays."""
    return lambda t: value


_NOTHING = constant(0.0)


def oscillator(x: np.ndarray) -> np.ndarray:
    """The damped oscillator of the tasks."""
    return np.array([-0.5 * x[0] + 6 * x[1], -6 * x[0] - 0.5 * x[1]])


def van_der_pol(x: np.ndarray) -> np.ndarray:
    """The library's van der Pol oscillator with its parameters."""
    return np.array([6 * x[1], 6 * ((1 - (x[0] / 0.5) ** 2) * x[1] - x[0])])


def simulate(
    network,
    f: Callable[[np.ndarray], np.ndarray],
    inputs: np.ndarray,
    *,
    gain: Callable[[float], float] = _NOTHING,
    rate: Callable[[float], float] = _NOTHING,
    fast_rate: Callable[[float], float] = _NOTHING,
    pull: float = 0.0,
    seed: int = 1,
    killed: dict[int, np.ndarray] | None = None,
) -> Result:
    """Run a network from its start; `killed` says which neurons fall silent in which step."""
    dt, leak, leak_v = (float(getattr(network, name)) for name in ("dt", "lambda_r", "lambda_v"))
    d, m, theta = network.decoder, network.basis_weights, network.basis_offset
    slow, fast = np.array(network.slow_weights), np.array(network.fast_weights)
    n = d.shape[1]
    threshold = np.array(network.threshold)
    delay = round(float(network.delay) / dt)
    refractory = round(float(network.t_ref) / dt)
    x = np.array(network.teacher_map.initial)
    v, r, estimate = d.T @ x, np.zeros(n), np.zeros(len(d))
    u = None if m is None else np.zeros(len(m))
    free_from = np.zeros(n)
    on_their_way: dict[int, np.ndarray] = {}
    states, spikes = [], []
    for step, given in enumerate(inputs):
        threshold[(killed or {}).get(step, [])] = np.inf
        states.append((x, estimate, v, r))
        c = given - pull * x
        error = d.T @ (x - estimate)
        psi = r if u is None else np.tanh(u + theta)
        k, eta = gain(step * dt), rate(step * dt)
        noise = 0.0
        if network.sigma:
            noise = network.sigma * np.sqrt(2 * leak_v * dt) * normal_numbers(seed, step, n)
        held = v if network.feedback == "corrected" else 0.0
        v = v + dt * (-leak_v * v + d.T @ c + slow @ psi + k * (error - held)) + noise
        v = v + on_their_way.pop(step, 0.0)
        slow = slow + dt * eta * np.outer(error, psi)
        x = runge_kutta(lambda state, c=c: f(state) + c, x, dt)
        r, estimate = r - dt * leak * r, estimate - dt * leak * estimate
        if u is not None:
            u = u - dt * leak * u
        above = np.where(free_from <= step, v - threshold, -np.inf)
        fired = np.flatnonzero(above > 0)
        if network.one_spike and len(fired):
            fired = [int(np.argmax(above))]
        for j in fired:
            fast[:, j] += fast_rate(step * dt) * (2 * v - fast[:, j])
        for j in fired:
            spikes.append((step, int(j)))
            sent = -fast[:, j]
            if delay:
                # The own reset is at once.
                v = v + sent * (np.arange(n) == j)
                sent = sent * (np.arange(n) != j)
                on_their_way[step + delay] = on_their_way.get(step + delay, 0.0) + sent
            else:
                v = v + sent
            r = r + (np.arange(n) == j)
            estimate = estimate + d[:, j]
            if u is not None:
                u = u + m[:, j]
            free_from[j] = step + refractory
    return Result(spikes, *(np.array(column) for column in zip(*states, strict=True)), slow, fast)


def runge_kutta(f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, dt: float) -> np.ndarray:
    """One classical step of order 4."""
    a = f(x)
    b = f(x + dt / 2 * a)
    c = f(x + dt / 2 * b)
    return x + dt / 6 * (a + 2 * b + 2 * c + f(x + dt * c))


def normal_numbers(seed: int, step: int, n: int) -> np.ndarray:
    """Noise of a step: SplitMix64 of seed, step and neuron, then Box and Muller's cosine."""
    place = _split_mix(seed + (step << 32))
    numbers = []
    for neuron in range(n):
        z = _split_mix(place + neuron)
        first, second = ((z >> 32) + 0.5) / 2**32, (z % 2**32) / 2**32
        numbers.append(np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second))
    return np.array(numbers)


def _split_mix(z: int) -> int:
    z = (z + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)
