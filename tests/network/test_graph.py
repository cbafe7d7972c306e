"""A network as lists of groups and connections, beyond the three matrices that `Network` makes."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from brian2 import ms

from eprop_brian import ADAPTIVE, ALIF, LEAKY, LIF, SYMMETRIC, Network
from eprop_brian.base.sparse import dense
from eprop_brian.equations.losses import LOSSES
from eprop_brian.network.graph import InputGroup, connection, spans
from eprop_brian.network.program import make_program
from eprop_brian.network.resolve import make_readout
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.session import Session
from eprop_brian.training.state import SessionState
from eprop_brian.training.unrolled import Unrolled
from support.graphs import by_population, two_readouts

N_INPUTS, N_STEPS, WINDOW = 6, 40, 25
SLOW = LEAKY.with_parameters(tau_out=90 * ms)
#: Spikes come by often enough with these, so that every matrix has a gradient.
LARGER = 3.0


def given(gradient="factored", **options):
    """Two kinds of neurons under one matrix each of inputs, recurrence and readout.

    They name the state whose reset they leave out of the derivative: JAX then does so too.
    """
    kinds = [(LIF, 5), (ALIF.with_parameters(tau_a=50 * ms), 4)]
    neurons = [(replace(kind, detach=("v",)), size) for kind, size in kinds]
    return Network.standard(N_INPUTS, 3, neurons, gradient=gradient, **options)


def blocks(resolved, split, matrices):
    """Matrices by connection of the whole network as those of the one that is split."""
    parts = {}
    for c in split.connections:
        whole = next(
            w
            for w in resolved.connections
            if {*c.sources} <= {*w.sources} and {*c.targets} <= {*w.targets}
        )
        rows = [np.arange(*whole.targets[name].indices(10**6)) for name in c.targets]
        columns = [np.arange(*whole.sources[name].indices(10**6)) for name in c.sources]
        where = np.ix_(np.concatenate(rows), np.concatenate(columns))
        parts[c.name] = dense(matrices[whole.name])[where]
    return parts


def trials(n_outputs=3, n_trials=4, seed=1):
    rng = np.random.default_rng(seed)
    targets = rng.random((n_trials, 1, n_outputs))
    index = np.arange(n_trials)
    return Trials(rng.random((n_trials, N_STEPS, N_INPUTS)) < 0.2, targets, index, index)


def start(network, seed=3):
    weights = network.initial_weights(seed)
    return {
        name: w * LARGER
        if name in {c.name for c in network.connections if c.kind == "input"}
        else w
        for name, w in weights.items()
    }


@pytest.fixture(params=["factored", "online"])
def gradient(request):
    return request.param


@pytest.mark.devices("runtime", "cpp")
def test_populations_may_have_matrices_of_their_own(gradient, device):
    network = given(gradient, delays={"w_rec": [1 * ms, 4 * ms]}, connectivity={"w_in": 0.7})
    split = by_population(network.resolved)
    assert [c.name for c in split.connections] == [
        *("inputs_lif", "inputs_alif"),
        *("lif_lif", "lif_alif", "alif_lif", "alif_alif", "w_out"),
    ]
    weights, data = start(network.resolved), trials()
    own = blocks(network.resolved, split, weights) | {"B": weights["B"]}
    results = []
    for each, begin in ((network, weights), (split, own)):
        session = Session(each, make_program(device), data, WINDOW, begin)
        outcome = session.run(data, 2)
        results.append((outcome.loss, session.gradient(), session.weights))
        session.close()
    (loss, whole, after), (same, parts, after_split) = results
    np.testing.assert_array_equal(loss, same)
    for name, part in blocks(network.resolved, split, whole).items():
        np.testing.assert_array_equal(dense(parts[name]), part)
        assert np.any(part)
    for name, part in blocks(network.resolved, split, after).items():
        np.testing.assert_array_equal(dense(after_split[name]), part)


def test_a_graph_learns_by_the_derivative_of_its_losses(gradient):
    """Against JAX, which stops spikes on their way to other neurons."""
    split = by_population(given(gradient).resolved)
    delayed = {"lif_alif": 3, "inputs_alif": 2}
    resolved = replace(
        split,
        connections=tuple(
            replace(c, delay_steps=delayed.get(c.name, c.delay_steps)) for c in split.connections
        ),
    )
    weights, data = start(resolved), trials()
    session = Session(resolved, make_program("runtime"), data, WINDOW, weights)
    session.run(data, data.n_trials)
    assert session.spikes().any()
    expected = derivative(resolved, weights, data)
    for name, value in session.gradient().items():
        assert np.any(value)
        np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=1e-12)


def one_of(resolved, k):
    """The same network with one of its readouts."""
    outwards = [c for c in resolved.connections if c.to_readout]
    return replace(
        resolved,
        readouts=(resolved.readouts[k],),
        connections=tuple(c for c in resolved.connections if c not in outwards or c is outwards[k]),
        signals=(resolved.signals[k],),
    )


def part_of(data, columns):
    return replace(data, targets=data.targets[..., columns])


def test_the_losses_of_two_readouts_add_up():
    """Backpropagation through time: each readout has columns of the targets and a loss."""
    resolved = two_readouts(given("bptt").resolved)
    weights, data = start(resolved), trials(n_outputs=5)
    both = BpttSession(resolved, data, WINDOW, weights)
    losses, gradients, outputs = [], [], []
    for k, columns in enumerate(resolved.output_slices.values()):
        network, own = one_of(resolved, k), part_of(data, columns)
        session = BpttSession(
            network, own, WINDOW, {name: weights[name] for name in network.keys.shapes()}
        )
        outcome = session.run(own, own.n_trials, learning=False)
        losses.append(outcome.loss)
        outputs.append(outcome.output)
        gradients.append(session.gradient_of(own))
    outcome = both.run(data, data.n_trials, learning=False)
    np.testing.assert_allclose(outcome.loss, sum(losses), rtol=1e-14)
    np.testing.assert_array_equal(outcome.output, np.concatenate(outputs, axis=1))
    for name, value in both.gradient_of(data).items():
        parts = [g[name] for g in gradients if name in g]
        assert np.any(value)
        np.testing.assert_allclose(value, sum(parts), rtol=1e-11, atol=1e-14)


def test_weights_that_are_not_plastic_stay_as_they_are():
    resolved = given("bptt").resolved
    fixed = replace(
        resolved,
        connections=tuple(replace(c, plastic=c.kind != "input") for c in resolved.connections),
    )
    weights, data = start(resolved), trials()
    sessions = [BpttSession(network, data, WINDOW, weights) for network in (resolved, fixed)]
    for session in sessions:
        session.run(data, data.n_trials)
    whole, part = sessions
    assert {*part.gradient()} == {*whole.gradient()} - {"w_in"}
    assert {*part.optimizer_states} == {*whole.optimizer_states} - {"m.w_in", "s.w_in"}
    np.testing.assert_array_equal(part.weights["w_in"], weights["w_in"])
    for name in ("w_rec", "w_out"):
        np.testing.assert_array_equal(part.weights[name], whole.weights[name])
        assert np.any(part.weights[name] != weights[name])


def _wrong(resolved, case):
    """Lists of parts that do not go together."""
    inputs, populations = resolved.inputs, resolved.populations
    (signal,) = resolved.signals
    return {
        "one name": {"inputs": (InputGroup("lif", N_INPUTS),)},
        "no group": {"inputs": (InputGroup("others", N_INPUTS),)},
        "size": {"inputs": (InputGroup("inputs", N_INPUTS + 1),)},
        "overlap": {
            "connections": (
                *resolved.connections,
                connection("more", populations, populations[:1]),
            )
        },
        "two readouts": {
            "connections": (
                connection("w_in", inputs, populations),
                connection("w_out", populations, two_readouts(resolved).readouts),
            ),
            "readouts": two_readouts(resolved).readouts,
        },
        "late input to readout": {
            "connections": (
                *resolved.connections,
                connection("skip", inputs, resolved.readouts, delay_steps=1),
            )
        },
        "nothing to follow": {"signals": (replace(signal, follows=""),)},
        "nothing to change with": {"signals": (replace(signal, follows="", feedback=ADAPTIVE),)},
        "empty window": {"readouts": (replace(resolved.readouts[0], window_steps=0),)},
        "average over a window": {
            "readouts": (replace(resolved.readouts[0], window_steps=7),),
            "average_gradient": True,
        },
        "two kinds of sources": {
            "connections": (connection("w", (*inputs, *populations), populations),)
        },
        "follows": {"signals": (replace(signal, follows="w_rec"),)},
        "filters": {
            "readouts": (
                *resolved.readouts,
                make_readout("slow", 1, SLOW, LOSSES["squared_error"], resolved.dt),
            )
        },
    }[case]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("one name", "two parts of the network are called 'lif'"),
        ("no group", "projection 'w_in', sources: there is no group 'inputs'; there are others"),
        ("size", "'inputs' has 7 members, not 6"),
        ("overlap", "projection 'more' must connect the same groups in the same order"),
        ("two readouts", "projection 'w_out' has several readouts as targets"),
        ("late input to readout", "projection 'skip' is delayed, but what inputs send"),
        ("nothing to follow", "learning signal 'B' has symmetric weights, which follow"),
        ("nothing to change with", "learning signal 'B' has changing weights, which follow"),
        ("empty window", "the window of readout 'readout' must be at least one step, not 0"),
        ("average over a window", "'readout' has a window of its own: leave average_gradient off"),
        ("two kinds of sources", "projection 'w' has inputs and populations as sources"),
        ("follows", "'w_rec' does not lead there"),
        ("filters", "all readouts must filter eligibility traces in the same way"),
    ],
)
def test_a_graph_that_cannot_run_is_refused(case, message):
    resolved = given().resolved
    with pytest.raises(ValueError, match=message):
        replace(resolved, **_wrong(resolved, case))


@pytest.mark.parametrize(
    ("window", "periods", "message"),
    [
        (N_STEPS + 1, None, "'readout' has a window of 41 steps, longer than a trial of 40 steps"),
        (
            5,
            np.ones((4, N_STEPS), int),
            "'readout' has a window of 5 steps, but the task says step",
        ),
    ],
)
def test_trials_must_have_the_window_of_a_readout(window, periods, message):
    resolved = given().resolved
    windowed = replace(resolved, readouts=(replace(resolved.readouts[0], window_steps=window),))
    data = replace(trials(), periods=periods, n_answers=None)
    with pytest.raises(ValueError, match=message):
        SessionState(windowed, data, WINDOW, start(resolved))


def derivative(resolved, weights, data):
    """The gradient of the losses, with a spike's derivative in its own neuron and the readouts."""
    unrolled = Unrolled(resolved, WINDOW, np.float64, local=True)
    keys = resolved.keys.connections
    with jax.enable_x64(True):
        learned = {name: jax.numpy.asarray(dense(weights[name])) for name in keys}
        periods = np.zeros((data.n_trials, 0), np.int32)
        batch = data.inputs[data.pattern], data.targets[data.target], periods
        found, _ = jax.grad(unrolled.objective, has_aux=True)(learned, *batch)
    masks = unrolled.masks
    return {name: np.where(masks[name], np.asarray(g), 0.0) for name, g in found.items()}


def run(network, data, weights, device, batch_size=2):
    session = Session(network, make_program(device), data, WINDOW, weights)
    outcome = session.run(data, batch_size)
    session.close()
    return outcome, session


def test_two_readouts_on_a_device_have_the_derivative_of_both_losses(gradient, device):
    resolved = two_readouts(by_population(given(gradient).resolved))
    weights, data = start(resolved), trials(n_outputs=5)
    session = Session(resolved, make_program(device), data, WINDOW, weights)
    outcome = session.run(data, data.n_trials)
    expected, gradients = derivative(resolved, weights, data), session.gradient()
    session.close()
    for name, value in gradients.items():
        assert np.any(value)
        np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=1e-12)
    losses, outputs = [], []
    for k, columns in enumerate(resolved.output_slices.values()):
        network, own = one_of(resolved, k), part_of(data, columns)
        kept = {name: weights[name] for name in network.keys.shapes()}
        alone, _ = run(network, own, kept, device, data.n_trials)
        losses.append(alone.loss)
        outputs.append(alone.output)
    np.testing.assert_allclose(outcome.loss, sum(losses), rtol=1e-12)
    np.testing.assert_allclose(outcome.output, np.concatenate(outputs, axis=1), rtol=1e-12)


def test_weights_that_are_not_plastic_stay_on_a_device(gradient, device):
    resolved = by_population(given(gradient).resolved)
    fixed = replace(
        resolved,
        connections=tuple(replace(c, plastic=c.name != "lif_alif") for c in resolved.connections),
    )
    weights, data = start(resolved), trials()
    _, whole = run(resolved, data, weights, device, data.n_trials)
    _, part = run(fixed, data, weights, device, data.n_trials)
    np.testing.assert_array_equal(part.weights["lif_alif"], weights["lif_alif"])
    for name in (c.name for c in resolved.connections if c.name != "lif_alif"):
        np.testing.assert_array_equal(part.weights[name], whole.weights[name])


def test_each_population_may_have_a_learning_signal_of_its_own(gradient, device):
    """One readout whose weights and feedback weights are cut up by population.

    Learning signals reach the first population late.
    """
    late = np.ones((9, 3))
    late[:5] = np.random.default_rng(2).integers(1, 5, (5, 3))
    network = given(gradient, feedback=replace(SYMMETRIC, delay=late * ms))
    resolved = by_population(network.resolved)
    (readout,), (signal,) = resolved.readouts, resolved.signals
    inner = [c for c in resolved.connections if not c.to_readout]
    outwards = [connection(f"out_{p.name}", [p], [readout]) for p in resolved.populations]
    delays = {"lif": late[:5].astype(int), "alif": None}
    signals = [
        replace(
            signal,
            name=f"B_{p.name}",
            targets=spans([p]),
            follows=out.name,
            delay_steps=delays[p.name],
        )
        for p, out in zip(resolved.populations, outwards, strict=True)
    ]
    cut = replace(resolved, connections=(*inner, *outwards), signals=tuple(signals))
    weights, data = start(resolved), trials()
    own = {c.name: weights[c.name] for c in inner}
    for p, out in zip(resolved.populations, outwards, strict=True):
        rows = resolved.slices[p.name]
        own |= {out.name: weights["w_out"][:, rows], f"B_{p.name}": weights["B"][rows]}
    outcome, whole = run(resolved, data, weights, device)
    same, parts = run(cut, data, own, device)
    np.testing.assert_allclose(outcome.loss, same.loss, rtol=1e-12)
    for c in inner:
        np.testing.assert_allclose(whole.weights[c.name], parts.weights[c.name], rtol=1e-10)
    for p in resolved.populations:
        rows = resolved.slices[p.name]
        outwards = parts.weights[f"out_{p.name}"]
        np.testing.assert_allclose(whole.weights["w_out"][:, rows], outwards, rtol=1e-10)
        np.testing.assert_allclose(whole.weights["B"][rows], parts.weights[f"B_{p.name}"], 1e-10)
