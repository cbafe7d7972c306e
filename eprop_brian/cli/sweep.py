"""The command `sweep`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eprop_brian.base.locks import claimed
from eprop_brian.cli.errors import conclude, interruptible, plain_errors, without_figures
from eprop_brian.cli.folders import hold
from eprop_brian.cli.models import model_of_task, refuse_unused, task_of
from eprop_brian.cli.options import (
    RunChoices,
    TaskName,
    format_option,
    new_folder_option,
    run_options,
    seeds_option,
)
from eprop_brian.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eprop_brian.runs.config import RunConfig
    from eprop_brian.runs.sweep import Points, Result

__all__ = ["sweep_command"]


@click.command("sweep")
@click.argument("task", required=False, type=TaskName(), metavar="TASK")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="TABLE.KEY=VALUE,...",
    help="Values of a setting, e.g. optimizer.eta=1e-4,1e-3 or neuron.tau_m='20 ms,30 ms'; "
    "commas in quotes of their own or in brackets do not separate values. All combinations are "
    "trained. May be given several times.",
)
@click.option(
    "--points",
    "table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.csv",
    help="Train these points instead of all combinations: a column for each setting, headed "
    "TABLE.KEY, and a row for each point.",
)
@seeds_option("5")
@click.option(
    "--workers",
    "side_by_side",
    type=click.IntRange(min=1),
    help="Runs that are trained side by side (default: one per core; on a GPU or with a scheduler, "
    "one).",
)
@run_options(without=("seed", "settings", "workers"))
@new_folder_option("Folder of the sweep; one that was stopped goes on (default: runs/TASK-sweep).")
@format_option
@plain_errors
def sweep_command(
    task: str | None,
    settings: tuple[str, ...],
    table: Path | None,
    seeds: list[int],
    side_by_side: int | None,
    choices: RunChoices,
    out: Path | None,
    formats: tuple[str, ...],
) -> None:
    """Train TASK with different settings and several seeds; write a table and draw a figure."""
    task = task_of(task, choices)
    from eprop_brian.base.pieces import cores
    from eprop_brian.runs.sweep import TABLE, grid, read_points, summary, sweep

    model = model_of_task(choices.recipe or task)
    refuse_unused(model, choices)
    points = grid(settings)
    if table is not None:
        if points.names:
            raise click.UsageError(
                f"{points.names[0]} has several values in --set: with --points, which lists all "
                "points, --set gives each setting one value"
            )
        points = read_points(table, points.fixed)
    if side_by_side is not None and choices.scheduler is not None:
        raise click.UsageError("a scheduler has workers of its own: give --workers or --scheduler")
    if side_by_side is None:
        side_by_side = 1 if choices.scheduler or choices.device == "cuda" else cores()

    def configure(varied: Sequence[str], seed: int) -> RunConfig:
        config = model.configure(task, replace(choices, settings=tuple(varied), seed=seed))
        config.refuse_unused(varied)
        return config

    # Runs side by side take a core each; one at a time, its batches are shared among cores.
    place = choices.place if side_by_side == 1 else {**choices.place, "workers": 1}
    folder = out or Path("runs") / f"{task}-sweep"
    hold(claimed(folder))
    with interruptible("interrupted; the same command goes on from the last checkpoints"):
        results = sweep(
            points,
            configure,
            seeds,
            folder,
            side_by_side=side_by_side,
            report=_report,
            device=choices.device,
            **place,
        )
    path = folder / TABLE
    say(f"wrote {path}")
    first = configure(points.settings(points.values[0]), seeds[0])
    measures = first.model.measures(first, points.names)
    with interruptible(without_figures(path)):
        _draw(points, results, measures, folder / "sweep", formats)
    conclude(*summary(points, results, measures))


def _report(result: Result, done: int, total: int) -> None:
    """Say that a run has ended."""
    say(f"{done}/{total} {result.folder}" + f": {result.failure}" * bool(result.failure))


def _draw(
    points: Points,
    results: Sequence[Result],
    measures: Mapping[str, str],
    path: Path,
    formats: tuple[str, ...],
) -> None:
    from eprop_brian.figures.style import save_figure
    from eprop_brian.figures.sweep import can_plot_sweep, plot_sweep

    if not any(result.values for result in results):
        say("no figure: all runs failed")
    elif not can_plot_sweep(points):
        say("no figure: it shows one setting, or all combinations of two")
    else:
        for written in save_figure(plot_sweep(points, results, measures), path, formats):
            say(f"wrote {written}")
