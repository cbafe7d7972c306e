"""The state of a network that learns, and the base class of sessions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from eprop_brian.base.sparse import Matrix, copied, dense, values_of
from eprop_brian.equations.losses import Loss
from eprop_brian.network.built import Capacity
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.rewiring import Rewiring, connect, rewire
from eprop_brian.network.spec import Network
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.fitting import check_delays, fitted_weights, stored_matrix, zeros

__all__ = ["LearningSession", "Outcome", "SessionState", "check_batches", "require_trials"]

#: Largest clock of continuous operation; the int32 of a program holds a little more.
_MOST_STEPS = 2_000_000_000


@dataclass(frozen=True)
class Outcome:
    """Results of a run of trials.

    Attributes
    ----------
    loss : array, shape (n_trials,)
    output : array, shape (n_trials, n_outputs) or (n_trials, n_answers, n_outputs)
        Mean output signal over the learning window. With periods, the mean over each period, NaN
        for a period that the trial does not have.
    rate : array, shape (n_trials,)
        Mean firing rate of the recurrent neurons in Hz.
    is_number : array of bool, shape (n_trials,), or None
        Whether every state is a number at the end of the trial. A neuron whose state is NaN never
        spikes, which the loss does not reveal. None where it was not checked.
    """

    loss: np.ndarray
    output: np.ndarray
    rate: np.ndarray
    is_number: np.ndarray | None = None


class SessionState:
    """A network, everything that learning changes, and the sizes of its trials.

    Parameters
    ----------
    network : Network or Resolved
    example : Trials
        The largest set of trials of one call.
    learning_window : int
        Steps at the end of a trial in which the error counts.
    weights : dict
        As `Network.initial_weights` gives them; any may be dense or sparse.
    learning : bool
        Whether there are updates. Without them, nothing that only they need is kept.

    Attributes
    ----------
    network : Network or Resolved
        The network that was passed.
    resolved : Resolved
        Everything that follows from it.
    keys : WeightKeys
        Keys of `weights` and `optimizer_states`.
    weights : dict of str to array or scipy.sparse.csc_array
        By connection, [post, pre], and by learning signal, [post, output]. Matrices that are sparse
        in the network have the structure of its `adjacency`, whose index arrays they share. Learned
        parameters by ``"population.parameter"``, in SI units; learned delays by
        ``"delay.connection"``, in steps, structured as the connection's weights.
    carried : dict of str to array
        With continuous operation, everything that one call hands on to the next (membranes, spikes
        under way, traces, pending gradients), keyed ``"group.variable"``.
    connected : dict of str to array of bool
        Currently connected pairs [post, pre] of the matrices that are rewired.
    optimizer_states : dict of str to array or scipy.sparse.csc_array
        ``"m.w_in"`` and so on, shaped as the weights.
    n_updates : int
        Updates so far; with continuous operation, trials so far.
    """

    def __init__(
        self,
        network: Network | Resolved,
        example: Trials,
        learning_window: int,
        weights: Mapping[str, Any],
        learning: bool = True,
    ) -> None:
        self.network, self.resolved = network, as_resolved(network)
        self.keys = self.resolved.keys
        if learning and not self.keys.trained:
            raise ValueError(
                "nothing in this network learns: all projections have learn=False; let one learn, "
                "or only run trials (learning=False)"
            )
        self.weights = fitted_weights(self.resolved, weights)
        self.n_steps = example.inputs.shape[1]
        self.learning_window = learning_window
        self.capacity = Capacity(
            n_steps=self.n_steps,
            n_patterns=len(example.inputs),
            n_targets=len(example.targets),
            target_steps=example.targets.shape[1],
            n_trials=example.n_trials,
            n_answers=example.n_answers,
            analog=example.analog,
            learning=learning,
        )
        self._check_windows()
        self.check_trials(example)
        self.optimizer_states = {
            key: zeros(self.resolved, kept.owner)
            for key, kept in self.keys.optimizer.items()
            if learning
        }
        self.carried: dict[str, np.ndarray] = {}
        # If fewer weights than synapses differ from 0, some weights of 0 are synapses too.
        self.connected = {
            c.name: connect(
                np.random.default_rng(0),  # always the same pairs
                self.weights[c.name] != 0,
                c.n_connected or 0,
                autapses=c.autapses,
            )
            for c in self.resolved.connections
            if c.signs is not None
        }
        self.n_updates = 0

    @property
    def most_trials(self) -> int:
        """Largest number of trials of one call."""
        return self.capacity.n_trials

    def state(self) -> dict[str, Matrix]:
        """Copies of everything that learning changes: weights, optimizer states, ``n_updates``."""
        return {
            **{name: copied(value) for name, value in self.weights.items()},
            **{name: copied(value) for name, value in self.optimizer_states.items()},
            **{f"carried.{name}": value.copy() for name, value in self.carried.items()},
            **{f"connected.{name}": value.copy() for name, value in self.connected.items()},
            "n_updates": np.array(self.n_updates),
        }

    def restore(self, state: Mapping[str, Matrix]) -> None:
        """Restore a state that `state` returned.

        Raises
        ------
        ValueError
            If an array is missing or of another shape, or has other synapses than the network, or
            the number of updates or of steps is negative.
        """
        for current in (self.weights, self.optimizer_states):
            for name, value in current.items():
                current[name] = stored_matrix(state, name, value)
        check_delays(self.resolved, self.weights)
        for kind in ("carried", "connected"):
            for name, value in getattr(self, kind).items():
                key = f"{kind}.{name}"
                if key not in state or np.shape(state[key]) != value.shape:
                    raise ValueError(f"the saved state has no '{key}' of shape {value.shape}")
                getattr(self, kind)[name] = np.array(state[key], dtype=value.dtype)
        # The clock selects rows of histories, so a wrong one would lead beyond their ends.
        clock = self.carried.get("control.clock", np.zeros(1))
        if not np.all((clock >= 0) & (clock <= _MOST_STEPS) & (clock == np.floor(clock))):
            raise ValueError(f"the saved state's 'carried.control.clock' is {clock}, not a step")
        if "n_updates" not in state:
            raise ValueError("the saved state has no 'n_updates'")
        if not np.all(np.asarray(state["n_updates"]) >= 0):
            raise ValueError(f"the saved state's 'n_updates' is {state['n_updates']}")
        self.n_updates = int(state["n_updates"])

    def rewire(self, eta: float, rng: np.random.Generator) -> None:
        """Rewire sparse matrices after an update (`eprop_brian.network.rewiring`).

        Parameters
        ----------
        eta : float
            Learning rate of the update.
        rng : numpy.random.Generator
        """
        network = self.resolved
        for c in network.connections:
            if c.signs is not None and network.rewiring is not None:
                self._rewire(c.name, c.signs, network.rewiring, eta, rng)
        self._follow()

    def _rewire(
        self,
        name: str,
        signs: np.ndarray,
        rewiring: Rewiring,
        eta: float,
        rng: np.random.Generator,
    ) -> None:
        """Rewire a connection."""
        before = self.connected[name]
        weights, self.connected[name] = rewire(
            rewiring,
            self.weights[name],
            before,
            signs,
            eta,
            rng,
            autapses=self.keys.connections[name].autapses,
        )
        bounds = self.resolved.optimizer.parameters
        low, high = bounds.get("w_min", -np.inf), bounds.get("w_max", np.inf)
        self.weights[name] = np.clip(weights, min(low, 0.0), max(high, 0.0))
        # Created and removed synapses start with empty optimizer state.
        stays = before & self.connected[name] & (self.weights[name] != 0)
        for key, kept in self.keys.optimizer.items():
            if kept.owner == name:
                self.optimizer_states[key] = np.where(stays, self.optimizer_states[key], 0.0)

    def _follow(self) -> None:
        """Copy the current readout weights to symmetric feedback."""
        for signal in self.resolved.signals:
            if signal.symmetric:
                self.weights[signal.name] = dense(self.weights[signal.follows].T)

    def is_finite(self) -> bool:
        """Whether all weights, optimizer states and carried arrays are finite."""
        states = (self.weights, self.optimizer_states, self.carried)
        return all(np.all(np.isfinite(values_of(x))) for group in states for x in group.values())

    def check_trials(self, trials: Trials) -> None:
        """Raise ValueError if there are too many trials or a shape does not fit."""
        capacity = self.capacity
        if trials.n_trials > capacity.n_trials:
            raise ValueError(f"{trials.n_trials} trials do not fit: at most {capacity.n_trials}")
        if trials.inputs.shape[1:] != (self.n_steps, self.resolved.n_inputs):
            raise ValueError(
                f"the trials' inputs have shape {trials.inputs.shape}, not (patterns, "
                f"{self.n_steps} steps, {self.resolved.n_inputs} inputs)"
            )
        if trials.analog != capacity.analog:
            kinds = ("spikes", "analog values")
            raise ValueError(
                f"the trials' inputs are {kinds[trials.analog]}, the session was made for "
                f"{kinds[capacity.analog]}"
            )
        if trials.targets.shape[1:] != (capacity.target_steps, self.resolved.n_outputs):
            raise ValueError(
                f"the trials' targets have shape {trials.targets.shape}, not (targets, "
                f"{capacity.target_steps} steps, {self.resolved.n_outputs} outputs)"
            )
        if trials.n_answers != capacity.n_answers:
            raise ValueError(
                f"the trials have periods for {trials.n_answers} answers, the session was made for "
                f"{capacity.n_answers}"
            )
        for kind, number, most in (
            ("input patterns", len(trials.inputs), capacity.n_patterns),
            ("targets", len(trials.targets), capacity.n_targets),
        ):
            if number > most:
                raise ValueError(f"{number} {kind} do not fit: at most {most}")

    def _check_windows(self) -> None:
        """Raise ValueError if the trials have no such window as a readout has."""
        for readout in self.resolved.readouts:
            if readout.window_steps is None:
                continue
            what = f"readout '{readout.name}' has a window of {readout.window_steps} steps"
            if self.capacity.n_answers:
                raise ValueError(
                    f"{what}, but the task says step by step which answer counts: leave the window "
                    "away"
                )
            if readout.window_steps > self.n_steps:
                raise ValueError(f"{what}, longer than a trial of {self.n_steps} steps")

    @property
    def gradient_scale(self) -> float:
        """Factor of gradients besides the mean over trials."""
        return 1.0 / self.learning_window if self.resolved.average_gradient else 1.0

    def alignment(self) -> float:
        """Cosine of the angle between feedback weights and transposed readout weights.

        All learning signals to neurons that a readout hears count together; NaN if either is 0.
        """
        products, sizes_b, sizes_w = [], [], []
        for signal in self.resolved.signals:
            if not signal.follows:
                continue
            b, w_out = self.weights[signal.name], dense(self.weights[signal.follows])
            products.append(float(np.sum(b * w_out.T)))
            sizes_b.append(float(np.linalg.norm(b)))
            sizes_w.append(float(np.linalg.norm(w_out)))
        size = math.hypot(*sizes_b) * math.hypot(*sizes_w)
        return sum(products) / size if size > 0 else float("nan")

    def _reported(
        self, losses: np.ndarray, outputs: np.ndarray, spikes: np.ndarray, counted: np.ndarray
    ) -> Outcome:
        """Outcome of trials from sums over their steps.

        Parameters
        ----------
        losses : array, shape (n_trials, n_outputs)
        outputs : array, shape (n_trials, n_answers or 1, n_outputs)
        spikes : array, shape (n_trials,)
            Spikes of all recurrent neurons.
        counted : array of int, shape (n_trials, n_answers or 1)
            Steps that count for each answer.
        """
        losses_of, means = [], []
        for readout in self.resolved.readouts:
            columns, steps = self.resolved.output_slices[readout.name], counted
            if readout.window_steps is not None:
                steps = np.full_like(counted, readout.window_steps)
            losses_of.append(_loss_of(readout.loss, losses[:, columns], steps))
            with np.errstate(invalid="ignore"):  # 0/0 for an answer that a trial does not have
                means.append(outputs[..., columns] / steps[..., np.newaxis])
        outputs = np.concatenate(means, axis=-1)
        seconds = self.n_steps * float(self.resolved.dt)
        return Outcome(
            loss=sum(losses_of[1:], start=losses_of[0]),
            output=outputs if self.capacity.n_answers else outputs[:, 0],
            rate=spikes / (self.resolved.n_recurrent * seconds),
        )


class LearningSession(SessionState, ABC):
    """A network that runs trials and learns from them, on a device or in JAX."""

    @abstractmethod
    def run(
        self,
        trials: Trials,
        batch_size: int,
        *,
        learning: bool = True,
        check_states: bool = False,
    ) -> Outcome:
        """Run trials and, if learning, one update at the end of every batch."""

    @abstractmethod
    def gradient(self) -> dict[str, Matrix]:
        """Gradient of the last update, mean over its batch, keyed and shaped as the weights."""

    @abstractmethod
    def spikes(self) -> np.ndarray:
        """Recurrent spikes of the last trial that was run, shape (n_steps, n_recurrent)."""

    @abstractmethod
    def close(self) -> None:
        """End the processes that run the network."""


def require_trials(network: Network | Resolved) -> None:
    """Raise ValueError if a network runs without trials or learns delays, unlike BPTT."""
    network = as_resolved(network)
    if network.continuous or network.rate_averaging == "moving":
        raise ValueError(
            "backpropagation through time needs trials: updates = 'batch', and "
            "rate_averaging = 'trial' or 'batch'"
        )
    if network.keys.delays:
        raise ValueError(
            "backpropagation through time cannot learn delays, since rounding them to steps has no "
            f"derivative: '{next(iter(network.keys.delays))}' learns by e-prop alone"
        )


def check_batches(trials: Trials, batch_size: int) -> None:
    """Raise ValueError unless the trials are whole batches."""
    if trials.n_trials % batch_size:
        raise ValueError(f"{trials.n_trials} trials cannot be divided into batches of {batch_size}")


def _loss_of(loss: Loss, losses: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """The loss of each trial, from sums over its steps, one for every output of a readout."""
    total = losses.mean(axis=1) if loss.mean_over_readouts else losses.sum(axis=1)
    return total / counted.sum(axis=1) if loss.mean_over_window else total
