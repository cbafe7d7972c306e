"""Programs that are compiled once and run as a process of their own.

The process stays and answers calls through its standard input and output (``native/calls.cpp``).
"""

from __future__ import annotations

import contextlib
import copy
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from eprop_brian.devices.program import Built, Program, ProgramKilledError, SimulationError
from eprop_brian.steps.layout import STAGES

__all__ = ["ProcessProgram"]

#: Arrays requested before the first is read: their commands must fit into a pipe.
_KEYS_AT_ONCE = 64


class ProcessProgram(Program):
    """A compiled program.

    Parameters
    ----------
    built : Built
    folder : Path
        The compiled project, in which ``main`` is the program.
    compiled : bool
        False if an earlier build could be used.
    types : mapping of str to dtype
        Of every array, by ``"group.variable"``.
    """

    def __init__(
        self, built: Built, folder: Path, compiled: bool, types: Mapping[str, np.dtype]
    ) -> None:
        self.built, self.folder, self.compiled = built, folder, compiled
        self._types = types
        self._process: subprocess.Popen | None = None
        self._has_run = False

    def copy(self) -> ProcessProgram:
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
        self.set({**self.built.first, **arrays})
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
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None and stdout is not None  # pipes, as requested above

        def send(*parts: bytes) -> None:
            for part in parts:
                stdin.write(part)

        def receive(size: int) -> bytes:
            stdin.flush()
            data = stdout.read(size)
            if len(data) < size:
                raise BrokenPipeError
            return data

        try:
            yield send, receive
        except BrokenPipeError:
            self._process, self._has_run = None, False
            with contextlib.suppress(BrokenPipeError):
                stdin.close()
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
