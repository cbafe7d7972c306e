"""A printed derivation holds the statements that run, fits its width, and is valid LaTeX."""

import re
from dataclasses import replace
from functools import cache

import pytest
import sympy
from matplotlib.mathtext import MathTextParser

from eprop_brian.equations import ALIF, LIF, Neuron, get_neuron
from eprop_brian.symbolic.coefficients import Coefficient
from eprop_brian.symbolic.eligibility import derive
from eprop_brian.symbolic.latex import derivation_latex
from eprop_brian.symbolic.printing import derivation_text
from eprop_brian.symbolic.programs import factored_program, online_program
from eprop_brian.symbolic.step_map import step_map
from support.conductance_based import MODELS


def squeezed(text):
    return re.sub(r"\s", "", text)


def section(text, title):
    """Lines of a section of the plain text."""
    _, _, rest = text.partition(f"\n{title}")
    return re.split(r"\n\n[^\n]+\n-+\n", rest.partition("\n")[2].partition("\n")[2])[0]


def has_line(text, *columns):
    """Whether a line of a table holds these columns."""
    return re.search(r"(?m)^ *" + r"\s+".join(map(re.escape, columns)) + r"$", text) is not None


@pytest.fixture
def alif(leaky):
    return derivation_text(derive(step_map(ALIF)), leaky)


# --- plain text ----------------------------------------------------------------------------------


def test_every_statement_that_runs_is_printed(any_neuron, any_system, leaky):
    system = any_system
    online, factored = online_program(system, leaky), factored_program(system, leaky)
    text = derivation_text(system, leaky)
    printed = squeezed(text)
    for statement in (*system.step.code, *online.pre, *online.synapse):
        assert squeezed(statement) in printed
    for statement in (*leaky.backward, *factored.backward):
        assert squeezed(statement) in printed
    assert squeezed(system.step.threshold) in printed
    assert squeezed(system.step.surrogate) in printed
    for name in (*any_neuron.parameters, *any_neuron.constants):
        assert re.search(rf"(?m)^    {name} ", text)


def test_width(any_system, leaky):
    lines = derivation_text(any_system, leaky).split("\n")
    assert max(map(len, lines)) <= 100
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("term", ["rho*v", " rho * v ", "1e-3*v", "rho**2*v"])
def test_long_lines_are_folded_without_loss(term, leaky):
    name = "a_very_long_name_of_a_parameter_that_somebody_chose_for_some_reason_of_his_own_long_ago"
    neuron = replace(
        ALIF,
        update=f"v = {'+'.join([term] * 40)} + I - {name}*z\na = rho*a + z",
        parameters={**ALIF.parameters, name: 1},
        source="word " * 100,
    )
    text = derivation_text(derive(step_map(neuron)), leaky)
    assert max(map(len, text.split("\n"))) <= 100
    assert squeezed(neuron.update.split("\n")[0]) in squeezed(text)
    assert not re.search(r"(?m)(\*|[0-9]e)$", text)


def test_step_map(alif):
    assert alif.startswith("Neuron alif\n===========\nSource: Bellec et al. 2020")
    lines = section(alif, "Step map")
    assert "    v = alpha*v + zeta*I - v_th*z\n    a = rho*a + z\n" in lines
    assert has_line(lines, "threshold", "v >= v_th + beta*a")
    assert has_line(lines, "refractory", "t_ref")
    lines = section(alif, "Parameters and constants")
    assert has_line(lines, "tau_a", "2000 ms")
    assert has_line(lines, "rho", "= exp(-dt/tau_a)")


def test_surrogate_while_refractory(alif, leaky):
    assert "While the neuron is refractory, z and psi are 0." in section(alif, "Step map")
    system = derive(step_map(get_neuron("stdp_lif")))
    text = derivation_text(system, leaky)
    assert "While the neuron is refractory, z = 0 and psi = -gamma/v_th." in text
    latex = derivation_latex(system, leaky)
    assert r"\text{, or } - \frac{\gamma}{v_{\mathrm{th}}} \text{ while refractory}" in latex


def test_derivative(alif):
    lines = section(alif, "Derivative of the step map")
    assert has_line(lines, "A[a, a] = dM_a/da", "= rho")
    assert has_line(lines, "u[a] = dM_a/dz", "= 1")
    assert has_line(lines, "b[v] = dM_v/dI", "= zeta")
    assert has_line(lines, "c[a] = dz/da", "= -beta*psi")
    assert "A[a, v]" not in lines and "u[v]" not in lines
    assert has_line(lines, "da[t]/dv[t-1]", "= psi[t-1]")
    assert has_line(lines, "da[t]/da[t-1]", "= -beta*psi[t-1] + rho")
    detached = lines.partition("Detached")[2]
    assert has_line(detached, "dM_v/dz", "= -v_th")


def test_nothing_detached_is_said_nothing_of(leaky):
    text = derivation_text(derive(step_map(replace(ALIF, detach=()))), leaky)
    assert "Detached" not in text
    assert has_line(text, "u[v] = dM_v/dz", "= -v_th")


def test_a_long_step_is_printed_with_the_derivatives_of_its_statements(leaky):
    neuron = replace(MODELS["morris_lecar"].neuron, method="rk4", reset="v = V_L")
    system = derive(step_map(neuron))
    text = derivation_text(system, leaky)
    assert max(map(len, text.split("\n"))) <= 100
    printed = squeezed(section(text, "Derivative of the step map"))
    for slopes in system.slopes:
        for slope in slopes:
            shown = squeezed(f"{slope.name} = {slope.code}") in printed
            assert shown != slope.name.startswith("_d_")
    assert "_d_v_I_syn" in printed and "Detached" in printed
    latex = derivation_latex(system, leaky)
    assert r"k_{4,v} &\leftarrow" in latex and r"p_{k,4,v,n} &=" in latex
    test_latex_is_valid(system, leaky)


def test_recursions_have_time_indices(alif):
    lines = section(alif, "Eligibility system")
    assert has_line(lines, "eps_v[t] = alpha*eps_v[t-1] + zeta*pre[t]")
    assert has_line(lines, "eps_a[t] = rho*eps_a[t-1] + e[t-1]")
    assert has_line(lines, "e[t] = psi[t]*(eps_v[t] - beta*eps_a[t])")
    assert has_line(lines, "ebar[t] = kappa*ebar[t-1] + zeta_out*e[t]")
    assert "change in time" not in lines


def test_coefficients_have_time_indices(izhikevich, leaky):
    lines = section(derivation_text(derive(step_map(izhikevich)), leaky), "Eligibility system")
    assert "A_v_v[t]*eps_v[t-1]" in lines
    assert has_line(lines, "A_v_u[t] = h*(z[t-1] - 1)")


def test_coefficients_of_the_new_state_have_its_index(leaky):
    neuron = replace(ALIF, threshold="v >= v_th + beta*a**2")
    lines = section(derivation_text(derive(step_map(neuron)), leaky), "Eligibility system")
    assert has_line(lines, "c_a[t] = -2*a[t]*beta")
    assert has_line(lines, "e[t] = psi[t]*(eps_v[t] + c_a[t]*eps_a[t])")


def test_places(alif, izhikevich, leaky):
    lines = section(alif, "Where each quantity lives")
    assert has_line(lines, "eps_v", "presynaptic neuron", "N_pre values")
    assert has_line(lines, "eps_a", "synapse", "N_pre*N_post values")
    assert has_line(lines, "psi", "postsynaptic neuron", "N_post values")
    text = derivation_text(derive(step_map(izhikevich)), leaky)
    lines = section(text, "Where each quantity lives")
    assert has_line(lines, "eps_v", "synapse", "N_pre*N_post values")
    assert has_line(lines, "A_v_v", "postsynaptic neuron", "N_post values")
    assert "presynaptic neuron" not in lines


def test_names_of_the_programs_are_explained(alif):
    online = section(alif, "Gradient program 'online'")
    for name in ("pre", "psi", "L", "filtered_trace", "signal_sum"):
        assert re.search(rf"(?m)^    {name}  +\w", online)
    assert "L = L + B*signal" in online
    factored = section(alif, "Gradient program 'factored'")
    for name in ("L_filtered", "rate_factor", "lambda_", "_g", "_mu_...", "carry_..."):
        assert re.search(rf"(?m)^    {re.escape(name)}  +\w", factored)


def test_states_without_a_trace_are_named(leaky):
    neuron = replace(LIF, update=f"{LIF.update}\nx = alpha*x + v")
    assert "No trace, as no weight acts through it: x" in derivation_text(
        derive(step_map(neuron)), leaky
    )


def test_values_per_neuron_are_shortened(leaky):
    neuron = LIF.with_parameters(v_th=[0.5] * 7, t_ref=["1 ms", "2 ms"])
    text = derivation_text(derive(step_map(neuron)), leaky)
    assert has_line(text, "v_th", "0.5, 0.5, 0.5, ... (7 neurons)")
    assert has_line(text, "t_ref", "1 ms, 2 ms (2 neurons)")


def test_print_follows_the_system(leaky):
    """A system with another entry is printed with that entry, wherever it stands."""
    system = derive(step_map(LIF))
    other = Coefficient(sympy.Symbol("marked", real=True))
    changed = replace(system, transition={("v", "v"): other})
    text = derivation_text(changed, leaky)
    for line in ("eps_v[t] = marked*eps_v[t-1] + zeta*pre[t]", "carry_v = marked*_mu_v"):
        assert has_line(text, line)
    assert has_line(text, "A[v, v] = dM_v/dv", "= marked")
    latex = derivation_latex(changed, leaky)
    assert r"\epsilon^{v}_{ji} &\leftarrow \mathrm{marked} \epsilon^{v}_{ji}" in latex


def test_learned_parameters_are_printed(any_neuron, leaky):
    """With all that belongs to them: drives, costs, slopes of constants, sums."""
    step = step_map(any_neuron)
    able = [p for p in ("tau_m", "v_th", "g_l") if p in any_neuron.parameters]
    system = derive(step, able[:1], f"{step.states[0]}**2")
    latex, text = derivation_latex(system, leaky), derivation_text(system, leaky)
    for name in able[:1]:
        assert f"gradient_sum_{name}" in text
        assert r"G^{" in latex


def test_the_slope_of_a_constant_is_printed(leaky):
    system = derive(step_map(LIF), ("tau_m",))
    assert r"\frac{d \alpha}{d \tau_{m}} &= " in derivation_latex(system, leaky)
    text = derivation_text(system, leaky)
    assert has_line(text, "slope_alpha_tau_m", "= dt*exp(-dt/tau_m)/tau_m**2")


def test_generated_names_are_no_states(leaky):
    """A state called as a trace or a coefficient is: that one has a number, wherever it stands."""
    names = ("eps_v", "A_v_v", "carry_v", "eligibility_trace")
    neuron = Neuron(
        name="n",
        update="v = 0.9*v - 0.1*v**2 + I + 0.1*eps_v + 0.1*A_v_v + 0.1*carry_v\n"
        + "\n".join(f"{name} = 0.9*{name} + v" for name in names),
        threshold="v + 0.1*eligibility_trace >= 1",
        surrogate="clip(1 - abs(v - 1), 0, 1)",
    )
    system = derive(step_map(neuron))
    text = derivation_text(system, leaky)
    lines = section(text, "Eligibility system")
    assert "eps_v_2[t] = A_v_v_2[t]*eps_v_2[t-1] + 0.1*eps_eps_v[t-1]" in lines
    assert has_line(lines, "A_v_v_2[t] = 0.9 - 0.2*v[t-1]")
    assert has_line(lines, "e[t] = psi[t]*(eps_v_2[t] + 0.1*eps_eligibility_trace[t])")
    assert "(changes in time: A_v_v_2)" in text
    places = section(text, "Where each quantity lives")
    assert has_line(places, "A_v_v_2", "postsynaptic neuron", "N_post values")
    # They are states in the step map and its derivatives, and nothing else.
    for name in names:
        assert not re.search(rf"\b{name}\b", lines + places)
    assert derivation_latex(system, leaky)


# --- LaTeX ---------------------------------------------------------------------------------------


def rows_of(latex):
    environments = re.findall(r"\\begin\{align\*\}\n(.*?)\n\\end\{align\*\}", latex, re.S)
    assert "\n".join(f"\\begin{{align*}}\n{x}\n\\end{{align*}}" for x in environments) == latex
    return [row for body in environments for row in body.split(" \\\\\n")]


@cache
def parsed(formula):
    return MathTextParser("agg").parse(f"${formula}$")


def test_latex_is_valid(any_system, leaky):
    """Every row is one line with one alignment mark and parses as mathematics."""
    for row in rows_of(derivation_latex(any_system, leaky)):
        assert "\n" not in row
        left, right = re.split(r"(?<!\\)&", row)
        if not right.startswith(r" \textbf{"):
            assert parsed(left or "{}") and parsed(right)


def test_latex_of_alif(leaky):
    rows = rows_of(derivation_latex(derive(step_map(ALIF)), leaky))
    for row in (
        r"v_{j}^{t} &= \alpha v_{j}^{t-1} - v_{\mathrm{th}} z_{j}^{t-1} + \zeta I_{j}^{t}",
        r"\tau_{m} &= \text{20 ms}",
        r"\rho &= e^{- \frac{\delta t}{\tau_{a}}}",
        r"\frac{\partial a_{j}^{t}}{\partial z_{j}^{t-1}} &= 1",
        r"\frac{\partial z_{j}^{t}}{\partial a_{j}^{t}} &= - \beta \psi_{j}^{t}",
        r"\frac{d a_{j}^{t}}{d a_{j}^{t-1}} &= - \beta \psi_{j}^{t-1} + \rho",
        r"\epsilon^{v,t}_{ji} &= \alpha \epsilon^{v,t-1}_{ji} + \zeta \mathrm{pre}^{t}_{i}",
        r"\epsilon^{a,t}_{ji} &= \rho \epsilon^{a,t-1}_{ji} + e^{t-1}_{ji}",
        r"\bar{e}^{t}_{ji} &= \kappa \bar{e}^{t-1}_{ji} + \zeta_{\mathrm{out}} e^{t}_{ji}",
        r"\epsilon^{v}_{ji} &: \text{presynaptic neuron, } N_{\mathrm{pre}} \text{ values}",
        r"\epsilon^{v}_{ji} &\leftarrow \alpha \epsilon^{v}_{ji} + \zeta \mathrm{pre}_{i}",
        r"\hat{\mu}^{a}_{j} &\leftarrow \rho \mu^{a}_{j}",
        r"L_{j} &\leftarrow B_{jk} s_{k} + L_{j}",
    ):
        assert row in rows


def test_latex_has_a_row_for_every_statement(any_system, leaky):
    online, factored = online_program(any_system, leaky), factored_program(any_system, leaky)
    rows = rows_of(derivation_latex(any_system, leaky))
    statements = [*online.pre, *online.synapse, *leaky.backward, *factored.backward]
    formulas = {"rate_factor", "L"} & set(re.findall(r"\w+", " ".join(statements)))
    assert sum(r"&\leftarrow" in row for row in rows) == len(statements) + len(formulas)


def test_latex_names(adex, leaky):
    latex = derivation_latex(derive(step_map(adex)), leaky)
    assert r"w_{a,j}^{t-1}" in latex
    assert r"I_{\mathrm{syn},j}^{t} &=" in latex
    assert r"\epsilon^{I_{\mathrm{syn}},t-1}_{ji}" in latex
    assert r"A^{w_{a},v}_{j}" in latex
    assert "_v_" not in latex


def test_latex_escapes_text(leaky):
    neuron = replace(LIF, source=r"50 % & a_b #1 {x} $y ~z ^w \v")
    latex = derivation_latex(derive(step_map(neuron)), leaky)
    assert r"50 \% \& a\_b \#1 \{x\} \$y \textasciitilde{}z \textasciicircum{}w" in latex
