"""Projects of compiled networks: compiled once, kept under a hash of all that was compiled."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from brian2.codegen.generators.cpp_generator import c_data_type
from brian2.core.clocks import Clock
from brian2.core.preferences import prefs
from brian2.core.variables import ArrayVariable, Constant, DynamicArrayVariable
from brian2.devices.device import all_devices, get_device, runtime_device, set_device
from brian2.parsing.rendering import CPPNodeRenderer

from eprop_brian.base.cache import cached
from eprop_brian.base.temporary import temporary_folder
from eprop_brian.devices.program import Built, SimulationError
from eprop_brian.devices.sharing import NOTHING, Plan
from eprop_brian.native import copy_native

__all__ = [
    "CompilerMissingError",
    "Project",
    "array_variables",
    "build_once",
    "digest",
    "find_cxx",
    "quoted_for_make",
    "standalone",
    "step_runner",
    "translated",
]


class CompilerMissingError(RuntimeError):
    """A compiler or tool is missing or does not work; the message gives the remedy."""


@dataclass(frozen=True)
class Project:
    """The sources of a compiled network.

    Attributes
    ----------
    built : Built
    types : dict of str to dtype
        Of every array, by ``"group.variable"``.
    sizes : dict of str to int
        Bytes of the same.
    generated : mapping of str to str
        Sources that are the network's own, by the names of their files.
    native : tuple of str
        Files of `eprop_brian.native` that are compiled with them.
    plan : Plan
        Where those arrays are that the program can share with Python.
    """

    built: Any
    types: dict[str, np.dtype]
    sizes: dict[str, int]
    generated: Mapping[str, str]
    native: tuple[str, ...]
    plan: Plan = NOTHING

    @property
    def files(self) -> list[str]:
        """Names of all files, in order."""
        return sorted([*self.generated, *self.native])

    def without(self, name: str) -> Project:
        """The same without a native file, for whom another takes its place."""
        return replace(self, native=tuple(other for other in self.native if other != name))

    def write(self, folder: Path) -> None:
        """Write the sources into a folder, which need not be there."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.generated.items():
            (folder / name).write_text(text)
        copy_native(self.native, folder)

    def build(self, makefile: str, compiler: str, *arguments: str, native: bool = True):
        """Compile the program ``main`` by a makefile, unless that was done before.

        Parameters and returned values are those of `build_once`.
        """
        with temporary_folder("eprop_brian_") as parent:
            folder = parent / "project"
            self.write(folder)
            (folder / "makefile").write_text(makefile)
            return build_once(folder, compiler, *arguments, native=native)


@contextlib.contextmanager
def standalone(name: str, dtype: type) -> Iterator:
    """Make a fresh standalone device of Brian2 the active one, and put things back afterwards."""
    before, float_type = get_device(), prefs.core.default_float_dtype
    device = all_devices[name]
    device.reinit()
    set_device(name, build_on_run=False)
    prefs.core.default_float_dtype = dtype
    try:
        yield device
    finally:
        prefs.core.default_float_dtype = float_type
        _keep_clocks(device)
        device.reinit()
        set_device(before)


def _keep_clocks(device: Any) -> None:
    """Let clocks outlast the device: Brian2's text of any object has the time step of its own."""
    for variable, values in device.array_cache.items():
        if isinstance(variable.owner, Clock) and values is not None:
            variable.device = runtime_device
            runtime_device.add_array(variable)
            runtime_device.fill_with_array(variable, values)


def array_variables(built: Built, device) -> dict[str, ArrayVariable]:
    """All arrays of a network on a standalone device, by ``"group.variable"``."""
    return {
        f"{group.name}.{name}": variable
        for group in built.groups.values()
        for name, variable in group.variables.items()
        if isinstance(variable, ArrayVariable)
        and not isinstance(variable, DynamicArrayVariable)
        and variable in device.arrays
        and variable.owner.name == group.name
    }


def step_runner(built: Built) -> Any:
    """The object that runs the step of a network (`eprop_brian.steps.runner.StepRunner`)."""
    return next(o for o in built.brian2_network.objects if hasattr(o, "step_code"))


def translated(built: Built, runner: Any, memory: Any) -> str:
    """The source of a network's step; its template gets the arrays from `memory`."""
    runner.template_kwds["memory"] = memory
    codeobj = runner.create_default_code_object({})
    kind = c_data_type(prefs.core.default_float_dtype)
    # Mostly units that the equations name.
    constants = [
        f"const {kind} {name} = {CPPNodeRenderer().render_expr(repr(float(variable.value)))};"
        for name, variable in sorted(codeobj.variables.items())
        if isinstance(variable, Constant) and name != "N"
    ]
    # As its run would: Brian2 warns of every object that goes without having run.
    for part in built.brian2_network.objects:
        part._network = built.brian2_network.id
    return codeobj.code.replace("%CONSTANTS%", "\n".join(constants))


def find_cxx() -> str | None:
    """Path of the C++ compiler: ``$CXX``, g++ or c++; None if there is none."""
    return shutil.which(os.environ.get("CXX") or "g++") or shutil.which("c++")


def quoted_for_make(path: str) -> str:
    """A path as a command of a makefile has it, whatever characters are in it."""
    return shlex.quote(path).replace("$", "$$")


def digest(project: Path, compiler: str, native: bool = True) -> str:
    """Hash of everything that is compiled or loaded, and of the compiler and its flags.

    With `native` also of this processor, which ``-march=native`` compiles for.

    Raises
    ------
    CompilerMissingError
        If the compiler does not even say its version.
    """
    found = hashlib.sha256(_version(compiler))
    if native:
        found.update(_processor().encode())
    for path in sorted(project.rglob("*")):
        if path.is_file():
            found.update(str(path.relative_to(project)).encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:32]


def _version(compiler: str) -> bytes:
    """The output of a compiler's ``--version``, for which each compiler is asked once."""
    with contextlib.suppress(OSError):
        found = os.stat(compiler)
        return _said_version(compiler, (found.st_ino, found.st_mtime_ns, found.st_size))
    return _said_version(compiler, None)


@functools.lru_cache(maxsize=8)
def _said_version(compiler: str, _: object) -> bytes:
    try:
        done = subprocess.run([compiler, "--version"], capture_output=True, check=False)
    except OSError as error:
        problem = f"cannot be run: {error.strerror}"
    else:
        if done.returncode == 0:
            return done.stdout
        said = done.stderr.decode(errors="replace").strip()[-500:]
        problem = f"ended with status {done.returncode}" + (f" and said: {said}" if said else "")
    raise CompilerMissingError(
        f"the compiler {compiler} does not work: `{compiler} --version` {problem}\n"
        "Repair it or have another one found first ($CXX, for CUDA $CUDA_HOME), or run without a "
        "compiler, slower: --device runtime"
    )


def _processor() -> str:
    """What -march=native depends on, so that a shared cache is safe."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return os.uname().machine


def build_once(
    project: Path, compiler: str, *arguments: str, native: bool = True
) -> tuple[Path, bool]:
    """Compile a project by ``make`` with some arguments, unless that was done before.

    Parameters
    ----------
    project : Path
    compiler : str
    *arguments : str
    native : bool
        As for `digest`.

    Returns
    -------
    folder : Path
        Where the compiled project is.
    compiled : bool
        False if it was there.
    """

    def make() -> Path:
        _make(project, *arguments)
        return project

    return cached(digest(project, compiler, native), make)


def _make(project: Path, *arguments: str) -> None:
    """Run `make`.

    Raises
    ------
    SimulationError
        If the compiler fails; the message names the folder in which the project is kept.
    """
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
            f"the compiler failed; the project is kept in {kept}\n{build.stderr[-2000:]}"
        )
