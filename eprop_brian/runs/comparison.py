"""Comparison: the same task learned by several methods, with several seeds each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from eprop_brian.base.history import Rows, mean_of_last
from eprop_brian.base.table import write_table
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.series import check_run, train_runs
from eprop_brian.runs.sweep import spread, spread_text

__all__ = ["Compared", "Summary", "compare", "histories", "summaries", "write_summaries"]


@dataclass(frozen=True)
class Compared:
    """A run of a comparison.

    Attributes
    ----------
    method : str
    seed : int
    folder : Path
    history : History or TrainingHistory
    solved : bool
        Whether it ended because the task was solved.
    failure : str
        Why it ended, if something was no longer finite, nothing could be learned or a balanced
        network was unstable; else empty.
    curves : tuple of str
        Columns of the history that are reported: a loss, and an error that may be undefined, or
        the return.
    results : dict of str to float
        Numbers by which the run is judged, as `eprop_brian.runs.models.Model.results` gives them.
    """

    method: str
    seed: int
    folder: Path
    history: Rows = field(repr=False)
    solved: bool
    failure: str = ""
    curves: tuple[str, ...] = ("loss", "error")
    results: Mapping[str, float] = field(default_factory=dict)

    def final(self, name: str) -> float:
        """Return a number by which the run is judged; of a failed run, from its history."""
        return self.results.get(name, mean_of_last(self.history.columns.get(name, [])))


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
        none. Of balanced networks, the errors of decoding and of the vector field in the test; in
        an environment the second is the return, of the last 100 episodes.
    curves : tuple of str
        What `loss` and `error` are called.
    """

    method: str
    seeds: int
    solved: int
    failed: int
    iterations: tuple[float, float, float]
    loss: tuple[float, float, float]
    error: tuple[float, float, float]
    curves: tuple[str, ...] = ("loss", "error")

    def __str__(self) -> str:
        loss, error = self.curves
        text = f"{self.method:<9}  final {loss} {spread_text(self.loss)}"
        if np.isfinite(self.error[0]):
            text += f"  final {error} {spread_text(self.error)}"
            if error in ("error", "return"):
                text += f"  solved {self.solved}/{self.seeds}"
        if self.solved:
            text += f" after {spread_text(self.iterations)} iterations"
        return text + (f"  {self.failed} {self._failure}" if self.failed else "")

    @property
    def _failure(self) -> str:
        plain = "no longer finite or without a spike"
        return "unstable" if self.curves[1] == "field_nmse" else plain


def compare(
    config: RunConfig,
    folder: Path,
    methods: Sequence[str] | None = None,
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
        Gets a folder ``METHOD-seedK`` for every run. Existing runs are resumed until they reach
        the iterations of `config`; finished ones are not trained again.
    methods : sequence of str, optional
        Some of the model's `methods`. For e-prop: kinds of feedback, ``"bptt"``, and
        ``"readouts"``, the control in which nothing but projections to readouts learns. For
        balanced networks: how the error enters, and ``"closed"``, weights that need no learning.
        Default: all that go with these settings.
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
        If a method is unknown or cannot be had with these settings, a folder holds another run, or
        the task needs no training.
    """
    methods = config.model.methods_of(config) if methods is None else methods
    if not methods or not seeds:
        raise ValueError("a comparison needs at least one method and one seed")
    for name, given in (("methods", methods), ("seeds", seeds)):
        if len(set(given)) < len(given):
            raise ValueError(f"{name} must differ from each other: {', '.join(map(str, given))}")
    if not config.model.length(config):
        raise ValueError(
            f"{config.run['task']} needs no training, so there is nothing to compare: its weights "
            "are known in closed form"
        )
    pairs = [(method, seed) for method in methods for seed in seeds]
    runs = {Path(folder) / f"{method}-seed{seed}": (method, seed) for method, seed in pairs}
    by_method = {method: config.with_method(method) for method in methods}
    configs = {
        path: by_method[method].with_values("run", seed=seed)
        for path, (method, seed) in runs.items()
    }
    # All of them first: what cannot be trained is refused before anything is.
    for path, chosen in configs.items():
        check_run(chosen, path)
    results = []
    for path, chosen in configs.items():
        (run,) = train_runs([chosen], [path], judged=True, progress=progress, **where)
        method, seed = runs[path]
        result = Compared(method, seed, path, run.history, run.solved, run.failure)
        results.append(replace(result, curves=config.model.curves(config), results=run.results))
    return results


def summaries(results: Sequence[Compared]) -> list[Summary]:
    """Say what each method reached, in the order of the results.

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
            iterations=spread([len(run.history) if run.solved else np.inf for run in runs]),
            loss=spread([run.final(run.curves[0]) for run in runs]),
            error=spread([run.final(run.curves[1]) for run in runs]),
            curves=runs[0].curves,
        )
        for method, runs in by_method.items()
    ]


def write_summaries(path: Path, rows: Sequence[Summary]) -> None:
    """Write a table, one row a method; what is infinite or undefined is an empty field.

    Parameters
    ----------
    path : Path
    rows : sequence of Summary
    """
    spreads = ("iterations", "loss", "error")
    names = ("iterations", *rows[0].curves)
    columns = [f"{name}_{part}" for name in names for part in ("median", "least", "most")]
    lines = []
    for row in rows:
        values = [value for name in spreads for value in getattr(row, name)]
        texts = [f"{value:.6g}" if np.isfinite(value) else "" for value in values]
        lines.append([row.method, row.seeds, row.solved, row.failed, *texts])
    write_table(path, ["method", "seeds", "solved", "failed", *columns], lines)


def histories(results: Sequence[Compared]) -> Mapping[str, list[Rows]]:
    """Give the histories of every method, in the order of the results."""
    by_method: dict[str, list[Rows]] = {}
    for result in results:
        by_method.setdefault(result.method, []).append(result.history)
    return by_method
