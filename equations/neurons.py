"""The library's spiking neurons.

Every neuron has a scale by which the weights of its inputs are multiplied (``zeta``, ``i_0``,
``g_0``), so that weights drawn from N(0, 1)/sqrt(n_inputs) make its membrane fluctuate by about the
distance from rest to threshold when a twentieth of the inputs spikes in a step of 1 ms. A
surrogate's height is ``gamma`` over that distance.
"""

from __future__ import annotations

from eprop_brian.base import plugins
from eprop_brian.base.suggestions import unknown
from eprop_brian.equations.neuron import Neuron
from eprop_brian.equations.published import PUBLISHED
from eprop_brian.equations.surrogates import surrogate

__all__ = [
    "ADEX",
    "ALIF",
    "ALIF_HARD_RESET",
    "GLIF",
    "IZHIKEVICH",
    "LIF",
    "LIF_ALPHA",
    "LIF_COND",
    "LIF_EXP",
    "LIF_HARD_RESET",
    "NEURONS",
    "STDP_ALIF",
    "STDP_LIF",
    "Neuron",
    "get_neuron",
]

_BELLEC_2020 = "Bellec et al. 2020, Nat. Commun. 11:3625"

LIF = Neuron(
    name="lif",
    update="v = alpha*v + zeta*I - v_th*z",
    threshold="v >= v_th",
    surrogate=surrogate("piecewise_linear", "v - v_th", height="gamma/v_th", width="v_th"),
    refractory="t_ref",
    parameters={"tau_m": "20 ms", "v_th": 0.6, "t_ref": "5 ms", "gamma": 0.3},
    constants={"alpha": "exp(-dt/tau_m)", "zeta": "1"},
    source=f"{_BELLEC_2020}, eqs. 6-7",
)

ALIF = Neuron(
    name="alif",
    update="v = alpha*v + zeta*I - v_th*z\na = rho*a + z",
    threshold="v >= v_th + beta*a",
    surrogate=surrogate("piecewise_linear", "v - v_th - beta*a", height="gamma/v_th", width="v_th"),
    refractory="t_ref",
    parameters={
        "tau_m": "20 ms",
        "tau_a": "2000 ms",
        "v_th": 0.6,
        "beta": 0.0174,
        "t_ref": "5 ms",
        "gamma": 0.3,
    },
    constants={"alpha": "exp(-dt/tau_m)", "rho": "exp(-dt/tau_a)", "zeta": "1"},
    source=f"{_BELLEC_2020}, eqs. 6-10",
)

_NEST_PSC_DELTA = (
    "Korcsak-Gorzo et al. 2025, arXiv:2511.21674, as NEST's eprop_iaf_psc_delta: the membrane is "
    "set to v_reset at a spike and stays there while refractory; the trace continues as a plain "
    "filter of the presynaptic spikes"
)

LIF_HARD_RESET = Neuron(
    name="lif_hard_reset",
    update="""
    kept = where(detached(z), v_reset + (v - detached(v)), v)
    free = alpha*kept + zeta*I
    v = where(not_refractory, free, v_reset + (free - detached(free)))
    """,
    threshold="v >= v_th",
    surrogate=LIF.surrogate,
    refractory="t_ref",
    parameters={**LIF.parameters, "v_reset": 0.0},
    constants=LIF.constants,
    source=_NEST_PSC_DELTA,
)

ALIF_HARD_RESET = Neuron(
    name="alif_hard_reset",
    update=f"{LIF_HARD_RESET.update.rstrip()}\n    a = rho*a + z",
    threshold=ALIF.threshold,
    surrogate=ALIF.surrogate,
    refractory="t_ref",
    parameters={**ALIF.parameters, "v_reset": 0.0},
    constants=ALIF.constants,
    source=f"{_NEST_PSC_DELTA}; adaptation of {_BELLEC_2020}, eqs. 8-10",
)

# --- spike-timing dependent plasticity from the derivative of the reset --------------------------

_TRAUB_2020 = (
    "Traub, Butz, Baayen and Otte 2020, arXiv:2006.09988: the membrane is zeroed at a spike and "
    "again at the end of the refractory time, and the pseudo-derivative is negative in between. "
    "Height gamma/v_th where the paper has gamma (the same at v_th = 1); the second reset in the "
    "first step in which a spike is possible again"
)

#: ``released`` is 1 in the first step after refractoriness, for which ``active`` remembers whether
#: the step before was one in which a spike was possible. Their refractory time is not called
#: t_ref, as the plasticity depends on it: the recipes' t_ref = 0 would take it away.
STDP_LIF = Neuron(
    name="stdp_lif",
    update="""
    released = not_refractory*(1 - active)
    v = alpha*v*(1 - z - released) + zeta*I
    active = not_refractory
    """,
    threshold="v >= v_th",
    surrogate=surrogate("piecewise_linear", "v - v_th", height="gamma/v_th", width="v_th"),
    refractory_surrogate="-gamma/v_th",
    refractory="dt_ref",
    parameters={"tau_m": "20 ms", "v_th": 0.6, "dt_ref": "5 ms", "gamma": 0.3},
    constants={"alpha": "exp(-dt/tau_m)", "zeta": "1"},
    initial={"active": "1"},
    source=_TRAUB_2020,
)

STDP_ALIF = Neuron(
    name="stdp_alif",
    update=f"{STDP_LIF.update.rstrip()}\n    a = rho*a + z",
    threshold="v >= v_th + beta*a",
    surrogate=surrogate("piecewise_linear", "v - v_th - beta*a", height="gamma/v_th", width="v_th"),
    refractory_surrogate=STDP_LIF.refractory_surrogate,
    refractory="dt_ref",
    parameters={**STDP_LIF.parameters, "tau_a": "2000 ms", "beta": 0.0174},
    constants={**STDP_LIF.constants, "rho": "exp(-dt/tau_a)"},
    initial=STDP_LIF.initial,
    source=f"{_TRAUB_2020}; adaptation of {_BELLEC_2020}, eqs. 8-10",
)

# --- synapses with dynamics of their own ---------------------------------------------------------

_SUBTHRESHOLD = surrogate(
    "piecewise_linear", "v - v_th", height="gamma/(v_th - E_L)", width="(v_th - E_L)"
)

LIF_EXP = Neuron(
    name="lif_exp",
    model="""
    dv/dt = (E_L - v + R*I_syn)/tau_m : volt
    dI_syn/dt = -I_syn/tau_s : amp
    """,
    method="exact",
    on_pre="I_syn += i_0*w",
    threshold="v >= v_th",
    reset="v = E_L",
    refractory="t_ref",
    surrogate=_SUBTHRESHOLD,
    parameters={
        "tau_m": "20 ms",
        "tau_s": "5 ms",
        "E_L": "-70 mV",
        "v_th": "-50 mV",
        "R": "100 Mohm",
        "i_0": "1.3 nA",
        "t_ref": "2 ms",
        "gamma": 0.3,
    },
    initial={"v": "E_L"},
    source="Gerstner et al. 2014, Neuronal Dynamics, eqs. 1.5 and 3.2 with an exponential current",
)

LIF_ALPHA = Neuron(
    name="lif_alpha",
    model="""
    dv/dt = (E_L - v + R*I_syn)/tau_m : volt
    dI_syn/dt = (x_syn - I_syn)/tau_s : amp
    dx_syn/dt = -x_syn/tau_s : amp
    """,
    method="exact",
    # The current peaks tau_s after the spike, at i_0*w. tau_s must differ from tau_m.
    on_pre="x_syn += x_0*w",
    threshold="v >= v_th",
    reset="v = E_L",
    refractory="t_ref",
    surrogate=_SUBTHRESHOLD,
    parameters={**LIF_EXP.parameters, "i_0": "0.45 nA"},
    constants={"x_0": "exp(1)*i_0"},
    initial={"v": "E_L"},
    source="Rotter and Diesmann 1999, Biol. Cybern. 81:381, alpha function as synaptic current",
)

#: A weight changes the conductance, and the more the further the membrane is from ``E_e``: the
#: weight's path to the spike depends on the voltage. A negative weight lowers the conductance below
#: the tonic one, which is taken to be part of ``g_L`` and ``E_L``; it is not an inhibitory synapse
#: with a reversal potential of its own.
LIF_COND = Neuron(
    name="lif_cond",
    model="""
    dv/dt = (g_L*(E_L - v) + g_syn*(E_e - v))/C : volt
    dg_syn/dt = -g_syn/tau_s : siemens
    """,
    # Exponential Euler divides by g_L + g_syn, which negative weights take through zero.
    method="euler",
    on_pre="g_syn += g_0*w",
    threshold="v >= v_th",
    reset="v = E_L",
    refractory="t_ref",
    surrogate=_SUBTHRESHOLD,
    parameters={
        "C": "200 pF",
        "g_L": "10 nS",
        "tau_s": "10 ms",
        "E_L": "-65 mV",
        "E_e": "0 mV",
        "v_th": "-55 mV",
        "g_0": "3.5 nS",
        "t_ref": "2 ms",
        "gamma": 0.3,
    },
    initial={"v": "E_L"},
    source="Gerstner et al. 2014, Neuronal Dynamics, eq. 3.1 with an exponential conductance",
)

# --- adaptive neurons ----------------------------------------------------------------------------

#: The synapses' current keeps a spike's kick out of the exponential. A low ``v_peak`` is enough, as
#: the membrane takes off within a step from there.
ADEX = Neuron(
    name="adex",
    model="""
    dv/dt = (g_L*(E_L - v) + g_L*Delta_T*exp((v - V_T)/Delta_T) - w_ad + I_syn)/C : volt
    dw_ad/dt = (a*(v - E_L) - w_ad)/tau_w : amp
    dI_syn/dt = -I_syn/tau_s : amp
    """,
    method="euler",
    on_pre="I_syn += i_0*w",
    threshold="v > v_peak",
    reset="v = v_r; w_ad += b",
    surrogate=surrogate(
        "piecewise_linear", "v - V_T", height="gamma/(V_T - E_L)", width="(V_T - E_L)"
    ),
    parameters={
        "C": "281 pF",
        "g_L": "30 nS",
        "E_L": "-70.6 mV",
        "V_T": "-50.4 mV",
        "Delta_T": "2 mV",
        "v_peak": "-40.4 mV",
        "v_r": "-70.6 mV",
        "tau_w": "144 ms",
        "a": "4 nS",
        "b": "0.0805 nA",
        "tau_s": "5 ms",
        "i_0": "3 nA",
        "gamma": 0.3,
    },
    initial={"v": "E_L"},
    source="Brette and Gerstner 2005, J. Neurophysiol. 94:3637, eqs. 2-3 and their parameters, "
    "with an exponential synaptic current",
)

#: The membrane takes two half steps and the recovery one, as in the paper's program. There the
#: recovery sees the new membrane; here that of the step's start, without the overshoot of the
#: upstroke, which otherwise drives both to infinity when the input is strong. With an instantaneous
#: input the membrane forgets within 5 ms, and the recovery works against slow changes of the rate:
#: gradient descent learns little then.
IZHIKEVICH = Neuron(
    name="izhikevich",
    update="""
    I_syn = sigma*I_syn + i_0*I
    v_start = where(z, v_c, v)
    u_start = u + d*z
    v_half = v_start + step_ms/2*(0.04*v_start**2 + 5*v_start + 140 - u_start + I_syn)
    v = v_half + step_ms/2*(0.04*v_half**2 + 5*v_half + 140 - u_start + I_syn)
    u = u_start + step_ms*a*(b*v_start - u_start)
    """,
    threshold="v >= v_peak",
    surrogate="gamma/width*clip(1 - abs(v - v_t)/width, 0, 1)",
    parameters={
        "a": 0.02,
        "b": 0.2,
        "v_c": -65.0,
        "d": 8.0,
        "v_peak": 30.0,
        "v_t": -60.0,
        "width": 15.0,
        "tau_s": "20 ms",
        "i_0": 10.0,
        "gamma": 0.3,
    },
    constants={"step_ms": "dt/(1*ms)", "sigma": "exp(-dt/tau_s)"},
    initial={"v": "v_c", "u": "b*v_c"},
    detach=("v_start",),
    source="Izhikevich 2003, IEEE Trans. Neural Networks 14:1569, eqs. 1-3 (regular spiking), "
    "with an exponential synaptic current",
)

GLIF = Neuron(
    name="glif",
    model="""
    dv/dt = (g_L*(E_L - v) + I_1 + I_2 + I_syn)/C : volt (unless refractory)
    dI_1/dt = -k_1*I_1 : amp (unless refractory)
    dI_2/dt = -k_2*I_2 : amp (unless refractory)
    dI_syn/dt = -I_syn/tau_s : amp
    """,
    method="exact",
    on_pre="I_syn += i_0*w",
    threshold="v >= v_th",
    # After the refractory time the old currents have decayed through it, the new ones have not.
    reset="v = E_L; I_1 = kept_1*I_1 + a_1; I_2 = kept_2*I_2 + a_2",
    refractory="t_ref",
    surrogate=_SUBTHRESHOLD,
    parameters={
        "C": "58.72 pF",
        "g_L": "9.43 nS",
        "E_L": "-78.85 mV",
        "v_th": "-51.68 mV",
        "k_1": "0.003/ms",
        "k_2": "0.1/ms",
        "a_1": "-9.18 pA",
        "a_2": "-198.94 pA",
        "tau_s": "2 ms",
        "i_0": "2.5 nA",
        "t_ref": "3.75 ms",
        "gamma": 0.3,
    },
    constants={"kept_1": "exp(-k_1*t_ref)", "kept_2": "exp(-k_2*t_ref)"},
    initial={"v": "E_L"},
    source="Teeter et al. 2018, Nat. Commun. 9:709, GLIF3 (after-spike currents); parameters of "
    "cell 490626718 as NEST's glif_psc has them, with an exponential synaptic current",
)

#: The library's neurons by name.
NEURONS: dict[str, Neuron] = {
    neuron.name: neuron
    for neuron in (
        *(LIF, ALIF, LIF_HARD_RESET, ALIF_HARD_RESET, STDP_LIF, STDP_ALIF),
        *(LIF_EXP, LIF_ALPHA, LIF_COND),
        *(ADEX, IZHIKEVICH, GLIF),
    )
}


def get_neuron(name: str) -> Neuron:
    """Return the neuron called `name`: one of `NEURONS`, a published one, or of a package.

    Packages offer neurons by entry points of the group ``eprop_brian.neurons``
    (`eprop_brian.base.plugins`). They cannot take the name of a neuron of the library.

    Raises
    ------
    ValueError
        If there is no neuron of that name; the message lists the valid ones.
    PluginError
        If a package offers it, but it cannot be imported or is no `Neuron`.
    """
    neurons = NEURONS | PUBLISHED
    if name in neurons:
        return neurons[name]
    offered = plugins.plugins(plugins.NEURONS)
    if name not in offered:
        raise ValueError(
            f"{unknown('neuron', name, [*neurons, *offered])}. Or give a neuron file ending in "
            ".toml"
        )
    neuron = plugins.load_plugin(plugins.NEURONS, name)
    if not isinstance(neuron, Neuron):
        raise plugins.wrong_plugin(plugins.NEURONS, name, f"a Neuron, not {neuron!r}")
    return neuron
