"""Connectivity: which synapses a connection has, as a sparse matrix of pairs.

Nothing here makes an array of all pairs unless it is given one.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csc_array, hstack, issparse

from eprop_brian.base.checks import check_real
from eprop_brian.base.memory import check_memory
from eprop_brian.base.sparse import (
    BYTES_OF_DRAW,
    Matrix,
    draw_pairs,
    ends,
    is_sparse,
    structure,
    with_values,
)
from eprop_brian.network.graph import Connection

__all__ = ["adjacency", "by_block", "by_distance", "check_seed", "structure_rng"]

#: Presynaptic neurons whose pairs are taken at a time.
_COLUMNS = 256
#: Smallest probability that `by_distance` keeps.
_LEAST = 1e-6


def check_seed(seed: Any) -> None:
    """Raise ValueError unless `seed` can be that of a network's structure."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"connectivity_seed must be a whole number from 0 on, not {seed!r}")


def structure_rng(seed: int, what: str) -> np.random.Generator:
    """For draws of a network's structure, each with a stream of its own.

    Parameters
    ----------
    seed : int
        The network's ``connectivity_seed``.
    what : str
        What is drawn, for example the name of a connection.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(what.encode())]))


def adjacency(connection: Connection, connectivity: Any, seed: int) -> csc_array | None:
    """The synapses of a connection.

    Parameters
    ----------
    connection : Connection
        Its name says which stream of random numbers is its own.
    connectivity : float, array or scipy.sparse matrix [post, pre], "one_to_one" or None
        A fraction of all pairs, drawn at random; a bool array, or a sparse bool or whole-number
        matrix with any nonzero value where there is a synapse; a matrix of float probabilities
        from 0 to 1, by which each pair is drawn once (neurons are never connected to themselves,
        whatever it says); or one synapse from each neuron to its counterpart. None: the pairs that
        sparse initial weights store, or else all.
    seed : int

    Returns
    -------
    csc_array of bool, shape (n_post, n_pre), or None
        With sorted indices; None for all pairs.

    Raises
    ------
    ValueError
        If it is none of these, has another shape or says that neurons are connected to themselves.
    """
    what = f"connectivity of {connection.name}"
    if connectivity is None and is_sparse(connection.weights):
        # A synapse of weight 0 that is stored is one, too.
        stored = csc_array(connection.weights)
        connectivity = with_values(stored, np.ones(stored.nnz, dtype=bool))
    if connectivity is None:
        return None
    if isinstance(connectivity, str) and connectivity == "one_to_one":
        return _one_to_one(connection)
    if isinstance(connectivity, str):
        raise ValueError(
            f"{what} is a fraction, a matrix [post, pre] or 'one_to_one', not {connectivity!r}"
        )
    rng = structure_rng(seed, connection.name)
    if np.isscalar(connectivity):
        check_real(what, connectivity, minimum=0)
        fraction = float(connectivity)  # type: ignore[arg-type]
        if fraction > 1:
            raise ValueError(f"{what} is a fraction, not {connectivity!r}")
        size = round(fraction * connection.n_possible)
        _check_draw(connection, size)
        return draw_pairs(rng, connection.shape, size, autapses=connection.autapses)
    matrix = _checked(connection, connectivity)
    if matrix.dtype.kind == "f":
        pre, post = _drawn(what, matrix, rng)
        if not connection.autapses:
            pre, post = pre[pre != post], post[pre != post]
    elif is_sparse(matrix):
        post, pre = ends(matrix)
    else:
        pre, post = matrix.T.nonzero()
    return structure(pre, post, connection.shape)


def _check_draw(connection: Connection, size: int) -> None:
    """Check that there is memory to draw so many synapses."""
    n_post, n_pre = connection.shape
    check_memory(
        {
            f"drawing {size} synapses of {connection.name} ({n_pre} to {n_post})": size
            * BYTES_OF_DRAW
        },
        lambda share: (
            f"take a connectivity below {share * size / connection.n_possible:.3g}, or fewer "
            "neurons"
        ),
    )


def by_distance(
    pre_positions: ArrayLike, post_positions: ArrayLike, width: float, peak: float = 1.0
) -> csc_array:
    """Probabilities of connection that fall with distance, ``peak*exp(-d**2/(2*width**2))``.

    Parameters
    ----------
    pre_positions, post_positions : array, shape (n_pre, n_dimensions), (n_post, n_dimensions)
        Or (n_pre,) and (n_post,) on a line.
    width : float
        Standard deviation of the bell, in the unit of the positions.
    peak : float
        Probability at distance 0.

    Returns
    -------
    csc_array, shape (n_post, n_pre)
        For `Projection.connectivity`. Probabilities below 1e-6 are left out.
    """
    check_real("peak", peak, minimum=0)
    check_real("width", width, minimum=0)
    if peak > 1 or width == 0:
        raise ValueError(f"width must be above 0 and peak at most 1, not {width} and {peak}")
    pre, post = (np.asarray(x, dtype=float) for x in (pre_positions, post_positions))
    pre, post = (x[:, np.newaxis] if x.ndim == 1 else x for x in (pre, post))
    if pre.ndim != 2 or post.ndim != 2 or pre.shape[1] != post.shape[1]:
        raise ValueError(
            "positions must have the shapes (n_pre, n_dimensions) and (n_post, n_dimensions), not "
            f"{np.shape(pre_positions)} and {np.shape(post_positions)}"
        )
    blocks = [csc_array((len(post), 0))]
    for first in range(0, len(pre), _COLUMNS):
        some = pre[first : first + _COLUMNS]
        square = sum((post[:, k, np.newaxis] - some[:, k]) ** 2 for k in range(post.shape[1]))
        probabilities = peak * np.exp(-square / (2 * width**2))
        blocks.append(csc_array(probabilities * (probabilities >= _LEAST)))
    return csc_array(hstack(blocks))


def by_block(
    pre_sizes: Sequence[int], post_sizes: Sequence[int], probabilities: ArrayLike
) -> np.ndarray:
    """Probabilities of connection that are the same within blocks.

    Parameters
    ----------
    pre_sizes, post_sizes : sequence of int
        Neurons of each block.
    probabilities : array, shape (n_post_blocks, n_pre_blocks)

    Returns
    -------
    array, shape (n_post, n_pre)
        For `Projection.connectivity`. Where all pairs are too many for memory, a projection for
        each block with a fraction as its connectivity takes none for pairs without a synapse.
    """
    blocks = np.asarray(probabilities, dtype=float)
    if blocks.shape != (len(post_sizes), len(pre_sizes)):
        raise ValueError(
            f"probabilities must have shape {(len(post_sizes), len(pre_sizes))} "
            f"[post blocks, pre blocks], not {blocks.shape}"
        )
    return np.repeat(np.repeat(blocks, post_sizes, axis=0), pre_sizes, axis=1)


def _one_to_one(connection: Connection) -> csc_array:
    n_post, n_pre = connection.shape
    if n_post != n_pre:
        raise ValueError(
            f"connectivity of {connection.name} cannot be one_to_one: it has {n_pre} presynaptic "
            f"and {n_post} postsynaptic neurons"
        )
    if not connection.autapses:
        raise ValueError(
            f"connectivity of {connection.name} cannot be one_to_one: its neurons would be "
            "connected to themselves, and there are no autapses"
        )
    every = np.arange(n_pre)
    return structure(every, every, connection.shape)


def _checked(connection: Connection, matrix: Any) -> Matrix:
    """A user's matrix of synapses or probabilities."""
    what = f"connectivity of {connection.name}"
    if issparse(matrix):
        checked = csc_array(matrix, copy=True)
        if not np.all(np.isfinite(checked.data)):
            raise ValueError(f"{what} must not hold NaN or infinity")
        checked.sum_duplicates()
        checked.eliminate_zeros()
    else:
        try:
            checked = np.asarray(matrix)
        except ValueError:
            raise ValueError(f"{what} has rows of several lengths") from None
    fits = checked.dtype.kind in "bf" or issparse(checked)
    if checked.shape != connection.shape or not fits:
        raise ValueError(
            f"{what} must be a fraction, or a bool array or one of probabilities, of shape "
            f"{connection.shape} [post, pre], not {checked.dtype} {checked.shape}"
        )
    if not connection.autapses and checked.dtype.kind != "f" and np.any(checked.diagonal()):
        raise ValueError(f"{connection.name} cannot have autapses: its diagonal must be False")
    return checked


def _drawn(
    what: str, probabilities: Matrix, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw each pair once, column by column: pre- and postsynaptic neurons.

    Only the pairs that a sparse matrix stores, each with the number it has there, are drawn.
    """
    if is_sparse(probabilities):
        _check_probabilities(what, probabilities.data)
        post, pre = ends(probabilities)
        drawn = rng.random(len(post)) < probabilities.data
        return pre[drawn], post[drawn]
    pairs = []
    for first in range(0, probabilities.shape[1], _COLUMNS):
        columns = probabilities[:, first : first + _COLUMNS].T
        _check_probabilities(what, columns)
        pre, post = np.nonzero(rng.random(columns.shape) < columns)
        pairs.append((pre + first, post))
    return np.concatenate([x for x, _ in pairs]), np.concatenate([x for _, x in pairs])


def _check_probabilities(what: str, values: np.ndarray) -> None:
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError(
            f"{what} holds numbers that are no probabilities from 0 to 1; an adjacency matrix is "
            "one of bool: matrix != 0"
        )
