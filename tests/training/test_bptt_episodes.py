"""Backpropagation through time for networks that act, beside e-prop of the same episodes."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import Hz, ms

from eprop_brian import LIF, Network, Population, Run, Trainer, get_task
from eprop_brian.equations import ALIF, GRADIENT_DESCENT
from eprop_brian.equations.environment import Code
from eprop_brian.network.parts import Agent
from eprop_brian.network.program import make_program
from eprop_brian.runs.comparison import compare
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.bptt_episodes import ActingBpttSession
from eprop_brian.training.gradient_check import check_gradients
from eprop_brian.training.session import Session
from support.acting import WALK, configure
from support.arrays import all_dense, assert_same_state

TOLERANCE = 1e-9
KEYS = np.arange(3, 9, dtype=np.uint64)
#: Episodes of all lengths from 2 to 6 actions.
SHORT = WALK.with_parameters(end=0.8)
ANALOG = replace(SHORT, codes=[Code(8, value="0.3 + 0.1*x*(i - 3.5)")])
CONTINUOUS = replace(SHORT, n_actions=0, action_size=1, step="x += 0.5*tanh(action) + 0.1*randn()")
OPTIONS = {
    "agent": Agent(discount=0.9, trace_decay=0.8),
    "value_weight": 0.7,
    "optimizer": GRADIENT_DESCENT.with_parameters(eta=1e-3),
    "c_reg": 30.0,
    "f_target": 20 * Hz,
}


def feedforward(environment, **options):
    """LIF neurons none of which hears another, nor its own reset in the derivative."""
    kind = replace(LIF.with_parameters(v_th=0.3, tau_m=8 * ms, t_ref=2 * ms), detach=("v",))
    network = Network.for_environment(environment, [(kind, 6)], **OPTIONS, **options)
    parts = [part for part in network.parts if getattr(part, "name", "") != "w_rec"]
    return network.with_options(parts=parts).with_part("w_in", scale=2.0)


def both(network, environment, keys=KEYS):
    """What e-prop and BPTT make of the same episodes: sessions after an update, and outcomes."""
    trials = Trials.episodes(environment, network.dt, keys)
    weights, program = network.initial_weights(3), make_program("runtime")
    eprop = Session(network, program, trials, 1, weights)
    bptt = ActingBpttSession(network.with_options(gradient="bptt"), program, trials, 1, weights)
    return [(session, session.run(trials, len(keys))) for session in (eprop, bptt)]


def assert_same(found, expected, names):
    for name in names:
        largest = np.abs(expected[name]).max()
        assert largest > 0, name
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=TOLERANCE * largest)


def with_critic_first(network):
    """The same network, whose outputs begin with the value."""
    return network.with_options(parts=sorted(network.parts, key=lambda p: p.name != "value"))


def noisy(network):
    """The same network, whose neurons draw numbers."""
    (population,) = (part for part in network.parts if isinstance(part, Population))
    update = population.neuron.update.replace("zeta*I", "zeta*I + 0.1*randn()")
    assert "randn" in update
    return network.with_part(population.name, neuron=replace(population.neuron, update=update))


CASES = {
    "spikes": (SHORT, None),
    "analog": (ANALOG, None),
    "continuous": (CONTINUOUS, None),
    "critic first": (SHORT, with_critic_first),
    "noise": (SHORT, noisy),
}


@pytest.mark.parametrize("case", CASES)
def test_without_recurrence_all_gradients_are_e_props(case):
    """Of episodes of different lengths, none of which has that of the trials that JAX gets."""
    environment, changed = CASES[case]
    network = feedforward(environment)
    (eprop, expected), (bptt, found) = both(changed(network) if changed else network, environment)
    lengths = expected.episodes.lengths
    assert len({*lengths}) > 2 and lengths.max() in (3, 5, 6)
    for name in ("returns", "lengths", "entropy", "value_error"):
        np.testing.assert_array_equal(
            getattr(found.episodes, name), getattr(expected.episodes, name), err_msg=name
        )
    np.testing.assert_array_equal(found.loss, expected.loss)
    np.testing.assert_array_equal(found.rate, expected.rate)
    gradients = [all_dense(session.gradient()) for session in (bptt, eprop)]
    assert_same(*gradients, ["w_in", "w_policy", "w_value"])
    # And so is the update.
    assert bptt.n_updates == eprop.n_updates == 1
    for name in ("w_in", "w_policy", "w_value"):
        np.testing.assert_allclose(bptt.weights[name], eprop.weights[name], rtol=0, atol=1e-12)


def test_with_recurrence_those_of_readouts_are():
    kinds = [(LIF.with_parameters(v_th=0.3, t_ref=2 * ms), 5), (ALIF.with_parameters(v_th=0.3), 4)]
    network = Network.for_environment(SHORT, kinds, **OPTIONS, entropy=0.02)
    for name in ("w_in", "w_rec"):
        network = network.with_part(name, scale=2.0)
    (eprop, _), (bptt, _) = both(network, SHORT)
    found, expected = (all_dense(session.gradient()) for session in (bptt, eprop))
    assert_same(found, expected, ["w_policy", "w_value"])
    for name in ("w_in", "w_rec"):
        assert np.abs(found[name] - expected[name]).max() > 0.01 * np.abs(expected[name]).max()


def test_it_is_trained_stopped_resumed_and_compared(tmp_path):
    base = configure(tmp_path, seed=4)
    results = compare(base, tmp_path / "compared", ["symmetric", "bptt"], [4], progress=False)
    assert [result.method for result in results] == ["symmetric", "bptt"]
    assert all(np.isfinite(result.final("return")) for result in results)
    stopped = Run.start(base.with_method("bptt"), tmp_path / "stopped")
    stopped.train(10, progress=False)
    stopped.trainer.close()
    again = Run.open(tmp_path / "stopped")
    again.train(20, progress=False)
    whole = Run.open(tmp_path / "compared" / "bptt-seed4")
    assert again.trainer.iteration == whole.trainer.iteration == 20
    assert_same_state(again.trainer.session.state(), whole.trainer.session.state())
    assert again.trainer.history.returns == whole.trainer.history.returns
    tested = again.trainer.evaluate()
    assert tested.returns.mean == whole.trainer.evaluate().returns.mean
    again.train(120, progress=False)
    first, last = (np.mean(again.trainer.history.returns[k]) for k in (slice(5), slice(-5, None)))
    assert first < 1 and last > 4
    for run in (again, whole):
        run.trainer.close()


def test_a_reward_that_is_no_number_is_named(tmp_path):
    environment = WALK.with_parameters(limit=0.0, cost=1.0)
    config = configure(tmp_path, "network.gradient=bptt", environment=environment, batch_size=2)
    trainer = config.make_trainer(device="runtime")
    message = "the reward of environment 'walk' is no longer finite at iteration 1: "
    with pytest.warns(UserWarning, match=message):
        trainer.train(1, progress=False)
    assert all(np.isfinite(w).all() for w in trainer.session.weights.values())
    trainer.close()


def test_what_does_not_fit_is_refused(tmp_path):
    walk = configure(tmp_path).make_task()
    network = Network.for_task(walk, [(LIF, 4)], gradient="bptt")
    with pytest.raises(ValueError, match="bootstrap of the agent: gradient = 'bptt' learns from"):
        Trainer(network.with_options(parts=bootstrapping(network)), walk)
    with pytest.raises(ValueError, match="uses all cores without workers"):
        Trainer(network, walk, workers=2)
    pytest.importorskip("gymnasium")
    going_on = get_task("gymnasium:CartPole-v1", goes_on=True, most_actions=30, action_every=2 * ms)
    with pytest.raises(ValueError, match="goes_on: gradient = 'bptt' begins every episode anew"):
        Trainer(Network.for_task(going_on, [(LIF, 4)], gradient="bptt"), going_on)


def test_readouts_that_are_averaged_before_an_action_are_refused(tmp_path):
    averaging = replace(WALK, action_window="2 ms")
    config = configure(tmp_path, environment=averaging)
    assert "bptt" not in config.model.methods_of(config)
    with pytest.raises(ValueError, match="'walk' averages readouts over an action_window of 2"):
        config.with_method("bptt").make_trainer()


def bootstrapping(network):
    """Its parts, with an agent that bootstraps."""
    return [
        replace(part, bootstrap=True) if isinstance(part, Agent) else part for part in network.parts
    ]


def test_gradients_are_compared_while_e_prop_learns(tmp_path):
    """What the readouts get is the same, before and after updates."""
    config = configure(tmp_path, device="runtime", batch_size=3)
    trainer = config.make_trainer()
    before = trainer.session.state()
    check = check_gradients(trainer, 2, 2, progress=False)
    assert check.iteration == [0, 2] and trainer.iteration == 2
    for name in ("w_policy", "w_value"):
        np.testing.assert_allclose(check.cosine[name], 1, rtol=0, atol=TOLERANCE)
    assert np.all(np.array(check.cosine["w_rec"]) < 0.9999)
    assert np.any(trainer.session.weights["w_in"] != before["w_in"])
    trainer.close()
