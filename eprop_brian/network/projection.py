"""A projection: the part of a connection between two groups, as a built network stores it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from brian2 import NeuronGroup

from eprop_brian.base.sparse import Matrix
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
    pre, post : array of int or None
        Ends of every synapse if it is sparse, ordered by `pre`.
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
    pre: np.ndarray | None = field(default=None, repr=False)
    post: np.ndarray | None = field(default=None, repr=False)

    @property
    def matrix(self) -> str:
        """Name of the connection, the key of its weight matrix."""
        return self.connection.name

    @property
    def sparse(self) -> bool:
        """Whether not all pairs are connected (autapses apart)."""
        return self.pre is not None

    @property
    def rows(self) -> np.ndarray:
        """Where the synapses of each presynaptic neuron begin, and where the last end."""
        pre, _ = self.ends
        return np.searchsorted(pre, np.arange(self.n_pre + 1))

    @property
    def n_synapses(self) -> int:
        """Number of synapses; of an all-to-all projection, of pairs without padding."""
        return self.n_pre * self.n_post if self.pre is None else len(self.pre)

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Pre- and postsynaptic neuron of every synapse of a sparse projection."""
        if self.pre is None or self.post is None:
            raise ValueError(f"{self.name} is not sparse: it stores all pairs")
        return self.pre, self.post

    def place(self, pre: int, post: int) -> int:
        """Where the synapse of a pair that is connected is stored."""
        if not self.sparse:
            return pre * self.width + post
        senders, receivers = self.ends
        first, last = np.searchsorted(senders, (pre, pre + 1))
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
        block: Any = matrix[self.target_slice, self.source_slice]
        if self.sparse:
            _, post = self.ends
            if getattr(block, "format", "") != "csc" or not np.array_equal(block.indices, post):
                raise ValueError(
                    f"{self.matrix} must be a csc_array that stores exactly the network's "
                    "synapses, those of weight 0 too"
                )
            # A projection without synapses keeps one that belongs to no row.
            return block.data if self.n_synapses else np.zeros(1)
        values = np.zeros((self.n_pre, self.width))
        values[:, : self.n_post] = block.T
        return values.ravel()
