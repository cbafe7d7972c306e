"""Figures: learning curves, what happens within a trial, weights.

Every function returns a Matplotlib `Figure` and leaves Matplotlib's settings as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from brian2.units import Quantity
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.ticker import MaxNLocator
from scipy.sparse import csc_array, issparse

from eprop_brian.base.files import read_arrays
from eprop_brian.base.sparse import Matrix, values_of
from eprop_brian.equations.neuron import Parameter
from eprop_brian.figure_style import COLOURS as _COLOURS
from eprop_brian.figure_style import WIDTH as _WIDTH
from eprop_brian.figure_style import draw_median_and_range, save_figure
from eprop_brian.figure_style import styled as _style
from eprop_brian.network.graph import Population
from eprop_brian.network.spec import Network
from eprop_brian.symbolic.parameters import parse_quantity
from eprop_brian.training.config import RunConfig
from eprop_brian.training.gradient_check import GradientCheck
from eprop_brian.training.history import History
from eprop_brian.training.recording import Recording, record_trial
from eprop_brian.training.run import CHECKPOINT, HISTORY, INITIAL

__all__ = [
    "plot_comparison",
    "plot_gradient_check",
    "plot_learning_curve",
    "plot_parameters",
    "plot_run",
    "plot_trajectory",
    "plot_trial",
    "plot_weights",
    "save_figure",
]

#: Colours of readouts; those of populations and example neurons are `_COLOURS`.
_READOUT_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#0072B2", "#D55E00")
#: Shares of white in the colours of several synapses of a neuron.
_PALER = (0.0, 0.55, 0.3, 0.75)
_MOST_EXAMPLES = 3
#: Rows and columns of the image of a sparse matrix.
_MOST_PIXELS = 1000
_MOST_LABELLED_READOUTS = 6
_RECURRENT = "recurrent neuron"
#: Title, postsynaptic and presynaptic side of each matrix.
_MATRICES = {
    "w_in": (r"$W_\mathrm{in}$", _RECURRENT, "input neuron"),
    "w_rec": (r"$W_\mathrm{rec}$", _RECURRENT, _RECURRENT),
    "w_out": (r"$W_\mathrm{out}$", "readout", _RECURRENT),
}


# --- learning curve -------------------------------------------------------------------------------


def plot_learning_curve(history: History, error_threshold: float | None = None) -> Figure:
    """Draw loss, error (where the task defines one) and firing rate over the iterations.

    Below them stands the alignment of the feedback with the readout weights, unless it is symmetric
    feedback, which is aligned by definition.

    Parameters
    ----------
    history : History
    error_threshold : float, optional
        The fraction of wrong trials below which the task counts as solved.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If the history is empty.
    """
    columns = history.arrays()
    iteration = columns["iteration"]
    if not len(iteration):
        raise ValueError("the history is empty: there is nothing to draw")
    panels = [("loss", "loss\n(dimensionless)", columns["loss"])]
    if not np.all(np.isnan(columns["error"])):
        panels.append(("error", "wrong trials\n(%)", 100 * columns["error"]))
    panels.append(("rate", "firing rate\n(Hz)", columns["rate_hz"]))
    aligned = columns["alignment"]
    if np.any(np.abs(aligned[np.isfinite(aligned)] - 1) > 1e-9):
        panels.append(("alignment", "feedback\nalignment\n(cosine)", aligned))
    window = max(1, len(iteration) // 50)
    with _style():
        figure, axes = plt.subplots(
            len(panels),
            figsize=(0.8 * _WIDTH, 0.5 + 1.4 * len(panels)),
            sharex=True,
            squeeze=False,
            layout="constrained",
        )
        for number, (ax, (name, label, values)) in enumerate(zip(axes[:, 0], panels, strict=True)):
            colour = _COLOURS[number]
            known = np.isfinite(values)
            if not np.all(known):
                # Known after some iterations only, and the last of them is what counts.
                ax.plot(iteration[known], values[known], color=colour, marker=".", markersize=3)
            elif window > 1:
                ax.plot(iteration, values, color=_lighter(colour, 0.5), linewidth=0.6)
                mean = np.convolve(values, np.ones(window) / window, mode="valid")
                centre = iteration[(window - 1) // 2 :][: len(mean)]
                shown = f"mean of {window} iterations" if number == 0 else None
                ax.plot(centre, mean, color=colour, linewidth=1.4, label=shown)
            else:
                ax.plot(iteration, values, color=colour, marker=".", markersize=3)
            ax.set_ylabel(label)
            if name == "loss" and np.min(values) > 0 and np.max(values) > 10 * np.min(values):
                ax.set_yscale("log")
            elif name == "alignment":
                ax.set_ylim(min(0.0, np.min(values[known])) - 0.05, 1.05)
                ax.axhline(1, color="black", linewidth=0.5, linestyle=":")
            elif name != "loss":
                ax.set_ylim(bottom=0)
            if name == "error" and error_threshold is not None:
                ax.axhline(
                    100 * error_threshold,
                    color="black",
                    linestyle="--",
                    linewidth=0.8,
                    label=f"solved below {100 * error_threshold:g} %",
                )
            if ax.get_legend_handles_labels()[0]:
                _legend_above(ax)
        axes[-1, 0].set_xlabel("iteration (number)")
        axes[-1, 0].xaxis.set_major_locator(_whole_numbers(8))
        axes[-1, 0].set_xlim(iteration[0] - 0.5, iteration[-1] + 0.5)
        figure.align_ylabels()
    return figure


def plot_comparison(
    histories: Mapping[str, Sequence[History]], error_threshold: float | None = None
) -> Figure:
    """Draw learning curves of several methods: median and range over the seeds of each.

    Curves are running means of a fiftieth of the iterations. A run that ended, solved or not,
    counts with its last value from there on; the curve of a method ends with its last run.

    Parameters
    ----------
    histories : mapping of str to sequence of History
        Runs of every method, by its name.
    error_threshold : float, optional
        The fraction of wrong trials below which the task counts as solved.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If all histories are empty.
    """
    runs = {name: [h for h in given if len(h)] for name, given in histories.items()}
    lengths = [len(h) for given in runs.values() for h in given]
    if not lengths:
        raise ValueError("the histories are empty: there is nothing to draw")
    window = max(1, max(lengths) // 50)
    panels = {"loss": "loss\n(dimensionless)", "rate_hz": "firing rate\n(Hz)"}
    if not all(np.all(np.isnan(h.error)) for given in runs.values() for h in given):
        panels = {"loss": panels["loss"], "error": "wrong trials\n(%)", **panels}
    with _style():
        figure, axes = plt.subplots(
            len(panels),
            figsize=(0.8 * _WIDTH, 0.6 + 1.7 * len(panels)),
            sharex=True,
            squeeze=False,
            layout="constrained",
        )
        for ax, (column, label) in zip(axes[:, 0], panels.items(), strict=True):
            for (name, given), colour in zip(runs.items(), cycle(_COLOURS), strict=False):
                if not given:
                    continue
                curves = _held([_running_mean(getattr(h, column), window) for h in given])
                curves *= 100 if column == "error" else 1
                iteration = np.arange(1, curves.shape[1] + 1)
                draw_median_and_range(ax, iteration, curves, color=colour, label=name)
            ax.set_ylabel(label)
            if column == "error":
                if error_threshold is not None:
                    ax.axhline(100 * error_threshold, color="black", linestyle="--", linewidth=0.8)
                ax.set_ylim(bottom=0)
            elif column == "loss":
                drawn = np.concatenate([line.get_ydata() for line in ax.lines])
                if np.min(drawn) > 0 and np.max(drawn) > 10 * np.min(drawn):
                    ax.set_yscale("log")
        _legend_above(axes[0, 0], columns=max(1, len(runs)))
        axes[-1, 0].set_xlabel("iteration (number)")
        axes[-1, 0].xaxis.set_major_locator(_whole_numbers(8))
        axes[-1, 0].set_xlim(0.5, max(lengths) + 0.5)
        figure.align_ylabels()
    return figure


def _running_mean(values: Sequence[float], window: int) -> np.ndarray:
    """Mean of the last `window` values, of fewer at the start; as long as `values`."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(sums))
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _held(curves: Sequence[np.ndarray]) -> np.ndarray:
    """Curves of equal length, (n_curves, longest): each keeps its last value."""
    longest = max(map(len, curves))
    return np.array([np.pad(curve, (0, longest - len(curve)), mode="edge") for curve in curves])


def plot_gradient_check(checks: Sequence[GradientCheck]) -> Figure:
    """Draw how e-prop's gradient compares with that of backpropagation through time.

    Parameters
    ----------
    checks : sequence of GradientCheck
        One for each seed.

    Returns
    -------
    Figure
        Above the cosine of the angle between the two, below the ratio of their lengths, for every
        projection and learned parameter: median and range over the seeds that got so far.

    Raises
    ------
    ValueError
        If nothing was compared.
    """
    iterations = sorted({i for check in checks for i in check.iteration})
    if not iterations:
        raise ValueError("no gradients were compared: there is nothing to draw")
    with _style():
        figure, (above, below) = plt.subplots(
            2, figsize=(0.8 * _WIDTH, 3.6), sharex=True, layout="constrained"
        )
        names, least = list(checks[0].cosine), 1.0
        for name, colour in zip(names, cycle(_COLOURS), strict=False):
            label = _MATRICES[name][0] if name in _MATRICES else name
            look = {"color": colour, "marker": ".", "markersize": 3, "label": label}
            for ax, measure in ((above, "cosine"), (below, "ratio")):
                curves = np.full((len(checks), len(iterations)), np.nan)
                for row, check in zip(curves, checks, strict=True):
                    values = getattr(check, measure)[name]
                    row[np.searchsorted(iterations, check.iteration)] = values
                draw_median_and_range(ax, np.array(iterations), curves, **look)
                if ax is above:
                    least = np.nanmin(curves, initial=least)
        for ax in (above, below):
            ax.axhline(1, color="black", linewidth=0.5, linestyle=":")
        above.set_ylim(min(0.0, least) - 0.05, 1.05)
        above.set_ylabel("cosine of the\nangle between\ngradients")
        below.set_yscale("log")
        below.set_ylabel("length of\ne-prop's over\nBPTT's")
        _legend_above(above, columns=len(names))
        below.set_xlabel("iteration (number)")
        below.xaxis.set_major_locator(_whole_numbers(8))
        figure.align_ylabels()
    return figure


# --- a trial --------------------------------------------------------------------------------------


def plot_trial(recording: Recording, title: str | None = None) -> Figure:
    """Draw what happens within a trial, from inputs to readout.

    The panels share their time axis: input spikes or analog inputs; recurrent spikes; membrane and
    threshold of example neurons, those whose synapses were traced; their surrogate derivative and
    learning signal; eligibility traces and filtered traces of the traced synapses; output and
    target. The learning window is shaded unless it is the whole trial.

    Parameters
    ----------
    recording : Recording
    title : str, optional

    Returns
    -------
    Figure
    """
    examples = _examples(recording)
    drawn = {"inputs": 1.1, "recurrent": 1.3}
    if recording.v is not None:
        drawn.update({f"membrane of {_named(example)}": 0.95 for example in examples})
    drawn.update(psi=0.95, signal=0.95)
    if recording.synapses:
        drawn.update(eligibility=1.0, filtered=1.0)
    drawn["output"] = 1.2
    with _style():
        figure, panels = plt.subplots(
            len(drawn),
            figsize=(_WIDTH, sum(drawn.values()) + 0.6),
            sharex=True,
            height_ratios=list(drawn.values()),
            layout="constrained",
        )
        ax = dict(zip(drawn, panels, strict=True))
        if recording.inputs.dtype == bool:
            _draw_raster(ax["inputs"], recording.time, recording.inputs, "black")
            ax["inputs"].set_ylabel("input neuron\n(index)")
        else:
            _draw_channels(ax["inputs"], recording)
        _draw_recurrent(ax["recurrent"], recording, examples)
        for number, (example, colour) in enumerate(examples.items()):
            if recording.v is not None:
                panel = ax[f"membrane of {_named(example)}"]
                _draw_membrane(panel, recording, example, colour, explained=number == 0)
            column = recording.column(*example)
            for name, values, width in (
                ("psi", recording.psi, 0.6),
                ("signal", recording.learning_signal, 1.0),
            ):
                ax[name].plot(
                    recording.time,
                    values[:, column],
                    color=colour,
                    alpha=0.85,
                    linewidth=width,
                    label=_named(example),
                )
        ax["psi"].set_ylabel(f"surrogate ψ\n({_surrogate_unit(recording)})")
        if np.min(recording.psi) >= 0:
            ax["psi"].set_ylim(bottom=0)
        ax["signal"].set_ylabel("learning\nsignal L\n(dimensionless)")
        _legend(ax["signal"])
        if recording.synapses:
            _draw_traces(ax["eligibility"], ax["filtered"], recording, examples)
        _draw_output(ax["output"], recording)
        _shade_window(panels, recording)
        panels[-1].set_xlim(0.0, recording.time[-1] + recording.dt)
        panels[-1].set_xlabel("time in the trial (ms)")
        if title:
            figure.suptitle(title)
        figure.align_ylabels()
    return figure


def _examples(recording: Recording) -> dict[tuple[str, int], str]:
    """Neurons to show (population, index) with their colours: the traced or most active ones.

    The first of a population has the population's colour.
    """
    chosen = list(dict.fromkeys((s.target, s.post) for s in recording.synapses))
    if not chosen:
        counts = recording.spikes.sum(axis=0)
        chosen = [(p.name, int(np.argmax(counts[p.neurons]))) for p in recording.populations]
    own = _population_colours(recording)
    spare = cycle([c for c in _COLOURS if c not in own.values()] or _COLOURS)
    return {
        (name, neuron): own.pop(name, None) or next(spare)
        for name, neuron in chosen[:_MOST_EXAMPLES]
    }


def _population_colours(recording: Recording) -> dict[str, str]:
    return dict(zip((p.name for p in recording.populations), cycle(_COLOURS), strict=False))


def _named(example: tuple[str, int]) -> str:
    return f"{example[0]} {example[1]}"


def _draw_raster(
    ax: Axes,
    time: np.ndarray,
    spikes: np.ndarray,
    colour: str,
    label: str | None = None,
    first: int = 0,
) -> None:
    steps, neurons = np.nonzero(spikes)
    size = max(1.6, min(6.0, 60.0 / spikes.shape[1]))
    ax.plot(
        time[steps],
        first + neurons,
        linestyle="none",
        marker="|",
        markersize=size,
        markeredgewidth=0.6,
        color=colour,
        label=label,
    )
    ax.set_ylim(-1, first + spikes.shape[1])
    ax.yaxis.set_major_locator(_whole_numbers(5))


def _draw_channels(ax: Axes, recording: Recording) -> None:
    """Analog inputs as an image, with its scale beside it."""
    limit = float(np.abs(recording.inputs).max()) or 1.0
    image = ax.imshow(
        recording.inputs.T,
        extent=(0.0, recording.time[-1] + recording.dt, -0.5, recording.inputs.shape[1] - 0.5),
        origin="lower",
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        aspect="auto",
        interpolation="nearest",
    )
    # Beside the panel, not taken from it: its time axis is that of the panels below.
    scale = ax.inset_axes((1.01, 0.0, 0.012, 1.0))
    ax.figure.colorbar(image, cax=scale, label="value")
    ax.set_ylabel("analog input\n(index)")
    ax.yaxis.set_major_locator(_whole_numbers(5))


def _draw_recurrent(
    ax: Axes, recording: Recording, examples: Mapping[tuple[str, int], str]
) -> None:
    colours = _population_colours(recording)
    for population in recording.populations:
        _draw_raster(
            ax,
            recording.time,
            recording.spikes[:, population.neurons],
            colours[population.name],
            population.name,
            first=population.neurons.start,
        )
    ax.set_ylabel("recurrent\nneuron\n(index)")
    pointer = {"linestyle": "none", "marker": "<", "markersize": 4}
    for example, colour in examples.items():
        at = recording.column(*example)
        right_edge = ax.get_yaxis_transform()
        ax.plot(1.005, at, color=colour, transform=right_edge, clip_on=False, **pointer)
    ax.plot([], [], color="#666666", label="shown below", **pointer)
    legend = _legend(ax)
    for handle in legend.legend_handles[:-1]:
        handle.set_markersize(7)
        handle.set_markeredgewidth(1.5)


def _draw_membrane(
    ax: Axes, recording: Recording, example: tuple[str, int], colour: str, explained: bool
) -> None:
    column = recording.column(*example)
    population = next(p for p in recording.populations if p.name == example[0])
    scale, unit = (1e3, "mV") if population.unit == "volt" else (1.0, _unit(population.unit))
    v, threshold = scale * recording.v[:, column], scale * recording.threshold[:, column]
    fired = np.flatnonzero(recording.spikes[:, column])
    ax.plot(recording.time, v, color=colour, linewidth=0.8, label=_named(example))
    ax.plot(
        recording.time,
        threshold,
        color="black",
        linewidth=0.8,
        label="threshold" if explained else None,
    )
    ax.plot(
        recording.time[fired],
        v[fired],
        linestyle="none",
        marker="o",
        markersize=2.0,
        color="black",
        label="spike" if explained else None,
    )
    ax.set_ylabel(f"membrane {population.membrane}\n({unit})")
    _legend(ax)


def _draw_traces(
    eligibility: Axes,
    filtered: Axes,
    recording: Recording,
    examples: Mapping[tuple[str, int], str],
) -> None:
    seen: dict[tuple[str, int], int] = {}
    for column, synapse in enumerate(recording.synapses):
        neuron = (synapse.target, synapse.post)
        number = seen[neuron] = seen.get(neuron, -1) + 1
        colour = _lighter(examples.get(neuron, "#666666"), _PALER[number % len(_PALER)])
        for ax, values, width in (
            (eligibility, recording.eligibility_trace, 0.6),
            (filtered, recording.filtered_trace, 1.0),
        ):
            ax.plot(
                recording.time,
                values[:, column],
                color=colour,
                linewidth=width,
                label=str(synapse),
                # The first of a neuron, in the strongest colour, is hidden by no other.
                zorder=3 - 0.1 * number,
            )
    unit = _unit_of_traces(recording)
    eligibility.set_ylabel(f"eligibility\ntrace e\n({unit})")
    filtered.set_ylabel(f"filtered\ntrace ē\n({unit})")
    _legend(filtered)


def _draw_output(ax: Axes, recording: Recording) -> None:
    n_outputs = recording.output.shape[1]
    labelled = n_outputs <= _MOST_LABELLED_READOUTS
    # Nothing is drawn where nothing counts.
    target = np.where(recording.counts[:, np.newaxis], recording.target, np.nan)
    for number in range(n_outputs):
        colour = _READOUT_COLOURS[number % len(_READOUT_COLOURS)]
        suffix = f" {number}" if n_outputs > 1 else ""
        ax.plot(
            recording.time,
            recording.output[:, number],
            color=colour,
            label=f"output{suffix}" if labelled else None,
        )
        ax.plot(
            recording.time,
            target[:, number],
            color=colour if n_outputs > 1 else "black",
            linestyle="--",
            linewidth=1.4,
            label=f"target{suffix}" if labelled else None,
        )
    if recording.softmax:
        ax.set_ylabel("softmax output\n(probability)")
        ax.set_ylim(-0.07, 1.07)
    else:
        ax.set_ylabel("readout y\n(dimensionless)")
    if labelled:
        _legend(ax)


def _shade_window(axes: Sequence[Axes], recording: Recording) -> None:
    if recording.counts.all():
        return
    edges = np.diff(recording.counts.astype(int), prepend=0, append=0)
    spans = recording.dt * np.column_stack([np.flatnonzero(edges == e) for e in (1, -1)])
    for ax in axes:
        for start, end in spans:
            ax.axvspan(start, end, color="#F0E442", alpha=0.25, linewidth=0, zorder=0)
    axes[0].annotate(
        "learning window" if len(spans) == 1 else "error counts",
        (spans[-1, 1], 1.0),
        xycoords=axes[0].get_xaxis_transform(),
        xytext=(0, 2),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=7.5,
    )


def _legend(ax: Axes) -> Legend:
    """A legend in the right margin, where it hides nothing."""
    return ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0)


def _legend_above(ax: Axes, columns: int = 2) -> None:
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0, ncols=columns)


def _unit(name: str) -> str:
    return "dimensionless" if name == "1" else name


def _surrogate_unit(recording: Recording) -> str:
    units = {p.unit for p in recording.populations}
    if units == {"1"}:
        return "dimensionless"
    return f"1/{units.pop()}" if len(units) == 1 else "SI units"


def _unit_of_traces(recording: Recording) -> str:
    """A trace has the inverse unit of the weight, which without units has none either."""
    return "dimensionless" if {p.unit for p in recording.populations} == {"1"} else "SI units"


def _whole_numbers(most: int) -> MaxNLocator:
    return MaxNLocator(most, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])


def _lighter(colour: str, share: float) -> tuple[float, ...]:
    """The colour mixed with a share of white."""
    return tuple(share + (1 - share) * part for part in to_rgb(colour))


# --- a trajectory ---------------------------------------------------------------------------------


def plot_trajectory(recording: Recording, before: Recording | None = None) -> Figure:
    """Draw two readouts against each other over the two targets: a line in a plane.

    Parameters
    ----------
    recording : Recording
        Of a regression task with two readouts, such as the coordinates of a pen.
    before : Recording, optional
        The same trial before training, drawn in grey.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If there are not two readouts that follow targets.
    """
    if not _draws_trajectory(recording):
        raise ValueError(
            f"a trajectory needs two readouts that follow targets, got {recording.output.shape[1]}"
            f"{' of a classification' if recording.softmax else ''}"
        )
    lines = [
        ("target", recording.target, {"color": "black", "linestyle": "--", "zorder": 3}),
        ("output", recording.output, {"color": _READOUT_COLOURS[0], "linewidth": 1.4}),
    ]
    if before is not None:
        pale = {"color": "#999999", "linewidth": 0.6, "zorder": 1}
        lines.append(("output before training", before.output, pale))
    with _style():
        figure, ax = plt.subplots(figsize=(0.8 * _WIDTH, 3.4), layout="constrained")
        for label, values, look in lines:
            ax.plot(*values[recording.counts].T, label=label, **look)
        ax.set_aspect("equal", adjustable="datalim")
        ax.set_xlabel("readout 0 (dimensionless)")
        ax.set_ylabel("readout 1 (dimensionless)")
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.0, ncols=3)
    return figure


def _draws_trajectory(recording: Recording) -> bool:
    """Whether the readouts of a recording are the coordinates of a line in a plane."""
    return recording.output.shape[1] == 2 and not recording.softmax


# --- weights --------------------------------------------------------------------------------------


def plot_weights(
    weights: Mapping[str, Matrix],
    populations: Sequence[Population],
    after: Mapping[str, Matrix] | None = None,
) -> Figure:
    """Draw the weight matrices, and how they changed if a second set is given.

    Rows are postsynaptic, columns presynaptic neurons. The colour scale of a matrix is symmetric
    about 0 and ends at the 99.5th percentile of the absolute values; ``before`` and ``after`` share
    it. Of a sparse matrix with more than 1000 rows or columns, a pixel is the mean weight of the
    synapses in a block.

    Parameters
    ----------
    weights : mapping
        ``w_in`` (n_recurrent, n_inputs), ``w_rec`` (n_recurrent, n_recurrent), ``w_out``
        (n_outputs, n_recurrent), each an array or a scipy.sparse array.
    populations : sequence of Population
        Of the network (``network.populations``); lines separate them.
    after : mapping, optional
        The same matrices after training.

    Returns
    -------
    Figure
    """
    rows = [("", weights)]
    if after is not None:
        change = {name: after[name] - weights[name] for name in _MATRICES}
        rows = [("before", weights), ("after", after), ("change", change)]
    ends = np.cumsum([p.size for p in populations])
    ranges = "  ".join(
        f"{p.name} {end - p.size}–{end - 1}" for p, end in zip(populations, ends, strict=True)
    )
    without_units = all(set(p.system.step.units.values()) == {"1"} for p in populations)
    with _style():
        figure, axes = plt.subplots(
            len(rows),
            len(_MATRICES),
            figsize=(_WIDTH, 0.7 + 2.2 * len(rows)),
            width_ratios=[0.8, 1.0, 1.0],
            squeeze=False,
            layout="constrained",
        )
        for column, name in enumerate(_MATRICES):
            shared = rows[:-1] if after is not None else rows
            scale = _scale([matrices[name] for _, matrices in shared])
            # A weight has the unit of the state it adds to; readouts have none.
            unit = "dimensionless" if name == "w_out" or without_units else "SI units"
            for row, (heading, matrices) in enumerate(rows):
                change_row = heading == "change"
                limit = _scale([matrices[name]]) if change_row else scale
                image = _draw_matrix(axes[row, column], name, matrices[name], limit, ends[:-1])
                if heading:
                    axes[row, column].set_title(f"{_MATRICES[name][0]}, {heading}")
                label = f"{'change' if change_row else 'weight'} ({unit})"
                figure.colorbar(image, ax=axes[row, column], extend="both", label=label, pad=0.02)
        if len(populations) > 1:
            figure.supxlabel(f"recurrent neurons: {ranges}", fontsize=8.0)
    return figure


def _draw_matrix(
    ax: Axes, name: str, matrix: Matrix, limit: float, boundaries: Sequence[int]
) -> AxesImage:
    """Draw a matrix between -limit and limit, with lines between populations."""
    title, post, pre = _MATRICES[name]
    n_post, n_pre = matrix.shape
    image = ax.imshow(
        _pixels(matrix) if issparse(matrix) else matrix,
        extent=(-0.5, n_pre - 0.5, n_post - 0.5, -0.5),
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        aspect="auto",
        interpolation="nearest",
    )
    for spine in ax.spines.values():
        spine.set_visible(True)
    for boundary in boundaries:
        if post == _RECURRENT:
            ax.axhline(boundary - 0.5, color="black", linewidth=0.6)
        if pre == _RECURRENT:
            ax.axvline(boundary - 0.5, color="black", linewidth=0.6)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(_whole_numbers(5))
    ax.set_title(title)
    ax.set_ylabel(f"to {post} (index)")
    ax.set_xlabel(f"from {pre} (index)")
    return image


def _pixels(matrix: csc_array) -> np.ndarray:
    """A sparse matrix as an image; of a large one, the mean of the synapses in each block."""
    if max(matrix.shape) <= _MOST_PIXELS:
        return matrix.toarray()
    n_rows, n_columns = (min(n, _MOST_PIXELS) for n in matrix.shape)
    pairs = matrix.tocoo()
    # In 64 bits: an index times the number of pixels is larger than 32 hold.
    row = pairs.row.astype(np.int64) * n_rows // matrix.shape[0]
    column = pairs.col.astype(np.int64) * n_columns // matrix.shape[1]
    pixel = row * n_columns + column
    total, count = (np.bincount(pixel, w, n_rows * n_columns) for w in (pairs.data, None))
    return (total / np.maximum(count, 1)).reshape(n_rows, n_columns)


def _scale(matrices: Sequence[Matrix]) -> float:
    """End of a symmetric colour scale, above 0 even for matrices of zeros or without synapses."""
    values = np.concatenate([values_of(m).ravel() for m in matrices])
    largest = np.percentile(np.abs(values), 99.5) if len(values) else 0
    return float(largest) if largest > 0 else 1.0


# --- learned parameters ---------------------------------------------------------------------------


def plot_parameters(
    values: Mapping[str, Matrix], network: Network, after: Mapping[str, Matrix] | None = None
) -> Figure:
    """Draw how the learned parameters are distributed over the neurons.

    Parameters
    ----------
    values : mapping
        Has a vector, in SI units, for every learned parameter (``"population.parameter"``).
    network : Network
        Whose parameters they are.
    after : mapping, optional
        The same after training.

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If no parameter of the network is learned.
    """
    names = list(network.learned_shapes)
    if not names:
        raise ValueError("the network has no learned parameters")
    kinds = {p.name: p.neuron.parameters for p in network.populations}
    n_columns = min(3, len(names))
    n_rows = -(-len(names) // n_columns)
    with _style():
        figure, axes = plt.subplots(
            n_rows,
            n_columns,
            figsize=(_WIDTH * n_columns / 3 + 0.3, 0.4 + 1.8 * n_rows),
            squeeze=False,
            layout="constrained",
        )
        for ax, name in zip(axes.flat, names, strict=False):
            population, parameter = name.split(".")
            scale, unit = _shown_unit(kinds[population][parameter])
            sets = (
                {"before": values[name]}
                if after is None
                else {
                    "before": values[name],
                    "after": after[name],
                }
            )
            shown = {when: np.asarray(v) / scale for when, v in sets.items()}
            bins = np.histogram_bin_edges(np.concatenate(list(shown.values())), bins=20)
            for (when, v), colour in zip(shown.items(), ("#888888", _COLOURS[0]), strict=False):
                ax.hist(v, bins=bins, color=colour, alpha=0.7, label=when)
            ax.set_xlabel(f"{parameter} of {population} ({unit})")
            ax.set_ylabel("neurons (number)")
            ax.yaxis.set_major_locator(_whole_numbers(5))
        for ax in axes.flat[len(names) :]:
            ax.set_visible(False)
        if after is not None:
            _legend_above(axes[0, 0])
    return figure


def _shown_unit(value: Parameter) -> tuple[float, str]:
    """A unit for values like this one, in SI units, and its name."""
    if isinstance(value, list | tuple):
        value = value[0]
    if isinstance(value, str):
        value = parse_quantity(value, "parameter")
    if not isinstance(value, Quantity) or value.is_dimensionless:
        return 1.0, "dimensionless"
    unit = value.get_best_unit()
    return float(unit), str(unit)


# --- a run ----------------------------------------------------------------------------------------


def plot_run(folder: str | Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Draw the run in a folder: learning curve, a trial before and after training, weights.

    Both trials are the same fresh one (of the stream ``"test"``), with the traces of the same
    synapses: those that `record_trial` chooses after training.

    Parameters
    ----------
    folder : path
        As `eprop_brian.training.run.Run` fills it.
    formats : sequence of str
        File types, e.g. ``("png", "pdf")``.

    Returns
    -------
    list of Path
        The files written: ``learning_curve``, ``trial_before``, ``trial_after``, ``weights``,
        ``trajectory`` if two readouts follow targets and ``parameters`` if neurons have learned
        ones, in each format; no learning curve before the first iteration.

    Raises
    ------
    ValueError
        If the folder holds no run or one of its files is damaged.
    """
    folder = Path(folder)
    config = RunConfig.read(folder)
    task = config.make_task()
    network = config.make_network(task)
    initial, _ = _read_weights(folder / INITIAL, network)
    trained, n_updates = _read_weights(folder / CHECKPOINT, network)
    # A process killed between writing its files leaves more history than the checkpoint knows.
    history = History.read(folder / HISTORY).truncated(n_updates)
    seed = config.run["seed"]
    after = record_trial(network, task, trained, seed=seed)
    before = record_trial(network, task, initial, seed=seed, synapses=after.synapses)
    done = f"{n_updates} iteration{'' if n_updates == 1 else 's'}"
    figures = {
        "trial_before": plot_trial(before, f"{task.name}: before training"),
        "trial_after": plot_trial(after, f"{task.name}: after {done}"),
        "weights": plot_weights(initial, network.populations, trained),
    }
    if _draws_trajectory(after):
        figures["trajectory"] = plot_trajectory(after, before)
    if network.learned_shapes:
        figures["parameters"] = plot_parameters(initial, network, trained)
    if len(history):
        figures = {"learning_curve": plot_learning_curve(history, task.error_threshold), **figures}
    return [
        path
        for name, figure in figures.items()
        for path in save_figure(figure, folder / name, formats)
    ]


def _read_weights(path: Path, network: Network) -> tuple[dict[str, Matrix], int]:
    """The weights of a saved state and how many updates made them."""
    arrays = read_arrays(path)
    shapes = {**network.shapes, **network.learned_shapes}
    for name, shape in {**shapes, "n_updates": ()}.items():
        if name not in arrays or arrays[name].shape != shape:
            raise ValueError(f"{path}: there is no '{name}' of shape {shape} that the run needs")
    return {name: arrays[name] for name in shapes}, int(arrays["n_updates"])
