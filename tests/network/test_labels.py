"""A loss of labels in a network: errors filled in at a trial's end, and their gradient."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from brian2 import ms
from scipy.sparse import csc_array

from eprop_brian import ALIF, LIF, Network, record
from eprop_brian.base.sparse import dense
from eprop_brian.equations.learning_signals import RANDOM
from eprop_brian.equations.losses import CTC, weighted
from eprop_brian.network.one_update import check_one_update
from eprop_brian.network.parts import (
    Inputs,
    LearningSignal,
    Population,
    Projection,
    Readout,
)
from eprop_brian.network.program import make_program
from eprop_brian.training.network_windows import NetworkWindows
from eprop_brian.training.session import Session
from eprop_brian.training.unrolled import Unrolled
from support.labels import by_brute_force, labelled_trials

WEIGHTS = 4.0


def neurons():
    """They name the state whose reset they leave out of the derivative: JAX then does so too."""
    lif = replace(LIF.with_parameters(tau_m=8 * ms, t_ref=2 * ms), detach=("v",))
    return [(lif, 5), (replace(ALIF, detach=("v",)), 4)]


def network_of(**options) -> Network:
    return Network.standard(6, 4, neurons(), **{"loss": "ctc", **options})


def start(network):
    return {name: WEIGHTS * w for name, w in network.initial_weights(1).items()}


def run(network, trials, device, weights=None, dtype="float64", **how):
    weights = start(network) if weights is None else weights
    session = Session(network, make_program(device, dtype), trials, 1, weights)
    try:
        outcome = session.run(trials, trials.n_trials, **how)
        return outcome, session.gradient() if how.get("learning", True) else {}
    finally:
        session.close()


def derivative(network, trials, weights):
    """The gradient with a spike's derivative in its own neuron and the readouts."""
    resolved = network.resolved
    unrolled = Unrolled(resolved, 1, np.float64, trials.n_answers, local=True)
    with jax.enable_x64(True):
        learned = {
            name: jax.numpy.asarray(dense(weights[name])) for name in resolved.keys.connections
        }
        batch = trials.inputs[trials.pattern], trials.targets[trials.target]
        labels = trials.labels[trials.target]
        found, result = jax.grad(unrolled.objective, has_aux=True)(
            learned, *batch, trials.periods[trials.target], labels=labels
        )
    return {name: np.where(unrolled.masks[name], g, 0.0) for name, g in found.items()}, result


CASES = {
    "plain": {},
    "segments": {"history_steps": 7},
    "late": {"feedback": RANDOM.with_options(delay=("1 ms", "5 ms")), "delays": {"w_out": "1 ms"}},
    "weighted": {"loss": weighted(CTC, 0.3)},
}


def test_the_gradient_is_that_of_the_loss(device):
    network, trials = network_of(), labelled_trials()
    weights = start(network)
    outcome, gradient = run(network, trials, device, weights)
    expected, result = derivative(network, trials, weights)
    assert np.asarray(result.counts).sum() > 100
    losses = np.asarray(result.losses).sum(axis=1)
    np.testing.assert_allclose(outcome.loss, losses, rtol=1e-12)
    for name in ("w_in", "w_rec", "w_out"):
        assert np.any(gradient[name])
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(gradient[name], expected[name], atol=1e-11 * scale)


@pytest.mark.parametrize("case", ["plain", "late"])
def test_a_compiled_program_does_what_numpy_does(case, device):
    network, trials = network_of(**CASES[case]), labelled_trials(analog=case == "late")
    outcome, gradient = run(network, trials, device)
    expected, expected_gradient = run(network, trials, "runtime")
    np.testing.assert_allclose(outcome.loss, expected.loss, rtol=1e-13)
    np.testing.assert_allclose(outcome.output, expected.output, rtol=1e-12)
    for name, value in expected_gradient.items():
        np.testing.assert_allclose(gradient[name], value, atol=1e-12 * np.abs(value).max())


@pytest.mark.devices("runtime", "cpp")
def test_steps_that_run_again_change_nothing(device):
    trials = labelled_trials()
    _, expected = run(network_of(), trials, "runtime")
    _, gradient = run(network_of(**CASES["segments"]), trials, device)
    for name, value in expected.items():
        np.testing.assert_allclose(gradient[name], value, atol=1e-12 * np.abs(value).max())


def test_loss_and_outputs_are_those_of_all_ways():
    """With the mean of y over the steps of a frame, and errors divided among them."""
    network, trials = network_of(), labelled_trials()
    outcome, _ = run(network, trials, "runtime", learning=False)
    assert np.isnan(outcome.output[0, 8:]).all()
    assert np.isnan(outcome.output[1, 6:]).all()
    for trial, (n_frames, labels) in enumerate(((8, [0, 0, 2]), (6, [1]), (7, []))):
        p = outcome.output[trial, :n_frames]
        total, given = by_brute_force(p, labels)
        np.testing.assert_allclose(outcome.loss[trial], -np.log(total), rtol=1e-12)
        recording = record(network, trials, start(network), index=trial)
        y = recording["y"].values[2 : 2 + 4 * n_frames].reshape(n_frames, 4, 4).mean(axis=1)
        np.testing.assert_allclose(p, np.exp(y) / np.exp(y).sum(axis=1, keepdims=True), rtol=1e-12)
        # What is recorded in a step is what the backward pass reads there.
        error = recording["error"].values[2 : 2 + 4 * n_frames].reshape(n_frames, 4, 4)
        expected = np.repeat((p - given)[:, np.newaxis] / 4, 4, axis=1)
        np.testing.assert_allclose(error, expected, atol=1e-12)
        np.testing.assert_allclose(recording["target"].values[2:6], given[[0] * 4], atol=1e-12)
        assert not np.any(recording["error"].values[2 + 4 * n_frames :])
        b = start(network)["w_out"]
        signal = recording["learning_signal"].values
        np.testing.assert_allclose(signal, recording["error"].values @ b, atol=1e-12)


def test_readout_weights_have_the_difference_quotient():
    network, trials = network_of(), labelled_trials()
    weights = start(network)
    _, gradient = run(network, trials, "runtime", weights)
    for place in ((0, 2), (3, 5), (1, 8)):
        losses = []
        for sign in (1, -1):
            moved = {**weights, "w_out": weights["w_out"].copy()}
            moved["w_out"][place] += sign * 1e-6
            losses.append(run(network, trials, "runtime", moved, learning=False)[0].loss.mean())
        quotient = (losses[0] - losses[1]) / 2e-6
        np.testing.assert_allclose(gradient["w_out"][place], quotient, rtol=1e-6)


@pytest.mark.devices("runtime", "cpp")
def test_another_readout_has_its_own_loss(device):
    """Outputs stand side by side; the other's error is known in every step."""
    lif, _ = neurons()[0]
    parts = [
        Inputs(6),
        Population(lif, 7),
        Readout(2, "before"),
        Readout(4, "labels", loss="ctc"),
        Readout(1, "behind", loss_weight=0.5),
        Projection("inputs", "lif"),
        Projection("lif", "lif"),
        *(Projection("lif", name) for name in ("before", "labels", "behind")),
        *(LearningSignal(name, "lif") for name in ("before", "labels", "behind")),
    ]
    network = Network(parts)
    trials = labelled_trials()
    targets = np.random.default_rng(0).random((3, 1, 7))
    trials = replace(trials, targets=targets)
    weights = start(network)
    outcome, gradient = run(network, trials, device, weights)
    expected, result = derivative(network, trials, weights)
    for name, value in expected.items():
        np.testing.assert_allclose(gradient[name], value, atol=1e-11 * np.abs(value).max())
    np.testing.assert_allclose(outcome.output[0, :8].sum(axis=1) * 0, 0)
    np.testing.assert_allclose(outcome.output[1, :6, 2:6].sum(axis=1), 1, rtol=1e-12)
    assert np.asarray(result.losses)[:, 2].min() > 0


def test_a_weight_multiplies_loss_and_gradient():
    trials = labelled_trials()
    outcome, gradient = run(network_of(**CASES["weighted"]), trials, "runtime")
    expected, expected_gradient = run(network_of(), trials, "runtime")
    np.testing.assert_allclose(outcome.loss, 0.3 * expected.loss, rtol=1e-13)
    for name, value in expected_gradient.items():
        np.testing.assert_allclose(gradient[name], 0.3 * value, rtol=1e-9, atol=1e-15)


@pytest.mark.devices("runtime", "cpp")
def test_float32_is_close(device):
    network, trials = network_of(), labelled_trials()
    outcome, gradient = run(network, trials, device, dtype="float32")
    expected, expected_gradient = run(network, trials, "runtime")
    np.testing.assert_allclose(outcome.loss, expected.loss, rtol=1e-5)
    for name, value in expected_gradient.items():
        np.testing.assert_allclose(gradient[name], value, atol=1e-4 * np.abs(value).max())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"gradient": "online"},
            "its loss 'ctc' becomes known at a trial's end, and gradient = 'online' needs errors",
        ),
        (
            {"feedback": RANDOM.with_options(diffusion=csc_array(np.eye(9)))},
            "its loss 'ctc' becomes known at a trial's end, and a learning signal that diffuses",
        ),
    ],
)
def test_networks_that_need_the_errors_sooner_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        network_of(**options)


def test_one_output_is_no_label_and_a_blank():
    with pytest.raises(ValueError, match="loss 'ctc' needs at least 2 outputs"):
        Network.standard(6, 1, neurons(), loss="ctc")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": None}, "is one of labels, which these trials do not have"),
        (
            {"labels": [[3], [0], [0]]},
            "a label 3, but readout 'readout' has outputs for the labels",
        ),
    ],
)
def test_trials_must_have_labels_of_the_readout(changed, message):
    with pytest.raises(ValueError, match=message):
        run(network_of(), replace(labelled_trials(), **changed), "runtime")


def test_a_session_has_room_for_so_many_labels():
    network, trials = network_of(), labelled_trials()
    session = Session(network, make_program("runtime"), trials, 1, start(network))
    shorter = replace(trials, labels=trials.labels[:, :2])
    with pytest.raises(ValueError, match="have up to 2 labels, the session was made for 3"):
        session.run(shorter, 3)


def test_what_has_no_end_of_a_trial_is_refused():
    network = network_of()
    with pytest.raises(ValueError, match="has a loss of labels, which windows cannot divide"):
        NetworkWindows(network.resolved, "float64")
    with pytest.raises(ValueError, match="has a loss of labels, whose errors become known"):
        network.to_brian2(labelled_trials())
    with pytest.raises(ValueError, match="choose another loss than one of labels"):
        check_one_update(network.resolved)
    sent = network_of(feedback="B*tanh(y)")
    with pytest.raises(ValueError, match="only one that sends the error can be recorded"):
        record(sent, labelled_trials(), start(sent))
