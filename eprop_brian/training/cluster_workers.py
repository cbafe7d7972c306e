"""Workers of a Dask cluster.

To each, a batch brings the weights, as a program stores them, and shares of trials; back come the
sums of each share, which are added up here. There they are local workers, one for each thread that
the worker has.
"""

from __future__ import annotations

import pickle
import threading
import uuid
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from eprop_brian.devices import ProcessProgram, SimulationError
from eprop_brian.training.cluster import Cluster
from eprop_brian.training.local_workers import LocalWorkers
from eprop_brian.training.session import Share
from eprop_brian.training.state import Outcome
from eprop_brian.training.trial_data import TrialData
from eprop_brian.training.worker_session import How, WorkerSpec

__all__ = ["ClusterWorkers"]

T = TypeVar("T")

#: Most sessions for which a worker keeps programs.
_MOST_SESSIONS = 4


class ClusterWorkers:
    """The workers of a cluster compute shares of a batch.

    Parameters
    ----------
    cluster : Cluster
    spec : WorkerSpec
    weights : callable
        Gives the arrays that workers read, ``"group.variable"``.
    """

    def __init__(
        self, cluster: Cluster, spec: WorkerSpec, weights: Callable[[], Mapping[str, np.ndarray]]
    ) -> None:
        self.cluster, self._weights = cluster, weights
        self._spec = uuid.uuid4().hex, zlib.compress(pickle.dumps(spec))
        self._n_batches = 0

    def run(
        self,
        shares: Iterable[TrialData],
        how: How,
        add: Callable[[int, Mapping[str, np.ndarray]], None],
        meanwhile: Callable[[], T],
    ) -> tuple[list[Outcome], T]:
        """See `LocalWorkers.run`."""
        futures = self._submit([*shares], how)
        try:
            following = meanwhile()
            outcomes: list[Outcome] = []
            for future in futures:
                for share in self.cluster.result(future):
                    if how.learning:
                        add(len(outcomes), share.sums)
                    outcomes.append(share.outcome)
            return outcomes, following
        except BaseException as error:
            for future in futures:
                future.cancel()
            if isinstance(error, SimulationError) or not isinstance(error, Exception):
                raise
            kind = type(error).__name__
            raise SimulationError(f"the cluster failed to compute: {kind}: {error}") from error

    def close(self) -> None:
        """Leave the cluster."""
        self.cluster.close()

    def _submit(self, shares: Sequence[TrialData], how: How) -> list[Future]:
        """Hand out shares in proportion to threads, and weights to every worker once."""
        threads = self.cluster.compare()
        ends = np.cumsum([0, *threads.values()]) * len(shares) // max(1, sum(threads.values()))
        self._n_batches += 1
        compute = partial(_compute, *self._spec, self._n_batches, self._weights(), how)
        if not threads:
            return [self.cluster.submit(partial(compute, 1, shares))]
        return [
            self.cluster.submit(partial(compute, n, shares[first:last]), address)
            for (address, n), first, last in zip(threads.items(), ends, ends[1:], strict=False)
            if last > first
        ]


@dataclass
class _Held:
    """What a worker holds for a session: programs, and of which batch their weights are."""

    program: ProcessProgram
    workers: LocalWorkers
    batch: int = 0


#: By the token of the session.
_held: OrderedDict[str, _Held] = OrderedDict()
_lock = threading.RLock()


def _compute(
    token: str,
    spec: bytes,
    batch: int,
    weights: Mapping[str, np.ndarray],
    how: How,
    n_threads: int,
    shares: Sequence[TrialData],
) -> list[Share]:
    """Compute shares in a worker, by as many programs as it has threads."""
    with _lock:
        held = _taken(token, spec, n_threads)
        # What still computes an earlier batch does so for nobody.
        if held.batch < batch:
            for key, values in weights.items():
                held.program.view(key)[:] = values
            held.batch = batch
    sums: dict[int, dict[str, np.ndarray]] = {}

    def add(number: int, of_share: Mapping[str, np.ndarray]) -> None:
        sums[number] = {key: values.copy() for key, values in of_share.items()}

    outcomes, _ = held.workers.run(shares, how, add, lambda: None)
    return [Share(outcome, sums.get(number, {})) for number, outcome in enumerate(outcomes)]


def _taken(token: str, spec: bytes, n_threads: int) -> _Held:
    """What is held for a session; made if there is nothing yet."""
    if token not in _held:
        while len(_held) >= _MOST_SESSIONS:
            _held.popitem(last=False)[1].workers.close()
        made: WorkerSpec = pickle.loads(zlib.decompress(spec))
        program = made.program()
        _held[token] = _Held(program, LocalWorkers(made, program, n_threads))
    return _held[token]
