"""What synapses hand on of spikes, in JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eprop_brian.symbolic.expressions import parse_expression
from eprop_brian.symbolic.transmission import Transmission
from eprop_brian.training.jax_functions import Values, translated

__all__ = ["Amounts"]


class Amounts:
    """The amounts that arrive through the synapses of a connection.

    Parameters
    ----------
    transmission : Transmission
    inputs : bool
        Whether spikes are those of inputs.
    dt : float
        In seconds.
    """

    def __init__(self, transmission: Transmission, inputs: bool, dt: float) -> None:
        step = transmission.map
        self._states = step.states
        self._initial = step.initial_values(dt)
        self._values = {**transmission.units, **step.parameters, "dt": dt}
        self._code = []
        for line in transmission.statements(inputs=inputs):
            name, expression = line.split(" = ", 1)
            parsed = parse_expression(expression, name, detached=True)
            self._code.append((name, translated([parsed])))

    def start(self, shape: tuple[int, ...], dtype: type) -> Values:
        """The variables of the synapses at the start of a trial."""
        return {
            name: jnp.broadcast_to(jnp.asarray(v, dtype), shape)
            for name, v in self._initial.items()
        }

    def advance(self, states: Values, z: jax.Array) -> tuple[Values, jax.Array]:
        """One step: the new variables, and what is handed on of spikes."""
        scope: dict[str, Any] = {**self._values, **states, "z": z}
        for name, compute in self._code:
            (scope[name],) = compute(scope)
        new = {
            name: jnp.broadcast_to(scope[name], z.shape).astype(z.dtype) for name in self._states
        }
        return new, jnp.broadcast_to(scope["value_sent"], z.shape).astype(z.dtype)

    def of_trials(self, spikes: jax.Array) -> jax.Array:
        """What is handed on of given spikes, whose first axis is time."""

        def step(states: Values, z: jax.Array) -> tuple[Values, jax.Array]:
            return self.advance(states, z)

        start = self.start(spikes.shape[1:], np.dtype(spikes.dtype).type)
        return jax.lax.scan(step, start, spikes)[1]
