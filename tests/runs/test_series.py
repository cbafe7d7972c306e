"""Comparisons and sweeps, which are series of runs, of every model."""

import csv
import tomllib

import numpy as np
import pytest
from click.testing import CliRunner

from eprop_brian import Run, RunConfig, get_recipe
from eprop_brian.balanced.experiment import Experiment
from eprop_brian.cli import main
from eprop_brian.figures.learning import plot_comparison
from eprop_brian.runs.comparison import compare, histories, summaries, write_summaries
from eprop_brian.runs.sweep import grid, sweep

SETTINGS = {
    "pattern-generation": (
        *("size.lif=4", "task.n_steps=30", "task.n_inputs=4", "run.iterations=3"),
        "run.device=runtime",
    ),
    "balanced-linear": (
        *("network.n=20", "network.dt=0.5 ms", "training.duration=0.5", "training.eta_0=10"),
        *("test.duration=0.2", "test.settle=0.05", "run.device=runtime"),
    ),
}


def configured(task):
    return lambda settings, seed: RunConfig.from_recipe(
        task, run={"seed": seed}, settings=(*SETTINGS[task], *settings)
    )


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# --- sweeps ---------------------------------------------------------------------------------------


def test_a_sweep_of_eprop_has_a_run_for_every_point_and_seed(tmp_path):
    points = grid(["optimizer.eta=1e-4,1e-3", "size.lif=8,9"])
    configure = configured("pattern-generation")
    results = sweep(points, configure, [1, 2], tmp_path)
    assert [r.point for r in results[::2]] == [
        *(("1e-4", "8"), ("1e-4", "9"), ("1e-3", "8"), ("1e-3", "9")),
    ]
    assert [r.seed for r in results] == [1, 2] * 4
    for result in results:
        config = configure(points.settings(result.point), result.seed)
        alone = config.make_trainer()
        alone.train(3, progress=False)
        run = Run.open(result.folder)
        assert run.config == config.completed()
        assert run.trainer.history.loss == alone.history.loss
        assert result.values["loss"] == np.mean(alone.history.loss)
        assert result.values["iterations"] == np.inf and not result.failure
    assert len({result.values["loss"] for result in results}) == 8
    table = rows(tmp_path / "sweep.csv")
    assert [row["optimizer.eta"] for row in table] == ["1e-4"] * 4 + ["1e-3"] * 4
    assert table[5]["loss"] == f"{results[5].values['loss']:.6g}"

    # The same call again trains nothing, and one value more adds to it.
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/initial.npz")}
    more = grid(["optimizer.eta=1e-4,1e-3,1e-2", "size.lif=8,9"])
    longer = sweep(more, configure, [1, 2], tmp_path)
    assert [r.values["loss"] for r in longer[:8]] == [r.values["loss"] for r in results]
    after = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/initial.npz")}
    assert len(after) == 12 and before.items() <= after.items()


def test_a_balanced_network_is_trained_once_for_all_its_tests(tmp_path, monkeypatch):
    trained, train = [], Experiment.train

    def counted(experiment, **options):
        trained.append(experiment.iteration)
        return train(experiment, **options)

    monkeypatch.setattr(Experiment, "train", counted)
    points = grid(["network.mu=0,1e-4", "test.kill=0,0.5"])
    configure = configured("balanced-linear")
    results = sweep(points, configure, [1, 2], tmp_path)
    # By point and seed: with the first test from the start, with the second one nothing is left.
    assert sorted(trained) == [0] * 4 + [50] * 4
    for result in results:
        config = configure(points.settings(result.point), result.seed)
        alone = config.make_trainer()
        alone.train()
        outcome, _ = alone.test()
        assert result.values["nmse"] == outcome.nmse
        assert result.values["killed"] == (10 if result.point[1] == "0.5" else 0)
        stored = tomllib.loads((result.folder / "results.toml").read_text())["results"]
        assert stored["nmse"] == outcome.nmse
    # (dead - error)/(dead - error of the first point)
    first, other = results[0].values, results[2].values
    assert first["performance"] == 1
    expected = (other["silent_error"] - other["error"]) / (other["silent_error"] - first["error"])
    assert other["performance"] == pytest.approx(expected, nan_ok=True)


def test_a_sweep_refuses_a_folder_with_other_settings_before_it_trains(tmp_path):
    points = grid(["network.c_reg=0,300"])
    sweep(grid(["network.c_reg=0"]), configured("pattern-generation"), [1], tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    folder.rename(tmp_path / points.folder_name(("300",), 1))
    with pytest.raises(ValueError, match="holds a run with other settings"):
        sweep(points, configured("pattern-generation"), [1], tmp_path)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [
        tmp_path / points.folder_name(("300",), 1)
    ]


@pytest.mark.parametrize("task", SETTINGS)
def test_the_command_writes_a_table_and_a_figure(task, tmp_path):
    settings = [part for text in SETTINGS[task] for part in ("--set", text)]
    varied = "optimizer.eta=1e-4,1e-3" if task == "pattern-generation" else "test.kill=0,0.5"
    recipe = tmp_path / "mine.toml"
    recipe.write_text(str(get_recipe(task)))
    arguments = ["sweep", "--recipe", str(recipe), *settings, "--set", varied, "--seeds", "2"]
    out = ["--workers", "1", "--out", str(tmp_path / "sweep")]
    result = CliRunner().invoke(main, [*arguments, *out])
    assert result.exit_code == 0, result.output
    table = rows(tmp_path / "sweep" / "sweep.csv")
    assert [row["seed"] for row in table] == ["1", "2", "1", "2"]
    assert not any(row["failure"] for row in table)
    assert (tmp_path / "sweep" / "sweep.png").stat().st_size > 1000


# --- comparisons ----------------------------------------------------------------------------------


def test_balanced_networks_are_compared_by_how_the_error_enters(tmp_path):
    config = configured("balanced-linear")([], 1)
    results = compare(config, tmp_path, seeds=[1, 2], progress=False)
    assert [(r.method, r.seed) for r in results] == [
        (method, seed) for method in ("corrected", "published", "closed") for seed in (1, 2)
    ]
    # Published feedback with so large a gain is not stable; the others are trained all the same.
    assert "one spike a step cannot keep up" in results[2].failure
    for result in results[:2]:
        assert result.folder == tmp_path / f"{result.method}-seed{result.seed}"
        assert RunConfig.read(result.folder).network["feedback"] == result.method
        assert len(result.history) == 50 and not result.failure
    assert not len(results[4].history) and not results[4].failure
    lines = summaries(results)
    tests = []
    for result in results[:2]:
        stored = tomllib.loads((result.folder / "results.toml").read_text())["results"]
        outcome, _ = Run.open(result.folder).trainer.test()
        assert stored["nmse"] == outcome.nmse
        tests.append(outcome.nmse)
    assert lines[0].loss == (np.mean(tests), min(tests), max(tests))
    # Weights in closed form need no training.
    assert lines[2].loss[1] < 0.1 < lines[0].loss[1]
    assert "corrected  final nmse" in str(lines[0]) and "field_nmse" in str(lines[0])
    assert "unstable" in str(lines[1])
    write_summaries(tmp_path / "comparison.csv", lines)
    assert list(rows(tmp_path / "comparison.csv")[0])[4:8] == [
        *("iterations_median", "iterations_least", "iterations_most", "nmse_median"),
    ]
    figure = plot_comparison(histories(results))
    labels = [ax.get_ylabel().partition("\n")[0] for ax in figure.axes]
    assert labels == ["decoding NMSE", "vector-field NMSE", "firing rate"]
    expected = "part of the training (number); median and range, n = 2 seeds"
    assert figure.axes[-1].get_xlabel() == expected


def test_what_needs_no_training_is_not_compared(tmp_path):
    closed = RunConfig.from_recipe("balanced-oscillator")
    with pytest.raises(ValueError, match="needs no training"):
        compare(closed, tmp_path)
    bistable = RunConfig.from_recipe("balanced-bistable")
    assert bistable.model.methods_of(bistable) == ("corrected", "published")
    with pytest.raises(ValueError, match="needs a linear teacher"):
        bistable.with_method("closed")
    with pytest.raises(ValueError, match="unknown method 'random'. There are: corrected"):
        bistable.with_method("random")


# --- recipes in the command -----------------------------------------------------------------------


def test_a_recipe_is_printed_copied_and_trained(tmp_path):
    printed = CliRunner().invoke(main, ["recipe", "pattern-generation"])
    assert printed.output == str(get_recipe("pattern-generation"))
    recipe, folder = tmp_path / "mine.toml", tmp_path / "run"
    recipe.write_text(printed.output.replace("lif = 100", "lif = 5"))
    settings = [part for text in SETTINGS["pattern-generation"][1:] for part in ("--set", text)]
    arguments = ["train", "--recipe", str(recipe), *settings, "--no-figures", "--out", str(folder)]
    trained = CliRunner().invoke(main, arguments)
    assert trained.exit_code == 0, trained.output
    assert RunConfig.read(folder).size == {"lif": 5}
    other = CliRunner().invoke(main, ["train", "digits", "--recipe", str(recipe)])
    assert "is for pattern-generation, not for digits" in other.output
    unnamed = CliRunner().invoke(main, ["train"]).output
    assert "name a task: " in unnamed and "pattern-generation" in unnamed
