"""What all runs share whose networks learn by e-prop, however a file describes the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eprop_brian.base.history import mean_of_last
from eprop_brian.base.printable import warn
from eprop_brian.base.sparse import Matrix
from eprop_brian.equations.learning_signals import FEEDBACKS
from eprop_brian.equations.losses import LOSSES
from eprop_brian.network.spec import Network
from eprop_brian.runs.iterated import IteratedModel
from eprop_brian.runs.settings import Tables
from eprop_brian.runs.tasks import (
    class_of,
    completed,
    files_of_task,
    kept_parts,
    make_task,
    named_parts,
    with_parts,
)
from eprop_brian.tasks import (
    TASKS,
    ArrayTask,
    EnvironmentFailed,
    EnvironmentFile,
    EpisodicTask,
    Task,
)
from eprop_brian.training.callbacks import Callback, EarlyStopping
from eprop_brian.training.diagnosis import TrainingError
from eprop_brian.training.history import History
from eprop_brian.training.jax_session import NEEDS_JAX, has_jax, require_jax
from eprop_brian.training.requirements import check_fit
from eprop_brian.training.trainer import Trainer

if TYPE_CHECKING:
    from eprop_brian.runs.config import RunConfig

__all__ = ["METHODS", "READOUTS_ONLY", "LearningModel"]

#: The method in which no weight learns but those of projections to readouts: the control.
READOUTS_ONLY = "readouts"

#: Ways to learn that can be compared: e-prop with each kind of feedback, of the readouts alone, and
#: the yardstick.
METHODS = (*FEEDBACKS, READOUTS_ONLY, "bptt")
#: Iterations between validations if only a patience is set.
VALIDATE_EVERY = 50
#: Settings of tasks that name a file, which is read when they are set.
_FILES = (("task", EnvironmentFile.argument), ("task", ArrayTask.argument))


class LearningModel(IteratedModel, ABC):
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
    failures = (EnvironmentFailed, TrainingError)
    tested_tables: tuple[str, ...] = ()
    test_files: tuple[str, ...] = ()

    def curves(self, config: RunConfig) -> tuple[str, ...]:
        """Give the loss, and what says more about the task: the error, or the return."""
        acts = issubclass(class_of(config), EpisodicTask)
        return ("loss", "return") if acts else ("loss", "error")

    def usual_methods(self, config: RunConfig, methods: Iterable[str]) -> tuple[str, ...]:
        """Give those of some methods that are compared by default.

        In an environment, one error of the critic, the same for all, is no feedback for an actor,
        and not all episodes are trials of backpropagation through time. Only there is it open what
        readouts reach alone.
        """
        left_out = {READOUTS_ONLY}
        if issubclass(class_of(config), EpisodicTask):
            left_out = {"broadcast"} if self._has_bptt(config) else {"broadcast", "bptt"}
        chosen = tuple(method for method in methods if method not in left_out)
        if "bptt" in chosen and not has_jax():
            warn(f"bptt is left out: {NEEDS_JAX}", stacklevel=4)
            chosen = tuple(method for method in chosen if method != "bptt")
        return chosen

    def _has_bptt(self, config: RunConfig) -> bool:
        """Whether backpropagation through time goes with the settings."""
        try:
            chosen = config.with_method("bptt")
            task = self.make_task(chosen)
            check_fit(self.make_network(chosen, task), task)
        except ValueError:
            return False
        return True

    def with_value(self, config: RunConfig, table: str, key: str, value: Any) -> RunConfig:
        """Replace a setting; of another optimizer the rest is reset, an environment is read."""
        values = {**config.tables[table], key: value}
        if (table, key) == ("optimizer", "name"):
            values = {"name": value}
        config = config.with_tables({table: values})
        if (table, key) in _FILES:
            return with_parts(config, **named_parts(config.tables))
        return config

    def part_files(self, config: RunConfig) -> dict[str, Any]:
        """Give the files of the task, if it has any."""
        return files_of_task(config)

    def read_parts(self, folder: Path, tables: Tables) -> tuple[Tables, dict[str, Any]]:
        """Read the files of the task, if it has any."""
        return tables, kept_parts(tables, folder)

    def completed(self, config: RunConfig) -> RunConfig:
        """Return a copy that says all settings of its task."""
        return completed(config)

    @abstractmethod
    def make_network(self, config: RunConfig, task: Task) -> Network:
        """Make the network for a task."""

    def make_task(self, config: RunConfig) -> Task:
        """Make the task with its settings."""
        return make_task(config)

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
        of_labels = LOSSES[self.make_task(config).loss].of_labels
        error = "label error rate" if of_labels else "fraction of wrong trials"
        labels = {"loss": "loss", "error": error, "return": "return"}
        return {
            **{name: labels[name] for name in self.curves(config)},
            "iterations": "iterations until solved",
            "rate_hz": "firing rate (Hz)",
        }

    def check_trainable(self, config: RunConfig) -> None:
        """Raise ValueError, before anything is trained, for what cannot be."""
        task = self.make_task(config)
        check_fit(self.make_network(config, task), task)
        if config.network["gradient"] == "bptt":
            require_jax()

    def state(self, trainer: Trainer) -> dict[str, Matrix]:
        """Give weights and the optimizer's state."""
        return trainer.session.state()

    def train(
        self,
        trainer: Trainer,
        config: RunConfig,
        iterations: int,
        progress: bool,
        after_call: Callable[[Any], None],
        callbacks: Sequence[Callback],
    ) -> None:
        """Train to so many iterations in all, until the task is solved, or a callback stops it."""
        every, patience = config.run.get("validate_every"), config.run.get("patience")
        if patience:
            every = every or VALIDATE_EVERY
            callbacks = [*callbacks, EarlyStopping(patience)]
        trainer.train(
            iterations,
            progress=progress,
            after_call=after_call,
            validate_every=every,
            callbacks=callbacks,
        )

    def results(self, trainer: Trainer, folder: Path) -> dict[str, float]:
        """Give iterations until the task was solved, and the means of the last 10 iterations.

        The return is the mean of the last 100 episodes.
        """
        columns = trainer.history.columns
        last = {name: mean_of_last(columns[name]) for name in ("loss", "error", "rate_hz")}
        if isinstance(trainer.task, EpisodicTask):
            last["return"], _ = trainer.history.recent_return(trainer.batch_size)
        return {"iterations": float(trainer.iteration) if trainer.solved else np.inf, **last}

    def figures(self, folder: Path, formats: Sequence[str]) -> list[Path]:
        """Draw learning curve, a trial before and after, and weights."""
        from eprop_brian.figures.eprop import plot_eprop_run

        return plot_eprop_run(folder, formats=formats)
