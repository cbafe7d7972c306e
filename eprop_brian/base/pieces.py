"""Long arrays, computed piece by piece: in the processor's cache, and on all of its cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["cores", "in_pieces"]

#: Elements of a piece: so many numbers of 8 bytes, a few times over, fit into a core's cache.
_PIECE = 2**15


def cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_pieces(compute: Callable[[slice], None], size: int, piece: int = _PIECE) -> None:
    """Call a function for the pieces of an array, on as many threads as there are cores.

    Parameters
    ----------
    compute : callable
        Computes the elements of a slice. What it makes of an element must depend on no other, so
        that the result is the same for any number of threads. NumPy lets go of Python meanwhile.
    size : int
        Elements of the array.
    piece : int
        Elements of a piece.
    """
    pieces = [slice(first, min(first + piece, size)) for first in range(0, size, piece)]
    threads = min(cores(), len(pieces))
    if threads < 2:
        for some in pieces:
            compute(some)
        return
    with ThreadPoolExecutor(threads) as pool:
        # Several at a time: to hand out a piece takes longer than a part of it.
        for _ in pool.map(lambda first: [*map(compute, pieces[first::threads])], range(threads)):
            pass
