"""The ``cpp`` device: one compiled binary that runs many trials with no Python in the loop.

`make` builds it once. Builds are cached by a hash of everything that was compiled.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
from brian2.codegen.generators.cpp_generator import c_data_type
from brian2.core.preferences import prefs
from brian2.core.variables import ArrayVariable

from eprop_brian.base.checks import check_count
from eprop_brian.base.memory import check_memory
from eprop_brian.base.temporary import temporary_folder
from eprop_brian.devices.codeobjects import CppStepCodeObject
from eprop_brian.devices.process import ProcessProgram
from eprop_brian.devices.program import Build
from eprop_brian.devices.project import (
    CompilerMissingError,
    Project,
    array_variables,
    build_once,
    find_cxx,
    quoted_for_make,
    standalone,
    step_runner,
    translated,
)
from eprop_brian.devices.sharing import Plan, arrange
from eprop_brian.native import copy_native
from eprop_brian.steps.layout import MOST_STEPS, Layout

__all__ = ["CppProgram", "find_compiler", "generate"]

#: Native sources of every program, which do not depend on the network, and headers of theirs.
_SHARED = ("access.cpp", "calls.cpp", "threads.cpp")
_HEADERS = ("arrays.h", "program.h", "running.h", "threads.h")
#: Headers that only some programs include.
_OPTIONAL = ("ctc.h", "draws.h", "fire.h", "noise.h", "tiles.h")
#: Headers of the standard library that take long to read, and names of the others that sources use.
_LARGE_HEADERS = ("algorithm", "chrono", "cstdio", "vector")
_SMALL_NAMES = re.compile(
    "a?(cos|sin|tan)|(cos|sin|tan)h|abs|ceil|floor|exp|expm1|log|log10|log1p|pow|sqrt|memcpy|size_t"
)
#: How C++ functions of a user may use the others without saying so.
_OF_USERS = re.compile(r"\busing\s+namespace\b|\b\w*printf\b|\b(FILE|stderr|stdout)\b")
#: Memory of the stretches that a program can share (`eprop_brian.devices.sharing`).
_STRETCHES = ("_kept", "_own")
#: Widest vector registers; a multiple of those of any processor does no harm.
_VECTOR_BYTES = 64
#: Cache that the results of the backward pass may take: they are read soon after they are written.
_TILE_BYTES = 2**19

_SETTINGS = """\
CXX = {compiler}
CXXFLAGS = {flags} -pthread
"""
#: Whoever makes many programs passes what is shared as objects.
_MAKEFILE = """\
SHARED = {shared}

main: {files}
\t$(CXX) $(CXXFLAGS) -o main program.cpp $(SHARED)
"""
_MAKEFILE_SHARED = """\

objects: {objects}

%.o: %.cpp {headers}
\t$(CXX) $(CXXFLAGS) -c $<
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
    if compiler is None or missing:
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
    network, capacity : object
        What `build` takes.
    dtype : type
        Float type of all state.
    profile : bool
        Measure the stages of a trial; see `stage_seconds`. Takes a few per cent more time.
    threads : int
        Threads that share out the neurons of a large population. Results are the same to the last
        bit with any number of them.
    build : Build
        What makes Brian2 objects of `network`.

    Attributes
    ----------
    folder : Path
        The compiled project.
    compiled : bool
        False if an earlier build could be used.
    """

    keeps_arrays = True

    def __init__(
        self,
        network: Any,
        capacity: Any,
        dtype: type = np.float64,
        profile: bool = False,
        threads: int = 1,
        *,
        build: Build,
    ) -> None:
        check_count("threads", threads)
        compiler = find_compiler()
        project = generate(network, capacity, dtype, profile, build=build)
        needed = {f"the program's array {key}": size for key, size in project.sizes.items()}
        # Each thread has results of its own.
        results = sum(size for key, size in project.sizes.items() if "_results." in key)
        check_memory(
            {**needed, f"the results of {threads} threads": (threads - 1) * results},
            lambda share: f"{share:.0%} of this array would fit: fewer neurons, steps or trials",
        )
        settings = _SETTINGS.format(
            compiler=quoted_for_make(compiler).replace("#", "\\#"), flags=" ".join(_flags())
        )
        shared = " ".join(_SHARED)
        makefile = settings + _MAKEFILE.format(files=" ".join(project.files), shared=shared)
        objects = _shared_objects(settings, compiler)
        folder, compiled = project.build(makefile, compiler, f"SHARED={objects}")
        super().__init__(project.built, folder, compiled, project.types, project.plan, threads)


def _shared_objects(settings: str, compiler: str) -> str:
    """Compile what all programs share, once with such settings; return the objects for a shell."""
    with temporary_folder("eprop_brian_") as parent:
        folder = parent / "shared"
        folder.mkdir()
        copy_native((*_SHARED, *_HEADERS), folder)
        names = [name.replace(".cpp", ".o") for name in _SHARED]
        rules = _MAKEFILE_SHARED.format(objects=" ".join(names), headers=" ".join(_HEADERS))
        (folder / "makefile").write_text(settings + rules)
        built, _ = build_once(folder, compiler)
    objects = (built / name for name in names)
    return " ".join(quoted_for_make(str(path)) for path in objects)


def generate(
    network: Any, capacity: Any, dtype: type = np.float64, profile: bool = False, *, build: Build
) -> Project:
    """Return the C++ project of a network.

    Brian2 translates the statements of the blocks, and the network's template puts loops around
    them; nothing else of a project of Brian2's is needed.

    Parameters
    ----------
    network, capacity, dtype, profile, build
        As for `CppProgram`.
    """
    lanes = _VECTOR_BYTES // np.dtype(dtype).itemsize
    layout = Layout(lanes, _TILE_BYTES, MOST_STEPS, profile)
    with standalone("cpp_standalone", dtype) as device:
        built = build(network, capacity, CppStepCodeObject, dtype, layout)
        runner = step_runner(built)
        arrays = {
            key: variable
            for key, variable in array_variables(built, device).items()
            # Brian2's numbers of neurons or synapses, which nothing reads.
            if variable.name != "i"
        }
        shapes = {key: (np.dtype(v.dtype), int(v.size)) for key, v in arrays.items()}
        plan = arrange(shapes, built.kept, built.exchanged)
        memory = _Memory(arrays, plan, runner.clock.variables["dt"], float(network.dt), device)
        source = translated(built, runner, memory)
    source = source.replace("%HEADERS%", _headers(source))
    optional = (name for name in _OPTIONAL if f'"{name}"' in source)
    types = {key: dtype for key, (dtype, _) in shapes.items()}
    sizes = {key: size * types[key].itemsize for key, (_, size) in shapes.items()}
    native = (*_SHARED, *_HEADERS, *optional)
    return Project(built, types, sizes, {"program.cpp": source}, native, plan)


def _headers(source: str) -> str:
    """The larger headers of the standard library where a name of it is used.

    Reading them takes as long as compiling a small step, and few steps use one: a network with
    delays, one that measures stages, or one with C++ functions of a user.
    """
    names = re.findall(r"\bstd\s*::\s*(\w+)", source)
    if all(map(_SMALL_NAMES.fullmatch, names)) and not _OF_USERS.search(source):
        return ""
    return "\n".join(f"#include <{name}>" for name in _LARGE_HEADERS)


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
    plan : Plan
        Where those are that the program can share.
    clock : ArrayVariable
        The time step, `dt` in s.
    device : brian2 Device
        Gives arrays their names.
    """

    def __init__(
        self,
        arrays: Mapping[str, ArrayVariable],
        plan: Plan,
        clock: ArrayVariable,
        dt: float,
        device,
    ) -> None:
        self._arrays, self._plan, self._clock = arrays, plan, clock
        self._dt, self._device = dt, device

    def allocations(self) -> str:
        """Declarations of all arrays, of zeros."""
        lines = [
            f"char* const {name} = eprop_brian::stretch({number}, {size});"
            for number, (name, size) in enumerate(zip(_STRETCHES, self._plan.sizes, strict=True))
        ]
        for key, variable in self._arrays.items():
            kind, name = c_data_type(variable.dtype), self._name(variable)
            base, offset = self._place(key)
            if key not in self._plan.places:
                lines.append(f"char* const {base} = eprop_brian::allocate({_bytes(variable)});")
            lines.append(f"{kind}* const {name} = ({kind}*)({base} + {offset});")
        kind = c_data_type(self._clock.dtype)
        lines.append(f"{kind} {self._name(self._clock)}[1] = {{{self._dt!r}}};")
        return "\n".join(lines)

    def entries(self) -> str:
        """Key, place and size of every array."""
        return ",\n".join(
            f'{{"{key}", &{base}, {offset}, {_bytes(variable)}}}'
            for key, variable in self._arrays.items()
            for base, offset in [self._place(key)]
        )

    def _place(self, key: str) -> tuple[str, int]:
        """The memory that an array is a part of, and how far from its beginning."""
        place = self._plan.places.get(key)
        if place is None:
            return f"_memory{self._name(self._arrays[key])}", 0
        return _STRETCHES[place.stretch], place.offset

    def _name(self, variable: ArrayVariable) -> str:
        return self._device.get_array_name(variable, access_data=False)


def _bytes(variable: ArrayVariable) -> int:
    return int(variable.size) * np.dtype(variable.dtype).itemsize
