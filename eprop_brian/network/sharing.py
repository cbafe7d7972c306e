r"""Weights that several synapses share: convolutions, pooling, a bias for each channel.

The weight of a synapse s is :math:`w_s = \sum_k S_{sk} u_k`, with a sparse matrix S that never
changes and the numbers :math:`u_k` that learn. Spikes see :math:`w`, so that nothing of a step
depends on how weights are shared. The gradient by :math:`u_k` is :math:`\sum_s S_{sk} g_s`, where
:math:`g_s` is the gradient of a synapse of its own; optimizer, regularisers and bounds act on
:math:`u`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csc_array, csr_array

from eprop_brian.base.sparse import structure, with_values

__all__ = [
    "SHARING",
    "AveragePooling",
    "Convolution",
    "PerChannel",
    "Shared",
    "SharedWeights",
    "Sharing",
]


@dataclass(frozen=True, eq=False)
class SharedWeights:
    """Weights that synapses share.

    Attributes
    ----------
    shape : tuple of int
        Of the weights.
    adjacency : csc_array of bool, shape (n_post, n_pre)
        The synapses.
    mixing : csr_array, shape (n_synapses, n_weights)
        What each synapse, in the order of `adjacency`, has of each weight.
    """

    shape: tuple[int, ...]
    adjacency: csc_array = field(repr=False)
    mixing: csr_array = field(repr=False)

    @property
    def n_weights(self) -> int:
        """How many weights there are."""
        return int(self.mixing.shape[1])

    @cached_property
    def gathering(self) -> csr_array:
        """What each weight has of each synapse: `mixing` transposed, row by row."""
        return csr_array(self.mixing.T)

    @cached_property
    def fan_in(self) -> float:
        """Weights that act on a postsynaptic neuron, on average."""
        return self._mean_number(self.adjacency.indices, self.adjacency.shape[0])

    @cached_property
    def fan_out(self) -> float:
        """Weights with which a presynaptic neuron acts, on average."""
        columns = np.diff(self.adjacency.indptr)
        pre = np.repeat(np.arange(len(columns)), columns)
        return self._mean_number(pre, self.adjacency.shape[1])

    def _mean_number(self, ends: np.ndarray, n: int) -> float:
        """Different weights at an end of synapses, on average over the neurons there."""
        mixed = self.mixing.tocoo()
        of_synapse, number = mixed.coords
        pairs = ends[of_synapse].astype(np.int64) * self.n_weights + number
        return len(np.unique(pairs)) / n

    def spread(self, weights: np.ndarray) -> csc_array:
        """The weights of all synapses, [post, pre]."""
        return with_values(self.adjacency, self.mixing @ np.asarray(weights, float).ravel())


def _assembled(
    ends: tuple[int, int],
    shape: tuple[int, ...],
    terms: Sequence[np.ndarray],
    factor: float = 1.0,
) -> SharedWeights:
    """Shared weights from what a pair of neurons has of a weight; contributions add up.

    Parameters
    ----------
    ends : (n_post, n_pre)
    shape : tuple of int
        Of the weights.
    terms : int arrays of one shape
        Postsynaptic neuron, presynaptic neuron and weight of every contribution.
    factor : float
    """
    post, pre, weight = terms
    pairs = pre.ravel().astype(np.int64) * ends[0] + post.ravel()
    synapses, of_synapse = np.unique(pairs, return_inverse=True)
    senders, receivers = np.divmod(synapses, ends[0])
    n_weights = int(np.prod(shape))
    values = np.full(weight.size, factor)
    mixing = csr_array(
        (values, (of_synapse.ravel(), weight.ravel())), shape=(len(synapses), n_weights)
    )
    mixing.sum_duplicates()
    mixing.sort_indices()
    return SharedWeights(shape, structure(senders, receivers, ends), mixing)


@dataclass(frozen=True)
class Convolution:
    """Every neuron of the target sees a window of a picture, through the kernel of its channel.

    The source is a picture of several channels, the target one of as many channels as there are
    kernels, whose rows and columns are the places at which a kernel fits without padding; both line
    up their channels, in each the rows. Weights have the shape [kernel, channel, row, column], and
    act as in a cross-correlation: they are not flipped.

    Parameters
    ----------
    shape : (int, int, int)
        Channels, height and width of the source.
    kernels : int
        Channels of the target.
    size : int
        Rows and columns of a kernel.
    stride : int
        Rows and columns from one place to the next.
    """

    shape: Sequence[int]
    kernels: int
    size: int
    stride: int = 1

    @property
    def target_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the target."""
        return self.kernels, *_places(self.shape, self.size, self.stride)

    def resolved(self, ends: tuple[int, int]) -> SharedWeights:
        """The weights between so many neurons, (n_post, n_pre); ValueError if they do not fit."""
        _check_numbers(self, {"kernels": self.kernels, "size": self.size, "stride": self.stride})
        _check_picture(self, self.size)
        _check_size(self, "source", ends[1], tuple(self.shape))
        _check_size(self, "target", ends[0], self.target_shape)
        channels, height, width = self.shape
        kernels, rows, columns = self.target_shape
        k, y, x, c, i, j = np.ogrid[:kernels, :rows, :columns, :channels, : self.size, : self.size]
        post = (k * rows + y) * columns + x
        pre = (c * height + y * self.stride + i) * width + x * self.stride + j
        weight = ((k * channels + c) * self.size + i) * self.size + j
        shape = (kernels, channels, self.size, self.size)
        return _assembled(ends, shape, np.broadcast_arrays(post, pre, weight))


@dataclass(frozen=True)
class AveragePooling:
    """Every neuron of the target sees the means of a picture's windows, and all of them.

    The source is a picture of several channels that line up, in each the rows. Each window of a
    channel has one weight for each neuron of the target, which acts on the mean of what the window
    sends. Weights have the shape [post, channel, row, column], with rows and columns of the
    windows; windows may overlap.

    Parameters
    ----------
    shape : (int, int, int)
        Channels, height and width of the source.
    size : int
        Rows and columns of a window.
    stride : int
        Rows and columns from one window to the next.
    """

    shape: Sequence[int]
    size: int
    stride: int = 1

    def resolved(self, ends: tuple[int, int]) -> SharedWeights:
        """The weights between so many neurons, (n_post, n_pre); ValueError if they do not fit."""
        _check_numbers(self, {"size": self.size, "stride": self.stride})
        _check_picture(self, self.size)
        _check_size(self, "source", ends[1], tuple(self.shape))
        channels, height, width = self.shape
        rows, columns = _places(self.shape, self.size, self.stride)
        post, c, y, x, i, j = np.ogrid[
            : ends[0], :channels, :rows, :columns, : self.size, : self.size
        ]
        pre = (c * height + y * self.stride + i) * width + x * self.stride + j
        weight = ((post * channels + c) * rows + y) * columns + x
        shape = (ends[0], channels, rows, columns)
        terms = np.broadcast_arrays(post, pre, weight)
        return _assembled(ends, shape, terms, factor=1 / self.size**2)


@dataclass(frozen=True)
class PerChannel:
    """All neurons of a channel of the target share the weights of the source's neurons.

    From constant inputs that is a bias of each channel. The target lines up its channels; weights
    have the shape [channel, pre].

    Parameters
    ----------
    channels : int
        Channels of the target, of one size.
    """

    channels: int

    def resolved(self, ends: tuple[int, int]) -> SharedWeights:
        """The weights between so many neurons, (n_post, n_pre); ValueError if they do not fit."""
        _check_numbers(self, {"channels": self.channels})
        if ends[0] % self.channels:
            raise ValueError(
                f"{self} does not fit: its target has {ends[0]} neurons, which are no whole number "
                f"of {self.channels} channels"
            )
        post, pre = np.ogrid[: ends[0], : ends[1]]
        channel = post // (ends[0] // self.channels)
        every = np.broadcast_arrays(post, pre, channel * ends[1] + pre)
        return _assembled(ends, (self.channels, ends[1]), every)


@dataclass(frozen=True, eq=False)
class Shared:
    """Any sharing: which weight each synapse has.

    Parameters
    ----------
    numbers : int array, shape (n_post, n_pre)
        The number of its weight for each pair, from 0 on; -1 where there is no synapse. Weights
        have the shape [number].
    """

    numbers: ArrayLike

    def resolved(self, ends: tuple[int, int]) -> SharedWeights:
        """The weights between so many neurons, (n_post, n_pre); ValueError if they do not fit."""
        numbers = np.asarray(self.numbers)
        if numbers.dtype.kind not in "iu" or numbers.shape != ends:
            raise ValueError(
                f"Shared takes whole numbers of shape {ends} [post, pre], not {numbers.dtype} "
                f"{numbers.shape}"
            )
        pairs = numbers >= 0
        used = np.unique(numbers[pairs])
        if not len(used) or len(used) != used[-1] + 1 or np.any(numbers < -1):
            raise ValueError(
                "Shared numbers weights from 0 on, each of which some synapse has, and -1 where "
                "there is no synapse"
            )
        post, pre = np.nonzero(pairs)
        return _assembled(ends, (len(used),), (post, pre, numbers[pairs].astype(np.int64)))


#: Ways of sharing weights, which a projection has in the place of its connectivity.
Sharing: TypeAlias = Convolution | AveragePooling | PerChannel | Shared
#: By the names that files have for them.
SHARING: dict[str, type[Sharing]] = {
    "convolution": Convolution,
    "average_pooling": AveragePooling,
    "per_channel": PerChannel,
    "shared": Shared,
}


def _places(shape: Sequence[int], size: int, stride: int) -> tuple[int, int]:
    """At how many rows and columns a window fits."""
    _, height, width = shape
    return (height - size) // stride + 1, (width - size) // stride + 1


def _check_numbers(sharing: Sharing, numbers: dict[str, Any]) -> None:
    for name, value in numbers.items():
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < 1:
            raise ValueError(f"{sharing}: {name} must be a whole number from 1 on, not {value!r}")


def _check_picture(sharing: Convolution | AveragePooling, size: int) -> None:
    shape: Any = sharing.shape
    if isinstance(shape, str) or not isinstance(shape, Sequence) or len(shape) != 3:
        raise ValueError(f"{sharing}: shape must be (channels, height, width), not {shape!r}")
    _check_numbers(sharing, dict(zip(("channels", "height", "width"), shape, strict=True)))
    if size > min(shape[1:]):
        raise ValueError(f"{sharing}: its size is larger than the picture")


def _check_size(sharing: Sharing, what: str, n: int, shape: tuple[int, ...]) -> None:
    if int(np.prod(shape)) != n:
        sizes = " x ".join(map(str, shape))
        raise ValueError(
            f"{sharing} does not fit: its {what} has {n} neurons, and must have {sizes} = "
            f"{int(np.prod(shape))}"
        )
