"""Optimizers in JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from eprop_brian.equations.optimizers import Optimizer
from eprop_brian.network.optimization import check_range, update_statements
from eprop_brian.network.resolved import Resolved
from eprop_brian.symbolic.expressions import split_statements
from eprop_brian.training.jax_functions import Values, parsed, translated

__all__ = ["UpdateRule", "optimizer_step"]


class UpdateRule:
    """The equations of an optimizer as a function of a weight, a gradient and its states.

    Parameters
    ----------
    optimizer : Optimizer
    dtype : type
        Float type of the weights.

    Raises
    ------
    ValueError
        If a parameter is beyond it.
    """

    def __init__(self, optimizer: Optimizer, dtype: type) -> None:
        check_range(optimizer, dtype)
        self.states, self._parameters = optimizer.states, optimizer.parameters
        lines = split_statements("\n".join(update_statements(optimizer)), "")
        self._statements = [(name, translated(parsed(expression))) for name, expression in lines]

    def __call__(
        self, w: jax.Array, g: jax.Array, states: Values, k: Any, **parameters: Any
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Weight and states after update number `k`, with some `parameters` replaced."""
        scope: dict[str, Any] = {**self._parameters, **parameters, **states, "k": k, "g": g, "w": w}
        for target, compute in self._statements:
            (scope[target],) = compute(scope)
        return scope["w"], {state: scope[state] for state in self.states}


def optimizer_step(
    network: Resolved, dtype: type
) -> Callable[[Any, Any, Any, Any], tuple[Any, Any]]:
    """The optimizer's equations as a function of weights, gradients, states and number of updates.

    Parameters
    ----------
    network : Resolved
    dtype : type
        Float type of the weights.

    Returns
    -------
    callable
        ``step(weights, gradient, states, k)`` gives weights and states after the k-th update.
        Mappings are keyed as `Session.weights` and `Session.optimizer_states`.
    """
    keys = network.keys
    optimizers = network.optimizers
    # By place: an optimizer cannot be hashed.
    rules = [UpdateRule(optimizer, dtype) for optimizer in optimizers]
    learned = {
        key: parameter.population.learned[parameter.name] for key, parameter in keys.learned.items()
    }

    def update(name: str, w, g, states: Mapping[str, Any], k, **parameters):
        kept = {x.name: x.key for x in keys.states_of(name)}
        own = {state: states[key] for state, key in kept.items()}
        if name in learned and learned[name].eta is not None:
            parameters["eta"] = learned[name].eta
        rule = rules[optimizers.index(keys.optimizers[name])]
        w, own = rule(w, g, own, k, **parameters)
        return w, {key: own[state] for state, key in kept.items()}

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
