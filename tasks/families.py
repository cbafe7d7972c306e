"""Families of tasks: what a network learns from a trial or a few, of tasks that it has never seen.

A task of a family has trials to learn from, its support, and trials in which it is tested, its
queries. A network whose learning signals are learned (`eprop_brian.training.meta`) learns many
tasks of a family, each from the same initial weights, by one update after the support.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from brian2.units import Quantity, ms, second
from numpy.typing import NDArray

from eprop_brian.base.checks import check_positive_quantity
from eprop_brian.tasks.trials import Trials

__all__ = ["TaskBatch", "TaskFamily"]


@dataclass(frozen=True, eq=False)
class TaskBatch:
    """Tasks of a family.

    Attributes
    ----------
    support, query : Trials
        Trials to learn from and to be tested in, those of the first task first.
    n_tasks : int

    Raises
    ------
    ValueError
        If the trials are not as many for every task.
    """

    support: Trials
    query: Trials
    n_tasks: int

    def __post_init__(self) -> None:
        for name in ("support", "query"):
            n_trials = getattr(self, name).n_trials
            if n_trials % self.n_tasks:
                raise ValueError(
                    f"{n_trials} {name} trials are not as many for each of {self.n_tasks} tasks"
                )
            if getattr(self, name).periods is not None:
                raise ValueError(f"{name} trials of a family count in the learning window alone")

    def part(self, which: slice) -> TaskBatch:
        """Return some of the tasks."""
        first, end, step = which.indices(self.n_tasks)
        if step != 1 or end <= first:
            raise ValueError(f"tasks {which} are not one after the other")
        trials = {}
        for name in ("support", "query"):
            own = getattr(self, name)
            n = own.n_trials // self.n_tasks
            trials[name] = own.part(slice(first * n, end * n))
        return TaskBatch(**trials, n_tasks=end - first)


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskFamily(ABC):
    """Base class of families of tasks.

    Parameters
    ----------
    dt : Quantity
        Length of a time step, 1 ms by default.

    Notes
    -----
    A batch follows from `seed`, `stream` and `index` alone; the streams ``"train"`` and ``"test"``
    have different tasks.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    source: ClassVar[str] = ""
    #: Loss of the readouts, by name.
    loss: ClassVar[str] = "squared_error"
    #: What `errors` measures, and what it is called.
    measure: ClassVar[str]

    dt: Quantity = field(default_factory=lambda: 1 * ms)

    def __post_init__(self) -> None:
        check_positive_quantity("dt", self.dt, second, "1*ms")

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """All inputs."""

    @property
    @abstractmethod
    def n_teaching(self) -> int:
        """The last of the inputs, which say what the task is: who learns does not hear them."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Outputs."""

    @property
    @abstractmethod
    def n_steps(self) -> int:
        """Steps of a trial."""

    @property
    def learning_window(self) -> int:
        """Steps at the end of a trial in which outputs count; default: all."""
        return self.n_steps

    @property
    def n_support(self) -> int:
        """Trials of a task to learn from."""
        return 1

    @property
    def n_query(self) -> int:
        """Trials in which a task is tested."""
        return 1

    @abstractmethod
    def draw(self, seed: int, stream: str, index: int, n_tasks: int) -> TaskBatch:
        """Draw tasks."""

    def outcome_cost(self, outputs: Any, targets: Any, library: Any = np) -> Any:
        """Cost of what follows from outputs, beside the loss of the readouts; 0 by default.

        Parameters
        ----------
        outputs, targets : array, shape (n_trials, n_steps, n_outputs)
        library : module
            NumPy, or `jax.numpy` where the cost is differentiated.

        Returns
        -------
        array, shape (n_trials,)
        """
        return library.zeros(len(outputs))

    @abstractmethod
    def errors(self, outputs: NDArray[np.float64], query: Trials) -> NDArray[np.float64]:
        """Return the error of each trial.

        Parameters
        ----------
        outputs : array, shape (n_trials, n_steps, n_outputs)
        query : Trials

        Returns
        -------
        array, shape (n_trials,)
        """
