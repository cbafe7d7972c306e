"""Vector field, filtered spikes and currents, against states that a simulation records."""

from dataclasses import replace

import numpy as np
import pytest

from eprop_brian.balanced.field import (
    NetworkField,
    currents,
    effective_matrix,
    field_nmse,
    filtered_spikes,
)
from eprop_brian.balanced.simulation import Simulation
from eprop_brian.balanced.spec import closed_form, learned, random_basis, random_decoder
from eprop_brian.equations.teachers import BISTABLE
from support.balanced_by_hand import oscillator, simulate

A = np.array([[-0.5, 6.0], [-6.0, -0.5]])
N, DT = 10, 1e-4
DECODER = random_decoder(2, N, 0.06, seed=3)
CLOSED = closed_form(A, DECODER, initial=[0.5, -0.3], mu=1e-6)
M, THETA = random_basis(DECODER, 20, (2.0, 4.0), seed=5)
LEARNED = learned(BISTABLE, DECODER, basis="tanh", basis_weights=M, basis_offset=THETA)
POINTS = np.random.default_rng(1).uniform(-1, 1, (50, 2))
SLOW = np.random.default_rng(2).normal(size=(N, 20))


def test_field_of_the_closed_form_is_the_teachers():
    field = NetworkField(CLOSED, CLOSED.slow_weights)
    assert field(POINTS) == pytest.approx(POINTS @ A.T)
    assert field_nmse(CLOSED, CLOSED.slow_weights, POINTS) == pytest.approx(0, abs=1e-20)
    assert effective_matrix(CLOSED, CLOSED.slow_weights) == pytest.approx(A + 20 * np.eye(2))


def test_field_of_nothing_is_the_leak():
    zero = np.zeros((N, 20))
    assert NetworkField(LEARNED, zero)(POINTS) == pytest.approx(-20 * POINTS)
    wanted = LEARNED.teacher_map.field(POINTS)
    expected = np.sum((wanted + 20 * POINTS) ** 2, 1).mean() / wanted.var(axis=0).sum()
    assert field_nmse(LEARNED, zero, POINTS) == pytest.approx(expected)


def test_field_of_the_tanh_basis():
    field = NetworkField(LEARNED, SLOW)
    # Any r with the estimate x gives the same dendrites.
    r = np.linalg.pinv(DECODER) @ POINTS[3] + 0.1 * np.linalg.svd(DECODER)[2][5]
    psi = np.tanh(M @ r + THETA)
    expected = np.linalg.inv(DECODER @ DECODER.T) @ DECODER @ SLOW @ psi - 20 * POINTS[3]
    assert field(POINTS[3]) == pytest.approx(expected)
    assert field(POINTS.reshape(5, 10, 2))[0, 3] == pytest.approx(expected)


def test_derivative_of_the_field():
    field = NetworkField(LEARNED, SLOW)
    readout = np.linalg.inv(DECODER @ DECODER.T) @ DECODER @ SLOW
    slopes, x, h = M @ np.linalg.pinv(DECODER), POINTS[7], 1e-6
    bends = 1 - np.tanh(slopes @ x + THETA) ** 2
    expected = readout @ (bends[:, None] * slopes) - 20 * np.eye(2)
    found = (field(x + h * np.eye(2)) - field(x - h * np.eye(2))).T / (2 * h)
    assert found == pytest.approx(expected, rel=1e-5)


def test_field_of_the_neurons_that_live():
    killed = np.arange(N) < 4
    alive = replace(
        CLOSED,
        decoder=DECODER[:, 4:],
        slow_weights=CLOSED.slow_weights[4:, 4:],
        fast_weights=CLOSED.fast_weights[4:, 4:],
        threshold=CLOSED.threshold[4:],
    )
    assert NetworkField(CLOSED, CLOSED.slow_weights, killed)(POINTS) == pytest.approx(
        NetworkField(alive, alive.slow_weights)(POINTS)
    )
    # Learned slow weights are D^T W: what is missing of D is missing on both sides.
    slow = DECODER.T @ np.random.default_rng(4).normal(size=(2, 20))
    whole = NetworkField(LEARNED, slow)(POINTS)
    assert NetworkField(LEARNED, slow, killed)(POINTS) == pytest.approx(whole)


def test_dendrites_that_see_more_than_the_estimate_have_no_field():
    other = replace(LEARNED, basis_weights=M + 0.1 * np.eye(20, N))
    with pytest.raises(ValueError, match="dendrites see more than the estimate"):
        NetworkField(other, SLOW)


# --- a recording ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded():
    """The second half of a run with every state, and the same by hand."""
    t = np.arange(1600)[:, None] * DT
    inputs = np.concatenate([15 * np.sin(40 * t), 9 * np.cos(23 * t + 1)], axis=1)
    simulation = Simulation(CLOSED, "runtime")
    simulation.run(inputs[:800])
    recording = simulation.run(inputs[800:], record_every=1)
    expected = simulate(CLOSED, oscillator, inputs)
    assert len(recording.spike_times) > 40
    return recording, inputs[800:], expected


def test_filtered_spikes_are_those_of_the_simulation(recorded):
    recording, _, expected = recorded
    r = filtered_spikes(recording, CLOSED, recording.t)
    assert r == pytest.approx(expected.r[800:], abs=1e-10)
    assert r @ DECODER.T == pytest.approx(recording.estimate, abs=1e-10)
    some = filtered_spikes(recording, CLOSED, recording.t[5::37])
    assert some == pytest.approx(r[5::37], abs=1e-10)


def test_currents_are_what_moves_the_potential(recorded):
    recording, inputs, _ = recorded
    neuron, tau = 3, 1e-9  # pulses, which are not smoothed at all
    found = currents(
        recording, CLOSED, CLOSED.slow_weights, CLOSED.fast_weights, inputs, neuron, tau
    )
    steps = np.round((recording.spike_times - recording.t_start) / DT).astype(int)
    spikes = np.zeros((len(inputs), N))
    np.add.at(spikes, (steps, recording.spike_neurons), 1.0)
    weights = CLOSED.fast_weights[neuron]
    pulses = spikes @ np.where(np.arange(N) == neuron, 0.0, weights)
    v = recording.v[:, neuron]
    expected = np.diff(v) / DT + 20 * v[:-1] + (spikes @ weights)[:-1] / DT - pulses[:-1] / tau
    net = found.excitation + found.inhibition
    scale = np.max(found.excitation - found.inhibition)
    assert net[:-1] == pytest.approx(expected, abs=1e-9 * scale)
    quiet = pulses[:-1] == 0
    assert net[:-1][quiet] == pytest.approx(expected[quiet], abs=1e-6)
    assert found.excitation.min() >= 0 >= found.inhibition.max()


def test_smoothing_keeps_the_charge_of_a_pulse(recorded):
    recording, inputs, _ = recorded
    arguments = (recording, CLOSED, CLOSED.slow_weights, CLOSED.fast_weights, inputs, 3)
    sharp, smooth = (currents(*arguments, tau) for tau in (1e-9, 2e-3))
    # The sum of exp(-k dt/tau) dt/tau is close to 1; pulses of the first kind are 1 step long.
    slow = currents(*arguments[:3], np.zeros((N, N)), *arguments[4:])
    net = slow.excitation + slow.inhibition
    charge = np.sum((smooth.excitation + smooth.inhibition - net)[:-300]) * DT
    pulses = np.sum((sharp.excitation + sharp.inhibition - net)[:-300]) * 1e-9
    assert charge == pytest.approx(pulses, rel=0.1)
