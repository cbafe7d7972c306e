"""Both ways of writing a neuron end in one form; mistakes are named with their line."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import sympy
from brian2 import ms

from eprop_brian.equations import ALIF, LEAKY, LIF, Neuron
from eprop_brian.symbolic.eligibility import derive
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import evaluate, parse_expression, scaled, symbol, total
from eprop_brian.symbolic.functions import where
from eprop_brian.symbolic.names import BEFORE
from eprop_brian.symbolic.step_map import readout_map, step_map


def same(expression, text):
    """Whether an expression equals a text once the detached spike is a spike like any other."""
    spike = expression.subs(symbol("z_detached"), symbol("z"))
    # A choice by 0 or 1 as the sum that it stands for.
    spike = spike.replace(where, lambda condition, a, b: b + (a - b) * condition)
    return sympy.simplify(spike - parse_expression(text, "test")) == 0


def test_update_style_keeps_its_statements():
    step = step_map(ALIF)
    assert step.states == ("v", "a")
    assert step.code == ("v = alpha*v + zeta*I - v_th*z", "a = rho*a + z")
    assert step.composed["v"] == parse_expression("alpha*v + zeta*I - v_th*z_detached", "test")
    assert step.composed["a"] == parse_expression("rho*a + z", "test")
    assert step.margin == parse_expression("v - v_th - beta*a", "test")
    assert step.units == {"v": "1", "a": "1"}


def test_update_style_statements_see_the_values_above_them(izhikevich):
    step = step_map(izhikevich)
    v = "((1 - z)*(v + h*(0.04*v**2 + 5*v + 140 - u + I)) - 65*z)"
    assert same(step.composed["v"], v)
    assert same(step.composed["u"], f"u + h*0.02*(0.2*{v} - u) + 8*z")


def test_augmented_assignment_and_comments():
    neuron = replace(LIF, update="v *= alpha  # decay; and nothing else\nv2 = v2 + I; w_2 -= v2")
    assert step_map(neuron).code == ("v = v * (alpha)", "v2 = v2 + I", "w_2 = w_2 - (v2)")


@pytest.mark.parametrize("method", ["exact", "linear", "exponential_euler"])
def test_brian2_style_is_spike_reset_then_state_update(lif_brian2, method):
    step = step_map(replace(lif_brian2, method=method))
    assert same(step.composed["v"], "exp(-dt/tau_m)*(v + I - v_th*z)")
    assert step.detached == ("v",)


def test_method_is_brian2s_own(lif_brian2):
    euler = step_map(replace(lif_brian2, method="euler"))
    assert same(euler.composed["v"], "(1 - dt/tau_m)*(v + I - v_th*z)")
    rk2 = step_map(replace(lif_brian2, method="rk2"))
    assert same(rk2.composed["v"], "(1 - dt/tau_m + (dt/tau_m)**2/2)*(v + I - v_th*z)")


def test_reset_to_a_value(adex):
    step = step_map(adex)
    wanted = "v + (V_r - v)*z"
    assert same(
        step.composed["v"],
        f"{wanted} + dt*(g_l*(E_l - ({wanted})) + g_l*D_t*exp((({wanted}) - V_t)/D_t)"
        " - (w_a + k_b*z) + I_syn + I)/C",
    )
    assert step.units == {"v": "volt", "w_a": "amp", "I_syn": "amp"}


def test_subexpressions_are_written_out_wherever_they_are_used(cuba):
    step = step_map(replace(cuba, reset="v -= theta; a += 1"))
    assert step.margin == parse_expression("v - v_th - beta*a - gamma*b", "test")
    assert "theta" not in step.surrogate + step.threshold + "".join(step.code)
    known = {*step.states, *step.parameters, "I", "z", "z_detached", "dt"}
    for expression in step.composed.values():
        assert {s.name for s in expression.free_symbols} <= known


def test_unless_refractory_holds_the_state(clamped):
    composed = step_map(clamped).composed
    held = composed["v"].subs({symbol("not_refractory"): 0, symbol("z_detached"): 0})
    assert same(held.subs(symbol(BEFORE), 1), "v + 0.1*I*(E_e - v)")
    # Brian2's synapses do not write it either.
    assert held.subs(symbol(BEFORE), 0) == symbol("v")
    moving = composed["v"].subs({symbol("not_refractory"): 1, symbol(BEFORE): 1})
    assert same(moving, "exp(-dt/tau_m)*(1 - z)*(v + 0.1*I*(E_e - v))")
    assert not composed["g_e"].has(symbol("not_refractory"))


@pytest.mark.parametrize(
    "threshold",
    [
        "v >= v_th + beta*a",
        "v - v_th >= beta*a",
        "v - v_th - beta*a > 0",
        "v/v_th > 1 + beta*a/v_th",
    ],
)
def test_the_same_condition_detaches_the_same_states(threshold):
    step = step_map(replace(ALIF, threshold=threshold))
    assert step.detached == ("v",)
    # Whatever the sign of the adaptation, which the input does not reach without a spike.
    facilitated = replace(ALIF, threshold=threshold, parameters={**ALIF.parameters, "beta": -0.1})
    assert step_map(facilitated).detached == ("v",)


@pytest.mark.parametrize(
    "threshold",
    ["v > theta", "v - theta > 0", "v >= theta", "v - beta*a - v_th >= gamma*b", "0.5*v > theta/2"],
)
def test_a_threshold_that_the_membrane_drives_is_not_detached(cuba, threshold):
    # The input reaches b, by way of v, and a rise of b holds spikes off.
    assert step_map(replace(cuba, threshold=threshold)).detached == ("v", "I_syn")


@pytest.mark.parametrize(
    "threshold", ["v > v_th*(1 + b)", "v/(1 + b) > v_th", "v*exp(-b) > v_th", "v > v_th*exp(b)"]
)
def test_the_slope_at_the_threshold_counts(cuba, threshold):
    bump = "1/(1 + abs(v - b))**2"
    assert step_map(replace(cuba, threshold=threshold, surrogate=bump)).detached == ("v", "I_syn")


def test_a_factor_that_a_presynaptic_spike_changes_is_warned_of(lif_brian2, clamped):
    with pytest.warns(UserWarning, match=r"something with 'v', which a presynaptic spike changes"):
        step_map(clamped)
    with warnings.catch_warnings(record=True) as caught:
        step_map(replace(lif_brian2, on_pre="v += w*v_th"))
    assert not [w for w in caught if "presynaptic" in str(w.message)]


def test_refractory_time_is_counted_as_brian2_counts_it(lif_brian2):
    tenths = np.array([0, 4, 10, 25, 26, 35, 37.5, 50])
    times = [f"{x / 10} ms" for x in tenths]
    own = [step_map(replace(lif_brian2, refractory=t)).refractory_steps(1e-3) for t in times]
    assert own == [0, 0, 1, 2, 2, 3, 3, 5]
    papers = [step_map(replace(LIF, refractory=t)).refractory_steps(1e-3) for t in times]
    assert papers == [0, 0, 1, 2, 3, 4, 4, 5]


def test_reset_has_all_digits_of_its_value(lif_brian2):
    step = step_map(replace(lif_brian2, reset="v = v_th/3", method="euler"))
    values = {**step.values(1e-3), "dt": 1e-3, "I": 0.0, "z": 1.0, "not_refractory": 1.0, "v": 1e20}
    assert evaluate(step.code[1].split(" = ")[1], values, "test", detached=True) == 0.6 / 3


def test_choice_has_the_derivative_of_what_is_chosen():
    z, v = symbol("z"), symbol("v")
    choice = where(z, sympy.exp(v), v**2)
    assert sympy.diff(choice, v) == where(z, sympy.exp(v), 2 * v)
    assert sympy.diff(choice, z) == sympy.exp(v) - v**2
    assert where(z, v, v) == v and where(sympy.S.One, z, v) == z and where(sympy.S.Zero, z, v) == v
    assert where(z, sympy.S.Zero, sympy.S.One) == 1 - z


def test_update_may_read_whether_the_neuron_is_refractory():
    update = (
        "seen = not_refractory*(1 - active)\nv = alpha*v*(1 - seen) + I\nactive = not_refractory"
    )
    step = step_map(replace(LIF, update=update))
    assert same(step.composed["v"], "alpha*v*(1 - not_refractory*(1 - active)) + I")
    assert step.detached == ("v",)


def test_pseudo_derivative_while_refractory():
    assert step_map(LIF).psi == f"where(not_refractory, {LIF.surrogate}, 0)"
    negative = step_map(replace(LIF, refractory_surrogate="-gamma/v_th"))
    assert negative.refractory_surrogate == "-gamma/v_th"
    psi = parse_expression(negative.psi, "test", detached=True)
    assert sympy.simplify(psi.subs(symbol("not_refractory"), 0)) == parse_expression(
        "-gamma/v_th", "test"
    )
    surrogate = parse_expression(LIF.surrogate, "test")
    assert sympy.simplify(psi.subs(symbol("not_refractory"), 1) - surrogate) == 0


def test_subexpressions_are_written_out_while_refractory_too(cuba):
    silent = replace(cuba, refractory="5 ms", refractory_surrogate="-1/(1 + abs(v - theta))**2")
    assert "theta" not in step_map(silent).psi


def test_no_symbol_is_left_undefined(any_neuron):
    step = step_map(any_neuron)
    known = {*step.states, *step.parameters, *step.constants}
    known |= {"I", "z", "z_detached", "not_refractory", BEFORE, "dt"}
    for expression in (*step.composed.values(), step.margin):
        assert {s.name for s in expression.free_symbols} <= known


def test_values():
    step = step_map(LIF.with_parameters(tau_m=[10 * ms, 20 * ms]))
    values = step.values(1e-3)
    np.testing.assert_allclose(values["alpha"], np.exp([-0.1, -0.05]))
    assert values["zeta"] == 1.0


def test_constants_may_use_those_above():
    neuron = replace(LIF, constants={"alpha": "exp(-dt/tau_m)", "zeta": "1 - alpha"})
    assert step_map(neuron).values(1e-3)["zeta"] == pytest.approx(1 - np.exp(-0.05))
    with pytest.raises(EquationError, match="'alpha' is not defined"):
        step_map(replace(LIF, constants={"zeta": "1 - alpha", "alpha": "exp(-dt/tau_m)"}))


def test_initial_values(izhikevich, adex):
    assert step_map(izhikevich).initial_values(1e-3) == {"v": -65.0, "u": -13.0}
    initial = step_map(adex).initial_values(1e-3)
    assert initial == {"v": pytest.approx(-0.07), "w_a": 0.0, "I_syn": 0.0}
    assert step_map(replace(adex, initial={"v": "0"})).initial_values(1e-3)["v"] == 0.0


def test_units_can_be_written_in_equations(adex):
    step = step_map(
        replace(
            adex,
            threshold="v > -40*mV",
            surrogate="0.3/(2*mV)/(1 + abs(v + 40*mV)/(2*mV))**2",
            initial={"v": "-70*mV"},
        )
    )
    assert step.initial_values(1e-3)["v"] == pytest.approx(-0.07)
    assert step.values(1e-3)["mV"] == 1e-3


@pytest.mark.parametrize(
    ("refractory", "steps"),
    [("t_ref", 5), ("", 0), ("2 ms", 2), ("2.4 ms", 2), ("2.6*ms", 3), ("0 ms", 0)],
)
def test_refractory_time_in_steps(refractory, steps):
    assert step_map(replace(LIF, refractory=refractory)).refractory_steps(1e-3) == steps


def test_refractory_time_per_neuron():
    step = step_map(LIF.with_parameters(t_ref=["1 ms", "3 ms"]))
    np.testing.assert_array_equal(step.refractory_steps(1e-3), [1, 3])


def test_readout():
    decay, gain = readout_map(LEAKY)
    assert (decay, gain) == (symbol("kappa"), symbol("zeta_out"))
    for update, message in (
        ("y = kappa*y**2 + I", "must be linear"),
        ("y = kappa*y + I\nx = y", "must be one statement for y"),
        ("y = kap*y + I", r"'kap' is not defined \(did you mean 'kappa'\?\)"),
    ):
        with pytest.raises(EquationError, match=message):
            readout_map(replace(LEAKY, update=update))


def test_terms_are_put_together():
    assert total("a*x", "", "-b*y") == "a*x - b*y"
    assert total("", "") == "0"
    assert scaled(parse_expression("-a", "test"), "x") == "-a*x"
    assert scaled(parse_expression("a + 1", "test"), "x") == "(a + 1)*x"
    assert scaled(parse_expression("0", "test"), "x") == ""
    assert scaled(parse_expression("1", "test"), "x") == "x"


# --- mistakes ------------------------------------------------------------------------------------

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
    "a state with a unit": (LIF, {"update": "v = tau_m"}, "v = tau_m", "has unit second where 1"),
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
    "a time that is no text": (BRIAN2, {"refractory": 5 * ms}, "refractory = ", "a string"),
    "no reset": (BRIAN2, {"reset": None}, "reset = None", "a string, empty for none"),
    "a constant that is no text": (LIF, {"constants": {"alpha": 0.9}}, "alpha = 0.9", "a string"),
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
    "a clipped state": (
        LIF,
        {"update": "v = clip(alpha*v, 0, 1) + I"},
        "v = clip(alpha*v, 0, 1) + I",
        "'clip' cannot be differentiated",
    ),
    "a state rounded up": (
        LIF,
        {"update": "v = alpha*ceil(v) + I"},
        "v = alpha*ceil(v) + I",
        "'ceil' cannot be differentiated",
    ),
    "an integer state": (
        LIF,
        {"update": "v = alpha*v + int(I)"},
        "v = alpha*v + int(I)",
        "'int' cannot be differentiated",
    ),
    "a random state": (LIF, {"update": "v = rand()*I"}, "rand()*I", "'rand' is random"),
    "a condition": (LIF, {"update": "v = I > 1"}, "I > 1", "is a condition where a number"),
    "no spike condition": (LIF, {"threshold": " "}, "empty", "a spike condition is needed"),
    "two comparisons": (
        LIF,
        {"threshold": "v >= v_th and v > 0"},
        "v >= v_th and v > 0",
        "must be one comparison with > or >=",
    ),
    "a comparison the wrong way": (LIF, {"threshold": "v < v_th"}, "v < v_th", "one comparison"),
    "a side that is a condition": (
        LIF,
        {"threshold": "v >= v_th and alpha"},
        "v_th and alpha",
        "is a condition where a number is needed",
    ),
    "a threshold in another unit": (
        LIF,
        {"threshold": "v >= tau_m"},
        "v >= tau_m",
        "has unit second where 1 is needed",
    ),
    "a threshold of constants": (
        LIF,
        {"threshold": "alpha >= 0.5"},
        "alpha >= 0.5",
        "does not depend on any state",
    ),
    "no surrogate": (LIF, {"surrogate": ""}, "empty", "dz/dv is needed"),
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
        r"has unit second; dz/dv needs 1 \(one over the threshold's\)",
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
        "has unit second; dz/dv needs 1",
    ),
    "a surrogate that is never used": (
        LIF,
        {"refractory_surrogate": "-gamma", "refractory": ""},
        "-gamma",
        "the neuron has no `refractory` time",
    ),
    "an unknown refractory time": (LIF, {"refractory": "t_rf"}, "t_rf", "is not a parameter"),
    "a constant refractory time": (LIF, {"refractory": "alpha"}, "alpha", "is not a parameter"),
    "a refractory time in mV": (LIF, {"refractory": "5 mV"}, "5 mV", "must be a time"),
    "a refractory number": (LIF, {"refractory": "5"}, "5", "must be a time"),
    "a negative refractory time": (LIF, {"refractory": "-5 ms"}, "-5 ms", "must not be negative"),
    "a refractory condition": (LIF, {"refractory": "v > 0"}, "v > 0", "not a number with a unit"),
    "a detached non-state": (LIF, {"detach": ("a",)}, "a", "'a' is not defined"),
    "an initial value of no state": (LIF, {"initial": {"a": "0"}}, "a = 0", "'a' is not defined"),
    "an initial value that is no expression": (
        LIF,
        {"initial": {"v": "-70 mV"}},
        "v = -70 mV",
        r"cannot be read(.|\n)*e\.g\. `E_l` or `-70\*mV`",
    ),
    "an initial value in a unit": (
        LIF,
        {"initial": {"v": "-70*mV"}},
        "v = -70*mV",
        "has unit volt where 1 is needed",
    ),
    "an initial value in another unit": (
        LIF,
        {"initial": {"v": "tau_m"}},
        "v = tau_m",
        "has unit second where 1 is needed",
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
        "has unit 1 where hertz is needed",
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
        r"parameters belong in \[parameters\]",
    ),
    "an integer in the model": (
        BRIAN2,
        {"model": "dv/dt = -v/tau_m : 1\nu = int(v) : integer"},
        "u = int(v)",
        "has the type integer or boolean",
    ),
    "noise": (BRIAN2, {"model": "dv/dt = -v/tau_m + xi*tau_m**-0.5 : 1"}, "xi", "'xi' is not"),
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
    "an input of the weight squared": (BRIAN2, {"on_pre": "u += w**2"}, "w**2", "must add"),
    "a reset of nothing": (BRIAN2, {"reset": "x = 0"}, "x = 0", "'x' is not defined"),
    "a reset with a wrong unit": (BRIAN2, {"reset": "v = tau_m"}, "v = tau_m", "has unit second"),
}


@pytest.mark.parametrize(("neuron", "change", "line", "problem"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_named_with_its_line(neuron, change, line, problem):
    with pytest.raises(EquationError, match=problem) as caught:
        step_map(replace(neuron, **change))
    assert line in caught.value.line
    assert caught.value.where.startswith("neuron '")


STEPS = (
    ("floor({})", "floor"),
    ("ceil({})", "ceil"),
    ("int({})", "int"),
    ("sign({})", "sign"),
    ("clip({}, 0, 1)", "clip"),
    ("timestep({}*second, dt)", "timestep"),
    ("{}//1", "floor"),
    ("{} % 0.3", "%"),
    ("int({} > 1 and {} < 3)", "int"),
)


@pytest.mark.parametrize(("step", "name"), STEPS)
def test_functions_without_a_slope_may_be_of_parameters(step, name):
    def neuron(of, threshold="v > 1", before=""):
        return Neuron(
            name="s",
            update=f"{before}\nv = 0.9*v + I + ({step.format(of, of)})",
            threshold=threshold,
            surrogate="clip(1 - abs(v - 1), 0, 1)",
            parameters={"q": 1.4},
        )

    mapped = step_map(neuron("q"))
    assert derive(mapped).transition["v", "v"].code == "0.9"
    with pytest.raises(EquationError, match=f"'{name}' cannot be differentiated") as error:
        derive(mapped, ("q",))
    assert error.value.line.startswith("v = 0.9*v + I + (")
    for moving in ("v", "I", "z", "x"):
        with pytest.raises(EquationError, match=f"'{name}' cannot be differentiated") as error:
            step_map(neuron(moving, before="x = 0.9*x + I"))
        assert error.value.line.startswith("v = 0.9*v + I + (")
    if "and" not in step:
        threshold = f"({step.format('v')}) > 0.5"
        with pytest.raises(EquationError, match=f"'{name}' cannot be differentiated") as error:
            step_map(neuron("q", threshold))
        assert error.value.line == threshold


def test_the_line_with_the_step_is_quoted():
    neuron = Neuron(
        name="s",
        model="dv/dt = (0.1*(v % 0.3) - v)/(10*ms) : 1",
        on_pre="v += w",
        method="euler",
        threshold="v > 1",
        surrogate="clip(1 - abs(v - 1), 0, 1)",
    )
    with pytest.raises(EquationError, match="'%' cannot be differentiated") as error:
        step_map(neuron)
    assert error.value.line.startswith("_v = dt*(") and "%" in error.value.line
