"""The bounding box of a balanced network as a film: how its spikes keep the error small.

Every neuron fires where the error of the estimate, along its decoding vector, exceeds its
threshold. In the space of errors the thresholds are faces of a box; a spike moves the estimate away
from the face that the signal has crossed (Boerlin, Machens and Denève 2013, their figure 1).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from scipy.spatial import ConvexHull

from eprop_brian.balanced.simulation import Recording
from eprop_brian.balanced.spec import BalancedNetwork
from eprop_brian.figures.film import hide_from
from eprop_brian.figures.style import COLOURS, legend_above

__all__ = ["bounding_box", "box_frames"]

#: Half the size of the axes of errors, in median distances of faces.
_EXTENT = 3.0
#: Samples of the error that stay visible behind its point.
_TRAIL = 12
#: A face that the signal has crossed is this near, in median distances.
_NEAREST = 1e-3


def bounding_box(decoder: np.ndarray, distances: np.ndarray, extent: float) -> np.ndarray:
    """Corners of the region in which no neuron fires, around the signal.

    Parameters
    ----------
    decoder : array of shape (2, N)
        Decoding vectors.
    distances : array of shape (N,)
        Threshold minus potential of each neuron: what the error along its decoding vector may grow
        by before it fires.
    extent : float
        Where no neuron bounds the region, it ends at this distance from the signal.

    Returns
    -------
    array of shape (n_corners, 2)
        In their order around the region; the signal is at 0.
    """
    sides = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    normals = np.concatenate([decoder.T, sides])
    least = _NEAREST * float(np.median(np.abs(distances)))
    bounds = np.concatenate([np.maximum(distances, least), np.full(4, extent)])
    # The dual of the region: its corners are the edges of the hull of these points.
    points = normals / bounds[:, np.newaxis]
    order = ConvexHull(points).vertices
    corners = [
        np.linalg.solve(points[[first, second]], np.ones(2))
        for first, second in zip(order, np.roll(order, -1), strict=True)
    ]
    return np.array(corners)


def box_frames(
    figure: Figure, recording: Recording, network: BalancedNetwork, most: int
) -> Iterator[None]:
    """Draw one frame after the other into a figure, one for each recorded sample.

    The estimate is in the middle. Of more than two dimensions the first two are drawn, and the box
    where the others are at their present values.

    Parameters
    ----------
    figure : Figure
    recording : Recording
    network : BalancedNetwork
    most : int
        Frames.

    Raises
    ------
    ValueError
        If the network has one dimension only.
    """
    if network.n_dimensions < 2:
        raise ValueError("a bounding box is drawn of two dimensions or more: this network has one")
    decoder, n = network.decoder[:2], min(most, len(recording.t))
    # From where there are spikes on.
    first = max(0, int(np.searchsorted(recording.t, recording.spike_times[:1].sum())) - 1)
    first = min(first, len(recording.t) - n)
    samples = range(first, first + n)
    lengths = np.linalg.norm(decoder, axis=0)
    extent = _EXTENT * float(np.median(network.threshold / np.maximum(lengths, 1e-12)))
    errors = (recording.x - recording.estimate)[:, :2]
    grid = figure.add_gridspec(2, 2, width_ratios=[1.0, 1.2])
    box_ax = figure.add_subplot(grid[:, 0], aspect="equal", adjustable="datalim")
    box = Polygon(np.zeros((1, 2)), facecolor="#EFEFEF", edgecolor="black", linewidth=0.8)
    box_ax.add_patch(box)
    box_ax.plot(0, 0, "+", color=COLOURS[1], markersize=8, label="estimate")
    (trail,) = box_ax.plot([], [], color="0.5", linewidth=0.6)
    (point,) = box_ax.plot([], [], "o", color="black", markersize=4, label="signal")
    (fired,) = box_ax.plot([], [], color=COLOURS[0], linewidth=2.0, label="neuron that fires")
    box_ax.set(xlim=(-extent, extent), ylim=(-extent, extent))
    box_ax.set(xlabel="error of $x_1$", ylabel="error of $x_2$")
    legend_above(box_ax, columns=3)
    t = 1e3 * (recording.t - recording.t[first])
    signals: list[Axes] = []
    for k in range(2):
        ax = figure.add_subplot(grid[k, 1], sharex=signals[0] if signals else None)
        signals.append(ax)
        ax.plot(t, recording.x[:, k], color="black", linewidth=1.4, label="signal")
        ax.plot(t, recording.estimate[:, k], color=COLOURS[1], linewidth=0.9, label="estimate")
        shown = np.concatenate([values[samples, k] for values in (recording.x, recording.estimate)])
        room = 0.05 * float(np.ptp(shown)) or 1.0
        ax.set_ylim(shown.min() - room, shown.max() + room)
        ax.set_ylabel(f"$x_{k + 1}$")
    signals[0].tick_params(labelbottom=False)
    signals[1].set_xlabel("time (ms)")
    signals[0].set_xlim(0.0, max(t[samples[-1]], 1e-9))
    for sample in samples:
        distances = network.threshold - recording.v[sample]
        corners = errors[sample] + bounding_box(decoder, distances, 2 * extent)
        box.set_xy(corners)
        behind = errors[max(first, sample - _TRAIL) : sample + 1]
        trail.set_data(*behind.T)
        point.set_data(*errors[sample][:, np.newaxis])
        fired.set_data(*_faces(decoder, distances, errors[sample], corners, recording, sample))
        for ax in signals:
            hide_from(ax, t[sample])
        yield


def _faces(
    decoder: np.ndarray,
    distances: np.ndarray,
    error: np.ndarray,
    corners: np.ndarray,
    recording: Recording,
    sample: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Faces of the neurons that fire up to the next sample, as lines with gaps between them."""
    start = recording.t[sample]
    end = recording.t[sample + 1] if sample + 1 < len(recording.t) else np.inf
    times = recording.spike_times
    neurons = np.unique(recording.spike_neurons[(times >= start) & (times < end)])
    reach = float(np.ptp(corners, axis=0).max()) / 4
    lines = [np.zeros((0, 2))]
    for neuron in neurons:
        normal = decoder[:, neuron] / np.linalg.norm(decoder[:, neuron])
        foot = error + distances[neuron] / np.linalg.norm(decoder[:, neuron]) * normal
        along = np.array([-normal[1], normal[0]])
        lines.append(np.array([foot - reach * along, foot + reach * along, [np.nan, np.nan]]))
    x, y = np.concatenate(lines).T
    return x, y
