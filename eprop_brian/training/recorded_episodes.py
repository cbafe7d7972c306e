"""Recorded episodes as ordinary trials.

The inputs, actions, returns and advantages of episodes that have ended are data. As trials they
give the gradient of the same episodes again: by any program, or by automatic differentiation
through the whole network, which is backpropagation through time for actor and critic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eprop_brian.tasks.trials import Trials

__all__ = ["episode_trials"]


def episode_trials(
    inputs: ArrayLike,
    steps: ArrayLike,
    actions: ArrayLike,
    returns: ArrayLike,
    advantages: ArrayLike,
    lengths: ArrayLike,
    n_actions: int = 0,
    n_pairs: int = 1,
    n_steps: int | None = None,
) -> Trials:
    """Make trials of recorded episodes, each with its own pattern and target.

    All arrays have the episodes first. What stands beyond the end of an episode means nothing: in
    the trials there is silence, and no step counts. A rate regulariser divides by the length of
    trials, so the gradient is the episodes' own only without one, where all are as long as that,
    or by a session that is told how long they are (`eprop_brian.training.bptt`).

    Parameters
    ----------
    inputs : array, shape (n_episodes, n_steps, n_inputs)
        What the network received: spikes (bool) or analog values.
    steps : array of int, shape (n_episodes, most_actions)
        The step of a trial in which each action was chosen, increasing.
    actions : array, shape (n_episodes, most_actions) or (n_episodes, most_actions, action_size)
        The number of each action, or the numbers that make it up if actions are continuous.
    returns, advantages : array, shape (n_episodes, most_actions)
        The target of the value, and what the loss of the policy reads, for each action.
    lengths : array of int, shape (n_episodes,)
        Actions of each episode, at least 1.
    n_actions : int
        How many actions there are to choose from; 0: they are continuous.
    n_pairs : int
        For how many pairs of a policy and a value, those that are local to a layer among them.
    n_steps : int, optional
        Steps of the trials, at most those of `inputs`; default: those of the longest episode.

    Returns
    -------
    Trials
        Their targets have a column for each action, or each number of one, and the return last:
        they are for a policy and a value, in that order, and the same for each pair.

    Raises
    ------
    ValueError
        If a shape does not fit, or a step, an action or a length cannot be.
    """
    inputs, lengths = np.asarray(inputs), np.asarray(lengths)
    steps, given = np.asarray(steps), np.asarray(actions)
    if inputs.ndim != 3:
        raise ValueError(
            f"inputs must have the shape (n_episodes, n_steps, n_inputs), got {inputs.shape}"
        )
    if steps.ndim != 2 or len(steps) != len(inputs):
        raise ValueError(
            f"steps must have the shape (n_episodes = {len(inputs)}, most_actions), got "
            f"{steps.shape}"
        )
    n_episodes, most = steps.shape
    numbers = {"returns": np.asarray(returns, float), "advantages": np.asarray(advantages, float)}
    for name, array in numbers.items():
        if array.shape != steps.shape:
            raise ValueError(f"{name} must have the shape of steps, {steps.shape}: {array.shape}")
    if lengths.shape != (n_episodes,) or np.any((lengths < 1) | (lengths > most)):
        raise ValueError(f"lengths must be {n_episodes} numbers of actions, from 1 to {most}")
    episode, place = np.nonzero(np.arange(most) < lengths[:, np.newaxis])
    step = steps[episode, place]
    follows = np.diff(step)[np.diff(episode) == 0]
    if np.any((step < 0) | (step >= inputs.shape[1])) or np.any(follows <= 0):
        raise ValueError(
            f"the steps of an episode's actions must increase, from 0 to {inputs.shape[1] - 1}"
        )
    ends = steps[np.arange(n_episodes), lengths - 1] + 1
    longest = int(ends.max())
    n_steps = longest if n_steps is None else n_steps
    if not longest <= n_steps <= inputs.shape[1]:
        raise ValueError(f"n_steps must be from {longest} to {inputs.shape[1]}, not {n_steps}")
    chosen = _as_outputs(given, steps.shape, n_actions)[episode, place]
    targets = np.zeros((n_episodes, n_steps, chosen.shape[1] + 1))
    targets[episode, step, :-1] = chosen
    targets[episode, step, -1] = numbers["returns"][episode, place]
    advantage = np.zeros((n_episodes, n_steps))
    advantage[episode, step] = numbers["advantages"][episode, place]
    periods = np.zeros((n_episodes, n_steps), dtype=np.int32)
    periods[episode, step] = 1
    runs = np.arange(n_steps) < ends[:, np.newaxis]
    each = np.arange(n_episodes)
    return Trials(
        inputs=np.where(runs[..., np.newaxis], inputs[:, :n_steps], np.zeros((), inputs.dtype)),
        targets=np.tile(targets, n_pairs),
        pattern=each,
        target=each,
        periods=periods,
        advantage=advantage,
    )


def _as_outputs(
    actions: NDArray[Any], shape: tuple[int, ...], n_actions: int
) -> NDArray[np.float64]:
    """Actions as targets of a policy, shape (n_episodes, most_actions, outputs)."""
    if actions.shape[:2] != shape or actions.ndim > 3 or (n_actions and actions.ndim != 2):
        size = "" if n_actions else ", or these and the size of an action"
        raise ValueError(f"actions must have the shape of steps, {shape}{size}: {actions.shape}")
    if not n_actions:
        return actions.reshape(*shape, -1).astype(float)
    if not np.issubdtype(actions.dtype, np.integer) or np.any(
        (actions < 0) | (actions >= n_actions)
    ):
        raise ValueError(f"actions must be whole numbers from 0 to {n_actions - 1}")
    return np.eye(n_actions)[actions]
