"""Memory that a compiled program shares with Python, so that arrays need not be sent.

Arrays stand in two stretches. `KEPT` has what only updates change, weights and the states of
optimizers: all programs of a network may share it, of which one makes the updates. `OWN` has what a
process needs for itself. A stretch is a file without a name, which both sides map.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
import weakref
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["KEPT", "NOTHING", "OWN", "Place", "Plan", "SharedMemory", "arrange"]

KEPT, OWN = 0, 1

#: Arrays begin with a cache line, and none is at the same distance from it as its neighbour.
_LINE = 64
#: A large page. What is larger than two, as a history is, has pages of the program's own, unless it
#: goes in and out of calls: not every system gives large pages to memory that is shared.
_PAGE = 2**21


@dataclass(frozen=True)
class Place:
    """Where an array is."""

    stretch: int
    offset: int
    dtype: np.dtype
    size: int


@dataclass(frozen=True)
class Plan:
    """Where all arrays are that a program shares.

    Attributes
    ----------
    places : mapping of str to Place
        By ``"group.variable"``.
    sizes : tuple of int
        Bytes of the stretches.
    """

    places: Mapping[str, Place]
    sizes: tuple[int, int]


#: That of a program which shares no array.
NOTHING = Plan({}, (0, 0))


def arrange(
    arrays: Mapping[str, tuple[np.dtype, int]], kept: Collection[str], exchanged: Collection[str]
) -> Plan:
    """Give arrays places.

    Parameters
    ----------
    arrays : mapping of str to (dtype, int)
        Types and numbers of elements, by ``"group.variable"``.
    kept : collection of str
        Those that only updates change.
    exchanged : collection of str
        Others that go in and out of calls, however large they are.
    """
    places, ends = {}, [0, 0]
    for key, (dtype, size) in arrays.items():
        n_bytes, stretch = size * dtype.itemsize, KEPT if key in kept else OWN
        is_large = n_bytes >= 2 * _PAGE
        if is_large and key not in kept and key not in exchanged:
            continue
        unit = _PAGE if is_large else _LINE
        offset = -(-ends[stretch] // unit) * unit
        places[key] = Place(stretch, offset, dtype, size)
        ends[stretch] = offset + (n_bytes // _LINE + 1) * _LINE
    return Plan(places, (ends[KEPT], ends[OWN]))


class SharedMemory:
    """Zeros that another process may map.

    Parameters
    ----------
    size : int
        Bytes.

    Attributes
    ----------
    descriptor : int
        Of the file, which is open as long as this object is there.

    Raises
    ------
    OSError
        If there is no room.
    """

    def __init__(self, size: int) -> None:
        self.descriptor = _nameless_file()
        weakref.finalize(self, os.close, self.descriptor)
        os.ftruncate(self.descriptor, max(1, size))
        self._map = mmap.mmap(self.descriptor, max(1, size))

    def array(self, place: Place) -> np.ndarray:
        """An array at its place."""
        return np.frombuffer(self._map, place.dtype, place.size, place.offset)


def _nameless_file() -> int:
    """The descriptor of an empty file that goes when nobody has it open."""
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):  # a kernel without it
            return os.memfd_create("eprop_brian")
    with tempfile.TemporaryFile(prefix="eprop_brian_") as file:
        return os.dup(file.fileno())
