"""How arrays are laid out changes no result: tiles, padding, outputs, names."""

from dataclasses import replace

import numpy as np
import pytest

from eprop_brian import ALIF, LIF, Network
from eprop_brian.devices import cpp
from eprop_brian.network.build import build
from eprop_brian.network.built import Capacity
from eprop_brian.network.program import make_program
from eprop_brian.network.standard import MATRICES
from eprop_brian.steps.layout import Layout
from eprop_brian.training.session import Session
from support.trials import DELAYED, random_trials

N_IN, N_STEPS, N_TRIALS = 5, 40, 2
_32_BITS = Layout(most_numbers=2**31)


def trials(n_out):
    return random_trials(7, (N_TRIALS, N_STEPS, N_IN), n_out)


def run(neurons, n_out=2, device="cpp", **options):
    network = Network.standard(N_IN, n_out, neurons, c_reg=3.0, **options)
    weights = network.initial_weights(4)
    weights["w_in"] *= 3
    weights["w_rec"] *= 3
    data = trials(n_out)
    session = Session(network, make_program(device), data, N_STEPS, weights)
    outcome = session.run(data, N_TRIALS)
    assert outcome.rate.min() > 20
    return outcome.loss, session.gradient()


def assert_equal(found, expected):
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    for name in MATRICES:
        scale = np.abs(expected[1][name]).max()
        assert scale > 0
        np.testing.assert_allclose(found[1][name], expected[1][name], rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("options", [{}, DELAYED], ids=["at once", "delayed"])
def test_a_population_may_take_several_tiles_the_last_one_shorter(monkeypatch, options):
    neurons = [(LIF, 77), (ALIF, 37)]
    expected = run(neurons, gradient="online", **options)
    monkeypatch.setattr(cpp, "_TILE_BYTES", 1)
    assert_equal(run(neurons, **options), expected)


def test_results_of_a_tile_are_as_wide_as_the_tile(monkeypatch):
    monkeypatch.setattr(cpp, "_TILE_BYTES", 1)
    neurons = [(LIF, 77), (ALIF, 37)]
    session_width, tile = 80, 32
    assert session_width % tile
    capacity = Capacity(N_STEPS, N_TRIALS, 1, N_STEPS, N_TRIALS)
    built = make_program("cpp")(Network.standard(N_IN, 2, neurons), capacity).built
    results = built.groups["lif_results"].N
    assert results == tile * N_STEPS


@pytest.mark.devices("cpp", "runtime", slow=())
def test_more_outputs_than_are_summed_at_once(device):
    neurons = [(ALIF, 6)]
    assert_equal(run(neurons, 11, device), run(neurons, 11, gradient="online"))


@pytest.mark.parametrize("gradient", ["factored", "online"])
@pytest.mark.parametrize("name", ["B_0", "psi_0", "L_0", "filtered_error_1", "w_0", "lambda__1"])
def test_a_parameter_may_have_any_name(name, gradient):
    values = tuple(np.linspace(0.8, 1.0, 5))
    update = ALIF.update.replace("v = alpha*v", "v = alpha*{}*v")
    assert "{}" in update
    found, expected = (
        run(
            [
                (
                    replace(
                        ALIF,
                        update=update.format(parameter),
                        parameters={**ALIF.parameters, parameter: values},
                    ),
                    5,
                )
            ],
            gradient=gradient,
        )
        for parameter in (name, "harmless")
    )
    assert_equal(found, expected)


def test_more_than_a_device_can_index_is_refused():
    capacity = Capacity(n_steps=10**9, n_patterns=1, n_targets=1, target_steps=1, n_trials=1)
    with pytest.raises(ValueError, match="spikes of 3 lif in 1000000000 steps are too many"):
        build(Network.standard(2, 1, [(LIF, 3)]), capacity, object, layout=_32_BITS)
