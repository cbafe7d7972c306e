"""A trial as a film: spikes and outputs as they go on, and the line that two readouts draw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from eprop_brian.figures.film import hide_from
from eprop_brian.figures.style import COLOURS, legend_above
from eprop_brian.figures.trial import draw_inputs, draw_output, draw_raster, draws_trajectory
from eprop_brian.training.recorded import Recording

__all__ = ["TRIAL_QUANTITIES", "trial_frames"]

#: What it draws.
TRIAL_QUANTITIES = ("inputs", "spikes", "output", "target")


def trial_frames(figure: Figure, recording: Recording, title: str, most: int) -> Iterator[None]:
    """Draw one frame after the other into a figure.

    Parameters
    ----------
    figure : Figure
    recording : Recording
        With `TRIAL_QUANTITIES`.
    title : str
    most : int
        Frames.
    """
    is_line = draws_trajectory(recording)
    grid = figure.add_gridspec(3, 2 if is_line else 1, height_ratios=[1.0, 1.2, 1.2])
    column = 1 if is_line else 0
    inputs = figure.add_subplot(grid[0, column])
    panels = [inputs, *(figure.add_subplot(grid[k, column], sharex=inputs) for k in (1, 2))]
    draw_inputs(inputs, recording)
    for population, colour in zip(recording.populations, COLOURS, strict=False):
        columns = recording["spikes"].columns(population.name)
        if len(columns):
            spikes = recording["spikes"].values[:, columns]
            draw_raster(panels[1], recording.time, spikes, colour, first=columns[0])
    panels[1].set_ylim(-1, recording["spikes"].values.shape[1])
    panels[1].set_ylabel("recurrent\nneuron\n(index)")
    draw_output(panels[2], recording, recording.readouts[0])
    for ax in panels[:-1]:
        ax.tick_params(labelbottom=False)
    panels[-1].set_xlabel("time in the trial (ms)")
    end = recording.time[-1] + recording.dt
    inputs.set_xlim(0.0, end)
    pen, tip = None, None
    if is_line:
        # The panel beside it tells which curve is which.
        if (legend := panels[2].get_legend()) is not None:
            legend.remove()
        drawing = figure.add_subplot(grid[:, 0])
        shown = recording.counts
        look: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 0.8}
        drawing.plot(*recording.target[shown].T, label="target", **look)
        (pen,) = drawing.plot([], [], color=COLOURS[2], linewidth=1.4, label="output")
        (tip,) = drawing.plot([], [], "o", color=COLOURS[2], markersize=4)
        every = np.concatenate([recording.target[shown], recording.output[shown]])
        room = 0.05 * float(np.ptp(every, axis=0).max())
        (left, low), (right, high) = every.min(axis=0) - room, every.max(axis=0) + room
        drawing.set(xlim=(left, right), ylim=(low, high))
        drawing.set_aspect("equal", adjustable="box")
        drawing.set(xlabel="readout 0 (dimensionless)", ylabel="readout 1 (dimensionless)")
        legend_above(drawing)
    for now in np.linspace(0.0, end, min(most, recording.n_steps + 1)):
        for ax in panels:
            hide_from(ax, now)
        if pen is not None and tip is not None:
            past = recording.output[recording.counts & (recording.time < now)]
            pen.set_data(*past.T)
            tip.set_data(*past[-1:].T)
        figure.suptitle(f"{title}, {now:.0f} ms")
        yield
