"""Where the trials of an exported program come from.

For the published tasks the program draws the trials that the task draws here, from the same random
numbers. For any other task it reads recorded trials.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eprop_brian.base.files import write_arrays
from eprop_brian.equations.losses import LOSSES
from eprop_brian.tasks.base import Task, confirmation_of, hand_out
from eprop_brian.tasks.episodes import EpisodicTask
from eprop_brian.tasks.evidence_accumulation import EvidenceAccumulation
from eprop_brian.tasks.frozen import FrozenInputTask
from eprop_brian.tasks.handwriting import Handwriting
from eprop_brian.tasks.lemniscate import Lemniscate
from eprop_brian.tasks.pattern_generation import PatternGeneration
from eprop_brian.tasks.spikes import spike_bins
from eprop_brian.tasks.trials import Trials, join_trials
from eprop_brian.training.evaluation import VALIDATION_BATCH_SIZE, VALIDATION_BATCHES
from eprop_brian.training.trial_data import pack_spikes

__all__ = ["source_of", "write_trials"]

#: Tasks whose trials the program draws itself, and the source in the program that draws them. A
#: subclass may draw something else, so it counts as another task.
_SOURCES: dict[type[Task], str] = {
    EvidenceAccumulation: "cues",
    PatternGeneration: "frozen",
    Lemniscate: "frozen",
    Handwriting: "frozen",
}


def source_of(task: Task) -> str:
    """Return where a task's trials come from.

    ``"cues"``, ``"frozen"``, ``"episodes"`` (which the program plays) or ``"recorded"``.
    """
    if isinstance(task, EpisodicTask):
        return "episodes"
    return _SOURCES.get(type(task), "recorded")


def write_trials(
    task: Task, folder: Path, seed: int, batch_size: int, iterations: int, noise: bool = False
) -> dict[str, int]:
    """Write the files from which the program takes its trials.

    Parameters
    ----------
    task : Task
    folder : Path
    seed, batch_size : int
    iterations : int
        Batches to record if the program does not draw the task's trials.
    noise : bool
        Whether neurons draw random numbers, for which each trial has a key.

    Returns
    -------
    dict of str to int
        Recorded trials by stream; empty if the program draws them.
    """
    if isinstance(task, EpisodicTask):
        return {}
    if source_of(task) != "recorded":
        write_arrays(folder / "task.npz", _drawn_from(task, seed))
        return {}
    parts = _handed_out(task, seed, "train", iterations, batch_size)
    trials = {"train": join_trials(parts)}
    sizes = np.array([part.n_trials for part in parts])
    # Without this array the program cuts the trials into batches of its own size. It is needed
    # where some batches are smaller, as at the end of a task's examples.
    batches = {"batches": sizes} if np.any(sizes != batch_size) else {}
    if task.error_threshold is not None:
        trials["validation"] = _to_validate(task, seed)
    if LOSSES[task.loss].softmax:
        trials["test"] = join_trials(
            _handed_out(task, seed, "test", VALIDATION_BATCHES, VALIDATION_BATCH_SIZE)
        )
    for stream, recorded in trials.items():
        more = batches if stream == "train" else {}
        keys = {"noise": recorded.noise_keys.view(np.int64)} if noise else {}
        write_arrays(folder / f"{stream}.npz", _recorded(recorded) | keys | more)
    return {stream: recorded.n_trials for stream, recorded in trials.items()}


def _handed_out(task: Task, seed: int, stream: str, n_batches: int, size: int) -> list[Trials]:
    return [hand_out(task, seed, stream, i, size) for i in range(n_batches)]


def _to_validate(task: Task, seed: int) -> Trials:
    """Trials of which the first third validates and the other two confirm.

    They are fewer than Python draws to confirm, which would make large files.
    """
    validating, confirming = (
        join_trials(_handed_out(task, seed, stream, n * VALIDATION_BATCHES, VALIDATION_BATCH_SIZE))
        for n, stream in ((1, "validation"), (2, confirmation_of("validation")))
    )
    # The program splits them by their number, also where batches are smaller.
    third = min(validating.n_trials, confirming.n_trials // 2)
    return join_trials([validating.part(slice(third)), confirming.part(slice(2 * third))])


def _recorded(trials: Trials) -> dict[str, np.ndarray]:
    inputs = {"inputs": trials.inputs} if trials.analog else {"words": pack_spikes(trials.inputs)}
    arrays = {**inputs, **trials.of_targets, "pattern": trials.pattern, "target": trials.target}
    if trials.lengths is not None:
        arrays["lengths"] = trials.lengths
    # Arrays may be repeated without taking memory, which a file cannot have.
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _drawn_from(task: Task, seed: int) -> dict[str, np.ndarray]:
    """Arrays from which the program draws the trials of a task."""
    if isinstance(task, EvidenceAccumulation):
        return _cues(task)
    assert isinstance(task, FrozenInputTask)  # by `_SOURCES`
    return _frozen(task, seed)


def _spikes(probability: np.ndarray) -> dict[str, np.ndarray]:
    places = spike_bins(probability)
    return {
        "bins": places.bins,
        "kept_fraction": places.kept_fraction,
        "gap_threshold": places.threshold.astype(np.int64),
        "gap_alias": places.alias,
    }


def _cues(task: EvidenceAccumulation) -> dict[str, np.ndarray]:
    return {
        **_spikes(task.spike_probability()),
        "cue_starts": np.array(task.cue_starts),
        "group_size": np.array([task.group_size]),
        "p_favoured": np.array([float(task.p_favoured)]),
    }


def _frozen(task: FrozenInputTask, seed: int) -> dict[str, np.ndarray]:
    # Targets that depend on the seed: the program draws those of other seeds.
    periods = (
        {"periods": np.array(task.periods_in_steps)} if isinstance(task, PatternGeneration) else {}
    )
    return {
        **_spikes(task.probability()),
        "targets": task.target_signals(seed),
        **periods,
    }
