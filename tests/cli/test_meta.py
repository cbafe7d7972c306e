"""The command with networks that learn to learn: what it prints, writes and refuses."""

import csv
import re
import shutil
import subprocess
import sys
import tomllib

import numpy as np
import pytest

from eprop_brian import Run, RunConfig
from support.command import call, last_line

pytest.importorskip("jax")

#: A small training, tested in this process.
SMALL = (
    *("--device", "runtime", "--batch-size", "2", "--set", "task.duration='20 ms'"),
    *("--set", "task.clock_interval='2 ms'", "--set", "population.size=6"),
    *("--set", "meta.n_test=2", "--set", "projection.scale=2.0"),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder, and what was printed while it was made."""
    folder = tmp_path_factory.mktemp("meta") / "run"
    return folder, call("train", "one-shot-arm", *SMALL, "--iterations", "2", "--out", folder)


def test_the_last_line_is_the_error_after_one_update(trained):
    folder, output = trained
    results = tomllib.loads((folder / "results.toml").read_text())["results"]
    words = last_line(output).replace(",", "").split()
    assert words[0] == "error" and words[-4:] == ["that", "before", "the", "update"]
    assert float(words[1]) == pytest.approx(results["after"], rel=1e-5)
    assert float(words[2]) == pytest.approx(100 * results["ratio"], abs=0.06)
    assert "2 unseen tasks, distance of the hand" in output


def test_everything_is_in_the_folder(trained):
    folder, _ = trained
    figures = {f"{x}.png" for x in ("training", "adaptation", "learning_signals", "arm")}
    files = {"config.toml", "versions.toml", "history.csv", "initial.npz", "checkpoint.npz"}
    assert {p.name for p in folder.iterdir()} == files | figures | {"test.npz", "results.toml"}
    config = RunConfig.read(folder)
    assert config.model.name == "meta" and config.run["iterations"] == 2
    with np.load(folder / "checkpoint.npz") as state, np.load(folder / "initial.npz") as start:
        assert state["n_updates"] == 2 and state["m.B"].shape == (6, 12)
        assert np.abs(state["w_rec"] - start["w_rec"]).max() > 1e-3
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [*rows[0]] == ["iteration", "loss", "error", "gradient", "rate_hz", "seconds"]
    assert len(rows) == 2


@pytest.mark.slow
def test_it_is_resumed(trained, tmp_path):
    folder, output = trained
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    again = call("train", "--resume", copy, "--no-figures")
    assert "the training is complete: the network is tested again" in again
    assert last_line(again) == last_line(output)
    longer = call("train", "--resume", copy, "--iterations", "3", "--no-figures")
    assert "at iteration 2" in longer and last_line(longer) != last_line(output)
    assert len((copy / "history.csv").read_text().splitlines()) == 4
    # As if it were interrupted before the test: there is none of these weights.
    Run.open(copy).train(4, progress=False)
    assert not any((copy / name).exists() for name in ("results.toml", "test.npz"))
    assert "after" in RunConfig.read(copy).model.results(Run.open(copy).trainer, copy)


def test_it_is_tested_without_jax(trained):
    folder, _ = trained
    code = (
        "import sys\n"
        "sys.modules['jax'] = None\n"
        "from eprop_brian.cli import main\n"
        f"main(['evaluate', {str(folder)!r}, '--batch-size', '3'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 unseen tasks" in done.stdout and last_line(done.stdout).startswith("error ")


def test_what_means_nothing_to_it_is_refused(trained):
    folder, _ = trained
    for command, arguments, message in (
        ("train", ("one-shot-arm", "--neuron", "alif"), "--neuron does not apply to networks that"),
        ("train", ("one-shot-arm", "--no-run"), "there is no program to compile"),
        ("train", ("one-shot-arm", "--set", "meta.etas=1"), "unknown key 'etas'"),
        ("train", ("one-shot-arm", "--set", "task.lines=1"), "unknown key 'lines'"),
        ("train", ("one-shot-arm", "--set", "inputs.shown.size=7"), "n_inputs = 12, task 'one-sh"),
        ("train", ("one-shot-arm", "--set", "meta.fixed=w_out"), "meta.fixed must be a list of na"),
        ("train", ("one-shot-arm", "--set", "meta.eta=nan"), "eta must be a finite number"),
        ("evaluate", (folder, "--batch-size", "1"), "n_tasks must be at least 2"),
        ("compare", ("one-shot-arm",), "one way of learning"),
        ("evaluate", (folder, "--sampled"), "--sampled does not apply"),
        ("record", (folder, "--out", folder / "x.npz"), "recorded in test.npz"),
    ):
        code = 2 if re.search("apply|compile|one way|recorded", message) else 1
        assert message in call(command, *arguments, code=code)


def test_settings_of_the_outer_optimizer():
    config = RunConfig.from_recipe("one-shot-arm", settings=["meta.eta=0.1", "meta.beta_1=0.5"])
    config = config.with_setting("population.learner.parameters.v_th=0.7")
    assert (config.meta["eta"], config.meta["beta_1"]) == (0.1, 0.5)
    other = config.with_setting("meta.optimizer=rmsprop")
    assert "beta_1" not in other.meta and other.meta["n_test"] == 64
    network = other.make_network()
    thresholds = [p.neuron.parameters["v_th"] for p in network.resolved.populations]
    assert thresholds == [0.7, 1.3, 1.3]
