"""Workers on this machine: threads, each with a compiled program that runs as a process of its own.

They read the weights where the program has them that makes the updates, and their sums are added up
where they are: trials and small results are all that is copied.

(A local Dask cluster would do too, but took 10 ms to hand out a batch, a fifth of the time that two
cores need to compute a batch of evidence accumulation.)
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar, cast

import numpy as np

from eprop_brian.devices import ProcessProgram, ProgramKilledError, SimulationError
from eprop_brian.training.session import Session, retried
from eprop_brian.training.state import Outcome
from eprop_brian.training.trial_data import TrialData
from eprop_brian.training.worker_session import How, WorkerSpec

__all__ = ["LocalWorkers"]

T = TypeVar("T")


class LocalWorkers:
    """Threads that compute shares of a batch.

    Parameters
    ----------
    spec : WorkerSpec
    program : ProcessProgram
        That of the session that makes the updates.
    number : int

    Attributes
    ----------
    sessions : list of Session
        Of the threads that have worked.
    """

    def __init__(self, spec: WorkerSpec, program: ProcessProgram, number: int) -> None:
        self._spec, self._program, self._number = spec, program, number
        self._pool = ThreadPoolExecutor(number, "worker")
        self._of_thread = threading.local()
        self.sessions: list[Session] = []

    def run(
        self,
        shares: Iterable[TrialData],
        how: How,
        add: Callable[[int, Mapping[str, np.ndarray]], None],
        meanwhile: Callable[[], T],
    ) -> tuple[list[Outcome], T]:
        """Compute the shares of a batch.

        Parameters
        ----------
        shares : iterable of TrialData
            A share is handed to a worker as soon as it is cut.
        how : How
        add : callable
            Called with the number of a share and its sums, if it learns, in the order of shares;
            the first two in any order, as their sum is the same.
        meanwhile : callable
            Called while the workers compute.

        Returns
        -------
        outcomes : list of Outcome
            Of the shares.
        result
            That of `meanwhile`.

        Raises
        ------
        SimulationError
            If a program fails, or is killed again and again.
        """
        turns, begun = _Turns(), threading.Semaphore(0)

        def compute(number: int, share: TrialData) -> Outcome:
            begun.release()
            session = self._session()
            outcome = retried(lambda: self._share(session, share, how, turns))
            if how.learning:
                view, sums = session.program.view, session.program.built.sums
                turns.take(number, lambda: add(number, {key: view(key) for key in sums}))
            return outcome

        futures: list[Future[Outcome]] = []
        try:
            for number, share in enumerate(shares):
                futures.append(self._pool.submit(compute, number, share))
            # This thread must not keep the others from their processors, or from Python.
            for _ in range(min(len(futures), self._number)):
                begun.acquire()
            following = meanwhile()
            return [future.result() for future in futures], following
        except BaseException as error:
            self._abandon(futures, turns)
            if isinstance(error, ProgramKilledError):
                # For the caller it is a program that fails: it was tried again already.
                raise SimulationError(str(error)) from error
            raise

    def close(self) -> None:
        """End the programs, and the environments that they play in."""
        for session in self.sessions:
            _program_of(session).interrupt()
        self._pool.shutdown(wait=False)
        with contextlib.ExitStack() as stack:  # all, even if one fails
            for session in self.sessions:
                stack.callback(session.stop_playing)

    def _session(self) -> Session:
        """The session of this thread."""
        if not hasattr(self._of_thread, "session"):
            self._of_thread.session = self._spec.session(self._program)
            self.sessions.append(self._of_thread.session)
        return self._of_thread.session

    def _share(self, session: Session, share: TrialData, how: How, turns: _Turns) -> Outcome:
        if turns.over:
            raise SimulationError("the batch was abandoned")
        return session.share(share, how.batch_size, how.learning, how.check_states, how.greedy)

    def _abandon(self, futures: list[Future], turns: _Turns) -> None:
        """Stop computing what nobody needs any more."""
        turns.end()
        for future in futures:
            future.cancel()
        for session in self.sessions:
            _program_of(session).interrupt()
        wait(futures)


def _program_of(session: Session) -> ProcessProgram:
    return cast(ProcessProgram, session.program)


class _Turns:
    """Lets threads act in the order of their numbers, but for the first two."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._n_done = 0
        self.over = False

    def take(self, number: int, act: Callable[[], None]) -> None:
        """Act when it is the turn of this number, unless all is over."""
        with self._condition:
            self._condition.wait_for(lambda: number <= max(self._n_done, 1) or self.over)
            if not self.over:
                act()
                self._n_done += 1
                self._condition.notify_all()

    def end(self) -> None:
        """Whoever waits goes on without acting."""
        with self._condition:
            self.over = True
            self._condition.notify_all()
