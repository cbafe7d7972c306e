"""Figures of speech: what was taken for what, and an utterance from features to posteriors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from numpy.typing import NDArray

from eprop_brian.figures.style import WIDTH, stacked, styled
from eprop_brian.figures.trial import draw_inputs, draw_recurrent
from eprop_brian.training.recorded import Recording

__all__ = ["plot_confusion", "plot_utterance"]

#: Height of a class in inches, and of the panels that show classes at most and at least.
_ROW, _LOWEST, _HIGHEST = 0.11, 1.2, 6.0


@styled()
def plot_confusion(
    counts: NDArray[np.int64], classes: Sequence[str], what: str = "answers"
) -> Figure:
    """Draw how often each class was taken for which.

    Parameters
    ----------
    counts : int array, shape (n_classes, n_classes)
        By the right class and the answer, as `Evaluation.confusions` has them.
    classes : sequence of str
        Their names.
    what : str
        What was counted, such as "frames".

    Returns
    -------
    Figure
        Each row is divided by its sum; rows of classes that never occur are left white.
    """
    shares = np.full(counts.shape, np.nan)
    totals = counts.sum(axis=1)
    shares[totals > 0] = counts[totals > 0] / totals[totals > 0, np.newaxis]
    side = min(max(2.6, 0.9 + 2 * _ROW * len(classes)), WIDTH)
    figure, ax = plt.subplots(figsize=(side + 0.7, side), layout="constrained")
    image = ax.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, interpolation="nearest")
    figure.colorbar(image, ax=ax, shrink=0.7, label=f"fraction of the class's {what}")
    for axis, rotation in ((ax.xaxis, 90), (ax.yaxis, 0)):
        axis.set_ticks(range(len(classes)), classes, fontsize=6, rotation=rotation)
    ax.set_xlabel("answer")
    ax.set_ylabel("right class")
    ax.set_title(f"{np.trace(counts) / counts.sum():.1%} of {counts.sum()} {what} right")
    return figure


@styled()
def plot_utterance(
    recording: Recording, classes: Sequence[str], title: str | None = None
) -> Figure:
    """Draw an utterance: features, spikes, and the posteriors of the classes.

    Parameters
    ----------
    recording : Recording
        Of a trial of a frame-wise classification (`eprop_brian.tasks.frames.FrameTask`).
    classes : sequence of str
        Names of the outputs.
    title : str, optional

    Returns
    -------
    Figure
        The line over the posteriors is the right class; what comes after the utterance is left out.
    """
    posteriors = float(np.clip(_ROW * len(classes), _LOWEST, _HIGHEST))
    heights = {"inputs": 1.1, "recurrent": 1.3, "posteriors": posteriors}
    figure, panels = stacked(heights, "time in the trial (ms)")
    draw_inputs(panels["inputs"], recording)
    draw_recurrent(panels["recurrent"], recording)
    ax, end = panels["posteriors"], recording.time[-1] + recording.dt
    image = ax.imshow(
        recording.output.T,
        extent=(0.0, end, len(classes) - 0.5, -0.5),
        cmap="Greys",
        vmin=0.0,
        vmax=1.0,
        aspect="auto",
        interpolation="nearest",
    )
    figure.colorbar(image, cax=ax.inset_axes((1.01, 0.0, 0.012, 1.0)), label="posterior")
    counted = recording.counts & (recording.target.max(axis=1) > 0)
    right = np.where(counted, recording.target.argmax(axis=1), np.nan)
    ax.plot(recording.time + recording.dt / 2, right, color="#D55E00", linewidth=1.2)
    ax.set_yticks(range(len(classes)), classes, fontsize=6)
    ax.set_ylabel("class")
    last = np.flatnonzero(recording.counts)
    ax.set_xlim(0.0, recording.time[last[-1]] + recording.dt if len(last) else end)
    if title:
        figure.suptitle(title)
    return figure
