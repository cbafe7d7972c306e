"""How figures look, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eprop_brian.base.files import beside

__all__ = ["COLOURS", "WIDTH", "draw_median_and_range", "save_figure", "styled"]

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
    """The same look whatever the user's settings, which come back afterwards."""
    with style.context(["default", _STYLE]):
        yield


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


def draw_median_and_range(ax: Axes, x: np.ndarray, curves: np.ndarray, **look: Any) -> None:
    """Draw curves (n_curves, len(x)) by their median and range; NaN is what a curve lacks."""
    known = ~np.all(np.isnan(curves), axis=0)
    x, curves = x[known], curves[:, known]
    low, high = np.nanmin(curves, axis=0), np.nanmax(curves, axis=0)
    ax.fill_between(x, low, high, color=look["color"], alpha=0.2, linewidth=0)
    ax.plot(x, np.nanmedian(curves, axis=0), **look)
