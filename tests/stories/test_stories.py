"""What users set out to do, by the documented commands, from a folder with nothing in it.

The networks are small and run on device ``runtime``, which compiles nothing.
"""

import csv
import shutil

import numpy as np
import pytest

from eprop_brian import ALIF, LIF, Network, Run, RunConfig, Trainer, get_neuron
from eprop_brian.symbolic.neuron_file import write_neuron
from support.command import call, last_line
from support.data_sets import write_arrays
from support.own import own_arrays, own_network

SMALL = ("--device", "runtime", "--no-figures", "--set", "size.lif=4", "--batch-size", 4)


@pytest.fixture(autouse=True)
def clean_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of arrays, made by the command."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_arrays(folder)
    validated = ("--validate-every", 2)
    call("train", f"arrays:{data}", *SMALL, *validated, "--iterations", 4, "--out", folder / "run")
    data.unlink()
    return folder / "run"


@pytest.fixture
def run(trained, clean_folder):
    """A copy of it, in a clean folder and without the file of the data."""
    return shutil.copytree(trained, clean_folder / "run")


def test_my_own_neuron(clean_folder):
    mine = get_neuron("lif").with_parameters(tau_m="30 ms")
    (clean_folder / "mine.toml").write_text(write_neuron(mine))
    assert "eligibility" in call("derive", "mine.toml").lower()
    write_arrays(clean_folder)
    output = call(
        *("train", "arrays:my_data.npz", "--neuron", "mine.toml", "--device", "runtime"),
        *("--no-figures", "--iterations", 2, "--batch-size", 2, "--out", "run"),
    )
    assert last_line(output).startswith("loss ")
    assert str(Run.open("run").config.neurons["lif"].parameters["tau_m"]).startswith("30")


def test_my_own_data_end_to_end_in_python(clean_folder):
    task = own_arrays(solved_at=0.01)
    network = Network.for_task(task, [(LIF, 3), (ALIF, 2)])
    trainer = Trainer(network, task, batch_size=4, seed=1, device="runtime")
    trainer.train(3, progress=False)
    trainer.save("mine")
    assert Trainer.load("mine").iteration == 3
    assert last_line(call("evaluate", "mine")).startswith("loss ")


def test_stopping_early_and_looking_at_the_best_weights(run):
    call(
        *("train", "--from", run, "--iterations", 6, "--no-figures"),
        *("--validate-every", 2, "--patience", 1),
    )
    (folder,) = (run.parent / "runs").iterdir()
    output = call("evaluate", folder, "--best")
    with open(folder / "history.csv", newline="") as file:
        validated = [r["iteration"] for r in csv.DictReader(file) if r["validation_error"]]
    assert validated[:1] == ["2"]
    assert f"at iteration {int(np.load(folder / 'best.npz')['n_updates'])}," in output


def test_sharing_a_run_and_going_on_with_it(run):
    assert "resuming" in call("train", "--resume", run, "--iterations", 5, "--no-figures")
    config = RunConfig.read(run)
    assert config.make_task().n_outputs == 3
    assert Run.open(run).trainer.iteration == 5


@pytest.mark.slow
def test_drawing_a_run(run):
    call("plot", run)
    assert {"learning_curve.png", "trial_after.png"} <= {path.name for path in run.iterdir()}


def test_sweep_and_compare_from_a_run(run):
    call(
        *("sweep", "--from", run, "--set", "optimizer.eta=1e-3,1e-2", "--seeds", "1,"),
        *("--iterations", 2, "--workers", 1, "--out", "s"),
    )
    with open(run.parent / "s" / "sweep.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 2
    output = call(
        *("compare", "--from", run, "--methods", "random", "--seeds", "1,"),
        *("--iterations", 2, "--out", "c"),
    )
    assert last_line(output).startswith("random")


def test_comparing_without_jax_leaves_out_what_needs_it(run, monkeypatch):
    monkeypatch.setattr("eprop_brian.training.jax_session.find_spec", lambda _: None)
    config = RunConfig.read(run)
    with pytest.warns(UserWarning, match=r"bptt is left out.*pip install 'eprop_brian\[bptt\]'"):
        assert "bptt" not in config.model.methods_of(config)
    output = call("gradcheck", "--from", run, code=1)
    assert "need JAX: pip install 'eprop_brian[bptt]'" in output
    output = call("compare", "--from", run, "--methods", "bptt", "--out", "c", code=1)
    assert "need JAX" in output and not (run.parent / "c" / "bptt-seed1").exists()


def test_exporting_to_a_cluster(run):
    assert "validation_loss" in (run / "history.csv").read_text()
    assert "make -C" in call("export", run, "--out", "project")
    assert (run.parent / "project" / "Makefile").exists()
    # Programs make no validations, and read no column of them.
    assert "validation" not in (run.parent / "project" / "run" / "history.csv").read_text()
    call("export", run, "--inference", "--out", "inference")
    assert (run.parent / "inference" / "Makefile").exists()


@pytest.mark.slow
def test_my_own_data_in_a_notebook(clean_folder, monkeypatch):
    """What its cells show is drawn and typeset, and each figure is shown once."""
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell, new_notebook

    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    write_arrays(clean_folder)
    sources = (
        "from eprop_brian import LIF, ArrayTask, Network, Trainer, derive, plot",
        "task = ArrayTask(file='my_data.npz')",
        "network = Network.for_task(task, [(LIF, 4)])\nnetwork",
        "derive(LIF)",
        "trainer = Trainer(network, task, batch_size=4, seed=1, device='runtime')",
        "trainer.train(3)",
        "plot.learning(trainer.history);",
        "trainer.save('mine')",
    )
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    resources = {"metadata": {"path": str(clean_folder)}}
    NotebookClient(notebook, timeout=120, resources=resources).execute()
    kinds = [
        [kind for output in cell.outputs for kind in output.get("data", {})]
        for cell in notebook.cells
    ]
    assert "text/html" in kinds[2], "the network is no diagram with a table"
    assert "text/latex" in kinds[3]
    assert "text/html" in kinds[5], "the history is no figure with a table"
    assert kinds[6].count("image/png") == 1
    assert Run.open("mine").trainer.iteration == 3


def test_asking_the_doctor(run):
    before = {path: path.read_bytes() for path in run.iterdir()}
    output = call("doctor", run)
    assert output.startswith("iteration 4 of 4\nw_in has changed by ")
    assert last_line(output).endswith(("symptom", "symptoms", "no symptom found"))
    assert {path: path.read_bytes() for path in run.iterdir()} == before


def test_my_own_network_by_the_command(clean_folder):
    task = own_arrays()
    Trainer(own_network(task, c_reg=1.0), task, batch_size=4, device="runtime").save("mine")
    call("train", "--from", "mine", "--iterations", 2, "--seed", 5, "--no-figures", "--out", "r")
    assert Run.open("r").config.run["seed"] == 5
    output = call("train", "digits", "--from", "mine", code=2)
    assert "the run in mine is for arrays, not for digits" in output
