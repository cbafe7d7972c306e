"""Neurons with a nonlinear membrane, most of them with adaptation."""

from eprop_brian.equations.neuron import Neuron

__all__ = [
    "BRETTE_GERSTNER_2005",
    "EXPONENTIAL_IF",
    "GENERALIZED_IF",
    "HINDMARSH_ROSE_1984",
    "IZHIKEVICH_2003",
    "MULTI_TIMESCALE_THRESHOLD",
    "NAUD_2008",
    "QUADRATIC_IF",
    "THETA_NEURON",
    "TOUBOUL_BRETTE_2008",
]

BRETTE_GERSTNER_2005 = Neuron(
    name="brette_gerstner_2005",
    model="""
    dvm/dt = (gL*(EL - vm) + gL*DeltaT*exp((vm - VT)/DeltaT) + I - w)/C : volt
    dw/dt = (a*(vm - EL) - w)/tauw : amp
    I : amp
    """,
    method="euler",
    on_pre="vm += w*mV",
    threshold="vm>Vcut",
    reset="vm=Vr; w+=b",
    surrogate="",
    parameters={
        "C": "281 pF",
        "gL": "30 nS",
        "EL": "-70.6 mV",
        "VT": "-50.4 mV",
        "DeltaT": "2 mV",
        "Vcut": "-40.4 mV",
        "tauw": "144 ms",
        "a": "4 nS",
        "b": "0.0805 nA",
        "Vr": "-70.6 mV",
        "I": "1 nA",
    },
    initial={"vm": "EL"},
    source="examples/frompapers/Brette_Gerstner_2005.py, on_pre added; Brette and Gerstner 2005, "
    "J. Neurophysiol. 94:3637",
)

#: The eight firing patterns, one per neuron.
NAUD_2008 = Neuron(
    name="naud_2008",
    model="""
    dvm/dt = (g_l*(e_l - vm) + g_l*d_t*exp((vm-v_t)/d_t) + i_stim - w)/c_m : volt
    dw/dt  = (a*(vm - e_l) - w)/tau_w : amp
    """,
    method="euler",
    on_pre="vm += w*mV",
    threshold="vm > 0*mV",
    reset="vm = v_r; w += b",
    surrogate="",
    parameters={
        "c_m": [f"{x} pF" for x in (200, 200, 130, 200, 200, 100, 100, 100)],
        "g_l": [f"{x} nS" for x in (10, 12, 18, 10, 12, 10, 10, 12)],
        "e_l": [f"{x} mV" for x in (-70, -70, -58, -58, -70, -65, -65, -60)],
        "v_t": "-50 mV",
        "d_t": "2 mV",
        "a": [f"{x} nS" for x in (2, 2, 4, 2, -10, -10, 10, -11)],
        "tau_w": [f"{x} ms" for x in (30, 300, 150, 120, 300, 90, 90, 130)],
        "b": [f"{x} pA" for x in (0, 60, 120, 100, 0, 30, 100, 30)],
        "v_r": [f"{x} mV" for x in (-58, -58, -50, -46, -58, -47, -47, -48)],
        "i_stim": [f"{x} pA" for x in (500, 500, 400, 210, 300, 110, 180, 160)],
    },
    initial={"vm": "e_l"},
    source="examples/frompapers/Naud_et_al_2008_adex_firing_patterns.py, on_pre added; Naud et al. "
    "2008, Biol. Cybern. 99:335",
)

TOUBOUL_BRETTE_2008 = Neuron(
    name="touboul_brette_2008",
    model="""
    dvm/dt=(gL*(EL-vm)+gL*DeltaT*exp((vm-VT)/DeltaT)+I-w)/C : volt
    dw/dt=(a*(vm-EL)-w)/tauw : amp
    Vr:volt
    """,
    method="euler",
    on_pre="vm += w*mV",
    threshold="vm > Vcut",
    reset="vm = Vr; w += b",
    surrogate="",
    parameters={
        "C": "281 pF",
        "gL": "30 nS",
        "EL": "-70.6 mV",
        "VT": "-50.4 mV",
        "DeltaT": "2 mV",
        "tauw": "40 ms",
        "a": "4 nS",
        "b": "0.08 nA",
        "I": "0.8 nA",
        "Vcut": "-40.4 mV",
        "Vr": "-48.3*mV + 0.6*mV*i/(N-1)",
    },
    initial={"vm": "EL", "w": "a * (vm - EL)"},
    source="examples/frompapers/Touboul_Brette_2008.py, on_pre added; Touboul and Brette 2008, "
    "Biol. Cybern. 99:319",
)

IZHIKEVICH_2003 = Neuron(
    name="izhikevich_2003",
    model="""
    dv/dt = (0.04*v**2 + 5*v + 140 - u + I + I_noise )/ms : 1
    du/dt = (a*(b*v - u))/ms  : 1
    I : 1
    I_noise : 1
    a : 1
    b : 1
    c : 1
    d : 1
    """,
    method="euler",
    on_pre="v += w",
    threshold="v>=30",
    reset="v=c; u+=d",
    surrogate="",
    parameters={
        "I": 5,
        "I_noise": 0,
        "a": 0.02,
        "b": 0.2,
        "c": "-65 + 15 * (i/N)**2",
        "d": "8 - 6 * (i/N)**2",
    },
    initial={"v": "-65", "u": "b*v"},
    source="examples/frompapers/Izhikevich_2003.py, excitatory neurons with a constant current, "
    "that of a spike, which lasts for a step, written as a jump of v; Izhikevich 2003, IEEE Trans. "
    "Neural Networks 14:1569",
)

HINDMARSH_ROSE_1984 = Neuron(
    name="hindmarsh_rose_1984",
    model="""
    dx/dt = (y - a*x**3 + b*x**2 + I - z)/time_unit : 1
    dy/dt = (c - d*x**2 - y)/time_unit : 1
    dz/dt = r*(s*(x - x_1) - z)/time_unit : 1
    I : 1 (constant)
    """,
    method="rk4",
    on_pre="x += w",
    threshold="x > 1",
    refractory="x > 0",
    surrogate="",
    parameters={
        "time_unit": "1 ms",
        "x_1": -1.6,
        "a": 1,
        "b": 3,
        "c": 1,
        "d": 5,
        "r": 0.001,
        "s": 4,
        "I": "2 + 2*i/(N-1)",
    },
    initial={"x": "x_1", "y": "c - d*x**2", "z": "r*(s*(x - x_1))"},
    source="examples/frompapers/Hindmarsh_Rose_1984.py, threshold and on_pre added; Hindmarsh and "
    "Rose 1984, Proc. R. Soc. B 221:87",
)

QUADRATIC_IF = Neuron(
    name="quadratic_if",
    model="""
    dvm/dt = (a*(vm-EL)*(vm-VT) + I)/C : volt
    I : amp
    """,
    method="euler",
    on_pre="vm += w*mV",
    threshold="vm > -20*mV",
    reset="vm = -70*mV",
    surrogate="",
    parameters={
        "C": "1 nF",
        "a": "5 nS/mV",
        "EL": "-70 mV",
        "VT": "-50 mV",
        "I": "0 nA",
    },
    initial={"vm": "EL"},
    source="docs_sphinx/introduction/brian1_to_2/library.rst, quadratic integrate-and-fire neuron, "
    "with the threshold and reset of its neighbours; Ermentrout 1996, Neural Comput. 8:979",
)

EXPONENTIAL_IF = Neuron(
    name="exponential_if",
    model="""
    dvm/dt = (gL*(EL-vm)+gL*DeltaT*exp((vm-VT)/DeltaT) + I)/C : volt (unless refractory)
    """,
    method="euler",
    on_pre="vm += w*mV",
    threshold="vm > -20*mV",
    reset="vm = -68*mV",
    refractory="1.7 ms",
    surrogate="",
    parameters={
        "C": "1 uF",
        "gL": "100 uS",
        "EL": "-65 mV",
        "VT": "-59.9 mV",
        "DeltaT": "3.48 mV",
        "I": "0 uA",
    },
    initial={"vm": "EL"},
    source="Fourcaud-Trocmé et al. 2003, J. Neurosci. 23:11628, table 1, per cm², in the notation "
    "of docs_sphinx/introduction/brian1_to_2/library.rst",
)

THETA_NEURON = Neuron(
    name="theta_neuron",
    model="""
    dtheta/dt = (1 - cos(theta) + (1 + cos(theta))*eta)/tau : 1
    eta : 1
    """,
    method="euler",
    on_pre="theta += w",
    threshold="theta > pi",
    reset="theta -= 2*pi",
    surrogate="",
    parameters={"tau": "10 ms", "eta": -0.1},
    initial={"theta": "-0.6"},
    source="Ermentrout and Kopell 1986, SIAM J. Appl. Math. 46:233",
)

MULTI_TIMESCALE_THRESHOLD = Neuron(
    name="multi_timescale_threshold",
    model="""
    dv/dt = (-v + R*I_syn)/tau_m : volt
    dI_syn/dt = -I_syn/tau_s : amp
    dtheta_1/dt = -theta_1/tau_1 : volt
    dtheta_2/dt = -theta_2/tau_2 : volt
    """,
    method="exact",
    on_pre="I_syn += w*nA",
    threshold="v >= omega + theta_1 + theta_2",
    reset="theta_1 += alpha_1; theta_2 += alpha_2",
    refractory="2 ms",
    surrogate="",
    parameters={
        "tau_m": "5 ms",
        "R": "50 Mohm",
        "tau_s": "3 ms",
        "tau_1": "10 ms",
        "tau_2": "200 ms",
        "alpha_1": "37 mV",
        "alpha_2": "2 mV",
        "omega": "19 mV",
    },
    source="Kobayashi et al. 2009, Front. Comput. Neurosci. 3:9, eqs. 1-3 and a regular spiking "
    "neuron of table 1, with an exponential current",
)

GENERALIZED_IF = Neuron(
    name="generalized_if",
    model="""
    dv/dt = (-g_L*(v - E_L) + I_syn - eta)/C : volt (unless refractory)
    dI_syn/dt = -I_syn/tau_s : amp
    deta/dt = -eta/tau_eta : amp
    dgamma/dt = -gamma/tau_gamma : volt
    rho = lambda_0*exp((v - V_T - gamma)/dV) : Hz
    """,
    method="euler",
    on_pre="I_syn += w*nA",
    threshold="rand() < rho*dt",
    reset="v = V_r; eta += b_eta; gamma += b_gamma",
    refractory="4 ms",
    surrogate="",
    parameters={
        "C": "100 pF",
        "g_L": "5 nS",
        "E_L": "-65 mV",
        "tau_s": "3 ms",
        "tau_eta": "100 ms",
        "tau_gamma": "50 ms",
        "V_T": "-45 mV",
        "V_r": "-60 mV",
        "dV": "2 mV",
        "lambda_0": "10 kHz",
        "b_eta": "20 pA",
        "b_gamma": "5 mV",
    },
    initial={"v": "E_L"},
    source="Mensi et al. 2012, J. Neurophysiol. 107:1756, eqs. 1-4 with one exponential for each "
    "kernel and round numbers",
)
