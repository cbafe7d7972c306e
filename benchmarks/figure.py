"""The figure of the benchmarks: cost of a trial against the number of neurons and of steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

from benchmarks import balanced
from benchmarks.cases import Measurement

__all__ = ["draw", "draw_balanced"]

#: Contenders from the top of the figure down, with colour and line style.
_STYLES = {
    "NEST": ("#D55E00", "--"),
    "mlGeNN": ("#CC79A7", "--"),
    "Brian2 stock": ("#E69F00", "--"),
    "eprop_brian online": ("#009E73", "-"),
    "eprop_brian factored": ("#0072B2", "-"),
    "eprop_brian factored float32": ("#56B4E9", "-"),
    "yardstick": ("#000000", ":"),
}
_LABELS = {"yardstick": "written by hand"}


def draw(measurements: Sequence[Measurement], path: Path) -> None:
    """Draw what was measured of evidence accumulation; a line needs two points."""
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    costs = [m for m in measurements if m.case == "evidence-accumulation"]
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.0), layout="constrained", sharey=True)
    panels = (
        ("n_neurons", "n_steps", 2250, "recurrent neurons"),
        ("n_steps", "n_neurons", 100, "steps of a trial"),
    )
    for axis, (along, fixed, value, label) in zip(axes, panels, strict=True):
        for name, (colour, line) in _STYLES.items():
            # Later measurements at the same point are of another part of the run: the first count.
            points: dict[int, float] = {}
            for m in costs:
                if m.contender == name and getattr(m, fixed) == value:
                    points.setdefault(getattr(m, along), m.seconds_per_trial * 1e3)
            xs = sorted(points)
            if len(xs) > 1:
                axis.plot(
                    xs,
                    [points[x] for x in xs],
                    line,
                    color=colour,
                    marker="o",
                    markersize=4,
                    label=_LABELS.get(name, name),
                )
        axis.set_xscale("log")
        axis.set_yscale("log")
        ticks = sorted({getattr(m, along) for m in costs if getattr(m, fixed) == value})
        axis.set_xticks(ticks, [str(t) for t in ticks])
        axis.minorticks_off()
        axis.set_xlabel(label)
        axis.grid(axis="y", color="0.9", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("ms a trial (forward, gradient, update)")
    axes[0].set_title("2250 steps", fontsize=10, loc="left")
    axes[1].set_title("100 neurons", fontsize=10, loc="left")
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_balanced(measurements: Sequence[Measurement], path: Path) -> None:
    """Draw the cost of a balanced network that learns against its size."""
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    costs = [m for m in measurements if m.case == balanced.CASE]
    figure, axis = plt.subplots(figsize=(5.6, 3.6), layout="constrained")
    sizes = sorted({m.n_neurons for m in costs})
    for name, colour, line in (
        ("Brian2 Cython", "#E69F00", "--"),
        ("eprop_brian", "#0072B2", "-"),
    ):
        of_it = sorted((m for m in costs if m.contender == name), key=lambda m: m.n_neurons)
        xs, ys = [m.n_neurons for m in of_it], [m.seconds_per_trial for m in of_it]
        axis.plot(xs, ys, line, color=colour, marker="o", markersize=4, label=name)
    axis.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    axis.annotate(
        "real time",
        (sizes[-1], 1),
        (0, -11),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(sizes, [str(n) for n in sizes])
    axis.minorticks_off()
    axis.set_xlabel("neurons")
    axis.set_ylabel("s a simulated second, learning")
    axis.grid(axis="y", color="0.9", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)
