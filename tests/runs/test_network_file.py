"""A network comes back from its file, whatever it holds; a wrong file is refused by name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from brian2 import Hz, ms
from scipy.sparse import csc_array, csr_array, save_npz

from eprop_brian import (
    ALIF,
    LEAKY,
    LIF,
    RANDOM,
    Feedback,
    Inputs,
    Learned,
    LearningSignal,
    Loss,
    Network,
    Optimizer,
    Population,
    Projection,
    Readout,
    ReadoutFilter,
    Synapse,
    get_task,
    read_network,
    write_network,
)
from eprop_brian.equations.optimizers import MOMENTUM
from eprop_brian.network.rewiring import Rewiring
from eprop_brian.runs.graph_writing import tables_of
from eprop_brian.symbolic.neuron_file import read_neuron
from eprop_brian.symbolic.step_map import step_map

OWN_NEURON = replace(
    LIF.with_parameters(v_th=np.linspace(0.5, 0.7, 4)), name="own", source="", detach=("v",)
)
TWO_INPUTS = replace(
    LIF,
    name="two_inputs",
    update="v = alpha*v + I_ampa + 0.5*I_gaba - v_th*z",
    receptors=("ampa", "gaba"),
)
PYRAMIDAL = read_neuron(Path(__file__).parents[2] / "docs" / "neurons" / "pyramidal.toml")
FADING = Synapse(
    "dx/dt = (1 - x)/tau_d : 1 (event-driven)",
    "I_ampa_post += w*U*x; x -= U*x",
    parameters={"tau_d": 150 * ms, "U": [0.4, 0.5]},
    initial={"x": "1"},
    name="fading",
)
OWN_FILTER = ReadoutFilter(
    "own", "y = decay*y + I", {"tau_out": 20 * ms}, {"decay": "exp(-dt/tau_out)"}
)
OWN_LOSS = Loss("own", "(y - y_target)**4", "4*(y - y_target)**3", "y", False, True, False)
OWN_OPTIMIZER = Optimizer(
    "own",
    "s = s + g**2\nw = clip(w - eta*s, w_min, w_max)",
    ("s",),
    {"eta": 1e-3, "w_min": -5.0, "w_max": 5.0},
)
RNG = np.random.default_rng(0)
ADJACENCY = RNG.random((5, 5)) < 0.5
np.fill_diagonal(ADJACENCY, False)
SPARSE = csc_array(RNG.random((4, 5)) < 0.5)


def everything() -> Network:
    """A network with an example of everything that a part or an option can be."""
    return Network(
        [
            Inputs(3, "seen"),
            Inputs(2, "heard"),
            Inputs(1, "bias", constant=True),
            Population(LIF, 5, "first", {"tau_m": Learned(minimum=5 * ms, eta=0.1)}),
            Population(OWN_NEURON, 4),
            Population(TWO_INPUTS, 3, "dendritic"),
            Population(PYRAMIDAL, 2),
            Readout(2, "class", loss="softmax_cross_entropy", loss_weight=0.5),
            Readout(1, "value", OWN_FILTER, OWN_LOSS, window=30 * ms),
            Projection("seen", "first", "into", connectivity=0.5, scale=0.5),
            Projection("heard", ["first", "own"], weights=RNG.random((9, 2)), learn=False),
            Projection("bias", "first", eta=0.1, minimum=-0.5, maximum=0.5),
            Projection("first", "dendritic", receptor="ampa", sign="excitatory"),
            Projection("heard", "dendritic", "w_fading", receptor="ampa", synapse=FADING),
            Projection("own", "dendritic", receptor="gaba", sign="inhibitory", weights="balanced"),
            Projection(
                "own",
                "pyramidal",
                receptor="ampa",
                optimizer=MOMENTUM.with_parameters(eta=0.3),
                delay=2 * ms,
                learned_delay={"longest": 20 * ms, "eta": 0.2},
            ),
            Projection("own", "pyramidal", "w_top", receptor="gaba", scale=2.0),
            Projection("dendritic", "value", connectivity=0.7),
            Projection("pyramidal", "value"),
            Projection("dendritic", "own", connectivity=RNG.random((4, 3))),
            Projection("first", "first", connectivity=ADJACENCY, delay=(1 * ms, 5 * ms)),
            Projection("first", "own", connectivity=SPARSE, delay=(SPARSE.astype(float) * 2, ms)),
            Projection("own", "first", "back", delay=np.arange(1, 21).reshape(5, 4) * ms),
            Projection(["first", "own"], "class", weights="glorot"),
            Projection("first", "value", reads="v - v_th"),
            LearningSignal("class", ["first", "own"], "symmetric"),
            LearningSignal(
                "value",
                "first",
                Feedback("given", signal="tanh(error)", matrix=RNG.random((5, 1))),
            ),
            LearningSignal("class", ["dendritic", "pyramidal"], "broadcast", "B_others"),
            LearningSignal(
                "value",
                "own",
                RANDOM.with_options(signal="tanh(error)", scale=0.3, delay=(1 * ms, 3 * ms)),
                "B_own",
            ),
        ],
        optimizer=OWN_OPTIMIZER,
        c_reg=2.0,
        f_target=20 * Hz,
        clip_value=0.5,
        dt=0.5 * ms,
        connectivity_seed=7,
        c_v=0.1,
        voltage_cost="margin**2",
    )


def same(ours: Network, others: Network) -> bool:
    """Whether two networks have the same names, equations, draws and delays."""
    mine, theirs = ours.initial_weights(3), others.initial_weights(3)
    assert mine.keys() == theirs.keys()
    for name, weights in mine.items():
        np.testing.assert_array_equal(_dense(weights), _dense(theirs[name]))
    for name, steps in ours.delay_steps.items():
        np.testing.assert_array_equal(_dense(steps), _dense(others.delay_steps[name]))
    for mine, theirs in zip(ours.resolved.connections, others.resolved.connections, strict=True):
        assert _sends(mine.transmission) == _sends(theirs.transmission)
        for name in ("sign", "plastic", "receptor", "scale", "learned_delay"):
            assert getattr(mine, name) == getattr(theirs, name)
        assert ours.resolved.optimizer_of(mine) == others.resolved.optimizer_of(theirs)
    for mine, theirs in zip(ours.resolved.signals, others.resolved.signals, strict=True):
        np.testing.assert_array_equal(mine.delay_steps, theirs.delay_steps)
    for mine, theirs in zip(ours.resolved.readouts, others.resolved.readouts, strict=True):
        assert mine.loss == theirs.loss and mine.values == theirs.values
        assert mine.readout.update == theirs.readout.update
        assert mine.window_steps == theirs.window_steps
    for mine, theirs in zip(ours.populations, others.populations, strict=True):
        assert mine.learned == theirs.learned
        assert mine.system.step.composed == theirs.system.step.composed
        np.testing.assert_equal(mine.system.step.parameters, theirs.system.step.parameters)
    options = {f: getattr(ours, f) for f in Network.__dataclass_fields__ if f != "parts"}
    assert options == {f: getattr(others, f) for f in options}
    return True


def _sends(transmission):
    return transmission and str((transmission.statements(inputs=True), transmission.map.parameters))


def _dense(matrix):
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix


def test_a_network_with_everything_comes_back_from_its_file(tmp_path):
    network = everything()
    write_network(tmp_path / "net.toml", network)
    read = read_network(tmp_path / "net.toml")
    assert same(read, network)
    # Written again, it is the same file: nothing is left out, and nothing is added.
    write_network(tmp_path / "again" / "net.toml", read)
    first, again = (tmp_path / where / "net.toml" for where in (".", "again"))
    assert first.read_text() == again.read_text()
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == ["net.npz", "net.toml"]
    assert read.with_part("into", connectivity=0.4).shapes == network.shapes


@pytest.mark.parametrize(
    ("part", "value"),
    [
        (Feedback(update="B = B + rate*increment", parameters={"rate": 0.1}), None),
        ("adaptive", None),
        ("B*tanh(error)", None),
        ("broadcast", None),
        (RANDOM.with_options(diffusion={"grid": [1, 5], "kept": 0.5, "seed": 3}), None),
        (RANDOM.with_options(diffusion=csc_array(np.eye(5) / 2)), None),
        (Readout(2, filter=replace(LEAKY, trace_gain="1 - kappa")), None),
        (Readout(2, loss="log(cosh(y - y_target))"), None),
        (None, {"rewiring": Rewiring({"w_inputs_a": 0.2}, dale=True), "updates": "batch"}),
        (None, {"rewiring": {"connectivity": 0.3, "l1": 0.1}}),
        (
            None,
            {
                "updates": "spike",
                "gradient": "online",
                "rate_averaging": "moving",
                "trace_cutoff": 30 * ms,
            },
        ),
    ],
)
def test_what_excludes_something_else_comes_back_too(part, value, tmp_path):
    readout = part if isinstance(part, Readout) else Readout(2)
    feedback = part if part is not None and readout is not part else "random"
    network = Network(
        [
            Inputs(3),
            Population(ALIF, 5, "a"),
            readout,
            Projection("inputs", "a"),
            Projection("a", "readout"),
            LearningSignal("readout", "a", feedback),
        ],
        **value or {},
    )
    write_network(tmp_path / "net.toml", network)
    read = read_network(tmp_path / "net.toml")
    assert str(tables_of(read)) == str(tables_of(network))
    signals = [n.resolved.signals[0] for n in (read, network)]
    spread = [_dense(signal.diffusion) for signal in signals]
    np.testing.assert_array_equal(*spread)
    mine, theirs = (signal.feedback for signal in signals)
    assert replace(mine, description="", source="") == replace(theirs, description="", source="")


def test_the_standard_network_is_a_list_of_parts_too(tmp_path):
    network = Network.standard(3, 2, [(LIF, 4), (ALIF, 2)], connectivity={"w_rec": 0.5})
    write_network(tmp_path / "net.toml", network)
    assert same(read_network(tmp_path / "net.toml"), network)


NEURON_FILE = """[neuron]
name = "mine"
update = "v = alpha*v + I - v_th*z"
threshold = "v >= v_th"
surrogate = "0.3*clip(1 - abs(v - v_th), 0, 1)"
[parameters]
tau_m = "20 ms"
v_th = 0.6
[constants]
alpha = "exp(-dt/tau_m)"
"""
RECIPE = """[run]
task = "evidence-accumulation"
[[inputs]]
name = "few"
size = 10
[[inputs]]
name = "others"
[[population]]
neuron = "mine.toml"
size = 4
parameters = {tau_m = "30 ms"}
[[projection]]
source = "few"
target = "mine"
connectivity = "who.npz"
[[projection]]
source = "others"
target = "mine"
name = "w_others"
delay = ["delays.npy", "ms"]
optimizer = "gradient_descent"
[[projection]]
source = "mine"
target = "readout"
[[readout]]
filter = {tau_out = "30 ms"}
[[learning_signal]]
source = "readout"
target = "mine"
feedback = "adaptive"
decay = 0.1
[network]
dt = "1 ms"
[optimizer]
eta = 0.1
"""


def written(folder, text=RECIPE):
    (folder / "mine.toml").write_text(NEURON_FILE)
    save_npz(folder / "who.npz", csr_array(np.eye(4, 10)))
    np.save(folder / "delays.npy", np.full((4, 30), 2.0))
    (folder / "net.toml").write_text(text)
    return folder / "net.toml"


def test_what_a_file_leaves_out_is_the_task_s(tmp_path):
    network = read_network(written(tmp_path), get_task("evidence-accumulation"))
    assert network.shapes["w_others"] == (4, 30) and network.n_outputs == 2
    assert network.resolved.readouts[0].loss.name == "softmax_cross_entropy"
    assert network.adjacency["w_few_mine"].nnz == 4
    assert np.all(network.delay_steps["w_others"] == 2)
    parts = {part.name: part for part in network.parts}
    assert step_map(parts["mine"].neuron).parameters["tau_m"] == 0.03
    assert parts["w_others"].optimizer.name == "gradient_descent"
    assert network.optimizer.parameters["eta"] == 0.1
    assert network.resolved.signals[0].feedback.parameters == {"decay": 0.1}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[projection]]", "[[projecton]]", "unknown table 'projecton' (did you mean 'projection'"),
        ("[[readout]]", "[readout]", "write [[readout]], not [readout]"),
        ("[network]", "[[network]]", "write [network], not [[network]]"),
        (
            'name = "w_others"',
            'nme = "w_others"',
            "[[projection]] 2: unknown key 'nme' (did you mean 'name'?)",
        ),
        (
            'delay = ["delays.npy", "ms"]',
            "learn = 1",
            "[[projection]] 2 'w_others': projection.learn = 1 must be true or false",
        ),
        ('target = "readout"\n[[r', "[[r", "[[projection]] 3: 'target' is missing"),
        ('source = "few"', 'source = "fw"', "projection 'w_fw_mine': unknown source 'fw'"),
        (
            'neuron = "mine.toml"',
            'neuron = "lyf"',
            "[[population]] 1: unknown neuron 'lyf' (did you mean 'lif'?)",
        ),
        ('"30 ms"}\n[[p', '"30 mV"}\n[[p', "tau_m = '30 mV' has another unit than '20 ms'"),
        (
            '{tau_m = "30 ms"}',
            "{tau = 1}",
            "[[population]] 1: neuron 'mine': unknown parameter 'tau'",
        ),
        ("size = 10", "", "[[inputs]] 1 'few': 'size' is missing"),
        ("size = 10", "size = 50", "'others' has no size, and the others leave none of the 40"),
        ('"delays.npy"', '"dleays.npy"', "[[projection]] 2 'w_others': "),
        ('"delays.npy"', '"net.toml.npz"', "net.toml.npz: no such file"),
        ('"delays.npy"', '"mine.npy"', "mine.npy: not an .npy of a plain array"),
        ('"delays.npy"', '"several.npz"', "several.npz: unknown array 'w_others.delay'"),
        ("eta = 0.1", 'name = "adm"', "[optimizer]: unknown optimizer 'adm' (did you mean 'adam'"),
        ('"gradient_descent"', "3", "optimizer = 3 must be a table"),
        ('"gradient_descent"', "{eta = 1, m = 2}", "optimizer 'adam': unknown parameter 'm'"),
        ("decay = 0.1", "decay = 1.5", "decay of the learning signal must be from 0 to below 1"),
        ('dt = "1 ms"', "c_rg = 1", "[network]: unknown key 'c_rg' (did you mean 'c_reg'?)"),
    ],
)
def test_a_wrong_file_is_refused_with_file_and_table(old, new, message, tmp_path):
    assert old in RECIPE
    path = written(tmp_path, RECIPE.replace(old, new, 1))
    (tmp_path / "mine.npy").write_text("no array")
    np.savez(tmp_path / "several.npz", a=np.ones(1), b=np.ones(1))
    with pytest.raises(ValueError) as refused:
        read_network(path, get_task("evidence-accumulation"))
    assert str(refused.value).startswith(str(tmp_path)) and message in str(refused.value)


def test_reading_a_file_runs_nothing(tmp_path):
    path = written(tmp_path, RECIPE.replace('"delays.npy"', '"evil.npz"'))
    np.savez(tmp_path / "evil.npz", w=np.array([print], dtype=object))
    with pytest.raises(ValueError, match="evil.npz: not an .npz of plain arrays"):
        read_network(path)
