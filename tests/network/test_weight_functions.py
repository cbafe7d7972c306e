"""Functions of the weight, against automatic differentiation of a neuron written by hand in JAX.

One population hears inputs and itself, either through a receptor of its own. Where spikes come one
after the other, those by hand are applied in a loop.
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
from eprop_brian.export.nir import NirError, to_nir
from eprop_brian.network.program import make_program
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.session import Session
from support.arrays import all_dense, deviation
from support.devices import on_devices
from support.neurons_by_hand import DT, spike
from support.trials import trials_of

#: Largest deviation from automatic differentiation, relative to the largest entry of a matrix.
TOLERANCE = 1e-9

N_INPUTS, SIZE, N_OUTPUTS, N_TRIALS, N_STEPS = 6, 5, 2, 2, 60
TAU, KAPPA, GAIN = 20e-3, np.exp(-DT / 15e-3), 0.3
W_MAX = np.array([0.3, 0.5, 0.7, 0.9, 1.1])


@dataclass(frozen=True, eq=False)
class Case:
    """What a spike does at either receptor, in the package and by hand.

    Attributes
    ----------
    on_pre : mapping of str to str
    by_hand : mapping of str to callable
        ``v, w, z``: the membrane after spikes of a step; the weights of one neuron, for all pairs.
    order : str
    weights : float
        Scale of the weights.
    synapse : Synapse, optional
        Of what inputs send.
    """

    on_pre: dict
    by_hand: dict
    order: str = "summed"
    weights: float = 0.8
    synapse: Synapse | None = None


def summed(function):
    """All spikes act on the membrane before them."""
    return lambda v, w, z: v + function(w) @ z


def in_turn(towards, part):
    """One spike after the other, each by a part of the way."""

    def effect(v, w, z):
        for i in range(len(z)):
            v = towards + (v - towards) * (1 - part * w[:, i]) ** z[i]
        return v

    return effect


CASES = {
    "bounded": Case(
        {"up": "v += clip(w, 0, w_max)", "down": "v += w**2*sign_of*exp(w)"},
        {
            "up": summed(lambda w: jnp.minimum(jnp.maximum(w, 0.0), W_MAX[:, None])),
            "down": summed(lambda w: -(w**2) * jnp.exp(w)),
        },
    ),
    "one after the other": Case(
        {"up": "v += w*(1.5 - v)", "down": "v += rate*w*(E_i - v)"},
        {
            "up": in_turn(1.5, 1.0),
            "down": in_turn(-0.4, 0.5),
        },
        order="sequential",
        weights=0.3,
    ),
    "of a synapse": Case(
        {"up": "v += w", "down": "v -= 0.3*abs(w)"},
        {
            "up": summed(lambda w: 0.7 * jnp.tanh(w)),
            "down": summed(lambda w: -0.3 * jnp.abs(w)),
        },
        weights=0.4,
        synapse=Synapse("", "v_post += 0.7*tanh(w)"),
    ),
}
COMPILED = ("bounded", "one after the other")
PROGRAMS = ("factored", "online")


def make_network(case: Case, program: str, **options) -> Network:
    """The network in the package."""
    neuron = Neuron(
        name="cells",
        model="dv/dt = -v/tau : 1",
        on_pre=case.on_pre,
        on_pre_order=case.order,
        reset="v -= 0.8",
        threshold="v > 0.8",
        surrogate="0.4*clip(1 - abs(v - 0.8), 0, 1)",
        parameters={"tau": TAU * second, "w_max": W_MAX, "sign_of": -1, "E_i": -0.4, "rate": 0.5},
        detach=("v",),
    )
    # Weights that come one after the other stay below 1.
    bounds = {"maximum": 0.99} if case.order == "sequential" else {}
    projections = [
        Projection("inputs", "cells", "up", receptor="up", synapse=case.synapse, **bounds),
        Projection("cells", "cells", "down", receptor="down", delay=2 * ms, **bounds),
    ]
    return Network(
        [
            Inputs(N_INPUTS),
            Population(neuron, SIZE),
            Readout(N_OUTPUTS, filter=LEAKY.with_parameters(tau_out=15 * ms, zeta_out=GAIN)),
            *projections,
            Projection("cells", "readout", "out", learn=False),
            *([] if program == "bptt" else [LearningSignal("readout", "cells", name="B")]),
        ],
        optimizer=GRADIENT_DESCENT,
        gradient=program,
        dt=DT * second,
        **options,
    )


def make_data(case: Case):
    """Weights, inputs and targets."""
    rng = np.random.default_rng(8)
    weights = {
        "up": case.weights * (rng.normal(size=(SIZE, N_INPUTS)) + 0.7),
        "down": case.weights * rng.normal(size=(SIZE, SIZE)),
    }
    if case.order == "sequential":
        weights = {name: np.clip(w, -0.9, 0.9) for name, w in weights.items()}
    np.fill_diagonal(weights["down"], 0.0)
    weights["out"] = rng.normal(size=(N_OUTPUTS, SIZE))
    inputs = rng.random((N_TRIALS, N_STEPS, N_INPUTS)) < 0.25
    return weights, inputs, rng.normal(size=(N_TRIALS, N_STEPS, N_OUTPUTS))


# --- automatic differentiation --------------------------------------------------------------------


def simulate(case, weights, x, transmitted):
    """Spikes and readouts of a trial."""

    def step(carry, x_now):
        v, z, before, y = carry
        sent = before if transmitted else jax.lax.stop_gradient(before)
        v = case.by_hand["up"](v, weights["up"], x_now)
        v = case.by_hand["down"](v, off_diagonal(weights["down"]), sent)
        v = (v - 0.8 * jax.lax.stop_gradient(z)) * jnp.exp(-DT / TAU)
        slope = 0.4 * jnp.clip(1 - jnp.abs(v - 0.8), 0, 1)
        now = spike(v - 0.8, jax.lax.stop_gradient(slope), jnp.ones(SIZE))
        y = KAPPA * y + GAIN * weights["out"] @ now
        return (v, now, z, y), (now, y)

    silent = jnp.zeros(SIZE)
    start = (silent, silent, silent, jnp.zeros(N_OUTPUTS))
    return jax.lax.scan(step, start, x)[1]


def off_diagonal(w):
    return jnp.where(jnp.eye(SIZE, dtype=bool), 0.0, w)


def loss_of(weights, case, x, target):
    """The loss with every path of it."""
    _, y = simulate(case, weights, x, transmitted=True)
    return jnp.sum((y - target) ** 2) / 2


def objective(weights, case, x, target):
    """What e-prop's gradient is the derivative of."""
    z, y = simulate(case, weights, x, transmitted=False)
    signal = jax.lax.stop_gradient((y - target) @ weights["out"])

    def filtered(f, now):
        return (KAPPA * f + GAIN * now,) * 2

    return jnp.sum(signal * jax.lax.scan(filtered, jnp.zeros(SIZE), z)[1])


@functools.cache
def expected(name, what):
    """The mean gradient of the trials."""
    case = CASES[name]
    weights, inputs, targets = make_data(case)
    gradient = jax.vmap(jax.grad(what), (None, None, 0, 0))
    by_trial = jax.jit(gradient, static_argnums=1)(weights, case, inputs.astype(float), targets)
    return {k: np.asarray(g).mean(axis=0) for k, g in by_trial.items() if k != "out"}


# --- tests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", on_devices(CASES, COMPILED))
def test_gradient_is_that_of_automatic_differentiation(name, program, device):
    case = CASES[name]
    weights, inputs, targets = make_data(case)
    trials = trials_of(inputs, targets)
    start = weights | {"B": weights["out"].T}
    session = Session(make_network(case, program), make_program(device), trials, N_STEPS, start)
    session.run(trials, N_TRIALS)
    gradient, updated = all_dense(session.gradient()), all_dense(session.weights)
    spikes = session.spikes()
    wanted = expected(name, objective)
    assert 0.03 < spikes.mean() < 0.6
    assert deviation(gradient, wanted) < TOLERANCE
    # Spikes bring the weights that the update made; the loss is the mean over the outputs.
    loss = session.run(trials, N_TRIALS, learning=False).loss
    session.close()
    after = [
        loss_of(updated, case, x, y) for x, y in zip(inputs.astype(float), targets, strict=True)
    ]
    np.testing.assert_allclose(loss * N_OUTPUTS, after, rtol=TOLERANCE)


@pytest.mark.parametrize("name", COMPILED)
def test_backpropagation_through_time_has_the_slope_too(name):
    case = CASES[name]
    weights, inputs, targets = make_data(case)
    trials = trials_of(inputs, targets)
    session = BpttSession(make_network(case, "bptt"), trials, N_STEPS, weights)
    session.run(trials, N_TRIALS)
    found = {k: g for k, g in all_dense(session.gradient()).items() if k != "out"}
    assert deviation(found, expected(name, loss_of)) < TOLERANCE


def test_a_weight_of_which_a_function_has_no_value_is_refused():
    """A spike of weight 1 leads all the way: beyond it there is no logarithm."""
    case = CASES["one after the other"]
    network = make_network(case, "factored")
    with pytest.raises(ValueError, match=r"sums log1p\(-w\) of its weights.*give it a maximum"):
        network.with_part("up", maximum=None)
    weights, inputs, targets = make_data(case)
    start = weights | {"B": weights["out"].T, "up": np.full((SIZE, N_INPUTS), 1.2)}
    with pytest.raises(ValueError, match=r"'up' of the weights: log1p\(-w\), which 'cells' sums"):
        Session(network, make_program("runtime"), trials_of(inputs, targets), N_STEPS, start)


def test_a_function_of_a_learned_parameter_is_refused():
    network = make_network(CASES["bounded"], "factored")
    (neuron,) = [part.neuron for part in network.parts if isinstance(part, Population)]
    changed = replace(neuron, threshold="v > w_max")
    with pytest.raises(ValueError, match="'w_max' in it learns, which would need a trace of every"):
        network.with_part("cells", neuron=changed, learned={"w_max": {}})


def test_analog_inputs_have_no_spikes_for_a_synapse():
    case = CASES["of a synapse"]
    weights, inputs, targets = make_data(case)
    trials = trials_of(inputs.astype(float), targets)
    start = weights | {"B": weights["out"].T}
    with pytest.raises(ValueError, match="'up': its synapse 'synapse' is driven by spikes"):
        network = make_network(case, "factored")
        Session(network, make_program("runtime"), trials, N_STEPS, start)


def test_nir_has_no_node_for_either():
    pytest.importorskip("nir")
    network = make_network(CASES["of a synapse"], "factored")
    with pytest.raises(NirError, match="'up', whose synapses have dynamics of their own") as caught:
        to_nir(network, network.initial_weights(0))
    assert "'down', of whose weights neurons sum a function" in str(caught.value)
