"""The trainer: a network learns a task on a device."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from eprop_brian.devices import make_program
from eprop_brian.equations.losses import LOSSES
from eprop_brian.interrupts import uninterrupted
from eprop_brian.network.delays import check_fits
from eprop_brian.network.optimization import learning_rate
from eprop_brian.network.sparse import Matrix, dense
from eprop_brian.network.spec import Network, check_positive
from eprop_brian.tasks.base import Task, Trials, rng_for
from eprop_brian.training.history import History
from eprop_brian.training.session import Outcome, Session, SessionState
from eprop_brian.training.workers import ParallelSession, useful_workers

if TYPE_CHECKING:
    from eprop_brian.training.bptt import BpttSession

__all__ = [
    "CHECK_EVERY",
    "VALIDATION_BATCHES",
    "VALIDATION_BATCH_SIZE",
    "Evaluation",
    "Trainer",
    "TrainingError",
    "check_continuous",
    "check_fit",
    "iterations_per_call",
    "join_trials",
    "make_bptt_session",
    "require_jax",
]

#: Trials of one call of the compiled program, about: enough that starting it costs nothing.
_TRIALS_PER_CALL = 640
#: Most iterations of one call: how often progress is shown and a checkpoint can be made.
_MOST_ITERATIONS = 100
#: Iterations between checks whether the task is solved.
CHECK_EVERY = 10
#: Size of a validation: fresh batches of so many trials.
VALIDATION_BATCHES, VALIDATION_BATCH_SIZE = 8, 64


class TrainingError(RuntimeError):
    """Training went wrong in a way that more of it cannot mend (for example a NaN loss)."""


@dataclass(frozen=True)
class Evaluation:
    """Result of fresh trials without learning.

    Attributes
    ----------
    loss : float
        Mean over the trials.
    error : float
        Fraction of wrong trials; NaN where the task defines none.
    rate_hz : float
    n_trials : int
    """

    loss: float
    error: float
    rate_hz: float
    n_trials: int

    def __str__(self) -> str:
        error = "" if np.isnan(self.error) else f" error {self.error:.4f}"
        return f"loss {self.loss:.6g}{error}"


def join_trials(parts: Sequence[Trials]) -> Trials:
    """Join trials; patterns and targets shared by several parts are stored once."""
    first = parts[0]
    if any(part.n_answers != first.n_answers for part in parts):
        raise ValueError("trials with different numbers of answers cannot be joined")
    pattern_parts, pattern = _stored_once(parts, "inputs", "pattern")
    target_parts, target = _stored_once(parts, "targets", "target")
    return Trials(
        inputs=_joined([part.inputs for part in pattern_parts]),
        targets=_joined([part.targets for part in target_parts]),
        pattern=pattern,
        target=target,
        periods=_joined([part.periods for part in target_parts]) if first.n_answers else None,
        n_answers=first.n_answers,
    )


def _stored_once(
    parts: Sequence[Trials], stored: str, index: str
) -> tuple[list[Trials], np.ndarray]:
    """Parts with an array of their own, and where the trials find their rows in all of them."""
    beginnings: dict[tuple[int, int], int] = {}
    owners, indices, n_rows = [], [], 0
    for part in parts:
        array = getattr(part, stored)
        # Equal targets may count in different steps.
        key = id(array), id(part.periods) if stored == "targets" else 0
        if key not in beginnings:
            beginnings[key] = n_rows
            owners.append(part)
            n_rows += len(array)
        indices.append(getattr(part, index) + beginnings[key])
    return owners, np.concatenate(indices)


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]


class Trainer:
    """A network that learns a task.

    Parameters
    ----------
    network : Network
    task : Task
    batch_size : int
        Trials per update.
    seed : int
        Of the initial weights and of all trials.
    device : {"cpp", "cuda", "runtime"}
        Where it runs (`eprop_brian.devices`). With ``gradient="bptt"`` it runs where JAX runs.
    dtype : {"float64", "float32"}
        Float type of all state.
    weights : dict, optional
        Initial weights as `Network.initial_weights` gives them, each dense or `scipy.sparse`;
        default: drawn from the seed. A sparse matrix must be 0 where the network has no synapse.
    workers : int, optional
        Processes that share the trials of a batch. Default: as many as there are cores if batches
        are large enough to pay. The result is the same to the bit for any number of them.
    scheduler : str, optional
        Address of a running Dask scheduler whose workers share the trials instead.

    Attributes
    ----------
    history : History
    iteration : int
        Iterations done.
    validation : Evaluation or None
        The last test of the task's criterion.
    solved : bool
        Whether training stopped because that criterion was met.
    session : Session or BpttSession
        Weights (``session.weights``), optimizer states and the program.

    Raises
    ------
    ValueError
        If network and task do not fit together.
    CompilerMissingError
        For ``cpp`` and ``cuda`` without a compiler.
    """

    def __init__(
        self,
        network: Network,
        task: Task,
        *,
        batch_size: int = 1,
        seed: int = 0,
        device: str = "cpp",
        dtype: str = "float64",
        weights: Mapping[str, Matrix] | None = None,
        workers: int | None = None,
        scheduler: str | None = None,
    ) -> None:
        check_positive("batch_size", batch_size)
        check_fit(network, task)
        if network.continuous:
            check_continuous(network, batch_size, workers, scheduler)
            workers = 1
        elif network.gradient == "bptt":
            _check_bptt(device, workers, scheduler)
            workers = 1
        self.network, self.task = network, task
        self.batch_size, self.seed, self.dtype = int(batch_size), int(seed), dtype
        self.history = History()
        self.solved = False
        self.validation: Evaluation | None = None
        # State and iteration before a call that has not ended.
        self._before: tuple[dict[str, Matrix], int] | None = None
        self._per_call = iterations_per_call(network, self.batch_size)
        example = self._trials("train", range(self._per_call))
        _check_workers(workers, scheduler)
        initial = dict(weights) if weights is not None else network.initial_weights(self.seed)
        if workers is None and scheduler is None:
            useful = device == "cpp"
            workers = useful_workers(network, self.batch_size, task.n_steps) if useful else 1
        window = task.learning_window
        if network.gradient == "bptt":
            self.session: SessionState = make_bptt_session(network, example, window, initial, dtype)
        elif workers == 1 and scheduler is None:
            program = make_program(device, dtype)
            self.session = Session(network, program, example, window, initial)
        else:
            self.session = ParallelSession(
                network,
                example,
                window,
                initial,
                device=device,
                dtype=dtype,
                workers=workers,
                scheduler=scheduler,
            )

    def close(self) -> None:
        """End the processes that run the network."""
        self.session.close()

    @property
    def iteration(self) -> int:
        """Iterations done."""
        return len(self.history)

    def alignment(self) -> float:
        """Cosine of the angle between the feedback weights B and the transposed readout weights.

        NaN if either is 0.
        """
        b, w_out = self.session.weights["B"], dense(self.session.weights["w_out"])
        size = np.linalg.norm(b) * np.linalg.norm(w_out)
        return float(np.sum(b * w_out.T) / size) if size > 0 else float("nan")

    def train(
        self,
        iterations: int,
        *,
        stop_when_solved: bool = True,
        progress: bool = True,
        after_call: Callable[[Trainer], None] | None = None,
    ) -> History:
        """Train until `iterations` iterations are done in all, or the task is solved.

        Parameters
        ----------
        iterations : int
            Total number, those done before included.
        stop_when_solved : bool
            Every 10 iterations, where the task defines an error threshold and the mean error of
            the last 10 batches comes near it, test on 8 fresh batches of 64 trials and stop if
            their error is below it.
        progress : bool
            Show a progress bar with loss and error.
        after_call : callable, optional
            Called with the trainer after every call of the program, e.g. to save a checkpoint.

        Returns
        -------
        History

        Raises
        ------
        TrainingError
            If the loss is no longer finite. The state is that of the last good call.
        """
        self.solved = stop_when_solved and self.iteration > 0 and self._is_solved()
        if self.solved:
            return self.history
        bar = tqdm(
            total=iterations, initial=self.iteration, unit="it", disable=not progress, leave=True
        )
        with bar, contextlib.closing(self._calls(iterations)) as calls:
            for numbers, trials in calls:
                # An interrupt too must not leave weights without history.
                with self.provisional():
                    self._iterate(numbers, trials)
                    self._before = None
                self._show(bar)
                bar.update(len(numbers))
                if stop_when_solved and self._is_solved():
                    self.solved = True
                if after_call is not None:
                    after_call(self)
                if self.solved:
                    break
        return self.history

    @contextlib.contextmanager
    def provisional(self) -> Iterator[None]:
        """Take back, at the end of a block, what a call in it has changed."""
        self._before = self.session.state(), self.iteration
        try:
            yield
        finally:
            self.take_back()

    def take_back(self) -> None:
        """Go back to the state before a call that has not ended; nothing if there is none."""
        with uninterrupted():
            if self._before is not None:
                state, iteration = self._before
                self.session.restore(state)
                self.history = self.history.truncated(iteration)
                self._before = None

    def evaluate(
        self,
        n_batches: int = VALIDATION_BATCHES,
        batch_size: int = VALIDATION_BATCH_SIZE,
        stream: str = "test",
    ) -> Evaluation:
        """Run fresh trials without learning.

        The same stream and sizes give the same trials. Where a task has one frozen trial, it is
        run once.

        Parameters
        ----------
        n_batches, batch_size : int
        stream : str
            Which stream of trials; ``"train"`` is what the network learns from.
        """
        losses, errors, rates = [], [], []
        previous: Trials | None = None
        most = self.session.most_trials
        for index in range(n_batches):
            batch = self.task.trials(self.seed, stream, index, batch_size)
            if len(batch.inputs) == len(batch.targets) == 1:
                if previous is not None and batch.inputs is previous.inputs:
                    break  # a frozen pattern: every further trial would be the same
                previous = batch
                batch = batch.part(slice(1))
            for first in range(0, batch.n_trials, most):
                part = batch.part(slice(first, first + most))
                outcome = self.session.run(part, part.n_trials, learning=False)
                losses.append(outcome.loss)
                rates.append(outcome.rate)
                wrong = self.task.errors(outcome.output, part)
                errors.append(np.full(part.n_trials, np.nan) if wrong is None else wrong)
        loss = np.concatenate(losses)
        return Evaluation(
            loss=float(loss.mean()),
            error=float(np.concatenate(errors).mean()),
            rate_hz=float(np.concatenate(rates).mean()),
            n_trials=len(loss),
        )

    def _trials(self, stream: str, indices: Sequence[int]) -> Trials:
        parts = [self.task.trials(self.seed, stream, i, self.batch_size) for i in indices]
        return join_trials(parts)

    def _calls(self, iterations: int) -> Iterator[tuple[range, Trials]]:
        """Iteration numbers and trials of each call; the next trials are made meanwhile."""
        ranges = []
        first = self.iteration
        while first < iterations:
            # Calls end at the same iterations whether or not a run was interrupted.
            last = min(iterations, (first // self._per_call + 1) * self._per_call)
            ranges.append(range(first, last))
            first = last
        with ThreadPoolExecutor(max_workers=1) as pool:
            upcoming = None
            for number, numbers in enumerate(ranges):
                trials = upcoming.result() if upcoming else self._trials("train", numbers)
                if number + 1 < len(ranges):
                    upcoming = pool.submit(self._trials, "train", ranges[number + 1])
                yield numbers, trials

    def _iterate(self, numbers: range, trials: Trials) -> None:
        start = time.perf_counter()
        outcome = self.session.run(trials, self.batch_size)
        seconds = (time.perf_counter() - start) / len(numbers)
        bad = np.flatnonzero(~np.isfinite(outcome.loss))
        if len(bad) or not self.session.is_finite():
            first = numbers[int(bad[0]) // self.batch_size] if len(bad) else numbers[-1]
            raise TrainingError(
                f"the loss is no longer finite at iteration {first + 1}; try a smaller "
                f"learning rate (now {self.network.optimizer.parameters.get('eta')})"
            )
        if self.network.rewiring is not None:
            # Of the iteration alone, so that a run that was stopped goes on as it would have.
            rng = rng_for(self.seed, "rewiring", self.session.n_updates)
            self.session.rewire(learning_rate(self.network.optimizer, self.session.n_updates), rng)
        self._record(outcome, trials, seconds)

    def _record(self, outcome: Outcome, trials: Trials, seconds: float) -> None:
        wrong = self.task.errors(outcome.output, trials)
        errors = np.full(trials.n_trials, np.nan) if wrong is None else wrong
        shape = (-1, self.batch_size)
        columns = [a.reshape(shape).mean(axis=1) for a in (outcome.loss, errors, outcome.rate)]
        alignment = np.full(len(columns[0]), np.nan)
        alignment[-1] = self.alignment()
        for loss, error, rate, aligned in zip(*columns, alignment, strict=True):
            self.history.append(loss, error, rate, seconds, aligned)

    def _is_solved(self) -> bool:
        threshold = self.task.error_threshold
        if threshold is None or self.iteration % CHECK_EVERY:
            return False
        # Training trials are fresh too. Asking them first keeps lucky validations rare, and a
        # validation costs as much as several iterations.
        if np.mean(self.history.error[-CHECK_EVERY:]) >= 1.25 * threshold:
            return False
        self.validation = self.evaluate(stream=f"validation {self.iteration}")
        return self.validation.error < threshold

    def _show(self, bar: tqdm) -> None:
        shown = {"loss": f"{self.history.loss[-1]:.4g}"}
        if not np.isnan(self.history.error[-1]):
            shown["error"] = f"{np.mean(self.history.error[-CHECK_EVERY:]):.3f}"
        shown["rate"] = f"{self.history.rate_hz[-1]:.1f} Hz"
        # The bar is drawn by its next update, which keeps it from being drawn at every call.
        bar.set_postfix(shown, refresh=False)


def _check_workers(workers: int | None, scheduler: str | None) -> None:
    if workers is not None and scheduler is not None:
        raise ValueError("a scheduler has workers of its own: give workers or scheduler")
    if workers is not None:
        check_positive("workers", workers)


def iterations_per_call(network: Network, batch_size: int) -> int:
    """Iterations of one call of the compiled program."""
    number = max(1, min(_MOST_ITERATIONS, _TRIALS_PER_CALL // batch_size))
    if network.rewiring is not None:
        # Between any two updates.
        return 1
    return number - number % CHECK_EVERY if number > CHECK_EVERY else number


def check_continuous(
    network: Network,
    batch_size: int,
    workers: int | None = None,
    scheduler: str | None = None,
) -> None:
    """Raise ValueError for batches or workers: each trial goes on from the one before."""
    if batch_size != 1:
        raise ValueError(
            f"updates = '{network.updates}' has no batches: batch_size must be 1, not {batch_size}"
        )
    if workers not in (None, 1) or scheduler is not None:
        raise ValueError(
            f"updates = '{network.updates}' changes weights within a trial: trials cannot be "
            "shared among workers"
        )


def _check_bptt(device: str, workers: int | None, scheduler: str | None) -> None:
    """What computes it is JAX, in this process."""
    if device != "cpp":
        raise ValueError(
            f"gradient = 'bptt' runs in JAX and on no device: leave device = '{device}' away"
        )
    if workers not in (None, 1) or scheduler is not None:
        raise ValueError(
            "gradient = 'bptt' uses the cores by itself: leave workers and scheduler away"
        )


def make_bptt_session(
    network: Network, example: Trials, window: int, weights: Mapping[str, Matrix], dtype: str
) -> BpttSession:
    """Make a `BpttSession`, whose parameters these are.

    Raises
    ------
    ValueError
        If JAX is not installed, or something does not fit.
    """
    require_jax()
    # Imported here: JAX takes a second.
    from eprop_brian.training.bptt import BpttSession

    return BpttSession(network, example, window, weights, dtype)


def require_jax() -> None:
    """Raise ValueError if JAX, which is optional, is not installed."""
    if find_spec("jax") is None or find_spec("jaxlib") is None:
        raise ValueError("backpropagation through time needs JAX: pip install 'eprop_brian[bptt]'")


def check_fit(network: Network, task: Task) -> None:
    """Raise ValueError if a network and a task do not fit together."""
    for name in ("n_inputs", "n_outputs"):
        if getattr(network, name) != getattr(task, name):
            raise ValueError(
                f"the network has {name} = {getattr(network, name)}, task '{task.name}' "
                f"{getattr(task, name)}"
            )
    if network.loss.softmax != LOSSES[task.loss].softmax:
        wanted = "the softmax probability p" if LOSSES[task.loss].softmax else "the readout y"
        raise ValueError(
            f"task '{task.name}' is scored by {task.loss}: its network needs a loss of {wanted}, "
            f"not {network.loss.name} ({network.loss.loss})"
        )
    if not np.isclose(float(network.dt), float(task.dt), rtol=1e-12):
        raise ValueError(f"the network's dt is {network.dt}, the task's {task.dt}")
    if network.continuous:
        return  # what is on its way at the end of a trial arrives in the next
    where = f"the learning window of {task.learning_window} steps"
    steps = network.feedback_delay_steps
    check_fits("feedback delay", steps, task.learning_window, where)
    for name, steps in network.delay_steps.items():
        check_fits(f"delay of {name}", steps, task.n_steps - 1, f"a trial of {task.n_steps} steps")
