"""The ``cpp`` device: one compiled binary that runs many trials with no Python in the loop.

`make` builds it once. Builds are cached by a hash of everything that was compiled.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from brian2.codegen.generators.cpp_generator import c_data_type
from brian2.core.preferences import prefs
from brian2.core.variables import ArrayVariable

from eprop_brian.devices.codeobjects import CppStepCodeObject
from eprop_brian.devices.process import ProcessProgram
from eprop_brian.devices.project import (
    CompilerMissingError,
    array_variables,
    build_once,
    find_cxx,
    standalone,
    step_runner,
    translated,
)
from eprop_brian.network.blocks import MOST_STEPS
from eprop_brian.network.build import build
from eprop_brian.network.built import BuiltNetwork, Capacity, Layout
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.spec import Network

__all__ = ["CppProgram", "find_compiler", "generate"]

_TEMPLATES = Path(__file__).parent / "templates"
#: Files of a project besides those that are generated.
_COMMON = ("arrays.h", "main.cpp")
#: Headers that only some programs include.
_OPTIONAL = ("noise.h",)
#: Widest vector registers; a multiple of those of any processor does no harm.
_VECTOR_BYTES = 64
#: Cache that the results of the backward pass may take: they are read soon after they are written.
_TILE_BYTES = 2**20

_MAKEFILE = """\
CXX = {compiler}
CXXFLAGS = {flags}
FILES = {files}

main: $(FILES)
\t$(CXX) $(CXXFLAGS) -o main main.cpp
"""


def find_compiler() -> str:
    """Path of the C++ compiler.

    Raises
    ------
    CompilerMissingError
        If there is no C++ compiler or no make.
    """
    compiler = find_cxx()
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


class CppProgram(ProcessProgram):
    """A network compiled to C++.

    Parameters
    ----------
    network : Network or Resolved
    capacity : Capacity
    dtype : type
        Float type of all state.
    profile : bool
        Measure the stages of a trial; see `stage_seconds`. Takes a few per cent more time.
    build : callable
        What makes Brian2 objects of `network`, see `Program`.

    Attributes
    ----------
    folder : Path
        The compiled project.
    compiled : bool
        False if an earlier build could be used.
    """

    def __init__(
        self,
        network: Network | Resolved,
        capacity: Capacity,
        dtype: type = np.float64,
        profile: bool = False,
        build: Callable[..., Any] = build,
    ) -> None:
        compiler = find_compiler()
        with tempfile.TemporaryDirectory() as parent:
            project = Path(parent) / "project"
            built, types = generate(project, network, capacity, dtype, profile, build)
            _write_makefile(project, compiler)
            folder, compiled = build_once(project, compiler)
        super().__init__(built, folder, compiled, types)


def generate(
    project: Path,
    network: Network | Resolved,
    capacity: Capacity,
    dtype: type = np.float64,
    profile: bool = False,
    build: Callable[..., Any] = build,
    calls: Path = _TEMPLATES / "calls.h",
) -> tuple[BuiltNetwork, dict[str, np.dtype]]:
    """Write the C++ project of a network, without compiling it.

    Brian2 translates the statements of the blocks, and the network's template puts loops around
    them; nothing else of a project of Brian2's is needed. ``main.cpp`` includes all of it.

    Parameters
    ----------
    project : Path
        A new folder.
    network, capacity, dtype, profile, build
        As for `CppProgram`.
    calls : Path
        Header that says what the program does between calls: its ``next_call`` gets all arrays
        and the arguments of the command line, and returns false when there is nothing left to do.

    Returns
    -------
    built : BuiltNetwork
    types : dict of str to dtype
        Of every array, by ``"group.variable"``.
    """
    lanes = _VECTOR_BYTES // np.dtype(dtype).itemsize
    layout = Layout(lanes, _TILE_BYTES, MOST_STEPS, profile)
    with standalone("cpp_standalone", dtype) as device:
        built = build(network, capacity, CppStepCodeObject, dtype, layout)
        runner = step_runner(built)
        arrays = array_variables(built, device)
        memory = _Memory(arrays, runner.clock.variables["dt"], float(network.dt), device)
        source = translated(built, runner, memory)
    project.mkdir()
    (project / "program.cpp").write_text(source)
    (project / "calls.h").write_bytes(calls.read_bytes())
    for name in (*_COMMON, *(name for name in _OPTIONAL if f'"{name}"' in source)):
        (project / name).write_bytes((_TEMPLATES / name).read_bytes())
    return built, {key: np.dtype(v.dtype) for key, v in arrays.items()}


def _write_makefile(project: Path, compiler: str) -> None:
    files = " ".join(sorted(path.name for path in project.iterdir()))
    text = _MAKEFILE.format(compiler=compiler, flags=" ".join(_flags()), files=files)
    (project / "makefile").write_text(text)


def _flags() -> list[str]:
    """Brian2's preferences for the compiler."""
    given = prefs.codegen.cpp.extra_compile_args
    flags = prefs.codegen.cpp.extra_compile_args_gcc if given is None else given
    return [*flags, *prefs.codegen.cpp.extra_link_args]


class _Memory:
    """How the template writes the arrays of a program.

    Parameters
    ----------
    arrays : mapping of str to ArrayVariable
        All arrays, by ``"group.variable"``.
    clock : ArrayVariable
        The time step, `dt` in s.
    device : brian2 Device
        Gives arrays their names.
    """

    def __init__(
        self, arrays: Mapping[str, ArrayVariable], clock: ArrayVariable, dt: float, device
    ) -> None:
        self._arrays, self._clock, self._dt, self._device = arrays, clock, dt, device

    def allocations(self) -> str:
        """Declarations of all arrays, of zeros."""
        lines = []
        for variable in self._arrays.values():
            kind, size = c_data_type(variable.dtype), variable.size
            name = self._name(variable)
            lines.append(f"{kind}* const {name} = eprop_brian::allocate<{kind}>({size});")
        kind = c_data_type(self._clock.dtype)
        lines.append(f"{kind} {self._name(self._clock)}[1] = {{{self._dt!r}}};")
        return "\n".join(lines)

    def entries(self) -> str:
        """Key, place and size of every array."""
        return ",\n".join(
            f'{{"{key}", {self._name(v)}, {v.size * np.dtype(v.dtype).itemsize}}}'
            for key, v in self._arrays.items()
        )

    def _name(self, variable: ArrayVariable) -> str:
        return self._device.get_array_name(variable, access_data=False)
