"""Figures of balanced networks.

Every function returns a Matplotlib `Figure` and leaves Matplotlib's settings as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from eprop_brian.balanced.experiment import SavedExperiment, TrainingHistory, read_recording
from eprop_brian.balanced.field import NetworkField, currents
from eprop_brian.balanced.metrics import Currents, balance, cv_isi
from eprop_brian.balanced.simulation import Recording
from eprop_brian.balanced.spec import BalancedNetwork
from eprop_brian.figure_style import COLOURS, WIDTH, draw_median_and_range, save_figure, styled

__all__ = [
    "plot_activity",
    "plot_balance",
    "plot_decoding",
    "plot_experiment",
    "plot_phase_portrait",
    "plot_sweep",
    "plot_training",
    "plot_tuning",
]

_EXCITATION, _INHIBITION = COLOURS[1], COLOURS[0]
#: Seconds of a test that a figure of it shows.
_SHOWN = 3.0
_BINS = 24


def plot_decoding(recording: Recording, duration: float = _SHOWN) -> Figure:
    """Draw the signal and what the network makes of it, and all spikes.

    Parameters
    ----------
    recording : Recording
    duration : float
        Seconds to show, from the recording's start.
    """
    shown = recording.t <= recording.t_start + duration
    t = recording.t[shown] - recording.t_start
    with styled():
        k = recording.x.shape[1]
        figure, axes = plt.subplots(
            k + 1,
            figsize=(WIDTH, 1.0 + 1.1 * k + 1.3),
            sharex=True,
            height_ratios=[1.0] * k + [1.3],
            layout="constrained",
        )
        for dimension, ax in enumerate(axes[:-1]):
            ax.plot(
                t, recording.x[shown, dimension], color="black", label="signal x", linewidth=1.6
            )
            ax.plot(
                t,
                recording.estimate[shown, dimension],
                color=COLOURS[1],
                label="estimate D r",
                linewidth=0.9,
            )
            ax.set_ylabel(f"$x_{dimension + 1}$")
        axes[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        spikes = recording.spike_times - recording.t_start <= duration
        axes[-1].plot(
            recording.spike_times[spikes] - recording.t_start,
            recording.spike_neurons[spikes] + 1,
            "|",
            color="black",
            markersize=2.5,
            markeredgewidth=0.6,
        )
        axes[-1].set_ylabel("neuron (number)")
        axes[-1].set_ylim(0.5, recording.v.shape[1] + 0.5)
        axes[-1].set_xlabel("time (s)")
        axes[-1].set_xlim(0, min(duration, recording.duration))
        figure.align_ylabels()
    return figure


def plot_balance(found: Currents, neuron: int, duration: float = _SHOWN) -> Figure:
    """Draw excitation, inhibition and what is left of them.

    Parameters
    ----------
    found : Currents
    neuron : int
    duration : float
        Seconds to show.
    """
    shown = found.t <= found.t[0] + duration
    t = found.t[shown] - found.t[0]
    correlation, left = balance(found)
    with styled():
        figure, ax = plt.subplots(figsize=(WIDTH, 2.2), layout="constrained")
        net = found.excitation + found.inhibition
        ax.plot(t, found.excitation[shown], color=_EXCITATION, label="excitation")
        ax.plot(t, found.inhibition[shown], color=_INHIBITION, label="inhibition")
        ax.plot(t, net[shown], color="black", linewidth=0.7, label="net input")
        ax.set_xlabel("time (s)")
        ax.set_ylabel("input (1/s)")
        ax.set_xlim(0, t[-1])
        ax.set_title(
            f"neuron {neuron + 1}: correlation {correlation:.2f}, net input {100 * left:.0f} % of "
            "the total"
        )
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def plot_tuning(recording: Recording, network: BalancedNetwork) -> Figure:
    """Draw how every neuron's rate depends on the signal.

    With two dimensions or more, on the direction of the first two; else on the signal.

    Parameters
    ----------
    recording : Recording
    network : BalancedNetwork
    """
    at = np.clip(np.searchsorted(recording.t, recording.spike_times), 0, len(recording.t) - 1)
    d = network.decoder
    if network.n_dimensions > 1:
        values = np.degrees(np.arctan2(recording.x[:, 1], recording.x[:, 0]))
        preferred = np.degrees(np.arctan2(d[1], d[0]))
        edges, label = np.linspace(-180, 180, _BINS + 1), "direction of $(x_1, x_2)$ (degrees)"
    else:
        values, preferred = recording.x[:, 0], d[0]
        edges = np.linspace(values.min(), values.max() + 1e-12, _BINS + 1)
        label = "$x_1$"
    step = recording.duration / len(recording.t)
    seconds = np.histogram(values, edges)[0] * step
    order = np.argsort(preferred)
    rank = np.empty(network.n, dtype=int)
    rank[order] = np.arange(network.n)
    counts = np.histogram2d(
        values[at], rank[recording.spike_neurons], [edges, np.arange(network.n + 1) - 0.5]
    )[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = np.where(seconds[:, None] > 0, counts / seconds[:, None], np.nan)
    middle = (edges[1:] + edges[:-1]) / 2
    with styled():
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
        for row, colour in zip(examples, cycle(COLOURS), strict=False):
            ax.plot(middle, rates[:, row], color=colour, label=f"neuron {order[row] + 1}")
        ax.set_xlabel(label)
        ax.set_ylabel("rate (Hz)")
        ax.set_ylim(bottom=0)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def plot_activity(recording: Recording, n: int) -> Figure:
    """Draw how rates and coefficients of variation are distributed over the neurons.

    Parameters
    ----------
    recording : Recording
    n : int
        Number of neurons.
    """
    rates = np.bincount(recording.spike_neurons, minlength=n) / recording.duration
    variation = cv_isi(recording.spike_times, recording.spike_neurons, n)
    variation = variation[np.isfinite(variation)]
    with styled():
        figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.2), layout="constrained")
        for ax, values, label, colour in zip(
            axes,
            (rates, variation),
            ("mean rate (Hz)", "CV of inter-spike intervals"),
            COLOURS,
            strict=False,
        ):
            if len(values):
                ax.hist(values, bins=20, color=colour)
                ax.axvline(np.median(values), color="black", linestyle="--", linewidth=0.8)
            ax.set_xlabel(label)
            ax.set_ylabel("neurons (number)")
    return figure


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

    Raises
    ------
    ValueError
        If the network has no vector field.
    """
    teacher, own = network.teacher_map.field, NetworkField(network, slow_weights, killed)
    region = recording.x if points is None else points
    low, high = region.min(axis=0), region.max(axis=0)
    with styled():
        if network.n_dimensions == 1:
            figure, ax = plt.subplots(figsize=(0.6 * WIDTH, 2.6), layout="constrained")
            x = np.linspace(low[0], high[0], 200)[:, None]
            ax.plot(x[:, 0], teacher(x)[:, 0], color="black", linewidth=1.6, label="teacher")
            ax.plot(x[:, 0], own(x)[:, 0], color=COLOURS[1], label="network")
            ax.axhline(0, color="0.7", linewidth=0.6)
            ax.set_xlabel("$x_1$")
            ax.set_ylabel("$f(x)$ (1/s)")
            ax.legend()
            return figure
        figure, axes = plt.subplots(
            1, 2, figsize=(WIDTH, 3.4), sharex=True, sharey=True, layout="constrained"
        )
        grid = np.stack(
            np.meshgrid(np.linspace(low[0], high[0], 17), np.linspace(low[1], high[1], 17)), axis=-1
        )
        rest = np.broadcast_to(np.mean(region, axis=0)[2:], (17, 17, network.n_dimensions - 2))
        at = np.concatenate([grid, rest], axis=-1)
        longest = np.max(np.linalg.norm(teacher(at)[..., :2], axis=-1))
        pairs = (("teacher", teacher, recording.x), ("network", own, recording.estimate))
        for ax, (name, field, motion) in zip(axes, pairs, strict=True):
            f = field(at)[..., :2]
            # Roots of lengths: slow places are where attractors are.
            length = np.linalg.norm(f, axis=-1, keepdims=True)
            shown = f / np.maximum(length, 1e-12) * np.sqrt(length / longest)
            ax.quiver(
                grid[..., 0], grid[..., 1], shown[..., 0], shown[..., 1], color="0.6", scale=16
            )
            ax.plot(motion[:, 0], motion[:, 1], color=COLOURS[0 if name == "teacher" else 1])
            ax.set_title(name)
            ax.set_xlabel("$x_1$")
        axes[0].set_ylabel("$x_2$")
    return figure


def plot_training(history: TrainingHistory) -> Figure:
    """Draw errors, rate and weights over the training.

    Raises
    ------
    ValueError
        If the history is empty.
    """
    if not len(history):
        raise ValueError("the history is empty: there is nothing to draw")
    columns = {name: np.asarray(values) for name, values in history.columns.items()}
    panels = [("NMSE", [("nmse", "decoding, with error feedback"), ("field_nmse", "vector field")])]
    panels += [("rate (Hz)", [("rate", "")])]
    panels += [("norm of weights", [("slow", "slow"), ("fast", "fast")])]
    with styled():
        figure, axes = plt.subplots(
            3, figsize=(0.8 * WIDTH, 4.4), sharex=True, layout="constrained"
        )
        for ax, (label, lines) in zip(axes, panels, strict=True):
            for (name, text), colour in zip(lines, COLOURS, strict=False):
                if np.any(np.isfinite(columns[name])):
                    ax.plot(columns["seconds"], columns[name], color=colour, label=text)
            ax.set_ylabel(label)
            if len(lines) > 1:
                ax.legend()
        axes[0].set_yscale("log")
        axes[1].set_ylim(bottom=0)
        axes[-1].set_xlabel("training (simulated s)")
        figure.align_ylabels()
    return figure


def plot_sweep(
    label: str, levels: Sequence[float], measured: Mapping[str, np.ndarray], *, log: bool = False
) -> Figure:
    """Draw what depends on something: median and range over seeds.

    Parameters
    ----------
    label : str
        Of what was varied.
    levels : sequence of float
    measured : mapping of str to array of shape (n_levels, n_seeds)
        By the label of the axis. NaN where a network did not work.
    log : bool
        Whether the levels are drawn on a logarithmic axis.
    """
    with styled():
        figure, axes = plt.subplots(
            1,
            len(measured),
            figsize=(WIDTH, 2.4),
            layout="constrained",
            squeeze=False,
        )
        for ax, (name, values), colour in zip(
            axes[0], measured.items(), cycle(COLOURS), strict=False
        ):
            look = {"color": colour, "marker": "o", "markersize": 3}
            draw_median_and_range(ax, np.asarray(levels, dtype=float), values.T, **look)
            ax.set_ylabel(name)
            ax.set_xlabel(label)
            if log:
                ax.set_xscale("log")
            finite = values[np.isfinite(values)]
            if "NMSE" in name and len(finite) and np.min(finite) > 0:
                ax.set_yscale("log")
            else:
                ax.set_ylim(bottom=min(0.0, float(np.min(finite, initial=0.0))))
    return figure


def plot_experiment(folder: Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Draw everything that an experiment's folder holds, into it.

    Parameters
    ----------
    folder : Path
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
    network = saved.network
    figures = {"decoding": plot_decoding(recording)}
    neuron = recording.busiest
    found = currents(recording, network, saved.slow_weights, saved.fast_weights, inputs, neuron)
    figures["balance"] = plot_balance(found, neuron)
    figures["tuning"] = plot_tuning(recording, network)
    figures["activity"] = plot_activity(recording, network.n)
    try:
        figures["phase"] = plot_phase_portrait(
            network, saved.slow_weights, recording, saved.points, saved.killed
        )
    except ValueError:
        # Dendrites that see more than the estimate have no vector field.
        plt.close()
    if len(saved.history):
        figures["training"] = plot_training(saved.history)
    written = []
    for name, figure in figures.items():
        written += save_figure(figure, folder / name, formats)
    return written
