"""Sparse connectivity: compressed rows give what a dense network without those weights gives."""

import numpy as np
import pytest

from eprop_brian import ALIF, LIF, Network
from eprop_brian.devices import make_program
from eprop_brian.tasks.base import Trials
from eprop_brian.training.recording import TracedSynapse, record_trial
from eprop_brian.training.session import MATRICES, Session

N_IN, N_OUT, N_STEPS, N_TRIALS = 6, 2, 60, 3
OPTIONS = {
    "neurons": [(LIF, 11), (ALIF.with_parameters(t_ref="3 ms"), 9)],
    "loss": "softmax_cross_entropy",
    "c_reg": 10.0,
}


def trials():
    rng = np.random.default_rng(5)
    return Trials(
        spikes=rng.random((N_TRIALS, N_STEPS, N_IN)) < 0.2,
        targets=np.eye(N_OUT)[rng.integers(N_OUT, size=N_TRIALS)][:, None, :],
        pattern=np.arange(N_TRIALS),
        target=np.arange(N_TRIALS),
    )


def network(**options):
    return Network(N_IN, N_OUT, **{**OPTIONS, **options})


def gradient(made, weights, device, dtype="float64"):
    session = Session(made, make_program(device, dtype), trials(), N_STEPS, weights)
    outcome = session.run(trials(), N_TRIALS)
    return session, outcome, session.gradient()


@pytest.mark.parametrize("feedback", ["symmetric", "random"])
@pytest.mark.parametrize("device", ["cpp", "runtime"])
@pytest.mark.parametrize("program", ["factored", "online"])
def test_sparse_rows_equal_a_dense_network_with_zeros(program, device, feedback):
    options = {"gradient": program, "feedback": feedback, "rate_averaging": "batch"}
    sparse = network(connectivity={"w_in": 0.5, "w_rec": 0.3, "w_out": 0.6}, **options)
    weights = sparse.initial_weights(2)
    for name in MATRICES:
        weights[name] *= 3
    weights["B"] = weights["w_out"].T.copy() if feedback == "symmetric" else weights["B"]
    session, outcome, found = gradient(sparse, weights, device)
    _, dense_outcome, expected = gradient(network(**options), weights, device)
    assert outcome.rate.min() > 10
    np.testing.assert_allclose(outcome.loss, dense_outcome.loss, rtol=1e-12)
    for name, connected in sparse.adjacency.items():
        assert np.abs(expected[name][connected]).max() > 0
        np.testing.assert_allclose(
            found[name], np.where(connected, expected[name], 0), rtol=1e-10, atol=1e-15
        )
        assert not np.any(session.weights[name][~connected])
        assert np.mean(session.weights[name][connected] != weights[name][connected]) > 0.5


@pytest.mark.parametrize("device", ["cpp", "runtime"])
@pytest.mark.parametrize("program", ["factored", "online"])
def test_nothing_of_a_call_is_left_for_the_next(program, device):
    made = network(connectivity={"w_out": 0.3, "w_rec": 0.5}, gradient=program)
    session, first, gradients = gradient(made, made.initial_weights(2), device)
    assert np.abs(gradients["w_in"]).max() > 0
    session.run(trials(), 1, learning=False)
    session.restore({**session.state(), **made.initial_weights(2), "n_updates": 0})
    for name in session.optimizer_states:
        session.optimizer_states[name][:] = 0
    second = session.run(trials(), N_TRIALS)
    np.testing.assert_array_equal(second.loss, first.loss)
    for name, value in session.gradient().items():
        np.testing.assert_array_equal(value, gradients[name])


def test_only_synapses_that_exist_are_stored():
    made = network(connectivity={"w_rec": 0.1})
    session = Session(made, make_program("cpp"), trials(), N_STEPS, made.initial_weights(1))
    recurrent = [p for p in session.program.built.projections if p.matrix == "w_rec"]
    assert sum(p.group.N for p in recurrent) == np.count_nonzero(made.adjacency["w_rec"]) == 38


def test_a_population_may_be_left_without_input():
    adjacency = np.zeros((20, N_IN), dtype=bool)
    adjacency[:11] = True
    made = network(connectivity={"w_in": adjacency, "w_rec": 0.0})
    session, outcome, found = gradient(made, made.initial_weights(1), "cpp")
    assert not np.any(found["w_in"][11:])
    assert not np.any(found["w_rec"])
    assert np.all(np.isfinite(outcome.loss))


def test_a_fraction_is_drawn_from_its_seed():
    first, same, other = (
        network(connectivity={"w_in": 0.5}, connectivity_seed=seed).adjacency["w_in"]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert np.any(first != other)
    assert np.count_nonzero(first) == np.count_nonzero(other) == 60


@pytest.mark.parametrize(
    ("connectivity", "message"),
    [
        ({"w_fb": 0.1}, "unknown weight matrix in connectivity 'w_fb'"),
        ({"w_rec": 1.5}, "connectivity of w_rec is a fraction, not 1.5"),
        ({"w_rec": np.ones((20, 20), dtype=bool)}, "diagonal must be False"),
        ({"w_in": np.ones((N_IN, 20), dtype=bool)}, r"bool array of shape \(20, 6\)"),
        (0.1, "names weight matrices"),
        ({"w_in": "many"}, "connectivity of w_in must be a finite number"),
        ({"w_in": [[True], [True, False]]}, "rows of several lengths"),
    ],
)
def test_connectivity_that_cannot_be_is_refused(connectivity, message):
    with pytest.raises(ValueError, match=message):
        network(connectivity=connectivity)


@pytest.mark.parametrize("seed", ["a", 1.5, -1, None, True])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(ValueError, match="connectivity_seed must be a whole number"):
        network(connectivity={"w_in": 0.5}, connectivity_seed=seed)


def test_weights_without_a_synapse_are_refused():
    made = network(connectivity={"w_rec": 0.1})
    weights = network().initial_weights(1)
    with pytest.raises(ValueError, match="w_rec must be 0 where"):
        Session(made, make_program("cpp"), trials(), N_STEPS, weights)


def test_traces_are_recorded_of_synapses_that_exist():
    made = network(connectivity={"w_in": 0.5, "w_rec": 0.3})
    weights = made.initial_weights(3)
    weights["w_in"] *= 3
    recording = record_trial(made, trials(), weights, learning_window=N_STEPS, synapses=6)
    first = {"lif": 0, "alif": 11}
    for synapse in recording.synapses:
        matrix = made.adjacency["w_in" if synapse.source == "inputs" else "w_rec"]
        assert matrix[
            first[synapse.target] + synapse.post, first.get(synapse.source, 0) + synapse.pre
        ]
    post, pre = np.argwhere(~made.adjacency["w_in"][11:])[0]
    missing = TracedSynapse("inputs", int(pre), "alif", int(post))
    with pytest.raises(ValueError, match="no synapse"):
        record_trial(made, trials(), weights, learning_window=N_STEPS, synapses=[missing])
