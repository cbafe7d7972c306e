"""Episodes inside a program: the gradient is that of the same trial with what followed as data."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import Hz, ms

from eprop_brian.equations.environment import Code, Environment
from eprop_brian.equations.neurons import ALIF, LIF
from eprop_brian.network.parts import Agent
from eprop_brian.network.program import make_program
from eprop_brian.network.spec import Network
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.recorded_episodes import episode_trials
from eprop_brian.training.session import Session
from support.arrays import deviation

N_TRIALS = 3
#: Relative to the largest gradient of a matrix; programs in float64 differ by rounding alone.
TOLERANCE = 1e-12
KEYS = np.array([5, 7, 2**63 + 11], dtype=np.uint64)

#: A walk that drifts, and is over when it leaves its bounds; sensed by spikes.
WALK = Environment(
    name="walk",
    model="x : 1",
    codes=[
        Code(
            8, spike="rand() < 0.6*exp(-((x - centre)/0.7)**2/2)", parameters={"centre": "i - 3.5"}
        ),
        Code(4, spike="rand() < 0.3"),
    ],
    most_actions=12,
    n_actions=3,
    initial={"x": "rand() - 0.5"},
    step="x += 0.7*(action - 1) + 0.3*randn()",
    reward="1 - abs(x)/4",
    done="abs(x) > 2.2",
    action_every=4 * ms,
)
#: The same with one number as the action, sensed by analog inputs.
SLIDE = Environment(
    name="slide",
    model="x : 1\nv : 1/second",
    codes=[
        Code(3, value="x*(1 + i)/3 + 0.1*sin(50*Hz*t_action)"),
        Code(2, value="v*0.01*second*(i - 0.5)"),
    ],
    most_actions=6,
    action_size=2,
    initial={"x": "0.3*randn()"},
    step="v += 20*Hz*action_0\nx += v*10*ms + 0.1*action_1",
    reward="-(x - 0.5)**2",
    done="n == 4 and x > 0",
    action_every=5 * ms,
)


def network_of(environment, agent=None, gradient="factored", **options):
    """A small network of two kinds of neurons that spike often."""
    options = {"entropy": 0.02} | options if environment.n_actions else options
    neurons = [(LIF.with_parameters(tau_m=8 * ms, t_ref=2 * ms), 6), (ALIF, 5)]
    network = Network.for_environment(
        environment,
        neurons,
        agent=agent or Agent(discount=0.9, noise=0.4),
        value_weight=0.7,
        gradient=gradient,
        **options,
    )
    for name in ("w_in", "w_rec"):
        network = network.with_part(name, scale=2.0)
    return network


def played(network, environment, device="runtime", keys=KEYS, **how):
    """A session after one batch of episodes, and what came of them."""
    trials = Trials.episodes(environment, network.dt, keys)
    session = Session(
        network, make_program(device, "float64"), trials, 1, network.initial_weights(3)
    )
    return session, session.run(trials, len(keys), **how)


def replayed(episode, n_actions, scored=None):
    """The episode as an ordinary trial."""
    n = len(episode.actions) if scored is None else scored
    return episode_trials(
        episode.inputs[np.newaxis],
        episode.steps[np.newaxis],
        episode.actions[np.newaxis],
        episode.targets[np.newaxis],
        episode.advantages[np.newaxis],
        [n],
        n_actions,
    )


CASES = {
    "walk": (WALK, {}),
    "decay": (WALK, {"agent": Agent(discount=0.8, trace_decay=0.5)}),
    "slide": (SLIDE, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_is_that_of_the_trial_replayed(case):
    environment, options = CASES[case]
    network = network_of(environment, **options)
    for key in KEYS:
        session, outcome = played(network, environment, keys=np.array([key]))
        episode = session.episode()
        assert episode.spikes.sum() > 10
        trials = replayed(episode, environment.n_actions)
        again = Session(
            network, make_program("runtime", "float64"), trials, 1, network.initial_weights(3)
        )
        expected = again.run(trials, 1)
        np.testing.assert_allclose(outcome.loss, expected.loss, rtol=1e-12)
        gradient = again.gradient()
        # A short episode may have no spike of a neuron that reaches another.
        largest = max(np.abs(value).max() for value in gradient.values())
        for name, value in session.gradient().items():
            np.testing.assert_allclose(value, gradient[name], rtol=0, atol=TOLERANCE * largest)


def test_advantages_are_those_of_the_rewards():
    """By their definition, from the last action backwards."""
    network = network_of(WALK, Agent(discount=0.8, trace_decay=0.5))
    session, outcome = played(network, WALK)
    episode = session.episode()
    after = np.append(episode.values[1:], 0.0)
    delta = episode.rewards + 0.8 * after - episode.values
    expected = [sum(0.4**k * x for k, x in enumerate(delta[n:])) for n in range(len(delta))]
    np.testing.assert_allclose(episode.advantages, expected, rtol=0, atol=1e-14)
    episodes = outcome.episodes
    assert episodes.lengths[-1] == len(delta)
    np.testing.assert_allclose(episodes.returns[-1], episode.rewards.sum(), rtol=1e-14)
    np.testing.assert_allclose(episodes.value_error[-1], np.mean(np.square(expected)), rtol=1e-13)
    p = np.exp(episode.outputs)
    p /= p.sum(axis=1, keepdims=True)
    entropy = -np.sum(p * np.log(p), axis=1).mean()
    np.testing.assert_allclose(episodes.entropy[-1], entropy, rtol=1e-12)
    # Some are over before the last action that there may be.
    assert np.any(episodes.done)
    assert np.all(episodes.done == (episodes.lengths < WALK.most_actions))


def test_what_is_cut_off_goes_on_in_what_the_critic_expects():
    endless = replace(WALK, done="")
    network = network_of(endless, Agent(discount=0.8, bootstrap=True))
    session, _ = played(network, endless, keys=KEYS[:1])
    episode, n = session.episode(), endless.most_actions - 1
    assert not episode.done
    returns = [
        sum(0.8**k * r for k, r in enumerate(episode.rewards[m:n]))
        + 0.8 ** (n - m) * episode.values[n]
        for m in range(n)
    ]
    np.testing.assert_allclose(episode.targets[:n], returns, rtol=0, atol=1e-14)
    trials = replayed(episode, endless.n_actions, n)
    again = Session(
        network, make_program("runtime", "float64"), trials, 1, network.initial_weights(3)
    )
    again.run(trials, 1)
    assert deviation(session.gradient(), again.gradient()) < TOLERANCE


def test_outputs_are_averaged_before_an_action():
    """The loss of the mean over a window has the same error, shared out, in all of its steps."""
    averaged = replace(WALK, action_window=3 * ms)
    network = network_of(averaged)
    session, _ = played(network, averaged, keys=KEYS[:1])
    episode = session.episode()
    gradient = session.gradient()
    # By hand for the readouts: dE/dw = sum over actions of the error times the mean trace.
    kappa = np.exp(-1 / 20)
    trace, traces = np.zeros(episode.spikes.shape[1]), []
    for spikes in episode.spikes:
        trace = kappa * trace + spikes
        traces.append(trace)
    means = np.array([np.mean(traces[step - 2 : step + 1], axis=0) for step in episode.steps])
    value_error = -0.7 * episode.advantages
    np.testing.assert_allclose(gradient["w_value"][0], value_error @ means, rtol=0, atol=1e-11)
    weights = network.initial_weights(3)["w_value"]
    np.testing.assert_allclose(episode.values, means @ weights[0], rtol=0, atol=1e-13)


@pytest.mark.parametrize("case", ["walk", "slide"])
def test_every_device_plays_the_same_episodes(case, device):
    environment, options = CASES[case]
    network = network_of(environment, c_reg=0.1, f_target=20 * Hz, **options)
    expected_session, expected = played(network, environment)
    session, outcome = played(network, environment, device)
    np.testing.assert_array_equal(outcome.episodes.lengths, expected.episodes.lengths)
    np.testing.assert_allclose(outcome.loss, expected.loss, rtol=1e-12)
    assert deviation(session.gradient(), expected_session.gradient()) < TOLERANCE
    greedy = session.run(
        Trials.episodes(environment, network.dt, KEYS), N_TRIALS, learning=False, greedy=True
    )
    again = expected_session.run(
        Trials.episodes(environment, network.dt, KEYS), N_TRIALS, learning=False, greedy=True
    )
    np.testing.assert_allclose(greedy.episodes.returns, again.episodes.returns, rtol=1e-12)
    session.close()


def test_backpropagation_through_time_of_a_replay_has_the_readouts_gradient():
    """Of the readouts' weights, e-prop's gradient is the derivative itself."""
    network = network_of(WALK)
    session, _ = played(network, WALK, keys=KEYS[:1])
    trials = replayed(session.episode(), WALK.n_actions)
    bptt = BpttSession(network.with_options(gradient="bptt"), trials, 1, network.initial_weights(3))
    bptt.run(trials, 1)
    for name in ("w_policy", "w_value"):
        assert deviation({name: session.gradient()[name]}, {name: bptt.gradient()[name]}) < 1e-9


def test_what_is_reported_is_of_the_actions_that_are_learned_from():
    """An episode that is cut off, and goes on in the critic's eyes, has one of them less."""
    endless = replace(WALK, done="")
    network = network_of(endless, Agent(discount=0.8, bootstrap=True))
    session, outcome = played(network, endless, keys=KEYS[:1])
    episode = session.episode()
    squares = np.square(episode.advantages[:-1])
    np.testing.assert_allclose(outcome.episodes.value_error[0], squares.mean(), rtol=1e-12)
    p = np.exp(episode.outputs[:-1])
    p /= p.sum(axis=1, keepdims=True)
    entropy = -np.sum(p * np.log(p), axis=1).mean()
    np.testing.assert_allclose(outcome.episodes.entropy[0], entropy, rtol=1e-12)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"policy": {"loss": "softmax_cross_entropy"}}, "does not read the advantage"),
        ({"value": {"loss": "modulator"}}, "predicts nothing"),
        ({"agent": {"local": None}}, "a list of pairs"),
        ({"agent": {"policy": "actor"}}, "there is no readout 'actor'"),
        ({"agent": {"discount": 1.5}}, "from 0 to 1, not 1.5"),
    ],
)
def test_an_agent_that_cannot_learn_is_refused(parts, message):
    network = network_of(WALK)
    with pytest.raises(ValueError, match=message):
        for name, fields in parts.items():
            network = network.with_part(name, **fields)


@pytest.mark.parametrize(
    "name", ["environment", "episodes", "environment_choice", "environment_code_0"]
)
def test_names_of_an_environment_are_taken(name):
    with pytest.raises(ValueError, match=f"cannot be called '{name}'"):
        Network.for_environment(WALK, [(LIF, 3)], agent=Agent(policy=name))


def test_environments_that_an_agent_cannot_act_in_are_refused():
    once = replace(WALK, most_actions=1)
    with pytest.raises(ValueError, match="nothing to learn from"):
        played(network_of(once, Agent(bootstrap=True)), once)
    with pytest.raises(ValueError, match="has 2 actions, but readout 'policy' has 3"):
        played(network_of(WALK), replace(WALK, n_actions=2))
    silent = network_of(SLIDE).with_part("agent", noise=0.0)
    with pytest.raises(ValueError, match="above 0"):
        played(silent, SLIDE)
