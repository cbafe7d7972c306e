"""Figures of weight matrices and of learned parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from brian2.units import Quantity
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from scipy.sparse import csc_array, issparse

from eprop_brian.base.sparse import Matrix, values_of
from eprop_brian.equations.neuron import Parameter
from eprop_brian.figures.style import (
    COLOURS,
    WIDTH,
    legend_above,
    named_units,
    styled,
    whole_numbers,
)
from eprop_brian.network.graph import Connection
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.spec import Network
from eprop_brian.symbolic.parameters import parse_quantity
from eprop_brian.symbolic.units import trace_units

__all__ = ["matrix_title", "plot_parameters", "plot_weights"]

#: Rows and columns of the image of a sparse matrix.
_MOST_PIXELS = 250
#: Where a sparse matrix has no synapse.
_NO_SYNAPSE = "#E3E3E3"
#: Titles of the standard network's matrices.
_TITLES = {
    "w_in": r"$W_\mathrm{in}$",
    "w_rec": r"$W_\mathrm{rec}$",
    "w_out": r"$W_\mathrm{out}$",
}
#: Widths of the columns by what a matrix connects.
_WIDTHS = {"input": 0.8, "recurrent": 1.0, "readout": 1.0}
#: Matrices that fit side by side in a figure of the usual width.
_SIDE_BY_SIDE = 3


def matrix_title(name: str) -> str:
    """What a weight matrix is called in figures; other names stay as they are."""
    return _TITLES.get(name, name)


@styled()
def plot_weights(
    weights: Mapping[str, Matrix], network: Network, after: Mapping[str, Matrix] | None = None
) -> Figure:
    """Draw the weight matrices, and how they changed if a second set is given.

    Rows are postsynaptic, columns presynaptic neurons; lines separate groups. The colour scale of a
    matrix is symmetric about 0 and ends at the 99.5th percentile of the absolute values; ``before``
    and ``after`` share it. Where a matrix that is sparse or rewired has no synapse, it is grey; of
    one with more than 250 rows or columns, a pixel is the mean weight of the synapses in a block,
    so that each synapse is seen.

    Parameters
    ----------
    weights : mapping
        The matrix [post, pre] of every projection by its name, each an array or a scipy.sparse
        array, or an array of the weights that its synapses share.
    network : Network
        Whose weights they are.
    after : mapping, optional
        The same matrices after training.

    Returns
    -------
    Figure
    """
    connections, populations = network.resolved.connections, network.populations
    weights = {c.name: _matrix(c, weights) for c in connections}
    rows: list[tuple[str, Mapping[str, Matrix]]] = [("", weights)]
    if after is not None:
        after = {c.name: _matrix(c, after) for c in connections}
        change = {c.name: after[c.name] - weights[c.name] for c in connections}
        rows = [("before", weights), ("after", after), ("change", change)]
    inputs = {p.name: trace_units(p.system).inputs for p in network.resolved.populations}
    figure, axes = plt.subplots(
        len(rows),
        len(connections),
        figsize=(WIDTH * max(1, len(connections) / _SIDE_BY_SIDE), 0.7 + 2.2 * len(rows)),
        width_ratios=[_WIDTHS[c.kind] for c in connections],
        squeeze=False,
        layout="constrained",
    )
    for column, c in enumerate(connections):
        scale = _scale([matrices[c.name] for heading, matrices in rows if heading != "change"])
        # A weight has the unit of the state it adds to; readouts have none.
        units = ["1"] if c.to_readout else [inputs[name][c.receptor] for name in c.targets]
        unit = named_units(units)
        for ax, (heading, matrices) in zip(axes[:, column], rows, strict=True):
            is_change = heading == "change"
            limit = _scale([matrices[c.name]]) if is_change else scale
            image = _draw_matrix(ax, c, matrices[c.name], limit, network.resolved)
            if heading:
                ax.set_title(f"{matrix_title(c.name)}, {heading}")
            label = f"{'change' if is_change else 'weight'} ({unit})"
            figure.colorbar(image, ax=ax, extend="both", label=label, pad=0.02)
    joined = any(c.targets.keys() == network.slices.keys() for c in connections)
    if len(populations) > 1 and joined:
        ranges = "  ".join(
            f"{name} {own.start}–{own.stop - 1}" for name, own in network.slices.items()
        )
        figure.supxlabel(f"recurrent neurons: {ranges}", fontsize=8.0)
    return figure


def _matrix(connection: Connection, weights: Mapping[str, Matrix]) -> Matrix:
    """The matrix of a connection; one that is rewired is stored dense, but has few synapses."""
    matrix = connection.matrix(weights[connection.name])
    return matrix if connection.n_connected is None else csc_array(matrix)


def _draw_matrix(
    ax: Axes, connection: Connection, matrix: Matrix, limit: float, network: Resolved
) -> AxesImage:
    """Draw a matrix between -limit and limit, with lines between groups."""
    n_post, n_pre = matrix.shape
    image = ax.imshow(
        _pixels(matrix) if issparse(matrix) else matrix,
        extent=(-0.5, n_pre - 0.5, n_post - 0.5, -0.5),
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        aspect="auto",
        interpolation="nearest",
    )
    ax.set_facecolor(_NO_SYNAPSE)
    for spine in ax.spines.values():
        spine.set_visible(True)
    look: dict[str, Any] = {"color": "black", "linewidth": 0.6}
    for first in [where.start for where in connection.targets.values()][1:]:
        ax.axhline(first - 0.5, **look)
    for first in [where.start for where in connection.sources.values()][1:]:
        ax.axvline(first - 0.5, **look)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(whole_numbers(5))
    ax.set_title(matrix_title(connection.name))
    ax.set_ylabel(f"to {_members(connection.targets, network)} (index)")
    ax.set_xlabel(f"from {_members(connection.sources, network)} (index)")
    return image


def _members(groups: Mapping[str, slice], network: Resolved) -> str:
    """What the rows or columns of a matrix are: all neurons of a kind, or groups by name."""
    kinds: dict[str, Mapping[str, slice]] = {
        "recurrent neuron": network.slices,
        "input neuron": network.input_slices,
        "readout": network.output_slices,
    }
    whole = [what for what, members in kinds.items() if members.keys() == groups.keys()]
    return whole[0] if whole else ", ".join(groups)


def _pixels(matrix: csc_array) -> np.ndarray:
    """A sparse matrix as an image, NaN without synapses; of a large one, the mean in each block."""
    n_rows, n_columns = (min(n, _MOST_PIXELS) for n in matrix.shape)
    pairs = matrix.tocoo()
    # In 64 bits: an index times the number of pixels is larger than 32 hold.
    row = pairs.row.astype(np.int64) * n_rows // matrix.shape[0]
    column = pairs.col.astype(np.int64) * n_columns // matrix.shape[1]
    pixel = row * n_columns + column
    total, count = (np.bincount(pixel, w, n_rows * n_columns) for w in (pairs.data, None))
    means = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    pixels: np.ndarray = means.reshape(n_rows, n_columns)
    return pixels


def _scale(matrices: Sequence[Matrix]) -> float:
    """End of a symmetric colour scale, above 0 even for matrices of zeros or without synapses."""
    values = np.concatenate([values_of(m).ravel() for m in matrices])
    largest = np.percentile(np.abs(values), 99.5) if len(values) else 0
    return float(largest) if largest > 0 else 1.0


@styled()
def plot_parameters(
    values: Mapping[str, Matrix], network: Network, after: Mapping[str, Matrix] | None = None
) -> Figure:
    """Draw how the learned parameters are distributed over the neurons.

    Parameters
    ----------
    values : mapping
        Has a vector, in SI units, for every learned parameter (``"population.parameter"``).
    network : Network
        Whose parameters they are.
    after : mapping, optional
        The same after training.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If no parameter of the network is learned.
    """
    names = list(network.learned_shapes)
    if not names:
        raise ValueError("the network has no learned parameters")
    sets = {"before": values} if after is None else {"before": values, "after": after}
    parameters = {p.name: p.neuron.parameters for p in network.populations}
    n_columns = min(3, len(names))
    n_rows = -(-len(names) // n_columns)
    figure, axes = plt.subplots(
        n_rows,
        n_columns,
        figsize=(WIDTH * n_columns / 3 + 0.3, 0.4 + 1.8 * n_rows),
        squeeze=False,
        layout="constrained",
    )
    for ax, name in zip(axes.flat, names, strict=False):
        population, parameter = name.split(".")
        scale, unit = _fitting_unit(parameters[population][parameter])
        vectors = {when: np.asarray(vector[name]) / scale for when, vector in sets.items()}
        bins = np.histogram_bin_edges(np.concatenate(list(vectors.values())), bins=20)
        for (when, vector), colour in zip(vectors.items(), ("#888888", COLOURS[0]), strict=False):
            ax.hist(vector, bins=bins, color=colour, alpha=0.7, label=when)
        ax.set_xlabel(f"{parameter} of {population} ({unit})")
        ax.set_ylabel("neurons (number)")
        ax.yaxis.set_major_locator(whole_numbers(5))
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    if after is not None:
        legend_above(axes[0, 0])
    return figure


def _fitting_unit(value: Parameter) -> tuple[float, str]:
    """A unit for values like this one, in SI units, and its name."""
    if isinstance(value, list | tuple):
        value = value[0]
    if isinstance(value, str):
        value = parse_quantity(value, "parameter")
    if not isinstance(value, Quantity) or value.is_dimensionless:
        return 1.0, "dimensionless"
    unit = value.get_best_unit()
    return float(unit), str(unit)
