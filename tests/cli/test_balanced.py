"""The command with balanced networks: what it prints, writes and refuses."""

import csv
import shutil
import signal
import tomllib

import numpy as np
import pytest
from click.testing import CliRunner

from eprop_brian.balanced.experiment import Experiment
from eprop_brian.cli import main
from eprop_brian.runs.saved import SavedExperiment
from support.command import call

#: A small experiment, in this process.
SMALL = (
    *("--device", "runtime", "--set", "network.n=10", "--set", "test.duration=0.2"),
    *("--set", "test.settle=0.05", "--set", "network.norm=0.5"),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder, and what was printed while it was made."""
    folder = tmp_path_factory.mktemp("balanced") / "run"
    output = call(
        *("train", "balanced-bistable", *SMALL, "--set", "network.n_basis=8"),
        *("--set", "training.duration=0.3", "--out", folder),
    )
    return folder, output


def test_the_last_line_is_the_error(trained):
    folder, output = trained
    name, value = output.rstrip().splitlines()[-1].split()
    assert name == "NMSE"
    results = tomllib.loads((folder / "results.toml").read_text())["results"]
    assert float(value) == pytest.approx(results["nmse"], rel=1e-5)


def test_everything_is_in_the_folder(trained):
    folder, _ = trained
    figures = {"decoding", "balance", "tuning", "activity", "phase", "training"}
    files = {
        "config.toml",
        "versions.toml",
        "teacher.toml",
        "history.csv",
        "initial.npz",
        "checkpoint.npz",
    }
    expected = {f"{name}.png" for name in figures} | files | {"test.npz", "results.toml"}
    assert {path.name for path in folder.iterdir()} == expected
    weights = np.load(folder / "checkpoint.npz", allow_pickle=False)
    assert weights["slow_weights"].shape == (10, 8)
    assert np.linalg.norm(weights["slow_weights"]) > 0
    with (folder / "history.csv").open() as file:
        assert float(list(csv.DictReader(file))[-1]["seconds"]) == pytest.approx(0.3)


def test_a_trained_network_is_tested_again_when_it_is_resumed(trained, tmp_path):
    folder, output = trained
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    (copy / "results.toml").unlink()
    again = call("train", "--resume", copy, "--no-figures")
    assert "the training is complete" in again
    last, first = (text.rstrip().splitlines()[-1] for text in (again, output))
    assert last == first
    assert (copy / "results.toml").read_text() == (folder / "results.toml").read_text()
    message = call("train", "--resume", copy, "--iterations", "99", code=2)
    assert "--iterations does not apply to balanced networks" in message


def test_evaluate_takes_another_input_and_perturbations(trained):
    folder, _ = trained
    output = call("evaluate", folder, "--kill", "0.5", "--noise", "0")
    assert "5 of 10 neurons killed" in output
    assert output.rstrip().splitlines()[-1].startswith("NMSE ")


def test_plot_draws_again(trained):
    folder, _ = trained
    assert "phase.svg" in call("plot", folder, "--format", "svg")
    for path in folder.glob("*.svg"):
        path.unlink()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("balanced-oscillator", "--iterations", "5"), "--iterations does not apply to balanced"),
        (("pattern-generation", "--kill", "0.5"), "--kill applies to balanced networks only"),
        (("balanced-oscilator",), "did you mean 'balanced-oscillator'"),
        (("balanced-oscillator", "--set", "network.nn=5"), "did you mean 'n'"),
        (("balanced-oscillator", "--set", "network.n=some"), "must be a whole number"),
        (("balanced-oscillator", "--teacher", "dx/dt = x : 1"), "has unit 1 where Hz is needed"),
        (("balanced-lorenz", "--set", "network.rule=closed"), "needs a linear teacher"),
        (("balanced-oscillator", "--kill", "2"), "is not in the range"),
    ],
)
def test_mistakes_end_with_one_message(arguments, message, tmp_path):
    result = CliRunner().invoke(main, ["train", *arguments, "--out", str(tmp_path / "run")])
    assert result.exit_code
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "run").exists()


def test_what_is_no_result_is_not_saved(tmp_path):
    folder = tmp_path / "run"
    output = call(
        *("train", "balanced-oscillator", "--device", "runtime", "--set", "network.n=10"),
        *("--set", "network.norm=0.5", "--set", "network.dt='5 ms'", "--out", folder),
        code=1,
    )
    assert "Lower dt" in output
    assert not (folder / "results.toml").exists()
    assert "has not been tested" in call("plot", folder, code=1)


def test_a_second_run_does_not_overwrite(trained):
    folder, _ = trained
    assert "already holds a run" in call("train", "balanced-oscillator", "--out", folder, code=1)


def test_derive_prints_the_local_rules():
    output = call("derive", "balanced")
    assert "w_slow = w_slow + dt*eta*projected_error*psi" in output
    assert "postsynaptic:  projected_error" in output


@pytest.mark.usefixtures("answered_signals")
def test_saving_cannot_be_interrupted(tmp_path, monkeypatch):
    """What an interrupt leaves is a whole run; the message says how to get the rest."""
    folder, save = tmp_path / "run", Experiment.save_test

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        save(*arguments)

    monkeypatch.setattr(Experiment, "save_test", interrupted)
    output = call("train", "balanced-oscillator", *SMALL, "--out", folder, code=130)
    assert "interrupted after training; the checkpoint of part 0 is saved" in output
    assert f"eprop-brian train --resume {folder}" in output
    assert len(SavedExperiment.read(folder).slow_weights) == 10
