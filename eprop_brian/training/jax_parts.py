"""Parts of a network in JAX: a step of neurons and readouts, and what connections bring.

`eprop_brian.training.unrolled` joins them, and says what is differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from brian2.parsing.sympytools import str_to_sympy

from eprop_brian.base.sparse import MOST_PAIRS, dense, ends, values_of
from eprop_brian.network.built import dependent_constants
from eprop_brian.network.delays import longest
from eprop_brian.network.exogenous import constant_values
from eprop_brian.network.graph import Connection, PopulationGroup, ReadoutGroup
from eprop_brian.network.resolved import Resolved
from eprop_brian.symbolic.expressions import split_statements
from eprop_brian.symbolic.names import BEFORE
from eprop_brian.symbolic.readings import state_cost
from eprop_brian.symbolic.weights import WEIGHT
from eprop_brian.training.jax_functions import Values, parsed, spike, translated
from eprop_brian.training.jax_synapses import Amounts

__all__ = ["Neurons", "Outputs", "Wires", "spread", "synapse_mask"]

#: Smallest softmax probability, as on the devices: keeps its logarithm finite.
_SMALLEST_LOG_P = -30 * np.log(10)


def _as_they_are(states: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    return states


class Neurons:
    """A population's step in JAX.

    With `twice` its derivative can be differentiated: surrogates then have one of their own.
    """

    def __init__(
        self, population: PopulationGroup, dt: float, cost: str, twice: bool = False
    ) -> None:
        step = population.system.step
        self.name, self.states, self.signals = population.name, step.states, step.signals
        self.receptors, self._twice = population.neuron.receptor_names, twice
        self.detaches = population.neuron.detach is not None
        self.learned = tuple(population.learned)
        self.initial = step.initial_values(dt)
        self.refractory_steps = np.asarray(step.refractory_steps(dt), dtype=np.int32)
        self.never_refractory = not (step.active or np.any(self.refractory_steps))
        # Counters are 1 while a condition keeps neurons refractory.
        self._active = translated(parsed(step.active)) if step.active else None
        self._values = {**step.values(dt), **constant_values(population), "dt": dt}
        follows = dependent_constants(population)
        self._constants = {name: translated(parsed(step.constants[name])) for name in follows}
        # All states at once, or the statements of a long step one after the other.
        together = [(step.states, [*step.composed.values()])]
        one_by_one = [((name,), [x]) for name, x in step.statements]
        advance = together if step.composed else one_by_one
        self._advance = [(names, translated(expressions)) for names, expressions in advance]
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

    def advance(
        self,
        carry,
        inputs: Values,
        z_before: jax.Array,
        values: Values,
        exogenous: Values,
        given: jax.Array | None = None,
        cross: Callable[[tuple[jax.Array, ...]], tuple[jax.Array, ...]] = _as_they_are,
    ):
        """One step; returns the new states and counters, what is sent and the cost of each trial.

        The spikes are sent, whose key is ``""``, and what readouts read, whose key is its text.

        `inputs` are those of the receptors, by name; `exogenous` what the equations read of time,
        random numbers and timed arrays. E-prop does not differentiate some of what the neuron's own
        spike does, such as its reset: the spikes that do it can be `given`. `cross` takes the new
        states, and gives those that spikes and all that follows are functions of.
        """
        states, counter = carry
        if given is None:
            given = jax.lax.stop_gradient(z_before) if self.detaches else z_before
        shape, dtype = z_before.shape, z_before.dtype
        before = (counter == 0).astype(dtype) * (1 - jax.lax.stop_gradient(z_before))
        was_active = counter == 0
        counter = jnp.maximum(counter - 1, 0)
        active = counter == 0
        scope = {
            **values,
            **exogenous,
            **dict(zip(self.states, states, strict=True)),
            **{name: inputs[receptor] for receptor, name in self.signals.inputs.items()},
            self.signals.spike: z_before,
            self.signals.detached: given,
            "not_refractory": 1.0 if self.never_refractory else active.astype(dtype),
            BEFORE: before,
        }
        if self._active is not None:
            scope["not_refractory"] = was_active.astype(dtype)
            (chosen,) = self._active(scope)
            active = jnp.broadcast_to(jax.lax.stop_gradient(chosen) > 0.5, shape)
            counter = jnp.where(active, 0, 1).astype(np.int32)
            scope["not_refractory"] = active.astype(dtype)
        for names, advance in self._advance:
            scope |= zip(names, advance(scope), strict=True)
        states = cross(tuple(jnp.broadcast_to(scope[state], shape) for state in self.states))
        scope |= zip(self.states, states, strict=True)
        margin, psi = self._slope(scope)
        fires = self._fires(scope)[0] & active
        z = spike(margin, psi if self._twice else jax.lax.stop_gradient(psi), fires)
        cost = jnp.broadcast_to(self._cost(scope)[0], shape).sum(axis=1)
        sent = {text: read(scope)[0] for text, read in self._readings.items()}
        sent = {text: jnp.broadcast_to(value, shape) for text, value in sent.items()}
        return (states, jnp.where(fires, self.refractory_steps, counter)), {"": z, **sent}, cost


class Wires:
    """A connection in JAX: the spikes that it takes, and when they arrive."""

    def __init__(self, connection: Connection, line: dict[str, slice], network: Resolved) -> None:
        self.name, self.targets = connection.name, connection.targets
        self.from_inputs = connection.from_inputs
        self.reads, self._names = connection.reads, [*connection.sources]
        self.receptor = connection.receptor
        self._columns = [line[source] for source in connection.sources]
        self._takes_all = [*connection.sources] == [*line]
        self._masks = _by_delay(connection)
        self.delays = list(self._masks)
        self._effective = _effective_weights(connection, network)
        self.amounts, dt = None, float(network.dt)
        if connection.transmission:
            self.amounts = Amounts(connection.transmission, connection.from_inputs, dt)

    def sources(self, spikes: jax.Array) -> jax.Array:
        """Its columns of the spikes of all inputs or all neurons, which come last."""
        if self._takes_all:
            return spikes
        return jnp.concatenate([spikes[..., where] for where in self._columns], axis=-1)

    def start(self, silent: jax.Array, longest: int) -> Any:
        """Variables of the synapses at the start of a trial, and what was handed on before it."""
        assert self.amounts
        own = self.sources(silent)
        return self.amounts.start(own.shape, own.dtype.type), (own,) * longest

    def after(self, carried: Any, z: jax.Array) -> Any:
        """The same after a step with these spikes of all neurons."""
        assert self.amounts
        states, earlier = carried
        states, now = self.amounts.advance(states, self.sources(z))
        return states, (now, *earlier[:-1])

    def heard(self, sent: Mapping[str, Mapping[str, jax.Array]]) -> jax.Array:
        """What it takes of that which each population sends."""
        return jnp.concatenate([sent[name][self.reads] for name in self._names], axis=-1)

    def arriving(self, spikes: jax.Array) -> jax.Array:
        """What arrives in every step, of each of `delays`, of spikes whose first axis is time."""
        own = self.sources(spikes)
        if self.amounts:
            own = self.amounts.of_trials(own)
        shifted = [
            jnp.concatenate([jnp.zeros_like(own[:d]), own[: len(own) - d]]) if d else own
            for d in self.delays
        ]
        return jnp.concatenate(shifted, axis=2)

    def by_delay(self, weights: jax.Array) -> jax.Array:
        """What spikes bring of the weights, of each of `delays`, (n_post, delays*n_pre)."""
        for rows, effective in self._effective:
            weights = weights.at[rows].set(effective(weights[rows]))
        blocks = [jnp.where(mask, weights, 0) for mask in self._masks.values()]
        return jnp.concatenate(blocks, axis=1)


class Outputs:
    """A group of readouts in JAX."""

    def __init__(self, readout: ReadoutGroup, dt: float, dtype: type) -> None:
        self.name, self.size, self.loss = readout.name, readout.size, readout.loss
        self.window, self.dtype = readout.window, dtype
        self.values = {**{name: float(v) for name, v in readout.values.items()}, "dt": dt}
        self._update = translated(parsed(split_statements(readout.readout.update, "")[0][1]))
        scores = (readout.loss.loss, *[readout.loss.signal] * (not readout.loss.of_labels))
        self._scores = translated(parsed(*scores))

    def advance(self, y: jax.Array, current: jax.Array) -> jax.Array:
        """One step."""
        (y,) = self._update({**self.values, "y": y, "I": current})
        return y

    def scores(
        self, y: jax.Array, targets: jax.Array, advantage: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Loss and output of every step, trial and readout."""
        scope = {**self.values, "y": y, "y_target": targets, "advantage": advantage}
        if self.loss.softmax:
            log_p = jax.nn.log_softmax(y, axis=2)
            # The bound changes a value but not its derivative, as on the devices.
            bound = jnp.maximum(log_p, _SMALLEST_LOG_P)
            if self.loss.open_at_one:
                bound = jnp.minimum(bound, -np.finfo(self.dtype).eps)
            scope["p"] = jnp.exp(log_p + jax.lax.stop_gradient(bound - log_p))
        losses, outputs = (jnp.broadcast_to(v, y.shape) for v in self._scores(scope))
        return losses, outputs

    def of_labels(self, log_likelihood: jax.Array) -> jax.Array:
        """A loss of labels, from the logarithm of their probability in each trial."""
        (losses,) = self._scores({**self.values, "log_likelihood": log_likelihood})
        return losses


def _effective_weights(
    connection: Connection, network: Resolved
) -> list[tuple[slice, Callable[[jax.Array], jax.Array]]]:
    """What spikes bring of the weights, for the rows of each target where it is not the weights."""
    populations = {population.name: population for population in network.populations}
    result: list[tuple[slice, Callable[[jax.Array], jax.Array]]] = []
    for target, rows in connection.targets.items():
        function = network.weight_function(connection, target)
        if function is None:
            continue
        values: dict[str, Any] = {}
        if function.names:
            of_neurons = populations[target].system.step.values(float(network.dt))
            values = {f"{k}_post": np.reshape(of_neurons[k], (-1, 1)) for k in function.names}
        compute = translated([function.expression])

        def effective(weights, compute=compute, values=values):
            return compute({**values, WEIGHT.name: weights})[0]

        result.append((rows, effective))
    return result


def synapse_mask(connection: Connection) -> np.ndarray:
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


def spread(connection: Connection, weights: jax.Array) -> jax.Array:
    """The dense matrix [post, pre] of a connection from the weights that its synapses share."""
    assert connection.shared
    mixed, (post, pre) = connection.shared.mixing.tocoo(), ends(connection.shared.adjacency)
    synapse, number = mixed.coords
    parts = weights.ravel()[number] * mixed.data.astype(weights.dtype)
    return jnp.zeros(connection.shape, weights.dtype).at[post[synapse], pre[synapse]].add(parts)


def _by_delay(connection: Connection) -> dict[int, np.ndarray]:
    """Masks of the synapses of each delay."""
    steps, mask = connection.delay_steps, synapse_mask(connection)
    if isinstance(steps, int):
        return {steps: mask}
    each = dense(steps).astype(int)
    masks = {int(d): mask & (each == d) for d in np.unique(values_of(steps))}
    return {d: where for d, where in masks.items() if np.any(where)} or {longest(steps): mask}
