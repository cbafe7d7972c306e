"""Export to NIR: the graph, read by its own definitions alone, is the network."""

from collections import deque
from dataclasses import replace
from graphlib import TopologicalSorter

import numpy as np
import pytest
from brian2 import ms
from click.testing import CliRunner
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from eprop_brian import (
    ALIF,
    LEAKY,
    LIF,
    Inputs,
    LearningSignal,
    Network,
    Population,
    Projection,
    Readout,
    get_neuron,
)
from eprop_brian.cli import main
from eprop_brian.equations import NEURONS
from eprop_brian.export.nir import NirError, to_nir
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import Run
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.session import Session

nir = pytest.importorskip("nir")

N_IN, N_OUT, N_STEPS = 8, 2, 200

# --- a reader, written from NIR's definitions -----------------------------------------------------


class Reader:
    """Runs a graph in steps of `dt`.

    ``tau v' = v_leak - v + r*input`` is integrated with the input held constant over the step,
    exactly or by Euler's method; nodes follow those that feed them. What a spiking node sends along
    a cycle that no delay interrupts arrives in the next step.
    """

    def __init__(self, graph, dt, euler=False, subtract=False):
        self.graph, self.dt, self.euler, self.subtract = graph, dt, euler, subtract
        self.states = {name: {} for name in graph.nodes}
        for name, node in graph.nodes.items():
            state = self.states[name]
            if isinstance(node, nir.LI | nir.LIF | nir.CubaLIF):
                state["v"] = node.metadata.get("v_initial", node.v_leak)
                state["i"] = np.zeros_like(node.v_leak)
            if isinstance(node, nir.Delay):
                (steps,) = set(np.rint(node.delay / dt).astype(int).tolist())
                np.testing.assert_allclose(node.delay, steps * dt, rtol=1e-12)
                state["line"] = deque([np.zeros(len(node.delay))] * steps)
        self.sources = {name: [] for name in graph.nodes}
        for source, target in graph.edges:
            self.sources[target].append(source)
        self.late = self._late()
        self.order = list(
            TopologicalSorter(
                {
                    target: [s for s in sources if (s, target) not in self.late]
                    for target, sources in self.sources.items()
                }
            ).static_order()
        )
        self.values = {
            name: np.zeros(node.output_type["output"]) for name, node in graph.nodes.items()
        }

    def _late(self):
        """Edges that carry what their source was before this step."""
        nodes, names = self.graph.nodes, list(self.graph.nodes)
        late = {edge for edge in self.graph.edges if isinstance(nodes[edge[0]], nir.Delay)}
        matrix = np.zeros((len(names),) * 2)
        for source, target in set(self.graph.edges) - late:
            matrix[names.index(source), names.index(target)] = 1
        _, circle = connected_components(csr_array(matrix), connection="strong")
        for source, target in self.graph.edges:
            if isinstance(nodes[source], nir.LIF | nir.CubaLIF | nir.Threshold):
                same = circle[names.index(source)] == circle[names.index(target)]
                late |= {(source, target)} if same else set()
        return late

    def integrated(self, v, tau, r, leak, arriving):
        if self.euler:
            return v + self.dt / tau * (leak - v + r * arriving)
        rest = leak + r * arriving
        return rest + (v - rest) * np.exp(-self.dt / tau)

    def step(self, inputs):
        before, now = self.values, {}
        for name, node in self.graph.nodes.items():
            if isinstance(node, nir.Delay):
                before[name] = self.states[name]["line"][0]
        for name in self.order:
            arriving = sum(
                (before if (s, name) in self.late else now)[s] for s in self.sources[name]
            )
            now[name] = self.output(name, self.graph.nodes[name], arriving, inputs)
        for name, node in self.graph.nodes.items():
            if isinstance(node, nir.Delay):
                line = self.states[name]["line"]
                line.popleft()
                line.append(now[name])
        self.values = now
        return now

    def output(self, name, node, arriving, inputs):
        state = self.states[name]
        match node:
            case nir.Input():
                return inputs
            case nir.Output() | nir.Delay():
                return arriving
            case nir.Linear():
                return node.weight @ arriving
            case nir.Scale():
                return node.scale * arriving
            case nir.Threshold():
                return (arriving > node.threshold).astype(float)
            case nir.LI():
                state["v"] = self.integrated(state["v"], node.tau, node.r, node.v_leak, arriving)
                return state["v"]
        spiked, tau = self.values[name], getattr(node, "tau", None)
        if not self.subtract:
            state["v"] = np.where(spiked, node.v_reset, state["v"])
        if isinstance(node, nir.CubaLIF):
            state["i"] = self.integrated(state["i"], node.tau_syn, node.w_in, 0.0, arriving)
            arriving, tau = state["i"], node.tau_mem
        state["v"] = self.integrated(state["v"], tau, node.r, node.v_leak, arriving)
        if self.subtract:
            state["v"] = state["v"] - spiked * (node.v_threshold - node.v_reset)
        return (state["v"] > node.v_threshold).astype(float)


def read(graph, network, inputs, **how):
    """Spikes and readouts of a trial."""
    reader = Reader(graph, float(network.dt), **how)
    steps = [reader.step(x.astype(float)) for x in inputs]
    names = [p.name for p in network.populations]
    spikes = [np.concatenate([now[name] for name in names]) for now in steps]
    return np.array(spikes) > 0, np.array([now["output"] for now in steps])


# --- networks -------------------------------------------------------------------------------------


def free(name):
    """A neuron of the library that is never refractory."""
    neuron = get_neuron(name)
    times = {name: 0 * ms for name in ("t_ref", "dt_ref") if name in neuron.parameters}
    return neuron.with_parameters(**times)


MIXED = [(free("lif"), 20), (free("alif").with_parameters(beta=0.1), 15)]
NETWORKS = {
    "mixed": (MIXED, {}),
    "refractory": ([(LIF, 20), (ALIF, 15)], {}),
    "refractory, each for its own time": (
        [(LIF.with_parameters(t_ref=np.array([0, 1, 2, 7] * 5) * ms), 20)],
        {"delays": {"w_rec": "3 ms"}},
    ),
    "softmax": (MIXED, {"loss": "softmax_cross_entropy"}),
    "delays": (MIXED, {"delays": {"w_in": "2 ms", "w_rec": ("1 ms", "4 ms"), "w_out": "1 ms"}}),
    "sparse": (MIXED, {"connectivity": {"w_in": 0.5, "w_rec": 0.3, "w_out": 0.5}}),
    "bptt": (MIXED, {"gradient": "bptt"}),
    "learned": ([(free("lif"), 30)], {"learned": {"tau_m": Learned()}}),
    **{
        name: ([(free(name), 30)], {})
        for name in ("lif_hard_reset", "lif_exp", "lif_alpha", "glif")
    },
}


def run(network, *, analog=False):
    """A trial in this package: its inputs and weights, spikes and readouts."""
    rng = np.random.default_rng(2)
    weights = network.initial_weights(3)
    for connection in network.resolved.connections:
        if not connection.to_readout:
            weights[connection.name] = weights[connection.name] * 2.5
    for name, (size,) in network.learned_shapes.items():
        weights[name] = rng.uniform(0.01, 0.04, size)
    inputs = rng.random((1, N_STEPS, N_IN)) < 0.2
    if analog:
        inputs = inputs * rng.normal(size=inputs.shape)
    zero = np.zeros(1, dtype=int)
    trials = Trials(inputs=inputs, targets=np.zeros((1, 1, N_OUT)), pattern=zero, target=zero)
    program = make_program("runtime")
    session = Session(network, program, trials, N_STEPS, weights, learning=False)
    session.run(trials, 1, learning=False)
    assert session.spikes().sum() > 2 * network.n_recurrent
    return inputs[0], session.weights, session.spikes(), session.readouts()


def assert_same(found, spikes, readouts):
    np.testing.assert_array_equal(found[0], spikes)
    np.testing.assert_allclose(found[1], readouts, rtol=0, atol=1e-11 * np.abs(readouts).max())


@pytest.mark.parametrize("discretisation", ["exact", "euler"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_graph_spikes_as_the_network_does(name, discretisation, tmp_path):
    neurons, options = NETWORKS[name]
    network = Network.standard(N_IN, N_OUT, neurons, **options)
    inputs, weights, spikes, readouts = run(network)
    graph = to_nir(network, weights, discretisation=discretisation)
    nir.write(tmp_path / "network.nir", graph)
    graph = nir.read(tmp_path / "network.nir")
    found = read(graph, network, inputs, euler=discretisation == "euler")
    assert_same(found, spikes, readouts)


def test_layers_spike_as_the_network_does():
    network = Network(
        [
            Inputs(N_IN),
            Population(free("lif"), 20, "first"),
            Population(free("alif").with_parameters(beta=0.1), 15, "second"),
            Readout(N_OUT),
            Projection("inputs", "first"),
            Projection("first", "second", connectivity=0.5, delay=(1 * ms, 4 * ms)),
            Projection("second", "second"),
            Projection("second", "readout"),
            LearningSignal("readout", ["first", "second"], "random"),
        ]
    )
    inputs, weights, spikes, readouts = run(network)
    assert_same(read(to_nir(network, weights), network, inputs), spikes, readouts)


def test_no_cycle_is_without_a_delay_and_no_metadata_is_needed():
    network = Network.standard(N_IN, N_OUT, MIXED)
    inputs, weights, spikes, readouts = run(network)
    graph = to_nir(network, weights)
    for node in graph.nodes.values():
        node.metadata = {}
    reader = Reader(graph, float(network.dt))
    assert all(isinstance(graph.nodes[source], nir.Delay) for source, _ in reader.late)
    assert_same(read(graph, network, inputs), spikes, readouts)


def test_analog_inputs_are_read_as_they_are():
    network = Network.standard(N_IN, N_OUT, MIXED)
    inputs, weights, spikes, readouts = run(network, analog=True)
    assert_same(read(to_nir(network, weights), network, inputs), spikes, readouts)


@pytest.mark.parametrize("name", ["lif", "lif_hard_reset", "lif_exp"])
@pytest.mark.parametrize("discretisation", ["exact", "euler"])
def test_a_portable_graph_has_one_node_for_a_population(name, discretisation):
    network = Network.standard(N_IN, N_OUT, [(free(name), 30)])
    inputs, weights, spikes, readouts = run(network)
    graph = to_nir(network, weights, discretisation=discretisation, portable=True)
    kinds = {type(node).__name__ for node in graph.nodes.values()}
    assert kinds == {"Input", "Linear", "CubaLIF" if name == "lif_exp" else "LIF", "LI", "Output"}
    subtract = name == "lif"
    assert (graph.metadata.get("reset_mechanism") == "subtract") is subtract
    how = {"euler": discretisation == "euler", "subtract": subtract}
    assert_same(read(graph, network, inputs, **how), spikes, readouts)


def test_a_reset_that_sets_is_another_network():
    """The metadata of a portable graph matters, which is why the default has none that does."""
    network = Network.standard(N_IN, N_OUT, [(free("lif"), 30)])
    inputs, weights, spikes, _ = run(network)
    found = read(to_nir(network, weights, portable=True), network, inputs)
    assert not np.array_equal(found[0], spikes)


def test_time_constants_and_thresholds_are_the_neurons_own():
    network = Network.standard(N_IN, N_OUT, [(free("lif_exp"), 3), (free("lif_hard_reset"), 2)])
    graph = to_nir(network, network.initial_weights(1))
    exponential, hard = (graph.nodes[name] for name in ("lif_exp", "lif_hard_reset"))
    assert isinstance(exponential, nir.CubaLIF)
    np.testing.assert_allclose(exponential.tau_mem, 0.02)
    np.testing.assert_allclose(exponential.tau_syn, 0.005)
    np.testing.assert_allclose(exponential.v_leak, -0.07)
    np.testing.assert_allclose(exponential.v_reset, -0.07)
    np.testing.assert_allclose(exponential.v_threshold, -0.05)
    assert isinstance(hard, nir.LIF)
    # Equality spikes here and not in NIR.
    assert np.all(hard.v_threshold < 0.6)
    np.testing.assert_allclose(hard.v_threshold, 0.6, rtol=1e-15)
    np.testing.assert_allclose(graph.nodes["readout"].tau, 0.02)


#: Kinds of nodes of the library's neurons without refractory time, but for what connects them.
KINDS = {
    "lif": ["LI", "Threshold"],
    "alif": ["LI", "LI", "Threshold"],
    "lif_hard_reset": ["LIF"],
    "alif_hard_reset": None,
    "stdp_lif": None,
    "stdp_alif": None,
    "lif_exp": ["CubaLIF"],
    "lif_alpha": ["LI", "LI", "LIF"],
    "lif_cond": None,
    "adex": None,
    "izhikevich": None,
    "glif": ["LI", "LI", "LI", "LIF"],
}


@pytest.mark.parametrize("name", NEURONS)
def test_every_neuron_of_the_library_has_nodes_or_none(name):
    network = Network.standard(N_IN, N_OUT, [(free(name), 3)])
    try:
        graph = to_nir(network, network.initial_weights(1))
    except NirError:
        found = None
    else:
        own = [node for key, node in graph.nodes.items() if key.startswith(name)]
        kinds = [type(node).__name__ for node in own]
        found = sorted(kind for kind in kinds if kind not in ("Linear", "Delay", "Scale"))
    assert found == KINDS[name]


# --- what has no node -----------------------------------------------------------------------------


def refused(neuron, **options):
    network = Network.standard(N_IN, N_OUT, [(neuron, 3)])
    with pytest.raises(NirError) as error:
        to_nir(network, network.initial_weights(1), **options)
    return error.value


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lif_hard_reset", "v takes another course in the refractory time"),
        ("glif", "v takes another course in the refractory time"),
        ("lif_exp", "a spike sets v and is followed by a refractory time"),
    ],
)
def test_a_refractory_time_that_does_more_than_silence_is_refused(name, reason):
    assert reason in str(refused(get_neuron(name)))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("alif_hard_reset", "a spike sets v, and the threshold compares something else"),
        ("stdp_lif", "v is not linear"),
        ("lif_cond", "v is not linear"),
        ("adex", "v is not linear"),
        ("izhikevich", "v is not linear"),
    ],
)
def test_what_is_no_chain_of_integrators_is_named(name, reason):
    assert reason in str(refused(free(name)))


def test_all_that_has_no_node_is_named_at_once():
    flat = replace(LEAKY, constants={"kappa": "1", "zeta_out": "1"})
    neurons = [(get_neuron("lif_hard_reset"), 2), (get_neuron("izhikevich"), 3), (LIF, 5)]
    network = Network.standard(N_IN, N_OUT, neurons, readout=flat)
    with pytest.raises(NirError) as error:
        to_nir(network, network.initial_weights(1))
    missing = error.value.missing
    named = ("neuron 'lif_hard_reset'", "neuron 'izhikevich'", "readout 'leaky'")
    assert all(part.startswith(name) for part, name in zip(missing, named, strict=True))
    assert all(part in str(error.value) for part in missing)


@pytest.mark.parametrize("name", ["alif", "lif_alpha", "glif"])
def test_a_portable_graph_has_no_node_for_more_than_a_membrane_and_a_current(name):
    assert "needs more than one node" in str(refused(free(name), portable=True))


def test_a_portable_graph_has_no_node_for_a_refractory_time():
    assert "a refractory time needs more than one node" in str(refused(LIF, portable=True))


def test_a_single_state_that_spikes_move_otherwise_is_refused():
    halved = replace(free("lif"), update="v = alpha*v*(1 - z/2) + zeta*I")
    assert "neither adds something to v nor sets it" in str(refused(halved))
    pair = replace(
        free("lif"), update="v_before = v\nv = alpha*v + 0.1*u + zeta*I\nu = alpha*u + 0.1*v_before"
    )
    assert "drive each other" in str(refused(pair))


def test_an_unknown_discretisation_and_names_that_clash():
    network = Network.standard(N_IN, N_OUT, [(free("lif"), 3)])
    with pytest.raises(ValueError, match="unknown discretisation 'heun'"):
        to_nir(network, network.initial_weights(1), discretisation="heun")
    network = Network.standard(N_IN, N_OUT, [(replace(free("lif"), name="output"), 3)])
    with pytest.raises(ValueError, match="would be called 'output'"):
        to_nir(network, network.initial_weights(1))


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    settings = ["size.lif=10", "size.alif=6", "task.n_cues=1"]
    config = RunConfig.from_recipe(
        "evidence-accumulation",
        run={"device": "runtime", "batch_size": 1, "iterations": 1},
        settings=settings,
    )
    run = Run.start(config, tmp_path / "run")
    run.trainer.close()
    return tmp_path / "run"


def test_the_command_writes_what_can_be_read_back(folder, tmp_path):
    path = tmp_path / "network.nir"
    done = CliRunner().invoke(main, ["export-nir", str(folder), "--out", str(path)])
    assert done.exit_code == 0, done.output
    assert f"wrote {path}" in done.output
    graph = nir.read(path)
    assert graph.metadata["task"] == "evidence-accumulation"
    assert graph.metadata["dt"] == 1e-3
    weights = Run.open(folder).weights()
    found = np.concatenate([graph.nodes[f"{n}_to_readout"].weight for n in ("lif", "alif")], axis=1)
    np.testing.assert_array_equal(found, weights["w_out"])


def test_the_command_says_what_has_no_node(folder, tmp_path):
    path = tmp_path / "network.nir"
    command = ["export-nir", str(folder), "--out", str(path), "--portable"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1
    assert "NIR has no node for:\n- neuron 'lif': a refractory time" in done.output
    assert "- neuron 'alif': a refractory time" in done.output
    assert not path.exists()


def test_sparse_matrices_that_are_too_large_when_dense_are_refused(monkeypatch):
    monkeypatch.setattr("eprop_brian.export.nir.MOST_PAIRS", 300)
    network = Network.standard(N_IN, N_OUT, MIXED, connectivity={"w_rec": 0.3}, dt=1 * ms)
    with pytest.raises(NirError, match="'w_rec': a Linear node holds all pairs .*35 x 35"):
        to_nir(network, network.initial_weights(3))
