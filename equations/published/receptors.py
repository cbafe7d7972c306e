"""Integrate-and-fire neurons with excitatory and inhibitory synapses."""

from eprop_brian.equations.neuron import Neuron

__all__ = [
    "BRUNEL_WANG_2001",
    "CLOPATH_2010",
    "COBA_2018",
    "CUBA_2007",
    "DIEHL_COOK_2015",
    "IZHIKEVICH_2007",
    "KREMER_2011",
    "ROSSANT_2011",
    "VOGELS_2011",
]

CUBA_2007 = Neuron(
    name="cuba_2007",
    model="""
    dv/dt  = (ge+gi-(v-El))/taum : volt (unless refractory)
    dge/dt = -ge/taue : volt
    dgi/dt = -gi/taui : volt
    """,
    method="exact",
    on_pre={"excitatory": "ge += w*we", "inhibitory": "gi += w*wi"},
    threshold="v>Vt",
    reset="v = Vr",
    refractory="5 ms",
    surrogate="",
    parameters={
        "taum": "20 ms",
        "taue": "5 ms",
        "taui": "10 ms",
        "Vt": "-50 mV",
        "Vr": "-60 mV",
        "El": "-49 mV",
        "we": "1.62 mV",
        "wi": "-9 mV",
    },
    initial={"v": "Vr + rand() * (Vt - Vr)", "ge": "0*mV", "gi": "0*mV"},
    source="examples/CUBA.py; Brette et al. 2007, J. Comput. Neurosci. 23:349, benchmark 2",
)

COBA_2018 = Neuron(
    name="coba_2018",
    model="""
    dv/dt = (g_l*(E_l-v) + g_e*(E_e-v) + g_i*(E_i-v) +
             I_ex)/C_m    : volt (unless refractory)
    dg_e/dt = -g_e/tau_e  : siemens  # post-synaptic exc. conductance
    dg_i/dt = -g_i/tau_i  : siemens  # post-synaptic inh. conductance
    """,
    method="euler",
    on_pre={"excitatory": "g_e_post += w*w_e", "inhibitory": "g_i_post += w*w_i"},
    threshold="v>V_th",
    reset="v=V_r",
    refractory="tau_r",
    surrogate="",
    parameters={
        "E_l": "-60 mV",
        "g_l": "9.99 nS",
        "E_e": "0 mV",
        "E_i": "-80 mV",
        "C_m": "198 pF",
        "tau_e": "5 ms",
        "tau_i": "10 ms",
        "tau_r": "5 ms",
        "I_ex": "150 pA",
        "V_th": "-50 mV",
        "V_r": "-60 mV",
        "w_e": "0.05 nS",
        "w_i": "1 nS",
    },
    initial={"v": "E_l + rand()*(V_th-E_l)", "g_e": "rand()*w_e", "g_i": "rand()*w_i"},
    source="examples/frompapers/Stimberg_et_al_2018/example_1_COBA.py; Stimberg et al. 2019, "
    "Computational Glioscience, ch. 18, with static synapses",
)

VOGELS_2011 = Neuron(
    name="vogels_2011",
    model="""
    dv/dt=(-gl*(v-el)-(g_ampa*v+g_gaba*(v-er))+bgcurrent)/memc : volt (unless refractory)
    dg_ampa/dt = -g_ampa/tau_ampa : siemens
    dg_gaba/dt = -g_gaba/tau_gaba : siemens
    """,
    method="euler",
    on_pre={"ampa": "g_ampa += w*0.3*nS", "gaba": "g_gaba += w*3*nS"},
    threshold="v > vt",
    reset="v=el",
    refractory="5 ms",
    surrogate="",
    parameters={
        "tau_ampa": "5 ms",
        "tau_gaba": "10 ms",
        "gl": "10 nS",
        "el": "-60 mV",
        "er": "-80 mV",
        "vt": "-50 mV",
        "memc": "200 pF",
        "bgcurrent": "200 pA",
    },
    initial={"v": "el"},
    source="examples/frompapers/Vogels_et_al_2011.py, v starting at rest; Vogels et al. 2011, "
    "Science 334:1569",
)

ROSSANT_2011 = Neuron(
    name="rossant_2011",
    model="""
    dv/dt  = (ge+gi-(v-El))/taum : volt
    dge/dt = -ge/taue : volt
    dgi/dt = -gi/taui : volt
    """,
    method="exact",
    on_pre={"excitatory": "ge += w*we", "inhibitory": "gi += w*wi"},
    threshold="v>theta",
    reset="v = El",
    refractory="5 ms",
    surrogate="",
    parameters={
        "theta": "-55 mV",
        "El": "-65 mV",
        "taum": "5 ms",
        "taue": "3 ms",
        "taui": "10 ms",
        "we": "1.794 mV",
        "wi": "-0.6 mV",
    },
    initial={"v": "El"},
    source="examples/frompapers/Rossant_et_al_2011bis.py, synapses in place of Poisson inputs; "
    "Rossant et al. 2011, J. Neurosci. 31:17193",
)

KREMER_2011 = Neuron(
    name="kremer_2011",
    model="""
    dv/dt=(ge+gi+El-v)/taum : volt
    dge/dt=-ge/taue : volt
    dgi/dt=-gi/taui : volt
    dvt/dt=(Vt-vt)/tauvt : volt # adaptation
    """,
    method="euler",
    on_pre={"excitatory": "ge+=w*EPSC", "inhibitory": "gi+=w*IPSC"},
    threshold="v>vt",
    reset="v = El; vt += vt_inc",
    refractory="2 ms",
    surrogate="",
    parameters={
        "taum": "10 ms",
        "taue": "2 ms",
        "taui": "25 ms",
        "El": "-70 mV",
        "Vt": "-55 mV",
        "vt_inc": "2 mV",
        "tauvt": "50 ms",
        "EPSC": "7.477 mV",
        "IPSC": "-1.842 mV",
    },
    initial={"v": "El", "vt": "Vt"},
    source="examples/frompapers/Kremer_et_al_2011_barrel_cortex.py, layer 2/3 without the places "
    "of its neurons; Kremer et al. 2011, J. Neurosci. 31:10689",
)

IZHIKEVICH_2007 = Neuron(
    name="izhikevich_2007",
    model="""
    dv/dt = (ge * (Ee-v) + El - v) / taum : volt
    dge/dt = -ge / taue : 1
    """,
    method="euler",
    on_pre={"direct": "v += w*100*mV", "ge": "ge += w"},
    threshold="v>vt",
    reset="v = vr",
    surrogate="",
    parameters={
        "taum": "10 ms",
        "Ee": "0 mV",
        "vt": "-54 mV",
        "vr": "-60 mV",
        "El": "-74 mV",
        "taue": "5 ms",
    },
    initial={"v": "vr"},
    source="examples/frompapers/Izhikevich_2007.py, without its plasticity; Izhikevich 2007, "
    "Cereb. Cortex 17:2443",
)

CLOPATH_2010 = Neuron(
    name="clopath_2010",
    model="""
    dv/dt = (gleak*(V_rest-v) + I_ext + I_syn)/C: volt      # voltage
    dv_lowpass1/dt = (v-v_lowpass1)/tau_lowpass1 : volt     # low-pass filter of the voltage
    dv_lowpass2/dt = (v-v_lowpass2)/tau_lowpass2 : volt     # low-pass filter of the voltage
    dv_homeo/dt = (v-V_rest-v_homeo)/tau_homeo : volt       # low-pass filter of the voltage
    I_ext : amp                                             # external current
    I_syn = g_ampa*(E_AMPA-v): amp                          # synaptic current
    dg_ampa/dt = -g_ampa/tau_AMPA : siemens                 # synaptic conductance
    dx_trace/dt = -x_trace/taux :1                          # spike trace
    """,
    method="euler",
    on_pre="g_ampa_post += w*ampa_max_cond",
    threshold="v>V_thresh",
    reset="v=V_rest;x_trace+=x_reset/(taux/ms)",
    surrogate="",
    parameters={
        "V_rest": "-70 mV",
        "V_thresh": "-55 mV",
        "x_reset": 1,
        "taux": "15 ms",
        "tau_lowpass1": "40 ms",
        "tau_lowpass2": "30 ms",
        "tau_homeo": "1000 ms",
        "gleak": "30 nS",
        "C": "300 pF",
        "tau_AMPA": "2 ms",
        "E_AMPA": "0 mV",
        "ampa_max_cond": "50 nS",
        "I_ext": "0 pA",
    },
    initial={"v": "V_rest", "v_lowpass1": "V_rest", "v_lowpass2": "V_rest"},
    source="examples/frompapers/Clopath_et_al_2010_homeostasis.py, without its plasticity; "
    "Clopath et al. 2010, Nat. Neurosci. 13:344",
)

DIEHL_COOK_2015 = Neuron(
    name="diehl_cook_2015",
    model="""
    dv/dt = (v_rest - v + i_exc + i_inh) / tau_mem  : volt (unless refractory)
    i_exc = ge * -v                         : volt
    i_inh = gi * (v_inh_base - v)           : volt
    dge/dt = -ge/(1 * ms)                   : 1
    dgi/dt = -gi/(2 * ms)                   : 1
    dtimer/dt = 1                           : second
    dtheta/dt = -theta / (1e7 * ms)         : volt
    """,
    method="euler",
    on_pre={"ge": "ge_post += w", "gi": "gi_post += w*17"},
    threshold="v > (theta - 72 * mV) and (timer > 50 * ms)",
    reset="v = -65*mV; timer = 0 * ms; theta += 0.05 * mV",
    refractory="5 ms",
    surrogate="",
    parameters={"tau_mem": "100 ms", "v_rest": "-65 mV", "v_inh_base": "-100 mV"},
    initial={"v": "-65*mV", "theta": "20*mV"},
    source="examples/frompapers/Diehl_Cook_2015.py, excitatory neurons; Diehl and Cook 2015, "
    "Front. Comput. Neurosci. 9:99",
)

#: Excitatory neurons.
BRUNEL_WANG_2001 = Neuron(
    name="brunel_wang_2001",
    model="""
    dv / dt = (- g_m_E * (v - V_L) - I_syn) / C_m_E : volt (unless refractory)

    I_syn = I_AMPA_ext + I_AMPA_rec + I_NMDA_rec + I_GABA_rec : amp

    I_AMPA_ext = g_AMPA_ext_E * (v - V_E) * s_AMPA_ext : amp
    I_AMPA_rec = g_AMPA_rec_E * (v - V_E) * 1 * s_AMPA : amp
    ds_AMPA_ext / dt = - s_AMPA_ext / tau_AMPA : 1
    ds_AMPA / dt = - s_AMPA / tau_AMPA : 1

    I_NMDA_rec = g_NMDA_E * (v - V_E) / (1 + Mg2 * exp(-0.062 * v / mV) / 3.57) * s_NMDA_tot : amp
    s_NMDA_tot : 1

    I_GABA_rec = g_GABA_E * (v - V_I) * s_GABA : amp
    ds_GABA / dt = - s_GABA / tau_GABA : 1
    """,
    method="euler",
    on_pre={
        "external": "s_AMPA_ext += w",
        "ampa": "s_AMPA += w",
        "nmda": "s_NMDA_tot = w",
        "gaba": "s_GABA += w",
    },
    threshold="v > V_thr",
    reset="v = V_reset",
    refractory="2 ms",
    surrogate="",
    parameters={
        "V_L": "-70 mV",
        "V_thr": "-50 mV",
        "V_reset": "-55 mV",
        "V_E": "0 mV",
        "V_I": "-70 mV",
        "C_m_E": "0.5 nF",
        "g_m_E": "25 nS",
        "g_AMPA_ext_E": "2.08 nS",
        "g_AMPA_rec_E": "0.104 nS",
        "tau_AMPA": "2 ms",
        "g_NMDA_E": "0.327 nS",
        "Mg2": 1,
        "g_GABA_E": "1.25 nS",
        "tau_GABA": "10 ms",
    },
    initial={"v": "V_L"},
    source="examples/frompapers/Brunel_Wang_2001.py, excitatory neurons and all their receptors; "
    "Brunel and Wang 2001, J. Comput. Neurosci. 11:63",
)
