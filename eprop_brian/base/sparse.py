"""Sparse matrices of a network: `scipy.sparse.csc_array` [post, pre], structured as its synapses.

Indices are sorted, so that the data vector is ordered by presynaptic, then postsynaptic neuron,
which is how a built network stores its synapses. A synapse of weight 0 keeps its entry. Nothing
here makes an array of all pairs.
"""

from __future__ import annotations

from typing import Any, TypeAlias, TypeGuard

import numpy as np
from scipy.sparse import csc_array, issparse

from eprop_brian.base.indices import index_type
from eprop_brian.base.pieces import in_pieces

__all__ = [
    "BYTES_OF_DRAW",
    "MOST_PAIRS",
    "Matrix",
    "block",
    "copied",
    "dense",
    "draw_pairs",
    "ends",
    "fit",
    "is_sparse",
    "same_numbers",
    "same_structure",
    "structure",
    "taken",
    "values_of",
    "with_values",
]

#: Bytes that it takes to draw a pair, at most: its number, the same sorted, and what is kept.
BYTES_OF_DRAW = 24
#: A weight matrix, dense or sparse.
Matrix: TypeAlias = np.ndarray | csc_array

#: Most pairs of a sparse matrix for which a dense one, of half a gigabyte, is ever made.
MOST_PAIRS = 2**26


def structure(pre: np.ndarray, post: np.ndarray, shape: tuple[int, int]) -> csc_array:
    """A bool matrix of some pairs.

    Parameters
    ----------
    pre, post : int array, shape (n_synapses,)
        Ordered by `pre`, then `post`, without duplicates.
    shape : (n_post, n_pre)

    Returns
    -------
    csc_array of bool, shape (n_post, n_pre)
        All that it stores is True.
    """
    ends = np.zeros(shape[1] + 1, dtype=np.int64)
    np.cumsum(np.bincount(pre, minlength=shape[1]), out=ends[1:])
    return _compressed(ends, post, shape)


def _compressed(firsts: np.ndarray, post: np.ndarray, shape: tuple[int, int]) -> csc_array:
    """A bool matrix of the pairs whose `post` stand from ``firsts[pre]`` on."""
    index = index_type(max(len(post), *shape))
    rows: np.ndarray = post.astype(index, copy=False)
    firsts = firsts.astype(index, copy=False)
    # Every matrix with these synapses shares the two.
    for array in (rows, firsts):
        array.setflags(write=False)
    return csc_array((np.ones(len(rows), dtype=bool), rows, firsts), shape=shape)


def draw_pairs(
    rng: np.random.Generator, shape: tuple[int, int], size: int, autapses: bool
) -> csc_array:
    """Draw `size` different pairs, all sets of them equally likely; as `structure` returns them.

    Takes memory for the pairs that are drawn, some `BYTES_OF_DRAW` each, not for all there are.

    Parameters
    ----------
    rng : Generator
    shape : (n_post, n_pre)
    size : int
    autapses : bool
        Whether the diagonal may be drawn.
    """
    n_post = shape[0] if autapses else shape[0] - 1
    numbers = _draw_numbers(rng, n_post * shape[1], size)
    firsts = np.searchsorted(numbers, np.arange(shape[1] + 1) * n_post)
    post: np.ndarray = np.empty(size, dtype=index_type(max(size, *shape)))

    def find(some: slice) -> None:
        pre, post[some] = np.divmod(numbers[some], max(1, n_post))
        if not autapses:
            post[some] += post[some] >= pre

    in_pieces(find, size)
    return _compressed(firsts, post, shape)


def _draw_numbers(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """`size` different numbers below `count`, sorted; takes memory for `size` numbers."""
    if 2 * size > count:
        kept = np.ones(count, dtype=bool)
        kept[_draw_numbers(rng, count, count - size)] = False
        return np.flatnonzero(kept)
    drawn = np.zeros(0, dtype=np.int64)
    while len(drawn) < size:
        more = rng.integers(count, size=size - len(drawn))
        more.sort()
        repeated = more[1:] == more[:-1]
        if np.any(repeated):
            more = more[np.append(True, ~repeated)]
        if len(drawn):
            place = np.searchsorted(drawn, more)
            new = drawn[np.minimum(place, len(drawn) - 1)] != more
            more = np.insert(drawn, place[new], more[new])
        drawn = more
    return drawn


def with_values(matrix: csc_array, values: np.ndarray) -> csc_array:
    """A matrix with the structure of another, not copied, and values, shape (n_synapses,)."""
    return csc_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def same_structure(a: csc_array, b: csc_array) -> bool:
    """Whether two matrices store values of the same pairs, in the same order."""
    return (
        a.format == b.format
        and a.shape == b.shape
        and same_numbers(a.indptr, b.indptr)
        and same_numbers(a.indices, b.indices)
    )


def same_numbers(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are equal; those that share their memory need no look at it."""
    shared = a.shape == b.shape and a.dtype == b.dtype and a.strides == b.strides
    return (shared and a.ctypes.data == b.ctypes.data) or np.array_equal(a, b)


def fit(name: str, matrix: Any, connected: csc_array) -> csc_array:
    """Copy a dense or sparse matrix into the structure of the network's synapses.

    Parameters
    ----------
    name : str
        For the error.
    matrix : array or scipy.sparse matrix or array, shape (n_post, n_pre)
    connected : csc_array, shape (n_post, n_pre)

    Raises
    ------
    ValueError
        If it is not 0 where there is no synapse.
    """
    if issparse(matrix):
        given = csc_array(matrix, dtype=float, copy=True)
        given.sum_duplicates()
        if same_structure(given, connected):
            return with_values(connected, given.data)
        pairs, own = _numbered(given), _numbered(connected)
        place = np.searchsorted(own, pairs)
        exists = np.append(own, -1)[place] == pairs
        values = np.zeros(len(own))
        values[place[exists]] = given.data[exists]
        elsewhere = np.any(given.data[~exists])
    else:
        matrix = np.asarray(matrix, dtype=float)
        values = taken(matrix, connected).data
        elsewhere = np.count_nonzero(matrix) != np.count_nonzero(values)
    if elsewhere:
        raise ValueError(f"{name} must be 0 where the network has no synapse")
    return with_values(connected, values)


def taken(matrix: np.ndarray, connected: csc_array) -> csc_array:
    """The entries of a dense matrix at the network's synapses."""
    return with_values(connected, matrix[connected.indices, _columns(connected)])


def block(matrix: csc_array, rows: slice, columns: slice) -> csc_array:
    """A block of a sparse matrix; all of it is the matrix itself, not copied."""
    n_rows, n_columns = matrix.shape
    if rows == slice(0, n_rows) and columns == slice(0, n_columns):
        return matrix
    return matrix[rows, columns]


def _columns(matrix: csc_array) -> np.ndarray:
    """The presynaptic neuron of every synapse."""
    return np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))


def ends(matrix: csc_array) -> tuple[np.ndarray, np.ndarray]:
    """Post- and presynaptic neuron of every synapse, in the order of the data."""
    return matrix.indices, _columns(matrix)


def _numbered(matrix: csc_array) -> np.ndarray:
    """A number for every synapse, the same in all matrices of a shape; sorted."""
    return _columns(matrix) * matrix.shape[0] + matrix.indices


def dense(matrix: Any) -> np.ndarray:
    """A dense copy, as floats."""
    return np.array(matrix.toarray() if issparse(matrix) else matrix, dtype=float, order="C")


def is_sparse(matrix: Any) -> TypeGuard[csc_array]:
    """Whether a matrix stores the values of its synapses alone."""
    return bool(issparse(matrix))


def values_of(matrix: Any) -> np.ndarray:
    """What a matrix stores: all entries of a dense one, the synapses of a sparse one."""
    return matrix.data if is_sparse(matrix) else matrix


def copied(matrix: Any) -> Matrix:
    """A copy; a sparse one keeps the structure's arrays."""
    return with_values(matrix, matrix.data.copy()) if is_sparse(matrix) else matrix.copy()
