"""How much memory there is, and what is said before more than that is asked for."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["available_memory", "check_memory", "physical_memory", "shown_bytes"]

_MEMINFO = Path("/proc/meminfo")
#: The limits of a container: with the second and the first version of control groups.
_LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def available_memory() -> int:
    """Bytes that this process can have without another's being swapped out or killed.

    The least of what the system has, what a container leaves and what a limit of the shell does.
    """
    bounds = [physical_memory()]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = _MEMINFO.read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        bounds.append(1024 * int(line.split()[1]))
    for limit, used in _LIMITS:
        with contextlib.suppress(OSError, ValueError):  # "max": there is none
            bounds.append(max(0, int(limit.read_text()) - int(used.read_text())))
    limit_of_shell, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit_of_shell != resource.RLIM_INFINITY:
        bounds.append(limit_of_shell)
    return min(bounds)


def physical_memory() -> int:
    """Bytes of the whole machine: of one array the system reserves no more, used or not."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_memory(needed: Mapping[str, int], remedy: Callable[[float], str]) -> None:
    """Raise if there is not enough memory for some things together.

    Parameters
    ----------
    needed : mapping of str to int
        Bytes by what they are for.
    remedy : callable
        Says what would be right, given how much of the largest thing would fit, 0 to 1.

    Raises
    ------
    ValueError
        It names the largest, with the number of bytes, and what would fit.
    """
    total, there = sum(needed.values()), available_memory()
    if total <= there:
        return
    what, largest = max(needed.items(), key=lambda item: item[1])
    others = total > largest
    share = max(0, there - (total - largest)) / largest
    raise ValueError(
        f"{what} would need {shown_bytes(largest)}"
        + (f", and all together {shown_bytes(total)}{_besides(needed, what)}" if others else "")
        + f", of which there are {shown_bytes(there)}: {remedy(share)}"
    )


def _besides(needed: Mapping[str, int], largest: str) -> str:
    """What else is needed, the most first, without little things."""
    least = needed[largest] / 50
    others = [(size, what) for what, size in needed.items() if what != largest and size >= least]
    listed = [f"{what} {shown_bytes(size)}" for size, what in sorted(others, reverse=True)]
    return f" (besides {', '.join(listed)})" if listed else ""


def shown_bytes(number: float) -> str:
    """A number of bytes as people read it: ``17.2 GB``."""
    unit = 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.3g} {_UNITS[unit]}"
