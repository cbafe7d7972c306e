"""What a balanced network may be: weights of the closed form, locality, errors."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import Hz, ms, mV
from brian2.utils.stringtools import get_identifiers

from eprop_brian.balanced.field import effective_matrix
from eprop_brian.balanced.simulation import Simulation
from eprop_brian.balanced.spec import (
    BalancedNetwork,
    closed_form,
    learned,
    random_basis,
    random_decoder,
)
from eprop_brian.equations.balanced import BASES, FAST_LEARNING, QUANTITIES, SLOW_LEARNING
from eprop_brian.equations.teachers import VAN_DER_POL, linear_teacher
from eprop_brian.steps.runner import StepRunner
from eprop_brian.symbolic.errors import EquationError

A = np.array([[-0.5, 6.0], [-6.0, -0.5]])
N = 8
DECODER = random_decoder(2, N, 0.1)
CLOSED = closed_form(A, DECODER)
M, THETA = random_basis(DECODER, 5)
LEARNED = learned(
    VAN_DER_POL,
    DECODER,
    learns=("slow", "fast"),
    basis="tanh",
    basis_weights=M,
    basis_offset=THETA,
)


def test_decoding_vectors_have_random_directions_and_one_length():
    decoder = random_decoder(3, 2000, seed=4)
    assert np.linalg.norm(decoder, axis=0) == pytest.approx(np.full(2000, 2.5 / 2000))
    assert np.abs(decoder.mean(axis=1)).max() < 0.1 * 2.5 / 2000
    assert np.array_equal(decoder, random_decoder(3, 2000, seed=4))
    assert not np.array_equal(decoder, random_decoder(3, 2000, seed=5))


def test_weights_of_the_closed_form():
    network = closed_form(A, DECODER, mu=1e-5, nu=2e-4, lambda_r="10 Hz")
    identity = np.eye(N)
    for i in range(N):
        for j in range(N):
            d_i, d_j = DECODER[:, i], DECODER[:, j]
            assert network.fast_weights[i, j] == pytest.approx(d_i @ d_j + 1e-3 * identity[i, j])
            assert network.slow_weights[i, j] == pytest.approx(d_i @ (A @ d_j + 10 * d_j))
    assert network.threshold == pytest.approx(np.full(N, (2e-3 + 1e-3 + 0.01) / 2))
    assert effective_matrix(network, network.slow_weights) == pytest.approx(A + 10 * np.eye(2))


def test_weights_before_learning():
    network = learned(VAN_DER_POL, DECODER, mu=0.002, nu=0.001)
    assert not network.slow_weights.any()
    assert network.fast_weights == pytest.approx(DECODER.T @ DECODER + 0.002 * np.eye(N))
    assert network.threshold == pytest.approx(np.full(N, 0.0065))
    assert LEARNED.slow_weights.shape == (N, 5)


def test_dendrites_see_the_estimate_from_places_in_the_region():
    weights, offset = random_basis(DECODER, 400, (3.0, 8.0), (1.5, 0.5), seed=2)
    slopes = weights @ np.linalg.pinv(DECODER)
    assert weights == pytest.approx(slopes @ DECODER)
    size = np.linalg.norm(slopes * [1.5, 0.5], axis=1)
    assert size.min() >= 3 and size.max() <= 8
    # Each midpoint is the nearest zero of its dendrite: inside the box, or it would be of no use.
    reach = np.sum(np.abs(slopes * [1.5, 0.5]), axis=1)
    assert np.all(np.abs(offset) <= reach)


# --- locality -------------------------------------------------------------------------------------


def test_the_learning_rules_name_what_is_at_a_synapse_and_nothing_else():
    used = set.union(*(get_identifiers(rule) for rule in (SLOW_LEARNING, FAST_LEARNING)))
    known = {name for names in QUANTITIES.values() for name in names}
    # r is what psi means in the linear basis.
    assert used | {BASES["linear"].psi} == known
    assert sum(len(names) for names in QUANTITIES.values()) == len(known)
    assert set(QUANTITIES) == {"postsynaptic", "presynaptic", "synapse", "constants"}
    assert get_identifiers(SLOW_LEARNING) & set(QUANTITIES["synapse"]) == {"w_slow"}
    assert get_identifiers(FAST_LEARNING) & set(QUANTITIES["synapse"]) == {"w_fast"}


@pytest.mark.parametrize("network", [LEARNED, replace(CLOSED, learns=("slow", "fast"))])
def test_the_code_that_learns_reads_its_own_synapse_and_its_two_neurons(network):
    simulation = Simulation(network, "runtime")
    (runner,) = (
        found
        for found in simulation.program.built.brian2_network.objects
        if isinstance(found, StepRunner)
    )
    blocks = runner.step_code.blocks
    presynaptic = "dendrites_psi_pre" if network.basis == "tanh" else "neurons_r_pre"
    assert get_identifiers(blocks["learn_slow"]) == {
        *("slow_w_slow_synapse", "neurons_slow_post", "neurons_projected_error_post"),
        *(presynaptic, "control_step_size", "control_eta"),
    }
    assert get_identifiers(blocks["learn_fast"]) == {
        *("fast_w_fast_synapse", "neurons_v_post", "control_eta_fast"),
    }


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "changes", "message"),
    [
        (CLOSED, {"lambda_r": 20 * mV}, "lambda_r .*unit V, where Hz is needed"),
        (CLOSED, {"lambda_r": "20 ms"}, "lambda_r .*unit s, where Hz is needed"),
        (CLOSED, {"lambda_r": "twenty Hz"}, "lambda_r"),
        (CLOSED, {"lambda_r": 20.0}, "lambda_r .*unit 1, where Hz is needed"),
        (CLOSED, {"lambda_r": 0 * Hz}, "lambda_r must be positive"),
        (CLOSED, {"lambda_v": -1 * Hz}, "lambda_v must be one finite number, 0 or more"),
        (CLOSED, {"lambda_v": np.nan * Hz}, "lambda_v must be one finite number"),
        (CLOSED, {"lambda_v": [1, 2] * Hz}, "lambda_v must be one finite number"),
        (CLOSED, {"t_ref": "1 Hz"}, "t_ref .*unit Hz, where s is needed"),
        (CLOSED, {"delay": -1 * ms}, "delay must be one finite number, 0 or more"),
        (CLOSED, {"dt": 0 * ms}, "dt must be positive"),
        (CLOSED, {"dt": 60 * ms}, "much shorter than 1/lambda_r"),
        (CLOSED, {"lambda_v": 1e5 * Hz}, "much shorter than .*1/lambda_v"),
        (CLOSED, {"sigma": -1.0}, "sigma must be a finite number, 0 or more"),
        (CLOSED, {"sigma": np.inf}, "sigma must be a finite number"),
        (CLOSED, {"sigma": "a"}, "sigma must be a finite number"),
        (CLOSED, {"basis": "cosine"}, "unknown basis 'cosine'. There are: linear, tanh"),
        (CLOSED, {"basis": "tanh"}, r"basis_weights must have shape \(n_basis, 8\)"),
        (
            CLOSED,
            {"learns": ("slow", "medium")},
            "unknown weights that learn 'medium'. There are: slow, fast",
        ),
        (CLOSED, {"teacher": linear_teacher(np.eye(9))}, "has 9 states, at most 8"),
        (CLOSED, {"teacher": linear_teacher([[1.0]])}, r"decoder must have shape \(1, N\)"),
        (CLOSED, {"decoder": DECODER.T}, r"decoder must have shape \(2, N\).*not \(8, 2\)"),
        (CLOSED, {"decoder": DECODER[0]}, r"decoder must have shape \(2, N\)"),
        (CLOSED, {"decoder": DECODER * np.nan}, "decoder must be finite"),
        (CLOSED, {"slow_weights": np.zeros((N, 3))}, r"slow_weights must have shape \(8, 8\)"),
        (CLOSED, {"slow_weights": np.full((N, N), np.inf)}, "slow_weights must be finite"),
        (CLOSED, {"fast_weights": np.zeros(N)}, r"fast_weights must have shape \(8, 8\)"),
        (CLOSED, {"threshold": np.ones(3)}, r"threshold must have shape \(8,\)"),
        (CLOSED, {"threshold": np.zeros(N)}, "threshold must be positive"),
        (CLOSED, {"basis_weights": M}, "has neither basis_weights nor basis_offset"),
        (LEARNED, {"basis_weights": M[:, :3]}, r"must have shape \(n_basis, 8\)"),
        (LEARNED, {"basis_offset": THETA[:2]}, r"basis_offset must have shape \(5,\)"),
        (LEARNED, {"basis_offset": THETA * np.nan}, "basis_offset must be finite"),
        (LEARNED, {"basis_offset": None}, "basis_offset"),
        (LEARNED, {"gain": "k_1"}, "gain:\n    k_1\n.*'k_1'"),
        (LEARNED, {"rate": "eta_0*v"}, "rate:\n    eta_0\\*v\n.*'v'"),
        (LEARNED, {"rate": "eta_0 +"}, "cannot be read"),
        (LEARNED, {"fast_rate": "eta_0"}, "fast_rate"),
        (LEARNED, {"gain": "open(t)"}, "'open' is not a function"),
        (LEARNED, {"feedback": "r*k"}, "feedback:\n    r\\*k\n.*'r'"),
    ],
)
def test_what_is_no_network(network, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(network, **changes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: closed_form(A, DECODER, mu=-1.0), "mu must be a finite number, 0 or more"),
        (lambda: closed_form(A, DECODER, nu=np.nan), "nu must be a finite number, 0 or more"),
        (lambda: closed_form(A[:, :1], DECODER), "must be square"),
        (lambda: closed_form(A, DECODER[:1]), r"decoder must have shape \(2, N\)"),
        (lambda: closed_form(A, DECODER, lambda_r=3 * ms), "lambda_r"),
        (lambda: closed_form(A, DECODER, initial=[1.0]), "1 initial values for 2 states"),
        (lambda: learned(VAN_DER_POL, DECODER[0]), r"decoder must have shape \(K, N\)"),
        (lambda: learned(VAN_DER_POL, DECODER, mu=np.inf), "mu must be a finite number"),
    ],
)
def test_what_cannot_be_made(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_mistakes_in_a_teacher_are_those_of_its_equations():
    teacher = replace(VAN_DER_POL, model="dx/dt = -x : 1")
    with pytest.raises(EquationError, match="teacher 'van-der-pol'"):
        learned(teacher, DECODER)


def test_arrays_of_a_network_cannot_be_changed():
    given = np.array(DECODER)
    network = closed_form(A, given)
    given[:] = 0
    assert isinstance(network, BalancedNetwork)
    assert np.array_equal(network.decoder, DECODER)
    with pytest.raises(ValueError, match="read-only"):
        network.decoder[:] = 0
