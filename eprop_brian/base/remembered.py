"""Results that are remembered by what the arguments hold."""

from __future__ import annotations

import functools
import pickle
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import ParamSpec, TypeVar

from eprop_brian.base.printable import noting_warnings

__all__ = ["remembered"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
#: Bytes of the largest arguments that are remembered: results are as large.
_LARGEST = 10**6


def remembered(
    size: int, depends: Callable[[], Hashable]
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Let a function remember its last results, also for arguments that cannot be hashed.

    Arguments are the same if they are the same bytes as a pickle, so those that are changed later
    do no harm. Those that cannot be pickled, or are large, are worked out anew each time, and so is
    what comes with a warning, which is due each time. The results are shared: nobody may change
    them.

    Parameters
    ----------
    size : int
        Number of results.
    depends : callable
        What else the result follows from, at each call.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        results: OrderedDict[Hashable, _R] = OrderedDict()

        @functools.wraps(function)
        def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                content = pickle.dumps((args, kwargs))
            except (pickle.PicklingError, TypeError, AttributeError):
                return function(*args, **kwargs)
            if len(content) > _LARGEST:
                return function(*args, **kwargs)
            key = content, depends()
            if key in results:
                results.move_to_end(key)
                return results[key]
            with noting_warnings() as warned:
                result = function(*args, **kwargs)
            if not warned:
                results[key] = result
            if len(results) > size:
                results.popitem(last=False)
            return result

        return wrapper

    return decorate
