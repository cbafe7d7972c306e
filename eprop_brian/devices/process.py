"""Programs that are compiled once and run as a process of their own.

The process stays and answers calls (``native/calls.cpp``). Arrays are in memory that both sides
see (`eprop_brian.devices.sharing`), where a device has such: to set one is to write it there. What
goes through pipes is commands, and arrays that are not shared.
"""

from __future__ import annotations

import contextlib
import copy
import os
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from eprop_brian.devices.program import Built, Program, ProgramKilledError, SimulationError
from eprop_brian.devices.sharing import KEPT, OWN, Plan, SharedMemory
from eprop_brian.steps.layout import STAGES

__all__ = ["ProcessProgram"]

#: Arrays requested before the first is read: their commands must fit into a pipe.
_KEYS_AT_ONCE = 64
#: Tells the program about the memory that it shares.
_MEMORY = "EPROP_BRIAN_MEMORY"
#: Environment variable that says how many threads a program has.
_THREADS = "EPROP_BRIAN_THREADS"


_NOT_RUN = "the program has not run since its process was started"


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
    plan : Plan
        Where those arrays are that the program shares.
    threads : int
        Of the process.
    """

    def __init__(
        self,
        built: Built,
        folder: Path,
        compiled: bool,
        types: Mapping[str, np.dtype],
        plan: Plan,
        threads: int = 1,
    ) -> None:
        self.built, self.folder, self.compiled = built, folder, compiled
        self._types, self._plan = types, plan
        self._kept = SharedMemory(plan.sizes[KEPT])
        self._threads = threads
        self._updates = True
        self._begin()

    def _begin(self) -> None:
        """No process is there yet."""
        self._process: subprocess.Popen | None = None
        self._end()
        self._starts = 0
        self._has_run = False

    def _end(self) -> None:
        """The memory of the process is there no more."""
        self._own: SharedMemory | None = None
        # To make a view of shared memory takes a microsecond, and a call needs dozens.
        self._views: dict[str, np.ndarray] = {}

    def copy(self) -> ProcessProgram:
        """The same program once more, with a process and a state of its own.

        It sees the arrays that `Built.kept` names of this one, and makes no updates.
        """
        other = copy.copy(self)
        other._updates = False
        other._begin()
        return other

    def started(self) -> int:
        """See `Program.started`.

        Raises
        ------
        SimulationError
            If the program cannot be run.
        """
        self._running()
        return self._starts

    def set(self, arrays: Mapping[str, np.ndarray]) -> None:
        """See `Program.set`; fails like `run`."""
        self.started()
        sent = {}
        for key, values in arrays.items():
            if key not in self._plan.places:
                sent[key] = np.ascontiguousarray(values, dtype=self._types[key])
                continue
            array, values = self.view(key), np.asarray(values)
            if values.size != array.size:
                raise SimulationError(
                    f"an array has another size than the values it is set to: {key}, {array.size} "
                    f"and {values.size}"
                )
            np.copyto(array, values.reshape(-1), casting="unsafe")
        if sent:
            with self._talk() as (send, _):
                for key, data in sent.items():
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

    def view(self, key: str) -> np.ndarray:
        """See `Program.view`; where an array is shared, what is written there is set."""
        if key in self._views:
            return self._views[key]
        if key not in self._plan.places:
            return self.get(key)
        place = self._plan.places[key]
        memory = self._kept if place.stretch == KEPT else self._own
        if memory is None:
            raise SimulationError(_NOT_RUN)
        return self._views.setdefault(key, memory.array(place))

    def get(self, key: str) -> np.ndarray:
        """See `Program.get`."""
        return self.get_all([key])[key]

    def get_all(self, keys: Iterable[str]) -> dict[str, np.ndarray]:
        """See `Program.get_all`."""
        keys, places = list(keys), self._plan.places
        if not self._has_run and not all(self._is_kept(key) for key in keys):
            raise SimulationError(_NOT_RUN)
        arrays = {key: self.view(key).copy() for key in keys if key in places}
        sent = [key for key in keys if key not in places]
        for first in range(0, len(sent), _KEYS_AT_ONCE):
            group = sent[first : first + _KEYS_AT_ONCE]
            with self._talk() as (send, receive):
                for key in group:
                    send(b"G", _key(key))
                for key in group:
                    (size,) = struct.unpack("=Q", receive(8))
                    arrays[key] = np.frombuffer(receive(size), dtype=self._types[key])
        return {key: arrays[key] for key in keys}

    def _is_kept(self, key: str) -> bool:
        """Whether an array is there without a process, too."""
        return key in self._plan.places and self._plan.places[key].stretch == KEPT

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
        self._end()
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

    def _running(self) -> subprocess.Popen:
        """The process; if there is none, one is started, with memory in which there are zeros."""
        if self._process is None:
            self._process = self._start()
            self._starts += 1
        return self._process

    def _start(self) -> subprocess.Popen:
        descriptors, environment = [], {**os.environ, _THREADS: str(self._threads)}
        if self._plan.places:
            self._own = SharedMemory(self._plan.sizes[OWN])
            descriptors = [self._kept.descriptor, self._own.descriptor]
            # Whoever makes no updates cannot change what others see.
            modes = "w" if self._updates else "r", "w"
            named = (f"{file}{mode}" for file, mode in zip(descriptors, modes, strict=True))
            environment[_MEMORY] = " ".join(named)
        # A session of its own: Ctrl-C reaches Python alone, which then ends the process.
        try:
            return subprocess.Popen(
                ["./main"],
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=descriptors,
                env=environment,
            )
        except OSError as error:
            gone = isinstance(error, FileNotFoundError)
            raise SimulationError(
                f"the compiled program in {self.folder} "
                f"{'is gone' if gone else f'cannot be run ({error.strerror})'}; make it again"
            ) from None

    @contextlib.contextmanager
    def _talk(self) -> Iterator[tuple[Callable[..., None], Callable[[int], bytes]]]:
        """The process's ends of the pipes; whatever goes wrong between them ends the process."""
        process = self._running()
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
            self._end()
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
