"""The ``cpp`` device: one compiled binary that runs many trials with no Python in the loop.

Brian2 generates the project, `make` builds it once, and every call is one process that reads its
arrays from files and writes them back. Builds are cached by a hash of everything that was compiled.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from brian2.core.variables import ArrayVariable, DynamicArrayVariable
from brian2.devices.device import all_devices, get_device, set_device
from brian2.units import second

from eprop_brian.devices.codeobjects import CppStepCodeObject
from eprop_brian.devices.program import Program, SimulationError
from eprop_brian.network.build import Capacity, build
from eprop_brian.network.spec import Network

__all__ = ["CompilerMissingError", "CppProgram", "cache_folder", "find_compiler"]

#: Steps after which Brian2's clock would end a run by itself; a run ends with its last trial.
_ENDLESS = 2**31


class CompilerMissingError(RuntimeError):
    """No C++ compiler or no make: says what to install, and that ``runtime`` needs neither."""


def cache_folder() -> Path:
    """Folder of the compiled programs: ``$EPROP_BRIAN_CACHE``, else below the user's cache."""
    given = os.environ.get("EPROP_BRIAN_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "eprop_brian"


def find_compiler() -> str:
    """Path of the C++ compiler.

    Raises
    ------
    CompilerMissingError
        If there is no C++ compiler or no make.
    """
    compiler = shutil.which(os.environ.get("CXX") or "g++") or shutil.which("c++")
    missing = [] if compiler else ["a C++ compiler (g++)"]
    if shutil.which("make") is None:
        missing.append("make")
    if missing:
        raise CompilerMissingError(
            f"device 'cpp' needs {' and '.join(missing)}, which cannot be found.\n"
            "Install with: apt-get install g++ make (Debian, Ubuntu), "
            "xcode-select --install (macOS) or conda install -c conda-forge cxx-compiler make.\n"
            "Or run without a compiler, slower: --device runtime"
        )
    return compiler


class CppProgram(Program):
    """A network compiled to C++.

    Parameters
    ----------
    network : Network
    capacity : Capacity
    dtype : type
        Float type of all state.

    Attributes
    ----------
    folder : Path
        The compiled project.
    compiled : bool
        False if an earlier build could be used.
    """

    def __init__(self, network: Network, capacity: Capacity, dtype: type = np.float64) -> None:
        find_compiler()
        with _standalone() as device, tempfile.TemporaryDirectory(prefix="eprop_brian_") as folder:
            project = Path(folder) / "project"
            self.built = build(network, capacity, CppStepCodeObject, dtype, whole_trial=True)
            self.built.brian2_network.run(_ENDLESS * float(network.dt) * second, namespace={})
            device.build(directory=str(project), compile=False, run=False, with_output=False)
            self._files = {
                f"{group.name}.{name}": (device.get_array_filename(variable), variable.dtype)
                for group in self.built.groups.values()
                for name, variable in group.variables.items()
                if isinstance(variable, ArrayVariable)
                and not isinstance(variable, DynamicArrayVariable)
                and variable in device.arrays
                and variable.owner.name == group.name
            }
            self.folder = cache_folder() / _digest(project)
            self.compiled = not (self.folder / "main").exists()
            if self.compiled:
                _compile(project)
                _install(project, self.folder)
        self._folder = tempfile.TemporaryDirectory(prefix="eprop_brian_run_")

    def run(self, arrays: Mapping[str, np.ndarray]) -> None:
        """See `Program.run`.

        Raises
        ------
        SimulationError
            If the binary fails; the message has its output.
        """
        folder = self._folder.name
        arguments = ["--results_dir", f"{folder}/"]
        for key, values in arrays.items():
            path = f"{folder}/{key}"
            np.asarray(values).astype(self._files[key][1]).tofile(path)
            arguments.append(f"{key}={path}")
        # A session of its own: Ctrl-C reaches Python alone, which then ends the process.
        process = subprocess.Popen(
            ["./main", *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate()
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode or b"Error" in output:
            raise SimulationError(
                f"the compiled program in {self.folder} ended with status "
                f"{process.returncode}:\n{output.decode(errors='replace').strip()}"
            )

    def get(self, key: str) -> np.ndarray:
        """See `Program.get`."""
        name, dtype = self._files[key]
        return np.fromfile(f"{self._folder.name}/{name}", dtype=dtype)


@contextlib.contextmanager
def _standalone() -> Iterator:
    """Make a fresh C++ standalone device the active one, and put things back afterwards."""
    before = get_device()
    device = all_devices["cpp_standalone"]
    device.reinit()
    set_device("cpp_standalone", build_on_run=False)
    try:
        yield device
    finally:
        device.reinit()
        set_device(before)


def _digest(project: Path) -> str:
    """Hash of everything that is compiled or loaded, and of the compiler and its flags."""
    version = subprocess.run([find_compiler(), "--version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(version)
    digest.update(_processor().encode())
    for path in sorted(project.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(project)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _processor() -> str:
    """What -march=native depends on, so that a shared cache is safe."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return os.uname().machine


def _compile(project: Path) -> None:
    # What sets up and saves arrays runs once a call, and takes longest to optimise: it is not.
    flags = re.search(r"^OPTIMISATIONS = (.*)$", (project / "makefile").read_text(), re.MULTILINE)
    plain = re.sub(r"-O\d", "-O0", flags.group(1))
    _make(project, "objects.o", "main.o", f"OPTIMISATIONS={plain}")
    _make(project)


def _make(project: Path, *arguments: str) -> None:
    build = subprocess.run(
        ["make", f"-j{os.cpu_count() or 1}", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    if build.returncode:
        kept = Path(tempfile.mkdtemp(prefix="eprop_brian_failed_"))
        shutil.copytree(project, kept, dirs_exist_ok=True)
        raise SimulationError(
            f"the C++ compiler failed; the project is kept in {kept}\n{build.stderr[-2000:]}"
        )


def _install(project: Path, target: Path) -> None:
    """Move a finished build into the cache under its final name, in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=".building_"))
    shutil.copytree(project, staging, dirs_exist_ok=True)
    for item in staging.rglob("*.o"):
        item.unlink()
    try:
        staging.rename(target)
    except OSError:
        if (target / "main").exists():  # another process was first; its build is the same
            shutil.rmtree(staging)
        else:  # a build that somebody cleaned up in part
            shutil.rmtree(target)
            staging.rename(target)
