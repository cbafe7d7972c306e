"""A run keeps the environment that it began in, whatever becomes of the user's file."""

import tomllib

import pytest

from eprop_brian import RunConfig
from eprop_brian.runs.config import CONFIG
from eprop_brian.symbolic.environment_file import write_environment
from eprop_brian.symbolic.errors import EquationError
from support.acting import WALK, configure

KEPT = "environment.toml"
#: The recipe part by part.
PARTS = """
[run]
task = "environment"

[task]
file = "walk.toml"

[[inputs]]

[[population]]
neuron = "lif"
size = 6

[[readout]]
name = "policy"
loss = "-advantage*y_target*log(p)"

[[readout]]
name = "value"

[[projection]]
source = "inputs"
target = "lif"

[[projection]]
source = "lif"
target = "policy"

[[projection]]
source = "lif"
target = "value"

[[learning_signal]]
source = "policy"
target = "lif"

[[agent]]
policy = "policy"
value = "value"

[network]
"""


def by_setting():
    return RunConfig.from_recipe("environment", settings=["task.file=walk.toml"])


def by_parts():
    return RunConfig.from_recipe("parts.toml")


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The user's file, in the working folder, beside a recipe that names it."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "walk.toml"
    path.write_text(write_environment(WALK))
    (tmp_path / "parts.toml").write_text(PARTS)
    return path


def written(config, folder):
    """The folder of a run with this configuration."""
    folder.mkdir()
    config.write(folder)
    return folder


def environment_of(config):
    """The text of what the task acts in."""
    return write_environment(config.make_task().environment)


@pytest.mark.parametrize("configured", [by_setting, by_parts])
def test_a_run_needs_the_file_no_more(configured, file, tmp_path, monkeypatch):
    config = configured()
    folder = written(config, tmp_path / "run")
    assert (folder / KEPT).read_text() == write_environment(WALK)
    assert tomllib.loads((folder / CONFIG).read_text())["task"]["file"] == "walk.toml"

    file.rename(tmp_path / "renamed.toml")
    monkeypatch.chdir(folder)
    read = RunConfig.read(folder)
    assert read == config and read.is_of(folder)
    assert environment_of(read) == write_environment(WALK)
    assert (
        read.make_network().initial_weights(1).keys()
        == config.make_network().initial_weights(1).keys()
    )
    # Exported and imported runs are written from what was read.
    copied = RunConfig.read(written(read, tmp_path / "copied"))
    assert copied == config and environment_of(copied) == write_environment(WALK)


@pytest.mark.parametrize("configured", [by_setting, by_parts])
def test_an_edited_file_is_another_run(configured, file, tmp_path):
    config = configured()
    folder = written(config, tmp_path / "run")
    edited = write_environment(WALK.with_parameters(end=3.0))
    file.write_text(edited)
    assert environment_of(config) == environment_of(RunConfig.read(folder))
    assert environment_of(RunConfig.read(folder)) == write_environment(WALK)
    other = configured()
    assert environment_of(other) == edited
    assert other != config and not other.is_of(folder)


@pytest.mark.parametrize("configured", [by_setting, by_parts])
def test_runs_derived_from_a_run_stay_in_its_environment(configured, file):
    config = configured()
    file.unlink()
    for method in ("symmetric", "random", "readouts", "bptt"):
        assert environment_of(config.with_method(method)) == write_environment(WALK)
    longer = config.with_setting("run.iterations=7").with_setting("optimizer.name=momentum")
    assert environment_of(longer) == write_environment(WALK)


def test_another_file_is_another_environment(file, tmp_path):
    config = configure(tmp_path, environment=WALK)
    other = tmp_path / "other.toml"
    other.write_text(write_environment(WALK.with_parameters(end=3.0)))
    changed = config.with_setting(f"task.file={other}")
    assert environment_of(changed) == other.read_text()
    assert environment_of(config) == write_environment(WALK)


def test_what_is_kept_is_read_where_it_stands(file, tmp_path):
    folder = written(by_setting(), tmp_path / "run")
    (folder / KEPT).unlink()
    with pytest.raises(ValueError, match=rf"run.{KEPT}"):
        RunConfig.read(folder)


def test_a_file_with_a_mistake_is_refused_with_its_line(file):
    file.write_text(write_environment(WALK).replace("gain*x", "gian*x"))
    with pytest.raises(EquationError, match="'gian' is not defined") as raised:
        by_setting()
    assert raised.value.where.startswith("walk.toml, line 8, environment 'walk', reward")


def test_without_a_file_there_is_nothing_to_keep(tmp_path):
    config = RunConfig.from_recipe("environment")
    assert KEPT not in config.files() and config.environment is None
    assert RunConfig.read(written(config, tmp_path / "run")) == config
    with pytest.raises(ValueError, match="needs the setting file"):
        config.make_task()
    assert KEPT not in RunConfig.from_recipe("cartpole").files()
