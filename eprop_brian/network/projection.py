"""A projection: the part of a connection between two groups, as a built network stores it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from brian2 import NeuronGroup

from eprop_brian.base.sparse import Matrix, block, is_sparse, same_numbers
from eprop_brian.network.graph import Connection, SignalConnection

__all__ = ["BuiltProjection"]

C = TypeVar("C", Connection, SignalConnection)


@dataclass(frozen=True)
class BuiltProjection(Generic[C]):
    """A projection; its synapses are stored by presynaptic neuron.

    All-to-all, that is a dense array [presynaptic, postsynaptic]; sparse, compressed rows.

    Attributes
    ----------
    connection : Connection or SignalConnection
        Whose weight matrix it is a part of.
    width : int
        Postsynaptic neurons with padding.
    shared_group : NeuronGroup or None
        Of the weights that its synapses share, if they learn; `group` has what spikes see of them.
    rows : array of int, shape (n_pre + 1,), or None
        If it is sparse: where the synapses of each presynaptic neuron begin, and the last end.
    post : array of int, shape (n_synapses,), or None
        If it is sparse: the postsynaptic neuron of every synapse.
    source_slice, target_slice : slice
        Its columns and rows in that matrix.
    """

    name: str
    connection: C
    source: str
    target: str
    n_pre: int
    n_post: int
    width: int
    source_slice: slice
    target_slice: slice
    autapses: bool
    group: NeuronGroup = field(repr=False)
    pre_group: NeuronGroup | None = field(default=None, repr=False)
    shared_group: NeuronGroup | None = field(default=None, repr=False)
    rows: np.ndarray | None = field(default=None, repr=False)
    post: np.ndarray | None = field(default=None, repr=False)

    @property
    def matrix(self) -> str:
        """Name of the connection, the key of its weight matrix."""
        return self.connection.name

    @property
    def learner(self) -> NeuronGroup:
        """The group of the weights that learn, with their gradients and an optimizer's states."""
        return self.group if self.shared_group is None else self.shared_group

    @property
    def sparse(self) -> bool:
        """Whether not all pairs are connected (autapses apart)."""
        return self.rows is not None

    @property
    def n_synapses(self) -> int:
        """Number of synapses; of an all-to-all projection, of pairs without padding."""
        return self.n_pre * self.n_post if self.post is None else len(self.post)

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Pre- and postsynaptic neuron of every synapse of a sparse projection."""
        rows, post = self.compressed
        return np.repeat(np.arange(self.n_pre), np.diff(rows)), post

    @property
    def compressed(self) -> tuple[np.ndarray, np.ndarray]:
        """`rows` and `post` of a sparse projection."""
        if self.rows is None or self.post is None:
            raise ValueError(f"{self.name} is not sparse: it stores all pairs")
        return self.rows, self.post

    def place(self, pre: int, post: int) -> int:
        """Where the synapse of a pair that is connected is stored."""
        if not self.sparse:
            return pre * self.width + post
        rows, receivers = self.compressed
        first, last = rows[pre : pre + 2]
        return int(first + np.searchsorted(receivers[first:last], post))

    def by_pair(self, values: np.ndarray) -> np.ndarray:
        """Stored values of an all-to-all projection as an array (n_pre, n_post)."""
        return np.asarray(values).reshape(self.n_pre, self.width)[:, : self.n_post]

    def stored(self, matrix: Matrix) -> np.ndarray:
        """Values for its synapses from the whole matrix [post, pre], as they are stored.

        Raises
        ------
        ValueError
            If a sparse matrix does not have the network's synapses.
        """
        if is_sparse(matrix):
            part: Any = block(matrix, self.target_slice, self.source_slice)
        else:
            part = matrix[self.target_slice, self.source_slice]
        if self.sparse:
            _, post = self.compressed
            if getattr(part, "format", "") != "csc" or not same_numbers(part.indices, post):
                raise ValueError(
                    f"{self.matrix} must be a csc_array that stores exactly the network's "
                    "synapses, those of weight 0 too"
                )
            # A projection without synapses keeps one that belongs to no row.
            return part.data if self.n_synapses else np.zeros(1)
        values = np.zeros((self.n_pre, self.width))
        values[:, : self.n_post] = part.T
        return values.ravel()
