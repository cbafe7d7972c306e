"""Figures of networks that learn to learn: their training, and what one update makes of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from eprop_brian.figures.style import COLOURS, save_figures, stacked, styled
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.meta import read_adaptation
from eprop_brian.runs.run import HISTORY
from eprop_brian.tasks.one_shot_arm import OneShotArm
from eprop_brian.training.adaptation import Example
from eprop_brian.training.meta_history import MetaHistory

__all__ = ["plot_adaptation", "plot_arm", "plot_meta_run", "plot_signals", "plot_training"]

#: Names of all figures of a run.
_FIGURES = ("training", "adaptation", "learning_signals", "arm")

#: Iterations over which a course is averaged.
_SMOOTH = 20
#: Characters of a line of a label.
_LABEL = 24
#: Errors of a test in the order in which they are drawn, and what they are of.
_CONTROLS = {
    "before": "before",
    "after": "one update",
    "shuffled": "signals\nto other\nneurons",
    "other": "signals\nfor another\ntask",
    "errors_adapted": "ordinary\ne-prop",
    "errors_drawn": "ordinary\ne-prop,\nweights drawn",
}


def plot_meta_run(folder: str | Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Draw the run in a folder.

    Parameters
    ----------
    folder : path
        As `eprop_brian.Run` fills it.
    formats : sequence of str

    Returns
    -------
    list of Path
        ``training``, and after a test ``adaptation``, ``learning_signals`` and, of an arm, ``arm``.

    Raises
    ------
    ValueError
        If the folder holds no run or one of its files is damaged.
    """
    folder = Path(folder)
    config = RunConfig.read(folder)
    family, figures = config.make_task(), {}
    history = MetaHistory.read(folder / HISTORY)
    if len(history):
        figures["training"] = plot_training(history, family.measure)
    test = read_adaptation(folder)
    if test is not None:
        errors, example = test
        figures["adaptation"] = plot_adaptation(errors, family.measure)
        figures["learning_signals"] = plot_signals(example.learning_signal)
        if isinstance(family, OneShotArm):
            figures["arm"] = plot_arm(family, example)
    return save_figures(figures, folder, formats, _FIGURES)


@styled()
def plot_training(history: MetaHistory, measure: str) -> Figure:
    """Draw loss and error after the update, over iterations.

    Parameters
    ----------
    history : MetaHistory
    measure : str
        What the error is.

    Returns
    -------
    Figure
    """
    figure, panels = stacked({"loss": 1.2, "error": 1.2}, "iteration (number)", margin=0.8)
    for name, ax in panels.items():
        values = np.array(getattr(history, name))
        iterations = np.arange(1, len(values) + 1)
        ax.plot(iterations, values, color="0.75", linewidth=0.6)
        width = min(_SMOOTH, len(values))
        smooth = np.convolve(values, np.ones(width) / width, mode="valid")
        ax.plot(iterations[width - 1 :], smooth, color=COLOURS[0])
        ax.set_ylim(bottom=0)
    panels["loss"].set_ylabel("loss after\none update\n(dimensionless)")
    panels["error"].set_ylabel(fill(f"{measure}, after one update", _LABEL))
    return figure


@styled()
def plot_adaptation(errors: Mapping[str, np.ndarray], measure: str) -> Figure:
    """Draw the errors of unseen tasks before and after one update, and of the controls.

    Parameters
    ----------
    errors : mapping of str to array
        As `eprop_brian.training.adaptation.AdaptationTest.errors`.
    measure : str

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
    rng = np.random.default_rng(0)
    for place, name in enumerate(_CONTROLS):
        values = np.asarray(errors[name])
        spread = place + rng.uniform(-0.18, 0.18, len(values))
        colour = COLOURS[1] if name == "after" else "0.55"
        ax.plot(spread, values, ".", color=colour, markersize=3, alpha=0.6)
        ax.plot([place - 0.3, place + 0.3], [values.mean()] * 2, color="black", linewidth=1.4)
    ax.set_xticks(range(len(_CONTROLS)), [*_CONTROLS.values()])
    ax.set_ylabel(fill(measure, _LABEL))
    ax.set_title(f"each of {len(errors['before'])} unseen tasks, and their mean")
    ax.set_ylim(bottom=0)
    return figure


@styled()
def plot_signals(signals: np.ndarray) -> Figure:
    """Draw the learning signals that are emitted in a trial.

    Parameters
    ----------
    signals : array, shape (n_steps, n_neurons)

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(6.4, 2.6), layout="constrained")
    largest = float(np.abs(signals).max()) or 1.0
    image = ax.imshow(
        signals.T,
        aspect="auto",
        origin="lower",
        cmap="RdBu_r",
        vmin=-largest,
        vmax=largest,
        interpolation="nearest",
        extent=(0.0, float(len(signals)), 0.5, signals.shape[1] + 0.5),
    )
    figure.colorbar(image, ax=ax, label="learning signal (dimensionless)")
    ax.set_xlabel("step (number)")
    ax.set_ylabel("neuron (number)")
    return figure


@styled()
def plot_arm(family: OneShotArm, example: Example) -> Figure:
    """Draw the paths of the hand before and after one update, over those that were shown.

    Parameters
    ----------
    family : OneShotArm
    example : Example

    Returns
    -------
    Figure
    """
    n_tasks = len(example.targets)
    figure, axes = plt.subplots(
        1, n_tasks, figsize=(1.9 * n_tasks, 2.2), layout="constrained", squeeze=False
    )
    paths = {
        "shown": (example.targets, "black", 2.0),
        "before": (example.outputs_before, "0.6", 1.0),
        "after one update": (example.outputs_after, COLOURS[1], 1.2),
    }
    for task, ax in enumerate(axes[0]):
        for name, (velocities, colour, width) in paths.items():
            x, y = family.positions(np.asarray(velocities)[task][np.newaxis])[0].T
            ax.plot(x, y, color=colour, linewidth=width, label=name)
            ax.plot(x[0], y[0], "o", color=colour, markersize=2.5)
        ax.set_xlim(-1.05, 1.05)
        ax.set_ylim(-1.05, 1.05)
        ax.set_aspect("equal")
        ax.set_xlabel("x (lengths of the arm)")
    axes[0, 0].set_ylabel("y (lengths of the arm)")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names))
    return figure
