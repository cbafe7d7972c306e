"""Synapses with dynamics, against automatic differentiation of a network written by hand in JAX.

Neurons have two receptors. What inputs and neurons send to them passes synapses with short-term
plasticity, and slow ones that saturate. E-prop's gradient is the derivative of
``sum_t L[t].zbar[t]``
by what acts on each neuron: zbar are spikes as the readout filters them, the learning signals L are
given numbers, and spikes stop where other neurons receive them.
"""

import functools
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brian2 import ms, second

from eprop_brian import Inputs, LearningSignal, Network, Neuron, Population, Projection, Readout
from eprop_brian.equations import GRADIENT_DESCENT, LEAKY
from eprop_brian.equations.synapse import Synapse
from eprop_brian.network.program import make_program
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.session import Session
from support.arrays import all_dense, deviation
from support.devices import on_devices
from support.neurons_by_hand import DT, spike
from support.trials import trials_of

#: Largest deviation from automatic differentiation, relative to the largest entry of a matrix.
TOLERANCE = 1e-9

N_INPUTS, SIZE, N_OUTPUTS, N_TRIALS, N_STEPS = 6, 5, 2, 2, 70
ALPHA, V_TH, KAPPA = 0.93, 0.7, np.exp(-DT / 15e-3)
GAIN = 0.3
TAU_D, TAU_F, U = 80e-3, 40e-3, 0.3
TAU_S, TAU_X, RISE = 60e-3, 4e-3, 300.0

NEURON = Neuron(
    name="cells",
    update="v = alpha*v + I_fast + I_slow/(1 + exp(-2*v)) - v_th*z",
    receptors=("fast", "slow"),
    threshold="v >= v_th",
    surrogate="0.3/v_th*clip(1 - abs(v - v_th)/v_th, 0, 1)",
    parameters={"v_th": V_TH, "alpha": ALPHA},
    detach=("v",),
)
PLASTIC = Synapse(
    model="""
    dx/dt = (1 - x)/tau_d : 1 (event-driven)
    du/dt = (U - u)/tau_f : 1 (event-driven)
    """,
    on_pre="u += U*(1 - u); I_fast_post += w*u*x; x -= u*x",
    parameters={"tau_d": TAU_D * second, "tau_f": TAU_F * second, "U": U},
    initial={"x": "1", "u": "U"},
    name="plastic",
)
SATURATING = Synapse(
    model="""
    I_slow_post = w*s : 1 (summed)
    ds/dt = -s/tau_s + rise*x*(1 - s) : 1 (clock-driven)
    dx/dt = -x/tau_x : 1 (clock-driven)
    """,
    on_pre="x += 1",
    method="euler",
    parameters={"tau_s": TAU_S * second, "tau_x": TAU_X * second, "rise": f"{RISE} Hz"},
    name="saturating",
)


@dataclass(frozen=True, eq=False)
class Case:
    """Which projections there are, and how late spikes arrive.

    Attributes
    ----------
    pairs : tuple of (str, str)
        Source and receptor of every projection.
    delays : mapping of (str, str) to array [post, pre]
        In steps, beyond the least.
    sparse : float
        Fraction of the synapses that there are not.
    """

    pairs: tuple[tuple[str, str], ...]
    delays: dict
    sparse: float = 0.0

    def connected(self, pair):
        """Which synapses there are."""
        n_pre = {"inputs": N_INPUTS, "cells": SIZE}[pair[0]]
        drawn = np.random.default_rng(len(pair[1])).random((SIZE, n_pre)) >= self.sparse
        return drawn & ~np.eye(SIZE, dtype=bool) if pair[0] == "cells" else drawn


def _delays(seed, n_pre):
    return np.random.default_rng(seed).integers(0, 4, (SIZE, n_pre))


EVERY = (("inputs", "fast"), ("cells", "fast"), ("inputs", "slow"), ("cells", "slow"))
CASES = {
    "short-term plasticity": Case(EVERY[:2], {}),
    "all": Case(EVERY, {}),
    "delayed": Case(
        EVERY, {EVERY[0]: _delays(1, N_INPUTS), EVERY[1]: _delays(2, SIZE), EVERY[3]: 2}
    ),
    "sparse": Case(EVERY, {EVERY[1]: 1}, sparse=0.4),
}
COMPILED = ("delayed", "sparse")
PROGRAMS = ("factored", "online")


def make_network(case: Case, program: str) -> Network:
    """The network in the package."""
    projections = []
    for source, receptor in case.pairs:
        delay = (case.delays.get((source, receptor), 0) + int(source == "cells")) * ms
        synapse = {"fast": PLASTIC, "slow": SATURATING}[receptor]
        name = f"{source}_{receptor}"
        options = {"receptor": receptor, "delay": delay, "synapse": synapse}
        if case.sparse:
            options["connectivity"] = case.connected((source, receptor))
        projections.append(Projection(source, "cells", name, **options))
    return Network(
        [
            Inputs(N_INPUTS),
            Population(NEURON, SIZE),
            Readout(N_OUTPUTS, filter=LEAKY.with_parameters(tau_out=15 * ms, zeta_out=GAIN)),
            *projections,
            Projection("cells", "readout", "out"),
            *([] if program == "bptt" else [LearningSignal("readout", "cells", name="B")]),
        ],
        optimizer=GRADIENT_DESCENT,
        gradient=program,
        dt=DT * second,
    )


def make_data(case: Case):
    """Weights, inputs and targets."""
    rng = np.random.default_rng(3)
    sizes = {"inputs": N_INPUTS, "cells": SIZE}
    weights = {}
    for source, receptor in case.pairs:
        scale = {"fast": 1.5, "slow": 0.15}[receptor]
        drawn = rng.normal(scale / 3, scale, (SIZE, sizes[source]))
        weights[f"{source}_{receptor}"] = drawn * case.connected((source, receptor))
    weights["out"] = rng.normal(size=(N_OUTPUTS, SIZE))
    inputs = rng.random((N_TRIALS, N_STEPS, N_INPUTS)) < 0.25
    return weights, inputs, rng.normal(size=(N_TRIALS, N_STEPS, N_OUTPUTS))


# --- automatic differentiation --------------------------------------------------------------------


def plastic(state, z, after):
    """Short-term plasticity; a variable moves after a spike, whoever sent it."""
    u, x = state
    risen = u + U * (1 - u)
    amount = z * risen * x
    u, x = u + z * (risen - u), x - amount
    return (U + (u - U) * jnp.exp(-DT / TAU_F), 1 + (x - 1) * jnp.exp(-DT / TAU_D)), amount


def saturating(state, z, after):
    """A gate that opens towards 1; it moves `after` a spike of the step or before it."""
    s, x = state
    x = x + z if after else x

    def moved(s, x):
        return s + DT * (-s / TAU_S + RISE * x * (1 - s)), x - DT * x / TAU_X

    if after:
        return moved(s, x), s
    s, x = moved(s, x)
    return (s, x + z), s


SYNAPSES = {
    "fast": (plastic, lambda n: (jnp.full(n, U), jnp.ones(n))),
    "slow": (saturating, lambda n: (jnp.zeros(n), jnp.zeros(n))),
}


def arriving(case, pair, weights, sent):
    """What arrives in a step of what was sent in each of the steps up to it, the last one first."""
    w = weights["_".join(pair)]
    late = jnp.broadcast_to(jnp.asarray(case.delays.get(pair, 0)), w.shape)
    return sum(jnp.where(late == d, w, 0.0) @ sent[d] for d in range(4))


def simulate(case, weights, x, transmitted=False):
    """Spikes and readouts of a trial."""
    sizes = {"inputs": N_INPUTS, "cells": SIZE}

    def step(carry, x_now):
        v, z, synapses, earlier, y = carry
        now, states, current = {}, {}, {"fast": 0.0, "slow": 0.0}
        for pair in case.pairs:
            source, receptor = pair
            advance, _ = SYNAPSES[receptor]
            states[pair], sent = advance(
                synapses[pair], x_now if source == "inputs" else z, source == "inputs"
            )
            if not transmitted:
                sent = jax.lax.stop_gradient(sent)
            now[pair] = jnp.concatenate([sent[None], earlier[pair][:3]])
            current[receptor] += arriving(case, pair, weights, now[pair])
        reset = jax.lax.stop_gradient(z)
        slow = current["slow"] / (1 + jnp.exp(-2 * v))
        v = ALPHA * v + current["fast"] + slow - V_TH * reset
        slope = 0.3 / V_TH * jnp.maximum(0.0, 1 - jnp.abs(v - V_TH) / V_TH)
        z = spike(v - V_TH, jax.lax.stop_gradient(slope), jnp.ones(SIZE))
        y = KAPPA * y + GAIN * weights["out"] @ z
        return (v, z, states, now, y), (z, y)

    start = (
        jnp.zeros(SIZE),
        jnp.zeros(SIZE),
        {pair: SYNAPSES[pair[1]][1](sizes[pair[0]]) for pair in case.pairs},
        {pair: jnp.zeros((4, sizes[pair[0]])) for pair in case.pairs},
        jnp.zeros(N_OUTPUTS),
    )
    return jax.lax.scan(step, start, x)[1]


def filtered(z):
    def step(f, now):
        return (KAPPA * f + GAIN * now,) * 2

    return jax.lax.scan(step, jnp.zeros(SIZE), z)[1]


def objective(weights, case, inputs, targets):
    """What e-prop's gradient is the derivative of, and the spikes."""

    def trial(x, target):
        z, y = simulate(case, weights, x)
        error = jax.lax.stop_gradient(y - target)
        signal = error @ jax.lax.stop_gradient(weights["out"])
        bar = filtered(z)
        return jnp.sum(signal * bar) + jnp.sum(
            error * (jax.lax.stop_gradient(bar) @ weights["out"].T)
        ), z

    total, z = jax.vmap(trial)(inputs.astype(float), targets)
    return total.mean(), z


def loss_of(weights, case, inputs, targets):
    """The loss with every path of it, for backpropagation through time."""

    def trial(x, target):
        _, y = simulate(case, weights, x, transmitted=True)
        return jnp.sum((y - target) ** 2) / 2

    return jax.vmap(trial)(inputs.astype(float), targets).mean()


@functools.cache
def expected(case):
    """Gradient, and spikes of all trials."""
    weights, inputs, targets = make_data(case)
    gradient, z = jax.jit(jax.grad(objective, has_aux=True), static_argnums=1)(
        weights, case, inputs, targets
    )
    return of_synapses(case, gradient), np.asarray(z)


def of_synapses(case, gradient):
    """The gradient by the weights of synapses that there are."""
    masks = {"_".join(pair): case.connected(pair) for pair in case.pairs}
    return {name: np.array(g) * masks.get(name, True) for name, g in gradient.items()}


# --- tests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", on_devices(CASES, COMPILED))
def test_gradient_is_that_of_automatic_differentiation(name, program, device):
    case = CASES[name]
    weights, inputs, targets = make_data(case)
    wanted, z = expected(case)
    assert 0.03 < z.mean() < 0.5
    trials = trials_of(inputs, targets)
    start = weights | {"B": weights["out"].T}
    session = Session(make_network(case, program), make_program(device), trials, N_STEPS, start)
    session.run(trials, N_TRIALS)
    gradient, spikes = all_dense(session.gradient()), session.spikes()
    session.close()
    assert spikes.shape == z[-1].shape and np.sum(spikes != z[-1]) == 0
    assert deviation(gradient, wanted) < TOLERANCE


@pytest.mark.devices("runtime", "cpp")
@pytest.mark.parametrize("updates", ["step", "spike"])
def test_continuous_operation_hands_the_synapses_on(updates, device):
    """With a learning rate of next to nothing the updates add up to the gradient."""
    case, eta, half = CASES["delayed"], 1e-12, N_STEPS // 2
    weights, inputs, targets = make_data(case)
    whole = trials_of(inputs[:1], targets[:1])
    parts = trials_of(inputs[0].reshape(2, half, -1), targets[0].reshape(2, half, -1))
    start = weights | {"B": weights["out"].T}
    network = make_network(case, "online")
    session = Session(network, make_program("runtime"), whole, N_STEPS, start)
    session.run(whole, 1)
    wanted = all_dense(session.gradient())
    frozen = network.with_part("out", learn=False)
    network = replace(
        frozen,
        updates=updates,
        rate_averaging="moving",
        optimizer=GRADIENT_DESCENT.with_parameters(eta=eta),
    )
    session = Session(network, make_program(device), parts, half, start)
    for number in range(2):
        session.run(parts.part(slice(number, number + 1)), 1)
    session.apply_pending()
    found = {
        k: (weights[k] - w) / eta for k, w in all_dense(session.weights).items() if k in wanted
    }
    session.close()
    assert deviation({k: g for k, g in found.items() if k != "out"}, wanted) < 1e-5


@pytest.mark.parametrize("name", COMPILED)
def test_backpropagation_goes_through_the_synapses(name):
    case = CASES[name]
    weights, inputs, targets = make_data(case)
    wanted = jax.jit(jax.grad(loss_of), static_argnums=1)(weights, case, inputs, targets)
    trials = trials_of(inputs, targets)
    session = BpttSession(make_network(case, "bptt"), trials, N_STEPS, weights)
    session.run(trials, N_TRIALS)
    assert deviation(all_dense(session.gradient()), of_synapses(case, wanted)) < TOLERANCE


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_synapse_is_analog_inputs_of_its_amounts(program):
    """Learned delays too: they move the amounts as they move spikes."""
    case = Case(EVERY[:1], {EVERY[0]: 1})
    weights, inputs, targets = make_data(case)
    rates = np.linspace(0.2, 0.6, N_INPUTS)
    synapse = replace(PLASTIC, parameters={**PLASTIC.parameters, "U": rates})
    u, x = np.full((2, N_TRIALS, N_INPUTS), rates), np.ones((N_TRIALS, N_INPUTS))
    u, amounts = u[0], np.zeros(inputs.shape)
    for t, z in enumerate(np.swapaxes(inputs, 0, 1)):
        u = np.where(z, u + rates * (1 - u), u)
        amounts[:, t] = z * u * x
        x = x - amounts[:, t]
        u = rates + (u - rates) * np.exp(-DT / TAU_F)
        x = 1 + (x - 1) * np.exp(-DT / TAU_D)
    gradients = []
    network = make_network(case, program)
    learned = {"learned_delay": {"longest": 6 * ms}, "connectivity": 0.7}
    for heard, own in ((inputs, synapse), (amounts, None)):
        changed = network.with_part("inputs_fast", synapse=own, **learned)
        start = changed.initial_weights(1) | {"out": weights["out"], "B": weights["out"].T}
        trials = trials_of(heard, targets)
        session = Session(changed, make_program("runtime"), trials, N_STEPS, start)
        session.run(trials, N_TRIALS)
        gradients.append(all_dense(session.gradient()))
        session.close()
    assert np.abs(gradients[0]["delay.inputs_fast"]).max() > 0
    assert deviation(*gradients) < 1e-12
