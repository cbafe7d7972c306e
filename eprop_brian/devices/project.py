"""Projects of compiled networks: compiled once, kept under a hash of all that was compiled."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from brian2.codegen.generators.cpp_generator import c_data_type
from brian2.core.preferences import prefs
from brian2.core.variables import ArrayVariable, Constant, DynamicArrayVariable
from brian2.devices.device import all_devices, get_device, set_device
from brian2.parsing.rendering import CPPNodeRenderer

from eprop_brian.base.locks import locked
from eprop_brian.devices.program import SimulationError
from eprop_brian.network.built import BuiltNetwork
from eprop_brian.network.runner import StepRunner

__all__ = [
    "CompilerMissingError",
    "array_variables",
    "build_once",
    "cache_folder",
    "digest",
    "find_cxx",
    "standalone",
    "step_runner",
    "translated",
]


class CompilerMissingError(RuntimeError):
    """What a device compiles with is missing or does not work: says what to do about it."""


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
        device.reinit()
        set_device(before)


def array_variables(built: BuiltNetwork, device) -> dict[str, ArrayVariable]:
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


def step_runner(built: BuiltNetwork) -> StepRunner:
    """What runs the step of a network."""
    return next(o for o in built.brian2_network.objects if isinstance(o, StepRunner))


def translated(built: BuiltNetwork, runner: StepRunner, memory) -> str:
    """The source of a network's step; its template asks `memory` for the arrays."""
    runner.template_kwds["memory"] = memory
    codeobj = runner.create_default_code_object({})
    kind = c_data_type(prefs.core.default_float_dtype)
    # Units, for the most part, that stand in the equations.
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


def cache_folder() -> Path:
    """Folder of the compiled programs: ``$EPROP_BRIAN_CACHE``, else below the user's cache."""
    given = os.environ.get("EPROP_BRIAN_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "eprop_brian"


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
    """What a compiler says of itself."""
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
    folder = cache_folder() / digest(project, compiler, native)
    if (folder / "main").exists():
        return folder, False
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Another process may be compiling the same: it is waited for.
    with locked(folder.with_name(f".{folder.name}.lock")):
        compiled = not (folder / "main").exists()
        if compiled:
            _make(project, *arguments)
            _install(project, folder)
    return folder, compiled


def _make(project: Path, *arguments: str) -> None:
    """Run `make`.

    Raises
    ------
    SimulationError
        If the compiler fails; the message says where the project is kept.
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


def _install(project: Path, target: Path) -> None:
    """Move a finished build into the cache under its final name, in one step."""
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=".building_"))
    try:
        shutil.copytree(project, staging, dirs_exist_ok=True)
        if target.exists():  # a build that somebody cleaned up in part
            shutil.rmtree(target)
        staging.rename(target)
    except OSError:
        # Where there are no locks another process may have been first; its build is the same.
        if not (target / "main").exists():
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
