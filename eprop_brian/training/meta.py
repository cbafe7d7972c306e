"""Learning to learn: the weights that emit learning signals, and those that learn by them.

Of every task of a family (`eprop_brian.tasks.families`) a network sees the support, after which
its weights change once by the learning signals that its own populations emit (e-prop 2: Bellec et
al. 2019, arXiv 1901.09049; Scherr et al. 2020; Ortner et al. 2025, arXiv 2405.05141). All weights,
those before the update and those of who emits, are trained so that the queries are answered well
*after* the update. The gradient of that is backpropagation through time, through the queries, the
update and the support, as in the papers; it is a second derivative, and runs in JAX. What has been
trained needs none of it: the update itself is local (`eprop_brian.training.adaptation`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from eprop_brian.base.checks import check_count, check_positive, check_real
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.progress import progress_bar
from eprop_brian.base.sparse import Matrix, copied, is_sparse, taken
from eprop_brian.base.suggestions import unknown
from eprop_brian.devices.choices import DTYPES
from eprop_brian.equations.optimizers import ADAM, Optimizer
from eprop_brian.network.one_update import without_emitting
from eprop_brian.network.optimization import check_optimizer
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.families import TaskBatch, TaskFamily
from eprop_brian.training.diagnosis import TrainingError
from eprop_brian.training.inner_update import InnerUpdate
from eprop_brian.training.jax_functions import Values
from eprop_brian.training.jax_gradients import clipped
from eprop_brian.training.jax_optimizer import UpdateRule
from eprop_brian.training.meta_history import MetaHistory
from eprop_brian.training.requirements import check_family, check_family_size
from eprop_brian.training.unrolled import Unrolled

__all__ = ["MetaObjective", "MetaRules", "MetaTrainer", "Outcome"]


@dataclass(frozen=True)
class MetaRules:
    """How the weights are trained that a task begins with, and those that emit.

    Parameters
    ----------
    optimizer : Optimizer
    clip_norm : float, optional
        Largest norm of the gradient of all weights together.
    rate_cost : float
        Factor of the rate regulariser, ``rate_cost/2 sum_j (f_j - f*)^2`` with mean rates of the
        support in spikes a step.
    f_target, f_emitting : float
        Its rates f* in Hz, of the neurons that reach a readout, and of those that do nothing but
        emit.
    fixed : tuple of str
        Weights, by their names, that stay as they are drawn.

    Raises
    ------
    ValueError, EquationError
        If a number is out of range, or the optimizer cannot work.
    """

    optimizer: Optimizer = ADAM
    clip_norm: float | None = 1.0
    rate_cost: float = 0.5
    f_target: float = 20.0
    f_emitting: float = 10.0
    fixed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_optimizer(self.optimizer)
        if self.clip_norm is not None:
            check_real("clip_norm", self.clip_norm)
            if not self.clip_norm > 0:
                raise ValueError(f"clip_norm must be positive, or None, not {self.clip_norm!r}")
        for name in ("rate_cost", "f_target", "f_emitting"):
            check_real(name, getattr(self, name), minimum=0)
        if isinstance(self.fixed, str):
            raise ValueError(f"fixed must be several names, such as ({self.fixed!r},)")


class Outcome(NamedTuple):
    """What an iteration reports beside its objective.

    Attributes
    ----------
    loss : array, shape (n_tasks,)
    outputs : array, shape (n_tasks, n_query, n_steps, n_outputs)
    rates : array, shape (n_recurrent,)
        Spikes a step.
    """

    loss: jax.Array
    outputs: jax.Array
    rates: jax.Array


class MetaObjective:
    """The function to differentiate: the loss of queries after the update, and a regulariser.

    Parameters
    ----------
    network : Resolved
    family : TaskFamily
    rules : MetaRules
    dtype : type

    Raises
    ------
    ValueError
        If the update would be more than one by emitted learning signals.
    """

    def __init__(
        self, network: Resolved, family: TaskFamily, rules: MetaRules, dtype: type
    ) -> None:
        self.inner = InnerUpdate(network, dtype)
        self._family, self._rules, self._dtype = family, rules, dtype
        tested = without_emitting(network)
        self._tested = Unrolled(tested, family.learning_window, dtype, twice=True)
        useful = {population.name for population in tested.populations}
        hz = float(network.dt)
        rates = [
            np.full(p.size, (rules.f_target if p.name in useful else rules.f_emitting) * hz)
            for p in network.populations
        ]
        self._rates = np.concatenate(rates).astype(dtype)
        # The loss counts step by step: its mean over them, summed over outputs.
        self._windows = np.repeat(
            [readout.window(family.learning_window) for readout in network.readouts],
            [readout.size for readout in network.readouts],
        )

    def __call__(
        self, weights: Values, support: jax.Array, query: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, Outcome]:
        """Objective and outcome of tasks.

        Parameters
        ----------
        weights : mapping
            Dense matrices [post, pre], of learning signals too.
        support, query : array, shape (n_tasks, n_trials, n_steps, n_inputs)
        targets : array, shape (n_tasks, n_query, n_steps or 1, n_outputs)
        """

        def task(support: jax.Array, query: jax.Array, targets: jax.Array) -> Any:
            adapted, z = self.inner(weights, support)
            loss, outputs = self.answers(adapted, query, targets)
            return loss, outputs, z.mean(axis=(0, 1))

        loss, outputs, rates = jax.vmap(task)(support, query, targets)
        excess = rates.mean(axis=0) - self._rates
        total = loss.mean() + self._rules.rate_cost / 2 * jnp.sum(excess**2)
        return total, Outcome(loss, outputs, rates.mean(axis=0))

    def answers(
        self, weights: Values, query: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Mean loss of queries of one task, and their outputs (n_query, n_steps, n_outputs)."""
        result = self._tested.trajectory(weights, query)
        periods = jnp.zeros((len(query), 0), np.int32)
        simulated = self._tested.judged(result, targets, periods)
        loss = (simulated.losses / self._windows).sum(axis=1)
        outputs = jnp.swapaxes(jnp.concatenate(result.outputs, axis=2), 0, 1)
        followed = jnp.broadcast_to(targets, outputs.shape).astype(outputs.dtype)
        cost = self._family.outcome_cost(outputs, followed, jnp)
        return (loss + cost).mean(), outputs

    def arrays(self, batch: TaskBatch) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Inputs and targets of tasks, as a call takes them."""

        def by_task(rows: np.ndarray) -> jax.Array:
            return jnp.asarray(rows.reshape(batch.n_tasks, -1, *rows.shape[1:]), self._dtype)

        support, query = batch.support, batch.query
        return (
            by_task(support.inputs[support.pattern]),
            by_task(query.inputs[query.pattern]),
            by_task(query.targets[query.target]),
        )


class MetaTrainer:
    """Trains a network on a family of tasks, each from the same weights by one update.

    Parameters
    ----------
    network : Network or Resolved
        Its populations that learn hear what others emit; its optimizer makes the update.
    family : TaskFamily
    rules : MetaRules
    batch_size : int
        Tasks of an iteration.
    seed : int
        Of initial weights and tasks.
    dtype : {"float32", "float64"}
    state : mapping, optional
        Of `state`, to go on from.

    Attributes
    ----------
    weights : dict of str to array
        As `Network.initial_weights`.
    history : MetaHistory
    iteration : int

    Raises
    ------
    ValueError
        If the network does not fit the family, its update is more than one by emitted learning
        signals, a name of ``rules.fixed`` is none of its weights, or a state is of another network.
    """

    def __init__(
        self,
        network: Network | Resolved,
        family: TaskFamily,
        rules: MetaRules | None = None,
        *,
        batch_size: int = 16,
        seed: int = 1,
        dtype: str = "float32",
        state: Mapping[str, Any] | None = None,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(unknown("dtype", dtype, DTYPES))
        check_positive("batch_size", batch_size)
        check_count("seed", seed, minimum=0)
        self.resolved, self.family = as_resolved(network), family
        check_family(self.resolved, family)
        self.rules, self.batch_size, self.seed = rules or MetaRules(), int(batch_size), int(seed)
        self.history, self.iteration = MetaHistory(), 0
        self._dtype = np.dtype(dtype).type
        self._rule = UpdateRule(self.rules.optimizer, self._dtype)
        check_family_size(self.resolved, family, self.batch_size, self._dtype)
        self._objective = MetaObjective(self.resolved, family, self.rules, self._dtype)
        self.weights = self.resolved.initial_weights(seed)
        for name in self.rules.fixed:
            if name not in self.weights:
                raise ValueError(unknown("name of weights that stay fixed", name, self.weights))
        self._names = tuple(name for name in self.weights if name not in self.rules.fixed)
        self._states = {
            f"{state}.{name}": np.zeros(np.shape(self.weights[name]))
            for state in self._rule.states
            for name in self._names
        }
        if state is not None:
            self._restore(state)
        self._step = jax.jit(self._stepped)

    def train(
        self,
        iterations: int,
        *,
        progress: bool = False,
        after_iteration: Callable[[MetaTrainer], None] | None = None,
    ) -> MetaHistory:
        """Train to so many iterations in all.

        Raises
        ------
        TrainingError
            If the objective or a weight is not finite; weights are those before the iteration.
        """
        with progress_bar(iterations, self.iteration, "iteration", shown=progress) as bar:
            while self.iteration < iterations:
                self._iterate()
                bar.set_postfix_str(f"loss {self.history.loss[-1]:.4g}", refresh=False)
                bar.update()
                if after_iteration is not None:
                    after_iteration(self)
        return self.history

    def _iterate(self) -> None:
        start = time.perf_counter()
        batch = self.family.draw(self.seed, "train", self.iteration, self.batch_size)
        with jax.enable_x64(self._dtype == np.float64):
            arrays = self._objective.arrays(batch)
            weights = {name: self._array(w) for name, w in self.weights.items()}
            states = {key: self._array(s) for key, s in self._states.items()}
            result = self._step(weights, states, float(self.iteration + 1), *arrays)
            weights, states, outcome, norm = jax.tree.map(np.asarray, result)
        if not all(np.isfinite(w).all() for w in (*weights.values(), outcome.loss)):
            raise TrainingError(
                f"iteration {self.iteration + 1}: weights or loss are not finite; lower meta.eta "
                "or the learning rate of the update, optimizer.eta"
            )
        outputs = outcome.outputs.reshape(-1, *outcome.outputs.shape[2:]).astype(float)
        row = {
            "loss": float(outcome.loss.mean()),
            "error": float(self.family.errors(outputs, batch.query).mean()),
            "gradient": float(norm),
            "rate_hz": float(outcome.rates.mean() / float(self.resolved.dt)),
            "seconds": time.perf_counter() - start,
        }
        with uninterrupted():
            for name in self._names:
                self.weights[name] = self._stored(name, weights[name])
            self._states = {key: s.astype(float) for key, s in states.items()}
            self.history.append(**row)
            self.iteration += 1

    def _stepped(self, weights: Values, states: Values, k: Any, *arrays: jax.Array) -> Any:
        """Weights and states after an update, what the tasks gave, and the gradient's norm."""
        fixed = {name: weights[name] for name in self.rules.fixed}

        def objective(changing: Values) -> tuple[jax.Array, Outcome]:
            return self._objective({**fixed, **changing}, *arrays)

        changing = {name: weights[name] for name in self._names}
        gradient, outcome = jax.grad(objective, has_aux=True)(changing)
        norm = jnp.sqrt(sum(jnp.sum(g**2) for g in gradient.values()))
        if self.rules.clip_norm is not None:
            gradient = clipped(gradient, gradient, self.rules.clip_norm)
        new_weights: dict[str, jax.Array] = dict(weights)
        new_states: dict[str, jax.Array] = {}
        for name, g in gradient.items():
            own = {state: states[f"{state}.{name}"] for state in self._rule.states}
            new_weights[name], own = self._rule(weights[name], g, own, k)
            new_states |= {f"{state}.{name}": s for state, s in own.items()}
        return new_weights, new_states, outcome, norm

    def state(self) -> dict[str, Matrix]:
        """Give what training goes on from: weights, the optimizer's states, ``n_updates``."""
        weights = {name: copied(w) for name, w in self.weights.items()}
        return {**weights, **self._states, "n_updates": np.array(self.iteration)}

    def take_back(self) -> None:
        """Do nothing: an iteration that has not ended has changed nothing here."""

    def close(self) -> None:
        """Do nothing: everything ran in this process."""

    def _restore(self, state: Mapping[str, Any]) -> None:
        for group in (self.weights, self._states):
            for name, before in group.items():
                if name not in state or np.shape(state[name]) != np.shape(before):
                    raise ValueError(
                        f"the state lacks '{name}' of shape {np.shape(before)} that the network has"
                    )
                group[name] = copied(state[name])
        self.iteration = int(state["n_updates"])

    def _array(self, matrix: Matrix) -> jax.Array:
        return jnp.asarray(matrix.toarray() if is_sparse(matrix) else matrix, self._dtype)

    def _stored(self, name: str, values: np.ndarray) -> Matrix:
        connected = self.resolved.adjacency.get(name)
        array = values.astype(float)
        return array if connected is None else taken(array, connected)
