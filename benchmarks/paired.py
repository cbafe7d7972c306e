"""This package's program and the yardstick in turns, on the same trials: how far apart they are.

``python -m benchmarks.paired`` trains on evidence accumulation with its recipe, a batch of 64
trials a call, by either in turn, so that both see the same of what else the machine does. Seconds
are those of the processor: of Python and of the program that it drives, the call included, and of
the yardstick without its start. With a learning rate of 0 every turn is the same computation,
updates included. It needs Linux.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import click
import numpy as np

from benchmarks import yardstick
from benchmarks.cases import Case, evidence_accumulation, processor_seconds
from benchmarks.tables import markdown_table

__all__ = ["Pair", "markdown", "measure"]

#: Repeats in a turn, of which the fastest counts: the first one brings everything into the caches.
_REPEATS = 3
HEADER = ("N", "float type", "ms a trial", "by hand", "best", "median")


@dataclass(frozen=True)
class Pair:
    """What both took in every turn.

    Attributes
    ----------
    n_neurons : int
    dtype : str
    ours, by_hand : tuple of float
        Processor seconds per trial.
    """

    n_neurons: int
    dtype: str
    ours: tuple[float, ...]
    by_hand: tuple[float, ...]

    @property
    def best(self) -> float:
        """Ratio of the fastest turns."""
        return min(self.ours) / min(self.by_hand)

    @property
    def median(self) -> float:
        """Median of the ratios of the turns."""
        return median(a / b for a, b in zip(self.ours, self.by_hand, strict=True))


def measure(case: Case, dtype: str, turns: int) -> Pair:
    """Run a case by both in turns.

    Parameters
    ----------
    case : Case
    dtype : {"float64", "float32"}
    turns : int

    Raises
    ------
    RuntimeError
        If the losses of the trials are not the same.
    """
    from eprop_brian.devices import ProcessProgram
    from eprop_brian.network.program import make_program
    from eprop_brian.training.session import Session

    case = replace(case, optimizer_parameters={**case.optimizer_parameters, "eta": 0.0})
    trials, program = case.task_trials(), make_program("cpp", dtype)
    session = Session(case.network(), program, trials, case.learning_window, case.weights())
    losses = session.run(trials, case.batch_size).loss
    assert isinstance(session.program, ProcessProgram) and session.program.process_id
    ours, by_hand = [], []
    for _ in range(turns):
        seconds = []
        for _ in range(_REPEATS):
            before = processor_seconds(session.program.process_id)
            session.run(trials, case.batch_size)
            seconds.append(processor_seconds(session.program.process_id) - before)
        ours.append(min(seconds) / case.n_trials)
        result = yardstick.run(case, _REPEATS, dtype)
        by_hand.append(float(result.stages.sum(axis=1).min()))
    session.close()
    # Spikes of float32 differ a little, as sums are made in another order.
    if not np.allclose(losses, result.losses, rtol=1e-9 if dtype == "float64" else 0.1):
        raise RuntimeError("the program and the yardstick have different losses")
    return Pair(case.n_neurons, dtype, tuple(ours), tuple(by_hand))


def markdown(pairs: Sequence[Pair]) -> str:
    """The measurements as a table."""
    rows = []
    for pair in pairs:
        ours, by_hand = (f"{min(x) * 1e3:.3g}" for x in (pair.ours, pair.by_hand))
        ratios = (f"{pair.best:.2f}", f"{pair.median:.2f}")
        rows.append((str(pair.n_neurons), pair.dtype, ours, by_hand, *ratios))
    return markdown_table(HEADER, rows)


@click.command()
@click.option("--neurons", multiple=True, type=int, default=(100, 400, 1000), show_default=True)
@click.option("--turns", default=15, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="A file for the table.")
def main(neurons: tuple[int, ...], turns: int, out: Path | None) -> None:
    """Ratios of this package's processor time to that of a program written by hand."""
    pairs = []
    for n_neurons in neurons:
        case = evidence_accumulation(n_neurons)
        for dtype in ("float64", "float32"):
            pairs.append(measure(case, dtype, turns))
            click.echo(markdown(pairs[-1:]).splitlines()[-1])
    if out is not None:
        out.write_text(markdown(pairs), encoding="utf-8")


if __name__ == "__main__":
    main()
