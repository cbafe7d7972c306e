"""Delays that learn, against automatic differentiation and finite differences of what defines them.

A presynaptic spike of step s acts on neuron j in step ``s + round(d_ji)``. For the derivative by
d_ji its input is ``w_ji g(t - s - d_ji)`` in the steps t around the arrival that are not before the
first step in which it could arrive.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brian2 import Hz, ms, second

from eprop_brian import ALIF, LIF, Network
from eprop_brian.base.sparse import dense, taken
from eprop_brian.equations import ADAM, GRADIENT_DESCENT, LEAKY, RANDOM, Optimizer
from eprop_brian.export.nir import to_nir
from eprop_brian.network.learned import Learned
from eprop_brian.network.learned_delays import LearnedDelay, rounded
from eprop_brian.network.program import make_program
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.training.session import Session
from eprop_brian.training.state import SessionState, require_trials
from eprop_brian.training.workers import ParallelSession
from support.arrays import assert_same_state, deviation
from support.neurons_by_hand import DT, GAMMA, T_REF_STEPS, adaptive_lif, spike
from support.programs import CUES, assert_same, exported, in_tool, run
from support.trials import random_trials, trials_of

N_INPUTS, N_LIF, N_ALIF, N_OUTPUTS = 4, 3, 4, 2
N = N_LIF + N_ALIF
N_TRIALS, N_STEPS, WINDOW = 4, 50, 40
TAU_OUT, F_TARGET, C_REG = 15e-3, 20.0, 40.0
KAPPA = np.exp(-DT / TAU_OUT)
TAU_M = np.array([10, 15, 20, 25, 12, 18, 30]) * 1e-3
TAU_A = np.array([1, 1, 1, 100, 70, 50, 30]) * 1e-3
BETA = np.array([0, 0, 0, 0.2, 0.3, 0.4, 0.5])
V_TH = np.array([0.5, 0.6, 0.7, 0.6, 0.5, 0.55, 0.65])
#: Longest delays of inputs and between neurons, in steps; the shortest are 0 and 1.
LONGEST = {"w_in": 5, "w_rec": 6}
LEAST = {"w_in": 0, "w_rec": 1}
WIDTH, REACH = 0.9, 3
#: All neurons as one population, or as two.
ONE = ((ALIF, slice(0, N)),)
TWO = ((LIF, slice(0, N_LIF)), (ALIF, slice(N_LIF, N)))
LEARNED = {name: LearnedDelay(longest, width=WIDTH) for name, longest in LONGEST.items()}


def network_of(learned=LEARNED, plastic=True, populations=ONE, **options):
    """LIF neurons, which are ALIF ones without adaptation, and ALIF neurons, whose delays learn."""
    neurons = []
    for kind, here in populations:
        given = {"tau_m": TAU_M * second, "tau_a": TAU_A * second, "beta": BETA, "v_th": V_TH}
        values = {name: value[here] for name, value in given.items() if name in kind.parameters}
        neuron = kind.with_parameters(**values, gamma=GAMMA, t_ref=T_REF_STEPS * ms)
        neurons.append((neuron, here.stop - here.start))
    options = {"c_reg": C_REG, "f_target": F_TARGET * Hz, "optimizer": GRADIENT_DESCENT} | options
    readout = LEAKY.with_parameters(tau_out=TAU_OUT * second)
    resolved = Network.standard(N_INPUTS, N_OUTPUTS, neurons, readout=readout, **options).resolved
    return with_learned(resolved, learned, plastic)


def with_learned(resolved, learned, plastic=True):
    """The same network with connections whose delays learn."""
    connections = tuple(
        replace(c, learned_delay=learned[c.name], plastic=plastic) if c.name in learned else c
        for c in resolved.connections
    )
    return replace(resolved, connections=connections)


def weights_of(network, seed=7):
    """Weights with which neurons spike, and delays between whole steps."""
    rng = np.random.default_rng(seed)
    weights = network.initial_weights(seed)
    given = {
        "w_in": rng.normal(0.6, 0.6, (N, N_INPUTS)) * 0.5,
        "w_rec": rng.normal(0.2, 1.0, (N, N)) * 0.3,
    }
    np.fill_diagonal(given["w_rec"], 0.0)
    given |= {
        f"delay.{name}": rng.uniform(LEAST[name], LONGEST[name], (N, n_pre))
        for name, n_pre in (("w_in", N_INPUTS), ("w_rec", N))
    }
    for name, values in given.items():
        if name in weights:
            here = network.adjacency.get(name)
            weights[name] = values if here is None else values * here.toarray()
    return weights


def bump(lag):
    return jnp.exp(-((lag / WIDTH) ** 2) / 2) / (np.sqrt(2 * np.pi) * WIDTH)


def kernels(delays, name):
    """How much of a spike arrives after m steps, and the derivative by its delay."""
    nearest = jnp.floor(jax.lax.stop_gradient(delays) + 0.5)
    after = jnp.arange(LONGEST[name] + REACH + 1)
    steps = after[:, None, None] - nearest
    counted = (jnp.abs(steps) <= REACH) & (after >= LEAST[name])[:, None, None]
    relaxed = jnp.where(counted, bump(after[:, None, None] - delays), 0.0)
    return (steps == 0) + relaxed - jax.lax.stop_gradient(relaxed)


def simulate(weights, x):
    """A trial: spikes, readouts and filtered spikes; spikes are stopped at other neurons."""
    stopped = jax.lax.stop_gradient
    neuron = adaptive_lif(TAU_M, TAU_A, BETA, V_TH)
    k_in = kernels(weights["delay.w_in"], "w_in")
    k_rec = kernels(weights["delay.w_rec"], "w_rec")

    def step(carry, x):
        h, x_before, z_before, refractory, y, filtered = carry
        x_before = jnp.roll(x_before, 1, axis=0).at[0].set(x)
        current = jnp.einsum("ji,mji,mi->j", weights["w_in"], k_in, x_before)
        # The last spikes arrive after one step.
        received = stopped(z_before)
        current += jnp.einsum("ji,mji,mi->j", weights["w_rec"], k_rec[1:], received)
        z_last = z_before[0]
        h = neuron.step(h, current, stopped(z_last), z_last)
        refractory = jnp.maximum(refractory - 1, 0)
        active = (refractory == 0).astype(float)
        z = spike(neuron.margin(h), stopped(active * neuron.surrogate(h)), active)
        refractory = jnp.where(z > 0, T_REF_STEPS, refractory)
        y = KAPPA * y + weights["w_out"] @ z
        filtered = KAPPA * filtered + z
        z_before = jnp.roll(z_before, 1, axis=0).at[0].set(z)
        return (h, x_before, z_before, refractory, y, filtered), (z, y, filtered)

    silent = jnp.zeros(N)
    start = (
        (silent, silent),
        jnp.zeros((len(k_in), N_INPUTS)),
        jnp.zeros((len(k_rec) - 1, N)),
        *(silent, jnp.zeros(N_OUTPUTS), silent),
    )
    return jax.lax.scan(step, start, x)[1]


def objective(weights, inputs, targets, averaging):
    """The scalar whose derivative is e-prop's gradient, mean over trials, and the spikes."""
    z, y, filtered = jax.vmap(lambda x: simulate(weights, x))(inputs)
    error = jax.lax.stop_gradient(y - targets) * (np.arange(N_STEPS) >= N_STEPS - WINDOW)[:, None]
    signal = jnp.einsum("jk,btk->btj", weights["B"], error)
    rates = z.mean(axis=1)
    if averaging == "batch":
        rates = rates.mean(axis=0, keepdims=True)
    cost = C_REG / 2 * jnp.sum((rates - F_TARGET * DT) ** 2, axis=1).mean()
    return jnp.sum(signal * filtered) / len(inputs) + cost, z


_gradient = jax.jit(jax.grad(objective, has_aux=True), static_argnums=3)


def expected(network, weights, trials):
    """Gradient of inputs, recurrence and delays, and the spikes of the last trial."""
    given = {name: jnp.array(dense(w)) for name, w in weights.items()}
    inputs = trials.inputs[trials.pattern].astype(float)
    averaging = network.rate_averaging
    found, z = _gradient(given, inputs, trials.targets[trials.target], averaging)
    return {name: np.array(g) for name, g in found.items()}, np.asarray(z)[-1]


def trials_for(analog=False):
    trials = random_trials(3, (N_TRIALS, N_STEPS, N_INPUTS), N_OUTPUTS, n_targets=N_TRIALS)
    if analog:
        sizes = np.random.default_rng(5).normal(0.8, 0.4, trials.inputs.shape)
        trials = replace(trials, inputs=trials.inputs * sizes)
    return trials


#: Steps of this optimizer move delays across whole steps.
MOVING = ADAM.with_parameters(eta=0.05)
CASES = {
    "two populations": {"populations": TWO},
    "sparse, rate of the batch": {
        "connectivity": {"w_in": 0.8, "w_rec": 0.6},
        "rate_averaging": "batch",
        "optimizer": MOVING,
    },
    "analog inputs, weights that stay": {"analog": True, "plastic": False},
}
#: Cases to compile: together they have all that is printed.
COMPILED = (
    ("sparse, rate of the batch", "factored"),
    ("sparse, rate of the batch", "online"),
    ("analog inputs, weights that stay", "factored"),
)


def runs():
    """Cases with both programs, and the devices of each."""
    for case in CASES:
        for program in ("factored", "online"):
            compiled = ("cpp", "cuda") * ((case, program) in COMPILED)
            marks = pytest.mark.devices("runtime", *compiled, slow=("cuda",))
            yield pytest.param(case, program, marks=marks)


@pytest.mark.parametrize(("case", "program"), runs())
def test_gradient_is_the_derivative_where_spikes_arrive_rounded(case, program, device):
    """By autodiff of the definition: whole steps forwards, the bump's slope backwards."""
    options = {**CASES[case], "gradient": program}
    trials = trials_for(options.pop("analog", False))
    network = network_of(**options)
    weights = weights_of(network)
    session = Session(network, make_program(device), trials, WINDOW, weights)
    session.run(trials, N_TRIALS)
    wanted, z = expected(network, weights, trials)
    assert z.sum() > 30
    np.testing.assert_array_equal(session.spikes(), z)
    found = session.gradient()
    matrices = {"w_in", "w_rec"} if options.get("plastic", True) else set()
    assert found.keys() == {*matrices, "w_out", "delay.w_in", "delay.w_rec"}
    for name, here in network.adjacency.items():
        wanted[name] = wanted[name] * here.toarray()
    np.fill_diagonal(wanted["w_rec"], 0.0)
    del found["w_out"]
    assert deviation(found, wanted) <= 1e-9
    session.close()


@pytest.mark.devices("runtime", "cpp")
def test_both_programs_agree_where_signals_and_readouts_are_late(device):
    options = {
        "delays": {"w_out": 1 * ms},
        "feedback": RANDOM.with_options(delay=(1 * ms, 4 * ms)),
        "rate_averaging": "moving",
        "learned": {"tau_m": Learned()},
    }
    trials, gradients = trials_for(), []
    for program in ("factored", "online"):
        network = network_of(gradient=program, **options)
        session = Session(network, make_program(device), trials, WINDOW, weights_of(network))
        session.run(trials, N_TRIALS)
        gradients.append(session.gradient())
        session.close()
    assert deviation(*gradients) <= 1e-12


@pytest.mark.devices("runtime")
def test_gradient_is_the_difference_quotient_of_the_relaxed_network(device):
    """Without spikes and with a cost that is linear in the membrane, both networks have one slope.

    The relaxed network lets every input spike arrive as its bump. Its cost is a linear function of
    what arrives, so that its derivative does not depend on the membranes, which differ.
    """
    trials = trials_for()
    silent = LIF.with_parameters(tau_m=15 * ms, v_th=100)
    options = {"c_v": 1.0, "voltage_cost": "v", "c_reg": 0.0, "optimizer": GRADIENT_DESCENT}
    resolved = Network.standard(N_INPUTS, N_OUTPUTS, [(silent, 3)], **options).resolved
    network = with_learned(resolved, {"w_in": LEARNED["w_in"]})
    rng = np.random.default_rng(2)
    weights = network.initial_weights(1)
    # Far enough from the places where rounding changes.
    delays = rng.integers(0, 5, (3, N_INPUTS)) + rng.uniform(0.1, 0.4, (3, N_INPUTS))
    weights["delay.w_in"] = delays
    # No learning signal: the cost alone.
    weights |= {"w_out": np.zeros((N_OUTPUTS, 3)), "B": np.zeros((3, N_OUTPUTS))}
    session = Session(network, make_program(device), trials, WINDOW, weights)
    session.run(trials, N_TRIALS)
    inputs = trials.inputs[trials.pattern].astype(float)
    alpha = np.exp(-DT / 15e-3)

    def cost(delays):
        current = np.zeros((N_TRIALS, N_STEPS, 3))
        for after in range(LONGEST["w_in"] + REACH + 1):
            near = np.abs(after - np.rint(delays)) <= REACH
            arriving = weights["w_in"] * near * np.asarray(bump(after - delays))
            current[:, after:] += inputs[:, : N_STEPS - after] @ arriving.T
        v, total = np.zeros((N_TRIALS, 3)), 0.0
        for t in range(N_STEPS):
            v = alpha * v + current[:, t]
            total += v.sum() / N_TRIALS / N_STEPS
        return total

    found, step = session.gradient()["delay.w_in"], 1e-4
    for place in np.ndindex(delays.shape):
        moved = np.zeros_like(delays)
        moved[place] = step
        quotient = (cost(delays + moved) - cost(delays - moved)) / (2 * step)
        np.testing.assert_allclose(found[place], quotient, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.devices("cpp", slow=())
def test_calls_restored_states_and_workers_give_the_same_to_the_bit(dtype, device):
    network, trials = network_of(**CASES["sparse, rate of the batch"]), trials_for()
    weights, program = weights_of(network), make_program(device, dtype)

    def session(begin=weights):
        return Session(network, program, trials, WINDOW, begin)

    one = session()
    losses = one.run(trials, 2).loss
    parts = session()
    parts.run(trials.part(slice(0, 2)), 2)
    again = session(network.initial_weights(1))
    again.restore(parts.state())
    np.testing.assert_array_equal(again.run(trials.part(slice(2, 4)), 2).loss, losses[2:])
    shared = ParallelSession(
        network, trials, WINDOW, weights, device=device, dtype=dtype, workers=2
    )
    np.testing.assert_array_equal(shared.run(trials, 2).loss, losses)
    for other in (again, shared):
        assert_same_state(other.state(), one.state())
    for name in LEARNED:
        after = one.weights[f"delay.{name}"]
        before, after = taken(weights[f"delay.{name}"], after).data, after.data
        assert np.any(rounded(before) != rounded(after))
        assert np.all((after >= LEAST[name]) & (after <= LONGEST[name]))
        assert np.any(one.optimizer_states[f"m.delay.{name}"].data)
    for each in (one, parts, again, shared):
        each.close()


@pytest.mark.devices("runtime")
def test_a_program_that_only_runs_trials_is_told_the_whole_steps(device):
    network, trials = network_of(), trials_for()
    learned = Session(network, make_program(device), trials, WINDOW, weights_of(network))
    outcomes = []
    for session in (
        learned,
        Session(network, make_program(device), trials, WINDOW, learned.weights, learning=False),
    ):
        outcomes.append(session.run(trials, N_TRIALS, learning=False))
    np.testing.assert_array_equal(outcomes[0].loss, outcomes[1].loss)
    moved = learned.weights | {"delay.w_in": np.full((N, N_INPUTS), 5.0)}
    other = Session(network, make_program(device), trials, WINDOW, moved, learning=False)
    assert np.all(other.run(trials, N_TRIALS, learning=False).loss != outcomes[0].loss)


def patched(monkeypatch, learned):
    """Networks of configurations whose delays learn, which configurations cannot say."""
    kind = type(CUES.model)
    make = kind.make_network

    def make_network(model, config, task):
        network = make(model, config, task)
        network.__dict__["resolved"] = with_learned(network.resolved, learned)
        return network

    monkeypatch.setattr(kind, "make_network", make_network)


@pytest.mark.slow
def test_an_exported_program_learns_the_same_delays(tmp_path, monkeypatch):
    learned = {"w_in": LearnedDelay(6, eta=0.05), "w_rec": LearnedDelay(6)}
    patched(monkeypatch, learned)
    trainer = in_tool(CUES, 7)
    start = trainer.network.resolved.initial_weights(CUES.run["seed"])
    for name in learned:
        assert np.any(trainer.session.weights[f"delay.{name}"] != start[f"delay.{name}"])
    program = exported(tmp_path / "project", CUES)
    run(program, "--iterations", 7, "--run", tmp_path / "run")
    assert_same(tmp_path / "run", trainer)


def test_a_graph_has_the_delays_that_run():
    """NIR: as of a network whose delays are given in whole steps."""
    pytest.importorskip("nir")
    steps = np.random.default_rng(3).integers(0, 5, (3, 2))
    neuron = LIF.with_parameters(t_ref=0 * ms)
    graphs = []
    for delays in ({"w_in": steps * ms}, {}):
        network = Network.standard(2, 1, [(neuron, 3)], delays=delays)
        weights = network.initial_weights(1)
        if not delays:
            network.__dict__["resolved"] = with_learned(network.resolved, {"w_in": LearnedDelay(5)})
            weights["delay.w_in"] = steps + 0.3
        graphs.append(to_nir(network, weights))
    given, learned = graphs
    assert given.nodes.keys() == learned.nodes.keys()
    assert sorted(given.edges) == sorted(learned.edges)


def test_delays_find_the_lag_of_two_inputs():
    """Two inputs spike six steps apart, and only together do they make a neuron fire.

    The readout is to answer six steps after the second one; weights stay as they are, so delays
    must become 12 and 6 steps.
    """
    n, steps, gap, answer = 20, 50, 6, 6
    neuron = LIF.with_parameters(tau_m=4 * ms, v_th=0.6, gamma=1.0, t_ref=2 * ms)
    readout = LEAKY.with_parameters(tau_out=5 * ms)
    options = {"c_reg": 0.0, "optimizer": ADAM.with_parameters(eta=0.01)}
    given = Network.standard(
        2, 1, [(neuron, n)], readout=readout, delays={"w_in": (0 * ms, 12 * ms)}, **options
    )
    network = with_learned(given.resolved, {"w_in": LearnedDelay(15)})
    network = replace(
        network, connections=tuple(replace(c, plastic=False) for c in network.connections)
    )
    weights = network.initial_weights(1)
    weights |= {"w_in": np.full((n, 2), 0.4), "w_rec": np.zeros((n, n))}
    weights |= {"w_out": np.full((1, n), 1 / n), "B": np.full((n, 1), 1 / n)}
    first = np.random.default_rng(1).integers(5, 15, 8)
    inputs = np.zeros((8, steps, 2), dtype=bool)
    inputs[np.arange(8), first, 0] = inputs[np.arange(8), first + gap, 1] = True
    since = np.arange(steps) - (first + gap + answer)[:, None]
    target = np.where(since >= 0, np.exp(-since / 5.0), 0.0)
    trials = trials_of(inputs, target[..., None])
    session = Session(network, make_program("cpp"), trials, steps, weights)
    losses = [session.run(trials, 8).loss.mean() for _ in range(200)]
    session.close()
    assert losses[0] > 1
    assert losses[-1] < 0.01
    wanted = [gap + answer, answer]
    start, found = weights["delay.w_in"], session.weights["delay.w_in"]
    assert np.abs(start - wanted).mean() > 3
    assert np.mean(np.abs(rounded(found) - wanted) <= 1) > 0.9


WRONG = {
    "readout": ({"w_out": LearnedDelay(5)}, {}, "delay of a readout cannot learn"),
    "too short": ({"w_rec": LearnedDelay(1)}, {}, "must be more than 1 step"),
    "start": ({"w_in": LearnedDelay(3)}, {"delays": {"w_in": 4 * ms}}, "start between 0 and 3"),
    "continuous": (
        {"w_in": LearnedDelay(3)},
        {"gradient": "online", "updates": "step", "rate_averaging": "moving"},
        "updates must be 'batch'",
    ),
    "bptt": ({"w_in": LearnedDelay(3)}, {"gradient": "bptt"}, "rounding to steps"),
    "rewiring": ({"w_in": LearnedDelay(3)}, {"rewiring": 0.5}, "rewiring moves synapses"),
    "no eta": (
        {"w_in": LearnedDelay(3, eta=0.1)},
        {"optimizer": Optimizer(name="plain", update="w = w - rate*g", parameters={"rate": 0.1})},
        "must be called eta",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_learn_is_refused(case):
    learned, options, message = WRONG[case]
    with pytest.raises(ValueError, match=f"projection '{next(iter(learned))}': .*{message}"):
        network_of(learned, **options)


def test_bumps_are_checked():
    with pytest.raises(EquationError, match="'d' is not defined"):
        LearnedDelay(5, shape="exp(-d**2)")
    with pytest.raises(EquationError, match="does not change with lag"):
        LearnedDelay(5, shape="1/width")
    with pytest.raises(ValueError, match="width of a learned delay"):
        LearnedDelay(5, width=0)


def test_delays_beyond_their_bounds_are_refused():
    """They select rows of arrays."""
    network = network_of()
    weights, trials = weights_of(network), trials_for()
    session = SessionState(network, trials, WINDOW, weights)
    state = session.state()
    state["delay.w_rec"][0, 1] = 7.0
    with pytest.raises(ValueError, match="'delay.w_rec' .* between 1 and 6 steps"):
        session.restore(state)


def test_gradcheck_is_refused():
    with pytest.raises(ValueError, match="rounding them to steps has no derivative"):
        require_trials(network_of())
