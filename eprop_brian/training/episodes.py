"""An episode as it was played: what was sensed, what was done, what was learned from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eprop_brian.devices.program import Program
from eprop_brian.network.built import BuiltNetwork
from eprop_brian.network.episodes import ACTIONS, ENVIRONMENT, actions_of
from eprop_brian.network.exogenous import NOISE
from eprop_brian.symbolic.environment_run import initial_states
from eprop_brian.symbolic.names import shown

__all__ = ["Episode", "last_episode", "spikes_of"]


@dataclass(frozen=True)
class Episode:
    """The last episode that a session played.

    Attributes
    ----------
    inputs : array, shape (n_steps, n_inputs)
        Spikes (bool), or values.
    spikes : array of bool, shape (n_steps, n_recurrent)
    steps : array of int, shape (n_actions,)
        In which step each action was chosen.
    actions : array, shape (n_actions,) or (n_actions, action_size)
        The number of each action, or what it is made of if actions are continuous.
    outputs : array, shape (n_actions, n_policy)
        Of the policy.
    rewards, values, advantages : array, shape (n_actions,)
        The reward of each action, what the critic expected of it and all after it, and by how much
        what followed was better. The advantage of an action that is not learned from is NaN.
    done : bool
        Whether the environment ended it.
    states : tuple of dict of str to float
        Of the environment, by name, in SI units: at the beginning, and after each action. Empty if
        it is outside of the program.
    key : int
        Of the noise of its trial, which all random numbers of the episode follow from.
    """

    inputs: np.ndarray
    spikes: np.ndarray
    steps: np.ndarray
    actions: np.ndarray
    outputs: np.ndarray
    rewards: np.ndarray
    values: np.ndarray
    advantages: np.ndarray
    done: bool
    states: tuple[dict[str, float], ...]
    key: int

    @property
    def steps_per_action(self) -> int:
        """Steps from one action to the next."""
        return int(self.steps[0]) + 1

    @property
    def targets(self) -> np.ndarray:
        """What the critic is to expect of each action, shape (n_actions,)."""
        return self.values + self.advantages


def last_episode(program: Program, built: BuiltNetwork) -> Episode:
    """The last episode that a program has run.

    Parameters
    ----------
    program : Program
    built : BuiltNetwork

    Raises
    ------
    ValueError
        If its trials were no episodes, or it has run none.
    """
    acting, network = built.acting, built.network
    if acting is None:
        raise ValueError("the trials were no episodes: they have no environment")
    policy, value = acting.agent.policy, acting.agent.value
    n_steps = int(program.get(built.key(ENVIRONMENT, "n_steps"))[0])
    n = n_steps // acting.steps
    if not n:
        raise ValueError("no episode has been played yet")
    done = bool(program.get(built.key(ENVIRONMENT, "done"))[0] > 0)
    size = acting.environment.action_outputs

    def kept(group: str, variable: str, width: int = 1) -> np.ndarray:
        values = program.get(built.key(group, variable)).astype(float)
        return values[: n * width].reshape(n, width)

    chosen = kept(actions_of(policy), "y_target", size)
    advantages = kept(ACTIONS, "advantage")[:, 0]
    if acting.agent.bootstrap and not done:
        advantages = np.append(advantages[:-1], np.nan)
    inputs = [
        spikes_of(program, built, group.name, group.size, n_steps)
        for group in network.inputs
        if not group.constant
    ]
    populations = [spikes_of(program, built, p.name, p.size, n_steps) for p in network.populations]
    key = _last_key(program, built)
    states: tuple[dict[str, float], ...] = ()
    if not acting.environment.external:
        names = [shown(name) for name in acting.map.states]
        after = zip(
            *(kept(ACTIONS, name)[:, 0].tolist() for name in acting.map.states), strict=True
        )
        states = (
            initial_states(acting.environment, key),
            *(dict(zip(names, values, strict=True)) for values in after),
        )
    return Episode(
        inputs=np.concatenate(inputs, axis=1),
        spikes=np.concatenate(populations, axis=1),
        steps=(np.arange(n) + 1) * acting.steps - 1,
        actions=chosen.argmax(axis=1) if acting.environment.n_actions else chosen,
        outputs=kept(actions_of(policy), "answered", size),
        rewards=kept(ACTIONS, "reward")[:, 0],
        values=kept(actions_of(value), "answered")[:, 0],
        advantages=advantages,
        done=done,
        states=states,
        key=key,
    )


def _last_key(program: Program, built: BuiltNetwork) -> int:
    """The key of the noise of the last trial."""
    last = int(program.get("control.n_trials")[0]) - 1
    halves = [program.get(built.key("trials", half))[last] for half in NOISE]
    return int(np.array(halves, dtype="<i4").view("<u8")[0])


def spikes_of(
    program: Program, built: BuiltNetwork, group: str, size: int, n_steps: int
) -> np.ndarray:
    """The spikes of a group in the last trial, shape (n_steps, size).

    Of a group of analog inputs in an environment, what they were.
    """
    acting = built.acting
    if acting is not None and acting.map.analog and group in built.network.input_slices:
        history = f"{group}_history"
        if history not in built.groups:
            raise ValueError(
                "this program keeps no analog inputs: only one that learns by "
                "gradient = 'factored' does"
            )
        values = program.get(built.key(history, "x")).astype(float)
        return values[: n_steps * size].reshape(n_steps, size)
    # The first entry is the step before the trial's first.
    first = program.get(built.key(f"{group}_offsets", "first"))[1 : n_steps + 2]
    neurons = program.get(built.key(f"{group}_spikes", "neuron"))[first[0] : first[-1]]
    fired = np.zeros((n_steps, size), dtype=bool)
    fired[np.repeat(np.arange(n_steps), np.diff(first)), neurons] = True
    return fired
