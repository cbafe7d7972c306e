"""Figure of a sequence of labels: what is probable in each frame, and what that says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from eprop_brian.figures.style import WIDTH, colours, legend_beside, styled
from eprop_brian.tasks.labels import edit_distance, greedy_labels
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.recorded import Recording

__all__ = ["frame_probabilities", "plot_labels"]

_GREY = "#999999"
_LINES = ("-", "-.", ":")
#: Entries of a legend that fit beside the panel.
_IN_A_COLUMN = 12


def frame_probabilities(recording: Recording, trials: Trials) -> np.ndarray:
    """What a readout shows in the frames of a trial, as its loss of labels counts it.

    Parameters
    ----------
    recording : Recording
        With ``y``, of the first of these trials.
    trials : Trials
        With labels.

    Returns
    -------
    array, shape (n_frames, n_outputs)

    Raises
    ------
    ValueError
        If the trials have no periods.
    """
    trial = trials.alone(0)
    if trial.periods is None:
        raise ValueError("the trials have no frames: give Trials(..., periods=..., labels=...)")
    period, y = trial.periods[trial.target[0]], recording["y"].values
    frames = np.arange(1, period.max() + 1)
    in_frame = (period == frames[:, np.newaxis]).astype(float)
    mean = in_frame @ y / in_frame.sum(axis=1, keepdims=True)
    p = np.exp(mean - mean.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


@styled()
def plot_labels(p: ArrayLike, labels: Sequence[int], title: str | None = None) -> Figure:
    """Draw the probabilities of labels over the frames of a trial, and the labels that they say.

    Each label that greedy decoding finds stands over the frame in which it begins; below the title
    stand the right labels and those that were said.

    Parameters
    ----------
    p : array, shape (n_frames, n_outputs)
        The last output is the blank.
    labels : sequence of int
        The right ones.
    title : str, optional

    Returns
    -------
    Figure
    """
    p = np.asarray(p, dtype=float)
    blank, frames = p.shape[1] - 1, np.arange(1, len(p) + 1)
    figure, ax = plt.subplots(figsize=(WIDTH, 2.6), layout="constrained")
    ax.plot(frames, p[:, blank], color=_GREY, linestyle="--", label="blank")
    of_label = colours(blank)
    for k, colour in enumerate(of_label):
        # From the eleventh on colours are repeated, with another line.
        line = _LINES[k // 10 % len(_LINES)]
        ax.plot(frames, p[:, k], color=colour, linestyle=line, label=f"label {k}")
    best = p.argmax(axis=1)
    begins = np.flatnonzero(np.append(True, best[1:] != best[:-1]) & (best != blank))
    for frame in begins:
        ax.text(frames[frame], 1.04, str(best[frame]), color=of_label[best[frame]], ha="center")
    said = greedy_labels(p)
    right, shown = (" ".join(map(str, x)) or "nothing" for x in (labels, said))
    text = f"right: {right}; said: {shown} ({edit_distance(said, labels)} edits)"
    ax.set_title(f"{title}\n{text}" if title else text)
    ax.set_ylim(-0.03, 1.15)
    ax.set_xlabel("frame of the trial (number)")
    ax.set_ylabel("softmax output\n(probability)")
    legend_beside(ax, columns=-(-(blank + 1) // _IN_A_COLUMN))
    return figure
