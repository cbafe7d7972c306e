"""The command `sweep`."""

from __future__ import annotations

import math
from pathlib import Path

import click

from eprop_brian.base.locks import claimed
from eprop_brian.cli.errors import plain_errors
from eprop_brian.cli.folders import hold
from eprop_brian.cli.models import balanced_config
from eprop_brian.cli.options import (
    BALANCED_OPTIONS,
    FORMAT_OPTION,
    RUN_OPTIONS,
    options,
    seeds_option,
)
from eprop_brian.tasks.dynamics import DYNAMICS

__all__ = ["sweep_command"]


@click.command("sweep")
@click.argument("task", type=click.Choice(list(DYNAMICS)), metavar="TASK")
@click.option(
    "--over",
    type=click.Choice(["n", "kill", "noise", "dt"]),
    required=True,
    help="Neurons, killed fraction, voltage noise (in units of the threshold) or time step (ms).",
)
@click.option(
    "--levels",
    metavar="NUMBER,...",
    required=True,
    callback=lambda _, __, text: _numbers(text),
    help="Values to try, the first is the reference.",
)
@options(seeds_option("5"), BALANCED_OPTIONS[0], *RUN_OPTIONS[3:6])
@click.option(
    "--out",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the table and the figure (default: runs/TASK-sweep).",
)
@FORMAT_OPTION
@plain_errors
def sweep_command(
    task: str,
    over: str,
    levels: list[float],
    seeds: list[int],
    teacher: str | None,
    device: str | None,
    dtype: str | None,
    settings: tuple[str, ...],
    out: Path | None,
    formats: tuple[str, ...],
) -> None:
    """Measure how the error of a balanced network depends on something, with several seeds."""
    from eprop_brian.cli import balanced as command

    config = balanced_config(task, settings, teacher, device=device, dtype=dtype)
    folder = out or Path("runs") / f"{task}-sweep"
    hold(claimed(folder))
    command.sweep(config, over, levels, seeds, folder, click.echo, formats)


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise click.BadParameter(f"'{text}' is no list of numbers, for example 10,20,50")
    return numbers
