"""Two receptors that do the same are one input, whatever the network's options.

The second of them doubles what it gets, so that half the weights do the same and have twice the
gradient: receptors cannot be mistaken for each other.
"""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms

from eprop_brian import GRADIENT_DESCENT, LIF, Network, Population
from eprop_brian.base.sparse import dense
from eprop_brian.network.populations import make_populations
from eprop_brian.network.program import make_program
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.session import Session
from support.arrays import deviation
from support.trials import random_trials

#: Largest deviation, relative to the largest entry of a matrix: inputs are summed in another order.
TOLERANCE = 1e-12
N_INPUTS, SIZE, N_STEPS, WINDOW = 5, 6, 60, 40
#: With names that could be mistaken for those of the program's own quantities.
RECEPTORS = {"w_in": "later", "w_rec": "trace"}
FACTORS = {"w_in": 1.0, "w_rec": 2.0, "w_out": 1.0}
TWICE = replace(
    LIF,
    update="v = alpha*v + zeta*(I_later + 2*I_trace) - v_th*z",
    receptors=(*RECEPTORS.values(),),
)
DELAYS = {"w_in": (0 * ms, 3 * ms), "w_rec": (1 * ms, 4 * ms)}
SPARSE = {"w_in": 0.6, "w_rec": 0.5}


def both(**options) -> list:
    """A network with a single input, and the same with receptors."""
    options = {"optimizer": GRADIENT_DESCENT, "connectivity": SPARSE, **options}
    one = Network.standard(N_INPUTS, 2, [(LIF, SIZE)], **options).resolved
    populations = make_populations([Population(TWICE, SIZE)], one.dt, 0.0, one.voltage_cost, {})
    connections = [replace(c, receptor=RECEPTORS.get(c.name, "")) for c in one.connections]
    return [one, replace(one, populations=populations, connections=tuple(connections))]


def scaled(weights, power):
    return {name: w * FACTORS.get(name, 1.0) ** power for name, w in weights.items()}


def weights_of(network):
    weights = network.initial_weights(2)
    return {**weights, "w_in": 3 * weights["w_in"], "w_rec": 2 * weights["w_rec"]}


@pytest.mark.devices("runtime", "cpp", "cuda", slow=("cuda",))
@pytest.mark.parametrize(
    "options",
    [
        {"gradient": "factored", "rate_averaging": "batch", "c_reg": 5.0, "delays": DELAYS},
        {"gradient": "online", "rate_averaging": "moving", "c_reg": 5.0, "connectivity": {}},
    ],
    ids=lambda options: options["gradient"],
)
def test_receptors_that_do_the_same_are_one_input(options, device):
    data = random_trials(1, (3, N_STEPS, N_INPUTS), 2)
    gradients, outcomes = [], []
    for network, power in zip(both(**options), (0, -1), strict=True):
        weights = scaled(weights_of(network), power)
        session = Session(network, make_program(device), data, WINDOW, weights)
        outcomes.append(session.run(data, data.n_trials))
        gradients.append(scaled(session.gradient(), power))
        session.close()
    assert deviation(gradients[1], gradients[0]) <= TOLERANCE
    np.testing.assert_allclose(outcomes[1].loss, outcomes[0].loss, rtol=TOLERANCE)


@pytest.mark.parametrize("updates", ["step", "spike"])
def test_traces_of_receptors_are_cut_off_in_continuous_operation(updates):
    """Weights hardly move, so that their changes are the gradient of weights that do not."""
    options = {"gradient": "online", "updates": updates, "trace_cutoff": 6 * ms}
    options |= {"connectivity": SPARSE, "rate_averaging": "moving"}
    data = random_trials(1, (1, N_STEPS, N_INPUTS), 2, p=0.1)
    changes, eta = [], 2.0**-30
    for network, power in zip(both(**options), (0, -1), strict=True):
        network = replace(network, optimizer=GRADIENT_DESCENT.with_parameters(eta=eta))
        weights = scaled(weights_of(network), power)
        session = Session(network, make_program("runtime"), data, WINDOW, weights)
        session.run(data, 1)
        session.apply_pending()
        before, after = weights, session.weights
        changes.append(
            {c: (dense(before[c]) - dense(after[c])) * FACTORS[c] ** power for c in FACTORS}
        )
        session.close()
    assert deviation(changes[1], changes[0]) <= 1e-6


def test_analog_inputs_and_backpropagation_have_receptors():
    spikes = random_trials(1, (2, N_STEPS, N_INPUTS), 2)
    values = np.random.default_rng(4).random((2, N_STEPS, N_INPUTS))
    data = Trials(values * spikes.inputs, spikes.targets, spikes.pattern, spikes.target)
    found = []
    for network, power in zip(both(), (0, -1), strict=True):
        weights = scaled(weights_of(network), power)
        session = Session(network, make_program("runtime"), data, WINDOW, weights)
        session.run(data, data.n_trials)
        whole = BpttSession(network, data, WINDOW, weights).gradient_of(data)
        found.append((scaled(session.gradient(), power), scaled(whole, power)))
    for expected, other in zip(*found, strict=True):
        assert deviation(other, expected) <= TOLERANCE


def _with(network, **receptors):
    connections = (
        replace(c, receptor=receptors.get(c.name, c.receptor)) for c in network.connections
    )
    return replace(network, connections=tuple(connections))


def test_a_connection_drives_a_receptor_that_its_targets_have():
    one, two = both()
    for network, receptors, message in (
        (two, {"w_in": "ampa"}, "projection 'w_in' drives receptor 'ampa' of 'lif', which has "),
        (two, {"w_rec": ""}, "projection 'w_rec' must say which receptor of 'lif' it drives: "),
        (one, {"w_in": "ampa"}, "'ampa' of 'lif', which has a single input without a name$"),
        (two, {"w_out": "ampa"}, "'ampa' of 'readout', which has a single input without a name$"),
    ):
        with pytest.raises(ValueError, match=message):
            _with(network, **receptors)
    with pytest.raises(ValueError, match="'lif' it drives: later, trace$"):
        replace(one, populations=two.populations)
    with pytest.raises(ValueError, match="'lif', which has later, trace$"):
        _with(two, w_in="ampa")
