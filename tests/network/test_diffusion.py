"""Learning signals that diffuse: gradients against the network by hand, and the matrix of a grid."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms
from scipy.sparse import csc_array

from eprop_brian.equations.learning_signals import RANDOM, SYMMETRIC
from eprop_brian.network.diffusion import diffusion
from eprop_brian.network.learned import Learned
from support.by_hand import PROGRAMS, Case, N, assert_right, gradient_of, session_of
from support.devices import on_devices

SPARSE = {"w_in": 0.7, "w_rec": 0.5, "w_out": 0.3}
_RNG = np.random.default_rng(5)
#: Not symmetric, and sparse.
K = _RNG.normal(size=(N, N)) * (_RNG.random((N, N)) < 0.4) / 2


def diffusing(feedback, matrix=K, **options):
    learned = options.pop("learned", {})
    options = {"feedback": feedback.with_options(diffusion=csc_array(matrix)), **options}
    return Case(options, learned, K=matrix)


CASES = {
    "plain": diffusing(SYMMETRIC, connectivity=SPARSE),
    "lag": diffusing(SYMMETRIC, connectivity=SPARSE, delays={"w_out": 1 * ms}),
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
