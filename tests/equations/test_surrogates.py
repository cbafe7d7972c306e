"""Height and width mean the same for every surrogate."""

import numpy as np
import pytest
import sympy

from eprop_brian.equations import ALIF, LIF, NEURONS, SURROGATES, surrogate
from eprop_brian.symbolic.expressions import evaluate, parse_expression

HEIGHT, WIDTH = 0.3, 0.6
#: Value one width away from the threshold and area, in units of the height and of height*width.
SHAPES = {
    "piecewise_linear": (0, 1),
    "exponential": (np.exp(-1), 2),
    "fast_sigmoid": (1 / 4, 2),
    "arctan": (1 / 2, np.pi),
}


def values(kind, d):
    text = surrogate(kind, "v - threshold", height="height", width="width")
    names = {"v": np.asarray(d) + 1.0, "threshold": 1.0, "height": HEIGHT, "width": WIDTH}
    return evaluate(text, names, "test")


def test_every_surrogate_has_a_shape_here():
    assert SHAPES.keys() == SURROGATES.keys()


@pytest.mark.parametrize("kind", SURROGATES)
def test_height_and_width(kind):
    assert values(kind, 0.0) == pytest.approx(HEIGHT)
    at_width, _ = SHAPES[kind]
    np.testing.assert_allclose(values(kind, [-WIDTH, WIDTH]), HEIGHT * at_width, atol=1e-15)


@pytest.mark.parametrize("kind", SURROGATES)
def test_bump_is_even_and_falls_off(kind):
    d = np.linspace(0, 10 * WIDTH, 500)
    found = values(kind, d)
    np.testing.assert_allclose(values(kind, -d), found)
    assert np.all(np.diff(found) <= 0)
    assert np.all(found >= 0)


@pytest.mark.parametrize("kind", SURROGATES)
def test_area(kind):
    if kind == "piecewise_linear":
        # sympy does not integrate clip; midpoints are exact for a triangle.
        d = (np.arange(2000) + 0.5) / 1000 * WIDTH - WIDTH
        area = values(kind, d).mean() * 2 * WIDTH
    else:
        d = sympy.Symbol("d", positive=True)
        names = {"h": HEIGHT, "w": WIDTH, "d": d}
        text = parse_expression(SURROGATES[kind], "test")
        text = text.xreplace({s: sympy.sympify(names[s.name]) for s in text.free_symbols})
        area = 2 * float(sympy.integrate(text, (d, 0, sympy.oo)))
    assert area == pytest.approx(SHAPES[kind][1] * HEIGHT * WIDTH)


def test_bellecs_surrogate_is_the_default():
    """Bellec et al. 2020: psi = gamma/v_th max(0, 1 - |v - A|/v_th)."""
    v = np.linspace(-1, 3, 101)
    names = {"v": v, "v_th": 0.6, "gamma": 0.3, "beta": 0.1, "a": 2.0}
    expected = 0.3 / 0.6 * np.maximum(0, 1 - np.abs(v - 0.6) / 0.6)
    np.testing.assert_allclose(evaluate(LIF.surrogate, names, "test"), expected, atol=1e-15)
    expected = 0.3 / 0.6 * np.maximum(0, 1 - np.abs(v - 0.8) / 0.6)
    np.testing.assert_allclose(evaluate(ALIF.surrogate, names, "test"), expected, atol=1e-15)


def test_terms_are_enclosed_where_they_need_to_be():
    assert (
        surrogate("arctan", "v - v_th", height="gamma/v_th", width="k*v_th")
        == "(gamma/v_th)/(1 + ((v - v_th)/(k*v_th))**2)"
    )
    assert surrogate("exponential", "d - w", height="h", width="w") == "h*exp(-abs(d - w)/w)"


def test_unknown_surrogate():
    with pytest.raises(ValueError, match="unknown surrogate 'box'. There are: piecewise_linear"):
        surrogate("box", "v", height="1", width="1")


@pytest.mark.parametrize("neuron", NEURONS.values(), ids=NEURONS)
def test_library_neurons_say_where_they_come_from(neuron):
    assert neuron.source
