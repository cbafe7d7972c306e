"""Start times: what a command takes before its first iteration, of two revisions.

``python -m benchmarks.start --before REVISION --out docs/performance/start.md`` runs every command
in turn with the sources of both, and writes the smallest times. Processor
seconds are those of the command and of all that it starts, the compiler too; they say more than
elapsed ones on a machine that others use.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.tables import markdown_table

__all__ = ["CASES", "Case", "Seconds", "markdown", "measure", "sources"]

ROOT = Path(__file__).resolve().parents[1]
#: The command, from whichever sources come first on ``PYTHONPATH``.
_COMMAND = (
    "import sys; sys.argv[0] = 'eprop-brian'; from eprop_brian.cli import main; sys.exit(main())"
)
HEADER = ("Command", "s, before", "s, now", "elapsed, before", "elapsed, now")


@dataclass(frozen=True)
class Case:
    """A command that is started.

    Attributes
    ----------
    name : str
    arguments : tuple of str
    new : bool
        Whether its network is compiled every time; what all programs share is not.
    status : int
        With which it ends.
    """

    name: str
    arguments: tuple[str, ...]
    new: bool = False
    status: int = 0


def _first_iteration(task: str, new: bool) -> Case:
    options = ("--iterations", "1", "--no-figures", "--out", "run")
    name = f"first iteration of {task}, {'a new' if new else 'a known'} network"
    return Case(name, ("train", task, *options), new)


#: Tasks whose networks are known, or new.
_TASKS = ("pattern-generation", "evidence-accumulation")
CASES = (
    Case("`eprop-brian --help`", ("--help",)),
    Case("`eprop-brian train --help`", ("train", "--help")),
    Case("a mistyped task", ("train", "patern-generation"), status=2),
    *(_first_iteration(task, new) for new in (False, True) for task in _TASKS),
)


@dataclass(frozen=True)
class Seconds:
    """What a command took: processor time of all its processes, and elapsed time."""

    processor: float
    elapsed: float


@contextmanager
def sources(revision: str) -> Iterator[Path]:
    """A folder for ``PYTHONPATH`` with the package of a revision."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name)
        archive = ("git", "-C", str(ROOT), "archive", revision)
        packed = subprocess.run(archive, capture_output=True, check=True).stdout
        subprocess.run(("tar", "-x", "-C", name), input=packed, check=True)
        for part in ("equations", "tasks"):
            (tree / "eprop_brian" / part).symlink_to(tree / part)
        yield tree


def measure(path: Path, case: Case, cache: Path) -> Seconds:
    """Run a command once.

    Parameters
    ----------
    path : Path
        Of the package, for ``PYTHONPATH``.
    case : Case
    cache : Path
        Of compiled programs. A new network is compiled into one that goes afterwards.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if case.new:
            cache = folder / "cache"
            # The first network of a user compiles what all programs share: that is not measured.
            _run(path, Case("", ("train", "store-recall", "--no-run")), cache, folder)
        return _run(path, case, cache, folder)


def _run(path: Path, case: Case, cache: Path, folder: Path) -> Seconds:
    environment = {**os.environ, "PYTHONPATH": str(path), "EPROP_BRIAN_CACHE": str(cache)}
    # As a user has it: modules become bytecode once.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = (sys.executable, "-c", _COMMAND, *case.arguments)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    elapsed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != case.status:
        raise RuntimeError(f"{case.name}: {done.stderr.decode(errors='replace')}")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Seconds(processor, elapsed)


def markdown(measured: Mapping[Case, Sequence[Sequence[Seconds]]]) -> str:
    """A table: for each case the smallest times of several sources, in the order of `HEADER`."""
    lines = []
    for case, by_source in measured.items():
        least = [
            min(getattr(seconds, kind) for seconds in runs)
            for kind in ("processor", "elapsed")
            for runs in by_source
        ]
        lines.append([case.name, *(f"{seconds:.2f}" for seconds in least)])
    return markdown_table(HEADER, lines)


@click.command()
@click.option("--before", required=True, metavar="REVISION", help="What is compared with.")
@click.option("--now", default="HEAD", show_default=True, metavar="REVISION", help="What is new.")
@click.option("--repeats", default=5, show_default=True, help="Runs of each, in turn.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write the table.")
def main(before: str, now: str, repeats: int, out: Path | None) -> None:
    """Measure all cases with two revisions in turn, and write the table."""
    with ExitStack() as stack:
        paths = [stack.enter_context(sources(revision)) for revision in (before, now)]
        caches = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in paths]
        measured: dict[Case, list[list[Seconds]]] = {}
        for case in CASES:
            measured[case] = [[] for _ in paths]
            # The first run compiles bytecode, and networks that are to be known.
            for number in range(repeats + 1):
                for runs, path, cache in zip(measured[case], paths, caches, strict=True):
                    seconds = measure(path, case, cache)
                    if number:
                        runs.append(seconds)
            click.echo(markdown({case: measured[case]}).splitlines()[-1])
    if out is not None:
        out.write_text(markdown(measured))


if __name__ == "__main__":
    main()
