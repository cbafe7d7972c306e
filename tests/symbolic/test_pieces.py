"""Functions of pieces have the derivative of the piece; bounds belong to the inside."""

import numpy as np
import pytest

from eprop_brian import Neuron
from eprop_brian.symbolic.derivatives import derivative
from eprop_brian.symbolic.eligibility import derive
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import evaluate, parse_expression, symbol
from eprop_brian.symbolic.step_map import step_map

#: Expressions of v and p, and points on several of their pieces.
PIECES = (
    *("clip(v, 0, 1)", "clip(v, p, inf)", "clip(v**2, -abs(v), p*abs(v))", "clip(p, v, v + 1)"),
    *("floor(v)*v", "ceil(p*v)", "int(v)", "sign(v)*v**2", "abs(v - p)", "timestep(v, p)"),
    *("v % p", "p % v", "v//p", "v*int(v > p)", "int(v > p or v < -p)*exp(v)", "int(not v > p)"),
)
POINTS = np.array([-2.3, -1.1, -0.6, 0.2, 0.45, 0.9, 1.7, 3.1])
P, STEP = 0.7, 1e-6


@pytest.mark.parametrize("text", PIECES)
def test_slope_is_that_of_the_piece(text):
    by_v = derivative(parse_expression(text, ""), symbol("v"))
    above, below = (evaluate(text, {"p": P, "v": POINTS + d}, "") for d in (STEP, -STEP))
    slope = np.broadcast_to(evaluate(by_v, {"p": P, "v": POINTS}, ""), POINTS.shape)
    np.testing.assert_allclose(slope, (above - below) / (2 * STEP), atol=1e-8)


@pytest.mark.parametrize(
    ("text", "at", "slope"),
    [
        *(("clip(v, 0, 1)", v, 1) for v in (0, 1)),
        ("clip(v, 0, inf)", 0, 1),
        *((text, 0, 0) for text in ("abs(v)", "sign(v)", "floor(v)", "int(v > 0)", "int(v >= 0)")),
    ],
)
def test_slope_where_pieces_meet(text, at, slope):
    assert evaluate(derivative(parse_expression(text, ""), symbol("v")), {"v": at}, "") == slope


def neuron(of, threshold="v > 1"):
    return Neuron(
        name="s",
        update=f"x = 0.9*x + I\nv = 0.9*v + I + {of}",
        threshold=threshold,
        surrogate="clip(1 - abs(v - 1), 0, 1)",
        parameters={"q": 1.4},
    )


@pytest.mark.parametrize("step", ["int", "floor", "ceil", "sign"])
def test_steps_pass_no_gradient(step):
    for of in ("q", "x", "I", "z"):
        assert derive(step_map(neuron(f"{step}({of})"))).components == ("v",)
    with pytest.raises(EquationError, match=f"'{step}' has no slope") as error:
        derive(step_map(neuron(f"{step}(q)")), ("q",))
    assert error.value.line.startswith("v = 0.9*v + I + ")
    with pytest.raises(EquationError, match="the input I never reaches the threshold"):
        derive(step_map(neuron("0", f"{step}(v) > 1")))


def test_conditions_choose():
    chosen = derive(step_map(neuron("where(int(x > 0.3), 2*x, 0)")))
    entry = chosen.transition["v", "x"].expression
    values = {"x": np.array([0.2, 0.4]), "I": 0.1}
    np.testing.assert_allclose(evaluate(entry, values, ""), [0, 1.8])
    with pytest.raises(EquationError, match="int\\(v > x\\)"):
        step_map(neuron("where(x > 0.3, 2*x, 0)"))
