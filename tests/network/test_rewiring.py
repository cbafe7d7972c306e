"""Rewiring: numbers of synapses, signs and the rule itself."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms

from eprop_brian import (
    ADAM,
    GRADIENT_DESCENT,
    LIF,
    Inputs,
    LearningSignal,
    Network,
    Optimizer,
    Population,
    Projection,
    Readout,
)
from eprop_brian.network.rewiring import Rewiring, rewire
from eprop_brian.tasks import PatternGeneration
from eprop_brian.training.trainer import Trainer

MATRICES = ("w_in", "w_rec", "w_out")
DALE = Rewiring({"w_in": 0.3, "w_rec": 0.2, "w_out": 0.5}, l1=0.1, dale=True, excitatory=0.75)


def network(rewiring=DALE, **options) -> Network:
    neuron = LIF.with_parameters(tau_m=30 * ms, v_th=0.03, t_ref=0 * ms, zeta="1 - alpha")
    options = {"optimizer": ADAM.with_parameters(eta=0.05)} | options
    return Network.standard(
        20, 2, [(neuron, 12), (replace(neuron, name="more"), 8)], rewiring=rewiring, **options
    )


def trainer_of(a_network: Network, seed=1) -> Trainer:
    task = PatternGeneration(n_steps=60, n_inputs=20, n_outputs=2, periods=(60 * ms, 30 * ms))
    return Trainer(a_network, task, device="runtime", seed=seed)


def counts(trainer) -> dict[str, int]:
    return {name: int(trainer.session.connected[name].sum()) for name in MATRICES}


def test_the_rule():
    """By hand: a synapse that stays, one that is pulled beyond 0, and one that takes its place."""
    weights = np.array([[0.5, -0.004, 9.0, 7.0]])
    signs = np.array([[1.0, -1.0, 1.0, -1.0]])
    connected = np.array([[True, True, False, False]])
    rule = Rewiring({"w_in": 0.5}, l1=0.1)
    places = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found, now = rewire(rule, weights, connected, signs, 0.1, rng, autapses=True)
        np.testing.assert_allclose(found, [[0.49, 0.0, 0.0, 0.0]], atol=1e-15)
        assert now[0, 0] and not now[0, 1] and now.sum() == 2
        places.add(int(np.flatnonzero(now)[1]))
    assert places == {2, 3}


def test_noise_has_the_variance_of_the_temperature():
    shape = (300, 300)
    rule = Rewiring({"w_in": 0.5}, l1=0.0, temperature=0.02)
    connected = np.ones(shape, dtype=bool)
    rng = np.random.default_rng(0)
    found, _ = rewire(rule, np.full(shape, 9.0), connected, np.ones(shape), 0.1, rng, autapses=True)
    assert np.std(found - 9) == pytest.approx(np.sqrt(2 * 0.1 * 0.02), rel=0.02)


def test_a_matrix_that_is_nearly_full_keeps_its_number():
    connected = np.ones((4, 4), dtype=bool)
    connected[0, 1] = False
    np.fill_diagonal(connected, False)
    rng = np.random.default_rng(0)
    weights = np.where(connected, -1.0, 0.0)
    found, now = rewire(
        Rewiring({"w_rec": 0.9}), weights, connected, np.ones((4, 4)), 0.1, rng, autapses=False
    )
    assert now.sum() == connected.sum()
    assert not now.diagonal().any()
    assert not found.any()


def test_training_keeps_numbers_and_signs_and_moves_synapses():
    trainer = trainer_of(network())
    start = {name: c.copy() for name, c in trainer.session.connected.items()}
    expected = {"w_in": round(0.3 * 400), "w_rec": round(0.2 * 380), "w_out": round(0.5 * 40)}
    assert counts(trainer) == expected

    def check(trainer):
        assert counts(trainer) == expected
        for name in MATRICES:
            weights, connected = trainer.session.weights[name], trainer.session.connected[name]
            assert not weights[~connected].any()
            assert np.all(trainer.network.signs[name] * weights >= 0)
            for state in ("m", "s"):
                assert not trainer.session.optimizer_states[f"{state}.{name}"][~connected].any()
        assert not trainer.session.connected["w_rec"].diagonal().any()
        np.testing.assert_array_equal(
            trainer.session.weights["B"], trainer.session.weights["w_out"].T
        )

    trainer.train(5, progress=False, after_call=check)
    assert len(trainer.history) == 5
    for name in ("w_in", "w_rec"):
        assert np.any(trainer.session.connected[name] != start[name]), name


def test_dales_law_and_balance():
    signs = network().signs
    for name in MATRICES:
        assert np.all(signs[name] == signs[name][0])
    np.testing.assert_array_equal(signs["w_rec"][0], signs["w_out"][0])
    assert (signs["w_in"][0] > 0).sum() == (signs["w_rec"][0] > 0).sum() == 15
    weights = [network().initial_weights(seed)["w_in"] for seed in range(40)]
    assert abs(np.mean(weights)) < 0.05 * np.mean(np.abs(weights))
    mixed = network(0.2).signs["w_rec"]
    assert 0.3 < np.mean(mixed > 0) < 0.7


def test_a_stopped_run_goes_on_as_it_would_have():
    whole, first, second = (trainer_of(network()) for _ in range(3))
    whole.train(4, progress=False)
    first.train(2, progress=False)
    second.session.restore(first.session.state())
    second.history = first.history
    second.train(4, progress=False)
    expected = whole.session.state()
    found = second.session.state()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rewiring": 1.5}, "must be a fraction between 0 and 1, not 1.5"),
        ({"rewiring": {"w_rec": 0.1}}, "takes connectivity, l1, temperature, dale, excitatory"),
        ({"rewiring": {"connectivity": {"w": 0.1}}}, "There are: w_in, w_rec, w_out"),
        ({"rewiring": {"l1": -1}}, "l1 must be a number from 0 on"),
        ({"rewiring": {"dale": "yes"}}, "dale is true or false"),
        ({"rewiring": {"excitatory": 1}}, "excitatory must be a fraction"),
        ({"feedback": "adaptive"}, "leave w_out out of the rewiring"),
        ({"clip_norm": 1.0}, "with rewiring clip by clip_value"),
        ({"connectivity": {"w_rec": 0.1}}, "fixed connectivity and is to be rewired"),
        ({"updates": "step", "gradient": "online"}, "needs updates = 'batch'"),
        (
            {"optimizer": Optimizer("o", "w = w - rate*g", parameters={"rate": 0.1})},
            "optimizer 'o' has no eta",
        ),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        network(**{"optimizer": GRADIENT_DESCENT, **options})


def test_weights_to_start_from_have_the_number_of_synapses():
    """Those that stand at 0 are made up for; more than there may be are refused."""
    a_network = network()
    weights = a_network.initial_weights(1)
    weights["w_rec"][:, 3] = 0.0
    trainer = trainer_of(a_network)
    again = type(trainer)(a_network, trainer.task, device="runtime", weights=weights)
    assert counts(again) == counts(trainer)
    weights["w_rec"] = a_network.signs["w_rec"] * (1 - np.eye(20))
    with pytest.raises(ValueError, match="has 380 synapses .* rewiring keeps 76"):
        type(trainer)(a_network, trainer.task, device="runtime", weights=weights)


def test_weight_bounds_hold_with_noise():
    adam = ADAM.with_parameters(eta=0.05, w_min=-0.2, w_max=0.2)
    trainer = trainer_of(network(replace(DALE, temperature=1.0), optimizer=adam))
    trainer.train(2, progress=False)
    assert max(np.abs(trainer.session.weights[name]).max() for name in MATRICES) <= 0.2


def test_weights_of_another_sign_are_refused():
    a_network = network()
    weights = a_network.initial_weights(1)
    weights["w_rec"] = -weights["w_rec"]
    task = PatternGeneration(n_steps=60, n_inputs=20, n_outputs=2, periods=(60 * ms, 30 * ms))
    with pytest.raises(ValueError, match="'w_rec' of the weights has other signs"):
        Trainer(a_network, task, device="runtime", weights=weights)


def test_with_dale_s_law_a_neuron_has_one_sign_whatever_it_projects_with():
    parts = [
        Inputs(3),
        Population(LIF, 20, "a"),
        Population(LIF, 20, "b"),
        Readout(1),
        Projection("inputs", ["a", "b"], "into"),
        Projection("a", "b", "up"),
        Projection(["b", "a"], "readout", "down"),
        Projection(["a", "b"], "readout", "out"),
        LearningSignal("readout", ["a", "b"]),
    ]
    signs = Network(parts, rewiring={"connectivity": 0.5, "dale": True}).signs
    of_a, of_b = signs["out"][0, :20], signs["out"][0, 20:]
    assert {*of_a} == {*of_b} == {-1, 1}
    np.testing.assert_array_equal(signs["up"], np.tile(of_a, (20, 1)))
    np.testing.assert_array_equal(signs["down"], [[*of_b, *of_a]])
    alone = [*parts, Projection("a", "a", "itself")]
    alone[1] = Population(LIF, 1, "a")
    with pytest.raises(ValueError, match="itself has no pairs to rewire"):
        Network(alone, rewiring=0.5)


def test_given_weights_are_not_rewired():
    network = Network.standard(3, 1, [(LIF, 4)]).with_part("w_in", weights=np.ones((4, 3)))
    with pytest.raises(ValueError, match="weights of 'w_in' are given, but it is rewired"):
        network.with_options(rewiring={"connectivity": {"w_in": 0.5}})
