"""Figures of speech, and a run that trains, evaluates and draws."""

import re
from importlib.util import find_spec

import matplotlib as mpl
import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib import pyplot as plt

from eprop_brian import plot
from eprop_brian.cli import main
from eprop_brian.equations import LIF
from eprop_brian.network.spec import Network
from eprop_brian.tasks import get_task
from eprop_brian.training.recording import record
from support.data_sets import write_timit

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def test_rows_of_a_confusion_are_fractions_of_their_class():
    counts = np.array([[3, 1, 0], [0, 5, 0], [0, 0, 0]])
    figure = plot.confusion(counts, ["aa", "iy", "uw"], "frames")
    ax, scale = figure.axes
    shares = ax.images[0].get_array().filled(np.nan)
    np.testing.assert_allclose(shares[:2], [[0.75, 0.25, 0], [0, 1, 0]])
    assert np.isnan(shares[2]).all()  # never said
    assert ax.get_title() == "88.9% of 9 frames right"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["aa", "iy", "uw"]
    assert scale.get_ylabel() == "fraction of the class's frames"


def test_an_utterance_from_features_to_posteriors(tmp_path):
    pytest.importorskip("kaldi_native_fbank")
    write_timit(tmp_path)
    task = get_task("timit", path=str(tmp_path), n_frames=30, steps_per_frame=2, coding="analog")
    network = Network.for_task(task, [(LIF, 5)])
    recording = record(network, task, network.initial_weights(1), seed=1)
    figure = plot.utterance(recording, task.classes, "an utterance")
    inputs, recurrent, posteriors = (ax for ax in figure.axes if ax.get_subplotspec())
    assert "analog input" in inputs.get_ylabel()
    assert "recurrent" in recurrent.get_ylabel()
    assert posteriors.get_xlabel() == "time in the trial (ms)"
    np.testing.assert_array_equal(posteriors.images[0].get_array(), recording.output.T)
    (line,) = posteriors.lines
    right = line.get_ydata()
    # h#, the second of three classes, then another; 20 of 30 frames are there.
    assert np.all(right[:20] == 1)
    assert len({*right[20:40]} - {1}) == 1
    assert np.isnan(right[40:]).all()
    assert posteriors.get_xlim()[1] == 40


@pytest.mark.slow
@pytest.mark.skipif(find_spec("aeon") is None, reason="needs aeon")
def test_train_evaluate_and_draw(tmp_path):
    folder = tmp_path / "run"
    settings = [
        "--iterations",
        "2",
        "--set",
        "population.size=10",
        "--set",
        "task.steps_per_frame=1",
    ]
    trained = CliRunner().invoke(
        main, ["train", "japanese-vowels", *settings, "--out", str(folder)]
    )
    last = r"loss \S+ error (0\.\d{4}) frames (0\.\d{4}) utterances (0\.\d{4})\n$"
    assert trained.exit_code == 0, trained.output
    match = re.search(last, trained.output)
    assert match
    for name in ("utterance", "confusion_frames", "confusion_utterances", "learning_curve"):
        assert (folder / f"{name}.png").stat().st_size > 1000
    evaluated = CliRunner().invoke(main, ["evaluate", str(folder)])
    assert re.search(last, evaluated.output).groups() == match.groups()
    assert "370 fresh trials at iteration 2" in evaluated.output  # each test utterance once
