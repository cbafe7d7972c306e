"""Learning of each connection: optimizers of their own, signs (Dale's law), frozen weights.

The gradient is held to automatic differentiation of an E/I network that is written in JAX here, and
updates to the optimizers' formulas in NumPy.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brian2 import ms

from eprop_brian import ADAPTIVE, LIF, Network
from eprop_brian.base.sparse import dense
from eprop_brian.devices import cpp
from eprop_brian.equations.optimizers import ADAM, GRADIENT_DESCENT, MOMENTUM
from eprop_brian.network.build import build
from eprop_brian.network.built import Capacity
from eprop_brian.network.graph import connection
from eprop_brian.network.learned import Learned
from eprop_brian.network.optimization import projection_optimizer
from eprop_brian.network.program import make_program
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.recording import record
from eprop_brian.training.session import Session
from eprop_brian.training.traces import TracedSynapse
from eprop_brian.training.workers import ParallelSession

N_INPUTS, N_E, N_I, N_OUT, N_STEPS, N_TRIALS, WINDOW = 5, 8, 3, 2, 40, 4, 25
V_TH, GAMMA, ALPHA, KAPPA, T_REF = 0.6, 0.3, np.exp(-1 / 20), np.exp(-1 / 20), 2
ETA = 0.02
SIGNS = {"e": "excitatory", "i": "inhibitory"}


def standard(gradient="factored", **options):
    """Two kinds under one matrix each; spikes do not flow back through the reset."""
    kind = replace(LIF, name="e", detach=("v",)).with_parameters(t_ref=T_REF * ms)
    neurons = [(kind, N_E), (replace(kind, name="i"), N_I)]
    options = {"optimizer": ADAM.with_parameters(eta=ETA), **options}
    return Network.standard(N_INPUTS, N_OUT, neurons, gradient=gradient, **options).resolved


def ei(gradient="factored", options=None, **network):
    """An E/I network by Dale's law; `options` are fields of connections."""
    resolved = standard(gradient, **network)
    inputs, (e, i), readouts = resolved.inputs, resolved.populations, resolved.readouts
    groups = {"e": e, "i": i}
    connections = [connection(f"inputs_{x}", inputs, [groups[x]]) for x in groups]
    for source, sign in SIGNS.items():
        for target in groups:
            name = f"{source}_{target}"
            optimizer = projection_optimizer(name, resolved.optimizer, {}, sign)
            factor = 1.0 if sign == "excitatory" else -1.0
            signed = {"sign": factor, "balanced": True, "scale": 0.3}
            ends = [groups[source]], [groups[target]]
            connections.append(connection(name, *ends, optimizer=optimizer, **signed))
    connections.append(connection("out", [e, i], readouts))
    (signal,) = resolved.signals
    options = options or {}
    return replace(
        resolved,
        connections=tuple(replace(c, **options.get(c.name, {})) for c in connections),
        signals=(replace(signal, follows="out"),),
    )


def trials(n_trials=N_TRIALS):
    rng, index = np.random.default_rng(1), np.arange(n_trials)
    inputs = rng.random((n_trials, N_STEPS, N_INPUTS)) < 0.3
    return Trials(inputs, rng.random((n_trials, 1, N_OUT)), index, index)


def start(resolved, seed=3):
    weights = resolved.initial_weights(seed)
    return {name: w * 2 if name.startswith("inputs") else w for name, w in weights.items()}


@jax.custom_jvp
def fires(v, active):
    return ((v >= V_TH) & (active > 0)).astype(float)


@fires.defjvp
def _slope(primals, tangents):
    v, active = primals
    slope = GAMMA / V_TH * jnp.maximum(0, 1 - jnp.abs((v - V_TH) / V_TH)) * active
    return fires(v, active), slope * tangents[0]


def loss(weights, inputs, targets):
    """Mean over trials; a spike reaches other neurons without its derivative."""
    stop = jax.lax.stop_gradient

    def step(carry, now):
        (x, counts), state = now, carry
        v, z, left, y = state
        current = {
            target: weights[f"inputs_{target}"] @ x
            + sum(weights[f"{source}_{target}"] @ stop(z[source]) for source in SIGNS)
            for target in SIGNS
        }
        left = {k: jnp.maximum(n - 1, 0) for k, n in left.items()}
        v = {k: ALPHA * v[k] + current[k] - V_TH * stop(z[k]) for k in v}
        z = {k: fires(v[k], (left[k] == 0).astype(float)) for k in v}
        left = {k: jnp.where(z[k] > 0, T_REF, n) for k, n in left.items()}
        y = KAPPA * y + weights["out"] @ jnp.concatenate([z["e"], z["i"]])
        return (v, z, left, y), counts * y

    def trial(x, target):
        zeros = {"e": jnp.zeros(N_E), "i": jnp.zeros(N_I)}
        counts = (jnp.arange(N_STEPS) >= N_STEPS - WINDOW).astype(float)
        _, y = jax.lax.scan(step, (zeros, zeros, zeros, jnp.zeros(N_OUT)), (x, counts))
        return jnp.sum((y - counts[:, None] * target) ** 2) / 2

    return jnp.mean(jax.vmap(trial)(inputs, targets))


def differentiate(weights, data):
    with jax.enable_x64(True):
        arrays = {k: jnp.asarray(dense(w)) for k, w in weights.items() if k != "B"}
        inputs = jnp.asarray(data.inputs[data.pattern], float)
        gradient = jax.grad(loss)(arrays, inputs, jnp.asarray(data.targets[data.target]))
    masks = {"e_e": 1 - np.eye(N_E), "i_i": 1 - np.eye(N_I)}
    return {k: np.asarray(g) * masks.get(k, 1.0) for k, g in gradient.items()}


def assert_signs(resolved, weights, before):
    """All weights have their signs, and some have been clipped."""
    signed = [c for c in resolved.connections if c.sign and c.plastic]
    assert all(np.all(c.sign * weights[c.name] >= 0) for c in signed)
    assert any(np.any((weights[c.name] == 0) & (before[c.name] != 0)) for c in signed)


def adam(w, g, states, k, low, high, eta=ETA):
    m, s = states.get("m", 0.0), states.get("s", 0.0)
    m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g**2
    rate = eta * np.sqrt(1 - 0.999**k) / (1 - 0.9**k)
    return np.clip(w - rate * m / (np.sqrt(s) + 1e-8), low, high), {"m": m, "s": s}


@pytest.fixture(params=["factored", "online"])
def gradient(request):
    return request.param


def test_an_ei_network_learns_by_dales_law(gradient):
    """Adam on the derivative by JAX, with what passes 0 clipped to 0."""
    resolved, data = ei(gradient), trials()
    weights = start(resolved)
    session = Session(resolved, make_program("runtime"), data, WINDOW, weights)
    states: dict = {name: {} for name in resolved.keys.connections}
    expected = {name: dense(w) for name, w in weights.items() if name != "B"}
    for k in range(1, 7):
        by_jax = differentiate(expected, data)
        session.run(data, N_TRIALS)
        for name, value in session.gradient().items():
            assert np.any(value)
            np.testing.assert_allclose(value, by_jax[name], rtol=1e-9, atol=1e-11)
        for name, w in expected.items():
            low = 0 if name in ("e_e", "e_i") else -100
            high = 0 if name in ("i_e", "i_i") else 100
            expected[name], states[name] = adam(w, by_jax[name], states[name], k, low, high)
    for name, w in expected.items():
        np.testing.assert_allclose(session.weights[name], w, rtol=1e-9, atol=1e-9)
    assert_signs(resolved, session.weights, weights)


FROZEN = ("inputs_i", "i_i", "e_i")
OWN = {
    "e_e": {"optimizer": GRADIENT_DESCENT.with_parameters(eta=0.3, w_min=0.0)},
    "out": {"optimizer": replace(MOMENTUM.with_parameters(eta=0.05), schedule="1/k")},
    **dict.fromkeys(FROZEN, {"plastic": False}),
}


def by_hand(weights, gradients):
    """Updates by the formulas of each connection's optimizer."""
    weights, states = dict(weights), {name: {} for name in weights}
    for k, gradient in enumerate(gradients, start=1):
        for name, g in gradient.items():
            w = weights[name]
            if name == "e_e":
                weights[name] = np.clip(w - 0.3 * g, 0, 100)
            elif name == "out":
                m = 0.9 * states[name].get("m", 0.0) + g
                weights[name], states[name] = np.clip(w - 0.05 / k * m, -100, 100), {"m": m}
            else:
                high = 0.0 if name == "i_e" else 100.0
                weights[name], states[name] = adam(w, g, states[name], k, -100, high)
    return weights, {f"{s}.{name}": x for name, own in states.items() for s, x in own.items()}


@pytest.mark.devices("runtime", "cpp", "cuda", slow=("cuda",))
def test_connections_have_optimizers_of_their_own(gradient, device):
    """Gradient descent on one, momentum with a schedule on another, frozen ones, Adam on the rest.

    From a state that was kept it goes on in the same way.
    """
    resolved, data = ei(gradient, OWN, c_l2=1e-3), trials()
    weights = start(resolved)
    session = Session(resolved, make_program(device), data, WINDOW, weights)
    gradients = []
    for _ in range(4):
        saved = session.state()
        session.run(data, N_TRIALS)
        gradients.append(session.gradient())
    expected, states = by_hand(weights, gradients)
    assert {*session.optimizer_states} == {*states}
    for name in session.keys.connections:
        np.testing.assert_allclose(session.weights[name], expected[name], rtol=1e-12, atol=1e-13)
    for name, value in states.items():
        np.testing.assert_allclose(session.optimizer_states[name], value, rtol=1e-12, atol=1e-15)
    for name in FROZEN:
        np.testing.assert_array_equal(session.weights[name], weights[name])
    after = session.state()
    session.restore(saved)
    session.run(data, N_TRIALS)
    for name, value in session.state().items():
        np.testing.assert_array_equal(after[name], value)
    session.close()


@pytest.mark.slow
def test_workers_have_the_same_optimizers():
    resolved, data = ei("factored", OWN), trials(n_trials=12)
    weights = start(resolved)
    alone = Session(resolved, make_program("cpp"), data, WINDOW, weights)
    options = {"device": "cpp", "dtype": "float64", "workers": 2}
    several = ParallelSession(resolved, data, WINDOW, weights, **options)
    for session in (alone, several):
        session.run(data, 12)
        session.close()
    for name, value in alone.state().items():
        np.testing.assert_array_equal(several.state()[name], value)


def test_bptt_has_the_same_optimizers():
    resolved, data = ei("bptt", OWN), trials()
    weights = start(resolved)
    by_time = BpttSession(resolved, data, WINDOW, weights)
    by_time.run(data, N_TRIALS)
    expected, states = by_hand(weights, [by_time.gradient()])
    assert {*by_time.optimizer_states} == {*states}
    for name in by_time.keys.connections:
        np.testing.assert_allclose(by_time.weights[name], expected[name], rtol=1e-12, atol=1e-14)


@pytest.mark.devices("runtime", "cpp")
@pytest.mark.parametrize("updates", ["step", "spike"])
def test_optimizers_and_signs_without_trials(updates, device):
    rate = {"optimizer": ADAM.with_parameters(eta=0.05)}
    options = {"updates": updates, "rate_averaging": "moving", **rate}
    faster = {"inputs_e": {"optimizer": ADAM.with_parameters(eta=0.3)}, "i_i": {"plastic": False}}
    either = {"sign": 0.0, "balanced": False, "optimizer": None}
    unsigned = {f"{source}_{target}": either for source in SIGNS for target in SIGNS}
    data, results = trials(), []
    for own in ({}, faster, unsigned):
        resolved = ei("online", own, **options)
        weights = start(ei())
        session = Session(resolved, make_program(device), data, WINDOW, weights)
        session.run(data, 1)
        session.close()
        results.append(session.weights)
    signed, fast, free = results
    signs = {"e_e": 1, "e_i": 1, "i_e": -1}
    for name, sign in signs.items():
        assert np.all(sign * signed[name] >= 0)
        assert np.all(sign * fast[name] >= 0)
    assert any(np.any(sign * free[name] < 0) for name, sign in signs.items())
    np.testing.assert_array_equal(fast["i_i"], weights["i_i"])
    change, larger = (np.abs(w["inputs_e"] - weights["inputs_e"]).sum() for w in (signed, fast))
    assert larger > 2 * change


@pytest.mark.devices("runtime", "cpp")
def test_adaptive_feedback_keeps_a_sign(device):
    """Its decay of the weight comes after the optimizer's bounds."""
    excitatory = projection_optimizer("out", ADAM.with_parameters(eta=0.2), {}, "excitatory")
    options = {"out": {"sign": 1.0, "optimizer": excitatory}}
    resolved = ei("factored", options, feedback=ADAPTIVE.with_parameters(decay=0.5))
    data, weights = trials(), start(resolved)
    session = Session(resolved, make_program(device), data, WINDOW, weights)
    session.run(data, 1)
    session.close()
    assert_signs(resolved, session.weights, weights)
    assert np.any(session.weights["B"] != weights["B"])


@pytest.mark.parametrize(
    ("optimizer", "options", "sign", "message"),
    [
        ("plain", {"eta": 0.1}, "", "'p' has eta, but its optimizer 'plain' has no parameter eta"),
        ("plain", {"minimum": 0.0}, "", "'p' has minimum, .* no parameter w_min"),
        ("plain", {}, "excitatory", "'p' has sign = 'excitatory', .* no parameter w_min"),
        (ADAM, {"minimum": 1.0, "maximum": 0.5}, "", "no weight of 'p' lies between 1 and 0.5"),
        (ADAM, {"minimum": 1.0}, "inhibitory", "no inhibitory weight of 'p' lies between 1 and 0"),
        (ADAM, {"eta": -1.0}, "", "eta of 'p' must be at least 0"),
        (ADAM, {}, "positive", "unknown sign of 'p' 'positive'"),
    ],
)
def test_optimizers_that_cannot_be_are_refused(optimizer, options, sign, message):
    if optimizer == "plain":
        optimizer = replace(ADAM, name="plain", update="w = w - 0.1*g", states=(), parameters={})
    with pytest.raises(ValueError, match=message):
        projection_optimizer("p", optimizer, options, sign)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("e_e", {"optimizer": ADAM}, "has a sign that its optimizer does not keep: .*-100, 100"),
        ("e_e", {"scale": -1.0}, "scale of 'e_e' must be at least 0"),
        ("i_e", {"sign": 0.0, "optimizer": None}, "'i_e' can only be balanced with a sign"),
    ],
)
def test_signs_that_cannot_be_kept_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        ei(options={name: options})


def test_frozen_connections_have_no_traces_to_record():
    resolved, data = ei(options=OWN), trials()
    recording = record(resolved, data, start(resolved), synapses=6)
    assert recording.synapses
    assert all(synapse.target == "e" for synapse in recording.synapses)
    with pytest.raises(ValueError, match="'i 0 → i 1' does not learn: it has no trace"):
        record(resolved, data, start(resolved), synapses=[TracedSynapse("i", 0, "i", 1)])


def test_weights_of_the_other_sign_are_refused():
    resolved, data = ei(), trials()
    weights = start(resolved)
    weights["i_e"] = -weights["i_e"]
    with pytest.raises(ValueError, match="'i_e' of the weights is inhibitory, but some have the"):
        Session(resolved, make_program("runtime"), data, WINDOW, weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": GRADIENT_DESCENT}, "'w_rec' is rewired, which has signs of its own"),
        ({"sign": 1.0}, "'w_rec' is rewired, which has signs of its own"),
        ({"plastic": False}, "'w_rec' is rewired, but does not learn"),
    ],
)
def test_a_rewired_connection_learns_with_the_optimizer_of_the_network(options, message):
    resolved = standard(rewiring={"connectivity": {"w_rec": 0.3}})
    w_in, w_rec, w_out = resolved.connections
    with pytest.raises(ValueError, match=message):
        replace(resolved, connections=(w_in, replace(w_rec, **options), w_out))


def test_equal_optimizers_share_their_numbers():
    """A program in which each connection names the network's optimizer is that of none."""
    resolved, capacity = standard(), Capacity(N_STEPS, 1, 1, 1, N_TRIALS)
    same = ADAM.with_parameters(eta=ETA)
    named = replace(
        resolved, connections=tuple(replace(c, optimizer=same) for c in resolved.connections)
    )
    programs = [cpp.generate(x, capacity, build=build).generated for x in (resolved, named)]
    assert programs[0] == programs[1]
    assert len(ei().optimizers) == 3


def test_learned_parameters_have_the_optimizer_of_the_network(gradient):
    data, results = trials(), []
    for own in ({}, OWN):
        resolved = ei(gradient, own, learned={"tau_m": Learned()})
        session = Session(resolved, make_program("runtime"), data, WINDOW, start(resolved))
        session.run(data, N_TRIALS)
        results.append((session.weights, session.optimizer_states))
    for key in ("e.tau_m", "i.tau_m"):
        (weights, states), (same, same_states) = results
        np.testing.assert_array_equal(same[key], weights[key])
        np.testing.assert_array_equal(same_states[f"s.{key}"], states[f"s.{key}"])
        assert np.any(states[f"s.{key}"])
