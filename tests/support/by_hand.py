"""A recurrent network of LIF and ALIF neurons by hand, for automatic differentiation.

Written in JAX from the papers' equations (Bellec et al. 2020, Nat. Commun. 11:3625, eqs. 4-11) with
all that a network can have besides: synaptic delays, sparse matrices, delayed readouts, learning
signals through weights and delays of their own, a moving regulariser. It shares nothing with the
package but the values of parameters.

E-prop's gradient is the derivative of

    sum_t sum_j L_j[t] zbar_j[t] + regulariser

by what acts on neuron j, where zbar are the spikes as the readout filters them, the learning signal
L is a given number, and spikes are stopped where other neurons receive them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from brian2 import Hz, ms, second
from scipy.sparse import issparse

from eprop_brian.equations import ALIF, GRADIENT_DESCENT, LEAKY, LIF
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.network.spec import Network
from eprop_brian.network.standard import MATRICES
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.session import Session
from support.arrays import all_dense, deviation
from support.neurons_by_hand import DT, GAMMA, T_REF_STEPS, adaptive_lif, spike
from support.trials import trials_of

#: Largest deviation from automatic differentiation, relative to the largest entry of a matrix.
TOLERANCE = 1e-12
#: Largest deviation of programs and devices from each other, likewise.
PROGRAM_TOLERANCE = 1e-12
#: Fewest spikes of a batch for a comparison to mean something.
MANY_SPIKES = 100

N_INPUTS, N_LIF, N_ALIF = 4, 3, 4
N = N_LIF + N_ALIF
N_TRIALS, N_STEPS, LEARNING_WINDOW = 2, 60, 45
TAU_OUT, ZETA_OUT = 15e-3, 0.4
KAPPA = np.exp(-DT / TAU_OUT)
C_REG, F_TARGET, KAPPA_REG = 40.0, 20.0, 0.9
#: Longest delay that the simulation can have, in steps.
LONGEST = 6
PROGRAMS = ("factored", "online")
#: Where each population stands among the neurons.
POPULATIONS = {"lif": slice(0, N_LIF), "alif": slice(N_LIF, N)}

#: One value per neuron; LIF neurons have no adaptation.
NEURONS = {
    "tau_m": np.array([10, 15, 20, 25, 12, 18, 30]) * 1e-3,
    "tau_a": np.array([1, 1, 1, 100, 70, 50, 30]) * 1e-3,
    "beta": np.array([0, 0, 0, 0.2, 0.3, 0.4, 0.5]),
    "v_th": np.array([0.5, 0.6, 0.7, 0.6, 0.5, 0.55, 0.65]),
}


def _identity(error):
    return error


@dataclass(frozen=True, eq=False)
class Case:
    """A network and its objective.

    Attributes
    ----------
    options : dict
        Of the `Network`, beside those that all have.
    learned : dict of str to Learned
        The neurons' parameters that learn.
    n_outputs : int
    softmax, keep_reset : bool
    transmitted : bool
        Whether spikes are differentiated where other neurons receive them: the total derivative.
    sent : callable
        What a readout sends, of its error; must fit the feedback of `options`.
    n_trials : int
    neurons : dict of str to array, shape (N,)
        Values of the neurons' parameters.
    scored : callable, optional
        The loss of a step of readouts (n_outputs,) and their targets, in place of the usual ones;
        must fit the loss of `options`. The advantage, if there is one, follows the targets.
    periods : array of int, shape (n_trials, N_STEPS), optional
        As of `Trials`; default: the learning window.
    advantage : array, shape (n_trials, N_STEPS), optional
        As of `Trials`.
    analog : bool
        Whether inputs are values, of both signs and some of them 0, rather than spikes.
    class_weights : tuple of float
        What the one-hot targets of a softmax are multiplied by, class by class.
    K : array, shape (N, N), optional
        How the learning signal spreads; must fit the feedback of `options`.

    Cases are compared as objects, which makes results easy to keep.
    """

    options: dict[str, Any] = field(default_factory=dict)
    learned: dict[str, Learned] = field(default_factory=dict)
    n_outputs: int = 2
    softmax: bool = False
    keep_reset: bool = False
    transmitted: bool = False
    sent: Callable = _identity
    n_trials: int = N_TRIALS
    neurons: dict[str, np.ndarray] = field(default_factory=lambda: NEURONS)
    scored: Callable | None = None
    periods: np.ndarray | None = None
    advantage: np.ndarray | None = None
    analog: bool = False
    class_weights: tuple[float, ...] = ()
    K: np.ndarray | None = None

    @property
    def counts(self) -> np.ndarray:
        """Whether a step counts, shape (n_trials, N_STEPS)."""
        if self.periods is not None:
            return self.periods > 0
        return np.tile(np.arange(N_STEPS) >= N_STEPS - LEARNING_WINDOW, (self.n_trials, 1))

    def network(self, program: str) -> Network:
        """The network in the package."""
        detach = {"detach": ()} if self.keep_reset else {}
        neurons = []
        for neuron in (LIF, ALIF):
            here = POPULATIONS[neuron.name]
            values = {
                name: values[here] * (second if name.startswith("tau") else 1)
                for name, values in self.neurons.items()
                if name in neuron.parameters
            }
            changed = neuron.with_parameters(**values, gamma=GAMMA, t_ref=T_REF_STEPS * ms)
            neurons.append((replace(changed, **detach), here.stop - here.start))
        options = {
            "c_reg": C_REG,
            "optimizer": GRADIENT_DESCENT,
            "loss": "softmax_cross_entropy" if self.softmax else "squared_error",
        } | self.options
        return Network.standard(
            N_INPUTS,
            self.n_outputs,
            neurons,
            readout=LEAKY.with_parameters(tau_out=TAU_OUT * second, zeta_out=ZETA_OUT),
            gradient=program,
            f_target=F_TARGET * Hz,
            kappa_reg=KAPPA_REG,
            learned=self.learned,
            dt=DT * second,
            **options,
        )


# --- simulation -----------------------------------------------------------------------------------


def _simulate(learned, fixed, spikes, targets, counts, functions):
    """One trial: what readouts send, spikes, filtered spikes, mean rates, loss and voltage cost.

    The loss is differentiable by ``w_out`` and, with the derivative of the spikes as they leave
    their neurons, by all that acts on these.
    """
    stopped = jax.lax.stop_gradient
    sent, scored = functions
    neuron = adaptive_lif(*(learned[name] for name in ("tau_m", "tau_a", "beta", "v_th")))
    inputs, neurons = jnp.arange(N_INPUTS), jnp.arange(N)

    def step(carry, now):
        h, z_before, x_before, refractory, y, filtered, rate = carry
        x, target, in_window = now
        x_before = jnp.roll(x_before, 1, axis=0).at[0].set(x)
        arriving_x = x_before[fixed["delay_in"], inputs]
        received = fixed["transmitted"] * z_before + (1 - fixed["transmitted"]) * stopped(z_before)
        arriving_z = received[fixed["delay_rec"] - 1, neurons]
        current = jnp.sum(learned["w_in"] * arriving_x, axis=1)
        current += jnp.sum(learned["w_rec"] * fixed["mask"] * arriving_z, axis=1)
        z_last = z_before[0]
        z_reset = fixed["keep_reset"] * z_last + (1 - fixed["keep_reset"]) * stopped(z_last)
        h = neuron.step(h, current, z_reset, z_last)
        refractory = jnp.maximum(refractory - 1, 0)
        active = (refractory == 0).astype(float)
        margin = neuron.margin(h)
        z = spike(margin, stopped(active * neuron.surrogate(h)), active)
        refractory = jnp.where(z > 0, T_REF_STEPS, refractory)
        seen = fixed["lag"] * z_last + (1 - fixed["lag"]) * z
        y = KAPPA * y + ZETA_OUT * learned["w_out"] @ seen
        if scored is not None:
            loss, error = in_window * scored(y, target), jax.grad(scored)(y, target)
        else:
            squared, entropy = jnp.sum((y - target) ** 2) / 2, -target @ jax.nn.log_softmax(y)
            loss = in_window * jnp.where(fixed["softmax"], entropy, squared)
            error = jnp.where(fixed["softmax"], jax.nn.softmax(y), y) - target
        cost = jnp.sum(jnp.maximum(margin, 0.0) ** 2) / 2
        filtered = KAPPA * filtered + ZETA_OUT * z
        rate = KAPPA_REG * rate + (1 - KAPPA_REG) * z
        z_before = jnp.roll(z_before, 1, axis=0).at[0].set(z)
        signal = in_window * stopped(sent(error))
        carry = (h, z_before, x_before, refractory, y, filtered, rate)
        return carry, (signal, z, filtered, rate, loss, cost)

    silent = jnp.zeros(N)
    start = (
        *((silent, silent), jnp.zeros((LONGEST, N)), jnp.zeros((LONGEST, N_INPUTS)), silent),
        *(jnp.zeros(learned["w_out"].shape[0]), silent, silent),
    )
    _, history = jax.lax.scan(step, start, (spikes, targets, counts))
    return history


def _learning_signal(signal, fixed):
    """L_j[t] = sum_i K_ji L_i[t - 1] + sum_k B_jk signal_k[t - (d_jk - 1)].

    A delayed readout answers a step later.
    """
    steps = jnp.arange(N_STEPS)
    source = steps[:, None, None] - (fixed["delay_B"] - 1)
    # Nothing arrives from before the trial, and nothing after its end.
    arriving = signal[jnp.clip(source, 0, N_STEPS - 1), jnp.arange(signal.shape[1])]
    arriving = jnp.sum(fixed["B"] * (source >= 0) * arriving, axis=2)

    def spread(L, more):
        L = fixed["K"] @ L + more
        return L, L

    _, L = jax.lax.scan(spread, jnp.zeros(N), arriving)
    answered = steps + fixed["lag"]
    return L[jnp.clip(answered, 0, N_STEPS - 1)] * (answered < N_STEPS)[:, None]


def objective(learned, fixed, spikes, targets, functions):
    """The scalar whose derivative is e-prop's gradient, mean over trials, and the spikes."""

    def trial(x, target, counts):
        history = _simulate(learned, fixed, x, target, counts, functions)
        signal, z, filtered, rate, loss, cost = history
        L = jax.lax.stop_gradient(_learning_signal(signal, fixed))
        factor = jax.lax.stop_gradient(rate - F_TARGET * DT)
        moving = fixed["c_moving"] * jnp.sum(factor * rate)
        voltage = fixed["c_v"] * cost.mean()
        return jnp.sum(L * filtered) + moving + voltage, z, loss.sum()

    total, z, loss = jax.vmap(trial)(spikes, targets, fixed["counts"])
    f = z.mean(axis=1)
    each = jnp.sum((f - F_TARGET * DT) ** 2, axis=1).mean()
    batch = jnp.sum((f.mean(axis=0) - F_TARGET * DT) ** 2)
    regulariser = fixed["c_trial"] / 2 * each + fixed["c_batch"] / 2 * batch
    # The readout weights' part is the loss itself, which they reach directly alone.
    readout = {**jax.lax.stop_gradient(learned), "w_out": learned["w_out"]}
    direct = whole_loss(readout, fixed, spikes, targets, functions)
    l2 = fixed["c_l2"] / 2 * sum(jnp.sum(learned[name] ** 2) for name in MATRICES)
    return total.mean() + regulariser + direct + l2, (z, loss)


def whole_loss(learned, fixed, spikes, targets, functions):
    """The loss itself, spikes stopped at other neurons unless they are transmitted."""
    losses = jax.vmap(lambda x, t, c: _simulate(learned, fixed, x, t, c, functions)[4].sum())
    return losses(spikes, targets, fixed["counts"]).mean()


_gradient = jax.jit(jax.grad(objective, has_aux=True), static_argnames="functions")
whole_gradient = jax.jit(jax.grad(whole_loss), static_argnames="functions")


def data(case: Case, network: Network):
    """Weights, inputs and targets."""
    rng = np.random.default_rng(7)
    w_in = rng.normal(0.6, 0.6, (N, N_INPUTS)) * 0.5
    w_rec = rng.normal(0.2, 1.0, (N, N)) * 0.3
    np.fill_diagonal(w_rec, 0.0)
    w_out = rng.normal(size=(case.n_outputs, N)) / np.sqrt(N)
    weights = {"w_in": w_in, "w_rec": w_rec, "w_out": w_out}
    for name, connected in network.adjacency.items():
        weights[name] = weights[name] * connected.toarray()
    initial = network.initial_weights(3)
    weights["B"] = initial["B"]
    if network.resolved.signals[0].symmetric:
        weights["B"] = weights["w_out"].T.copy()
    weights |= {name: value for name, value in initial.items() if "." in name}
    inputs = rng.random((case.n_trials, N_STEPS, N_INPUTS)) < 0.3
    if case.analog:
        # From a generator of their own: the rest is that of the case with spikes.
        values = np.random.default_rng(8)
        often_zero = values.random(inputs.shape) < 0.8
        inputs = values.normal(0.5, 0.5, inputs.shape) * often_zero
    targets = rng.normal(size=(case.n_trials, N_STEPS, case.n_outputs))
    if case.softmax:
        chosen = rng.integers(case.n_outputs, size=(case.n_trials, N_STEPS))
        targets = np.eye(case.n_outputs)[chosen]
        if case.class_weights:
            targets *= case.class_weights
    return weights, inputs, targets


def fixed_numbers(case: Case, network: Network, weights) -> dict[str, Any]:
    """What the simulation reads and does not learn."""
    steps = {
        name: given.toarray() if issparse(given) else np.broadcast_to(given, network.shapes[name])
        for name, given in network.delay_steps.items()
    }
    delay_B = network.resolved.signals[0].delay_steps
    averaging = network.resolved.rate_averaging
    return {
        "B": weights["B"],
        "K": np.zeros((N, N)) if case.K is None else case.K,
        "delay_B": np.ones(network.shapes["B"], int) if delay_B is None else delay_B.astype(int),
        "delay_in": steps["w_in"].astype(int),
        # Without a synapse there is no delay either.
        "delay_rec": np.maximum(1, steps["w_rec"].astype(int)),
        "lag": int(network.delay_steps["w_out"]),
        "mask": 1 - np.eye(N),
        "keep_reset": float(case.keep_reset),
        "transmitted": float(case.transmitted),
        "softmax": case.softmax,
        "counts": case.counts.astype(float),
        "c_v": float(network.c_v),
        "c_l2": float(network.c_l2),
        **{f"c_{x}": float(network.c_reg * (averaging == x)) for x in ("trial", "batch", "moving")},
    }


def reference(case: Case, differentiate: Callable = _gradient, *, neurons=None, weights=None):
    """Gradient, and spikes (n_trials, n_steps, n_neurons).

    The gradient is that of weights, of parameters [neuron], and of parameters as the package calls
    them, population by population.

    Neurons and weights are those of the case if they are not given.
    """
    network = case.network("online")
    initial, spikes, targets = data(case, network)
    weights = initial if weights is None else weights
    learned = {name: weights[name] for name in MATRICES} | (neurons or case.neurons)
    fixed = fixed_numbers(case, network, weights)
    functions = (case.sent, case.scored)
    if case.advantage is not None:
        targets = np.concatenate([targets, case.advantage[..., np.newaxis]], axis=2)
    found = differentiate(learned, fixed, spikes.astype(float), targets, functions=functions)
    gradient, z = (found[0], np.asarray(found[1][0])) if isinstance(found, tuple) else (found, None)
    divisor = LEARNING_WINDOW if network.average_gradient else 1
    gradient = {name: np.array(g) / divisor for name, g in gradient.items()}
    for name, connected in network.adjacency.items():
        gradient[name] = gradient[name] * connected.toarray()
    for neuron in (LIF, ALIF):
        here = POPULATIONS[neuron.name]
        for name in NEURONS.keys() & neuron.parameters.keys():
            gradient[f"{neuron.name}.{name}"] = gradient[name][here]
    return gradient, z


@lru_cache(maxsize=64)
def expected(case: Case):
    """`reference` once per case."""
    gradient, z = reference(case)
    assert z.sum() > MANY_SPIKES
    return gradient, z


# --- the package ----------------------------------------------------------------------------------


def session_of(case: Case, program: str, device: str) -> tuple[Session, Trials]:
    """A session that has not run, and its trials."""
    network = case.network(program)
    weights, spikes, targets = data(case, network)
    trials = trials_of(spikes, targets, case.periods, case.advantage)
    return Session(network, make_program(device), trials, LEARNING_WINDOW, weights), trials


def gradient_of(session: Session) -> dict[str, np.ndarray]:
    """Gradient of the last update, dense; of learned parameters by ``"population.parameter"``."""
    return all_dense(session.gradient())


@lru_cache(maxsize=64)
def run(case: Case, program: str, device: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """One batch in the package: gradient, and the spikes of the last trial."""
    session, trials = session_of(case, program, device)
    session.run(trials, case.n_trials)
    found = gradient_of(session), session.spikes()
    session.close()
    return found


def assert_right(case: Case, program: str, device: str) -> None:
    """The spikes of the simulation by hand, and its gradient."""
    wanted, z = expected(case)
    found, spikes = run(case, program, device)
    np.testing.assert_array_equal(spikes, z[-1])
    assert deviation(found, wanted) <= TOLERANCE
