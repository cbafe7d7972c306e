"""Analog inputs: values in the place of spikes, against a network written by hand."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms

from eprop_brian.equations import LIF, Neuron
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.network.spec import Network
from eprop_brian.network.standard import MATRICES
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.recording import record
from eprop_brian.training.session import Session
from eprop_brian.training.traces import TracedSynapse
from eprop_brian.training.workers import ParallelSession
from support.arrays import deviation
from support.by_hand import (
    LEARNING_WINDOW,
    N_STEPS,
    N_TRIALS,
    PROGRAMS,
    TOLERANCE,
    Case,
    assert_right,
    data,
    expected,
    gradient_of,
    reference,
    run,
    session_of,
    whole_gradient,
)
from support.devices import on_devices
from support.trials import trials_of

SPARSE = {"connectivity": {"w_in": 0.6, "w_rec": 0.5}}
CASES = {
    "plain": Case(analog=True),
    "softmax": Case(softmax=True, n_outputs=3, analog=True),
    "sparse": Case(SPARSE, analog=True),
    "one delay": Case({"delays": {"w_in": 3 * ms}}, analog=True),
    "delays": Case({"delays": {"w_in": (0 * ms, 4 * ms), "w_out": 1 * ms}}, analog=True),
    "learned": Case(learned={"tau_m": Learned(), "beta": Learned()}, analog=True),
    "all": Case(
        {**SPARSE, "delays": {"w_in": (0 * ms, 4 * ms)}, "rate_averaging": "batch", "c_v": 3.0},
        softmax=True,
        n_outputs=3,
        analog=True,
    ),
}
#: Cases to compile: together they have all there is.
COMPILED = ("plain", "learned", "all")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", on_devices(CASES, COMPILED))
def test_gradient_equals_the_network_by_hand(name, program, device):
    assert_right(CASES[name], program, device)


def test_values_are_not_taken_for_spikes():
    wanted, found = expected(Case())[0], run(CASES["plain"], "factored", "runtime")[0]
    assert deviation({"w_in": found["w_in"]}, wanted) > 0.1


@pytest.mark.devices("runtime", "cpp")
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("options", [{}, SPARSE], ids=["dense", "sparse"])
def test_values_of_0_and_1_are_spikes_to_the_bit(options, program, device):
    case = Case(options)
    network = case.network(program)
    weights, spikes, targets = data(case, network)
    outcomes, gradients = [], []
    for inputs in (spikes, spikes.astype(float)):
        trials = trials_of(inputs, targets)
        session = Session(network, make_program(device), trials, LEARNING_WINDOW, weights)
        outcomes.append(session.run(trials, case.n_trials))
        gradients.append(gradient_of(session))
        session.close()
    np.testing.assert_array_equal(outcomes[0].loss, outcomes[1].loss)
    for name in MATRICES:
        np.testing.assert_array_equal(gradients[0][name], gradients[1][name])


def test_a_neuron_may_take_its_input_as_it_likes():
    """What the input does to the state is differentiated, whether or not it is linear."""
    squashed = Neuron(
        "squashed",
        update="v = alpha*v + tanh(I) - v_th*z",
        threshold="v >= v_th",
        surrogate="0.3/v_th*clip(1 - abs(v - v_th)/v_th, 0, 1)",
        parameters={"v_th": 0.5},
        constants={"alpha": "0.95"},
        detach=("v",),
    )
    network = Network.standard(
        4, 2, [(squashed, 6)], connectivity={"w_rec": 0.0}, loss="squared_error"
    )
    _, inputs, targets = data(CASES["plain"], CASES["plain"].network("online"))
    trials, weights = trials_of(2 * inputs, targets), network.initial_weights(1)
    sessions = [
        Session(
            network.with_options(gradient=program), make_program("runtime"), trials, 45, weights
        )
        for program in PROGRAMS
    ]
    bptt = BpttSession(network.with_options(gradient="bptt"), trials, 45, weights)
    for session in (*sessions, bptt):
        session.run(trials, N_TRIALS)
    assert sessions[0].spikes().any()
    wanted = {name: bptt.gradient()[name] for name in ("w_in", "w_out")}
    factored, online = ({n: gradient_of(s)[n] for n in wanted} for s in sessions)
    assert deviation(factored, online) <= TOLERANCE
    # Without recurrent synapses e-prop leaves nothing out.
    assert deviation(online, wanted) <= TOLERANCE


@pytest.mark.parametrize("options", [{}, SPARSE], ids=["dense", "sparse"])
def test_bptt_is_the_total_derivative_of_the_network_by_hand(options):
    case = Case({"c_reg": 0.0} | options, keep_reset=True, transmitted=True, analog=True)
    network = case.network("bptt")
    weights, inputs, targets = data(case, network)
    trials = trials_of(inputs, targets)
    bptt = BpttSession(network, trials, LEARNING_WINDOW, weights)
    found = {
        name: g.toarray() if hasattr(g, "toarray") else g
        for name, g in bptt.gradient_of(trials).items()
    }
    wanted, _ = reference(case, whole_gradient)
    assert deviation(found, wanted) <= TOLERANCE


@pytest.mark.slow
def test_workers_share_trials_of_values():
    case = Case(SPARSE, n_trials=19, analog=True)
    session, trials = session_of(case, "factored", "cpp")
    network = case.network("factored")
    shared = ParallelSession(
        network,
        trials,
        LEARNING_WINDOW,
        data(case, network)[0],
        device="cpp",
        dtype="float64",
        workers=2,
    )
    one, two = session.run(trials, case.n_trials), shared.run(trials, case.n_trials)
    np.testing.assert_array_equal(one.loss, two.loss)
    for name, weights in gradient_of(session).items():
        np.testing.assert_array_equal(weights, gradient_of(shared)[name])
    session.close()
    shared.close()


def test_a_session_keeps_to_one_kind_of_inputs():
    session, trials = session_of(CASES["plain"], "factored", "runtime")
    spikes = replace(trials, inputs=trials.inputs > 0)
    with pytest.raises(ValueError, match="inputs are spikes, the session was made for analog"):
        session.run(spikes, N_TRIALS)
    session, _ = session_of(Case(), "factored", "runtime")
    with pytest.raises(ValueError, match="inputs are analog values, the session was made for sp"):
        session.run(trials, N_TRIALS)


def test_inputs_of_the_wrong_shape_are_refused_before_anything_is_made():
    def make_program(network, capacity):
        raise AssertionError("a program was made")

    network = CASES["plain"].network("factored")
    weights, inputs, targets = data(CASES["plain"], network)
    trials = trials_of(inputs[:, :, :3], targets)
    with pytest.raises(ValueError, match=r"inputs have shape \(2, 60, 3\), not .*4 inputs"):
        Session(network, make_program, trials, LEARNING_WINDOW, weights)


def test_a_recording_has_the_values_and_their_traces():
    network = Network.standard(4, 2, [(LIF.with_parameters(tau_m=20 * ms, zeta=1.0), 3)])
    _, inputs, targets = data(CASES["plain"], CASES["plain"].network("online"))
    trials = trials_of(inputs, targets)
    synapse = TracedSynapse("inputs", 2, "lif", 1)
    recording = record(network, trials, network.initial_weights(1), synapses=[synapse])
    np.testing.assert_array_equal(recording.inputs, inputs[0])
    filtered = np.zeros(N_STEPS)
    for t in range(N_STEPS):
        filtered[t] = np.exp(-1 / 20) * (filtered[t - 1] if t else 0.0) + inputs[0, t, 2]
    wanted = recording.psi[:, 1] * filtered
    np.testing.assert_allclose(recording.eligibility_trace[:, 0], wanted, rtol=1e-12, atol=1e-15)
