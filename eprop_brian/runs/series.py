"""Several runs, one after the other, each in a folder of its own.

A series that was stopped is resumed by the same call: finished runs are not trained again. Every
run is an ordinary one, which can be resumed, evaluated and drawn by itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eprop_brian.base.history import Rows
from eprop_brian.runs.config import CONFIG, RunConfig
from eprop_brian.runs.run import CHECKPOINT, HISTORY, INITIAL, Run

__all__ = ["Trained", "train_all"]


@dataclass(frozen=True)
class Trained:
    """A run of a series.

    Attributes
    ----------
    folder : Path
    history : History or TrainingHistory
    solved : bool
        Whether it ended because the task was solved.
    results : dict of str to float
        Numbers by which it is judged; empty if they were not asked for, or it failed.
    failure : str
        Why it ended, if it went wrong; else empty.
    """

    folder: Path
    history: Rows = field(repr=False)
    solved: bool
    results: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""


def train_all(
    configs: Mapping[Path, RunConfig],
    *,
    judged: bool = False,
    progress: bool = True,
    after_run: Callable[[Trained], None] | None = None,
    **where: Any,
) -> list[Trained]:
    """Train runs.

    Parameters
    ----------
    configs : mapping of Path to RunConfig
        The runs by their folders. Runs that exist are resumed until they are as long as here.
    judged : bool
        Whether to find out the numbers by which a run is judged: a balanced network is tested.
    progress : bool
    after_run : callable, optional
        Called with every run that is done.
    **where
        Device, workers and scheduler, as for `RunConfig.make_trainer`.

    Returns
    -------
    list of Trained
        In their order. A run that failed is among them, up to there.

    Raises
    ------
    ValueError
        If a configuration cannot be trained, or a folder holds another run; then nothing is.
    """
    checked: list[RunConfig] = []
    for config in configs.values():
        # Seeds change nothing about what can be trained.
        of_first_seed = config.with_values("run", seed=0)
        if not any(of_first_seed == other for other in checked):
            config.model.check_trainable(config)
            checked.append(of_first_seed)
    for folder, config in configs.items():
        if (folder / CONFIG).exists() and not config.is_of(folder):
            raise ValueError(
                f"{folder} holds a run with other settings; give the same or choose another folder"
            )
    results: list[Trained] = []
    for folder, config in configs.items():
        source = _trained_alike(config, configs, results)
        result = _train(folder, config, source, judged, progress, where)
        results.append(result)
        if after_run is not None:
            after_run(result)
    return results


def _train(
    folder: Path,
    config: RunConfig,
    source: Path | None,
    judged: bool,
    progress: bool,
    where: Mapping[str, Any],
) -> Trained:
    # Backpropagation through time runs in JAX, in this process.
    where = {} if config.network.get("gradient") == "bptt" else where
    if not (folder / CONFIG).exists() and source is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (INITIAL, CHECKPOINT, HISTORY):
            shutil.copyfile(source / name, folder / name)
        config.write(folder)
    exists = (folder / CONFIG).exists()
    run = Run.open(folder, **where) if exists else Run.start(config, folder, **where)
    failure, numbers = "", {}
    try:
        run.train(config.run.get("iterations"), progress=progress)
        if judged:
            numbers = config.model.results(run.trainer, folder)
    except config.model.failures as error:
        failure = str(error)
    finally:
        run.trainer.close()
    solved = getattr(run.trainer, "solved", False)
    return Trained(folder, run.trainer.history, solved, numbers, failure)


def _trained_alike(
    config: RunConfig, configs: Mapping[Path, RunConfig], results: list[Trained]
) -> Path | None:
    """Find a run whose training is the same: it differs in how it is tested only."""
    tables = {name: config.tables[name] for name in config.model.tested_tables}
    if not tables:
        return None
    for result in results:
        other = configs[result.folder]
        if not result.failure and other.with_tables(tables) == config:
            return result.folder
    return None
