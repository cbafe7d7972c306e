"""Style of all figures, parts that panels share, and saving."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import pyplot as plt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from eprop_brian.base.files import beside
from eprop_brian.figures import FORMATS

__all__ = [
    "COLOURS",
    "WIDTH",
    "colours",
    "count_iterations",
    "draw_analog_inputs",
    "draw_median_and_range",
    "draw_spikes",
    "draw_threshold",
    "legend_above",
    "legend_beside",
    "lighter",
    "log_if_wide",
    "logarithmic",
    "mark_optimum",
    "median_and_range_of",
    "named_units",
    "same_limits",
    "save_figure",
    "save_figures",
    "stacked",
    "styled",
    "whole_numbers",
]

#: Colours of Okabe and Ito, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
#: Ten that they can tell apart still: Petroff 2021, arXiv:2107.02270.
_TEN_COLOURS = (
    *("#3F90DA", "#FFA90E", "#BD1F01", "#94A4A2", "#832DB6"),
    *("#A96B59", "#E76300", "#B9AC70", "#717581", "#92DADD"),
)
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
    "axes.formatter.useoffset": False,
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
    before = plt.get_fignums()
    with style.context(["default", _STYLE]):
        yield
    for number in plt.get_fignums():
        if number not in before:
            _show_once(plt.figure(number))


def _show_once(figure: Figure) -> None:
    """Have a notebook show a figure once, though it is the value of a cell and drawn in it.

    Pyplot shows what it has open when the cell ends; a figure that has been shown is not open.
    """
    if "inline" not in plt.get_backend() or "_ipython_display_" in vars(figure):
        return
    display = sys.modules["IPython"].display.display

    def show() -> None:
        del vars(figure)["_ipython_display_"]
        display(figure)
        plt.close(figure)

    vars(figure)["_ipython_display_"] = show


def colours(n: int) -> list[str]:
    """Colours of `n` curves in a panel; from the eleventh on they are repeated."""
    return list(islice(cycle(COLOURS if n <= len(COLOURS) else _TEN_COLOURS), n))


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
        logarithmic(ax)
    return wide


def logarithmic(ax: Axes, which: Literal["x", "y"] = "y") -> None:
    """Make an axis of a panel that is drawn logarithmic, with plain numbers at its ticks."""
    axis: Axis = ax.xaxis if which == "x" else ax.yaxis
    ax.set(**{f"{which}scale": "log"})
    low, high = ax.get_xlim() if which == "x" else ax.get_ylim()
    few_decades = high < 100 * low
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few_decades else (1,), numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def same_limits(figures: Sequence[Figure]) -> None:
    """Give panels with the same label the same y limits in all figures, so that they compare.

    Panels of a label are paired in their order; where their numbers differ, they stay as they are.
    """
    panels = [[ax for ax in figure.axes if ax.get_label() != "<colorbar>"] for figure in figures]
    labels = [[ax.get_ylabel() for ax in axes] for axes in panels]
    if any(other != labels[0] for other in labels):
        return
    for same in zip(*panels, strict=True):
        low, high = zip(*(ax.get_ylim() for ax in same), strict=True)
        for ax in same:
            ax.set_ylim(min(low), max(high))


def named_units(units: Sequence[str]) -> str:
    """The unit of what an axis shows, in words; where there are several, each of them."""
    return ", ".join(dict.fromkeys("dimensionless" if unit == "1" else unit for unit in units))


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


def median_and_range_of(numbers: Sequence[int], what: str = "seeds") -> str:
    """What lines and bands are, for a label: ``median and range, n = 5 seeds``."""
    least, most = min(numbers), max(numbers)
    if most == 1:
        return f"1 {what.removesuffix('s')}"
    n = str(most) if least == most else f"{least} to {most}"
    return f"median and range, n = {n} {what}"


def legend_beside(ax: Axes, columns: int = 1) -> Legend:
    """Put a legend into the right margin, where it hides nothing."""
    return ax.legend(
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        borderaxespad=0.0,
        ncols=columns,
        columnspacing=1.0,
    )


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


def save_figures(
    figures: Mapping[str, Figure], folder: Path, formats: Sequence[str], possible: Iterable[str]
) -> list[Path]:
    """Write the figures of a run into its folder, and remove those that are no longer its own.

    Parameters
    ----------
    figures : mapping of str to Figure
        By name of their files.
    folder : Path
    formats : sequence of str
    possible : iterable of str
        Names of all figures that a run of this kind may have. Files of those that this one does not
        have, from an earlier state of the folder, are removed in every format.

    Returns
    -------
    list of Path
        The files written.
    """
    for name in set(possible) - set(figures):
        for suffix in FORMATS:
            (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    return [
        path
        for name, figure in figures.items()
        for path in save_figure(figure, folder / name, formats)
    ]
