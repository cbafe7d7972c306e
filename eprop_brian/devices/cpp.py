"""The ``cpp`` device: one compiled binary that runs many trials with no Python in the loop.

Brian2 generates the project and `make` builds it once. The binary is a process that stays and
answers calls through its standard input and output (``templates/calls.h``). Builds are cached by a
hash of everything that was compiled.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from brian2.core.preferences import prefs
from brian2.core.variables import ArrayVariable, DynamicArrayVariable
from brian2.devices.device import all_devices, get_device, set_device
from brian2.units import second

from eprop_brian.devices.codeobjects import CppStepCodeObject
from eprop_brian.devices.program import Program, ProgramKilledError, SimulationError
from eprop_brian.network.blocks import MOST_STEPS
from eprop_brian.network.build import build
from eprop_brian.network.built import STAGES, Capacity, Layout
from eprop_brian.network.spec import Network

__all__ = ["CompilerMissingError", "CppProgram", "cache_folder", "find_compiler"]

#: Steps after which Brian2's clock would end a run by itself; a run ends with its last trial.
_ENDLESS = 2**31
#: Arrays asked for before the first is read: their commands must fit into a pipe.
_KEYS_AT_ONCE = 64
_CALLS = Path(__file__).parent / "templates" / "calls.h"
#: Widest vector registers; a multiple of those of any processor does no harm.
_VECTOR_BYTES = 64
#: Cache that the results of the backward pass may take: they are read soon after they are written.
_TILE_BYTES = 2**20
#: Arrays by name and in files, which no call asks for and which takes longest to compile.
_UNUSED = re.compile(
    r"^(void (?:_write_arrays\(\)\n|set_variable_by_name\([^)]*\) )\{).*?\n\}\n",
    re.MULTILINE | re.DOTALL,
)


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
        find_compiler()
        with _standalone(dtype) as device, tempfile.TemporaryDirectory() as folder:
            project = Path(folder) / "project"
            lanes = _VECTOR_BYTES // np.dtype(dtype).itemsize
            layout = Layout(lanes, _TILE_BYTES, MOST_STEPS, profile)
            self.built = build(network, capacity, CppStepCodeObject, dtype, layout)
            self._types = self._insert_calls(device)
            self.built.brian2_network.run(_ENDLESS * float(network.dt) * second, namespace={})
            project.mkdir()
            (project / "calls.h").write_bytes(_CALLS.read_bytes())
            device.build(directory=str(project), compile=False, run=False, with_output=False)
            self.folder = cache_folder() / _digest(project)
            self.compiled = not (self.folder / "main").exists()
            if self.compiled:
                _compile(project)
                _install(project, self.folder)
        self._process: subprocess.Popen | None = None
        self._has_run = False

    def copy(self) -> CppProgram:
        """The same program once more, with a process and a state of its own."""
        other = copy.copy(self)
        other._process, other._has_run = None, False
        return other

    def set(self, arrays: Mapping[str, np.ndarray]) -> None:
        """See `Program.set`; fails like `run`."""
        with self._talk() as (send, _):
            for key, values in arrays.items():
                data = np.ascontiguousarray(values, dtype=self._types[key])
                send(b"S", _key(key), struct.pack("=Q", data.nbytes), data.data)

    def run(self, arrays: Mapping[str, np.ndarray]) -> None:
        """See `Program.run`.

        Raises
        ------
        SimulationError
            If the process fails or is killed; the message has its output. The next call starts a
            new one.
        """
        self.set({**arrays, **self.built.first})
        with self._talk() as (send, receive):
            send(b"R")
            receive(1)
        self._has_run = True

    def get(self, key: str) -> np.ndarray:
        """See `Program.get`."""
        return self.get_all([key])[key]

    def get_all(self, keys: Iterable[str]) -> dict[str, np.ndarray]:
        """See `Program.get_all`."""
        keys, arrays = list(keys), {}
        if not self._has_run:
            raise SimulationError("the program has not run since its process was started")
        for first in range(0, len(keys), _KEYS_AT_ONCE):
            group = keys[first : first + _KEYS_AT_ONCE]
            with self._talk() as (send, receive):
                for key in group:
                    send(b"G", _key(key))
                for key in group:
                    (size,) = struct.unpack("=Q", receive(8))
                    arrays[key] = np.frombuffer(receive(size), dtype=self._types[key])
        return arrays

    def stage_seconds(self) -> dict[str, float]:
        """Seconds that each of `STAGES` took in the last run of a program made with `profile`."""
        return dict(zip(STAGES, self.get("profile.seconds").tolist(), strict=True))

    @property
    def process_id(self) -> int | None:
        """Of the running process; None without one."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """End the process; a later call starts a new one."""
        process, self._process, self._has_run = self._process, None, False
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                # At the interpreter's end they may be closed, or what is left to write lost.
                with contextlib.suppress(OSError, ValueError):
                    if stream is not None:
                        stream.close()

    def interrupt(self) -> None:
        """End the process from another thread: a call in progress fails."""
        process = self._process
        if process is not None:
            process.kill()

    def __del__(self) -> None:
        if getattr(self, "_process", None) is not None:
            self.close()

    def _insert_calls(self, device) -> dict[str, np.dtype]:
        """Put the loop over calls around the run; return the type of every array."""
        arrays = {
            f"{group.name}.{name}": variable
            for group in self.built.groups.values()
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
        device.insert_code("before_network_run", "while (eprop_brian::next_call(calls_arrays)) {")
        # All that Brian2 would do after the runs is to write every array to a file.
        device.insert_code("after_network_run", "}\nstd::_Exit(0);")
        return {key: np.dtype(v.dtype) for key, v in arrays.items()}

    @contextlib.contextmanager
    def _talk(self) -> Iterator[tuple[Callable[..., None], Callable[[int], bytes]]]:
        """The process's ends of the pipes; whatever goes wrong between them ends the process."""
        if self._process is None:
            # A session of its own: Ctrl-C reaches Python alone, which then ends the process.
            try:
                self._process = subprocess.Popen(
                    ["./main"],
                    cwd=self.folder,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            except FileNotFoundError:
                raise SimulationError(
                    f"the compiled program in {self.folder} is gone; make it again"
                ) from None
        process = self._process

        def send(*parts: bytes) -> None:
            for part in parts:
                process.stdin.write(part)

        def receive(size: int) -> bytes:
            process.stdin.flush()
            data = process.stdout.read(size)
            if len(data) < size:
                raise BrokenPipeError
            return data

        try:
            yield send, receive
        except BrokenPipeError:
            self._process, self._has_run = None, False
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.stdin = None
            output = process.communicate()[1].decode(errors="replace").strip()
            killed = process.returncode < 0
            raise (ProgramKilledError if killed else SimulationError)(
                f"the compiled program in {self.folder} ended with status "
                f"{process.returncode}{': ' if output else ''}{output}"
            ) from None
        except BaseException:
            self.close()
            raise


def _key(key: str) -> bytes:
    return struct.pack("=I", len(key)) + key.encode()


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
    """Build ``main``.

    All but the step runs once a call and takes longer to compile: it is one file, not optimised.
    """
    sources = re.search(r"^SRCS = (.*)$", (project / "makefile").read_text(), re.MULTILINE)
    optimised, plain = [], []
    for source in sources.group(1).split():
        (optimised if source.startswith("code_objects/") else plain).append(source)
    objects = project / "objects.cpp"
    objects.write_text(_UNUSED.sub(r"\1\n}\n", objects.read_text()))
    (project / "plain.cpp").write_text("".join(f'#include "{source}"\n' for source in plain))
    with (project / "makefile").open("a") as makefile:
        makefile.write("\nplain.o: OPTIMISATIONS := $(patsubst -O%,-O0,$(OPTIMISATIONS))\n")
    # A project is made once, so that it does not matter which file depends on which.
    _make(project, f"SRCS={' '.join([*optimised, 'plain.cpp'])}", "DEPS=")


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
