"""What all runs share whose networks learn by e-prop, however a file describes the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eprop_brian.base.history import mean_of_last
from eprop_brian.base.sparse import Matrix
from eprop_brian.equations.learning_signals import FEEDBACKS
from eprop_brian.network.spec import Network
from eprop_brian.runs.settings import as_quantity
from eprop_brian.tasks import TASKS, Task, get_task
from eprop_brian.training.diagnosis import TrainingError
from eprop_brian.training.history import History
from eprop_brian.training.jax_session import require_jax
from eprop_brian.training.requirements import check_fit
from eprop_brian.training.trainer import Trainer

if TYPE_CHECKING:
    from eprop_brian.runs.config import RunConfig

__all__ = ["METHODS", "LearningModel"]

#: Ways to learn that can be compared: e-prop with each kind of feedback, and the yardstick.
METHODS = (*FEEDBACKS, "bptt")


class LearningModel(ABC):
    """See `eprop_brian.runs.models.Model`."""

    name = "eprop"
    tasks: Mapping[str, str] = {name: task.description for name, task in TASKS.items()}
    needed = (
        *(("run", key) for key in ("task", "iterations", "batch_size", "seed", "device", "dtype")),
        ("optimizer", "name"),
    )
    unit = "iteration"
    spec = Network
    history = History
    methods = METHODS
    curves = ("loss", "error")
    failures = (TrainingError,)
    tested_tables: tuple[str, ...] = ()

    @abstractmethod
    def make_network(self, config: RunConfig, task: Task) -> Network:
        """Make the network for a task."""

    def make_task(self, config: RunConfig) -> Task:
        """Make the task with its settings."""
        # A path such as ./data is text, though it begins like a number.
        text = {f.name for f in fields(TASKS[config.run["task"]]) if f.type == "str"}
        settings = {
            key: str(value) if key in text else as_quantity(value, f"task.{key}")
            for key, value in config.tables["task"].items()
        }
        return get_task(config.run["task"], **settings)

    def make_trainer(
        self,
        config: RunConfig,
        device: str,
        workers: int | None,
        scheduler: str | None,
        state: Mapping[str, Any] | None,
        source: Path,
    ) -> Trainer:
        """Make the trainer, at its start or in a stored state."""
        task = self.make_task(config)
        trainer = Trainer(
            self.make_network(config, task),
            task,
            batch_size=config.run["batch_size"],
            seed=config.run["seed"],
            device=device,
            dtype=config.run["dtype"],
            workers=workers,
            scheduler=scheduler,
            state=state,
        )
        if state is not None and not trainer.session.is_finite():
            raise ValueError(f"{source}: numbers are not finite")
        return trainer

    def measures(self, config: RunConfig, names: Sequence[str]) -> dict[str, str]:
        """Give the means of the last 10 iterations, and iterations until the task was solved."""
        return {
            "loss": "loss",
            "error": "fraction of wrong trials",
            "iterations": "iterations until solved",
            "rate_hz": "firing rate (Hz)",
        }

    def beside(
        self, results: Mapping[str, float], reference: Mapping[str, float]
    ) -> Mapping[str, float]:
        """Return the results: none is relative to another run."""
        return results

    def check_trainable(self, config: RunConfig) -> None:
        """Raise ValueError, before anything is trained, for what cannot be."""
        task = self.make_task(config)
        check_fit(self.make_network(config, task), task)
        if config.network["gradient"] == "bptt":
            require_jax()

    def length(self, config: RunConfig) -> int:
        """Give the iterations of the training."""
        return int(config.run["iterations"])

    def with_length(self, config: RunConfig, iterations: int) -> RunConfig:
        """Return a copy of another length."""
        return config.with_values("run", iterations=iterations)

    def state(self, trainer: Trainer) -> dict[str, Matrix]:
        """Give weights and the optimizer's state."""
        return trainer.session.state()

    def train(
        self, trainer: Trainer, iterations: int, progress: bool, after_call: Callable[[Any], None]
    ) -> None:
        """Train to so many iterations in all, or until the task is solved."""
        trainer.train(iterations, progress=progress, after_call=after_call)

    def results(self, trainer: Trainer, folder: Path) -> dict[str, float]:
        """Give iterations until the task was solved, and the means of the last 10 iterations."""
        columns = trainer.history.columns
        last = {name: mean_of_last(columns[name]) for name in ("loss", "error", "rate_hz")}
        return {"iterations": float(trainer.iteration) if trainer.solved else np.inf, **last}

    def figures(self, folder: Path, formats: Sequence[str]) -> list[Path]:
        """Draw learning curve, a trial before and after, and weights."""
        from eprop_brian.figures.eprop import plot_eprop_run

        return plot_eprop_run(folder, formats=formats)
