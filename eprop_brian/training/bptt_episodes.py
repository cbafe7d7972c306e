"""Backpropagation through time for a network that acts, against which e-prop is measured there.

A program plays the episodes of a batch. They are data then: their inputs, actions, returns and
advantages are ordinary trials, through which JAX differentiates the losses of actor and critic. So
both methods have the same objective and the same episodes, and differ in their gradients alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eprop_brian.base.sparse import Matrix
from eprop_brian.devices.program import Program
from eprop_brian.network.built import Capacity
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.episodes import Episode
from eprop_brian.training.recorded_episodes import episode_trials
from eprop_brian.training.requirements import check_acting_bptt
from eprop_brian.training.session import Session
from eprop_brian.training.state import LearningSession, Outcome, check_batches, require_trials

__all__ = ["ActingBpttSession"]


class ActingBpttSession(LearningSession):
    """A network that acts on a device, and learns by backpropagation through time in JAX.

    Parameters
    ----------
    network : Network or Resolved
        It has an `Agent`.
    make_program : callable
        ``make_program(network, capacity)`` gives the `Program` that plays.
    example : Trials
        The largest set of episodes of one call (`Trials.episodes`).
    learning_window : int
        Means nothing: what counts are the steps of actions.
    weights : dict
        As `Network.initial_weights` gives them; any may be dense or sparse.
    dtype : {"float64", "float32"}
        Float type of all state.

    Raises
    ------
    ValueError
        If the trials are no episodes, readouts are averaged before an action, the agent
        bootstraps, or something else does not fit.
    """

    def __init__(
        self,
        network: Network | Resolved,
        make_program: Callable[[Resolved, Capacity], Program],
        example: Trials,
        learning_window: int,
        weights: Mapping[str, Any],
        dtype: str = "float64",
    ) -> None:
        require_trials(network)
        super().__init__(network, example, learning_window, weights)
        if example.environment is None:
            raise ValueError("the trials are no episodes: BpttSession learns from them")
        check_acting_bptt(self.resolved, example.environment)
        self._environment, self._dtype = example.environment, dtype
        # Only a program that could learn keeps analog inputs.
        self._player = Session(
            replace(self.resolved, gradient="factored"),
            make_program,
            example,
            learning_window,
            weights,
            learning=example.analog,
        )
        self._learners: dict[tuple[int, int], BpttSession] = {}
        self._last: BpttSession | None = None

    def run(
        self,
        trials: Trials,
        batch_size: int,
        *,
        learning: bool = True,
        check_states: bool = False,
        greedy: bool = False,
    ) -> Outcome:
        """See `Session.run`."""
        check_batches(trials, batch_size)
        if not learning:
            return self._play(trials, check_states, greedy)
        outcomes = []
        for first in range(0, trials.n_trials, batch_size):
            batch = trials.part(slice(first, first + batch_size))
            played, episodes = self._recorded(batch, check_states, greedy)
            outcomes.append(played)
            learner, recorded, lengths = self._prepared(episodes)
            learner.run(recorded, batch_size, lengths=lengths)
            self.restore(learner.state())
            self._last = learner
        return Outcome.joined(outcomes)

    def gradient_of(self, trials: Trials) -> dict[str, Matrix]:
        """The gradient of some episodes, which are played, without an update.

        See `BpttSession.gradient_of`.
        """
        _, episodes = self._recorded(trials)
        learner, recorded, lengths = self._prepared(episodes)
        return learner.gradient_of(recorded, lengths)

    def gradient(self) -> dict[str, Matrix]:
        """See `BpttSession.gradient`."""
        if self._last is None:
            raise ValueError("there has been no update yet whose gradient could be read")
        return self._last.gradient()

    def spikes(self) -> np.ndarray:
        """Recurrent spikes of the last episode, shape (n_steps, n_recurrent)."""
        return self._player.spikes()

    def episode(self) -> Episode:
        """See `Session.episode`."""
        return self._player.episode()

    def close(self) -> None:
        """End the processes that play, and the environment that they play in."""
        self._player.close()

    def _play(self, trials: Trials, check_states: bool = False, greedy: bool = False) -> Outcome:
        """Play episodes with the weights as they are."""
        self._player.weights = self.weights
        return self._player.run(
            trials, trials.n_trials, learning=False, check_states=check_states, greedy=greedy
        )

    def _recorded(
        self, trials: Trials, check_states: bool = False, greedy: bool = False
    ) -> tuple[Outcome, list[Episode]]:
        """Play episodes one by one; returns what came of them, and each of them."""
        outcomes, episodes = [], []
        for number in range(trials.n_trials):
            one = trials.part(slice(number, number + 1))
            outcomes.append(self._play(one, check_states, greedy))
            episodes.append(self._player.episode())
        return Outcome.joined(outcomes), episodes

    def _prepared(self, episodes: Sequence[Episode]) -> tuple[BpttSession, Trials, np.ndarray]:
        """A session in the present state, and episodes as its trials, with their steps."""
        trials = self._trials(episodes)
        size = trials.n_trials, trials.inputs.shape[1]
        if size not in self._learners:
            self._learners[size] = BpttSession(
                self.network, trials, self.learning_window, self.weights, self._dtype
            )
        self._learners[size].restore(self.state())
        return self._learners[size], trials, np.array([len(e.inputs) for e in episodes])

    def _trials(self, episodes: Sequence[Episode]) -> Trials:
        """Episodes as trials.

        Their length in actions is a power of two, or that of the longest episode there can be: JAX
        compiles a program for each.
        """
        most_actions = self._environment.most_actions
        lengths = [len(episode.actions) for episode in episodes]
        most = min(1 << (max(lengths) - 1).bit_length(), most_actions)
        n_steps = most * (self.n_steps // most_actions)
        trials = episode_trials(
            _stacked([episode.inputs for episode in episodes], n_steps),
            _stacked([episode.steps for episode in episodes], most),
            _stacked([episode.actions for episode in episodes], most),
            _stacked([episode.targets for episode in episodes], most),
            _stacked([episode.advantages for episode in episodes], most),
            lengths,
            n_actions=self._environment.n_actions,
            n_steps=n_steps,
        )
        keys = np.array([episode.key for episode in episodes], dtype=np.uint64)
        columns = self._columns(trials.targets.shape[2])
        return replace(trials, targets=trials.targets[..., columns], noise=keys)

    def _columns(self, n_targets: int) -> list[int]:
        """Which of the targets of an actor and a critic each output of the network has."""
        agent = self.resolved.agent
        assert agent is not None  # the network was built for an environment
        places = range(n_targets)
        return [
            place
            for readout in self.resolved.readouts
            for place in (places[:-1] if readout.name in agent.policies else places[-1:])
        ]


def _stacked(arrays: Sequence[np.ndarray], length: int) -> np.ndarray:
    """Arrays of different lengths as rows of one, with zeros at their ends.

    What is not finite is 0 too, as in trials everything is finite. It does not go unnoticed: the
    loss of the episode, in which it was, is not finite either.
    """
    stacked = np.zeros((len(arrays), length, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(stacked, arrays, strict=True):
        row[: len(array)] = np.where(np.isfinite(array), array, 0)
    return stacked
