"""Figures of a trial: from inputs to readout, and the trajectory of two readouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eprop_brian.figures.style import (
    COLOURS,
    WIDTH,
    colours,
    draw_analog_inputs,
    draw_spikes,
    legend_beside,
    lighter,
    named_units,
    stacked,
    styled,
)
from eprop_brian.training.recorded import Recorded, RecordedReadout, Recording
from eprop_brian.training.traces import TracedSynapse

__all__ = [
    "draw_inputs",
    "draw_output",
    "draw_raster",
    "draw_recurrent",
    "draws_trajectory",
    "plot_trajectory",
    "plot_trial",
]

#: Colours of readouts; those of populations and example neurons are `COLOURS`.
_READOUT_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#0072B2", "#D55E00")
#: What is recorded of neurons beside their states.
_NO_STATES = ("spikes", "threshold", "psi", "learning_signal", "input_current", "transmitted")
_COMPONENT = "eps_"
#: Least and largest height of a trajectory in inches.
_TRAJECTORY_HEIGHTS = (1.2, 5.0)
#: Its least width, which its legend needs.
_TRAJECTORY_WIDTH = 2.4
_GREY = "#666666"
#: Shares of white in the colours of several synapses of a neuron.
_PALER = (0.0, 0.55, 0.3, 0.75)
_MOST_EXAMPLES = 3
_MOST_LABELLED_READOUTS = 10
#: Readouts up to which a legend names output and target of each.
_MOST_TARGETS = 3
#: States beside the membrane, and components of eligibility vectors, that are drawn.
_MOST_STATES = 2

#: What the figure of a trial draws, with synapses their traces too.
_SHOWN = ("inputs", "spikes", "psi", "learning_signal", "output", "target")
_TRACES = ("eligibility_trace", "filtered_trace")

#: A neuron: its population and its index there.
_Example = tuple[str, int]


@styled()
def plot_trial(recording: Recording, title: str | None = None) -> Figure:
    """Draw what happens within a trial, from inputs to readout.

    The panels share their time axis: input spikes or analog inputs; recurrent spikes; membrane and
    threshold of example neurons, those whose synapses were traced; their surrogate derivative and
    learning signal; eligibility traces and filtered traces of the traced synapses; output and
    target. Adaptation and other states of the examples have panels too, and so have components of
    eligibility vectors that were recorded, such as that of adaptation, ``"eps_a"``. The learning
    window is shaded unless it is the whole trial.

    Parameters
    ----------
    recording : Recording
    title : str, optional

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If a quantity that it draws was not recorded.
    """
    _require(recording, *_SHOWN, *_TRACES * bool(recording.synapses))
    examples = _examples(recording)
    heights = {"inputs": 1.1, "recurrent": 1.3}
    membranes = [example for example in examples if _membrane_of(recording, example) is not None]
    heights.update({_membrane_panel(example): 0.95 for example in membranes})
    states = _other_states(recording, examples)
    heights.update({f"state {name}": 0.95 for name in states})
    heights.update(psi=0.95, signal=0.95)
    components = [name for name in recording if name.startswith(_COMPONENT)][:_MOST_STATES]
    if recording.synapses:
        heights.update({name: 1.0 for name in components})
        heights.update(eligibility=1.0, filtered=1.0)
    outputs = {_output_panel(readout): readout for readout in recording.readouts}
    heights.update(dict.fromkeys(outputs, 1.2))
    figure, panels = stacked(heights, "time in the trial (ms)")
    draw_inputs(panels["inputs"], recording)
    draw_recurrent(panels["recurrent"], recording, examples)
    for number, example in enumerate(membranes):
        ax, colour = panels[_membrane_panel(example)], examples[example]
        _draw_membrane(ax, recording, example, colour, explained=number == 0)
    for name, recorded in states.items():
        _draw_state(panels[f"state {name}"], recording, name, recorded, examples)
    _draw_signals(panels["psi"], panels["signal"], recording, examples)
    if recording.synapses:
        for name in components:
            _draw_component(panels[name], recording, name, examples)
        _draw_traces(panels["eligibility"], panels["filtered"], recording, examples)
    for panel, readout in outputs.items():
        draw_output(panels[panel], recording, readout)
    _shade_window(list(panels.values()), recording)
    panels["inputs"].set_xlim(0.0, recording.time[-1] + recording.dt)
    if title:
        figure.suptitle(title)
    return figure


@styled()
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
    if not draws_trajectory(recording):
        raise ValueError(
            f"a trajectory needs two readouts that follow targets, got {recording.output.shape[1]}"
            f"{' of a classification' if recording.softmax else ''}"
        )
    lines: list[tuple[str, np.ndarray, dict[str, Any]]] = [
        ("target", recording.target, {"color": "black", "linestyle": "--", "zorder": 3}),
        ("output", recording.output, {"color": _READOUT_COLOURS[0], "linewidth": 1.4}),
    ]
    if before is not None:
        pale = {"color": "#999999", "linewidth": 0.6, "zorder": 1}
        lines.append(("output before training", before.output, pale))
    shown = [values[recording.counts] for _, values, _ in lines]
    extent = np.ptp(np.concatenate(shown), axis=0)
    # As large as the line is, so that equal scales leave no canvas empty.
    low, high = _TRAJECTORY_HEIGHTS
    ratio = float(extent[1] / max(extent[0], 1e-9))
    height = float(np.clip(0.65 * WIDTH * ratio, low, high))
    width = float(np.clip(height / max(ratio, 1e-9), _TRAJECTORY_WIDTH, 0.65 * WIDTH))
    figure, ax = plt.subplots(figsize=(width + 0.8, height + 0.8), layout="constrained")
    for (label, _, look), values in zip(lines, shown, strict=True):
        ax.plot(*values.T, label=label, **look)
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_xlabel("readout 0 (dimensionless)")
    ax.set_ylabel("readout 1 (dimensionless)")
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.0, ncols=3)
    return figure


def draws_trajectory(recording: Recording) -> bool:
    """Whether the readouts of a recording are the coordinates of a line in a plane."""
    _require(recording, "output", "target")
    return recording.output.shape[1] == 2 and not recording.softmax


def _require(recording: Recording, *names: str) -> None:
    """Raise ValueError for a quantity that was not recorded."""
    for name in names:
        if name not in recording:
            raise ValueError(
                f"the figure shows '{name}', which was not recorded: add it to `quantities`"
            )


def _examples(recording: Recording) -> dict[_Example, str]:
    """Neurons to show with their colours: the traced or most active ones.

    The first of a population has the population's colour.
    """
    neurons = list(dict.fromkeys((s.target, s.post) for s in recording.synapses))
    if not neurons:
        spikes = recording["spikes"]
        for population in recording.populations:
            columns = spikes.columns(population.name)
            if len(columns):
                busiest = columns[np.argmax(spikes.values[:, columns].sum(axis=0))]
                neurons.append((population.name, spikes.members[busiest].index))
    of_population = _population_colours(recording)
    spare = cycle([c for c in COLOURS if c not in of_population.values()] or COLOURS)
    colours = {}
    for name, neuron in neurons[:_MOST_EXAMPLES]:
        colours[name, neuron] = of_population.pop(name) if name in of_population else next(spare)
    return colours


def _population_colours(recording: Recording) -> dict[str, str]:
    return dict(zip((p.name for p in recording.populations), cycle(COLOURS), strict=False))


def _label(example: _Example) -> str:
    population, neuron = example
    return f"{population} {neuron}"


def _membrane_panel(example: _Example) -> str:
    return f"membrane of {_label(example)}"


def draw_inputs(ax: Axes, recording: Recording) -> None:
    """Draw input spikes, or analog inputs as an image with its scale beside it."""
    ax.set_ylabel("input neuron\n(index)")
    if recording.inputs.dtype == bool:
        draw_raster(ax, recording.time, recording.inputs, "black")
        return
    draw_analog_inputs(ax, recording.inputs, recording.time[-1] + recording.dt)


def draw_raster(
    ax: Axes,
    time: np.ndarray,
    spikes: np.ndarray,
    colour: str,
    label: str | None = None,
    first: int = 0,
) -> None:
    """Draw the spikes of an array (n_steps, n), whose first neuron is in row `first`."""
    steps, neurons = np.nonzero(spikes)
    n = spikes.shape[1]
    draw_spikes(ax, time[steps], first + neurons, n, colour, label)
    ax.set_ylim(-1, first + n)


def draw_recurrent(
    ax: Axes, recording: Recording, examples: Mapping[_Example, str] = MappingProxyType({})
) -> None:
    """Spikes of all populations; `examples` with their colours are pointed at."""
    colours, spikes = _population_colours(recording), recording["spikes"]
    for population in recording.populations:
        columns = spikes.columns(population.name)
        if len(columns):
            shown = spikes.values[:, columns]
            colour = colours[population.name]
            draw_raster(ax, recording.time, shown, colour, population.name, first=columns[0])
    ax.set_ylabel("recurrent\nneuron\n(index)")
    pointer: dict[str, Any] = {"linestyle": "none", "marker": "<", "markersize": 4}
    for example, colour in examples.items():
        row = spikes.column(*example)
        right_edge = ax.get_yaxis_transform()
        ax.plot(1.005, row, color=colour, transform=right_edge, clip_on=False, **pointer)
    if examples:
        ax.plot([], [], color=_GREY, label="shown below", **pointer)
    for handle in legend_beside(ax).legend_handles:
        if isinstance(handle, Line2D) and handle.get_marker() == "|":
            handle.set_markersize(7)
            handle.set_markeredgewidth(1.5)


def _membrane_of(recording: Recording, example: _Example) -> Recorded | None:
    """The state that an example's threshold compares, if it was recorded with the threshold."""
    population = recording.population(example[0])
    # A state that is called as another quantity is recorded with its population's name.
    names = [f"{population.name}.{population.membrane}", f"{population.membrane}"]
    recorded = next((recording[name] for name in names if name in recording), None)
    shown = [x for x in (recorded, recording.get("threshold")) if x and x.has(*example)]
    return recorded if len(shown) == 2 else None


def _draw_membrane(
    ax: Axes, recording: Recording, example: _Example, colour: str, *, explained: bool
) -> None:
    """Membrane, threshold and spikes of a neuron; `explained` puts all of them in the legend."""
    membrane, threshold = _membrane_of(recording, example), recording["threshold"]
    assert membrane is not None
    column = membrane.column(*example)
    in_volt = membrane.units[column] == "volt"
    scale, unit = (1e3, "mV") if in_volt else (1.0, named_units([membrane.units[column]]))
    time, v = recording.time, scale * membrane.values[:, column]
    ax.plot(time, v, color=colour, linewidth=0.8, label=_label(example))
    ax.plot(
        time,
        scale * threshold.values[:, threshold.column(*example)],
        color="black",
        linewidth=0.8,
        label="threshold" if explained else None,
    )
    spikes = recording["spikes"]
    fired = np.flatnonzero(spikes.values[:, spikes.column(*example)])
    ax.plot(
        time[fired],
        v[fired],
        linestyle="none",
        marker="o",
        markersize=2.0,
        color="black",
        label="spike" if explained else None,
    )
    name = recording.population(example[0]).membrane
    ax.set_ylabel(f"membrane {name}\n({unit})")
    legend_beside(ax)


def _other_states(
    recording: Recording, examples: Mapping[_Example, str]
) -> dict[str, list[Recorded]]:
    """States of the examples beside their membranes, by name: adaptation, currents of synapses."""
    membranes = {p.name: p.membrane for p in recording.populations}
    states: dict[str, list[Recorded]] = {}
    for name in recording:
        recorded = recording[name]
        state = name.rpartition(".")[2]
        if recorded.kind != "neurons" or name.startswith(_NO_STATES):
            continue
        if any(recorded.has(*e) and membranes[e[0]] not in (None, state) for e in examples):
            states.setdefault(state, []).append(recorded)
    return dict(islice(states.items(), _MOST_STATES))


def _draw_state(
    ax: Axes,
    recording: Recording,
    name: str,
    recorded: Sequence[Recorded],
    examples: Mapping[_Example, str],
) -> None:
    """A state of the examples that have it."""
    units = []
    for values in recorded:
        for example in (e for e in examples if values.has(*e)):
            column = values.column(*example)
            units.append(values.units[column])
            look: dict[str, Any] = {"color": examples[example], "label": _label(example)}
            ax.plot(recording.time, values.values[:, column], **look)
    ax.set_ylabel(f"state {name}\n({named_units(units)})")
    legend_beside(ax)


def _draw_component(
    ax: Axes, recording: Recording, name: str, examples: Mapping[_Example, str]
) -> None:
    """A component of the eligibility vectors of those synapses that have it."""
    recorded = recording[name]
    for column, synapse, colour in _drawn_synapses(recording, examples):
        if synapse in recorded.members:
            values = recorded.values[:, recorded.members.index(synapse)]
            ax.plot(recording.time, values, color=colour, label=str(synapse), zorder=3 - column)
    ax.set_ylabel(f"component\nε of {name.removeprefix(_COMPONENT)}\n({_unit(recorded)})")
    legend_beside(ax)


def _drawn_synapses(
    recording: Recording, examples: Mapping[_Example, str]
) -> Iterator[tuple[int, TracedSynapse, tuple[float, float, float]]]:
    """The number of each traced synapse among those of its neuron, the synapse and its colour."""
    numbers: dict[_Example, int] = {}
    for synapse in recording.synapses:
        neuron = (synapse.target, synapse.post)
        number = numbers[neuron] = numbers.get(neuron, -1) + 1
        yield (
            number,
            synapse,
            lighter(examples.get(neuron, _GREY), _PALER[number % len(_PALER)]),
        )


def _draw_signals(
    psi: Axes, signal: Axes, recording: Recording, examples: Mapping[_Example, str]
) -> None:
    """Surrogate derivatives and learning signals of the examples."""
    curves = ((psi, recording["psi"], 0.6), (signal, recording["learning_signal"], 1.0))
    for example, colour in examples.items():
        look: dict[str, Any] = {"color": colour, "alpha": 0.85, "label": _label(example)}
        for ax, recorded, width in curves:
            values = recorded.values[:, recorded.column(*example)]
            ax.plot(recording.time, values, linewidth=width, **look)
    psi.set_ylabel(f"surrogate ψ\n({_unit(recording['psi'])})")
    if np.min(recording.psi) >= 0:
        psi.set_ylim(bottom=0)
    signal.set_ylabel("learning\nsignal L\n(dimensionless)")
    legend_beside(signal)


def _draw_traces(
    eligibility: Axes, filtered: Axes, recording: Recording, examples: Mapping[_Example, str]
) -> None:
    curves = (
        (eligibility, recording.eligibility_trace, 0.6),
        (filtered, recording.filtered_trace, 1.0),
    )
    drawn = _drawn_synapses(recording, examples)
    for column, (number, synapse, colour) in enumerate(drawn):
        for ax, values, width in curves:
            ax.plot(
                recording.time,
                values[:, column],
                color=colour,
                linewidth=width,
                label=str(synapse),
                # The first of a neuron, in the strongest colour, is hidden by no other.
                zorder=3 - 0.1 * number,
            )
    unit = _unit(recording["eligibility_trace"])
    eligibility.set_ylabel(f"eligibility\ntrace e\n({unit})")
    filtered.set_ylabel(f"filtered\ntrace ē\n({unit})")
    legend_beside(filtered)


def _output_panel(readout: RecordedReadout) -> str:
    return f"output of {readout.name}"


def draw_output(ax: Axes, recording: Recording, readout: RecordedReadout) -> None:
    """Draw the outputs of a readout and their targets."""
    output = recording.output[:, readout.outputs]
    # Nothing is drawn where nothing counts.
    counts = recording.counts & (np.arange(recording.n_steps) >= readout.first)
    target = np.where(counts[:, np.newaxis], recording.target, np.nan)
    target = target[:, readout.outputs]
    n_outputs = output.shape[1]
    labelled = n_outputs <= _MOST_LABELLED_READOUTS
    targets_labelled = n_outputs <= _MOST_TARGETS
    few = n_outputs <= len(_READOUT_COLOURS)
    for number, colour in enumerate(_READOUT_COLOURS[:n_outputs] if few else colours(n_outputs)):
        suffix = f" {number}" if n_outputs > 1 else ""
        ax.plot(
            recording.time,
            output[:, number],
            color=colour,
            label=f"output{suffix}" if labelled else None,
        )
        ax.plot(
            recording.time,
            target[:, number],
            color=colour if n_outputs > 1 else "black",
            linestyle="--",
            linewidth=1.4,
            label=f"target{suffix}" if targets_labelled else None,
        )
    if labelled and not targets_labelled:
        ax.plot([], [], color=_GREY, linestyle="--", linewidth=1.4, label="targets")
    name = f" of {readout.name}" if len(recording.readouts) > 1 else ""
    if readout.softmax:
        ax.set_ylabel(f"softmax output{name}\n(probability)")
        ax.set_ylim(-0.07, 1.07)
    else:
        ax.set_ylabel(f"readout {'y' if not name else readout.name}\n(dimensionless)")
    if labelled:
        legend_beside(ax, columns=1 if targets_labelled else 2)


def _shade_window(axes: Sequence[Axes], recording: Recording) -> None:
    """Shade the steps in which the error counts, unless these are all."""
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


def _unit(recorded: Recorded) -> str:
    """The unit of a quantity, as an axis names it."""
    return named_units(recorded.units)
