"""An LSTM as windows differentiate it, in JAX; `eprop_brian.training.lstm` has its equations."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eprop_brian.base.random import normals, rng_for
from eprop_brian.equations.losses import LOSSES
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.jax_functions import Values, parsed, translated
from eprop_brian.training.jax_gradients import clipped
from eprop_brian.training.jax_optimizer import UpdateRule
from eprop_brian.training.lstm import FORGET, Lstm
from eprop_brian.training.unrolled import Crossing, Links

__all__ = ["LstmWindows"]


class LstmWindows:
    """See `eprop_brian.training.windowed_session.Trainable`.

    Parameters
    ----------
    lstm : Lstm
    dtype : {"float64", "float32"}
    """

    averages = True

    def __init__(self, lstm: Lstm, dtype: str = "float64") -> None:
        self.lstm = lstm
        self.dtype: type = np.dtype(dtype).type
        self.n_states, self.n_recurrent = 2 * lstm.n_units, lstm.n_units
        self.n_outputs = lstm.n_outputs
        self._loss = translated(parsed(LOSSES[lstm.loss].loss))
        self._update = UpdateRule(lstm.optimizer, self.dtype)

    def initial_weights(self, seed: int) -> dict[str, np.ndarray]:
        """Weights of variance 1/fan-in; biases are 0."""
        rng = rng_for(seed, "lstm")
        return {
            name: normals(rng, shape) / np.sqrt(shape[1]) if len(shape) > 1 else np.zeros(shape)
            for name, shape in self.lstm.shapes.items()
        }

    def optimizer_states(self) -> dict[str, np.ndarray]:
        """The optimizer's states before the first update."""
        pairs = [(state, name) for name in self.lstm.shapes for state in self.lstm.optimizer.states]
        return {f"{state}.{name}": np.zeros(self.lstm.shapes[name]) for state, name in pairs}

    def exogenous(self, trials: Trials, n_steps: int) -> Any:
        """Nothing acts on its units but inputs."""
        return ()

    def linked(
        self,
        weights: Values,
        links: Links,
        x: jax.Array,
        targets: jax.Array,
        counted: jax.Array,
        exogenous: Any,
        *,
        local: bool,
    ) -> tuple[jax.Array, Crossing, jax.Array]:
        """See `eprop_brian.training.windows.Differentiable`; also the losses of each output."""
        driven = x @ weights["w_in"].T + weights["bias"]

        def step(carry, of_step):
            c, m, y = carry
            current, link = of_step
            sent = jax.lax.stop_gradient(m) if local else m
            gates = current + (sent + link.arriving) @ weights["w_rec"].T
            i, f, o, g = jnp.split(gates, 4, axis=1)
            c = jax.nn.sigmoid(f + FORGET) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            m = jax.nn.sigmoid(o) * jnp.tanh(c)
            # The output gate acts on m beside c, so both are states that cross a cut.
            states = jnp.concatenate([c, m], axis=1)
            behind = jnp.where(link.cut, jax.lax.stop_gradient(states), states) + link.states
            c, m = jnp.split(behind, 2, axis=1)
            found = y
            # Without a memory of its own, it carries nothing on.
            y = m @ weights["w_out"].T + weights["bias_out"]
            return (c, m, y), (y, Crossing(states, found, m))

        zero = jnp.zeros((x.shape[0], self.n_recurrent), x.dtype)
        start = zero, zero, jnp.zeros((x.shape[0], self.n_outputs), x.dtype)
        _, (y, crossing) = jax.lax.scan(step, start, (jnp.swapaxes(driven, 0, 1), links))
        scope = {"y": y, "y_target": jnp.swapaxes(targets, 0, 1)}
        (losses,) = self._loss(scope)
        losses = jnp.where(jnp.swapaxes(counted, 0, 1)[..., np.newaxis], losses, 0).sum(axis=0)
        return losses.sum(axis=1).mean(), crossing, losses

    def updated(
        self, weights: Values, derivative: Values, states: Values, k: Any, scale: Any
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """Weights and the optimizer's states after the k-th update."""
        gradient = {name: scale * g for name, g in derivative.items()}
        if self.lstm.clip_norm is not None:
            gradient = clipped(gradient, gradient, self.lstm.clip_norm)
        new_weights: dict[str, jax.Array] = {}
        new_states: dict[str, jax.Array] = {}
        for name, w in weights.items():
            own = {state: states[f"{state}.{name}"] for state in self.lstm.optimizer.states}
            new_weights[name], own = self._update(w, gradient[name], own, k)
            new_states |= {f"{state}.{name}": value for state, value in own.items()}
        return new_weights, new_states

    def reported(self, result: jax.Array, steps: jax.Array) -> tuple[jax.Array, jax.Array]:
        """See `eprop_brian.training.windowed_session.Trainable`."""
        return result, jnp.asarray(jnp.nan)
