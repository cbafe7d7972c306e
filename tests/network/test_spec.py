"""A network is checked as a whole when it is made."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import Hz, ms, mV
from scipy.sparse import csc_array

from eprop_brian import (
    ADAM,
    ADAPTIVE,
    ALIF,
    LEAKY,
    LIF,
    RANDOM,
    SYMMETRIC,
    EquationError,
    Feedback,
    Network,
    Optimizer,
    get_neuron,
)
from eprop_brian.equations.losses import SQUARED_ERROR

ONLINE = {"updates": "spike", "gradient": "online"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neurons": []}, "needs neurons"),
        ({"neurons": [(LIF, 0)]}, "positive whole number"),
        ({"neurons": [("lif", 2)]}, "not of 'lif'; get_neuron"),
        ({"neurons": [(LIF.with_parameters(tau_m=[-5, 5] * ms), 2)]}, "must be positive"),
        ({"n_inputs": None}, "n_inputs must be a positive whole number, not None"),
        ({"n_inputs": 1.5}, "n_inputs"),
        ({"loss": "hinge"}, "squared_error"),
        ({"loss": "softmax_cross_entropy"}, "at least 2 outputs"),
        ({"feedback": "adaptive!"}, "symmetric, random"),
        ({"feedback": "B*tanh(eror)"}, r"'eror' is not defined \(did you mean 'error'\?\)"),
        ({"feedback": "B**2*error"}, "proportional to B"),
        ({"feedback": "B*p"}, "'p' is not defined"),
        ({"feedback": np.ones((1, 2))}, r"shape \(1, 2\); .*\(n_recurrent, n_outputs\) = \(2, 1\)"),
        ({"feedback": np.full((2, 1), np.nan)}, "must be finite"),
        ({"feedback": [["a"], ["b"]]}, "matrix of numbers"),
        ({"feedback": RANDOM.with_options(scale="big")}, "scale of the learning signal"),
        ({"feedback": RANDOM.with_options(delay=2)}, "feedback delay must be a time"),
        ({"feedback": RANDOM.with_options(delay=0 * ms)}, "at least 1 time step"),
        ({"feedback": RANDOM.with_options(delay=[[1], [2], [3]] * ms)}, r"shape \(2, 1\)"),
        ({"feedback": ADAPTIVE.with_options(decay=1.0)}, "decay of the learning signal"),
        ({"feedback": RANDOM.with_options(update="C = B")}, "must be a statement for B or w"),
        ({"feedback": RANDOM.with_options(update="B = B + dw")}, "'dw' is not defined"),
        ({"feedback": SYMMETRIC.with_options(update="B = B/2")}, "follows the readout weights"),
        ({"feedback": Feedback(weights="given")}, "has a matrix if"),
        ({"feedback": np.ones((2, 1)) * 1j}, "numbers, real ones"),
        ({"feedback": np.ones((2, 1)) * ms}, "numbers without unit"),
        (
            {"feedback": RANDOM.with_options(signal=3)},
            "signal of the learning signal must be",
        ),
        (
            {"feedback": RANDOM.with_options(update=3)},
            "update of the learning signal must be",
        ),
        ({"feedback": None}, "feedback must be a kind .symmetric, random"),
        (
            {"feedback": Feedback(update="B = B + w", parameters={"increment": 2.0})},
            "is a name of the update itself",
        ),
        ({"loss": replace(SQUARED_ERROR, error="p - y_target")}, "'p' is not defined"),
        ({"loss": replace(SQUARED_ERROR, error="y - target")}, "'target' is not defined"),
        ({"loss": replace(SQUARED_ERROR, signal="softmax")}, "must be one of y, y_target"),
        ({"updates": "epoch"}, "batch, action, step, spike"),
        ({"updates": "step"}, "updates = 'step' needs gradient = 'online': 'factored'"),
        ({**ONLINE, "c_reg": 1.0}, "needs rate_averaging = 'moving', not 'trial'"),
        ({**ONLINE, "learned": {"tau_m": {}}}, "learned with updates = 'batch' only"),
        ({"trace_cutoff": 10 * ms}, "trace_cutoff is for updates = 'step' or 'spike'"),
        ({**ONLINE, "trace_cutoff": 10}, "trace_cutoff must be a time"),
        ({**ONLINE, "trace_cutoff": 0 * ms}, "at least 1 time step"),
        ({"kappa_reg": 1.0}, "kappa_reg must be below 1"),
        ({"delays": {"w": 1 * ms}}, "w_in, w_rec, w_out"),
        ({"delays": 3 * ms}, "delays name weight matrices"),
        ({"delays": {"w_rec": 0 * ms}}, "delay of w_rec must be at least 1 time step"),
        ({"delays": {"w_rec": 1.5 * ms}}, "whole time steps of 1"),
        ({"delays": {"w_rec": [[1, 2, 3]] * ms}}, r"array of shape \(2, 2\), not \(1, 3\)"),
        ({"delays": {"w_in": "-1 ms"}}, "not negative"),
        ({"delays": {"w_in": 1e12 * ms}}, "of 1e[+]12 steps is too long"),
        ({"delays": {"w_rec": csc_array(np.eye(2))}}, "needs its unit: .matrix, ms."),
        ({"delays": {"w_rec": (csc_array(np.eye(2)), ms)}}, "at least 1 time step"),
        ({"delays": {"w_in": "1 mV"}}, "must be a time"),
        ({"delays": {"w_in": ["1 ms", "2 mV"]}}, "must be times"),
        ({"delays": {"w_out": 2 * ms}}, "0 .* or one time step"),
        ({"learned": "tau_m"}, "learned names parameters of the neurons"),
        ({"learned": {"tau": {}}}, "no neuron has the parameter 'tau' to learn; there are"),
        ({"learned": {"tau_m": {"lowest": 1}}}, "takes minimum, maximum, eta"),
        (
            {"learned": {"tau_m": {"minimum": "5 mV"}}},
            "minimum must be one value in s, not",
        ),
        ({"learned": {"tau_m": {"minimum": "50 ms"}}}, "outside its bounds"),
        ({"learned": {"tau_m": {"minimum": "0 ms"}}}, "at least one time step"),
        ({"learned": {"tau_m": {"eta": True}}}, "eta of learned parameter 'tau_m'"),
        ({"learned": {"tau_m": {"eta": -1}}}, "eta of learned parameter 'tau_m'"),
        (
            {
                "learned": {"tau_m": {"eta": 0.1}},
                "optimizer": Optimizer("own", "w = w - rate*g", parameters={"rate": 0.1}),
            },
            "its learning rate must be called eta",
        ),
        ({"gradient": "rtrl"}, "factored, online, bptt"),
        ({"rate_averaging": "epoch"}, "trial, batch"),
        ({"c_reg": -1.0}, "at least 0"),
        ({"c_reg": np.nan}, "finite number"),
        ({"average_gradient": "False"}, "true or false"),
        ({"optimizer": ADAM.with_parameters(eta="abc")}, "eta"),
        ({"optimizer": ADAM.with_parameters(w_min=2.0, w_max=1.0)}, "w_min"),
        ({"readout": LEAKY.with_parameters(tau_out=30)}, "must be a time"),
        ({"readout": LEAKY.with_parameters(tau_out=0 * ms)}, "finite|positive"),
        ({"neurons": [(replace(LIF, name="inputs"), 2)]}, "two parts .* are called 'inputs'"),
        ({"neurons": [(replace(LIF, name="lif_later"), 2)]}, "cannot be called"),
        (
            {"neurons": [(get_neuron("lif_exp").with_parameters(tau_s="20 ms"), 2)]},
            "is not finite with(.|\n)*tau_m = 0.02(.|\n)*tau_s = 0.02",
        ),
        ({"dt": 1.0}, "unit"),
        ({"dt": 1 * mV}, "unit"),
        ({"dt": -1 * ms}, "positive"),
        ({"f_target": 10 * ms}, "unit"),
        ({"f_target": np.inf * Hz}, "positive and finite"),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Network.standard(**{"n_inputs": 3, "n_outputs": 1, "neurons": [(LIF, 2)], **options})


def test_per_neuron_values_must_match_the_size():
    with pytest.raises(ValueError, match="tau_m has 2 values"):
        Network.standard(3, 1, [(LIF.with_parameters(tau_m=[10, 20] * ms), 3)])


def test_a_neuron_that_weights_cannot_reach_is_refused():
    bad = LIF.__class__(
        name="bad",
        update="v = 0.9*v + floor(I) - z",
        threshold="v >= 1",
        surrogate="exp(-abs(v - 1))",
    )
    with pytest.raises(EquationError, match="never reaches the threshold"):
        Network.standard(3, 1, [(bad, 2)])


def test_initial_weights():
    network = Network.standard(
        40, 2, [(LIF, 60), (ALIF, 40)], readout_weights="glorot", feedback="random"
    )
    weights = network.initial_weights(0)
    assert weights["w_in"].shape == (100, 40)
    assert weights["w_rec"].shape == (100, 100)
    assert weights["w_out"].shape == (2, 100)
    assert weights["B"].shape == (100, 2)
    assert np.all(np.diag(weights["w_rec"]) == 0)
    # Standard errors of a standard deviation from 4000, 9900 and 200 samples: at most .02.
    assert weights["w_in"].std() == pytest.approx(40**-0.5, rel=0.06)
    assert weights["w_rec"].std() == pytest.approx(0.1, rel=0.04)
    assert weights["B"].std() == pytest.approx(1, rel=0.25)
    assert np.abs(weights["w_out"]).max() <= np.sqrt(6 / 102)


def test_populations_of_one_kind_get_names_of_their_own():
    network = Network.standard(3, 1, [(LIF, 2), (LIF.with_parameters(tau_m=50 * ms), 2)])
    assert [p.name for p in network.populations] == ["lif", "lif_2"]


def _threshold(values, size=4):
    """The step map of a population with some thresholds."""
    neuron = replace(LIF, parameters={**LIF.parameters, "v_th": values})
    network = Network.standard(3, 1, [(neuron, size)])
    return network.resolved.populations[0].system.step


def test_networks_of_the_same_neurons_share_what_was_derived_and_no_values():
    values = np.full(4, 0.5)
    first = _threshold(values)
    values *= 3
    again = _threshold(np.full(4, 0.5))
    assert again is first
    np.testing.assert_array_equal(again.parameters["v_th"], 0.5)
    np.testing.assert_array_equal(_threshold(values).parameters["v_th"], 1.5)
    drawn = "0.5 + 0.1*rand()"
    assert _threshold(drawn, 5).parameters["v_th"].shape == (5,)
    assert _threshold(drawn, 4).parameters["v_th"].shape == (4,)


def test_a_large_population_is_not_remembered():
    assert _threshold(0.5, 20_000) is not _threshold(0.5, 20_000)
