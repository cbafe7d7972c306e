"""Episodes in an environment outside of the program, which takes turns with it.

The program runs until an action is chosen. The environment makes its step, and the program goes on
with what there is to observe. All that the program keeps of an episode stays in it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import numpy as np

from eprop_brian.devices.program import Program
from eprop_brian.network.built import BuiltNetwork
from eprop_brian.network.episodes import ENVIRONMENT, code_group
from eprop_brian.symbolic.environment import OBSERVATION
from eprop_brian.tasks.player import Player

__all__ = ["Players", "play"]


class Players:
    """Copies of an environment, made when they are needed.

    One plays all episodes. Where those of a batch that is learned from go on in the next one, each
    place of a batch has another copy, whose episodes nothing else interrupts.

    Parameters
    ----------
    make : callable
        Makes a copy (`eprop_brian.equations.environment.Environment.external`).
    """

    def __init__(self, make: Callable[[], Player]) -> None:
        self._make = make
        self._players: dict[int | None, Player] = {}

    def begin(self, seed: int, place: int | None) -> tuple[Player, np.ndarray]:
        """Begin an episode, or go on with one.

        Parameters
        ----------
        seed : int
        place : int or None
            Of the episode in a batch; None: it is not learned from.

        Returns
        -------
        Player
        observation : float array
        """
        player = self._player(None)
        if place is None or not player.goes_on:
            return player, player.reset(seed)
        player = self._player(place)
        return player, player.go_on(seed)

    def close(self) -> None:
        """Close all copies."""
        with ExitStack() as stack:  # all, even if one fails
            while self._players:
                stack.callback(self._players.popitem()[1].close)

    def _player(self, place: int | None) -> Player:
        if place not in self._players:
            self._players[place] = self._make()
        return self._players[place]


def play(
    program: Program,
    built: BuiltNetwork,
    players: Players,
    seeds: np.ndarray,
    arrays: Mapping[str, np.ndarray],
    batch_size: int = 0,
) -> Iterator[int]:
    """Run trials as episodes of an environment outside of the program.

    Parameters
    ----------
    program : Program
    built : BuiltNetwork
    players : Players
    seeds : array of uint64, shape (n_trials,)
        Of the episodes.
    arrays : mapping of str to array
        What the program is to begin with.
    batch_size : int
        Episodes of a batch that is learned from; 0 if they are not.

    Yields
    ------
    int
        The number of each trial, when it is over.
    """
    key, acting = built.key, built.acting
    assert acting is not None
    senses = {
        key(code_group(code.number), OBSERVATION): acting.map.codes[code.number].senses
        for code in acting.codes
    }
    actions = [key(ENVIRONMENT, name) for name in acting.actions]
    program.set(arrays)

    def observed(values: np.ndarray) -> dict[str, np.ndarray]:
        return {array: values[components] for array, components in senses.items()}

    for trial, seed in enumerate(seeds.tolist()):
        player, beginning = players.begin(seed, trial % batch_size if batch_size else None)
        turn, step = observed(beginning), 0
        while True:
            place = {"control.trial": np.array([trial]), "control.step": np.array([step])}
            program.run({**turn, **place})
            values = program.get_all(["control.trial", "control.step", *actions])
            if int(values["control.trial"][0]) > trial:
                yield trial
                break
            step = int(values["control.step"][0])
            chosen = np.concatenate([values[action] for action in actions]).astype(float)
            action = int(chosen[0]) if acting.environment.n_actions else chosen
            observation, reward, done, is_cut_off = player.step(action)
            turn = {
                **observed(observation),
                key(ENVIRONMENT, "reward"): np.array([reward]),
                key(ENVIRONMENT, "done"): np.array([float(done)]),
                key(ENVIRONMENT, "over"): np.array([float(done or is_cut_off)]),
            }
