"""Neurons with ion channels."""

from eprop_brian.equations.neuron import Neuron

__all__ = [
    "COBA_HH_2007",
    "FITZHUGH_NAGUMO",
    "HODGKIN_HUXLEY",
    "IF_CURVE_HH",
    "MORRIS_LECAR_1981",
    "PINSKY_RINZEL_1994",
    "ROTHMAN_MANIS_2003",
    "WANG_BUZSAKI_1996",
]

#: Areas multiplied out.
_HH_2007 = {
    "Cm": "200 pF",
    "gl": "10 nS",
    "EK": "-90 mV",
    "ENa": "50 mV",
    "g_na": "20 uS",
    "g_kd": "6 uS",
    "VT": "-63 mV",
}

COBA_HH_2007 = Neuron(
    name="coba_hh_2007",
    model="""
    dv/dt = (gl*(El-v)+ge*(Ee-v)+gi*(Ei-v)-
             g_na*(m*m*m)*h*(v-ENa)-
             g_kd*(n*n*n*n)*(v-EK))/Cm : volt
    dm/dt = alpha_m*(1-m)-beta_m*m : 1
    dn/dt = alpha_n*(1-n)-beta_n*n : 1
    dh/dt = alpha_h*(1-h)-beta_h*h : 1
    dge/dt = -ge*(1./taue) : siemens
    dgi/dt = -gi*(1./taui) : siemens
    alpha_m = 0.32*(mV**-1)*4*mV/exprel((13*mV-v+VT)/(4*mV))/ms : Hz
    beta_m = 0.28*(mV**-1)*5*mV/exprel((v-VT-40*mV)/(5*mV))/ms : Hz
    alpha_h = 0.128*exp((17*mV-v+VT)/(18*mV))/ms : Hz
    beta_h = 4./(1+exp((40*mV-v+VT)/(5*mV)))/ms : Hz
    alpha_n = 0.032*(mV**-1)*5*mV/exprel((15*mV-v+VT)/(5*mV))/ms : Hz
    beta_n = .5*exp((10*mV-v+VT)/(40*mV))/ms : Hz
    """,
    method="exponential_euler",
    on_pre={"excitatory": "ge+=w*we", "inhibitory": "gi+=w*wi"},
    threshold="v>-20*mV",
    refractory="3 ms",
    surrogate="",
    parameters={
        **_HH_2007,
        "El": "-60 mV",
        "taue": "5 ms",
        "taui": "10 ms",
        "Ee": "0 mV",
        "Ei": "-80 mV",
        "we": "6 nS",
        "wi": "67 nS",
    },
    initial={
        "v": "El + (randn() * 5 - 5)*mV",
        "ge": "(randn() * 1.5 + 4) * 10.*nS",
        "gi": "(randn() * 12 + 20) * 10.*nS",
    },
    source="examples/COBAHH.py; Brette et al. 2007, J. Comput. Neurosci. 23:349, benchmark 3",
)

IF_CURVE_HH = Neuron(
    name="if_curve_hh",
    model="""
    dv/dt = (gl*(El-v) - g_na*(m*m*m)*h*(v-ENa) - g_kd*(n*n*n*n)*(v-EK) + I)/Cm : volt
    dm/dt = 0.32*(mV**-1)*4*mV/exprel((13.*mV-v+VT)/(4*mV))/ms*(1-m)-0.28*(mV**-1)*5*mV/exprel((v-VT-40.*mV)/(5*mV))/ms*m : 1
    dn/dt = 0.032*(mV**-1)*5*mV/exprel((15.*mV-v+VT)/(5*mV))/ms*(1.-n)-.5*exp((10.*mV-v+VT)/(40.*mV))/ms*n : 1
    dh/dt = 0.128*exp((17.*mV-v+VT)/(18.*mV))/ms*(1.-h)-4./(1+exp((40.*mV-v+VT)/(5.*mV)))/ms*h : 1
    I : amp
    """,  # noqa: E501
    method="exponential_euler",
    on_pre="v += w*mV",
    threshold="v > -40*mV",
    refractory="v > -40*mV",
    surrogate="",
    parameters={**_HH_2007, "El": "-65 mV", "I": "0.7*nA * i / N"},
    initial={"v": "El"},
    source="examples/IF_curve_Hodgkin_Huxley.py, on_pre added",
)

HODGKIN_HUXLEY = Neuron(
    name="hodgkin_huxley",
    model="""
    I_leak = gl*(El - vm) : amp
    I_K = g_K*n**4*(EK-vm) : amp
    dn/dt = alphan*(1-n)-betan*n : 1
    alphan = .01*(10*mV-vm)/(exp(1-.1*vm/mV)-1)/mV/ms : Hz
    betan = .125*exp(-.0125*vm/mV)/ms : Hz
    I_Na = g_Na*m**3*h*(ENa-vm) : amp
    dm/dt=alpham*(1-m)-betam*m : 1
    dh/dt=alphah*(1-h)-betah*h : 1
    alpham=.1*(25*mV-vm)/(exp(2.5-.1*vm/mV)-1)/mV/ms : Hz
    betam=4*exp(-.0556*vm/mV)/ms : Hz
    alphah=.07*exp(-.05*vm/mV)/ms : Hz
    betah=1./(1+exp(3.-.1*vm/mV))/ms : Hz
    dvm/dt = (I_leak + I_K + I_Na + I_inj)/C : volt
    I_inj : amp
    """,
    method="exponential_euler",
    on_pre="vm += w*mV",
    threshold="m > 0.5",
    refractory="m > 0.4",
    surrogate="",
    parameters={
        "gl": "60 nS",
        "El": "10.6 mV",
        "g_K": "7.2 uS",
        "EK": "-12 mV",
        "g_Na": "24 uS",
        "ENa": "115 mV",
        "C": "200 pF",
        "I_inj": "2 nA",
    },
    initial={
        "vm": "0*mV",
        "n": "alphan/(alphan + betan)",
        "m": "alpham/(alpham + betam)",
        "h": "alphah/(alphah + betah)",
    },
    source="docs_sphinx/introduction/brian1_to_2/library.rst, ionic currents, with the threshold "
    "of docs_sphinx/user/multicompartmental.rst, initial values and on_pre added; Hodgkin and "
    "Huxley 1952, J. Physiol. 117:500",
)

MORRIS_LECAR_1981 = Neuron(
    name="morris_lecar_1981",
    model="""
    dV/dt = (-g_L*(V - V_L) - g_Ca*m_inf*(V - V_Ca) - g_K*n*(V - V_K) + I)/C : volt
    dn/dt = lambda_n*(n_inf - n) : 1
    m_inf = 0.5*(1 + tanh((V - V_1)/V_2)) : 1
    n_inf = 0.5*(1 + tanh((V - V_3)/V_4)) : 1
    lambda_n = lambda_n__max*cosh((V - V_3)/(2*V_4)) : Hz
    I : amp
    """,
    method="exponential_euler",
    on_pre="V += w*mV",
    threshold="V > 0*mV",
    refractory="V > 0*mV",
    surrogate="",
    parameters={
        "g_L": "2 mS",
        "g_Ca": "4 mS",
        "g_K": "8 mS",
        "V_L": "-50 mV",
        "V_Ca": "100 mV",
        "V_K": "-70 mV",
        "lambda_n__max": "1/15/ms",
        "V_1": "10 mV",
        "V_2": "15 mV",
        "V_3": "-1 mV",
        "V_4": "14.5 mV",
        "C": "20 uF",
        "I": "(i*25+100)*uA",
    },
    initial={"V": "V_L", "n": "n_inf"},
    source="examples/frompapers/Morris_Lecar_1981.py, threshold and on_pre added; Morris and Lecar "
    "1981, Biophys. J. 35:193",
)

WANG_BUZSAKI_1996 = Neuron(
    name="wang_buzsaki_1996",
    model="""
    dv/dt = (-gNa*m**3*h*(v-ENa)-gK*n**4*(v-EK)-gL*(v-EL)+Iapp)/Cm : volt
    m = alpha_m/(alpha_m+beta_m) : 1
    alpha_m = 0.1/mV*10*mV/exprel(-(v+35*mV)/(10*mV))/ms : Hz
    beta_m = 4*exp(-(v+60*mV)/(18*mV))/ms : Hz
    dh/dt = 5*(alpha_h*(1-h)-beta_h*h) : 1
    alpha_h = 0.07*exp(-(v+58*mV)/(20*mV))/ms : Hz
    beta_h = 1./(exp(-0.1/mV*(v+28*mV))+1)/ms : Hz
    dn/dt = 5*(alpha_n*(1-n)-beta_n*n) : 1
    alpha_n = 0.01/mV*10*mV/exprel(-(v+34*mV)/(10*mV))/ms : Hz
    beta_n = 0.125*exp(-(v+44*mV)/(80*mV))/ms : Hz
    """,
    method="exponential_euler",
    on_pre="v += w*mV",
    threshold="v > -20*mV",
    refractory="v > -20*mV",
    surrogate="",
    parameters={
        "Cm": "1 uF",
        "Iapp": "2 uA",
        "gL": "0.1 mS",
        "EL": "-65 mV",
        "ENa": "55 mV",
        "EK": "-90 mV",
        "gNa": "35 mS",
        "gK": "9 mS",
    },
    initial={"v": "-70*mV", "h": "1"},
    source="examples/frompapers/Wang_Buszaki_1996.py, threshold and on_pre added; Wang and Buzsáki "
    "1996, J. Neurosci. 16:6402",
)

FITZHUGH_NAGUMO = Neuron(
    name="fitzhugh_nagumo",
    model="""
    dv/dt = (v - v**3/3 - w + I)/tau : 1
    dw/dt = (v + a - b*w)/(12.5*tau) : 1
    """,
    method="rk4",
    on_pre="v += w",
    threshold="v > 1",
    refractory="v > 0",
    surrogate="",
    parameters={"tau": "1 ms", "a": 0.7, "b": 0.8, "I": 0.5},
    initial={"v": "-1.2", "w": "-0.62"},
    source="FitzHugh 1961, Biophys. J. 1:445, in Nagumo's sign of v",
)

#: Of type I-c, the default of the script.
ROTHMAN_MANIS_2003 = Neuron(
    name="rothman_manis_2003",
    model="""
    dv/dt = (ileak + ina + ikht + iklt + ika + ih + ihcno + I)/C : volt
    vu = v/mV : 1  # unitless v
    I : amp
    ileak = gl*(El-v) : amp
    ika = gkabar*a**4*b*c*(EK-v): amp
    da/dt=q10*(ainf-a)/atau : 1
    db/dt=q10*(binf-b)/btau : 1
    dc/dt=q10*(cinf-c)/ctau : 1
    ainf = (1. / (1 + exp(-(vu + 31) / 6.)))**0.25 : 1
    binf = 1. / (1 + exp((vu + 66) / 7.))**0.5 : 1
    cinf = 1. / (1 + exp((vu + 66) / 7.))**0.5 : 1
    atau =  ((100. / (7*exp((vu+60) / 14.) + 29*exp(-(vu+60) / 24.))) + 0.1)*ms : second
    btau =  ((1000. / (14*exp((vu+60) / 27.) + 29*exp(-(vu+60) / 24.))) + 1)*ms : second
    ctau = ((90. / (1 + exp((-66-vu) / 17.))) + 10)*ms : second
    ina = gnabar*m**3*h*(ENa-v) : amp
    dm/dt=q10*(minf-m)/mtau : 1
    dh/dt=q10*(hinf-h)/htau : 1
    minf = 1./(1+exp(-(vu + 38.) / 7.)) : 1
    hinf = 1./(1+exp((vu + 65.) / 6.)) : 1
    mtau =  ((10. / (5*exp((vu+60.) / 18.) + 36.*exp(-(vu+60.) / 25.))) + 0.04)*ms : second
    htau =  ((100. / (7*exp((vu+60.) / 11.) + 10.*exp(-(vu+60.) / 25.))) + 0.6)*ms : second
    ih = ghbar*r*(Eh-v) : amp
    dr/dt=q10*(rinf-r)/rtau : 1
    rinf = 1. / (1+exp((vu + 76.) / 7.)) : 1
    rtau = ((100000. / (237.*exp((vu+60.) / 12.) + 17.*exp(-(vu+60.) / 14.))) + 25.)*ms : second
    iklt = gkltbar*w**4*z*(EK-v) : amp
    dw/dt=q10*(winf-w)/wtau : 1
    dz/dt=q10*(zinf-z)/ztau : 1
    winf = (1. / (1 + exp(-(vu + 48.) / 6.)))**0.25 : 1
    zinf = zss + ((1.-zss) / (1 + exp((vu + 71.) / 10.))) : 1
    wtau = ((100. / (6.*exp((vu+60.) / 6.) + 16.*exp(-(vu+60.) / 45.))) + 1.5)*ms : second
    ztau = ((1000. / (exp((vu+60.) / 20.) + exp(-(vu+60.) / 8.))) + 50)*ms : second
    ikht = gkhtbar*(nf*n**2 + (1-nf)*p)*(EK-v) : amp
    dn/dt=q10*(ninf-n)/ntau : 1
    dp/dt=q10*(pinf-p)/ptau : 1
    ninf =   (1 + exp(-(vu + 15) / 5.))**-0.5 : 1
    pinf =  1. / (1 + exp(-(vu + 23) / 6.)) : 1
    ntau =  ((100. / (11*exp((vu+60) / 24.) + 21*exp(-(vu+60) / 23.))) + 0.7)*ms : second
    ptau = ((100. / (4*exp((vu+60) / 32.) + 5*exp(-(vu+60) / 22.))) + 5)*ms : second
    ihcno = gbarno*(h1*frac + h2*(1-frac))*(Eh-v) : amp
    dh1/dt=(hinfno-h1)/tau1 : 1
    dh2/dt=(hinfno-h2)/tau2 : 1
    hinfno = 1./(1+exp((vu+66.)/7.)) : 1
    tau1 = bet1/(qt*0.008*(1+alp1))*ms : second
    tau2 = bet2/(qt*0.0029*(1+alp2))*ms : second
    alp1 = exp(1e-3*3*(vu+50)*9.648e4/(8.315*(273.16+temp))) : 1
    bet1 = exp(1e-3*3*0.3*(vu+50)*9.648e4/(8.315*(273.16+temp))) : 1
    alp2 = exp(1e-3*3*(vu+84)*9.648e4/(8.315*(273.16+temp))) : 1
    bet2 = exp(1e-3*3*0.6*(vu+84)*9.648e4/(8.315*(273.16+temp))) : 1
    """,
    method="exponential_euler",
    on_pre="v += w*mV",
    threshold="v > -20*mV",
    refractory="v > -20*mV",
    surrogate="",
    parameters={
        "C": "12 pF",
        "Eh": "-43 mV",
        "EK": "-70 mV",
        "El": "-65 mV",
        "ENa": "50 mV",
        "nf": 0.85,
        "zss": 0.5,
        "temp": 22.0,
        "q10": 1.0,
        "frac": 0.0,
        # 4.5**((temp - 33)/10)
        "qt": 0.1911715539,
        "gnabar": "1000 nS",
        "gkhtbar": "150 nS",
        "gkltbar": "0 nS",
        "gkabar": "0 nS",
        "ghbar": "0.5 nS",
        "gbarno": "0 nS",
        "gl": "2 nS",
        "I": "250 pA",
    },
    initial={"v": "El"},
    source="examples/frompapers/Rothman_Manis_2003.py, threshold and on_pre added; Rothman and "
    "Manis 2003, J. Neurophysiol. 89:3097",
)

#: Soma and dendrite with voltages relative to rest and conductances per cm², in a notation of
#: Brian2; branches of the rates are conditions, as Brian2 users write them.
PINSKY_RINZEL_1994 = Neuron(
    name="pinsky_rinzel_1994",
    model="""
    dVs/dt = (-g_L*Vs - g_Na*m_inf**2*h*(Vs-V_Na) - g_KDR*n*(Vs-V_K)
              + g_c/p*(Vd-Vs) + I_s/p)/C_m : volt
    dVd/dt = (-g_L*Vd - I_Ca - g_KAHP*q*(Vd-V_K) - g_KC*c*clip(Ca/250, 0, 1)*(Vd-V_K)
              + g_c/(1-p)*(Vs-Vd) - g_syn*(Vd-V_syn)/(1-p))/C_m : volt
    dh/dt = alpha_h*(1-h) - beta_h*h : 1
    dn/dt = alpha_n*(1-n) - beta_n*n : 1
    ds/dt = alpha_s*(1-s) - beta_s*s : 1
    dc/dt = alpha_c*(1-c) - beta_c*c : 1
    dq/dt = alpha_q*(1-q) - beta_q*q : 1
    dCa/dt = -0.13*I_Ca/(uA*ms) - 0.075*Ca/ms : 1
    dg_syn/dt = -g_syn/tau_syn : siemens
    I_Ca = g_Ca*s**2*(Vd-V_Ca) : amp
    m_inf = alpha_m/(alpha_m + beta_m) : 1
    alpha_m = 0.32*4/exprel((13.1 - Vs/mV)/4)/ms : Hz
    beta_m = 0.28*5/exprel((Vs/mV - 40.1)/5)/ms : Hz
    alpha_n = 0.016*5/exprel((35.1 - Vs/mV)/5)/ms : Hz
    beta_n = 0.25*exp(0.5 - 0.025*Vs/mV)/ms : Hz
    alpha_h = 0.128*exp((17 - Vs/mV)/18)/ms : Hz
    beta_h = 4/(1 + exp((40 - Vs/mV)/5))/ms : Hz
    alpha_s = 1.6/(1 + exp(-0.072*(Vd/mV - 65)))/ms : Hz
    beta_s = 0.02*5/exprel((Vd/mV - 51.1)/5)/ms : Hz
    below = exp((Vd/mV - 10)/11 - (Vd/mV - 6.5)/27)/18.975 : 1
    above = 2*exp((6.5 - Vd/mV)/27) : 1
    alpha_c = (int(Vd <= 50*mV)*below + int(Vd > 50*mV)*above)/ms : Hz
    beta_c = int(Vd <= 50*mV)*(above - below)/ms : Hz
    alpha_q = clip(0.00002*Ca, 0, 0.01)/ms : Hz
    beta_q = 0.001/ms : Hz
    """,
    method="euler",
    on_pre="g_syn += w*uS",
    threshold="Vs > 50*mV",
    refractory="Vs > 20*mV",
    surrogate="",
    parameters={
        "C_m": "3 uF",
        "g_L": "0.1 mS",
        "g_Na": "30 mS",
        "g_KDR": "15 mS",
        "g_Ca": "10 mS",
        "g_KAHP": "0.8 mS",
        "g_KC": "15 mS",
        "g_c": "2.1 mS",
        "p": 0.5,
        "V_Na": "120 mV",
        "V_Ca": "140 mV",
        "V_K": "-15 mV",
        "V_syn": "60 mV",
        "tau_syn": "2 ms",
        "I_s": "0.75 uA",
    },
    initial={"h": "0.999", "n": "0.001", "s": "0.009", "c": "0.007", "q": "0.01", "Ca": "0.2"},
    source="Pinsky and Rinzel 1994, J. Comput. Neurosci. 1:39, eqs. 1-6 and table 1, with an "
    "exponential synaptic conductance",
)
