"""The state of a network that learns, and the base class of sessions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from eprop_brian.base.sparse import Matrix, dense, values_of
from eprop_brian.equations.losses import Loss
from eprop_brian.network.built import Capacity
from eprop_brian.network.frames import check_whole_frames, n_frames
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.rewiring import Rewiring, connect, rewire
from eprop_brian.network.spec import Network
from eprop_brian.network.transmissions import check_transmitted
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.fitting import (
    check_delays,
    fitted_weights,
    stored_array,
    stored_matrix,
    zeros,
)
from eprop_brian.training.kept import Kept, all_finite

__all__ = [
    "Episodes",
    "LearningSession",
    "Outcome",
    "SessionState",
    "check_batches",
    "require_trials",
]

#: Largest clock of continuous operation; the int32 of a program holds a little more.
_MOST_STEPS = 2_000_000_000


@dataclass(frozen=True)
class Episodes:
    """What came of episodes in an environment.

    Attributes
    ----------
    returns : array, shape (n_trials,)
        The sum of each episode's rewards.
    lengths : array of int, shape (n_trials,)
        Its actions.
    entropy : array, shape (n_trials,)
        Mean entropy of the policy over its actions; 0 of continuous actions.
    value_error : array, shape (n_trials,)
        Mean squared advantage: what the critic was wrong by.
    done : array of bool, shape (n_trials,)
        Whether the environment ended it; others were cut off.
    """

    returns: np.ndarray
    lengths: np.ndarray
    entropy: np.ndarray
    value_error: np.ndarray
    done: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Episodes]) -> Episodes:
        """Episodes one after the other."""
        return cls(
            **{x.name: np.concatenate([getattr(p, x.name) for p in parts]) for x in fields(cls)}
        )


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
    rates : array, shape (n_trials, n_populations)
        Of those of each population.
    is_number : array of bool, shape (n_trials,), or None
        Whether every state is a number at the end of the trial. A neuron whose state is NaN never
        spikes, which the loss does not reveal. None where it was not checked.
    episodes : Episodes or None
        Of trials in an environment.
    """

    loss: np.ndarray
    output: np.ndarray
    rate: np.ndarray
    rates: np.ndarray
    is_number: np.ndarray | None = None
    episodes: Episodes | None = None

    @classmethod
    def joined(cls, parts: Sequence[Outcome]) -> Outcome:
        """Results of trials one after the other, which all report the same."""
        reported = ["loss", "output", "rate", "rates"]
        if parts[0].is_number is not None:
            reported.append("is_number")
        episodes = [part.episodes for part in parts if part.episodes is not None]
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in reported},
            episodes=Episodes.joined(episodes) if episodes else None,
        )


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
    weights : Kept
        By connection, [post, pre], and by learning signal, [post, output]; weights that synapses
        share have a shape of their own, `Connection.weight_shape`. Matrices that are sparse
        in the network have the structure of its `adjacency`, whose index arrays they share. Learned
        parameters by ``"population.parameter"``, in SI units; learned delays by
        ``"delay.connection"``, in steps, structured as the connection's weights. They may be
        changed in place or set, one by one or all together.
    carried : Kept
        With continuous operation, everything that one call hands on to the next (membranes, spikes
        under way, traces, pending gradients), keyed ``"group.variable"``; with updates at every
        action, how many of them there have been.
    connected : dict of str to array of bool
        Currently connected pairs [post, pre] of the matrices that are rewired.
    optimizer_states : Kept
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
        self._weights = Kept(fitted_weights(self.resolved, weights))
        self.n_steps = example.inputs.shape[1]
        self.learning_window = learning_window
        self.capacity = Capacity(
            n_steps=self.n_steps,
            n_patterns=len(example.inputs),
            n_targets=len(example.targets),
            target_steps=example.targets.shape[1],
            n_trials=example.n_trials,
            n_answers=example.n_answers,
            most_labels=example.most_labels,
            analog=example.analog,
            learning=learning,
            environment=example.environment,
            has_lengths=example.lengths is not None,
        )
        self._check_windows()
        self._check_lengths()
        check_transmitted(self.resolved, example.analog)
        self.check_trials(example)
        self.optimizer_states = Kept(
            {
                key: zeros(self.resolved, state.owner)
                for key, state in self.keys.optimizer.items()
                if learning
            }
        )
        self.carried = Kept({})
        # If fewer weights than synapses differ from 0, some weights of 0 are synapses too.
        self.connected = {
            c.name: connect(
                np.random.default_rng(0),  # always the same pairs
                self._weights.peek(c.name) != 0,
                c.n_connected or 0,
                autapses=c.autapses,
            )
            for c in self.resolved.connections
            if c.signs is not None
        }
        self.n_updates = 0

    @property
    def weights(self) -> Kept:
        """Weights and learned parameters by name; see the class."""
        return self._weights

    @weights.setter
    def weights(self, weights: Mapping[str, Matrix]) -> None:
        self._weights.update(weights)

    @property
    def most_trials(self) -> int:
        """Largest number of trials of one call."""
        return self.capacity.n_trials

    def state(self) -> dict[str, Matrix]:
        """Copies of everything that learning changes: weights, optimizer states, ``n_updates``."""
        return {
            **self.weights.copies(),
            **self.optimizer_states.copies(),
            **{f"carried.{name}": value for name, value in self.carried.copies().items()},
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
        weights = {
            name: stored_matrix(state, name, zeros(self.resolved, name)) for name in self.weights
        }
        states = {
            key: stored_matrix(state, key, zeros(self.resolved, kept.owner))
            for key, kept in self.keys.optimizer.items()
            if key in self.optimizer_states
        }
        check_delays(self.resolved, weights)
        carried = {
            name: stored_array(state, f"carried.{name}", self.carried.peek(name))
            for name in self.carried
        }
        connected = {
            name: stored_array(state, f"connected.{name}", value)
            for name, value in self.connected.items()
        }
        # The clock selects rows of histories, so a wrong one would lead beyond their ends.
        clock = carried.get("control.clock", np.zeros(1))
        if not np.all((clock >= 0) & (clock <= _MOST_STEPS) & (clock == np.floor(clock))):
            raise ValueError(f"the saved state's 'carried.control.clock' is {clock}, not a step")
        if "n_updates" not in state:
            raise ValueError("the saved state has no 'n_updates'")
        if not np.all(np.asarray(state["n_updates"]) >= 0):
            raise ValueError(f"the saved state's 'n_updates' is {state['n_updates']}")
        self.weights, self.connected = weights, connected
        self.optimizer_states.update(states)
        self.carried.update(carried)
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
                self.weights[signal.name] = dense(self._matrix(signal.follows).T)

    def _matrix(self, name: str) -> Matrix:
        """The weights of all synapses of a connection, [post, pre]; not to be changed."""
        return self.keys.connections[name].matrix(self.weights.peek(name))

    def is_finite(self) -> bool:
        """Whether all weights, optimizer states and carried arrays are finite."""
        states = (self.weights, self.optimizer_states, self.carried)
        return all(all_finite(values_of(kept.peek(name))) for kept in states for name in kept)

    def check_trials(self, trials: Trials) -> None:
        """Raise ValueError if there are too many trials or a shape does not fit."""
        capacity = self.capacity
        if trials.n_trials > capacity.n_trials:
            raise ValueError(f"{trials.n_trials} trials do not fit: at most {capacity.n_trials}")
        if trials.environment is not capacity.environment:
            given, expected = (
                f"episodes of environment '{e.name}'" if e else "trials without an environment"
                for e in (trials.environment, capacity.environment)
            )
            raise ValueError(f"the trials are {given}, the session was made for {expected}")
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
        # Episodes have no targets of their own; those that an agent's readouts learn follow.
        expected_targets = (capacity.target_steps, self.resolved.n_outputs)
        if trials.environment is None and trials.targets.shape[1:] != expected_targets:
            raise ValueError(
                f"the trials' targets have shape {trials.targets.shape}, not (targets, "
                f"{capacity.target_steps} steps, {self.resolved.n_outputs} outputs)"
            )
        if trials.n_answers != capacity.n_answers:
            raise ValueError(
                f"the trials have periods for {trials.n_answers} answers, the session was made for "
                f"{capacity.n_answers}"
            )
        check_labels_of(self.resolved, trials, needed=capacity.learning or trials.n_answers > 0)
        if trials.most_labels != capacity.most_labels:
            raise ValueError(
                f"the trials have up to {trials.most_labels} labels, the session was made for "
                f"{capacity.most_labels}"
            )
        if trials.lengths is not None and not capacity.has_lengths:
            raise ValueError(
                "the trials have lengths of their own, the session was made for trials of "
                f"{self.n_steps} steps: give its example lengths"
            )
        check_whole_frames(self.resolved, trials)
        reading = self.resolved.reads_advantage
        if reading and trials.advantage is None and trials.environment is None:
            raise ValueError(
                f"the loss of readout '{reading}' reads the advantage, which these trials do not "
                "have: give Trials(..., advantage=...) of shape (n_targets, n_steps)"
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

    def _check_lengths(self) -> None:
        """Raise ValueError if the network counts on trials of the same length."""
        if not self.capacity.has_lengths:
            return
        network = self.resolved
        if network.continuous:
            raise ValueError(
                f"updates = '{network.updates}' runs on without trials, so they have no lengths: "
                "leave lengths away, or choose updates = 'batch'"
            )
        if network.c_reg and network.rate_averaging != "trial":
            raise ValueError(
                "trials differ in length: the rate regulariser (c_reg) needs rate_averaging = "
                f"'trial', not '{network.rate_averaging}'"
            )
        if network.c_v:
            raise ValueError(
                "c_v divides by a number of steps, but trials differ in length: leave c_v away"
            )

    @property
    def gradient_scale(self) -> float:
        """Factor of gradients besides the mean over trials."""
        if not self.resolved.average_gradient:
            return 1.0
        return 1.0 / n_frames(self.learning_window, self.resolved.frame_steps)

    def alignment(self) -> float:
        """Cosine of the angle between feedback weights and transposed readout weights.

        All learning signals to neurons that a readout hears count together; NaN if either is 0.
        """
        products, sizes_b, sizes_w = [], [], []
        for signal in self.resolved.signals:
            if not signal.follows:
                continue
            b, w_out = self.weights.peek(signal.name), dense(self._matrix(signal.follows))
            products.append(float(np.sum(b * w_out.T)))
            sizes_b.append(float(np.linalg.norm(b)))
            sizes_w.append(float(np.linalg.norm(w_out)))
        size = math.hypot(*sizes_b) * math.hypot(*sizes_w)
        return sum(products) / size if size > 0 else float("nan")

    def _reported(
        self,
        losses: np.ndarray,
        outputs: np.ndarray,
        spikes: np.ndarray,
        counted: np.ndarray,
        episodes: Episodes | None = None,
        lengths: np.ndarray | None = None,
    ) -> Outcome:
        """Outcome of trials from sums over their steps.

        Parameters
        ----------
        losses : array, shape (n_trials, n_outputs)
        outputs : array, shape (n_trials, n_answers or 1, n_outputs)
        spikes : array, shape (n_trials, n_populations)
            Spikes of all neurons of each population.
        counted : array of int, shape (n_trials, n_answers or 1)
            Steps that count for each answer.
        episodes : Episodes, optional
        lengths : array of int, shape (n_trials,), optional
            Steps of each trial, if they differ.
        """
        losses_of, means = [], []
        for readout in self.resolved.readouts:
            columns, steps = self.resolved.output_slices[readout.name], counted
            if readout.window_steps is not None:
                most = n_frames(readout.window_steps, readout.every)
                steps = np.full_like(counted, most)
                if lengths is not None:
                    # Trials have whole frames.
                    steps = np.minimum(steps, lengths[:, np.newaxis] // readout.every)
            losses_of.append(_loss_of(readout.loss, losses[:, columns], steps))
            with np.errstate(invalid="ignore"):  # 0/0 for an answer that a trial does not have
                means.append(outputs[..., columns] / steps[..., np.newaxis])
        outputs = np.concatenate(means, axis=-1)
        n_steps: Any = self.n_steps if lengths is None else lengths
        if episodes is not None and self.capacity.environment is not None:
            n_steps = episodes.lengths * (self.n_steps // self.capacity.environment.most_actions)
        seconds = n_steps * float(self.resolved.dt)
        sizes = np.array([population.size for population in self.resolved.populations])
        return Outcome(
            loss=sum(losses_of[1:], start=losses_of[0]),
            output=outputs if self.capacity.n_answers else outputs[:, 0],
            rate=spikes.sum(axis=1) / (self.resolved.n_recurrent * seconds),
            rates=spikes / (np.reshape(seconds, (-1, 1)) * sizes),
            episodes=episodes,
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
        greedy: bool = False,
    ) -> Outcome:
        """Run trials and, if learning, one update at the end of every batch."""

    @abstractmethod
    def gradient(self) -> dict[str, Matrix]:
        """Gradient of the last update, mean over its batch, keyed and shaped as the weights."""

    @abstractmethod
    def spikes(self) -> np.ndarray:
        """Recurrent spikes of the last trial that was run, shape (n_steps, n_recurrent)."""

    def snapshot(self) -> Mapping[str, Matrix]:
        """The present state, for `go_back`; it reads as that of `state` and must not be changed."""
        return self.state()

    def go_back(self, snapshot: Mapping[str, Matrix]) -> None:
        """Restore a state that `snapshot` returned."""
        self.restore(snapshot)

    @abstractmethod
    def close(self) -> None:
        """End the processes that run the network."""


def require_trials(network: Network | Resolved) -> None:
    """Raise ValueError if a network has no trials, or what learns or teaches has no derivative."""
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
    for readout in network.readouts:
        if readout.loss.is_modulator:
            raise ValueError(
                f"readout '{readout.name}' sends a modulator, which is the derivative of no loss: "
                "backpropagation through time needs a loss"
            )


def check_labels_of(network: Resolved, trials: Trials, needed: bool) -> None:
    """Raise ValueError unless trials have the labels that a loss of the network needs."""
    for readout in (r for r in network.readouts if r.loss.of_labels):
        if trials.labels is None and needed:
            raise ValueError(
                f"the loss '{readout.loss.name}' of readout '{readout.name}' is one of labels, "
                "which these trials do not have: give Trials(..., periods=..., labels=...)"
            )
        largest = -1 if trials.labels is None else int(trials.labels.max())
        if largest >= readout.size - 1:
            raise ValueError(
                f"the trials have a label {largest}, but readout '{readout.name}' has outputs for "
                f"the labels 0 to {readout.size - 2} and, last, the blank"
            )


def check_batches(trials: Trials, batch_size: int) -> None:
    """Raise ValueError unless the trials are whole batches."""
    if trials.n_trials % batch_size:
        raise ValueError(f"{trials.n_trials} trials cannot be divided into batches of {batch_size}")


def _loss_of(loss: Loss, losses: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """The loss of each trial, from sums over its steps, one for every output of a readout."""
    total = losses.mean(axis=1) if loss.mean_over_readouts else losses.sum(axis=1)
    return total / counted.sum(axis=1) if loss.mean_over_window else total
