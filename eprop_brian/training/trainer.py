"""The trainer: a network learns a task on a device."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from tqdm import tqdm

from eprop_brian.base.checks import check_count, check_positive
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.random import rng_for
from eprop_brian.base.sparse import Matrix, values_of
from eprop_brian.network.optimization import learning_rate
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.base import Task, confirmation_of, hand_out
from eprop_brian.tasks.trials import Trials, join_trials
from eprop_brian.training.calls import (
    CHECK_EVERY,
    enlarged,
    example_of_call,
    iterations_per_call,
)
from eprop_brian.training.diagnosis import (
    Diagnosis,
    TrainingError,
    explain,
    largest_change,
    silence,
)
from eprop_brian.training.evaluation import (
    VALIDATION_BATCH_SIZE,
    VALIDATION_BATCHES,
    Evaluation,
    confirmation_batches,
    evaluate,
    wrong_answers,
)
from eprop_brian.training.fitting import stored_weights
from eprop_brian.training.history import History
from eprop_brian.training.requirements import check_bptt, check_continuous, check_fit, check_workers
from eprop_brian.training.sessions import make_session
from eprop_brian.training.state import Outcome

__all__ = ["Evaluation", "Trainer", "TrainingError"]

#: Changes of weights, relative to the largest, that are due to rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class _Batches:
    """Consecutive batches of equal size, which a session runs in one call."""

    trials: Trials
    size: int


class Trainer:
    """A network that learns a task.

    Parameters
    ----------
    network : Network or Resolved
    task : Task
    batch_size : int
        Trials per update; fewer where the task hands out fewer, as at the end of an epoch.
    seed : int
        Of the initial weights and of all trials.
    device : {"cpp", "cuda", "runtime"}
        Where it runs (`eprop_brian.devices`). With ``gradient="bptt"`` it runs where JAX runs.
    dtype : {"float64", "float32"}
        Float type of all state.
    weights : dict, optional
        Initial weights as `Network.initial_weights` gives them, each dense or `scipy.sparse`;
        default: drawn from the seed. A sparse matrix must be 0 where the network has no synapse.
    state : mapping, optional
        A stored state, as ``session.state()`` gives it, to begin with instead of weights.
    workers : int, optional
        Processes that share the trials of a batch. Default: as many as there are cores if batches
        are large enough to pay. Results are bit-identical for any number of them.
    scheduler : str, optional
        Address of a running Dask scheduler whose workers share the trials instead.

    Attributes
    ----------
    history : History
    iteration : int
        Iterations done.
    validation : Evaluation or None
        The last test of the task's criterion.
    confirmation : Evaluation or None
        The last test, on other fresh trials (of a data set, on other examples), of a validation
        that met the criterion.
    solved : bool
        Whether training stopped because that criterion was met by both.
    session : Session or BpttSession
        Weights (``session.weights``), optimizer states and the program.

    Raises
    ------
    ValueError
        If network, task and stored state do not fit together.
    CompilerMissingError
        For ``cpp`` and ``cuda`` without a compiler.
    """

    def __init__(
        self,
        network: Network | Resolved,
        task: Task,
        *,
        batch_size: int = 1,
        seed: int = 0,
        device: str = "cpp",
        dtype: str = "float64",
        weights: Mapping[str, Matrix] | None = None,
        state: Mapping[str, Matrix] | None = None,
        workers: int | None = None,
        scheduler: str | None = None,
    ) -> None:
        check_positive("batch_size", batch_size)
        check_count("seed", seed, minimum=0)
        if weights is not None and state is not None:
            raise ValueError(
                "weights and state exclude each other: a stored state has its own weights"
            )
        check_fit(network, task)
        resolved = as_resolved(network)
        if resolved.continuous:
            check_continuous(network, batch_size, workers, scheduler)
            workers = 1
        elif resolved.gradient == "bptt":
            check_bptt(device, workers, scheduler)
            workers = 1
        self.network, self.task = network, task
        self.batch_size, self.seed, self.dtype = int(batch_size), int(seed), dtype
        self.history = History()
        self.solved = False
        self.validation: Evaluation | None = None
        self.confirmation: Evaluation | None = None
        # Whether a silent network has been diagnosed, and reported.
        self._is_looked_at = self._is_named = False
        # State and iteration before the current call; None between calls.
        self._before: tuple[dict[str, Matrix], int] | None = None
        self._per_call = iterations_per_call(network, self.batch_size)
        # Trials of the first call that have not been learned from yet, by iteration.
        self._drawn: dict[int, Trials] = {}
        if state is None:
            self._drawn = {i: self._hand_out(i) for i in range(self._per_call)}
            n_trials = self._per_call * self.batch_size
            example = enlarged(join_trials([*self._drawn.values()]), n_trials)
        else:
            example = example_of_call(network, task, self.seed, self.batch_size)
        check_workers(workers, scheduler)
        if state is not None:
            initial = stored_weights(resolved, state)
        elif weights is not None:
            initial = dict(weights)
        else:
            initial = resolved.initial_weights(self.seed)
        self.session = make_session(
            network,
            example,
            task.learning_window,
            initial,
            batch_size=self.batch_size,
            device=device,
            dtype=dtype,
            workers=workers,
            scheduler=scheduler,
        )
        if state is not None:
            self.session.restore(state)

    def close(self) -> None:
        """End the processes that run the network."""
        self.session.close()

    @property
    def iteration(self) -> int:
        """Iterations done."""
        return len(self.history)

    def alignment(self) -> float:
        """Cosine of the angle between the feedback weights B and the transposed readout weights.

        All learning signals count together; NaN if either is 0.
        """
        return self.session.alignment()

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
            Whether to stop when the task is solved. Every 10 iterations, if the mean error of the
            last 10 batches comes near the task's error threshold, 8 fresh batches of 64 trials are
            tested. If their error is below the threshold, 64 others are tested (for a data set as
            many as show the other half of the validation examples, but at least 8), and training
            stops if their error is below it too.
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
            If the loss, a weight or a quantity they depend on is no longer finite; the message
            names it, and the state is that of the last good call. Also if no neuron fired in a call
            that changed nothing. (It is a warning if weights changed by rounding alone, or only by
            regularisers or the optimizer.)
        """
        self.solved = stop_when_solved and self.iteration > 0 and self._is_solved()
        if self.solved:
            return self.history
        bar = tqdm(
            total=iterations, initial=self.iteration, unit="it", disable=not progress, leave=True
        )
        with bar, contextlib.closing(self._calls(iterations)) as calls:
            for numbers, batches in calls:
                # Not even an interrupt may leave weights without history.
                with self.provisional() as before:
                    self._iterate(batches, before)
                    self._before = None
                self._show(bar)
                bar.update(len(numbers))
                self._check_alive(numbers, batches[-1].trials, before)
                if stop_when_solved and self._is_solved():
                    self.solved = True
                if after_call is not None:
                    after_call(self)
                if self.solved:
                    break
        return self.history

    @contextlib.contextmanager
    def provisional(self) -> Iterator[dict[str, Matrix]]:
        """Take back, at the end of a block, what a call in it changed; yields the state before."""
        before = self.session.state()
        self._before = before, self.iteration
        try:
            yield before
        finally:
            self.take_back()

    def take_back(self) -> None:
        """Restore the state before a call that has not ended; do nothing between calls."""
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

        The same stream and sizes give the same trials. The only trial of a frozen task is run
        once.

        Parameters
        ----------
        n_batches, batch_size : int
        stream : str
            Stream of trials; ``"train"`` is the one that the network learns from.

        Raises
        ------
        TrainingError
            If a loss is not finite, or a trial (on ``cuda``, the last one of a call) ends with a
            state of NaN. The message names the quantity that was not finite first.
        """
        return evaluate(
            self.session,
            self.task,
            self.seed,
            n_batches=n_batches,
            batch_size=batch_size,
            stream=stream,
            dtype=self.dtype,
        )

    def _hand_out(self, iteration: int) -> Trials:
        return hand_out(self.task, self.seed, "train", iteration, self.batch_size)

    def _batches(self, numbers: range) -> list[_Batches]:
        """The trials of several iterations, grouped by the size of their batches."""
        drawn = self._drawn
        parts = [drawn.pop(i) if i in drawn else self._hand_out(i) for i in numbers]
        sizes = groupby(parts, key=lambda part: part.n_trials)
        return [_Batches(join_trials([*equal]), size) for size, equal in sizes]

    def _calls(self, iterations: int) -> Generator[tuple[range, list[_Batches]], None, None]:
        """Yield iteration numbers and trials of each call, while a thread draws the next trials."""
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
                batches = upcoming.result() if upcoming else self._batches(numbers)
                if number + 1 < len(ranges):
                    upcoming = pool.submit(self._batches, ranges[number + 1])
                yield numbers, batches

    def _iterate(self, batches: Sequence[_Batches], before: Mapping[str, Matrix]) -> None:
        """Run the batches of a call, which begins in the state `before`."""
        for number, group in enumerate(batches):
            if number:
                before = self.session.state()
            start = time.perf_counter()
            outcome = self.session.run(group.trials, group.size)
            seconds = time.perf_counter() - start
            if not self._is_finite(outcome):
                raise TrainingError(self._not_finite(group, before))
            self._record(outcome, group, seconds)
        self.history.alignment[-1] = self.alignment()
        if self.session.resolved.rewiring is not None:
            # The numbers depend on the iteration alone, so a resumed run draws the same ones.
            rng = rng_for(self.seed, "rewiring", self.session.n_updates)
            self.session.rewire(
                learning_rate(self.session.resolved.optimizer, self.session.n_updates), rng
            )

    def _is_finite(self, outcome: Outcome) -> bool:
        return bool(np.all(np.isfinite(outcome.loss))) and self.session.is_finite()

    def _not_finite(self, batches: _Batches, state: Mapping[str, Matrix]) -> str:
        """Rerun batches from the state before them, and report what was not finite first."""
        self.session.restore(state)
        iteration = self.iteration
        for first in range(0, batches.trials.n_trials, batches.size):
            iteration += 1
            batch = batches.trials.part(slice(first, first + batches.size))
            state = self.session.state()
            if not self._is_finite(self.session.run(batch, batches.size)):
                break
        return explain(Diagnosis(self.session, batch, state, self.dtype), f"iteration {iteration}")

    def _check_alive(self, numbers: range, trials: Trials, before: Mapping[str, Matrix]) -> None:
        """Report a network that had no spike in a call and cannot learn by its gradient.

        Exported programs check the same conditions (``Trainer::check_alive`` in
        ``native/driver/trainer.h``), except for the surrogate, which they cannot read.
        """
        fired = np.flatnonzero(self.history.rate_hz)
        if len(fired) and fired[-1] >= numbers.start:
            self._is_looked_at = self._is_named = False
            return
        optimizers = self.session.resolved.optimizers
        if self._is_named or all(x.parameters.get("eta") == 0 for x in optimizers):
            return
        change = largest_change(before, self.session.weights)
        # The states of the optimizer may still move weights for a while.
        if change > _ROUNDING and self._is_looked_at:
            return
        self._is_looked_at = True
        after = self.session.state()
        report = silence(Diagnosis(self.session, trials, after, self.dtype))
        if change > _ROUNDING and not report.is_dead:
            return
        self._is_named = True
        last_spike = int(fired[-1]) + 1 if len(fired) else 0
        first = last_spike + 1 if last_spike else numbers.start + 1
        since = f" (the last to fire did so in iteration {last_spike})" if last_spike else ""
        message = (
            f"no neuron fires in any trial of iterations {first} to "
            f"{numbers.stop}{since}, and {report.text(last_spike, change)}"
        )
        # States of the optimizer that change may still move weights later.
        stays = all(
            np.array_equal(values_of(value), values_of(before[name]))
            for name, value in after.items()
            if name != "n_updates" and not name.startswith("carried.")
        )
        if stays and np.any(self.history.loss[numbers.start :]):
            raise TrainingError(message)
        if change > _ROUNDING:
            message += ". Only regularisers or the optimizer change weights"
        warnings.warn(message, stacklevel=3)

    def _record(self, outcome: Outcome, batches: _Batches, seconds: float) -> None:
        wrong = wrong_answers(self.task, self.session.resolved, outcome.output, batches.trials)
        errors = np.full(batches.trials.n_trials, np.nan) if wrong is None else wrong
        by_batch = (-1, batches.size)
        columns = [a.reshape(by_batch).mean(axis=1) for a in (outcome.loss, errors, outcome.rate)]
        for loss, error, rate in zip(*columns, strict=True):
            self.history.append(loss, error, rate, seconds / len(columns[0]))

    def _is_solved(self) -> bool:
        threshold = self.task.error_threshold
        if threshold is None or self.iteration % CHECK_EVERY:
            return False
        # Training trials are fresh too. Checking them first saves validations, which cost as much
        # as several iterations, and keeps lucky ones rare.
        if np.mean(self.history.error[-CHECK_EVERY:]) >= 1.25 * threshold:
            return False
        stream = f"validation {self.iteration}"
        self.validation = self.evaluate(stream=stream)
        if self.validation.error >= threshold:
            return False
        stream = confirmation_of(stream)
        self.confirmation = self.evaluate(confirmation_batches(self.task, stream), stream=stream)
        return self.confirmation.error < threshold

    def _show(self, bar: tqdm) -> None:
        values = {"loss": f"{self.history.loss[-1]:.4g}"}
        if not np.isnan(self.history.error[-1]):
            values["error"] = f"{np.mean(self.history.error[-CHECK_EVERY:]):.3f}"
        values["rate"] = f"{self.history.rate_hz[-1]:.1f} Hz"
        # The next update of the bar draws it: refreshing here would draw it at every call.
        bar.set_postfix(values, refresh=False)
