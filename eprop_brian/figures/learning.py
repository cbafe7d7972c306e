"""Figures of learning: curves of one run, methods side by side, gradients against BPTT's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eprop_brian.base.history import Rows
from eprop_brian.figures.style import (
    COLOURS,
    WIDTH,
    colours,
    count_iterations,
    draw_median_and_range,
    draw_threshold,
    legend_above,
    lighter,
    log_if_wide,
    mark_optimum,
    median_and_range_of,
    stacked,
    styled,
)
from eprop_brian.figures.weights import matrix_title
from eprop_brian.training.curriculum import CurriculumHistory
from eprop_brian.training.gradient_check import GradientCheck
from eprop_brian.training.history import EPISODES, History

__all__ = ["plot_comparison", "plot_gradient_check", "plot_learning_curve"]

#: What each column of a history is called on its axis.
_LABELS = {
    "loss": "loss\n(dimensionless)",
    "solved_length": "solved length\n(steps)",
    "unexplained": "error of the\nsynthesiser\n(of variance)",
    "error": "wrong trials\n(%)",
    "return": "return\n(dimensionless)",
    "length": "length\n(actions)",
    "entropy": "entropy of\nthe policy\n(nats)",
    "value_error": "value error\n(dimensionless)",
    "rate_hz": "firing rate\n(Hz)",
    "alignment": "feedback\nalignment\n(cosine)",
    "nmse": "decoding NMSE\n(dimensionless)",
    "field_nmse": "vector-field NMSE\n(dimensionless)",
    "rate": "firing rate\n(Hz)",
}
#: What curves of several methods show, of the columns that a history has.
_COMPARED = (
    "loss",
    "solved_length",
    "error",
    "return",
    "length",
    "rate_hz",
    "nmse",
    "field_nmse",
    "rate",
)
#: Columns that are drawn on a logarithmic axis where they span much.
_LOGARITHMIC = ("loss", "nmse", "field_nmse")
#: A curve is the running mean over this part of the iterations.
_WINDOWS_PER_RUN = 50
_X_LABEL = "iteration (number)"


@styled()
def plot_learning_curve(
    history: History | CurriculumHistory,
    error_threshold: float | None = None,
    solved_return: float | None = None,
    batch_size: int = 1,
    of_labels: bool = False,
) -> Figure:
    """Draw loss, error (where the task defines one) and firing rate over the iterations.

    Of episodes, return, length, entropy of the policy and error of the value are drawn too; over
    the returns stands their running mean over 100 episodes, by which a task is solved. Below
    them stands the alignment of the feedback with the readout weights, unless it is symmetric
    feedback, which is aligned by definition.

    Parameters
    ----------
    history : History or CurriculumHistory
    error_threshold : float, optional
        The fraction of wrong trials below which the task counts as solved.
    solved_return : float, optional
        The mean return with which a task in an environment counts as solved.
    batch_size : int
        Episodes of an iteration.
    of_labels : bool
        Whether the error is a label error rate.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the history is empty.
    """
    columns = history.arrays()
    iteration = columns["iteration"]
    if not len(iteration):
        raise ValueError("the history is empty: there is nothing to draw")
    names = [name for name in _LABELS if name in columns and not np.all(np.isnan(columns[name]))]
    if "alignment" in names:
        alignment = columns["alignment"]
        if not np.any(np.abs(alignment[np.isfinite(alignment)] - 1) > 1e-9):
            names.remove("alignment")
    usual = _equal(max(1, len(iteration) // _WINDOWS_PER_RUN))
    figure, panels = stacked(dict.fromkeys(names, 1.4), _X_LABEL, width=0.8 * WIDTH, margin=0.5)
    for (name, ax), colour in zip(panels.items(), cycle(COLOURS), strict=False):
        values = _in_axis_units(name, columns[name])
        measured = np.isfinite(values)
        is_return = name == "return"
        weights = _of_episodes(batch_size) if is_return else usual
        window = len(weights)
        if window == 1 or not np.all(measured):
            # Some values are measured after some iterations only, and the last of them counts.
            ax.plot(iteration[measured], values[measured], color=colour, marker=".", markersize=3)
        else:
            ax.plot(iteration, values, color=lighter(colour, 0.5), linewidth=0.6)
            if window <= len(values):
                mean = np.convolve(values, weights, mode="valid")
                # Means of returns stand where they would have ended training.
                first = window - 1 if is_return else (window - 1) // 2
                label = f"mean of {window} iterations" if ax is panels[names[0]] else None
                label = f"mean of the last {EPISODES} episodes" if is_return else label
                centre = iteration[first:][: len(mean)]
                ax.plot(centre, mean, color=colour, linewidth=1.4, label=label)
        if name == "error" and error_threshold is not None:
            label = f"solved below {100 * error_threshold:g} %"
            draw_threshold(ax, 100 * error_threshold, label)
        if name == "return" and solved_return is not None:
            draw_threshold(ax, solved_return, f"solved from {solved_return:g} on")
        _scale_panel(ax, name, values[measured])
        if name == "error" and of_labels:
            ax.set_ylabel("label error\nrate (%)")
        if ax.get_legend_handles_labels()[0]:
            legend_above(ax)
    count_iterations(panels[names[-1]], iteration[0], iteration[-1])
    return figure


def _equal(window: int) -> np.ndarray:
    """Weights of a mean over so many iterations."""
    return np.full(window, 1.0 / window)


def _of_episodes(batch_size: int) -> np.ndarray:
    """Weights of the batches in a mean over the last episodes, the latest first.

    As in `History.recent_return`, of the oldest batch a part counts.
    """
    sizes = np.full(-(-EPISODES // batch_size), float(batch_size))
    sizes[-1] -= sizes.sum() - EPISODES if len(sizes) > 1 else 0.0
    weights: np.ndarray = sizes / sizes.sum()
    return weights


@styled()
def plot_comparison(
    histories: Mapping[str, Sequence[Rows]],
    error_threshold: float | None = None,
    solved_return: float | None = None,
) -> Figure:
    """Draw learning curves of several methods: median and range over the seeds of each.

    Curves are running means of a fiftieth of the iterations. A run that ended, solved or not,
    counts with its last value from there on; the curve of a method ends with its last run.

    Parameters
    ----------
    histories : mapping of str to sequence of Rows
        Runs of every method, by its name.
    error_threshold : float, optional
        The fraction of wrong trials below which the task counts as solved.
    solved_return : float, optional
        The mean return with which a task in an environment counts as solved.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If all histories are empty.
    """
    runs = {method: [h for h in seeds if len(h)] for method, seeds in histories.items()}
    every = [history for seeds in runs.values() for history in seeds]
    if not every:
        raise ValueError("the histories are empty: there is nothing to draw")
    longest = max(map(len, every))
    window = max(1, longest // _WINDOWS_PER_RUN)
    columns = [history.columns for history in every]
    names = [
        name
        for name in _COMPARED
        if name in columns[0] and not all(np.all(np.isnan(c[name])) for c in columns)
    ]
    x_label = _X_LABEL if every[0].numbered else "part of the training (number)"
    bands = median_and_range_of([len(seeds) for seeds in runs.values() if seeds])
    x_label = f"{x_label}; {bands}"
    figure, panels = stacked(dict.fromkeys(names, 1.7), x_label, width=0.8 * WIDTH)
    for name, ax in panels.items():
        medians = []
        for (method, seeds), colour in zip(runs.items(), colours(len(runs)), strict=True):
            if not seeds:
                continue
            curves = _extended([_running_mean(h.columns[name], window) for h in seeds])
            curves = _in_axis_units(name, curves)
            iteration = np.arange(1, curves.shape[1] + 1)
            draw_median_and_range(ax, iteration, curves, color=colour, label=method)
            medians.append(np.median(curves, axis=0))
        if name == "error" and error_threshold is not None:
            draw_threshold(ax, 100 * error_threshold)
        if name == "return" and solved_return is not None:
            draw_threshold(ax, solved_return)
        _scale_panel(ax, name, np.concatenate(medians))
    legend_above(panels[names[0]], columns=max(1, len(runs)))
    count_iterations(panels[names[0]], 1, longest)
    return figure


@styled()
def plot_gradient_check(checks: Sequence[GradientCheck]) -> Figure:
    """Draw how e-prop's gradient compares with that of backpropagation through time.

    Parameters
    ----------
    checks : sequence of GradientCheck
        One for each seed.

    Returns
    -------
    Figure
        Above the cosine of the angle between the two, below the ratio of their lengths, for every
        projection and learned parameter: median and range over the seeds that got so far.

    Raises
    ------
    ValueError
        If nothing was compared.
    """
    iterations = np.array(sorted({i for check in checks for i in check.iteration}))
    if not len(iterations):
        raise ValueError("no gradients were compared: there is nothing to draw")
    names = list(checks[0].cosine)
    x_label = f"{_X_LABEL}; {median_and_range_of([len(checks)])}"
    figure, panels = stacked({"cosine": 1.5, "ratio": 1.5}, x_label, width=0.8 * WIDTH, margin=0.6)
    least, ratios = 1.0, []
    for measure, ax in panels.items():
        for name, colour in zip(names, colours(len(names)), strict=True):
            curves = np.full((len(checks), len(iterations)), np.nan)
            for row, check in zip(curves, checks, strict=True):
                row[np.searchsorted(iterations, check.iteration)] = getattr(check, measure)[name]
            look = {"color": colour, "marker": ".", "markersize": 3}
            draw_median_and_range(ax, iterations, curves, label=matrix_title(name), **look)
            if measure == "cosine":
                least = float(np.nanmin(curves, initial=least))
            else:
                ratios.append(curves)
        mark_optimum(ax, 1)
    panels["cosine"].set_ylim(min(0.0, least) - 0.05, 1.05)
    panels["cosine"].set_ylabel("cosine of the\nangle between\ngradients")
    if not log_if_wide(panels["ratio"], np.array(ratios)):
        panels["ratio"].set_ylim(bottom=0)
    panels["ratio"].set_ylabel("length of\ne-prop's over\nBPTT's")
    legend_above(panels["cosine"], columns=min(3, len(names)))
    count_iterations(panels["ratio"], iterations[0], iterations[-1])
    return figure


def _in_axis_units(column: str, values: np.ndarray) -> np.ndarray:
    """Values of a history's column as its axis shows them: errors in per cent."""
    return 100 * values if column == "error" else values


def _scale_panel(ax: Axes, column: str, values: np.ndarray) -> None:
    """Label and scale the axis that shows these values of a history's column."""
    ax.set_ylabel(_LABELS[column])
    if column in _LOGARITHMIC:
        log_if_wide(ax, values)
    elif column == "alignment":
        ax.set_ylim(min(0.0, np.min(values)) - 0.05, 1.05)
        mark_optimum(ax, 1)
    elif column != "return":
        ax.set_ylim(bottom=0)


def _running_mean(values: Sequence[float], window: int) -> np.ndarray:
    """Mean of the last `window` values, of fewer at the start; as long as `values`."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(sums))
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _extended(curves: Sequence[np.ndarray]) -> np.ndarray:
    """Curves of equal length, (n_curves, longest): each keeps its last value."""
    longest = max(map(len, curves))
    return np.array([np.pad(curve, (0, longest - len(curve)), mode="edge") for curve in curves])
