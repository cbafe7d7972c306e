"""Figures of balanced networks: decoding, balance, tuning, activity, vector fields, training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from eprop_brian.balanced.experiment import TrainingHistory
from eprop_brian.balanced.field import NetworkField, currents
from eprop_brian.balanced.metrics import Currents, balance, cv_isi
from eprop_brian.balanced.simulation import Recording
from eprop_brian.balanced.spec import BalancedNetwork
from eprop_brian.figures.style import (
    COLOURS,
    WIDTH,
    draw_spikes,
    legend_above,
    legend_beside,
    log_if_wide,
    save_figures,
    stacked,
    styled,
)
from eprop_brian.runs.saved import SavedExperiment, read_recording

__all__ = [
    "plot_activity",
    "plot_balance",
    "plot_decoding",
    "plot_experiment",
    "plot_phase_portrait",
    "plot_training",
    "plot_tuning",
]

#: Names of all figures of a run.
_FIGURES = ("decoding", "balance", "tuning", "activity", "phase", "training")

_EXCITATION, _INHIBITION = COLOURS[1], COLOURS[0]
#: Seconds of a test that a figure of it shows.
_DURATION = 3.0
#: Bins of the signal, or of its direction, over which rates are averaged.
_BINS = 24
#: Arrows of a vector field along each side.
_ARROWS = 17


@styled()
def plot_decoding(recording: Recording, duration: float = _DURATION) -> Figure:
    """Draw the signal, the network's estimate of it, and all spikes.

    Parameters
    ----------
    recording : Recording
    duration : float
        Seconds to show, from the recording's start.

    Returns
    -------
    Figure
    """
    start, n = recording.t_start, recording.v.shape[1]
    samples = recording.t <= start + duration
    t = recording.t[samples] - start
    dimensions = {f"$x_{k + 1}$": 1.1 for k in range(recording.x.shape[1])}
    figure, panels = stacked({**dimensions, "spikes": 1.4}, "time (s)", margin=0.8)
    for k, label in enumerate(dimensions):
        ax = panels[label]
        x, estimate = recording.x[samples, k], recording.estimate[samples, k]
        ax.plot(t, x, color="black", label="signal x", linewidth=1.6)
        ax.plot(t, estimate, color=COLOURS[1], label="estimate D r", linewidth=0.9)
        ax.set_ylabel(label)
    legend_above(panels["$x_1$"])
    times = recording.spike_times - start
    early = times <= duration
    raster = panels["spikes"]
    draw_spikes(raster, times[early], recording.spike_neurons[early] + 1, n, "black")
    raster.set_ylabel("neuron (number)")
    raster.set_ylim(0.5, n + 0.5)
    raster.set_xlim(0, min(duration, recording.duration))
    return figure


@styled()
def plot_balance(currents: Currents, neuron: int, duration: float = _DURATION) -> Figure:
    """Draw excitation, inhibition and their sum.

    Parameters
    ----------
    currents : Currents
    neuron : int
        Whose currents they are.
    duration : float
        Seconds to show.

    Returns
    -------
    Figure
    """
    samples = currents.t <= currents.t[0] + duration
    t = currents.t[samples] - currents.t[0]
    correlation, left = balance(currents)
    net = currents.excitation + currents.inhibition
    figure, ax = plt.subplots(figsize=(WIDTH, 2.2), layout="constrained")
    ax.plot(t, currents.excitation[samples], color=_EXCITATION, label="excitation")
    ax.plot(t, currents.inhibition[samples], color=_INHIBITION, label="inhibition")
    ax.plot(t, net[samples], color="black", linewidth=0.7, label="net input")
    ax.set_xlabel("time (s)")
    ax.set_ylabel("input (1/s)")
    ax.set_xlim(0, t[-1])
    ax.set_title(
        f"neuron {neuron + 1}: correlation {correlation:.2f}, net input {100 * left:.0f} % of "
        "the total"
    )
    legend_beside(ax)
    return figure


@styled()
def plot_tuning(recording: Recording, network: BalancedNetwork) -> Figure:
    """Draw how every neuron's rate depends on the signal.

    With two dimensions or more, on the direction of the first two; else on the signal.

    Parameters
    ----------
    recording : Recording
    network : BalancedNetwork

    Returns
    -------
    Figure
    """
    decoder = network.decoder
    if network.n_dimensions > 1:
        values = np.degrees(np.arctan2(recording.x[:, 1], recording.x[:, 0]))
        preferred = np.degrees(np.arctan2(decoder[1], decoder[0]))
        edges, label = np.linspace(-180, 180, _BINS + 1), "direction of $(x_1, x_2)$ (degrees)"
    else:
        values, preferred = recording.x[:, 0], decoder[0]
        edges = np.linspace(values.min(), values.max() + 1e-12, _BINS + 1)
        label = "$x_1$"
    order = np.argsort(preferred)
    rates = _rates(recording, values, edges, order)
    figure, (image_ax, ax) = plt.subplots(
        1, 2, figsize=(WIDTH, 2.6), layout="constrained", width_ratios=[1.2, 1.0]
    )
    image = image_ax.imshow(
        rates.T,
        aspect="auto",
        origin="lower",
        extent=(edges[0], edges[-1], 0.5, network.n + 0.5),
        cmap="viridis",
        interpolation="nearest",
    )
    image_ax.set_xlabel(label)
    image_ax.set_ylabel("neuron, by preferred direction")
    figure.colorbar(image, ax=image_ax, label="rate (Hz)")
    examples = np.linspace(0, network.n - 1, 5).round().astype(int)
    centres = (edges[1:] + edges[:-1]) / 2
    for row, colour in zip(examples, cycle(COLOURS), strict=False):
        ax.plot(centres, rates[:, row], color=colour, label=f"neuron {order[row] + 1}")
    ax.set_xlabel(label)
    ax.set_ylabel("rate (Hz)")
    ax.set_ylim(bottom=0)
    legend_beside(ax)
    return figure


def _rates(
    recording: Recording, values: np.ndarray, edges: np.ndarray, order: np.ndarray
) -> np.ndarray:
    """Rates in Hz by what the signal is, (n_bins, N), of neurons in an order.

    NaN where the signal has never been.
    """
    n = len(order)
    rank = np.empty(n, dtype=int)
    rank[order] = np.arange(n)
    last = len(recording.t) - 1
    samples = np.clip(np.searchsorted(recording.t, recording.spike_times), 0, last)
    counts = np.histogram2d(
        values[samples], rank[recording.spike_neurons], [edges, np.arange(n + 1) - 0.5]
    )[0]
    step = recording.duration / len(recording.t)
    seconds = (np.histogram(values, edges)[0] * step)[:, np.newaxis]
    return np.divide(counts, seconds, out=np.full_like(counts, np.nan), where=seconds > 0)


@styled()
def plot_activity(recording: Recording, n: int) -> Figure:
    """Draw how rates and coefficients of variation are distributed over the neurons.

    Parameters
    ----------
    recording : Recording
    n : int
        Number of neurons.

    Returns
    -------
    Figure
    """
    rates = np.bincount(recording.spike_neurons, minlength=n) / recording.duration
    variation = cv_isi(recording.spike_times, recording.spike_neurons, n)
    measures = {
        "mean rate (Hz)": rates,
        "CV of inter-spike intervals": variation[np.isfinite(variation)],
    }
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.2), layout="constrained")
    for ax, (label, values), colour in zip(axes, measures.items(), COLOURS, strict=False):
        if len(values):
            ax.hist(values, bins=20, color=colour)
            ax.axvline(np.median(values), color="black", linestyle="--", linewidth=0.8)
        ax.set_xlabel(label)
        ax.set_ylabel("neurons (number)")
    return figure


@styled()
def plot_phase_portrait(
    network: BalancedNetwork,
    slow_weights: np.ndarray,
    recording: Recording,
    points: np.ndarray | None = None,
    killed: np.ndarray | None = None,
) -> Figure:
    """Draw the teacher's vector field and motion beside the network's.

    The first two dimensions; the others are at their mean. With one dimension, f against x.

    Parameters
    ----------
    network : BalancedNetwork
    slow_weights : array of shape (N, n_basis)
    recording : Recording
    points : array of shape (n, K), optional
        Region to draw; default, where the recording has been.
    killed : array of bool of shape (N,), optional

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the network has no vector field.
    """
    fields: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "teacher": network.teacher_map.field,
        "network": NetworkField(network, slow_weights, killed),
    }
    region = recording.x if points is None else points
    low, high = region.min(axis=0), region.max(axis=0)
    if network.n_dimensions == 1:
        figure, ax = plt.subplots(figsize=(0.6 * WIDTH, 2.6), layout="constrained")
        x = np.linspace(low[0], high[0], 200)[:, None]
        ax.plot(x[:, 0], fields["teacher"](x)[:, 0], color="black", linewidth=1.6, label="teacher")
        ax.plot(x[:, 0], fields["network"](x)[:, 0], color=COLOURS[1], label="network")
        ax.axhline(0, color="0.7", linewidth=0.6)
        ax.set_xlabel("$x_1$")
        ax.set_ylabel("$f(x)$ (1/s)")
        ax.legend()
        return figure
    figure, axes = plt.subplots(
        1, 2, figsize=(WIDTH, 3.4), sharex=True, sharey=True, layout="constrained"
    )
    sides = [np.linspace(low[k], high[k], _ARROWS) for k in range(2)]
    grid = np.stack(np.meshgrid(*sides), axis=-1)
    rest = np.mean(region, axis=0)[2:]
    states = np.concatenate([grid, np.broadcast_to(rest, (*grid.shape[:2], len(rest)))], axis=-1)
    longest = np.max(np.linalg.norm(fields["teacher"](states)[..., :2], axis=-1))
    motions = {"teacher": recording.x, "network": recording.estimate}
    for ax, (name, field), colour in zip(axes, fields.items(), COLOURS, strict=False):
        f = field(states)[..., :2]
        # Roots of lengths: slow places are where attractors are.
        length = np.linalg.norm(f, axis=-1, keepdims=True)
        arrows = f / np.maximum(length, 1e-12) * np.sqrt(length / longest)
        ax.quiver(grid[..., 0], grid[..., 1], arrows[..., 0], arrows[..., 1], color="0.6", scale=16)
        ax.plot(motions[name][:, 0], motions[name][:, 1], color=colour)
        ax.set_title(name)
        ax.set_xlabel("$x_1$")
    axes[0].set_ylabel("$x_2$")
    return figure


@styled()
def plot_training(history: TrainingHistory) -> Figure:
    """Draw errors, rate and weights over the training.

    Parameters
    ----------
    history : TrainingHistory

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the history is empty.
    """
    if not len(history):
        raise ValueError("the history is empty: there is nothing to draw")
    columns = {name: np.asarray(values) for name, values in history.columns.items()}
    lines: dict[str, dict[str, str | None]] = {
        "NMSE": {"nmse": "decoding, with error feedback", "field_nmse": "vector field"},
        "rate (Hz)": {"rate": None},
        "norm of weights": {"slow": "slow", "fast": "fast"},
    }
    figure, panels = stacked(
        dict.fromkeys(lines, 1.3), "training (simulated s)", width=0.8 * WIDTH, margin=0.5
    )
    for panel, ax in panels.items():
        for (name, label), colour in zip(lines[panel].items(), COLOURS, strict=False):
            # A field without slow weights may be exact; a logarithmic axis has no 0.
            if np.any(columns[name] > 0) or name not in lines["NMSE"]:
                ax.plot(columns["seconds"], columns[name], color=colour, label=label)
        ax.set_ylabel(panel)
        if ax.get_legend_handles_labels()[0]:
            legend_above(ax)
    errors = np.concatenate([columns[name] for name in lines["NMSE"]])
    if not log_if_wide(panels["NMSE"], errors[errors > 0]):
        panels["NMSE"].set_ylim(bottom=0)
    panels["rate (Hz)"].set_ylim(bottom=0)
    return figure


def plot_experiment(folder: str | Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Draw everything that an experiment's folder holds, into it.

    Parameters
    ----------
    folder : path
    formats : sequence of str

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ValueError
        If the folder holds no experiment, or a file is damaged.
    """
    folder = Path(folder)
    saved = SavedExperiment.read(folder)
    recording, inputs = read_recording(folder)
    network, slow, fast = saved.network, saved.slow_weights, saved.fast_weights
    neuron = recording.busiest
    figures = {
        "decoding": plot_decoding(recording),
        "balance": plot_balance(currents(recording, network, slow, fast, inputs, neuron), neuron),
        "tuning": plot_tuning(recording, network),
        "activity": plot_activity(recording, network.n),
    }
    # Dendrites that see more than the estimate have no vector field.
    with suppress(ValueError):
        figures["phase"] = plot_phase_portrait(network, slow, recording, saved.points, saved.killed)
    if len(saved.history):
        figures["training"] = plot_training(saved.history)
    return save_figures(figures, folder, formats, _FIGURES)
