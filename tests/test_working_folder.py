"""What stands in the working folder is not run, although Brian2 and Matplotlib would run it."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from eprop_brian.base.progress import progress_bar
from eprop_brian.cli.output import shown_warnings

#: Brian2 evaluates the value of a preference.
PREFERENCES = "codegen.target = open('executed', 'w').write('x') and 'numpy'\n"


@pytest.fixture
def shared(tmp_path):
    """A folder that somebody else has filled."""
    (tmp_path / "brian_preferences").write_text(PREFERENCES)
    (tmp_path / "matplotlibrc").write_text("figure.dpi: 77\nlines.linewidth: 9\n")
    return tmp_path


def python(folder, code, *options, **keywords):
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        **keywords,
    ).stdout.split()


def test_importing_the_package_runs_nothing(shared):
    code = (
        "import eprop_brian, brian2, matplotlib, os, sys;"
        "from eprop_brian.training.workers import ParallelSession;"
        "print(os.getcwd(), repr(sys.path[0]), matplotlib.rcParams['figure.dpi'])"
    )
    assert python(shared, code) == [str(shared), "''", "100.0"]
    assert not (shared / "executed").exists()


def test_the_command_runs_nothing(shared):
    command = Path(sys.executable).with_name("eprop-brian")
    done = subprocess.run([command, "tasks"], cwd=shared, capture_output=True, check=True)
    assert b"pattern-generation" in done.stdout
    assert not (shared / "executed").exists()


def test_the_command_shows_warnings_itself(tmp_path):
    """Also after Brian2 was imported, which takes those of a program into its log."""
    code = (
        "import sys; sys.argv[0] = 'eprop-brian'\n"
        "from eprop_brian.cli.output import shown_warnings\n"
        "with shown_warnings():\n"
        "    import brian2, warnings; warnings.warn('\\x1b[33myellow\\a', stacklevel=1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr == "Warning: yellow?\n"


def test_a_warning_beside_a_bar_has_a_line_of_its_own(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with shown_warnings(), progress_bar(3, 0, "it", shown=True, mininterval=0) as bar:
        bar.update()
        warnings.warn("nobody fires", stacklevel=1)
        bar.update()
    before, found, after = written.getvalue().partition("Warning: nobody fires\n")
    assert found
    assert "1/3" in before
    # The bar is blanked, and drawn again below.
    assert re.search(r"\r +\r$", before)
    assert "1/3" in after


@pytest.mark.slow
def test_what_a_program_imported_by_itself_stays(shared):
    """The same file is evaluated as Brian2's documentation says, where Brian2 comes first."""
    code = "import brian2, eprop_brian; print(brian2.prefs.codegen.target)"
    assert python(shared, code) == ["numpy"]
    assert (shared / "executed").exists()


@pytest.mark.slow
def test_preferences_in_the_home_are_read(shared, tmp_path):
    home = tmp_path / "home"
    (home / ".brian").mkdir(parents=True)
    (home / ".brian" / "user_preferences").write_text("codegen.target = 'numpy'\n")
    code = "import eprop_brian, brian2; print(brian2.prefs.codegen.target)"
    assert python(shared, code, env={"HOME": str(home)}) == ["numpy"]


@pytest.mark.slow
def test_a_folder_that_is_gone_is_no_hindrance(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        f"import shutil; shutil.rmtree({str(gone)!r}); import sys; del sys.path[0];"
        "import eprop_brian; print('imported')"
    )
    assert python(gone, code) == ["imported"]


def test_a_folder_that_may_not_be_entered_is_no_hindrance(tmp_path):
    """Nothing in it can be read, so nothing is evaluated."""
    closed = tmp_path / "closed"
    closed.mkdir()
    code = (
        "import os; os.chmod('.', 0); assert not os.access('.', os.X_OK, effective_ids=True);"
        "import eprop_brian; print('imported')"
    )
    command = [sys.executable, "-c", code]
    if os.getuid() == 0:  # may enter every folder, unless it gives that up
        if shutil.which("setpriv") is None:
            pytest.skip("needs setpriv, to run without root's rights")
        command = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", *command]
    done = subprocess.run(command, cwd=closed, capture_output=True, text=True)
    closed.chmod(0o700)
    assert done.stdout == "imported\n", done.stderr


def test_the_working_folder_stays_where_nothing_would_be_run(tmp_path):
    """Other threads would see it change."""
    code = (
        "import os; places = []; os.chdir = places.append;"
        "import eprop_brian; print('changed', places)"
    )
    assert python(tmp_path, code) == ["changed", "[]"]


@pytest.mark.slow
def test_ctrl_c_stays_ignored_in_the_background(tmp_path):
    code = "import eprop_brian, signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    assert python(tmp_path, code, **ignore) == ["True"]


@pytest.mark.slow
def test_relative_places_of_modules_stay_valid(tmp_path):
    """A program that finds the package by a relative path goes on finding it and others."""
    package = Path(sys.modules["eprop_brian"].__file__).parent
    (tmp_path / "lib").mkdir()
    shutil.copy(package / "_libraries.py", tmp_path / "lib" / "libraries.py")
    (tmp_path / "lib" / "mine.py").write_text("")
    (tmp_path / "brian_preferences").write_text("")
    code = (
        "import sys; sys.path.insert(0, 'lib'); import libraries; libraries.guard_imports();"
        "import brian2, mine; print(sys.path[0])"
    )
    assert python(tmp_path, code) == ["lib"]
