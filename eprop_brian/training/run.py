"""A run: training that lives in a folder, can be stopped, resumed, evaluated and plotted.

The folder holds ``config.toml`` and neuron files, ``history.csv``, ``initial.npz`` and
``checkpoint.npz`` (weights and optimizer state) and figures. ``trials.txt``, in runs of exported
programs that learned from trials in files, names these files.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from eprop_brian.base.files import read_arrays, write_arrays
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.locks import claimed
from eprop_brian.base.sparse import Matrix
from eprop_brian.training.config import RunConfig
from eprop_brian.training.history import History
from eprop_brian.training.trainer import Trainer

__all__ = ["CHECKPOINT", "HISTORY", "INITIAL", "TRIALS", "Run", "own_trials"]

CHECKPOINT, HISTORY, INITIAL = "checkpoint.npz", "history.csv", "initial.npz"
TRIALS = "trials.txt"
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


class Run:
    """A run in a folder.

    Parameters
    ----------
    config : RunConfig
    folder : Path
    trainer : Trainer

    Attributes
    ----------
    saved_iteration : int
        Of the checkpoint in the folder, as it was last read or written here.
    """

    def __init__(self, config: RunConfig, folder: Path, trainer: Trainer) -> None:
        self.config, self.folder, self.trainer = config, Path(folder), trainer
        self.saved_iteration = trainer.iteration
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
            if (folder / "config.toml").exists():
                raise ValueError(
                    f"{folder} already holds a run; resume it or choose another folder"
                )
            run = cls(config, folder, config.make_trainer(**where))
            with uninterrupted():
                write_arrays(folder / INITIAL, run.trainer.session.state())
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
        state = read_arrays(folder / CHECKPOINT)
        trainer = config.make_trainer(state=state, **where)
        if not trainer.session.is_finite():
            raise ValueError(f"{folder / CHECKPOINT}: numbers are not finite")
        history = History.read(folder / HISTORY)
        if len(history) < trainer.session.n_updates:
            raise ValueError(
                f"{folder / HISTORY} has {len(history)} rows, the checkpoint is of iteration "
                f"{trainer.session.n_updates}: rows are missing; restore it or start a new run"
            )
        # A process killed between writing the two files leaves rows that will be made again.
        trainer.history = history.truncated(trainer.session.n_updates)
        return cls(config, folder, trainer)

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
        found = int(read_arrays(self.folder / CHECKPOINT)["n_updates"])
        if found != self.saved_iteration:
            raise ValueError(
                f"the checkpoint in {self.folder} is of iteration {found}, not "
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
        if iterations is not None and iterations != self.config.run["iterations"]:
            self.config = replace(self.config, run={**self.config.run, "iterations": iterations})
            self.config.write(self.folder)
        try:
            self.trainer.train(
                self.config.run["iterations"],
                progress=progress,
                after_call=self._save_now_and_then,
            )
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
        return (self.folder / "config.toml").exists()

    def _save(self) -> None:
        self.trainer.history.write(self.folder / HISTORY)
        write_arrays(self.folder / CHECKPOINT, self.trainer.session.state())
        self.saved_iteration = self.trainer.iteration
        self._saved_at = time.monotonic()

    def weights(self, which: str = CHECKPOINT) -> dict[str, Matrix]:
        """Weights of the checkpoint or (``INITIAL``) of the start, as `Session.weights`."""
        arrays = read_arrays(self.folder / which)
        return {name: arrays[name] for name in self.trainer.session.weights}

    def _save_now_and_then(self, _: Trainer) -> None:
        if time.monotonic() - self._saved_at > _CHECKPOINT_EVERY:
            self.save()
