"""Recipes are files that a user can copy; what they mean does not change unnoticed."""

import json
import tomllib
from pathlib import Path

import pytest

from eprop_brian import RunConfig, get_recipe
from eprop_brian.runs.config import CONFIG
from eprop_brian.runs.models import MODELS
from eprop_brian.runs.recipes import OTHER_NETWORKS, RECIPES
from support.data_sets import write_spoken_digits

#: ``config.toml`` of every recipe, from before recipes were files.
STORED = json.loads((Path(__file__).parents[1] / "data" / "recipes.json").read_text())


def test_there_is_a_recipe_for_every_task_and_those_with_other_names():
    # Some are learned by two models.
    tasks = list(dict.fromkeys(task for model in MODELS.values() for task in model.tasks))
    assert list(RECIPES) == [*tasks, *OTHER_NETWORKS]
    assert tasks == list(STORED)
    folder = Path(get_recipe(tasks[0]).path).parent
    assert sorted(path.stem for path in folder.glob("*.toml")) == sorted(RECIPES)


@pytest.mark.parametrize("task", STORED)
def test_a_recipe_means_what_it_did(task):
    tables = tomllib.loads(RunConfig.from_recipe(task).files()[CONFIG])
    # Some are learned by two models: the recipe is for the one that is not e-prop.
    model = [model.name for model in MODELS.values() if task in model.tasks][-1]
    assert tables["run"].pop("model") == model
    assert tables == STORED[task]
    assert list(tables.get("size", {})) == list(STORED[task].get("size", {}))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_where_it_is_from(name):
    recipe = get_recipe(name)
    first = str(recipe).partition("\n\n")[0]
    assert first.startswith("# ") and ("our own" in first or "20" in first or "NEST" in first)
    assert name == recipe.task or name in OTHER_NETWORKS and name.startswith(f"{recipe.task}-")


@pytest.mark.parametrize("name", OTHER_NETWORKS)
def test_other_networks_are_for_their_task(name, tmp_path):
    config = RunConfig.from_recipe(name)
    if config.run["task"] == "spoken-digits":
        pytest.importorskip("kaldi_native_fbank")
        write_spoken_digits(tmp_path)
        config = config.with_values("task", path=str(tmp_path))
    task = config.make_task()
    network = config.make_network(task)
    assert (network.n_inputs, network.n_outputs) == (task.n_inputs, task.n_outputs)
    if config.model.name == "eprop":
        assert {c.name for c in network.resolved.connections if c.plastic} == {*network.delay_steps}


@pytest.mark.parametrize("task", ["evidence-accumulation", "balanced-lorenz"])
def test_a_copy_of_a_recipe_is_the_recipe_until_it_is_changed(task, tmp_path):
    path = tmp_path / "mine.toml"
    text = str(get_recipe(task))
    path.write_text(text)
    assert RunConfig.from_recipe(path) == RunConfig.from_recipe(task)
    path.write_text(
        text + "\n[test]\nkill = 0.25\n"
        if "balanced" in task
        else text.replace('tau_m = "20 ms"', 'tau_m = "25 ms"\ndetach = ["v", "a"]')
    )
    mine = RunConfig.from_recipe(str(path))
    assert mine != RunConfig.from_recipe(task)
    if "balanced" in task:
        assert mine.test["kill"] == 0.25
    else:
        assert mine.neurons["alif"].parameters["tau_m"] == "25 ms"
        assert mine.neurons["alif"].detach == ("v", "a")


def test_parameters_of_the_teacher_can_stand_in_a_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    tables = ('[run]\ntask = "balanced-van-der-pol"', '[network]\nrule = "learned"')
    path.write_text("\n".join([*tables, '[teacher]\nspeed = "3 Hz"\n']))
    config = RunConfig.from_recipe(path)
    assert config.model.name == "balanced"
    assert config.teacher.parameters["speed"] == "3 Hz"
    # What the file leaves out has the defaults of the model, not of the task's recipe.
    assert config.training["duration"] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"mine.toml: \[run\] lacks 'task'"),
        ('[run]\ntask = "digit"\n', "mine.toml: unknown task 'digit' .did you mean 'digits'"),
        ('[run]\ntask = "digits"\n[netwrk]\n', "mine.toml: unknown table 'netwrk'"),
        ('[run]\ntask = "digits"\n[network]\nc_rg = 1\n', r"mine.toml: \[network\]: unknown key"),
        ('[run]\ntask = "digits"\nmodel = "balanced"\n', "mine.toml: unknown task 'digits'"),
        ("[run", "mine.toml: "),
        ('[run]\ntask = "digits"\n[size]\nlyf = 3\n', r"mine.toml: \[size\]: unknown neuron 'lyf'"),
        (
            '[run]\ntask = "digits"\n[size]\nlif = 3\n[neuron]\ntau_n = "20 ms"\n',
            r"mine.toml: \[neuron\]: unknown parameter 'tau_n' .did you mean 'tau_m'",
        ),
        (
            '[run]\ntask = "digits"\n[size]\nlif = 3\n[neuron]\ntau_m = "20 mV"\n',
            r"mine.toml: \[neuron\]: tau_m = '20 mV' has another unit than '20 ms'",
        ),
        (
            '[run]\ntask = "balanced-oscillator"\n[test]\nnoise = "much"\n',
            "mine.toml: test.noise = 'much' must be a finite number, or a multiple",
        ),
    ],
)
def test_a_file_that_is_not_a_recipe_is_named(text, message, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        RunConfig.from_recipe(path)


def test_unknown_recipes_are_answered_with_those_that_exist(tmp_path):
    with pytest.raises(ValueError, match="unknown task 'digit' .did you mean 'digits'"):
        get_recipe("digit")
    with pytest.raises(ValueError, match="none.toml: no such file"):
        get_recipe(tmp_path / "none.toml")
    with pytest.raises(ValueError, match="a teacher is for balanced networks"):
        RunConfig.from_recipe("digits", teacher="dx/dt = -x/second : 1")
    with pytest.raises(ValueError, match="follow from its task"):
        RunConfig.from_recipe("balanced-lorenz", neuron="lif")


def test_a_name_with_an_argument(tmp_path):
    pytest.importorskip("gymnasium")
    config = RunConfig.from_recipe("gymnasium:FrozenLake-v1")
    assert config.task["env"] == "FrozenLake-v1"
    assert config.make_task().title == "FrozenLake-v1"
    (tmp_path / "mine.toml").write_text(str(get_recipe("gymnasium:FrozenLake-v1")))
    assert RunConfig.from_recipe(tmp_path / "mine.toml") == config
    config.write(tmp_path)
    assert RunConfig.read(tmp_path) == config


def test_an_environment_whose_id_begins_like_a_number():
    pytest.importorskip("gymnasium")
    with pytest.raises(ValueError, match="gymnasium cannot make '2048-v0'"):
        RunConfig.from_recipe("gymnasium:2048-v0").make_task()


def test_settings_of_an_environment():
    pytest.importorskip("gymnasium")
    settings = ("options={is_slippery = false}", "actions=[0, 2]", "coding=analog")
    config = RunConfig.from_recipe(
        "gymnasium:FrozenLake-v1", settings=[f"task.{setting}" for setting in settings]
    )
    task = config.make_task()
    assert (task.options, task.actions, task.n_outputs) == ({"is_slippery": False}, (0, 2), 3)
    assert task.environment.analog


def test_a_recipe_may_have_the_name_of_a_file_of_runs(tmp_path):
    """A run has more than settings."""
    path = tmp_path / "config.toml"
    path.write_text(str(get_recipe("evidence-accumulation")))
    assert not get_recipe(path).is_run and not get_recipe(tmp_path).is_run
    mine = RunConfig.from_recipe(path, neuron="lif")
    assert mine == RunConfig.from_recipe("evidence-accumulation", neuron="lif")
    (tmp_path / "history.csv").write_text("")
    assert get_recipe(path).is_run
