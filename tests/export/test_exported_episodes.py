"""Exported programs play episodes in an environment and learn from them as the tool does."""

import shutil
import subprocess
from importlib.util import find_spec

import numpy as np
import pytest

from eprop_brian.base.files import read_arrays
from eprop_brian.export import export_inference, export_project
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import Run
from eprop_brian.training.history import History
from support.command import call, last_line
from support.programs import assert_same, configure, exported, in_tool, run

#: A walk that drifts, and is over when it leaves its bounds.
WALK = """
[environment]
name = "walk"
model = "x : 1"
most_actions = 12
n_actions = 3
action_every = "4 ms"
step = "x += 0.7*(action - 1) + 0.3*randn()"
reward = "1 - abs(x)/4"
done = "abs(x) > 2.2"

[initial]
x = "rand() - 0.5"

[[codes]]
size = 8
spike = "rand() < 0.6*exp(-((x - centre)/0.7)**2/2)"
parameters = {centre = "i - 3.5"}
"""
COLUMNS = ("returns", "length", "entropy", "value_error")


def walk(path, *settings, **options) -> RunConfig:
    """A small network that learns to stay in the middle."""
    path.write_text(WALK)
    options = {"batch_size": 8, "seed": 2} | options
    return configure(
        "environment",
        *(f"task.file='{path}'", "task.solved_at=7.0", "size.lif=9", "optimizer.eta=1e-2"),
        *("network.weight_scale={w_in=2.0, w_rec=1.0}", *settings),
        **options,
    )


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return walk(tmp_path_factory.mktemp("environment") / "walk.toml")


@pytest.fixture(scope="module")
def program(config, tmp_path_factory):
    return exported(tmp_path_factory.mktemp("walk") / "project", config)


@pytest.fixture(scope="module")
def trained(config):
    """The same in the tool, until it is solved."""
    return in_tool(config, 200)


def assert_same_episodes(folder, trainer):
    assert_same(folder, trainer)
    found = History.read(folder / "history.csv")
    for name in COLUMNS:
        # Six digits, of the return all.
        tolerance = 1e-12 if name == "returns" else 1e-5
        np.testing.assert_allclose(
            getattr(found, name), getattr(trainer.history, name), rtol=tolerance, err_msg=name
        )


@pytest.mark.slow
def test_episodes_train_as_in_the_tool(config, program, tmp_path):
    folder = tmp_path / "run"
    # In two pieces, of which the first ends in the middle of a call.
    run(program, "--run", folder, "--iterations", 7)
    output = run(program, "--run", folder, "--iterations", 20, "--resume", "--no-stop")
    expected = in_tool(config, 20, stop_when_solved=False)
    assert len({*expected.history.length}) > 10
    assert_same_episodes(folder, expected)
    mean, number = expected.history.recent_return(8)
    assert number == 100
    assert output.endswith(f"return {mean:.6g} (mean of the last 100 episodes)\n")
    assert "not solved: a mean return of 7 counts as solved" in output
    # And back again.
    assert last_line(call("evaluate", folder)) == str(expected.evaluate())
    assert "20 iterations" in call("import-run", folder, "--out", tmp_path / "imported")
    assert_same_episodes(tmp_path / "imported", expected)
    again = Run.open(tmp_path / "imported", workers=1)
    again.train(23, progress=False)
    whole = in_tool(config, 23, stop_when_solved=False)
    for name, value in whole.session.state().items():
        np.testing.assert_array_equal(again.trainer.session.state()[name], value)
    assert again.trainer.history.returns == pytest.approx(whole.history.returns, rel=1e-12)


@pytest.mark.slow
def test_episodes_stop_when_solved_as_in_the_tool(program, trained, tmp_path):
    folder = tmp_path / "run"
    output = run(program, "--run", folder, "--iterations", 200)
    assert trained.solved
    assert 20 < trained.iteration < 200
    value = f"{trained.confirmation.returns.mean:.6g}"
    confirmed = f"confirmed by a return of {value} in 100 fresh episodes"
    assert f"solved at iteration {trained.iteration}, {confirmed}" in output
    assert_same_episodes(folder, trained)


@pytest.mark.slow
def test_episodes_of_another_seed(config, program, tmp_path):
    run(program, "--run", tmp_path / "run", "--iterations", 5, "--seed", 9)
    assert_same_episodes(tmp_path / "run", in_tool(config.with_values("run", seed=9), 5))


@pytest.mark.slow
def test_a_run_that_has_not_begun_goes_on(config, program, tmp_path):
    """Its history has no columns of episodes yet."""
    Run.start(config, tmp_path / "begun").trainer.close()
    project = export_project(config, tmp_path / "project", run=tmp_path / "begun")
    shutil.copy(program, project / "train")
    run(project / "train", "--resume", "--iterations", 3)
    assert_same_episodes(project / "run", in_tool(config, 3))


@pytest.mark.slow
def test_trials_from_files_are_refused(program):
    output = run(program, "--trials", "mine.npz", code=2)
    assert "acts in its environment" in output
    assert "--trials" not in run(program, "--help")


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("eprop_brian.devices.cuda") is None or find_spec("brian2cuda") is None,
    reason="needs the device and Brian2CUDA",
)
def test_episodes_on_cuda_by_emulation(config, program, tmp_path):
    project = export_project(config, tmp_path / "project", device="cuda")
    subprocess.run(["make", "emulated"], cwd=project, check=True, capture_output=True)
    run(project / "train", "--iterations", 4)
    run(program, "--iterations", 4, "--run", tmp_path / "run")
    found, expected = (
        read_arrays(folder / "checkpoint.npz") for folder in (project / "run", tmp_path / "run")
    )
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-12, err_msg=name)


def test_the_readme_shows_the_environment(config, tmp_path):
    project = export_project(config, tmp_path / "project")
    text = (project / "README.md").read_text()
    assert '    step = "x += 0.7*(action - 1) + 0.3*randn()"' in text
    assert "48 steps an episode at most" in text
    assert "--trials" not in text
    assert "$" not in text
    assert not (project / "data" / "train.npz").exists()


def test_a_network_that_acts_is_refused_by_name(config, tmp_path):
    task = config.make_task()
    network = config.make_network(task)
    act = "objects of Brian2 cannot act in the environment 'walk'"
    with pytest.raises(ValueError, match=act):
        network.to_brian2(task)
    with pytest.raises(ValueError, match=act):
        network.to_brian2(task.trials(1, "train", 0, 2))
    settings = ("--set", "size.lif=4", "--dtype", "float64")
    script = ("export", "cartpole", *settings, "--device", "brian2", "--out", tmp_path / "a.py")
    assert "cannot act in the environment 'cartpole'" in call(*script, code=1)
    Run.start(config, tmp_path / "run").trainer.close()
    with pytest.raises(ValueError, match="task 'environment' acts in an environment"):
        export_inference(tmp_path / "run", tmp_path / "project")


def test_an_environment_outside_is_refused_by_name(tmp_path):
    pytest.importorskip("gymnasium")
    outside = configure("gymnasium", "size.lif=4")
    with pytest.raises(ValueError, match="'gymnasium' is an environment outside of the program"):
        export_project(outside, tmp_path / "project")
    assert list(tmp_path.iterdir()) == []
