"""Figure of a sweep: what depends on a setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eprop_brian.base.checks import is_number
from eprop_brian.figures.style import (
    COLOURS,
    WIDTH,
    draw_median_and_range,
    log_if_wide,
    styled,
)
from eprop_brian.runs.sweep import Point

__all__ = ["plot_sweep"]

#: What is drawn of a model's results, and how its axis is called.
_LABELS = {
    "loss": "loss\n(dimensionless)",
    "error": "wrong trials\n(fraction)",
    "solved_after": "iterations until solved\n(number)",
    "rate_hz": "firing rate\n(Hz)",
    "nmse": "NMSE\n(dimensionless)",
    "rate": "firing rate\n(Hz)",
    "performance": "performance\n(of the reference)",
    "field_nmse": "vector-field NMSE\n(dimensionless)",
}
#: Of a balanced network, the mean distance of signal and estimate, which is no fraction.
_NOT_WITH = {"error": "nmse"}
#: From this ratio of the largest to the smallest value on, a setting's axis is logarithmic.
_WIDE = 10


@styled()
def plot_sweep(points: Sequence[Point], labels: Mapping[str, str] | None = None) -> Figure:
    """Draw the results of a sweep: median and range over the seeds.

    The first setting is along the axis; every combination of the others has a line.

    Parameters
    ----------
    points : sequence of Point
        As `eprop_brian.runs.sweep.sweep` returns them.
    labels : mapping of str to str, optional
        What settings are called, if not by their names.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If every run failed.
    """
    columns = {key for point in points for key, v in point.results.items() if np.isfinite(v)}
    shown = [c for c in _LABELS if c in columns and _NOT_WITH.get(c) not in columns]
    if not shown:
        raise ValueError("every run of the sweep failed: there is nothing to draw")
    first, *others = points[0].values
    values = _unique(point.values[first] for point in points)
    lines = _unique(tuple(point.values[name] for name in others) for point in points)
    seeds = _unique(point.seed for point in points)
    by_key = {
        (point.values[first], tuple(point.values[name] for name in others), point.seed): point
        for point in points
    }
    numeric = all(is_number(value) for value in values)
    x = np.array(values, dtype=float) if numeric else np.arange(len(values), dtype=float)
    figure, axes = plt.subplots(
        1, len(shown), figsize=(WIDTH, 2.4), layout="constrained", squeeze=False
    )
    for ax, column, single in zip(axes[0], shown, cycle(COLOURS), strict=False):
        everything = []
        for line, colour in zip(lines, cycle(COLOURS), strict=False):
            curves = np.array(
                [
                    [by_key[value, line, seed].results.get(column, np.nan) for value in values]
                    for seed in seeds
                ]
            )
            texts = [f"{labels_of(labels, n)} {v}" for n, v in zip(others, line, strict=True)]
            look: dict[str, Any] = {"marker": "o", "markersize": 3, "label": ", ".join(texts)}
            draw_median_and_range(ax, x, curves, color=colour if others else single, **look)
            everything.append(curves)
        ax.set_ylabel(_LABELS[column])
        ax.set_xlabel(labels_of(labels, first))
        _scale(ax, column, np.concatenate(everything), x if numeric else None)
        if not numeric:
            ax.set_xticks(x, [str(value) for value in values])
    if others:
        axes[0, 0].legend()
    return figure


def labels_of(labels: Mapping[str, str] | None, name: str) -> str:
    """Say what a setting is called."""
    return (labels or {}).get(name, name)


def _scale(ax: Axes, column: str, values: np.ndarray, x: np.ndarray | None) -> None:
    if x is not None and np.min(x) > 0 and np.max(x) >= _WIDE * np.min(x):
        ax.set_xscale("log")
    if not (column in ("loss", "nmse", "field_nmse") and log_if_wide(ax, values)):
        ax.set_ylim(bottom=min(0.0, float(np.nanmin(values, initial=0.0))))


def _unique(values: Any) -> list[Any]:
    """Keep the order in which values come first."""
    return list(dict.fromkeys(values))
