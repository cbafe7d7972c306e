"""Sparse connectivity: compressed rows give what a dense network without those weights gives."""

import tracemalloc

import numpy as np
import pytest
from matplotlib import pyplot as plt
from scipy import sparse

from eprop_brian import ALIF, LIF, Network
from eprop_brian.base.files import read_arrays, write_arrays
from eprop_brian.base.sparse import draw_pairs, same_structure
from eprop_brian.figures.weights import plot_weights
from eprop_brian.network.program import make_program
from eprop_brian.network.standard import MATRICES
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.recording import record
from eprop_brian.training.session import Session
from eprop_brian.training.traces import TracedSynapse

N_IN, N_OUT, N_STEPS, N_TRIALS = 6, 2, 60, 3
OPTIONS = {
    "neurons": [(LIF, 11), (ALIF.with_parameters(t_ref="3 ms"), 9)],
    "loss": "softmax_cross_entropy",
    "c_reg": 10.0,
}


def trials():
    rng = np.random.default_rng(5)
    return Trials(
        inputs=rng.random((N_TRIALS, N_STEPS, N_IN)) < 0.2,
        targets=np.eye(N_OUT)[rng.integers(N_OUT, size=N_TRIALS)][:, None, :],
        pattern=np.arange(N_TRIALS),
        target=np.arange(N_TRIALS),
    )


def network(**options):
    return Network.standard(N_IN, N_OUT, **{**OPTIONS, **options})


def assert_equal(a, b):
    """Equal to the bit; sparse matrices in their structure too."""
    assert type(a) is type(b)
    if sparse.issparse(a):
        assert same_structure(a, b)
        a, b = a.data, b.data
    np.testing.assert_array_equal(a, b)


def gradient(made, weights, device, dtype="float64"):
    session = Session(made, make_program(device, dtype), trials(), N_STEPS, weights)
    outcome = session.run(trials(), N_TRIALS)
    return session, outcome, session.gradient()


@pytest.mark.parametrize("feedback", ["symmetric", "random"])
@pytest.mark.devices("cpp", "runtime", slow=())
@pytest.mark.parametrize("program", ["factored", "online"])
def test_sparse_rows_equal_a_dense_network_with_zeros(program, device, feedback):
    options = {"gradient": program, "feedback": feedback, "rate_averaging": "batch"}
    made = network(connectivity={"w_in": 0.5, "w_rec": 0.3, "w_out": 0.6}, **options)
    weights = made.initial_weights(3)
    for name in MATRICES:
        weights[name] *= 3
    if feedback == "symmetric":
        weights["B"] = weights["w_out"].T.toarray()
    dense = {**weights, **{name: weights[name].toarray() for name in MATRICES}}
    session, outcome, found = gradient(made, weights, device)
    _, dense_outcome, expected = gradient(network(**options), dense, device)
    assert outcome.rate.min() > 10
    np.testing.assert_allclose(outcome.loss, dense_outcome.loss, rtol=1e-12)
    for name, adjacency in made.adjacency.items():
        connected = adjacency.toarray()
        assert np.abs(expected[name][connected]).max() > 0
        np.testing.assert_allclose(
            found[name].toarray(), np.where(connected, expected[name], 0), rtol=1e-10, atol=1e-15
        )
        learned = session.weights[name].toarray()
        assert not np.any(learned[~connected])
        assert np.mean(learned[connected] != dense[name][connected]) > 0.5


@pytest.mark.devices("cpp", "runtime", slow=())
@pytest.mark.parametrize("program", ["factored", "online"])
def test_nothing_of_a_call_is_left_for_the_next(program, device):
    made = network(connectivity={"w_out": 0.3, "w_rec": 0.5}, gradient=program)
    session, first, gradients = gradient(made, made.initial_weights(2), device)
    assert np.abs(gradients["w_in"]).max() > 0
    session.run(trials(), 1, learning=False)
    session.restore({**session.state(), **made.initial_weights(2), "n_updates": 0})
    for state in session.optimizer_states.values():
        (state.data if sparse.issparse(state) else state)[:] = 0
    second = session.run(trials(), N_TRIALS)
    np.testing.assert_array_equal(second.loss, first.loss)
    for name, value in session.gradient().items():
        assert_equal(value, gradients[name])


def test_only_synapses_that_exist_are_stored():
    made = network(connectivity={"w_rec": 0.1})
    session = Session(made, make_program("cpp"), trials(), N_STEPS, made.initial_weights(1))
    recurrent = [p for p in session.program.built.projections if p.matrix == "w_rec"]
    assert sum(p.group.N for p in recurrent) == made.adjacency["w_rec"].nnz == 38


def test_a_population_may_be_left_without_input():
    adjacency = np.zeros((20, N_IN), dtype=bool)
    adjacency[:11] = True
    made = network(connectivity={"w_in": adjacency, "w_rec": 0.0})
    session, outcome, found = gradient(made, made.initial_weights(1), "cpp")
    assert not np.any(found["w_in"].toarray()[11:])
    assert found["w_rec"].nnz == 0
    assert np.all(np.isfinite(outcome.loss))


def test_a_fraction_is_drawn_from_its_seed():
    first, same, other = (
        network(connectivity={"w_in": 0.5}, connectivity_seed=seed).adjacency["w_in"]
        for seed in (1, 1, 2)
    )
    assert_equal(first, same)
    assert np.any(first.toarray() != other.toarray())
    assert first.nnz == other.nnz == 60


@pytest.mark.parametrize("size", [0, 1, 20, 50, 71, 72])
def test_every_set_of_pairs_is_as_likely_and_has_no_autapses(size):
    rng = np.random.default_rng(4)
    counts = np.zeros((9, 9))
    for _ in range(1000):
        drawn = draw_pairs(rng, (9, 9), size, autapses=False)
        assert drawn.nnz == size and drawn.has_canonical_format
        counts += drawn.toarray()
    assert not np.any(np.diag(counts))
    p = size / 72
    pairs = counts[~np.eye(9, dtype=bool)] / 1000
    np.testing.assert_allclose(pairs, p, atol=4.5 * np.sqrt(p * (1 - p) / 1000) + 1e-12)


def test_initial_weights_are_scaled_by_the_mean_fan_in():
    options = {"connectivity": {"w_in": 0.2, "w_rec": 0.1, "w_out": 0.5}, "neurons": [(LIF, 200)]}
    weights = Network.standard(60, 20, **options).initial_weights(3)
    for name, fan_in in (("w_in", 12), ("w_rec", 19.9), ("w_out", 100)):
        # At least 2000 samples: a standard error of the standard deviation of 1.6 %.
        assert weights[name].data.std() == pytest.approx(fan_in**-0.5, rel=0.06)
    glorot = Network.standard(60, 20, **options, readout_weights="glorot").initial_weights(3)[
        "w_out"
    ]
    limit = np.sqrt(6 / 220) * np.sqrt(2)
    assert 0.98 * limit < np.abs(glorot.data).max() <= limit


@pytest.mark.parametrize(
    ("connectivity", "message"),
    [
        ({"w_fb": 0.1}, "unknown weight matrix in connectivity 'w_fb'"),
        ({"w_rec": 1.5}, "connectivity of w_rec is a fraction, not 1.5"),
        ({"w_rec": np.ones((20, 20), dtype=bool)}, "diagonal must be False"),
        ({"w_in": np.ones((N_IN, 20), dtype=bool)}, r"of shape \(20, 6\)"),
        (0.1, "names weight matrices"),
        ({"w_in": "many"}, "connectivity of w_in must be a finite number"),
        ({"w_in": [[True], [True, False]]}, "rows of several lengths"),
        ({"w_rec": sparse.eye_array(20)}, "diagonal must be False"),
        ({"w_in": sparse.eye_array(20)}, r"of shape \(20, 6\)"),
    ],
)
def test_connectivity_that_cannot_be_is_refused(connectivity, message):
    with pytest.raises(ValueError, match=message):
        network(connectivity=connectivity)


@pytest.mark.parametrize("seed", ["a", 1.5, -1, None, True])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(ValueError, match="connectivity_seed must be a whole number"):
        network(connectivity={"w_in": 0.5}, connectivity_seed=seed)


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix, sparse.coo_array])
def test_weights_without_a_synapse_are_refused(convert):
    made = network(connectivity={"w_rec": 0.1})
    weights = network().initial_weights(1)
    weights["w_rec"] = convert(weights["w_rec"])
    with pytest.raises(ValueError, match="w_rec must be 0 where"):
        Session(made, make_program("runtime"), trials(), N_STEPS, weights)


def test_weights_may_be_dense_or_sparse():
    made = network(connectivity={"w_in": 0.4, "w_rec": 0.2})
    weights = made.initial_weights(1)
    weights["w_rec"].data[::3] = 0
    dense = {k: w.toarray() if sparse.issparse(w) else w for k, w in weights.items()}
    # Without the synapses of weight 0, with a pair that is none, and in another order.
    csr = sparse.csr_array(dense["w_rec"]).tocoo()
    odd = sparse.coo_matrix(
        (np.append(csr.data, 0), (np.append(csr.row, 4), np.append(csr.col, 4))), shape=(20, 20)
    )
    given = [weights, dense, {**dense, "w_rec": odd, "w_out": sparse.csr_array(dense["w_out"])}]
    for matrices in given:
        session = Session(made, make_program("runtime"), trials(), N_STEPS, matrices)
        for name, expected in weights.items():
            assert_equal(session.weights[name], expected)
    session.weights["w_rec"].data[:] = 7
    assert weights["w_rec"].data.max() < 7


@pytest.mark.parametrize(
    "change",
    [lambda w: w - w, lambda w: w.tocsr(), lambda w: w.toarray(), lambda w: w.T.tocsc()],
    ids=["lost", "other order", "dense", "other synapses"],
)
def test_weights_with_other_synapses_are_refused_before_they_run(change):
    made = network(connectivity={"w_rec": 0.2})
    session = Session(made, make_program("runtime"), trials(), N_STEPS, made.initial_weights(1))
    session.weights["w_rec"] = change(session.weights["w_rec"])
    with pytest.raises(ValueError, match="w_rec must be a csc_array that stores exactly"):
        session.run(trials(), N_TRIALS)


def test_structure_is_shared_and_cannot_be_changed_by_accident():
    made = network(connectivity={"w_rec": 0.2})
    session = Session(made, make_program("runtime"), trials(), N_STEPS, made.initial_weights(1))
    connected = made.adjacency["w_rec"]
    session.restore(session.state())
    for matrix in (session.weights["w_rec"], session.optimizer_states["m.w_rec"]):
        assert np.shares_memory(matrix.indices, connected.indices)
    session.weights["w_rec"].data[:3] = 0
    with pytest.raises(ValueError):
        session.weights["w_rec"].eliminate_zeros()
    assert connected.nnz == 76


@pytest.mark.parametrize("form", [sparse.coo_array, sparse.csr_matrix, sparse.csc_array])
def test_an_adjacency_matrix_may_be_sparse(form):
    rng = np.random.default_rng(2)
    connected = (rng.random((20, 20)) < 0.3) & ~np.eye(20, dtype=bool)
    given = form(connected * rng.standard_normal((20, 20)))
    found = network(connectivity={"w_rec": given}).adjacency["w_rec"]
    assert_equal(found, network(connectivity={"w_rec": connected}).adjacency["w_rec"])
    np.testing.assert_array_equal(found.toarray(), connected)
    given.data[:] = 0
    assert network(connectivity={"w_rec": given}).adjacency["w_rec"].nnz == 0


def test_traces_are_recorded_of_synapses_that_exist():
    made = network(connectivity={"w_in": 0.5, "w_rec": 0.3})
    weights = made.initial_weights(3)
    weights["w_in"] *= 3
    recording = record(made, trials(), weights, learning_window=N_STEPS, synapses=6)
    first = {"lif": 0, "alif": 11}
    for synapse in recording.synapses:
        matrix = made.adjacency["w_in" if synapse.source == "inputs" else "w_rec"]
        assert matrix[
            first[synapse.target] + synapse.post, first.get(synapse.source, 0) + synapse.pre
        ]
    post, pre = np.argwhere(~made.adjacency["w_in"].toarray()[11:])[0]
    missing = TracedSynapse("inputs", int(pre), "alif", int(post))
    with pytest.raises(ValueError, match="no synapse"):
        record(made, trials(), weights, learning_window=N_STEPS, synapses=[missing])


def test_traces_and_their_choice_are_those_of_a_dense_network():
    everything = {
        "w_in": np.ones((20, N_IN), dtype=bool),
        "w_rec": sparse.csr_array(~np.eye(20, dtype=bool)),
    }
    weights = network().initial_weights(3)
    weights["w_in"] *= 3
    dense, rows = (
        record(made, trials(), weights, learning_window=N_STEPS, synapses=12)
        for made in (network(), network(connectivity=everything))
    )
    assert rows.synapses == dense.synapses
    assert np.abs(dense.filtered_trace).max(axis=0).min() > 0
    np.testing.assert_allclose(rows.eligibility_trace, dense.eligibility_trace, rtol=1e-12)
    np.testing.assert_allclose(rows.filtered_trace, dense.filtered_trace, rtol=1e-12)


def test_traces_of_few_synapses_are_those_of_a_dense_network_with_zeros():
    made = network(connectivity={"w_in": 0.5, "w_rec": 0.1})
    weights = made.initial_weights(3)
    weights["w_in"] *= 3
    found = record(made, trials(), weights, learning_window=N_STEPS, synapses=30)
    dense = {k: w.toarray() if sparse.issparse(w) else w for k, w in weights.items()}
    expected = record(network(), trials(), dense, learning_window=N_STEPS, synapses=found.synapses)
    assert {s.source for s in found.synapses} == {"inputs", "lif", "alif"}
    np.testing.assert_allclose(found.filtered_trace, expected.filtered_trace, rtol=1e-12)


@pytest.mark.slow
def test_no_matrix_of_a_large_sparse_network_is_ever_dense(tmp_path):
    """20 000 x 20 000 weights would take 3.2 GB each."""
    n, n_in, n_steps = 20_000, 2_000, 20
    data = Trials(
        inputs=np.random.default_rng(1).random((1, n_steps, n_in)) < 0.3,
        targets=np.zeros((1, n_steps, 1)),
        pattern=np.zeros(1, dtype=int),
        target=np.zeros(1, dtype=int),
    )
    tracemalloc.start()
    try:
        connectivity = {"w_rec": 2e-4, "w_in": 2e-3, "w_out": 0.1}
        neurons = [(LIF, n // 2), (ALIF, n // 2)]
        made = Network.standard(n_in, 1, neurons, feedback="random", connectivity=connectivity)
        weights = made.initial_weights(1)
        weights["w_in"] *= 3
        session = Session(made, make_program("cpp"), data, n_steps, weights)
        rates = [session.run(data, 1).rate[0] for _ in range(2)]
        path = tmp_path / "state.npz"
        write_arrays(path, session.state())
        session.restore(read_arrays(path))
        changed = np.mean(session.weights["w_rec"].data != weights["w_rec"].data)
        assert (
            session.is_finite() and session.gradient()["w_rec"].nnz == made.adjacency["w_rec"].nnz
        )
        plot_weights(weights, made, session.weights)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        plt.close("all")
    assert made.adjacency["w_rec"].nnz == round(2e-4 * n * (n - 1))
    assert min(rates) > 1 and changed > 0.1
    assert peak < 400e6
