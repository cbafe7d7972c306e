"""Checkpoints of runs with sparse matrices: plain arrays, and only for the same connectivity."""

import pickle

import numpy as np
import pytest
from scipy import sparse

from eprop_brian.base.files import read_array, read_arrays, write_arrays
from eprop_brian.base.sparse import same_structure
from eprop_brian.figures.run import plot_run
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import INITIAL, Run
from support.arrays import assert_same_state

SPARSE = "network.connectivity={w_in = 0.5, w_rec = 0.25, w_out = 0.5}"
ADAM = "optimizer.name=adam"


def config(*settings, device="runtime"):
    sizes = ("task.n_steps=60", "task.n_inputs=20", "size.lif=8")
    run = {"device": device, "iterations": 2, "seed": 3}
    return RunConfig.from_recipe("pattern-generation", run=run, settings=(*sizes, ADAM, *settings))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "sparse"
    Run.start(config(SPARSE), folder).train(progress=False)
    return folder


@pytest.mark.devices("runtime", "cpp", slow=())
def test_a_resumed_run_equals_one_without_interruption(tmp_path, device):
    whole = Run.start(config(SPARSE, device=device), tmp_path / "whole")
    whole.train(4, progress=False)
    Run.start(config(SPARSE, device=device), tmp_path / "parts").train(2, progress=False)
    parts = Run.open(tmp_path / "parts")
    parts.train(4, progress=False)
    assert_same_state(parts.trainer.session.state(), whole.trainer.session.state())
    assert parts.trainer.history.loss == whole.trainer.history.loss
    initial = read_arrays(tmp_path / "parts" / INITIAL)["w_rec"]
    assert np.any(whole.trainer.session.weights["w_rec"].data != initial.data)


def test_what_is_written_is_read_again(folder):
    run = Run.open(folder)
    state = run.trainer.session.state()
    run.save()
    saved = read_arrays(folder / "checkpoint.npz")
    assert_same_state({name: saved[name] for name in state}, state)
    assert sparse.issparse(state["m.w_rec"]) and np.any(state["m.w_rec"].data)
    for name, connected in run.trainer.network.adjacency.items():
        assert same_structure(run.weights()[name], connected)
    with np.load(folder / "checkpoint.npz", allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "fi" for name in file.files)
        assert file["w_rec.data"].shape == file["w_rec.indices"].shape == (14,)


def test_a_sparse_run_is_drawn(folder):
    assert all(path.exists() for path in plot_run(folder))


@pytest.mark.parametrize(
    "other", ["network.connectivity_seed=1", "network.connectivity={w_rec = 0.25}"]
)
def test_a_checkpoint_of_another_connectivity_is_refused(folder, tmp_path, other):
    config(SPARSE, other).write(tmp_path)
    (tmp_path / "checkpoint.npz").write_bytes((folder / "checkpoint.npz").read_bytes())
    with pytest.raises(ValueError, match="saved state's 'w_in' has other synapses"):
        Run.open(tmp_path)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("data", lambda x: x[:-1]),
        ("indices", lambda x: x + 100),
        ("indptr", lambda x: x[::-1]),
        ("shape", lambda x: x[:1]),
        ("shape", lambda x: -x),
        ("data", None),
    ],
)
def test_a_damaged_sparse_matrix_is_named(folder, tmp_path, part, change):
    with np.load(folder / "checkpoint.npz") as file:
        arrays = dict(file)
    value = arrays.pop(f"w_rec.{part}")
    if change is not None:
        arrays[f"w_rec.{part}"] = change(value)
    write_arrays(tmp_path / "damaged.npz", arrays)
    with pytest.raises(ValueError, match="damaged.npz: 'w_rec' is not a sparse matrix"):
        read_arrays(tmp_path / "damaged.npz")


@pytest.mark.parametrize("clock", [-1.0, 0.5, 1e18])
def test_a_clock_that_is_no_step_is_refused(tmp_path, clock):
    continuous = ("network.updates=step", "network.gradient=online", "network.c_reg=0")
    run = Run.start(config(*continuous), tmp_path / "run")
    state = read_arrays(run.folder / "checkpoint.npz")
    state["carried.control.clock"][:] = clock
    write_arrays(run.folder / "checkpoint.npz", state)
    with pytest.raises(ValueError, match="not a step"):
        Run.open(run.folder)


def test_a_checkpoint_of_another_format_is_not_to_be_loaded_unsafely(folder, tmp_path):
    config(SPARSE).write(tmp_path)
    for written in (b"weights", pickle.dumps({"w_in": 1})):
        (tmp_path / "checkpoint.npz").write_bytes(written)
        with pytest.raises(ValueError, match=r"not an \.npz of plain arrays$"):
            Run.open(tmp_path)
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"not an \.npy of a plain array$"):
        read_array(tmp_path / "objects.npy")
