"""A network unrolled in time for automatic differentiation, in JAX.

What is differentiated is what the devices run: the step maps of the neurons, the readout's update
and the loss, translated from the same strings, in the same order of a step. A spike is a step
function whose derivative is the neuron's own surrogate.

The derivative is the total one: it follows a spike into the other neurons, which e-prop does not,
and into the neuron's own reset, which e-prop leaves out unless told otherwise. A neuron that names
the states it detaches is taken at its word here too. With the same states detached, the gradient
differs from e-prop's in what goes by way of other neurons alone. But the reset holds the derivative
down: without it, long trials make it explode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from brian2.parsing.sympytools import str_to_sympy
from scipy.sparse import issparse

from eprop_brian.base.sparse import Matrix, dense, values_of
from eprop_brian.network.built import dependent_constants
from eprop_brian.network.delays import longest
from eprop_brian.network.optimization import update_statements
from eprop_brian.network.spec import LEAST_DELAY, Network, Population
from eprop_brian.symbolic.eligibility import state_cost
from eprop_brian.symbolic.expressions import parse_expression, split_statements, with_all_digits
from eprop_brian.symbolic.functions import SLOPE_SERIES, SLOPE_SERIES_BELOW
from eprop_brian.symbolic.names import BEFORE

__all__ = ["Simulation", "Unrolled", "optimizer_step"]

#: Smallest softmax probability, as on the devices: keeps its logarithm finite.
_SMALLEST_LOG_P = -30 * np.log(10)

Values = Mapping[str, Any]


@jax.custom_jvp
def _exprel(x: jax.Array) -> jax.Array:
    """(exp(x) - 1)/x, with its limit at 0 and a derivative there."""
    safe = jnp.where(x == 0, 1.0, x)
    return jnp.where(x == 0, 1.0, jnp.expm1(safe) / safe)


@_exprel.defjvp
def _exprel_derivative(primals, tangents):
    (x,), (tangent,) = primals, tangents
    value = _exprel(x)
    return value, value * _exprel_slope(x) * tangent


def _exprel_slope(x: jax.Array) -> jax.Array:
    """See `eprop_brian.symbolic.functions.ExprelSlope`."""
    near = jnp.abs(x) < SLOPE_SERIES_BELOW
    small, safe = jnp.where(near, x, 0.0), jnp.where(near, 1.0, x)
    series = jnp.polyval(jnp.asarray(SLOPE_SERIES[::-1], small.dtype), small**2)
    return jnp.where(near, 0.5 + small * series, -1 / jnp.expm1(-safe) - 1 / safe)


def _where(condition: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """`a` where the condition is 1, else `b`; by the condition its derivative is a - b."""
    dtype = jnp.result_type(condition, a, b, 0.0)
    return _chosen(*(jnp.asarray(value, dtype) for value in (condition, a, b)))


@jax.custom_jvp
def _chosen(condition: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.where(condition > 0.5, a, b)


@_chosen.defjvp
def _chosen_derivative(primals, tangents):
    condition, a, b = primals
    by_condition, by_a, by_b = tangents
    chosen = jnp.where(condition > 0.5, by_a, by_b)
    # Its product with another derivative is to be finite too.
    return _chosen(*primals), by_condition * _bounded(a - b, 0.5) + chosen


@jax.custom_jvp
def _exp(x: jax.Array) -> jax.Array:
    return jnp.exp(x)


@_exp.defjvp
def _exp_derivative(primals, tangents):
    return _exp(*primals), _bounded(jnp.exp(primals[0])) * tangents[0]


def _bounded(slope: jax.Array, power: float = 1.0) -> jax.Array:
    """A derivative that stays finite where a state overflows: a reset stops it by a factor 0."""
    largest = float(jnp.finfo(slope.dtype).max) ** power
    return jnp.clip(slope, -largest, largest)


#: Functions that sympy knows no JAX for, or that need another derivative.
_FUNCTIONS = {
    "Detached": jax.lax.stop_gradient,
    "clip": jnp.clip,
    "exp": _exp,
    "exprel": _exprel,
    "int_": jnp.trunc,
    "sqrt": jnp.sqrt,
    "timestep": lambda time, dt: jnp.trunc((time + 1e-3 * dt) / dt),
    "where": _where,
}


def _translated(expressions: Sequence[sympy.Basic]) -> Callable[[Values], list[jax.Array]]:
    """A JAX function of named values for some expressions."""
    symbols = sorted(
        {s for expression in expressions for s in expression.free_symbols}, key=lambda s: s.name
    )
    # With names of its own: an equation's may be Python's keywords.
    exact = [with_all_digits(expression) for expression in expressions]
    compute = sympy.lambdify(symbols, exact, [_FUNCTIONS, "jax"], cse=True, dummify=True)
    return lambda values: compute(*(values[s.name] for s in symbols))


def _parsed(*expressions: str) -> list[sympy.Expr]:
    return [parse_expression(expression, "bptt", detached=True) for expression in expressions]


@jax.custom_jvp
def _spike(margin: jax.Array, psi: jax.Array, fires: jax.Array) -> jax.Array:
    """1 where a neuron fires, else 0; its derivative by `margin` is `psi`."""
    return fires.astype(margin.dtype)


@_spike.defjvp
def _spike_derivative(primals, tangents):
    _, psi, _ = primals
    return _spike(*primals), psi * tangents[0]


class Simulation(NamedTuple):
    """What comes out of some trials.

    Attributes
    ----------
    losses : array, shape (n_trials, n_outputs)
        Sum of the loss over the steps that count.
    outputs : array, shape (n_trials, n_answers or 1, n_outputs)
        Sums of what the network reports over the learning window, or over the steps of each answer.
    counts : array, shape (n_trials, n_recurrent)
        Spikes of every neuron.
    last : array of bool, shape (n_steps, n_recurrent)
        Spikes of the last trial.
    cost : array, shape (n_trials,)
        Sum of the voltage regulariser's cost over steps and neurons.
    is_number : array of bool, shape (n_trials,)
        Whether no state is NaN at the end.
    """

    losses: jax.Array
    outputs: jax.Array
    counts: jax.Array
    last: jax.Array
    cost: jax.Array
    is_number: jax.Array


class _Kind:
    """A population's step in JAX."""

    def __init__(self, population: Population, dt: float, cost: str) -> None:
        step = population.system.step
        self.name, self.states, self.signals = population.name, step.states, step.signals
        self.detaches = population.neuron.detach is not None
        self.learned = tuple(population.learned)
        self.initial = step.initial_values(dt)
        self.refractory_steps = np.asarray(step.refractory_steps(dt), dtype=np.int32)
        self.never_refractory = not np.any(self.refractory_steps)
        self._values = {**step.values(dt), "dt": dt}
        follows = dependent_constants(population)
        self._constants = {name: _translated(_parsed(step.constants[name])) for name in follows}
        self._advance = _translated([step.composed[state] for state in step.states])
        # The comparison itself: a difference would round in another way.
        self._fires = _translated([str_to_sympy(step.threshold)])
        self._slope = _translated([step.margin, *_parsed(step.psi)])
        self._cost = _translated([state_cost(step, cost)])

    def values(self, weights: Values, dtype: type) -> dict[str, Any]:
        """Parameters and constants, those that follow from learned parameters included."""
        values = {
            name: jnp.asarray(v, dtype) if np.ndim(v) else float(v)
            for name, v in self._values.items()
        }
        values |= {name: weights[f"{self.name}.{name}"] for name in self.learned}
        for name, compute in self._constants.items():
            (values[name],) = compute(values)
        return values

    def start(self, n_trials: int, size: int, dtype: type) -> tuple[Any, jax.Array]:
        """States and refractory counters of a trial's start."""
        shape = (n_trials, size)
        states = tuple(
            jnp.broadcast_to(jnp.asarray(v, dtype), shape) for v in self.initial.values()
        )
        return states, jnp.zeros(shape, np.int32)

    def advance(self, carry, current: jax.Array, z_before: jax.Array, values: Values):
        """One step; returns the new states and counters, the spikes and the cost of each trial."""
        states, counter = carry
        before = (counter == 0).astype(current.dtype) * (1 - jax.lax.stop_gradient(z_before))
        counter = jnp.maximum(counter - 1, 0)
        active = counter == 0
        scope = {
            **values,
            **dict(zip(self.states, states, strict=True)),
            self.signals.input: current,
            self.signals.spike: z_before,
            self.signals.detached: jax.lax.stop_gradient(z_before) if self.detaches else z_before,
            "not_refractory": 1.0 if self.never_refractory else active.astype(current.dtype),
            BEFORE: before,
        }
        states = tuple(jnp.broadcast_to(new, current.shape) for new in self._advance(scope))
        scope |= zip(self.states, states, strict=True)
        margin, psi = self._slope(scope)
        fires = self._fires(scope)[0] & active
        z = _spike(margin, jax.lax.stop_gradient(psi), fires)
        cost = jnp.broadcast_to(self._cost(scope)[0], current.shape).sum(axis=1)
        return (states, jnp.where(fires, self.refractory_steps, counter)), z, cost


class Unrolled:
    """A network over the steps of trials.

    Parameters
    ----------
    network : Network
    learning_window : int
        Steps at the end of a trial in which the error counts.
    dtype : type
        Float type of all state.
    n_answers : int
        Most answers of a trial with periods; 0 without.

    Attributes
    ----------
    masks : dict of str to array of bool
        Where ``w_in``, ``w_rec`` and ``w_out`` have synapses.
    """

    def __init__(
        self, network: Network, learning_window: int, dtype: type, n_answers: int = 0
    ) -> None:
        self.network, self.learning_window, self.dtype = network, learning_window, dtype
        self.n_answers = n_answers
        self.masks = {name: _mask(network, name) for name in LEAST_DELAY}
        self._delays = {
            name: _by_delay(network.delay_steps[name], self.masks[name])
            for name in ("w_in", "w_rec")
        }
        cost = network.voltage_cost if network.c_v else ""
        self._kinds = [_Kind(p, float(network.dt), cost) for p in network.populations]
        self._readout_values = {
            **{name: float(v) for name, v in network.readout_values().items()},
            "dt": float(network.dt),
        }
        self._readout = _translated(_parsed(split_statements(network.readout.update, "")[0][1]))
        self._loss = _translated(_parsed(network.loss.loss, network.loss.signal))

    def simulate(
        self, weights: Values, x: jax.Array, targets: jax.Array, periods: jax.Array
    ) -> Simulation:
        """Run trials from their start.

        Parameters
        ----------
        weights : mapping
            Dense matrices [post, pre] and learned parameters, as `Session.weights` names them.
        x : array, shape (n_trials, n_steps, n_inputs)
            Input spikes or analog inputs.
        targets : array, shape (n_trials, n_steps or 1, n_outputs)
        periods : array of int, shape (n_trials, n_steps)
            As in `Trials`; means nothing without answers.
        """
        network, dtype = self.network, self.dtype
        n_trials = len(x)
        inputs = self._input_currents(weights["w_in"], jnp.swapaxes(x, 0, 1).astype(dtype))
        values = [kind.values(weights, dtype) for kind in self._kinds]
        delays, recurrent = self._by_delay("w_rec", weights["w_rec"])
        w_out, late = weights["w_out"], network.delay_steps["w_out"]
        slices = list(network.slices.values())

        def step(carry, current):
            kinds, earlier, y, counts, cost = carry
            arriving = jnp.concatenate([earlier[d - 1] for d in delays], axis=1)
            current = current + arriving @ recurrent.T
            advanced = [
                kind.advance(own, current[:, where], earlier[0][:, where], value)
                for kind, own, where, value in zip(self._kinds, kinds, slices, values, strict=True)
            ]
            z = jnp.concatenate([spikes for _, spikes, _ in advanced], axis=1)
            cost = cost + sum(own for _, _, own in advanced)
            seen = earlier[0] if late else z
            (y,) = self._readout({**self._readout_values, "y": y, "I": seen @ w_out.T})
            kinds = tuple(own for own, _, _ in advanced)
            return (kinds, (z, *earlier[:-1]), y, counts + z, cost), (y, z[-1] > 0)

        silent = jnp.zeros((n_trials, network.n_recurrent), dtype)
        start = (
            tuple(
                kind.start(n_trials, population.size, dtype)
                for kind, population in zip(self._kinds, network.populations, strict=True)
            ),
            (silent,) * max(delays),
            jnp.zeros((n_trials, network.n_outputs), dtype),
            silent,
            jnp.zeros(n_trials, dtype),
        )
        (kinds, _, _, counts, cost), (y, last) = jax.lax.scan(step, start, inputs)
        targets = jnp.swapaxes(targets, 0, 1).astype(dtype)
        losses, outputs = self._scores(y, targets, jnp.swapaxes(periods, 0, 1))
        states = jnp.concatenate([state for own, _ in kinds for state in own], axis=1)
        is_number = ~jnp.isnan(states).any(axis=1)
        return Simulation(losses, outputs, counts, last, cost, is_number)

    def objective(
        self, weights: Values, x: jax.Array, targets: jax.Array, periods: jax.Array
    ) -> tuple[jax.Array, Simulation]:
        """What the gradient is the derivative of: mean loss of the trials, and regularisers.

        ``E = mean_trials sum_t,k loss + c_reg/2 sum_j (f_j - f_target)^2``, rates in spikes a step,
        and ``c_v`` times the mean over the steps of the voltage regulariser's cost.
        """
        network = self.network
        found = self.simulate(weights, x, targets, periods)
        total = found.losses.sum(axis=1).mean()
        if network.c_reg:
            rates = found.counts / x.shape[1]
            if network.rate_averaging == "batch":
                rates = rates.mean(axis=0, keepdims=True)
            excess = rates - float(network.f_target * network.dt)
            total += network.c_reg / 2 * jnp.sum(excess**2, axis=1).mean()
        if network.c_v:
            total += network.c_v * found.cost.mean() / x.shape[1]
        return total, found

    def _input_currents(self, w_in: jax.Array, x: jax.Array) -> jax.Array:
        """Summed weighted inputs of every step, (n_steps, n_trials, n_recurrent)."""
        delays, weights = self._by_delay("w_in", w_in)
        shifted = [
            jnp.concatenate([jnp.zeros_like(x[:d]), x[: len(x) - d]]) if d else x for d in delays
        ]
        return jnp.concatenate(shifted, axis=2) @ weights.T

    def _by_delay(self, name: str, weights: jax.Array) -> tuple[list[int], jax.Array]:
        """The delays there are, and the weights of each side by side, (n_post, delays*n_pre)."""
        parts = self._delays[name]
        blocks = [jnp.where(mask, weights, 0) for mask in parts.values()]
        return list(parts), jnp.concatenate(blocks, axis=1)

    def _scores(
        self, y: jax.Array, targets: jax.Array, periods: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Sums of loss and output over the steps that count; all arrays have these first."""
        if not self.n_answers:
            y, targets = y[-self.learning_window :], targets[-self.learning_window :]
        else:
            # What does not count may be anything, which 0 times would not undo, nor its derivative.
            counts = periods[..., np.newaxis] > 0
            first = jnp.argmax(counts, axis=0)[np.newaxis]
            targets = jnp.broadcast_to(targets, y.shape)
            targets = jnp.where(counts, targets, jnp.take_along_axis(targets, first, axis=0))
        scope = {**self._readout_values, "y": y, "y_target": targets}
        if self.network.loss.softmax:
            log_p = jax.nn.log_softmax(y, axis=2)
            # The bound changes a value and no derivative, as on the devices.
            bound = jnp.maximum(log_p, _SMALLEST_LOG_P)
            if self.network.loss.open_at_one:
                bound = jnp.minimum(bound, -np.finfo(self.dtype).eps)
            scope["p"] = jnp.exp(log_p + jax.lax.stop_gradient(bound - log_p))
        losses, outputs = (jnp.broadcast_to(v, y.shape) for v in self._loss(scope))
        if not self.n_answers:
            return losses.sum(axis=0), outputs.sum(axis=0)[:, np.newaxis]
        answers = (periods[..., np.newaxis] == np.arange(1, self.n_answers + 1)).astype(y.dtype)
        losses = jnp.where(counts, losses, 0)
        return losses.sum(axis=0), jnp.einsum("tna,tnk->nak", answers, outputs)


def optimizer_step(network: Network) -> Callable[[Any, Any, Any, Any], tuple[Any, Any]]:
    """The optimizer's equations as a function of weights, gradients, states and number of updates.

    Parameters
    ----------
    network : Network

    Returns
    -------
    callable
        ``step(weights, gradient, states, k)`` gives weights and states after the k-th update.
        Mappings are keyed as `Session.weights` and `Session.optimizer_states`.
    """
    optimizer = network.optimizer
    statements = [
        (name, _translated(_parsed(expression)))
        for name, expression in split_statements("\n".join(update_statements(optimizer)), "")
    ]
    learned = {
        f"{p.name}.{name}": bounds
        for p in network.populations
        for name, bounds in p.learned.items()
    }

    def update(name: str, w, g, states, k, **bounds):
        scope = {**optimizer.parameters, **bounds, "k": k, "g": g, "w": w}
        scope |= {state: states[f"{state}.{name}"] for state in optimizer.states}
        if name in learned and learned[name].eta is not None:
            scope["eta"] = learned[name].eta
        for target, compute in statements:
            (scope[target],) = compute(scope)
        return scope["w"], {f"{state}.{name}": scope[state] for state in optimizer.states}

    def step(weights, gradient, states, k):
        new_weights, new_states = {}, {}
        for name, w in weights.items():
            if name in learned:
                # Relative to its scale, so that one learning rate fits every unit.
                scale, low, high = (
                    getattr(learned[name], x) for x in ("scale", "minimum", "maximum")
                )
                low, high = low / scale, high / scale
                relative, own = update(
                    name, w / scale, gradient[name] * scale, states, k, w_min=low, w_max=high
                )
                new_weights[name] = scale * jnp.clip(relative, low, high)
            else:
                new_weights[name], own = update(name, w, gradient[name], states, k)
            new_states |= own
        return new_weights, new_states

    return step


def _mask(network: Network, name: str) -> np.ndarray:
    """Where a matrix has synapses."""
    if name in network.adjacency:
        return network.adjacency[name].toarray()
    mask = np.ones(network.shapes[name], dtype=bool)
    if name == "w_rec":
        np.fill_diagonal(mask, False)
    return mask


def _by_delay(steps: int | Matrix, mask: np.ndarray) -> dict[int, np.ndarray]:
    """Which synapses have which delay."""
    if not np.ndim(steps):
        return {int(steps): mask}
    each = dense(steps).astype(int) if issparse(steps) else steps
    found = {int(d): mask & (each == d) for d in np.unique(values_of(steps))}
    return {d: where for d, where in found.items() if np.any(where)} or {longest(steps): mask}
