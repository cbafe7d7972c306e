"""What is said while a network trains of how it fires: not at all, or as often as it can.

A network in which nothing fires and nothing changes cannot recover, and ends training. Everything
else is named once, with the iteration since which it is so, and may be mended by learning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from eprop_brian.base.sparse import Matrix, values_of
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.network.resolved import Resolved
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.diagnosis import TrainingError
from eprop_brian.training.history import History
from eprop_brian.training.rerun import Diagnosis, learning_rates
from eprop_brian.training.silence import largest_change, silence
from eprop_brian.training.state import LearningSession

__all__ = ["LASTING", "SATURATED", "FiringWatch", "is_read", "most_rate"]

#: Iterations in a row in which a population must be silent or saturated to be named.
LASTING = 10
#: Share of the highest possible firing rate from which on a population is saturated.
SATURATED = 0.9
#: Changes of weights, relative to the largest, that are due to rounding.
_ROUNDING = 1e-12


def most_rate(population: PopulationGroup, dt: float) -> float:
    """Firing rate in Hz that refractoriness allows, a spike in every step at most; `dt` in s."""
    interval = np.maximum(1, population.system.step.refractory_steps(dt))
    return float(np.mean(1 / (interval * dt)))


class FiringWatch:
    """Follows the firing rates of a network that learns.

    Parameters
    ----------
    session : LearningSession
    dtype : str
        Of the session.
    """

    def __init__(self, session: LearningSession, dtype: str) -> None:
        self._session, self._dtype = session, dtype
        network = session.resolved
        self._streaks = [
            _Streak(kind, population, network)
            for population in network.populations
            for kind in (_SILENT, _IS_SATURATED)
            if kind is not _SILENT or not is_read(population, network)
        ]
        self._n_seen = 0
        # Whether a network without a spike has been diagnosed, and reported.
        self._is_looked_at = self._is_named = False

    def check(
        self, history: History, first: int, trials: Trials, before: Mapping[str, Matrix]
    ) -> Iterator[str]:
        """Say what is to be warned of after a call of the program.

        Parameters
        ----------
        history : History
        first : int
            Iterations before the call.
        trials : Trials
            Of the call's last batches.
        before : mapping of str to array
            State before them.

        Raises
        ------
        TrainingError
            If no neuron fired in the call and it changed nothing.
        """
        if all(x.parameters.get("eta") == 0 for x in self._session.resolved.optimizers):
            return
        message = self._check_alive(history, first, trials, before)
        if message:
            yield message
        if self._n_seen > len(history):  # a call was taken back
            self._n_seen = 0
        rows = range(self._n_seen, len(history))
        self._n_seen = len(history)
        for streak in self._streaks:
            if streak.follow(history, rows) and not (self._is_named and streak.kind is _SILENT):
                yield streak.message()

    def _check_alive(
        self, history: History, first: int, trials: Trials, before: Mapping[str, Matrix]
    ) -> str:
        """Report a network that had no spike in a call and cannot learn by its gradient.

        Exported programs check the same conditions (``Trainer::check_alive`` in
        ``native/driver/trainer.h``), except for the surrogate, which they cannot read.
        """
        fired = np.flatnonzero(history.rate_hz)
        if len(fired) and fired[-1] >= first:
            self._is_looked_at = self._is_named = False
            return ""
        if self._is_named:
            return ""
        change = largest_change(before, self._session.weights)
        # The states of the optimizer may still move weights for a while.
        if change > _ROUNDING and self._is_looked_at:
            return ""
        self._is_looked_at = True
        after = self._session.state()
        report = silence(Diagnosis(self._session, trials, after, self._dtype))
        if change > _ROUNDING and not report.is_dead:
            return ""
        self._is_named = True
        last_spike = int(fired[-1]) + 1 if len(fired) else 0
        since = f" (the last to fire did so in iteration {last_spike})" if last_spike else ""
        message = (
            f"no neuron fires in any trial of iterations {(last_spike or first) + 1} to "
            f"{len(history)}{since}, and {report.text(last_spike, change)}"
        )
        # States of the optimizer that change may still move weights later.
        stays = all(
            np.array_equal(values_of(value), values_of(before[name]))
            for name, value in after.items()
            if name != "n_updates" and not name.startswith("carried.")
        )
        if stays and np.any(history.loss[first:]):
            raise TrainingError(message)
        if change > _ROUNDING:
            message += ". Only regularisers or the optimizer change weights"
        return message


class _Kind(NamedTuple):
    """A way to fire that is named, and what helps against it."""

    name: str
    advice: str
    advice_after_change: str


_SILENT = _Kind(
    "silent",
    "Scale the weights that reach it up, lower its threshold, or choose a surrogate that is wide "
    "enough to let gradients pass",
    "If learning has silenced it, try a smaller learning rate (now {eta}), or a rate regulariser "
    "(c_reg, f_target); else scale the weights that reach it up, or lower its threshold",
)
_IS_SATURATED = _Kind(
    "saturated",
    "Scale the weights that reach it down, raise its threshold, or add a rate regulariser (c_reg, "
    "f_target)",
    "If learning has driven it there, try a smaller learning rate (now {eta}), or a rate "
    "regulariser (c_reg, f_target); else scale the weights that reach it down",
)


class _Streak:
    """Iterations in a row in which a population is silent, or saturated."""

    def __init__(self, kind: _Kind, population: PopulationGroup, network: Resolved) -> None:
        self.kind = kind
        self._name, self._network = population.name, network
        self._most = most_rate(population, float(network.dt))
        self._first: int | None = None  # iteration, from 1 on
        self._ended = 0  # iterations since the end of the last one
        self._is_named = False
        self._rate = 0.0

    def follow(self, history: History, rows: range) -> bool:
        """Whether it is to be named after new rows of a history: it has lasted, and was not yet.

        It is named again only if it has been over for as long.
        """
        rates = history.rates_hz.get(self._name, history.rate_hz)
        if rows.start == 0:
            self._first = None
        for row in rows:
            self._rate = rates[row]
            if self._holds(rates[row]):
                self._first, self._ended = self._first or row + 1, 0
            else:
                self._first, self._ended = None, self._ended + 1
        if self._ended >= LASTING:
            self._is_named = False
        if self._first is None or len(history) - self._first + 1 < LASTING or self._is_named:
            return False
        self._is_named = True
        return True

    def _holds(self, rate: float) -> bool:
        return rate == 0 if self.kind is _SILENT else rate >= SATURATED * self._most

    def message(self) -> str:
        """Name the population, since when it is so, and what helps."""
        what = "not one of its neurons has fired in any trial since then"
        if self.kind is not _SILENT:
            what = (
                f"it fires at {self._rate:.4g} Hz, {self._rate / self._most:.0%} of the "
                f"{self._most:.4g} Hz that are possible, and spikes that are always there say "
                "nothing"
            )
        first = self._first or 1
        advice = self.kind.advice if first == 1 else self.kind.advice_after_change
        return (
            f"population '{self._name}' is {self.kind.name} since iteration {first}: {what}. "
            f"{advice.format(eta=learning_rates(self._network))}"
        )


def is_read(population: PopulationGroup, network: Resolved) -> bool:
    """Whether a readout reads its states, for which it need not fire."""
    return any(c.reads and population.name in c.sources for c in network.connections)
