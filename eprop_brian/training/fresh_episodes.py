"""Fresh episodes to look at, and the traces of synapses in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from eprop_brian.base.sparse import Matrix
from eprop_brian.equations.environment import Environment
from eprop_brian.network.program import make_program
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.base import hand_out
from eprop_brian.tasks.episodes import EpisodicTask
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.episodes import Episode
from eprop_brian.training.recorded import Recording
from eprop_brian.training.recorded_episodes import episode_trials
from eprop_brian.training.recording import record
from eprop_brian.training.session import Session
from eprop_brian.training.traces import TracedSynapse

__all__ = ["play_episode", "record_traces"]


def play_episode(
    network: Network | Resolved,
    task: EpisodicTask,
    weights: Mapping[str, Matrix],
    *,
    seed: int = 0,
    stream: str = "test",
    index: int = 0,
    device: str = "runtime",
    dtype: str = "float64",
) -> Episode:
    """Play an episode without learning, with actions drawn from the policy.

    The weights that are passed are not changed.

    Parameters
    ----------
    network : Network or Resolved
    task : EpisodicTask
    weights : mapping
        As `Network.initial_weights` gives them.
    seed, stream, index
        They select the episode, the first of its batch; with the same ones its random numbers are
        the same, whatever the weights.
    device : {"runtime", "cpp", "cuda"}
        Where it runs; ``runtime`` needs no compiler.
    dtype : {"float64", "float32"}

    Raises
    ------
    ValueError
        If network and task do not fit together.
    EnvironmentFailed
        If an environment outside of the program fails.
    """
    network = as_resolved(network)
    if network.gradient == "bptt" or task.environment.analog:
        # Acting is the same with any gradient, but only this program keeps analog inputs.
        network = replace(network, gradient="factored")
    trials = hand_out(task, seed, stream, index, 1)
    session = Session(
        network, make_program(device, dtype), trials, task.learning_window, dict(weights)
    )
    try:
        session.run(trials, 1, learning=False)
        return session.episode()
    finally:
        session.close()


def record_traces(
    episode: Episode,
    network: Network | Resolved,
    environment: Environment,
    weights: Mapping[str, Matrix],
    *,
    synapses: int | Sequence[TracedSynapse] = 3,
    device: str = "runtime",
) -> Recording:
    """Record the traces of some synapses in an episode, which is played again.

    Parameters
    ----------
    episode : Episode
        As `play_episode` gives it, its actions drawn from the policy.
    network : Network or Resolved
        Which played it.
    environment : Environment
        In which it did.
    weights : mapping
        With which it was played.
    synapses : int or sequence of TracedSynapse
        Which synapses, or how many: those with the largest traces (`eprop_brian.record`).
    device : {"runtime", "cpp", "cuda"}

    Returns
    -------
    Recording
        Of ``"filtered_trace"`` and, where ``gradient="online"`` could play it, of ``"tag"``: not
        if readouts are averaged before an action (`Environment.action_window`), the environment is
        outside of the program, or the agent has local readouts. What stands after the end of the
        episode means nothing.
    """
    network = as_resolved(network)
    quantities = ["filtered_trace"]
    assert network.agent is not None
    n_pairs = len(network.agent.policies)
    if environment.action_window is None and environment.external is None and n_pairs == 1:
        quantities.append("tag")
        trials = Trials.episodes(environment, network.dt, [episode.key])
    else:
        # There are no tags, and no program with traces that acts: what happened becomes data.
        trials = _as_trials(episode, n_pairs)
    return record(network, trials, weights, quantities=quantities, synapses=synapses, device=device)


def _as_trials(episode: Episode, n_pairs: int) -> Trials:
    """An episode as an ordinary trial, of which so many actors and critics learn."""
    scored = np.isfinite(episode.advantages)
    discrete = episode.actions.ndim == 1
    trials = episode_trials(
        episode.inputs[np.newaxis],
        episode.steps[np.newaxis],
        episode.actions[np.newaxis],
        np.where(scored, episode.targets, 0.0)[np.newaxis],
        np.where(scored, episode.advantages, 0.0)[np.newaxis],
        [len(scored)],
        episode.outputs.shape[1] if discrete else 0,
        n_pairs,
    )
    return trials.with_noise(np.array([episode.key], dtype=np.uint64))
