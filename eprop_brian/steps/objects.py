"""Brian2 objects, of which a network has dozens, made without what nobody asks of them.

Each writes its clock's time step, in the unit that suits it best, into Brian2's log, remembers the
lines of the program that led to it, and has its equations parsed and their names checked. That is
much of the time that a network takes to be built, and the same for all of them.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import brian2.core.base
from brian2 import Clock
from brian2.equations.equations import Equations

__all__ = ["StepClock", "equations", "of_the_package"]

#: What `brian2.core.base` finds where it looks for the lines that led to an object.
_NO_LINES = SimpleNamespace(**{**vars(traceback), "extract_stack": list})


class StepClock(Clock):
    """A clock whose text is made once."""

    #: Brian2 looks in the class itself for what can be set.
    dt, dt_ = Clock.dt, Clock.dt_

    def __repr__(self) -> str:
        return self._text

    @functools.cached_property
    def _text(self) -> str:
        return super().__repr__()


@functools.lru_cache(maxsize=1024)
def equations(model: str) -> Equations:
    """The equations of a group; they never change, so groups with the same text share them."""
    return Equations(model)


@contextmanager
def of_the_package() -> Iterator[None]:
    """Let Brian2 note no lines for the objects that are made meanwhile: all are the package's own.

    Where another thread makes an object of its own meanwhile, it has none either; Brian2 quotes
    them in errors of that object.
    """
    brian2.core.base.traceback = _NO_LINES
    try:
        yield
    finally:
        brian2.core.base.traceback = traceback
