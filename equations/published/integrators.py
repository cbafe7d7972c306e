"""Leaky integrate-and-fire neurons with one input."""

from eprop_brian.equations.neuron import Neuron

__all__ = [
    "ADAPTIVE_THRESHOLD",
    "BRUNEL_2000",
    "IF_CURVE_LIF",
    "MAASS_2002",
    "NICOLA_CLOPATH_2017",
    "REFRACTORY_ADAPTATION",
    "STURZL_2000",
    "TSODYKS_2000",
]

BRUNEL_2000 = Neuron(
    name="brunel_2000",
    model="dv/dt = -v/tau : volt (unless refractory)",
    method="exact",
    on_pre="v += w*J",
    threshold="v > theta",
    reset="v = V_r",
    refractory="tau_rp",
    surrogate="",
    parameters={
        "tau": "20 ms",
        "theta": "20 mV",
        "V_r": "10 mV",
        "tau_rp": "2 ms",
        "J": "0.1 mV",
    },
    source="examples/frompapers/Brunel_2000.py; Brunel 2000, J. Comput. Neurosci. 8:183",
)

IF_CURVE_LIF = Neuron(
    name="if_curve_lif",
    model="""
    dv/dt = (v0 - v) / tau : volt (unless refractory)
    v0 : volt
    """,
    method="exact",
    on_pre="v += w*mV",
    threshold="v > 10*mV",
    reset="v = 0*mV",
    refractory="5 ms",
    surrogate="",
    parameters={"tau": "10 ms", "v0": "20*mV * i / (N-1)"},
    initial={"v": "0*mV"},
    source="examples/IF_curve_LIF.py; on_pre added",
)

ADAPTIVE_THRESHOLD = Neuron(
    name="adaptive_threshold",
    model="""
    dv/dt = -v/(10*ms) : volt
    dvt/dt = (10*mV-vt)/(15*ms) : volt
    """,
    method="exact",
    on_pre="v += w*3*mV",
    threshold="v>vt",
    reset="""
    v = 0*mV
    vt += 3*mV
    """,
    surrogate="",
    initial={"vt": "10*mV"},
    source="examples/adaptive_threshold.py",
)

REFRACTORY_ADAPTATION = Neuron(
    name="refractory_adaptation",
    model="""
    dv/dt = -(v + w)/ tau_v : 1 (unless refractory)
    dw/dt = (-w / tau_active)*int(not_refractory) + (-w / tau_ref)*(1 - int(not_refractory)) : 1
    """,
    method="euler",
    on_pre="v += w",
    threshold="v > 1",
    reset="v=0; w+=0.1",
    refractory="2 ms",
    surrogate="",
    parameters={"tau_v": "10 ms", "tau_active": "50 ms", "tau_ref": "10 ms"},
    source="docs_sphinx/user/refractoriness.rst; values of the time constants and on_pre added",
)

STURZL_2000 = Neuron(
    name="sturzl_2000",
    model="""
    dv/dt = (x - v)/tau : 1
    dx/dt = (y - x)/taus : 1 # alpha currents
    dy/dt = -y/taus : 1
    """,
    method="exact",
    on_pre="y+=w*wex",
    threshold="v>1",
    reset="v=0",
    surrogate="",
    parameters={"tau": "1 ms", "taus": "1.001 ms", "wex": 7},
    source="examples/frompapers/Sturzl_et_al_2000.py, command neurons; Stürzl et al. 2000, "
    "Phys. Rev. Lett. 84:5668",
)

NICOLA_CLOPATH_2017 = Neuron(
    name="nicola_clopath_2017",
    model="""
    dv/dt = (-v + BIAS + IPSC + E*z)/tm: 1 (unless refractory)
    dIPSC/dt = -IPSC/tr + h : 1
    dh/dt = -h/td : 1/second
    dr/dt = -r/tr + hr : 1
    dhr/dt = -hr/td : 1/second
    BPhi : 1
    z : 1 (shared)
    E : 1
    """,
    method="euler",
    on_pre="h += w*second/(tr*td)",
    threshold="v>=vpeak",
    reset="v=vreset; hr += 1/(tr*td)*second",
    refractory="tref",
    surrogate="",
    parameters={
        "td": "20 ms",
        "tr": "2 ms",
        "tm": "10 ms",
        "tref": "2 ms",
        "vreset": -65,
        "vpeak": -40,
        "BIAS": -40,
        "BPhi": 0,
        "z": 0,
        "E": "(2*rand()-1)*10",
    },
    initial={"v": "vreset + rand()*(30-vreset)"},
    source="examples/frompapers/Nicola_Clopath_2017.py; Nicola and Clopath 2017, "
    "Nat. Commun. 8:2208",
)

MAASS_2002 = Neuron(
    name="maass_2002",
    model="""
    tau_mem : second (shared, constant)
    tau_refrac : second (constant)
    v_reset : volt (shared, constant)
    v_thresh : volt (shared, constant)
    I_b : ampere (shared, constant)
    tau_stimulus : second (constant)
    I_syn_ee_synapses : ampere
    I_syn_ei_synapses : ampere
    I_syn_ie_synapses : ampere
    I_syn_ii_synapses : ampere
    dI_stimulus/dt = -I_stimulus/tau_stimulus : ampere
    R_in : ohm
    dv/dt = -v/tau_mem + (I_syn_ee_synapses +
                          I_syn_ei_synapses +
                          I_syn_ie_synapses +
                          I_syn_ii_synapses)*R_in/tau_mem
                       + I_b*R_in/tau_mem
                       + I_stimulus*R_in/tau_mem: volt (unless refractory)
    x_pos : 1 (constant)
    y_pos : 1 (constant)
    z_pos : 1 (constant)
    """,
    method="exact",
    on_pre="I_stimulus += w*18*nA",
    threshold="v>v_thresh",
    reset="v=v_reset",
    refractory="tau_refrac",
    surrogate="",
    parameters={
        "tau_mem": "30 ms",
        "tau_refrac": "3 ms",
        "v_reset": "13.5 mV",
        "v_thresh": "15 mV",
        "I_b": "13.5 nA",
        "tau_stimulus": "3 ms",
        "R_in": "1 Mohm",
        **dict.fromkeys((f"I_syn_{kind}_synapses" for kind in ("ee", "ei", "ie", "ii")), "0 nA"),
        **dict.fromkeys(("x_pos", "y_pos", "z_pos"), 0),
    },
    initial={"v": "v_reset + rand()*(v_thresh - v_reset)"},
    source="examples/frompapers/Maass_Natschlaeger_Markram_2002.py, with the static synapses of "
    "the stimulus; Maass et al. 2002, Neural Comput. 14:2531",
)

TSODYKS_2000 = Neuron(
    name="tsodyks_2000",
    model="""
    tau_mem : second
    tau_refrac : second
    v_reset : volt
    v_thresh : volt
    I_syn_ee_synapses : volt
    I_syn_ei_synapses : volt
    I_syn_ie_synapses : volt
    I_syn_ii_synapses : volt
    I_b : volt
    dv/dt = -v/tau_mem + (I_syn_ee_synapses +
                          I_syn_ei_synapses +
                          I_syn_ie_synapses +
                          I_syn_ii_synapses)/tau_mem
                       + I_b/tau_mem : volt (unless refractory)
    """,
    method="exact",
    on_pre="I_syn_ee_synapses = w*mV",
    threshold="v>v_thresh",
    reset="v=v_reset",
    refractory="3 ms",
    surrogate="",
    parameters={
        "tau_mem": "30 ms",
        "tau_refrac": "3 ms",
        "v_thresh": "15 mV",
        "v_reset": "13.5 mV",
        "I_b": "(14.5 + rand())*mV",
        **dict.fromkeys((f"I_syn_{kind}_synapses" for kind in ("ei", "ie", "ii")), "0 mV"),
    },
    source="examples/frompapers/Tsodyks_Uziel_Markram_2000.py, synapses among excitatory neurons; "
    "Tsodyks et al. 2000, J. Neurosci. 20:RC50",
)
