"""Workers of a Dask cluster: what travels in a batch, and what it costs.

``python -m benchmarks.cluster --out docs/performance/cluster.md`` starts schedulers and workers as
processes of this machine, trains evidence accumulation with 1, 2 and 4 of them, with local workers
and in one process, in turns, and writes the table of the documentation. What is counted as bytes is
what the process that trains writes to its connections and reads from them.
"""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks.cases import Case, evidence_accumulation, in_own_process
from benchmarks.tables import markdown_table

__all__ = ["Row", "markdown", "measure"]

HEADER = (
    *("Neurons", "Trials of a batch", "Where", "ms a batch", "Efficiency"),
    *("kB sent a batch", "kB received", "Python, ms of processor time"),
)
#: (neurons, trials of a batch)
SIZES = ((100, 64), (400, 64), (1000, 64))
WORKERS = (1, 2, 4)
#: Batches of which the median counts, after two to warm up.
BATCHES = 7


@dataclass
class Row:
    """What a batch costs somewhere.

    Attributes
    ----------
    where : str
    workers : int
    seconds, processor : list of float
        Of every batch: that passed, and that this process computed.
    sent, received : int
        Bytes of the last batch.
    """

    where: str
    workers: int
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    sent: int = 0
    received: int = 0


class _Counter:
    """Bytes that this process writes to and reads from connections of Dask."""

    def __init__(self) -> None:
        from distributed.comm import tcp
        from distributed.utils import nbytes

        self.sent = self.received = 0
        write, from_frames = tcp.TCP.write, tcp.from_frames

        async def counted(comm: Any, *args: Any, **kwargs: Any) -> int:
            size = await write(comm, *args, **kwargs)
            self.sent += size
            return size

        async def read(frames: Any, *args: Any, **kwargs: Any) -> Any:
            parts = frames if isinstance(frames, list) else [frames]
            self.received += sum(map(nbytes, parts))
            return await from_frames(frames, *args, **kwargs)

        setattr(tcp.TCP, "write", counted)  # noqa: B010
        setattr(tcp, "from_frames", read)  # noqa: B010


@contextmanager
def cluster(n_workers: int) -> Iterator[str]:
    """A scheduler and workers of one thread each, on the loopback; gives the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    worker = ("dask_worker", address, "--host", "127.0.0.1", "--no-nanny", "--nthreads", "1")
    commands = [("dask_scheduler", "--host", address), *(worker for _ in range(n_workers))]
    processes = []
    try:
        for name, *options in commands:
            module = f"distributed.cli.{name}"
            command = [sys.executable, "-m", module, *options, "--no-dashboard"]
            processes.append(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
        yield address
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(case: Case, workers: tuple[int, ...] = WORKERS, batches: int = BATCHES) -> list[Row]:
    """Train on the batch of a case everywhere, in turns; the first row is that of one process."""
    return in_own_process(_measure, case, workers, batches)


def _measure(case: Case, workers: tuple[int, ...], batches: int) -> list[Row]:
    from eprop_brian.network.program import make_program
    from eprop_brian.training.cluster_workers import ClusterWorkers
    from eprop_brian.training.session import Session
    from eprop_brian.training.workers import ParallelSession

    network, trials = case.network(gradient="factored"), case.task_trials()
    counter, start = _Counter(), (trials, case.learning_window, case.weights())
    with ExitStack() as stack:
        sessions: list[tuple[Row, Session]] = []

        def add(where: str, number: int, make: Callable[[], Session]) -> None:
            session = make()
            stack.callback(session.close)
            sessions.append((Row(where, number), session))

        def parallel(**options: Any) -> ParallelSession:
            return ParallelSession(network, *start, device="cpp", dtype="float64", **options)

        add("one process", 1, lambda: Session(network, make_program("cpp"), *start))
        add("local workers", 2, lambda: parallel(workers=2))
        for number in workers:
            address = stack.enter_context(cluster(number))
            add("Dask", number, partial(parallel, scheduler=address))
            session = sessions[-1][1]
            assert isinstance(session, ParallelSession)
            assert isinstance(session.workers, ClusterWorkers)
            while len(session.workers.cluster.workers()) < number:
                time.sleep(0.1)
        for batch in range(batches + 2):
            for row, session in sessions:
                before, busy = time.perf_counter(), _processor_time()
                counter.sent = counter.received = 0
                session.run(trials, case.batch_size)
                if batch >= 2:
                    row.seconds.append(time.perf_counter() - before)
                    row.processor.append(_processor_time() - busy)
                    row.sent, row.received = counter.sent, counter.received
    return [row for row, _ in sessions]


def _processor_time() -> float:
    """Seconds that this process has computed, without those of its programs."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def markdown(measured: list[tuple[int, int, list[Row]]]) -> str:
    """The table; `measured` has neurons, trials of a batch, and rows."""
    lines = []
    for neurons, trials, rows in measured:
        alone = median(rows[0].seconds)
        for row in rows:
            seconds, is_alone = median(row.seconds), row is rows[0]
            efficiency = "1" if is_alone else f"{alone / seconds / row.workers:.2f}"
            lines.append(
                (
                    *(str(neurons), str(trials)),
                    row.where if is_alone else f"{row.where}, {row.workers}",
                    f"{1e3 * seconds:.1f}",
                    efficiency,
                    *(f"{size / 1e3:,.0f}" for size in (row.sent, row.received)),
                    f"{1e3 * median(row.processor):.1f}",
                )
            )
    return markdown_table(HEADER, lines)


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), help="Write the table to this file.")
@click.option("--neurons", type=int, multiple=True, help="Only these sizes.")
def main(out: Path | None, neurons: tuple[int, ...]) -> None:
    """Measure, and write or print the table."""
    measured = []
    for size, trials in SIZES:
        if not neurons or size in neurons:
            case = evidence_accumulation(size, n_trials=trials, batch_size=trials)
            measured.append((size, trials, measure(case)))
            click.echo(markdown(measured[-1:]), err=True)
    if out:
        out.write_text(markdown(measured), encoding="utf-8")
    else:
        click.echo(markdown(measured))


if __name__ == "__main__":
    main()
