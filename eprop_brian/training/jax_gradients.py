"""What becomes of a derivative in JAX before an optimizer takes it: scaled, masked, clipped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from eprop_brian.network.resolved import Resolved
from eprop_brian.training.jax_functions import Values

__all__ = ["clipped", "completed_gradient", "masked"]


def masked(masks: Mapping[str, np.ndarray], name: str, values: jax.Array) -> jax.Array:
    """Values of the weights of a connection, 0 where it has no synapse."""
    return jnp.where(masks[name], values, 0) if name in masks else values


def clipped(gradient: Values, names: Iterable[str], clip_norm: float) -> dict[str, jax.Array]:
    """A gradient in which the norm of some weights' together is `clip_norm` at most."""
    parts = [gradient[name] for name in names]
    # Scaled by the largest, since the square of an exploding gradient overflows.
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(part)) for part in parts]))
    unit = jnp.where(largest > 0, largest, 1)
    square = sum(jnp.sum((part / unit) ** 2) for part in parts)
    norm = unit * jnp.sqrt(square)
    factor = jnp.where(norm > clip_norm, clip_norm / norm, 1.0)
    return {**gradient, **{name: factor * gradient[name] for name in names}}


def completed_gradient(
    network: Resolved,
    masks: Mapping[str, np.ndarray],
    weights: Values,
    derivative: Values,
    scale: float,
) -> dict[str, jax.Array]:
    """The gradient of all that learns, from the derivative of the mean loss over trials.

    0 where there is no synapse, with the network's weight decay and limits.

    Parameters
    ----------
    network : Resolved
    masks : mapping of str to array of bool
        As `Unrolled.masks`.
    weights, derivative : mapping
    scale : float
        Factor of the derivative.
    """
    gradient = {
        name: scale * masked(masks, name, derivative[name]) for name in network.keys.trained
    }
    matrices = [c.name for c in network.keys.plastic]
    for name in matrices:
        if network.c_l2:
            gradient[name] += network.c_l2 * masked(masks, name, weights[name])
        if network.clip_value is not None:
            limit, g = network.clip_value, gradient[name]
            # What is not finite stays so, and ends the training by name.
            gradient[name] = jnp.where(jnp.isfinite(g), jnp.clip(g, -limit, limit), g)
    if network.clip_norm is not None:
        gradient = clipped(gradient, matrices, network.clip_norm)
    return gradient
