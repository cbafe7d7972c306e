"""Sweeps: a task trained with many settings and seeds, every run in a folder of its own.

A sweep has points, each a value for every setting that varies. Each point and seed is an ordinary
run, in a folder such as ``network.c_reg=10_seed2``, which can be resumed, evaluated and drawn by
itself. A sweep that was stopped goes on where it was.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eprop_brian.base.table import write_table
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.processes import in_processes
from eprop_brian.runs.series import Trained, check_run, train_runs

__all__ = [
    "TABLE",
    "Points",
    "Result",
    "grid",
    "plain",
    "read_points",
    "spread",
    "spread_text",
    "summary",
    "sweep",
]

#: The file with the results of a sweep, in its folder.
TABLE = "sweep.csv"
_OPENING, _CLOSING = "([{", ")]}"
#: The longest name of a point in the name of a folder.
_LONGEST = 100


@dataclass(frozen=True)
class Points:
    """The points of a sweep.

    Attributes
    ----------
    names : tuple of str
        Settings that vary, ``"table.key"``.
    values : tuple of tuple of str
        For every point, a value of each of these settings, as typed.
    fixed : tuple of str
        ``"table.key=value"``: settings of all points.
    """

    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    fixed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        all_names = [*self.names, *(setting.partition("=")[0] for setting in self.fixed)]
        for name in all_names:
            if all_names.count(name) > 1:
                raise ValueError(
                    f"the setting {name} is given twice: give all its values at once, with commas"
                )
        if "run.seed" in all_names:
            raise ValueError("seeds of a sweep are chosen with --seeds, not with run.seed")
        if len(set(self.values)) < len(self.values):
            twice = next(point for point in self.values if self.values.count(point) > 1)
            raise ValueError(f"a point occurs twice in the sweep: {', '.join(twice)}")

    def settings(self, point: Sequence[str]) -> tuple[str, ...]:
        """``"table.key=value"`` of a point, with those that all points share."""
        varied = (f"{name}={value}" for name, value in zip(self.names, point, strict=True))
        return (*self.fixed, *varied)

    def folder_name(self, point: Sequence[str], seed: int) -> str:
        """The name of the folder of a run."""
        pairs = zip(self.names, point, strict=True)
        parts = [f"{name}={value}" for name, value in pairs] or ["recipe"]
        text = "_".join(parts)
        name = re.sub(r"[^\w.+=-]", "", text)[:_LONGEST]
        if re.sub(r"['\" ]", "", text) != name:
            # Something that makes a difference cannot stand in the name of a file.
            name += f"_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        return f"{name}_seed{seed}"


@dataclass
class Result:
    """A run of a sweep.

    Attributes
    ----------
    point : tuple of str
        Values of the settings that vary.
    seed : int
    folder : Path
    values : dict of str to float
        What was measured; NaN or infinite where there is no number.
    failure : str
        Why the run failed; else empty.
    """

    point: tuple[str, ...]
    seed: int
    folder: Path
    values: dict[str, float] = field(default_factory=dict)
    failure: str = ""


def grid(settings: Iterable[str]) -> Points:
    """All combinations of the values of some settings.

    Parameters
    ----------
    settings : iterable of str
        ``"table.key=value,value,..."``. Commas within quotes and brackets do not separate values.
        A setting with one value is the same at all points.

    Raises
    ------
    ValueError
        If there is no ``=``, a value is missing, or a setting or value occurs twice.
    """
    axes: list[tuple[str, list[str]]] = []
    for setting in settings:
        name, equals, text = setting.partition("=")
        values = _split(text)
        if not equals or not all(values):
            raise ValueError(
                f"--set {setting}: write TABLE.KEY=VALUE,VALUE,... for example "
                "optimizer.eta=1e-4,1e-3 or neuron.tau_m='20 ms,30 ms'"
            )
        axes.append((name.strip(), values))
    varied = [(name, values) for name, values in axes if len(values) > 1]
    return Points(
        names=tuple(name for name, _ in varied),
        values=tuple(itertools.product(*(values for _, values in varied))),
        fixed=tuple(f"{name}={values[0]}" for name, values in axes if len(values) == 1),
    )


def read_points(path: Path, settings: Iterable[str] = ()) -> Points:
    """Read points from a table with a column for every setting and a row for every point.

    Parameters
    ----------
    path : Path
        A CSV file; its first line names the settings, ``table.key``.
    settings : iterable of str
        ``"table.key=value"`` of all points.

    Raises
    ------
    ValueError
        If the file is no such table.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [[text.strip() for text in row] for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from None
    if len(rows) < 2:
        raise ValueError(f"{path} needs a line with the names of settings and one for each point")
    names, *values = rows
    for number, row in enumerate(values, 1):
        if len(row) != len(names) or not all(row):
            raise ValueError(f"{path}, point {number}: there must be {len(names)} values")
    return Points(tuple(names), tuple(map(tuple, values)), tuple(settings))


def sweep(
    points: Points,
    configure: Callable[[Sequence[str], int], RunConfig],
    seeds: Sequence[int],
    folder: Path,
    *,
    side_by_side: int = 1,
    report: Callable[[Result, int, int], None] = lambda result, done, total: None,
    **where: Any,
) -> list[Result]:
    """Train a run for every point and seed; those that exist are resumed.

    A balanced network is trained once for all points that differ in its test alone.

    Parameters
    ----------
    points : Points
    configure : callable
        Makes the configuration of a run from settings, ``"table.key=value"``, and a seed.
    seeds : sequence of int
    folder : Path
        Gets a folder for every run, and the table ``sweep.csv``, which grows as runs end. It has a
        row for every run; what is infinite or undefined is an empty field.
    side_by_side : int
        Runs that are trained at the same time, each in a process of its own.
    report : callable
        Called after every run, with its result, the number of runs done and of all of them.
    **where
        Where the trials of each run are computed, as for `RunConfig.make_trainer`.

    Returns
    -------
    list of Result
        By point, then seed.

    Raises
    ------
    ValueError
        If a setting does not fit, before anything is trained; or if a folder holds another run.
    """
    results = [
        Result(point, seed, Path(folder) / points.folder_name(point, seed))
        for point in points.values
        for seed in seeds
    ]
    configs = [configure(points.settings(result.point), result.seed) for result in results]
    groups: list[list[int]] = []
    for number, (config, result) in enumerate(zip(configs, results, strict=True)):
        check_run(config, result.folder)
        for group in groups:
            if config.shares_training(configs[group[0]]):
                group.append(number)
                break
        else:
            groups.append([number])
    jobs = [
        ([configs[number] for number in group], [results[number].folder for number in group])
        for group in groups
    ]
    measured: dict[int, Mapping[str, float]] = {}

    def finished(job: int, outcomes: Sequence[Trained]) -> None:
        n_before = len(measured)
        for number, outcome in zip(groups[job], outcomes, strict=True):
            measured[number] = outcome.results
            results[number].failure = outcome.failure
        for number, values in measured.items():
            # Runs are compared with that of the first point and the same seed, if it has ended.
            reference = measured.get(number % len(seeds), {})
            results[number].values = dict(configs[number].model.beside(values, reference))
        _write_results(Path(folder) / TABLE, points, [results[n] for n in sorted(measured)])
        for done, number in enumerate(groups[job], n_before + 1):
            report(results[number], done, len(results))

    options = {**where, "judged": True}
    side_by_side = min(side_by_side, len(jobs))
    if side_by_side > 1:
        in_processes(train_runs, jobs, {**options, "progress": False}, side_by_side, finished)
    else:
        for job, arguments in enumerate(jobs):
            finished(job, train_runs(*arguments, **options))
    return results


def _write_results(path: Path, points: Points, results: Sequence[Result]) -> None:
    """Write a table, one row a run."""
    names = list(dict.fromkeys(name for result in results for name in result.values))
    rows = []
    for result in results:
        values = [result.values.get(name, np.nan) for name in names]
        shown = [f"{value:.6g}" if np.isfinite(value) else "" for value in values]
        rows.append([*map(plain, result.point), result.seed, *shown, result.failure])
    write_table(path, [*points.names, "seed", *names, "failure"], rows)


def summary(points: Points, results: Sequence[Result], measures: Iterable[str]) -> list[str]:
    """Lines of a table, one for each point: median over the seeds, and the range in brackets.

    Parameters
    ----------
    points : Points
    results : sequence of Result
    measures : iterable of str
        Numbers to show; one that no run has is left out.
    """
    shown = [
        name
        for name in measures
        if any(np.isfinite(result.values.get(name, np.nan)) for result in results)
    ]
    rows = [[*points.names, "runs", *shown]]
    for point in points.values:
        runs = [result for result in results if result.point == point]
        cells = [spread_text(spread([r.values.get(name, np.nan) for r in runs])) for name in shown]
        succeeded = sum(not run.failure for run in runs)
        rows.append([*map(plain, point), f"{succeeded}/{len(runs)}", *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and most; an unknown value counts as infinite."""
    # Sorted by hand: NumPy's median of infinite numbers is none. What is unknown comes last.
    ordered = sorted(np.inf if np.isnan(value) else value for value in values)
    middle = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    median = middle[0] if middle[0] == middle[1] else sum(middle) / 2
    return median, ordered[0], ordered[-1]


def spread_text(values: tuple[float, float, float]) -> str:
    """``"2 (1 to 3)"`` of median, least and most; what is infinite never happened."""
    median, least, most = (f"{v:.4g}" if np.isfinite(v) else "never" for v in values)
    return median if least == most else f"{median} ({least} to {most})"


def plain(value: str) -> str:
    """A value as typed, without the quotes of text."""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def _split(text: str) -> list[str]:
    """Parts between commas that stand neither in quotes nor in brackets."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "," and depth <= 0:
            parts.append("")
            continue
        else:
            depth += (character in _OPENING) - (character in _CLOSING)
        parts[-1] += character
    return [part.strip() for part in parts]
