"""Copy and repeat: say a pattern of bits as often as asked.

A trial has a start flag, a pattern of N vectors of bits, a number R, and then nothing: from there
on the network must give the pattern R times, and a flag that says that it has come to the end::

    step       0      1 ... N     N + 1    N + 2 ... N + 1 + R N    N + 2 + R N
    input    start    pattern       R
    target                                  pattern, R times            end

The inputs, analog values, are the bits, the start flag and R/10; the outputs the bits and the end
flag. Networks learn it from short trials to long ones (`Level`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eprop_brian.base.checks import check_count
from eprop_brian.base.random import integers, rng_for
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.trials import Trials

__all__ = ["CopyRepeat", "Level"]

#: The channel that shows how often to repeat shows R divided by this.
_REPEATS_SCALE = 10


class Level(NamedTuple):
    """A level of the curriculum: how long a pattern is, and how often it is repeated."""

    length: int = 1
    repeats: int = 1

    @property
    def n_steps(self) -> int:
        """Length of a trial in steps."""
        return (self.repeats + 1) * self.length + 3

    def next(self) -> Level:
        """The level after this one: one repeat more while they are fewer than the pattern's bits.

        Then the pattern is one vector longer.
        """
        if self.repeats < self.length:
            return Level(self.length, self.repeats + 1)
        return Level(self.length + 1, self.repeats)


@dataclass(frozen=True, kw_only=True, eq=False)
class CopyRepeat(Task):
    """Say a pattern of bits as often as asked, and then that this is the end.

    Parameters
    ----------
    n_bits : int
        Bits of a vector.
    length : int
        Vectors of a pattern, N.
    repeats : int
        How often the pattern is to be given, R.
    dt : Quantity
        Length of a time step, 1 ms by default.

    Raises
    ------
    ValueError
        If a setting is out of range.

    Notes
    -----
    The loss is the cross-entropy of each bit, from step N + 2 on. All trials of these settings are
    of the same length, (R + 1) N + 3 steps.
    """

    name: ClassVar[str] = "copy-repeat"
    description: ClassVar[str] = "repeat a pattern of bits as often as asked"
    source: ClassVar[str] = (
        "repeat copy of Graves et al. 2014, Neural Turing machines, arXiv:1410.5401, with the "
        "curriculum of Jaderberg et al. 2017, Decoupled neural interfaces using synthetic "
        "gradients, arXiv:1608.05343; used for e-prop 3 by Bellec et al. 2019, arXiv:1901.09049. "
        "The layout of a trial is that of other implementations"
    )
    loss: ClassVar[str] = "sigmoid_cross_entropy"

    n_bits: int = 8
    length: int = 1
    repeats: int = 1

    def __post_init__(self) -> None:
        for setting in ("n_bits", "length", "repeats"):
            check_count(setting, getattr(self, setting))
        super().__post_init__()

    @property
    def level(self) -> Level:
        """Length and repeats."""
        return Level(self.length, self.repeats)

    @property
    def n_steps(self) -> int:
        """Length of a trial in steps, 5 by default."""
        return self.level.n_steps

    @property
    def n_inputs(self) -> int:
        """The bits, the start flag, and how often to repeat."""
        return self.n_bits + 2

    @property
    def n_outputs(self) -> int:
        """The bits and the end flag."""
        return self.n_bits + 1

    @property
    def learning_window(self) -> int:
        """The steps in which the network answers."""
        return self.length * self.repeats + 1

    def patterns(self, seed: int, stream: str, index: int, n_trials: int) -> NDArray[np.intp]:
        """Return the patterns that `trials` with the same arguments shows.

        Returns
        -------
        int array, shape (n_trials, length, n_bits)
            0 or 1.
        """
        check_count("n_trials", n_trials)
        return integers(rng_for(seed, stream, index), 2, (n_trials, self.length, self.n_bits))

    def trials(self, seed: int, stream: str, index: int, n_trials: int) -> Trials:
        """Draw trials, each with a pattern of its own.

        See `Task.trials`. `inputs` has the shape (n_trials, n_steps, n_bits + 2), `targets`
        (n_trials, n_steps, n_bits + 1).
        """
        patterns = self.patterns(seed, stream, index, n_trials)
        inputs = np.zeros((n_trials, self.n_steps, self.n_inputs))
        inputs[:, 0, self.n_bits] = 1
        inputs[:, 1 : self.length + 1, : self.n_bits] = patterns
        inputs[:, self.length + 1, self.n_bits + 1] = self.repeats / _REPEATS_SCALE
        targets = np.zeros((n_trials, self.n_steps, self.n_outputs))
        answer = np.tile(patterns, (1, self.repeats, 1))
        targets[:, self.length + 2 : -1, : self.n_bits] = answer
        targets[:, -1, self.n_bits] = 1
        return Trials(
            inputs=inputs,
            targets=targets,
            pattern=np.arange(n_trials),
            target=np.arange(n_trials),
        )
