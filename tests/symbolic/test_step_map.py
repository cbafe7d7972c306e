"""Both ways of writing a neuron end in one form."""

import warnings
from dataclasses import replace

import brian2
import numpy as np
import pytest
import sympy
from brian2 import ms
from brian2.stateupdaters.base import StateUpdateMethod, UnsupportedEquationsException

from eprop_brian.equations import ALIF, LEAKY, LIF
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


@pytest.mark.parametrize(
    "model",
    [
        "dv/dt = (x - v)/tau_m : 1\ndx/dt = -x/tau_m : 1",
        "dv/dt = (v**2 - x)/tau_m : 1\ndx/dt = -x/tau_m : 1",
        "dv/dt = (x - v)/tau_m + xi*tau_m**-0.5 : 1\ndx/dt = -x/tau_m : 1",
        "dv/dt = (x - v)/tau_m + v*xi*tau_m**-0.5 : 1\ndx/dt = -x/tau_m : 1",
        "dv/dt = (sin(t/tau_m) - v)/tau_m : 1\ndx/dt = -x/tau_m : 1",
    ],
    ids=["linear", "square", "noise", "noise_that_multiplies", "time"],
)
def test_the_method_that_brian2_chooses_is_taken_where_none_is_named(lif_brian2, model):
    neuron = replace(lif_brian2, model=model)
    group = brian2.NeuronGroup(1, model, namespace={"tau_m": 20 * ms})
    methods = ("exact", "euler", "heun")
    variables = group.resolve_all({*group.equations.identifiers, "v", "x", "dt"}, {})
    for method in methods:
        try:
            StateUpdateMethod.apply_stateupdater(group.equations, variables, method)
        except UnsupportedEquationsException:
            continue
        break
    for nothing in ("", None):
        step = step_map(replace(neuron, method=nothing))
        assert step.code == step_map(replace(neuron, method=method)).code


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
