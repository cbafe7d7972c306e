"""The update of e-prop by learning signals that a population emits, in JAX.

It is made so that it can be differentiated, by all weights and by what enters it, as learning to
learn needs (`eprop_brian.training.meta`). The network runs once, which gives its spikes and the
learning signals that are emitted. E-prop's gradient then is the derivative of

    sum_t sum_j F_j[t] z_j[t],        F[t] = decay F[t + 1] + gain L[t]

by the weights, where each neuron runs by itself: what other neurons send it is given, so are the
spikes that reset it, and so is the learning signal L, filtered backwards as the eligibility traces
are filtered. In a further derivative all of these count: weights change the spikes that neurons
hear, and the learning signal.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eprop_brian.network.filters import trace_filter
from eprop_brian.network.graph import SignalConnection, spans
from eprop_brian.network.one_update import check_one_update
from eprop_brian.network.resolved import Resolved
from eprop_brian.symbolic.expressions import split_statements
from eprop_brian.training.jax_functions import Values, parsed, translated
from eprop_brian.training.jax_optimizer import optimizer_step
from eprop_brian.training.jax_parts import Neurons, Wires
from eprop_brian.training.unrolled import Unrolled, total

__all__ = ["InnerUpdate"]


class InnerUpdate:
    """One update of a network by the learning signals that its populations emit.

    Parameters
    ----------
    network : Resolved
    dtype : type

    Raises
    ------
    ValueError
        If the update would be more than that, see `check_one_update`.
    """

    def __init__(self, network: Resolved, dtype: type) -> None:
        check_one_update(network)
        self.network, self._dtype = network, dtype
        self._whole = Unrolled(network, 1, dtype, twice=True)
        dt = float(network.dt)
        self._filters = [_Filter(signal, dt) for signal in network.signals]
        self._alone = [
            (Neurons(p, dt, "", twice=True), p, signal)
            for p in network.populations
            for signal in self._filters
            if p.name in signal.targets
        ]
        groups = sorted(network.inputs, key=lambda group: group.constant)
        self._n_constant = sum(group.size for group in groups if group.constant)
        self._wires = [
            Wires(c, spans(groups) if c.from_inputs else network.slices, network)
            for c in network.connections
            if not c.to_readout
        ]
        self.trained = tuple(c.name for c in network.keys.plastic)
        self._optimize = optimizer_step(network, dtype)

    def run(self, weights: Values, x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Spikes of all neurons, (n_steps, n_trials, n_recurrent), and emitted signals by target.

        `x` has the shape (n_trials, n_steps, n_inputs).
        """
        result = self._whole.trajectory(weights, x, keep=lambda z: z)
        z: jax.Array = result.kept
        signals: dict[str, jax.Array] = {}
        for own in self._filters:
            lines = [z[..., self.network.slices[source]] for source in own.sources]
            emitted = own.emitted(jnp.concatenate(lines, axis=2) @ weights[own.name].T)
            signals |= {target: emitted[..., rows] for target, rows in own.targets.items()}
        return z, signals

    def gradient(
        self, weights: Values, x: jax.Array, z: jax.Array, signals: Values
    ) -> dict[str, jax.Array]:
        """E-prop's gradient for given spikes and learning signals, mean over trials.

        Returns
        -------
        dict of str to array
            By the weights that learn.
        """
        fixed = {name: w for name, w in weights.items() if name not in self.trained}

        def answered(trained: Values) -> jax.Array:
            own = self._by_itself({**fixed, **trained}, x, z)
            filtered = {
                p.name: signal.backwards(_earlier(signals[p.name], self.network.readout_delay))
                for _, p, signal in self._alone
            }
            products = [jnp.sum(filtered[name] * spikes) for name, spikes in own.items()]
            return jnp.stack(products).sum() / len(x)

        trained = {name: weights[name] for name in self.trained}
        gradient = jax.grad(answered)(trained)
        masks = self._whole.masks
        return {name: jnp.where(masks[name], g, 0) for name, g in gradient.items()}

    def __call__(self, weights: Values, x: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
        """The weights after the update, and the spikes that led to it."""
        z, signals = self.run(weights, x)
        gradient = self.gradient(weights, x, z, signals)
        changing = {name: weights[name] for name in gradient}
        changed, _ = self._optimize(changing, gradient, {}, 1.0)
        return {**weights, **changed}, z

    def _by_itself(self, weights: Values, x: jax.Array, z: jax.Array) -> dict[str, jax.Array]:
        """Spikes of the populations that learn, each neuron of which hears given spikes."""
        x = jnp.swapaxes(x, 0, 1).astype(self._dtype)
        constant = jnp.ones((*x.shape[:-1], self._n_constant), x.dtype)
        x = jnp.concatenate([x, constant], axis=2)
        currents = []
        for wires in self._wires:
            heard = x if wires.from_inputs else z
            currents.append((wires, wires.arriving(heard) @ wires.by_delay(weights[wires.name]).T))
        spikes = {}
        for kind, population, _ in self._alone:
            none = jnp.zeros((*z.shape[:2], population.size), z.dtype)
            driven = {r: total(kind.name, currents, none, r) for r in kind.receptors}
            own = z[..., self.network.slices[kind.name]]
            before = jnp.concatenate([jnp.zeros_like(own[:1]), own[:-1]])
            spikes[kind.name] = _alone(kind, driven, before, kind.values(weights, self._dtype))
        return spikes


def _earlier(signal: jax.Array, lag: int) -> jax.Array:
    """A signal by the step whose traces it meets, as errors of readouts that see spikes late."""
    return jnp.concatenate([signal[lag:], jnp.zeros_like(signal[:lag])])


def _alone(kind: Neurons, driven: Values, before: jax.Array, values: Values) -> jax.Array:
    """Spikes of neurons that are driven by given currents and reset by given spikes.

    The first axis is time; `before` are the spikes of the step before each.
    """
    _, n_trials, size = before.shape

    def step(carry: Any, now: tuple[Values, jax.Array]) -> tuple[Any, jax.Array]:
        (state, z), (currents, given) = carry, now
        state, sent, _ = kind.advance(state, currents, z, values, {}, given)
        return (state, sent[""]), sent[""]

    start = kind.start(n_trials, size, np.dtype(before.dtype).type), jnp.zeros_like(before[0])
    return jax.lax.scan(step, start, (dict(driven), before))[1]


class _Filter:
    """The filter of an emitted learning signal, and that of the traces that it meets."""

    def __init__(self, signal: SignalConnection, dt: float) -> None:
        assert signal.filter is not None  # as `check_one_update` has seen
        readout = signal.filter.readout
        self.name, self.sources, self.targets = signal.name, [*signal.sources], signal.targets
        self._values = {**{k: float(v) for k, v in signal.filter.values.items()}, "dt": dt}
        self._update = translated(parsed(split_statements(readout.update, "")[0][1]))
        self._decay, self._gain = trace_filter(readout, signal.filter.values, dt)

    def emitted(self, arriving: jax.Array) -> jax.Array:
        """The signal of every step from what arrives in it; the first axis is time."""

        def step(y: jax.Array, arrives: jax.Array) -> tuple[jax.Array, jax.Array]:
            (y,) = self._update({**self._values, "y": y, "I": arrives})
            return y, y

        return jax.lax.scan(step, jnp.zeros_like(arriving[0]), arriving)[1]

    def backwards(self, signal: jax.Array) -> jax.Array:
        """What a spike of every step is multiplied by: the signal, filtered as traces are."""
        if not self._decay:
            return self._gain * signal

        def step(later: jax.Array, now: jax.Array) -> tuple[jax.Array, jax.Array]:
            filtered = self._decay * later + now
            return filtered, filtered

        zero = jnp.zeros_like(signal[0])
        return self._gain * jax.lax.scan(step, zero, signal, reverse=True)[1]
