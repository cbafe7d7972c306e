"""Neurons with noise, or with a drive that is a function of time."""

from eprop_brian.equations.neuron import Neuron

__all__ = [
    "BRETTE_2004",
    "BRUNEL_HAKIM_1999",
    "DIESMANN_1999",
    "JEFFRESS",
    "LICKLIDER",
    "NON_RELIABILITY",
    "PHASE_LOCKING",
    "PLATKIEWICZ_BRETTE_2011",
    "SPREIZER_2019",
]

PHASE_LOCKING = Neuron(
    name="phase_locking",
    model="""
    dv/dt = (-v + a * sin(2 * pi * freq * t) + b) / tau : 1
    a : 1
    """,
    method="euler",
    on_pre="v += w",
    threshold="v > 1",
    reset="v = 0",
    surrogate="",
    parameters={"tau": "20 ms", "b": 1.2, "freq": "10 Hz", "a": "0.05 + 0.7*i/N"},
    initial={"v": "rand()"},
    source="examples/phase_locking.py, on_pre added",
)

BRETTE_2004 = Neuron(
    name="brette_2004",
    model="""
    dv/dt = (-v + a + 2*sin(2*pi*t/tau))/tau : 1
    a : 1
    """,
    method="euler",
    on_pre="v += w",
    threshold="v>1",
    reset="v=0",
    surrogate="",
    parameters={"tau": "100 ms", "a": "2 + 2*i/(N-1)"},
    source="examples/frompapers/Brette_2004.py, on_pre added; Brette 2004, J. Math. Biol. 48:38",
)

NON_RELIABILITY = Neuron(
    name="non_reliability",
    model="""
    dx/dt = (1.1 - x) / tau + sigma * (2 / tau)**.5 * xi : 1 (unless refractory)
    """,
    method="euler",
    on_pre="x += w",
    threshold="x > 1",
    reset="x = 0",
    refractory="5 ms",
    surrogate="",
    parameters={"tau": "20 ms", "sigma": 0.015},
    source="examples/non_reliability.py, on_pre added",
)

BRUNEL_HAKIM_1999 = Neuron(
    name="brunel_hakim_1999",
    model="""
    dV/dt = (-V+muext + sigmaext * sqrt(tau) * xi)/tau : volt
    """,
    method="euler",
    on_pre="V += -w*J",
    threshold="V>theta",
    reset="V=Vr",
    refractory="taurefr",
    surrogate="",
    parameters={
        "Vr": "10 mV",
        "theta": "20 mV",
        "tau": "20 ms",
        "taurefr": "2 ms",
        "J": "0.1 mV",
        "muext": "25 mV",
        "sigmaext": "1 mV",
    },
    initial={"V": "Vr"},
    source="examples/frompapers/Brunel_Hakim_1999.py; Brunel and Hakim 1999, Neural Comput. "
    "11:1621",
)

DIESMANN_1999 = Neuron(
    name="diesmann_1999",
    model="""
    dV/dt = (-(V-Vr)+x)*(1./taum) : volt
    dx/dt = (-x+y)*(1./taupsp) : volt
    dy/dt = -y*(1./taupsp)+25.27*mV/ms+
            (39.24*mV/ms**0.5)*xi : volt
    """,
    method="euler",
    on_pre="y+=w*weight",
    threshold="V>Vt",
    reset="V=Vr",
    refractory="1 ms",
    surrogate="",
    parameters={
        "Vr": "-70 mV",
        "Vt": "-55 mV",
        "taum": "10 ms",
        "taupsp": "0.325 ms",
        "weight": "4.86 mV",
    },
    initial={"V": "Vr + rand() * (Vt - Vr)"},
    source="examples/frompapers/Diesmann_et_al_1999.py; Diesmann et al. 1999, Nature 402:529",
)

PLATKIEWICZ_BRETTE_2011 = Neuron(
    name="platkiewicz_brette_2011",
    model="""
    dv/dt=(EL-v+mu+sigma*I)/tau : volt
    dtheta/dt=(vT+a*clip(v-Vi, 0*mV, inf*mV)-theta)/tauh : volt
    dI/dt=-I/tauI+(2/tauI)**.5*xi : 1 # Ornstein-Uhlenbeck
    """,
    method="euler",
    on_pre="v += w*mV",
    threshold="v>theta",
    reset="v=EL",
    refractory="5 ms",
    surrogate="",
    parameters={
        "EL": "-70 mV",
        "vT": "-55 mV",
        "Vi": "-63 mV",
        "tauh": "5 ms",
        "tau": "5 ms",
        # ka/ki and 6*mV/sqrt(tauI/(tauI + tau)) of the script
        "a": 0.8333333333333334,
        "tauI": "5 ms",
        "mu": "15 mV",
        "sigma": "8.48528137423857 mV",
    },
    initial={"v": "EL", "theta": "vT", "I": "0"},
    source="examples/frompapers/Platkiewicz_Brette_2011.py, on_pre added; Platkiewicz and Brette "
    "2011, PLoS Comput. Biol. 7:e1001129",
)

JEFFRESS = Neuron(
    name="jeffress",
    model="""
    dv/dt = -v / tau + sigma * (2 / tau)**.5 * xi : 1
    """,
    method="euler",
    on_pre="v += w*.5",
    threshold="v>1",
    reset="v = 0",
    surrogate="",
    parameters={"tau": "1 ms", "sigma": 0.1},
    source="examples/synapses/jeffress.py, coincidence detectors; Jeffress 1948, J. Comp. Physiol. "
    "Psychol. 41:35",
)

LICKLIDER = Neuron(
    name="licklider",
    model="""
    dx/dt = (sound-x)/tau_ear+0.1*(2./tau_ear)**.5*xi : 1 (unless refractory)
    sound = 5*sin(2*pi*frequency*t)**3 : 1 # nonlinear distortion
    frequency = (200+200*t*Hz)*Hz : Hz # increasing pitch
    """,
    method="euler",
    on_pre="x += w",
    threshold="x>1",
    reset="x=0",
    refractory="2 ms",
    surrogate="",
    parameters={"tau_ear": "1 ms"},
    source="examples/synapses/licklider.py, the ear, on_pre added",
)

SPREIZER_2019 = Neuron(
    name="spreizer_2019",
    model="""
    dv/dt = (E-v)/tau_m + (noise + I_syn)/C : volt (unless refractory)
    I_syn :  amp
    noise  = mu + sigma*sqrt(noise_dt)*xi_pop: amp

    mu               : amp (shared)
    sigma            : amp (shared)
    noise_dt = 1*ms  : second (shared)
    C = 250*pF       : farad (shared)
    tau_m = 10*ms      : second (shared)
    E = -70*mV       : volt (shared)
    """,
    method="euler",
    on_pre="I_syn = w*pA",
    threshold="v>-55*mV",
    reset="v=-70*mV",
    refractory="2 ms",
    surrogate="",
    parameters={"mu": "700 pA", "sigma": "100 pA"},
    initial={"v": "-70*mV"},
    source="examples/frompapers/Spreizer_et_al_2019/Spreizer_et_al_2019.py; Spreizer et al. 2019, "
    "PLoS Comput. Biol. 15:e1007432",
)
