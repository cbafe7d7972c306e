"""Exported projects that only run: they build with make, and give what the package gives."""

import shutil
import subprocess
import time
from dataclasses import replace

import numpy as np
import pytest

from eprop_brian.base.files import read_arrays
from eprop_brian.export.folders import new_project
from eprop_brian.export.inference import export_inference, inference_state
from eprop_brian.network.program import make_program
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import CHECKPOINT, Run
from eprop_brian.training.session import Session
from support import parts
from support.inference import build, infer

N_TRIALS = 3
#: A smaller program is enough, and compiles faster.
RUNS = {
    "evidence": ("evidence-accumulation", ["size.lif=20", "size.alif=12", "task.n_cues=1"], {}),
    "sparse and delayed": (
        "pattern-generation",
        ["size.lif=30", "network.connectivity={w_rec=0.3}", "network.delays={w_rec='2 ms'}"],
        {},
    ),
    "float32, learned parameters": (
        "pattern-generation",
        ["size.lif=30", "network.learned={tau_m={}}"],
        {"dtype": "float32"},
    ),
    "analog": ("digits", ["task.coding=analog", "size.lif=20"], {}),
    "asked twice": ("store-recall", ["size.lif=10", "size.alif=10"], {}),
    "without trials": (
        "pattern-generation",
        ["size.lif=30", "network.updates=step", "network.gradient=online", "network.c_reg=0"],
        {"batch_size": 1},
    ),
}

PARTS = "several parts of every kind"


def make_run(folder, name):
    if name == PARTS:
        config = parts.configure(run={"device": "runtime"})
    else:
        task, settings, options = RUNS[name]
        config = RunConfig.from_recipe(
            task,
            run={"device": "runtime", "batch_size": 1, "iterations": 1, **options},
            settings=settings,
        )
    Run.start(config, folder).trainer.close()
    return config


@pytest.mark.usefixtures("users_compiler")
@pytest.mark.slow
@pytest.mark.parametrize("name", [*RUNS, PARTS])
def test_the_program_gives_what_the_package_gives(name, tmp_path):
    config = make_run(tmp_path / "run", name)
    project = export_inference(tmp_path / "run", tmp_path / "project")
    build(project)
    task = config.make_task()
    trials = task.trials(5, "test", 0, N_TRIALS)
    inputs = trials.inputs[trials.pattern]
    np.save(tmp_path / "inputs.npy", inputs)
    files = {what: tmp_path / f"{what}.npy" for what in ("out", "readouts", "spikes")}
    options = [part for what, path in files.items() for part in (f"--{what}", path)]
    infer(project, "--inputs", tmp_path / "inputs.npy", *options)
    found = {what: np.load(path) for what, path in files.items()}

    weights = {
        key: value
        for key, value in read_arrays(tmp_path / "run" / CHECKPOINT).items()
        if key in inference_state(config, tmp_path / "run").weights
    }
    program = make_program("cpp", config.run["dtype"])
    network = config.make_network(task)
    trials = replace(trials, periods=None, n_answers=None)
    session = Session(network, program, trials, task.learning_window, weights, learning=False)
    outcome = session.run(trials, N_TRIALS, learning=False)
    np.testing.assert_array_equal(found["out"], outcome.output)
    np.testing.assert_array_equal(found["spikes"][-1], session.spikes())
    np.testing.assert_array_equal(found["readouts"][-1], session.readouts())
    assert found["spikes"].sum() > 20
    session.close()


@pytest.mark.slow
def test_a_program_needs_nothing_of_where_it_was_made_and_says_what_is_wrong(tmp_path):
    make_run(tmp_path / "run", "evidence")
    project = tmp_path / "elsewhere"
    shutil.move(export_inference(tmp_path / "run", tmp_path / "project"), project)
    build(project)
    for path in (project / "src").rglob("*"):
        assert not path.is_file() or str(tmp_path) not in path.read_text()
    inputs = tmp_path / "inputs.npy"
    options = ["--inputs", inputs, "--out", tmp_path / "out.npy"]
    assert "Usage: infer" in infer(project, "--help")
    assert "--inputs is missing" in infer(project, status=2)
    assert "there is nothing to write" in infer(project, *options[:2], status=2)
    assert "no such option: --output" in infer(project, "--output", "x", status=2)
    assert "--out needs a value" in infer(project, *options[:3], status=2)
    assert "No such file" in infer(project, *options, status=1)
    readme = (project / "README.md").read_text()
    shape = readme.split("(trials, ")[1].split(")")[0]
    n_steps, n_inputs = map(int, shape.split(", "))
    for wrong, problem in (
        (np.zeros((2, n_steps, n_inputs + 1), bool), "has the shape"),
        (np.zeros((n_steps, n_inputs), bool), "has the shape"),
        (np.full((2, n_steps, n_inputs), 0.5), "other numbers than 0 and 1"),
        (np.zeros((2, n_steps, n_inputs), complex), "bool, whole numbers or floats"),
        (np.zeros((2, n_steps, n_inputs), ">f8"), "order of bytes"),
        (np.zeros((2, n_steps, n_inputs), order="F"), "stored by columns"),
    ):
        np.save(inputs, wrong)
        assert problem in infer(project, *options, status=1)
        assert not list(tmp_path.glob("out.npy*"))
    content = inputs.read_bytes()
    np.save(inputs, np.zeros((2, n_steps, n_inputs), np.uint8))
    whole = inputs.read_bytes()
    inputs.write_bytes(whole[:-1])
    assert "does not hold the numbers" in infer(project, *options, status=1)
    inputs.write_bytes(b"PK" + content)
    assert "is not an .npy file" in infer(project, *options, status=1)
    for header in (b"{'descr': ", b"{'descr': '|u1', 'fortran_order': False, 'shape': (2, "):
        inputs.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        assert "damaged header" in infer(project, *options, status=1)
    huge = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**61}, {2**3}, 1), }}".encode()
    inputs.write_bytes(b"\x93NUMPY\x01\x00" + len(huge).to_bytes(2, "little") + huge)
    assert "damaged header" in infer(project, *options, status=1)
    # Any type that can hold spikes.
    for dtype in (bool, np.uint8, np.int32, np.int64, np.float32, np.float64):
        np.save(inputs, np.ones((1, n_steps, n_inputs), dtype))
        infer(project, f"--inputs={inputs}", *options[2:])
        values = np.load(tmp_path / "out.npy")
        assert values.shape == (1, 2)
        assert np.all(np.isfinite(values))
    np.save(inputs, np.zeros((0, n_steps, n_inputs), bool))
    infer(project, *options)
    assert np.load(tmp_path / "out.npy").shape == (0, 2)
    # Nothing is written over, and nothing half stays.
    for same in (inputs, tmp_path / ".." / tmp_path.name / "out.npy"):
        assert "name the file" in infer(project, *options, "--spikes", same, status=2)
    np.save(inputs, np.ones((1000, n_steps, n_inputs), bool))
    process = subprocess.Popen([project / "infer", *options], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "out.npy.part").exists():
        time.sleep(0.01)
    process.terminate()
    assert "interrupted" in process.communicate()[1]
    assert process.returncode == 130
    assert not list(tmp_path.glob("*.part"))
    # Arrays of another network.
    path = project / "network" / "inputs_to_lif.w.npy"
    weights = np.load(path)
    for wrong, problem in (
        (weights.view(np.int64), "compiled for <f8 of shape"),
        (weights[np.newaxis], "compiled for <f8 of shape"),
        (np.full_like(weights, np.nan), "not finite"),
    ):
        np.save(path, wrong)
        assert problem in infer(project, *options, status=1)
    np.save(path, weights)
    (project / "network" / "readout.kappa.npy").unlink()
    assert "readout.kappa.npy: No such file" in infer(project, *options, status=1)


def test_what_cannot_be_exported_is_said(tmp_path):
    with pytest.raises(ValueError, match="config.toml"):
        export_inference(tmp_path, tmp_path / "project")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ValueError, match="not an empty folder"), new_project(tmp_path / "full"):
        pass
