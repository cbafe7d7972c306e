"""Style of all figures, parts that panels share, and saving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import MaxNLocator

from eprop_brian.base.files import beside

__all__ = [
    "COLOURS",
    "WIDTH",
    "count_iterations",
    "draw_analog_inputs",
    "draw_median_and_range",
    "draw_spikes",
    "draw_threshold",
    "legend_above",
    "legend_beside",
    "lighter",
    "log_if_wide",
    "mark_optimum",
    "save_figure",
    "stacked",
    "styled",
    "whole_numbers",
]

#: Colours of Okabe and Ito, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_STYLE = {
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.0,
    "axes.labelsize": 8.0,
    "axes.titlesize": 9.0,
    "figure.titlesize": 10.0,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.0,
    "figure.facecolor": "white",
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}
#: Width of a figure in inches.
WIDTH = 7.2


@contextmanager
def styled() -> Iterator[None]:
    """Use the same look whatever the user's settings are, and restore those afterwards.

    Also a decorator of functions that draw.
    """
    # A notebook's backend is loaded with its first figure, and switches interaction on, which is a
    # setting too: restored with the others, no later figure would be shown.
    plt.draw_if_interactive()
    with style.context(["default", _STYLE]):
        yield


def stacked(
    heights: Mapping[str, float], x_label: str, *, width: float = WIDTH, margin: float = 0.6
) -> tuple[Figure, dict[str, Axes]]:
    """Make a figure of panels one above the other that share their x axis.

    Parameters
    ----------
    heights : mapping of str to float
        Height of every panel in inches, by the panel's name, from top to bottom.
    x_label : str
        Stands below the lowest panel.
    width : float
        Width of the figure in inches.
    margin : float
        Height in inches that labels and titles take.

    Returns
    -------
    Figure
    dict of str to Axes
        The panels by name.
    """
    figure, column = plt.subplots(
        len(heights),
        figsize=(width, sum(heights.values()) + margin),
        sharex=True,
        squeeze=False,
        height_ratios=list(heights.values()),
        layout="constrained",
    )
    panels = dict(zip(heights, column[:, 0], strict=True))
    column[-1, 0].set_xlabel(x_label)
    figure.align_ylabels()
    return figure, panels


def count_iterations(ax: Axes, first: int, last: int) -> None:
    """Give an axis the ticks and limits of iterations."""
    ax.xaxis.set_major_locator(whole_numbers(8))
    ax.set_xlim(first - 0.5, last + 0.5)


def log_if_wide(ax: Axes, values: np.ndarray) -> bool:
    """Make the y axis logarithmic where positive values span more than a factor of ten.

    Parameters
    ----------
    ax : Axes
    values : ndarray
        What the axis shows; NaN is left out.

    Returns
    -------
    bool
        Whether the axis is logarithmic now.
    """
    finite = values[np.isfinite(values)]
    wide = bool(len(finite)) and bool(np.max(finite) > 10 * np.min(finite) > 0)
    if wide:
        ax.set_yscale("log")
    return wide


def draw_threshold(ax: Axes, level: float, label: str | None = None) -> None:
    """Draw a level that values have to cross as a dashed line."""
    ax.axhline(level, color="black", linestyle="--", linewidth=0.8, label=label)


def mark_optimum(ax: Axes, level: float) -> None:
    """Draw the best possible value as a thin dotted line."""
    ax.axhline(level, color="black", linestyle=":", linewidth=0.5)


def draw_spikes(
    ax: Axes,
    times: np.ndarray,
    neurons: np.ndarray,
    n: int,
    colour: str,
    label: str | None = None,
    width: float = 0.6,
) -> None:
    """Draw spikes as vertical ticks, one row a neuron.

    Parameters
    ----------
    ax : Axes
    times, neurons : ndarray of shape (n_spikes,)
        Time and row of every spike.
    n : int
        Number of rows, which determines how long a tick is.
    colour : str
    label : str, optional
    width : float
        Of a tick, in points.
    """
    ax.plot(
        times,
        neurons,
        linestyle="none",
        marker="|",
        markersize=max(1.6, min(6.0, 60.0 / n)),
        markeredgewidth=width,
        color=colour,
        label=label,
    )
    ax.yaxis.set_major_locator(whole_numbers(5))


def draw_analog_inputs(ax: Axes, values: np.ndarray, end: float) -> None:
    """Draw analog inputs (n_steps, n_inputs) as an image up to a time, with its scale beside it."""
    limit = float(np.abs(values).max()) or 1.0
    image = ax.imshow(
        values.T,
        extent=(0.0, end, -0.5, values.shape[1] - 0.5),
        origin="lower",
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        aspect="auto",
        interpolation="nearest",
    )
    # Beside the panel, not taken from it: its time axis is that of the panels below.
    scale = ax.inset_axes((1.01, 0.0, 0.012, 1.0))
    ax.figure.colorbar(image, cax=scale, label="value")
    ax.set_ylabel("analog input\n(index)")
    ax.yaxis.set_major_locator(whole_numbers(5))


def draw_median_and_range(ax: Axes, x: np.ndarray, curves: np.ndarray, **look: Any) -> None:
    """Draw curves (n_curves, len(x)) by their median and range; NaN is what a curve lacks."""
    measured = ~np.all(np.isnan(curves), axis=0)
    x, curves = x[measured], curves[:, measured]
    low, high = np.nanmin(curves, axis=0), np.nanmax(curves, axis=0)
    ax.fill_between(x, low, high, color=look["color"], alpha=0.2, linewidth=0)
    ax.plot(x, np.nanmedian(curves, axis=0), **look)


def legend_beside(ax: Axes) -> Legend:
    """Put a legend into the right margin, where it hides nothing."""
    return ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0)


def legend_above(ax: Axes, columns: int = 2) -> Legend:
    """Put a legend above the axes, at the right."""
    return ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0, ncols=columns)


def whole_numbers(most: int) -> MaxNLocator:
    """Ticks at whole numbers, at most so many intervals."""
    return MaxNLocator(most, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])


def lighter(colour: str, share: float) -> tuple[float, float, float]:
    """The colour mixed with a share of white."""
    red, green, blue = (share + (1 - share) * part for part in to_rgb(colour))
    return red, green, blue


def save_figure(figure: Figure, path: Path, formats: Sequence[str]) -> list[Path]:
    """Write a figure in some formats and close it.

    Parameters
    ----------
    figure : Figure
    path : Path
        Without suffix.
    formats : sequence of str
        File types, e.g. ``("png", "pdf")``.

    Returns
    -------
    list of Path
        The files written.
    """
    written = []
    with styled():
        for suffix in formats:
            written.append(path.with_name(f"{path.name}.{suffix}"))
            with beside(written[-1]) as temporary:
                figure.savefig(temporary, format=suffix)
            # Laying out takes longest, and is the same for the next format.
            figure.set_layout_engine("none")
    plt.close(figure)
    return written
