"""Neurons that are chains of leaky integrators with a threshold.

They are recognised by the step map, not by the name of the neuron: every state must decay by a
constant factor in a step and be driven linearly, by what arrives, the neuron's own spike and other
states, none of which it drives in turn. A spike may then add something to any state or
set the membrane to a value, and a refractory time may keep the neuron from spiking, if that is all
it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import sympy

from eprop_brian.symbolic.bounds import expanded_terms
from eprop_brian.symbolic.expressions import Detached, evaluate, symbol
from eprop_brian.symbolic.functions import where
from eprop_brian.symbolic.names import BEFORE
from eprop_brian.symbolic.step_map import StepMap

__all__ = ["ARRIVING", "ONE", "SPIKE", "LinearNeuron", "NotLinearError", "linear_neuron"]

#: What drives a state besides other states: what arrives in the step, the neuron's spike in the
#: step before, and the constant 1. No state can be called so.
ARRIVING, SPIKE, ONE = "_arriving", "_spike", "1"
#: What is 0 in the refractory time.
ACTIVE = ("not_refractory", BEFORE)
#: Numbers by what they are a factor of.
_Factors = dict[str, np.ndarray]
#: Relative size below which a sum of terms that cancel is taken for 0.
_ROUNDING = 1e-12
#: Largest number of terms to which products of states are multiplied out.
_MOST_TERMS = 1000


class NotLinearError(ValueError):
    """A neuron is not a chain of leaky integrators.

    Attributes
    ----------
    reasons : list of str
    """

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True)
class LinearNeuron:
    """One step of such neurons, as numbers; arrays have the shape (n_neurons,).

    Every state of a step is ``decay*before + sum(factor*term)``, where a term is another state of
    the same step, `ARRIVING`, `SPIKE` or `ONE`.

    Attributes
    ----------
    decay : dict of str to array
        By state, in an order in which each is driven by earlier ones alone.
    terms : dict of str to dict of str to array
        Factors that are not 0, by state and term.
    initial : dict of str to array
        States at the start of a trial.
    margin : dict of str to array
        Factors of states in what must be above `threshold` for a spike. That of the membrane, the
        first, is 1.
    threshold : array
        What it is compared with.
    spikes_at_threshold : bool
        Whether equality is enough.
    reset : array or None
        What a spike sets the membrane to, before the next step; None if it is not set.
    silence : array of int
        Steps after a spike in which the neuron cannot spike again.
    """

    decay: dict[str, np.ndarray]
    terms: dict[str, dict[str, np.ndarray]]
    initial: dict[str, np.ndarray]
    margin: dict[str, np.ndarray]
    threshold: np.ndarray
    spikes_at_threshold: bool
    reset: np.ndarray | None
    silence: np.ndarray

    @property
    def membrane(self) -> str:
        """The state that is compared with the threshold."""
        return next(iter(self.margin))

    @property
    def limit(self) -> np.ndarray:
        """The largest number that does not spike."""
        if self.spikes_at_threshold:
            return np.nextafter(self.threshold, -np.inf)
        return self.threshold


def linear_neuron(
    step: StepMap,
    dt: float,
    size: int,
    changed: Mapping[str, np.ndarray | float] | None = None,
) -> LinearNeuron:
    """Find the leaky integrators of a neuron.

    Parameters
    ----------
    step : StepMap
    dt : float
        Time step in seconds.
    size : int
        Number of neurons.
    changed : mapping, optional
        Parameters that replace the neuron's own, SI values.

    Raises
    ------
    NotLinearError
        If the neuron is not such a chain. Its message lists all reasons.
    """
    receptors = step.neuron.receptor_names
    if receptors != ("",):
        raise NotLinearError([f"its receptors {', '.join(receptors)} need an input each"])
    if step.exogenous:
        read = ", ".join(dict.fromkeys(quantity.call for quantity in step.exogenous))
        raise NotLinearError([f"its steps read {read}, which no input of a node brings"])
    if not step.composed:
        raise NotLinearError(
            ["its step is too long to be read as one expression (method exact gives short ones)"]
        )
    reasons: list[str] = []
    if step.active:
        raise NotLinearError([f"it is refractory as a condition says, {step.refractory}"])
    silence = np.maximum(np.broadcast_to(step.refractory_steps(dt), size) - 1, 0)
    values = {**step.values(dt, changed), "dt": dt}
    margin = _slopes(step.margin, step.states)
    if margin is None or " and " in step.threshold:
        raise NotLinearError([*reasons, f"its threshold, {step.threshold}, is not linear"])
    flows = {}
    for state in _needed(step, margin):
        flow = _flow(step, state)
        if np.any(silence) and {*map(symbol, ACTIVE)} & step.composed[state].free_symbols:
            reasons.append(f"{state} takes another course in the refractory time after a spike")
        if flow is None:
            reasons.append(f"{state} is not linear in the states and what arrives")
        else:
            flows[state] = flow
    if reasons:
        raise NotLinearError(reasons)

    def number(expression: sympy.Expr) -> np.ndarray:
        value = evaluate(expression, values, f"neuron '{step.neuron.name}'")
        return np.broadcast_to(value, size).astype(float)

    numbers = {
        state: [{name: number(x) for name, x in flow.items()} for flow in both]
        for state, both in flows.items()
    }
    compared = {name: number(x) for name, x in margin.items()}
    initial = {
        state: np.broadcast_to(value, size).astype(float)
        for state, value in step.initial_values(dt).items()
        if state in flows
    }
    neuron = _solved(numbers, compared, initial, ">=" in step.threshold)
    if np.any(silence) and neuron.reset is not None:
        raise NotLinearError(
            [f"a spike sets {neuron.membrane} and is followed by a refractory time of its own"]
        )
    return replace(neuron, silence=silence)


def _slopes(expression: sympy.Expr, names: tuple[str, ...]) -> dict[str, sympy.Expr] | None:
    """Factors of some names in an expression, and under `ONE` the rest; None if it is not linear.

    Factors that are 0 are left out, but for the rest.
    """
    symbols = {symbol(name) for name in names}

    def differentiated() -> dict[str, sympy.Expr]:
        return {name: sympy.diff(expression, symbol(name)) for name in names}

    slopes = differentiated()
    varies = any(slope.free_symbols & symbols for slope in slopes.values())
    if varies and expanded_terms(expression) <= _MOST_TERMS:
        # Products of states may cancel.
        expression = sympy.expand(expression)
        slopes = differentiated()
    if any(slope.free_symbols & symbols for slope in slopes.values()):
        return None
    rest = expression.subs(dict.fromkeys(symbols, 0))
    return {**{name: x for name, x in slopes.items() if x != 0}, ONE: rest}


def _new(step: StepMap, state: str) -> sympy.Expr:
    """A state's new value where the neuron is not refractory."""
    signals = step.signals
    fixed = {
        symbol(signals.inputs[""]): symbol(ARRIVING),
        symbol(signals.spike): symbol(SPIKE),
        symbol(signals.detached): symbol(SPIKE),
        **dict.fromkeys(map(symbol, ACTIVE), 1),
    }
    new = step.composed[state].replace(Detached, lambda value: value).subs(fixed)
    return new.replace(where, lambda condition, a, b: b + (a - b) * condition)


def _needed(step: StepMap, margin: Mapping[str, sympy.Expr]) -> list[str]:
    """States of which the next spikes depend; others are steps of a calculation."""
    needed, ahead = set(), {name for name in margin if name != ONE}
    while ahead:
        needed |= ahead
        read = set().union(*(_new(step, state).free_symbols for state in ahead))
        ahead = {state for state in step.states if symbol(state) in read} - needed
    return [state for state in step.states if state in needed]


def _flow(step: StepMap, state: str) -> tuple[dict[str, sympy.Expr], dict[str, sympy.Expr]] | None:
    """Factors in a state's new value without and with a spike in the step before."""
    names = (*step.states, ARRIVING)
    silent, spiking = (_slopes(_new(step, state).subs(symbol(SPIKE), z), names) for z in (0, 1))
    return None if silent is None or spiking is None else (silent, spiking)


def _solved(
    numbers: Mapping[str, list[_Factors]],
    compared: _Factors,
    initial: _Factors,
    equal_spikes: bool,
) -> LinearNeuron:
    """The numbers with other states taken from the same step, instead of the step before."""
    one = np.ones_like(compared[ONE])
    reasons: list[str] = []
    decay: dict[str, np.ndarray] = {}
    driven: dict[str, dict[str, np.ndarray]] = {}
    terms = {}
    reset = None
    for state in _order(numbers):
        silent, spiking = numbers[state]
        factor = silent.get(state, 0 * one)
        if not np.all((factor > 0) & (factor < 1)):
            reasons.append(f"{state} does not decay by a factor between 0 and 1 in a step")
            continue
        is_set = state in silent and not np.any(spiking.get(state, 0 * one))
        if not _spike_adds(silent, spiking, without=(ONE, *[state] * is_set)):
            reasons.append(f"a spike neither adds something to {state} nor sets it to a value")
            continue
        parts = {SPIKE: [spiking[ONE] - silent[ONE]], ONE: [silent[ONE]]}
        if ARRIVING in silent:
            parts[ARRIVING] = [silent[ARRIVING]]
        for other in (name for name in silent if name not in (state, ARRIVING, ONE)):
            # before = (now - what drove it)/decay
            share = silent[other] / decay[other] if other in decay else one
            parts.setdefault(other, []).append(share)
            for name, driver in driven.get(other, {}).items():
                parts.setdefault(name, []).append(-share * driver)
        driven[state] = {name: _total(values) for name, values in parts.items()}
        decay[state] = factor
        if is_set:
            if set(compared) - {ONE} != {state}:
                reasons.append(f"a spike sets {state}, and the threshold compares something else")
            reset = driven[state].pop(SPIKE) / factor
        terms[state] = {name: x for name, x in driven[state].items() if np.any(x)}
    scale = next(iter(compared.values()))
    if not np.all(scale > 0):
        reasons.append("its membrane must be above the threshold for a spike, not below")
    if reasons:
        raise NotLinearError(reasons)
    threshold = -compared.pop(ONE) / scale
    return LinearNeuron(
        decay=decay,
        terms=terms,
        initial=initial,
        margin={name: x / scale for name, x in compared.items()},
        threshold=threshold,
        spikes_at_threshold=equal_spikes,
        reset=reset,
        silence=np.zeros(one.shape, dtype=int),
    )


def _order(numbers: Mapping[str, list[_Factors]]) -> list[str]:
    """States in an order in which each is driven by earlier ones alone."""
    drivers = {
        state: {name for flow in both for name in flow} & numbers.keys() - {state}
        for state, both in numbers.items()
    }
    order: list[str] = []
    while len(order) < len(drivers):
        ready = [s for s in drivers if s not in order and drivers[s] <= {*order}]
        if not ready:
            circle = ", ".join(s for s in drivers if s not in order)
            raise NotLinearError([f"its states {circle} drive each other"])
        order += ready
    return order


def _spike_adds(silent: _Factors, spiking: _Factors, without: tuple[str, ...]) -> bool:
    """Whether a spike changes no factor but those named."""
    names = (silent.keys() | spiking.keys()) - {*without}
    return all(np.allclose(silent.get(n, 0), spiking.get(n, 0), rtol=_ROUNDING) for n in names)


def _total(values: list[np.ndarray]) -> np.ndarray:
    """A sum, 0 where only rounding is left of it."""
    total = np.sum(values, axis=0)
    return np.where(np.abs(total) > _ROUNDING * np.max(np.abs(values), axis=0), total, 0.0)
