"""Trials in the arrays of a program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from eprop_brian.network.exogenous import NOISE, draws
from eprop_brian.network.resolved import Resolved
from eprop_brian.tasks.trials import Trials

__all__ = ["TrialData", "pack_spikes", "trial_data"]

#: Bytes of a row of spikes up to which to copy them column by column is the fastest.
_FEW_BYTES = 16


def pack_spikes(spikes: np.ndarray) -> np.ndarray:
    """Pack spikes into words of 32 neurons.

    Parameters
    ----------
    spikes : array of bool, shape (..., n_inputs)

    Returns
    -------
    array of int32, shape (..., ceil(n_inputs/32))
    """
    *leading, n = spikes.shape
    n_bytes, n_words = -(-n // 8), -(-n // 32)
    if n % 8 or n_bytes > _FEW_BYTES:
        # Padding first makes the bytes contiguous, which is several times as fast to pack.
        padded = np.zeros((*leading, 32 * n_words), dtype=bool)
        padded[..., :n] = spikes
        return np.packbits(padded.ravel(), bitorder="little").view("<i4").reshape(*leading, n_words)
    # Whole bytes are contiguous as they are; to complete words of them touches less memory.
    packed = np.packbits(np.ravel(spikes), bitorder="little").reshape(*leading, n_bytes)
    words = np.zeros((*leading, 4 * n_words), dtype=np.uint8)
    for column in range(n_bytes):
        words[..., column] = packed[..., column]
    return words.view("<i4")


@dataclass(frozen=True)
class TrialData:
    """Trials in the arrays of a program.

    Attributes
    ----------
    arrays : dict of str to array
        Inputs, targets and which of them each trial uses, keyed ``"group.variable"``.
    counted : array of int, shape (n_trials, n_answers or 1)
        Steps that count for each answer.
    seeds : array of uint64, shape (n_trials,), or None
        Of episodes in an environment outside of the program.
    lengths : array of int, shape (n_trials,), or None
        Steps of trials that have lengths of their own.
    """

    arrays: dict[str, np.ndarray]
    counted: np.ndarray
    seeds: np.ndarray | None = None
    lengths: np.ndarray | None = None

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.counted)


def trial_data(
    trials: Trials, network: Resolved, groups: Mapping[str, Any], learning_window: int
) -> TrialData:
    """Convert trials to the arrays of a program.

    Parameters
    ----------
    trials : Trials
        They must fit the program. Columns of inputs and targets belong to the network's input
        groups and readouts, in that order.
    network : Resolved
    groups : mapping of str to group
        Groups of the built network, whose sizes are the room for trials.
    learning_window : int
    """
    if trials.environment is not None:
        keys = _noise_keys(trials, groups["trials"])
        seeds = trials.noise_keys if trials.environment.external else None
        return TrialData(keys, trials.counted(learning_window), seeds)
    optional = {}
    if trials.periods is not None:
        optional["period_data.period"] = _filled(trials.periods, groups["period_data"], np.int32)
    if network.reads_advantage and trials.advantage is not None:
        optional["advantage_data.advantage"] = _filled(
            trials.advantage, groups["advantage_data"], float
        )
    if trials.labels is not None and "label_data" in groups:
        optional["label_data.label_number"] = _filled(trials.labels, groups["label_data"], np.int32)
    if trials.analog:
        inputs = {"x": _filled(trials.inputs, groups["input_data"], float)}
    else:
        # Every input group begins with a new word.
        words = [pack_spikes(trials.inputs[..., own]) for own in network.input_slices.values()]
        packed = np.concatenate(words, axis=-1) if len(words) > 1 else words[0]
        inputs = {"words": _filled(packed, groups["input_data"], np.int32)}
    group = groups["trials"]
    has_lengths = "length" in group.variables
    if has_lengths:
        optional["trials.length"] = _filled(trials.steps, group, np.int32)
    if draws(network.populations):
        optional |= _noise_keys(trials, group)
    return TrialData(
        {
            **optional,
            **{f"input_data.{name}": values for name, values in inputs.items()},
            "target_data.y_target": _filled(trials.targets, groups["target_data"], float),
            "trials.pattern": _filled(trials.pattern, group, np.int32),
            "trials.target": _filled(trials.target, group, np.int32),
        },
        trials.counted(learning_window, network.frame_steps),
        lengths=trials.steps if has_lengths else None,
    )


def _noise_keys(trials: Trials, group: Any) -> dict[str, np.ndarray]:
    """The keys of the trials' noise, each as two halves."""
    halves = trials.noise_keys.astype("<u8").view("<i4").reshape(-1, 2)
    return {f"trials.{x}": _filled(halves[:, k], group, np.int32) for k, x in enumerate(NOISE)}


def _filled(values: np.ndarray, group: Any, dtype: type) -> np.ndarray:
    """Flatten and pad with zeros to the size of a group's arrays; a view if nothing is missing."""
    # Attributes of a group are slower to look up.
    size, flat = int(group.variables["N"].get_value()), np.ravel(values)
    if flat.size == size and flat.dtype == dtype:
        return flat
    padded: np.ndarray = np.zeros(size, dtype=dtype)
    padded[: flat.size] = flat
    return padded
