"""Layers of an agent that learn from actors and critics of their own.

The network is a small one of the kind that Bellec et al. 2020 (Nat. Commun. 11:3625) let play
Atari: pictures of 12 x 12, two layers of spiking convolutions and a recurrent one with adaptive
neurons, each read by an actor and a critic. The last ones act; all learn from what follows.
"""

import functools
from dataclasses import replace

import numpy as np
import pytest
from brian2 import Hz, ms

from eprop_brian import (
    Inputs,
    LearningSignal,
    Network,
    Population,
    Projection,
    Readout,
    read_network,
    write_network,
)
from eprop_brian.equations import ADAM, ALIF, LEAKY, LIF
from eprop_brian.equations.environment import Code, Environment
from eprop_brian.equations.losses import gaussian_policy, policy_gradient
from eprop_brian.network.parts import Agent
from eprop_brian.network.program import make_program
from eprop_brian.network.sharing import AveragePooling, Convolution, PerChannel
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.recorded_episodes import episode_trials
from eprop_brian.training.session import Session
from support.arrays import deviation

TOLERANCE = 1e-12
#: Of what JAX computes.
OF_JAX = 1e-9
KEYS = np.array([3, 2**62 + 5], dtype=np.uint64)
LAYERS = ("first", "second", "top")
PLACES = np.arange(144)
#: A bright spot moves over a picture and is rewarded at its middle.
SPOT = Environment(
    name="spot",
    model="x : 1\ny : 1",
    codes=[
        Code(
            144,
            value="exp(-((x - column)**2 + (y - row)**2)/4)",
            parameters={"column": PLACES % 12 - 5.5, "row": PLACES // 12 - 5.5},
        )
    ],
    most_actions=8,
    n_actions=3,
    initial={"x": "4*rand() - 2", "y": "4*rand() - 2"},
    step="x += 1.5*(action - 1) + 0.5*randn()\ny += 0.5*randn()",
    reward="exp(-x**2/8)",
    action_every=5 * ms,
)
CONNECTIVITY = {
    "into_first": Convolution((1, 12, 12), 4, 4, 2),
    "into_second": Convolution((4, 5, 5), 3, 3),
    "bias_first": PerChannel(4),
    "bias_second": PerChannel(3),
    "first": AveragePooling((4, 5, 5), 3, 2),
    "second": AveragePooling((3, 3, 3), 2),
}
#: Convolutions without recurrence: what e-prop leaves out is the reset alone.
FLAT = replace(LIF.with_parameters(tau_m=3 * ms, v_th=0.3, t_ref=1 * ms, gamma=1.0), detach=("v",))
POPULATIONS = {
    "first": [Population(FLAT, 100, "first")],
    "second": [Population(FLAT, 27, "second")],
    "top": [
        Population(LIF.with_parameters(tau_m=8 * ms, v_th=0.4), 6, "top"),
        Population(ALIF.with_parameters(tau_m=8 * ms, v_th=0.4), 5, "adaptive"),
    ],
}
GROUPS = {"first": ["first"], "second": ["second"], "top": ["top", "adaptive"]}


def layer_parts(layer, source):
    """A layer with its actor and critic, driven by a source."""
    leaky, own = LEAKY.with_parameters(tau_out=4 * ms), GROUPS[layer]
    shared = CONNECTIVITY.get
    parts = [
        *POPULATIONS[layer],
        Readout(3, f"policy_{layer}", leaky, policy_gradient(0.02)),
        Readout(1, f"value_{layer}", leaky, loss_weight=0.7),
        Projection(
            source,
            own,
            f"into_{layer}",
            scale=2.0,
            connectivity=shared(f"into_{layer}"),
        ),
        Projection("one", own, f"bias_{layer}", connectivity=shared(f"bias_{layer}"), scale=0.1),
    ]
    if layer == "top":
        parts.append(Projection(own, own, "recurrent"))
    for head in ("policy", "value"):
        out = f"{head}_{layer}"
        parts.append(Projection(own, out, f"to_{out}", connectivity=shared(layer)))
        parts.append(LearningSignal(out, own, name=f"B_{out}"))
    return parts


def agent_of(layers=LAYERS, **options):
    pairs = [[f"policy_{layer}", f"value_{layer}"] for layer in layers]
    (policy, value), *local = reversed(pairs)
    return Agent(policy, value, local=local[::-1], **options)


def make_network(**options):
    """All layers; the top one acts."""
    parts = [Inputs(144), Inputs(1, "one", constant=True)]
    sources = ("inputs", "first", "second")
    layers = [layer_parts(layer, s) for layer, s in zip(LAYERS, sources, strict=True)]
    agent = agent_of(discount=0.9, bootstrap=True)
    return Network([*parts, *sum(layers, []), agent], optimizer=ADAM, **options)


@functools.cache
def weights_of():
    return make_network().initial_weights(3)


def session_of(network, trials, device="runtime", kind=Session):
    made = [make_program(device, "float64")] if kind is Session else []
    weights = {name: weights_of()[name] for name in network.shapes}
    return kind(network, *made, trials, 1, weights)


@functools.cache
def played(device="runtime"):
    """The gradient of an episode, and the episode."""
    network = make_network()
    trials = Trials.episodes(SPOT, network.dt, KEYS[-1:])
    session = session_of(network, trials, device)
    session.run(trials, 1)
    result = session.gradient(), session.episode()
    session.close()
    return result


def replayed(episode, inputs, n_pairs):
    """What the episode was, as an ordinary trial of so many pairs of readouts."""
    n = len(episode.actions) - 1  # the last one is not learned from, as it goes on
    return episode_trials(
        inputs[np.newaxis],
        episode.steps[np.newaxis],
        episode.actions[np.newaxis],
        np.nan_to_num(episode.targets)[np.newaxis],
        np.nan_to_num(episode.advantages)[np.newaxis],
        [n],
        3,
        n_pairs,
    )


def test_every_layer_learns_what_it_learns_from_the_trial_replayed(device):
    gradient, episode = played(device)
    trials = replayed(episode, episode.inputs, 3)
    session = session_of(make_network(), trials)
    session.run(trials, 1)
    assert gradient.keys() == session.gradient().keys()
    assert deviation(gradient, session.gradient()) < TOLERANCE
    for name, values in gradient.items():
        assert np.any(values != 0), name


def driven(episode, layer):
    """What drives a layer, as inputs: spikes act in the step after."""
    if layer == "first":
        return episode.inputs
    columns = {"second": slice(0, 100), "top": slice(100, 127)}[layer]
    spikes = episode.spikes[:, columns]
    return np.concatenate([np.zeros_like(spikes[:1]), spikes[:-1]])


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_learns_from_its_own_actor_and_critic_alone(layer):
    """Automatic differentiation through this layer, driven by what drove it."""
    gradient, episode = played()
    inputs = driven(episode, layer)
    parts = [Inputs(inputs.shape[1]), Inputs(1, "one", constant=True)]
    parts += [p for p in layer_parts(layer, "inputs") if not isinstance(p, LearningSignal)]
    alone = Network([*parts, agent_of([layer])], gradient="bptt")
    trials = replayed(episode, inputs, 1)
    session = session_of(alone, trials, kind=BpttSession)
    session.run(trials, 1)
    expected = session.gradient()
    if layer == "top":
        # Through recurrent neurons e-prop is not the derivative; that of readouts is.
        expected = {name: g for name, g in expected.items() if name.startswith("to_")}
    assert len(expected) == (2 if layer == "top" else 4)
    assert deviation({name: gradient[name] for name in expected}, expected) < OF_JAX
    fired = episode.spikes[:, make_network().resolved.slices[layer]]
    assert 0.01 < fired.mean() < 0.5


def test_local_readouts_do_not_act_or_judge():
    _, episode = played()
    network = make_network()
    trials = Trials.episodes(SPOT, network.dt, KEYS[-1:])
    session = session_of(network, trials)
    for layer in ("first", "second"):
        for head in ("policy", "value"):
            name = f"to_{head}_{layer}"
            session.weights[name] = -3 * session.weights[name]
    session.run(trials, 1)
    again = session.episode()
    np.testing.assert_array_equal(again.actions, episode.actions)
    np.testing.assert_array_equal(again.advantages, episode.advantages)


def test_an_agent_with_local_readouts_is_written_to_a_file(tmp_path):
    network = make_network()
    write_network(tmp_path / "network.toml", network)
    again = read_network(tmp_path / "network.toml")
    assert again.resolved.agent.policies == network.resolved.agent.policies
    assert again.resolved.agent.values == ("value_top", "value_first", "value_second")


MISTAKES = {
    "text": ({"local": ["policy_first"]}, "list of pairs"),
    "three": ({"local": [["a", "b", "c"]]}, "list of pairs"),
    "unknown": ({"local": [["policy_first", "b"], ["a", "value_second"]]}, "no readout 'a'"),
    "left out": ({"local": [["policy_first", "value_first"]]}, "'policy_second' would have no"),
    "twice": (
        {"local": [["policy_first", "value_first"], ["policy_second", "value_first"]]},
        "'value_second' would have no target",
    ),
    "swapped": (
        {"local": [["value_first", "policy_first"], ["policy_second", "value_second"]]},
        "'policy_first' predicts a return and has 1 output, not 3",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_pairs_that_cannot_be_are_said(name):
    changes, message = MISTAKES[name]
    with pytest.raises(ValueError, match=message):
        make_network().with_part("agent", **changes)


def test_policies_of_another_kind_or_size_are_said():
    with pytest.raises(ValueError, match="'policy_first' learns the actions of 'policy_top': it n"):
        make_network().with_part("policy_first", size=2)
    with pytest.raises(ValueError, match="'policy_first' learns the actions of 'policy_top': it n"):
        make_network().with_part("policy_first", loss=gaussian_policy(0.3))
    with pytest.raises(ValueError, match="'value_first' is not the advantage that tags wait for"):
        make_network(gradient="online")


def test_rates_are_kept_in_every_layer():
    """A regulariser of rates acts where the errors of a layer's readouts do not."""
    trials = Trials.episodes(SPOT, 1 * ms, KEYS)
    with_rates = session_of(make_network(c_reg=5.0, f_target=20 * Hz), trials)
    without = session_of(make_network(), trials)
    for session in (with_rates, without):
        session.run(trials, len(KEYS))
    a, b = with_rates.gradient(), without.gradient()
    changed = {name for name in a if np.abs(a[name] - b[name]).max() > 1e-6}
    assert {f"into_{layer}" for layer in LAYERS} <= changed
    assert not any(name.startswith("to_") for name in changed)
