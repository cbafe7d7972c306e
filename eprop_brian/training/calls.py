"""The trials of a call of a compiled program: several batches, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.base import Task, hand_out
from eprop_brian.tasks.external import ExternalTask
from eprop_brian.tasks.trials import Trials, join_trials

__all__ = ["CHECK_EVERY", "enlarged", "example_of_call", "iterations_per_call"]

#: Approximate trials of one call of the compiled program: enough to hide the cost of starting it.
_TRIALS_PER_CALL = 640
#: Steps of all trials of one call, unless a single iteration has more: they are drawn before it.
_STEPS_PER_CALL = 10**7
#: Largest number of iterations of one call. Progress and checkpoints come between calls.
_MOST_ITERATIONS = 100
#: Iterations between checks whether the task is solved.
CHECK_EVERY = 10


def iterations_per_call(
    network: Network | Resolved, batch_size: int, task: Task | None = None
) -> int:
    """Iterations of one call of the compiled program, of a task if it matters which."""
    if isinstance(task, ExternalTask):
        # The environment takes turns with the program, which is called for every action.
        return 1
    number = max(1, min(_MOST_ITERATIONS, _TRIALS_PER_CALL // batch_size))
    if task is not None:
        number = max(1, min(number, _STEPS_PER_CALL // (batch_size * task.n_steps)))
    resolved = as_resolved(network)
    if resolved.rewiring is not None:
        # Synapses are rewired after every update.
        return 1
    if resolved.agent is not None:
        # Episodes are long once they go well, and it takes a while until they do.
        number = min(number, CHECK_EVERY)
    return number - number % CHECK_EVERY if number > CHECK_EVERY else number


def example_of_call(network: Network | Resolved, task: Task, seed: int, batch_size: int) -> Trials:
    """Trials as large as any call of the compiled program, made of whole batches.

    Only their shapes count. They follow from three batches of the first call: an array that these
    three share is taken to be shared by all batches.
    """
    n_batches = iterations_per_call(network, batch_size, task)
    numbers = sorted({0, min(1, n_batches - 1), n_batches - 1})
    parts = [hand_out(task, seed, "train", i, batch_size) for i in numbers]
    first, n_trials = parts[0], n_batches * batch_size
    shares_inputs = all(part.inputs is first.inputs for part in parts)
    shares_targets = all(part.shares_targets(first) for part in parts)
    n_patterns = _rows([part.inputs for part in parts], parts, batch_size)
    n_targets = _rows([part.targets for part in parts], parts, batch_size)
    return _resized(
        join_trials(parts),
        n_trials,
        n_patterns[0] if shares_inputs else _rows_of_call(n_patterns, n_batches, n_trials),
        n_targets[0] if shares_targets else _rows_of_call(n_targets, n_batches, n_trials),
    )


def _rows(arrays: Sequence[np.ndarray], parts: Sequence[Trials], batch_size: int) -> list[int]:
    """Rows that each batch's array would have if the batch were not short of trials."""
    sizes = [part.n_trials for part in parts]
    return [-(-len(array) * batch_size // size) for array, size in zip(arrays, sizes, strict=True)]


def _rows_of_call(rows: Sequence[int], n_batches: int, n_trials: int) -> int:
    """Rows of a call whose batches share none; a row for every trial if their numbers vary."""
    most = n_batches * max(rows)
    return most if len({*rows}) == 1 else max(most, n_trials)


def enlarged(trials: Trials, n_trials: int) -> Trials:
    """Repeat trials up to a number, with patterns and targets in proportion."""
    if trials.n_trials == n_trials:
        return trials
    n_patterns, n_targets = (
        -(-len(array) * n_trials // trials.n_trials) for array in (trials.inputs, trials.targets)
    )
    return _resized(trials, n_trials, n_patterns, n_targets)


def _resized(trials: Trials, n_trials: int, n_patterns: int, n_targets: int) -> Trials:
    """Repeat trials, patterns and targets up to the numbers asked for."""

    def repeated(array: np.ndarray, size: int) -> Any:
        return array if len(array) == size else np.resize(array, (size, *array.shape[1:]))

    return replace(
        trials,
        inputs=repeated(trials.inputs, n_patterns),
        pattern=np.resize(trials.pattern, n_trials) % n_patterns,
        target=np.resize(trials.target, n_trials) % n_targets,
        **{name: repeated(array, n_targets) for name, array in trials.of_targets.items()},
        noise=np.resize(trials.noise_keys, n_trials),
        # Periods may go up to the end.
        lengths=None if trials.lengths is None else np.full(n_trials, trials.inputs.shape[1]),
    )
