"""Symbol strings: groups of inputs are active in the order of the labels."""

import numpy as np
import pytest
from brian2 import DimensionMismatchError, Hz, ms

from eprop_brian.tasks.symbol_strings import SymbolStrings
from support.labels import said


def test_groups_are_active_in_the_order_of_the_labels():
    task = SymbolStrings(symbol_rate=900 * Hz, background_rate=0 * Hz, n_symbols=3)
    assert (task.n_steps, task.n_inputs, task.n_outputs) == (190, 24, 4)
    trials = task.trials(1, "train", 0, 200)
    counts = trials.inputs.reshape(200, 38, 5, 3, 8).sum(axis=(2, 4))
    # Of 40 spikes that a group may have in a frame, 36 on average.
    shown = np.where(counts.max(axis=2) > 15, counts.argmax(axis=2), 3)
    for row, frames in enumerate(shown):
        assert said(frames, 3) == [k for k in trials.labels[row] if k >= 0]
    lengths = np.bincount(trials.label_counts, minlength=5)
    assert lengths[0] == 0
    assert lengths[1:].min() > 30
    durations = np.diff(np.flatnonzero(np.diff(shown.ravel(), prepend=3, append=3)))[::2]
    assert (durations.min(), durations.max()) == (3, 6)
    assert not trials.inputs[:, 0].any()


def test_trials_depend_on_seed_stream_and_index_alone():
    first, again, other = (SymbolStrings().trials(seed, "test", 3, 5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.inputs, again.inputs)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert not np.array_equal(first.labels, other.labels)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n_symbols": 0}, ValueError, "n_symbols"),
        ({"most_frames": 1}, ValueError, "most_frames"),
        ({"frame_duration": 0.5 * ms}, ValueError, "frame_duration"),
        ({"symbol_rate": 20}, DimensionMismatchError, "symbol_rate"),
        ({"symbol_rate": 2000 * Hz}, ValueError, "symbol_rate"),
    ],
)
def test_settings_that_cannot_be(settings, error, message):
    with pytest.raises(error, match=message):
        _ = SymbolStrings(**settings).n_steps
