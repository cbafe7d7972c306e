"""Large sparse networks: time and memory of a trial of pattern generation, with learning.

Every neuron has 100 synapses from others, drawn at random, and hears 10 of 100 inputs; the readout
hears all neurons. Neurons, inputs and learning are those of the recipe, with random feedback and a
learning rate of the readout that falls with the number of neurons (`_READOUT_ETA`), since all of
them move one output. A trial has 1000 steps; an update follows each.

``python -m benchmarks.large --out docs/performance`` measures sizes from 10 000 neurons on and
writes ``large.csv``, ``large.md`` and ``large.png``. NEST computes the same networks, with the same
synapses and weights, where it is installed.
``--learn N`` trains a network of N neurons first, and keeps its losses in ``large_learning.csv``.

Seconds are those of the processors, user and system, of one thread: on a machine that has other
work they stay what they are, as far as its caches permit. A trial's synaptic events are the spikes
that arrive at recurrent synapses, each counted once: it costs an addition forwards, and one for the
gradient.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from benchmarks import nest_peer
from benchmarks.cases import Case, in_own_process, peak_memory_mb, processor_seconds
from benchmarks.tables import markdown_table

if TYPE_CHECKING:
    from eprop_brian import Network
    from eprop_brian.tasks import Task

__all__ = ["Measured", "case", "learn", "measure", "network"]

FAN_OUT = 100
#: Of a readout of one neuron. The recipe's rate for 100 of them is of this order.
_READOUT_ETA = 1.0
_SCALE = 0.8
#: Sizes at which a history in double precision leaves room on a small machine.
_DOUBLE_UP_TO = 200_000
#: What is measured takes so long, at least.
_LEAST_SECONDS = 1.0


@dataclass(frozen=True)
class Measured:
    """What a network took.

    Attributes
    ----------
    contender : str
    n_neurons, n_synapses, n_steps : int
    rate : float
        Mean of the trials, in Hz.
    seconds : float
        Of the processors, for a trial with its gradient and update.
    setup_seconds : float
        Of the processors, for drawing the network and its weights; NEST: for creating them.
    memory_mb : float
        Peak of the program and of the Python process that drives it, together.
    """

    contender: str
    n_neurons: int
    n_synapses: int
    n_steps: int
    rate: float
    seconds: float
    setup_seconds: float
    memory_mb: float

    @property
    def events(self) -> float:
        """Spikes that arrive at recurrent synapses in a trial."""
        return self.rate * 1e-3 * self.n_steps * self.n_synapses

    @property
    def events_per_second(self) -> float:
        """Of the processor's seconds, gradient and update included."""
        return self.events / self.seconds

    @property
    def updates_per_second(self) -> float:
        """Synapses that get a gradient and an update."""
        return self.n_synapses / self.seconds


def network(n_neurons: int) -> tuple[Task, Network]:
    """The task and the network of a size."""
    from eprop_brian import RunConfig
    from eprop_brian.network.parts import Projection

    sparse = f"{{w_in = 0.1, w_rec = {FAN_OUT / n_neurons!r}}}"
    config = RunConfig.from_recipe(
        "pattern-generation",
        settings=[
            f"size.lif={n_neurons}",
            "network.feedback=random",
            f"network.connectivity={sparse}",
            f"network.weight_scale={{w_in = {_SCALE}, w_rec = {_SCALE}}}",
        ],
    )
    task = config.make_task()
    made = config.make_network(task)
    readout_eta = _READOUT_ETA / n_neurons
    parts = [
        replace(part, eta=readout_eta)
        if isinstance(part, Projection) and part.target == "readout"
        else part
        for part in made.parts
    ]
    return task, replace(made, parts=parts)


def measure(n_neurons: int, dtype: str, repeats: int) -> Measured:
    """Run some trials with learning, in a process of its own; the first does not count."""
    return in_own_process(_measure, n_neurons, dtype, repeats)


def _measure(n_neurons: int, dtype: str, repeats: int) -> Measured:
    from eprop_brian.network.program import make_program
    from eprop_brian.training.session import Session

    before = time.process_time()
    task, made = network(n_neurons)
    weights = made.initial_weights(1)
    setup_seconds = time.process_time() - before
    n_synapses = int(made.adjacency["w_rec"].nnz)
    trials = task.trials(1, "train", 0, 1)
    session = Session(made, make_program("cpp", dtype), trials, task.learning_window, weights)
    del weights
    program: Any = session.program
    session.run(trials, 1)
    before, seconds = processor_seconds(program.process_id), 0.0
    rates: list[float] = []
    # The system counts in hundredths of a second.
    while len(rates) < repeats or seconds < _LEAST_SECONDS:
        rates.append(float(session.run(trials, 1).rate[0]))
        seconds = processor_seconds(program.process_id) - before
    memory = peak_memory_mb(program.process_id) + peak_memory_mb()
    session.close()
    return Measured(
        contender=f"eprop_brian {dtype}",
        n_neurons=n_neurons,
        n_synapses=n_synapses,
        n_steps=task.n_steps,
        rate=sum(rates) / len(rates),
        seconds=seconds / len(rates),
        setup_seconds=setup_seconds,
        memory_mb=memory,
    )


def case(n_neurons: int, n_trials: int = 2) -> Case:
    """The network as other contenders take it, with sparse matrices."""
    from benchmarks.cases import case_of

    task, made = network(n_neurons)
    return case_of("pattern-generation", task, made, n_trials, batch_size=1, seed=1)


def measure_nest(n_neurons: int) -> Measured:
    """A trial in NEST, in a process of its own."""
    from eprop_brian.base.sparse import values_of

    made = case(n_neurons)
    result = nest_peer.run(made)
    return Measured(
        contender="NEST",
        n_neurons=n_neurons,
        n_synapses=np.size(values_of(made.w_rec)),
        n_steps=made.n_steps,
        rate=math.nan,
        seconds=result.cpu_seconds / (made.n_trials - 1),
        setup_seconds=result.setup_seconds,
        memory_mb=result.peak_memory_mb,
    )


def learn(n_neurons: int, iterations: int, out: Path, dtype: str = "float32") -> None:
    """Train a network, and write loss and rate of every iteration as they come."""
    from eprop_brian.network.program import make_program
    from eprop_brian.training.session import Session

    task, made = network(n_neurons)
    trials = task.trials(1, "train", 0, 1)
    weights = made.initial_weights(1)
    session = Session(made, make_program("cpp", dtype), trials, task.learning_window, weights)
    del weights
    with out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["n_neurons", "iteration", "loss", "rate"])
        for iteration in range(iterations):
            outcome = session.run(trials, 1)
            loss, rate = float(outcome.loss[0]), float(outcome.rate[0])
            writer.writerow([n_neurons, iteration, f"{loss:.6g}", f"{rate:.4g}"])
            file.flush()
            if iteration % 10 == 0:
                click.echo(f"iteration {iteration}: loss {loss:.4g}, {rate:.3g} Hz")
    program: Any = session.program
    memory = peak_memory_mb(program.process_id) + peak_memory_mb()
    session.close()
    click.echo(f"{n_neurons} neurons learned in {memory / 1e3:.2f} GB, Python included")


@click.command(help=__doc__)
@click.option("--sizes", default="10000,30000,100000,300000,1000000", show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@click.option("--nest-sizes", default="1000,3000,10000,30000", show_default=True)
@click.option("--learn", "learned", type=click.IntRange(1), help="Train so many neurons first.")
@click.option("--iterations", type=click.IntRange(1), default=60, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="benchmarks/out")
def main(
    sizes: str, repeats: int, nest_sizes: str, learned: int | None, iterations: int, out: Path
) -> None:
    """Measure, and write what was found; rows that the table has are not measured again."""
    out.mkdir(parents=True, exist_ok=True)
    if learned is not None:
        learn(learned, iterations, out / "large_learning.csv")
    table = out / "large.csv"
    rows = _read(table)
    known = {(row.contender, row.n_neurons) for row in rows}
    todo = [("eprop_brian float32", n) for n in _numbers(sizes)]
    todo += [("eprop_brian float64", n) for n in _numbers(sizes) if n <= _DOUBLE_UP_TO]
    if reason := nest_peer.available():
        click.echo(f"left out: {reason}")
    else:
        todo += [("NEST", n) for n in _numbers(nest_sizes)]
    for contender, n in todo:
        if (contender, n) in known:
            continue
        if contender == "NEST":
            rows.append(measure_nest(n))
        else:
            rows.append(measure(n, contender.split()[1], repeats))
        _write(table, rows)
        found = rows[-1]
        click.echo(
            f"{contender}, {n} neurons: {found.seconds:.3g} s a trial, {found.memory_mb:.0f} MB"
        )
    text = _markdown(rows)
    (out / "large.md").write_text(text, encoding="utf-8")
    click.echo(text)
    _draw(rows, out)


def _numbers(text: str) -> list[int]:
    return [int(float(number)) for number in text.split(",") if number.strip()]


def _read(path: Path) -> list[Measured]:
    if not path.exists():
        return []
    types = {"contender": str, "n_neurons": int, "n_synapses": int, "n_steps": int}
    with path.open(newline="") as file:
        return [
            Measured(**{name: types.get(name, float)(value) for name, value in row.items()})
            for row in csv.DictReader(file)
        ]


def _write(path: Path, rows: Sequence[Measured]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Measured)])
        writer.writeheader()
        for row in rows:
            values = asdict(row).items()
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values})


def _growth(rows: Sequence[Measured]) -> float:
    """Exponent by which the time of a trial grows with the number of neurons."""
    first, last = rows[0], rows[-1]
    return math.log(last.seconds / first.seconds) / math.log(last.n_neurons / first.n_neurons)


def _series(rows: Sequence[Measured]) -> dict[str, list[Measured]]:
    """The rows of each contender, by size."""
    names = dict.fromkeys(row.contender for row in rows)
    key = lambda row: row.n_neurons  # noqa: E731
    return {name: sorted((r for r in rows if r.contender == name), key=key) for name in names}


def _markdown(rows: Sequence[Measured]) -> str:
    header = ["", "neurons", "synapses", "Hz", "s a trial", "set up, s", "GB"]
    header += ["10^6 events/s", "10^6 synapses updated/s"]
    lines = []
    for name, of_one in _series(rows).items():
        for row in of_one:
            known = not math.isnan(row.rate)
            cells = [name, f"{row.n_neurons:,}", f"{row.n_synapses:,}"]
            cells += [f"{row.rate:.1f}" if known else "", f"{row.seconds:.3g}"]
            cells += [f"{row.setup_seconds:.2g}", f"{row.memory_mb / 1e3:.2g}"]
            cells += [f"{row.events_per_second / 1e6:.0f}" if known else ""]
            cells += [f"{row.updates_per_second / 1e6:.2g}"]
            lines.append(cells)
    growth = [
        f"The time of a trial of {name} grows as N^{_growth(of_one):.2f} from "
        f"{of_one[0].n_neurons:,} to {of_one[-1].n_neurons:,} neurons."
        for name, of_one in _series(rows).items()
        if len(of_one) > 1
    ]
    return "\n".join([markdown_table(header, lines), *growth]) + "\n"


def _draw(rows: Sequence[Measured], out: Path) -> None:
    """Time, memory and, where a network was trained, its losses."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    styles = {
        "eprop_brian float64": ("#0072B2", "-"),
        "eprop_brian float32": ("#56B4E9", "-"),
        "NEST": ("#D55E00", "--"),
    }
    losses = out / "large_learning.csv"
    n_panels = 2 + losses.exists()
    figure, axes = plt.subplots(1, n_panels, figsize=(4.2 * n_panels, 3.6), layout="constrained")
    for axis, label, value in (
        (axes[0], "processor seconds a trial", lambda row: row.seconds),
        (axes[1], "peak memory (GB)", lambda row: row.memory_mb / 1e3),
    ):
        for name, of_one in _series(rows).items():
            colour, line = styles[name]
            sizes, values = [r.n_neurons for r in of_one], [value(r) for r in of_one]
            axis.plot(sizes, values, line, color=colour, marker="o", markersize=4, label=name)
        axis.set(xscale="log", yscale="log", xlabel="neurons, 100 synapses each", ylabel=label)
    axes[0].legend(frameon=False, loc="lower right")
    if losses.exists():
        with losses.open(newline="") as file:
            trained = [*csv.DictReader(file)]
        curve = [float(row["loss"]) for row in trained]
        axes[2].plot(curve, color="#0072B2")
        n_neurons = int(trained[0]["n_neurons"])
        axes[2].set(xlabel="iteration", ylabel="loss", ylim=(0, None))
        axes[2].set_title(f"{n_neurons:,} neurons, {n_neurons * FAN_OUT:,} synapses", fontsize=10)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(out / "large.png", dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
