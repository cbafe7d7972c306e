"""Names that mean something to the toolkit, as users' names: what is computed and what is shown."""

from dataclasses import replace

import brian2
import numpy as np
import pytest
from brian2 import ms

from eprop_brian.equations import ALIF, LEAKY, LIF, Neuron
from eprop_brian.equations.optimizers import MOMENTUM
from eprop_brian.export.linear import linear_neuron
from eprop_brian.network.built import Capacity
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.network.spec import Network
from eprop_brian.symbolic.eligibility import derive
from eprop_brian.symbolic.latex import derivation_latex
from eprop_brian.symbolic.names import own, shown, substituted
from eprop_brian.symbolic.printing import derivation_text
from eprop_brian.symbolic.programs import readout_program
from eprop_brian.symbolic.step_map import step_map
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.recording import record
from eprop_brian.training.session import Session
from support.trials import random_trials

N_IN, N_STEPS, SIZE = 4, 60, 3
#: An adapting neuron with a current, in Brian2's customary names and some of the toolkit's.
CUSTOMARY = Neuron(
    name="customary",
    model="""
    dL/dt = (z - L - w + g*I)/cm : 1
    dw/dt = (y*L - w)/tau_w : 1
    dI/dt = -I/psi : 1
    """,
    on_pre="I += w*(1 + 0.1*w_post)",
    reset="L = 0; w += 0.1",
    threshold="L > margin",
    surrogate="0.3/(1 + abs(L - margin))**2",
    method="euler",
    parameters={
        "cm": "20 ms",
        "tau_w": "100 ms",
        "psi": "5 ms",
        "g": 3.0,
        "y": 0.2,
        "z": 0.1,
        "margin": [0.5, 0.6, 0.7],
    },
)
PLAIN_NAMES = {
    "L": "v",
    "w": "a",
    "I": "current",
    "cm": "tau_m",
    "psi": "tau_s",
    "g": "gain",
    "y": "coupled_by",
    "z": "rest",
    "margin": "v_th",
}


def renamed(neuron: Neuron, names: dict[str, str], on_pre: str) -> Neuron:
    text = ("model", "reset", "threshold", "surrogate", "update")
    return replace(
        neuron,
        on_pre=on_pre,
        **{part: _renamed(getattr(neuron, part), names) for part in text},
        parameters={names.get(n, n): value for n, value in neuron.parameters.items()},
        constants={names.get(n, n): substituted(x, names) for n, x in neuron.constants.items()},
    )


def _renamed(text, names):
    return substituted(text, {**names, **{f"d{n}": f"d{new}" for n, new in names.items()}})


PLAIN = renamed(CUSTOMARY, PLAIN_NAMES, "current += w*(1 + 0.1*a)")


def trials():
    return random_trials(5, (2, N_STEPS, N_IN), 1, n_targets=2)


def network_of(neuron, **options):
    return Network.standard(N_IN, 1, [(neuron, SIZE)], c_reg=0.1, **options)


def weights_of(network):
    weights = network.initial_weights(1)
    for name in ("w_in", "w_rec"):
        weights[name] = 2 * weights[name]
    return weights


def session_of(neuron, device="runtime", **options):
    network = network_of(neuron, **options)
    if network.gradient == "bptt":
        return BpttSession(network, trials(), N_STEPS, weights_of(network))
    return Session(network, make_program(device), trials(), N_STEPS, weights_of(network))


def test_spikes_are_those_of_stock_brian2(monkeypatch):
    """Brian2 has no parameter called cm, and no weight called as a state of the neuron.

    All else is called the same there.
    """
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    network = network_of(CUSTOMARY)
    weights = weights_of(network)
    weights["w_rec"][:] = 0
    session = Session(network, make_program("runtime"), trials(), N_STEPS, weights)
    one = trials().part(slice(0, 1))
    session.run(one, 1, learning=False)
    found = session.spikes()
    parameters = dict(CUSTOMARY.parameters)
    namespace = {
        "tau_w": 100 * ms,
        "psi": 5 * ms,
        "tau_m": 20 * ms,
        **{name: parameters[name] for name in "gyz"},
    }
    clock = brian2.Clock(dt=1 * ms)
    group = brian2.NeuronGroup(
        SIZE,
        CUSTOMARY.model.replace("cm", "tau_m") + "\nmargin : 1",
        threshold=CUSTOMARY.threshold,
        reset=CUSTOMARY.reset,
        method="euler",
        namespace=namespace,
        clock=clock,
    )
    group.margin = parameters["margin"]
    steps, inputs = np.nonzero(one.inputs[0])
    # A spike enters before the update of its step here, after it in Brian2.
    source = brian2.SpikeGeneratorGroup(N_IN, inputs, (steps - 1 + 1) * ms, clock=clock)
    synapses = brian2.Synapses(
        source,
        group,
        "w_syn : 1",
        on_pre=CUSTOMARY.on_pre.replace("I += w", "I_post += w_syn"),
        clock=clock,
    )
    synapses.connect()
    synapses.w_syn = weights["w_in"].T.ravel()
    monitor = brian2.SpikeMonitor(group)
    brian2.Network(group, source, synapses, monitor).run((N_STEPS + 1) * ms)
    expected = np.zeros((N_STEPS + 1, SIZE), dtype=bool)
    expected[np.rint(monitor.t / ms).astype(int), np.asarray(monitor.i)] = True
    assert found.sum() > 10
    np.testing.assert_array_equal(found[1:], expected[2:])


@pytest.mark.parametrize("gradient", ["factored", "online", "bptt"])
def test_learning_is_that_of_plain_names(gradient):
    options = {"gradient": gradient, "c_v": 0.1}
    learned = {"cm": Learned(minimum="2 ms"), "g": Learned(), "margin": Learned()}
    named = session_of(CUSTOMARY, learned=learned, **options)
    plain = session_of(
        PLAIN, learned={PLAIN_NAMES[name]: given for name, given in learned.items()}, **options
    )
    for _ in range(2):
        assert named.run(trials(), 2).loss == pytest.approx(plain.run(trials(), 2).loss, rel=1e-12)
    for name, value in plain.weights.items():
        population, _, parameter = name.partition(".")
        back = {new: n for n, new in PLAIN_NAMES.items()}
        key = f"customary.{back[parameter]}" if parameter else population
        np.testing.assert_allclose(named.weights[key], value, rtol=1e-11, err_msg=name)
    assert np.any(named.weights["customary.cm"] != 0.02)


def test_recordings_and_groups_show_users_names():
    network = network_of(CUSTOMARY)
    named, plain = (record(n, trials(), weights_of(n)) for n in (network, network_of(PLAIN)))
    assert named.populations[0].membrane == "L"
    for part in ("v", "a", "current", "threshold", "psi", "learning_signal", "eligibility_trace"):
        name = next((n for n, new in PLAIN_NAMES.items() if new == part), part)
        np.testing.assert_allclose(
            named[name].values, plain[part].values, rtol=1e-9, atol=1e-15, err_msg=part
        )
    capacity = Capacity(N_STEPS, 2, 2, N_STEPS, 2)
    groups = make_program("runtime")(network, capacity).built.groups
    group = groups["customary"]
    assert {*CUSTOMARY.parameters, "L", "w", "I"} <= {*group.variables}
    # The learning signal, the input, the spike and the surrogate have moved.
    assert {"L_2", "I_2", "z_2", "psi_2"} <= {*group.variables}


def test_a_parameter_called_like_a_unit_is_the_parameter():
    """Everywhere: also in constants and initial values, and beside units that equations name."""
    neuron = Neuron(
        name="rc",
        model="dv/dt = (-v + 1*mV)/tau : volt",
        on_pre="v += w*mV/cm*pF",
        reset="v = 0*mV",
        threshold="v > v_th",
        surrogate="1/v_th/(1 + abs(v - v_th)/v_th)**2",
        parameters={"cm": "200 pF", "gl": "10 nS", "v_th": "2 mV", "pF": "100 pF"},
        constants={"tau": "cm/gl"},
        initial={"v": "cm/cm*mV/4"},
        method="exact",
    )
    with pytest.raises(Exception, match=r"cm = 200 pF[\s\S]*in the unit 'pF'"):
        step_map(neuron)
    parameters = {"cm": "200e-12 farad", "gl": "10 nS", "v_th": "2 mV", "pF": "100e-12 farad"}
    neuron = replace(neuron, parameters=parameters)
    names = {"cm": "capacitance", "pF": "unit_capacitance"}
    plain = renamed(neuron, names, substituted(neuron.on_pre, names))
    plain = replace(plain, initial={"v": "mV/4"})
    step = step_map(neuron)
    assert step.values(1e-3)["cm"] == 200e-12
    assert step.values(1e-3)["tau"] == pytest.approx(0.02)
    results = []
    for kind in (neuron, plain):
        session = session_of(kind)
        loss = session.run(trials(), 2).loss
        bptt = session_of(kind, gradient="bptt")
        assert bptt.run(trials(), 2).loss == pytest.approx(loss, rel=1e-12)
        np.testing.assert_array_equal(bptt.spikes(), session.spikes())
        results.append((loss, session.weights["w_in"]))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-12)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-12)


@pytest.mark.parametrize("gradient", ["factored", "online"])
def test_neuron_readout_and_optimizer_may_use_the_same_names(gradient):
    """And those of what the synapses and the network's clockwork have."""
    readout = replace(
        LEAKY,
        update=substituted(LEAKY.update, {"kappa": "alpha", "zeta_out": "beta"}),
        constants={
            {"kappa": "alpha", "zeta_out": "beta"}[name]: substituted(x, {"kappa": "alpha"})
            for name, x in LEAKY.constants.items()
        },
    )
    names = {"m": "gradient", "momentum": "signal_sum", "eta": "eta"}
    optimizer = replace(
        MOMENTUM,
        update=substituted(MOMENTUM.update, names).replace(
            "gradient =", "_synapse = g + 0\ngradient ="
        ),
        states=("gradient",),
        parameters={names.get(n, n): v for n, v in MOMENTUM.parameters.items()} | {"step": 7.0},
    )
    learned = {"tau_m": Learned()}
    results = []
    for options in ({"readout": readout, "optimizer": optimizer}, {"optimizer": MOMENTUM}):
        session = session_of(ALIF, gradient=gradient, learned=learned, **options)
        for _ in range(2):
            session.run(trials(), 2)
        results.append(session.weights)
        state = "gradient" if "readout" in options else "m"
        results.append({"state": session.optimizer_states[f"{state}.w_in"]})
        results.append({"gradient": session.gradient()["w_in"]})
    for found, expected in zip(results[:3], results[3:], strict=True):
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_every_object_of_a_network_keeps_its_name():
    """A neuron called like a group of the network is refused, whatever the options."""
    plain = {"gradient": "factored", "learned": {"tau_m": Learned()}}
    delayed = {"gradient": "online", "delays": {"w_rec": ("1 ms", "4 ms")}}
    names = set()
    for options in (plain, delayed, {"connectivity": {"w_rec": 0.5}}):
        network = network_of(LIF, **options)
        capacity = Capacity(N_STEPS, 2, 2, N_STEPS, 2, n_answers=2)
        built = make_program("runtime")(network, capacity).built
        names |= {o.name for o in built.brian2_network.objects} | {*built.groups}
        names.add(built.brian2_network.name)
    assert {"answers", "control", "inputs", "readout", "network_"} <= names
    for name in names - {"lif"}:
        with pytest.raises(ValueError, match="cannot be called|two parts .* are called"):
            network_of(replace(LIF, name=name.rstrip("*")))


def test_arrays_of_groups_whose_names_run_into_each_other():
    """Group "a" with "b_c" beside group "a_b" with "c", and lists of spikes beside states."""
    # A sum of two, whose order cannot change a digit.
    update = "{0} = 0.9*{0} + I"
    kinds = [("a", "b_c"), ("a_b", "c"), ("lif", "spikes_neuron"), ("x", "to_readout_w")]

    def network(states):
        neurons = [
            Neuron(
                name=name,
                update=update.format(state),
                threshold=f"{state} > 1",
                surrogate=f"1/(1 + abs({state} - 1))**2",
            )
            for name, state in states
        ]
        return Network.standard(N_IN, 1, [(neuron, 2) for neuron in neurons], c_reg=0.1)

    results = []
    for states in (kinds, [(name, "v") for name, _ in kinds]):
        given = network(states)
        session = Session(given, make_program("runtime"), trials(), N_STEPS, weights_of(given))
        session.run(trials(), 2)
        results.append(session.weights)
    # The second of two that would share an array has a number.
    assert [p.name for p in network(kinds).populations] == ["a", "a_b_2", "lif", "x"]
    for name, value in results[1].items():
        np.testing.assert_array_equal(results[0][name], value, err_msg=name)


def test_a_form_can_be_read_back_and_names_made_of_two_differ():
    names = ["a", "a_b", "b_c", "c", "n1_a", "v_n1_a", "_x", "eps_v"]
    assert [shown(own(name)) for name in names] == names
    pairs = [f"A_{own(k)}_{own(m)}" for k in names for m in names]
    assert len({*pairs}) == len(pairs)
    assert shown(f"A_{own('a_b')}_{own('c')}") == "A_a_b_c"


def test_a_leaky_neuron_with_a_current_called_i_is_still_a_chain_of_integrators():
    neuron = Neuron(
        name="current",
        model="dz/dt = (I - z)/tau : 1\ndI/dt = -I/tau_s : 1",
        on_pre="I += w",
        reset="z -= 1",
        threshold="z > 1",
        surrogate="1/(1 + abs(z - 1))**2",
        parameters={"tau": "20 ms", "tau_s": "5 ms"},
        method="exact",
    )
    names = {"z": "v", "I": "current"}
    found, expected = (
        linear_neuron(step_map(n), 1e-3, 1)
        for n in (neuron, renamed(neuron, names, "current += w"))
    )
    assert {*found.decay} == {"z", "I"}
    for name, terms in found.terms.items():
        for term, value in terms.items():
            other = expected.terms[names[name]][names.get(term, term)]
            np.testing.assert_allclose(value, other, rtol=1e-12)


def test_printed_derivations_tell_names_apart():
    system = derive(step_map(CUSTOMARY))
    readout = readout_program(LEAKY)
    text = derivation_text(system, readout)
    assert "I_2: the step's summed weighted input." in text
    assert "I = I_2*(0.1*w + 1) + I" in text or "I + I_2" in text
    assert "signal_sum = signal_sum + L_2*filtered_trace" in text
    assert "eligibility_trace = psi_2*eps_L" in text
    assert "n1_" not in text
    assert "n1_" not in derivation_latex(system, readout)
