"""Learning signals that populations emit: the update by hand, programs, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms

from eprop_brian import LIF, Inputs, LearningSignal, Network, Population, Projection, Readout
from eprop_brian.equations import LEAKY
from eprop_brian.equations.learning_signals import RANDOM, SYMMETRIC
from eprop_brian.equations.readouts import EMITTED
from eprop_brian.network.one_update import check_one_update, with_errors, without_emitting
from eprop_brian.network.parts import Agent
from eprop_brian.network.program import make_program
from eprop_brian.runs.network_file import read_network, write_network
from eprop_brian.training.recording import record
from eprop_brian.training.session import Session
from support.arrays import deviation
from support.learned_signals import (
    ETA,
    FILTERS,
    N_INPUTS,
    N_STEPS,
    emitting,
    emitting_trials,
)
from support.trials import random_trials

#: Largest deviation from the update by hand, relative to the largest entry of a matrix.
TOLERANCE = 1e-12
ALPHA = KAPPA = np.exp(-1 / 20)
V_TH, GAMMA, T_REF = 0.6, 0.3, 5
N_TEACHERS, N_LEARNERS = 6, 8


def simple(gradient, own_filter):
    """LIF neurons that emit to LIF neurons, which they hear."""
    parts = [
        Inputs(N_INPUTS),
        Population(LIF, N_LEARNERS, "learner"),
        Population(LIF, N_TEACHERS, "teacher"),
        Readout(2),
        Projection("inputs", "learner", name="w_in", scale=2.0),
        Projection("learner", "learner", name="w_rec"),
        Projection("learner", "readout", name="w_out", learn=False),
        Projection("inputs", "teacher", name="w_teacher", learn=False, scale=2.0),
        Projection("learner", "teacher", name="w_learner_teacher", learn=False),
        LearningSignal("teacher", "learner", "random", name="B", filter=own_filter),
    ]
    return Network(parts, gradient=gradient)


def by_hand(weights, inputs, trace_decay):
    """E-prop 2 for LIF neurons, from its equations: gradients, learning signals and spikes.

    L = kappa L + B xi, and sum_t L psi zbar with traces that are filtered with `trace_decay`.
    """
    n = N_LEARNERS + N_TEACHERS
    learner, teacher = slice(0, N_LEARNERS), slice(N_LEARNERS, n)
    w_in = np.concatenate([weights["w_in"], weights["w_teacher"]])
    w_rec = np.zeros((n, n))
    w_rec[learner, learner] = weights["w_rec"]
    w_rec[teacher, learner] = weights["w_learner_teacher"]
    v, z, left, signal = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(N_LEARNERS)
    zbar = {"w_in": np.zeros(N_INPUTS), "w_rec": np.zeros(N_LEARNERS)}
    filtered = {name: np.zeros((N_LEARNERS, len(x))) for name, x in zbar.items()}
    gradient = {name: np.zeros_like(e) for name, e in filtered.items()}
    signals, spikes = [], []
    for x in inputs.astype(float):
        for name, pre in (("w_in", x), ("w_rec", z[learner])):
            zbar[name] = ALPHA * zbar[name] + pre
        left = np.maximum(left - 1, 0)
        v = ALPHA * v + w_in @ x + w_rec @ z - V_TH * z
        psi = np.where(left > 0, 0, GAMMA / V_TH * np.maximum(0, 1 - np.abs(v - V_TH) / V_TH))
        z = ((v >= V_TH) & (left == 0)).astype(float)
        left = np.where(z > 0, T_REF, left)
        signal = KAPPA * signal + weights["B"] @ z[teacher]
        for name, pre in zbar.items():
            filtered[name] = trace_decay * filtered[name] + np.outer(psi[learner], pre)
            gradient[name] += signal[:, np.newaxis] * filtered[name]
        signals.append(signal)
        spikes.append(z)
    np.fill_diagonal(gradient["w_rec"], 0)
    return gradient, np.array(signals), np.array(spikes)


@pytest.mark.parametrize("program", ["factored", "online"])
@pytest.mark.parametrize(
    ("own_filter", "trace_decay"), [(None, 0.0), (LEAKY, KAPPA)], ids=[*FILTERS]
)
def test_the_update_is_that_by_hand(own_filter, trace_decay, program, device):
    network = simple(program, own_filter)
    trials = random_trials(3, (2, N_STEPS, N_INPUTS), 2, n_targets=2)
    weights = network.initial_weights(5)
    expected = [by_hand(weights, inputs, trace_decay) for inputs in trials.inputs]
    assert min(spikes.sum() for _, _, spikes in expected) > 100
    session = Session(network, make_program(device), trials, N_STEPS, weights)
    session.run(trials, trials.n_trials)
    gradient = session.gradient()
    mean = {n: sum(g[n] for g, _, _ in expected) / trials.n_trials for n in gradient}
    assert set(mean) == {"w_in", "w_rec"}
    assert min(np.abs(g).max() for g in mean.values()) > 1
    assert deviation(gradient, mean) <= TOLERANCE
    # One trial, one update: what a task is learned by.
    session = Session(network, make_program(device), trials, N_STEPS, weights)
    session.run(trials.part(slice(0, 1)), 1)
    assert deviation(session.gradient(), expected[0][0]) <= TOLERANCE
    session.close()


def test_what_is_emitted_can_be_recorded():
    network = simple("factored", None)
    trials = random_trials(3, (1, N_STEPS, N_INPUTS), 2)
    weights = network.initial_weights(5)
    _, signals, spikes = by_hand(weights, trials.inputs[0], 0.0)
    recording = record(network, trials, weights, learning_window=N_STEPS, synapses=0)
    np.testing.assert_array_equal(recording.spikes, spikes > 0)
    np.testing.assert_allclose(
        recording.learning_signal[:, :N_LEARNERS], signals, rtol=1e-12, atol=1e-13
    )
    assert not np.any(recording.learning_signal[:, N_LEARNERS:])


@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("name", FILTERS)
def test_programs_agree(name, delayed):
    """With adaptation, several who emit, delays, and readouts that see spikes late."""
    trials, gradients = emitting_trials(), []
    for program in ("factored", "online"):
        network = emitting(program, FILTERS[name], delayed=delayed)
        weights = network.initial_weights(3)
        session = Session(network, make_program("runtime"), trials, N_STEPS, weights)
        session.run(trials, trials.n_trials)
        gradients.append(session.gradient())
    factored, online = gradients
    assert min(np.abs(g).max() for g in factored.values()) > 1
    assert deviation(online, factored) <= TOLERANCE


def test_without_learning_nothing_is_emitted_and_outputs_are_the_same():
    network, trials = emitting(), emitting_trials()
    weights = network.initial_weights(3)
    outcomes = []
    for resolved in (network.resolved, without_emitting(network.resolved)):
        kept = {name: weights[name] for name in resolved.shapes}
        session = Session(resolved, make_program("runtime"), trials, N_STEPS, kept, learning=False)
        outcomes.append(session.run(trials, 1, learning=False))
    np.testing.assert_array_equal(outcomes[0].output, outcomes[1].output)
    alone = without_emitting(network.resolved)
    assert [p.name for p in alone.populations] == ["learner", "slow_learner"]


def test_errors_in_the_place_of_what_is_emitted():
    """Ordinary e-prop: the same gradient as of a network that was written so."""
    network, trials = emitting(), emitting_trials()
    weights = network.initial_weights(3)
    parts = [
        part
        for part in network.parts
        if not isinstance(part, LearningSignal)
        and "teacher" not in getattr(part, "name", "")
        and "teacher" not in getattr(part, "target", "")
    ]
    learners = ["learner", "slow_learner"]
    written = Network(
        [*parts, LearningSignal("readout", learners, name="B_w_out")],
        optimizer=network.optimizer,
        c_reg=0.0,
    )
    gradients = []
    for resolved in (with_errors(network.resolved), written.resolved):
        kept = {name: weights[name] for name in resolved.shapes if name in weights}
        kept["B_w_out"] = weights["w_out"].T
        session = Session(resolved, make_program("runtime"), trials, N_STEPS, kept)
        session.run(trials, trials.n_trials)
        gradients.append(session.gradient())
    assert set(gradients[0]) == {"w_in", "w_rec"}
    for name, gradient in gradients[0].items():
        np.testing.assert_array_equal(gradient, gradients[1][name])


def test_it_is_written_to_a_file_and_read_back(tmp_path):
    for own_filter in (None, *FILTERS.values()):
        network = emitting(own_filter=own_filter)
        write_network(tmp_path / "network.toml", network)
        again = read_network(tmp_path / "network.toml")
        (signal,), (other,) = network.resolved.signals, again.resolved.signals
        assert other.filter.values == signal.filter.values
        read, written = (replace(s.filter.readout, parameters={}) for s in (other, signal))
        assert read == written
        assert (other.sources, other.targets) == (signal.sources, signal.targets)
    assert "emitted: y = kappa*y + zeta_out*I" in str(network)


def changed(network, **options):
    """The network with another learning signal."""
    *parts, signal = network.parts
    return network.with_options(parts=[*parts, replace(signal, **options)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feedback": "symmetric"}, "weights by which a population emits.*follow a readout"),
        ({"feedback": "adaptive"}, "has no update"),
        ({"feedback": RANDOM.with_options(signal="tanh(error)")}, "has no signal"),
        ({"feedback": RANDOM.with_options(delay=2 * ms)}, "has no delay"),
        ({"feedback": RANDOM.with_options(diffusion={"grid": (5, 2), "kept": 1})}, "no diffusion"),
        ({"feedback": np.ones((3, 3))}, r"\(n_recurrent, n_outputs\) = \(10, 9\)"),
        ({"filter": "leaky"}, "filter is a ReadoutFilter such as EMITTED"),
        ({"filter": replace(EMITTED, update="y = y*y + I")}, "(?s:.)*must be linear in y"),
        ({"source": ["teacher", "readout"]}, "one of which is a readout"),
        ({"source": ["learner"]}, "cannot lead to 'learner' itself"),
        ({"source": "readout", "feedback": "random", "filter": LEAKY}, "readout' has its own"),
    ],
)
def test_what_cannot_be_emitted_is_refused(options, message):
    with pytest.raises(ValueError, match=f"learning signal 'B'.*{message}"):
        changed(emitting(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"updates": "step", "gradient": "online"}, "needs trials that it starts with"),
        ({"gradient": "bptt"}, "no population can emit"),
    ],
)
def test_where_nothing_can_be_emitted_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        emitting(**options)


def test_two_kinds_of_learning_signals_at_a_population_are_refused():
    network = emitting()
    error = LearningSignal("readout", "learner", "random")
    with pytest.raises(ValueError, match="'learner' can have no other learning signal"):
        network.with_options(parts=[*network.parts, error])
    reading = Projection("learner", "readout", reads="v", learn=False)
    parts = [part for part in network.parts if getattr(part, "name", "") != "w_out"]
    with pytest.raises(ValueError, match="reads 'v': let the readout sum spikes"):
        network.with_options(parts=[*parts, reading])


def test_one_update_is_of_weights_by_what_is_emitted_alone():
    check_one_update(emitting().resolved)
    plain = Network.standard(3, 2, [(LIF, 4)], feedback=SYMMETRIC)
    for network, message in (
        (plain, "no population of the network emits"),
        (emitting(c_reg=1.0), "has no c_reg"),
        (emitting(clip_value=1.0), "has no clip_value"),
    ):
        with pytest.raises(ValueError, match=message):
            check_one_update(network.resolved)
    learning = emitting()
    parts = [
        replace(part, learn=True) if getattr(part, "target", "") == "teacher" else part
        for part in learning.parts
    ]
    with pytest.raises(ValueError, match="its synapses cannot learn"):
        learning.with_options(parts=parts)
    agent = [*emitting().parts, Agent("readout", "readout")]
    with pytest.raises(ValueError, match="agent"):
        emitting().with_options(parts=agent)
    assert emitting().optimizer.parameters["eta"] == ETA
