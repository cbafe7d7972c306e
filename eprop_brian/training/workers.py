"""Workers compute the shares of a batch side by side.

Trials of a batch are independent until the update. A batch is cut into shares of a fixed size
(`eprop_brian.network.built.SHARE`), workers compute the sums of each share, and this process adds
them up in the order of the trials and makes the update. The result is bit-identical for any number
of workers and any assignment of shares.

Local workers are threads of this process, each with a compiled program that runs as a process of
its own. On a cluster, Dask provides the workers. Both are executors in the sense of
`concurrent.futures`. (A local Dask cluster would do too, but took 10 ms to hand out a batch, a
fifth of the time that two cores need to compute a batch of evidence accumulation.)
"""

from __future__ import annotations

import os
import pickle
import threading
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np

from eprop_brian.base.sparse import Matrix
from eprop_brian.devices import ProcessProgram, Program, SimulationError
from eprop_brian.network.built import SHARE, Capacity
from eprop_brian.network.program import make_program
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.session import Session, Share, retried
from eprop_brian.training.state import Outcome, check_batches
from eprop_brian.training.trial_data import TrialData

__all__ = ["ParallelSession", "cores", "useful_workers"]

#: Neurons times steps times trials of a batch above which a second worker saves more time than
#: handing out the work takes: some 10 ms of computing.
_WORTH_SHARING = 5e6
#: Seconds to wait for a scheduler.
_PATIENCE = 10.0
#: Largest number of programs that a worker of a cluster keeps, one for each session.
_MOST_PROGRAMS = 4


def useful_workers(network: Network | Resolved, batch_size: int, n_steps: int) -> int:
    """Number of local workers that pay off: at most one per core, and one if batches are small."""
    if batch_size * n_steps * as_resolved(network).n_recurrent < _WORTH_SHARING:
        return 1
    return min(cores(), -(-batch_size // SHARE))


def cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ParallelSession(Session):
    """A `Session` whose trials are shared among workers.

    Parameters
    ----------
    network, learning_window, weights
        As for `Session`.
    example : Trials
        Trials of one call; their shapes count.
    device, dtype : str
    workers : int, optional
        Number of local workers. Each runs a compiled program as a separate process.
    scheduler : str, optional
        Address of a running Dask scheduler whose workers to use instead, e.g.
        ``"tcp://10.0.0.1:8786"``. They need this package and a C++ compiler.

    Raises
    ------
    ValueError
        If the device takes no workers or the scheduler cannot be reached.
    """

    def __init__(
        self,
        network: Network | Resolved,
        example: Trials,
        learning_window: int,
        weights: Mapping[str, Matrix],
        *,
        device: str,
        dtype: str,
        workers: int | None = None,
        scheduler: str | None = None,
    ) -> None:
        if device == "cuda":
            raise ValueError(
                "device 'cuda' runs the trials of a batch side by side in one process and takes no "
                "workers"
            )
        if device != "cpp":
            raise ValueError(f"workers run compiled programs: device 'cpp', not '{device}'")
        # Connecting may fail, and costs less than building the program.
        self._client = None if scheduler is None else _connect(scheduler)
        self._workers = workers
        share = _largest_share(example)
        super().__init__(network, make_program(device, dtype), share, learning_window, weights)
        spec = _SessionSpec(self.resolved, share, learning_window, device, dtype)
        self._spec = (uuid.uuid4().hex, pickle.dumps(spec))
        # Workers in this process use the program that was just built.
        _programs[self._spec[0]] = _of_process(self.program)
        self._executor: Executor = (
            ThreadPoolExecutor(workers, "worker")
            if self._client is None
            else self._client.get_executor(pure=False)
        )
        self._most_trials = example.n_trials
        self._finalizer = weakref.finalize(
            self, _disconnect, self._executor, self._client, self._spec[0]
        )

    @property
    def most_trials(self) -> int:
        """See `Session.most_trials`."""
        return self._most_trials

    def run(
        self,
        trials: Trials,
        batch_size: int,
        *,
        learning: bool = True,
        check_states: bool = False,
    ) -> Outcome:
        """See `Session.run`."""
        check_batches(trials, batch_size)
        at_once = batch_size if learning else trials.n_trials
        outcomes: list[Outcome] = []
        upcoming = self._cut(trials, 0, at_once)
        for start in range(0, trials.n_trials, at_once):
            futures = self._submit(upcoming, batch_size, learning, check_states)
            try:
                # The next shares are cut while the workers compute.
                upcoming = self._cut(trials, start + at_once, at_once)
                shares = [share for future in futures for share in future.result()]
            except BaseException as error:
                self._abandon(futures)
                if self._client is None or not isinstance(error, Exception):
                    raise
                if isinstance(error, SimulationError):
                    raise
                kind = type(error).__name__
                raise SimulationError(f"the cluster failed to compute: {kind}: {error}") from error
            if learning:
                self.update([share.sums for share in shares], batch_size)
            outcomes += [share.outcome for share in shares]
        reported = ("loss", "output", "rate", *(("is_number",) if check_states else ()))
        return Outcome(
            **{name: np.concatenate([getattr(o, name) for o in outcomes]) for name in reported}
        )

    def spikes(self) -> np.ndarray:
        """Raise ValueError: the trials ran in the programs of workers."""
        raise ValueError("spikes of a trial can only be read with one worker: workers=1")

    def close(self) -> None:
        """End the local workers and all programs."""
        self._finalizer()
        super().close()

    def _abandon(self, futures: list[Future]) -> None:
        """Stop running computations whose results are no longer needed."""
        token = self._spec[0]
        _abandoned.add(token)
        for future in futures:
            future.cancel()
        _interrupt(token)
        if self._client is None:
            wait(futures)
        _abandoned.discard(token)

    def _count(self) -> int:
        """Current number of workers."""
        return sum(self._client.nthreads().values()) if self._client else self._workers or cores()

    def _cut(self, trials: Trials, start: int, size: int) -> list[TrialData]:
        """Cut `size` trials from `start` on into shares; there are none beyond the end."""
        end = min(start + size, trials.n_trials)
        return [
            self.data(trials.part(slice(i, min(i + SHARE, end)))) for i in range(start, end, SHARE)
        ]

    def _submit(self, shares: Sequence[TrialData], batch_size: int, *how: bool) -> list[Future]:
        size = -(-len(shares) // max(1, self._count()))
        compute = partial(_compute, *self._spec)
        return [
            self._executor.submit(compute, self.weights, batch_size, *how, shares[i : i + size])
            for i in range(0, len(shares), size)
        ]


@dataclass(frozen=True)
class _SessionSpec:
    """Arguments from which a worker makes its session."""

    network: Resolved
    share: Trials
    learning_window: int
    device: str
    dtype: str


#: Programs built in this process, by token; closing a local session removes its program.
_programs: OrderedDict[str, ProcessProgram] = OrderedDict()
_building = threading.Lock()
#: The session of each thread, with its token.
_thread = threading.local()
#: Sessions of this process's threads, by token, and the tokens whose computations must stop.
_sessions: dict[str, list[Session]] = {}
_abandoned: set[str] = set()


def _compute(
    token: str,
    spec: bytes,
    weights: dict[str, Matrix],
    batch_size: int,
    learning: bool,
    check_states: bool,
    shares: Sequence[TrialData],
) -> list[Share]:
    """Compute shares of a batch in a worker, with the session that its thread keeps."""
    if getattr(_thread, "token", None) != token:
        _thread.session = _make_session(token, pickle.loads(spec), weights)
        _thread.token = token
        _sessions.setdefault(token, []).append(_thread.session)
    _thread.session.weights = weights

    def compute() -> list[Share]:
        if token in _abandoned:
            return []
        return _thread.session.shares(
            shares, batch_size, learning=learning, check_states=check_states
        )

    return retried(compute)


def _make_session(token: str, spec: _SessionSpec, weights: dict[str, Matrix]) -> Session:
    """Make the session of a thread, with a copy of the program that a process builds once."""

    def program(network: Resolved, capacity: Capacity) -> ProcessProgram:
        with _building:
            if token not in _programs:
                while len(_programs) >= _MOST_PROGRAMS:
                    old, _ = _programs.popitem(last=False)
                    _sessions.pop(old, None)
                program = make_program(spec.device, spec.dtype)(network, capacity)
                _programs[token] = _of_process(program)
            return _programs[token].copy()

    return Session(spec.network, program, spec.share, spec.learning_window, weights)


def _of_process(program: Program) -> ProcessProgram:
    """Narrow the type of a program: all devices of workers run it as a separate process."""
    return cast(ProcessProgram, program)


def _largest_share(example: Trials) -> Trials:
    """Trials as large as the largest share of these trials."""
    inputs, targets = (array[:SHARE] for array in (example.inputs, example.targets))
    n_trials = min(SHARE, example.n_trials)
    indices = np.zeros(n_trials, dtype=int)
    return replace(
        example,
        inputs=inputs,
        targets=targets,
        pattern=indices,
        target=indices,
        periods=None if example.periods is None else example.periods[: len(targets)],
    )


def _connect(scheduler: str) -> Any:
    """A client of a Dask cluster."""
    # Imported here because it takes half a second and most runs do not need it.
    try:
        import dask
        from distributed import Client
    except ImportError:
        raise ValueError(
            "a scheduler needs Dask: pip install distributed (local workers do not)"
        ) from None
    # The weights of a large network are sent with every batch on purpose.
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"})
    try:
        client = Client(scheduler, set_as_default=False, timeout=_PATIENCE)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot reach the Dask scheduler at {scheduler}: {error}") from None
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError:
        client.close()
        raise ValueError(f"the Dask scheduler at {scheduler} has no workers") from None
    return client


def _interrupt(token: str) -> None:
    """End the programs that threads of this process run for a session."""
    for session in _sessions.get(token, []):
        _of_process(session.program).interrupt()


def _disconnect(executor: Executor, client: Any, token: str) -> None:
    _programs.pop(token, None)
    _abandoned.add(token)
    _interrupt(token)
    _sessions.pop(token, None)
    executor.shutdown(wait=False)
    if client is not None:
        client.close()
