"""Weights over training: what is recorded is what the network had, and changes nothing."""

import numpy as np
import pytest
from brian2 import ms

from eprop_brian import GRADIENT_DESCENT, LEAKY, LIF, Network, Trainer, TrainingError
from eprop_brian.tasks import PatternGeneration
from eprop_brian.training.traces import TracedSynapse, synapses_of
from eprop_brian.training.weight_recording import WeightRecorder

SYNAPSES = (
    TracedSynapse("inputs", 3, "lif", 1),
    TracedSynapse("lif", 2, "lif", 0),
    TracedSynapse("lif", 4, "readout", 0),
)
ENTRIES = (("w_in", 1, 3), ("w_rec", 0, 2), ("w_out", 0, 4))


def trainer(rate=None, **options):
    lif = LIF.with_parameters(tau_m=30 * ms, v_th=0.03, t_ref=0 * ms, zeta="1 - alpha")
    network = Network.standard(
        20,
        1,
        [(lif, 5)],
        readout=LEAKY.with_parameters(tau_out=30 * ms, zeta_out="1 - kappa"),
        optimizer=GRADIENT_DESCENT.with_parameters(**(rate or {"eta": 5e-3})),
        **options,
    )
    task = PatternGeneration(n_steps=50, n_inputs=20, periods=(50 * ms, 25 * ms))
    where = {} if network.gradient == "bptt" else {"device": "runtime"}
    return Trainer(network, task, seed=1, **where)


def entries(session):
    return [session.weights[key][row, column] for key, row, column in ENTRIES]


@pytest.mark.parametrize(
    "options",
    [{}, {"gradient": "bptt"}, {"gradient": "online", "updates": "step", "feedback": "random"}],
    ids=["factored", "bptt", "continuous"],
)
def test_weights_are_those_after_each_update(options):
    expected, plain = [], trainer(**options)
    for update in range(7):
        plain.train(update, progress=False)
        expected.append(entries(plain.session))
    recorder, recorded = WeightRecorder(SYNAPSES, every=3), trainer(**options)
    recorded.train(4, progress=False, record_weights=recorder)
    recorded.train(6, progress=False, record_weights=recorder)
    np.testing.assert_array_equal(recorder.updates, [0, 3, 6])
    np.testing.assert_array_equal(recorder.weights.values, np.array(expected)[::3])
    assert len(np.unique(recorder.weights.values[:, 0])) == 3
    for name, value in plain.session.weights.items():
        np.testing.assert_array_equal(recorded.session.weights[name], value)


def test_updates_that_are_taken_back_are_forgotten():
    recorder = WeightRecorder(SYNAPSES)
    diverging = trainer({"eta": 1e300, "w_min": -1e308, "w_max": 1e308})
    noted = []
    recorder.note = lambda session: noted.append(1) or WeightRecorder.note(recorder, session)
    with np.errstate(all="ignore"), pytest.raises(TrainingError):
        diverging.train(5, progress=False, record_weights=recorder)
    # The call that failed had updates before it did.
    assert (len(noted), recorder.updates.tolist()) == (2, [0])
    np.testing.assert_array_equal(recorder.weights.values[-1], entries(diverging.session))


def test_what_was_written_is_read(tmp_path):
    recorder = WeightRecorder(SYNAPSES, every=2)
    trainer().train(4, progress=False, record_weights=recorder)
    recorder.write(tmp_path / "weights.npz")
    found = WeightRecorder.read(tmp_path / "weights.npz")
    np.testing.assert_array_equal(found.updates, recorder.updates)
    np.testing.assert_array_equal(found.weights.values, recorder.weights.values)
    assert (found.synapses, found.every) == (SYNAPSES, 2)
    np.savez(tmp_path / "other.npz", updates=np.zeros(2))
    with pytest.raises(ValueError, match="not a record of weights"):
        WeightRecorder.read(tmp_path / "other.npz")


def test_tables_and_labelled_arrays():
    recorder = WeightRecorder(SYNAPSES)
    trainer().train(2, progress=False, record_weights=recorder)
    pytest.importorskip("pandas")
    table = recorder.to_pandas()
    assert table.index.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(table["lif 2 → lif 0", "1"], recorder.weights.values[:, 1])
    pytest.importorskip("xarray")
    array = recorder.to_xarray()
    assert array.dims == ("update", "synapse")
    np.testing.assert_array_equal(array.sel(update=2), recorder.weights.values[2])


def test_synapses_of_a_connection():
    network = trainer().network
    synapses = synapses_of(network, "w_rec")
    assert len({*synapses}) == 20 and all(s.pre != s.post for s in synapses)
    assert len(synapses_of(network, "w_out")) == 5
    with pytest.raises(ValueError, match=r"unknown connection 'w_re' \(did you mean 'w_rec'\?\)"):
        synapses_of(network, "w_re")


def test_a_synapse_that_is_not_there_is_named():
    recorder = WeightRecorder([TracedSynapse("lif", 5, "readout", 0)])
    with pytest.raises(ValueError, match="no synapse 'lif 5 → readout 0'"):
        trainer().train(1, progress=False, record_weights=recorder)
