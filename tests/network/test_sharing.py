"""Weights that synapses share, against convolutions and automatic differentiation in JAX.

The network is a small one of the kind that Bellec et al. 2020 (Nat. Commun. 11:3625) let play
Atari: a picture of 12 x 12, two layers of spiking convolutions with a bias for each channel, and
for each layer a readout of its own, which sees the averages of windows of spikes. E-prop's gradient
is that of the loss with spikes that stop where other neurons receive them.
"""

import functools
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brian2 import Hz, second

from eprop_brian import (
    LIF,
    Inputs,
    LearningSignal,
    Network,
    Neuron,
    Population,
    Projection,
    Readout,
    Trainer,
    read_network,
    write_network,
)
from eprop_brian.base.files import read_arrays, write_arrays
from eprop_brian.equations import ADAM, GRADIENT_DESCENT, LEAKY, RANDOM
from eprop_brian.network.program import make_program
from eprop_brian.network.sharing import AveragePooling, Convolution, PerChannel, Shared
from eprop_brian.tasks import Task
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.gradient_check import check_gradients
from eprop_brian.training.session import Session
from eprop_brian.training.traces import synapses_of
from eprop_brian.training.weight_recording import WeightRecorder
from support.arrays import assert_same_state, deviation
from support.neurons_by_hand import DT, GAMMA, TAU_M, V_TH, adaptive_lif, spike
from support.trials import trials_of

#: Largest deviation from automatic differentiation, relative to the largest entry of an array.
TOLERANCE = 1e-9
N_TRIALS, N_STEPS, WINDOW, N_CLASSES = 2, 40, 30, 3
KAPPA = np.exp(-DT / 15e-3)
C_REG, F_TARGET = 5.0, 20.0
FIRST, SECOND = Convolution((1, 12, 12), 4, 4, 2), Convolution((4, 5, 5), 3, 3)
#: Windows of the readouts: those of the first overlap, and leave out no spike.
POOLS = {"first": AveragePooling((4, 5, 5), 3, 2), "second": AveragePooling((3, 3, 3), 2)}
SHAPES = {
    "into": (4, 1, 4, 4),
    "bias_first": (4, 1),
    "between": (3, 4, 3, 3),
    "bias_second": (3, 1),
    "out_first": (N_CLASSES, 4, 2, 2),
    "out_second": (N_CLASSES, 3, 2, 2),
}


def make_network(program: str = "factored", **options) -> Network:
    lif = LIF.with_parameters(tau_m=TAU_M * second, v_th=V_TH, gamma=GAMMA, t_ref="3 ms")
    # Naming the state whose reset is left out makes backpropagation leave it out, too.
    lif = replace(lif, detach=("v",))
    leaky = LEAKY.with_parameters(tau_out=15e-3 * second)
    layers = ("first", "second")
    settings = {"optimizer": GRADIENT_DESCENT, "c_reg": C_REG, "f_target": F_TARGET * Hz}
    return Network(
        [
            Inputs(144),
            Inputs(1, "one", constant=True),
            Population(lif, 100, "first"),
            Population(lif, 27, "second"),
            *(Readout(N_CLASSES, f"y_{layer}", leaky, "softmax_cross_entropy") for layer in layers),
            Projection("inputs", "first", "into", connectivity=FIRST),
            Projection("one", "first", "bias_first", connectivity=PerChannel(4)),
            Projection("first", "second", "between", connectivity=SECOND),
            Projection("one", "second", "bias_second", connectivity=PerChannel(3)),
            *(
                Projection(layer, f"y_{layer}", f"out_{layer}", connectivity=POOLS[layer])
                for layer in layers
            ),
            *(LearningSignal(f"y_{layer}", layer, name=f"B_{layer}") for layer in layers),
        ],
        gradient=program,
        dt=DT * second,
        **{**settings, **options},
    )


@functools.cache
def make_data():
    """Weights, pictures and classes of both readouts in every step."""
    rng = np.random.default_rng(2)
    weights = make_network().initial_weights(4)
    # Neurons of all channels fire, and not as often as they can.
    for name, scale, mean in (
        *(("into", 0.05, 0.01), ("between", 0.6, 0.02)),
        *(("bias_first", 0.02, 0.0), ("bias_second", 0.05, 0.0)),
    ):
        weights[name] = scale * weights[name] + mean
    pictures = np.repeat(rng.random((N_TRIALS, 1, 144)), N_STEPS, axis=1)
    classes = np.eye(N_CLASSES)[rng.integers(N_CLASSES, size=(N_TRIALS, N_STEPS, 2))]
    return weights, trials_of(pictures, classes.reshape(N_TRIALS, N_STEPS, 2 * N_CLASSES))


def run(network, device, trials, weights, *, learning=True):
    """Gradient, spikes and outcome of a batch in the package."""
    session = Session(network, make_program(device), trials, WINDOW, weights, learning=learning)
    outcome = session.run(trials, N_TRIALS, learning=learning)
    gradient = session.gradient() if learning else {}
    spikes = session.spikes()
    session.close()
    return gradient, spikes, outcome


# --- automatic differentiation --------------------------------------------------------------------


def convolved(picture, kernels, stride):
    """What the neurons of all channels receive, channel by channel, without padding."""
    return jax.lax.conv_general_dilated(picture[None], kernels, (stride, stride), "VALID")[0]


def pooled(picture, size, stride):
    summed = jax.lax.reduce_window(
        picture, 0.0, jax.lax.add, (1, size, size), (1, stride, stride), "VALID"
    )
    return summed / size**2


def simulate(weights, pictures):
    """Spikes of both layers and both readouts of a trial, in every step."""
    neuron = adaptive_lif(TAU_M, 1.0, 0.0)
    shapes = {"first": (4, 5, 5), "second": (3, 3, 3)}

    def step(carry, picture):
        states, before, counters, ys = carry
        kernels = {"first": ("into", 2), "second": ("between", 1)}
        seen = {"first": picture, "second": jax.lax.stop_gradient(before["first"])}
        after, z, now, outputs = {}, {}, {}, {}
        for layer, (name, stride) in kernels.items():
            current = convolved(seen[layer], weights[name], stride)
            current += weights[f"bias_{layer}"][:, :, None]
            given = jax.lax.stop_gradient(before[layer])
            after[layer] = neuron.step(states[layer], current, given, given)
            counter = jnp.maximum(counters[layer] - 1, 0)
            active = (counter == 0).astype(float)
            slope = jax.lax.stop_gradient(active * neuron.surrogate(after[layer]))
            z[layer] = spike(neuron.margin(after[layer]), slope, active)
            now[layer] = jnp.where(z[layer] > 0, neuron.refractory_steps, counter)
            means = pooled(z[layer], POOLS[layer].size, POOLS[layer].stride)
            heard = jnp.tensordot(weights[f"out_{layer}"], means, 3)
            outputs[layer] = KAPPA * ys[layer] + heard
        return (after, z, now, outputs), (z, outputs)

    silent = {layer: jnp.zeros(shape) for layer, shape in shapes.items()}
    states = {layer: (silent[layer], silent[layer]) for layer in shapes}
    start = states, silent, silent, {layer: jnp.zeros(N_CLASSES) for layer in shapes}
    return jax.lax.scan(step, start, pictures.reshape(-1, 1, 12, 12))[1]


def objective(weights, pictures, classes):
    z, ys = simulate(weights, pictures)
    total, losses = 0.0, {}
    for k, layer in enumerate(z):
        own = classes[-WINDOW:, k * N_CLASSES : (k + 1) * N_CLASSES]
        losses[layer] = -jnp.sum(own * jax.nn.log_softmax(ys[layer][-WINDOW:]))
        excess = z[layer].mean(axis=0) - F_TARGET * DT
        total += losses[layer] + C_REG / 2 * jnp.sum(excess**2)
    return total, (z, losses)


@functools.cache
def differentiated():
    """Gradient, the mean over the trials; spikes and losses of all trials."""
    weights, trials = make_data()
    learned = {name: jnp.asarray(weights[name]) for name in SHAPES}
    of_trial = jax.grad(objective, has_aux=True)
    of_batch = jax.jit(jax.vmap(of_trial, (None, 0, 0)))
    gradients, (z, losses) = of_batch(learned, trials.inputs, trials.targets)
    return {name: np.mean(g, axis=0) for name, g in gradients.items()}, z, losses


# --- convolutions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["factored", "online"])
def test_shared_weights_act_and_learn_as_convolutions(program, device):
    weights, trials = make_data()
    gradient, spikes, outcome = run(make_network(program), device, trials, weights)
    expected, z, losses = differentiated()
    flat = np.concatenate([np.reshape(z[layer][-1], (N_STEPS, -1)) for layer in z], axis=1)
    np.testing.assert_array_equal(spikes, flat)
    assert all(100 < np.sum(z[layer]) < 0.3 * np.size(z[layer]) for layer in z)
    # Every channel has learned something.
    assert all(np.all(np.any(g != 0, axis=tuple(range(1, g.ndim)))) for g in expected.values())
    assert {name: g.shape for name, g in gradient.items()} == SHAPES
    assert deviation(gradient, expected) <= TOLERANCE
    np.testing.assert_allclose(outcome.loss, sum(losses.values()) / WINDOW, rtol=1e-11)


@pytest.mark.devices("runtime", "cpp")
def test_both_programs_give_one_gradient(device):
    weights, trials = make_data()
    several = {"rate_averaging": "batch", "c_l2": 0.1, "optimizer": ADAM}
    online, factored = (
        run(make_network(program, **several), device, trials, weights)[0]
        for program in ("online", "factored")
    )
    assert deviation(online, factored) <= 1e-12


def test_each_layer_learns_from_its_own_readout_alone():
    weights, trials = make_data()
    other = trials.targets.copy()
    other[..., N_CLASSES:] = np.roll(other[..., N_CLASSES:], 1, axis=-1)
    before, after = (
        run(make_network(), "runtime", given, weights)[0]
        for given in (trials, replace(trials, targets=other))
    )
    for name in ("into", "bias_first", "out_first"):
        np.testing.assert_array_equal(before[name], after[name])
    for name in ("between", "bias_second", "out_second"):
        assert np.abs(before[name] - after[name]).max() > 0.01 * np.abs(before[name]).max(), name


def test_gradients_of_pooled_readouts_are_finite_differences():
    weights, trials = make_data()
    gradient, _, _ = run(make_network(c_reg=0.0), "runtime", trials, weights)
    session = Session(
        make_network(c_reg=0.0), make_program("runtime"), trials, WINDOW, weights, learning=False
    )
    rng, size = np.random.default_rng(0), 1e-5
    for name in ("out_first", "out_second"):
        direction = rng.normal(size=SHAPES[name])
        losses = []
        for sign in (1, -1):
            session.weights[name] = weights[name] + sign * size * direction
            losses.append(session.run(trials, N_TRIALS, learning=False).loss.mean() * WINDOW)
        session.weights[name] = weights[name]
        difference = (losses[0] - losses[1]) / (2 * size)
        assert difference == pytest.approx(np.sum(gradient[name] * direction), rel=1e-6)


# --- updates --------------------------------------------------------------------------------------


def single_layer(program: str, bounded: bool = False, **options) -> Network:
    """The first layer alone, for which e-prop is backpropagation through time.

    If `bounded`, its neurons sum a function of their weights.
    """
    network = make_network()
    if bounded:
        neuron = Neuron(
            name="bounded",
            model="dv/dt = -v/tau : 1",
            on_pre="v += tanh(w)",
            reset="v -= v_th",
            threshold="v > v_th",
            surrogate="0.4*clip(1 - abs(v - v_th), 0, 1)",
            parameters={"tau": TAU_M * second, "v_th": V_TH},
            detach=("v",),
        )
        network = network.with_part("first", neuron=neuron)
    kept = {"inputs", "one", "first", "y_first", "into", "bias_first", "out_first", "B_first"}
    parts = [part for part in network.parts if part.name in kept]
    return Network(parts, gradient=program, dt=DT * second, **options)


OPTIONS = {
    "Adam and decay": {"optimizer": ADAM, "c_l2": 0.2},
    "clipped norm, rates of the batch": {
        "optimizer": ADAM,
        "clip_norm": 0.5,
        "c_reg": 5.0,
        "f_target": F_TARGET * Hz,
        "rate_averaging": "batch",
    },
    "a function of the weight": {"bounded": True, "optimizer": ADAM},
    "clipped values": {"optimizer": GRADIENT_DESCENT, "clip_value": 0.1},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_updates_are_those_of_backpropagation(name, device):
    weights, trials = make_data()
    trials = replace(trials, targets=trials.targets[..., :N_CLASSES])
    own = {k: weights[k] for k in ("into", "bias_first", "out_first", "B_first")}
    session = Session(
        single_layer("factored", **OPTIONS[name]), make_program(device), trials, WINDOW, own
    )
    reference = BpttSession(single_layer("bptt", **OPTIONS[name]), trials, WINDOW, own)
    for _ in range(3):
        session.run(trials, N_TRIALS)
        reference.run(trials, N_TRIALS)
    assert np.any(session.weights["into"] != own["into"])
    for found, expected in (
        (session.weights, reference.weights),
        (session.optimizer_states, reference.optimizer_states),
    ):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert found[key].shape == value.shape
            np.testing.assert_allclose(found[key], value, rtol=1e-8, atol=1e-11, err_msg=key)
    session.close()


def test_training_goes_on_from_a_file(tmp_path):
    weights, trials = make_data()
    network = make_network(optimizer=ADAM)
    first, second_half = (
        Session(network, make_program("runtime"), trials, WINDOW, w)
        for w in (weights, network.initial_weights(1))
    )
    first.run(trials, N_TRIALS)
    write_arrays(tmp_path / "state.npz", first.state())
    second_half.restore(read_arrays(tmp_path / "state.npz"))
    assert second_half.optimizer_states["m.into"].shape == SHAPES["into"]
    for session in (first, second_half):
        session.run(trials, N_TRIALS)
    assert_same_state(second_half.state(), first.state())


def test_shares_of_a_batch_make_the_same_update():
    """As several workers make it."""
    weights, trials = make_data()
    together, apart = (
        Session(make_network(optimizer=ADAM), make_program("runtime"), trials, WINDOW, weights)
        for _ in range(2)
    )
    together.run(trials, N_TRIALS)
    shares = apart.shares([apart.data(trials)], N_TRIALS)
    apart.update([share.sums for share in shares], N_TRIALS)
    assert_same_state(apart.state(), together.state())


def test_a_network_that_only_runs_fires_the_same_spikes():
    weights, trials = make_data()
    _, spikes, outcome = run(make_network(), "runtime", trials, weights)
    _, same, judged = run(make_network(), "runtime", trials, weights, learning=False)
    np.testing.assert_array_equal(same, spikes)
    np.testing.assert_array_equal(judged.loss, outcome.loss)


def test_weights_that_do_not_learn_may_be_shared():
    weights, trials = make_data()
    network = make_network().with_part("into", learn=False)
    gradient, spikes, _ = run(network, "runtime", trials, weights)
    expected, same, _ = run(make_network(), "runtime", trials, weights)
    np.testing.assert_array_equal(spikes, same)
    assert gradient.keys() == expected.keys() - {"into"}
    np.testing.assert_array_equal(gradient["between"], expected["between"])


def test_any_sharing_is_given_by_numbers():
    """A convolution, written as the number of its weight for each pair."""
    weights, trials = make_data()
    numbers = np.full((27, 100), -1)
    places = np.argwhere(np.ones((3, 3, 3, 4, 3, 3)))
    for k, y, x, c, i, j in places:
        numbers[9 * k + 3 * y + x, 25 * c + 5 * (y + i) + x + j] = 36 * k + 9 * c + 3 * i + j
    network = make_network().with_part("between", connectivity=Shared(numbers))
    own = {**weights, "between": weights["between"].ravel()}
    gradient, spikes, _ = run(network, "runtime", trials, own)
    expected, same, _ = run(make_network(), "runtime", trials, weights)
    np.testing.assert_array_equal(spikes, same)
    np.testing.assert_array_equal(gradient["between"], expected["between"].ravel())


@dataclass(frozen=True, kw_only=True, eq=False)
class Given(Task):
    """The trials of the tests."""

    name = "given"
    n_steps = N_STEPS
    n_inputs = 144
    n_outputs = 2 * N_CLASSES
    learning_window = WINDOW
    loss = "softmax_cross_entropy"

    def trials(self, seed, stream, index, n_trials):
        """The same for every seed and index."""
        return make_data()[1].part(slice(0, n_trials))


def test_training_compares_gradients_and_records_weights():
    weights, _ = make_data()
    network = make_network(optimizer=ADAM)
    recorder = WeightRecorder(synapses_of(network, "between")[:2], every=1)
    options = {"batch_size": N_TRIALS, "weights": weights, "device": "runtime"}
    made = Trainer(network, Given(), **options)
    made.train(2, progress=False, record_weights=recorder)
    # The first neuron sends to the first one of each channel.
    now = made.session.weights["between"]
    np.testing.assert_array_equal(recorder.weights.values[-1], now[:2, 0, 0, 0])
    check = check_gradients(Trainer(network, Given(), **options), 1, progress=False)
    assert check.cosine["between"][0] == pytest.approx(1, abs=1e-12)
    assert -1 < check.cosine["into"][0] < 0.999
    with pytest.raises(ValueError, match="each of Brian2's synapses learns for itself"):
        network.to_brian2(Given())


# --- initial weights ------------------------------------------------------------------------------


def test_initial_weights_have_the_fan_in_of_a_kernel():
    parts = [
        Inputs(8 * 36),
        Population(LIF, 200 * 16, "neurons"),
        Readout(400, "y"),
        Projection("inputs", "neurons", "w", connectivity=Convolution((8, 6, 6), 200, 3)),
        Projection("neurons", "y", "u", connectivity=AveragePooling((200, 4, 4), 3)),
        LearningSignal("y", "neurons"),
    ]
    drawn = Network(parts).initial_weights(1)
    # Relative errors of the standard deviation of n normal numbers: 1/sqrt(2 n).
    assert drawn["w"].size == 14_400 and drawn["u"].size == 320_000
    assert np.std(drawn["w"]) * np.sqrt(8 * 9) == pytest.approx(1, rel=0.03)
    assert np.std(drawn["u"]) * np.sqrt(200 * 4) == pytest.approx(1, rel=0.01)
    glorot = Network(parts).with_part("w", weights="glorot", scale=2.0).initial_weights(1)["w"]
    network = Network(parts).resolved.keys.connections["w"].shared
    # A picture's edge is seen at fewer places than its middle.
    assert network.fan_in == 72 and network.fan_out == pytest.approx(200 * (12 / 6) ** 2)
    limit = 2 * np.sqrt(6 / (72 + 800))
    assert 0.999 * limit < np.abs(glorot).max() <= limit


def test_initial_weights_are_given_in_the_shape_of_the_kernels():
    kernels = np.arange(64.0).reshape(SHAPES["into"])
    network = make_network().with_part("into", weights=kernels, scale=0.5)
    np.testing.assert_array_equal(network.initial_weights(1)["into"], kernels / 2)
    feedback = network.initial_weights(1)["B_first"]
    drawn = network.initial_weights(1)["out_first"]
    # The first neuron is in one window of four, and one of nine in it.
    np.testing.assert_allclose(feedback[0], drawn[:, 0, 0, 0] / 9, rtol=1e-14)


# --- files, figures, mistakes ---------------------------------------------------------------------


def test_sharing_is_written_to_a_file_and_read_back(tmp_path):
    numbers = np.arange(27 * 100).reshape(27, 100) % 50
    network = make_network().with_part("between", connectivity=Shared(numbers))
    kernels = np.random.default_rng(1).normal(size=SHAPES["into"])
    network = network.with_part("into", weights=kernels)
    write_network(tmp_path / "network.toml", network)
    text = (tmp_path / "network.toml").read_text()
    assert 'connectivity = {name = "average_pooling", shape = [4, 5, 5], size = 3' in text
    again = read_network(tmp_path / "network.toml")
    assert again.shapes == network.shapes
    weights, expected = again.initial_weights(3), network.initial_weights(3)
    assert_same_state(weights, expected)
    for a, b in zip(again.resolved.connections, network.resolved.connections, strict=True):
        assert (a.shared.mixing != b.shared.mixing).nnz == 0
        np.testing.assert_array_equal(a.shared.adjacency.indices, b.shared.adjacency.indices)


MISTAKES = {
    "sizes": ({"connectivity": Convolution((1, 12, 12), 5, 4, 2)}, r"target has 100 neurons, and"),
    "source": ({"connectivity": Convolution((2, 12, 12), 4, 4, 2)}, r"source has 144 .* 2 x 12"),
    "kernel": ({"connectivity": Convolution((1, 12, 12), 4, 13)}, "larger than the picture"),
    "stride": ({"connectivity": Convolution((1, 12, 12), 4, 4, 0)}, "stride must be a whole"),
    "shape": ({"connectivity": Convolution((12, 12), 4, 4)}, "channels, height, width"),
    "channels": ({"connectivity": PerChannel(3)}, "no whole number of 3 channels"),
    "numbers": ({"connectivity": Shared(np.zeros((3, 3), int))}, r"\(100, 144\) \[post, pre\]"),
    "gap": ({"connectivity": Shared(np.full((100, 144), 1))}, "from 0 on"),
    "matrix": ({"weights": np.zeros((100, 144))}, "an array with 4 axes"),
    "other shape": ({"weights": np.zeros((4, 1, 5, 4))}, r"must have shape \(4, 1, 4, 4\)"),
    "balance": ({"weights": "balanced", "sign": "excitatory"}, "cannot be balanced"),
    "delays": ({"learned_delay": {"longest": "5 ms"}}, "delays cannot learn"),
    "groups": ({"target": ["first", "second"]}, "from one group to another"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_cannot_be_shared_is_said(name):
    changes, message = MISTAKES[name]
    with pytest.raises(ValueError, match=message):
        make_network().with_part("into", **changes)


def test_learning_that_shared_weights_have_not_is_said():
    with pytest.raises(ValueError, match="'into' shares weights, which learn at the end of a"):
        make_network("online", updates="step", c_reg=0.0)
    with pytest.raises(ValueError, match="'B_first' changes with the weights of 'out_first'"):
        make_network().with_part("B_first", feedback="adaptive")
    random = make_network().with_part("B_first", feedback=RANDOM)
    assert random.initial_weights(1)["B_first"].shape == (100, N_CLASSES)
