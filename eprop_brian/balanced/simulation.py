"""Running a balanced network: one compiled program for training, tests and perturbations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from eprop_brian.balanced.build import NEVER, BalancedCapacity, build
from eprop_brian.balanced.spec import BalancedNetwork, check_noise
from eprop_brian.balanced.watchdog import Call, UnstableNetworkError, Watchdog
from eprop_brian.devices import SimulationError, make_program

__all__ = ["Recording", "Simulation", "UnstableNetworkError"]

#: Steps of one call: long enough to cost nothing, short enough to notice what goes wrong.
_CALL_STEPS = 10_000
#: Recorded states of one call; all potentials are among them.
_CALL_RECORDS = 1_000
#: Spikes per step and neuron for which a call has room; more is no result.
_MOST_SPIKES = 0.2

#: What changes while a network runs, weights included; groups that a network lacks are left out.
_STATE = (
    *("signal.x", "signal.estimate", "dendrites.u", "arriving.arriving", "slow.w_slow"),
    *("neurons.v", "neurons.r", "neurons.refractory_counter", "neurons.noise", "fast.w_fast"),
)
_LOST = (
    "an earlier run of this network was interrupted or failed, and its state is lost: reset it "
    "first"
)


@dataclass(frozen=True)
class Recording:
    """What a network did.

    Attributes
    ----------
    t : ndarray of shape (n_records,)
        Times of the recorded states, in s.
    x, estimate : ndarray of shape (n_records, K)
        Signal and what the network represents.
    v : ndarray of shape (n_records, N)
        Membrane potentials.
    spike_times : ndarray of shape (n_spikes,)
        In s.
    spike_neurons : ndarray of int of shape (n_spikes,)
    r_start : ndarray of shape (N,)
        Filtered spikes at the start.
    t_start, t_stop : float
        In s.
    """

    t: np.ndarray
    x: np.ndarray
    estimate: np.ndarray
    v: np.ndarray
    spike_times: np.ndarray
    spike_neurons: np.ndarray
    r_start: np.ndarray
    t_start: float
    t_stop: float

    @property
    def busiest(self) -> int:
        """The neuron with most spikes."""
        return int(np.argmax(np.bincount(self.spike_neurons, minlength=self.v.shape[1])))

    @property
    def duration(self) -> float:
        """Length in s."""
        return self.t_stop - self.t_start


class Simulation:
    """A balanced network on a device.

    Parameters
    ----------
    network : BalancedNetwork
    device, dtype : str
        As `eprop_brian.devices.make_program`.
    seed : int
        Of the voltage noise.

    Attributes
    ----------
    network : BalancedNetwork
    time : float
        Simulated time so far, in s.
    """

    def __init__(
        self, network: BalancedNetwork, device: str = "cpp", dtype: str = "float64", seed: int = 1
    ) -> None:
        self.network = network
        capacity = BalancedCapacity(
            n_steps=_CALL_STEPS,
            n_records=_CALL_RECORDS,
            n_spikes=int(_CALL_STEPS * max(1.0, _MOST_SPIKES * network.n)) + network.n,
        )
        self.program = make_program(device, dtype, build=build)(network, capacity)
        self.seed = seed
        self._dt = float(network.dt)
        #: Whether the program has all of the state; not after a call that did not end.
        self._whole = False
        self.reset()

    def reset(
        self,
        slow_weights: np.ndarray | None = None,
        fast_weights: np.ndarray | None = None,
        x: np.ndarray | None = None,
    ) -> None:
        """Go back to the start: no spikes, the teacher at its initial state, no one killed.

        The potentials are what they stand for, D^T (x - 0): the network catches up at once.

        Parameters
        ----------
        slow_weights : array of shape (N, n_basis), optional
        fast_weights : array of shape (N, N), optional
            Default: the network's own.
        x : array of shape (K,), optional
            State of the teacher; default its initial one.
        """
        network, parameters = self.network, self.network.teacher_map.parameters
        n, k, m = network.n, network.n_dimensions, network.n_basis
        slow = network.slow_weights if slow_weights is None else slow_weights
        fast = network.fast_weights if fast_weights is None else fast_weights
        slow = _checked(slow, (n, m), "slow_weights")
        fast = _checked(fast, (n, n), "fast_weights")
        start = _checked(network.teacher_map.initial if x is None else x, (k,), "x")
        self.killed = np.zeros(n, dtype=bool)
        self.time, self._n_steps = 0.0, 0
        self._watchdog = Watchdog(network)
        arrays: dict[str, np.ndarray | float] = {
            "control.lambda_r": float(network.lambda_r),
            "control.lambda_v": float(network.lambda_v),
            "control.step_size": self._dt,
            "control.never": NEVER,
            "control.refractory_steps": network.steps("t_ref"),
            "control.seed": self.seed,
            **{f"teacher.parameter_{name}": value for name, value in parameters.items()},
            "decoder.D": network.decoder.ravel(),
            "slow.w_slow": slow.T.ravel(),
            "fast.w_fast": fast.T.ravel(),
            "neurons.threshold": network.threshold,
            "signal.x": start,
            "signal.estimate": np.zeros(k),
            **{f"neurons.{name}": np.zeros(n) for name in ("r", "refractory_counter", "noise")},
        }
        if network.basis_weights is not None and network.basis_offset is not None:
            arrays |= {
                "dendrites.u": np.zeros(m),
                "dendrites.theta": network.basis_offset,
                "basis.M": network.basis_weights.T.ravel(),
            }
        if network.steps("delay"):
            arrays["arriving.arriving"] = np.zeros((network.steps("delay") + 1) * n)
        arrays["neurons.v"] = network.decoder.T @ start
        self._slow, self._fast = slow, fast
        self._set(arrays)
        self._whole = True

    def kill(self, neurons: Iterable[int] | np.ndarray) -> None:
        """Silence neurons: from now on they do not spike.

        Dendrites belong to the neuron that they feed, so those of a silent neuron are of no
        consequence, and what it sent to those of others decays with its filtered spikes.

        Parameters
        ----------
        neurons : iterable of int, or array of bool of shape (N,)

        Raises
        ------
        ValueError
            If there is no such neuron.
        """
        n = self.network.n
        chosen = np.asarray(neurons if isinstance(neurons, np.ndarray) else list(neurons))
        if chosen.dtype == bool and chosen.shape == (n,):
            chosen = np.flatnonzero(chosen)
        whole = chosen.dtype.kind in "iu" or not chosen.size
        if not whole or np.any(chosen < 0) or np.any(chosen >= n):
            raise ValueError(f"neurons to kill must be 0 to {n - 1}, or one truth value for each")
        self.killed[chosen.astype(int)] = True
        threshold = np.where(self.killed, NEVER, self.network.threshold)
        self._set({"neurons.threshold": threshold})

    def run(
        self,
        inputs: np.ndarray,
        *,
        gain: float = 0.0,
        rate: float = 0.0,
        fast_rate: float = 0.0,
        pull: float = 0.0,
        sigma: float | None = None,
        elapsed: float = 0.0,
        duration: float | None = None,
        record_every: int = 10,
    ) -> Recording:
        """Go on for as many steps as there are inputs.

        Parameters
        ----------
        inputs : array of shape (n_steps, K)
            c, in 1/s; constant over a step.
        gain, rate : float
            ``k_0`` in 1/s and ``eta_0`` in 1/s: error gain and learning rate of slow weights. With
            both rates 0 nothing is learned.
        fast_rate : float
            ``eta_fast_0``, learning rate of fast weights, per spike. While they learn a network is
            not balanced, and may fire too much.
        pull : float
            Rate in 1/s at which the teacher is drawn to inputs/pull: the input is
            ``inputs - pull*x``, by which a teacher explores a region.
        sigma : float, optional
            Voltage noise, in place of the network's.
        elapsed : float
            What ``t`` is at the first step in the equations of gain and rate, in s.
        duration : float, optional
            What ``duration`` means in the equations of gain and rate, in s; default: of this run.
        record_every : int
            Steps from one recorded state to the next.

        Raises
        ------
        ValueError
            If the inputs have the wrong shape or are not finite, or the network cannot learn.
        UnstableNetworkError
            If the network diverges, or fires without end.
        SimulationError
            If a run before was interrupted or failed: its state is lost, `reset` makes a new one.
        """
        network = self.network
        inputs = np.asarray(inputs, dtype=float)
        if inputs.ndim != 2 or inputs.shape[1] != network.n_dimensions or not len(inputs):
            raise ValueError(
                f"inputs must have shape (n_steps, {network.n_dimensions}), not {inputs.shape}"
            )
        if not np.all(np.isfinite(inputs)):
            raise ValueError("inputs must be finite")
        for value, weights in ((rate, "slow"), (fast_rate, "fast")):
            if value and weights not in network.learns:
                raise ValueError(f"the {weights} weights of this network do not learn")
        if sigma is not None:
            check_noise(sigma, network.lambda_v)
        if not 1 <= record_every <= _CALL_STEPS:
            raise ValueError(f"record_every must be 1 to {_CALL_STEPS}, not {record_every}")
        start = self._n_steps
        length = len(inputs) * self._dt if duration is None else duration
        settings = {
            "control.k_0": gain,
            "control.eta_0": rate,
            "control.eta_fast_0": fast_rate,
            "control.pull": pull,
            "control.learning": bool(rate or fast_rate),
            "control.one_spike": network.one_spike,
            "control.sigma": network.sigma if sigma is None else sigma,
            "control.duration": length,
        }
        # Calls of whole record intervals: a record is made at a call's first step.
        most = min(_CALL_STEPS // record_every, _CALL_RECORDS) * record_every
        r_start = self.program.get("neurons.r") if self._n_steps else np.zeros(network.n)
        parts = []
        for first in range(0, len(inputs), most):
            settings["control.time"] = elapsed + first * self._dt
            parts.append(self._call(inputs[first : first + most], record_every, settings))
        t, x, estimate, v, spike_times, spike_neurons = map(
            np.concatenate, zip(*parts, strict=True)
        )
        t_start, t_stop = start * self._dt, self._n_steps * self._dt
        return Recording(t, x, estimate, v, spike_times, spike_neurons, r_start, t_start, t_stop)

    def _call(
        self, inputs: np.ndarray, every: int, settings: Mapping[str, float]
    ) -> tuple[np.ndarray, ...]:
        network, n_steps, first = self.network, len(inputs), self._n_steps
        n, k = network.n, network.n_dimensions
        padded = np.zeros((_CALL_STEPS, k))
        padded[:n_steps] = inputs
        if not self._whole:
            raise SimulationError(_LOST)
        self._set(
            {
                **settings,
                "control.n_steps": n_steps,
                "control.record_every": every,
                "control.clock": first,
                "inputs.c": padded.ravel(),
            }
        )
        self._whole = False
        self.program.run({})
        keys = [
            *("control.step", "control.n_spikes", "control.n_records", "spikes.neuron"),
            *("spikes.step", "record.x", "record.estimate", "record_v.v", "neurons.v"),
        ]
        got = self.program.get_all(keys)
        done, n_spikes, n_records = (int(got[key][0]) for key in keys[:3])
        neurons = got["spikes.neuron"][:n_spikes].astype(int)
        steps = got["spikes.step"][:n_spikes].astype(int)
        x = got["record.x"][: n_records * k].reshape(n_records, k)
        estimate = got["record.estimate"][: n_records * k].reshape(n_records, k)
        v = got["record_v.v"][: n_records * n].reshape(n_records, n)
        call = Call(n_steps, done, neurons, steps, x, estimate, v, got["neurons.v"])
        self._watchdog.check(call, ~self.killed, settings["control.eta_fast_0"] > 0)
        self._whole = True
        self._n_steps = first + n_steps
        self.time = self._n_steps * self._dt
        times = (first + np.arange(n_records) * every) * self._dt
        return times, x, estimate, v, (first + steps) * self._dt, neurons

    def slow_weights(self) -> np.ndarray:
        """Ws, shape (N, n_basis)."""
        values = self.program.get("slow.w_slow") if self._n_steps else self._slow.T.ravel()
        return values.reshape(self.network.n_basis, self.network.n).T.copy()

    def fast_weights(self) -> np.ndarray:
        """Wf, shape (N, N)."""
        values = self.program.get("fast.w_fast") if self._n_steps else self._fast.T.ravel()
        return values.reshape(self.network.n, self.network.n).T.copy()

    def set_slow_weights(self, weights: np.ndarray) -> None:
        """Replace Ws, shape (N, n_basis), and go on."""
        weights = _checked(weights, (self.network.n, self.network.n_basis), "slow_weights")
        self._slow = weights
        self._set({"slow.w_slow": weights.T.ravel()})

    def state(self) -> dict[str, np.ndarray]:
        """Give all that a run goes on from; nothing is drawn but by the number of a step."""
        if not self._whole:
            raise SimulationError(_LOST)
        keys = [key for key in _STATE if key.partition(".")[0] in self._stateful]
        arrays = {key: np.array(value) for key, value in self.program.get_all(keys).items()}
        watched = {f"watched.{name}": value for name, value in self._watchdog.state().items()}
        return {**arrays, **watched, "n_steps": np.array(self._n_steps)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to what `state` gave; neurons that were killed are alive again."""
        self.reset()
        self._set({key: value for key, value in state.items() if key in _STATE})
        prefix = "watched."
        self._watchdog.restore(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        self._n_steps = int(state["n_steps"])
        self.time = self._n_steps * self._dt

    @property
    def _stateful(self) -> set[str]:
        """Names of the groups that have a state."""
        groups = {"signal", "neurons", "slow", "fast"}
        if self.network.basis_equations.model:
            groups.add("dendrites")
        if self.network.steps("delay"):
            groups.add("arriving")
        return groups

    def close(self) -> None:
        """End the program's process."""
        self.program.close()

    def _set(self, arrays: Mapping[str, np.ndarray | float]) -> None:
        whole, self._whole = self._whole, False
        self.program.set({key: np.ravel(value) for key, value in arrays.items()})
        self._whole = whole


def _checked(values: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.shape != shape or not np.all(np.isfinite(values)):
        raise ValueError(f"{name} must be finite and of shape {shape}, not {values.shape}")
    return values
