"""Delays that learn, against automatic differentiation and finite differences of what defines them.

A presynaptic spike of step s acts on neuron j in step ``s + round(d_ji)``. For the derivative by
d_ji its input is ``w_ji g(t - s - d_ji)`` in the steps t around the arrival that are not before the
first step in which it could arrive.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brian2 import Hz, ms, second

from eprop_brian import ALIF, LIF, Network
from eprop_brian.base.sparse import dense
from eprop_brian.equations import GRADIENT_DESCENT, LEAKY
from eprop_brian.network.learned_delays import LearnedDelay
from eprop_brian.network.program import make_program
from eprop_brian.training.session import Session
from support.arrays import deviation
from support.neurons_by_hand import DT, GAMMA, T_REF_STEPS, adaptive_lif, spike
from support.trials import random_trials

N_INPUTS, N_LIF, N_ALIF, N_OUTPUTS = 4, 3, 4, 2
N = N_LIF + N_ALIF
N_TRIALS, N_STEPS, WINDOW = 4, 50, 40
TAU_OUT, F_TARGET, C_REG = 15e-3, 20.0, 40.0
KAPPA = np.exp(-DT / TAU_OUT)
TAU_M = np.array([10, 15, 20, 25, 12, 18, 30]) * 1e-3
TAU_A = np.array([1, 1, 1, 100, 70, 50, 30]) * 1e-3
BETA = np.array([0, 0, 0, 0.2, 0.3, 0.4, 0.5])
V_TH = np.array([0.5, 0.6, 0.7, 0.6, 0.5, 0.55, 0.65])
#: Longest delays of inputs and between neurons, in steps; the shortest are 0 and 1.
LONGEST = {"w_in": 5, "w_rec": 6}
LEAST = {"w_in": 0, "w_rec": 1}
WIDTH, REACH = 1.3, 4
LEARNED = {name: LearnedDelay(longest, width=WIDTH) for name, longest in LONGEST.items()}


def network_of(learned=LEARNED, plastic=True, **options):
    """LIF and ALIF neurons whose delays learn."""
    neurons = []
    for kind, here in ((LIF, slice(0, N_LIF)), (ALIF, slice(N_LIF, N))):
        given = {"tau_m": TAU_M * second, "tau_a": TAU_A * second, "beta": BETA, "v_th": V_TH}
        values = {name: value[here] for name, value in given.items() if name in kind.parameters}
        neuron = kind.with_parameters(**values, gamma=GAMMA, t_ref=T_REF_STEPS * ms)
        neurons.append((neuron, here.stop - here.start))
    options = {"c_reg": C_REG, "f_target": F_TARGET * Hz, "optimizer": GRADIENT_DESCENT} | options
    readout = LEAKY.with_parameters(tau_out=TAU_OUT * second)
    resolved = Network(N_INPUTS, N_OUTPUTS, neurons, readout=readout, **options).resolved
    return with_learned(resolved, learned, plastic)


def with_learned(resolved, learned, plastic=True):
    """The same network with connections whose delays learn."""
    connections = tuple(
        replace(c, learned_delay=learned[c.name], plastic=plastic) if c.name in learned else c
        for c in resolved.connections
    )
    return replace(resolved, connections=connections)


def weights_of(network, seed=7):
    """Weights with which neurons spike, and delays between whole steps."""
    rng = np.random.default_rng(seed)
    weights = network.initial_weights(seed)
    given = {
        "w_in": rng.normal(0.6, 0.6, (N, N_INPUTS)) * 0.5,
        "w_rec": rng.normal(0.2, 1.0, (N, N)) * 0.3,
    }
    np.fill_diagonal(given["w_rec"], 0.0)
    given |= {
        f"delay.{name}": rng.uniform(LEAST[name], LONGEST[name], (N, n_pre))
        for name, n_pre in (("w_in", N_INPUTS), ("w_rec", N))
    }
    for name, values in given.items():
        if name in weights:
            here = network.adjacency.get(name)
            weights[name] = values if here is None else values * here.toarray()
    return weights


def bump(lag):
    return jnp.exp(-((lag / WIDTH) ** 2) / 2) / (np.sqrt(2 * np.pi) * WIDTH)


def kernels(delays, name):
    """How much of a spike arrives after m steps, and the derivative by its delay."""
    nearest = jnp.floor(jax.lax.stop_gradient(delays) + 0.5)
    after = jnp.arange(LONGEST[name] + REACH + 1)
    steps = after[:, None, None] - nearest
    counted = (jnp.abs(steps) <= REACH) & (after >= LEAST[name])[:, None, None]
    relaxed = jnp.where(counted, bump(after[:, None, None] - delays), 0.0)
    return (steps == 0) + relaxed - jax.lax.stop_gradient(relaxed)


def simulate(weights, x):
    """A trial: spikes, readouts and filtered spikes; spikes are stopped at other neurons."""
    stopped = jax.lax.stop_gradient
    neuron = adaptive_lif(TAU_M, TAU_A, BETA, V_TH)
    k_in = kernels(weights["delay.w_in"], "w_in")
    k_rec = kernels(weights["delay.w_rec"], "w_rec")

    def step(carry, x):
        h, x_before, z_before, refractory, y, filtered = carry
        x_before = jnp.roll(x_before, 1, axis=0).at[0].set(x)
        current = jnp.einsum("ji,mji,mi->j", weights["w_in"], k_in, x_before)
        # The last spikes arrive after one step.
        received = stopped(z_before)
        current += jnp.einsum("ji,mji,mi->j", weights["w_rec"], k_rec[1:], received)
        z_last = z_before[0]
        h = neuron.step(h, current, stopped(z_last), z_last)
        refractory = jnp.maximum(refractory - 1, 0)
        active = (refractory == 0).astype(float)
        z = spike(neuron.margin(h), stopped(active * neuron.surrogate(h)), active)
        refractory = jnp.where(z > 0, T_REF_STEPS, refractory)
        y = KAPPA * y + weights["w_out"] @ z
        filtered = KAPPA * filtered + z
        z_before = jnp.roll(z_before, 1, axis=0).at[0].set(z)
        return (h, x_before, z_before, refractory, y, filtered), (z, y, filtered)

    silent = jnp.zeros(N)
    start = (
        (silent, silent),
        jnp.zeros((len(k_in), N_INPUTS)),
        jnp.zeros((len(k_rec) - 1, N)),
        *(silent, jnp.zeros(N_OUTPUTS), silent),
    )
    return jax.lax.scan(step, start, x)[1]


def objective(weights, inputs, targets, averaging):
    """The scalar whose derivative is e-prop's gradient, mean over trials, and the spikes."""
    z, y, filtered = jax.vmap(lambda x: simulate(weights, x))(inputs)
    error = jax.lax.stop_gradient(y - targets) * (np.arange(N_STEPS) >= N_STEPS - WINDOW)[:, None]
    signal = jnp.einsum("jk,btk->btj", weights["B"], error)
    rates = z.mean(axis=1)
    if averaging == "batch":
        rates = rates.mean(axis=0, keepdims=True)
    cost = C_REG / 2 * jnp.sum((rates - F_TARGET * DT) ** 2, axis=1).mean()
    return jnp.sum(signal * filtered) / len(inputs) + cost, z


def expected(network, weights, trials):
    """Gradient of inputs, recurrence and delays, and the spikes of the last trial."""
    given = {name: jnp.array(dense(w)) for name, w in weights.items()}
    inputs = trials.inputs[trials.pattern].astype(float)
    differentiate = jax.jit(jax.grad(objective, has_aux=True), static_argnums=3)
    averaging = network.rate_averaging
    found, z = differentiate(given, inputs, trials.targets[trials.target], averaging)
    return {name: np.array(g) for name, g in found.items()}, np.asarray(z)[-1]


CASES = {
    "dense": {},
    "sparse, rate of the batch": {
        "connectivity": {"w_in": 0.8, "w_rec": 0.6},
        "rate_averaging": "batch",
    },
}


def session_of(network, weights, device="runtime", trials=None, **options):
    trials = random_trials(3, (N_TRIALS, N_STEPS, N_INPUTS), N_OUTPUTS, n_targets=N_TRIALS)
    return Session(network, make_program(device), trials, WINDOW, weights), trials


@pytest.mark.parametrize("case", CASES)
@pytest.mark.devices("runtime", "cpp", "cuda", slow=("cuda",))
def test_gradient_is_the_derivative_where_spikes_arrive_rounded(case, device):
    """By autodiff of the definition: whole steps forwards, the bump's slope backwards."""
    network = network_of(**CASES[case])
    weights = weights_of(network)
    session, trials = session_of(network, weights, device)
    session.run(trials, N_TRIALS)
    wanted, z = expected(network, weights, trials)
    assert z.sum() > 30
    np.testing.assert_array_equal(session.spikes(), z)
    found = session.gradient()
    assert {"w_in", "w_rec", "delay.w_in", "delay.w_rec"} <= found.keys()
    for name, here in network.adjacency.items():
        wanted[name] = wanted[name] * here.toarray()
    np.fill_diagonal(wanted["w_rec"], 0.0)
    del found["w_out"]
    assert deviation(found, wanted) <= 1e-9
    session.close()
