"""The derived traces are the literature's, and each lives where it has to."""

from dataclasses import replace

import pytest
import sympy
from brian2 import ms
from brian2.parsing.sympytools import sympy_to_str

from eprop_brian.equations import ALIF, LIF, get_neuron
from eprop_brian.equations.traces import ALIF_BELLEC_2020, ALIF_NEST, LIF_BELLEC_2020
from eprop_brian.symbolic.eligibility import derive
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import parse_expression, symbol
from eprop_brian.symbolic.functions import where
from eprop_brian.symbolic.names import BEFORE
from eprop_brian.symbolic.programs import online_program
from eprop_brian.symbolic.step_map import step_map

N_STEPS = 4


def system_of(neuron, **changes):
    return derive(step_map(replace(neuron, **changes)))


def expression(text):
    return parse_expression(text, "test", detached=True)


def equal(first, second):
    first = getattr(first, "expression", first)
    second = expression(second) if isinstance(second, str) else second
    # A choice by 0 or 1 as the sum that it stands for.
    first, second = (x.replace(where, lambda c, a, b: b + (a - b) * c) for x in (first, second))
    # Rational numbers, as sums of decimal ones are rounded.
    difference = sympy.nsimplify(first, rational=True) - sympy.nsimplify(second, rational=True)
    return sympy.simplify(difference) == 0


def unroll(statements, n_steps=N_STEPS):
    """Run statements symbolically from zero and return the eligibility trace of every step.

    ``psi`` and ``pre`` of step t are the symbols ``psi_t`` and ``pre_t``; names that end in
    ``_previous`` hold the value that the name had at the end of the step before.
    """
    lines = [line.split(" = ", 1) for line in statements if line]
    assigned = {name for name, _ in lines}
    values = dict.fromkeys(assigned | {"psi"}, sympy.Integer(0))
    traces = []
    for t in range(n_steps):
        values |= {f"{name}_previous": values[name] for name in (*assigned, "psi")}
        values |= {"psi": symbol(f"psi_{t}"), "pre": symbol(f"pre_{t}")}
        for name, text in lines:
            values[name] = expression(text).xreplace({symbol(k): v for k, v in values.items()})
        traces.append(values["eligibility_trace"])
    return traces


def derived_statements(neuron, leaky):
    program = online_program(system_of(neuron), leaky)
    traces = [line for line in program.synapse if not line.startswith(("filtered", "signal", "tr"))]
    return [*program.pre, *traces]


@pytest.mark.parametrize(
    ("neuron", "literature"),
    [(LIF, LIF_BELLEC_2020), (ALIF, ALIF_BELLEC_2020), (ALIF, ALIF_NEST)],
    ids=["LIF, Bellec et al. 2020", "ALIF, Bellec et al. 2020", "ALIF, NEST"],
)
def test_traces_are_the_literatures(neuron, literature, leaky):
    derived = unroll(derived_statements(neuron, leaky))
    printed = unroll(literature.split("\n"))
    assert derived[-1].has(symbol("pre_0"))
    for one, other in zip(derived, printed, strict=True):
        assert sympy.expand(one - other) == 0


def test_jacobian_is_the_papers():
    """Bellec et al. 2020, Methods: dh[t]/dh[t-1] of the ALIF neuron."""
    system = system_of(ALIF)
    assert system.dh_dh("v", "v") == symbol("alpha")
    assert system.dh_dh("v", "a") == 0
    assert system.dh_dh("a", "v") == symbol("psi")
    assert equal(system.dh_dh("a", "a"), "rho - beta*psi")


def test_entries_of_alif():
    system = system_of(ALIF)
    assert {key: str(entry) for key, entry in system.transition.items()} == {
        ("v", "v"): "alpha",
        ("v", "a"): "0",
        ("a", "v"): "0",
        ("a", "a"): "rho",
    }
    assert {k: str(entry) for k, entry in system.spike_path.items()} == {"v": "0", "a": "1"}
    assert {k: str(entry) for k, entry in system.drive[""].items()} == {"v": "zeta", "a": "0"}
    assert {k: str(x) for k, x in system.spike_gradient.items()} == {"v": "1", "a": "-beta"}
    assert system.varying(after=False) == system.varying(after=True) == {}


def same_system(first, second, constants):
    """Whether two systems agree once `constants` are written out in the second."""
    values = {symbol(name): expression(text) for name, text in constants.items()}
    assert first.components == second.components
    assert first.placement == second.placement
    groups = [
        *((getattr(x, group) for x in (first, second)) for group in ("transition", "spike_path")),
        (first.drive[""], second.drive[""]),
        (first.spike_gradient, second.spike_gradient),
    ]
    for one, other in groups:
        assert one.keys() == other.keys()
        for key, entry in one.items():
            assert sympy.simplify(entry.expression - other[key].expression.subs(values)) == 0


def test_both_styles_give_the_same_lif(lif_brian2):
    written = system_of(LIF, update="v = alpha*(v + I - v_th*z)")
    same_system(system_of(lif_brian2), written, {"alpha": "exp(-dt/tau_m)"})


def test_both_styles_give_the_same_alif(lif_brian2):
    brian2 = replace(
        lif_brian2,
        model="dv/dt = -v/tau_m : 1\nda/dt = -a/tau_a : 1",
        reset="v -= v_th; a += 1",
        threshold=ALIF.threshold,
        surrogate=ALIF.surrogate,
        parameters=ALIF.parameters,
    )
    written = system_of(ALIF, update="v = alpha*(v + I - v_th*z)\na = rho*(a + z)")
    decays = {"alpha": "exp(-dt/tau_m)", "rho": "exp(-dt/tau_a)"}
    same_system(system_of(brian2), written, decays)


def test_a_different_step_is_a_different_system(lif_brian2):
    """The input decays within its step in one of them."""
    written = system_of(LIF, update="v = alpha*v + I - v_th*z")
    with pytest.raises(AssertionError):
        same_system(system_of(lif_brian2), written, {"alpha": "exp(-dt/tau_m)"})


# --- placement -----------------------------------------------------------------------------------


def test_filtered_spikes_live_on_the_presynaptic_neuron():
    assert system_of(LIF).placement[""] == {"v": "pre"}


@pytest.mark.parametrize("tau_m", [[20, 30] * ms, ["20 ms", "30 ms"]], ids=["array", "texts"])
def test_per_neuron_decay_needs_the_synapse(tau_m):
    assert derive(step_map(LIF.with_parameters(tau_m=tau_m))).placement[""] == {"v": "synapse"}


def test_learned_parameters_are_per_neuron():
    step = step_map(LIF)
    assert derive(step, learned=["tau_m"]).placement[""] == {"v": "synapse"}
    assert derive(step, learned=["v_th"]).placement[""] == {"v": "pre"}


def test_adaptation_lives_on_the_synapse():
    assert system_of(ALIF).placement[""] == {"v": "pre", "a": "synapse"}


def test_current_and_membrane_live_on_the_presynaptic_neuron(cuba):
    placement = system_of(cuba).placement[""]
    assert placement == {"v": "pre", "I_syn": "pre", "a": "synapse", "b": "pre"}
    assert system_of(cuba, threshold="v > v_th", surrogate="1/(1 + abs(v - v_th))**2").placement[
        ""
    ] == {
        "v": "pre",
        "I_syn": "pre",
    }


def test_what_reads_a_synaptic_component_is_synaptic():
    """`b` has constant coefficients, but follows the adaptation, which is on the synapse."""
    system = system_of(
        ALIF,
        update="v = alpha*v + I - v_th*z\nb = rho*b + a\na = rho*a + z",
        threshold="v >= v_th + beta*a + beta*b",
    )
    assert system.placement[""] == {"v": "pre", "b": "synapse", "a": "synapse"}


@pytest.mark.parametrize(
    "extra",
    [
        "x = rho*x + v",  # driven by the weights, seen by nobody
        "x = rho*x + z",
        "x = rho*x + 1",
    ],
)
def test_state_that_no_spike_sees_has_no_trace(extra):
    assert system_of(ALIF, update=f"{ALIF.update}\n{extra}").components == ("v", "a")


def test_state_that_no_weight_moves_has_no_trace():
    """A clock that shifts the threshold."""
    update = f"{LIF.update}\nclock = alpha*clock + 1"
    system = system_of(LIF, update=update, threshold="v >= v_th + clock")
    assert system.components == ("v",)
    assert set(system.spike_gradient) == {"v"}


def test_input_must_reach_the_threshold():
    with pytest.raises(EquationError, match="the input I never reaches the threshold"):
        system_of(LIF, update="v = alpha*v - v_th*z\nx = I")


# --- detached paths ------------------------------------------------------------------------------


def test_reset_is_detached_and_adaptation_is_not():
    system = system_of(ALIF)
    assert system.step.detached == ("v",)
    assert system.spike_path["v"].is_zero
    assert not system.spike_path["a"].is_zero


def test_reset_can_be_kept():
    system = system_of(ALIF, detach=())
    assert equal(system.spike_path["v"], "-v_th")
    assert equal(system.dh_dh("v", "v"), "alpha - v_th*psi")
    assert equal(system.dh_dh("v", "a"), "v_th*beta*psi")
    assert system.placement[""]["v"] == "synapse"


def test_adaptation_can_be_detached():
    system = system_of(ALIF, detach=("v", "a"))
    assert system.components == ("v",)


def test_states_the_input_enters_are_detached(cuba):
    assert system_of(cuba).step.detached == ("v", "I_syn")
    # The membrane's reset reaches `b` in the same step; that path is detached with it.
    assert system_of(cuba).spike_path["b"].is_zero
    kept = system_of(cuba, detach=()).spike_path["b"]
    assert equal(kept, "-v_th*(1 - exp(-dt/tau_b))")


def test_reset_to_a_value_still_forgets(adex):
    """Detached is the slope along the spike; the factor 1 - z of the old membrane stays."""
    system = system_of(adex)
    assert system.transition["v", "v"].expression.subs(symbol("z"), 1) == 0
    assert equal(system.spike_path["w_a"], "k_b*(1 - dt/tau_w)")


# --- coefficients that change in time ------------------------------------------------------------


def test_izhikevich(izhikevich):
    system = system_of(izhikevich)
    assert system.placement[""] == {"v": "synapse", "u": "synapse"}
    slope = "(1 - z)*(1 + h*(0.08*v + 5))"
    varying = system.varying(after=False)
    assert set(varying) == {"A_v_v", "A_v_u", "A_u_v", "A_u_u", "b_v", "b_u"}
    assert equal(varying["A_v_v"], slope)
    assert equal(varying["A_u_v"], f"h*0.004*{slope}")
    assert equal(varying["A_v_u"], "-h*(1 - z)")
    assert equal(varying["A_u_u"], "1 - h*0.02 - 0.004*h**2*(1 - z)")
    assert equal(varying["b_u"], "0.004*h**2*(1 - z)")
    assert equal(system.spike_path["u"], "8")


def test_adex(adex):
    system = system_of(adex)
    assert system.placement[""] == {"v": "synapse", "w_a": "synapse", "I_syn": "pre"}
    varying = system.varying(after=False)
    assert set(varying) == {"A_v_v", "A_w_a_v"}
    reset = "(v + (V_r - v)*z)"
    assert equal(
        varying["A_v_v"],
        f"(1 - z)*(1 + dt*g_l/C*(exp(({reset} - V_t)/D_t) - 1))",
    )
    assert system.transition["v", "v"].name == str(system.transition["v", "v"]) == "A_v_v"
    assert system.transition["v", "v"].times("x") == "A_v_v*x"


def test_clamped_membrane_has_coefficients_that_switch(clamped):
    system = system_of(clamped)
    assert system.placement[""] == {"v": "synapse", "g_e": "pre"}
    varying = system.varying(after=False)
    assert set(varying) == {"A_v_v", "b_v"}
    held = {symbol("not_refractory"): 0, symbol(BEFORE): 0, symbol("z"): 0}
    assert varying["A_v_v"].subs(held) == 1
    assert varying["b_v"].subs(held) == 0
    last = held | {symbol(BEFORE): 1}
    assert equal(varying["A_v_v"].subs(last), "1 - 0.1*I")
    assert equal(varying["b_v"].subs(last), "0.1*(E_e - v)")
    on = last | {symbol("not_refractory"): 1}
    assert equal(varying["A_v_v"].subs(on), "(1 - 0.1*I)*exp(-dt/tau_m)")


def test_conductance_makes_the_path_of_a_weight_depend_on_the_voltage():
    system = system_of(get_neuron("lif_cond"))
    assert system.placement[""] == {"v": "synapse", "g_syn": "pre"}
    reset = "(v + (E_L - v)*z)"
    assert equal(system.varying(after=False)["b_v"], f"dt*g_0/C*(E_e - {reset})")
    assert equal(system.varying(after=False)["A_v_g_syn"], f"dt/C*(E_e - {reset})")
    assert not system.drive[""]["g_syn"].name


def test_membrane_is_zeroed_at_a_spike_and_when_refractoriness_ends():
    for name in ("stdp_lif", "stdp_alif"):
        system = system_of(get_neuron(name))
        released = "not_refractory*(1 - active)"
        assert equal(system.varying(after=False)["A_v_v"], f"alpha*(1 - z - {released})")
        assert "active" not in system.components and "released" not in system.components


def test_threshold_that_is_not_linear():
    system = system_of(ALIF, threshold="v >= v_th + beta*a**2")
    assert system.varying(after=False) == {}
    assert equal(system.varying(after=True)["c_a"], "-2*beta*a")


def test_coefficient_of_an_absolute_value_has_a_form_in_code():
    system = system_of(LIF, update="v = sqrt(abs(v) + 1) + I - v_th*z")
    assert not system.transition["v", "v"].expression.has(sympy.Piecewise)
    assert "sign(v)" in str(system.varying(after=False)["A_v_v"])


def test_every_neuron_has_coefficients_that_code_can_hold(any_system):
    """Each entry is read back from its text as the same expression, in the neuron's own names."""
    system, step = any_system, any_system.step
    known = {*step.states, *step.parameters, *step.constants, "I", "z", "dt"}
    known |= {"not_refractory", BEFORE}
    varying = [system.varying(after=after).values() for after in (False, True)]
    entries = [e for group in varying for e in group]
    for group in (system.transition, system.spike_path, system.drive[""], system.spike_gradient):
        entries += [entry.expression for entry in group.values()]
    for entry in entries:
        assert {s.name for s in entry.free_symbols} <= known
        assert equal(entry, sympy_to_str(entry))
