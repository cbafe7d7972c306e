"""``python -m benchmarks``: measure everything in one run on this machine, print it and keep it.

What is compared are ratios within the run. Peers are measured where they are installed
(``pip install -e '.[benchmarks]'`` gets NEST; mlGeNN builds from source, see `mlgenn_peer`).
Writes ``measurements.csv``, ``tables.md``, ``cost.png`` and ``balanced.png`` into the folder given
by ``--out``.
"""

from __future__ import annotations

import csv
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks import balanced, figure, mlgenn_peer, nest_peer, ours, stock, yardstick
from benchmarks.cases import Case, Measurement, evidence_accumulation, pattern_generation

#: What the authors' code needed, elsewhere, to solve evidence accumulation and for a trial of it.
_AUTHORS = "220 s, 280 iterations (TensorFlow code, random feedback, 2 cores; recorded elsewhere)"
_AUTHORS_SECONDS_PER_TRIAL = 0.010
_PARTS = ("size", "length", "pattern", "online", "flags", "solve", "limits", "balanced")
#: Brian2's flags for GCC, and those that leave something out.
_FLAGS = {
    "Brian2's": None,
    "without -ffast-math": ("-w", "-O3", "-march=native", "-std=c++11"),
    "without -march=native": ("-w", "-O3", "-ffast-math", "-fno-finite-math-only", "-std=c++11"),
}
#: Neurons, simulated seconds of a repeat, repeats.
_BALANCED = ((20, 1.0, 3), (50, 1.0, 3), (100, 1.0, 5), (200, 0.5, 3), (400, 0.2, 3))
#: Multiplications and multiply-adds that a neuron needs in a step (LIF, ALIF), by stage; the
#: learning signal adds one for each output to the backward pass.
_OPERATIONS = {"neurons": (9, 12), "backward": (4, 7)}


class Report:
    """Measurements as they come, and the tables made of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.measurements: list[Measurement] = []
        self.tables: list[str] = []

    def add(self, measure: Callable[..., Measurement], case: Case, **options: Any) -> None:
        """Measure, say so, and keep it; a contender that fails is named and left out."""
        before = time.perf_counter()
        try:
            found = measure(case, **options)
        except Exception as error:  # one contender must not cost the others their results
            module = measure.__module__.rpartition(".")[2]
            click.echo(f"  {module} failed: {type(error).__name__}: {error}", err=True)
            return
        self.measurements.append(found)
        click.echo(
            f"  {found.contender:28} N {found.n_neurons:5} T {found.n_steps:5}: "
            f"{found.seconds_per_trial * 1e3:10.3f} ms a trial "
            f"({time.perf_counter() - before:.0f} s to measure)"
        )

    def table(self, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table in Markdown and keep it."""
        rows = [list(header), *map(list, rows)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
        lines = [
            f"| {' | '.join(c.ljust(w) for c, w in zip(r, widths, strict=True))} |" for r in rows
        ]
        lines.insert(1, f"|{'|'.join('-' * (w + 2) for w in widths)}|")
        self.tables.append("\n".join([f"### {title}", "", *lines]))
        click.echo("\n" + self.tables[-1] + "\n")

    def costs(self, title: str, found: Sequence[Measurement]) -> None:
        """A table of medians, ranges and ratios, each size against this project's `factored`."""
        rows = []
        for m in found:
            reference = next(
                (
                    o
                    for o in found
                    if o.contender == "eprop_brian factored"
                    and (o.n_neurons, o.n_steps) == (m.n_neurons, m.n_steps)
                ),
                None,
            )
            ratio = f"{m.seconds_per_trial / reference.seconds_per_trial:.3g}" if reference else ""
            spread = f"{min(m.repeats) * 1e3:.3g}-{max(m.repeats) * 1e3:.3g}"
            memory = f"{m.peak_memory_mb:.0f}"
            if m.driver_memory_mb:
                memory += f" + {m.driver_memory_mb:.0f}"
            rows.append(
                (m.contender, str(m.n_neurons), str(m.n_steps))
                + (f"{m.seconds_per_trial * 1e3:.3g}", spread, ratio)
                + (_loss_deviation(m, reference), memory.replace("nan + ", "+ "))
            )
        header = ("", "N", "T", "ms a trial", "range", "ratio", "losses", "peak MB")
        self.table(title, header, rows)

    def write(self) -> None:
        """Write the measurements, the tables and the figure."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "measurements.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["contender", "case", "n_neurons", "n_steps", "seconds_per_trial", "repeats"]
                + ["peak_memory_mb", "stages"]
            )
            for m in self.measurements:
                stages = ";".join(f"{k}={v:.6g}" for k, v in m.stages.items())
                repeats = ";".join(f"{r:.6g}" for r in m.repeats)
                writer.writerow(
                    [m.contender, m.case, m.n_neurons, m.n_steps, f"{m.seconds_per_trial:.6g}"]
                    + [repeats, f"{m.peak_memory_mb:.0f}", stages]
                )
        (self.folder / "tables.md").write_text("\n\n".join(self.tables) + "\n", encoding="utf-8")
        written = ["measurements.csv", "tables.md"]
        cases = {m.case for m in self.measurements}
        if "evidence-accumulation" in cases:
            figure.draw(self.measurements, self.folder / "cost.png")
            written.append("cost.png")
        if balanced.CASE in cases:
            figure.draw_balanced(self.measurements, self.folder / "balanced.png")
            written.append("balanced.png")
        for name in written:
            click.echo(f"wrote {self.folder / name}")


def _loss_deviation(m: Measurement, reference: Measurement | None) -> str:
    """Largest relative deviation of the losses before the first update."""
    if reference is None or not m.losses:
        return ""
    # Pattern generation makes an update after every trial.
    n = 1 if m.case == "pattern-generation" else min(len(m.losses), len(reference.losses))
    ratios = (abs(a / b - 1) for a, b in zip(m.losses[:n], reference.losses[:n], strict=True))
    return f"{max(ratios):.0e}"


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="benchmarks/out")
@click.option(
    "--only", multiple=True, type=click.Choice(_PARTS), help="These parts alone (default: all)."
)
@click.option("--sizes", default="100,400,1000", show_default=True, help="Neurons.")
@click.option("--lengths", default="1200,2250,4500,9000", show_default=True, help="Steps.")
@click.option("--seeds", default=3, show_default=True, help="Runs to a solution.")
@click.option("--no-peers", is_flag=True, help="Leave out NEST and mlGeNN.")
def main(
    out: Path, only: tuple[str, ...], sizes: str, lengths: str, seeds: int, no_peers: bool
) -> None:
    """Measure this project, a hand-written program, Brian2's stock templates and peers."""
    for module in (ours, yardstick, stock):
        if reason := module.available():
            raise click.ClickException(reason)
    report = Report(out)
    parts = only or _PARTS
    peers = [] if no_peers else [m for m in (nest_peer, mlgenn_peer) if _usable(m)]
    click.echo(f"{_processor()}, {_cores()} cores, Python {platform.python_version()}")
    if "size" in parts:
        _by_size(report, [int(n) for n in sizes.split(",")], peers)
    if "length" in parts:
        _by_length(report, [int(t) for t in lengths.split(",")], peers)
    if "pattern" in parts:
        _pattern_generation(report, peers)
    if "online" in parts:
        _online(report)
    if "flags" in parts:
        _flags(report)
    if "solve" in parts:
        _time_to_solve(report, seeds)
    if "limits" in parts:
        _limits(report)
    if "balanced" in parts:
        _balanced(report)
    report.write()


def _usable(module: Any) -> bool:
    reason = module.available()
    if reason:
        click.echo(f"left out: {reason}")
    return reason is None


def _by_size(report: Report, sizes: list[int], peers: list) -> None:
    first = len(report.measurements)
    for n in sizes:
        batch = 64 if n <= 100 else 16
        case = evidence_accumulation(n, n_trials=batch, batch_size=batch)
        click.echo(f"evidence accumulation, {n} neurons, batches of {batch}")
        repeats = 7 if n <= 100 else 3
        for options in (
            {},
            {"dtype": "float32"},
            {"workers": _cores()},
        ):
            if options.get("workers") != 1:
                report.add(ours.measure, case, trials=batch, repeats=repeats, **options)
        few = 8 if n <= 100 else 2
        small = case.small(few)
        report.add(ours.measure, small, trials=few, gradient="online")
        for dtype in ("float64", "float32"):
            report.add(yardstick.measure, case, trials=batch, repeats=repeats, dtype=dtype)
        if n <= 400:
            report.add(stock.measure, small, trials=few, repeats=3 if n <= 100 else 1)
        for peer in peers:
            report.add(peer.measure, small, trials=few, repeats=3 if n <= 100 else 1)
    title = "Evidence accumulation: cost of a trial (forward, gradient, update)"
    found = report.measurements[first:]
    report.costs(title, found)
    for m in found:
        if m.contender == f"eprop_brian factored {_cores()} workers" and m.n_neurons == 100:
            times = _AUTHORS_SECONDS_PER_TRIAL / m.seconds_per_trial
            click.echo(
                f"{times:.3g} times as fast as the authors' TensorFlow code, recorded elsewhere"
            )


def _by_length(report: Report, lengths: list[int], peers: list) -> None:
    first = len(report.measurements)
    for n_steps in lengths:
        click.echo(f"evidence accumulation, 100 neurons, {n_steps} steps")
        case = evidence_accumulation(100, n_trials=16, batch_size=16, n_steps=n_steps)
        report.add(ours.measure, case, trials=16, repeats=5)
        report.add(yardstick.measure, case, trials=16, repeats=5)
        small = case.small(2)
        report.add(ours.measure, small, trials=2, gradient="online")
        for peer in peers:
            report.add(peer.measure, small, trials=2, repeats=1)
    report.costs(
        "Evidence accumulation: cost against the length of a trial", report.measurements[first:]
    )


def _pattern_generation(report: Report, peers: list) -> None:
    first = len(report.measurements)
    for n, trials in ((100, 100), (1000, 50)):
        click.echo(f"pattern generation, {n} neurons")
        case = pattern_generation(n, n_trials=trials)
        report.add(ours.measure, case, trials=trials)
        report.add(yardstick.measure, case, trials=trials)
        for peer in peers:
            few = 20 if n == 100 else 2
            report.add(peer.measure, pattern_generation(n, n_trials=few), trials=few, repeats=1)
    title = "Pattern generation, 1000 steps, an update after every trial"
    report.costs(title, report.measurements[first:])


def _online(report: Report) -> None:
    """The traces alone: nanoseconds per synapse and step onto ALIF neurons."""
    click.echo("the online program against Brian2's own synapse loop")
    case = evidence_accumulation(100, n_trials=4, batch_size=4)
    rows, per_step = [], {}
    stages = stock.measure(case, trials=4).stages
    per_step["Brian2 stock"] = stages[stock.ONLINE_ALIF]
    # ALIF neurons alone, so that all synapses but those of the readouts are of that kind.
    alif = _only_alif(case)
    synapses = alif.n_alif * (alif.n_in + alif.n_neurons - 1)
    for dtype in ("float64", "float32"):
        found = ours.measure(alif, trials=4, gradient="online", dtype=dtype)
        per_step[f"eprop_brian online {dtype}"] = found.stages["traces"] / (synapses * case.n_steps)
    for name, seconds in per_step.items():
        ratio = per_step["Brian2 stock"] / seconds
        rows.append((name, f"{seconds * 1e9:.3f}", f"{ratio:.3g}"))
    report.table("Traces online, ns per ALIF synapse and step", ("", "ns", "times faster"), rows)


def _only_alif(case: Case) -> Case:
    return replace(case, n_lif=0, n_alif=case.n_neurons)


def _flags(report: Report) -> None:
    """What the compiler's flags are worth, and what they change."""
    click.echo("flags of the compiler")
    case = evidence_accumulation(100, n_trials=64)
    rows = []
    for gradient in ("factored", "online"):
        here = case if gradient == "factored" else case.small(8)
        found = {
            name: ours.measure(
                here, trials=here.n_trials, repeats=5, gradient=gradient, flags=flags
            )
            for name, flags in _FLAGS.items()
        }
        default = found["Brian2's"]
        for name, m in found.items():
            times = m.seconds_per_trial / default.seconds_per_trial
            rows.append(
                (gradient, name, f"{m.seconds_per_trial * 1e3:.3g}", f"{times:.3g}")
                + (_loss_deviation(m, default),)
            )
    header = ("program", "flags", "ms a trial", "ratio", "losses")
    report.table("Flags of the compiler", header, rows)


def _bounds(case: Case, limits: dict[str, float]) -> dict[str, float]:
    """What the machine's limits allow at best, in seconds a trial, for some of the stages."""
    n_spikes = case.spikes.sum() / case.n_trials + yardstick.run(case).spikes.mean()
    moved = n_spikes * case.n_neurons * 8
    weights = case.n_neurons * (case.n_in + case.n_neurons) * 8
    speed = limits["multiply_adds_per_second_float64"]
    bounds = {
        # A row of weights is read for every spike, where neurons are updated, and a row of results.
        "neurons": moved / limits[f"{'l2' if weights < 2**20 else 'l3'}_bytes_per_second"],
        "accumulate": moved / limits["l2_bytes_per_second"],
        "backward": 0.0,
    }
    for stage, (lif, alif) in _OPERATIONS.items():
        more = case.n_out if stage == "backward" else 0
        operations = case.n_lif * (lif + more) + case.n_alif * (alif + more)
        bounds[stage] += operations * case.n_steps / speed
    return bounds


def _balanced(report: Report) -> None:
    """A balanced network that learns, against Brian2 by hand."""
    if reason := balanced.available():
        click.echo(f"left out: {reason}")
        return
    rows = []
    for n, seconds, repeats in _BALANCED:
        click.echo(f"balanced network of {n} neurons that learns van der Pol's oscillator")
        found, same = balanced.measure(n, seconds, repeats)
        report.measurements += found
        times = balanced.ratio(*found)
        for m, ratio in zip(found, ("1", f"{times:.3g}"), strict=True):
            spread = f"{min(m.repeats):.3g}-{max(m.repeats):.3g}"
            rows.append(
                (m.contender, str(n), f"{m.seconds_per_trial:.3g}", spread, ratio)
                + (same, f"{m.losses[0]:.6g}", f"{m.peak_memory_mb:.0f}")
            )
            click.echo(
                "  {}: {} s a simulated second ({}), ratio {}".format(*rows[-1][:1], *rows[-1][2:5])
            )
    header = ("", "N", "s a simulated s", "range", "ratio", "equal spikes", "NMSE", "peak MB")
    report.table("A balanced network that learns", header, rows)


def _time_to_solve(report: Report, seeds: int) -> None:
    click.echo(f"evidence accumulation until it is solved; for comparison {_AUTHORS}")
    rows = []
    for feedback in ("random", "symmetric"):
        runs = []
        for seed in range(1, seeds + 1):
            found = ours.solve(seed, feedback=feedback)
            runs.append(found)
            row = (feedback, str(seed), "yes" if found.solved else "no", str(found.iterations))
            rows.append(
                (*row, f"{found.seconds:.1f}", f"{found.error:.3f}", f"{found.start_seconds:.1f}")
            )
            click.echo("  {}, seed {}: solved {}, {} iterations, {} s".format(*rows[-1]))
        medians = (
            f"{median(r.iterations for r in runs):g}",
            f"{median(r.seconds for r in runs):.1f}",
        )
        rows.append((feedback, "median", "", *medians, "", ""))
    header = ("feedback", "seed", "solved", "iterations", "seconds", "error", "start, s")
    report.table(f"Time to solve evidence accumulation, {_cores()} cores", header, rows)


def _limits(report: Report) -> None:
    """Where the time goes, and what the machine could do."""
    limits = yardstick.machine_limits()
    rows = [(name.replace("_", " "), f"{value:.3g}") for name, value in limits.items()]
    report.table("What one core of this machine can do", ("", "per second"), rows)
    for n in (100, 1000):
        batch = 64 if n == 100 else 16
        case = evidence_accumulation(n, n_trials=batch, batch_size=batch)
        mine = ours.measure(case, trials=batch, repeats=5)
        hand = yardstick.measure(case, trials=batch, repeats=5)
        stages = {k: v for k, v in mine.stages.items() if v}
        bounds = _bounds(case, limits)
        stage_rows = []
        for name, value in stages.items():
            bound = bounds.get(name)
            row = (name, f"{value * 1e3:.4f}", f"{value / sum(stages.values()):.0%}")
            limit = (f"{bound * 1e3:.4f}", f"{bound / value:.0%}") if bound else ("", "")
            stage_rows.append((*row, *limit))
        stage_rows.append(("sum", f"{sum(stages.values()) * 1e3:.4f}", "", "", ""))
        stage_rows += [
            (f"by hand: {k}", f"{v * 1e3:.4f}", "", "", "") for k, v in hand.stages.items()
        ]
        header = ("", "ms", "share", "at best, ms", "of the limit")
        report.table(f"Stages of a trial, {n} neurons", header, stage_rows)
    start = ours.start_seconds(evidence_accumulation(100, n_trials=64))
    report.table(
        "Start of an unchanged network", ("", "s"), [("to the first call", f"{start:.2f}")]
    )


def _cores() -> int:
    from eprop_brian.base.pieces import cores

    return cores()


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
