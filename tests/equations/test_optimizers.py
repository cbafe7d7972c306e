"""The optimizers' statements against an implementation of their own."""

import numpy as np
import pytest

from eprop_brian.equations import ADAM, GRADIENT_DESCENT, OPTIMIZERS
from eprop_brian.symbolic.expressions import evaluate

N_UPDATES = 12


def run(optimizer, weights, gradients):
    """Run an optimizer's statements and return the weights after every update."""
    values = {**optimizer.parameters, "w": weights, **dict.fromkeys(optimizer.states, 0.0)}
    history = []
    for k, gradient in enumerate(gradients, start=1):
        values |= {"g": gradient, "k": float(k)}
        for line in optimizer.update.split("\n"):
            name, expression = line.split(" = ", 1)
            values[name] = evaluate(expression, values, "test")
        history.append(values["w"])
    return np.array(history)


@pytest.fixture
def descent():
    rng = np.random.default_rng(5)
    return rng.standard_normal(7), rng.standard_normal((N_UPDATES, 7)) * [1e-6, 0.1, 1, 1, 1, 10, 0]


def test_gradient_descent(descent):
    weights, gradients = descent
    expected = weights - 0.05 * np.cumsum(gradients, axis=0)
    found = run(GRADIENT_DESCENT.with_parameters(eta=0.05), weights, gradients)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_adam_in_tensorflows_form(descent):
    weights, gradients = descent
    eta, beta_1, beta_2, epsilon = 0.02, 0.8, 0.99, 1e-3
    m, v, w, expected = np.zeros(7), np.zeros(7), weights.copy(), []
    for t, g in enumerate(gradients, start=1):
        m += (1 - beta_1) * (g - m)
        v += (1 - beta_2) * (g * g - v)
        rate = eta * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        w = w - rate * m / (np.sqrt(v) + epsilon)
        expected.append(w)
    optimizer = ADAM.with_parameters(eta=eta, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
    np.testing.assert_allclose(run(optimizer, weights, gradients), expected, rtol=1e-12)


def test_first_step_of_adam_has_the_size_of_the_learning_rate():
    (step,) = run(ADAM, np.zeros(2), [np.array([1e-3, -50.0])])
    np.testing.assert_allclose(step, [-ADAM.parameters["eta"], ADAM.parameters["eta"]], rtol=1e-3)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_weights_stay_within_their_bounds(optimizer, descent):
    weights, gradients = descent
    bounded = optimizer.with_parameters(eta=1.0, w_min=-0.5, w_max=0.25)
    history = run(bounded, weights, gradients)
    assert history.min() == -0.5
    assert history.max() == 0.25


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_no_gradient_no_change(optimizer):
    if "weight_decay" in optimizer.parameters:
        optimizer = optimizer.with_parameters(weight_decay=0.0)
    history = run(optimizer, np.array([0.3, -2.0]), np.zeros((3, 2)))
    np.testing.assert_array_equal(history, [[0.3, -2.0]] * 3)


def test_unknown_parameter():
    message = "optimizer 'adam': unknown parameter 'lr'. There are: eta"
    with pytest.raises(ValueError, match=message):
        ADAM.with_parameters(lr=1)
    assert GRADIENT_DESCENT.with_parameters(eta=2.0).parameters["w_max"] == 100.0
