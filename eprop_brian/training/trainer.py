"""The trainer: a network learns a task on a device."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from eprop_brian.base.checks import check_count, check_positive
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.printable import warn
from eprop_brian.base.progress import progress_bar
from eprop_brian.base.random import rng_for
from eprop_brian.base.sparse import Matrix
from eprop_brian.network.optimization import learning_rate
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.base import Task, confirmation_of
from eprop_brian.tasks.episodes import EpisodicTask
from eprop_brian.tasks.external import ExternalTask
from eprop_brian.training.callbacks import Callback
from eprop_brian.training.calls import CHECK_EVERY, example_of_call, iterations_per_call
from eprop_brian.training.diagnosis import TrainingError, explain
from eprop_brian.training.evaluation import (
    Evaluation,
    confirmation_batches,
    error_weights,
    evaluate,
    evaluation_size,
    wrong_answers,
)
from eprop_brian.training.feed import Batches, Feed
from eprop_brian.training.firing import LASTING, FiringWatch
from eprop_brian.training.fitting import fitted_weights, stored_weights
from eprop_brian.training.history import EPISODES, History
from eprop_brian.training.requirements import (
    check_bptt,
    check_continuous,
    check_fit,
    check_going_on,
    check_length,
    check_threads,
    check_workers,
)
from eprop_brian.training.rerun import Diagnosis
from eprop_brian.training.sessions import make_session
from eprop_brian.training.state import Outcome
from eprop_brian.training.weight_recording import WeightRecorder

__all__ = ["Evaluation", "Trainer", "TrainingError"]


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
        Where it runs (`eprop_brian.devices`). With ``gradient="bptt"`` it runs where JAX runs,
        but for episodes, which are played on the device.
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
    threads : int
        Threads that share out the neurons of large populations, on device ``cpp``, in the place of
        workers. Results are bit-identical for any number of them.

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
    stopped : str
        Why a callback stopped it; else empty.
    session : Session, BpttSession or ActingBpttSession
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
        threads: int = 1,
    ) -> None:
        check_positive("batch_size", batch_size)
        check_count("seed", seed, minimum=0)
        if weights is not None and state is not None:
            raise ValueError(
                "weights and state exclude each other: a stored state has its own weights"
            )
        check_threads(threads, device, workers, scheduler)
        if threads > 1:
            workers = 1
        check_fit(network, task)
        resolved = as_resolved(network)
        if resolved.updates != "batch":
            check_continuous(network, batch_size, workers, scheduler)
            workers = 1
        elif resolved.gradient == "bptt":
            check_bptt(device, workers, scheduler, acts=isinstance(task, EpisodicTask))
            workers = 1
        if isinstance(task, ExternalTask) and task.goes_on:
            check_going_on(workers, scheduler)
            workers = 1
        self.network, self.task = network, task
        self.batch_size, self.seed = int(batch_size), int(seed)
        self.device, self.dtype = device, dtype
        self.history = History()
        self.solved = False
        self.validation: Evaluation | None = None
        self.confirmation: Evaluation | None = None
        self.stopped = ""
        self._validated = 0
        self._validate_every: int | None = None
        self._callbacks: tuple[Callback, ...] = ()
        self._weight_recorder: WeightRecorder | None = None
        # State and iteration before the current call; None between calls.
        self._before: tuple[Mapping[str, Matrix], int] | None = None
        per_call = iterations_per_call(network, self.batch_size, task)
        self._feed = Feed(task, self.seed, self.batch_size, per_call)
        check_length(resolved, task, self.batch_size, dtype)
        if state is None:
            example = self._feed.first_call()
        else:
            example = example_of_call(network, task, self.seed, self.batch_size)
        check_workers(workers, scheduler)
        # Weights that were given; else None: those of the seed can be drawn again.
        self._initial = None if weights is None else {k: v.copy() for k, v in weights.items()}
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
            threads=threads,
        )
        self._begins_with_state = state is not None
        if state is not None:
            self.session.restore(state)
        self._firing = FiringWatch(self.session, dtype)

    def save(self, folder: str | Path) -> None:
        """Keep the training in a folder, as a run that commands and `load` can go on with.

        Everything that determines it is written: the network with the equations of its neurons, the
        task with all its settings (an `ArrayTask` with its arrays), weights, states of the
        optimizer, the history and versions of libraries.

        Parameters
        ----------
        folder : str or Path
            A new or empty one, or where this training was kept before.

        Raises
        ------
        ValueError
            If the folder holds another run, or the training cannot be kept.
        """
        # A run is made of trainers, so the module of runs comes after this one.
        from eprop_brian.runs.run import Run

        Run.of(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, task: Task | None = None, **where: Any) -> Trainer:
        """Go on with a training that was kept in a folder, by `save` or by the command.

        No code of the folder runs.

        Parameters
        ----------
        folder : str or Path
        task : Task, optional
            The task, if it is one of your own that no installed package offers.
        **where
            ``device``, ``workers`` and ``scheduler``, if they are to be others.

        Raises
        ------
        ValueError
            If the folder holds no such run, is damaged, or `task` is missing or another.
        """
        from eprop_brian.runs.run import Run

        run = Run.open(Path(folder), task=task, **where)
        trainer = run.trainer
        if not isinstance(trainer, cls):
            raise ValueError(f"{folder} holds a run of another kind: open it with Run.open")
        trainer._initial = run.initial_weights()
        return trainer

    @property
    def knows_beginning(self) -> bool:
        """Whether it knows the weights before training: not if it began with a stored state."""
        return not self._begins_with_state or self._initial is not None

    def initial_state(self) -> dict[str, Matrix]:
        """Weights before training, with the number of updates, 0.

        Raises
        ------
        ValueError
            If it began with a stored state.
        """
        if not self.knows_beginning:
            raise ValueError(
                "a Trainer that began with a stored state does not know the weights before "
                "training: begin with weights, or with Trainer.load"
            )
        resolved = as_resolved(self.network)
        weights = self._initial or resolved.initial_weights(self.seed)
        return {**fitted_weights(resolved, weights), "n_updates": np.array(0)}

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
        record_weights: WeightRecorder | None = None,
        validate_every: int | None = None,
        callbacks: Sequence[Callback] = (),
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
            stops if their error is below it too. In an environment, training stops if the mean
            return of its last 100 episodes reaches the task's, and so does that of 100 fresh ones
            in which the best action is taken each time.
        progress : bool
            Show a progress bar with loss and error.
        after_call : callable, optional
            Called with the trainer after every call of the program, e.g. to save a checkpoint.
        record_weights : WeightRecorder, optional
            Records weights of chosen synapses. The program then is called for every record, which
            costs a little time and changes no result.
        validate_every : int, optional
            Iterations between validations: 8 batches of 64 fresh trials, in an environment 100
            episodes, of a data set examples that are held out. Default: only where `solved` needs
            one. Each is written into the history.
        callbacks : sequence of Callback
            What is done after every iteration and every validation
            (`eprop_brian.training.callbacks`).

        Returns
        -------
        History

        Raises
        ------
        TrainingError
            If a weight or a state of the optimizer is no longer finite; the message names the
            quantity that was the first, and the state is that of the last good call. Also if no
            neuron fired in a call that changed nothing.
        EnvironmentFailed
            If an environment outside of the program fails; the state is that of the last good call.

        Warns
        -----
        UserWarning
            Once each time: of a population that has been silent or saturated for 10 iterations; of
            a network without a spike whose weights change by rounding alone, or only by
            regularisers or the optimizer; of a loss or a return that is not finite while all
            weights are. Each names the population or the quantity, since when, and what to change.
        """
        self._weight_recorder = record_weights
        if record_weights is not None:
            record_weights.check(self.session.resolved)
            record_weights.note(self.session)
        if validate_every is not None:
            check_count("validate_every", validate_every)
        self._validate_every, self._callbacks = validate_every, tuple(callbacks)
        self.solved, self.stopped = False, ""
        with self._called_back():
            if self.iteration:
                self._judge(stop_when_solved)
            self._train(iterations, stop_when_solved, progress, after_call)
        return self.history

    def stop(self, reason: str) -> None:
        """End the training after the present call of the program; for callbacks.

        Parameters
        ----------
        reason : str
            Why, which becomes ``trainer.stopped``.
        """
        self.stopped = reason

    @contextlib.contextmanager
    def _called_back(self) -> Iterator[None]:
        """Tell callbacks of begin and end; each that has begun hears of the end."""
        with contextlib.ExitStack() as ends:
            for callback in self._callbacks:
                callback.on_start(self)
                ends.callback(callback.on_end, self)
            yield

    def _train(
        self,
        iterations: int,
        stop_when_solved: bool,
        progress: bool,
        after_call: Callable[[Trainer], None] | None,
    ) -> None:
        """Call the program until all is done, the task is solved, or a callback stops it."""
        if self.solved or self.stopped:
            return
        bar = progress_bar(iterations, self.iteration, "it", shown=progress)
        recorder = self._weight_recorder
        fed = self._feed.calls(
            self.iteration,
            iterations,
            ends_every=self._validate_every,
            # Weights are recorded between calls of the session.
            groups_every=recorder.every if recorder else None,
        )
        with bar, contextlib.closing(fed) as calls:
            for numbers, batches in calls:
                # Not even an interrupt may leave weights without history.
                with self.provisional() as before:
                    self._iterate(batches, before)
                    self._before = None
                self._show(bar)
                bar.update(len(numbers))
                trials = batches[-1].trials
                for warning in self._firing.check(self.history, numbers.start, trials, before):
                    warn(warning, stacklevel=3)
                del before  # its memory serves the next call
                for callback in self._callbacks:
                    for number in numbers:
                        callback.on_iteration(self, number + 1, self.history.row(number))
                self._judge(stop_when_solved)
                if after_call is not None:
                    after_call(self)
                if self.solved or self.stopped:
                    break

    def _judge(self, stop_when_solved: bool) -> None:
        """Validate where it is time to, and find out whether the task is solved."""
        every = self._validate_every
        # A training that goes on may have been validated at this iteration before.
        if every and not self.iteration % every and np.isnan(self.history.validation_loss[-1]):
            self._validate()
        self.solved = stop_when_solved and self._is_solved()

    def _validate(self) -> Evaluation:
        """Test fresh trials, once after an iteration, and note the result in the history."""
        if self.validation is None or self._validated != self.iteration:
            stream = f"validation {self.iteration}"
            # The few examples held out are shown again and again, where their noise differs.
            n_batches, _ = evaluation_size(self.task)
            self.validation = self.evaluate(n_batches, stream=stream)
            self._validated = self.iteration
            returns = self.validation.returns
            with uninterrupted():
                self.history.validation_loss[-1] = self.validation.loss
                self.history.validation_error[-1] = self.validation.error
                if returns is not None:
                    self.history.validation_return[-1] = returns.mean
            for callback in self._callbacks:
                callback.on_validation(self, self.iteration, self.validation)
        return self.validation

    @contextlib.contextmanager
    def provisional(self) -> Iterator[Mapping[str, Matrix]]:
        """Take back, at the end of a block, what a call in it changed; yields the state before."""
        before = self.session.snapshot()
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
                self.session.go_back(state)
                self.history = self.history.truncated(iteration)
                if self._weight_recorder is not None:
                    self._weight_recorder.forget(iteration)
                self._before = None

    def evaluate(
        self,
        n_batches: int | None = None,
        batch_size: int | None = None,
        stream: str = "test",
        greedy: bool = True,
        beam_width: int = 1,
    ) -> Evaluation:
        """Run fresh trials without learning.

        The same stream and sizes give the same trials. The only trial of a frozen task is run
        once.

        Parameters
        ----------
        n_batches, batch_size : int, optional
            Default: 8 of 64 trials, of a data set at most as many as show each example once; in an
            environment 1 of 100 episodes. Examples that never change (`Task.fixed_examples`) are
            shown once by any number of batches, unless neurons are noisy.
        stream : str
            Stream of trials; ``"train"`` is the one that the network learns from.
        greedy : bool
            In an environment: whether the best action is taken rather than one at random, as in
            training. Of continuous actions, the best one is the output itself.
        beam_width : int
            Of a task with labels: beginnings that the search for the most probable labels keeps
            (`eprop_brian.tasks.labels.beam_labels`). With 1, as in training, the most probable
            output of each frame counts.

        Raises
        ------
        ValueError
            If there is a beam, and the task has no labels.
        TrainingError
            If a loss or return is not finite, or a trial (on ``cuda``, the last one of a call) ends
            with a state of NaN. The message names the quantity that was not finite first.
        """
        return evaluate(
            self.session,
            self.task,
            self.seed,
            n_batches=n_batches,
            batch_size=batch_size,
            stream=stream,
            dtype=self.dtype,
            greedy=greedy,
            beam_width=beam_width,
        )

    def _iterate(self, batches: Sequence[Batches], before: Mapping[str, Matrix]) -> None:
        """Run the batches of a call, which begins in the state `before`."""
        for number, group in enumerate(batches):
            if number:
                before = self.session.snapshot()
            start = time.perf_counter()
            outcome = self.session.run(group.trials, group.size)
            seconds = time.perf_counter() - start
            if not self.session.is_finite():
                raise TrainingError(self._not_finite(group, before))
            if not _is_finite(outcome) and self.history.is_finite(LASTING):
                self._warn_of(group, before)
            self._record(outcome, group, seconds)
            if number == len(batches) - 1:
                self.history.alignment[-1] = self.alignment()
                self._rewire()
            if self._weight_recorder is not None:
                self._weight_recorder.note(self.session)

    def _rewire(self) -> None:
        """Rewire sparse matrices, if the network is rewired."""
        if self.session.resolved.rewiring is not None:
            # The numbers depend on the iteration alone, so a resumed run draws the same ones.
            rng = rng_for(self.seed, "rewiring", self.session.n_updates)
            self.session.rewire(
                learning_rate(self.session.resolved.optimizer, self.session.n_updates), rng
            )

    def _not_finite(self, batches: Batches, state: Mapping[str, Matrix]) -> str:
        """Rerun batches from the state before them, and report what was not finite first."""
        self.session.restore(state)
        iteration = self.iteration
        for first in range(0, batches.trials.n_trials, batches.size):
            iteration += 1
            batch = batches.trials.part(slice(first, first + batches.size))
            state = self.session.state()
            outcome = self.session.run(batch, batches.size)
            if not (_is_finite(outcome) and self.session.is_finite()):
                break
        return explain(Diagnosis(self.session, batch, state, self.dtype), f"iteration {iteration}")

    def _warn_of(self, batches: Batches, state: Mapping[str, Matrix]) -> None:
        """Warn of a loss or a return that is not finite, though all that learns is."""
        after = self.session.state()
        message = self._not_finite(batches, state)
        self.session.restore(after)
        warn(f"{message}. All weights are finite: training goes on", stacklevel=4)

    def _record(self, outcome: Outcome, batches: Batches, seconds: float) -> None:
        wrong = wrong_answers(self.task, self.session.resolved, outcome.output, batches.trials)
        errors = np.full(batches.trials.n_trials, np.nan) if wrong is None else wrong
        by_trial = {"loss": outcome.loss, "error": errors, "rate_hz": outcome.rate}
        episodes = outcome.episodes
        if episodes is not None:
            by_trial |= {"return": episodes.returns, "length": episodes.lengths}
            by_trial |= {"entropy": episodes.entropy, "value_error": episodes.value_error}
        names = [population.name for population in self.session.resolved.populations]
        if len(names) > 1:
            by_trial |= {f"rate_hz.{name}": outcome.rates[:, k] for k, name in enumerate(names)}
        columns = {k: v.reshape(-1, batches.size).mean(axis=1) for k, v in by_trial.items()}
        weights = error_weights(batches.trials).reshape(-1, batches.size)
        columns["error"] = np.average(errors.reshape(weights.shape), axis=1, weights=weights)
        n_batches = len(columns["loss"])
        for number in range(n_batches):
            row = {name: float(values[number]) for name, values in columns.items()}
            self.history.append(**row, seconds=seconds / n_batches)

    def _is_solved(self) -> bool:
        if isinstance(self.task, EpisodicTask):
            return self._acts_well(self.task.solved_return)
        threshold = self.task.error_threshold
        if threshold is None or self.iteration % CHECK_EVERY:
            return False
        # Training trials are fresh too. Checking them first saves validations, which cost as much
        # as several iterations, and keeps lucky ones rare.
        if np.mean(self.history.error[-CHECK_EVERY:]) >= 1.25 * threshold:
            return False
        error = self.history.validation_error[-1]
        if (self._validate().error if np.isnan(error) else error) >= threshold:
            return False
        stream = confirmation_of(f"validation {self.iteration}")
        self.confirmation = self.evaluate(confirmation_batches(self.task, stream), stream=stream)
        return self.confirmation.error < threshold

    def _acts_well(self, solved_return: float | None) -> bool:
        """Whether the last episodes reach a return, and fresh ones do."""
        if solved_return is None or self.iteration % CHECK_EVERY:
            return False
        mean, n_episodes = self.history.recent_return(self.batch_size)
        if n_episodes < EPISODES or mean < solved_return:
            return False
        self.confirmation = self._validate()
        returns = self.confirmation.returns
        return returns is not None and returns.mean >= solved_return

    def _show(self, bar: tqdm) -> None:
        values = {"loss": f"{self.history.loss[-1]:.4g}"}
        if self.history.returns and not np.isnan(self.history.returns[-1]):
            values["return"] = f"{self.history.recent_return(self.batch_size)[0]:.4g}"
        if not np.isnan(self.history.error[-1]):
            values["error"] = f"{np.mean(self.history.error[-CHECK_EVERY:]):.3f}"
        values["rate"] = f"{self.history.rate_hz[-1]:.1f} Hz"
        # The next update of the bar draws it: refreshing here would draw it at every call.
        bar.set_postfix(values, refresh=False)


def _is_finite(outcome: Outcome) -> bool:
    """Whether all losses and returns are finite."""
    numbers = [outcome.loss]
    if outcome.episodes is not None:
        numbers.append(outcome.episodes.returns)
    return bool(np.all(np.isfinite(numbers)))
