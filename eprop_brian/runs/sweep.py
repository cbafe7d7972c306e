"""Sweeps: a task trained with every combination of some settings, with several seeds each."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eprop_brian.base.suggestions import unknown
from eprop_brian.base.table import write_table
from eprop_brian.base.toml import toml_value
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.series import Trained, train_all

__all__ = ["Point", "sweep", "table_name"]


@dataclass(frozen=True)
class Point:
    """A run of a sweep.

    Attributes
    ----------
    values : dict of str to object
        What was set, by the names that were swept over.
    seed : int
    folder : Path
    results : dict of str to float
        Numbers by which it is judged; empty if it failed.
    failure : str
        Why it ended, if it went wrong; else empty.
    """

    values: Mapping[str, Any]
    seed: int
    folder: Path = field(repr=False)
    results: Mapping[str, float]
    failure: str = ""


def sweep(
    config: RunConfig,
    over: Mapping[str, Sequence[Any]],
    seeds: Sequence[int],
    folder: Path,
    *,
    progress: bool = True,
    **where: Any,
) -> list[Point]:
    """Train a task with every combination of some settings.

    Every combination and seed is a run in a folder of its own. A sweep that was stopped is resumed
    by the same call, and more values or seeds add to it. Where only the test of a balanced network
    differs, it is trained once.

    Parameters
    ----------
    config : RunConfig
        Of all runs, but for what is swept over and the seed.
    over : mapping of str to sequence
        Values by setting, ``"optimizer.eta"``, or by a name of the model's `levels`, such as
        ``"kill"`` for a balanced network. The first combination is the reference.
    seeds : sequence of int
    folder : Path
        Gets a folder for every run, and the table `table_name`, one row a run.
    progress : bool
    **where
        Device, workers and scheduler, as for `RunConfig.make_trainer`.

    Returns
    -------
    list of Point
        By combination, the last name varying fastest, then by seed. A run that failed is among
        them.

    Raises
    ------
    ValueError
        If a setting does not exist, a value does not fit, or a folder holds another run.
    """
    if not over or not seeds or not all(over.values()):
        raise ValueError("a sweep needs at least one setting with a value, and one seed")
    for name, given in (*over.items(), ("seeds", seeds)):
        if any(value in list(given)[:i] for i, value in enumerate(given)):
            raise ValueError(f"the values of {name} must differ from each other")
    folder, names = Path(folder), tuple(over)
    points = {}
    for values in itertools.product(*over.values()):
        for seed in seeds:
            chosen = config.with_values("run", seed=seed)
            for name, value in zip(names, values, strict=True):
                chosen = _at(chosen, name, value)
            points[folder / _folder_name(over, values, seed)] = (values, seed, chosen)
    done: list[Trained] = []

    def as_points() -> list[Point]:
        reference: dict[int, Mapping[str, float]] = {}
        found = []
        for result in done:
            values, seed, chosen = points[result.folder]
            first = reference.setdefault(seed, result.results)
            numbers = chosen.model.beside(result.results, first)
            found.append(
                Point(
                    dict(zip(names, values, strict=True)),
                    seed,
                    result.folder,
                    numbers,
                    result.failure,
                )
            )
        return found

    def write(result: Trained) -> None:
        done.append(result)
        _write(folder / table_name(over), names, as_points())

    configs = {path: chosen for path, (_, _, chosen) in points.items()}
    train_all(configs, judged=True, progress=progress, after_run=write, **where)
    return as_points()


def table_name(over: Mapping[str, Any]) -> str:
    """Name of the table of a sweep, ``sweep-<setting>.csv``."""
    return f"sweep-{'-'.join(over)}.csv"


def _at(config: RunConfig, name: str, value: Any) -> RunConfig:
    """Return a copy with a setting, or one of the model's levels, at a value."""
    if name in config.model.levels:
        return config.model.at_level(config, name, value)
    if "." not in name:
        names = ["TABLE.KEY", *config.model.levels]
        raise ValueError(unknown("setting to sweep over", name, names))
    return config.with_setting(f"{name}={toml_value(value)}")


def _folder_name(over: Mapping[str, Sequence[Any]], values: Sequence[Any], seed: int) -> str:
    parts = []
    for (name, all_values), value in zip(over.items(), values, strict=True):
        texts = [_text(v) for v in all_values]
        text = _text(value)
        unique = texts.count(text) == 1 and len(text) <= 40
        parts.append(f"{name}={text if unique else list(all_values).index(value) + 1}")
    return "-".join([*parts, f"seed{seed}"])


def _text(value: Any) -> str:
    """Write a value so that it can be part of a file's name."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", text)


def _write(path: Path, names: Sequence[str], points: Sequence[Point]) -> None:
    columns = list(dict.fromkeys(key for point in points for key in point.results))
    rows = []
    for point in points:
        numbers = [point.results.get(name, math.nan) for name in columns]
        texts = [f"{value:.6g}" if np.isfinite(value) else "" for value in numbers]
        values = [f"{v:g}" if isinstance(v, float) else v for v in point.values.values()]
        rows.append([*values, point.seed, *texts, point.failure])
    write_table(path, [*names, "seed", *columns, "failure"], rows)
