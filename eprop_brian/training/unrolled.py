"""A network unrolled in time for automatic differentiation, in JAX.

JAX differentiates the equations that the devices run: the step maps of the neurons, the readout's
update and the loss, translated from the same strings, in the same order within a step. A spike is a
step function whose derivative is the neuron's surrogate.

The derivative is the total one: it follows a spike into the other neurons, which e-prop does not,
and into the neuron's own reset, which e-prop leaves out by default. States that a neuron detaches
are detached here too. With the same states detached, the gradient differs from e-prop's only in the
paths through other neurons. But the reset holds the derivative down: without it, the derivative
explodes in long trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from brian2.parsing.sympytools import str_to_sympy

from eprop_brian.base.sparse import MOST_PAIRS, dense, values_of
from eprop_brian.network.built import dependent_constants
from eprop_brian.network.delays import longest
from eprop_brian.network.graph import Connection, PopulationGroup, ReadoutGroup, spans
from eprop_brian.network.optimization import update_statements
from eprop_brian.network.resolved import Resolved
from eprop_brian.symbolic.expressions import split_statements
from eprop_brian.symbolic.names import BEFORE
from eprop_brian.symbolic.readings import state_cost
from eprop_brian.training.jax_functions import Values, parsed, spike, translated

__all__ = ["Simulation", "Unrolled", "optimizer_step"]

#: Smallest softmax probability, as on the devices: keeps its logarithm finite.
_SMALLEST_LOG_P = -30 * np.log(10)


class Simulation(NamedTuple):
    """Results of trials.

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

    def __init__(self, population: PopulationGroup, dt: float, cost: str) -> None:
        step = population.system.step
        self.name, self.states, self.signals = population.name, step.states, step.signals
        self.receptors = population.neuron.receptor_names
        self.detaches = population.neuron.detach is not None
        self.learned = tuple(population.learned)
        self.initial = step.initial_values(dt)
        self.refractory_steps = np.asarray(step.refractory_steps(dt), dtype=np.int32)
        self.never_refractory = not np.any(self.refractory_steps)
        self._values = {**step.values(dt), "dt": dt}
        follows = dependent_constants(population)
        self._constants = {name: translated(parsed(step.constants[name])) for name in follows}
        self._advance = translated([step.composed[state] for state in step.states])
        # The comparison itself, since a difference would round differently.
        self._fires = translated([str_to_sympy(step.threshold)])
        self._slope = translated([step.margin, *parsed(step.psi)])
        self._cost = translated([state_cost(step, cost)])
        readings = population.system.readings
        self._readings = {r.text: translated([r.value.expression]) for r in readings}
        self.sends = ("", *self._readings)

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

    def advance(self, carry, inputs: Values, z_before: jax.Array, values: Values):
        """One step; returns the new states and counters, what is sent and the cost of each trial.

        The spikes are sent, whose key is ``""``, and what readouts read, whose key is its text.

        `inputs` are those of the receptors, by name.
        """
        states, counter = carry
        shape, dtype = z_before.shape, z_before.dtype
        before = (counter == 0).astype(dtype) * (1 - jax.lax.stop_gradient(z_before))
        counter = jnp.maximum(counter - 1, 0)
        active = counter == 0
        scope = {
            **values,
            **dict(zip(self.states, states, strict=True)),
            **{name: inputs[receptor] for receptor, name in self.signals.inputs.items()},
            self.signals.spike: z_before,
            self.signals.detached: jax.lax.stop_gradient(z_before) if self.detaches else z_before,
            "not_refractory": 1.0 if self.never_refractory else active.astype(dtype),
            BEFORE: before,
        }
        states = tuple(jnp.broadcast_to(new, shape) for new in self._advance(scope))
        scope |= zip(self.states, states, strict=True)
        margin, psi = self._slope(scope)
        fires = self._fires(scope)[0] & active
        z = spike(margin, jax.lax.stop_gradient(psi), fires)
        cost = jnp.broadcast_to(self._cost(scope)[0], shape).sum(axis=1)
        sent = {text: read(scope)[0] for text, read in self._readings.items()}
        sent = {text: jnp.broadcast_to(value, shape) for text, value in sent.items()}
        return (states, jnp.where(fires, self.refractory_steps, counter)), {"": z, **sent}, cost


class _Wires:
    """A connection in JAX: the spikes that it takes, and when they arrive."""

    def __init__(self, connection: Connection, line: dict[str, slice]) -> None:
        self.name, self.targets = connection.name, connection.targets
        self.reads, self._names = connection.reads, [*connection.sources]
        self.receptor = connection.receptor
        self._columns = [line[source] for source in connection.sources]
        self._takes_all = [*connection.sources] == [*line]
        self._masks = _by_delay(connection)
        self.delays = list(self._masks)

    def sources(self, spikes: jax.Array) -> jax.Array:
        """Its columns of the spikes of all inputs or all neurons, which come last."""
        if self._takes_all:
            return spikes
        return jnp.concatenate([spikes[..., where] for where in self._columns], axis=-1)

    def heard(self, sent: Mapping[str, Mapping[str, jax.Array]]) -> jax.Array:
        """What it takes of that which each population sends."""
        return jnp.concatenate([sent[name][self.reads] for name in self._names], axis=-1)

    def by_delay(self, weights: jax.Array) -> jax.Array:
        """The weights of each of `delays`, side by side, (n_post, delays*n_pre)."""
        blocks = [jnp.where(mask, weights, 0) for mask in self._masks.values()]
        return jnp.concatenate(blocks, axis=1)


class _Readout:
    """A group of readouts in JAX."""

    def __init__(self, readout: ReadoutGroup, dt: float, dtype: type) -> None:
        self.name, self.size, self.loss = readout.name, readout.size, readout.loss
        self.window, self.dtype = readout.window, dtype
        self.values = {**{name: float(v) for name, v in readout.values.items()}, "dt": dt}
        self._update = translated(parsed(split_statements(readout.readout.update, "")[0][1]))
        self._scores = translated(parsed(readout.loss.loss, readout.loss.signal))

    def advance(self, y: jax.Array, current: jax.Array) -> jax.Array:
        """One step."""
        (y,) = self._update({**self.values, "y": y, "I": current})
        return y

    def scores(self, y: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Loss and output of every step, trial and readout."""
        scope = {**self.values, "y": y, "y_target": targets}
        if self.loss.softmax:
            log_p = jax.nn.log_softmax(y, axis=2)
            # The bound changes a value but not its derivative, as on the devices.
            bound = jnp.maximum(log_p, _SMALLEST_LOG_P)
            if self.loss.open_at_one:
                bound = jnp.minimum(bound, -np.finfo(self.dtype).eps)
            scope["p"] = jnp.exp(log_p + jax.lax.stop_gradient(bound - log_p))
        losses, outputs = (jnp.broadcast_to(v, y.shape) for v in self._scores(scope))
        return losses, outputs


class Unrolled:
    """A network over the steps of trials.

    Parameters
    ----------
    network : Resolved
    learning_window : int
        Steps at the end of a trial in which the error counts.
    dtype : type
        Float type of all state.
    n_answers : int
        Most answers of a trial with periods; 0 without.
    local : bool
        Whether a spike reaches other neurons without its derivative, which leaves the derivative
        that e-prop takes.

    Attributes
    ----------
    masks : dict of str to array of bool
        Where each connection has synapses.
    """

    def __init__(
        self,
        network: Resolved,
        learning_window: int,
        dtype: type,
        n_answers: int = 0,
        local: bool = False,
    ) -> None:
        self.network, self.learning_window, self.dtype = network, learning_window, dtype
        self.n_answers, self.local = n_answers, local
        self.masks = {c.name: _mask(c) for c in network.connections}
        self._recurrent = [_Wires(c, network.slices) for c in self._of_kind("recurrent")]
        self._outputs = [
            _Wires(c, network.slices) for c in self._of_kind("readout") if not c.from_inputs
        ]
        # Constant inputs come last.
        groups = sorted(network.inputs, key=lambda group: group.constant)
        self._n_constant = sum(group.size for group in groups if group.constant)
        entering = [c for c in network.connections if c.from_inputs]
        self._inputs = [_Wires(c, spans(groups)) for c in entering]
        self._longest = max((d for wires in self._recurrent for d in wires.delays), default=1)
        dt, cost = float(network.dt), network.voltage_cost if network.c_v else ""
        self._kinds = [_Kind(p, dt, cost) for p in network.populations]
        self._readouts = [_Readout(r, dt, dtype) for r in network.readouts]

    def _of_kind(self, kind: str) -> list[Connection]:
        return [c for c in self.network.connections if c.kind == kind]

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
        inputs = self._input_currents(weights, jnp.swapaxes(x, 0, 1).astype(dtype))
        values = [kind.values(weights, dtype) for kind in self._kinds]
        recurrent = {wires.name: wires.by_delay(weights[wires.name]) for wires in self._recurrent}
        slices, late = list(network.slices.values()), network.readout_delay

        def step(carry, current):
            kinds, earlier, before, ys, counts, cost = carry
            sent = jax.lax.stop_gradient(earlier) if self.local else earlier
            currents = list(zip(self._inputs, current, strict=True))
            for wires in self._recurrent:
                arriving = jnp.concatenate([wires.sources(sent[d - 1]) for d in wires.delays], 1)
                currents.append((wires, arriving @ recurrent[wires.name].T))
            advanced = []
            for kind, own, where, value in zip(self._kinds, kinds, slices, values, strict=True):
                none = silent[:, where]
                driven = {r: _total(kind.name, currents, none, r) for r in kind.receptors}
                advanced.append(kind.advance(own, driven, earlier[0][:, where], value))
            sent_now = {
                kind.name: own for kind, (_, own, _) in zip(self._kinds, advanced, strict=True)
            }
            z = jnp.concatenate([own[""] for own in sent_now.values()], axis=1)
            cost = cost + sum(own for _, _, own in advanced)
            seen = before if late else sent_now
            currents += [(w, w.heard(seen) @ weights[w.name].T) for w in self._outputs]
            ys = tuple(
                readout.advance(y, _total(readout.name, currents, jnp.zeros_like(y)))
                for readout, y in zip(self._readouts, ys, strict=True)
            )
            kinds = tuple(own for own, _, _ in advanced)
            carry = (kinds, (z, *earlier[:-1]), sent_now, ys, counts + z, cost)
            return carry, (ys, z[-1] > 0)

        silent = jnp.zeros((n_trials, network.n_recurrent), dtype)
        start = (
            tuple(
                kind.start(n_trials, population.size, dtype)
                for kind, population in zip(self._kinds, network.populations, strict=True)
            ),
            (silent,) * self._longest,
            {
                kind.name: dict.fromkeys(kind.sends, silent[:, where])
                for kind, where in zip(self._kinds, slices, strict=True)
            },
            tuple(jnp.zeros((n_trials, readout.size), dtype) for readout in self._readouts),
            silent,
            jnp.zeros(n_trials, dtype),
        )
        (kinds, _, _, _, counts, cost), (ys, last) = jax.lax.scan(step, start, inputs)
        targets = jnp.swapaxes(targets, 0, 1).astype(dtype)
        scores = [
            self._scores(readout, y, targets[..., own], jnp.swapaxes(periods, 0, 1))
            for readout, y, own in zip(
                self._readouts, ys, network.output_slices.values(), strict=True
            )
        ]
        losses = jnp.concatenate([losses for losses, _ in scores], axis=1)
        outputs = jnp.concatenate([outputs for _, outputs in scores], axis=2)
        states = jnp.concatenate([state for own, _ in kinds for state in own], axis=1)
        is_number = ~jnp.isnan(states).any(axis=1)
        return Simulation(losses, outputs, counts, last, cost, is_number)

    def objective(
        self, weights: Values, x: jax.Array, targets: jax.Array, periods: jax.Array
    ) -> tuple[jax.Array, Simulation]:
        """The function to differentiate: mean loss of the trials, and regularisers.

        ``E = mean_trials sum_t,k loss + c_reg/2 sum_j (f_j - f_target)^2``, rates in spikes a step,
        and ``c_v`` times the mean over the steps of the voltage regulariser's cost.
        """
        network = self.network
        result = self.simulate(weights, x, targets, periods)
        total = result.losses.sum(axis=1).mean()
        if network.c_reg:
            rates = result.counts / x.shape[1]
            if network.rate_averaging == "batch":
                rates = rates.mean(axis=0, keepdims=True)
            excess = rates - float(network.f_target * network.dt)
            total += network.c_reg / 2 * jnp.sum(excess**2, axis=1).mean()
        if network.c_v:
            total += network.c_v * result.cost.mean() / x.shape[1]
        return total, result

    def _input_currents(self, weights: Values, x: jax.Array) -> tuple[jax.Array, ...]:
        """Weighted inputs of every step, (n_steps, n_trials, n_post), of each connection."""
        currents = []
        constant = jnp.ones((*x.shape[:-1], self._n_constant), x.dtype)
        x = jnp.concatenate([x, constant], axis=2) if self._n_constant else x
        for wires in self._inputs:
            own = wires.sources(x)
            shifted = [
                jnp.concatenate([jnp.zeros_like(own[:d]), own[: len(own) - d]]) if d else own
                for d in wires.delays
            ]
            matrix = wires.by_delay(weights[wires.name])
            currents.append(jnp.concatenate(shifted, axis=2) @ matrix.T)
        return tuple(currents)

    def _scores(
        self, readout: _Readout, y: jax.Array, targets: jax.Array, periods: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Sums of loss and output over the steps that count; all arrays have these first."""
        if not self.n_answers:
            window = readout.window(self.learning_window)
            y, targets = y[-window:], targets[-window:]
            losses, outputs = readout.scores(y, targets)
            return losses.sum(axis=0), outputs.sum(axis=0)[:, np.newaxis]
        # Steps that do not count may hold infinities, which a factor of 0 would turn into NaN.
        counts = periods[..., np.newaxis] > 0
        first = jnp.argmax(counts, axis=0)[np.newaxis]
        targets = jnp.broadcast_to(targets, y.shape)
        targets = jnp.where(counts, targets, jnp.take_along_axis(targets, first, axis=0))
        losses, outputs = readout.scores(y, targets)
        answers = (periods[..., np.newaxis] == np.arange(1, self.n_answers + 1)).astype(y.dtype)
        losses = jnp.where(counts, losses, 0)
        return losses.sum(axis=0), jnp.einsum("tna,tnk->nak", answers, outputs)


def _total(
    name: str,
    currents: Iterable[tuple[_Wires, jax.Array]],
    none: jax.Array,
    receptor: str = "",
) -> jax.Array:
    """Sum of the currents onto a receptor of a group over all connections; `none` without any."""
    parts = [
        current[:, w.targets[name]]
        for w, current in currents
        if name in w.targets and w.receptor == receptor
    ]
    return sum(parts[1:], start=parts[0]) if parts else none


def optimizer_step(network: Resolved) -> Callable[[Any, Any, Any, Any], tuple[Any, Any]]:
    """The optimizer's equations as a function of weights, gradients, states and number of updates.

    Parameters
    ----------
    network : Resolved

    Returns
    -------
    callable
        ``step(weights, gradient, states, k)`` gives weights and states after the k-th update.
        Mappings are keyed as `Session.weights` and `Session.optimizer_states`.
    """
    keys = network.keys
    optimizers = network.optimizers
    # By place: an optimizer cannot be hashed.
    statements = [
        [
            (name, translated(parsed(expression)))
            for name, expression in split_statements("\n".join(update_statements(optimizer)), "")
        ]
        for optimizer in optimizers
    ]
    learned = {
        key: parameter.population.learned[parameter.name] for key, parameter in keys.learned.items()
    }

    def update(name: str, w, g, states, k, **bounds):
        optimizer = keys.optimizers[name]
        kept = {x.key: x.name for x in keys.states_of(name)}
        scope = {**optimizer.parameters, **bounds, "k": k, "g": g, "w": w}
        scope |= {state: states[key] for key, state in kept.items()}
        if name in learned and learned[name].eta is not None:
            scope["eta"] = learned[name].eta
        for target, compute in statements[optimizers.index(optimizer)]:
            (scope[target],) = compute(scope)
        return scope["w"], {key: scope[state] for key, state in kept.items()}

    def step(weights, gradient, states, k):
        new_weights: dict[str, Any] = {}
        new_states: dict[str, Any] = {}
        for name, w in weights.items():
            if name in learned:
                # In units of its scale, so that one learning rate fits every unit.
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


def _mask(connection: Connection) -> np.ndarray:
    """Which pairs are connected."""
    n_post, n_pre = connection.shape
    if connection.adjacency is not None and n_post * n_pre > MOST_PAIRS:
        raise ValueError(
            "backpropagation through time computes with dense matrices, and those of "
            f"'{connection.name}' would have {n_post} x {n_pre} entries, at most {MOST_PAIRS}: "
            "take e-prop, or fewer neurons"
        )
    if connection.adjacency is not None:
        return connection.adjacency.toarray()
    mask = np.ones(connection.shape, dtype=bool)
    if not connection.autapses:
        np.fill_diagonal(mask, False)
    return mask


def _by_delay(connection: Connection) -> dict[int, np.ndarray]:
    """Masks of the synapses of each delay."""
    steps, mask = connection.delay_steps, _mask(connection)
    if isinstance(steps, int):
        return {steps: mask}
    each = dense(steps).astype(int)
    masks = {int(d): mask & (each == d) for d in np.unique(values_of(steps))}
    return {d: where for d, where in masks.items() if np.any(where)} or {longest(steps): mask}
