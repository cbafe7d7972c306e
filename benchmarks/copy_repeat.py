"""Copy-repeat with windows of four steps: which lengths are solved after which time.

``python -m benchmarks.copy_repeat FILE.csv`` trains a network of LIF and ALIF neurons and an LSTM,
each with the learning rate that was best for seed 11, and adds a row for every level that a run has
solved. A file that is there is continued. ``XLA_FLAGS=--xla_cpu_multi_thread_eigen=false`` keeps
JAX on one thread, so that processor time is the time of the computation.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eprop_brian.base.table import read_table, write_table
from eprop_brian.runs.config import RunConfig
from eprop_brian.training.diagnosis import TrainingError

#: Settings of the two networks, and for how many seconds of processor time they are trained.
NETWORKS = {
    "lif + alif": ("copy-repeat", ("size.lif=32", "size.alif=32"), 10.0),
    "lstm": ("copy-repeat-lstm", ("size.lstm=32",), 8.0),
}
#: Windows, synthesiser, and whether windows shift.
ARMS = {
    "e-prop": (1, "off", False),
    "off": (4, "off", False),
    "off, shifted": (4, "off", True),
    "linear": (4, "linear", False),
}
ETAS = (0.0025, 0.005, 0.01)
TUNED, SEEDS = 11, (1, 2, 3)
COLUMNS = ("network", "arm", "eta", "seed", "solved_length", "updates", "seconds")


class Job(NamedTuple):
    """A training."""

    network: str
    arm: str
    eta: float
    seed: int


def solved(job: Job) -> list[list[str]]:
    """Rows of the levels that a run has solved, and one of length 0 for its end."""
    recipe, settings, most = NETWORKS[job.network]
    window, synthesiser, shifted = ARMS[job.arm]
    config = RunConfig.from_recipe(
        recipe,
        run={"seed": job.seed},
        settings=[
            *settings,
            *("task.n_bits=3", f"optimizer.eta={job.eta}", f"windows.window={window}"),
            *(f"windows.synthesiser={synthesiser}", f"windows.shifted={str(shifted).lower()}"),
        ],
    )
    trainer = config.make_trainer()
    # A run whose loss becomes infinite has solved what it had solved before.
    with contextlib.suppress(TrainingError):
        while not len(times := without_compilation(trainer.history.columns)) or times[-1] < most:
            trainer.train(trainer.iteration + 50, progress=False)
    times = without_compilation(trainer.history.columns)
    lengths = np.array(trainer.history.columns["solved_length"])
    first = [int(np.argmax(lengths == length)) for length in np.unique(lengths[lengths > 0])]
    marks = [(int(lengths[k]), k) for k in first] + [(0, len(times) - 1)]
    texts = [job.network, job.arm, str(job.eta), str(job.seed)]
    return [[*texts, str(length), str(k + 1), f"{times[k]:.2f}"] for length, k in marks]


def without_compilation(columns: dict[str, list[float]]) -> np.ndarray:
    """Processor time after each iteration; the first ones of a length, compiled, as its median."""
    seconds, lengths = np.array(columns["seconds"]), np.array(columns["trial_length"])
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        seconds[same[0]] = np.median(seconds[same])
    return np.cumsum(seconds)


def best_eta(rows: list[dict[str, str]], network: str, arm: str) -> float:
    """The rate with which the tuned seed solved most, and then soonest."""

    def score(eta: float) -> tuple[int, float]:
        job = Job(network, arm, eta, TUNED)
        return max(
            (int(row["solved_length"]), -float(row["seconds"]))
            for row in rows
            if job_of(row) == job
        )

    return max(ETAS, key=score)


def job_of(row: dict[str, str]) -> Job:
    """The training that a row is of."""
    return Job(row["network"], row["arm"], float(row["eta"]), int(row["seed"]))


def left(rows: list[dict[str, str]]) -> Iterator[Job]:
    """Trainings that have no rows yet: those of the tuned seed, then the others."""
    done = {job_of(row) for row in rows}
    for network in NETWORKS:
        tuning = [Job(network, arm, eta, TUNED) for arm in ARMS for eta in ETAS]
        yield from (job for job in tuning if job not in done)
        if done.issuperset(tuning):
            for arm in ARMS:
                eta = best_eta(rows, network, arm)
                jobs = (Job(network, arm, eta, seed) for seed in SEEDS)
                yield from (job for job in jobs if job not in done)


def main(path: Path, seconds: float) -> None:
    """Train what is left, beginning nothing after some seconds."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        rows = [*read_table(path, [*COLUMNS], (), ())] if path.exists() else []
        job = next(left(rows), None)
        if job is None:
            return
        added = solved(job)
        write_table(path, [*COLUMNS], [*([*row.values()] for row in rows), *added])
        print(job, added[-2:], flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else float("inf"))
