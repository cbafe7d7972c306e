r"""A synthesiser: it predicts, from a network's state, the derivative of all later losses by it.

A linear map of the state, or of the state and a hidden layer, in JAX. What it learns is the
derivative that comes back through the next window, with its own prediction at that window's end in
it, as temporal differences do (Jaderberg et al. 2017, Decoupled neural interfaces using synthetic
gradients, arXiv:1608.05343).

The map is fitted by least squares over all that was seen, older updates counting less and less: the
network changes while it learns, and steps down the error's gradient follow it too slowly. With
covariances :math:`C_{xx}` of what is seen and :math:`C_{xy}` of it with what came back, in units in
which all variances of what is seen are 1, the weights that are sought are
:math:`(C_{xx} + r I)^{-1} C_{xy}`. Each update goes some steps towards them from where the last one
has come, by conjugate gradients. Units of a hidden layer are rectified random combinations of what
is seen; their weights stay.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eprop_brian.base.checks import check_count
from eprop_brian.base.random import normals, rng_for
from eprop_brian.training.jax_functions import Values
from eprop_brian.training.windows import Boundary

__all__ = ["Synthesiser"]

#: Variances below this, relative to the square of the mean, are those of what never changes.
_CONSTANT = 1e-6
#: Ridge r, and steps of conjugate gradients in an update.
_RIDGE, _STEPS = 1e-2, 8


class Synthesiser:
    """A map from a network's state to derivatives.

    Parameters
    ----------
    n_seen : int
        Numbers that it sees.
    n_states, n_outputs : int
        Derivatives that it predicts, by states and by readouts.
    n_hidden : int
        Units of the hidden layer; 0: none.
    memory : int
        Updates after which what was seen counts by a factor 1/e.
    """

    def __init__(
        self, n_seen: int, n_states: int, n_outputs: int, n_hidden: int = 0, memory: int = 30
    ) -> None:
        check_count("n_hidden", n_hidden, minimum=0)
        check_count("memory", memory)
        self.n_seen, self.n_hidden = n_seen, n_hidden
        self._n_states, self._n_said = n_states, n_states + n_outputs
        self._decay = float(np.exp(-1 / memory))

    def initial(self, seed: int) -> dict[str, np.ndarray]:
        """Weights, and sums over all that was seen, by name.

        The weights are 0: an untrained synthesiser says what none says.
        """
        n = self.n_seen + self.n_hidden
        state = {
            "w": np.zeros((n, self._n_said)),
            "b": np.zeros(self._n_said),
            "count": np.zeros(()),
            "sum": np.zeros(n),
            "said_sum": np.zeros(self._n_said),
            "products": np.zeros((n, n)),
            "said_products": np.zeros((n, self._n_said)),
        }
        if self.n_hidden:
            shape = self.n_seen, self.n_hidden
            drawn = normals(rng_for(seed, "synthesiser"), (self.n_seen + 1, self.n_hidden))
            state["w_hidden"] = drawn[:-1] / np.sqrt(shape[0])
            state["b_hidden"] = drawn[-1] / 2
        return state

    def say(self, state: Values, seen: jax.Array) -> Boundary:
        """Predict.

        Parameters
        ----------
        state : mapping
            As `initial` gives it.
        seen : array, shape (..., n_seen)
            As `eprop_brian.training.windows.boundary_states` gives it.
        """
        said = self._inputs(state, seen) @ state["w"] + state["b"]
        return Boundary(said[..., : self._n_states], said[..., self._n_states :])

    def learned(
        self, state: Values, seen: jax.Array, found: Boundary, counts: jax.Array
    ) -> tuple[dict[str, Any], jax.Array]:
        """Learn from what came back through the windows.

        Parameters
        ----------
        state : mapping
        seen : array, shape (n_windows - 1, n_trials, n_seen)
        found : Boundary
        counts : array, shape (n_windows - 1, n_trials)
            1 where a window is part of a trial, else 0.

        Returns
        -------
        state : mapping
        unexplained : array
            Mean square of the error before this update over that of `found`.
        """
        error = jnp.concatenate(self.say(state, seen), axis=-1)
        weight = counts.reshape(-1, 1)
        x = self._inputs(state, seen).reshape(weight.shape[0], -1)
        y = jnp.concatenate(found, axis=-1).reshape(weight.shape[0], -1)
        error = error.reshape(y.shape) - y
        size = jnp.sum(weight * y**2)
        unexplained = jnp.sum(weight * error**2) / jnp.where(size > 0, size, 1)
        new = {
            "count": weight.sum(),
            "sum": (weight * x).sum(axis=0),
            "said_sum": (weight * y).sum(axis=0),
            "products": (weight * x).T @ x,
            "said_products": (weight * x).T @ y,
        }
        sums = {name: self._decay * state[name] + value for name, value in new.items()}
        return {**state, **sums, **_fitted(sums, state["w"])}, unexplained

    def _inputs(self, state: Values, seen: jax.Array) -> jax.Array:
        """What the map is linear in."""
        if not self.n_hidden:
            return seen
        n = self.n_seen
        count = jnp.maximum(state["count"], 1)
        mean = state["sum"][:n] / count
        variance = jnp.diagonal(state["products"])[:n] / count - mean**2
        scaled = (seen - mean) / _deviation(variance, mean)
        hidden = jax.nn.relu(scaled @ state["w_hidden"] + state["b_hidden"])
        return jnp.concatenate([seen, hidden], axis=-1)


def _fitted(sums: Values, w: jax.Array) -> dict[str, jax.Array]:
    """Weights that come near those of the ridge regression with these sums, beginning at `w`."""
    count = jnp.maximum(sums["count"], 1)
    mean, said = sums["sum"] / count, sums["said_sum"] / count
    covariance = sums["products"] / count - mean[:, np.newaxis] * mean
    cross = sums["said_products"] / count - mean[:, np.newaxis] * said
    unit = _deviation(jnp.diagonal(covariance), mean)[:, np.newaxis]
    correlation = covariance / unit / unit.T + _RIDGE * jnp.eye(len(mean), dtype=w.dtype)
    varies = jnp.isfinite(unit)
    w = jnp.where(varies, _conjugate(correlation, cross / unit, w * jnp.where(varies, unit, 0)), 0)
    w = w / unit
    return {"w": w, "b": said - mean @ w}


def _conjugate(matrix: jax.Array, wanted: jax.Array, x: jax.Array) -> jax.Array:
    """Some steps towards the solution of ``matrix @ x = wanted``, column by column."""

    def step(_, carry):
        x, rest, direction, square = carry
        image = matrix @ direction
        size = _ratio(square, jnp.sum(direction * image, axis=0))
        x, rest = x + size * direction, rest - size * image
        new = jnp.sum(rest**2, axis=0)
        return x, rest, rest + _ratio(new, square) * direction, new

    rest = wanted - matrix @ x
    start = x, rest, rest, jnp.sum(rest**2, axis=0)
    found: jax.Array = jax.lax.fori_loop(0, _STEPS, step, start)[0]
    return found


def _ratio(a: jax.Array, b: jax.Array) -> jax.Array:
    """a/b of sums of squares, 0 where b is so small that nothing is left to do."""
    some = b > np.finfo(np.float32).tiny
    return jnp.where(some, a / jnp.where(some, b, 1), 0)


def _deviation(variance: jax.Array, mean: jax.Array) -> jax.Array:
    """Standard deviations; of what never changes, infinity."""
    varies = variance > _CONSTANT * mean**2
    return jnp.where(varies, jnp.sqrt(jnp.where(varies, variance, 1)), jnp.inf)
