"""Gradients within windows: their identities, and the same by hand with explicit traces."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brian2 import ms

from eprop_brian.equations import ADAM, ALIF, GRADIENT_DESCENT, LEAKY, LIF
from eprop_brian.network.program import make_program
from eprop_brian.network.spec import Network
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.lstm import Lstm
from eprop_brian.training.lstm_windows import LstmWindows
from eprop_brian.training.network_windows import NetworkWindows
from eprop_brian.training.session import Session
from eprop_brian.training.windowed_session import WindowedSession
from eprop_brian.training.windows import (
    Boundary,
    local_gradient,
    no_links,
    true_boundary,
    windowed_gradient,
)
from support.arrays import deviation
from support.trials import trials_of

jax.config.update("jax_enable_x64", True)

TOLERANCE = 1e-10
N_TRIALS, N_STEPS, N_INPUTS, N_OUTPUTS = 3, 30, 5, 2
N_LIF, N_ALIF = 4, 5
ALPHA, RHO, KAPPA = (np.exp(-1 / tau) for tau in (12.0, 40.0, 4.0))
BETA, V_TH, GAMMA, ZETA_OUT = 0.3, 0.6, 0.4, 0.7
WINDOWS = [1, 4, 7]
#: Steps in which the error counts, at the end.
COUNTED = 20


def spiking_network(detach=("v",), **options) -> Network:
    common = {"tau_m": "12 ms", "v_th": V_TH, "gamma": GAMMA, "t_ref": "0 ms"}
    neurons = [
        (replace(LIF.with_parameters(**common), detach=detach), N_LIF),
        (replace(ALIF.with_parameters(**common, tau_a="40 ms", beta=BETA), detach=detach), N_ALIF),
    ]
    readout = LEAKY.with_parameters(tau_out="4 ms", zeta_out=ZETA_OUT)
    return Network.standard(
        N_INPUTS, N_OUTPUTS, neurons, readout=readout, optimizer=GRADIENT_DESCENT, **options
    )


def data():
    rng = np.random.default_rng(5)
    spikes = rng.random((N_TRIALS, N_STEPS, N_INPUTS)) < 0.3
    targets = rng.normal(size=(N_TRIALS, N_STEPS, N_OUTPUTS))
    n = N_LIF + N_ALIF
    weights = {
        "w_in": rng.normal(0.3, 0.4, (n, N_INPUTS)),
        "w_rec": rng.normal(0, 0.3, (n, n)) * (1 - np.eye(n)),
        "w_out": rng.normal(size=(N_OUTPUTS, n)) / 3,
    }
    return weights, spikes, targets


def batch_of(network, inputs, targets):
    counted = np.zeros((N_TRIALS, N_STEPS), bool)
    counted[:, -COUNTED:] = True
    exogenous = network.exogenous(trials_of(inputs, targets), N_STEPS)
    arrays = inputs.astype(float), targets, counted
    return (*(jnp.asarray(array) for array in arrays), exogenous)


def spiking_case(network: Network):
    weights, spikes, targets = data()
    windowed = NetworkWindows(network)
    return windowed, {n: jnp.asarray(w) for n, w in weights.items()}, (spikes, targets)


def lstm_case():
    network = LstmWindows(Lstm(N_INPUTS, 6, N_OUTPUTS, "sigmoid_cross_entropy", ADAM))
    rng = np.random.default_rng(3)
    weights = {n: 2 * w for n, w in network.initial_weights(1).items()}
    inputs = rng.random((N_TRIALS, N_STEPS, N_INPUTS))
    targets = (rng.random((N_TRIALS, N_STEPS, N_OUTPUTS)) < 0.5).astype(float)
    return network, {n: jnp.asarray(w) for n, w in weights.items()}, (inputs, targets)


CASES = {
    "spikes": lambda: spiking_case(spiking_network(c_reg=20.0)),
    "whole reset": lambda: spiking_case(spiking_network(detach=())),
    "lstm": lstm_case,
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A network, its weights, a batch, and its gradients by BPTT and of spikes stopped."""
    network, weights, trials = CASES[request.param]()
    batch = batch_of(network, *trials)

    def whole(weights):
        return network.linked(weights, no_links(network, batch[0]), *batch, local=False)[0]

    bptt = jax.jit(jax.grad(whole))(weights)
    local, crossing, _ = local_gradient(network, weights, batch)
    assert np.count_nonzero(np.asarray(crossing.spikes)) > 100
    return network, weights, batch, arrays(bptt), arrays(local)


def arrays(gradient):
    gradient = {name: np.array(g) for name, g in gradient.items()}
    if gradient["w_rec"].shape[0] == gradient["w_rec"].shape[1]:
        np.fill_diagonal(gradient["w_rec"], 0)
    return gradient


def windowed(case, window, synthesise=None):
    network, weights, batch, *_ = case
    firsts = np.arange(window, N_STEPS, window)
    run = jax.jit(lambda w: windowed_gradient(network, w, batch, firsts, synthesise)[:2])
    found, gradient = run(weights)
    return found, arrays(gradient)


def test_one_window_is_backpropagation_through_time(case):
    _, gradient = windowed(case, N_STEPS)
    assert deviation(gradient, case[3]) <= TOLERANCE


def test_windows_of_a_step_are_e_prop(case):
    _, gradient = windowed(case, 1)
    assert deviation(gradient, case[4]) <= TOLERANCE
    for name in ("w_in", "w_rec"):
        assert deviation({name: gradient[name]}, case[3]) > 1e-2


@pytest.mark.parametrize("window", WINDOWS)
def test_with_the_true_derivatives_they_are_backpropagation_through_time(case, window):
    network, weights, batch, bptt, _ = case
    true = true_boundary(network, weights, batch, np.arange(window, N_STEPS, window))
    found, gradient = windowed(case, window, lambda _: true)
    assert deviation(gradient, bptt) <= TOLERANCE
    # What is right stays right when it is learned from what comes back.
    for back, said in zip(found, true, strict=True):
        np.testing.assert_allclose(back, said, rtol=0, atol=TOLERANCE * np.abs(said).max(initial=1))


def test_without_a_synthesiser_windows_lie_between_the_two(case):
    _, gradient = windowed(case, 7)
    for name in ("w_in", "w_rec"):
        for other in case[3:]:
            assert deviation({name: gradient[name]}, other) > 1e-3


# --- e-prop as it is compiled ---------------------------------------------------------------------


def test_windows_of_a_step_are_the_compiled_program():
    options = {"c_reg": 20.0}
    network, weights, trials = spiking_case(spiking_network(**options))
    batch = batch_of(network, *trials)
    firsts = np.arange(1, N_STEPS)
    _, gradient, *_ = windowed_gradient(network, weights, batch, firsts, None)
    compiled = spiking_network(**options, gradient="factored")
    initial = {**{n: np.array(w) for n, w in weights.items()}, "B": np.array(weights["w_out"]).T}
    both = trials_of(*trials)
    session = Session(compiled, make_program("cpp"), both, COUNTED, initial)
    session.run(both, N_TRIALS)
    assert deviation(arrays(gradient), arrays(session.gradient())) <= TOLERANCE
    session.close()


# --- a session: trials whose steps are no multiple of those that are compiled ---------------------


@pytest.mark.parametrize("averaging", ["trial", "batch"])
def test_steps_after_a_trial_count_for_nothing(averaging):
    """One window is backpropagation through time, rate and voltage regulariser included."""
    options = {"c_reg": 20.0, "c_v": 2.0, "rate_averaging": averaging}
    weights, spikes, targets = data()
    network, trials = spiking_network(**options), trials_of(spikes, targets)
    initial = {**weights, "B": weights["w_out"].T}
    bptt = BpttSession(network, trials, COUNTED, initial)
    outcome = bptt.run(trials, N_TRIALS)
    windows = NetworkWindows(network)
    session = WindowedSession(windows, 0)
    given = session.in_dtype(weights)
    session.learned = session.learned._replace(weights=given)
    found = session.run(trials, COUNTED)
    changes = [
        {name: np.array(after[name]) - weights[name] for name in weights}
        for after in (session.learned.weights, bptt.weights)
    ]
    assert deviation(*changes) <= TOLERANCE
    np.testing.assert_allclose(found.rate_hz, outcome.rate.mean(), rtol=1e-12)


@pytest.mark.parametrize("name", ["periods", "advantage"])
def test_trials_that_say_what_counts_are_refused(name):
    _, spikes, targets = data()
    ones = np.ones((N_TRIALS, N_STEPS), int)
    trials = trials_of(spikes, targets, **{name: ones if name == "periods" else ones / 2})
    session = WindowedSession(NetworkWindows(spiking_network()), 4)
    with pytest.raises(ValueError, match=f"the trials have (an )?{name}, and windows count"):
        session.run(trials, COUNTED)


# --- by hand --------------------------------------------------------------------------------------


def by_hand(weights, x, targets, window, said):
    """Gradient of a trial: eligibility traces of every synapse, and learning signals by windows.

    Written from the equations of LIF and ALIF neurons (Bellec et al. 2020), with the derivatives of
    a window's end as given numbers: by v and a after the first step of the next window, and by the
    readouts before it.
    """
    w_in, w_rec, w_out = (weights[name] for name in ("w_in", "w_rec", "w_out"))
    n = len(w_rec)
    beta = BETA * (np.arange(n) >= N_LIF)
    v, a, z, y = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(N_OUTPUTS)
    psi, error, traces = [], [], []
    pre = np.zeros(N_INPUTS + n)
    eps_v, eps_a, psi_before = np.zeros((n, len(pre))), np.zeros((n, len(pre))), np.zeros(n)
    for t in range(N_STEPS):
        pre = np.concatenate([x[t], z])
        a = RHO * a + z
        v = ALPHA * v + np.concatenate([w_in, w_rec], axis=1) @ pre - V_TH * z
        eps_a = (RHO - beta * psi_before)[:, None] * eps_a + psi_before[:, None] * eps_v
        eps_v = ALPHA * eps_v + pre
        d = v - V_TH - beta * a
        psi_before = GAMMA / V_TH * np.maximum(0, 1 - np.abs(d) / V_TH)
        z = (d >= 0).astype(float)
        y = KAPPA * y + ZETA_OUT * w_out @ z
        psi.append(psi_before)
        error.append((y - targets[t]) * (t >= N_STEPS - COUNTED))
        traces.append(psi_before[:, None] * (eps_v - beta[:, None] * eps_a))
    gradient, direct = np.zeros((n, len(pre))), np.zeros(N_OUTPUTS)
    for t in reversed(range(N_STEPS)):
        if t == N_STEPS - 1:
            lam_v, lam_a, lam_y = np.zeros(n), np.zeros(n), np.zeros(N_OUTPUTS)
        elif (t + 1) % window == 0:
            lam_v, lam_a, lam_y = said[(t + 1) // window - 1]
        others = w_rec.T @ lam_v
        lam_y = error[t] + KAPPA * lam_y if (t + 1) % window else error[t] + lam_y
        lam_z = ZETA_OUT * w_out.T @ lam_y + others + lam_a
        lam_v = psi[t] * lam_z + ALPHA * lam_v
        lam_a = -beta * psi[t] * lam_z + RHO * lam_a
        direct = error[t] + KAPPA * direct
        gradient += (ZETA_OUT * w_out.T @ direct + others)[:, None] * traces[t]
    return {"w_in": gradient[:, :N_INPUTS], "w_rec": gradient[:, N_INPUTS:]}


@pytest.mark.parametrize("window", WINDOWS)
def test_it_is_the_algorithm_by_hand(window):
    network, weights, (spikes, targets) = spiking_case(spiking_network(c_reg=0.0))
    batch = batch_of(network, spikes, targets)
    firsts, rng = np.arange(window, N_STEPS, window), np.random.default_rng(9)
    n = N_LIF + N_ALIF
    v, a = rng.normal(size=(2, len(firsts), N_TRIALS, n)) * 0.3
    a[..., :N_LIF] = 0
    y = rng.normal(size=(len(firsts), N_TRIALS, N_OUTPUTS))
    # v of the LIF neurons, then v and a of the others.
    states = np.concatenate([v[..., :N_LIF], v[..., N_LIF:], a[..., N_LIF:]], axis=2)
    said = Boundary(jnp.asarray(states), jnp.asarray(y))
    _, gradient, *_ = windowed_gradient(network, weights, batch, firsts, lambda _: said)
    expected = {name: 0.0 for name in ("w_in", "w_rec")}
    for k in range(N_TRIALS):
        of_trial = [(v[i, k], a[i, k], y[i, k]) for i in range(len(firsts))]
        own = {name: np.array(w) for name, w in weights.items()}
        part = by_hand(own, spikes[k].astype(float), targets[k], window, of_trial)
        expected = {name: expected[name] + g / N_TRIALS for name, g in part.items()}
    np.fill_diagonal(expected["w_rec"], 0)
    assert deviation({name: arrays(gradient)[name] for name in expected}, expected) <= TOLERANCE


# --- what there is not ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delays", "message"),
    [
        ({"w_rec": 3 * ms}, "delays of several steps"),
        ({"w_out": 1 * ms}, "readouts with a delay"),
    ],
)
def test_what_else_crosses_windows_is_refused(delays, message):
    with pytest.raises(ValueError, match=message):
        NetworkWindows(spiking_network(delays=delays))


def test_what_windows_would_count_otherwise_is_refused():
    network = spiking_network()
    with pytest.raises(ValueError, match="has a window of 5 steps in which its loss counts"):
        NetworkWindows(network.with_part("readout", window=5 * ms))
