"""Exported programs train without Python, and as the tool does."""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import eprop_brian.export
from eprop_brian.base.files import read_arrays
from eprop_brian.base.sparse import dense
from eprop_brian.equations.optimizers import GRADIENT_DESCENT, MOMENTUM
from eprop_brian.export import export_project, import_run
from eprop_brian.network.optimization import projection_optimizer
from eprop_brian.network.resolve import resolve
from eprop_brian.runs.run import Run
from eprop_brian.training.history import History
from support import parts
from support.command import call, last_line
from support.programs import (
    CUES,
    DIGITS,
    SMALL_CUES,
    SMALL_PATTERN,
    assert_same,
    build,
    configure,
    exported,
    in_tool,
    run,
    write_recorded,
)

TEMPLATES = Path(eprop_brian.export.__file__).parent / "templates"
#: Bounds so wide that a weight can grow beyond all bounds.
PATTERN = configure(
    "pattern-generation", *SMALL_PATTERN, "optimizer.w_max=1e300", "optimizer.w_min=-1e300"
)


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    """The program of a small pattern generation, with a run of 150 iterations to go on with."""
    folder = tmp_path_factory.mktemp("pattern")
    trained = Run.start(PATTERN, folder / "trained", workers=1)
    trained.train(150, progress=False)
    call("export", folder / "trained", "--out", folder / "project")
    return build(folder / "project")


@pytest.mark.slow
def test_evidence_accumulation_trains_as_in_the_tool(cues, tmp_path):
    folder = tmp_path / "run"
    expected = in_tool(CUES, 130)
    # In two pieces, of which the first ends in the middle of a call.
    run(cues, "--run", folder, "--iterations", 37)
    output = run(cues, "--run", folder, "--iterations", 130, "--resume")
    assert_same(folder, expected)
    assert str(expected.evaluate()) in output
    # And back again.
    assert last_line(call("evaluate", folder)) == str(expected.evaluate())
    assert "130 iterations" in call("import-run", folder, "--out", tmp_path / "imported")
    assert_same(tmp_path / "imported", expected)
    again = Run.open(tmp_path / "imported", workers=1)
    again.train(140, progress=False)
    assert again.trainer.iteration == 140


@pytest.mark.slow
def test_other_seed_and_learning_rate(cues, tmp_path):
    folder = tmp_path / "run"
    run(cues, "--run", folder, "--iterations", 25, "--seed", 2**33 + 7, "--learning-rate", "2e-3")
    other = configure(
        "evidence-accumulation", *SMALL_CUES, "optimizer.eta=2e-3", batch_size=4, seed=2**33 + 7
    )
    expected = in_tool(other, 25)
    assert_same(folder, expected)
    initial = read_arrays(folder / "initial.npz")
    for name, weights in expected.network.initial_weights(2**33 + 7).items():
        np.testing.assert_array_equal(initial[name], weights)
    assert Run.open(folder, workers=1).trainer.seed == 2**33 + 7


@pytest.mark.slow
def test_trained_pattern_generation_goes_on(pattern):
    run(pattern, "--resume", "--iterations", 330)
    folder = pattern.parent / "run"
    assert_same(folder, in_tool(PATTERN, 330))
    with np.load(folder / "checkpoint.npz") as weights:
        assert weights["w_rec"].shape == (9, 9)
        assert weights["n_updates"] == 330


@pytest.mark.slow
def test_pattern_of_another_seed(pattern, tmp_path):
    folder = tmp_path / "run"
    run(pattern, "--run", folder, "--iterations", 20, "--seed", 5)
    assert_same(folder, in_tool(PATTERN.with_values("run", seed=5), 20))


@pytest.mark.slow
def test_connections_learn_in_their_own_ways(tmp_path, monkeypatch):
    """Frozen and given, by Dale's law, with another optimizer, from another seed."""
    given = 0.3 * np.random.default_rng(0).random((9, 35))
    excitatory = projection_optimizer("w_rec", GRADIENT_DESCENT, {"eta": 0.05}, "excitatory")
    options = {
        "w_in": {"plastic": False, "weights": given},
        "w_rec": {"sign": 1.0, "optimizer": excitatory, "scale": 0.5},
        "w_out": {"optimizer": MOMENTUM.with_parameters(eta=1e-3)},
    }

    def resolved(network):
        made = resolve(network)
        connections = tuple(replace(c, **options[c.name]) for c in made.connections)
        return replace(made, connections=connections)

    monkeypatch.setattr("eprop_brian.network.spec.resolve", resolved)
    program, folder = exported(tmp_path / "project", PATTERN), tmp_path / "run"
    run(program, "--run", folder, "--iterations", 20, "--seed", 5)
    trainer = in_tool(PATTERN.with_values("run", seed=5), 20)
    assert_same(folder, trainer)
    weights = trainer.session.weights
    np.testing.assert_array_equal(weights["w_in"], given)
    assert np.all(weights["w_rec"] >= 0)
    assert {*trainer.session.optimizer_states} == {"m.w_out"}


@pytest.mark.slow
def test_stops_when_solved(tmp_path):
    easy = configure(
        "evidence-accumulation",
        *("task.n_cues=1", "task.cue_duration='20 ms'", "task.pause_duration='2 ms'"),
        *("task.delay='0 ms'", "task.recall_duration='20 ms'", "task.cue_rate='300 Hz'"),
        *("task.group_size=9", "size.lif=12", "size.alif=1", "optimizer.eta=2e-2"),
        *("neuron.tau_m='30 ms'", "readout.tau_out='30 ms'"),
        batch_size=32,
    )
    program = exported(tmp_path / "project", easy)
    output = run(program, "--iterations", 1000)
    expected = in_tool(easy, 1000)
    assert expected.solved
    confirmed = f"an error of {expected.confirmation.error:.4f} on 4096 other trials"
    assert f"solved at iteration {expected.iteration}, confirmed by {confirmed}" in output
    assert_same(tmp_path / "project" / "run", expected)
    folder = tmp_path / "on"
    run(program, "--run", folder, "--iterations", expected.iteration + 20, "--no-stop")
    assert_same(folder, in_tool(easy, expected.iteration + 20, stop_when_solved=False))


OTHERS = {
    "sparse, in single precision": configure(
        "evidence-accumulation",
        *SMALL_CUES,
        "network.connectivity={w_in=0.3, w_rec=0.2}",
        batch_size=4,
        dtype="float32",
    ),
    "continuous": configure(
        "pattern-generation",
        *SMALL_PATTERN,
        "network.c_reg=0",
        "network.delays={w_in='2 ms'}",
        gradient="online",
        updates="spike",
    ),
    "learned parameters, feedback that learns where readout weights are, delays": configure(
        "evidence-accumulation",
        *SMALL_CUES,
        "network.learned={tau_m={minimum='5 ms'}, v_th={}}",
        "network.connectivity={w_out=0.6}",
        "network.delays={w_rec=['1 ms', '4 ms']}",
        "optimizer.schedule=0.5**floor(k/4)",
        batch_size=4,
        feedback="adaptive",
    ),
    "a learning signal that diffuses": configure(
        "evidence-accumulation",
        *SMALL_CUES,
        "network.connectivity={w_out=0.3}",
        "network.feedback_diffusion={grid=[11, 1], kept=0.75, seed=1}",
        batch_size=4,
    ),
    "recorded trials with several answers": configure(
        *("store-recall", "size.lif=5", "size.alif=5", "task.n_symbols=6", "task.mean_delay=3"),
        "task.symbol_duration='50 ms'",
        batch_size=3,
    ),
    "recorded analog trials": DIGITS,
    "several parts of every kind": parts.configure(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_and_tasks(name, tmp_path):
    config, recorded = OTHERS[name], name.startswith("recorded")
    options = {"trial_iterations": 7} if recorded else {}
    program = exported(tmp_path / "project", config, **options)
    output = run(program, "--iterations", 7)
    expected = in_tool(config, 7)
    assert_same(tmp_path / "project" / "run", expected)
    if config.run["task"] not in ("pattern-generation", "lemniscate"):
        assert str(expected.evaluate()) in output
    assert len(import_run(tmp_path / "project", tmp_path / "imported")) == 7
    output = run(program, "--iterations", 1, "--seed", 7, "--run", tmp_path / "other")
    assert ("changes only the initial" in output) == recorded
    if "several answers" in name:
        trials = dict(np.load(program.parent / "data" / "train.npz"))
        trials["periods"][1] = 0
        np.savez(tmp_path / "none.npz", **trials)
        output = run(
            *(program, "--run", tmp_path / "none", "--trials", tmp_path / "none.npz"), code=1
        )
        assert "no step of target 1 counts" in output
    initial = read_arrays(tmp_path / "other" / "initial.npz")
    for key, weights in expected.network.initial_weights(7).items():
        np.testing.assert_array_equal(dense(initial[key]), dense(weights))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bogus"], "no such option: --bogus"),
        (["--iterations"], "needs a value"),
        (["--iterations", "0"], "from 1"),
        (["--seed", "-1"], "whole number"),
        (["--learning-rate", "fast"], "must be a number"),
        (["--resume", "--seed", "3"], "cannot be changed"),
        (["--resume=yes"], "takes no value"),
        (["--test-trials", "a.npz"], "give --trials"),
    ],
)
def test_wrong_options(cues, tmp_path, arguments, message):
    output = run(cues, *arguments, "--run", tmp_path / "run", code=2)
    assert output.startswith("Error: ")
    assert message in output


@pytest.mark.slow
def test_runs_are_kept(cues, tmp_path):
    folder = tmp_path / "new" / "run"
    assert "no run" in run(cues, "--run", folder, "--resume", code=1)
    run(cues, "--run", folder, "--iterations", 3)
    assert "already holds a run" in run(cues, "--run", folder, code=1)
    assert "nothing to do" in run(cues, "--run", folder, "--resume")
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace("c_reg = 300.0", "c_reg = 3.0"))
    assert "other settings" in run(cues, "--run", folder, "--resume", code=1)
    (folder / "config.toml").write_text(text)
    lines = (folder / "history.csv").read_text().splitlines(keepends=True)
    (folder / "history.csv").write_text("".join(lines[:-1]))
    assert "has 2 rows" in run(cues, "--run", folder, "--resume", code=1)
    state = dict(np.load(folder / "checkpoint.npz"))
    for name, value, message in (("n_updates", -1, "is -1"), ("m.w_in", np.nan, "not finite")):
        np.savez(folder / "checkpoint.npz", **{**state, name: np.full_like(state[name], value)})
        assert message in run(cues, "--run", folder, "--resume", code=1)
        assert message in call("train", "--resume", folder, code=1)
    assert "help" in run(cues, "--help")


@pytest.mark.slow
@pytest.mark.usefixtures("answered_signals")
@pytest.mark.parametrize("ended", [signal.SIGINT, signal.SIGHUP])
def test_interrupted_program_goes_on(cues, tmp_path, ended):
    folder = tmp_path / "a run"
    process = subprocess.Popen(
        [cues, "--run", folder, "--no-stop", "--iterations", "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("iteration"):
            break
    time.sleep(0.3)
    process.send_signal(ended)
    _, error = process.communicate()
    assert process.returncode == 130
    assert f"--resume --run '{folder}' --no-stop" in error
    done = Run.open(folder, workers=1).trainer.iteration
    assert f"checkpoint of iteration {done}" in error
    assert done > 0
    run(cues, "--run", folder, "--no-stop", "--iterations", done + 15, "--resume")
    if done < 3000:  # on a very fast machine it would take long
        assert_same(folder, in_tool(CUES, done + 15, stop_when_solved=False))


@pytest.mark.slow
def test_infinite_loss_keeps_the_last_good_state(pattern, tmp_path):
    folder = tmp_path / "run"
    output = run(pattern, "--run", folder, "--iterations", 300, "--learning-rate", "1e200", code=1)
    assert "the loss is no longer finite at iteration 2, trial 0 of its batch" in output
    assert f"train --resume {folder}` names the quantity" in output
    assert "1e+200" in output
    # Of trials in files the tool knows nothing.
    recorded = tmp_path / "trials.npz"
    write_recorded(recorded, PATTERN.make_task().trials(1, "train", 0, 1))
    arguments = ("--iterations", 300, "--learning-rate", "1e200", "--trials", recorded)
    output = run(pattern, "--run", tmp_path / "recorded", *arguments, code=1)
    assert "the loss is no longer finite at iteration 2" in output and "--resume" not in output
    opened = Run.open(folder, workers=1)
    assert opened.trainer.iteration == 0
    assert opened.trainer.session.is_finite()


@pytest.mark.slow
def test_a_saturated_population_is_named_as_in_the_tool(pattern, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(pattern.parent, project)
    start = project / "data" / "start" / "initial.npz"
    state = dict(np.load(start))
    np.savez(start, **{**state, "w_in": 1e6 + 0 * state["w_in"]})
    output = run(project / "train", "--run", tmp_path / "run", "--iterations", 30)
    said = "population 'lif' is saturated since iteration 1: it fires at "
    assert output.count(said) == 1 and "Scale the weights that reach it down" in output
    trainer = configure("pattern-generation", *SMALL_PATTERN).make_trainer(workers=1)
    trainer.session.weights["w_in"] = 1e6 + 0 * state["w_in"]
    with pytest.warns(UserWarning, match=f"^{said}") as caught:
        trainer.train(30, progress=False)
    trainer.close()
    (whole,) = {str(w.message).partition(". ")[0] for w in caught}
    assert whole in output


@pytest.mark.slow
def test_a_network_that_cannot_learn_is_named(pattern, tmp_path):
    """Without input all membranes stay at 0, where the surrogate is 0."""
    project = tmp_path / "project"
    shutil.copytree(pattern.parent, project)
    start = project / "data" / "start" / "initial.npz"
    state = dict(np.load(start))
    np.savez(start, **{**state, "w_in": 0 * state["w_in"]})
    folder = tmp_path / "run"
    output = run(project / "train", "--run", folder, "--iterations", 30, code=1)
    assert "no neuron fires in any trial of iterations 1 to 30, and no weight changes" in output
    assert "Scale the input weights up" in output
    # So does the tool, and both leave alone what is not to learn.
    config = configure("pattern-generation", *SMALL_PATTERN, "optimizer.eta=0")
    trainer = config.make_trainer(workers=1)
    trainer.session.weights["w_in"] = 0 * state["w_in"]
    trainer.train(30, progress=False)
    trainer.close()
    output = run(
        project / "train", "--run", tmp_path / "b", "--iterations", 30, "--learning-rate", 0
    )
    assert "no neuron fires" not in output


@pytest.mark.slow
def test_a_network_that_learning_silenced_is_told_since_when(pattern, tmp_path):
    """Training has taken all input away: what it goes on from is silent, its history is not."""
    folder = tmp_path / "run"
    run(pattern, "--run", folder, "--iterations", 20)
    state = read_arrays(folder / "checkpoint.npz")
    changed = {name: 0 * state[name] for name in state if name == "w_in" or "." in name}
    np.savez(folder / "checkpoint.npz", **{**state, **changed})
    output = run(pattern, "--run", folder, "--iterations", 100, "--resume", code=1)
    fired = np.flatnonzero(History.read(folder / "history.csv").rate_hz)[-1] + 1
    weights = [state[name] for name in ("w_rec", "w_out", "B")]
    largest = max(np.max(np.abs(matrix)) for matrix in weights)
    said = (
        f"iterations {fired + 1} to 100 (the last to fire did so in iteration {fired}), and no "
        "weight changes: the surrogate is all but 0, or no error arrives. The largest weight is "
        f"{largest:.3g}: if learning has silenced the network, try a smaller learning rate (now "
    )
    assert said in output
    # The tool says the same, and more.
    told = call("train", "--resume", folder, "--iterations", 100, "--workers", 1, code=1)
    assert f"iterations {fired + 1} to 100 (the last to fire did so in iteration {fired})" in told
    assert f"The largest weight is {largest:.3g}: if learning has silenced the network" in told


@pytest.mark.slow
def test_cmake_builds_it_too(cues, tmp_path):
    project = tmp_path / "project"
    export_project(CUES, project)
    for command in (["-S", ".", "-B", "built"], ["--build", "built", "-j2"]):
        subprocess.run(["cmake", *command], cwd=project, check=True, capture_output=True)
    run(project / "train", "--iterations", 11)
    run(cues, "--iterations", 11, "--run", tmp_path / "run")
    found, expected = (
        read_arrays(folder / "checkpoint.npz") for folder in (project / "run", tmp_path / "run")
    )
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.slow
def test_readme_says_what_is_there(cues):
    text = (cues.parent / "README.md").read_text()
    assert "$" not in text
    for part in ("11 x 36", "alif", "w = clip(", "CeCILL", "(patterns, 80, 36)", "`words`"):
        assert part in text


def test_what_cannot_be_exported_is_refused(tmp_path):
    out = tmp_path / "project"
    refused = call("export", "balanced-oscillator", "--out", out, code=2)
    assert "balanced network, which cannot be exported" in refused
    for arguments, message in (
        (["nothing"], "unknown task 'nothing'"),
        (["pattern-generation", "--gradient", "bptt"], "bptt"),
        (["pattern-generation", "--set", "network.rewiring=0.2"], "rewiring"),
        (["pattern-generation", "--set", "size.lif=0"], "needs neurons"),
        (["pattern-generation", "--trial-iterations", 3], "trial_iterations"),
        (["pattern-generation", "--seed", 10**18], "below 10^18"),
    ):
        output = call("export", *arguments, "--out", out, code=1)
        assert message in output
        assert list(tmp_path.iterdir()) == []
    balanced = call("export", "balanced-oscillator", "--out", out, code=2)
    assert "a balanced network, which cannot be exported" in balanced
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    assert "not an empty folder" in call("export", "pattern-generation", "--out", out, code=1)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_import_refuses_what_does_not_fit(cues, tmp_path):
    folder, target = tmp_path / "run", tmp_path / "imported"
    assert "holds no run" in call("import-run", tmp_path, "--out", target, code=1)
    run(cues, "--run", folder, "--iterations", 3)
    target.mkdir()
    (target / "mine.txt").touch()
    assert "not an empty folder" in call("import-run", folder, "--out", target, code=1)
    (target / "mine.txt").unlink()
    target.rmdir()

    def refused(message: str) -> None:
        assert message in call("import-run", folder, "--out", target, code=1)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]

    checkpoint = (folder / "checkpoint.npz").read_bytes()
    weights = dict(np.load(folder / "checkpoint.npz"))
    np.savez(folder / "checkpoint.npz", **{**weights, "w_in": weights["w_in"] * np.inf})
    refused("not finite")
    np.savez(folder / "checkpoint.npz", **{**weights, "m.w_in": weights["m.w_in"] * np.nan})
    refused("not finite")
    np.savez(folder / "checkpoint.npz", **{**weights, "n_updates": np.array(-1)})
    refused("'n_updates' is -1")
    np.savez(folder / "checkpoint.npz", **{**weights, "w_in": np.zeros(3)})
    refused("w_in")
    (folder / "checkpoint.npz").write_bytes(checkpoint[:-50])
    refused("not an .npz")
    (folder / "checkpoint.npz").write_bytes(checkpoint)
    history = (folder / "history.csv").read_text().splitlines(keepends=True)
    (folder / "history.csv").write_text("".join(history[:-1]))
    refused("rows")
    (folder / "history.csv").unlink()
    refused("no such file")


def has_cuda() -> bool:
    return find_spec("eprop_brian.devices.cuda") is not None


@pytest.mark.skipif(has_cuda(), reason="there is the device")
def test_cuda_is_refused_without_the_device(tmp_path):
    output = call(
        *("export", "pattern-generation", "--device", "cuda", "--out", tmp_path / "p"), code=1
    )
    assert "cannot export for 'cuda'" in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(
    not has_cuda() or find_spec("brian2cuda") is None, reason="needs the device and Brian2CUDA"
)
def test_cuda_by_emulation_equals_cpp(cues, tmp_path):
    project = export_project(CUES, tmp_path / "project", device="cuda")
    subprocess.run(["make", "emulated"], cwd=project, check=True, capture_output=True)
    run(project / "train", "--iterations", 9)
    run(cues, "--iterations", 9, "--run", tmp_path / "run")
    found, expected = (
        read_arrays(folder / "checkpoint.npz") for folder in (project / "run", tmp_path / "run")
    )
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-12, err_msg=name)


def test_missing_compiler_is_named(tmp_path, monkeypatch):
    """Writing takes none; what says it is make itself."""
    with monkeypatch.context() as without:
        without.setenv("PATH", os.devnull)
        export_project(PATTERN, tmp_path / "project")
    found = subprocess.run(
        ["make"],
        cwd=tmp_path / "project",
        env={"PATH": "/usr/bin:/bin", "CXX": "no-such-compiler"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode
    assert "no-such-compiler" in found.stderr


@pytest.mark.parametrize("kind", ["cpp", "cuda", "inference"])
def test_changed_flags_build_anew(tmp_path, kind):
    (tmp_path / "Makefile").write_bytes((TEMPLATES / f"Makefile.{kind}").read_bytes())
    compiler = tmp_path / "compiler"
    compiler.write_text(
        'echo "$@" >> log\nwhile [ $# -gt 0 ]; do [ "$1" != -o ] || touch "$2"; shift; done\n'
    )
    (tmp_path / "src" / "driver").mkdir(parents=True)
    driver = ("driver/train.cpp", "driver/network_description.cpp")
    for name in ("access.cpp", "access.cu", "threads.cpp", "program.cpp", "inference.cpp", *driver):
        (tmp_path / "src" / name).touch()
    name, flags = ("NVCC", "NVCCFLAGS") if kind == "cuda" else ("CXX", "CXXFLAGS")

    def compiled(given: str) -> int:
        log = tmp_path / "log"
        log.write_text("")
        subprocess.run(
            ["make", f"{name}=sh {compiler}", f"{flags}={given}"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
        return len(log.read_text().splitlines())

    every = compiled("-O1")
    assert every > 1
    assert compiled("-O1") == 0
    assert compiled("-O1 -DNAME='a b'") == every
