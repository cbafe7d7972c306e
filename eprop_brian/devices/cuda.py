"""The ``cuda`` device: one compiled program whose trials run side by side on a GPU.

Brian2CUDA translates the statements of the blocks, and the ``step`` template, a whole program but
for its ``main``, puts kernels around them: nothing else of a Brian2CUDA project is needed, curand
least of all. docs/cuda.md explains how the program works.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from eprop_brian.base.indices import MOST_NUMBERS
from eprop_brian.devices.cuda_memory import Memory
from eprop_brian.devices.process import ProcessProgram
from eprop_brian.devices.program import Build
from eprop_brian.devices.project import (
    CompilerMissingError,
    Project,
    array_variables,
    quoted_for_make,
    standalone,
    step_runner,
    translated,
)
from eprop_brian.steps.layout import MOST_STEPS, Layout

__all__ = [
    "SOURCES",
    "CudaProgram",
    "architecture",
    "emulation_asked_for",
    "find_nvcc",
    "generate",
    "gpus",
]

#: Where toolkits are installed.
_TOOLKITS = Path("/usr/local")
#: What is compiled; it includes all other files.
SOURCES = ("access.cu", "calls.cpp")
#: Headers of a project besides those that are generated.
_HEADERS = ("running.h", "program.h", "cuda_arrays.h", "device.h", "cuda_emulation.h")
#: Headers that only some programs include.
_OPTIONAL = ("ctc.h", "draws.h", "noise.h")
#: Architecture to compile for when no GPU is found or named.
DEFAULT_ARCHITECTURE = "sm_90"
#: Rows of synapses and histories are padded to so many bytes: whole reads of a GPU, and the same as
#: on ``cpp``, so that what continuous operation carries from call to call can move to this device.
_ROW_BYTES = 64
#: Fewest and most threads that run a trial.
_THREADS = (64, 512)

_MAKEFILE = """\
# nvcc of CUDA 12 or later; ARCH is the GPU's, as nvcc calls it.
NVCC = nvcc
ARCH = {architecture}
NVCCFLAGS = -std=c++17 -O3 -diag-suppress=177
FILES = {files}

main: $(FILES)
\t$(NVCC) $(NVCCFLAGS) -arch=$(ARCH) -o main {sources}

# On the CPU, by an emulation of CUDA, to look for errors: compiling takes longer than running.
emulated: $(FILES)
\t$(CXX) -std=c++17 -O0 -x c++ -o main {sources}
"""


def find_nvcc() -> str | None:
    """Path of nvcc: in ``$CUDA_HOME`` or ``$CUDA_PATH``, on the path or below /usr/local."""
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        folder = os.environ.get(variable)
        if folder and (Path(folder) / "bin" / "nvcc").exists():
            return str(Path(folder) / "bin" / "nvcc")
    found = shutil.which("nvcc")
    if found:
        return found
    for pattern in ("cuda/bin/nvcc", "cuda-*/bin/nvcc"):
        paths = sorted(_TOOLKITS.glob(pattern), key=_version)
        if paths:
            return str(paths[-1])
    return None


def _version(nvcc: Path) -> list[int]:
    """Of a toolkit, from the name of its folder."""
    return [int(number) for number in re.findall(r"\d+", nvcc.parent.parent.name)]


def gpus() -> list[tuple[str, str]]:
    """Names of the GPUs and their compute capabilities (``"9.0"``), as nvidia-smi reports them."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode:
        return []
    # A driver that does not support the query, or the GPU, prints words instead.
    rows = (re.fullmatch(r"(.+),\s*(\d+\.\d+)\s*", line) for line in done.stdout.splitlines())
    return [(row[1].strip(), row[2]) for row in rows if row]


def architecture() -> str:
    """Architecture to compile for: ``$EPROP_BRIAN_CUDA_ARCH``, else the first GPU's, else sm_90.

    Raises
    ------
    ValueError
        If the variable is not of the form ``sm_90``.
    """
    given = os.environ.get("EPROP_BRIAN_CUDA_ARCH")
    if given:
        if not re.fullmatch(r"sm_\d+[a-z]?|native", given):
            raise ValueError(f"EPROP_BRIAN_CUDA_ARCH must be like sm_90, not '{given}'")
        return given
    found = gpus()
    return "sm_" + found[0][1].replace(".", "") if found else DEFAULT_ARCHITECTURE


def emulation_asked_for() -> bool:
    """Whether ``$EPROP_BRIAN_CUDA_EMULATED`` is set to something else than 0."""
    return os.environ.get("EPROP_BRIAN_CUDA_EMULATED", "") not in ("", "0")


def _require_brian2cuda() -> None:
    """Raise CompilerMissingError, with what to install, if Brian2CUDA is missing."""
    if importlib.util.find_spec("brian2cuda") is None:
        python = "" if sys.version_info >= (3, 12) else ", with Python 3.12 or later"
        raise CompilerMissingError(
            "device 'cuda' needs Brian2CUDA, which cannot be found: "
            f"pip install 'eprop_brian[cuda]'{python}"
        )


class CudaProgram(ProcessProgram):
    """A network compiled to CUDA.

    Parameters
    ----------
    network, capacity : object
        What `build` takes.
    dtype : type
        Float type of all state.
    profile : bool
        Measure the stages of a call with CUDA events; see `stage_seconds`. ``neurons`` is the whole
        way forward: spikes, neurons, readout and, with ``online``, traces, which are one kernel.
    build : Build
        What makes Brian2 objects of `network`.
    emulated : bool, optional
        Compile for the CPU, with threads that take turns (``native/cuda_emulation.h``): needs
        neither nvcc nor a GPU, and is slow. Default: whether ``$EPROP_BRIAN_CUDA_EMULATED`` is set,
        and not to 0.

    Attributes
    ----------
    folder : Path
        The compiled project.
    compiled : bool
        False if an earlier build could be used.

    Raises
    ------
    CompilerMissingError
        If there is no nvcc, no make or no Brian2CUDA.
    ValueError
        If `architecture` cannot tell what to compile for.
    """

    side_by_side = True

    def __init__(
        self,
        network: Any,
        capacity: Any,
        dtype: type = np.float64,
        profile: bool = False,
        *,
        build: Build,
        emulated: bool | None = None,
    ) -> None:
        if emulated is None:
            emulated = emulation_asked_for()
        compiler = _find_compiler(emulated)
        project = generate(network, capacity, dtype, profile, build=build)
        makefile = _MAKEFILE.format(
            architecture=architecture(), files=" ".join(project.files), sources=" ".join(SOURCES)
        )
        # No -march=native here: a cache can be carried to the machine that has the GPU.
        quoted = quoted_for_make(compiler)
        how = ("emulated", f"CXX={quoted}") if emulated else (f"NVCC={quoted}",)
        folder, compiled = project.build(makefile, compiler, *how, native=False)
        super().__init__(project.built, folder, compiled, project.types, project.plan)


def _find_compiler(emulated: bool) -> str:
    found = shutil.which("g++") or shutil.which("c++") if emulated else find_nvcc()
    needed = "a C++ compiler" if emulated else "nvcc of the CUDA toolkit, 12 or later"
    missing = [] if found else [needed]
    if shutil.which("make") is None:
        missing.append("make")
    if found is None or missing:
        raise CompilerMissingError(
            f"device 'cuda' needs {' and '.join(missing)}, which cannot be found. Say where the "
            "toolkit is with CUDA_HOME, or run on the CPU: --device cpp"
        )
    assert found is not None
    return found


def generate(
    network: Any, capacity: Any, dtype: type = np.float64, profile: bool = False, *, build: Build
) -> Project:
    """Return the CUDA project of a network; `SOURCES` are what is to be compiled.

    Parameters
    ----------
    network, capacity, dtype, profile, build
        As for `CudaProgram`.
    """
    _require_brian2cuda()
    from eprop_brian.devices.cuda_codeobjects import CudaStepCodeObject

    lanes = _ROW_BYTES // np.dtype(dtype).itemsize
    with standalone("cuda_standalone", dtype) as device:
        layout = Layout(lanes, None, MOST_STEPS, profile, MOST_NUMBERS, recompute=False)
        built = build(network, capacity, CudaStepCodeObject, dtype, layout)
        runner = step_runner(built)
        schedule = runner.schedule
        if schedule.refusal:
            raise ValueError(f"device 'cuda' has no {schedule.refusal}: choose cpp")
        arrays = {
            key: variable
            for key, variable in array_variables(built, device).items()
            # Skip Brian2's `i` and `_spikespace`; nothing reads them.
            if variable.name not in ("i", "_spikespace")
        }
        clock = runner.clock.variables["dt"]
        held = {**arrays, "clock.dt": clock}
        threads = _threads(schedule.most_elements)
        memory = Memory(runner.step_code, held, device, schedule, threads)
        source = translated(built, runner, memory)
        table = memory.table({"clock.dt": float(network.dt)})
    optional = (name for name in _OPTIONAL if f'"{name}"' in source)
    types = {key: np.dtype(v.dtype) for key, v in arrays.items()}
    generated = {"program.cu": source, "table.h": table}
    sizes = {key: v.size * types[key].itemsize for key, v in arrays.items()}
    return Project(built, types, sizes, generated, (*SOURCES, *_HEADERS, *optional))


def _threads(n: int) -> int:
    """Threads that run a trial: one for each of `n` elements, as far as that is sensible."""
    least, most = _THREADS
    return min(most, max(least, -(-n // 32) * 32))
