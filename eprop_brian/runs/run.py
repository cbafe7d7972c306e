"""A run: training that lives in a folder, can be stopped, resumed, evaluated and plotted.

The folder holds ``config.toml`` with neuron, task or teacher files, ``versions.toml``,
``history.csv``, ``initial.npz`` and ``checkpoint.npz`` (weights, and all that training goes on
from) and figures; ``best.npz`` where there are validations. Balanced networks, and those that learn
to learn, add ``test.npz`` and ``results.toml``. ``trials.txt``, in runs of exported programs that
learned from trials in files, names these files.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eprop_brian.balanced.experiment import TrainingHistory
from eprop_brian.base.checks import check_real
from eprop_brian.base.files import read_numbers, write_arrays
from eprop_brian.base.history import Rows
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.locks import claimed
from eprop_brian.base.printable import printable
from eprop_brian.base.sparse import Matrix
from eprop_brian.base.table import read_table
from eprop_brian.network.spec import Network
from eprop_brian.runs.config import CONFIG, RunConfig, same_content
from eprop_brian.runs.graph_writing import tables_of
from eprop_brian.runs.versions import write_versions
from eprop_brian.tasks import Task
from eprop_brian.training.callbacks import BestWeights, Callback
from eprop_brian.training.trainer import Trainer

__all__ = [
    "BEST",
    "CHECKPOINT",
    "CHECKPOINT_EVERY",
    "HISTORY",
    "INITIAL",
    "TRIALS",
    "Run",
    "check_identity",
    "identity",
    "own_trials",
    "read_state",
    "read_weights",
]

CHECKPOINT, HISTORY, INITIAL = "checkpoint.npz", "history.csv", "initial.npz"
#: The state with the best validation, in runs that validate.
BEST = "best.npz"
TRIALS = "trials.txt"
#: The state of a balanced network in folders of earlier versions, written after the test.
_WEIGHTS = "weights.npz"
#: What a checkpoint carries of its run.
_OF_RUN, _OF_HISTORY = "identity.run", "identity.history"
#: Seconds between checkpoints, unless chosen otherwise.
CHECKPOINT_EVERY = 5.0


def own_trials(folder: Path) -> list[str]:
    """Files of the trials that a run learned from in an exported program; none if its task's."""
    try:
        text = (Path(folder) / TRIALS).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [line.partition(" ")[2] for line in printable(text).splitlines()]


def identity(folder: Path, config: RunConfig, history: Rows) -> dict[str, np.ndarray]:
    """What a checkpoint carries of the run that it is of.

    Its beginning, which is initial weights, seed and task, and the history that led to it. Nothing
    where the initial weights are missing, as in folders of earlier versions.
    """
    try:
        start = hashlib.sha256((Path(folder) / INITIAL).read_bytes())
    except FileNotFoundError:
        return {}
    start.update(repr([config.run[key] for key in ("task", "seed")]).encode())
    digests = {_OF_RUN: start.digest(), _OF_HISTORY: history.digest()}
    return {name: np.frombuffer(digest, dtype=np.int64) for name, digest in digests.items()}


def check_identity(
    folder: Path, config: RunConfig, state: Mapping[str, Any], history: Rows
) -> None:
    """Raise ValueError if a checkpoint is of another run, or another history led to it.

    Earlier versions and exported programs say nothing of that.
    """
    expected = identity(folder, config, history)
    same = {n: np.array_equal(state[n], value) for n, value in expected.items() if n in state}
    if not same.get(_OF_RUN, True):
        raise ValueError(
            f"{folder / CHECKPOINT} is not of this run: its {INITIAL}, or its seed or task in "
            f"{CONFIG}, are those of another"
        )
    if not same.get(_OF_HISTORY, True):
        raise ValueError(
            f"{folder / HISTORY} is not what led to {CHECKPOINT}: rows were changed or are those "
            "of another run. Restore it or start a new run"
        )


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
        return path, read_numbers(path)
    path = Path(folder) / _WEIGHTS
    rows = read_table(Path(folder) / HISTORY, tuple(TrainingHistory().columns))
    return path, {**read_numbers(path), "n_updates": np.array(sum(1 for _ in rows))}


def read_weights(path: Path, network: Network) -> tuple[dict[str, Matrix], int]:
    """Read the weights of a saved state and how many updates made them.

    Raises
    ------
    ValueError
        If the file is damaged or does not fit the network.
    """
    arrays = read_numbers(path)
    shapes = network.resolved.keys.shapes()
    for name, shape in {**shapes, "n_updates": ()}.items():
        if name not in arrays or arrays[name].shape != shape:
            raise ValueError(f"{path} lacks the array '{name}' of shape {shape} that the run needs")
    return {name: arrays[name] for name in shapes}, int(arrays["n_updates"])


def _done(path: Path, state: Mapping[str, Any]) -> int:
    """Iterations or parts that are done in a state."""
    number = state.get("n_updates")
    if number is None:
        raise ValueError(f"{path}: the saved state has no 'n_updates'")
    if np.shape(number) != () or not float(number) >= 0:
        raise ValueError(
            f"{path}: the saved state's 'n_updates' is {number}, not a number from 0 on"
        )
    return int(number)


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
        self._checkpoint_every = CHECKPOINT_EVERY

    @classmethod
    def start(cls, config: RunConfig, folder: Path, **where: Any) -> Run:
        """Begin a run in a new or empty folder; `where` as for `RunConfig.make_trainer`.

        Its ``config.toml`` says all settings of the task, also those with defaults.

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
            config = config.completed()
            run = cls(config, folder, config.make_trainer(**where))
            with uninterrupted():
                run._write(config.model.state(run.trainer))
        return run

    @classmethod
    def of(cls, trainer: Trainer, folder: Path) -> Run:
        """Make the run of a trainer, in a new or empty folder or in the one where it is kept.

        Parameters
        ----------
        trainer : Trainer
        folder : Path

        Raises
        ------
        ValueError
            If the folder holds another run, or what the trainer has cannot be kept.
        """
        folder, network = Path(folder), trainer.network
        if not isinstance(network, Network):
            raise ValueError(
                "a Resolved network cannot be kept in a folder: make the Trainer of its Network"
            )
        if (folder / CONFIG).exists():
            run = cls(RunConfig.read(folder, trainer.task), folder, trainer)
            run._check_same(network)
            with claimed(folder):
                run._take_length(max(run.config.model.length(run.config), trainer.iteration))
                run.save()
            return run
        place = {name: getattr(trainer, name) for name in ("batch_size", "seed", "device", "dtype")}
        config = RunConfig.of(network, trainer.task, iterations=max(1, trainer.iteration), **place)
        with claimed(folder):
            run = cls(config, folder, trainer)
            with uninterrupted():
                trainer.take_back()
                run._write(trainer.initial_state())
        return run

    def _check_same(self, network: Network) -> None:
        """Raise ValueError unless the run in the folder is this trainer's, perhaps not as far."""
        config, trainer = self.config, self.trainer
        same = [config.run[key] == getattr(trainer, key) for key in ("batch_size", "seed", "dtype")]
        _, state = read_state(self.folder)
        done = _done(self.folder / CHECKPOINT, state)
        if (
            not all(same)
            or not _same_network(config.make_network(trainer.task), network)
            or done > trainer.iteration
            or not self._begins_as(trainer)
        ):
            raise ValueError(f"{self.folder} holds another run: choose another folder")
        check_identity(self.folder, config, state, trainer.history.truncated(done))

    def _begins_as(self, trainer: Trainer) -> bool:
        """Whether the weights before training are a trainer's, as far as both know them."""
        kept = self.initial_weights()
        if kept is None or not trainer.knows_beginning:
            return True
        initial = trainer.initial_state()
        return same_content(kept, {name: initial[name] for name in kept})

    def _write(self, initial: Mapping[str, Matrix]) -> None:
        """Write everything for the first time."""
        write_arrays(self.folder / INITIAL, initial)
        write_versions(self.folder)
        self._save()
        # Last: the folder is a run from here on.
        self.config.write(self.folder)

    @classmethod
    def open(cls, folder: Path, task: Task | None = None, **where: Any) -> Run:
        """Open a run at its checkpoint.

        Parameters
        ----------
        folder : Path
        task : Task, optional
            The task of the run, if it is one of your own that no installed package offers.
        **where
            As for `RunConfig.make_trainer`.

        Raises
        ------
        ValueError
            If the folder holds no run, its checkpoint is damaged or does not fit, or its task is
            not known.
        """
        folder = Path(folder)
        config = RunConfig.read(folder, task)
        path, state = read_state(folder)
        done = _done(path, state)
        trainer = config.make_trainer(**where, state=state, source=path)
        history = config.model.history.read(folder / HISTORY)
        if len(history) < done:
            raise ValueError(
                f"{folder / HISTORY} has {len(history)} rows, the checkpoint is of iteration "
                f"{done}: rows are missing; restore it or start a new run"
            )
        # A process killed between writing the two files leaves rows that will be made again.
        history = history.truncated(done)
        check_identity(folder, config, state, history)
        trainer.history = history
        return cls(config, folder, trainer)

    @property
    def is_trained(self) -> bool:
        """Whether all iterations, or parts, of the training are done."""
        return self.trainer.iteration >= self.config.model.length(self.config)

    def train(
        self,
        iterations: int | None = None,
        progress: bool = True,
        *,
        callbacks: Sequence[Callback] = (),
        checkpoint_every: float = CHECKPOINT_EVERY,
    ) -> None:
        """Train to the configured number of iterations, saving checkpoints on the way.

        However training ends (solved, interrupted, failed), the last good state is saved. Where
        the configuration has validations (``run.validate_every``, ``run.patience``), the state with
        the best one is kept as ``best.npz``.

        Parameters
        ----------
        iterations : int, optional
        progress : bool
        callbacks : sequence of Callback
            See `Trainer.train`.
        checkpoint_every : float
            Seconds between checkpoints, at least; they come between calls of the program.

        Raises
        ------
        ValueError
            If the run learned from trials in files, which only its exported program reads, or
            another process is training it or has done so since it was opened.
        """
        check_real("checkpoint_every", checkpoint_every, 0)
        self._checkpoint_every = checkpoint_every
        model = self.config.model
        length = model.length(self.config) if iterations is None else iterations
        if self.trainer.iteration >= length and not model.tested_tables:
            # Nothing will be saved: a folder that can only be read will do.
            model.train(self.trainer, self.config, length, progress, self._save_now_and_then, ())
            return
        with claimed(self.folder):
            self._train(iterations, progress, callbacks)

    def _train(self, iterations: int | None, progress: bool, callbacks: Sequence[Callback]) -> None:
        saved = _done(*read_state(self.folder))
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
        if iterations is not None:
            self._take_length(iterations)
        try:
            total = model.length(self.config)
            if self.config.run.get("validate_every") or self.config.run.get("patience"):
                callbacks = [*callbacks, BestWeights(self.folder / BEST)]
            model.train(
                self.trainer, self.config, total, progress, self._save_now_and_then, callbacks
            )
        finally:
            self.save()

    def _take_length(self, iterations: int) -> None:
        """Have the configuration, also in the folder, say how long the training is."""
        model = self.config.model
        if iterations != model.length(self.config):
            self.config = model.with_length(self.config, iterations)
            self.config.write(self.folder)

    @property
    def has_best(self) -> bool:
        """Whether the folder has the state with the best validation."""
        return (self.folder / BEST).exists()

    def go_to_best(self) -> int:
        """Give the trainer the weights with the best validation, to test them; not to go on.

        Returns
        -------
        int
            Their iteration.

        Raises
        ------
        ValueError
            If the run made no validation, or the file is damaged.
        """
        path = self.folder / BEST
        if not path.exists():
            raise ValueError(
                f"{self.folder} has no {BEST}: it is kept in runs with validations, "
                "--validate-every or --patience"
            )
        state = read_numbers(path)
        done = _done(path, state)
        self.trainer.session.restore(state)
        return done

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
        state = self.config.model.state(self.trainer)
        done = int(state["n_updates"])
        history = self.trainer.history.truncated(done)
        if done != self.saved_iteration:
            # What a test has shown of other weights is not what this checkpoint does.
            for name in self.config.model.test_files:
                (self.folder / name).unlink(missing_ok=True)
        history.write(self.folder / HISTORY)
        carried = identity(self.folder, self.config, history)
        write_arrays(self.folder / CHECKPOINT, {**state, **carried})
        self.saved_iteration = done
        self._saved_at = time.monotonic()

    def weights(self, which: str = CHECKPOINT) -> dict[str, Matrix]:
        """Weights of the checkpoint or (``INITIAL``) of the start, as `Session.weights`."""
        arrays = read_numbers(self.folder / which)
        return {name: arrays[name] for name in self.trainer.session.weights}

    def initial_weights(self) -> dict[str, Matrix] | None:
        """Weights before training; None in folders of earlier versions, which have none."""
        return self.weights(INITIAL) if (self.folder / INITIAL).exists() else None

    def _save_now_and_then(self, _: Any) -> None:
        if time.monotonic() - self._saved_at > self._checkpoint_every:
            self.save()


def _same_network(network: Network, other: Network) -> bool:
    """Whether two networks are described by the same tables."""
    return same_content(tables_of(network), tables_of(other))
