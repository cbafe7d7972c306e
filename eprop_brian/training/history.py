"""History of e-prop training, one row per iteration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eprop_brian.base.description import Described, Description
from eprop_brian.base.history import Rows, column, columns_of

__all__ = ["EPISODES", "History"]

#: Episodes over which a return is a mean: the last ones of training, and fresh ones of a test.
EPISODES = 100


@dataclass
class History(Rows, Described):
    """Loss, error, rate and time of every iteration, and how well the feedback is aligned.

    Attributes
    ----------
    loss : list of float
        Mean loss of the batch before its update.
    error : list of float
        Fraction of wrong trials in the batch, or its label error rate; NaN where the task defines
        no error.
    rate_hz : list of float
        Mean firing rate of the recurrent neurons.
    seconds : list of float
        Wall time of the iteration (of a call of several iterations, their mean).
    alignment : list of float
        Cosine of the angle between the feedback weights B and the transposed readout weights after
        the last iteration of a call; NaN within one.
    returns, length, entropy, value_error : list of float
        Of episodes in an environment, means over the batch: the sum of an episode's rewards, its
        actions, the mean entropy of the policy over them, and the mean squared error of the value.
        NaN without an environment. In files and among `columns`, where others have no such
        columns, the first is called ``return``.
    validation_loss, validation_error, validation_return : list of float
        Of a validation with fresh trials after the iteration; NaN where there was none. A column
        without a number is left out.
    rates_hz : dict of str to list of float
        Mean firing rate of each population, where there are several: columns ``rate_hz.NAME``. NaN
        in rows of earlier versions.
    """

    numbered: ClassVar[str] = "iteration"
    picture: ClassVar[str] = "eprop_brian.figures.learning:plot_learning_curve"

    loss: list[float] = column()
    error: list[float] = column(optional=True)
    rate_hz: list[float] = column("{:.6g}")
    seconds: list[float] = column("{:.6g}", incidental=True)
    # Where a call ends depends on where training was interrupted.
    alignment: list[float] = column(optional=True, incidental=True)
    returns: list[float] = column(name="return", special=True)
    length: list[float] = column("{:.6g}", special=True)
    entropy: list[float] = column("{:.6g}", special=True)
    value_error: list[float] = column("{:.6g}", special=True)
    validation_loss: list[float] = column(special=True)
    validation_error: list[float] = column(special=True)
    validation_return: list[float] = column(special=True)
    rates_hz: dict[str, list[float]] = columns_of("rate_hz", "{:.6g}")

    def recent_return(self, batch_size: int) -> tuple[float, int]:
        """Mean return of the last 100 episodes, and how many of them there were.

        Of the oldest batch a part counts, where 100 episodes are no whole number of batches. NaN
        and 0 before the first episode, and without an environment.

        Parameters
        ----------
        batch_size : int
            Episodes of an iteration.
        """
        n_batches = -(-EPISODES // batch_size)
        returns = np.array(self.returns[-n_batches:])
        sizes = np.full(len(returns), float(batch_size))
        if not len(returns) or np.isnan(returns[-1]):
            return float("nan"), 0
        sizes[0] -= max(0.0, sizes.sum() - EPISODES)
        return float(np.average(returns, weights=sizes)), int(sizes.sum())

    def is_finite(self, n: int) -> bool:
        """Whether the losses, and in an environment the returns, of the last `n` rows are."""
        returns = [] if np.all(np.isnan(self.returns)) else self.returns
        return all(np.all(np.isfinite(column[-n:])) for column in (self.loss, returns))

    def description(self) -> Description:
        """First, last and lowest values, for `print` and notebooks."""
        columns = self.arrays()
        alignment = columns["alignment"][np.isfinite(columns["alignment"])]
        rows = [
            ("loss", _course(columns["loss"])),
            ("wrong trials (%)", _course(100 * columns["error"])),
            *(
                (what, _course(columns[name], np.max))
                for name, what in (("return", "return"), ("length", "actions of an episode"))
                if name in columns
            ),
            ("firing rate (Hz)", _course(columns["rate_hz"])),
            *(
                (f"firing rate of {name} (Hz)", _course(np.array(rates)))
                for name, rates in self.rates_hz.items()
            ),
            ("alignment of the feedback", f"{alignment[-1]:.3f}" if len(alignment) else ""),
            ("time (s)", f"{columns['seconds'].sum():.3g}" if len(self) else ""),
        ]
        iterations = "1 iteration" if len(self) == 1 else f"{len(self)} iterations"
        return Description(f"History of {iterations}", rows)

    def __repr__(self) -> str:
        course = f": loss {self.loss[0]:.4g} to {self.loss[-1]:.4g}" if self.loss else ""
        return f"<history of {len(self)} iterations{course}>"


def _course(values: np.ndarray, best: Callable[[np.ndarray], float] = np.min) -> str:
    """First, last and lowest (or highest) of some values; nothing where none is defined."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return ""
    which = "lowest" if best is np.min else "highest"
    return f"{finite[0]:.4g} first, {finite[-1]:.4g} last, {best(finite):.4g} {which}"
