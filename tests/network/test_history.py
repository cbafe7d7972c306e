"""Histories that hold a segment of a trial at a time, or numbers of fewer digits.

The backward pass of a history in segments runs the steps of each segment again. Its gradients are
those of a whole history, bit by bit.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
from brian2 import Hz, ms

from eprop_brian import ALIF, LIF, Network
from eprop_brian.equations import GRADIENT_DESCENT
from eprop_brian.equations.neurons import ADEX
from eprop_brian.network import history
from eprop_brian.network.history import history_rows
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.training.session import Session
from support.arrays import all_dense, deviation
from support.devices import on_devices
from support.trials import trials_of

N_INPUTS, N_OUTPUTS, N_STEPS, N_TRIALS, LEARNING_WINDOW = 5, 2, 50, 3, 30
#: The last segment is shorter than the others.
SEGMENT = 7
#: Largest deviation of gradients from a history in float32, relative to the largest of a matrix.
SINGLE_TOLERANCE = 1e-6
NOISY = replace(LIF, update="v = alpha*v + zeta*I - v_th*z + 0.05*v_th*randn()", name="noisy")
SIZES = {"neurons": [(LIF, 6), (ALIF, 9)]}
CASES = {
    "noise": {"neurons": [(NOISY, 11)]},
    "batch": {**SIZES, "rate_averaging": "batch"},
    "moving, learned": {**SIZES, "rate_averaging": "moving", "learned": {"tau_m": Learned()}},
    "delays": {
        **SIZES,
        "delays": {"w_in": 3 * ms, "w_rec": 4 * ms, "w_out": 1 * ms},
        "feedback": "random",
    },
    "sparse": {**SIZES, "connectivity": {"w_rec": 0.4, "w_in": 0.6}},
    "coefficients": {"neurons": [(ADEX, 8)], "weight_scale": {"w_in": 30.0, "w_rec": 10.0}},
}
#: That are compiled, too.
COMPILED = ("batch", "delays")


def network(case="batch", **options):
    chosen = {**CASES[case], "c_reg": 40.0, "f_target": 20 * Hz, **options}
    optimizer = GRADIENT_DESCENT.with_parameters(eta=1e-3)
    return Network.standard(N_INPUTS, N_OUTPUTS, optimizer=optimizer, **chosen)


def session_of(net, device="runtime"):
    rng = np.random.default_rng(3)
    inputs = rng.random((N_TRIALS, N_STEPS, N_INPUTS)) < 0.3
    targets = rng.normal(size=(N_TRIALS, N_STEPS, N_OUTPUTS))
    trials = trials_of(inputs, targets).with_noise(np.arange(N_TRIALS, dtype=np.uint64))
    weights = net.initial_weights(4)
    return Session(net, make_program(device), trials, LEARNING_WINDOW, weights), trials


def gradients_of(net, device="runtime"):
    """Of all weights and learned parameters, by name, after a batch."""
    session, trials = session_of(net, device)
    session.run(trials, N_TRIALS)
    gradients = all_dense(session.gradient())
    session.close()
    return gradients


@pytest.mark.usefixtures("users_compiler")
@pytest.mark.parametrize("case", on_devices(CASES, COMPILED))
def test_segments_give_the_gradients_of_a_whole_history(case, device):
    whole = gradients_of(network(case), device)
    parts = gradients_of(network(case, history_steps=SEGMENT), device)
    assert whole.keys() == parts.keys()
    for key, gradient in whole.items():
        assert np.abs(gradient).max() > 0, key
        np.testing.assert_array_equal(parts[key], gradient, err_msg=key)


@pytest.mark.parametrize("rows", [1, 2 * SEGMENT, N_STEPS, 10 * N_STEPS])
def test_segments_may_be_of_any_length(rows):
    whole = gradients_of(network())
    parts = gradients_of(network(history_steps=rows))
    for key, gradient in whole.items():
        np.testing.assert_array_equal(parts[key], gradient, err_msg=key)


def test_memory_is_that_of_a_segment_and_of_a_state_for_each():
    session, _ = session_of(network(history_steps=SEGMENT))
    groups = session.program.built.groups
    n_segments = -(-N_STEPS // SEGMENT)
    assert (int(groups["lif_history"].N), int(groups["lif_segments"].N)) == (
        6 * SEGMENT,
        6 * n_segments,
    )
    assert int(groups["lif_results"].N) == 6 * SEGMENT


@pytest.mark.parametrize("case", on_devices(CASES, COMPILED))
def test_a_history_in_float32_changes_the_last_digits(case, device):
    double = gradients_of(network(case), device)
    single = gradients_of(network(case, history_dtype="float32"), device)
    assert 0 < deviation(single, double) < SINGLE_TOLERANCE


@pytest.mark.devices("cuda", slow=())
def test_a_history_in_float32_on_cuda(device):
    net = network(history_dtype="float32")
    assert deviation(gradients_of(net, device), gradients_of(net)) < SINGLE_TOLERANCE


@pytest.mark.devices("cuda", slow=())
def test_cuda_keeps_whole_histories(device):
    with pytest.raises(ValueError, match="history_steps: this device runs trials side by side"):
        session_of(network(history_steps=SEGMENT), device)


def test_a_history_that_does_not_fit_is_kept_in_segments(monkeypatch):
    n_steps, net = 10_000, network().resolved

    def needed(rows):
        return 1000 * rows

    def rows_with(memory, resolved=net, can_recompute=True):
        monkeypatch.setattr(history, "available_memory", lambda: memory)
        return history_rows(resolved, n_steps, can_recompute, needed)

    assert rows_with(10_000_000) == n_steps
    said = re.escape("would need 10 MB, of which there are 5 MB: 100 of its 10000 steps")
    with pytest.warns(UserWarning, match=said):
        assert rows_with(5_000_000) == 100
    # The check of sizes refuses these, as it would without segments.
    delayed = network(delays={"w_rec": (1 * ms, 4 * ms)}).resolved
    assert rows_with(50_000) == rows_with(5_000_000, delayed) == n_steps
    assert rows_with(5_000_000, can_recompute=False) == n_steps


REFUSED = {
    "online": ({"gradient": "online"}, "history_steps is for gradient = 'factored'"),
    "no steps": ({"history_steps": 0}, "history_steps must be at least 1"),
    "each": ({"delays": {"w_rec": (1 * ms, 4 * ms)}}, "with a delay for each synapse of w_rec"),
    "double": ({"history_dtype": "float64"}, "history_dtype 'float64'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    options, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        network(**{"history_steps": SEGMENT, **options})
