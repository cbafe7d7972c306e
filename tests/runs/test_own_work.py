"""Networks and tasks of one's own are kept in folders and go on as those of the library do."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from eprop_brian import Run, RunConfig, Trainer, get_recipe, plot
from eprop_brian.base.repository import commit_of
from eprop_brian.network.rewiring import Rewiring
from eprop_brian.runs.comparison import compare
from eprop_brian.runs.config import same_content
from eprop_brian.runs.graph_writing import tables_of
from eprop_brian.runs.sweep import grid, sweep
from eprop_brian.runs.versions import changed_versions
from eprop_brian.tasks import get_task
from support.own import Unknown, own_arrays, own_network, own_trainer
from support.plugins import install

TASKS = {"arrays": own_arrays, "object": Unknown}


def opened(folder, task):
    """What a folder holds, with the object where it takes one."""
    return Trainer.load(folder, task=task if isinstance(task, Unknown) else None)


@pytest.mark.parametrize("kind", TASKS)
def test_a_training_goes_on_from_its_folder_bit_for_bit(kind, tmp_path):
    task = TASKS[kind]()
    whole, stopped = own_trainer(task), own_trainer(task)
    whole.train(5, progress=False)
    stopped.train(2, progress=False)
    stopped.save(tmp_path / "run")
    again = opened(tmp_path / "run", task)
    assert again.iteration == 2 and again.device == "runtime"
    again.train(5, progress=False)
    again.save(tmp_path / "run")
    last = opened(tmp_path / "run", task)
    assert last.history.loss == whole.history.loss
    for name, value in whole.session.weights.items():
        np.testing.assert_array_equal(last.session.weights[name], value)
    assert str(last.evaluate()) == str(whole.evaluate())
    last.save(tmp_path / "copy")
    copied = opened(tmp_path / "copy", task)
    assert copied.iteration == 5
    for name, value in whole.network.initial_weights(2).items():
        np.testing.assert_array_equal(copied.initial_state()[name], value)


def test_weights_that_were_given_are_the_initial_ones(tmp_path):
    task = own_arrays()
    given = own_network(task).initial_weights(7)
    trainer = own_trainer(task, weights=given)
    trainer.train(1, progress=False)
    trainer.save(tmp_path)
    np.testing.assert_array_equal(Run.open(tmp_path).weights("initial.npz")["w_in"], given["w_in"])


def test_a_task_of_ones_own_needs_its_object(tmp_path):
    task = Unknown()
    own_trainer(task).save(tmp_path)
    with pytest.raises(
        ValueError, match=r"unknown task 'unknown-to-others'.*entry point.*object: T"
    ):
        Trainer.load(tmp_path)
    with pytest.raises(ValueError, match="is 'unknown-to-others', but the object is the task 'arr"):
        Trainer.load(tmp_path, task=own_arrays())
    assert plot.run(tmp_path, task=task)


def test_the_object_must_be_the_same(tmp_path):
    own_trainer(own_arrays()).save(tmp_path)
    with pytest.raises(ValueError, match="has other arrays than the object"):
        Trainer.load(tmp_path, task=own_arrays(n=27))
    with pytest.raises(ValueError, match="has test_fraction = 0.2, but the object 0.3"):
        Trainer.load(tmp_path, task=own_arrays(test_fraction=0.3))


def test_a_folder_of_another_run_is_refused(tmp_path):
    task = own_arrays()
    own_trainer(task).save(tmp_path)
    for other in (
        own_trainer(task, own_network(task, c_reg=1.0)),
        own_trainer(task, weights=own_network(task).initial_weights(9)),
    ):
        other.train(1, progress=False)
        with pytest.raises(ValueError, match="holds another run|not of this run"):
            other.save(tmp_path)


def test_what_cannot_be_kept_is_said(tmp_path):
    task = own_arrays()
    with pytest.raises(ValueError, match="a Resolved network cannot be kept"):
        own_trainer(task, own_network(task).resolved).save(tmp_path / "a")
    state = own_trainer(task).session.state()
    with pytest.raises(ValueError, match="began with a stored state does not know"):
        own_trainer(task, state=state).save(tmp_path / "b")
    assert not list(tmp_path.glob("*/config.toml"))


def test_a_rewired_network_is_kept(tmp_path):
    task = own_arrays()
    network = own_network(task, rewiring=Rewiring({"w_rec": 0.5}))
    trainer = own_trainer(task, network)
    trainer.train(2, progress=False)
    trainer.save(tmp_path)
    loaded = Trainer.load(tmp_path)
    assert same_content(tables_of(loaded.network), tables_of(network))
    np.testing.assert_array_equal(loaded.session.weights["w_rec"], trainer.session.weights["w_rec"])


@pytest.mark.slow
def test_compare_and_sweep_take_it(tmp_path):
    task = Unknown()
    config = RunConfig.of(own_network(task), task, iterations=2, batch_size=4, device="runtime")
    for _ in range(2):  # the second time runs are opened again
        results = compare(config, tmp_path / "c", ["random"], [1], progress=False)
        assert [len(r.history) for r in results] == [2]
    points = grid(["optimizer.eta=1e-3"])

    def configure(varied, seed):
        return RunConfig.from_recipe(config, settings=varied, run={"seed": seed})

    (result,) = sweep(points, configure, [1], tmp_path / "s", side_by_side=1)
    assert not result.failure


def test_a_recipe_trains_a_task_of_ones_own():
    config = RunConfig.from_recipe("evidence-accumulation", task=Unknown(), settings=["size.lif=3"])
    assert config.run["task"] == Unknown.name and not config.tables["task"].get("n_cues")
    network = config.make_network()
    assert (network.n_inputs, network.n_outputs) == (4, 2)


def test_a_run_says_all_settings_and_versions(tmp_path, monkeypatch):
    config = RunConfig.from_recipe(
        "pattern-generation",
        run={"device": "runtime"},
        settings=["size.lif=2", "task.n_steps=20"],
    )
    Run.start(config, tmp_path)
    stored = tomllib.loads((tmp_path / "config.toml").read_text())["task"]
    default = get_task("pattern-generation")
    assert stored["n_steps"] == 20
    assert stored["spike_probability"] == default.spike_probability
    assert config.is_of(tmp_path) and RunConfig.read(tmp_path) == config.completed()
    assert RunConfig.from_recipe(tmp_path, run={"seed": 5}).run["seed"] == 5
    assert changed_versions(tmp_path) == {}
    monkeypatch.setattr("eprop_brian.runs.versions.versions", lambda: {"python": "2.7"})
    assert changed_versions(tmp_path)["python"][1] == "2.7"
    (tmp_path / "versions.toml").write_text("[[versions]]\npython = '3.11'\n")
    with pytest.raises(ValueError, match=r"versions.toml: \[versions\] must be one table"):
        changed_versions(tmp_path)


def test_a_task_of_a_package_is_found_by_its_name(tmp_path, monkeypatch):
    points = ["[eprop_brian.tasks]", "faster = own_package:Faster"]
    install(tmp_path, monkeypatch, "own_package", points)
    task = get_task("faster", peak=0.4)
    trainer = own_trainer(task)
    trainer.save(tmp_path / "run")
    assert Trainer.load(tmp_path / "run").task.peak == 0.4
    # What is printed is a recipe of that task, which can be copied.
    (tmp_path / "mine.toml").write_text(str(get_recipe("faster")))
    config = RunConfig.from_recipe(tmp_path / "mine.toml")
    assert config.run["task"] == "faster" and "file" not in config.tables["task"]


def test_a_folder_does_not_take_the_place_of_a_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own_trainer(own_arrays()).save(tmp_path / "digits")
    assert get_recipe("digits").task == "digits"
    assert get_recipe(Path("digits")).task == "arrays"


def test_a_run_of_a_recipe_is_kept_where_it_is(tmp_path):
    config = RunConfig.from_recipe(
        "pattern-generation",
        run={"device": "runtime"},
        settings=["size.lif=2", "task.n_steps=20", "task.dt=1 ms"],
    )
    Run.start(config, tmp_path)
    trainer = Trainer.load(tmp_path)
    trainer.train(1, progress=False)
    trainer.save(tmp_path)
    assert Trainer.load(tmp_path, task=config.make_task()).iteration == 1


def test_the_commit_is_read_without_git(tmp_path):
    commit, other = "a" * 40, "b" * 40
    git = tmp_path / "repository" / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert commit_of(git.parent) == ""
    (git / "packed-refs").write_text(f"# pack-refs\n{other} refs/heads/main\n")
    assert commit_of(git.parent / "below" / "it") == other
    (git / "refs" / "heads" / "main").write_text(f"{commit}\n")
    assert commit_of(git.parent) == commit
    (git / "worktrees" / "w").mkdir(parents=True)
    (git / "worktrees" / "w" / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "worktrees" / "w" / "commondir").write_text("../..\n")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / ".git").write_text(f"gitdir: {git / 'worktrees' / 'w'}\n")
    assert commit_of(tree) == commit
    (git / "HEAD").write_text(f"{other}\n")
    assert commit_of(git.parent) == other


def test_the_figure_of_confused_classes(tmp_path):
    task = own_arrays(class_names=("a", "b", "c"))
    trainer = own_trainer(task)
    trainer.train(1, progress=False)
    trainer.save(tmp_path)
    assert tmp_path / "confusion_trials.png" in plot.run(tmp_path)
    # Without names there is none, and the file is not that of this run.
    trainer = own_trainer(own_arrays())
    trainer.train(1, progress=False)
    trainer.save(tmp_path / "other")
    (tmp_path / "other" / "confusion_trials.png").write_bytes(b"old")
    assert not [path for path in plot.run(tmp_path / "other") if "confusion" in path.name]
    assert not (tmp_path / "other" / "confusion_trials.png").exists()


def test_a_run_that_is_saved_again_has_the_iterations_that_were_made(tmp_path):
    trainer = own_trainer(own_arrays())
    trainer.train(2, progress=False)
    trainer.save(tmp_path)
    trainer.train(5, progress=False)
    trainer.save(tmp_path)
    run = Run.open(tmp_path)
    assert run.config.run["iterations"] == run.trainer.iteration == 5 and run.is_trained
    # Longer trainings that were planned stay planned.
    planned = Run.open(tmp_path)
    planned.train(5, progress=False)
    planned.config = planned.config.with_values("run", iterations=9)
    planned.config.write(tmp_path)
    Trainer.load(tmp_path).save(tmp_path)
    assert RunConfig.read(tmp_path).run["iterations"] == 9


def test_settings_of_a_run_take_the_object_of_its_task():
    task = Unknown()
    config = RunConfig.of(own_network(task), task)
    other = Unknown()
    taken = RunConfig.from_recipe(config, task=other)
    assert taken.make_task() is other and taken == config
    with pytest.raises(ValueError, match="task is 'unknown-to-others', but the object is the task"):
        RunConfig.from_recipe(config, task=own_arrays())
    arrays = RunConfig.of(own_network(own_arrays()), own_arrays())
    with pytest.raises(ValueError, match="other arrays than the object"):
        RunConfig.from_recipe(arrays, task=own_arrays(n=21))
