"""What a task is: inputs, targets and timing, and nothing about learning.

A task hands out `Trials`. Its settings are fixed at construction, and what it hands out depends
only on the seed, the stream ("train", "validation", "test", ...) and the index (the iteration or
batch number), not on earlier calls or on the process that calls.

Your own task is a subclass. Attributes that never change can stay plain class attributes; draw
all randomness from `rng_for`:

>>> import numpy as np
>>> from eprop_brian.tasks import Task, Trials, poisson_spikes, rng_for
>>> class WhichIsFaster(Task):
...     '''Two inputs: the answer is the one that fires faster.'''
...
...     name = "which-is-faster"
...     description = "two Poisson inputs; the class is the faster one"
...     n_steps = 200
...     n_inputs = 2
...     n_outputs = 2
...     learning_window = 50
...     loss = "softmax_cross_entropy"
...
...     def trials(self, seed, stream, index, n_trials):
...         rng = rng_for(seed, stream, index)
...         probability = np.array([[0.08, 0.02], [0.02, 0.08]])  # (class, input), per step
...         spikes = [poisson_spikes(rng, np.tile(p, (self.n_steps, 1)))[0] for p in probability]
...         faster = rng.integers(2, size=n_trials)
...         return Trials(
...             inputs=np.array(spikes),  # one frozen pattern per class
...             targets=np.eye(2)[:, np.newaxis, :],  # one-hot, constant over the trial
...             pattern=faster,
...             target=faster,
...         )
>>> trials = WhichIsFaster().trials(seed=1, stream="train", index=0, n_trials=4)
>>> trials.inputs.shape, trials.targets.shape, trials.n_trials
((2, 200, 2), (2, 1, 2), 4)

For settings that a user may choose, make it a dataclass, as `PatternGeneration` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from brian2.units import Quantity, ms
from numpy.typing import ArrayLike, NDArray

from eprop_brian.base.checks import check_count, check_quantity
from eprop_brian.base.memory import check_memory
from eprop_brian.equations.losses import LOSSES
from eprop_brian.tasks.labels import label_errors
from eprop_brian.tasks.trials import Trials, noise_keys

__all__ = [
    "Task",
    "confirmation_of",
    "hand_out",
    "is_confirmation",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Task(ABC):
    """Base class of all tasks; the module's text shows how to write one.

    Parameters
    ----------
    dt : Quantity
        Length of a time step, 1 ms by default.

    Attributes
    ----------
    name : str
        Name on the command line, such as "pattern-generation".
    description : str
        One line that says what the network must do.
    source : str
        Where the task and its default settings come from.
    argument : str
        Setting that stands behind the name on the command line, ``env`` for
        "gymnasium:CartPole-v1"; empty for none.
    n_steps, n_inputs, n_outputs : int
        Length of a trial in steps, number of inputs and of readout neurons.
    learning_window : int
        Number of steps at the end of a trial in which the error counts.
    loss : str
        A key of `eprop_brian.equations.losses.LOSSES`. "softmax_cross_entropy" means
        classification, with one-hot targets, or such multiplied by class weights; "ctc" sequences
        of labels (`Trials.labels`).
    error_threshold : float or None
        The task counts as solved when the error on validation trials is below it.
    class_names : sequence of str
        Names of the classes, in the order of the outputs; empty where they have none.
    fixed_examples : bool
        Whether an example of a data set is the same trial each time that it is shown, so that a
        test need not show it twice.

    Raises
    ------
    brian2.DimensionMismatchError
        If a setting has the wrong units.
    TypeError, ValueError
        If an attribute is missing or out of range.
    """

    name: ClassVar[str]
    description: ClassVar[str] = ""
    source: ClassVar[str] = ""
    argument: ClassVar[str] = ""
    loss: ClassVar[str]
    error_threshold: ClassVar[float | None] = None
    class_names: ClassVar[Sequence[str]] = ()
    fixed_examples: ClassVar[bool] = False

    dt: Quantity = field(default_factory=lambda: 1 * ms)

    # Abstract properties, so that a subclass may make each of them a plain class attribute,
    # a setting (dataclass field) or a property derived from its settings.
    @property
    @abstractmethod
    def n_steps(self) -> int:
        """Length of a trial in steps."""

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """Number of inputs."""

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Number of readout neurons."""

    @property
    @abstractmethod
    def learning_window(self) -> int:
        """Number of steps at the end of a trial in which the error counts."""

    def n_examples(self, stream: str) -> int | None:
        """Return how many different examples the trials of a stream can show.

        None, as by default, for a task that draws every trial anew.
        """
        return None

    @abstractmethod
    def trials(self, seed: int, stream: str, index: int, n_trials: int) -> Trials:
        """Draw a batch of trials: a function of its arguments alone.

        Parameters
        ----------
        seed : int
            Seed of the run. What is frozen during a run depends on it only.
        stream : str
            "train", "validation", "test" or any other name; streams are independent.
        index : int
            Iteration or batch number within the stream.
        n_trials : int
            Number of trials. A batch at the end of an epoch may have fewer, at least one.
        """

    def __post_init__(self) -> None:
        for attribute in ("name", "loss"):
            if not hasattr(self, attribute):
                raise TypeError(f"{type(self).__name__} must define the attribute {attribute!r}")
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")
        if check_quantity("dt", self.dt, ms) <= 0:
            raise ValueError(f"dt must be positive, got {self.dt!s}")
        for attribute in ("n_steps", "n_inputs", "n_outputs", "learning_window"):
            check_count(attribute, getattr(self, attribute))
        if self.learning_window > self.n_steps:
            raise ValueError(
                f"learning_window ({self.learning_window} steps) is longer than the trial "
                f"({self.n_steps} steps)"
            )

    def errors(self, outputs: ArrayLike, trials: Trials) -> NDArray[np.float64] | None:
        """Return which trials were answered wrongly.

        Parameters
        ----------
        outputs : array of float, shape (n_trials, n_outputs) or (n_trials, n_answers, n_outputs)
            Readout signal (the softmax probability) averaged over the steps that count; NaN for
            an answer that a trial does not have.
        trials : Trials
            The trials that gave these outputs.

        Returns
        -------
        errors : float array, shape (n_trials,), or None
            1 where the largest output is not the target class, else 0; the first of equal
            outputs is the answer. Of several answers, the fraction that is wrong. For a loss of
            labels, what `eprop_brian.tasks.labels.label_errors` gives. None for tasks without
            classes, whose measure is the loss.

        Raises
        ------
        ValueError
            If `outputs` has another shape or contains NaN where there is an answer.
        """
        if not LOSSES[self.loss].softmax:
            return None
        if LOSSES[self.loss].of_labels:
            return label_errors(outputs, trials)
        outputs = np.asarray(outputs, dtype=float)
        answers = (trials.n_answers,) if trials.n_answers else ()
        expected = (trials.n_trials, *answers, trials.targets.shape[2])
        if outputs.shape != expected:
            axes = "(n_trials, n_answers, n_outputs)" if answers else "(n_trials, n_outputs)"
            raise ValueError(
                f"outputs must have the shape {axes} = {expected}, got {outputs.shape}"
            )
        present = trials.counted(self.learning_window) > 0
        outputs = outputs.reshape(*present.shape, -1)
        if np.isnan(outputs[present]).any():  # argmax would pick the NaN as the answer
            raise ValueError("outputs contain NaN")
        wrong = outputs.argmax(axis=2) != trials.classes(self.learning_window)
        return (wrong & present).sum(axis=1) / present.sum(axis=1)

    def confusions(self, outputs: ArrayLike, trials: Trials) -> dict[str, NDArray[np.int64]]:
        """Count how often each class was taken for which, by the kind of what is classified.

        Parameters
        ----------
        outputs, trials
            As for `errors`.

        Returns
        -------
        dict of str to int array, shape (n_outputs, n_outputs)
            By the right class and the answer; the diagonal was right. Empty, as by default, where
            `errors` says all.
        """
        return {}


#: Numbers of all inputs from which on it is asked whether there is memory for them.
_LARGE = 10**8
#: Bytes of a trial's numbers (pattern, target, noise), and of those that they are drawn with.
_BYTES_OF_NUMBERS = 48
_AGAIN = " again"


def confirmation_of(stream: str) -> str:
    """Return the stream whose trials confirm the result of a validation."""
    return stream + _AGAIN


def is_confirmation(stream: str) -> bool:
    """Whether `confirmation_of` returned this stream."""
    return stream.endswith(_AGAIN)


def hand_out(task: Task, seed: int, stream: str, index: int, n_trials: int) -> Trials:
    """Get trials from a task and check them: as many as asked for, or fewer where examples end.

    Each has a key of its noise, unless the task has given it one.

    Parameters
    ----------
    task : Task
    seed, stream, index, n_trials
        As for `Task.trials`.

    Raises
    ------
    TypeError
        If the task returns anything but `Trials`.
    ValueError
        If it returns more trials than it was asked for, or raises one itself.
    """
    number = index + 1
    what = (
        f"iteration {number}" if stream == "train" else f"batch {number} of the stream '{stream}'"
    )
    asked = f"{n_trials} {'trial' if n_trials == 1 else 'trials'}"
    where = f"task '{task.name}' was asked for {asked} of {what}"
    try:
        if n_trials * task.n_steps * task.n_inputs > _LARGE:
            _check_memory(task, seed, stream, index, n_trials)
        trials = task.trials(seed, stream, index, n_trials)
    except ValueError as error:
        if type(error) is not ValueError:
            raise  # missing data have a message of their own
        raise ValueError(f"{where} and failed: {error}") from error
    if not isinstance(trials, Trials):
        raise TypeError(f"{where} and handed out {type(trials).__name__}, which is not Trials")
    if trials.n_trials > n_trials:
        raise ValueError(
            f"{where} and handed out {trials.n_trials}; it must hand out as many, or fewer where "
            "its examples end"
        )
    if trials.noise is not None:
        return trials
    return trials.with_noise(noise_keys(seed, stream, index, trials.n_trials))


def _check_memory(task: Task, seed: int, stream: str, index: int, n_trials: int) -> None:
    """Raise ValueError if there is no memory for as many trials, judged by two of them."""
    # Random numbers are drawn as floats.
    check_memory(
        {f"a trial of {task.n_steps} steps": 8 * task.n_steps * task.n_inputs},
        lambda share: (
            f"at most {int(share * task.n_steps)} steps would fit"
            if share * task.n_steps >= 1
            else f"not one step of {task.n_inputs} inputs would fit"
        ),
    )
    one, two = (_bytes_of(task.trials(seed, stream, index, n)) for n in (1, 2))
    # What trials share is stored once, and so is an example that several of them show.
    n_different = min(n_trials, task.n_examples(stream) or n_trials)
    needed = max(two - one, 0) * n_different + _BYTES_OF_NUMBERS * n_trials
    check_memory(
        {f"{n_trials} trials": needed},
        lambda share: f"at most {int(share * n_trials)} would fit (batch_size)",
    )


def _bytes_of(trials: Trials) -> int:
    arrays = (trials.inputs, trials.targets, trials.pattern, trials.target, trials.periods)
    return sum(array.nbytes for array in arrays if array is not None)
