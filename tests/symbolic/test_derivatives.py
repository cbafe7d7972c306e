"""Derivatives are finite where they exist, right to the last digits, and never take long."""

import mpmath
import numpy as np
import pytest
from brian2.core.functions import DEFAULT_FUNCTIONS
from brian2.parsing.sympytools import str_to_sympy

from eprop_brian.equations import NEURONS, Neuron
from eprop_brian.symbolic.derivatives import derivative, tidied, vanishes
from eprop_brian.symbolic.eligibility import derive
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import evaluate, expression_text, parse_expression
from eprop_brian.symbolic.functions import IN_NUMPY
from eprop_brian.symbolic.losses import derive_loss
from eprop_brian.symbolic.numeric import value_in_numpy
from eprop_brian.symbolic.step_map import step_map

HILL = "c**n/(c**n + K**n)"
HUGE = 1e4


def slope(expression, by, **values):
    """The derivative in double precision, without its last form's shortening and with it."""
    found = derivative(parse_expression(expression, ""), str_to_sympy(by))
    short = tidied(found)
    values = {name: np.float64(value) for name, value in values.items()}
    both = [value_in_numpy(x, values, {}) for x in (found, short)]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-12)
    return both[1]


# Each value is the derivative's limit, worked out by hand.
@pytest.mark.parametrize(
    ("expression", "by", "values", "expected"),
    [
        (HILL, "c", {"c": 0, "n": 2, "K": 0.5}, 0),
        (HILL, "c", {"c": 0, "n": 1, "K": 0.5}, 2),
        (HILL, "c", {"c": 0, "n": 2.5, "K": 0.5}, 0),
        (HILL, "n", {"c": 0, "n": 2, "K": 0.5}, 0),
        (HILL, "K", {"c": 0, "n": 2, "K": 0.5}, 0),
        ("1/(1 + (c/K)**-n)", "c", {"c": 0.25, "n": 2, "K": 0.5}, 1.28),
        ("1/(1 + (c/K)**-n)", "c", {"c": 0, "n": 2, "K": 0.5}, 0),
        ("1/(1 + (c/K)**-n)", "c", {"c": 0, "n": 1, "K": 0.5}, 2),
        ("1/(1 + (K/c)**n)", "c", {"c": 0, "n": 2, "K": 0.5}, 0),
        ("1/(1 + (K/c)**n)", "c", {"c": 0, "n": 1, "K": 0.5}, 2),
        ("1/(1 + (K/c)**n)", "c", {"c": 0.25, "n": 2, "K": 0.5}, 1.28),
        ("1/(1 + (K/c)**n)", "K", {"c": 0, "n": 2, "K": 0.5}, 0),
        ("1/(1 + (K/c)**n)", "K", {"c": 0.25, "n": 2, "K": 0.5}, -0.64),
        ("5/(2 + 3*(K/c)**n)**2", "c", {"c": 0, "n": 2, "K": 0.5}, 0),
        ("5/(2 + 3*(K/c)**n)**2", "c", {"c": 0.5, "n": 2, "K": 0.5}, 0.96),
        ("1/(1 + K**n*c**-n)", "c", {"c": 0, "n": 2, "K": 0.5}, 0),
        ("sqrt(c**n)", "c", {"c": 0, "n": 3}, 0),
        ("sqrt(c**n)", "c", {"c": 4, "n": 3}, 3),
        ("sqrt(c**n)", "c", {"c": -3, "n": 2}, -1),
        ("a**n*b**n", "a", {"a": 0, "b": 2, "n": 1}, 2),
        ("sqrt(c**3)", "c", {"c": 0}, 0),
        ("c*sqrt(abs(c))", "c", {"c": 0}, 0),
        ("c*abs(c)**n", "c", {"c": 0, "n": 0.5}, 0),
        ("abs(c)**n", "c", {"c": 0, "n": 2}, 0),
        ("abs(c**n - 1)", "c", {"c": 0, "n": 2}, 0),
        ("exprel(c)", "c", {"c": 0}, 0.5),
        ("4/exprel(c/2)", "c", {"c": 0}, -1),
        ("4/exprel(c/2)", "c", {"c": 1500}, 0),
        ("4/exprel(c/2)", "c", {"c": -HUGE}, -2),
        ("1/(1 + exp(-k*(c - 1)))", "c", {"c": -HUGE, "k": 1}, 0),
        ("1/(1 + exp(-k*(c - 1)))", "c", {"c": HUGE, "k": 1}, 0),
        ("1/(1 + exp(-c))**3", "c", {"c": -HUGE}, 0),
        ("log(1 + exp(c))", "c", {"c": HUGE}, 1),
        ("c/(exp(c) - 1)", "c", {"c": HUGE}, 0),
        ("1/cosh(c)**2", "c", {"c": HUGE}, 0),
        ("log(cosh(c))", "c", {"c": HUGE}, 1),
    ],
)
def test_a_finite_derivative_is_a_number(expression, by, values, expected):
    np.testing.assert_allclose(slope(expression, by, **values), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("expression", [HILL, "1/exprel(c*n)", "sqrt(c**3)*abs(c - K)**n"])
def test_derivatives_are_those_of_fifty_digits(expression):
    given = {"c": 0.3, "n": 2.2, "K": 0.7}
    f = {
        HILL: lambda c, n, K: c**n / (c**n + K**n),
        "1/exprel(c*n)": lambda c, n, K: c * n / mpmath.expm1(c * n),
        "sqrt(c**3)*abs(c - K)**n": lambda c, n, K: c**1.5 * abs(c - K) ** n,
    }[expression]
    with mpmath.workdps(50):
        point = [mpmath.mpf(x) for x in given.values()]
        for k, name in enumerate(given):
            order = tuple(int(k == m) for m in range(3))
            expected = float(mpmath.diff(f, tuple(point), order))
            if name in expression:
                np.testing.assert_allclose(slope(expression, name, **given), expected, rtol=1e-13)


def test_slope_of_exprel_is_right_to_the_last_digits():
    x = np.r_[np.linspace(-3, 3, 601), -800, -40, 40, 600, 1e-9, -1e-5, 0]
    with mpmath.workdps(60):
        exact = [
            float(1 / (1 - mpmath.exp(-mpmath.mpf(t))) - 1 / mpmath.mpf(t)) if t else 0.5 for t in x
        ]
    np.testing.assert_allclose(IN_NUMPY["_exprel_slope"](x), exact, rtol=2e-15)
    single = IN_NUMPY["_exprel_slope"](x.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, exact, rtol=1e-5)


@pytest.mark.parametrize(
    ("expression", "zero"),
    [
        ("(a + b)**2 - a**2 - 2*a*b - b**2", True),
        ("cos(a)**2 + sin(a)**2 - 1", True),
        ("a*((a + b)*c - a*c - b*c)", True),
        ("exp(a + b) - exp(a)*exp(b)", True),
        ("exprel(a)*a + 1 - exp(a)", True),
        ("(1 + 1e-12)*a - a*b/b", False),
        ("a - b", False),
        ("clip(a, 0, 1) - clip(a, 0, 1)*b", False),
        ("a - 9 + abs(a - 9)", False),
        ("(1 - sign(9 - a))*(a - 9 + abs(a - 9))", False),
        ("int(a > 9) - 2*int(a > 9) + int(a > 9)*b/b", True),
    ],
)
def test_what_is_zero(expression, zero):
    assert vanishes(parse_expression(expression, "")) is zero


# --- digits ---------------------------------------------------------------------------------------

THIRD = 1 / 3


@pytest.mark.parametrize(
    "text", ["x*0.30000000000000004", "(x + 6.626070150000001e-34)/3.0", "-1e-9*x**-2.5"]
)
def test_strings_have_all_digits(text):
    parsed = parse_expression(text, "")
    again = parse_expression(expression_text(parsed), "")
    assert again == parsed
    numbers = sorted(float(x) for x in parsed.atoms() if x.is_Float)
    assert numbers == sorted(float(x) for x in again.atoms() if x.is_Float)


def test_whatever_is_computed_has_all_digits():
    assert evaluate(f"{THIRD!r}*x", {"x": 1.0}, "") == THIRD
    assert repr(THIRD) in derive_loss(f"{THIRD!r}*(y - y_target)").error
    neuron = Neuron(
        name="digits",
        update=f"v = {THIRD!r}*a*v + {0.1 + 0.2!r}*I",
        threshold="v >= 1",
        surrogate="clip(1 - abs(v - 1), 0, 1)",
        parameters={"a": 1},
    )
    system = derive(step_map(neuron), learned=["a"])
    assert float(str(system.drive[""]["v"])) == 0.1 + 0.2
    assert repr(THIRD) in system.transition["v", "v"].times("eps_v")
    assert repr(THIRD) in str(expression_text(system.learned["a"].drive["v"].expression))


@pytest.mark.parametrize(
    "rate",
    [
        "0.1*(25 - u)/(exp((25 - u)/10) - 1)",
        "-0.1*(u - 25)/(exp(-0.1*(u - 25)) - 1.)",
        "m*(2.5 - u/10)/(1 - exp(-(2.5 - u/10)))*(1 - m)",
        "(u - 25)*(a - b*exp(-g*(u - 25)))/(1 - exp(-g*(u - 25)))",
    ],
)
@pytest.mark.parametrize("distance", [1e-9, -1e-5, 0.1, 40.0])
def test_slopes_of_a_rate_are_smooth_where_it_is_0_over_0(rate, distance):
    values = {"u": 25 + distance, "m": 0.3, "a": 0.2, "b": 0.7, "g": 0.05}
    expected = {}
    with mpmath.workdps(50):

        def exact(u, m):
            names = {name: mpmath.mpf(x) for name, x in values.items()} | {"u": u, "m": m}
            return eval(rate, {"exp": mpmath.exp}, names)

        for name in ("u", "m"):
            at = {n: mpmath.mpf(values[n]) for n in ("u", "m")}
            expected[name] = mpmath.diff(lambda x, n=name, at=at: exact(**{**at, n: x}), at[name])
    for name, exactly in expected.items():
        found = derivative(parse_expression(rate, ""), str_to_sympy(name))
        # As exact as the rate itself.
        tolerance = 1e-11 + 1e-14 / abs(distance)
        found = value_in_numpy(found, {n: np.float64(x) for n, x in values.items()}, {})
        assert found == pytest.approx(float(exactly), rel=tolerance, abs=1e-15)


# --- how long it takes ----------------------------------------------------------------------------

HODGKIN_HUXLEY = Neuron(
    name="hodgkin_huxley",
    model="""
    dv/dt = (g_l*(E_l - v) + I_syn - g_na*m**3*h*(v - E_na) - g_k*n**4*(v - E_k))/C : volt
    dm/dt = a_m*(1 - m) - b_m*m : 1
    dn/dt = a_n*(1 - n) - b_n*n : 1
    dh/dt = a_h*(1 - h) - b_h*h : 1
    dI_syn/dt = -I_syn/tau_s : amp
    a_m = 0.32*(mV**-1)*(13*mV - v + V_T)/(exp((13*mV - v + V_T)/(4*mV)) - 1)/ms : Hz
    b_m = 0.28*(mV**-1)*(v - V_T - 40*mV)/(exp((v - V_T - 40*mV)/(5*mV)) - 1)/ms : Hz
    a_n = 0.032*(mV**-1)*(15*mV - v + V_T)/(exp((15*mV - v + V_T)/(5*mV)) - 1)/ms : Hz
    b_n = 0.5*exp((10*mV - v + V_T)/(40*mV))/ms : Hz
    a_h = 0.128*exp((17*mV - v + V_T)/(18*mV))/ms : Hz
    b_h = 4/(1 + exp((40*mV - v + V_T)/(5*mV)))/ms : Hz
    """,
    method="euler",
    on_pre="I_syn += i_0*w",
    threshold="v > -20*mV",
    refractory="3 ms",
    surrogate="0.3/(20*mV)*clip(1 - abs(v + 20*mV)/(20*mV), 0, 1)",
    parameters={
        "C": "200 pF",
        "g_l": "10 nS",
        "E_l": "-65 mV",
        "E_na": "50 mV",
        "E_k": "-90 mV",
        "g_na": "20 uS",
        "g_k": "6 uS",
        "V_T": "-63 mV",
        "tau_s": "5 ms",
        "i_0": "300 pA",
    },
    initial={"v": "E_l", "h": "1"},
)


def test_nothing_is_simplified(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("sympy.simplify was called")

    monkeypatch.setattr("sympy.simplify", refuse)
    for neuron in NEURONS.values():
        derive(step_map(neuron), learned=[next(iter(neuron.parameters))])


def test_a_hodgkin_huxley_neuron_written_out_is_derived():
    step = step_map(HODGKIN_HUXLEY)
    system = derive(step)
    system.check_finite(1e-4)
    # Against differences of the composed step.
    at = {"v": -0.03, "m": 0.2, "n": 0.4, "h": 0.6, "I_syn": 1e-10}
    values = {**step.values(1e-4), **at, "dt": 1e-4, "I": 0.5, "z": 0.0, "not_refractory": 1.0}
    for (k, m), entry in system.transition.items():
        found = evaluate(entry.expression, values, "")
        size = max(abs(at[m]), 1e-3) * 1e-5
        above, below = (
            evaluate(step.composed[k], {**values, m: at[m] + s * size}, "") for s in (1, -1)
        )
        scale = abs(evaluate(step.composed[k], values, "")) / max(abs(at[m]), 1e-12)
        np.testing.assert_allclose(
            found, (above - below) / (2 * size), rtol=1e-6, atol=1e-6 * scale
        )


# --- what cannot be helped ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("term", "parameters", "where"),
    [
        ("c**n", {"n": 0.5}, "derivative of v by c"),
        ("sqrt(c**2 + a**2)", {"n": 1, "a": 0}, ""),
        ("sqrt(abs(c))", {"n": 1}, "derivative of v by c"),
    ],
)
def test_a_slope_that_is_infinite_at_the_start_is_reported(term, parameters, where):
    neuron = Neuron(
        name="steep",
        update=f"v = 0.9*v + I - {term}\nc = 0.9*c + 0.1*I",
        threshold="v >= 1",
        surrogate="clip(1 - abs(v - 1), 0, 1)",
        parameters=parameters,
    )
    with pytest.raises(EquationError, match=where) as error:
        derive(step_map(neuron)).check_finite(1e-3)
    assert "not finite" in str(error.value) and "c = 0" in str(error.value)


def test_an_expression_that_is_read_again_names_where_it_stands():
    for where in ("neuron 'a'", "neuron 'b'"):
        with pytest.raises(EquationError, match=f"{where}:\n    2\\*\\*\n") as raised:
            parse_expression("2**", where)
        assert raised.value.where == where


def test_an_expression_is_read_anew_where_functions_changed(monkeypatch):
    assert parse_expression("sin(x)", "") is parse_expression("sin(x)", "")
    monkeypatch.delitem(DEFAULT_FUNCTIONS, "sin")
    with pytest.raises(EquationError, match="'sin' is not a function here"):
        parse_expression("sin(x)", "")
