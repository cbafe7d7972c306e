"""The commands `compare` and `gradcheck`."""

from __future__ import annotations

import statistics
from pathlib import Path

import click

from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.locks import claimed
from eprop_brian.cli.errors import interruptible, plain_errors, without_figures
from eprop_brian.cli.folders import hold
from eprop_brian.cli.models import run_config
from eprop_brian.cli.options import (
    FEEDBACK_OPTION,
    FORMAT_OPTION,
    RUN_OPTIONS,
    options,
    seeds_option,
)
from eprop_brian.equations.learning_signals import FEEDBACKS
from eprop_brian.tasks import TASKS

__all__ = ["compare_command", "gradcheck_command"]


@click.command("compare")
@click.argument("task", type=click.Choice(list(TASKS)), metavar="TASK")
@click.option(
    "--methods",
    default=",".join((*FEEDBACKS, "bptt")),
    show_default=True,
    metavar="METHOD,...",
    help="Kinds of feedback of e-prop, and bptt: backpropagation through time.",
)
@options(seeds_option("5"), *RUN_OPTIONS)
@click.option(
    "--out",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the comparison; one that was stopped goes on (default: runs/TASK-comparison).",
)
@FORMAT_OPTION
@plain_errors
def compare_command(
    task: str,
    methods: str,
    seeds: list[int],
    iterations: int | None,
    batch_size: int | None,
    neuron: str | None,
    device: str | None,
    dtype: str | None,
    settings: tuple[str, ...],
    workers: int | None,
    scheduler: str | None,
    out: Path | None,
    formats: tuple[str, ...],
) -> None:
    """Train TASK by several methods with several seeds, and draw their learning curves."""
    from eprop_brian.figures.learning import plot_comparison
    from eprop_brian.figures.style import save_figure
    from eprop_brian.training import comparison

    config = run_config(
        task, neuron, settings, iterations=iterations, batch_size=batch_size, dtype=dtype
    )
    folder = out or Path("runs") / f"{task}-comparison"
    names = [name.strip() for name in methods.split(",")]
    where = {"device": device, "workers": workers, "scheduler": scheduler}
    hold(claimed(folder))
    results = interruptible(
        lambda: comparison.compare(config, folder, names, seeds, **where),
        "interrupted; the same command goes on from the last checkpoint",
    )
    found = comparison.summaries(results)
    table = folder / "comparison.csv"
    comparison.write_summaries(table, found)

    def draw() -> list[Path]:
        threshold = config.make_task().error_threshold
        figure = plot_comparison(comparison.histories(results), threshold)
        return save_figure(figure, folder / "comparison", formats)

    for path in (table, *interruptible(draw, without_figures(table))):
        click.echo(f"wrote {path}")
    for result in results:
        if result.failure:
            click.echo(f"{result.folder}: {result.failure}")
    for summary in found:
        click.echo(str(summary))


@click.command("gradcheck")
@click.argument("task", type=click.Choice(list(TASKS)), metavar="TASK")
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Iterations between comparisons.",
)
@options(seeds_option("1"), *RUN_OPTIONS[:3], FEEDBACK_OPTION, *RUN_OPTIONS[3:])
@click.option(
    "--out",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder with a run for every seed; a check that was stopped goes on "
    "(default: runs/TASK-gradcheck).",
)
@FORMAT_OPTION
@plain_errors
def gradcheck_command(
    task: str,
    every: int,
    seeds: list[int],
    iterations: int | None,
    batch_size: int | None,
    neuron: str | None,
    feedback: str | None,
    device: str | None,
    dtype: str | None,
    settings: tuple[str, ...],
    workers: int | None,
    scheduler: str | None,
    out: Path | None,
    formats: tuple[str, ...],
) -> None:
    """Train TASK by e-prop, and compare its gradient with backpropagation through time's."""
    from eprop_brian.figures.learning import plot_gradient_check
    from eprop_brian.figures.style import save_figure
    from eprop_brian.runs.run import Run
    from eprop_brian.training.gradient_check import (
        GradientCheck,
        check_comparable,
        check_gradients,
        read_checks,
        write_checks,
    )

    numbers = {"iterations": iterations, "batch_size": batch_size, "device": device, "dtype": dtype}
    folder = out or Path("runs") / f"{task}-gradcheck"
    table = folder / "gradients.csv"

    configs = {
        seed: run_config(task, neuron, settings, feedback=feedback, **numbers, seed=seed)
        for seed in seeds
    }
    first = configs[seeds[0]]
    first.refuse_unused_scale(settings)
    check_comparable(first.make_network(first.make_task()))
    hold(claimed(folder))
    for seed, config in configs.items():
        own = folder / f"seed{seed}"
        if (own / "config.toml").exists() and not config.is_of(own):
            raise ValueError(
                f"{own} holds a run with other settings; give the same or choose another folder"
            )

    found = read_checks(table) if table.exists() else {}

    def checked(seed: int) -> None:
        config, own = configs[seed], folder / f"seed{seed}"
        where = {"workers": workers, "scheduler": scheduler}
        exists = (own / "config.toml").exists()
        run = Run.open(own, **where) if exists else Run.start(config, own, **where)
        # What was found after the checkpoint will be found again.
        found[seed] = found.get(seed, GradientCheck()).until(run.trainer.iteration)
        try:
            check_gradients(run.trainer, config.run["iterations"], every, check=found[seed])
        finally:
            with uninterrupted(), claimed(folder):
                # First: rows beyond the checkpoint are found again, but none may be missing.
                write_checks(found, table)
                run.save()
            run.trainer.close()

    for seed in seeds:
        interruptible(
            lambda s=seed: checked(s), "interrupted; the same command goes on from the checkpoint"
        )
    checks = {seed: found[seed] for seed in seeds}

    def draw() -> list[Path]:
        return save_figure(
            plot_gradient_check(list(checks.values())), folder / "gradients", formats
        )

    for path in (table, *interruptible(draw, without_figures(table))):
        click.echo(f"wrote {path}")
    for name in checks[seeds[0]].cosine:
        cosines = [[check.cosine[name][i] for check in checks.values()] for i in (0, -1)]
        # A silent network has no cosine.
        before, after = (
            statistics.median([c for c in known if c == c] or [float("nan")]) for known in cosines
        )
        click.echo(f"{name}: cosine {before:.3f} before, {after:.3f} after training (median)")
