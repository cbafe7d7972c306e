"""A NIR file, read by other people's importers, gives the spikes of the network.

nirtorch makes a graph a PyTorch module, of snnTorch's neurons here. These take steps of 0.1 ms by
Euler's method, and reset to 0. snnTorch's own importer sends the inputs of a recurrent population
through its recurrent weights, so it is asked for networks without them.
"""

import contextlib
import io

import numpy as np
import pytest
from brian2 import ms

from eprop_brian import Inputs, LearningSignal, Network, Population, Projection, Readout, get_neuron
from eprop_brian.export.nir import to_nir
from eprop_brian.network.program import make_program
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.session import Session

nir = pytest.importorskip("nir")
nirtorch = pytest.importorskip("nirtorch")
import_nir = pytest.importorskip("snntorch.import_nir")
torch = pytest.importorskip("torch")

N_IN, N_OUT, N, N_STEPS = 8, 2, 20, 400


def layers(*, recurrent):
    """A population that resets to 0; where it is not recurrent, a second one behind it."""
    neuron = get_neuron("lif_hard_reset").with_parameters(t_ref=0 * ms)
    names = ["first"] if recurrent else ["first", "second"]
    return Network(
        [
            Inputs(N_IN),
            *(Population(neuron, N, name) for name in names),
            Readout(N_OUT),
            Projection("inputs", "first"),
            Projection("first", names[-1]),
            Projection(names[-1], "readout"),
            LearningSignal("readout", names, "random"),
        ],
        dt=0.1 * ms,
    )


def trial(network, strength):
    """A trial in this package: inputs, weights, and the spikes of each population."""
    weights = {name: strength * w for name, w in network.initial_weights(3).items()}
    inputs = np.random.default_rng(2).random((1, N_STEPS, N_IN)) < 0.2
    zero = np.zeros(1, dtype=int)
    trials = Trials(inputs=inputs, targets=np.zeros((1, 1, N_OUT)), pattern=zero, target=zero)
    program = make_program("runtime", "float32")  # as PyTorch
    session = Session(network, program, trials, N_STEPS, weights, learning=False)
    session.run(trials, 1, learning=False)
    return inputs[0], weights, np.split(session.spikes(), len(network.populations), axis=1)


def written_and_read(network, weights, path):
    """The graph of a file, without the readout, for which snnTorch has no neuron."""
    nir.write(path, to_nir(network, weights, discretisation="euler", portable=True))
    graph = nir.read(path)
    last = network.populations[-1].name
    gone = {"readout", f"{last}_to_readout", "output"}
    nodes = {name: node for name, node in graph.nodes.items() if name not in gone}
    edges = [edge for edge in graph.edges if not gone & {*edge}]
    return nir.NIRGraph(nodes | {"output": nir.Output(np.array([N]))}, [*edges, (last, "output")])


def spikes_of(module, inputs):
    """Spikes of an imported network."""
    state, spikes = None, []
    for step in inputs.astype(np.float32):
        with torch.no_grad():
            now, state = module(torch.tensor(step)[None], state)
        spikes.append(now.numpy()[0] > 0)
    return np.array(spikes)


@pytest.mark.parametrize("strength", [2.5, 6.0])
def test_nirtorch_gives_the_same_spikes(tmp_path, strength):
    network = layers(recurrent=True)
    inputs, weights, (expected,) = trial(network, strength)
    assert 2 * N < expected.sum() < 0.5 * expected.size
    graph = written_and_read(network, weights, tmp_path / "network.nir")

    def module(node):
        with contextlib.redirect_stdout(io.StringIO()):  # it says what it does
            return import_nir._nir_to_snntorch_module(node, init_hidden=True)

    read = nirtorch.nir_to_torch(graph, {nir.Linear: module, nir.LIF: module})
    np.testing.assert_array_equal(spikes_of(read, inputs), expected)


def test_snntorch_gives_the_same_spikes(tmp_path):
    network = layers(recurrent=False)
    inputs, weights, (first, second) = trial(network, 6.0)
    assert min(first.sum(), second.sum()) > 2 * N
    graph = written_and_read(network, weights, tmp_path / "network.nir")
    with contextlib.redirect_stdout(io.StringIO()):
        read = import_nir.import_from_nir(graph)
    # There, a spike arrives in the step of its own.
    np.testing.assert_array_equal(spikes_of(read, inputs)[:-1], second[1:])
