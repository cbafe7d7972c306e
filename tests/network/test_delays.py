"""Delays of synapses, of readouts and of learning signals, against the network by hand.

Also what stands beside them in a step: sparse matrices, neurons that differ, a reset that is
differentiated, and the regulariser with each way of averaging the rate.
"""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms
from scipy.sparse import csc_array

from eprop_brian.equations.learning_signals import RANDOM, SYMMETRIC, Feedback
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.training.session import Session
from support.arrays import deviation
from support.by_hand import (
    C_REG,
    DT,
    F_TARGET,
    GAMMA,
    KAPPA_REG,
    LEARNING_WINDOW,
    LONGEST,
    N_INPUTS,
    N_STEPS,
    NEURONS,
    PROGRAM_TOLERANCE,
    PROGRAMS,
    T_REF_STEPS,
    TOLERANCE,
    Case,
    N,
    assert_right,
    data,
    expected,
    gradient_of,
    reference,
    run,
    session_of,
    whole_gradient,
)
from support.devices import on_devices

_RNG = np.random.default_rng(11)
W_REC = _RNG.integers(1, LONGEST, (N, N)) * ms
W_IN = _RNG.integers(0, LONGEST - 1, (N, N_INPUTS)) * ms
FEEDBACK = _RNG.integers(1, LONGEST, (N, 2)) * ms
GIVEN = Feedback(weights="given", matrix=_RNG.normal(size=(N, 2)), delay=FEEDBACK)
EVERY_PARAMETER = {name: Learned() for name in ("tau_m", "tau_a", "beta", "v_th")}
DRAWN = {"w_rec": ("1 ms", "4 ms"), "w_in": ("0 ms", "3 ms")}
SPARSE = {"w_rec": 0.5, "w_in": 0.7, "w_out": 0.6}

CASES = {
    "plain": Case(),
    "feedback": Case({"feedback": GIVEN}),
    "feedback by one time": Case({"feedback": SYMMETRIC.with_options(delay=3 * ms)}),
    "synapses": Case({"delays": {"w_rec": W_REC, "w_in": W_IN}}),
    "synapses, reset kept": Case({"delays": {"w_rec": W_REC, "w_in": W_IN}}, keep_reset=True),
    "synapses by one time": Case({"delays": {"w_rec": "3 ms", "w_in": "2 ms"}}),
    "inputs": Case({"delays": {"w_in": W_IN}}),
    "sparse and drawn": Case(
        {
            "delays": DRAWN,
            "connectivity": SPARSE,
            "feedback": RANDOM.with_options(delay=("1 ms", "4 ms")),
        }
    ),
    "sparse and given": Case({"delays": {"w_rec": W_REC}, "connectivity": {"w_rec": 0.5}}),
    # More outputs than the backward pass takes without a way over memory.
    "readout": Case({"delays": {"w_out": 1 * ms}}, n_outputs=9),
    "moving rate": Case({"rate_averaging": "moving"}),
    "rate of the batch": Case({"rate_averaging": "batch"}),
    "all": Case(
        {
            "delays": {"w_rec": W_REC, "w_in": W_IN, "w_out": 1 * ms},
            "feedback": GIVEN,
            "rate_averaging": "moving",
        },
        EVERY_PARAMETER,
        softmax=True,
        keep_reset=True,
    ),
    "all, sparse": Case(
        {
            "delays": {**DRAWN, "w_out": 1 * ms},
            "connectivity": SPARSE,
            "feedback": RANDOM.with_options(delay=("1 ms", "4 ms")),
            "rate_averaging": "batch",
        },
        EVERY_PARAMETER,
    ),
}
#: Cases to compile: together they have all there is.
COMPILED = ("sparse and given", "readout", "all", "all, sparse")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", on_devices(CASES, COMPILED))
def test_gradient_is_the_derivative(name, program, device):
    assert_right(CASES[name], program, device)


def test_simulation_has_the_derivative_of_its_loss():
    """With symmetric feedback at once, e-prop's scalar and the loss have the same derivative."""
    case = Case({"c_reg": 0.0})
    found, wanted = expected(case)[0], reference(case, whole_gradient)[0]
    assert deviation(found, wanted) <= TOLERANCE


def test_delays_matter():
    """Else the tests above could not see them."""
    plain = expected(CASES["plain"])[0]
    for name in ("feedback by one time", "synapses by one time", "inputs", "moving rate"):
        assert deviation(expected(CASES[name])[0], plain) > 0.1, name


@pytest.mark.parametrize("program", PROGRAMS)
def test_feedback_of_one_step_is_no_delay(program):
    """Given one for each pair, too; and readout weights never see the feedback's delay."""
    once = Case({"feedback": SYMMETRIC.with_options(delay=np.ones((N, 2)) * ms)})
    plain, found = (run(case, program, "runtime")[0] for case in (CASES["plain"], once))
    delayed = run(CASES["feedback by one time"], program, "runtime")[0]
    for name in plain:
        np.testing.assert_array_equal(found[name], plain[name])
    np.testing.assert_array_equal(delayed["w_out"], plain["w_out"])
    assert np.any(delayed["w_in"] != plain["w_in"])


@pytest.mark.parametrize("program", PROGRAMS)
def test_delay_of_pairs_without_feedback_changes_nothing(program):
    """The way of delayed signals, taken by signals that are not delayed."""
    matrix = np.array(GIVEN.matrix)
    matrix[:, 1] = 0.0
    delay = np.ones((N, 2)) * ms
    at_once = Case({"feedback": GIVEN.with_options(matrix=matrix, delay=None)})
    delay[:, 1] = 4 * ms
    detour = Case({"feedback": GIVEN.with_options(matrix=matrix, delay=delay)})
    found, wanted = (run(case, program, "runtime")[0] for case in (detour, at_once))
    assert deviation(found, wanted) <= PROGRAM_TOLERANCE


def test_drawn_delays_are_those_of_the_synapses():
    network = CASES["sparse and drawn"].network("online")
    for name, (low, high) in {"w_rec": (1, 4), "w_in": (0, 3)}.items():
        steps, connected = network.delay_steps[name], network.adjacency[name]
        np.testing.assert_array_equal(steps.indices, connected.indices)
        np.testing.assert_array_equal(steps.indptr, connected.indptr)
        assert {*steps.data} == {*range(low, high + 1)}
    assert {*network.resolved.signals[0].delay_steps.ravel()} == {1, 2, 3, 4}
    again = CASES["sparse and drawn"].network("factored")
    np.testing.assert_array_equal(
        again.resolved.signals[0].delay_steps, network.resolved.signals[0].delay_steps
    )


@pytest.mark.parametrize("decay", ["1 - dt/tau_out", "kappa - 0.1"])
def test_programs_agree_where_the_traces_decay_is_a_sum(decay):
    found = []
    for program in PROGRAMS:
        session, trials = session_of(CASES["feedback"], program, "runtime")
        network = session.network
        (readout,) = network.resolved.readouts
        changed = network.with_part("readout", filter=replace(readout.readout, trace_decay=decay))
        session = Session(
            changed, make_program("runtime"), trials, LEARNING_WINDOW, session.weights
        )
        session.run(trials, trials.n_trials)
        found.append(gradient_of(session))
    assert deviation(*found) <= PROGRAM_TOLERANCE


def test_delays_of_a_sparse_matrix_can_be_sparse():
    network = CASES["sparse and drawn"].network("online")
    steps = network.delay_steps["w_rec"]
    given = csc_array((steps.data.astype(float), steps.indices, steps.indptr), shape=(N, N))
    for delay in ((given, ms), given.toarray() * ms):
        found = network.with_part("w_rec", delay=delay).delay_steps["w_rec"]
        np.testing.assert_array_equal(found.data, steps.data)
        np.testing.assert_array_equal(found.indices, steps.indices)


@pytest.mark.parametrize("program", PROGRAMS)
def test_nothing_is_left_of_the_trial_before(program):
    """Spikes and signals on their way at a trial's end do not arrive in the next."""
    case = CASES["all"]
    session, trials = session_of(case, program, "runtime")
    for _ in range(2):
        session.run(trials.part(slice(1, 2)), 1, learning=False)
    alone = session.spikes()
    session.run(trials, 2, learning=False)
    np.testing.assert_array_equal(session.spikes(), alone)


@pytest.mark.parametrize("program", PROGRAMS)
def test_moving_rate_by_running_sums(program):
    """The regulariser alone, from recorded spikes and the traces' own recursion in NumPy."""
    case = Case({"rate_averaging": "moving", "feedback": Feedback("broadcast", scale=0.0)})
    network = case.network(program)
    weights, inputs, _ = data(case, network)
    spikes = expected(case)[1]
    found = run(case, program, "runtime")[0]["w_in"]
    wanted = np.zeros_like(found)
    for x, z in zip(inputs.astype(float), spikes, strict=True):
        wanted += _moving_regulariser(weights, x, z) / len(inputs)
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def _moving_regulariser(weights, x, z):
    """Sum of factor times averaged trace for the input weights, eqs. of ALIF step by step."""
    alpha, rho = np.exp(-DT / NEURONS["tau_m"]), np.exp(-DT / NEURONS["tau_a"])
    beta, v_th = NEURONS["beta"], NEURONS["v_th"]
    v, a, f, since = np.zeros(N), np.zeros(N), np.zeros(N), np.full(N, 99)
    eps_v, eps_a, average, e = (np.zeros((N, N_INPUTS)) for _ in range(4))
    before, total = np.zeros(N), np.zeros((N, N_INPUTS))
    for t in range(N_STEPS):
        v = alpha * v + weights["w_in"] @ x[t] + weights["w_rec"] @ before - v_th * before
        a = rho * a + before
        since = np.where(before > 0, 1, since + 1)
        psi = np.maximum(0, 1 - np.abs(v - v_th - beta * a) / v_th) * GAMMA / v_th
        psi *= since >= T_REF_STEPS
        eps_v, eps_a = alpha[:, None] * eps_v + x[t], rho[:, None] * eps_a + e
        e = psi[:, None] * (eps_v - beta[:, None] * eps_a)
        f = KAPPA_REG * f + (1 - KAPPA_REG) * z[t]
        average = KAPPA_REG * average + (1 - KAPPA_REG) * e
        total += C_REG * (f - F_TARGET * DT)[:, None] * average
        before = z[t]
    return total
