"""Losses, regularisers, periods and clipping of a network against one written by hand."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eprop_brian.equations import GRADIENT_DESCENT, LIF, OPTIMIZERS, Optimizer
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.network.spec import Network
from eprop_brian.network.standard import MATRICES
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import evaluate
from eprop_brian.symbolic.losses import derive_loss
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.session import Session
from eprop_brian.training.workers import ParallelSession
from support.arrays import deviation
from support.by_hand import (
    LEARNING_WINDOW,
    N_STEPS,
    N_TRIALS,
    PROGRAM_TOLERANCE,
    PROGRAMS,
    Case,
    assert_right,
    data,
    expected,
    gradient_of,
    reference,
    run,
    session_of,
)
from support.devices import on_devices
from support.trials import trials_of


def log_cosh(y, target):
    return jnp.sum(jnp.log(jnp.cosh(y - target)))


def brier(y, target):
    return jnp.sum((jax.nn.softmax(y) - target) ** 2)


def focal(y, target):
    p = jax.nn.softmax(y)
    return -jnp.sum(target * (1 - p) ** 2 * jnp.log(p))


def cross_entropy(y, target):
    return -target @ jax.nn.log_softmax(y)


def one_against_all(y, target):
    """Log(1 - p) by way of the other readouts, which never is log(0)."""
    others = jnp.where(jnp.eye(len(y), dtype=bool), -jnp.inf, y)
    log_rest = jax.nn.logsumexp(others, axis=1) - jax.nn.logsumexp(y)
    return -jnp.sum(target * jax.nn.log_softmax(y) + (1 - target) * log_rest)


ONE_AGAINST_ALL = "-y_target*log(p) - (1 - y_target)*log(1 - p)"


def periods() -> np.ndarray:
    """Two answers a trial, of different lengths, and gaps."""
    chosen = np.zeros((N_TRIALS, N_STEPS), dtype=int)
    chosen[0, 10:20], chosen[0, 35:38] = 1, 2
    chosen[1, 12:41] = 2
    return chosen


#: Loss equations: what the network is given, and the same in JAX.
LOSSES = {
    "log_cosh": Case({"loss": "log(cosh(y - y_target))"}, scored=log_cosh),
    "brier": Case({"loss": "(p - y_target)**2"}, softmax=True, n_outputs=3, scored=brier),
    "one against all": Case(
        {"loss": ONE_AGAINST_ALL}, softmax=True, n_outputs=3, scored=one_against_all
    ),
    "focal": Case({"loss": "-y_target*(1 - p)**2*log(p)"}, softmax=True, n_outputs=3, scored=focal),
}
EVERY = {"tau_m": Learned(), "v_th": Learned(), "beta": Learned()}
CASES = {
    **LOSSES,
    "voltage": Case({"c_v": 30.0}),
    "voltage and learned parameters": Case({"c_v": 30.0}, EVERY),
    "voltage, batch regulariser": Case({"c_v": 30.0, "rate_averaging": "batch"}),
    "voltage, moving regulariser": Case({"c_v": 30.0, "rate_averaging": "moving"}),
    "voltage, kept reset": Case({"c_v": 30.0}, keep_reset=True),
    "l2": Case({"c_l2": 0.7}),
    "l2, sparse": Case({"c_l2": 0.7, "connectivity": {"w_rec": 0.5, "w_in": 0.6}}),
    "periods": Case(periods=periods()),
    "periods, softmax": Case(softmax=True, periods=periods()),
    # Targets that do not sum to 1, nor to the same in every step; the error by autodiff.
    "class weights": Case(
        softmax=True, n_outputs=3, scored=cross_entropy, class_weights=(5, 1, 0.5)
    ),
    "class weights, periods": Case(
        {"c_v": 3.0, "rate_averaging": "batch"},
        softmax=True,
        n_outputs=3,
        scored=cross_entropy,
        class_weights=(5, 1, 0.5),
        periods=periods(),
    ),
    "all": Case(
        {"c_v": 10.0, "c_l2": 0.3, "loss": "(p - y_target)**2", "rate_averaging": "batch"},
        softmax=True,
        n_outputs=3,
        scored=brier,
        periods=periods(),
    ),
}


#: Of these the compiled program is made too.
COMPILED = ("focal", "class weights", "voltage, batch regulariser", "all")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", on_devices(CASES, COMPILED))
def test_gradient_equals_the_network_by_hand(name, program, device):
    assert_right(CASES[name], program, device)


@pytest.mark.parametrize("name", ["voltage", "l2", "log_cosh", "periods"])
def test_the_option_changes_the_gradient(name):
    plain = expected(Case())[0]
    assert deviation({m: expected(CASES[name])[0][m] for m in MATRICES}, plain) > 1e-3


# --- what comes out -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["periods", "periods, softmax", "brier"])
def test_losses_and_outputs_of_each_answer(name):
    """From the readouts of the same program, step by step."""
    case = CASES[name]
    session, trials = session_of(case, "factored", "runtime")
    outcome = session.run(trials, case.n_trials)
    y = readouts(case)
    target = trials.targets
    p = np.exp(y) / np.exp(y).sum(axis=2, keepdims=True)
    signal = p if case.softmax else y
    if name == "brier":
        each = ((p - target) ** 2).sum(axis=2)
    elif case.softmax:
        each = -(target * np.log(p)).sum(axis=2)
    else:
        each = ((y - target) ** 2 / 2).mean(axis=2)
    counts = case.counts
    loss = (each * counts).sum(axis=1)
    np.testing.assert_allclose(
        outcome.loss, loss / counts.sum(axis=1) if case.softmax else loss, rtol=1e-12
    )
    if case.periods is None:
        wanted = signal[:, -LEARNING_WINDOW:].mean(axis=1)
        np.testing.assert_allclose(outcome.output, wanted, rtol=1e-12)
        return
    assert outcome.output.shape == (N_TRIALS, 2, case.n_outputs)
    assert np.all(np.isnan(outcome.output[1, 0]))  # no step counts for it
    for trial, answer in ((0, 0), (0, 1), (1, 1)):
        steps = case.periods[trial] == answer + 1
        wanted = signal[trial, steps].mean(axis=0)
        np.testing.assert_allclose(outcome.output[trial, answer], wanted, rtol=1e-12)


def readouts(case: Case) -> np.ndarray:
    """Readouts y of every trial and step: each step as an answer of its own."""
    each_step = np.tile(np.arange(1, N_STEPS + 1), (case.n_trials, 1))
    options = {k: v for k, v in case.options.items() if k != "loss"}
    plain = Case(options, n_outputs=case.n_outputs, periods=each_step)
    session, trials = session_of(plain, "factored", "runtime")
    return session.run(trials, case.n_trials, learning=False).output


def test_workers_share_trials_with_periods():
    case = Case({"c_v": 3.0, "clip_norm": 0.5}, softmax=True, n_trials=19, periods=many_periods())
    session, trials = session_of(case, "factored", "cpp")
    network = case.network("factored")
    weights = data(case, network)[0]
    shared = ParallelSession(
        network, trials, LEARNING_WINDOW, weights, device="cpp", dtype="float64", workers=2
    )
    one, two = session.run(trials, case.n_trials), shared.run(trials, case.n_trials)
    for name in ("loss", "output", "rate"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    for name in MATRICES:
        np.testing.assert_array_equal(session.weights[name], shared.weights[name])
    session.close()
    shared.close()


def many_periods():
    rng = np.random.default_rng(3)
    chosen = rng.integers(0, 4, (19, N_STEPS))
    chosen[:, 0] = 3
    return chosen


@pytest.mark.parametrize("gradient", ["factored", "bptt"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_softmax_that_is_sure_has_a_loss_and_an_error(gradient, dtype):
    """Probabilities that round to 0 and 1, where log(1 - p) and its slope have no value."""
    case = Case({"loss": ONE_AGAINST_ALL, "c_reg": 0.0}, softmax=True, n_outputs=3)
    network = case.network(gradient)
    weights, spikes, targets = data(case, network)
    weights["w_out"] = 1e3 * weights["w_out"]
    trials = trials_of(spikes, targets)
    if gradient == "bptt":
        session = BpttSession(network, trials, LEARNING_WINDOW, weights, dtype)
    else:
        session = Session(network, make_program("runtime", dtype), trials, LEARNING_WINDOW, weights)
    outcome = session.run(trials, case.n_trials)
    assert np.any(outcome.output > 0.9) and np.all(np.isfinite(outcome.loss))
    assert all(np.all(np.isfinite(gradient)) for gradient in gradient_of(session).values())
    assert not derive_loss("-y_target*(1 - p)**2*log(p)").open_at_one


# --- clipping and optimizers ----------------------------------------------------------------------


@pytest.mark.devices("runtime", "cpp")
def test_gradients_are_clipped_by_value(device):
    whole = expected(Case())[0]
    limit = 0.2 * max(np.abs(whole[name]).max() for name in MATRICES)
    found = run(Case({"clip_value": limit}), "factored", device)[0]
    wanted = {name: np.clip(whole[name], -limit, limit) for name in MATRICES}
    assert deviation(found, wanted) <= PROGRAM_TOLERANCE


@pytest.mark.devices("runtime", "cpp")
@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_gradients_are_clipped_by_their_norm(factor, device):
    whole = expected(Case())[0]
    norm = np.sqrt(sum(np.sum(whole[name] ** 2) for name in MATRICES))
    found = run(Case({"clip_norm": factor * norm}), "factored", device)[0]
    wanted = {name: whole[name] * min(1.0, factor) for name in MATRICES}
    assert deviation(found, wanted) <= PROGRAM_TOLERANCE


def by_statements(optimizer: Optimizer, weights, gradients, factors):
    """Weights after an optimizer's statements, evaluated with NumPy."""
    values = {"w": weights, **dict.fromkeys(optimizer.states, np.zeros_like(weights))}
    for k, (g, factor) in enumerate(zip(gradients, factors, strict=True), start=1):
        values |= {**optimizer.parameters, "g": g, "k": float(k)}
        values["eta"] = values["eta"] * factor
        for line in optimizer.update.split("\n"):
            name, expression = line.split(" = ", 1)
            values[name] = evaluate(expression, values, "test")
    return values["w"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_runs_with_a_schedule(name):
    """Weights after three updates, from the program's own gradients of each."""
    optimizer = OPTIMIZERS[name].with_parameters(eta=1e-3)
    scheduled = replace(optimizer, schedule="0.5**floor(k/2)")
    session, trials = session_of(Case({"optimizer": scheduled}), "factored", "runtime")
    before, gradients = {m: session.weights[m].copy() for m in MATRICES}, []
    for _ in range(3):
        session.run(trials, trials.n_trials)
        gradients.append(gradient_of(session))
    for m in MATRICES:
        wanted = by_statements(optimizer, before[m], [g[m] for g in gradients], [1, 0.5, 0.5])
        np.testing.assert_allclose(session.weights[m], wanted, rtol=1e-11, atol=1e-15)


def test_an_optimizer_of_ones_own():
    signs = Optimizer(
        "signs",
        "_size = eta*abs(g)/(abs(g) + tiny)\nw = w - _size*sign(g)",
        parameters={"eta": 1e-3, "tiny": 1e-300},
    )
    session, trials = session_of(Case({"optimizer": signs}), "factored", "runtime")
    before = session.weights["w_in"].copy()
    session.run(trials, trials.n_trials)
    step = session.weights["w_in"] - before
    np.testing.assert_allclose(step, -1e-3 * np.sign(gradient_of(session)["w_in"]), rtol=1e-9)


# --- what is refused ------------------------------------------------------------------------------


def network(**options) -> Network:
    return Network.standard(2, 2, [(LIF, 3)], **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "mean_squared"}, "unknown loss 'mean_squared'.*There are: squared_error"),
        ({"loss": "y**2 + p"}, "must read either the readout y or the softmax probability p"),
        ({"loss": "(y - target)**2"}, "'target' is not defined .did you mean 'y_target'"),
        ({"loss": "clip(y, 0, 1)"}, "has no derivative"),
        ({"loss": "int(y > y_target)*y"}, "has no derivative"),
        ({"loss": "sign(y)*y"}, "has no derivative"),
        ({"loss": 3}, "loss must be a name or an equation, not 3"),
        ({"voltage_cost": 3}, "voltage_cost must be an equation"),
        (
            {"optimizer": replace(GRADIENT_DESCENT, schedule="1 - k/50")},
            "is -1 in update 100: a learning rate cannot be negative",
        ),
        ({"c_v": -1.0}, "c_v must be at least 0"),
        ({"voltage_cost": "(u - 1)**2"}, "'u' is not defined"),
        ({"c_v": 1.0, "voltage_cost": "floor(margin)"}, "has a slope of 0 everywhere"),
        ({"c_v": 1.0, "voltage_cost": "v_th**2"}, "does not depend on any state"),
        ({"c_l2": np.nan}, "c_l2 must be a finite number"),
        ({"clip_value": 0}, "clip_value must be above 0"),
        ({"clip_norm": "1"}, "clip_norm must be a finite number"),
        (
            {"clip_norm": 1.0, "updates": "step", "gradient": "online"},
            "clipped by clip_value there, not by clip_norm",
        ),
        (
            {"optimizer": replace(GRADIENT_DESCENT, schedule="0.5**steps")},
            "optimizer 'gradient_descent', schedule(.|\n)*'steps' is not defined",
        ),
        ({"optimizer": Optimizer("o", "w = w - lr*g")}, "'lr' is not defined"),
        ({"optimizer": Optimizer("o", "x = g\nw = w - g")}, "must be a statement for one of w"),
        ({"optimizer": Optimizer("o", "_x = g")}, "has no statement for w"),
        (
            {"optimizer": Optimizer("o", "w = w - g", schedule="1/k")},
            "multiplies eta, which this optimizer has not",
        ),
    ],
)
def test_wrong_options_are_refused_in_a_line(options, message):
    with pytest.raises((ValueError, EquationError), match=message):
        network(**options)


def test_an_absolute_error_of_probabilities_is_a_loss():
    loss = derive_loss("abs(p - y_target)")
    values = {"p": 0.25, "y_target": 1.0, "coupled": 0.1}
    assert evaluate(loss.error, values, "test") == pytest.approx(-0.25 - 0.25 * 0.1)


def test_a_derived_loss_equals_the_librarys():
    squared = derive_loss("(y - y_target)**2/2")
    assert evaluate(squared.error, {"y": 3.0, "y_target": 1.0}, "test") == 2.0
    entropy = derive_loss("-y_target*log(p)")
    assert (entropy.signal, entropy.softmax) == ("p", True)
    for weights in ((), (5, 1)):
        wanted, _ = reference(Case(softmax=True, scored=cross_entropy, class_weights=weights))
        for options in ({}, {"loss": "-y_target*log(p)"}):
            case = Case(options, softmax=True, class_weights=weights)
            assert deviation(run(case, "factored", "runtime")[0], wanted) <= PROGRAM_TOLERANCE


def test_readout_gradient_of_class_weights_is_the_finite_difference():
    """Of the loss that is reported itself: classes that weigh 5, 1 and 1."""
    case = Case({"c_reg": 0.0}, softmax=True, n_outputs=3, class_weights=(5, 1, 1))
    session, trials = session_of(case, "factored", "runtime")
    session.run(trials, case.n_trials)
    found = gradient_of(session)["w_out"]
    step, differences = 1e-5, np.zeros_like(found)
    for place in np.ndindex(found.shape):
        losses = []
        for sign in (1, -1):
            moved, _ = session_of(case, "factored", "runtime")
            moved.weights["w_out"][place] += sign * step
            losses.append(moved.run(trials, case.n_trials, learning=False).loss.mean())
        differences[place] = LEARNING_WINDOW * (losses[0] - losses[1]) / (2 * step)
    np.testing.assert_allclose(found, differences, rtol=0, atol=1e-7 * np.abs(differences).max())
