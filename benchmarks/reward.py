"""Networks that act: how soon they learn from reward, with controls, on several seeds.

Every case is a recipe, or one with other settings, that runs on several seeds. ``python -m
benchmarks.reward --out docs/performance/reward.md`` writes the table of the documentation, and the
curves beside it as ``reward.csv`` and ``reward.png``; names of cases choose those to measure again,
and the others keep their lines. Seconds are processor time, of Python and the program together,
without compilation. Everything but the seconds follows from the seeds.
"""

from __future__ import annotations

import csv
import resource
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from matplotlib import pyplot as plt

from benchmarks.tables import markdown_table
from eprop_brian import RunConfig
from eprop_brian.figures.style import (
    COLOURS,
    WIDTH,
    draw_median_and_range,
    save_figure,
    styled,
    whole_numbers,
)

__all__ = ["CASES", "Case", "Result", "markdown", "measure"]

HEADER = ("Case", "Seed", "Episodes", "Solved", "Return before", "Return after", "Best action", "s")
CURVE = ("case", "seed", "episodes", "return")
#: Episodes over which a point of a curve is a mean, and of the evaluation after training.
POINT, EVALUATED = 100, 500


@dataclass(frozen=True)
class Case:
    """A recipe with settings.

    Attributes
    ----------
    recipe : str
    seeds : int
        How many, from 1 on.
    episodes : int
        To train for at most.
    settings : tuple of str
        ``"table.key=value"``, beside those of the recipe.
    """

    recipe: str
    seeds: int
    episodes: int
    settings: tuple[str, ...] = ()


_READOUTS = "network.fixed=['w_in', 'w_rec']"
_RANDOM = "network.feedback='random'"

CASES = {
    "cartpole": Case("cartpole", 5, 6000),
    "cartpole, readouts only": Case("cartpole", 3, 6000, (_READOUTS,)),
    **{
        f"cartpole, random feedback x {scale}": Case(
            "cartpole", 3, 6000, (_RANDOM, f"network.feedback_scale={scale}")
        )
        for scale in (0.03, 0.1, 0.3)
    },
    "t-maze": Case("t-maze", 6, 20000),
    "t-maze, no entropy bonus": Case("t-maze", 3, 20000, ("agent.entropy=0.0",)),
    "acrobot": Case("acrobot", 3, 8000),
    "mountain-car": Case("mountain-car", 3, 16000),
}


@dataclass(frozen=True)
class Result:
    """What a seed of a case led to.

    Attributes
    ----------
    returns : array, shape (n_iterations,)
        Mean return of every batch of training.
    batch_size : int
    solved : bool
    before, after : float
        Mean return of fresh episodes, with actions drawn as in training before it, and the best
        ones after it.
    seconds : float
    """

    returns: np.ndarray
    batch_size: int
    solved: bool
    before: float
    after: float
    seconds: float

    @property
    def episodes(self) -> int:
        """Episodes of training."""
        return len(self.returns) * self.batch_size

    def curve(self) -> list[tuple[int, float]]:
        """Episodes done, and the mean return of the last ones before."""
        n = -(-POINT // self.batch_size)
        stops = range(n, len(self.returns) + 1, n)
        return [(stop * self.batch_size, self.returns[stop - n : stop].mean()) for stop in stops]


def _processor_time() -> float:
    """Seconds of this process and of those that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measure(case: Case, seed: int) -> Result:
    """Train a seed of a case."""
    config = RunConfig.from_recipe(case.recipe, run={"seed": seed}, settings=case.settings)
    trainer = config.make_trainer(workers=1)
    with closing(trainer):
        before = trainer.evaluate(greedy=False).returns.mean
        start = _processor_time()
        iterations = case.episodes // trainer.batch_size
        trainer.train(iterations, progress=False)
        # The program's time counts once it has ended; evaluation starts another.
        state = trainer.session.state()
    seconds = _processor_time() - start
    trainer_after = config.make_trainer(workers=1, state=state)
    with closing(trainer_after):
        after = trainer_after.evaluate(1, EVALUATED).returns.mean
    returns = np.asarray(trainer.history.returns)
    return Result(returns, trainer.batch_size, trainer.solved, before, after, seconds)


def _line(name: str, seed: int, result: Result) -> tuple[str, ...]:
    """The line of a seed in the table."""
    return (
        *(name, str(seed), str(result.episodes), "yes" if result.solved else "no"),
        *(f"{number:.3g}" for number in (result.before, _last(result), result.after)),
        f"{result.seconds:.1f}",
    )


def _last(result: Result) -> float:
    """Mean return of the last episodes of training."""
    n = -(-POINT // result.batch_size)
    return float(result.returns[-n:].mean())


def markdown(lines: list[tuple[str, ...]]) -> str:
    """The table of all seeds that have been run."""
    return markdown_table(HEADER, lines)


def _others(path: Path, names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The lines of a table that are not measured again."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = [tuple(line.strip("| ").split(" | ")) for line in text.splitlines()[2:]]
    return [line for line in lines if line[0] in CASES and line[0] not in names]


def _other_points(path: Path, names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The points of curves that are not measured again."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = [tuple(row) for row in csv.reader(file)][1:]
    return [row for row in rows if row[0] in CASES and row[0] not in names]


def draw(points: list[tuple[str, ...]], path: Path) -> None:
    """Draw the curves, median and range over the seeds; a seed that is solved keeps its last value.

    Parameters
    ----------
    points : list of tuple of str
        As the file of curves has them (`CURVE`).
    path : Path
        Of the figure, without suffix.
    """
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for case, seed, episodes, value in points:
        curves.setdefault(case, {}).setdefault(seed, []).append((int(episodes), float(value)))
    panels = list(dict.fromkeys(CASES[case].recipe for case in curves))
    with styled():
        figure, axes = plt.subplots(
            2, -(-len(panels) // 2), figsize=(WIDTH, 5.6), squeeze=False, layout="constrained"
        )
        for recipe, ax in zip(panels, axes.flat, strict=False):
            names = [case for case in curves if CASES[case].recipe == recipe]
            for case, colour in zip(names, COLOURS, strict=False):
                seeds = curves[case].values()
                longest = max(seeds, key=len)
                rows = [[y for _, y in s] + [s[-1][1]] * (len(longest) - len(s)) for s in seeds]
                x = np.array([episodes for episodes, _ in longest])
                label = case.removeprefix(recipe).removeprefix(", ") or "by its recipe"
                draw_median_and_range(ax, x, np.array(rows), color=colour, label=label)
            ax.set_title(recipe)
            ax.set_xlabel("episodes (number)")
            ax.xaxis.set_major_locator(whole_numbers(5))
            ax.set_ylabel("mean return of 100 episodes")
            if len(names) > 1:
                ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    save_figure(figure, path, ("png",))


@click.command(help=__doc__)
@click.argument("names", nargs=-1, type=click.Choice(list(CASES)))
@click.option("--out", type=click.Path(path_type=Path), help="Write the table to this file.")
def main(names: tuple[str, ...], out: Path | None) -> None:
    """Measure cases; a table that is written keeps the lines of all others."""
    names = names or tuple(CASES)
    lines = _others(out, names) if out else []
    points = _other_points(out.with_suffix(".csv"), names) if out else []
    order = list(CASES)
    for name in names:
        case = CASES[name]
        for seed in range(1, case.seeds + 1):
            result = measure(case, seed)
            lines.append(_line(name, seed, result))
            points += [(name, str(seed), str(n), f"{value:.6g}") for n, value in result.curve()]
            click.echo(" | ".join(lines[-1]), err=True)
        lines.sort(key=lambda line: order.index(line[0]))
        points.sort(key=lambda point: order.index(point[0]))
        if out:
            out.write_text(markdown(lines), encoding="utf-8")
            with out.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([CURVE, *points])
            draw(points, out.with_suffix(""))
    if not out:
        click.echo(markdown(lines))


if __name__ == "__main__":
    main()
