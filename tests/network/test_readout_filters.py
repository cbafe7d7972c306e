"""Readouts that filter eligibility traces in the same way, and spikes each in its own."""

import numpy as np
import pytest

from eprop_brian import LIF, Inputs, LearningSignal, Network, Population, Projection, Readout
from eprop_brian.equations import GRADIENT_DESCENT
from eprop_brian.equations.readouts import LEAKY
from eprop_brian.network.program import make_program
from eprop_brian.training.session import Session
from support.readouts import SMALL
from support.trials import random_trials

N_STEPS = 30
TRIALS = random_trials(1, (2, N_STEPS, 5), 2, n_targets=2)


def network(filters, gradient):
    return Network(
        [
            Inputs(5),
            Population(LIF, 4, "lif"),
            *(Readout(1, f"r{k}", filter=own) for k, own in enumerate(filters)),
            Projection("inputs", "lif", scale=3.0),
            *(Projection("lif", f"r{k}", f"w{k}") for k in range(len(filters))),
            *(LearningSignal(f"r{k}", "lif", "random") for k in range(len(filters))),
        ],
        gradient=gradient,
        optimizer=GRADIENT_DESCENT,
    )


def learned(net, weights, device="runtime"):
    session = Session(net, make_program(device), TRIALS, N_STEPS, weights)
    outcome = session.run(TRIALS, 2)
    gradient = session.gradient()
    session.close()
    return outcome.loss.mean(), gradient


@pytest.mark.devices("runtime", "cpp")
@pytest.mark.parametrize("gradient", ["factored", "online"])
def test_each_readout_learns_by_its_own_filter(gradient, device):
    """Against finite differences, which are exact for a readout's weights and a squared error."""
    net = network([LEAKY, SMALL], gradient)
    weights = net.initial_weights(1)
    _, found = learned(net, weights, device)
    for name in ("w0", "w1"):
        losses = []
        for change in (0.5, -0.5):
            moved = np.array(weights[name])
            moved[0, 2] += change
            losses.append(learned(net, {**weights, name: moved})[0])
        np.testing.assert_allclose(found[name][0, 2], losses[0] - losses[1], rtol=1e-9)


def test_the_order_of_readouts_does_not_matter():
    one, other = network([LEAKY, SMALL], "factored"), network([SMALL, LEAKY], "factored")
    weights = one.initial_weights(1)
    mirrored = {"w0": "w1", "w1": "w0", "B_r0_lif": "B_r1_lif", "B_r1_lif": "B_r0_lif"}
    swapped = {name: weights[mirrored.get(name, name)] for name in weights}
    exchanged = TRIALS.targets[..., ::-1]
    session = Session(other, make_program("runtime"), TRIALS, N_STEPS, swapped)
    session.run(type(TRIALS)(TRIALS.inputs, exchanged, TRIALS.pattern, TRIALS.target), 2)
    found = session.gradient()
    session.close()
    _, expected = learned(one, weights)
    for name, value in expected.items():
        assert np.any(value)
        np.testing.assert_allclose(found[mirrored.get(name, name)], value, rtol=1e-12)
