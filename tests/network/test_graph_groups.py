"""Several input groups and readouts against one of each, of the same equations."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms

from eprop_brian import ADAPTIVE, ALIF, GRADIENT_DESCENT, LIF, RANDOM, Network
from eprop_brian.base.sparse import dense
from eprop_brian.network.graph import InputGroup, connection
from eprop_brian.network.program import make_program
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.session import Session
from support.graphs import by_population, two_readouts

#: More than a word of input spikes, and less than one.
INPUTS, OUTPUTS = (35, 6), (2, 3)
N_STEPS, N_TRIALS = 30, 4

#: Options of a network, whether inputs are analog, and whether answers are periods.
CASES = {
    "factored": ({"delays": {"w_in": [0 * ms, 3 * ms]}}, False, True),
    "factored, analog": ({"connectivity": {"w_rec": 0.5}}, True, False),
    "online, analog": ({"gradient": "online", "feedback": RANDOM}, True, True),
    "updates by step": ({"gradient": "online", "updates": "step"}, False, False),
    "updates by spike": (
        {
            "gradient": "online",
            "updates": "spike",
            "trace_cutoff": 20 * ms,
            "feedback": ADAPTIVE,
            "delays": {"w_out": 1 * ms},
        },
        False,
        False,
    ),
}
#: Cases that need no programs of their own.
FEW = pytest.mark.devices("runtime")


def make_network(**options):
    return Network.standard(sum(INPUTS), sum(OUTPUTS), [(LIF, 5), (ALIF, 4)], **options).resolved


def make_trials(analog=False, periods=False, seed=1):
    rng = np.random.default_rng(seed)
    inputs = rng.random((N_TRIALS, N_STEPS, sum(INPUTS))) < 0.2
    if analog:
        inputs = np.where(inputs, rng.normal(1, 0.3, inputs.shape), 0.0)
    targets = rng.random((N_TRIALS, N_STEPS, sum(OUTPUTS)))
    index = np.arange(N_TRIALS)
    answers = {"periods": rng.integers(0, 4, (N_TRIALS, N_STEPS))} if periods else {}
    return Trials(inputs, targets, index, index, **answers)


def cut(resolved):
    """The network with two input groups and two readouts, and the columns or rows of each."""
    split = two_readouts(resolved, ("squared_error", "squared_error"), OUTPUTS)
    groups = [InputGroup(f"inputs_{k}", size) for k, size in enumerate(INPUTS)]
    whole, *others = split.connections
    outwards = next(c for c in resolved.connections if c.to_readout)
    delays = {c.name: {"delay_steps": outwards.delay_steps} if c.to_readout else {} for c in others}
    split = replace(
        split,
        inputs=tuple(groups),
        connections=tuple(replace(c, **delays[c.name]) for c in others),
    )
    entering = []
    for group, columns in zip(groups, split.input_slices.values(), strict=True):
        c = connection(f"in_{group.name}", [group], resolved.populations)
        steps = whole.delay_steps
        entering.append(c if np.ndim(steps) == 0 else replace(c, delay_steps=steps[:, columns]))
    return replace(split, connections=(*entering, *split.connections))


def cut_matrices(split, matrices):
    """Weights of the whole network, by name, as those of the one that is cut."""
    parts = {"w_rec": matrices["w_rec"]} if "w_rec" in matrices else {}
    for name, columns in split.input_slices.items():
        parts[f"in_{name}"] = dense(matrices["w_in"])[:, columns]
    for k, rows in enumerate(split.output_slices.values()):
        parts[f"out_{k}"] = matrices["w_out"][rows]
        if "B" in matrices:
            parts[f"B_{k}"] = matrices["B"][:, rows]
    return parts


def run(network, data, weights, device):
    """Losses of all outputs, outputs, gradients and weights after learning from some trials."""
    session = Session(network, make_program(device), data, N_STEPS // 2, weights)
    outcome = session.run(data, 1 if network.continuous else 2)
    assert np.all(outcome.rate > 0)
    losses = session.program.get("outcomes.loss")
    result = losses, outcome.output, session.gradient(), session.weights
    session.close()
    return result


@pytest.mark.parametrize(
    "case",
    [
        *("factored", "online, analog", "updates by spike"),
        *(pytest.param(case, marks=FEW) for case in ("factored, analog", "updates by step")),
    ],
)
def test_groups_side_by_side_are_one_group(case, device):
    options, analog, periods = CASES[case]
    resolved, data = make_network(**options), make_trials(analog, periods)
    split = cut(resolved)
    weights = resolved.initial_weights(3)
    weights["w_in"] = 2 * weights["w_in"]
    losses, output, *matrices = run(resolved, data, weights, "runtime")
    same_losses, same_output, *parts = run(split, data, cut_matrices(split, weights), device)
    np.testing.assert_allclose(same_losses, losses, rtol=1e-11)
    np.testing.assert_allclose(same_output, output, rtol=1e-11)
    for whole, cut_up in zip(matrices, parts, strict=True):
        for name, part in cut_matrices(split, whole).items():
            assert np.any(dense(part)), name
            np.testing.assert_allclose(
                dense(cut_up[name]), dense(part), rtol=1e-9, atol=1e-13, err_msg=name
            )


@pytest.mark.parametrize("updates", [pytest.param("step", marks=FEW), "spike"])
def test_weights_that_are_not_plastic_stay_in_continuous_operation(updates, device):
    """With a tiny learning rate the other weights change as if all of them did."""
    optimizer = GRADIENT_DESCENT.with_parameters(eta=1e-9)
    options = {"gradient": "online", "updates": updates, "optimizer": optimizer}
    resolved, data = by_population(make_network(**options)), make_trials()
    fixed = {"lif_alif", "inputs_lif"}
    part = replace(
        resolved,
        connections=tuple(replace(c, plastic=c.name not in fixed) for c in resolved.connections),
    )
    weights = {name: 1.5 * w for name, w in resolved.initial_weights(3).items()}
    *_, whole = run(resolved, data, weights, "runtime")
    *_, after = run(part, data, weights, device)
    for name in (c.name for c in resolved.connections):
        change = whole[name] - weights[name]
        assert np.any(change)
        expected = 0 * change if name in fixed else change
        np.testing.assert_allclose(
            after[name] - weights[name], expected, rtol=1e-4, atol=1e-4 * np.abs(change).max()
        )


@FEW
def test_readouts_of_every_group_are_kept_side_by_side(device):
    """A session that runs trials alone has the outputs of a network with one group of them."""
    resolved, data = make_network(), make_trials()
    split = cut(resolved)
    weights = resolved.initial_weights(3)
    weights["w_in"] = 2 * weights["w_in"]
    kept = []
    for network, values in ((resolved, weights), (split, cut_matrices(split, weights))):
        window = N_STEPS // 2
        session = Session(network, make_program(device), data, window, values, learning=False)
        session.run(data, 1, learning=False)
        kept.append(session.readouts())
        session.close()
    whole, parts = kept
    assert whole.shape == (N_STEPS, sum(OUTPUTS)) and np.all(np.any(whole, axis=0))
    np.testing.assert_allclose(parts, whole, rtol=1e-12)


def biased(resolved, constant):
    """The network with a bias of its neurons and one of its outputs, by an input of 1."""
    bias = InputGroup("bias", 1, constant=constant)
    populations, readouts = resolved.populations, resolved.readouts
    biases = [connection("b", [bias], populations), connection("b_out", [bias], readouts)]
    return replace(
        resolved,
        inputs=(*resolved.inputs, bias),
        connections=(*resolved.connections, *biases),
    )


@pytest.mark.parametrize(
    "case",
    [
        "updates by spike",
        *(
            pytest.param(case, marks=FEW)
            for case in ("factored", "factored, analog", "online, analog", "updates by step")
        ),
    ],
)
def test_a_constant_group_is_an_input_that_spikes_in_every_step(case, device):
    options, analog, periods = CASES[case]
    resolved, data = make_network(**options), make_trials(analog, periods)
    ones = np.ones((N_TRIALS, N_STEPS, 1), data.inputs.dtype)
    driven = replace(data, inputs=np.concatenate([data.inputs, ones], axis=2))
    weights = biased(resolved, constant=True).initial_weights(3)
    weights["b"] = 0.05 * weights["b"]
    constant = run(biased(resolved, constant=True), data, weights, device)
    expected = run(biased(resolved, constant=False), driven, weights, device)
    for values, same in zip(constant[:2], expected[:2], strict=True):
        np.testing.assert_array_equal(values, same)
    for matrices, same in zip(constant[2:], expected[2:], strict=True):
        for name, values in same.items():
            np.testing.assert_array_equal(dense(matrices[name]), dense(values), err_msg=name)
    assert np.all(constant[2]["b_out"]) and np.any(constant[2]["b"])
    changed = [constant[3][name] - weights[name] for name in ("b", "b_out")]
    assert all(np.any(change) for change in changed)


@FEW
@pytest.mark.parametrize("updates", ["step", "spike"])
@pytest.mark.parametrize("lag", [0, 1])
def test_a_bias_of_a_readout_learns_in_mid_trial(updates, lag, device):
    """By the error of a step times what the readout has kept of the constant, by hand."""
    eta, kappa = 0.01, np.exp(-1 / 20)
    options = {
        "gradient": "online",
        "updates": updates,
        "optimizer": GRADIENT_DESCENT.with_parameters(eta=eta),
        "delays": {"w_out": lag * ms},
    }
    network, data = biased(make_network(**options), constant=True), make_trials()
    weights = {name: 0 * w for name, w in network.initial_weights(3).items()}
    window = N_STEPS // 2
    session = Session(network, make_program(device), data, window, weights)
    session.run(data, 1)
    session.apply_pending()
    b, y, kept, waiting = np.zeros(sum(OUTPUTS)), 0.0, 0.0, [0.0] * lag
    for trial in range(N_TRIALS):
        for step in range(N_STEPS):
            y, kept = kappa * y + b, kappa * kept + 1
            error = (y - data.targets[trial, step]) * (step >= N_STEPS - window)
            waiting.append(eta * error * kept)
            # A late readout's errors wait as its spikes do.
            b = b - waiting.pop(0)
    np.testing.assert_allclose(session.weights["b_out"][:, 0], b, rtol=1e-11)
    session.close()
