"""Episodes by the online view: tags and reward prediction errors, against the forward view.

With weights fixed during an episode, and nothing expected after its last step, both are one sum in
another order (Bellec et al. 2020, eqs. 30-37).
"""

import functools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from brian2 import Hz, ms

from eprop_brian.equations import ADAM, ALIF, GRADIENT_DESCENT, LEAKY, LIF
from eprop_brian.equations.environment import Code, Environment
from eprop_brian.equations.losses import SOFTMAX_CROSS_ENTROPY, policy_gradient, weighted
from eprop_brian.network.learned import Learned
from eprop_brian.network.parts import Agent
from eprop_brian.network.probes import Probe, probed_places
from eprop_brian.network.program import make_program
from eprop_brian.network.spec import Network
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.losses import derive_loss, split_error
from eprop_brian.tasks import get_task
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.session import Session
from support.arrays import all_dense, deviation
from support.devices import on_devices

#: Largest deviation, relative to the largest entry of a matrix.
TOLERANCE = 1e-12
N_EPISODES = 8

#: A noisy walk on a rail, which some episodes leave and others do not.
RAIL = Environment(
    name="rail",
    model="x : 1",
    codes=[Code(6, spike="rand() < 0.6*exp(-(x - i + 2.5)**2/2)")],
    most_actions=5,
    n_actions=2,
    initial={"x": "rand() - 0.5"},
    step="x += 1.6*action - 0.8 + 0.3*randn()",
    reward="0.5 - x**2 + 0.1*action",
    done="abs(x) > 1.9",
    action_every=4 * ms,
)
#: The same with an action of two components.
PUSHED = replace(
    RAIL,
    n_actions=0,
    action_size=2,
    step="x += action_0 - 0.5*action_1 + 0.3*randn()",
    reward="0.5 - x**2",
)
NEURONS = [
    (LIF.with_parameters(v_th=0.4, t_ref=2 * ms), 5),
    (ALIF.with_parameters(v_th=0.4, t_ref=1 * ms, beta=0.3, tau_a=20 * ms), 4),
]


@dataclass(frozen=True, eq=False)
class Case:
    """A network in an environment; compared as objects, which makes results easy to keep."""

    environment: Environment = RAIL
    entropy: float = 0.0
    trace_decay: float = 1.0
    bootstrap: bool = False
    c_reg: float = 0.0
    learned: bool = False
    delayed: bool = False

    def network(self, gradient: str, **options) -> Network:
        agent = Agent(discount=0.9, trace_decay=self.trace_decay, bootstrap=self.bootstrap)
        if self.learned:
            options["learned"] = {"beta": Learned(), "tau_m": Learned()}
        network = Network.for_environment(
            self.environment,
            NEURONS,
            agent=agent,
            entropy=self.entropy,
            value_weight=0.7,
            gradient=gradient,
            optimizer=GRADIENT_DESCENT,
            c_reg=self.c_reg,
            **options,
        )
        if not self.delayed:
            return network
        learned = {"longest": 6 * ms, "width": 2 * ms}
        network = network.with_part("w_in", delay=(0 * ms, 3 * ms), learned_delay=learned)
        return network.with_part("w_rec", delay=(1 * ms, 4 * ms))


CASES = {
    "plain": Case(),
    "entropy": Case(entropy=0.3),
    "trace decay": Case(trace_decay=0.9),
    "bootstrap": Case(bootstrap=True),
    "all": Case(entropy=0.3, trace_decay=0.9, bootstrap=True, c_reg=5.0),
    "continuous actions": Case(PUSHED, trace_decay=0.9),
    "learned parameters": Case(entropy=0.3, learned=True),
    "learned delays": Case(entropy=0.3, trace_decay=0.9, delayed=True),
}


def session_of(network, environment, device="runtime", n_episodes=N_EPISODES):
    trials = Trials.episodes(environment, network.dt, [*range(n_episodes)])
    weights = {
        name: w if name.startswith("B") or "." in name else 2 * w
        for name, w in network.initial_weights(3).items()
    }
    program = make_program(device)
    return Session(network, program, trials, trials.inputs.shape[1], weights), trials


def learned_in(case: Case, gradient: str, device: str):
    """Gradients and the outcome of a batch."""
    session, trials = session_of(case.network(gradient), case.environment, device)
    outcome = session.run(trials, N_EPISODES)
    gradient_of = session.gradient()
    session.close()
    return gradient_of, outcome


@functools.lru_cache
def forward_view(case: Case):
    return learned_in(case, "factored", "runtime")


@pytest.mark.parametrize("name", on_devices(CASES, ["all"]))
def test_gradient_is_that_of_the_forward_view(name, device):
    case = CASES[name]
    wanted, outcome = forward_view(case)
    found, online = learned_in(case, "online", device)
    assert deviation(found, wanted) <= TOLERANCE
    assert online.episodes.lengths.tolist() == outcome.episodes.lengths.tolist()
    assert len({*outcome.episodes.lengths}) > 1
    if case.bootstrap:
        assert {*outcome.episodes.done} == {True, False}
    np.testing.assert_allclose(online.loss, outcome.loss, rtol=1e-12)


@pytest.mark.devices("cuda")
def test_gradient_of_trials_side_by_side(device):
    case = CASES["all"]
    assert deviation(learned_in(case, "online", device)[0], forward_view(case)[0]) <= TOLERANCE


@pytest.mark.parametrize("name", ["entropy", "trace decay", "bootstrap", "all"])
def test_every_option_matters(name):
    """Else the test above could not see it."""
    assert deviation(forward_view(CASES[name])[0], forward_view(CASES["plain"])[0]) > 1e-3


# --- errors in parts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [
        derive_loss(policy_gradient(0.3)),
        weighted(derive_loss(policy_gradient(0.3)), 1.7),
        derive_loss("advantage*(y_target - y)**2/2 + y**4"),
        SOFTMAX_CROSS_ENTROPY,
    ],
    ids=["policy", "weighted", "y", "without advantage"],
)
def test_parts_of_an_error_make_the_whole(loss):
    rewarded, direct = split_error(loss)
    outputs = np.array([0.3, -0.4, 0.9])
    p = np.exp(outputs) / np.exp(outputs).sum()
    known = {"y": outputs, "p": p, "y_target": np.array([0, 1, 0]), "log": np.log, "advantage": -2}

    def value(error, coupling):
        coupled = np.sum(eval(coupling, known)) if coupling else 0
        return eval(error, known | {"coupled": coupled})

    parts = [value(part.error, part.coupling) for part in (rewarded, direct)]
    whole = value(loss.error, loss.coupling)
    np.testing.assert_allclose(-2 * parts[0] + parts[1], whole, rtol=1e-13)


def test_without_entropy_there_is_no_direct_part():
    assert split_error(derive_loss(policy_gradient(0)))[1].is_zero
    assert not split_error(derive_loss(policy_gradient(0.1)))[1].is_zero


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delays": {"w_policy": 1 * ms, "w_value": 1 * ms}}, "tagged in its own step"),
        ({"feedback": "B*tanh(error)"}, "must be proportional to the error"),
        ({"updates": "step"}, "'batch' or 'action'"),
        ({"updates": "action", "clip_norm": 1.0}, "changes weights within a trial"),
    ],
)
def test_what_tags_cannot_do_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Case().network("online", **options)


def test_losses_that_are_not_linear_in_the_advantage_are_refused():
    with pytest.raises(EquationError, match="(?s)readout 'value'.*linear in the advantage"):
        Case().network("online").with_part("value", loss="log(cosh(y - y_target))")


def test_updates_at_actions_need_an_agent():
    with pytest.raises(ValueError, match="add Agent"):
        Network.standard(3, 1, NEURONS, gradient="online", updates="action")


def test_environments_outside_of_the_program_are_refused():
    outside = replace(RAIL, external=True, step="", initial={}, reward="0", done="")
    with pytest.raises(ValueError, match="outside of the program"):
        session_of(Case(outside).network("online"), outside)


# --- what is recorded -----------------------------------------------------------------------------


def test_reward_prediction_errors_and_tags_of_an_episode():
    """Both by hand from what else is recorded of the episode."""
    case = Case(trace_decay=0.8)
    network, steps = case.network("online").resolved, 4
    probes = [
        Probe("value", "reward_prediction_error", 1),
        Probe("value", "y", 1),
        Probe("lif", "L", 5),
        *(Probe("w_in", x, 6, ("inputs", "lif")) for x in ("tag", "filtered_trace")),
    ]
    trials = Trials.episodes(RAIL, network.dt, [5])

    def program(resolved, capacity):
        return make_program("runtime")(resolved, replace(capacity, probes=tuple(probes)))

    weights = {k: w if k[0] == "B" else 2 * w for k, w in network.initial_weights(3).items()}
    session = Session(network, program, trials, trials.inputs.shape[1], weights)
    built = session.program.built
    ends = [(pre, 2) for pre in range(6)]
    places = dict(zip(probes, ([0], [0], [*range(5)], ends, ends), strict=True))
    session.program.set(probed_places(built, places))
    n = int(session.run(trials, 1).episodes.lengths[0])
    assert n == 5
    error, y, signal, tag, trace = (
        session.program.get(f"{built.probes[p]}.x").reshape(-1, p.n)[: n * steps] for p in probes
    )
    acts = np.arange(n) * steps + steps - 1
    rewards = session.program.get("environment_actions.reward")[:n]
    wanted = rewards[:-1] + 0.9 * y[acts[1:], 0] - y[acts[:-1], 0]
    np.testing.assert_allclose(error[acts[1:], 0], wanted, rtol=1e-13)
    assert error[acts[0], 0] == 0
    expected = np.zeros(6)
    for step in range(n * steps):
        if step in acts:
            expected = 0.9 * 0.8 * expected + signal[step, 2] * trace[step]
        np.testing.assert_allclose(tag[step], expected, rtol=0, atol=1e-13 * np.abs(tag).max())
    assert np.abs(tag[acts[-1]]).max() > 0.1


# --- updates at every action ----------------------------------------------------------------------


def changes(environment, updates, eta, device="runtime", optimizer=GRADIENT_DESCENT):
    """By how much weights have changed, by the learning rate."""
    optimizer = optimizer.with_parameters(eta=eta)
    case = Case(environment, entropy=0.3, trace_decay=0.9, c_reg=5.0)
    network = case.network("online", updates=updates).with_options(optimizer=optimizer)
    session, trials = session_of(network, environment, device)
    before = all_dense(session.weights)
    outcome = session.run(trials, 1)
    session.close()
    moved = {k: (w - before[k]) / eta for k, w in all_dense(session.weights).items()}
    return moved, outcome.episodes.lengths, session


@pytest.mark.parametrize("optimizer", [GRADIENT_DESCENT, ADAM], ids=["descent", "adam"])
def test_the_update_of_a_single_action_is_that_of_its_episode(optimizer):
    one = replace(RAIL, most_actions=1)
    found, wanted = (changes(one, x, 0.01, optimizer=optimizer)[0] for x in ("action", "batch"))
    assert deviation(found, wanted) <= TOLERANCE


def test_small_updates_at_actions_add_up_to_those_of_episodes():
    found, lengths, session = changes(RAIL, "action", 1e-7)
    wanted, _, _ = changes(RAIL, "batch", 1e-7)
    assert deviation(found, wanted) < 1e-5
    assert session.state()["carried.control.k"] == lengths.sum()
    # And not those of any other size.
    far, near = (changes(RAIL, updates, 0.02)[0] for updates in ("action", "batch"))
    assert deviation(far, near) > 1e-2


@pytest.mark.devices("cpp", "cuda")
def test_updates_at_actions_are_the_same_everywhere(device):
    found, _, _ = changes(RAIL, "action", 0.02, device, ADAM)
    wanted, _, _ = changes(RAIL, "action", 0.02, optimizer=ADAM)
    assert deviation(found, wanted) <= 1e-10


@pytest.mark.slow
def test_cartpole_is_learned_action_by_action():
    """450 of 500 steps are reached after 1500 episodes; 25 are those of a new network."""
    task = get_task("cartpole", reward_per_step=0.02)
    network = Network.for_task(
        task,
        [(LIF.with_parameters(tau_m=5 * ms, v_th=0.6, t_ref=2 * ms), 64)],
        entropy=0.005,
        gradient="online",
        updates="action",
        readout=LEAKY.with_parameters(tau_out=5 * ms),
        optimizer=ADAM.with_parameters(eta=3e-4),
        c_reg=20.0,
        f_target=50 * Hz,
    )
    weights = network.initial_weights(1)
    weights["w_in"] *= 0.6
    weights["w_rec"] *= 0.5
    example = task.trials(1, "train", 0, 100)
    session = Session(network, make_program("cpp"), example, task.learning_window, weights)
    lengths = [
        session.run(task.trials(1, "train", k, 100), 1).episodes.lengths.mean() for k in range(5)
    ]
    session.close()
    assert lengths[0] < 60
    assert lengths[-1] > 150
