"""Gradient check: how e-prop's gradient compares with backpropagation through time's in training.

At intervals both are computed for the same batch and the same weights. E-prop's gradient leaves out
the effect of a spike on the loss by way of other neurons. The cosine of the angle between the two
measures how much of the direction remains.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from eprop_brian.base.checks import check_positive
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.progress import progress_bar
from eprop_brian.base.sparse import Matrix, values_of
from eprop_brian.base.table import read_table, write_table
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.base import hand_out
from eprop_brian.tasks.episodes import EpisodicTask
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.calls import enlarged
from eprop_brian.training.jax_session import make_bptt_session, require_jax
from eprop_brian.training.requirements import check_acting_bptt, check_beginning_anew
from eprop_brian.training.state import require_trials
from eprop_brian.training.trainer import Trainer

__all__ = ["GradientCheck", "check_comparable", "check_gradients", "read_checks", "write_checks"]

_COLUMNS = ("seed", "iteration", "projection", "cosine", "length_ratio")
#: Stream of the trials on which gradients are compared. The network does not learn from them, and
#: they are not the test examples of a data set.
_STREAM = "validation of gradients"


@dataclass
class GradientCheck:
    """Both gradients in the course of training.

    Attributes
    ----------
    iteration : list of int
        Updates made before each comparison.
    cosine : dict of str to list of float
        Cosine of the angle between the two gradients, for the weights of every projection that
        learns and every learned parameter; NaN where one of them is 0.
    ratio : dict of str to list of float
        Length of e-prop's gradient over that of the other; NaN where the other is 0.
    """

    iteration: list[int] = field(default_factory=list)
    cosine: dict[str, list[float]] = field(default_factory=dict)
    ratio: dict[str, list[float]] = field(default_factory=dict)

    def append(
        self, iteration: int, eprop: Mapping[str, Matrix], bptt: Mapping[str, Matrix]
    ) -> None:
        """Compare two gradients, keyed by what they are the gradients of.

        Parameters
        ----------
        iteration : int
        eprop, bptt : mapping of str to array or scipy.sparse.csc_array
            As a session's ``gradient()`` returns them.
        """
        arrows = {name: (_Arrow(eprop[name]), _Arrow(bptt[name])) for name in eprop}
        # An interrupt must not leave half a row.
        with uninterrupted():
            self.iteration.append(iteration)
            for name, (a, b) in arrows.items():
                both = a.length > 0 and b.length > 0
                cosine = float(a.direction @ b.direction) if both else float("nan")
                self.cosine.setdefault(name, []).append(cosine)
                ratio = a.length / b.length if b.length > 0 else float("nan")
                self.ratio.setdefault(name, []).append(ratio)

    def until(self, iteration: int) -> GradientCheck:
        """Return the comparisons up to an iteration."""
        n = sum(compared <= iteration for compared in self.iteration)
        return GradientCheck(
            self.iteration[:n],
            {name: values[:n] for name, values in self.cosine.items()},
            {name: values[:n] for name, values in self.ratio.items()},
        )

    def rows(self) -> Iterator[list[Any]]:
        """Iteration, name, cosine and ratio of every comparison; NaN is an empty field."""
        for row, iteration in enumerate(self.iteration):
            for name in self.cosine:
                values = (self.cosine[name][row], self.ratio[name][row])
                yield [iteration, name, *("" if np.isnan(value) else value for value in values)]


def write_checks(checks: Mapping[int, GradientCheck], path: Path) -> None:
    """Write a table of the checks of some seeds, one row a comparison and projection."""
    rows = ([seed, *row] for seed, check in checks.items() for row in check.rows())
    write_table(path, _COLUMNS, rows)


def read_checks(path: Path) -> dict[int, GradientCheck]:
    """Read what `write_checks` wrote, by seed.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    checks: dict[int, GradientCheck] = {}
    try:
        for row in read_table(path, _COLUMNS):
            check = checks.setdefault(int(row["seed"]), GradientCheck())
            iteration, name = int(row["iteration"]), row["projection"]
            if iteration not in check.iteration:
                check.iteration.append(iteration)
            for kept, column in ((check.cosine, "cosine"), (check.ratio, "length_ratio")):
                kept.setdefault(name, []).append(float(row[column] or "nan"))
    except ValueError as error:
        raise ValueError(f"{path} is not a table of gradient checks: {error}") from None
    for check in checks.values():
        for values in (*check.cosine.values(), *check.ratio.values()):
            if len(values) != len(check.iteration):
                raise ValueError(f"{path} is damaged: some comparisons lack a projection")
    return checks


class _Arrow:
    """A gradient's length and direction, scaled first: the square of a large one overflows."""

    def __init__(self, gradient: Matrix) -> None:
        values = np.ravel(values_of(gradient))
        largest = np.max(np.abs(values), initial=0.0)
        self.direction = values / largest if largest > 0 else values
        size = np.linalg.norm(self.direction)
        self.length = float(largest) * float(size)
        if largest > 0:
            self.direction = self.direction / size


def check_gradients(
    trainer: Trainer,
    iterations: int,
    every: int = 10,
    *,
    check: GradientCheck | None = None,
    progress: bool = True,
) -> GradientCheck:
    """Train by e-prop, and compare its gradient at intervals with the total derivative.

    Parameters
    ----------
    trainer : Trainer
        Its network learns by e-prop at the end of batches. The call trains it.
    iterations : int
        Total number of iterations; training ends earlier if the task is solved.
    every : int
        Iterations between comparisons. The first comparison precedes all training.
    check : GradientCheck, optional
        Comparisons of an earlier call, up to the trainer's iteration. New ones are appended to it.
    progress : bool

    Returns
    -------
    GradientCheck

    Raises
    ------
    ValueError
        If the network learns by backpropagation itself, or runs without trials, or JAX is missing.
    """
    check_positive("every", every)
    network = as_resolved(trainer.network)
    check_comparable(network)
    if isinstance(trainer.task, EpisodicTask):
        check_acting_bptt(network, trainer.task.environment)
        check_beginning_anew(trainer.task)
    example = enlarged(_batch(trainer, trainer.iteration), trainer.batch_size)
    bptt = make_bptt_session(
        network,
        example,
        trainer.task.learning_window,
        trainer.session.weights,
        device=trainer.device,
        dtype=trainer.dtype,
    )
    check = GradientCheck() if check is None else check
    done = trainer.iteration
    bar = progress_bar(iterations, done, "it", shown=progress)
    with contextlib.closing(bptt), bar:
        while True:
            ends = done >= iterations or trainer.solved
            # Interrupted training may resume between two comparisons.
            due = not check.iteration or done % every == 0 or ends
            if due and done not in check.iteration:
                batch = _batch(trainer, done)
                bptt.weights = dict(trainer.session.weights)
                eprop = _gradient_without_update(trainer, batch)
                check.append(done, eprop, bptt.gradient_of(batch))
                bar.set_postfix(
                    {
                        f"cosine of {c.name}": f"{check.cosine[c.name][-1]:.3f}"
                        for c in network.keys.plastic
                        if c.kind == "recurrent"
                    }
                )
            if ends:
                return check
            trainer.train(min((done // every + 1) * every, iterations), progress=False)
            bar.update(trainer.iteration - done)
            done = trainer.iteration


def check_comparable(network: Network | Resolved) -> None:
    """Raise ValueError if a network's gradient cannot be compared with the total derivative."""
    if network.gradient == "bptt":
        raise ValueError(
            "gradient = 'bptt' is what the gradient is compared with: choose 'factored' or 'online'"
        )
    require_trials(network)
    require_jax()


def _batch(trainer: Trainer, index: int) -> Trials:
    return hand_out(trainer.task, trainer.seed, _STREAM, index, trainer.batch_size)


def _gradient_without_update(trainer: Trainer, batch: Trials) -> dict[str, Matrix]:
    """The gradient of a batch from an update that is taken back."""
    with trainer.provisional():
        trainer.session.run(batch, batch.n_trials)
        return trainer.session.gradient()
