"""The cache of compiled programs: damage is repaired, and nothing that is wrong with it stops."""

import os
import shutil
import stat
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from eprop_brian.base import cache, files
from eprop_brian.cli import main
from eprop_brian.devices.project import build_once, quoted_for_make

NAMES = ["0" * 32, "1" * 32, "2" * 32]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("EPROP_BRIAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EPROP_BRIAN_CACHE_MB", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def make(tmp_path):
    """Makes a program of 1000 bytes and counts how often it has done so."""

    def made() -> Path:
        project = tmp_path / "project"
        project.mkdir(exist_ok=True)
        (project / "main").write_bytes(b"x" * 1000)
        (project / "main").chmod(0o755)
        made.times += 1
        return project

    made.times = 0
    return made


def cut_short(program):
    os.truncate(program, 500)


def replaced(program):
    program.write_bytes(b"y" * 1000)


def not_executable(program):
    program.chmod(0o644)


def gone(program):
    program.unlink()


def a_folder(program):
    program.unlink()
    program.mkdir()


def without_its_list(program):
    (program.parent / "checksums").unlink()


@pytest.mark.parametrize(
    "damage", [cut_short, replaced, not_executable, gone, a_folder, without_its_list]
)
def test_a_damaged_program_is_made_anew(folder, make, damage):
    (first, _), (_, again) = cache.cached(NAMES[0], make), cache.cached(NAMES[0], make)
    assert (make.times, again) == (1, False)
    damage(first / "main")
    built, compiled = cache.cached(NAMES[0], make)
    assert (built, compiled, make.times) == (folder / NAMES[0], True, 2)
    assert (built / "main").read_bytes() == b"x" * 1000
    assert (built / "main").stat().st_mode & stat.S_IXUSR
    assert not [path for path in folder.iterdir() if path.name != NAMES[0]]


def test_files_that_a_program_leaves_beside_itself_do_no_harm(folder, make):
    built, _ = cache.cached(NAMES[0], make)
    (built / "core").touch()
    assert not cache.cached(NAMES[0], make)[1]


@pytest.mark.parametrize("place", ["a file", "below a file", "where programs cannot be run"])
def test_where_nothing_can_be_kept_a_temporary_folder_serves(tmp_path, make, monkeypatch, place):
    path = tmp_path / "place"
    if place.startswith("where"):
        flags = os.statvfs(tmp_path)
        noexec = type("Flags", (), {"f_flag": flags.f_flag | os.ST_NOEXEC})
        monkeypatch.setattr(cache.os, "statvfs", lambda _: noexec)
    else:
        path.touch()
    path = path / "cache" if place.startswith("below") else path
    monkeypatch.setenv("EPROP_BRIAN_CACHE", str(path))
    with pytest.warns(UserWarning, match=rf"cannot be kept in {path} .*\$EPROP_BRIAN_CACHE"):
        built, compiled = cache.cached(NAMES[0], make)
    assert compiled
    assert (built / "main").exists()
    # Said once, and found again.
    assert cache.cached(NAMES[0], make) == (built, False)
    shutil.rmtree(built.parent)


def test_a_full_disk_is_named_with_what_moves_the_cache(folder, make, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.shutil, "copytree", full)
    with pytest.raises(cache.CacheError, match=rf"{folder}.*No space.*\$EPROP_BRIAN_CACHE"):
        cache.cached(NAMES[0], make)
    monkeypatch.undo()
    monkeypatch.setenv("EPROP_BRIAN_CACHE", str(folder))
    monkeypatch.setattr(files, "store", full)  # once there is a hidden file
    with pytest.raises(
        cache.CacheError, match=rf"{folder}, the cache.*programs: No space"
    ) as error:
        cache.cached(NAMES[0], make)
    assert "/." not in str(error.value)


def test_programs_that_were_not_used_for_longest_go(folder, make, monkeypatch):
    monkeypatch.setenv("EPROP_BRIAN_CACHE_MB", "0")
    days_ago = time.time() - 5 * 24 * 3600
    for age, name in enumerate(NAMES[:2]):
        built, _ = cache.cached(name, make)
        os.utime(built, (days_ago + age, days_ago + age))
    # Used now: it stays.
    assert not cache.cached(NAMES[1], make)[1]
    cache.cached(NAMES[2], make)
    assert [path.name for path in cache.kept_builds()] == NAMES[1:]


def test_the_command_tells_the_size_and_clears(folder, make):
    cache.cached(NAMES[0], make)
    (folder / "mine.txt").write_text("kept")
    said = CliRunner().invoke(main, ["cache"]).output
    assert f"{folder}: 1 compiled" in said
    assert "0.0 MB of at most 2000 MB" in said
    assert "removed 0.0 MB" in CliRunner().invoke(main, ["cache", "--clear"]).output
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_a_file_in_the_place_of_the_cache_is_an_empty_one(folder):
    folder.touch()
    assert "0 compiled" in CliRunner().invoke(main, ["cache"]).output
    assert "removed 0.0 MB" in CliRunner().invoke(main, ["cache", "--clear"]).output
    assert folder.is_file()


def test_a_wrong_limit_is_named(folder, monkeypatch):
    monkeypatch.setenv("EPROP_BRIAN_CACHE_MB", "1 GB")
    result = CliRunner().invoke(main, ["cache"])
    assert (result.exit_code, "whole number of megabytes, not '1 GB'" in result.output) == (1, True)


def test_a_compiler_may_stand_in_any_folder(folder, tmp_path):
    compiler = tmp_path / "my $(touch x) 'tools'" / "c++"
    compiler.parent.mkdir()
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] || touch main\n')
    compiler.chmod(0o755)
    project = tmp_path / "project"
    project.mkdir()
    (project / "makefile").write_text(f"main:\n\t{quoted_for_make(str(compiler))} -o main\n")
    built, _ = build_once(project, str(compiler))
    assert (built / "main").exists()
    assert not (project / "x").exists()
