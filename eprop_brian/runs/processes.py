"""Jobs in processes of their own, which save what they have when they are interrupted."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from typing import Any

from eprop_brian.base.interrupts import (
    begun_without_interrupts,
    let_interrupts_through,
    raising_interrupts,
)
from eprop_brian.devices import SimulationError

__all__ = ["in_processes"]


def in_processes(
    work: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    options: Mapping[str, Any],
    n_processes: int,
    finished: Callable[[int, Any], None],
) -> None:
    """Do jobs side by side.

    When one fails, or this process is interrupted, all that are being done are interrupted, as by
    Ctrl-C, and waited for. When this process is killed, they are interrupted too.

    Parameters
    ----------
    work : callable
        It and its arguments must be picklable.
    jobs : sequence of tuple
        Arguments of `work`.
    options : mapping
        Keyword arguments of all jobs.
    n_processes : int
    finished : callable
        Called here after every job, with its number and what `work` returned.

    Raises
    ------
    SimulationError
        If a process was killed.
    """
    # Not forked: threads and handlers of this process would not survive that.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    stopping = context.Event()
    with ProcessPoolExecutor(n_processes, context, _start, (stopping,)) as pool:
        futures: dict[Future[Any], int] = {}
        try:
            with begun_without_interrupts():
                for number, job in enumerate(jobs):
                    futures[pool.submit(_interruptibly, work, job, options)] = number
            for future in as_completed(futures):
                finished(futures[future], future.result())
        except BaseException as error:
            # Before the signals: a job that has been handed out already must not begin after them.
            stopping.set()
            if not isinstance(error, BrokenProcessPool):  # which ends them all
                for future in futures:
                    future.cancel()
            for process in set(multiprocessing.active_children()) - others:
                if process.pid is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGINT)
            if isinstance(error, BrokenProcessPool):
                raise SimulationError(
                    "a process that trained some of the runs was killed, perhaps because memory "
                    "ran out: fewer side by side need less"
                ) from None
            raise


#: In a process that does jobs: whether it should begin no more, and whether it waits for one.
_stopping: Event | None = None
_waits = threading.Event()


def _start(stopping: Event) -> None:
    """Leave signals without effect while a process waits for a job."""
    global _stopping
    _stopping = stopping
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Not ignored, which would stay so during a job.
        signal.signal(number, lambda *_: None)
    let_interrupts_through()
    _waits.set()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that hands out the jobs was killed, after saving its job."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this runs in a process of a pool
    parent.join()
    signal.raise_signal(signal.SIGTERM)
    _waits.wait()
    os._exit(1)


def _interruptibly(
    work: Callable[..., Any], arguments: Sequence[Any], options: Mapping[str, Any]
) -> Any:
    _waits.clear()
    try:
        with raising_interrupts():
            if _stopping is not None and _stopping.is_set():
                raise KeyboardInterrupt
            return work(*arguments, **options)
    finally:
        _waits.set()
