"""Recorded trials against recorded runs of another simulator, and against the learning rule."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from brian2 import ms

from eprop_brian.equations import ALIF, GRADIENT_DESCENT, LIF, RANDOM, Neuron
from eprop_brian.network.spec import Network
from eprop_brian.tasks import get_task
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.recording import record
from eprop_brian.training.reference import load_case
from eprop_brian.training.traces import TracedSynapse

CASE = Path(__file__).parents[1] / "reference" / "alif_classification_gd.npz"
N_LIF, N_STEPS, WINDOW = 5, 300, 60
TOLERANCE = {"rtol": 0, "atol": 1e-12}
#: An input and a recurrent synapse onto either kind.
SYNAPSES = (
    TracedSynapse("inputs", 6, "lif", 4),
    TracedSynapse("alif", 0, "lif", 4),
    TracedSynapse("inputs", 3, "alif", 0),
    TracedSynapse("lif", 4, "alif", 0),
    TracedSynapse("alif", 1, "alif", 0),
)


@pytest.fixture(scope="module")
def reference():
    with np.load(CASE) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module", params=[0, 2], ids=["first trial", "third trial"])
def recorded(request, reference):
    """A trial of the reference case: its number, what was recorded now, and the case."""
    case, trial = load_case(CASE), request.param
    # The case has one trial per update.
    weights = {name: reference[name][trial] for name in ("w_in", "w_rec", "w_out")}
    recording = record(
        case.network,
        case.trials,
        {**weights, "B": reference["B"]},
        index=trial,
        learning_window=case.learning_window,
        synapses=SYNAPSES,
    )
    return trial, recording, case


def matrix_entry(synapse):
    """Matrix, row and column of a synapse of the reference case."""
    offset = {"lif": 0, "alif": N_LIF, "inputs": 0}
    row = offset[synapse.target] + synapse.post
    column = offset[synapse.source] + synapse.pre
    return "in" if synapse.source == "inputs" else "rec", row, column


def test_arrays_are_those_of_the_other_simulator(recorded, reference):
    trial, recording, case = recorded
    np.testing.assert_array_equal(recording.spikes, case.spikes[trial])
    for ours, theirs in [
        (recording.v, "v_rec"),
        (recording.psi, "psi"),
        (recording.learning_signal, "L"),
        (recording.y, "v_out"),
        (recording.error, "error_signal"),
    ]:
        np.testing.assert_allclose(ours, reference[theirs][trial], **TOLERANCE)
    # It reports a readout signal in the learning window only.
    np.testing.assert_allclose(
        recording.output[-WINDOW:], reference["readout_signal"][trial, -WINDOW:], **TOLERANCE
    )


def test_threshold_is_that_of_the_other_simulator(recorded, reference):
    trial, recording, _ = recorded
    np.testing.assert_array_equal(recording.threshold[:, :N_LIF], 0.6)
    np.testing.assert_allclose(
        recording.threshold[:, N_LIF:], reference["v_th_adapt"][trial], **TOLERANCE
    )
    assert np.all((recording.v >= recording.threshold)[recording.spikes])


def test_shapes_time_and_order(recorded):
    trial, recording, case = recorded
    assert recording.n_steps == N_STEPS
    np.testing.assert_array_equal(recording.counts, np.arange(N_STEPS) >= N_STEPS - WINDOW)
    assert recording.softmax
    # Also where the program has no probabilities, before the learning window.
    probabilities = np.exp(recording.y) / np.exp(recording.y).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(recording.output, probabilities, rtol=1e-12)
    np.testing.assert_allclose(recording.time, np.arange(N_STEPS), rtol=1e-12)
    np.testing.assert_array_equal(recording.inputs, case.trials.inputs[trial])
    assert recording.target.shape == (N_STEPS, 2)
    np.testing.assert_array_equal(recording.target[7], case.trials.targets[trial, 0])
    names = [(p.name, p.size, p.membrane) for p in recording.populations]
    assert names == [("lif", 5, "v"), ("alif", 5, "v")]
    assert (recording["v"].column("alif", 2), recording["v"].unit) == (7, "1")
    with pytest.raises(ValueError, match="it has lif, alif"):
        recording["v"].column("adex", 0)
    assert recording.synapses == SYNAPSES
    assert recording.eligibility_trace.shape == recording.filtered_trace.shape == (N_STEPS, 5)


def test_signal_times_filtered_trace_is_the_gradient(recorded, reference):
    trial, recording, _ = recorded
    for number, synapse in enumerate(SYNAPSES):
        matrix, row, column = matrix_entry(synapse)
        gradient = recording.learning_signal[:, row] @ recording.filtered_trace[:, number]
        expected = reference[f"g_{matrix}_numpy"][trial, row, column]
        np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-15)


def test_traces_follow_the_published_recursion(recorded):
    _, recording, _ = recorded
    alpha, rho, kappa, beta = (
        np.exp(-1 / 20),
        np.exp(-1 / 200),
        np.exp(-1 / 20),
        0.17385042693548258,
    )
    for number, synapse in enumerate(SYNAPSES):
        matrix, row, column = matrix_entry(synapse)
        entering = recording.inputs[:, column]
        if matrix == "rec":
            entering = np.append(0, recording.spikes[:-1, column])
        adapts = beta if synapse.target == "alif" else 0.0
        eps_v = eps_a = filtered = 0.0
        for t, psi in enumerate(recording.psi[:, row]):
            if t:
                psi_before = recording.psi[t - 1, row]
                eps_a = (rho - adapts * psi_before) * eps_a + psi_before * eps_v
            eps_v = alpha * eps_v + entering[t]
            trace = psi * (eps_v - adapts * eps_a)
            filtered = kappa * filtered + (1 - kappa) * trace
            found = recording.eligibility_trace[t, number], recording.filtered_trace[t, number]
            np.testing.assert_allclose(found, (trace, filtered), **TOLERANCE)


# --- choosing synapses, small networks ------------------------------------------------------------


def small_network(*neurons, n_inputs=4, n_outputs=2):
    """A network with low thresholds, so that it fires in a short trial."""
    lif = LIF.with_parameters(v_th=0.3)
    return Network.standard(
        n_inputs, n_outputs, neurons or [(lif, 3), (ALIF.with_parameters(v_th=0.3), 2)]
    )


def small_trials(n_inputs=4, n_outputs=2, n_steps=80):
    rng = np.random.default_rng(3)
    return Trials(
        inputs=rng.random((2, n_steps, n_inputs)) < 0.2,
        targets=rng.standard_normal((2, n_steps, n_outputs)),
        pattern=np.array([0, 1, 0]),
        target=np.array([0, 1, 1]),
    )


def test_largest_synapses_are_chosen_in_turn_from_each_population():
    network, trials = small_network(), small_trials()
    weights = network.initial_weights(1)
    before = {name: value.copy() for name, value in weights.items()}
    sizes = {"inputs": 4, "lif": 3, "alif": 2}
    every = [
        TracedSynapse(source, pre, target, post)
        for target in ("lif", "alif")
        for source in sizes
        for pre in range(sizes[source])
        for post in range(sizes[target])
        if (source, pre) != (target, post)
    ]
    options = {"index": 2, "learning_window": 30}
    full = record(network, trials, weights, synapses=every, **options)
    size = dict(zip(every, np.abs(full.filtered_trace).sum(axis=0), strict=True))

    chosen = record(network, trials, weights, synapses=6, **options)

    by_target = {}
    for target in ("lif", "alif"):
        neurons = []
        for post in range(sizes[target]):
            own = [s for s in every if (s.target, s.post) == (target, post)]
            from_inputs = max((s for s in own if s.source == "inputs"), key=size.get)
            recurrent = max((s for s in own if s.source != "inputs"), key=size.get)
            neurons.append([from_inputs, recurrent])
        by_target[target] = sorted(neurons, key=lambda pair: -size[pair[0]] - size[pair[1]])
    wanted = [*by_target["lif"][0], *by_target["alif"][0], *by_target["lif"][1]]
    assert list(chosen.synapses) == wanted
    for number, synapse in enumerate(chosen.synapses):
        np.testing.assert_array_equal(
            chosen.filtered_trace[:, number], full.filtered_trace[:, every.index(synapse)]
        )
    for name in ("spikes", "v", "psi", "learning_signal", "y", "error"):
        np.testing.assert_array_equal(getattr(chosen, name), getattr(full, name))
    assert chosen.spikes.any()
    np.testing.assert_array_equal(chosen.target, trials.targets[1])
    np.testing.assert_array_equal(chosen.inputs, trials.inputs[0])
    assert np.flatnonzero(chosen.counts)[0] == 50
    assert not chosen.error[:50].any() and chosen.error[50:].all()
    for name, value in before.items():
        np.testing.assert_array_equal(weights[name], value)


def test_a_task_gives_the_trial():
    task = get_task("pattern-generation", n_steps=50, n_inputs=4, n_outputs=2)
    network = small_network((LIF, 2))
    recording = record(network, task, network.initial_weights(0), seed=5, synapses=0)
    trials = task.trials(5, "test", 0, 1)
    np.testing.assert_array_equal(recording.inputs, trials.inputs[0])
    np.testing.assert_array_equal(recording.target, trials.targets[0])
    np.testing.assert_array_equal(recording.output, recording.y)
    assert recording.counts.all()
    assert recording.synapses == () and recording.filtered_trace.shape == (50, 0)


def test_membrane_with_a_unit_and_a_threshold_per_neuron():
    neuron = Neuron(
        name="lif_in_volts",
        model="dv/dt = (v_rest - v)/tau_m : volt",
        on_pre="v += w",
        reset="v = v_rest",
        # The membrane is what rises with the margin, wherever it stands.
        threshold="v - v_th > 0*mV",
        surrogate="0.3/width*clip(1 - abs(v - v_th)/width, 0, 1)",
        parameters={
            "tau_m": "20 ms",
            "v_rest": "-70 mV",
            "v_th": ["-55 mV", "-50 mV"],
            "width": "10 mV",
        },
        initial={"v": "v_rest"},
    )
    network = small_network((neuron, 2))
    weights = {name: 0.02 * w for name, w in network.initial_weights(0).items()}
    recording = record(network, small_trials(), weights, synapses=0)
    assert [recording[x].unit for x in ("v", "threshold", "psi")] == ["volt", "volt", "1/volt"]
    np.testing.assert_allclose(recording.threshold, np.tile([-0.055, -0.05], (80, 1)))
    assert recording.v[0] == pytest.approx(-0.07, abs=0.03)


def test_no_threshold_where_it_compares_an_expression():
    neuron = replace(ALIF, threshold="v + a >= v_th")
    network = small_network((LIF, 2), (neuron, 2))
    recording = record(network, small_trials(), network.initial_weights(0), synapses=0)
    assert [p.membrane for p in recording.populations] == ["v", None]
    assert {member.part for member in recording["threshold"].members} == {"lif"}
    assert recording.v.shape == recording.psi.shape == (80, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"index": 3}, "index must be 0 to 2"),
        ({"learning_window": 81}, "learning_window must be 1 to 80"),
        ({"learning_window": 0}, "learning_window must be 1 to 80"),
        ({"synapses": -1}, "at least 0"),
        ({"synapses": [TracedSynapse("inputs", 4, "lif", 0)]}, "no synapse 'input 4 → lif 0'"),
        ({"synapses": [TracedSynapse("lif", 1, "lif", 1)]}, "no synapse 'lif 1 → lif 1'"),
        ({"synapses": [TracedSynapse("lif", 1, "readout", 1)]}, "no synapse"),
    ],
)
def test_mistakes_are_named(options, message):
    network = small_network()
    with pytest.raises(ValueError, match=message):
        record(network, small_trials(), network.initial_weights(0), **options)


def test_trials_must_fit_the_network():
    network = small_network(n_inputs=3)
    with pytest.raises(ValueError, match="4 inputs and 2 outputs, the network 3 and 2"):
        record(network, small_trials(), network.initial_weights(0))


def test_what_connections_transmit_adds_up_to_the_learning_signal():
    delays = np.arange(1, 11).reshape(5, 2) * ms
    network = Network.standard(
        6, 2, [(LIF, 3), (ALIF, 2)], feedback=RANDOM.with_options(delay=delays), c_reg=1.0
    )
    weights = network.initial_weights(0)
    quantities = ["transmitted", "learning_signal", "error"]
    recording = record(network, small_trials(6), weights, quantities=quantities)
    assert recording.transmitted.shape == (80, 5, 2)
    np.testing.assert_allclose(
        recording.transmitted.sum(axis=2), recording.learning_signal, rtol=1e-12, atol=1e-15
    )
    for (j, k), late in np.ndenumerate(np.arange(10).reshape(5, 2)):
        arrived = np.zeros(80)
        arrived[late:] = weights["B"][j, k] * recording.error[: 80 - late, k]
        np.testing.assert_allclose(recording.transmitted[:, j, k], arrived, rtol=1e-12)
    assert "transmitted" not in record(network, small_trials(6), weights, synapses=0)


def test_a_network_in_continuous_operation_is_recorded_in_a_trial_of_its_own():
    trials, options = small_trials(6), {"feedback": "random", "rate_averaging": "moving"}
    network = Network.standard(6, 2, [(LIF, 5)], **options)
    weights = network.initial_weights(0)
    streaming = network.with_options(
        gradient="online", updates="spike", trace_cutoff=10 * ms, optimizer=GRADIENT_DESCENT
    )
    first, second = (record(n, trials, weights, synapses=2) for n in (network, streaming))
    np.testing.assert_array_equal(first.spikes, second.spikes)
    np.testing.assert_array_equal(first.filtered_trace, second.filtered_trace)
    assert first.spikes.any()


def test_a_delay_beyond_the_trial_is_recorded_in_continuous_operation():
    """What it carries arrives in a later trial, of which a recording sees nothing."""
    options = {"gradient": "online", "updates": "spike", "feedback": "random"}
    network = Network.standard(6, 2, [(LIF, 5)], delays={"w_rec": 90 * ms}, **options)
    weights = network.initial_weights(0)
    recording = record(network, small_trials(6), weights, synapses=0)
    weights["w_rec"][:] = 0
    alone = record(network, small_trials(6), weights, synapses=0)
    np.testing.assert_array_equal(recording.spikes, alone.spikes)
    assert alone.spikes.any()


def test_threshold_of_neurons_that_have_learned_it():
    network = Network.standard(
        6, 2, [(ALIF, 5)], learned={"v_th": {}, "beta": {}}, feedback="random"
    )
    weights = network.initial_weights(0)
    weights["alif.v_th"] = np.linspace(0.5, 0.7, 5)
    weights["alif.beta"] = np.linspace(0.1, 0.2, 5)
    recording = record(network, small_trials(6), weights, synapses=2)
    crossed = recording.v >= recording.threshold
    refractory = np.zeros_like(crossed)
    for t, j in zip(*np.nonzero(recording.spikes), strict=True):
        refractory[t + 1 : t + 5, j] = True
    np.testing.assert_array_equal(recording.spikes, crossed & ~refractory)
    assert recording.spikes.any(axis=0).sum() >= 2
    np.testing.assert_allclose(recording.threshold[0], weights["alif.v_th"])
