"""Networks as Brian2's objects, or as a script that makes them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eprop_brian.base.checks import check_count, check_positive
from eprop_brian.brian.describe import check_exportable, describe
from eprop_brian.brian.objects import Brian2Objects, make_objects
from eprop_brian.brian.parts import NetworkPart
from eprop_brian.brian.script import check_script, write_script
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.base import Task, hand_out
from eprop_brian.tasks.episodes import EpisodicTask
from eprop_brian.tasks.trials import Trials, join_trials
from eprop_brian.training.requirements import check_fit

__all__ = ["export_script", "to_brian2"]


def to_brian2(
    network: Network | Resolved,
    trials: Task | Trials,
    *,
    iterations: int | None = None,
    batch_size: int = 1,
    seed: int = 0,
    learning_window: int | None = None,
    weights: Mapping[str, Any] | None = None,
) -> Brian2Objects:
    """Make a network, with the rule that is derived for it, of ordinary objects of Brian2.

    They belong to the device that is active: Brian2's own runtime, or a standalone mode that
    `brian2.set_device` has chosen before.

    Parameters
    ----------
    network : Network or Resolved
    trials : Task or Trials
        What it learns from, in this order: the training trials of a task, or given ones.
    iterations : int, optional
        Batches of a task, default: 1. Given trials are all learned from.
    batch_size : int
        Trials of an update.
    seed : int
        Of the weights, and of a task's trials.
    learning_window : int, optional
        Steps at the end of given trials in which the error counts; default: all. A task has its
        own.
    weights : mapping, optional
        As `Network.initial_weights` gives them, or those of a trained network
        (``trainer.session.weights``); default: drawn from the seed.

    Returns
    -------
    Brian2Objects

    Raises
    ------
    ValueError
        If the network has something that Brian2's objects have not, or something does not fit.

    Examples
    --------
    >>> from brian2 import StateMonitor
    >>> objects = network.to_brian2(task, iterations=2)  # doctest: +SKIP
    >>> traces = StateMonitor(  # doctest: +SKIP
    ...     objects.synapses["w_rec"], ["eligibility_trace", "w"], record=[0, 1]
    ... )
    >>> objects.network.add(traces)  # doctest: +SKIP
    >>> objects.run()  # doctest: +SKIP
    """
    part = _described(network, trials, iterations, batch_size, seed, learning_window, weights)
    return make_objects(part)


def export_script(
    network: Network | Resolved,
    trials: Task | Trials,
    out: Path,
    *,
    iterations: int | None = None,
    batch_size: int = 1,
    seed: int = 0,
    learning_window: int | None = None,
    weights: Mapping[str, Any] | None = None,
) -> None:
    """Write a script of plain Brian2 that makes the objects of `to_brian2` and runs them.

    Its numbers stand in a file beside it, ``script.npz`` of ``script.py``.

    Parameters
    ----------
    out : Path
        Of the script, ending in ``.py``.
    network, trials, iterations, batch_size, seed, learning_window, weights
        As for `to_brian2`.

    Raises
    ------
    ValueError
        As for `to_brian2`, or if the name has another ending, or one of the files exists.
    """
    out = Path(out)
    check_script(out)
    part = _described(network, trials, iterations, batch_size, seed, learning_window, weights)
    write_script(part, out)


def _described(
    network: Network | Resolved,
    trials: Task | Trials,
    iterations: int | None,
    batch_size: int,
    seed: int,
    learning_window: int | None,
    weights: Mapping[str, Any] | None,
) -> NetworkPart:
    if not isinstance(trials, Task | Trials):
        raise ValueError(f"a network learns from a Task or from Trials, not from {trials!r}")
    check_positive("iterations", 1 if iterations is None else iterations)
    check_positive("batch_size", batch_size)
    check_count("seed", seed, minimum=0)
    if isinstance(trials, EpisodicTask | Trials) and trials.environment is not None:
        raise ValueError(
            f"objects of Brian2 cannot act in the environment '{trials.environment.name}': train "
            "on the device cpp or cuda, or give trials without an environment"
        )
    resolved = as_resolved(network)
    check_exportable(resolved)
    if isinstance(trials, Trials) and trials.lengths is not None:
        raise ValueError(
            "the trials have lengths of their own, and Brian2's clocks give each as many steps: "
            "take them one by one (Trials.alone)"
        )
    title = [f"A network of {_neurons(resolved)}."]
    if isinstance(trials, Task):
        if learning_window is not None:
            raise ValueError("a task has a learning window of its own: leave learning_window away")
        check_fit(network, trials)
        title = [f"{trials.name}: {_neurons(resolved)}"]
        learning_window = trials.learning_window
        batches = [hand_out(trials, seed, "train", i, batch_size) for i in range(iterations or 1)]
        short = next((b.n_trials for b in batches if b.n_trials != batch_size), None)
        if short is not None:
            raise ValueError(
                f"the task hands out a batch of {short} trials at the end of its examples, and "
                f"Brian2's clocks need batches of one size: choose another than {batch_size}, or "
                "fewer iterations"
            )
        trials = join_trials(batches)
    elif iterations is not None:
        raise ValueError(
            f"iterations says how many batches of a task there are, and all {trials.n_trials} "
            "given trials are learned from: leave iterations away"
        )
    n_steps = trials.inputs.shape[1]
    if learning_window is None:
        learning_window = n_steps
    if check_count("learning_window", learning_window) > n_steps:
        raise ValueError(
            f"learning_window ({learning_window} steps) is longer than the trial ({n_steps} steps)"
        )
    part = describe(
        network,
        trials,
        learning_window=learning_window,
        batch_size=batch_size,
        weights=resolved.initial_weights(seed) if weights is None else weights,
    )
    part.title = [*title, f"(eprop_brian {version('eprop_brian')})"]
    return part


def _neurons(network: Resolved) -> str:
    return ", ".join(f"{p.size} {p.name}" for p in network.populations)
