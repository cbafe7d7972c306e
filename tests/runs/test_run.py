"""The folder of a run, of every model: it is resumed bit for bit, and old ones are opened."""

import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest

from eprop_brian import Run, RunConfig
from eprop_brian.runs.run import CHECKPOINT, HISTORY, INITIAL, read_state
from eprop_brian.runs.saved import SavedExperiment, read_recording

#: Runs in this process, with all that a balanced network can carry from step to step.
CONFIGS = {
    "eprop": RunConfig.from_recipe(
        "pattern-generation",
        run={"iterations": 6, "device": "runtime"},
        settings=["size.lif=4", "task.n_steps=50", "task.n_inputs=5", "optimizer.name=adam"],
    ),
    "synthetic": RunConfig.from_recipe(
        "copy-repeat-lstm",
        run={"iterations": 6},
        # A loss that the first batches have, so that levels change.
        settings=["size.lstm=5", "task.n_bits=2", "curriculum.threshold=2", "run.batch_size=3"],
    ),
    "balanced": RunConfig.from_recipe(
        "balanced-bistable",
        run={"device": "runtime"},
        settings=[
            *("network.n=6", "network.n_basis=4", "network.norm=0.5", "network.delay=0.3 ms"),
            *("network.sigma=0.0001", "network.t_ref=0.5 ms", "training.duration=0.1"),
            *("test.duration=0.1", "test.settle=0.05"),
        ],
    ),
}
#: Where runs are interrupted: the iteration or part, and calls since the last interrupt.
STOPS = {"eprop": {3: 3, 5: 2}, "synthetic": {3: 3, 5: 2}, "balanced": {22: 22, 33: 11}}
OLD = Path(__file__).parents[1] / "data" / "runs"


def stop_after(run, n):
    """Have a run interrupted after so many calls or parts."""
    calls = []

    def interrupt(_):
        calls.append(1)
        if len(calls) == n:
            raise KeyboardInterrupt

    run._save_now_and_then = interrupt


@pytest.mark.parametrize("model", CONFIGS)
def test_a_run_that_was_interrupted_ends_as_one_that_was_not(model, tmp_path, monkeypatch):
    # One iteration a call, so that there is something to interrupt.
    monkeypatch.setattr("eprop_brian.training.trainer.iterations_per_call", lambda *_: 1)
    config = CONFIGS[model]
    whole = Run.start(config, tmp_path / "whole")
    whole.train(progress=False)
    assert whole.is_trained
    stopped = Run.start(config, tmp_path / "stopped")
    for end, calls in STOPS[model].items():
        stop_after(stopped, calls)
        with pytest.raises(KeyboardInterrupt):
            stopped.train(progress=False)
        stopped = Run.open(tmp_path / "stopped")
        assert stopped.trainer.iteration == end and not stopped.is_trained
        if model == "balanced":
            _, state = read_state(tmp_path / "stopped")
            # They are not 0, or the test would not notice that they are lost.
            for key in ("neurons.v", "neurons.refractory_counter", "arriving.arriving"):
                assert np.any(state[f"underway.{key}"]), key
    stopped.train(progress=False)
    for name in (INITIAL, CHECKPOINT):
        once, twice = (dict(np.load(tmp_path / f / name)) for f in ("whole", "stopped"))
        assert once.keys() == twice.keys()
        for key, value in once.items():
            np.testing.assert_array_equal(twice[key], value, err_msg=key)
    columns = [config.model.history.read(tmp_path / f / HISTORY) for f in ("whole", "stopped")]
    for name, values in columns[0].columns.items():
        if name != "seconds" or model == "balanced":
            np.testing.assert_array_equal(columns[1].columns[name], values, err_msg=name)
    weights = [run.config.model.state(run.trainer) for run in (whole, stopped)]
    assert any(np.any(w != np.load(tmp_path / "whole" / INITIAL)[n]) for n, w in weights[1].items())


def test_a_run_goes_on_in_the_process_in_which_it_was_interrupted(tmp_path):
    config = CONFIGS["balanced"]
    whole = config.make_trainer()
    whole.train()
    run = Run.start(config, tmp_path)
    stop_after(run, 4)
    with pytest.raises(KeyboardInterrupt):
        run.train(progress=False)
    run.train(progress=False)
    np.testing.assert_array_equal(run.trainer.slow_weights, whole.slow_weights)
    np.testing.assert_array_equal(run.trainer.points, whole.points)


def test_a_balanced_run_has_the_length_of_its_training(tmp_path):
    run = Run.start(CONFIGS["balanced"], tmp_path)
    with pytest.raises(ValueError, match="iterations cannot be given"):
        run.train(iterations=60)
    with pytest.raises(ValueError, match="workers cannot be given for a balanced network"):
        CONFIGS["balanced"].make_trainer(workers=2)
    closed = RunConfig.from_recipe("balanced-oscillator", settings=["network.n=5"])
    assert closed.model.length(closed) == 0


@pytest.mark.parametrize("model", ["eprop", "balanced"])
def test_a_folder_of_an_earlier_version_is_opened(model, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(OLD / model, folder)
    config = RunConfig.read(folder)
    assert "model" not in tomllib.loads((folder / "config.toml").read_text())["run"]
    assert config.model.name == model
    run = Run.open(folder)
    assert run.is_trained and run.trainer.iteration == (3 if model == "eprop" else 50)
    _, state = read_state(folder)
    weights = "w_rec" if model == "eprop" else "slow_weights"
    now = run.config.model.state(run.trainer)
    np.testing.assert_array_equal(now[weights], state[weights])
    run.train(progress=False)  # nothing is left to do
    if model == "eprop":
        run.train(iterations=4, progress=False)
        assert len(run.trainer.history) == 4
        assert 'model = "eprop"' in (folder / "config.toml").read_text()
    again = Run.open(folder)
    assert again.trainer.iteration == run.trainer.iteration


def test_the_test_of_an_earlier_version_is_the_same_now():
    run = Run.open(OLD / "balanced")
    outcome, recording = run.trainer.test()
    stored = tomllib.loads((OLD / "balanced" / "results.toml").read_text())["results"]
    assert {name: getattr(outcome, name) for name in stored} == stored
    saved = SavedExperiment.read(OLD / "balanced")
    assert not saved.killed.any() and saved.points is not None
    shown, _ = read_recording(OLD / "balanced")
    np.testing.assert_array_equal(shown.spike_neurons, recording.spike_neurons)
    np.testing.assert_array_equal(shown.v, recording.v)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folders of two runs of the same length with different seeds."""
    parent = tmp_path_factory.mktemp("trained")
    for name, seed in (("first", 1), ("second", 2)):
        config = CONFIGS["eprop"].with_values("run", seed=seed)
        Run.start(config, parent / name).train(4, progress=False)
    return parent


def _rows(folder):
    return (folder / HISTORY).read_text().splitlines(keepends=True)


def with_swapped_rows(folder, other):
    head, first, second, *rest = _rows(folder)
    (folder / HISTORY).write_text("".join([head, second, first, *rest]))


def with_swapped_values(folder, other):
    head, first, second, *rest = _rows(folder)
    swapped = ["1" + second[1:], "2" + first[1:]]
    (folder / HISTORY).write_text("".join([head, *swapped, *rest]))


def with_a_doubled_row(folder, other):
    head, first, *rest = _rows(folder)
    (folder / HISTORY).write_text("".join([head, first, first, *rest]))


def with_the_history_of_another(folder, other):
    shutil.copyfile(other / HISTORY, folder / HISTORY)


def with_the_checkpoint_of_another(folder, other):
    shutil.copyfile(other / CHECKPOINT, folder / CHECKPOINT)


def with_all_arrays_of_another(folder, other):
    for name in (CHECKPOINT, HISTORY, INITIAL):
        shutil.copyfile(other / name, folder / name)


def _with(folder, save=np.savez, **arrays):
    save(folder / CHECKPOINT, **{**np.load(folder / CHECKPOINT), **arrays})


def with_text(folder, other):
    _with(folder, w_in=np.load(folder / CHECKPOINT)["w_in"].astype(str))


def with_two_numbers_of_updates(folder, other):
    _with(folder, n_updates=np.array([4, 4]))


def with_what_unpacks_to_very_much(folder, other):
    _with(folder, np.savez_compressed, w_in=np.zeros((1500, 10_000)))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (with_swapped_rows, "row 1: it is numbered '2'"),
        (with_swapped_values, "history.csv is not what led to checkpoint.npz"),
        (with_a_doubled_row, "row 2: it is numbered '1'"),
        (with_the_history_of_another, "history.csv is not what led to"),
        (with_the_checkpoint_of_another, "checkpoint.npz is not of this run"),
        (with_all_arrays_of_another, "or its seed or task in config.toml, are those of another"),
        (with_text, "'w_in' does not hold numbers but <U"),
        (with_two_numbers_of_updates, "'n_updates' is .*, not a number from 0 on"),
        (with_what_unpacks_to_very_much, "'w_in.npy' would unpack to 120 MB"),
    ],
)
def test_parts_that_are_not_of_one_run_are_refused(trained, tmp_path, damage, message):
    shutil.copytree(trained / "first", tmp_path / "run")
    assert Run.open(tmp_path / "run").trainer.iteration == 4
    damage(tmp_path / "run", trained / "second")
    with pytest.raises(ValueError, match=message):
        Run.open(tmp_path / "run")


def test_a_history_that_went_on_after_the_checkpoint_is_cut(trained, tmp_path):
    shutil.copytree(trained / "first", tmp_path / "run")
    with (tmp_path / "run" / HISTORY).open("a") as file:
        file.write("5,1.0,,1,1,\n")
    assert Run.open(tmp_path / "run").trainer.iteration == 4


def test_a_run_with_nothing_left_needs_no_folder_that_can_be_written(trained, monkeypatch):
    def refuse(path):
        raise PermissionError(f"cannot write to {path}")

    run = Run.open(trained / "first")
    monkeypatch.setattr("eprop_brian.runs.run.claimed", refuse)
    monkeypatch.setattr("eprop_brian.base.files.beside", refuse)
    run.train(4, progress=False)
    assert run.trainer.iteration == 4
    with pytest.raises(PermissionError):
        run.train(5, progress=False)


def test_settings_that_a_run_needs_are_named():
    tables = {**CONFIGS["eprop"].tables, "optimizer": {}}
    with pytest.raises(ValueError, match=r"\[optimizer\] lacks 'name'"):
        RunConfig(tables, CONFIGS["eprop"].parts)
