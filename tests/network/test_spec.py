"""A network is checked as a whole when it is made."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import Hz, ms, mV

from eprop_brian import ADAM, ALIF, LEAKY, LIF, EquationError, Network


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neurons": []}, "needs neurons"),
        ({"neurons": [(LIF, 0)]}, "positive whole number"),
        ({"n_inputs": 1.5}, "n_inputs"),
        ({"loss": "hinge"}, "squared_error"),
        ({"loss": "softmax_cross_entropy"}, "at least 2 outputs"),
        ({"feedback": "adaptive!"}, "symmetric, random"),
        ({"gradient": "bptt"}, "factored, online"),
        ({"rate_averaging": "epoch"}, "trial, batch"),
        ({"c_reg": -1.0}, "at least 0"),
        ({"c_reg": np.nan}, "finite number"),
        ({"average_gradient": "False"}, "true or false"),
        ({"optimizer": ADAM.with_parameters(eta="abc")}, "eta"),
        ({"optimizer": ADAM.with_parameters(w_min=2.0, w_max=1.0)}, "w_min"),
        ({"readout": LEAKY.with_parameters(tau_out=30)}, "must be a time"),
        ({"readout": LEAKY.with_parameters(tau_out=0 * ms)}, "finite|positive"),
        ({"neurons": [(replace(LIF, name="inputs"), 2)]}, "cannot be called"),
        ({"dt": 1.0}, "unit"),
        ({"dt": 1 * mV}, "unit"),
        ({"dt": -1 * ms}, "positive"),
        ({"f_target": 10 * ms}, "unit"),
        ({"f_target": np.inf * Hz}, "positive and finite"),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Network(**{"n_inputs": 3, "n_outputs": 1, "neurons": [(LIF, 2)], **options})


def test_per_neuron_values_must_match_the_size():
    with pytest.raises(ValueError, match="tau_m has 2 values"):
        Network(3, 1, [(LIF.with_parameters(tau_m=[10, 20] * ms), 3)])


def test_names_shared_with_the_readout_are_refused():
    # Traces read both the neuron's and the readout's names.
    clash = ALIF.__class__(
        name="clash",
        update="v = kappa*v + I - z",
        threshold="v >= 1",
        surrogate="exp(-abs(v - 1))",
        parameters={"kappa": 0.9},
    )
    with pytest.raises(ValueError, match="kappa"):
        Network(3, 1, [(clash, 2)])


def test_a_neuron_that_cannot_be_differentiated_is_refused():
    bad = LIF.__class__(
        name="bad",
        update="v = floor(v) + I - z",
        threshold="v >= 1",
        surrogate="exp(-abs(v - 1))",
    )
    with pytest.raises(EquationError, match="floor"):
        Network(3, 1, [(bad, 2)])


def test_initial_weights():
    network = Network(40, 2, [(LIF, 60), (ALIF, 40)], readout_weights="glorot", feedback="random")
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
    network = Network(3, 1, [(LIF, 2), (LIF.with_parameters(tau_m=50 * ms), 2)])
    assert [p.name for p in network.populations] == ["lif", "lif_2"]
