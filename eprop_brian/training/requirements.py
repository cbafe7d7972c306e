"""Checks that a network, a task and a device fit together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from eprop_brian.base.checks import check_count, check_positive, whole_steps
from eprop_brian.base.memory import check_memory
from eprop_brian.devices.project import standalone
from eprop_brian.equations.environment import Environment
from eprop_brian.equations.losses import LOSSES
from eprop_brian.network.agent import check_environment
from eprop_brian.network.built import Capacity
from eprop_brian.network.delays import check_fits
from eprop_brian.network.groups import NetworkGroups
from eprop_brian.network.one_update import check_one_update
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.steps.layout import Layout
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.episodes import EpisodicTask
from eprop_brian.tasks.external import ExternalTask
from eprop_brian.tasks.families import TaskFamily

#: Steps of a trial times neurons and inputs from which on it takes seconds to draw and to run.
_LONG = 10**8

__all__ = [
    "check_acting_bptt",
    "check_beginning_anew",
    "check_bptt",
    "check_continuous",
    "check_drawn",
    "check_family",
    "check_family_size",
    "check_fit",
    "check_length",
    "check_going_on",
    "check_threads",
    "check_workers",
]


def check_fit(network: Network | Resolved, task: Task) -> None:
    """Raise ValueError if a network and a task do not fit together, TypeError if they are none."""
    if not isinstance(network, Network | Resolved):
        raise TypeError(f"the network must be a Network, not {network!r}")
    if isinstance(task, Environment):
        raise TypeError(
            f"the task must be a Task, and environment '{task.name}' is what a task plays in: "
            f"write `class Play(EpisodicTask): name, environment = {task.name!r}, ...` with it, "
            "and pass Play()"
        )
    if not isinstance(task, Task):
        hint = f": get_task({task!r}) makes one" if isinstance(task, str) else ""
        raise TypeError(f"the task must be a Task, not {task!r}{hint}")
    network = as_resolved(network)
    if isinstance(task, EpisodicTask):
        check_environment(task.environment, network)
        if network.gradient == "bptt":
            check_acting_bptt(network, task.environment)
            check_beginning_anew(task)
    elif network.agent is not None:
        raise ValueError(
            f"the network has an Agent, but task '{task.name}' has no environment to act in"
        )
    _check_same(network, task)
    if network.continuous:
        return  # signals and spikes under way at the end of a trial arrive in the next
    windows = {r.name: r.window(task.learning_window) for r in network.readouts}
    for signal in network.signals:
        if signal.emitted:
            continue
        window = windows[signal.source]
        where = f"the learning window of {window} steps"
        check_fits("feedback delay", signal.delay_steps, window, where)
    where = f"a trial of {task.n_steps} steps"
    for c in network.connections:
        check_fits(f"delay of {c.name}", c.delay_steps, task.n_steps - 1, where)


def check_family(network: Resolved, family: TaskFamily) -> None:
    """Raise ValueError if a network cannot learn the tasks of a family by one update.

    TypeError if it is no family.
    """
    if not isinstance(family, TaskFamily):
        hint = f": get_family({family!r}) makes one" if isinstance(family, str) else ""
        raise TypeError(f"the family must be a TaskFamily, not {family!r}{hint}")
    check_one_update(network)
    _check_same(network, family)


def check_length(network: Resolved, task: Task, batch_size: int, dtype: str) -> None:
    """Raise ValueError, before a trial is drawn, if a network has no memory for one so long."""
    if task.n_steps * (network.n_inputs + network.n_recurrent) < _LONG:
        return
    if isinstance(task, EpisodicTask):
        return  # what an episode keeps depends on its environment too
    real: type = np.dtype(dtype).type
    if network.gradient == "bptt":
        _check_unrolled(network, task.n_steps, batch_size, real, "trials (batch_size)")
        return
    with warnings.catch_warnings(), standalone("cpp_standalone", real):
        warnings.simplefilter("ignore")  # they come when the program is made
        NetworkGroups(network, Capacity(task.n_steps, 1, 1, 1, 1), real, Layout())


def check_drawn(family: TaskFamily, n_tasks: int, setting: str) -> None:
    """Raise ValueError if there is no memory to draw so many tasks, which `setting` chooses."""
    check_memory(
        {f"inputs of {n_tasks} tasks": _bytes_of_inputs(family, n_tasks)},
        lambda share: f"at most {int(share * n_tasks)} would fit ({setting})",
    )


def check_family_size(network: Resolved, family: TaskFamily, batch_size: int, dtype: type) -> None:
    """Raise ValueError, before tasks are drawn, if there is no memory to learn from a batch."""
    n_trials = batch_size * (family.n_support + family.n_query)
    n_weights = sum(int(np.prod(shape)) for shape in network.shapes.values())
    # Each task has weights of its own, and their gradient.
    weights = 2 * batch_size * n_weights * np.dtype(dtype).itemsize
    others = {
        f"inputs of {batch_size} tasks": _bytes_of_inputs(family, batch_size),
        f"the weights of {batch_size} tasks": weights,
    }
    _check_unrolled(network, family.n_steps, n_trials, dtype, "tasks (batch_size)", others)


def _bytes_of_inputs(family: TaskFamily, n_tasks: int) -> int:
    n_trials = n_tasks * (family.n_support + family.n_query)
    return n_trials * family.n_steps * family.n_inputs * np.dtype(float).itemsize


def _check_unrolled(
    network: Resolved,
    n_steps: int,
    n_trials: int,
    dtype: type,
    fewer: str,
    others: Mapping[str, int] | None = None,
) -> None:
    """Raise ValueError if JAX cannot keep the states of all steps that it goes back through."""
    n_states = sum(p.size * len(p.system.step.states) for p in network.populations)
    kept = n_trials * n_steps * n_states * np.dtype(dtype).itemsize
    check_memory(
        {f"the states of {n_trials} trials x {n_steps} steps": kept, **(others or {})},
        lambda share: f"{share:.0%} of them would fit: take fewer {fewer}, or shorter ones",
    )


def _check_same(network: Resolved, task: Task | TaskFamily) -> None:
    """Raise ValueError unless sizes, losses and time step of a network are those of a task."""
    # The readouts of an agent are checked with the environment.
    for name in ("n_inputs", *["n_outputs"] * (network.agent is None)):
        if getattr(network, name) != getattr(task, name):
            raise ValueError(
                f"the network has {name} = {getattr(network, name)}, task '{task.name}' "
                f"{getattr(task, name)}"
            )
    softmax, of_labels = LOSSES[task.loss].softmax, LOSSES[task.loss].of_labels
    losses = [readout.loss for readout in network.readouts]
    if all(loss.of_labels != of_labels for loss in losses):
        what = "a loss of labels" if of_labels else "one that is not of labels"
        raise ValueError(
            f"task '{task.name}' is scored by {task.loss}: its network needs {what}, not "
            f"{losses[0].name}"
        )
    if all(loss.softmax != softmax for loss in losses):
        needed = "the softmax probability p" if softmax else "the readout y"
        raise ValueError(
            f"task '{task.name}' is scored by {task.loss}: its network needs a loss of {needed}, "
            f"not {losses[0].name} ({losses[0].loss})"
        )
    if not np.isclose(float(network.dt), float(task.dt), rtol=1e-12):
        raise ValueError(f"the network's dt is {network.dt}, the task's {task.dt}")


def check_workers(workers: int | None, scheduler: str | None) -> None:
    """Raise ValueError if workers and a scheduler are both given, or there are no workers."""
    if workers is not None and scheduler is not None:
        raise ValueError(
            "workers and scheduler exclude each other: a scheduler has its own workers"
        )
    if workers is not None:
        check_positive("workers", workers)


def check_threads(threads: int, device: str, workers: int | None, scheduler: str | None) -> None:
    """Raise ValueError for threads where there are none, or beside workers."""
    check_count("threads", threads)
    if threads == 1:
        return
    if device != "cpp":
        raise ValueError(f"threads share out the neurons on device 'cpp', not on '{device}'")
    if workers not in (None, 1) or scheduler is not None:
        raise ValueError(
            "threads share out the neurons of a trial and workers the trials of a batch: take "
            "threads for a large network with small batches, or else workers"
        )


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


def check_going_on(workers: int | None, scheduler: str | None) -> None:
    """Raise ValueError for workers, since each place of a batch has an episode that goes on."""
    if workers not in (None, 1) or scheduler is not None:
        raise ValueError(
            "goes_on: episodes go on from one batch to the next, in this process: trials cannot be "
            "shared among workers"
        )


def check_acting_bptt(network: Resolved, environment: Environment) -> None:
    """Raise ValueError for episodes that are no trials of backpropagation through time."""
    if network.updates != "batch":
        raise ValueError(
            f"updates = '{network.updates}' changes weights within an episode: backpropagation "
            "through time needs updates = 'batch'"
        )
    where = f"environment '{environment.name}'"
    window = environment.action_window
    if window is not None and whole_steps(f"action_window of {where}", window, network.dt) > 1:
        raise ValueError(
            f"{where} averages readouts over an action_window of {window}, but gradient = 'bptt' "
            "has losses of single steps: leave it away, or choose 'factored'"
        )
    if network.agent is not None and network.agent.bootstrap:
        raise ValueError(
            "bootstrap of the agent: gradient = 'bptt' learns from every action of an episode, and "
            "so also from the last one: leave it away, or choose 'factored'"
        )


def check_beginning_anew(task: EpisodicTask) -> None:
    """Raise ValueError for episodes that go on, which backpropagation through time does not."""
    if isinstance(task, ExternalTask) and task.goes_on:
        raise ValueError(
            "goes_on: gradient = 'bptt' begins every episode anew: leave it away, or choose "
            "'factored'"
        )


def check_bptt(device: str, workers: int | None, scheduler: str | None, acts: bool = False) -> None:
    """Raise ValueError for a device or workers, since JAX computes BPTT in this process.

    A network that acts plays its episodes on any device.
    """
    if device != "cpp" and not acts:
        raise ValueError(
            f"gradient = 'bptt' runs in JAX, not on a device: leave out device = '{device}'"
        )
    if workers not in (None, 1) or scheduler is not None:
        raise ValueError(
            "gradient = 'bptt' uses all cores without workers: leave out workers and scheduler"
        )
