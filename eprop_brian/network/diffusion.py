"""Learning signals that diffuse: the matrix by which they spread among neurons, and its check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csc_array, issparse

from eprop_brian.base.checks import check_positive, check_real

__all__ = ["as_diffusion", "diffusion"]


def diffusion(
    grid: Sequence[int], kept: float, radius: int = 1, seed: int | None = None
) -> csc_array:
    """The matrix of a signal that spreads to the nearest places of a grid, evenly, in every step.

    The grid is a torus: what leaves it on one side enters on the other (arXiv 2603.08949).

    Parameters
    ----------
    grid : (int, int)
        Rows and columns; every place has one neuron.
    kept : float
        What a step leaves of the whole signal, from 0 to 1.
    radius : int
        Places that it spreads in a step, in either direction of rows and of columns: with 1 a
        neuron shares it with the eight around it.
    seed : int, optional
        Neurons have places at random. Default: they stand row by row, in their order.

    Returns
    -------
    csc_array, shape (n_neurons, n_neurons)
        For `Feedback.diffusion`.
    """
    if not isinstance(grid, Sequence) or len(grid) != 2:
        raise ValueError(f"grid must be the numbers of rows and columns, not {grid!r}")
    for name, number in zip(("rows", "columns"), grid, strict=True):
        check_positive(f"the number of {name} of the grid", number)
    check_positive("radius", radius)
    check_real("kept", kept, minimum=0)
    if kept > 1:
        raise ValueError(f"kept is the fraction of the signal that a step leaves, not {kept}")
    rows, columns = grid
    n = rows * columns
    # The neuron at every place.
    neurons = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)
    row, column = np.divmod(np.arange(n), columns)
    steps = range(-radius, radius + 1)
    post = [
        neurons[(row + down) % rows * columns + (column + right) % columns]
        for down in steps
        for right in steps
    ]
    values = np.full((len(post), n), kept / len(post))
    pairs = np.concatenate(post), np.tile(neurons, len(post))
    # Where the radius reaches around the grid, what meets there adds up.
    return _sorted(csc_array((values.ravel(), pairs), shape=(n, n)))


def as_diffusion(where: str, value: Any, size: int) -> csc_array | None:
    """The matrix of a learning signal that spreads among `size` neurons, None if it does not.

    Parameters
    ----------
    where : str
        Name of the learning signal, for errors.
    value : matrix, mapping or None
        As `Feedback.diffusion`.
    size : int

    Raises
    ------
    ValueError
        If it is no such matrix, or is for another number of neurons.
    """
    if value is None:
        return None
    if isinstance(value, Mapping):
        matrix = _from_options(where, value)
    else:
        try:
            matrix = (
                csc_array(value, dtype=float, copy=True)
                if issparse(value)
                else np.array(value, float)
            )
        except (TypeError, ValueError):
            matrix = np.zeros(())
    if matrix.shape != (size, size):
        raise ValueError(
            f"{where}: diffusion is a matrix [post, pre] of its {size} neurons, or grid, kept and "
            f"radius of a grid with as many places; its shape is {matrix.shape}"
        )
    matrix = _sorted(csc_array(matrix))
    if not np.all(np.isfinite(matrix.data)):
        raise ValueError(f"{where}: diffusion must be finite")
    return matrix


def _from_options(where: str, options: Mapping[str, Any]) -> csc_array:
    try:
        return diffusion(**options)
    except TypeError:
        raise ValueError(
            f"{where}: diffusion needs grid and kept, and may have radius and seed, not "
            f"{', '.join(options)}"
        ) from None
    except ValueError as error:
        raise ValueError(f"{where}, diffusion: {error}") from None


def _sorted(matrix: csc_array) -> csc_array:
    """A matrix with one entry for each pair, in the order in which a built network stores them."""
    matrix.sum_duplicates()
    matrix.sort_indices()
    return matrix
