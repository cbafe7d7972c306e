"""Standard streams that are full, closed or read by nobody: exit statuses, and what is said."""

import subprocess
import sys

import pytest

from eprop_brian.base.files import read_arrays
from eprop_brian.cli import main
from eprop_brian.runs.run import CHECKPOINT

TRAIN = ("train", "pattern-generation", "--device", "runtime", "--iterations", "3", "--no-figures")
TRAIN += ("--set", "task.n_steps=20", "--set", "task.n_inputs=5", "--set", "size.lif=4")


@pytest.fixture
def status(monkeypatch):
    """The exit status of a call whose streams are these files, with what stands in those read."""

    def call(*arguments, **streams):
        for name, path in streams.items():
            # Closing a full one fails.
            file = path and open(path, "w", buffering=1)  # noqa: SIM115
            monkeypatch.setattr(sys, name, file)
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        monkeypatch.undo()
        return ended.value.code

    return call


@pytest.mark.parametrize("arguments", [("tasks",), ("--help",), ("derive", "lif")], ids=str)
def test_a_result_that_cannot_be_written_is_an_error(status, tmp_path, arguments):
    errors = tmp_path / "stderr"
    assert status(*arguments, stdout="/dev/full", stderr=errors) == 1
    text = errors.read_text()
    assert text.startswith("Error: cannot write ") and "to the standard output: No space" in text
    assert status(*arguments, stdout="/dev/full", stderr="/dev/full") == 1
    assert status(*arguments, stdout=None, stderr=errors) == 0


def test_a_full_standard_output_ends_no_training_but_is_said(status, tmp_path):
    errors = tmp_path / "stderr"
    assert status(*TRAIN, "--out", tmp_path / "a", stdout="/dev/full", stderr=errors) == 1
    assert errors.read_text().endswith("to the standard output: No space left on device\n")
    assert read_arrays(tmp_path / "a" / CHECKPOINT)["n_updates"] == 3


@pytest.mark.parametrize("stream", ["/dev/full", None])
def test_a_standard_error_that_is_full_or_closed_changes_nothing(status, tmp_path, stream):
    output = tmp_path / "stdout"
    assert status(*TRAIN, "--out", tmp_path / "b", stdout=output, stderr=stream) == 0
    assert "\nloss " in output.read_text()


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path):
    """A program that is started, or a library, would write to it."""
    code = (
        "import os, sys; sys.argv[0] = 'eprop-brian';"
        "from eprop_brian.base.interrupts import answer_as_command;"
        "assert answer_as_command();"
        f"file = open({str(tmp_path / 'data')!r}, 'w');"
        "os.system('echo output; echo error >&2');"
        "os._exit(file.fileno() < 3)"
    )
    call = [sys.executable, "-c", code]
    ended = subprocess.run(["sh", "-c", '"$@" <&- >&- 2>&-', "sh", *call], check=False)
    assert ended.returncode == 0
    assert (tmp_path / "data").read_text() == ""
