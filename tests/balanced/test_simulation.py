"""Simulations: what they refuse, what they notice, and that they go on where they stopped."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms

from eprop_brian.balanced import simulation as module
from eprop_brian.balanced.simulation import Simulation
from eprop_brian.balanced.spec import closed_form, learned, random_basis, random_decoder
from eprop_brian.balanced.watchdog import UnstableNetworkError
from eprop_brian.devices import SimulationError
from eprop_brian.equations.teachers import VAN_DER_POL, Teacher

A = [[-0.5, 6.0], [-6.0, -0.5]]
N, DT = 10, 1e-4
DECODER = random_decoder(2, N, 0.06, seed=3)
CLOSED = closed_form(A, DECODER, initial=[0.5, -0.3], mu=1e-6, learns=("slow", "fast"))
_t = np.arange(600)[:, None] * DT
INPUTS = np.concatenate([15 * np.sin(40 * _t), 9 * np.cos(23 * _t + 1)], axis=1)


@pytest.fixture(scope="module")
def shared():
    """One program for the tests that need no other."""
    return Simulation(CLOSED, "runtime")


@pytest.fixture
def simulation(shared):
    shared.network, shared.seed = CLOSED, 1
    shared.reset()
    return shared


def spikes_of(*recordings):
    return [
        (time, neuron)
        for found in recordings
        for time, neuron in zip(found.spike_times, found.spike_neurons, strict=True)
    ]


def test_a_run_in_parts_is_the_run_at_once(simulation, monkeypatch):
    whole = simulation.run(INPUTS, record_every=7)
    weights = simulation.slow_weights(), simulation.fast_weights()
    assert simulation.time == pytest.approx(0.06)
    simulation.reset()
    parts = [
        simulation.run(INPUTS[a:b], record_every=7) for a, b in ((0, 70), (70, 350), (350, 600))
    ]
    assert spikes_of(*parts) == spikes_of(whole)
    for name in ("t", "x", "estimate", "v"):
        assert np.array_equal(
            np.concatenate([getattr(p, name) for p in parts]), getattr(whole, name)
        )
    assert parts[1].t_start == pytest.approx(0.007) and parts[1].t_stop == pytest.approx(0.035)
    simulation.reset()
    monkeypatch.setattr(module, "_CALL_STEPS", 100)
    monkeypatch.setattr(
        simulation.program, "set", lambda arrays, real=simulation.program.set: real(fitted(arrays))
    )
    calls = simulation.run(INPUTS, record_every=7)
    assert spikes_of(calls) == spikes_of(whole)
    for name in ("t", "x", "estimate", "v"):
        assert np.array_equal(getattr(calls, name), getattr(whole, name))
    assert np.array_equal(simulation.slow_weights(), weights[0])


def fitted(arrays):
    """Inputs of a shorter call, as long as the program's."""
    size = 10_000 * 2
    return {
        key: np.pad(values, (0, size - len(values))) if key == "inputs.c" else values
        for key, values in arrays.items()
    }


def test_a_reset_forgets_everything(simulation):
    first = simulation.run(INPUTS, rate=50.0, fast_rate=0.01, gain=20.0)
    slow, fast = simulation.slow_weights(), simulation.fast_weights()
    assert not np.array_equal(slow, CLOSED.slow_weights)
    simulation.kill([0, 1])
    simulation.reset()
    assert not simulation.killed.any() and simulation.time == 0
    assert np.array_equal(simulation.slow_weights(), CLOSED.slow_weights)
    assert np.array_equal(simulation.fast_weights(), CLOSED.fast_weights)
    again = simulation.run(INPUTS, rate=50.0, fast_rate=0.01, gain=20.0)
    assert spikes_of(again) == spikes_of(first)
    assert np.array_equal(simulation.slow_weights(), slow)
    assert np.array_equal(simulation.fast_weights(), fast)


def test_a_reset_takes_weights_and_a_state(simulation):
    slow, fast = 0.5 * CLOSED.slow_weights, 1.5 * CLOSED.fast_weights
    simulation.reset(slow.tolist(), fast, x=[0.1, 0.2])
    assert np.array_equal(simulation.slow_weights(), slow)
    assert np.array_equal(simulation.fast_weights(), fast)
    found = simulation.run(INPUTS[:5], record_every=1)
    assert found.x[0].tolist() == [0.1, 0.2]
    assert found.v[0] == pytest.approx(DECODER.T @ [0.1, 0.2])
    assert not found.estimate[0].any() and not found.r_start.any()
    assert np.array_equal(simulation.slow_weights(), slow)


def test_slow_weights_can_be_replaced_at_any_time(simulation):
    weights = 0.3 * CLOSED.slow_weights
    simulation.set_slow_weights(weights)
    assert np.array_equal(simulation.slow_weights(), weights)
    simulation.run(INPUTS[:10])
    assert np.array_equal(simulation.slow_weights(), weights)
    simulation.set_slow_weights(2 * weights)
    assert np.array_equal(simulation.slow_weights(), 2 * weights)


@pytest.mark.parametrize(
    "neurons", [[], [1, 5], np.array([1, 5]), np.isin(np.arange(N), [1, 5]), (n for n in (1, 5))]
)
def test_killed_neurons_are_silent(neurons, simulation):
    simulation.kill(neurons)
    found = simulation.run(INPUTS)
    silent = set(np.flatnonzero(simulation.killed))
    assert silent in (set(), {1, 5})
    assert not silent & set(found.spike_neurons)
    simulation.kill([2])
    assert simulation.killed.sum() == len(silent) + 1


@pytest.mark.parametrize("neurons", [[N], [-1], [0.5], np.ones(3, dtype=bool)])
def test_neurons_that_there_are_not(neurons, simulation):
    with pytest.raises(ValueError, match="neurons to kill must be 0 to 9"):
        simulation.kill(neurons)


def test_noise_depends_on_the_seed_alone(simulation):
    runs = []
    for seed in (1, 1, 2):
        simulation.seed = seed
        simulation.reset()
        runs.append(spikes_of(simulation.run(INPUTS, sigma=0.001)))
    assert runs[0] == runs[1] != runs[2]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (INPUTS[:, :1], {}, r"inputs must have shape \(n_steps, 2\), not \(600, 1\)"),
        (INPUTS[:0], {}, "inputs must have shape"),
        (INPUTS[0], {}, "inputs must have shape"),
        (INPUTS * np.nan, {}, "inputs must be finite"),
        (INPUTS, {"sigma": -1.0}, "sigma must be a finite number, 0 or more"),
        (INPUTS, {"sigma": np.nan}, "sigma must be a finite number"),
        (INPUTS, {"record_every": 0}, "record_every must be 1 to 10000, not 0"),
    ],
)
def test_runs_that_cannot_be(inputs, options, message, simulation):
    with pytest.raises(ValueError, match=message):
        simulation.run(inputs, **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"slow_weights": np.zeros((N, 3))},
            r"slow_weights must be finite and of shape \(10, 10\)",
        ),
        ({"fast_weights": np.full((N, N), np.nan)}, "fast_weights must be finite"),
        ({"x": [1.0]}, r"x must be finite and of shape \(2,\)"),
    ],
)
def test_starts_that_cannot_be(arguments, message, simulation):
    with pytest.raises(ValueError, match=message):
        simulation.reset(**arguments)


def test_weights_that_do_not_learn(simulation):
    simulation.network = replace(CLOSED, learns=())
    for options, which in (({"rate": 1.0}, "slow"), ({"fast_rate": 0.1}, "fast")):
        with pytest.raises(ValueError, match=f"the {which} weights of this network do not learn"):
            simulation.run(INPUTS, **options)


@pytest.mark.parametrize(("name", "dtype"), [("opencl", "float64"), ("runtime", "float16")])
def test_devices_and_types_that_there_are_not(name, dtype):
    with pytest.raises(ValueError, match="unknown"):
        Simulation(CLOSED, name, dtype)


# --- what is noticed ------------------------------------------------------------------------------


def unstable(network, inputs, message, **options):
    with pytest.raises(UnstableNetworkError, match=message) as error:
        Simulation(network, "runtime").run(inputs, **options)
    return error.value


def test_an_unstable_network_is_a_failed_simulation():
    assert issubclass(UnstableNetworkError, SimulationError)
    assert str(pickle.loads(pickle.dumps(UnstableNetworkError("a")))) == "a"


def test_a_teacher_that_diverges():
    teacher = Teacher("runaway", "dx/dt = 100*Hz*x**3 : 1", initial={"x": 3.0})
    network = learned(teacher, random_decoder(1, N, 0.1))
    with np.errstate(all="ignore"):
        unstable(network, np.zeros((200, 1)), "teacher 'runaway' diverges within .*lower dt or the")


def test_too_high_a_learning_rate():
    weights, offset = random_basis(DECODER, 10)
    network = learned(
        VAN_DER_POL, DECODER, basis="tanh", basis_weights=weights, basis_offset=offset
    )
    with np.errstate(all="ignore"):
        unstable(
            network, np.zeros((300, 2)), "diverges .*Lower the learning rate", rate=1e9, gain=50.0
        )


def test_too_large_a_step():
    network = closed_form(A, random_decoder(2, N, 0.01), dt=5 * ms)
    unstable(
        network, np.full((100, 2), 5.0), r"spike in \d+ % of all steps: .*Lower dt \(now 5\. ms\)"
    )


def test_ping_pong_by_a_delay():
    network = closed_form(A, DECODER, initial=[0.5, -0.3], one_spike=False, delay=1 * ms)
    inputs = np.concatenate([INPUTS, INPUTS])
    unstable(network, inputs, r"ping-pong: \d+ % of the spikes are answered at once.* Lower dt or")


def test_a_network_that_fires_without_end(monkeypatch):
    monkeypatch.setattr(module, "_CALL_STEPS", 200)
    network = closed_form(A, DECODER, delay=1 * ms, one_spike=False)
    unstable(network, INPUTS, "the network fires without end: .* Hz a neuron.*at most one neuron")


def test_a_network_that_cannot_follow():
    network = replace(CLOSED, t_ref=100 * ms, learns=())
    message = r"potentials are more than 4 times the threshold for \d+ % of the time"
    unstable(network, np.full((1200, 2), 20.0), message)


def test_noise_makes_opposite_spikes_without_harm(simulation):
    found = simulation.run(np.concatenate([INPUTS, INPUTS]), sigma=0.003)
    assert len(found.spike_times) > 100
