"""Runs one after the other, each in a folder of its own: what comparisons and sweeps are made of.

Runs that exist are resumed, and finished ones are not trained again.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eprop_brian.base.history import Rows
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.locks import claimed
from eprop_brian.runs.config import CONFIG, RunConfig
from eprop_brian.runs.run import CHECKPOINT, HISTORY, INITIAL, Run

__all__ = ["Trained", "check_run", "open_or_start", "train_runs"]


@dataclass(frozen=True)
class Trained:
    """A run that has been trained.

    Attributes
    ----------
    history : History or TrainingHistory
    solved : bool
        Whether it ended because the task was solved.
    results : dict of str to float
        Numbers by which it is judged; empty if they were not asked for, or it failed.
    failure : str
        Why it failed; else empty.
    """

    history: Rows = field(repr=False)
    solved: bool
    results: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""


def check_run(config: RunConfig, folder: Path) -> None:
    """Raise ValueError if a run cannot be trained, or its folder holds another one."""
    config.model.check_trainable(config)
    if (folder / CONFIG).exists() and not config.is_of(folder):
        raise ValueError(
            f"{folder} holds a run with other settings; give the same or choose another folder"
        )


def open_or_start(config: RunConfig, folder: Path, **where: Any) -> Run:
    """Open the run in a folder at its checkpoint, or begin it if there is none.

    Parameters
    ----------
    config : RunConfig
    folder : Path
    **where
        Where a run is computed, as for `RunConfig.make_trainer`.
    """
    if (folder / CONFIG).exists():
        return Run.open(folder, task=config.parts.get("own_task"), **where)
    return Run.start(config, folder, **where)


def train_runs(
    configs: Sequence[RunConfig],
    folders: Sequence[Path],
    *,
    judged: bool = False,
    progress: bool = True,
    **where: Any,
) -> list[Trained]:
    """Train runs whose training is the same, and which differ in how they are tested alone.

    Parameters
    ----------
    configs : sequence of RunConfig
    folders : sequence of Path
        One for each.
    judged : bool
        Whether to find out the numbers by which a run is judged: a balanced network is tested.
    progress : bool
    **where
        Device, workers and scheduler, as for `RunConfig.make_trainer`.

    Returns
    -------
    list of Trained
        In their order. A run that failed is among them, up to there.
    """
    results = []
    for config, folder in zip(configs, folders, strict=True):
        # Backpropagation through time runs in JAX, in this process.
        place = {} if config.network.get("gradient") == "bptt" else where
        source = next((path for path in folders if (path / CONFIG).exists()), None)
        if source is not None and not (folder / CONFIG).exists():
            _copy_training(source, folder, config)
        run = open_or_start(config, folder, **place)
        numbers: dict[str, float] = {}
        failure = ""
        try:
            run.train(config.run.get("iterations"), progress=progress)
            if judged:
                numbers = config.model.results(run.trainer, folder)
        except config.model.failures as error:
            failure = str(error)
        finally:
            run.trainer.close()
        solved = getattr(run.trainer, "solved", False)
        results.append(Trained(run.trainer.history, solved, numbers, failure))
    return results


def _copy_training(source: Path, folder: Path, config: RunConfig) -> None:
    """Begin a run with the training of another one, done or not."""
    with claimed(folder), uninterrupted():
        for name in (INITIAL, CHECKPOINT, HISTORY):
            shutil.copyfile(source / name, folder / name)
        # Last: the folder is a run from here on.
        config.write(folder)
