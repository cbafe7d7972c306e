"""The diagram of a network shows every group, projection and learning signal, each where it is."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from eprop_brian import (
    ALIF,
    LIF,
    Agent,
    Inputs,
    LearningSignal,
    Network,
    Population,
    Projection,
    Readout,
    RunConfig,
    get_task,
    plot,
)
from eprop_brian.balanced import closed_form, random_decoder

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def drawn(network):
    """What a diagram shows: places of the names, texts of the arrows, and their number."""
    figure = plot.network_diagram(network, title="a title")
    figure.canvas.draw()
    (ax,) = figure.axes
    arrows = [p for p in ax.patches if isinstance(p, FancyArrowPatch)]
    frames = [p for p in ax.patches if isinstance(p, FancyBboxPatch)]
    names = {t.get_text(): t.get_position() for t in ax.texts if t.get_fontweight() == "bold"}
    texts = [t.get_text() for t in ax.texts if t.get_fontsize() == 7.0]
    # Nothing is outside, and an inch of the figure is a unit of its axes.
    width, height = figure.get_size_inches()
    assert width == pytest.approx(np.ptp(ax.get_xlim()))
    assert height == pytest.approx(np.ptp(ax.get_ylim()))
    whole = figure.bbox.padded(1)
    for artist in (*ax.texts, *ax.patches, *([ax.get_legend()] if ax.get_legend() else [])):
        box = artist.get_window_extent()
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1, artist
        assert whole.y0 <= box.y0 and box.y1 <= whole.y1, artist
    return names, texts, len(arrows), len(frames)


def test_the_usual_network_has_its_populations_in_one_frame():
    network = Network.standard(3, 1, [(LIF, 5), (ALIF, 1)], connectivity={"w_rec": 0.5})
    names, texts, arrows, frames = drawn(network)
    assert list(names) == ["inputs", "lif", "alif", "readout"]
    assert names["inputs"][0] < names["lif"][0] == names["alif"][0] < names["readout"][0]
    share = network.adjacency["w_rec"].nnz / 30
    assert texts == ["w_in", f"w_rec\n{100 * share:.2g} %", "w_out", "B, symmetric"]
    # Four boxes and the frames of the three columns.
    assert (arrows, frames) == (4, 7)


def test_layers_stand_one_behind_the_other():
    network = Network(
        [
            Inputs(4),
            Inputs(1, "one", constant=True),
            Population(LIF, 3, "first"),
            Population(ALIF, 3, "second"),
            Readout(2),
            Readout(1, "early"),
            Projection("inputs", "first"),
            Projection("one", "first", learn=False),
            Projection("first", "second", sign="excitatory"),
            Projection("second", "first", sign="inhibitory"),
            Projection("first", "early"),
            Projection("second", "readout"),
            LearningSignal("readout", "second"),
            LearningSignal("early", "first", "random"),
        ]
    )
    names, texts, arrows, _ = drawn(network)
    columns = {}
    for name, (x, _) in names.items():
        columns.setdefault(round(x, 6), []).append(name)
    assert [columns[x] for x in sorted(columns)] == [
        ["inputs", "one"],
        ["first"],
        ["second", "early"],
        ["readout"],
    ]
    assert names["inputs"][1] == names["first"][1] == names["second"][1] > names["early"][1]
    assert arrows == len(texts) == 8
    assert "w_one_first\nfixed" in texts and "B_early_first, random" in texts


def test_who_acts_and_who_predicts_is_said():
    network = Network.for_task(get_task("cartpole"), [(LIF, 5)], agent=Agent())
    figure = plot.network_diagram(network)
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert "actor: 2 outputs" in texts and "critic: 1 output" in texts
    assert "w_policy\nw_value" in texts


def test_a_balanced_network_shows_what_its_slow_synapses_see():
    names, texts, arrows, _ = drawn(closed_form([[-1.0]], random_decoder(1, 5)))
    assert list(names) == ["signal x", "neurons", "filtered spikes", "estimate D r"]
    assert arrows == 5 and "W_s, slow" in texts
    learning = RunConfig.from_recipe("balanced-van-der-pol").make_network()
    names, texts, arrows, _ = drawn(learning)
    assert "dendrites" in names and arrows == 6 and "W_s, slow, learns" in texts
