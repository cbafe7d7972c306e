"""How far the error of a test may be from that on all trials."""

import pytest
from scipy.stats import binomtest

from eprop_brian.training.evaluation import Evaluation


@pytest.mark.parametrize(("wrong", "n"), [(0, 512), (42, 512), (512, 512), (3, 64), (1, 2)])
def test_the_interval_is_wilsons(wrong, n):
    interval = Evaluation(loss=1.0, error=wrong / n, rate_hz=5.0, n_trials=n).error_interval
    expected = binomtest(wrong, n).proportion_ci(0.95, method="wilson")
    assert interval == pytest.approx((expected.low, expected.high), abs=1e-7)


def test_an_example_that_is_shown_again_adds_nothing():
    few = Evaluation(loss=1.0, error=0.25, rate_hz=5.0, n_trials=512, n_examples=64)
    once = Evaluation(loss=1.0, error=0.25, rate_hz=5.0, n_trials=64)
    assert few.error_interval == once.error_interval
