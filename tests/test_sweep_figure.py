"""Figures of sweeps: what they show, against numbers written out here."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

from eprop_brian import plot
from eprop_brian.runs.sweep import Result, grid

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def results(points, values):
    """Runs with a number each, by point and then seed."""
    return [
        Result(point, seed, None, {"nmse": number, "rate": 10 * number})
        for point, numbers in zip(points.values, values, strict=True)
        for seed, number in enumerate(numbers, 1)
    ]


def test_one_setting_is_drawn_by_median_and_range_over_the_seeds():
    points = grid(["network.n=10,1000"])
    runs = results(points, [[0.1, 0.3, 0.2], [0.001, np.nan, 0.003]])
    figure = plot.sweep(points, runs, {"nmse": "NMSE", "rate": "rate (Hz)", "none": "nothing"})
    errors, _ = figure.axes
    np.testing.assert_allclose(errors.lines[0].get_xydata(), [[10, 0.2], [1000, 0.002]])
    assert (errors.get_xscale(), errors.get_yscale()) == ("log", "log")
    assert errors.get_xlabel() == "network.n\nmedian and range, n = 3 seeds"
    assert errors.get_ylabel() == "NMSE"


def test_a_quantity_has_its_unit_in_the_label_and_text_is_a_category():
    points = grid(["network.dt=0.2 ms,0.1 ms"])
    (ax,) = plot.sweep(points, results(points, [[2.0], [1.0]]), {"nmse": "NMSE"}).axes
    assert ax.get_xlabel() == "network.dt (ms)\n1 seed"
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0.1, 1], [0.2, 2]])
    points = grid(["network.feedback=random,symmetric"])
    (ax,) = plot.sweep(points, results(points, [[2.0], [1.0]]), {"nmse": "NMSE"}).axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["random", "symmetric"]


def test_two_settings_are_a_map_of_medians():
    points = grid(["size.lif=8,12", "optimizer.eta=1,2,3"])
    numbers = np.arange(18.0).reshape(6, 3)
    figure = plot.sweep(points, results(points, numbers), {"nmse": "NMSE"})
    image = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(image, numbers[:, 1].reshape(2, 3))
