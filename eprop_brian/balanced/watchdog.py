"""Watching a balanced network: what is not a result is an error that says what to change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eprop_brian.balanced.metrics import ping_pong
from eprop_brian.balanced.spec import BalancedNetwork
from eprop_brian.devices import SimulationError

__all__ = ["Call", "UnstableNetworkError", "Watchdog"]

#: Share of the steps with a spike beyond which one spike a step cannot keep up.
_MOST_STEPS_WITH_SPIKE = 0.5
#: A network that cannot keep its potentials below so many thresholds for more than such a share of
#: the time does not control its error. One that does has at most 1.1 of them, or, catching up with
#: a sudden change, more for some milliseconds.
_OVERSHOOT, _MOST_TIME = 4.0, 0.1
#: An error so many times as large as the signal is beyond any transient.
_DIVERGED = 1e3
#: Share of spikes that a neuron of the opposite direction answers at once from which on this is
#: the reason. Noise makes such pairs too, without harm.
_PING_PONG = 0.5
#: Simulated time in s below which shares mean nothing.
_SHORT = 0.1


class UnstableNetworkError(SimulationError):
    """A network that diverges or fires without end: the message says what to change."""


@dataclass(frozen=True)
class Call:
    """What one call of a network's program did.

    Attributes
    ----------
    n_steps, done : int
        Steps that it should have run, and those that it ran before it had no room for spikes.
    neurons, steps : ndarray of int of shape (n_spikes,)
        Of its spikes.
    x, estimate : ndarray of shape (n_records, K)
    v : ndarray of shape (n_records, N)
    last_v : ndarray of shape (N,)
        Potentials after the last step.
    """

    n_steps: int
    done: int
    neurons: np.ndarray
    steps: np.ndarray
    x: np.ndarray
    estimate: np.ndarray
    v: np.ndarray
    last_v: np.ndarray


class Watchdog:
    """Judges a network call by call, its shares of time over at least 0.1 s.

    Parameters
    ----------
    network : BalancedNetwork
    """

    def __init__(self, network: BalancedNetwork) -> None:
        self._network, self._dt = network, float(network.dt)
        self._forget()

    def _forget(self) -> None:
        """Begin a new stretch of time."""
        self._n_steps = 0
        self._neurons: list[np.ndarray] = []
        self._times: list[np.ndarray] = []
        self._v: list[np.ndarray] = []

    def state(self) -> dict[str, np.ndarray]:
        """Give what happened since the network was last judged."""
        return {
            "n_steps": np.array(self._n_steps),
            "neurons": np.concatenate([np.zeros(0, int), *self._neurons]),
            "times": np.concatenate([np.zeros(0, int), *self._times]),
            "v": np.concatenate([np.zeros((0, self._network.n)), *self._v]),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to what `state` gave."""
        self._n_steps = int(state["n_steps"])
        self._neurons, self._times = [state["neurons"]], [state["times"]]
        self._v = [state["v"]]

    def check(self, call: Call, alive: np.ndarray, learns_fast: bool) -> None:
        """Raise UnstableNetworkError if the network diverged or fires without end.

        Parameters
        ----------
        call : Call
        alive : ndarray of bool of shape (N,)
            Neurons that can spike.
        learns_fast : bool
            Whether fast weights learn: until they have, a network may fire too much.
        """
        self._check_finite(call)
        network = self._network
        seconds = max(call.done, 1) * self._dt
        rate = len(call.neurons) / seconds / network.n
        if call.done < call.n_steps:
            raise UnstableNetworkError(
                f"the network fires without end: {rate:.0f} Hz a neuron. Spikes answer each other "
                "before they are felt: let at most one neuron spike a step, add a refractory "
                "period, raise the costs mu and nu, or shorten the delay and dt"
            )
        if learns_fast:
            self._forget()
            return
        self._neurons.append(call.neurons)
        self._times.append(call.steps + self._n_steps)
        self._v.append(call.v)
        self._n_steps += call.done
        if self._n_steps * self._dt >= _SHORT:
            self._judge(alive)
            self._forget()

    def _check_finite(self, call: Call) -> None:
        network = self._network
        seconds = max(call.done, 1) * self._dt
        if not np.all(np.isfinite(call.x)):
            raise UnstableNetworkError(
                f"teacher '{network.teacher.name}' diverges within {seconds:.3g} s: its states are "
                "no longer finite. Check its equations and initial values, or lower dt or the input"
            )
        # A potential is an error times the length of the decoding vector.
        lengths = np.linalg.norm(network.decoder, axis=0) + np.sqrt(2 * network.threshold)
        error = np.max(np.abs(np.vstack([call.v, call.last_v])) / lengths)
        what = "its error is far larger than the signal"
        for name, values in (
            ("potential of neuron", call.last_v),
            ("estimate of dimension", call.estimate),
        ):
            bad = np.argwhere(~np.isfinite(np.atleast_2d(values)))
            if len(bad):
                what = f"the {name} {bad[0][1]} is {np.atleast_2d(values)[tuple(bad[0])]:g}"
                break
        largest = _DIVERGED * (1 + np.max(np.abs(call.x)))
        if not (np.all(np.isfinite(call.estimate)) and error < largest):
            raise UnstableNetworkError(
                f"the network diverges within {seconds:.3g} s: {what}. Lower the learning rate or "
                f"the error gain, or dt (now {network.dt})"
            )

    def _judge(self, alive: np.ndarray) -> None:
        network = self._network
        neurons, steps = np.concatenate(self._neurons), np.concatenate(self._times)
        v = np.concatenate(self._v)
        share = len(np.unique(steps)) / self._n_steps
        if network.one_spike and share > _MOST_STEPS_WITH_SPIKE:
            raise UnstableNetworkError(
                f"there is a spike in {100 * share:.0f} % of all steps: one spike a step cannot "
                f"keep up. Lower dt (now {network.dt}), the learning rate, the error gain or the "
                "noise, or take larger decoding vectors"
            )
        if not np.any(alive):
            return
        overshoot = np.max(v[:, alive] / network.threshold[alive], axis=1) > _OVERSHOOT
        if np.mean(overshoot) <= _MOST_TIME:
            return
        answered = ping_pong(neurons, steps, network.decoder, network.steps("delay"))
        if answered > _PING_PONG:
            raise UnstableNetworkError(
                f"ping-pong: {100 * answered:.0f} % of the spikes are answered at once by a neuron "
                "of the opposite direction. Lower dt or the delay, let at most one neuron spike a "
                "step, add a refractory period, or raise the costs mu and nu"
            )
        raise UnstableNetworkError(
            f"potentials are more than {_OVERSHOOT:g} times the threshold for "
            f"{100 * np.mean(overshoot):.0f} % of the time: the network does not follow. "
            f"Lower dt (now {network.dt}), the learning rate or the input, or take more neurons or "
            "larger decoding vectors"
        )
