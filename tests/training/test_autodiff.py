"""The derived learning rule against automatic differentiation of an independent simulation.

The simulation is written in JAX from the papers' equations (Bellec et al. 2020, Nat. Commun.
11:3625, eqs. 6-11; those of the library's other neurons) and shares nothing with the package but
the values of parameters. Its spike is a step whose derivative is the surrogate. Where the learning
rule drops a path, the simulation stops the gradient on that path:

*membrane reset*: a neuron's spike as its own reset subtracts it (kept with ``detach=()``);
*transmission*: a spike as the other neurons receive it (kept by the total derivative).

A spike into the neuron's own slow states is always differentiated.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brian2 import Hz, StateMonitor, second
from brian2.codegen.runtime.numpy_rt import NumpyCodeObject
from scipy.linalg import expm

from eprop_brian.devices.cpp import CppProgram
from eprop_brian.devices.runtime import RuntimeProgram
from eprop_brian.equations import ALIF, GRADIENT_DESCENT, LEAKY, LIF, Neuron, get_neuron
from eprop_brian.network.rewiring import MATRICES
from eprop_brian.network.spec import Network
from eprop_brian.symbolic.parameters import resolve_parameters
from eprop_brian.tasks.base import Trials
from eprop_brian.training.session import Session

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

#: Largest deviation from automatic differentiation, relative to the largest entry of a matrix.
TOLERANCE = 1e-9
#: Largest deviation of the two gradient programs from each other, likewise.
PROGRAM_TOLERANCE = 1e-12
#: Fewest spikes of a batch for a comparison to mean something.
MANY_SPIKES = 100

DT = 1e-3
N_INPUTS, N_RECURRENT, N_OUTPUTS = 4, 6, 2
N_TRIALS, N_STEPS, LEARNING_WINDOW = 2, 80, 50
TAU_OUT = 15e-3
KAPPA = np.exp(-DT / TAU_OUT)
C_REG, F_TARGET = 40.0, 20.0
T_REF_STEPS = 3
DEVICES = {"runtime": RuntimeProgram, "cpp": CppProgram}

# --- neurons, once as equation strings ------------------------------------------------------------

TAU_M, TAU_A, V_TH, BETA, GAMMA = 20e-3, 60e-3, 0.6, 0.35, 0.3
#: One value per neuron, for a population whose neurons differ.
SEVERAL_TAU_M = np.array([10, 15, 20, 25, 30, 35]) * 1e-3
SEVERAL_TAU_A = np.array([100, 80, 60, 50, 40, 30]) * 1e-3
SEVERAL_BETA = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
TAU_S, TAU_B, BETA_B = 5e-3, 40e-3, 0.5

_COMMON = {"tau_m": TAU_M * second, "v_th": V_TH, "gamma": GAMMA, "t_ref": "3 ms"}
_LIF = LIF.with_parameters(**_COMMON)
_ALIF = ALIF.with_parameters(**_COMMON, tau_a=TAU_A * second, beta=BETA)

#: Its adaptation acts two steps late, by statements that copy a state before it is overwritten.
_LATE_ALIF = replace(
    _ALIF,
    name="late_alif",
    update="v = alpha*v + zeta*I - v_th*z\na_2 = a_1\na_1 = a\na = rho*a + z",
    threshold="v >= v_th + beta*a_2",
    surrogate="gamma/v_th*clip(1 - abs(v - v_th - beta*a_2)/v_th, 0, 1)",
)

#: Neither LIF nor ALIF: an exponential synaptic current and two slow variables, one that counts the
#: neuron's spikes and one that follows its membrane.
_CURRENT_BASED = Neuron(
    name="current_based",
    model="""
    dv/dt = (I_syn - v)/tau_m : 1
    dI_syn/dt = -I_syn/tau_s : 1
    da/dt = -a/tau_a : 1
    db/dt = (v - b)/tau_b : 1
    """,
    method="exact",
    on_pre="I_syn += w",
    reset="v -= v_th; a += 1",
    threshold="v > v_th + beta*a + beta_b*b",
    surrogate="gamma/v_th/(1 + abs(v - v_th - beta*a - beta_b*b)/v_th)**2",
    refractory="t_ref",
    parameters={
        **_COMMON,
        "tau_s": TAU_S * second,
        "tau_a": TAU_A * second,
        "tau_b": TAU_B * second,
        "beta": BETA,
        "beta_b": BETA_B,
    },
)

#: Izhikevich 2003 by the Euler method: its derivative dv[t]/dv[t-1] follows the membrane.
_IZHIKEVICH = Neuron(
    name="izhikevich",
    update="""
    v_reset = v + (v_c - v)*z
    v = v_reset + step_ms*(0.04*v_reset**2 + 5*v_reset + 140 - u + I)
    u = u + step_ms*u_rate*(u_slope*v - u) + u_jump*z
    """,
    threshold="v >= v_peak",
    surrogate="gamma*exp(-abs(v - v_peak)/width)",
    refractory="t_ref",
    parameters={
        "v_c": -65.0,
        "v_peak": 30.0,
        "u_rate": 0.02,
        "u_slope": 0.2,
        "u_jump": 8.0,
        "step_ms": 1.0,
        "gamma": 0.02,
        "width": 40.0,
        "t_ref": "3 ms",
    },
    initial={"v": "v_c", "u": "u_slope*v_c"},
    detach=("v_reset",),
)

#: The library's neurons with the refractory time of the others where they have one.
LIBRARY = {
    name: get_neuron(name).with_parameters(**changed)
    for name, changed in {
        "lif_hard_reset": {"t_ref": "3 ms", "v_reset": -0.2},
        "alif_hard_reset": {"t_ref": "3 ms", "v_reset": 0.1, "tau_a": TAU_A * second, "beta": BETA},
        "stdp_lif": {"dt_ref": "3 ms"},
        "stdp_alif": {"dt_ref": "3 ms", "tau_a": TAU_A * second, "beta": BETA},
        "lif_exp": {"t_ref": "3 ms"},
        "lif_alpha": {"t_ref": "3 ms"},
        "lif_cond": {"t_ref": "3 ms"},
        "adex": {},
        "izhikevich": {"tau_s": "5 ms"},
        "glif": {"t_ref": "3 ms"},
    }.items()
}


def numbers_of(name: str) -> dict[str, float]:
    """The parameters of a library neuron in SI units."""
    return resolve_parameters(LIBRARY[name].parameters, name)[0]


# --- and once more by hand, for automatic differentiation -----------------------------------------


class Dynamics(NamedTuple):
    """A neuron by hand.

    Attributes
    ----------
    initial : tuple of float
        States at the start of a trial.
    step : callable
        ``step(h, current, z_reset, z)`` gives h[t] from h[t-1], the summed input of step t, and
        the spike z[t-1] twice: as the membrane's reset sees it, and as slow states see it.
    margin, surrogate : callable
        Of h[t]: membrane minus threshold, and dz/dmargin.
    refractory_surrogate : float
        dz/dmargin while refractory.
    refractory_steps : int
    """

    initial: tuple[float, ...]
    step: Callable
    margin: Callable
    surrogate: Callable
    refractory_surrogate: float = 0.0
    refractory_steps: int = T_REF_STEPS


def bump(distance, height, width):
    """The piecewise linear surrogate of Bellec et al. 2020."""
    return height * jnp.maximum(0.0, 1 - jnp.abs(distance) / width)


def adaptive_lif(tau_m, tau_a, beta, scale_input=False) -> Dynamics:
    """Bellec et al. 2020, eqs. 6-10; beta = 0 is LIF. `scale_input`: zeta = 1 - alpha, else 1."""
    alpha, rho = np.exp(-DT / tau_m), np.exp(-DT / tau_a)
    zeta = 1 - alpha if scale_input else 1.0

    def step(h, current, z_reset, z):
        v, a = h
        return alpha * v + zeta * current - V_TH * z_reset, rho * a + z

    def margin(h):
        v, a = h
        return v - (V_TH + beta * a)

    def surrogate(h):
        return GAMMA / V_TH * jnp.maximum(0.0, 1 - jnp.abs(margin(h) / V_TH))

    return Dynamics((0.0, 0.0), step, margin, surrogate)


def late_adaptive_lif() -> Dynamics:
    """ALIF with the adaptation of two steps before in its threshold."""
    now = adaptive_lif(TAU_M, TAU_A, BETA)

    def step(h, current, z_reset, z):
        v, a, a_1, _ = h
        return *now.step((v, a), current, z_reset, z), a, a_1

    def late(h):
        v, _, _, a_2 = h
        return v, a_2

    return Dynamics(
        (0.0,) * 4, step, lambda h: now.margin(late(h)), lambda h: now.surrogate(late(h))
    )


def current_based(method: str) -> Dynamics:
    """One step of the current-based neuron: the spikes of a step act, then the states decay."""
    rates = np.zeros((4, 4))
    rates[0, 0], rates[0, 1] = -1 / TAU_M, 1 / TAU_M
    rates[1, 1], rates[2, 2] = -1 / TAU_S, -1 / TAU_A
    rates[3, 0], rates[3, 3] = 1 / TAU_B, -1 / TAU_B
    propagator = expm(rates * DT)
    alpha, sigma, rho, eta = np.exp(-DT / np.array([TAU_M, TAU_S, TAU_A, TAU_B]))

    def step(h, current, z_reset, z):
        v, i_syn, a, b = h
        v, i_syn, a = v - V_TH * z_reset, i_syn + current, a + z
        if method == "exact":
            return tuple(propagator @ jnp.stack([v, i_syn, a, b]))
        # Exponential Euler: the other states are taken to be constant during the step.
        return (
            alpha * v + (1 - alpha) * i_syn,
            sigma * i_syn,
            rho * a,
            eta * b + (1 - eta) * v,
        )

    def margin(h):
        v, _, a, b = h
        return v - (V_TH + BETA * a + BETA_B * b)

    def surrogate(h):
        return GAMMA / V_TH / (1 + jnp.abs(margin(h)) / V_TH) ** 2

    return Dynamics((0.0,) * 4, step, margin, surrogate)


def izhikevich() -> Dynamics:
    """Izhikevich 2003, eqs. 1-3, forward Euler at 1 ms, reset before the step."""

    def step(h, current, z_reset, z):
        v, u = h
        v = v + (-65.0 - v) * z_reset
        v = v + 0.04 * v**2 + 5 * v + 140 - u + current
        return v, u + 0.02 * (0.2 * v - u) + 8.0 * z

    def margin(h):
        return h[0] - 30.0

    def surrogate(h):
        return 0.02 * jnp.exp(-jnp.abs(margin(h)) / 40.0)

    return Dynamics((-65.0, 0.2 * -65.0), step, margin, surrogate)


def hard_reset(name: str) -> Dynamics:
    """NEST's iaf_psc_delta: after a spike the membrane is at v_reset for two steps more.

    Its derivative is that of a plain filter of the inputs. Without beta: no `a`.
    """
    p = numbers_of(name)
    alpha, rho = np.exp(-DT / p["tau_m"]), np.exp(-DT / p.get("tau_a", 1.0))

    def step(h, current, z_reset, z):
        v, a, z_2 = h
        z_before = jax.lax.stop_gradient(z)
        from_reset = alpha * jnp.where(z_before > 0, p["v_reset"], v) + current
        value = jnp.where(z_before + z_2 > 0, p["v_reset"], from_reset)
        filtered = alpha * v + current
        return filtered + jax.lax.stop_gradient(value - filtered), rho * a + z, z_before

    def margin(h):
        return h[0] - p["v_th"] - p.get("beta", 0.0) * h[1]

    return Dynamics(
        (0.0,) * 3, step, margin, lambda h: bump(margin(h), p["gamma"] / p["v_th"], p["v_th"])
    )


def spike_timing_lif(name: str) -> Dynamics:
    """Traub et al. 2020: dv[t]/dv[t-1] = alpha (1 - z[t-1] - z[t-t_ref]); without beta: no `a`."""
    p = numbers_of(name)
    alpha, height = np.exp(-DT / p["tau_m"]), p["gamma"] / p["v_th"]
    rho, beta = np.exp(-DT / p.get("tau_a", 1.0)), p.get("beta", 0.0)

    def step(h, current, z_reset, z):
        v, a, z_2, z_3 = h
        z_before = jax.lax.stop_gradient(z)
        return alpha * v * (1 - z_reset - z_3) + current, rho * a + z, z_before, z_2

    def margin(h):
        return h[0] - p["v_th"] - beta * h[1]

    return Dynamics(
        (0.0,) * 4,
        step,
        margin,
        lambda h: bump(margin(h), height, p["v_th"]),
        refractory_surrogate=-height,
    )


def exponential_current(alpha_function: bool) -> Dynamics:
    """Leaky membrane with a current that jumps, or that peaks at i_0 after tau_s."""
    p = numbers_of("lif_alpha" if alpha_function else "lif_exp")
    distance = p["v_th"] - p["E_L"]
    rates = np.zeros((3, 3))  # of membrane, current, and what drives an alpha function
    rates[0, 0], rates[0, 1] = -1 / p["tau_m"], p["R"] / p["tau_m"]
    rates[1, 1], rates[1, 2], rates[2, 2] = -1 / p["tau_s"], 1 / p["tau_s"], -1 / p["tau_s"]
    propagator = expm(rates * DT)
    jump = np.array([0, np.e * p["i_0"]] if alpha_function else [p["i_0"], 0])

    def step(h, current, z_reset, z):
        v, i_syn, rise = h
        u = (v - p["E_L"]) * (1 - z_reset)
        u, i_syn, rise = propagator @ jnp.stack(
            [u, i_syn + jump[0] * current, rise + jump[1] * current]
        )
        return p["E_L"] + u, i_syn, rise

    def margin(h):
        return h[0] - p["v_th"]

    return Dynamics(
        (p["E_L"], 0.0, 0.0),
        step,
        margin,
        lambda h: bump(margin(h), p["gamma"] / distance, distance),
    )


def exponential_conductance() -> Dynamics:
    """C dv/dt = g_L (E_L - v) + g_syn (E_e - v) by the Euler method."""
    p = numbers_of("lif_cond")
    distance = p["v_th"] - p["E_L"]

    def step(h, current, z_reset, z):
        v, g = h
        v, g = v * (1 - z_reset) + p["E_L"] * z_reset, g + p["g_0"] * current
        slope = (p["g_L"] * (p["E_L"] - v) + g * (p["E_e"] - v)) / p["C"]
        return v + DT * slope, g * (1 - DT / p["tau_s"])

    def margin(h):
        return h[0] - p["v_th"]

    return Dynamics(
        (p["E_L"], 0.0), step, margin, lambda h: bump(margin(h), p["gamma"] / distance, distance)
    )


def adaptive_exponential() -> Dynamics:
    """Brette and Gerstner 2005, eqs. 2-3, by the Euler method."""
    p = numbers_of("adex")
    distance = p["V_T"] - p["E_L"]

    def step(h, current, z_reset, z):
        v, w, i_syn = h
        v = v * (1 - z_reset) + p["v_r"] * z_reset
        w, i_syn = w + p["b"] * z, i_syn + p["i_0"] * current
        upstroke = p["g_L"] * p["Delta_T"] * jnp.exp((v - p["V_T"]) / p["Delta_T"])
        slope = (-p["g_L"] * (v - p["E_L"]) + upstroke - w + i_syn) / p["C"]
        w_slope = (p["a"] * (v - p["E_L"]) - w) / p["tau_w"]
        return v + DT * slope, w + DT * w_slope, i_syn * (1 - DT / p["tau_s"])

    return Dynamics(
        (p["E_L"], 0.0, 0.0),
        step,
        lambda h: h[0] - p["v_peak"],
        lambda h: bump(h[0] - p["V_T"], p["gamma"] / distance, distance),
        refractory_steps=0,
    )


def izhikevich_by_half_steps() -> Dynamics:
    """Izhikevich 2003, eqs. 1-3, two half steps of v to one of u, with an exponential current."""
    p = numbers_of("izhikevich")

    def step(h, current, z_reset, z):
        v, u, i_syn = h
        i_syn = np.exp(-DT / p["tau_s"]) * i_syn + p["i_0"] * current
        v, u = v * (1 - z_reset) + p["v_c"] * z_reset, u + p["d"] * z
        u_next = u + p["a"] * (p["b"] * v - u)
        for _ in range(2):
            v = v + (0.04 * v**2 + 5 * v + 140 - u + i_syn) / 2
        return v, u_next, i_syn

    return Dynamics(
        (p["v_c"], p["b"] * p["v_c"], 0.0),
        step,
        lambda h: h[0] - p["v_peak"],
        lambda h: bump(h[0] - p["v_t"], p["gamma"] / p["width"], p["width"]),
        refractory_steps=0,
    )


def after_spike_currents() -> Dynamics:
    """Teeter et al. 2018, GLIF3.

    Membrane and after-spike currents stand still in the two steps after a spike's.
    """
    p = numbers_of("glif")
    distance = p["v_th"] - p["E_L"]
    rates = np.diag([-p["g_L"] / p["C"], -p["k_1"], -p["k_2"], -1 / p["tau_s"]])
    rates[0, 1:] = 1 / p["C"]
    propagator = expm(rates * DT)
    kept_1, kept_2 = (np.exp(-p[k] * p["t_ref"]) for k in ("k_1", "k_2"))

    def step(h, current, z_reset, z):
        v, i_1, i_2, i_syn, z_2 = h
        z_before = jax.lax.stop_gradient(z)
        u = (v - p["E_L"]) * (1 - z_reset)
        i_1 = i_1 + ((kept_1 - 1) * i_1 + p["a_1"]) * z
        i_2 = i_2 + ((kept_2 - 1) * i_2 + p["a_2"]) * z
        still = jnp.stack([u, i_1, i_2, i_syn + p["i_0"] * current])
        moved = propagator @ still
        u, i_1, i_2 = jnp.where(z_before + z_2 > 0, still, moved)[:3]
        return p["E_L"] + u, i_1, i_2, moved[3], z_before

    def margin(h):
        return h[0] - p["v_th"]

    return Dynamics(
        (p["E_L"], 0.0, 0.0, 0.0, 0.0),
        step,
        margin,
        lambda h: bump(margin(h), p["gamma"] / distance, distance),
    )


class Model(NamedTuple):
    """A population as the package sees it, as the simulation sees it, and the scale of its inputs.

    Attributes
    ----------
    neurons : tuple of (Neuron, int)
    dynamics : Dynamics
    input_scale, recurrent_scale : float
        Scale of the initial weights, such that the neurons fire often.
    """

    neurons: tuple[tuple[Neuron, int], ...]
    dynamics: Dynamics
    input_scale: float = 0.5
    recurrent_scale: float = 0.3


_N_ALIF = N_RECURRENT // 2
_SEVERAL_ALIF = _ALIF.with_parameters(
    tau_m=SEVERAL_TAU_M * second,
    tau_a=SEVERAL_TAU_A * second,
    beta=SEVERAL_BETA,
    zeta="1 - alpha",
)
MODELS = {
    "lif": Model(((_LIF, N_RECURRENT),), adaptive_lif(TAU_M, TAU_A, 0.0)),
    "alif": Model(((_ALIF, N_RECURRENT),), adaptive_lif(TAU_M, TAU_A, BETA)),
    "lif_and_alif": Model(
        ((_LIF, N_RECURRENT - _N_ALIF), (_ALIF, _N_ALIF)),
        adaptive_lif(TAU_M, TAU_A, np.repeat([0.0, BETA], [N_RECURRENT - _N_ALIF, _N_ALIF])),
    ),
    "several_alif": Model(
        ((_SEVERAL_ALIF, N_RECURRENT),),
        adaptive_lif(SEVERAL_TAU_M, SEVERAL_TAU_A, SEVERAL_BETA, scale_input=True),
        input_scale=6.0,
        recurrent_scale=4.0,
    ),
    "late_alif": Model(((_LATE_ALIF, N_RECURRENT),), late_adaptive_lif()),
    "current_based": Model(((_CURRENT_BASED, N_RECURRENT),), current_based("exact"), 2.5, 1.0),
    "current_based_exponential_euler": Model(
        ((replace(_CURRENT_BASED, method="exponential_euler"), N_RECURRENT),),
        current_based("exponential_euler"),
        input_scale=2.5,
        recurrent_scale=1.0,
    ),
    "izhikevich_by_euler": Model(((_IZHIKEVICH, N_RECURRENT),), izhikevich(), 40.0, 10.0),
    **{
        name: Model(((LIBRARY[name], N_RECURRENT),), dynamics, input_scale, recurrent_scale)
        for name, dynamics, input_scale, recurrent_scale in (
            ("lif_hard_reset", hard_reset("lif_hard_reset"), 0.5, 0.3),
            ("alif_hard_reset", hard_reset("alif_hard_reset"), 0.7, 0.3),
            ("stdp_lif", spike_timing_lif("stdp_lif"), 0.5, 0.3),
            ("stdp_alif", spike_timing_lif("stdp_alif"), 0.7, 0.3),
            ("lif_exp", exponential_current(alpha_function=False), 0.5, 0.3),
            ("lif_alpha", exponential_current(alpha_function=True), 0.5, 0.3),
            ("lif_cond", exponential_conductance(), 0.5, 0.3),
            ("adex", adaptive_exponential(), 0.7, 0.3),
            ("izhikevich", izhikevich_by_half_steps(), 2.0, 0.5),
            ("glif", after_spike_currents(), 1.0, 0.5),
        )
    },
}


@dataclass(frozen=True)
class Setting:
    """What is trained, and on which objective."""

    model: str
    loss: str = "squared_error"
    zeta_out: str = "1"
    c_reg: float = C_REG
    average_gradient: bool = False
    keep_reset: bool = False

    def numbers(self) -> dict[str, float]:
        """The objective's numbers for the simulation."""
        return {
            "softmax": float(self.loss == "softmax_cross_entropy"),
            "zeta_out": {"1": 1.0, "1 - kappa": 1 - KAPPA}[self.zeta_out],
            "c_reg": self.c_reg,
            "divisor": float(LEARNING_WINDOW if self.average_gradient else 1),
        }


# --- automatic differentiation --------------------------------------------------------------------


@jax.custom_jvp
def spike(margin, slope, active):
    """1 at or above threshold if `active`, else 0; its derivative is `slope`."""
    return (margin >= 0) * active


@spike.defjvp
def _spike_jvp(primals, tangents):
    _, slope, _ = primals
    return spike(*primals), slope * tangents[0]


def objective(weights, perturbation, spikes, targets, numbers, paths, *, model: str):
    """Mean over the trials of the error plus the firing-rate regulariser.

    Parameters
    ----------
    weights : dict of str to array
    perturbation : array, shape (n_trials, n_steps, n_recurrent)
        Added to every spike as it leaves its neuron: its gradient is dE/dz.
    spikes, targets : array, shape (n_trials, n_steps, n_inputs) and (n_trials, n_steps, n_outputs)
    numbers : dict of str to float
        What `Setting.numbers` gives.
    paths : dict of str to float
        1 if the path of a spike is differentiated, else 0: into its neuron's own slow states
        (``own``), into its neuron's reset (``reset``), into the other neurons (``transmission``).
        All three act in the simulation itself.
    model : str

    Returns
    -------
    float
    array, shape (n_trials, n_steps, n_recurrent)
        The spikes.
    """
    neuron = MODELS[model].dynamics
    w_rec = weights["w_rec"] * (1 - np.eye(N_RECURRENT))

    def follow(z, path):
        return paths[path] * z + (1 - paths[path]) * jax.lax.stop_gradient(z)

    def step(carry, now):
        h, z, sent, refractory, y = carry
        x, extra, target, in_window = now
        refractory = jnp.maximum(refractory - 1, 0)
        current = weights["w_in"] @ x + w_rec @ follow(sent, "transmission")
        h = neuron.step(h, current, follow(z, "reset"), follow(z, "own"))
        active = (refractory == 0).astype(float)
        slope = active * neuron.surrogate(h) + (1 - active) * neuron.refractory_surrogate
        z = spike(neuron.margin(h), jax.lax.stop_gradient(slope), active)
        refractory = jnp.where(z > 0, neuron.refractory_steps, refractory)
        sent = z + extra
        y = KAPPA * y + numbers["zeta_out"] * (weights["w_out"] @ sent)
        squared_error = jnp.sum((y - target) ** 2) / 2
        cross_entropy = -jnp.sum(target * jax.nn.log_softmax(y))
        error = jnp.where(numbers["softmax"], cross_entropy, squared_error)
        return (h, z, sent, refractory, y), (in_window * error, z, sent)

    def trial(extra, x, target):
        silent = jnp.zeros(N_RECURRENT)
        initial = tuple(silent + value for value in neuron.initial)
        in_window = jnp.arange(N_STEPS) >= N_STEPS - LEARNING_WINDOW
        _, (error, z, sent) = jax.lax.scan(
            step,
            (initial, silent, silent, silent, jnp.zeros(N_OUTPUTS)),
            (x, extra, target, in_window),
        )
        rate = sent.mean(axis=0)
        regularisation = numbers["c_reg"] / 2 * jnp.sum((rate - F_TARGET * DT) ** 2)
        return (error.sum() + regularisation) / numbers["divisor"], z

    errors, z = jax.vmap(trial)(perturbation, spikes, targets)
    return errors.mean(), z


_gradient = jax.jit(jax.grad(objective, argnums=(0, 1), has_aux=True), static_argnames=["model"])


class Derivative(NamedTuple):
    """Gradient by the weights, dE/dz of the mean error, and the spikes."""

    gradient: dict[str, np.ndarray]
    signal: np.ndarray
    spikes: np.ndarray


@functools.cache
def differentiate(setting: Setting, *paths: str) -> Derivative:
    """Automatic derivative of the objective along `paths` (see `objective`)."""
    weights, spikes, targets = data(setting)
    (gradient, signal), z = _gradient(
        {name: weights[name] for name in MATRICES},
        np.zeros((N_TRIALS, N_STEPS, N_RECURRENT)),
        spikes.astype(float),
        targets,
        setting.numbers(),
        {path: float(path in paths) for path in ("own", "reset", "transmission")},
        model=setting.model,
    )
    return Derivative(
        {name: np.asarray(g) for name, g in gradient.items()}, np.asarray(signal), np.asarray(z)
    )


def partial(setting: Setting) -> Derivative:
    """With the partial derivative as the learning signal: spikes stop at other neurons."""
    return differentiate(setting, "own", *(["reset"] if setting.keep_reset else []))


def total(setting: Setting) -> Derivative:
    """With the total derivative as the learning signal: backpropagation through time."""
    return differentiate(setting, "own", "transmission", *(["reset"] if setting.keep_reset else []))


# --- the package ----------------------------------------------------------------------------------


def data(setting: Setting) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Weights, input spikes and targets."""
    rng = np.random.default_rng(7)
    model = MODELS[setting.model]
    w_in = rng.normal(0.6, 0.6, (N_RECURRENT, N_INPUTS)) * model.input_scale
    w_rec = rng.normal(0.2, 1.0, (N_RECURRENT, N_RECURRENT)) * model.recurrent_scale
    np.fill_diagonal(w_rec, 0.0)
    w_out = rng.normal(size=(N_OUTPUTS, N_RECURRENT)) / np.sqrt(N_RECURRENT)
    weights = {"w_in": w_in, "w_rec": w_rec, "w_out": w_out, "B": w_out.T}
    spikes = rng.random((N_TRIALS, N_STEPS, N_INPUTS)) < 0.3
    if setting.loss == "squared_error":
        targets = rng.normal(size=(N_TRIALS, N_STEPS, N_OUTPUTS))
    else:
        targets = np.eye(N_OUTPUTS)[rng.integers(N_OUTPUTS, size=(N_TRIALS, N_STEPS))]
    return weights, spikes, targets


class Run(NamedTuple):
    """What the package made of a batch.

    Attributes
    ----------
    gradient : dict of str to array
    spikes : array, shape (n_steps, n_recurrent)
        Of the last trial.
    traces : dict of str to array, shape (n_trials, n_steps, n_recurrent, n_pre)
        Eligibility traces of ``w_in`` and ``w_rec``; empty unless ``online`` ran on ``runtime``.
    """

    gradient: dict[str, np.ndarray]
    spikes: np.ndarray
    traces: dict[str, np.ndarray]


@functools.cache
def run(setting: Setting, program: str, device: str = "runtime") -> Run:
    """Run one batch in the package."""
    weights, spikes, targets = data(setting)
    neurons = MODELS[setting.model].neurons
    if setting.keep_reset:
        neurons = tuple((replace(neuron, detach=()), size) for neuron, size in neurons)
    network = Network(
        N_INPUTS,
        N_OUTPUTS,
        neurons,
        readout=LEAKY.with_parameters(tau_out=TAU_OUT * second, zeta_out=setting.zeta_out),
        loss=setting.loss,
        optimizer=GRADIENT_DESCENT,
        gradient=program,
        c_reg=setting.c_reg,
        f_target=F_TARGET * Hz,
        average_gradient=setting.average_gradient,
        dt=DT * second,
    )
    each = np.arange(N_TRIALS)
    trials = Trials(inputs=spikes, targets=targets, pattern=each, target=each)
    session = Session(network, DEVICES[device], trials, LEARNING_WINDOW, weights)
    built = session.program.built
    monitors = {}
    if program == "online" and device == "runtime":
        monitors = {
            p.name: StateMonitor(
                p.group,
                "eligibility_trace",
                record=True,
                when="end",
                clock=p.group.clock,
                codeobj_class=NumpyCodeObject,
            )
            for p in built.projections
            if p.matrix != "w_out"
        }
        built.brian2_network.add(*monitors.values())
    session.run(trials, N_TRIALS)

    traces = {}
    for p in built.projections:
        if p.name in monitors:
            shape = (N_TRIALS, N_STEPS, *weights[p.matrix].shape)
            trace = monitors[p.name].eligibility_trace.T
            trace = trace.reshape(N_TRIALS, N_STEPS, p.n_pre, p.n_post).swapaxes(2, 3)
            matrix = traces.setdefault(p.matrix, np.zeros(shape))
            matrix[:, :, p.target_slice, p.source_slice] = trace
    return Run(session.gradient(), session.spikes(), traces)


def deviation(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> float:
    """Largest difference relative to the largest entry, the worst of the matrices; nan stays."""
    return np.max([np.abs(found[m] - wanted[m]).max() / np.abs(wanted[m]).max() for m in found])


def from_traces(signal: np.ndarray, traces: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The gradient sum_t L_j[t] e_ji[t], without autapses."""
    gradient = {m: np.einsum("btj,btji->ji", signal, e) for m, e in traces.items()}
    np.fill_diagonal(gradient["w_rec"], 0.0)
    return gradient


def assert_same_spikes(found: Run, wanted: Derivative) -> None:
    """The same spikes in the same steps of the last trial, and many of them in the batch."""
    np.testing.assert_array_equal(found.spikes, wanted.spikes[-1])
    assert wanted.spikes.sum() > MANY_SPIKES


# --- tests ----------------------------------------------------------------------------------------

OBJECTIVES = [
    Setting(model, loss, zeta_out)
    for model in ("lif", "alif")
    for loss in ("squared_error", "softmax_cross_entropy")
    for zeta_out in ("1", "1 - kappa")
]
OBJECTIVES += [Setting(m, "softmax_cross_entropy") for m in MODELS if m not in ("lif", "alif")]
EVERY_MODEL = [Setting(model) for model in MODELS]
#: Models to compile; the code of a population is the same whether others are beside it or not.
COMPILED = ("lif_and_alif", "current_based", "izhikevich_by_euler", *LIBRARY)
KEPT_RESET = [
    Setting(model, keep_reset=True)
    for model in ("lif", "alif", "current_based", "stdp_lif", "lif_exp", "adex", "glif")
]
#: Models of which no state but the membrane sees the neuron's own spike.
_PLAIN = ("lif", "lif_hard_reset", "stdp_lif", "lif_exp", "lif_alpha", "lif_cond")
ADAPTIVE = [m for m in MODELS if m not in _PLAIN]


def named(setting: Setting) -> str:
    """A test's name from what its setting changes."""
    return "-".join(str(value) for value in (setting.model, setting.loss, setting.zeta_out))


@pytest.mark.parametrize("setting", OBJECTIVES, ids=named)
def test_gradient_is_the_derivative_with_spikes_stopped_at_other_neurons(setting):
    wanted = partial(setting)
    found = run(setting, "factored")
    assert_same_spikes(found, wanted)
    assert deviation(found.gradient, wanted.gradient) <= TOLERANCE


@pytest.mark.parametrize("setting", EVERY_MODEL, ids=named)
def test_traces_with_the_total_derivative_are_backpropagation_through_time(setting):
    wanted = total(setting)
    found = run(setting, "online")
    assert_same_spikes(found, wanted)
    gradient = from_traces(wanted.signal, found.traces)
    assert deviation(gradient, wanted.gradient) <= TOLERANCE
    # What e-prop leaves out is no trifle, so the two tests hold different things.
    assert deviation(gradient, partial(setting).gradient) > 0.1


@pytest.mark.parametrize("setting", KEPT_RESET, ids=named)
def test_reset_can_be_differentiated(setting):
    wanted = partial(setting)
    assert deviation(run(setting, "factored").gradient, wanted.gradient) <= TOLERANCE
    backpropagation = total(setting)
    gradient = from_traces(backpropagation.signal, run(setting, "online").traces)
    assert deviation(gradient, backpropagation.gradient) <= TOLERANCE
    detached = partial(replace(setting, keep_reset=False))
    assert deviation(wanted.gradient, detached.gradient) > 0.1


@pytest.mark.parametrize("program", ["factored", "online"])
def test_average_over_the_learning_window_divides_error_and_regulariser(program):
    setting = Setting("alif", average_gradient=True)
    assert deviation(run(setting, program).gradient, partial(setting).gradient) <= TOLERANCE


@pytest.mark.parametrize("change", [{"c_reg": 0.0}, {"zeta_out": "1 - kappa"}], ids=str)
def test_terms_of_the_objective_matter(change):
    """Else the tests above could not see them."""
    setting = Setting("alif")
    changed = partial(replace(setting, **change))
    assert deviation(changed.gradient, partial(setting).gradient) > 1e-3


@pytest.mark.parametrize("model", ADAPTIVE)
def test_own_spike_in_slow_states_matters(model):
    setting = Setting(model)
    assert deviation(differentiate(setting).gradient, partial(setting).gradient) > 1e-3


@pytest.mark.parametrize("setting", EVERY_MODEL, ids=named)
def test_programs_agree(setting):
    factored, online = run(setting, "factored"), run(setting, "online")
    assert deviation(factored.gradient, online.gradient) <= PROGRAM_TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("model", COMPILED)
def test_compiled_programs_agree_with_each_other_and_with_automatic_differentiation(model):
    setting = Setting(model)
    wanted = partial(setting)
    factored, online = run(setting, "factored", "cpp"), run(setting, "online", "cpp")
    assert_same_spikes(factored, wanted)
    assert_same_spikes(online, wanted)
    assert deviation(factored.gradient, online.gradient) <= PROGRAM_TOLERANCE
    assert deviation(factored.gradient, wanted.gradient) <= TOLERANCE
