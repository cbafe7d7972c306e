"""Backpropagation through time: the devices' network, differentiated as a whole."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms

from eprop_brian.base.sparse import dense, values_of
from eprop_brian.equations import (
    ADAM,
    ALIF,
    GRADIENT_DESCENT,
    LEAKY,
    LIF,
    RANDOM,
    SYMMETRIC,
    Neuron,
    get_neuron,
)
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.network.spec import Network
from eprop_brian.network.standard import MATRICES
from eprop_brian.tasks import get_task
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.session import Session
from eprop_brian.training.trainer import Trainer
from support.arrays import deviation
from support.by_hand import (
    KAPPA,
    LEARNING_WINDOW,
    MANY_SPIKES,
    N_STEPS,
    N_TRIALS,
    Case,
    data,
    gradient_of,
    reference,
    whole_gradient,
)
from support.trials import trials_of

#: Largest relative deviation of a loss, and of a gradient relative to its largest entry.
TOLERANCE = 1e-12
SILENT = {"connectivity": {"w_rec": 0.0}}
DELAYED = {
    "delays": {"w_rec": (1 * ms, 6 * ms), "w_in": (0 * ms, 3 * ms), "w_out": 1 * ms},
    "connectivity": {"w_in": 0.6, "w_rec": 0.5},
}
UNIFORMLY_DELAYED = {"delays": {"w_rec": 3 * ms, "w_in": 2 * ms}}
#: Two answers a trial, and gaps.
PERIODS = np.zeros((N_TRIALS, N_STEPS), dtype=int)
PERIODS[0, 10:20], PERIODS[0, 35:38], PERIODS[1, 12:41] = 1, 2, 2
#: Brian2's synapses do not move this membrane while it is held.
HELD = Neuron(
    name="held",
    model="dv/dt = -v/(20*ms) : 1 (unless refractory)",
    on_pre="v += w",
    reset="v = 0",
    threshold="v > 1",
    surrogate="0.3*clip(1 - abs(v - 1), 0, 1)",
    refractory="3 ms",
)
#: An upstroke to infinity, of the membrane and of its derivative.
STEEP = Neuron(
    name="steep",
    model="""
    dv/dt = (D*exp((v - 1)/D) - v + I_syn - a)/(20*ms) : 1
    dI_syn/dt = -I_syn/(5*ms) : 1
    da/dt = -a/(50*ms) : 1
    """,
    on_pre="I_syn += 2*w",
    reset="v = 0; a += 0.1",
    threshold="v > 2",
    surrogate="0.3*clip(1 - abs(v - 1), 0, 1)",
    method="euler",
    parameters={"D": 0.001},
)
KEPT = Neuron(
    name="kept",
    model="""
    dv/dt = -v/tau : 1
    tau = 20*ms/(1 + v**2) : second (constant over dt)
    """,
    on_pre="v += w",
    reset="v *= 0.2",
    threshold="v > 1",
    surrogate="0.3*clip(1 - abs(v - 1), 0, 1)",
    method="rk2",
)
CASES = {
    "lif and alif": Case(),
    "periods": Case(softmax=True, periods=PERIODS),
    "softmax": Case(softmax=True, n_outputs=3),
    "class weights": Case(softmax=True, n_outputs=3, class_weights=(5, 1, 0.5)),
    "delays, sparse": Case(options=DELAYED),
    "uniform delays": Case(options=UNIFORMLY_DELAYED),
}


def explicit(network: Network, *states: str) -> Network:
    """The network with neurons that say which states they detach."""
    for p in network.populations:
        detached = tuple(s for s in states if s in p.system.step.states)
        network = network.with_part(p.name, neuron=replace(p.neuron, detach=detached))
    return network


def sessions_of(case: Case, network: Network, device: str = "runtime", dtype="float64"):
    """Sessions of both kinds with the same weights, and their trials."""
    weights, spikes, targets = data(case, network)
    trials = trials_of(spikes, targets, case.periods)
    eprop = network.with_options(gradient="factored")
    return (
        BpttSession(network, trials, LEARNING_WINDOW, weights, dtype),
        Session(eprop, make_program(device), trials, LEARNING_WINDOW, weights),
        trials,
    )


def assert_same_trials(bptt: BpttSession, device: Session, trials) -> None:
    """Spikes, losses, outputs and rates are those of a device."""
    for i in range(trials.n_trials):
        one = trials.part(slice(i, i + 1))
        found, expected = (s.run(one, 1, learning=False) for s in (bptt, device))
        assert device.spikes().sum() > MANY_SPIKES / 4
        np.testing.assert_array_equal(bptt.spikes(), device.spikes())
        np.testing.assert_allclose(found.loss, expected.loss, rtol=TOLERANCE)
        np.testing.assert_allclose(found.output, expected.output, rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(found.rate, expected.rate, rtol=TOLERANCE)


# --- forwards -------------------------------------------------------------------------------------


@pytest.mark.devices("runtime", "cpp")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_trials_are_those_of_a_device(case, device):
    bptt, eprop, trials = sessions_of(case, case.network("bptt"), device)
    assert_same_trials(bptt, eprop, trials)
    eprop.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["izhikevich", "adex", "stdp_alif", "glif"])
def test_trials_of_other_neurons_are_those_of_a_device(name):
    network = Network.standard(20, 2, [(get_neuron(name), 8)], optimizer=GRADIENT_DESCENT)
    rng = np.random.default_rng(3)
    trials = trials_of(rng.random((2, 100, 20)) < 0.15, rng.normal(size=(2, 100, 2)))
    weights = network.initial_weights(1)
    weights["w_in"] *= 3
    weights["w_in"][:3] = np.abs(weights["w_in"][:3])
    bptt = BpttSession(network.with_options(gradient="bptt"), trials, 100, weights)
    eprop = Session(network, make_program("cpp"), trials, 100, weights)
    outcomes = [s.run(trials, 2, learning=False) for s in (bptt, eprop)]
    assert eprop.spikes().sum() > MANY_SPIKES / 4
    np.testing.assert_array_equal(bptt.spikes(), eprop.spikes())
    np.testing.assert_allclose(outcomes[0].loss, outcomes[1].loss, rtol=1e-10)
    bptt.run(trials, 2)
    assert bptt.is_finite()
    eprop.close()


# --- backwards ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rate_averaging": "batch", "average_gradient": True},
        {"delays": {"w_in": (0 * ms, 4 * ms), "w_out": 1 * ms}},
        {"loss": "log(cosh(y - y_target))", "c_v": 30.0, "c_l2": 0.3, "clip_norm": 0.5},
    ],
    ids=["trial", "batch, averaged", "delays", "objective"],
)
@pytest.mark.parametrize("detached", [(), ("v",)], ids=["whole reset", "detached reset"])
def test_without_recurrent_synapses_it_is_the_gradient_of_e_prop(detached, options):
    case = Case(options=SILENT | options)
    network = explicit(case.network("bptt"), *detached)
    bptt, eprop, trials = sessions_of(case, network)
    for session in (bptt, eprop):
        session.run(trials, trials.n_trials)
    found, expected = gradient_of(bptt), gradient_of(eprop)
    assert not np.any(found.pop("w_rec")) and not np.any(expected.pop("w_rec"))
    assert deviation(found, expected) <= TOLERANCE


@pytest.mark.parametrize("detached", [pytest.param(None, marks=pytest.mark.devices("runtime")), ()])
def test_what_is_chosen_has_the_derivative_of_what_was_chosen(detached, device):
    """Held and set membranes, one of them infinite at a spike, and what is kept for a step."""
    neurons = [(replace(neuron, detach=detached), 4) for neuron in (HELD, STEEP, KEPT)]
    network = Network.standard(
        20, 2, neurons, optimizer=GRADIENT_DESCENT, connectivity={"w_rec": 0.0}
    )
    rng = np.random.default_rng(3)
    trials = trials_of(rng.random((2, 60, 20)) < 0.1, rng.normal(size=(2, 60, 2)))
    weights = network.initial_weights(1)
    weights["w_in"] *= 3
    weights["w_in"] += 0.2
    # A neuron that detaches by default is differentiated as a whole by BPTT: name the same states.
    named = network.with_options(gradient="bptt")
    for p in network.populations:
        states = p.system.step.detached
        named = named.with_part(p.name, neuron=replace(p.neuron, detach=states))
    sessions = [BpttSession(named, trials, 60, weights)]
    for program in {"cpp": ["factored"], "cuda": ["online"]}.get(device, ["factored", "online"]):
        options = network.with_options(gradient=program)
        sessions.append(Session(options, make_program(device), trials, 60, weights))
    spikes, gradients = [], []
    for session in sessions:
        session.run(trials, 2)
        gradient = gradient_of(session)
        gradient.pop("w_rec")
        spikes.append(session.spikes())
        gradients.append(gradient)
        session.close()
    assert np.all(spikes[0].reshape(60, 3, 4).sum(axis=(0, 2)) > 20)
    for z, gradient in zip(spikes[1:], gradients[1:], strict=True):
        np.testing.assert_array_equal(z, spikes[0])
        assert deviation(gradient, gradients[0]) <= TOLERANCE


def test_recurrent_synapses_make_the_difference():
    case = Case(softmax=True)
    bptt, eprop, trials = sessions_of(case, explicit(case.network("bptt"), "v"))
    for session in (bptt, eprop):
        session.run(trials, trials.n_trials)
    found, expected = gradient_of(bptt), gradient_of(eprop)
    assert deviation({"w_out": found["w_out"]}, expected) <= TOLERANCE
    for name in ("w_in", "w_rec"):
        assert deviation({name: found[name]}, expected) > 1e-2


@pytest.mark.parametrize(
    "options",
    [{}, DELAYED, {"connectivity": {"w_in": 0.7, "w_rec": 0.5, "w_out": 0.9}}],
    ids=["plain", "delays", "sparse"],
)
@pytest.mark.parametrize("softmax", [False, True])
def test_gradient_is_the_total_derivative_of_the_network_by_hand(softmax, options):
    case = Case(
        options={"c_reg": 0.0} | options, softmax=softmax, keep_reset=True, transmitted=True
    )
    bptt, eprop, trials = sessions_of(case, case.network("bptt"))
    found = {name: dense(g) for name, g in bptt.gradient_of(trials).items()}
    expected, _ = reference(case, whole_gradient)
    assert deviation(found, expected) <= TOLERANCE


def test_learned_parameters_are_differentiated_too():
    learned = {"tau_m": Learned(), "beta": Learned(eta=1e-3), "v_th": Learned()}
    case = Case(options={"c_reg": 0.0}, learned=learned, keep_reset=True, transmitted=True)
    bptt, _, trials = sessions_of(case, case.network("bptt"))
    found = bptt.gradient_of(trials)
    assert {"lif.tau_m", "alif.beta", "alif.v_th"} <= found.keys()
    expected, _ = reference(case, whole_gradient)
    assert deviation(found, expected) <= TOLERANCE


def test_learned_parameters_get_the_updates_of_a_device():
    learned = {"tau_m": Learned("11.9 ms", "18.1 ms"), "beta": Learned(eta=1e-3)}
    case = Case(options=SILENT | {"optimizer": ADAM}, learned=learned)
    bptt, eprop, trials = sessions_of(case, explicit(wide(case).network("bptt"), "v"))
    for session in (bptt, eprop):
        session.run(trials, 1)
    for name, value in eprop.weights.items():
        left, right = values_of(bptt.weights[name]), values_of(value)
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12, err_msg=name)
    assert bptt.n_updates == eprop.n_updates == 2


def wide(case: Case) -> Case:
    """With membranes that the bounds hold at the start."""
    return replace(case, neurons={**case.neurons, "tau_m": np.linspace(12e-3, 18e-3, 7)})


# --- updates --------------------------------------------------------------------------------------


def adam(w, gradients):
    """Kingma and Ba 2015 in TensorFlow's form."""
    m, s = np.zeros_like(w), np.zeros_like(w)
    for k, g in enumerate(gradients, start=1):
        m = 0.9 * m + 0.1 * g
        s = 0.999 * s + 0.001 * g**2
        eta = 5e-3 * np.sqrt(1 - 0.999**k) / (1 - 0.9**k)
        w = np.clip(w - eta * m / (np.sqrt(s) + 1e-8), -100, 0.4)
    return w, m, s


@pytest.mark.parametrize("connectivity", [{}, {"w_rec": 0.5, "w_out": 0.8}])
def test_updates_are_those_of_adam(connectivity):
    options = {"optimizer": ADAM.with_parameters(w_max=0.4), "connectivity": connectivity}
    case = Case(options=options)
    bptt, _, trials = sessions_of(case, case.network("bptt"))
    before, gradients = bptt.state(), []
    for i in range(2):
        one = trials.part(slice(i, i + 1))
        gradients.append(bptt.gradient_of(one))
        bptt.run(one, 1)
    for name in MATRICES:
        w, m, s = adam(values_of(before[name]), [values_of(g[name]) for g in gradients])
        if name == "w_rec" and not connectivity:
            np.testing.assert_array_equal(bptt.weights[name].diagonal(), 0)
        for found, expected in (
            (bptt.weights[name], w),
            (bptt.optimizer_states[f"m.{name}"], m),
            (bptt.optimizer_states[f"s.{name}"], s),
        ):
            np.testing.assert_allclose(values_of(found), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(bptt.weights["B"], dense(bptt.weights["w_out"]).T)


def test_batches_in_one_call_are_batches_in_several():
    case = Case(options={"optimizer": ADAM})
    together, apart = (sessions_of(case, case.network("bptt"))[0] for _ in range(2))
    trials = sessions_of(case, case.network("bptt"))[2]
    whole = together.run(trials, 1)
    parts = [apart.run(trials.part(slice(i, i + 1)), 1) for i in range(2)]
    np.testing.assert_array_equal(whole.loss, np.concatenate([p.loss for p in parts]))
    for name, value in together.state().items():
        np.testing.assert_array_equal(value, apart.state()[name], err_msg=name)


def test_a_restored_state_goes_on_as_it_did():
    case = Case(options={"optimizer": ADAM})
    bptt, _, trials = sessions_of(case, case.network("bptt"))
    bptt.run(trials, 2)
    saved = bptt.state()
    first = bptt.run(trials, 2).loss
    after = bptt.state()
    bptt.restore(saved)
    np.testing.assert_array_equal(bptt.run(trials, 2).loss, first)
    for name, value in after.items():
        np.testing.assert_array_equal(bptt.state()[name], value, err_msg=name)


def test_single_precision_is_near_double():
    case = Case()
    double, _, trials = sessions_of(case, case.network("bptt"))
    single = sessions_of(case, case.network("bptt"), dtype="float32")[0]
    for session in (double, single):
        session.run(trials, 2)
    assert 1e-9 < deviation(single.gradient(), double.gradient()) < 1e-3


def test_a_readouts_own_filter_is_what_is_differentiated():
    """By a finite difference, as the loss is smooth in the readout weights."""
    case = Case(options={"c_reg": 0.0})
    bptt, _, trials = sessions_of(case, case.network("bptt"))
    gradient = bptt.gradient_of(trials)["w_out"]
    losses = []
    for step in (1e-6, -1e-6):
        bptt.weights["w_out"][0, 2] += step
        # The reported loss is the mean over two readouts.
        losses.append(2 * bptt.run(trials, 2, learning=False).loss.mean())
        bptt.weights["w_out"][0, 2] -= step
    assert gradient[0, 2] == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-6)
    assert bptt.resolved.readouts[0].values["kappa"] == pytest.approx(KAPPA)


# --- what there is not ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feedback": "random"}, "leave feedback at 'symmetric'"),
        ({"feedback": SYMMETRIC.with_options(delay=3 * ms)}, "leave feedback at 'symmetric'"),
        ({"feedback": RANDOM.with_options(signal="y")}, "leave feedback at 'symmetric'"),
        ({"rate_averaging": "moving"}, "rate_averaging must be 'trial'"),
        ({"updates": "step"}, "needs gradient = 'online'"),
        ({"readout": replace(LEAKY, trace_gain="1 - kappa")}, "leave the readout's trace_gain"),
    ],
)
def test_what_belongs_to_traces_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Network.standard(3, 1, [(LIF, 4)], gradient="bptt", **options)


def test_devices_do_not_take_it():
    case = Case()
    network = case.network("bptt")
    weights, spikes, targets = data(case, network)
    with pytest.raises(ValueError, match="cannot be compiled; devices run"):
        Session(network, make_program("cpp"), trials_of(spikes, targets), LEARNING_WINDOW, weights)


SMALL_TASK = {"n_steps": 60, "n_inputs": 20}


def small_trainer(**options) -> Trainer:
    task = get_task("pattern-generation", **SMALL_TASK)
    network = Network.standard(20, 1, [(ALIF, 8)], gradient="bptt")
    return Trainer(network, task, seed=1, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "runtime"}, "leave out device = 'runtime'"),
        ({"workers": 2}, "leave out workers and scheduler"),
        ({"scheduler": "tcp://localhost:1"}, "leave out workers and scheduler"),
        ({"dtype": "float16"}, "unknown dtype"),
    ],
)
def test_it_runs_where_jax_runs(options, message):
    with pytest.raises(ValueError, match=message):
        small_trainer(**options)


def test_without_jax_it_says_what_to_install(monkeypatch):
    for name in ("bptt", "unrolled"):
        monkeypatch.delitem(sys.modules, f"eprop_brian.training.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(ValueError, match=r"pip install 'eprop_brian\[bptt\]'"):
        small_trainer()


def test_what_has_not_been_run_cannot_be_read():
    bptt = small_trainer().session
    with pytest.raises(ValueError, match="no update"):
        bptt.gradient()
    with pytest.raises(ValueError, match="no trial"):
        bptt.spikes()


@pytest.mark.slow
def test_jax_is_left_as_it_is():
    """A process of its own: these tests set JAX to double precision for themselves."""
    code = (
        "import sys, eprop_brian.cli, eprop_brian.training.trainer as t\n"
        "assert 'jax' not in sys.modules\n"
        "from eprop_brian import ALIF, Network, get_task\n"
        "task = get_task('pattern-generation', n_steps=60, n_inputs=20)\n"
        "trainer = t.Trainer(Network.standard(20, 1, [(ALIF, 8)], gradient='bptt'), task)\n"
        "trainer.train(2, progress=False)\n"
        "import jax, jax.numpy as jnp\n"
        "assert not jax.config.jax_enable_x64\n"
        "assert jnp.ones(2).dtype == jnp.float32\n"
        "assert trainer.session.gradient()['w_in'].dtype == float\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- training -------------------------------------------------------------------------------------


def test_it_learns():
    trainer = small_trainer()
    trainer.train(40, progress=False)
    assert np.mean(trainer.history.loss[-5:]) < 0.7 * trainer.history.loss[0]
    assert trainer.history.alignment[-1] == pytest.approx(1)
    assert trainer.evaluate().loss < trainer.history.loss[0]


def test_steps_that_do_not_count_may_have_any_target():
    """A loss that is no number there leaves the gradient as it is."""
    case = Case({"loss": "(y/y_target - 1)**2", "c_reg": 0.0}, periods=PERIODS)
    bptt, eprop, trials = sessions_of(case, case.network("bptt"))
    trials = replace(trials, targets=np.where(PERIODS[..., np.newaxis] > 0, trials.targets, 0.0))
    found = [session.run(trials, trials.n_trials).loss for session in (bptt, eprop)]
    np.testing.assert_allclose(*found, rtol=TOLERANCE)
    assert bptt.is_finite()
    assert deviation({"w_out": gradient_of(bptt)["w_out"]}, gradient_of(eprop)) <= TOLERANCE
