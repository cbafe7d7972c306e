"""Workers compute the shares of a batch side by side.

Trials of a batch are independent until the update. A batch is cut into shares of a fixed size
(`eprop_brian.network.built.SHARE`), workers compute the sums of each share, and this process adds
them up in the order of the trials (the first two in any order, which is the same sum) and has its
program make the update. The result is bit-identical for any number of workers and any assignment of
shares.

Workers are threads of this process (`local_workers`), or those of a Dask cluster
(`cluster_workers`).
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import count
from typing import cast

import numpy as np

from eprop_brian.base.pieces import cores
from eprop_brian.base.sparse import Matrix
from eprop_brian.devices import ProcessProgram
from eprop_brian.network.built import SHARE, BuiltNetwork
from eprop_brian.network.program import make_program
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.cluster import Cluster
from eprop_brian.training.cluster_workers import ClusterWorkers
from eprop_brian.training.local_workers import LocalWorkers
from eprop_brian.training.session import Session
from eprop_brian.training.state import Outcome, check_batches
from eprop_brian.training.trial_data import TrialData
from eprop_brian.training.worker_session import How, WorkerSpec, largest_share

__all__ = ["ParallelSession", "useful_workers"]

#: Neurons times steps times trials of a batch above which a second worker saves more time than
#: handing out the work takes: some 10 ms of computing.
_WORTH_SHARING = 5e6


def useful_workers(network: Network | Resolved, batch_size: int, n_steps: int) -> int:
    """Number of local workers that pay off: at most one per core, and one if batches are small."""
    if batch_size * n_steps * as_resolved(network).n_recurrent < _WORTH_SHARING:
        return 1
    return min(cores(), -(-batch_size // SHARE))


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
        ``"tcp://10.0.0.1:8786"``. They need a C++ compiler and this package in the same version,
        which is compared when a worker joins.

    Raises
    ------
    ValueError
        If the device takes no workers, the scheduler cannot be reached, or a worker would compute
        other numbers.
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
        cluster = None if scheduler is None else Cluster(scheduler)
        share = largest_share(example)
        super().__init__(network, make_program(device, dtype), share, learning_window, weights)
        spec = WorkerSpec(self.resolved, share, learning_window, device, dtype)
        program = cast(ProcessProgram, self.program)
        self.workers: LocalWorkers | ClusterWorkers = (
            LocalWorkers(spec, program, workers or cores())
            if cluster is None
            else ClusterWorkers(cluster, spec, partial(_read_by_workers, program))
        )
        self._most_trials = example.n_trials
        self._finalizer = weakref.finalize(self, self.workers.close)

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
        greedy: bool = False,
    ) -> Outcome:
        """See `Session.run`."""
        check_batches(trials, batch_size)
        how = How(batch_size, learning, check_states, greedy)
        return self._called(lambda: self._batches(trials, how), learning, late=True)

    def _batches(self, trials: Trials, how: How) -> Outcome:
        """Run batches, one after the other."""
        at_once = how.batch_size if how.learning else trials.n_trials
        outcomes: list[Outcome] = []
        # A share is handed out as soon as it is cut.
        upcoming: Iterable[TrialData] = self._cut(trials, 0, at_once)
        for start in range(0, trials.n_trials, at_once):
            following = partial(self._meanwhile, trials, start + at_once, at_once, how)
            n_added = count()

            def add(_: int, sums: Mapping[str, np.ndarray], n_added: count = n_added) -> None:
                self._add(next(n_added), sums)

            found, upcoming = self.workers.run(upcoming, how, add, following)
            outcomes += found
            if how.learning:
                self._make_update(how.batch_size)
        return Outcome.joined(outcomes)

    def _meanwhile(self, trials: Trials, start: int, size: int, how: How) -> list[TrialData]:
        """What can be done while the workers compute; cuts the next shares."""
        if how.learning:
            self._remember()
            self._clear_sums()
        return [*self._cut(trials, start, size)]

    def spikes(self) -> np.ndarray:
        """Raise ValueError: the trials ran in the programs of workers."""
        raise ValueError("spikes of a trial can only be read with one worker: workers=1")

    def close(self) -> None:
        """End the local workers and all programs."""
        self._finalizer()
        super().close()

    def _cut(self, trials: Trials, start: int, size: int) -> Iterator[TrialData]:
        """Cut `size` trials from `start` on into shares; there are none beyond the end."""
        end = min(start + size, trials.n_trials)
        for i in range(start, end, SHARE):
            yield self.data(trials.part(slice(i, min(i + SHARE, end))))


def _read_by_workers(program: ProcessProgram) -> dict[str, np.ndarray]:
    """The weights, in a program's arrays."""
    built = cast(BuiltNetwork, program.built)
    return {key: program.view(key) for key in built.read_by_workers}
