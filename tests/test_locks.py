"""A folder is written by one process alone."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eprop_brian.base.locks import LOCK, claimed, locked
from eprop_brian.devices.project import build_once
from eprop_brian.export.folders import new_project
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import Run
from support.command import call

CONFIG = RunConfig.from_recipe(
    "pattern-generation",
    run={"device": "runtime"},
    settings=["task.n_steps=40", "task.n_inputs=10", "size.lif=6"],
)
_HOLD = """
import sys
from eprop_brian.base.locks import claimed
with claimed(sys.argv[1]):
    print("claimed", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def elsewhere(folder):
    """Another process that has claimed a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "claimed\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_folders_that_stay_empty_do_not_stay(tmp_path):
    with claimed(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / LOCK).exists()
        with claimed(tmp_path / "a" / "b"):  # the same process may
            pass
        assert (tmp_path / "a" / "b" / LOCK).exists()
    assert not (tmp_path / "a").exists()
    with claimed(tmp_path / "a"):
        (tmp_path / "a" / "file").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]
    with pytest.raises(FileExistsError), claimed(tmp_path / "a", new=True):
        pass


def test_what_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cannot write to .*file"), claimed(tmp_path / "file"):
        pass


@pytest.mark.parametrize("make", [Path.touch, lambda p: p.symlink_to("nowhere")])
def test_where_runs_should_be_is_no_folder(tmp_path, monkeypatch, make):
    """The next name would not help: `runs` itself is in the way."""
    monkeypatch.chdir(tmp_path)
    make(Path("runs"))
    message = "cannot write to runs/pattern-generation: runs is not a folder"
    with (
        pytest.raises(ValueError, match=message),
        claimed(Path("runs/pattern-generation"), new=True),
    ):
        pass
    assert message in call("train", "pattern-generation", "--device", "runtime", code=1)
    (tmp_path / "exported").mkdir()
    CONFIG.write(tmp_path / "exported" / "run")
    assert message in call("import-run", "exported/run", code=1)


def test_a_file_in_the_place_of_a_run_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/a").touch()
    with pytest.raises(FileExistsError), claimed(Path("runs/a"), new=True):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_a_folder_that_cannot_be_made_is_not_waited_for():
    with pytest.raises(ValueError, match="cannot write to /proc/run"), claimed(Path("/proc/run")):
        pass


def test_a_lock_that_is_a_link_makes_no_file_elsewhere(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "victim")
    with pytest.raises(ValueError, match="cannot write"), claimed(tmp_path / "run"):
        pass
    assert not (tmp_path / "victim").exists()


def test_another_process_is_refused_until_the_first_ends(tmp_path):
    folder = tmp_path / "run"
    run = Run.start(CONFIG, folder)
    run.train(1, progress=False)
    with elsewhere(folder) as process:
        message = f"another process is writing to {folder}"
        for arguments in (
            ["train", "--resume", folder],
            ["train", "pattern-generation", "--out", folder],
            ["train", "balanced-oscillator", "--out", folder],
            ["sweep", "balanced-oscillator", "--set", "network.n=5,6", "--out", folder],
            ["compare", "pattern-generation", "--methods", "random", "--out", folder],
            ["gradcheck", "pattern-generation", "--out", folder],
        ):
            assert message in call(*arguments, code=1)
        with pytest.raises(ValueError, match=message):
            run.train(2, progress=False)
        # Reading is for everyone.
        assert "1 fresh trial" in call("evaluate", folder)
        process.kill()
        process.wait()
    # A process that was killed leaves nothing that would have to be removed.
    run.train(2, progress=False)
    assert run.saved_iteration == 2


def test_a_run_that_went_on_elsewhere_is_not_overwritten(tmp_path):
    first = Run.start(CONFIG, tmp_path / "run")
    second = Run.open(first.folder)
    second.train(2, progress=False)
    with pytest.raises(ValueError, match="is of iteration 2, not 0: another process"):
        first.train(3, progress=False)
    assert Run.open(first.folder).trainer.iteration == 2


def test_a_folder_that_is_deleted_during_training_is_not_made_again(tmp_path, monkeypatch):
    run = Run.start(CONFIG, tmp_path / "run")
    monkeypatch.setattr(run, "_save_now_and_then", lambda _: shutil.rmtree(run.folder))
    with pytest.raises(ValueError, match=r"run is gone: it was deleted or moved while"):
        run.train(2, progress=False)
    assert not run.folder.exists()
    assert not run.is_there


def test_a_run_whose_config_is_deleted_during_training_is_said(tmp_path, monkeypatch):
    run = Run.start(CONFIG, tmp_path / "run")
    config = run.folder / "config.toml"
    monkeypatch.setattr(run, "_save_now_and_then", lambda _: config.unlink())
    with pytest.raises(ValueError, match="run holds no run any more: its config.toml was deleted"):
        run.train(1, progress=False)


def test_a_run_that_took_the_place_of_another_is_left_alone(tmp_path):
    folder = tmp_path / "run"
    with claimed(folder):
        shutil.rmtree(folder)
        with elsewhere(folder):
            with pytest.raises(ValueError, match="another process"), claimed(folder):
                pass
            assert (folder / LOCK).exists()


def test_a_lock_that_was_deleted_is_taken_again(tmp_path):
    folder = tmp_path / "run"
    with claimed(folder):
        (folder / LOCK).unlink()
        with claimed(folder):
            assert (folder / LOCK).exists()
    assert not folder.exists()


@pytest.mark.slow
def test_runs_started_at_once_have_folders_of_their_own(tmp_path):
    command = [sys.executable, "-c", "from eprop_brian.cli import main; main()", "train"]
    command += ["pattern-generation", "--device", "runtime", "--no-figures", "--iterations", "3"]
    command += ["--set", "task.n_steps=40", "--set", "task.n_inputs=10", "--set", "size.lif=6"]
    started = [subprocess.Popen(command, cwd=tmp_path) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    folders = sorted((tmp_path / "runs").iterdir())
    names = ["pattern-generation", "pattern-generation-2", "pattern-generation-3"]
    assert [folder.name for folder in folders] == names
    assert all(Run.open(folder).trainer.iteration == 3 for folder in folders)


def test_of_two_projects_in_one_folder_the_second_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot write"), new_project(tmp_path / "p") as second:
        (second / "b").touch()
        with new_project(tmp_path / "p") as first:
            (first / "a").touch()
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_a_program_is_compiled_once_by_all_that_need_it_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("EPROP_BRIAN_CACHE", str(tmp_path / "cache"))
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "makefile").write_text(
            f"main:\n\tsleep 0.2; echo compiled >> {tmp_path}/count; touch main\n"
        )
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(build_once, tmp_path / name, "g++") for name in "abc"]
        built = [future.result() for future in futures]
    assert sorted(compiled for _, compiled in built) == [False, False, True]
    assert (tmp_path / "count").read_text() == "compiled\n"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [built[0][0].name]


def test_who_waits_gets_the_lock_after_it_was_removed(tmp_path):
    order = []
    with locked(tmp_path / "lock"):
        thread = threading.Thread(
            target=lambda: [order.append("waits"), _held(tmp_path / "lock", order)]
        )
        thread.start()
        while not order:
            os.sched_yield()
        order.append("first")
    thread.join()
    assert order == ["waits", "first", "second"]
    assert not (tmp_path / "lock").exists()


def _held(path, order):
    with locked(path):
        order.append("second")
