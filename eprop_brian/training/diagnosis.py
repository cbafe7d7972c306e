"""Explains why training stops: a quantity that is not finite, or a network that cannot learn.

Compiled programs do not keep a history of all their quantities. Where a loss or a weight is not
finite, the trial at fault therefore runs once more on the device `runtime`, from the weights before
its update, and all quantities are checked after every step. The same way shows whether a network
without a spike could ever learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from brian2 import NetworkOperation

from eprop_brian.base.sparse import Matrix, ends, is_sparse, values_of
from eprop_brian.network.checks import PROGRAMS
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.network.program import make_program
from eprop_brian.network.resolved import Resolved
from eprop_brian.symbolic.eligibility import EligibilitySystem
from eprop_brian.symbolic.expressions import evaluate, expression_text
from eprop_brian.symbolic.readings import signal_name
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.session import Session
from eprop_brian.training.state import LearningSession

__all__ = [
    "Diagnosis",
    "Finding",
    "Silence",
    "TrainingError",
    "explain",
    "explain_evaluation",
    "largest_change",
    "silence",
]

_SURROGATE = (
    "The loss may be finite all the same, and a smaller learning rate does not help: write the "
    "surrogate so that neither numerator nor denominator overflows far from the threshold"
)
_COEFFICIENT = (
    "It is a derivative of the neuron's equations that traces are multiplied by, and a smaller "
    "learning rate hardly helps: write the equation so that its derivative exists there"
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


@dataclass(frozen=True)
class Diagnosis:
    """A batch that failed, and the state before it.

    Attributes
    ----------
    session : LearningSession
        The session that ran it; a diagnosis changes its state.
    trials : Trials
        The batch.
    state : dict
        State of the session before the batch; all numbers are finite.
    dtype : str
    """

    session: LearningSession
    trials: Trials
    state: Mapping[str, Matrix]
    dtype: str


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


@dataclass(frozen=True)
class Silence:
    """Findings about one trial in which no neuron fires.

    Attributes
    ----------
    is_dead : bool
        Whether no neuron fires and the surrogate is 0 in every step.
    nearest : str
        Margin by which each population misses its spike condition.
    largest_weight : float
    eta : str
        The learning rates.
    """

    is_dead: bool
    nearest: str
    largest_weight: float
    eta: str

    def text(self, last_spike: int, change: float) -> str:
        """Explain why nothing is learned, and what helps.

        Parameters
        ----------
        last_spike : int
            Last iteration in which a neuron fired; 0 if none ever did.
        change : float
            As `largest_change` returns it.
        """
        if self.is_dead:
            why = (
                "the surrogate is 0 in every step (psi = 0) of the trial that was checked, so that "
                "none of its gradient reaches a weight"
            )
        else:
            how = " by more than rounding" if change else ""
            why = f"no weight changes{how}: the surrogate is all but 0, or no error arrives"
        if last_spike:
            advice = (
                f"The largest weight is {self.largest_weight:.3g}: if learning has silenced the "
                f"network, try a smaller learning rate (now {self.eta})"
            )
        else:
            advice = (
                "Scale the input weights up, lower the threshold, or choose a surrogate that is "
                "wide enough"
            )
        return (
            f"{why}. In this trial the left side of the spike condition minus the right is at most "
            f"{self.nearest}. {advice}"
        )


def silence(batch: Diagnosis) -> Silence:
    """Rerun the first trial of a batch in which no neuron fires."""
    watch = _SilenceWatch(_network(batch))
    _run(batch, 0, watch, learning=False)
    return Silence(not watch.alive, watch.text(), _largest_weight(batch), _learning_rates(batch))


def largest_change(before: Mapping[str, Matrix], after: Mapping[str, Matrix]) -> float:
    """Largest change of a weight, relative to the largest weight of its matrix."""
    changes = [0.0]
    for name, value in after.items():
        new, old = values_of(value), values_of(before[name])
        changes.append(
            np.max(np.abs(new - old), initial=0)
            / max(np.max(np.abs(old), initial=0), np.finfo(float).tiny)
        )
    return float(max(changes))


def _message(finding: Finding, when: str, batch: Diagnosis) -> str:
    line = f"\n    {finding.line}\n" if finding.line else ". "
    advice = finding.advice
    if not advice:
        advice = (
            f"The largest weight was {_largest_weight(batch):.3g} before: if weights have grown, "
            f"try a smaller learning rate (now {_learning_rates(batch)})"
        )
    return f"{finding.what} is no longer finite at {when}: {finding.where}{line}{advice}"


def _learning_rates(batch: Diagnosis) -> str:
    optimizers = batch.session.resolved.optimizers
    return ", ".join(dict.fromkeys(str(x.parameters.get("eta")) for x in optimizers))


def _largest_weight(batch: Diagnosis) -> float:
    return max(
        float(np.max(np.abs(values_of(batch.state[name])), initial=0))
        for name in batch.session.resolved.shapes
    )


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


def _network(batch: Diagnosis) -> Resolved:
    """A network with the same steps that a device runs: BPTT has no program."""
    network = batch.session.resolved
    return network if network.gradient in PROGRAMS else replace(network, gradient="factored")


def _replayed(batch: Diagnosis, trial: int) -> Finding | None:
    """The first quantity of a trial that is not finite; None if all are finite."""
    watch = _Watch(_network(batch), trial)
    _run(batch, trial, watch, learning=True)
    return watch.found


def _run(batch: Diagnosis, trial: int, watch: _Observer, learning: bool) -> None:
    one = batch.trials.part(slice(trial, trial + 1))
    window = batch.session.learning_window
    weights = {name: batch.state[name] for name in batch.session.weights}
    program = make_program("runtime", batch.dtype)
    session = Session(_network(batch), program, one, window, weights)
    session.restore({**session.state(), **batch.state})
    built = session.program.built
    watch.groups = built.groups
    clock = built.groups["control"].clock
    built.brian2_network.add(NetworkOperation(watch.look, clock=clock, when="end", name="watch"))
    with np.errstate(all="ignore"):
        session.run(one, 1, learning=learning)


class _Observer:
    """Checks the groups of a network at the end of every step."""

    def __init__(self, network: Resolved) -> None:
        self.network = network
        self.groups: Mapping = {}
        self.step = 0

    def look(self) -> None:
        """Called at the end of every step."""
        self.observe()
        self.step += 1

    def observe(self) -> None:
        """Look at a step."""
        raise NotImplementedError

    def value(self, group: str, variable: str) -> np.ndarray:
        """A variable of a group as it is now."""
        return self.groups[group].variables[variable].get_value()


@dataclass(frozen=True)
class _Quantity:
    """A variable to check, and the texts of a finding about it."""

    group: str
    variable: str
    what: str
    line: str = ""
    advice: str = ""
    before: bool = False  # whether it is computed from the states of the step before


class _Watch(_Observer):
    """Finds the first quantity that is not finite."""

    def __init__(self, network: Resolved, trial: int) -> None:
        super().__init__(network)
        self.trial = trial
        self.quantities = [*_quantities(network)]
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


def _quantities(network: Resolved) -> Iterator[_Quantity]:
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
        name, loss = readout.name, readout.loss
        yield _Quantity(name, "y", f"the {name} y", readout.readout.update.strip())
        yield _Quantity(name, "loss_sum", "the loss", loss.loss)
        yield _Quantity(name, "error", "the error of the loss", loss.error)
    for population in network.populations:
        for number in range(len(population.system.readings) + 1):
            signal = signal_name(number)
            what = f"the learning signal {signal} of '{population.name}'"
            yield _Quantity(population.name, signal, what)


def _coefficients(system: EligibilitySystem) -> Iterator[tuple[str, str]]:
    for after in (False, True):
        for name, expression in system.varying(after=after).items():
            yield name, expression_text(expression)


class _SilenceWatch(_Observer):
    """Finds whether a trial has a spike or a surrogate other than 0, and its largest margin."""

    def __init__(self, network: Resolved) -> None:
        super().__init__(network)
        self.alive = False
        self.nearest = {p.name: -np.inf for p in network.populations}

    def observe(self) -> None:
        for population in self.network.populations:
            psi, z = (self.value(population.name, name) for name in ("psi", "z"))
            self.alive |= bool(np.any(psi != 0) or np.any(z != 0))
            margin = np.max(self._margin(population))
            self.nearest[population.name] = max(self.nearest[population.name], margin)

    def _margin(self, population: PopulationGroup) -> np.ndarray:
        """Left minus right side of the spike condition."""
        step, dt = population.system.step, float(self.network.dt)
        states = {state: self.value(population.name, state) for state in step.states}
        learned = {name: self.value(population.name, name) for name in population.learned}
        values = {**step.values(dt, learned), "dt": dt, **states}
        return np.asarray(evaluate(step.margin, values, "threshold"))

    def text(self) -> str:
        """The largest margin of each population, with its spike condition."""
        return ", ".join(
            f"{margin:.3g} in '{name}' ({self._condition(name)})"
            for name, margin in self.nearest.items()
        )

    def _condition(self, name: str) -> str:
        return next(p.system.step.threshold for p in self.network.populations if p.name == name)


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
