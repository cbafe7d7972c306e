"""The test of one update: on a device, beside its controls."""

from dataclasses import replace

import numpy as np
import pytest

from eprop_brian.network.one_update import with_errors
from eprop_brian.training.adaptation import (
    Adaptation,
    AdaptationTest,
    Example,
    _with_rate,
    measure_adaptation,
)
from support.learned_signals import arm_network, small_arm

FAMILY, ETA = small_arm(), 3.0
#: A large update, so that outputs change.
NETWORK = arm_network(FAMILY, n=6, scale=4.0, eta=ETA)
WEIGHTS = NETWORK.initial_weights(4)


def measured(family=FAMILY, network=NETWORK, weights=WEIGHTS, **options):
    options = {"n_tasks": 3, "device": "runtime", "rates": (1e-3, 1e-1), **options}
    return measure_adaptation(network, family, weights, NETWORK.initial_weights(5), **options)


@pytest.fixture(scope="module")
def test() -> AdaptationTest:
    return measured()


def test_errors_are_those_of_the_program(test):
    tasks = FAMILY.draw(1, "test", 0, 3)
    adaptation = Adaptation(NETWORK, FAMILY, WEIGHTS, device="runtime")
    for k in range(3):
        task = tasks.part(slice(k, k + 1))
        learned = adaptation.learn(WEIGHTS, task.support)
        changed = {name for name, w in learned.items() if np.any(w != WEIGHTS[name])}
        assert changed == {"w_in", "w_rec"}
        assert test.before[k] == adaptation.errors(WEIGHTS, task.query)
        assert test.after[k] == adaptation.errors(learned, task.query)
    assert test.ratio == test.after.mean() / test.before.mean()
    assert np.all(test.after != test.before)
    assert test.example.targets.shape == (3, 24, 2)
    assert test.example.learning_signal.shape == (24, 6) and np.any(test.example.learning_signal)
    np.testing.assert_array_equal(
        FAMILY.errors(test.example.outputs_after, tasks.query), test.after
    )


def test_signals_that_are_the_same_for_all_may_be_dealt_out_to_others():
    same = {**WEIGHTS, "B": np.tile(WEIGHTS["B"][:1], (6, 1))}
    test = measured(weights=same)
    np.testing.assert_array_equal(test.shuffled, test.after)
    assert np.any(test.shuffled != test.before)


def test_the_best_rate_of_ordinary_e_prop_is_no_worse_than_any():
    """And what is computed for a rate is what an update with it does."""
    one, other, both = (measured(rates=r) for r in ((1e-3,), (1e-1,), (1e-3, 1e-1)))
    for name in ("errors_adapted", "errors_drawn"):
        means = [getattr(test, name).mean() for test in (one, other, both)]
        assert means[2] == min(means)
        assert means[2] <= (both.before if name == "errors_adapted" else both.drawn).mean()
    network = with_errors(NETWORK.resolved)
    start = {name: w for name, w in WEIGHTS.items() if name in network.shapes}
    start["B_w_out"] = np.zeros((6, 2))
    task = FAMILY.draw(1, "test", 0, 1)
    learned = []
    for eta in (ETA, 30 * ETA):
        own = replace(network, optimizer=network.optimizer.with_parameters(eta=eta))
        learned.append(Adaptation(own, FAMILY, start, device="runtime").learn(start, task.support))
    scaled = _with_rate(start, learned[0], 30.0)
    assert np.abs(learned[1]["w_rec"] - start["w_rec"]).max() > 1e-3
    for name in ("w_in", "w_rec"):
        np.testing.assert_allclose(scaled[name], learned[1][name], rtol=0, atol=1e-12)


def test_results_are_means_and_examples_survive_a_file(test):
    results = test.results()
    assert results["after"] == test.after.mean() and results["ratio"] == test.ratio
    assert {*test.errors()} < {*results}
    again = Example.of({**test.example.arrays(), "before": test.before})
    np.testing.assert_array_equal(again.outputs_before, test.example.outputs_before)
    assert Example.is_array("example.targets") and not Example.is_array("before")
