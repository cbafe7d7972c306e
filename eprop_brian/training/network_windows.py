"""A network of the user's neurons as windows differentiate it, in JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eprop_brian.base.sparse import dense
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.jax_functions import Values
from eprop_brian.training.jax_gradients import completed_gradient, masked
from eprop_brian.training.jax_optimizer import optimizer_step
from eprop_brian.training.state import require_trials
from eprop_brian.training.unrolled import Crossing, Links, Simulation, Unrolled

__all__ = ["NetworkWindows"]


class NetworkWindows:
    """See `eprop_brian.training.windowed_session.Trainable`.

    Parameters
    ----------
    network : Network or Resolved
    dtype : {"float64", "float32"}

    Raises
    ------
    ValueError
        If something acts across the end of a window otherwise than through states and readouts.
    """

    def __init__(self, network: Network | Resolved, dtype: str = "float64") -> None:
        self.resolved = resolved = as_resolved(network)
        require_trials(resolved)
        _check_crossing(resolved)
        self.dtype: type = np.dtype(dtype).type
        # Where the error counts, trials say step by step: as their first answer.
        self._unrolled = {
            local: Unrolled(resolved, 1, self.dtype, n_answers=1, local=local)
            for local in (False, True)
        }
        self._names = (*resolved.keys.connections, *resolved.keys.learned)
        self._optimize = optimizer_step(resolved, self.dtype)
        self.n_states = sum(len(p.system.step.states) * p.size for p in resolved.populations)
        self.n_recurrent, self.n_outputs = resolved.n_recurrent, resolved.n_outputs
        self.averages = bool(resolved.average_gradient)

    def initial_weights(self, seed: int) -> dict[str, np.ndarray]:
        """Initial weights and learned parameters, dense, keyed as `Session.weights`."""
        weights = self.resolved.initial_weights(seed)
        return {name: np.asarray(dense(weights[name]), float) for name in self._names}

    def optimizer_states(self) -> dict[str, np.ndarray]:
        """The optimizer's states before the first update."""
        shapes = self.resolved.keys.shapes()
        kept = self.resolved.keys.optimizer
        return {key: np.zeros(shapes[state.owner]) for key, state in kept.items()}

    def exogenous(self, trials: Trials, n_steps: int) -> Any:
        """What neurons read of time, random numbers and timed arrays in trials."""
        return self._unrolled[False].exogenous(trials.noise_keys, n_steps)

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
    ) -> tuple[jax.Array, Crossing, Simulation]:
        """See `eprop_brian.training.windows.Differentiable`."""
        periods = counted.astype(np.int32)
        return self._unrolled[local].linked(weights, links, x, targets, periods, exogenous)

    def updated(
        self, weights: Values, derivative: Values, states: Values, k: Any, scale: Any
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """Weights and the optimizer's states after the k-th update."""
        masks, owners = self._unrolled[False].masks, self.resolved.keys.optimizer
        gradient = completed_gradient(self.resolved, masks, weights, derivative, scale)
        changing = {name: weights[name] for name in gradient}
        changed, states = self._optimize(changing, gradient, states, k)
        weights = {**weights, **{name: masked(masks, name, w) for name, w in changed.items()}}
        return weights, {key: masked(masks, owners[key].owner, s) for key, s in states.items()}

    def reported(self, result: Simulation, steps: jax.Array) -> tuple[jax.Array, jax.Array]:
        """See `eprop_brian.training.windowed_session.Trainable`."""
        rates = result.counts.mean(axis=1) / steps
        return result.losses, jnp.mean(rates) / float(self.resolved.dt)


def _check_crossing(network: Resolved) -> None:
    """Raise ValueError if something else than states and readouts crosses from step to step.

    Or if errors count where windows do not.
    """
    for readout in network.readouts:
        if readout.loss.of_labels:
            raise ValueError(
                f"readout '{readout.name}' has a loss of labels, which windows cannot divide: take "
                "gradient = 'factored' or 'bptt'"
            )
        if readout.window_steps is not None:
            raise ValueError(
                f"readout '{readout.name}' has a window of {readout.window_steps} steps in which "
                "its loss counts, and e-prop 3 counts in the task's: leave the window away, or "
                "take gradient = 'factored' or 'bptt'"
            )
    if network.frame_steps > 1:
        raise ValueError(
            f"readout '{network.readouts[0].name}' takes a step every {network.frame_steps} of the "
            "network, which windows do not count: leave `every` away, or take gradient = "
            "'factored' or 'bptt'"
        )
    for p in network.populations:
        if p.reverse_time:
            raise ValueError(
                f"population '{p.name}' has reverse_time, so it would cross windows from the other "
                "side: leave it away, or take gradient = 'factored' or 'bptt'"
            )
    for c in network.connections:
        if c.transmission:
            raise ValueError(
                f"'{c.name}' has variables of its synapses, which windows do not carry: take "
                "gradient = 'factored' or 'bptt', or synapses without"
            )
        if c.kind == "recurrent" and np.any(dense(c.delay_steps) > 1):
            raise ValueError(
                f"'{c.name}' has delays of several steps, and spikes under way would cross the end "
                "of a window: leave its delay at one step"
            )
    if network.readout_delay:
        raise ValueError(
            "readouts with a delay hear spikes from before a window: leave the readout's delay away"
        )
