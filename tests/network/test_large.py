"""Large networks: 64-bit places, tiles of sparse rows, construction without arrays of all pairs."""

import tracemalloc

import numpy as np
import pytest
from brian2 import ms

from eprop_brian import ALIF, LIF, Network, get_task
from eprop_brian.base import indices, pieces, random
from eprop_brian.base.random import normals, rng_for
from eprop_brian.base.sparse import draw_pairs, values_of
from eprop_brian.devices import cpp
from eprop_brian.network import groups
from eprop_brian.network.build import build
from eprop_brian.network.built import Capacity
from eprop_brian.network.program import make_program
from eprop_brian.training.session import Session

N_STEPS = 60


def learned(options):
    """Losses, gradients and weights after two trials, and the program's step."""
    task = get_task("pattern-generation", n_steps=N_STEPS, n_inputs=12, n_outputs=2)
    neurons = [(LIF, 37), (ALIF, 22)] if options["gradient"] == "factored" else [(LIF, 59)]
    made = Network.for_task(task, neurons, **options)
    weights = made.initial_weights(3)
    for name in ("w_in", "w_rec"):
        weights[name] = weights[name] * 3
    trials = task.trials(1, "train", 0, 1)
    session = Session(made, make_program("cpp"), trials, N_STEPS, weights)
    outcomes = [session.run(trials, 1) for _ in range(2)]
    assert min(o.rate[0] for o in outcomes) > 10
    source = (session.program.folder / "program.cpp").read_text().split("bool step()")[1]
    found = [o.loss for o in outcomes]
    for arrays in (session.gradient(), session.weights):
        found += [values_of(arrays[name]) for name in sorted(arrays)]
    session.close()
    return found, source


def assert_same_bits(a, b):
    assert len(a) == len(b) > 5
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)


SPARSE = {"connectivity": {"w_in": 0.6, "w_rec": 0.3}, "delays": {"w_rec": (1 * ms, 4 * ms)}}


@pytest.mark.parametrize(
    "options",
    [
        {**SPARSE, "gradient": "factored"},
        {"gradient": "factored"},
        {**SPARSE, "gradient": "online"},
    ],
    ids=["sparse", "dense", "online"],
)
def test_places_of_64_bits_give_the_same_bits(options, monkeypatch):
    expected, source = learned(options)
    assert "int64_t" not in source
    # As if more than 500 numbers were too many for 32 bits.
    monkeypatch.setattr(indices, "MOST_NUMBERS", 500)
    found, source = learned(options)
    assert "for (int64_t _step" in source
    assert "for (int _" not in source
    assert_same_bits(found, expected)


@pytest.mark.usefixtures("users_compiler")
def test_tiles_of_sparse_rows_give_the_same_bits(monkeypatch):
    expected, source = learned({**SPARSE, "gradient": "factored", "c_reg": 5.0})
    assert "_first += 40" in source
    # Tiles of a vector: a row goes on in the next one.
    monkeypatch.setattr(cpp, "_TILE_BYTES", 0)
    monkeypatch.setattr(groups, "_ROWS_PER_SYNAPSE", 10**6)
    monkeypatch.setattr(groups, "_LEAST_VECTORS", 1)
    found, source = learned({**SPARSE, "gradient": "factored", "c_reg": 5.0})
    assert "_first += 8" in source
    assert_same_bits(found, expected)


def test_draws_do_not_depend_on_the_number_of_threads(monkeypatch):
    def drawn():
        pairs = draw_pairs(np.random.default_rng(5), (3000, 3000), 200_000, autapses=False)
        return [pairs.indices, pairs.indptr, normals(rng_for(2, "weights"), 200_001)]

    monkeypatch.setattr(pieces, "cores", lambda: 1)
    expected = drawn()
    for n_cores in (2, 5):
        monkeypatch.setattr(pieces, "cores", lambda n=n_cores: n)
        for one, other in zip(drawn(), expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("size", "autapses"), [(2000, False), (30_000, True), (70_000, False)])
def test_pairs_are_those_of_the_numbers_drawn(size, autapses):
    """By sets of Python's whole numbers: a network of a seed stays what it was."""
    n_post, n_pre = 300, 250
    n = n_post - (not autapses)
    rng, numbers = np.random.default_rng(8), set()
    left_out = 2 * size > n * n_pre
    wanted = n * n_pre - size if left_out else size
    while len(numbers) < wanted:
        numbers |= {*rng.integers(n * n_pre, size=wanted - len(numbers)).tolist()}
    numbers = {*range(n * n_pre)} - numbers if left_out else numbers
    pairs = [divmod(number, n) for number in sorted(numbers)]
    expected = [(pre, post + (not autapses and post >= pre)) for pre, post in pairs]
    found = draw_pairs(np.random.default_rng(8), (n_post, n_pre), size, autapses=autapses)
    pre = np.repeat(np.arange(n_pre), np.diff(found.indptr))
    assert [*zip(pre.tolist(), found.indices.tolist(), strict=True)] == expected


def test_normal_numbers_are_made_in_pieces_of_the_same_words():
    pairs = random.uniforms(rng_for(4, "x"), (pieces._PIECE + 3, 2))
    expected = np.stack(random._two_normals(pairs[:, 0], pairs[:, 1]), axis=1).ravel()
    np.testing.assert_array_equal(normals(rng_for(4, "x"), 2 * len(pairs) - 1), expected[:-1])


def test_a_network_of_200000_neurons_takes_memory_for_its_synapses_alone():
    """All pairs would take 320 GB as floats, 40 GB as truth values."""
    n, fan_out = 200_000, 5
    task = get_task("pattern-generation", n_steps=4, n_inputs=50)
    tracemalloc.start()
    made = Network.for_task(
        task,
        [(LIF, n)],
        connectivity={"w_rec": fan_out / n, "w_in": 0.02},
        feedback="random",
    )
    weights = made.initial_weights(1)
    project = cpp.generate(made, Capacity(4, 1, 1, 4, 1), build=build)
    arrays = project.built.parameter_arrays()
    arrays |= project.built.synaptic_arrays("w", {k: weights[k] for k in ("w_in", "w_rec")})
    values = {"lif_to_lif.w": arrays["lif_to_lif.w"]}
    assert np.array_equal(project.built.matrix("w_rec", "w", values).data, weights["w_rec"].data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    n_synapses = made.adjacency["w_rec"].nnz + made.adjacency["w_in"].nnz
    assert n_synapses == pytest.approx(1.2e6, rel=0.01)
    # What Brian2 counts as arrays of the program are zeros that nothing has touched.
    assert peak < 150 * n_synapses + 150 * n + sum(project.sizes.values())
    assert arrays["lif_to_lif.post"].dtype == np.int32
    assert sum(project.sizes.values()) < 80 * n_synapses + 300 * n
