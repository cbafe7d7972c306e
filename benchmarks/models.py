"""Published models: which are derived, and what they do beside Brian2, JAX and a small task.

For every neuron of `eprop_brian.equations.published`: how long its learning rule took to derive,
how many of its spikes differ from those of Brian2, how far its gradient is from automatic
differentiation of Brian2's own code, and the loss of a small pattern-generation task before and
after some iterations. ``python -m benchmarks.models`` prints the table in Markdown;
``--out docs/models/table.md`` writes the one of the documentation, of which names of models choose
lines to measure again.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import brian2
import click
import numpy as np
from brian2 import ms

from benchmarks.tables import markdown_table
from eprop_brian import (
    Inputs,
    LearningSignal,
    Network,
    Population,
    Projection,
    Readout,
)
from eprop_brian.equations import ADAM, LEAKY
from eprop_brian.tasks import PatternGeneration
from eprop_brian.training.trainer import Trainer

# The references are those of the tests.
sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support.published import ROWS, Row, compare
from support.refused import REFUSED, reason_of

__all__ = ["HEADER", "cells_of", "losses", "markdown"]

HEADER = ("Neuron", "Source", "Spikes", "Differ", "Gradient", "Derived in", "Loss")
REFUSED_HEADER = ("Neuron", "Source", "Why")
_ROWS = {row.name: row for row in ROWS}
#: Neurons and iterations of the small task, and the learning rate relative to the weights' size.
N_NEURONS, ITERATIONS, ETA = 20, 50, 0.05


def losses(row: Row) -> tuple[float, float]:
    """Loss of pattern generation before and after training."""
    dt, duration = row.dt * ms, row.n_steps * row.dt * ms
    task = PatternGeneration(
        n_steps=row.n_steps,
        n_inputs=10,
        spike_probability=row.p,
        periods=tuple(duration / k for k in (1, 2, 3, 5)),
        dt=dt,
    )
    rng = np.random.default_rng(8)
    # Parameters with one value per neuron fix the number of neurons.
    several = any(np.ndim(value) for value in row.written.parameters.values())
    size = row.size if several else N_NEURONS
    neuron = row.read(row.group(size))
    name = neuron.name
    projections = []
    for receptor, (mean, deviation) in row.weights.items():
        for source, n in (("inputs", 10), (name, size)):
            weights = rng.normal(mean if source == "inputs" else 0, deviation, (size, n))
            if source == name:
                weights *= 0.3
                np.fill_diagonal(weights, 0)
            if row.positive:
                weights = np.abs(weights)
            key = f"w_{'in' if source == 'inputs' else 'rec'}_{receptor}"
            eta = ETA * deviation
            projections.append(
                Projection(
                    source,
                    name,
                    key,
                    receptor,
                    weights=weights,
                    eta=eta,
                    minimum=0.0 if row.positive else None,
                    synapse=row.synapses.get(receptor),
                )
            )
    network = Network(
        [
            Inputs(10),
            Population(neuron, size),
            Readout(1, filter=LEAKY.with_parameters(tau_out=duration / 30)),
            *projections,
            Projection(name, "readout", "w_out", eta=ETA),
            LearningSignal("readout", name),
        ],
        optimizer=ADAM,
        c_reg=0.0,
        dt=dt,
    )
    trainer = Trainer(network, task, seed=1, workers=1)
    with closing(trainer):
        trainer.train(ITERATIONS, stop_when_solved=False, progress=False)
        history = np.asarray(trainer.history.loss)
    return float(history[0]), float(history[-1])


def cells_of(name: str, device: str) -> tuple[str, ...]:
    """The line of a model."""
    if name in REFUSED:
        model = REFUSED[name]
        try:
            model.derive()
        except ValueError as error:
            return (f"`{name}`", model.source, reason_of(error))
        raise click.ClickException(f"{name} is derived now: make it a row of tests/support")
    row = _ROWS[name]
    found, (start, end) = compare(row, device), losses(row)
    worst = max(found.deviations.values())
    return (
        *(f"`{name}`", row.source, str(found.n_spikes), str(found.differing)),
        *(f"{worst:.0e}", f"{found.seconds:.2g} s", f"{start:.3g} → {end:.3g}"),
    )


def markdown(lines: Mapping[str, tuple[str, ...]]) -> str:
    """The table of all models that have a line, how long derivations took, and what is refused."""
    derived, refused = (
        [lines[name] for name in names if name in lines] for names in (_ROWS, REFUSED)
    )
    parts = [markdown_table(HEADER, derived)] if derived else []
    if derived:
        seconds = [float(line[5].removesuffix(" s")) for line in derived]
        parts.append(
            f"Derivation: median {median(seconds):.2g} s, at most {max(seconds):.2g} s; "
            f"{len(derived)} of {len(derived) + len(refused)} models are derived.\n"
        )
    if refused:
        parts.append(f"The others are refused:\n\n{markdown_table(REFUSED_HEADER, refused)}")
    return "\n".join(parts)


def _read(path: Path) -> dict[str, tuple[str, ...]]:
    """The lines of a table, by the model's name."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = (line.removeprefix("| ").removesuffix(" |") for line in text.splitlines())
    cells = [tuple(line.split(" | ")) for line in lines if line.startswith("`")]
    return {line[0].strip("`"): line for line in cells}


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--device", default="runtime", show_default=True, help="Of spikes and gradients.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the table to this file.")
def main(names: tuple[str, ...], device: str, out: Path | None) -> None:
    """Compare models; a table that is written keeps the lines of all others."""
    warnings.simplefilter("ignore")
    brian2.BrianLogger.log_level_error()
    preferences: Any = brian2.prefs
    preferences["codegen.target"] = "numpy"
    lines = _read(out) if out and names else {}
    for name in names or (*_ROWS, *REFUSED):
        before = time.perf_counter()
        with np.errstate(all="ignore"):
            lines[name] = cells_of(name, device)
        click.echo(f"{name}: {time.perf_counter() - before:.1f} s", err=True)
        if out:
            out.write_text(markdown(lines), encoding="utf-8")
    if not out:
        click.echo(markdown(lines))


if __name__ == "__main__":
    main()
