"""A `NeuronGroup` and its `Synapses` as a `Neuron`; what cannot be read is refused by name."""

import brian2
import numpy as np
import pytest
from brian2 import (
    Hz,
    NetworkOperation,
    NeuronGroup,
    PoissonGroup,
    PoissonInput,
    SpikeGeneratorGroup,
    SpikeMonitor,
    StateMonitor,
    Synapses,
    TimedArray,
    collect,
    ms,
    mV,
    nA,
    start_scope,
)

from eprop_brian import Inputs, Network, Neuron, Projection
from eprop_brian.brian import inputs_from_brian2
from eprop_brian.symbolic.step_map import step_map

LEAKY = "dv/dt = -v/tau : volt"
BUMP = "0.03/mV*clip(1 - abs(v - 10*mV)/(10*mV), 0, 1)"
SPIKES = {"threshold": "v > 10*mV", "reset": "v = 0*mV"}


@pytest.fixture(autouse=True)
def in_numpy(monkeypatch):
    """Nothing to compile, and objects of this test alone."""
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    start_scope()


def group(model=LEAKY, size=4, **options):
    namespace = options.pop("namespace", {"tau": 10 * ms})
    return NeuronGroup(size, model, **{**SPIKES, "namespace": namespace, **options})


# --- neurons --------------------------------------------------------------------------------------


def test_names_are_looked_up_where_brian2_does():
    tau, unused, theta = 20 * ms, 3 * nA, 12 * mV
    read = Neuron.from_brian2(group(threshold="v > theta"), on_pre="v += w*mV")
    assert read.parameters == {"tau": 10 * ms, "theta": 12 * mV}
    read = Neuron.from_brian2(group(namespace=None), on_pre="v += w*mV")
    assert read.parameters == {"tau": 20 * ms}
    read = Neuron.from_brian2(group(namespace=None), on_pre="v += w*mV", namespace={"tau": 5 * ms})
    assert read.parameters == {"tau": 5 * ms}
    assert tau and unused and theta


def test_values_are_the_present_ones():
    model = """
    dv/dt = (E - v + R*I)/tau : volt (unless refractory)
    du/dt = -u/tau : 1
    I : amp (constant)
    R : ohm (shared)
    E : volt
    """
    neurons = group(model, refractory=2 * ms)
    neurons.I = [1, 2, 3, 4] * nA
    neurons.R, neurons.E, neurons.v = 5 * brian2.Mohm, 1.5 * mV, "i*mV"
    before = neurons.get_states()
    read = Neuron.from_brian2(neurons, on_pre="v += w*mV", surrogate=BUMP, name="mine")
    assert read.name == "mine"
    assert read.refractory == "2*ms"
    step = step_map(read)
    assert step.parameters["R"] == 5e6 and step.parameters["E"] == 1.5e-3
    assert np.array_equal(step.parameters["I"], np.array([1, 2, 3, 4]) * 1e-9)
    values = step.initial_values(1e-4)
    assert np.array_equal(values["v"], np.arange(4) * 1e-3)
    assert values["u"] == 0
    after = neurons.get_states()
    assert all(np.array_equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    ("model", "method", "expected"),
    [
        (LEAKY, None, "exact"),
        ("dv/dt = (-v + v**2/mV)/tau : volt", None, "euler"),
        ("dv/dt = -v/tau : volt", brian2.rk4, "rk4"),
        ("dv/dt = -v/tau : volt", "Euler", "euler"),
    ],
)
def test_method_is_the_one_that_brian2_takes(model, method, expected):
    neurons = group(model, **({"method": method} if method else {}))
    assert Neuron.from_brian2(neurons, on_pre="v += w*mV").method == expected


def test_timed_arrays_and_noise_are_read():
    signal = TimedArray([1, 2, 3] * mV, dt=1 * ms)
    neurons = group(
        "dv/dt = (signal(t) - v)/tau + sigma*xi*tau**-.5 : volt",
        method="euler",
        namespace={"tau": 10 * ms, "sigma": 1 * mV},
    )
    read = Neuron.from_brian2(neurons, on_pre="v += w*mV", surrogate=BUMP)
    assert np.array_equal(read.timed_arrays["signal"]["values"], signal.values * brian2.volt)
    step_map(read)


# --- synapses -------------------------------------------------------------------------------------

TWO = """
dv/dt = (ge + gi - v)/tau : volt
dge/dt = -ge/(5*ms) : volt
dgi/dt = -gi/(8*ms) : volt
"""


def synapses(target, on_pre, model="", **options):
    made = Synapses(target, target, model, on_pre=on_pre, **options)
    made.connect("i != j")
    return made


def test_several_synapses_are_receptors():
    we = 1.62 * mV
    neurons = group(TWO)
    exc = synapses(neurons, "ge += we", name="exc")
    inh = synapses(neurons, "gi_post -= w", "w : volt", name="inh")
    inh.w = "(i + 1)*mV"
    assert Neuron.from_brian2(neurons, [exc, inh]).on_pre == {
        "exc": "ge += w*we",
        "inh": "gi -= w*mV",
    }
    read = Neuron.from_brian2(neurons, {"ampa": exc, "gaba": [inh]})
    assert list(read.on_pre) == ["ampa", "gaba"]
    assert read.parameters["we"] == we
    assert Neuron.from_brian2(neurons, exc).on_pre == "ge += w*we"


def test_synapses_that_differ_by_a_number_share_a_receptor():
    neurons = group()
    exc = synapses(neurons, "v += J", name="exc", delay=1 * ms)
    inh = synapses(neurons, "v += -g*J", name="inh")
    network = network_of([neurons, exc, inh], namespace={"J": 0.1 * mV, "g": 5})
    assert network.populations[0].neuron.on_pre == "v += w*J"
    weights = network.initial_weights(0)
    off = ~np.eye(4, dtype=bool)
    assert np.all(weights["exc"][off] == 1) and np.allclose(weights["inh"][off], -5, rtol=1e-15)
    assert network.delay_steps["exc"] == 11 and network.delay_steps["inh"] == 1


def network_of(objects, **options):
    """The network of some objects, with an input and a surrogate for each group."""
    groups = [x.name for x in objects if isinstance(x, NeuronGroup)]
    receptor = options.pop("receptor", "")
    parts = [Inputs(1, "extra"), Projection("extra", groups[0], receptor=receptor)]
    fields = {name: {"surrogate": BUMP} for name in groups}
    options = {"neurons": fields, "parts": parts, **options}
    return Network.from_brian2(objects, 1, **options)


def test_what_differs_between_synapses_is_the_weight():
    width, w = 2.0, 3 * mV
    neurons = group(TWO)
    far = synapses(neurons, "ge += strength*exp(-d/width)*(5*mV - v)", "strength : 1\nd : 1")
    far.strength, far.d = "j + 1", "abs(i - j)"
    script = synapses(neurons, "gi += w")
    network = network_of([neurons, far, script], receptor=script.name, namespace=locals())
    assert network.populations[0].neuron.on_pre[script.name] == "gi += w*mV"
    weights = network.initial_weights(0)
    post, pre = np.indices((4, 4))
    off = pre != post
    expected = (post + 1) * np.exp(-np.abs(pre - post) / width)
    assert np.allclose(weights[far.name][off], expected[off], rtol=1e-15)
    assert np.all(weights[script.name][off] == w / mV)


def test_effects_of_weight_0_are_read():
    neurons = group()
    none = synapses(neurons, "v += we", name="a")
    some = synapses(neurons, "v += wi", name="b")
    read = Neuron.from_brian2(neurons, [none, some], namespace={"we": 0 * mV, "wi": 1 * mV})
    assert read.on_pre == {"a": "v += w*we", "b": "v += w*wi"}


def test_a_neurons_own_w_is_not_the_weight():
    neurons = group("dv/dt = (-v - w)/tau : volt\ndw/dt = -w/tau : volt", method="euler")
    first = synapses(neurons, "w_post += g", "g : volt", name="first")
    first.g = 2 * mV
    assert Neuron.from_brian2(neurons, first).on_pre == "w_post += w*mV"


# --- inputs ---------------------------------------------------------------------------------------


def test_inputs_are_a_step_later_and_repeat():
    spikes = SpikeGeneratorGroup(3, [0, 2, 1], [0, 1, 2.5] * ms, period=4 * ms, dt=0.5 * ms)
    inputs = inputs_from_brian2([group(dt=0.5 * ms), spikes], 12, 2)
    found = [*zip(*np.nonzero(inputs[0]), strict=True)]
    assert found == [(1, 0), (3, 2), (6, 1), (9, 0), (11, 2)]
    assert np.array_equal(inputs[1], inputs[0])


def test_poisson_sources_are_drawn():
    neurons = group(size=5)
    poisson = PoissonGroup(40, np.linspace(0, 4000, 40) * Hz, name="poisson")
    many = PoissonInput(neurons[1:], "v", 100, 50 * Hz, weight=0.1 * mV)
    wired = Synapses(poisson, neurons, on_pre="v += 0.2*mV", name="wired")
    wired.connect()
    objects = [neurons, many, poisson, wired]
    network = network_of(objects, parts=())
    assert network.shapes["wired"] == (5, 40) and network.shapes[f"w_{many.name}"] == (5, 4)
    weights = network.initial_weights(0)
    assert np.all(weights["wired"] == 1)
    assert np.all(weights[f"w_{many.name}"].toarray() == 0.5 * np.eye(5)[:, 1:])
    drawn = inputs_from_brian2(objects, 2001, seed=1)[0]
    assert not drawn[0].any()
    # Five standard deviations.
    assert abs(np.mean(drawn[1:, :4]) - 0.5) < 5 * np.sqrt(0.5 / 8000)
    rates = np.mean(drawn[1:, 4:], axis=0)
    assert np.all(np.abs(rates - np.linspace(0, 0.4, 40)) < 5 * np.sqrt(0.25 / 2000))
    assert np.array_equal(drawn, inputs_from_brian2(objects, 2001, seed=1)[0])


def test_rates_may_be_expressions_of_the_time():
    strength = 900 * Hz
    signal = TimedArray([0, 1, 0.5], dt=50 * ms)
    columns = TimedArray([[0, 1], [1, 0]], dt=75 * ms)
    rates = "signal(t)*columns(t, i)*strength*(1 + i)*int(t < 1*second)"
    poisson = PoissonGroup(2, rates)
    spikes = inputs_from_brian2([group(), poisson], 1501, 300, seed=2)[:, 1:]
    means = spikes.reshape(300, 6, 250, 2).mean(axis=(0, 2))
    expected = np.array([[0, 0], [0, 0], [0, 2], [1, 0], [0.5, 0], [0.5, 0]]) * 0.09
    # Five standard deviations, and exactly none where the rate is 0.
    assert np.all(np.abs(means - expected) <= 5 * np.sqrt(expected / (300 * 250)))
    assert strength and signal and columns


def test_a_script_is_what_run_would_run():
    tau = 10 * ms
    neurons = group(namespace=None, name="neurons")
    drive = SpikeGeneratorGroup(2, [0], [1] * ms, name="drive")
    wired = Synapses(drive, neurons, on_pre="v += 2*mV", name="wired")
    wired.connect()
    spikes, states = SpikeMonitor(neurons), StateMonitor(neurons, "v", record=True)
    network = Network.from_brian2(collect(), 2)
    assert [*network.shapes] == ["wired", "w_out", "B"]
    assert network.populations[0].neuron.parameters == {"tau": tau}
    assert spikes.num_spikes == 0 and len(states.t) == 0
    listed = brian2.Network(spikes, wired, drive, neurons)
    assert Network.from_brian2(listed, 2).shapes == network.shapes
    assert inputs_from_brian2(listed, 20)[0, 11].tolist() == [True, False]


# --- what cannot be read --------------------------------------------------------------------------


def wired(on_pre="v += 1*mV", model="", **options):
    """A group with synapses, made by a test that names what is wrong with them."""
    neurons = group(**{"name": "neurons", **options.pop("group", {})})
    connect = options.pop("connect", {"condition": "i != j"})
    made = Synapses(neurons, neurons, model, on_pre=on_pre, name="wired", **options)
    if connect:
        made.connect(**connect)
    return [neurons, made]


def with_code_of_its_own():
    neurons, made = wired()
    neurons.run_regularly("v += 1*mV", dt=1 * ms)
    return [neurons, made]


def with_code_of_a_part():
    neurons, made = wired()
    neurons[1:3].run_regularly("v += 2*mV", dt=1 * ms)
    return [neurons, made]


def with_changing_synapses():
    neurons, made = wired("v += w*mV", "w : 1")
    made.run_regularly("w = w/2", dt=1 * ms)
    return [neurons, made]


def with_another_step():
    return [*wired(), SpikeGeneratorGroup(1, [0], [1] * ms, dt=0.5 * ms, name="drive")]


def after_a_spike():
    neurons, made = wired(group={"refractory": 2 * ms})
    neurons.v = 11 * mV
    brian2.Network(neurons, made).run(0.2 * ms)
    return [neurons, made]


def moved():
    neurons, made = wired()
    neurons.state_updater.when = "after_resets"
    return [neurons, made]


def inactive(what):
    neurons, made = wired()
    what(neurons, made).active = False
    return [neurons, made]


def in_another_order():
    network = brian2.Network(*wired())
    network.schedule = ["start", "synapses", "groups", "thresholds", "resets", "end"]
    return network


def late_to_itself():
    return wired(delay=1 * ms, connect={"j": "i"})


def onto_synapses():
    neurons, made = wired("v += w*mV", "w : 1")
    onto = Synapses(neurons, made, on_pre="w_post += 1", name="onto")
    onto.connect()
    return [neurons, made, onto]


DEPRESSING = "dx/dt = (1 - x)/(100*ms) : 1 (event-driven)"


def after_depression():
    neurons, made = wired("v += x*mV; x *= .5", DEPRESSING)
    network = brian2.Network(neurons, made)
    network.run(0.2 * ms)
    neurons.v = 11 * mV
    network.run(0.2 * ms)
    return [neurons, made]


def unequally_depressed():
    neurons, made = wired("v += w*x*mV; x *= .5", f"w : 1\n{DEPRESSING}")
    made.x = "rand()"
    return [neurons, made]


MISTAKES = [
    (lambda: [group(threshold=None, reset=None)], "has no threshold"),
    (lambda: [group(events={"other": "v > 5*mV"})], "has the event 'other'"),
    (lambda: [group(method_options={"simplify": False})], "method_options"),
    (with_code_of_its_own, "run_regularly .'v \\+= 1.mV'."),
    (with_code_of_a_part, "run_regularly .'v \\+= 2.mV'."),
    (with_changing_synapses, "'wired' have 'wired_run_regularly.*keep their values"),
    (with_another_step, "time steps"),
    (after_a_spike, "refractory at present"),
    (moved, "in the slot|to the slot 'after_resets'"),
    (lambda: inactive(lambda neurons, _: neurons), "is not active, so Brian2 would not run it"),
    (lambda: inactive(lambda _, made: made.pre), "a part of 'wired', is not active"),
    (in_another_order, "has the schedule start, synapses, groups"),
    (late_to_itself, "4 neurons to themselves, neuron 0 first.* 1. ms"),
    (lambda: wired(connect={"i": [0, 0], "j": [1, 1]}), "neuron 0 of .* more than once"),
    (lambda: wired(connect=None), "connect nothing: call connect"),
    (after_depression, "values are those at the last spike"),
    (unequally_depressed, "'x' differs between synapses of one presynaptic"),
    (lambda: wired("v += x*mV; x *= .5", "x : 1"), "changes 'x', which has no differential"),
    (lambda: wired("v += x*mV", DEPRESSING, connect={"j": "i"}), "and move by themselves"),
    (lambda: wired("v += clip(w, 0*mV, 1*mV)", "w : volt"), "one without unit: declare `w : 1`"),
    (lambda: wired("v += clip(w, 0, d)*mV", "w : 1\nd : 1"), "of the weight w and of 'd'"),
    (lambda: wired("v += v_pre"), "reads 'v_pre'"),
    (lambda: wired("v = w*mV", "w : 1"), "is not a sum of 'v' and one product"),
    (lambda: wired("v += (w + v)", "w : volt"), "is not a sum of 'v' and one product"),
    (lambda: wired("v += missing*mV"), "'missing' in the equations of 'wired' has no value"),
    (lambda: wired({"up": "v += 1*mV", "down": "v -= 1*mV"}), "2 pathways"),
    (lambda: wired(on_post="v_pre += 1*mV"), "react to postsynaptic spikes"),
    (lambda: [*wired(), NetworkOperation(print, name="printing")], "NetworkOperation 'printing'"),
    (onto_synapses, "'onto' connects the synapses 'wired'"),
    (lambda: wired()[1:], "there is no NeuronGroup"),
    (
        lambda: [wired()[0], *wired(group={"name": "others"})[1:]],
        "connected with 'others', which is not among",
    ),
]


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_what_has_no_counterpart_is_refused_by_name(number):
    make, message = MISTAKES[number]
    objects = make()
    with pytest.raises(ValueError, match=message):
        Network.from_brian2(objects, 1)


@pytest.mark.parametrize("start", [0, 0.3, "i"])
def test_a_variable_that_the_reset_changes_begins_with_its_value(start):
    neurons = group("dv/dt = -v/tau : volt\nx : 1", reset="v = 0*mV; x += 1", name="neurons")
    neurons.x = start
    drive = SpikeGeneratorGroup(1, [0], [1] * ms, name="drive")
    made = Synapses(drive, neurons, on_pre="v += 1*mV", name="made")
    made.connect()
    (population,) = Network.from_brian2([neurons, drive, made], 1).populations
    values = population.system.step.initial_values(1e-4)
    np.testing.assert_array_equal(np.broadcast_to(values["x"], len(neurons)), neurons.x[:])


def test_synapses_without_spikes_are_refused():
    neurons = group("dv/dt = (g - v)/tau : volt\ng : volt", name="neurons")
    made = Synapses(neurons, neurons, "w : 1\ng_post = w*v_pre : volt (summed)", name="gap")
    made.connect()
    with pytest.raises(ValueError, match="have 0 pathways of presynaptic spikes"):
        Network.from_brian2([neurons, made], 1)


def test_wrong_arguments_are_named():
    neurons, made = wired()
    with pytest.raises(ValueError, match="unknown NeuronGroup 'neuron' .did you mean 'neurons'"):
        Network.from_brian2([neurons, made], 1, neurons={"neuron": {}})
    with pytest.raises(ValueError, match="both say what a spike does"):
        Neuron.from_brian2(neurons, made, on_pre="v += w*mV")
    with pytest.raises(ValueError, match="not from PoissonGroup"):
        Neuron.from_brian2(PoissonGroup(1, 1 * Hz))
    with pytest.raises(ValueError, match="read the whole group, 'neurons'"):
        Neuron.from_brian2(neurons[1:], made)
    with pytest.raises(ValueError, match="from a brian2.Network or from objects"):
        Network.from_brian2(7, 1)
    with pytest.raises(ValueError, match="no SpikeGeneratorGroup, PoissonGroup or PoissonInput"):
        inputs_from_brian2([neurons], 10)
    other = group(name="other")
    with pytest.raises(ValueError, match="'wired' lead to 'neurons', not to 'other'"):
        Neuron.from_brian2(other, made)
