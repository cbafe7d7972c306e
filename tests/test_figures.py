"""Figures: every axis says what it shows in which unit, and files are written."""

import matplotlib as mpl
import numpy as np
import pytest
from brian2 import ms
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from eprop_brian import get_task, plot, record
from eprop_brian.equations import ALIF, LIF, Neuron
from eprop_brian.figures import eprop as figures_of_a_run
from eprop_brian.figures import weights as figures_of_weights
from eprop_brian.figures.style import colours, log_if_wide, same_limits, save_figures
from eprop_brian.network.spec import Network
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import Run
from eprop_brian.training.history import History
from eprop_brian.training.quantities import default_quantities, slow_components
from eprop_brian.training.recorded import (
    Member,
    Recorded,
    RecordedPopulation,
    RecordedReadout,
    Recording,
)
from eprop_brian.training.traces import TracedSynapse

mpl.use("Agg")

N_STEPS, WINDOW = 60, 20


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def history(n=5, error=None):
    result = History()
    for k in range(n):
        result.append(1 / (k + 1), np.nan if error is None else error, 10.0, 0.1)
    return result


def readout(softmax, n_outputs=2):
    return {"readouts": (RecordedReadout("readout", slice(0, n_outputs), softmax),)}


#: What the arrays of a recording are of.
KINDS = {
    **{"inputs": "inputs", "v": "neurons", "spikes": "neurons", "threshold": "neurons"},
    **{"psi": "neurons", "learning_signal": "neurons", "y": "outputs", "output": "outputs"},
    **{"target": "outputs", "error": "outputs"},
    **{"eligibility_trace": "synapses", "filtered_trace": "synapses"},
}
SYNAPSES = (
    TracedSynapse("inputs", 1, "lif", 2),
    TracedSynapse("alif", 0, "lif", 2),
    TracedSynapse("inputs", 3, "alif", 1),
    TracedSynapse("inputs", 3, "lif", 0),
)


def make_recording(sizes=(("lif", 3), ("alif", 2)), units=None, membrane="v", **changes):
    """A recording of 4 inputs, 3 LIF and 2 ALIF neurons and 2 readouts, without a network."""
    rng = np.random.default_rng(0)
    v = rng.standard_normal((N_STEPS, 5))
    fields = {
        "time": np.arange(N_STEPS) * 1.0,
        "dt": 1.0,
        "counts": np.arange(N_STEPS) >= N_STEPS - WINDOW,
        "populations": tuple(RecordedPopulation(*size, membrane) for size in sizes),
        **readout(softmax=True),
        "synapses": SYNAPSES,
    }
    arrays = {
        "inputs": rng.random((N_STEPS, 4)) < 0.2,
        "spikes": v > 1,
        "v": v,
        "threshold": np.ones((N_STEPS, 5)),
        "psi": np.abs(v),
        "learning_signal": v,
        "y": rng.standard_normal((N_STEPS, 2)),
        "output": rng.random((N_STEPS, 2)),
        "target": np.tile([0.0, 1.0], (N_STEPS, 1)),
        "error": rng.standard_normal((N_STEPS, 2)),
        "eligibility_trace": rng.standard_normal((N_STEPS, 4)),
        "filtered_trace": rng.standard_normal((N_STEPS, 4)),
    }
    fields |= {name: value for name, value in changes.items() if name in fields}
    arrays |= {name: value for name, value in changes.items() if name not in fields}
    members = {
        "inputs": [Member("inputs", i) for i in range(4)],
        "neurons": [Member(name, i) for name, n in sizes for i in range(n)],
        "synapses": fields["synapses"],
    }
    quantities = {}
    for name, values in arrays.items():
        if values is None:
            continue
        kind = KINDS[name]
        outputs = [Member("readout", k) for k in range(values.shape[1])]
        own = tuple(members.get(kind, outputs))
        unit = (units or {}).get(name, "1")
        quantities[membrane if name == "v" else name] = Recorded(
            name, kind, values, own, (unit,) * len(own)
        )
    return Recording(**fields, quantities=quantities)


def draw(figure):
    """Lay the figure out and check its labels; returns the labels of its y axes."""
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    shared = {}
    for ax in figure.axes:
        assert "(" in ax.get_ylabel(), "a y axis has no unit"
        if ax.get_label() != "<colorbar>":
            group = tuple(id(a) for a in ax.get_shared_x_axes().get_siblings(ax))
            shared.setdefault(frozenset(group), []).append(ax.get_xlabel())
    for labels in shared.values():
        assert any("(" in label for label in labels), "an x axis has no unit"
    return [ax.get_ylabel().replace("\n", " ") for ax in figure.axes]


def test_learning_curve_of_a_regression_has_no_error():
    labels = draw(plot.learning(history()))
    assert labels == ["loss (dimensionless)", "firing rate (Hz)"]


def test_learning_curve_of_a_classification_shows_the_threshold():
    figure = plot.learning(history(120, error=0.25), error_threshold=0.07)
    labels = draw(figure)
    assert labels == ["loss (dimensionless)", "wrong trials (%)", "firing rate (Hz)"]
    error, mean, threshold = figure.axes[1].lines
    np.testing.assert_allclose(error.get_ydata(), 25)
    assert threshold.get_ydata()[0] == pytest.approx(7)
    # Means of two iterations stand where those iterations are.
    assert len(mean.get_xdata()) == 119 and mean.get_xdata()[0] == 1
    assert figure.axes[0].get_yscale() == "log"


def test_learning_curve_shows_an_alignment_that_could_be_other():
    aligned = history(120)
    aligned.alignment[49::50] = [0.25, 0.75]
    figure = plot.learning(aligned)
    assert draw(figure)[-1] == "feedback alignment (cosine)"
    line = figure.axes[-1].lines[0]
    np.testing.assert_array_equal(line.get_xdata(), [50, 100])
    np.testing.assert_array_equal(line.get_ydata(), [0.25, 0.75])
    symmetric = history(5)
    symmetric.alignment[-1] = 1.0
    assert "alignment" not in " ".join(draw(plot.learning(symmetric)))


def test_learned_parameters_are_drawn_in_their_unit():
    slow = ALIF.with_parameters(tau_m=[20, 30] * ms)
    network = Network.standard(4, 1, [(LIF, 3), (slow, 2)], learned={"tau_m": {}, "beta": {}})
    before = network.initial_weights(0)
    after = {**before, "lif.tau_m": before["lif.tau_m"] + 0.002}
    figure = plot.parameters(before, network, after)
    draw(figure)
    labels = [ax.get_xlabel() for ax in figure.axes]
    assert labels == ["tau_m of lif (ms)", "tau_m of alif (ms)", "beta of alif (dimensionless)"]
    edges = [bar.get_x() for bar in figure.axes[0].patches if bar.get_height()]
    assert min(edges) == pytest.approx(20) and max(edges) < 22 < 1.01 * max(edges) + 0.1
    with pytest.raises(ValueError, match="no learned parameters"):
        plot.parameters(before, network.with_part("lif", learned={}).with_part("alif", learned={}))


def test_trial_with_a_surrogate_below_zero_shows_it():
    figure = plot.trial(make_recording(psi=np.full((N_STEPS, 5), -0.5)))
    psi = next(ax for ax in figure.axes if "surrogate" in ax.get_ylabel())
    assert psi.get_ylim()[0] < -0.5


def test_learning_curve_of_one_iteration_and_of_none():
    draw(plot.learning(history(1)))
    with pytest.raises(ValueError, match="empty"):
        plot.learning(History())


def test_trial_has_a_panel_for_everything():
    figure = plot.trial(make_recording(), title="a trial")
    assert draw(figure) == [
        "input neuron (index)",
        "recurrent neuron (index)",
        "membrane v (dimensionless)",
        "membrane v (dimensionless)",
        "membrane v (dimensionless)",
        "surrogate ψ (dimensionless)",
        "learning signal L (dimensionless)",
        "eligibility trace e (dimensionless)",
        "filtered trace ē (dimensionless)",
        "softmax output (probability)",
    ]
    assert figure.axes[-1].get_xlabel() == "time in the trial (ms)"
    assert figure.get_suptitle() == "a trial"
    # Postsynaptic neurons of the traced synapses, each in a colour of its own.
    membranes = [ax.lines[0] for ax in figure.axes[2:5]]
    assert [line.get_label() for line in membranes] == ["lif 2", "alif 1", "lif 0"]
    assert len({line.get_color() for line in membranes}) == 3
    np.testing.assert_array_equal(membranes[1].get_ydata(), make_recording().v[:, 4])


def test_trial_shows_analog_inputs_as_an_image():
    values = np.random.default_rng(1).normal(size=(N_STEPS, 4))
    figure = plot.trial(make_recording(inputs=values))
    assert draw(figure)[0] == "analog input (index)"
    (image,) = figure.axes[0].get_images()
    np.testing.assert_array_equal(image.get_array(), values.T)
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


def test_trial_shades_the_learning_window_and_shows_the_target_there():
    figure = plot.trial(make_recording())
    output = figure.axes[-1]
    (window,) = output.patches
    assert (window.get_x(), window.get_width()) == (N_STEPS - WINDOW, WINDOW)
    assert np.isfinite(output.lines[1].get_ydata()).sum() == WINDOW
    whole = plot.trial(make_recording(counts=np.ones(N_STEPS, dtype=bool)))
    assert not whole.axes[-1].patches


def test_trial_without_membrane_traces_or_softmax():
    nothing = np.zeros((N_STEPS, 0))
    recording = make_recording(
        v=None,
        threshold=None,
        **readout(softmax=False),
        synapses=(),
        eligibility_trace=nothing,
        filtered_trace=nothing,
    )
    labels = draw(plot.trial(recording))
    assert labels[2:] == [
        "surrogate ψ (dimensionless)",
        "learning signal L (dimensionless)",
        "readout y (dimensionless)",
    ]


def test_a_trial_is_drawn_of_what_was_recorded():
    with pytest.raises(ValueError, match="the figure shows 'psi', which was not recorded"):
        plot.trial(make_recording(psi=None))
    with pytest.raises(ValueError, match="shows 'filtered_trace'"):
        plot.trial(make_recording(filtered_trace=None))
    labels = draw(plot.trial(make_recording(threshold=None)))
    assert not any("membrane" in label for label in labels)


def test_readouts_with_names_of_their_own_have_panels():
    readouts = (
        RecordedReadout("class", slice(0, 1), softmax=True),
        RecordedReadout("angle", slice(1, 2), softmax=False, first=N_STEPS - 3),
    )
    recording = make_recording(readouts=readouts)
    figure = plot.trial(recording)
    assert draw(figure)[-2:] == [
        "softmax output of class (probability)",
        "readout angle (dimensionless)",
    ]
    for ax, column in zip(figure.axes[-2:], recording.output.T, strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), column)
    # Targets are drawn in the window of their own readout.
    drawn = [np.isfinite(ax.lines[1].get_ydata()).sum() for ax in figure.axes[-2:]]
    assert drawn == [WINDOW, 3]


def test_trial_in_volts_is_drawn_in_millivolts():
    recording = make_recording(
        sizes=(("lif", 5),),
        membrane="v_m",
        units={"v": "volt", "threshold": "volt", "psi": "1/volt"},
        synapses=(TracedSynapse("inputs", 1, "lif", 4),),
    )
    figure = plot.trial(recording)
    labels = draw(figure)
    assert "membrane v_m (mV)" in labels
    assert "surrogate ψ (1/volt)" in labels
    np.testing.assert_allclose(figure.axes[2].lines[0].get_ydata(), 1e3 * recording.v_m[:, 4])


def test_trajectory_is_drawn_over_its_target():
    after = make_recording(**readout(softmax=False))
    before = make_recording(**readout(softmax=False), output=np.zeros((N_STEPS, 2)))
    figure = plot.trajectory(after, before)
    assert draw(figure) == ["readout 1 (dimensionless)"]
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines) == ["target", "output", "output before training"]
    # Of the learning window only.
    np.testing.assert_array_equal(lines["target"].get_xydata(), after.target[-WINDOW:])
    np.testing.assert_array_equal(lines["output"].get_xydata(), after.output[-WINDOW:])
    assert figure.axes[0].get_aspect() == 1
    assert len(plot.trajectory(after).axes[0].lines) == 2


def test_a_trajectory_needs_two_coordinates():
    with pytest.raises(ValueError, match="two readouts that follow targets, got 2 of a class"):
        plot.trajectory(make_recording())
    three = np.zeros((N_STEPS, 3))
    with pytest.raises(ValueError, match="two readouts that follow targets, got 3$"):
        plot.trajectory(make_recording(**readout(False, 3), output=three, target=three))


@pytest.mark.parametrize("n", [10, 11])
def test_ten_readouts_have_colours_of_their_own_and_a_legend(n):
    many = np.zeros((N_STEPS, n))
    figure = plot.trial(make_recording(y=many, output=many, target=many, **readout(False, n)))
    draw(figure)
    legend = figure.axes[-1].get_legend()
    if n > 10:
        assert legend is None
        return
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == [*(f"output {k}" for k in range(n)), "targets"]
    lines = legend.get_lines()[:n]
    assert len({line.get_color() for line in lines}) == n


#: What people without one kind of cones see: Machado et al. 2009, severity 1, of linear RGB.
NO_CONES = {
    "protanopia": [
        *([0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216]),
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        *([0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413]),
        [-0.011820, 0.042940, 0.968881],
    ],
    "all cones": np.eye(3),
}


def lab(colours, cones):
    """CIE L*a*b* (D65) of colours as they are seen, shape (n, 3)."""
    rgb = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(cones), 0, 1)
    xyz = seen @ np.array(
        [
            [0.4124564, 0.2126729, 0.0193339],
            [0.3575761, 0.7151522, 0.1191920],
            [0.1804375, 0.0721750, 0.9503041],
        ]
    )
    x, y, z = np.cbrt(np.maximum(xyz / [0.95047, 1.0, 1.08883], 0.008856)).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


@pytest.mark.parametrize("cones", NO_CONES)
@pytest.mark.parametrize("n", [6, 10])
def test_colour_blind_readers_tell_curves_apart(n, cones):
    points = lab(colours(n), NO_CONES[cones])
    distance = np.linalg.norm(points[:, np.newaxis] - points, axis=-1)
    # Two are just told apart at 2.3 (Mahy et al. 1994).
    assert distance[~np.eye(n, dtype=bool)].min() > 3 * 2.3


def test_panels_before_and_after_have_the_same_limits():
    figures = []
    for scale in (1.0, 7.0):
        base = make_recording()
        figures.append(plot.trial(make_recording(v=scale * base["v"].values)))
    names = [ax.get_ylabel() for ax in figures[0].axes]
    before = [[ax.get_ylim() for ax in figure.axes] for figure in figures]
    same_limits(figures)
    for number, name in enumerate(names):
        first, second = (figure.axes[number].get_ylim() for figure in figures)
        assert first == second, name
        for of_figure in before:
            low, high = sorted(of_figure[number])
            assert min(first) <= low and high <= max(first)


def test_logarithmic_axes_have_plain_numbers():
    for values, expected in (([0.002, 90.0], "0.01"), ([1.0, 40.0], "20")):
        figure, ax = plt.subplots()
        ax.plot(values)
        assert log_if_wide(ax, np.array(values))
        figure.canvas.draw()
        labels = [label.get_text() for label in ax.get_yticklabels()]
        assert expected in labels
        assert not any("^" in label or "e" in label for label in labels)


def test_adaptation_and_its_slow_trace_are_drawn():
    task = get_task("evidence-accumulation", n_cues=1, delay=50 * ms)
    network = Network.for_task(task, [(LIF, 2), (ALIF, 3)])
    slow = slow_components(network.resolved)
    assert slow == ["eps_a"]
    names = [*default_quantities(network.resolved), *slow]
    weights = network.initial_weights(1)
    recording = record(network, task, weights, quantities=names, device="runtime")
    figure = plot.trial(recording)
    labels = draw(figure)
    state = figure.axes[labels.index("state a (dimensionless)")]
    component = figure.axes[labels.index("component ε of a (dimensionless)")]
    example = next(m for m in recording["eps_a"].members if m.target == "alif")
    assert [line.get_label() for line in component.get_lines()] == [
        str(s) for s in recording.synapses if s.target == "alif"
    ]
    column = recording["eps_a"].members.index(example)
    np.testing.assert_array_equal(
        component.get_lines()[0].get_ydata(), recording["eps_a"].values[:, column]
    )
    assert {line.get_label() for line in state.get_lines()} <= {f"alif {k}" for k in range(3)}


@pytest.mark.parametrize("ratio", [0.25, 1.0, 2.0])
def test_a_trajectory_wastes_no_canvas(ratio):
    angle = np.linspace(0, 2 * np.pi, N_STEPS)
    line = np.stack([np.cos(angle), ratio * np.sin(angle)], axis=-1)
    every = np.ones(N_STEPS, dtype=bool)
    figure = plot.trajectory(
        make_recording(output=line, target=line, counts=every, **readout(False))
    )
    figure.canvas.draw()
    (ax,) = figure.axes
    for limits, extent in ((ax.get_xlim(), 2.0), (ax.get_ylim(), 2.0 * ratio)):
        assert np.ptp(limits) < 1.45 * extent


@pytest.mark.parametrize(("n_outputs", "trained"), [(2, True), (1, False)])
def test_weights_have_symmetric_scales(n_outputs, trained):
    network = Network.standard(4, n_outputs, [(LIF, 3), (ALIF, 2)])
    weights = network.initial_weights(1)
    after = {name: w + 0.1 for name, w in weights.items()} if trained else None
    figure = plot.weights(weights, network, after)
    labels = draw(figure)
    images = [ax.images[0] for ax in figure.axes if ax.images]
    assert len(images) == (9 if trained else 3)
    for image in images:
        low, high = image.get_clim()
        assert low == -high
    if trained:
        assert images[0].get_clim() == images[3].get_clim()
        assert "change (dimensionless)" in labels


@pytest.mark.parametrize("fraction", [0.0, 0.3])
def test_sparse_weights_are_drawn_like_dense_ones(fraction):
    network = Network.standard(4, 2, [(LIF, 3), (ALIF, 2)], connectivity={"w_rec": fraction})
    weights = network.initial_weights(1)
    after = {name: 2 * w for name, w in weights.items()}
    figure = plot.weights(weights, network, after)
    draw(figure)
    images = [ax.images[0] for ax in figure.axes if ax.images]
    for image, matrices in zip(images[1::3], (weights, after, weights), strict=True):
        dense = matrices["w_rec"].toarray()
        np.testing.assert_array_equal(image.get_array().mask, dense == 0)
        np.testing.assert_array_equal(image.get_array().filled(0), dense)
        assert image.get_extent() == [-0.5, 4.5, 4.5, -0.5]


def test_a_pixel_of_a_large_sparse_matrix_is_a_mean(monkeypatch):
    monkeypatch.setattr(figures_of_weights, "_MOST_PIXELS", 3)
    network = Network.standard(4, 2, [(LIF, 6)], connectivity={"w_rec": 0.5})
    matrix = network.initial_weights(1)["w_rec"]
    blocks = matrix.toarray().reshape(3, 2, 3, 2).swapaxes(1, 2)
    means = [[b[b != 0].mean() if np.any(b) else np.nan for b in row] for row in blocks]
    np.testing.assert_allclose(figures_of_weights._pixels(matrix), means, rtol=1e-14)


def test_weights_of_a_model_with_units_say_so():
    neuron = Neuron(
        name="volts",
        model="dv/dt = -v/tau_m : volt",
        on_pre="v += w",
        reset="v -= v_th",
        threshold="v > v_th",
        surrogate="0.3/v_th*clip(1 - abs(v - v_th)/v_th, 0, 1)",
        parameters={"tau_m": "20 ms", "v_th": "10 mV"},
    )
    network = Network.standard(4, 2, [(neuron, 3)])
    zero = {name: 0 * w for name, w in network.initial_weights(1).items()}
    labels = draw(plot.weights(zero, network))
    assert labels[3:] == ["weight (volt)", "weight (volt)", "weight (dimensionless)"]


def test_settings_of_matplotlib_are_neither_used_nor_changed(monkeypatch):
    monkeypatch.setitem(mpl.rcParams, "axes.labelsize", 30)
    before = mpl.rcParams.copy()
    figure = plot.learning(history())
    assert figure.axes[0].yaxis.label.get_size() == 8
    assert mpl.rcParams == before


# --- a run ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[1, 2])
def run_folder(request, tmp_path_factory):
    """A tiny run with one or two readouts."""
    config = RunConfig.from_recipe(
        "pattern-generation",
        run={"device": "runtime", "iterations": 2, "seed": 3},
        settings=[
            *("task.n_steps=60", "task.n_inputs=6", "size.lif=5"),
            f"task.n_outputs={request.param}",
        ],
    )
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run = Run.start(config, folder)
    run.train(progress=False)
    return folder


def test_a_run_is_drawn(run_folder):
    paths = plot.run(run_folder, formats=("png", "pdf"))
    names = ["learning_curve", "trial_before", "trial_after", "weights"]
    if RunConfig.read(run_folder).make_task().n_outputs == 2:
        names.insert(3, "trajectory")
    assert paths == [run_folder / f"{name}.{kind}" for name in names for kind in ("png", "pdf")]
    for path in paths:
        start = {".png": b"\x89PNG", ".pdf": b"%PDF"}[path.suffix]
        assert path.read_bytes().startswith(start)
    assert not plt.get_fignums()
    assert not list(run_folder.glob(".*"))


def test_figures_that_no_longer_belong_to_a_run_are_removed(tmp_path):
    """Of another run that was in the folder; files of one's own stay."""
    for name in ("labels.png", "episode_after.pdf", "weights.png", "mine.png", "labels.txt"):
        (tmp_path / name).write_bytes(b"old")
    (written,) = save_figures({"weights": plt.figure()}, tmp_path, ["png"], ["weights", "labels"])
    assert written.read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {
        *("weights.png", "episode_after.pdf", "mine.png", "labels.txt")
    }


def test_a_run_without_iterations_has_no_learning_curve(run_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(figures_of_a_run, "record", lambda *_, **__: make_recording())
    monkeypatch.setattr(figures_of_a_run, "plot_trial", lambda *_: plt.figure())
    run = Run(RunConfig.read(run_folder), tmp_path, RunConfig.read(run_folder).make_trainer())
    run.config.write(tmp_path)
    run.save()
    (tmp_path / "checkpoint.npz").rename(tmp_path / "initial.npz")
    run.save()
    (tmp_path / "learning_curve.pdf").write_bytes(b"of another run")
    names = [path.name for path in plot.run(tmp_path)]
    assert names == ["trial_before.png", "trial_after.png", "weights.png"]
    assert not (tmp_path / "learning_curve.pdf").exists()


def test_a_folder_without_a_usable_run_is_refused(run_folder, tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        plot.run(tmp_path)
    config = RunConfig.read(run_folder)
    config.write(tmp_path)
    history(2).write(tmp_path / "history.csv")
    np.savez(tmp_path / "initial.npz", n_updates=0)
    np.savez(tmp_path / "checkpoint.npz", n_updates=0)
    with pytest.raises(ValueError, match=r"initial.npz lacks the array 'w_in' of shape \(5, 6\)"):
        plot.run(tmp_path)
