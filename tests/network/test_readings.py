"""Readouts of states in the place of spikes, against automatic differentiation in JAX.

Two populations are connected to themselves and to each other. A classification hears the spikes of
the adaptive one; a regression reads the membranes of the other, or of both. E-prop's gradient is
the derivative of

    loss(readouts of what is given) + sum_t L[t].zbar[t] + sum_t L_s[t].sbar[t] + regularisers

by what acts on each neuron: zbar are spikes and sbar is what is read, both as the readouts filter
them; the learning signals of those who hear the one or read the other are given numbers, and spikes
stop where other neurons receive them.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brian2 import Hz, second

from eprop_brian import (
    Inputs,
    LearningSignal,
    Network,
    Population,
    Projection,
    Readout,
)
from eprop_brian.equations import ALIF, GRADIENT_DESCENT, LEAKY, LIF
from eprop_brian.equations.learning_signals import FEEDBACKS
from eprop_brian.export.nir import NirError, to_nir
from eprop_brian.network.program import make_program
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.session import Session
from support.arrays import all_dense, deviation
from support.neurons_by_hand import DT, GAMMA, adaptive_lif, spike
from support.trials import trials_of

#: Largest deviation from automatic differentiation, relative to the largest entry of a matrix.
TOLERANCE = 1e-9

#: More outputs than the backward pass takes directly.
SIZES = {"inputs": 5, "adaptive": 5, "smooth": 4, "classes": 3, "curve": 7}
N_TRIALS, N_STEPS, WINDOW = 2, 60, 40
KAPPA, GAIN = np.exp(-DT / 15e-3), 0.4
C_REG, F_TARGET = 40.0, 20.0
T_REF_STEPS = 3
NEURONS = ("adaptive", "smooth")
READOUTS = ("classes", "curve")
#: One value per neuron.
VALUES = {
    "adaptive.tau_m": np.array([12, 15, 20, 25, 30]) * 1e-3,
    "adaptive.v_th": np.array([0.5, 0.55, 0.6, 0.65, 0.7]),
    "adaptive.beta": np.array([0.1, 0.2, 0.3, 0.4, 0.5]),
    "smooth.tau_m": np.array([14, 18, 22, 26]) * 1e-3,
    "smooth.v_th": np.array([0.7, 0.6, 0.5, 0.55]),
}
TAU_A = 60e-3

#: What is read, as the package has it and by hand, of the states and the values of a population.
READ = {
    "": None,
    "v": lambda h, p: h[0],
    "a": lambda h, p: h[1],
    "v - v_th": lambda h, p: h[0] - p["v_th"],
    "tanh(v) - beta*a": lambda h, p: jnp.tanh(h[0]) - p["beta"] * h[1],
}


@dataclass(frozen=True, eq=False)
class Case:
    """A network.

    Attributes
    ----------
    reads : mapping of (str, str) to str
        What each readout reads of each population that projects to it.
    lag : int
        Steps by which readouts are late.
    feedback : str
        Of all learning signals.
    signal_delay : int
        Steps by which they are late.
    options : dict
        Of the network.
    learned : bool
        Whether the neurons' parameters learn.
    """

    reads: Mapping[tuple[str, str], str]
    lag: int = 0
    feedback: str = "symmetric"
    signal_delay: int = 0
    options: dict = field(default_factory=dict)
    learned: bool = False

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Sources and targets of all connections."""
        inner = [("inputs", name) for name in NEURONS]
        inner += [(source, target) for source in NEURONS for target in NEURONS]
        return [*inner, *self.reads]


MEMBRANE = {("adaptive", "classes"): "", ("smooth", "curve"): "v"}
BOTH = {**MEMBRANE, ("adaptive", "curve"): "tanh(v) - beta*a", ("smooth", "classes"): "v - v_th"}
CASES = {
    "a membrane": Case(MEMBRANE),
    "both of one population": Case(BOTH),
    "late readouts, batch regulariser": Case(
        BOTH, lag=1, options={"rate_averaging": "batch", "c_v": 2.0}
    ),
    "learned parameters": Case(BOTH, learned=True),
    "moving regulariser, late random feedback": Case(
        {**BOTH, ("adaptive", "curve"): "a"},
        feedback="random",
        signal_delay=2,
        options={"rate_averaging": "moving"},
    ),
}
KAPPA_REG = 0.9


def make_network(case: Case, program: str) -> Network:
    """The network in the package."""
    neurons = {"adaptive": ALIF.with_parameters(tau_a=TAU_A * second), "smooth": LIF}
    populations = []
    for name, neuron in neurons.items():
        values = {k.split(".")[1]: v for k, v in VALUES.items() if k.startswith(name)}
        values["tau_m"] = values["tau_m"] * second
        neuron = neuron.with_parameters(**values, gamma=GAMMA, t_ref=T_REF_STEPS * DT * second)
        learned = {parameter: {} for parameter in values} if case.learned else {}
        # Naming the state whose reset is left out makes backpropagation leave it out, too.
        neuron = replace(neuron, detach=("v",))
        populations.append(Population(neuron, SIZES[name], name, learned))
    leaky = LEAKY.with_parameters(tau_out=15e-3 * second, zeta_out=GAIN)
    losses = {"classes": "softmax_cross_entropy", "curve": "squared_error"}
    feedback = FEEDBACKS[case.feedback]
    if case.signal_delay:
        # An error arrives a step later at the earliest.
        feedback = feedback.with_options(delay=(1 + case.signal_delay) * DT * second)
    projections = []
    for pair in case.pairs:
        delay = case.lag * DT * second if pair in case.reads and case.lag else None
        reads = case.reads.get(pair, "")
        projections.append(Projection(*pair, "_".join(pair), delay=delay, reads=reads))
    return Network(
        [
            Inputs(SIZES["inputs"]),
            *populations,
            *(Readout(SIZES[r], r, leaky, losses[r]) for r in READOUTS),
            *projections,
            *(LearningSignal(r, name, feedback) for name, r in case.reads),
        ],
        optimizer=GRADIENT_DESCENT,
        gradient=program,
        c_reg=C_REG,
        f_target=F_TARGET * Hz,
        kappa_reg=KAPPA_REG,
        dt=DT * second,
        **case.options,
    )


def make_data(case: Case):
    """Weights, feedback weights, inputs and targets."""
    rng = np.random.default_rng(5)
    scale = {"inputs": 0.5, "adaptive": 0.3, "smooth": 0.3}
    weights = {}
    for source, target in case.pairs:
        drawn = rng.normal(scale[source] / 2, scale[source], (SIZES[target], SIZES[source]))
        if source == target:
            np.fill_diagonal(drawn, 0.0)
        weights[f"{source}_{target}"] = drawn
    feedback = {
        f"B_{r}_{name}": weights[f"{name}_{r}"].T
        if case.feedback == "symmetric"
        else rng.normal(size=(SIZES[name], SIZES[r]))
        for name, r in case.reads
    }
    inputs = rng.random((N_TRIALS, N_STEPS, SIZES["inputs"])) < 0.3
    classes = np.eye(SIZES["classes"])[rng.integers(SIZES["classes"], size=(N_TRIALS, N_STEPS))]
    curve = rng.normal(size=(N_TRIALS, N_STEPS, SIZES["curve"]))
    return weights, feedback, inputs, np.concatenate([classes, curve], axis=2)


# --- automatic differentiation --------------------------------------------------------------------


def of(values, name):
    return {k.split(".")[1]: v for k, v in values.items() if k.startswith(name)}


def simulate(case, weights, values, x, transmitted=False):
    """Spikes, what readouts get of each population, readouts, and the mean of the voltage cost."""
    parameters = {name: {"beta": 0.0, **of(values, name)} for name in NEURONS}
    dynamics = {
        n: adaptive_lif(p["tau_m"], TAU_A, p["beta"], p["v_th"]) for n, p in parameters.items()
    }

    def arriving(target, sent):
        pairs = [pair for pair in case.pairs if pair[1] == target]
        return sum(weights["_".join(pair)] @ sent(pair) for pair in pairs)

    def step(carry, x):
        states, before, refractory, got_before, ys = carry
        sent = before if transmitted else jax.lax.stop_gradient(before)
        z, after, counters, cost = {}, {}, {}, 0.0
        for name, neuron in dynamics.items():
            current = arriving(name, lambda pair: {"inputs": x, **sent}[pair[0]])
            reset = jax.lax.stop_gradient(before[name])
            after[name] = neuron.step(states[name], current, reset, before[name])
            counters[name] = jnp.maximum(refractory[name] - 1, 0)
            active = (counters[name] == 0).astype(float)
            slope = jax.lax.stop_gradient(active * neuron.surrogate(after[name]))
            margin = neuron.margin(after[name])
            z[name] = spike(margin, slope, active)
            counters[name] = jnp.where(z[name] > 0, T_REF_STEPS, counters[name])
            cost += jnp.sum(jnp.maximum(margin, 0.0) ** 2) / 2
        got = {
            pair: READ[reads](after[pair[0]], parameters[pair[0]]) if reads else z[pair[0]]
            for pair, reads in case.reads.items()
        }
        heard = got_before if case.lag else got
        ys = {r: KAPPA * ys[r] + GAIN * arriving(r, heard.get) for r in READOUTS}
        return (after, z, counters, got, ys), (z, heard, ys, cost)

    silent = {name: jnp.zeros(SIZES[name]) for name in NEURONS}
    start = (
        {name: (silent[name], silent[name]) for name in NEURONS},
        silent,
        silent,
        {pair: silent[pair[0]] for pair in case.reads},
        {r: jnp.zeros(SIZES[r]) for r in READOUTS},
    )
    return jax.lax.scan(step, start, x)[1]


def loss_of(ys, target):
    n, counts = SIZES["classes"], jnp.arange(N_STEPS) >= N_STEPS - WINDOW
    entropy = -jnp.sum(target[:, :n] * jax.nn.log_softmax(ys["classes"]), axis=1)
    squared = jnp.sum((ys["curve"] - target[:, n:]) ** 2, axis=1) / 2
    return jnp.sum(counts * (entropy + squared))


def filtered(values, decay=KAPPA, gain=GAIN):
    def step(f, now):
        return (decay * f + gain * now,) * 2

    return jax.lax.scan(step, jnp.zeros(values.shape[1]), values)[1]


def regulariser(case, z):
    """Of one trial; the mean over trials that the batch regulariser has is put in elsewhere."""
    total = 0.0
    for own in z.values():
        if case.options.get("rate_averaging") == "moving":
            rate = filtered(own, KAPPA_REG, 1 - KAPPA_REG)
            excess = jax.lax.stop_gradient(rate - F_TARGET * DT)
            total += C_REG * jnp.sum(excess * rate)
        elif "rate_averaging" not in case.options:
            total += C_REG / 2 * jnp.sum((own.mean(axis=0) - F_TARGET * DT) ** 2)
    return total


def objective(learned, case, feedback, inputs, targets):
    """What e-prop's gradient is the derivative of, and the spikes."""
    weights, values = learned

    def trial(x, target):
        z, heard, ys, cost = simulate(case, weights, values, x)
        errors = jax.lax.stop_gradient(jax.grad(loss_of)(ys, target))
        late = case.signal_delay
        errors = {
            r: jnp.concatenate([jnp.zeros((late, SIZES[r])), error[: N_STEPS - late]])
            for r, error in errors.items()
        }
        bars = {pair: filtered(got) for pair, got in heard.items()}
        given = jax.lax.stop_gradient(bars)
        readouts = {
            r: sum(given[p] @ weights["_".join(p)].T for p in case.reads if p[1] == r)
            for r in READOUTS
        }
        signals = sum(
            jnp.sum((errors[r] @ feedback[f"B_{r}_{name}"].T) * bars[name, r])
            for name, r in case.reads
        )
        voltage = case.options.get("c_v", 0.0) * cost.mean()
        return loss_of(readouts, target) + signals + regulariser(case, z) + voltage, z

    total, z = jax.vmap(trial)(inputs.astype(float), targets)
    total = total.mean()
    if case.options.get("rate_averaging") == "batch":
        rates = [own.mean(axis=(0, 1)) for own in z.values()]
        total += sum(C_REG / 2 * jnp.sum((rate - F_TARGET * DT) ** 2) for rate in rates)
    return total, z


@functools.cache
def expected(case):
    """Gradient, and spikes of all trials."""
    weights, feedback, inputs, targets = make_data(case)
    differentiate = jax.jit(jax.grad(objective, has_aux=True), static_argnums=1)
    gradients, z = differentiate((weights, VALUES), case, feedback, inputs, targets)
    gradient = {name: np.array(g) for part in gradients for name, g in part.items()}
    for name in NEURONS:
        np.fill_diagonal(gradient[f"{name}_{name}"], 0.0)
    return gradient, z


# --- tests ----------------------------------------------------------------------------------------


@functools.cache
def run(case, program, device):
    """Gradient and spikes of a batch in the package."""
    weights, feedback, inputs, targets = make_data(case)
    network = make_network(case, program)
    start = weights | feedback | (VALUES if case.learned else {})
    trials = trials_of(inputs, targets)
    session = Session(network, make_program(device), trials, WINDOW, start)
    session.run(trials, N_TRIALS)
    results = all_dense(session.gradient()), session.spikes()
    session.close()
    return results


@pytest.mark.parametrize("program", ["factored", "online"])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if number < 3 else pytest.mark.devices("runtime"))
        for number, name in enumerate(CASES)
    ],
)
def test_states_that_are_read_teach_the_neurons_by_their_slopes(name, program, device):
    case = CASES[name]
    gradient, spikes = run(case, program, device)
    wanted, z = expected(case)
    np.testing.assert_array_equal(spikes, np.concatenate([z[n][-1] for n in NEURONS], axis=1))
    assert all(np.sum(z[n]) > 20 for n in NEURONS)
    assert gradient.keys() == (wanted.keys() if case.learned else wanted.keys() - VALUES.keys())
    assert deviation(gradient, wanted) <= TOLERANCE


def loss_itself(learned, case, inputs, targets):
    """Mean over the trials, with the derivative of spikes that other neurons receive."""
    weights, values = learned

    def trial(x, target):
        z, _, ys, _ = simulate(case, weights, values, x, transmitted=True)
        return loss_of(ys, target) + regulariser(case, z)

    return jax.vmap(trial)(inputs.astype(float), targets).mean()


@pytest.mark.parametrize("lag", [0, 1])
def test_backpropagation_through_time_reads_the_same(lag):
    case = replace(CASES["learned parameters"], lag=lag)
    weights, feedback, inputs, targets = make_data(case)
    differentiate = jax.jit(jax.grad(loss_itself), static_argnums=1)
    gradients = differentiate((weights, VALUES), case, inputs, targets)
    wanted = {name: np.array(g) for part in gradients for name, g in part.items()}
    for name in NEURONS:
        np.fill_diagonal(wanted[f"{name}_{name}"], 0.0)
    trials = trials_of(inputs, targets)
    session = BpttSession(make_network(case, "bptt"), trials, WINDOW, weights | feedback | VALUES)
    assert deviation(session.gradient_of(trials), wanted) <= TOLERANCE


@pytest.mark.devices("runtime")
def test_a_program_that_does_not_learn_reads_the_same(device):
    case = CASES["late readouts, batch regulariser"]
    weights, feedback, inputs, targets = make_data(case)
    session = Session(
        make_network(case, "factored"),
        make_program(device),
        trials_of(inputs, targets),
        WINDOW,
        weights | feedback,
        learning=False,
    )
    session.run(trials_of(inputs, targets), N_TRIALS, learning=False)
    ys = simulate(case, weights, VALUES, inputs[-1].astype(float))[2]
    wanted = np.concatenate([ys[r] for r in READOUTS], axis=1)
    np.testing.assert_allclose(session.readouts(), wanted, rtol=1e-11, atol=1e-12)


# --- what is refused ------------------------------------------------------------------------------


def small_network(*more, reads="v", feedback="symmetric", **options):
    parts = [
        Inputs(2),
        Population(ALIF, 3),
        Readout(1),
        Projection("inputs", "alif"),
        Projection("alif", "readout", reads=reads),
        LearningSignal("readout", "alif", feedback),
    ]
    return Network([*parts, *more], **options)


#: Follows nothing.
CLOCK = replace(LIF, name="clock", update=f"{LIF.update}\nphase = phase + 1")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: small_network(reads="u"), "'u' is not defined"),
        (lambda: small_network(reads="v_th"), "does not depend on any state"),
        (lambda: small_network(reads="floor(v)"), "no weight reaches what is read"),
        (lambda: small_network(reads=3), "reads is an expression of the source's states"),
        (
            lambda: small_network(
                Population(CLOCK, 1),
                Projection("inputs", "clock"),
                Projection("clock", "readout", reads="phase"),
                LearningSignal("readout", "clock"),
            ),
            "no weight reaches what is read",
        ),
        (
            lambda: small_network(Projection("alif", "alif", reads="v")),
            "is for a projection from populations to a readout",
        ),
        (
            lambda: small_network(Projection("inputs", "readout", reads="v")),
            "is for a projection from populations to a readout",
        ),
        (
            lambda: small_network(Projection("alif", "readout", "spikes"), feedback="random"),
            "reads 'alif' in two ways, but a learning signal answers one: let 'spikes' lead to",
        ),
        (
            lambda: small_network(updates="step", gradient="online", c_reg=0.0),
            "continuous operation cannot have",
        ),
    ],
)
def test_wrong_readings_are_refused_in_a_line(make, message):
    with pytest.raises((ValueError, EquationError), match=message):
        make()


def test_a_reading_has_no_node_in_nir():
    pytest.importorskip("nir")
    network = small_network()
    with pytest.raises(NirError, match="'w_alif_readout', which reads 'v'"):
        to_nir(network, network.initial_weights(1))
