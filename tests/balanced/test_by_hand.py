"""Every spike and the weights after learning, on every device, against the network by hand."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import Hz, ms

from eprop_brian.balanced.simulation import Simulation
from eprop_brian.balanced.spec import closed_form, learned, random_basis, random_decoder
from eprop_brian.equations.teachers import VAN_DER_POL
from support.balanced_by_hand import constant, normal_numbers, oscillator, simulate, van_der_pol

DT = 1e-4
N, N_DENDRITES, N_STEPS = 12, 14, 1500
#: Largest relative deviation of what is no spike.
TOLERANCE = 1e-11

A = [[-0.5, 6.0], [-6.0, -0.5]]
DECODER = random_decoder(2, N, 0.06, seed=3)
CLOSED = closed_form(
    A, DECODER, initial=[0.6, -0.2], mu=2e-6, nu=1e-5, learns=("fast",), lambda_v=15 * Hz
)
M, THETA = random_basis(DECODER, N_DENDRITES, (2.0, 4.0), seed=5)
LEARNED = learned(
    VAN_DER_POL,
    DECODER,
    mu=2e-4,
    nu=2e-4,
    learns=("slow", "fast"),
    basis="tanh",
    basis_weights=M,
    basis_offset=THETA,
    gain="k_0*clip((1 - t/duration)/0.4, 0, 1)",
    rate="eta_0*(1 - t/duration)",
    fast_rate="eta_fast_0*t/duration",
)
DELAYED = replace(CLOSED, learns=(), delay=0.5 * ms, feedback="published")
_t = np.arange(N_STEPS)[:, None] * DT
INPUTS = np.concatenate([16 * np.sin(40 * _t), 10 * np.cos(23 * _t + 1)], axis=1)


@pytest.fixture(scope="module")
def simulations():
    """Networks that differ in numbers alone share a program."""
    made = {}
    yield made
    for simulation in made.values():
        simulation.close()


@pytest.fixture
def run(device, simulations):
    """Run a network on a device."""

    def run_network(network, inputs=INPUTS, killed=None, seed=1, **options):
        key = (device, network.basis, network.steps("delay"))
        if key not in simulations:
            simulations[key] = Simulation(network, device)
        simulation = simulations[key]
        # What is not compiled, but set by a reset or a call.
        simulation.network, simulation.seed = network, seed
        simulation.reset()
        spikes, x, estimate, v = [], [], [], []
        edges = [0, *sorted(killed or {}), len(inputs)]
        for first, last in zip(edges, edges[1:], strict=False):
            if killed and first in killed:
                simulation.kill(killed[first])
            done = simulation.run(
                inputs[first:last],
                elapsed=first * DT,
                duration=len(inputs) * DT,
                record_every=1,
                **options,
            )
            steps = np.round(done.spike_times / DT).astype(int)
            spikes += list(zip(steps.tolist(), done.spike_neurons.tolist(), strict=True))
            for column, part in zip((x, estimate, v), (done.x, done.estimate, done.v), strict=True):
                column.append(part)
        states = [np.concatenate(column) for column in (x, estimate, v)]
        return spikes, *states, simulation.slow_weights(), simulation.fast_weights()

    return run_network


def assert_equal(got, expected, least=70):
    spikes, x, estimate, v, slow, fast = got
    assert len(expected.spikes) >= least
    assert spikes == expected.spikes
    for name, values in {
        **{"x": x, "estimate": estimate, "v": v},
        **{"slow": slow, "fast": fast},
    }.items():
        wanted = getattr(expected, name)
        assert np.max(np.abs(values - wanted)) <= TOLERANCE * np.max(np.abs(wanted)), name


def test_closed_form(run):
    expected = simulate(CLOSED, oscillator, INPUTS)
    assert np.array_equal(expected.slow, CLOSED.slow_weights)
    assert np.allclose(expected.estimate, expected.r @ DECODER.T, atol=1e-12)
    assert_equal(run(CLOSED), expected)


def test_error_feedback(run):
    expected = simulate(CLOSED, oscillator, INPUTS, gain=constant(50.0))
    assert_equal(run(CLOSED, gain=50.0), expected)


def test_error_feedback_as_published(run):
    expected = simulate(DELAYED, oscillator, INPUTS, gain=constant(15.0))
    assert expected.spikes != simulate(DELAYED, oscillator, INPUTS).spikes
    assert_equal(run(DELAYED, gain=15.0), expected)


def test_killed_neurons(run):
    killed = {400: np.array([0, 3, 4]), 900: np.array([7])}
    expected = simulate(CLOSED, oscillator, INPUTS, killed=killed)
    late = {neuron for step, neuron in expected.spikes if step >= 900}
    assert late and not late & {0, 3, 4, 7}
    assert_equal(run(CLOSED, killed=killed), expected)


def test_noise(run):
    network = replace(CLOSED, sigma=0.001)
    expected = simulate(network, oscillator, INPUTS, seed=123)
    assert expected.spikes != simulate(network, oscillator, INPUTS, seed=124).spikes
    assert expected.spikes != simulate(CLOSED, oscillator, INPUTS).spikes
    assert_equal(run(network, seed=123), expected)


def test_fast_learning(run):
    network = replace(CLOSED, fast_weights=1.2 * CLOSED.fast_weights)
    expected = simulate(network, oscillator, INPUTS, fast_rate=constant(0.02))
    assert np.linalg.norm(expected.fast - network.fast_weights) > 1e-3
    assert_equal(run(network, fast_rate=0.02), expected)


def test_all_that_are_above_threshold_fire(run):
    network = replace(CLOSED, one_spike=False, t_ref=3 * ms)
    expected = simulate(network, oscillator, INPUTS, fast_rate=constant(0.002))
    steps = [step for step, _ in expected.spikes]
    assert len(set(steps)) < len(steps)
    assert_equal(run(network, fast_rate=0.002), expected)


def test_delay_and_refractoriness(run):
    network = replace(DELAYED, one_spike=False, t_ref=3 * ms)
    expected = simulate(network, oscillator, INPUTS)
    last = {}
    for step, neuron in expected.spikes:
        assert step - last.get(neuron, -100) >= 30
        last[neuron] = step
    assert_equal(run(network), expected)


def test_delay_with_one_spike_a_step(run):
    expected = simulate(DELAYED, oscillator, INPUTS)
    assert expected.spikes != simulate(CLOSED, oscillator, INPUTS).spikes
    assert_equal(run(DELAYED), expected)


def test_learning_with_schedules_and_an_exploring_teacher(run):
    duration = N_STEPS * DT
    inputs = 60 * np.concatenate([np.sin(60 * _t), np.cos(41 * _t)], axis=1)
    expected = simulate(
        LEARNED,
        van_der_pol,
        inputs,
        gain=lambda t: 80 * np.clip((1 - t / duration) / 0.4, 0, 1),
        rate=lambda t: 30 * (1 - t / duration),
        fast_rate=lambda t: 0.02 * t / duration,
        pull=60.0,
    )
    assert np.linalg.norm(expected.slow) > 0.1
    assert_equal(run(LEARNED, inputs, gain=80.0, rate=30.0, fast_rate=0.02, pull=60.0), expected)


def test_noise_is_normal_and_white():
    numbers = np.array([normal_numbers(1, step, 20) for step in range(2000)])
    assert abs(np.mean(numbers)) < 0.02
    assert np.std(numbers) == pytest.approx(1, abs=0.01)
    assert np.mean(numbers**4) == pytest.approx(3, abs=0.15)
    for other in (numbers[:, 1:] * numbers[:, :-1], numbers[1:] * numbers[:-1]):
        assert abs(np.mean(other)) < 0.02
