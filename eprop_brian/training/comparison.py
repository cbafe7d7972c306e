"""Comparison: the same task learned by several methods, with several seeds each.

Every method and seed is an ordinary run in a folder of its own, ``METHOD-seedK``, which can be
resumed, evaluated and drawn by itself. A comparison that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from eprop_brian.base.table import write_table
from eprop_brian.training.config import METHODS, RunConfig
from eprop_brian.training.history import History
from eprop_brian.training.jax_session import require_jax
from eprop_brian.training.requirements import check_fit
from eprop_brian.training.run import Run
from eprop_brian.training.trainer import TrainingError

__all__ = ["Compared", "Summary", "compare", "histories", "summaries", "write_summaries"]

#: Iterations at the end over which a final loss or error is the mean.
_LAST = 10


@dataclass(frozen=True)
class Compared:
    """A run of a comparison.

    Attributes
    ----------
    method : str
    seed : int
    folder : Path
    history : History
    solved : bool
        Whether it ended because the task was solved.
    failure : str
        Why it ended, if something was no longer finite or nothing could be learned; else empty.
    """

    method: str
    seed: int
    folder: Path
    history: History = field(repr=False)
    solved: bool
    failure: str = ""


@dataclass(frozen=True)
class Summary:
    """What a method reached, over its seeds.

    Attributes
    ----------
    method : str
    seeds, solved, failed : int
        How many there are, and of how many of them the task was solved, or that failed.
    iterations : tuple of float
        Median, least and most iterations until the task was solved; infinite where it was not.
    loss, error : tuple of float
        Median, least and most of the mean over the last 10 iterations; infinite where there is
        none.
    """

    method: str
    seeds: int
    solved: int
    failed: int
    iterations: tuple[float, float, float]
    loss: tuple[float, float, float]
    error: tuple[float, float, float]

    def __str__(self) -> str:
        text = f"{self.method:<9}  final loss {_shown(self.loss)}"
        if np.isfinite(self.error[0]):
            text += f"  final error {_shown(self.error)}  solved {self.solved}/{self.seeds}"
        if self.solved:
            text += f" after {_shown(self.iterations)} iterations"
        return text + (
            f"  {self.failed} no longer finite or without a spike" if self.failed else ""
        )


def compare(
    config: RunConfig,
    folder: Path,
    methods: Sequence[str] = METHODS,
    seeds: Sequence[int] = (1, 2, 3, 4, 5),
    *,
    progress: bool = True,
    **where: Any,
) -> list[Compared]:
    """Train a task by several methods, with several seeds each.

    Parameters
    ----------
    config : RunConfig
        Of all runs, but for method and seed.
    folder : Path
        Gets a folder ``METHOD-seedK`` for every run. Those that exist are gone on with, up to the
        iterations of `config`; finished ones are not trained again.
    methods : sequence of str
        Some of `METHODS`: kinds of feedback, and ``"bptt"``.
    seeds : sequence of int
        Of weights and trials. The same seed is the same weights and trials for all methods, but
        for the feedback weights.
    progress : bool
    **where
        Device, workers and scheduler of e-prop's runs, as for `RunConfig.make_trainer`.

    Returns
    -------
    list of Compared
        By method, then seed. A run that failed is among them, up to there.

    Raises
    ------
    ValueError
        If a method is unknown or cannot be had with these settings, or a folder holds another run.
    """
    if not methods or not seeds:
        raise ValueError("a comparison needs at least one method and one seed")
    for name, given in (("methods", methods), ("seeds", seeds)):
        if len(set(given)) < len(given):
            raise ValueError(f"{name} must differ from each other: {', '.join(map(str, given))}")
    of_methods = [config.with_method(method) for method in methods]
    configs = [
        replace(chosen, run={**chosen.run, "seed": seed}) for chosen in of_methods for seed in seeds
    ]
    names = [f"{method}-seed{seed}" for method in methods for seed in seeds]
    folders = [Path(folder) / name for name in names]
    # All of them first: what cannot be trained is said before anything is.
    for chosen in of_methods:
        task = chosen.make_task()
        check_fit(chosen.make_network(task), task)
    for chosen, own in zip(configs, folders, strict=True):
        if (own / "config.toml").exists() and not chosen.is_of(own):
            raise ValueError(
                f"{own} holds a run with other settings; give the same or choose another folder"
            )
    if "bptt" in methods:
        require_jax()
    results = []
    for number, (chosen, own) in enumerate(zip(configs, folders, strict=True)):
        method = methods[number // len(seeds)]
        elsewhere = {} if method == "bptt" else where
        exists = (own / "config.toml").exists()
        run = Run.open(own, **elsewhere) if exists else Run.start(chosen, own, **elsewhere)
        failure = ""
        try:
            run.train(chosen.run["iterations"], progress=progress)
        except TrainingError as error:
            failure = str(error)
        finally:
            run.trainer.close()
        seed, trainer = chosen.run["seed"], run.trainer
        results.append(Compared(method, seed, own, trainer.history, trainer.solved, failure))
    return results


def summaries(results: Sequence[Compared]) -> list[Summary]:
    """What each method reached, in the order of the results.

    Parameters
    ----------
    results : sequence of Compared
        As `compare` returns them.
    """
    by_method: dict[str, list[Compared]] = {}
    for result in results:
        by_method.setdefault(result.method, []).append(result)
    return [
        Summary(
            method=method,
            seeds=len(runs),
            solved=sum(run.solved for run in runs),
            failed=sum(bool(run.failure) for run in runs),
            iterations=_spread([len(run.history) if run.solved else np.inf for run in runs]),
            loss=_spread([_last(run.history.loss) for run in runs]),
            error=_spread([_last(run.history.error) for run in runs]),
        )
        for method, runs in by_method.items()
    ]


def write_summaries(path: Path, found: Sequence[Summary]) -> None:
    """Write a table, one row a method; what is infinite or undefined is an empty field.

    Parameters
    ----------
    path : Path
    found : sequence of Summary
    """
    spreads = ("iterations", "loss", "error")
    columns = [f"{name}_{part}" for name in spreads for part in ("median", "least", "most")]
    rows = []
    for row in found:
        values = [value for name in spreads for value in getattr(row, name)]
        shown = [f"{value:.6g}" if np.isfinite(value) else "" for value in values]
        rows.append([row.method, row.seeds, row.solved, row.failed, *shown])
    write_table(path, ["method", "seeds", "solved", "failed", *columns], rows)


def histories(results: Sequence[Compared]) -> Mapping[str, list[History]]:
    """Histories of every method, in the order of the results."""
    found: dict[str, list[History]] = {}
    for result in results:
        found.setdefault(result.method, []).append(result.history)
    return found


def _last(values: Sequence[float]) -> float:
    return float(np.mean(values[-_LAST:])) if values else float("nan")


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and most."""
    # Sorted by hand: NumPy's median of infinite numbers is none. What is unknown comes last.
    ordered = sorted(np.inf if np.isnan(value) else value for value in values)
    middle = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    median = middle[0] if middle[0] == middle[1] else sum(middle) / 2
    return median, ordered[0], ordered[-1]


def _shown(spread: tuple[float, float, float]) -> str:
    median, least, most = (f"{v:.4g}" if np.isfinite(v) else "never" for v in spread)
    return median if least == most else f"{median} ({least} to {most})"
