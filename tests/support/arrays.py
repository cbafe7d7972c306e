"""Comparing what two runs leave: matrices, states, whole checkpoints."""

import numpy as np

from eprop_brian.base.files import flattened
from eprop_brian.base.sparse import dense


def all_dense(matrices) -> dict[str, np.ndarray]:
    """Copies of matrices, by name, without a sparse one among them."""
    return {name: np.array(dense(value)) for name, value in matrices.items()}


def deviation(found, expected) -> float:
    """Largest difference relative to the largest entry, the worst of the matrices; nan stays."""
    deviations = []
    for name, value in found.items():
        largest = np.abs(dense(expected[name])).max()
        assert largest > 0, name
        deviations.append(np.abs(dense(value) - dense(expected[name])).max() / largest)
    return np.max(deviations)


def assert_same_state(state, expected) -> None:
    """The same arrays, bit for bit, and in sparse matrices the same synapses."""
    state, expected = flattened(state), flattened(expected)
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(state[name], value, err_msg=name)
