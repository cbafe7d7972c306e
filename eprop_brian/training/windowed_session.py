"""A session that learns by e-prop 3: gradients within windows, and a synthesiser across them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from eprop_brian.base.checks import check_choice, check_count
from eprop_brian.base.random import integers, rng_for
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.jax_functions import Values
from eprop_brian.training.jax_session import SYNTHESISERS
from eprop_brian.training.synthesiser import Synthesiser
from eprop_brian.training.unrolled import counted_steps
from eprop_brian.training.windows import (
    Batch,
    Boundary,
    Differentiable,
    boundary_states,
    local_gradient,
    no_links,
    true_boundary,
    windowed_gradient,
)

__all__ = ["Learned", "Trainable", "WindowedOutcome", "WindowedSession"]

#: How names of a synthesiser's arrays begin in a saved state.
_SYNTHESISER = "synthesiser."
#: Trials are simulated for a multiple of so many steps, so that few lengths are compiled.
_STEPS = 8


class Trainable(Differentiable, Protocol):
    """A recurrent network in JAX, with its weights and its optimizer.

    Attributes
    ----------
    dtype : type
        Float type of all state.
    averages : bool
        Whether a gradient is divided by the steps that count.
    """

    @property
    def dtype(self) -> type: ...
    @property
    def averages(self) -> bool: ...

    def initial_weights(self, seed: int) -> dict[str, np.ndarray]:
        """Draw weights."""
        ...

    def optimizer_states(self) -> dict[str, np.ndarray]:
        """Give the optimizer's states before the first update."""
        ...

    def exogenous(self, trials: Trials, n_steps: int) -> Any:
        """Give what acts on the network in trials beside their inputs."""
        ...

    def updated(
        self, weights: Values, derivative: Values, states: Values, k: Any, scale: Any
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """Give weights and the optimizer's states after the k-th update."""
        ...

    def reported(self, result: Any, steps: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Give the losses of trials, (n_trials, n_outputs), and the mean firing rate in Hz.

        `steps` are those of each trial, without the steps that follow it.
        """
        ...


class Learned(NamedTuple):
    """Everything that learning changes, as arrays that no one writes to.

    Attributes
    ----------
    weights, optimizer_states : dict of str to array
    synthesiser : dict of str to array
        Its weights and sums; empty without one.
    n_updates : int
    """

    weights: Values
    optimizer_states: Values
    synthesiser: Values
    n_updates: int


class WindowedOutcome(NamedTuple):
    """Results of a batch of trials.

    Attributes
    ----------
    loss : float
        Mean over trials, outputs and steps that count, in nats.
    rate_hz : float
        Mean firing rate; NaN of units that do not spike.
    unexplained : float
        The synthesiser's mean squared error over the mean square of what it learns; NaN without.
    """

    loss: float
    rate_hz: float
    unexplained: float


class WindowedSession:
    """A recurrent network that learns by gradients within windows.

    Parameters
    ----------
    network : Trainable
    window : int
        Steps of a window, D; 0: the whole trial.
    synthesiser : {"off", "linear", "hidden", "oracle"}
        What says the derivative of later losses at a window's end: nothing; a linear map,
        perhaps with a hidden layer, which learns it; backpropagation through the whole trial, which
        makes the gradient exact.
    n_hidden : int
        Units of the hidden layer.
    memory : int
        Updates that the synthesiser remembers.
    shifted : bool
        Whether the first window of an update has a random number of steps, 1 to D; else D.
    seed : int
        Of the weights, and of these numbers.

    Attributes
    ----------
    learned : Learned
        To which one that was kept can be assigned.
    """

    def __init__(
        self,
        network: Trainable,
        window: int,
        synthesiser: str = "off",
        *,
        n_hidden: int = 100,
        memory: int = 30,
        shifted: bool = False,
        seed: int = 0,
    ) -> None:
        check_count("window", window, minimum=0)
        check_choice("synthesiser", synthesiser, SYNTHESISERS)
        self.network, self.window, self.kind = network, int(window), synthesiser
        # Windows of a step and one window of all steps stay the same.
        self._shifted, self._seed = shifted and window > 1, seed
        sizes = network.n_states, network.n_outputs
        n_seen = sum(sizes) + network.n_recurrent
        hidden = n_hidden if synthesiser == "hidden" else 0
        learns = synthesiser in ("linear", "hidden")
        self._synthesiser = Synthesiser(n_seen, *sizes, hidden, memory) if learns else None
        parts = (
            network.initial_weights(seed),
            network.optimizer_states(),
            self._synthesiser.initial(seed) if self._synthesiser else {},
        )
        weights, states, said = (self.in_dtype(part) for part in parts)
        self.learned = Learned(weights, states, said, 0)
        self._update = jax.jit(self._updated)
        self._simulate = jax.jit(self._simulated)

    def run(
        self, trials: Trials, learning_window: int, *, learning: bool = True
    ) -> WindowedOutcome:
        """Run a batch of trials and, if learning, an update from all of them.

        Parameters
        ----------
        trials : Trials
        learning_window : int
            Steps at the end of the trials in which the error counts.
        learning : bool
        """
        if learning:
            self.learned, outcome = self.after(trials, learning_window)
            return outcome
        batch = self._arrays(trials, learning_window, self._padded_steps(trials))
        with jax.enable_x64(True):
            losses, rate = self._simulate(self.learned.weights, batch)
            return _outcome(losses, rate, np.nan, learning_window)

    def after(self, trials: Trials, learning_window: int) -> tuple[Learned, WindowedOutcome]:
        """What is learned after an update from a batch of trials, and results of the batch.

        Nothing is changed: who wants it to be learned assigns it to `learned`.

        Parameters
        ----------
        trials, learning_window
            As for `run`.
        """
        batch = self._arrays(trials, learning_window, self._padded_steps(trials))
        weights, states, synthesiser, n_updates = self.learned
        with jax.enable_x64(True):
            k: Any = np.asarray(n_updates + 1, self.network.dtype)
            changed, (losses, rate, unexplained) = self._update(
                weights, states, synthesiser, k, batch, self._first_window(n_updates)
            )
            outcome = _outcome(losses, rate, unexplained, learning_window)
        weights, states, synthesiser = changed
        return Learned(weights, states, synthesiser, n_updates + 1), outcome

    def _padded_steps(self, trials: Trials) -> int:
        # Where windows shift, the last one may end in a step that does not count.
        n_steps = trials.inputs.shape[1] + self._shifted
        return -(-n_steps // _STEPS) * _STEPS

    def state(self) -> dict[str, np.ndarray]:
        """Copies of everything that learning changes."""
        learned = self.learned
        said = {_SYNTHESISER + name: value for name, value in learned.synthesiser.items()}
        every = {**learned.weights, **learned.optimizer_states, **said}
        return {
            **{name: np.array(value, float) for name, value in every.items()},
            "n_updates": np.array(learned.n_updates),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `state` returned.

        Raises
        ------
        ValueError
            If an array is missing or of another shape, or a number is not finite.
        """
        now = self.state()
        for name, value in now.items():
            if name not in state or np.shape(state[name]) != value.shape:
                raise ValueError(f"the saved state has no '{name}' of shape {value.shape}")
            if not np.all(np.isfinite(np.asarray(state[name], float))):
                raise ValueError(f"the saved state's '{name}' is not finite")
        learned = self.learned
        self.learned = Learned(
            self.in_dtype({name: state[name] for name in learned.weights}),
            self.in_dtype({name: state[name] for name in learned.optimizer_states}),
            self.in_dtype({name: state[_SYNTHESISER + name] for name in learned.synthesiser}),
            int(state["n_updates"]),
        )

    def record(self, trials: Trials) -> tuple[np.ndarray, np.ndarray]:
        """Run trials without learning, and give readouts and spikes of every step.

        Returns
        -------
        outputs : array, shape (n_trials, n_steps, n_outputs)
        spikes : array, shape (n_trials, n_steps, n_recurrent)
            Of an LSTM, what its units send.
        """
        n_steps = trials.inputs.shape[1]
        # A step more, before which the readouts of the last one are found.
        batch = self._arrays(trials, n_steps, n_steps + 1)
        with jax.enable_x64(True):
            links = no_links(self.network, batch[0])
            weights = self.learned.weights
            _, crossing, _ = self.network.linked(weights, links, *batch, local=True)
            outputs = np.asarray(crossing.outputs[1:], float)
            spikes = np.asarray(crossing.spikes[:-1], float)
        return np.swapaxes(outputs, 0, 1), np.swapaxes(spikes, 0, 1)

    def _arrays(self, trials: Trials, learning_window: int, padded: int) -> Batch:
        """What the network takes of trials that are followed by steps that do not count."""
        if trials.lengths is not None:
            raise ValueError(
                "the trials have lengths of their own, and windows divide trials of the same "
                "length: leave lengths away, or take gradient = 'factored' or 'bptt'"
            )
        if trials.periods is not None or trials.advantage is not None:
            what = "periods" if trials.periods is not None else "an advantage"
            raise ValueError(
                f"the trials have {what}, and windows count the last steps of trials alone: leave "
                "it away, or take gradient = 'factored' or 'bptt'"
            )
        n_trials, n_steps = trials.n_trials, trials.inputs.shape[1]
        dtype = self.network.dtype
        counted = np.zeros((n_trials, padded), bool)
        counted[:, n_steps - learning_window : n_steps] = True
        targets = trials.targets[trials.target]
        targets = np.broadcast_to(targets, (n_trials, n_steps, targets.shape[2]))
        return (
            _padded(trials.inputs[trials.pattern], padded).astype(dtype),
            _padded(targets, padded).astype(dtype),
            counted,
            self.network.exogenous(trials, padded),
        )

    def in_dtype(self, arrays: Mapping[str, Any]) -> dict[str, jax.Array]:
        """Arrays of the network's float type."""
        with jax.enable_x64(True):
            return {name: jnp.asarray(value, self.network.dtype) for name, value in arrays.items()}

    def _first_window(self, n_updates: int) -> int:
        """Steps of the first window of an update."""
        if not self._shifted:
            return self.window
        rng = rng_for(self._seed, "windows", n_updates)
        return 1 + int(integers(rng, self.window, (1,))[0])

    def _firsts(self, n_steps: int, first_window: Any) -> Any:
        """First steps of all windows but the first; how many there are is always the same."""
        if not self._shifted:
            return np.arange(self.window or n_steps, n_steps, self.window or n_steps)
        firsts = np.arange(0, n_steps, self.window) + first_window
        return jnp.minimum(firsts, n_steps - 1)

    def _simulated(self, weights, batch):
        links = no_links(self.network, batch[0])
        _, _, result = self.network.linked(weights, links, *batch, local=True)
        return self.network.reported(result, counted_steps(batch[2]))

    def _updated(self, weights, states, synthesiser, k, batch, first_window):
        """An update, and what the batch showed."""
        network, n_steps = self.network, batch[0].shape[1]
        firsts = self._firsts(n_steps, first_window)
        unexplained = jnp.asarray(jnp.nan)
        if self.window == 1 and self.kind == "off":
            # What the windows add is 0.
            derivative, _, result = local_gradient(network, weights, batch)
        elif self._synthesiser is None:
            true = None
            if self.kind == "oracle":
                true = true_boundary(network, weights, batch, firsts)
            gradient = windowed_gradient(network, weights, batch, firsts, true and (lambda _: true))
            _, derivative, _, result = gradient
        else:
            derivative, result, synthesiser, unexplained = self._synthesised(
                weights, synthesiser, batch, firsts
            )
        counted = batch[2].sum().astype(network.dtype)
        scale = batch[0].shape[0] / counted if network.averages else 1.0
        weights, states = network.updated(weights, derivative, states, k, scale)
        losses, rate = network.reported(result, counted_steps(batch[2]))
        # What is kept has one type, so that the next update is the same program.
        kept = [self.in_dtype(part) for part in (weights, states, synthesiser)]
        return kept, (losses, rate, unexplained)

    def _synthesised(self, weights, state, batch, firsts):
        """The gradient with the synthesiser in a state, and what it has learned."""
        network, own = self.network, self._synthesiser
        assert own is not None
        # Later losses are 0 after the last step that counts.
        steps = counted_steps(batch[2])
        counts = (jnp.asarray(firsts)[:, np.newaxis] < steps).astype(network.dtype)
        weight = counts[..., np.newaxis]

        def synthesise(crossing):
            said = own.say(state, boundary_states(crossing, firsts))
            return Boundary(weight * said.states, weight * said.outputs)

        found, derivative, crossing, result = windowed_gradient(
            network, weights, batch, firsts, synthesise
        )
        unexplained = jnp.asarray(jnp.nan)
        if len(firsts):
            seen = boundary_states(crossing, firsts)
            state, unexplained = own.learned(state, seen, found, counts)
        return derivative, result, state, unexplained


def _outcome(losses: Any, rate: Any, unexplained: Any, learning_window: int) -> WindowedOutcome:
    """Results in Python's numbers."""
    loss = float(np.mean(np.asarray(losses, float))) / learning_window
    return WindowedOutcome(loss, float(rate), float(unexplained))


def _padded(values: np.ndarray, n_steps: int) -> np.ndarray:
    """Values of trials, followed by steps of zeros."""
    return np.pad(values, ((0, 0), (0, n_steps - values.shape[1]), (0, 0)))
