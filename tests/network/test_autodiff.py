"""The derived learning rule against automatic differentiation of an independent simulation.

The simulation is written in JAX from the papers' equations (Bellec et al. 2020, Nat. Commun.
11:3625, eqs. 6-11), its neurons are those of `support.neurons_by_hand`. Its spike is a step whose
derivative is the surrogate. Where the learning rule drops a path, the simulation stops the gradient
on that path:

*membrane reset*: a neuron's spike as its own reset subtracts it (kept with ``detach=()``);
*transmission*: a spike as the other neurons receive it (kept by the total derivative).

A spike into the neuron's own slow states is always differentiated.
"""

import functools
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brian2 import Hz, StateMonitor, second
from brian2.codegen.runtime.numpy_rt import NumpyCodeObject

from eprop_brian.equations import GRADIENT_DESCENT, LEAKY
from eprop_brian.network.program import make_program
from eprop_brian.network.spec import Network
from eprop_brian.network.standard import MATRICES
from eprop_brian.training.session import Session
from support.arrays import deviation
from support.devices import on_devices
from support.neurons_by_hand import DT, LIBRARY, MODELS, N_RECURRENT, spike
from support.trials import trials_of

#: Largest deviation from automatic differentiation, relative to the largest entry of a matrix.
TOLERANCE = 1e-9
#: Largest deviation of the two gradient programs from each other, likewise.
PROGRAM_TOLERANCE = 1e-12
#: Fewest spikes of a batch for a comparison to mean something.
MANY_SPIKES = 100

N_INPUTS, N_OUTPUTS = 4, 2
N_TRIALS, N_STEPS, LEARNING_WINDOW = 2, 80, 50
TAU_OUT = 15e-3
KAPPA = np.exp(-DT / TAU_OUT)
C_REG, F_TARGET = 40.0, 20.0


@dataclass(frozen=True)
class Setting:
    """What is trained, and on which objective."""

    model: str
    loss: str = "squared_error"
    zeta_out: str = "1"
    c_reg: float = C_REG
    average_gradient: bool = False
    keep_reset: bool = False

    def numbers(self) -> dict[str, float]:
        """The objective's numbers for the simulation."""
        return {
            "softmax": float(self.loss == "softmax_cross_entropy"),
            "zeta_out": {"1": 1.0, "1 - kappa": 1 - KAPPA}[self.zeta_out],
            "c_reg": self.c_reg,
            "divisor": float(LEARNING_WINDOW if self.average_gradient else 1),
        }


# --- automatic differentiation --------------------------------------------------------------------


def objective(weights, perturbation, spikes, targets, numbers, paths, *, model: str):
    """Mean over the trials of the error plus the firing-rate regulariser.

    Parameters
    ----------
    weights : dict of str to array
    perturbation : array, shape (n_trials, n_steps, n_recurrent)
        Added to every spike as it leaves its neuron: its gradient is dE/dz.
    spikes, targets : array, shape (n_trials, n_steps, n_inputs) and (n_trials, n_steps, n_outputs)
    numbers : dict of str to float
        What `Setting.numbers` gives.
    paths : dict of str to float
        1 if the path of a spike is differentiated, else 0: into its neuron's own slow states
        (``own``), into its neuron's reset (``reset``), into the other neurons (``transmission``).
        All three act in the simulation itself.
    model : str

    Returns
    -------
    float
    array, shape (n_trials, n_steps, n_recurrent)
        The spikes.
    """
    neuron = MODELS[model].dynamics
    w_rec = weights["w_rec"] * (1 - np.eye(N_RECURRENT))

    def follow(z, path):
        return paths[path] * z + (1 - paths[path]) * jax.lax.stop_gradient(z)

    def step(carry, now):
        h, z, sent, refractory, y = carry
        x, extra, target, in_window = now
        refractory = jnp.maximum(refractory - 1, 0)
        current = weights["w_in"] @ x + w_rec @ follow(sent, "transmission")
        h = neuron.step(h, current, follow(z, "reset"), follow(z, "own"))
        active = (refractory == 0).astype(float)
        slope = active * neuron.surrogate(h) + (1 - active) * neuron.refractory_surrogate
        z = spike(neuron.margin(h), jax.lax.stop_gradient(slope), active)
        refractory = jnp.where(z > 0, neuron.refractory_steps, refractory)
        sent = z + extra
        y = KAPPA * y + numbers["zeta_out"] * (weights["w_out"] @ sent)
        squared_error = jnp.sum((y - target) ** 2) / 2
        cross_entropy = -jnp.sum(target * jax.nn.log_softmax(y))
        error = jnp.where(numbers["softmax"], cross_entropy, squared_error)
        return (h, z, sent, refractory, y), (in_window * error, z, sent)

    def trial(extra, x, target):
        silent = jnp.zeros(N_RECURRENT)
        initial = tuple(silent + value for value in neuron.initial)
        in_window = jnp.arange(N_STEPS) >= N_STEPS - LEARNING_WINDOW
        _, (error, z, sent) = jax.lax.scan(
            step,
            (initial, silent, silent, silent, jnp.zeros(N_OUTPUTS)),
            (x, extra, target, in_window),
        )
        rate = sent.mean(axis=0)
        regularisation = numbers["c_reg"] / 2 * jnp.sum((rate - F_TARGET * DT) ** 2)
        return (error.sum() + regularisation) / numbers["divisor"], z

    errors, z = jax.vmap(trial)(perturbation, spikes, targets)
    return errors.mean(), z


_gradient = jax.jit(jax.grad(objective, argnums=(0, 1), has_aux=True), static_argnames=["model"])


class Derivative(NamedTuple):
    """Gradient by the weights, dE/dz of the mean error, and the spikes."""

    gradient: dict[str, np.ndarray]
    signal: np.ndarray
    spikes: np.ndarray


@functools.cache
def differentiate(setting: Setting, *paths: str) -> Derivative:
    """Automatic derivative of the objective along `paths` (see `objective`)."""
    weights, spikes, targets = data(setting)
    (gradient, signal), z = _gradient(
        {name: weights[name] for name in MATRICES},
        np.zeros((N_TRIALS, N_STEPS, N_RECURRENT)),
        spikes.astype(float),
        targets,
        setting.numbers(),
        {path: float(path in paths) for path in ("own", "reset", "transmission")},
        model=setting.model,
    )
    return Derivative(
        {name: np.asarray(g) for name, g in gradient.items()}, np.asarray(signal), np.asarray(z)
    )


def partial(setting: Setting) -> Derivative:
    """With the partial derivative as the learning signal: spikes stop at other neurons."""
    return differentiate(setting, "own", *(["reset"] if setting.keep_reset else []))


def total(setting: Setting) -> Derivative:
    """With the total derivative as the learning signal: backpropagation through time."""
    return differentiate(setting, "own", "transmission", *(["reset"] if setting.keep_reset else []))


# --- the package ----------------------------------------------------------------------------------


def data(setting: Setting) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Weights, input spikes and targets."""
    rng = np.random.default_rng(7)
    model = MODELS[setting.model]
    w_in = rng.normal(0.6, 0.6, (N_RECURRENT, N_INPUTS)) * model.input_scale
    w_rec = rng.normal(0.2, 1.0, (N_RECURRENT, N_RECURRENT)) * model.recurrent_scale
    np.fill_diagonal(w_rec, 0.0)
    w_out = rng.normal(size=(N_OUTPUTS, N_RECURRENT)) / np.sqrt(N_RECURRENT)
    weights = {"w_in": w_in, "w_rec": w_rec, "w_out": w_out, "B": w_out.T}
    spikes = rng.random((N_TRIALS, N_STEPS, N_INPUTS)) < 0.3
    if setting.loss == "squared_error":
        targets = rng.normal(size=(N_TRIALS, N_STEPS, N_OUTPUTS))
    else:
        targets = np.eye(N_OUTPUTS)[rng.integers(N_OUTPUTS, size=(N_TRIALS, N_STEPS))]
    return weights, spikes, targets


class Run(NamedTuple):
    """What the package made of a batch.

    Attributes
    ----------
    gradient : dict of str to array
    spikes : array, shape (n_steps, n_recurrent)
        Of the last trial.
    traces : dict of str to array, shape (n_trials, n_steps, n_recurrent, n_pre)
        Eligibility traces of ``w_in`` and ``w_rec``; empty unless ``online`` ran on ``runtime``.
    """

    gradient: dict[str, np.ndarray]
    spikes: np.ndarray
    traces: dict[str, np.ndarray]


@functools.cache
def run(setting: Setting, program: str, device: str = "runtime") -> Run:
    """Run one batch in the package."""
    weights, spikes, targets = data(setting)
    neurons = MODELS[setting.model].neurons
    if setting.keep_reset:
        neurons = tuple((replace(neuron, detach=()), size) for neuron, size in neurons)
    network = Network.standard(
        N_INPUTS,
        N_OUTPUTS,
        neurons,
        readout=LEAKY.with_parameters(tau_out=TAU_OUT * second, zeta_out=setting.zeta_out),
        loss=setting.loss,
        optimizer=GRADIENT_DESCENT,
        gradient=program,
        c_reg=setting.c_reg,
        f_target=F_TARGET * Hz,
        average_gradient=setting.average_gradient,
        dt=DT * second,
    )
    trials = trials_of(spikes, targets)
    session = Session(network, make_program(device), trials, LEARNING_WINDOW, weights)
    built = session.program.built
    monitors = {}
    if program == "online" and device == "runtime":
        monitors = {
            p.name: StateMonitor(
                p.group,
                "eligibility_trace",
                record=True,
                when="end",
                clock=p.group.clock,
                codeobj_class=NumpyCodeObject,
            )
            for p in built.projections
            if p.matrix != "w_out"
        }
        built.brian2_network.add(*monitors.values())
    session.run(trials, N_TRIALS)

    traces = {}
    for p in built.projections:
        if p.name in monitors:
            shape = (N_TRIALS, N_STEPS, *weights[p.matrix].shape)
            trace = monitors[p.name].eligibility_trace.T
            trace = trace.reshape(N_TRIALS, N_STEPS, p.n_pre, p.n_post).swapaxes(2, 3)
            matrix = traces.setdefault(p.matrix, np.zeros(shape))
            matrix[:, :, p.target_slice, p.source_slice] = trace
    return Run(session.gradient(), session.spikes(), traces)


def from_traces(signal: np.ndarray, traces: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The gradient sum_t L_j[t] e_ji[t], without autapses."""
    gradient = {m: np.einsum("btj,btji->ji", signal, e) for m, e in traces.items()}
    np.fill_diagonal(gradient["w_rec"], 0.0)
    return gradient


def assert_same_spikes(found: Run, wanted: Derivative) -> None:
    """The same spikes in the same steps of the last trial, and many of them in the batch."""
    np.testing.assert_array_equal(found.spikes, wanted.spikes[-1])
    assert wanted.spikes.sum() > MANY_SPIKES


# --- tests ----------------------------------------------------------------------------------------

OBJECTIVES = [
    Setting(model, loss, zeta_out)
    for model in ("lif", "alif")
    for loss in ("squared_error", "softmax_cross_entropy")
    for zeta_out in ("1", "1 - kappa")
]
OBJECTIVES += [Setting(m, "softmax_cross_entropy") for m in MODELS if m not in ("lif", "alif")]
EVERY_MODEL = [Setting(model) for model in MODELS]
#: Models to compile; the code of a population is the same whether others are beside it or not.
COMPILED = ("lif_and_alif", "current_based", "izhikevich_by_euler", *LIBRARY)
KEPT_RESET = [
    Setting(model, keep_reset=True)
    for model in ("lif", "alif", "current_based", "stdp_lif", "lif_exp", "adex", "glif")
]
#: Models of which no state but the membrane sees the neuron's own spike.
_PLAIN = ("lif", "lif_hard_reset", "stdp_lif", "lif_exp", "lif_alpha", "lif_cond")
ADAPTIVE = [m for m in MODELS if m not in _PLAIN]


def named(setting: Setting) -> str:
    """A test's name from what its setting changes."""
    return "-".join(str(value) for value in (setting.model, setting.loss, setting.zeta_out))


@pytest.mark.parametrize("setting", OBJECTIVES, ids=named)
def test_gradient_is_the_derivative_with_spikes_stopped_at_other_neurons(setting):
    wanted = partial(setting)
    found = run(setting, "factored")
    assert_same_spikes(found, wanted)
    assert deviation(found.gradient, wanted.gradient) <= TOLERANCE


@pytest.mark.parametrize("setting", EVERY_MODEL, ids=named)
def test_traces_with_the_total_derivative_are_backpropagation_through_time(setting):
    wanted = total(setting)
    found = run(setting, "online")
    assert_same_spikes(found, wanted)
    gradient = from_traces(wanted.signal, found.traces)
    assert deviation(gradient, wanted.gradient) <= TOLERANCE
    # What e-prop leaves out is no trifle, so the two tests hold different things.
    assert deviation(gradient, partial(setting).gradient) > 0.1


@pytest.mark.parametrize("setting", KEPT_RESET, ids=named)
def test_reset_can_be_differentiated(setting):
    wanted = partial(setting)
    assert deviation(run(setting, "factored").gradient, wanted.gradient) <= TOLERANCE
    backpropagation = total(setting)
    gradient = from_traces(backpropagation.signal, run(setting, "online").traces)
    assert deviation(gradient, backpropagation.gradient) <= TOLERANCE
    detached = partial(replace(setting, keep_reset=False))
    assert deviation(wanted.gradient, detached.gradient) > 0.1


@pytest.mark.parametrize("program", ["factored", "online"])
def test_average_over_the_learning_window_divides_error_and_regulariser(program):
    setting = Setting("alif", average_gradient=True)
    assert deviation(run(setting, program).gradient, partial(setting).gradient) <= TOLERANCE


@pytest.mark.parametrize("change", [{"c_reg": 0.0}, {"zeta_out": "1 - kappa"}], ids=str)
def test_terms_of_the_objective_matter(change):
    """Else the tests above could not see them."""
    setting = Setting("alif")
    changed = partial(replace(setting, **change))
    assert deviation(changed.gradient, partial(setting).gradient) > 1e-3


@pytest.mark.parametrize("model", ADAPTIVE)
def test_own_spike_in_slow_states_matters(model):
    setting = Setting(model)
    assert deviation(differentiate(setting).gradient, partial(setting).gradient) > 1e-3


@pytest.mark.parametrize("model", on_devices(MODELS, COMPILED))
def test_programs_agree_with_each_other_and_with_automatic_differentiation(model, device):
    setting = Setting(model)
    wanted = partial(setting)
    factored, online = run(setting, "factored", device), run(setting, "online", device)
    assert_same_spikes(factored, wanted)
    assert_same_spikes(online, wanted)
    assert deviation(factored.gradient, online.gradient) <= PROGRAM_TOLERANCE
    assert deviation(factored.gradient, wanted.gradient) <= TOLERANCE
