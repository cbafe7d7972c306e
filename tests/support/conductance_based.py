"""Neurons whose equations are not linear, with spikes made by their own channels or polynomials.

Equations and numbers are those of the papers, or of Brian2's examples of them.
"""

from dataclasses import dataclass

from eprop_brian import Neuron

__all__ = ["MODELS", "Model"]

SURROGATE = "exp(-((v - v_spike)/v_width)**2)/v_width"


@dataclass(frozen=True)
class Model:
    """A neuron, and how it is driven.

    Attributes
    ----------
    neuron : Neuron
        With the first of its methods.
    methods : tuple of str
        Brian2's methods that can integrate it.
    weight : float
        Standard deviation of input weights.
    """

    neuron: Neuron
    methods: tuple[str, ...]
    weight: float


EXPLICIT = ("euler", "rk2", "rk4", "heun")

#: Brette et al. 2007, benchmark 3, after Traub and Miles (Brian2's COBAHH).
TRAUB_MILES = Neuron(
    name="traub_miles",
    model="""
    dv/dt = (g_l*(E_l - v) + g_e*(E_e - v) - g_na*(m*m*m)*h*(v - E_na)
             - g_kd*(n*n*n*n)*(v - E_k))/C_m : volt
    dm/dt = alpha_m*(1 - m) - beta_m*m : 1
    dn/dt = alpha_n*(1 - n) - beta_n*n : 1
    dh/dt = alpha_h*(1 - h) - beta_h*h : 1
    dg_e/dt = -g_e*(1./tau_e) : siemens
    alpha_m = 0.32*(mV**-1)*4*mV/exprel((13*mV - v + V_T)/(4*mV))/ms : Hz
    beta_m = 0.28*(mV**-1)*5*mV/exprel((v - V_T - 40*mV)/(5*mV))/ms : Hz
    alpha_h = 0.128*exp((17*mV - v + V_T)/(18*mV))/ms : Hz
    beta_h = 4./(1 + exp((40*mV - v + V_T)/(5*mV)))/ms : Hz
    alpha_n = 0.032*(mV**-1)*5*mV/exprel((15*mV - v + V_T)/(5*mV))/ms : Hz
    beta_n = .5*exp((10*mV - v + V_T)/(40*mV))/ms : Hz
    """,
    method="exponential_euler",
    on_pre="g_e += w*nS",
    threshold="v > v_spike",
    refractory="3 ms",
    surrogate=SURROGATE,
    parameters={
        **{"C_m": "200 pF", "g_l": "10 nS", "E_l": "-60 mV", "E_e": "0 mV", "E_k": "-90 mV"},
        **{"E_na": "50 mV", "g_na": "20 uS", "g_kd": "6 uS", "V_T": "-63 mV", "tau_e": "5 ms"},
        **{"v_spike": "-20 mV", "v_width": "20 mV"},
    },
    initial={"v": "E_l", "h": "1"},
)

#: Hodgkin and Huxley 1952, with the rates as they print them: 0/0 at two voltages.
HODGKIN_HUXLEY = Neuron(
    name="hodgkin_huxley",
    model="""
    dv/dt = (I_0 + I_syn - g_l*(v - E_l) - g_na*m**3*h*(v - E_na) - g_k*n**4*(v - E_k))/C_m : volt
    dm/dt = a_m*(1 - m) - b_m*m : 1
    dh/dt = a_h*(1 - h) - b_h*h : 1
    dn/dt = a_n*(1 - n) - b_n*n : 1
    dI_syn/dt = -I_syn/(2*ms) : amp/meter**2
    u = (v + 65*mV)/mV : 1
    a_m = 0.1*(25 - u)/(exp((25 - u)/10) - 1)/ms : Hz
    b_m = 4*exp(-u/18)/ms : Hz
    a_h = 0.07*exp(-u/20)/ms : Hz
    b_h = 1/(exp((30 - u)/10) + 1)/ms : Hz
    a_n = 0.01*(10 - u)/(exp((10 - u)/10) - 1)/ms : Hz
    b_n = 0.125*exp(-u/80)/ms : Hz
    """,
    method="exponential_euler",
    on_pre="I_syn += w*uA/cm**2",
    threshold="v > v_spike",
    refractory="3 ms",
    surrogate=SURROGATE,
    parameters={
        **{"C_m": "0.01 farad/meter**2", "g_l": "3 siemens/meter**2", "E_l": "-54.387 mV"},
        **{"g_na": "1200 siemens/meter**2", "E_na": "50 mV", "g_k": "360 siemens/meter**2"},
        **{"E_k": "-77 mV", "I_0": "0.02 amp/meter**2"},
        **{"v_spike": "0 mV", "v_width": "20 mV"},
    },
    initial={"v": "-65*mV", "m": "0.0529", "h": "0.596", "n": "0.3177"},
)

#: Wang and Buzsaki 1996, with an activation that follows the membrane at once.
WANG_BUZSAKI = Neuron(
    name="wang_buzsaki",
    model="""
    dv/dt = (-g_na*m**3*h*(v - E_na) - g_k*n**4*(v - E_k) - g_l*(v - E_l) + I_0 + I_syn)/C_m : volt
    m = alpha_m/(alpha_m + beta_m) : 1
    alpha_m = 0.1/mV*10*mV/exprel(-(v + 35*mV)/(10*mV))/ms : Hz
    beta_m = 4*exp(-(v + 60*mV)/(18*mV))/ms : Hz
    dh/dt = 5*(alpha_h*(1 - h) - beta_h*h) : 1
    alpha_h = 0.07*exp(-(v + 58*mV)/(20*mV))/ms : Hz
    beta_h = 1./(exp(-0.1/mV*(v + 28*mV)) + 1)/ms : Hz
    dn/dt = 5*(alpha_n*(1 - n) - beta_n*n) : 1
    alpha_n = 0.01/mV*10*mV/exprel(-(v + 34*mV)/(10*mV))/ms : Hz
    beta_n = 0.125*exp(-(v + 44*mV)/(80*mV))/ms : Hz
    dI_syn/dt = -I_syn/(2*ms) : amp
    """,
    method="rk4",
    on_pre="I_syn += w*uA",
    threshold="v > v_spike",
    refractory="2 ms",
    surrogate=SURROGATE,
    parameters={
        **{"C_m": "1 uF", "I_0": "1 uA", "g_l": "0.1 msiemens", "E_l": "-65 mV"},
        **{"E_na": "55 mV", "E_k": "-90 mV", "g_na": "35 msiemens", "g_k": "9 msiemens"},
        **{"v_spike": "-20 mV", "v_width": "20 mV"},
    },
    initial={"v": "-64*mV", "h": "0.78", "n": "0.09"},
)

#: Morris and Lecar 1981, with faster potassium channels.
MORRIS_LECAR = Neuron(
    name="morris_lecar",
    model="""
    dv/dt = (-g_L*(v - V_L) - g_Ca*m_inf*(v - V_Ca) - g_K*n*(v - V_K) + I_0 + I_syn)/C : volt
    dn/dt = lambda_n*(n_inf - n) : 1
    m_inf = 0.5*(1 + tanh((v - V_1)/V_2)) : 1
    n_inf = 0.5*(1 + tanh((v - V_3)/V_4)) : 1
    lambda_n = lambda_max*cosh((v - V_3)/(2*V_4)) : Hz
    dI_syn/dt = -I_syn/(2*ms) : amp
    """,
    method="rk4",
    on_pre="I_syn += w*uA",
    threshold="v > v_spike",
    refractory="2 ms",
    surrogate=SURROGATE,
    parameters={
        **{"g_L": "2 mS", "g_Ca": "4 mS", "g_K": "8 mS", "V_L": "-50 mV", "V_Ca": "100 mV"},
        **{"V_K": "-70 mV", "V_1": "10 mV", "V_2": "15 mV", "V_3": "-1 mV", "V_4": "14.5 mV"},
        **{"C": "2 uF", "lambda_max": "0.5 kHz", "I_0": "100 uA"},
        **{"v_spike": "0 mV", "v_width": "20 mV"},
    },
    initial={"v": "-40*mV"},
)

#: After Pinsky and Rinzel 1994: a soma with fast channels, a dendrite with a slow calcium current.
PINSKY_RINZEL = Neuron(
    name="pinsky_rinzel",
    model="""
    dv/dt = (-g_l*(v - E_l) - g_na*m_inf**2*h*(v - E_na) - g_kdr*n*(v - E_k)
             + g_c/p*(v_d - v) + I_0/p)/C_m : volt
    dv_d/dt = (-g_l*(v_d - E_l) - g_ca*s**2*(v_d - E_ca) - g_ahp*q*(v_d - E_k)
               + g_c/(1 - p)*(v - v_d) - g_e*(v_d - E_e)/(1 - p))/C_m : volt
    dh/dt = alpha_h - (alpha_h + beta_h)*h : 1
    dn/dt = alpha_n - (alpha_n + beta_n)*n : 1
    ds/dt = alpha_s - (alpha_s + beta_s)*s : 1
    dq/dt = alpha_q - (alpha_q + 1/second)*q : 1
    dca/dt = -0.13*s**2*(v_d - E_ca)/mV/ms - 0.075*ca/ms : 1
    dg_e/dt = -g_e/(5*ms) : siemens/meter**2
    u = (v + 60*mV)/mV : 1
    u_d = (v_d + 60*mV)/mV : 1
    alpha_m = 0.32*4/exprel((13.1 - u)/4)/ms : Hz
    beta_m = 0.28*5/exprel((u - 40.1)/5)/ms : Hz
    m_inf = alpha_m/(alpha_m + beta_m) : 1
    alpha_h = 0.128*exp((17 - u)/18)/ms : Hz
    beta_h = 4/(1 + exp((40 - u)/5))/ms : Hz
    alpha_n = 0.016*5/exprel((35.1 - u)/5)/ms : Hz
    beta_n = 0.25*exp(0.5 - 0.025*u)/ms : Hz
    alpha_s = 1.6/(1 + exp(-0.072*(u_d - 65)))/ms : Hz
    beta_s = 0.02*5/exprel((u_d - 51.1)/5)/ms : Hz
    alpha_q = 0.01*ca/500/ms : Hz
    """,
    method="rk4",
    on_pre="g_e += w*msiemens/cm**2",
    threshold="v > v_spike",
    refractory="2 ms",
    surrogate=SURROGATE,
    parameters={
        **{"C_m": "0.03 farad/meter**2", "g_l": "1 siemens/meter**2", "E_l": "-60 mV"},
        **{"g_na": "300 siemens/meter**2", "E_na": "60 mV", "g_kdr": "150 siemens/meter**2"},
        **{"E_k": "-75 mV", "g_ca": "100 siemens/meter**2", "E_ca": "80 mV", "E_e": "0 mV"},
        **{"g_ahp": "8 siemens/meter**2", "g_c": "21 siemens/meter**2", "p": 0.5},
        **{"I_0": "0.05 amp/meter**2", "v_spike": "-30 mV", "v_width": "20 mV"},
    },
    initial={"v": "-60*mV", "v_d": "-60*mV", "h": "0.99", "n": "0.01", "s": "0.01"},
)

#: Hindmarsh and Rose 1984, in a time of its own.
HINDMARSH_ROSE = Neuron(
    name="hindmarsh_rose",
    model="""
    dv/dt = (y - a*v**3 + b*v**2 + I_0 + I_syn - z)/tau : 1
    dy/dt = (c - d*v**2 - y)/tau : 1
    dz/dt = r*(s*(v - v_1) - z)/tau : 1
    dI_syn/dt = -I_syn/(2*ms) : 1
    """,
    method="rk4",
    on_pre="I_syn += w",
    threshold="v > v_spike",
    refractory="1 ms",
    surrogate=SURROGATE,
    parameters={
        **{"a": 1, "b": 3, "c": 1, "d": 5, "r": 0.01, "s": 4, "v_1": -1.6, "I_0": 2.0},
        **{"tau": "0.5 ms", "v_spike": 1.0, "v_width": 0.8},
    },
    initial={"v": "v_1", "y": "c - d*v_1**2", "z": "0.1"},
)

#: FitzHugh 1961 and Nagumo et al. 1962.
FITZHUGH_NAGUMO = Neuron(
    name="fitzhugh_nagumo",
    model="""
    dv/dt = (v - v**3/3 - w_r + I_0 + I_syn)/tau : 1
    dw_r/dt = (v + 0.7 - 0.8*w_r)/(12.5*tau) : 1
    dI_syn/dt = -I_syn/(2*ms) : 1
    """,
    method="rk4",
    on_pre="I_syn += w",
    threshold="v > v_spike",
    refractory="1 ms",
    surrogate=SURROGATE,
    parameters={"I_0": 0.3, "tau": "0.2 ms", "v_spike": 1.0, "v_width": 0.8},
    initial={"v": "-1.2", "w_r": "-0.62"},
)

IMPLICIT = ("exponential_euler",)
MODELS = {
    model.neuron.name: model
    for model in (
        Model(TRAUB_MILES, IMPLICIT + EXPLICIT, 60.0),
        Model(HODGKIN_HUXLEY, IMPLICIT + EXPLICIT, 8.0),
        Model(WANG_BUZSAKI, EXPLICIT, 2.0),
        Model(MORRIS_LECAR, EXPLICIT, 60.0),
        Model(PINSKY_RINZEL, EXPLICIT, 0.5),
        Model(HINDMARSH_ROSE, EXPLICIT, 2.0),
        Model(FITZHUGH_NAGUMO, EXPLICIT, 1.0),
    )
}
