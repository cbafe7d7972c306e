"""Layers, several readouts and biases against automatic differentiation, written here in JAX.

Inputs drive a first layer, which drives a second one, which two readouts hear: one is scored by a
classification, the other by a regression, each over a window of its own and with a weight of its
own. No readout hears the first layer: it is taught through random weights. E-prop's gradient is the
derivative of

    loss(readouts of given spikes) + sum_t L[t].zbar[t] + regulariser

by what acts on each neuron: zbar are a layer's spikes as the readouts filter them, its learning
signal L = sum_k B_k error_k is a given number, and spikes stop where other neurons receive them.
"""

import functools
from dataclasses import dataclass, replace

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
    Trainer,
)
from eprop_brian.equations import ALIF, GRADIENT_DESCENT, LEAKY, LIF
from eprop_brian.network.program import make_program
from eprop_brian.tasks import Task
from eprop_brian.training.gradient_check import check_gradients
from eprop_brian.training.recording import TracedSynapse, record
from eprop_brian.training.session import Session
from support.arrays import deviation
from support.neurons_by_hand import BETA, DT, GAMMA, TAU_A, TAU_M, V_TH, adaptive_lif, spike
from support.trials import trials_of

#: Largest deviation from automatic differentiation, relative to the largest entry of a matrix.
TOLERANCE = 1e-9

SIZES = {"inputs": 5, "bias": 1, "first": 6, "second": 4, "classes": 3, "curve": 2}
N_TRIALS, N_STEPS, LEARNING_WINDOW = 2, 60, 50
TAU_OUT, KAPPA = 15e-3, np.exp(-DT / 15e-3)
#: Steps that count for each readout, and the weight of its loss.
WINDOWS, LOSS_WEIGHTS = {"classes": 20, "curve": 35}, {"classes": 0.7, "curve": 2.5}
C_REG, F_TARGET = 40.0, 20.0
LAYERS = {"first": adaptive_lif(TAU_M, TAU_A, 0.0), "second": adaptive_lif(TAU_M, TAU_A, BETA)}
READOUTS = ("classes", "curve")


@dataclass(frozen=True)
class Case:
    """A network.

    Attributes
    ----------
    recurrent : bool
        Whether both layers are connected to themselves, and the second one to the first.
    lag : int
        Steps by which readouts see spikes late.
    analog : bool
        Whether inputs are values.
    skip : bool
        Whether the inputs drive a readout, too.
    taught : bool
        Whether the first layer has a learning signal.
    frozen : tuple of str
        Connections that do not learn.
    """

    recurrent: bool = False
    lag: int = 0
    analog: bool = False
    skip: bool = False
    taught: bool = True
    frozen: tuple[str, ...] = ()

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Sources and targets of all connections."""
        biases = [("bias", target) for target in (*LAYERS, *READOUTS)]
        pairs = [("inputs", "first"), ("first", "second"), *biases]
        if self.recurrent:
            pairs += [("first", "first"), ("second", "second"), ("second", "first")]
        pairs += [("inputs", "curve")] * self.skip
        return [*pairs, *(("second", readout) for readout in READOUTS)]


def make_network(case: Case, program: str) -> Network:
    """The network in the package."""
    common = {"tau_m": TAU_M * second, "v_th": V_TH, "gamma": GAMMA, "t_ref": "3 ms"}
    neurons = {
        "first": LIF.with_parameters(**common),
        "second": ALIF.with_parameters(**common, tau_a=TAU_A * second, beta=BETA),
    }
    leaky = LEAKY.with_parameters(tau_out=TAU_OUT * second)
    losses = {"classes": "softmax_cross_entropy", "curve": "squared_error"}
    late = {("second", readout): case.lag * DT * second for readout in READOUTS}
    taught = [LearningSignal("classes", "first", "random", "B_first")] * case.taught
    return Network(
        [
            Inputs(SIZES["inputs"]),
            Inputs(1, "bias", constant=True),
            # Naming the state whose reset is left out makes backpropagation leave it out, too.
            *(Population(replace(n, detach=("v",)), SIZES[x], x) for x, n in neurons.items()),
            *(
                Readout(
                    *(SIZES[readout], readout, leaky, loss),
                    loss_weight=LOSS_WEIGHTS[readout],
                    window=WINDOWS[readout] * DT * second,
                )
                for readout, loss in losses.items()
            ),
            *(
                Projection(*pair, name, delay=late.get(pair), learn=name not in case.frozen)
                for pair, name in ((pair, "_".join(pair)) for pair in case.pairs)
            ),
            *(LearningSignal(readout, "second", name=f"B_{readout}") for readout in READOUTS),
            *taught,
        ],
        optimizer=GRADIENT_DESCENT,
        gradient=program,
        c_reg=C_REG,
        f_target=F_TARGET * Hz,
        dt=DT * second,
    )


def make_data(case: Case):
    """Weights, inputs and targets."""
    rng = np.random.default_rng(5)
    scale = {"inputs": 0.7, "first": 0.6, "second": 0.3, "bias": 0.03}
    weights = {}
    for source, target in case.pairs:
        drawn = rng.normal(scale[source] / 2, scale[source], (SIZES[target], SIZES[source]))
        if source == target:
            np.fill_diagonal(drawn, 0.0)
        weights[f"{source}_{target}"] = drawn
    feedback = {f"B_{r}": weights[f"second_{r}"].T for r in READOUTS}
    if case.taught:
        feedback["B_first"] = rng.normal(size=(SIZES["first"], SIZES["classes"]))
    inputs = rng.random((N_TRIALS, N_STEPS, SIZES["inputs"])) < 0.3
    if case.analog:
        inputs = np.where(inputs, rng.normal(1, 0.3, inputs.shape), 0.0)
    classes = np.eye(SIZES["classes"])[rng.integers(SIZES["classes"], size=(N_TRIALS, N_STEPS))]
    curve = rng.normal(size=(N_TRIALS, N_STEPS, SIZES["curve"]))
    return weights, feedback, inputs, np.concatenate([classes, curve], axis=2)


# --- automatic differentiation --------------------------------------------------------------------


def simulate(case: Case, weights, x, transmitted: bool = False):
    """Spikes of the layers and readouts of a trial, (n_steps, size) by name.

    Spikes have a derivative where the same neuron and the readouts see them, and where other
    neurons receive them if they are `transmitted`.
    """

    def arriving(target, values):
        return sum(
            weights[f"{source}_{target}"] @ values[source]
            for source, other in case.pairs
            if other == target
        )

    def step(carry, x):
        states, before, refractory, ys = carry
        outside = {"inputs": x, "bias": jnp.ones(1)}
        sent = before if transmitted else jax.lax.stop_gradient(before)
        z, after, counters = {}, {}, {}
        for name, neuron in LAYERS.items():
            reset = jax.lax.stop_gradient(before[name])
            current = arriving(name, {**outside, **sent})
            after[name] = neuron.step(states[name], current, reset, before[name])
            counters[name] = jnp.maximum(refractory[name] - 1, 0)
            active = (counters[name] == 0).astype(float)
            slope = jax.lax.stop_gradient(active * neuron.surrogate(after[name]))
            z[name] = spike(neuron.margin(after[name]), slope, active)
            counters[name] = jnp.where(z[name] > 0, neuron.refractory_steps, counters[name])
        seen = {**outside, **(before if case.lag else z)}
        ys = {r: KAPPA * ys[r] + arriving(r, seen) for r in READOUTS}
        return (after, z, counters, ys), (z, ys)

    silent = {name: jnp.zeros(SIZES[name]) for name in LAYERS}
    start = (
        {name: tuple(silent[name] + v for v in LAYERS[name].initial) for name in LAYERS},
        silent,
        silent,
        {r: jnp.zeros(SIZES[r]) for r in READOUTS},
    )
    return jax.lax.scan(step, start, x)[1]


def losses_of(ys, target):
    """Loss of each readout in each of the steps that count."""
    n = SIZES["classes"]
    counts = {r: jnp.arange(N_STEPS) >= N_STEPS - WINDOWS[r] for r in READOUTS}
    each = {
        "classes": -jnp.sum(target[:, :n] * jax.nn.log_softmax(ys["classes"]), axis=1),
        "curve": jnp.sum((ys["curve"] - target[:, n:]) ** 2, axis=1) / 2,
    }
    return {r: LOSS_WEIGHTS[r] * counts[r] * each[r] for r in READOUTS}


def regulariser(z):
    return sum(C_REG / 2 * jnp.sum((z[n].mean(axis=0) - F_TARGET * DT) ** 2) for n in LAYERS)


def loss_of(ys, target):
    return sum(jnp.sum(loss) for loss in losses_of(ys, target).values())


def filtered(z, lag):
    """Spikes as the readouts filter them."""
    seen = jnp.concatenate([jnp.zeros((lag, z.shape[1])), z[: N_STEPS - lag]])
    return jax.lax.scan(lambda f, now: (KAPPA * f + now,) * 2, jnp.zeros(z.shape[1]), seen)[1]


def eprop_objective(weights, case, feedback, x, target):
    """What e-prop's gradient is the derivative of, for a trial."""
    z, ys = simulate(case, weights, x)
    errors = jax.lax.stop_gradient(jax.grad(loss_of)(ys, target))
    taught = {"second": sum(errors[r] @ feedback[f"B_{r}"].T for r in READOUTS)}
    if case.taught:
        taught["first"] = errors["classes"] @ feedback["B_first"].T
    # The readouts' own weights: what they hear is given.
    bars = {name: jax.lax.stop_gradient(filtered(z[name], case.lag)) for name in LAYERS}
    drives = {"second": bars["second"], "bias": filtered(jnp.ones((N_STEPS, 1)), 0)}
    drives["inputs"] = filtered(x, 0)
    of_readouts = {
        r: sum(drives[s] @ weights[f"{s}_{r}"].T for s, target in case.pairs if target == r)
        for r in READOUTS
    }
    signals = sum(jnp.sum(v * filtered(z[name], case.lag)) for name, v in taught.items())
    return loss_of(of_readouts, target) + signals + regulariser(z), (z, ys)


def total_objective(weights, case, feedback, x, target):
    """The loss itself, for a trial."""
    z, ys = simulate(case, weights, x, transmitted=True)
    return loss_of(ys, target) + regulariser(z), (z, ys)


@functools.cache
def differentiate(objective, case):
    """Gradient (mean over the trials), spikes and readouts of all trials."""
    weights, feedback, inputs, targets = make_data(case)
    of_trial = jax.grad(objective, has_aux=True)
    batch = jax.jit(jax.vmap(lambda x, target: of_trial(weights, case, feedback, x, target)))
    gradients, kept = batch(inputs.astype(float), targets)
    gradient = {name: np.array(g.mean(axis=0)) for name, g in gradients.items()}
    for layer in LAYERS:
        if f"{layer}_{layer}" in gradient:
            np.fill_diagonal(gradient[f"{layer}_{layer}"], 0.0)
    return gradient, *kept


# --- tests ----------------------------------------------------------------------------------------


def run(case, program, device):
    """Gradient, spikes and outcome of a batch in the package."""
    weights, feedback, inputs, targets = make_data(case)
    trials = trials_of(inputs, targets)
    network = make_network(case, program)
    session = Session(network, make_program(device), trials, LEARNING_WINDOW, weights | feedback)
    outcome = session.run(trials, N_TRIALS)
    gradient, spikes = session.gradient(), session.spikes()
    session.close()
    return gradient, spikes, outcome


FEW = pytest.mark.devices("runtime")
CASES = {
    "feed-forward": Case(),
    "recurrent, late readouts": Case(recurrent=True, lag=1),
    "analog inputs to a readout": Case(analog=True, skip=True),
    "spikes to a late readout": Case(skip=True, lag=1),
    "a layer without a signal": Case(taught=False),
    "a layer that is frozen": Case(frozen=("inputs_first", "bias_first")),
    "only readouts learn": Case(
        frozen=("inputs_first", "bias_first", "first_second", "bias_second")
    ),
}


@pytest.mark.parametrize("program", ["factored", "online"])
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(CASES[name], id=name, marks=[] if number < 2 else FEW)
        for number, name in enumerate(CASES)
    ],
)
def test_layers_learn_by_their_signals_and_readouts_by_their_losses(case, program, device):
    gradient, spikes, outcome = run(case, program, device)
    expected, z, ys = differentiate(eprop_objective, case)
    np.testing.assert_array_equal(spikes, np.concatenate([z[n][-1] for n in LAYERS], axis=1))
    assert all(np.sum(z[name]) > 30 for name in LAYERS)
    assert gradient.keys() == expected.keys() - {*case.frozen}
    assert deviation(gradient, expected) <= TOLERANCE
    *_, targets = make_data(case)
    losses = jax.vmap(losses_of)(ys, targets)
    reported = losses["classes"].sum(axis=1) / WINDOWS["classes"]
    reported += losses["curve"].sum(axis=1) / SIZES["curve"]
    np.testing.assert_allclose(outcome.loss, reported, rtol=1e-11)
    p = jax.nn.softmax(ys["classes"])[:, -WINDOWS["classes"] :].mean(axis=1)
    y = ys["curve"][:, -WINDOWS["curve"] :].mean(axis=1)
    np.testing.assert_allclose(outcome.output, np.concatenate([p, y], axis=1), rtol=1e-11)


@dataclass(frozen=True, kw_only=True, eq=False)
class Given(Task):
    """The trials of a case."""

    case: Case

    name = "given"
    n_steps = N_STEPS
    n_inputs = SIZES["inputs"]
    n_outputs = SIZES["classes"] + SIZES["curve"]
    learning_window = LEARNING_WINDOW
    loss = "softmax_cross_entropy"

    def trials(self, seed, stream, index, n_trials):
        *_, inputs, targets = make_data(self.case)
        return trials_of(inputs, targets)


@pytest.mark.parametrize("name", ["feed-forward", "recurrent, late readouts"])
def test_gradients_are_compared_with_the_total_derivative_connection_by_connection(name):
    """By the cosines of two derivatives that JAX takes of the simulation above."""
    case = replace(CASES[name], frozen=("bias_second",))
    weights, feedback, *_ = make_data(case)
    trainer = Trainer(
        make_network(case, "factored"),
        Given(case=case),
        batch_size=N_TRIALS,
        device="runtime",
        weights=weights | feedback,
    )
    check = check_gradients(trainer, 0, progress=False)
    trainer.close()
    partial, *_ = differentiate(eprop_objective, case)
    total, *_ = differentiate(total_objective, case)
    assert check.cosine.keys() == partial.keys() - {*case.frozen}
    for connection_name, (cosine,) in check.cosine.items():
        a, b = partial[connection_name].ravel(), total[connection_name].ravel()
        expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        assert cosine == pytest.approx(expected, abs=1e-9), connection_name
        (ratio,) = check.ratio[connection_name]
        assert ratio == pytest.approx(np.linalg.norm(a) / np.linalg.norm(b), rel=1e-9)
    # Weights of readouts have one way to the loss, and so has the last layer if spikes do not
    # come back. The first layer's way is through the second one, of which its signal knows nothing.
    exact = {n for n, (cosine,) in check.cosine.items() if abs(cosine - 1) < 1e-9}
    of_readouts = {f"{s}_{r}" for r in READOUTS for s in ("second", "bias")}
    assert exact == of_readouts | ({"first_second"} if not case.recurrent else set())
    assert check.cosine["inputs_first"][0] < 0.95


def test_a_recording_shows_the_window_of_each_readout():
    """Of a network with a layer that nothing reaches: neither a signal nor a gradient."""
    case = replace(CASES["a layer that is frozen"], taught=False)
    weights, feedback, inputs, targets = make_data(case)
    recording = record(
        make_network(case, "factored"), trials_of(inputs, targets), weights | feedback
    )
    n = SIZES["classes"]
    parts = {"classes": slice(n), "curve": slice(n, None)}
    for name, columns in parts.items():
        counts = np.any(recording.error[:, columns] != 0, axis=1)
        np.testing.assert_array_equal(counts, np.arange(N_STEPS) >= N_STEPS - WINDOWS[name])
    np.testing.assert_array_equal(recording.counts, np.arange(N_STEPS) >= N_STEPS - 35)
    assert recording.inputs.shape == (N_STEPS, SIZES["inputs"])
    first = slice(SIZES["first"])
    assert not recording.learning_signal[:, first].any() and recording.spikes[:, first].any()
    assert recording.learning_signal[:, SIZES["first"] :].any()
    assert {synapse.target for synapse in recording.synapses} == {"second"}
    with pytest.raises(ValueError, match="synapse 'input 0 → first 0' does not learn"):
        record(
            make_network(case, "factored"),
            trials_of(inputs, targets),
            weights | feedback,
            synapses=[TracedSynapse("inputs", 0, "first", 0)],
        )
