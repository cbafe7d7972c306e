"""Time, timed arrays and random numbers in the equations of neurons, and their noise.

Brian2 itself simulates every case. Where random numbers are drawn it gets the package's own through
a `TimedArray`, so that even a noisy membrane agrees to rounding.
"""

from dataclasses import replace

import brian2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brian2 import Hz, TimedArray, ms, second

from eprop_brian import Neuron
from eprop_brian.base.random import neuron_normals, neuron_uniforms, neuron_words
from eprop_brian.network.exogenous import exogenous_values, population_number
from eprop_brian.network.program import make_program
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.tasks.trials import noise_keys
from eprop_brian.training.recording import record
from eprop_brian.training.session import Session
from support.stock import Drive, group_of, in_brian2, network_of, random_drive, weights_of
from support.trials import trials_of

N_STEPS, SIZE = 200, 3
TOLERANCE = 1e-12
KEY = 2**63 + 12345


def lif(name, /, **changes):
    """A leaky integrate-and-fire neuron with something that drives it."""
    plain = {
        "model": "dv/dt = (drive - v)/tau : 1\ndrive = 0.5 : 1",
        "method": "euler",
        "on_pre": "v += w",
        "reset": "v = 0",
        "threshold": "v > 1",
        "surrogate": "0.3*clip(1 - abs(v - 1), 0, 1)",
        "parameters": {"tau": 20 * ms, "f": 12 * Hz, "late": 7 * ms},
    }
    parameters = plain["parameters"] | changes.pop("parameters", {})
    return Neuron(name=name, **{**plain, **changes, "parameters": parameters})


def driven(drive, name, /, method="euler", **parameters):
    """The same with a drive of its own."""
    model = f"dv/dt = (drive - v)/tau : 1\ndrive = {drive} : 1"
    return lif(name, model=model, method=method, parameters=parameters)


def _values(*shape):
    return 2 * np.random.default_rng(3).random(shape)


def _drives():
    for method in ("euler", "rk2", "rk4", "exponential_euler"):
        yield driven("1 + sin(2*pi*f*t)", f"sine_{method}", method)
    slow = TimedArray(_values(20), dt=10 * ms)
    yield driven("signal(t)", "timed_exact", "exact", signal=slow)
    # Values that change in mid-step, and several in a step.
    for dt in (0.5 * ms, 2.5 * ms, 4 * ms):
        signal = TimedArray(_values(70), dt=dt)
        for method in ("euler", "rk2", "rk4"):
            yield driven(
                "signal(t)", f"timed_{method}_{dt / ms:g}".replace(".", "_"), method, signal=signal
            )
    each = TimedArray(_values(40, SIZE + 1), dt=3 * ms)
    yield driven("signal(t, i)", "each", "rk2", signal=each)
    yield driven("signal(t, (i + 1) % 2)", "columns", signal=each)
    yield driven("signal(t - late) + signal(t % (30*ms))", "periodic", signal=slow)
    yield driven("0.5 + 2*i/N", "by_number")
    yield lif(
        "everywhere",
        threshold="v > 1 + 0.3*sin(2*pi*f*t) + 0.1*signal(t)",
        reset="v = 0.3*sin(2*pi*f*t) + 0.1*signal(t)",
        on_pre="v += w*(1 + signal(t))",
        parameters={"signal": TimedArray(_values(N_STEPS), dt=1 * ms)},
    )


DRIVES = {neuron.name: neuron for neuron in _drives()}


def recorded(neuron, drive):
    """Spikes and membrane, as a network of its own, with the noise of `KEY`."""
    network = network_of(neuron, drive)
    trials = trials_of(drive.inputs[None], np.zeros((1, 1, 1))).with_noise([KEY])
    recording = record(network, trials, weights_of(network, drive), synapses=0)
    return recording.spikes, recording.v


def check_against_brian2(neuron, stock, monkeypatch):
    """A neuron in the package is another one in Brian2."""
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    drive = random_drive(5, SIZE, {"": (0.1, 0.4)}, n_steps=N_STEPS)
    z, states = in_brian2(group_of(stock, SIZE), stock.on_pre, drive, ["v"])
    found_z, found_v = recorded(neuron, drive)
    assert 5 <= z.sum() < SIZE * N_STEPS / 2, "the case says nothing"
    np.testing.assert_array_equal(found_z, z)
    np.testing.assert_allclose(found_v, states["v"], rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", DRIVES)
def test_driven_neuron_is_brian2s(name, monkeypatch):
    check_against_brian2(DRIVES[name], DRIVES[name], monkeypatch)


def drawn(draw, name, number, steps_later=0):
    """What neurons of a population draw, as a signal that Brian2 reads in the same step."""
    steps = np.arange(N_STEPS)[:, None] + steps_later
    population = population_number(name)
    return draw(KEY, steps, np.arange(SIZE), population, number)


NOISY = {
    "euler": "dv/dt = (0.7 - v)/tau + s*xi/tau**.5 : 1",
    "heun": "dv/dt = (0.7 - v)/tau + s*v*xi/tau**.5 : 1",
    "milstein": "dv/dt = (0.7 - v)/tau + s*v*xi/tau**.5 : 1",
}
#: The same with a given noise: Brian2 sees an ordinary signal, so what its methods make of white
#: noise is written out by hand.
BY_HAND = {
    "euler": "noise(t, i)*s/tau**.5",
    # Stratonovich: the slope of the noise's factor at a step of the noise alone.
    "heun": "noise(t, i)*s/tau**.5*v + 0.5*dt*(noise(t, i)*s/tau**.5)**2*v",
    # The same by a finite difference, at a step of the drift with one of the noise.
    "milstein": "noise(t, i)*s/tau**.5*v + 0.5*dt**.5*noise(t, i)**2*s/tau**.5*dt*("
    "(v*s/tau**.5)*dt**.5 + dt*(0.7 - v)/tau)/dt",
}


@pytest.mark.parametrize("method", NOISY)
def test_noisy_membrane_is_brian2s_with_the_same_numbers(method, monkeypatch):
    neuron = lif(f"noisy_{method}", model=NOISY[method], method=method, parameters={"s": 0.3})
    xi = drawn(neuron_normals, neuron.name, 1) / np.sqrt(1e-3) * second**-0.5
    stock = lif(
        "stock",
        model=f"dv/dt = (0.7 - v)/tau + {BY_HAND[method].replace('dt', 'step')} : 1",
        parameters={"s": 0.3, "step": 1 * ms, "noise": TimedArray(xi, dt=1 * ms)},
    )
    check_against_brian2(neuron, stock, monkeypatch)


def test_rand_and_randn_are_drawn_where_they_stand_in_every_step(monkeypatch):
    """Even in a reset, which Brian2 runs in the step before."""
    neuron = lif(
        "drawing",
        model="dv/dt = (0.6 + 0.5*randn() - v)/tau : 1\nkept = rand() : 1 (constant over dt)",
        reset="v = 0.4*rand() - 0.2*randn()",
        threshold="v > 1 + 0.2*randn() + 0.1*kept",
    )
    # In the order of a step: reset, what is kept, state updater, threshold.
    numbers = [neuron_uniforms, neuron_normals, neuron_uniforms, neuron_normals, neuron_normals]
    signals = {
        f"u_{k}": TimedArray(drawn(draw, neuron.name, k, steps_later=int(k < 3)), dt=1 * ms)
        for k, draw in enumerate(numbers, start=1)
    }
    stock = lif(
        "stock",
        model="dv/dt = (0.6 + 0.5*u_4(t, i) - v)/tau : 1\nkept = u_3(t, i) : 1",
        reset="v = 0.4*u_1(t, i) - 0.2*u_2(t, i)",
        threshold="v > 1 + 0.2*u_5(t, i) + 0.1*kept",
        parameters=signals,
    )
    check_against_brian2(neuron, stock, monkeypatch)


def test_membrane_has_the_mean_and_variance_of_its_noise():
    """Euler's step of an Ornstein-Uhlenbeck process is one of an autoregressive one."""
    size, n_steps, s, decay = 500, 120, 0.3, 1 - 1 / 20
    neuron = lif(
        "ou",
        model="dv/dt = (0.7 - v)/tau + s*xi/tau**.5 : 1",
        threshold="v > 100",
        parameters={"s": s},
        initial={"v": "0.7"},
    )
    drive = Drive(np.zeros((n_steps, 1), bool), {"": np.zeros((size, 1))})
    v = recorded(neuron, drive)[1]
    variance = s**2 / 20 * (1 - decay ** (2 * np.arange(1, n_steps + 1))) / (1 - decay**2)
    # Five standard errors.
    assert np.all(np.abs(v.mean(axis=1) - 0.7) < 5 * np.sqrt(variance / size))
    assert np.all(np.abs(v.var(axis=1) / variance - 1) < 5 * np.sqrt(2 / size))
    lag = np.corrcoef(v[-2], v[-1])[0, 1]
    assert abs(lag - decay) < 5 / np.sqrt(size)


def test_noise_of_neurons_trials_steps_and_draws_is_independent():
    keys = noise_keys(1, "train", 3, 4)
    assert len({*keys, *noise_keys(1, "train", 4, 4), *noise_keys(2, "train", 3, 4)}) == 12
    # (trial, neuron, draw, population) by steps.
    axes = np.meshgrid(keys, np.arange(3), np.arange(1, 3), [7, 8], indexing="ij")
    key, neuron, number, population = (axis.reshape(-1, 1) for axis in axes)
    n_steps = 4000
    words = neuron_words(key, np.arange(n_steps), neuron, population, number)
    for values in (words[0] / 2**64 - 0.5, *two_normals_of(words)):
        correlation = np.corrcoef(values)
        off_diagonal = correlation[~np.eye(len(key), dtype=bool)]
        assert np.max(np.abs(off_diagonal)) < 5 / np.sqrt(n_steps)
        assert abs(np.mean(values[:, 1:] * values[:, :-1])) < 5 / np.sqrt(values.size)


def two_normals_of(words):
    """The normal numbers of words as `neuron_normals` has them."""
    first, second = ((w >> np.uint64(11)).astype(float) * 2.0**-53 for w in words[:2])
    radius = np.sqrt(-2 * np.log(1 - first))
    return [radius * np.cos(2 * np.pi * second)]


def test_normal_numbers_are_those_of_their_formula():
    steps = np.arange(2000)
    words = neuron_words(KEY, steps, 3, 9, 2)
    expected = two_normals_of(words)[0]
    np.testing.assert_allclose(neuron_normals(KEY, steps, 3, 9, 2), expected, atol=1e-14)
    # NumPy's own Philox has the same words. It advances its counter before it draws.
    generator = np.random.Philox(key=KEY)
    state = generator.state
    state["state"]["counter"] = np.array([1233, 3, 2, 9], dtype=np.uint64)
    generator.state = state
    assert [int(word[1234]) for word in words] == generator.random_raw(4).tolist()


# --- on all devices -------------------------------------------------------------------------------

EVERYTHING = lif(
    "everything",
    model="dv/dt = (0.4*signal(t, i) + 0.2*i/N + 0.2*sin(2*pi*f*t) - v)/tau + s*xi/tau**.5 : 1",
    threshold="rand() < dt*rate*exp((v - 1)/0.2)",
    surrogate="",
    reset="v = 0.2*rand() + 0.1*slow(t)",
    parameters={
        "s": 0.3,
        "rate": "0.5/ms",
        "signal": TimedArray(_values(9, SIZE), dt=4 * ms),
        "slow": TimedArray(_values(3), dt=30 * ms),
    },
)


def trained(device, gradient="factored", **options):
    """Spikes, losses and gradients of two trials."""
    drive = random_drive(5, SIZE, {"": (0.1, 0.4)}, n_steps=60)
    network = network_of(EVERYTHING, drive, gradient=gradient, **options)
    trials = trials_of(np.repeat(drive.inputs[None], 2, 0), np.ones((1, 60, 1)))
    trials = trials.with_noise([KEY, KEY + 1])
    weights = weights_of(network, drive)
    session = Session(network, make_program(device), trials, 60, weights)
    outcome = session.run(trials, 2)
    result = session.spikes(), outcome.loss, session.gradient()
    session.close()
    return result


@pytest.mark.devices("runtime", "cpp", "cuda", slow=("cuda",))
@pytest.mark.parametrize("gradient", ["factored", "online"])
def test_every_device_has_the_same_noise(device, gradient):
    z, loss, expected = trained("runtime")
    found_z, found_loss, found = trained(device, gradient)
    assert 5 < z.sum() < z.size / 3
    np.testing.assert_array_equal(found_z, z)
    np.testing.assert_allclose(found_loss, loss, rtol=1e-12)
    assert loss[0] != loss[1]
    for name, values in expected.items():
        assert np.any(values)
        np.testing.assert_allclose(found[name], values, rtol=1e-11, atol=1e-13, err_msg=name)


@pytest.mark.devices("runtime", "cpp", slow=())
def test_without_trials_time_and_noise_go_on(device):
    drive = random_drive(5, SIZE, {"": (0.1, 0.4)}, n_steps=60)
    network = network_of(EVERYTHING, drive, gradient="online", updates="step")
    whole = trials_of(drive.inputs[None], np.ones((1, 1, 1))).with_noise([KEY])
    spikes = {}
    for n_calls in (1, 3):
        n_steps = 60 // n_calls
        example = replace(whole, inputs=whole.inputs[:, :n_steps])
        weights = weights_of(network, drive)
        session = Session(network, make_program(device), example, n_steps, weights)
        calls = []
        for k in range(n_calls):
            session.run(replace(whole, inputs=whole.inputs[:, k * n_steps :][:, :n_steps]), 1)
            calls.append(session.spikes())
        spikes[n_calls] = np.concatenate(calls)
        session.close()
    assert spikes[1].sum() > 5
    np.testing.assert_array_equal(spikes[3], spikes[1])


#: Of a trial in which "own" draws 1 - 2.7e-8 first, which single precision rounds to 1.
NEARLY_ONE = 4176093


@pytest.mark.devices("runtime", "cpp", slow=())
def test_a_uniform_number_of_single_precision_is_below_1(device):
    neuron = driven("-log(1 - rand())", "own")
    drive = random_drive(5, SIZE, {"": (0.1, 0.4)}, n_steps=5)
    network = network_of(neuron, drive)
    trials = trials_of(drive.inputs[None], np.ones((1, 5, 1))).with_noise([NEARLY_ONE])
    weights = weights_of(network, drive)
    session = Session(network, make_program(device, "float32"), trials, 5, weights)
    assert np.all(np.isfinite(session.run(trials, 1).loss))
    population = network.resolved.populations[0]
    keys = np.array([NEARLY_ONE], np.uint64)
    for dtype in (np.float32, np.float64):
        (numbers,) = exogenous_values(population, keys, 5, 1e-3, dtype).values()
        assert numbers.dtype == dtype and 1 - 1e-7 < numbers[0, 0, 0] < 1
    session.close()


# --- gradients ------------------------------------------------------------------------------------

STOCHASTIC = lif(
    "stochastic",
    model="dv/dt = (0.5 + 0.5*sin(2*pi*f*t) - v)/tau + s*v*xi/tau**.5 : 1",
    method="heun",
    threshold="rand() < dt*rate*exp((v - 1)/0.3)",
    surrogate="",
    reset="v -= 1 + 0.3*randn()",
    parameters={"s": 0.4, "rate": "0.3/ms"},
    detach=(),
)


@jax.custom_jvp
def spike(chance, number):
    return (number < chance).astype(float)


@spike.defjvp
def _spike_derivative(primals, tangents):
    # The derivative of its expected value.
    chance, _ = primals
    return spike(*primals), jnp.where(chance <= 1, 1.0, 0.0) * tangents[0]


def objective(weights, x, numbers):
    """Squared error of the readout summed over a trial, of `STOCHASTIC` written out by hand."""
    dt, tau, kappa = 1e-3, 20e-3, np.exp(-1 / 20)

    def step(carry, now):
        v, z, y = carry
        t, entering, kick, noise, chance = now
        v = v + weights["w_in"] @ entering
        v = v - z * (1 + 0.3 * kick)
        factor = 0.4 * np.sqrt(dt / tau) * noise
        drift = dt / tau * (0.5 + 0.5 * jnp.sin(2 * np.pi * 12 * t) - v)
        v = v + drift + factor * v + 0.5 * factor**2 * v
        z = spike(dt * 300 * jnp.exp((v - 1) / 0.3), chance)
        y = kappa * y + weights["w_out"] @ z
        return (v, z, y), (jnp.sum((y - 1) ** 2) / 2, z)

    silent = jnp.zeros(SIZE)
    times = np.arange(len(x)) * dt
    _, (losses, z) = jax.lax.scan(step, (silent, silent, jnp.zeros(1)), (times, x, *numbers))
    return losses.sum(), z


@pytest.mark.parametrize("gradient", ["factored", "online"])
def test_gradient_is_that_of_jax_with_the_same_noise(gradient):
    drive = random_drive(5, SIZE, {"": (0.1, 0.4)}, n_steps=N_STEPS, recurrent=0)
    drive = replace(drive, w_rec={})
    network = network_of(STOCHASTIC, drive, gradient=gradient)
    trials = trials_of(drive.inputs[None], np.ones((1, N_STEPS, 1))).with_noise([KEY])
    weights = weights_of(network, drive)
    weights["B"] = weights["w_out"].T.copy()
    session = Session(network, make_program("runtime"), trials, N_STEPS, weights)
    session.run(trials, 1)
    draws = (neuron_normals, neuron_normals, neuron_uniforms)
    numbers = [drawn(draw, STOCHASTIC.name, k) for k, draw in enumerate(draws, start=1)]
    with jax.enable_x64(True):
        known = {name: weights[name] for name in ("w_in", "w_out")}
        differentiate = jax.grad(objective, has_aux=True)
        derived = differentiate(known, drive.inputs.astype(float), numbers)
        expected, z = jax.tree.map(np.asarray, derived)
    np.testing.assert_array_equal(session.spikes(), z > 0)
    assert 10 < session.spikes().sum() < N_STEPS
    for name, values in expected.items():
        deviation = np.max(np.abs(session.gradient()[name] - values))
        assert deviation < 1e-9 * np.max(np.abs(values)), name


# --- refused --------------------------------------------------------------------------------------

REFUSED = {
    "steps within a value": (
        driven("signal(t)", "own", "exact", signal=TimedArray([1, 2], dt=2.5 * ms)),
        r"dt = 0.0025 s(.|\n)*signal\(t\) changes within a step and method = exact cannot",
    ),
    "too few columns": (
        driven("signal(t, i)", "own", signal=TimedArray(np.ones((3, SIZE - 1)), dt=2 * ms)),
        rf"a column for each of {SIZE} neurons, from 0 to {SIZE - 2}",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_signal_that_does_not_fit_is_refused(name):
    neuron, message = REFUSED[name]
    drive = random_drive(5, SIZE, {"": (0.1, 0.4)}, n_steps=5)
    with pytest.raises(EquationError, match=message):
        network_of(neuron, drive)


def test_without_trials_a_signal_comes_to_its_end():
    neuron = driven("signal(t % (20*ms))", "own", signal=TimedArray([1, 2], dt=10 * ms))
    drive = random_drive(5, SIZE, {"": (0.1, 0.4)}, n_steps=5)
    network = network_of(neuron, drive, gradient="online", updates="step")
    trials = trials_of(drive.inputs[None], np.ones((1, 1, 1)))
    weights = weights_of(network, drive)
    with pytest.raises(EquationError, match="never over; without trials a timed array is read at"):
        Session(network, make_program("runtime"), trials, 5, weights)
