"""``python -m benchmarks.cuda --out FOLDER``: the ``cuda`` device on a GPU, in a few minutes.

1. All programs are compiled, side by side.
2. Recorded runs of other simulators are replayed, with both gradient programs.
3. Weights, gradients, losses and spikes after some updates are compared with ``cpp``.
4. Trials per second of one batch size, beside ``cpp`` on one core and on all of them.
5. Evidence accumulation is trained until it is solved.
6. Trials per second for other batch sizes and numbers of neurons.

Times are those of the GPU, by CUDA events, and end to end: packing a batch, sending it, running it
and reading back. They stand beside two rooflines over the bandwidth of this GPU, which is measured:
the bytes of a trial's history, written and read once, and these with the rows of weights that
spikes read and the lists of spikes. A GPU may pass the second one: weights of small networks stay
in its L2 cache (50 MB on an H100), from where a row is read faster.

Writes ``cuda.json`` and ``cuda.md``, after every part. Parts for which no time remains are left
out and named. With ``EPROP_BRIAN_CUDA_EMULATED=1`` and small sizes it runs without a GPU, as a
trial.

A machine without internet needs this repository, a Python 3.12 environment with
``eprop_brian[cuda]``, ``g++``, ``make`` and ``nvcc``. To spend none of
its time on nvcc, run ``--compile-only`` elsewhere, with the same versions of nvcc and of the
packages and with ``EPROP_BRIAN_CUDA_ARCH`` set to what its GPU is (``sm_90`` for an H100),
and carry the folder ``$EPROP_BRIAN_CACHE`` too. Programs of ``cpp`` are compiled for one kind of
processor: those are compiled again where it is another.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

from benchmarks.cases import Case, evidence_accumulation, pattern_generation

#: Copies a stretch of memory within the GPU, and prints the bytes read and written per second.
_BANDWIDTH = r"""
#include <cstdio>
#include <cuda_runtime.h>
int main()
{
    const size_t bytes = (size_t)1 << 30;
    const int n = 20;
    void *from, *to;
    cudaEvent_t start, stop;
    if (cudaMalloc(&from, bytes) || cudaMalloc(&to, bytes)) return 1;
    cudaEventCreate(&start);
    cudaEventCreate(&stop);
    cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToDevice);
    cudaEventRecord(start);
    for (int i = 0; i < n; i++) cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice);
    cudaEventRecord(stop);
    cudaEventSynchronize(stop);
    float milliseconds;
    if (cudaEventElapsedTime(&milliseconds, start, stop)) return 1;
    std::printf("%g\n", 2.0*n*bytes/(milliseconds/1000));
}
"""
_UPDATED = {
    "evidence accumulation": lambda steps: evidence_accumulation(100, 16, 16, n_steps=steps),
    "pattern generation": lambda steps: pattern_generation(100, 300, 4, 2),
}


class Report:
    """What was found, in a file that is written again after every part."""

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder, self._end = folder, time.monotonic() + 60 * minutes
        folder.mkdir(parents=True, exist_ok=True)
        self.found: dict[str, Any] = {"machine": machine()}

    @property
    def seconds_left(self) -> float:
        """Of the time that was given."""
        return self._end - time.monotonic()

    def part(self, name: str, seconds: float, measure: Callable[[], Any]) -> None:
        """Measure if `seconds` are left; a part that fails costs the others nothing."""
        before = time.monotonic()
        if self.seconds_left < seconds:
            found: Any = {"left out": f"{self.seconds_left:.0f} s were left of {seconds:g} needed"}
        else:
            try:
                found = measure()
            except Exception as error:
                found = {"failed": f"{type(error).__name__}: {error}"}
        self.found[name] = found
        click.echo(f"{name} ({time.monotonic() - before:.0f} s): {json.dumps(found)[:400]}")
        (self.folder / "cuda.json").write_text(json.dumps(self.found, indent=1) + "\n")
        (self.folder / "cuda.md").write_text(markdown(self.found))


def machine() -> dict[str, Any]:
    """Date, processor, GPU and versions."""
    from eprop_brian.devices.cuda import emulation_asked_for
    from eprop_brian.devices.report import report

    versions = {}
    for name in ("eprop_brian", "brian2", "brian2cuda", "numpy"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "GPU": _output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"),
        "python": platform.python_version(),
        "versions": versions,
        "devices": report(),
        "emulated": emulation_asked_for(),
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _output(*command: str) -> str:
    with suppress(OSError):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return ""


def bandwidth() -> float:
    """Bytes per second that the memory of the GPU reads and writes."""
    from eprop_brian.devices.cuda import architecture, find_nvcc

    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "bandwidth.cu", Path(folder) / "bandwidth"
        source.write_text(_BANDWIDTH)
        command = [str(find_nvcc()), f"-arch={architecture()}", "-o", str(program), str(source)]
        subprocess.run(command, check=True, capture_output=True)
        done = subprocess.run([str(program)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def verify(paths: Sequence[Path]) -> dict[str, Any]:
    """Recorded runs that hold on the device, and those that do not; compiled side by side."""
    jobs = [(path, gradient) for path in paths for gradient in ("factored", "online")]
    with _processes() as pool:
        results = list(pool.map(_verify, *zip(*jobs, strict=True)))
    return {
        "held": sum(ok for ok, _ in results),
        "failed": {
            f"{path.stem}, {gradient}": text
            for (path, gradient), (ok, text) in zip(jobs, results, strict=True)
            if not ok and text
        },
    }


def _verify(path: Path, gradient: str) -> tuple[bool, str]:
    from eprop_brian.training.reference import load_case
    from eprop_brian.training.verification import verify as verify_case

    try:
        case = load_case(path, gradient)
    except ValueError:  # updates in every step have no factored program
        return False, ""
    result = verify_case(case, "cuda")
    return result.ok, str(result)


def _processes() -> ProcessPoolExecutor:
    """One per core, without what this process holds of Brian2 and CUDA."""
    return ProcessPoolExecutor(max_workers=os.cpu_count(), mp_context=get_context("spawn"))


def session(case: Case, device: str, **options: Any) -> Any:
    """A session of a case on a device."""
    from eprop_brian.network.program import make_program
    from eprop_brian.training.session import Session

    gradient = options.pop("gradient", "factored")
    program = make_program(device, **options)
    network = case.network(gradient=gradient)
    return Session(network, program, case.task_trials(), case.learning_window, case.weights())


def _deviations_of(make: Callable[[int], Case], steps: int) -> dict[str, Any]:
    return deviations(make(steps))


def deviations(case: Case, calls: int = 2) -> dict[str, dict[str, float]]:
    """Largest relative differences between ``cuda`` and ``cpp``, and spikes that differ.

    After at least two updates: the first one of Adam moves every weight as far, whatever the size
    of its gradient.
    """
    found = {}
    for gradient in ("factored", "online"):
        expected, given = (_outcome(case, device, gradient, calls) for device in ("cpp", "cuda"))
        spikes = int(np.sum(given.pop("spikes") != expected.pop("spikes")))
        found[gradient] = {"spikes that differ": spikes} | {
            name: float(np.abs(given[name] - value).max() / max(np.abs(value).max(), 1e-300))
            for name, value in expected.items()
        }
    return found


def _outcome(case: Case, device: str, gradient: str, calls: int) -> dict[str, np.ndarray]:
    """Weights, the last gradient, all losses and the spikes of the last trial."""
    current, trials = session(case, device, gradient=gradient), case.task_trials()
    losses = np.concatenate([current.run(trials, case.batch_size).loss for _ in range(calls)])
    state = current.state()
    found = {name: state[name] for name in ("w_in", "w_rec", "w_out")}
    found |= {f"gradient of {name}": value for name, value in current.gradient().items()}
    found |= {"loss": losses, "spikes": current.spikes()}
    current.close()
    return found


def solve(seed: int, seconds: float) -> dict[str, Any]:
    """Train evidence accumulation with its recipe until it is solved or the time is over."""
    from eprop_brian.runs.config import RunConfig

    run = {"seed": seed, "device": "cuda"}
    before = time.perf_counter()
    trainer = RunConfig.from_recipe("evidence-accumulation", run=run).make_trainer()
    started = time.perf_counter()
    while not trainer.solved and time.perf_counter() - started < seconds:
        trainer.train(trainer.iteration + 20, progress=False)
    result = {
        "solved": trainer.solved,
        "iterations": trainer.iteration,
        "seconds": time.perf_counter() - started,
        "seconds to begin": started - before,
        "error": trainer.confirmation.error if trainer.confirmation else None,
    }
    trainer.close()
    return result


def least_bytes(built: Any) -> int:
    """Bytes that a trial's history and results are, written once and read once."""
    from eprop_brian.steps.blocks import Store

    total = 0
    for name, group in built.groups.items():
        if isinstance(group, Store) and name.endswith(("_history", "_results")):
            variables = [group.variables[v] for v in group.names]
            total += sum(v.size * np.dtype(v.dtype).itemsize for v in variables)
    return 2 * total


def delivery_bytes(case: Case, rate: float, itemsize: int) -> float:
    """Bytes of the rows of weights that the spikes of a trial read, and of the lists of spikes.

    A spike stands in the list of its step and in that of its neuron: each is written once and read
    once for every matrix. `rate` is that of the recurrent neurons, in Hz.
    """
    listed = 2 * np.dtype(np.int32).itemsize
    n_in = float(case.patterns.sum(axis=(1, 2))[case.pattern].mean())
    n_rec = rate * case.n_neurons * case.n_steps * case.dt / 1000
    of_input = case.n_neurons * itemsize + 2 * listed
    of_recurrent = (case.n_neurons + case.n_out) * itemsize + 3 * listed
    return n_in * of_input + n_rec * of_recurrent


def timings(
    n_neurons: int,
    batches: Sequence[int],
    most: int,
    steps: int,
    gradient: str,
    dtype: str,
    repeats: int,
) -> list[dict[str, Any]]:
    """Trials per second of one program, which takes up to `most`, for batches of several sizes."""
    case = evidence_accumulation(n_neurons, most, most, n_steps=steps)
    current = session(case, "cuda", gradient=gradient, dtype=dtype, profile=True)
    start, rows = current.state(), []
    least = least_bytes(current.program.built) if gradient == "factored" else None
    for batch in batches:
        small = case.small(batch)
        trials = small.task_trials()
        seconds, stages = [], []
        for repeat in range(repeats + 1):  # the first is to warm up
            current.restore(start)
            before = time.perf_counter()
            outcome = current.run(trials, batch)
            if repeat:
                seconds.append(time.perf_counter() - before)
                stages.append(current.program.stage_seconds())
        on_gpu = {name: median(s[name] for s in stages) for name in stages[0] if stages[0][name]}
        rows.append(
            {
                "neurons": n_neurons,
                "batch": batch,
                "gradient": gradient,
                "dtype": dtype,
                "trials per second on the GPU": batch / sum(on_gpu.values()),
                "end to end, per second": batch / median(seconds),
                "stages, ms": {name: 1e3 * value for name, value in on_gpu.items()},
                "least bytes per trial": least,
                "with weights and lists": least
                and least
                + delivery_bytes(small, float(outcome.rate.mean()), np.dtype(dtype).itemsize),
            }
        )
    current.close()
    return rows


def cpp_timings(n_neurons: int, batch: int, steps: int, workers: int) -> dict[str, Any]:
    """The same on the ``cpp`` device."""
    from benchmarks import ours

    case = evidence_accumulation(n_neurons, batch, batch, n_steps=steps)
    found = ours.measure(case, trials=batch, repeats=2, workers=workers)
    return {
        "neurons": n_neurons,
        "batch": batch,
        "workers": workers,
        "end to end, per second": 1 / found.seconds_per_trial,
    }


def compile_all(jobs: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """Compile side by side what `jobs` (a function and its arguments) need.

    Returns what failed, and the seconds of each of the others.
    """
    found: dict[str, Any] = {}
    with _processes() as pool:
        running = [(job, pool.submit(_seconds, *job)) for job in jobs]
        for (function, *arguments), future in running:
            name = " ".join([function.__name__.strip("_"), *map(str, arguments)])
            try:
                found[name] = round(future.result(), 1)
            except Exception as error:
                found[name] = f"{type(error).__name__}: {str(error)[:500]}"
    return found


def _seconds(function: Callable[..., None], *arguments: Any) -> float:
    before = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - before


def _compile_timed(n_neurons: int, most: int, steps: int, gradient: str, dtype: str) -> None:
    case = evidence_accumulation(n_neurons, most, most, n_steps=steps)
    session(case, "cuda", gradient=gradient, dtype=dtype, profile=True).close()


def _compile_cpp(n_neurons: int, batch: int, steps: int, workers: int) -> None:
    from eprop_brian.training.workers import ParallelSession

    case = evidence_accumulation(n_neurons, batch, batch, n_steps=steps)
    if workers == 1:
        session(case, "cpp").close()
        session(case, "cpp", profile=True).close()
        return
    ParallelSession(
        case.network(gradient="factored"),
        case.task_trials(),
        case.learning_window,
        case.weights(),
        device="cpp",
        dtype="float64",
        workers=workers,
    ).close()


def _compile_updated(name: str, steps: int, device: str, gradient: str) -> None:
    session(_UPDATED[name](steps), device, gradient=gradient).close()


def _compile_recorded(path: Path, gradient: str) -> None:
    from eprop_brian.training.reference import load_case
    from eprop_brian.training.replay import replay

    # Updates in every step have no factored program.
    with suppress(ValueError):
        replay(load_case(path, gradient), "cuda").close()


def _compile_recipe() -> None:
    from eprop_brian.runs.config import RunConfig

    run = {"seed": 1, "device": "cuda"}
    RunConfig.from_recipe("evidence-accumulation", run=run).make_trainer().close()


def markdown(found: dict[str, Any]) -> str:
    """The report for people to read."""
    lines = ["# The cuda device", ""]
    speed = found.get("bandwidth, bytes per second")
    for name, part in found.items():
        lines += [f"## {name}", ""]
        if isinstance(part, list):
            lines += _table(part, speed if isinstance(speed, float) else None)
        elif isinstance(part, dict):
            lines += [f"- {key}: {value}" for key, value in part.items()]
        else:
            lines += [f"{part:.4g}"]
        lines.append("")
    return "\n".join(lines)


def _table(rows: Sequence[dict[str, Any]], speed: float | None) -> list[str]:
    rows = [dict(row) for row in rows]
    for row in rows:
        least = row.get("least bytes per trial")
        if speed and least:
            rate = row["trials per second on the GPU"]
            row["of the roofline"] = rate * least / speed
            row["of that with weights and lists"] = rate * row["with weights and lists"] / speed
    header = list(rows[0]) if rows else []
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    for row in rows:
        cells = [f"{row[k]:.4g}" if isinstance(row[k], float) else str(row[k]) for k in header]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _numbers(_context: Any, _parameter: Any, text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--minutes", default=8.0, show_default=True, help="All of it.")
@click.option("--batch", default=512, show_default=True, help="What is measured first.")
@click.option("--batches", default="1,8,64,512,1024", show_default=True, callback=_numbers)
@click.option("--neurons", default="100,200,500,1000,2000", show_default=True, callback=_numbers)
@click.option(
    "--large-batch", default=64, show_default=True, help="Of more than the fewest neurons."
)
@click.option("--steps", default=2250, show_default=True, help="Of a trial.")
@click.option("--repeats", default=5, show_default=True)
@click.option(
    "--cases",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(__file__).parents[1] / "tests" / "reference",
    help="Folder of recorded runs.",
)
@click.option("--compile-only", is_flag=True, help="Fill the cache; needs no GPU.")
def main(
    out: Path,
    minutes: float,
    batch: int,
    batches: list[int],
    neurons: list[int],
    large_batch: int,
    steps: int,
    repeats: int,
    cases: Path,
    compile_only: bool,
) -> None:
    """Verify and measure the cuda device."""
    report = Report(out, minutes)
    fewest, *larger = sorted(neurons)
    most, workers = max(*batches, batch), os.cpu_count() or 1
    recorded = sorted(cases.glob("*.npz"))
    kinds = [("factored", "float64"), ("online", "float64"), ("factored", "float32")]
    cpp_first = [(fewest, batch, steps, count) for count in sorted({1, workers})]
    # On one core a large network takes seconds a trial.
    cpp_last = [(n, min(4, large_batch), steps, 1) for n in larger[-1:]]
    cpp_last += [(n, large_batch, steps, workers) for n in larger[-1:] if workers > 1]
    jobs: list[tuple[Any, ...]] = [(_compile_timed, fewest, most, steps, *kind) for kind in kinds]
    jobs += [(_compile_timed, n, large_batch, steps, *kinds[0]) for n in larger]
    jobs += [
        (_compile_updated, name, steps, device, gradient)
        for name in _UPDATED
        for device in ("cuda", "cpp")
        for gradient in ("factored", "online")
    ]
    jobs += [(_compile_recorded, path, g) for path in recorded for g in ("factored", "online")]
    jobs += [(_compile_recipe,)]
    jobs += [(_compile_cpp, *case) for case in cpp_first + cpp_last]
    report.part("compiling, seconds", 60, lambda: compile_all(jobs))
    if compile_only:
        return
    report.part("recorded runs", 30, lambda: verify(recorded))
    for name, make in _UPDATED.items():
        report.part(f"deviation from cpp, {name}", 20, partial(_deviations_of, make, steps))
    report.part("bandwidth, bytes per second", 15, bandwidth)

    def timed(
        name: str, n: int, batches: Sequence[int], most: int, gradient: str, dtype: str
    ) -> None:
        report.part(name, 20, lambda: timings(n, batches, most, steps, gradient, dtype, repeats))

    timed(f"batch {batch}", fewest, [batch], most, *kinds[0])
    report.part(f"cpp, batch {batch}", 20, lambda: [cpp_timings(*case) for case in cpp_first])
    report.part("evidence accumulation", 90, lambda: solve(1, min(120, report.seconds_left / 3)))
    for gradient, dtype in kinds:
        timed(f"{gradient}, {dtype}", fewest, batches, most, gradient, dtype)
    for n in larger:
        timed(f"{n} neurons", n, [large_batch], large_batch, *kinds[0])
    for n in larger[-1:]:
        report.part(f"cpp, {n} neurons", 45, lambda: [cpp_timings(*case) for case in cpp_last])
    click.echo((out / "cuda.md").read_text())


if __name__ == "__main__":
    main()
