"""Parameters are read, never run: numbers, units, expressions, and what is refused."""

import math

import numpy as np
import pytest
import sympy
from brian2.units import ms, mV, nS, pA, second, volt
from brian2.units.fundamentalunits import DIMENSIONLESS, get_dimensions

from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import evaluate, parse_expression
from eprop_brian.symbolic.parameters import parse_quantity, resolve_parameters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20 ms", 20 * ms),
        ("-70*mV", -70 * mV),
        (" 1.5e-3 second ", 1.5 * ms),
        ("3 mV/ms", 3 * mV / ms),
        ("2 mV*ms", 2 * mV * ms),
        ("2 volt ** -1", 2 / volt),
        ("0.5", 0.5),
        ("-1e-3", -1e-3),
    ],
)
def test_quantity(text, expected):
    found = parse_quantity(text, "here")
    assert get_dimensions(found) is get_dimensions(expected)
    assert float(found) == pytest.approx(float(expected), rel=1e-15)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("20ms", "not a number with a unit"),
        ("", "not a number with a unit"),
        ("1 + 1 ms", "not a number with a unit"),
        ("True", "not a number with a unit"),
        ("'a'", "not a number with a unit"),
        ("2 ms**20", "not a number with a unit"),
        ("3**mV", "not a number with a unit"),
        ("1/0", "not a number with a unit"),
        ("((((10.**9)**9)**9)**9)", "not a number with a unit"),
        ("-" * 20_000 + "1", "not a number with a unit"),
        ("__import__('os').system('true')", "not a number with a unit"),
        ("20 ms.real", "not a number with a unit"),
        ("20 mss", r"'mss' is not a unit of Brian2 \(did you mean 'ms'\?\)"),
        ("x ms", "'x' is not a unit"),
    ],
)
def test_what_is_no_quantity(text, message):
    with pytest.raises(EquationError, match=message) as caught:
        parse_quantity(text, "neuron 'lif', parameters, tau_m")
    assert caught.value.line == text.strip()
    assert caught.value.where == "neuron 'lif', parameters, tau_m"


def test_parameters_become_si_values_with_dimensions():
    values, dimensions = resolve_parameters(
        {
            "text": "20 ms",
            "quantity": 5 * mV,
            "number": 3,
            "array": np.array([1.0, 2.0]) * nS,
            "list": [1, 2.5],
            "texts": ["20 ms", "0.03 second"],
            "quantities": [1 * pA, 2 * pA],
        },
        "here",
    )
    assert values["text"] == pytest.approx(0.02)
    assert values["quantity"] == pytest.approx(0.005)
    assert values["number"] == 3.0 and isinstance(values["number"], float)
    np.testing.assert_allclose(values["array"], [1e-9, 2e-9])
    np.testing.assert_allclose(values["texts"], [0.02, 0.03])
    np.testing.assert_allclose(values["quantities"], [1e-12, 2e-12])
    assert dimensions["text"] is dimensions["texts"] is second.dim
    assert dimensions["array"] is nS.dim
    assert dimensions["quantities"] is pA.dim
    assert dimensions["list"] is dimensions["number"] is DIMENSIONLESS


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "must be finite"),
        ("1e999 ms", "must be finite"),
        ([], r"one value per neuron, not shape \(0,\)"),
        ([[1, 2]], r"one value per neuron, not shape \(1, 2\)"),
        ([1, [2]], "is not a number"),
        (10**400, "is not a number"),
        ("text", "'text' is not a unit"),
        (["20 ms", "3 mV"], "one unit for all"),
        (["20 ms", 3], "one unit for all"),
        (["20 ms", "x"], "'x' is not a unit"),
    ],
)
def test_what_is_no_parameter(value, message):
    with pytest.raises(EquationError, match=message):
        resolve_parameters({"tau_m": value}, "here")


def test_evaluate_is_numpys_arithmetic():
    values = {"tau": np.array([0.01, 0.02]), "dt": 1e-3}
    np.testing.assert_array_equal(
        evaluate("exp(-dt/tau)", values, "here"), np.exp(-1e-3 / values["tau"])
    )
    assert evaluate("sqrt(4) + 2**0.5", {}, "here") == pytest.approx(2 + math.sqrt(2))
    assert isinstance(evaluate("1", {}, "here"), float)


def test_evaluate_names_what_is_missing_or_infinite():
    with pytest.raises(
        EquationError, match=r"'ta' is not defined \(did you mean 'tau'\?\). Defined here: dt, tau"
    ):
        evaluate("dt/ta", {"tau": 1.0, "dt": 1.0}, "here")
    with pytest.raises(EquationError, match="not finite with tau = 0"):
        evaluate("1/tau", {"tau": 0.0}, "here")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__import__('os').system('touch {file}')", "is not a function here"),
        ("open('{file}', 'w')", "'open' is not a function here"),
        ("eval('1')", "'eval' is not a function here"),
        ("expp(v)", r"'expp' is not a function here \(did you mean 'exp'\?\)"),
        ("v.real", "`v.real` is not allowed"),
        ("v[0]", r"`v\[0\]` is not allowed"),
        ("[v]", r"`\[v\]` is not allowed"),
        ("lambda: 1", "`lambda: 1` is not allowed"),
        ("v if v else 1", "is not allowed"),
        ("'text'", "`'text'` is not allowed"),
        ("True", "`True` is not allowed"),
        ("1j", "`1j` is not allowed"),
        ("v +", "cannot be read"),
        ("-70 mV", "cannot be read"),
        ("(" * 300 + "v" + ")" * 300, "cannot be read"),
        ("rand()", "'rand' is random"),
        ("v > 1", "is a condition where a number is needed"),
        ("v and u", "is a condition where a number is needed"),
        ("9**9**9", "is a power of numbers: write its value"),
        ("v*(9**9)**9", "is a power of numbers: write its value"),
        ("2**1000000000", "is a power of numbers: write its value"),
        ("2**(10*10**9)", "is a power of numbers: write its value"),
    ],
)
def test_expression_is_arithmetic_only(text, message, tmp_path):
    file = tmp_path / "run"
    with pytest.raises(EquationError, match=message):
        parse_expression(text.replace("{file}", str(file)), "here")
    assert not file.exists()


def test_square_root_can_be_differentiated():
    v = sympy.Symbol("v", real=True)
    assert sympy.diff(parse_expression("sqrt(v)", "here"), v) == 1 / (2 * sympy.sqrt(v))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exprel(x)", math.expm1(0.5) / 0.5),
        ("clip(x, 0.6, 1)", 0.6),
        ("int(x > 0.2)", 1),
        ("floor(x) + ceil(x) + abs(-x)", 1.5),
        ("arctan(x)", math.atan(0.5)),
        ("timestep(3*x, x)", 3),
    ],
)
def test_evaluate_knows_brian2s_functions(text, expected):
    assert evaluate(text, {"x": 0.5}, "here") == pytest.approx(expected)
