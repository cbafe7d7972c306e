"""Makes the session of a network: one process, several workers, or JAX."""

from __future__ import annotations

from collections.abc import Mapping

from eprop_brian.base.sparse import Matrix
from eprop_brian.network.program import make_program
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.jax_session import make_bptt_session
from eprop_brian.training.session import Session
from eprop_brian.training.state import LearningSession
from eprop_brian.training.workers import ParallelSession, useful_workers

__all__ = ["make_session"]


def make_session(
    network: Network | Resolved,
    example: Trials,
    window: int,
    weights: Mapping[str, Matrix],
    *,
    batch_size: int,
    device: str,
    dtype: str,
    workers: int | None,
    scheduler: str | None,
    threads: int = 1,
) -> LearningSession:
    """Make the session for a network; without `workers`, with as many as pay off.

    Parameters
    ----------
    network : Network or Resolved
    example : Trials
        The largest set of trials of one call.
    window : int
        Steps at the end of a trial in which the error counts.
    weights : mapping
    batch_size, device, dtype, workers, scheduler, threads
        As for `Trainer`.

    Raises
    ------
    ValueError
        If something does not fit.
    """
    if as_resolved(network).gradient == "bptt":
        return make_bptt_session(network, example, window, weights, device=device, dtype=dtype)
    if workers is None and scheduler is None:
        n_steps = example.inputs.shape[1]
        workers = useful_workers(network, batch_size, n_steps) if device == "cpp" else 1
    if workers == 1 and scheduler is None:
        options = {"threads": threads} if threads > 1 else {}
        program = make_program(device, dtype, **options)
        return Session(network, program, example, window, weights)
    return ParallelSession(
        network,
        example,
        window,
        weights,
        device=device,
        dtype=dtype,
        workers=workers,
        scheduler=scheduler,
    )
