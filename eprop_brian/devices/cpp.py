"""The ``cpp`` device: one compiled binary that runs many trials with no Python in the loop.

Brian2 generates the project and `make` builds it once. Builds are cached by a hash of everything
that was compiled.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from brian2.core.preferences import prefs
from brian2.core.variables import ArrayVariable, DynamicArrayVariable
from brian2.devices.device import all_devices, get_device, set_device
from brian2.units import second

from eprop_brian.devices.codeobjects import CppStepCodeObject
from eprop_brian.devices.process import ProcessProgram
from eprop_brian.devices.project import (
    CompilerMissingError,
    cache_folder,
    digest,
    install,
    make,
)
from eprop_brian.network.blocks import MOST_STEPS
from eprop_brian.network.build import build
from eprop_brian.network.built import BuiltNetwork, Capacity, Layout
from eprop_brian.network.spec import Network

__all__ = ["CppProgram", "find_compiler", "generate"]

#: Steps after which Brian2's clock would end a run by itself; a run ends with its last trial.
_ENDLESS = 2**31
_TEMPLATES = Path(__file__).parent / "templates"
#: Widest vector registers; a multiple of those of any processor does no harm.
_VECTOR_BYTES = 64
#: Cache that the results of the backward pass may take: they are read soon after they are written.
_TILE_BYTES = 2**20
#: Arrays by name and in files, which no call asks for and which takes longest to compile.
_UNUSED = re.compile(
    r"^(void (?:_write_arrays\(\)\n|set_variable_by_name\([^)]*\) )\{).*?\n\}\n",
    re.MULTILINE | re.DOTALL,
)


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


class CppProgram(ProcessProgram):
    """A network compiled to C++.

    Parameters
    ----------
    network : Network
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
        network: Network,
        capacity: Capacity,
        dtype: type = np.float64,
        profile: bool = False,
        build: Callable[..., Any] = build,
    ) -> None:
        compiler = find_compiler()
        with tempfile.TemporaryDirectory() as parent:
            project = Path(parent) / "project"
            built, types = generate(project, network, capacity, dtype, profile, build)
            folder = cache_folder() / digest(project, compiler)
            compiled = not (folder / "main").exists()
            if compiled:
                _compile(project)
                install(project, folder)
        super().__init__(built, folder, compiled, types)


def generate(
    project: Path,
    network: Network,
    capacity: Capacity,
    dtype: type = np.float64,
    profile: bool = False,
    build: Callable[..., Any] = build,
    calls: Path = _TEMPLATES / "calls.h",
) -> tuple[BuiltNetwork, dict[str, np.dtype]]:
    """Write the C++ project of a network, without compiling it.

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
    with _standalone(dtype) as device:
        lanes = _VECTOR_BYTES // np.dtype(dtype).itemsize
        layout = Layout(lanes, _TILE_BYTES, MOST_STEPS, profile)
        built = build(network, capacity, CppStepCodeObject, dtype, layout)
        types = _insert_calls(built, device)
        built.brian2_network.run(_ENDLESS * float(network.dt) * second, namespace={})
        project.mkdir()
        (project / "calls.h").write_bytes(calls.read_bytes())
        (project / "arrays.h").write_bytes((_TEMPLATES / "arrays.h").read_bytes())
        device.build(directory=str(project), compile=False, run=False, with_output=False)
    objects = project / "objects.cpp"
    objects.write_text(_UNUSED.sub(r"\1\n}\n", objects.read_text()))
    return built, types


def _insert_calls(built: BuiltNetwork, device) -> dict[str, np.dtype]:
    """Put the loop over calls around the run; return the type of every array."""
    arrays = {
        f"{group.name}.{name}": variable
        for group in built.groups.values()
        for name, variable in group.variables.items()
        if isinstance(variable, ArrayVariable)
        and not isinstance(variable, DynamicArrayVariable)
        and variable in device.arrays
        and variable.owner.name == group.name
    }
    entries = [
        f'{{"{key}", {{{device.get_array_name(v, access_data=False)}, '
        f"{v.size * np.dtype(v.dtype).itemsize}}}}}"
        for key, v in arrays.items()
    ]
    table = "eprop_brian::Arrays calls_arrays = {\n" + ",\n".join(entries) + "};"
    device.insert_code("before_network_run", table)
    device.insert_code("before_network_run", "while (eprop_brian::next_call(calls_arrays, args)) {")
    # All that Brian2 would do after the runs is to write every array to a file.
    device.insert_code("after_network_run", "}\nstd::_Exit(0);")
    return {key: np.dtype(v.dtype) for key, v in arrays.items()}


@contextlib.contextmanager
def _standalone(dtype: type) -> Iterator:
    """Make a fresh C++ standalone device the active one, and put things back afterwards."""
    before, float_type = get_device(), prefs.core.default_float_dtype
    device = all_devices["cpp_standalone"]
    device.reinit()
    set_device("cpp_standalone", build_on_run=False)
    prefs.core.default_float_dtype = dtype
    headers = prefs.codegen.cpp.headers
    prefs.codegen.cpp.headers = [*headers, '"calls.h"']
    try:
        yield device
    finally:
        prefs.codegen.cpp.headers = headers
        prefs.core.default_float_dtype = float_type
        device.reinit()
        set_device(before)


def _compile(project: Path) -> None:
    """Build ``main``.

    All but the step runs once a call and takes longer to compile: it is one file, not optimised.
    """
    sources = re.search(r"^SRCS = (.*)$", (project / "makefile").read_text(), re.MULTILINE)
    optimised, plain = [], []
    for source in sources.group(1).split():
        (optimised if source.startswith("code_objects/") else plain).append(source)
    (project / "plain.cpp").write_text("".join(f'#include "{source}"\n' for source in plain))
    with (project / "makefile").open("a") as makefile:
        makefile.write("\nplain.o: OPTIMISATIONS := $(patsubst -O%,-O0,$(OPTIMISATIONS))\n")
    # A project is made once, so that it does not matter which file depends on which.
    make(project, f"SRCS={' '.join([*optimised, 'plain.cpp'])}", "DEPS=")
