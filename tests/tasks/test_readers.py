"""Readers of public data sets, on small files in their format."""

import sys

import h5py
import numpy as np
import pytest
from brian2 import ms

from eprop_brian.tasks import NMnist, Shd, get_task
from eprop_brian.tasks.datasets import DataError
from eprop_brian.tasks.n_mnist import read_events
from support.data_sets import (
    EVENTS,
    WRITERS,
    event_bytes,
    write_n_mnist,
    write_recording,
    write_shd,
    write_shd_file,
)

# --- N-MNIST --------------------------------------------------------------------------------------


@pytest.fixture
def n_mnist(tmp_path):
    write_n_mnist(tmp_path)
    return tmp_path


def test_events_are_read(tmp_path):
    path = tmp_path / "00001.bin"
    write_recording(path, EVENTS)
    assert list(zip(*(values.tolist() for values in read_events(path)), strict=True)) == EVENTS


def test_clock_that_runs_over_is_continued(tmp_path):
    path = tmp_path / "00001.bin"
    events = [(1, 1, 0, 8_000), (0, 240, 0, 0), (2, 1, 0, 10), (0, 240, 0, 0), (3, 1, 1, 20)]
    write_recording(path, events)
    x, _, polarity, time = read_events(path)
    assert x.tolist() == [1, 2, 3]
    assert polarity.tolist() == [0, 0, 1]
    assert time.tolist() == [8_000, 8_192 + 10, 2 * 8_192 + 20]


def test_n_mnist_recordings_become_spikes(n_mnist):
    task = NMnist(path=str(n_mnist))
    assert (task.n_steps, task.n_inputs, task.n_outputs, task.learning_window) == (
        300,
        2312,
        10,
        10,
    )
    trials = task.trials(1, "test", 0, 20)
    assert sorted(trials.target) == sorted(2 * list(range(10)))
    for spikes, digit in zip(trials.inputs, trials.target, strict=True):
        assert list(zip(*np.nonzero(spikes), strict=True)) == [
            (1, 1156 + 33),
            (2, digit),
            (8, 1156 + 33 * 34 + 5),
            (299, 2 * 34 + 7),  # the event at 300 ms is left out
        ]


def test_steps_of_n_mnist_have_the_length_of_dt(n_mnist):
    task = NMnist(path=str(n_mnist), dt=2 * ms)
    steps = np.nonzero(task.trials(1, "test", 0, 1).inputs[0])[0]
    assert task.n_steps == 150
    assert steps.tolist() == [0, 1, 4, 149]


def test_validation_is_held_out_of_the_training_files(n_mnist):
    recordings = NMnist(path=str(n_mnist))._recordings
    assert {part: len(found) for part, found in recordings.items()} == {
        "train": 18,
        "validation": 1,
        "confirmation": 1,
        "test": 20,
    }
    assert all(path.parts[-3] == "Test" for path, _ in recordings["test"])
    learned = {*recordings["train"], *recordings["validation"], *recordings["confirmation"]}
    assert len(learned) == 20
    assert all(path.parts[-3] == "Train" for path, _ in learned)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1234", "its size must be a multiple of 5"),
        (event_bytes(34, 0, 0, 0), "a pixel lies outside 34 x 34"),
    ],
)
def test_file_that_is_no_recording_is_named(tmp_path, content, message):
    path = tmp_path / "00001.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"00001.bin is not a recording of N-MNIST: {message}"):
        read_events(path)


def test_recording_that_is_gone_is_named(tmp_path):
    with pytest.raises(DataError, match=r"00001.bin cannot be read: No such file"):
        read_events(tmp_path / "00001.bin")


def test_folder_without_recordings_is_named(tmp_path):
    (tmp_path / "Train" / "0").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no recordings in .*Train.0; path must be a folder with"):
        NMnist(path=str(tmp_path))


# --- SHD ------------------------------------------------------------------------------------------


@pytest.fixture
def shd(tmp_path):
    write_shd(tmp_path)
    return tmp_path


def test_shd_recordings_become_spikes(shd):
    task = Shd(path=str(shd))
    assert (task.n_steps, task.n_inputs, task.n_outputs) == (1000, 700, 20)
    assert task.learning_window == 500
    trials = task.trials(1, "test", 0, 20)
    assert sorted(trials.target) == list(range(20))
    for spikes, label in zip(trials.inputs, trials.target, strict=True):
        # The spike at 1.25 s is left out.
        assert list(zip(*np.nonzero(spikes), strict=True)) == [(0, label), (250, 699), (500, 3)]


def test_validation_is_held_out_of_the_training_recordings(shd):
    task = Shd(path=str(shd))
    rows = {part: found[0] for part, found in task._recordings.items()}
    assert {part: len(found) for part, found in rows.items()} == {
        "train": 27,
        "validation": 1,
        "confirmation": 2,
        "test": 20,
    }
    learned = [*rows["train"], *rows["validation"], *rows["confirmation"]]
    assert sorted(learned) == list(range(30))
    assert np.array_equal(task.labels("validation"), rows["validation"] % 20)


def test_damaged_files_of_shd_are_named(shd):
    write_shd_file(shd / "shd_test.h5", [20], [[0.1]], [[5]])
    with pytest.raises(DataError, match=r"shd_test.h5 is damaged: every recording needs a class"):
        Shd(path=str(shd))
    write_shd_file(shd / "shd_test.h5", [3], [[0.1]], [[700]])
    with pytest.raises(DataError, match=r"shd_test.h5: recording 0 is damaged: every spike needs"):
        Shd(path=str(shd)).trials(1, "test", 0, 1)
    (shd / "shd_test.h5").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"shd_test.h5 is not a file of SHD: "):
        Shd(path=str(shd))
    with h5py.File(shd / "shd_test.h5", "w") as file:
        file["labels"] = [1]
    with pytest.raises(
        DataError, match=r"shd_test.h5 is not a file of SHD: it must hold the arrays"
    ):
        Shd(path=str(shd))
    (shd / "shd_test.h5").unlink()
    with pytest.raises(DataError, match=r"there is no .*shd_test.h5 \(get it from https://zenke"):
        Shd(path=str(shd))


def test_missing_library_is_named(shd, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match="needs h5py, which is not installed: pip install h5py"):
        Shd(path=str(shd))


# --- what they share ------------------------------------------------------------------------------

READERS = {"n-mnist": "https://www.garrickorchard", "shd": "https://zenkelab.org"}


@pytest.mark.parametrize(("name", "where"), READERS.items())
def test_missing_data_are_named_with_where_to_get_them(name, where, tmp_path):
    with pytest.raises(DataError, match=rf"{name} brings no data along: .*{where}.*--set task"):
        get_task(name)
    with pytest.raises(DataError, match=rf"{name}: path = .*nowhere is not a folder; .*{where}"):
        get_task(name, path=str(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", READERS)
def test_trials_depend_on_their_arguments_alone(name, tmp_path):
    WRITERS[name](tmp_path)
    path = str(tmp_path)
    first = get_task(name, path=path).trials(1, "train", 0, 10)
    again = get_task(name, path=path).trials(1, "train", 0, 10)
    other = get_task(name, path=path).trials(2, "train", 0, 10)
    assert np.array_equal(first.inputs, again.inputs)
    assert np.array_equal(first.target, again.target)
    assert not np.array_equal(first.target, other.target)
