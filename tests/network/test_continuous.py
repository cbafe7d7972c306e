"""Continuous operation against a simulation in NumPy: no trials, no resets, weights always moving.

`Simulation` is written from the equations (Bellec et al. 2020, Nat. Commun. 11:3625, eqs. 6-11 and
21-25; e-prop+: arXiv 2511.21674) and shares nothing with the package. It keeps every trace of every
pair of neurons. With ``lag`` the delay of the readouts (0 or 1 step), step g is:

1. input spikes of step g and recurrent spikes of step g-1 arrive at the neurons, recurrent spikes
   of step g-lag at the readouts. With updates by spikes, what waits at a synapse enters its weight
   now, and the spike takes the new weight along. Longer delays begin here, with the same weight;
2. neurons advance, readouts advance, the errors of step g make the learning signals, through the
   feedback weights as they are now;
3. the traces of step g-lag meet these learning signals, and what results waits at the synapse; with
   updates by steps it enters the weight at once. With a trace cut-off, this happens while g minus
   the step of the last arrival is below it.

So a weight that is used in step g holds the gradients of the traces up to step g-1-lag.
"""

import functools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from brian2 import Hz, ms

from eprop_brian.base.sparse import dense
from eprop_brian.equations import (
    ADAM,
    ADAPTIVE,
    ALIF,
    GRADIENT_DESCENT,
    LEAKY,
    LIF,
    Optimizer,
    get_neuron,
)
from eprop_brian.equations.learning_signals import BROADCAST, RANDOM, SYMMETRIC
from eprop_brian.network.program import make_program
from eprop_brian.network.spec import Network
from eprop_brian.network.standard import MATRICES
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.session import Session
from support.arrays import all_dense, assert_same_state, deviation
from support.devices import on_devices

#: Largest deviation, relative to the largest entry of a matrix.
TOLERANCE = 1e-11
N_IN, N_LIF, N_ALIF, N_OUT = 4, 5, 4, 2
N = N_LIF + N_ALIF
N_STEPS, N_CALLS = 50, 3

DT = 1e-3
V_TH, GAMMA, V_RESET, T_REF = 0.6, 0.4, 0.05, 3
TAU_M = np.repeat([20e-3, 15e-3], [N_LIF, N_ALIF])
TAU_A, BETA = 60e-3, np.repeat([0.0, 0.35], [N_LIF, N_ALIF])
TAU_OUT, TRACE_DECAY = 15e-3, 0.9
C_REG, F_TARGET, KAPPA_REG = 0.5, 30.0, 0.95
FEEDBACK_DECAY = 2e-3


@dataclass(frozen=True)
class Case:
    """Options of a network in continuous operation; delays in steps, those of `w_in` from 0 on."""

    updates: str
    lag: int
    adam: bool = False
    feedback: str = "random"
    softmax: bool = False
    hard_reset: bool = False
    attached: bool = False
    cutoff: int | None = None
    density: float = 1.0
    delays: dict[str, Any] = field(default_factory=dict)
    feedback_delays: tuple[int, int] | None = None
    #: Steps at the end of a call in which errors count.
    window: int = N_STEPS
    #: Whether inputs are values rather than spikes.
    analog: bool = False

    @property
    def eta(self) -> float:
        return 0.01 if self.adam else 0.004

    def network(self) -> Network:
        common = {"v_th": V_TH, "gamma": GAMMA, "t_ref": T_REF * ms}
        lif, alif = LIF, ALIF
        if self.hard_reset:
            lif, alif = get_neuron("lif_hard_reset"), get_neuron("alif_hard_reset")
            common["v_reset"] = V_RESET
        lif = lif.with_parameters(**common, tau_m=20 * ms)
        alif = alif.with_parameters(**common, tau_m=15 * ms, tau_a=60 * ms, beta=0.35)
        if self.attached:
            lif, alif = replace(lif, detach=()), replace(alif, detach=())
        feedback = {
            "random": RANDOM,
            "broadcast": BROADCAST.with_options(scale=0.7),
            "symmetric": SYMMETRIC,
            "adaptive": ADAPTIVE.with_options(decay=FEEDBACK_DECAY),
        }[self.feedback]
        if self.feedback_delays:
            low, high = self.feedback_delays
            feedback = feedback.with_options(delay=(low * ms, high * ms))
        delays = {"w_out": self.lag * ms}
        delays |= {name: (low * ms, high * ms) for name, (low, high) in self.delays.items()}
        sparse = self.density < 1
        return Network.standard(
            n_inputs=N_IN,
            n_outputs=N_OUT,
            neurons=[(lif, N_LIF), (alif, N_ALIF)],
            readout=replace(LEAKY.with_parameters(tau_out=15 * ms), trace_decay=repr(TRACE_DECAY)),
            loss="softmax_cross_entropy" if self.softmax else "squared_error",
            feedback=feedback,
            optimizer=(ADAM if self.adam else GRADIENT_DESCENT).with_parameters(eta=self.eta),
            gradient="online",
            updates=self.updates,
            trace_cutoff=None if self.cutoff is None else self.cutoff * ms,
            c_reg=C_REG,
            f_target=F_TARGET * Hz,
            rate_averaging="moving",
            kappa_reg=KAPPA_REG,
            connectivity=dict.fromkeys(MATRICES, self.density) if sparse else {},
            delays=delays,
        )


DELAYS = {"w_in": (0, 4), "w_rec": (1, 6)}
CASES = {
    "step-lag": Case("step", 1),
    "spike-lag-adam": Case("spike", 1, adam=True, feedback="symmetric"),
    "step-adam-softmax": Case("step", 0, adam=True, feedback="symmetric", softmax=True),
    "spike": Case("spike", 0, feedback="adaptive"),
    "step-lag-adaptive-hard": Case("step", 1, feedback="adaptive", hard_reset=True),
    "spike-cutoff-adam": Case("spike", 1, adam=True, hard_reset=True, cutoff=4),
    "step-cutoff": Case("step", 0, cutoff=3, feedback="broadcast"),
    "spike-lag-delays": Case("spike", 1, density=0.5, delays=DELAYS, feedback_delays=(1, 7)),
    "step-delays": Case(
        *("step", 0, True, "adaptive"), density=0.5, delays=DELAYS, feedback_delays=(2, 5)
    ),
    "step-lag-adam": Case("step", 1, adam=True),
    "spike-adam": Case("spike", 0, adam=True),
    "spike-symmetric": Case("spike", 0, feedback="symmetric"),
    "step-lag-symmetric": Case("step", 1, feedback="symmetric"),
    "spike-lag-adaptive": Case("spike", 1, feedback="adaptive"),
    "step-lag-cutoff-adam": Case("step", 1, adam=True, cutoff=5),
    "spike-cutoff": Case("spike", 0, cutoff=1),
    "spike-delays": Case("spike", 0, delays={"w_rec": (1, 5)}, feedback_delays=(1, 4)),
    "step-lag-delays-cutoff": Case("step", 1, delays={"w_in": (2, 2)}, cutoff=6),
    "spike-lag-attached-cutoff": Case(
        *("spike", 1), attached=True, cutoff=4, delays={"w_in": (0, 2), "w_rec": (1, 3)}
    ),
    "step-attached-cutoff": Case("step", 0, attached=True, cutoff=1, density=0.7),
    "spike-lag-window": Case("spike", 1, window=20, feedback_delays=(1, 6)),
    "spike-analog-cutoff-delays": Case(
        *("spike", 1), analog=True, cutoff=6, delays={"w_in": (0, 3)}, density=0.7
    ),
    "step-analog-adam": Case("step", 0, adam=True, analog=True, cutoff=3),
    "spike-lag-sparse-symmetric": Case("spike", 1, feedback="symmetric", density=0.5),
}
#: Cases to compile: together they go through all that continuous operation has.
COMPILED = (
    *("step-adam-softmax", "spike-cutoff-adam", "spike-lag-delays", "step-delays"),
    *("spike-analog-cutoff-delays", "step-lag-delays-cutoff", "spike-lag-attached-cutoff"),
    "spike-lag-window",
)


class Simulation:
    """A network as the equations have it, one step at a time, in NumPy."""

    def __init__(self, case: Case, network: Network, weights: dict[str, np.ndarray]) -> None:
        self.case = case
        self.w = {name: np.array(weights[name]) for name in MATRICES}
        self.B = np.array(weights["B"])
        self.g = 0
        self.v, self.a, self.z, self.refractory, self.rate = np.zeros((5, N))
        self.y = np.zeros(N_OUT)
        self.k = 0
        self.exists, self.extra = {}, {}
        for name, w in self.w.items():
            least = {"w_in": 0, "w_rec": 1, "w_out": case.lag}[name]
            steps = network.delay_steps[name]
            steps = steps.toarray() if hasattr(steps, "toarray") else steps
            self.extra[name] = np.maximum(np.broadcast_to(steps, w.shape) - least, 0)
            if name in network.adjacency:
                self.exists[name] = network.adjacency[name].toarray().astype(bool)
            else:
                self.exists[name] = ~np.eye(N, dtype=bool) if name == "w_rec" else w == w
        delays = network.resolved.signals[0].delay_steps
        self.feedback_delay = np.ones((N, N_OUT), int) if delays is None else delays
        # Of every step: spikes that leave for their synapses, signals, and what traces read.
        self.sent = {name: [] for name in MATRICES}
        self.signal, self.error, self.psi, self.rate_factor, self.later = [], [], [], [], {}
        names = ("pending", "m", "s", "eps_v", "eps_a", "e", "filtered", "averaged")
        self.of_synapse = {
            name: {kind: np.zeros(w.shape) for kind in names} for name, w in self.w.items()
        }
        self.last = {name: np.full(w.shape[1], -np.inf) for name, w in self.w.items()}
        self.n_updates = {name: np.zeros(w.shape[1], int) for name, w in self.w.items()}

    def step(self, x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Spikes, outputs and loss of a step."""
        case, kappa = self.case, np.exp(-DT / TAU_OUT)
        self.arrive("w_in", x)
        self.arrive("w_rec", self.z)
        if case.lag:
            self.arrive("w_out", self.z)
        self.neurons()
        if not case.lag:
            self.arrive("w_out", self.z)
        self.y = kappa * self.y + self.later.pop(("w_out", self.g), 0.0)
        error = self.y - target
        output, loss = self.y, np.mean(error**2 / 2)
        if case.softmax:
            output = np.exp(self.y - self.y.max())
            output = output / output.sum()
            error, loss = output - target, -np.sum(target * np.log(output)) / N_STEPS
        if self.g % N_STEPS < N_STEPS - case.window:
            error, loss, output = np.zeros(N_OUT), 0.0, np.zeros(N_OUT)
        self.error.append(error)
        B = self.w["w_out"].T if case.feedback == "symmetric" else self.B
        signal = np.zeros(N)
        for j in range(N):
            for k in range(N_OUT):
                sent = self.g - (self.feedback_delay[j, k] - 1)
                signal[j] += B[j, k] * self.error[sent][k] if sent >= 0 else 0.0
        self.signal.append(signal)
        if self.g >= case.lag:
            self.traces(self.g - case.lag)
        self.g += 1
        return self.z > 0, output, loss

    def arrive(self, name: str, spikes: np.ndarray) -> None:
        self.sent[name].append(np.array(spikes, float))
        for i in np.flatnonzero(spikes):
            if self.case.updates == "spike" and self.last[name][i] >= 0:
                self.update(name, i)
            self.last[name][i] = self.g
            for j in range(len(self.w[name])):
                when = (name, self.g + self.extra[name][j, i])
                arriving = self.w[name][j, i] * spikes[i]
                self.later.setdefault(when, np.zeros(len(self.w[name])))[j] += arriving

    def neurons(self) -> None:
        current = self.later.pop(("w_in", self.g), 0.0) + self.later.pop(("w_rec", self.g), 0.0)
        self.refractory = np.maximum(self.refractory - 1, 0)
        free = self.refractory == 0
        alpha = np.exp(-DT / TAU_M)
        if self.case.hard_reset:
            self.v = np.where(self.z > 0, V_RESET, self.v)
            self.v = np.where(free, alpha * self.v + current, V_RESET)
        else:
            self.v = alpha * self.v + current - V_TH * self.z
        self.a = np.exp(-DT / TAU_A) * self.a + self.z
        margin = self.v - V_TH - BETA * self.a
        self.psi.append(free * GAMMA / V_TH * np.maximum(0, 1 - np.abs(margin) / V_TH))
        self.z = ((margin >= 0) & free).astype(float)
        self.refractory = np.where(self.z > 0, T_REF, self.refractory)
        self.rate = KAPPA_REG * self.rate + (1 - KAPPA_REG) * self.z
        self.rate_factor.append(C_REG * (self.rate - F_TARGET * DT))

    def traces(self, t: int) -> None:
        """The traces of step t meet the learning signals of this step."""
        cutoff = np.inf if self.case.cutoff is None else self.case.cutoff
        alpha, rho = np.exp(-DT / TAU_M)[:, None], np.exp(-DT / TAU_A)
        signal, psi, factor = self.signal[self.g], self.psi[t], self.rate_factor[t]
        self.k += 1
        for name in MATRICES:
            x, shape = self.of_synapse[name], self.w[name].shape
            active = np.broadcast_to(self.g - self.last[name] < cutoff, shape)
            pre = np.zeros(shape)
            for j, i in np.ndindex(shape):
                sent = t - self.extra[name][j, i]
                pre[j, i] = self.sent[name][sent][i] if sent >= 0 else 0.0
            if name == "w_out":
                x["eps_v"] = np.exp(-DT / TAU_OUT) * x["eps_v"] + pre
                added = self.error[t][:, None] * x["eps_v"]
            else:
                reset = V_TH * x["e"] if self.case.attached else 0.0
                x["eps_v"] = alpha * x["eps_v"] + pre - reset
                x["eps_a"] = rho * x["eps_a"] + x["e"]
                trace = psi[:, None] * (x["eps_v"] - BETA[:, None] * x["eps_a"])
                # Where a synapse is cut off there is no trace, and what is left of it decays.
                x["e"] = np.where(active, trace, 0.0)
                x["filtered"] = TRACE_DECAY * x["filtered"] + x["e"]
                x["averaged"] = KAPPA_REG * x["averaged"] + (1 - KAPPA_REG) * x["e"]
                added = signal[:, None] * x["filtered"] + factor[:, None] * x["averaged"]
            x["pending"] += np.where(active & self.exists[name], added, 0.0)
            if self.case.updates == "step":
                for i in np.flatnonzero(active[0]):
                    self.update(name, i)

    def update(self, name: str, i: int) -> None:
        """What waits at the synapses of presynaptic neuron i enters their weights."""
        x, w, case = self.of_synapse[name], self.w[name], self.case
        gradient, before = x["pending"][:, i].copy(), w[:, i].copy()
        x["pending"][:, i] = 0
        self.n_updates[name][i] += 1
        if case.adam:
            k = self.k if case.updates == "step" else self.n_updates[name][i]
            x["m"][:, i] = 0.9 * x["m"][:, i] + 0.1 * gradient
            x["s"][:, i] = 0.999 * x["s"][:, i] + 0.001 * gradient**2
            rate = case.eta * np.sqrt(1 - 0.999**k) / (1 - 0.9**k)
            w[:, i] -= rate * x["m"][:, i] / (np.sqrt(x["s"][:, i]) + 1e-8)
        else:
            w[:, i] -= case.eta * gradient
        if name == "w_out" and case.feedback == "adaptive":
            exists = self.exists[name][:, i]
            increment = w[:, i] - before
            self.B[i] = np.where(exists, (1 - FEEDBACK_DECAY) * self.B[i] + increment, self.B[i])
            w[:, i] -= FEEDBACK_DECAY * before

    def apply_pending(self) -> None:
        if self.case.updates == "spike":
            for name in MATRICES:
                for i in np.flatnonzero(self.last[name] >= 0):
                    self.update(name, i)

    @property
    def weights(self) -> dict[str, np.ndarray]:
        symmetric = self.case.feedback == "symmetric"
        return {**self.w, "B": self.w["w_out"].T if symmetric else self.B}


@functools.cache
def data(analog: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of all steps. Nothing is special about where a call ends."""
    rng = np.random.default_rng(7)
    n = N_STEPS * N_CALLS
    # An input that is silent for long, so that what is cut off shows.
    probability = np.array([0.25, 0.25, 0.1, 0.03])
    targets = 1.2 + np.sin(np.arange(n)[:, None] / [9.0, 23.0])
    inputs = rng.random((n, N_IN)) < probability
    if analog:
        inputs = inputs * rng.normal(0.9, 0.4, inputs.shape)
    return inputs, targets / targets.sum(axis=1, keepdims=True)


def trials(first: int, n_steps: int, n_trials: int = 1, analog: bool = False) -> Trials:
    """Trials of `n_steps` from step `first` on, one after the other."""
    x, targets = (
        a[first : first + n_steps * n_trials].reshape(n_trials, n_steps, -1) for a in data(analog)
    )
    return Trials(x, targets, np.arange(n_trials), np.arange(n_trials))


def initial_weights(network: Network) -> dict[str, np.ndarray]:
    weights = network.initial_weights(5)
    scale = {"w_in": 1.2, "w_rec": 0.8, "w_out": 0.6, "B": 1.0}
    weights = {k: w * scale[k] for k, w in all_dense(weights).items()}
    if network.resolved.signals[0].symmetric:
        weights["B"] = weights["w_out"].T.copy()
    return weights


def session_of(
    network: Network,
    device: str,
    n_steps: int = N_STEPS,
    n_trials: int = 1,
    window: int | None = None,
    analog: bool = False,
) -> Session:
    example, weights = trials(0, n_steps, n_trials, analog), initial_weights(network)
    return Session(network, make_program(device), example, window or n_steps, weights)


@pytest.mark.parametrize("name", on_devices(CASES, COMPILED))
def test_simulation_gives_the_same(name, device):
    case = CASES[name]
    network = case.network()
    session = session_of(network, device, window=case.window, analog=case.analog)
    initial = all_dense(session.weights)
    simulation = Simulation(case, network, initial)
    x, targets = data(case.analog)
    n_spikes, largest = 0, 0.0
    for call in range(N_CALLS):
        outcome = session.run(trials(call * N_STEPS, N_STEPS, analog=case.analog), 1)
        steps = range(call * N_STEPS, (call + 1) * N_STEPS)
        spikes, outputs, losses = zip(
            *(simulation.step(x[g], targets[g]) for g in steps), strict=True
        )
        np.testing.assert_array_equal(session.spikes(), spikes)
        np.testing.assert_allclose(outcome.loss[0], sum(losses), rtol=TOLERANCE)
        mean = np.sum(outputs, axis=0) / case.window
        np.testing.assert_allclose(outcome.output[0], mean, rtol=TOLERANCE)
        largest = max(largest, deviation(session.weights, simulation.weights))
        n_spikes += np.sum(spikes)
    session.apply_pending()
    simulation.apply_pending()
    largest = max(largest, deviation(session.weights, simulation.weights))
    changes = {k: deviation({k: session.weights[k]}, {k: initial[k]}) for k in MATRICES}
    assert not dense(session.gradient()["w_rec"]).diagonal().any()
    session.close()
    assert largest < TOLERANCE
    # The comparison means something: neurons spike, and every matrix moves while they do.
    assert n_spikes > 70
    assert min(changes.values()) > 0.01


def going_on(session: Session) -> dict[str, Any]:
    """What a session goes on from."""
    return {k: v for k, v in session.state().items() if k != "n_updates"}


@pytest.mark.usefixtures("users_compiler")
@pytest.mark.parametrize(
    ("name", "shortest"),
    [
        pytest.param("spike-lag-delays", 10, marks=pytest.mark.devices("runtime", "cpp")),
        pytest.param("step-adam-softmax", 1, marks=pytest.mark.devices("cpp")),
        pytest.param(
            *("step-lag-delays-cutoff", 1),
            marks=[pytest.mark.devices("runtime"), pytest.mark.slow],
        ),
    ],
)
def test_calls_of_any_length_give_the_same(name, device, shortest):
    network = CASES[name].network()
    n_steps = N_STEPS * N_CALLS
    whole = session_of(network, device, n_steps)
    whole.run(trials(0, n_steps), 1)
    fired = whole.spikes()
    # One trial by a call, and two by one.
    thirds = session_of(network, device, N_STEPS, N_CALLS - 1)
    thirds.run(trials(0, N_STEPS), 1)
    begun = thirds.state()
    thirds.run(trials(N_STEPS, N_STEPS, N_CALLS - 1), N_CALLS - 1)
    np.testing.assert_array_equal(thirds.spikes(), fired[-N_STEPS:])
    # What another session began, by calls of another length.
    short = session_of(network, device, shortest)
    short.restore(begun)
    for g in range(N_STEPS, n_steps, shortest):
        short.run(trials(g, shortest), 1)
        np.testing.assert_array_equal(short.spikes(), fired[g : g + shortest])
    for session in (thirds, short):
        assert_same_state(going_on(session), going_on(whole))
    for session in (whole, thirds, short):
        session.apply_pending()
    for session in (thirds, short):
        assert_same_state(going_on(session), going_on(whole))
    for session in (whole, thirds, short):
        session.close()


@pytest.mark.devices("runtime", "cpp", slow=())
@pytest.mark.parametrize("name", ["spike-lag-delays", "step-delays", "spike-cutoff-adam"])
def test_a_restored_state_goes_on(name, device):
    network = CASES[name].network()
    one, other = session_of(network, device), session_of(network, device)
    one.run(trials(0, N_STEPS), 1)
    state = one.state()
    # Not from a fresh program: nothing may be left of what it did before.
    for call in (1, 2):
        other.run(trials(call * N_STEPS, N_STEPS), 1)
    other.restore(state)
    for session in (one, other):
        session.run(trials(N_STEPS, N_STEPS), 1)
    assert_same_state(other.state(), one.state())
    assert np.any(dense(one.weights["w_rec"]) != dense(state["w_rec"]))
    for session in (one, other):
        session.close()


@pytest.mark.devices("runtime", "cpp", slow=())
@pytest.mark.parametrize("name", ["spike-lag-delays", "step-adam-softmax"])
def test_an_evaluation_leaves_no_trace(name, device):
    network = CASES[name].network()
    one, other = session_of(network, device), session_of(network, device)
    for session in (one, other):
        session.run(trials(0, N_STEPS), 1)
    before = one.state()
    evaluated = one.run(trials(N_STEPS, N_STEPS), 1, learning=False)
    assert np.sum(one.spikes()) > 10
    assert_same_state(one.state(), before)
    outcomes = [session.run(trials(N_STEPS, N_STEPS), 1) for session in (one, other)]
    assert outcomes[0].loss == outcomes[1].loss != evaluated.loss
    assert_same_state(one.state(), other.state())
    for session in (one, other):
        session.close()


#: Sums gradients up and leaves the weights alone.
_SUM = Optimizer(name="sum", update="total = total + g\nw = w", states=("total",))


@pytest.mark.parametrize("lag", [0, 1])
def test_without_changes_of_weights_all_updates_sum_up_to_the_same_gradient(lag):
    """By steps, by spikes with what waits in the end, and as one trial's by either program."""
    network = replace(Case("step", lag).network(), optimizer=_SUM)
    n_steps = N_STEPS
    totals = {}
    for updates, gradient in [
        *(("step", "online"), ("spike", "online")),
        *(("batch", "online"), ("batch", "factored")),
    ]:
        # In a trial, the traces of the last steps meet no learning signal any more, but the
        # regulariser.
        c_reg = 0.0 if lag else C_REG
        options = {"updates": updates, "gradient": gradient, "c_reg": c_reg}
        session = session_of(replace(network, **options), "runtime", n_steps)
        session.run(trials(0, n_steps), 1)
        if updates == "spike":
            session.apply_pending()
        totals[updates, gradient] = {
            k.removeprefix("total."): w
            for k, w in session.optimizer_states.items()
            # The last step's error waits for the next step where readouts are delayed.
            if not (lag and k == "total.w_out")
        }
        np.fill_diagonal(totals[updates, gradient]["w_rec"], 0.0)
    expected = totals["batch", "factored"]
    for found in totals.values():
        assert deviation(found, expected) < 1e-12


@pytest.mark.parametrize("updates", ["step", "spike"])
def test_a_cutoff_longer_than_the_run_cuts_nothing_off(updates):
    case = Case(updates, 1)
    weights = []
    for cutoff in (None, N_STEPS, 10):
        session = session_of(replace(case, cutoff=cutoff).network(), "runtime")
        session.run(trials(0, N_STEPS), 1)
        session.apply_pending()
        weights.append(dict(session.weights))
    assert_same_state(weights[1], weights[0])
    assert np.any(weights[2]["w_in"] != weights[0]["w_in"])


@pytest.mark.parametrize(
    "neuron",
    [
        *(get_neuron(name) for name in ("lif_exp", "lif_cond", "adex", "stdp_alif")),
    ],
    ids=lambda neuron: neuron.name,
)
def test_traces_that_do_not_decay_by_themselves_refuse_a_cutoff(neuron):
    options = {"n_inputs": 1, "n_outputs": 1, "gradient": "online", "updates": "spike"}
    with pytest.raises(EquationError, match="trace of v\n.*decay by a constant factor"):
        Network.standard(neurons=[(neuron, 2)], trace_cutoff=5 * ms, **options)
    Network.standard(neurons=[(neuron, 2)], **options)


@pytest.mark.parametrize(
    ("cutoff", "delays", "message"),
    [
        (0 * ms, {}, "at least 1 time step"),
        (1.5 * ms, {}, "whole time steps"),
        (3 * Hz, {}, "must be a time"),
        # The trace of the step in which a spike arrives would be cut off, too.
        (1 * ms, {"w_out": 1 * ms}, "2 steps"),
        (4 * ms, {"w_out": 1 * ms, "w_in": 3 * ms}, "5 steps"),
        (3 * ms, {"w_rec": (1 * ms, 4 * ms)}, "4 steps"),
    ],
)
def test_a_cutoff_is_steps_in_which_something_happens(cutoff, delays, message):
    options = {"n_inputs": 1, "n_outputs": 1, "gradient": "online", "neurons": [(LIF, 9)]}
    with pytest.raises(ValueError, match=f"trace_cutoff.*{message}"):
        Network.standard(updates="spike", trace_cutoff=cutoff, delays=delays, **options)
    Network.standard(updates="spike", trace_cutoff=5 * ms, delays=delays, **options)


def test_a_cutoff_is_for_continuous_operation():
    options = {"n_inputs": 1, "n_outputs": 1, "gradient": "online", "neurons": [(LIF, 2)]}
    with pytest.raises(ValueError, match="trace_cutoff is for updates"):
        Network.standard(trace_cutoff=5 * ms, **options)
