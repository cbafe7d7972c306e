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
from eprop_brian.devices.choices import DTYPES
from eprop_brian.network.checks import check_precision
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.jax_gradients import completed_gradient, masked
from eprop_brian.training.jax_optimizer import optimizer_step
from eprop_brian.training.state import LearningSession, Outcome, check_batches, require_trials
from eprop_brian.training.unrolled import Simulation, Unrolled

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
        self._dtype = np.dtype(dtype).type
        check_precision(self.resolved, self.n_steps, self._dtype)
        n_answers = self.capacity.n_answers
        self._unrolled = Unrolled(self.resolved, learning_window, self._dtype, n_answers)
        self._names = (*self.keys.connections, *self.keys.learned)
        self._optimize = optimizer_step(self.resolved, self._dtype)
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
        greedy: bool = False,
        lengths: np.ndarray | None = None,
    ) -> Outcome:
        """See `Session.run`.

        `lengths`, int of shape (n_trials,), is after how many steps each trial is over, if what
        follows is nothing but silence: spikes there do not count for a rate regulariser.
        """
        check_batches(trials, batch_size)
        self.check_trials(trials)
        if lengths is None:
            lengths = trials.steps if self.capacity.has_lengths else None
        results = []
        counted = trials.counted(self.learning_window, self.resolved.frame_steps)
        with jax.enable_x64(True):
            weights = {name: self._array(self.weights[name]) for name in self._names}
            states = {name: self._array(v) for name, v in self.optimizer_states.items()}
            gradient = None
            at_once = batch_size if learning else trials.n_trials
            for number, first in enumerate(range(0, trials.n_trials, at_once), start=1):
                batch = self._arrays(trials, slice(first, first + at_once), lengths)
                if learning:
                    k = float(self.n_updates + number)
                    weights, states, gradient, result = self._update(weights, states, k, *batch)
                else:
                    result = self._simulate(weights, *batch)
                results.append(result)
            results = [jax.tree.map(np.asarray, result) for result in results]
            self._last = results[-1].last
            if self.capacity.has_lengths:
                self._last = self._last[: trials.steps[-1]]
            if learning:
                self._keep(weights, states, gradient)
                self.n_updates += len(results)
        own = trials.steps if self.capacity.has_lengths else None
        outcome = self._outcome(results, counted, own)
        if not check_states:
            return outcome
        return replace(outcome, is_number=np.concatenate([result.is_number for result in results]))

    def gradient_of(self, trials: Trials, lengths: np.ndarray | None = None) -> dict[str, Matrix]:
        """The gradient of some trials, mean over them, without an update.

        Parameters
        ----------
        trials : Trials
        lengths : array of int, shape (n_trials,), optional
            As for `run`.

        Returns
        -------
        dict of str to array or scipy.sparse.csc_array
            As `gradient` returns it.
        """
        self.check_trials(trials)
        if lengths is None and self.capacity.has_lengths:
            lengths = trials.steps
        with jax.enable_x64(True):
            weights = {name: self._array(self.weights[name]) for name in self._names}
            gradient, _ = self._differentiate(weights, *self._arrays(trials, slice(None), lengths))
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
        objective = self._unrolled.objective
        derivative, simulation = jax.grad(objective, has_aux=True)(weights, *batch)
        masks, scale = self._unrolled.masks, self.gradient_scale
        return completed_gradient(self.resolved, masks, weights, derivative, scale), simulation

    def _updated(self, weights, states, k, *batch):
        """An update of all weights that learn, from a batch."""
        gradient, simulation = self._gradient_of(weights, *batch)
        changing = {name: weights[name] for name in gradient}
        changed, states = self._optimize(changing, gradient, states, k)
        masks, owners = self._unrolled.masks, self.keys.optimizer
        weights = weights | {name: masked(masks, name, w) for name, w in changed.items()}
        states = {key: masked(masks, owners[key].owner, s) for key, s in states.items()}
        return weights, states, gradient, simulation

    def _keep(self, weights, states, gradient) -> None:
        self.weights = {name: self._stored(name, w) for name, w in weights.items()}
        self._follow()
        owners = self.keys.optimizer
        self.optimizer_states.update(
            {key: self._stored(owners[key].owner, s) for key, s in states.items()}
        )
        self._gradient = {name: self._stored(name, g) for name, g in gradient.items()}

    def _arrays(
        self, trials: Trials, which: slice, lengths: np.ndarray | None = None
    ) -> tuple[Any, ...]:
        """What the simulation takes of some trials, repeated so that shapes are always the same.

        Without periods, their array has no steps.
        """
        pattern, target = trials.pattern[which], trials.target[which]
        periods = np.zeros((len(target), 0), np.int32)
        if trials.periods is not None:
            periods = trials.periods[target]
        exogenous = self._unrolled.exogenous(trials.noise_keys[which], self.n_steps)
        advantage = None if trials.advantage is None else trials.advantage[target]
        data = trials.inputs[pattern], trials.targets[target], periods, exogenous, advantage
        labels = None if trials.labels is None else trials.labels[target]
        return *data, None if lengths is None else lengths[which], labels

    def _array(self, matrix: Matrix) -> jax.Array:
        return jnp.asarray(matrix.toarray() if is_sparse(matrix) else matrix, self._dtype)

    def _stored(self, name: str, values: jax.Array) -> Matrix:
        """A dense result as the network stores it."""
        array = np.array(values, dtype=float)
        connected = self.resolved.adjacency.get(name)
        return array if connected is None else taken(array, connected)

    def _outcome(
        self, results: list[Simulation], counted: np.ndarray, lengths: np.ndarray | None
    ) -> Outcome:
        losses, outputs, counts = (
            np.concatenate([getattr(result, name) for result in results]).astype(float)
            for name in ("losses", "outputs", "counts")
        )
        ends = np.cumsum([population.size for population in self.resolved.populations])
        parts = np.split(counts, ends[:-1], axis=1)
        spikes = np.stack([part.sum(axis=1) for part in parts], axis=1)
        return self._reported(losses, outputs, spikes, counted, lengths=lengths)
