"""Readouts that take a step for several of the network."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from brian2 import ms

from eprop_brian import ALIF, LEAKY, LIF, Network, record
from eprop_brian.base.sparse import dense
from eprop_brian.equations.learning_signals import RANDOM
from eprop_brian.network.parts import Inputs, LearningSignal, Population, Projection, Readout
from eprop_brian.network.program import make_program
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.recording import record_outputs
from eprop_brian.training.session import Session
from eprop_brian.training.unrolled import Unrolled

N_INPUTS, N_OUTPUTS, N_STEPS, WINDOW, EVERY = 6, 3, 40, 25, 5
LENGTHS = np.array([30, 40, 10, 25])
TAU = 15 * ms
FAST = replace(LIF, detach=("v",))
SLOW = replace(ALIF.with_parameters(tau_a=50 * ms), detach=("v",))


def parts(every=EVERY * ms, tau=TAU, **signal):
    """Populations in both directions, and a readout of frames."""
    both = ["forth", "back"]
    return [
        Inputs(N_INPUTS),
        Inputs(1, "bias", constant=True),
        Population(FAST, 5, "forth"),
        Population(SLOW, 4, "back", reverse_time=True),
        Readout(
            N_OUTPUTS,
            loss="softmax_cross_entropy",
            filter=LEAKY.with_parameters(tau_out=tau),
            every=every,
        ),
        Projection("inputs", both, "w_in", scale=3.0),
        Projection("forth", "forth", "w_forth"),
        Projection("back", "back", "w_back"),
        Projection(both, "readout", "w_out"),
        Projection("bias", "readout", "w_bias"),
        LearningSignal("readout", both, name="B", **signal),
    ]


def trials(seed=1, lengths=LENGTHS):
    rng = np.random.default_rng(seed)
    inputs = rng.random((4, N_STEPS, N_INPUTS)) < 0.2
    targets = rng.dirichlet(np.ones(N_OUTPUTS), (4, N_STEPS))
    each = np.arange(4)
    return Trials(inputs, targets, each, each, lengths=lengths)


def frame_by_frame(spikes, weights):
    """The readout's equation, frame by frame."""
    kappa, y, outputs = np.exp(-EVERY * ms / TAU), np.zeros(N_OUTPUTS), []
    for frame in spikes.reshape(-1, EVERY, spikes.shape[1]):
        arrived = weights["w_out"] @ frame.sum(axis=0) + EVERY * weights["w_bias"][:, 0]
        y = kappa * y + arrived
        outputs.append(y)
    return np.array(outputs)


@pytest.mark.devices("runtime", "cpp", "cuda")
def test_a_readout_of_frames_sums_spikes_and_learns_by_the_derivative(device):
    """Against its equation, and its gradient against JAX."""
    network, data = Network(parts(), c_reg=0.5).resolved, trials()
    weights = network.initial_weights(3)
    session = Session(network, make_program(device), data, WINDOW, weights)
    outcome = session.run(data, data.n_trials)
    gradient, spikes = session.gradient(), session.spikes()
    session.close()
    assert spikes.shape == (LENGTHS[-1], 9) and spikes.any()
    # The last trial: five frames, which all are in the window.
    y = frame_by_frame(spikes, weights)
    p = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    targets = data.targets[-1, EVERY - 1 : LENGTHS[-1] : EVERY]
    np.testing.assert_allclose(outcome.output[-1], p.mean(axis=0), rtol=1e-12)
    loss = -(targets * np.log(p)).sum(axis=1).mean()
    np.testing.assert_allclose(outcome.loss[-1], loss, rtol=1e-12)
    unrolled = Unrolled(network, WINDOW, np.float64, local=True)
    with jax.enable_x64(True):
        given = {name: jax.numpy.asarray(dense(weights[name])) for name in unrolled.masks}
        batch = data.inputs, data.targets, np.zeros((4, 0), np.int32)
        found, _ = jax.grad(unrolled.objective, has_aux=True)(given, *batch, lengths=data.lengths)
    for name, value in gradient.items():
        assert np.any(value)
        expected = np.where(unrolled.masks[name], found[name], 0.0)
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)
    witness = BpttSession(network, data, WINDOW, weights)
    same = witness.run(data, data.n_trials, learning=False)
    np.testing.assert_allclose(outcome.loss, same.loss, rtol=1e-12)
    np.testing.assert_allclose(outcome.output, same.output, rtol=1e-12)


def test_readouts_hold_still_between_frames():
    network, data = Network(parts()).resolved, trials()
    weights = network.initial_weights(3)
    session = Session(network, make_program("runtime"), data, WINDOW, weights, learning=False)
    session.run(data, 1, learning=False)
    y, spikes = session.readouts(), session.spikes()
    session.close()
    expected = frame_by_frame(spikes, weights)
    np.testing.assert_allclose(y[EVERY - 1 :: EVERY], expected, rtol=1e-12)
    np.testing.assert_array_equal(y[: EVERY - 1], 0)
    np.testing.assert_array_equal(y[EVERY : 2 * EVERY - 1], np.tile(y[EVERY - 1], (EVERY - 1, 1)))


def test_recorded_outputs_are_those_of_the_frame_in_all_its_steps():
    network, data = Network(parts()), trials()
    recording = record_outputs(network, data, network.initial_weights(3), index=3)
    assert recording.n_steps == LENGTHS[-1]
    expected = frame_by_frame(recording.spikes, network.initial_weights(3))
    np.testing.assert_allclose(recording.y, np.repeat(expected, EVERY, axis=0), rtol=1e-12)
    np.testing.assert_allclose(recording.output.sum(axis=1), 1, rtol=1e-12)


def test_answers_of_frames():
    """Periods say which frames count for which answer."""
    network, data = Network(parts()).resolved, trials(lengths=None)
    weights = network.initial_weights(3)
    answers = np.repeat(np.arange(1, N_STEPS // EVERY + 1), EVERY)
    data = replace(data, periods=np.tile(answers, (4, 1)), n_answers=None)
    session = Session(network, make_program("runtime"), data, N_STEPS, weights)
    outcome, spikes = session.run(data, 4), session.spikes()
    session.close()
    y = frame_by_frame(spikes, weights)
    p = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    assert outcome.output.shape == (4, N_STEPS // EVERY, N_OUTPUTS)
    np.testing.assert_allclose(outcome.output[-1], p, rtol=1e-12)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            lambda: Network(parts()[:-1] + [Readout(2, "other")]),
            "'readout' and 'other' take their steps every 5 and 1 of the network",
        ),
        (
            lambda: Network(
                parts(feedback=RANDOM.with_options(delay="3 ms"))[:-1]
                + [LearningSignal("readout", "forth", RANDOM.with_options(delay="3 ms"), "B")]
            ),
            "takes a step every 5 of the network, but learning signal 'B' is delayed",
        ),
        (lambda: Network(parts(every=2.5 * ms)), "every of readout 'readout'"),
    ],
)
def test_what_frames_cannot_have_is_refused(network, message):
    with pytest.raises(ValueError, match=message):
        network()


def test_traces_step_by_step_are_refused():
    forwards = [replace(p, reverse_time=False) if isinstance(p, Population) else p for p in parts()]
    with pytest.raises(ValueError, match="gradient = 'online' filters the traces of synapses in"):
        Network(forwards, gradient="online")
    network = Network(forwards)
    with pytest.raises(ValueError, match="takes a step every 5 of the network, so the traces"):
        record(network, trials(), network.initial_weights(0))


def test_trials_must_have_whole_frames():
    network = Network(parts()).resolved
    odd = trials(lengths=np.array([30, 40, 12, 25]))
    with pytest.raises(ValueError, match="a trial has 12 steps: trials must have whole frames"):
        Session(network, make_program("runtime"), odd, WINDOW, network.initial_weights(3))
