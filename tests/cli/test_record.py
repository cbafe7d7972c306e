"""The command that records a trial of a run."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import CHECKPOINT, INITIAL, read_weights
from eprop_brian.training.recording import Recording, record
from eprop_brian.training.traces import TracedSynapse
from support.command import call

RUNS = Path(__file__).parents[1] / "data" / "runs"


def expected(folder, weights=CHECKPOINT, **options):
    config = RunConfig.read(folder)
    task = config.make_task()
    network = config.make_network(task)
    arrays, _ = read_weights(folder / weights, network)
    return record(network, task, arrays, seed=config.run["seed"], **options)


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(RUNS / "eprop", tmp_path / "run")


def test_a_recording_of_chosen_neurons_and_synapses(folder, tmp_path):
    out = tmp_path / "trial.npz"
    where = ("--neurons", "lif:0,2-3", "--synapses", "inputs:1:lif:2", "--index", 1)
    output = call("record", folder, "--quantities", "v,eps_v", *where, "--out", out)
    assert output.splitlines()[-1] == f"wrote {out}"
    assert "v (1): 3 neurons" in output
    found = Recording.read(out)
    wanted = expected(
        folder,
        quantities=["v", "eps_v"],
        neurons={"lif": [0, 2, 3]},
        synapses=[TracedSynapse("inputs", 1, "lif", 2)],
        index=1,
    )
    for name in ("v", "eps_v"):
        np.testing.assert_array_equal(found[name].values, wanted[name].values)
        assert found[name].members == wanted[name].members


def test_a_table_of_the_initial_weights(folder, tmp_path):
    out = tmp_path / "trial.csv"
    call("record", folder, "--initial", "--quantities", "y", "--out", out)
    with open(out, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["time (ms)", "y of readout 0 (1)"]
    wanted = expected(folder, INITIAL, quantities=["y"]).y
    np.testing.assert_array_equal([float(row[1]) for row in rows], wanted[:, 0])


def test_what_can_be_recorded_is_listed(folder):
    lines = call("record", folder, "--list").splitlines()
    assert "  eps_v (1; lif): component of the eligibility vector, dv/dw" in lines


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--out", "trial.txt"), 2, "--out names a file that ends in .npz, .csv, .nwb"),
        ((), 2, "--out names a file"),
        (("--quantities", "vv", "--out", "trial.npz"), 1, "unknown quantity 'vv'"),
        (("--neurons", "lif:a", "--out", "trial.npz"), 2, "'lif:a' is not like alif"),
        (("--synapses", "lif", "--out", "trial.npz"), 2, "'lif' is neither a number of synapses"),
        (("--learning", "--out", "trial.npz"), 1, "learning=True is for continuous operation"),
    ],
)
def test_mistakes_are_named(folder, options, code, message):
    assert message in call("record", folder, *options, code=code)


def test_a_balanced_network_is_refused():
    message = "whose test is recorded in test.npz"
    assert message in call("record", RUNS / "balanced", "--out", "trial.npz", code=2)
