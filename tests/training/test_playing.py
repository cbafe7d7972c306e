"""Networks that act in environments outside of their programs."""

import numpy as np
import pytest
from brian2 import ms

from eprop_brian import Network
from eprop_brian.equations import LIF
from eprop_brian.network.episodes import code_group
from eprop_brian.network.program import make_program
from eprop_brian.runs.config import RunConfig
from eprop_brian.symbolic.environment import OBSERVATION
from eprop_brian.tasks import EnvironmentFailed, GymnasiumTask
from eprop_brian.tasks.base import hand_out
from eprop_brian.training.session import Session
from eprop_brian.training.trainer import Trainer
from eprop_brian.training.workers import ParallelSession

gymnasium = pytest.importorskip("gymnasium")
spaces = gymnasium.spaces
BATCH = 6
NEURON = LIF.with_parameters(tau_m=5 * ms, v_th=0.3, t_ref=2 * ms)


class Corridor(gymnasium.Env):
    """A walk of a length that the seed says; every step is written down, for a look from outside.

    `wrong` is what happens in the second step of a walk.
    """

    observation_space = spaces.Dict(
        {"place": spaces.Box(-1, 1, (3,)), "door": spaces.Discrete(3, start=5)}
    )
    wrong = staticmethod(lambda: None)
    walks: list = []
    n_open = 0

    def __init__(self):
        type(self).n_open += 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.length = int(self.np_random.integers(2, 9))
        self.walk = {"actions": [], "observations": [], "length": self.length}
        self.walks.append(self.walk)
        return self._observed(), {}

    def step(self, action):
        self.walk["actions"].append(action)
        if len(self.walk["actions"]) == 2:
            self.wrong()
        done = len(self.walk["actions"]) == self.length
        return self._observed(), self._reward(action), done, False, {}

    def _observed(self):
        place = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        door = int(self.np_random.integers(5, 8))
        self.walk["observations"].append([door - 5, *place])
        return {"place": place, "door": door}

    def close(self):
        type(self).n_open -= 1


class ByButtons(Corridor):
    action_space = spaces.Discrete(3, start=-1)

    def _reward(self, action):
        return 1.0 + action


class ByForce(Corridor):
    action_space = spaces.Box(-2, 2, (2,))

    def _reward(self, action):
        return float(action @ [1, 10])


@pytest.fixture(autouse=True)
def forgotten():
    for kind in (ByButtons, ByForce):
        kind.walks, kind.n_open = [], 0
    yield
    assert ByButtons.n_open == ByForce.n_open == 0, "an environment stays open"


def task_of(kind, **settings):
    return GymnasiumTask(kind, most_actions=7, **settings)


def network_of(task):
    return Network.for_task(task, [(NEURON, 10)], gradient="factored")


def session_of(task, device="runtime", make=Session, **options):
    network, example = network_of(task), hand_out(task, 1, "train", 0, BATCH)
    weights = network.initial_weights(1)
    if make is ParallelSession:
        options |= {"device": device, "dtype": "float64"}
        return make(network, example, task.learning_window, weights, **options)
    program = make_program(device, "float64")
    return make(network, program, example, task.learning_window, weights, **options)


def played(session, task, *indices):
    """What batches give, and the weights after them."""
    outcomes = [session.run(hand_out(task, 1, "train", k, BATCH), BATCH) for k in indices]
    weights = {name: np.array(w) for name, w in session.weights.items()}
    return [outcome.episodes for outcome in outcomes], weights


@pytest.mark.devices("runtime", "cpp")
@pytest.mark.parametrize("kind", [ByButtons, ByForce])
def test_episodes_are_those_of_the_environment(device, kind):
    task = task_of(kind, reward_scale=0.5)
    session = session_of(task, device)
    try:
        ((first, second), weights) = played(session, task, 0, 1)
    finally:
        session.close()
    assert len(kind.walks) == 2 * BATCH
    lengths = np.concatenate([first.lengths, second.lengths])
    returns = np.concatenate([first.returns, second.returns])
    done = np.concatenate([first.done, second.done])
    for walk, length, total, is_done in zip(kind.walks, lengths, returns, done, strict=True):
        assert len(walk["actions"]) == length == min(walk["length"], 7)
        rewards = [kind._reward(None, action) for action in walk["actions"]]
        assert total == pytest.approx(0.5 * sum(rewards), abs=1e-12)
        assert is_done == (walk["length"] <= 7)
    assert len(set(lengths)) > 3
    initial = network_of(task).initial_weights(1)
    assert all(np.abs(weights[name] - initial[name]).max() > 1e-9 for name in initial)


@pytest.mark.parametrize("coding", ["population", "latency", "analog"])
def test_inputs_sense_what_the_environment_shows(coding):
    """At the end, the program has the last observation."""
    task = task_of(ByButtons, coding=coding)
    session = session_of(task)
    try:
        session.run(hand_out(task, 1, "train", 0, BATCH), BATCH)
        keys = [session.program.built.key(code_group(k), OBSERVATION) for k in range(2)]
        sensed = [session.program.get(key) for key in keys]
    finally:
        session.close()
    walk = ByButtons.walks[-1]
    # Numbers, then classes; a dictionary's parts are in the order of their keys.
    door, *place = walk["observations"][-1]
    n_cells = 1 if coding == "analog" else 10
    assert sensed[0].tolist() == np.repeat(place, n_cells).tolist()
    assert sensed[1].tolist() == [door] * 3


@pytest.mark.devices("cpp")
def test_workers_change_nothing(device):
    task, results = task_of(ByButtons), []
    for make, options in ((Session, {}), (ParallelSession, {"workers": 2})):
        session = session_of(task, device, make, **options)
        try:
            results.append(played(session, task, 0, 1))
        finally:
            session.close()
    (one, weights), (two, others) = results
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.returns, b.returns)
        assert np.array_equal(a.lengths, b.lengths)
    assert all(np.array_equal(weights[name], others[name]) for name in weights)


def raises():
    raise ArithmeticError("the floor is lava")


def test_an_environment_that_fails_is_closed_and_weights_stay(monkeypatch):
    task = task_of(ByButtons)
    session = session_of(task)
    try:
        played(session, task, 0)
        before = {name: np.array(w) for name, w in session.weights.items()}
        monkeypatch.setattr(ByButtons, "wrong", staticmethod(raises))
        with pytest.raises(EnvironmentFailed, match="'ByButtons' in step 2 of .*floor is lava"):
            played(session, task, 1)
        assert ByButtons.n_open == 0
        assert all(np.array_equal(w, before[name]) for name, w in session.weights.items())
    finally:
        session.close()


def test_episodes_go_on_at_their_place_of_a_batch():
    """Walks end when they are over, wherever the pieces are cut that a batch learns from."""
    task = GymnasiumTask(ByButtons, most_actions=3, goes_on=True)
    session = session_of(task)
    try:
        ((*pieces,), _) = played(session, task, 0)
        fresh = hand_out(task, 1, "test", 0, 2)
        n_before = len(ByButtons.walks)
        session.run(fresh, 2, learning=False)
        judged = ByButtons.walks[n_before:]
        for index in (1, 2, 3):
            pieces += played(session, task, index)[0]
    finally:
        session.close()
    # What is not learned from begins anew, and interrupts nothing.
    assert [len(walk["actions"]) for walk in judged] == [min(w["length"], 3) for w in judged]
    walks = [walk for walk in ByButtons.walks if walk not in judged]
    lengths = np.array([piece.lengths for piece in pieces])
    assert sum(len(walk["actions"]) for walk in walks) == lengths.sum()
    over = np.array([piece.done for piece in pieces])
    assert np.all(over | (lengths == 3))
    # Each place has a walk that goes on, or begins when the one before is over.
    assert len(walks) == BATCH + over[:-1].sum()
    assert sum(len(walk["actions"]) == walk["length"] for walk in walks) == over.sum()
    assert max(walk["length"] for walk in walks) > 6 and over.sum() > BATCH


def test_workers_have_no_share_of_episodes_that_go_on():
    task = GymnasiumTask(ByButtons, most_actions=3, goes_on=True)
    with pytest.raises(ValueError, match="goes_on: .* cannot be shared among workers"):
        Trainer(network_of(task), task, batch_size=BATCH, workers=2)


@pytest.mark.slow
def test_an_agent_that_learned_inside_the_program_masters_the_outside_one():
    """CartPole-v1 counts as solved when 100 episodes last 475 actions on average."""
    config = RunConfig.from_recipe("cartpole", run={"seed": 2})
    network = config.make_network()
    trainer = Trainer(network, config.make_task(), batch_size=2, seed=2, dtype="float32")
    trainer.train(3000, progress=False)
    assert trainer.solved
    weights = trainer.session.weights
    trainer.close()
    task = GymnasiumTask(
        env="CartPole-v1", low=(-2.4, -2.5, -0.21, -2.5), high=(2.4, 2.5, 0.21, 2.5)
    )
    episodes = hand_out(task, 1, "test", 0, 100)
    session = Session(
        network,
        make_program("cpp", "float32"),
        episodes,
        task.learning_window,
        weights,
        learning=False,
    )
    outcome = session.run(episodes, 100, learning=False, greedy=True)
    session.close()
    assert outcome.episodes.lengths.mean() >= 475
