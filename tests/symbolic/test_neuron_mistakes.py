"""Mistakes in a neuron are named with their line."""

from dataclasses import replace

import pytest
from brian2 import ms

from eprop_brian.equations import LIF, Neuron
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.step_map import step_map

BRIAN2 = Neuron(
    name="lif",
    model="dv/dt = -v/tau_m : 1\ndu/dt = -u/tau_m : 1",
    on_pre="u += w",
    reset="v -= v_th",
    threshold="v > v_th",
    surrogate="1/(1 + abs(v - v_th))**2",
    parameters={"tau_m": "20 ms", "v_th": 1},
)

MISTAKES = {
    "neither style": (LIF, {"update": ""}, "update", "has neither: give either `update`"),
    "both styles": (LIF, {"model": "dv/dt = -v/tau_m : 1"}, "model", "has both: give either"),
    "a name that is none": (LIF, {"name": "my neuron"}, "my neuron", "letters, digits and _"),
    "a name that is no text": (LIF, {"name": None}, "None", "letters, digits and _"),
    "no parameters": (LIF, {"parameters": None}, "parameters = None", "must be a mapping"),
    "no initial values": (LIF, {"initial": None}, "initial = None", "must be a mapping"),
    "a list of arrays": (LIF, {"timed_arrays": [1]}, r"timed_arrays = [1]", "must be a mapping"),
    "a detached state as text": (LIF, {"detach": "v"}, "detach = 'v'", "must be a list of states"),
    "a division by zero": (
        LIF,
        {"update": "v = alpha*v + I/0"},
        "alpha*v + I/0",
        "divides by 0",
    ),
    "a time constant that is none": (
        LIF,
        {"parameters": {**LIF.parameters, "tau_m": "0 ms"}},
        "tau_m = 0.0 s",
        "must be positive",
    ),
    "no statement": (LIF, {"update": "v == 1"}, "v == 1", "not a statement of the form"),
    "two statements for a state": (LIF, {"update": "v = I\nv = v"}, "v = I", "more than one"),
    "an undefined symbol": (
        LIF,
        {"update": "v = alpha*v + I - vth*z"},
        "alpha*v + I - vth*z",
        r"'vth' is not defined \(did you mean 'v_th'\?\). Defined here: I, alpha, dt",
    ),
    "a wrong unit": (
        LIF,
        {"update": "v = alpha*v + I - tau_m*z"},
        "alpha*v + I - tau_m*z",
        "units do not fit",
    ),
    "a state with a unit": (LIF, {"update": "v = tau_m"}, "v = tau_m", "has unit s where 1"),
    "a state that is a parameter": (LIF, {"update": "v = I; v_th = v"}, "v_th", "both a state"),
    "an option of the other style": (
        LIF,
        {"reset": "v = 0"},
        "v = 0",
        "`reset` belongs to `model`",
    ),
    "the input as a state": (LIF, {"update": "z = I"}, "z", "reserved name"),
    "a function's name": (LIF, {"update": "exp = I"}, "exp", "reserved name"),
    "a reserved ending": (LIF, {"update": "v_pre = I"}, "v_pre", "must not end with _pre"),
    "a reserved parameter": (
        LIF,
        {"parameters": {**LIF.parameters, "I": 1}},
        "I",
        "reserved name",
    ),
    "a keyword": (
        LIF,
        {"parameters": {**LIF.parameters, "lambda": 1}},
        "lambda",
        "is a keyword of Python",
    ),
    "no name": (
        LIF,
        {"parameters": {**LIF.parameters, "tau-s": 1}},
        "tau-s",
        "are made of letters",
    ),
    "a parameter as a unit": (
        LIF,
        {"parameters": {**LIF.parameters, "ms": 2}},
        "tau_m = 20 ms",
        "in the unit 'ms', which is also a name of this neuron",
    ),
    "a time in a parameter": (
        LIF,
        {"parameters": {**LIF.parameters, "second": 2}, "refractory": ".1 second"},
        "refractory = .1 second",
        "in the unit 'second'",
    ),
    "a time that is no text": (BRIAN2, {"refractory": [5] * ms}, "refractory = ", "a parameter"),
    "a reset that is no text": (BRIAN2, {"reset": 0}, "reset = 0", "a string, empty for none"),
    "a constant that is no text": (LIF, {"constants": {"alpha": [0.9]}}, "alpha = [0.9]", "a str"),
    "a misspelt flag": (
        BRIAN2,
        {"model": "dv/dt = -v/tau_m : 1 (unless refactory)"},
        "(unless refactory)",
        "unknown flag 'unless refactory' .did you mean 'unless refractory'",
    ),
    "a flag of a parameter": (
        BRIAN2,
        {"model": "dv/dt = -v/tau_m : 1 (constant)"},
        "dv/dt = -v/tau_m : 1 (constant)",
        "unknown flag 'constant'; the flags of a differential equation are unless refractory",
    ),
    "a flag of a state": (
        BRIAN2,
        {"model": "dv/dt = -u/tau_m : 1\nu = v : 1 (unless refractory)"},
        "u = v : 1 (unless refractory)",
        "unknown flag 'unless refractory'; the flags of a subexpression are shared",
    ),
    "a shared value of each neuron": (
        BRIAN2,
        {"model": "dv/dt = -u/tau_m : 1\nu = 2*v : 1 (shared)"},
        "u = 2*v : 1 (shared)",
        "one value for all neurons .shared., and 'v' has one for each",
    ),
    "a shared value of parameters of each neuron": (
        BRIAN2,
        {
            "model": "dv/dt = (u - v)/tau_m : 1\nu = 2*E : 1 (shared)",
            "parameters": {"tau_m": "20 ms", "v_th": 0.6, "E": [0.1, 0.2]},
        },
        "u = 2*E : 1 (shared)",
        "'E' has one for each",
    ),
    "a choice by a comparison": (
        LIF,
        {"update": "v = where(v > 0.5, 0, alpha*v + I)"},
        "where(v > 0.5, 0, alpha*v + I)",
        "the condition of where is `v > 0.5`; it must be the name",
    ),
    "a choice by a number": (LIF, {"update": "v = where(0.5, 0, I)"}, "where", "must be the name"),
    "a choice in a model": (
        BRIAN2,
        {"model": "dv/dt = where(v, 1, 2)/tau_m : 1"},
        "where(v, 1, 2)",
        "'where' is not a function here",
    ),
    "a random state": (LIF, {"update": "v = poisson(2)*I"}, "poisson(2)*I", "'poisson' is random"),
    "a condition": (LIF, {"update": "v = I > 1"}, "I > 1", "is a condition where a number"),
    "no spike condition": (LIF, {"threshold": " "}, "empty", "a spike condition is needed"),
    "two comparisons": (
        LIF,
        {"threshold": "v >= v_th and v > 0"},
        "v >= v_th and v > 0",
        "weights reach both `v >= v_th` and `v > 0`",
    ),
    "a side that is a condition": (
        LIF,
        {"threshold": "v >= v_th and alpha"},
        "v_th and alpha",
        "`alpha` is none",
    ),
    "a threshold in another unit": (
        LIF,
        {"threshold": "v >= tau_m"},
        "v >= tau_m",
        "has unit s where 1 is needed",
    ),
    "a threshold of constants": (
        LIF,
        {"threshold": "alpha >= 0.5"},
        "alpha >= 0.5",
        "does not depend on any state",
    ),
    "a step as surrogate": (
        LIF,
        {"surrogate": "gamma*sign(v - v_th)"},
        "gamma*sign(v - v_th)",
        "uses 'sign': a step has no slope",
    ),
    "a comparison as surrogate": (
        LIF,
        {"surrogate": "gamma*int(v > v_th)"},
        "gamma*int(v > v_th)",
        "a step has no slope",
    ),
    "a constant surrogate": (
        LIF,
        {"surrogate": "gamma/v_th"},
        "gamma/v_th",
        "does not depend on the states of the threshold",
    ),
    "a surrogate of the input": (
        LIF,
        {"surrogate": "gamma*exp(-abs(v - v_th)) + 0*I"},
        "gamma*exp(-abs(v - v_th)) + 0*I",
        "without I and z",
    ),
    "a surrogate in the wrong unit": (
        LIF,
        {"surrogate": "exp(-abs(v - v_th))*tau_m"},
        "exp(-abs(v - v_th))*tau_m",
        r"has unit s; dz/dv needs 1 \(one over the threshold's\)",
    ),
    "no surrogate while refractory": (LIF, {"refractory_surrogate": " "}, "empty", "e.g. `0`"),
    "a step as surrogate while refractory": (
        LIF,
        {"refractory_surrogate": "-sign(v)"},
        "-sign(v)",
        "uses 'sign': a step has no slope",
    ),
    "a surrogate of the spike while refractory": (
        LIF,
        {"refractory_surrogate": "-gamma*z"},
        "-gamma*z",
        "without I and z",
    ),
    "a surrogate in the wrong unit while refractory": (
        LIF,
        {"refractory_surrogate": "-gamma*tau_m"},
        "-gamma*tau_m",
        "has unit s; dz/dv needs 1",
    ),
    "a surrogate that is never used": (
        LIF,
        {"refractory_surrogate": "-gamma", "refractory": ""},
        "-gamma",
        "the neuron has no `refractory` time",
    ),
    "an unknown refractory time": (LIF, {"refractory": "t_rf"}, "t_rf", "is not a parameter"),
    "a constant refractory time": (LIF, {"refractory": "alpha"}, "alpha", "must be a time"),
    "a refractory time in mV": (LIF, {"refractory": "5 mV"}, "5 mV", "must be a time"),
    "a refractory number": (LIF, {"refractory": "5"}, "5", "must be a time"),
    "a negative refractory time": (LIF, {"refractory": "-5 ms"}, "-5 ms", "must not be negative"),
    "a refractory condition": (LIF, {"refractory": "v > 0"}, "v > 0", "belongs to `model`"),
    "a detached non-state": (LIF, {"detach": ("a",)}, "a", "'a' is not defined"),
    "an initial value of no state": (LIF, {"initial": {"a": "0"}}, "a = 0", "'a' is not defined"),
    "an initial value that is no expression": (
        LIF,
        {"initial": {"v": "v_th v_th"}},
        "v = v_th v_th",
        r"cannot be read(.|\n)*e\.g\. `E_l` or `-70\*mV`",
    ),
    "an initial value in a unit": (
        LIF,
        {"initial": {"v": "-70*mV"}},
        "v = -70*mV",
        "has unit V where 1 is needed",
    ),
    "an initial value in another unit": (
        LIF,
        {"initial": {"v": "tau_m"}},
        "v = tau_m",
        "has unit s where 1 is needed",
    ),
    "an initial value that runs": (
        LIF,
        {"initial": {"v": "exit()"}},
        "v = exit()",
        "'exit' is not a function here",
    ),
    "a constant with a wrong unit": (
        LIF,
        {"constants": {"alpha": "exp(-tau_m)", "zeta": "1"}},
        "exp(-tau_m)",
        "units do not fit",
    ),
    "an equation without a unit": (
        BRIAN2,
        {"model": "dv/dt = -v/tau_m : 1\ndu/dt = -u/tau_m"},
        "du/dt = -u/tau_m",
        "write one equation a line with its unit",
    ),
    "an equation with a wrong unit": (
        BRIAN2,
        {"model": "dv/dt = -v : 1\ndu/dt = -u/tau_m : 1"},
        "dv/dt = -v",
        "has unit 1 where Hz is needed",
    ),
    "two equations for a state": (
        BRIAN2,
        {"model": "dv/dt = -v/tau_m : 1\ndv/dt = -v/tau_m : 1"},
        "dv/dt = -v/tau_m",
        "Duplicate definition of variable 'v'",
    ),
    "a parameter in the model": (
        BRIAN2,
        {"model": "dv/dt = -v/tau_m : 1\nu : 1"},
        "u : 1",
        "'u' has no value",
    ),
    "an integer in the model": (
        BRIAN2,
        {"model": "dv/dt = -v/tau_m : 1\nu = int(v) : integer"},
        "u = int(v)",
        "has the type integer or boolean",
    ),
    "noise": (
        BRIAN2,
        {"model": "dv/dt = -v/tau_m + xi*tau_m**-0.5 : 1"},
        "method = exact",
        r"cannot integrate white noise \(xi\)",
    ),
    "a reserved name in the model": (
        BRIAN2,
        {"model": "dv/dt = -v/tau_m : 1\ndcm/dt = -cm/tau_m : 1", "on_pre": "v += w"},
        "dv/dt",
        "'cm' is the name of a unit",
    ),
    "a state that is the weight": (
        BRIAN2,
        {"model": "dv/dt = -v/tau_m : 1\ndw/dt = -w/tau_m : 1", "on_pre": "w += w"},
        "w = w + (w)",
        "the neuron's own w is w_post",
    ),
    "an unknown method": (BRIAN2, {"method": "magic"}, "magic", "There are: linear, exact"),
    "a method without a map": (BRIAN2, {"method": "gsl"}, "gsl", "unknown method"),
    "a method that cannot": (
        BRIAN2,
        {"model": "dv/dt = -v**2/tau_m : 1\ndu/dt = -u/tau_m : 1"},
        "dv/dt = -v",
        "method 'exact' cannot integrate it",
    ),
    "no entry for the input": (BRIAN2, {"on_pre": ""}, "on_pre", "e.g. `v [+]= w`"),
    "an entry into nothing": (BRIAN2, {"on_pre": "x += w"}, "x = x", "'x' is not defined"),
    "an input that is not summed": (
        BRIAN2,
        {"on_pre": "u = 0.9*u + w"},
        "u = 0.9*u + w",
        "must add something proportional to the weight",
    ),
    "an input that overwrites": (BRIAN2, {"on_pre": "u = w"}, "u = w", "must add something"),
    "an input without a weight": (BRIAN2, {"on_pre": "u += 1"}, "u = u + (1)", "must add"),
    "an input of the weight and a state": (BRIAN2, {"on_pre": "u += exp(w*u)"}, "exp", "must add"),
    "a step of the weight": (BRIAN2, {"on_pre": "u += int(w > 1)"}, "int", "by jumps alone"),
    "two functions of the weight": (
        BRIAN2,
        {"on_pre": "u += abs(w); v += w"},
        "v = v + (w)",
        r"sums `w` over the spikes of a step, and another statement `abs\(w\)`",
    ),
    "an order that does not exist": (
        BRIAN2,
        {"on_pre_order": "serial"},
        "on_pre_order = serial",
        "sequential",
    ),
    "no closed form one after the other": (
        BRIAN2,
        {"on_pre": "u += w*u**2", "on_pre_order": "sequential"},
        "u = u + (w*u**2)",
        "has no closed form",
    ),
    "a reset of nothing": (BRIAN2, {"reset": "x = 0"}, "x = 0", "'x' is not defined"),
    "a reset with a wrong unit": (BRIAN2, {"reset": "v = tau_m"}, "v = tau_m", "has unit s"),
}


@pytest.mark.parametrize(("neuron", "change", "line", "problem"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_named_with_its_line(neuron, change, line, problem):
    with pytest.raises(EquationError, match=problem) as caught:
        step_map(replace(neuron, **change))
    assert line in caught.value.line
    assert caught.value.where.startswith("neuron '")


def test_a_message_acts_on_no_terminal():
    with pytest.raises(EquationError) as caught:
        step_map(replace(LIF, update="v = I*\x1b[31m"))
    assert "I*?[31m" in str(caught.value)
