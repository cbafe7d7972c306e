"""Exported programs refuse files that they cannot use, and write nowhere but into their run."""

import zipfile

import numpy as np
import pytest

from eprop_brian.base.files import read_arrays, write_arrays
from eprop_brian.base.locks import claimed
from eprop_brian.export.runs import import_run
from eprop_brian.runs.run import Run
from eprop_brian.training.trial_data import pack_spikes
from support.programs import CUES, configure, exported, run


@pytest.fixture(scope="module")
def cues(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("safety") / "project", CUES)


@pytest.mark.slow
def test_spikes_of_inputs_that_there_are_not_are_refused(cues, tmp_path):
    trials = CUES.make_task().trials(1, "train", 0, 4)
    given = {name: getattr(trials, name) for name in ("targets", "pattern", "target")}
    words = pack_spikes(trials.inputs)
    options = ("--trials", tmp_path / "own.npz", "--iterations", 1, "--run")
    write_arrays(tmp_path / "own.npz", {"words": words, **given})
    run(cues, *options, tmp_path / "good")
    # 36 inputs: the second word of a step has four of them.
    words[3, 7, 1] |= 1 << 4
    write_arrays(tmp_path / "own.npz", {"words": words, **given})
    output = run(cues, *options, tmp_path / "bad", code=1)
    assert "words have spikes beyond the 36 inputs" in output
    assert not (tmp_path / "bad").exists()


@pytest.mark.slow
def test_the_name_of_an_array_acts_on_no_terminal(cues, tmp_path):
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as file:
        file.writestr("\x1b]0;owned\x07\x9b.npy", b"no array")
    options = ("--trials", tmp_path / "own.npz", "--run", tmp_path / "run")
    output = run(cues, *options, code=1)
    assert "owned" in output and all(c.isprintable() or c == "\n" for c in output)


@pytest.mark.slow
def test_data_of_another_project_are_refused(cues, tmp_path):
    path = cues.parent / "data" / "places.npz"
    before = path.read_bytes()
    arrays = read_arrays(path)
    name = next(iter(arrays))
    arrays[name][0] = 10**6
    try:
        write_arrays(path, arrays)
        output = run(cues, "--run", tmp_path / "run", code=1)
    finally:
        path.write_bytes(before)
    assert "places.npz is not the file that src/ was written for" in output


@pytest.mark.slow
def test_settings_that_are_no_numbers_are_refused(cues, tmp_path):
    folder = tmp_path / "run"
    run(cues, "--run", folder, "--iterations", 2)
    text = (folder / "config.toml").read_text()
    for before, after, message in (
        ("iterations = 2", "iterations = 99999999999", "from 1 to 1000000000"),
        ("eta = 0.005", "eta = 0.005x", "eta is not a finite number"),
    ):
        assert before in text
        (folder / "config.toml").write_text(text.replace(before, after))
        assert message in run(cues, "--run", folder, "--resume", code=1)


@pytest.mark.slow
def test_links_in_a_run_lead_nowhere(cues, tmp_path):
    folder, victim = tmp_path / "run", tmp_path / "victim"
    run(cues, "--run", folder, "--iterations", 2)
    for name in ("checkpoint.npz.part", "history.csv.part"):
        (folder / name).symlink_to(victim)
    run(cues, "--run", folder, "--iterations", 4, "--resume")
    assert not victim.exists()
    assert not (folder / "history.csv.part").exists()


@pytest.mark.slow
def test_the_tool_and_a_program_do_not_train_the_same_run(cues, tmp_path):
    folder = tmp_path / "run"
    run(cues, "--run", folder, "--iterations", 2)
    with claimed(folder):
        message = f"another process is writing to {folder}"
        assert message in run(cues, "--run", folder, "--resume", code=1)
        (folder / "config.toml").rename(folder / "kept")
        assert message in run(cues, "--run", folder, code=1)
        (folder / "kept").rename(folder / "config.toml")
    run(cues, "--run", folder, "--iterations", 4, "--resume")


def test_a_run_with_links_out_of_its_folder_is_not_brought_back(tmp_path):
    config = configure("pattern-generation", "task.n_steps=40", "task.n_inputs=5", "size.lif=3")
    folder = Run.start(config, tmp_path / "run", device="runtime").folder
    (tmp_path / "secret").write_text("12345678 secret\n")
    (folder / "trials.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="is a link out of its folder"):
        import_run(folder, tmp_path / "imported")
    assert not (tmp_path / "imported").exists()
    (folder / "trials.txt").unlink()
    (folder / "copy.csv").symlink_to(folder / "history.csv")
    assert len(import_run(folder, tmp_path / "imported")) == 0
    assert np.isfinite(read_arrays(tmp_path / "imported" / "initial.npz")["w_in"]).all()
