"""Explains why training stops: the first quantity that is not finite.

Where a loss or a weight is not finite, the trial at fault runs once more on the device `runtime`,
from the weights before its update, and all quantities are checked after every step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from eprop_brian.base.sparse import Matrix, ends, is_sparse, values_of
from eprop_brian.equations.environment import Environment
from eprop_brian.network.episodes import ENVIRONMENT
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.network.resolved import Resolved
from eprop_brian.symbolic.eligibility import EligibilitySystem
from eprop_brian.symbolic.environment import environment_map
from eprop_brian.symbolic.expressions import expression_text
from eprop_brian.symbolic.names import shown
from eprop_brian.symbolic.readings import signal_name
from eprop_brian.training.rerun import (
    Diagnosis,
    Observer,
    largest_weight,
    learning_rates,
    network_of,
    observe,
)

__all__ = [
    "Finding",
    "TrainingError",
    "explain",
    "explain_evaluation",
]

_SURROGATE = (
    "The loss may be finite all the same, and a smaller learning rate does not help: write the "
    "surrogate so that neither numerator nor denominator overflows far from the threshold"
)
_COEFFICIENT = (
    "It is a derivative of the neuron's equations that traces are multiplied by, and a smaller "
    "learning rate hardly helps: write the equation so that its derivative exists there"
)


_ENVIRONMENT = (
    "It is the environment's own, and a smaller learning rate does not help: write the equation so "
    "that it is finite in all states that actions lead to"
)


class TrainingError(RuntimeError):
    """Training failed in a way that further training cannot mend (for example a NaN loss)."""


@dataclass(frozen=True)
class Finding:
    """A quantity that is not finite.

    Attributes
    ----------
    what : str
        Its name: ``"state 'v' of population 'lif'"``.
    where : str
        Its first neuron and step, and the neuron's states.
    line : str
        The equation at fault; ``""`` if the user did not write it.
    advice : str
        A remedy, in a sentence; ``""`` if it is a smaller learning rate.
    """

    what: str
    where: str
    line: str = ""
    advice: str = ""


def explain(batch: Diagnosis, when: str) -> str:
    """Name the first quantity that is not finite in a batch, with neuron, trial and step.

    Parameters
    ----------
    batch : Diagnosis
    when : str
        Name of the batch: ``"iteration 3"``.
    """
    session, trials = batch.session, batch.trials
    session.restore(batch.state)
    with np.errstate(all="ignore"):
        loss = session.run(trials, trials.n_trials).loss
        gradient = session.gradient()
        after = session.state()
        finding = None
        if not (_all_finite(gradient) and np.all(np.isfinite(loss))):
            trial = _first_bad_trial(batch, loss)
            finding = None if trial is None else _replayed(batch, trial)
        session.restore(batch.state)
    if finding is None:
        finding = _of_update(gradient, after, loss)
    return _message(finding, when, batch)


def explain_evaluation(batch: Diagnosis, is_good: np.ndarray, when: str) -> str:
    """The same for trials without learning; `is_good` marks those that are finite."""
    trial = int(np.argmin(is_good))
    with np.errstate(all="ignore"):
        finding = _replayed(batch, trial)
    if finding is None:
        finding = Finding("the loss or a state", f"in trial {trial}")
    return _message(finding, when, batch)


def _message(finding: Finding, when: str, batch: Diagnosis) -> str:
    line = f"\n    {finding.line}\n" if finding.line else ". "
    advice = finding.advice
    if not advice:
        advice = (
            f"The largest weight was {largest_weight(batch):.3g} before: if weights have grown, "
            f"try a smaller learning rate (now {learning_rates(batch.session.resolved)})"
        )
    return f"{finding.what} is no longer finite at {when}: {finding.where}{line}{advice}"


def _all_finite(values: Mapping[str, Matrix]) -> bool:
    return all(np.all(np.isfinite(values_of(value))) for value in values.values())


def _first_bad_trial(batch: Diagnosis, loss: np.ndarray) -> int | None:
    """The first trial whose loss, or whose own gradient, is not finite."""
    bad = np.flatnonzero(~np.isfinite(loss))
    if len(bad):
        return int(bad[0])
    for trial in range(batch.trials.n_trials):
        batch.session.restore(batch.state)
        batch.session.run(batch.trials.part(slice(trial, trial + 1)), 1)
        if not _all_finite(batch.session.gradient()):
            return trial
    return None


def _replayed(batch: Diagnosis, trial: int) -> Finding | None:
    """The first quantity of a trial that is not finite; None if all are finite."""
    watch = _Watch(network_of(batch), trial, batch.trials.environment)
    observe(batch, trial, watch, learning=True)
    return watch.found


@dataclass(frozen=True)
class _Quantity:
    """A variable to check, and the texts of a finding about it."""

    group: str
    variable: str
    what: str
    line: str = ""
    advice: str = ""
    before: bool = False  # whether it is computed from the states of the step before


class _Watch(Observer):
    """Finds the first quantity that is not finite."""

    def __init__(self, network: Resolved, trial: int, environment: Environment | None) -> None:
        super().__init__(network)
        self.trial = trial
        self.quantities = [*_quantities(network, environment)]
        self.sensed = () if environment is None else environment_map(environment).states
        self.populations = {p.name: p for p in network.populations}
        self.found: Finding | None = None
        self._before: dict[str, dict[str, np.ndarray]] = {}

    def observe(self) -> None:
        if self.found is not None:
            return
        for quantity in self.quantities:
            values = self.value(quantity.group, quantity.variable)
            bad = np.flatnonzero(~np.isfinite(values))
            if len(bad):
                self.found = self._finding(quantity, int(bad[0]), float(values[bad[0]]))
                return
        self._before = {name: self._states(p) for name, p in self.populations.items()}

    def _states(self, population: PopulationGroup) -> dict[str, np.ndarray]:
        states = population.system.step.states
        return {state: self.value(population.name, state).copy() for state in states}

    def _finding(self, quantity: _Quantity, index: int, value: float) -> Finding:
        where = f"it is {value:g} in trial {self.trial}, step {self.step}, "
        if quantity.group == ENVIRONMENT:
            others = [
                f"{shown(name)} = {self.value(ENVIRONMENT, name)[0]:.6g}"
                for name in self.sensed
                if name != quantity.variable
            ]
            where += f"action {self.value(ENVIRONMENT, 'n_action')[0]:g} of the episode"
            where += f", where {', '.join(others)}" if others else ""
            return Finding(quantity.what, where, quantity.line, quantity.advice)
        if quantity.group not in self.populations:
            where += f"{quantity.group} {index}"
            return Finding(quantity.what, where, quantity.line, quantity.advice)
        where += f"neuron {index}"
        population = self.populations[quantity.group]
        states = self._before.get(quantity.group, {})
        if not quantity.before:
            states = self._states(population)
        values = [
            f"{state} = {of[index]:.6g}"
            for state, of in states.items()
            if state != quantity.variable or quantity.before
        ]
        when = "before, where " if quantity.before else "where "
        where += f", {when}{', '.join(values)}" if values else ""
        return Finding(quantity.what, where, quantity.line, quantity.advice)


def _quantities(network: Resolved, environment: Environment | None) -> Iterator[_Quantity]:
    """Quantities to check, in the order in which one makes the next not finite."""
    for population in network.populations:
        name, step = population.name, population.system.step
        lines = {line.partition("=")[0].strip(): line for line in step.code}
        for state in step.states:
            what = f"state '{state}' of population '{name}'"
            yield _Quantity(name, state, what, lines.get(state, ""))
        what = f"the surrogate of population '{name}'"
        yield _Quantity(name, "psi", what, f"psi = {population.neuron.surrogate}", _SURROGATE)
        for variable, expression in _coefficients(population.system):
            what = f"coefficient {variable} of population '{name}'"
            before = variable in population.system.varying(after=False)
            yield _Quantity(
                name, variable, what, f"{variable} = {expression}", _COEFFICIENT, before
            )
    for readout in network.readouts:
        yield _Quantity(readout.name, "y", f"the {readout.name} y", readout.readout.update.strip())
    if environment is not None:
        yield from _quantities_of(environment)
    for readout in network.readouts:
        name, loss = readout.name, readout.loss
        yield _Quantity(name, "loss_sum", "the loss", loss.loss)
        yield _Quantity(name, "error", "the error of the loss", loss.error)
    for population in network.populations:
        for number in range(len(population.system.readings) + 1):
            signal = signal_name(number)
            what = f"the learning signal {signal} of '{population.name}'"
            yield _Quantity(population.name, signal, what)


def _quantities_of(environment: Environment) -> Iterator[_Quantity]:
    """Quantities of an environment that is written as equations."""
    where = f"of environment '{environment.name}'"
    lines = {}
    for line in str(environment.step).splitlines():
        name = re.match(r"\s*(\w+)\s*[-+*/]*=", line)
        if name is not None:
            lines[name[1]] = line.strip()
    for state in environment_map(environment).states:
        what = f"state '{shown(state)}' {where}"
        yield _Quantity(ENVIRONMENT, state, what, lines.get(shown(state), ""), _ENVIRONMENT)
    reward = f"reward = {environment.reward}"
    yield _Quantity(ENVIRONMENT, "reward", f"the reward {where}", reward, _ENVIRONMENT)


def _coefficients(system: EligibilitySystem) -> Iterator[tuple[str, str]]:
    for after in (False, True):
        for name, expression in system.varying(after=after).items():
            yield name, expression_text(expression)


def _of_update(
    gradient: Mapping[str, Matrix], after: Mapping[str, Matrix], loss: np.ndarray
) -> Finding:
    """The quantity that is not finite though each trial of the batch on its own is."""
    for name, values in gradient.items():
        place = _first_bad(values)
        if place is not None:
            where = f"it is {place}, though all that a step adds to it is finite: it overflows"
            return Finding(f"the gradient of {name}", where)
    for name, values in after.items():
        place = _first_bad(values)
        if place is not None:
            own = gradient.get(name)
            what = f"weight {name}" if own is not None else f"'{name}', of the optimizer's states,"
            where = f"after the update it is {place}"
            if own is not None:
                largest = np.max(np.abs(values_of(own)), initial=0)
                where += f"; the largest gradient of {name} is {largest:.3g}"
            return Finding(what, where)
    bad = np.flatnonzero(~np.isfinite(loss))
    return Finding("the loss", f"in trial {bad[0]}" if len(bad) else "in the compiled program")


def _first_bad(values: Matrix) -> str | None:
    """The first value that is not finite, and its indices; None if all are finite."""
    stored = np.asarray(values_of(values))
    bad = np.argwhere(~np.isfinite(stored))
    if not len(bad):
        return None
    place = tuple(bad[0])
    where = [side[place] for side in ends(values)] if is_sparse(values) else place
    return f"{stored[place]:g} at [{', '.join(map(str, where))}]"
