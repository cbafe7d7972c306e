"""Figures of networks that learn to learn: what they say fits into them."""

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Text

from eprop_brian.figures.meta import plot_adaptation, plot_training
from eprop_brian.tasks.few_shot import FAMILIES
from eprop_brian.training.meta_history import MetaHistory

MEASURES = sorted({family.measure for family in FAMILIES.values()})


def assert_texts_fit(figure):
    figure.canvas.draw()
    for ax in figure.axes:
        for text in filter(Text.get_text, (ax.title, ax.xaxis.label, ax.yaxis.label)):
            box = text.get_window_extent()
            inside = figure.bbox.containsx(box.x0) and figure.bbox.containsx(box.x1)
            assert inside, text.get_text()
            assert box.y0 >= 0 and box.y1 <= figure.bbox.height, text.get_text()


@pytest.mark.parametrize("measure", MEASURES)
def test_what_is_measured_is_said_in_full(measure):
    names = ("before", "after", "shuffled", "other", "errors_adapted", "errors_drawn")
    errors = {name: np.linspace(0, 1, 5) for name in names}
    history = MetaHistory()
    for _ in range(3):
        history.append(**dict.fromkeys(history.columns, 0.5))
    for figure in (plot_adaptation(errors, measure), plot_training(history, measure)):
        assert_texts_fit(figure)
        labels = " ".join(ax.get_ylabel() for ax in figure.axes)
        assert measure in " ".join(labels.split())
        plt.close(figure)
