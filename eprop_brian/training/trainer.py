"""The trainer: a network learns a task on a device."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from eprop_brian.base.checks import check_count, check_positive
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.sparse import Matrix, dense, values_of
from eprop_brian.equations.losses import LOSSES
from eprop_brian.network.delays import check_fits
from eprop_brian.network.optimization import learning_rate
from eprop_brian.network.program import make_program
from eprop_brian.network.spec import Network
from eprop_brian.tasks.base import Task, Trials, confirmation_of, hand_out, rng_for
from eprop_brian.training.diagnosis import (
    Diagnosis,
    explain,
    explain_evaluation,
    largest_change,
    silence,
)
from eprop_brian.training.history import History
from eprop_brian.training.session import Outcome, Session, SessionState
from eprop_brian.training.workers import ParallelSession, useful_workers

if TYPE_CHECKING:
    from eprop_brian.training.bptt import BpttSession

__all__ = [
    "CHECK_EVERY",
    "CONFIRMATION_BATCHES",
    "VALIDATION_BATCHES",
    "VALIDATION_BATCH_SIZE",
    "Evaluation",
    "Trainer",
    "TrainingError",
    "check_continuous",
    "check_fit",
    "confirmation_batches",
    "enlarged",
    "example_of_call",
    "iterations_per_call",
    "join_trials",
    "make_bptt_session",
    "require_jax",
]

#: Trials of one call of the compiled program, about: enough that starting it costs nothing.
_TRIALS_PER_CALL = 640
#: Most iterations of one call: how often progress is shown and a checkpoint can be made.
_MOST_ITERATIONS = 100
#: Changes of weights, relative to the largest, that are no learning.
_ROUNDING = 1e-12
#: Iterations between checks whether the task is solved.
CHECK_EVERY = 10
#: Size of a validation: fresh batches of so many trials.
VALIDATION_BATCHES, VALIDATION_BATCH_SIZE = 8, 64
#: Batches of such trials on which a validation below the criterion is confirmed. It was chosen for
#: being low among many: that takes trials of its own, and enough of them not to be lucky again.
CONFIRMATION_BATCHES = 8 * VALIDATION_BATCHES


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
    n_examples : int or None
        Different examples that the trials of a data set show; None where each is drawn anew.
    """

    loss: float
    error: float
    rate_hz: float
    n_trials: int
    n_examples: int | None = None

    def __str__(self) -> str:
        error = "" if np.isnan(self.error) else f" error {self.error:.4f}"
        return f"loss {self.loss:.6g}{error}"


@dataclass(frozen=True)
class _Batches:
    """Batches of as many trials each, one after the other: what a session runs at once."""

    trials: Trials
    size: int


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


def example_of_call(network: Network, task: Task, seed: int, batch_size: int) -> Trials:
    """Trials as large as any call of the compiled program is, of a whole number of batches.

    Those of the first call, and rows for the trials that its batches were short of.
    """
    n_batches = iterations_per_call(network, batch_size)
    parts = [hand_out(task, seed, "train", i, batch_size) for i in range(n_batches)]
    return enlarged(join_trials(parts), n_batches * batch_size)


def enlarged(trials: Trials, n_trials: int) -> Trials:
    """Trials repeated, if they are fewer, with as many patterns and targets each as they have."""
    if trials.n_trials == n_trials:
        return trials

    def more(array: np.ndarray) -> np.ndarray:
        n_rows = -(-len(array) * n_trials // trials.n_trials)
        return np.resize(array, (n_rows, *array.shape[1:]))

    return replace(
        trials,
        inputs=more(trials.inputs),
        targets=more(trials.targets),
        pattern=more(trials.pattern),
        target=more(trials.target),
        periods=None if trials.periods is None else more(trials.periods),
    )


class Trainer:
    """A network that learns a task.

    Parameters
    ----------
    network : Network
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
        check_count("seed", seed, minimum=0)
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
        self.confirmation: Evaluation | None = None
        # Whether a network that is silent has been looked at, and named.
        self._is_looked_at = self._is_named = False
        # State and iteration before a call that has not ended.
        self._before: tuple[dict[str, Matrix], int] | None = None
        self._per_call = iterations_per_call(network, self.batch_size)
        example = example_of_call(network, task, self.seed, self.batch_size)
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
            the last 10 batches comes near it, test on 8 fresh batches of 64 trials. If their error
            is below it, test on 64 others (of a data set on as many as show the other half of what
            was held out for validation, but 8 at least), and stop if the error of these is below it
            too.
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
            If the loss, a weight or what they are made of is no longer finite, which is then
            named; the state is that of the last good call. Or if no neuron has fired in a call,
            which has changed nothing. (A warning if weights have changed by rounding alone, or
            by what is no gradient.)
        """
        self.solved = stop_when_solved and self.iteration > 0 and self._is_solved()
        if self.solved:
            return self.history
        bar = tqdm(
            total=iterations, initial=self.iteration, unit="it", disable=not progress, leave=True
        )
        with bar, contextlib.closing(self._calls(iterations)) as calls:
            for numbers, batches in calls:
                # An interrupt too must not leave weights without history.
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
        """Take back, at the end of a block, what a call in it has changed; give what was before."""
        before = self.session.state()
        self._before = before, self.iteration
        try:
            yield before
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

        Raises
        ------
        TrainingError
            If a loss is not finite, or a trial ends with a state of NaN (on ``cuda``, the last of
            a call): the quantity that is not finite first is named.
        """
        losses, errors, rates = [], [], []
        previous: Trials | None = None
        most = self.session.most_trials
        for index in range(n_batches):
            batch = hand_out(self.task, self.seed, stream, index, batch_size)
            if len(batch.inputs) == len(batch.targets) == 1:
                if previous is not None and batch.inputs is previous.inputs:
                    break  # a frozen pattern: every further trial would be the same
                previous = batch
                batch = batch.part(slice(1))
            for first in range(0, batch.n_trials, most):
                part = batch.part(slice(first, first + most))
                outcome = self.session.run(part, part.n_trials, learning=False, check_states=True)
                is_good = np.isfinite(outcome.loss) & outcome.is_number
                if not np.all(is_good):
                    found = Diagnosis(self.session, part, self.session.state(), self.dtype)
                    when = f"batch {index + 1} of the stream '{stream}'"
                    raise TrainingError(explain_evaluation(found, is_good, when))
                losses.append(outcome.loss)
                rates.append(outcome.rate)
                wrong = self.task.errors(outcome.output, part)
                errors.append(np.full(part.n_trials, np.nan) if wrong is None else wrong)
        loss = np.concatenate(losses)
        n_examples = self.task.n_examples(stream)
        return Evaluation(
            loss=float(loss.mean()),
            error=float(np.concatenate(errors).mean()),
            rate_hz=float(np.concatenate(rates).mean()),
            n_trials=len(loss),
            n_examples=None if n_examples is None else min(n_examples, len(loss)),
        )

    def _batches(self, numbers: range) -> list[_Batches]:
        """The trials of some iterations, those of equally large batches together."""
        parts = [hand_out(self.task, self.seed, "train", i, self.batch_size) for i in numbers]
        sizes = groupby(parts, key=lambda part: part.n_trials)
        return [_Batches(join_trials([*equal]), size) for size, equal in sizes]

    def _calls(self, iterations: int) -> Iterator[tuple[range, list[_Batches]]]:
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
                batches = upcoming.result() if upcoming else self._batches(numbers)
                if number + 1 < len(ranges):
                    upcoming = pool.submit(self._batches, ranges[number + 1])
                yield numbers, batches

    def _iterate(self, batches: Sequence[_Batches], before: Mapping[str, Matrix]) -> None:
        """Run the batches of a call, which begins in the state `before`."""
        for number, some in enumerate(batches):
            if number:
                before = self.session.state()
            start = time.perf_counter()
            outcome = self.session.run(some.trials, some.size)
            seconds = time.perf_counter() - start
            if not self._is_finite(outcome):
                raise TrainingError(self._not_finite(some, before))
            self._record(outcome, some, seconds)
        self.history.alignment[-1] = self.alignment()
        if self.network.rewiring is not None:
            # Of the iteration alone, so that a run that was stopped goes on as it would have.
            rng = rng_for(self.seed, "rewiring", self.session.n_updates)
            self.session.rewire(learning_rate(self.network.optimizer, self.session.n_updates), rng)

    def _is_finite(self, outcome: Outcome) -> bool:
        return bool(np.all(np.isfinite(outcome.loss))) and self.session.is_finite()

    def _not_finite(self, batches: _Batches, state: Mapping[str, Matrix]) -> str:
        """What was not finite first in batches that began in a state: they are run once more."""
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
        """Name a network of which a call had no spike, and that cannot learn by its gradient.

        Exported programs do so by the same conditions, but cannot look at the surrogate
        (``Trainer::check_alive`` in ``templates/driver/trainer.h``).
        """
        fired = np.flatnonzero(self.history.rate_hz)
        if len(fired) and fired[-1] >= numbers.start:
            self._is_looked_at = self._is_named = False
            return
        if self._is_named or self.network.optimizer.parameters.get("eta") == 0:
            return
        change = largest_change(before, self.session.weights)
        # What an optimizer gathered may move weights for a while.
        if change > _ROUNDING and self._is_looked_at:
            return
        self._is_looked_at = True
        after = self.session.state()
        found = silence(Diagnosis(self.session, trials, after, self.dtype))
        if change > _ROUNDING and not found.is_dead:
            return
        self._is_named = True
        last_spike = int(fired[-1]) + 1 if len(fired) else 0
        first = last_spike + 1 if last_spike else numbers.start + 1
        since = f" (the last to fire did so in iteration {last_spike})" if last_spike else ""
        message = (
            f"no neuron fires in any trial of iterations {first} to "
            f"{numbers.stop}{since}, and {found.text(last_spike, change)}"
        )
        # What optimizers keep may still move weights later.
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
        wrong = self.task.errors(outcome.output, batches.trials)
        errors = np.full(batches.trials.n_trials, np.nan) if wrong is None else wrong
        by_batch = (-1, batches.size)
        columns = [a.reshape(by_batch).mean(axis=1) for a in (outcome.loss, errors, outcome.rate)]
        for loss, error, rate in zip(*columns, strict=True):
            self.history.append(loss, error, rate, seconds / len(columns[0]))

    def _is_solved(self) -> bool:
        threshold = self.task.error_threshold
        if threshold is None or self.iteration % CHECK_EVERY:
            return False
        # Training trials are fresh too. Asking them first keeps lucky validations rare, and a
        # validation costs as much as several iterations.
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
        shown = {"loss": f"{self.history.loss[-1]:.4g}"}
        if not np.isnan(self.history.error[-1]):
            shown["error"] = f"{np.mean(self.history.error[-CHECK_EVERY:]):.3f}"
        shown["rate"] = f"{self.history.rate_hz[-1]:.1f} Hz"
        # The bar is drawn by its next update, which keeps it from being drawn at every call.
        bar.set_postfix(shown, refresh=False)


def confirmation_batches(task: Task, stream: str) -> int:
    """Batches that confirm a validation; of a data set no more than what shows all of it once.

    But as many as validate at least: the same example again says little more.
    """
    n_examples = task.n_examples(stream)
    if n_examples is None:
        return CONFIRMATION_BATCHES
    once = -(-n_examples // VALIDATION_BATCH_SIZE)
    return min(CONFIRMATION_BATCHES, max(VALIDATION_BATCHES, once))


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
