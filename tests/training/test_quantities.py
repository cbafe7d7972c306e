"""Any quantity of a trial, on every device, against the equations written out by hand."""

import numpy as np
import pytest

from eprop_brian.equations import ALIF, GRADIENT_DESCENT, LIF, Neuron
from eprop_brian.equations.synapse import Synapse
from eprop_brian.network.program import make_program
from eprop_brian.network.spec import Network
from eprop_brian.training.quantities import chosen_quantities
from eprop_brian.training.recording import record
from eprop_brian.training.session import Session
from eprop_brian.training.traces import TracedSynapse, synapses_of
from support.trials import DELAYS, random_trials

N_IN, N_OUT, N_STEPS, WINDOW = 4, 2, 60, 25
TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}
#: Adaptation that is strong and fast enough to matter in so short a trial.
ADAPTING = ALIF.with_parameters(tau_a="40 ms", beta=0.4, v_th=0.4, t_ref="2 ms")
TAU_M, TAU_A, TAU_OUT = 20.0, 40.0, 20.0
NEURONS = {"lif": [2, 0], "alif": [1]}
SYNAPSES = (
    TracedSynapse("inputs", 3, "alif", 1),
    TracedSynapse("lif", 2, "alif", 1),
    TracedSynapse("alif", 0, "alif", 1),
    TracedSynapse("inputs", 1, "lif", 2),
    TracedSynapse("alif", 1, "lif", 0),
)
QUANTITIES = (
    *("inputs", "v", "a", "spikes", "threshold", "input_current", "psi", "learning_signal"),
    *("transmitted", "eps_v", "eps_a", "eligibility_trace", "filtered_trace", "y", "error"),
)


def network(**options):
    lif = LIF.with_parameters(v_th=0.4, t_ref="2 ms")
    return Network.standard(N_IN, N_OUT, [(lif, 3), (ADAPTING, 2)], **options)


def start(made):
    """Weights with which every neuron spikes."""
    weights = made.initial_weights(2)
    return {**weights, "w_in": 0.5 * np.abs(weights["w_in"])}


def trials():
    return random_trials(3, (1, N_STEPS, N_IN), N_OUT)


def recorded(device, quantities=QUANTITIES, **options):
    made = network(**DELAYS)
    options = {"synapses": SYNAPSES, "learning_window": WINDOW, "device": device, **options}
    return record(made, trials(), start(made), quantities=quantities, **options)


@pytest.fixture(scope="module")
def everything():
    """All neurons and the traced synapses, on the device that needs no compiler."""
    return recorded("runtime")


def delay_of(made, synapse):
    c = next(c for c in made.resolved.connections if synapse.source in c.sources)
    delays = np.broadcast_to(c.delay_steps, c.shape)
    row, column = c.targets[synapse.target].start, c.sources[synapse.source].start
    return int(delays[row + synapse.post, column + synapse.pre])


def test_traces_follow_the_recursion_of_the_paper(everything):
    """Bellec et al. 2020, eqs. 24 and 25, with the presynaptic spikes as late as they arrive."""
    r, made = everything, network(**DELAYS)
    alpha, rho, kappa = (np.exp(-1 / tau) for tau in (TAU_M, TAU_A, TAU_OUT))
    for number, synapse in enumerate(SYNAPSES):
        source = r["inputs" if synapse.source == "inputs" else "spikes"]
        spikes = source.values[:, source.column(synapse.source, synapse.pre)]
        late = delay_of(made, synapse)
        arriving = np.append(np.zeros(late), spikes[: N_STEPS - late])
        adapts = 0.4 if synapse.target == "alif" else 0.0
        psi = r.psi[:, r["psi"].column(synapse.target, synapse.post)]
        eps_v, eps_a, filtered = np.zeros((3, N_STEPS))
        for t in range(N_STEPS):
            before = (eps_v[t - 1], eps_a[t - 1], psi[t - 1], filtered[t - 1]) if t else (0,) * 4
            eps_v[t] = alpha * before[0] + arriving[t]
            eps_a[t] = before[2] * before[0] + (rho - before[2] * adapts) * before[1]
            filtered[t] = kappa * before[3] + psi[t] * (eps_v[t] - adapts * eps_a[t])
        np.testing.assert_allclose(r.eps_v[:, number], eps_v, **TOLERANCE)
        np.testing.assert_allclose(r.filtered_trace[:, number], filtered, **TOLERANCE)
        trace = psi * (eps_v - adapts * eps_a)
        np.testing.assert_allclose(r.eligibility_trace[:, number], trace, **TOLERANCE)
        if adapts:
            slow = r["eps_a"].members.index(synapse)
            np.testing.assert_allclose(r.eps_a[:, slow], eps_a, **TOLERANCE)
            assert np.abs(eps_a).max() > 0.1
    assert len(r["eps_a"].members) == 3


def test_currents_and_states_are_those_of_the_equations(everything):
    r, made = everything, network(**DELAYS)
    weights = start(made)
    current = np.zeros((N_STEPS, 5))
    for c in made.resolved.connections:
        if c.to_readout:
            continue
        sent = r.inputs if c.from_inputs else r.spikes
        delays = np.broadcast_to(c.delay_steps, c.shape)
        for (post, pre), late in np.ndenumerate(delays):
            if c.from_inputs or post != pre:
                arriving = sent[: N_STEPS - late, pre]
                current[late:, post] += weights[c.name][post, pre] * arriving
    np.testing.assert_allclose(r.input_current, current, **TOLERANCE)
    v, a = np.zeros(5), np.zeros(5)
    before = np.zeros(5)
    for t in range(N_STEPS):
        v = np.exp(-1 / TAU_M) * v + current[t] - 0.4 * before
        a = np.exp(-1 / TAU_A) * a + before
        before = r.spikes[t]
        np.testing.assert_allclose(r.v[t], v, **TOLERANCE)
        np.testing.assert_allclose(r.a[t], a[3:], **TOLERANCE)
    np.testing.assert_allclose(r.threshold[:, 3:], 0.4 + 0.4 * r.a, **TOLERANCE)
    assert r.spikes.sum(axis=0).min() > 0


def test_signals_are_those_that_the_readouts_send(everything):
    r, made = everything, network(**DELAYS)
    b = start(made)["B"]
    late = made.resolved.signals[0].delay_steps - 1
    for (j, k), steps in np.ndenumerate(late):
        arrived = np.append(np.zeros(steps), b[j, k] * r.error[: N_STEPS - steps, k])
        np.testing.assert_allclose(r.transmitted[:, j, k], arrived, **TOLERANCE)
    np.testing.assert_allclose(r.learning_signal, r.transmitted.sum(axis=2), **TOLERANCE)
    assert not r.error[: N_STEPS - WINDOW].any() and r.error[N_STEPS - WINDOW :].all()


@pytest.mark.devices("runtime", "cpp", "cuda", slow=("cuda",))
def test_chosen_neurons_and_synapses_on_every_device(device, everything):
    r = recorded(device, neurons=NEURONS)
    assert list(r) == list(QUANTITIES)
    for name, quantity in r.items():
        whole = everything[name]
        columns = [whole.members.index(member) for member in quantity.members]
        np.testing.assert_allclose(
            quantity.values, whole.values[:, columns], **TOLERANCE, err_msg=name
        )
    assert [str(member) for member in r["v"].members] == ["lif 2", "lif 0", "alif 1"]
    assert [str(member) for member in r["a"].members] == ["alif 1"]


@pytest.mark.devices("runtime", "cpp", "cuda", slow=("cuda",))
def test_the_largest_synapses_are_the_same_on_every_device(device):
    made = network()
    weights = start(made)
    options = {"quantities": ["filtered_trace"], "learning_window": WINDOW, "device": device}
    chosen = record(made, trials(), weights, synapses=4, **options)
    every = [s for key in ("w_in", "w_rec") for s in synapses_of(made, key)]
    options["device"] = "runtime"
    full = record(made, trials(), weights, synapses=every, **options)
    sizes = dict(zip(every, np.abs(full.filtered_trace).sum(axis=0), strict=True))
    for synapse in chosen.synapses:
        of_kind = [
            s
            for s in every
            if (s.target, s.post) == (synapse.target, synapse.post)
            and (s.source == "inputs") == (synapse.source == "inputs")
        ]
        assert synapse == max(of_kind, key=sizes.get)
    for number, synapse in enumerate(chosen.synapses):
        expected = full.filtered_trace[:, every.index(synapse)]
        np.testing.assert_allclose(chosen.filtered_trace[:, number], expected, **TOLERANCE)
    if device == "runtime":
        of_neurons = record(made, trials(), weights, neurons={"alif": [1]}, **options)
        assert [(s.target, s.post) for s in of_neurons.synapses] == [("alif", 1)] * 2


def streaming(updates):
    return network(
        gradient="online", updates=updates, optimizer=GRADIENT_DESCENT, feedback="random"
    )


@pytest.mark.parametrize("updates", ["step", "spike"])
@pytest.mark.devices("runtime", "cpp", slow=())
def test_weights_over_the_steps_of_continuous_operation(device, updates):
    made, synapses = streaming(updates), (*SYNAPSES[:1], *SYNAPSES[3:])
    weights = start(made)
    options = {"synapses": synapses, "learning": True, "device": device}
    quantities = ["w", "filtered_trace", "learning_signal"]
    r = record(made, trials(), weights, quantities=quantities, **options)
    session = Session(made, make_program("runtime"), trials(), N_STEPS, weights)
    session.run(trials(), 1)
    for number, synapse in enumerate(synapses):
        key = "w_in" if synapse.source == "inputs" else "w_rec"
        c = made.resolved.keys.connections[key]
        place = c.targets[synapse.target].start + synapse.post
        column = c.sources[synapse.source].start + synapse.pre
        w = r.w[:, number]
        np.testing.assert_allclose(w[-1], session.weights[key][place, column], **TOLERANCE)
        assert len(np.unique(w)) > 3
        changes = np.diff(w, prepend=weights[key][place, column])
        if updates == "step":
            signal = r.learning_signal[:, r["learning_signal"].column(synapse.target, synapse.post)]
            descent = -GRADIENT_DESCENT.parameters["eta"] * signal * r.filtered_trace[:, number]
            np.testing.assert_allclose(changes, descent, rtol=1e-9, atol=1e-15)
        elif synapse.source == "inputs":
            # A weight changes when a spike comes along its synapse.
            spikes = np.flatnonzero(trials().inputs[0][:, synapse.pre])
            assert {*np.flatnonzero(changes)} <= {*spikes}


def test_the_largest_synapses_in_continuous_operation():
    made = streaming("step")
    options = {"quantities": ["w", "filtered_trace"], "learning": True}
    chosen = record(made, trials(), start(made), synapses=2, **options)
    every = [s for key in ("w_in", "w_rec") for s in synapses_of(made, key)]
    full = record(made, trials(), start(made), synapses=every, **options)
    sizes = dict(zip(every, np.abs(full.filtered_trace).sum(axis=0), strict=True))
    for synapse in chosen.synapses:
        rivals = [
            s
            for s in every
            if (s.target, s.post) == (synapse.target, synapse.post)
            and (s.source == "inputs") == (synapse.source == "inputs")
        ]
        assert synapse == max(rivals, key=sizes.get)
        # The first run has changed nothing.
        column = full.w[:, every.index(synapse)]
        np.testing.assert_array_equal(chosen.w[:, chosen.synapses.index(synapse)], column)


@pytest.mark.devices("runtime", "cpp", "cuda")
def test_states_of_synapses(device):
    """Short-term plasticity: a spike of an input acts first, then its effects decay."""
    plastic = Synapse(
        model="""
        dx/dt = (1 - x)/tau_d : 1 (event-driven)
        du/dt = (U - u)/tau_f : 1 (event-driven)
        """,
        on_pre="u += U*(1 - u); I_post += w*u*x; x -= u*x",
        parameters={"tau_d": "80 ms", "tau_f": "40 ms", "U": 0.3},
        initial={"x": "1", "u": "U"},
        name="plastic",
    )
    made = network().with_part("w_in", synapse=plastic)
    synapses = [SYNAPSES[1], SYNAPSES[0], SYNAPSES[3]]
    options = {"synapses": synapses, "device": device}
    quantities = ["synapse_x", "synapse_u", "input_current"]
    r = record(made, trials(), start(made), quantities=quantities, **options)
    assert [s.source for s in r["synapse_x"].members] == ["inputs", "inputs"]
    for number, pre in enumerate((3, 1)):
        x, u = 1.0, 0.3
        for t, spike in enumerate(trials().inputs[0][:, pre]):
            if spike:
                u += 0.3 * (1 - u)
                x -= u * x
            x, u = 1 - (1 - x) * np.exp(-1 / 80), 0.3 - (0.3 - u) * np.exp(-1 / 40)
            found = r.synapse_x[t, number], r.synapse_u[t, number]
            np.testing.assert_allclose(found, (x, u), rtol=1e-10)


def test_units_follow_from_the_equations():
    neuron = Neuron(
        name="in_volts",
        model="dv/dt = (v_rest - v + R*s)/tau_m : volt\nds/dt = -s/tau_s : amp",
        on_pre="s += w*pA",
        reset="v = v_rest",
        threshold="v > v_th",
        surrogate="0.3/width*clip(1 - abs(v - v_th)/width, 0, 1)",
        parameters={
            **{"tau_m": "20 ms", "tau_s": "5 ms", "R": "100 Mohm", "v_rest": "-70 mV"},
            **{"v_th": "-55 mV", "width": "10 mV"},
        },
        initial={"v": "v_rest"},
    )
    direct = neuron.__class__(
        name="direct",
        model="dv/dt = -v/tau_m : volt",
        on_pre="v += w",
        reset="v = 0*mV",
        threshold="v > v_th",
        surrogate="0.3/v_th/(1 + abs(v - v_th)/v_th)**2",
        parameters={"tau_m": "20 ms", "v_th": "5 mV"},
    )
    made = Network.standard(2, 1, [(neuron, 1), (direct, 1)])
    units = {
        (q.part, q.name): " ".join({*q.units.values()})
        for found in chosen_quantities(
            made.resolved, ["v", "s", "psi", "input_current", "eps_v", "eps_s", "eligibility_trace"]
        ).values()
        for q in found
    }
    assert units == {
        ("in_volts", "v"): "volt",
        ("in_volts", "s"): "amp",
        ("in_volts", "psi"): "1/volt",
        ("in_volts", "input_current"): "1",
        ("in_volts", "eps_v"): "volt",
        ("in_volts", "eps_s"): "amp",
        ("in_volts", "eligibility_trace"): "1",
        ("direct", "v"): "volt",
        ("direct", "psi"): "1/volt",
        ("direct", "input_current"): "volt",
        ("direct", "eps_v"): "1",
        ("direct", "eligibility_trace"): "1/volt",
    }


def test_a_state_may_be_called_as_a_quantity():
    named = Neuron(
        name="named",
        update="psi = alpha*psi + I - 0.4*z\ny = 0.9*y + z",
        threshold="psi >= 0.4",
        surrogate="0.3*clip(1 - abs(psi - 0.4), 0, 1)",
        parameters={"tau": "20 ms"},
        constants={"alpha": "exp(-dt/tau)"},
    )
    made = Network.standard(N_IN, N_OUT, [(named, 2)])
    data, weights = trials(), start(made)
    r = record(made, data, weights, synapses=0)
    assert {"psi", "y", "named.psi", "named.y"} <= {*r}
    np.testing.assert_allclose(r.psi, 0.3 * np.clip(1 - np.abs(r["named.psi"].values - 0.4), 0, 1))
    assert r.y.shape == r.output.shape and r["named.y"].kind == "neurons"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantities": ["eps_b"]}, r"unknown quantity 'eps_b' \(did you mean 'eps_[va]'\?\)"),
        ({"quantities": ["L"]}, r"did you mean 'learning_signal'\?"),
        ({"quantities": ["v_m"]}, r"  a \(1; alif\): state"),
        ({"quantities": ["lif.a"]}, "unknown quantity 'lif.a'"),
        ({"quantities": "v"}, "quantities is a list of names"),
        ({"quantities": ["w"]}, "unknown quantity 'w'"),
        ({"neurons": {"alf": None}}, r"unknown population 'alf' \(did you mean 'alif'\?\)"),
        ({"neurons": {"lif": [3]}}, "'lif' has neurons 0 to 2, there is no 3"),
        ({"quantities": ["a"], "neurons": {"lif": [0]}}, "'a' is of alif, of which"),
        ({"learning": True}, "is for continuous operation"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
    ],
)
def test_mistakes_are_named(options, message):
    made = network()
    with pytest.raises(ValueError, match=message):
        record(made, trials(), start(made), **options)


def test_a_weight_that_does_not_change_is_refused():
    made = streaming("step")
    with pytest.raises(ValueError, match="record it with learning=True"):
        record(made, trials(), start(made), quantities=["w"])


def test_a_network_that_does_not_learn_is_recorded_without_traces():
    made = network()
    for key in ("w_in", "w_rec", "w_out"):
        made = made.with_part(key, learn=False)
    r = record(made, trials(), start(network()))
    assert "v" in r and "psi" not in r and r.spikes.any()
    with pytest.raises(ValueError, match="unknown quantity 'psi'"):
        record(made, trials(), start(network()), quantities=["psi"])
