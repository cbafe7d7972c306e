"""Populations that go through a trial from its last step to its first."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from brian2 import ms

from eprop_brian import ALIF, LEAKY, LIF, Network, record
from eprop_brian.base.sparse import dense
from eprop_brian.equations.learning_signals import RANDOM
from eprop_brian.equations.losses import policy_gradient
from eprop_brian.network.parts import (
    Agent,
    Inputs,
    LearningSignal,
    Population,
    Projection,
    Readout,
)
from eprop_brian.network.program import make_program
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.recording import record_outputs
from eprop_brian.training.session import Session
from eprop_brian.training.unrolled import Unrolled
from support.devices import on_devices

N_INPUTS, N_OUTPUTS, N_STEPS, WINDOW = 6, 3, 40, 30
#: They name the state whose reset they leave out of the derivative: JAX then does so too.
FAST = replace(LIF, detach=("v",))
SLOW = replace(ALIF.with_parameters(tau_a=50 * ms), detach=("v",))
#: A readout without a memory does not tell one direction from the other.
FORGETFUL = LEAKY.with_parameters(tau_out=1e-3 * ms)


def one_way(reverse_time, **options):
    """Two kinds of neurons that go through trials in the same direction."""
    both = ["lif", "alif"]
    return Network(
        [
            Inputs(N_INPUTS),
            Population(FAST, 5, "lif", reverse_time=reverse_time),
            Population(SLOW, 4, "alif", reverse_time=reverse_time),
            Readout(N_OUTPUTS, filter=FORGETFUL),
            Projection("inputs", both, "w_in", scale=3.0),
            Projection(both, both, "w_rec"),
            Projection(both, "readout", "w_out"),
            LearningSignal("readout", both, name="B"),
        ],
        c_reg=0.5,
        **options,
    )


def parts(**population):
    """One population that goes forwards and two that go backwards, and a bias of the readout."""
    back = ["back", "slow"]
    return [
        Inputs(N_INPUTS),
        Inputs(1, "bias", constant=True),
        Population(FAST, 5, "forth"),
        Population(FAST, 4, "back", reverse_time=True, **population),
        Population(SLOW, 4, "slow", reverse_time=True),
        Readout(N_OUTPUTS, loss="softmax_cross_entropy"),
        Projection("inputs", ["forth", *back], "w_in", scale=3.0, delay=2 * ms),
        Projection("forth", "forth", "w_forth"),
        Projection(back, back, "w_back", delay=(1 * ms, 4 * ms)),
        Projection(["forth", *back], "readout", "w_out"),
        Projection("bias", "readout", "w_bias"),
        LearningSignal("readout", ["forth", *back], name="B"),
    ]


def trials(analog=False, seed=1):
    rng = np.random.default_rng(seed)
    inputs = rng.random((4, N_STEPS, N_INPUTS))
    inputs = np.where(inputs < 0.2, 3 * inputs, 0.0) if analog else inputs < 0.2
    targets = rng.dirichlet(np.ones(N_OUTPUTS), (4, N_STEPS))
    each = np.arange(4)
    return Trials(inputs, targets, each, each)


def mirrored(data):
    return replace(data, inputs=data.inputs[:, ::-1], targets=data.targets[:, ::-1])


def learned(network, data, weights, device, window=WINDOW):
    """What an update of all trials makes of a network."""
    session = Session(network, make_program(device), data, window, weights)
    outcome = session.run(data, data.n_trials)
    result = outcome, session.gradient(), session.spikes()
    session.close()
    return result


def derivative(network, data, weights):
    """The derivative of the losses, with spikes stopped on their way to other neurons."""
    unrolled = Unrolled(network, WINDOW, np.float64, local=True)
    with jax.enable_x64(True):
        given = {name: jax.numpy.asarray(dense(weights[name])) for name in unrolled.masks}
        batch = data.inputs, data.targets, np.zeros((data.n_trials, 0), np.int32)
        found, _ = jax.grad(unrolled.objective, has_aux=True)(given, *batch)
    return {name: np.where(unrolled.masks[name], g, 0.0) for name, g in found.items()}


@pytest.mark.devices("runtime")
def test_in_reverse_time_is_forwards_on_mirrored_trials(device):
    forwards, backwards = one_way(False), one_way(True)
    weights, data = forwards.initial_weights(3), trials()
    expected, gradient, spikes = learned(forwards, mirrored(data), weights, device, N_STEPS)
    outcome, found, seen = learned(backwards, data, weights, device, N_STEPS)
    assert spikes.any()
    np.testing.assert_array_equal(seen, spikes[::-1])
    np.testing.assert_array_equal(outcome.rates, expected.rates)
    np.testing.assert_allclose(outcome.loss, expected.loss, rtol=1e-13)
    for name, value in gradient.items():
        assert np.any(value)
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("analog", on_devices([False, True], compiled=[True]))
def test_both_directions_learn_by_the_derivative_of_the_loss(analog, device):
    """Against JAX: with delays, a regulariser, and a bias of the readout."""
    network, data = Network(parts(), c_reg=0.5).resolved, trials(analog)
    weights = network.initial_weights(3)
    outcome, gradient, spikes = learned(network, data, weights, device)
    assert all(spikes[:, where].any() for where in network.slices.values())
    expected = derivative(network, data, weights)
    assert gradient.keys() == expected.keys()
    for name, value in gradient.items():
        assert np.any(value)
        np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=1e-12)
    witness = BpttSession(network, data, WINDOW, weights)
    same = witness.run(data, data.n_trials, learning=False)
    np.testing.assert_allclose(outcome.loss, same.loss, rtol=1e-12)
    np.testing.assert_allclose(outcome.output, same.output, rtol=1e-12)
    np.testing.assert_array_equal(spikes, witness.spikes())


@pytest.mark.devices("runtime")
def test_the_steps_of_a_segment_run_again(device):
    whole = Network(parts()[:-4] + late_free()).resolved
    weights, data = whole.initial_weights(3), trials()
    _, expected, _ = learned(whole, data, weights, device)
    _, found, _ = learned(replace(whole, history_steps=7), data, weights, device)
    for name, value in expected.items():
        assert np.any(value)
        np.testing.assert_array_equal(found[name], value)


def late_free():
    """The last parts, with recurrent synapses of one delay."""
    back, readout, bias, signal = parts()[-4:]
    return [replace(back, delay=None), readout, bias, signal]


def test_readouts_have_the_differences_of_the_loss():
    network, data = Network(parts()).resolved, trials()
    weights = network.initial_weights(3)
    _, gradient, _ = learned(network, data, weights, "runtime")
    session = Session(network, make_program("runtime"), data, WINDOW, weights, learning=False)
    for k, j in ((0, 1), (1, 7), (2, 11)):
        losses = []
        for change in (1e-5, -1e-5):
            changed = weights["w_out"].copy()
            changed[k, j] += change
            session.weights["w_out"] = changed
            losses.append(session.run(data, data.n_trials, learning=False).loss.mean())
        # Losses of a softmax are means over the learning window.
        difference = (losses[0] - losses[1]) / 2e-5 * WINDOW
        np.testing.assert_allclose(gradient["w_out"][k, j], difference, rtol=1e-6)
    session.close()


def wrong(**changes):
    """The parts, of which those that are named are other ones, and further ones."""
    changed = []
    for part in parts():
        name = getattr(part, "name", "")
        changed.append(changes.pop(name, part))
    return [*changed, *changes.values()]


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"gradient": "online"}, "'back' has reverse_time, which gradient = 'online' cannot"),
        (
            {"more": Projection("forth", "back")},
            {},
            "'w_forth_back' connects 'forth', which goes forwards .* with 'back'",
        ),
        (
            {"w_out": Projection(["forth", "back", "slow"], "readout", "w_out", delay=1 * ms)},
            {},
            "leave the delays of projections to readouts away",
        ),
        (
            {"w_out": Projection(["forth", "back", "slow"], "readout", "w_out", reads="v")},
            {},
            "'w_out' can have neither `reads` nor a synapse",
        ),
        (
            {"more": Projection("inputs", "readout", "w_skip")},
            {},
            "'w_skip' can lead there from populations and constant inputs alone",
        ),
        (
            {
                "B": LearningSignal(
                    "readout",
                    ["forth", "back", "slow"],
                    RANDOM.with_options(delay="2 ms"),
                    "B",
                )
            },
            {},
            "'B' is delayed, but 'back' has reverse_time",
        ),
        (
            {"back": Population(FAST, 4, "back", reverse_time="yes")},
            {},
            "'back': reverse_time is true or false, not 'yes'",
        ),
    ],
)
def test_what_cannot_go_both_ways_is_refused(changes, options, message):
    with pytest.raises(ValueError, match=message):
        Network(wrong(**changes), **options)


def test_an_agent_has_no_reverse_time():
    actor = [
        Readout(2, "policy", loss=policy_gradient()),
        Readout(1, "value"),
        *(Projection("back", name) for name in ("policy", "value")),
        LearningSignal("policy", "back"),
        Agent(),
    ]
    first = [Inputs(4), Population(LIF, 5, "back", reverse_time=True), Projection("inputs", "back")]
    with pytest.raises(ValueError, match="what is still to come depends on its actions"):
        Network([*first, *actor])


def test_objects_of_brian2_and_recordings_are_refused():
    network, data = Network(parts()), trials()
    with pytest.raises(ValueError, match="'back' has reverse_time, and Brian2's clocks run"):
        network.to_brian2(data)
    with pytest.raises(ValueError, match="'back' has reverse_time, so the traces of the trial"):
        record(network, data, network.initial_weights(0))


def test_inputs_spikes_and_outputs_of_a_trial_are_recorded():
    """As the recording of the mirrored trial with all traces has them."""
    weights, data = one_way(False).initial_weights(3), trials()
    expected = record(one_way(False), mirrored(data), weights, index=2)
    found = record_outputs(one_way(True), data, weights, index=2)
    assert found.spikes.any()
    for name in ("inputs", "spikes", "y", "output", "target"):
        np.testing.assert_allclose(found[name].values, expected[name].values[::-1], rtol=1e-12)
        assert found[name].members == expected[name].members
    np.testing.assert_array_equal(found.time, expected.time)
    assert found.counts.all()


def test_a_description_says_which_way_neurons_go():
    assert "4 back, in reverse time" in str(Network(parts()))
