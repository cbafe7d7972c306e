"""How results depend on one setting or on two."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eprop_brian.figures.style import (
    COLOURS,
    WIDTH,
    draw_median_and_range,
    log_if_wide,
    logarithmic,
    median_and_range_of,
    styled,
)
from eprop_brian.runs.sweep import Points, Result, plain

__all__ = ["can_plot_sweep", "plot_sweep"]

#: A number and perhaps a unit.
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)")
#: Values of a setting that span this factor or a larger one are drawn on a logarithmic axis.
_WIDE = 20.0


def can_plot_sweep(points: Points) -> bool:
    """Whether there is a figure: of one setting, or of all combinations of two."""
    if len(points.names) == 2:
        return len(points.values) == np.prod(
            [len(set(v)) for v in zip(*points.values, strict=True)]
        )
    return len(points.names) == 1


@styled()
def plot_sweep(
    points: Points, results: Sequence[Result], measures: Mapping[str, str], title: str = ""
) -> Figure:
    """Draw the results of a sweep.

    Of one setting: median and range over the seeds. Of two: a map of medians, with the first
    setting from bottom to top.

    Parameters
    ----------
    points : Points
        For which `can_plot_sweep` holds.
    results : sequence of Result
    measures : mapping of str to str
        Numbers to draw and the labels of their axes; one that no run has is left out.
    title : str

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If no run has any of the numbers.
    """
    arrays = {label: _array(points, results, name) for name, label in measures.items()}
    arrays = {label: array for label, array in arrays.items() if np.any(np.isfinite(array))}
    if not arrays:
        raise ValueError("no run of the sweep has a result: there is nothing to draw")
    n_columns = min(3, len(arrays))
    n_rows = -(-len(arrays) // n_columns)
    figure, grid = plt.subplots(
        n_rows,
        n_columns,
        figsize=(WIDTH * max(0.6, n_columns / 3), 2.5 * n_rows),
        layout="constrained",
        squeeze=False,
    )
    panels = grid.ravel()
    for ax in panels[len(arrays) :]:
        ax.remove()
    for ax, (label, array), colour in zip(panels, arrays.items(), cycle(COLOURS), strict=False):
        if len(points.names) == 1:
            _draw_line(ax, points, array, colour)
            ax.set_ylabel(label)
        else:
            _draw_map(figure, ax, points, np.nanmedian(array, axis=1), label)
    figure.suptitle(title)
    return figure


def _array(points: Points, results: Sequence[Result], name: str) -> np.ndarray:
    """A result of all runs, (n_points, n_seeds); NaN where a run lacks it."""
    values = [
        [result.values.get(name, np.nan) for result in results if result.point == point]
        for point in points.values
    ]
    array = np.array(values, dtype=float)
    return np.where(np.isfinite(array), array, np.nan)


def _draw_line(ax: Axes, points: Points, array: np.ndarray, colour: str) -> None:
    texts = [point[0] for point in points.values]
    x, unit = _numbers(texts)
    label = f"{points.names[0]} ({unit})" if unit else points.names[0]
    ax.set_xlabel(f"{label}\n{median_and_range_of([array.shape[1]])}")
    if x is None:
        x = np.arange(len(texts), dtype=float)
        ax.set_xticks(x, map(plain, texts))
        wide = False
    else:
        wide = bool(np.min(x) > 0 and np.max(x) >= _WIDE * np.min(x))
    order = np.argsort(x)
    draw_median_and_range(ax, x[order], array[order].T, color=colour, marker="o", markersize=3)
    if wide:
        logarithmic(ax, "x")
    if not log_if_wide(ax, array):
        ax.set_ylim(bottom=min(0.0, float(np.nanmin(array))))


def _draw_map(figure: Figure, ax: Axes, points: Points, medians: np.ndarray, label: str) -> None:
    rows, columns = (list(dict.fromkeys(values)) for values in zip(*points.values, strict=True))
    image = np.full((len(rows), len(columns)), np.nan)
    for (row, column), median in zip(points.values, medians, strict=True):
        image[rows.index(row), columns.index(column)] = median
    drawn = ax.imshow(image, origin="lower", aspect="auto", cmap="viridis")
    ax.set_xticks(range(len(columns)), map(plain, columns))
    ax.set_yticks(range(len(rows)), map(plain, rows))
    ax.set_xlabel(points.names[1])
    ax.set_ylabel(points.names[0])
    figure.colorbar(drawn, ax=ax, label=label)


def _numbers(texts: Sequence[str]) -> tuple[np.ndarray | None, str]:
    """Numbers and the unit that they share; None if some are not numbers or units differ."""
    matches = [_QUANTITY.fullmatch(plain(text)) for text in texts]
    units = {match[2] for match in matches if match}
    if not all(matches) or len(units) > 1:
        return None, ""
    return np.array([float(match[1]) for match in matches if match]), units.pop()
