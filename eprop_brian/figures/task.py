"""A trial of a task as it is handed out: inputs and targets, before any network has seen it."""

from __future__ import annotations

from itertools import cycle

import numpy as np
from brian2.units import ms
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eprop_brian.figures.style import (
    COLOURS,
    draw_analog_inputs,
    draw_spikes,
    legend_beside,
    stacked,
    styled,
    whole_numbers,
)
from eprop_brian.tasks import Task

__all__ = ["plot_task"]

#: Outputs that have a line of their own; more are an image.
_MOST_LINES = 6


@styled()
def plot_task(task: Task, *, seed: int = 1, stream: str = "train", index: int = 0) -> Figure:
    """Draw the inputs and the targets of a trial.

    The steps in which the error counts are shaded. Of a sequence of labels, which come at no
    particular time, the title says which they are.

    Parameters
    ----------
    task : Task
        Whose trials need no network: not of an environment.
    seed, stream, index
        They select the trial.

    Returns
    -------
    Figure
    """
    trials = task.trials(seed, stream, index, 1)
    inputs = trials.inputs[trials.pattern[0]]
    row = trials.target[0]
    dt = float(task.dt / ms)
    end = dt * len(inputs)
    heights = {"inputs": 1.5} if trials.labels is not None else {"inputs": 1.5, "targets": 1.0}
    figure, panels = stacked(heights, "time in the trial (ms)")
    if inputs.dtype == bool:
        steps, neurons = np.nonzero(inputs)
        draw_spikes(panels["inputs"], dt * steps, neurons, inputs.shape[1], "#333333")
        panels["inputs"].set_ylabel("input neuron\n(index)")
        panels["inputs"].set_ylim(-0.5, inputs.shape[1] - 0.5)
    else:
        draw_analog_inputs(panels["inputs"], inputs, end)
    panels["inputs"].set_xlim(0.0, end)
    if trials.labels is not None:
        shown = trials.labels[row]
        panels["inputs"].set_title(f"labels: {', '.join(map(str, shown[shown >= 0]))}")
        return figure
    targets = np.broadcast_to(trials.targets[row], (len(inputs), task.n_outputs))
    _draw_targets(panels["targets"], targets, dt)
    if trials.periods is None:
        counts = np.arange(len(inputs)) >= len(inputs) - task.learning_window
    else:
        counts = trials.periods[row] > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], counts, [False]]).astype(int)))
    for first, last in edges.reshape(-1, 2):
        # Above an image, which it leaves visible.
        panels["targets"].axvspan(dt * first, dt * last, color="black", alpha=0.1, linewidth=0)
    return figure


def _draw_targets(ax: Axes, targets: np.ndarray, dt: float) -> None:
    """Draw targets (n_steps, n_outputs), each held for its step."""
    n_steps, n_outputs = targets.shape
    if n_outputs > _MOST_LINES:
        ax.imshow(
            targets.T,
            extent=(0.0, dt * n_steps, -0.5, n_outputs - 0.5),
            origin="lower",
            cmap="Greys",
            aspect="auto",
            interpolation="nearest",
        )
        ax.set_ylabel("target of output\n(index)")
        ax.yaxis.set_major_locator(whole_numbers(5))
        return
    time = dt * np.arange(n_steps)
    for output, colour in zip(range(n_outputs), cycle(COLOURS), strict=False):
        label = f"output {output}"
        ax.plot(time, targets[:, output], color=colour, label=label, drawstyle="steps-post")
    ax.set_ylabel("target\n(dimensionless)")
    if n_outputs > 1:
        legend_beside(ax)
