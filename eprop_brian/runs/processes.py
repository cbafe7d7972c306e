"""Jobs in processes of their own, which save what they have when they are interrupted."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.synchronize import Event
from typing import Any

from eprop_brian.base.interrupts import raising_interrupts

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
    Ctrl-C, and waited for.

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
    """
    # Not forked: threads and handlers of this process would not survive that.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    stopping = context.Event()
    with ProcessPoolExecutor(n_processes, context, _start, (stopping,)) as pool:
        futures = {
            pool.submit(_interruptibly, work, job, options): number
            for number, job in enumerate(jobs)
        }
        try:
            for future in as_completed(futures):
                finished(futures[future], future.result())
        except BaseException:
            # Before the signals: a job that has been handed out already must not begin after them.
            stopping.set()
            for future in futures:
                future.cancel()
            for process in set(multiprocessing.active_children()) - others:
                if process.pid is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGINT)
            raise


#: In a process that does jobs: whether it should begin no more.
_stopping: Event | None = None


def _start(stopping: Event) -> None:
    """Leave signals without effect while a process waits for a job."""
    global _stopping
    _stopping = stopping
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Not ignored, which would stay so during a job.
        signal.signal(number, lambda *_: None)


def _interruptibly(
    work: Callable[..., Any], arguments: Sequence[Any], options: Mapping[str, Any]
) -> Any:
    with raising_interrupts():
        if _stopping is not None and _stopping.is_set():
            raise KeyboardInterrupt
        return work(*arguments, **options)
