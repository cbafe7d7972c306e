"""The error of every loss is the derivative of its summed value."""

import pytest
import sympy

from eprop_brian.equations import LOSSES
from eprop_brian.equations.learning_signals import LEARNING_SIGNAL
from eprop_brian.equations.losses import (
    MODULATOR,
    SOFTMAX_CROSS_ENTROPY,
    SQUARED_ERROR,
    gaussian_policy,
    policy_gradient,
    weighted,
)
from eprop_brian.equations.regularizers import FIRING_RATE
from eprop_brian.symbolic.expressions import parse_expression, symbol
from eprop_brian.symbolic.losses import derive_loss

N_READOUTS = 3


def written(text, **values):
    expression = parse_expression(text, "test")
    return expression.xreplace({symbol(name): value for name, value in values.items()})


#: Those with a value in every step, of which the error is the derivative.
OF_A_VALUE = {
    name: loss for name, loss in LOSSES.items() if not (loss.is_modulator or loss.of_labels)
}
OF_A_VALUE |= {f"{name}, weighted": weighted(loss, 0.3) for name, loss in OF_A_VALUE.items()}
#: Their errors read a sum over the readouts.
OF_A_VALUE["derived, weighted"] = weighted(derive_loss("(p - y_target)**2"), 2)
OF_A_VALUE["policy"] = derive_loss(policy_gradient(0.25))
OF_A_VALUE["policy without bonus"] = derive_loss(policy_gradient(0))
OF_A_VALUE["gaussian policy"] = derive_loss(gaussian_policy(0.5))


@pytest.mark.parametrize("loss", OF_A_VALUE.values(), ids=OF_A_VALUE)
def test_error_is_the_derivative_of_the_loss(loss):
    y = sympy.symbols(f"y_:{N_READOUTS}", real=True)
    target = sympy.symbols(f"target_:{N_READOUTS}", real=True)
    p = [sympy.exp(v) / sum(map(sympy.exp, y)) for v in y]
    # Any targets: those of a classification with class weights do not sum to 1.
    readouts = [{"y": y[k], "y_target": target[k], "p": p[k]} for k in range(N_READOUTS)]
    coupled = sum(written(loss.coupling or "0", **readout) for readout in readouts)
    total = sum(written(loss.loss, **readout) for readout in readouts)
    for k, readout in enumerate(readouts):
        error = written(loss.error, coupled=coupled, **readout)
        assert sympy.simplify(sympy.diff(total, y[k]) - error) == 0


def test_losses_use_the_softmax_where_they_say_so():
    for loss in LOSSES.values():
        names = {
            s.name for s in parse_expression(loss.loss + "+" + loss.error, "test").free_symbols
        }
        assert ("p" in names) == loss.softmax
        others = ["coupled"] * bool(loss.coupling) + ["log_likelihood"] * loss.of_labels
        assert names <= {"y", "p", "y_target", *others}
        assert loss.signal == ("p" if loss.softmax else "y")


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_weight_multiplies_value_and_error(loss):
    heavy = weighted(loss, 2.5)
    for part in ("loss", "error"):
        one = written(getattr(loss, part))
        assert sympy.simplify(written(getattr(heavy, part)) - 2.5 * one) == 0
    assert weighted(loss, 1) is loss
    for wrong in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="weight of a loss must be a positive number"):
            weighted(loss, wrong)


def test_a_modulator_takes_the_place_of_the_error():
    assert [loss.name for loss in LOSSES.values() if loss.is_modulator] == ["modulator"]
    assert (MODULATOR.loss, MODULATOR.error) == ("0", "y_target")
    assert weighted(MODULATOR, 2.5).is_modulator
    assert not any(loss.is_modulator or loss.name == "modulator" for loss in OF_A_VALUE.values())


@pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf")])
def test_numbers_of_policies_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="entropy must be 0 or greater"):
        policy_gradient(wrong)
    for deviation in (wrong, 0.0):
        with pytest.raises(ValueError, match="deviation of actions must be a positive number"):
            gaussian_policy(deviation)


def test_losses_by_name():
    assert LOSSES["squared_error"] is SQUARED_ERROR
    assert LOSSES["softmax_cross_entropy"] is SOFTMAX_CROSS_ENTROPY


def test_rate_factor_is_the_derivative_of_the_regulariser():
    """By the spike count, which grows by z in every step: so it multiplies every e[t]."""
    c_reg, count, n_steps, f_target, dt = map(
        symbol, ("c_reg", "spike_count", "n_steps", "f_target", "dt")
    )
    regulariser = c_reg / 2 * (count / n_steps - f_target * dt) ** 2
    factor = parse_expression(FIRING_RATE, "test")
    assert sympy.simplify(sympy.diff(regulariser, count) - factor) == 0


def test_learning_signal_sums_over_the_readouts():
    signal = sympy.Integer(0)
    for k in range(N_READOUTS):
        signal = written(
            LEARNING_SIGNAL.removeprefix("L = "),
            L=signal,
            B=symbol(f"B_{k}"),
            signal=symbol(f"signal_{k}"),
        )
    expected = sum(symbol(f"B_{k}") * symbol(f"signal_{k}") for k in range(N_READOUTS))
    assert sympy.expand(signal - expected) == 0
