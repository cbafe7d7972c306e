"""Backpropagation through time, against which e-prop is measured.

The same network is trained by the total derivative of its loss, which no neuron could compute.
E-prop's learning signal is the partial derivative of the loss by a spike: the spike's direct effect
on the readout. The total derivative adds its later effect by way of other neurons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eprop_brian.base.sparse import Matrix, copied, is_sparse, taken
from eprop_brian.base.suggestions import unknown
from eprop_brian.devices import DTYPES
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.state import LearningSession, Outcome, check_batches, require_trials
from eprop_brian.training.unrolled import Simulation, Unrolled, optimizer_step

__all__ = ["BpttSession"]


class BpttSession(LearningSession):
    """A network that learns by backpropagation through time, in JAX.

    It runs on JAX's default device, where JAX uses all cores. Matrices are dense while it computes,
    even those of a sparse network.

    Parameters
    ----------
    network : Network or Resolved
        Its ``gradient`` need not be ``"bptt"``: e-prop networks can be compared.
    example : Trials
        The largest set of trials of one call.
    learning_window : int
        Steps at the end of a trial in which the error counts.
    weights : dict
        As `Network.initial_weights` gives them; any may be dense or sparse.
    dtype : {"float64", "float32"}
        Float type of all state.

    Raises
    ------
    ValueError
        If the network runs without trials, something does not fit, or a sparse matrix would be too
        large as a dense one.
    """

    def __init__(
        self,
        network: Network | Resolved,
        example: Trials,
        learning_window: int,
        weights: Mapping[str, Any],
        dtype: str = "float64",
    ) -> None:
        require_trials(network)
        if dtype not in DTYPES:
            raise ValueError(unknown("dtype", dtype, DTYPES))
        super().__init__(network, example, learning_window, weights)
        self._dtype = DTYPES[dtype]
        n_answers = self.capacity.n_answers
        self._unrolled = Unrolled(self.resolved, learning_window, self._dtype, n_answers)
        self._names = (*self.keys.connections, *self.keys.learned)
        self._optimize = optimizer_step(self.resolved)
        self._simulate = jax.jit(self._unrolled.simulate)
        self._differentiate = jax.jit(self._gradient_of)
        self._update = jax.jit(self._updated)
        self._gradient: dict[str, Matrix] | None = None
        self._last: np.ndarray | None = None

    def run(
        self,
        trials: Trials,
        batch_size: int,
        *,
        learning: bool = True,
        check_states: bool = False,
    ) -> Outcome:
        """See `Session.run`."""
        check_batches(trials, batch_size)
        self.check_trials(trials)
        results = []
        counted = trials.counted(self.learning_window)
        with jax.enable_x64(True):
            weights = {name: self._array(self.weights[name]) for name in self._names}
            states = {name: self._array(v) for name, v in self.optimizer_states.items()}
            gradient = None
            at_once = batch_size if learning else trials.n_trials
            for number, first in enumerate(range(0, trials.n_trials, at_once), start=1):
                batch = _arrays(trials, slice(first, first + at_once))
                if learning:
                    k = float(self.n_updates + number)
                    weights, states, gradient, result = self._update(weights, states, k, *batch)
                else:
                    result = self._simulate(weights, *batch)
                results.append(result)
            results = [jax.tree.map(np.asarray, result) for result in results]
            self._last = results[-1].last
            if learning:
                self._keep(weights, states, gradient)
                self.n_updates += len(results)
        outcome = self._outcome(results, counted)
        if not check_states:
            return outcome
        return replace(outcome, is_number=np.concatenate([result.is_number for result in results]))

    def gradient_of(self, trials: Trials) -> dict[str, Matrix]:
        """The gradient of some trials, mean over them, without an update.

        Parameters
        ----------
        trials : Trials

        Returns
        -------
        dict of str to array or scipy.sparse.csc_array
            As `gradient` returns it.
        """
        self.check_trials(trials)
        with jax.enable_x64(True):
            weights = {name: self._array(self.weights[name]) for name in self._names}
            gradient, _ = self._differentiate(weights, *_arrays(trials, slice(None)))
            return {name: self._stored(name, g) for name, g in gradient.items()}

    def gradient(self) -> dict[str, Matrix]:
        """Gradient of the last update, mean over its batch, keyed and shaped as the weights.

        Raises
        ------
        ValueError
            Before the first update.
        """
        if self._gradient is None:
            raise ValueError("there has been no update yet whose gradient could be read")
        return {name: copied(g) for name, g in self._gradient.items()}

    def spikes(self) -> np.ndarray:
        """Recurrent spikes of the last trial that was run, shape (n_steps, n_recurrent).

        Raises
        ------
        ValueError
            Before the first run.
        """
        if self._last is None:
            raise ValueError("no trial has been run yet whose spikes could be read")
        return self._last.copy()

    def close(self) -> None:
        """Do nothing: everything ran in this process."""

    def _gradient_of(self, weights, *batch):
        """Scaled gradient of a batch, 0 where there is no synapse, and its simulation."""
        network, objective = self.resolved, self._unrolled.objective
        derivative, simulation = jax.grad(objective, has_aux=True)(weights, *batch)
        scale, trained = self.gradient_scale, self.keys.trained
        gradient = {name: scale * self._masked(name, derivative[name]) for name in trained}
        matrices = [c.name for c in self.keys.plastic]
        for name in matrices:
            if network.c_l2:
                gradient[name] += network.c_l2 * self._masked(name, weights[name])
            if network.clip_value is not None:
                limit = network.clip_value
                gradient[name] = jnp.clip(gradient[name], -limit, limit)
        if network.clip_norm is not None:
            # Scaled by the largest, since the square of an exploding gradient overflows.
            largest = jnp.max(jnp.stack([jnp.max(jnp.abs(gradient[name])) for name in matrices]))
            unit = jnp.where(largest > 0, largest, 1)
            square = sum(jnp.sum((gradient[name] / unit) ** 2) for name in matrices)
            norm = unit * jnp.sqrt(square)
            factor = jnp.where(norm > network.clip_norm, network.clip_norm / norm, 1.0)
            gradient |= {name: factor * gradient[name] for name in matrices}
        return gradient, simulation

    def _updated(self, weights, states, k, *batch):
        """An update of all weights that learn, from a batch."""
        gradient, simulation = self._gradient_of(weights, *batch)
        changing = {name: weights[name] for name in gradient}
        changed, states = self._optimize(changing, gradient, states, k)
        weights = weights | {name: self._masked(name, w) for name, w in changed.items()}
        owners = self.keys.optimizer
        states = {key: self._masked(owners[key].owner, s) for key, s in states.items()}
        return weights, states, gradient, simulation

    def _masked(self, name: str, values: jax.Array) -> jax.Array:
        mask = self._unrolled.masks.get(name)
        return values if mask is None else jnp.where(mask, values, 0)

    def _keep(self, weights, states, gradient) -> None:
        self.weights.update({name: self._stored(name, w) for name, w in weights.items()})
        self._follow()
        owners = self.keys.optimizer
        self.optimizer_states = {
            key: self._stored(owners[key].owner, s) for key, s in states.items()
        }
        self._gradient = {name: self._stored(name, g) for name, g in gradient.items()}

    def _array(self, matrix: Matrix) -> jax.Array:
        return jnp.asarray(matrix.toarray() if is_sparse(matrix) else matrix, self._dtype)

    def _stored(self, name: str, values: jax.Array) -> Matrix:
        """A dense result as the network stores it."""
        array = np.array(values, dtype=float)
        connected = self.resolved.adjacency.get(name)
        return array if connected is None else taken(array, connected)

    def _outcome(self, results: list[Simulation], counted: np.ndarray) -> Outcome:
        losses, outputs, counts = (
            np.concatenate([getattr(result, name) for result in results]).astype(float)
            for name in ("losses", "outputs", "counts")
        )
        return self._reported(losses, outputs, counts.sum(axis=1), counted)


def _arrays(trials: Trials, which: slice) -> tuple[np.ndarray, ...]:
    """Inputs, targets and periods, repeated for every trial so that shapes are always the same.

    Without periods, their array has no steps.
    """
    pattern, target = trials.pattern[which], trials.target[which]
    periods = np.zeros((len(target), 0), np.int32)
    if trials.periods is not None:
        periods = trials.periods[target]
    return trials.inputs[pattern], trials.targets[target], periods
