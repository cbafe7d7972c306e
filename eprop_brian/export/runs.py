"""Copies runs into an exported project and back."""

from __future__ import annotations

import shutil
from pathlib import Path

from eprop_brian.base.files import read_numbers, write_arrays
from eprop_brian.export.folders import new_project
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import CHECKPOINT, HISTORY, INITIAL, TRIALS, check_identity, identity
from eprop_brian.tasks.base import hand_out
from eprop_brian.training.history import History
from eprop_brian.training.kept import Kept
from eprop_brian.training.state import SessionState

__all__ = ["copy_run", "find_run", "import_run"]

_CARRIED = "carried."


def copy_run(source: Path, target: Path, config: RunConfig, state: SessionState) -> History:
    """Copy a run into a new or empty folder, after checking that its files fit together.

    Parameters
    ----------
    source, target : Path
    config : RunConfig
        That of the run.
    state : SessionState
        State of its network; afterwards that of the checkpoint.

    Raises
    ------
    ValueError
        If a file is a link out of its folder, weights do not fit the network or are not finite, or
        the history and the checkpoint are not of the same run.
    """
    _refuse_links(source)
    for name in (INITIAL, CHECKPOINT):
        arrays = read_numbers(source / name)
        try:
            state.restore(arrays)
        except ValueError as error:
            raise ValueError(f"{source / name}: {error}") from None
        if not state.is_finite():
            raise ValueError(f"{source / name}: numbers are not finite")
    history = History.read(source / HISTORY)
    if len(history) < state.n_updates:
        raise ValueError(
            f"{source / HISTORY} has {len(history)} rows, the checkpoint is of iteration "
            f"{state.n_updates}: rows are missing"
        )
    # A process killed between writing the two files leaves rows that are computed again.
    history = history.truncated(state.n_updates)
    check_identity(source, config, arrays, history)
    history = history.without_validations()
    target.mkdir(exist_ok=True)
    shutil.copyfile(source / INITIAL, target / INITIAL)
    carried = identity(target, config, history)
    write_arrays(target / CHECKPOINT, {**state.state(), **carried})
    history.write(target / HISTORY)
    if (source / TRIALS).exists():
        shutil.copyfile(source / TRIALS, target / TRIALS)
    config.write(target)
    return history


def _refuse_links(run: Path) -> None:
    """Raise ValueError if a file of a run is a link to something outside its folder."""
    for path in sorted(run.iterdir()):
        if path.is_symlink() and not path.resolve().is_relative_to(run.resolve()):
            raise ValueError(
                f"{path} is a link out of its folder, to {path.readlink()}: replace it by the file"
            )


def find_run(project: Path) -> Path:
    """Return the folder of the run in an exported project, or in a folder that is one itself.

    Raises
    ------
    ValueError
        If there is none.
    """
    project = Path(project)
    for folder in (project, project / "run"):
        if (folder / "config.toml").exists():
            return folder
    raise ValueError(f"{project} holds no run: train first, or name the folder of --run")


def import_run(project: Path, folder: Path) -> History:
    """Import the run of an exported program as a run like any other.

    Parameters
    ----------
    project : Path
        The exported project, whose run is in ``run``, or the folder of a run of its program.
    folder : Path
        New or empty folder of the run.

    Raises
    ------
    ValueError
        If there is no run, something in it is damaged or does not fit, or the folder is not
        empty.
    """
    folder = Path(folder)
    source = find_run(project)
    config = RunConfig.read(source)
    task = config.make_task()
    network = config.make_network(task)
    size = config.run["batch_size"]
    example = hand_out(task, config.run["seed"], "train", 0, size)
    weights = network.initial_weights(config.run["seed"])
    state = SessionState(network, example, task.learning_window, weights)
    # The run itself names the arrays that continuous operation carries.
    initial = read_numbers(source / INITIAL)
    carried = {x.removeprefix(_CARRIED): initial[x] for x in initial if x.startswith(_CARRIED)}
    state.carried = Kept(carried)
    with new_project(folder) as beside:
        return copy_run(source, beside, config, state)
