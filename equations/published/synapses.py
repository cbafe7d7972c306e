"""Synapses with short-term plasticity, and those that saturate."""

from eprop_brian.equations.synapse import Synapse

__all__ = [
    "BRUNEL_WANG_NMDA",
    "SPREIZER_ALPHA",
    "STIMBERG_EXCITATORY",
    "STIMBERG_INHIBITORY",
    "TSODYKS_DEPRESSING",
]

_STIMBERG_2018 = """
du_S/dt = -Omega_f * u_S     : 1 (event-driven)
dx_S/dt = Omega_d *(1 - x_S) : 1 (event-driven)
"""
_ACTION = """
u_S += U_0 * (1 - u_S)
r_S = u_S * x_S
x_S -= r_S
"""
_PARAMETERS = {"Omega_f": "3.33 Hz", "Omega_d": "2 Hz", "U_0": 0.6}
_SOURCE = (
    "examples/frompapers/Stimberg_et_al_2018/example_1_COBA.py; Stimberg et al. 2019, "
    "Computational Glioscience, ch. 18"
)

STIMBERG_EXCITATORY = Synapse(
    name="stimberg_excitatory",
    model=_STIMBERG_2018,
    on_pre=f"{_ACTION}g_e_post += w*w_e*r_S",
    parameters=_PARAMETERS,
    initial={"x_S": "1"},
    source=_SOURCE,
)
STIMBERG_INHIBITORY = Synapse(
    name="stimberg_inhibitory",
    model=_STIMBERG_2018,
    on_pre=f"{_ACTION}g_i_post += w*w_i*r_S",
    parameters=_PARAMETERS,
    initial={"x_S": "1"},
    source=_SOURCE,
)

#: From excitatory neurons to excitatory ones.
TSODYKS_DEPRESSING = Synapse(
    name="tsodyks_depressing",
    model="""
    dx/dt =  z/tau_rec : 1 (clock-driven) # recovered
    dy/dt = -y/tau_I   : 1 (clock-driven) # active
    z = 1 - x - y      : 1                # inactive
    I_syn_ee_synapses_post = w*A*y : volt (summed)
    """,
    on_pre="""
    y += U*x # important: update y first
    x += -U*x
    """,
    method="exact",
    parameters={"A": "1.8 mV", "U": 0.5, "tau_I": "3 ms", "tau_rec": "800 ms"},
    initial={"x": "1"},
    source="examples/frompapers/Tsodyks_Uziel_Markram_2000.py; Tsodyks et al. 2000, J. Neurosci. "
    "20:RC50",
)

BRUNEL_WANG_NMDA = Synapse(
    name="brunel_wang_nmda",
    model="""
    s_NMDA_tot_post = w * s_NMDA : 1 (summed)
    ds_NMDA / dt = - s_NMDA / tau_NMDA_decay + alpha * x * (1 - s_NMDA) : 1 (clock-driven)
    dx / dt = - x / tau_NMDA_rise : 1 (clock-driven)
    w : 1
    """,
    on_pre="x += 1",
    method="euler",
    parameters={"tau_NMDA_decay": "100 ms", "tau_NMDA_rise": "2 ms", "alpha": "0.5 kHz"},
    source="examples/frompapers/Brunel_Wang_2001.py; Brunel and Wang 2001, J. Comput. Neurosci. "
    "11:63",
)

SPREIZER_ALPHA = Synapse(
    name="spreizer_alpha",
    model="""
    dg/dt = (-g+h) / tau_s : 1 (clock-driven)
    dh/dt = -h / tau_s     : 1 (clock-driven)
    I_syn_post = w*J*g  : amp  (summed)
    """,
    on_pre="h += exp(1)",
    parameters={"J": "-50 pA", "tau_s": "5 ms"},
    source="examples/frompapers/Spreizer_et_al_2019/Spreizer_et_al_2019.py; Spreizer et al. 2019, "
    "PLoS Comput. Biol. 15:e1007432",
)
