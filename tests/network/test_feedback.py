"""Kinds of feedback: gradients against the network by hand, and what an update does to B."""

import warnings
from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest
from brian2 import ms

from eprop_brian.equations import ADAM, GRADIENT_DESCENT
from eprop_brian.equations.learning_signals import (
    ADAPTIVE,
    BROADCAST,
    RANDOM,
    SYMMETRIC,
    Feedback,
)
from eprop_brian.network.built import SHARE
from eprop_brian.network.learned import Learned
from eprop_brian.training.workers import ParallelSession
from support.arrays import all_dense, assert_same_state, deviation
from support.by_hand import (
    LEARNING_WINDOW,
    PROGRAM_TOLERANCE,
    PROGRAMS,
    TOLERANCE,
    Case,
    N,
    assert_right,
    data,
    gradient_of,
    reference,
    session_of,
)
from support.devices import on_devices

_RNG = np.random.default_rng(21)
GIVEN = _RNG.normal(size=(N, 2))
DELAY = _RNG.integers(1, 5, (N, 2)) * ms
SPARSE = {"w_in": 0.7, "w_rec": 0.5, "w_out": 0.6}


CASES = {
    "broadcast": Case({"feedback": BROADCAST.with_options(scale=0.7)}),
    "given": Case({"feedback": GIVEN}),
    "equation": Case({"feedback": "B*tanh(error)"}, sent=jnp.tanh),
    "equation for L": Case({"feedback": "L += tanh(error)*B"}, sent=jnp.tanh),
    "random": Case({"feedback": RANDOM.with_options(scale=0.5)}),
    "adaptive": Case({"feedback": "adaptive"}),
    "adaptive, sparse": Case({"feedback": "adaptive", "connectivity": SPARSE}),
    "delayed equation": Case(
        {"feedback": Feedback("given", signal="tanh(error)", matrix=GIVEN, delay=DELAY)},
        sent=jnp.tanh,
    ),
}

DECAY, ETA = 0.1, 1e-3
KOLEN_POLLACK = {"feedback": ADAPTIVE.with_options(decay=DECAY)}
DESCENT = {"optimizer": GRADIENT_DESCENT.with_parameters(eta=ETA)}
UPDATED = {
    "dense": Case({**KOLEN_POLLACK, **DESCENT}),
    "sparse": Case({**KOLEN_POLLACK, **DESCENT, "connectivity": SPARSE}),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", on_devices(CASES, ["delayed equation"]))
def test_gradient_is_the_derivative(name, program, device):
    assert_right(CASES[name], program, device)


def test_weights_are_drawn_as_said():
    weights = {name: case.network("online").initial_weights(3) for name, case in CASES.items()}
    assert np.all(weights["broadcast"]["B"] == 0.7)
    np.testing.assert_array_equal(weights["given"]["B"], GIVEN)
    unscaled = Case({"feedback": "random"}).network("online").initial_weights(3)["B"]
    np.testing.assert_array_equal(weights["random"]["B"], 0.5 * unscaled)
    # What learns with the readout weights is there only where they are.
    there = weights["adaptive, sparse"]["w_out"].toarray() != 0
    np.testing.assert_array_equal(weights["adaptive, sparse"]["B"].T != 0, there)


@pytest.mark.devices("runtime", "cpp")
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", UPDATED)
def test_adaptive_feedback_follows_kolen_and_pollack(name, program, device):
    """B and w_out get the same increment, which eta scales, and decay alike, which it does not."""
    case = UPDATED[name]
    session, trials = session_of(case, program, device)
    connected = np.ones((2, N), dtype=bool)
    if name == "sparse":
        connected = session.network.adjacency["w_out"].toarray()
    for _ in range(5):
        before = all_dense(session.weights)
        session.run(trials, trials.n_trials)
        after, gradient = all_dense(session.weights), gradient_of(session)
        increment = -ETA * gradient["w_out"]
        assert np.abs(increment).max() > 1e-4
        w_out = (1 - DECAY) * before["w_out"] + increment
        B = np.where(connected.T, (1 - DECAY) * before["B"] + increment.T, before["B"])
        np.testing.assert_allclose(after["w_out"], w_out, rtol=0, atol=1e-14)
        np.testing.assert_allclose(after["B"], B, rtol=0, atol=1e-14)
        # So what lies between them shrinks by the decay alone.
        apart = before["B"] - before["w_out"].T
        np.testing.assert_allclose(
            after["B"] - after["w_out"].T, (1 - DECAY) * apart, rtol=0, atol=1e-14
        )
        np.testing.assert_array_equal(after["w_out"][~connected], 0)
        np.testing.assert_array_equal(after["B"].T[~connected], 0)
        # The other matrices do not decay, and learn by the B of before the update.
        for matrix in ("w_in", "w_rec"):
            moved = before[matrix] - ETA * gradient[matrix]
            np.testing.assert_allclose(after[matrix], moved, rtol=0, atol=1e-14)
        wanted, _ = reference(case, weights=before)
        assert deviation(gradient, wanted) <= TOLERANCE
    session.close()


@pytest.mark.devices("runtime", "cpp")
@pytest.mark.parametrize("name", ["dense", "sparse"])
def test_symmetric_feedback_follows_the_readout_weights(name, device):
    options = {**DESCENT, **({"connectivity": SPARSE} if name == "sparse" else {})}
    case = Case(options, n_trials=4)
    session, trials = session_of(case, "factored", device)
    # An update between the two batches of a call; B as given by the user does not count.
    session.weights["B"] = np.zeros_like(session.weights["B"])
    session.run(trials.part(slice(0, 2)), 2)
    first = all_dense(session.weights)
    np.testing.assert_array_equal(first["B"], first["w_out"].T)
    session.run(trials.part(slice(2, 4)), 2)
    one_by_one = all_dense(session.weights)
    together, _ = session_of(case, "factored", device)
    together.run(trials, 2)
    for matrix, value in all_dense(together.weights).items():
        np.testing.assert_array_equal(value, one_by_one[matrix], err_msg=matrix)
    assert np.any(first["w_out"] != one_by_one["w_out"])


def test_a_number_that_no_update_reads_is_refused():
    rule = Feedback(parameters={"decay": 0.1})
    with pytest.raises(ValueError, match="decay of the learning signal changes nothing"):
        Case({"feedback": rule}).network("factored")


@pytest.mark.parametrize("feedback", [SYMMETRIC, Feedback("given", matrix=np.ones((7, 2)))])
def test_a_scale_that_changes_nothing_is_refused(feedback):
    with pytest.raises(ValueError, match="a feedback scale changes nothing here"):
        Case({"feedback": feedback.with_options(scale=0.5)}).network("factored")


def test_broadcast_errors_of_a_softmax_sum_to_0():
    case = Case({"feedback": "broadcast", "c_reg": 0.0}, softmax=True, n_outputs=3)
    with pytest.warns(UserWarning, match="those of a softmax sum to 0: no learning signal"):
        session, trials = session_of(case, "factored", "runtime")
    session.run(trials, trials.n_trials)
    gradient = session.gradient()
    assert np.abs(gradient["w_rec"]).max() < 1e-12 * np.abs(gradient["w_out"]).max()


@pytest.mark.parametrize(("signal", "softmax"), [("error", False), ("tanh(error)", True)])
def test_broadcast_that_says_something_is_silent(signal, softmax):
    feedback = BROADCAST.with_options(signal=signal)
    case = Case({"feedback": feedback}, softmax=softmax, n_outputs=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        case.network("factored")


@pytest.mark.parametrize("kind", ["broadcast", "random", "given"])
def test_static_feedback_stays(kind):
    case = CASES[kind]
    session, trials = session_of(case, "factored", "runtime")
    before = all_dense(session.weights)
    session.run(trials, trials.n_trials)
    np.testing.assert_array_equal(session.weights["B"], before["B"])
    assert np.any(all_dense(session.weights)["w_out"] != before["w_out"])


def test_update_rule_of_the_user_reads_increment_and_weight_before():
    """One that only B learns from, with a number of its own."""
    rule = RANDOM.with_options(update="B = B + pull*(w_before + increment - B)")
    rule = Feedback(signal=rule.signal, update=rule.update, parameters={"pull": 0.25})
    case = Case({"feedback": rule, **DESCENT})
    session, trials = session_of(case, "online", "runtime")
    before = all_dense(session.weights)
    session.run(trials, trials.n_trials)
    after = all_dense(session.weights)
    wanted = before["B"] + 0.25 * (after["w_out"].T - before["B"])
    np.testing.assert_allclose(after["B"], wanted, rtol=0, atol=1e-14)


def test_numbers_of_an_update_rule_keep_their_sign():
    rule = Feedback(update="B = B - pull**2", parameters={"pull": -0.2})
    session, trials = session_of(Case({"feedback": rule, **DESCENT}), "factored", "runtime")
    before = session.weights["B"].copy()
    session.run(trials, trials.n_trials)
    np.testing.assert_allclose(session.weights["B"], before - 0.04, rtol=0, atol=1e-14)


@cache
def trained(program, device, workers=None):
    """State after several updates of all that learns, in batches of more than one share."""
    case = Case(
        {
            "feedback": ADAPTIVE.with_options(decay=1e-2, delay=DELAY),
            "optimizer": ADAM,
            "connectivity": SPARSE,
            "rate_averaging": "batch",
        },
        {"tau_m": Learned(), "beta": Learned()},
        n_trials=2 * (SHARE + 3),
    )
    size = SHARE + 3
    if workers is None:
        session, trials = session_of(case, program, device)
    else:
        network = case.network(program)
        weights = data(case, network)[0]
        trials = session_of(case, program, "runtime")[1]
        session = ParallelSession(
            network,
            trials,
            LEARNING_WINDOW,
            weights,
            device=device,
            dtype="float64",
            workers=workers,
        )
    for _ in range(2):
        session.run(trials, size)
    state = all_dense(session.state())
    session.close()
    return state


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_devices_agree_after_updates(program):
    compiled, interpreted = trained(program, "cpp"), trained(program, "runtime")
    for name in ("w_in", "w_rec", "w_out", "B", "alif.beta", "alif.tau_m", "lif.tau_m"):
        assert deviation({name: compiled[name]}, interpreted) <= PROGRAM_TOLERANCE, name


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_gives_the_same_to_the_bit(workers):
    alone, shared = trained("factored", "cpp"), trained("factored", "cpp", workers)
    assert_same_state(shared, alone)
