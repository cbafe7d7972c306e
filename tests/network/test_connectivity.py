"""Connectivity: fractions, adjacency, probabilities and one-to-one; no array of all pairs."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csc_array, csr_array

from eprop_brian import LIF, Network
from eprop_brian.network.connectivity import adjacency, by_block, by_distance, structure_rng
from eprop_brian.network.graph import InputGroup, connection

SEED = 3


def between(n_pre, n_post):
    return connection("w", [InputGroup("a", n_pre)], [InputGroup("b", n_post)])


def onto_itself(n):
    (population,) = Network.standard(1, 1, [(LIF, n)]).populations
    return connection("w", [population], [population])


@pytest.mark.parametrize("as_given", [np.asarray, csr_array], ids=["dense", "sparse"])
def test_each_pair_is_drawn_once_with_its_probability(as_given):
    """Within four standard deviations in each block, and certain where it is 0 or 1."""
    blocks = np.array([[0.0, 0.1, 1.0], [0.5, 0.02, 0.0]])
    matrix = by_block([300, 200, 10], [150, 250], blocks)
    assert matrix.shape == (400, 510)
    drawn = adjacency(between(510, 400), as_given(matrix), SEED)
    again = adjacency(between(510, 400), as_given(matrix), SEED)
    assert drawn.dtype == bool
    assert drawn.has_sorted_indices
    np.testing.assert_array_equal(drawn.toarray(), again.toarray())
    assert np.any(drawn.toarray() != adjacency(between(510, 400), as_given(matrix), 4).toarray())
    columns, rows = np.split(drawn.toarray(), [300, 500], axis=1), [150]
    for probabilities, part in zip(blocks.T, columns, strict=True):
        for p, block in zip(probabilities, np.split(part, rows), strict=True):
            deviation = np.sqrt(p * (1 - p) * block.size)
            assert abs(block.sum() - p * block.size) <= 4 * deviation


def test_probabilities_fall_with_distance():
    rng = np.random.default_rng(0)
    pre, post = rng.random((300, 2)), rng.random((40, 2))
    distance = np.linalg.norm(post[:, np.newaxis] - pre, axis=2)
    found = by_distance(pre, post, 0.2, 0.8).toarray()
    np.testing.assert_allclose(found, 0.8 * np.exp(-(distance**2) / 0.08), rtol=1e-12, atol=1e-6)


def test_probabilities_connect_no_neuron_to_itself():
    line = by_distance(np.arange(4.0), np.arange(4.0), 1e9)
    assert adjacency(between(4, 4), line, SEED).nnz == 16
    for matrix in (line, line.toarray()):
        found = adjacency(onto_itself(4), matrix, SEED)
        assert found.nnz == 12
        assert not np.any(found.diagonal())


def test_one_to_one():
    np.testing.assert_array_equal(adjacency(between(4, 4), "one_to_one", 0).toarray(), np.eye(4))


def test_what_there_was_draws_the_same_synapses_as_before():
    made = Network.standard(
        6, 2, [(LIF, 9)], connectivity={"w_in": 0.4, "w_rec": 0.3}, connectivity_seed=5
    )
    for c in made.resolved.connections[:2]:
        again = adjacency(c, {"w_in": 0.4, "w_rec": 0.3}[c.name], 5)
        np.testing.assert_array_equal(again.toarray(), c.adjacency.toarray())
    mask = structure_rng(0, "mask").random((9, 6)) < 0.5
    for given in (mask, csc_array(mask), csc_array(mask.astype(int) * 7)):
        found = adjacency(made.resolved.connections[0], given, 5)
        np.testing.assert_array_equal(found.toarray(), mask)
    assert adjacency(made.resolved.connections[0], None, 5) is None
    given = replace(made.resolved.connections[0], weights=csr_array(mask * 0.5))
    np.testing.assert_array_equal(adjacency(given, None, 5).toarray(), mask)


@pytest.mark.parametrize(
    ("wires", "connectivity", "message"),
    [
        (between(3, 4), "one_to_one", "cannot be one_to_one: it has 3 presynaptic and 4 post"),
        (onto_itself(4), "one_to_one", "its neurons would be connected to themselves"),
        (between(3, 3), "one to one", "or 'one_to_one', not 'one to one'"),
        (between(3, 3), 1.2, "connectivity of w is a fraction, not 1.2"),
        (between(3, 3), np.full((3, 3), 1.5), "no probabilities from 0 to 1"),
        (between(3, 3), csc_array(np.full((3, 3), -0.5)), "no probabilities from 0 to 1"),
        (between(3, 3), np.full((3, 3), np.nan), "no probabilities from 0 to 1"),
        (onto_itself(3), np.ones((3, 3), bool), "autapses: its diagonal must be False"),
        (between(3, 4), np.full((3, 4), 0.5), r"of shape \(4, 3\) \[post, pre\]"),
    ],
)
def test_connectivity_that_cannot_be_is_refused(wires, connectivity, message):
    with pytest.raises(ValueError, match=message):
        adjacency(wires, connectivity, SEED)


#: Builds, learns, keeps its state and draws: 20,000 neurons with 10 synapses each.
LARGE = """
import resource, sys
import numpy as np
from eprop_brian import LIF, Network, plot
from eprop_brian.network.program import make_program
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.session import Session

def peak():
    return 1024*resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

n, before = 20_000, peak()
network = Network.standard(20, 2, [(LIF, n)], connectivity={"w_rec": 10/n, "w_in": 0.2}, c_l2=0.1)
weights = network.initial_weights(1)
begin = {**weights, "w_in": 5*weights["w_in"]}
rng = np.random.default_rng(0)
one = np.zeros(1, int)
data = Trials(rng.random((1, 5, 20)) < 0.2, rng.random((1, 1, 2)), one, one)
session = Session(network, make_program(sys.argv[1]), data, 5, begin)
assert session.run(data, 1).rate > 10
state = session.state()
session.restore(state)
assert np.count_nonzero(session.gradient()["w_rec"].data) > n
plot.weights(weights, network, state)
session.close()
try:
    BpttSession(network, data, 5, begin)
except ValueError as error:
    assert "computes with dense matrices" in str(error)
else:
    raise AssertionError
assert np.any(state["w_rec"].data != begin["w_rec"].data)
print(peak() - before)
"""


def test_a_large_sparse_network_takes_no_memory_for_all_pairs():
    """Of 4e8 pairs not even a byte each; synapses, histories and Brian2 take what there is."""
    found = subprocess.run(
        [sys.executable, "-c", LARGE, "cpp"], capture_output=True, text=True, check=True
    )
    assert int(found.stdout) < 200e6
