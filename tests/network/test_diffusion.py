"""Learning signals that diffuse: gradients against the network by hand, the matrix of a grid."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms
from scipy.sparse import csc_array

from eprop_brian import LIF, Inputs, LearningSignal, Network, Population, Projection, Readout
from eprop_brian.equations.learning_signals import RANDOM, SYMMETRIC, Feedback
from eprop_brian.network.diffusion import diffusion
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.training.recording import record
from eprop_brian.training.session import Session
from support.arrays import all_dense, deviation
from support.by_hand import (
    LEARNING_WINDOW,
    PROGRAM_TOLERANCE,
    PROGRAMS,
    Case,
    N,
    assert_right,
    data,
    gradient_of,
    session_of,
)
from support.devices import on_devices

SPARSE = {"w_in": 0.7, "w_rec": 0.5, "w_out": 0.3}
_RNG = np.random.default_rng(5)
#: Not symmetric, and sparse.
K = _RNG.normal(size=(N, N)) * (_RNG.random((N, N)) < 0.4) / 2


def diffusing(feedback, *, learned=None, **options):
    feedback = feedback.with_options(diffusion=csc_array(K))
    return Case({"feedback": feedback, **options}, learned or {}, K=K)


CASES = {
    "sparse readout": diffusing(SYMMETRIC, connectivity=SPARSE),
    "in every step": replace(
        diffusing(RANDOM), periods=_RNG.integers(0, 2, (2, 60)).astype(np.int32)
    ),
    "delayed": diffusing(
        RANDOM.with_options(delay=_RNG.integers(1, 5, (N, 2)) * ms),
        learned={"tau_m": Learned()},
        delays={"w_out": 1 * ms},
    ),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", on_devices(CASES, ["delayed"]))
def test_gradient_is_the_derivative(name, program, device):
    assert_right(CASES[name], program, device)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_signal_of_which_nothing_is_kept_is_a_plain_one(program):
    """To the bit, if both are filtered where they arrive: before, sums are in another order."""
    still = diffusion((1, N), 0.0)
    assert still.nnz == 3 * N and not still.data.any()
    gradients = []
    for matrix, delays in ((None, None), (None, np.ones((N, 2), int)), (still, None)):
        case = Case({"feedback": SYMMETRIC, "connectivity": SPARSE})
        network = case.network(program).resolved
        signal = replace(network.signals[0], diffusion=matrix, delay_steps=delays)
        weights, _, _ = data(case, case.network(program))
        trials = session_of(case, program, "runtime")[1]
        changed = replace(network, signals=(signal,))
        session = Session(changed, make_program("runtime"), trials, LEARNING_WINDOW, weights)
        session.run(trials, trials.n_trials)
        gradients.append(gradient_of(session))
    plain, arriving, spread = gradients
    assert deviation(spread, plain) <= PROGRAM_TOLERANCE
    for name, gradient in arriving.items():
        np.testing.assert_array_equal(spread[name], gradient)
    if program == "online":
        assert all(np.array_equal(spread[name], gradient) for name, gradient in plain.items())


def test_recorded_signals_have_spread():
    case = CASES["sparse readout"]
    network = case.network("factored")
    trials = session_of(case, "factored", "runtime")[1]
    weights = data(case, network)[0]
    recording = record(network, trials, weights, learning_window=LEARNING_WINDOW, synapses=0)
    expected, L = [], np.zeros(N)
    for error in recording.error:
        L = K @ L + all_dense(weights)["B"] @ error
        expected.append(L)
    np.testing.assert_allclose(recording.learning_signal, expected, rtol=1e-12, atol=1e-15)


def test_a_grid_is_a_torus():
    matrix = diffusion((3, 4), 0.9).toarray()
    grid = np.arange(12.0).reshape(3, 4)
    around = sum(
        np.roll(grid, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)
    )
    np.testing.assert_allclose(matrix @ grid.ravel(), 0.1 * around.ravel(), rtol=1e-14)
    np.testing.assert_allclose(matrix.sum(axis=0), 0.9)
    # A radius that reaches around the grid is a whole round and a bit.
    np.testing.assert_allclose(diffusion((2, 2), 1.0, radius=2).sum(axis=1), 1.0)
    drawn = diffusion((3, 4), 0.9, seed=2).toarray()
    assert np.any(drawn != matrix) and np.sort(drawn.sum(axis=1)) == pytest.approx(0.9)
    np.testing.assert_array_equal(np.sort(drawn.ravel()), np.sort(matrix.ravel()))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ({"grid": (2, 3), "kept": 0.5}, "its 7 neurons, or grid.*shape is .6, 6."),
        ({"grid": (7, 1), "kept": 1.5}, "kept is the fraction"),
        ({"grid": 7, "kept": 0.5}, "numbers of rows and columns, not 7"),
        ({"grid": (7, 1)}, "needs grid and kept"),
        ({"grid": (7, 1), "kept": 0.5, "size": 1}, "needs grid and kept"),
        ("spread.npy", "a matrix .post, pre. of its 7 neurons"),
        (np.full((N, N), np.inf), "diffusion must be finite"),
    ],
)
def test_what_is_no_diffusion_is_refused(matrix, message):
    case = Case({"feedback": SYMMETRIC.with_options(diffusion=matrix)})
    with pytest.raises(ValueError, match=f"learning signal 'B'.*{message}"):
        case.network("factored")


def test_what_a_signal_that_diffuses_cannot_have_is_refused():
    case = diffusing(SYMMETRIC, c_reg=0.0)
    with pytest.raises(ValueError, match="no learning signal: leave feedback .* and diffusion"):
        case.network("bptt")
    with pytest.raises(ValueError, match="signal 'B' diffuses, which needs trials"):
        case.network("online").with_options(updates="step")
    spreading = Feedback(diffusion={"grid": (1, 4), "kept": 0.5})
    parts = [
        *(Inputs(3), Population(LIF, 4), Readout(1), Readout(1, "other")),
        *(Projection("inputs", "lif"), Projection("lif", "readout"), Projection("lif", "other")),
        LearningSignal("other", "lif"),
    ]
    with pytest.raises(ValueError, match="diffuses, so 'lif' can have no other .*'B_other_lif'"):
        Network([*parts, LearningSignal("readout", "lif", spreading)])
