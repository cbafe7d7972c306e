"""Films of trials, and of the bounding box of a balanced network."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from eprop_brian import plot
from eprop_brian.figures.bounding_box import bounding_box
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import Run
from support.command import call

mpl.use("Agg")


@pytest.mark.parametrize(("task", "is_line"), [("pattern-generation", False), ("lemniscate", True)])
def test_a_run_of_trials_gives_a_film(tmp_path, monkeypatch, task, is_line):
    monkeypatch.setattr("eprop_brian.figures.film._DPI", 40)
    config = RunConfig.from_recipe(
        task,
        run={"device": "runtime", "iterations": 1},
        settings=["task.n_inputs=5", "size.lif=3" if not is_line else "size.alif=3"],
    )
    run = Run.start(config, tmp_path / "run")
    with Image.open(plot.animation(run, tmp_path / "trial.gif", most_frames=4)) as film:
        assert film.n_frames == 4
        first, last = (np.asarray(_frame(film, k)) for k in (0, 3))
    # At first nothing has happened yet.
    assert np.count_nonzero(last < 128) > np.count_nonzero(first < 128)
    assert not plt.get_fignums()


def _frame(film, number):
    film.seek(number)
    return film.convert("L")


def test_corners_of_a_box_touch_two_faces_and_are_behind_none():
    rng = np.random.default_rng(1)
    decoder, distances = rng.standard_normal((2, 30)), rng.uniform(0.5, 2.0, 30)
    corners = bounding_box(decoder, distances, extent=100.0)
    beyond = corners @ decoder - distances
    assert beyond.max() < 1e-12
    touched = np.abs(beyond) < 1e-12
    assert np.all(touched.sum(axis=1) == 2)
    # Brute force: corners are those crossings of two faces that no other face cuts off.
    crossings = 0
    for i in range(30):
        for j in range(i):
            point = np.linalg.solve(decoder[:, [i, j]].T, distances[[i, j]])
            crossings += bool(np.all(point @ decoder - distances < 1e-9))
    assert crossings == len(corners)


def test_a_region_without_neurons_on_a_side_ends_at_its_extent():
    corners = bounding_box(np.array([[1.0], [0.0]]), np.array([0.5]), extent=3.0)
    assert sorted(map(tuple, corners.round(12))) == [(-3, -3), (-3, 3), (0.5, -3), (0.5, 3)]


@pytest.mark.slow
def test_a_balanced_network_gives_a_film_of_its_box(tmp_path, monkeypatch):
    monkeypatch.setattr("eprop_brian.figures.film._DPI", 40)
    small = ("--set", "network.n=20", "--set", "test.duration=0.2")
    call(
        *("train", "balanced-oscillator", "--device", "runtime", "--out", tmp_path, "--no-figures"),
        *small,
    )
    path = plot.animation(tmp_path, tmp_path / "box.gif", most_frames=5)
    with Image.open(path) as film:
        assert film.n_frames == 5
