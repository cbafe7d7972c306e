"""Learned parameters of the neurons: gradients against the network by hand, and updates."""

import numpy as np
import pytest
from brian2 import ms

from eprop_brian.equations import ADAM, GRADIENT_DESCENT, Optimizer
from eprop_brian.network.built import SHARE
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.training.session import Session
from support.arrays import deviation
from support.by_hand import (
    LONGEST,
    NEURONS,
    POPULATIONS,
    PROGRAMS,
    TOLERANCE,
    Case,
    N,
    assert_right,
    data,
    expected,
    gradient_of,
    reference,
    run,
    session_of,
)
from support.trials import trials_of

EVERY = {name: Learned() for name in ("tau_m", "tau_a", "beta", "v_th")}
W_REC = np.random.default_rng(5).integers(1, LONGEST, (N, N)) * ms
#: More trials than are summed at once.
MANY = SHARE + 3
CASES = {
    "rate of a trial": Case({}, EVERY),
    "rate of the batch": Case({"rate_averaging": "batch"}, EVERY),
    "moving rate": Case({"rate_averaging": "moving"}, EVERY),
    "reset kept": Case({"delays": {"w_rec": W_REC}}, EVERY, keep_reset=True),
    "delayed readout": Case({"delays": {"w_out": 1 * ms}}, EVERY),
    "one alone": Case({}, {"tau_a": Learned()}),
    "mean over the window": Case({"average_gradient": True}, {"tau_m": Learned()}),
}
SHARES = {
    averaging: Case({"rate_averaging": averaging}, EVERY, n_trials=MANY)
    for averaging in ("trial", "batch", "moving")
}
NAMES = ("lif.tau_m", "lif.v_th", "alif.tau_m", "alif.tau_a", "alif.beta", "alif.v_th")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", CASES)
def test_gradient_is_the_derivative(name, program):
    assert_right(CASES[name], program, "runtime")


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("averaging", SHARES)
def test_compiled_gradient_of_several_shares_is_the_derivative(averaging, program):
    assert_right(SHARES[averaging], program, "cpp")


def test_there_is_a_gradient_for_every_parameter_of_every_population():
    found = run(CASES["rate of a trial"], "factored", "runtime")[0]
    assert {name for name in found if "." in name} == {*NAMES}
    for name in NAMES:
        assert np.all(found[name] != 0), name


def test_learned_values_count_from_the_session_and_not_from_the_network():
    """Constants that follow from them, too: alpha from tau_m, rho from tau_a."""
    case = CASES["rate of a trial"]
    session, trials = session_of(case, "online", "runtime")
    changed = {name: 0.8 * session.weights[name] for name in NAMES}
    session.weights.update(changed)
    session.run(trials, trials.n_trials)
    by_hand = {name: 0.8 * values for name, values in NEURONS.items()}
    wanted, spikes = reference(case, neurons=by_hand)
    np.testing.assert_array_equal(session.spikes(), spikes[-1])
    assert deviation(gradient_of(session), wanted) <= TOLERANCE
    assert deviation(expected(case)[0], wanted) > 0.1


@pytest.mark.devices("runtime", "cpp")
@pytest.mark.parametrize("program", PROGRAMS)
def test_updates_move_values_by_eta_relative_to_their_scale(program, device):
    """Gradient descent on value/scale; an eta of one's own; bounds; constants follow."""
    learned = {
        "tau_m": Learned(minimum="14.9999 ms", maximum="15.0001 ms"),
        "tau_a": Learned(eta=2e-2),
        "v_th": Learned(eta=0.0),
        "beta": Learned(minimum=0.0),
    }
    eta = 1e-3
    values = {"tau_m": np.full(N, 15e-3)}
    options = {"optimizer": GRADIENT_DESCENT.with_parameters(eta=eta)}
    case = Case(options, learned, n_trials=MANY, neurons={**NEURONS, **values})
    session, trials = session_of(case, program, device)
    held = {"minimum": 0, "maximum": 0}
    for _ in range(4):
        before = {name: value.copy() for name, value in session.weights.items()}
        session.run(trials, trials.n_trials)
        gradient = gradient_of(session)
        at_start = {**NEURONS, **values}
        for name in NAMES:
            population, parameter = name.split(".")
            scale = np.abs(at_start[parameter][POPULATIONS[population]]).mean()
            rate = {"tau_a": 2e-2, "v_th": 0.0}.get(parameter, eta)
            wanted = before[name] / scale - rate * scale * gradient[name]
            low, high = {"tau_m": (14.9999e-3, 15.0001e-3), "tau_a": (1e-3, np.inf)}.get(
                parameter, (0.0, np.inf)
            )
            held["minimum"] += np.sum(scale * wanted < low)
            held["maximum"] += np.sum(scale * wanted > high)
            wanted = scale * np.clip(wanted, low / scale, high / scale)
            np.testing.assert_allclose(session.weights[name], wanted, rtol=1e-13, err_msg=name)
        # The next gradient is that of the values there are now.
        by_hand = {k: v.copy() for k, v in case.neurons.items()}
        for name in NAMES:
            population, parameter = name.split(".")
            by_hand[parameter][POPULATIONS[population]] = before[name]
        right, _ = reference(case, neurons=by_hand, weights=before)
        assert deviation(gradient, right) <= TOLERANCE
    session.close()
    assert held["minimum"] > 0 and held["maximum"] > 0


def test_an_update_by_adam_has_states_of_its_own():
    """Its first step is eta in units of the scale, whatever the unit of the parameter."""
    eta = 1e-2
    options = {"optimizer": ADAM.with_parameters(eta=eta, epsilon=1e-30)}
    session, trials = session_of(Case(options, EVERY), "factored", "runtime")
    before = {name: session.weights[name].copy() for name in NAMES}
    session.run(trials, trials.n_trials)
    gradient = gradient_of(session)
    for name in NAMES:
        scale = np.abs(before[name]).mean()
        moved = (session.weights[name] - before[name]) / scale
        np.testing.assert_allclose(moved, -eta * np.sign(gradient[name]), rtol=1e-9)
        m = session.optimizer_states[f"m.{name}"]
        np.testing.assert_allclose(m, 0.1 * scale * gradient[name], rtol=1e-12)


@pytest.mark.parametrize("program", PROGRAMS)
def test_several_batches_in_one_call_are_as_many_calls(program):
    case = Case({"optimizer": GRADIENT_DESCENT.with_parameters(eta=1e-3)}, EVERY, n_trials=4)
    together, trials = session_of(case, program, "runtime")
    together.run(trials, 2)
    one_by_one, _ = session_of(case, program, "runtime")
    for first in (0, 2):
        one_by_one.run(trials.part(slice(first, first + 2)), 2)
    for name, value in one_by_one.weights.items():
        np.testing.assert_array_equal(together.weights[name], value, err_msg=name)


def test_names_and_bounds_of_the_optimizer_are_not_the_neurons():
    """An ALIF's beta is not a momentum's, and bounds of weights are none of a time constant."""
    momentum = "m = {0}*m + g\nw = clip(w - eta*m, w_min, w_max)"
    found = []
    for name in ("mu", "beta"):
        parameters = {"eta": 1e-3, name: 0.9, "w_min": -0.5, "w_max": 0.5}
        optimizer = Optimizer("own", momentum.format(name), ("m",), parameters)
        case = Case({"optimizer": optimizer}, {"tau_m": Learned(eta=1e-6)})
        session, trials = session_of(case, "factored", "runtime")
        start = session.weights["alif.tau_m"].copy()
        for _ in range(3):
            session.run(trials, trials.n_trials)
        found.append(session.weights["alif.tau_m"])
        assert 0 < np.abs(found[-1] / start - 1).max() < 1e-2
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lif.tau_m", np.nan, "'lif.tau_m' of the weights must be finite"),
        ("lif.tau_m", 1e-4, "must lie between 0.001 and inf"),
        ("w_in", np.inf, "'w_in' of the weights must be finite"),
        ("B", 1 * ms, "plain numbers"),
        ("foo", 1.0, "the network has no weights 'foo'; it has w_in"),
    ],
)
def test_wrong_weights_to_start_from_are_refused(name, value, message):
    network = Case({}, {"tau_m": Learned()}).network("factored")
    weights, spikes, targets = data(Case(), network)
    shape = np.shape(weights.get(name, 0.0))
    weights[name] = np.full(shape, 1.0) * value
    with pytest.raises(ValueError, match=message):
        Session(network, make_program("runtime"), trials_of(spikes, targets), 10, weights)
