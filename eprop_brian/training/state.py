"""The state of a network that learns, and what sessions have in common."""

from __future__ import annotations

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
from eprop_brian.training.fitting import fitted_weights, stored_matrix, zeros

__all__ = ["LearningSession", "Outcome", "SessionState", "check_batches", "require_trials"]

#: Steps of continuous operation that the counter of a program can hold, a little less.
_MOST_STEPS = 2_000_000_000


@dataclass(frozen=True)
class Outcome:
    """What came out of a run of trials.

    Attributes
    ----------
    loss : array, shape (n_trials,)
    output : array, shape (n_trials, n_outputs) or (n_trials, n_answers, n_outputs)
        Mean output signal over the learning window; of trials with periods, over each period, and
        NaN for one that a trial does not have.
    rate : array, shape (n_trials,)
        Mean firing rate of the recurrent neurons in Hz.
    is_number : array of bool, shape (n_trials,), or None
        Whether the trial ended without a neuron whose state is NaN: such a neuron is silent, which
        no loss shows. None where it was not looked at.
    """

    loss: np.ndarray
    output: np.ndarray
    rate: np.ndarray
    is_number: np.ndarray | None = None


class SessionState:
    """A network with all that learning changes, and the sizes of the trials that it takes.

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
        Whether there are updates. Without, there is nothing that only they need.

    Attributes
    ----------
    network : Network or Resolved
        As it was given.
    resolved : Resolved
        All that follows from it.
    keys : WeightKeys
        Keys of `weights` and `optimizer_states`.
    weights : dict of str to array or scipy.sparse.csc_array
        By connection, [post, pre] (``w_in``, ``w_rec``, ``w_out``), and by learning signal (``B``,
        (n_recurrent, n_outputs)). Matrices that are sparse in the network have the structure of its
        `adjacency`, whose index arrays they share. Learned parameters by
        ``"population.parameter"``, in SI units.
    carried : dict of str to array
        With continuous operation, all that goes on from one call to the next (membranes, spikes on
        their way, traces, pending gradients), keyed ``"group.variable"``.
    connected : dict of str to array of bool
        Pairs [post, pre] that are connected now, of the matrices that are rewired.
    optimizer_states : dict of str to array or scipy.sparse.csc_array
        ``"m.w_in"`` and so on, shaped as the weights.
    n_updates : int
        Updates made so far; with continuous operation, trials (whose ends then mean nothing).
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
        self.check_trials(example)
        self.optimizer_states = {
            key: zeros(self.resolved, kept.owner)
            for key, kept in self.keys.optimizer.items()
            if learning
        }
        self.carried: dict[str, np.ndarray] = {}
        # Of weights that are 0, some have a synapse all the same if others are too few.
        self.connected = {
            c.name: connect(
                np.random.default_rng(0),  # always the same ones
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
        """Trials that one call can have."""
        return self.capacity.n_trials

    def state(self) -> dict[str, Matrix]:
        """Copies of weights, optimizer states and ``n_updates``: all that learning changes."""
        return {
            **{name: copied(value) for name, value in self.weights.items()},
            **{name: copied(value) for name, value in self.optimizer_states.items()},
            **{f"carried.{name}": value.copy() for name, value in self.carried.items()},
            **{f"connected.{name}": value.copy() for name, value in self.connected.items()},
            "n_updates": np.array(self.n_updates),
        }

    def restore(self, state: Mapping[str, Matrix]) -> None:
        """Go back to what `state` returned.

        Raises
        ------
        ValueError
            If an array is missing or of another shape, or has other synapses than the network, or
            the number of updates or of steps is negative.
        """
        for current in (self.weights, self.optimizer_states):
            for name, value in current.items():
                current[name] = stored_matrix(state, name, value)
        for kind in ("carried", "connected"):
            for name, value in getattr(self, kind).items():
                key = f"{kind}.{name}"
                if key not in state or np.shape(state[key]) != value.shape:
                    raise ValueError(f"the saved state has no '{key}' of shape {value.shape}")
                getattr(self, kind)[name] = np.array(state[key], dtype=value.dtype)
        # Rows of what is kept of earlier steps are found by it.
        clock = self.carried.get("control.clock", np.zeros(1))
        if not np.all((clock >= 0) & (clock <= _MOST_STEPS) & (clock == np.floor(clock))):
            raise ValueError(f"the saved state's 'carried.control.clock' is {clock}, no step")
        if "n_updates" not in state:
            raise ValueError("the saved state has no 'n_updates'")
        if not np.all(np.asarray(state["n_updates"]) >= 0):
            raise ValueError(f"the saved state's 'n_updates' is {state['n_updates']}")
        self.n_updates = int(state["n_updates"])

    def rewire(self, eta: float, rng: np.random.Generator) -> None:
        """Rewire matrices after an update (`eprop_brian.network.rewiring`).

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
        """Give symmetric feedback the readout weights as they are now."""
        for signal in self.resolved.signals:
            if signal.symmetric:
                self.weights[signal.name] = dense(self.weights[signal.follows].T)

    def is_finite(self) -> bool:
        """Whether all weights, optimizer states and what is carried on are finite."""
        states = (self.weights, self.optimizer_states, self.carried)
        return all(np.all(np.isfinite(values_of(x))) for some in states for x in some.values())

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
        for what, given, most in (
            ("input patterns", len(trials.inputs), capacity.n_patterns),
            ("targets", len(trials.targets), capacity.n_targets),
        ):
            if given > most:
                raise ValueError(f"{given} {what} do not fit: at most {most}")

    @property
    def gradient_scale(self) -> float:
        """What a gradient is multiplied by, beside the mean over trials."""
        return 1.0 / self.learning_window if self.resolved.average_gradient else 1.0

    def _reported(
        self, losses: np.ndarray, outputs: np.ndarray, spikes: np.ndarray, counted: np.ndarray
    ) -> Outcome:
        """What trials report, from sums over their steps.

        Parameters
        ----------
        losses : array, shape (n_trials, n_outputs)
        outputs : array, shape (n_trials, n_answers or 1, n_outputs)
        spikes : array, shape (n_trials,)
            Spikes of all recurrent neurons.
        counted : array of int, shape (n_trials, n_answers or 1)
            Steps that count for each answer.
        """
        losses_of = [
            _loss_of(readout.loss, losses[:, own], counted)
            for readout, own in zip(
                self.resolved.readouts, self.resolved.output_slices.values(), strict=True
            )
        ]
        with np.errstate(invalid="ignore"):  # an answer that a trial does not have
            outputs = outputs / counted[..., np.newaxis]
        seconds = self.n_steps * float(self.resolved.dt)
        return Outcome(
            loss=sum(losses_of[1:], start=losses_of[0]),
            output=outputs if self.capacity.n_answers else outputs[:, 0],
            rate=spikes / (self.resolved.n_recurrent * seconds),
        )


class LearningSession(SessionState, ABC):
    """A network that runs trials and learns from them, wherever it runs."""

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
    """Raise ValueError if a network runs on without trials, which BPTT needs."""
    network = as_resolved(network)
    if network.continuous or network.rate_averaging == "moving":
        raise ValueError(
            "backpropagation through time needs trials: updates = 'batch', and "
            "rate_averaging = 'trial' or 'batch'"
        )


def check_batches(trials: Trials, batch_size: int) -> None:
    """Raise ValueError unless the trials are whole batches."""
    if trials.n_trials % batch_size:
        raise ValueError(f"{trials.n_trials} trials cannot be divided into batches of {batch_size}")


def _loss_of(loss: Loss, losses: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """The loss of each trial, from sums over its steps, one for every output of a readout."""
    total = losses.mean(axis=1) if loss.mean_over_readouts else losses.sum(axis=1)
    return total / counted.sum(axis=1) if loss.mean_over_window else total
