"""Exported programs draw the noise of the tool, and read timed arrays."""

import subprocess

import numpy as np
import pytest
from brian2 import TimedArray, ms

from eprop_brian import Neuron
from eprop_brian.base.files import read_arrays
from eprop_brian.export.inference import export_inference
from eprop_brian.export.linear import NotLinearError, linear_neuron
from eprop_brian.network.program import make_program
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import Run
from eprop_brian.symbolic.neuron_file import write_neuron
from eprop_brian.symbolic.step_map import step_map
from eprop_brian.training.session import Session
from support.programs import (
    SMALL_CUES,
    SMALL_PATTERN,
    assert_same,
    exported,
    in_tool,
    run,
)

NOISY = Neuron(
    name="noisy",
    model="dv/dt = (0.6 + 0.3*stimulus(t) - v)/tau + 0.2*xi/tau**.5 : 1",
    method="euler",
    on_pre="v += w",
    threshold="v > 1 + 0.1*randn()",
    reset="v -= 1 + 0.1*rand()",
    parameters={"tau": 20 * ms, "stimulus": TimedArray([0, 1, 0.5], dt=10 * ms)},
)
TASKS = {
    "evidence-accumulation": [s for s in SMALL_CUES if not s.startswith("size")],
    "pattern-generation": [s for s in SMALL_PATTERN if not s.startswith("size")],
    "digits": [],
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("neuron") / "noisy.toml"
    path.write_text(write_neuron(NOISY))

    def config(task: str, seed: int = 3, dtype: str = "float64") -> RunConfig:
        options = {"batch_size": 4, "seed": seed, "dtype": dtype}
        settings = [*TASKS[task], "size.noisy=9"]
        return RunConfig.from_recipe(task, neuron=str(path), run=options, settings=settings)

    return config


@pytest.mark.slow
def test_cues_train_as_in_the_tool_with_the_same_noise(config, tmp_path):
    chosen = config("evidence-accumulation")
    program, folder = exported(tmp_path / "project", chosen), tmp_path / "run"
    # In two pieces, of which the first ends in the middle of a call.
    run(program, "--run", folder, "--iterations", 7)
    output = run(program, "--run", folder, "--iterations", 20, "--resume")
    expected = in_tool(chosen, 20)
    assert_same(folder, expected)
    assert str(expected.evaluate()) in output
    run(program, "--run", tmp_path / "other", "--iterations", 5, "--seed", 8)
    assert_same(tmp_path / "other", in_tool(config("evidence-accumulation", seed=8), 5))


@pytest.mark.slow
def test_a_frozen_trial_has_other_noise_every_time(config, tmp_path):
    chosen = config("pattern-generation", dtype="float32")
    program = exported(tmp_path / "project", chosen)
    run(program, "--iterations", 12)
    expected = in_tool(chosen, 12)
    assert_same(tmp_path / "project" / "run", expected, tolerance=1e-6)
    assert len({*expected.history.rate_hz}) > 6


@pytest.mark.slow
def test_recorded_trials_have_their_keys(config, tmp_path):
    chosen = config("digits")
    program = exported(tmp_path / "project", chosen, trial_iterations=5)
    output = run(program, "--iterations", 5)
    expected = in_tool(chosen, 5)
    assert_same(tmp_path / "project" / "run", expected)
    assert str(expected.evaluate()) in output
    keys = read_arrays(program.parent / "data" / "train.npz")["noise"]
    assert len({*keys}) == len(keys)


@pytest.mark.slow
def test_a_program_that_only_runs_draws_what_trials_without_keys_get(config, tmp_path):
    chosen = config("pattern-generation")
    Run.start(chosen, tmp_path / "run").trainer.close()
    project = export_inference(tmp_path / "run", tmp_path / "project")
    subprocess.run(["make", "-j2"], cwd=project, check=True, capture_output=True)
    task = chosen.make_task()
    trials = task.trials(5, "test", 0, 3)
    np.save(tmp_path / "inputs.npy", trials.inputs[trials.pattern])
    files = ["--inputs", tmp_path / "inputs.npy", "--spikes", tmp_path / "spikes.npy"]
    subprocess.run([project / "infer", *files], check=True)
    network = chosen.make_network(task)
    weights = network.initial_weights(chosen.run["seed"])
    session = Session(
        network, make_program("cpp"), trials, task.learning_window, weights, learning=False
    )
    session.run(trials, 3, learning=False)
    found = np.load(tmp_path / "spikes.npy")
    np.testing.assert_array_equal(found[-1], session.spikes())
    # The inputs are the same.
    assert np.any(found[0] != found[1])
    session.close()


def test_a_graph_of_nodes_has_no_noise():
    with pytest.raises(NotLinearError, match=r"read rand\(\), randn\(\), stimulus\(t\), which"):
        linear_neuron(step_map(NOISY), 1e-3, 4)
