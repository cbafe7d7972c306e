"""The third factor in general: the task's own signal in the place of an error."""

import numpy as np
import pytest

from eprop_brian import Inputs, LearningSignal, Network, Population, Projection, Readout
from eprop_brian.equations import ALIF, GRADIENT_DESCENT, LIF
from eprop_brian.equations.learning_signals import RANDOM
from eprop_brian.network.program import make_program
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.session import Session
from support.arrays import all_dense
from support.trials import random_trials, trials_of

N_INPUTS, N_STEPS, WINDOW, N_OUTPUTS = 6, 50, 30, 2
HIDDEN = ("w_in", "w_rec")


def network(gradient: str, readout: Readout, *, hears: bool = True) -> Network:
    """Two populations taught by a readout, which hears them or not."""
    rng = np.random.default_rng(4)
    parts = [
        Inputs(N_INPUTS, "inputs"),
        Population(LIF, 4, "lif"),
        Population(ALIF, 3, "alif"),
        readout,
        Projection("inputs", ["lif", "alif"], "w_in", scale=3.0),
        Projection(["lif", "alif"], ["lif", "alif"], "w_rec", scale=2.0),
        *([Projection(["lif", "alif"], readout.name, "w_out")] if hears else []),
        LearningSignal(
            readout.name,
            ["lif", "alif"],
            RANDOM.with_options(weights="given", matrix=rng.normal(size=(7, N_OUTPUTS))),
            "B",
        ),
    ]
    return Network(parts, gradient=gradient, c_reg=0.0, optimizer=GRADIENT_DESCENT)


def learned(net: Network, weights, trials, device: str):
    """Gradient, loss and the error of every step of one trial."""
    own = {name: w for name, w in weights.items() if name in net.resolved.keys.shapes()}
    session = Session(net, make_program(device), trials, WINDOW, own)
    outcome = session.run(trials, 1)
    error = session.program.get("readout_history.error").reshape(-1, N_OUTPUTS)[:N_STEPS]
    found = all_dense(session.gradient()), outcome.loss, np.array(error, float), session.spikes()
    session.close()
    return found


@pytest.mark.devices("runtime", "cpp")
@pytest.mark.parametrize("gradient", ["factored", "online"])
def test_the_error_as_modulator_is_e_prop_to_the_bit(gradient, device):
    supervised = network(gradient, Readout(N_OUTPUTS, "readout"))
    weights = supervised.initial_weights(1)
    trials = random_trials(2, (1, N_STEPS, N_INPUTS), N_OUTPUTS)
    wanted, loss, error, spikes = learned(supervised, weights, trials, device)
    assert spikes.sum() > 30 and loss > 0 and all(np.any(wanted[name]) for name in HIDDEN)
    assert not np.any(error[: N_STEPS - WINDOW]) and np.all(error[N_STEPS - WINDOW :])
    recorded = trials_of(trials.inputs, error[np.newaxis])
    for hears in (True, False):
        readout = Readout(N_OUTPUTS, "readout", loss="modulator")
        modulated = network(gradient, readout, hears=hears)
        found, none, sent, same = learned(modulated, weights, recorded, device)
        np.testing.assert_array_equal(same, spikes)
        np.testing.assert_array_equal(sent, error)
        for name in found:
            np.testing.assert_array_equal(found[name], wanted[name])
        assert none == 0 and {*HIDDEN} <= {*found}
    # Another signal teaches something else.
    other = trials_of(trials.inputs, -error[np.newaxis, ::-1])
    assert np.any(learned(modulated, weights, other, device)[0]["w_in"] != wanted["w_in"])


@pytest.mark.parametrize("feedback", ["random", "broadcast"])
def test_modulators_through_other_feedback_weights(feedback):
    net = network("factored", Readout(N_OUTPUTS, "readout", loss="modulator"), hears=False)
    net = net.with_part("B", feedback=feedback)
    trials = random_trials(2, (1, N_STEPS, N_INPUTS), N_OUTPUTS)
    found = learned(net, net.initial_weights(1), trials, "runtime")[0]
    assert np.any(found["w_in"]) and np.any(found["w_rec"])


def test_there_is_nothing_to_backpropagate():
    net = network("factored", Readout(N_OUTPUTS, "readout", loss="modulator"))
    trials = random_trials(2, (1, N_STEPS, N_INPUTS), N_OUTPUTS)
    with pytest.raises(ValueError, match="'readout' sends a modulator, .* needs a loss"):
        BpttSession(net, trials, WINDOW, net.initial_weights(1))


def test_other_readouts_need_a_projection():
    with pytest.raises(ValueError, match="no projection leads to readout 'readout'"):
        network("factored", Readout(N_OUTPUTS, "readout"), hears=False)
