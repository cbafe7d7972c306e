"""Callbacks that send the course of a training to TensorBoard, or to Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eprop_brian.training.callbacks import Callback

if TYPE_CHECKING:
    from eprop_brian.training.evaluation import Evaluation
    from eprop_brian.training.trainer import Trainer

__all__ = ["LOGGERS", "TensorBoard", "WandB", "make_logger"]


def _library(name: str, extra: str, what: str) -> Any:
    """Import an optional library, or say how to install it (ValueError)."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ValueError(
            f"{what} needs {name} ({error}): pip install 'eprop_brian[{extra}]'"
        ) from None


def _of_validation(evaluation: Evaluation) -> dict[str, float]:
    """The numbers of a validation that are defined."""
    numbers = {"loss": evaluation.loss, "error": evaluation.error}
    if evaluation.returns is not None:
        numbers["return"] = evaluation.returns.mean
    return {f"validation/{name}": v for name, v in numbers.items() if not np.isnan(v)}


class TensorBoard(Callback):
    """Writes event files that ``tensorboard --logdir FOLDER`` shows, by tensorboardX.

    Parameters
    ----------
    folder : path
        Of the event files; a training that goes on adds one.

    Raises
    ------
    ValueError
        If tensorboardX is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._library = _library("tensorboardX", "tensorboard", "TensorBoard")
        self._writer: Any = None

    def on_start(self, trainer: Trainer) -> None:
        """Open an event file; what an earlier one has of later iterations is no longer shown."""
        self._writer = self._library.SummaryWriter(
            str(self.folder), purge_step=trainer.iteration + 1
        )

    def on_iteration(self, trainer: Trainer, iteration: int, values: Mapping[str, float]) -> None:
        """Write the row of an iteration."""
        for name, value in values.items():
            self._writer.add_scalar(f"training/{name}", value, iteration)

    def on_validation(self, trainer: Trainer, iteration: int, evaluation: Evaluation) -> None:
        """Write a validation."""
        for name, value in _of_validation(evaluation).items():
            self._writer.add_scalar(name, value, iteration)

    def on_end(self, trainer: Trainer) -> None:
        """Close the file."""
        self._writer.close()


class WandB(Callback):
    """Logs to Weights & Biases.

    Parameters
    ----------
    folder : path
        Where its files go.
    project : str
    **options
        As for ``wandb.init``, e.g. ``mode="offline"``.

    Raises
    ------
    ValueError
        If wandb is not installed.
    """

    def __init__(self, folder: str | Path, project: str = "eprop_brian", **options: Any) -> None:
        self._library = _library("wandb", "wandb", "Weights & Biases")
        self._options = {"dir": str(folder), "project": project, **options}
        self._run: Any = None

    def on_start(self, trainer: Trainer) -> None:
        """Begin a run, with seed, batch size and task among its settings."""
        Path(self._options["dir"]).mkdir(parents=True, exist_ok=True)
        config = {
            **{name: getattr(trainer, name) for name in ("seed", "batch_size", "device", "dtype")},
            "task": trainer.task.name,
        }
        self._run = self._library.init(config=config, **self._options)

    def on_iteration(self, trainer: Trainer, iteration: int, values: Mapping[str, float]) -> None:
        """Log the row of an iteration."""
        self._run.log({f"training/{name}": v for name, v in values.items()}, step=iteration)

    def on_validation(self, trainer: Trainer, iteration: int, evaluation: Evaluation) -> None:
        """Log a validation."""
        self._run.log(_of_validation(evaluation), step=iteration)

    def on_end(self, trainer: Trainer) -> None:
        """End the run."""
        self._run.finish()


#: Callbacks by the name that the command has for them.
LOGGERS: Mapping[str, type[TensorBoard] | type[WandB]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
}


def make_logger(name: str, folder: Path) -> Callback:
    """Make the callback of a name, whose files go into a folder of that name in a run's folder."""
    return LOGGERS[name](Path(folder) / name)
