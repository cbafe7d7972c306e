"""Temporary files: named after their process, removed when it is gone, stored before renamed."""

import errno
import os
import subprocess
import sys

import pytest

from eprop_brian.base import files, temporary
from eprop_brian.base.files import write_text
from eprop_brian.base.temporary import remove_remains, temporary_file, temporary_folder
from eprop_brian.export.folders import new_project

#: Makes a temporary folder in the working folder, with a file in it, and is killed.
KILLED = """
import os, signal, sys
sys.modules["eprop_brian"] = package = type(sys)("eprop_brian")
package.__path__ = [sys.argv[1]]
from pathlib import Path
from eprop_brian.base.temporary import temporary_file, temporary_folder
with temporary_folder("of_", Path(".")) as folder, temporary_file("of_", ".npz", Path(".")):
    (folder / "part").write_text("")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_one(folder):
    package = os.path.dirname(os.path.dirname(files.__file__))
    done = subprocess.run([sys.executable, "-S", "-c", KILLED, package], cwd=folder, check=False)
    assert done.returncode == -9


def test_what_a_killed_process_left_is_removed_at_the_next_start(tmp_path):
    kill_one(tmp_path)
    (tmp_path / "of_mine").write_text("")
    assert len(list(tmp_path.iterdir())) == 3
    with temporary_folder("other_", tmp_path) as folder:
        assert len(list(tmp_path.iterdir())) == 4
    with temporary_folder("of_", tmp_path) as folder:
        assert {path.name for path in tmp_path.iterdir()} == {"of_mine", folder.name}
    assert [path.name for path in tmp_path.iterdir()] == ["of_mine"]


def test_a_full_disk_is_named_with_what_moves_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(temporary.tempfile, "tempdir", str(tmp_path))
    with (
        pytest.raises(OSError, match=rf"written to {tmp_path}, .*: No space.*\$TMPDIR"),
        temporary_folder("of_"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_what_belongs_to_a_living_process_or_another_machine_stays(tmp_path):
    with temporary_folder("of_", tmp_path) as folder:
        owner = folder.name.split("~")[1]
        other = tmp_path / f"of_~00000000-{2**30}~x"
        other.mkdir()
        gone = tmp_path / f"of_~{owner.split('-')[0]}-{2**30}~x"
        gone.mkdir()
        remove_remains(tmp_path, "of_")
        assert folder.exists() and other.exists() and not gone.exists()


def test_a_file_is_stored_before_it_takes_its_name(tmp_path, monkeypatch):
    events, target = [], tmp_path / "file.txt"
    replace = files.Path.replace

    def stored(handle):
        events.append(("stored", os.readlink(f"/proc/self/fd/{handle}")))

    def renamed(path, to):
        events.append(("renamed", str(path)))
        return replace(path, to)

    monkeypatch.setattr(os, "fsync", stored)
    monkeypatch.setattr(files.Path, "replace", renamed)
    write_text(target, "text")
    (first, beside), second, third = events
    assert first == "stored" and second == ("renamed", beside) and beside != str(target)
    assert third == ("stored", str(tmp_path))
    assert target.read_text() == "text"


def test_a_project_is_stored_before_it_takes_its_name(tmp_path, monkeypatch):
    stored = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: stored.append(os.readlink(f"/proc/self/fd/{handle}"))
    )
    with new_project(tmp_path / "project") as beside:
        (beside / "src").mkdir()
        (beside / "src" / "main.cpp").write_text("")
    assert stored == [*map(str, (beside / "src", beside / "src" / "main.cpp", tmp_path))]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_nothing_stays_of_what_failed(tmp_path, error):
    with pytest.raises(error), temporary_file(".a_", ".txt", tmp_path):
        raise error
    with pytest.raises(error), new_project(tmp_path / "project") as beside:
        (beside / "half").write_text("")
        raise error
    assert list(tmp_path.iterdir()) == []
