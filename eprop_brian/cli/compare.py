"""The commands `compare` and `gradcheck`: one task, several methods or gradients, several seeds."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.locks import claimed
from eprop_brian.cli.errors import conclude, interruptible, plain_errors, without_figures
from eprop_brian.cli.folders import hold
from eprop_brian.cli.models import check_supported, model_of_task, refuse_unused, task_of
from eprop_brian.cli.options import (
    RunChoices,
    TaskName,
    format_option,
    new_folder_option,
    run_options,
    seeds_option,
)
from eprop_brian.cli.output import say
from eprop_brian.equations.learning_signals import FEEDBACKS

if TYPE_CHECKING:
    from eprop_brian.runs.config import RunConfig
    from eprop_brian.training.gradient_check import GradientCheck

__all__ = ["compare_command", "gradcheck_command"]

#: What a task says of when it is solved.
_CRITERIA = ("error_threshold", "solved_return")
#: Fields of `RunChoices` that are chosen elsewhere, or not at all.
_BY_METHOD = ("feedback", "gradient", "updates", "seed", "teacher", "kill", "noise")
_BY_GRADIENT = (*(name for name in _BY_METHOD if name != "feedback"), "validate_every", "patience")


@click.command("compare")
@click.argument("task", required=False, type=TaskName(), metavar="TASK")
@click.option(
    "--methods",
    metavar="METHOD,...",
    help="Ways to learn (default: all that the settings allow). E-prop: kinds of feedback, "
    f"{', '.join(FEEDBACKS)}; readouts: their weights learn alone; bptt: backpropagation through "
    "time. E-prop 3: e-prop, off, linear, hidden, oracle, with another window off-8, and bptt. "
    "Balanced networks: how the error enters, corrected or published, and closed: weights "
    "in closed form.",
)
@seeds_option("5")
@run_options(without=_BY_METHOD)
@new_folder_option(
    "Folder of the comparison; one that was stopped goes on (default: runs/TASK-comparison)."
)
@format_option
@plain_errors
def compare_command(
    task: str | None,
    methods: str | None,
    seeds: list[int],
    choices: RunChoices,
    out: Path | None,
    formats: tuple[str, ...],
) -> None:
    """Train TASK by several methods with several seeds, and draw their learning curves."""
    task = task_of(task, choices)
    from eprop_brian.figures.learning import plot_comparison
    from eprop_brian.figures.style import save_figure
    from eprop_brian.runs.comparison import compare, histories, summaries, write_summaries

    model = model_of_task(choices.recipe or task)
    check_supported("compare", model, task)
    refuse_unused(model, choices)
    config = model.configure(task, choices)
    folder = out or Path("runs") / f"{task}-comparison"
    names = [name.strip() for name in methods.split(",")] if methods else None
    hold(claimed(folder))
    with interruptible("interrupted; the same command goes on from the last checkpoint"):
        results = compare(config, folder, names, seeds, device=choices.device, **choices.place)
    rows = summaries(results)
    table = folder / "comparison.csv"
    write_summaries(table, rows)
    with interruptible(without_figures(table)):
        criteria = {name: getattr(config.make_task(), name, None) for name in _CRITERIA}
        figure = plot_comparison(histories(results), **criteria)
        figures = save_figure(figure, folder / "comparison", formats)
        if "solved_length" in config.model.curves(config):
            from eprop_brian.figures.synthetic import plot_solved_length

            over_time = plot_solved_length(histories(results))
            figures += save_figure(over_time, folder / "solved_length", formats)
    for path in (table, *figures):
        say(f"wrote {path}")
    for result in results:
        if result.failure:
            say(f"{result.folder}: {result.failure}")
    conclude(*map(str, rows))


@click.command("gradcheck")
@click.argument("task", required=False, type=TaskName(), metavar="TASK")
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Iterations between comparisons.",
)
@seeds_option("1")
@run_options(without=_BY_GRADIENT)
@new_folder_option(
    "Folder with a run for every seed; a check that was stopped goes on "
    "(default: runs/TASK-gradcheck)."
)
@format_option
@plain_errors
def gradcheck_command(
    task: str | None,
    every: int,
    seeds: list[int],
    choices: RunChoices,
    out: Path | None,
    formats: tuple[str, ...],
) -> None:
    """Train TASK by e-prop, and compare its gradient with backpropagation through time's."""
    task = task_of(task, choices)
    from eprop_brian.training.jax_session import require_jax

    # First of all: without it nothing of this can be done.
    require_jax()
    from eprop_brian.figures.learning import plot_gradient_check
    from eprop_brian.figures.style import save_figure
    from eprop_brian.runs.series import check_run
    from eprop_brian.training.gradient_check import check_comparable, read_checks

    model = model_of_task(choices.recipe or task)
    check_supported("gradcheck", model, task)
    refuse_unused(model, choices)
    configs: dict[int, RunConfig] = {
        seed: model.configure(task, choices.with_seed(seed)) for seed in seeds
    }
    first = configs[seeds[0]]
    first.refuse_unused(choices.settings)
    check_comparable(first.make_network(first.make_task()))
    folder = out or Path("runs") / f"{task}-gradcheck"
    table = folder / "gradients.csv"
    folders = {seed: folder / f"seed{seed}" for seed in seeds}
    hold(claimed(folder))
    for seed in seeds:
        check_run(configs[seed], folders[seed])
    checks = read_checks(table) if table.exists() else {}
    for seed in seeds:
        with interruptible("interrupted; the same command goes on from the checkpoint"):
            _check(configs[seed], folders[seed], seed, checks, every, choices)
    checks = {seed: checks[seed] for seed in seeds}
    with interruptible(without_figures(table)):
        figures = save_figure(
            plot_gradient_check(list(checks.values())), folder / "gradients", formats
        )
    for path in (table, *figures):
        say(f"wrote {path}")
    lines = []
    for name in checks[seeds[0]].cosine:
        ends = [[check.cosine[name][i] for check in checks.values()] for i in (0, -1)]
        # A silent network has no cosine.
        before, after = (
            statistics.median([c for c in cosines if c == c] or [float("nan")]) for cosines in ends
        )
        lines.append(f"{name}: cosine {before:.3f} before, {after:.3f} after training (median)")
    conclude(*lines)


def _check(
    config: RunConfig,
    folder: Path,
    seed: int,
    checks: dict[int, GradientCheck],
    every: int,
    choices: RunChoices,
) -> None:
    """Go on with the check of a seed; `checks` and their table, beside the folder, grow."""
    from eprop_brian.runs.series import open_or_start
    from eprop_brian.training.gradient_check import GradientCheck, check_gradients, write_checks

    run = open_or_start(config, folder, **choices.place)
    # Comparisons after the checkpoint will be made again.
    checks[seed] = checks.get(seed, GradientCheck()).until(run.trainer.iteration)
    try:
        check_gradients(run.trainer, config.run["iterations"], every, check=checks[seed])
    finally:
        with uninterrupted(), claimed(folder.parent):
            # First: rows beyond the checkpoint are made again, but none may be missing.
            write_checks(checks, folder.parent / "gradients.csv")
            run.save()
        run.trainer.close()
