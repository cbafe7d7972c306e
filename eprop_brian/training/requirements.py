"""Checks that a network, a task and a device fit together."""

from __future__ import annotations

import numpy as np

from eprop_brian.base.checks import check_positive
from eprop_brian.equations.losses import LOSSES
from eprop_brian.network.delays import check_fits
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.base import Task

__all__ = ["check_bptt", "check_continuous", "check_fit", "check_workers"]


def check_fit(network: Network | Resolved, task: Task) -> None:
    """Raise ValueError if a network and a task do not fit together."""
    network = as_resolved(network)
    for name in ("n_inputs", "n_outputs"):
        if getattr(network, name) != getattr(task, name):
            raise ValueError(
                f"the network has {name} = {getattr(network, name)}, task '{task.name}' "
                f"{getattr(task, name)}"
            )
    softmax = LOSSES[task.loss].softmax
    losses = [readout.loss for readout in network.readouts]
    if all(loss.softmax != softmax for loss in losses):
        needed = "the softmax probability p" if softmax else "the readout y"
        raise ValueError(
            f"task '{task.name}' is scored by {task.loss}: its network needs a loss of {needed}, "
            f"not {losses[0].name} ({losses[0].loss})"
        )
    if not np.isclose(float(network.dt), float(task.dt), rtol=1e-12):
        raise ValueError(f"the network's dt is {network.dt}, the task's {task.dt}")
    if network.continuous:
        return  # signals and spikes under way at the end of a trial arrive in the next
    windows = {r.name: r.window(task.learning_window) for r in network.readouts}
    for signal in network.signals:
        window = windows[signal.source]
        where = f"the learning window of {window} steps"
        check_fits("feedback delay", signal.delay_steps, window, where)
    where = f"a trial of {task.n_steps} steps"
    for c in network.connections:
        check_fits(f"delay of {c.name}", c.delay_steps, task.n_steps - 1, where)


def check_workers(workers: int | None, scheduler: str | None) -> None:
    """Raise ValueError if workers and a scheduler are both given, or there are no workers."""
    if workers is not None and scheduler is not None:
        raise ValueError(
            "workers and scheduler exclude each other: a scheduler has its own workers"
        )
    if workers is not None:
        check_positive("workers", workers)


def check_continuous(
    network: Network | Resolved,
    batch_size: int,
    workers: int | None = None,
    scheduler: str | None = None,
) -> None:
    """Raise ValueError for batches or workers, since each trial continues the one before."""
    if batch_size != 1:
        raise ValueError(
            f"updates = '{network.updates}' has no batches: batch_size must be 1, not {batch_size}"
        )
    if workers not in (None, 1) or scheduler is not None:
        raise ValueError(
            f"updates = '{network.updates}' changes weights within a trial: trials cannot be "
            "shared among workers"
        )


def check_bptt(device: str, workers: int | None, scheduler: str | None) -> None:
    """Raise ValueError for a device or workers, since JAX computes BPTT in this process."""
    if device != "cpp":
        raise ValueError(
            f"gradient = 'bptt' runs in JAX, not on a device: leave out device = '{device}'"
        )
    if workers not in (None, 1) or scheduler is not None:
        raise ValueError(
            "gradient = 'bptt' uses all cores without workers: leave out workers and scheduler"
        )
