"""No file that a program reads makes it touch memory that is not its own, hang or crash."""

import shutil

import numpy as np
import pytest

from eprop_brian.base.files import read_arrays, write_arrays
from eprop_brian.export import export_inference, export_project
from eprop_brian.runs.run import Run
from support.fuzzing import damaged, problem, sanitized
from support.programs import configure, run

#: Synapses that are listed, delays, several answers, recorded trials, words that are not full.
CONFIG = configure(
    "store-recall",
    *("task.symbol_duration='10 ms'", "task.n_symbols=6", "task.group_size=9"),
    *("size.lif=5", "size.alif=6", "network.connectivity={w_in=0.5,w_rec=0.5}"),
    *("network.delays={w_rec='2 ms'}",),
    batch_size=2,
)
#: Damaged files; a long run of the same tests: more of them.
N = 100


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A program that stops where something is undefined, with little to test on, and a run."""
    folder = tmp_path_factory.mktemp("fuzz") / "project"
    export_project(CONFIG, folder, trial_iterations=3)
    for name in ("validation", "test"):
        shutil.copyfile(folder / "data" / "train.npz", folder / "data" / f"{name}.npz")
    run(sanitized(folder, "train"), "--iterations", 3)
    return folder


def check(program, path, good, seed, *arguments):
    """Run a program with damage in the place of a good file."""
    path.write_bytes(damaged(good, np.random.default_rng(seed)))
    found = problem(program, *arguments)
    shutil.copyfile(good, path)
    assert not found, f"{good.name}, seed {seed}: {found}"


@pytest.mark.slow
@pytest.mark.parametrize("packed", [True, False])
def test_trials(project, tmp_path, packed):
    good, path = tmp_path / "good.npz", tmp_path / "trials.npz"
    arrays = read_arrays(project / "data" / "train.npz")
    if not packed:
        bits = np.unpackbits(arrays.pop("words").view(np.uint8), axis=-1, bitorder="little")
        arrays["inputs"] = bits[..., : CONFIG.make_task().n_inputs].astype(bool)
    write_arrays(good, arrays)
    for seed in range(N):
        folder = tmp_path / "run"
        shutil.rmtree(folder, ignore_errors=True)
        options = ("--trials", path, "--run", folder, "--iterations", 1)
        check(project / "train", path, good, seed, *options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("run/checkpoint.npz", "run/history.csv", "run/config.toml"),
        *("data/constants.npz", "data/places.npz", "data/train.npz"),
        *("data/start/initial.npz", "data/start/config.toml"),
    ],
)
def test_own_files(project, tmp_path, name):
    good, folder = tmp_path / (project / name).name, project / "run"
    shutil.copyfile(project / name, good)
    kept = tmp_path / "kept"
    shutil.copytree(folder, kept)
    for seed in range(N // 5):
        # Half of the time with other first weights, which take more of the data.
        again = seed % 2 or name.startswith("run")
        options = ("--resume",) if again else ("--seed", 5, "--run", tmp_path / "new")
        check(project / "train", project / name, good, seed, *options, "--iterations", 4)
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        shutil.rmtree(tmp_path / "new", ignore_errors=True)


@pytest.mark.slow
def test_inference(tmp_path):
    trained = Run.start(CONFIG, tmp_path / "run", device="runtime")
    folder = export_inference(trained.folder, tmp_path / "project")
    program = sanitized(folder, "infer")
    task = CONFIG.make_task()
    inputs = tmp_path / "inputs.npy"
    np.save(inputs, task.trials(1, "test", 0, 2).inputs)
    options = ("--inputs", inputs, "--out", tmp_path / "out.npy", "--spikes", tmp_path / "s.npy")
    run(program, *options)
    for seed in range(N):
        name = sorted((folder / "network").iterdir())[seed // 2 % 20] if seed % 2 else inputs
        good = tmp_path / f"good{name.suffix}"
        shutil.copyfile(name, good)
        check(program, name, good, seed, *options)
