"""The figure of a trial: inputs and targets as a task hands them out, and when the error counts."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

from eprop_brian import get_task, plot

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def shaded(ax):
    """Beginnings and ends of the shaded times."""
    spans = [p for p in ax.patches if isinstance(p, Rectangle)]
    return [(p.get_x(), p.get_x() + p.get_width()) for p in spans]


def test_spikes_and_curves_are_those_of_the_trial():
    task = get_task("lemniscate")
    trials = task.trials(3, "train", 2, 1)
    inputs, targets = plot.task(task, seed=3, index=2).axes
    steps, neurons = np.nonzero(trials.inputs[trials.pattern[0]])
    np.testing.assert_array_equal(inputs.lines[0].get_xdata(), steps)
    np.testing.assert_array_equal(inputs.lines[0].get_ydata(), neurons)
    curves = np.stack([line.get_ydata() for line in targets.lines], axis=1)
    np.testing.assert_array_equal(curves, trials.targets[trials.target[0]])
    assert shaded(targets) == [(0.0, task.n_steps)]


def test_the_periods_in_which_an_answer_counts_are_shaded():
    task = get_task("store-recall")
    trials = task.trials(1, "train", 0, 1)
    counted = np.zeros(task.n_steps, dtype=bool)
    for first, last in shaded(plot.task(task).axes[1]):
        counted[round(first) : round(last)] = True
    np.testing.assert_array_equal(counted, trials.periods[trials.target[0]] > 0)


def test_of_labels_the_title_says_which_come():
    task = get_task("symbol-strings")
    trials = task.trials(1, "train", 0, 1)
    labels = trials.labels[trials.target[0]]
    (inputs,) = plot.task(task).axes
    assert inputs.get_title() == f"labels: {', '.join(str(x) for x in labels if x >= 0)}"
    assert inputs.lines[0].get_xdata().size == trials.inputs[trials.pattern[0]].sum()


def test_many_outputs_and_analog_inputs_are_images():
    inputs, targets = plot.task(get_task("copy-repeat")).axes[:2]
    assert inputs.get_images() and targets.get_images()
    assert targets.get_images()[0].get_array().shape[0] > 6
