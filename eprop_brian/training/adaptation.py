"""What one update makes of a network: tested on tasks that it has never seen, by the program alone.

The network runs on a device, where the update is an ordinary one: a batch, which is the support of
a task, and then the optimizer. Beside the update by the learning signals that were trained there
are controls: signals that reach other neurons than they should, signals for another task, and
ordinary e-prop, whose learning signals are errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from eprop_brian.base.checks import check_count
from eprop_brian.base.random import rng_for
from eprop_brian.base.sparse import Matrix, copied
from eprop_brian.network.one_update import with_errors, without_emitting
from eprop_brian.network.program import make_program
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.families import TaskBatch, TaskFamily
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.recording import record
from eprop_brian.training.requirements import check_drawn, check_family
from eprop_brian.training.session import Session

__all__ = ["RATES", "Adaptation", "AdaptationTest", "Example", "measure_adaptation"]

#: Tasks whose course is kept.
_SHOWN = 4
#: Learning rates of ordinary e-prop of which the best is taken.
RATES = tuple(10.0 ** (k / 2) for k in range(-8, 7))


class Adaptation:
    """A network on a device that learns a task of a family by one update, and is tested.

    Parameters
    ----------
    network : Network or Resolved
        With ``gradient`` ``"factored"`` or ``"online"``.
    family : TaskFamily
    weights : mapping
        As `Network.initial_weights` gives them: those that every task begins with.
    device, dtype : str
        As `make_program`.
    """

    def __init__(
        self,
        network: Network | Resolved,
        family: TaskFamily,
        weights: Mapping[str, Matrix],
        *,
        device: str = "cpp",
        dtype: str = "float64",
    ) -> None:
        resolved = as_resolved(network)
        self.network, self.family = resolved, family
        example = family.draw(0, "example", 0, 1)
        program, window = make_program(device, dtype), family.learning_window
        self._learning = Session(resolved, program, example.support, window, weights)
        tested = without_emitting(resolved)
        kept = {name: weights[name] for name in tested.shapes}
        self._tested = Session(tested, program, example.query, window, kept, learning=False)

    def learn(self, weights: Mapping[str, Matrix], support: Trials) -> dict[str, Matrix]:
        """The weights after one update by the support of one task."""
        self._set(self._learning, weights)
        self._learning.run(support, support.n_trials)
        return {name: copied(w) for name, w in self._learning.weights.items()}

    def outputs(self, weights: Mapping[str, Matrix], query: Trials) -> np.ndarray:
        """Outputs in the queries of one task, shape (n_query, n_steps, n_outputs)."""
        self._set(self._tested, weights)
        outputs = []
        for trial in range(query.n_trials):
            self._tested.run(query.part(slice(trial, trial + 1)), 1, learning=False)
            outputs.append(self._tested.readouts())
        return np.stack(outputs)

    def errors(self, weights: Mapping[str, Matrix], query: Trials) -> float:
        """Mean error of the queries of one task, as the family measures it."""
        return float(self.family.errors(self.outputs(weights, query), query).mean())

    def close(self) -> None:
        """End the programs."""
        self._learning.close()
        self._tested.close()

    @staticmethod
    def _set(session: Session, weights: Mapping[str, Matrix]) -> None:
        session.weights.update({name: copied(weights[name]) for name in session.weights})


@dataclass(frozen=True)
class Example:
    """The course of some tasks.

    Attributes
    ----------
    targets, outputs_before, outputs_after : array, shape (n_tasks, n_steps, n_outputs)
        In the first query of each.
    learning_signal : array, shape (n_steps, n_learning)
        What is emitted in the first trial of the first task's support.
    """

    targets: np.ndarray
    outputs_before: np.ndarray
    outputs_after: np.ndarray
    learning_signal: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays as a file has them, by names of their own."""
        return {f"example.{name}": value for name, value in vars(self).items()}

    @staticmethod
    def is_array(name: str) -> bool:
        """Whether an array of a file with this name is one of `arrays`."""
        return name.startswith("example.")

    @classmethod
    def of(cls, arrays: Mapping[str, Any]) -> Example:
        """Read `arrays` from those of a file."""
        return cls(**{f.name: np.asarray(arrays[f"example.{f.name}"]) for f in fields(cls)})


@dataclass(frozen=True)
class AdaptationTest:
    """Errors of a network on tasks that it has not seen, shape (n_tasks,) each.

    Attributes
    ----------
    before, after : array
        The update.
    shuffled : array
        After an update whose learning signals were dealt out to other neurons at random.
    other : array
        After an update by the learning signals for another task.
    errors_adapted, errors_drawn : array
        After one update of ordinary e-prop, from the same weights and from those that were drawn
        before training, at the learning rate that is best for these very tasks.
    rate_adapted, rate_drawn : float
        These learning rates.
    drawn : array
        Before the update, with the weights that were drawn.
    example : Example
        The course of the first tasks.
    """

    before: np.ndarray
    after: np.ndarray
    shuffled: np.ndarray
    other: np.ndarray
    errors_adapted: np.ndarray
    errors_drawn: np.ndarray
    drawn: np.ndarray
    rate_adapted: float
    rate_drawn: float
    example: Example

    @property
    def ratio(self) -> float:
        """Mean error after the update, of that before."""
        return float(self.after.mean() / self.before.mean())

    def errors(self) -> dict[str, np.ndarray]:
        """Errors of all tasks by name."""
        return {k: v for k, v in vars(self).items() if isinstance(v, np.ndarray)}

    def results(self) -> dict[str, float]:
        """Means over tasks by name, what is left of the error, and the learning rates."""
        means = {name: float(errors.mean()) for name, errors in self.errors().items()}
        rates = {name: getattr(self, name) for name in ("rate_adapted", "rate_drawn")}
        return {**means, "ratio": self.ratio, **rates}


def measure_adaptation(
    network: Network | Resolved,
    family: TaskFamily,
    weights: Mapping[str, Matrix],
    drawn: Mapping[str, Matrix],
    *,
    n_tasks: int = 64,
    seed: int = 1,
    device: str = "cpp",
    dtype: str = "float64",
    rates: Sequence[float] = RATES,
) -> AdaptationTest:
    """Test a network on tasks of the stream ``"test"``, and controls beside it.

    Parameters
    ----------
    network : Network or Resolved
    family : TaskFamily
    weights, drawn : mapping
        Those that were trained, and those that training began with.
    n_tasks : int
        At least 2, since a control takes the learning signals for another task.
    seed : int
        Of the tasks, and of the neurons to which signals are dealt out.
    device, dtype : str
    rates : sequence of float
        Learning rates that ordinary e-prop may choose from.

    Raises
    ------
    ValueError
        If the network does not fit the family, its update is more than one by emitted learning
        signals, or there are fewer than two tasks.
    """
    resolved = as_resolved(network)
    check_family(resolved, family)
    check_count("n_tasks", n_tasks, minimum=2)
    check_drawn(family, n_tasks, "n_test")
    tasks = family.draw(seed, "test", 0, n_tasks)
    each = [tasks.part(slice(k, k + 1)) for k in range(n_tasks)]
    emitted = [signal.name for signal in resolved.signals]
    rng = rng_for(seed, "shuffled signals")
    whole = Adaptation(resolved, family, weights, device=device, dtype=dtype)
    try:
        before = _of_all(each, lambda task: whole.errors(weights, task.query))
        after = _of_all(
            each, lambda task: whole.errors(whole.learn(weights, task.support), task.query)
        )

        def shuffled(task: TaskBatch) -> float:
            dealt = {
                n: rng.permutation(weights[n]) if n in emitted else w for n, w in weights.items()
            }
            learned = whole.learn(dealt, task.support)
            return whole.errors(learned, task.query)

        def other(number: int) -> float:
            task = each[number]
            taught = _taught(task.support, each[number - 1].support, family.n_teaching)
            return whole.errors(whole.learn(weights, taught), task.query)

        example = _example(whole, weights, each[:_SHOWN])
        by_shuffled = _of_all(each, shuffled)
        by_other = np.array([other(number) for number in range(n_tasks)])
    finally:
        whole.close()
    by_errors = {}
    for name, start in (("adapted", weights), ("drawn", drawn)):
        by_errors[name] = _best_rate(resolved, family, start, each, rates, device, dtype)
    (rate_adapted, errors_adapted, _), (rate_drawn, errors_drawn, at_start) = by_errors.values()
    return AdaptationTest(
        before=before,
        after=after,
        shuffled=by_shuffled,
        other=by_other,
        errors_adapted=errors_adapted,
        errors_drawn=errors_drawn,
        drawn=at_start,
        rate_adapted=rate_adapted,
        rate_drawn=rate_drawn,
        example=example,
    )


def _example(
    adaptation: Adaptation, weights: Mapping[str, Matrix], tasks: Sequence[TaskBatch]
) -> Example:
    """The course of some tasks, and what is emitted in the first trial of the first."""
    targets, before, after = [], [], []
    for task in tasks:
        query = task.query.part(slice(0, 1))
        outputs = adaptation.outputs(weights, query)[0]
        learned = adaptation.learn(weights, task.support)
        before.append(outputs)
        after.append(adaptation.outputs(learned, query)[0])
        targets.append(np.broadcast_to(query.targets[query.target[0]], outputs.shape))
    network = adaptation.network
    learning = {name: None for signal in network.signals for name in signal.targets}
    recording = record(
        network,
        tasks[0].support,
        weights,
        quantities=["learning_signal"],
        neurons=learning,
        synapses=0,
        learning_window=adaptation.family.learning_window,
    )
    signals = np.asarray(recording["learning_signal"])
    return Example(np.array(targets), np.array(before), np.array(after), signals)


def _of_all(tasks: Sequence[TaskBatch], error: Callable[[TaskBatch], float]) -> np.ndarray:
    return np.array([error(task) for task in tasks])


def _taught(support: Trials, by: Trials, n_teaching: int) -> Trials:
    """Trials in which the last inputs, which teach, are those of others."""
    inputs = np.array(support.inputs[support.pattern])
    inputs[..., -n_teaching:] = by.inputs[by.pattern][..., -n_teaching:]
    return replace(support, inputs=inputs, pattern=np.arange(len(inputs)))


def _best_rate(
    network: Resolved,
    family: TaskFamily,
    weights: Mapping[str, Matrix],
    tasks: Sequence[TaskBatch],
    rates: Sequence[float],
    device: str,
    dtype: str,
) -> tuple[float, np.ndarray, np.ndarray]:
    """The best rate of ordinary e-prop, the errors after one update with it, and before it.

    The update is linear in the rate where no weight is clipped: one run gives the gradient.
    """
    by_errors = with_errors(network)
    start: dict[str, Any] = {name: w for name, w in weights.items() if name in by_errors.shapes}
    for signal in by_errors.signals:
        start[signal.name] = np.zeros(signal.shape)  # it follows the readout weights
    adaptation = Adaptation(by_errors, family, start, device=device, dtype=dtype)
    eta = by_errors.optimizer.parameters["eta"]
    try:
        before = _of_all(tasks, lambda task: adaptation.errors(start, task.query))
        learned = [adaptation.learn(start, task.support) for task in tasks]
        best = (0.0, before)
        for rate in rates:
            errors = np.array(
                [
                    adaptation.errors(_with_rate(start, after, rate / eta), task.query)
                    for task, after in zip(tasks, learned, strict=True)
                ]
            )
            if errors.mean() < best[1].mean():
                best = (rate, errors)
    finally:
        adaptation.close()
    return (*best, before)


def _with_rate(
    start: Mapping[str, Matrix], after: Mapping[str, Matrix], factor: float
) -> dict[str, Matrix]:
    """Weights after a change that is a multiple of another."""
    return {name: w + factor * (after[name] - w) for name, w in start.items()}
