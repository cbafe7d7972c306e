"""Recordings in files and in the forms of other libraries: the same numbers, units and names."""

import csv
import sys

import numpy as np
import pytest

from eprop_brian.equations import ALIF, get_neuron
from eprop_brian.network.spec import Network
from eprop_brian.training.recorded import Recording
from eprop_brian.training.recording import record
from support.trials import random_trials

N_IN, N_OUT, N_STEPS = 3, 2, 40
QUANTITIES = (
    *("inputs", "v", "a", "I_syn", "spikes", "psi", "transmitted"),
    *("eps_a", "filtered_trace", "output"),
)


@pytest.fixture(scope="module")
def recording():
    """Neurons with units and without, and fewer quantities of some."""
    exp = get_neuron("lif_exp").with_parameters(t_ref="2 ms")
    network = Network.standard(N_IN, N_OUT, [(exp, 2), (ALIF.with_parameters(v_th=0.3), 2)])
    weights = network.initial_weights(1)
    weights["w_in"] = 4 * np.abs(weights["w_in"])
    trials = random_trials(1, (1, N_STEPS, N_IN), N_OUT)
    r = record(
        network, trials, weights, quantities=QUANTITIES, neurons={"lif_exp": [1], "alif": None}
    )
    assert r.spikes.any(axis=0).all() and r["v"].units == ("volt", "1", "1")
    return r


def assert_same(found: Recording, expected: Recording):
    assert list(found) == list(expected)
    for name in expected:
        a, b = found[name], expected[name]
        np.testing.assert_array_equal(a.values, b.values)
        assert a.values.dtype == b.values.dtype
        assert (a.name, a.kind, a.members, a.units) == (b.name, b.kind, b.members, b.units)


def test_what_was_written_is_read(recording, tmp_path):
    path = tmp_path / "trial.npz"
    recording.write(path)
    found = Recording.read(path)
    assert_same(found, recording)
    for name in ("populations", "readouts", "synapses", "dt", "n_steps", "softmax"):
        assert getattr(found, name) == getattr(recording, name)
    for name in ("time", "counts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(recording, name))
    assert [*tmp_path.iterdir()] == [path]


def test_a_file_that_is_no_recording_is_refused(recording, tmp_path):
    path = tmp_path / "trial.npz"
    np.savez(path, v=np.zeros(3))
    with pytest.raises(ValueError, match="not a recording"):
        Recording.read(path)
    recording.write(path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["quantity_1.values"] = arrays["quantity_1.values"][:, :1]
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="'v' is damaged"):
        Recording.read(path)
    np.savez(path, **{**arrays, "quantities": np.array([{}], dtype=object)})
    with pytest.raises(ValueError, match="not an .npz of plain arrays"):
        Recording.read(path)


def test_units_and_columns(recording):
    assert recording["I_syn"].unit == "amp"
    assert recording["psi"].units == ("1/volt", "1", "1")
    with pytest.raises(ValueError, match="different units: volt, 1"):
        _ = recording["v"].unit
    assert recording["v"].column("alif", 1) == 2
    with pytest.raises(ValueError, match="'v' of lif_exp 0 was not recorded"):
        recording["v"].column("lif_exp", 0)
    np.testing.assert_array_equal(np.asarray(recording["v"]), recording.v)
    with pytest.raises(AttributeError, match="unknown quantity 'eps_b'.*did you mean 'eps_a'"):
        _ = recording.eps_b


def test_csv(recording, tmp_path):
    path = tmp_path / "trial.csv"
    recording.write_csv(path)
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header[:2] == ["time (ms)", "inputs of inputs 0 (1)"]
    column = header.index("v of lif_exp 1 (volt)")
    np.testing.assert_array_equal([float(row[column]) for row in rows], recording.v[:, 0])
    column = header.index("transmitted of alif 1, output 0 (1)")
    found = [float(row[column]) for row in rows]
    np.testing.assert_array_equal(found, recording.transmitted[:, 2, 0])


def test_pandas(recording):
    pytest.importorskip("pandas")
    table = recording.to_pandas()
    np.testing.assert_array_equal(table.index, recording.time)
    assert table.index.name == "time (ms)"
    np.testing.assert_array_equal(table["v", "lif_exp 1", "volt"], recording.v[:, 0])
    np.testing.assert_array_equal(table["spikes"], recording.spikes)
    synapse = str(recording["eps_a"].members[0])
    np.testing.assert_array_equal(table["eps_a", synapse, "1"], recording.eps_a[:, 0])


def test_xarray(recording):
    pytest.importorskip("xarray")
    data = recording.to_xarray()
    assert data.time.attrs["units"] == "ms" and data.I_syn.attrs["units"] == "amp"
    np.testing.assert_array_equal(data.v.sel(neuron="alif 1"), recording.v[:, 2])
    assert data.units_of_v.values.tolist() == ["volt", "1", "1"]
    # What a neuron or a synapse does not have.
    assert np.isnan(data.a.sel(neuron="lif_exp 1")).all()
    np.testing.assert_array_equal(data.a[:, data.neuron_part == "alif"], recording.a)
    of_alif = data.eps_a[:, data.synapse_target == "alif"]
    np.testing.assert_array_equal(of_alif, recording.eps_a)
    assert data.transmitted.dims == ("time", "neuron", "readout")
    np.testing.assert_array_equal(data.transmitted, recording.transmitted)
    assert data.spikes.dtype == bool


def test_neo(recording, tmp_path):
    neo = pytest.importorskip("neo")
    path = str(tmp_path / "trial.mat")
    neo.NeoMatlabIO(path).write_block(recording.to_neo())
    segment = neo.NeoMatlabIO(path).read_block().segments[0]
    signals = {(s.name, s.dimensionality.string): s for s in segment.analogsignals}
    v = signals["v", "V"]
    np.testing.assert_array_equal(v.magnitude[:, 0], recording.v[:, 0])
    np.testing.assert_array_equal(signals["v", "dimensionless"].magnitude, recording.v[:, 1:])
    np.testing.assert_allclose(v.rescale("mV").magnitude, 1e3 * v.magnitude)
    np.testing.assert_array_equal(signals["I_syn", "A"].magnitude, recording.I_syn)
    np.testing.assert_array_equal(signals["psi", "1/V"].magnitude[:, 0], recording.psi[:, 0])
    np.testing.assert_allclose(v.times.rescale("ms").magnitude, recording.time, atol=1e-9)
    trains = {train.name: train for train in segment.spiketrains}
    spikes = recording["spikes"]
    for number, member in enumerate(spikes.members):
        times = trains[str(member)].rescale("ms").magnitude
        np.testing.assert_array_equal(times, recording.time[spikes.values[:, number]])
    assert len(trains) == N_IN + 3


def test_nwb(recording, tmp_path):
    pynwb = pytest.importorskip("pynwb")
    path = tmp_path / "trial.nwb"
    recording.write_nwb(path, session_description="a test")
    assert [*tmp_path.iterdir()] == [path]
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        file = io.read()
        assert file.session_description == "a test"
        series = file.acquisition["v in volt"]
        np.testing.assert_array_equal(series.data[:, 0], recording.v[:, 0])
        assert (series.unit, series.rate) == ("volt", 1e3)
        assert file.acquisition["I_syn"].unit == "amp"
        np.testing.assert_array_equal(file.acquisition["eps_a"].data[:], recording.eps_a)
        columns = file.processing["recording"]["columns of eps_a"].to_dataframe()
        assert columns["label"].tolist() == [str(s) for s in recording["eps_a"].members]
        assert columns["post"].tolist() == [s.post for s in recording["eps_a"].members]
        units = file.units.to_dataframe()
        of_neurons = units[units["quantity"] == "spikes"]
        members = recording["spikes"].members
        assert [*zip(of_neurons["part"], of_neurons["index"], strict=True)] == [
            (m.part, m.index) for m in members
        ]
        for number, times in enumerate(of_neurons["spike_times"]):
            fired = recording.time[recording.spikes[:, number]]
            np.testing.assert_allclose(1e3 * times, fired, rtol=1e-12)


def test_a_missing_library_is_named(recording, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ValueError, match=r"needs xarray: pip install 'eprop_brian\[recordings\]'"):
        recording.to_xarray()
