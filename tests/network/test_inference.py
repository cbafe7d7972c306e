"""Programs that only run trials: the outcome of those that learn to the bit, with less in them."""

import numpy as np
import pytest
from brian2 import Hz

from eprop_brian import ALIF, LIF, Network, get_neuron
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.session import Session
from support.devices import on_devices
from support.trials import DELAYS

N_IN, N_OUT, N_STEPS, N_TRIALS = 6, 2, 60, 3
MIXED = [(LIF, 20), (ALIF, 13)]
#: By name: neurons and options of a network.
NETWORKS = {
    "factored": (MIXED, {"c_reg": 2.0}),
    "online": (MIXED, {"gradient": "online", "rate_averaging": "batch", "f_target": 5 * Hz}),
    "softmax": (MIXED, {"loss": "softmax_cross_entropy", "clip_norm": 1.0, "c_l2": 0.1}),
    "coupled": (MIXED, {"loss": "(p - y_target)**2", "c_v": 0.1}),
    "delayed": (MIXED, {**DELAYS, "rate_averaging": "moving"}),
    "sparse": (MIXED, {"connectivity": {"w_in": 0.5, "w_rec": 0.3, "w_out": 0.5}}),
    "learned": (MIXED, {"learned": {"tau_m": Learned()}}),
    "continuous": (MIXED, {**DELAYS, "gradient": "online", "updates": "spike"}),
    **{
        name: ([(get_neuron(name), 33)], {})
        for name in ("stdp_alif", "lif_exp", "adex", "izhikevich", "glif")
    },
}
#: Networks to compile: the neurons of the others are compiled to be trained.
COMPILED = (
    *("factored", "online", "softmax", "coupled", "delayed", "sparse", "learned", "continuous"),
    "glif",
)


def trials(kind: str = "spikes") -> Trials:
    rng = np.random.default_rng(3)
    inputs = rng.random((N_TRIALS, N_STEPS, N_IN)) < 0.3
    periods = {}
    if kind == "periods":
        marked = np.zeros((1, N_STEPS), dtype=np.int32)
        marked[0, 20:30], marked[0, 45:] = 1, 2
        periods = {"periods": marked}
    return Trials(
        inputs=inputs * rng.normal(size=inputs.shape) if kind == "analog" else inputs,
        targets=rng.random((1, N_STEPS, N_OUT)),
        pattern=np.arange(N_TRIALS),
        target=np.zeros(N_TRIALS, dtype=int),
        **periods,
    )


def session(network: Network, data: Trials, learning: bool, device: str, dtype="float64"):
    weights = network.initial_weights(4)
    for name in ("w_in", "w_rec"):
        weights[name] = weights[name] * 2
    return Session(network, make_program(device, dtype), data, N_STEPS // 2, weights, learning)


def assert_same(network: Network, data: Trials, device: str, dtype: str = "float64") -> None:
    found, expected = [], []
    for learning, results in ((False, found), (True, expected)):
        made = session(network, data, learning, device, dtype)
        outcome = made.run(data, N_TRIALS, learning=False)
        results += [outcome.loss, outcome.output, outcome.rate, made.spikes()]
    assert expected[-1].sum() > 20
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", on_devices(NETWORKS, COMPILED))
def test_the_outcome_is_that_of_the_program_that_learns(name, device):
    neurons, options = NETWORKS[name]
    assert_same(Network.standard(N_IN, N_OUT, neurons, **options), trials(), device)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "dtype"), [("analog", "float64"), ("periods", "float64"), ("spikes", "float32")]
)
def test_whatever_the_trials_and_the_float_type(kind, dtype):
    assert_same(Network.standard(N_IN, N_OUT, MIXED), trials(kind), "cpp", dtype)


def test_continuous_operation_goes_on_from_the_states_given():
    neurons, options = NETWORKS["continuous"]
    network, data = Network.standard(N_IN, N_OUT, neurons, **options), trials()
    one = data.part(slice(1))
    learns = session(network, data, True, "runtime")
    learns.run(one, 1)
    runs = session(network, data, False, "runtime")
    runs.restore(learns.state())
    expected, found = (s.run(one, 1, learning=False) for s in (learns, runs))
    np.testing.assert_array_equal(found.output, expected.output)
    np.testing.assert_array_equal(runs.spikes(), learns.spikes())


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_there_for_learning(name):
    neurons, options = NETWORKS[name]
    network = Network.standard(N_IN, N_OUT, neurons, **options)
    groups = session(network, trials(), False, "runtime").program.built.groups
    ends = ("_results", "_window", "_pre", "lif_history")
    assert not [g for g in groups if g.endswith(ends) and g != "trials_results"]
    assert not [g for g in groups if g.startswith("readout_to")]
    names = {variable for group in groups.values() for variable in group.variables}
    states = [*network.optimizer.states, *network.optimizer.parameters, "k", "L", "B", "psi"]
    assert not names & {*states, "signal", "filtered_error", "learning", "updating"}
    assert not [v for v in names if "gradient" in v or v.endswith(("_sum_total", "_trace_sum"))]


def test_what_trains_a_network_does_not_matter():
    network = Network.standard(N_IN, N_OUT, MIXED)
    data = trials()
    runs = session(network.with_options(gradient="bptt"), data, False, "runtime")
    learns = session(network, data, True, "runtime")
    for made in (runs, learns):
        made.run(data, N_TRIALS, learning=False)
    np.testing.assert_array_equal(runs.spikes(), learns.spikes())


def test_readouts_of_every_step_are_kept():
    data = trials()
    made = session(Network.standard(N_IN, N_OUT, MIXED), data, False, "runtime")
    outcome = made.run(data, N_TRIALS, learning=False)
    y = made.readouts()
    assert y.shape == (N_STEPS, N_OUT)
    np.testing.assert_allclose(y[N_STEPS // 2 :].mean(axis=0), outcome.output[-1], rtol=1e-12)


def test_a_state_of_training_can_be_restored_and_learning_is_refused():
    network, data = Network.standard(N_IN, N_OUT, MIXED), trials()
    trained = session(network, data, True, "runtime")
    trained.run(data, N_TRIALS)
    made = session(network, data, False, "runtime")
    made.restore(trained.state())
    np.testing.assert_array_equal(made.weights["w_rec"], trained.weights["w_rec"])
    for refused in (lambda: made.run(data, N_TRIALS), made.gradient, made.apply_pending):
        with pytest.raises(ValueError, match="learning=False"):
            refused()
    with pytest.raises(ValueError, match="learning=False"):
        trained.readouts()
