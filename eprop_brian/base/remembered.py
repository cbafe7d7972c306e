"""Results that are remembered by what the arguments hold."""

from __future__ import annotations

import functools
import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import ParamSpec, TypeVar

from eprop_brian.base.printable import noting_warnings

__all__ = ["remembered"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
#: Bytes of the largest arguments that are remembered.
_LARGEST = 10**6


def remembered(
    size: int, depends: Callable[[], Hashable]
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Let a function remember its last results, also for arguments that cannot be hashed.

    Arguments are the same if they are the same bytes as a pickle. The function gets copies of them,
    so a result holds nothing that a caller may change later. What cannot be pickled, or is large,
    is worked out anew each time, and so is what comes with a warning, which is due each time. The
    results are shared: nobody may change them.

    Parameters
    ----------
    size : int
        Number of results.
    depends : callable
        What else the result follows from, at each call.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        results: OrderedDict[Hashable, _R] = OrderedDict()
        lock = threading.Lock()

        @functools.wraps(function)
        def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                content = pickle.dumps((args, kwargs))
            except Exception:  # whatever an argument's own way of being pickled raises
                return function(*args, **kwargs)
            if len(content) > _LARGEST:
                return function(*args, **kwargs)
            key = content, depends()
            with lock:
                if key in results:
                    results.move_to_end(key)
                    return results[key]
            args, kwargs = pickle.loads(content)
            with noting_warnings() as warned:
                result = function(*args, **kwargs)
            if not warned:
                with lock:
                    results[key] = result
                    if len(results) > size:
                        results.popitem(last=False)
            return result

        return wrapper

    return decorate
