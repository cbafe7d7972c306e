"""Exact solutions of states that act on each other, against the matrix exponential."""

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import expm

from eprop_brian.equations import Neuron
from eprop_brian.symbolic.eligibility import derive
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import evaluate
from eprop_brian.symbolic.step_map import step_map

DT = 1e-3
NUMBERS = {"a": 0.3, "b": 0.5, "c": 0.2, "d": 0.7, "p": 1.5, "q": -0.4}


def neuron(v, x, more="", method="exact"):
    return Neuron(
        name="u",
        model=f"dv/dt = ({v})/tau : 1\ndx/dt = ({x})/tau : 1\n{more}",
        on_pre="v += w",
        method=method,
        threshold="v > 1",
        surrogate="clip(1 - abs(v - 1), 0, 1)",
        parameters={**NUMBERS, "tau": "10 ms"},
    )


@pytest.mark.parametrize("method", ["exact", "linear"])
@pytest.mark.parametrize(
    ("v", "x"),
    [
        ("b*x - v", "c*v - x"),
        ("a*v + b*x", "c*v + d*x"),
        ("b*x - v + p", "c*v - d*x + q"),
        ("1000*(b*x - v) + p", "c*v - d*x + q"),
        ("a*x - v*b + (a + b)*(c + d)*v", "c*v - d*x + (a*b + c*d)*v + a**3*x"),
    ],
)
def test_pair(v, x, method):
    start = time.process_time()
    step = step_map(neuron(v, x, "dg/dt = -g/tau : 1", method))
    derive(step).check_finite(DT)
    assert time.process_time() - start < 60

    def rate(*h):
        values = {**NUMBERS, "v": h[0], "x": h[1]}
        return np.array([evaluate(text, values, "") for text in (v, x)]) / 0.01

    constant = rate(0, 0)
    matrix = np.column_stack([rate(1, 0), rate(0, 1)]) - constant[:, None]
    # The constants are one more state, which stays at 1.
    whole = np.block([[matrix, constant[:, None]], [np.zeros((1, 3))]])
    expected = expm(whole * DT) @ [0.4, -0.7, 1]
    values = {**step.values(DT), **step.at_rest, "dt": DT, "v": 0.4, "x": -0.7, "g": 2.0}
    for line in step.code:
        name, expression = line.split(" = ", 1)
        values[name] = evaluate(expression, values, "")
    np.testing.assert_allclose([values["v"], values["x"]], expected[:2], rtol=1e-12)
    np.testing.assert_allclose(values["g"], 2 * np.exp(-0.1), rtol=1e-14)


def test_a_pair_that_oscillates_is_refused():
    with pytest.raises(EquationError, match="cannot integrate it: .* complex values"):
        step_map(neuron("-v + p*0 + x", "-x - v"))


@pytest.mark.parametrize("other", ["h", "S"])
@pytest.mark.parametrize(
    "name", ["S", "beta", "gamma", "zeta", "E1", "Q", "O", "oo", "max", "sum", "I", "zoo", "nan"]
)
def test_names_that_sympy_knows(name, other):
    """A state may have them; its statements are those of any other name."""

    def code(state):
        text = f"d{state}/dt = (p - {state})/tau : 1\nd{other}_1/dt = ({state} - {other}_1)/tau : 1"
        step = step_map(
            replace(
                neuron("", ""),
                model=text,
                on_pre=f"{state} += w",
                threshold=f"{state} > 1",
                surrogate=f"clip({state}, 0, 1)",
            )
        )
        derive(step).check_finite(DT)
        values = {**step.values(DT), **step.at_rest, "dt": DT, state: 0.4, f"{other}_1": -0.7}
        for line in step.code:
            left, expression = line.split(" = ", 1)
            values[left] = evaluate(expression, values, "")
        return values[state], values[f"{other}_1"]

    np.testing.assert_allclose(code(name), code("usual"), rtol=1e-14)
