"""Sparse networks: what e-prop learns at 10 % connectivity, beside recorded runs.

50 LIF and 50 ALIF neurons, of all pairs of neurons, inputs and readouts one in ten connected,
symmetric feedback, Adam with eta 5e-3, 64 trials a batch. The settings are those of the tasks'
recipes, the timing that of the recorded runs (`RECORDED`). Every seed draws its own synapses,
weights and trials; accuracy is that of 8 x 64 fresh trials after the last iteration.

The rule ``diffusing`` is symmetric feedback whose learning signal spreads on a grid on which the
neurons have places at random. In the recorded runs the recurrent synapses, too, are local on that
grid, for all rules; here they are drawn from all pairs.

``python -m benchmarks.sparse --seeds 3 --out sparse.csv`` appends a line to the file for every run
that it does, and prints the medians; runs that the file has are not done again.
"""

from __future__ import annotations

import csv
from contextlib import closing
from pathlib import Path
from statistics import median

import click

from eprop_brian import RunConfig

__all__ = ["RECORDED", "TASKS", "accuracy"]

_CONNECTIVITY = "{w_in = 0.1, w_rec = 0.1, w_out = 0.1}"
#: Recipe and settings of each task.
TASKS = {
    "cue accumulation": ("evidence-accumulation", ["task.p_favoured=0.5", "task.delay=1000 ms"]),
    "delayed match": ("delayed-match", []),
}
#: Median accuracy of 20 seeds after 2000 iterations, from the logs of github.com/LevinaLab/
#: neuromodRNNs, the code of arXiv 2603.08949: backpropagation through time and e-prop,
#: symmetric and with a learning signal that diffuses on a grid (10 x 10, k = 0.75, radius 1).
RECORDED = {
    "cue accumulation": {"bptt": 0.982, "symmetric": 0.849, "diffusing": 0.931},
    "delayed match": {"bptt": 0.998, "symmetric": 0.732, "diffusing": 0.960},
}
_DIFFUSION = "{grid = [10, 10], kept = 0.75, radius = 1, seed = %d}"
_FIELDS = ("task", "rule", "seed", "iterations", "accuracy")


def accuracy(task: str, rule: str, seed: int, iterations: int) -> float:
    """Train one sparse network and test it.

    Parameters
    ----------
    task : str
        One of `TASKS`.
    rule : str
        A kind of feedback, ``"diffusing"`` or ``"bptt"``.
    seed : int
    iterations : int
    """
    recipe, settings = TASKS[task]
    sparse = [f"network.connectivity={_CONNECTIVITY}", f"network.connectivity_seed={seed}"]
    method = rule
    if rule == "diffusing":
        method = "symmetric"
        sparse.append(f"network.feedback_diffusion={_DIFFUSION % seed}")
    config = RunConfig.from_recipe(recipe, run={"seed": seed}, settings=[*settings, *sparse])
    with closing(config.with_method(method).make_trainer(workers=1)) as trainer:
        trainer.train(iterations, stop_when_solved=False, progress=False)
        return 1 - trainer.evaluate(n_batches=8, batch_size=64).error


@click.command(help=__doc__)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--iterations", type=click.IntRange(1), default=2000, show_default=True)
@click.option("--rule", "rules", multiple=True, default=["symmetric"], show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="sparse.csv", show_default=True)
def main(seeds: int, iterations: int, rules: tuple[str, ...], out: Path) -> None:
    """Do what the file lacks, then print its medians."""
    done = _read(out)
    for seed in range(1, seeds + 1):
        for task in TASKS:
            for rule in rules:
                key = (task, rule, str(seed), str(iterations))
                if key not in done:
                    done[key] = accuracy(task, rule, seed, iterations)
                    _append(out, [*key, f"{done[key]:.4f}"])
    for task in TASKS:
        for rule in rules:
            values = [v for (t, r, *_), v in done.items() if (t, r) == (task, rule)]
            recorded = RECORDED[task].get(rule)
            beside = "" if recorded is None else f"; recorded {recorded:.1%}"
            print(f"{task}, {rule}: median {median(values):.1%} of {len(values)} runs{beside}")


def _read(path: Path) -> dict[tuple[str, ...], float]:
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = [*csv.reader(file)][1:]
    return {tuple(row[:-1]): float(row[-1]) for row in rows}


def _append(path: Path, row: list[str]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([_FIELDS, row] if new else [row])


if __name__ == "__main__":
    main()
