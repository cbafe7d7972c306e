"""Recorded episodes as trials: where everything stands, and whose gradient they have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eprop_brian import Inputs, LearningSignal, Network, Population, Projection, Readout
from eprop_brian.equations import ALIF, GRADIENT_DESCENT, LIF
from eprop_brian.equations.losses import gaussian_policy, policy_gradient
from eprop_brian.network.program import make_program
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.recorded_episodes import episode_trials
from eprop_brian.training.session import Session
from support.arrays import all_dense, deviation

N_INPUTS, N_STEPS, N_ACTIONS, EVERY = 8, 40, 3, 5
LENGTHS = np.array([6, 3, 7])
MOST = 8
C_V, ENTROPY, DEVIATION = 0.5, 0.02, 0.4


def episodes(continuous: bool = False):
    """Three episodes of different lengths; beyond their ends stands what must not count."""
    rng = np.random.default_rng(6)
    shape = (len(LENGTHS), MOST)
    over = np.arange(MOST) >= LENGTHS[:, np.newaxis]
    steps = np.tile(np.arange(1, MOST + 1) * EVERY - 1, (len(LENGTHS), 1))
    actions = rng.normal(size=(*shape, 2)) if continuous else rng.integers(N_ACTIONS, size=shape)
    actions[over] = 0
    returns, advantages = rng.normal(size=(2, *shape))
    returns[over], advantages[over] = np.nan, np.nan
    return {
        "inputs": rng.random((len(LENGTHS), N_STEPS, N_INPUTS)) < 0.3,
        "steps": np.where(over, -1, steps),
        "actions": actions,
        "returns": returns,
        "advantages": advantages,
        "lengths": LENGTHS,
        "n_actions": 0 if continuous else N_ACTIONS,
    }


def agent(gradient: str, continuous: bool = False) -> Network:
    """Actor and critic read from one network."""
    size = 2 if continuous else N_ACTIONS
    loss = gaussian_policy(DEVIATION) if continuous else policy_gradient(ENTROPY)
    hidden = ["lif", "alif"]
    signals = [] if gradient == "bptt" else ["policy", "value"]
    return Network(
        [
            Inputs(N_INPUTS, "inputs"),
            Population(LIF, 5, "lif"),
            Population(ALIF, 4, "alif"),
            Readout(size, "policy", loss=loss),
            Readout(1, "value", loss_weight=C_V),
            Projection("inputs", hidden, "w_in", scale=2.0),
            Projection(hidden, hidden, "w_rec", scale=2.0),
            Projection(hidden, "policy", "w_policy"),
            Projection(hidden, "value", "w_value"),
            *(LearningSignal(name, hidden, "symmetric", f"B_{name}") for name in signals),
        ],
        gradient=gradient,
        c_reg=0.0,
        optimizer=GRADIENT_DESCENT,
    )


@pytest.mark.parametrize("continuous", [False, True])
def test_everything_stands_at_the_steps_of_actions(continuous):
    given = episodes(continuous)
    trials = episode_trials(**given)
    n_steps = LENGTHS.max() * EVERY
    assert trials.inputs.shape == (3, n_steps, N_INPUTS) and trials.inputs.dtype == bool
    assert trials.targets.shape == (3, n_steps, 3 if continuous else N_ACTIONS + 1)
    for k, length in enumerate(LENGTHS):
        end = length * EVERY
        np.testing.assert_array_equal(trials.inputs[k, :end], given["inputs"][k, :end])
        assert not np.any(trials.inputs[k, end:])
        steps = given["steps"][k, :length]
        np.testing.assert_array_equal(np.flatnonzero(trials.periods[k]), steps)
        np.testing.assert_array_equal(trials.advantage[k, steps], given["advantages"][k, :length])
        np.testing.assert_array_equal(trials.targets[k, steps, -1], given["returns"][k, :length])
        actions, policy = given["actions"][k, :length], trials.targets[k, steps, :-1]
        np.testing.assert_array_equal(policy if continuous else policy.argmax(axis=1), actions)
        assert continuous or np.all(policy.sum(axis=1) == 1)
        elsewhere = np.delete(np.arange(n_steps), steps)
        assert not np.any(trials.advantage[k, elsewhere]) and not np.any(
            trials.targets[k, elsewhere]
        )


def objective(outputs, given, episode: int, continuous: bool):
    """E of one episode, from outputs of every step, as the equations have it."""
    length = given["lengths"][episode]
    at, total = given["steps"][episode, :length], 0.0
    for n, y in enumerate(outputs[at]):
        action, advantage = given["actions"][episode, n], given["advantages"][episode, n]
        policy, value = y[:-1], y[-1]
        if continuous:
            total += advantage * jnp.sum((action - policy) ** 2) / (2 * DEVIATION**2)
        else:
            log_p = jax.nn.log_softmax(policy)
            total += -advantage * log_p[action] + ENTROPY * jnp.sum(jnp.exp(log_p) * log_p)
        total += C_V / 2 * (given["returns"][episode, n] - value) ** 2
    return total


@pytest.mark.devices("runtime", "cpp")
@pytest.mark.parametrize("continuous", [False, True])
def test_gradients_of_actor_and_critic(continuous, device):
    """Readout weights from the episodes' own objective; both programs alike; BPTT runs too."""
    given = episodes(continuous)
    trials = episode_trials(**given)
    weights = agent("factored", continuous).initial_weights(3)
    found = {}
    for program in ("factored", "online"):
        net = agent(program, continuous)
        session = Session(net, make_program(device), trials, N_STEPS, weights)
        session.run(trials, trials.n_trials)
        found[program] = all_dense(session.gradient())
        session.close()
    assert deviation(found["online"], found["factored"]) <= 1e-12
    assert all(np.any(g) for g in found["factored"].values())
    plain = Session(
        agent("factored", continuous),
        make_program("runtime"),
        trials,
        N_STEPS,
        weights,
        learning=False,
    )

    def loss_at(name, place, change):
        moved = weights[name].copy()
        moved[place] += change
        plain.weights[name] = moved
        total = 0.0
        for k in range(trials.n_trials):
            plain.run(trials.part(slice(k, k + 1)), 1, learning=False)
            total += float(objective(plain.readouts(), given, k, continuous))
        plain.weights[name] = weights[name]
        return total / trials.n_trials

    step = 1e-5
    with jax.enable_x64(True):
        for name, places in {
            "w_policy": [(0, 0), (1, 3), (1, 8)],
            "w_value": [(0, 1), (0, 6)],
        }.items():
            largest = np.abs(found["factored"][name]).max()
            for place in places:
                two = [loss_at(name, place, sign * step) for sign in (1, -1)]
                difference = (two[0] - two[1]) / (2 * step)
                assert abs(found["factored"][name][place] - difference) <= 1e-8 * largest
    names = agent("bptt", continuous).resolved.keys.shapes()
    own = {name: w for name, w in weights.items() if name in names}
    bptt = BpttSession(agent("bptt", continuous), trials, N_STEPS, own).gradient_of(trials)
    readouts = ("w_policy", "w_value")
    for name in readouts:
        np.testing.assert_allclose(bptt[name], found["factored"][name], rtol=1e-9, atol=1e-12)
    assert np.any(bptt["w_in"] != found["factored"]["w_in"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"inputs": np.zeros((3, 4))}, "inputs must have the shape"),
        ({"steps": np.zeros((2, MOST), int)}, r"steps must have the shape \(n_episodes = 3"),
        ({"returns": np.zeros((3, 2))}, "returns must have the shape of steps"),
        ({"advantages": np.zeros(3)}, "advantages must have the shape of steps"),
        ({"n_steps": 34}, "n_steps must be from 35 to 40, not 34"),
        ({"n_steps": 41}, "n_steps must be from 35 to 40, not 41"),
        ({"lengths": [6, 0, 7]}, "numbers of actions, from 1 to 8"),
        ({"lengths": [6, 9, 7]}, "numbers of actions, from 1 to 8"),
        ({"steps": np.ones((3, MOST), int)}, "must increase, from 0 to 39"),
        ({"steps": np.tile(np.arange(MOST) * 7, (3, 1))}, "must increase, from 0 to 39"),
        ({"actions": np.full((3, MOST), 3)}, "whole numbers from 0 to 2"),
        ({"actions": np.zeros((3, MOST))}, "whole numbers from 0 to 2"),
        ({"actions": np.zeros((3, 2), int)}, "actions must have the shape of steps"),
    ],
)
def test_episodes_that_cannot_be(changed, message):
    with pytest.raises(ValueError, match=message):
        episode_trials(**(episodes() | changed))
