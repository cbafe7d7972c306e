"""Figures of balanced networks: what they show, against sums written out here."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

from eprop_brian import plot
from eprop_brian.balanced.experiment import TrainingHistory
from eprop_brian.balanced.metrics import Currents
from eprop_brian.balanced.simulation import Recording
from eprop_brian.balanced.spec import closed_form, random_decoder

mpl.use("Agg")

N = 8
NETWORK = closed_form(np.array([[-0.5, 6.0], [-6.0, -0.5]]), random_decoder(2, N, 0.06, seed=3))


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def make_recording():
    """Five seconds from t = 2 s in which the signal goes round once, and random spikes."""
    rng = np.random.default_rng(0)
    t = 2 + np.arange(500) / 100
    angle = 2 * np.pi * (t - 2) / 5
    x = np.column_stack([np.cos(angle), np.sin(angle)])
    return Recording(
        t=t,
        x=x,
        estimate=x + 0.1,
        v=np.zeros((500, N)),
        spike_times=np.sort(rng.uniform(2, 7, 400)),
        spike_neurons=rng.integers(0, N, 400),
        r_start=np.zeros(N),
        t_start=2.0,
        t_stop=7.0,
    )


def history(nmse=(1.0, 0.5), rate=(20.0, 10.0)):
    result = TrainingHistory()
    for part, values in enumerate(zip(nmse, rate, strict=True)):
        result.append(
            seconds=part, nmse=values[0], field_nmse=np.nan, rate=values[1], slow=1.0, fast=2.0
        )
    return result


def test_decoding_shows_signal_estimate_and_spikes_from_the_start_of_the_recording():
    recording = make_recording()
    figure = plot.decoding(recording, duration=1.5)
    first, second, raster = figure.axes
    assert [ax.get_ylabel() for ax in figure.axes] == ["$x_1$", "$x_2$", "neuron (number)"]
    signal, estimate = first.lines
    np.testing.assert_allclose(signal.get_xdata(), np.arange(151) / 100, atol=1e-12)
    np.testing.assert_array_equal(estimate.get_ydata(), recording.estimate[:151, 0])
    np.testing.assert_array_equal(second.lines[0].get_ydata(), recording.x[:151, 1])
    early = recording.spike_times <= 3.5
    np.testing.assert_array_equal(raster.lines[0].get_ydata(), recording.spike_neurons[early] + 1)
    assert raster.get_xlim() == (0, 1.5) and raster.get_xlabel() == "time (s)"


def test_balance_shows_the_sum_of_both_currents():
    t = np.linspace(1, 2, 11)
    currents = Currents(t=t, excitation=t**2, inhibition=-t)
    (ax,) = plot.balance(currents, 4).axes
    assert [line.get_label() for line in ax.lines] == ["excitation", "inhibition", "net input"]
    np.testing.assert_allclose(ax.lines[2].get_ydata(), t**2 - t)
    assert ax.get_title().startswith("neuron 5:")


def test_tuning_is_spikes_over_time_in_each_direction():
    recording = make_recording()
    image = plot.tuning(recording, NETWORK).axes[0].images[0].get_array()
    assert image.shape == (N, 24)
    # Neurons stand in the order of their decoding vectors' angles.
    order = np.argsort(np.arctan2(NETWORK.decoder[1], NETWORK.decoder[0]))
    # The first bin's directions, 180 to 195 degrees, are those of the time from 2.5 s on.
    angle = np.degrees(np.arctan2(recording.x[:, 1], recording.x[:, 0]))
    seconds = np.sum((angle >= -180) & (angle < -165)) / 100
    samples = np.searchsorted(recording.t, recording.spike_times).clip(max=499)
    inside = (angle[samples] >= -180) & (angle[samples] < -165)
    for row in (0, N - 1):
        spikes = np.sum(inside & (recording.spike_neurons == order[row]))
        assert image[row, 0] == pytest.approx(spikes / seconds)


def test_activity_is_the_rate_of_every_neuron():
    recording = make_recording()
    left, right = plot.activity(recording, N).axes
    counts = np.bincount(recording.spike_neurons, minlength=N)
    assert sum(bar.get_height() for bar in left.patches) == N
    assert left.lines[0].get_xdata()[0] == pytest.approx(np.median(counts) / 5)
    assert right.get_xlabel() == "CV of inter-spike intervals"


def test_phase_portrait_shows_both_motions():
    recording = make_recording()
    teacher, network = plot.phase_portrait(NETWORK, NETWORK.slow_weights, recording).axes
    np.testing.assert_array_equal(teacher.lines[0].get_xydata(), recording.x)
    np.testing.assert_array_equal(network.lines[0].get_xydata(), recording.estimate)
    assert teacher.collections and network.collections


@pytest.mark.parametrize(("nmse", "scale"), [((1.0, 0.5), "linear"), ((1.0, 0.01), "log")])
def test_training_has_logarithmic_errors_where_they_span_decades(nmse, scale):
    errors, rate, weights = plot.balanced_training(history(nmse)).axes
    assert errors.get_yscale() == scale
    np.testing.assert_array_equal(errors.lines[0].get_ydata(), nmse)
    assert len(errors.lines) == 1, "a column without values is not drawn"
    assert rate.get_ylim()[0] == 0
    assert [line.get_label() for line in weights.lines] == ["slow", "fast"]
    with pytest.raises(ValueError, match="empty"):
        plot.balanced_training(TrainingHistory())
