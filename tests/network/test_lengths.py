"""Trials of different length in one batch."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from brian2 import ms

from eprop_brian import ALIF, LIF, Network, record
from eprop_brian.base.sparse import dense
from eprop_brian.network.learned import Learned
from eprop_brian.network.parts import Inputs, LearningSignal, Population, Projection, Readout
from eprop_brian.network.program import make_program
from eprop_brian.tasks.trials import Trials, join_trials
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.session import Session
from eprop_brian.training.unrolled import Unrolled
from eprop_brian.training.workers import ParallelSession
from support.devices import on_devices

N_INPUTS, N_OUTPUTS, N_STEPS, WINDOW = 6, 3, 40, 25
#: Longer and shorter than the learning window, one after the other; the longest has all steps.
LENGTHS = np.array([33, 40, 9, 26])
FAST = replace(LIF, detach=("v",))
SLOW = replace(ALIF.with_parameters(tau_a=50 * ms), detach=("v",))


def both_ways(**options):
    """Populations in both directions, with delays and a parameter that learns."""
    all_ = ["forth", "back"]
    return Network(
        [
            Inputs(N_INPUTS),
            Population(FAST, 5, "forth"),
            Population(SLOW, 4, "back", learned={"tau_a": Learned()}, reverse_time=True),
            Readout(N_OUTPUTS, loss="softmax_cross_entropy"),
            Projection("inputs", all_, "w_in", scale=3.0, delay=2 * ms),
            Projection("forth", "forth", "w_forth", delay=(1 * ms, 4 * ms)),
            Projection("back", "back", "w_back"),
            Projection(all_, "readout", "w_out"),
            LearningSignal("readout", all_, name="B"),
        ],
        **{"c_reg": 0.5, **options},
    )


def one_way(gradient="factored", **options):
    """The usual network, whose readouts see spikes a step later."""
    neurons = [(FAST, 5), (SLOW, 4)]
    options = {"gradient": gradient, "delays": {"w_out": "1 ms"}, "c_reg": 0.5, **options}
    return Network.standard(N_INPUTS, N_OUTPUTS, neurons, weight_scale={"w_in": 3.0}, **options)


NETWORKS = {
    "both ways": both_ways,
    "one way": one_way,
    "online": lambda: one_way("online"),
}


def trials(lengths=LENGTHS, seed=1, analog=False):
    rng = np.random.default_rng(seed)
    n = len(LENGTHS)
    inputs = rng.random((n, N_STEPS, N_INPUTS))
    inputs = np.where(inputs < 0.2, 3 * inputs, 0.0) if analog else inputs < 0.2
    targets = rng.dirichlet(np.ones(N_OUTPUTS), (n, N_STEPS))
    each = np.arange(n)
    return Trials(inputs, targets, each, each[::-1], lengths=lengths)


def learned(network, data, weights, device, window=WINDOW):
    """Outcome and gradient of an update from all trials, and the spikes of the last."""
    session = Session(network, make_program(device), data, window, weights)
    outcome = session.run(data, data.n_trials)
    result = outcome, session.gradient(), session.spikes()
    session.close()
    return result


@pytest.mark.parametrize("name", on_devices(NETWORKS, compiled=["both ways"]))
def test_a_trial_in_a_batch_is_the_trial_alone(name, device):
    network, data = NETWORKS[name]().resolved, trials().part(slice(1, 4))
    weights = network.initial_weights(3)
    session = Session(network, make_program(device), data, WINDOW, weights)
    outcome = session.run(data, data.n_trials)
    gradient = session.gradient()
    spikes = session.spikes()
    session.close()
    total = {}
    for k, length in enumerate(data.steps):
        alone, own, seen = learned(network, data.alone(k), weights, "runtime", min(WINDOW, length))
        np.testing.assert_allclose(outcome.loss[k], alone.loss[0], rtol=1e-12)
        np.testing.assert_allclose(outcome.output[k], alone.output[0], rtol=1e-12)
        np.testing.assert_allclose(outcome.rates[k], alone.rates[0], rtol=1e-12)
        for key, value in own.items():
            total[key] = total.get(key, 0.0) + value / data.n_trials
    np.testing.assert_array_equal(spikes, seen)
    for key, value in total.items():
        assert np.any(value)
        np.testing.assert_allclose(gradient[key], value, rtol=1e-9, atol=1e-12)


@pytest.mark.devices("runtime")
def test_trials_that_all_have_all_steps_are_trials_without_lengths(device):
    network = both_ways().resolved
    weights = network.initial_weights(3)
    data, plain = trials(np.full(4, N_STEPS), analog=True), trials(None, analog=True)
    outcome, gradient, _ = learned(network, data, weights, device)
    expected, same, _ = learned(network, plain, weights, device)
    np.testing.assert_array_equal(outcome.loss, expected.loss)
    np.testing.assert_array_equal(outcome.output, expected.output)
    for name, value in same.items():
        np.testing.assert_array_equal(gradient[name], value)


@pytest.mark.parametrize("average_gradient", [False, True])
def test_lengths_have_the_derivative_of_the_loss(average_gradient):
    """Against JAX, which stops spikes on their way to other neurons."""
    network, data = both_ways(average_gradient=average_gradient).resolved, trials(analog=True)
    # Of all trials, shorter ones included.
    divisor = WINDOW if average_gradient else 1
    weights = network.initial_weights(3)
    outcome, gradient, spikes = learned(network, data, weights, "runtime")
    unrolled = Unrolled(network, WINDOW, np.float64, local=True)
    names = (*network.keys.connections, *network.keys.learned)
    with jax.enable_x64(True):
        given = {name: jax.numpy.asarray(dense(weights[name])) for name in names}
        batch = data.inputs, data.targets[data.target], np.zeros((4, 0), np.int32)
        found, _ = jax.grad(unrolled.objective, has_aux=True)(given, *batch, lengths=data.lengths)
    for name, value in gradient.items():
        assert np.any(value)
        mask = unrolled.masks.get(name, True)
        expected = np.where(mask, found[name], 0) / divisor
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)
    witness = BpttSession(network, data, WINDOW, weights)
    same = witness.run(data, data.n_trials, learning=False)
    np.testing.assert_allclose(outcome.loss, same.loss, rtol=1e-12)
    np.testing.assert_allclose(outcome.output, same.output, rtol=1e-12)
    np.testing.assert_allclose(outcome.rates, same.rates, rtol=1e-12)
    np.testing.assert_array_equal(spikes, witness.spikes())


@pytest.mark.devices("runtime", "cpp")
def test_segments_of_shorter_trials_run_again(device):
    network, data = one_way().resolved, trials()
    weights = network.initial_weights(3)
    _, expected, _ = learned(network, data, weights, "runtime")
    _, found, _ = learned(replace(network, history_steps=7), data, weights, device)
    for name, value in expected.items():
        assert np.any(value)
        np.testing.assert_allclose(found[name], value, rtol=1e-11, atol=1e-14)


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_workers():
    network = both_ways().resolved
    weights = network.initial_weights(3)
    data = join_trials([trials(seed=seed) for seed in range(5)])
    results = []
    for workers in (1, 2):
        session = ParallelSession(
            network, data, WINDOW, weights, device="cpp", dtype="float64", workers=workers
        )
        outcome = session.run(data, data.n_trials)
        results.append((outcome, session.gradient()))
        session.close()
    (first, gradient), (second, same) = results
    np.testing.assert_array_equal(first.loss, second.loss)
    np.testing.assert_array_equal(first.rate, second.rate)
    for name, value in gradient.items():
        np.testing.assert_array_equal(same[name], value)


def test_periods_and_lengths_count_the_same_steps():
    network, data = both_ways().resolved, trials()
    weights = network.initial_weights(3)
    counted = np.zeros((4, N_STEPS), int)
    counted[data.target] = data.in_window(WINDOW)
    with_periods = replace(data, periods=counted, n_answers=None)
    outcome, gradient, _ = learned(network, data, weights, "runtime")
    same, found, _ = learned(network, with_periods, weights, "runtime")
    np.testing.assert_array_equal(outcome.loss, same.loss)
    np.testing.assert_array_equal(outcome.output, same.output[:, 0])
    for name, value in gradient.items():
        np.testing.assert_array_equal(found[name], value)


def test_trials_keep_their_lengths():
    data = trials()
    np.testing.assert_array_equal(data.part(slice(1, 3)).lengths, LENGTHS[1:3])
    joined = join_trials([data, trials(None, seed=2)])
    np.testing.assert_array_equal(joined.lengths, [*LENGTHS, *[N_STEPS] * 4])
    assert join_trials([trials(None), trials(None)]).lengths is None
    alone = data.alone(2)
    assert alone.inputs.shape == (1, 9, N_INPUTS) and alone.targets.shape == (1, 9, N_OUTPUTS)
    assert alone.lengths is None
    np.testing.assert_array_equal(data.counted(WINDOW)[:, 0], [25, 25, 9, 25])
    means = [alone.targets.mean(axis=1).argmax() for alone in map(data.alone, (2,))]
    assert data.classes(WINDOW)[2, 0] == means[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": [1.5, 2, 3, 4]}, "lengths must be whole numbers of steps"),
        ({"lengths": [1, 2]}, r"of shape \(n_trials,\) = \(4,\)"),
        ({"lengths": [0, 1, 2, 3]}, "lengths must be from 1 to 40 steps"),
        ({"lengths": [41, 1, 2, 3]}, "lengths must be from 1 to 40 steps"),
        (
            {"periods": np.ones((4, N_STEPS), int), "n_answers": None},
            "periods count steps after the end of a trial",
        ),
    ],
)
def test_lengths_that_trials_cannot_have_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(trials(), **changes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate_averaging": "batch"}, "needs rate_averaging = 'trial', not 'batch'"),
        ({"c_v": 1.0}, "c_v divides by a number of steps, but trials differ in length"),
    ],
)
def test_what_counts_on_the_same_length_is_refused(options, message):
    network = both_ways(**options).resolved
    with pytest.raises(ValueError, match=message):
        Session(network, make_program("runtime"), trials(), WINDOW, network.initial_weights(3))


def test_a_session_without_lengths_refuses_trials_with_lengths():
    network = both_ways().resolved
    example, weights = trials(None), network.initial_weights(3)
    session = Session(network, make_program("runtime"), example, WINDOW, weights)
    with pytest.raises(ValueError, match="the session was made for trials of 40 steps"):
        session.run(trials(), 4)


def test_a_recording_is_as_long_as_its_trial():
    network = one_way()
    recording = record(network, trials(), network.initial_weights(3), index=2, synapses=0)
    assert len(recording.time) == 9
