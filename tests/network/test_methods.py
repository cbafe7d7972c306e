"""Neurons with channels, under every method that integrates them.

Spikes and membranes are those of Brian2's own `NeuronGroup`. Gradients are those of automatic
differentiation of the same neurons, whose slopes and methods are written here once more, in JAX.
"""

from dataclasses import replace

import brian2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brian2 import ms

from eprop_brian import Network
from eprop_brian.equations import GRADIENT_DESCENT
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.symbolic.parameters import resolve_parameters
from eprop_brian.training.recording import record
from eprop_brian.training.session import Session
from support.arrays import deviation
from support.by_hand import gradient_of
from support.conductance_based import MODELS
from support.devices import on_devices
from support.neurons_by_hand import spike
from support.stock import group_of, in_brian2, network_of, random_drive, weights_of
from support.trials import trials_of

DT = 0.05 * ms
TOLERANCE = 1e-9

# --- spikes ---------------------------------------------------------------------------------------

#: Heun's method is Euler's where there is no noise.
CASES = [(name, method) for name, model in MODELS.items() for method in model.methods]
QUICK = {("traub_miles", method) for method in MODELS["traub_miles"].methods}
QUICK |= {(name, "rk4") for name in ("wang_buzsaki", "morris_lecar", "hindmarsh_rose")}


@pytest.mark.parametrize(
    ("name", "method"),
    [pytest.param(*case, marks=[pytest.mark.slow] * (case not in QUICK)) for case in CASES],
)
def test_neuron_is_brian2s(name, method, monkeypatch):
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    model = MODELS[name]
    neuron, weights = replace(model.neuron, method=method), {"": (model.weight, model.weight)}
    drive = random_drive(1, 3, weights, n_steps=400, p=0.02, dt=DT)
    z, states = in_brian2(group_of(neuron, 3, DT), neuron.on_pre, drive, ["v"])
    network = network_of(neuron, drive)
    trials = trials_of(drive.inputs[None], np.zeros((1, 1, 1)))
    recording = record(network, trials, weights_of(network, drive), synapses=0)
    assert 5 <= z.sum() < z.size
    np.testing.assert_array_equal(recording.spikes, z)
    largest = np.abs(states["v"]).max()
    np.testing.assert_allclose(recording.v, states["v"], rtol=0, atol=TOLERANCE * largest)


# --- gradients ------------------------------------------------------------------------------------


def exprel(x):
    return jnp.expm1(x) / x


def traub_miles_rates(v, p):
    """Rates of opening and closing of m, n and h."""
    u = (v - p["V_T"]) / 1e-3
    opening = {
        "m": 0.32 * 4 / exprel((13 - u) / 4),
        "n": 0.032 * 5 / exprel((15 - u) / 5),
        "h": 0.128 * jnp.exp((17 - u) / 18),
    }
    closing = {
        "m": 0.28 * 5 / exprel((u - 40) / 5),
        "n": 0.5 * jnp.exp((10 - u) / 40),
        "h": 4 / (1 + jnp.exp((40 - u) / 5)),
    }
    return opening, closing


def traub_miles_conductances(x, p):
    sodium, potassium = p["g_na"] * x["m"] ** 3 * x["h"], p["g_kd"] * x["n"] ** 4
    return {"E_l": p["g_l"], "E_e": x["g_e"], "E_na": sodium, "E_k": potassium}


def traub_miles(x, p):
    """The slopes of the states."""
    opening, closing = traub_miles_rates(x["v"], p)
    slopes = {k: (opening[k] * (1 - x[k]) - closing[k] * x[k]) * 1e3 for k in opening}
    conductances = traub_miles_conductances(x, p)
    slopes["v"] = sum(g * (p[E] - x["v"]) for E, g in conductances.items()) / p["C_m"]
    return slopes | {"g_e": -x["g_e"] / p["tau_e"]}


def exponential_euler(x, p, dt):
    """Each state on its way to where it would come to rest if the others stood still."""
    opening, closing = traub_miles_rates(x["v"], p)
    conductances = traub_miles_conductances(x, p)
    g = sum(conductances.values())
    rates = {k: (opening[k] + closing[k]) * 1e3 for k in opening}
    rest = {k: opening[k] / (opening[k] + closing[k]) for k in opening}
    rates |= {"v": g / p["C_m"], "g_e": 1 / p["tau_e"]}
    rest |= {"v": sum(c * p[E] for E, c in conductances.items()) / g, "g_e": 0.0}
    return {k: rest[k] + (x[k] - rest[k]) * jnp.exp(-rates[k] * dt) for k in x}


def hindmarsh_rose(x, p):
    v = x["v"]
    return {
        "v": (x["y"] - p["a"] * v**3 + p["b"] * v**2 + p["I_0"] + x["I_syn"] - x["z"]) / p["tau"],
        "y": (p["c"] - p["d"] * v**2 - x["y"]) / p["tau"],
        "z": p["r"] * (p["s"] * (v - p["v_1"]) - x["z"]) / p["tau"],
        "I_syn": -x["I_syn"] / 2e-3,
    }


def moved(x, slopes, dt):
    return {k: x[k] + dt * slopes[k] for k in x}


def runge_kutta_2(slopes, x, p, dt):
    return moved(x, slopes(moved(x, slopes(x, p), dt / 2), p), dt)


def runge_kutta_4(slopes, x, p, dt):
    k_1 = slopes(x, p)
    k_2 = slopes(moved(x, k_1, dt / 2), p)
    k_3 = slopes(moved(x, k_2, dt / 2), p)
    k_4 = slopes(moved(x, k_3, dt), p)
    return {k: x[k] + dt * (k_1[k] + 2 * k_2[k] + 2 * k_3[k] + k_4[k]) / 6 for k in x}


STEPS = {
    "traub_miles euler": lambda x, p, dt: moved(x, traub_miles(x, p), dt),
    "traub_miles exponential_euler": exponential_euler,
    "traub_miles rk2": lambda x, p, dt: runge_kutta_2(traub_miles, x, p, dt),
    "traub_miles rk4": lambda x, p, dt: runge_kutta_4(traub_miles, x, p, dt),
    "hindmarsh_rose rk4": lambda x, p, dt: runge_kutta_4(hindmarsh_rose, x, p, dt),
}
#: The state that an input enters, what a weight of 1 adds, and a parameter that learns.
ENTERED = {"traub_miles": ("g_e", 1e-9, "g_na"), "hindmarsh_rose": ("I_syn", 1.0, "b")}
REFRACTORY_STEPS = {"traub_miles": 60, "hindmarsh_rose": 20}
SIZE, N_STEPS = 3, 400


def loss(learned, case, numbers, x, targets):
    """Half the sum of squared errors; spikes stop where other neurons receive them."""
    name = case.split()[0]
    entered, gain, parameter = ENTERED[name]
    p = numbers["parameters"] | {parameter: learned[parameter]}
    dt, kappa = numbers["dt"], numbers["kappa"]

    def step(carry, now):
        h, z, refractory, y = carry
        arriving, target = now
        current = learned["w_in"] @ arriving + learned["w_rec"] @ jax.lax.stop_gradient(z)
        h = h | {entered: h[entered] + gain * current}
        h = STEPS[case](h, p, dt)
        refractory = jnp.maximum(refractory - 1, 0)
        active = (refractory == 0).astype(float)
        distance = (h["v"] - p["v_spike"]) / p["v_width"]
        psi = active * jnp.exp(-(distance**2)) / p["v_width"]
        z = spike(jnp.where(distance > 0, 1.0, -1.0), jnp.zeros(SIZE), active)
        z = z + jax.lax.stop_gradient(psi) * (h["v"] - jax.lax.stop_gradient(h["v"]))
        refractory = jnp.where(z > 0.5, REFRACTORY_STEPS[name], refractory)
        y = kappa * y + learned["w_out"] @ z
        return (h, z, refractory, y), (((y - target) ** 2).sum() / 2, z)

    silent = jnp.zeros(SIZE)
    start = {k: silent + value for k, value in numbers["initial"].items()}
    carry = (start, silent, silent, jnp.zeros(len(targets[0])))
    _, (losses, z) = jax.lax.scan(step, carry, (x, targets))
    return losses.sum(), z


@pytest.mark.parametrize("case", on_devices(STEPS, ["traub_miles rk4"]))
def test_gradient_is_that_of_jax(case, device):
    name, method = case.split()
    model, (_, _, parameter) = MODELS[name], ENTERED[name]
    neuron = replace(model.neuron, method=method)
    drive = random_drive(
        *(3, SIZE, {"": (model.weight, model.weight)}), n_steps=N_STEPS, p=0.02, dt=DT
    )
    targets = np.random.default_rng(4).normal(size=(1, N_STEPS, 2))
    network = Network.standard(
        *(drive.inputs.shape[1], 2, [(neuron, SIZE)]),
        dt=DT,
        optimizer=GRADIENT_DESCENT,
        learned={parameter: Learned()},
    )
    trials = trials_of(drive.inputs[None], targets)
    weights = dict(network.initial_weights(0))
    weights |= {"w_in": drive.w_in[""], "w_rec": drive.w_rec[""], "B": weights["w_out"].T.copy()}
    population = network.resolved.populations[0]
    numbers = {
        "parameters": resolve_parameters(neuron.parameters, name)[0],
        "initial": population.system.step.initial_values(float(DT)),
        "dt": float(DT),
        "kappa": np.exp(-float(DT) / 20e-3),
    }
    learned = {k: weights[k] for k in ("w_in", "w_rec", "w_out")}
    learned[parameter] = weights[f"{name}.{parameter}"]
    gradient, z = jax.grad(loss, has_aux=True)(
        learned, case, numbers, drive.inputs + 0.0, targets[0]
    )
    expected = {k: np.array(g) for k, g in gradient.items()}
    np.fill_diagonal(expected["w_rec"], 0)
    expected[f"{name}.{parameter}"] = expected.pop(parameter)
    found = {}
    for program in ("factored", "online"):
        own = network.with_options(gradient=program)
        session = Session(own, make_program(device), trials, N_STEPS, weights)
        session.run(trials, 1)
        np.testing.assert_array_equal(session.spikes(), np.asarray(z) > 0)
        found[program] = gradient_of(session)
        session.close()
        assert deviation(found[program], expected) <= TOLERANCE
    assert np.asarray(z).sum() >= 5
    assert deviation(found["online"], found["factored"]) <= TOLERANCE
