"""Losses of policies: what they read of the trials as ``advantage``, and the gradients."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from brian2 import prefs

from eprop_brian.brian import to_brian2
from eprop_brian.equations import LEAKY, LIF
from eprop_brian.equations.losses import gaussian_policy, policy_gradient
from eprop_brian.network.spec import Network
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import parse_expression, symbol
from eprop_brian.symbolic.losses import derive_loss
from eprop_brian.tasks.trials import Trials, join_trials
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.calls import enlarged
from eprop_brian.training.unrolled import Unrolled
from support.arrays import all_dense, deviation
from support.by_hand import (
    LEARNING_WINDOW,
    N_STEPS,
    N_TRIALS,
    PROGRAMS,
    Case,
    assert_right,
    expected,
    gradient_of,
    run,
    session_of,
)
from support.trials import trials_of

ENTROPY, DEVIATION = 0.05, 0.3
POLICY, GAUSSIAN = policy_gradient(ENTROPY), gaussian_policy(DEVIATION)


def policy(y, wanted):
    """Minus the action's log-probability times its advantage, less the entropy bonus."""
    log_p = jax.nn.log_softmax(y)
    entropy = -jnp.sum(jnp.exp(log_p) * log_p)
    return -wanted[-1] * (wanted[:-1] @ log_p) - ENTROPY * entropy


def gaussian(y, wanted):
    """The same of a normal distribution around the outputs, without its constant."""
    return wanted[-1] * jnp.sum((wanted[:-1] - y) ** 2) / (2 * DEVIATION**2)


def advantages() -> np.ndarray:
    """Of both signs in every step."""
    return np.random.default_rng(5).normal(size=(N_TRIALS, N_STEPS))


def actions() -> np.ndarray:
    """Every third step is one of an action; the second trial is over sooner."""
    chosen = np.zeros((N_TRIALS, N_STEPS), dtype=int)
    chosen[0, 8::3], chosen[1, 5:44:3] = 1, 1
    return chosen


CASES = {
    "policy": Case(
        {"loss": POLICY},
        softmax=True,
        n_outputs=3,
        scored=policy,
        advantage=advantages(),
        periods=actions(),
    ),
    "policy in a window": Case(
        {"loss": POLICY, "c_reg": 0.0},
        softmax=True,
        n_outputs=3,
        scored=policy,
        advantage=advantages(),
    ),
    "gaussian": Case(
        {"loss": GAUSSIAN}, scored=gaussian, advantage=advantages(), periods=actions()
    ),
}


@pytest.mark.parametrize("target", [(1, 0, 0), (0, 0, 1)])
def test_error_of_a_policy_is_that_of_the_paper(target):
    """(p_k - 1_k) advantage + c p_k (log p_k + H), for a one-hot action."""
    loss = derive_loss("-advantage*y_target*log(p) + c*p*log(p)", ("c",))
    p = sympy.symbols("p_:2", positive=True)
    p = [*p, 1 - sum(p)]
    c, advantage = symbol("c"), symbol("advantage")

    def at(text, k, **more):
        known = {"p": p[k], "y_target": target[k], **more}
        return parse_expression(text, "test").xreplace({symbol(n): v for n, v in known.items()})

    coupled = sum(at(loss.coupling, k) for k in range(3))
    entropy = -sum(one * sympy.log(one) for one in p)
    for k in range(3):
        wanted = (p[k] - target[k]) * advantage + c * p[k] * (sympy.log(p[k]) + entropy)
        assert sympy.simplify(sympy.expand(at(loss.error, k, coupled=coupled) - wanted)) == 0
    assert loss.reads_advantage and not loss.open_at_one
    assert not derive_loss("(p - y_target)**2").reads_advantage


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", CASES)
def test_gradient_equals_the_network_by_hand(name, program, device):
    assert_right(CASES[name], program, device)


def test_the_advantage_of_every_step_matters():
    """Else the test above could not see which one is read."""
    plain = expected(CASES["policy"])[0]
    for other in (advantages()[::-1], np.roll(advantages(), 1, axis=1), 0 * advantages()):
        changed = replace(CASES["policy"], advantage=other)
        assert deviation(expected(changed)[0], plain) > 1e-2


@pytest.mark.parametrize("name", CASES)
def test_readout_weights_by_finite_differences(name):
    """Of the reported loss, in the package itself."""
    case, step = CASES[name], 1e-4
    session, trials = session_of(case, "factored", "runtime")
    found = run(case, "factored", "runtime")[0]["w_out"]
    steps = case.counts.sum(axis=1) if case.softmax else np.full(N_TRIALS, case.n_outputs)
    start, differences = session.weights["w_out"].copy(), np.zeros_like(found)
    for place in np.ndindex(found.shape):
        sums = []
        for sign in (1, -1):
            moved = start.copy()
            moved[place] += sign * step
            session.weights["w_out"] = moved
            # What is reported is a mean over steps or outputs; E is the sum over both.
            sums.append((steps * session.run(trials, N_TRIALS, learning=False).loss).mean())
        differences[place] = (sums[0] - sums[1]) / (2 * step)
    np.testing.assert_allclose(found, differences, rtol=0, atol=1e-6 * np.abs(found).max())


def unrolled(network: Network, weights, trials: Trials, local: bool) -> dict[str, np.ndarray]:
    """The gradient of trials by automatic differentiation of the network in JAX."""
    resolved = network.resolved
    unrolled = Unrolled(resolved, LEARNING_WINDOW, np.float64, trials.n_answers or 0, local=local)
    periods = np.zeros((trials.n_trials, 0), np.int32) if trials.periods is None else trials.periods
    of_trials = trials.inputs[trials.pattern], trials.targets[trials.target], periods
    with jax.enable_x64(True):
        learned = {name: jnp.asarray(weights[name]) for name in resolved.keys.connections}
        gradient = jax.grad(unrolled.objective, has_aux=True)
        found, _ = gradient(learned, *of_trials, advantage=trials.advantage)
    return {name: np.where(unrolled.masks[name], np.asarray(g), 0) for name, g in found.items()}


@pytest.mark.parametrize("name", CASES)
def test_the_network_unrolled_in_jax_has_the_same_gradient(name):
    """Spikes are stopped at other neurons; in its own reset, a spike counts on both sides."""
    case = replace(CASES[name], keep_reset=True)
    session, trials = session_of(case, "factored", "runtime")
    weights = dict(session.weights)
    session.run(trials, trials.n_trials)
    wanted = unrolled(case.network("factored"), weights, trials, local=True)
    assert deviation(gradient_of(session), wanted) <= 1e-9
    bptt = BpttSession(case.network("bptt"), trials, LEARNING_WINDOW, weights)
    whole = unrolled(case.network("bptt"), weights, trials, local=False)
    assert deviation(bptt.gradient_of(trials), whole) <= 1e-9
    assert deviation(wanted, whole) > 1e-3


# --- the trials -----------------------------------------------------------------------------------


def batch(seed: int = 0, **options) -> Trials:
    rng = np.random.default_rng(seed)
    return trials_of(rng.random((4, 6, 2)) < 0.5, rng.normal(size=(4, 6, 3)), **options)


def test_trials_keep_their_advantages():
    advantage = np.arange(24.0).reshape(4, 6)
    trials = batch(advantage=advantage)
    part = trials.part(slice(1, 3))
    np.testing.assert_array_equal(part.advantage[part.target], advantage[1:3])
    joined = join_trials([part, trials.part(slice(3, 4)), part])
    np.testing.assert_array_equal(joined.advantage[joined.target], advantage[[1, 2, 3, 1, 2]])
    assert len(joined.targets) == 3
    other = batch(advantage=advantage + 1)
    assert not trials.shares_targets(other) and trials.shares_targets(trials)
    more = enlarged(trials, 7)
    np.testing.assert_array_equal(more.advantage[more.target[:4]], advantage)
    assert len(more.advantage) == len(more.targets)
    with pytest.raises(ValueError, match="with and without advantages cannot be joined"):
        join_trials([trials, batch()])


@pytest.mark.parametrize(
    ("advantage", "message"),
    [
        (np.zeros((4, 5)), r"shape \(n_targets, n_steps\) = \(4, 6\), got \(4, 5\)"),
        (np.full((4, 6), np.nan), "advantage must be finite"),
    ],
)
def test_advantages_that_cannot_be(advantage, message):
    with pytest.raises(ValueError, match=message):
        batch(advantage=advantage)


def test_a_loss_needs_the_advantage_that_it_reads():
    case = replace(CASES["policy"], advantage=None)
    with pytest.raises(ValueError, match="'readout' reads the advantage, which these trials do"):
        session_of(case, "factored", "runtime")
    # Who does not read it may have it.
    session_of(replace(Case(), advantage=advantages()), "factored", "runtime")


def test_a_readout_has_no_parameter_of_that_name():
    filtered = replace(LEAKY, parameters={**LEAKY.parameters, "advantage": 1.0})
    with pytest.raises(EquationError, match="advantage"):
        Network.standard(2, 1, [(LIF, 2)], readout=filtered)


def test_brian2_objects_read_it_too():
    """Losses of both trials, and what is learned from them."""
    case = CASES["policy"]
    session, trials = session_of(case, "factored", "runtime")
    weights = dict(session.weights)
    outcome = session.run(trials, trials.n_trials)
    before = prefs.codegen.target
    prefs.codegen.target = "numpy"
    try:
        objects = to_brian2(
            case.network("factored"),
            trials,
            batch_size=trials.n_trials,
            learning_window=LEARNING_WINDOW,
            weights=weights,
        )
        objects.run()
    finally:
        prefs.codegen.target = before
    np.testing.assert_allclose(objects.losses(), outcome.loss, rtol=1e-12)
    assert deviation(all_dense(objects.weights()), all_dense(session.weights)) <= 1e-12
