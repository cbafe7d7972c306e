"""Where the trials of an exported program come from.

For the published tasks the program draws, from the same random numbers, the trials that the task
draws here. Of any other task it takes recorded ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eprop_brian.base.files import write_arrays
from eprop_brian.tasks.base import Task, Trials, hand_out
from eprop_brian.tasks.evidence_accumulation import EvidenceAccumulation
from eprop_brian.tasks.frozen import FrozenInputTask
from eprop_brian.tasks.handwriting import Handwriting
from eprop_brian.tasks.lemniscate import Lemniscate
from eprop_brian.tasks.pattern_generation import PatternGeneration
from eprop_brian.tasks.spikes import spike_bins
from eprop_brian.training.session import pack_spikes
from eprop_brian.training.trainer import (
    VALIDATION_BATCH_SIZE,
    VALIDATION_BATCHES,
    join_trials,
)

__all__ = ["source_of", "write_trials"]

#: Tasks whose trials the program draws itself, and by which of its sources. A subclass may draw
#: something else: it is another task.
_SOURCES: dict[type[Task], str] = {
    EvidenceAccumulation: "cues",
    PatternGeneration: "frozen",
    Lemniscate: "frozen",
    Handwriting: "frozen",
}


def source_of(task: Task) -> str:
    """``"cues"``, ``"frozen"`` or ``"recorded"``."""
    return _SOURCES.get(type(task), "recorded")


def write_trials(
    task: Task, folder: Path, seed: int, batch_size: int, iterations: int
) -> dict[str, int]:
    """Write what the program needs for its trials.

    Parameters
    ----------
    task : Task
    folder : Path
    seed, batch_size : int
    iterations : int
        Batches to record of a task whose trials the program does not draw.

    Returns
    -------
    dict of str to int
        Recorded trials by stream; empty if the program draws them.
    """
    source = source_of(task)
    if source != "recorded":
        cues = isinstance(task, EvidenceAccumulation)
        arrays = _cues(task) if cues else _frozen(task, seed)
        write_arrays(folder / "task.npz", arrays)
        return {}
    streams = {"train": (iterations, batch_size)}
    if task.error_threshold is not None:
        # A third to validate, the others to confirm: as many as Python draws make large files.
        streams["validation"] = (3 * VALIDATION_BATCHES, VALIDATION_BATCH_SIZE)
    if task.loss != "squared_error":
        streams["test"] = (VALIDATION_BATCHES, VALIDATION_BATCH_SIZE)
    counts = {}
    for stream, (n_batches, size) in streams.items():
        parts = [hand_out(task, seed, stream, i, size) for i in range(n_batches)]
        trials = join_trials(parts)
        recorded = _recorded(trials)
        sizes = np.array([part.n_trials for part in parts])
        # Some are smaller where the task's examples end. Whole ones are any program's, which cuts
        # the trials into batches of its own size.
        if stream == "train" and np.any(sizes != size):
            recorded["batches"] = sizes
        write_arrays(folder / f"{stream}.npz", recorded)
        counts[stream] = trials.n_trials
    return counts


def _recorded(trials: Trials) -> dict[str, np.ndarray]:
    inputs = {"inputs": trials.inputs} if trials.analog else {"words": pack_spikes(trials.inputs)}
    return {
        **inputs,
        "targets": trials.targets,
        "pattern": trials.pattern,
        "target": trials.target,
        **({} if trials.periods is None else {"periods": trials.periods}),
    }


def _spikes(probability: np.ndarray) -> dict[str, np.ndarray]:
    bins, kept_fraction, scale = spike_bins(probability)
    return {"bins": bins, "kept_fraction": kept_fraction, "gap_scale": np.array([scale])}


def _cues(task: EvidenceAccumulation) -> dict[str, np.ndarray]:
    return {
        **_spikes(task.spike_probability()),
        "cue_starts": np.array(task.cue_starts),
        "group_size": np.array([task.group_size]),
        "p_favoured": np.array([float(task.p_favoured)]),
    }


def _frozen(task: FrozenInputTask, seed: int) -> dict[str, np.ndarray]:
    drawn = isinstance(task, PatternGeneration)
    return {
        **_spikes(task.probability()),
        "targets": task.target_signals(seed),
        **({"periods": np.array(task.periods_in_steps)} if drawn else {}),
    }
