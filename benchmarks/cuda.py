"""``python -m benchmarks.cuda --out FOLDER``: the ``cuda`` device on a GPU, in a few minutes.

1. Recorded runs of other simulators are replayed on it, with both gradient programs.
2. Weights after an update are compared with those of the ``cpp`` device.
3. Evidence accumulation is trained until it is solved.
4. Trials per second for several batch sizes and numbers of neurons, with the times of the stages
   by CUDA events, beside the ``cpp`` device on all cores and beside the roofline: the least bytes
   that a trial's history takes, over the bandwidth of this GPU, which is measured.

Writes ``cuda.json`` and ``cuda.md``, after every part. What there is no time for is left out, and
said so. With ``EPROP_BRIAN_CUDA_EMULATED=1`` and small sizes it runs without a GPU, to try it out.
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
        command = [find_nvcc(), f"-arch={architecture()}", "-o", str(program), str(source)]
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
    from eprop_brian.devices import make_program
    from eprop_brian.training.session import Session

    gradient = options.pop("gradient", "factored")
    program = make_program(device, **options)
    network = case.network(gradient=gradient)
    return Session(network, program, case.task_trials(), case.learning_window, case.weights())


def deviations(case: Case) -> dict[str, float]:
    """Largest relative difference of weights between ``cuda`` and ``cpp`` after updates."""
    found = {}
    for gradient in ("factored", "online"):
        weights = {}
        for device in ("cpp", "cuda"):
            current = session(case, device, gradient=gradient)
            current.run(case.task_trials(), case.batch_size)
            weights[device] = current.state()
            current.close()
        found[gradient] = max(
            float(np.abs(weights["cuda"][name] - value).max() / np.abs(value).max())
            for name, value in weights["cpp"].items()
            if name in ("w_in", "w_rec", "w_out")
        )
    return found


def solve(seed: int, seconds: float) -> dict[str, Any]:
    """Train evidence accumulation with its recipe until it is solved or the time is over."""
    from eprop_brian.training.config import RunConfig

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
        "error": trainer.validation.error if trainer.validation else None,
    }
    trainer.close()
    return result


def least_bytes(built: Any) -> int:
    """Bytes that a trial's history and results are, written once and read once."""
    from eprop_brian.network.blocks import Store

    total = 0
    for name, group in built.groups.items():
        if isinstance(group, Store) and name.endswith(("_history", "_results")):
            variables = [group.variables[v] for v in group.names]
            total += sum(v.size * np.dtype(v.dtype).itemsize for v in variables)
    return 2 * total


def timings(
    n_neurons: int, batches: Sequence[int], steps: int, gradient: str, dtype: str, repeats: int
) -> list[dict[str, Any]]:
    """Trials per second of one program for batches of several sizes."""
    case = evidence_accumulation(n_neurons, max(batches), max(batches), n_steps=steps)
    current = session(case, "cuda", gradient=gradient, dtype=dtype, profile=True)
    start, rows = current.state(), []
    least = least_bytes(current.program.built) if gradient == "factored" else None
    for batch in batches:
        trials = case.small(batch).task_trials()
        seconds, stages = [], []
        for repeat in range(repeats + 1):  # the first is to warm up
            current.restore(start)
            before = time.perf_counter()
            current.run(trials, batch)
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
                "trials per second": batch / median(seconds),
                "on the GPU, per second": batch / sum(on_gpu.values()),
                "stages, ms": {name: 1e3 * value for name, value in on_gpu.items()},
                "least bytes per trial": least,
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
        "trials per second": 1 / found.seconds_per_trial,
    }


def compile_all(sizes: Sequence[int], most: int, steps: int) -> dict[str, float]:
    """Compile what `timings` runs, side by side; seconds of each."""
    jobs = [(n, most, steps, "factored", "float64") for n in sizes]
    jobs += [(min(sizes), most, steps, "online", "float64")]
    jobs += [(min(sizes), most, steps, "factored", "float32")]
    with _processes() as pool:
        seconds = pool.map(_compile, *zip(*jobs, strict=True))
        return {" ".join(map(str, job)): s for job, s in zip(jobs, seconds, strict=True)}


def _compile(n_neurons: int, most: int, steps: int, gradient: str, dtype: str) -> float:
    before = time.perf_counter()
    case = evidence_accumulation(n_neurons, most, most, n_steps=steps)
    session(case, "cuda", gradient=gradient, dtype=dtype, profile=True).close()
    return time.perf_counter() - before


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
            row["of the roofline"] = row["on the GPU, per second"] * least / speed
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
def main(
    out: Path,
    minutes: float,
    batches: list[int],
    neurons: list[int],
    large_batch: int,
    steps: int,
    repeats: int,
    cases: Path,
) -> None:
    """Verify and measure the cuda device."""
    report = Report(out, minutes)
    fewest, most = min(neurons), max(*batches, large_batch)
    report.part("compiling, seconds", 60, lambda: compile_all(neurons, most, steps))
    for name, make in _UPDATED.items():
        report.part(f"deviation from cpp, {name}", 45, lambda make=make: deviations(make(steps)))
    report.part("bandwidth, bytes per second", 15, bandwidth)
    report.part(
        "trials per second",
        20,
        lambda: timings(fewest, batches, steps, "factored", "float64", repeats),
    )
    report.part(
        "trials per second, online",
        30,
        lambda: timings(fewest, batches, steps, "online", "float64", repeats),
    )
    report.part(
        "trials per second, float32",
        20,
        lambda: timings(fewest, batches, steps, "factored", "float32", repeats),
    )
    report.part("evidence accumulation", 90, lambda: solve(1, min(120, report.seconds_left / 3)))
    for n in sorted(neurons)[1:]:
        report.part(
            f"trials per second, {n} neurons",
            30,
            lambda n=n: timings(n, [large_batch], steps, "factored", "float64", repeats),
        )
    workers = os.cpu_count() or 1
    for n, batch in ((fewest, max(batches)), (max(neurons), large_batch)):
        report.part(
            f"cpp, {n} neurons",
            45,
            lambda n=n, batch=batch: [
                cpp_timings(n, batch, steps, count) for count in sorted({1, workers})
            ],
        )
    # Last, as it compiles most.
    report.part("recorded runs", 60, lambda: verify(sorted(cases.glob("*.npz"))))
    click.echo((out / "cuda.md").read_text())


if __name__ == "__main__":
    main()
