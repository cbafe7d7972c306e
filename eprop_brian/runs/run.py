"""A run: training that lives in a folder, can be stopped, resumed, evaluated and plotted.

The folder holds ``config.toml`` with neuron or teacher files, ``history.csv``, ``initial.npz`` and
``checkpoint.npz`` (weights, and all that training goes on from) and figures. A balanced network
adds ``test.npz`` and ``results.toml``. ``trials.txt``, in runs of exported programs that learned
from trials in files, names these files.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from eprop_brian.balanced.experiment import TrainingHistory
from eprop_brian.base.files import read_arrays, write_arrays
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.locks import claimed
from eprop_brian.base.sparse import Matrix
from eprop_brian.base.table import read_table
from eprop_brian.runs.config import CONFIG, RunConfig

__all__ = ["CHECKPOINT", "HISTORY", "INITIAL", "TRIALS", "Run", "own_trials", "read_state"]

CHECKPOINT, HISTORY, INITIAL = "checkpoint.npz", "history.csv", "initial.npz"
TRIALS = "trials.txt"
#: The state of a balanced network in folders of earlier versions, written after the test.
_WEIGHTS = "weights.npz"
#: Seconds between checkpoints.
_CHECKPOINT_EVERY = 5.0


def own_trials(folder: Path) -> list[str]:
    """Files of the trials that a run learned from in an exported program; none if its task's."""
    try:
        lines = (Path(folder) / TRIALS).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    # Control characters would act on the terminal.
    shown = ("".join(c if c.isprintable() else "?" for c in line) for line in lines)
    return [line.partition(" ")[2] for line in shown]


def read_state(folder: Path) -> tuple[Path, dict[str, Matrix]]:
    """Read the checkpoint of a run, also of a balanced network that an earlier version trained.

    Returns
    -------
    path : Path
        Of the file.
    state : dict of str to array
        With ``n_updates``, the iterations or parts that are done.
    """
    path = Path(folder) / CHECKPOINT
    if path.exists() or not (Path(folder) / _WEIGHTS).exists():
        return path, read_arrays(path)
    path = Path(folder) / _WEIGHTS
    rows = read_table(Path(folder) / HISTORY, tuple(TrainingHistory().columns))
    return path, {**read_arrays(path), "n_updates": np.array(sum(1 for _ in rows))}


class Run:
    """A run in a folder.

    Parameters
    ----------
    config : RunConfig
    folder : Path
    trainer : Trainer or Experiment

    Attributes
    ----------
    saved_iteration : int
        Of the checkpoint in the folder, as it was last read or written here.
    """

    def __init__(self, config: RunConfig, folder: Path, trainer: Any) -> None:
        self.config, self.folder, self.trainer = config, Path(folder), trainer
        self.saved_iteration: int = trainer.iteration
        self._saved_at = time.monotonic()

    @classmethod
    def start(cls, config: RunConfig, folder: Path, **where: Any) -> Run:
        """Begin a run in a new or empty folder; `where` as for `RunConfig.make_trainer`.

        Raises
        ------
        ValueError
            If the folder already holds a run, or another process is writing to it.
        """
        folder = Path(folder)
        with claimed(folder):
            if (folder / CONFIG).exists():
                raise ValueError(
                    f"{folder} already holds a run; resume it or choose another folder"
                )
            run = cls(config, folder, config.make_trainer(**where))
            with uninterrupted():
                write_arrays(folder / INITIAL, config.model.state(run.trainer))
                run._save()
                # Last: the folder is a run from here on.
                config.write(folder)
        return run

    @classmethod
    def open(cls, folder: Path, **where: Any) -> Run:
        """Open a run at its checkpoint; `where` as for `RunConfig.make_trainer`.

        Raises
        ------
        ValueError
            If the folder holds no run, or its checkpoint is damaged or does not fit.
        """
        folder = Path(folder)
        config = RunConfig.read(folder)
        path, state = read_state(folder)
        trainer = config.make_trainer(**where, state=state, source=path)
        done = int(state["n_updates"])
        history = config.model.history.read(folder / HISTORY)
        if len(history) < done:
            raise ValueError(
                f"{folder / HISTORY} has {len(history)} rows, the checkpoint is of iteration "
                f"{done}: rows are missing; restore it or start a new run"
            )
        # A process killed between writing the two files leaves rows that will be made again.
        trainer.history = history.truncated(done)
        return cls(config, folder, trainer)

    @property
    def is_trained(self) -> bool:
        """Whether all iterations, or parts, of the training are done."""
        return self.trainer.iteration >= self.config.model.length(self.config)

    def train(self, iterations: int | None = None, progress: bool = True) -> None:
        """Train to the configured number of iterations, saving checkpoints on the way.

        However training ends (solved, interrupted, failed), the last good state is saved.

        Raises
        ------
        ValueError
            If the run learned from trials in files, which only its exported program reads, or
            another process is training it or has done so since it was opened.
        """
        with claimed(self.folder):
            self._train(iterations, progress)

    def _train(self, iterations: int | None, progress: bool) -> None:
        saved = int(read_state(self.folder)[1]["n_updates"])
        if saved != self.saved_iteration:
            raise ValueError(
                f"the checkpoint in {self.folder} is of iteration {saved}, not "
                f"{self.saved_iteration}: another process has trained the run since it was "
                "opened. Open it again"
            )
        files = own_trials(self.folder)
        if files:
            raise ValueError(
                f"{self.folder} learned from the trials in {', '.join(files)}, not from its "
                f"task's: go on with the exported program and its --trials. To go on with the "
                f"task's trials all the same, delete {self.folder / TRIALS}"
            )
        model = self.config.model
        if iterations is not None and iterations != model.length(self.config):
            self.config = model.with_length(self.config, iterations)
            self.config.write(self.folder)
        try:
            total = model.length(self.config)
            model.train(self.trainer, total, progress, self._save_now_and_then)
        finally:
            self.save()

    def save(self) -> None:
        """Write history and checkpoint, of the last call that ended; no interrupt comes between.

        Raises
        ------
        ValueError
            If the folder is gone or holds no run any more, or another process is writing to it.
        """
        with uninterrupted():
            self.trainer.take_back()
            with claimed(self.folder):
                if not self.is_there:
                    raise ValueError(
                        f"{self.folder} holds no run any more: its config.toml was deleted or "
                        f"moved. What was learned after iteration {self.saved_iteration} is not "
                        "saved"
                    )
                self._save()

    @property
    def is_there(self) -> bool:
        """Whether the folder still holds the run."""
        return (self.folder / CONFIG).exists()

    def _save(self) -> None:
        self.trainer.history.write(self.folder / HISTORY)
        write_arrays(self.folder / CHECKPOINT, self.config.model.state(self.trainer))
        self.saved_iteration = self.trainer.iteration
        self._saved_at = time.monotonic()

    def weights(self, which: str = CHECKPOINT) -> dict[str, Matrix]:
        """Weights of the checkpoint or (``INITIAL``) of the start, as `Session.weights`."""
        arrays = read_arrays(self.folder / which)
        return {name: arrays[name] for name in self.trainer.session.weights}

    def _save_now_and_then(self, _: Any) -> None:
        if time.monotonic() - self._saved_at > _CHECKPOINT_EVERY:
            self.save()
