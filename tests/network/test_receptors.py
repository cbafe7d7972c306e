"""Neurons with several receptors, against automatic differentiation and Brian2 itself.

The simulation in JAX is written from the neurons' differential equations by the Euler method. Where
e-prop drops a path it stops the gradient: at a spike as other neurons receive it, and at a spike as
its own neuron's reset sees it. What the neuron's own spike does to slower states is differentiated.
"""

import functools
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import brian2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brian2 import Quantity, ms

from eprop_brian import GRADIENT_DESCENT, LEAKY, Neuron, surrogate
from eprop_brian.base.sparse import dense, with_values
from eprop_brian.network.program import make_program
from eprop_brian.symbolic.neuron_file import read_neuron
from eprop_brian.symbolic.parameters import resolve_parameters
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.recording import TracedSynapse, record
from eprop_brian.training.session import Session
from support.arrays import deviation
from support.devices import on_devices
from support.neurons_by_hand import spike
from support.receptors import with_receptors
from support.trials import trials_of

#: Largest deviation from automatic differentiation, relative to the largest entry of a matrix.
TOLERANCE = 1e-9
DT, N_STEPS, N_TRIALS, WINDOW = 1e-3, 70, 2, 50
SIZE, N_OUTPUTS, INPUTS = 5, 2, {"thalamus": 6, "interneurons": 4}
TAU_OUT, C_REG, F_TARGET, C_V = 15e-3, 20.0, 20.0, 0.01
COST = "((v - E_L)/(v_th - E_L))**2"
SLOPE = surrogate("piecewise_linear", "v - v_th - theta", height="gamma/width", width="width")

#: Fast excitation, slow excitation that depends on the voltage, and inhibition.
PYRAMIDAL = read_neuron(Path(__file__).parents[2] / "docs" / "neurons" / "pyramidal.toml")
#: Two compartments. The dendrite amplifies what it gets, and a spike runs back into it.
TWO_COMPARTMENTS = Neuron(
    name="two_compartments",
    model="""
    dv/dt = (E_L - v + R*I_s + coupling*(v_d - v))/tau_m : volt
    dv_d/dt = (E_L - v_d + R*I_d + coupling*(v - v_d) + boost/(1 + exp((v_half - v_d)/slope)))/tau_d
        : volt
    dI_s/dt = -I_s/tau_s : amp
    dI_d/dt = -I_d/tau_s : amp
    dtheta/dt = -theta/tau_theta : volt
    """,
    method="euler",
    on_pre={"soma": "I_s += i_0*w", "dendrite": "I_d += i_0*w"},
    threshold="v >= v_th + theta",
    reset="v -= v_th - E_L; v_d += back; theta += jump",
    refractory="2 ms",
    surrogate=SLOPE,
    parameters={
        **{"tau_m": "20 ms", "tau_d": "15 ms", "tau_s": "5 ms", "E_L": "-70 mV", "v_th": "-50 mV"},
        **{"R": "100 Mohm", "i_0": "0.25 nA", "coupling": 0.8, "boost": "15 mV", "back": "4 mV"},
        **{"v_half": "-45 mV", "slope": "4 mV", "tau_theta": "50 ms", "jump": "2 mV"},
        **{"gamma": 0.3, "width": "20 mV"},
    },
    initial={"v": "E_L", "v_d": "E_L"},
)
#: A weight acts on the membrane at once, at one receptor in proportion to a gate that opens slowly:
#: the membrane's trace is the presynaptic neuron's at the other, and the synapse's at this one.
GATED = Neuron(
    name="gated",
    model="""
    dv/dt = (E_L - v)/tau_m : volt
    dgate/dt = (1 - gate)/tau_gate : 1
    dtheta/dt = -theta/tau_theta : volt
    """,
    on_pre={"always": "v += step*w", "gated": "v += gate*step*w"},
    threshold="v >= v_th + theta",
    reset="v -= v_th - E_L; theta += jump",
    refractory="2 ms",
    surrogate=SLOPE,
    parameters={
        **{"tau_m": "20 ms", "E_L": "-70 mV", "v_th": "-55 mV", "step": "4 mV", "gamma": 0.3},
        **{"tau_gate": "30 ms", "tau_theta": "50 ms", "jump": "2 mV", "width": "15 mV"},
    },
    initial={"v": "E_L"},
)


class Model(NamedTuple):
    """A neuron, its step by hand, and what reaches its receptors.

    Attributes
    ----------
    neuron : Neuron
    step : callable
        ``step(h, inputs, z_reset, z, active, p)`` gives h[t].
    n_states : int
        Of h; the membrane comes first, and what is added to its threshold last.
    resting : int
        States that start from ``E_L``.
    connections : mapping of str to (str, str)
        By name, source and receptor.
    learned : tuple of str
    excitatory : tuple of str
        Connections with large positive weights; the others have small ones of both signs.
    """

    neuron: Neuron
    step: object
    n_states: int
    resting: int
    connections: dict
    learned: tuple
    excitatory: tuple


def pyramidal(h, inputs, z_reset, z, active, p):
    v, ampa, nmda, rise, gaba, theta = h
    ampa, rise = ampa + p["g_0"] * inputs["ampa"], rise + p["g_0"] * inputs["nmda"]
    gaba = gaba + p["g_0"] * inputs["gaba"]
    v, theta = (1 - z_reset) * v + z_reset * p["E_L"], theta + p["jump"] * z
    excitation = ampa + nmda / (1 + p["Mg"] / 3.57 * jnp.exp(-v / p["v_mg"]))
    current = p["g_L"] * (p["E_L"] - v) + excitation * (p["E_e"] - v) + gaba * (p["E_i"] - v)
    return (
        jnp.where(active, v + DT * current / p["C"], v),
        ampa - DT * ampa / p["tau_ampa"],
        nmda + DT * (rise / p["tau_rise"] - nmda / p["tau_nmda"]),
        rise - DT * rise / p["tau_rise"],
        gaba - DT * gaba / p["tau_gaba"],
        theta - DT * theta / p["tau_theta"],
    )


def two_compartments(h, inputs, z_reset, z, active, p):
    v, v_d, i_s, i_d, theta = h
    i_s, i_d = i_s + p["i_0"] * inputs["soma"], i_d + p["i_0"] * inputs["dendrite"]
    v, theta = v - (p["v_th"] - p["E_L"]) * z_reset, theta + p["jump"] * z
    v_d = v_d + p["back"] * z
    boost = p["boost"] / (1 + jnp.exp((p["v_half"] - v_d) / p["slope"]))
    across = p["coupling"] * (v_d - v)
    return (
        v + DT * (p["E_L"] - v + p["R"] * i_s + across) / p["tau_m"],
        v_d + DT * (p["E_L"] - v_d + p["R"] * i_d - across + boost) / p["tau_d"],
        i_s - DT * i_s / p["tau_s"],
        i_d - DT * i_d / p["tau_s"],
        theta - DT * theta / p["tau_theta"],
    )


def gated(h, inputs, z_reset, z, active, p):
    v, gate, theta = h
    v = v + p["step"] * (inputs["always"] + gate * inputs["gated"])
    v, theta = v - (p["v_th"] - p["E_L"]) * z_reset, theta + p["jump"] * z
    decays = {name: np.exp(-DT / p[f"tau_{name}"]) for name in ("gate", "theta")}
    return (
        p["E_L"] + np.exp(-DT / p["tau_m"]) * (v - p["E_L"]),
        1 + decays["gate"] * (gate - 1),
        decays["theta"] * theta,
    )


MODELS = {
    "pyramidal": Model(
        PYRAMIDAL,
        pyramidal,
        6,
        1,
        {
            "w_ampa": ("thalamus", "ampa"),
            "w_nmda": ("thalamus", "nmda"),
            "w_gaba": ("interneurons", "gaba"),
            "rec_nmda": ("pyramidal", "nmda"),
            "rec_gaba": ("pyramidal", "gaba"),
        },
        ("tau_nmda", "g_L"),
        ("w_ampa", "w_nmda"),
    ),
    "two_compartments": Model(
        TWO_COMPARTMENTS,
        two_compartments,
        5,
        2,
        {
            "w_soma": ("thalamus", "soma"),
            "w_dendrite": ("interneurons", "dendrite"),
            "rec_dendrite": ("two_compartments", "dendrite"),
            "rec_soma": ("two_compartments", "soma"),
        },
        ("coupling",),
        ("w_soma", "w_dendrite"),
    ),
    "gated": Model(
        GATED,
        gated,
        3,
        1,
        {
            "w_always": ("thalamus", "always"),
            "w_gated": ("interneurons", "gated"),
            "rec_gated": ("gated", "gated"),
            "rec_always": ("gated", "always"),
        },
        ("v_th",),
        ("w_always",),
    ),
}


class Wiring(NamedTuple):
    """Weights, delays in steps and which synapses there are, by connection [post, pre]."""

    weights: dict
    delays: dict
    masks: dict


@functools.cache
def wiring(name: str) -> Wiring:
    """One recurrent connection is sparse, one of the inputs and one recurrent one are delayed."""
    model, rng = MODELS[name], np.random.default_rng(3)
    weights, delays, masks = {}, {}, {}
    for number, (key, (source, _)) in enumerate(model.connections.items()):
        shape = SIZE, INPUTS.get(source, SIZE)
        recurrent = source not in INPUTS
        spread = 3 if number in (1, len(model.connections) - 1) else 0
        delays[key] = int(recurrent) + rng.integers(0, spread + 1, shape)
        masks[key] = np.ones(shape, dtype=bool)
        if recurrent:
            masks[key] &= rng.random(shape) < (1.0 if spread else 0.7)
            np.fill_diagonal(masks[key], False)
        scale, mean = (0.8, 0.8) if key in model.excitatory else (0.5, 0.2)
        weights[key] = rng.normal(mean, scale, shape) * masks[key]
    weights["w_out"] = rng.normal(size=(N_OUTPUTS, SIZE))
    return Wiring(weights, delays, masks)


@functools.cache
def data(n_steps: int = N_STEPS):
    rng = np.random.default_rng(5)
    x = rng.random((N_TRIALS, n_steps, sum(INPUTS.values()))) < 0.12
    return x, rng.normal(size=(N_TRIALS, n_steps, N_OUTPUTS))


def numbers(model: Model) -> dict:
    """Parameters in SI units."""
    return resolve_parameters(model.neuron.parameters, model.neuron.name)[0]


# --- automatic differentiation --------------------------------------------------------------------


def objective(trained, x, targets, name: str, total: bool = False, regularised: bool = True):
    """Mean over the trials of error, firing-rate and voltage regulariser; and the spikes.

    With `total`, no path is left out.
    """
    stopped = (lambda spikes: spikes) if total else jax.lax.stop_gradient
    model, wired = MODELS[name], wiring(name)
    p = numbers(model) | {key: trained[key] for key in model.learned}
    longest = max(int(d.max()) for d in wired.delays.values())
    first = dict(zip(INPUTS, np.cumsum([0, *INPUTS.values()]), strict=False))

    def arriving(earlier, key):
        """By the delay of each synapse; `earlier` has the spikes of 0, 1, ... steps before."""
        steps, w = wired.delays[key], trained[key] * wired.masks[key]
        senders = np.broadcast_to(np.arange(w.shape[1]), w.shape)
        return jnp.sum(w * earlier[steps, senders], axis=1)

    def step(carry, now):
        h, z, own, heard, waiting, y, cost = carry
        x_now, target, counts = now
        waiting = jnp.maximum(waiting - 1, 0)
        heard = jnp.concatenate([x_now[None], heard[:-1]])
        # Other neurons get the spikes of the step before at the earliest, without a derivative.
        sent = stopped(jnp.concatenate([jnp.zeros((1, SIZE)), own]))
        inputs = dict.fromkeys(model.neuron.on_pre, 0.0)
        for key, (source, receptor) in model.connections.items():
            earlier = sent
            if source in INPUTS:
                earlier = heard[:, first[source] : first[source] + INPUTS[source]]
            inputs[receptor] += arriving(earlier, key)
        active = waiting == 0
        h = model.step(h, inputs, stopped(z), z, active, p)
        margin = h[0] - p["v_th"] - h[-1]
        slope = p["gamma"] / p["width"] * jnp.maximum(0, 1 - jnp.abs(margin) / p["width"])
        z = spike(margin, jax.lax.stop_gradient(active * slope), active.astype(float))
        waiting = jnp.where(z > 0, 2, waiting)
        y = np.exp(-DT / TAU_OUT) * y + trained["w_out"] @ z
        cost += jnp.sum(((h[0] - p["E_L"]) / (p["v_th"] - p["E_L"])) ** 2)
        own = jnp.concatenate([z[None], own[:-1]])
        error = counts * jnp.sum((y - target) ** 2) / 2
        return (h, z, own, heard, waiting, y, cost), (error, z)

    def trial(x, target):
        silent, n_steps = jnp.zeros(SIZE), len(x)
        rest = [p["E_L"]] * model.resting + [0.0] * (model.n_states - model.resting)
        start = tuple(silent + value for value in rest)
        heard = jnp.zeros((longest + 1, x.shape[1]))
        carry = start, silent, jnp.zeros((longest, SIZE)), heard, silent, jnp.zeros(N_OUTPUTS), 0.0
        counts = jnp.arange(n_steps) >= n_steps - WINDOW
        carry, (error, z) = jax.lax.scan(step, carry, (x, target, counts))
        rates = jnp.sum((z.mean(axis=0) - F_TARGET * DT) ** 2)
        regularisers = C_REG / 2 * rates + C_V * carry[-1] / n_steps
        return error.sum() + regularised * regularisers, z

    values, z = jax.vmap(trial)(x, targets)
    return values.mean(), z


@functools.cache
def derivative(name: str, first_only: bool = False, **options):
    """The gradient by weights and learned parameters, and the spikes of every trial.

    `options` are those of `objective`; it may be that of the first trial alone.
    """
    model, (x, targets) = MODELS[name], data()
    trained = dict(wiring(name).weights)
    trained |= {key: np.full(SIZE, numbers(model)[key]) for key in model.learned}
    function = functools.partial(objective, name=name, **options)
    trials = slice(1) if first_only else slice(None)
    differentiate = jax.jit(jax.grad(function, has_aux=True))
    gradient, z = differentiate(trained, x[trials].astype(float), targets[trials])
    # A learned parameter's gradient is called after its population too.
    named = {f"{name}.{k}" if k in model.learned else k: np.array(g) for k, g in gradient.items()}
    return named, np.asarray(z)


# --- the package ----------------------------------------------------------------------------------


def network(name: str, gradient: str = "factored", regularised: bool = True):
    model, wired = MODELS[name], wiring(name)
    connections = {}
    for key, (source, receptor) in model.connections.items():
        off_diagonal = wired.masks[key] | np.eye(*wired.masks[key].shape, dtype=bool)
        sparse = source not in INPUTS and not off_diagonal.all()
        fields = {"delay": wired.delays[key] * ms}
        if sparse:
            fields["connectivity"] = wired.masks[key]
        connections[key] = source, receptor, fields
    return with_receptors(
        model.neuron,
        SIZE,
        INPUTS,
        connections,
        LEAKY.with_parameters(tau_out=TAU_OUT * brian2.second),
        learned=model.learned if regularised else (),
        n_outputs=N_OUTPUTS,
        gradient=gradient,
        optimizer=GRADIENT_DESCENT,
        c_reg=regularised * C_REG,
        f_target=F_TARGET * brian2.Hz,
        c_v=regularised * C_V,
        voltage_cost=COST,
        average_gradient=False,
        dt=1 * ms,
    )


def weights_of(name: str, resolved) -> dict:
    weights, wired = resolved.initial_weights(0), wiring(name)
    for key, w in wired.weights.items():
        adjacency = resolved.adjacency.get(key)
        weights[key] = w if adjacency is None else with_values(adjacency, w.T[wired.masks[key].T])
    weights["B"] = wired.weights["w_out"].T
    return weights


def session_of(name: str, resolved, device: str, trials) -> Session:
    return Session(resolved, make_program(device), trials, WINDOW, weights_of(name, resolved))


def all_dense(matrices) -> dict:
    return {key: dense(value) for key, value in matrices.items()}


@pytest.mark.parametrize("name", on_devices(MODELS, ("pyramidal", "two_compartments")))
@pytest.mark.parametrize("gradient", ["factored", "online"])
def test_every_receptor_has_the_derivative_of_its_input(name, gradient, device):
    expected, z = derivative(name)
    trials = trials_of(*data())
    session = session_of(name, network(name, gradient), device, trials)
    session.run(trials, N_TRIALS)
    np.testing.assert_array_equal(session.spikes(), z[-1])
    assert 40 < z.sum() < z.size / 4
    found = all_dense(session.gradient())
    session.close()
    assert found.keys() == expected.keys()
    assert deviation(found, expected) <= TOLERANCE


@pytest.mark.parametrize("name", MODELS)
def test_backpropagation_goes_through_receptors(name):
    expected, z = derivative(name, total=True)
    trials, resolved = trials_of(*data()), network(name)
    session = BpttSession(resolved, trials, WINDOW, weights_of(name, resolved))
    found = all_dense(session.gradient_of(trials))
    assert deviation(found, expected) <= TOLERANCE
    assert deviation(found, derivative(name)[0]) > 0.1


@pytest.mark.devices("runtime", "cpp", slow=("cpp",))
@pytest.mark.parametrize("updates", ["step", "spike"])
def test_continuous_operation_learns_at_every_receptor(updates, device):
    """Weights hardly move, so that a trial's changes add up to the gradient of fixed ones."""
    name, eta = "pyramidal", 1e-9
    resolved = replace(
        network(name, "online", regularised=False),
        updates=updates,
        rate_averaging="moving",
        optimizer=GRADIENT_DESCENT.with_parameters(eta=eta),
    )
    trials = trials_of(*(values[:1] for values in data()))
    session = session_of(name, resolved, device, trials)
    before = all_dense(session.weights)
    session.run(trials, 1)
    session.apply_pending()
    after = all_dense(session.weights)
    session.close()
    gradient, _ = derivative(name, regularised=False, first_only=True)
    found = {key: (before[key] - after[key]) / eta for key in wiring(name).weights}
    assert deviation(found, gradient) <= 1e-6


def test_traces_of_receptors_are_recorded_apart():
    """The same two neurons are connected at two receptors."""
    name = "pyramidal"
    gradient, _ = derivative(name, regularised=False, first_only=True)
    trials, resolved = trials_of(*data()), network(name, regularised=False)
    synapses = [TracedSynapse("thalamus", 1, name, 2, receptor) for receptor in ("ampa", "nmda")]
    weights = weights_of(name, resolved)
    recording = record(resolved, trials, weights, synapses=synapses, learning_window=WINDOW)
    found = recording.learning_signal[:, 2] @ recording.filtered_trace
    expected = [gradient[key][2, 1] for key in ("w_ampa", "w_nmda")]
    # That of `w_nmda` arrives late, so its trace is that of an earlier spike.
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)
    assert [str(synapse) for synapse in recording.synapses] == [
        "thalamus 1 → pyramidal 2, ampa",
        "thalamus 1 → pyramidal 2, nmda",
    ]
    chosen = record(resolved, trials, weights, synapses=8, learning_window=WINDOW).synapses
    assert {synapse.receptor for synapse in chosen} >= {"ampa"}
    with pytest.raises(ValueError, match="no synapse 'thalamus 1 → pyramidal 2'"):
        record(resolved, trials, weights, synapses=[replace(synapses[0], receptor="")])


# --- Brian2 itself --------------------------------------------------------------------------------


def in_brian2(name: str, x: np.ndarray) -> np.ndarray:
    """Spikes (n_steps, SIZE) of a `NeuronGroup` with one `Synapses` for each connection."""
    model, wired = MODELS[name], wiring(name)
    neuron = model.neuron
    values, dimensions = resolve_parameters(neuron.parameters, name)
    names = {key: Quantity(value, dim=dimensions[key]) for key, value in values.items()}
    group = brian2.NeuronGroup(
        SIZE,
        neuron.model,
        method=neuron.method,
        threshold=neuron.threshold,
        reset=neuron.reset,
        refractory=2 * ms,
        namespace=names,
        dt=1 * ms,
    )
    for state, value in neuron.initial.items():
        setattr(group, state, value)
    sources, first = {name: group}, 0
    for source, n in INPUTS.items():
        steps, neurons = np.nonzero(x[:, first : first + n])
        # In the package an input acts in its own step: here from the slot of synapses before it.
        times = (steps - 1) * ms
        sources[source] = brian2.SpikeGeneratorGroup(n, neurons, times, dt=1 * ms, name=source)
        first += n
    # Those of one receptor after those of another, in the order of `on_pre`.
    pathways = []
    for order, receptor in enumerate(neuron.on_pre):
        for key, (source, own) in model.connections.items():
            if own == receptor:
                synapses = brian2.Synapses(
                    sources[source],
                    group,
                    "w : 1",
                    on_pre={"pre": neuron.on_pre[receptor]},
                    namespace=names,
                    dt=1 * ms,
                )
                post, pre = np.nonzero(wired.masks[key])
                synapses.connect(i=pre, j=post)
                synapses.w = wired.weights[key][post, pre]
                synapses.pre.order = order
                # A spike arrives in the step after it, without a delay.
                synapses.pre.delay = (wired.delays[key][post, pre] - (source == name)) * ms
                pathways.append(synapses)
    spikes = brian2.SpikeMonitor(group)
    brian2.Network(*sources.values(), *pathways, spikes).run(len(x) * ms, namespace={})
    z = np.zeros((len(x), SIZE), dtype=bool)
    z[np.rint(spikes.t / ms).astype(int), spikes.i] = True
    return z


@pytest.mark.parametrize("name", MODELS)
def test_spikes_are_those_of_brian2(name, monkeypatch):
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    x, targets = (values[:1].copy() for values in data(200))
    # Brian2 has no synapses' slot before its first step.
    x[:, 0] = False
    trials = trials_of(x, targets)
    session = session_of(name, network(name), "runtime", trials)
    session.run(trials, 1, learning=False)
    expected = in_brian2(name, x[0])
    assert expected.sum() > 50
    np.testing.assert_array_equal(session.spikes(), expected)
