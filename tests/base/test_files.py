"""Files are written as a whole; what is wrong is said of the file that was meant."""

import os

import pytest

from eprop_brian.base import files
from eprop_brian.base.files import beside, write_text
from eprop_brian.base.printable import pasteable, printable, uncoloured


def test_an_error_names_the_file_and_its_folder_not_the_temporary_one(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"^cannot write a\.txt in .*/file/b: ") as caught:
        write_text(tmp_path / "file" / "b" / "a.txt", "")
    assert "/." not in str(caught.value)
    (tmp_path / "b.txt").mkdir()
    with pytest.raises(IsADirectoryError, match=rf"^cannot write b\.txt in {tmp_path}: Is a"):
        write_text(tmp_path / "b.txt", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.txt", "file"]


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    order, real = [], os.fsync
    monkeypatch.setattr(files.os, "fsync", lambda handle: (order.append(names()), real(handle)))

    def names():
        return sorted(path.name for path in tmp_path.iterdir() if path.name == "a.txt")

    with beside(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    assert order == [[], ["a.txt"]]


def test_text_for_a_terminal():
    assert printable("a\tb\nc\x1b[31m\x07\x9b\u202e") == "a b\nc?[31m???"
    assert uncoloured("a\x1b[31mb\x1b[0m\x07") == "ab\x07"
    assert pasteable("runs/my run") == "'runs/my run'"
    assert pasteable("-C") == "./-C"
