"""Calls of the command that are ended by signals, and what must hold afterwards."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from eprop_brian.base.files import read_arrays
from eprop_brian.runs.run import CHECKPOINT

#: What ends a call politely.
POLITE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: A variable by which the processes of a call are known.
_MARK = "EPROP_BRIAN_TEST_CALL"
#: Seconds in which the processes that a killed one started must have ended, also on a machine that
#: is busy: one that is still importing notices only then.
_GRACE = 60.0


@dataclass(frozen=True)
class Ended:
    """A call that has ended: its exit status (-9: killed), and what it wrote."""

    status: int
    output: str
    errors: str


class Command:
    """Calls `eprop-brian` in a folder; see `support.forks`."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        environment = {**os.environ, "TMPDIR": str(self.temporary)}
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forks.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._calls = 0
        assert self._answer() == "ready"

    def close(self) -> None:
        self._server.stdin.close()
        self._server.wait(60)

    def _answer(self) -> str:
        return self._server.stdout.readline().strip()

    def _ask(self, **request) -> int:
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return int(self._answer())

    def begin(self, *arguments) -> int:
        """Begin a call, and return the number of its process."""
        self._calls += 1
        return self._ask(
            arguments=[str(argument) for argument in arguments],
            folder=str(self.folder),
            environment={_MARK: self._mark},
            **{name: str(path) for name, path in self._files.items()},
        )

    def end(self, process: int) -> Ended:
        """Wait for the end of a call, and of all processes that it started."""
        status = self._ask(wait=process)
        left = time.monotonic() + _GRACE
        while self.processes() and time.monotonic() < left:
            time.sleep(0.02)
        assert not self.processes(), "a process outlives the command that started it"
        return Ended(status, *(path.read_text() for path in self._files.values()))

    def __call__(self, *arguments, number: int | None = None, after: float = 0.0) -> Ended:
        """Call the command, and send it a signal `after` some seconds."""
        process = self.begin(*arguments)
        if number is not None:
            time.sleep(after)
            # Not waited for yet, so the number is still the process's.
            os.kill(process, number)
        return self.end(process)

    def processes(self) -> list[int]:
        """Processes of the last call."""
        return _processes(self._mark)

    @property
    def _mark(self) -> str:
        return f"{os.getpid()}-{self._calls}"

    @property
    def _files(self) -> dict[str, Path]:
        return {name: self.folder / f"{name}.txt" for name in ("stdout", "stderr")}


def call_program(program: Path, *arguments, number: int | None = None, after: float = 0.0) -> Ended:
    """Call a program in a process of its own, and send it a signal `after` some seconds.

    They count from when it answers signals, the first thing that it does: before, the system loads
    it, which a signal ends without a word.
    """
    process = subprocess.Popen(
        [str(program), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_answer_signals,  # whoever runs the tests may ignore them
    )
    if number is not None:
        _await_answers(process)
        time.sleep(after)
        process.send_signal(number)
    output, errors = process.communicate()
    return Ended(process.returncode, output, errors)


def _await_answers(process: subprocess.Popen) -> None:
    """Wait until a process answers SIGTERM, or has ended."""
    left = time.monotonic() + _GRACE
    while process.poll() is None and time.monotonic() < left:
        (caught,) = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
        if int(caught, 16) >> signal.SIGTERM - 1 & 1:
            return
        time.sleep(0.0005)


def _answer_signals() -> None:
    for number in POLITE:
        signal.signal(number, signal.SIG_DFL)


def _processes(mark: str) -> list[int]:
    """Processes that run with such a mark."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                environment = Path(entry.path, "environ").read_bytes()
            except OSError:
                continue
            if f"{_MARK}={mark}\0".encode() in environment:
                found.append(int(entry.name))
    return found


def check_end(ended: Ended, number: int, result: str, counts: Counter) -> None:
    """Check status and messages of a call that a signal may have ended, and count what came of it.

    Parameters
    ----------
    ended : Ended
    number : int
        Of the signal.
    result : str
        A pattern of the line that a call ends with that has done all.
    counts : Counter
        Of `support.robustness.COLUMNS`: a call that ended in its own way is clean, one that was
        killed is to be recovered from.
    """
    said = f"{signal.Signals(number).name}\n{ended}"
    if "Traceback" in ended.errors or "Error" in ended.errors:
        counts["tracebacks"] += 1
        raise AssertionError(said)
    if number == signal.SIGKILL:
        assert ended.status in (0, -number), said
    else:
        finished = re.search(result, ended.output, re.MULTILINE) is not None
        assert ended.status == (0 if finished else 130), said
        assert ended.errors.count("interrupted") == (not finished), said
    counts["recovered" if ended.status == -number else "clean"] += 1


def saved_updates(run: Path) -> int:
    """How many updates the checkpoint of a run has."""
    return int(read_arrays(run / CHECKPOINT)["n_updates"])
