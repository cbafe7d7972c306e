"""Figures of networks that learn copy-repeat by e-prop 3: solved lengths, and a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eprop_brian.base.files import read_numbers
from eprop_brian.base.history import Rows
from eprop_brian.figures.learning import plot_learning_curve
from eprop_brian.figures.style import (
    COLOURS,
    WIDTH,
    draw_median_and_range,
    draw_spikes,
    legend_above,
    save_figures,
    stacked,
    styled,
)
from eprop_brian.runs.run import INITIAL, Run
from eprop_brian.tasks.base import hand_out
from eprop_brian.tasks.copy_repeat import CopyRepeat
from eprop_brian.training.curriculum import CurriculumTrainer

__all__ = ["plot_copy_trial", "plot_solved_length", "plot_synthetic_run"]

#: Names of all figures of a run.
_FIGURES = ("learning_curve", "trial_before", "trial_after")

#: Points of time at which curves of several runs are compared.
_POINTS = 400


@styled()
def plot_solved_length(histories: Mapping[str, Sequence[Rows]]) -> Figure:
    """Draw how long the trials are that each method has solved, over the time that it took.

    Parameters
    ----------
    histories : mapping of str to sequence of CurriculumHistory
        Runs of every method, by its name.

    Returns
    -------
    Figure
        Median and range over the runs of a method, up to the time that the first of them ended;
        time is the processor time of the iterations, compilation left out.

    Raises
    ------
    ValueError
        If all histories are empty.
    """
    runs = {method: [h for h in seeds if len(h)] for method, seeds in histories.items()}
    if not any(runs.values()):
        raise ValueError("the histories are empty: there is nothing to draw")
    figure, panels = stacked({"length": 2.4}, "processor time (s)", width=0.8 * WIDTH)
    ax = panels["length"]
    for (method, seeds), colour in zip(runs.items(), cycle(COLOURS), strict=False):
        if not seeds:
            continue
        times = [_time(history) for history in seeds]
        points = np.linspace(0, min(time[-1] for time in times), _POINTS)
        curves = np.array(
            [
                np.concatenate([[0.0], history.columns["solved_length"]])[
                    np.searchsorted(time, points, side="right")
                ]
                for history, time in zip(seeds, times, strict=True)
            ]
        )
        draw_median_and_range(ax, points, curves, color=colour, label=method)
    ax.set_ylabel("solved length\n(steps)")
    ax.set_ylim(bottom=0)
    legend_above(ax, columns=len(runs))
    return figure


def _time(history: Rows) -> np.ndarray:
    """Processor time after each iteration, without compilation.

    The first iteration of a length is compiled, perhaps; it counts as the median of its length.
    """
    seconds = np.array(history.columns["seconds"])
    lengths = np.array(history.columns["trial_length"])
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        seconds[same[0]] = np.median(seconds[same])
    return np.cumsum(seconds)


@styled()
def plot_copy_trial(
    task: CopyRepeat,
    inputs: np.ndarray,
    targets: np.ndarray,
    outputs: np.ndarray,
    spikes: np.ndarray,
    title: str = "",
) -> Figure:
    """Draw a trial of copy-repeat: inputs, targets, answers and what the units do.

    Parameters
    ----------
    task : CopyRepeat
    inputs : array, shape (n_steps, n_inputs)
    targets, outputs : array, shape (n_steps, n_outputs)
        Bits, and logits of their probabilities.
    spikes : array, shape (n_steps, n_recurrent)
        Spikes, or what the units of an LSTM send.
    title : str, optional

    Returns
    -------
    Figure
    """
    n_steps = len(inputs)
    heights = {"inputs": 1.1, "targets": 1.0, "outputs": 1.0, "units": 1.6}
    figure, panels = stacked(heights, "step (number)", width=0.8 * WIDTH, margin=0.8)
    answer = np.arange(n_steps) >= n_steps - task.learning_window
    probabilities = 1 / (1 + np.exp(-np.clip(outputs, -50, 50)))
    _draw_bits(panels["inputs"], inputs, "inputs\n(index)")
    for name, values in (("targets", targets), ("outputs", probabilities)):
        shown = np.where(answer[:, np.newaxis], values, np.nan)
        label = "targets\n(bit)" if name == "targets" else "answers\n(probability)"
        _draw_bits(panels[name], shown, label)
    ax = panels["units"]
    if np.all(np.isin(spikes, (0, 1))):
        steps, units = np.nonzero(spikes)
        draw_spikes(ax, steps, units, spikes.shape[1], COLOURS[0])
        ax.set_ylabel("neurons\n(index)")
        ax.set_ylim(-0.5, spikes.shape[1] - 0.5)
    else:
        _draw_bits(ax, spikes, "units\n(index)", least=-1, colours="RdBu_r")
    ax.set_xlim(-0.5, n_steps - 0.5)
    figure.suptitle(title)
    return figure


def _draw_bits(
    ax: Axes, values: np.ndarray, label: str, least: float = 0, colours: str = "Greys"
) -> None:
    """Draw values (n_steps, n) as an image, a square for each."""
    ax.imshow(
        values.T,
        extent=(-0.5, len(values) - 0.5, -0.5, values.shape[1] - 0.5),
        origin="lower",
        cmap=colours,
        vmin=least,
        vmax=1,
        aspect="auto",
        interpolation="nearest",
    )
    ax.set_ylabel(label)


def plot_synthetic_run(folder: str | Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Draw the run in a folder: its learning curve, and a trial before and after training.

    Both trials are the same fresh one (of the stream ``"test"``), of the last level that is solved,
    or of the first one; the second one with the weights that solved it.

    Parameters
    ----------
    folder : path
        As `eprop_brian.Run` fills it.
    formats : sequence of str
        File types, e.g. ``("png", "pdf")``.

    Returns
    -------
    list of Path
        The files written: ``learning_curve`` (not before the first iteration), ``trial_before``
        and ``trial_after``.

    Raises
    ------
    ValueError
        If the folder holds no run or one of its files is damaged.
    """
    folder = Path(folder)
    run = Run.open(folder)
    trainer: CurriculumTrainer = run.trainer
    figures = {}
    if len(trainer.history):
        figures["learning_curve"] = plot_learning_curve(trainer.history)
    task = trainer.at(trainer.solved_level)
    trials = hand_out(task, trainer.seed, "test", 0, 1)
    n = trainer.iteration
    states = {
        "before": ("before training", read_numbers(folder / INITIAL)),
        "after": (f"as it was solved within {n} iteration{'s' * (n != 1)}", trainer.state()),
    }
    for name, (when, state) in states.items():
        trainer.restore(state)
        trainer.go_back_to_solved()
        outputs, spikes = trainer.session.record(trials)
        figures[f"trial_{name}"] = plot_copy_trial(
            task, trials.inputs[0], trials.targets[0], outputs[0], spikes[0], f"{task.name} {when}"
        )
    return save_figures(figures, folder, formats, _FIGURES)
